"""A body that is on its way takes nothing of a miner (N-6): the broker hears of a request when its body is whole, or
longer than is waited for. Over real TLS."""

import asyncio
from pathlib import Path

import node_world as support
import pytest
from cgn_sdk.protocol import link

from cgn_node import limits
from cgn_node.core import events


async def begin_upload(
    world: support.World, length: int, first: bytes = b"", *lines: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A POST whose head, and a part of whose body, have been sent."""
    reader, writer = await world.connect()
    head = ["POST /noop HTTP/1.1", "Host: localhost", f"Authorization: Bearer {world.session_key}", *lines]
    writer.write("\r\n".join([*head, f"Content-Length: {length}", "", ""]).encode() + first)
    await writer.drain()
    return reader, writer


async def until_under_way(world: support.World, count: int) -> None:
    async with asyncio.timeout(20):
        while len(world.node.driver.requests) != count:
            await asyncio.sleep(0.01)


async def test_half_a_body_keeps_no_slot_from_others(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        miner = await world.miner(slots=1).join()
        reader, writer = await begin_upload(world, 10, b"12345")
        await until_under_way(world, 1)
        for _ in range(3):
            assert (await world.call("GET", "/noop")).status == 200
        assert len(miner.opened) == 3
        writer.write(b"67890")
        assert (await support.read_reply(reader)).status == 200
        assert miner.opened[-1].body_bytes == 10
        writer.close()


async def test_a_long_body_is_not_waited_for(tmp_path: Path) -> None:
    """It streams: the miner has its first bytes before the last ones are sent."""
    length = limits.REQUEST_MEMORY_BYTES
    async with support.world(tmp_path) as world:
        miner = await world.miner().join()
        reader, writer = await begin_upload(world, 2 * length, b"x" * length)
        await until_under_way(world, 1)
        assert miner.opened == []
        writer.write(b"x")
        async with asyncio.timeout(20):
            while not miner.opened:
                await asyncio.sleep(0.01)
        writer.write(b"x" * (length - 1))
        assert (await support.read_reply(reader)).status == 200
        writer.close()


async def test_a_dapp_that_leaves_in_its_body_has_asked_for_nothing(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        miner = await world.miner().join()
        _, writer = await begin_upload(world, 10, b"1", "CGN-Request-Id: " + "ab" * 16)
        await until_under_way(world, 1)
        writer.transport.abort()
        await until_under_way(world, 0)
        assert miner.opened == []
        reply = await world.call("POST", "/noop", "CGN-Request-Id: " + "ab" * 16, body=b"again")
        assert reply.status == 200
        assert len(await world.rows()) == 1


async def test_an_id_is_taken_while_its_body_comes(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        await world.miner().join()
        reader, writer = await begin_upload(world, 2, b"1", "CGN-Request-Id: " + "ab" * 16)
        await until_under_way(world, 1)
        second = await world.call("GET", "/noop", "CGN-Request-Id: " + "ab" * 16)
        assert (second.status, second.problem["code"]) == (409, "duplicate_request")
        writer.write(b"2")
        assert (await support.read_reply(reader)).status == 200
        writer.close()


async def test_a_session_that_ends_meanwhile_lets_nothing_in(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        miner = await world.miner().join()
        reader, writer = await begin_upload(world, 2, b"1")
        await until_under_way(world, 1)
        await world.central.tell(link.TOPIC_REVOKE, link.Revoke((support.ACCOUNT,), ()).to_params())
        async with asyncio.timeout(20):
            while (await world.call("GET", "/receipts/" + "0" * 32)).status != 401:
                await asyncio.sleep(0.01)
        writer.write(b"2")
        reply = await support.read_reply(reader)
        assert (reply.status, reply.problem["code"]) == (401, "not_authenticated")
        assert miner.opened == []
        assert len(world.node.driver.requests) == 0
        writer.close()


@pytest.mark.parametrize("code", ["ledger_full", "deadline", "draining"])
async def test_what_has_changed_meanwhile_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """N-6, N-18, N-24: room in the spool, the deadline, the node's own life."""
    async with support.world(tmp_path) as world:
        miner = await world.miner().join()
        lines = ("CGN-Deadline-Ms: 300",) if code == "deadline" else ()
        reader, writer = await begin_upload(world, 2, b"1", *lines)
        await until_under_way(world, 1)
        match code:
            case "ledger_full":
                monkeypatch.setattr(world.node.recorder, "_full_until_s", float("inf"))
            case "deadline":
                await asyncio.sleep(0.4)
            case "draining":
                world.node.work.draining = True
                world.node.driver.post(events.Drain())
        writer.write(b"2")
        reply = await support.read_reply(reader)
        assert (reply.status, reply.problem["code"]) == (504 if code == "deadline" else 503, code)
        assert miner.opened == []
        assert world.node.driver.requests == {}
        writer.close()


@pytest.mark.parametrize("lines", [(), ("Expect: 100-continue",)])
async def test_what_is_refused_anyway_is_refused_before_its_body(tmp_path: Path, lines: tuple[str, ...]) -> None:
    async with support.world(tmp_path) as world:
        reader, writer = await begin_upload(world, 10**6, b"", *lines)
        reply = await support.read_reply(reader)
        assert (reply.status, reply.problem["code"]) == (503, "no_miner")
        writer.close()
