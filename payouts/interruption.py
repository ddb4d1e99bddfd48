"""A payout run that is told to stop ends at its next step, with its files closed in order.

Its steps run in a thread beside the event loop. Were the loop's task cancelled, the journal would be closed under the
thread that writes it. Any step may be the last one (P-11): a further run goes on from there.
"""

import asyncio
import os
import signal
import threading

from payouts.errors import SettlementError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Give `at` and `sleep` to a run (`payouts.app.settle`), and call `watch` on the loop."""

    def __init__(self) -> None:
        self._is_asked = threading.Event()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on SIGINT and SIGTERM ask for an end, and a second one ends the process at once."""
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._ask, number)

    def _ask(self, number: int) -> None:
        if self._is_asked.is_set():
            os._exit(128 + number)
        self._is_asked.set()

    def at(self, point: str) -> None:
        """A point of the journal. Raises SettlementError when an end was asked for."""
        self._check()

    def sleep(self, seconds: float) -> None:
        """Waits, until an end is asked for. Raises SettlementError then."""
        self._is_asked.wait(seconds)
        self._check()

    def _check(self) -> None:
        if self._is_asked.is_set():
            raise SettlementError("interrupted; what was begun is in the journal, and a further run goes on from there")
