"""The Work Broker (N-7 to N-11, N-17, N-18): a pure machine that matches requests to miners. This is the interface;
the machine follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cgn_node.core.commands import Command
from cgn_node.core.events import Event


@dataclass(frozen=True, slots=True)
class Settings:
    """What one node may tune; the bounds of all of it are in `limits`."""

    acknowledge_ms: int = 2_000
    quarantine_miners: int = 5
    tier_queue_depth: int = 20_000
    account_queue_depth: int = 5_000
    grace_ms: int = 10_000
    fastest_wait_ms: int = 2_000


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """One DService in one tier, now."""

    dservice: str
    tier: str
    miners: int
    slots: int
    free_slots: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """An immutable snapshot. `counters` grow only."""

    miners: int
    requests: int
    waiting: int
    recording: int
    draining: bool
    pools: tuple[PoolStatistics, ...]
    counters: Mapping[str, int] = field(default_factory=dict)


class Broker:
    """`handle` is to be called from one place only, with a time that never goes back."""

    def __init__(self, settings: Settings | None = None) -> None:
        raise NotImplementedError

    def handle(self, event: Event, now_ms: int) -> list[Command]:
        raise NotImplementedError

    def next_deadline(self) -> int | None:
        """When `Tick` is wanted, in the driver's monotonic milliseconds; None: not at all."""
        raise NotImplementedError

    def knows(self, request: str) -> bool:
        """Whether the id is live: a second `RequestArrived` for it is an error of the driver."""
        raise NotImplementedError

    def statistics(self) -> Statistics:
        raise NotImplementedError

    def check(self) -> None:
        """Asserts every invariant (costly: for tests and the simulation)."""
        raise NotImplementedError
