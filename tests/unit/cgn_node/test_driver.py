"""The driver's own duties: order, one timer, patience after a pause of the process, and nobody harmed by another's
error."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cgn_node import driver as module
from cgn_node.core import commands, events
from cgn_node.core.events import Event
from cgn_node.driver import Driver


class Script:
    """A broker that answers each kind of event as a test says."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.answers: dict[type, list[commands.Command]] = {}
        self.due: int | None = None

    def handle(self, event: Event, now_ms: int) -> list[commands.Command]:
        self.heard.append(event)
        if isinstance(event, events.Tick):
            self.due = None
        return self.answers.pop(type(event), [])

    def next_deadline(self) -> int | None:
        return self.due


class Held:
    """A request that does what it is told, or raises."""

    def __init__(self, request_id: str, driver: Driver) -> None:
        self.id = request_id
        self.driver = driver
        self.told: list[str] = []
        self.raises: set[str] = set()

    def _do(self, what: str) -> None:
        self.told.append(what)
        if what in self.raises:
            raise RuntimeError(what)

    def assign(self, command: commands.Assign, tunnel: Any) -> None:
        self._do("assign")

    def cancel_attempt(self, command: commands.CancelAttempt) -> None:
        self._do("cancel")

    def record(self, command: commands.RecordRow) -> None:
        self._do("record")

    def release(self) -> None:
        self._do("release")

    def refuse(self, command: commands.Refuse) -> None:
        self._do(f"refuse {command.code}")

    def break_off(self) -> None:
        self._do("break off")


class Tunnel:
    number = 7

    def __init__(self) -> None:
        self.closed: list[int] = []

    def expel(self, code: int, reason: str) -> None:
        raise RuntimeError("expel")

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)


def a_driver(clock_ms: Callable[[], int] = lambda: 0) -> tuple[Driver, Script]:
    script = Script()
    return Driver(script, report=lambda command: None, clock_ms=clock_ms), script  # type: ignore[arg-type]


@pytest.mark.parametrize("late_ms", [module.LATE_MS, module.LATE_MS + 1])
async def test_after_a_pause_of_the_process_miners_are_heard_first(late_ms: int) -> None:
    """A timer that comes too late says nothing of the miners: what they have said meanwhile is read, and the deadline
    is asked for again, before anything is called late."""
    now = 1_000
    driver, script = a_driver(lambda: now)
    script.due = 1_000
    driver.post(events.Drain())
    await asyncio.sleep(0)
    now += late_ms
    async with asyncio.timeout(10):
        while driver._timer_ms is not None and len(script.heard) < 2:
            if late_ms > module.LATE_MS:
                script.due = None  # said meanwhile: there is nothing to wait for any more
            await asyncio.sleep(0.005)
    ticks = [event for event in script.heard if isinstance(event, events.Tick)]
    assert len(ticks) == (0 if late_ms > module.LATE_MS else 1)
    driver.stop()


def a_cancel(settle: bool) -> commands.CancelAttempt:
    return commands.CancelAttempt("r", 1, "m", "deadline", settle=settle)


async def test_an_assignment_that_fails_ends_its_request_and_no_other() -> None:
    driver, script = a_driver()
    driver.tunnels["m"] = tunnel = Tunnel()
    first, second = Held("r", driver), Held("s", driver)
    first.raises = {"assign"}
    assert driver.take_on(first) and driver.take_on(second)
    script.answers[events.Tick] = [commands.Assign("r", 1, "m"), commands.Assign("s", 1, "m")]
    driver.post(events.Tick())
    assert (first.told, second.told) == (["assign", "break off"], ["assign"])
    assert script.heard[1:] == [events.ClientGone("r")]
    assert driver.broken == {commands.Assign: 1}
    assert tunnel.closed == []


async def test_an_assignment_to_nobody_is_taken_back() -> None:
    """Of a request, or a tunnel, that is not here: the broker hears that nobody waits."""
    driver, script = a_driver()
    script.answers[events.Tick] = [commands.Assign("r", 1, "m")]
    driver.post(events.Tick())
    assert script.heard[1:] == [events.ClientGone("r")]


@pytest.mark.parametrize("settle", [False, True])
async def test_a_cancel_that_fails_costs_the_tunnel_and_is_reported(settle: bool) -> None:
    driver, script = a_driver()
    driver.tunnels["m"] = tunnel = Tunnel()
    request = Held("r", driver)
    request.raises = {"cancel"}
    driver.take_on(request)
    script.answers[events.Tick] = [a_cancel(settle), commands.Refuse("r", "deadline")]
    driver.post(events.Tick())
    assert tunnel.closed == [1011]
    assert request.told == ["cancel", "refuse deadline"]
    reports = [event for event in script.heard if isinstance(event, events.AttemptCut)]
    assert [(one.request, one.attempt, one.miner) for one in reports] == ([("r", 1, "m")] if settle else [])


async def test_a_tunnel_that_cannot_be_expelled_is_found_nowhere() -> None:
    """Unless the miner has come again meanwhile: the new tunnel stays."""
    driver, script = a_driver()
    old, new = Tunnel(), Tunnel()
    new.number = 8
    driver.by_number = {7: old, 8: new}
    driver.tunnels = {"m": old, "n": new}
    script.answers[events.Tick] = [commands.CloseMiner("m", 7, 4408, ""), commands.CloseMiner("n", 9, 4408, "")]
    driver.post(events.Tick())
    assert (driver.by_number, driver.tunnels) == ({8: new}, {"n": new})
    driver.by_number, driver.tunnels = {7: old, 8: new}, {"m": new}
    script.answers[events.Tick] = [commands.CloseMiner("m", 7, 4408, "")]
    driver.post(events.Tick())
    assert (driver.by_number, driver.tunnels) == ({8: new}, {"m": new})


async def test_a_row_that_fails_is_no_row() -> None:
    driver, script = a_driver()
    request = Held("r", driver)
    request.raises = {"record", "break off"}
    driver.take_on(request)
    script.answers[events.Tick] = [commands.RecordRow("r", 1, "m", "2", "p", None, (), 1, 1)]  # type: ignore[arg-type]
    script.answers[events.RowRefused] = [commands.Refuse("r", "ledger_full")]
    driver.post(events.Tick())
    assert request.told == ["record", "break off", "refuse ledger_full"]
    assert script.heard[1:] == [events.RowRefused("r")]
    assert driver.requests == {}


@pytest.mark.parametrize("last", ["release", "refuse deadline"])
async def test_the_last_step_of_a_request_takes_nobody_along(last: str) -> None:
    driver, script = a_driver()
    first, second = Held("r", driver), Held("s", driver)
    first.raises = {last}
    driver.take_on(first)
    driver.take_on(second)
    ends: list[commands.Command] = [commands.Release("r"), commands.Release("s")]
    if last != "release":
        ends = [commands.Refuse("r", "deadline"), commands.Release("s")]
    script.answers[events.Tick] = ends
    driver.post(events.Tick())
    assert (first.told, second.told, driver.requests) == ([last], ["release"], {})


async def test_an_error_of_the_core_ends_its_request_and_the_events_behind_it_are_handled() -> None:
    driver, script = a_driver()
    request = Held("r", driver)
    driver.take_on(request)
    handle = script.handle

    def broken(event: Event, now_ms: int) -> list[commands.Command]:
        if isinstance(event, events.Acknowledged):
            raise RuntimeError("the core")
        return handle(event, now_ms)

    script.handle = broken  # type: ignore[method-assign]
    driver._inbox.append(events.Acknowledged("r", 1, "m"))
    driver.post(events.RowStored("x"))
    assert request.told == ["break off", "refuse internal"]
    assert (driver.requests, driver.broken, script.heard) == (
        {},
        {events.Acknowledged: 1},
        [events.RowStored("x")],
    )


async def test_an_id_is_taken_once() -> None:
    driver, _ = a_driver()
    first = Held("r", driver)
    assert driver.take_on(first)
    assert not driver.take_on(Held("r", driver))
    assert driver.requests == {"r": first}
