"""A real MediaGen process, and beside it a web server for scripts and sources that can also misbehave."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dservices.mediagen import samples

ROOT = Path(__file__).parents[3]
CHUNK = b"\0" * (1 << 20)


class Origin:
    """Serves `files`; `hits` counts requests by path. Some paths misbehave on purpose."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.hits: list[str] = []
        self.confirmed: list[str] = []
        """Of `hits`, those answered 304."""
        self.gate = threading.Event()
        """What is below /held/ waits for it."""
        self.uploads: dict[str, tuple[bytes, dict[str, str]]] = {}
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                origin.answer(self)

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                origin.uploads[self.path] = (body, {k.lower(): v for k, v in self.headers.items()})
                self.send_response(403 if "denied" in self.path else 201)
                self.send_header("Content-Length", "0")
                self.end_headers()

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients that hang up are what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def add(self, name: str, data: str | bytes, **headers: str) -> str:
        self.files[f"/{name}"] = data.encode() if isinstance(data, str) else data
        self.headers[f"/{name}"] = headers
        return self.url(name)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.hits.append(request.path)
        if path.startswith("/status/"):
            request.send_response(int(path.rpartition("/")[2]))
            request.send_header("Content-Length", "0")
            request.end_headers()
        elif path.startswith("/redirect/"):
            request.send_response(302)
            request.send_header("Location", path.removeprefix("/redirect/").replace("~", "://"))
            request.send_header("Content-Length", "0")
            request.end_headers()
        elif path == "/two-gigabytes":
            request.send_response(200)
            request.send_header("Content-Length", str(2 << 30))
            request.end_headers()
            self._pour(request)
        elif path == "/endless":
            request.send_response(200)
            request.send_header("Connection", "close")
            request.end_headers()
            self._pour(request)
        elif path == "/slow":
            request.send_response(200)
            request.send_header("Content-Length", "1000")
            request.end_headers()
            time.sleep(8)
        elif path == "/half":
            request.send_response(200)
            request.send_header("Content-Length", "1000")
            request.end_headers()
            request.wfile.write(b"half")
            request.close_connection = True
        elif path.startswith("/held/"):
            self.gate.wait(60)
            data = self.files["/" + path.removeprefix("/held/")]
            request.send_response(200)
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)
        elif path in self.files:
            tag = self.headers[path].get("ETag")
            if tag is not None and request.headers.get("If-None-Match") == tag:
                self.confirmed.append(request.path)
                request.send_response(304)
                request.end_headers()
                return
            request.send_response(200)
            for name, value in self.headers[path].items():
                request.send_header(name.replace("_", "-"), value)
            request.send_header("Content-Length", str(len(self.files[path])))
            request.end_headers()
            request.wfile.write(self.files[path])
        else:
            request.send_response(404)
            request.send_header("Content-Length", "0")
            request.end_headers()

    @staticmethod
    def _pour(request: BaseHTTPRequestHandler) -> None:
        try:
            for _ in range(2048):
                request.wfile.write(CHUNK)
        except OSError:
            pass
        request.close_connection = True


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self.body[:300]
        return json.loads(self.body)


@dataclass
class Rig:
    """The service under test and the origin of its scripts."""

    origin: Origin
    port: int
    process: subprocess.Popen[bytes]
    count: int = field(default=0)

    def get(self, target: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, body, {k.replace("_", "-"): v for k, v in headers.items()})
            raw = connection.getresponse()
            return Answer(raw.status, {k.lower(): v for k, v in raw.getheaders()}, raw.read())
        finally:
            connection.close()

    def run(self, script: str, query: str = "", name: str | None = None, **headers: str) -> Answer:
        """Publishes the script and asks for it. A script without a function becomes the body of main."""
        if "function main" not in script and "function other" not in script:
            script = "function main() {\n" + script + "\n}"
        self.count += 1
        url = self.origin.add(name or f"s{self.count}.ms", script)
        return self.get(f"/mgen/io?script={quote(url, safe='')}{query}", **headers)

    def alive(self) -> bool:
        canvas = "var m = new Media(); m.makeCanvas(xs @ 3, ys @ 2, fillColor @ 0x123456); m.save(type @ 'png');"
        return self.process.poll() is None and self.run(canvas, name="alive.ms").status == 200


def start(origin: Origin, **settings: str) -> Rig:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("CGN_")},
        "CGN_PORT": str(port),
        "CGN_MEDIAGEN_WORKERS": "1",
        "CGN_MEDIAGEN_ALLOW": f"127.0.0.1:{origin.port}",
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", "dservices.mediagen"], env=environment, cwd=ROOT)
    rig = Rig(origin, port, process)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if rig.get("/_cgn/health").status == 200:
                return rig
        except OSError:
            pass
        time.sleep(0.05)
    process.kill()
    raise AssertionError("MediaGen does not start")


def stop(rig: Rig) -> None:
    rig.process.terminate()
    assert rig.process.wait(timeout=30) == 0


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    made = Origin()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="session")
def mediagen(origin: Origin) -> Iterator[Rig]:
    rig = start(origin)
    yield rig
    stop(rig)


@pytest.fixture(scope="session")
def start_mediagen(origin: Origin) -> Iterator[Callable[..., Rig]]:
    """Starts further processes with other settings; they end with the session."""
    rigs: list[Rig] = []

    def begin(**settings: str) -> Rig:
        rigs.append(start(origin, **settings))
        return rigs[-1]

    yield begin
    for rig in rigs:
        if rig.process.poll() is None:
            stop(rig)


@pytest.fixture(scope="session")
def media(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The samples, made once and served: photo.jpg, document.pdf, photo.ms, page.ms."""
    folder = tmp_path_factory.mktemp("samples")
    for path in samples.make(folder):
        origin.add(path.name, path.read_bytes())
    return {path.name: path.read_bytes() for path in folder.iterdir()}
