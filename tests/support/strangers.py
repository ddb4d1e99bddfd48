"""What attacks on a node's process have in common: somebody honest beside the stranger, and what the node says of it."""

import asyncio
import json
import socket
import time
from pathlib import Path

from node_world import World

HONEST_S = 2.0
"""An honest request is answered within this while somebody else attacks; without bounds it took 3 to 7 s."""


class Honest:
    """Asks `/health` on a kept connection again and again, and remembers the longest wait."""

    def __init__(self, world: World) -> None:
        self.longest_s = 0.0
        self.answers = 0
        self._world = world
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Honest":
        self._task = asyncio.create_task(self._ask())
        while not self.answers:
            await asyncio.sleep(0.01)
        self.longest_s = 0.0
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self) -> None:
        reader, writer = await self._world.connect("status")
        while True:
            began = time.monotonic()
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.answers += 1
            await asyncio.sleep(0.005)


def connects(port: int, count: int, source: str) -> list[socket.socket]:
    """TCP connections that never say anything; those the node refuses are in it, too."""
    made = []
    for _ in range(count):
        one = socket.socket()
        one.settimeout(5)
        one.bind((source, 0))
        one.connect(("127.0.0.1", port))
        made.append(one)
    return made


def logged(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "node.log").read_text().splitlines() if line.startswith("{")]
