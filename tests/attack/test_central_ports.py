"""Strangers at a real Central's ports: connects that say nothing take neither its files nor its places (C-1, C-2)."""

import asyncio
import ssl
import sys
import tempfile
from pathlib import Path

import pytest
from cgn_sandbox.network import Sandbox, SandboxOptions
from strangers import connects

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"
FILES_MAX = 700
"""That Central has open: 500 connections of a port, and its own."""


@pytest.mark.timeout(180)
async def test_connects_that_say_nothing_keep_nobody_out() -> None:
    """1,500 of them at the portals' port, from five addresses; meanwhile it answers there, and keeps its links."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        options = SandboxOptions(
            directory=Path(folder),
            chain=False,
            mediagen=False,
            miners=1,
            extra_dservices={"noop": [sys.executable, str(NOOP)]},
        )
        async with Sandbox(options) as network:
            child = network.children["central"]
            port = int(child.facts["portal_port"])
            tls = ssl.create_default_context(cafile=str(network.authority))
            tls.check_hostname = False
            held = []
            for number in range(5):
                held += await asyncio.to_thread(connects, port, 300, f"127.0.0.{10 + number}")
                await asyncio.sleep(1.1)
                async with asyncio.timeout(20):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
                    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
                    writer.close()
                assert len(list(Path(f"/proc/{child.process.pid}/fd").iterdir())) < FILES_MAX
            async with network.client() as client:  # a new session: the node asks Central
                assert (await client.request("GET", "/noop/10")).status == 200
            for each in held:
                each.close()
            assert child.process.returncode is None
