"""Sessions on disk, so that they outlive a restart of the node (N-5): one line per session opened, one per revocation.

Digests of keys, never keys: a copy of the file opens nothing. Lines are written without waiting for the disk: what a
crash of the machine takes along costs a DApp one `POST /session`, and revocations are told again by Central after its
next hello, the last minutes before a lost link included. A disk that is full costs the same and stops nothing.

Files of one life of a session each (`sessions-<second>.jsonl`): when the last session in one has expired it is removed,
so nothing is ever rewritten.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cgn_sdk.protocol import link
from cgn_sdk.protocol.errors import ProblemError

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.sessions import Session

_PREFIX: Final = "sessions-"
_SUFFIX: Final = ".jsonl"
_DIGEST_BYTES: Final = 32

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
                    if "revoked" in said:
                        for account_id in said["revoked"]:
                            for digest in by_account.pop(account_id, ()):
                                found.pop(digest, None)
                    else:
                        one = _decode(said)
                        found[one.digest] = one
                        by_account.setdefault(one.grant.account_id, set()).add(one.digest)
                except (ValueError, KeyError, TypeError, AttributeError, ProblemError):
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
        self._write({"revoked": sorted(account_ids)}, must=True)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, said: dict[str, Any], *, must: bool) -> None:
        line = json.dumps(said, separators=(",", ":")).encode() + b"\n"
        try:
            self._turn_over()
            if self._bytes + len(line) > limits.SESSION_FILE_BYTES and not must:
                self.failures += 1
                return
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
            self._is_failing = False

    def _turn_over(self) -> None:
        """Goes on in the newest file, or begins one when that is a session's life old; removes those that only hold
        expired ones."""
        now_s = self._wall_s()
        if self._descriptor >= 0 and abs(now_s - self._began_s) < self._ttl_s:
            return
        self.close()
        paths = self._paths()
        newest = paths[-1] if paths else None
        if newest is None or not 0 <= now_s - _began_s(newest) < self._ttl_s:
            newest = self._folder / f"{_PREFIX}{int(now_s):012d}{_SUFFIX}"
        self._descriptor = os.open(newest, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._began_s = _began_s(newest)
        self._bytes = os.fstat(self._descriptor).st_size
        self._is_torn = self._bytes > 0  # an empty line more harms nobody
        for path in paths:
            if path != newest and now_s - _began_s(path) > 2 * self._ttl_s:
                path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        """Oldest first: the names hold the second in twelve digits."""
        return sorted(
            path
            for path in self._folder.glob(f"{_PREFIX}*{_SUFFIX}")
            if path.name[len(_PREFIX) : -len(_SUFFIX)].isdigit()
        )


def _began_s(path: Path) -> int:
    return int(path.name[len(_PREFIX) : -len(_SUFFIX)])


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
