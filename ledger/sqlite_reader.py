"""A SQLite ledger as an auditor reads it (`ledger.audit`): for reading only, and every value as it lies there."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.row import Finding

from ledger import limits
from ledger.audit import Find, Range, read_losses
from ledger.core.batch import BatchRecord, SettlementRecord
from ledger.core.entries import Mark
from ledger.core.row_audit import NO_MARK, AuditRow, Part
from ledger.core.verify import Stored
from ledger.port import StoreError
from ledger.sqlite_store import APPLICATION_ID, SCHEMA_VERSION

T = TypeVar("T", BatchRecord, SettlementRecord, Head)

_ROWS: Final = (
    "SELECT ingest, row_id, row_hash, public_json, private_json, node_signature FROM rows"
    " WHERE ingest >= ? AND ingest <= ? ORDER BY ingest"
)
_PARTS: Final = (
    "SELECT e.ingest, e.entity, e.amount_nano_cpu, e.amount_nano_eur, p.mark FROM entries e"
    " LEFT JOIN payments p ON p.entity = e.entity AND p.ingest = e.ingest"
    " WHERE e.ingest >= ? AND e.ingest <= ? ORDER BY e.ingest"
)
_NAMED_MAX: Final = 100
"""Entries and payment states of no row that are named one by one."""


class SqliteReader:
    """`ledger.audit.Reader` over one file."""

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise StoreError(f"there is no ledger {path}")
        self._path = path
        try:
            self._sql = sqlite3.connect(
                f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=limits.BUSY_WAIT_MS / 1000
            )
            self._sql.text_factory = bytes  # what is no UTF-8 is to be found, not to raise
            application = self._sql.execute("PRAGMA application_id").fetchone()[0]
            version = self._sql.execute("PRAGMA user_version").fetchone()[0]
            if application != APPLICATION_ID:
                raise StoreError(f"{path} is not a ledger")
            if version != SCHEMA_VERSION:
                raise StoreError(
                    f"{path} is a ledger of version {version}; its node brings it to version {SCHEMA_VERSION}"
                )
            self._entities = {
                number: (_text(role), _text(public_id))
                for number, role, public_id in self._sql.execute("SELECT entity, role, public_id FROM entities")
            }
            self._marks = {
                number: Mark(_text(state), _bytes(batch_id), _text(tx_id))
                for number, state, batch_id, tx_id in self._sql.execute(
                    "SELECT mark, state, batch_id, tx_id FROM marks"
                )
            }
            self._head = self._sql.execute("SELECT coalesce(max(ingest), 0) FROM rows").fetchone()[0]
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be read as a ledger: {error}") from error

    def close(self) -> None:
        self._sql.close()

    def stored(self, find: Find) -> Stored:
        batches = list(_made(BatchRecord, "batch", self._all("SELECT * FROM batches ORDER BY batch_id"), find))
        settlements = self._all(
            "SELECT settlements.*, coalesce(ended_ns, 0) FROM settlements"
            " LEFT JOIN settlement_ends USING (settlement_id) ORDER BY settlement_id"
        )
        heads = self._all("SELECT node_id, last_ingest, commitment, time_ns, signature FROM heads")
        return Stored(
            batches,
            list(_made(SettlementRecord, "settlement", settlements, find)),
            list(_made(Head, "head", heads, find)),
            list(read_losses((data for (data,) in self._all("SELECT loss FROM losses")), find)),
        )

    def ranges(self) -> Iterator[Range]:
        after = None
        while True:
            where = "" if after is None else f" WHERE ingest > {after:d}"
            ((first,),) = self._all(f"SELECT min(ingest) FROM rows{where}")  # noqa: S608 - an integer
            if first is None or first > self._head:
                return
            after = min(first - 1 + limits.AUDIT_RANGE_ROWS, self._head)
            yield first - 1, after

    def rows(self, part: Range, find: Find) -> Iterator[AuditRow]:
        parts = self._parts(part)
        of, found = next(parts, (None, []))
        for ingest, row_id, row_hash, public_json, private_json, signature in self._cursor(_ROWS, part[0] + 1, part[1]):
            while of is not None and of < ingest:
                of, found = next(parts, (None, []))
            problems = [
                Finding("row_malformed", "", f"its {name} is {value!r:.80}")
                for name, value in (("row_id", row_id), ("row_hash", row_hash), ("node_signature", signature))
                if type(value) is not bytes
            ]
            yield AuditRow(
                ingest,
                row_id.hex() if type(row_id) is bytes else f"number {ingest}",
                _bytes(row_hash),
                _bytes(public_json),
                _bytes(private_json),
                found if of == ingest else [],
                _bytes(signature),
                tuple(problems),
            )

    def left_over(self, parts: int, marked: int, find: Find) -> None:
        (entries,), (payments,) = (
            self._all(f"SELECT count(*) FROM {table} WHERE ingest <= ?", self._head)[0]  # noqa: S608
            for table in ("entries", "payments")
        )
        if entries != parts:
            statement = "SELECT ingest, entity FROM entries WHERE ingest NOT IN (SELECT ingest FROM rows) LIMIT ?"
            self._name(statement, "an amount", find)
        if payments != marked:
            statement = (
                "SELECT p.ingest, p.entity FROM payments p LEFT JOIN entries e ON e.entity = p.entity"
                " AND e.ingest = p.ingest WHERE e.ingest IS NULL LIMIT ?"
            )
            self._name(statement, "a payment state", find)

    def _name(self, statement: str, what: str, find: Find) -> int:
        found = self._all(statement, _NAMED_MAX)
        for ingest, entity in found:
            role, public_id = self._entities.get(entity, ("entity", str(entity)))
            find("left_over", f"row number {ingest}", f"has {what} for {role} {public_id}, and no such row or part")
        return len(found)

    def _parts(self, part: Range) -> Iterator[tuple[int, list[Part]]]:
        """The parts of rows by their numbers, ascending."""
        entities, marks = self._entities, self._marks
        of: int | None = None
        found: list[Part] = []
        for ingest, entity, cpu, eur, mark in self._cursor(_PARTS, part[0] + 1, part[1]):
            if ingest != of:
                if of is not None:
                    yield of, found
                of, found = ingest, []
            role, public_id = entities.get(entity) or ("entity", str(entity))
            found.append(
                Part(role, public_id, cpu, eur, NO_MARK if mark is None else marks.get(mark) or Mark(f"mark {mark}"))
            )
        if of is not None:
            yield of, found

    def _cursor(self, statement: str, *arguments: Any) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._sql.execute(statement, arguments)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _all(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return list(self._cursor(statement, *arguments))


def _made(kind: type[T], what: str, rows: Iterable[tuple[Any, ...]], find: Find) -> Iterator[T]:
    """The rows as records; one that is none is a finding."""
    hints = get_type_hints(kind)
    for row in rows:
        try:
            yield kind._make(_AS[hint](value) for hint, value in zip(hints.values(), row, strict=True))
        except (TypeError, ValueError) as error:
            key = row[0].hex() if type(row[0]) is bytes else repr(row[0])
            find(f"{what}_malformed", f"{what} {key:.80}", f"cannot be read: {error!s:.120}")


def _text(value: object) -> str:
    return value.decode(errors="replace") if type(value) is bytes else f"{value!r:.80}"


def _bytes(value: object) -> bytes:
    return value if type(value) is bytes else b""


def _strictly_bytes(value: object) -> bytes:
    if type(value) is not bytes:
        raise TypeError(f"{value!r:.40} is no blob")
    return value


def _number(value: object) -> int:
    """An integer, or one in text where it may pass 2^63."""
    return value if type(value) is int else int(_strictly_bytes(value))


_AS: Final[Mapping[type, Callable[[Any], Any]]] = {
    bytes: _strictly_bytes,
    str: lambda value: _strictly_bytes(value).decode(),
    int: _number,
}
"""How a value becomes a record's, by the type it has there."""
