"""Gives requests to miners, and to other miners when an attempt fails; ends those that nobody can do (N-8 to N-11).

Decides with `matching` who gets whom, counts in the `Register`, and says what is to be done by commands.
"""

from collections import Counter
from collections.abc import Iterable

from cgn_node.core import limits
from cgn_node.core.commands import Assign, Command, Refuse, ReportError
from cgn_node.core.matching import choose, choose_fastest, first_waiting
from cgn_node.core.miners import Miner, Offer
from cgn_node.core.queues import WaitQueue
from cgn_node.core.register import Register
from cgn_node.core.requests import WAITING, Request

DSERVICE_FAULT = "dservice_protocol"
"""The code of an attempt whose answer breaks HTTP: the DService's own fault, wherever it runs."""


class Dispatcher:
    """`miners` are the connected ones by id."""

    def __init__(self, register: Register) -> None:
        self.miners: dict[str, Miner] = {}
        self.counters: Counter[str] = Counter()
        self._register = register

    # --- giving -------------------------------------------------------------------------------------------------------

    def choose(self, queue: WaitQueue[Request], request: Request | None) -> Offer | None:
        register = self._register
        return choose(queue, request, register.now_ms, register.settings.fastest_wait_ms)

    def assign(self, request: Request, offer: Offer, out: list[Command]) -> None:
        attempt = self._register.begin(request, offer)
        budget_ns = None
        if request.max_fee_nano_eur is not None and attempt.number == 1:
            budget_ns = attempt.tariff.budget_ns(request.max_fee_nano_eur)
        out.append(Assign(request.id, attempt.number, offer.miner.id, budget_ns))

    def match(self, miner: Miner, out: list[Command]) -> None:
        """Fills the miner's free slots with what has waited longest among what it fits (N-9)."""
        register = self._register
        held_back: list[WaitQueue[Request]] = []
        now_ms, patience_ms = register.now_ms, register.settings.fastest_wait_ms
        while register.waiting and miner.busy < miner.slots:
            first = first_waiting(miner, register.queues, held_back)
            if first is None:
                return
            queue = first.queue
            offer = miner.offers[queue.demand.dservice]
            may_wait = queue.demand.is_patient and now_ms < first.arrived_ms + patience_ms
            if may_wait and choose_fastest(queue, first, now_ms, patience_ms) is not offer:
                held_back.append(queue)
            else:
                self.assign(first, offer, out)

    # --- miners -------------------------------------------------------------------------------------------------------

    def join(self, miner: Miner, dservices: tuple[str, ...], out: list[Command]) -> None:
        queues = self._register.queues
        self.miners[miner.id] = miner
        queues.join(miner, dservices)
        for queue in queues.waiting_for(miner):
            if queue.starving:
                self.end_grace(queue)
        self.match(miner, out)

    def lose(self, miner: Miner, code: str, out: list[Command]) -> None:
        """The miner is gone: its requests are tried elsewhere, in their old order (N-10)."""
        register = self._register
        del self.miners[miner.id]
        miner.leave(register.now_ms, register.now_ms - register.settings.grace_ms)
        register.queues.leave(miner)
        for request in sorted((register.requests[name] for name in miner.running), key=_key):
            for attempt in [each for each in request.attempts if each.miner is miner]:
                register.take_off(attempt)
            self.try_again(request, miner.id, code, out)
        miner.running.clear()
        self.start_graces(register.queues.waiting_for(miner))

    # --- another try --------------------------------------------------------------------------------------------------

    def try_again(self, request: Request, miner_id: str, code: str, out: list[Command]) -> None:
        """After a failed attempt: another miner, now or from the head of the queue; or the end (N-11)."""
        register = self._register
        request.failed += (miner_id,)
        request.codes += (code,)
        self.counters["attempts_failed"] += 1
        if len(request.failed) >= register.settings.quarantine_miners:
            self.quarantine(request, out)
        elif register.now_ms >= request.deadline_ms:
            self.refuse(request, "deadline", "", out)
        elif request.passed_on and not request.resumable:
            self.refuse(request, "bad_gateway", "not_resumable", out)
        elif request.codes.count(DSERVICE_FAULT) >= limits.DSERVICE_FAULTS_MAX:
            self._unblame(request)
            self.refuse(request, "bad_gateway", "dservice", out)
        else:
            self._find_another(request, code, out)

    def _find_another(self, request: Request, code: str, out: list[Command]) -> None:
        queue = request.queue
        behind = queue.demand.is_patient and queue.retries  # held back: they go first
        offer = None if behind else self.choose(queue, request)
        if offer is not None and queue.retries:  # who waits for the same slot may come before it
            self._register.move(request, WAITING)
            self.match(offer.miner, out)
        elif offer is not None:
            self.assign(request, offer, out)
        elif code == DSERVICE_FAULT:
            self.refuse(request, "bad_gateway", "dservice", out)
        elif self._may_be_served(request):
            self._register.move(request, WAITING)
            self.start_grace(request)
        else:
            self.refuse(request, "bad_gateway", "failed", out)

    def _may_be_served(self, request: Request) -> bool:
        """Whether there is, or may come, a miner for another try: waiting for nobody helps nobody."""
        queue, register = request.queue, self._register
        since_ms = register.now_ms - register.settings.grace_ms
        return queue.has_candidate(request.failed) or queue.expects(request.failed, since_ms)

    def _unblame(self, request: Request) -> None:
        """The request or its DService is the likely cause: its miners are not ranked lower for it."""
        for miner_id in request.failed:
            miner = self.miners.get(miner_id)
            offer = miner.offers.get(request.queue.demand.dservice) if miner is not None else None
            if offer is not None and offer.failures:
                offer.failures -= 1
                offer.place(turn=False)

    def quarantine(self, request: Request, out: list[Command]) -> None:
        self._unblame(request)
        out.append(ReportError("quarantined", request.id, request.failed, request.codes))
        self.refuse(request, "quarantined", "", out)

    def refuse(self, request: Request, code: str, constraint: str, out: list[Command]) -> None:
        self._register.end(request)
        self.counters["refused_" + code] += 1
        out.append(Refuse(request.id, code, constraint, price_nano_eur=request.price_nano_eur))

    # --- waiting for miners to come -----------------------------------------------------------------------------------

    def start_graces(self, queues: Iterable[WaitQueue[Request]]) -> None:
        """Of every waiting request that no connected miner can do any more."""
        for queue in queues:
            for request in queue.retries:
                self.start_grace(request)
            if queue.waiting_fresh and not queue.has_candidate(()):
                for _, request in sorted(queue.fresh):
                    if request.waits_afresh:
                        self.start_grace(request)

    def start_grace(self, request: Request) -> None:
        queue, register = request.queue, self._register
        if not request.grace_until_ms and not queue.has_candidate(request.failed):
            request.grace_until_ms = register.now_ms + register.settings.grace_ms
            queue.starving[request] = None
            register.deadlines.looks.set(request.grace_until_ms, request)

    def end_grace(self, queue: WaitQueue[Request]) -> None:
        """Miners have come: who has found one that could do it starts anew when that one goes."""
        for request in list(queue.starving):
            if queue.has_candidate(request.failed):
                request.grace_until_ms = 0
                del queue.starving[request]

    def reconsider(self, target: Request, out: list[Command]) -> None:
        """Its time to be held back is over, or its grace."""
        queue = target.queue
        while target.state is WAITING and (offer := self.choose(queue, target)) is not None:
            head = queue.head_for(offer.miner.id) or target  # what is before it in the queue goes before it
            self.assign(head, offer, out)
        if target.state is WAITING and 0 < target.grace_until_ms <= self._register.now_ms:
            why = self._register.queues.excluding(queue)
            code, why = ("bad_gateway", "failed") if target.failed else ("no_miner", why)
            self.refuse(target, code, why, out)


def _key(request: Request) -> tuple[int, int]:
    return request.key
