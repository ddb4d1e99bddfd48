"""What one end of a WebSocket sends cannot keep the other end's loop: tiny frames, tiny messages, pings nobody's pongs
are read of."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cgn_sdk import tunnel_io
from cgn_sdk.protocol import frames
from cgn_sdk.protocol.messages import Capabilities, DServiceOffer, Hello
from cgn_sdk.protocol.tunnel import Event, Slots, Tunnel
from cgn_sdk.tunnel_connection import (
    FRAGMENTS_MAX,
    FRAMES_AT_ONCE,
    LISTENING_OPTIONS,
    PIECE_BYTES,
    UNREAD_MAX_BYTES,
    ListeningConnection,
    PacedServerConnection,
)
from cgn_sdk.tunnel_io import TunnelLink
from cgn_sdk.turns import Turns
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

HELLO = Hello("con_a", "min_a", "k", (DServiceOffer("noop", "1"),), "process", Capabilities(2, 9, 2**30), 4, "ab" * 32)


class Counting:
    """A taker that counts."""

    def __init__(self) -> None:
        self.messages = 0
        self.is_lost = False

    def on_message(self, message: bytes) -> None:
        self.messages += 1

    def on_text(self) -> None: ...

    def on_writable(self) -> None: ...

    def on_lost(self) -> None:
        self.is_lost = True


@asynccontextmanager
async def ends(**options: Any) -> AsyncIterator[tuple[Any, ClientConnection, Callable[[bytes], None]]]:
    """(the server's connection, the client's, a way to send bytes past the client's library)"""
    arrived: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

    async def serving(connection: ServerConnection) -> None:
        arrived.set_result(connection)
        await connection.wait_closed()

    async with (
        serve(serving, "127.0.0.1", 0, **{**LISTENING_OPTIONS, "ping_interval": None, **options}) as server,
        connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", compression=None, ping_interval=None) as client,
    ):
        connection = await arrived
        assert isinstance(connection, PacedServerConnection)
        connection.turns = Turns(turn_s=0)
        yield connection, client, client.transport.write
        client.transport.abort()


def tiny(opcode: int, count: int) -> bytes:
    """So many empty masked frames, of one kind."""
    return (bytes([0x80 | opcode, 0x80]) + os.urandom(4)) * count


async def largest_step(count: Callable[[], int], until: int) -> int:
    """By how much `count` grew within one turn of the loop, at most."""
    largest, last = 0, count()
    async with asyncio.timeout(60):
        while count() < until:
            await asyncio.sleep(0)
            largest, last = max(largest, count() - last), count()
    return largest


async def test_the_smallest_messages_are_read_in_turns() -> None:
    async with ends() as (connection, _, send):
        taker = Counting()
        connection.attach(taker)
        send(tiny(2, 20_000))
        most = FRAMES_AT_ONCE + PIECE_BYTES // 6 + 1
        assert await largest_step(lambda: taker.messages, 20_000) <= 2 * most  # one as it came, one in its turn


async def test_the_last_messages_before_the_end_still_count() -> None:
    async with ends() as (connection, client, send):
        taker = Counting()
        connection.attach(taker)
        send(tiny(2, 5_000))
        await client.close()
        assert taker.is_lost
        assert taker.messages == 5_000


async def test_a_message_of_the_smallest_frames_is_taken_in_turns_and_nothing_else_meanwhile() -> None:
    """32,768 frames fit into one message; what comes behind it waits."""
    seen: list[int] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Slots):
            seen.append(event.slots)

    slots = [frames.encode(frames.SLOTS, 0, b'{"slots":%d}' % (number % 1_000)) for number in range(6_000)]
    async with ends() as (connection, client, _):
        link = TunnelLink(connection, Tunnel("node"), on_event, turns=Turns(turn_s=0))
        running = asyncio.create_task(link.run())
        await client.send(frames.encode(frames.HELLO, 0, HELLO.encode()))
        await client.send(b"".join(slots))
        await client.send(frames.encode(frames.SLOTS, 0, b'{"slots":7}'))
        assert await largest_step(lambda: len(seen), 6_001) <= 2 * tunnel_io.FRAMES_AT_ONCE
        assert seen == [number % 1_000 for number in range(6_000)] + [7]
        link.close()
        await running


async def test_a_peer_that_pings_and_does_not_read_is_not_read() -> None:
    """Its pongs stay few; when it reads again, it is read again."""
    async with ends() as (connection, client, send):
        taker = Counting()
        connection.attach(taker)
        client.transport.pause_reading()
        ping = bytes([0x89, 0x80 | 125]) + b"\0\0\0\0" + b"p" * 125
        count = 200_000
        for _ in range(20):
            send(ping * (count // 20))
            await asyncio.sleep(0.02)
        largest = 0
        for _ in range(100):
            largest = max(largest, connection.transport.get_write_buffer_size())
            await asyncio.sleep(0.01)
        assert largest <= UNREAD_MAX_BYTES + 2 * PIECE_BYTES
        client.transport.resume_reading()
        send(tiny(2, 1))
        async with asyncio.timeout(60):
            while not taker.messages:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("joins", ["we", "the library"])
async def test_the_frames_of_one_message_are_counted(joins: str) -> None:
    """A frame may be empty: a message of nothing but those is never too long and never ends."""

    class Plain(PacedServerConnection):
        pass

    options = {} if joins == "we" else {"create_connection": Plain}
    empty = bytes([0, 0x80]) + b"\0\0\0\0"
    begin, end = b"\x02" + empty[1:], b"\x80" + empty[1:]
    async with ends(**options) as (connection, client, send):
        taker = Counting()
        if joins == "we":
            connection.attach(taker)
        send(begin + empty * (FRAGMENTS_MAX - 2) + end)
        async with asyncio.timeout(60):
            if joins == "we":
                while not taker.messages:
                    await asyncio.sleep(0.01)
            else:
                assert await connection.recv() == b""
        send(begin + empty * 4 * FRAGMENTS_MAX)
        async with asyncio.timeout(60):
            if joins == "the library":
                with pytest.raises(ConnectionClosed):
                    await connection.recv()
            await client.wait_closed()
        assert client.close_code == 1009
        assert taker.messages <= 1


async def test_the_librarys_own_queue_still_holds_a_peer_back() -> None:
    """A reader that does not read keeps the peer from filling its memory; then it gets everything in order."""

    class Listening(PacedServerConnection):
        pass

    async with ends(create_connection=Listening, max_queue=16, max_size=1 << 16) as (connection, client, _):
        sending = asyncio.create_task(send_all(client, [b"%d" % number + b" " * 60_000 for number in range(400)]))
        await asyncio.sleep(0.5)
        assert not sending.done()
        got = [int(await connection.recv()) for _ in range(400)]
        assert got == list(range(400))
        await sending


async def send_all(client: ClientConnection, messages: list[bytes]) -> None:
    for message in messages:
        await client.send(message)


def test_the_tunnels_connection_is_paced() -> None:
    assert issubclass(ListeningConnection, PacedServerConnection)
