"""Problem documents of aiohttp servers."""

import asyncio
import contextlib

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from cgn_chassis.http import Listener, problems


class Refused(Exception):
    pass


async def test_every_refusal_is_a_problem_document() -> None:
    async def refuse(_: web.Request) -> web.Response:
        raise Refused

    async def break_down(_: web.Request) -> web.Response:
        raise RuntimeError("the inside: s3cret")

    async def take(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    def translate(error: Exception) -> tuple[int, dict[str, str], dict[str, str]] | None:
        return (429, {"title": "slow down"}, {"Retry-After": "1"}) if isinstance(error, Refused) else None

    app = web.Application(middlewares=[problems(translate)], client_max_size=10)
    app.add_routes([web.get("/refuse", refuse), web.get("/break", break_down), web.post("/take", take)])
    async with TestClient(TestServer(app)) as client:
        for method, path, status, title in [
            ("GET", "/refuse", 429, "slow down"),
            ("GET", "/break", 500, "internal_error"),
            ("GET", "/nowhere", 404, "not_found"),
            ("DELETE", "/take", 405, "method_not_allowed"),
            ("POST", "/take", 413, "request_entity_too_large"),
        ]:
            answer = await client.request(method, path, data=b"x" * 100 if method == "POST" else None)
            document = await answer.json(content_type="application/problem+json")
            assert (answer.status, document["status"], document["title"]) == (status, status, title)
            assert "s3cret" not in await answer.text()
        assert (await client.get("/refuse")).headers["Retry-After"] == "1"
        assert (await client.delete("/take")).headers["Allow"] == "POST"


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
