"""The packed lists of `UtilityToken.collect` and `pay`, one item per entity, and what a settlement commits to.

The layout stands in payouts/contracts/src/UtilityToken.sol, and nowhere else in Python than here. Pure.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from payouts.bindings.abi import Call
from payouts.bindings.utility_token import UtilityToken

Keccak: TypeAlias = Callable[[bytes], bytes]

MAX_AMOUNT: Final = 2**96 - 1
"""1e-9 CPU: what an item's amount can say. (The token's cap is below 2^63.)"""

ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
ENTITY_BYTES: Final = 16
PAY_IN_ROLES: Final = (0, 5)
PAYOUT_ROLES: Final = (1, 2, 3, 4)


class InvalidItem(ValueError):
    """No list can hold this item: a role, an amount, a count or a length is not what the packing has room for."""


NO_PAYOUTS: Final = bytes(32)
"""The root of a settlement that pays nobody."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entity's part in a settlement, and the commitment to the rows it stands for."""

    entity: bytes
    """32 bytes: `cgn_sdk.protocol.settlement.entity_on_chain`."""
    role: int
    """0 enterprise and 5 subsidy are collected from; 1 contributor, 2 developer, 3 operator, 4 charity are paid."""
    account: str
    """Whose reservation is posted, or who is paid."""
    amount: int
    """1e-9 CPU, 1 to MAX_AMOUNT."""
    xor_hash: bytes
    merkle_root: bytes
    row_count: int


class PayoutLists(NamedTuple):
    """The lists that a settlement pays, one a transaction, and what it is begun with: the root over them."""

    root: bytes
    lists: tuple[bytes, ...]
    proofs: tuple[tuple[bytes, ...], ...]
    """For each list, the hashes that lead from it to the root."""


def collect(token: UtilityToken, account: str, batch_id: bytes, items: Sequence[Item]) -> Call[None]:
    """Returns the call that posts these reservations. Raises InvalidItem for an item that no list can hold."""
    return token.collect(account, batch_id, _list(items, PAY_IN_ROLES))


def payout_lists(parts: Sequence[Sequence[Item]], keccak: Keccak) -> PayoutLists:
    """Returns the lists of the parts, which must ascend from one to the next. Raises InvalidItem like `collect`."""
    lists = tuple(_list(part, PAYOUT_ROLES) for part in parts)
    proofs: list[list[bytes]] = [[] for _ in lists]
    level = [(keccak(packed), [number]) for number, packed in enumerate(lists)]
    while len(level) > 1:
        above = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            for (_, below), (other, _) in ((left, right), (right, left)):
                for number in below:
                    proofs[number].append(other)
            above.append((keccak(b"".join(sorted((left[0], right[0])))), left[1] + right[1]))
        level = above + level[len(above) * 2 :]
    return PayoutLists(level[0][0] if level else NO_PAYOUTS, lists, tuple(tuple(proof) for proof in proofs))


def pay(token: UtilityToken, batch_id: bytes, committed: PayoutLists, number: int) -> Call[None]:
    """Returns the call that pays one of the lists."""
    return token.pay(batch_id, committed.lists[number], committed.proofs[number])


def _list(items: Sequence[Item], roles: Sequence[int]) -> bytes:
    """The items in the order that the contract wants."""
    return b"".join(_packed(item, roles) for item in sorted(items, key=lambda item: (item.entity, item.role)))


def _packed(item: Item, roles: Sequence[int]) -> bytes:
    """One item. What the packing would bend is refused here, not there."""
    if item.role not in roles:
        raise InvalidItem(f"role {item.role} is none of {roles}")
    if not 0 < item.amount <= MAX_AMOUNT:
        raise InvalidItem(f"amount {item.amount} is not 1 to 2^96 - 1")
    if not 0 <= item.row_count < 2**64:
        raise InvalidItem(f"row count {item.row_count} does not fit into 64 bits")
    if len(item.entity) != 32 or any(item.entity[ENTITY_BYTES:]):
        raise InvalidItem("an entity is 16 bytes, then 16 zero bytes")
    if {len(item.xor_hash), len(item.merkle_root)} != {32}:
        raise InvalidItem("XOR hash and Merkle root are 32 bytes")
    return (
        item.row_count.to_bytes(8, "big")
        + item.xor_hash
        + item.merkle_root
        + _account(item.account)
        + item.amount.to_bytes(12, "big")
        + item.entity[:ENTITY_BYTES]
        + bytes([item.role])
    )


def _account(text: str) -> bytes:
    if ADDRESS.fullmatch(text) is None:
        raise InvalidItem(f"{text!r} is no address")
    return bytes.fromhex(text[2:])
