"""Stands in front of one DService and starts it (S-2, S-12): the DService may be any program that speaks HTTP.

    python -m cgn_sdk.dservice.launcher --watch FOLDER             what FOLDER/dservice.toml says, again on every edit
    python -m cgn_sdk.dservice.launcher --port 8000 -- COMMAND …   a command that listens on a port of loopback

A miner talks to the UNIX socket `CGN_SOCKET`. This program listens there and carries bytes, unchanged and unread, to
where the DService itself listens: a TCP port, or a socket of its own. It tells what goes wrong in the moment it does,
on standard output behind whatever the DService prints: a wrong port, a health path that says no, an end with its last
words.

With `--watch` it never ends by itself: a change of a file in the folder starts the DService again, requests that arrive
meanwhile wait, and while the DService cannot run a request is answered 503 with the reason. Without it, the socket
appears when the DService listens, and its end is this program's end, for the runner outside to see.

Only the standard library, and nothing of the network's other parts: it costs a process of some 15 MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cgn_sdk.dservice.descriptor import HEALTH_PATH, DescriptorError, read
from cgn_sdk.dservice.listening import ports_of

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
CONNECT_EVERY_S = 0.02
"""Between two looks at whether it listens; a look costs less than a millisecond."""
LOOK_S = 0.15
"""Between two looks at the files; with what follows, an edit takes effect in well under a second."""
SETTLE_S = 0.05
"""An editor writes a file in several steps: so long nothing may have changed."""
FILES_MAX = 5_000
"""More files than a DService's source has; what comes after them is not watched."""
DOUBT_S = 1.5
"""Alive and not listening for so long is worth a sentence; an interpreter with its libraries takes about half of it."""
DOUBT_AGAIN_S = 15.0
STOP_S = 0.5
"""Between SIGTERM and SIGKILL after an edit; at the end the DService has as long as whoever ends us gives."""
HOLD_S = 5.0
"""A request waits so long for a start under way, which is less than a miner or a person would."""
HEAD_S = 2.0
LAST_WORDS_LINES = 12
NOT_SOURCES = frozenset(["__pycache__", "node_modules", "venv", "target", "dist", "build"])
"""Folders whose files change without anybody editing; those that begin with a dot are not looked at either."""
NOT_WATCHED = ("~", ".pyc", ".log", ".swp")
SERVED_S = 1.0
"""What ends sooner after it was ready would do so again."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Program:
    """What is started, and where it listens."""

    name: str
    words: Sequence[str]
    folder: Path | None = None
    port: int = 0
    """TCP port of loopback; 0: the UNIX socket that it is given as CGN_SOCKET."""
    health: str = HEALTH_PATH
    environment: Mapping[str, str] = field(default_factory=dict)


def program_of(folder: Path) -> Program:
    """What a folder's descriptor says. Raises DescriptorError."""
    found = read(folder)
    return Program(found.name, found.words, found.folder, found.port, found.health, found.environment)


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads: no reason to end
        print(f"cgn: {text}", flush=True)


class Backend:
    """One run of the program, from its start to its end."""

    def __init__(self, program: Program, socket_path: Path, say: Callable[[str], None] = _say) -> None:
        self.program = program
        self._socket_path = socket_path
        self._say = say
        self._words: deque[str] = deque(maxlen=LAST_WORDS_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.is_ready = False
        self.problem = ""

    async def start(self) -> bool:
        """Whether it runs and answers; else `problem` says why not, and it has ended."""
        began = time.monotonic()
        one = self.program
        if one.port and await self._connects():
            self.problem = f"port {one.port} is in use by another program: end that, or choose another port"
            return False
        self._socket_path.unlink(missing_ok=True)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *one.words,
                cwd=one.folder,
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                preexec_fn=_dies_with_us(),
            )
        except OSError as error:
            self.problem = f"{one.words[0]} cannot be started: {error.strerror}"
            return False
        self._reader = asyncio.create_task(self._read(), name="what it prints")
        if await self._wait_ready(began):
            self.is_ready = True
            self._say(f"{one.name} is ready after {time.monotonic() - began:.1f} s")
            return True
        await self.stop(STOP_S)
        return False

    def _environment(self) -> dict[str, str]:
        one = self.program
        values = {name: value for name, value in os.environ.items() if name not in ("CGN_SOCKET", "CGN_PORT")}
        where = (
            {"CGN_PORT": str(one.port), "PORT": str(one.port)} if one.port else {"CGN_SOCKET": str(self._socket_path)}
        )
        return {**values, "PYTHONUNBUFFERED": "1", **one.environment, **where}

    async def _read(self) -> None:
        """What it prints goes on to our own standard output; the end of it is kept."""
        assert self._process is not None
        assert self._process.stdout is not None
        pending = b""
        while chunk := await self._process.stdout.read(CHUNK_BYTES):
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
            *lines, pending = (pending + chunk)[-4 * CHUNK_BYTES :].split(b"\n")
            self._words += [line.decode(errors="replace") for line in lines if line.strip()]
        if pending.strip():
            self._words.append(pending.decode(errors="replace"))

    async def _wait_ready(self, began: float) -> bool:
        assert self._process is not None
        doubt_at = began + DOUBT_S
        while self._process.returncode is None:
            status = await self._status() if await self._connects() else -1
            if status not in (-1, 503):
                if status != 200 and self.program.health != HEALTH_PATH:
                    self._say(
                        f"{self.program.health} answers {status}: taken as ready; leave `health` out if it has none"
                    )
                return True
            if time.monotonic() > doubt_at:
                doubt_at = time.monotonic() + DOUBT_AGAIN_S
                wrong = self._doubt(status)
                self._say(f"{self.program.name} is not ready: {wrong}")
                self.problem = wrong
            await asyncio.sleep(CONNECT_EVERY_S)
        self.problem = await self.epitaph()
        return False

    def _doubt(self, status: int) -> str:
        """Why it is not ready, as far as one can see from outside, and what to change."""
        one = self.program
        if status == 503:
            return f"its health path {one.health} answers 503, which means not yet"
        assert self._process is not None
        ports = sorted(ports_of(self._process.pid))
        told = "(it is in its environment as PORT and CGN_PORT)"
        if one.port and ports:
            return f"it listens on port {_or(ports)} and its descriptor says port = {one.port} {told}"
        if one.port:
            return f"it does not listen yet; port = {one.port} is what its descriptor says {told}"
        if ports:
            return f"it listens on port {_or(ports)} and not on the UNIX socket CGN_SOCKET: write port = {ports[0]}"
        return "it does not listen yet, neither on the UNIX socket CGN_SOCKET nor on a port"

    async def epitaph(self) -> str:
        """How it ended, with its last words."""
        assert self._process is not None
        code = await self._process.wait()
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=STOP_S)  # a child of its own may keep the pipe open
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        words = "".join(f"\n    {line}" for line in self._words)
        return f"it {how}; its last words:{words}" if words else f"it {how} without a word"

    async def wait_ended(self) -> None:
        if self._process is not None:
            await self._process.wait()

    @property
    def code(self) -> int:
        """Its exit code; 1 where it never ran, or a signal ended it."""
        code = self._process.returncode if self._process is not None else None
        return code if code is not None and 0 < code < 128 else 1

    async def stop(self, grace_s: float) -> None:
        """SIGTERM to it and everything it started, SIGKILL after the grace time."""
        process = self._process
        if process is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace_s)
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._socket_path.unlink(missing_ok=True)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it. Raises OSError."""
        if self.program.port:
            return await asyncio.open_connection(LOOPBACK, self.program.port)
        return await asyncio.open_unix_connection(str(self._socket_path))

    async def _connects(self) -> bool:
        try:
            _, writer = await self.connect()
        except OSError:
            return False
        writer.close()
        return True

    async def _status(self) -> int:
        """What its health path answers; 0 when it takes a connection and answers nothing (S-12: that is enough)."""
        try:
            reader, writer = await self.connect()
        except OSError:
            return -1
        try:
            ask = f"GET {self.program.health} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            writer.write(ask.encode())
            async with asyncio.timeout(HEAD_S):
                words = (await reader.readline()).split()
            return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        except (OSError, TimeoutError, ValueError):
            return 0
        finally:
            writer.close()


def _or(ports: Sequence[int]) -> str:
    return " and ".join(map(str, ports))


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _dies_with_us() -> Callable[[], None]:
    """A session of its own, so that it can be ended with all it starts; the kernel ends it when we are killed."""
    library = ctypes.CDLL(None)

    def before_exec() -> None:
        os.setsid()
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return before_exec


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
"""Both directions of a connection."""


class Front:
    """Where requests arrive: carries bytes to the backend of the moment, and waits for it while there is none."""

    def __init__(self, is_watching: bool) -> None:
        self._is_watching = is_watching
        self._backend: Backend | None = None
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.problem = ""

    async def listen(self, *, socket_path: Path | None = None, port: int = 0) -> int:
        """Returns the port, 0 for a socket."""
        if socket_path is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, port)
            return int(self._server.sockets[0].getsockname()[1])
        socket_path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(socket_path), backlog=1024)
        os.chmod(socket_path, 0o777)  # noqa: S103 - whoever runs the miner may be another user; the folder is private
        return 0

    @property
    def is_listening(self) -> bool:
        return self._server is not None

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def carry_to(self, backend: Backend | None, problem: str = "") -> None:
        self._backend, self.problem = backend, problem
        self._changed.set()
        self._changed = asyncio.Event()

    async def _connect(self) -> Ends | None:
        """A connection to the backend, once it is ready; None when it is not within the time a request waits, or cannot
        run. One that takes no connection any more is about to be replaced."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_S):
                while self._backend is not None or not self.problem:
                    changed = self._changed
                    if self._backend is not None:
                        with contextlib.suppress(OSError):
                            return await self._backend.connect()
                    await changed.wait()
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner = await self._connect()
            if inner is None:
                await self._refuse(reader, writer)
                return
            try:
                await _carry_both_ways((reader, writer), inner)
            finally:
                inner[1].close()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """There is no backend: whoever asks is told why. A miner that asks for health is told that we stand here."""
        with contextlib.suppress(TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
                if self._is_watching and head.split(b" ", 2)[1:2] == [HEALTH_PATH.encode()]:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    await writer.drain()
                    return
        problem = {
            "type": "urn:cgn:dservice:not_running",
            "title": "The DService does not run",
            "status": 503,
            "detail": self.problem or "it is being started",
        }
        body = json.dumps(problem).encode()
        fields = f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\nConnection: close"
        writer.write(f"HTTP/1.1 503 Service Unavailable\r\n{fields}\r\n\r\n".encode() + body)
        await writer.drain()


async def _carry_both_ways(outer: Ends, inner: Ends) -> None:
    """Until the DService has closed, or whoever asks has."""
    there = asyncio.create_task(_carry(outer[0], inner[1]))
    back = asyncio.create_task(_carry(inner[0], outer[1]))
    try:
        await back
    finally:
        there.cancel()
        await asyncio.gather(there, back, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def signature(folder: Path) -> dict[str, tuple[int, int]]:
    """What the files of a folder look like now: path -> (time of change, size)."""
    found: dict[str, tuple[int, int]] = {}
    waiting = [str(folder)]
    while waiting and len(found) < FILES_MAX:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in NOT_SOURCES or entry.name.endswith(NOT_WATCHED):
                continue
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                facts = entry.stat()
                found[entry.path] = (facts.st_mtime_ns, facts.st_size)
    return found


class Watched:
    """The files of a folder, and when they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = signature(folder)

    async def wait_changed(self) -> list[str]:
        """Names of files that were changed, added or removed since the last time."""
        while True:
            began = time.monotonic()
            now = signature(self._folder)
            took = time.monotonic() - began
            if now != self._seen:
                while True:
                    await asyncio.sleep(SETTLE_S)
                    settled = signature(self._folder)
                    if settled == now:
                        break
                    now = settled
                names = {path for path, _ in self._seen.items() ^ now.items()}
                self._seen = now
                return sorted(os.path.relpath(path, self._folder) for path in names)
            await asyncio.sleep(max(LOOK_S, 20 * took))  # a large folder may cost a twentieth of a processor


class Launcher:
    """Keeps the front, the backend and the folder together."""

    def __init__(
        self,
        front: Front,
        look: Callable[[], Program],
        inner_socket: Path,
        *,
        listen: Callable[[], object],
        say: Callable[[str], None] = _say,
    ) -> None:
        self._front = front
        self._look = look
        self._inner_socket = inner_socket
        self._listen = listen
        self._say = say
        self._stopping = asyncio.Event()
        self._backend: Backend | None = None

    def stop(self) -> None:
        self._stopping.set()

    async def run_once(self) -> int:
        """One run; the exit code of the program's end. The front listens when the program does."""
        backend = self._backend = Backend(self._look(), self._inner_socket, self._say)
        start = asyncio.create_task(self._start_or_give_up(backend))
        try:
            if not await self._unless_stopping(start):
                if self._stopping.is_set():
                    return 0
                self._say(f"{backend.program.name}: {backend.problem}")
                return backend.code
            self._front.carry_to(backend)
            await self._listened()
            if await self._unless_stopping(asyncio.create_task(self._ended(backend))):
                self._say(f"{backend.program.name}: {await backend.epitaph()}")
                return backend.code
            return 0
        finally:
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
            await backend.stop(HOLD_S)

    async def _start_or_give_up(self, backend: Backend) -> bool:
        """A program that listens on another port will not change its mind: better to say so than to wait."""
        starting = asyncio.create_task(backend.start())
        try:
            while not starting.done():
                await asyncio.wait({starting}, timeout=LOOK_S)
                if "it listens on port" in backend.problem:
                    return False
            return starting.result()
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)

    @staticmethod
    async def _ended(backend: Backend) -> bool:
        await backend.wait_ended()
        return True

    async def _unless_stopping(self, work: asyncio.Task[bool]) -> bool:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return work.done() and not self._stopping.is_set() and work.result()
        finally:
            stopping.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, stopping, return_exceptions=True)

    async def _listened(self) -> None:
        if not self._front.is_listening:
            result = self._listen()
            if asyncio.iscoroutine(result):
                await result

    async def run_watching(self, folder: Path) -> int:
        """Run after run: each edit begins the next one. Ends only when it is told to."""
        watched = Watched(folder)
        await self._listened()
        while not self._stopping.is_set():
            self._front.carry_to(None)
            edited = asyncio.create_task(watched.wait_changed(), name="edits")
            running = asyncio.create_task(self._run_until_it_fails(), name="run")
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait({edited, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if edited.done() and not self._stopping.is_set():
                    names = edited.result()
                    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
                    self._say(f"{shown} changed: starting again")
            finally:
                for task in (edited, running, stopping):
                    task.cancel()
                await asyncio.gather(edited, running, stopping, return_exceptions=True)
                self._front.carry_to(None)
                if self._backend is not None:
                    await self._backend.stop(STOP_S)
                    self._backend = None
        return 0

    async def _run_until_it_fails(self) -> None:
        """Starts it. One that served and ended is started again; one that does not get that far waits for an edit."""
        while True:
            try:
                backend = self._backend = Backend(self._look(), self._inner_socket, self._say)
            except DescriptorError as wrong:
                self._fail(str(wrong))
                return
            if not await backend.start():
                self._fail(f"{backend.program.name}: {backend.problem}")
                return
            self._front.carry_to(backend)
            ready_at = time.monotonic()
            await backend.wait_ended()
            problem = f"{backend.program.name}: {await backend.epitaph()}"
            if time.monotonic() - ready_at < SERVED_S:
                self._fail(problem)
                return
            self._front.carry_to(None)
            self._say(f"{problem}\n    It is started again.")
            await backend.stop(STOP_S)

    def _fail(self, problem: str) -> None:
        self._front.carry_to(None, problem)
        self._say(f"{problem}\n    It is started again when a file in its folder changes.")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m cgn_sdk.dservice.launcher", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--watch", type=Path, metavar="FOLDER", help="a folder with dservice.toml")
    parser.add_argument("--port", type=int, default=0, help="where the command listens")
    parser.add_argument("command", nargs="*")
    given = parser.parse_args(argv)
    if (given.watch is None) == (not given.command):
        parser.error("give --watch FOLDER, or --port and a command")
    return given


async def launch(look: Callable[[], Program], socket_path: Path, folder: Path | None) -> int:
    """Runs the program of `look` behind `socket_path` until SIGTERM or SIGINT, again on edits in `folder` if given."""
    front = Front(is_watching=folder is not None)
    launcher = Launcher(
        front, look, socket_path.with_name("own.sock"), listen=lambda: front.listen(socket_path=socket_path)
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, launcher.stop)
    try:
        return await (launcher.run_watching(folder) if folder is not None else launcher.run_once())
    finally:
        front.close()


def main(argv: Sequence[str] | None = None) -> int:
    given = _parse(argv)
    socket_path = os.environ.get("CGN_SOCKET")
    if not socket_path:
        print("set CGN_SOCKET to the path of the socket to listen on", file=sys.stderr)
        return 2
    watch: Path | None = given.watch
    program = Program(Path(given.command[0]).name, given.command, port=given.port) if given.command else None

    def look() -> Program:
        if program is not None:
            return program
        assert watch is not None
        return program_of(watch)

    return asyncio.run(launch(look, Path(socket_path), watch))


if __name__ == "__main__":
    sys.exit(main())
