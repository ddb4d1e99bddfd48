"""Watches what a file holds at the moment in which it is put on disk, and whether it has its name only afterwards."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest


class Done(NamedTuple):
    what: str
    """`sync` or `name`."""
    path: str
    """The name of the file, or its new one."""
    content: bytes


def watch(monkeypatch: pytest.MonkeyPatch) -> list[Done]:
    """From now on: every fsync of a file and every `os.replace`, in their order."""
    done: list[Done] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}")
        done.append(Done("sync", path.readlink().name, path.read_bytes() if path.is_file() else b""))
        sync(descriptor)

    def named(old: Path, new: Path) -> None:
        done.append(Done("name", Path(new).name, Path(old).read_bytes()))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", named)
    return done
