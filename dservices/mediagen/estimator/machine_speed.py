"""How fast this machine is just now (G-8, N-22): a fixed piece of work, timed. It turns an estimate into CPU time here.

Costs are measured, kept and added up in *reference time*: the CPU time that something takes on the machine of the
calibration while the fixed work takes `yardstick_ns` there. A CPU second is not the same everywhere, nor even twice on
the same machine: a neighbour on the other half of a core makes it half as long again. So whoever measures times the
fixed work next to every trial and keeps the ratio, and a miner's worker times it now and again:

    CPU time here = reference time × (fixed work here ÷ fixed work at the calibration)

The fixed work is of the kind that requests are made of: JPEG, a reduction, filter and deflate, one thread, about 6 ms.
`python -m dservices.mediagen.estimator.machine_speed` answers every line on its standard input with a measurement: the
companion of a calibration or a benchmark.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

KEPT = 7
"""Measurements whose median counts: one that a neighbour spoilt changes nothing."""
FIRST = 3
"""Of them at the start, when there are none."""
AGE_S = 4.0
"""A measurement holds so long."""
FACTOR_MIN, FACTOR_MAX = 0.1, 10.0
"""Slower or faster than that is no machine but a mistake."""


@cache
def _picture() -> Any:
    import pyvips

    noise = pyvips.Image.gaussnoise(512, 512, mean=128, sigma=40, seed=1).gaussblur(1).cast("uchar").copy_memory()
    return noise.bandjoin([noise, noise]).copy(interpretation="srgb").copy_memory()


def work_ns() -> int:
    """CPU time of this process for the fixed work: of the second time in a row, so that it does not matter what was in
    the caches."""
    _work()
    started = time.process_time_ns()
    _work()
    return time.process_time_ns() - started


def _work() -> None:
    import pyvips

    picture = _picture()
    data = picture.jpegsave_buffer(Q=85, keep="none")
    again = pyvips.Image.new_from_buffer(data, "").resize(0.4)
    again.pngsave_buffer(compression=6, filter="sub", keep="none")


class Speed:
    """This machine's time for the fixed work: the median of the last measurements. `clock` in seconds."""

    def __init__(self, measure: Callable[[], int] = work_ns, clock: Callable[[], float] = time.monotonic) -> None:
        self._measure, self._clock = measure, clock
        self._taken: deque[int] = deque(maxlen=KEPT)
        self._at = float("-inf")

    def _take(self) -> None:
        self._taken.append(self._measure())
        self._at = self._clock()

    def refresh(self) -> None:
        """One more measurement if the last is old and somebody has asked before; for idle moments."""
        if self._taken and self._clock() - self._at >= AGE_S:
            self._take()

    def factor(self, reference_ns: int) -> float:
        """Time here over that of the calibration, whose fixed work took `reference_ns`."""
        while len(self._taken) < FIRST:
            self._take()
        return max(FACTOR_MIN, min(FACTOR_MAX, statistics.median(self._taken) / reference_ns))


def main() -> int:
    import pyvips

    pyvips.cache_set_max(0)
    work_ns()
    for _ in sys.stdin:
        print(work_ns(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
