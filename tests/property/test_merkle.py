"""Merkle trees as properties, against RFC 6962's own recursive definition (L-5)."""

import hashlib

from cgn_sdk.protocol import merkle
from hypothesis import given
from hypothesis import strategies as st


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + definition(leaves[:k]) + definition(leaves[k:]))


leaf_lists = st.lists(st.binary(max_size=40), max_size=70)


@given(leaf_lists)
def test_the_root_is_that_of_rfc_6962(leaves: list[bytes]) -> None:
    assert merkle.root(leaves, sha256) == definition(leaves)


@given(leaf_lists.filter(bool), st.data())
def test_every_leaf_is_proven_and_nothing_else(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root = merkle.root(leaves, sha256)
    proof = merkle.proof(leaves, index, sha256)
    count = len(leaves)
    assert merkle.verify(leaves[index], index, count, proof, root, sha256)
    assert not merkle.verify(leaves[index] + b"x", index, count, proof, root, sha256)
    other = data.draw(st.integers(-1, count + 1).filter(lambda i: i != index))
    assert not merkle.verify(leaves[index], other, count, proof, root, sha256) or (
        0 <= other < count and leaves[other] == leaves[index] and merkle.proof(leaves, other, sha256) == proof
    )
    assert not merkle.verify(leaves[index], index, count, [*proof, root], root, sha256)
    if proof:
        assert not merkle.verify(leaves[index], index, count, proof[:-1], root, sha256)
        position = data.draw(st.integers(0, len(proof) - 1))
        forged = [bytes([p[0] ^ 1]) + p[1:] if i == position else p for i, p in enumerate(proof)]
        assert not merkle.verify(leaves[index], index, count, forged, root, sha256)


@given(st.lists(st.binary(max_size=40), min_size=2, max_size=40), st.data())
def test_a_node_cannot_be_shown_as_a_leaf(leaves: list[bytes], data: st.DataObject) -> None:
    """The second pre-image attack that the prefixes 0x00 and 0x01 are for."""
    tree = merkle.levels(leaves, sha256)
    level = data.draw(st.integers(0, len(tree) - 2))
    width = len(tree[level]) // 2
    pair = data.draw(st.integers(0, width - 1))
    forged = tree[level][2 * pair] + tree[level][2 * pair + 1]
    above = tree[level + 1 :]
    proof = merkle.path(above, pair)
    assert not merkle.verify(forged, pair, len(above[0]), proof, tree[-1][0], sha256)


@given(st.integers(0, 5_000), st.lists(st.integers(0, 3_000), max_size=4))
def test_a_root_that_grows_is_that_of_all_leaves(count: int, cuts: list[int]) -> None:
    """Whatever the pieces they come in; full subtrees are 1,024 leaves."""
    leaves = [number.to_bytes(2, "big") for number in range(count)]
    tree = merkle.Growing(sha256)
    at = 0
    for cut in cuts:
        tree.extend(leaves[at : at + cut])
        at += cut
    tree.extend(leaves[at:])
    assert tree.root() == merkle.root(leaves, sha256)
    assert tree.root() == tree.root(), "asking changes nothing"
