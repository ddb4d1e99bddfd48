"""Worker processes kept warm: a request takes one, a worker that died or ran too long is replaced, its request refused.

The parent never touches pixels or scripts. It fetches for its workers, and kills them.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
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


_CPU_CLOCK = 2
"""The scheduler's clock of a process, as clock_getcpuclockid(3) makes its number of the process's."""
CPU_WATCH_S = 0.05
"""How finely a request's processor time is watched."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one request: wall time, processor time, private memory over the worker's own; and of a worker in all."""

    wall_s: float = limits.WORK_WALL_S
    cpu_s: float = limits.WORK_CPU_S
    memory_bytes: int = limits.WORK_MEMORY_BYTES
    worker_memory_bytes: int = limits.WORKER_MEMORY_BYTES


class CpuWatch:
    """Ends a process that has used more processor time since `start` than it may: whatever loops in it cannot be asked
    to stop."""

    def __init__(self, process: asyncio.subprocess.Process, bound_s: float) -> None:
        self._process, self._bound_s = process, bound_s
        self._clock = (~process.pid << 3) | _CPU_CLOCK
        self._timer: asyncio.TimerHandle | None = None
        self._begun_s = 0.0
        self.exceeded = False

    def start(self) -> None:
        with suppress(OSError):  # it is gone: nothing to watch
            self._begun_s = time.clock_gettime(self._clock)
            self._later(self._bound_s)

    def _later(self, left_s: float) -> None:
        # Two threads at once use it up in half the time.
        self._timer = asyncio.get_running_loop().call_later(max(CPU_WATCH_S, left_s / 2), self._look)

    def _look(self) -> None:
        try:
            left_s = self._bound_s - (time.clock_gettime(self._clock) - self._begun_s)
        except OSError:
            return
        if left_s > 0:
            self._later(left_s)
            return
        self.exceeded = True
        with suppress(ProcessLookupError):
            self._process.kill()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class WorkerDied(Exception):
    """The process ended in the middle of a request."""


class TryAfresh(Exception):
    """The request failed in a worker that had served others: what they left may be the cause, so it is repeated where
    nothing is left (G-1). Its worker is still to be replaced."""


class Worker:
    """One worker process and the channel to it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: FrontEnd, page: mmap.mmap) -> None:
        self.process, self._channel, self._page = process, channel, page
        self.status = Status(page)
        self.served = 0
        self.spent = False
        """It said itself that it should not be used again."""
        self.has_put = False
        """Its request has stored something: it is not repeated."""

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

    def bound_memory(self, memory_bytes: int, worker_memory_bytes: int) -> None:
        """What its next request may take on top of what is in use now, whatever earlier ones have left (G-1)."""
        soft = min(self.status.idle_bytes + memory_bytes, worker_memory_bytes)
        with suppress(ProcessLookupError):
            resource.prlimit(self.process.pid, resource.RLIMIT_DATA, (soft, worker_memory_bytes))

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
        bounds: Bounds,
        *,
        fonts: str | None = None,
    ) -> None:
        self._size, self._fetch, self._put = size, fetch, put
        self._bounds, self._fonts = bounds, fonts
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
                worker = await Worker.start(self._bounds.worker_memory_bytes, worker_environment(self._fonts))
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
        put: PutForWorker | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Sends one request with its script to a worker: (outcome, body). Problem for everything else. `spent_s` of its
        time is over already; `fetch` and `put` are this request's alone."""
        reach = fetch or self._fetch, put or self._put
        bound = min(self._bounds.wall_s, wall_s) if wall_s is not None else self._bounds.wall_s
        shared = Shared.of(upload) if upload else None
        started_s = time.monotonic() - spent_s

        worker: Worker | None = None
        deaths = 0
        while True:
            worker = worker or await self._free()
            past_s = time.monotonic() - started_s
            try:
                outcome, body = await self._run_once(worker, order, script, shared, bound, past_s, reach)
                break
            except TryAfresh:
                worker = await self._instead_of(worker)
            except WorkerDied:  # it had died before it began: the request did not cause that
                worker = None
                deaths += 1
                if deaths == 2:
                    raise Problem(503, "busy", "no worker could be had; repeat later") from None
        if "problem" in outcome:
            status, code, detail, facts = outcome["problem"]
            raise Problem(status, code, detail, **facts)
        return outcome, body

    async def _free(self) -> Worker:
        """A worker that has nothing to do; waits for one."""
        if self._waiting >= limits.QUEUE_MAX:
            raise Problem(503, "busy", "too many requests are waiting; repeat later")
        self._waiting += 1
        try:
            return await self._idle.get()
        finally:
            self._waiting -= 1

    async def _run_once(
        self,
        worker: Worker,
        order: Mapping[str, Any],
        script: bytes,
        upload: Shared | None,
        bound: float,
        spent_s: float,
        reach: tuple[FetchForWorker, PutForWorker],
    ) -> tuple[dict[str, Any], bytes]:
        """One worker, one try. WorkerDied only if the worker ended before it began with the request, TryAfresh if it
        lacked memory or died and had served others before."""
        whole = again = ended = worker.has_put = False
        begun = worker.status.begun
        cpu_s = self._bounds.cpu_s * (limits.PORTABLE_FACTOR if order.get("portable") else 1)
        watch = CpuWatch(worker.process, cpu_s)
        try:
            worker.bound_memory(self._bounds.memory_bytes, self._bounds.worker_memory_bytes)
            watch.start()
            async with asyncio.timeout(max(0.0, bound - spent_s)):
                outcome, body = await self._serve(worker, order, script, upload, *reach)
            if outcome.get("problem", [0, ""])[1] == "work_memory" and worker.served and not worker.has_put:
                again = True
                raise TryAfresh
            whole, ended = True, worker.spent
        except TimeoutError:
            ended = True
            raise Problem(422, "work_timeout", f"the request took longer than {bound:g} s", limit_s=bound) from None
        except WorkerDied:
            ended = True
            if watch.exceeded:
                detail = f"the request took more than {cpu_s:g} s of processor time; its process was ended"
                raise Problem(422, "work_cpu", detail, limit_s=cpu_s) from None
            if worker.status.begun == begun:
                raise
            if worker.served and not worker.has_put:
                again = True
                raise TryAfresh from None
            raise await self._obituary(worker) from None
        finally:
            watch.stop()
            worker.served += 1
            if whole and not worker.spent and worker.served < limits.WORKER_REQUESTS_MAX and not self._closed:
                self._idle.put_nowait(worker)
            elif not again:
                replaced = self._replace(worker)
                if ended:  # by this request: it waits for the start, which then falls into its own bill and time
                    await asyncio.wait([replaced], timeout=START_S)
        return outcome, body

    async def _serve(
        self,
        worker: Worker,
        order: Mapping[str, Any],
        script: bytes,
        upload: Shared | None,
        fetch: FetchForWorker,
        put: PutForWorker,
    ) -> tuple[dict[str, Any], bytes]:
        await worker.send({"run": order}, script, upload)
        while True:
            message, data = await worker.receive()
            if "done" in message:
                worker.spent = bool(message.get("spent"))
                return message["done"], data
            try:
                if "put" in message:
                    worker.has_put = True
                    await put(str(message["put"]), data, str(message["content_type"]))
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

    async def _instead_of(self, worker: Worker) -> Worker:
        """A worker that has served nobody, for one that has. 503 if none can be started now."""
        self._workers.discard(worker)
        self.replaced += 1
        try:
            await worker.kill()
            fresh = await Worker.start(self._bounds.worker_memory_bytes, worker_environment(self._fonts))
        except BaseException as error:
            self._keep(self._add())  # whoever asked may be gone meanwhile, the pool is not smaller for it
            if isinstance(error, (WorkerDied, TimeoutError, OSError)):
                raise Problem(503, "busy", "no worker could be had; repeat later") from None
            raise
        self._workers.add(fresh)
        return fresh

    def _replace(self, worker: Worker) -> asyncio.Task[None]:
        self._workers.discard(worker)
        self.replaced += 1

        async def swap() -> None:
            await worker.kill()
            await self._add()

        return self._keep(worker.kill() if self._closed else swap())

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
