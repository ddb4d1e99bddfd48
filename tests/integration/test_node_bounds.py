"""Bounds that the node alone decides, each at n and at n + 1, through its own listeners (N-6). What both ends agree on is
in `tests/unit/cgn_sdk/protocol/test_bounds.py`; heads and chunks are in `test_http1.py`."""

import asyncio
import json
from pathlib import Path

import node_world as support
import pytest
from cgn_sdk.protocol import tunnel
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from cgn_node import limits
from cgn_node.status_endpoint import Latencies

CHUNKED = "Transfer-Encoding: chunked"


def small(patch: pytest.MonkeyPatch, **bounds: int) -> None:
    for name, value in bounds.items():
        patch.setattr(limits, name, value)


def body_of(size: int, *, chunked: bool) -> tuple[tuple[str, ...], bytes]:
    """Header lines and wire form of a body of `x`."""
    if not chunked:
        return (), b"x" * size
    half = size // 2
    return (CHUNKED,), b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (half, b"x" * half, size - half, b"x" * (size - half))


@pytest.mark.parametrize("above", [0, 1])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_s_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunked: bool, above: int) -> None:
    small(monkeypatch, BODY_MAX_BYTES=1_000)
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"ok")).join()
        lines, body = body_of(1_000 + above, chunked=chunked)
        reply = await world.call("POST", "/noop", *lines, body=body)
        assert (reply.status, reply.body == b"ok") == ((413, False) if above else (200, True))
        if above:
            assert reply.problem["code"] == "body_too_large"


@pytest.mark.parametrize("above", [0, 1])
async def test_a_response_s_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: int) -> None:
    """One byte more is no answer, whatever its head says; nobody is charged."""
    small(monkeypatch, BODY_MAX_BYTES=1_000)
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"x" * (1_000 + above), declared=False)).join()
        reply = await world.call("GET", "/noop")
        assert reply.status == (502 if above else 200)
        assert len(await world.rows()) == 1 - above


@pytest.mark.parametrize("above", [0, 1])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_body_of_a_session_s_request(tmp_path: Path, chunked: bool, above: int) -> None:
    """A body of the bound is read and found not to be JSON."""
    async with support.world(tmp_path) as world:
        lines, body = body_of(limits.SMALL_REQUEST_MAX_BYTES + above, chunked=chunked)
        reply = await world.call("POST", "/session", *lines, body=body, key="")
        expected = (413, "body_too_large") if above else (400, "bad_json")
        assert (reply.status, reply.problem["code"]) == expected


async def test_a_body_that_is_waited_for(tmp_path: Path) -> None:
    """Of a long body, as much as may be in memory comes before any miner hears of it, and not a byte more."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=support.echo).join()
        reader, writer = await world.connect()
        size = limits.REQUEST_MEMORY_BYTES
        head = f"POST /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n"
        writer.write(f"{head}Content-Length: {size + 2}\r\n\r\n".encode() + b"x" * size)
        async with asyncio.timeout(20):
            while sum(request.body.length for request in world.node.driver.requests.values()) < size:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert world.node.driver.broker.statistics().requests == 0
        writer.write(b"x")
        async with asyncio.timeout(20):
            while not miner.opened:
                await asyncio.sleep(0.01)
        writer.write(b"x")
        assert len((await support.read_reply(reader)).body) == size + 2
        writer.close()


async def test_requests_of_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, CONCURRENCY_PER_ADDRESS_MAX=2)
    go = asyncio.Event()

    async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        await go.wait()
        await miner.answer(opened, [b"x"])

    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=serve).join()
        first = [asyncio.create_task(world.call("GET", "/noop")) for _ in range(2)]
        while len(miner.opened) < 2:
            await asyncio.sleep(0.01)
        problem = (await world.call("GET", "/noop")).problem
        assert (problem["status"], problem["code"]) == (429, "concurrency_limited")
        assert problem["detail"] == "An address may have 2 requests at once."
        go.set()
        assert [(await task).status for task in first] == [200, 200]
        assert [(await world.call("GET", "/noop")).status for _ in range(3)] == [200] * 3


async def test_miners_of_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, MINERS_MAX=2)
    async with support.world(tmp_path) as world:
        for number in range(2):
            assert (await world.miner(number).join()).welcomed.is_set()
        with pytest.raises(InvalidStatus) as caught:
            await world.miner(2).dial_silently()
        assert caught.value.response.status_code == 503
        assert json.loads(caught.value.response.body or b"")["code"] == "overloaded"


async def test_links_of_central(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, CENTRAL_LINKS_MAX=2)
    async with support.world(tmp_path) as world:
        second = support.ScriptedCentral(world.ports["central"], world.central.tls)
        await second.dial()
        while len(world.node.central._links) < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(InvalidStatus) as caught:
            await connect(
                f"wss://localhost:{world.ports['central']}/central",
                ssl=world.central.tls,
                subprotocols=["cgn.link.1"],  # type: ignore[list-item]
                compression=None,
            )
        assert caught.value.response.status_code == 429
        assert json.loads(caught.value.response.body or b"")["code"] == "rate_limited"
        await second.hang_up()


async def test_what_is_kept_of_the_past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endings without a row, rows for receipts: the latest so many, the oldest goes."""
    small(monkeypatch, ENDINGS_KEPT=2, ROWS_KEPT=2)
    async with support.world(tmp_path) as world:
        ids = [f"{number:032x}" for number in range(3)]
        for request_id in ids:
            assert (await world.call("GET", "/noop", f"CGN-Request-Id: {request_id}")).status == 503
        statuses = [(await world.call("GET", f"/requests/{request_id}")).status for request_id in ids]
        assert statuses == [404, 200, 200]
        await world.miner().join()
        for request_id in ids:
            assert (await world.call("GET", "/noop", f"CGN-Request-Id: {request_id}")).status == 200
        assert list(world.node.recorder._recent) == ids[1:]


def test_times_that_percentiles_are_over() -> None:
    latencies, seen = Latencies(kept=2), []
    for time_us in (1_000, 10, 10):
        latencies.add("noop", "2", time_us)
        seen.append(latencies.percentiles_us("noop", "2")["p99"])
    assert seen == [1_000, 1_000, 10]
    assert latencies.percentiles_us("noop", "3") == {}
