"""Look-ups in the store that are bounded in time (N-5, N-24)."""

import asyncio
from typing import Any

import pytest

from cgn_node import limits
from cgn_node.lookups import LookUps
from ledger.port import StoreError


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def answered(by: "asyncio.Future[str]") -> str:
    return await by


async def test_a_late_answer_breaks_nothing_and_says_that_the_store_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be it an answer or an error: nobody waits for it any more, and it reaches no handler of unhandled errors."""
    monkeypatch.setattr(limits, "LOOK_UP_S", 0.01)
    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
    for late in (lambda by: by.set_result("late"), lambda by: by.set_exception(StoreError("the process has ended"))):
        clock = Clock()
        lookups = LookUps(clock_s=clock)
        by: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        with pytest.raises(StoreError, match="has not answered within"):
            await lookups.ask(answered(by))
        assert not lookups.is_overdue
        clock.now_s += 60
        assert lookups.is_overdue
        with pytest.raises(StoreError, match="has not answered for 60 s"):
            await lookups.ask(answered(by))
        late(by)
        del by
        await asyncio.sleep(0.01)
        assert (lookups.oldest_s, lookups.is_overdue) == (0.0, False)
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        ready.set_result("found")
        assert await lookups.ask(answered(ready)) == "found"
    assert unhandled == []


async def test_the_oldest_counts_and_longer_work_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work over a batch's rows may take its time, goes on unwatched, and is there at a later try."""
    monkeypatch.setattr(limits, "LOOK_UP_S", 0.01)
    clock = Clock()
    lookups = LookUps(clock_s=clock)
    first, second, long = (asyncio.get_running_loop().create_future() for _ in range(3))
    asking = []
    for by in (first, second):
        asking.append(asyncio.create_task(lookups.ask(answered(by))))
        await asyncio.sleep(0)
        clock.now_s += 0.002
    assert lookups.oldest_s == pytest.approx(0.004)
    first.set_result("a")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert lookups.oldest_s == pytest.approx(0.002)
    second.set_result("b")
    assert await asyncio.gather(*asking) == ["a", "b"]
    work = lookups.begin(answered(long))
    with pytest.raises(StoreError, match="has not answered within"):
        await lookups.wait(work)
    clock.now_s += 60
    assert not lookups.is_overdue
    long.set_result("tree")
    assert await lookups.wait(work) == "tree"
