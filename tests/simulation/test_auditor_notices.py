"""Breaks the broker on purpose, one way at a time, and asserts that the auditor notices: what watches must be watched.

The core's own invariants are switched off here and its crashes do not count: only the auditor's verdict does.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cgn_node.core import broker as broker_module
from cgn_node.core import pools as pools_module
from cgn_node.core.broker import Broker
from cgn_node.core.commands import CloseMiner, RecordRow, Refuse, Release, ReportError
from cgn_node.core.lanes import RECORDING, RUNNING, Lane
from cgn_node.core.pools import Miner
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
    def on_record(self: Broker, event: Any) -> Any:
        request = self._requests.get(event.request)
        return request if request and request.offer and request.offer.miner.id == event.miner else None

    patch.setattr(Broker, "_on_record", on_record)


@mutation
def ignore_who_reports(patch: pytest.MonkeyPatch) -> None:
    def on_record(self: Broker, event: Any) -> Any:
        request = self._requests.get(event.request)
        return request if request and request.offer and request.attempt == event.attempt else None

    patch.setattr(Broker, "_on_record", on_record)


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
        if len(request.id) == 2:  # now and then
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
    try_again = Broker._try_again

    def forgetful(self: Broker, request: Any, miner_id: str, code: str, out: list[Any]) -> None:
        try_again(self, request, "nobody", code, out)

    patch.setattr(Broker, "_try_again", forgetful)


@mutation
def requeue_at_the_tail(patch: pytest.MonkeyPatch) -> None:
    push = Lane.push

    def tail(self: Lane, request: Any) -> None:
        attempt, request.attempt = request.attempt, 0
        request.key = (request.key[0] + 1_000, request.key[1]) if attempt else request.key
        push(self, request)
        request.attempt = attempt

    def head_for(self: Lane, miner_id: str) -> Any:
        waiting = [r for _, r in sorted(self.fresh) if r.state == 0 and miner_id not in r.failed]
        return waiting[0] if waiting else None

    def remove(self: Lane, request: Any) -> None:
        self.waiting_fresh -= 1
        self.fresh = [entry for entry in self.fresh if entry[1] is not request]
        self._withdraw_if_empty()

    patch.setattr(Lane, "push", tail)
    patch.setattr(Lane, "head_for", head_for)
    patch.setattr(Lane, "remove", remove)


@mutation
def last_come_first_served(patch: pytest.MonkeyPatch) -> None:
    push = Lane.push

    def upside_down(self: Lane, request: Any) -> None:
        request.key = (-request.key[0], -request.key[1])
        push(self, request)

    patch.setattr(Lane, "push", upside_down)


@mutation
def believe_every_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(broker_module, "clip", lambda claimed, *_: (claimed, ()))


@mutation
def believe_what_nobody_has_registered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pools_module, "believed", lambda said, registered: said)


@mutation
def believe_a_registered_machine_that_says_it_is_less(patch: pytest.MonkeyPatch) -> None:
    from cgn_node.core.pricing import Fitness, believed

    most = Fitness(10**6, 10**6, 2**60, 10**6, 10**9)
    patch.setattr(pools_module, "believed", lambda said, registered: believed(most if registered else said, registered))


@mutation
def forget_what_a_container_may_use(patch: pytest.MonkeyPatch) -> None:
    clip = broker_module.clip
    patch.setattr(broker_module, "clip", lambda claimed, measured, fitness, ceiling=0: clip(claimed, measured, fitness))


@mutation
def take_the_container_of_today(patch: pytest.MonkeyPatch) -> None:
    billable = Broker._billable

    def today(self: Broker, request: Any, offer: Any, event: Any) -> Any:
        request.terms = replace(request.terms, cpus_milli=self._terms.cpus_milli)  # type: ignore[union-attr]
        return billable(self, request, offer, event)

    patch.setattr(Broker, "_billable", today)


@mutation
def accuse_who_is_not_registered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Miner, "__init__", _accusing(Miner.__init__))


@mutation
def bill_a_machine_for_more_than_it_has(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Miner, "bill", lambda self, usage, now_ms: (usage, ()))


@mutation
def clip_in_silence(patch: pytest.MonkeyPatch) -> None:
    clip = broker_module.clip

    def quiet(*a: Any) -> Any:
        usage, clipped = clip(*a)
        return usage, clipped[:-1]

    patch.setattr(broker_module, "clip", quiet)


@mutation
def round_down(patch: pytest.MonkeyPatch) -> None:
    exact = broker_module.fee_nano_eur
    patch.setattr(broker_module, "fee_nano_eur", lambda *a: exact(*a) - 1)


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
        self._deadlines = []
        tick(self, event, out)

    patch.setattr(Broker, "_on_tick", timeless)


@mutation
def never_mind_acknowledgements(patch: pytest.MonkeyPatch) -> None:
    tick = Broker._on_tick

    def patient(self: Broker, event: Any, out: list[Any]) -> None:
        self._acks.clear()
        tick(self, event, out)

    patch.setattr(Broker, "_on_tick", patient)


@mutation
def lose_requests_with_their_miner(patch: pytest.MonkeyPatch) -> None:
    lose = Broker._lose

    def careless(self: Broker, miner: Any, code: str, out: list[Any]) -> None:
        miner.running.clear()
        lose(self, miner, code, out)

    patch.setattr(Broker, "_lose", careless)


@mutation
def let_an_old_tunnel_end_the_new_one(patch: pytest.MonkeyPatch) -> None:
    def left(self: Broker, event: Any, out: list[Any]) -> None:
        miner = self._miners.get(event.miner)
        if miner is not None:
            self._lose(miner, "disconnected", out)

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
            self._recording -= 1
            self._refuse(request, "cancelled", "", out)
        else:
            gone(self, event, out)

    patch.setattr(Broker, "_on_client_gone", unbilled)


@mutation
def let_cancelled_work_run_on(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [] if type(c).__name__ == "CancelAttempt" else [c])


@mutation
def serve_other_enterprises_on_tier_one(patch: pytest.MonkeyPatch) -> None:
    pool = Broker._pool
    patch.setattr(Broker, "_pool", lambda self, dservice, tier, owner: pool(self, dservice, tier, ""))


@mutation
def ignore_the_service_level(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Miner, "reaches", lambda self, level: True)


@mutation
def never_quarantine(patch: pytest.MonkeyPatch) -> None:
    def stubborn(self: Broker, request: Any, out: list[Any]) -> None:
        self._refuse(request, "bad_gateway", "failed", out)

    patch.setattr(Broker, "_quarantine", stubborn)


@mutation
def blame_the_wrong_miners(patch: pytest.MonkeyPatch) -> None:
    def change(c: Any) -> list[Any]:
        if isinstance(c, ReportError) and c.kind == "quarantined":
            return [ReportError(c.kind, c.request, c.miners[:-1], c.detail)]
        return [c]

    filtered(patch, change)


@mutation
def forget_to_match_when_a_slot_is_free(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Broker, "_match", lambda self, miner, out: None)


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

    def free(self: Broker, request: Any, code: str, out: list[Any]) -> Any:
        miner = self._stop(request, code, out)
        self._refuse(request, code, "", out)
        return miner

    patch.setattr(Broker, "_cut_short", free)


@mutation
def bill_what_was_never_passed_on(patch: pytest.MonkeyPatch) -> None:
    def greedy(self: Broker, request: Any, code: str, out: list[Any]) -> Any:
        if request.offer is not None:
            return self._settle(request, code, out)
        self._stop(request, code, out)
        self._refuse(request, code, "", out)
        return None

    patch.setattr(Broker, "_cut_short", greedy)


@mutation
def go_on_beyond_the_cap(patch: pytest.MonkeyPatch) -> None:
    def deaf(self: Broker, event: Any, out: list[Any]) -> None:
        request = self._on_record(event)
        if request is not None:
            request.state = RUNNING
            request.life_ms = self._now

    patch.setattr(Broker, "_on_progressed", deaf)


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
    budget = broker_module.cpu_budget_ns
    patch.setattr(broker_module, "cpu_budget_ns", lambda *a: ns - 1 if (ns := budget(*a)) else ns)


@mutation
def believe_every_estimate(patch: pytest.MonkeyPatch) -> None:
    failed = Broker._on_failed

    def credulous(self: Broker, event: Any, out: list[Any]) -> None:
        request = self._on_record(event)
        if request is not None and event.code == "price_cap":
            self._release(request)
            self._refuse(request, "price_cap", "estimate", out)
        else:
            failed(self, event, out)

    patch.setattr(Broker, "_on_failed", credulous)


@mutation
def forget_who_will_be_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lane, "expects", lambda self, failed, since_ms: False)


@mutation
def take_the_newest_factor_of_the_tier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(broker_module, "_factor_ppm", lambda terms, offer: offer.pool.tier_factor_ppm)


@mutation
def refuse_too_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Broker, "_refuse_to_queue", lambda self, event, lane, account: Refuse(event.request, "overloaded"))


@mutation
def drop_work_when_draining(patch: pytest.MonkeyPatch) -> None:
    let_go = Broker._let_go

    def at_once(self: Broker, out: list[Any]) -> None:
        for miner in list(self._miners.values()):
            out.append(CloseMiner(miner.id, miner.tunnel, 4503, "the node is about to stop"))
            self._lose(miner, "draining", out)
        let_go(self, out)

    patch.setattr(Broker, "_let_go", at_once)


@mutation
def say_nothing_of_a_clipped_claim(patch: pytest.MonkeyPatch) -> None:
    filtered(patch, lambda c: [] if isinstance(c, ReportError) and c.kind == "clipped" else [c])


@mutation
def lose_patience_with_work_under_way(patch: pytest.MonkeyPatch) -> None:
    """A sign of life is not believed for long."""
    look = Broker._look_for_life

    def impatient(self: Broker, request: Any, out: list[Any]) -> None:
        request.life_ms = request.assigned_ms
        look(self, request, out)

    patch.setattr(Broker, "_look_for_life", impatient)


@mutation
def wait_for_silent_miners(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Broker, "_look_for_life", lambda self, request, out: None)


@mutation
def doubt_every_dservice(patch: pytest.MonkeyPatch) -> None:
    """Any failure is taken for the DService's own fault."""
    again = Broker._try_again

    def hasty(self: Broker, request: Any, miner_id: str, code: str, out: list[Any]) -> None:
        again(self, request, miner_id, "dservice_protocol", out)

    patch.setattr(Broker, "_try_again", hasty)


@mutation
def give_no_grace(patch: pytest.MonkeyPatch) -> None:
    def impatient(self: Broker, request: Any) -> None:
        if not request.grace_until_ms and not request.lane.has_candidate(request.failed):
            request.grace_until_ms = self._now + 100
            request.lane.starving[request] = None
            self._set_timer(request.grace_until_ms, request)

    patch.setattr(Broker, "_start_grace", impatient)


@mutation
def bill_by_the_newest_terms(patch: pytest.MonkeyPatch) -> None:
    finished = Broker._on_finished

    def newest(self: Broker, event: Any, out: list[Any]) -> None:
        request = self._requests.get(event.request)
        if request is not None and self._terms is not None:
            request.terms = self._terms
        finished(self, event, out)

    patch.setattr(Broker, "_on_finished", newest)


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
