"""The newest segment of a spool as a file: what is appended is on disk when `append` returns (N-24, L-4).

Room is reserved at once and written ahead with zeros, so that a sync changes neither the file's length nor its map, and
small groups go to the disk in whole blocks past the kernel's cache where the file system can do that (O_DIRECT): both
are time that a lone request waits for (docs/benchmarks.md). Where one of them cannot be had the file grows as it is
written, and everything else holds.

A block that holds the end of one group and the beginning of the next is written twice, the second time with the same
bytes in front: so does every file system with the last page of a file that grows.
"""

import contextlib
import errno
import mmap
import time
from pathlib import Path
from typing import Final, NamedTuple

from ledger import disk, limits

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors after which a group is refused and the next may be tried."""
_BLOCK_BYTES: Final = 4096
"""What O_DIRECT wants to be a multiple of, on any disk in use."""


class Fatal(OSError):
    """An error after which the file's content is not known."""


class Spare(NamedTuple):
    """An empty file that is open already: a segment can begin in it when the process has no descriptor left."""

    path: Path
    file: int
    direct: int

    @classmethod
    def open(cls, path: Path) -> "Spare":
        return cls(path, disk.create(path), disk.open_direct(path))

    def close(self) -> None:
        """Lets go of it and removes it, as far as that goes."""
        for descriptor in (self.file, self.direct):
            if descriptor >= 0:
                disk.close(descriptor)
        with contextlib.suppress(OSError):
            disk.unlink(self.path)


class SegmentFile:
    """See the module. Used by one thread at a time."""

    def __init__(self, file: int, direct: int, header: bytes, reserved: int) -> None:
        self._file = file
        self._direct = direct
        self.size = len(header)
        """Bytes appended, the header among them."""
        self._end = header
        """The bytes of the last block that is not full."""
        self._reserved = reserved
        self._zeroed = self.size
        self._blocks = mmap.mmap(-1, limits.SPOOL_DIRECT_BYTES + 2 * _BLOCK_BYTES)

    @classmethod
    def begin(cls, spare: Spare, path: Path, folder: int, header: bytes, room_bytes: int) -> "SegmentFile":
        """Makes a segment of the spare file, durably, with its header, under its name. `folder`: a descriptor of where
        it stands; `room_bytes`: how long it is meant to become. Raises OSError, and then nothing is left of either."""
        try:
            disk.write(spare.file, header, 0)
            reserved = _reserve(spare.file, len(header), room_bytes)
            disk.sync(spare.file)
            disk.rename(spare.path, path)
            try:
                disk.sync(folder)
            except OSError:
                with contextlib.suppress(OSError):
                    disk.unlink(path)
                raise
        except OSError:
            spare.close()
            raise
        return cls(spare.file, spare.direct, header, reserved)

    def is_ready_for(self, size: int) -> bool:
        """Whether so many bytes can be appended without making room first."""
        return self.size + size <= self._zeroed

    def append(self, data: bytes) -> int:
        """Returns how long the disk took for the sync, in ns. Raises OSError for no room, with the file as it was, and
        `Fatal` or another OSError when nobody knows."""
        try:
            if not self.is_ready_for(len(data)):
                self._zero_ahead(len(data))
            self._write(data)
        except OSError as error:
            if error.errno in NO_ROOM and not isinstance(error, Fatal):
                self._restore()
            raise
        began_ns = time.monotonic_ns()
        _sync(self._file)
        took_ns = time.monotonic_ns() - began_ns
        self.size += len(data)
        rest = self.size % _BLOCK_BYTES
        self._end = (self._end + data[-_BLOCK_BYTES:])[-rest:] if rest else b""
        return took_ns

    def finish(self, end: bytes) -> bool:
        """Writes the segment's end, takes back what was reserved and not written, and closes. Everything appended is
        durable without it, so an error of the disk is none of ours. Returns whether the end is on disk."""
        try:
            disk.write(self._file, end, self.size)
            disk.truncate(self._file, self.size + len(end))
            disk.sync(self._file)
        except OSError:
            return False
        finally:
            self.close()
        return True

    def close(self) -> None:
        for descriptor in (self._file, self._direct):
            if descriptor >= 0:
                disk.close(descriptor)
        self._file = self._direct = -1

    def _zero_ahead(self, wanted: int) -> None:
        """Writes zeros where the next groups will stand, if this one is small."""
        until = min(self.size + limits.SPOOL_ZEROED_BYTES, self._reserved)
        if self.size + 2 * wanted < until:
            disk.write(self._file, bytes(until - self.size), self.size)
            _sync(self._file)
            self._zeroed = until

    def _write(self, data: bytes) -> None:
        start = self.size - len(self._end)
        length = len(self._end) + len(data)
        whole = -(-length // _BLOCK_BYTES) * _BLOCK_BYTES
        if self._direct < 0 or len(data) > limits.SPOOL_DIRECT_BYTES or start + whole > self._zeroed:
            disk.write(self._file, data, self.size)
            return
        blocks = self._blocks
        blocks[: len(self._end)] = self._end
        blocks[len(self._end) : length] = data
        blocks[length:whole] = bytes(whole - length)
        try:
            with memoryview(blocks)[:whole] as view:
                disk.write(self._direct, view, start)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            disk.close(self._direct)  # opened, but the file system wants something else
            self._direct = -1
            disk.write(self._file, data, self.size)

    def _restore(self) -> None:
        """Takes a half-written group back, durably: a refused row must not come back after a crash."""
        try:
            disk.truncate(self._file, self.size)
        except OSError as error:
            raise Fatal(error.errno, f"a refused group could not be taken back: {error.strerror}") from error
        self._zeroed = self._reserved = self.size
        _sync(self._file)


def _sync(file: int) -> None:
    try:
        disk.sync_data(file)
    except OSError as error:
        raise Fatal(error.errno, f"fdatasync failed: {error.strerror}") from error


def _reserve(file: int, used: int, size: int) -> int:
    """Gives the file its room at once, and returns it. Where there is no such room, or no such call, it grows."""
    try:
        disk.reserve(file, size)
    except OSError:
        disk.truncate(file, used)
        return used
    return size
