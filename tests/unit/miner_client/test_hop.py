"""The hop from the miner to a DService, over real UNIX sockets against a real DService and against hostile ones
(M-5)."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from miner_client import hop as hop_module
from miner_client.hop import Hop, HopFailed
from miner_client.runner import DServiceSettings, wait_healthy

NOOP = Path(__file__).resolve().parents[2] / "support/noop_dservice.py"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@pytest.fixture
async def noop(tmp_path: Path) -> AsyncIterator[Hop]:
    path = tmp_path / "dservice.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(NOOP), env={**os.environ, "CGN_SOCKET": str(path)}
    )
    settings = DServiceSettings(name="noop", version="1", command=(sys.executable, str(NOOP)))
    await wait_healthy(settings, path, lambda: process.returncode is not None)  # the file is there before it listens
    hop = Hop(path)
    yield hop
    await hop.close()
    with contextlib.suppress(ProcessLookupError):  # some tests have it die
        process.terminate()
    await process.wait()


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_many_small_calls_use_one_connection(noop: Hop) -> None:
    for _ in range(20):
        response = await noop.request("GET", "/noop/100", [(b"x-one", b"1")], None)
        assert (response.status, len(await response.whole(1_000))) == (200, 100)
    assert len(noop._all) == 1


async def test_connections_are_kept_under_load(noop: Hop) -> None:
    """An answer that arrives whole in one read keeps its connection like any other."""
    opened = 0
    connect = noop._connect

    async def counting() -> object:
        nonlocal opened
        opened += 1
        return await connect()

    noop._connect = counting  # type: ignore[assignment, method-assign]

    async def one() -> None:
        for _ in range(10):
            await (await noop.request("GET", "/noop/100", [], None)).whole(1_000)

    await asyncio.gather(*(one() for _ in range(20)))
    assert opened <= 20


async def test_bodies_stream_both_ways_with_and_without_length(noop: Hop) -> None:
    data = os.urandom(300_000)
    sent = [data[i : i + 70_000] for i in range(0, len(data), 70_000)]
    with_length = await noop.request("POST", "/", [], parts(*sent), body_bytes=len(data))
    assert with_length.body_bytes == len(data)
    assert await with_length.whole(1 << 20) == data
    chunked = await noop.request("POST", "/", [], parts(*sent))
    assert await chunked.whole(1 << 20) == data
    assert await (await noop.request("POST", "/", [], data)).whole(1 << 20) == data
    assert len(noop._all) <= 3, "a body that streams gets a connection of its own, which is kept afterwards"


async def test_a_reader_that_does_not_read_stops_the_dservice(noop: Hop) -> None:
    """Back-pressure: what is buffered stays near its bound while 64 MiB wait at the DService."""
    response = await noop.request("GET", "/big/64", [], None)
    await asyncio.sleep(0.2)
    assert response._connection._buffered <= hop_module.BUFFER_HIGH_BYTES + (1 << 20)
    assert sum([len(chunk) async for chunk in response.chunks()]) == 64 << 20


async def test_an_answer_larger_than_allowed_is_refused(noop: Hop) -> None:
    with pytest.raises(HopFailed, match="too_large"):
        await (await noop.request("GET", "/noop/5000", [], None)).whole(4_999)


async def test_cancelling_closes_the_connection(noop: Hop) -> None:
    """N-17: a cancelled request is felt by the DService as a closed connection."""
    task = asyncio.create_task(noop.request("GET", "/hang", [], None))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    assert not noop._all


async def test_a_dservice_that_dies_in_the_middle(noop: Hop) -> None:
    with pytest.raises(HopFailed, match="closed"):
        await noop.request("GET", "/crash", [], None)


async def test_an_answer_shorter_than_promised_is_not_an_answer(noop: Hop) -> None:
    response = await noop.request("GET", "/half/1000", [], None)
    with pytest.raises(HopFailed, match="closed"):
        await response.whole(10_000)


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(HopFailed, match="unreachable"):
        await Hop(tmp_path / "nothing.sock").request("GET", "/", [], None)
