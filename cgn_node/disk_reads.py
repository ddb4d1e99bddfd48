"""Reads from disk beside the event loop: a disk that is slow or hangs holds up whoever waits for its bytes, and nobody
else.

    reads.read(piece.load, then)        then(bytes, None) or then(b"", error), on the loop

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


class DiskReads:
    """See the module. Its threads begin with the first read."""

    def __init__(self, threads: int = limits.DISK_READ_THREADS) -> None:
        self._threads = threads
        self._waiting: SimpleQueue[tuple[asyncio.AbstractEventLoop, Load, Then]] = SimpleQueue()
        self._started = 0

    def read(self, load: Load, then: Then) -> None:
        """Call it on the loop. `then` is called once, in a later turn; whatever `load` raises comes with it."""
        self._waiting.put((asyncio.get_running_loop(), load, then))
        if self._started < self._threads:
            self._started += 1
            threading.Thread(target=self._work, name=f"disk reads {self._started}", daemon=True).start()

    def _work(self) -> None:
        while True:
            loop, load, then = self._waiting.get()
            data, problem = b"", None
            try:
                data = load()
            except Exception as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits there any more
                loop.call_soon_threadsafe(then, data, problem)
            del load, then, data  # what was read for belongs to the loop again: no file stays open for this thread
