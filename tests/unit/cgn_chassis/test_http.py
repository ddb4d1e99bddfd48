"""Problem documents of aiohttp servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from cgn_chassis import http
from cgn_chassis.http import Listener, problems
from cgn_chassis.tls import Authority, client_context, server_context


class Refused(Exception):
    pass


async def test_every_refusal_is_a_problem_document() -> None:
    async def refuse(_: web.Request) -> web.Response:
        raise Refused

    async def break_down(_: web.Request) -> web.Response:
        raise RuntimeError("the inside: s3cret")

    async def take(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def busy(_: web.Request) -> web.Response:
        raise web.HTTPTooManyRequests(headers={"Retry-After": "7", "X-Inside": "s3cret"})

    async def bad(_: web.Request) -> web.Response:
        raise web.HTTPBadRequest

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("/take")

    def translate(error: Exception) -> tuple[int, dict[str, str], dict[str, str]] | None:
        return (429, {"title": "slow down"}, {"Retry-After": "1"}) if isinstance(error, Refused) else None

    app = web.Application(middlewares=[problems(translate)], client_max_size=10)
    app.add_routes([web.get("/refuse", refuse), web.get("/break", break_down), web.post("/take", take)])
    app.add_routes([web.get("/busy", busy), web.get("/bad", bad), web.get("/elsewhere", elsewhere)])
    async with TestClient(TestServer(app)) as client:
        for method, path, status, title in [
            ("GET", "/refuse", 429, "slow down"),
            ("GET", "/break", 500, "internal_error"),
            ("GET", "/nowhere", 404, "not_found"),
            ("GET", "/busy", 429, "too_many_requests"),
            ("GET", "/bad", 400, "bad_request"),
            ("DELETE", "/take", 405, "method_not_allowed"),
            ("POST", "/take", 413, "request_entity_too_large"),
        ]:
            answer = await client.request(method, path, data=b"x" * 100 if method == "POST" else None)
            document = await answer.json(content_type="application/problem+json")
            assert (answer.status, document["status"], document["title"]) == (status, status, title)
            assert "s3cret" not in await answer.text()
            assert answer.headers["Cache-Control"] == "no-store"
        assert (await client.get("/refuse")).headers["Retry-After"] == "1"
        assert (await client.delete("/take")).headers["Allow"] == "POST"
        busy_answer = await client.get("/busy")
        assert busy_answer.headers["Retry-After"] == "7"
        assert "X-Inside" not in busy_answer.headers
        moved = await client.get("/elsewhere", allow_redirects=False)
        assert (moved.status, moved.headers["Location"]) == (302, "/take"), "no refusal, so left as it is"


async def test_slow_and_idle_connections_are_cut_off_and_others_are_answered() -> None:
    """Slowloris: dribbled heads, idle keep-alive and silent connections end; a request in progress does not."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(1.0)
        return web.Response(text="done")

    async def quick(request: web.Request) -> web.Response:
        return web.Response(text="quick")

    app = web.Application()
    app.add_routes([web.get("/slow", answer), web.get("/quick", quick)])
    listener = await Listener.open(app, "127.0.0.1", 0, tls=None, idle_s=0.4)
    dribbling = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(20)]
    idle = await asyncio.open_connection("127.0.0.1", listener.port)
    idle[1].write(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
    working = await asyncio.open_connection("127.0.0.1", listener.port)
    working[1].write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"GET /quick HTTP/1.1\r\n")
        try:
            for _ in range(100):
                writer.write(b"X: y\r\n")
                await writer.drain()
                if reader.at_eof():
                    return True
                await asyncio.sleep(0.05)
        except OSError:
            return True
        return False

    closed = await asyncio.gather(*(dribble(*each) for each in dribbling))
    assert all(closed)
    assert b"quick" in await idle[0].read()  # answered, then closed by the server
    assert b"done" in await working[0].readuntil(b"done")
    for _, writer in [*dribbling, idle, working]:
        writer.close()
    await listener.close()


async def test_connections_beyond_the_bound_are_closed_at_once() -> None:
    app = web.Application()
    listener = await Listener.open(app, "127.0.0.1", 0, tls=None, connections_max=2)
    open_ones = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(2)]
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert listener.connection_count == 2
    for each in (*(writer for _, writer in open_ones), writer):
        each.close()
    await listener.close()


async def test_connections_count_from_accept_and_the_oldest_handshake_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets that say nothing take every place, and lose it to who does."""
    monkeypatch.setattr(http, "GIVES_WAY_S", 0.2)

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    authority = Authority.create("test")
    (tmp_path / "authority.pem").write_bytes(authority.certificate_pem)
    authority.issue_server("server", ["localhost"]).save(tmp_path / "s.pem", tmp_path / "s.key")
    app = web.Application()
    app.add_routes([web.get("/", hello)])
    context = server_context((tmp_path / "s.pem", tmp_path / "s.key"))
    listener = await Listener.open(app, "localhost", 0, tls=context, connections_max=5)
    silent = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(5)]
    await accepted(listener, 5)
    _, sixth = await asyncio.open_connection("127.0.0.1", listener.port)
    async with asyncio.timeout(30):
        while not listener.counters["connections refused"] + listener.counters["connections that gave way"]:
            await asyncio.sleep(0.01)
    assert listener.connection_count <= 5
    await asyncio.sleep(0.3)
    reader, writer = await asyncio.open_connection(
        "localhost", listener.port, ssl=client_context(tmp_path / "authority.pem")
    )
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"hello"), 30)).startswith(b"HTTP/1.1 200 ")
    assert listener.connection_count <= 5
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(silent[0][0].read(), 30) == b""
    for each in (sixth, writer, *(writer for _, writer in silent)):
        each.close()
    await listener.close()


# --- who is idle: the sweep is asked by hand, with a listener whose own does not come meanwhile ---


@pytest.fixture
async def quiet() -> AsyncIterator[tuple[Listener, list[float]]]:
    """A listener, and the loop's time in each request that it answers."""
    times: list[float] = []

    async def answer(_: web.Request) -> web.Response:
        times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.01)
        return web.Response(text="done")

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    listener = await Listener.open(app, "127.0.0.1", 0, tls=None, idle_s=3_600)
    yield listener, times
    await listener.close()


async def accepted(listener: Listener, count: int) -> None:
    async with asyncio.timeout(30):
        while listener.connection_count != count:
            await asyncio.sleep(0.001)


async def test_a_connection_is_idle_since_it_was_accepted_or_answered(quiet: tuple[Listener, list[float]]) -> None:
    listener, times = quiet
    loop = asyncio.get_running_loop()
    before = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    await accepted(listener, 1)
    listener._close_idle(before)
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"done")
        assert not listener._answering
        listener._close_idle(times[-1])
    listener._close_idle(loop.time() + 1)
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()


async def test_what_is_known_of_a_connection_is_forgotten_after_it(quiet: tuple[Listener, list[float]]) -> None:
    """But not before it is among the connections: a TLS handshake is under way until then."""
    listener, _ = quiet
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    await accepted(listener, 1)
    writer.close()
    await accepted(listener, 0)
    [since] = listener._quiet_since.values()
    listener._close_idle(since)
    assert list(listener._quiet_since.values()) == [since]
    listener._close_idle(since + 1)
    assert not listener._quiet_since


async def test_closing_ends_what_is_open(quiet: tuple[Listener, list[float]]) -> None:
    listener, _ = quiet
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    await accepted(listener, 1)
    await listener.close()
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()


async def test_a_tls_handshake_that_never_begins_is_cut_off(tmp_path: Path) -> None:
    Authority.create("test").issue_server("server", ["127.0.0.1"]).save(tmp_path / "s.pem", tmp_path / "s.key")
    context = server_context((tmp_path / "s.pem", tmp_path / "s.key"))
    listener = await Listener.open(web.Application(), "127.0.0.1", 0, tls=context, idle_s=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()
    await listener.close()
