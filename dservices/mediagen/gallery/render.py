"""Every entry through a real network: node and miner as processes, sources on loopback, the SDK's client in front."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from cgn_sandbox.network import Sandbox, SandboxOptions

from dservices.mediagen.gallery import sources
from dservices.mediagen.gallery.table import SCRIPTS, Entry

Ask = Callable[[Entry], Awaitable[bytes]]


class EntryFailed(RuntimeError):
    """An entry did not come back as a picture; the message says which and what came instead."""


def prepare(folder: Path) -> None:
    """Scripts and sources side by side, as the scripts expect them."""
    sources.make(folder)
    for script in SCRIPTS.glob("*.ms"):
        shutil.copy(script, folder)


async def render(folder: Path, entries: Iterable[Entry], ask: Ask, keep: Callable[[Entry, bytes], None]) -> None:
    """Asks for every entry in order; each result is a source for those after it."""
    for entry in entries:
        data = await ask(entry)
        (folder / entry.file).write_bytes(data)
        keep(entry, data)


async def through(
    network: Sandbox, folder: Path, entries: Iterable[Entry], keep: Callable[[Entry, bytes], None]
) -> None:
    """Renders through a running network whose sources are `folder`."""
    async with network.client() as client:

        async def ask(entry: Entry) -> bytes:
            result = await client.request("GET", entry.mrl(network.source_url), headers=entry.headers)
            body: bytes = await result.read()
            if result.status != 200:
                raise EntryFailed(f"{entry.name}: status {result.status}: {body[:500].decode(errors='replace')}")
            return body

        await render(folder, entries, ask, keep)


def options(folder: Path, *, runner: str = "process") -> SandboxOptions:
    return SandboxOptions(chain=False, miners=1, sources=folder, runner=runner)
