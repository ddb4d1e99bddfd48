"""Sessions on disk, so that they outlive a restart of the node (N-5): one line per session opened, one per revocation.

Digests of keys, never keys: a copy of the file opens nothing. Lines are written without waiting for the disk: what a
crash of the machine takes along costs a DApp one `POST /session`, and revocations are told again by Central after its
next hello, the last minutes before a lost link included. A disk that is full costs the same and stops nothing. A file
has a bound: sessions beyond it end with the process, and a revocation beyond it revokes all that stand before it.

Files of one life of a session each (`sessions-<number>-<second>.jsonl`): when the last session in one has expired it is
removed, so nothing is ever rewritten. They are read, and go, in the order of their numbers: a clock that was set back
puts no revocation before the session that it ended. (Earlier nodes wrote `sessions-<second>.jsonl`: read before them.)
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from cgn_sdk.protocol import link

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.sessions import Session

_PREFIX: Final = "sessions-"
_DIGEST_BYTES: Final = 32
_NAME: Final = re.compile(rf"{_PREFIX}(?:(\d{{1,18}})-)?(\d{{1,18}})\.jsonl")
_ACCOUNTS_PER_LINE: Final = 64
"""An account's id has some 30 characters: a line of them is read as a whole."""

_ALL: Final = "*"

_log = logs.get("sessions")


@dataclass(frozen=True, slots=True)
class Remembered:
    """A session as the file has it."""

    grant: link.SessionGrant
    digest: bytes
    pair: bytes
    expires_s: float
    """On the wall clock, since 1970."""


class SessionFile:
    """`sessions.Journal` over a folder. `load` first, then write."""

    def __init__(self, folder: Path, ttl_s: int, *, wall_s: Callable[[], float] = time.time) -> None:
        self.failures = 0
        """Lines that could not be written: a metric."""
        self.unread = 0
        """Lines that could not be read at the start."""
        self._folder = folder
        self._ttl_s = ttl_s
        self._wall_s = wall_s
        self._descriptor = -1
        self._began_s = 0.0
        self._bytes = 0
        self._is_torn = False
        self._is_failing = False
        self._is_void = False
        """Whether the last line revokes all before it."""

    def load(self) -> list[Remembered]:
        """The sessions that still live, in order of expiry. Raises OSError when the folder cannot be used."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now_s = self._wall_s()
        found: dict[bytes, Remembered] = {}
        by_account: dict[str, set[bytes]] = {}
        for path in self._paths():
            for line in _lines(path):
                try:
                    said = json.loads(line)
                    if said.get("revoked") == _ALL:
                        found.clear()
                        by_account.clear()
                    elif "revoked" in said:
                        for account_id in said["revoked"]:
                            for digest in by_account.pop(account_id, ()):
                                found.pop(digest, None)
                    else:
                        one = _decode(said)
                        found[one.digest] = one
                        by_account.setdefault(one.grant.account_id, set()).add(one.digest)
                except Exception:  # whatever a line does to a reader, it does not stop a node
                    self.unread += 1  # the torn end of a crash, or what another version wrote
        latest_s = now_s + self._ttl_s  # a clock that was set back makes no session live longer
        living = [one for one in found.values() if now_s < one.expires_s <= latest_s]
        return sorted(living, key=lambda one: one.expires_s)[-limits.SESSIONS_MAX :]

    def opened(self, session: Session, lives_ms: int) -> None:
        said = {
            "digest": session.digest.hex(),
            "pair": session.pair.hex(),
            "expires_s": round(self._wall_s() + lives_ms / 1000, 3),
            "grant": session.grant.to_params(),
        }
        self._write(said, must=False)

    def revoked(self, account_ids: set[str]) -> None:
        all_of_them = sorted(account_ids)
        for begin in range(0, len(all_of_them), _ACCOUNTS_PER_LINE):
            self._write({"revoked": all_of_them[begin : begin + _ACCOUNTS_PER_LINE]}, must=True)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, said: dict[str, Any], *, must: bool) -> None:
        line, is_void = json.dumps(said, separators=(",", ":")).encode() + b"\n", False
        try:
            self._turn_over()
            if self._bytes + len(line) > limits.SESSION_FILE_BYTES:
                if self._is_void or not must:
                    self.failures += not must
                    return
                line, is_void = json.dumps({"revoked": _ALL}).encode() + b"\n", True
            data = b"\n" + line if self._is_torn else line
            written = os.write(self._descriptor, data)
            self._bytes += written
            self._is_torn = written < len(data)
        except OSError as error:
            self.failures += 1
            self._is_torn = True
            if not self._is_failing:
                _log.warning("sessions.not_kept", error=str(error))
            self._is_failing = True
        else:
            self._is_failing, self._is_void = False, is_void

    def _turn_over(self) -> None:
        """Goes on in the newest file, or begins one when that is a session's life old; removes those that only hold
        expired ones."""
        now_s = self._wall_s()
        if self._descriptor >= 0 and abs(now_s - self._began_s) < self._ttl_s:
            return
        self.close()
        files = self._files()
        newest = files[-1] if files else None
        if newest is None or not 0 <= now_s - newest.began_s < self._ttl_s:
            number, second = (newest.number if newest else 0) + 1, int(now_s)
            newest = _File(number, second, self._folder / f"{_PREFIX}{number:012d}-{second:012d}.jsonl")
        self._descriptor = os.open(newest.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._began_s = newest.began_s
        self._bytes = os.fstat(self._descriptor).st_size
        self._is_void = False
        self._is_torn = self._bytes > 0  # an empty line more harms nobody
        for file in files:
            if file == newest or abs(now_s - file.began_s) <= 2 * self._ttl_s:
                return  # what a later one revokes may stand in this one
            file.path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return [file.path for file in self._files()]

    def _files(self) -> "list[_File]":
        """In the order in which they were begun."""
        found = []
        for path in self._folder.glob(f"{_PREFIX}*"):
            if (name := _NAME.fullmatch(path.name)) is not None:
                found.append(_File(int(name[1] or 0), int(name[2]), path))
        return sorted(found)


class _File(NamedTuple):
    number: int
    """0 for those of earlier nodes, which have the second alone."""
    began_s: int
    path: Path


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(limits.SESSION_LINE_BYTES):
            if line.strip():
                yield line


def _decode(said: dict[str, Any]) -> Remembered:
    """Raises what a malformed line makes it raise."""
    one = Remembered(
        link.SessionGrant.from_params(said["grant"]),
        bytes.fromhex(said["digest"]),
        bytes.fromhex(said["pair"]),
        float(said["expires_s"]),
    )
    if len(one.digest) != _DIGEST_BYTES:
        raise ValueError("not a digest")
    return one
