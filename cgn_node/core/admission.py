"""What is refused at the door, and with which reason (N-6, N-15, N-18). Pure."""

from cgn_node.core import limits
from cgn_node.core.commands import Refuse
from cgn_node.core.events import RequestArrived
from cgn_node.core.pricing import Terms
from cgn_node.core.queues import QueueShare, WaitQueue
from cgn_node.core.requests import Request
from cgn_node.core.settings import BrokerSettings


def unserved(event: RequestArrived, terms: Terms | None, is_draining: bool) -> Refuse | None:
    """Why it would be taken by no node like this one, whatever its miners do; None: it would."""
    if is_draining or terms is None:
        return Refuse(event.request, "draining" if is_draining else "central_unreachable")
    if event.dservice not in terms.dservices:
        return Refuse(event.request, "unknown_dservice", "dservice")
    least = terms.prices.minimum_nano_eur
    if event.max_fee_nano_eur is not None and event.max_fee_nano_eur < least:
        return Refuse(event.request, "price_cap", "max_fee", price_nano_eur=least)
    return None


def no_miner(event: RequestArrived, constraint: str) -> Refuse:
    return Refuse(event.request, "no_miner", constraint, limits.RETRY_AFTER_MIN_MS)


def overloaded(
    event: RequestArrived,
    queue: WaitQueue[Request],
    share: QueueShare[Request] | None,
    depth: int,
    settings: BrokerSettings,
) -> Refuse | None:
    """Whether one more may wait. `depth`: how many wait in its preferred tier already."""
    of_account = share.waiting if share is not None else 0
    whose = "tier_queue" if depth >= settings.tier_queue_depth else ""
    if of_account >= settings.account_queue_depth:
        whose = "account_queue"
    elif share is not None and queue not in share.kinds and len(share.kinds) >= settings.account_kinds:
        whose = "account_kinds"
    if not whose:
        return None
    slots = sum(pool.slots for pool in queue.pools) or 1
    service_us = max(pool.service_us for pool in queue.pools) or limits.PRIOR_SERVICE_US
    wait_ms = max(depth, of_account) * service_us // (1_000 * slots)
    return Refuse(
        event.request,
        "overloaded",
        whose,
        max(limits.RETRY_AFTER_MIN_MS, min(wait_ms, limits.RETRY_AFTER_MAX_MS)),
    )
