"""A segment on disk holds what was appended, whichever way each group took (L-4)."""

import errno
import mmap
import os
import random
from pathlib import Path

import pytest

from ledger import disk, limits
from ledger.segment_file import Fatal, SegmentFile, Spare

HEADER = b"a header of 20 bytes"
SIZES = (1, 17, 4_056, 4_076, 4_096, 4_097, 9_000, 300_000, 3, 260_000, 262_144, 262_145, 1_200_000, 5)


def begun(path: Path, room_bytes: int = 1 << 22) -> SegmentFile:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return SegmentFile.begin(Spare.open(path.with_name("next")), path, folder, HEADER, room_bytes)
    finally:
        os.close(folder)


@pytest.mark.parametrize("room_bytes", [20, 5_000, 500_000, 1 << 23])
@pytest.mark.parametrize("way", ["direct", "direct refused", "buffered"])
def test_everything_stands_in_its_place(
    tmp_path: Path, way: str, room_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "buffered":
        monkeypatch.setattr(disk, "open_direct", lambda path: -1)
    elif way == "direct refused":  # a file system that opens such a file and takes no such write
        monkeypatch.setattr(disk, "open_direct", lambda path: os.open(path, os.O_RDONLY))
        write_all = disk.write

        def refuse(file: int, data: bytes | memoryview, offset: int) -> None:
            if isinstance(data, memoryview):
                raise OSError(errno.EINVAL, "not aligned as it wants")
            write_all(file, data, offset)

        monkeypatch.setattr(disk, "write", refuse)
    chance = random.Random(f"{way} {room_bytes}")
    path = tmp_path / "segment"
    file = begun(path, room_bytes)
    expected = HEADER
    for size in (*SIZES, *(chance.randrange(1, 20_000) for _ in range(60))):
        data = chance.randbytes(size)
        assert file.append(data) > 0
        expected += data
        assert path.read_bytes()[: len(expected)] == expected
    assert not path.read_bytes()[len(expected) :].strip(b"\0")
    assert file.size == len(expected)
    file.finish(b"its end")
    assert path.read_bytes() == expected + b"its end"


def test_small_groups_go_past_the_cache_where_that_is_possible(tmp_path: Path) -> None:
    """Wherever this disk takes a whole block so, without falling back unseen; and nowhere else."""
    probe = mmap.mmap(-1, 4_096)
    try:
        descriptor = os.open(tmp_path / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        os.write(descriptor, probe)
        os.close(descriptor)
        is_possible = True
    except OSError:
        is_possible = False
    file = begun(tmp_path / "segment")
    file.append(b"x")
    assert (file._direct >= 0) == is_possible
    assert file.is_ready_for(limits.SPOOL_DIRECT_BYTES)
    assert not file.is_ready_for(limits.SPOOL_ZEROED_BYTES)
    file.close()


@pytest.mark.parametrize("failing", ["the zeros", "the group"])
def test_no_room_leaves_the_file_as_it_was(tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "segment"
    file = begun(path)
    if failing == "the group":
        file.append(b"first")
    before = path.read_bytes()[: file.size]
    write_all = disk.write

    def half(file: int, data: bytes | memoryview, offset: int) -> None:
        write_all(file, bytes(data[: len(data) // 2 // 4096 * 4096]), offset)
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "write", half)
        if failing == "the group":
            patched.setattr(file, "_direct", -1)
        with pytest.raises(OSError, match="no space"):
            file.append(b"y" * 50_000)
    assert path.read_bytes() == before
    file.append(b"z" * 70_000)
    assert path.read_bytes()[: file.size] == before + b"z" * 70_000
    file.close()


def test_a_failed_sync_is_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(errno.ENOSPC, "delayed allocation")

    file = begun(tmp_path / "segment")
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(Fatal):
        file.append(b"x")
    file.close()


@pytest.mark.parametrize("failing", ["write", "sync", "rename"])
def test_nothing_stays_of_a_segment_that_could_not_begin(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(disk, failing, fail)
    open_before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="no space"):
        begun(tmp_path / "segment")
    assert list(tmp_path.iterdir()) == []
    assert set(os.listdir("/proc/self/fd")) == open_before
