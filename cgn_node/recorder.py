"""From a finished attempt to a durable row, and from a row to its receipt (N-24, L-4).

The row is built here, goes to the spool, and only when the spool says durable does the broker hear `RowStored`; a full
spool is `RowRefused`, and no further work is admitted while it is full. What a shipper does behind the spool is the
ledger's business. A spool that fails to sync ends the process: after a failed fsync nobody knows what is on disk.
"""

import asyncio
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import link, merkle
from cgn_sdk.protocol.canonical import CanonicalText
from cgn_sdk.protocol.messages import Statement
from cgn_sdk.protocol.receipt import ROW, Inclusion, Receipt
from cgn_sdk.protocol.row import SALT_BYTES, PayIn, Row, build_row, fee_nano_cpu, part_salt
from cgn_sdk.signing import Signer

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.core import events, row_parts
from cgn_node.core.commands import RecordRow
from cgn_node.driver import Driver
from cgn_node.lookups import LookUps
from cgn_node.random_pool import RandomPool
from cgn_node.work_order import FinishedAttempt, WorkOrder
from ledger.core.batch import BatchRecord
from ledger.core.money import Beneficiary, split_fee
from ledger.port import Store, StoredRow
from ledger.spool import Spool, SpoolFull

_log = logs.get("recorder")


class Identity(Protocol):
    """Who this node is, as Central says."""

    @property
    def welcome(self) -> link.NodeWelcome | None: ...


@dataclass(slots=True)
class _Tree:
    """The Merkle tree of one settled batch, kept for the next receipts of it."""

    index: dict[bytes, int]
    levels: list[list[bytes]]


class Recorder:
    """Builds rows, spools them, answers for them."""

    def __init__(
        self,
        *,
        driver: Driver,
        identity: Identity,
        spool: Spool,
        store: Store,
        signer: Signer,
    ) -> None:
        self._driver = driver
        self._identity = identity
        self._spool = spool
        self._store = store
        self._signer = signer
        self._random = RandomPool()
        self._recent: OrderedDict[str, StoredRow] = OrderedDict()
        self._ids: OrderedDict[bytes, None] = OrderedDict()
        self._full_until_s = 0.0
        self._trees: OrderedDict[bytes, _Tree] = OrderedDict()
        self._growing: dict[bytes, asyncio.Task[_Tree]] = {}
        self.lookups = LookUps()
        self.rows = 0
        self.refused = 0

    @property
    def is_full(self) -> bool:
        """Whether work has to be refused (N-24): room for the rows of all work under way is kept free, and after the
        disk has said no, a second passes before it is tried again."""
        reserve = limits.SPOOL_RESERVE_BYTES + len(self._driver.requests) * limits.SPOOL_RESERVE_PER_REQUEST_BYTES
        return self._spool.room_bytes < reserve or time.monotonic() < self._full_until_s

    @property
    def dropped_bytes(self) -> int:
        """Bytes that the spool dropped when it was opened: of a row under way at a crash, or of damage."""
        return sum(dropped.size for dropped in self._spool.dropped)

    def record(self, order: WorkOrder, finished: FinishedAttempt, command: RecordRow) -> None:
        """Signs the row and makes it durable; the outcome comes as an event."""
        welcome = self._identity.welcome
        assert welcome is not None
        row = row_of(order, finished, command, welcome, self._random.take(SALT_BYTES))
        row = row.signed(self._signer.sign(ROW, row.row_hash))
        is_alone = len(self._driver.requests) == 1
        self._spool.put(row.to_bytes(), row, lambda error: self._recorded(row, error), alone=is_alone)

    def _recorded(self, row: Row, error: Exception | None) -> None:
        if error is None:
            self.rows += 1
            try:
                self._note(row.row_id)  # before the answer: with it the DApp may send the id again
            finally:
                self._driver.post(events.RowStored(row.row_id))
            self._keep(row)  # somebody waits for the answer, so this comes behind it
        elif isinstance(error, SpoolFull):
            self.refused += 1
            self._full_until_s = time.monotonic() + limits.SPOOL_RETRY_S
            _log.error("recorder.spool_full", request_id=row.row_id)
            self._driver.post(events.RowRefused(row.row_id))
        else:  # the spool has ended the process already, or is about to: nothing may be answered
            _log.error("recorder.spool_broken", request_id=row.row_id, error=repr(error))

    def _keep(self, row: Row) -> None:
        """As bytes: thousands of rows' objects would be walked by the garbage collector again and again."""
        self._recent[row.row_id] = StoredRow(
            0, row.row_id, row.row_hash, row.public_json, row.private_json, row.node_signature
        )
        if len(self._recent) > limits.ROWS_KEPT:
            self._recent.popitem(last=False)

    def _note(self, row_id: str) -> None:
        """An id that has a row. None is forgotten before the store has its row: there it can be asked for then."""
        self._ids[bytes.fromhex(row_id)] = None
        if len(self._ids) > limits.ROW_IDS_KEPT and len(self._ids) > self._spool.backlog:
            self._ids.popitem(last=False)

    async def note_spooled(self) -> None:
        """Learns the ids of the rows that an earlier process left in the spool: before any request is served."""
        after = self._spool.first
        while records := await self._spool.read(after, limits.SPOOLED_IDS_READ):
            after = records[-1].sequence
            for record in records:
                if (row_id := _row_id(record.data)) is not None:
                    self._note(row_id)

    # --- looking back -------------------------------------------------------------------------------------------------

    def is_recorded(self, request_id: str) -> bool:
        """Whether this process knows of a row with this id; `is_stored` asks the store for older ones."""
        return bytes.fromhex(request_id) in self._ids

    async def is_stored(self, request_id: str, within_s: float) -> bool:
        """Raises StoreError while the store cannot be asked, or does not answer in time."""
        return await self.lookups.ask(self._store.get(request_id), within_s) is not None

    async def cost(self, request_id: str, enterprise_id: str) -> dict[str, Any] | None:
        """Fee and tier of a recorded request of this enterprise. Raises StoreError as `is_stored` does."""
        row = await self._find(request_id)
        if row is None or row.public["enterprise_id"] != enterprise_id:
            return None
        names = ("dservice", "dservice_version", "tier", "event_time_ns", "usage_fee_nano_eur", "usage_fee_nano_cpu")
        return {name: row.public[name] for name in names} | {"ended": row.parts["metrics"].get("ended", "whole")}

    async def receipt(self, request_id: str, enterprise_id: str) -> tuple[bool, bytes] | None:
        """(whether it is anchored, the receipt) of a recorded request of this enterprise, with its place in its batch
        once there is one. The signature is the row's own; a row from before rows were signed is signed now.
        Raises StoreError as `is_stored` does."""
        row = await self._find(request_id)
        if row is None or row.public["enterprise_id"] != enterprise_id:
            return None
        receipt = Receipt(
            public=row.public,
            metrics=row.parts["metrics"],
            metrics_salt=part_salt(row.salt, "metrics", keccak_256),
            node_signature=row.node_signature or self._signer.sign(ROW, row.row_hash),
            inclusion=await self._inclusion(row),
        )
        return receipt.inclusion is not None, receipt.encode()

    async def _find(self, request_id: str) -> Row | None:
        stored = self._recent.get(request_id) or await self.lookups.ask(self._store.get(request_id))
        return None if stored is None else stored.verified(keccak_256)

    async def _inclusion(self, row: Row) -> Inclusion | None:
        """Where the row stands in the batch that collected it from its enterprise."""
        asked = self._store.batch_of(row.row_id, "enterprise", row.public["enterprise_id"])
        batch = await self.lookups.ask(asked)
        if batch is None:
            return None
        tree = await self._tree(batch)
        if tree.levels[-1][0] != batch.merkle_root or row.row_hash not in tree.index:
            _log.error("recorder.batch_differs", batch_id=batch.batch_id, row_id=row.row_id)
            return None
        index = tree.index[row.row_hash]
        return Inclusion(batch.batch_id, index, len(tree.index), tuple(merkle.path(tree.levels, index)))

    async def _tree(self, batch: BatchRecord) -> _Tree:
        """The tree of a batch: made once, however many ask meanwhile, and kept. A long one is ready at a later try."""
        tree = self._trees.get(batch.batch_id)
        if tree is not None:
            return tree
        growing = self._growing.get(batch.batch_id)
        if growing is None:
            growing = self._growing[batch.batch_id] = self.lookups.begin(self._grow(batch))
            growing.add_done_callback(lambda _: self._growing.pop(batch.batch_id, None))
        return await self.lookups.wait(growing)

    async def _grow(self, batch: BatchRecord) -> _Tree:
        hashes = sorted([entry.row_hash async for entry in self._store.batch_rows(batch.batch_id)])
        levels = await asyncio.to_thread(merkle.levels, hashes, keccak_256)
        tree = _Tree({hash_: index for index, hash_ in enumerate(hashes)}, levels)
        if levels[-1][0] == batch.merkle_root:  # else its rows are not all there yet: looked at again next time
            self._trees[batch.batch_id] = tree
            if len(self._trees) > limits.BATCH_TREES_KEPT:
                self._trees.popitem(last=False)
        return tree


_ROW_ID = re.compile(rb'"row_id":"([0-9a-f]{32})"')


def _row_id(data: bytes) -> str | None:
    """The id in a row as the spool holds it. The public columns stand last, and none behind this one is free text."""
    found = _ROW_ID.match(data, data.rfind(b'"row_id":"'))
    return found[1].decode() if found is not None else None


def row_of(order: WorkOrder, finished: FinishedAttempt, command: RecordRow, node: link.NodeWelcome, salt: bytes) -> Row:
    """The microtransaction of work that is over: who, what, how much, split to whom (L-1)."""
    session, dservice, policy = order.session, order.dservice, order.view.policy
    contributor, operator = finished.contributor, node.operator
    rate = policy.exchange_rate_nano_eur_per_cpu
    fee_eur, listed = command.fee_nano_eur, session.grant.redact
    fee_cpu = fee_nano_cpu(fee_eur, rate)
    return build_row(
        row_id=order.id,
        event_time_ns=time.time_ns(),
        node_id=node.node_public_id,
        enterprise_id=session.public_id,
        end_user_id=session.end_user_id,
        contributor_id=contributor.public_id,
        developer_id=dservice.developer.public_id,
        operator_id=operator.public_id,
        dservice=dservice.name,
        dservice_version=dservice.version,
        tier=command.tier,
        usage_fee_nano_eur=fee_eur,
        usage_fee_nano_cpu=fee_cpu,
        exchange_rate_nano_eur_per_cpu=rate,
        pay_in=[PayIn("enterprise", session.public_id, fee_cpu)],
        payouts=split_fee(
            fee_eur,
            fee_cpu,
            contributor=Beneficiary(contributor.public_id),
            developer=Beneficiary(dservice.developer.public_id),
            operator=Beneficiary(operator.public_id),
            contributor_ppm=dservice.contributor_ppm,
            developer_ppm=dservice.developer_ppm,
        ),
        parts={
            "request": row_parts.request_part(
                order.method,
                order.target,
                order.headers,
                finished.request_bytes,
                finished.request_sha256,
                finished.answered,
                listed,
            ),
            "metrics": _metrics_part(command, finished),
            "service": row_parts.fields_part(finished.metadata, listed),
            "accounts": row_parts.accounts_part(
                (session.public_id, session.address),
                (contributor.public_id, contributor.address),
                (dservice.developer.public_id, dservice.developer.address),
                (operator.public_id, operator.address),
            ),
            "custom": row_parts.fields_part(order.custom, listed),
        },
        salt=salt,
        keccak=keccak_256,
    )


def _metrics_part(command: RecordRow, finished: FinishedAttempt) -> CanonicalText:
    return row_parts.metrics_part(
        attempts=finished.number,
        billed=command.usage,
        clipped=command.clipped,
        measured=finished.measured,
        match_ns=finished.match_ns,
        queue_ns=finished.queue_ns,
        policy_version=command.terms_version,
        seal=finished.seal,
        statement=finished.answered if isinstance(finished.answered, Statement) else None,
        ended=command.ended,
    )
