"""The only way out of a DService: an HTTP proxy on a UNIX socket that connects to allowed, checked addresses (M-4).

A DService has no network (decision 0006). It asks here: `CONNECT host:port` for TLS, an absolute-form request for plain
HTTP. The proxy resolves a name once, checks every answer (`cgn_sdk.dservice.addresses`, G-5), connects to the checked
address itself, so that a second answer of the resolver changes nothing. It neither reads nor keeps what passes, except
that a plain request goes out with the path instead of the absolute form.

Refused: what the operator's list does not allow, private and special addresses in any disguise, other methods than
these, heads beyond their bound, and more connections than a DService may have at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cgn_sdk.dservice.addresses import (
    Address,
    AddressPolicy,
    AddressRefused,
    Rule,
    check_addresses,
    check_host,
    check_url,
)
from cgn_sdk.dservice.resolving import system_resolve, tried
from cgn_sdk.protocol.http_fields import HOP_BY_HOP, named_by_connection

HEAD_MAX_BYTES: Final = 16 * 1024
"""Request line and headers; pre-signed URLs stay under 4 KiB."""
HEAD_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 60.0
"""Without a byte in either direction."""
CONNECTIONS_MAX: Final = 64
"""At once for one DService: its slots times a few sources each."""
CHUNK_BYTES: Final = 64 * 1024

Resolve = Callable[[str, int], Awaitable[list[Address]]]


def policy_of(egress: Sequence[str]) -> AddressPolicy:
    """The policy that a DService's `egress` setting means: `public`, and rules such as `127.0.0.1:8123`.

    Without `public` only the rules' targets may be reached. Raises ValueError for what is neither.
    """
    rules = tuple(Rule.parse(one) for one in egress if one != "public")
    return AddressPolicy(allow=rules, only=() if "public" in egress else rules)


async def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a name, by the system's resolver."""
    return [ip_address(text) for text in await system_resolve(host, port)]


class Egress:
    """One DService's way out."""

    def __init__(self, socket_path: Path, egress: Sequence[str], *, resolver: Resolve = resolve) -> None:
        self._path = socket_path
        self._policy = policy_of(egress)
        self._closed_to_all = not egress
        self._resolve = resolver
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.refused = 0
        """Requests refused since the start."""

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=HEAD_MAX_BYTES)
        self._path.chmod(0o666)  # the container's user is nobody; the folder is this DService's own

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._one(reader, writer)
        except asyncio.CancelledError:
            return  # the proxy is stopping; nobody waits for this task's outcome
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._open) > CONNECTIONS_MAX:
                raise _Refused(429, f"more than {CONNECTIONS_MAX} connections at once")
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            host, port, literal, onward = self._parse(head)
            peer_reader, peer_writer = await self._connect(host, port, literal)
        except asyncio.LimitOverrunError:
            await self._refuse(writer, _Refused(431, f"the head is longer than {HEAD_MAX_BYTES} bytes"))
            return
        except _Refused as refused:
            await self._refuse(writer, refused)
            return
        try:
            if onward:
                peer_writer.write(onward)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _relay(reader, writer, peer_reader, peer_writer)
        finally:
            peer_writer.transport.abort()

    def _parse(self, head: bytes) -> tuple[str, int, Address | None, bytes]:
        """Target host, port, its address if literal, and the head to send on (empty for CONNECT)."""
        line, _, rest = head.partition(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise _Refused(400, "not an HTTP/1.1 request line")
        try:
            if self._closed_to_all:
                raise AddressRefused("this DService may not reach anything")
            if words[0] == b"CONNECT":
                host_text, _, port_text = words[1].decode("ascii").rpartition(":")
                port = int(port_text)
                if not 0 < port < 65_536:
                    raise ValueError(port)
                host, literal = check_host(host_text, port, self._policy)
                return host, port, literal, b""
            if words[0] not in (b"GET", b"HEAD", b"PUT"):
                raise _Refused(405, "the proxy takes CONNECT, GET, HEAD and PUT")
            target = check_url(words[1].decode("ascii"), self._policy, schemes=("http",))
        except AddressRefused as refused:
            raise _Refused(403, refused.reason) from None
        except ValueError:
            raise _Refused(400, "the target cannot be parsed") from None
        kept = _onward_fields(rest)
        onward = [b"%b %b HTTP/1.1" % (words[0], target.target.encode()), b"Host: " + target.authority.encode(), *kept]
        return target.host, target.port, target.address, b"\r\n".join([*onward, b"Connection: close", b"", b""])

    async def _connect(
        self, host: str, port: int, literal: Address | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                answers = [literal] if literal is not None else await self._resolve(host, port)
                problem = "no address answers"
                for address in tried(check_addresses(host, port, answers, self._policy)):
                    try:
                        return await asyncio.open_connection(str(address), port)
                    except OSError as error:
                        problem = error.strerror or problem
        except AddressRefused as refused:
            raise _Refused(403, refused.reason) from None
        except socket.gaierror:
            raise _Refused(502, f"{host} has no address") from None
        except TimeoutError:
            raise _Refused(504, f"{host} did not answer within {CONNECT_TIMEOUT_S:.0f} s") from None
        raise _Refused(502, problem)

    async def _refuse(self, writer: asyncio.StreamWriter, refused: _Refused) -> None:
        self.refused += 1
        body = refused.detail.encode()
        writer.write(
            b"HTTP/1.1 %d Refused\r\nContent-Type: text/plain; charset=utf-8\r\nCGN-Egress: refused\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (refused.status, len(body), body)
        )
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.write_eof()


class _Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def _onward_fields(block: bytes) -> list[bytes]:
    """Header lines that go on to the origin: without those of this hop (RFC 9110 section 7.6.1), and without Host,
    which the target decides."""
    fields = [
        (line.partition(b":")[0].strip().lower().decode("latin-1"), line) for line in block.split(b"\r\n") if line
    ]
    named = [line.partition(b":")[2].decode("latin-1") for name, line in fields if name == "connection"]
    dropped = (HOP_BY_HOP | named_by_connection(named) | {"host"}) - {"transfer-encoding", "content-length"}
    return [line for name, line in fields if name not in dropped]


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    peer_reader: asyncio.StreamReader,
    peer_writer: asyncio.StreamWriter,
) -> None:
    """Bytes both ways until both ends are done, or nothing moves for IDLE_TIMEOUT_S."""
    moved = asyncio.Event()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            moved.set()
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()

    async def watch() -> None:
        while True:
            moved.clear()
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                await moved.wait()

    pumps = asyncio.gather(pump(reader, peer_writer), pump(peer_reader, writer), return_exceptions=True)
    watcher = asyncio.ensure_future(watch())
    try:
        waiting: set[asyncio.Future[Any]] = {watcher, pumps}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pumps.cancel()
        watcher.cancel()
        await asyncio.gather(pumps, watcher, return_exceptions=True)
