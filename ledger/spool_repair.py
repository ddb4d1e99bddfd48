"""Makes a damaged spool one that opens again: what can be read stays, what is lost is named, all old bytes are kept.

A node does not start on a damaged spool, since rows that were acknowledged may be lost. Somebody has looked, and runs
`cgn ledger repair-spool FOLDER`. All rows whose checksums hold, in any file of the folder (segments, whatever their
names; ends that were dropped, `*.damaged`), are written anew, in the order of their numbers, without gaps (numbers mean
nothing outside the spool). A number under which different bytes stand is a finding, and all of them are kept: the
further ones stand last. The old files go to a folder `damaged-1`, `damaged-2` … beside.

What is lost is counted from the segments that are left and from `bounds`, which says where the newest begins and, after
a clean stop, where it ends. Rows go to the ledger in the order of their numbers, so whoever brings the ledger learns
which of them are there (`shipped_through`) and only miss here. Where rows are lost, or may be, the file `lost` says so,
and no node starts on the folder until `cgn ledger accept-loss` has made a signed fact of it (`ledger.losses`).

The new segments are made in `repaired` and count once the file `complete` stands there. A crash before that changes
nothing, a crash behind it is finished by the next run; a node does not start meanwhile.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Final, NamedTuple

from ledger import disk, limits
from ledger.core import spool_format
from ledger.port import Store
from ledger.spool import (
    BOUNDS,
    DAMAGED_SUFFIX,
    LOST,
    REPAIR_COMPLETE,
    REPAIRED,
    SUFFIX,
    Bounds,
    bounds_findings,
    is_segment_name,
    read_bounds,
)

ShippedThrough = Callable[[Sequence[tuple[int, str]]], int]
"""From (number, row id) of the rows that are left, ascending: the number up to which all rows are in the ledger."""


class Repaired(NamedTuple):
    """What was found and done."""

    rows: int
    """Rows that are there."""
    lost: tuple[tuple[int, int], ...]
    """First and last number of each run of rows that is gone."""
    unknown_from: int
    """Number from which on further rows may have stood, of which nothing is left that says how many; 0 for none."""
    damaged: tuple[str, ...]
    """Names of the segments that did not read as written."""
    findings: tuple[str, ...]
    """What else is wrong: segments missing at an end, names that are no segment's, numbers that stand twice."""
    kept: Path | None
    """Where the old segments are; None when nothing was damaged and nothing changed."""


class _Place(NamedTuple):
    """Where one row stands."""

    path: Path
    sequence: int


def repair_spool(folder: Path, shipped_through: ShippedThrough = lambda rows: 0) -> Repaired:
    """See the module. Raises OSError, also when a node has the spool open or there is no spool in the folder, and what
    `shipped_through` raises."""
    if not any((folder / name).exists() for name in ("lock", REPAIRED)) and not disk.names(folder, SUFFIX):
        raise FileNotFoundError(f"there is no spool {folder}")
    lock = disk.lock(folder / "lock")
    try:
        return _repair(folder, shipped_through)
    finally:
        disk.close(lock)


async def shipped_through(store: Store, rows: Sequence[tuple[int, str]]) -> int:
    """The number up to which a spool's rows are in the ledger; `rows`: (number, row id) of those that are left.

    The newest of them that is there is looked for by halving; behind it, the ledger's rows of the same node are the
    next numbers of the spool. 0 when none is there. Raises StoreError.
    """
    below, above = 0, len(rows)
    newest = None
    while below < above:
        middle = (below + above) // 2
        stored = await store.get(rows[middle][1])
        if stored is None:
            above = middle
        else:
            below, newest = middle + 1, stored
    if newest is None:
        return 0
    number, node_id, after = rows[below - 1][0], newest.public["node_id"], newest.ingest
    while page := await store.read(after, limits.PORTION_ROWS):
        number += sum(row.public["node_id"] == node_id for row in page)
        after = page[-1].ingest
    return number


def _repair(folder: Path, shipped_through: ShippedThrough) -> Repaired:
    new = folder / REPAIRED
    if not (new / REPAIR_COMPLETE).exists():
        found, places, first = _look(folder)
        if not (found.damaged or found.lost or found.findings):
            return found
        found = _without_shipped(found, shipped_through(_ids(places)) if found.lost or found.unknown_from else 0)
        _write(new, first, places, found)
    rows, lost, unknown_from, damaged, findings = json.loads(disk.read(new / REPAIR_COMPLETE))
    runs = tuple((begun, ended) for begun, ended in lost)
    return _exchange(folder, new, Repaired(rows, runs, unknown_from, tuple(damaged), tuple(findings), None))


def _without_shipped(found: Repaired, through: int) -> Repaired:
    """What is lost when all rows up to this number are in the ledger."""
    there = [(begun, min(ended, through)) for begun, ended in found.lost if begun <= through]
    if found.unknown_from and found.unknown_from <= through:
        there.append((found.unknown_from, through))
    return found._replace(
        lost=tuple((max(begun, through + 1), ended) for begun, ended in found.lost if ended > through),
        unknown_from=found.unknown_from and max(found.unknown_from, through + 1),
        findings=(
            *found.findings,
            *(f"rows {begun} to {ended} are not here: the ledger has them" for begun, ended in there),
        ),
    )


class _Seen:
    """What was read so far, by number."""

    def __init__(self) -> None:
        self.places: dict[int, _Place] = {}
        self.further: list[_Place] = []
        self.findings: list[str] = []
        self._digests: dict[int, bytes] = {}
        self._all: set[bytes] = set()

    def take(self, path: Path, sequence: int, data: bytes, *, is_segment: bool) -> None:
        digest = hashlib.sha256(data).digest()
        if digest in self._all and self._digests.get(sequence) != digest and not is_segment:
            return  # the same row under another number, in bytes that were put aside
        if sequence not in self.places:
            self.places[sequence], self._digests[sequence] = _Place(path, sequence), digest
            if not is_segment:
                self.findings.append(f"row {sequence} was found in {path.name}")
        elif self._digests[sequence] != digest and digest not in self._all:
            self.further.append(_Place(path, sequence))
            beside = self.places[sequence].path.name
            self.findings.append(f"row {sequence} stands in {path.name} with other bytes than in {beside}")
        self._all.add(digest)


def _look(folder: Path) -> tuple[Repaired, list[_Place], int]:
    """What the files hold, where each row is to be read, and the first number they tell of."""
    paths = disk.names(folder, SUFFIX)
    seen, findings = _Seen(), bounds_findings(folder, paths)
    try:
        bounds = read_bounds(folder) or Bounds()
    except ValueError:  # named among the findings
        bounds = Bounds()
    firsts = [number for number in (bounds.oldest, bounds.newest) if number]
    last = max(bounds.newest, bounds.following, 1) - 1
    damaged: list[str] = []
    whole: set[int] = set()
    named = [path for path in paths if is_segment_name(path)]
    foreign = [path for path in paths if not is_segment_name(path)]
    for path in [*named, *foreign, *disk.names(folder, DAMAGED_SUFFIX)]:
        if path.is_dir():
            continue  # named above, and kept with the rest
        is_segment = path in named
        salvage, is_sound = _read(path, last=paths[-1:] == [path] and not bounds.following)
        if is_segment:
            begun = int(path.stem) if salvage.first is None else salvage.first  # a copy may have any name
            firsts.append(begun)
            last = max(last, salvage.last, begun - 1)
            if is_sound and (salvage.first is not None or not bounds.promise(path)):
                whole.add(begun)
            else:
                damaged.append(path.name)
        for sequence, data in sorted(salvage.records.items()):
            seen.take(path, sequence, data, is_segment=is_segment)
    places = seen.places
    newest = max(firsts, default=0)
    unknown_from = last + 1 if newest and newest not in whole and not bounds.following else 0
    first = min([*firsts, *places], default=1)
    lost = tuple(_runs(number for number in range(first, last + 1) if number not in places))
    ordered = [place for _, place in sorted(places.items())] + seen.further
    found = Repaired(len(ordered), lost, unknown_from, tuple(damaged), (*findings, *seen.findings), None)
    return found, ordered, first


def _read(path: Path, *, last: bool) -> tuple[spool_format.Salvage, bool]:
    """What a file holds, and whether it reads as a segment was written."""
    data = disk.read(path)
    try:
        segment = spool_format.read_segment(data, last=last)
    except spool_format.SpoolDamaged:
        return spool_format.salvage_segment(data), False
    if segment is None:
        return spool_format.Salvage(None, {}, 0), True
    if segment.torn_bytes:
        return spool_format.salvage_segment(data), False
    records = dict(enumerate(segment.records, segment.first))
    if is_segment_name(path) and segment.first != int(path.stem):
        return spool_format.Salvage(segment.first, records, segment.first + len(records) - 1), False
    return spool_format.Salvage(segment.first, records, segment.first + len(records) - 1), True


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as (first, last) of each run without gaps."""
    begun = before = None
    for number in numbers:
        if begun is None or before is None or number != before + 1:
            if begun is not None and before is not None:
                yield begun, before
            begun = number
        before = number
    if begun is not None and before is not None:
        yield begun, before


def _write(new: Path, first: int, places: list[_Place], found: Repaired) -> None:
    """New segments with all rows in their order; then what is said of them."""
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    number = first
    rows: list[bytes] = []
    size = 0
    for row in chain(_rows(places), [None]):
        if rows and (row is None or size >= limits.SPOOL_SEGMENT_BYTES):
            _write_whole(new / f"{number:020d}{SUFFIX}", _segment(number, rows))
            number += len(rows)
            rows, size = [], 0
        if row is not None:
            rows.append(row)
            size += len(row)
    _sync_folder(new)
    written = number - first
    said = json.dumps([written, found.lost, found.unknown_from, found.damaged, found.findings]).encode()
    _write_whole(new / "said", said)
    disk.rename(new / "said", new / REPAIR_COMPLETE)  # whole, or not there
    _sync_folder(new)


def _rows(places: list[_Place]) -> Iterator[bytes]:
    """The rows at these places. One file is in memory at a time."""
    for path, of_path in groupby(places, lambda place: place.path):
        records = _read(path, last=True)[0].records
        for place in of_path:
            yield records[place.sequence]


_ROW_ID: Final = re.compile(rb'"row_id":"([0-9a-f]{32})"')


def _ids(places: list[_Place]) -> list[tuple[int, str]]:
    """Numbers and row ids of the rows at these places."""
    found = [(place.sequence, _ROW_ID.findall(data)) for place, data in zip(places, _rows(places), strict=True)]
    return sorted((number, ids[-1].decode()) for number, ids in found if ids)  # the public part stands last


def _segment(first: int, rows: list[bytes]) -> bytes:
    parts = [spool_format.segment_header(first)]
    group: list[bytes] = []
    size = 0
    for row in [*rows, None]:
        if group and (row is None or size + len(row) > limits.SPOOL_GROUP_BYTES):
            parts.append(spool_format.encode_group(first, group))
            first += len(group)
            group, size = [], 0
        if row is not None:
            group.append(row)
            size += len(row)
    return b"".join([*parts, spool_format.segment_end(first)])


def _exchange(folder: Path, new: Path, found: Repaired) -> Repaired:
    """Old segments out, new ones in (as second names, which tell them from old ones). May be done again from any point
    on. Returns also where the old ones are."""
    kept = next(path for path in (folder / f"damaged-{number}" for number in range(1, 10**6)) if not path.exists())
    kept.mkdir(mode=0o700)
    for path in [*disk.names(folder, SUFFIX), *disk.names(folder, DAMAGED_SUFFIX), *disk.names(folder, BOUNDS)]:
        if not (new / path.name).exists() or path.stat().st_ino != (new / path.name).stat().st_ino:
            disk.rename(path, kept / path.name)
    _sync_folder(kept)
    for path in disk.names(new, SUFFIX):
        if not (folder / path.name).exists():
            os.link(path, folder / path.name)
    found = found._replace(kept=kept)
    if found.lost or found.unknown_from:
        _say_lost(folder, new, found)
    _sync_folder(folder)
    shutil.rmtree(new)
    _sync_folder(folder)
    return found


def _say_lost(folder: Path, new: Path, found: Repaired) -> None:
    """Adds a line to the file that keeps nodes away; again adds nothing."""
    assert found.kept is not None
    said = [*(f"{name} was damaged" for name in found.damaged), *found.findings]
    told = {"lost": [list(run) for run in found.lost], "unknown_from": found.unknown_from, "said": said}
    before = [line for path in disk.names(folder, LOST) for line in disk.read(path).splitlines()]
    for line in before:
        known = json.loads(line)
        if all(known[name] == value for name, value in told.items()):
            return  # by a run that was interrupted
    with contextlib.suppress(FileNotFoundError):
        (new / LOST).unlink()
    lines = [*before, json.dumps({**told, "kept": found.kept.name}).encode()]
    _write_whole(new / LOST, b"".join(line + b"\n" for line in lines))
    disk.rename(new / LOST, folder / LOST)


def _write_whole(path: Path, data: bytes) -> None:
    file = disk.create(path)
    try:
        disk.write(file, data, 0)
        disk.sync(file)
    finally:
        disk.close(file)


def _sync_folder(folder: Path) -> None:
    descriptor = disk.open_folder(folder)
    try:
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)
