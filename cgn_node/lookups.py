"""Look-ups in the ledger's store, each bounded in time: a store that stands still holds nobody who asks (N-5, N-24).

    found = await lookups.ask(store.get(row_id))        StoreError after `limits.LOOK_UP_S`

Who asked is let go; the call itself is not broken off, because its answer is what tells that the store is back. While
one is overdue nobody else is made to wait for the same store, and nothing piles up in front of it: further look-ups are
refused at once.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from cgn_node import limits
from ledger.port import StoreError

T = TypeVar("T")


class LookUps:
    """See the module. Belongs to one event loop."""

    def __init__(self, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._numbers = itertools.count()
        self._begun: dict[int, float] = {}  # in order of time
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def oldest_s(self) -> float:
        """Seconds that the oldest call without an answer has waited for one; 0 without any."""
        return self._clock_s() - next(iter(self._begun.values())) if self._begun else 0.0

    @property
    def is_overdue(self) -> bool:
        """Whether the store owes an answer for longer than anybody is made to wait."""
        return self.oldest_s > limits.LOOK_UP_S

    async def ask(self, call: Coroutine[Any, Any, T], within_s: float = math.inf) -> T:
        """The call's answer. Raises what it raises, and StoreError when it takes longer or the store is overdue."""
        if self.is_overdue:
            call.close()
            raise StoreError(f"the ledger has not answered for {self.oldest_s:.0f} s")
        number = next(self._numbers)
        self._begun[number] = self._clock_s()
        task = self._apart(call)
        task.add_done_callback(lambda _: self._begun.pop(number, None))
        return await self._within(task, within_s)

    async def wait(self, task: "asyncio.Task[T]") -> T:
        """The result of longer work over many rows, which goes on when it is not waited for any more; it says nothing
        of how the store is."""
        return await self._within(task, math.inf)

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Such work, begun."""
        return self._apart(work)

    async def _within(self, task: "asyncio.Task[T]", within_s: float) -> T:
        bound_s = max(0.0, min(within_s, limits.LOOK_UP_S))
        done, _ = await asyncio.wait({task}, timeout=bound_s)
        if not done:
            raise StoreError(f"the ledger has not answered within {bound_s:.1f} s")
        return task.result()

    def _apart(self, call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(call, name="ledger look-up")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # heard, also when nobody waits any more
