"""The node as a process of its own: settings, memory while long bodies pass, drain on SIGTERM (N-2, N-18, O-5)."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from hashlib import sha256
from pathlib import Path

import node_world as support
import pytest
from cgn_sdk.protocol import messages, tunnel
from node_process import memory_mib, node_process, run, write_config

from cgn_node import limits

MIB = 1 << 20
LONG = 200 * 1000 * 1000


def begin_peak(process: asyncio.subprocess.Process) -> float:
    """Resident memory now; the peak (VmHWM) counts from here."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    return memory_mib(process, "VmRSS")


async def test_check_says_what_is_wrong_with_the_settings(tmp_path: Path) -> None:
    """O-5."""
    config, _, _ = write_config(tmp_path)
    code, said = await run("run", "--config", str(config), "--check")
    assert (code, "the settings are fine" in said) == (0, True)
    text = config.read_text()
    for before, after, mistake in (
        ("fingerprints = [", 'fingerprints = ["AA:BB", ', "central.fingerprints: AA:BB is no SHA-256"),
        ('ledger = "sqlite:', 'ledger = "postgres:', "ledger: "),
        ("node.crt", "node.key", "tls.certificate: "),
    ):
        if before not in text:
            continue
        config.write_text(text.replace(before, after))
        code, said = await run("run", "--config", str(config), "--check")
        assert code == 2
        assert mistake in said
        assert "Traceback" not in said
    config.write_text(text)
    config.write_text(text.replace("drain_s = 10", "drain_s = 0").replace("[miner]", "[miner]\nprot = 3"))
    code, said = await run("run", "--config", str(config), "--check")
    assert code == 2
    assert "node.toml:7: drain_s must be at least 1 s" in said
    assert "miner.prot" in said
    config.write_text(text)
    (tmp_path / "node.key").unlink()
    code, said = await run("run", "--config", str(config), "--check")
    assert code == 2
    assert "tls.key" in said


async def long_answer(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    """Takes any body without keeping it, and answers with as many bytes as the path's last part says."""
    miner.acknowledge(opened.stream)
    took, digest = 0, sha256()
    while True:
        data, end = await miner.piece(opened.stream)
        took += len(data)
        digest.update(data)
        miner.tunnel.consumed(opened.stream, len(data))
        miner.link.flush()
        if end:
            break
    size = int(opened.message.target.rsplit("/", 1)[1])
    stream, piece, answered = opened.stream, b"\xa5" * 65_528, sha256()
    miner.tunnel.head(stream, messages.Head(200, (("X-Took", digest.hexdigest()),), size))
    left = size
    while left:
        part = piece[:left]
        await miner.link.send_data(stream, part)
        miner.show_life(stream)
        answered.update(part)
        left -= len(part)
    miner.tunnel.data(stream, b"", end=True)
    miner.done(opened, b"", response_sha256=answered.hexdigest(), response_bytes=size, request_bytes=took)


async def test_long_bodies_pass_in_constant_memory(tmp_path: Path) -> None:
    """N-2, first light: 200 MB in each direction, the node's memory grows by less than 32 MiB."""
    async with node_process(tmp_path) as (world, process):
        await world.miner(serve=long_answer).join()
        for _ in range(3):
            assert (await world.call("POST", "/noop/1000000", body=b"x" * 1_000_000)).status == 200
        before = begin_peak(process)
        reader, writer = await world.connect()
        writer.write(
            f"POST /noop/{LONG} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n"
            f"Content-Length: {LONG}\r\n\r\n".encode()
        )
        piece, sent = b"\x5a" * 100_000, sha256()
        for _ in range(LONG // len(piece)):
            writer.write(piece)
            sent.update(piece)
            await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"X-Took: {sent.hexdigest()}".encode() in head
        got, count = sha256(), 0
        while count < LONG:
            data = await reader.read(262_144)
            assert data
            got.update(data)
            count += len(data)
        writer.close()
        assert got.hexdigest() == sha256(b"\xa5" * LONG).hexdigest()
        grown = memory_mib(process, "VmHWM") - before
        print(f"grown by {grown:.1f} MiB over {before:.1f}")  # docs/benchmarks.md
        assert grown < 32, f"{grown:.1f} MiB"


async def test_sigterm_finishes_what_runs_and_exits_0(tmp_path: Path) -> None:
    """N-18; and one structured line for the finished request."""
    async with node_process(tmp_path) as (world, process):
        go = asyncio.Event()

        async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
            miner.acknowledge(opened.stream)
            await go.wait()
            await miner.answer(opened, [b"finished"])

        miner = await world.miner(serve=serve).join()
        task = asyncio.create_task(world.call("GET", "/noop"))
        while not miner.opened:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        while miner.goaway is None:
            await asyncio.sleep(0.01)
        go.set()
        reply = await task
        assert reply.body == b"finished"
        assert await asyncio.wait_for(process.wait(), 15) == 0
        lines = [json.loads(line) for line in (tmp_path / "node.log").read_text().splitlines()]
        (finished,) = [line for line in lines if line["event"] == "request.finished"]
        assert finished["request_id"] == reply.headers["cgn-request-id"]
        assert (finished["state"], finished["status"], finished["bytes_out"]) == ("done", 200, 8)
        assert world.session_key not in (tmp_path / "node.log").read_text()
        left = set(os.listdir(tmp_path / "state" / "spool"))
        assert left <= {"lock", "bounds"}  # no segment: every row has reached the store


@pytest.mark.parametrize("size", [1_000_000, 2_500_000])
async def test_sigterm_waits_until_answers_have_been_read(tmp_path: Path, size: int) -> None:
    """N-18: an answer that is paid for arrives, held back (1 MB) or streamed; idle connections do not hold the node."""
    async with node_process(tmp_path) as (world, process):
        await world.miner(serve=support.answer_with(b"x" * size)).join()
        _, idle = await world.connect()
        head = f"GET /noop HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode()
        stopped = threading.Event()

        def read_slowly() -> int:
            bare = socket.socket()
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
            bare.settimeout(10)
            bare.connect(("127.0.0.1", world.ports["work"]))
            with world.client_tls.wrap_socket(bare, server_hostname="localhost") as one:
                one.sendall(head)
                got = b""
                while len(got) < 20_000:
                    got += one.recv(4_096)
                began.release()
                stopped.wait(10)
                time.sleep(1)
                while data := one.recv(65_536):
                    got += data
            return got.partition(b"\r\n\r\n")[2].count(b"x")

        began = threading.Semaphore(0)
        reading = [asyncio.create_task(asyncio.to_thread(read_slowly)) for _ in range(3)]
        for _ in reading:
            await asyncio.to_thread(began.acquire)
        await asyncio.sleep(1)
        process.send_signal(signal.SIGTERM)
        stopped.set()
        assert await asyncio.gather(*reading) == [size] * 3
        assert await asyncio.wait_for(process.wait(), 15) == 0
        idle.close()


async def test_a_second_sigterm_ends_the_wait_for_readers(tmp_path: Path) -> None:
    async with node_process(tmp_path) as (world, process):
        await world.miner(serve=support.answer_with(b"x" * 1_000_000)).join()
        reader, writer = await asyncio.open_connection(
            "localhost", world.ports["work"], ssl=world.client_tls, limit=1_024
        )
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        head = f"GET /noop HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {world.session_key}\r\n\r\n"
        writer.write(head.encode() * 20)
        await asyncio.sleep(1)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 3
        assert time.monotonic() - began < limits.PROGRESS_WINDOW_S
        writer.transport.abort()
        assert reader is not None
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.read(), 15)  # its end: nothing that the node has started is left


async def test_a_killed_node_loses_no_row_of_an_answered_request(tmp_path: Path) -> None:
    """N-24: durable, then visible. SIGKILL right after the answer; the next start ships the row."""
    async with node_process(tmp_path) as (world, process):
        await world.miner().join()
        reply = await world.call("GET", "/noop")
        process.kill()
        await process.wait()
    async with node_process(tmp_path) as (world, process):
        found = await world.call("GET", f"/requests/{reply.headers['cgn-request-id']}")
        for _ in range(50):
            if found.status == 200:
                break
            await asyncio.sleep(0.05)
            found = await world.call("GET", f"/requests/{reply.headers['cgn-request-id']}")
        assert json.loads(found.body)["state"] == "done"


async def test_the_nodes_key_is_printed_as_a_trust_file_holds_it(tmp_path: Path) -> None:
    """N-25, L-12: a validator gets public key and public id from the operator, or from the public page; both say one."""
    async with node_process(tmp_path) as (world, _):
        page = json.loads((await world.call("GET", "/", endpoint="status", key="")).body)
        code, text = await run("key", "--config", str(tmp_path / "node.toml"))
    assert (code, json.loads(text)) == (0, {"nodes": {page["node_id"]: page["public_key"]}})
    (tmp_path / "state/policy.json").unlink()
    code, text = await run("key", "--config", str(tmp_path / "node.toml"))
    assert code == 2
    assert "until it is linked" in text


async def test_no_key_is_made_where_another_one_has_signed(tmp_path: Path) -> None:
    """L-12: `key` only reads; a node whose key is gone says what to do before anything is signed with a second one."""
    config = ("--config", str(tmp_path / "node.toml"))
    async with node_process(tmp_path) as (world, process):
        await world.miner().join()
        assert (await world.call("GET", "/noop")).status == 200
        process.kill()
        await process.wait()
    state = tmp_path / "state"
    (state / "node.pem").rename(tmp_path / "node.pem")
    for command in ("key", "run"):
        code, text = await run(command, *config)
        assert (code, "node.pem" in text) == (2, True), text
        assert not (state / "node.pem").exists()
    assert "from a backup" in text
    (tmp_path / "node.pem").rename(state / "node.pem")
    code, _ = await run("key", *config)
    assert code == 0
