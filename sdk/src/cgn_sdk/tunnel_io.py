"""Carries a tunnel over one WebSocket connection: the asyncio driver that node and miner share.

One task reads messages and hands events to a synchronous callback; one task writes. Whatever frames the callbacks of
one turn of the loop queue leave in one message. The writer asks the multiplexer for the next message only when the
transport has taken the last one, so that a control frame queued meanwhile passes the bytes of large bodies: un-sent
behind it are at most one message (256 KiB) and what the kernel holds (kept small by TCP_NOTSENT_LOWAT where it
exists).

The connection comes in from outside (`Connection` says what is used of it; `websockets` connections fit), opened with
`CONNECTION_OPTIONS` at both ends. Pings, pongs and finding a dead peer are the library's, as those options ask.
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
from cgn_sdk.protocol.limits import HELLO_TIMEOUT_MS, KEEPALIVE_DEFAULT_MS, MESSAGE_MAX_BYTES
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

WRITE_LIMIT_BYTES: Final = 64 * 1024
"""Bytes the transport may hold before the writer waits: enough to keep a socket busy, little enough to stand behind."""

NOT_SENT_BYTES: Final = 128 * 1024
"""TCP_NOTSENT_LOWAT: un-sent bytes the kernel takes. Its own default lets megabytes queue before control frames."""

CLOSE_REASON_MAX_BYTES: Final = 120
"""A close frame holds 123 bytes of reason (RFC 6455 section 5.5)."""

CONNECTION_OPTIONS: Final[dict[str, Any]] = {
    "compression": None,  # permessage-deflate costs 12 times the CPU at 64 KiB
    "max_size": MESSAGE_MAX_BYTES,
    "max_queue": 4,  # messages read ahead: 1 MiB
    "write_limit": WRITE_LIMIT_BYTES,
    "ping_interval": KEEPALIVE_DEFAULT_MS / 1000,
    "ping_timeout": KEEPALIVE_DEFAULT_MS / 1000,
    "close_timeout": 5,
}
"""For `websockets.asyncio.client.connect` and `server.serve`; both add `subprotocols=[messages.PROTOCOL]`."""


class Connection(Protocol):
    """What is used of a WebSocket connection."""

    @property
    def transport(self) -> Any: ...
    @property
    def close_code(self) -> int | None: ...
    @property
    def close_reason(self) -> str | None: ...
    def __aiter__(self) -> AsyncIterator[Any]: ...
    async def send(self, message: bytes, /) -> None: ...
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

    `on_event` is called for every event, in order, from the reading task; it must not wait. Call the multiplexer
    (`link.tunnel`) from the loop's thread and `flush()` after it; inside `on_event` the flush comes by itself.
    """

    def __init__(
        self,
        connection: Connection,
        tunnel: Tunnel,
        on_event: Callable[[Event], None],
        *,
        greeting_timeout_ms: int = HELLO_TIMEOUT_MS,
    ) -> None:
        self.tunnel = tunnel
        self._connection = connection
        self._on_event = on_event
        self._greeting_timeout_ms = greeting_timeout_ms
        self._greeting_timer: asyncio.TimerHandle | None = None
        self._wake: asyncio.Future[None] | None = None
        self._has_work = False
        self._writable_waiters: dict[int, asyncio.Future[None]] = {}
        self._closing: asyncio.Task[None] | None = None
        self._closed_by_us: tuple[int, str] | None = None
        self.is_closed = False

    async def run(self) -> Closed:
        """Drives the tunnel until it ends, and says how. An exception of `on_event` closes the connection and is
        raised."""
        loop = asyncio.get_running_loop()
        _keep_kernel_queue_short(self._connection.transport)
        self._greeting_timer = loop.call_later(
            self._greeting_timeout_ms / 1000, self.close, CLOSE_TOO_LATE, "the greeting did not come in time"
        )
        writer = loop.create_task(self._write(), name="tunnel writer")
        try:
            await self._read()
        except ProtocolError as error:
            self.close(error.close_code, error.reason)
            await self._drop_the_rest()
        except asyncio.CancelledError:
            self.close(CLOSE_NORMAL, "")
            raise
        except Exception:
            if self._connection.close_code is None:  # ours, not the connection's
                self.close(1011, "internal error")
                raise
        finally:
            self._greeting_timer.cancel()
            self.is_closed = True
            self._release_waiters()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if self._closing is not None:
                await asyncio.gather(self._closing, return_exceptions=True)
        if self._closed_by_us is not None:
            return Closed(*self._closed_by_us, by_us=True)
        code = self._connection.close_code
        return Closed(1006 if code is None else code, self._connection.close_reason or "", by_us=False)

    def flush(self) -> None:
        """Sends what the multiplexer has, together with whatever else this turn of the loop adds."""
        self._has_work = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def close(self, code: int = CLOSE_NORMAL, reason: str = "") -> None:
        """Begins to close; `run` returns when it is done. The first code counts."""
        if self._closing is None and not self.is_closed:
            cut = reason.encode()[:CLOSE_REASON_MAX_BYTES].decode(errors="ignore")
            self._closed_by_us = (code, cut)
            self._closing = asyncio.get_running_loop().create_task(self._close(code, cut), name="tunnel close")

    async def wait_writable(self, stream: int) -> int:
        """Waits until the stream takes bytes, and returns how many. Raises StreamGone when it has ended."""
        while not (room := self.tunnel.writable(stream)):
            if self.is_closed or not self.tunnel.is_open(stream):
                raise StreamGone(f"stream {stream} has ended")
            waiter = self._writable_waiters.get(stream)
            if waiter is None or waiter.done():
                waiter = self._writable_waiters[stream] = asyncio.get_running_loop().create_future()
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

    # --- Inside ---

    async def _read(self) -> None:
        tunnel, on_event = self.tunnel, self._on_event
        async for message in self._connection:
            if type(message) is not bytes:
                raise ProtocolError("a tunnel has binary messages only")
            for event in tunnel.receive(message):
                kind = type(event)
                if kind is not DataReceived:
                    self._watch(kind, event)
                on_event(event)
            if tunnel.has_data_to_send:
                self.flush()

    async def _drop_the_rest(self) -> None:
        """Reads on without looking: behind messages nobody takes, the peer's answer to our close frame would wait."""
        with contextlib.suppress(Exception):
            async for _ in self._connection:
                pass

    def _watch(self, kind: type, event: Event) -> None:
        if isinstance(event, (Writable, Finished, Failed, Cancelled)):
            if (waiter := self._writable_waiters.pop(event.stream, None)) is not None and not waiter.done():
                waiter.set_result(None)
        elif kind in (Hello, Welcome, GoAway) and self._greeting_timer is not None:
            self._greeting_timer.cancel()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        send, next_message = self._connection.send, self.tunnel.data_to_send
        self._has_work = True  # what was queued before
        try:
            while True:
                if not self._has_work:
                    self._wake = loop.create_future()
                    await self._wake
                self._has_work = False
                while message := next_message():
                    await send(message)
        except asyncio.CancelledError:
            raise
        except Exception:
            if self._connection.close_code is None:
                self.close(1011, "internal error")
                raise

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
        self._chunks: deque[bytes] = deque()
        self._ended = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.received_bytes = 0

    def feed(self, data: bytes, end: bool) -> None:
        if data:
            self._chunks.append(data)
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
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
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
