"""The Work Broker (N-7 to N-11, N-17, N-18): a pure machine that gives requests to miners.

Events in, commands out; no clock, randomness, waiting, I/O or logging. Deliberately elsewhere: payload bytes and
credit (the driver), sessions and admission (the work endpoint), who pays whom (ledger). Not here yet, and what they
will
hang on: racing (N-12) makes the attempt on record a small set, each with its number; affinity (N-13) is one more
thing a lane's choice looks at first.

Rules that the tests and the simulation hold it to:

* an attempt is on record from `Assign` until it finishes, fails or is cancelled; a report counts only when request,
  attempt and miner are the ones on record;
* the slot is reserved in the step that picks it, and freed in the step that takes the attempt off the record;
* no request waits while a slot is free that it would take;
* at most one `RecordRow` per request, for the attempt whose result is used, or for what has left of a response that
  its DApp, its price cap or its deadline cut; other work that is cancelled or fails is not billed;
* no fee is above the request's cap, and nothing is passed on that the cap does not pay for;
* every accepted request ends in exactly one `Release` or `Refuse`.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any

from cgn_sdk.protocol.errors import CLOSE_DRAINING, CLOSE_REFUSED, CLOSE_REPLACED, CLOSE_TOO_LATE

from cgn_node.core import events, limits
from cgn_node.core.commands import (
    Assign,
    CancelAttempt,
    CloseMiner,
    Command,
    Drained,
    RecordRow,
    Refuse,
    Release,
    ReportError,
)
from cgn_node.core.events import Event
from cgn_node.core.lanes import ASSIGNED, OVER, RECORDING, RUNNING, SETTLING, WAITING, Account, Lane, Request
from cgn_node.core.pools import Miner, Offer, Pool, fitness_fault
from cgn_node.core.pricing import Terms, Usage, clip, cpu_budget_ns, fee_nano_eur

_DEADLINE_SLACK = 1_024
_OWNED_TIER = "1"
_DSERVICE_FAULT = "dservice_protocol"
"""The code of an attempt whose answer breaks HTTP: the DService's own fault, wherever it runs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one node may tune; reasons are in `limits`."""

    acknowledge_ms: int = limits.ACKNOWLEDGE_MS
    silence_ms: int = limits.SILENCE_MS
    quarantine_miners: int = limits.QUARANTINE_MINERS
    tier_queue_depth: int = limits.TIER_QUEUE_DEPTH
    account_queue_depth: int = limits.ACCOUNT_QUEUE_DEPTH
    account_kinds: int = limits.ACCOUNT_KINDS
    grace_ms: int = limits.GRACE_MS
    fastest_wait_ms: int = limits.FASTEST_WAIT_MS


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
    """An immutable snapshot. `queue_depth` is by the request's preferred tier; `counters` grow only."""

    miners: int
    requests: int
    waiting: int
    recording: int
    draining: bool
    queue_depth: Mapping[str, int]
    pools: tuple[PoolStatistics, ...]
    counters: Mapping[str, int] = field(default_factory=dict)


class Broker:
    """`handle` is to be called from one place only, with a time that never goes back."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._now = 0
        self._terms: Terms | None = None
        self._miners: dict[str, Miner] = {}
        self._pools: dict[tuple[str, str, str], Pool] = {}
        self._offered: Counter[tuple[str, str]] = Counter()  # (DService, tier) -> miners
        self._lanes: dict[tuple[Any, ...], Lane] = {}
        self._lanes_bound = limits.LANES
        self._accounts: dict[str, Account] = {}
        self._requests: dict[str, Request] = {}
        self._depth: Counter[str] = Counter()
        self._waiting = 0
        self._recording = 0
        self._arrivals = 0
        self._virtual = 0  # start tag of the latest request to be assigned
        self._acks: deque[tuple[int, Request, int]] = deque()
        self._deadlines: list[tuple[int, int, Request]] = []
        self._timers: list[tuple[int, int, Request, int]] = []  # attempt 0: while it waits
        self._timer_count = 0
        self._draining = False
        self._drained = False
        self._counters: Counter[str] = Counter()
        self._handlers: dict[type, Callable[[Any, list[Command]], None]] = {
            events.PolicyChanged: self._on_policy,
            events.MinerJoined: self._on_joined,
            events.MinerLeft: self._on_left,
            events.SlotsChanged: self._on_slots,
            events.RequestArrived: self._on_arrived,
            events.Acknowledged: self._on_acknowledged,
            events.Progressed: self._on_progressed,
            events.ResponsePassedOn: self._on_passed_on,
            events.AttemptFinished: self._on_finished,
            events.AttemptFailed: self._on_failed,
            events.AttemptCut: self._on_cut,
            events.RowStored: self._on_stored,
            events.RowRefused: self._on_row_refused,
            events.ClientGone: self._on_client_gone,
            events.Drain: self._on_drain,
            events.Tick: self._on_tick,
        }

    # ------------------------------------------------------------------------------------------------ the four doors

    def handle(self, event: Event, now_ms: int) -> list[Command]:
        """One thing happened at `now_ms` (monotonic); returns what to do about it, in order."""
        assert now_ms >= self._now, "time went back"
        self._now = now_ms
        out: list[Command] = []
        self._handlers[type(event)](event, out)
        if self._draining:
            self._let_go(out)
        return out

    def next_deadline(self) -> int | None:
        """When `Tick` is wanted, in the driver's monotonic milliseconds; None: not at all."""
        acks, deadlines, timers = self._acks, self._deadlines, self._timers
        while acks and not _on_record(acks[0]):
            acks.popleft()
        while timers and not _still_counts(timers[0]):
            heappop(timers)
        # Deadlines of requests that have ended stay in the heap: a tick too many now and then is cheaper than a pop
        # each. The driver asks after every event, so this builds no list.
        due = acks[0][0] if acks else None
        if deadlines and (due is None or deadlines[0][0] < due):
            due = deadlines[0][0]
        if timers and (due is None or timers[0][0] < due):
            due = timers[0][0]
        return due

    def statistics(self) -> Statistics:
        pools = tuple(
            PoolStatistics(
                dservice=pool.dservice,
                tier=pool.tier,
                owner=pool.owner,
                miners=len(pool.members),
                slots=pool.slots,
                free_slots=sum(max(0, offer.miner.slots - offer.miner.busy) for offer in pool.members.values()),
                waiting=sum(len(lane.retries) + lane.waiting_fresh for lane in pool.waiting),
                service_us=pool.service_us,
            )
            for pool in self._pools.values()
        )
        return Statistics(
            miners=len(self._miners),
            requests=len(self._requests),
            waiting=self._waiting,
            recording=self._recording,
            draining=self._draining,
            queue_depth={tier: depth for tier, depth in sorted(self._depth.items()) if depth},
            pools=pools,
            counters=dict(sorted(self._counters.items())),
        )

    # ------------------------------------------------------------------------------------------------ policy, miners

    def _on_policy(self, event: events.PolicyChanged, out: list[Command]) -> None:
        if self._terms is not None and event.terms.version <= self._terms.version:
            return
        self._terms = event.terms
        for lane in self._lanes.values():
            lane.use(self._pools_for(lane))
            self._end_grace(lane)
        for miner in list(self._miners.values()):
            self._match(miner, out)
        self._look_after([lane for lane in self._lanes.values() if lane.retries or lane.waiting_fresh])

    def _on_joined(self, event: events.MinerJoined, out: list[Command]) -> None:
        before = self._miners.get(event.miner)
        if before is not None and before.tunnel >= event.tunnel:
            return
        if before is not None:
            out.append(CloseMiner(before.id, before.tunnel, CLOSE_REPLACED, "the same miner connected again"))
            self._lose(before, "replaced", out)
        fault = fitness_fault(event)
        if fault:
            out.append(CloseMiner(event.miner, event.tunnel, CLOSE_REFUSED, fault))
            return
        miner = Miner(event)
        self._miners[miner.id] = miner
        for dservice in dict.fromkeys(event.dservices):
            self._offered[dservice, miner.tier] += 1
            miner.join(self._pool(dservice, miner.tier, miner.owner))
        for offer in miner.offers.values():
            for lane in offer.pool.waiting:
                if lane.starving:
                    self._end_grace(lane)
        self._match(miner, out)

    def _on_left(self, event: events.MinerLeft, out: list[Command]) -> None:
        miner = self._miners.get(event.miner)
        if miner is not None and miner.tunnel == event.tunnel:
            self._lose(miner, "disconnected", out)

    def _on_slots(self, event: events.SlotsChanged, out: list[Command]) -> None:
        miner = self._miners.get(event.miner)
        if miner is not None and miner.tunnel == event.tunnel:
            miner.change_slots(event.slots)
            self._match(miner, out)

    def _lose(self, miner: Miner, code: str, out: list[Command]) -> None:
        """The miner is gone: its requests are tried elsewhere, in their old order (N-10)."""
        del self._miners[miner.id]
        miner.leave(self._now, self._now - self._settings.grace_ms)
        for dservice in miner.offers:
            self._offered[dservice, miner.tier] -= 1
        for request in sorted(miner.running, key=_key):
            request.offer = None
            self._try_again(request, miner.id, code, out)
        miner.running.clear()
        self._look_after([lane for offer in miner.offers.values() for lane in offer.pool.waiting])

    def _pool(self, dservice: str, tier: str, owner: str) -> Pool:
        pool = self._pools.get((dservice, tier, owner))
        if pool is None:
            pool = self._pools[dservice, tier, owner] = Pool(dservice, tier, owner)
        return pool

    # ------------------------------------------------------------------------------------------------ arrival

    def _on_arrived(self, event: events.RequestArrived, out: list[Command]) -> None:
        if event.request in self._requests:
            self._counters["arrivals_twice"] += 1  # an answer would end the one that is under way
            return
        unserved = self._refuse_unserved(event)
        if unserved is not None:
            out.append(unserved)
            return
        terms = self._terms
        assert terms is not None
        lane = self._lane_of(event)
        behind = lane.waiting_fresh or (lane.fastest and lane.retries)
        offer = None if behind else self._choose(lane, None)
        account = self._accounts.get(event.account)
        if offer is None:
            refusal = self._refuse_to_queue(event, lane, account)
            if refusal is not None:
                out.append(refusal)
                return
        if account is None:
            account = self._accounts[event.account] = Account(event.account)
        tag = account.finish if account.finish > self._virtual else self._virtual
        account.finish = tag + 1
        account.live += 1
        lane.live += 1
        self._arrivals += 1
        request = Request(event, account, lane, (tag, self._arrivals), terms=terms, now_ms=self._now)
        self._requests[event.request] = request
        deadlines = self._deadlines
        heappush(deadlines, (request.deadline_ms, self._arrivals, request))
        if len(deadlines) > 2 * len(self._requests) + _DEADLINE_SLACK:
            self._deadlines = [entry for entry in deadlines if entry[2].state < SETTLING]
            heapify(self._deadlines)
        if offer is None:
            self._enqueue(request)
        else:
            self._assign(request, offer, out)

    def refusal_of(self, event: events.RequestArrived) -> Refuse | None:
        """What this request would be refused with at once if it arrived now, so that its body need not be read first.
        None: it would be taken, or a full queue or a busy miner would decide."""
        unserved = self._refuse_unserved(event)
        if unserved is not None:
            return unserved
        lane = self._lane_of(event)
        return None if lane.has_candidate(()) else self._refuse_unservable(event, lane)

    def _refuse_unserved(self, event: events.RequestArrived) -> Refuse | None:
        terms = self._terms
        if self._draining or terms is None:
            return Refuse(event.request, "draining" if self._draining else "central_unreachable")
        if event.dservice not in terms.dservices:
            return Refuse(event.request, "unknown_dservice", "dservice")
        if event.max_fee_nano_eur is not None and event.max_fee_nano_eur < terms.prices.minimum_nano_eur:
            least = terms.prices.minimum_nano_eur
            return Refuse(event.request, "price_cap", "max_fee", price_nano_eur=least)
        return None

    def _refuse_unservable(self, event: events.RequestArrived, lane: Lane) -> Refuse:
        return Refuse(event.request, "no_miner", self._excluding(lane), limits.RETRY_AFTER_MIN_MS)

    def _lane_of(self, event: events.RequestArrived) -> Lane:
        owner = event.account if _OWNED_TIER in event.tiers else ""
        lane = self._lanes.get((event.dservice, event.tiers, owner, event.level, event.match))
        return self._open_lane(event, owner) if lane is None else lane

    def _open_lane(self, event: events.RequestArrived, owner: str) -> Lane:
        if len(self._lanes) >= self._lanes_bound:
            self._forget_idle()
        lane = Lane(event.dservice, event.tiers, owner, event.level, event.match == "fastest")
        lane.use(self._pools_for(lane))
        self._lanes[event.dservice, event.tiers, owner, event.level, event.match] = lane
        return lane

    def _pools_for(self, lane: Lane) -> tuple[Pool, ...]:
        """In order of preference; only tiers that the DService may run on and that have a price."""
        terms = self._terms
        assert terms is not None
        allowed = terms.dservices.get(lane.dservice, ())
        pools = []
        for tier in dict.fromkeys(lane.tiers):
            if tier in allowed and tier in terms.tier_factor_ppm:
                pool = self._pool(lane.dservice, tier, lane.owner if tier == _OWNED_TIER else "")
                pool.tier_factor_ppm = terms.tier_factor_ppm[tier]
                pools.append(pool)
        return tuple(pools)

    def _forget_idle(self) -> None:
        self._lanes = {key: lane for key, lane in self._lanes.items() if lane.live}
        used = {id(pool) for lane in self._lanes.values() for pool in lane.pools}
        self._pools = {key: pool for key, pool in self._pools.items() if pool.members or id(pool) in used}
        self._lanes_bound = max(limits.LANES, 2 * len(self._lanes))

    def _refuse_to_queue(self, event: events.RequestArrived, lane: Lane, account: Account | None) -> Refuse | None:
        if not lane.has_candidate(()):
            return self._refuse_unservable(event, lane)
        depth = self._depth[event.tiers[0]]
        of_account = account.waiting if account is not None else 0
        settings = self._settings
        whose = "tier_queue" if depth >= settings.tier_queue_depth else ""
        if of_account >= settings.account_queue_depth:
            whose = "account_queue"
        elif account is not None and lane not in account.kinds and len(account.kinds) >= settings.account_kinds:
            whose = "account_kinds"
        if not whose:
            return None
        slots = sum(pool.slots for pool in lane.pools) or 1
        service_us = max(pool.service_us for pool in lane.pools) or limits.PRIOR_SERVICE_US
        wait_ms = max(depth, of_account) * service_us // (1_000 * slots)
        wait_ms = max(limits.RETRY_AFTER_MIN_MS, min(wait_ms, limits.RETRY_AFTER_MAX_MS))
        return Refuse(event.request, "overloaded", whose, wait_ms)

    def _excluding(self, lane: Lane) -> str:
        """The one constraint that excludes every connected miner."""
        offered = [tier for (dservice, tier), miners in self._offered.items() if dservice == lane.dservice and miners]
        if not offered:
            return "dservice"
        if any(pool.members for pool in lane.pools):
            return "service_level"
        return "ownership" if _OWNED_TIER in lane.tiers and _OWNED_TIER in offered else "tier"

    # ------------------------------------------------------------------------------------------------ matching

    def _choose(self, lane: Lane, request: Request | None) -> Offer | None:
        """The best free miner for a request of this lane, which has failed on some already; None: let it wait."""
        if lane.fastest:
            return self._choose_fastest(lane, request)
        if lane.level is None and (request is None or not request.failed):
            for pool in lane.pools:
                if pool.free.mask:
                    return pool.free.first()
            return None
        failed = request.failed if request is not None else ()
        for pool in lane.pools:
            for offer in pool.free:
                if offer.miner.id not in failed and lane.fits(offer):
                    return offer
        return None

    def _choose_fastest(self, lane: Lane, request: Request | None) -> Offer | None:
        """Of all accepted tiers the miner that finishes first, be it that it must finish something else before; then
        the request is held back for it, for a little while (N-8)."""
        failed = request.failed if request is not None else ()
        best: Offer | None = None
        best_us = 0
        for pool in lane.pools:
            for offer in pool.free:
                if offer.miner.id not in failed and lane.fits(offer):
                    expected_us = offer.expected_us()
                    if best is None or expected_us < best_us:
                        best, best_us = offer, expected_us
                    break
        if best is None:
            return None
        if request is not None and self._now >= request.arrived_ms + self._settings.fastest_wait_ms:
            return best
        ahead = len(lane.retries) + lane.waiting_fresh
        looked = 0
        for pool in lane.pools:
            for offer in pool.full:
                looked += 1
                expected_us = offer.expected_us()
                if looked > limits.FASTEST_LOOK or expected_us >= best_us:
                    break
                if offer.miner.id in failed or not lane.fits(offer) or not offer.miner.running:
                    continue
                oldest = next(iter(offer.miner.running))
                free_in_us = max(0, offer.service_us - (self._now - oldest.assigned_ms) * 1_000)
                free_in_us += ahead * offer.service_us // max(1, offer.miner.slots)
                if free_in_us + expected_us < best_us and free_in_us < self._settings.fastest_wait_ms * 1_000:
                    return None
        return best

    def _assign(self, request: Request, offer: Offer, out: list[Command]) -> None:
        """Puts a new attempt on record and reserves its slot."""
        offer.miner.take(request, self._now)
        request.offer = offer
        request.attempt += 1
        request.state = ASSIGNED
        request.assigned_ms = request.life_ms = self._now
        tag = request.key[0]
        self._virtual = max(self._virtual, tag)
        acks = self._acks
        while acks and not _on_record(acks[0]):
            acks.popleft()
        acks.append((self._now + self._settings.acknowledge_ms, request, request.attempt))
        factor_ppm = request.factor_ppm = _factor_ppm(request.terms, offer)
        budget_ns = None
        if request.max_fee_nano_eur is not None and request.attempt == 1:
            terms, fitness = request.terms, offer.miner.fitness
            budget_ns = cpu_budget_ns(request.max_fee_nano_eur, fitness, terms.prices, factor_ppm)
        out.append(Assign(request.id, request.attempt, offer.miner.id, budget_ns))

    def _enqueue(self, request: Request) -> None:
        request.state = WAITING
        request.lane.push(request)
        account = request.account
        account.waiting += 1
        account.kinds[request.lane] = account.kinds.get(request.lane, 0) + 1
        self._depth[request.lane.tiers[0]] += 1
        self._waiting += 1
        if request.lane.fastest:
            self._set_timer(request.arrived_ms + self._settings.fastest_wait_ms, request)

    def _dequeue(self, request: Request, state: int) -> None:
        request.state = state
        request.lane.remove(request)
        account = request.account
        account.waiting -= 1
        account.kinds[request.lane] -= 1
        if not account.kinds[request.lane]:
            del account.kinds[request.lane]
        self._depth[request.lane.tiers[0]] -= 1
        self._waiting -= 1
        if request.lane.fastest:  # it may have been held back before a free miner, and others behind it
            head = request.lane.head_for("")
            if head is not None:
                self._set_timer(self._now, head)

    def _match(self, miner: Miner, out: list[Command]) -> None:
        """Fills the miner's free slots with what has waited longest among what it fits (N-9)."""
        held_back: list[Lane] = []
        while self._waiting and miner.busy < miner.slots:
            first: Request | None = None
            for offer in miner.offers.values():
                for lane in offer.pool.waiting:
                    if lane in held_back or not lane.fits(offer):
                        continue
                    head = lane.head_for(miner.id)
                    if head is not None and (first is None or head.key < first.key):
                        first = head
            if first is None:
                return
            offer = miner.offers[first.lane.dservice]
            may_wait = first.lane.fastest and self._now < first.arrived_ms + self._settings.fastest_wait_ms
            if may_wait and self._choose_fastest(first.lane, first) is not offer:
                held_back.append(first.lane)
            else:
                self._dequeue(first, ASSIGNED)
                self._assign(first, offer, out)

    def _release(self, request: Request) -> Miner:
        """Takes the attempt off the record and frees its slot. The caller matches the miner when it is done."""
        offer = request.offer
        assert offer is not None
        offer.miner.give_back(request, self._now)
        request.offer = None
        return offer.miner

    # ------------------------------------------------------------------------------------------------ reports

    def _on_record(self, event: Any) -> Request | None:
        request = self._requests.get(event.request)
        if request is None or request.offer is None or request.attempt != event.attempt:
            self._counters["reports_off_record"] += 1
            return None
        if request.offer.miner.id != event.miner:
            self._counters["reports_off_record"] += 1
            return None
        return request

    def _on_acknowledged(self, event: events.Acknowledged, out: list[Command]) -> None:
        request = self._on_record(event)
        if request is not None:
            request.state = RUNNING
            request.life_ms = self._now

    def _on_progressed(self, event: events.Progressed, out: list[Command]) -> None:
        """A sign of life; and the moment in which a cap that cannot be kept any more ends the work (N-22)."""
        request = self._on_record(event)
        if request is None:
            return
        request.state = RUNNING
        request.life_ms = self._now
        if request.max_fee_nano_eur is None:
            return
        offer = request.offer
        assert offer is not None
        ceiling = request.terms.cpus_milli.get(request.lane.dservice, 0)
        usage, _ = clip(event.claimed, event.measured, offer.miner.fitness, ceiling)
        price = _price(request, offer, usage)
        if price > request.max_fee_nano_eur:
            request.price_nano_eur = price
            carried = Usage(request_bytes=usage.request_bytes, response_bytes=usage.response_bytes)
            if _price(request, offer, carried) <= request.max_fee_nano_eur:
                # By the miner's word, who is paid for an answer that nobody has: others come first until it gives one.
                offer.failures += 1
                self._counters["stopped_unsigned"] += 1
                out.append(ReportError("stopped_unsigned", request.id, (offer.miner.id,), ("price_cap",)))
            self._match(self._settle(request, "price_cap", out), out)

    def _on_passed_on(self, event: events.ResponsePassedOn, out: list[Command]) -> None:
        request = self._on_record(event)
        if request is not None:
            request.state = RUNNING
            request.life_ms = self._now
            request.passed_on = True

    def _on_finished(self, event: events.AttemptFinished, out: list[Command]) -> None:
        request = self._on_record(event)
        if request is None:
            return
        offer = request.offer
        assert offer is not None
        offer.learn(event.measured.wall_ns // 1_000)
        usage, clipped, impossible = self._billable(request, offer, event)
        miner = self._release(request)
        self._recording += 1
        self._record(request, offer, usage, clipped, impossible, out)
        if self._waiting:
            self._match(miner, out)

    def _on_cut(self, event: events.AttemptCut, out: list[Command]) -> None:
        request = self._requests.get(event.request)
        offer = request.cut if request is not None else None
        if request is None or offer is None or (request.attempt, offer.miner.id) != (event.attempt, event.miner):
            self._counters["reports_off_record"] += 1
            return
        request.cut = None
        usage, clipped, impossible = self._billable(request, offer, event)
        self._record(request, offer, usage, clipped, impossible, out)

    def _billable(
        self, request: Request, offer: Offer, event: events.AttemptFinished | events.AttemptCut
    ) -> tuple[Usage, tuple[str, ...], tuple[str, ...]]:
        """What of a claim is billed, signed or not; which members were cut; and which of them its machine cannot have
        used, as far as Central knows it or, where it does not, as the miner has said itself."""
        miner = offer.miner
        ceiling = request.terms.cpus_milli.get(request.lane.dservice, 0)
        usage, cut = clip(event.claimed, event.measured, miner.fitness, ceiling)
        usage, shared = miner.bill(usage, self._now)
        if not cut and not shared:
            return usage, (), ()
        _, impossible = clip(event.claimed, event.measured, miner.machine)
        if miner.is_registered:  # what all its requests together can have used is known, too
            impossible += tuple(name for name in shared if name not in impossible)
        return usage, (*cut, *(name for name in shared if name not in cut)), impossible

    def _record(
        self,
        request: Request,
        offer: Offer,
        usage: Usage,
        clipped: tuple[str, ...],
        impossible: tuple[str, ...],
        out: list[Command],
    ) -> None:
        """Prices what is billed, at most at the cap: whoever sets one that the work passes pays the cap for it. A miner
        is reported for what its machine cannot have used, not for what nobody has registered of it."""
        miner = offer.miner
        fee, cap = _price(request, offer, usage), request.max_fee_nano_eur
        if cap is not None and fee > cap:
            request.price_nano_eur = max(fee, request.price_nano_eur)
            request.verdict = request.verdict or "price_cap"
            fee = cap
        if impossible:
            self._counters["claims_clipped"] += 1
            out.append(ReportError("clipped", request.id, (miner.id,), impossible))
        request.state = RECORDING
        out.append(
            RecordRow(
                request.id,
                request.attempt,
                miner.id,
                miner.tier,
                miner.contributor,
                usage,
                clipped,
                fee,
                request.terms.version,
                request.verdict or "whole",
            )
        )

    def _settle(self, request: Request, verdict: str, out: list[Command]) -> Miner:
        """Stops the attempt on record, to bill what it has used and passed on; returns its miner, which has to be
        matched."""
        request.cut = request.offer
        request.verdict = verdict
        miner = self._release(request)
        request.state = SETTLING
        self._recording += 1
        out.append(CancelAttempt(request.id, request.attempt, miner.id, verdict, settle=True))
        return miner

    def _on_failed(self, event: events.AttemptFailed, out: list[Command]) -> None:
        request = self._on_record(event)
        if request is None:
            return
        offer = request.offer
        assert offer is not None
        cap, estimate = request.max_fee_nano_eur, event.estimate
        if cap is not None and estimate is not None and (price := _price(request, offer, estimate)) > cap:
            miner = self._release(request)
            request.price_nano_eur = price
            self._refuse(request, "price_cap", "estimate", out)
        else:
            offer.failures += 1
            miner = self._release(request)
            self._try_again(request, miner.id, event.code, out)
        self._match(miner, out)

    def _try_again(self, request: Request, miner_id: str, code: str, out: list[Command]) -> None:
        """After a failed attempt: another miner, now or from the head of the queue; or the end (N-11)."""
        request.failed += (miner_id,)
        request.codes += (code,)
        self._counters["attempts_failed"] += 1
        if len(request.failed) >= self._settings.quarantine_miners:
            self._quarantine(request, out)
        elif self._now >= request.deadline_ms:
            self._refuse(request, "deadline", "", out)
        elif request.passed_on and not request.resumable:
            self._refuse(request, "bad_gateway", "not_resumable", out)
        elif request.codes.count(_DSERVICE_FAULT) >= limits.DSERVICE_FAULTS_MAX:
            self._unblame(request)
            self._refuse(request, "bad_gateway", "dservice", out)
        else:
            behind = request.lane.fastest and request.lane.retries  # held back: they go first
            offer = None if behind else self._choose(request.lane, request)
            if offer is not None and request.lane.retries:  # who waits for the same slot may come before it
                self._enqueue(request)
                self._match(offer.miner, out)
            elif offer is not None:
                self._assign(request, offer, out)
            elif code == _DSERVICE_FAULT:
                self._refuse(request, "bad_gateway", "dservice", out)
            elif self._may_be_served(request):
                self._enqueue(request)
                self._start_grace(request)
            else:
                self._refuse(request, "bad_gateway", "failed", out)

    def _may_be_served(self, request: Request) -> bool:
        """Whether there is, or may come, a miner for another try: waiting for nobody helps nobody."""
        lane, since_ms = request.lane, self._now - self._settings.grace_ms
        return lane.has_candidate(request.failed) or lane.expects(request.failed, since_ms)

    def _unblame(self, request: Request) -> None:
        """The request or its DService is the likely cause: its miners are not ranked lower for it."""
        for miner_id in request.failed:
            miner = self._miners.get(miner_id)
            offer = miner.offers.get(request.lane.dservice) if miner is not None else None
            if offer is not None and offer.failures:
                offer.failures -= 1
                offer.place(turn=False)

    def _quarantine(self, request: Request, out: list[Command]) -> None:
        self._unblame(request)
        out.append(ReportError("quarantined", request.id, request.failed, request.codes))
        self._refuse(request, "quarantined", "", out)

    # ------------------------------------------------------------------------------------------------ ends

    def _end(self, request: Request) -> None:
        request.state = OVER
        del self._requests[request.id]
        request.lane.live -= 1
        account = request.account
        account.live -= 1
        if not account.live:
            del self._accounts[account.id]

    def _refuse(self, request: Request, code: str, constraint: str, out: list[Command]) -> None:
        self._end(request)
        self._counters["refused_" + code] += 1
        out.append(Refuse(request.id, code, constraint, price_nano_eur=request.price_nano_eur))

    def _on_stored(self, event: events.RowStored, out: list[Command]) -> None:
        request = self._requests.get(event.request)
        if request is not None and request.state == RECORDING:
            self._recording -= 1
            if request.verdict:
                self._refuse(request, request.verdict, "max_fee" if request.verdict == "price_cap" else "", out)
                return
            self._end(request)
            self._counters["answered"] += 1
            out.append(Release(request.id))

    def _on_row_refused(self, event: events.RowRefused, out: list[Command]) -> None:
        request = self._requests.get(event.request)
        if request is not None and request.state == RECORDING:
            self._recording -= 1
            self._refuse(request, "ledger_full", "", out)

    def _on_client_gone(self, event: events.ClientGone, out: list[Command]) -> None:
        """Nothing has left: cancelled, not billed. In the middle of the response: what has left is billed. After the
        result: the row is on its way and the work was done (N-17)."""
        request = self._requests.get(event.request)
        if request is None or request.state >= SETTLING:
            return
        miner = self._cut_short(request, "cancelled", out)
        if miner is not None:
            self._match(miner, out)

    def _cut_short(self, request: Request, code: str, out: list[Command]) -> Miner | None:
        """Ends a request whose response nobody waits for any longer. The caller matches the miner."""
        if request.passed_on and request.offer is not None:
            return self._settle(request, code, out)
        if code == "deadline" and request.offer is not None:
            request.offer.failures += 1  # it may say for ever that it works on it: others come first until it succeeds
        miner = self._stop(request, code, out)
        self._refuse(request, code, "", out)
        return miner

    def _stop(self, request: Request, code: str, out: list[Command]) -> Miner | None:
        """Takes the request out of its queue or off its miner; returns that miner."""
        if request.offer is None:
            self._dequeue(request, OVER)
            return None
        attempt, miner = request.attempt, self._release(request)
        out.append(CancelAttempt(request.id, attempt, miner.id, code))
        return miner

    # ------------------------------------------------------------------------------------------------ time

    def _on_tick(self, event: events.Tick, out: list[Command]) -> None:
        now = self._now
        acks, deadlines, timers = self._acks, self._deadlines, self._timers
        freed: dict[str, Miner] = {}
        while deadlines and (deadlines[0][0] <= now or deadlines[0][2].state >= SETTLING):
            request = heappop(deadlines)[2]
            if request.state < SETTLING:
                miner = self._cut_short(request, "deadline", out)
                if miner is not None:
                    freed[miner.id] = miner
        while acks and (acks[0][0] <= now or not _on_record(acks[0])):
            entry = acks.popleft()
            if _on_record(entry):
                self._look_at_acknowledgement(entry[1], out)
        for miner in freed.values():
            if self._miners.get(miner.id) is miner:
                self._match(miner, out)
        while timers and timers[0][0] <= now:
            entry_of_timer = heappop(timers)
            if _still_counts(entry_of_timer):
                request = entry_of_timer[2]
                if request.state == WAITING:
                    self._reconsider(request, out)
                else:
                    self._look_for_life(request, out)

    def _set_timer(self, at_ms: int, request: Request, attempt: int = 0) -> None:
        self._timer_count += 1
        heappush(self._timers, (at_ms, self._timer_count, request, attempt))

    def _look_at_acknowledgement(self, request: Request, out: list[Command]) -> None:
        """Its time is up: the miner is down (N-10), or it has acknowledged and is watched from now on."""
        if request.state == RUNNING:
            self._look_for_life(request, out)
        else:
            self._give_up(request, "not_acknowledged", "no acknowledgement", out)

    def _look_for_life(self, request: Request, out: list[Command]) -> None:
        """Work may take its whole deadline as long as its miner says that it works on it; a miner that says nothing
        for so long is down (N-10)."""
        due_ms = request.life_ms + self._settings.silence_ms
        if self._now < due_ms:
            self._set_timer(due_ms, request, request.attempt)
        else:
            self._give_up(request, "silent", "no sign of life for a request", out)

    def _give_up(self, request: Request, code: str, reason: str, out: list[Command]) -> None:
        assert request.offer is not None
        miner = request.offer.miner
        self._counters["miners_silent"] += 1
        out.append(CloseMiner(miner.id, miner.tunnel, CLOSE_TOO_LATE, reason))
        self._lose(miner, code, out)

    def _look_after(self, lanes: list[Lane]) -> None:
        """Starts the grace of every waiting request that no connected miner can do any more."""
        for lane in dict.fromkeys(lanes):
            for request in lane.retries:
                self._start_grace(request)
            if lane.waiting_fresh and not lane.has_candidate(()):
                for _, request in sorted(lane.fresh):
                    if request.state == WAITING and not request.attempt:
                        self._start_grace(request)

    def _end_grace(self, lane: Lane) -> None:
        """Miners have come: who has found one that could do it starts anew when that one goes."""
        for request in list(lane.starving):
            if lane.has_candidate(request.failed):
                request.grace_until_ms = 0
                del lane.starving[request]

    def _start_grace(self, request: Request) -> None:
        if not request.grace_until_ms and not request.lane.has_candidate(request.failed):
            request.grace_until_ms = self._now + self._settings.grace_ms
            request.lane.starving[request] = None
            self._set_timer(request.grace_until_ms, request)

    def _reconsider(self, target: Request, out: list[Command]) -> None:
        """A timer of a request came: its time to be held back is over, or its grace."""
        if target.state != WAITING:
            return
        lane = target.lane
        while target.state == WAITING and (offer := self._choose(lane, target)) is not None:
            head = lane.head_for(offer.miner.id) or target  # what is before it in the queue goes before it
            self._dequeue(head, ASSIGNED)
            self._assign(head, offer, out)
        if target.state == WAITING and 0 < target.grace_until_ms <= self._now:
            self._dequeue(target, OVER)
            code, why = ("bad_gateway", "failed") if target.failed else ("no_miner", self._excluding(lane))
            self._refuse(target, code, why, out)

    # ------------------------------------------------------------------------------------------------ drain

    def _on_drain(self, event: events.Drain, out: list[Command]) -> None:
        self._draining = True

    def _let_go(self, out: list[Command]) -> None:
        """While draining, after each event. Miners stay as long as any request may need one of them for another try."""
        if len(self._requests) > self._recording:
            return
        for miner in list(self._miners.values()):
            out.append(CloseMiner(miner.id, miner.tunnel, CLOSE_DRAINING, "the node is about to stop"))
            self._lose(miner, "draining", out)
        if not self._requests and not self._drained:
            self._drained = True
            out.append(Drained())

    # ------------------------------------------------------------------------------------------------ invariants

    def check(self) -> None:
        """Asserts every invariant (costly: for tests and the simulation)."""
        self._check_requests()
        self._check_miners()
        self._check_lanes()

    def _check_requests(self) -> None:
        states = Counter(request.state for request in self._requests.values())
        assert set(states) <= {WAITING, ASSIGNED, RUNNING, SETTLING, RECORDING}
        assert states[WAITING] == self._waiting == sum(self._depth.values())
        assert states[SETTLING] + states[RECORDING] == self._recording
        acks = {(request.id, attempt) for _, request, attempt in self._acks}
        deadlines = {entry[2].id for entry in self._deadlines if entry[2].state < SETTLING}
        timers = {timer[2].id for timer in self._timers if not timer[3]}
        for request in self._requests.values():
            on_record = request.state in (ASSIGNED, RUNNING)
            assert on_record == (request.offer is not None)
            if request.offer is not None:
                miner = request.offer.miner
                assert self._miners[miner.id] is miner
                assert request in miner.running
                assert miner.id not in request.failed
            assert request.state != ASSIGNED or (request.id, request.attempt) in acks
            assert request.state >= SETTLING or request.id in deadlines
            assert (request.state == SETTLING) == (request.cut is not None)
            assert len(set(request.failed)) == len(request.failed) == len(request.codes)
            starving = request.state == WAITING and not request.lane.has_candidate(request.failed)
            assert starving == bool(request.grace_until_ms) == (request in request.lane.starving)
            assert not starving or request.id in timers, "nothing would ever wake this request"
        for account in self._accounts.values():
            mine = [request for request in self._requests.values() if request.account is account]
            assert account.live == len(mine) > 0
            assert account.waiting == sum(request.state == WAITING for request in mine) == sum(account.kinds.values())

    def _check_miners(self) -> None:
        for miner in self._miners.values():
            assert miner.busy == len(miner.running)
            assert all(request.offer is not None and request.offer.miner is miner for request in miner.running)
            for dservice, offer in miner.offers.items():
                assert offer.pool.members[miner.id] is offer
                assert offer.pool.dservice == dservice
                ranking = offer.pool.free if miner.busy < miner.slots else offer.pool.full
                assert offer.ranking is ranking
                assert offer in ranking.ranks[offer.rank]
        for pool in self._pools.values():
            assert sum(offer.miner.slots for offer in pool.members.values()) == pool.slots
            assert len(list(pool.free)) + len(list(pool.full)) == len(pool.members)

    def _check_lanes(self) -> None:
        live = Counter(id(request.lane) for request in self._requests.values())
        for lane in self._lanes.values():
            waiting = [entry[1] for entry in lane.fresh if entry[1].state == WAITING and not entry[1].attempt]
            assert len(waiting) == lane.waiting_fresh
            assert lane.retries == sorted(lane.retries, key=_key)
            assert lane.live == live[id(lane)]
            for pool in lane.pools:
                assert (lane in pool.waiting) == bool(waiting or lane.retries)
            if not lane.fastest:
                for request in waiting + lane.retries:
                    assert self._choose(lane, request) is None, "it waits although a slot is free"


def _factor_ppm(terms: Terms, offer: Offer) -> int:
    """The tier's factor in force when the request arrived; for a tier that was opened since, when it is assigned."""
    factor_ppm = terms.tier_factor_ppm.get(offer.miner.tier)
    return offer.pool.tier_factor_ppm if factor_ppm is None else factor_ppm


def _price(request: Request, offer: Offer, usage: Usage) -> int:
    return fee_nano_eur(usage, offer.miner.fitness, request.terms.prices, request.factor_ppm)


def _key(request: Request) -> tuple[int, int]:
    return request.key


def _on_record(entry: tuple[int, Request, int]) -> bool:
    _, request, attempt = entry
    return request.attempt == attempt and request.offer is not None


def _still_counts(timer: tuple[int, int, Request, int]) -> bool:
    _, _, request, attempt = timer
    return request.attempt == attempt and request.state == RUNNING if attempt else request.state == WAITING
