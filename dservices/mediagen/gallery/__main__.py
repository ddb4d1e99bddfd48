"""`python -m dservices.mediagen.gallery build [--runner docker] [DIR]`: makes the gallery (DIR: docs/gallery) with a
real node and miner. `python -m dservices.mediagen.gallery serve`: MediaGen alone with the gallery's scripts, so that a
browser can follow the page's MRLs (on other ports: with these ports put into them).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dservices.mediagen.gallery import render
from dservices.mediagen.gallery.page import SERVICE_PORT, SOURCE_PORT, page
from dservices.mediagen.gallery.table import Entry, entries

DOCS = Path(__file__).parents[3] / "docs/gallery"


async def build(target: Path, runner: str) -> None:
    """Writes every picture and the page; removes pictures of entries that are gone."""
    from cgn_sandbox.network import Sandbox

    target.mkdir(parents=True, exist_ok=True)
    everything, total = entries(), 0

    def keep(entry: Entry, data: bytes) -> None:
        nonlocal total
        total += len(data)
        (target / entry.file).write_bytes(data)
        print(f"{entry.file:24} {len(data):8} bytes", flush=True)

    with tempfile.TemporaryDirectory(prefix="cgn-gallery-") as name:
        folder = Path(name)
        await asyncio.to_thread(render.prepare, folder)
        async with Sandbox(render.options(folder, runner=runner)) as network:
            await render.through(network, folder, everything, keep)
    (target / "README.md").write_text(page(everything), "utf-8")
    wanted = {entry.file for entry in everything} | {"README.md"}
    for path in target.iterdir():
        if path.name not in wanted:
            path.unlink()
    print(f"{len(everything)} entries, {total} bytes: {target}")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class PortTaken(RuntimeError):
    """Somebody else listens where `serve` would; the message says what to do."""


def _claim(port: int, option: str) -> socket.socket:
    """Holds a port of loopback, without listening, for as long as the socket is open."""
    claimed = socket.socket()
    claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        claimed.bind(("127.0.0.1", port))
    except OSError as error:
        claimed.close()
        raise PortTaken(f"port {port}: {error.strerror}; end what listens there, or name another by {option}") from None
    return claimed


def serve(service_port: int, source_port: int) -> int:
    """Until Ctrl-C. Only this machine can reach it. The sources stay in .cache: making them takes some seconds.

    Raises PortTaken before anything is made.
    """
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # a shell ignores them for what runs behind it
        signal.signal(number, signal.default_int_handler)
    folder = DOCS.parents[1] / ".cache/gallery"
    with _claim(service_port, "--service-port"), _claim(source_port, "--source-port"):
        print("Making the sources", flush=True)
        render.prepare(folder)
        _fill(folder)
    server = ThreadingHTTPServer(("127.0.0.1", source_port), partial(_Quiet, directory=str(folder)))
    environment = {**os.environ, "CGN_PORT": str(service_port), "CGN_MEDIAGEN_ALLOW": f"127.0.0.1:{source_port}"}
    service = subprocess.Popen([sys.executable, "-m", "dservices.mediagen"], env=environment, start_new_session=True)
    try:
        print(f"Follow the MRLs of {DOCS / 'README.md'}; Ctrl-C ends this.", flush=True)
        server.serve_forever()
    finally:
        server.server_close()
        service.send_signal(signal.SIGTERM)
        service.wait()
    return 0


def _fill(folder: Path) -> None:
    """Entries that read another's file find the one in docs/gallery."""
    for entry in entries():
        made = DOCS / entry.file
        if any(other.made == entry.name for other in entries()) and made.exists():
            (folder / entry.file).write_bytes(made.read_bytes())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dservices.mediagen.gallery", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("build", help="make the gallery with a real node and miner")
    making.add_argument("target", nargs="?", type=Path, default=DOCS)
    making.add_argument(
        "--runner", choices=("process", "docker"), default="process", help="how the miner runs MediaGen"
    )
    serving = commands.add_parser("serve", help="let a browser try every MRL")
    serving.add_argument(
        "--service-port", type=int, default=SERVICE_PORT, help="MediaGen's; the page's links name %(default)s"
    )
    serving.add_argument(
        "--source-port", type=int, default=SOURCE_PORT, help="the scripts'; the page's links name %(default)s"
    )
    arguments = parser.parse_args()
    if arguments.command == "serve":
        try:
            return serve(arguments.service_port, arguments.source_port)
        except KeyboardInterrupt:
            return 0
        except PortTaken as taken:
            print(taken, file=sys.stderr)
            return 1
    began = time.monotonic()
    try:
        asyncio.run(build(arguments.target.resolve(), arguments.runner))
    except render.EntryFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
