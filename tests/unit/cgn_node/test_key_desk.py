"""Questions about keys: put once, counted before they leave, fresh when they are answered (N-5, C-10)."""

import asyncio
from typing import Any

import pytest
from cgn_sdk.protocol.errors import Problem, ProblemError

from cgn_node import limits
from cgn_node.driver import monotonic_ms
from cgn_node.key_desk import KeyDesk
from cgn_node.key_guard import RIGHT_CODES, KeyGuard, Known, pair_of
from cgn_node.refusals import TooMany


class Central:
    """Answers when the test says so; `right` are its keys."""

    def __init__(self, *right: str) -> None:
        self.right = set(right)
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.go.set()
        self.most_at_once = 0
        self._now = 0

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(params["api_key"])
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            found = params["api_key"] in self.right
            await self.go.wait()
        finally:
            self._now -= 1
        if not found:
            raise ProblemError(Problem("not_authenticated", "wrong"))
        return {"key": params["api_key"]}


def ask(desk: KeyDesk, key: str, peer: str = "192.0.2.1", account: str = "ent_a") -> Any:
    return desk.ask("open", {"api_key": key}, account_id=account, api_key=key, peer=peer)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_same_question_of_many_leaves_once() -> None:
    central = Central("k")
    desk = KeyDesk(central, KeyGuard(per_address=1))
    central.go.clear()
    asking = [asyncio.create_task(ask(desk, "k")) for _ in range(40)]
    await turns()
    central.go.set()
    assert await asyncio.gather(*asking) == [{"key": "k"}] * 40
    assert central.asked == ["k"]


async def test_a_wrong_key_shown_again_is_refused_without_a_question() -> None:
    central = Central()
    desk = KeyDesk(central, KeyGuard(per_address=2, brake=1))
    for _ in range(20):
        with pytest.raises(ProblemError) as caught:
            await ask(desk, "wrong")
        assert caught.value.problem.code == "not_authenticated"
    assert central.asked == ["wrong"]


async def test_a_flood_from_one_address_reaches_central_so_often_and_no_more() -> None:
    """All at once, before a single one is answered: the check and the act are one step."""
    central = Central("right")
    desk = KeyDesk(central, KeyGuard(per_address=10, brake=5))
    ended = await asyncio.gather(*(ask(desk, f"guess {n}") for n in range(500)), return_exceptions=True)
    assert len(central.asked) == 15
    assert central.most_at_once <= limits.KEY_QUESTIONS_PER_ADDRESS
    assert sum(isinstance(error, TooMany) for error in ended) == 485
    assert await ask(desk, "right", peer="192.0.2.2") == {"key": "right"}


async def test_a_crowd_with_right_keys_behind_one_address_all_come_in() -> None:
    """After a restart nothing is known of them, and none of them is a guesser."""
    keys = [f"key {n}" for n in range(300)]
    central = Central(*keys)
    desk = KeyDesk(central, KeyGuard(per_address=10, brake=1))
    await asyncio.gather(*(ask(desk, key, account=f"ent_{key}") for key in keys))
    assert sorted(central.asked) == sorted(keys)
    assert central.most_at_once <= limits.KEY_QUESTIONS_PER_ADDRESS


async def test_an_answer_that_was_overtaken_by_a_revocation_is_asked_for_again() -> None:
    """C-10: the answer is there, whoever waits for it has not run yet, and the account is revoked in between."""
    central = Central("k")
    desk = KeyDesk(central, KeyGuard())
    central.go.clear()
    asking = asyncio.create_task(ask(desk, "k"))
    await turns()
    central.go.set()
    central.right.clear()
    question = next(iter(desk._questions))
    question.task.add_done_callback(lambda _: desk.revoke({"ent_a"}))
    with pytest.raises(ProblemError) as caught:
        await asking
    assert caught.value.problem.code == "not_authenticated"
    assert central.asked == ["k", "k"]


async def test_a_revoked_miner_makes_the_answer_about_it_stale_too() -> None:
    central = Central("k")
    desk = KeyDesk(central, KeyGuard())
    central.go.clear()
    asking = asyncio.create_task(
        desk.ask("v", {"api_key": "k"}, account_id="con_a", api_key="k", peer="", miner_id="min_a")
    )
    await turns()
    desk.revoke(set(), {"min_a"})
    central.go.set()
    await asking
    assert central.asked == ["k", "k"]


async def test_what_central_cannot_say_is_nobodys_fault() -> None:
    class Away(Central):
        async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
            raise OSError("no link")

    desk = KeyDesk(Away(), KeyGuard(per_address=2, brake=1))
    for number in range(20):
        with pytest.raises(OSError, match="no link"):
            await ask(desk, f"key {number}")


async def test_nothing_is_kept_of_what_is_answered() -> None:
    desk = KeyDesk(Central("k"), KeyGuard())
    await ask(desk, "k")
    await asyncio.gather(*(ask(desk, f"wrong {n}") for n in range(5)), return_exceptions=True)
    given_up = asyncio.create_task(ask(desk, "another"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    await turns()
    assert not desk._asking
    assert not desk._questions
    assert not desk._turns
    assert not any(desk._in_flight.values())


@pytest.mark.parametrize(
    ("code", "is_right"), [(code, True) for code in sorted(RIGHT_CODES)] + [("rate_limited", False)]
)
async def test_a_refusal_that_only_who_has_the_key_hears_shows_that_it_is_right(code: str, is_right: bool) -> None:
    """It is held up no more; any other refusal says nothing about the key."""

    class Refusing:
        async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
            raise ProblemError(Problem(code, "no"))

    desk = KeyDesk(Refusing(), KeyGuard())
    with pytest.raises(ProblemError) as caught:
        await ask(desk, "k")
    assert caught.value.problem.code == code
    known = desk.guard.known(pair_of("ent_a", "k"), monotonic_ms())
    assert known is (Known.RIGHT if is_right else Known.NOTHING)


@pytest.mark.parametrize("above", [0, 1])
async def test_so_many_questions_are_put_at_once(monkeypatch: pytest.MonkeyPatch, above: int) -> None:
    monkeypatch.setattr(limits, "KEY_QUESTIONS_MAX", 3)
    central = Central(*"abcd")
    central.go.clear()
    desk = KeyDesk(central, KeyGuard())
    asking = [asyncio.create_task(ask(desk, key, f"192.0.2.{n}")) for n, key in enumerate("abcd"[: 3 + above])]
    await turns()
    central.go.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(outcome, TooMany) for outcome in outcomes] == [False] * 3 + [True] * above
    assert desk._in_flight == {True: 0, False: 0}
