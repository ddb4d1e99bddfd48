"""An Elasticsearch ledger as an auditor reads it (`ledger.audit`): for reading only, and every field as it lies there.

Ranges are runs of blocks, since blocks hold the numbering. What a search would miss for another second is made visible
first, where the user may do that; rows and blocks are got by their ids and are never missed.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar, get_type_hints

from cgn_sdk.protocol.canonical import CanonicalError, encode
from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.row import Finding, amount
from elastic_transport import JsonSerializer, SerializationError
from elasticsearch import AuthorizationException, Elasticsearch

from ledger import limits
from ledger.audit import Find, Range, read_losses
from ledger.core.batch import BatchRecord, SettlementRecord
from ledger.core.entries import Entry, Mark
from ledger.core.row_audit import NO_MARK, AuditRow, Part
from ledger.core.verify import Stored
from ledger.elasticsearch_address import address_of
from ledger.elasticsearch_store import translated

T = TypeVar("T", BatchRecord, SettlementRecord, Head)
_UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_LONGEST_NUMBER: Final = 20
"""Digits of an integer that any of our fields may hold."""
_NAMED_MAX: Final = 100
"""Payment states of no row that are named one by one."""


class _Unreadable(Exception):
    """The cluster's answer is no JSON that could be read here."""


class _Reading(JsonSerializer):
    """JSON in which one absurd number does not make the answer unreadable."""

    mimetype = "application/vnd.elasticsearch+json"

    def json_loads(self, data: bytes | str) -> Any:
        return json.loads(data, parse_int=lambda text: int(text) if len(text) < _LONGEST_NUMBER else text)


class _Numbered(NamedTuple):
    """One row as a block lists it."""

    ingest: int
    row_id: str
    row_hash: str
    partition: str
    entries: list[Entry]
    problem: str


class ElasticsearchReader:
    """`ledger.audit.Reader` over a cluster."""

    def __init__(self, url: str) -> None:
        self._address = address_of(url)
        self._client = Elasticsearch(
            self._address.server,
            **self._address.credentials(),
            request_timeout=limits.ELASTICSEARCH_TIMEOUT_S,
            serializers={_Reading.mimetype: _Reading()},
        )
        try:
            self._last_block = self._newest_block()
        except BaseException:
            self._client.close()
            raise

    def close(self) -> None:
        self._client.close()

    def stored(self, find: Find) -> Stored:
        settlements = list(self._scan("settlements", {"match_all": {}}, "settlement_id"))
        ends = {
            hit["_source"].get("settlement_id"): hit["_source"].get("ended_ns")
            for hit in settlements
            if hit["_id"].startswith("end-")
        }
        begun = (
            {**hit["_source"], "ended_ns": ends.get(hit["_source"].get("settlement_id"), 0)}
            for hit in settlements
            if not hit["_id"].startswith("end-")
        )
        batches = (hit["_source"] for hit in self._scan("batches", {"match_all": {}}, "batch_id"))
        heads = (hit["_source"] for hit in self._scan("heads", {"match_all": {}}, "place"))
        losses = self._scan("losses", {"match_all": {}}, "loss_id")
        return Stored(
            list(_made(BatchRecord, "batch", "batch_id", batches, find)),
            list(_made(SettlementRecord, "settlement", "settlement_id", begun, find)),
            list(_made(Head, "head", "place", heads, find)),
            list(read_losses((hit["_source"].get("loss") for hit in losses), find)),
        )

    def ranges(self) -> Iterator[Range]:
        step = max(1, limits.AUDIT_RANGE_ROWS // limits.PORTION_ROWS)
        for first in range(1, self._last_block + 1, step):
            yield first, min(first + step - 1, self._last_block)

    def rows(self, part: Range, find: Find) -> Iterator[AuditRow]:
        numbers = range(part[0], part[1] + 1)
        blocks = self._documents([(self._name("blocks"), f"{number:016d}") for number in numbers])
        for number, document in zip(numbers, blocks, strict=True):
            listed = list(_listed(number, document, find))
            if not listed:
                continue
            states = self._states(listed[0].ingest, listed[-1].ingest)
            of, found = next(states, (None, []))
            keys = [(row.partition, row.row_id) for row in listed]
            for row, stored in zip(listed, self._documents(keys), strict=True):
                while of is not None and of < row.ingest:
                    of, found = next(states, (None, []))
                marks = _marks(row, found if of == row.ingest else [], find)
                if not stored.get("found"):
                    detail = f"number {row.ingest} is gone from {row.partition}, or cannot be read: {_why(stored)}"
                    find("row_missing", f"row {row.row_id}", detail)
                else:
                    yield _audit_row(row, stored["_source"], marks)

    def left_over(self, parts: int, marked: int, find: Find) -> None:
        blocks, payments = (self._count(kind) for kind in ("blocks", "payments"))
        if blocks != self._last_block:
            find("left_over", "rows of blocks", f"there are {blocks} blocks, and the newest says {self._last_block}")
        if payments == marked:
            return
        find("left_over", "rows marked", f"there are {payments} payment states, and rows have {marked}")
        (last,) = [hit["_source"].get("last_ingest") for hit in self._newest("last_ingest")] or [0]
        away = [{"range": {"ingest": {"lt": 1}}}, {"range": {"ingest": {"gt": last}}}]
        query = {"bool": {"should": [*away, {"bool": {"must_not": {"exists": {"field": "ingest"}}}}]}}
        for hit, _ in zip(self._scan("payments", query, "row_id"), range(_NAMED_MAX), strict=False):
            find("left_over", f"row {hit['_source'].get('row_id')!s:.40}", f"payment state {hit['_id']} is of no row")

    # --- the cluster ---

    def _newest_block(self) -> int:
        for kind in ("blocks", "payments", "batches", "settlements", "heads", "losses"):
            self._ask(self._refresh, index=self._name(kind))
        return next((int(hit["_id"]) for hit in self._newest("block") if hit["_id"].isdecimal()), 0)

    def _refresh(self, index: str) -> None:
        with contextlib.suppress(AuthorizationException):  # who may only read sees what is new within a second
            self._client.indices.refresh(index=index)

    def _newest(self, field: str) -> list[dict[str, Any]]:
        answer = self._ask(self._client.search, index=self._name("blocks"), sort=[{field: "desc"}], size=1)
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits

    def _count(self, kind: str) -> int:
        return int(self._ask(self._client.count, index=self._name(kind))["count"])

    def _states(self, first: int, last: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Payment states by the number of their row, ascending."""
        of: int | None = None
        found: list[dict[str, Any]] = []
        query = {"range": {"ingest": {"gte": first, "lte": last}}}
        for hit in self._scan("payments", query, "ingest", "role", "public_id"):
            ingest = hit["sort"][0]
            if ingest != of:
                if of is not None:
                    yield of, found
                of, found = ingest, []
            found.append(hit)
        if of is not None:
            yield of, found

    def _scan(self, kind: str, query: dict[str, Any], *order: str) -> Iterator[dict[str, Any]]:
        """All matching documents of one point in time, as hits."""
        index = self._name(kind)
        pit = self._ask(self._client.open_point_in_time, index=index, keep_alive="2m")["id"]
        try:
            after: list[Any] | None = None
            while True:
                answer = self._ask(
                    self._client.search,
                    pit={"id": pit, "keep_alive": "2m"},
                    query=query,
                    sort=[{field: "asc"} for field in order],
                    search_after=after,
                    size=limits.PORTION_ROWS,
                    track_total_hits=False,
                )
                pit, hits = answer["pit_id"], answer["hits"]["hits"]
                yield from hits
                if len(hits) < limits.PORTION_ROWS:
                    return
                after = hits[-1]["sort"]
        finally:
            self._ask(self._client.close_point_in_time, id=pit)

    def _documents(self, keys: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """The documents under these ids. Where one makes the whole answer unreadable, they are got one by one."""
        if not keys:
            return []
        try:
            answer = self._ask(self._client.mget, docs=[{"_index": index, "_id": id_} for index, id_ in keys])
        except _Unreadable as error:
            if len(keys) == 1:
                return [{"found": False, "error": str(error)}]
            half = len(keys) // 2
            return self._documents(keys[:half]) + self._documents(keys[half:])
        documents: list[dict[str, Any]] = answer["docs"]
        return documents

    def _name(self, kind: str) -> str:
        return f"{self._address.prefix}-{kind}"

    def _ask(self, call: Callable[..., Any], **arguments: Any) -> Any:
        with translated(self._address):
            try:
                return call(**arguments)
            except (SerializationError, RecursionError) as error:
                raise _Unreadable(f"{error!s:.120}") from error


def _listed(number: int, document: Mapping[str, Any], find: Find) -> Iterator[_Numbered]:
    """The rows of a block; what of it cannot be read is a finding."""
    where = f"rows of block {number}"
    if not document.get("found"):
        find("block_missing", where, f"it is gone, or cannot be read: {_why(document)}")
        return
    source = document["_source"]
    rows, first, last = source.get("rows"), source.get("first_ingest"), source.get("last_ingest")
    if type(rows) is not list or type(first) is not int:
        find("block_malformed", where, f"it lists {rows!r:.80} from {first!r:.40}")
        return
    ids = [row[0] if type(row) is list and row else None for row in rows]
    if source.get("row_ids") != ids or source.get("block") != number or last != first + len(rows) - 1:
        find("block_malformed", where, "its number, its row ids or its last number are not those of the rows it lists")
    for ingest, row in enumerate(rows, first):
        match row:
            case [str(row_id), str(row_hash), str(partition), listed]:
                entries, problem = _entries(listed)
                yield _Numbered(ingest, row_id, row_hash, partition, entries, problem)
            case _:
                find("block_malformed", f"row number {ingest}", f"block {number} lists {row!r:.80}")


def _entries(listed: Any) -> tuple[list[Entry], str]:
    try:
        return [Entry(str(r), str(i), amount(cpu), amount(eur)) for r, i, cpu, eur in listed], ""
    except _UNREADABLE:
        return [], f"its block lists its amounts as {listed!r:.80}"


def _marks(row: _Numbered, states: Iterable[Mapping[str, Any]], find: Find) -> dict[tuple[str, str], Mark]:
    """Payment states of a row by party. Each document repeats what it is of; all of it must be so."""
    marks: dict[tuple[str, str], Mark] = {}
    amounts = {(role, public_id): cpu for role, public_id, cpu, _ in row.entries}
    for hit in states:
        source = hit["_source"]
        role, public_id = str(source.get("role")), str(source.get("public_id"))
        stated = source.get("row_id"), source.get("row_hash"), str(source.get("amount_nano_cpu")), hit["_id"]
        wanted = row.row_id, row.row_hash, str(amounts.get((role, public_id))), f"{row.row_id}-{role}-{public_id}"
        if stated != wanted:
            find("payment_row", f"row {row.row_id}", f"its payment state for the {role} says {stated!s:.300}")
        batch_id = source.get("batch_id")
        try:
            batch = bytes.fromhex(batch_id)
        except _UNREADABLE:
            batch = repr(batch_id).encode()[:40]
        marks[role, public_id] = Mark(str(source.get("state")), batch, str(source.get("tx_id")))
    return marks


def _audit_row(row: _Numbered, source: dict[str, Any], marks: Mapping[tuple[str, str], Mark]) -> AuditRow:
    """The row as it lies there. Elasticsearch keeps columns, so their canonical bytes are made from them."""
    problems = [row.problem] if row.problem else []
    fields = {name: source.pop(name, None) for name in ("row_hash", "node_signature", "private")}
    row_hash, signature = (_digest(fields[name], name, problems) for name in ("row_hash", "node_signature"))
    private = fields["private"]
    if type(private) is not str:
        problems.append(f"its private parts are {private!r:.80}")
        private = ""
    if row.row_hash != fields["row_hash"]:
        problems.append(f"its block lists it with the hash {row.row_hash:.80}")
    try:
        public = encode(source)
    except CanonicalError:
        public = json.dumps(source).encode()
    return AuditRow(
        row.ingest,
        row.row_id,
        row_hash,
        public,
        private.encode(errors="replace"),
        [Part(*entry, marks.get((entry[0], entry[1]), NO_MARK)) for entry in row.entries],
        signature,
        tuple(Finding("row_malformed", "", problem) for problem in problems),
    )


def _digest(value: Any, name: str, problems: list[str]) -> bytes:
    if value is None and name == "node_signature":  # a row of an older ledger
        return b""
    try:
        return bytes.fromhex(value)
    except _UNREADABLE:
        problems.append(f"its {name} is {value!r:.80}")
        return b""


def _why(document: Mapping[str, Any]) -> str:
    error = document.get("error")
    return str(error["type"] if isinstance(error, dict) and "type" in error else error or "no such document")[:120]


def _made(kind: type[T], what: str, key: str, sources: Iterable[dict[str, Any]], find: Find) -> Iterator[T]:
    """The documents as records; one that is none is a finding."""
    hints = get_type_hints(kind)
    for source in sources:
        try:
            yield kind(**{name: _AS[hint](source[name]) for name, hint in hints.items()})
        except _UNREADABLE as error:
            find(f"{what}_malformed", f"{what} {source.get(key)!s:.80}", f"cannot be read: {error!r:.120}")


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _number(value: Any) -> int:
    """An integer, or one in text where it may pass 2^63."""
    return value if type(value) is int else int(_text(value))


_AS: Final[Mapping[Any, Callable[[Any], Any]]] = {bytes: bytes.fromhex, str: _text, int: _number}
"""How a field becomes a record's value, by the type it has there."""
