"""A disk that holds the node's folder, the ledger *and* every log fills up under load and is freed again (N-24, O-6):
whatever was answered reaches the ledger without anybody starting anything again."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from cgn_sandbox.network import Sandbox, SandboxOptions
from cgn_sdk.client import AsyncClient, CgnProblem

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A sandbox folder that is a small file system (as root, in memory)."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        if os.environ.get("CGN_REQUIRE_ENGINES") == "1":
            pytest.fail("a file system of its own needs root")
        pytest.skip("engine root-mount is missing (a file system of its own needs root)")
    place = Path(tempfile.mkdtemp(dir="/tmp", prefix="t"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=False)
    shutil.rmtree(place, ignore_errors=True)


def rows(network: Sandbox) -> Counter[str]:
    with sqlite3.connect(f"file:{network.ledger_path}?mode=ro", uri=True) as ledger:
        return Counter(json.loads(text)["row_id"] for (text,) in ledger.execute("SELECT public_json FROM rows"))


def fill(path: Path) -> None:
    """Takes every byte that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


async def ask(client: AsyncClient, answered: set[str], refused: Counter[str]) -> None:
    try:
        result = await client.request("GET", "/noop/10", headers={"X-Long": "x" * 6_000})
        await result.read()
        answered.add(result.request_id)
    except CgnProblem as problem:
        refused[problem.code] += 1
    except (aiohttp.ClientError, OSError) as error:
        refused[type(error).__name__] += 1


async def metrics(network: Sandbox) -> dict[str, float]:
    url = f"http://127.0.0.1:{network.children['node'].facts['ports']['metrics']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        lines = [line.rsplit(" ", 1) for line in (await response.text()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


@pytest.mark.timeout(180)
async def test_rows_reach_the_ledger_after_node_and_logs_had_a_full_disk(folder: Path) -> None:
    options = SandboxOptions(
        directory=folder, chain=False, mediagen=False, miners=1, extra_dservices={"noop": [sys.executable, str(NOOP)]}
    )
    answered: set[str] = set()
    refused: Counter[str] = Counter()
    async with Sandbox(options) as network, network.client() as client:
        for _ in range(20):
            await ask(client, answered, refused)
        assert not refused
        fill(folder / "filler")
        async with asyncio.timeout(60):
            while sum(refused.values()) < 20:
                await asyncio.gather(*(ask(client, answered, refused) for _ in range(16)))
        await asyncio.sleep(3)  # long enough for every task that is about to end over it
        (folder / "filler").unlink()
        before = len(answered)
        async with asyncio.timeout(30):
            while len(answered) < before + 20:
                await ask(client, answered, refused)
        async with asyncio.timeout(60):
            while set(rows(network)) < answered:
                await asyncio.sleep(0.5)
        found = rows(network)
        assert answered <= set(found)
        assert max(found.values()) == 1
        shown = await metrics(network)
        assert shown["cgn_node_spool_backlog_rows"] == 0
        assert shown['cgn_node_task_running{task="ledger shipper"}'] == 1
