"""What a broker says of itself: an immutable snapshot."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cgn_node.core.queues import Queues
from cgn_node.core.requests import Request


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """One DService in one tier (and of one owner in tier 1), now. `waiting`: requests that accept it."""

    dservice: str
    tier: str
    owner: str
    miners: int
    slots: int
    free_slots: int
    waiting: int
    service_us: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """`queue_depth` is by the request's preferred tier; `counters` grow only."""

    miners: int
    requests: int
    waiting: int
    recording: int
    draining: bool
    queue_depth: Mapping[str, int]
    pools: tuple[PoolStatistics, ...]
    counters: Mapping[str, int] = field(default_factory=dict)


def of_pools(queues: Queues[Request]) -> Iterator[PoolStatistics]:
    for pool in queues.pools.values():
        yield PoolStatistics(
            dservice=pool.dservice,
            tier=pool.tier,
            owner=pool.owner,
            miners=len(pool.members),
            slots=pool.slots,
            free_slots=sum(max(0, offer.miner.slots - offer.miner.busy) for offer in pool.members.values()),
            waiting=sum(len(queue.retries) + queue.waiting_fresh for queue in queues.waiting[pool]),
            service_us=pool.service_us,
        )
