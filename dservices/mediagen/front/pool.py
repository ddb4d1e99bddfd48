"""Worker processes kept warm: a request takes one, a worker that died or ran too long is replaced, its request refused.

The parent never touches pixels or scripts. It fetches for its workers, and kills them.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.channel import INLINE_MAX_BYTES, PHASE_SCRIPT, ChannelClosed, FrontEnd, Shared, Status

FetchForWorker = Callable[[str, str], Awaitable[bytes | Shared]]
PutForWorker = Callable[[str, bytes, str], Awaitable[None]]

_log = logging.getLogger("cgn.mediagen.pool")
START_S = 30.0
"""A worker loads V8, libvips and fonts within half a second; a machine under load takes its time."""
RESTART_PAUSE_S = 0.5
"""Between failed starts of a worker: a broken installation must not become a busy loop."""


class WorkerDied(Exception):
    """The process ended in the middle of a request."""


class Worker:
    """One worker process and the channel to it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: FrontEnd, page: mmap.mmap) -> None:
        self.process, self._channel, self._page = process, channel, page
        self.status = Status(page)
        self.served = 0
        self.spent = False
        """It said itself that it should not be used again."""

    @classmethod
    async def start(cls, memory_bytes: int, environment: Mapping[str, str]) -> Worker:
        ours, theirs = socket.socketpair()
        descriptor = os.memfd_create("cgn-mediagen")
        os.ftruncate(descriptor, mmap.PAGESIZE)
        page = mmap.mmap(descriptor, mmap.PAGESIZE)
        # The worker expects its descriptors at 3 and 4; a tiny shell-free launcher moves them there.
        code = (
            f"import os,sys;a=os.dup({theirs.fileno()});b=os.dup({descriptor});c=os.dup2(a,200);d=os.dup2(b,201);"
            "os.dup2(200,3);os.dup2(201,4);os.closerange(5,256);"
            "import runpy;runpy.run_module('dservices.mediagen.worker_process',run_name='__main__',alter_sys=True)"
        )
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                code,
                str(memory_bytes),
                pass_fds=(theirs.fileno(), descriptor),
                stdin=asyncio.subprocess.DEVNULL,
                env=dict(environment),
            )
        finally:
            theirs.close()
            os.close(descriptor)
        worker = cls(process, FrontEnd(ours), page)
        try:
            async with asyncio.timeout(START_S):
                message, _ = await worker.receive()
        except (TimeoutError, WorkerDied):
            await worker.kill()
            raise
        assert "ready" in message
        return worker

    async def send(self, message: Mapping[str, Any], blob: bytes = b"", shared: Shared | None = None) -> None:
        try:
            await self._channel.send(message, blob, shared)
        except ChannelClosed:
            raise WorkerDied from None

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        try:
            return await self._channel.receive()
        except ChannelClosed:
            raise WorkerDied from None

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self._channel.close()
        await self.process.wait()
        self._page.close()


def worker_environment(fonts: str | None) -> dict[str, str]:
    """The little a worker sees of the environment; fixed, because results must not depend on it (G-1)."""
    import dservices

    roots = {os.path.dirname(os.path.dirname(os.path.abspath(dservices.__file__)))}
    import cgn_sdk

    roots.add(os.path.dirname(os.path.dirname(os.path.abspath(cgn_sdk.__file__))))
    values = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join([*sorted(roots), *filter(None, [os.environ.get("PYTHONPATH", "")])]),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": "/nonexistent",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - the miner mounts a private one
        "VIPS_CONCURRENCY": "1",
        "VIPS_BLOCK_UNTRUSTED": "1",
        "VIPS_DISC_THRESHOLD": "4g",
        "MALLOC_ARENA_MAX": "2",
        # Buffers of pictures are taken and given back many times in a request: fetching each from the kernel anew
        # costs a page fault every 4 KiB (a fifth of the time of a PDF page). What is kept so is bounded by the second
        # figure.
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    }
    if fonts:
        values["CGN_MEDIAGEN_FONTS"] = fonts
    return values


class Pool:
    """`size` workers. `run` waits its turn; more than `limits.QUEUE_MAX` waiting are refused."""

    def __init__(
        self,
        size: int,
        fetch: FetchForWorker,
        put: PutForWorker,
        *,
        memory_bytes: int = limits.WORKER_MEMORY_BYTES,
        fonts: str | None = None,
        wall_s: float = limits.WORK_WALL_S,
    ) -> None:
        self._size, self._fetch, self._put = size, fetch, put
        self._memory_bytes, self._fonts, self._wall_s = memory_bytes, fonts, wall_s
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers: set[Worker] = set()
        self._closed = False
        self.replaced = 0

    async def start(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._size):
                group.create_task(self._add(first=True))

    async def _add(self, *, first: bool = False) -> None:
        while not self._closed:
            try:
                worker = await Worker.start(self._memory_bytes, worker_environment(self._fonts))
            except (WorkerDied, TimeoutError, OSError):
                if first:
                    raise RuntimeError("a MediaGen worker does not start; its own message is above") from None
                _log.exception("a worker does not start")
                await asyncio.sleep(RESTART_PAUSE_S)
                continue
            if self._closed:
                await worker.kill()
                return
            self._workers.add(worker)
            self._idle.put_nowait(worker)
            return

    async def close(self) -> None:
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self._workers))
        self._workers.clear()

    @property
    def pids(self) -> list[int]:
        return sorted(worker.process.pid for worker in self._workers)

    async def run(
        self,
        order: Mapping[str, Any],
        script: bytes,
        upload: bytes = b"",
        *,
        wall_s: float | None = None,
        spent_s: float = 0.0,
        fetch: FetchForWorker | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Sends one request with its script to a worker: (outcome, body). Problem for everything else. `spent_s` of its
        time is over already; `fetch` fetches for this request alone."""
        fetch = fetch or self._fetch
        bound = min(self._wall_s, wall_s) if wall_s is not None else self._wall_s
        shared = Shared.of(upload) if upload else None
        try:
            outcome, body = await self._run_once(order, script, shared, bound, spent_s, fetch)
        except WorkerDied:  # it had died before it began: the request did not cause that
            try:
                outcome, body = await self._run_once(order, script, shared, bound, spent_s, fetch)
            except WorkerDied:
                raise Problem(503, "busy", "no worker could be had; repeat later") from None
        if "problem" in outcome:
            status, code, detail, facts = outcome["problem"]
            raise Problem(status, code, detail, **facts)
        return outcome, body

    async def _run_once(
        self,
        order: Mapping[str, Any],
        script: bytes,
        upload: Shared | None,
        bound: float,
        spent_s: float,
        fetch: FetchForWorker,
    ) -> tuple[dict[str, Any], bytes]:
        """One worker, one try. WorkerDied only if the worker ended before it began with the request."""
        if self._waiting >= limits.QUEUE_MAX:
            raise Problem(503, "busy", "too many requests are waiting; repeat later")
        self._waiting += 1
        try:
            worker = await self._idle.get()
        finally:
            self._waiting -= 1
        whole = False
        begun = worker.status.begun
        try:
            async with asyncio.timeout(max(0.0, bound - spent_s)):
                outcome, body = await self._serve(worker, order, script, upload, fetch)
            whole = True
        except TimeoutError:
            raise Problem(422, "work_timeout", f"the request took longer than {bound:g} s", limit_s=bound) from None
        except WorkerDied:
            if worker.status.begun == begun:
                raise
            raise await self._obituary(worker) from None
        finally:
            worker.served += 1
            if whole and not worker.spent and worker.served < limits.WORKER_REQUESTS_MAX and not self._closed:
                self._idle.put_nowait(worker)
            else:
                self._replace(worker)
        return outcome, body

    async def _serve(
        self, worker: Worker, order: Mapping[str, Any], script: bytes, upload: Shared | None, fetch: FetchForWorker
    ) -> tuple[dict[str, Any], bytes]:
        await worker.send({"run": order}, script, upload)
        while True:
            message, data = await worker.receive()
            if "done" in message:
                worker.spent = bool(message.get("spent"))
                return message["done"], data
            try:
                if "put" in message:
                    await self._put(str(message["put"]), data, str(message["content_type"]))
                    await worker.send({"ok": True})
                else:
                    source = await fetch(str(message["fetch"]), str(message["purpose"]))
                    if isinstance(source, bytes) and len(source) > INLINE_MAX_BYTES:
                        source = Shared.of(source)
                    if isinstance(source, bytes):
                        await worker.send({"ok": True}, source)
                    else:
                        await worker.send({"ok": True}, b"", source)
            except Problem as problem:
                await worker.send({"problem": [problem.status, problem.code, problem.detail, problem.facts]})

    async def _obituary(self, worker: Worker) -> Problem:
        """What to say about a worker that died: by where it was. The cause is the request's in all likelihood."""
        phase = worker.status.phase
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await worker.process.wait()
        code = worker.process.returncode
        name = (
            signal.Signals(-code).name
            if code is not None and code < 0 and -code in signal.valid_signals()
            else str(code)
        )
        _log.warning("worker %s ended with %s in phase %s", worker.process.pid, name, phase)
        if phase == PHASE_SCRIPT:
            return Problem(422, "script_memory", "the script used more memory than it may have; its process was ended")
        return Problem(422, "work_failed", "the picture could not be made within the limits; its process was ended")

    def _replace(self, worker: Worker) -> None:
        self._workers.discard(worker)
        self.replaced += 1

        async def swap() -> None:
            await worker.kill()
            await self._add()

        task = asyncio.create_task(worker.kill()) if self._closed else asyncio.create_task(swap())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
