"""One CGN-Request-Id, one execution, one charge, one receipt (overview: "nothing twice"): over real TLS, sent again at
every moment, from other connections, accounts and bodies, and over a restart of the node."""

import asyncio
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import node_world as support
import pytest

from cgn_node import app
from ledger.port import StoreError

IDS = 250
COPIES = 6


async def quick(miner: support.ScriptedMiner, opened: support.tunnel.Opened) -> None:
    miner.acknowledge(opened.stream)
    await miner.answer(opened, [b"hello"], request_bytes=opened.message.body_bytes or 0)


def lines(world: support.World, request_id: str, body: bytes = b"") -> bytes:
    return (
        f"POST /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n"
        f"CGN-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def until(holds: Any) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")


async def test_copies_sent_at_every_moment_are_done_once(tmp_path: Path) -> None:
    """Each id leaves on six kept connections, a little apart, so that copies meet the look-up, the work, the record and
    the answer of the first. `tests/attack/duplicates.py` does it with ten thousand."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=quick).join()
        connections = [await world.connect() for _ in range(COPIES)]
        asked: Counter[str] = Counter()
        statuses: list[Counter[int]] = []

        async def send(number: int, request_id: str) -> int:
            reader, writer = connections[number]
            await asyncio.sleep((0, 0, 0.001, 0.003, 0.006, 0.012)[number])
            writer.write(lines(world, request_id))
            reply = await support.read_reply(reader)
            if reply.status == 409:
                assert (reply.problem["code"], reply.problem["request_id"]) == ("duplicate_request", request_id)
            return reply.status

        for _ in range(IDS):
            request_id = secrets.token_hex(16)
            statuses.append(Counter(await asyncio.gather(*(send(number, request_id) for number in range(COPIES)))))
            asked[request_id] += 1
        for _, writer in connections:
            writer.close()
        assert statuses == [Counter({200: 1, 409: COPIES - 1})] * IDS
        assert Counter(opened.request_id for opened in miner.opened) == asked
        assert {row["row_id"] for row in (await world.rows())[:1000]} == set(asked)
        refused = world.settings.state / "refused"
        assert not refused.exists() or not list(refused.iterdir())
        assert not world.node.work._reserved


async def test_two_copies_in_one_packet_are_done_once(tmp_path: Path) -> None:
    """The second is served inside the step in which the first one's answer leaves."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=quick).join()
        for _ in range(20):
            reader, writer = await world.connect()
            request_id = secrets.token_hex(16)
            writer.write(lines(world, request_id) * 2)
            assert [(await support.read_reply(reader)).status for _ in range(2)] == [200, 409]
            writer.close()
        assert len(miner.opened) == 20


async def slow_store(world: support.World, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Looking up an id waits for the event."""
    go = asyncio.Event()
    get = world.node.store.get

    async def later(row_id: str) -> Any:
        await go.wait()
        return await get(row_id)

    monkeypatch.setattr(world.node.store, "get", later)
    return go


async def test_an_id_is_taken_while_it_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another account with another body too; and whoever looks up finds what came meanwhile."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=quick).join()
        other = "ent_" + "z" * 20
        world.central.accounts[other] = support.link.SessionGrant(
            other, support.public_id("o"), support.address("9"), "", ("2",), 30_000, 2
        )
        others_key = support.json.loads((await world.open_session(other)).body)["session_key"]
        go = await slow_store(world, monkeypatch)
        mine = "CGN-Request-Id: " + "ab" * 16
        first = asyncio.create_task(world.call("POST", "/noop", mine, body=b"one"))
        await until(lambda: world.node.work._reserved)
        assert (await world.call("POST", "/noop", mine, body=b"two")).status == 409
        assert (await world.call("GET", "/noop", mine, key=others_key)).status == 409
        go.set()
        assert (await first).status == 200
        assert (await world.call("GET", "/noop", mine, key=others_key)).status == 409
        assert len(miner.opened) == len(await world.rows()) == 1


async def test_who_leaves_while_the_id_is_looked_up_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N-17, also with a body that is still to come; the id is free again."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=quick).join()
        go = await slow_store(world, monkeypatch)
        for missing in (0, 100):
            _, writer = await world.connect()
            head = lines(world, "cd" * 16).replace(b"Length: 0", b"Length: %d" % missing)
            writer.write(head)
            await until(lambda: world.node.work._reserved)
            writer.transport.abort()
            await until(lambda: world.node.listeners[0].connection_count == 0)
        go.set()
        await until(lambda: not world.node.work._reserved)
        assert not world.node.driver.requests
        assert miner.opened == []
        assert await world.rows() == []
        assert (await world.call("GET", "/noop", "CGN-Request-Id: " + "cd" * 16)).status == 200


async def test_what_changed_during_the_look_up_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Session, drain and concurrency are asked about behind the wait, in the step that starts the work."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=quick).join()
        go = await slow_store(world, monkeypatch)
        asking = asyncio.create_task(world.call("GET", "/noop", "CGN-Request-Id: " + "ab" * 16))
        await until(lambda: world.node.work._reserved)
        await world.central.tell("revoke", {"account_ids": [support.ACCOUNT], "miner_ids": []})
        await until(lambda: not len(world.node.driver.requests) and world.node.work._sessions.revocations)
        go.set()
        assert (await asking).problem["code"] == "not_authenticated"
        assert miner.opened == []


async def test_a_store_that_cannot_be_asked_is_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown is not unused."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=quick).join()

        async def away(row_id: str) -> Any:
            raise StoreError("away")

        monkeypatch.setattr(world.node.store, "get", away)
        reply = await world.call("GET", "/noop", "CGN-Request-Id: " + "ab" * 16)
        assert (reply.status, reply.problem["code"]) == (503, "ledger_full")
        assert "retry-after" in reply.headers
        assert (await world.call("GET", "/noop")).status == 200
        assert len(miner.opened) == 1


async def test_a_repeat_over_a_restart_is_known_from_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has been away since before the first request: only the spool has the row, before and after."""
    async with support.world(tmp_path) as world:

        async def away(self: Any, rows: Any) -> None:
            raise StoreError("away")

        monkeypatch.setattr(type(world.node.store), "append", away)
        monkeypatch.setattr(app, "STOP_S", 0.2)
        await world.miner(serve=quick).join()
        names = {"x-in-a-header": '"row_id":"' + "ee" * 16 + '"'}
        headers = [f"{name}: {value}" for name, value in names.items()]
        assert (await world.call("GET", "/noop", "CGN-Request-Id: " + "ab" * 16, *headers)).status == 200
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=quick).join()
        assert (await world.call("GET", "/noop", "CGN-Request-Id: " + "ab" * 16)).status == 409
        assert (await world.call("GET", "/noop", "CGN-Request-Id: " + "ee" * 16)).status == 200
        assert [opened.request_id for opened in miner.opened] == ["ee" * 16]


async def test_no_id_is_forgotten_before_the_store_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgn_node.limits.ROW_IDS_KEPT", 2)
    async with support.world(tmp_path) as world:
        await world.miner(serve=quick).join()
        append = world.node.store.append
        back = asyncio.Event()

        async def later(rows: Any) -> None:
            await back.wait()
            await append(rows)

        monkeypatch.setattr(world.node.store, "append", later)
        ids = [secrets.token_hex(16) for _ in range(8)]
        for request_id in ids:
            assert (await world.call("GET", "/noop", "CGN-Request-Id: " + request_id)).status == 200
        for request_id in ids:
            assert (await world.call("GET", "/noop", "CGN-Request-Id: " + request_id)).status == 409
        back.set()
        assert len(await world.rows()) == 8
        assert (await world.call("GET", "/noop")).status == 200
        assert len(world.node.recorder._ids) <= 9


async def test_a_revocation_overtakes_central_s_word_on_a_miner(tmp_path: Path) -> None:
    """C-10: revoked between Central's answer and the step that would let it in."""
    async with support.world(tmp_path) as world:
        verify = world.node.miners.verify

        async def revoked_meanwhile(*arguments: Any) -> Any:
            grant = await verify(*arguments)
            world.node.miners.revoke(support.link.Revoke((), (support.miner_id(0),)))
            await asyncio.sleep(0)
            return grant

        world.node.miners.verify = revoked_meanwhile
        miner = await world.miner().join()
        await until(lambda: miner.closed is not None)
        assert miner.closed is not None
        assert miner.closed.code == 4403
        assert not world.node.driver.tunnels
