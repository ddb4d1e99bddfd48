"""Identical requests in flight are one execution (G-12), and what may not be shared is not."""

import asyncio
from typing import Any

import pytest
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.front.in_flight import InFlight


def order(query: str = "script=a", **headers: str) -> dict[str, Any]:
    return {"query": query, "headers": {name.replace("_", "-"): value for name, value in headers.items()}}


class Kitchen:
    """Counts executions; each waits for `go` and then gives `answer`, or raises it."""

    def __init__(
        self, *, cached: bool = True, looked_at: tuple[str, ...] = (), answer: Exception | None = None
    ) -> None:
        self.go, self.begun, self.given = asyncio.Event(), 0, []
        self.cached, self.looked_at, self.answer = cached, looked_at, answer

    async def make(self, wall_s: float) -> tuple[dict[str, Any], bytes]:
        self.begun += 1
        number = self.begun
        self.given.append(wall_s)
        await self.go.wait()
        if self.answer is not None:
            raise self.answer
        return {"cached": self.cached, "looked_at": list(self.looked_at)}, b"%d" % number


async def all_of(kitchen: Kitchen, *orders: dict[str, Any], wall_s: float = 60.0) -> list[Any]:
    flight = InFlight()
    tasks = [asyncio.create_task(flight.run(one, kitchen.make, wall_s)) for one in orders]
    await asyncio.sleep(0)
    kitchen.go.set()
    return [
        result if isinstance(result, BaseException) else result[1]
        for result in await asyncio.gather(*tasks, return_exceptions=True)
    ]


async def test_ten_of_a_kind_are_one() -> None:
    kitchen = Kitchen()
    asked = [order(cgn_request_id=str(n), user_agent=f"browser {n}", referer=f"page {n}") for n in range(10)]
    assert await all_of(kitchen, *asked) == [b"1"] * 10
    assert kitchen.begun == 1


@pytest.mark.parametrize(
    "other", [order("script=b"), order("script=a&x=1"), order(accept="image/webp"), order(host="b")]
)
async def test_what_differs_in_the_order_is_made_apart(other: dict[str, Any]) -> None:
    kitchen = Kitchen()
    assert sorted(await all_of(kitchen, order(), other)) == [b"1", b"2"]


async def test_a_header_counts_where_the_script_has_looked_at_it() -> None:
    kitchen = Kitchen(looked_at=("user-agent",))
    made = await all_of(kitchen, order(user_agent="a"), order(user_agent="a"), order(user_agent="b"), order())
    assert made[:2] == [b"1", b"1"] and set(made[2:]) == {b"2", b"3"}


async def test_a_streamed_answer_is_nobody_elses() -> None:
    kitchen = Kitchen(cached=False)
    assert sorted(await all_of(kitchen, order(), order(), order())) == [b"1", b"2", b"3"]


async def test_a_failure_is_each_ones_own() -> None:
    kitchen = Kitchen(answer=Problem(422, "work_cpu", "too much"))
    made = await all_of(kitchen, order(), order(), order())
    assert [problem.code for problem in made] == ["work_cpu"] * 3 and kitchen.begun == 3


async def test_whoever_waits_for_one_that_hangs_up_does_it_alone() -> None:
    kitchen, flight = Kitchen(), InFlight()
    first = asyncio.create_task(flight.run(order(), kitchen.make, 60.0))
    await asyncio.sleep(0)
    second = asyncio.create_task(flight.run(order(), kitchen.make, 60.0))
    await asyncio.sleep(0)
    first.cancel()
    kitchen.go.set()
    assert (await second)[1] == b"2"
    assert first.cancelled() or first.cancelling()


async def test_one_that_hangs_up_while_it_waits_disturbs_nobody() -> None:
    kitchen, flight = Kitchen(), InFlight()
    tasks = [asyncio.create_task(flight.run(order(), kitchen.make, 60.0)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    kitchen.go.set()
    assert (await tasks[0])[1] == (await tasks[2])[1] == b"1"
    assert kitchen.begun == 1 and flight.shared == 1


async def test_waiting_takes_of_the_waiters_own_time() -> None:
    """Its deadline ends its waiting; and what it then does alone has what is left."""
    kitchen, flight = Kitchen(), InFlight()
    first = asyncio.create_task(flight.run(order(), kitchen.make, 60.0))
    await asyncio.sleep(0)
    with pytest.raises(Problem) as caught:
        await flight.run(order(), kitchen.make, 0.01)
    assert (caught.value.status, caught.value.code) == (422, "work_timeout")
    kitchen.go.set()
    assert (await first)[1] == b"1"

    now = 100.0
    late = InFlight(clock=lambda: now)
    slow = Kitchen(cached=False)
    one = asyncio.create_task(late.run(order(), slow.make, 60.0))
    two = asyncio.create_task(late.run(order(), slow.make, 20.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    now = 107.0
    slow.go.set()
    await asyncio.gather(one, two)
    assert slow.given == [60.0, 13.0]


async def test_nothing_is_kept_afterwards() -> None:
    kitchen, flight = Kitchen(), InFlight()
    kitchen.go.set()
    assert (await flight.run(order(), kitchen.make, 1.0))[1] == b"1"
    assert (await flight.run(order(), kitchen.make, 1.0))[1] == b"2"
    assert not flight._running
