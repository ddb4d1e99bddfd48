"""Breaks the broker on purpose, one way at a time, and asserts that the auditor notices: what watches must be watched.

The core's own invariants are switched off here and its crashes do not count: only the auditor's verdict does.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cgn_node.core import billing as billing_module
from cgn_node.core import broker as broker_module
from cgn_node.core import miners as miners_module
from cgn_node.core.broker import Broker
from cgn_node.core.commands import CloseMiner, RecordRow, Refuse, Release, ReportError
from cgn_node.core.deadlines import Heap, Line
from cgn_node.core.dispatch import Dispatcher
from cgn_node.core.miners import Miner, Offer
from cgn_node.core.pricing import Tariff
from cgn_node.core.queues import Queues, WaitQueue
from cgn_node.core.requests import RECORDING
from cgn_node.simulation.auditor import AuditError
from cgn_node.simulation.world import run

SEEDS = range(1, 121)

Patch = Callable[[pytest.MonkeyPatch], None]
MUTATIONS: dict[str, Patch] = {}


def mutation(function: Patch) -> Patch:
    MUTATIONS[function.__name__] = function
    return function


def _accusing(build: Any) -> Any:
    def init(self: Miner, joined: Any) -> None:
        build(self, joined)
        self.machine = self.fitness

    return init


def _row(command: Any) -> bool:
    return isinstance(command, RecordRow)


def filtered(patch: pytest.MonkeyPatch, change: Callable[[Any], list[Any]]) -> None:
    """The broker's commands, each replaced by what `change` makes of it."""
    handle = Broker.handle
    patch.setattr(Broker, "handle", lambda self, *a: [new for old in handle(self, *a) for new in change(old)])


@mutation
def ignore_the_attempt_number(patch: pytest.MonkeyPatch) -> None:
    def live(self: Broker, event: Any) -> Any:
        request = self._requests.get(event.request)
        return next((each for each in request.attempts if each.miner.id == event.miner), None) if request else None

    patch.setattr(Broker, "_live", live)


@mutation
def ignore_who_reports(patch: pytest.MonkeyPatch) -> None:
    def live(self: Broker, event: Any) -> Any:
        request = self._requests.get(event.request)
        return next((each for each in request.attempts if each.number == event.attempt), None) if request else None

    patch.setattr(Broker, "_live", live)


@mutation
def release_twice(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [c, c] if isinstance(c, Release) else [c])


@mutation
def release_before_the_row_is_durable(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [c, Release(c.request)] if isinstance(c, RecordRow) else [c])


@mutation
def bill_twice(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [c, c] if isinstance(c, RecordRow) else [c])


@mutation
def bill_cancelled_work(patch: pytest.MonkeyPatch) -> None:
    from cgn_node.core.pricing import Usage

    def change(c: Any) -> list[Any]:
        if isinstance(c, Refuse) and c.code == "cancelled":
            return [RecordRow(c.request, 1, "m0", "2", "con_m0", Usage(), (), 1, 1), c]
        return [c]

    filtered(patch, change)


@mutation
def pay_another_miner(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [replace(c, miner="m0", contributor="con_m0") if isinstance(c, RecordRow) else c])


@mutation
def forget_a_slot(patch: pytest.MonkeyPatch) -> None:
    give_back = Miner.give_back

    def leaking(self: Miner, request: Any, now_ms: int) -> None:
        give_back(self, request, now_ms)
        if len(request) == 2:  # now and then
            self.busy += 1
            self.place()

    patch.setattr(Miner, "give_back", leaking)


@mutation
def free_a_slot_twice(patch: pytest.MonkeyPatch) -> None:
    give_back = Miner.give_back

    def generous(self: Miner, request: Any, now_ms: int) -> None:
        give_back(self, request, now_ms)
        self.busy = max(0, self.busy - 1)
        self.place()

    patch.setattr(Miner, "give_back", generous)


@mutation
def try_the_same_miner_again(patch: pytest.MonkeyPatch) -> None:
    try_again = Dispatcher.try_again

    def forgetful(self: Dispatcher, request: Any, miner_id: str, code: str, out: list[Any]) -> None:
        try_again(self, request, "nobody", code, out)

    patch.setattr(Dispatcher, "try_again", forgetful)


@mutation
def requeue_at_the_tail(patch: pytest.MonkeyPatch) -> None:
    push = WaitQueue.push

    def tail(self: Any, request: Any) -> None:
        tried, request.tried = request.tried, 0
        request.key = (request.key[0] + 1_000, request.key[1]) if tried else request.key
        push(self, request)
        request.tried = tried

    def head_for(self: Any, miner_id: str) -> Any:
        waiting = [r for _, r in sorted(self.fresh) if r.waits_afresh and miner_id not in r.failed]
        return waiting[0] if waiting else None

    def remove(self: Any, request: Any) -> None:
        self.waiting_fresh -= 1
        request.waits_afresh = False
        self.fresh = [entry for entry in self.fresh if entry[1] is not request]

    patch.setattr(WaitQueue, "push", tail)
    patch.setattr(WaitQueue, "head_for", head_for)
    patch.setattr(WaitQueue, "remove", remove)


@mutation
def last_come_first_served(patch: pytest.MonkeyPatch) -> None:
    push = WaitQueue.push

    def upside_down(self: Any, request: Any) -> None:
        request.key = (-request.key[0], -request.key[1])
        push(self, request)

    patch.setattr(WaitQueue, "push", upside_down)


@mutation
def believe_every_claim(patch: pytest.MonkeyPatch) -> None:
    for module in (broker_module, billing_module):
        patch.setattr(module, "clip", lambda claimed, *_: (claimed, ()))


@mutation
def believe_what_nobody_has_registered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(miners_module, "believed", lambda said, registered: said)


@mutation
def believe_a_registered_machine_that_says_it_is_less(patch: pytest.MonkeyPatch) -> None:
    from cgn_node.core.pricing import Fitness, believed

    most = Fitness(10**6, 10**6, 2**60, 10**6, 10**9)
    patch.setattr(
        miners_module, "believed", lambda said, registered: believed(most if registered else said, registered)
    )


@mutation
def forget_what_a_container_may_use(patch: pytest.MonkeyPatch) -> None:
    build = Tariff.__init__
    patch.setattr(
        Tariff, "__init__", lambda self, terms, fitness, factor, ceiling=0: build(self, terms, fitness, factor)
    )


@mutation
def take_the_container_of_today(patch: pytest.MonkeyPatch) -> None:
    record = Broker._record

    def today(self: Broker, attempt: Any, event: Any, out: list[Any]) -> None:
        attempt.tariff.cpus_milli = self._terms.cpus_milli.get(attempt.offer.pool.dservice, 0)  # type: ignore[union-attr]
        record(self, attempt, event, out)

    patch.setattr(Broker, "_record", today)


@mutation
def accuse_who_is_not_registered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Miner, "__init__", _accusing(Miner.__init__))


@mutation
def bill_a_machine_for_more_than_it_has(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Miner, "bill", lambda self, usage, now_ms: (usage, ()))


@mutation
def clip_in_silence(patch: pytest.MonkeyPatch) -> None:
    clip = billing_module.clip

    def quiet(*a: Any) -> Any:
        usage, clipped = clip(*a)
        return usage, clipped[:-1]

    patch.setattr(billing_module, "clip", quiet)


@mutation
def round_down(patch: pytest.MonkeyPatch) -> None:
    exact = Tariff.price
    patch.setattr(Tariff, "price", lambda self, usage: exact(self, usage) - 1)


@mutation
def ignore_the_price_cap(patch: pytest.MonkeyPatch) -> None:
    arrived = Broker._on_arrived

    def uncapped(self: Broker, event: Any, out: list[Any]) -> None:
        arrived(self, event, out)
        request = self._requests.get(event.request)
        if request is not None:
            request.max_fee_nano_eur = None

    patch.setattr(Broker, "_on_arrived", uncapped)


@mutation
def ignore_deadlines(patch: pytest.MonkeyPatch) -> None:
    tick = Broker._on_tick

    def timeless(self: Broker, event: Any, out: list[Any]) -> None:
        self._register.deadlines.ends = Heap()
        tick(self, event, out)

    patch.setattr(Broker, "_on_tick", timeless)


@mutation
def never_mind_acknowledgements(patch: pytest.MonkeyPatch) -> None:
    tick = Broker._on_tick

    def patient(self: Broker, event: Any, out: list[Any]) -> None:
        self._register.deadlines.acknowledgements = Line()
        tick(self, event, out)

    patch.setattr(Broker, "_on_tick", patient)


@mutation
def lose_requests_with_their_miner(patch: pytest.MonkeyPatch) -> None:
    lose = Dispatcher.lose

    def careless(self: Dispatcher, miner: Any, code: str, out: list[Any]) -> None:
        miner.running.clear()
        lose(self, miner, code, out)

    patch.setattr(Dispatcher, "lose", careless)


@mutation
def let_an_old_tunnel_end_the_new_one(patch: pytest.MonkeyPatch) -> None:
    def left(self: Broker, event: Any, out: list[Any]) -> None:
        miner = self._dispatcher.miners.get(event.miner)
        if miner is not None:
            self._dispatcher.lose(miner, "disconnected", out)

    patch.setattr(Broker, "_on_left", left)


@mutation
def leave_a_replaced_tunnel_open(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [] if getattr(c, "close_code", 0) == 4409 else [c])


@mutation
def answer_although_the_row_was_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Broker, "_on_row_refused", lambda self, event, out: self._on_stored(event, out))


@mutation
def forget_the_row_when_the_dapp_leaves(patch: pytest.MonkeyPatch) -> None:
    gone = Broker._on_client_gone

    def unbilled(self: Broker, event: Any, out: list[Any]) -> None:
        request = self._requests.get(event.request)
        if request is not None and request.state == RECORDING:
            self._dispatcher.refuse(request, "cancelled", "", out)
        else:
            gone(self, event, out)

    patch.setattr(Broker, "_on_client_gone", unbilled)


@mutation
def let_cancelled_work_run_on(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [] if type(c).__name__ == "CancelAttempt" else [c])


@mutation
def serve_other_enterprises_on_tier_one(patch: pytest.MonkeyPatch) -> None:
    pool = Queues.pool
    patch.setattr(Queues, "pool", lambda self, dservice, tier, owner: pool(self, dservice, tier, ""))


@mutation
def ignore_the_service_level(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Miner, "reaches", lambda self, level: True)


@mutation
def never_quarantine(patch: pytest.MonkeyPatch) -> None:
    def stubborn(self: Dispatcher, request: Any, out: list[Any]) -> None:
        self.refuse(request, "bad_gateway", "failed", out)

    patch.setattr(Dispatcher, "quarantine", stubborn)


@mutation
def blame_the_wrong_miners(patch: pytest.MonkeyPatch) -> None:
    def change(c: Any) -> list[Any]:
        if isinstance(c, ReportError) and c.kind == "quarantined":
            return [ReportError(c.kind, c.request, c.miners[:-1], c.detail)]
        return [c]

    filtered(patch, change)


@mutation
def forget_to_match_when_a_slot_is_free(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatcher, "match", lambda self, miner, out: None)


@mutation
def start_over_what_cannot_be_resumed(patch: pytest.MonkeyPatch) -> None:
    arrived = Broker._on_arrived

    def hopeful(self: Broker, event: Any, out: list[Any]) -> None:
        arrived(self, event, out)
        if event.request in self._requests:
            self._requests[event.request].resumable = True

    patch.setattr(Broker, "_on_arrived", hopeful)


@mutation
def give_the_cut_answer_away(patch: pytest.MonkeyPatch) -> None:
    """What has left of an answer is not billed when its DApp or its deadline cuts it."""

    cut_short = Broker._cut_short

    def free(self: Broker, request: Any, code: str, out: list[Any]) -> Any:
        request.passed_on = False
        return cut_short(self, request, code, out)

    patch.setattr(Broker, "_cut_short", free)


@mutation
def bill_what_was_never_passed_on(patch: pytest.MonkeyPatch) -> None:
    cut_short = Broker._cut_short

    def greedy(self: Broker, request: Any, code: str, out: list[Any]) -> Any:
        request.passed_on = True
        return cut_short(self, request, code, out)

    patch.setattr(Broker, "_cut_short", greedy)


@mutation
def go_on_beyond_the_cap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Broker, "_on_progressed", Broker._shows_life)


@mutation
def charge_more_than_the_cap(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [replace(c, fee_nano_eur=c.fee_nano_eur + (c.ended == "price_cap"))] if _row(c) else [c])


@mutation
def call_a_cut_answer_whole(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [replace(c, ended="whole")] if _row(c) else [c])


@mutation
def release_what_was_cut(patch: pytest.MonkeyPatch) -> None:
    stored = Broker._on_stored

    def generous(self: Broker, event: Any, out: list[Any]) -> None:
        request = self._requests.get(event.request)
        if request is not None:
            request.verdict = ""
        stored(self, event, out)

    patch.setattr(Broker, "_on_stored", generous)


@mutation
def pay_for_less_than_the_cap_does(patch: pytest.MonkeyPatch) -> None:
    budget = Tariff.budget_ns
    patch.setattr(Tariff, "budget_ns", lambda self, cap: ns - 1 if (ns := budget(self, cap)) else ns)


@mutation
def believe_every_estimate(patch: pytest.MonkeyPatch) -> None:
    failed = Broker._on_failed

    def credulous(self: Broker, event: Any, out: list[Any]) -> None:
        attempt = self._live(event)
        if attempt is not None and event.code == "price_cap":
            self._register.release(attempt)
            self._dispatcher.refuse(attempt.request, "price_cap", "estimate", out)
        else:
            failed(self, event, out)

    patch.setattr(Broker, "_on_failed", credulous)


@mutation
def forget_who_will_be_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WaitQueue, "expects", lambda self, failed, since_ms: False)


@mutation
def take_the_newest_factor_of_the_tier(patch: pytest.MonkeyPatch) -> None:
    def newest(self: Offer, terms: Any) -> Tariff:
        ceiling = terms.cpus_milli.get(self.pool.dservice, 0)
        return Tariff(terms, self.miner.fitness, self.pool.tier_factor_ppm, ceiling)

    patch.setattr(Offer, "tariff", newest)


@mutation
def refuse_too_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Broker, "_refuse_to_queue", lambda self, event, queue: Refuse(event.request, "overloaded"))


@mutation
def drop_work_when_draining(patch: pytest.MonkeyPatch) -> None:
    let_go = Broker._let_go

    def at_once(self: Broker, out: list[Any]) -> None:
        for miner in list(self._dispatcher.miners.values()):
            out.append(CloseMiner(miner.id, miner.tunnel, 4503, "the node is about to stop"))
            self._dispatcher.lose(miner, "draining", out)
        let_go(self, out)

    patch.setattr(Broker, "_let_go", at_once)


@mutation
def say_nothing_of_a_clipped_claim(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [] if isinstance(c, ReportError) and c.kind == "clipped" else [c])


@mutation
def lose_patience_with_work_under_way(patch: pytest.MonkeyPatch) -> None:
    """A sign of life is not believed for long."""
    check = Broker._check_life

    def impatient(self: Broker, attempt: Any, out: list[Any]) -> None:
        attempt.life_ms = attempt.miner.running[attempt.request.id]
        check(self, attempt, out)

    patch.setattr(Broker, "_check_life", impatient)


@mutation
def wait_for_silent_miners(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Broker, "_check_life", lambda self, attempt, out: None)


@mutation
def doubt_every_dservice(patch: pytest.MonkeyPatch) -> None:
    """Any failure is taken for the DService's own fault."""
    again = Dispatcher.try_again

    def hasty(self: Dispatcher, request: Any, miner_id: str, code: str, out: list[Any]) -> None:
        again(self, request, miner_id, "dservice_protocol", out)

    patch.setattr(Dispatcher, "try_again", hasty)


@mutation
def give_no_grace(patch: pytest.MonkeyPatch) -> None:
    def impatient(self: Dispatcher, request: Any) -> None:
        register, queue = self._register, request.queue
        if not request.grace_until_ms and not queue.has_candidate(request.failed):
            request.grace_until_ms = register.now_ms + 100
            queue.starving[request] = None
            register.deadlines.looks.set(request.grace_until_ms, request)

    patch.setattr(Dispatcher, "start_grace", impatient)


@mutation
def say_that_the_newest_terms_are_billed(patch: pytest.MonkeyPatch) -> None:
    finished = Broker._on_finished

    def newest(self: Broker, event: Any, out: list[Any]) -> None:
        request = self._requests.get(event.request)
        if request is not None and self._terms is not None:
            request.terms = self._terms
        finished(self, event, out)

    patch.setattr(Broker, "_on_finished", newest)


@mutation
def bill_by_the_newest_prices(patch: pytest.MonkeyPatch) -> None:
    record = Broker._record

    def newest(self: Broker, attempt: Any, event: Any, out: list[Any]) -> None:
        old = attempt.tariff
        assert self._terms is not None
        attempt.tariff = Tariff(self._terms, old.fitness, old.factor_ppm, old.cpus_milli)
        record(self, attempt, event, out)

    patch.setattr(Broker, "_record", newest)


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_auditor_notices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[name](monkeypatch)
    crashes = 0
    for seed in SEEDS:
        try:
            run(seed, check_core=False)
        except AuditError as found:
            print(f"{name}: seed {seed}: {found}")
            return
        except Exception:
            crashes += 1  # the core itself fell over: no merit of the auditor's
    pytest.fail(f"{len(SEEDS)} seeds and nothing was noticed; {crashes} crashed")


def test_there_are_enough_of_them() -> None:
    assert len(MUTATIONS) >= 10
