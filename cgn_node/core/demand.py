"""What a request asks of a miner: the key of its queue, and the reason why an offer does not fit."""

from typing import NamedTuple

from cgn_node.core.events import RequestArrived, ServiceLevel
from cgn_node.core.miners import Offer

OWNED_TIER = "1"
"""Miners of this tier serve their own enterprise alone."""


class Demand(NamedTuple):
    """Equal demands wait in one queue. `owner`: the enterprise, where tier 1 is accepted; its miners are nobody
    else's. `is_patient`: it may be held back from a free miner for a better one (N-8, `fastest`)."""

    dservice: str
    tiers: tuple[str, ...]
    owner: str = ""
    level: ServiceLevel | None = None
    is_patient: bool = False

    @classmethod
    def of(cls, event: RequestArrived) -> "Demand":
        tiers = event.tiers
        owner = event.account if OWNED_TIER in tiers else ""
        # What `cls(…)` does, in half the time: there is one at every arrival.
        return tuple.__new__(cls, (event.dservice, tiers, owner, event.level, event.match == "fastest"))

    def excludes(self, offer: Offer) -> str:
        """Which constraint keeps this offer from serving it: dservice, tier, ownership, service_level; or ""."""
        pool = offer.pool
        if pool.dservice != self.dservice:
            return "dservice"
        if pool.tier not in self.tiers:
            return "tier"
        if pool.tier == OWNED_TIER and pool.owner != self.owner:
            return "ownership"
        if self.level is not None and not offer.miner.reaches(self.level):
            return "service_level"
        return ""

    def allows(self, offer: Offer) -> bool:
        """`not excludes(offer)` for an offer of a pool that the queue waits for: only the level is left to ask."""
        return self.level is None or offer.miner.reaches(self.level)
