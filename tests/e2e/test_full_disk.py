"""A disk that is really full below a real node (N-24): work is refused, nothing is done unbilled, and it goes on afterwards."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cgn_sandbox.network import Sandbox, SandboxOptions
from cgn_sdk.client import CgnProblem

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A sandbox folder whose `node` part is a file system of 48 MiB of its own (as root, in memory)."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        if os.environ.get("CGN_REQUIRE_ENGINES") == "1":
            pytest.fail("a file system of its own needs root")
        pytest.skip("engine root-mount is missing (a file system of its own needs root)")
    place = Path(tempfile.mkdtemp(dir="/tmp", prefix="t"))
    (place / "node").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", place / "node"], check=True)
    yield place
    subprocess.run(["umount", "-l", place / "node"], check=False)
    shutil.rmtree(place, ignore_errors=True)


def rows(network: Sandbox) -> list[str]:
    with sqlite3.connect(f"file:{network.ledger_path}?mode=ro", uri=True) as ledger:
        return [json.loads(text)["row_id"] for (text,) in ledger.execute("SELECT public_json FROM rows")]


def fill(path: Path) -> None:
    """Takes every byte that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


@pytest.mark.timeout(120)
async def test_a_full_disk_refuses_work_and_bills_nothing(folder: Path) -> None:
    options = SandboxOptions(
        directory=folder, chain=False, mediagen=False, miners=1, extra_dservices={"noop": [sys.executable, str(NOOP)]}
    )
    async with Sandbox(options) as network, network.client() as client:
        good = [(await client.request("GET", "/noop/10")).request_id for _ in range(3)]
        fill(folder / "node/filler")
        refused = []

        async def ask() -> None:
            """With a long header, so that the room which the spool reserved is used up soon."""
            try:
                good.append((await client.request("GET", "/noop/10", headers={"X-Long": "x" * 12_000})).request_id)
            except CgnProblem as problem:
                refused.append((problem.status, problem.code))

        async with asyncio.timeout(60):
            while len(refused) < 5:
                await asyncio.gather(*(ask() for _ in range(32)))
        assert set(refused) == {(503, "ledger_full")}
        (folder / "node/filler").unlink()
        async with asyncio.timeout(20):
            while True:
                try:
                    good.append((await client.request("GET", "/noop/10")).request_id)
                    break
                except CgnProblem as problem:
                    assert problem.code == "ledger_full"
                    await asyncio.sleep(0.2)
        await asyncio.sleep(1)
        assert sorted(rows(network)) == sorted(good)
