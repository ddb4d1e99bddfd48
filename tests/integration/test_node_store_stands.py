"""N-5, N-24, C-10: a store that stands still (its process stopped) or cannot start holds nobody who asks, and is seen."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import node_world as support
import pytest

from cgn_node import limits
from ledger.port import StoreError


def store_process() -> int:
    for text in Path("/proc/self/task").glob("*/children"):
        for pid in text.read_text().split():
            if b"ledger.store_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    raise AssertionError("the store has no process")


@contextmanager
def standing() -> Iterator[None]:
    pid = store_process()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def ailments(world: support.World) -> list[str]:
    reasons: list[str] = json.loads((await world.call("GET", "/health", endpoint="status")).body)["reasons"]
    return reasons


async def test_who_asks_a_standing_store_is_refused_and_health_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_UP_S", 0.5)
    async with support.world(tmp_path) as world:
        miner = await world.miner().join()
        named = "CGN-Request-Id: " + "ab" * 16
        async with asyncio.timeout(60):
            with standing():
                replies = [await world.call("GET", "/noop", named, "CGN-Deadline-Ms: 2000")]
                replies += [await world.call("GET", f"/{what}/" + "ee" * 16) for what in ("receipts", "requests")]
                replies.append(await world.call("GET", "/noop", "CGN-Request-Id: " + "cd" * 16))
                assert [(reply.status, reply.problem["code"]) for reply in replies] == [(503, "ledger_full")] * 4
                assert all("retry-after" in reply.headers for reply in replies)
                assert await ailments(world) == ["the ledger has not answered a look-up for longer than 0.5 s"]
                assert len(world.node.recorder.lookups._begun) == 1  # nothing piles up in front of it
                assert (await world.call("GET", "/noop")).status == 200
            while await ailments(world):
                await asyncio.sleep(0.05)
            assert (await world.call("GET", "/noop", named)).status == 200
            assert (await world.call("GET", "/receipts/" + "ee" * 16)).status == 404
        assert len(miner.opened) == 2
        assert not world.node.work._reserved
        assert not world.node.work._by_address


async def test_requests_count_from_their_arrival(tmp_path: Path) -> None:
    """Also while their ids are looked up: one account holds no more than it may (N-5), and all of it comes back."""
    async with support.world(tmp_path) as world:
        await world.miner().join()
        account = next(iter(world.node.work._sessions._accounts.values()))
        account.concurrency = 3
        async with asyncio.timeout(60):
            with standing():
                asked = [world.call("GET", "/noop", f"CGN-Request-Id: {number:032x}") for number in range(8)]
                codes = Counter(reply.problem["code"] for reply in await asyncio.gather(*asked))
            assert codes == {"concurrency_limited": 5, "ledger_full": 3}
            assert account.running == 0
            while await ailments(world):
                await asyncio.sleep(0.05)
            assert (await world.call("GET", "/noop", f"CGN-Request-Id: {0:032x}")).status == 200


async def test_a_look_up_takes_no_longer_than_the_request_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOOK_UP_S", 3_600.0)
    async with support.world(tmp_path) as world:
        await world.miner().join()
        async with asyncio.timeout(60):
            with standing():
                reply = await world.call("GET", "/noop", "CGN-Request-Id: " + "ab" * 16, "CGN-Deadline-Ms: 200")
                assert (reply.status, reply.problem["code"]) == (503, "ledger_full")


async def test_receipts_and_states_say_later_when_the_store_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its process cannot start: a refusal that says when to ask again, and no fault of ours."""
    async with support.world(tmp_path) as world:

        async def away(row_id: str) -> None:
            raise StoreError("the ledger's process did not start")

        monkeypatch.setattr(world.node.store, "get", away)
        for what in ("receipts", "requests"):
            reply = await world.call("GET", f"/{what}/" + "ee" * 16)
            assert (reply.status, reply.problem["code"]) == (503, "ledger_full")
            assert "retry-after" in reply.headers
        assert await ailments(world) == []
