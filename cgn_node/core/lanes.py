"""Requests and how they wait.

A *lane* holds the waiting requests that any of the same miners could do: same DService, tiers, service level, policy,
and owner where tier 1 is accepted. Order is by start tag (start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM
1996, each request costing 1): first come first served within an account, turns between accounts that wait together,
and comparable between lanes. A request that comes back after a failed attempt keeps its tag, which is not later than
that of anything still waiting in its lane: it is at the head again, and several are in their old order.
"""

from heapq import heapify, heappop, heappush

from cgn_node.core.events import RequestArrived, ServiceLevel
from cgn_node.core.pools import Offer, Pool
from cgn_node.core.pricing import Terms

WAITING, ASSIGNED, RUNNING, SETTLING, RECORDING, OVER = range(6)
"""States of a request; ASSIGNED is not acknowledged yet. SETTLING: its attempt was cut, and how much of it is to be
billed is being asked. RECORDING: what is billed is known, its row is not durable yet."""

_HEAP_SLACK = 64


class Account:
    """What one account has here: `finish` is the tag after its last request's."""

    __slots__ = ("finish", "id", "kinds", "live", "waiting")

    def __init__(self, account: str) -> None:
        self.id = account
        self.live = 0
        self.waiting = 0
        self.kinds: dict[Lane, int] = {}  # waiting requests by lane
        self.finish = 0


class Request:
    """One accepted request. On record is (attempt, offer.miner) while ASSIGNED or RUNNING, and nothing otherwise."""

    __slots__ = (
        "account",
        "arrived_ms",
        "assigned_ms",
        "attempt",
        "codes",
        "cut",
        "deadline_ms",
        "factor_ppm",
        "failed",
        "grace_until_ms",
        "id",
        "key",
        "lane",
        "life_ms",
        "max_fee_nano_eur",
        "offer",
        "passed_on",
        "price_nano_eur",
        "resumable",
        "state",
        "terms",
        "verdict",
    )

    def __init__(
        self,
        arrived: RequestArrived,
        account: Account,
        lane: "Lane",
        key: tuple[int, int],
        *,
        terms: Terms,
        now_ms: int,
    ) -> None:
        self.id = arrived.request
        self.account = account
        self.lane = lane
        self.key = key
        self.terms = terms
        self.arrived_ms = now_ms
        self.deadline_ms = now_ms + arrived.deadline_ms
        self.max_fee_nano_eur = arrived.max_fee_nano_eur
        self.resumable = arrived.resumable
        self.passed_on = False
        self.price_nano_eur = 0  # what it costs as far as is known, when that is above its cap
        self.cut: Offer | None = None  # where the attempt ran that is being settled
        self.verdict = ""  # how it ends once its row is durable; empty: with the whole response
        self.state = WAITING
        self.attempt = 0
        self.assigned_ms = 0
        self.factor_ppm = 0  # of the tier of the latest attempt, by which it is priced
        self.life_ms = 0  # latest sign of life of the attempt on record
        self.offer: Offer | None = None
        self.failed: tuple[str, ...] = ()  # miners it failed on, in order
        self.codes: tuple[str, ...] = ()  # and how
        self.grace_until_ms = 0  # 0: a miner that could do it is connected

    def __repr__(self) -> str:
        where = f" on {self.offer.miner.id}" if self.offer else ""
        return f"<Request {self.id} state {self.state} attempt {self.attempt}{where}>"


class Lane:
    """Waiting requests of one kind. `retries` go first, sorted; `fresh` is a heap in which ended requests stay until
    they surface."""

    __slots__ = (
        "dservice",
        "fastest",
        "fresh",
        "level",
        "live",
        "owner",
        "pools",
        "retries",
        "starving",
        "tiers",
        "waiting_fresh",
    )

    def __init__(self, dservice: str, tiers: tuple[str, ...], owner: str, level: ServiceLevel | None, fastest: bool):
        self.dservice = dservice
        self.tiers = tiers
        self.owner = owner
        self.level = level
        self.fastest = fastest
        self.pools: tuple[Pool, ...] = ()
        self.live = 0
        self.retries: list[Request] = []
        self.fresh: list[tuple[tuple[int, int], Request]] = []
        self.waiting_fresh = 0
        self.starving: dict[Request, None] = {}  # waiting, and no connected miner could do them

    def __repr__(self) -> str:
        return f"<Lane {self.dservice} {','.join(self.tiers)} {len(self.retries)}+{self.waiting_fresh} waiting>"

    def use(self, pools: tuple[Pool, ...]) -> None:
        for pool in self.pools:
            pool.waiting.pop(self, None)
        self.pools = pools
        if self.retries or self.waiting_fresh:
            self._announce()

    def _announce(self) -> None:
        for pool in self.pools:
            pool.waiting[self] = None

    def _withdraw_if_empty(self) -> None:
        if not self.retries and not self.waiting_fresh:
            self.fresh.clear()
            for pool in self.pools:
                pool.waiting.pop(self, None)

    def push(self, request: Request) -> None:
        """A request waits from now on; one that has been tried before waits at the head."""
        if request.attempt:
            at = len(self.retries)
            while at and self.retries[at - 1].key > request.key:
                at -= 1
            self.retries.insert(at, request)
        else:
            heappush(self.fresh, (request.key, request))
            self.waiting_fresh += 1
        self._announce()

    def remove(self, request: Request) -> None:
        """A request waits no more (its state must not be WAITING any longer)."""
        if request.grace_until_ms:
            request.grace_until_ms = 0
            del self.starving[request]
        if request.attempt:
            self.retries.remove(request)
        else:
            self.waiting_fresh -= 1
            if len(self.fresh) > 2 * self.waiting_fresh + _HEAP_SLACK:
                self.fresh = [entry for entry in self.fresh if entry[1].state == WAITING and not entry[1].attempt]
                heapify(self.fresh)
        self._withdraw_if_empty()

    def head_for(self, miner_id: str) -> Request | None:
        """The first waiting request that has not failed on this miner."""
        for request in self.retries:
            if miner_id not in request.failed:
                return request
        fresh = self.fresh
        while fresh:
            request = fresh[0][1]
            if request.state == WAITING and not request.attempt:
                return request
            heappop(fresh)
        return None

    def fits(self, offer: Offer) -> bool:
        return self.level is None or offer.miner.reaches(self.level)

    def has_candidate(self, failed: tuple[str, ...]) -> bool:
        """Whether any connected miner, busy or not, could still do a request that failed on these."""
        for pool in self.pools:
            for miner_id, offer in pool.members.items():
                if miner_id not in failed and self.fits(offer):
                    return True
        return False

    def expects(self, failed: tuple[str, ...], since_ms: int) -> bool:
        """Whether a miner that could do such a request was here at `since_ms` or later, and may dial again."""
        for pool in self.pools:
            for miner_id, (left_ms, offer) in pool.away.items():
                if left_ms >= since_ms and miner_id not in failed and self.fits(offer):
                    return True
        return False
