"""Strangers at a real node's listeners: what one peer does costs the others little, and never the process (N-6).

Bounds are generous, since machines are slow: the figures are in `tests/bench/bench_hostile.py`.
"""

import asyncio
import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cgn_sdk.protocol.messages import GoAway
from cgn_sdk.protocol.tunnel import Opened
from node_process import memory_mib, node_process, run, write_config
from node_world import ScriptedMiner, World, answer_with, world
from strangers import HONEST_S, Honest, connects, logged

from cgn_node import limits
from cgn_node.descriptors import LEAST, share


async def test_pipelined_requests_and_tiny_chunks(tmp_path: Path) -> None:
    """5,000 requests in one go, and 60 KiB in one-byte chunks to `POST /session`, both without a key."""
    async with node_process(tmp_path) as (world, _), Honest(world) as honest:
        reader, writer = await world.connect()
        writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 4_999)
        writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answered = 0
        while data := await reader.read(1 << 20):
            answered += data.count(b"WWW-Authenticate")
        assert answered > 4_900  # one may be cut in two by a read
        chunks = b"1\r\n \r\n" * 60_000 + b"0\r\n\r\n"
        reply = await world.call("POST", "/session", "Transfer-Encoding: chunked", body=chunks, key="")
        assert reply.problem["code"] == "bad_json"
        assert honest.longest_s < HONEST_S


async def test_answers_nobody_reads_stay_few(tmp_path: Path) -> None:
    """200 requests for 1 MiB each on one connection that reads nothing: 200 MiB without a bound."""
    async with node_process(tmp_path) as (world, process), Honest(world) as honest:
        await world.miner(serve=answer_with(b"x" * 1_040_000)).join()
        before = memory_mib(process, "VmRSS")
        reader, writer = await asyncio.open_connection(
            "localhost", world.ports["work"], ssl=world.client_tls, limit=1024
        )
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        head = f"GET /noop HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {world.session_key}\r\n\r\n"
        writer.write(head.encode() * 200)
        for _ in range(30):
            await asyncio.sleep(0.1)
            assert memory_mib(process, "VmRSS") - before < 64
        writer.transport.abort()
        assert honest.longest_s < HONEST_S
        assert reader is not None


async def test_connects_without_a_handshake_take_no_descriptor_that_work_needs(tmp_path: Path) -> None:
    """1,500 of them from five addresses at a node that began with a soft limit of 1,024: kept connections go on, bodies
    that need a file are taken, rows are written, and the process lives."""
    limit = 1_600
    shares = share(limit)
    assert shares is not None
    async with node_process(tmp_path, (1_024, limit)) as (world, process), Honest(world) as honest:
        await world.miner().join()
        reader, writer = await world.connect()
        head = f"POST /noop HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {world.session_key}\r\nContent-Length: 100000"
        held = []
        for number in range(5):
            held += await asyncio.to_thread(connects, world.ports["work"], 300, f"127.0.0.{10 + number}")
            assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < limit - limits.DESCRIPTORS_RESERVED // 2
            writer.write(head.encode() + b"\r\n\r\n" + b"x" * 100_000)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert answer.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(int(answer.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
        started = next(line for line in logged(tmp_path) if line["event"] == "node.limits")
        assert (started["open_files"], started["work_connections"]) == (limit, shares.work)
        assert honest.longest_s < HONEST_S
        writer.close()
        for each in held:
            each.close()
        reply = await world.call("GET", "/noop")
        assert (reply.status, process.returncode) == (200, None)


async def test_with_too_few_files_the_node_says_so_and_does_not_start(tmp_path: Path) -> None:
    config, _, _ = write_config(tmp_path)
    for words in ([], ["--check"]):
        code, said = await run("run", "--config", str(config), *words, open_files=(LEAST - 1, LEAST - 1))
        assert code == 2
        assert f"a node needs {LEAST}" in said
        assert "LimitNOFILE" in said
    code, said = await run("run", "--config", str(config), "--check", open_files=(64, LEAST))
    assert (code, said.splitlines()[-1]) == (0, "the settings are fine")


HEAD = b"POST /session HTTP/1.1\r\nHost: a\r\n"
SLOW: dict[str, tuple[str, bytes, bytes]] = {
    "nothing": ("tcp", b"", b""),
    "a handshake": ("tcp", b"\x16\x03\x01\x02\x00\x01\x00", b"\0"),
    "silence behind the handshake": ("tls", b"", b""),
    "a head": ("tls", b"GET /x HTTP/1.1\r\nHost: a\r\n", b"X-a: b\r\n"),
    "a session's body": ("tls", HEAD + b"Content-Length: 60000\r\n\r\n", b"x" * 300),
    "a session's body in chunks": ("tls", HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a work's body": ("tls", b"", b"x" * 10),
}


async def hold(world: World, endpoint: str, kind: str) -> float:
    """How long the node lets this one stay."""
    layer, first, drip = SLOW[kind]
    if kind == "a work's body":
        head = (
            f"POST /noop HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {world.session_key}\r\nContent-Length: 60000\r\n"
        )
        first = head.encode() + b"\r\n"
    began = time.monotonic()
    tls = world.client_tls if layer == "tls" else None
    reader, writer = await asyncio.open_connection("localhost", world.ports[endpoint], ssl=tls)
    writer.write(first)

    async def keep_saying() -> None:
        while not writer.is_closing():
            await asyncio.sleep(1)
            writer.write(drip)

    dripping = asyncio.create_task(keep_saying())
    try:
        while await reader.read(65_536):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    dripping.cancel()
    writer.close()
    return time.monotonic() - began


@pytest.mark.slow
async def test_nobody_slow_is_held_for_long(tmp_path: Path) -> None:
    """Ten of each kind, at every listener where it can be done."""
    async with node_process(tmp_path) as (world, process), Honest(world) as honest:
        await world.miner().join()
        places = [("work", kind) for kind in SLOW for _ in range(10)]
        quiet = ("nothing", "a handshake", "silence behind the handshake")
        places += [(endpoint, kind) for endpoint in ("status", "miner") for kind in quiet]
        places += [("central", kind) for kind in quiet[:2]]
        held = await asyncio.gather(*(hold(world, *place) for place in places))
        longest, place = max(zip(held, places, strict=True))
        assert longest < 1.5 * limits.SLOW_HELD_S, place  # on a quiet machine: SLOW_HELD_S
        assert honest.longest_s < HONEST_S
        assert process.returncode is None


async def test_frames_of_a_stranger_at_the_miners_port(tmp_path: Path) -> None:
    """Half a megabyte of pings, the smallest that there are, before any HELLO; the pongs are not read."""
    async with node_process(tmp_path) as (world, process), Honest(world) as honest:
        reader, writer = await world.connect("miner")
        writer.write(
            b"GET /tunnel HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: cgn.tunnel.1\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        before = memory_mib(process, "VmRSS")
        writer.write(b"\x89\x80\0\0\0\0" * 80_000)
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert memory_mib(process, "VmRSS") - before < 64
        writer.transport.abort()
        assert honest.longest_s < HONEST_S


STRANGE = {
    "plain text": (False, b"GET / HTTP/1.1\r\n\r\n"),
    "another path": (True, b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no upgrade": (True, b"GET /tunnel HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no HTTP": (True, b"\x00" * 64 + b"\r\n\r\n"),
    "an endless line": (True, b"GET /" + b"a" * 70_000),
    "nothing": (True, b""),
}


async def test_what_peers_say_does_not_fill_the_log(tmp_path: Path) -> None:
    """A miner that says again and again that it goes, and strangers at every port: lines are for what happened, and
    their number is not the peer's choice."""
    async with node_process(tmp_path) as (world, _):
        miner = await world.miner().join()
        lines = len(logged(tmp_path))
        for _ in range(500):
            miner.tunnel.send_goaway(GoAway("draining", "soon"))
            miner.link.flush()
        for endpoint in ("miner", "central", "work", "status"):
            for tls, said in list(STRANGE.values()) * 5:
                await say(world, endpoint, tls, said)
        assert (await world.call("GET", "/", endpoint="status", key="")).status == 200
        news = [line["event"] for line in logged(tmp_path)[lines:]]
        assert news.count("miner.going") == 1
        assert len(news) <= 10, news
        assert len([line for line in (tmp_path / "node.log").read_text().splitlines() if line[:1] != "{"]) == 0


async def say(world: World, endpoint: str, tls: bool, said: bytes) -> None:
    """Connects, says it, and leaves."""
    with suppress(OSError):
        _, writer = await asyncio.open_connection(
            "localhost", world.ports[endpoint], ssl=world.client_tls if tls else None
        )
        writer.write(said)
        await asyncio.sleep(0.02)
        writer.close()


async def test_central_gets_in_beside_sockets_that_say_nothing(tmp_path: Path) -> None:
    """More than the listener for Central has places, from three addresses, and again as soon as one is closed."""
    async with world(tmp_path, linked=False) as made:

        async def hold(source: str) -> None:
            loop = asyncio.get_running_loop()
            while True:
                with socket.socket() as one:
                    one.setblocking(False)
                    one.bind((source, 0))
                    with suppress(OSError):
                        await loop.sock_connect(one, ("127.0.0.1", made.ports["central"]))
                        await loop.sock_recv(one, 1)
                await asyncio.sleep(0.02)

        sources = [f"127.0.0.{host}" for host in (2, 3, 4)]
        strangers = [
            asyncio.create_task(hold(source)) for source in sources for _ in range(limits.CENTRAL_CONNECTIONS_MAX // 2)
        ]
        counters = made.node.central.counters
        async with asyncio.timeout(20):
            while counters["connections that gave way"] + counters["connections refused"] < 10:
                await asyncio.sleep(0.02)
        await asyncio.wait_for(made.central.dial(), 10)
        assert (await made.open_session()).status == 201
        for each in strangers:
            each.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)


async def test_who_waits_for_nothing_takes_no_place_from_work(tmp_path: Path) -> None:
    """Every place of the work listener is taken by connections that had their 401 and say nothing more, from three
    addresses; work gets in, and the one that is under way is not touched."""
    shares = share(LEAST)
    assert shares is not None
    go = asyncio.Event()

    async def serve(miner: ScriptedMiner, opened: Opened) -> None:
        miner.acknowledge(opened.stream)
        if opened.message.target == "/noop/long":
            await go.wait()
        await miner.answer(opened, [b"done"])

    async with node_process(tmp_path, (LEAST, LEAST)) as (made, _):
        await made.miner(serve=serve).join()
        under_way = asyncio.create_task(made.call("GET", "/noop/long"))
        held = []
        for host in (2, 3, 4):
            for _ in range(shares.work // 2):
                reader, writer = await asyncio.open_connection(
                    "localhost", made.ports["work"], ssl=made.client_tls, local_addr=(f"127.0.0.{host}", 0)
                )
                writer.write(b"HEAD /noop HTTP/1.1\r\nHost: a\r\n\r\n")
                assert b" 401 " in await reader.readuntil(b"\r\n\r\n")
                held.append((reader, writer))
        for _ in range(10):
            assert (await made.call("GET", "/noop")).body == b"done"
        assert sum(not reader.at_eof() for reader, _ in held) <= shares.work
        go.set()
        assert (await under_way).body == b"done"
        for _, writer in held:
            writer.transport.abort()
