"""The DService framework (S-2): socket, health, problems, metadata, graceful stop."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cgn_sdk.dservice.framework import Request, Response, Server, run
from cgn_sdk.dservice.problems import Problem


async def handle(request: Request) -> Response:
    match request.path:
        case "/echo":
            return Response(
                body=await request.read(1000),
                headers={"Content-Type": "text/plain"},
                metadata={"Pages": "3", "Odd": "a\r\nb\u00e4"},
            )
        case "/facts":
            return Response(
                body=f"{request.method} {request.query} {request.request_id} {request.deadline_ms}".encode()
            )
        case "/stream":

            async def parts():
                for n in range(3):
                    yield b"%d" % n

            return Response(body=parts())
        case "/slow":
            await asyncio.sleep(0.4)
            return Response(body=b"done")
        case "/crash":
            raise KeyError("inside /secret/path")
        case _:
            raise Problem(404, "not_found", "nothing here", expected="/echo")


@pytest.fixture
async def server(tmp_path: Path):
    made = Server(handle)
    path = str(tmp_path / "s")
    await made.start(socket_path=path)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        yield session
    await made.stop()


async def test_requests_and_metadata(server):
    async with server.post("http://d/echo", data=b"hello") as answer:
        assert (answer.status, await answer.read()) == (200, b"hello")
        assert answer.headers["CGN-Meta-Pages"] == "3"
        assert answer.headers["CGN-Meta-Odd"] == "a??b?"
    headers = {"CGN-Request-Id": "abc", "CGN-Deadline-Ms": "1500"}
    async with server.get("http://d/facts?x=%20y", headers=headers) as answer:
        assert await answer.text() == "GET x=%20y abc 1500"
    async with server.get("http://d/facts", headers={"CGN-Deadline-Ms": "-1"}) as answer:
        assert (await answer.text()).endswith("None")
    async with server.get("http://d/stream") as answer:
        assert await answer.read() == b"012"


async def test_refusals_are_problem_documents(server, caplog):
    async with server.get("http://d/none") as answer:
        document = await answer.json(content_type="application/problem+json")
        assert (answer.status, document["title"], document["expected"]) == (404, "not_found", "/echo")
    async with server.post("http://d/echo", data=b"x" * 2000) as answer:
        assert answer.status == 413
    async with server.get("http://d/crash") as answer:
        assert answer.status == 500
        assert "secret" not in await answer.text()
    async with server.get("http://d/_cgn/health") as answer:
        assert answer.status == 200


async def none() -> AsyncIterator[bytes]:
    yield b"x"


MISTAKES = [
    (Response(body="text"), "give bytes"),  # type: ignore[arg-type]
    (Response(body=None), "give bytes"),  # type: ignore[arg-type]
    (Response(100), "200 to 599"),
    (Response(199), "200 to 599"),
    (Response(600), "200 to 599"),
    (Response(205, body=b"x"), "no content"),
    (Response(205, body=none()), "no content"),
    (Response(headers={"Content-Length": "5"}, body=b"abc"), "body of 3 bytes"),
    (Response(headers={"transfer-encoding": "gzip"}, body=b"abc"), "one connection"),
    (Response(headers={"Connection": "X-A"}, body=b"abc"), "one connection"),
    (Response(headers={"X-A": "1\r\nX-B: 2"}, body=b"abc"), "line end"),
]


@pytest.mark.parametrize(("mistake", "why"), MISTAKES)
async def test_an_answer_that_would_break_http_is_a_500_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mistake: Response, why: str
) -> None:
    """Its caller would wait for bytes that do not come, or be told that the DService broke a rule; its developer reads
    in the log which one, and the connection serves others."""

    async def answer(request: Request) -> Response:
        return mistake if request.path == "/mistake" else Response(205 if request.path == "/205" else 599)

    made = Server(answer)
    await made.start(socket_path=str(tmp_path / "s"))
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "s"))) as session:
        async with session.get("http://d/mistake") as response:
            assert response.status == 500
            assert "internal_error" in await response.text()
        assert why in caplog.text
        for path, status in (("/205", 205), ("/599", 599)):
            async with session.get(f"http://d{path}") as response:
                assert (response.status, await response.read()) == (status, b"")
    await made.stop()


async def test_connect_is_refused_with_an_answer_that_ends(tmp_path: Path) -> None:
    made = Server(handle)
    await made.start(socket_path=str(tmp_path / "s"))
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    writer.write(b"CONNECT /echo HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"Content-Length: " in answer
    await made.stop()


async def test_health_waits_for_the_start(tmp_path: Path):
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    made = Server(handle, on_start=wait)
    path = str(tmp_path / "s")
    starting = asyncio.create_task(made.start(socket_path=path))
    await asyncio.sleep(0.05)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        async with session.get("http://d/_cgn/health") as answer:
            assert answer.status == 503
        gate.set()
        await starting
        async with session.get("http://d/_cgn/health") as answer:
            assert answer.status == 200
    await made.stop()


async def test_a_stale_socket_is_replaced_but_no_other_file(tmp_path: Path):
    path = tmp_path / "s"
    first = Server(handle)
    await first.start(socket_path=str(path))
    second = Server(handle)
    await second.start(socket_path=str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    # Interfaces: whoever runs it may be another user, and connecting takes the right to write.
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    await second.stop()
    await first.stop()
    plain = tmp_path / "plain"
    plain.write_text("keep")
    with pytest.raises(OSError):
        await Server(handle).start(socket_path=str(plain))
    assert plain.read_text() == "keep"


PROGRAM = """
import asyncio, sys
from cgn_sdk.dservice.framework import Response, run
async def handle(request):
    await asyncio.sleep(0.4)
    return Response(body=b"done")
sys.exit(run(handle))
"""


async def test_sigterm_lets_what_runs_finish(tmp_path: Path):
    path = str(tmp_path / "s")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env={**os.environ, "CGN_SOCKET": path}
    )
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        for _ in range(200):
            try:
                async with session.get("http://d/_cgn/health") as answer:
                    assert answer.status in (200, 503)
                    break
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
        call = asyncio.create_task(session.get("http://d/slow"))
        await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        answer = await call
        assert await answer.read() == b"done"
    assert await asyncio.wait_for(process.wait(), 10) == 0


def test_without_a_place_to_listen_it_says_so(capsys):
    assert run(handle, environment={}) == 2
    assert run(handle, environment={"CGN_PORT": "x"}) == 2
    assert "CGN_SOCKET" in capsys.readouterr().out
