"""The life of a process: start, say that it is ready, stop gracefully, leave with a telling exit code.

    async def main(life: Life) -> None:
        server = await start(...)
        life.ready(port=server.port)
        await life.wait_stop()
        await server.close()

    sys.exit(process.run(main, name="example"))

SIGTERM or SIGINT asks to stop; a second one, or the end of the grace time, cancels `main`. SIGHUP asks a service to
read again what it can (`Life.on_reload`: certificates); a process that was started at a terminal takes it for the
terminal's end and stops. What keeps a process from starting is told in one sentence (`failures`), not with a trace.

A starter that wants to know when the process is ready sets the environment variable CHASSIS_READY_FILE to a path
(written in one step, so it is whole when it exists) or reads the line `READY <json>` from standard output. A starter
whose children must not outlive it sets CHASSIS_DIE_WITH_PARENT=1 to its own process id or to 1.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from cgn_chassis import failures, logs
from cgn_chassis.settings import SettingsError

EXIT_OK = 0
EXIT_FAILED = 1
"""The process met something it could not handle and should be started again."""
EXIT_USAGE = 2
"""Wrong arguments or settings: starting again will not help."""
EXIT_UNCLEAN = 3
"""Stopped when asked, but not within the grace time."""

GRACE_S = 20.0
"""Seconds between the wish to stop and the end; service managers commonly kill after 30."""

OPEN_FILES_ENDLESS = 1 << 30
"""What `raise_open_files` says where there is no limit."""

_PR_SET_PDEATHSIG = 1

_log = logs.get("process")


class Life:
    """What a process's main gets: how it says ready and learns that it should stop."""

    def __init__(self, name: str, ready_file: Path | None = None) -> None:
        self.name = name
        self._ready_file = ready_file
        self._stop = asyncio.Event()
        self.reason = ""
        self.has_given_up = False
        self.code = EXIT_FAILED
        """With which it leaves when it has given up."""
        self.was_ready = False
        self._reload: Callable[[], None] | None = None

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def ready(self, **facts: Any) -> None:
        """Tells whoever started this process that it serves. `facts` (ports, paths; JSON) travel along."""
        self.was_ready = True
        line = json.dumps({"name": self.name, "pid": os.getpid(), **facts}, separators=(",", ":"), default=str)
        if self._ready_file is not None:
            temporary = self._ready_file.with_name(f".{self._ready_file.name}.{os.getpid()}")
            temporary.write_text(line + "\n")
            os.replace(temporary, self._ready_file)
        with contextlib.suppress(OSError):  # nobody reads our standard output: no reason to die
            print(f"READY {line}", flush=True)

    def on_reload(self, work: Callable[[], None]) -> None:
        """`work` is called at SIGHUP; when it raises, everything stays as it was, and the log says why."""
        self._reload = work

    def reload(self) -> None:
        """What SIGHUP asks for."""
        if self._reload is None:
            _log.info("process.nothing_to_reload", name=self.name)
            return
        try:
            self._reload()
        except Exception as error:
            found = failures.told(error)
            _log.error("process.not_reloaded", name=self.name, problem=found.sentence if found else repr(error))
        else:
            _log.info("process.reloaded", name=self.name)

    def stop(self, reason: str) -> None:
        """Asks the process to stop, from inside."""
        if not self._stop.is_set():
            self.reason = reason
            self._stop.set()

    def give_up(self, reason: str, code: int = EXIT_FAILED) -> None:
        """Asks the process to stop because it cannot go on: it cleans up and leaves with that code."""
        if not self._stop.is_set():
            self.has_given_up = True
            self.code = code
        self.stop(reason)

    async def wait_stop(self) -> None:
        await self._stop.wait()

    def fail(self, reason: str) -> NoReturn:
        """Ends the process at once, without cleaning up: for the moment when going on would do harm, such as a failed
        fsync. Whoever started us starts us again and we recover from what is on disk."""
        _log.error("process.failed", reason=reason)
        os._exit(EXIT_FAILED)


Main = Callable[[Life], Coroutine[Any, Any, int | None]]


def run(
    main: Main,
    *,
    name: str,
    grace_s: float = GRACE_S,
    environ: dict[str, str] | None = None,
    expected: tuple[type[BaseException], ...] = (),
) -> int:
    """Runs `main` under uvloop until it returns, and gives the exit code. Call it from the main thread. Errors of the
    classes `expected` have a sentence for their text: before the process is ready they are told without a trace."""
    environment = dict(os.environ) if environ is None else environ
    if parent := environment.get("CHASSIS_DIE_WITH_PARENT"):
        die_with_parent(int(parent) if parent.isdigit() and int(parent) > 1 else None)
    ready_file = environment.get("CHASSIS_READY_FILE")
    import uvloop  # late: not needed by whoever only reads constants

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_lived(main, Life(name, Path(ready_file) if ready_file else None), grace_s, expected))
        except SettingsError as error:
            print("\n".join(error.mistakes), file=sys.stderr)
            return EXIT_USAGE


async def _lived(main: Main, life: Life, grace_s: float, expected: tuple[type[BaseException], ...] = ()) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_on_unhandled)
    task = asyncio.ensure_future(main(life))

    def on_signal(number: signal.Signals) -> None:
        if life.is_stopping:
            task.cancel()
        life.stop(number.name)

    def on_hangup() -> None:
        if at_terminal:
            on_signal(signal.SIGHUP)
        else:
            life.reload()

    at_terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    watch = asyncio.ensure_future(_cancel_after_grace(life, task, grace_s))
    try:
        code = await task
        return (life.code if life.has_given_up else EXIT_OK) if code in (None, EXIT_OK) else code
    except asyncio.CancelledError:
        return EXIT_UNCLEAN
    except SettingsError:
        raise
    except Exception as error:
        found = None if life.was_ready else failures.told(error, expected)
        if found is None:
            _log.exception("process.failed", name=life.name)
            return EXIT_FAILED
        print(f"cgn {life.name}: {found.sentence}", file=sys.stderr, flush=True)
        return found.code
    finally:
        watch.cancel()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


_counts: Counter[str] = Counter()


def unhandled() -> int:
    """Errors that nobody waited for since the start: of callbacks, of tasks whose outcome was never looked at."""
    return _counts["unhandled"]


def _on_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _counts["unhandled"] += 1
    error = context.get("exception")
    trace = "".join(traceback.format_exception(error, limit=20)) if isinstance(error, BaseException) else ""
    _log.error("process.unhandled", message=context.get("message", ""), problem=repr(error), trace=trace)


class Descriptors(NamedTuple):
    """File descriptors of this process."""

    open: int
    limit: int


def descriptors() -> Descriptors:
    """How many are open, and how many may be (the soft limit)."""
    try:
        count = len(os.listdir("/proc/self/fd")) - 1  # without the one that lists them
    except OSError:  # not Linux, or none is left
        count = -1
    return Descriptors(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


async def _cancel_after_grace(life: Life, task: "asyncio.Future[Any]", grace_s: float) -> None:
    await life.wait_stop()
    _log.info("process.stopping", name=life.name, reason=life.reason)
    await asyncio.sleep(grace_s)
    _log.warning("process.grace_over", name=life.name, grace_s=grace_s)
    task.cancel()


def raise_open_files() -> int:
    """Lets this process, and those it starts, open as many files as its hard limit allows, and says how many. Service
    managers and shells commonly start programs with a soft limit of 1,024, for the sake of programs that use
    select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return OPEN_FILES_ENDLESS if hard == resource.RLIM_INFINITY else hard


def die_with_parent(parent_pid: int | None = None) -> None:
    """The kernel sends SIGTERM to this process when its parent ends (Linux). `parent_pid` closes the gap in which the
    parent has ended before this call."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(EXIT_FAILED)


async def wait_first(*awaitables: Awaitable[Any]) -> None:
    """Waits until one of them ends, cancels the others, and raises what the ended one raised."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
