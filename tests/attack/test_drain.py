"""SIGTERM while work runs, at real processes (N-18, M-10): what has been accepted ends within its own deadline, however
long that is for a service manager; nothing new is taken; a second signal cuts."""

import asyncio
import json
import secrets
import signal
import sqlite3
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cgn_sandbox.children import Child
from cgn_sandbox.network import Sandbox, SandboxOptions

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"
LONG_MS = 18_000
"""Longer than any fixed patience that a miner or a node once had beside the deadline's."""
pytestmark = pytest.mark.timeout(180)


class Network:
    """A sandbox, and raw sockets to its work endpoint."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.tls = ssl.create_default_context(cafile=str(sandbox.authority))
        self.key = ""

    def child(self, name: str) -> Child:
        return self.sandbox.children[name]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", int(self.sandbox.work_url.rsplit(":", 1)[1]), ssl=self.tls)

    async def ask(self, target: str, *headers: str) -> tuple[int, bytes]:
        """One request on a connection of its own; (0, …) when it was cut."""
        return await self.ask_on(await self.connect(), target, *headers)

    async def ask_on(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], target: str, *headers: str
    ) -> tuple[int, bytes]:
        reader, writer = connection
        lines = [f"GET {target} HTTP/1.1", "Host: h", f"Authorization: Bearer {self.key}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        try:
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode("latin-1")
            size = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            return int(head.split(" ")[1]), await reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b""
        finally:
            writer.close()

    async def begun(self, count: int = 1) -> None:
        """Until so many slots of the pool are taken, by the public page."""
        port = int(self.sandbox.status_url.rsplit(":", 1)[1])
        async with asyncio.timeout(20):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self.tls)
                writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                page = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
                writer.close()
                if sum(pool["slots"] - pool["free_slots"] for pool in page["pools"]) >= count:
                    return
                await asyncio.sleep(0.05)

    def rows(self) -> set[str]:
        with sqlite3.connect(f"file:{self.sandbox.ledger_path}?mode=ro", uri=True) as store:
            return {json.loads(text)["row_id"] for (text,) in store.execute("select public_json from rows")}


@asynccontextmanager
async def a_network(miners: int, slots: int) -> AsyncIterator[Network]:
    dservices = {"noop": [sys.executable, str(NOOP)]}
    options = SandboxOptions(miners=miners, slots=slots, chain=False, mediagen=False, extra_dservices=dservices)
    async with Sandbox(options) as sandbox:
        network = Network(sandbox)
        network.key = await sandbox.open_session()
        yield network


async def exit_code(child: Child) -> int:
    return await asyncio.wait_for(child.process.wait(), 30)


@pytest.mark.parametrize("who", ["miner-1", "node"])
async def test_a_long_answer_outlives_the_wish_to_stop(who: str) -> None:
    async with a_network(miners=1, slots=4) as network:
        request_id = secrets.token_hex(16)
        long = asyncio.create_task(
            network.ask(f"/noop/drip/{LONG_MS}", "CGN-Deadline-Ms: 40000", f"CGN-Request-Id: {request_id}")
        )
        await network.begun()
        kept = await network.connect()
        child = network.child(who)
        child.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)
        if who == "node":
            assert await network.ask_on(kept, "/noop/10") == (0, b""), "an idle connection is closed"
            with pytest.raises(OSError):
                await network.connect()
        else:
            status, problem = await network.ask_on(kept, "/noop/10", "CGN-Deadline-Ms: 1000")
            assert (status, json.loads(problem)["code"]) == (504, "deadline")
        assert await long == (200, b"." * (LONG_MS // 500))
        assert await exit_code(child) == 0
        if who == "node":
            assert network.rows() == {request_id}


async def test_a_node_that_stops_finishes_what_waits_too() -> None:
    """N-18: a request that was accepted and has no slot yet is served by the miner that has been told to go; one whose
    miner dies meanwhile is served by another, which has nothing to do until then."""
    async with a_network(miners=2, slots=1) as network:
        asked = [asyncio.create_task(network.ask("/noop/drip/4000", "CGN-Deadline-Ms: 30000")) for _ in range(3)]
        await network.begun(2)
        await asyncio.sleep(0.5)
        network.child("node").process.send_signal(signal.SIGTERM)
        assert await asyncio.gather(*asked) == [(200, b"." * 8)] * 3
        assert await exit_code(network.child("node")) == 0

    async with a_network(miners=2, slots=1) as network:
        asked = [asyncio.create_task(network.ask("/noop/drip/4000", "CGN-Deadline-Ms: 30000"))]
        await network.begun()
        network.child("node").process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        busy = max(("miner-1", "miner-2"), key=lambda name: sockets_below(network.child(name).pid))
        network.child(busy).kill()
        assert await asked[0] == (200, b"." * 8)
        assert await exit_code(network.child("node")) == 0


def sockets_below(pid: int) -> int:
    """Of its children and theirs: a DService that works has one more than one that waits."""
    count = 0
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        links = [str(path.readlink()) for path in Path(f"/proc/{child}/fd").iterdir() if path.is_symlink()]
        count += sum(link.startswith("socket:") for link in links) + sockets_below(child)
    return count


@pytest.mark.parametrize("who", ["miner-1", "node"])
async def test_a_second_signal_cuts(who: str) -> None:
    async with a_network(miners=1, slots=4) as network:
        hanging = asyncio.create_task(network.ask("/noop/hang", "CGN-Deadline-Ms: 40000"))
        await network.begun()
        child = network.child(who)
        child.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(2)
        assert child.process.returncode is None
        began = time.monotonic()
        child.process.send_signal(signal.SIGTERM)
        assert await exit_code(child) == 3
        assert time.monotonic() - began < 20
        assert (await hanging)[0] in (0, 502)  # a node's DApp is cut; a miner's request has no other miner
