"""Carries a tunnel over one WebSocket connection: the asyncio driver that node and miner share.

Messages are handed to the multiplexer as they arrive, and its events to a synchronous callback. The frames that the
callbacks of one turn of the loop queue leave in one message, or in a few where they are many. The next message is asked
of the multiplexer only when the transport has taken the last one, so that a control frame queued meanwhile passes the
bytes of large bodies: un-sent behind it are at most one message (256 KiB) and what the kernel holds (kept small by
TCP_NOTSENT_LOWAT where it exists).

The connection comes in from outside (`Connection` says what is used of it; those of `tunnel_connection` fit). Pings,
pongs and finding a dead peer are the library's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cgn_sdk.protocol.errors import CLOSE_NORMAL, CLOSE_TOO_LATE, ProtocolError
from cgn_sdk.protocol.limits import HELLO_TIMEOUT_MS
from cgn_sdk.protocol.messages import GoAway, Hello, Welcome
from cgn_sdk.protocol.tunnel import (
    Cancelled,
    DataReceived,
    Event,
    Failed,
    Finished,
    Tunnel,
    Writable,
)
from cgn_sdk.tunnel_connection import Taker
from cgn_sdk.turns import Turns

NOT_SENT_BYTES: Final = 128 * 1024
"""TCP_NOTSENT_LOWAT: un-sent bytes the kernel takes. Its own default lets megabytes queue before control frames."""

SHORT_CHUNK_BYTES = 4_096
"""Shorter pieces of a body that waits for its reader are joined."""
FLUSHES_PER_MESSAGE: Final = 32
"""So many wishes to send in one turn of the loop are not gathered further: the peer begins with them while this end is
still busy with the rest. Otherwise, under load, both ends take turns and each waits half of the time."""

FRAMES_AT_ONCE: Final = 256
"""Frames of a message taken before others have a turn: one or two milliseconds. A message of the smallest frames has
32,768."""

CLOSE_REASON_MAX_BYTES: Final = 120
"""A close frame holds 123 bytes of reason (RFC 6455 section 5.5)."""


class Connection(Protocol):
    """What is used of a WebSocket connection."""

    @property
    def transport(self) -> Any: ...
    @property
    def close_code(self) -> int | None: ...
    @property
    def close_reason(self) -> str | None: ...
    @property
    def is_writable(self) -> bool: ...
    def attach(self, taker: Taker, /) -> None: ...
    def post(self, message: bytes, /) -> None: ...
    def hold(self, wanted: bool, /) -> None: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class Closed:
    """How a tunnel ended: WebSocket close code (1006 when the connection broke), reason, and who closed first."""

    code: int
    reason: str
    by_us: bool


class StreamGone(Exception):
    """The stream, or the whole tunnel, ended while its body was being read or written."""


class TunnelLink:
    """One tunnel on one connection.

    `on_event` is called for every event, in order; it must not wait. Call the multiplexer
    (`link.tunnel`) from the loop's thread and `flush()` after it; inside `on_event` the flush comes by itself.
    """

    def __init__(
        self,
        connection: Connection,
        tunnel: Tunnel,
        on_event: Callable[[Event], None],
        *,
        greeting_timeout_ms: int = HELLO_TIMEOUT_MS,
        turns: Turns | None = None,
    ) -> None:
        self.tunnel = tunnel
        self._connection = connection
        self._on_event = on_event
        self._greeting_timeout_ms = greeting_timeout_ms
        self._turns = Turns() if turns is None else turns
        self._rest: deque[tuple[bytes, int]] = deque()  # messages, and how far they are read, that wait for a turn
        self._greeting_timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Exception | None] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._is_write_due = False
        self._flushes = 0
        self._writable_waiters: dict[int, asyncio.Future[None]] = {}
        self._closing: asyncio.Task[None] | None = None
        self._closed_by_us: tuple[int, str] | None = None
        self.is_closed = False

    async def run(self) -> Closed:
        """Drives the tunnel until it ends, and says how. An exception of `on_event` closes the connection and is
        raised."""
        _keep_kernel_queue_short(self._connection.transport)
        self._greeting_timer = self._loop.call_later(
            self._greeting_timeout_ms / 1000, self.close, CLOSE_TOO_LATE, "the greeting did not come in time"
        )
        self._connection.attach(self)
        self.flush()  # what was queued before
        try:
            failure = await self._ended
            if isinstance(failure, ProtocolError):
                self.close(failure.close_code, failure.reason)
            elif failure is not None:
                self.close(1011, "internal error")
                raise failure
            await self._lost
        except asyncio.CancelledError:
            self.close(CLOSE_NORMAL, "")
            raise
        finally:
            self._greeting_timer.cancel()
            self.is_closed = True
            self._release_waiters()
            if self._closing is not None:
                await asyncio.gather(self._closing, return_exceptions=True)
        if self._closed_by_us is not None:
            return Closed(*self._closed_by_us, by_us=True)
        code = self._connection.close_code
        return Closed(1006 if code is None else code, self._connection.close_reason or "", by_us=False)

    def flush(self, *, at_once: bool = False) -> None:
        """Sends what the multiplexer has, together with whatever else this turn of the loop adds; `at_once` when
        nothing else is to be expected."""
        self._flushes += 1
        if at_once or self._flushes >= FLUSHES_PER_MESSAGE:
            self._flushes = 0
            self._write()
        elif not self._is_write_due:
            self._is_write_due = True
            self._loop.call_soon(self._write_due)

    def close(self, code: int = CLOSE_NORMAL, reason: str = "") -> None:
        """Begins to close; `run` returns when it is done. The first code counts."""
        if self._closing is None and not self.is_closed:
            cut = reason.encode()[:CLOSE_REASON_MAX_BYTES].decode(errors="ignore")
            self._closed_by_us = (code, cut)
            self._closing = self._loop.create_task(self._close(code, cut), name="tunnel close")

    async def wait_writable(self, stream: int) -> int:
        """Waits until the stream takes bytes, and returns how many. Raises StreamGone when it has ended."""
        while not (room := self.tunnel.writable(stream)):
            if self.is_closed or not self.tunnel.is_open(stream):
                raise StreamGone(f"stream {stream} has ended")
            waiter = self._writable_waiters.get(stream)
            if waiter is None or waiter.done():
                waiter = self._writable_waiters[stream] = self._loop.create_future()
            await waiter
        return room

    async def send_body(self, stream: int, chunks: AsyncIterator[bytes]) -> int:
        """Sends a whole body with back-pressure, and its end. Returns its size. Raises StreamGone."""
        sent = 0
        async for chunk in chunks:
            await self.send_data(stream, chunk)
            sent += len(chunk)
        self.tunnel.data(stream, b"", end=True)
        self.flush()
        return sent

    async def send_data(self, stream: int, data: bytes) -> None:
        """Sends some of a body, waiting for credit as often as needed. Raises StreamGone."""
        while data:
            room = self.tunnel.writable(stream) or await self.wait_writable(stream)
            self.tunnel.data(stream, data[:room])
            self.flush()
            data = data[room:]

    # --- The connection's side (tunnel_connection.Taker) ---

    def on_message(self, message: bytes) -> None:
        if self._ended.done():
            return  # behind a broken message nothing counts
        if self._rest:
            self._rest.append((message, 0))
        else:
            self._take(message, 0)

    def _take(self, message: bytes, offset: int) -> None:
        """A bounded number of the message's frames; the rest when it is our turn again, and nothing is read till
        then."""
        tunnel, on_event = self.tunnel, self._on_event
        try:
            events, offset = tunnel.receive_part(message, offset, FRAMES_AT_ONCE)
            for event in events:
                kind = type(event)
                if kind is not DataReceived:
                    self._watch(kind, event)
                on_event(event)
        except Exception as error:
            self._rest.clear()
            self._ended.set_result(error)
        else:
            if offset < len(message):
                self._rest.appendleft((message, offset))
                self._connection.hold(True)
                self._turns.add(self._on_turn)
        if tunnel.has_data_to_send:
            self.flush()

    def _on_turn(self) -> None:
        if self._ended.done() or not self._rest:
            return
        waiting = len(self._rest)
        self._take(*self._rest.popleft())
        if len(self._rest) == waiting or self._ended.done():
            return  # still the same message: its next part has its turn in the queue
        if self._rest:
            self._turns.add(self._on_turn)
        else:
            self._connection.hold(False)

    def on_text(self) -> None:
        if not self._ended.done():
            self._ended.set_result(ProtocolError("a tunnel has binary messages only"))

    def on_writable(self) -> None:
        self.flush()

    def on_lost(self) -> None:
        self._rest.clear()
        if not self._ended.done():
            self._ended.set_result(None)
        if not self._lost.done():
            self._lost.set_result(None)

    # --- Inside ---

    def _watch(self, kind: type, event: Event) -> None:
        if isinstance(event, (Writable, Finished, Failed, Cancelled)):
            if (waiter := self._writable_waiters.pop(event.stream, None)) is not None and not waiter.done():
                waiter.set_result(None)
        elif kind in (Hello, Welcome, GoAway) and self._greeting_timer is not None:
            self._greeting_timer.cancel()

    def _write_due(self) -> None:
        self._is_write_due = False
        self._flushes = 0
        self._write()

    def _write(self) -> None:
        connection, next_message = self._connection, self.tunnel.data_to_send
        while connection.is_writable and (message := next_message()):
            connection.post(message)

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(OSError):
            await self._connection.close(code, reason)

    def _release_waiters(self) -> None:
        for waiter in self._writable_waiters.values():
            if not waiter.done():
                waiter.set_result(None)
        self._writable_waiters.clear()


class BodyReader:
    """One direction's body, fed by events and read by one task; what is read is given back as credit.

    Holds at most a stream's credit, since the peer may not send more than was consumed.
    """

    def __init__(self, link: TunnelLink, stream: int) -> None:
        self._link = link
        self._stream = stream
        self._chunks: deque[bytes | bytearray] = deque()
        self._ended = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.received_bytes = 0

    def feed(self, data: bytes, end: bool) -> None:
        if data:
            last = self._chunks[-1] if self._chunks else None
            if type(last) is bytearray and len(last) < SHORT_CHUNK_BYTES:
                last += data
            else:  # short ones are joined: an object each would cost many times their bytes
                self._chunks.append(data if len(data) >= SHORT_CHUNK_BYTES or last is None else bytearray(data))
            self.received_bytes += len(data)
        self._ended = self._ended or end
        self._wake()

    def fail(self, failure: Exception) -> None:
        """The body will not be complete: the reader gets this exception, after what has arrived."""
        if not self._ended and self._failure is None:
            self._failure = failure
            self._wake()

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here: `read` gives it at once."""
        return self._ended

    async def read(self) -> bytes:
        """The next bytes as they are there; empty at the end."""
        while not self._chunks:
            if self._ended:
                return b""
            if self._failure is not None:
                raise self._failure
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = bytes(self._chunks.popleft()) if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._link.tunnel.consumed(self._stream, len(data))
        self._link.flush()
        return data

    def __aiter__(self) -> BodyReader:
        return self

    async def __anext__(self) -> bytes:
        if data := await self.read():
            return data
        raise StopAsyncIteration

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _keep_kernel_queue_short(transport: Any) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # Python names it from 3.12 on; the number is Linux's
    found = transport.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, AttributeError):
            found.setsockopt(socket.IPPROTO_TCP, option, NOT_SENT_BYTES)
