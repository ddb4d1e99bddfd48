"""The spool: the node's local write-ahead file of rows, and the shipper that moves them to the store (N-24, L-4).

A row is durable when `append` returns: one thread takes everything that waits, writes it as one group, and calls
fdatasync once. (A row that is alone, on a disk that has been quick, is written by the event loop itself.) The shipper
gives rows to the store and cuts the spool behind them; a store that is away changes nothing but the spool's length. See
docs/decisions/0004-spool-first.md.

    spool = await Spool.open(folder, max_bytes=…)
    await spool.append(row.to_bytes())          or   spool.put(row.to_bytes(), row, answer)
    shipper = Shipper(spool, store, keccak_256); task = asyncio.create_task(shipper.run())

What goes wrong:
- no room, by `max_bytes` or by the disk: SpoolFull; nothing of the group stays in the file. The node refuses work;
- a failed write or fdatasync of rows: what is in the file is not known any more (a second fsync may succeed and have
  lost the pages), so `on_fatal` is called; by default it ends the process, and the start after reads what the disk
  really has;
- no next segment can begin (no descriptor, no room, a folder that cannot be synced): the one before grows on. One file
  is kept open ahead for it, so that this needs more than a process without descriptors;
- a damaged segment found at the start, or one that is missing by what the segments or the file `bounds` say:
  SpoolDamaged, and nothing is dropped (`cgn ledger repair-spool` goes on without
  what is lost);
- a torn end found at the start, of a process that died: it is dropped. Whether it had been whole once nobody can know,
  so its bytes stay beside (`*.damaged`) and `dropped` says so.
"""

import asyncio
import contextlib
import os
import random
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from cgn_sdk.protocol.row import Keccak, Row, decode_row

from cgn_chassis.backoff import Backoff
from ledger import disk, limits
from ledger.core import spool_format
from ledger.core.spool_format import SpoolDamaged
from ledger.heads import HeadKeeper, LedgerDiffers
from ledger.port import Conflict, Store, StoreError
from ledger.segment_file import NO_ROOM, Fatal, SegmentFile, Spare

__all__ = ["Record", "Shipper", "Spool", "SpoolBroken", "SpoolDamaged", "SpoolFull"]

T = TypeVar("T")

SUFFIX: Final = ".spool"
_SPARE: Final = "next"
REPAIRED: Final = "repaired"
REPAIR_COMPLETE: Final = "complete"
"""Where `ledger.spool_repair` makes new segments, and the file that says that they are all there."""
BOUNDS: Final = "bounds"
"""Says which segments must be there: `Bounds`, as three numbers. What is in between follows from the segments."""
LOST: Final = "lost"
"""What repairs have found lost, a line of JSON each; while it is there, somebody has yet to accept it."""
DAMAGED_SUFFIX: Final = ".damaged"
"""Bytes that were dropped from a segment are kept under its name with this."""


class SpoolFull(Exception):
    """No room: nothing of it was written. Refuse work until `Spool.room_bytes` says otherwise."""


class SpoolBroken(Exception):
    """The disk failed, or the spool is closed. Whether the row is on disk is unknown until the next start."""


class Record(NamedTuple):
    """One row in the spool."""

    sequence: int
    data: bytes
    item: Any
    """What was given beside the bytes, while it is still in memory; else None."""


class Dropped(NamedTuple):
    """Bytes at the end of the newest segment that were no whole group: torn by a crash, or damaged."""

    segment: str
    size: int
    """Bytes."""
    rows: int | None
    """How many rows stood in them, where that can still be read."""
    kept: Path
    """Where they are now."""


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    count: int
    size: int
    """Bytes of header and groups."""

    @property
    def file_bytes(self) -> int:
        return self.size + spool_format.END_BYTES


class Bounds(NamedTuple):
    """What a folder must hold at least."""

    oldest: int = 0
    """First number of the oldest segment; 0 for none."""
    newest: int = 0
    following: int = 0
    """Number that the next row would have had at a clean stop; 0 while a process writes, and in an older program's."""

    def promise(self, path: Path) -> bool:
        """Whether rows that somebody was told of may be in the segment of this name."""
        return int(path.stem) in (self.oldest, self.newest)


Answer = Callable[[Exception | None], None]
"""Called on the loop, once: None when the row is on disk, else SpoolFull or SpoolBroken. It must not raise."""


class _Waiting(NamedTuple):
    data: bytes
    item: Any
    answer: Answer


_ADVICE: Final = "Nothing was changed; cgn ledger repair-spool {folder} keeps what is damaged and goes on without it"


_ACCEPT: Final = "cgn ledger accept-loss makes a signed fact of it, and then the node starts"


def end_process(error: BaseException) -> None:
    """The default of `on_fatal`: says why and ends the process at once, without any clean-up that would write."""
    try:
        sys.stderr.write(f"the spool's disk failed, the process ends: {error!r}\n")
        sys.stderr.flush()
    finally:  # also when the last words find no room
        os._exit(1)


class Spool:
    """See the module. One per process and folder; belongs to the event loop that opened it."""

    def __init__(
        self, folder: Path, max_bytes: int, segment_bytes: int, on_fatal: Callable[[BaseException], None]
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._on_fatal = on_fatal
        self._loop = asyncio.get_running_loop()
        self._segments: list[_Segment] = []
        self._next = 1
        self._bytes = 0
        self._gathered: list[_Waiting] = []
        self._waiting: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._waiting_bytes = 0
        self._lock_state = threading.Lock()
        """Guards what loop and thread both change: the counts of bytes, the list of segments, whether it is broken."""
        self._lock_bounds = threading.Lock()
        """Held from a change of which segments there are until `bounds` says so."""
        self._recent: deque[Record] = deque()
        self._recent_bytes = 0
        self._durable = 0
        self._quick_syncs = 0
        self._cut = 0
        self._free = 0
        self._grown = asyncio.Event()
        self._parsed: tuple[tuple[Path, int] | None, list[bytes]] = (None, [])
        self._closing = False
        self._broken: BaseException | None = None
        self._file: SegmentFile | None = None
        self._spare: Spare | None = None
        self.dropped: list[Dropped] = []
        """What was dropped at the start."""
        self._lock = -1
        self._bounds_file = -1
        self._folder_fd = -1
        self._thread = threading.Thread(target=self._write_groups, name="spool", daemon=True)

    @classmethod
    async def open(
        cls,
        folder: str | Path,
        *,
        max_bytes: int = limits.SPOOL_MAX_BYTES,
        segment_bytes: int = limits.SPOOL_SEGMENT_BYTES,
        on_fatal: Callable[[BaseException], None] = end_process,
    ) -> "Spool":
        """Opens the folder (mode 0700), drops the torn end of the last write, and counts what is there.

        `on_fatal` is called from the writing thread. Raises SpoolDamaged, and OSError when the folder cannot be used or
        belongs to another process.
        """
        spool = cls(Path(folder), max_bytes, min(segment_bytes, max(max_bytes // 4, 1)), on_fatal)
        try:
            await asyncio.to_thread(spool._prepare)
        except BaseException:
            spool._close_files()
            raise
        spool._thread.start()
        return spool

    # --- writing ---

    async def append(self, data: bytes, item: Any = None) -> None:
        """Returns when the row is on disk. Raises SpoolFull, SpoolBroken, ValueError (too long)."""
        done: asyncio.Future[None] = self._loop.create_future()

        def answer(error: Exception | None) -> None:
            if not done.done():
                done.set_result(None) if error is None else done.set_exception(error)

        self.put(data, item, answer)
        await done

    def put(self, data: bytes, item: Any, answer: Answer, *, alone: bool = False) -> None:
        """Puts a row into the next group; `answer` hears what became of it, perhaps at once. Call it on the loop.

        `item` comes back with the record as long as memory holds it, so that the shipper need not decode the bytes.
        `alone`: nothing else needs the loop just now, so that a disk which has been quick is waited for here.
        Raises ValueError (too long).
        """
        if not 0 < len(data) <= limits.SPOOL_RECORD_MAX_BYTES:
            raise ValueError(f"a record of {len(data)} bytes; at most {limits.SPOOL_RECORD_MAX_BYTES} fit")
        size = len(data) + spool_format.RECORD_HEADER_BYTES
        error: Exception | None = None
        here: list[_Waiting] = []
        with self._lock_state:
            if self._broken is not None or self._closing:
                error = SpoolBroken("the spool is closed")
            elif self._bytes + self._waiting_bytes + size + spool_format.GROUP_HEADER_BYTES > self._max_bytes:
                error = SpoolFull(f"the spool holds {self._bytes} bytes of {self._max_bytes}")
            else:
                if alone and self._is_quick_and_idle(size):
                    here.append(_Waiting(data, item, answer))
                else:
                    if not self._gathered:
                        self._loop.call_soon(self._hand_over)
                    self._gathered.append(_Waiting(data, item, answer))
                self._waiting_bytes += size
        if error is not None:
            answer(error)
        elif here:
            self._write_here(here)

    def _hand_over(self) -> None:
        """Gives the thread what one turn of the loop brought. Earlier would not be sooner: the loop hears of a sync
        only in its next turn, and a thread that wakes meanwhile takes the interpreter from it."""
        group, self._gathered = self._gathered, []
        with self._lock_state:  # the thread looks for the last time under it, once it is broken
            broken = self._broken
            if group and broken is None:
                self._waiting.put(group)
        if broken is not None:
            self._answer(group, SpoolBroken(f"the spool's disk failed: {broken}"))

    def _is_quick_and_idle(self, size: int) -> bool:
        """Whether the thread holds nothing, has told of all it wrote, has made room for so many bytes, and the disk's
        last syncs were quick."""
        is_idle = self._waiting_bytes == 0 and self._durable == self._next - 1
        is_ready = self._file is not None and self._file.is_ready_for(spool_format.GROUP_HEADER_BYTES + size)
        return is_idle and is_ready and self._quick_syncs >= limits.SPOOL_QUICK_SYNCS

    def _write_here(self, group: list[_Waiting]) -> None:
        try:
            first = self._write_group(group)
        except Exception as error:
            self._refuse(group, error)
        else:
            self._acknowledge(first, group)

    @property
    def room_bytes(self) -> int:
        """Bytes that may still be appended before SpoolFull (the disk may say so earlier)."""
        return max(0, self._max_bytes - self._bytes - self._waiting_bytes)

    @property
    def backlog(self) -> int:
        """Rows on disk that `cut` has not been told of."""
        return self._durable - self._cut

    # --- reading and cutting (the shipper's side) ---

    async def read(self, after: int, limit: int) -> list[Record]:
        """Returns up to `limit` durable records with larger sequence numbers, ascending; from memory where possible."""
        if after >= self._durable:
            return []
        if self._recent and self._recent[0].sequence <= after + 1:
            start = after + 1 - self._recent[0].sequence
            return list(islice(self._recent, start, start + limit))
        until = min(self._recent[0].sequence - 1 if self._recent else self._durable, after + limit)
        return await asyncio.to_thread(self._read_files, after, until)

    async def wait_beyond(self, sequence: int) -> None:
        """Returns when there is a durable record behind `sequence`."""
        while self._durable <= sequence:
            self._grown.clear()
            await self._grown.wait()

    async def cut(self, through: int, *, free: int | None = None) -> None:
        """Says that the records up to `through` were given away, and those up to `free` (the same if it is not given)
        are safe elsewhere: whole segments of them are removed."""
        self._cut = max(self._cut, min(through, self._durable))
        self._free = max(self._free, min(self._cut if free is None else free, self._cut))
        while self._recent and self._recent[0].sequence <= self._cut:
            self._recent_bytes -= len(self._recent.popleft().data)
        with self._lock_state:  # the newest segment stays: the thread writes to it
            gone = [s for s in self._segments[:-1] if s.first + s.count - 1 <= self._free]
            self._segments = [s for s in self._segments if s not in gone]
            self._bytes -= sum(segment.file_bytes for segment in gone)
        if gone:
            await asyncio.to_thread(self._remove, [segment.path for segment in gone])

    @property
    def first(self) -> int:
        """Sequence number before the oldest record that is still here: where a new reader starts."""
        return self._segments[0].first - 1

    async def close(self) -> None:
        """Writes what waits and closes. What is wholly safe elsewhere is removed."""
        if self._folder_fd < 0:
            return
        with self._lock_state:
            self._closing = True
        self._hand_over()
        self._waiting.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        if self._broken is None:
            await asyncio.to_thread(self._leave)
        self._close_files()

    # --- at the start ---

    def _prepare(self) -> None:
        self._folder_fd = disk.open_folder(self._folder)
        self._lock = disk.lock(self._folder / "lock")
        if disk.names(self._folder / REPAIRED, REPAIR_COMPLETE):
            raise SpoolDamaged(f"a repair of {self._folder} was not finished. {_ADVICE.format(folder=self._folder)}")
        if disk.names(self._folder, LOST):
            raise SpoolDamaged(f"rows of {self._folder} are lost, and nobody has answered for that: {_ACCEPT}")
        paths = disk.names(self._folder, SUFFIX)
        if findings := bounds_findings(self._folder, paths):
            raise SpoolDamaged(f"{'; '.join(findings)}. {_ADVICE.format(folder=self._folder)}")
        bounds = read_bounds(self._folder)
        self._bounds_file = (disk.create if bounds is None else disk.reopen)(self._folder / BOUNDS)
        disk.sync(self._folder_fd)
        promised = bounds or Bounds()
        newest = None if promised.following or not paths else paths[-1]  # at a clean stop nothing is torn
        empty = [path for path in paths if not self._take_segment(path, promised, last=path is newest)]
        following = self._next if self._segments else max(1, promised.newest)
        if promised.following > following:
            gone = f"rows {following} to {promised.following - 1} are missing, which were there when it was closed"
            raise SpoolDamaged(f"{self._folder}: {gone}. {_ADVICE.format(folder=self._folder)}")
        if empty:
            self._write_bounds(self._segments[-1].first if self._segments else 0)
            self._unlink(empty)
        # What was read may have been written by a process that died before its fdatasync: it counts as rows now, so it
        # must be on disk before anybody acts on it. The new segment's first write syncs only itself.
        self._spare = Spare.open(self._folder / _SPARE)
        self._open_segment()
        self._open_spare()
        self._durable = self._next - 1
        self._cut = self._free = self.first

    def _take_segment(self, path: Path, bounds: Bounds, *, last: bool) -> bool:
        """Returns whether anything is in it."""
        data = disk.read(path)
        try:
            found = spool_format.read_segment(data, last=last)
            if found is None and bounds.promise(path):  # a segment has its name only when its header is on disk
                raise SpoolDamaged(f"nothing can be read of its {len(data)} bytes, and rows may have stood there")
        except SpoolDamaged as error:
            raise SpoolDamaged(f"{path}: {error}. {_ADVICE.format(folder=self._folder)}") from None
        if found is None or not found.records:  # one that began and held nothing; rows behind it show if that is wrong
            self._drop_torn_end(path, data, found)
            return False
        if self._segments and found.first != self._next:
            problem = f"{path} begins with row {found.first}, expected {self._next}"
            raise SpoolDamaged(f"{problem}. {_ADVICE.format(folder=self._folder)}")
        self._drop_torn_end(path, data, found)
        file = disk.reopen(path)
        try:
            if found.end_bytes < len(data):
                disk.truncate(file, found.end_bytes)
            disk.sync(file)
        finally:
            disk.close(file)
        self._next = found.first + len(found.records)
        self._segments.append(_Segment(path, found.first, len(found.records), found.good_bytes))
        self._bytes += self._segments[-1].file_bytes
        return True

    def _drop_torn_end(self, path: Path, data: bytes, found: spool_format.Segment | None) -> None:
        """Keeps the bytes that will go, durably, and says so."""
        start, size = (found.good_bytes, found.torn_bytes) if found else (0, len(data.rstrip(b"\0")))
        if not size:
            return
        kept, file = self._begin_damaged(path)
        _write_synced(file, data[start : start + size])
        disk.sync(self._folder_fd)
        self.dropped.append(Dropped(path.name, size, found.torn_records if found else 0, kept))

    def _begin_damaged(self, path: Path) -> tuple[Path, int]:
        """A new file for a segment's dropped bytes. Numbers of rows begin anew after a clean stop, so that a name may
        be taken by bytes of long ago: those stay."""
        for number in count():
            kept = path.with_suffix(f".{number}{DAMAGED_SUFFIX}" if number else DAMAGED_SUFFIX)
            with contextlib.suppress(FileExistsError):
                return kept, disk.create_new(kept)
        raise AssertionError("numbers do not end")

    def _open_segment(self) -> None:
        """Begins the newest segment. Raises OSError, and then the one before stays the newest."""
        before = self._file
        path = self._folder / f"{self._next:020d}{SUFFIX}"
        header = spool_format.segment_header(self._next)
        room_bytes = min(self._segment_bytes, self._max_bytes - self._bytes)
        spare, self._spare = self._spare or Spare.open(self._folder / _SPARE), None
        with self._lock_bounds:  # before a row is in it that somebody is told of
            file = SegmentFile.begin(spare, path, self._folder_fd, header, room_bytes)
            try:
                self._write_bounds(self._next)
            except OSError:
                file.close()
                with contextlib.suppress(OSError):  # an empty one harms nothing
                    disk.unlink(path)
                raise
            self._file = file
            if before is not None:
                before.finish(spool_format.segment_end(self._next))
            with self._lock_state:
                self._segments.append(_Segment(path, self._next, 0, len(header)))
                self._bytes += self._segments[-1].file_bytes

    def _write_bounds(self, newest: int, following: int = 0) -> None:
        """Says durably, for the next start, what must be there (`Bounds`). Raises OSError.

        In place, within one sector of the disk, through a descriptor that is held: cutting gives room back and must not
        want any, and a segment can follow another in a process without descriptors.
        """
        with self._lock_state:
            oldest = self._segments[0].first if self._segments else newest
        disk.write(self._bounds_file, f"{oldest:020d} {newest:020d} {following:020d}\n".encode(), 0)
        disk.sync_data(self._bounds_file)

    def _open_spare(self) -> None:
        """Opens the file that the next segment will begin in, if that is possible now."""
        if self._spare is None:
            with contextlib.suppress(OSError):  # tried again behind the next group
                self._spare = Spare.open(self._folder / _SPARE)

    def _leave(self) -> None:
        """At a clean stop: nothing stays of what is wholly safe, else the newest segment gets its end."""
        is_whole = self._file is not None and self._file.finish(spool_format.segment_end(self._next))
        if self._free == self._durable:
            gone, self._segments = self._segments, []
            self._remove([segment.path for segment in gone])
        elif is_whole:
            with self._lock_bounds, contextlib.suppress(OSError):  # every row is durable without it
                self._write_bounds(self._segments[-1].first, self._next)

    def _remove(self, paths: Sequence[Path]) -> None:
        """Segments that are in the list no more."""
        with self._lock_bounds:
            self._write_bounds(self._segments[-1].first if self._segments else 0)
        self._unlink(paths)

    def _unlink(self, paths: Sequence[Path]) -> None:
        """Oldest first, each durably: a crash in between must not look like a segment that is missing."""
        for path in paths:
            disk.unlink(path)
            disk.sync(self._folder_fd)

    # --- the thread ---

    def _write_groups(self) -> None:
        is_last = False
        while not is_last:
            group, is_last = self._take_group()
            try:
                if group:
                    self._tell(self._acknowledge, self._write_group(group), group)
            except Exception as error:  # whatever it was: those who wait must hear of it
                if not self._refuse(group, error):
                    return
            self._open_spare()

    def _take_group(self) -> tuple[list[_Waiting], bool]:
        """Waits for rows, then takes what else is there, past SPOOL_GROUP_BYTES by one turn of the loop at most. And
        whether nothing follows."""
        group: list[_Waiting] = []
        size = 0
        while size <= limits.SPOOL_GROUP_BYTES:
            if group and self._waiting.empty():
                break
            waiting = self._waiting.get()
            if waiting is None:
                return group, True
            group += waiting
            size += sum(len(one.data) for one in waiting)
        return group, False

    def _write_group(self, group: list[_Waiting]) -> int:
        """One write, one fdatasync; returns the first row's number. Raises OSError for no room with the file as it was;
        anything worse is fatal."""
        segment = self._segments[-1]
        if segment.count and segment.size >= self._segment_bytes:
            with contextlib.suppress(OSError):  # no row is in the new one: the one before grows on
                self._open_segment()
            segment = self._segments[-1]
        first = self._next
        data = spool_format.encode_group(first, [waiting.data for waiting in group])
        assert self._file is not None
        is_quick = self._file.append(data) < limits.SPOOL_QUICK_SYNC_NS
        self._quick_syncs = self._quick_syncs + 1 if is_quick else 0
        with self._lock_state:
            self._next += len(group)
            segment.count += len(group)
            segment.size += len(data)
            self._bytes += len(data)
            self._waiting_bytes -= _size_of(group)
        return first

    def _refuse(self, group: list[_Waiting], error: Exception) -> bool:
        """Answers a group that was not written. Returns whether the spool lives on."""
        if isinstance(error, OSError) and error.errno in NO_ROOM and not isinstance(error, Fatal):
            with self._lock_state:
                self._waiting_bytes -= _size_of(group)
            self._tell(self._answer, group, SpoolFull(f"the spool's disk is full: {error}"))
            return True
        rest: list[_Waiting] = []
        with self._lock_state:
            self._broken = error
            while not self._waiting.empty():
                waiting = self._waiting.get()
                if waiting is not None:
                    rest += waiting
        self._on_fatal(error)
        self._tell(self._answer, [*group, *rest], SpoolBroken(f"the spool's disk failed: {error}"))
        return False

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits there any more
            self._loop.call_soon_threadsafe(function, *arguments)

    def _acknowledge(self, first: int, group: Sequence[_Waiting]) -> None:
        """On the loop: the group is on disk."""
        recent, sequence = self._recent, first
        for waiting in group:
            recent.append(Record(sequence, waiting.data, waiting.item))
            sequence += 1
            self._recent_bytes += len(waiting.data)
        self._durable = sequence - 1
        while self._recent_bytes > limits.SPOOL_MEMORY_BYTES:
            self._recent_bytes -= len(recent.popleft().data)
        self._grown.set()
        self._answer(group, None)

    def _answer(self, group: Sequence[_Waiting], error: Exception | None) -> None:
        for waiting in group:
            try:
                waiting.answer(error)
            except Exception as raised:  # the rows beside it must still be answered
                self._loop.call_exception_handler({"message": "an answer of the spool raised", "exception": raised})

    # --- files ---

    def _read_files(self, after: int, until: int) -> list[Record]:
        with self._lock_state:
            segments = [segment for segment in self._segments if segment.first + segment.count - 1 > after]
        records: list[Record] = []
        for segment in segments:
            if segment.first > until:
                break
            payloads = self._payloads(segment)
            records += [
                Record(segment.first + place, payloads[place], None)
                for place in range(max(0, after + 1 - segment.first), min(len(payloads), until + 1 - segment.first))
            ]
        return records

    def _payloads(self, segment: _Segment) -> list[bytes]:
        """The rows of a segment. The one read last is kept: a shipper that is behind reads each in many steps."""
        key = (segment.path, segment.count)
        if self._parsed[0] != key:
            data = disk.read(segment.path, segment.size)
            found = spool_format.read_segment(data, last=False)
            assert found is not None
            self._parsed = (key, found.records)
        return self._parsed[1]

    def _close_files(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._spare is not None:
            self._spare.close()
            self._spare = None
        for descriptor in (self._folder_fd, self._bounds_file, self._lock):
            if descriptor >= 0:
                disk.close(descriptor)
        self._folder_fd = self._bounds_file = self._lock = -1


def _write_synced(file: int, data: bytes) -> None:
    """From the beginning; closes the file."""
    try:
        disk.write(file, data, 0)
        disk.sync(file)
    finally:
        disk.close(file)


def read_bounds(folder: Path) -> Bounds | None:
    """What a folder says that it must hold; None where it says nothing (an older program's spool, a new one). Raises
    ValueError for what cannot be read."""
    if not disk.names(folder, BOUNDS):
        return None
    said = disk.read(folder / BOUNDS)
    if not said.strip(b"\0"):  # made, and never written: no row came after it
        return Bounds()
    numbers = [int(text) for text in said.split()]
    if len(numbers) not in (2, 3):
        raise ValueError(f"{folder / BOUNDS} holds {len(numbers)} numbers")
    return Bounds(*numbers)


def bounds_findings(folder: Path, paths: Sequence[Path]) -> list[str]:
    """What of the segments that must be there is not, and what there is no segment's name: empty for a sound folder."""
    found = [f"{path} has no segment's name" for path in paths if not is_segment_name(path)]
    try:
        bounds = read_bounds(folder)
    except ValueError:
        return [*found, f"{folder / BOUNDS} cannot be read"]
    if bounds is None:
        return found
    there = {path.name for path in paths}
    for what, first in (("oldest", bounds.oldest), ("newest", bounds.newest)):
        name = f"{first:020d}{SUFFIX}"
        if first and name not in there:
            found.append(f"{folder / name} is missing: the {what} segment, which begins with row {first}")
    return found


def is_segment_name(path: Path) -> bool:
    return len(path.stem) == 20 and path.stem.isascii() and path.stem.isdigit()


def _size_of(group: Sequence[_Waiting]) -> int:
    return sum(len(waiting.data) for waiting in group) + spool_format.RECORD_HEADER_BYTES * len(group)


async def _pause(failures: int) -> None:
    """Before the next try: nodes that lost one store together come back spread."""
    wait_ms = Backoff(*limits.SHIP_RETRY_MS).wait_ms(failures, random.random())  # noqa: S311 - spreads, hides nothing
    await asyncio.sleep(wait_ms / 1000)


class Shipper:
    """Moves rows from spool to store, in order, for as long as the store takes them; then cuts the spool.

    A store that is away is tried again with growing waits, for ever: nothing is dropped. `observe` hears of each
    attempt: (rows shipped, error or None). A row the store refuses for what it says (another row under its id) can
    never be shipped: it goes to `on_refused` with the reason, which must keep it (see `ledger.refused`), and the rest
    goes on. `heads` sees before each step that the ledger is the one it was, and signs for what is in it when that is
    due; only what it has seen there leaves the spool. On a ledger that differs it raises LedgerDiffers.
    """

    def __init__(
        self,
        spool: Spool,
        store: Store,
        keccak: Keccak,
        *,
        on_refused: Callable[[Record, Exception], None],
        observe: Callable[[int, Exception | None], None] = lambda shipped, error: None,
        heads: HeadKeeper | None = None,
        rows: int = limits.SHIP_ROWS,
        pause_ms: int = limits.SHIP_PAUSE_MS,
    ) -> None:
        self._spool = spool
        self._store = store
        self._pause_s = pause_ms / 1000
        self._keccak = keccak
        self._on_refused = on_refused
        self._observe = observe
        self._rows = rows
        self._heads = heads
        self.shipped = spool.first
        """Sequence number of the last row that is in the store."""
        self._safe = spool.first
        """The same, of the last one that a copy of a head on this disk is over."""

    async def run(self) -> None:
        """Ships for ever; cancel it to stop. Rows on the way at that moment stay in the spool, and so do all of them
        once the ledger is not the one that this node knows."""
        try:
            await self._ship_for_ever()
        except LedgerDiffers as error:
            self._observe(0, error)
            await asyncio.Event().wait()  # for a person, and the next start

    async def _ship_for_ever(self) -> None:
        while True:
            await self._wait_for_rows()
            await asyncio.sleep(self._pause_s)
            while await self.ship_once() == self._rows:
                await self._sign_if_due()
            await self._sign_if_due()

    async def _wait_for_rows(self) -> None:
        """Meanwhile the head over the last rows becomes due."""
        while True:
            due_s = None if self._heads is None else self._heads.due_in_s()
            try:
                async with asyncio.timeout(due_s):
                    return await self._spool.wait_beyond(self.shipped)
            except TimeoutError:
                await self._sign_if_due()

    async def _sign_if_due(self) -> None:
        if self._heads is not None and self._heads.due_in_s() == 0:
            await self._sign(self._heads)

    async def _sign(self, heads: HeadKeeper) -> None:
        shipped = self.shipped
        try:
            is_kept = await heads.advance()
        except (StoreError, OSError) as error:  # rows go on; a head that is due is tried again
            self._observe(0, error)
            return
        if is_kept:  # the ledger shows these rows, and this node will know if it no longer does
            self._safe = shipped
            await self._patiently(self._cut)

    async def ship_once(self) -> int:
        """Ships what one step takes; returns how many rows. Returns only when they are in the store."""
        records = await self._patiently(lambda: self._spool.read(self.shipped, self._rows))
        if not records:
            return 0
        await self._deliver(records)
        self.shipped = records[-1].sequence
        await self._patiently(self._cut)
        return len(records)

    async def _cut(self) -> None:
        await self._spool.cut(self.shipped, free=None if self._heads is None else self._safe)

    async def drain(self) -> None:
        """Returns when everything in the spool is in the store (at a clean stop)."""
        while await self.ship_once():
            pass
        if self._heads is not None and self._heads.due_in_s() is not None:
            await self._sign(self._heads)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does it as soon as the machine lets it: no descriptor or no room now is no reason to stand still for good."""
        failures = 0
        while True:
            try:
                return await work()
            except OSError as error:
                self._observe(0, error)
            failures += 1
            await _pause(failures)

    async def _refuse(self, record: Record, error: Exception) -> None:
        async def keep() -> None:
            self._on_refused(record, error)

        await self._patiently(keep)

    async def _deliver(self, records: Sequence[Record]) -> None:
        rows = []
        for record in records:
            try:
                rows.append((record, self._row(record)))
            except ValueError as error:  # not a row: written by something that is not this program
                await self._refuse(record, error)
        failures = 0
        while rows:
            try:
                if self._heads is not None:
                    await self._heads.compare()
                await self._store.append([row for _, row in rows])
            except (Conflict, ValueError) as error:
                if len(rows) > 1:
                    await self._deliver_halves([record for record, _ in rows])
                else:
                    await self._refuse(rows[0][0], error)
                return
            except StoreError as error:
                self._observe(0, error)
                failures += 1
                await _pause(failures)
            else:
                self._observe(len(rows), None)
                if self._heads is not None:
                    self._heads.shipped(row for _, row in rows)
                return

    async def _deliver_halves(self, records: Sequence[Record]) -> None:
        """Finds the row that the store refuses by halving, so that the others are not held up."""
        middle = len(records) // 2
        await self._deliver(records[:middle])
        await self._deliver(records[middle:])

    def _row(self, record: Record) -> Row:
        return record.item if isinstance(record.item, Row) else decode_row(record.data, self._keccak)
