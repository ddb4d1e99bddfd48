"""Readers that stop and resume, at every place where credit is given back: the body arrives whole, and in between nobody
holds more than was granted (N-2)."""

import asyncio
from hashlib import sha256
from pathlib import Path

import node_world as support
from cgn_sdk.protocol import limits, messages, tunnel

SIZE = 24 << 20
"""More than all buffers of the way hold: sockets, streams' credit, what is held back of an answer."""
CONTENT = bytes(range(256)) * (SIZE // 256)


async def stands_still(count: "list[int]") -> int:
    """What was sent, once the sender has made no progress for a while."""
    before = -1
    async with asyncio.timeout(60):
        while before != count[0] or not before:
            before = count[0]
            await asyncio.sleep(0.3)
    return before


async def test_a_dapp_that_stops_reading_and_goes_on(tmp_path: Path) -> None:
    sent = [0]

    async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        miner.tunnel.head(opened.stream, messages.Head(200, (), SIZE))
        for at in range(0, SIZE, 1 << 16):
            await miner.link.send_data(opened.stream, CONTENT[at : at + (1 << 16)])
            sent[0] = at + (1 << 16)
        miner.tunnel.data(opened.stream, b"", end=True)
        miner.done(opened, CONTENT)

    async with support.world(tmp_path) as world:
        await world.miner(serve=serve).join()
        reader, writer = await world.connect()
        request = f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n"
        writer.write(request.encode())
        await reader.readuntil(b"\r\n\r\n")
        assert await stands_still(sent) < SIZE, "a reader that does not read stops the miner"
        digest, left = sha256(), SIZE
        while left:
            piece = await reader.read(min(left, 1 << 16))
            digest.update(piece)
            left -= len(piece)
        writer.close()
        assert digest.hexdigest() == sha256(CONTENT).hexdigest()
        assert len(await world.rows()) == 1


async def test_a_miner_that_stops_reading_and_goes_on(tmp_path: Path) -> None:
    go = asyncio.Event()
    got: list[bytes] = []

    async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        await go.wait()
        body = await miner.body(opened.stream)
        got.append(body)
        await miner.answer(opened, [b"ok"], request_bytes=len(body))

    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=serve).join()
        task = asyncio.create_task(world.call("POST", "/noop", body=CONTENT))
        while not miner.opened:
            await asyncio.sleep(0.01)
        queue = miner.bodies[1]
        arrived = [0]

        async def count() -> None:
            while True:
                arrived[0] = sum(len(data) for data, _ in queue._queue)  # type: ignore[attr-defined]
                await asyncio.sleep(0.05)

        counting = asyncio.create_task(count())
        assert await stands_still(arrived) <= limits.INITIAL_CREDIT_BYTES
        counting.cancel()
        go.set()
        reply = await task
        assert (reply.status, reply.body) == (200, b"ok")
        assert sha256(got[0]).hexdigest() == sha256(CONTENT).hexdigest()
