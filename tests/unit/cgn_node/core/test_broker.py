"""The Work Broker, one rule per test. A fixture that holds a broker checks its invariants after every event."""

from collections.abc import Iterator
from typing import Any

import pytest

from cgn_node.core.broker import Broker, Settings
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
from cgn_node.core.events import (
    Acknowledged,
    AttemptFailed,
    AttemptFinished,
    BodyEnded,
    BodySpent,
    ClientGone,
    Drain,
    Event,
    MinerJoined,
    MinerLeft,
    PolicyChanged,
    RequestArrived,
    ResponsePassedOn,
    ResponseStarted,
    RowRefused,
    RowStored,
    ServiceLevel,
    SlotsChanged,
    Tick,
)
from cgn_node.core.pricing import Fitness, Measured, Prices, Terms, Usage

FITNESS = Fitness(threads=4, kmips_per_thread_milli=9_000, memory_bytes=8 << 30)
PRICES = Prices(263_000, 325_000_000, 87_700_000, 1_000_000)
TIERS = ("1", "2", "3", "4a", "4b")
TERMS = Terms(1, {"noop": TIERS, "media": ("1", "2")}, PRICES, dict.fromkeys(TIERS, 1_000_000))
MEASURED = Measured(wall_ns=10_000_000, request_bytes=10, response_bytes=100)
CLAIMED = Usage(cpu_ns=5_000_000, memory_byte_seconds=1_000, wall_ns=9_000_000, request_bytes=10, response_bytes=100)


class Bench:
    """A broker with a clock of its own and short ways to say what happens."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.broker = Broker(settings)
        self.now_ms = 1_000
        self.tunnels = 0
        self.tell(PolicyChanged(TERMS))

    def tell(self, event: Event) -> list[Command]:
        commands = self.broker.handle(event, self.now_ms)
        self.broker.check()
        return commands

    def join(self, miner: str, tier: str = "2", slots: int = 1, **changed: Any) -> list[Command]:
        self.tunnels += 1
        changed = {"dservices": ("noop",), "enterprise": None, "fitness": FITNESS} | changed
        return self.tell(
            MinerJoined(miner=miner, tunnel=self.tunnels, tier=tier, contributor="con_" + miner, slots=slots, **changed)
        )

    def arrive(self, request: str, account: str = "ent_a", **changed: Any) -> list[Command]:
        changed = {"dservice": "noop", "tiers": ("2", "3"), "deadline_ms": 60_000} | changed
        return self.tell(RequestArrived(request=request, account=account, **changed))

    def finish(self, request: str, attempt: int, miner: str) -> list[Command]:
        return self.tell(AttemptFinished(request, attempt, miner, CLAIMED, MEASURED))

    def fail(self, request: str, attempt: int, miner: str, code: str = "dservice_crashed") -> list[Command]:
        return self.tell(AttemptFailed(request, attempt, miner, code))

    def acknowledge(self, request: str, attempt: int, miner: str) -> None:
        assert self.tell(Acknowledged(request, attempt, miner)) == []

    def serve(self, request: str, attempt: int, miner: str) -> list[Command]:
        """The result and its durable row; returns what else came of it."""
        commands = self.finish(request, attempt, miner)
        assert isinstance(commands[0], RecordRow)
        assert (commands[0].request, commands[0].attempt, commands[0].miner) == (request, attempt, miner)
        return commands[1:] + [c for c in self.tell(RowStored(request)) if c != Release(request)]

    def pass_time(self, ms: int) -> list[Command]:
        """Ticks exactly when the broker asks for it."""
        until, commands = self.now_ms + ms, []
        while (due := self.broker.next_deadline()) is not None and due <= until:
            self.now_ms = max(self.now_ms, due)
            commands += self.tell(Tick())
        self.now_ms = until
        return commands


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.broker.check()


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
    bench.arrive("r1")
    bench.arrive("r2")
    bench.arrive("r3")
    bench.arrive("r4")
    assert bench.pass_time(1_999) == []
    assert bench.pass_time(1) == [CloseMiner("m1", 1, 4408, "no acknowledgement")]
    assert bench.join("m2", slots=4) == [Assign(r, a, "m2") for r, a in [("r1", 2), ("r2", 2), ("r3", 1), ("r4", 1)]]


def test_acknowledged_request_may_take_until_its_deadline(bench: Bench) -> None:
    bench.join("m1")
    bench.arrive("r1", deadline_ms=30_000)
    bench.acknowledge("r1", 1, "m1")
    assert bench.pass_time(29_999) == []
    assert bench.pass_time(1) == [CancelAttempt("r1", 1, "m1", "deadline"), Refuse("r1", "deadline")]
    assert bench.arrive("r2") == [Assign("r2", 1, "m1")]


def test_a_miner_that_acknowledges_and_never_answers_is_passed_over_and_in_the_end_closed(bench: Bench) -> None:
    """N-11, bad input: no DApp notices. Half of the time that was left, then another miner; three in a row and it is
    down."""
    bench.join("dumb", slots=4)
    for n in range(3):
        assert bench.arrive(f"r{n}", deadline_ms=40_000, body_complete=True) == [Assign(f"r{n}", 1, "dumb")]
        bench.acknowledge(f"r{n}", 1, "dumb")
    assert bench.pass_time(15_000) == []
    bench.join("good", slots=4)
    assert bench.pass_time(4_999) == []
    cancelled = [command for n in range(3) for command in handed_over(f"r{n}", "dumb", "good")]
    assert bench.pass_time(1) == [*cancelled, CloseMiner("dumb", 1, 4408, "acknowledges and does not answer")]
    bench.now_ms += 10
    for n in range(3):
        bench.serve(f"r{n}", 2, "good")


def handed_over(request: str, before: str, after: str) -> list[Command]:
    return [CancelAttempt(request, 1, before, "dservice_timeout"), Assign(request, 2, after)]


def test_an_answer_that_has_begun_has_until_the_deadline(bench: Bench) -> None:
    bench.join("m1")
    bench.join("m2")
    [assign] = bench.arrive("r1", deadline_ms=40_000, body_complete=True)
    assert isinstance(assign, Assign)
    bench.tell(ResponseStarted("r1", 1, assign.miner))
    assert bench.pass_time(39_999) == []


def test_a_slow_upload_is_nobodys_silence(bench: Bench) -> None:
    """The time for an answer runs from the body's last byte."""
    bench.join("m1")
    bench.join("m2")
    [assign] = bench.arrive("r1", deadline_ms=100_000)
    assert isinstance(assign, Assign)
    other = {"m1": "m2", "m2": "m1"}[assign.miner]
    bench.acknowledge("r1", 1, assign.miner)
    assert bench.pass_time(60_000) == []
    bench.tell(BodyEnded("r1"))
    assert bench.pass_time(19_999) == []
    assert bench.pass_time(10_000)[:2] == handed_over("r1", assign.miner, other)


def test_a_short_deadline_and_long_work_are_left_alone(bench: Bench) -> None:
    bench.join("m1", slots=4)
    bench.join("m2", slots=4)
    [short] = bench.arrive("r1", deadline_ms=9_000, body_complete=True)
    assert isinstance(short, Assign)
    bench.acknowledge("r1", 1, short.miner)
    assert bench.pass_time(9_000) == [CancelAttempt("r1", 1, short.miner, "deadline"), Refuse("r1", "deadline")]
    for n in range(2):  # the DService usually takes 5 s, so 80 s are nothing unusual
        [assign] = bench.arrive(f"w{n}")
        assert isinstance(assign, Assign)
        bench.tell(AttemptFinished(f"w{n}", 1, assign.miner, CLAIMED, Measured(5 * 10**9, 10, 100)))
    [long] = bench.arrive("r2", deadline_ms=100_000, body_complete=True)
    assert isinstance(long, Assign)
    bench.acknowledge("r2", 1, long.miner)
    assert bench.pass_time(79_999) == []
    assert bench.pass_time(1)[0] == CancelAttempt("r2", 1, long.miner, "dservice_timeout")


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
    bench.arrive("r1")
    bench.fail("r1", 1, "m1")
    assert bench.tell(MinerLeft("m1", 1)) == []
    assert bench.join("m1") == []
    assert bench.arrive("r2") == [Assign("r2", 1, "m1")], "a request that this miner cannot take blocks nobody"
    assert bench.join("m2") == [Assign("r1", 2, "m2")]


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


def test_lost_miner_only_one_there_waits_for_its_return_then_gives_up(bench: Bench) -> None:
    bench.join("m1", slots=1)
    bench.arrive("r1")
    bench.arrive("r2")
    assert bench.tell(MinerLeft("m1", 1)) == []
    assert bench.arrive("r3") == [Refuse("r3", "no_miner", "dservice", 1_000)]
    bench.pass_time(5_000)
    assert bench.join("m1") == [Assign("r2", 1, "m1")]
    assert bench.tell(MinerLeft("m1", 2)) == []
    assert bench.pass_time(20_000) == [Refuse("r1", "bad_gateway", "failed"), Refuse("r2", "bad_gateway", "failed")]


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
    bench = Bench(Settings(tier_queue_depth=3, account_queue_depth=2))
    bench.join("m1")
    assert bench.arrive("r0") == [Assign("r0", 1, "m1")]
    assert bench.arrive("r1") == bench.arrive("r2") == []
    assert bench.arrive("r3") == [Refuse("r3", "overloaded", "account_queue", 1_000)]
    assert bench.arrive("s1", account="ent_b") == []
    assert bench.arrive("s2", account="ent_b") == [Refuse("s2", "overloaded", "tier_queue", 1_000)]


def test_one_account_cannot_invent_kinds_of_request_without_end(bench: Bench) -> None:
    """A freed slot looks at each kind that waits."""
    bench = Bench(Settings(account_kinds=3))
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
    assert bench.fail("r1", 1, first.miner) == [Assign("r1", 2, other, resume=True)]
    [second] = bench.arrive("r2")
    assert isinstance(second, Assign)
    bench.tell(ResponsePassedOn("r2", 1, second.miner))
    assert bench.fail("r2", 1, second.miner) == [Refuse("r2", "bad_gateway", "not_resumable")]


def test_a_spent_body_is_not_tried_again(bench: Bench) -> None:
    bench.join("m1")
    bench.join("m2")
    [assign] = bench.arrive("r1")
    assert isinstance(assign, Assign)
    bench.tell(BodySpent("r1"))
    assert bench.fail("r1", 1, assign.miner) == [Refuse("r1", "bad_gateway", "not_replayable")]


def test_a_body_spent_between_two_attempts_ends_the_request(bench: Bench) -> None:
    """Found by simulation: it would have been sent again, without its beginning."""
    bench.join("m1")
    bench.join("m2")
    bench.arrive("r0")
    [assign] = bench.arrive("r1")
    assert isinstance(assign, Assign)
    assert bench.fail("r1", 1, assign.miner) == []
    assert bench.tell(BodySpent("r1")) == [Refuse("r1", "bad_gateway", "not_replayable")]


def test_grace_starts_anew_when_a_miner_has_come_and_gone(bench: Bench) -> None:
    """Found by simulation: the second wait had no grace left, or only the rest of the first one's."""
    bench.join("m1")
    bench.arrive("r0")
    bench.acknowledge("r0", 1, "m1")
    bench.arrive("r1")
    bench.tell(MinerLeft("m1", 1))
    assert bench.pass_time(9_999) == []
    assert bench.join("m2", slots=0) == []
    assert bench.tell(MinerLeft("m2", 2)) == []
    assert bench.pass_time(9_999) == []
    assert bench.pass_time(1) == [Refuse("r0", "bad_gateway", "failed"), Refuse("r1", "no_miner", "dservice")]


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


def test_price_cap(bench: Bench) -> None:
    """A result dearer than the cap is withheld and costs nothing."""
    bench.join("m1")
    assert bench.arrive("r1", max_fee_nano_eur=0) == [Refuse("r1", "price_cap", "max_fee")]
    bench.arrive("r2", max_fee_nano_eur=1)
    assert bench.finish("r2", 1, "m1") == [Refuse("r2", "price_cap", "max_fee")]
    bench.arrive("r3", max_fee_nano_eur=10**9)
    assert bench.serve("r3", 1, "m1") == []


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
    assert len(held._requests) == 1
    assert len(held._accounts) == 1
    assert len(held._deadlines) < 2_000
    assert sum(len(lane.fresh) for lane in held._lanes.values()) < 500
