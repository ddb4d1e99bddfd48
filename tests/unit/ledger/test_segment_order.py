"""The order of writes and syncs of a segment: what is durable before what, at its beginning, in it, and when it fails (L-4)."""

import errno
import os
from pathlib import Path

import pytest

from ledger import disk
from ledger.segment_file import SegmentFile, Spare

HEADER = b"a header of 20 bytes"
OPERATIONS = ("write", "reserve", "truncate", "sync_data", "sync", "rename", "unlink")


def begun(path: Path) -> SegmentFile:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return SegmentFile.begin(Spare.open(path.with_name("next")), path, folder, HEADER, 1 << 22)
    finally:
        os.close(folder)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the disk, in its order."""
    said: list[str] = []
    for name in OPERATIONS:
        real = getattr(disk, name)

        def call(*given: object, name: str = name, real: object = real) -> None:
            said.append(name)
            real(*given)  # type: ignore[operator]

        monkeypatch.setattr(disk, name, call)
    return said


def test_a_segment_has_its_name_after_its_header_is_on_disk_and_the_folder_knows_it(
    tmp_path: Path, done: list[str]
) -> None:
    begun(tmp_path / "segment").close()
    assert done == ["write", "reserve", "sync", "rename", "sync"]


def test_zeros_are_on_disk_before_a_group_and_each_group_before_it_is_told(tmp_path: Path, done: list[str]) -> None:
    file = begun(tmp_path / "segment")
    done.clear()
    file.append(b"first")
    assert done == ["write", "sync_data", "write", "sync_data"]
    done.clear()
    file.append(b"second")
    assert done == ["write", "sync_data"]
    done.clear()
    file.finish(b"end")
    assert done == ["write", "truncate", "sync"]


def test_a_refused_group_is_taken_back_durably_and_room_is_made_anew(
    tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could come back after a crash, behind the refusal."""
    file = begun(tmp_path / "segment")
    file.append(b"first")
    write = disk.write
    done.clear()

    def full(descriptor: int, data: bytes | memoryview, offset: int) -> None:
        write(descriptor, data, offset)
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "write", full)
        with pytest.raises(OSError, match="no space"):
            file.append(b"second")
    assert done == ["write", "truncate", "sync_data"]
    assert not file.is_ready_for(1)
    assert (tmp_path / "segment").stat().st_size == file.size
    file.close()


def test_an_error_of_the_disk_itself_is_not_written_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a file system that wants other blocks is given the bytes the other way."""
    file = begun(tmp_path / "segment")
    file.append(b"first")
    if file._direct < 0:
        pytest.skip("this file system has no O_DIRECT")
    direct, write, others = file._direct, disk.write, list[int]()

    def broken(descriptor: int, data: bytes | memoryview, offset: int) -> None:
        if descriptor == direct:
            raise OSError(errno.EIO, "the disk is broken")
        others.append(descriptor)
        write(descriptor, data, offset)

    monkeypatch.setattr(disk, "write", broken)
    with pytest.raises(OSError, match="the disk is broken"):
        file.append(b"second")
    assert others == []
    file.close()


def test_a_segment_whose_folder_cannot_be_synced_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, calls = disk.sync, list[int]()

    def second_fails(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, "the folder")
        sync(descriptor)

    monkeypatch.setattr(disk, "sync", second_fails)
    with pytest.raises(OSError, match="the folder"):
        begun(tmp_path / "segment")
    assert list(tmp_path.iterdir()) == []
