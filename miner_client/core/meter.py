"""What each request used of a DService that serves several at once (N-20, M-5). Pure: clocks are read outside.

A DService's processes have one CPU clock and one memory size for all requests in them. Between two looks the use is
divided equally among the requests that were in flight, so that the shares of all requests add up to what the
DService used while it had work: nothing is counted twice and nothing is lost. Equal shares are a convention, not a
measurement; over many requests of one kind it evens out, and a request that runs alone is measured exactly.

The division is kept as a running sum of "use per request in flight" in 1/2^20 of a nanosecond, so that beginning and
ending a request costs the same whatever the number in flight.
"""

from dataclasses import dataclass

_FRACTION_BITS = 20
"""Binary digits kept below one unit in the running sums: the error of one division is under 1e-6 ns."""


@dataclass(frozen=True, slots=True)
class Use:
    """What one request used: ns of CPU time, byte-seconds of memory (rounded down), ns of wall time."""

    cpu_ns: int
    memory_byte_seconds: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class _Begun:
    at_ns: int
    cpu_sum: int
    memory_sum: int


class Meter:
    """Divides one DService's CPU time and memory among its requests.

    `now_ns` is a monotonic clock, `cpu_ns` the DService's CPU clock, `memory_bytes` its present size. A clock that
    steps back (the DService was restarted) counts as zero use for that step.
    """

    def __init__(self) -> None:
        self._begun: dict[int, _Begun] = {}
        self._now_ns = 0
        self._cpu_ns = 0
        self._cpu_sum = 0
        self._memory_sum = 0

    @property
    def in_flight(self) -> int:
        return len(self._begun)

    def begin(self, key: int, now_ns: int, cpu_ns: int, memory_bytes: int) -> None:
        """A request starts. Raises KeyError when `key` is in flight already."""
        if key in self._begun:
            raise KeyError(key)
        self.look(now_ns, cpu_ns, memory_bytes)
        self._begun[key] = _Begun(now_ns, self._cpu_sum, self._memory_sum)

    def end(self, key: int, now_ns: int, cpu_ns: int, memory_bytes: int) -> Use:
        """A request ends. Raises KeyError when it is not in flight."""
        self.look(now_ns, cpu_ns, memory_bytes)
        use = self.so_far(key)
        del self._begun[key]
        return use

    def so_far(self, key: int) -> Use:
        """What a request had used at the last look. Raises KeyError when it is not in flight."""
        begun = self._begun[key]
        return Use(
            cpu_ns=(self._cpu_sum - begun.cpu_sum) >> _FRACTION_BITS,
            memory_byte_seconds=((self._memory_sum - begun.memory_sum) >> _FRACTION_BITS) // 1_000_000_000,
            wall_ns=self._now_ns - begun.at_ns,
        )

    def look(self, now_ns: int, cpu_ns: int, memory_bytes: int) -> None:
        """Takes a reading between beginnings and ends; long requests are read now and then so that memory counts as it
        was, not as it ended."""
        count = len(self._begun)
        if count:
            cpu_step = max(0, cpu_ns - self._cpu_ns)
            memory_step = memory_bytes * max(0, now_ns - self._now_ns)
            self._cpu_sum += (cpu_step << _FRACTION_BITS) // count
            self._memory_sum += (memory_step << _FRACTION_BITS) // count
        self._now_ns, self._cpu_ns = now_ns, cpu_ns
