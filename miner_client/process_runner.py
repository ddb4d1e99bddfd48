"""A DService as a child process: for the local sandbox only (M-4).

This is **not** isolation from a hostile DService. With bubblewrap present the child has no network, its own process
ids, a read-only file system and a private /tmp; without it, it is an ordinary process of this user. In both cases
its environment is empty but for what is given, its memory is watched, it makes no core files, and it ends with the
miner. A node takes such a miner into tier 1 only, or where its operator says `sandbox = true`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final, Literal

from miner_client.runner import (
    EGRESS_NAME,
    SOCKET_NAME,
    STOP_GRACE_S,
    DServiceSettings,
    RunnerFailed,
    wait_healthy,
)

_log = logging.getLogger("cgn.miner.runner")
_PR_SET_PDEATHSIG: Final = 1
_CHILDREN_EVERY_NS: Final = 100_000_000
"""The list of processes is read at most this often; the clocks of known ones are read at every look."""
_TMP: Final = Path("/tmp")  # noqa: S108 hidden from the DService, not used
_MEMORY_EVERY_S: Final = 0.25
_OPEN_FILES: Final = 1_024
_LAST_WORDS_BYTES: Final = 1_000
_LOG_MAX_BYTES: Final = 4 << 20
"""A DService that prints without end must not fill the disk; Docker's log has the same bound."""


@cache
def bubblewrap() -> str | None:
    """The program if it is here and may make namespaces (some kernels forbid it to users)."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    trial = subprocess.run(
        [program, "--ro-bind", "/", "/", "--unshare-net", "--unshare-pid", "--proc", "/proc", "--dev", "/dev", "true"],
        capture_output=True,
        check=False,
    )
    return program if trial.returncode == 0 else None


class ProcessRunner:
    """One DService as a child process."""

    kind: Literal["process"] = "process"

    def __init__(self, settings: DServiceSettings, folder: Path, *, log: Path | None = None) -> None:
        self._settings = settings
        self._folder = folder
        self._log = log or folder / "dservice.log"
        self.socket_path = folder / SOCKET_NAME
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._cpu = _TreeClock()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.socket_path.unlink(missing_ok=True)
        wrapped = bubblewrap()
        _log.warning(
            "DService %s runs as a child process (%s): for the local sandbox only, not isolation",
            self._settings.name,
            "bubblewrap: no network, read-only files" if wrapped else "no namespaces",
        )
        command = [*_wrap(wrapped, self._folder, self._settings.command), *self._words()]
        with self._log.open("ab", buffering=0) as sink:
            began_at = sink.tell()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    env=self._environment(),
                    preexec_fn=_before_exec(),
                )
            except OSError as error:
                raise RunnerFailed("ended", f"{command[0]}: {error.strerror}") from None
        self._cpu = _TreeClock(self._process.pid)
        self._watch = asyncio.create_task(self._watch_memory(), name=f"memory of {self._settings.name}")
        try:
            await wait_healthy(self._settings, self.socket_path, lambda: not self.alive)
        except RunnerFailed as failure:
            await self.stop()
            raise RunnerFailed(failure.code, f"{failure.detail}{self._last_words(began_at)}") from None
        except BaseException:
            await self.stop()
            raise

    def _words(self) -> list[str]:
        """The command; one that listens on a port has the launcher before it, which carries bytes there from the
        socket."""
        port = self._settings.port
        launcher = [sys.executable, "-m", "cgn_sdk.dservice.launcher", "--port", str(port), "--"] if port else []
        return [*launcher, *self._settings.command]

    def _last_words(self, began_at: int) -> str:
        """The end of what it printed since then, for the operator's log."""
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            log.seek(max(began_at, log.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
            if text := log.read().decode(errors="replace").strip():
                return f"; it said: {text}"
        return ""

    def _environment(self) -> dict[str, str]:
        egress = self._folder / EGRESS_NAME
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "CGN_SOCKET": str(self.socket_path),
            **({"CGN_EGRESS": str(egress)} if self._settings.egress else {}),
            **self._settings.environment,
        }

    async def wait_ended(self) -> None:
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        process = self._process
        if process is None:
            return
        if self._watch is not None:
            self._watch.cancel()
        tree = self._cpu.processes()
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_GRACE_S)
        _signal_group(process.pid, signal.SIGKILL)
        for pid in tree - {process.pid}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()
        self.socket_path.unlink(missing_ok=True)

    def cpu_ns(self) -> int:
        return self._cpu.read()

    def memory_bytes(self) -> int:
        page = resource.getpagesize()
        total = 0
        for pid in self._cpu.processes():
            with contextlib.suppress(OSError, IndexError, ValueError):
                resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
                total += (int(resident) - int(shared)) * page
        return total

    async def _watch_memory(self) -> None:
        """Address-space limits break V8 and thread pools, so what it really holds is watched instead."""
        while True:
            await asyncio.sleep(_MEMORY_EVERY_S)
            try:
                if self._is_too_large():
                    return
            except Exception:  # the next look may go well: without any, nothing bounds what it holds
                _log.exception("the memory of %s could not be looked at", self._settings.name)

    def _is_too_large(self) -> bool:
        """Whether it held more than it may, and was killed."""
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > _LOG_MAX_BYTES:
                os.truncate(self._log, 0)  # it is opened for appending, so the child writes on from the start
        held = self.memory_bytes()
        if held <= self._settings.memory_bytes or self._process is None:
            return False
        _log.error("DService %s holds %d bytes, more than its limit: killed", self._settings.name, held)
        _signal_group(self._process.pid, signal.SIGKILL)
        return True


class _TreeClock:
    """CPU time of a process and its descendants, never going back when one of them ends."""

    def __init__(self, root: int = 0) -> None:
        self._root = root
        self._last: dict[int, int] = {}
        self._ended_ns = 0
        self._listed_ns = 0
        self._known: set[int] = {root} if root else set()

    def processes(self) -> set[int]:
        now = time.monotonic_ns()
        if self._root and now - self._listed_ns > _CHILDREN_EVERY_NS:
            self._listed_ns = now
            self._known = _descendants(self._root)
        return self._known

    def read(self) -> int:
        for pid in self.processes():
            try:
                # Linux encodes "the CPU clock of process p" in a clock id (clock_getcpuclockid(3)); a read costs 1 µs.
                self._last[pid] = time.clock_gettime_ns(((~pid) << 3) | 2)
            except OSError:
                continue
        for pid in self._last.keys() - self._known:
            self._ended_ns += self._last.pop(pid)
        return self._ended_ns + sum(self._last.values())


def _descendants(root: int) -> set[int]:
    found, waiting = set[int](), [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
                waiting += [int(child) for child in children if int(child) not in found]
    return found


def _code_in_tmp(command: Sequence[str]) -> list[str]:
    """What the DService must still see of /tmp: interpreter, packages and programs, when somebody keeps them there."""
    places = {Path(place).absolute() for place in (sys.prefix, sys.base_prefix, *sys.path) if place}
    for word in command:
        if os.path.isabs(word) and os.path.exists(word):
            places.add(Path(word) if os.path.isdir(word) else Path(word).parent)
    return sorted(str(place) for place in places if _TMP in place.parents and place.exists())


def _wrap(program: str | None, folder: Path, command: Sequence[str]) -> list[str]:
    if program is None:
        return []
    kept = [word for place in _code_in_tmp(command) for word in ("--ro-bind", place, place)]
    return [
        program,
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", str(_TMP)),
        *kept,
        *("--bind", str(folder), str(folder)),
        *("--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session"),
        "--",
    ]


def _before_exec() -> Callable[[], None]:
    library = ctypes.CDLL(None)

    def before() -> None:
        os.setsid()
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, _OPEN_FILES), min(hard, _OPEN_FILES)))

    return before


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
