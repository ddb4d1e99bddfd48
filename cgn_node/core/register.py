"""Every accepted request, the state it is in, and everything that is counted of it or due for it. Decides nothing."""

from collections import Counter

from cgn_node.core.deadlines import Deadlines
from cgn_node.core.events import RequestArrived
from cgn_node.core.miners import Miner, Offer
from cgn_node.core.pricing import Terms
from cgn_node.core.queues import Queues, QueueShare, WaitQueue
from cgn_node.core.requests import (
    ASSIGNED,
    OPEN,
    OVER,
    TRANSITIONS,
    WAITING,
    Attempt,
    Request,
    State,
)
from cgn_node.core.settings import BrokerSettings


class Register:
    """`now_ms` is set by who uses it, before anything else."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.now_ms = 0
        self.requests: dict[str, Request] = {}
        self.shares: dict[str, QueueShare[Request]] = {}
        """By account, of those that have requests here."""
        self.queues: Queues[Request] = Queues()
        self.depth: Counter[str] = Counter()
        """Waiting requests by their preferred tier."""
        self.deadlines: Deadlines[Attempt, Request] = Deadlines()
        self.waiting = 0
        self.recording = 0
        """Requests whose work is over, and whose row is not durable yet."""
        self._arrivals = 0
        self._virtual = 0  # start tag of the latest request to be assigned

    # --- requests -----------------------------------------------------------------------------------------------------

    def accept(self, event: RequestArrived, queue: WaitQueue[Request], terms: Terms) -> Request:
        share = self.shares.get(event.account)
        if share is None:
            share = self.shares[event.account] = QueueShare(event.account)
        tag = share.finish if share.finish > self._virtual else self._virtual
        share.finish = tag + 1
        share.live += 1
        queue.live += 1
        self._arrivals += 1
        request = Request(event, share, queue, (tag, self._arrivals), terms=terms, now_ms=self.now_ms)
        self.requests[event.request] = request
        self.deadlines.ends.set(request.deadline_ms, request)
        return request

    def move(self, request: Request, to: State) -> None:
        """The only place where a request's state changes, and where it is counted."""
        was = request.state
        assert to in TRANSITIONS[was], f"from {was.name} to {to.name}"
        request.state = to
        if was is WAITING:
            self._dequeue(request)
        if to is WAITING:
            self._enqueue(request)
        elif to not in OPEN:
            if was not in OPEN:
                self.recording -= to is OVER
            else:
                self.recording += to is not OVER
                request.is_live = False

    def end(self, request: Request) -> None:
        self.move(request, OVER)
        del self.requests[request.id]
        request.queue.live -= 1
        share = request.share
        share.live -= 1
        if not share.live:
            del self.shares[share.id]

    def _enqueue(self, request: Request) -> None:
        self.waiting += 1
        queue, share = request.queue, request.share
        queue.push(request)
        if len(queue.retries) + queue.waiting_fresh == 1:
            self.queues.announce(queue)
        share.waiting += 1
        share.kinds[queue] = share.kinds.get(queue, 0) + 1
        self.depth[queue.demand.tiers[0]] += 1
        if queue.demand.is_patient:
            self.deadlines.looks.set(request.arrived_ms + self.settings.fastest_wait_ms, request)

    def _dequeue(self, request: Request) -> None:
        self.waiting -= 1
        queue, share = request.queue, request.share
        queue.remove(request)
        if not queue.retries and not queue.waiting_fresh:
            self.queues.announce(queue)
        share.waiting -= 1
        share.kinds[queue] -= 1
        if not share.kinds[queue]:
            del share.kinds[queue]
        self.depth[queue.demand.tiers[0]] -= 1
        if queue.demand.is_patient:  # it may have been held back before a free miner, and others behind it
            head = queue.head_for("")
            if head is not None:
                self.deadlines.looks.set(self.now_ms, head)

    # --- attempts -----------------------------------------------------------------------------------------------------

    def begin(self, request: Request, offer: Offer) -> Attempt:
        """Puts a new attempt on record and reserves its slot."""
        self.move(request, ASSIGNED)
        now_ms = self.now_ms
        offer.miner.take(request.id, now_ms)
        attempt = request.begin(offer, now_ms)
        self.deadlines.acknowledgements.set(now_ms + self.settings.acknowledge_ms, attempt)
        tag = request.key[0]
        self._virtual = max(self._virtual, tag)
        return attempt

    def take_off(self, attempt: Attempt) -> None:
        """The attempt is on record no more; its slot is gone with its miner."""
        attempt.is_live = False
        attempt.request.attempts.remove(attempt)

    def release(self, attempt: Attempt) -> Miner:
        """Takes the attempt off the record and frees its slot. The caller matches the miner when it is done."""
        self.take_off(attempt)
        miner = attempt.miner
        miner.give_back(attempt.request.id, self.now_ms)
        return miner
