"""What a request asks of a miner, and the reason why an offer does not fit (N-8)."""

import pytest
from broker_bench import FITNESS

from cgn_node.core.demand import Demand
from cgn_node.core.events import MinerJoined, RequestArrived, ServiceLevel
from cgn_node.core.miners import Miner, Offer, Pool


def offer(tier: str = "2", owner: str = "", dservice: str = "noop") -> Offer:
    joined = MinerJoined("m1", 1, tier, "con", owner or None, (dservice,), 1, FITNESS, FITNESS)
    miner = Miner(joined)
    miner.join(Pool(dservice, tier, owner))
    return miner.offers[dservice]


BIG = ServiceLevel(threads=FITNESS.threads + 1)


@pytest.mark.parametrize(
    ("demand", "offered", "reason"),
    [
        (Demand("noop", ("2", "3")), offer(), ""),
        (Demand("noop", ("3", "2")), offer("3"), ""),
        (Demand("noop", ("2",), level=ServiceLevel(threads=FITNESS.threads)), offer(), ""),
        (Demand("noop", ("1",), "ent_a"), offer("1", "ent_a"), ""),
        (Demand("other", ("2",)), offer(), "dservice"),
        (Demand("noop", ("3",)), offer(), "tier"),
        (Demand("noop", ("1", "2"), "ent_a"), offer("1", "ent_b"), "ownership"),
        (Demand("noop", ("2",), level=BIG), offer(), "service_level"),
        (Demand("other", ("3",), level=BIG), offer(), "dservice"),
        (Demand("noop", ("3",), level=BIG), offer(), "tier"),
    ],
)
def test_it_says_what_excludes_an_offer(demand: Demand, offered: Offer, reason: str) -> None:
    assert demand.excludes(offered) == reason
    if not reason or reason == "service_level":
        assert demand.allows(offered) == (not reason)


def test_equal_requests_have_equal_demands() -> None:
    """The key of a queue: of an account only where tier 1 is accepted, whose miners are its own."""

    def of(account: str, *tiers: str, match: str = "immediate", level: ServiceLevel | None = None) -> Demand:
        return Demand.of(RequestArrived("r", account, "noop", tiers, 1, match, level))

    assert of("ent_a", "2", "3") == of("ent_b", "2", "3") == Demand("noop", ("2", "3"))
    assert of("ent_a", "1", "2") == Demand("noop", ("1", "2"), "ent_a") != of("ent_b", "1", "2")
    assert of("ent_a", "2", "3") != of("ent_a", "3", "2"), "the preferred tier comes first"
    assert of("ent_a", "2", match="fastest") == Demand("noop", ("2",), is_patient=True)
    assert of("ent_a", "2", level=BIG) == Demand("noop", ("2",), level=ServiceLevel(threads=FITNESS.threads + 1))
    assert len({of("ent_a", "2"), of("ent_b", "2")}) == 1
