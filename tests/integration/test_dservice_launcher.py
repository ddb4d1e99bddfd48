"""What stands in front of a DService: any HTTP server is served, and what goes wrong is said at once (S-2, S-4, S-12)."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cgn_sdk.dservice import app

NODE = Path(__file__).resolve().parents[2] / ".cache/node/bin"
PATIENCE_S = 60
SERVER = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = {statuses}.get(self.path, 200)
        self.send_response(status); self.send_header("Content-Length", "6"); self.end_headers()
        self.wfile.write(b"{greeting}")
print("I am here", flush=True)
http.server.HTTPServer(("127.0.0.1", {port}), Answer).serve_forever()
"""


def plain(
    folder: Path, port: int, *, listens: int | None = None, greeting: str = "hello\\n", statuses: str = "{}"
) -> None:
    """A folder whose descriptor says `port`, with a server on `listens`."""
    folder.mkdir(exist_ok=True)
    text = SERVER.replace("{statuses}", statuses).replace("{greeting}", greeting)
    (folder / "app.py").write_text(text.replace("{port}", str(listens or port)))
    descriptor = f'[dservice]\nname = "plain"\nversion = "1"\ncommand = ["python", "app.py"]\nport = {port}\n'
    if not (folder / "dservice.toml").exists():
        (folder / "dservice.toml").write_text(descriptor)


class Running:
    """`cgn dservice run` under way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.printed = ""
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.printed += line.decode()
            self._changed.set()
        self._changed.set()

    async def wait_for(self, words: str) -> str:
        """Returns what was printed, once the words stand in it; forgets it then."""
        async with asyncio.timeout(PATIENCE_S):
            while words not in self.printed:
                assert not self._reading.done(), self.printed
                self._changed.clear()
                await self._changed.wait()
        printed, self.printed = self.printed, ""
        return printed


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Running, str]]:
    """The command, and the address it serves at."""
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{NODE}", "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cgn_sdk.cli", "dservice", "run", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    one = Running(process)
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+", await one.wait_for("http://"))
        assert address is not None
        yield one, address[0]
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE_S)
        await one._reading


async def ask(url: str, body: bytes | None = None) -> tuple[int, str]:
    method = "GET" if body is None else "POST"
    async with aiohttp.ClientSession() as session, session.request(method, url, data=body) as answer:
        return answer.status, await answer.text()


def usable(template: str) -> bool:
    return template != "other" or shutil.which("node", path=f"{os.environ['PATH']}:{NODE}") is not None


@pytest.mark.parametrize("template", sorted(app.COMMANDS))
async def test_every_template_serves_at_once(template: str, tmp_path: Path, free_port: Callable[[], int]) -> None:
    """S-2, S-12: the framework, aiohttp, ASGI, WSGI, and a server in another language; path and query as they came."""
    if not usable(template):
        pytest.skip("engine node is missing (infra/setup brings it where there is no npm)")
    assert app.main(["new", "hello", "--template", template, "--into", str(tmp_path)]) == 0
    descriptor = tmp_path / "hello/dservice.toml"
    descriptor.write_text(re.sub(r"^port = \d+", f"port = {free_port()}", descriptor.read_text(), flags=re.MULTILINE))
    async with running(tmp_path / "hello") as (one, address):
        await one.wait_for("hello is ready after")
        assert await ask(f"{address}/hello/x%2Fy?name=Ada%20L") == (200, "Hello, Ada L!\n")
        assert await ask(f"{address}/hello", b"one two three") == (200, "3 words\n")


async def test_an_edit_takes_effect_and_requests_wait_for_it(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """S-4: nobody sees a refusal while it starts again."""
    folder, port = tmp_path / "plain", free_port()
    plain(folder, port)
    async with running(folder) as (one, address):
        await one.wait_for("plain is ready")
        assert await ask(f"{address}/plain") == (200, "hello\n")
        plain(folder, port, greeting="again\\n")
        await one.wait_for("app.py changed: starting again")
        assert await ask(f"{address}/plain") == (200, "again\n")


async def test_a_mistake_is_told_with_its_last_words_and_the_next_edit_repairs_it(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    folder, port = tmp_path / "plain", free_port()
    plain(folder, port)
    async with running(folder) as (one, address):
        await one.wait_for("plain is ready")
        (folder / "app.py").write_text("print('about to fail')\nraise SystemExit('no licence')\n")
        said = await one.wait_for("started again when a file in its folder changes")
        assert "plain: it ended with exit code 1; its last words:\n    about to fail\n    no licence\n" in said
        status, text = await ask(f"{address}/plain")
        assert status == 503
        assert "no licence" in text
        plain(folder, port)
        await one.wait_for("plain is ready")
        assert await ask(f"{address}/plain") == (200, "hello\n")


async def test_one_on_another_port_is_told_which(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port, other = free_port(), free_port()
    plain(tmp_path / "plain", port, listens=other)
    async with running(tmp_path / "plain") as (one, _):
        said = await one.wait_for("is not ready")
        assert f"it listens on port {other} and its descriptor says port = {port}" in said


async def test_one_on_a_port_without_saying_so(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    plain(tmp_path / "plain", port)
    descriptor = tmp_path / "plain/dservice.toml"
    descriptor.write_text(descriptor.read_text().replace(f"port = {port}\n", ""))
    async with running(tmp_path / "plain") as (one, _):
        said = await one.wait_for("is not ready")
        assert f"it listens on port {port} and not on the UNIX socket CGN_SOCKET: write port = {port}" in said


async def test_no_health_path_is_needed_and_503_means_not_yet(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """S-12: readiness by answering."""
    port = free_port()
    plain(tmp_path / "plain", port, statuses="{'/_cgn/health': 404}")
    async with running(tmp_path / "plain") as (one, _):
        await one.wait_for("plain is ready")
        plain(tmp_path / "plain", port, statuses="{'/_cgn/health': 503}")
        said = await one.wait_for("is not ready")
        assert "its health path /_cgn/health answers 503, which means not yet" in said


async def test_a_port_that_somebody_has_is_told(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    plain(tmp_path / "plain", port)
    async with server, running(tmp_path / "plain") as (one, _):
        assert f"port {port} is in use by another program" in await one.wait_for("started again")


async def test_a_program_that_is_not_there_is_told(tmp_path: Path, free_port: Callable[[], int]) -> None:
    plain(tmp_path / "plain", free_port())
    descriptor = tmp_path / "plain/dservice.toml"
    descriptor.write_text(descriptor.read_text().replace('"python"', '"no-such-program"'))
    async with running(tmp_path / "plain") as (one, _):
        assert "no-such-program cannot be started: No such file or directory" in await one.wait_for("started again")
        descriptor.write_text(descriptor.read_text().replace('name = "plain"', 'nmae = "plain"'))
        assert "did you mean name?" in await one.wait_for("started again")


async def test_one_that_served_and_died_is_started_once_more(tmp_path: Path, free_port: Callable[[], int]) -> None:
    folder = tmp_path / "plain"
    plain(folder, free_port())
    program = (folder / "app.py").read_text()
    (folder / "app.py").write_text(program.replace("status =", "os._exit(7) if 'crash' in self.path else 0; status ="))
    async with running(folder) as (one, address):
        await one.wait_for("plain is ready")
        await asyncio.sleep(1.1)  # longer than what is taken for a start that failed
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")  # aiohttp would ask a second time
        assert await reader.read() == b""
        writer.close()
        assert "it ended with exit code 7" in await one.wait_for("plain is ready")
        assert await ask(f"{address}/plain") == (200, "hello\n")
