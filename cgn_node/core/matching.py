"""Which miner a request gets, and which request a miner (N-8, N-9). Pure: looks at queues, pools and the time, and
changes nothing."""

from collections.abc import Collection

from cgn_node.core import limits
from cgn_node.core.miners import Miner, Offer
from cgn_node.core.queues import Queues, WaitQueue
from cgn_node.core.requests import Request


def choose(queue: WaitQueue[Request], request: Request | None, now_ms: int, patience_ms: int) -> Offer | None:
    """The best free miner for a request of this queue, which may have failed on some already; None: let it wait.
    Without a request: for one that arrives now. `patience_ms`: how long a patient one is held back."""
    demand = queue.demand
    if demand.is_patient:
        return choose_fastest(queue, request, now_ms, patience_ms)
    failed = request.failed if request is not None else ()
    if demand.level is None and not failed:
        for pool in queue.pools:
            if pool.free.mask:
                return pool.free.first()
        return None
    for pool in queue.pools:
        for offer in pool.free:
            if offer.miner.id not in failed and demand.allows(offer):
                return offer
    return None


def choose_fastest(queue: WaitQueue[Request], request: Request | None, now_ms: int, patience_ms: int) -> Offer | None:
    """Of all accepted tiers the miner that finishes first. When that is one that must finish something else before, the
    request is held back for it, for a little while (N-8)."""
    failed = request.failed if request is not None else ()
    best = _best_free(queue, failed)
    if best is None:
        return None
    if request is not None and now_ms >= request.arrived_ms + patience_ms:
        return best
    best_us = best.expected_us
    ahead = len(queue.retries) + queue.waiting_fresh
    looked = 0
    for pool in queue.pools:
        for offer in pool.full:  # ranked: none behind is expected sooner
            looked += 1
            expected_us = offer.expected_us
            if looked > limits.FASTEST_LOOK or expected_us >= best_us:
                break
            if offer.miner.id in failed or not queue.demand.allows(offer) or not offer.miner.running:
                continue
            free_in_us = _free_in_us(offer, ahead, now_ms)
            if free_in_us + expected_us < best_us and free_in_us < patience_ms * 1_000:
                return None
    return best


def _best_free(queue: WaitQueue[Request], failed: Collection[str]) -> Offer | None:
    best: Offer | None = None
    best_us = 0
    for pool in queue.pools:
        for offer in pool.free:
            if offer.miner.id not in failed and queue.demand.allows(offer):
                expected_us = offer.expected_us
                if best is None or expected_us < best_us:
                    best, best_us = offer, expected_us
                break
    return best


def _free_in_us(offer: Offer, ahead: int, now_ms: int) -> int:
    """When a busy miner has a slot for the next one of a queue in which so many wait already."""
    miner = offer.miner
    oldest_ms = next(iter(miner.running.values()))
    free_in_us = max(0, offer.service_us - (now_ms - oldest_ms) * 1_000)
    return free_in_us + ahead * offer.service_us // max(1, miner.slots)


def first_waiting(miner: Miner, queues: Queues[Request], passed_over: Collection[WaitQueue[Request]]) -> Request | None:
    """Of all that the miner could do, what has waited longest, in order of start tags."""
    first: Request | None = None
    for offer in miner.offers.values():
        for queue in queues.waiting[offer.pool]:
            if (queue.level is not None and not miner.reaches(queue.level)) or queue in passed_over:
                continue
            head = queue.head_for(miner.id)
            if head is not None and (first is None or head.key < first.key):
                first = head
    return first
