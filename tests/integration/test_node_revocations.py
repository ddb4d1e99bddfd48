"""Whatever is open when an account, a key's owner or a miner is revoked (C-10, N-5): sessions, requests in every state,
tunnels, and what the node remembers for the time when Central cannot be reached."""

import asyncio
import json
from pathlib import Path

import node_world as support
import pytest
from cgn_sdk.protocol import link, messages, tunnel

from cgn_node.driver import monotonic_ms
from cgn_node.key_guard import Known, pair_of


async def revoke(world: support.World, accounts: tuple[str, ...] = (), miners: tuple[str, ...] = ()) -> None:
    await world.central.tell(link.TOPIC_REVOKE, link.Revoke(accounts, miners).to_params())


async def closed(miner: support.ScriptedMiner) -> int:
    """The code that its tunnel was closed with, as soon as it is."""
    async with asyncio.timeout(20):
        while miner.closed is None:
            await asyncio.sleep(0.01)
    return miner.closed.code


async def ended(world: support.World, key: str) -> None:
    async with asyncio.timeout(20):
        while (await world.call("GET", "/receipts/" + "0" * 32, key=key)).status != 401:
            await asyncio.sleep(0.01)


async def test_every_session_of_an_account_ends_and_no_other_one(tmp_path: Path) -> None:
    other = "ent_" + "o" * 20
    async with support.world(tmp_path) as world:
        grant = world.central.accounts[support.ACCOUNT]
        world.central.accounts[other] = link.SessionGrant(other, *list(_values(grant))[1:])
        keys = [world.session_key]
        keys += [json.loads((await world.open_session()).body)["session_key"] for _ in range(2)]
        stays = json.loads((await world.open_session(other)).body)["session_key"]
        await world.miner().join()
        guard, pair = world.node.work.keys.guard, pair_of(support.ACCOUNT, support.KEY)
        assert guard.known(pair, monotonic_ms()) is Known.RIGHT
        await revoke(world, accounts=(support.ACCOUNT,))
        for key in keys:
            await ended(world, key)
            assert (await world.call("GET", "/noop", key=key)).status == 401
        assert (await world.call("GET", "/noop", key=stays)).status == 200
        assert guard.known(pair, monotonic_ms()) is Known.NOTHING


def _values(grant: link.SessionGrant) -> list[object]:
    return [getattr(grant, name) for name in grant.__dataclass_fields__]


@pytest.mark.parametrize("by", ["miner", "account"])
async def test_a_tunnel_ends_and_what_ran_in_it_goes_elsewhere(tmp_path: Path, by: str) -> None:
    """Nobody is paid for what a revoked miner has not finished."""
    async with support.world(tmp_path) as world:
        bad = await world.miner(0, serve=support.never, slots=1).join()
        task = asyncio.create_task(world.call("GET", "/noop"))
        while not bad.opened:
            await asyncio.sleep(0.01)
        good_account = "con_" + "g" * 20
        good = await world.miner(1, serve=support.answer_with(b"right"), account_id=good_account).join()
        if by == "miner":
            await revoke(world, miners=(bad.miner_id,))
        else:
            await revoke(world, accounts=(support.CONTRIBUTOR,))
        assert await closed(bad) == 4403
        reply = await task
        assert (reply.status, reply.body) == (200, b"right")
        (row,) = await world.rows()
        stored = await world.node.store.get(row["row_id"])
        assert stored is not None
        assert stored.private["parts"]["metrics"]["statement"]["miner_id"] == good.miner_id
        assert good.closed is None


async def test_an_answer_that_a_revoked_miner_still_sends_counts_for_nothing(tmp_path: Path) -> None:
    """The revocation and the answer cross: from the revocation on, its statements are nobody's work."""
    async with support.world(tmp_path) as world:
        go = asyncio.Event()

        async def wait_and_answer(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
            miner.acknowledge(opened.stream)
            await go.wait()
            await miner.answer(opened, [b"late"])

        bad = await world.miner(0, serve=wait_and_answer).join()
        task = asyncio.create_task(world.call("GET", "/noop", "CGN-Deadline-Ms: 20000"))
        while not bad.opened:
            await asyncio.sleep(0.01)
        await world.miner(1, serve=support.answer_with(b"right")).join()
        world.node.miners.revoke(link.Revoke((), (bad.miner_id,)))
        go.set()
        await closed(bad)
        reply = await task
        assert (reply.status, reply.body) == (200, b"right")
        (row,) = await world.rows()
        stored = await world.node.store.get(row["row_id"])
        assert stored is not None
        assert stored.private["parts"]["metrics"]["statement"]["miner_id"] == world.miners[1].miner_id


@pytest.mark.parametrize("by", ["miner", "account"])
async def test_what_was_known_of_a_miner_is_forgotten(tmp_path: Path, by: str) -> None:
    """A miner that Central has let in before may come back while Central is away (C-1); a revoked one may not."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(0).join()
        await miner.leave()
        guard, pair = world.node.miners.keys.guard, pair_of(support.CONTRIBUTOR, support.KEY)
        assert guard.known(pair, monotonic_ms()) is Known.RIGHT
        if by == "miner":
            await revoke(world, miners=(miner.miner_id,))
        else:
            await revoke(world, accounts=(support.CONTRIBUTOR,))
        async with asyncio.timeout(20):
            while world.node.miners._kept:
                await asyncio.sleep(0.01)
        # a revoked account's key is a key like any other, and takes one of its address's tries
        assert guard.known(pair, monotonic_ms()) is (Known.RIGHT if by == "miner" else Known.NOTHING)
        await world.central.hang_up()
        again = await world.miner(0).join()
        assert not again.welcomed.is_set()
        assert await closed(again) == 1013, "it cannot be verified now"


@pytest.mark.parametrize("state", ["waiting", "running", "streaming"])
async def test_requests_under_way_end_by_a_stated_rule(tmp_path: Path, state: str) -> None:
    """What was admitted is finished and billed; nothing new is admitted."""
    async with support.world(tmp_path) as world:
        go = asyncio.Event()
        size = 3 << 20

        async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
            miner.acknowledge(opened.stream)
            if state == "streaming":
                miner.tunnel.head(opened.stream, messages.Head(200, (), None))
                await miner.link.send_data(opened.stream, bytes(size))
                await go.wait()
                miner.tunnel.data(opened.stream, b"", end=True)
                miner.done(opened, bytes(size))
                return
            await go.wait()
            await miner.answer(opened, [b"x"])

        key = world.session_key
        if state != "waiting":
            miner = await world.miner(serve=serve).join()
        else:
            miner = await world.miner(serve=serve, slots=0).join()
        task = asyncio.create_task(world.call("GET", "/noop"))
        while not world.node.driver.requests:
            await asyncio.sleep(0.01)
        if state != "waiting":
            while not miner.opened:
                await asyncio.sleep(0.01)
        await revoke(world, accounts=(support.ACCOUNT,))
        await ended(world, key)
        go.set()
        if state == "waiting":
            miner.tunnel.send_slots(messages.Slots(1))
            miner.link.flush()
        reply = await task
        assert reply.status == 200
        assert len(await world.rows()) == 1
        assert (await world.call("GET", "/noop", key=key)).status == 401


async def test_goaway_of_a_miner_finishes_what_runs_and_brings_nothing_new(tmp_path: Path) -> None:
    """N-18, M-1: the other end of `drain`; a miner that goes is not one that failed."""
    async with support.world(tmp_path) as world:
        go = asyncio.Event()

        async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
            miner.acknowledge(opened.stream)
            await go.wait()
            await miner.answer(opened, [b"first"])

        going = await world.miner(0, serve=serve, slots=8).join()
        first = asyncio.create_task(world.call("GET", "/noop"))
        while not going.opened:
            await asyncio.sleep(0.01)
        going.tunnel.send_goaway(messages.GoAway("draining", "the operator wants the machine back"))
        going.link.flush()
        while world.node.driver.broker._dispatcher.miners[going.miner_id].slots:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(world.call("GET", "/noop"))
        while len(world.node.driver.requests) < 2:
            await asyncio.sleep(0.01)
        stays = await world.miner(1, serve=support.answer_with(b"second")).join()
        assert (await second).body == b"second"
        go.set()
        assert (await first).body == b"first"
        assert (len(going.opened), len(stays.opened)) == (1, 1)
        assert going.closed is None
        assert len(await world.rows()) == 2
