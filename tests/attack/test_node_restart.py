"""A node that is killed and away for ten seconds, with a real Central and real miners around it (C-1, N-4, N-5): programs
go on with their session, nobody is taken for a guesser, and Central is back within seconds of the node."""

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cgn_sandbox.network import Sandbox, SandboxOptions
from cgn_sdk.client import AsyncClient, CgnProblem

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"
AWAY_S = 10
BACK_S = 5
"""Central dials a node that was here lately each second; the rest is for a machine that is busy."""


@pytest.fixture
async def network() -> AsyncIterator[Sandbox]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        options = SandboxOptions(
            directory=Path(folder),
            chain=False,
            mediagen=False,
            miners=2,
            extra_dservices={"noop": [sys.executable, str(NOOP)]},
        )
        async with Sandbox(options) as made:
            yield made


@pytest.mark.timeout(180)
async def test_sessions_and_the_link_survive_a_crash(network: Sandbox) -> None:
    outcomes: Counter[str] = Counter()
    stop = asyncio.Event()

    async def work(client: AsyncClient) -> None:
        while not stop.is_set():
            try:
                result = await client.request("GET", "/noop/10")
                await result.read()
                outcomes["200"] += 1
            except CgnProblem as problem:
                outcomes[f"{problem.status} {problem.code}"] += 1
                await asyncio.sleep(0.1)
            except (aiohttp.ClientError, OSError):
                outcomes["not reached"] += 1
                await asyncio.sleep(0.1)

    async with network.client() as client, network.client() as newcomer:
        workers = [asyncio.create_task(work(client)) for _ in range(40)]
        async with asyncio.timeout(30):
            while outcomes["200"] < 200:
                await asyncio.sleep(0.05)
        network.children["node"].kill()
        await network.children["node"].process.wait()
        await asyncio.sleep(AWAY_S)
        await network.start_node()
        async with asyncio.timeout(BACK_S):  # somebody without a session needs Central
            while True:
                try:
                    await newcomer.status("0" * 32)
                except CgnProblem as problem:
                    if problem.code == "not_found":
                        break
                    assert problem.code == "central_unreachable"
                    await asyncio.sleep(0.05)
        before = outcomes["200"]
        async with asyncio.timeout(60):  # the miners dial with waits of their own
            while outcomes["200"] < before + 200:
                await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*workers)
    assert not {code for code in outcomes if code.startswith(("401", "429"))}, outcomes
    log = (network.folder / "logs/node.log").read_text()
    assert log.count("sessions.restored") == 2
