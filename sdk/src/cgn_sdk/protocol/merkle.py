"""Merkle trees of the shape of RFC 6962, section 2.1, over a hash that the caller brings.

    leaf = H(0x00 ‖ data)      node = H(0x01 ‖ left ‖ right)      empty tree = H("")

A tree of n > 1 leaves splits at the largest power of two below n. Built level by level that is: pair neighbours, and
pass an odd last node up unchanged. The two prefixes keep a node from being shown as a leaf.

The count of leaves is not part of the root. Whoever anchors a root anchors the count beside it; `verify` takes both.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

Hash: TypeAlias = Callable[[bytes], bytes]
"""A hash function: bytes in, digest out (32 bytes for both we use, Keccak-256 and SHA-256)."""


def levels(leaves: Sequence[bytes], hash_: Hash) -> list[list[bytes]]:
    """Returns the tree, lowest level (leaf hashes) first, root level last; `[[H("")]]` for no leaves.

    Costs 2n hashes once; `path` then reads any proof from it without hashing.
    """
    if not leaves:
        return [[hash_(b"")]]
    tree = [[hash_(b"\x00" + data) for data in leaves]]
    while len(tree[-1]) > 1:
        tree.append(_above(tree[-1], hash_))
    return tree


def _above(level: Sequence[bytes], hash_: Hash) -> list[bytes]:
    """The next level: neighbours in pairs, an odd last one unchanged."""
    above = [hash_(b"\x01" + left + right) for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) % 2:
        above.append(level[-1])
    return above


def path(tree: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """Returns the inclusion proof of leaf `index` (from 0) out of what `levels` returned: siblings, lowest first."""
    if not 0 <= index < len(tree[0]):
        raise IndexError(f"leaf {index} of {len(tree[0])}")
    siblings = []
    for level in tree[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            siblings.append(level[sibling])
        index >>= 1
    return siblings


def root(leaves: Sequence[bytes], hash_: Hash) -> bytes:
    """Returns the root over the leaves' data, in the order given."""
    if not leaves:
        return hash_(b"")
    level = [hash_(b"\x00" + data) for data in leaves]
    while len(level) > 1:  # as `levels`, which keeps them all
        level = _above(level, hash_)
    return level[0]


class Growing:
    """The root of leaves that come in order, without holding them: of full subtrees only the roots are kept.

    tree = Growing(hash_)
    tree.extend(first_leaves)
    tree.extend(more_leaves)
    tree.root()                 # root([*first_leaves, *more_leaves], hash_)
    """

    _FULL: Final = 1024
    """Leaves of one subtree, a power of two."""

    def __init__(self, hash_: Hash) -> None:
        self._hash = hash_
        self._leaves: list[bytes] = []
        self._full: list[tuple[int, bytes]] = []
        """(leaves, root) of full subtrees, largest first; each is larger than the next."""

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Adds leaves behind those that came before."""
        self._leaves += leaves
        start = 0
        while len(self._leaves) - start >= self._FULL:
            self._add_full(root(self._leaves[start : start + self._FULL], self._hash))
            start += self._FULL
        del self._leaves[:start]

    def _add_full(self, node: bytes) -> None:
        size = self._FULL
        while self._full and self._full[-1][0] == size:
            node = self._hash(b"\x01" + self._full.pop()[1] + node)
            size *= 2
        self._full.append((size, node))

    def root(self) -> bytes:
        """Returns the root over all leaves so far."""
        nodes = [node for _, node in self._full]
        if self._leaves or not nodes:
            nodes.append(root(self._leaves, self._hash))
        found = nodes.pop()
        while nodes:
            found = self._hash(b"\x01" + nodes.pop() + found)
        return found


def proof(leaves: Sequence[bytes], index: int, hash_: Hash) -> list[bytes]:
    """Returns the inclusion proof of one leaf. For many proofs of one tree use `levels` once and `path`."""
    if not leaves:
        raise IndexError("no leaf in an empty tree")
    return path(levels(leaves, hash_), index)


def root_of_path(data: bytes, index: int, count: int, proof: Sequence[bytes], hash_: Hash) -> bytes | None:
    """Returns the root that `data` as leaf `index` of `count` leads to, or None when the proof's length is wrong.

    The walk of RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < count:
        return None
    node = hash_(b"\x00" + data)
    position, last = index, count - 1
    for sibling in proof:
        if last == 0:
            return None
        if position & 1 or position == last:
            node = hash_(b"\x01" + sibling + node)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            node = hash_(b"\x01" + node + sibling)
        position >>= 1
        last >>= 1
    return node if last == 0 else None


def verify(data: bytes, index: int, count: int, proof: Sequence[bytes], root: bytes, hash_: Hash) -> bool:
    """Returns whether `data` is leaf `index` of a tree of `count` leaves with this root."""
    return root_of_path(data, index, count, proof, hash_) == root
