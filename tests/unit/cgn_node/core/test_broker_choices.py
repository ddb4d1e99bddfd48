"""What the Work Broker decides by, on both sides of each decision: `fastest`, order, lanes, caps, deadlines, terms."""

from dataclasses import replace

import pytest
from broker_bench import CLAIMED, FITNESS, MEASURED, PRICES, TERMS, Bench, price

from cgn_node.core import limits
from cgn_node.core.commands import Assign, CancelAttempt, CloseMiner, Command, RecordRow, Refuse, Release, ReportError
from cgn_node.core.events import (
    AttemptCut,
    AttemptFinished,
    ClientGone,
    MinerLeft,
    PolicyChanged,
    ResponsePassedOn,
    RowStored,
    ServiceLevel,
    SlotsChanged,
)
from cgn_node.core.pricing import Fitness, Measured, Terms, Usage
from cgn_node.core.settings import BrokerSettings

LEVEL = ServiceLevel(threads=4)
SMALL = replace(FITNESS, threads=1)


def known(
    bench: Bench, miner: str, service_ms: int, *, slots: int = 1, tier: str = "2", fitness: Fitness = FITNESS
) -> None:
    """A miner joins whose requests are known to take so long."""
    bench.join(miner, tier, slots, fitness=fitness)
    offer = bench.broker._dispatcher.miners[miner].offers["noop"]
    offer.learn(service_ms * 1_000)
    offer.place(turn=False)
    bench.broker.check()


def took(bench: Bench, request: str, miner: str, ms: int) -> list[Command]:
    return bench.tell(AttemptFinished(request, 1, miner, CLAIMED, Measured(ms * 10**6, 10, 100)))[1:]


# ---------------------------------------------------------------------------------------------------------- fastest


@pytest.mark.parametrize(("done_ms", "answer"), [(1_000, []), (0, [Assign("r2", 1, "slow")])])
def test_fastest_counts_how_long_the_better_machine_has_worked_already(
    bench: Bench, done_ms: int, answer: list[Command]
) -> None:
    """N-8: 1.5 s of work of which 1 s is done end before 2.6 s of work; with all of it to do they do not."""
    known(bench, "fast", 1_500)
    known(bench, "slow", 2_600)
    assert bench.arrive("r1", match="fastest") == [Assign("r1", 1, "fast")]
    bench.now_ms += done_ms
    assert bench.arrive("r2", match="fastest") == answer


@pytest.mark.parametrize(("passed_ms", "answer"), [(0, [Assign("r2", 1, "slow")]), (1, [])])
def test_fastest_holds_nothing_back_for_longer_than_a_little(
    bench: Bench, passed_ms: int, answer: list[Command]
) -> None:
    """N-8: for 1,999 ms it would, for 2,000 ms it does not."""
    known(bench, "fast", limits.FASTEST_WAIT_MS)
    known(bench, "slow", 5_000)
    bench.arrive("r1", match="fastest")
    bench.now_ms += passed_ms
    assert bench.arrive("r2", match="fastest") == answer


@pytest.mark.parametrize(
    ("slots", "slow_ms", "answer"), [(1, 1_500, [Assign("r2", 1, "slow")]), (2, 1_600, []), (1, 2_600, [])]
)
def test_fastest_counts_who_waits_for_the_better_machine_too(
    bench: Bench, slots: int, slow_ms: int, answer: list[Command]
) -> None:
    """N-8: what waits takes its turns of all slots of the machine."""
    known(bench, "fast", 600, slots=slots)
    for n in range(slots):
        assert bench.arrive(f"f{n}", match="fastest") == [Assign(f"f{n}", 1, "fast")]
    known(bench, "slow", slow_ms)
    assert bench.arrive("w") == [Assign("w", 1, "slow")]
    assert bench.arrive("r2", match="fastest") == []
    assert took(bench, "w", "slow", slow_ms) == answer


@pytest.mark.parametrize(
    ("before_it", "answer"), [(limits.FASTEST_LOOK - 1, []), (limits.FASTEST_LOOK, [Assign("r1", 1, "slow")])]
)
def test_fastest_looks_at_so_many_busy_machines(bench: Bench, before_it: int, answer: list[Command]) -> None:
    known(bench, "good", 200)
    assert bench.arrive("w", level=LEVEL) == [Assign("w", 1, "good")]
    known(bench, "slow", 5_000)
    for n in range(before_it):
        known(bench, f"small{n}", 100, slots=0, fitness=SMALL)
    assert bench.arrive("r1", match="fastest", level=LEVEL) == answer


def test_fastest_waits_for_no_machine_that_is_too_small(bench: Bench) -> None:
    known(bench, "small", 50, fitness=SMALL)
    bench.arrive("w")
    known(bench, "slow", 5_000)
    assert bench.arrive("r1", match="fastest", level=LEVEL) == [Assign("r1", 1, "slow")]


def test_fastest_waits_for_no_machine_that_it_has_failed_on(bench: Bench) -> None:
    known(bench, "fast", 100, slots=2)
    bench.arrive("r1", match="fastest")
    bench.arrive("w")
    bench.tell(SlotsChanged("fast", 1, 1))
    known(bench, "slow", 5_000)
    assert bench.fail("r1", 1, "fast") == [Assign("r1", 2, "slow")]


@pytest.mark.parametrize(("of_2", "of_3", "chosen"), [(100, 100, "m2"), (100, 1_000, "m2"), (1_000, 100, "m3")])
def test_fastest_compares_over_all_accepted_tiers(bench: Bench, of_2: int, of_3: int, chosen: str) -> None:
    """N-8; of equals the preferred tier."""
    known(bench, "m2", of_2)
    known(bench, "m3", of_3, tier="3")
    assert bench.arrive("r1", match="fastest") == [Assign("r1", 1, chosen)]


# ------------------------------------------------------------------------------------------------ order and fairness


def test_an_account_that_comes_late_takes_turns_from_now_on(bench: Bench) -> None:
    """N-7: it has not saved up the turns that it was not there for."""
    bench.join("m1")
    for n in range(6):
        bench.arrive(f"a{n}", account="ent_a")
    for n in range(3):
        bench.finish(f"a{n}", 1, "m1")
    for n in range(3):
        bench.arrive(f"b{n}", account="ent_b")
    order, current = [], "a3"
    for _ in range(5):
        [assign] = [command for command in bench.finish(current, 1, "m1") if isinstance(command, Assign)]
        current = assign.request
        order.append(current)
    assert order == ["b0", "a4", "b1", "a5", "b2"]


def test_of_what_a_lost_miner_had_the_one_that_came_first_gets_the_free_slot(bench: Bench) -> None:
    """N-10: by when they arrived, not by when this miner was given them."""
    bench.join("m0")
    bench.arrive("r1")
    bench.join("m1")
    assert bench.arrive("r2") == [Assign("r2", 1, "m1")]
    bench.tell(SlotsChanged("m1", 2, 2))
    assert bench.fail("r1", 1, "m0") == [Assign("r1", 2, "m1")]
    bench.tell(SlotsChanged("m0", 1, 0))
    bench.join("m2")
    bench.join("m3", slots=0)
    assert bench.tell(MinerLeft("m1", 2)) == [Assign("r1", 3, "m2")]


def test_miners_that_are_not_to_blame_are_ranked_as_before(bench: Bench) -> None:
    """N-11: after a quarantine the five come before one that is a fifth slower."""
    for n in range(limits.QUARANTINE_MINERS):
        bench.join(f"m{n}")
    known(bench, "slower", 65)
    for n in range(limits.QUARANTINE_MINERS):
        if not n:
            bench.arrive("r1")
        commands = bench.fail("r1", n + 1, f"m{n}")
    assert commands[-1] == Refuse("r1", "quarantined")
    chosen = [command.miner for n in range(6) for command in bench.arrive(f"s{n}") if isinstance(command, Assign)]
    assert sorted(chosen[:-1]) == ["m0", "m1", "m2", "m3", "m4"]
    assert chosen[-1] == "slower"


# ------------------------------------------------------------------------------------------- lanes and what they hold


def test_kinds_of_request_that_nobody_uses_are_forgotten_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no miner, and no request that waits, is forgotten with them."""
    monkeypatch.setattr(limits, "QUEUES", 4)
    bench = Bench()
    bench.join("m1")
    bench.join("lonely", dservices=("media",))
    bench.arrive("r0", tiers=("2",))
    bench.arrive("waits", tiers=("2", "3"))
    assert bench.arrive("none", tiers=("4a",)) == [Refuse("none", "no_miner", "tier", 1_000)]
    bench.arrive("r3", tiers=("2",), level=ServiceLevel(threads=1))
    bench.tell(ClientGone("r3"))
    assert len(bench.broker._register.queues.by_demand) == 4
    assert ("noop", "4a", "") in bench.broker._register.queues.pools
    bench.arrive("r4", tiers=("2",), level=ServiceLevel(threads=2))
    assert len(bench.broker._register.queues.by_demand) == 3, "of two that answer nobody nothing is kept"
    assert ("noop", "4a", "") not in bench.broker._register.queues.pools
    bench.broker.check()
    assert bench.join("m3", tier="3") == [Assign("waits", 1, "m3")]
    assert bench.arrive("m", dservice="media", tiers=("2",)) == [Assign("m", 1, "lonely")]


def test_many_kinds_in_use_are_looked_through_only_when_they_have_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUEUES", 4)
    bench = Bench()
    bench.join("m1", fitness=replace(FITNESS, threads=100))
    for n in range(5):
        bench.arrive(f"r{n}", level=ServiceLevel(threads=n))
    assert (len(bench.broker._register.queues.by_demand), bench.broker._register.queues._bound) == (5, 8)


@pytest.mark.parametrize(
    ("service_ms", "slots", "retry_ms"),
    [(100, 1, 1_000), (4_000, 1, 8_000), (4_000, 2, 4_000), (30_000, 1, 60_000), (30_001, 1, 60_000)],
)
def test_who_is_refused_for_the_queue_hears_how_long_that_takes(service_ms: int, slots: int, retry_ms: int) -> None:
    """N-15: what waits, times what one takes, over all slots, between a second and a minute."""
    bench = Bench(BrokerSettings(account_queue_depth=2))
    known(bench, "m1", service_ms, slots=slots)
    for n in range(slots + 2):
        bench.arrive(f"r{n}")
    assert bench.arrive("more") == [Refuse("more", "overloaded", "account_queue", retry_ms)]


def test_a_fault_in_any_part_of_its_books_is_found_by_the_check(bench: Bench) -> None:
    """The tests and the simulation lean on it: each part of it must be able to fail."""
    bench.join("m1")
    bench.arrive("r1")
    broker = bench.broker
    for book, name in (
        (broker._register, "waiting"),
        (broker._register, "recording"),
        (broker._dispatcher.miners["m1"], "busy"),
        (next(iter(broker._register.queues.pools.values())), "slots"),
        (next(iter(broker._register.queues.by_demand.values())), "live"),
        (next(iter(broker._register.shares.values())), "live"),
    ):
        setattr(book, name, getattr(book, name) + 1)
        with pytest.raises(AssertionError):
            broker.check()
        setattr(book, name, getattr(book, name) - 1)
        broker.check()


# ------------------------------------------------------------------------------------------------------ miners, terms


def test_a_tunnel_that_is_told_of_twice_or_late_changes_nothing(bench: Bench) -> None:
    bench.join("m1")
    bench.join("m1")
    bench.arrive("r1")
    bench.tunnels -= 1
    assert bench.join("m1") == []
    bench.tunnels -= 2
    assert bench.join("m1") == []
    bench.acknowledge("r1", 1, "m1")
    assert isinstance(bench.finish("r1", 1, "m1")[0], RecordRow)


def test_the_same_version_of_the_terms_changes_nothing(bench: Bench) -> None:
    bench.join("m1")
    assert bench.tell(PolicyChanged(replace(TERMS, dservices={}))) == []
    assert bench.arrive("r1") == [Assign("r1", 1, "m1")]


def test_a_tier_that_is_allowed_again_ends_the_grace(bench: Bench) -> None:
    bench.join("m3", tier="3", slots=0)
    bench.arrive("r1", tiers=("3",))
    bench.tell(PolicyChanged(Terms(2, {"noop": ("2",)}, PRICES, {"2": 1_000_000})))
    bench.tell(PolicyChanged(replace(TERMS, version=3)))
    assert bench.pass_time(limits.GRACE_MS) == []
    assert bench.tell(SlotsChanged("m3", 1, 1)) == [Assign("r1", 1, "m3")]


def test_the_tier_s_factor_holds_while_the_request_waits(bench: Bench) -> None:
    """N-21: it has arrived under it, and is given to a miner under another."""
    bench.join("m1", slots=0)
    bench.arrive("r1", tiers=("2",))
    bench.tell(PolicyChanged(Terms(2, TERMS.dservices, PRICES, {"2": 3_000_000})))
    assert bench.tell(SlotsChanged("m1", 1, 1)) == [Assign("r1", 1, "m1")]
    bench.now_ms += 1_000
    [row] = bench.finish("r1", 1, "m1")
    assert isinstance(row, RecordRow)
    assert (row.fee_nano_eur, row.terms_version) == (price(CLAIMED, FITNESS, PRICES, 1_000_000), 1)


# --------------------------------------------------------------------------------------------------- caps, deadlines


@pytest.mark.parametrize("below", [0, 1])
def test_a_fee_may_be_as_much_as_the_cap(bench: Bench, below: int) -> None:
    """N-22."""
    cost = price(CLAIMED, FITNESS, PRICES, 1_000_000)
    bench.join("m1")
    bench.arrive("r1", max_fee_nano_eur=cost - below)
    bench.now_ms += 1_000
    [row] = bench.finish("r1", 1, "m1")
    assert isinstance(row, RecordRow)
    assert (row.fee_nano_eur, row.ended) == (cost - below, "price_cap" if below else "whole")
    refused = Refuse("r1", "price_cap", "max_fee", price_nano_eur=cost)
    assert bench.tell(RowStored("r1")) == [refused if below else Release("r1")]


def priced(cpu_ns: int) -> int:
    return price(Usage(cpu_ns=cpu_ns), FITNESS, PRICES, 1_000_000)


def test_the_price_that_is_named_is_the_highest_that_was_known(bench: Bench) -> None:
    bench.join("m1")
    bench.arrive("r1", max_fee_nano_eur=priced(10**9))
    bench.now_ms += 3_000
    assert isinstance(bench.progress("r1", 1, "m1", 3 * 10**9)[1], CancelAttempt)
    bench.tell(AttemptCut("r1", 1, "m1", Usage(cpu_ns=2 * 10**9), Measured(3 * 10**9, 0, 0)))
    assert bench.tell(RowStored("r1")) == [Refuse("r1", "price_cap", "max_fee", price_nano_eur=priced(3 * 10**9))]


def test_who_leaves_in_the_middle_has_left_also_where_the_cap_is_passed(bench: Bench) -> None:
    bench.join("m1")
    bench.arrive("r1", max_fee_nano_eur=priced(10**9))
    bench.tell(ResponsePassedOn("r1", 1, "m1"))
    bench.now_ms += 3_000
    bench.tell(ClientGone("r1"))
    [row] = bench.tell(AttemptCut("r1", 1, "m1", Usage(cpu_ns=2 * 10**9), Measured(3 * 10**9, 0, 0)))
    assert isinstance(row, RecordRow)
    assert (row.ended, row.fee_nano_eur) == ("cancelled", priced(10**9))
    assert bench.tell(RowStored("r1")) == [Refuse("r1", "cancelled", price_nano_eur=priced(2 * 10**9))]


def test_what_was_cut_is_clipped_and_shares_the_machine_like_what_was_finished(bench: Bench) -> None:
    """N-20: two answers that were left in the middle, each claimed to have used all of the machine and more."""
    bench.join("liar", slots=2, fitness=replace(FITNESS, threads=1))
    for name in ("r1", "r2"):
        bench.arrive(name)
        bench.tell(ResponsePassedOn(name, 1, "liar"))
    bench.now_ms += 1_000
    billed = 0
    for name, detail in (("r1", ("cpu_ns", "response_bytes")), ("r2", ("cpu_ns", "response_bytes"))):
        bench.tell(ClientGone(name))
        lie = Usage(cpu_ns=10**15, response_bytes=101)
        report, row = bench.tell(AttemptCut(name, 1, "liar", lie, replace(MEASURED, wall_ns=10**9)))
        assert report == ReportError("clipped", name, ("liar",), detail)
        assert isinstance(row, RecordRow)
        assert row.usage.response_bytes == 100
        billed += row.usage.cpu_ns
    assert billed == (1_000 + limits.CAPACITY_SLACK_MS) * 10**6


def test_what_was_cut_is_paid_like_what_was_signed(bench: Bench) -> None:
    """N-20: four threads for a second are possible on this machine, which Central knows; work on many threads that is
    cut is paid for."""
    bench.join("m1")
    bench.arrive("r1")
    bench.tell(ResponsePassedOn("r1", 1, "m1"))
    bench.now_ms += 1_000
    bench.tell(ClientGone("r1"))
    [row] = bench.tell(AttemptCut("r1", 1, "m1", Usage(cpu_ns=4 * 10**9), Measured(10**9, 0, 0)))
    assert isinstance(row, RecordRow)
    assert (row.usage, row.clipped) == (Usage(cpu_ns=4 * 10**9), ())


def test_what_fails_when_its_deadline_has_come_is_not_tried_again(bench: Bench) -> None:
    bench.join("m1")
    bench.arrive("r1", deadline_ms=1_000)
    bench.join("m2")
    bench.now_ms += 1_000
    assert bench.fail("r1", 1, "m1") == [Refuse("r1", "deadline")]


@pytest.mark.parametrize("sign", ["acknowledgement", "answer"])
def test_silence_counts_from_the_latest_sign_of_life(bench: Bench, sign: str) -> None:
    """N-10: an acknowledgement is one, and what is passed on of the answer."""
    bench.join("m1")
    bench.arrive("r1", resumable=True)
    bench.now_ms += 1_500
    if sign == "acknowledgement":
        bench.acknowledge("r1", 1, "m1")
    else:
        bench.tell(ResponsePassedOn("r1", 1, "m1"))
    assert bench.pass_time(limits.SILENCE_MS - 1) == []
    assert isinstance(bench.pass_time(1)[0], CloseMiner)
