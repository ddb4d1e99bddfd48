"""Work that can wait a little, in portions, so that nobody who sends much keeps the event loop from everybody else.

A callback that drains a buffer does its first portion at once and leaves the rest here. In every turn of the loop the
portions are done round-robin for a few milliseconds; then sockets and timers have their turn again. Whoever has more
adds itself again and stands behind the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

TURN_S: Final = 0.004
"""What all waiting work together takes of one turn of the loop. An honest request waits for at most so much, plus the
portion that is under way when the time is over."""


class Turns:
    """One per event loop (or per listener). `add` a portion of work; it is called once, in this turn or a later one."""

    def __init__(self, turn_s: float = TURN_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._turn_s = turn_s
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    def add(self, portion: Callable[[], None]) -> None:
        """`portion` must not wait and must be short; it may add itself again."""
        self._waiting.append(portion)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_due = False
        clock, waiting = self._clock, self._waiting
        until = clock() + self._turn_s
        try:
            while waiting:
                waiting.popleft()()
                if clock() >= until:
                    break
        finally:  # a portion that raises takes nobody else's turn
            if waiting and not self._is_due:
                self._is_due = True
                asyncio.get_running_loop().call_soon(self._run)
