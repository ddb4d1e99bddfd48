"""The Work Broker (N-7 to N-11, N-17, N-18): a pure machine that gives requests to miners.

Events in, commands out; no clock, randomness, waiting, I/O or logging. This file holds what happens at each event.
Below it: `dispatch` (gives requests to miners, and to others when they fail) by `matching` (who gets whom, pure) and
`miners` (who is ranked how); `register` (what is counted and due) of `requests` (states), `queues`, `demand` (what is
asked of a miner) and `deadlines`; `admission` (what is refused at the door); `billing` and `pricing`.

Deliberately elsewhere: payload bytes and credit (the driver), sessions (the work endpoint), who pays whom (ledger). Not
built yet: racing (N-12; a request may have several attempts on record, `Request.attempts`), affinity (N-13; one more
thing that a `Demand` asks for).

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

from collections.abc import Callable
from typing import Any

from cgn_sdk.protocol.errors import CLOSE_DRAINING, CLOSE_REFUSED, CLOSE_REPLACED, CLOSE_TOO_LATE

from cgn_node.core import admission, events
from cgn_node.core.billing import charge
from cgn_node.core.commands import CancelAttempt, CloseMiner, Command, Drained, RecordRow, Refuse, Release, ReportError
from cgn_node.core.demand import Demand
from cgn_node.core.dispatch import Dispatcher
from cgn_node.core.events import Event
from cgn_node.core.invariants import check
from cgn_node.core.matching import choose
from cgn_node.core.miners import Miner, fitness_fault
from cgn_node.core.pricing import Refusal, Terms, Usage, clip, settle
from cgn_node.core.queues import WaitQueue
from cgn_node.core.register import Register
from cgn_node.core.requests import OPEN, RECORDING, SETTLING, WAITING, Attempt, Request
from cgn_node.core.settings import BrokerSettings
from cgn_node.core.statistics import Statistics, of_pools


class Broker:
    """`handle` is to be called from one place only, with a time that never goes back."""

    def __init__(self, settings: BrokerSettings | None = None) -> None:
        self._register = Register(settings or BrokerSettings())
        self._dispatcher = Dispatcher(self._register)
        self._requests = self._register.requests
        self.next_deadline: Callable[[], int | None] = self._register.deadlines.next_ms
        """When `Tick` is wanted, in the driver's monotonic milliseconds; None: not at all."""
        self._terms: Terms | None = None
        self._draining = False
        self._drained = False
        self._counters = self._dispatcher.counters
        self._handlers: dict[type, Callable[[Any, list[Command]], object]] = {
            events.PolicyChanged: self._on_policy,
            events.MinerJoined: self._on_joined,
            events.MinerLeft: self._on_left,
            events.SlotsChanged: self._on_slots,
            events.RequestArrived: self._on_arrived,
            events.Acknowledged: self._shows_life,
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

    def handle(self, event: Event, now_ms: int) -> list[Command]:
        """One thing happened at `now_ms` (monotonic); returns what to do about it, in order."""
        register = self._register
        assert now_ms >= register.now_ms, "time went back"
        register.now_ms = now_ms
        out: list[Command] = []
        self._handlers[type(event)](event, out)
        if self._draining:
            self._let_go(out)
        return out

    def statistics(self) -> Statistics:
        register = self._register
        return Statistics(
            miners=len(self._dispatcher.miners),
            requests=len(self._requests),
            waiting=register.waiting,
            recording=register.recording,
            draining=self._draining,
            queue_depth={tier: depth for tier, depth in sorted(register.depth.items()) if depth},
            pools=tuple(of_pools(register.queues)),
            counters=dict(sorted(self._counters.items())),
        )

    def check(self) -> None:
        """Asserts every invariant (costly: for tests and the simulation)."""
        check(self._register, self._dispatcher.miners)

    # --- policy, miners -----------------------------------------------------------------------------------------------

    def _on_policy(self, event: events.PolicyChanged, out: list[Command]) -> None:
        if self._terms is not None and event.terms.version <= self._terms.version:
            return
        self._terms = event.terms
        dispatcher, queues = self._dispatcher, self._register.queues
        queues.use(event.terms)
        for queue in queues.by_demand.values():
            dispatcher.end_grace(queue)
        for miner in list(dispatcher.miners.values()):
            dispatcher.match(miner, out)
        dispatcher.start_graces(queue for queue in queues.by_demand.values() if queue.retries or queue.waiting_fresh)

    def _on_joined(self, event: events.MinerJoined, out: list[Command]) -> None:
        before = self._dispatcher.miners.get(event.miner)
        if before is not None and before.tunnel >= event.tunnel:
            return
        if before is not None:
            out.append(CloseMiner(before.id, before.tunnel, CLOSE_REPLACED, "the same miner connected again"))
            self._dispatcher.lose(before, "replaced", out)
        fault = fitness_fault(event)
        if fault:
            out.append(CloseMiner(event.miner, event.tunnel, CLOSE_REFUSED, fault))
            return
        self._dispatcher.join(Miner(event), event.dservices, out)

    def _on_left(self, event: events.MinerLeft, out: list[Command]) -> None:
        miner = self._dispatcher.miners.get(event.miner)
        if miner is not None and miner.tunnel == event.tunnel:
            self._dispatcher.lose(miner, "disconnected", out)

    def _on_slots(self, event: events.SlotsChanged, out: list[Command]) -> None:
        miner = self._dispatcher.miners.get(event.miner)
        if miner is not None and miner.tunnel == event.tunnel:
            miner.change_slots(event.slots)
            self._dispatcher.match(miner, out)

    # --- arrival ------------------------------------------------------------------------------------------------------

    def _on_arrived(self, event: events.RequestArrived, out: list[Command]) -> None:
        if event.request in self._requests:
            self._counters["arrivals_twice"] += 1  # an answer would end the one that is under way
            return
        unserved = admission.unserved(event, self._terms, self._draining)
        if unserved is not None:
            out.append(unserved)
            return
        assert self._terms is not None
        register, dispatcher = self._register, self._dispatcher
        queue = register.queues.of(Demand.of(event))
        behind = queue.waiting_fresh or (queue.demand.is_patient and queue.retries)
        offer = None if behind else choose(queue, None, register.now_ms, register.settings.fastest_wait_ms)
        if offer is not None:
            dispatcher.assign(register.accept(event, queue, self._terms), offer, out)
            return
        refusal = self._refuse_to_queue(event, queue)
        if refusal is None:
            register.move(register.accept(event, queue, self._terms), WAITING)
        else:
            out.append(refusal)

    def refusal_of(self, event: events.RequestArrived) -> Refuse | None:
        """What this request would be refused with at once if it arrived now, so that its body need not be read first.
        None: it would be taken, or a full queue or a busy miner would decide."""
        unserved = admission.unserved(event, self._terms, self._draining)
        if unserved is not None:
            return unserved
        queues = self._register.queues
        queue = queues.of(Demand.of(event))
        return None if queue.has_candidate(()) else admission.no_miner(event, queues.excluding(queue))

    def _refuse_to_queue(self, event: events.RequestArrived, queue: WaitQueue[Request]) -> Refuse | None:
        register = self._register
        if not queue.has_candidate(()):
            return admission.no_miner(event, register.queues.excluding(queue))
        share, depth = register.shares.get(event.account), register.depth[event.tiers[0]]
        return admission.overloaded(event, queue, share, depth, register.settings)

    # --- reports ------------------------------------------------------------------------------------------------------

    def _live(self, event: Any) -> Attempt | None:
        """The attempt that a report is about, if it is on record."""
        request = self._requests.get(event.request)
        if request is not None:
            for attempt in request.attempts:
                if attempt.number == event.attempt and attempt.miner.id == event.miner:
                    return attempt
        self._counters["reports_off_record"] += 1
        return None

    def _shows_life(self, event: Any, out: list[Command]) -> Attempt | None:
        """All that an acknowledgement says, and the first that other reports of work under way say."""
        attempt = self._live(event)
        if attempt is not None:
            attempt.acknowledged = True
            attempt.life_ms = self._register.now_ms
        return attempt

    def _on_passed_on(self, event: events.ResponsePassedOn, out: list[Command]) -> None:
        attempt = self._shows_life(event, out)
        if attempt is not None:
            attempt.request.passed_on = True

    def _on_progressed(self, event: events.Progressed, out: list[Command]) -> None:
        """A sign of life; and the moment in which a cap that cannot be kept any more ends the work (N-22)."""
        attempt = self._shows_life(event, out)
        if attempt is None or attempt.request.max_fee_nano_eur is None:
            return
        request, cap = attempt.request, attempt.request.max_fee_nano_eur
        usage, _ = clip(event.claimed, event.measured, attempt.tariff.fitness, attempt.tariff.cpus_milli)
        settled = settle(usage, attempt.tariff, cap)
        if isinstance(settled, Refusal):
            request.price_nano_eur = settled.price_nano_eur
            carried = Usage(request_bytes=usage.request_bytes, response_bytes=usage.response_bytes)
            if not isinstance(settle(carried, attempt.tariff, cap), Refusal):
                # By the miner's word, who is paid for an answer that nobody has: others come first until it gives one.
                attempt.offer.failures += 1
                self._counters["stopped_unsigned"] += 1
                out.append(ReportError("stopped_unsigned", request.id, (attempt.miner.id,), ("price_cap",)))
            self._dispatcher.match(self._cut(attempt, "price_cap", out), out)

    def _on_finished(self, event: events.AttemptFinished, out: list[Command]) -> None:
        attempt = self._live(event)
        if attempt is None:
            return
        attempt.offer.learn(event.measured.wall_ns // 1_000)
        self._record(attempt, event, out)
        if self._register.waiting:
            self._dispatcher.match(attempt.miner, out)

    def _on_cut(self, event: events.AttemptCut, out: list[Command]) -> None:
        request = self._requests.get(event.request)
        attempt = request.settling if request is not None else None
        if request is None or attempt is None or (attempt.number, attempt.miner.id) != (event.attempt, event.miner):
            self._counters["reports_off_record"] += 1
            return
        request.settling = None
        self._record(attempt, event, out)

    def _record(self, attempt: Attempt, event: events.AttemptFinished | events.AttemptCut, out: list[Command]) -> None:
        request, miner = attempt.request, attempt.miner
        usage, clipped, impossible = charge(attempt, event.claimed, event.measured, self._register.now_ms)
        if attempt.is_live:
            self._register.release(attempt)
        settled = settle(usage, attempt.tariff, request.max_fee_nano_eur)
        if isinstance(settled, Refusal):
            request.price_nano_eur = max(settled.price_nano_eur, request.price_nano_eur)
            request.verdict = request.verdict or "price_cap"
        if impossible:
            self._counters["claims_clipped"] += 1
            out.append(ReportError("clipped", request.id, (miner.id,), impossible))
        self._register.move(request, RECORDING)
        out.append(
            RecordRow(
                request.id,
                attempt.number,
                miner.id,
                miner.tier,
                miner.contributor,
                usage,
                clipped,
                settled.fee_nano_eur,
                request.terms.version,
                request.verdict or "whole",
            )
        )

    def _cut(self, attempt: Attempt, verdict: str, out: list[Command]) -> Miner:
        """Stops an attempt, to bill what it has used and passed on; returns its miner, which has to be matched."""
        request = attempt.request
        request.settling = attempt
        request.verdict = verdict
        miner = self._register.release(attempt)
        self._register.move(request, SETTLING)
        out.append(CancelAttempt(request.id, attempt.number, miner.id, verdict, settle=True))
        return miner

    def _on_failed(self, event: events.AttemptFailed, out: list[Command]) -> None:
        attempt = self._live(event)
        if attempt is None:
            return
        request, estimate, cap = attempt.request, event.estimate, attempt.request.max_fee_nano_eur
        settled = settle(estimate, attempt.tariff, cap) if estimate is not None else None
        if isinstance(settled, Refusal):
            self._register.release(attempt)
            request.price_nano_eur = settled.price_nano_eur
            self._dispatcher.refuse(request, "price_cap", "estimate", out)
        else:
            attempt.offer.failures += 1
            self._register.release(attempt)
            self._dispatcher.try_again(request, attempt.miner.id, event.code, out)
        self._dispatcher.match(attempt.miner, out)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _on_stored(self, event: events.RowStored, out: list[Command]) -> None:
        request = self._requests.get(event.request)
        if request is None or request.state is not RECORDING:
            return
        if request.verdict:
            self._dispatcher.refuse(request, request.verdict, "max_fee" if request.verdict == "price_cap" else "", out)
            return
        self._register.end(request)
        self._counters["answered"] += 1
        out.append(Release(request.id))

    def _on_row_refused(self, event: events.RowRefused, out: list[Command]) -> None:
        request = self._requests.get(event.request)
        if request is not None and request.state is RECORDING:
            self._dispatcher.refuse(request, "ledger_full", "", out)

    def _on_client_gone(self, event: events.ClientGone, out: list[Command]) -> None:
        """Nothing has left: cancelled, not billed. In the middle of the response: what has left is billed. After the
        result: the row is on its way and the work was done (N-17)."""
        request = self._requests.get(event.request)
        if request is None or request.state not in OPEN:
            return
        for miner in self._cut_short(request, "cancelled", out):
            self._dispatcher.match(miner, out)

    def _cut_short(self, request: Request, code: str, out: list[Command]) -> list[Miner]:
        """Ends a request whose response nobody waits for any longer. The caller matches the miners that it returns."""
        if request.passed_on and request.attempts:
            return [self._cut(request.attempts[0], code, out)]
        miners = []
        for attempt in list(request.attempts):
            if code == "deadline":  # it may say for ever that it works on it: others come first until it succeeds
                attempt.offer.failures += 1
            miners.append(self._register.release(attempt))
            out.append(CancelAttempt(request.id, attempt.number, attempt.miner.id, code))
        self._dispatcher.refuse(request, code, "", out)
        return miners

    # --- time ---------------------------------------------------------------------------------------------------------

    def _on_tick(self, event: events.Tick, out: list[Command]) -> None:
        register, dispatcher = self._register, self._dispatcher
        now = register.now_ms
        freed: dict[str, Miner] = {}
        while (request := register.deadlines.ends.due(now)) is not None:
            for miner in self._cut_short(request, "deadline", out):
                freed[miner.id] = miner
        while (attempt := register.deadlines.acknowledgements.due(now)) is not None:
            self._check_acknowledgement(attempt, out)
        for miner in freed.values():
            if dispatcher.miners.get(miner.id) is miner:
                dispatcher.match(miner, out)
        while (about := register.deadlines.looks.due(now)) is not None:
            if isinstance(about, Request):
                dispatcher.reconsider(about, out)
            elif about.is_live:
                self._check_life(about, out)

    def _check_acknowledgement(self, attempt: Attempt, out: list[Command]) -> None:
        """Its time is up: the miner is down (N-10), or it has acknowledged and is watched from now on."""
        if attempt.acknowledged:
            self._check_life(attempt, out)
        else:
            self._give_up(attempt.miner, "not_acknowledged", "no acknowledgement", out)

    def _check_life(self, attempt: Attempt, out: list[Command]) -> None:
        """Work may take its whole deadline as long as its miner says that it works on it; a miner that says nothing
        for so long is down (N-10)."""
        register = self._register
        due_ms = attempt.life_ms + register.settings.silence_ms
        if register.now_ms < due_ms:
            register.deadlines.looks.set(due_ms, attempt)
        else:
            self._give_up(attempt.miner, "silent", "no sign of life for a request", out)

    def _give_up(self, miner: Miner, code: str, reason: str, out: list[Command]) -> None:
        self._counters["miners_silent"] += 1
        out.append(CloseMiner(miner.id, miner.tunnel, CLOSE_TOO_LATE, reason))
        self._dispatcher.lose(miner, code, out)

    # --- drain --------------------------------------------------------------------------------------------------------

    def _on_drain(self, event: events.Drain, out: list[Command]) -> None:
        self._draining = True

    def _let_go(self, out: list[Command]) -> None:
        """While draining, after each event. Miners stay as long as any request may need one of them for another try."""
        if len(self._requests) > self._register.recording:
            return
        for miner in list(self._dispatcher.miners.values()):
            out.append(CloseMiner(miner.id, miner.tunnel, CLOSE_DRAINING, "the node is about to stop"))
            self._dispatcher.lose(miner, "draining", out)
        if not self._requests and not self._drained:
            self._drained = True
            out.append(Drained())
