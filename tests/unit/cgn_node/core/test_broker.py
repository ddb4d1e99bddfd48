"""The Work Broker, one rule per test. A fixture that holds a broker checks its invariants after every event."""

from dataclasses import replace

import pytest
from broker_bench import CLAIMED, FITNESS, LEAST, MEASURED, PRICES, TERMS, Bench, price

from cgn_node.core.broker import Broker
from cgn_node.core.commands import (
    Assign,
    CancelAttempt,
    CloseMiner,
    Drained,
    RecordRow,
    Refuse,
    Release,
    ReportError,
)
from cgn_node.core.events import (
    AttemptCut,
    AttemptFailed,
    AttemptFinished,
    ClientGone,
    Drain,
    Event,
    MinerLeft,
    PolicyChanged,
    Progressed,
    RequestArrived,
    ResponsePassedOn,
    RowRefused,
    RowStored,
    ServiceLevel,
    SlotsChanged,
)
from cgn_node.core.pricing import Fitness, Measured, Terms, Usage
from cgn_node.core.settings import BrokerSettings


def test_one_request_lives_and_is_billed_once(bench: Bench) -> None:
    """N-9, N-24: matched in the step it arrives; the row first, then the release."""
    bench.join("m1")
    assert bench.arrive("r1") == [Assign("r1", 1, "m1")]
    bench.acknowledge("r1", 1, "m1")
    [row] = bench.finish("r1", 1, "m1")
    assert isinstance(row, RecordRow)
    assert (row.miner, row.tier, row.contributor, row.usage, row.clipped) == ("m1", "2", "con_m1", CLAIMED, ())
    assert bench.tell(RowStored("r1")) == [Release("r1")]
    assert bench.tell(RowStored("r1")) == []
    assert not bench.broker.statistics().requests


def test_an_id_that_is_under_way_arrives_once(bench: Bench) -> None:
    """Nothing twice: the second is not answered either, because an answer would end the first."""
    bench.join("m1")
    bench.join("m2")
    assert bench.arrive("r1") == [Assign("r1", 1, "m1")]
    assert bench.arrive("r1") == []
    bench.acknowledge("r1", 1, "m1")
    assert isinstance(bench.finish("r1", 1, "m1")[0], RecordRow)
    assert bench.arrive("r1") == []
    assert bench.tell(RowStored("r1")) == [Release("r1")]
    assert bench.broker.statistics().counters["arrivals_twice"] == 2


def test_reports_off_record_change_nothing(bench: Bench) -> None:
    """N-11: an old attempt, another miner, an unknown request, a repeat."""
    bench.join("m1")
    bench.join("m2")
    bench.arrive("r1")
    assert bench.fail("r1", 1, "m1") == [Assign("r1", 2, "m2")]
    assert bench.finish("r1", 1, "m1") == []
    assert bench.finish("r1", 2, "m1") == []
    assert bench.finish("r1", 3, "m2") == []
    assert bench.finish("r9", 1, "m2") == []
    assert bench.fail("r1", 1, "m1") == []
    assert bench.serve("r1", 2, "m2") == []
    assert bench.finish("r1", 2, "m2") == []
    assert bench.broker.statistics().counters["reports_off_record"] == 6


def test_waiting_request_is_matched_the_moment_a_slot_is_free(bench: Bench) -> None:
    """N-9."""
    bench.join("m1")
    bench.arrive("r1")
    assert bench.arrive("r2") == []
    assert bench.finish("r1", 1, "m1")[1:] == [Assign("r2", 1, "m1")]


def test_silent_miner_is_closed_and_its_requests_go_to_the_head_in_order(bench: Bench) -> None:
    """N-10: not acknowledged within 2 s is down."""
    bench.join("m1", slots=2)
    bench.join("m2", slots=0)
    bench.arrive("r1")
    bench.arrive("r2")
    bench.arrive("r3")
    bench.arrive("r4")
    assert bench.pass_time(1_999) == []
    assert bench.pass_time(1) == [CloseMiner("m1", 1, 4408, "no acknowledgement")]
    assert bench.tell(SlotsChanged("m2", 2, 4)) == [
        Assign(r, a, "m2") for r, a in [("r1", 2), ("r2", 2), ("r3", 1), ("r4", 1)]
    ]


def test_a_lost_attempt_does_not_overtake_who_has_waited_longer(bench: Bench) -> None:
    """Found by joining the adapters: a deadline frees a slot in the very tick in which another miner is given up."""
    for n in range(3):
        bench.join(f"m{n}")
    assert bench.arrive("r0") == [Assign("r0", 1, "m0")]
    assert bench.arrive("r1", deadline_ms=2_000) == [Assign("r1", 1, "m1")]
    assert bench.arrive("r2") == [Assign("r2", 1, "m2")]
    bench.acknowledge("r1", 1, "m1")
    bench.tell(SlotsChanged("m0", 1, 0))
    assert bench.fail("r0", 1, "m0") == []
    given = bench.pass_time(2_000)
    assert [command for command in given if isinstance(command, Assign)] == [Assign("r0", 2, "m1")]


@pytest.mark.parametrize(("worked_ms", "deadline_ms"), [(35_000, 60_000), (50_000, 60_000), (13_000, 24_000)])
def test_work_may_take_its_whole_deadline(bench: Bench, worked_ms: int, deadline_ms: int) -> None:
    """N-10, N-11: work that shows no sign of trouble is left alone, whoever else is free, and its miner stays."""
    bench.join("m1")
    bench.arrive("r1", deadline_ms=deadline_ms)
    bench.join("m2")
    bench.acknowledge("r1", 1, "m1")
    assert bench.work("r1", 1, "m1", worked_ms) == []
    [row] = bench.finish("r1", 1, "m1")
    assert isinstance(row, RecordRow)
    assert bench.tell(RowStored("r1")) == [Release("r1")]


def test_work_ends_with_its_deadline(bench: Bench) -> None:
    bench.join("m1")
    bench.arrive("r1", deadline_ms=30_000)
    bench.acknowledge("r1", 1, "m1")
    assert bench.work("r1", 1, "m1", 29_999) == []
    assert bench.pass_time(1) == [CancelAttempt("r1", 1, "m1", "deadline"), Refuse("r1", "deadline")]
    assert bench.arrive("r2") == [Assign("r2", 1, "m1")]


def test_a_miner_that_lets_a_deadline_pass_is_ranked_behind_equals(bench: Bench) -> None:
    """N-8: its signs of life keep it in the pool, and do not make it a good choice."""
    bench.join("m1")
    bench.arrive("r1", deadline_ms=9_000)
    bench.join("m2")
    assert bench.work("r1", 1, "m1", 9_000)[-1] == Refuse("r1", "deadline")
    assert bench.arrive("r2") == [Assign("r2", 1, "m2")]
    assert bench.arrive("r3") == [Assign("r3", 1, "m1")]


def test_a_miner_that_says_nothing_of_a_request_is_down(bench: Bench) -> None:
    """N-10, bad input: no DApp notices. Each request has a sign of life of its own, and 6 s without one are the end."""
    bench.join("dumb", slots=4)
    for n in range(2):
        assert bench.arrive(f"r{n}", deadline_ms=40_000) == [Assign(f"r{n}", 1, "dumb")]
        bench.acknowledge(f"r{n}", 1, "dumb")
    bench.join("good", slots=4)
    assert bench.pass_time(3_000) == []
    assert bench.progress("r1", 1, "dumb") == []
    assert bench.pass_time(2_999) == []
    closed = CloseMiner("dumb", 1, 4408, "no sign of life for a request")
    assert bench.pass_time(1) == [closed, Assign("r0", 2, "good"), Assign("r1", 2, "good")]
    bench.now_ms += 10
    for n in range(2):
        bench.serve(f"r{n}", 2, "good")


def test_a_miner_that_falls_silent_in_the_middle_of_an_answer_costs_seconds(bench: Bench) -> None:
    """N-11: another continues it where that is possible."""
    bench.join("m1")
    bench.arrive("r1", resumable=True)
    bench.join("m2")
    bench.tell(ResponsePassedOn("r1", 1, "m1"))
    assert bench.pass_time(5_999) == []
    [closed, again] = bench.pass_time(1)
    assert isinstance(closed, CloseMiner)
    assert again == Assign("r1", 2, "m2")


def test_deadline_in_the_queue(bench: Bench) -> None:
    bench.join("m1")
    bench.arrive("r1")
    bench.acknowledge("r1", 1, "m1")
    bench.arrive("r2", deadline_ms=500)
    assert bench.pass_time(500) == [Refuse("r2", "deadline")]


def test_result_before_the_deadline_stands_after_it(bench: Bench) -> None:
    """The row is on its way: a time-out of ours must not turn a billed result into a refusal."""
    bench.join("m1")
    bench.arrive("r1", deadline_ms=500)
    bench.finish("r1", 1, "m1")
    assert bench.pass_time(10_000) == []
    assert bench.tell(RowStored("r1")) == [Release("r1")]


def test_never_twice_on_the_same_miner_even_when_it_connects_again(bench: Bench) -> None:
    """N-11."""
    bench.join("m1")
    bench.join("m2", slots=0)
    bench.arrive("r1")
    assert bench.fail("r1", 1, "m1") == []
    assert bench.tell(MinerLeft("m1", 1)) == []
    assert bench.join("m1") == []
    assert bench.arrive("r2") == [Assign("r2", 1, "m1")], "a request that this miner cannot take blocks nobody"
    assert bench.tell(SlotsChanged("m2", 2, 1)) == [Assign("r1", 2, "m2")]


def test_quarantine_after_five_miners_blames_nobody(bench: Bench) -> None:
    """N-11."""
    for n in range(6):
        bench.join(f"m{n}")
    bench.arrive("r1")
    for n in range(4):
        assert bench.fail("r1", n + 1, f"m{n}", f"code{n}") == [Assign("r1", n + 2, f"m{n + 1}")]
    assert bench.fail("r1", 5, "m4", "code4") == [
        ReportError("quarantined", "r1", ("m0", "m1", "m2", "m3", "m4"), ("code0", "code1", "code2", "code3", "code4")),
        Refuse("r1", "quarantined"),
    ]
    assert [c.miner for n in range(6) for c in bench.arrive(f"s{n}")] == ["m5", "m0", "m1", "m2", "m3", "m4"]


def test_a_miner_that_fails_is_ranked_behind_equals_until_it_succeeds(bench: Bench) -> None:
    bench.join("bad")
    bench.join("good", slots=2)
    bench.arrive("r1")
    bench.fail("r1", 1, "bad")
    assert bench.arrive("r2") == [Assign("r2", 1, "good")]
    assert bench.arrive("r3") == [Assign("r3", 1, "bad")], "but it is still better than none"


def test_waiting_requests_outlive_their_only_miner_for_a_while(bench: Bench) -> None:
    """A lost tunnel is dialled again within seconds. What it was working on has nobody to wait for."""
    bench.join("m1", slots=1)
    bench.arrive("r1")
    bench.arrive("r2")
    assert bench.tell(MinerLeft("m1", 1)) == [Refuse("r1", "bad_gateway", "failed")]
    assert bench.arrive("r3") == [Refuse("r3", "no_miner", "dservice", 1_000)]
    bench.pass_time(5_000)
    assert bench.join("m1") == [Assign("r2", 1, "m1")]
    assert bench.tell(MinerLeft("m1", 2)) == [Refuse("r2", "bad_gateway", "failed")]


def test_a_failed_request_waits_only_for_whom_it_can_expect(bench: Bench) -> None:
    """N-11: another miner that was here within the last 10 s; nobody new, and not the one it failed on."""
    bench.join("m1")
    bench.join("m2")
    bench.arrive("r1")
    assert bench.tell(MinerLeft("m2", 2)) == []
    bench.acknowledge("r1", 1, "m1")
    bench.pass_time(1_000)
    assert bench.fail("r1", 1, "m1") == []
    assert bench.pass_time(9_999) == []
    assert bench.pass_time(1) == [Refuse("r1", "bad_gateway", "failed")]
    bench.arrive("r3")
    assert bench.fail("r3", 1, "m1") == [Refuse("r3", "bad_gateway", "failed")]


def test_end_of_an_old_tunnel_is_not_the_end_of_the_new_one(bench: Bench) -> None:
    bench.join("m1")
    assert bench.join("m1") == [CloseMiner("m1", 1, 4409, "the same miner connected again")]
    assert bench.tell(MinerLeft("m1", 1)) == []
    assert bench.arrive("r1") == [Assign("r1", 1, "m1")]


def test_tier_one_serves_only_its_own_enterprise(bench: Bench) -> None:
    """N-8."""
    bench.join("own", tier="1", enterprise="ent_a")
    assert bench.arrive("r1", account="ent_b", tiers=("1",)) == [Refuse("r1", "no_miner", "ownership", 1_000)]
    assert bench.arrive("r2", account="ent_a", tiers=("1",)) == [Assign("r2", 1, "own")]
    assert bench.arrive("r3", account="ent_b", tiers=("1", "2")) == [Refuse("r3", "no_miner", "ownership", 1_000)]


def test_a_tier_one_miner_without_owner_serves_nobody(bench: Bench) -> None:
    bench.join("m1", tier="1", enterprise=None)
    assert bench.arrive("r1", account="ent_a", tiers=("1",)) == [Refuse("r1", "no_miner", "ownership", 1_000)]


def test_the_excluding_constraint_is_named(bench: Bench) -> None:
    """Bad input: no miner for the wanted tier, 503 saying which constraint excludes all."""
    assert bench.arrive("r0", dservice="none") == [Refuse("r0", "unknown_dservice", "dservice")]
    assert bench.arrive("r1") == [Refuse("r1", "no_miner", "dservice", 1_000)]
    bench.join("m1", tier="3")
    assert bench.arrive("r2", tiers=("2",)) == [Refuse("r2", "no_miner", "tier", 1_000)]
    big = ServiceLevel(threads=64)
    assert bench.arrive("r3", level=big) == [Refuse("r3", "no_miner", "service_level", 1_000)]
    assert bench.arrive("r4", dservice="media", tiers=("4a",)) == [Refuse("r4", "no_miner", "dservice", 1_000)]


def test_service_level_filters_free_miners(bench: Bench) -> None:
    bench.join("small")
    bench.join("big", fitness=Fitness(threads=64, kmips_per_thread_milli=9_000, memory_bytes=1 << 40))
    assert bench.arrive("r1", level=ServiceLevel(threads=32)) == [Assign("r1", 1, "big")]
    assert bench.arrive("r2", level=ServiceLevel(threads=32)) == []
    assert bench.arrive("r3") == [Assign("r3", 1, "small")]
    assert bench.finish("r3", 1, "small")[1:] == []
    assert bench.finish("r1", 1, "big")[1:] == [Assign("r2", 1, "big")]


def test_preferred_tier_first(bench: Bench) -> None:
    bench.join("m3", tier="3")
    bench.join("m2", tier="2")
    assert bench.arrive("r1", tiers=("2", "3")) == [Assign("r1", 1, "m2")]
    assert bench.arrive("r2", tiers=("2", "3")) == [Assign("r2", 1, "m3")]


def test_a_busy_miner_is_waited_for(bench: Bench) -> None:
    bench.join("m1", slots=0)
    assert bench.arrive("r1") == []
    assert bench.tell(SlotsChanged("m1", 1, 1)) == [Assign("r1", 1, "m1")]
    assert bench.tell(SlotsChanged("m1", 99, 5)) == []


def test_best_fit_is_by_measured_time(bench: Bench) -> None:
    """N-8: not round robin."""
    bench.join("slow", slots=2)
    bench.join("fast", slots=2)
    for n, wall_ms in enumerate((400, 40)):
        [assign] = bench.arrive(f"w{n}")
        assert isinstance(assign, Assign)
        bench.tell(AttemptFinished(f"w{n}", 1, assign.miner, CLAIMED, Measured(wall_ms * 10**6, 10, 100)))
    assert [c.miner for n in range(4) for c in bench.arrive(f"r{n}")] == ["fast", "fast", "slow", "slow"]


def test_fastest_waits_for_the_better_machine_and_not_for_long(bench: Bench) -> None:
    """N-8."""
    bench.join("slow")
    bench.join("fast")
    for n, wall_ms in enumerate((5_000, 50)):
        [assign] = bench.arrive(f"w{n}")
        assert isinstance(assign, Assign)
        bench.tell(AttemptFinished(f"w{n}", 1, assign.miner, CLAIMED, Measured(wall_ms * 10**6, 10, 100)))
    assert bench.arrive("r1", match="fastest") == [Assign("r1", 1, "fast")]
    bench.acknowledge("r1", 1, "fast")
    assert bench.arrive("r2", match="fastest") == []
    assert bench.finish("r1", 1, "fast")[1:] == [Assign("r2", 1, "fast")]
    bench.acknowledge("r2", 1, "fast")
    assert bench.arrive("r3", match="fastest") == []
    assert bench.arrive("r4") == [Assign("r4", 1, "slow")]
    bench.acknowledge("r4", 1, "slow")
    bench.finish("r4", 1, "slow")
    assert bench.pass_time(1_999) == []
    assert bench.pass_time(1) == [Assign("r3", 1, "slow")]


def test_accounts_take_turns_when_they_wait(bench: Bench) -> None:
    """N-7: first come first served within an account, fair between them."""
    bench.join("m1")
    bench.arrive("a0", account="ent_a")
    for n in range(1, 5):
        bench.arrive(f"a{n}", account="ent_a")
    bench.arrive("b0", account="ent_b")
    bench.arrive("b1", account="ent_b")
    order, current = [], "a0"
    for _ in range(6):
        [assign] = [c for c in bench.finish(current, 1, "m1") if isinstance(c, Assign)]
        current = assign.request
        order.append(current)
    assert order == ["b0", "a1", "b1", "a2", "a3", "a4"]


def test_queue_bounds(bench: Bench) -> None:
    """N-7, N-15: 503 with Retry-After."""
    bench = Bench(BrokerSettings(tier_queue_depth=3, account_queue_depth=2))
    bench.join("m1")
    assert bench.arrive("r0") == [Assign("r0", 1, "m1")]
    assert bench.arrive("r1") == bench.arrive("r2") == []
    assert bench.arrive("r3") == [Refuse("r3", "overloaded", "account_queue", 1_000)]
    assert bench.arrive("s1", account="ent_b") == []
    assert bench.arrive("s2", account="ent_b") == [Refuse("s2", "overloaded", "tier_queue", 1_000)]


def test_one_account_cannot_invent_kinds_of_request_without_end(bench: Bench) -> None:
    """A freed slot looks at each kind that waits."""
    bench = Bench(BrokerSettings(account_kinds=3))
    bench.join("m1", fitness=Fitness(threads=100, kmips_per_thread_milli=9_000, memory_bytes=8 << 30))
    bench.arrive("r0")
    for n in range(1, 4):
        assert bench.arrive(f"r{n}", level=ServiceLevel(threads=n)) == []
    assert bench.arrive("r4", level=ServiceLevel(threads=4)) == [Refuse("r4", "overloaded", "account_kinds", 1_000)]
    assert bench.arrive("r5", level=ServiceLevel(threads=3)) == []
    assert bench.arrive("s1", account="ent_b", level=ServiceLevel(threads=4)) == []
    bench.tell(ClientGone("r1"))
    assert bench.arrive("r6", level=ServiceLevel(threads=5)) == []


def test_client_gone(bench: Bench) -> None:
    """N-17: waiting, running (cancelled, not billed), and after the result (billed once)."""
    bench.join("m1")
    bench.arrive("r1")
    bench.arrive("r2")
    bench.arrive("r3")
    assert bench.tell(ClientGone("r2")) == [Refuse("r2", "cancelled")]
    assert bench.tell(ClientGone("r1")) == [
        CancelAttempt("r1", 1, "m1", "cancelled"),
        Refuse("r1", "cancelled"),
        Assign("r3", 1, "m1"),
    ]
    assert bench.finish("r1", 1, "m1") == []
    [row] = bench.finish("r3", 1, "m1")
    assert isinstance(row, RecordRow)
    assert bench.tell(ClientGone("r3")) == []
    assert bench.tell(RowStored("r3")) == [Release("r3")]


def test_refused_row_is_a_refusal(bench: Bench) -> None:
    """N-24: not done unbilled."""
    bench.join("m1")
    bench.arrive("r1")
    bench.finish("r1", 1, "m1")
    assert bench.tell(RowRefused("r1")) == [Refuse("r1", "ledger_full")]
    assert bench.tell(RowStored("r1")) == []


def test_what_has_been_passed_on_is_resumed_or_broken_off(bench: Bench) -> None:
    """N-11."""
    bench.join("m1", slots=4)
    bench.join("m2", slots=4)
    [first] = bench.arrive("r1", resumable=True)
    assert isinstance(first, Assign)
    other = "m2" if first.miner == "m1" else "m1"
    bench.tell(ResponsePassedOn("r1", 1, first.miner))
    assert bench.fail("r1", 1, first.miner) == [Assign("r1", 2, other)]
    [second] = bench.arrive("r2")
    assert isinstance(second, Assign)
    bench.tell(ResponsePassedOn("r2", 1, second.miner))
    assert bench.fail("r2", 1, second.miner) == [Refuse("r2", "bad_gateway", "not_resumable")]


def test_an_answer_that_breaks_http_is_the_dservice_s_fault(bench: Bench) -> None:
    """N-11, clear refusals: 502 when a second miner says the same, or at once where no other is free; no wait, and
    nobody is ranked lower for it."""
    for n in range(3):
        bench.join(f"m{n}")
    bench.arrive("r1")
    assert bench.fail("r1", 1, "m0", "dservice_protocol") == [Assign("r1", 2, "m1")]
    assert bench.fail("r1", 2, "m1", "dservice_protocol") == [Refuse("r1", "bad_gateway", "dservice")]
    assert [
        offer.failures for miner in bench.broker._dispatcher.miners.values() for offer in miner.offers.values()
    ] == [0, 0, 0]
    assert [bench.arrive(f"b{n}")[0].miner for n in range(3)] == ["m2", "m0", "m1"]  # type: ignore[union-attr]
    assert bench.fail("b0", 1, "m2", "dservice_protocol") == [Refuse("b0", "bad_gateway", "dservice")]
    assert bench.arrive("r2") == [Assign("r2", 1, "m2")]
    assert bench.fail("b1", 1, "m0", "dservice_crashed") == [], "a crash may be the machine's: it waits for another"


def test_grace_starts_anew_when_a_miner_has_come_and_gone(bench: Bench) -> None:
    """Found by simulation: the second wait had no grace left, or only the rest of the first one's."""
    bench.join("m1")
    bench.arrive("r0")
    bench.acknowledge("r0", 1, "m1")
    bench.arrive("r1")
    assert bench.tell(MinerLeft("m1", 1)) == [Refuse("r0", "bad_gateway", "failed")]
    assert bench.pass_time(9_999) == []
    assert bench.join("m2", slots=0) == []
    assert bench.tell(MinerLeft("m2", 2)) == []
    assert bench.pass_time(9_999) == []
    assert bench.pass_time(1) == [Refuse("r1", "no_miner", "dservice")]


def test_who_was_behind_a_request_that_was_held_back_is_looked_at_again(bench: Bench) -> None:
    """Found by simulation: `fastest`, the first goes, the second waited on beside a free miner."""
    bench.join("slow", slots=2)
    bench.join("fast")
    for n, wall_ms in enumerate((5_000, 50)):
        [assign] = bench.arrive(f"w{n}")
        assert isinstance(assign, Assign)
        bench.tell(AttemptFinished(f"w{n}", 1, assign.miner, CLAIMED, Measured(wall_ms * 10**6, 10, 100)))
    assert bench.arrive("r1", match="fastest") == [Assign("r1", 1, "fast")]
    bench.acknowledge("r1", 1, "fast")
    assert bench.arrive("r2", match="fastest") == []
    assert bench.arrive("r3", match="fastest") == []
    assert bench.tell(ClientGone("r2")) == [Refuse("r2", "cancelled")]
    assert bench.broker.next_deadline() == bench.now_ms, "r3 is looked at at once"
    assert bench.pass_time(1_999) == []
    assert bench.pass_time(1) == [Assign("r3", 1, "slow")]


def test_impossible_claim_is_clipped_and_reported(bench: Bench) -> None:
    """N-20."""
    bench.join("liar")
    bench.arrive("r1")
    bench.acknowledge("r1", 1, "liar")
    bench.pass_time(10)
    claim = Usage(cpu_ns=10**15, memory_byte_seconds=1, wall_ns=1, gpu_ns=7, request_bytes=10, response_bytes=10**9)
    report, row = bench.tell(AttemptFinished("r1", 1, "liar", claim, MEASURED))
    assert report == ReportError("clipped", "r1", ("liar",), ("cpu_ns", "gpu_ns", "response_bytes"))
    assert isinstance(row, RecordRow)
    assert row.usage == Usage(4 * 10_000_000, 1, 1, 0, 10, 100)


def test_requests_that_overlap_share_the_machine(bench: Bench) -> None:
    """N-20: each claim is possible alone; together they are four times what the machine has."""
    bench.join("liar", slots=4)
    for n in range(4):
        bench.arrive(f"r{n}")
        bench.acknowledge(f"r{n}", 1, "liar")
    bench.pass_time(1_000)
    measured = Measured(wall_ns=10**9, request_bytes=0, response_bytes=0)
    claimed = Usage(cpu_ns=4 * 10**9, memory_byte_seconds=8 << 30, wall_ns=10**9)
    rows = []
    for n in range(4):
        rows += bench.tell(AttemptFinished(f"r{n}", 1, "liar", claimed, measured))
    billed = [row.usage for row in rows if isinstance(row, RecordRow)]
    assert billed[0] == claimed
    assert sum(usage.cpu_ns for usage in billed) == 4 * (1_000 + 2) * 10**6
    assert sum(usage.memory_byte_seconds for usage in billed) == (8 << 30) * 1_002 // 1_000
    reports = [report for report in rows if isinstance(report, ReportError)]
    assert [report.detail for report in reports] == [("cpu_ns", "memory_byte_seconds")] * 3
    bench.pass_time(5_000)
    bench.arrive("r9")
    bench.pass_time(1_000)
    row = bench.tell(AttemptFinished("r9", 1, "liar", claimed, measured))[0]
    assert isinstance(row, RecordRow), "idle time is not saved up, busy time is there in full"


def priced(cpu_ns: int, **more: int) -> int:
    return price(Usage(cpu_ns=cpu_ns, **more), FITNESS, PRICES, 1_000_000)


def test_a_cap_below_the_least_fee_is_refused_at_the_door(bench: Bench) -> None:
    bench.join("m1")
    assert bench.arrive("r1", max_fee_nano_eur=0) == [Refuse("r1", "price_cap", "max_fee", price_nano_eur=1)]


def test_a_result_dearer_than_the_cap_is_withheld_and_the_cap_is_paid_for_it(bench: Bench) -> None:
    """N-22: whoever sets a cap that the work passes pays the cap, and never more."""
    bench.join("m1")
    bench.arrive("r2", max_fee_nano_eur=1)
    [row] = bench.finish("r2", 1, "m1")
    assert isinstance(row, RecordRow)
    assert (row.fee_nano_eur, row.ended, row.usage) == (1, "price_cap", CLAIMED)
    cost = price(CLAIMED, FITNESS, PRICES, 1_000_000)
    assert cost > 1
    assert bench.tell(RowStored("r2")) == [Refuse("r2", "price_cap", "max_fee", price_nano_eur=cost)]
    bench.arrive("r3", max_fee_nano_eur=10**9)
    assert bench.serve("r3", 1, "m1") == []


def test_work_is_stopped_in_the_moment_in_which_it_passes_its_cap(bench: Bench) -> None:
    """N-22: by what the miner says it uses, as far as the machine can have used it; the slot is free at once."""
    bench.join("m1")
    cap = priced(10**9)
    [assign] = bench.arrive("r1", max_fee_nano_eur=cap)
    assert isinstance(assign, Assign)
    assert assign.cpu_budget_ns is not None
    assert priced(assign.cpu_budget_ns) == cap < priced(assign.cpu_budget_ns + 1)
    bench.arrive("r2")
    bench.now_ms += 3_000
    assert bench.progress("r1", 1, "m1", assign.cpu_budget_ns) == []
    lie = Progressed("r1", 1, "m1", Usage(cpu_ns=10**18), Measured(1, 0, 0))
    assert bench.tell(lie) == [], "a thousand million seconds in a nanosecond are not believed"
    stopped = bench.progress("r1", 1, "m1", assign.cpu_budget_ns + 1)
    assert stopped == [
        ReportError("stopped_unsigned", "r1", ("m1",), ("price_cap",)),
        CancelAttempt("r1", 1, "m1", "price_cap", settle=True),
        Assign("r2", 1, "m1"),
    ]
    used = Usage(cpu_ns=2 * 10**9)
    [row] = bench.tell(AttemptCut("r1", 1, "m1", used, Measured(3 * 10**9, 0, 0)))
    assert isinstance(row, RecordRow)
    assert (row.fee_nano_eur, row.ended, row.usage, row.miner) == (cap, "price_cap", used, "m1")
    assert bench.tell(AttemptCut("r1", 1, "m1", used, Measured(3 * 10**9, 0, 0))) == []
    assert bench.tell(ClientGone("r1")) == []
    assert bench.tell(RowStored("r1")) == [Refuse("r1", "price_cap", "max_fee", price_nano_eur=priced(2 * 10**9))]


def test_a_cap_is_not_taken_by_a_claim(bench: Bench) -> None:
    """N-20, N-22: of a machine that nobody has registered one slow thread of the node's own wall time is believed,
    whatever the miner says of it; who ends a request by its word comes behind the others until it gives an answer."""
    bench.join("m1", fitness=Fitness(4_096, 100_000, 2**46), registered=None)
    cap = price(Usage(cpu_ns=10**10), LEAST, PRICES, 1_000_000)
    bench.arrive("r1", max_fee_nano_eur=cap)
    everything = Usage(cpu_ns=2**53 - 1, memory_byte_seconds=2**53 - 1)
    assert bench.tell(Progressed("r1", 1, "m1", everything, Measured(10**8, 0, 0))) == []
    assert not bench.broker._dispatcher.miners["m1"].offers["noop"].failures
    bench.now_ms += 2_000
    memory = Usage(cpu_ns=2 * 10**9, memory_byte_seconds=8 * 2**30)
    told = bench.tell(Progressed("r1", 1, "m1", memory, Measured(2 * 10**9, 0, 0)))
    assert [type(command) for command in told] == [ReportError, CancelAttempt]
    assert bench.broker._dispatcher.miners["m1"].offers["noop"].failures == 1
    more = replace(memory, cpu_ns=10**10)
    [row] = bench.tell(AttemptCut("r1", 1, "m1", more, Measured(2 * 10**9, 0, 0)))
    assert isinstance(row, RecordRow)
    assert (row.fee_nano_eur, row.usage, row.clipped) == (cap, memory, ("cpu_ns",))
    assert bench.broker.statistics().counters["stopped_unsigned"] == 1


@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize(
    ("registered", "billed"),
    [
        (None, LEAST),
        (Fitness(2, 9_000, 1 << 30), Fitness(2, 9_000, 1 << 30)),
        (Fitness(64, 90_000, 1 << 40), FITNESS),
        (Fitness(64, 5_000, 1 << 40), replace(FITNESS, kmips_per_thread_milli=5_000)),
    ],
    ids=["nothing", "less", "more", "slower"],
)
def test_a_signature_makes_no_claim_true(
    bench: Bench, registered: Fitness | None, billed: Fitness, is_signed: bool
) -> None:
    """N-20: whole or cut, signed or not, a claim counts as far as the node's clock and the machine that Central knows
    bear it, and no further than the miner says itself."""
    bench.join("m1", registered=registered)
    bench.arrive("r1")
    bench.tell(ResponsePassedOn("r1", 1, "m1"))
    bench.now_ms += 1_000
    everything, measured = Usage(cpu_ns=2**60, memory_byte_seconds=2**60), Measured(10**9, 0, 0)
    if not is_signed:
        bench.tell(ClientGone("r1"))
    kind = AttemptFinished if is_signed else AttemptCut
    report, row = bench.tell(kind("r1", 1, "m1", everything, measured))
    assert isinstance(row, RecordRow)
    expected = Usage(cpu_ns=billed.threads * 10**9, memory_byte_seconds=billed.memory_bytes)
    assert (row.usage, row.clipped) == (expected, ("cpu_ns", "memory_byte_seconds"))
    assert row.fee_nano_eur == price(expected, billed, PRICES, 1_000_000)
    assert report == ReportError("clipped", "r1", ("m1",), row.clipped), "its own machine cannot do that either"


def test_a_machine_that_nobody_has_registered_is_no_offence(bench: Bench) -> None:
    """What its miner says it used is possible there: less is billed, and nobody is reported."""
    bench.join("m1", registered=None)
    bench.arrive("r1")
    bench.now_ms += 1_000
    [row] = bench.tell(AttemptFinished("r1", 1, "m1", Usage(cpu_ns=4 * 10**9), Measured(10**9, 0, 0)))
    assert isinstance(row, RecordRow)
    assert (row.usage, row.clipped) == (Usage(cpu_ns=10**9), ("cpu_ns",))
    assert bench.arrive("r2", level=ServiceLevel(threads=2)) == [Refuse("r2", "no_miner", "service_level", 1_000)]


def test_what_one_container_may_use_bounds_the_claims_of_its_dservice(bench: Bench) -> None:
    """N-20: by the terms at the request's arrival; a burst is billed less and is nobody's fault."""
    bench.tell(PolicyChanged(replace(TERMS, version=2, cpus_milli={"noop": 1_500})))
    bench.join("m1", slots=2)
    bench.arrive("r1")
    bench.tell(PolicyChanged(replace(TERMS, version=3)))
    bench.arrive("r2")
    bench.now_ms += 1_000
    claimed, measured = Usage(cpu_ns=2 * 10**9), Measured(10**9, 0, 0)
    rows = [bench.tell(AttemptFinished(name, 1, "m1", claimed, measured))[0] for name in ("r1", "r2")]
    assert all(isinstance(row, RecordRow) for row in rows)
    assert [row.usage.cpu_ns for row in rows if isinstance(row, RecordRow)] == [1_500_000_000, 2 * 10**9]


def test_a_cap_that_bytes_alone_pass_is_nobodys_failure(bench: Bench) -> None:
    """The node has carried them itself."""
    bench.join("m1")
    bench.arrive("r1", max_fee_nano_eur=5)
    used = Usage(response_bytes=10**9)
    told = bench.tell(Progressed("r1", 1, "m1", used, Measured(1, 0, 10**9)))
    assert told == [CancelAttempt("r1", 1, "m1", "price_cap", settle=True)]
    assert not bench.broker._dispatcher.miners["m1"].offers["noop"].failures


def test_an_estimate_above_the_cap_ends_it_before_the_work(bench: Bench) -> None:
    """N-22: 402 with the amount, nothing billed, nobody blamed; a miner whose estimate fits the cap has lied."""
    bench.join("m1")
    bench.join("m2")
    [assign] = bench.arrive("r1", max_fee_nano_eur=1_000)
    assert isinstance(assign, Assign)
    assert assign.cpu_budget_ns is not None
    dear = Usage(cpu_ns=assign.cpu_budget_ns + 10**9)
    refused = Refuse("r1", "price_cap", "estimate", price_nano_eur=priced(dear.cpu_ns))
    assert bench.tell(AttemptFailed("r1", 1, "m1", "price_cap", dear)) == [refused]
    assert not bench.broker._dispatcher.miners["m1"].offers["noop"].failures
    [assign] = bench.arrive("r2", max_fee_nano_eur=1_000)
    assert isinstance(assign, Assign)
    cheap = AttemptFailed("r2", 1, assign.miner, "price_cap", Usage(cpu_ns=assign.cpu_budget_ns))
    [again] = bench.tell(cheap)
    assert isinstance(again, Assign)
    assert again.cpu_budget_ns is None
    assert [assign.cpu_budget_ns for assign in bench.arrive("r3")] == [None]  # type: ignore[union-attr]


@pytest.mark.parametrize(("code", "event"), [("cancelled", ClientGone("r1")), ("deadline", None)])
def test_what_has_left_of_an_answer_is_billed(bench: Bench, code: str, event: Event | None) -> None:
    """N-22, N-39: the DApp leaves in the middle of the response, or its deadline comes there."""
    bench.join("m1")
    bench.arrive("r1", deadline_ms=5_000)
    bench.tell(ResponsePassedOn("r1", 1, "m1"))
    cut = bench.tell(event) if event is not None else bench.pass_time(5_000)
    assert cut == [CancelAttempt("r1", 1, "m1", code, settle=True)]
    bench.now_ms += 1
    [row] = bench.tell(AttemptCut("r1", 1, "m1", CLAIMED, MEASURED))
    assert isinstance(row, RecordRow)
    assert (row.fee_nano_eur, row.ended) == (price(CLAIMED, FITNESS, PRICES, 1_000_000), code)
    assert bench.tell(RowStored("r1")) == [Refuse("r1", code)]
    assert bench.broker.statistics().recording == 0


def test_what_was_given_away_by_an_attempt_that_failed_is_not_billed(bench: Bench) -> None:
    """N-39: a failed run costs nothing, also when the DApp leaves before the next one begins."""
    bench.join("m1")
    bench.join("m2", slots=0)
    bench.arrive("r1", resumable=True)
    bench.tell(ResponsePassedOn("r1", 1, "m1"))
    assert bench.fail("r1", 1, "m1") == []
    assert bench.tell(ClientGone("r1")) == [Refuse("r1", "cancelled")]


def test_a_cut_request_that_finds_no_room_for_its_row_is_over(bench: Bench) -> None:
    bench.join("m1")
    bench.arrive("r1")
    bench.tell(ResponsePassedOn("r1", 1, "m1"))
    bench.tell(ClientGone("r1"))
    assert bench.tell(RowStored("r1")) == [], "there is no row yet"
    bench.tell(AttemptCut("r1", 1, "m1", CLAIMED, MEASURED))
    assert bench.tell(RowRefused("r1")) == [Refuse("r1", "ledger_full")]


def test_the_tier_s_factor_is_the_one_in_force_when_the_request_arrived(bench: Bench) -> None:
    """N-21: a price never changes under a request; that of a tier opened since is the one it is assigned at."""
    bench.join("m1")
    bench.join("m3", tier="3")

    def bill(request: str, tier: str, arrive_again: bool = True) -> tuple[int, int]:
        if arrive_again:
            bench.arrive(request, tiers=(tier,))
        bench.now_ms += 1_000
        [row] = [c for c in bench.finish(request, 1, "m1" if tier == "2" else "m3") if isinstance(c, RecordRow)]
        bench.tell(RowStored(request))
        return row.fee_nano_eur, row.terms_version

    def factors(version: int, **tiers: int) -> Terms:
        return Terms(version, TERMS.dservices, PRICES, {name[1:]: factor for name, factor in tiers.items()})

    once = price(CLAIMED, FITNESS, PRICES, 1_000_000)
    thrice = price(CLAIMED, FITNESS, PRICES, 3_000_000)
    bench.arrive("r1", tiers=("2",))
    bench.tell(PolicyChanged(factors(2, t2=3_000_000)))
    assert bill("r1", "2", arrive_again=False) == (once, 1)
    assert bill("r2", "2") == (thrice, 2)
    bench.arrive("r0", tiers=("2",))
    bench.arrive("r3", tiers=("2", "3"))
    bench.tell(PolicyChanged(factors(3, t2=1_000_000, t3=3_000_000)))
    bench.tell(PolicyChanged(factors(4, t2=1_000_000, t3=9_000_000)))
    assert bill("r3", "3", arrive_again=False) == (thrice, 2)


def test_service_times_are_averages_of_what_was_measured(bench: Bench) -> None:
    """N-8: of a miner the newest counts an eighth, of a pool a sixteenth, in the right direction."""
    bench.join("m1")
    for n, wall_ms in enumerate((800, 1_600, 400)):
        bench.arrive(f"r{n}")
        bench.now_ms += wall_ms
        bench.tell(AttemptFinished(f"r{n}", 1, "m1", CLAIMED, Measured(wall_ms * 10**6, 10, 100)))
        bench.tell(RowStored(f"r{n}"))
    of_pool = ((800_000 * 15 + 1_600_000) // 16 * 15 + 400_000) // 16
    of_miner = ((800_000 * 7 + 1_600_000) // 8 * 7 + 400_000) // 8
    assert [pool.service_us for pool in bench.broker.statistics().pools if pool.miners] == [of_pool]
    assert bench.broker._dispatcher.miners["m1"].offers["noop"].service_us == of_miner


def test_process_runner_outside_tier_one_is_refused(bench: Bench) -> None:
    """M-4."""
    [close] = bench.join("m1", tier="2", runner="process")
    assert isinstance(close, CloseMiner)
    assert close.close_code == 4403
    assert bench.join("m2", tier="1", enterprise="ent_a", runner="process") == []


def test_fitness_beyond_reason_is_refused(bench: Bench) -> None:
    """What a miner may claim is bounded by its fitness, so fitness is bounded too (N-20)."""
    for wrong in (Fitness(0, 1, 1), Fitness(10**6, 1, 1), Fitness(1, 10**9, 1), Fitness(1, 1, 1 << 60)):
        [close] = bench.join("m1", fitness=wrong)
        assert isinstance(close, CloseMiner)
        assert close.close_code == 4403
    assert bench.broker.statistics().miners == 0


def test_drain_finishes_what_was_accepted(bench: Bench) -> None:
    """N-18: also a retry in the middle of it."""
    bench.join("m1")
    bench.join("m2")
    [assign] = bench.arrive("r1")
    assert isinstance(assign, Assign)
    other = {"m1": "m2", "m2": "m1"}[assign.miner]
    assert bench.tell(Drain()) == []
    assert bench.arrive("r2") == [Refuse("r2", "draining")]
    assert bench.fail("r1", 1, assign.miner) == [Assign("r1", 2, other)]
    row, *closed = bench.finish("r1", 2, other)
    assert isinstance(row, RecordRow)
    assert [(c.miner, c.close_code) for c in closed if isinstance(c, CloseMiner)] == [("m1", 4503), ("m2", 4503)]
    assert bench.tell(RowStored("r1")) == [Release("r1"), Drained()]
    assert bench.join("m3") == [CloseMiner("m3", 3, 4503, "the node is about to stop")]


def test_policy_changes_apply_to_what_waits(bench: Bench) -> None:
    bench.join("m3", tier="3", slots=0)
    assert bench.arrive("r1", tiers=("3",)) == []
    bench.tell(PolicyChanged(Terms(2, {"noop": ("2",)}, PRICES, {"2": 1_000_000})))
    assert bench.tell(SlotsChanged("m3", 1, 1)) == [], "the tier is not allowed any more"
    assert bench.tell(PolicyChanged(TERMS)) == [], "an older version changes nothing"
    assert bench.pass_time(10_000) == [Refuse("r1", "no_miner", "tier")]


def test_no_policy_yet() -> None:
    assert Broker().handle(RequestArrived("r", "a", "noop", ("2",), 1), 0) == [Refuse("r", "central_unreachable")]


def test_statistics(bench: Bench) -> None:
    """N-3."""
    bench.join("m1", slots=2)
    for n in range(4):
        bench.arrive(f"r{n}")
    statistics = bench.broker.statistics()
    [pool] = [pool for pool in statistics.pools if pool.tier == "2"]
    assert (pool.dservice, pool.miners, pool.slots, pool.free_slots, pool.waiting) == ("noop", 1, 2, 0, 2)
    assert (statistics.requests, statistics.waiting, statistics.queue_depth) == (4, 2, {"2": 2})


def test_nothing_grows_with_requests_that_have_ended(bench: Bench) -> None:
    """Cancelled while waiting, thousands of times: memory follows what is live."""
    bench.join("m1", slots=1)
    bench.broker.handle(RequestArrived("first", "ent_a", "noop", ("2",), 10**9), 1_000)
    for n in range(5_000):
        level = ServiceLevel(threads=n % 3)
        bench.broker.handle(RequestArrived(f"r{n}", f"ent_{n}", "noop", ("2",), 60_000, level=level), 1_000)
        bench.broker.handle(ClientGone(f"r{n}"), 1_000)
    bench.broker.check()
    held = bench.broker
    assert len(held._register.requests) == 1
    assert len(held._register.shares) == 1
    assert len(held._register.deadlines.ends.entries) < 2_000
    assert sum(len(queue.fresh) for queue in held._register.queues.by_demand.values()) < 500
