"""`cgn dservice`: makes a DService and tries it on this machine (S-4).

cgn dservice new hello                     a folder with a DService on the SDK's framework
cgn dservice new hello --template wsgi     or on aiohttp, ASGI, WSGI, or in another language
cgn dservice run hello                     serve it alone, on a port of this machine; starts again on every edit
cgn dservice check hello                   read its descriptor and say what is wrong with it
cgn up --dservice hello                    the whole network with it, miners, prices and receipts included

Exit code 0: done. 1: it could not be done. 2: the command line or the descriptor is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from cgn_sdk.command_line import Parser
from cgn_sdk.dservice import launcher
from cgn_sdk.dservice.descriptor import FILE_NAME, DescriptorError, read

COMMANDS = {
    "framework": (["python", "app.py"], None),
    "aiohttp": (["python", "app.py"], 8000),
    "asgi": (["python", "-m", "cgn_sdk.dservice.asgi", "app:application"], None),
    "wsgi": (["python", "app.py"], 8000),
    "other": (["node", "server.mjs"], 8000),
}
"""Template -> its command, and its port where it listens on one."""
EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def main(argv: Sequence[str]) -> int:
    """Entry point of `cgn dservice`."""
    given = _parser().parse_args(list(argv))
    try:
        if given.command == "new":
            return _new(given.name, given.template, given.into)
        if given.command == "check":
            found = read(given.folder.resolve())
            print(f"{found.name} {found.version} at {found.route}: the descriptor is in order")
            return EXIT_OK
        return asyncio.run(_run(given.folder.resolve(), given.port))
    except DescriptorError as wrong:
        print(*wrong.mistakes, sep="\n", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"cgn dservice {given.command}: {where}{error.strerror}", file=sys.stderr)
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cgn dservice", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="make a folder with a DService that runs")
    new.add_argument("name", type=_name, metavar="NAME", help="lower-case letters, digits, . _ and -")
    new.add_argument("--template", choices=tuple(COMMANDS), default="framework", help="what it is built on")
    new.add_argument(
        "--into", type=Path, default=Path(), metavar="FOLDER", help="where its folder goes (default: here)"
    )
    run = commands.add_parser("run", help="serve it alone on this machine, again on every edit")
    run.add_argument("folder", type=Path, metavar="FOLDER", help=f"the folder with {FILE_NAME}")
    run.add_argument("--port", type=int, default=0, help="port of loopback to serve on (default: a free one)")
    check = commands.add_parser("check", help="read its descriptor and say what is wrong")
    check.add_argument("folder", type=Path, metavar="FOLDER", help=f"the folder with {FILE_NAME}")
    return parser


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: lower-case letters, digits, . _ and -, at most 64")
    return text


def descriptor_text(name: str, template: str) -> str:
    """The dservice.toml of a new DService."""
    command, port = COMMANDS[template]
    listens = (
        f"port = {port}" if port else "# port = 8000     # where it listens on a port instead of the socket CGN_SOCKET"
    )
    words = ", ".join(f'"{word}"' for word in command)
    return f"""# What this DService is and how it starts. docs/reference/dservice-descriptor.md has every line.
[dservice]
name = "{name}"
version = "0.1.0"
route = "/{name}"
command = [{words}]
{listens}

[resources]
memory_bytes = 268_435_456

[egress]
allowed = []          # "public", or "host:port" by "host:port"; empty: it may connect to nothing
"""


def _new(name: str, template: str, into: Path) -> int:
    folder = into / name
    folder.mkdir(parents=True)
    (folder / FILE_NAME).write_text(descriptor_text(name, template), encoding="utf-8")
    for source in files("cgn_sdk.dservice").joinpath("templates", template).iterdir():
        if source.is_file():
            (folder / source.name).write_bytes(source.read_bytes())
    print(f"{folder} is ready. Next:\n  cgn dservice run {folder}\n  cgn up --dservice {folder}")
    return EXIT_OK


async def _run(folder: Path, port: int) -> int:
    """Serves until Ctrl-C. A mistake in the descriptor ends it at the start, later it waits for the next edit."""
    found = read(folder)
    front = launcher.Front(is_watching=False)
    with tempfile.TemporaryDirectory(prefix="cgn-") as place:

        async def listen() -> None:
            served = await front.listen(port=port)
            print(f"{found.name}: http://{launcher.LOOPBACK}:{served}{found.route}   (Ctrl-C ends it)", flush=True)

        one = launcher.Launcher(front, lambda: launcher.program_of(folder), Path(place) / "own.sock", listen=listen)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, one.stop)
        try:
            return await one.run_watching(folder)
        finally:
            front.close()
