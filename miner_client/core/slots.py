"""How many requests run at once (M-6): the configured share of the machine, and what the node is told about it."""

from dataclasses import dataclass


def from_share(threads: int, memory_bytes: int, share_ppm: int, request_memory_bytes: int) -> int:
    """Slots for this share of the machine: one per thread, as far as memory allows; at least one."""
    by_threads = threads * share_ppm // 1_000_000
    by_memory = memory_bytes * share_ppm // 1_000_000 // max(1, request_memory_bytes)
    return max(1, min(by_threads, by_memory))


@dataclass(slots=True)
class Slots:
    """Free slots, and whether new work is taken. The decider owns the count: `take` reserves in the step that
    decides."""

    total: int
    taken: int = 0
    is_open: bool = True

    def take(self) -> bool:
        """Reserves a slot; False when none is free or no work is taken."""
        if not self.is_open or self.taken >= self.total:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        assert self.taken > 0
        self.taken -= 1

    @property
    def offered(self) -> int:
        """What SLOTS says: how many may run at once from now on."""
        return self.total if self.is_open else 0
