"""A disk that forgets what was not synced: stands in for `ledger.disk` and plays a crash at every step.

Every operation of a run is written down (`Recording`), with marks of what others were told in between. `image(…)` plays
the first operations again and then loses power: of each file, a write since its last sync is kept, lost, or kept in
some of its sectors only; of the folder, each change since its last sync is kept or lost. What comes out is what the
next start may find. A process that is killed loses nothing of that: `image` with `power=True` finds it all, unsynced.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTOR_BYTES = 512
Operation = tuple[str, tuple[Any, ...]]


@dataclass
class File:
    """One file: what is on disk for sure, and what was done since."""

    durable: bytes = b""
    pending: list[Operation] = field(default_factory=list)

    def now(self) -> bytes:
        return _played(self.durable, self.pending)


def _played(data: bytes, operations: list[Operation]) -> bytes:
    content = bytearray(data)
    for name, arguments in operations:
        if name == "truncate":
            (size,) = arguments
            del content[size:]
            content += bytes(size - len(content))
        else:
            piece, offset = arguments
            content += bytes(max(0, offset + len(piece) - len(content)))
            content[offset : offset + len(piece)] = piece
    return bytes(content)


class ForgetfulDisk:
    """The functions of `ledger.disk` over files in memory, and `recording`: everything that was asked for."""

    def __init__(self, files: dict[Path, File] | None = None) -> None:
        self.recording: list[Operation] = []
        self._start = {path: File(file.durable, list(file.pending)) for path, file in (files or {}).items()}
        self._files = {path: File(file.durable, list(file.pending)) for path, file in self._start.items()}
        self._open: dict[int, tuple[Path | None, File]] = {}
        self._next = 1_000_000

    def mark(self, name: str, *arguments: Any) -> None:
        """Writes down something that is no operation of the disk."""
        self.recording.append((name, arguments))

    # --- ledger.disk ---

    def open_folder(self, path: Path) -> int:
        return self._opened(None, File())

    def lock(self, path: Path) -> int:
        return self._opened(None, File())

    def create(self, path: Path) -> int:
        file = self._files[path] = File()
        descriptor = self._opened(path, file)
        self.mark("create", path, descriptor)
        return descriptor

    def create_new(self, path: Path) -> int:
        if path in self._files:
            raise FileExistsError(path)
        return self.create(path)

    def reopen(self, path: Path) -> int:
        descriptor = self._opened(path, self._files[path])
        self.mark("reopen", path, descriptor)
        return descriptor

    def open_direct(self, path: Path) -> int:
        return self.reopen(path)

    def write(self, file: int, data: bytes | memoryview, offset: int) -> None:
        piece = bytes(data)
        self._open[file][1].pending.append(("write", (piece, offset)))
        self.mark("write", file, piece, offset)

    def reserve(self, file: int, size: int) -> None:
        self.truncate(file, max(size, len(self._open[file][1].now())))

    def truncate(self, file: int, size: int) -> None:
        self._open[file][1].pending.append(("truncate", (size,)))
        self.mark("truncate", file, size)

    def sync_data(self, file: int) -> None:
        self.sync(file)

    def sync(self, file: int) -> None:
        path, content = self._open[file]
        content.durable, content.pending = content.now(), []
        self.mark("sync folder" if path is None else "sync", file)

    def rename(self, path: Path, new: Path) -> None:
        self._files[new] = self._files.pop(path)
        self.mark("rename", path, new)

    def unlink(self, path: Path) -> None:
        self._files.pop(path, None)
        self.mark("unlink", path)

    def close(self, file: int) -> None:
        del self._open[file]

    def names(self, folder: Path, suffix: str) -> list[Path]:
        return sorted(path for path in self._files if path.parent == folder and path.name.endswith(suffix))

    def read(self, path: Path, size: int | None = None) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path].now()[:size]

    def _opened(self, path: Path | None, file: File) -> int:
        self._next += 1
        self._open[self._next] = (path, file)
        return self._next

    # --- the crash ---

    def image(self, steps: int, lose: Callable[[], bool], *, power: bool = False) -> "ForgetfulDisk":
        """The disk after a crash behind the first `steps` entries of the recording. `lose` is asked of everything that
        was not synced. `power`: it stayed on, so that all of it is there and is still not synced."""
        contents: dict[int, File] = {}
        names = {path: File(file.durable, list(file.pending)) for path, file in self._start.items()}
        durable_names = dict(names)
        changes: list[tuple[Path | None, Path | None, File | None]] = []  # name that goes, name that comes, of what
        for name, arguments in self.recording[:steps]:
            if name == "create":
                names[arguments[0]] = contents[arguments[1]] = File()
                changes.append((None, arguments[0], names[arguments[0]]))
            elif name == "reopen":
                contents[arguments[1]] = names[arguments[0]]
            elif name in ("write", "truncate"):
                contents[arguments[0]].pending.append((name, arguments[1:]))
            elif name == "sync":
                file = contents[arguments[0]]
                file.durable, file.pending = file.now(), []
            elif name == "sync folder":
                durable_names, changes = dict(names), []
            elif name == "rename":
                names[arguments[1]] = names.pop(arguments[0])
                changes.append((arguments[0], arguments[1], names[arguments[1]]))
            elif name == "unlink":
                names.pop(arguments[0], None)
                changes.append((arguments[0], None, None))
        if power:
            return ForgetfulDisk(names)
        for gone, come, file_of in changes:
            if lose():
                continue
            if gone is not None:
                durable_names.pop(gone, None)
            if come is not None and file_of is not None:
                durable_names[come] = file_of
        return ForgetfulDisk({path: File(self._torn(file, lose)) for path, file in durable_names.items()})

    @staticmethod
    def _torn(file: File, lose: Callable[[], bool]) -> bytes:
        kept: list[Operation] = []
        for name, arguments in file.pending:
            if name == "truncate":
                if not lose():
                    kept.append((name, arguments))
                continue
            piece, offset = arguments
            start = 0
            while start < len(piece):
                length = SECTOR_BYTES - (offset + start) % SECTOR_BYTES
                if not lose():
                    kept.append(("write", (piece[start : start + length], offset + start)))
                start += length
        return _played(file.durable, kept)


def losses(seed: int) -> dict[str, Callable[[], bool]]:
    """What is lost, by name: everything, nothing, and whatever chance says."""
    often, seldom = random.Random(seed), random.Random(seed + 1)
    return {
        "all": lambda: True,
        "nothing": lambda: False,
        "half": lambda: often.random() < 0.5,
        "a little": lambda: seldom.random() < 0.1,
    }
