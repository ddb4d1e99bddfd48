"""How requests wait.

A *queue* holds the waiting requests of one demand: any of the same miners could do them. Order is by start tag
(start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996, each request costing 1): first come first served within
an account, turns between accounts that wait together, and comparable between queues. A request that comes back after a
failed attempt keeps its tag, which is not later than that of anything still waiting in its queue: it is at the head
again, and several are in their old order.
"""

from collections import Counter
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

from cgn_node.core import limits
from cgn_node.core.demand import OWNED_TIER, Demand
from cgn_node.core.miners import Miner, Pool
from cgn_node.core.pricing import Terms

_HEAP_SLACK = 64


class Waiter(Protocol):
    """What a queue asks of what waits in it (`requests.Request`)."""

    key: tuple[int, int]
    """The start tag, and a number that no other has."""
    failed: tuple[str, ...]
    """Miners that have failed it."""
    grace_until_ms: int
    """Until when it waits for a miner that could do it; 0 while one is connected."""
    tried: int
    """Attempts begun so far."""
    waits_afresh: bool
    """It is in its queue and has never been tried; kept by the queue."""


W = TypeVar("W", bound=Waiter)


class WaitQueue(Generic[W]):
    """`retries` go first, sorted. `fresh` is a heap with lazy deletion: entries of requests that have left are dropped
    when they reach the top."""

    __slots__ = ("demand", "fresh", "level", "live", "pools", "retries", "starving", "waiting_fresh")

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.level = demand.level
        self.pools: tuple[Pool, ...] = ()
        self.live = 0  # requests of this kind, waiting or not
        self.retries: list[W] = []
        self.fresh: list[tuple[tuple[int, int], W]] = []
        self.waiting_fresh = 0
        self.starving: dict[W, None] = {}  # waiting, and no connected miner could do them

    def __repr__(self) -> str:
        return f"<WaitQueue {self.demand} {len(self.retries)}+{self.waiting_fresh} waiting>"

    def push(self, request: W) -> None:
        """A request waits from now on; one that has been tried before waits at the head."""
        if request.tried:
            at = len(self.retries)
            while at and self.retries[at - 1].key > request.key:
                at -= 1
            self.retries.insert(at, request)
        else:
            request.waits_afresh = True
            heappush(self.fresh, (request.key, request))
            self.waiting_fresh += 1

    def remove(self, request: W) -> None:
        """A request waits no more."""
        if request.grace_until_ms:
            request.grace_until_ms = 0
            del self.starving[request]
        if request.tried:
            self.retries.remove(request)
            return
        request.waits_afresh = False
        self.waiting_fresh -= 1
        if not self.waiting_fresh:
            self.fresh.clear()
        elif len(self.fresh) > 2 * self.waiting_fresh + _HEAP_SLACK:
            self.fresh = [entry for entry in self.fresh if entry[1].waits_afresh]
            heapify(self.fresh)

    def head_for(self, miner_id: str) -> W | None:
        """The first waiting request that has not failed on this miner."""
        for request in self.retries:
            if miner_id not in request.failed:
                return request
        fresh = self.fresh
        while fresh:
            request = fresh[0][1]
            if request.waits_afresh:
                return request
            heappop(fresh)
        return None

    def has_candidate(self, failed: tuple[str, ...]) -> bool:
        """Whether any connected miner, busy or not, could still do a request that failed on these."""
        anybody, allows = self.level is None and not failed, self.demand.allows
        for pool in self.pools:
            if anybody and pool.members:
                return True
            for miner_id, offer in pool.members.items():
                if miner_id not in failed and allows(offer):
                    return True
        return False

    def expects(self, failed: tuple[str, ...], since_ms: int) -> bool:
        """Whether a miner that could do such a request was here at `since_ms` or later, and may dial again."""
        allows = self.demand.allows
        for pool in self.pools:
            for miner_id, (left_ms, offer) in pool.away.items():
                if left_ms >= since_ms and miner_id not in failed and allows(offer):
                    return True
        return False


class QueueShare(Generic[W]):
    """What one account has in the queues: `finish` is the tag after its last request's."""

    __slots__ = ("finish", "id", "kinds", "live", "waiting")

    def __init__(self, account: str) -> None:
        self.id = account
        self.live = 0
        self.waiting = 0
        self.kinds: dict[WaitQueue[W], int] = {}  # waiting requests by queue
        self.finish = 0


class Queues(Generic[W]):
    """All queues by demand, the pools of miners, and which queue waits for which pool."""

    __slots__ = ("_bound", "_offered", "_terms", "by_demand", "pools", "waiting")

    def __init__(self) -> None:
        self.by_demand: dict[Demand, WaitQueue[W]] = {}
        self.pools: dict[tuple[str, str, str], Pool] = {}
        self.waiting: dict[Pool, dict[WaitQueue[W], None]] = {}
        """Queues that are not empty, by each pool that they wait for."""
        self._offered: Counter[tuple[str, str]] = Counter()  # (DService, tier) -> miners
        self._bound = limits.QUEUES
        self._terms: Terms | None = None

    def use(self, terms: Terms) -> None:
        self._terms = terms
        for queue in self.by_demand.values():
            for pool in queue.pools:
                self.waiting[pool].pop(queue, None)
            queue.pools = self._pools_for(queue.demand)
            self.announce(queue)

    def of(self, demand: Demand) -> WaitQueue[W]:
        queue = self.by_demand.get(demand)
        return self._open(demand) if queue is None else queue

    def _open(self, demand: Demand) -> WaitQueue[W]:
        if len(self.by_demand) >= self._bound:
            self._forget_idle()
        queue = self.by_demand[demand] = WaitQueue(demand)
        queue.pools = self._pools_for(demand)
        return queue

    def announce(self, queue: WaitQueue[W]) -> None:
        """A request waits in it, or none does any more: so its pools know."""
        if queue.retries or queue.waiting_fresh:
            for pool in queue.pools:
                self.waiting[pool][queue] = None
        else:
            for pool in queue.pools:
                self.waiting[pool].pop(queue, None)

    def pool(self, dservice: str, tier: str, owner: str) -> Pool:
        pool = self.pools.get((dservice, tier, owner))
        if pool is None:
            pool = self.pools[dservice, tier, owner] = Pool(dservice, tier, owner)
            self.waiting[pool] = {}
        return pool

    def _pools_for(self, demand: Demand) -> tuple[Pool, ...]:
        """In order of preference; only tiers that the DService may run on and that have a price."""
        terms = self._terms
        assert terms is not None
        allowed = terms.dservices.get(demand.dservice, ())
        pools = []
        for tier in dict.fromkeys(demand.tiers):
            if tier in allowed and tier in terms.tier_factor_ppm:
                pool = self.pool(demand.dservice, tier, demand.owner if tier == OWNED_TIER else "")
                pool.tier_factor_ppm = terms.tier_factor_ppm[tier]
                pools.append(pool)
        return tuple(pools)

    def _forget_idle(self) -> None:
        self.by_demand = {demand: queue for demand, queue in self.by_demand.items() if queue.live}
        used = {pool for queue in self.by_demand.values() for pool in queue.pools}
        self.pools = {key: pool for key, pool in self.pools.items() if pool.members or pool in used}
        self.waiting = {pool: self.waiting[pool] for pool in self.pools.values()}
        self._bound = max(limits.QUEUES, 2 * len(self.by_demand))

    def join(self, miner: Miner, dservices: tuple[str, ...]) -> None:
        for dservice in dict.fromkeys(dservices):
            self._offered[dservice, miner.tier] += 1
            miner.join(self.pool(dservice, miner.tier, miner.owner))

    def leave(self, miner: Miner) -> None:
        for dservice in miner.offers:
            self._offered[dservice, miner.tier] -= 1

    def waiting_for(self, miner: Miner) -> list[WaitQueue[W]]:
        """Those that wait for any of its offers."""
        return list(dict.fromkeys(queue for offer in miner.offers.values() for queue in self.waiting[offer.pool]))

    def excluding(self, queue: WaitQueue[W]) -> str:
        """The one constraint that excludes every connected miner."""
        demand = queue.demand
        for pool in queue.pools:
            if pool.members:
                return demand.excludes(next(iter(pool.members.values())))
        offered = [tier for (dservice, tier), miners in self._offered.items() if dservice == demand.dservice and miners]
        if not offered:
            return "dservice"
        return "ownership" if OWNED_TIER in demand.tiers and OWNED_TIER in offered else "tier"
