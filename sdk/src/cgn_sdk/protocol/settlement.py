"""What a settlement is called and what it commits to (L-5, P-1): computed alike by payouts, auditor and validators.

    settlement id = Keccak-256(canonical JSON of {chain_id, token, period, first_ingest, last_ingest, previous})
    batch id      = Keccak-256(settlement id ‖ entity ‖ role number)

A payout run has one settlement id, the `batchId` of its events on chain, so that one transaction settles many entities.
A batch, which is one entity's part in one role, is named by the settlement id with entity and role: three topics of
its event, from which its batch id follows. `previous` is the settlement id of the run before (32 zero bytes at first),
so each settlement fixes all those before it.

Pure, standard library only; Keccak comes in from outside.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from cgn_sdk.protocol import canonical, merkle
from cgn_sdk.protocol.row import ROLES

Keccak: TypeAlias = Callable[[bytes], bytes]

NO_SETTLEMENT: Final = bytes(32)
"""`previous` of the first settlement."""


class Scope(NamedTuple):
    """What every settlement of a run is bound to."""

    chain_id: int
    token: str
    """Address of the contract, lower case with 0x."""
    period: str
    """The UTC day, or any name of the period (P-6)."""


class Commitment(NamedTuple):
    """What a settlement says about its rows, on chain and in the ledger."""

    row_count: int
    amount_nano_cpu: int
    xor: bytes
    merkle_root: bytes


def entity_on_chain(public_id: str) -> bytes:
    """Returns an entity as it stands in events: the 16 bytes of its public id, then 16 zeros.

    Raises ValueError for text that is no public id (p and 26 characters of base32).
    """
    if len(public_id) != 27 or public_id[0] != "p":
        raise ValueError(f"not a public id: {public_id!r:.40}")
    return base64.b32decode(public_id[1:].upper() + "======") + bytes(16)


def public_id_of(entity: bytes) -> str:
    """Returns the public id of an entity as it stands on chain: `entity_on_chain`, the other way."""
    return "p" + base64.b32encode(entity[:16])[:26].decode().lower()


def is_exact_id(public_id: str) -> bool:
    """Returns whether a public id is the one spelling of its 16 bytes (26 characters hold two bits more)."""
    return public_id_of(entity_on_chain(public_id)) == public_id


def settlement_id(scope: Scope, first_ingest: int, last_ingest: int, previous: bytes, keccak: Keccak) -> bytes:
    """Returns the id of a run's settlement. `first_ingest` to `last_ingest` are the rows that are new in it."""
    return keccak(
        canonical.encode(
            {
                "chain_id": str(scope.chain_id),
                "token": scope.token,
                "period": scope.period,
                "first_ingest": str(first_ingest),
                "last_ingest": str(last_ingest),
                "previous": previous.hex(),
            }
        )
    )


def batch_id(settlement_id: bytes, entity: bytes, role: int, keccak: Keccak) -> bytes:
    """Returns the id of one entity's batch from the three topics of its event."""
    return keccak(settlement_id + entity + role.to_bytes(1, "big"))


def batch_id_of(settlement_id: bytes, public_id: str, role: str, keccak: Keccak) -> bytes:
    """Returns the id of one entity's batch from its public id and the name of its role."""
    return batch_id(settlement_id, entity_on_chain(public_id), ROLES.index(role), keccak)


def commit(row_hashes: Iterable[bytes], amount_nano_cpu: int, keccak: Keccak) -> Commitment:
    """Returns the commitment to a set of row hashes. Raises ValueError for a hash that stands in it twice."""
    leaves = sorted(row_hashes)
    xor = 0
    before = b""
    for leaf in leaves:
        if leaf == before:
            raise ValueError(f"row hash {leaf.hex()} twice in one batch")
        xor ^= int.from_bytes(leaf, "big")
        before = leaf
    return Commitment(len(leaves), amount_nano_cpu, xor.to_bytes(32, "big"), merkle.root(leaves, keccak))
