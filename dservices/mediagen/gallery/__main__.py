"""`python -m dservices.mediagen.gallery build [--runner docker] [DIR]`: makes the gallery (DIR: docs/gallery) with a
real node and miner. `python -m dservices.mediagen.gallery serve`: MediaGen alone with the gallery's scripts, so that a
browser can follow the page's MRLs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
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
    from cgn_sdk.sandbox.network import Sandbox

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


def serve() -> int:
    """Until Ctrl-C. Only this machine can reach it. The sources stay in .cache: making them takes some seconds."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # a shell ignores them for what runs behind it
        signal.signal(number, signal.default_int_handler)
    folder = DOCS.parents[1] / ".cache/gallery"
    print("Making the sources", flush=True)
    render.prepare(folder)
    _fill(folder)
    server = ThreadingHTTPServer(("127.0.0.1", SOURCE_PORT), partial(_Quiet, directory=str(folder)))
    environment = {**os.environ, "CGN_PORT": str(SERVICE_PORT), "CGN_MEDIAGEN_ALLOW": f"127.0.0.1:{SOURCE_PORT}"}
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
    commands.add_parser("serve", help="let a browser try every MRL")
    arguments = parser.parse_args()
    if arguments.command == "serve":
        try:
            return serve()
        except KeyboardInterrupt:
            return 0
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
