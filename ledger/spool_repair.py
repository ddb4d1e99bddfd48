"""Makes a damaged spool one that opens again: what can be read stays, what is lost is named, all old bytes are kept.

A node does not start on a damaged spool, since rows that were acknowledged may be lost. Somebody has looked, and runs
`cgn ledger repair-spool FOLDER`. All rows whose checksums hold, in any file of the folder (segments, whatever their
names; ends that were dropped, `*.damaged`), are written anew, in the order of their numbers, without gaps (numbers mean
nothing outside the spool). A number under which different bytes stand is a finding, and all of them are kept: the
further ones stand last. The old files go to a folder `damaged-1`, `damaged-2` … beside.

The new segments are made in `repaired` and count once the file `complete` stands there. A crash before that changes
nothing, a crash behind it is finished by the next run; a node does not start meanwhile.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

from ledger import disk, limits
from ledger.core import spool_format
from ledger.spool import (
    BOUNDS,
    DAMAGED_SUFFIX,
    REPAIR_COMPLETE,
    REPAIRED,
    SUFFIX,
    bounds_findings,
    is_segment_name,
)


class Repaired(NamedTuple):
    """What was found and done."""

    rows: int
    """Rows that are there."""
    lost: tuple[tuple[int, int], ...]
    """First and last number of each run of rows that is gone. What stood last of all, and of which nothing can be read,
    is not among them: nobody knows how much it was."""
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


def repair_spool(folder: Path) -> Repaired:
    """See the module. Raises OSError, also when a node has the spool open or there is no spool in the folder."""
    if not any((folder / name).exists() for name in ("lock", REPAIRED)) and not disk.names(folder, SUFFIX):
        raise FileNotFoundError(f"there is no spool {folder}")
    lock = disk.lock(folder / "lock")
    try:
        return _repair(folder)
    finally:
        disk.close(lock)


def _repair(folder: Path) -> Repaired:
    new = folder / REPAIRED
    if not (new / REPAIR_COMPLETE).exists():
        found, places, first = _look(folder)
        if not (found.damaged or found.lost or found.findings):
            return found
        _write(new, first, places, found)
    rows, lost, damaged, findings = json.loads(disk.read(new / REPAIR_COMPLETE))
    kept = _exchange(folder, new)
    return Repaired(rows, tuple((begun, ended) for begun, ended in lost), tuple(damaged), tuple(findings), kept)


def _look(folder: Path) -> tuple[Repaired, list[_Place], int]:
    """What the files hold, where each row is to be read, and the first number they tell of."""
    paths = disk.names(folder, SUFFIX)
    findings = bounds_findings(folder, paths)
    places: dict[int, _Place] = {}
    digests: dict[int, bytes] = {}
    further: list[_Place] = []
    seen: set[bytes] = set()
    firsts: list[int] = []
    last = 0
    damaged: list[str] = []
    named = [path for path in paths if is_segment_name(path)]
    foreign = [path for path in paths if not is_segment_name(path)]
    for path in [*named, *foreign, *disk.names(folder, DAMAGED_SUFFIX)]:
        if path.is_dir():
            continue  # named above, and kept with the rest
        is_segment = path in named
        salvage, is_sound = _read(path, last=path == paths[-1])
        if is_segment:
            firsts.append(int(path.stem))  # its name says so too
            last = max(last, salvage.last, int(path.stem) - 1)
            damaged += [] if is_sound else [path.name]
        for sequence, data in sorted(salvage.records.items()):
            digest = hashlib.sha256(data).digest()
            if digest in seen and digests.get(sequence) != digest and not is_segment:
                continue  # the same row under another number, in bytes that were put aside
            if sequence not in places:
                places[sequence], digests[sequence] = _Place(path, sequence), digest
                if not is_segment:
                    findings.append(f"row {sequence} was found in {path.name}")
            elif digests[sequence] != digest and digest not in seen:
                further.append(_Place(path, sequence))
                findings.append(
                    f"row {sequence} stands in {path.name} with other bytes than in {places[sequence].path.name}"
                )
            seen.add(digest)
    first = min([*firsts, *places], default=1)
    lost = tuple(_runs(number for number in range(first, last + 1) if number not in places))
    ordered = [place for _, place in sorted(places.items())] + further
    return Repaired(len(ordered), lost, tuple(damaged), tuple(findings), None), ordered, first


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
    said = json.dumps([written, found.lost, found.damaged, found.findings]).encode()
    _write_whole(new / "said", said)
    disk.rename(new / "said", new / REPAIR_COMPLETE)  # whole, or not there
    _sync_folder(new)


def _rows(places: list[_Place]) -> Iterator[bytes]:
    """The rows at these places. One file is in memory at a time."""
    for path, of_path in groupby(places, lambda place: place.path):
        records = _read(path, last=True)[0].records
        for place in of_path:
            yield records[place.sequence]


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


def _exchange(folder: Path, new: Path) -> Path:
    """Old segments out, new ones in (as second names, which tell them from old ones). May be done again from any point
    on. Returns where the old ones are."""
    kept = next(path for path in (folder / f"damaged-{number}" for number in range(1, 10**6)) if not path.exists())
    kept.mkdir(mode=0o700)
    for path in [*disk.names(folder, SUFFIX), *disk.names(folder, DAMAGED_SUFFIX), *disk.names(folder, BOUNDS)]:
        if not (new / path.name).exists() or path.stat().st_ino != (new / path.name).stat().st_ino:
            disk.rename(path, kept / path.name)
    _sync_folder(kept)
    for path in disk.names(new, SUFFIX):
        if not (folder / path.name).exists():
            os.link(path, folder / path.name)
    _sync_folder(folder)
    shutil.rmtree(new)
    _sync_folder(folder)
    return kept


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
