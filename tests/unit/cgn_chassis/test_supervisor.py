"""Long-lived tasks have an owner that notices their end (O-6)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cgn_chassis.backoff import Backoff
from cgn_chassis.supervisor import STABLE_MS, Supervisor


@pytest.fixture
def reasons() -> list[str]:
    return []


@pytest.fixture
async def supervisor(reasons: list[str]) -> AsyncIterator[Supervisor]:
    made = Supervisor(reasons.append, restart=Backoff(1, 2))
    yield made
    await made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def raises() -> None:
    raise RuntimeError("broken")


async def returns() -> None:
    return


async def cancels() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("work", "problem"),
    [(raises, "RuntimeError: broken"), (returns, "it returned"), (cancels, "it was cancelled from inside")],
)
async def test_whatever_ends_is_begun_again_and_counted(
    supervisor: Supervisor, reasons: list[str], work: Callable[[], Awaitable[None]], problem: str
) -> None:
    begun = 0

    async def once_well_then_not() -> None:
        nonlocal begun
        begun += 1
        if begun < 4:
            return await work()
        await asyncio.Event().wait()

    supervisor.keep("shipper", once_well_then_not)
    await until(lambda: begun == 4)
    [kept] = supervisor.statistics()
    assert (kept.name, kept.ends, kept.problem, kept.is_running) == ("shipper", 3, problem, True)
    assert not supervisor.problems
    assert not reasons


@pytest.mark.parametrize("work", [raises, returns, cancels])
async def test_the_end_of_what_is_needed_stops_the_process(
    supervisor: Supervisor, reasons: list[str], work: Callable[[], Awaitable[None]]
) -> None:
    supervisor.need("watcher", work)  # type: ignore[arg-type]
    await until(lambda: bool(reasons))
    assert reasons[0].startswith("watcher ended: ")
    assert supervisor.problems
    await asyncio.sleep(0.02)
    assert supervisor.statistics()[0].ends == 1


async def test_a_periodic_step_goes_on_after_one_that_raises(supervisor: Supervisor) -> None:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps % 2:
            raise ValueError("odd")

    supervisor.every("sweep", 0.001, step)
    await until(lambda: steps >= 5)
    assert supervisor.statistics()[0].ends >= 2


async def test_closing_ends_all_and_counts_none(supervisor: Supervisor, reasons: list[str]) -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    supervisor.keep("one", work)
    supervisor.need("two", work)
    await asyncio.sleep(0.01)
    kept = supervisor.statistics()
    supervisor.drop("one")
    supervisor.drop("one")
    await asyncio.sleep(0.01)
    assert len(ended) == 1
    await supervisor.close()
    assert len(ended) == 2
    assert all(one.ends == 0 for one in kept)
    assert not reasons


async def test_what_has_an_end_is_taken_to_it_once(supervisor: Supervisor, reasons: list[str]) -> None:
    begun = 0

    async def third_time_lucky() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise RuntimeError("not yet")

    supervisor.finish("hash", third_time_lucky)
    await until(lambda: begun == 3)
    await asyncio.sleep(0.01)
    assert begun == 3
    assert supervisor.statistics()[0].ends == 2
    assert not supervisor.problems
    assert not reasons


async def test_what_ends_while_the_process_stops_may_end(reasons: list[str]) -> None:
    supervisor = Supervisor(reasons.append, is_stopping=lambda: True)
    supervisor.need("client", returns)
    await asyncio.sleep(0.01)
    assert not reasons
    assert supervisor.statistics()[0].ends == 0
    await supervisor.close()


async def test_what_is_dropped_is_spoken_of_no_more_and_its_name_is_free(supervisor: Supervisor) -> None:
    supervisor.keep("link", asyncio.Event().wait)
    await asyncio.sleep(0)
    supervisor.drop("link")
    assert supervisor.statistics() == []
    supervisor.keep("link", asyncio.Event().wait)
    assert [kept.name for kept in supervisor.statistics()] == ["link"]


class Times:
    """The supervisor's clock and its sleeps, without waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept_s: list[float] = []
        self.ns = 10**12
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            if seconds:
                self.slept_s.append(seconds)
            await real(0)

        monkeypatch.setattr("cgn_chassis.supervisor.asyncio.sleep", sleep)
        monkeypatch.setattr("cgn_chassis.supervisor.time.monotonic_ns", lambda: self.ns)
        monkeypatch.setattr("cgn_chassis.supervisor.random.random", lambda: 1.0)


@pytest.mark.parametrize(("ran_ms", "waits_s"), [(STABLE_MS - 1, [0.2, 0.4, 0.8]), (STABLE_MS, [0.2, 0.2, 0.2])])
async def test_waits_double_until_it_has_run_for_a_while(
    monkeypatch: pytest.MonkeyPatch, ran_ms: int, waits_s: list[float]
) -> None:
    times, begun = Times(monkeypatch), 0
    ended = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 4:
            ended.set()
            await asyncio.Event().wait()
        times.ns += ran_ms * 1_000_000

    supervisor = Supervisor(lambda reason: None)
    supervisor.keep("link", work)
    await asyncio.wait_for(ended.wait(), 30)
    assert times.slept_s == waits_s
    await supervisor.close()


async def test_a_periodic_step_comes_first_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times, seen = Times(monkeypatch), list[int]()
    ended = asyncio.Event()

    def step() -> None:
        seen.append(len(times.slept_s))
        if len(seen) == 2:
            ended.set()

    supervisor = Supervisor(lambda reason: None)
    supervisor.every("sweep", 5.0, step)
    await asyncio.wait_for(ended.wait(), 30)
    await supervisor.close()
    assert (seen[:2], times.slept_s[:2]) == ([1, 2], [5.0, 5.0])
