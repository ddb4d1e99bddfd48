"""How many wrong tries somebody has left: token buckets, bounded in number. Pure; times are milliseconds."""

from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Throttle:
    """A bucket per name: `burst` tries at once, then `per_s` each second."""

    burst: int
    per_s: float
    names_max: int
    _buckets: "OrderedDict[str, tuple[float, int]]" = field(default_factory=OrderedDict)  # name -> (tries left, at ms)

    def may_try(self, name: str, now_ms: int) -> bool:
        """Whether one more try is left; takes nothing."""
        return self._left(name, now_ms) >= 1

    def count(self, name: str, now_ms: int) -> None:
        """One try was used up."""
        left = max(0.0, self._left(name, now_ms) - 1)
        self._buckets[name] = (left, now_ms)
        self._buckets.move_to_end(name)
        if len(self._buckets) > self.names_max:
            self._buckets.popitem(last=False)

    def forgive(self, name: str, now_ms: int) -> None:
        """The last try was a right one: it counts as none."""
        self._buckets[name] = (min(float(self.burst), self._left(name, now_ms) + 1), now_ms)

    def wait_ms(self, name: str, now_ms: int) -> int:
        """Until the next try is left."""
        return max(0, round((1 - self._left(name, now_ms)) / self.per_s * 1000))

    def _left(self, name: str, now_ms: int) -> float:
        left, at_ms = self._buckets.get(name, (float(self.burst), now_ms))
        return min(float(self.burst), left + max(0, now_ms - at_ms) / 1000 * self.per_s)
