"""The last hop: HTTP/1.1 from the miner to a DService over its UNIX socket, with connections kept.

Only what this hop needs, because its cost is paid by every request: a general client takes 47 µs for it, this about a
fifth. The parsing itself is httptools'. What a DService sends is outside input: head and header counts are bounded, a
malformed answer is a `HopFailed`, never an exception of the parser.

A request whose task is cancelled closes its connection, which is how a cancellation reaches the DService (N-17).
"""

import asyncio
import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import httptools

HEAD_MAX_BYTES: Final = 64 * 1024
"""Status line and headers of an answer; what browsers' servers commonly allow is 8 to 16 KiB."""
HEADERS_MAX: Final = 128
"""Headers of an answer."""
BUFFER_HIGH_BYTES: Final = 256 * 1024
"""Read from the DService ahead of what the tunnel takes; equal to one stream's credit."""
IDLE_MAX: Final = 64
"""Connections kept for reuse; more than the slots of a large machine."""

_PROC_FDS: Final = Path("/proc/self/fd")

Header = tuple[bytes, bytes]


class HopFailed(Exception):
    """The DService could not be reached or did not speak HTTP. `code` is `unreachable`,
    `closed`, `malformed` or `too_large`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class HopResponse:
    """An answer whose head has arrived. Read all of `chunks()` or call `abort()`."""

    def __init__(self, connection: "_Connection", status: int, headers: list[Header], body_bytes: int | None) -> None:
        self.status = status
        self.headers = headers
        self.body_bytes = body_bytes
        """Length the DService announced, None when it announced none (chunked or until close)."""
        self._connection = connection

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises HopFailed when it ends early."""
        while (chunk := await self._connection.next_chunk()) is not None:
            yield chunk

    async def whole(self, max_bytes: int) -> bytes:
        """The whole body. Raises HopFailed `too_large` beyond `max_bytes`."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > max_bytes:
                self.abort()
                raise HopFailed("too_large", f"the body is longer than {max_bytes} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def abort(self) -> None:
        self._connection.close()


class _Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, hop: "Hop") -> None:
        self._hop = hop
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = False
        self._reset()

    def _reset(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._length: int | None = None
        self._bodiless = False
        self._head: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._wake: asyncio.Future[None] | None = None
        self._complete = False
        self._keep_alive = False
        self._failure: HopFailed | None = None
        self._in_use = False
        self._reading = True
        self._sender: asyncio.Task[None] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if not self._in_use:
            self.close()  # an answer nobody asked for
            return
        if self._head is not None and not self._head.done():
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("malformed", "the DService switched protocols")
        except HopFailed as failure:
            self._fail(failure.code, failure.detail)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, HopFailed):
                self._fail(cause.code, cause.detail)
            else:
                self._fail("malformed", "the DService's answer is not HTTP/1.1")
        except httptools.HttpParserError:
            self._fail("malformed", "the DService's answer is not HTTP/1.1")
        else:
            if self._head is not None and not self._head.done() and self._head_bytes > HEAD_MAX_BYTES:
                self._fail("too_large", f"the answer's head is longer than {HEAD_MAX_BYTES} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._writable.set()
        self._hop.forget(self)
        if not self._in_use or self._complete:
            return
        head_arrived = self._head is not None and self._head.done()
        if head_arrived and self._failure is None and self._length is None and not self._parser_is_chunked():
            self.on_message_complete()  # a body without length ends with the connection (RFC 9112 section 6.3)
        else:
            self._fail("closed", "the DService closed the connection before its answer was complete")

    # httptools

    def on_message_begin(self) -> None:
        if self._complete:
            raise HopFailed("malformed", "the DService sent a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._headers) >= HEADERS_MAX:
            raise HopFailed("too_large", f"the answer has more than {HEADERS_MAX} headers")
        lower = name.lower()
        if lower == b"content-length":
            self._length = int(value) if value.isdigit() and len(value) < 20 else None
        self._headers.append((lower, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._headers.clear()
            return
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > BUFFER_HIGH_BYTES and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._wake_up()

    def on_message_complete(self) -> None:
        if self._head is None or not self._head.done():
            return  # the end of a 1xx answer
        self._complete = True
        # Asked here because the parser forgets the message as soon as this callback returns.
        self._keep_alive = not self.closed and self._parser.should_keep_alive()
        self._wake_up()

    # the request's side

    async def send(self, head: bytes, body: bytes | AsyncIterator[bytes] | None, bodiless: bool) -> HopResponse:
        """Writes the request and waits for the answer's head; a body that streams goes on beside the answer."""
        self._in_use = True
        self._bodiless = bodiless
        self._head = asyncio.get_running_loop().create_future()
        if isinstance(body, bytes):
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            if body is not None:
                body_task = self._send_body(body, b"\r\ncontent-length:" in head)
                self._sender = asyncio.get_running_loop().create_task(body_task)
                self._hop.keep(self._sender)
        try:
            await self._head
        except BaseException:
            self.close()
            raise
        if self._bodiless and not self._complete:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()
        return HopResponse(self, self._parser.get_status_code(), self._headers, self._length)

    async def _send_body(self, body: AsyncIterator[bytes], has_length: bool) -> None:
        try:
            async for part in body:
                if self.closed:
                    return
                if part:
                    self._transport.write(part if has_length else b"%x\r\n%b\r\n" % (len(part), part))
                await self._writable.wait()
            if not has_length:
                self._transport.write(b"0\r\n\r\n")
        except asyncio.CancelledError:
            self.close()
            raise
        except Exception as error:
            self._fail("closed", f"the request's body ended early: {error}")

    async def next_chunk(self) -> bytes | None:
        while True:
            if self._chunks:
                chunk = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
                self._chunks.clear()
                self._buffered = 0
                if not self._reading:
                    self._reading = True
                    self._transport.resume_reading()
                return chunk
            if self._failure is not None:
                raise self._failure
            if self._complete:
                self._release()
                return None
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            except asyncio.CancelledError:
                self.close()
                raise
            finally:
                self._wake = None

    def _release(self) -> None:
        if not self._in_use:
            return
        # An answer that came before the request was read to its end leaves a connection that cannot be used again.
        is_sent = self._sender is None or self._sender.done()
        keep = is_sent and not self.closed and self._keep_alive
        self._in_use = False
        if keep:
            self._reset()
            self._hop.give_back(self)
        else:
            self.close()

    def _parser_is_chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self._headers)

    def _fail(self, code: str, detail: str) -> None:
        if self._failure is None:
            self._failure = HopFailed(code, detail)
        if self._head is not None and not self._head.done():
            self._head.set_exception(self._failure)
        self._wake_up()
        self.close()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
        if not self.closed:
            self.closed = True
            self._transport.abort()


class Hop:
    """The connections to one DService."""

    def __init__(self, socket_path: Path) -> None:
        self._path = str(socket_path)
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._senders: set[asyncio.Task[None]] = set()

    async def request(
        self,
        method: str,
        target: str,
        headers: Sequence[Header],
        body: bytes | AsyncIterator[bytes] | None,
        body_bytes: int | None = None,
    ) -> HopResponse:
        """Sends a request and returns when the answer's head is there.

        `headers` go as given, less none: the caller leaves out hop-by-hop ones. `body_bytes` is the length of a
        streamed body if known; without it the body goes in chunks. Raises HopFailed. A request on a kept connection
        that the DService closed meanwhile is sent once more on a new one, as long as no byte of an answer has
        arrived and the body is not a stream (RFC 9112 section 9.3.1).
        """
        head = _head(method, target, headers, body, body_bytes)
        bodiless = method == "HEAD"
        connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                return await connection.send(head, body, bodiless)
            except HopFailed as failure:
                if failure.code != "closed" or not (body is None or isinstance(body, bytes)):
                    raise
        return await (await self._connect()).send(head, body, bodiless)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            with _socket_file(self._path) as path:
                _, connection = await loop.create_unix_connection(lambda: _Connection(self), path)
        except OSError as error:
            raise HopFailed("unreachable", f"nothing listens on the DService's socket: {error.strerror}") from None
        self._all.add(connection)
        return connection

    def give_back(self, connection: _Connection) -> None:
        if len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()

    def forget(self, connection: _Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def keep(self, sender: asyncio.Task[None]) -> None:
        self._senders.add(sender)
        sender.add_done_callback(self._senders.discard)

    async def close(self) -> None:
        """Closes every connection; requests in flight fail with `closed`."""
        for sender in list(self._senders):
            sender.cancel()
        for connection in list(self._all):
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)


@contextlib.contextmanager
def _socket_file(path: str) -> Iterator[str]:
    """A name for exactly the socket that is at `path` now, never for what a symbolic link there points to.

    The DService owns the folder of its socket. With a link to the engine's socket in its place, this process, which may
    speak to the engine, would do so in the DService's name. Linux opens the file without following links and connects
    to what it opened; where that is not possible only the look before remains.
    """
    if not _PROC_FDS.is_dir():
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        yield path
        return
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        yield f"{_PROC_FDS}/{descriptor}"
    finally:
        os.close(descriptor)


def _head(
    method: str,
    target: str,
    headers: Sequence[Header],
    body: bytes | AsyncIterator[bytes] | None,
    body_bytes: int | None,
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1\r\n".encode("latin-1")]
    names = set()
    for name, value in headers:
        lower = name.lower()
        if lower in (b"content-length", b"transfer-encoding", b"connection"):
            continue  # this hop frames the body itself
        names.add(lower)
        lines.append(b"%b: %b\r\n" % (lower, value))
    if b"host" not in names:
        lines.append(b"host: dservice\r\n")
    length = len(body) if isinstance(body, bytes) else body_bytes
    if body is not None and length is not None:
        lines.append(b"content-length: %d\r\n" % length)
    elif body is not None:
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)
