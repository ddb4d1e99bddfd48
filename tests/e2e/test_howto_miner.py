"""How to run a miner, followed to the letter: registered, checked, joined, and earning (M-1, S-6)."""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cgn_sandbox.network import Sandbox, SandboxOptions

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/howto/run-a-miner.md"
NOOP = ROOT / "tests/support/noop_dservice.py"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name: names of UNIX sockets may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="t"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def shell(command: str, folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", command),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, told = await process.communicate()
    assert process.returncode == 0, (printed + told).decode()
    return printed.decode()


def as_registered(page: str, network: Sandbox, given: dict[str, str]) -> str:
    """The page's settings file with what the operators gave, and a child process in place of the container."""
    [text] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    miner_port = network._ports["miner"]
    for invented, real in (
        ("wss://node.example:8080/tunnel", f"wss://127.0.0.1:{miner_port}/tunnel"),
        ("con_…", given["account_id"]),
        ("min_…", given["miner_id"]),
        ('# authority = "authority.pem"', f'authority = "{network.authority}"'),
        ("[dservices.mediagen]", "[dservices.noop]"),
        ('version = "0.1.0"', 'version = "1.0.0"'),
        ('image = "cgn-mediagen"', f'command = ["python", "{NOOP}"]'),
        ('egress = ["public"]', "egress = []"),
    ):
        assert invented in text, invented
        text = text.replace(invented, real)
    return text


async def test_from_a_name_to_earning(place: Path) -> None:
    page = PAGE.read_text()
    [commands] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    *before, run = commands.strip().splitlines()
    noop = {"noop": [sys.executable, str(NOOP)]}
    async with Sandbox(
        SandboxOptions(directory=place / "net", chain=False, miners=1, mediagen=False, extra_dservices=noop)
    ) as network:
        central = f"--config {place}/net/central.toml --why joins"
        wallet = "0x71bE63f3384f5fb98995898A86B02Fb2426c5788"
        account = json.loads(await shell(f"cgn central add-account con --name Ada --address {wallet} {central}", place))
        given = json.loads(await shell(f"cgn central add-miner {account['account']} --tier 2 {central}", place))
        (place / "api.key").write_text(given["api_key"])
        (place / "miner.toml").write_text(as_registered(page, network, given))
        said = await shell("\n".join(before), place)
        assert json.loads(said[: said.index("\n")])["miners"][given["miner_id"]]["key"]
        assert "ready to join wss://" in said

        await network.children["miner-1"].stop()
        words = run.split()
        words[0] = str(Path(sys.executable).with_name("cgn"))
        with (place / "miner.log").open("wb") as log:
            miner = await asyncio.create_subprocess_exec(*words, cwd=place, stdout=asyncio.subprocess.PIPE, stderr=log)
        assert miner.stdout is not None
        try:
            async with asyncio.timeout(60):
                assert (await miner.stdout.readline()).startswith(b"READY "), (place / "miner.log").read_text()
            async with network.client() as client:
                result = await client.request("POST", "/noop", b"x" * 1_000_000)
                await result.read()
                row = (await client.receipt(result.request_id))["row"]
            assert row["contributor_id"] == account["public_id"]
            earned = {share["role"]: int(share["amount_nano_eur"]) for share in row["payouts"]}
            assert earned["contributor"] > 0
        finally:
            miner.terminate()
            await miner.communicate()
