"""What a person is told when a program cannot go on: one sentence that says what to do, and an exit code (O-5).

A mistake of the operator's or a state of the machine (a busy port, a missing file, a full disk) is no error of the
program: it is told without a trace. `told` knows those that the operating system, TLS and SQLite report; what a room
raises with a sentence of its own is named by the caller. Everything else stays an error with its trace.

Exit codes, the same for every command (docs/reference/exit-codes.md): 0 done, 1 it could not be done now and may be
tried again, 2 it will fail again until somebody changes something.
"""

import contextlib
import errno
import os
import re
import socket
import sqlite3
import ssl
from collections.abc import Iterator
from typing import NamedTuple

AGAIN = 1
"""Starting again may help: what was in the way may pass."""
CHANGE_FIRST = 2
"""Starting again will not help."""

_ADDRESS = re.compile(r"\('?([^',]+)'?, (\d+)")


class Told(NamedTuple):
    """A sentence and an exit code."""

    sentence: str
    code: int


class Refusal(Exception):
    """A sentence for whoever runs the program, and the exit code that belongs to it."""

    def __init__(self, sentence: str, code: int = CHANGE_FIRST) -> None:
        super().__init__(sentence)
        self.code = code


@contextlib.contextmanager
def about(what: str) -> Iterator[None]:
    """What fails inside is told with the setting or file it is about."""
    try:
        yield
    except (OSError, sqlite3.Error, ValueError) as error:
        found = told(error)
        if found is None:
            raise Refusal(f"{what}: {error}") from error
        raise Refusal(f"{what}: {found.sentence}", found.code) from error


def told(error: BaseException, expected: tuple[type[BaseException], ...] = ()) -> Told | None:
    """What to say of it; None for an error of ours. Of `expected` the text is a sentence already."""
    if isinstance(error, Refusal):
        return Told(str(error), error.code)
    if isinstance(error, expected):
        return Told(str(error), CHANGE_FIRST)
    if isinstance(error, ssl.SSLError):
        return Told(_tls(error), CHANGE_FIRST)
    if isinstance(error, socket.gaierror):
        return Told(f"the host's name is not known here ({error.strerror})", AGAIN)
    if isinstance(error, sqlite3.Error):
        return _database(error)
    return _system(error) if isinstance(error, OSError) else None


def _tls(error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    known = {
        "key values mismatch": "the private key does not belong to the certificate",
        "no start line": "the file is no PEM file: it begins with -----BEGIN",
        "pem lib": "the file cannot be read as PEM, or the private key does not belong to the certificate",
    }
    return next((sentence for words, sentence in known.items() if words in reason), f"TLS: {reason}")


def _database(error: sqlite3.Error) -> Told:
    text = str(error)
    if "not a database" in text:
        return Told(
            "the file is no SQLite database, or is damaged: name another one, or put a backup in its place",
            CHANGE_FIRST,
        )
    if "unable to open" in text:
        return Told(
            "the database cannot be opened: does its folder exist, and may this user write there?", CHANGE_FIRST
        )
    if "readonly" in text:
        return Told("the database may not be written by this user: change its owner or mode", CHANGE_FIRST)
    if "locked" in text:
        return Told("another program has the database locked: end that one first", AGAIN)
    if "full" in text:
        return Told("no space is left on the database's disk", AGAIN)
    return Told(f"the database cannot be used: {text}", CHANGE_FIRST)


def _system(error: OSError) -> Told:
    """Where the system names a file, it stands first."""
    number = error.errno or 0
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
    found = _ADDRESS.search(str(error))
    port = int(found[2]) if found else 0
    address = f"port {port} of {found[1]}" if found else "the port"
    if number == errno.EADDRINUSE:
        return Told(f"{address} is in use by another program: end that one, or choose another port", AGAIN)
    if number in (errno.EACCES, errno.EPERM) and 0 < port < 1024:
        return Told(
            f"{address} is below 1024 and wants a privilege: AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, "
            "or another port",
            CHANGE_FIRST,
        )
    if number == errno.EADDRNOTAVAIL:
        return Told(f"{found[1] if found else 'the address'} is no address of this machine", CHANGE_FIRST)
    sentences = {
        errno.ENOENT: ("there is no such file or folder", CHANGE_FIRST),
        errno.EACCES: ("this user may not read or write it: change its owner or mode", CHANGE_FIRST),
        errno.EPERM: ("this user may not do that", CHANGE_FIRST),
        errno.EROFS: ("its disk can only be read", CHANGE_FIRST),
        errno.ENOTDIR: ("a part of the path is no folder", CHANGE_FIRST),
        errno.EISDIR: ("it is a folder, and a file is wanted", CHANGE_FIRST),
        errno.EEXIST: ("it exists already", CHANGE_FIRST),
        errno.ENAMETOOLONG: ("the name is too long", CHANGE_FIRST),
        errno.ENOSPC: ("no space is left on its disk", AGAIN),
        errno.EDQUOT: ("this user's share of the disk is used up", AGAIN),
        errno.EMFILE: ("too many files are open: raise the limit (ulimit -n, LimitNOFILE= in the unit)", AGAIN),
        errno.ECONNREFUSED: ("nobody answers there: is it running, and is the port right?", AGAIN),
        errno.EHOSTUNREACH: ("there is no way to that host", AGAIN),
        errno.ENETUNREACH: ("there is no way to that network", AGAIN),
        errno.ETIMEDOUT: ("nobody answered in time", AGAIN),
    }
    sentence, code = sentences.get(number, (error.strerror or str(error), AGAIN))
    return Told(f"{where}{sentence}", code)
