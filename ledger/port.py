"""The port to a ledger store (L-3, L-6): what can be asked of it, and what it promises.

Two adapters keep the promises under one body of tests (tests/conformance/test_store.py): `sqlite_store` and
`elasticsearch_store`. Rows are written once: there is no operation that changes or deletes one. Payment state and
batches live apart. Every stored row has an ingestion number: 1, 2, 3 … without gaps, in the order stored.
"""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.loss import Loss
from cgn_sdk.protocol.row import Finding, Keccak, Row, RowError, read_row

from ledger import limits
from ledger.core.batch import BatchRecord, SettlementRecord

__all__ = [
    "BatchRecord",
    "Conflict",
    "EntityRow",
    "Head",
    "Loss",
    "PaymentState",
    "RowHash",
    "RowPayment",
    "SettlementRecord",
    "Store",
    "StoreError",
    "StoreFull",
    "StoredRow",
    "Total",
    "sound_losses",
]


class StoreError(Exception):
    """The store cannot do it now, or is not what it should be. Whether a write happened may be unknown: do it again."""


class StoreFull(StoreError):
    """No room: nothing of the operation was stored."""


class Conflict(StoreError):
    """What is stored says otherwise: the same row id with another hash, the same batch id with other content, a settled
    row that would be settled again. Nothing of the operation (for marks: of its portion) was stored."""


@dataclass(frozen=True)
class StoredRow:
    """One row as stored. The bytes are what was appended; `public` and `parts` are read from them on first use."""

    ingest: int
    row_id: str
    row_hash: bytes
    public_json: bytes
    """Canonical JSON of the public columns."""
    private_json: bytes
    """Canonical JSON of {parts, salt}. Never shown to anybody but the parties it belongs to (L-10)."""
    node_signature: bytes = b""
    """The node's, over the row hash, 64 bytes; empty for a row that was stored before rows were signed: it is unsigned,
    and an auditor says so."""

    @cached_property
    def public(self) -> dict[str, Any]:
        columns: dict[str, Any] = json.loads(self.public_json)
        return columns

    @cached_property
    def private(self) -> dict[str, Any]:
        """{parts: {name: object}, salt: hexadecimal}."""
        members: dict[str, Any] = json.loads(self.private_json)
        return members

    def verified(self, keccak: Keccak) -> Row:
        """Returns the row with everything checked again. Raises RowError naming what does not fit."""
        row = read_row(self.public_json, self.private_json, keccak)
        if self.node_signature:
            row = row.signed(self.node_signature)
        if row.row_hash != self.row_hash or row.row_id != self.row_id:
            raise RowError([Finding("row_hash", self.row_id, "is stored under another id or hash")])
        return row


class Total(NamedTuple):
    """What one entity paid in or is paid over some rows; exact (L-7)."""

    role: str
    public_id: str
    row_count: int
    amount_nano_cpu: int
    amount_nano_eur: int
    """0 for those who pay in: rows state their part in CPU only."""


class EntityRow(NamedTuple):
    """One row from the side of one entity."""

    ingest: int
    row_id: str
    row_hash: bytes
    amount_nano_cpu: int


class RowHash(NamedTuple):
    """What a head is over, of one row."""

    ingest: int
    row_id: str
    row_hash: bytes


class PaymentState(NamedTuple):
    """The mutable columns of one (row, entity)."""

    role: str
    public_id: str
    amount_nano_cpu: int
    state: str
    """pending, carried, collected (those who pay in) or paid (those who are paid)."""
    batch_id: bytes
    """32 bytes, or empty while the row is in no batch."""
    tx_id: str


class RowPayment(NamedTuple):
    """The mutable columns of one (row, entity), with the row they are of."""

    ingest: int
    row_id: str
    role: str
    public_id: str
    amount_nano_cpu: int
    state: str
    batch_id: bytes
    tx_id: str


def sound_losses(stored: Iterable[bytes]) -> list[Loss]:
    """What a store keeps, as losses in their order. Raises StoreError for one that cannot be read, or too many: whoever
    goes on without it contradicts what was signed."""
    try:
        found = [Loss.decode(data) for data in stored]
    except ValueError as error:
        raise StoreError(f"a loss that was accepted cannot be read: it {error}") from error
    if len(found) > limits.LOSSES_MAX:
        raise StoreError(f"the ledger holds more than {limits.LOSSES_MAX} losses")
    return sorted(found, key=lambda loss: (loss.at, loss.time_ns, loss.signature))


class Store(Protocol):
    """A ledger. All methods may raise StoreError; arguments out of bounds raise ValueError (ledger.limits)."""

    async def append(self, rows: Sequence[Row]) -> None:
        """Stores rows, in their order; durable when it returns (L-4).

        A row that is there already is left as it is. Raises Conflict when one is there with another hash: then nothing
        of this call was stored. Raises RowError when a row's hash or sums do not hold, or its event time is out of
        bounds by the clock the store was opened with; then nothing of this call was stored either.
        """

    async def read(self, after_ingest: int, limit: int) -> list[StoredRow]:
        """Returns up to `limit` rows with larger ingestion numbers, ascending. A sound ledger has none below 1; whoever
        looks for forged ones begins below 0."""

    async def get(self, row_id: str) -> StoredRow | None: ...

    async def head(self) -> int:
        """Returns the largest ingestion number, 0 for an empty ledger."""

    async def row_hashes(self, after_ingest: int, limit: int) -> list[RowHash]:
        """Returns up to `limit` row hashes with larger ingestion numbers, ascending; cheaper than `read`."""

    async def put_head(self, head: Head) -> None:
        """Stores a signed head, once per node and last row; durable when it returns. Raises Conflict when another one
        is there."""

    async def heads(self, *, after: tuple[int, str] = (0, ""), limit: int = 1_000) -> list[Head]:
        """Returns heads ascending by last row and node; `after`: those of the last of the page before."""

    async def newest_head(self, node_id: str) -> Head | None:
        """Returns this node's head over the most rows."""

    async def put_loss(self, loss: Loss) -> None:
        """Stores a loss that was accepted, for good; durable when it returns. Again changes nothing."""

    async def losses(self) -> list[Loss]:
        """Returns all of them, of all nodes, ascending by place and time: a ledger has a handful at most
        (`limits.LOSSES_MAX`; StoreError beyond)."""

    async def totals(self, first_ingest: int, last_ingest: int) -> list[Total]:
        """Returns exact totals per role and entity over rows first to last, inclusive; sorted by role and id."""

    def entity_rows(self, role: str, public_id: str, first_ingest: int, last_ingest: int) -> AsyncIterator[EntityRow]:
        """Yields the entity's rows in that role, by ingestion number."""

    async def mark(
        self, role: str, public_id: str, row_ids: Sequence[str], *, state: str, batch_id: bytes = b"", tx_id: str = ""
    ) -> None:
        """Sets the payment state of these rows for one entity (P-10). Doing it again changes nothing.

        Raises Conflict when a row is settled in another batch, and for a row that is not there or not that entity's.
        A long list is written in portions, so a crash may leave the first ones marked: do it again.
        """

    async def payment_state(self, row_id: str) -> list[PaymentState]:
        """Returns the state per entity, payers first; empty when there is no such row."""

    def payments(self, first_ingest: int, last_ingest: int) -> AsyncIterator[RowPayment]:
        """Yields the payment state of rows first to last for all their entities, by ingestion number. A (row, entity)
        that was never marked is pending and is left out."""

    async def begin_settlement(self, settlement: SettlementRecord) -> SettlementRecord:
        """Claims the place behind `previous`, atomically, for good; returns the record that holds it.

        That is the one given, or, when this very settlement has begun before, the one stored then: look at its `owner`
        and `ended_ns`. Raises Conflict when another settlement follows `previous`, when `previous` has not ended, and
        when the ledger does not know `previous` (32 zero bytes: the first).
        """

    async def end_settlement(self, settlement_id: bytes, ended_ns: int) -> None:
        """Says that a settlement is complete: all its money moved and its rows marked. Again changes nothing.
        Raises Conflict for a settlement that never began."""

    async def settlements(self, *, after: bytes = b"", limit: int = 1_000) -> list[SettlementRecord]:
        """Returns settlements ascending by id; `after`: the last id of the page before."""

    async def newest_settlement(self, chain_id: int, token: str) -> SettlementRecord | None:
        """Returns the settlement of this contract that none follows."""

    async def put_batch(self, batch: BatchRecord) -> None:
        """Stores a batch, once, and begins its settlement where that is missing. Raises Conflict when it is there with
        other content, and when another settlement follows the same `previous`."""

    async def get_batch(self, batch_id: bytes) -> BatchRecord | None: ...

    async def get_batches(
        self, *, role: str = "", public_id: str = "", after: bytes = b"", limit: int = 1_000
    ) -> list[BatchRecord]:
        """Returns batches of an entity, a role, or all, ascending by id; `after`: the last id of the page before."""

    async def batch_of(self, row_id: str, role: str, public_id: str) -> BatchRecord | None:
        """Returns the batch that settled this row for this entity, if one did."""

    def batch_rows(self, batch_id: bytes) -> AsyncIterator[EntityRow]:
        """Yields the rows that are marked as settled by a batch, by ingestion number."""

    async def close(self) -> None: ...
