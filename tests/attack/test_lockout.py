"""Nobody is locked out by what others get wrong (N-5): a node that is killed under load and comes back, programs that go
on with what the node does not know any more, and a guesser behind the same address.

All of it comes from one address, as from behind a NAT or a balancer.
"""

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path

import node_world as support
from cgn_sdk.client import AsyncClient
from node_process import node_process

WORKERS = 40


async def statuses(world: support.World, key: str, count: int = WORKERS) -> Counter[int]:
    return Counter(
        reply.status for reply in await asyncio.gather(*(world.call("GET", "/noop", key=key) for _ in range(count)))
    )


async def test_workers_go_on_with_their_session_after_the_node_was_killed(tmp_path: Path) -> None:
    async with node_process(tmp_path) as (world, process):
        await world.miner().join()
        key = world.session_key
        assert await statuses(world, key) == {200: WORKERS}
        process.kill()
        await process.wait()
    async with node_process(tmp_path) as (world, _):
        assert (await world.miner().join()).closed is None
        assert await statuses(world, key) == {200: WORKERS}


async def test_sessions_that_are_lost_for_good_lock_out_neither_workers_nor_miners(tmp_path: Path) -> None:
    """As after a disk was exchanged: 401 for the old sessions, again and again, and new ones at once."""
    async with node_process(tmp_path) as (world, process):
        key = world.session_key
        process.kill()
        await process.wait()
    shutil.rmtree(tmp_path / "state/sessions")
    async with node_process(tmp_path) as (world, _):
        for _ in range(3):
            assert await statuses(world, key) == {401: WORKERS}
            assert (await world.open_session()).status == 201
        for number in range(3):
            assert (await world.miner(number).join()).closed is None
        assert await statuses(world, world.session_key) == {200: WORKERS}


async def test_the_sdks_client_renews_by_itself(tmp_path: Path) -> None:
    """50 tasks of one client, whose session the node forgets in between: none of them sees it."""
    async with node_process(tmp_path) as (world, process):
        await world.miner().join()
        node = f"https://localhost:{world.ports['work']}"
        pem = tmp_path / "authority.pem"
        async with AsyncClient(node, account_id=support.ACCOUNT, api_key=support.KEY, ca_file=pem) as client:
            await (await client.request("GET", "/noop")).read()
            await world.central.tell("revoke", {"account_ids": [support.ACCOUNT], "miner_ids": []})
            await asyncio.sleep(0.2)
            results = await asyncio.gather(*(client.request("GET", "/noop") for _ in range(50)))
            assert {result.status for result in results} == {200}
        assert world.central.asked.count("session.open") == 3  # the world's, the client's first, and one for all 50


async def test_a_guesser_behind_the_same_address_holds_up_nobody_who_was_here_before(tmp_path: Path) -> None:
    async with node_process(tmp_path) as (world, _):
        await world.miner().join()
        stop = asyncio.Event()
        guessed: Counter[int] = Counter()

        async def guess(worker: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                guessed[(await world.open_session(key=f"cgn_{worker}_{number}")).status] += 1

        guessers = [asyncio.create_task(guess(worker)) for worker in range(8)]
        try:
            async with asyncio.timeout(60):
                while not guessed[429]:
                    await asyncio.sleep(0.05)
                for _ in range(5):
                    reply = await world.open_session()
                    assert reply.status == 201
                    assert await statuses(world, json.loads(reply.body)["session_key"], 10) == {200: 10}
                assert (await world.miner(1).join()).closed is None
        finally:
            stop.set()
            await asyncio.gather(*guessers)
        assert set(guessed) == {401, 429}
        asked = world.central.asked.count("session.open")
        assert asked < 200, "the brake holds while the guesser goes on"
