"""Reads from disk beside the event loop: a disk that is slow or hangs holds up whoever waits for its bytes, and nobody
else.

    reads.read(piece.load, then)        then(bytes, None) or then(b"", error), on the loop
    reading.withdraw()                  of what that returns: nobody waits for it any more

The threads are daemons: a read that never comes back does not keep the process from ending.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue

from cgn_node import limits

Load = Callable[[], bytes]
Then = Callable[[bytes, Exception | None], None]


class Reading:
    """One that is waited for. What it would read, and with it a file, is held until it is done or withdrawn."""

    __slots__ = ("load", "loop", "then")

    def __init__(self, loop: asyncio.AbstractEventLoop, load: Load, then: Then) -> None:
        self.loop = loop
        self.load: Load | None = load
        self.then: Then | None = then

    def withdraw(self) -> None:
        """Call it on the loop. One that has begun ends unheard."""
        self.load = self.then = None

    def tell(self, data: bytes, problem: Exception | None) -> None:
        then, self.load, self.then = self.then, None, None
        if then is not None:
            then(data, problem)


class DiskReads:
    """See the module. Its threads begin with the first read."""

    def __init__(self, threads: int = limits.DISK_READ_THREADS) -> None:
        self._threads = threads
        self._waiting: SimpleQueue[Reading] = SimpleQueue()
        self._started = 0

    def read(self, load: Load, then: Then) -> Reading:
        """Call it on the loop. `then` is called once, in a later turn, unless the reading is withdrawn; whatever `load`
        raises comes with it."""
        reading = Reading(asyncio.get_running_loop(), load, then)
        self._waiting.put(reading)
        if self._started < self._threads:
            self._started += 1
            threading.Thread(target=self._work, name=f"disk reads {self._started}", daemon=True).start()
        return reading

    def _work(self) -> None:
        while True:
            reading = self._waiting.get()
            load, data, problem = reading.load, b"", None
            if load is None:
                continue  # withdrawn
            try:
                data = load()
            except Exception as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits there any more
                reading.loop.call_soon_threadsafe(reading.tell, data, problem)
            del reading, load, data  # what was read for belongs to the loop again: no file stays open for this thread
