"""Which TCP ports a process and its descendants listen on, read from /proc (Linux): how a launcher tells a DService's
author that it listens elsewhere than its descriptor says. Where /proc is missing, nothing is known and nothing said."""

from __future__ import annotations

import os
from pathlib import Path

_LISTEN = "0A"
"""State of a socket in /proc/net/tcp."""


def descendants(root: int) -> set[int]:
    """The process and everything below it."""
    found: set[int] = set()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                waiting += [int(child) for child in children.read_text().split() if int(child) not in found]
            except OSError:
                continue
    return found


def _sockets(pid: int) -> set[str]:
    """Inodes of the sockets a process holds."""
    found = set()
    try:
        names = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return set()
    for entry in names:
        try:
            target = os.readlink(entry.path)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def ports_of(root: int) -> set[int]:
    """TCP ports that the process `root` or a descendant listens on."""
    inodes = set().union(*(_sockets(pid) for pid in descendants(root)))
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{root}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found
