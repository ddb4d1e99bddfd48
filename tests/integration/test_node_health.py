"""N-3, N-24, O-6: a node whose rows do not reach the ledger says so, and says so no longer when they do."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
from cgn_sdk.protocol.errors import Problem
from node_world import World, world

from ledger.port import StoreError


async def metrics(node: World) -> dict[str, float]:
    url = f"http://127.0.0.1:{node.ports['metrics']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        lines = [line.rsplit(" ", 1) for line in (await response.text()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def test_health_turns_red_while_rows_wait_and_green_afterwards(tmp_path: Path, monkeypatch: Any) -> None:
    async with world(tmp_path, rows_wait_s=1) as node:
        await node.miner().join()
        store, append = node.node.store, node.node.store.append

        async def away(rows: Any) -> None:
            raise StoreError("the ledger sleeps")

        monkeypatch.setattr(store, "append", away)
        assert (await node.call("GET", "/noop")).status == 200
        async with asyncio.timeout(30):
            while (health := await node.call("GET", "/health", endpoint="status")).status == 200:
                await asyncio.sleep(0.1)
        assert health.status == 503
        assert json.loads(health.body)["reasons"] == ["rows have waited for the ledger longer than 1 s"]
        shown = await metrics(node)
        assert shown["cgn_node_spool_backlog_rows"] == 1
        assert shown["cgn_node_spool_oldest_row_seconds"] >= 1
        assert shown['cgn_node_ship_error{error="StoreError: the ledger sleeps"}'] == 1
        assert 0 < shown["process_open_fds"] < shown["process_max_fds"]
        monkeypatch.setattr(store, "append", append)
        async with asyncio.timeout(30):
            while (await node.call("GET", "/health", endpoint="status")).status != 200:
                await asyncio.sleep(0.1)
        assert len(await node.rows()) == 1


async def test_a_shipper_that_fails_is_begun_again(tmp_path: Path, monkeypatch: Any) -> None:
    """Whatever ends it (here: an error that no adapter should raise) ends it for a moment only, and is counted."""
    async with world(tmp_path) as node:
        await node.miner().join()
        store, append = node.node.store, node.node.store.append

        async def broken(rows: Any) -> None:
            monkeypatch.setattr(store, "append", append)
            raise RuntimeError("what nobody foresaw")

        monkeypatch.setattr(store, "append", broken)
        assert (await node.call("GET", "/noop")).status == 200
        assert len(await node.rows()) == 1
        shown = await metrics(node)
        assert shown['cgn_node_task_ends_total{task="ledger shipper"}'] == 1
        running = {name.split('"')[1] for name, value in shown.items() if "task_running" in name and value == 1}
        assert {"ledger shipper", "give memory back", "look at the spool", "count refused rows"} <= running


async def test_a_head_that_central_does_not_keep_turns_health_red(tmp_path: Path) -> None:
    """L-12: Central has seen more of this ledger, or another one; the newest head is told by itself, with its key."""
    async with world(tmp_path) as node:
        await node.miner().join()
        detail = "Central does not keep this head: it is over fewer rows than the 9 that this node has signed before."
        node.central.against_heads = Problem("conflict", detail, extra={"finding": "head_lower"})
        assert (await node.call("GET", "/noop")).status == 200
        async with asyncio.timeout(30):
            while (health := await node.call("GET", "/health", endpoint="status")).status == 200:
                await asyncio.sleep(0.1)
        assert json.loads(health.body)["reasons"] == [f"the ledger is not what Central has seen of it: {detail}"]
        shown = await metrics(node)
        assert (shown["cgn_node_ledger_head_refused"], shown["cgn_node_ledger_head_told_rows"]) == (1, 0)
        status = json.loads((await node.call("GET", "/status", endpoint="status")).body)
        [told] = node.central.heads
        assert told.public_key.hex() == status["public_key"]
        assert json.loads(told.head.encode()) == status["ledger_head"]
