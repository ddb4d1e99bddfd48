"""A miner's signed statement that is wrong in one field, each field in turn, at the first attempt and after a retry
(decision 0003, N-11, N-20): what names the work makes the attempt fail, what claims its use is never billed."""

import asyncio
from pathlib import Path
from typing import Any

import node_world as support
import pytest
from cgn_sdk.protocol import messages, tunnel

BODY, ANSWER = b"question", b"right"

REFUSED: dict[str, Any] = {
    "request_id": "f" * 32,
    "attempt": 9,
    "miner_id": "min_" + "z" * 20,
    "dservice": "other",
    "dservice_version": "2",
    "status": 201,
    "response_sha256": "0" * 64,
    "response_bytes": len(ANSWER) - 1,
}
"""Members that say what the statement is about -> a value that is wrong."""
CLIPPED: dict[str, Any] = {
    "request_bytes": len(BODY) + 1,
    "cpu_ns": 10**18,
    "memory_byte_seconds": 10**18,
    "wall_ns": 10**18,
    "gpu_ns": 10**18,
}
"""Members that claim use -> more than can be."""


def test_every_member_of_a_statement_is_here() -> None:
    assert {*REFUSED, *CLIPPED} == set(messages.Statement._fields)


class Script:
    """What the miners do, in the order in which they are asked: each step is None (fail), or changes of the statement."""

    def __init__(self, *steps: dict[str, Any] | None) -> None:
        self.steps = list(steps)
        self.served: list[str] = []

    async def serve(self, miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        step = self.steps.pop(0) if self.steps else {}
        self.served.append(miner.miner_id)
        miner.acknowledge(opened.stream)
        got = await miner.body(opened.stream)
        if step is None:
            miner.tunnel.fail(opened.stream, messages.Fail("dservice_crashed", "as scripted"))
            miner.link.flush()
            return
        miner.tunnel.head(opened.stream, messages.Head(200, (), len(ANSWER)))
        await miner.link.send_data(opened.stream, ANSWER)
        miner.tunnel.data(opened.stream, b"", end=True)
        miner.done(opened, ANSWER, **{"request_bytes": len(got), **step})


async def used(world: support.World, reply: support.Reply) -> dict[str, Any]:
    """The metrics part of the one row."""
    (row,) = await world.rows()
    assert row["row_id"] == reply.headers["cgn-request-id"]
    stored = await world.node.store.get(row["row_id"])
    assert stored is not None
    metrics: dict[str, Any] = stored.private["parts"]["metrics"]
    return metrics


@pytest.mark.parametrize("before", [(), (None,)], ids=["at the first attempt", "after a retry"])
@pytest.mark.parametrize("member", REFUSED)
async def test_a_statement_about_other_work_counts_for_nothing(
    tmp_path: Path, member: str, before: tuple[None, ...]
) -> None:
    """The request goes to another miner; the row holds that one's statement, and one row is all there is."""
    script = Script(*before, {member: REFUSED[member]})
    async with support.world(tmp_path) as world:
        for number in range(len(before) + 2):
            await world.miner(number, serve=script.serve).join()
        reply = await world.call("POST", "/noop", body=BODY)
        assert (reply.status, reply.body) == (200, ANSWER)
        assert len(set(script.served)) == len(before) + 2
        assert world.node.miners.counters["bad statements"] == 1
        statement = (await used(world, reply))["statement"]
        assert statement["miner_id"] == script.served[-1]
        assert statement["attempt"] == str(len(before) + 2)


async def test_a_statement_about_the_attempt_before_counts_for_nothing(tmp_path: Path) -> None:
    """The number is that of this attempt, not of any attempt of the request."""
    script = Script(None, {"attempt": 1})
    async with support.world(tmp_path) as world:
        for number in range(3):
            await world.miner(number, serve=script.serve).join()
        reply = await world.call("POST", "/noop", body=BODY)
        assert reply.status == 200
        assert (await used(world, reply))["statement"]["attempt"] == "3"


@pytest.mark.parametrize("before", [(), (None,)], ids=["at the first attempt", "after a retry"])
@pytest.mark.parametrize("member", CLIPPED)
async def test_more_use_than_can_be_is_not_billed(tmp_path: Path, member: str, before: tuple[None, ...]) -> None:
    """N-20: what is billed is what this attempt can have used, and the row says which claim was too high."""
    script = Script(*before, {member: CLIPPED[member]})
    async with support.world(tmp_path) as world:
        for number in range(len(before) + 1):
            await world.miner(number, serve=script.serve).join()
        reply = await world.call("POST", "/noop", body=BODY)
        assert (reply.status, reply.body) == (200, ANSWER)
        metrics = await used(world, reply)
        assert metrics["statement"][member] == str(CLIPPED[member]), "what was signed stays as it was"
        assert int(metrics["billed"][member]) < CLIPPED[member]
        assert metrics["clipped"] == [member]


async def test_two_attempts_at_once_are_metered_each_by_itself(tmp_path: Path) -> None:
    """The bytes of an attempt that was given up are not counted for the one that replaced it."""
    async with support.world(tmp_path) as world:
        go = asyncio.Event()

        async def half(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
            """Begins its answer and gives up."""
            miner.acknowledge(opened.stream)
            await miner.body(opened.stream)
            miner.tunnel.head(opened.stream, messages.Head(200, (), None))
            await miner.link.send_data(opened.stream, ANSWER * 100)
            await go.wait()
            miner.tunnel.fail(opened.stream, messages.Fail("dservice_crashed"))
            miner.link.flush()

        first = await world.miner(0, serve=half).join()
        task = asyncio.create_task(world.call("POST", "/noop", body=BODY))
        while not first.opened:
            await asyncio.sleep(0.01)
        await world.miner(1, serve=support.answer_with(ANSWER)).join()
        go.set()
        reply = await task
        assert (reply.status, reply.body) == (200, ANSWER)
        metrics = await used(world, reply)
        assert metrics["measured"]["response_bytes"] == str(len(ANSWER))
        assert metrics["measured"]["request_bytes"] == str(len(BODY))
        assert metrics["statement"]["miner_id"] == world.miners[1].miner_id
