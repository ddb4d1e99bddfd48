"""The last hop: HTTP/1.1 from the miner to a DService over its UNIX socket, with connections kept.

Only what this hop needs, because its cost is paid by every request: a general client takes 47 µs for it, this about a
fifth. The bytes are parsed by httptools; what they mean is decided here and in `core.exchange`, because a general
parser merges trailers, accepts codings it does not undo, and judges by how the bytes were cut. What a DService sends is
outside input: everything is bounded, and an answer that breaks a rule is a `BadAnswer` naming it. An answer that is
complete stays good whatever comes behind it; its connection is closed then.

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

from miner_client.core.exchange import BadAnswer, Framing, framing

HEAD_MAX_BYTES: Final = 64 * 1024
"""Status line and header fields of an answer, interim ones included, and what may come between two pieces of content
(chunk extensions, trailers); what browsers' servers commonly allow is 8 to 16 KiB."""
HEADERS_MAX: Final = 128
"""Headers of an answer."""
BUFFER_HIGH_BYTES: Final = 256 * 1024
"""Read from the DService ahead of what the tunnel takes; equal to one stream's credit."""
IDLE_MAX: Final = 64
"""Connections kept for reuse; more than the slots of a large machine."""
UNANNOUNCED_SILENCE_S: Final = 5.0
"""An answer without length that did not say `Connection: close` ends with the connection all the same (RFC 9112 section
6.3). A DService that neither closes nor sends more within this has forgotten the length, and would hold a slot to the
deadline."""

_PROC_FDS: Final = Path("/proc/self/fd")

Header = tuple[bytes, bytes]


class HopFailed(Exception):
    """There is no answer, and not because it broke a rule. `code` is `unreachable`, `closed` (the DService closed the
    connection before its answer was complete), `too_large` (for `whole`) or `request_aborted` (our side could not go
    on with the request's body)."""

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

    @property
    def has_content(self) -> bool:
        """Whether content may follow this head (RFC 9110 section 6.4.1)."""
        return self._connection.has_content

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises HopFailed when it ends early, BadAnswer when it breaks a rule."""
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
        self._parser.set_dangerous_leniencies(lenient_chunked_length=True)  # or it minds a trailer's Content-Length
        self._method = ""
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._between_bytes = 0
        """Fed since the head or the last piece of content."""
        self._framing: Framing | None = None
        self._head: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._wake: asyncio.Future[None] | None = None
        self._complete = False
        self._keep_alive = False
        self._failure: HopFailed | BadAnswer | None = None
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
        if self._complete:
            self._keep_alive = False
            return
        self._between_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except BadAnswer as bad:
            self._stop(bad)
        except httptools.HttpParserUpgrade:
            self._stop(BadAnswer("status", "the DService switched protocols"))
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._stop(cause if isinstance(cause, BadAnswer) else self._malformed(error))
        except httptools.HttpParserError as error:
            self._stop(self._malformed(error))
        else:
            if self._between_bytes > HEAD_MAX_BYTES:
                rule = "head_too_large" if self._framing is None else "chunk_framing"
                self._stop(BadAnswer(rule, f"more than {HEAD_MAX_BYTES} bytes that are not content"))

    def _malformed(self, error: Exception) -> BadAnswer:
        """What the parser found, as one of our rules; its words name the field where that is the reason."""
        said = str(error)
        if self._framing is not None:
            return BadAnswer("chunk_framing", f"the content's chunks: {said}")
        for words, rule in (("Content-Length", "content_length"), ("Transfer-Encoding", "transfer_coding")):
            if words in said:
                return BadAnswer(rule, f"the answer's head: {said}")
        return BadAnswer("head_syntax", f"the answer's head: {said}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._writable.set()
        self._hop.forget(self)
        if not self._in_use or self._complete:
            return
        if self._framing is not None and self._framing.ends_with_connection and exc is None:
            self._complete = True
            self._wake_up()
        else:
            self._fail(HopFailed("closed", "the DService closed the connection before its answer was complete"))

    # httptools

    def on_message_begin(self) -> None:
        if self._complete:
            raise BadAnswer("head_syntax", "more than one answer")  # dropped: the first one is complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._framing is not None:
            return  # a trailer: nobody may merge it into the head without knowing its meaning (RFC 9110 section 6.5.1)
        self._head_bytes += len(name) + len(value) + len(": \r\n")
        if len(self._headers) >= HEADERS_MAX or self._head_bytes > HEAD_MAX_BYTES:
            raise BadAnswer("head_too_large", f"more than {HEADERS_MAX} fields or {HEAD_MAX_BYTES} bytes of them")
        self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            raise BadAnswer("status", "the DService switched protocols")
        if 100 <= status < 200:
            self._headers.clear()  # interim answers end here
            return
        self._framing = framing(self._method, status, self._parser.get_http_version(), self._headers)
        self._keep_alive = self._framing.keep_alive
        self._between_bytes = 0
        if not self._framing.has_content or self._framing.length == 0:
            self._complete = True
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def on_body(self, body: bytes) -> None:
        if self._complete:
            self._keep_alive = False  # what stands behind the answer is none of it
            return
        self._between_bytes = 0
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > BUFFER_HIGH_BYTES and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._wake_up()

    def on_message_complete(self) -> None:
        if self._framing is None:
            return  # the end of an interim answer
        self._complete = True
        self._wake_up()

    # the request's side

    @property
    def has_answered(self) -> bool:
        """Whether any byte of an answer has arrived."""
        return self._framing is not None or self._between_bytes > 0

    @property
    def has_content(self) -> bool:
        assert self._framing is not None, "the head has arrived"
        return self._framing.has_content

    async def send(self, method: str, head: bytes, body: bytes | AsyncIterator[bytes] | None) -> HopResponse:
        """Writes the request and waits for the answer's head; a body that streams goes on beside the answer."""
        self._in_use = True
        self._method = method
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
        assert self._framing is not None
        return HopResponse(self, self._parser.get_status_code(), self._headers, self._framing.length)

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
            self._fail(HopFailed("request_aborted", f"the request's body ended early: {error}"))

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
                await self._wait(self._wake)
            except asyncio.CancelledError:
                self.close()
                raise
            finally:
                self._wake = None

    async def _wait(self, wake: "asyncio.Future[None]") -> None:
        assert self._framing is not None
        if not (self._framing.ends_with_connection and self._framing.keep_alive):
            await wake
            return
        try:
            async with asyncio.timeout(UNANNOUNCED_SILENCE_S):
                await wake
        except TimeoutError:
            self._fail(BadAnswer("no_length", f"nothing came for {UNANNOUNCED_SILENCE_S:.0f} s, and no close either"))

    def _release(self) -> None:
        if not self._in_use:
            return
        # An answer that came before the request was read to its end leaves a connection that cannot be used again.
        is_sent = self._sender is None or self._sender.done()
        assert self._framing is not None
        keep = is_sent and not self.closed and self._keep_alive and not self._framing.ends_with_connection
        self._in_use = False
        if keep:
            self._reset()
            self._hop.give_back(self)
        else:
            self.close()

    def _stop(self, bad: BadAnswer) -> None:
        """The parser goes no further: a bad answer, unless the answer was complete before."""
        if self._complete:
            self._keep_alive = False
        else:
            self._fail(bad)

    def _fail(self, failure: HopFailed | BadAnswer) -> None:
        if self._failure is None:
            self._failure = failure
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

        `headers` are sent unchanged; the caller removes hop-by-hop fields. `body_bytes` is the length of a streamed
        body if known; without it the body goes in chunks. Raises HopFailed and BadAnswer. A request on a kept
        connection that the DService closed meanwhile is sent once more on a new one, as long as no byte of an answer
        has arrived (RFC 9112 section 9.3.1); a body that streams cannot be, so it gets a new connection at once.
        """
        head = _head(method, target, headers, body, body_bytes)
        is_stream = not (body is None or isinstance(body, bytes))
        if self._idle and not is_stream:
            connection = self._idle.pop()
            try:
                return await connection.send(method, head, body)
            except HopFailed as failure:
                if failure.code != "closed" or connection.has_answered:
                    raise
        return await (await self._connect()).send(method, head, body)

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
