"""`cgn up` begins, ends and begins again as people do it: nothing secret is left, and each mistake is one sentence (S-5)."""

import asyncio
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cgn_sandbox.network import cgn
from cgn_sdk.client import AsyncClient

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name: names of UNIX sockets may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="t"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def with_noop(place: Path) -> list[str]:
    folder = place / "noop"
    folder.mkdir(exist_ok=True)
    shutil.copy(NOOP, folder / "app.py")
    (folder / "dservice.toml").write_text('[dservice]\nname = "noop"\nversion = "1"\ncommand = ["python", "app.py"]\n')
    return ["up", "--json", "--no-chain", "--no-mediagen", "--miners", "1", "--dservice", str(folder)]


async def begin(place: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *cgn(*words),
        cwd=place,
        env={**os.environ, "TMPDIR": str(place)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


@asynccontextmanager
async def running(place: Path, *words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """The network, and what it printed."""
    process = await begin(place, *words)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(200):
            line = await process.stdout.readline()
        assert line, (await process.communicate())[1].decode()
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await process.communicate()


async def ask(said: dict[str, Any]) -> str:
    """The id of a request that was done."""
    async with AsyncClient(
        said["work"], account_id=said["account"], api_key=said["key"], ca_file=said["authority"]
    ) as client:
        result = await client.request("GET", "/noop/10")
        assert len(await result.read()) == 10
        return result.request_id


def folders(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.name.startswith("cgn-"))


async def test_a_folder_of_its_own_is_the_same_network_again(place: Path) -> None:
    """Same account, same addresses, and the receipts of before."""
    words = [*with_noop(place), "--directory", "net"]
    async with running(place, *words) as (_, first):
        request_id = await ask(first)
        second = await begin(place, *words)
        _, told = await second.communicate()
        assert second.returncode == 1
        assert b"belongs to a network that is running" in told
    async with running(place, *words) as (_, again):
        assert {name: again[name] for name in ("account", "key", "work", "sources", "developer")} == {
            name: first[name] for name in ("account", "key", "work", "sources", "developer")
        }
        await ask(again)
        async with AsyncClient(
            again["work"], account_id=again["account"], api_key=again["key"], ca_file=again["authority"]
        ) as client:
            assert (await client.receipt(request_id))["row"]["row_id"] == request_id
    other = await begin(place, *words[:-2], "--miners", "2", "--directory", "net")
    _, told = await other.communicate()
    assert b"holds a network of 1 miners: say --miners 1, or take another folder" in told


async def test_what_a_killed_one_left_goes_with_the_next(place: Path) -> None:
    async with running(place, *with_noop(place)) as (process, _):
        left = [name for name in folders(place) if name.startswith("cgn-up-")]
        assert (place / left[0] / "miner-1/signing.key").exists()
        process.kill()
        await process.wait()
        assert (place / left[0]).exists()
    async with asyncio.timeout(60):
        while True:
            async with running(place, *with_noop(place)):
                if left[0] not in folders(place):
                    break
    assert folders(place) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 0), (signal.SIGTERM, 0)])
async def test_the_end_of_the_terminal_leaves_nothing(place: Path, number: signal.Signals, code: int) -> None:
    async with running(place, *with_noop(place)) as (process, _):
        process.send_signal(number)
        await process.communicate()
        assert process.returncode == code
    assert folders(place) == []


async def test_a_start_that_is_interrupted_leaves_nothing(place: Path) -> None:
    process = await begin(place, *with_noop(place))
    async with asyncio.timeout(60):
        while not folders(place):
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, told = await process.communicate()
    assert process.returncode == 143
    assert b"cgn up: stopping\n" in told
    assert folders(place) == []


async def test_a_start_that_fails_says_why_and_leaves_nothing(place: Path) -> None:
    """One process fails while others are still starting: all of them end, and the folder with the keys is gone."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await begin(place, *with_noop(place), "--work-port", str(port))
        _, told = await process.communicate()
    assert process.returncode == 1
    assert (
        f"port {port} of 127.0.0.1 is in use by another program: end that one, or choose another port" in told.decode()
    )
    assert b"Traceback" not in told
    assert folders(place) == []
