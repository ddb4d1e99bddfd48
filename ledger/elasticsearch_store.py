"""The production store: Elasticsearch, any cluster with the features of the basic server (L-3, L-6).

Eight kinds of index, all with strict mappings, under one prefix (the URL's path, `cgn` by default), made by
`ledger.elasticsearch_setup`:

    <prefix>-rows-2026-11   rows by the month of their event time; only ever `create`, the document id is the row id
                            (`…-late` for those that came when the month was closed for writing)
    <prefix>-blocks         the numbering: document n lists the rows of one append, in order, with their entries
    <prefix>-payments       payment state per (row, entity), changed under if_seq_no
    <prefix>-batches        what each settlement settled for one entity, only ever `create`
    <prefix>-settlements    beginnings, under the place they take, and ends of settlements, only ever `create`
    <prefix>-heads          signed heads, only ever `create`
    <prefix>-losses         what was lost and accepted, signed, only ever `create`
    <prefix>-format         which version of this it is

A row counts once a block lists it. An append creates the rows, then one block; the block's id is the number after the
last one, so of two writers at once one gets a conflict and looks again. That makes numbers without gaps, in one
atomic step, whatever crashes: rows that no block lists are invisible, and the spool brings them again.

Sums are taken in Python over the integers that blocks list: Elasticsearch's own `sum` is a double (L-7).
A request without answer is unknown: it raises StoreError, and every operation here may be done again.
"""

import asyncio
import json
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.canonical import CanonicalError, encode
from cgn_sdk.protocol.row import Row
from elastic_transport import TlsError, TransportError
from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    AuthenticationException,
    AuthorizationException,
    ConflictError,
    NotFoundError,
)

from cgn_chassis.backoff import Backoff
from ledger import limits
from ledger.core.batch import newest_of, refuse_settlement
from ledger.core.entries import COLLECTED, PAID, PENDING, Entry, Mark, refuse_mark, refuse_times, sound_entries
from ledger.elasticsearch_address import Address, address_of
from ledger.port import (
    BatchRecord,
    Conflict,
    EntityRow,
    Head,
    Loss,
    PaymentState,
    RowHash,
    RowPayment,
    SettlementRecord,
    StoredRow,
    StoreError,
    Total,
    sound_losses,
)

FORMAT_ID: Final = "current"
FORMAT_VERSION: Final = 3
"""Of the indices. 1 had neither signatures nor heads nor settlements, and said no version; 2 had no losses."""

_BLOCKS_CACHED: Final = 16
"""Blocks kept in memory, about 1 MB each at the largest: they never change."""

_BUSY: Final = frozenset({429, 503})
_BUSY_RETRY: Final = Backoff(*limits.ELASTICSEARCH_RETRY_MS)


class _Numbered(NamedTuple):
    """One row as a block lists it."""

    ingest: int
    row_id: str
    row_hash: str
    partition: str
    """The index the row is in."""
    entries: tuple[Entry, ...]


class _Block(NamedTuple):
    number: int
    last_ingest: int
    rows: tuple[_Numbered, ...]


class ElasticsearchStore:
    """`ledger.port.Store` over a cluster. `await ElasticsearchStore.open(url)`; `await close()`."""

    def __init__(self, client: AsyncElasticsearch, address: Address, now_ns: Callable[[], int] | None = None) -> None:
        self.client = client
        self._now_ns = now_ns
        self.address = address
        self._appending = asyncio.Lock()
        self._cache: OrderedDict[int, _Block] = OrderedDict()
        self._claimed: set[bytes] = set()
        """Settlements whose place was seen taken, so that it is not asked for with each of their batches."""
        self._unrefreshed: set[str] = set()
        """Kinds of index that this user may read and not refresh: what he sees may be a second old."""

    @classmethod
    def connect(cls, url: str, now_ns: Callable[[], int] | None = None) -> "ElasticsearchStore":
        """A store that has not been looked at yet. Raises ValueError for a URL that says nothing."""
        address = address_of(url)
        client = AsyncElasticsearch(
            address.server,
            request_timeout=limits.ELASTICSEARCH_TIMEOUT_S,
            max_retries=0,
            retry_on_timeout=False,
            **address.credentials(),
        )
        return cls(client, address, now_ns)

    @classmethod
    async def open(cls, url: str, now_ns: Callable[[], int] | None = None) -> "ElasticsearchStore":
        """Connects to a ledger that `cgn ledger init` has made (see `elasticsearch_address` for what a URL says).

        Raises StoreError with what to do when the cluster does not answer, does not let this user in, or holds none.
        """
        store = cls.connect(url, now_ns)
        try:
            with translated(store.address):
                await store._check_format()
        except BaseException:
            await store.close()
            raise
        return store

    async def _check_format(self) -> None:
        try:
            answer = await self.client.get(index=self.name("format"), id=FORMAT_ID)
            version = answer["_source"]["version"]
        except NotFoundError:
            version = 0
        if version > FORMAT_VERSION:
            raise StoreError(f"{self._what} is of version {version}; this program reads version {FORMAT_VERSION}")
        if version < FORMAT_VERSION:
            raise StoreError(f"{self._what} is not there or of an older program: an administrator runs cgn ledger init")

    @property
    def _what(self) -> str:
        return f"the ledger {self.address.prefix!r} at {self.address.server}"

    async def close(self) -> None:
        await self.client.close()

    # --- rows ---

    async def append(self, rows: Sequence[Row]) -> None:
        if len(rows) > limits.APPEND_MAX_ROWS:
            raise ValueError(f"append takes {limits.APPEND_MAX_ROWS} rows at once")
        if self._now_ns is not None:
            refuse_times(rows, self._now_ns())
        entries = {row.row_id: sound_entries(row, keccak_256) for row in rows}
        unique: dict[str, Row] = {}
        for row in rows:
            if unique.setdefault(row.row_id, row).row_hash != row.row_hash:
                raise Conflict(f"row {row.row_id} is given twice, with two hashes")
        async with self._appending:
            with translated(self.address):
                portions = list(_portions(list(unique.values())))
                if len(portions) > 1:  # all are looked up before one is written
                    for portion in portions:
                        await self._unnumbered(portion)
                for portion in portions:
                    await self._append_portion(portion, entries)

    async def read(self, after_ingest: int, limit: int) -> list[StoredRow]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"read answers {limits.READ_MAX_ROWS} rows at once")
        with translated(self.address):
            return await self._load(await self._numbered_after(after_ingest, limit))

    async def get(self, row_id: str) -> StoredRow | None:
        with translated(self.address):
            found = await self._numbered([row_id])
            return (await self._load(list(found.values())))[0] if found else None

    async def head(self) -> int:
        with translated(self.address):
            return (await self._last_block())[1]

    async def row_hashes(self, after_ingest: int, limit: int) -> list[RowHash]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"row_hashes answers {limits.READ_MAX_ROWS} rows at once")
        with translated(self.address):
            wanted = await self._numbered_after(after_ingest, limit)
        return [RowHash(row.ingest, row.row_id, bytes.fromhex(row.row_hash)) for row in wanted]

    async def put_head(self, head: Head) -> None:
        document = {
            **head._asdict(),
            "commitment": head.commitment.hex(),
            "signature": head.signature.hex(),
            "place": _head_id(head.last_ingest, head.node_id),
        }
        with translated(self.address):
            there = await self._create("heads", document["place"], document)
            if there is not None and _head(there) != head:
                raise Conflict(f"another head of {head.node_id} over {head.last_ingest} rows is stored")

    async def heads(self, *, after: tuple[int, str] = (0, ""), limit: int = 1_000) -> list[Head]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"heads answers {limits.READ_MAX_ROWS} heads at once")
        with translated(self.address):
            query = {"range": {"place": {"gt": _head_id(*after)}}}
            return [_head(source) for source in await self._found("heads", query, {"place": "asc"}, limit)]

    async def newest_head(self, node_id: str) -> Head | None:
        with translated(self.address):
            query = {"term": {"node_id": node_id}}
            found = await self._found("heads", query, {"last_ingest": "desc"}, 1)
        return _head(found[0]) if found else None

    async def put_loss(self, loss: Loss) -> None:
        loss_id = keccak_256(loss.encode()).hex()
        with translated(self.address):
            await self._create("losses", loss_id, {"loss_id": loss_id, "loss": loss.encode().decode()})

    async def losses(self) -> list[Loss]:
        with translated(self.address):
            found = await self._found("losses", {"match_all": {}}, {"loss_id": "asc"}, limits.LOSSES_MAX + 1)
        return sound_losses(source["loss"].encode() for source in found)

    async def totals(self, first_ingest: int, last_ingest: int) -> list[Total]:
        sums: dict[tuple[str, str], list[int]] = {}
        with translated(self.address):
            async for block in self._blocks_from(first_ingest):
                for row in block.rows:
                    if first_ingest <= row.ingest <= last_ingest:
                        for role, public_id, cpu, eur in row.entries:
                            of = sums.setdefault((role, public_id), [0, 0, 0])
                            of[0] += 1
                            of[1] += cpu
                            of[2] += eur
                if block.last_ingest >= last_ingest:
                    break
        return [Total(*key, *values) for key, values in sorted(sums.items())]

    async def entity_rows(
        self, role: str, public_id: str, first_ingest: int, last_ingest: int
    ) -> AsyncIterator[EntityRow]:
        with translated(self.address):
            async for block in self._blocks_from(first_ingest):
                for row in block.rows:
                    amount = _amount(row, role, public_id)
                    if amount is not None and first_ingest <= row.ingest <= last_ingest:
                        yield EntityRow(row.ingest, row.row_id, bytes.fromhex(row.row_hash), amount)
                if block.last_ingest >= last_ingest:
                    break

    # --- payment state and batches ---

    async def mark(
        self,
        role: str,
        public_id: str,
        row_ids: Sequence[str],
        *,
        state: str,
        batch_id: bytes = b"",
        tx_id: str = "",
    ) -> None:
        if len(row_ids) > limits.MARK_MAX_ROWS:
            raise ValueError(f"mark takes {limits.MARK_MAX_ROWS} rows at once")
        mark = Mark(state, batch_id, tx_id)
        with translated(self.address):
            for start in range(0, len(row_ids), limits.PORTION_ROWS):
                await self._mark_portion(role, public_id, row_ids[start : start + limits.PORTION_ROWS], mark)

    async def payment_state(self, row_id: str) -> list[PaymentState]:
        with translated(self.address):
            found = (await self._numbered([row_id])).get(row_id)
            if found is None:
                return []
            entries = found.entries
            stored = await self._payments([_payment_id(row_id, entry.role, entry.public_id) for entry in entries])
        states = []
        for entry in entries:
            payment = stored.get(_payment_id(row_id, entry.role, entry.public_id))
            mark = Mark(PENDING) if payment is None else payment.mark
            states.append(PaymentState(entry.role, entry.public_id, entry.amount_nano_cpu, *mark))
        return states

    async def payments(self, first_ingest: int, last_ingest: int) -> AsyncIterator[RowPayment]:
        index = self.name("payments")
        query = {"range": {"ingest": {"gte": first_ingest, "lte": last_ingest}}}
        with translated(self.address):
            await self._refresh("payments")
            async for source in self._scan(index, query, "ingest", "role", "public_id"):
                mark = source["state"], bytes.fromhex(source["batch_id"]), source["tx_id"]
                of = source["ingest"], source["row_id"], source["role"], source["public_id"]
                yield RowPayment(*of, int(source["amount_nano_cpu"]), *mark)

    async def begin_settlement(self, settlement: SettlementRecord) -> SettlementRecord:
        with translated(self.address):
            holder = await self._holder(settlement)
            before = await self._settlement(settlement.previous)
            self._must_see_all("settlements")
            problem = refuse_settlement(settlement, holder, before)
            if problem:
                raise Conflict(problem)
            return holder or await self._put_settlement(settlement)

    async def end_settlement(self, settlement_id: bytes, ended_ns: int) -> None:
        with translated(self.address):
            if await self._settlement(settlement_id) is None:
                raise Conflict(f"settlement {settlement_id.hex()} never began")
            document = {"settlement_id": settlement_id.hex(), "ended_ns": ended_ns}
            await self._create("settlements", _end_id(settlement_id), document)

    async def settlements(self, *, after: bytes = b"", limit: int = 1_000) -> list[SettlementRecord]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"settlements answers {limits.READ_MAX_ROWS} settlements at once")
        query = {
            "bool": {"filter": [{"exists": {"field": "previous"}}, {"range": {"settlement_id": {"gt": after.hex()}}}]}
        }
        with translated(self.address):
            return await self._with_ends(await self._found("settlements", query, {"settlement_id": "asc"}, limit))

    async def newest_settlement(self, chain_id: int, token: str) -> SettlementRecord | None:
        query = {"bool": {"filter": [{"term": {"chain_id": str(chain_id)}}, {"term": {"token": token}}]}}
        with translated(self.address):
            await self._refresh("settlements")
            sources = [source async for source in self._scan(self.name("settlements"), query, "settlement_id")]
            newest = newest_of([_settlement(source) for source in sources])
            return None if newest is None else await self._holder(newest)

    async def put_batch(self, batch: BatchRecord) -> None:
        with translated(self.address):
            stored = await self.get_batch(batch.batch_id)
            if stored is None:
                await self._claim(batch.settlement(keccak_256))
                source = await self._create("batches", batch.batch_id.hex(), _batch_document(batch))
                stored = batch if source is None else _batch(source)
            if stored != batch:
                raise Conflict(f"batch {batch.batch_id.hex()} is stored with other content")

    async def get_batch(self, batch_id: bytes) -> BatchRecord | None:
        with translated(self.address):
            try:
                answer = await self.client.get(index=self.name("batches"), id=batch_id.hex())
            except NotFoundError:
                return None
            return _batch(answer["_source"])

    async def get_batches(
        self, *, role: str = "", public_id: str = "", after: bytes = b"", limit: int = 1_000
    ) -> list[BatchRecord]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"get_batches answers {limits.READ_MAX_ROWS} batches at once")
        filters: list[dict[str, Any]] = [
            {"term": {name: value}} for name, value in (("role", role), ("public_id", public_id)) if value
        ]
        query = {"bool": {"filter": [*filters, {"range": {"batch_id": {"gt": after.hex()}}}]}}
        with translated(self.address):
            return [_batch(source) for source in await self._found("batches", query, {"batch_id": "asc"}, limit)]

    async def batch_of(self, row_id: str, role: str, public_id: str) -> BatchRecord | None:
        with translated(self.address):
            key = _payment_id(row_id, role, public_id)
            payment = (await self._payments([key])).get(key)
        return None if payment is None or not payment.mark.batch_id else await self.get_batch(payment.mark.batch_id)

    async def batch_rows(self, batch_id: bytes) -> AsyncIterator[EntityRow]:
        index = self.name("payments")
        query = {"bool": {"filter": [{"term": {"batch_id": batch_id.hex()}}, {"terms": {"state": [COLLECTED, PAID]}}]}}
        with translated(self.address):
            await self._refresh("payments")
            async for source in self._scan(index, query, "ingest"):
                yield EntityRow(
                    source["ingest"],
                    source["row_id"],
                    bytes.fromhex(source["row_hash"]),
                    int(source["amount_nano_cpu"]),
                )

    # --- numbering ---

    async def _append_portion(self, rows: Sequence[Row], entries: dict[str, list[Entry]]) -> None:
        """Creates the rows that no block lists, then the block after the last one that was seen before looking.

        Only one writer can make that block. A conflict means that another one did, perhaps with some of these rows:
        look again. So what was seen still holds when the block is made.
        """
        while True:
            number, last_ingest = await self._last_block()
            self._must_see_all("blocks")
            new = await self._unnumbered(rows)
            if not new:
                return
            places = await self._create_rows(new)
            document = {
                "block": number + 1,
                "first_ingest": last_ingest + 1,
                "last_ingest": last_ingest + len(new),
                "row_ids": [row.row_id for row in new],
                "rows": [
                    [row.row_id, row.row_hash.hex(), places[row.row_id], [_listed(e) for e in entries[row.row_id]]]
                    for row in new
                ],
            }
            try:
                await self.client.create(index=self.name("blocks"), id=_block_id(number + 1), document=document)
            except ConflictError:
                continue
            return

    async def _unnumbered(self, rows: Sequence[Row]) -> list[Row]:
        """Returns the rows no block lists. Raises Conflict for one that is listed with another hash."""
        found = await self._numbered([row.row_id for row in rows])
        self._must_see_all("blocks")
        new = []
        for row in rows:
            listed = found.get(row.row_id)
            if listed is None:
                new.append(row)
            elif listed.row_hash != row.row_hash.hex():
                raise Conflict(f"row {row.row_id} is stored with the hash {listed.row_hash}, not {row.row_hash.hex()}")
        return new

    async def _numbered(self, row_ids: Sequence[str]) -> dict[str, _Numbered]:
        """Returns what blocks say of these rows."""
        index = self.name("blocks")
        await self._refresh("blocks")
        wanted = set(row_ids)
        found: dict[str, _Numbered] = {}
        after: list[Any] | None = None
        while True:
            answer = await self.client.search(
                index=index,
                query={"terms": {"row_ids": sorted(wanted)}},
                source=False,
                sort=[{"block": "asc"}],
                search_after=after,
                size=limits.ELASTICSEARCH_HITS,
                track_total_hits=False,
            )
            hits = answer["hits"]["hits"]
            for hit in hits:
                block = await self._block(int(hit["_id"]))
                found |= {row.row_id: row for row in block.rows if row.row_id in wanted}
            if len(hits) < limits.ELASTICSEARCH_HITS:
                return found
            after = hits[-1]["sort"]

    async def _numbered_after(self, after_ingest: int, limit: int) -> list[_Numbered]:
        wanted: list[_Numbered] = []
        async for block in self._blocks_from(after_ingest + 1):
            wanted += [row for row in block.rows if row.ingest > after_ingest]
            if len(wanted) >= limit:
                break
        return wanted[:limit]

    async def _last_block(self) -> tuple[int, int]:
        """Returns (number, last ingestion number) of the newest block; (0, 0) when there is none."""
        index = self.name("blocks")
        await self._refresh("blocks")
        answer = await self.client.search(
            index=index,
            sort=[{"block": "desc"}],
            size=1,
            source_includes=["block", "last_ingest"],
            track_total_hits=False,
        )
        hits = answer["hits"]["hits"]
        return (hits[0]["_source"]["block"], hits[0]["_source"]["last_ingest"]) if hits else (0, 0)

    async def _blocks_from(self, first_ingest: int) -> AsyncIterator[_Block]:
        """Yields the blocks that hold this ingestion number and later ones, ascending."""
        index = self.name("blocks")
        await self._refresh("blocks")
        answer = await self.client.search(
            index=index,
            query={"range": {"last_ingest": {"gte": first_ingest}}},
            sort=[{"block": "asc"}],
            size=1,
            source=False,
            track_total_hits=False,
        )
        hits = answer["hits"]["hits"]
        if not hits:
            return
        number, (last, _) = int(hits[0]["_id"]), await self._last_block()
        while number <= last:
            yield await self._block(number)
            number += 1

    async def _block(self, number: int) -> _Block:
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        answer = await self.client.get(index=self.name("blocks"), id=_block_id(number))
        source = answer["_source"]
        rows = tuple(
            _Numbered(ingest, row_id, row_hash, partition, tuple(Entry(r, i, int(c), int(e)) for r, i, c, e in entries))
            for ingest, (row_id, row_hash, partition, entries) in enumerate(source["rows"], source["first_ingest"])
        )
        block = self._cache[number] = _Block(number, source["last_ingest"], rows)
        while len(self._cache) > _BLOCKS_CACHED:
            self._cache.popitem(last=False)
        return block

    # --- rows ---

    async def _create_rows(self, rows: Sequence[Row]) -> dict[str, str]:
        """Creates the row documents; returns the index of each. One that is there from an append that did not end is
        the same, or a Conflict. A row of a month that is sealed goes to that month's index of late rows."""
        places = {row.row_id: self._rows_index(row) for row in rows}
        there, sealed = await self._bulk([_row_operation(row, places[row.row_id]) for row in rows])
        if sealed:
            places |= {row_id: f"{places[row_id]}-late" for row_id in sealed}
            late = [_row_operation(row, places[row.row_id]) for row in rows if row.row_id in sealed]
            more, sealed = await self._bulk(late)
            there |= more
        if sealed:
            raise StoreError(f"the indices of late rows are closed for writing, such as {places[min(sealed)]}")
        found = [row for row in rows if row.row_id in there]
        for start in range(0, len(found), limits.PORTION_ROWS):
            portion = found[start : start + limits.PORTION_ROWS]
            keys = [{"_index": places[row.row_id], "_id": row.row_id} for row in portion]
            answer = await self.client.mget(docs=keys, source=["row_hash"])
            for row, document in zip(portion, answer["docs"], strict=True):
                stored = document["_source"]["row_hash"]
                if stored != row.row_hash.hex():
                    raise Conflict(f"row {row.row_id} is stored with the hash {stored}")
        return places

    async def _load(self, rows: Sequence[_Numbered]) -> list[StoredRow]:
        loaded = []
        for start in range(0, len(rows), limits.PORTION_ROWS):
            portion = rows[start : start + limits.PORTION_ROWS]
            answer = await self.client.mget(docs=[{"_index": row.partition, "_id": row.row_id} for row in portion])
            loaded += [_stored(row, document) for row, document in zip(portion, answer["docs"], strict=True)]
        return loaded

    # --- payments ---

    async def _mark_portion(self, role: str, public_id: str, row_ids: Sequence[str], mark: Mark) -> None:
        rows = await self._numbered(row_ids)
        self._must_see_all("blocks")
        for row_id in row_ids:
            if row_id not in rows or _amount(rows[row_id], role, public_id) is None:
                raise Conflict(f"row {row_id} is not there, or {public_id} has no part in it as {role}")
        keys = {_payment_id(row_id, role, public_id): rows[row_id] for row_id in row_ids}
        for _ in range(limits.ELASTICSEARCH_RETRIES):
            stored = await self._payments(list(keys))
            operations = []
            for key, row in keys.items():
                payment = stored.get(key)
                problem = refuse_mark(role, None if payment is None else payment.mark, mark)
                if problem:
                    raise Conflict(f"row {row.row_id} for the {role}: {problem}")
                if payment is None or payment.mark != mark:
                    operations.append(self._payment_operation(key, row, role, public_id, mark, payment))
            conflicts, closed = await self._bulk(operations)
            if closed:
                raise StoreError(f"the index {self.name('payments')} is closed for writing")
            if not conflicts:
                return
        raise StoreError("payment states change faster than they can be marked")

    def _payment_operation(
        self, key: str, row: _Numbered, role: str, public_id: str, mark: Mark, before: "_Payment | None"
    ) -> tuple[bytes, bytes]:
        """Creates the state, or changes the very version that was read."""
        document = {
            "row_id": row.row_id,
            "role": role,
            "public_id": public_id,
            "ingest": row.ingest,
            "row_hash": row.row_hash,
            "amount_nano_cpu": str(_amount(row, role, public_id)),
            "state": mark.state,
            "batch_id": mark.batch_id.hex(),
            "tx_id": mark.tx_id,
        }
        guard = {} if before is None else {"if_seq_no": before.seq_no, "if_primary_term": before.primary_term}
        action = _action("create" if before is None else "index", self.name("payments"), key, guard)
        return action, json.dumps(document).encode()

    async def _payments(self, keys: Sequence[str]) -> dict[str, "_Payment"]:
        answer = await self.client.mget(
            index=self.name("payments"), ids=list(keys), source=["state", "batch_id", "tx_id"]
        )
        return {
            document["_id"]: _Payment(
                Mark(
                    document["_source"]["state"],
                    bytes.fromhex(document["_source"]["batch_id"]),
                    document["_source"]["tx_id"],
                ),
                document["_seq_no"],
                document["_primary_term"],
            )
            for document in answer["docs"]
            if document.get("found")
        }

    # --- settlements ---

    async def _claim(self, wanted: SettlementRecord) -> None:
        """Begins a settlement of which a batch is stored, if nobody has. Raises Conflict when another has its place."""
        if wanted.settlement_id in self._claimed:
            return
        holder = await self._holder(wanted) or await self._put_settlement(wanted)
        if holder.stated != wanted.stated:
            raise Conflict(refuse_settlement(wanted, holder, None))
        self._claimed.add(wanted.settlement_id)

    async def _put_settlement(self, wanted: SettlementRecord) -> SettlementRecord:
        """Takes the settlement's place; of two at once one gets it. Returns whose it is, or raises Conflict."""
        source = await self._create("settlements", _place_id(wanted), _settlement_document(wanted))
        if source is None:
            return wanted._replace(ended_ns=0)
        [holder] = await self._with_ends([source])
        if holder.stated != wanted.stated:
            raise Conflict(refuse_settlement(wanted, holder, None))
        return holder

    async def _holder(self, wanted: SettlementRecord) -> SettlementRecord | None:
        try:
            answer = await self.client.get(index=self.name("settlements"), id=_place_id(wanted))
        except NotFoundError:
            return None
        return (await self._with_ends([answer["_source"]]))[0]

    async def _settlement(self, settlement_id: bytes) -> SettlementRecord | None:
        query = {
            "bool": {"filter": [{"exists": {"field": "previous"}}, {"term": {"settlement_id": settlement_id.hex()}}]}
        }
        found = await self._with_ends(await self._found("settlements", query, {"settlement_id": "asc"}, 1))
        return found[0] if found else None

    async def _with_ends(self, sources: Sequence[dict[str, Any]]) -> list[SettlementRecord]:
        """The settlements of these documents, with the ends that stand in documents of their own."""
        if not sources:
            return []
        records = [_settlement(source) for source in sources]
        answer = await self.client.mget(
            index=self.name("settlements"), ids=[_end_id(record.settlement_id) for record in records]
        )
        ends = [document["_source"]["ended_ns"] if document.get("found") else 0 for document in answer["docs"]]
        return [record._replace(ended_ns=ended_ns) for record, ended_ns in zip(records, ends, strict=True)]

    # --- settlements of an older program ---

    async def record_old_settlements(self) -> None:
        """For `elasticsearch_setup`: the settlements of a ledger that knew only their batches, as `sqlite_store` does
        it."""
        if await self._found("settlements", {"match_all": {}}, {"settlement_id": "asc"}, 1):
            return
        await self._refresh("batches")
        records: dict[bytes, SettlementRecord] = {}
        async for source in self._scan(self.name("batches"), {"match_all": {}}, "last_ingest", "batch_id"):
            record = _batch(source).settlement(keccak_256)
            records.setdefault(record.settlement_id, record)
        followed = {record.previous for record in records.values()}
        for record in records.values():
            there = await self._create("settlements", _place_id(record), _settlement_document(record))
            if there is None and record.settlement_id in followed:
                await self.end_settlement(record.settlement_id, 1)

    # --- the client ---

    async def _create(self, kind: str, id_: str, document: dict[str, Any]) -> dict[str, Any] | None:
        """Creates a document. Returns None, or what stands under this id already."""
        try:
            await self.client.create(index=self.name(kind), id=id_, document=document)
        except ConflictError:
            source: dict[str, Any] = (await self.client.get(index=self.name(kind), id=id_))["_source"]
            return source
        return None

    async def _found(self, kind: str, query: dict[str, Any], order: dict[str, str], limit: int) -> list[dict[str, Any]]:
        """The first documents of a search, of all that was written before."""
        await self._refresh(kind)
        answer = await self.client.search(
            index=self.name(kind), query=query, sort=[order], size=limit, track_total_hits=False
        )
        return [hit["_source"] for hit in answer["hits"]["hits"]]

    async def _bulk(self, operations: Sequence[tuple[bytes, bytes]]) -> tuple[set[str], set[str]]:
        """Sends operations in requests of bounded size; returns the ids that were refused with a conflict (409), and
        those whose index is closed for writing.

        What the server is too busy for is sent again with growing waits. Raises StoreError for any other refusal, when
        all requests before it were carried out.
        """
        conflicts: set[str] = set()
        closed: set[str] = set()
        for request in _requests(operations):
            left = request
            for failures in range(1, limits.ELASTICSEARCH_RETRIES + 1):
                answer = await self.client.bulk(operations=_lines(left))
                again = []
                for operation, item in zip(left, answer["items"], strict=True):
                    outcome = next(iter(item.values()))
                    status = outcome["status"]
                    if status == 409:
                        conflicts.add(outcome["_id"])
                    elif status in _BUSY:
                        again.append(operation)
                    elif status == 403 and outcome["error"].get("type") == "cluster_block_exception":
                        closed.add(outcome["_id"])
                    elif status >= 300:
                        raise StoreError(f"the cluster refused {outcome['_id']}: {outcome.get('error')!s:.400}")
                if not again:
                    break
                left = again
                wait_ms = _BUSY_RETRY.wait_ms(failures, random.random())  # noqa: S311 - spreads, hides nothing
                await asyncio.sleep(wait_ms / 1000)
            else:
                raise StoreError(f"the cluster stays too busy for {len(left)} operations")
        return conflicts, closed

    async def _refresh(self, kind: str) -> None:
        """Makes what was written visible to searches. A user who only reads may not, and sees it within a second."""
        if kind in self._unrefreshed:
            return
        try:
            await self.client.indices.refresh(index=self.name(kind))
        except AuthorizationException:
            self._unrefreshed.add(kind)

    def _must_see_all(self, kind: str) -> None:
        """Before something is written on the strength of a search."""
        if kind in self._unrefreshed:
            self._unrefreshed.discard(kind)  # the role may be given meanwhile
            raise StoreError(
                f"{self.address.who} may not refresh {self.name(kind)} (privilege maintenance), as writers must"
            )

    async def _scan(self, index: str, query: dict[str, Any], *order: str) -> AsyncIterator[dict[str, Any]]:
        """Yields all matching documents of one point in time, ordered by fields."""
        pit = (await self.client.open_point_in_time(index=index, keep_alive="2m"))["id"]
        try:
            after: list[Any] | None = None
            while True:
                answer = await self.client.search(
                    pit={"id": pit, "keep_alive": "2m"},
                    query=query,
                    sort=[{field: "asc"} for field in order],
                    search_after=after,
                    size=limits.PORTION_ROWS,
                    track_total_hits=False,
                )
                pit, hits = answer["pit_id"], answer["hits"]["hits"]
                for hit in hits:
                    yield hit["_source"]
                if len(hits) < limits.PORTION_ROWS:
                    return
                after = hits[-1]["sort"]
        finally:
            await self.client.close_point_in_time(id=pit)

    def name(self, kind: str) -> str:
        return f"{self.address.prefix}-{kind}"

    def _rows_index(self, row: Row) -> str:
        """By the month of the event: a column that never changes, so a row that comes again meets itself."""
        month = datetime.fromtimestamp(int(row.public["event_time_ns"]) // 10**9, UTC)
        return self.name(f"rows-{month:%Y-%m}")


class _Payment(NamedTuple):
    mark: Mark
    seq_no: int
    primary_term: int


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """The client's errors as the port's, with what to do where that is known."""
    try:
        yield
    except AuthenticationException as error:
        raise StoreError(f"{address.server} refuses {address.who}: is the password or key right?") from error
    except AuthorizationException as error:
        problem = f"{address.who} at {address.server} lacks a privilege (docs/reference/ledger.md has the roles)"
        raise StoreError(f"{problem}: {error!s:.400}") from error
    except ApiError as error:
        raise StoreError(f"the cluster answered {error.status_code}: {error!s:.400}") from error
    except TlsError as error:
        problem = f"the certificate of {address.server} is not trusted; name the authority that signed it: ?ca=FILE"
        raise StoreError(f"{problem} ({error!s:.200})") from error
    except TransportError as error:
        raise StoreError(f"the cluster did not answer: {error!s:.400}") from error


def _portions(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Cuts rows into appends of one block each, by count and by bytes."""
    portion: list[Row] = []
    size = 0
    for row in rows:
        length = len(row.public_json) + len(row.private_json)
        if portion and (len(portion) == limits.PORTION_ROWS or size + length > limits.PORTION_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += length
    if portion:
        yield portion


def _requests(operations: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Cuts operations into requests of bounded size."""
    request: list[tuple[bytes, bytes]] = []
    size = 0
    for action, document in operations:
        length = len(action) + len(document)
        if request and size + length > limits.PORTION_BYTES:
            yield request
            request, size = [], 0
        request.append((action, document))
        size += length
    if request:
        yield request


def _lines(operations: Sequence[tuple[bytes, bytes]]) -> list[Any]:
    """What the client joins to the request's body: it takes lines that are encoded already."""
    return [line for operation in operations for line in operation]


def _action(verb: str, index: str, id_: str, guard: dict[str, int] | None = None) -> bytes:
    return json.dumps({verb: {"_index": index, "_id": id_, **(guard or {})}}).encode()


def _row_operation(row: Row, index: str) -> tuple[bytes, bytes]:
    return _action("create", index, row.row_id), b'%b,"node_signature":"%b","private":%b,"row_hash":"%b"}' % (
        row.public_json[:-1],
        row.node_signature.hex().encode(),
        json.dumps(row.private_json.decode()).encode(),
        row.row_hash.hex().encode(),
    )


def _stored(row: _Numbered, document: Mapping[str, Any]) -> StoredRow:
    """A row as its document has it. Whatever is missing or malformed in it stays so: who checks rows names it."""
    source = dict(document["_source"]) if document.get("found") else {}
    private, stored_hash = source.pop("private", ""), _digest(source.pop("row_hash", ""))
    signature = _digest(source.pop("node_signature", ""))
    try:
        public_json = encode(source) if source else b""
    except CanonicalError:
        public_json = json.dumps(source).encode()
    return StoredRow(row.ingest, row.row_id, stored_hash, public_json, str(private).encode(), signature)


def _digest(text: object) -> bytes:
    """Bytes in hexadecimal; of anything else something that equals no digest."""
    try:
        return bytes.fromhex(str(text))
    except ValueError:
        return str(text).encode()[:128]


def _listed(entry: Entry) -> list[str]:
    return [entry.role, entry.public_id, str(entry.amount_nano_cpu), str(entry.amount_nano_eur)]


def _amount(row: _Numbered, role: str, public_id: str) -> int | None:
    return next((e.amount_nano_cpu for e in row.entries if e.role == role and e.public_id == public_id), None)


def _block_id(number: int) -> str:
    return f"{number:016d}"


def _payment_id(row_id: str, role: str, public_id: str) -> str:
    return f"{row_id}-{role}-{public_id}"


def _batch_document(batch: BatchRecord) -> dict[str, Any]:
    """Digests in hexadecimal; amount and chain id as text, since they may pass 2^63."""
    values = {name: value.hex() if isinstance(value, bytes) else value for name, value in batch._asdict().items()}
    return {**values, "chain_id": str(batch.chain_id), "amount_nano_cpu": str(batch.amount_nano_cpu)}


def _batch(source: dict[str, Any]) -> BatchRecord:
    """A batch as its document has it; what is malformed in it equals nothing that a checker expects."""
    digests = {name: _digest(source[name]) for name in ("batch_id", "previous", "xor", "merkle_root")}
    numbers = {name: _integer(source[name]) for name in ("chain_id", "amount_nano_cpu")}
    return BatchRecord(**{**source, **digests, **numbers})


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        return -1


def _head_id(last_ingest: int, node_id: str) -> str:
    return f"{last_ingest:020d}-{node_id}"


def _head(source: dict[str, Any]) -> Head:
    commitment, signature = bytes.fromhex(source["commitment"]), bytes.fromhex(source["signature"])
    return Head(source["node_id"], source["last_ingest"], commitment, source["time_ns"], signature)


def _place_id(settlement: SettlementRecord) -> str:
    chain_id, token, previous = settlement.place
    return f"{chain_id}-{token}-{previous.hex()}"


def _end_id(settlement_id: bytes) -> str:
    return f"end-{settlement_id.hex()}"


def _settlement_document(settlement: SettlementRecord) -> dict[str, Any]:
    values = settlement._asdict()
    del values["ended_ns"]
    digests = {name: values[name].hex() for name in ("settlement_id", "previous")}
    return {**values, **digests, "chain_id": str(settlement.chain_id)}


def _settlement(source: dict[str, Any]) -> SettlementRecord:
    digests = {name: bytes.fromhex(source[name]) for name in ("settlement_id", "previous")}
    return SettlementRecord(**{**source, **digests, "chain_id": int(source["chain_id"])})
