"""Makes a damaged spool one that opens again: what can be read stays, what is lost is named, all old bytes are kept.

A node does not start on a damaged spool, since rows that were acknowledged may be lost. Somebody has looked, and runs
`cgn ledger repair-spool FOLDER`. All rows whose checksums hold are written anew, numbered without gaps (numbers mean
nothing outside the spool); the old segments go to a folder `damaged-1`, `damaged-2` … beside.

The new segments are made in `repaired` and count once the file `complete` stands there. A crash before that changes
nothing, a crash behind it is finished by the next run; a node does not start meanwhile.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ledger import disk, limits
from ledger.core import spool_format
from ledger.spool import REPAIR_COMPLETE, REPAIRED, SUFFIX


class Repaired(NamedTuple):
    """What was found and done."""

    rows: int
    """Rows that are there."""
    lost: tuple[tuple[int, int], ...]
    """First and last number of each run of rows that is gone. What stood last of all, and of which nothing can be read,
    is not among them: nobody knows how much it was."""
    damaged: tuple[str, ...]
    """Names of the segments that did not read as written."""
    kept: Path | None
    """Where the old segments are; None when nothing was damaged and nothing changed."""


def repair_spool(folder: Path) -> Repaired:
    """See the module. Raises OSError, also when a node has the spool open or there is no such folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no spool {folder}")
    lock = disk.lock(folder / "lock")
    try:
        return _repair(folder)
    finally:
        disk.close(lock)


def _repair(folder: Path) -> Repaired:
    new = folder / REPAIRED
    if not (new / REPAIR_COMPLETE).exists():
        paths = disk.names(folder, SUFFIX)
        found, first = _look(paths)
        if not found.damaged and not found.lost:
            return found
        _write(new, first, paths, found)
    rows, lost, damaged = json.loads(disk.read(new / REPAIR_COMPLETE))
    kept = _exchange(folder, new)
    return Repaired(rows, tuple((begun, ended) for begun, ended in lost), tuple(damaged), kept)


def _look(paths: list[Path]) -> tuple[Repaired, int]:
    """What the segments hold, and the first number they tell of."""
    numbers: set[int] = set()
    firsts: list[int] = []
    last = 0
    damaged: list[str] = []
    for path in paths:
        salvage, is_sound = _read(path, last=path is paths[-1])
        numbers |= salvage.records.keys()
        firsts.append(int(path.stem))  # its name says so too
        last = max(last, salvage.last, int(path.stem) - 1)
        damaged += [] if is_sound else [path.name]
    first = min(firsts, default=1)
    lost = tuple(_runs(number for number in range(first, last + 1) if number not in numbers))
    return Repaired(len(numbers), lost, tuple(damaged), None), first


def _read(path: Path, *, last: bool) -> tuple[spool_format.Salvage, bool]:
    """What a segment holds, and whether it reads as it was written."""
    data = disk.read(path)
    try:
        segment = spool_format.read_segment(data, last=last)
    except spool_format.SpoolDamaged:
        return spool_format.salvage_segment(data), False
    if segment is None:
        return spool_format.Salvage(None, {}, 0), True
    records = dict(enumerate(segment.records, segment.first))
    return spool_format.Salvage(segment.first, records, segment.first + len(records) - 1), segment.torn_bytes == 0


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


def _write(new: Path, first: int, paths: list[Path], found: Repaired) -> None:
    """One new segment for each old one that still has rows, in their order; then what is said of them."""
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    number, seen = first, 0
    for path in paths:
        salvage, _ = _read(path, last=path is paths[-1])
        rows = [data for sequence, data in sorted(salvage.records.items()) if sequence > seen]
        seen = max(salvage.records, default=seen)
        if rows:
            _write_whole(new / f"{number:020d}{SUFFIX}", _segment(number, rows))
            number += len(rows)
    _sync_folder(new)
    said = json.dumps([found.rows, found.lost, found.damaged]).encode()
    _write_whole(new / "said", said)
    disk.rename(new / "said", new / REPAIR_COMPLETE)  # whole, or not there
    _sync_folder(new)


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
    for path in disk.names(folder, SUFFIX):
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
