"""A Central that lies, or was broken into, at a real node's process: it has the pinned certificate, and still what it
sends costs others little, and never the process (C-1, N-4, N-6). Beside it stands an honest one, whose link goes on."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cgn_sdk.protocol import link, link_envelope
from node_process import memory_mib, node_process
from node_world import ScriptedCentral, World, policy
from strangers import HONEST_S, Honest, logged

MEMORY_MIB = 64
LINES_MAX = 40


def frame(data: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """Of a client: masked, by zeros."""
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(data) < 126:
        return head + bytes([0x80 | len(data)]) + bytes(4) + data
    return head + b"\xff" + len(data).to_bytes(8, "big") + bytes(4) + data


def tell(topic: str, params: str) -> bytes:
    return frame(f'{{"tell":"{topic}","params":{params}}}'.encode())


def news() -> Iterator[bytes]:
    """Policies as long as a message may be, each newer than the one before."""
    honest = policy()
    hosts = tuple(f"{number:03d}.{'h' * 24}.net" for number in range(link.EGRESS_HOSTS_MAX))
    many = tuple(
        replace(honest.dservices[0], name=f"d{number}", route=f"/d{number}", egress=hosts)
        for number in range(link.DSERVICES_MAX - 2)
    )
    params = replace(honest, dservices=(*honest.dservices, *many)).to_params()
    text = json.dumps({**params, "version": "VERSION"}, separators=(",", ":"))
    assert 200_000 < len(text) < link_envelope.MESSAGE_MAX_BYTES
    for version in range(2, 102):
        yield tell("policy", text.replace('"VERSION"', str(version)))


def revocations() -> Iterator[bytes]:
    for number in range(300):
        ids = [f"ent_z{number:05d}{each:014d}".translate(_LETTERS) for each in range(link.REVOKED_MAX)]
        yield tell("revoke", json.dumps({"account_ids": ids, "miner_ids": ids}, separators=(",", ":")))


_LETTERS = str.maketrans("0123456789", "abcdefghij")

LIES = {
    "pings": lambda: (frame(b"", 9) * 1_000 for _ in range(100)),
    "a message of empty frames": lambda: [
        frame(b"", fin=False),
        *(frame(b"", 0, fin=False) * 1_000 for _ in range(50)),
    ],
    "the smallest messages": lambda: (tell("x", "{}") * 100 for _ in range(500)),
    "the longest policies, each newer": news,
    "revocations of strangers": revocations,
    "news that cannot be read": lambda: (tell("policy", '{"version":0}') * 100 for _ in range(50)),
    "a deep message": lambda: [frame(b"[" * link_envelope.MESSAGE_MAX_BYTES)],
    "a message of too many members": lambda: (
        frame(b'{"id":1,"answer":{%b}}' % b",".join(b'"%d":0' % number for number in range(25_000))) for _ in range(100)
    ),
    "a message that is too long": lambda: [frame(b" " * (link_envelope.MESSAGE_MAX_BYTES + 1))],
    "questions": lambda: (
        b"".join(frame(b'{"id":%d,"ask":"x","params":{}}' % (100 * block + each)) for each in range(1, 101))
        for block in range(200)
    ),
}


async def say(central: ScriptedCentral, lie: str) -> None:
    """All of it, as fast as the node takes it; or until the node has had enough."""
    assert central.connection is not None
    transport = central.connection.transport
    for piece in LIES[lie]():
        if transport.is_closing():
            return
        transport.write(piece)
        while transport.get_write_buffer_size() > 1 << 20 and not transport.is_closing():
            await asyncio.sleep(0.005)
    pong = asyncio.create_task(central.connection.wait_closed())
    with contextlib.suppress(Exception):
        answered = await central.connection.ping()
        await asyncio.wait([asyncio.ensure_future(answered), pong], return_when=asyncio.FIRST_COMPLETED)
    pong.cancel()


async def liar(world: World) -> ScriptedCentral:
    one = ScriptedCentral(world.ports["central"], world.central.tls)
    await one.dial()
    return one


@pytest.mark.parametrize("lie", LIES)
async def test_what_central_says_is_bounded(lie: str, tmp_path: Path) -> None:
    """In all links that it may have, at once: turns, sizes, counts, memory and lines of the log."""
    async with node_process(tmp_path) as (world, process), Honest(world) as honest:
        await world.miner().join()
        liars = [await liar(world) for _ in range(3)]
        lines, before = len(logged(tmp_path)), memory_mib(process, "VmRSS")
        saying = [asyncio.create_task(say(each, lie)) for each in liars]
        async with asyncio.timeout(90):
            while not all(each.done() for each in saying):
                await asyncio.sleep(0.05)
                assert memory_mib(process, "VmRSS") - before < MEMORY_MIB
        assert honest.longest_s < HONEST_S
        for each in liars:
            with contextlib.suppress(Exception):
                await each.hang_up()
        assert (await world.open_session()).status == 201
        assert (await world.call("GET", "/noop")).status == 200
        assert process.returncode is None
        told = [line["event"] for line in logged(tmp_path)[lines:]]
        assert len(told) <= LINES_MAX, told[:50]
