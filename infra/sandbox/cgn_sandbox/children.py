"""Child processes of the sandbox: started without a shell, ready when they say so, gone when the sandbox is gone.

A child is ready when it prints a line `READY {json}` on standard output; whatever else it prints goes to its log file.
How long that takes is no fixed time: a child is waited for as long as something moves, which is its log or its use of
processor time. A child whose start fails shows what it said, because that is what a developer needs to see.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY_PREFIX = b"READY"
LINE_MAX_BYTES = 1 << 20
"""A ready line holds addresses; a longer one is a mistake."""
QUIET_S = 30.0
"""A child that neither writes nor computes for so long is not starting any more."""
START_MOST_S = 180.0
"""However busy it is: ten times what a machine of two busy cores takes."""
LOOK_S = 0.5
MOVES_NS = 20_000_000
"""Processor time between two looks that counts as work; an idle event loop takes less."""
LOG_LINES = 15
_PR_SET_PDEATHSIG = 1


class ChildFailed(RuntimeError):
    """A child ended, or did not get ready. The message says why, with what it said last."""


def die_with_parent(libc: ctypes.CDLL | None = None) -> Callable[[], None]:
    """What a child runs before exec on Linux: its own session, and SIGTERM when the sandbox dies however it dies."""
    library = libc or ctypes.CDLL(None)

    def before_exec() -> None:
        os.setsid()
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return before_exec


@dataclass
class Child:
    """One running process and where its log is."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    facts: dict[str, Any] = field(default_factory=dict)
    reader: asyncio.Task[None] | None = None
    ready: asyncio.Future[dict[str, Any]] | None = None
    log_began_at: int = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL, as a machine that loses power would."""
        self.process.send_signal(signal.SIGKILL)

    async def stop(self, *, grace_s: float = 8) -> None:
        """SIGTERM, then SIGKILL to the whole group after the grace time."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), grace_s)
            except TimeoutError:
                self.kill()
                await self.process.wait()
        _end_group(self.pid)
        if self.reader is not None:
            await self.reader

    async def wait_ready(self) -> None:
        """Until it says READY. Raises ChildFailed when it ends first, or nothing moves any more."""
        assert self.ready is not None
        began = moved = time.monotonic()
        seen = self._movement()
        while not self.ready.done():
            await asyncio.wait({self.ready}, timeout=LOOK_S)
            now, movement = time.monotonic(), self._movement()
            if movement[0] != seen[0] or movement[1] - seen[1] > MOVES_NS:
                seen, moved = movement, now
            if now - moved > QUIET_S or now - began > START_MOST_S:
                await self.stop(grace_s=1)
                raise ChildFailed(f"{self.name} was not ready after {now - began:.0f} s:\n{self.said()}")
        if self.ready.exception() is not None:
            code = await self.process.wait()
            raise ChildFailed(f"{self.name} did not start (exit code {code}):\n{self.said()}")
        self.facts = self.ready.result()

    def _movement(self) -> tuple[int, int]:
        """Length of its log, and processor time in ns."""
        size = cpu_ns = 0
        with contextlib.suppress(OSError):
            size = self.log.stat().st_size
            cpu_ns = time.clock_gettime_ns(
                ((~self.pid) << 3) | 2
            )  # the CPU clock of a process (clock_getcpuclockid(3))
        return size, cpu_ns

    def said(self) -> str:
        """The last lines of this run's log, each JSON line as a sentence."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(self.log_began_at)
            lines = file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
            return "\n".join(_told(line) for line in lines) or f"(it said nothing; its log is {self.log})"
        return "(no log)"


def _told(line: str) -> str:
    """A line of a JSON log as a person reads it: no trace, no clock."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    shown = {name: value for name, value in record.items() if name not in ("time", "level", "source", "event", "trace")}
    facts = ", ".join(f"{name}: {value}" for name, value in shown.items())
    trace = str(record.get("trace", "")).strip().splitlines()
    return " ".join(part for part in (str(record.get("event", "")), facts, trace[-1] if trace else "") if part)


def _end_group(pid: int) -> None:
    """What a child leaves behind in its own session ends with it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def log_end(path: Path, lines: int = LOG_LINES) -> str:
    if not path.exists():
        return "(no log)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


async def spawn_child(
    name: str, command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None
) -> Child:
    """Start a process whose output goes to `log`; `Child.wait_ready` waits for its READY line."""
    sink = log.open("ab", buffering=0)
    began_at = sink.tell()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=sink,
        env={**os.environ, **(environment or {})},
        preexec_fn=die_with_parent(),
        limit=LINE_MAX_BYTES,
    )
    ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    ready.add_done_callback(lambda future: future.cancelled() or future.exception())

    async def read() -> None:
        assert process.stdout is not None
        with sink:
            async for line in process.stdout:
                if line.startswith(READY_PREFIX) and not ready.done():
                    text = line[len(READY_PREFIX) :].strip()
                    ready.set_result(json.loads(text) if text.startswith(b"{") else {})
                with contextlib.suppress(OSError):  # a full disk: the child's pipe has to be emptied all the same
                    sink.write(line)
        if not ready.done():
            ready.set_exception(ChildFailed(f"{name} ended before it was ready"))

    reader = asyncio.create_task(read(), name=f"log of {name}")
    return Child(name, process, log, reader=reader, ready=ready, log_began_at=began_at)


async def run_to_end(name: str, command: Sequence[str], log: Path, *, time_limit_s: float = 120) -> tuple[int, str]:
    """Run a command that ends by itself. Returns its exit code and what it printed on standard output."""
    with log.open("ab", buffering=0) as sink:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=sink, preexec_fn=die_with_parent()
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), time_limit_s)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ChildFailed(f"{name} took longer than {time_limit_s:.0f} s:\n{log_end(log)}") from None
    return process.returncode or 0, output.decode(errors="replace")
