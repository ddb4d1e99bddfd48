"""Child processes of the sandbox: started without a shell, ready when they say so, gone when the sandbox is gone.

A child is ready when it prints a line `READY {json}` on standard output; whatever else it prints goes to its log file.
A child whose start fails shows the end of that log, because that is what a developer needs to see.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_PREFIX = b"READY"
LINE_MAX_BYTES = 1 << 20
"""A ready line holds addresses; a longer one is a mistake."""
_PR_SET_PDEATHSIG = 1


class ChildFailed(RuntimeError):
    """A child ended, or did not get ready in time. The message holds the last lines of its log."""


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
    facts: dict[str, Any]
    reader: asyncio.Task[None] | None = None

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


def _end_group(pid: int) -> None:
    """Whatever the child left in its own session (a DService, for one) ends with it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def log_end(path: Path, lines: int = 15) -> str:
    if not path.exists():
        return "(no log)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


async def start_child(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    ready_s: float = 20,
    wait_ready: bool = True,
) -> Child:
    """Start a process and wait for its READY line.

    Raises ChildFailed when it ends first or `ready_s` seconds pass.
    """
    sink = log.open("ab", buffering=0)
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

    child = Child(name, process, log, {}, asyncio.create_task(read(), name=f"log of {name}"))
    if not wait_ready:
        ready.add_done_callback(lambda future: future.exception())
        return child
    try:
        child.facts = await asyncio.wait_for(ready, ready_s)
    except (ChildFailed, TimeoutError) as problem:
        await child.stop(grace_s=1)
        raise ChildFailed(f"{name} did not start ({problem or 'not ready in time'}):\n{log_end(log)}") from None
    return child


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
