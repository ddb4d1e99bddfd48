"""The DService's only way out (M-4, G-5), over real sockets, attacked."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cgn_sdk.dservice.addresses import Address
from cgn_sdk.protocol.http_fields import HOP_BY_HOP

from miner_client import egress as egress_module
from miner_client.egress import Egress


@pytest.fixture
async def canary() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on loopback that notes every head it sees."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], seen
    server.close()
    await server.wait_closed()


async def ask(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


@pytest.fixture
async def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "egress.sock"


async def test_an_allowed_target_is_reached_in_absolute_form(
    socket_path: Path, canary: tuple[int, list[bytes]]
) -> None:
    port, seen = canary
    way = Egress(socket_path, [f"127.0.0.1:{port}"])
    await way.start()
    answer = await ask(
        socket_path, b"GET http://127.0.0.1:%d/a?b=1 HTTP/1.1\r\nHost: elsewhere\r\nX-Y: z\r\n\r\n" % port
    )
    await way.stop()
    assert answer.endswith(b"hello")
    assert seen[0].startswith(b"GET /a?b=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)
    assert b"elsewhere" not in seen[0]
    assert b"X-Y: z" in seen[0]


async def test_connect_is_a_tunnel(socket_path: Path, canary: tuple[int, list[bytes]]) -> None:
    port, seen = canary
    way = Egress(socket_path, [f"127.0.0.1:{port}"])
    await way.start()
    answer = await ask(socket_path, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\nGET /inside HTTP/1.1\r\n\r\n" % port)
    await way.stop()
    assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK")
    assert seen == [b"GET /inside HTTP/1.1\r\n\r\n"]


PRIVATE, NUMBER = b"is not a public address", b"four decimal numbers"
HOSTILE = {
    "127.0.0.1": PRIVATE, "0.0.0.0": PRIVATE, "169.254.169.254": PRIVATE, "10.0.0.1": PRIVATE, "192.168.0.1": PRIVATE,
    "172.17.0.1": PRIVATE, "100.64.0.1": PRIVATE, "127.1": NUMBER, "2130706433": NUMBER, "0x7f000001": NUMBER,
    "0177.0.0.1": NUMBER, "[::1]": PRIVATE, "[::ffff:127.0.0.1]": PRIVATE, "[::127.0.0.1]": PRIVATE,
    "[64:ff9b::7f00:1]": PRIVATE, "[2002:7f00:1::]": PRIVATE, "[fe80::1]": PRIVATE, "[fd00::1]": PRIVATE,
    "localhost": PRIVATE, "rebind.example.org": PRIVATE, "mixed.example.org": PRIVATE,
    "nowhere.example.org": b"has no address", "user@93.184.216.34": b"",
}  # fmt: skip
"""Host -> the rule that must refuse it. Names are resolved: they are refused for what they resolve to and nothing else."""
RESOLVED = {
    "localhost": ["127.0.0.1"],
    "rebind.example.org": ["127.0.0.1"],
    "mixed.example.org": ["93.184.216.34", "127.0.0.1"],
    "nowhere.example.org": [],
}


@pytest.mark.parametrize("host", HOSTILE)
@pytest.mark.parametrize("form", ["absolute", "connect"])
async def test_nothing_private_is_reached(
    socket_path: Path, canary: tuple[int, list[bytes]], host: str, form: str
) -> None:
    """Every disguise of a private address, by literal and by name, ends in a refusal and not at the canary. The canary's
    port is allowed, so that no other rule refuses first."""
    port, seen = canary
    asked: list[str] = []

    async def resolver(name: str, _: int) -> list[Address]:
        asked.append(name)
        return [ip_address(one) for one in RESOLVED[name]]

    way = Egress(socket_path, ["public"], resolver=resolver)
    way._policy = dataclasses.replace(way._policy, ports=frozenset({port}))
    await way.start()
    request = f"CONNECT {host}:{port}" if form == "connect" else f"GET http://{host}:{port}/"
    answer = await ask(socket_path, request.encode() + b" HTTP/1.1\r\n\r\n")
    await way.stop()
    rule = HOSTILE[host] or (NUMBER if form == "connect" else b"user name or password")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"CGN-Egress: refused" in answer
    assert rule in answer.split(b"\r\n\r\n", 1)[1]
    assert asked == ([host] if host in RESOLVED else [])
    assert (seen, way.refused) == ([], 1)


@pytest.mark.parametrize("form", ["absolute", "connect"])
@pytest.mark.parametrize("host", ["93.184.216.34", "name.example.org"])
async def test_a_port_that_is_not_allowed_is_refused_for_the_port(socket_path: Path, host: str, form: str) -> None:
    way = Egress(socket_path, ["public"])
    await way.start()
    request = f"CONNECT {host}:8123" if form == "connect" else f"GET http://{host}:8123/"
    answer = await ask(socket_path, request.encode() + b" HTTP/1.1\r\n\r\n")
    await way.stop()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"port 8123 may not be used" in answer


async def test_the_address_checked_is_the_address_connected_to(
    socket_path: Path, canary: tuple[int, list[bytes]]
) -> None:
    """DNS rebinding: the name is resolved once; the second, private answer is never asked for."""
    port, seen = canary
    asked = 0

    async def resolver(name: str, _: int) -> list[Address]:
        nonlocal asked
        asked += 1
        return [ip_address("93.184.216.34" if asked == 1 else "127.0.0.1")]

    way = Egress(socket_path, ["public"], resolver=resolver)
    connected: list[str] = []

    async def open_connection(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connected.append(host)
        raise OSError(111, "Connection refused")

    egress_module.asyncio.open_connection, real = open_connection, egress_module.asyncio.open_connection  # type: ignore[assignment]
    try:
        await way.start()
        answer = await ask(socket_path, b"GET http://name.example.org/ HTTP/1.1\r\n\r\n")
    finally:
        egress_module.asyncio.open_connection = real
        await way.stop()
    assert (asked, connected, seen) == (1, ["93.184.216.34"], [])
    assert answer.startswith(b"HTTP/1.1 502")


@pytest.mark.parametrize(
    ("request_bytes", "status", "why"),
    [
        (b"POST http://93.184.216.34/ HTTP/1.1\r\n\r\n", b"405", b"takes CONNECT, GET, HEAD and PUT"),
        (b"GET / HTTP/1.1\r\n\r\n", b"403", b"must begin with http://"),
        (b"nonsense\r\n\r\n", b"400", b"request line"),
        (b"CONNECT nowhere HTTP/1.1\r\n\r\n", b"400", b"cannot be parsed"),
        (b"CONNECT 93.184.216.34:65536 HTTP/1.1\r\n\r\n", b"400", b"cannot be parsed"),
        (b"GET http://a/" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431", b"longer than"),
    ],
)
async def test_bad_requests_are_refused_in_words(
    socket_path: Path, request_bytes: bytes, status: bytes, why: bytes
) -> None:
    way = Egress(socket_path, ["public"])
    await way.start()
    answer = await ask(socket_path, request_bytes)
    await way.stop()
    assert answer.split(b" ")[1] == status
    assert why in answer.split(b"\r\n\r\n", 1)[1]


async def test_a_dservice_without_egress_reaches_nothing(socket_path: Path, canary: tuple[int, list[bytes]]) -> None:
    port, seen = canary
    way = Egress(socket_path, [])
    await way.start()
    answer = await ask(socket_path, b"GET http://93.184.216.34/ HTTP/1.1\r\n\r\n")
    await way.stop()
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"may not reach anything" in answer


async def test_only_listed_targets_without_public(socket_path: Path) -> None:
    way = Egress(socket_path, ["127.0.0.1:9"])
    await way.start()
    answer = await ask(socket_path, b"CONNECT 93.184.216.34:443 HTTP/1.1\r\n\r\n")
    await way.stop()
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"not on the list of allowed hosts" in answer


async def test_a_target_that_does_not_answer_is_504(
    socket_path: Path, canary: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(*where: object, **how: object) -> None:
        await asyncio.sleep(3_600)

    port, _ = canary
    way = Egress(socket_path, [f"127.0.0.1:{port}"])
    await way.start()
    reader, writer = await asyncio.open_unix_connection(socket_path)
    monkeypatch.setattr(egress_module.asyncio, "open_connection", silence)
    monkeypatch.setattr(egress_module, "CONNECT_TIMEOUT_S", 0.05)
    writer.write(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: h\r\n\r\n" % port)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await way.stop()
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"127.0.0.1 did not answer within" in answer


def test_every_field_of_this_hop_stays_here() -> None:
    """Those of the table and those that `Connection` names, whatever their case; what frames the body goes on."""
    ours = [*sorted(HOP_BY_HOP - {"connection", "transfer-encoding"}), "host", "x-named"]
    kept = [b"Accept: */*", b"Transfer-Encoding: chunked", b"Content-Length: 3"]
    lines = [b"Connection: close, X-Named", *(f"{name.title()}: v".encode() for name in ours), *kept]
    assert egress_module._onward_fields(b"\r\n".join(lines)) == kept
