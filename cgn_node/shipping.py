"""How far rows have got behind the spool: what health and metrics say of the way to the ledger's store (N-24, O-6).

A shipper that stands still loses nothing, but a settlement misses what it has not brought; so somebody must see it.
"""

import time
from collections.abc import Callable

from cgn_chassis import logs
from cgn_node import limits
from ledger.heads import LedgerDiffers

_log = logs.get("ledger")


class Shipping:
    """Hears of every attempt of the shipper (`observe`), and looks now and then how far it has got (`look`)."""

    def __init__(
        self, backlog: Callable[[], int], shipped: Callable[[], int], *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`backlog`: rows in the spool that are not in the store; `shipped`: number of the last row that is."""
        self.rows = 0
        """Rows brought to the store since the start."""
        self.failures = 0
        """Attempts that the store did not take."""
        self.last_error = ""
        """What the store said last; empty while it takes rows."""
        self._backlog = backlog
        self._shipped = shipped
        self._clock_s = clock_s
        self._marks: list[tuple[float, int]] = []  # (when, number of the newest row by then), ascending in both

    def observe(self, rows: int, error: Exception | None) -> None:
        if error is None:
            if self.last_error:
                _log.info("ledger.store_back", backlog=self.backlog)
            self.rows += rows
            self.last_error = ""
        elif isinstance(error, LedgerDiffers):  # rows go on; heads do not, until somebody has looked
            _log.error("ledger.differs", error=str(error))
        else:
            self.failures += 1
            self.last_error = f"{type(error).__name__}: {error}"[:300]
            _log.warning("ledger.store_away", error=str(error), backlog=self.backlog)

    @property
    def backlog(self) -> int:
        """Rows that wait."""
        return self._backlog()

    @property
    def oldest_s(self) -> float:
        """Seconds that the oldest of them has waited, as seen by this process and no finer than it looks; 0 without
        one."""
        self.look()
        return self._clock_s() - self._marks[0][0] if self._marks else 0.0

    def look(self) -> None:
        shipped, backlog = self._shipped(), self._backlog()
        behind = 0
        while behind < len(self._marks) and self._marks[behind][1] <= shipped:
            behind += 1
        del self._marks[:behind]
        newest = shipped + backlog
        if backlog and (not self._marks or self._marks[-1][1] < newest):
            self._marks.append((self._clock_s(), newest))
        if len(self._marks) > limits.SHIPPING_MARKS_MAX:
            del self._marks[1:-1:2]  # the times between become coarser, the oldest stays exact
