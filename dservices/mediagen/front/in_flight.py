"""Requests for the same thing at the same moment are one execution (G-12): the first one does the work, the others wait
for its answer. Nothing is kept beyond that moment.

What may be shared is what a shared cache might give to the other one, too (RFC 9111): a whole answer that its script
has not called `Streamed`, to a GET or HEAD of the same MRL with the same values of the request headers that the script
has looked at. Anything else (a failure, a first one that hung up) is nobody else's: who waited does the work alone.
Waiting takes of the waiter's own time, and it counts among the requests inside, which are bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cgn_sdk.dservice.problems import Problem

Result = tuple[dict[str, Any], bytes]
Make = Callable[[float], Awaitable[Result]]
"""Does the work within so many seconds."""

APART = frozenset({"cgn-request-id", "if-none-match", "referer", "user-agent"})
"""Request headers that differ between requests for the same thing. They matter only if a script looks at them; the
others are part of what is asked for."""


class InFlight:
    """On one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._running: dict[tuple[Any, ...], tuple[Mapping[str, str], asyncio.Future[Result | None]]] = {}
        self._clock = clock
        self.shared = 0
        """Answers given without work of their own."""

    async def run(self, order: Mapping[str, Any], make: Make, wall_s: float) -> Result:
        """What `make` answers to the order, or what it has just answered to the same one."""
        key = _key(order)
        running = self._running.get(key)
        if running is None:
            return await self._first(key, order["headers"], make, wall_s)
        first_headers, answer = running
        began_s = self._clock()
        try:
            async with asyncio.timeout(wall_s):
                result = await asyncio.shield(answer)
        except TimeoutError:
            raise Problem(422, "work_timeout", f"the request took longer than {wall_s:g} s", limit_s=wall_s) from None
        if result is None or not _is_for(result, first_headers, order["headers"]):
            return await make(max(0.0, wall_s - (self._clock() - began_s)))
        self.shared += 1
        return result

    async def _first(self, key: tuple[Any, ...], headers: Mapping[str, str], make: Make, wall_s: float) -> Result:
        answer: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()
        self._running[key] = headers, answer
        result = None
        try:
            result = await make(wall_s)
            return result
        finally:
            del self._running[key]
            answer.set_result(result if result is not None and result[0]["cached"] else None)


def _key(order: Mapping[str, Any]) -> tuple[Any, ...]:
    """Script, function, arguments, parameters: all of them are in the query. And the headers that are not `APART`."""
    headers = sorted((name, value) for name, value in order["headers"].items() if name not in APART)
    return order["query"], tuple(headers)


def _is_for(result: Result, first: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(first.get(name) == other.get(name) for name in result[0]["looked_at"])
