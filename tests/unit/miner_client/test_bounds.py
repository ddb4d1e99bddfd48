"""Bounds of the miner's two doors, the hop to a DService and a DService's way out, at n and at n + 1."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from miner_client import egress as egress_module
from miner_client import hop as hop_module
from miner_client.core.exchange import BadAnswer
from miner_client.egress import Egress
from miner_client.hop import Hop, HopFailed


class Answering:
    """A DService that gives the same bytes to each request, and keeps its connections."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.raw = b""
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await turns()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self.raw)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def dservice(tmp_path: Path) -> AsyncIterator[Answering]:
    made = Answering(tmp_path / "dservice.sock")
    server = await asyncio.start_unix_server(made.serve, made.path)
    yield made
    server.close()
    await made.close()


async def turns() -> None:
    """For transports that were closed to be gone."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def hop(dservice: Answering) -> AsyncIterator[Hop]:
    made = Hop(dservice.path)
    yield made
    await made.close()


async def rule_of(hop: Hop) -> str:
    try:
        response = await hop.request("GET", "/", [], None)
        await response.whole(100)
    except BadAnswer as bad:
        return bad.rule
    return ""


@pytest.mark.parametrize(("above", "rule"), [(0, ""), (1, "head_too_large")])
async def test_fields_of_an_answer(dservice: Answering, hop: Hop, above: int, rule: str) -> None:
    fields = b"".join(b"x-%d: 1\r\n" % n for n in range(hop_module.HEADERS_MAX - 1 + above))
    dservice.raw = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + fields + b"\r\n"
    assert await rule_of(hop) == rule


@pytest.mark.parametrize(("above", "rule"), [(0, ""), (1, "head_too_large")])
async def test_bytes_of_an_answers_fields(
    dservice: Answering, hop: Hop, monkeypatch: pytest.MonkeyPatch, above: int, rule: str
) -> None:
    """Of the fields alone: the status line has no part in it."""
    monkeypatch.setattr(hop_module, "HEAD_MAX_BYTES", 1_000)
    length = b"content-length: 0\r\n"
    field = b"x: " + b"v" * (1_000 - len(length) - len(b"x: \r\n") + above) + b"\r\n"
    assert len(length + field) == 1_000 + above
    dservice.raw = b"HTTP/1.1 200\r\n" + length + field + b"\r\n"
    assert len(dservice.raw) > 1_000
    assert await rule_of(hop) == rule


@pytest.mark.parametrize("above", [0, 1])
async def test_the_length_of_a_body_that_is_asked_for_whole(dservice: Answering, hop: Hop, above: int) -> None:
    dservice.raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (100 + above) + b"b" * (100 + above)
    response = await hop.request("GET", "/", [], None)
    if not above:
        assert await response.whole(100) == b"b" * 100
        return
    with pytest.raises(HopFailed) as caught:
        await response.whole(100)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("above", [0, 1])
async def test_connections_that_are_kept(
    dservice: Answering, hop: Hop, monkeypatch: pytest.MonkeyPatch, above: int
) -> None:
    monkeypatch.setattr(hop_module, "IDLE_MAX", 3)
    dservice.raw = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb"
    count = 3 + above
    responses = [await hop.request("GET", "/", [], None) for _ in range(count)]
    for response in responses:
        assert await response.whole(1) == b"b"
    assert (dservice.connections, len(hop._idle), len(hop._all)) == (count, 3, 3 + above)
    await asyncio.sleep(0)
    for _ in range(3):
        await (await hop.request("GET", "/", [], None)).whole(1)
    assert dservice.connections == count, "kept ones are used again"


# ------------------------------------------------------------------------------------------------------ the way out


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Egress]:
    made = Egress(tmp_path / "egress.sock", ["public"])
    await made.start()
    yield made
    await made.stop()
    await turns()


async def status_of(way: Egress, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(way._path)
    writer.write(request)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.split(b" ")[1]


@pytest.mark.parametrize(("port", "status"), [(0, b"400"), (1, b"403"), (65_535, b"403"), (65_536, b"400")])
async def test_ports(way: Egress, port: int, status: bytes) -> None:
    """What is no port cannot be parsed; what is one is refused by the list of ports."""
    assert await status_of(way, b"CONNECT 93.184.216.34:%d HTTP/1.1\r\n\r\n" % port) == status
    assert way.refused == 1


@pytest.mark.parametrize(("above", "status"), [(0, b"403"), (1, b"429")])
async def test_connections_at_once(way: Egress, monkeypatch: pytest.MonkeyPatch, above: int, status: bytes) -> None:
    monkeypatch.setattr(egress_module, "CONNECTIONS_MAX", 3)
    others = [await asyncio.open_unix_connection(way._path) for _ in range(2 + above)]
    async with asyncio.timeout(30):
        while len(way._open) < len(others):
            await asyncio.sleep(0.001)
    # Refused before its head is read, so it sends none: on a socket with unread bytes a close may overtake the answer.
    assert await status_of(way, b"" if above else b"CONNECT 10.0.0.1:443 HTTP/1.1\r\n\r\n") == status
    for _, writer in others:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(30):
        while way._open:
            await asyncio.sleep(0.001)
    assert await status_of(way, b"CONNECT 10.0.0.1:443 HTTP/1.1\r\n\r\n") == b"403", "places are given back"


@pytest.mark.parametrize(("above", "status"), [(0, b"403"), (1, b"431")])
async def test_bytes_of_a_head(way: Egress, above: int, status: bytes) -> None:
    start, end = b"CONNECT 10.0.0.1:443 HTTP/1.1\r\nx: ", b"\r\n\r\n"
    filling = b"v" * (egress_module.HEAD_MAX_BYTES - len(start) + above)
    assert await status_of(way, start + filling + end) == status
