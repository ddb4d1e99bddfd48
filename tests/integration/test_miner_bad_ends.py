"""A miner between bad ends: nodes that do not read, break frames or vanish; DServices that hang, break off, talk nonsense.

Afterwards nothing has leaked: tasks, open files and memory are back where they were ("Bad input" of the node's specification).
"""

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cgn_sdk.protocol import frames
from cgn_sdk.protocol.limits import INITIAL_CREDIT_BYTES
from cgn_sdk.protocol.messages import Cancel, Capabilities
from cgn_sdk.signing import Signer
from false_node import AttemptFailed, FalseNode, false_node
from websockets.exceptions import ConnectionClosed

from cgn_chassis.backoff import Backoff
from cgn_chassis.failures import Refusal
from miner_client import limits
from miner_client.client import Client, Identity
from miner_client.core.slots import Slots
from miner_client.dservice import DService
from miner_client.runner import DServiceSettings

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"
MEBIBYTE = 1 << 20


@contextlib.asynccontextmanager
async def a_miner_inside(tmp_path: Path, node: FalseNode, slots: int = 8) -> AsyncIterator[Client]:
    """The miner in this process, so that its tasks and files can be counted; only its DService is a child."""
    settings = DServiceSettings("noop", "1", command=(sys.executable, str(NOOP)))
    dservice = DService(settings, tmp_path / "noop")
    identity = Identity("con_a", "min_a", "k", Signer(bytes(32)))
    client = Client(
        f"ws://127.0.0.1:{node.port}/tunnel",
        None,
        identity,
        capabilities=Capabilities(1, 1, 1),
        dservices={"noop": dservice},
        slots=Slots(slots),
    )
    tasks = [asyncio.create_task(dservice.run())]
    assert await dservice.wait_ready(20)
    tasks.append(asyncio.create_task(client.run()))
    await node.arrived.wait()
    try:
        yield client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def settled(measure: Callable[[], int], wanted: int) -> int:
    """The measure, as soon as it is down to what is wanted, or after two seconds."""
    for _ in range(40):
        if measure() <= wanted:
            break
        await asyncio.sleep(0.05)
    return measure()


async def test_nothing_leaks_between_bad_ends(tmp_path: Path) -> None:
    async with false_node(0) as node, a_miner_inside(tmp_path, node) as client:
        assert await node.call("/noop/1") == b"0"
        tasks, files = len(asyncio.all_tasks()), open_files()
        for _ in range(5):
            for target in ("/half/1000", "/garbage"):
                with pytest.raises(AttemptFailed, match="dservice_protocol"):
                    await node.call(target)
            with pytest.raises(AttemptFailed, match="dservice_timeout"):
                await node.call("/hang", deadline_ms=1)
            assert node.link is not None
            running = [node.open(target) for target in ("/hang", "/big/64", "/slow/5000")]
            unfinished = node.open("/echo", method="POST", body=None)
            node.link.tunnel.data(unfinished.stream, b"part")
            node.link.flush()
            await asyncio.sleep(0.05)
            for call in (*running, unfinished):
                node.link.tunnel.cancel(call.stream, Cancel())
            node.link.flush()
            assert len(await node.call("/noop/100")) == 100
        assert await settled(lambda: client.in_flight, 0) == 0
        assert await settled(lambda: len(asyncio.all_tasks()), tasks) <= tasks
        assert await settled(open_files, files + 4) <= files + 4  # kept connections to the DService


@pytest.mark.parametrize("how", ["vanishes", "breaks a frame", "sends data beyond credit", "opens beyond the slots"])
async def test_a_bad_node_costs_only_its_tunnel(tmp_path: Path, how: str) -> None:
    async with false_node(0) as node, a_miner_inside(tmp_path, node, slots=4) as client:
        assert await node.call("/noop/1") == b"0"
        tasks, files = len(asyncio.all_tasks()), open_files()
        assert node.link is not None
        for target in ("/hang", "/big/64", "/slow/5000"):
            node.open(target)
        echo = node.open("/echo", method="POST", body=None)
        await asyncio.sleep(0.05)
        assert client.in_flight == 4
        node.arrived.clear()
        connection = node.link._connection
        if how == "vanishes":
            connection.transport.abort()
        elif how == "breaks a frame":
            await connection.send(b"\xff" * 20)
        elif how == "sends data beyond credit":
            for _ in range(20 * INITIAL_CREDIT_BYTES // 60_000):  # more than all buffers of the way hold
                with contextlib.suppress(ConnectionClosed):
                    await connection.send(frames.encode(frames.DATA, echo.stream, bytes(60_000)))
        else:
            with pytest.raises(AttemptFailed, match="no_slot"):
                await node.call("/noop/1")
            connection.transport.abort()
        async with asyncio.timeout(10):
            await node.arrived.wait()  # it has dialled again
        assert len(await node.call("/noop/100")) == 100
        assert client.in_flight <= 1
        assert await settled(lambda: len(asyncio.all_tasks()), tasks) <= tasks
        assert await settled(open_files, files + 4) <= files + 4
        if how in ("breaks a frame", "sends data beyond credit"):
            assert node.closed[0].code == 4400


async def test_refused_miners_wait_long_before_they_ask_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner_client.client._REFUSED", Backoff(300, 300))
    async with false_node(0, refuse_with=4401) as node:
        client_ready = asyncio.create_task(_until_hello(node))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1), a_miner_inside(tmp_path, node):
                pass
        assert await client_ready
        assert 1 <= len(node.hellos) <= 4
        assert {one.code for one in node.closed} == {4401}


async def test_a_miner_that_was_never_taken_does_not_ask_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is told in full, and somebody has to change something before it is started again."""
    monkeypatch.setattr("miner_client.client._REFUSED", Backoff(50, 50))
    async with false_node(0, refuse_with=4403) as node:
        client = Client(
            f"ws://127.0.0.1:{node.port}/tunnel",
            None,
            Identity("con_a", "min_a", "k", Signer(bytes(32))),
            capabilities=Capabilities(1, 1, 1),
            dservices={},
            slots=Slots(1),
        )
        with pytest.raises(Refusal, match="refuses this miner: refused by the test"):
            await client.run()
        assert len(node.hellos) == limits.REFUSALS_MOST


async def test_a_miner_that_was_taken_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner_client.client._REFUSED", Backoff(50, 50))
    async with false_node(0) as node, a_miner_inside(tmp_path, node):
        async with asyncio.timeout(30):
            await node.arrived.wait()
        node.refuse_with = 4403
        assert node.link is not None
        node.link.close(4403, "revoked")
        async with asyncio.timeout(30):
            while len(node.hellos) < limits.REFUSALS_MOST + 3:
                await asyncio.sleep(0.02)


async def _until_hello(node: FalseNode) -> bool:
    while not node.hellos:
        await asyncio.sleep(0.01)
    return True


async def test_memory_stays_constant_for_large_bodies_and_readers_that_do_not_read(tmp_path: Path) -> None:
    """N-2: bodies stream with back-pressure in constant memory."""
    async with false_node(0) as node, a_miner_inside(tmp_path, node) as client:
        for _ in range(4):
            node.open("/big/64")  # never read
        await asyncio.sleep(0.2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call = node.open("/big/100")
        size = 0
        async for part in call.body:
            size += len(part)
        assert size == 100 * MEBIBYTE
        echo = node.open("/echo", method="POST", body=None)
        assert node.link is not None
        sending = asyncio.create_task(node.link.send_body(echo.stream, _chunks(30)))
        size = 0
        async for part in echo.body:
            size += len(part)
        assert await sending == size == 30 * MEBIBYTE
        assert client.in_flight == 4
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 32 * 1024  # node and miner together


async def _chunks(mebibytes: int) -> AsyncIterator[bytes]:
    for _ in range(mebibytes * 4):
        yield bytes(MEBIBYTE // 4)
