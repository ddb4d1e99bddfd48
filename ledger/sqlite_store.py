"""The embedded store: one SQLite file (L-3, L-4, L-6).

One thread owns the connection that writes. It takes everything that waits into one transaction (WAL, synchronous=FULL)
and answers when the transaction is on disk. A second thread reads on a connection of its own, so that a long read
holds no write up. Another process (payouts) may open the same file: ingestion numbers are given inside the transaction.

Rows, entries, entities and batches cannot be altered through SQL either: triggers refuse UPDATE, DELETE and REPLACE.
Whoever owns the file can remove the triggers; that is what `ledger.core.verify` and the chain are for.
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import Row

from ledger import limits
from ledger.core.batch import newest_of, refuse_settlement
from ledger.core.entries import COLLECTED, PAID, PENDING, Entry, Mark, refuse_mark, refuse_times, sound_entries
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
    StoreFull,
    Total,
    sound_losses,
)

T = TypeVar("T")

SCHEMA_VERSION: Final = 3
"""1 had neither signatures nor heads nor settlements, 2 no losses; they are brought up to date when they are opened."""
APPLICATION_ID: Final = 0x43474E4C
"""CGNL, so that no other SQLite file is taken for a ledger."""

_WRITE_ONCE_1: Final = ("rows", "entities", "entries", "batches")
_WRITE_ONCE_2: Final = ("heads", "settlements", "settlement_ends")
_WRITE_ONCE_3: Final = ("losses",)

_SCHEMA: Final = """
CREATE TABLE rows (
  ingest INTEGER PRIMARY KEY,
  row_id BLOB NOT NULL UNIQUE,
  row_hash BLOB NOT NULL,
  public_json TEXT NOT NULL,
  private_json TEXT NOT NULL
) STRICT;
CREATE TABLE entities (
  entity INTEGER PRIMARY KEY,
  role TEXT NOT NULL,
  public_id TEXT NOT NULL,
  UNIQUE (role, public_id)
) STRICT;
CREATE TABLE entries (
  ingest INTEGER NOT NULL REFERENCES rows,
  entity INTEGER NOT NULL REFERENCES entities,
  amount_nano_cpu INTEGER NOT NULL,
  amount_nano_eur INTEGER NOT NULL,
  PRIMARY KEY (ingest, entity)
) STRICT, WITHOUT ROWID;
CREATE TABLE batches (
  batch_id BLOB PRIMARY KEY, chain_id TEXT NOT NULL, token TEXT NOT NULL, period TEXT NOT NULL, role TEXT NOT NULL,
  public_id TEXT NOT NULL, account TEXT NOT NULL, first_ingest INTEGER NOT NULL, last_ingest INTEGER NOT NULL,
  previous BLOB NOT NULL, row_count INTEGER NOT NULL, amount_nano_cpu TEXT NOT NULL, xor BLOB NOT NULL,
  merkle_root BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_entity ON batches (role, public_id, batch_id);
CREATE TABLE marks (
  mark INTEGER PRIMARY KEY,
  state TEXT NOT NULL,
  batch_id BLOB NOT NULL,
  tx_id TEXT NOT NULL,
  UNIQUE (batch_id, state, tx_id)
) STRICT;
CREATE TABLE payments (
  entity INTEGER NOT NULL REFERENCES entities,
  ingest INTEGER NOT NULL REFERENCES rows,
  mark INTEGER NOT NULL REFERENCES marks,
  PRIMARY KEY (entity, ingest)
) STRICT, WITHOUT ROWID;
CREATE INDEX payments_mark ON payments (mark);
CREATE TRIGGER rows_insert BEFORE INSERT ON rows
  WHEN NEW.ingest IS NOT (SELECT coalesce(max(ingest), 0) + 1 FROM rows)
    OR EXISTS (SELECT 1 FROM rows WHERE row_id = NEW.row_id)
  BEGIN SELECT raise(ABORT, 'rows are written once, without gaps'); END;
CREATE TRIGGER entities_insert BEFORE INSERT ON entities
  WHEN EXISTS (SELECT 1 FROM entities WHERE entity = NEW.entity OR (role = NEW.role AND public_id = NEW.public_id))
  BEGIN SELECT raise(ABORT, 'entities are written once'); END;
CREATE TRIGGER entries_insert BEFORE INSERT ON entries
  WHEN EXISTS (SELECT 1 FROM entries WHERE ingest = NEW.ingest AND entity = NEW.entity)
  BEGIN SELECT raise(ABORT, 'entries are written once'); END;
CREATE TRIGGER batches_insert BEFORE INSERT ON batches
  WHEN EXISTS (SELECT 1 FROM batches WHERE batch_id = NEW.batch_id)
  BEGIN SELECT raise(ABORT, 'batches are written once'); END;
"""
_SCHEMA_2: Final = """
ALTER TABLE rows ADD COLUMN node_signature BLOB NOT NULL DEFAULT x'';
CREATE TABLE heads (
  last_ingest INTEGER NOT NULL, node_id TEXT NOT NULL, commitment BLOB NOT NULL, time_ns INTEGER NOT NULL,
  signature BLOB NOT NULL,
  PRIMARY KEY (last_ingest, node_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX heads_node ON heads (node_id, last_ingest);
CREATE TABLE settlements (
  settlement_id BLOB PRIMARY KEY, chain_id TEXT NOT NULL, token TEXT NOT NULL, period TEXT NOT NULL,
  first_ingest INTEGER NOT NULL, last_ingest INTEGER NOT NULL, previous BLOB NOT NULL, owner TEXT NOT NULL,
  begun_ns INTEGER NOT NULL,
  UNIQUE (chain_id, token, previous)
) STRICT, WITHOUT ROWID;
CREATE TABLE settlement_ends (settlement_id BLOB PRIMARY KEY, ended_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER heads_insert BEFORE INSERT ON heads
  WHEN EXISTS (SELECT 1 FROM heads WHERE last_ingest = NEW.last_ingest AND node_id = NEW.node_id)
  BEGIN SELECT raise(ABORT, 'heads are written once'); END;
CREATE TRIGGER settlements_insert BEFORE INSERT ON settlements
  WHEN EXISTS (SELECT 1 FROM settlements WHERE settlement_id = NEW.settlement_id
    OR (chain_id = NEW.chain_id AND token = NEW.token AND previous = NEW.previous))
  BEGIN SELECT raise(ABORT, 'settlements are written once'); END;
CREATE TRIGGER settlement_ends_insert BEFORE INSERT ON settlement_ends
  WHEN EXISTS (SELECT 1 FROM settlement_ends WHERE settlement_id = NEW.settlement_id)
  BEGIN SELECT raise(ABORT, 'settlement_ends are written once'); END;
"""
_SCHEMA_3: Final = """
CREATE TABLE losses (loss_id BLOB PRIMARY KEY, loss BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER losses_insert BEFORE INSERT ON losses
  WHEN EXISTS (SELECT 1 FROM losses WHERE loss_id = NEW.loss_id)
  BEGIN SELECT raise(ABORT, 'losses are written once'); END;
"""


def _triggers(tables: Iterable[str]) -> str:
    return "".join(
        f"CREATE TRIGGER {table}_{verb} BEFORE {verb.upper()} ON {table} "
        f"BEGIN SELECT raise(ABORT, '{table} are written once'); END;\n"
        for table in tables
        for verb in ("update", "delete")
    )


_STORED: Final = (
    "SELECT ingest, row_id, row_hash, CAST(public_json AS BLOB), CAST(private_json AS BLOB), node_signature FROM rows"
)
"""As bytes: what somebody else wrote into the file need not be text, and is to be named, not to end the reading."""
_SETTLEMENTS: Final = (
    "SELECT settlements.*, coalesce(ended_ns, 0) FROM settlements LEFT JOIN settlement_ends USING (settlement_id)"
)
_MARKED: Final = (
    "SELECT rows.row_id, rows.ingest, marks.state, marks.batch_id, marks.tx_id FROM rows"
    " JOIN entries ON entries.ingest = rows.ingest AND entries.entity = ?"
    " LEFT JOIN payments ON payments.entity = entries.entity AND payments.ingest = rows.ingest"
    " LEFT JOIN marks USING (mark)"
)
_LOW_BITS: Final = 0xFFFF_FFFF


class _Operation(NamedTuple):
    work: Callable[["_Connection"], Any]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Any]"


class SqliteStore:
    """`ledger.port.Store` over one file. `await SqliteStore.open(path)`; `await close()`."""

    def __init__(self, path: Path, now_ns: Callable[[], int] | None, *, read_only: bool) -> None:
        self._path = path
        self._read_only = read_only
        self._now_ns = now_ns
        self._waiting: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._broken: str = ""
        self._identity = (0, 0)
        """Device and number of the file that was opened: another one may stand under its name later."""
        self._closed = False
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ledger-read", initializer=self._open_reader)
        self._reading = threading.local()
        self._writer = threading.Thread(target=self._write, name="ledger-write", daemon=True)

    @classmethod
    async def open(
        cls, path: str | Path, now_ns: Callable[[], int] | None = None, *, read_only: bool = False
    ) -> "SqliteStore":
        """Opens the file, making it (mode 0600) where it is missing. Raises StoreError for a file of another kind.

        `read_only`: as it is, without a change of file or version; what would write raises StoreError.
        """
        store = cls(Path(path), now_ns, read_only=read_only)
        await asyncio.to_thread(store._look if read_only else store._prepare)
        if not read_only:
            store._writer.start()
        return store

    # --- rows ---

    async def append(self, rows: Sequence[Row]) -> None:
        if len(rows) > limits.APPEND_MAX_ROWS:
            raise ValueError(f"append takes {limits.APPEND_MAX_ROWS} rows at once")
        if self._now_ns is not None:
            refuse_times(rows, self._now_ns())
        if rows:
            await self._submit(lambda connection: connection.append(rows))

    async def read(self, after_ingest: int, limit: int) -> list[StoredRow]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"read answers {limits.READ_MAX_ROWS} rows at once")
        found = await self._query(f"{_STORED} WHERE ingest > ? ORDER BY ingest LIMIT ?", after_ingest, limit)
        return [_stored(row) for row in found]

    async def get(self, row_id: str) -> StoredRow | None:
        found = await self._query(f"{_STORED} WHERE row_id = ?", _id_bytes(row_id))
        return _stored(found[0]) if found else None

    async def head(self) -> int:
        return int((await self._query("SELECT coalesce(max(ingest), 0) FROM rows"))[0][0])

    async def row_hashes(self, after_ingest: int, limit: int) -> list[RowHash]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"row_hashes answers {limits.READ_MAX_ROWS} rows at once")
        found = await self._query(
            "SELECT ingest, row_id, row_hash FROM rows WHERE ingest > ? ORDER BY ingest LIMIT ?", after_ingest, limit
        )
        return [RowHash(ingest, row_id.hex(), row_hash) for ingest, row_id, row_hash in found]

    async def put_head(self, head: Head) -> None:
        await self._submit(lambda connection: connection.put_head(head))

    async def heads(self, *, after: tuple[int, str] = (0, ""), limit: int = 1_000) -> list[Head]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"heads answers {limits.READ_MAX_ROWS} heads at once")
        found = await self._query(
            "SELECT * FROM heads WHERE (last_ingest, node_id) > (?, ?) ORDER BY last_ingest, node_id LIMIT ?",
            *after,
            limit,
        )
        return [_head(row) for row in found]

    async def newest_head(self, node_id: str) -> Head | None:
        found = await self._query("SELECT * FROM heads WHERE node_id = ? ORDER BY last_ingest DESC LIMIT 1", node_id)
        return _head(found[0]) if found else None

    async def put_loss(self, loss: Loss) -> None:
        await self._submit(lambda connection: connection.put_loss(loss))

    async def losses(self) -> list[Loss]:
        found = await self._query("SELECT loss FROM losses LIMIT ?", limits.LOSSES_MAX + 1)
        return sound_losses(loss for (loss,) in found)

    async def totals(self, first_ingest: int, last_ingest: int) -> list[Total]:
        # SQLite's sum() raises past 2^63; halves of 32 bits cannot reach it with fewer than 2^31 rows (L-7).
        found = await self._query(
            "SELECT role, public_id, count(*), sum(amount_nano_cpu >> 32), sum(amount_nano_cpu & ?1),"
            " sum(amount_nano_eur >> 32), sum(amount_nano_eur & ?1)"
            " FROM (SELECT entity, amount_nano_cpu, amount_nano_eur FROM entries WHERE ingest BETWEEN ?2 AND ?3)"
            " JOIN entities USING (entity) GROUP BY entity ORDER BY role, public_id",
            _LOW_BITS,
            first_ingest,
            last_ingest,
        )
        return [
            Total(role, public_id, count, (cpu_high << 32) + cpu_low, (eur_high << 32) + eur_low)
            for role, public_id, count, cpu_high, cpu_low, eur_high, eur_low in found
        ]

    async def entity_rows(
        self, role: str, public_id: str, first_ingest: int, last_ingest: int
    ) -> AsyncIterator[EntityRow]:
        statement = (
            "SELECT ingest, row_id, row_hash, amount_nano_cpu FROM entries JOIN rows USING (ingest)"
            " WHERE entity = (SELECT entity FROM entities WHERE role = ? AND public_id = ?)"
            " AND ingest >= ? AND ingest <= ? ORDER BY ingest LIMIT ?"
        )
        while found := await self._query(statement, role, public_id, first_ingest, last_ingest, limits.PORTION_ROWS):
            for row in found:
                yield _entity_row(row)
            first_ingest = found[-1][0] + 1

    # --- payment state and batches ---

    async def mark(
        self, role: str, public_id: str, row_ids: Sequence[str], *, state: str, batch_id: bytes = b"", tx_id: str = ""
    ) -> None:
        if len(row_ids) > limits.MARK_MAX_ROWS:
            raise ValueError(f"mark takes {limits.MARK_MAX_ROWS} rows at once")
        mark = Mark(state, batch_id, tx_id)
        for start in range(0, len(row_ids), limits.PORTION_ROWS):
            portion = [_id_bytes(row_id) for row_id in row_ids[start : start + limits.PORTION_ROWS]]
            await self._submit(_marking(role, public_id, portion, mark))

    async def payment_state(self, row_id: str) -> list[PaymentState]:
        found = await self._query(
            "SELECT role, public_id, amount_nano_cpu, coalesce(state, ?), coalesce(batch_id, x''), coalesce(tx_id, '')"
            " FROM rows JOIN entries USING (ingest) JOIN entities USING (entity)"
            " LEFT JOIN payments USING (entity, ingest) LEFT JOIN marks USING (mark)"
            " WHERE row_id = ? ORDER BY role NOT IN ('enterprise', 'subsidy'), role, public_id",
            PENDING,
            _id_bytes(row_id),
        )
        return [PaymentState(*row) for row in found]

    async def payments(self, first_ingest: int, last_ingest: int) -> AsyncIterator[RowPayment]:
        statement = (
            "SELECT ingest, row_id, role, public_id, amount_nano_cpu, state, batch_id, tx_id"
            " FROM entries JOIN payments USING (ingest, entity) JOIN marks USING (mark) JOIN entities USING (entity)"
            " JOIN rows USING (ingest) WHERE ingest BETWEEN ? AND ? ORDER BY ingest, role, public_id"
        )
        following = "SELECT min(ingest) FROM entries WHERE ingest BETWEEN ? AND ?"
        while (start := (await self._query(following, first_ingest, last_ingest))[0][0]) is not None:
            until = min(last_ingest, start + limits.PORTION_ROWS - 1)
            for ingest, row_id, *state in await self._query(statement, start, until):
                yield RowPayment(ingest, row_id.hex(), *state)
            first_ingest = until + 1

    async def begin_settlement(self, settlement: SettlementRecord) -> SettlementRecord:
        return await self._submit(lambda connection: connection.begin_settlement(settlement))

    async def end_settlement(self, settlement_id: bytes, ended_ns: int) -> None:
        await self._submit(lambda connection: connection.end_settlement(settlement_id, ended_ns))

    async def settlements(self, *, after: bytes = b"", limit: int = 1_000) -> list[SettlementRecord]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"settlements answers {limits.READ_MAX_ROWS} settlements at once")
        statement = f"{_SETTLEMENTS} WHERE settlement_id > ? ORDER BY settlement_id LIMIT ?"
        return [_settlement(row) for row in await self._query(statement, after, limit)]

    async def newest_settlement(self, chain_id: int, token: str) -> SettlementRecord | None:
        found = await self._query(f"{_SETTLEMENTS} WHERE chain_id = ? AND token = ?", str(chain_id), token)
        return newest_of(map(_settlement, found))

    async def put_batch(self, batch: BatchRecord) -> None:
        await self._submit(lambda connection: connection.put_batch(batch))

    async def get_batch(self, batch_id: bytes) -> BatchRecord | None:
        found = await self._query("SELECT * FROM batches WHERE batch_id = ?", batch_id)
        return _batch(found[0]) if found else None

    async def get_batches(
        self, *, role: str = "", public_id: str = "", after: bytes = b"", limit: int = 1_000
    ) -> list[BatchRecord]:
        if not 0 <= limit <= limits.READ_MAX_ROWS:
            raise ValueError(f"get_batches answers {limits.READ_MAX_ROWS} batches at once")
        found = await self._query(
            "SELECT * FROM batches WHERE (?1 = '' OR role = ?1) AND (?2 = '' OR public_id = ?2) AND batch_id > ?3"
            " ORDER BY batch_id LIMIT ?4",
            role,
            public_id,
            after,
            limit,
        )
        return [_batch(row) for row in found]

    async def batch_of(self, row_id: str, role: str, public_id: str) -> BatchRecord | None:
        found = await self._query(
            "SELECT batches.* FROM rows JOIN payments USING (ingest) JOIN marks USING (mark)"
            " JOIN batches USING (batch_id) WHERE rows.row_id = ? AND payments.entity ="
            " (SELECT entity FROM entities WHERE role = ? AND public_id = ?)",
            _id_bytes(row_id),
            role,
            public_id,
        )
        return _batch(found[0]) if found else None

    async def batch_rows(self, batch_id: bytes) -> AsyncIterator[EntityRow]:
        after = 0
        statement = (
            "SELECT ingest, row_id, row_hash, amount_nano_cpu FROM marks JOIN payments USING (mark)"
            " JOIN entries USING (entity, ingest) JOIN rows USING (ingest)"
            " WHERE marks.batch_id = ? AND state IN (?, ?) AND ingest > ? ORDER BY ingest LIMIT ?"
        )
        while found := await self._query(statement, batch_id, COLLECTED, PAID, after, limits.PORTION_ROWS):
            for row in found:
                yield _entity_row(row)
            after = found[-1][0]

    async def close(self) -> None:
        """Writes what waits, then closes both connections."""
        if self._closed:
            return
        self._closed = True
        if not self._read_only:
            self._waiting.put(None)
            await asyncio.to_thread(self._writer.join)
        self._broken = self._broken or "the ledger is closed"
        await asyncio.to_thread(self._reader.submit(self._close_reader).result)
        self._reader.shutdown()

    # --- the threads ---

    async def _submit(self, work: Callable[["_Connection"], T]) -> T:
        if self._broken:
            raise StoreError(self._broken)
        if self._read_only:
            raise StoreError(f"{self._path} was opened for reading only")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._waiting.put(_Operation(work, loop, answer))
        return await answer

    async def _query(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        def work() -> list[tuple[Any, ...]]:
            found: list[tuple[Any, ...]] = self._reading.connection.execute(statement, arguments).fetchall()
            return found

        if self._broken:
            raise StoreError(self._broken)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, work)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _open_reader(self) -> None:
        self._reading.connection = (_connect_to_read if self._read_only else _connect)(self._path)
        self._reading.connection.execute("PRAGMA query_only = ON")

    def _close_reader(self) -> None:
        self._reading.connection.close()

    def _look(self) -> None:
        """Sees that the file is a ledger of this version."""
        try:
            with contextlib.closing(_connect_to_read(self._path)) as connection:
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise StoreError(f"{self._path} cannot be read as a ledger: {error}") from error
        if application != APPLICATION_ID:
            raise StoreError(f"{self._path} is a database of something else")
        if version != SCHEMA_VERSION:
            raise StoreError(f"{self._path} is a ledger of version {version}; cgn ledger init brings it up to date")

    def _prepare(self) -> None:
        """Makes the file and its tables, or checks that they are ours."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # private parts stand in it
            self._identity = _identity(self._path)
            connection = _connect(self._path)
            try:
                connection.execute("BEGIN IMMEDIATE")
                _make_tables(connection, self._path)
                connection.execute("COMMIT")
            finally:
                connection.close()
            _sync_folder(self._path.parent)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path} cannot be used as a ledger: {error}") from error

    def _write(self) -> None:
        """The owning thread: one transaction per round, over everything that waits."""
        connection = _Connection(_connect(self._path))
        try:
            while (first := self._waiting.get()) is not None:
                group, last = self._gather(first)
                if not connection.broken and _identity(self._path) != self._identity:  # it would go where nobody looks
                    self._broken = f"{self._path} was replaced or removed while it was open: start again"
                    connection.broken = self._broken
                connection.commit_group(group)
                if connection.broken:
                    self._broken = connection.broken
                if last:
                    break
        finally:
            self._broken = self._broken or "the ledger is closed"
            connection.close()
            self._refuse_waiting()

    def _gather(self, first: _Operation) -> tuple[list[_Operation], bool]:
        group = [first]
        while len(group) < limits.GROUP_MAX_OPERATIONS:
            try:
                operation = self._waiting.get_nowait()
            except queue.Empty:
                break
            if operation is None:
                return group, True
            group.append(operation)
        return group, False

    def _refuse_waiting(self) -> None:
        while True:
            try:
                operation = self._waiting.get_nowait()
            except queue.Empty:
                return
            if operation is not None:
                _answer([(operation, None, StoreError(self._broken))])


class _Connection:
    """What the owning thread does with its connection. Every method runs inside the group's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection
        self._entities: dict[tuple[str, str], int] = {}
        self.broken = ""

    def close(self) -> None:
        self._sql.close()

    def commit_group(self, group: list[_Operation]) -> None:
        """Runs the operations in one transaction and answers all when it is on disk, or none of them happened.

        An operation that is refused is undone alone, back to its savepoint.
        """
        answers: list[tuple[_Operation, Any, BaseException | None]] = []
        try:
            if self.broken:
                raise StoreError(self.broken)
            self._sql.execute("BEGIN IMMEDIATE")
            for operation in group:
                self._sql.execute("SAVEPOINT operation")
                try:
                    answers.append((operation, operation.work(self), None))
                except (StoreError, ValueError) as refused:
                    self._sql.execute("ROLLBACK TO operation")
                    self._entities.clear()
                    answers.append((operation, None, refused))
                self._sql.execute("RELEASE operation")
            self._sql.execute("COMMIT")
        except BaseException as error:
            answers = [(operation, None, self._failed(error)) for operation in group]
        _answer(answers)

    def _failed(self, error: BaseException) -> StoreError:
        """The whole group fails. After an I/O error the pages in memory are not to be trusted: nothing more is done."""
        self._entities.clear()
        try:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
        except sqlite3.Error as second:
            self.broken = f"the ledger's file failed: {second}"
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return StoreFull("the ledger's disk is full")
        if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            self.broken = f"the ledger's file failed: {error}"
        return error if isinstance(error, StoreError) else StoreError(f"the ledger could not write: {error!r:.300}")

    def append(self, rows: Sequence[Row]) -> None:
        for start in range(0, len(rows), limits.PORTION_ROWS):
            self._append_portion(rows[start : start + limits.PORTION_ROWS])

    def _append_portion(self, rows: Sequence[Row]) -> None:
        ids = [bytes.fromhex(row.row_id) for row in rows]
        statement = f"SELECT row_id, row_hash FROM rows WHERE row_id IN ({_places(len(ids))})"  # noqa: S608
        known = dict(self._sql.execute(statement, ids))
        ingest = int(self._sql.execute("SELECT coalesce(max(ingest), 0) FROM rows").fetchone()[0])
        row_values, entry_values = [], []
        for id_, row in zip(ids, rows, strict=True):
            entries = sound_entries(row, keccak_256)
            stored = known.get(id_)
            if stored is None:
                ingest += 1
                known[id_] = row.row_hash
                texts = row.public_json.decode(), row.private_json.decode()
                row_values.append((ingest, id_, row.row_hash, *texts, row.node_signature))
                entry_values += [(ingest, self._entity(entry), entry[2], entry[3]) for entry in entries]
            elif stored != row.row_hash:
                raise Conflict(f"row {row.row_id} is stored with the hash {stored.hex()}, not {row.row_hash.hex()}")
        self._sql.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", row_values)
        self._sql.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", entry_values)

    def _entity(self, entry: Entry) -> int:
        key = entry[:2]
        number = self._entities.get(key)
        if number is None:
            number = self._find_entity(*key)
            if number is None:
                inserted = self._sql.execute("INSERT INTO entities (role, public_id) VALUES (?, ?)", key)
                number = inserted.lastrowid or 0
            self._entities[key] = number
        return number

    def _find_entity(self, role: str, public_id: str) -> int | None:
        found = self._sql.execute("SELECT entity FROM entities WHERE role = ? AND public_id = ?", (role, public_id))
        row = found.fetchone()
        return None if row is None else int(row[0])

    def mark(self, role: str, public_id: str, row_ids: Sequence[bytes], mark: Mark) -> None:
        entity = self._find_entity(role, public_id)
        statement = f"{_MARKED} WHERE rows.row_id IN ({_places(len(row_ids))})"
        found = self._sql.execute(statement, [entity, *row_ids]).fetchall()
        for row_id in set(row_ids) - {row[0] for row in found}:
            raise Conflict(f"row {row_id.hex()} is not there, or {public_id} has no part in it as {role}")
        refuse_all(role, found, mark)
        self._sql.execute("INSERT OR IGNORE INTO marks (state, batch_id, tx_id) VALUES (?, ?, ?)", mark)
        number = self._sql.execute(
            "SELECT mark FROM marks WHERE batch_id = ? AND state = ? AND tx_id = ?",
            (mark.batch_id, mark.state, mark.tx_id),
        ).fetchone()[0]
        self._sql.executemany(
            "INSERT INTO payments VALUES (?, ?, ?) ON CONFLICT (entity, ingest) DO UPDATE SET mark = excluded.mark",
            [(entity, ingest, number) for _, ingest, *_ in found],
        )

    def put_head(self, head: Head) -> None:
        key = (head.last_ingest, head.node_id)
        found = self._sql.execute("SELECT * FROM heads WHERE last_ingest = ? AND node_id = ?", key).fetchone()
        if found is None:
            self._sql.execute(
                "INSERT INTO heads VALUES (?, ?, ?, ?, ?)", (*key, head.commitment, head.time_ns, head.signature)
            )
        elif _head(found) != head:
            raise Conflict(f"another head of {head.node_id} over {head.last_ingest} rows is stored")

    def put_loss(self, loss: Loss) -> None:
        values = (keccak_256(loss.encode()), loss.encode())
        if self._sql.execute("SELECT 1 FROM losses WHERE loss_id = ?", values[:1]).fetchone() is None:
            self._sql.execute("INSERT INTO losses VALUES (?, ?)", values)

    def begin_settlement(self, wanted: SettlementRecord) -> SettlementRecord:
        holder = self._holder(wanted)
        found = self._sql.execute(f"{_SETTLEMENTS} WHERE settlement_id = ?", (wanted.previous,)).fetchone()
        problem = refuse_settlement(wanted, holder, None if found is None else _settlement(found))
        if problem:
            raise Conflict(problem)
        return self._put_settlement(wanted) if holder is None else holder

    def end_settlement(self, settlement_id: bytes, ended_ns: int) -> None:
        key = (settlement_id,)
        if self._sql.execute("SELECT 1 FROM settlements WHERE settlement_id = ?", key).fetchone() is None:
            raise Conflict(f"settlement {settlement_id.hex()} never began")
        if self._sql.execute("SELECT 1 FROM settlement_ends WHERE settlement_id = ?", key).fetchone() is None:
            self._sql.execute("INSERT INTO settlement_ends VALUES (?, ?)", (settlement_id, ended_ns))

    def put_batch(self, batch: BatchRecord) -> None:
        values = _batch_values(batch)
        found = self._sql.execute("SELECT * FROM batches WHERE batch_id = ?", (batch.batch_id,)).fetchone()
        if found is not None:
            if _batch(found) != batch:
                raise Conflict(f"batch {batch.batch_id.hex()} is stored with other content")
            return
        self.claim(batch)
        self._sql.execute(f"INSERT INTO batches VALUES ({_places(len(values))})", values)  # noqa: S608

    def claim(self, batch: BatchRecord) -> None:
        """Begins the settlement of a batch, if nobody has. Raises Conflict when another one holds its place."""
        wanted = batch.settlement(keccak_256)
        holder = self._holder(wanted)
        if holder is None:
            self._put_settlement(wanted)
        elif holder.stated != wanted.stated:
            raise Conflict(refuse_settlement(wanted, holder, None))

    def _holder(self, wanted: SettlementRecord) -> SettlementRecord | None:
        found = self._sql.execute(
            f"{_SETTLEMENTS} WHERE chain_id = ? AND token = ? AND previous = ?",
            (str(wanted.chain_id), wanted.token, wanted.previous),
        ).fetchone()
        return None if found is None else _settlement(found)

    def _put_settlement(self, wanted: SettlementRecord) -> SettlementRecord:
        values = wanted._replace(chain_id=str(wanted.chain_id))[:-1]  # type: ignore[arg-type]
        self._sql.execute(f"INSERT INTO settlements VALUES ({_places(len(values))})", values)  # noqa: S608
        return wanted._replace(ended_ns=0)


def _marking(role: str, public_id: str, row_ids: Sequence[bytes], mark: Mark) -> Callable[[_Connection], None]:
    return lambda connection: connection.mark(role, public_id, row_ids, mark)


def refuse_all(role: str, found: Iterable[tuple[Any, ...]], mark: Mark) -> None:
    """Raises Conflict when one of (row id, ingest, state, batch id, tx id) may not be marked so."""
    for row_id, _, state, batch_id, tx_id in found:
        problem = refuse_mark(role, None if state is None else Mark(state, batch_id, tx_id), mark)
        if problem:
            raise Conflict(f"row {row_id.hex()} for the {role}: {problem}")


def _answer(answers: list[tuple[_Operation, Any, BaseException | None]]) -> None:
    """Hands results to the event loops they are for: one wake-up per loop, however many waited."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Operation, Any, BaseException | None]]] = {}
    for answer in answers:
        by_loop.setdefault(answer[0].loop, []).append(answer)
    for loop, mine in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:  # that loop has ended; nobody waits there any more
            continue


def _resolve(answers: list[tuple[_Operation, Any, BaseException | None]]) -> None:
    for operation, result, error in answers:
        if operation.answer.done():
            continue
        if error is None:
            operation.answer.set_result(result)
        else:
            operation.answer.set_exception(error)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=limits.BUSY_WAIT_MS / 1000, cached_statements=256
    )
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = OFF", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Also in a folder in which nothing may be made: a file that nobody writes to there needs no files beside it."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        address += "&immutable=1"
    return sqlite3.connect(
        address, uri=True, isolation_level=None, check_same_thread=False, timeout=limits.BUSY_WAIT_MS / 1000
    )


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables, or brings those of an older version up to date."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION_ID and version == SCHEMA_VERSION:
        return
    if application == APPLICATION_ID and not 1 <= version < SCHEMA_VERSION:
        raise StoreError(f"{path} is a ledger of version {version}; this program reads version {SCHEMA_VERSION}")
    if application != APPLICATION_ID:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(f"{path} is a database of something else")
        for statement in _statements(_SCHEMA + _triggers(_WRITE_ONCE_1)):
            connection.execute(statement)
    if application != APPLICATION_ID or version < 2:
        for statement in _statements(_SCHEMA_2 + _triggers(_WRITE_ONCE_2)):
            connection.execute(statement)
        _record_old_settlements(connection)
    for statement in _statements(_SCHEMA_3 + _triggers(_WRITE_ONCE_3)):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _record_old_settlements(connection: sqlite3.Connection) -> None:
    """The settlements of a ledger that knew only their batches. One that another follows has ended; whether the newest
    has, its payouts know. Where two followed the same one, the first that is met keeps the place: `cgn verify` names
    both."""
    writing = _Connection(connection)
    settlements: list[SettlementRecord] = []
    for row in connection.execute("SELECT * FROM batches GROUP BY chain_id, token, previous ORDER BY last_ingest"):
        batch = _batch(row)
        writing.claim(batch)
        settlements.append(batch.settlement(keccak_256))
    followed = {record.previous for record in settlements}
    for record in settlements:
        if record.settlement_id in followed:
            writing.end_settlement(record.settlement_id, 1)


def _statements(script: str) -> list[str]:
    """Cuts a script into statements (`executescript` would commit the transaction around it)."""
    found, text = [], ""
    for line in script.splitlines():
        text += line + "\n"
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found


def _identity(path: Path) -> tuple[int, int]:
    """(0, 0) where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _places(count: int) -> str:
    """Question marks for that many arguments; nothing else is ever put into a statement's text."""
    return ",".join("?" * count)


def _id_bytes(row_id: str) -> bytes:
    try:
        return bytes.fromhex(row_id)
    except ValueError as error:
        raise ValueError(f"{row_id!r:.80} is no row id") from error


def _stored(row: tuple[Any, ...]) -> StoredRow:
    ingest, row_id, row_hash, public_json, private_json, node_signature = row
    return StoredRow(ingest, row_id.hex(), row_hash, public_json, private_json, node_signature)


def _entity_row(row: tuple[Any, ...]) -> EntityRow:
    ingest, row_id, row_hash, amount = row
    return EntityRow(ingest, row_id.hex(), row_hash, amount)


def _batch_values(batch: BatchRecord) -> tuple[Any, ...]:
    """Amounts and chain ids of a batch may pass 2^63, so they are text."""
    return tuple(batch._replace(chain_id=str(batch.chain_id), amount_nano_cpu=str(batch.amount_nano_cpu)))  # type: ignore[arg-type]


def _batch(row: tuple[Any, ...]) -> BatchRecord:
    batch = BatchRecord(*row)
    return batch._replace(chain_id=int(batch.chain_id), amount_nano_cpu=int(batch.amount_nano_cpu))


def _head(row: tuple[Any, ...]) -> Head:
    last_ingest, node_id, commitment, time_ns, signature = row
    return Head(node_id, last_ingest, commitment, time_ns, signature)


def _settlement(row: tuple[Any, ...]) -> SettlementRecord:
    settlement = SettlementRecord(*row)
    return settlement._replace(chain_id=int(settlement.chain_id))
