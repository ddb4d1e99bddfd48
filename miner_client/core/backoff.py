"""When to try again: exponential back-off with full jitter. The caller brings the random number."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits of up to `first_ms`, then twice as much each time, up to `most_ms`.

    Jitter is over the upper half of the range: many miners cut off at once by a node's restart come back spread out,
    and none hammers at once.
    """

    first_ms: int
    most_ms: int

    def wait_ms(self, failures: int, random: float) -> int:
        """The wait after `failures` failures in a row (0: none needed). `random` is from [0, 1)."""
        if failures <= 0:
            return 0
        top = min(self.most_ms, self.first_ms << min(failures - 1, 30))
        return top // 2 + int(random * (top - top // 2))


@dataclass(slots=True)
class Failures:
    """Counts failures in a row. What ran for `stable_ms` begins again from none."""

    stable_ms: int
    count: int = 0

    def ended(self, ran_ms: int) -> int:
        """It ended without being asked to, after `ran_ms`. Returns the failures in a row, this one included."""
        self.count = 1 if ran_ms >= self.stable_ms else self.count + 1
        return self.count
