"""Work in portions: fair among those who wait, bounded in every turn of the loop."""

import asyncio
from collections.abc import Callable

import pytest
from cgn_sdk.turns import Turns


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def worker(turns: Turns, clock: Clock, name: str, portions: int, done: list[str]) -> Callable[[], None]:
    """A portion that takes a millisecond of the clock and has more to do as often as said."""
    left = [portions]

    def portion() -> None:
        clock.now += 0.001
        done.append(name)
        left[0] -= 1
        if left[0]:
            turns.add(portion)

    return portion


async def test_waiting_work_is_done_round_robin() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(1.0, clock)
    for name in "abc":
        turns.add(worker(turns, clock, name, 3, done))
    await asyncio.sleep(0)
    assert "".join(done) == "abcabcabc"


async def test_one_turn_of_the_loop_takes_no_more_than_its_share() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(0.004, clock)
    turns.add(worker(turns, clock, "a", 10, done))
    for expected in (4, 8, 10):
        await asyncio.sleep(0)
        assert len(done) == expected


async def test_a_portion_that_raises_takes_nobody_elses_turn() -> None:
    clock, done = Clock(), list[str]()
    turns = Turns(1.0, clock)
    caught: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context["exception"]))

    def breaks() -> None:
        raise ValueError("broken")

    turns.add(breaks)
    turns.add(worker(turns, clock, "b", 1, done))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == ["b"]
    with pytest.raises(ValueError, match="broken"):
        raise caught[0]  # type: ignore[misc]
