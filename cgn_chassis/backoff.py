"""When to try again: waits that double, spread by full jitter. Pure: the caller brings the random number."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that are drawn from the whole range up to `first_ms`, then up to twice as much each time, at most
    `most_ms`; none is shorter than half of `first_ms`.

    Drawn from the whole range (full jitter), many that were cut off at once come back spread out as evenly as can be;
    the floor keeps a lucky draw from hammering.
    """

    first_ms: int
    most_ms: int

    def __post_init__(self) -> None:
        assert 0 < self.first_ms <= self.most_ms

    def wait_ms(self, failures: int, random: float) -> int:
        """The wait after `failures` failures in a row (0: none needed). `random` is from [0, 1)."""
        if failures <= 0:
            return 0
        low = self.first_ms // 2
        return low + int(random * (self.longest_ms(failures) - low))

    def longest_ms(self, failures: int) -> int:
        """The longest that this wait may be: for one who asks alone, where nothing has to be spread. `failures` from
        1."""
        return min(self.most_ms, self.first_ms << min(failures - 1, 30))


@dataclass(slots=True)
class Failures:
    """Counts failures in a row. What ran for `stable_ms` begins again from none."""

    stable_ms: int
    count: int = 0

    def ended(self, ran_ms: int) -> int:
        """It ended without being asked to, after `ran_ms`. Returns the failures in a row, this one included."""
        self.count = 1 if ran_ms >= self.stable_ms else self.count + 1
        return self.count
