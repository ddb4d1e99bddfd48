"""The node as a process of its own, with the scripted Central and miners of `node_world` around it."""

import asyncio
import contextlib
import json
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import node_world as support


def write_config(folder: Path) -> tuple[Path, Any, Any]:
    settings, client_tls, central_tls = support.make_settings(folder)
    (folder / "api.key").write_text(support.KEY)
    (folder / "api.key").chmod(0o600)
    path = folder / "node.toml"
    path.write_text(
        f"""
node_id = "{support.NODE}"
api_key_file = "api.key"
state = "state"
ledger = "sqlite:///{folder}/ledger.sqlite"
log = "json"
drain_s = 10
[work]
host = "127.0.0.1"
port = 0
[miner]
host = "127.0.0.1"
port = 0
[status]
host = "127.0.0.1"
port = 0
metrics_port = 0
[central]
host = "127.0.0.1"
port = 0
authority = "authority.pem"
fingerprints = ["{settings.central.fingerprints[0]}"]
[tls]
certificate = "node.crt"
key = "node.key"
"""
    )
    return path, client_tls, central_tls


async def run(*words: str, open_files: tuple[int, int] | None = None) -> tuple[int, str]:
    """Exit code and everything said by `cgn node ...`. `open_files`: its soft and hard limit."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cgn_node.app",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=None if open_files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, open_files),
    )
    text, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, text.decode()


@contextlib.asynccontextmanager
async def node_process(
    folder: Path, open_files: tuple[int, int] | None = None
) -> AsyncIterator[tuple[support.World, asyncio.subprocess.Process]]:
    """A node that is ready, linked to a scripted Central, with a session. `open_files`: its soft and hard limit."""
    config, client_tls, central_tls = write_config(folder)
    log = open(folder / "node.log", "wb")  # noqa: SIM115  (closed below)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cgn_node.app",
        "run",
        "--config",
        str(config),
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        preexec_fn=None if open_files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, open_files),
    )
    assert process.stdout is not None
    ready = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    assert ready.startswith("READY "), (folder / "node.log").read_text()
    ports = json.loads(ready.removeprefix("READY "))["ports"]
    central = support.ScriptedCentral(ports["central"], central_tls)
    world = support.World(SimpleNamespace(), central, client_tls, SimpleNamespace(), folder, ports)
    try:
        await central.dial()
        for _ in range(100):
            reply = await world.open_session()
            if reply.status == 201:
                break
            await asyncio.sleep(0.02)
        world.session_key = json.loads(reply.body)["session_key"]
        yield world, process
    finally:
        for miner in world.miners:
            await miner.leave()
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 20)
        with contextlib.suppress(Exception):
            await central.hang_up()
        log.close()


def memory_mib(process: asyncio.subprocess.Process, what: str) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise AssertionError(what)
