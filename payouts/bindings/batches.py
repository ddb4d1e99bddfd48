"""The packed lists of `UtilityToken.pay` and `collect`: one item per entity, sorted, hashed and summed up here.

The layouts stand in payouts/contracts/src/UtilityToken.sol. Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from payouts.bindings.abi import Call
from payouts.bindings.utility_token import UtilityToken

Keccak: TypeAlias = Callable[[bytes], bytes]

MAX_AMOUNT: Final = 2**96 - 1
"""1e-9 CPU: what an item's amount can say. (The token's cap is below 2^63.)"""

ENTITY_BYTES: Final = 16
PAY_IN_ROLES: Final = (0, 5)
PAYOUT_ROLES: Final = (1, 2, 3, 4)


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
    """Returns the call that pays these beneficiaries. Raises ValueError for an item that no batch can hold."""
    packed = b"".join(
        item.xor_hash
        + item.merkle_root
        + bytes.fromhex(item.account.removeprefix("0x"))
        + item.amount.to_bytes(12, "big")
        + _tail(item)
        for item in _checked(payouts, PAYOUT_ROLES)
    )
    return token.pay(batch_id, sum(item.amount for item in payouts), keccak(packed), packed)


def collect(token: UtilityToken, batch_id: bytes, collections: Sequence[Collection], keccak: Keccak) -> Call[None]:
    """Returns the call that posts these reservations. Raises ValueError for an item that no batch can hold."""
    packed = b"".join(
        item.xor_hash + item.merkle_root + item.reservation_id + item.amount.to_bytes(12, "big") + _tail(item)
        for item in _checked(collections, PAY_IN_ROLES)
    )
    return token.collect(batch_id, sum(item.amount for item in collections), keccak(packed), packed)


def _tail(item: Payout | Collection) -> bytes:
    return item.entity[:ENTITY_BYTES] + bytes([item.role]) + item.row_count.to_bytes(8, "big")


def _checked(items: Sequence[Payout] | Sequence[Collection], roles: Sequence[int]) -> list[Payout | Collection]:
    """The items in the order that the contract wants. What the packing would bend is refused here, not there."""
    for item in items:
        if item.role not in roles:
            raise ValueError(f"role {item.role} is none of {roles}")
        if not 0 < item.amount <= MAX_AMOUNT:
            raise ValueError(f"amount {item.amount} is not 1 to 2^96 - 1")
        if not 0 <= item.row_count < 2**64:
            raise ValueError(f"row count {item.row_count} does not fit into 64 bits")
        if len(item.entity) != 32 or any(item.entity[ENTITY_BYTES:]):
            raise ValueError("an entity is 16 bytes, then 16 zero bytes")
        if {len(item.xor_hash), len(item.merkle_root)} != {32}:
            raise ValueError("XOR hash and Merkle root are 32 bytes")
        if isinstance(item, Collection) and len(item.reservation_id) != 32:
            raise ValueError("a reservation id is 32 bytes")
        if isinstance(item, Payout) and len(bytes.fromhex(item.account.removeprefix("0x"))) != 20:
            raise ValueError(f"{item.account} is no address")
    return sorted(items, key=lambda item: (item.entity, item.role))
