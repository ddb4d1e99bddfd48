"""The driver over real sockets: websockets at both ends (N-1)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from cgn_sdk.protocol import frames, limits
from cgn_sdk.protocol.messages import (
    PROTOCOL,
    Cancel,
    Capabilities,
    Done,
    DServiceOffer,
    Head,
    Hello,
    Open,
    Seal,
    Statement,
)
from cgn_sdk.protocol.tunnel import Cancelled, DataReceived, Event, Opened, Tunnel
from cgn_sdk.tunnel_connection import DIALLING_OPTIONS
from cgn_sdk.tunnel_io import FLUSHES_PER_MESSAGE, BodyReader, Closed, StreamGone, TunnelLink
from false_node import FalseNode, false_node
from websockets.asyncio.client import connect

HELLO = Hello(
    "con_a", "min_a", "k", (DServiceOffer("noop", "1"),), "process", Capabilities(2, 9000, 2**30), 4, "ab" * 32
)
MEBIBYTE = 1 << 20


def an_open(target: str) -> Open:
    return Open("0" * 32, 1, "noop", "GET", target, (), 30_000, None)


def a_statement(size: int) -> Statement:
    return Statement("0" * 32, 1, "min_a", "noop", "1", 200, "00" * 32, size, 0, 5, 7, 9)


class FalseMiner:
    """Answers `/n` with n bytes, echoes a request's body at `/echo`; records what was cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.bodies: dict[int, BodyReader] = {}

    async def run(self, address: str) -> Closed:
        def seal(digests: Sequence[bytes]) -> Seal:
            return Seal(len(digests), "cd" * 64)

        async with connect(address, subprotocols=[PROTOCOL], **DIALLING_OPTIONS) as connection:
            self.link = TunnelLink(connection, Tunnel("miner", seal=seal), self.on_event)
            self.link.tunnel.send_hello(HELLO)
            try:
                return await self.link.run()
            finally:
                for task in self.tasks.values():
                    task.cancel()
                await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    def on_event(self, event: Event) -> None:
        if isinstance(event, Opened):
            self.link.tunnel.acknowledge(event.stream)
            self.bodies[event.stream] = body = BodyReader(self.link, event.stream)
            if event.end:
                body.feed(b"", True)
            self.tasks[event.stream] = asyncio.create_task(self.answer(event.stream, event.message.target, body))
        elif isinstance(event, DataReceived):
            self.bodies[event.stream].feed(event.data, event.end)
        elif isinstance(event, Cancelled):
            self.cancelled.append(event.stream)
            self.tasks[event.stream].cancel()

    async def answer(self, stream: int, target: str, body: BodyReader) -> None:
        self.link.tunnel.head(stream, Head(200, (), None))
        if target == "/echo":
            size = await self.link.send_body(stream, body)
        else:
            size = await self.link.send_body(stream, _pieces(int(target[1:])))
        self.link.tunnel.done(stream, Done(a_statement(size)))
        self.link.flush()


async def _pieces(size: int) -> AsyncIterator[bytes]:
    while size > 0:
        yield bytes(min(size, 100_000))
        size -= 100_000


@contextlib.asynccontextmanager
async def a_tunnel(port: int) -> AsyncIterator[tuple[FalseNode, FalseMiner, "asyncio.Task[Closed]"]]:
    miner = FalseMiner()
    async with false_node(port) as node:
        running = asyncio.create_task(miner.run(f"ws://127.0.0.1:{port}/tunnel"))
        await node.arrived.wait()
        yield node, miner, running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_calls_pass_beside_a_large_reply_and_a_reader_that_never_reads(free_port: Callable[[], int]) -> None:
    async with a_tunnel(free_port()) as (node, miner, _):
        stuck = node.open(f"/{64 * MEBIBYTE}")
        large = asyncio.create_task(node.call(f"/{64 * MEBIBYTE}"))
        took = []
        while not large.done() or len(took) < 20:
            began = time.perf_counter()
            assert len(await node.call("/1024")) == 1024
            took.append((time.perf_counter() - began) * 1000)
        assert len(await large) == 64 * MEBIBYTE
        assert stuck.body.received_bytes == limits.INITIAL_CREDIT_BYTES
        took.sort()
        print(
            f"{len(took)} calls of 1 KiB: p50 {took[len(took) // 2]:.2f} ms, p99 {took[len(took) * 99 // 100]:.2f} ms"
        )
        node.link.tunnel.cancel(stuck.stream, Cancel())
        node.link.flush()
        assert len(await node.call("/1")) == 1
        assert miner.cancelled == [stuck.stream]


async def test_a_request_body_is_echoed_with_back_pressure(free_port: Callable[[], int]) -> None:
    async with a_tunnel(free_port()) as (node, _, _):
        call = node.open("/echo", body=None)
        size = 3 * MEBIBYTE + 17
        sending = asyncio.create_task(node.link.send_body(call.stream, _pieces(size)))
        await asyncio.sleep(0.1)
        assert not sending.done()  # nobody reads the echo, so the miner does not read the request
        assert len(b"".join([part async for part in call.body])) == size
        assert await sending == size
        assert (await call.done).statement.response_bytes == size


async def test_what_one_turn_brings_leaves_in_few_messages_and_some_of_it_early(free_port: Callable[[], int]) -> None:
    """A peer begins with the first of many requests before the loop of this end has turned."""
    async with a_tunnel(free_port()) as (node, _, _):
        connection = node.link._connection
        sizes: list[int] = []
        post = connection.post
        connection.post = lambda message: (sizes.append(len(message)), post(message))  # type: ignore[attr-defined]
        for _ in range(3):
            node.open("/1")
        assert sizes == [], "they wait for each other"
        await asyncio.sleep(0)
        assert len(sizes) == 1
        await asyncio.sleep(0.05)
        sizes.clear()
        for _ in range(2 * FLUSHES_PER_MESSAGE + 1):
            node.open("/1")
        assert len(sizes) == 2
        await asyncio.sleep(0)
        assert len(sizes) == 3
        assert sizes[0] > 10 * sizes[2]


async def test_the_end_of_a_stream_wakes_its_writer(free_port: Callable[[], int]) -> None:
    async with a_tunnel(free_port()) as (node, _, _):
        call = node.open("/echo", body=None)
        sending = asyncio.create_task(node.link.send_body(call.stream, _pieces(MEBIBYTE)))
        await asyncio.sleep(0.05)
        node.link.close(4503, "draining")
        with pytest.raises(StreamGone):
            await sending


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (b"\xff\x00\x00\x00\x00\x00\x00\x01", 4400, "frame type 0xff is unknown"),
        (frames.encode(frames.SLOTS, 0, b'{"slots":1}'), 4400, "SLOTS before the greeting"),
        (frames.encode(frames.HELLO, 0, b"{}"), 4400, "HELLO.protocol must be cgn.tunnel.1"),
        ("text", 4400, "a tunnel has binary messages only"),
        (bytes(limits.MESSAGE_MAX_BYTES + 1), 1009, ""),
        (None, 4408, "the greeting did not come in time"),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_closed_with_a_code(
    free_port: Callable[[], int], message: bytes | str | None, code: int, reason: str
) -> None:
    port = free_port()
    before = len(asyncio.all_tasks())
    async with false_node(port, link_options={"greeting_timeout_ms": 100}) as node:
        async with connect(f"ws://127.0.0.1:{port}/tunnel", subprotocols=[PROTOCOL]) as connection:
            if message is not None:
                await connection.send(message)
            await connection.wait_closed()
            assert connection.close_code == code
            assert reason in (connection.close_reason or "")
        await node.left.wait()
        assert node.closed[0].code in (
            code,
            1006,
        )  # the library itself closes what is too large, and then knows no code
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


async def test_a_peer_that_vanishes_ends_the_tunnel(free_port: Callable[[], int]) -> None:
    async with a_tunnel(free_port()) as (node, miner, running):
        miner.link._connection.transport.abort()
        await node.left.wait()
        assert node.closed[0].code == 1006
        assert (await running).code == 1006
