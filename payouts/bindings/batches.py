"""The packed lists of `UtilityToken.pay` and `collect`: one item per entity, sorted, hashed and summed up here.

The layouts stand in payouts/contracts/src/UtilityToken.sol, and nowhere else in Python than here. Pure.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

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


@dataclass(frozen=True, slots=True)
class Payout:
    """What one beneficiary gets in a batch, and the commitment to the rows it stands for."""

    entity: bytes
    """32 bytes: `cgn_sdk.protocol.settlement.entity_on_chain`."""
    role: int
    """1 contributor, 2 developer, 3 operator, 4 charity."""
    account: str
    amount: int
    """1e-9 CPU, 1 to MAX_AMOUNT."""
    xor_hash: bytes
    merkle_root: bytes
    row_count: int


@dataclass(frozen=True, slots=True)
class Collection:
    """What one payer's reservation is posted with; the rest of the reservation returns to its owner."""

    entity: bytes
    role: int
    """0 enterprise, 5 subsidy."""
    reservation_id: bytes
    amount: int
    xor_hash: bytes
    merkle_root: bytes
    row_count: int


def pay(token: UtilityToken, batch_id: bytes, payouts: Sequence[Payout], keccak: Keccak) -> Call[None]:
    """Returns the call that pays these beneficiaries. Raises InvalidItem for an item that no batch can hold."""
    packed = _list(payouts, PAYOUT_ROLES)
    return token.pay(batch_id, sum(item.amount for item in payouts), keccak(packed), packed)


def collect(token: UtilityToken, batch_id: bytes, collections: Sequence[Collection], keccak: Keccak) -> Call[None]:
    """Returns the call that posts these reservations. Raises InvalidItem for an item that no batch can hold."""
    packed = _list(collections, PAY_IN_ROLES)
    return token.collect(batch_id, sum(item.amount for item in collections), keccak(packed), packed)


def _list(items: Sequence[Payout | Collection], roles: Sequence[int]) -> bytes:
    """The items in the order that the contract wants."""
    return b"".join(_packed(item, roles) for item in sorted(items, key=lambda item: (item.entity, item.role)))


def _packed(item: Payout | Collection, roles: Sequence[int]) -> bytes:
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
        + (_account(item.account) if isinstance(item, Payout) else _reservation(item.reservation_id))
        + item.amount.to_bytes(12, "big")
        + item.entity[:ENTITY_BYTES]
        + bytes([item.role])
    )


def _account(text: str) -> bytes:
    if ADDRESS.fullmatch(text) is None:
        raise InvalidItem(f"{text!r} is no address")
    return bytes.fromhex(text[2:])


def _reservation(found: bytes) -> bytes:
    if len(found) != 32:
        raise InvalidItem("a reservation id is 32 bytes")
    return found
