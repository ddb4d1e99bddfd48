"""Owns what has to run as long as the process: nothing long-lived ends unseen.

    kept = Supervisor(life.stop)
    kept.keep("ledger shipper", shipper.run)       # safe to start again: it is, after a growing wait
    kept.need("client", client.run)                # its end is the process's: stopped with the reason, started anew
    kept.finish("hash the keys", hash_pending)     # ends when it has succeeded once
    ...
    await kept.close()

Both are logged and counted when they end, whether they raise or just return: what is handed in is meant to run for
ever. `statistics()` is for metrics and health. A periodic step (`every`) goes on whatever one step raises.

Left to others: tasks with an end of their own (a connection, a request); whoever makes one awaits it or looks at its
outcome.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from cgn_chassis import logs
from cgn_chassis.backoff import Backoff, Failures

RESTART = Backoff(first_ms=200, most_ms=30_000)
"""A fault that stays (a full disk, a store that answers nonsense) is met again twice a minute, no more."""
STABLE_MS = 60_000
"""What ran this long has recovered: the next wait is the first again."""

Work = Callable[[], Coroutine[Any, Any, Any]]

_log = logs.get("supervisor")


@dataclass(slots=True)
class Kept:
    """One long-lived task as others may see it."""

    name: str
    ends: int = 0
    """How often it ended although it should not."""
    problem: str = ""
    """Why it ended last; empty when it never did."""
    is_running: bool = True


@dataclass(slots=True)
class _Owned:
    kept: Kept
    task: "asyncio.Task[None]"
    failures: Failures = field(default_factory=lambda: Failures(STABLE_MS))


class Supervisor:
    """See the module. One per process, on the process's loop."""

    def __init__(
        self,
        stop: Callable[[str], None],
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        restart: Backoff = RESTART,
    ) -> None:
        """`stop` asks the process to end, with the reason; while `is_stopping`, what ends may end."""
        self._stop = stop
        self._is_stopping = is_stopping
        self._restart = restart
        self._owned: dict[str, _Owned] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def keep(self, name: str, work: Work) -> None:
        """Runs it, and again after a wait whenever it ends. For work that may begin anew at any point."""
        self._own(name, self._kept(name, work))

    def need(self, name: str, work: Work) -> None:
        """Runs it once; its end stops the process. For work whose state is unknown after a failure."""
        self._own(name, self._needed(name, work))

    def finish(self, name: str, work: Work) -> None:
        """Runs it until it has returned once, again after a wait whenever it raises."""
        self._own(name, self._kept(name, work, is_finite=True))

    def every(self, name: str, seconds: float, step: Callable[[], None]) -> None:
        """Takes the step again and again, the first time after so many seconds. A step that raises is counted."""

        async def steps() -> None:
            while True:
                await asyncio.sleep(seconds)
                step()

        self.keep(name, steps)

    def statistics(self) -> list[Kept]:
        return [owned.kept for owned in self._owned.values()]

    @property
    def problems(self) -> list[str]:
        """What is not running now, and why."""
        return [f"{kept.name}: {kept.problem}" for kept in self.statistics() if not kept.is_running]

    def drop(self, name: str) -> None:
        """Ends the one so named without waiting for it; it may have ended already."""
        owned = self._owned.pop(name, None)
        if owned is not None:
            owned.task.cancel()
            self._leaving.add(owned.task)
            owned.task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Ends all of them."""
        for name in list(self._owned):
            self.drop(name)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def _own(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        assert name not in self._owned, f"{name} runs already"
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._owned[name] = _Owned(Kept(name), task)

    async def _kept(self, name: str, work: Work, *, is_finite: bool = False) -> None:
        await asyncio.sleep(0)  # until it is in the table
        owned = self._owned[name]
        while True:
            began_ns = time.monotonic_ns()
            owned.kept.is_running = True
            if await self._run(owned.kept, work, is_finite=is_finite):
                return
            count = owned.failures.ended((time.monotonic_ns() - began_ns) // 1_000_000)
            wait_ms = self._restart.wait_ms(count, random.random())  # noqa: S311 - spreads, hides nothing
            _log.error("task.ended", task=name, problem=owned.kept.problem, ends=owned.kept.ends, again_in_ms=wait_ms)
            await asyncio.sleep(wait_ms / 1000)

    async def _needed(self, name: str, work: Work) -> None:
        await asyncio.sleep(0)
        kept = self._owned[name].kept
        if await self._run(kept, work):
            return
        _log.error("task.ended", task=name, problem=kept.problem, process="stops")
        self._stop(f"{name} ended: {kept.problem}")

    async def _run(self, kept: Kept, work: Work, *, is_finite: bool = False) -> bool:
        """Until it ends. Returns whether it may have; else `kept` says why it ended. Only our own cancelling passes
        through."""
        try:
            await work()
            if is_finite or self._is_stopping():
                return True
            kept.problem = "it returned"
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            kept.problem = "it was cancelled from inside"
        except Exception as error:
            kept.problem = f"{type(error).__name__}: {error}"[:300]
            _log.exception("task.failed", task=kept.name)
        kept.ends += 1
        kept.is_running = False
        return False
