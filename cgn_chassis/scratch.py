"""Temporary folders that hold something secret and leave nothing behind, however their process ends.

`make` gives a private folder with a lock that the kernel releases with the process. Whoever makes the next one of the
same kind removes those whose processes are gone: after a kill -9 or a power cut nobody else would.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

LOCK: Final = "lock"

_held: dict[Path, int] = {}


def make(prefix: str) -> Path:
    """A new folder of mode 0700 in the system's temporary folder, after those of dead processes are removed."""
    sweep(prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    _held[folder] = _open(folder / LOCK, create=True)
    return folder


def remove(folder: Path) -> None:
    """Removes it and gives up its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    if (descriptor := _held.pop(folder, None)) is not None:
        os.close(descriptor)


def hold(folder: Path) -> bool:
    """Locks a folder that stays. False when another process has it."""
    try:
        _held[folder] = _open(folder / LOCK, create=True)
    except BlockingIOError:
        return False
    return True


def release(folder: Path) -> None:
    if (descriptor := _held.pop(folder, None)) is not None:
        os.close(descriptor)


def sweep(prefix: str) -> list[Path]:
    """Removes this user's folders of that kind whose processes are gone, and returns them."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            descriptor = _open(folder / LOCK, create=False)  # without a lock file it may be just being made
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
            removed.append(folder)
    return removed


def _open(path: Path, *, create: bool) -> int:
    """The lock, taken. Raises BlockingIOError when somebody holds it, FileNotFoundError when there is none."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
