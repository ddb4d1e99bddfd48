"""Keeps one DService running (M-3): starts it, waits until it is healthy, restarts it when it ends, and meters what
it uses.

Requests use `hop` while `is_ready`; who begins a request before asks `wait_ready` first.
"""

import asyncio
import random
import time
from pathlib import Path
from typing import Literal

from cgn_chassis import logs
from cgn_chassis.backoff import Backoff, Failures
from cgn_chassis.process import wait_first
from miner_client import limits
from miner_client.core.meter import Meter, Use
from miner_client.egress import Egress
from miner_client.hop import Hop
from miner_client.runner import EGRESS_NAME, DServiceSettings, Runner, RunnerFailed, make_runner, wait_healthy

_log = logs.get("miner.dservice")
_BACKOFF = Backoff(limits.RESTART_FIRST_MS, limits.RESTART_MOST_MS)


class DService:
    """One enabled DService on this machine."""

    def __init__(self, settings: DServiceSettings, folder: Path, logs_folder: Path | None = None) -> None:
        """`folder` holds its sockets (a short path: a UNIX socket's name has 107 bytes)."""
        self.settings = settings
        self._folder = folder
        self._log_path = (logs_folder or folder) / f"{settings.name}.log"
        self._runner: Runner | None = None
        self._hop: Hop | None = None
        self._ready = asyncio.Event()
        self._seen_healthy = asyncio.Event()
        self._doubt = asyncio.Event()
        self._meter = Meter()
        self._keys = 0
        self._memory_bytes = 0
        self._memory_at_ns = 0
        self.has_estimator = True
        """Whether it may be asked what a request will take; it says itself when it cannot (404)."""
        self.restarts = 0
        self.last_problem = ""

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def kind(self) -> Literal["docker", "process"]:
        return "docker" if self.settings.image else "process"

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    @property
    def can_be_offered(self) -> bool:
        """Whether it has been healthy once: what ends later is restarted, and requests wait for that."""
        return self._seen_healthy.is_set()

    async def wait_offerable(self) -> None:
        await self._seen_healthy.wait()

    @property
    def hop(self) -> Hop:
        assert self._hop is not None, "wait until it is ready"
        return self._hop

    async def wait_ready(self, timeout_s: float) -> bool:
        """Waits for a start or restart under way. False when it takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Keeps it running until cancelled; leaves nothing behind then."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        egress = Egress(self._folder / EGRESS_NAME, self.settings.egress) if self.settings.egress else None
        if egress is not None:
            await egress.start()
        try:
            await self._keep_running()
        finally:
            if egress is not None:
                await egress.stop()

    async def _keep_running(self) -> None:
        failures = Failures(limits.RESTART_STABLE_MS)
        while True:
            began = time.monotonic_ns()
            runner = make_runner(self.settings, self._folder, log=self._log_path)
            try:
                await runner.start()
                self._begin(runner)
                _log.info("dservice.ready", dservice=self.name, ms=(time.monotonic_ns() - began) // 1_000_000)
                self.last_problem = await self._watch(runner)
            except RunnerFailed as error:
                self.last_problem = str(error)
            finally:
                await self._end(runner)
            self.restarts += 1
            count = failures.ended((time.monotonic_ns() - began) // 1_000_000)
            wait_ms = _BACKOFF.wait_ms(count, random.random())  # noqa: S311
            _log.warning("dservice.ended", dservice=self.name, problem=self.last_problem, wait_ms=wait_ms)
            await asyncio.sleep(wait_ms / 1000)

    def _begin(self, runner: Runner) -> None:
        self._runner = runner
        self._hop = Hop(runner.socket_path)
        self.has_estimator = True
        self._doubt.clear()
        self._ready.set()
        self._seen_healthy.set()

    async def _watch(self, runner: Runner) -> str:
        """Returns when it has ended or must be ended, with the reason."""
        while runner.alive:
            await wait_first(runner.wait_ended(), self._doubt.wait())
            if not self._doubt.is_set():
                break
            self._doubt.clear()
            try:
                await wait_healthy(
                    self.settings, runner.socket_path, lambda: not runner.alive, timeout_s=limits.DOUBT_S
                )
            except RunnerFailed as error:
                return str(error)
            self._ready.set()
        return "it ended by itself"

    def report_broken(self, hop: Hop) -> None:
        """A connection over `hop` was refused, or closed without an answer: it may be about to end. Not ready from
        now until its health is seen again or it was restarted, so that the next request does not meet a dying
        process."""
        if hop is self._hop and self._ready.is_set():
            self._ready.clear()
            self._doubt.set()

    def note_no_estimator(self, hop: Hop) -> None:
        """The process behind `hop` said that it has none; one that was started since may have."""
        if hop is self._hop:
            self.has_estimator = False

    async def survived(self, hop: Hop) -> bool:
        """A connection over `hop` was closed in the middle: whether the DService goes on, so that it broke off one
        answer, instead of having ended."""
        runner = self._runner
        if hop is not self._hop or runner is None:
            return False
        self.report_broken(hop)
        await wait_first(self._ready.wait(), runner.wait_ended())
        return hop is self._hop and self.is_ready and runner.alive

    async def _end(self, runner: Runner) -> None:
        self._ready.clear()
        try:
            if self._hop is not None:
                await self._hop.close()
        finally:
            await self._stop(runner)

    async def _stop(self, runner: Runner) -> None:
        try:
            await runner.stop()
        finally:
            self._runner = None

    # --- Metering ---

    def begin_use(self) -> "Using":
        """A request begins to use it."""
        self._keys += 1
        self._meter.begin(self._keys, *self._look())
        return Using(self, self._keys)

    def _end_use(self, key: int) -> Use:
        return self._meter.end(key, *self._look())

    def _use_so_far(self, key: int) -> Use:
        return self._meter.so_far(key)

    def look(self) -> None:
        """Called by the sweep while requests are in flight."""
        if self._meter.in_flight:
            self._meter.look(*self._look())

    def _look(self) -> tuple[int, int, int]:
        now = time.monotonic_ns()
        runner = self._runner
        if runner is None:
            return now, 0, 0
        if now - self._memory_at_ns > limits.MEMORY_LOOK_NS:
            self._memory_at_ns, self._memory_bytes = now, runner.memory_bytes()
        return now, runner.cpu_ns(), self._memory_bytes


class Using:
    """One request's use of a DService, from `begin_use` to the first `end`."""

    __slots__ = ("_dservice", "_key", "_use")

    def __init__(self, dservice: DService, key: int) -> None:
        self._dservice = dservice
        self._key = key
        self._use: Use | None = None

    def end(self) -> Use:
        """What was used; asked again, the same."""
        if self._use is None:
            self._use = self._dservice._end_use(self._key)
        return self._use

    def now(self) -> Use:
        """What has been used up to this moment."""
        self._dservice.look()
        return self.so_far()

    def so_far(self) -> Use:
        """What had been used at the last look, which the sweep takes."""
        return self._use if self._use is not None else self._dservice._use_so_far(self._key)
