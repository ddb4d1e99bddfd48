"""A web server that misbehaves by path, on every address of its network namespace; it notes which one was reached."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ssl
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK = b"\0" * 65_536


CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


class HostileWeb:
    """`reached` is a file: one line `<local address> <port> <method> <host> <target>` for each request head."""

    def __init__(self, reached: Path, files: dict[str, bytes]) -> None:
        self.reached, self.files = reached, files
        self.reached.touch()
        self._count = 0

    async def start(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        await asyncio.start_server(self._serve, ["0.0.0.0", "::"], port, ssl=tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                host = next(
                    (line[6:] for line in head.decode("latin-1").split("\r\n") if line.lower().startswith("host: ")), ""
                )
                local = writer.get_extra_info("sockname")
                with self.reached.open("a") as log:
                    log.write(f"{local[0]} {local[1]} {method} {host} {target}\n")
                if not await self._answer(target, writer):
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> bool:
        """True if the connection stays open."""
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        step = parts.path.strip("/").split("/")

        def plain(body: bytes, status: str = "200 OK", *headers: str) -> bool:
            lines = "".join(f"{header}\r\n" for header in headers)
            writer.write(f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            return True

        match step[0]:
            case "to":  # /to?302=URL
                ((status, (url,)),) = query.items()
                return plain(b"", f"{status} Elsewhere", f"Location: {unquote(url)}")
            case "loop":
                return plain(b"", "302 Found", f"Location: {target}")
            case "further":  # a new address each time
                return plain(b"", "302 Found", f"Location: /further/{int(step[1]) + 1}")
            case "no-location":
                return plain(b"", "302 Found")
            case "more-than-said":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdefHTTP/1.1 200 OK\r\n\r\n")
            case "less-than-said":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\nabc")
            case "two-lengths":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 9\r\n\r\nabc")
            case "negative-length":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc")
            case "length-and-chunks":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
            case "huge-length":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc")
            case "endless-chunks":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    writer.write(b"10000\r\n" + CHUNK + b"\r\n")
                    await writer.drain()
            case "endless":
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                while True:
                    writer.write(CHUNK)
                    await writer.drain()
            case "chunk-extension":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 500_000)
            case "drip":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.1)
            case "drip-head":
                writer.write(b"HTTP/1.1 200 OK\r\n")
                while True:
                    writer.write(b"X-A: b\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.1)
            case "silent":
                await asyncio.sleep(60)
            case "headers":
                writer.write(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200_000)) + b"\r\n")
            case "header":
                writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n")
            case "continue":
                for _ in range(20_000):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    await writer.drain()
            case "bomb":  # /bomb/gzip,br,deflate
                body = bytes(20 << 20)
                for coding in step[1].split(","):
                    body = CODINGS.get(coding, base64.b64encode)(body)
                return plain(body, "200 OK", f"Content-Encoding: {step[1]}")
            case "part":
                return plain(b"abc", "206 Partial Content", "Content-Range: bytes 0-2/9000")
            case "status":
                return plain(b"", f"{step[1]} Said")
            case "changing":
                self._count += 1
                return plain(self.files["a.png" if self._count % 2 else "b.png"])
            case "reset":
                writer.transport.abort()
            case _:
                name = parts.path.removeprefix("/")
                return plain(self.files[name]) if name in self.files else plain(b"canary")
        await writer.drain()
        return False
