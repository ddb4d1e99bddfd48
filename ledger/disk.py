"""What spool and segments do to a disk, one function per operation: the port that tests replace by a model of a disk
that forgets what was not synced. Nothing is decided here. All of them raise OSError."""

import errno
import fcntl
import os
from pathlib import Path


def open_folder(path: Path) -> int:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def lock(path: Path) -> int:
    """A file that no other process holds while this one has it open. Raises OSError (EBUSY) when one does."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise OSError(errno.EBUSY, f"{path.parent} belongs to another process") from error
    return file


def create(path: Path) -> int:
    """An empty file to write to; one that is there is emptied."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def create_new(path: Path) -> int:
    """An empty file to write to. Raises FileExistsError where the name is taken."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def reopen(path: Path) -> int:
    """A file that is there, to write to."""
    return os.open(path, os.O_WRONLY)


def open_direct(path: Path) -> int:
    """A further descriptor of a file that goes past the kernel's cache, or -1."""
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT) if hasattr(os, "O_DIRECT") else -1
    except OSError:
        return -1


def write(file: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def reserve(file: int, size: int) -> None:
    os.posix_fallocate(file, 0, size)


def truncate(file: int, size: int) -> None:
    os.ftruncate(file, size)


def sync_data(file: int) -> None:
    os.fdatasync(file)


def sync(file: int) -> None:
    """A file with its length, or a folder."""
    os.fsync(file)


def rename(path: Path, new: Path) -> None:
    os.rename(path, new)


def unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def close(file: int) -> None:
    os.close(file)


def names(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*{suffix}"))


def read(path: Path, size: int | None = None) -> bytes:
    with open(path, "rb") as file:
        return file.read(-1 if size is None else size)
