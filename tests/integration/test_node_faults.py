"""Whatever a step raises, its request ends with a stated problem and gives back all that it holds, and nobody else
notices (N-6, N-11, N-24): faults are put into the ports below each command and each step of a row, in a real node.

`BREAKS` holds which command each test makes fail; a new command without one fails here.
"""

import asyncio
import errno
import gc
import json
import threading
import typing
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import node_world as support
import pytest
from cgn_sdk.protocol import messages, tunnel

from cgn_node import app, bodies, config, http_server, miner_endpoint
from cgn_node.core import commands, events
from cgn_node.work_request import WorkRequest

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20
BREAKS: set[type] = set()
NEVER_RAISES = {commands.Drained}
"""Sets an event."""

Test = Callable[..., Awaitable[None]]


def breaks(*kinds: type) -> Callable[[Test], Test]:
    BREAKS.update(kinds)
    return lambda test: test


def test_every_command_is_made_to_fail_here() -> None:
    assert set(typing.get_args(commands.Command)) - NEVER_RAISES == BREAKS


class Fault:
    """Raises at the first call, or at every one; then it is what was there before."""

    def __init__(self, error: Exception, *, always: bool = False) -> None:
        self.error = error
        self.always = always
        self.raised = 0

    def put(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> "Fault":
        before = getattr(owner, name)

        def faulty(*arguments: Any, **named: Any) -> Any:
            if self.always or not self.raised:
                self.raised += 1
                raise self.error
            return before(*arguments, **named)

        patch.setattr(owner, name, faulty)
        return self


def a_fault(*, always: bool = False) -> Fault:
    return Fault(RuntimeError("a mistake of ours"), always=always)


def a_bad_disk(*, always: bool = False) -> Fault:
    return Fault(OSError(errno.EIO, "Input/output error"), always=always)


@asynccontextmanager
async def a_world(folder: Path, **changes: Any) -> AsyncIterator[support.World]:
    async with support.world(folder, **changes) as world:
        yield world
        await nothing_is_held(world)
        world.node.work.draining = False
        assert (await world.call("GET", "/noop")).status == 200, "the node does not serve any more"


async def nothing_is_held(world: support.World) -> None:
    node = world.node
    async with asyncio.timeout(15):
        while node.driver.requests or node.work._by_address:
            await asyncio.sleep(0.01)
    assert {account.running for account in node.work._sessions._accounts.values()} == {0}
    statistics = node.driver.broker.statistics()
    assert (statistics.requests, statistics.waiting, statistics.recording) == (0, 0, 0)
    assert all(pool.free_slots == pool.slots for pool in statistics.pools)
    node.driver.broker.check()


def assert_internal(reply: support.Reply) -> None:
    problem = reply.problem
    assert (problem["status"], problem["code"]) == (500, "internal")
    assert reply.headers["cgn-request-id"] in problem["detail"]


# --- Assign ---


@breaks(commands.Assign)
async def test_a_tunnel_that_does_not_take_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_world(tmp_path) as world:
        await world.miner().join()
        fault = a_fault().put(monkeypatch, miner_endpoint.MinerTunnel, "open")
        assert_internal(await world.call("GET", "/noop"))
        assert fault.raised == 1
        assert world.node.driver.broken == {commands.Assign: 1}
        assert await world.rows() == []


async def test_commands_behind_one_that_fails_are_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A miner that joins while two wait is given both by one event; the first of the two cannot be."""
    async with a_world(tmp_path) as world:
        busy = await world.miner(0, serve=support.never, slots=1).join()
        asked = [asyncio.create_task(world.call("GET", "/noop", "CGN-Deadline-Ms: 20000")) for _ in range(3)]
        while len(world.node.driver.requests) < 3 or not busy.opened:
            await asyncio.sleep(0.01)
        a_fault().put(monkeypatch, miner_endpoint.MinerTunnel, "open")
        await world.miner(1).join()
        done, _ = await asyncio.wait(asked, timeout=15, return_when=asyncio.FIRST_COMPLETED)
        while sum(task.done() for task in asked) < 2:
            await asyncio.sleep(0.01)
        assert sorted(task.result().status for task in asked if task.done()) == [200, 500]
        await busy.leave()
        assert sorted([(await task).status for task in asked]) == [200, 200, 500]
        assert done


async def test_a_body_that_cannot_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the request's own disk: no miner is blamed for it, and none is asked again."""
    async with a_world(tmp_path) as world:
        miner = await world.miner(serve=support.echo).join()
        fault = a_bad_disk(always=True).put(monkeypatch, bodies.RequestBody, "read")
        assert_internal(await world.call("POST", "/noop", body=b"x" * 200_000))
        monkeypatch.undo()
        assert fault.raised >= 1
        assert len(miner.opened) <= 1
        assert miner.closed is None


# --- CancelAttempt ---


@breaks(commands.CancelAttempt)
async def test_a_miner_that_cannot_be_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would work on while its slot counts as free: its tunnel ends, and another one takes its place."""
    async with a_world(tmp_path) as world:
        miner = await world.miner(serve=support.never).join()
        _, writer = await world.connect()
        writer.write(f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode())
        while not miner.opened:
            await asyncio.sleep(0.01)
        a_fault().put(monkeypatch, miner_endpoint.MinerTunnel, "cancel")
        writer.transport.abort()
        async with asyncio.timeout(15):
            while miner.closed is None:
                await asyncio.sleep(0.01)
        assert miner.closed.code == 1011
        assert await world.rows() == []
        await world.miner(1).join()


async def test_what_left_is_billed_though_its_miner_cannot_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N-39: the figures of a cut answer come, whatever becomes of the tunnel."""

    async def stream(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        miner.tunnel.head(opened.stream, messages.Head(200, (), 1_000_000))
        await miner.link.send_data(opened.stream, b"x" * 200_000)
        await asyncio.sleep(3_600)

    work = config.WorkSettings(host="127.0.0.1", port=0, held_bytes=10_000)
    async with a_world(tmp_path, work=work) as world:
        miner = await world.miner(serve=stream).join()
        reader, writer = await world.connect()
        writer.write(f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(100_000)
        a_fault().put(monkeypatch, miner_endpoint.MinerTunnel, "cancel")
        writer.transport.abort()
        async with asyncio.timeout(15):
            while miner.closed is None or world.node.driver.requests:
                await asyncio.sleep(0.01)
        (row,) = await world.rows()
        state = json.loads((await world.call("GET", f"/requests/{row['row_id']}")).body)
        assert (state["ended"], int(row["usage_fee_nano_eur"]) > 0) == ("cancelled", True)
        await world.miner(1).join()


# --- CloseMiner, ReportError ---


@breaks(commands.CloseMiner)
async def test_a_miner_that_cannot_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request of the silent one goes to the other all the same, and nothing more to the silent one."""

    async def silent(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        await asyncio.sleep(3_600)

    async with a_world(tmp_path) as world:
        bad = await world.miner(0, serve=silent, slots=1).join()
        asked = asyncio.create_task(world.call("GET", "/noop"))
        while not bad.opened:
            await asyncio.sleep(0.01)
        await world.miner(1, slots=1).join()
        a_fault().put(monkeypatch, miner_endpoint.MinerTunnel, "close")
        assert (await asked).status == 200
        assert world.node.driver.broken == {commands.CloseMiner: 1}
        assert [(await world.call("GET", "/noop")).status for _ in range(3)] == [200] * 3
        assert len(bad.opened) == 1


@breaks(commands.ReportError)
async def test_a_report_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = a_fault().put(monkeypatch, app, "_report")
    async with a_world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"x", cpu_ns=10**15)).join()
        assert (await world.call("GET", "/noop")).status == 200
        assert fault.raised == 1
        assert len(await world.rows()) == 1


# --- RecordRow: every step before the spool has the row ---


class Welcomed:
    """Central's word, gone."""

    welcome = None


@breaks(commands.RecordRow)
@pytest.mark.parametrize("step", ["identity", "salt", "signature", "spool", "too long"])
async def test_a_row_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """N-24: no row, no charge, no answer: said at once, not after the deadline."""
    async with support.world(tmp_path) as world:
        await world.miner().join()
        recorder = world.node.recorder
        match step:
            case "identity":
                monkeypatch.setattr(recorder, "_identity", Welcomed())
            case "salt":
                monkeypatch.setattr(recorder, "_random", type("Random", (), {"take": recorder._random.take})())
                a_fault().put(monkeypatch, recorder._random, "take")
            case "signature":
                signer = recorder._signer
                monkeypatch.setattr(recorder, "_signer", type("Signs", (), {"sign": signer.sign})())
                a_fault().put(monkeypatch, recorder._signer, "sign")
            case "spool":
                a_bad_disk().put(monkeypatch, recorder._spool, "put")
            case "too long":
                Fault(ValueError("a record of 10 bytes; at most 9 fit")).put(monkeypatch, recorder._spool, "put")
        request_id = "ab" * 16
        reply = await world.call("GET", "/noop", f"CGN-Request-Id: {request_id}", "CGN-Deadline-Ms: 30000")
        assert_internal(reply)
        assert "cgn-fee-nano-eur" not in reply.headers
        await nothing_is_held(world)
        assert world.node.driver.broken == {commands.RecordRow: 1}
        monkeypatch.undo()
        assert await world.rows() == []
        again = await world.call("GET", "/noop", f"CGN-Request-Id: {request_id}")
        assert again.status == 200, "what was not charged may be sent again under its id"
        assert [row["row_id"] for row in await world.rows()] == [request_id]


async def test_a_row_that_is_durable_is_answered_whatever_its_notes_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_world(tmp_path) as world:
        await world.miner().join()
        a_fault().put(monkeypatch, world.node.recorder, "_note")
        assert (await world.call("GET", "/noop")).status == 200
        assert len(await world.rows()) == 1


# --- Release, Refuse ---


@breaks(commands.Release)
@pytest.mark.parametrize("where", ["_cost_headers", "answer"])
async def test_an_answer_that_cannot_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The row is durable: the DApp is told that it was charged and where it can see what for."""
    async with a_world(tmp_path) as world:
        await world.miner().join()
        if where == "answer":
            a_fault().put(monkeypatch, http_server.Exchange, where)
        else:
            a_fault().put(monkeypatch, WorkRequest, where)
        reply = await world.call("GET", "/noop")
        assert_internal(reply)
        request_id = reply.headers["cgn-request-id"]
        assert f"GET /requests/{request_id}" in reply.problem["detail"]
        assert [row["row_id"] for row in await world.rows()] == [request_id]


@breaks(commands.Refuse)
async def test_a_refusal_that_cannot_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left but the cut, at once."""
    async with a_world(tmp_path) as world:
        await world.miner().join()
        a_fault().put(monkeypatch, http_server.Exchange, "refuse")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await world.call("GET", "/noop", "CGN-Tier: 3")


@pytest.mark.parametrize("what", ["close", "sha256"])
async def test_a_body_that_fails_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.echo).join()
        a_bad_disk().put(monkeypatch, bodies.RequestBody, what)
        reply = await world.call("POST", "/noop", body=b"x" * 10)
        assert reply.status == (200 if what == "close" else 500)
        await nothing_is_held(world)
        assert (await world.call("GET", "/noop")).status == 200


# --- the core itself, and what is before it ---


@pytest.mark.parametrize("kind", [events.RequestArrived, events.Acknowledged, events.AttemptFinished])
async def test_an_error_of_the_core_ends_the_request_it_was_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    async with support.world(tmp_path) as world:
        await world.miner().join()
        handlers = world.node.driver.broker._handlers
        handler = handlers[kind]

        def broken(event: Any, out: Any) -> None:
            handlers[kind] = handler
            raise RuntimeError("a mistake of ours")

        handlers[kind] = broken
        assert_internal(await world.call("GET", "/noop", "CGN-Deadline-Ms: 1500"))
        assert world.node.driver.requests == {}
        assert (await world.call("GET", "/noop")).status == 200
        await nothing_is_held(world)  # what the core still held ends by its deadline


@pytest.mark.parametrize("where", ["_made", "_admit"])
async def test_an_error_before_the_broker_gives_back_what_was_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async with a_world(tmp_path) as world:
        await world.miner().join()
        a_fault().put(monkeypatch, world.node.work, where)
        reply = await world.call("GET", "/noop")
        assert (reply.status, reply.problem["code"]) == (500, "internal")
        a_fault().put(monkeypatch, world.node.work, where)
        reply = await world.call("GET", "/noop", "CGN-Request-Id: " + "cd" * 16)
        assert (reply.status, reply.problem["code"]) == (500, "internal")


async def test_an_error_while_a_miner_speaks_ends_its_request_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others of the same tunnel go on."""
    go = asyncio.Event()

    async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        if opened.message.target == "/noop/waits":
            await go.wait()
        await miner.answer(opened, [b"x"])

    async with a_world(tmp_path) as world:
        miner = await world.miner(serve=serve).join()
        waits = asyncio.create_task(world.call("GET", "/noop/waits"))
        while not miner.opened:
            await asyncio.sleep(0.01)
        for name in ("head", "data", "whole"):
            a_fault().put(monkeypatch, bodies.ResponseBody, name)
            assert_internal(await world.call("GET", "/noop"))
        go.set()
        assert (await waits).body == b"x"
        assert miner.closed is None


# --- what is held on disk ---


async def read_reply_cut(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head, and all that came before the end of the connection."""
    head, got = await reader.readuntil(b"\r\n\r\n"), b""
    try:
        while data := await reader.read(1 << 16):
            got += data
    except ConnectionError:
        pass
    return head, got


@asynccontextmanager
async def answers_on_disk(folder: Path, monkeypatch: pytest.MonkeyPatch, **work: Any) -> AsyncIterator[support.World]:
    """All responses wait in files."""
    monkeypatch.setattr(bodies.HeldMemory.__init__, "__defaults__", (0,))
    settings = config.WorkSettings(host="127.0.0.1", port=0, **work)
    async with a_world(folder, work=settings) as world:
        await world.miner(serve=support.answer_with(bytes(range(256)) * 3_000)).join()
        yield world


def a_request(world: support.World, *lines: str) -> bytes:
    head = ["GET /noop HTTP/1.1", "Host: h", f"Authorization: Bearer {world.session_key}", *lines, "", ""]
    return "\r\n".join(head).encode()


@pytest.mark.parametrize("held_bytes", [MIB, 20_000])
async def test_answers_from_disk_are_whole_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_bytes: int
) -> None:
    """Held until its row, or streamed; pipelined, with lengths and in chunks; and fetched again."""
    async with answers_on_disk(tmp_path, monkeypatch, held_bytes=held_bytes) as world:
        reader, writer = await world.connect()
        writer.write(a_request(world, "CGN-Request-Id: " + "ab" * 16) + a_request(world))
        for _ in range(2):
            assert (await support.read_reply(reader)).body == bytes(range(256)) * 3_000
        writer.close()
        if held_bytes == MIB:
            again = await world.call("GET", f"/requests/{'ab' * 16}/result")
            assert again.body == bytes(range(256)) * 3_000


async def test_a_disk_that_hangs_holds_up_its_own_answer_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """N-6: one reader waits for the disk; everybody else is served meanwhile, and then he is."""
    async with answers_on_disk(tmp_path, monkeypatch) as world:
        hangs, released = threading.Event(), threading.Event()
        before = bodies.HeldFile.read

        def hanging(self: bodies.HeldFile, at: int, size: int) -> bytes:
            if not hangs.is_set():
                hangs.set()
                released.wait(30)
            return before(self, at, size)

        monkeypatch.setattr(bodies.HeldFile, "read", hanging)
        reader, writer = await world.connect()
        writer.write(a_request(world))
        await asyncio.to_thread(hangs.wait, 15)
        for _ in range(5):
            assert (await world.call("GET", "/health", endpoint="status", key="")).status == 200
            assert len((await world.call("GET", "/noop")).body) == 768_000
        released.set()
        assert (await support.read_reply(reader)).body == bytes(range(256)) * 3_000
        writer.close()


async def test_a_disk_that_hangs_holds_up_its_own_upload_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_world(tmp_path) as world:
        await world.miner(serve=support.echo).join()
        hangs, released = threading.Event(), threading.Event()
        before = bodies.RequestBody.read

        def hanging(self: bodies.RequestBody, offset: int, max_bytes: int) -> bytes:
            if not self.is_here and not hangs.is_set():
                hangs.set()
                released.wait(30)
            return before(self, offset, max_bytes)

        monkeypatch.setattr(bodies.RequestBody, "read", hanging)
        long = bytes(range(256)) * 1_000
        slow = asyncio.create_task(world.call("POST", "/noop", "CGN-Deadline-Ms: 30000", body=long))
        await asyncio.to_thread(hangs.wait, 15)
        assert (await world.call("POST", "/noop", body=b"short")).body == b"short"
        assert (await world.call("POST", "/noop", body=long)).body == long
        assert not slow.done()
        released.set()
        assert (await slow).body == long


@pytest.mark.parametrize("what", ["_unnamed_file", "_write_at"], ids=["no descriptor", "no room"])
async def test_a_full_disk_is_no_miners_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """N-11: an answer that this node cannot hold is not asked of a second miner, and none is ranked lower."""
    monkeypatch.setattr(bodies.HeldMemory.__init__, "__defaults__", (0,))
    async with a_world(tmp_path) as world:
        miners = [await world.miner(number, serve=support.answer_with(b"x" * 300_000)).join() for number in range(2)]
        full = Fault(OSError(errno.ENOSPC, "No space left on device"), always=True).put(monkeypatch, bodies, what)
        reply = await world.call("GET", "/noop")
        assert (reply.status, reply.problem["code"]) == (503, "ledger_full")
        assert "no room for bodies" in reply.problem["detail"]
        assert full.raised == 1
        assert sum(len(miner.opened) for miner in miners) == 1
        offers = [
            offer for miner in world.node.driver.broker._dispatcher.miners.values() for offer in miner.offers.values()
        ]
        assert [offer.failures for offer in offers] == [0, 0]
        assert await world.rows() == []
        monkeypatch.undo()
        assert (await world.call("GET", "/noop")).status == 200


@pytest.mark.parametrize("held_bytes", [MIB, 20_000])
async def test_a_disk_that_fails_ends_that_answer_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_bytes: int
) -> None:
    """In the middle of the answer only the cut is left; it was charged, and the DApp can see that."""
    async with answers_on_disk(tmp_path, monkeypatch, held_bytes=held_bytes) as world:
        fault = a_bad_disk(always=True).put(monkeypatch, bodies.HeldFile, "read")
        reader, writer = await world.connect()
        writer.write(a_request(world, "CGN-Request-Id: " + "ab" * 16))
        head, got = await read_reply_cut(reader)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert len(got) < 768_000
        assert fault.raised
        assert world.node.listeners[0].counters["connections that broke"] == 1
        writer.close()
        await nothing_is_held(world)
        for _ in range(100):
            if (state := await world.call("GET", f"/requests/{'ab' * 16}")).status == 200:
                break
            await asyncio.sleep(0.05)
        assert json.loads(state.body)["ended"] == ("whole" if held_bytes == MIB else "cancelled")
        monkeypatch.setattr(bodies.HeldFile, "read", lambda self, at, size: b"\0" * size)


def held_files(folder: Path) -> int:
    """Unnamed files of bodies that this process has open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += str(link.readlink()).startswith(str(folder)) and "bodies" in str(link.readlink())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("memory", [0, 8 * MIB], ids=["in files", "in memory"])
@pytest.mark.parametrize("ending", ["whole", "gone", "deadline", "bad answer", "miner lost", "streamed"])
async def test_what_was_held_is_given_back_when_its_request_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, memory: int
) -> None:
    """N-6: at once, and not when the collector happens to come by: it is switched off here."""
    monkeypatch.setattr(bodies.HeldMemory.__init__, "__defaults__", (memory,))
    enough = asyncio.Event()

    async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        if ending == "whole" or opened.message.target == "/noop/last":
            await miner.answer(opened, [b"x" * 300_000])
            return
        miner.tunnel.head(opened.stream, messages.Head(200, (), 900_000))
        await miner.link.send_data(opened.stream, b"x" * 300_000)
        enough.set()
        if ending == "bad answer":
            miner.tunnel.data(opened.stream, b"", end=True)
            miner.done(opened, b"x" * 300_000)
        await asyncio.Event().wait()

    held_bytes = 20_000 if ending == "streamed" else MIB
    work = config.WorkSettings(host="127.0.0.1", port=0, held_bytes=held_bytes)
    async with support.world(tmp_path, work=work) as world:
        held_memory = world.node.work._held_memory
        gc.disable()
        try:
            for number in range(3):
                miner = await world.miner(number, serve=serve).join()
                enough.clear()
                reader, writer = await world.connect()
                upload = b"y" * 200_000
                head = f"POST /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n"
                head += f"CGN-Deadline-Ms: 2500\r\nContent-Length: {len(upload)}\r\n\r\n"
                writer.write(head.encode() + upload)
                if ending not in ("whole", "deadline"):
                    await asyncio.wait_for(enough.wait(), 20)
                if ending == "miner lost":
                    await miner.leave()
                if ending in ("gone", "streamed"):
                    writer.close()
                else:
                    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
                    writer.close()
                await nothing_is_held(world)
                if ending != "miner lost":
                    await miner.leave()
            async with asyncio.timeout(10):
                while held_files(tmp_path) or held_memory.left != memory:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{held_files(tmp_path)} files, {memory - held_memory.left} bytes of memory are held")
        finally:
            gc.enable()
