"""A DService that does as little as possible, for tests and benchmarks: standard library and httptools, no framework.

    GET  /noop/<n>          n bytes
    POST anything           the body back, as it arrives
    GET  /big/<MiB>         that many MiB, chunk by chunk, with Content-Length
    GET  /slow/<ms>         an answer after that time
    GET  /drip/<ms>         an answer that begins at once and ends after that time, a byte every half second
    GET  /burn/<ms>         an answer after that much CPU time
    GET  /status/<code>     that status
    GET  /crash             ends the process without an answer
    GET  /half/<n>          promises 2n bytes, sends n, closes
    GET  /garbage           something that is not HTTP
    GET  /hang              never answers
    GET  /_cgn/health       200

Every path may stand behind `/noop` (`/noop/slow/20`), which is the route a node gives it.

Listens on the UNIX socket CGN_SOCKET, or on port CGN_PORT of loopback (S-2).
"""

import asyncio
import os
import signal
import socket
import sys
import time
from typing import cast

import httptools

CHUNK_BYTES = 64 * 1024
BODY = b"0123456789abcdef" * (1 << 16)
REASONS = {200: "OK", 204: "No Content", 404: "Not Found", 500: "Internal Server Error"}


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests are answered in order."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.length: bytes | None = None
        self.chunked = False
        self.drained = asyncio.Event()
        self.drained.set()
        self.busy: asyncio.Task[None] | None = None
        self.body = asyncio.Queue[bytes | None](4)
        self.queued_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self.drained.set()
        if self.busy is not None:
            self.busy.cancel()

    def pause_writing(self) -> None:
        self.drained.clear()

    def resume_writing(self) -> None:
        self.drained.set()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.url, self.length, self.chunked = b"", None, False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"content-length":
            self.length = value
        elif lower == b"transfer-encoding":
            self.chunked = True

    def on_headers_complete(self) -> None:
        if self.parser.get_method() in (b"POST", b"PUT"):
            self.body = asyncio.Queue()
            self.queued_bytes = 0
            self.busy = asyncio.get_running_loop().create_task(self.echo(self.length))

    def on_body(self, body: bytes) -> None:
        self.queued_bytes += len(body)
        self.body.put_nowait(body)
        if self.queued_bytes > 4 * CHUNK_BYTES:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.parser.get_method() in (b"POST", b"PUT"):
            self.body.put_nowait(None)
            return
        kind, _, rest = self.url.partition(b"?")[0].strip(b"/").partition(b"/")
        if kind == b"noop" and rest and not rest.isdigit():
            kind, _, rest = rest.partition(b"/")  # the same behind the route that a node gives it
        if kind == b"noop":
            self.answer(200, BODY[: int(rest or b"0")])
        elif kind == b"_cgn" or kind == b"":
            self.answer(200, b"ready\n")
        elif kind == b"status":
            self.answer(int(rest), b"as asked\n")
        elif kind == b"crash":
            os._exit(3)
        elif kind == b"half":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * int(rest)) + BODY[: int(rest)])
            self.transport.close()
        elif kind == b"garbage":
            self.transport.write(b"\x00\xffnot HTTP at all\r\n\r\n")
        elif kind == b"burn":
            end = time.process_time() + int(rest) / 1000
            while time.process_time() < end:
                pass
            self.answer(200, b"burnt\n")
        elif kind in (b"big", b"slow", b"drip"):
            work = {b"big": self.big, b"slow": self.slow, b"drip": self.drip}[kind](int(rest))
            self.busy = asyncio.get_running_loop().create_task(work)
        elif kind != b"hang":
            self.answer(404, b"no such thing\n")

    def answer(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.transport.write(head + body)

    async def echo(self, length: bytes | None) -> None:
        head = b"Content-Length: " + length if length is not None else b"Transfer-Encoding: chunked"
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n" + head + b"\r\n\r\n")
        while (part := await self.body.get()) is not None:
            self.queued_bytes -= len(part)
            if self.queued_bytes <= CHUNK_BYTES:
                self.transport.resume_reading()
            self.transport.write(part if length is not None else b"%x\r\n%b\r\n" % (len(part), part))
            await self.drained.wait()
        if length is None:
            self.transport.write(b"0\r\n\r\n")

    async def big(self, mebibytes: int) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (mebibytes << 20))
        for _ in range(mebibytes * 16):
            self.transport.write(BODY[:CHUNK_BYTES])
            await self.drained.wait()

    async def drip(self, milliseconds: int) -> None:
        count = milliseconds // 500
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count)
        for _ in range(count):
            await asyncio.sleep(0.5)
            self.transport.write(b".")

    async def slow(self, milliseconds: int) -> None:
        await asyncio.sleep(milliseconds / 1000)
        self.answer(200, b"slow\n")


async def main() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    path, port = os.environ.get("CGN_SOCKET"), os.environ.get("CGN_PORT")
    if path:
        server = await loop.create_unix_server(Connection, path, backlog=1024)
        os.chmod(path, 0o777)
    elif port:
        server = await loop.create_server(Connection, "127.0.0.1", int(port), backlog=1024, family=socket.AF_INET)
    else:
        sys.exit("CGN_SOCKET or CGN_PORT says where to listen")
    async with server:
        await stop.wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
