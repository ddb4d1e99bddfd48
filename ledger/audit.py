"""Audits a whole ledger with all processors and little memory (L-12): the outside of `ledger.core.verify`.

    report = audit("sqlite:///ledger.db", events, chain_id=…, token=…, keys=…)

Rows are read and judged in ranges, each by a process that opened the ledger itself, for reading only. What must be
sorted over all rows (row ids, the leaves of batches) lies in a temporary file in between, in parts that are small
enough to sort; so memory does not grow with the ledger. Nothing that stands in a store ends an audit: what cannot be
read is a finding, and the check goes on. A ledger that cannot be opened or read at all is a StoreError.

Rows that are stored while the audit runs are left for the next one. Between the transactions of a payout run and the
end of its marks, batches and rows do not fit together: whoever audits beside one looks again (`payouts.verify_app`).
"""

import contextlib
import multiprocessing
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import IO, NamedTuple, Protocol, TypeVar

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.loss import Loss
from cgn_sdk.protocol.row import RowError, read_public

from ledger import limits
from ledger.core.batch import BegunEvent, SettledEvent, SettlementRecord
from ledger.core.row_audit import SHELVES, AuditRow, Findings, Keys, Rules, Slice
from ledger.core.verify import NOTHING_PUBLISHED, Auditor, Published, Report, Root, Seen, Stored, roots
from ledger.port import StoreError

S = TypeVar("S")
T = TypeVar("T")
Range = tuple[int, int]
"""Where a part of the rows begins and ends, as the reader counts."""
Find = Callable[[str, str, str], None]
"""Takes a finding: code, where, detail."""


class Reader(Protocol):
    """A ledger as an auditor reads it: as it lies there, malformed or not. Raises StoreError when it cannot be read."""

    def stored(self, find: Find) -> Stored: ...

    def ranges(self) -> Iterator[Range]:
        """Yields parts of the rows, each of some thousands, in the order of their numbers."""

    def rows(self, part: Range, find: Find) -> Iterator[AuditRow]: ...

    def left_over(self, parts: int, marked: int, find: Find) -> None:
        """Names entries and payment states of no row, when there are more than the rows had."""

    def close(self) -> None: ...


def open_reader(url: str) -> Reader:
    """Opens the ledger that a URL names (`ledger.open_store`) for reading only, and makes nothing where there is none.
    Raises ValueError for what is no such URL, StoreError when it cannot be used."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from ledger.sqlite_reader import SqliteReader

        return SqliteReader(rest[1:])
    if scheme in {"http", "https"} and rest:
        from ledger.elasticsearch_reader import ElasticsearchReader

        return ElasticsearchReader(url)
    raise ValueError(f"a ledger is sqlite:///path or http(s)://host:port, not {scheme or url!r:.40}")


def read_losses(stored: Iterable[object], find: Find) -> Iterator[Loss]:
    """The losses among what a store keeps as such; what is none is a finding."""
    for value in stored:
        data = value.encode() if isinstance(value, str) else value
        try:
            yield Loss.decode(data if isinstance(data, bytes) else b"")
        except ValueError as error:
            find("loss_malformed", "loss", f"it {error}")


def settlements_of(url: str) -> list[SettlementRecord]:
    """Returns the settlements that a ledger tells of, as it lies there. Raises StoreError, and ValueError for a URL
    that names none."""
    with contextlib.closing(open_reader(url)) as reader:
        return reader.stored(lambda *_: None).settlements


def audit(
    url: str,
    events: Iterable[SettledEvent],
    *,
    chain_id: int,
    token: str,
    begun: Iterable[BegunEvent] = (),
    keys: Keys | None = None,
    seen: Seen | None = None,
    node: str = "",
    published: Published = NOTHING_PUBLISHED,
    processes: int | None = None,
) -> Report:
    """Reads everything and lets the auditor judge. `events` without what payers have again, and `begun`: what the chain
    tells. `node`: whose ledger it is; where nobody says, the first row does, and all others must be of the same.
    `processes`: one for each processor, unless given.

    Raises StoreError when the ledger cannot be read, ValueError for a URL that names none.
    """
    reader = open_reader(url)
    ranges = list(reader.ranges())
    groups = min(processes or len(os.sched_getaffinity(0)), limits.AUDIT_PROCESSES_MAX, 1 + len(ranges) // 4)
    with contextlib.closing(reader), _Shelves((groups + 1) * SHELVES) as shelves:
        found = Findings()
        stored = reader.stored(found.add)
        auditor = Auditor(
            keccak_256,
            stored,
            events,
            chain_id=chain_id,
            token=token,
            begun=begun,
            keys=keys,
            seen=seen,
            node=node or _node_of_first(reader, ranges),
            published=published,
            groups=groups,
        )
        parts = marked = 0
        with _Workers(url, auditor.rules, groups, reader) as workers:
            for part in workers.in_order(_audit_range, ranges):
                auditor.add(part)
                shelves.add([*part.leaves, *part.ids])
                parts += part.parts
                marked += part.marked
            shelves.flush()
            of_groups = [shelves.places(group * SHELVES, (group + 1) * SHELVES) for group in range(groups)]
            for root in workers.in_order(_roots, ((shelves.path, places) for places in of_groups)):
                auditor.add_roots(root)
        for number in range(groups * SHELVES, (groups + 1) * SHELVES):
            auditor.add_ids(shelves.read(number))
        reader.left_over(parts, marked, found.add)
        for finding in found.kept:
            auditor.find(*finding)
        return auditor.finish()


def _node_of_first(reader: Reader, ranges: Sequence[Range]) -> str:
    """The node that the first sound row is of, among those that are read at once."""
    for row in reader.rows(ranges[0], lambda *_: None) if ranges else ():
        with contextlib.suppress(RowError):
            return read_public(row.public_json).node_id
    return ""


# --- processes -----------------------------------------------------------------------------------------------------


class _Worker(NamedTuple):
    """What one process judges rows with."""

    reader: Reader
    rules: Rules


_of_process: list[_Worker] = []
"""Made once per process, since the rules may hold many batches."""


def _begin(url: str, rules: Rules) -> None:
    _of_process.append(_Worker(open_reader(url), rules))


def _do(work: Callable[[_Worker, S], T], item: S) -> T:
    return work(_of_process[0], item)


def _audit_range(worker: _Worker, part: Range) -> Slice:
    found = Findings()
    result = worker.rules.audit(worker.reader.rows(part, found.add))
    result.findings.extend(found)
    return result


def _roots(worker: _Worker, of: tuple[str, list[list[Range]]]) -> dict[int, Root]:
    path, places = of
    with open(path, "rb") as file:
        return roots((_read(file, of_shelf) for of_shelf in places), worker.rules.keccak)


class _Workers:
    """Processes that judge; with one, this process does it."""

    def __init__(self, url: str, rules: Rules, count: int, reader: Reader) -> None:
        self._count = count
        self._here = _Worker(reader, rules)
        self._pool: ProcessPoolExecutor | None = None
        if count > 1:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(count, spawn, initializer=_begin, initargs=(url, rules))

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def in_order(self, work: Callable[[_Worker, S], T], given: Iterable[S]) -> Iterator[T]:
        """Yields what the work makes of each, in the order given; a few are under way at once."""
        if self._pool is None:
            yield from (work(self._here, item) for item in given)
            return
        waiting: deque[Future[T]] = deque()
        try:
            for item in given:
                waiting.append(self._pool.submit(_do, work, item))
                if len(waiting) > self._count + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise StoreError(f"a process of the audit ended: {error}") from error


# --- what must be sorted -------------------------------------------------------------------------------------------


class _Shelves:
    """Packed bytes on numbered shelves, in a temporary file beyond some megabytes."""

    def __init__(self, count: int) -> None:
        self._waiting = [bytearray() for _ in range(count)]
        self._bytes = 0
        self._places: list[list[Range]] = [[] for _ in range(count)]

    def __enter__(self) -> "_Shelves":
        self._file = tempfile.NamedTemporaryFile(prefix="cgn-verify-")
        self.path = self._file.name
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, pieces: Sequence[bytearray]) -> None:
        for shelf, piece in zip(self._waiting, pieces, strict=True):
            shelf.extend(piece)
            self._bytes += len(piece)
        if self._bytes > limits.AUDIT_SHELVED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes all down: then any process may read it."""
        at = self._file.seek(0, os.SEEK_END)
        for number, shelf in enumerate(self._waiting):
            if shelf:
                self._file.write(shelf)
                self._places[number].append((at, len(shelf)))
                at += len(shelf)
                self._waiting[number] = bytearray()
        self._file.flush()
        self._bytes = 0

    def places(self, first: int, end: int) -> list[list[Range]]:
        """Where the shelves from first to before end lie in the file."""
        return self._places[first:end]

    def read(self, number: int) -> bytes:
        return _read(self._file.file, self._places[number])


def _read(file: IO[bytes], places: list[Range]) -> bytes:
    pieces = []
    for at, length in places:
        file.seek(at)
        pieces.append(file.read(length))
    return b"".join(pieces)
