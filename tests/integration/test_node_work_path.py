"""What a request may take, what it costs when it does not come to its end, and who is to blame (N-10, N-11, N-16, N-17,
N-22, N-39), over real TLS with miners whose every step is scripted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import node_world as support
import pytest
from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import frames, messages, tunnel
from cgn_sdk.protocol.receipt import Receipt, Trust, verify_receipt

from cgn_node import http_server, limits

MIB = 1 << 20
PIECE = 50_000
RESULT_ID = "CGN-Request-Id: " + "ab" * 16


@asynccontextmanager
async def quick_world(folder: Path) -> AsyncIterator[support.World]:
    """Silence is noticed after a second."""
    miner = support.config.MinerSettings(host="127.0.0.1", port=0, acknowledge_ms=400, silence_ms=1_000)
    async with support.world(folder, miner=miner) as world:
        yield world


async def until(holds: Any) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")


def say(miner: support.ScriptedMiner, opened: tunnel.Opened, **used: int) -> None:
    miner.tunnel.progress(opened.stream, messages.Progress(**used))
    miner.link.flush()


async def row_of(world: support.World) -> tuple[dict[str, Any], dict[str, Any]]:
    """(public columns, private parts) of the only row."""
    (public,) = await world.rows()
    stored = await world.node.store.get(public["row_id"])
    assert stored is not None
    return public, stored.private["parts"]


def streaming(count: int, pause_s: float = 0.0, *, says: bool = True) -> support.Serve:
    """An answer of unknown length in that many pieces, with signs of life or none."""

    async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        miner.tunnel.head(opened.stream, messages.Head(200, (), None))
        for number in range(count):
            await miner.link.send_data(opened.stream, bytes([number % 256]) * PIECE)
            if says:
                say(miner, opened, cpu_ns=1_000)
            await asyncio.sleep(pause_s)
        miner.tunnel.data(opened.stream, b"", end=True)
        body = b"".join(bytes([number % 256]) * PIECE for number in range(count))
        miner.done(opened, body)

    return serve


async def read_until_cut(reader: asyncio.StreamReader) -> bytes:
    """The bytes of a chunked answer that was cut."""
    await reader.readuntil(b"\r\n\r\n")
    got = b""
    try:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            got += await reader.readexactly(size)
            await reader.readexactly(2)
    except (asyncio.IncompleteReadError, ConnectionError):
        return got
    raise AssertionError("the answer was taken for whole")


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [False, True])
async def test_work_that_shows_life_has_its_whole_deadline(tmp_path: Path, answers: bool) -> None:
    """Four times the silence that ends a miner, before the answer and in the middle of it; another one is free."""

    async def slow(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        if answers:
            miner.tunnel.head(opened.stream, messages.Head(200, (), 5))
            miner.link.flush()
        for _ in range(20):
            await asyncio.sleep(0.2)
            say(miner, opened, cpu_ns=1_000)
        if not answers:
            miner.tunnel.head(opened.stream, messages.Head(200, (), 5))
        miner.tunnel.data(opened.stream, b"hello", end=True)
        miner.done(opened, b"hello")

    async with quick_world(tmp_path) as world:
        first = await world.miner(0, serve=slow).join()
        other = await world.miner(1).join()
        reply = await world.call("GET", "/noop")
        assert (reply.status, reply.body) == (200, b"hello")
        assert (len(first.opened), other.opened) == (1, [])
        assert first.closed is None


@pytest.mark.parametrize("passed_on", [False, True])
async def test_a_miner_that_says_nothing_costs_seconds_and_another_goes_on(tmp_path: Path, passed_on: bool) -> None:
    """Before it answers, and in the middle of an answer that has begun to leave."""
    size = 2 * MIB
    body = bytes(range(256)) * (size // 256)

    async def half(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        if passed_on:
            miner.tunnel.head(opened.stream, messages.Head(200, (), size))
            await miner.link.send_data(opened.stream, body[: size * 3 // 4])
        await asyncio.sleep(3_600)

    async with quick_world(tmp_path) as world:
        bad = await world.miner(0, serve=half).join()
        good = await world.miner(1, serve=support.answer_with(body)).join()
        reply = await world.call("GET", "/noop")
        assert (reply.status, reply.body) == (200, body)
        assert [opened.attempt for opened in good.opened] == [2]
        await until(lambda: bad.closed is not None)
        assert bad.closed is not None
        assert bad.closed.code == 4408
        public, parts = await row_of(world)
        assert parts["metrics"]["statement"]["miner_id"] == good.miner_id
        assert "ended" not in parts["metrics"]


async def test_a_done_without_its_seal_breaks_the_rules_at_once(tmp_path: Path) -> None:
    """The SEAL ends the message that holds the DONE: nobody waits for a later one."""

    async def unsealed(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        stream = opened.stream
        said = messages.Statement(
            opened.message.request_id, 1, miner.miner_id, "noop", "1", 200, sha256(b"x").hexdigest(), 1, 0, 1, 1, 1
        )
        parts = [
            frames.encode(frames.ACK, stream, b""),
            frames.encode(frames.HEAD, stream, messages.Head(200, (), 1).encode()),
            frames.encode(frames.DATA, stream, b"x", frames.END),
            frames.encode(frames.DONE, stream, messages.Done(said).encode()),
        ]
        await miner.connection.send(b"".join(parts))

    async with support.world(tmp_path) as world:
        bad = await world.miner(0, serve=unsealed).join()
        await world.miner(1, serve=support.answer_with(b"right")).join()
        assert (await world.call("GET", "/noop")).body == b"right"
        await until(lambda: bad.closed is not None)
        assert bad.closed is not None
        assert (bad.closed.code, "SEAL" in bad.closed.reason) == (4400, True)


# --- blame ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("miners", [1, 2, 3])
async def test_an_answer_that_breaks_http_is_502_at_once_and_names_the_rule(tmp_path: Path, miners: int) -> None:
    """N-11: by one miner when no other is there, else by two; never by all, and without a wait."""

    async def broken(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        miner.tunnel.fail(opened.stream, messages.Fail("dservice_protocol", "two lengths", "content_length"))
        miner.link.flush()

    async with support.world(tmp_path) as world:
        joined = [await world.miner(number, serve=broken).join() for number in range(miners)]
        problem = (await asyncio.wait_for(world.call("GET", "/noop"), 5)).problem
        assert (problem["status"], problem["code"], problem["rule"]) == (502, "bad_gateway", "content_length")
        assert "Content-Length" in problem["detail"]
        assert sum(len(miner.opened) for miner in joined) == min(miners, 2)
        state = support.json.loads((await world.call("GET", f"/requests/{problem['request_id']}")).body)
        assert (state["state"], state["problem"]["rule"]) == ("refused", "content_length")


async def test_a_failure_without_another_miner_waits_for_nobody(tmp_path: Path) -> None:
    async def crash(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        miner.tunnel.fail(opened.stream, messages.Fail("dservice_crashed"))
        miner.link.flush()

    async with support.world(tmp_path) as world:
        await world.miner(0, serve=crash).join()
        problem = (await asyncio.wait_for(world.call("GET", "/noop"), 5)).problem
        assert (problem["code"], problem["constraint"]) == ("bad_gateway", "failed")


# --- money ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("says", [True, False])
async def test_a_cap_ends_a_streamed_answer_before_it_gives_more_away(says: bool, tmp_path: Path) -> None:
    """N-22: a byte costs 1 nano-EUR here; what has left is never worth more than the cap, and the cap is paid. Also
    where the miner says nothing but its answer: the price is looked at before each piece is passed on."""
    cap = 2 * MIB
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=streaming(100, says=says)).join()
        reader, writer = await world.connect()
        head = f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n"
        writer.write(f"{head}CGN-Max-Fee-Nano-Eur: {cap}\r\n\r\n".encode())
        got = await read_until_cut(reader)
        writer.close()
        assert 0 < len(got) <= cap
        public, parts = await row_of(world)
        assert int(public["usage_fee_nano_eur"]) == cap
        assert parts["metrics"]["ended"] == "price_cap"
        assert not {"seal", "statement"} & parts["metrics"].keys()
        assert int(parts["metrics"]["billed"]["response_bytes"]) > cap
        said = parts["request"]
        assert (said["response_bytes"], said["response_sha256"]) == (str(len(got)), sha256(got).hexdigest())
        assert miner.cancelled
        state = support.json.loads((await world.call("GET", f"/requests/{public['row_id']}")).body)
        assert (state["state"], state["ended"], state["usage_fee_nano_eur"]) == ("done", "price_cap", str(cap))
        receipt = Receipt.decode((await world.call("GET", f"/receipts/{public['row_id']}")).body)
        trust = Trust({public["node_id"]: world.node.recorder._signer.public_key}, {})
        assert verify_receipt(receipt, None, trust, keccak_256, signing.verify) == []


async def test_running_use_that_passes_the_cap_is_402_at_once(tmp_path: Path) -> None:
    """The work is stopped, not waited for; the answer names price, cap and charge, and the id can be asked about."""

    async def burn(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        await asyncio.sleep(0.05)
        say(miner, opened, cpu_ns=20_000_000)
        await asyncio.sleep(3_600)

    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=burn).join()
        reply = await asyncio.wait_for(world.call("GET", "/noop", "CGN-Max-Fee-Nano-Eur: 5000", RESULT_ID), 10)
        assert (reply.status, reply.problem["code"]) == (402, "price_cap")
        assert int(reply.problem["price_nano_eur"]) > 5_000
        assert reply.headers["cgn-fee-nano-eur"] == "5000"
        assert "5000 were charged" in reply.problem["detail"]
        await until(lambda: miner.cancelled)
        public, parts = await row_of(world)
        assert (public["usage_fee_nano_eur"], parts["metrics"]["ended"], parts["request"]["status"]) == (
            "5000",
            "price_cap",
            "402",
        )
        state = support.json.loads((await world.call("GET", "/requests/" + "ab" * 16)).body)
        assert (state["ended"], state["usage_fee_nano_eur"]) == ("price_cap", "5000")


async def test_an_estimate_above_the_cap_is_402_before_the_work(tmp_path: Path) -> None:
    """Nothing is done and nothing charged; the miner was told what the cap pays for."""

    async def estimate(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        budget = opened.message.cpu_budget_ns
        assert budget is not None
        miner.acknowledge(opened.stream)
        miner.tunnel.fail(opened.stream, messages.Fail("price_cap", "dear", estimate_cpu_ns=budget * 3))
        miner.link.flush()

    async with support.world(tmp_path) as world:
        await world.miner(0, serve=estimate).join()
        await world.miner(1).join()
        reply = await world.call("GET", "/noop", "CGN-Max-Fee-Nano-Eur: 5000")
        problem = reply.problem
        assert (reply.status, problem["code"], problem["constraint"]) == (402, "price_cap", "estimate")
        assert 14_000 < int(problem["price_nano_eur"]) < 16_000
        assert "nothing was done or charged" in problem["detail"]
        state = support.json.loads((await world.call("GET", f"/requests/{problem['request_id']}")).body)
        assert (state["state"], state["problem"]["price_nano_eur"]) == ("refused", problem["price_nano_eur"])
        assert await world.rows() == []
        assert (await world.call("GET", "/noop")).status == 200


async def test_a_capped_request_within_its_cap_is_as_any_other(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"hello")).join()
        reply = await world.call("GET", "/noop", "CGN-Max-Fee-Nano-Eur: 1000000")
        assert (reply.status, reply.body) == (200, b"hello")
        public, parts = await row_of(world)
        assert public["usage_fee_nano_eur"] == reply.headers["cgn-fee-nano-eur"]
        assert "ended" not in parts["metrics"]


async def test_who_leaves_in_the_middle_of_an_answer_pays_for_what_has_left(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        await world.miner(serve=streaming(400, pause_s=0.002)).join()
        reader, writer = await world.connect()
        writer.write(f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode())
        await reader.readexactly(2 * MIB)
        writer.transport.abort()
        public, parts = await asyncio.wait_for(_first_row(world), 20)
        passed = int(parts["request"]["response_bytes"])
        assert passed > 1 * MIB
        assert parts["metrics"]["ended"] == "cancelled"
        assert int(parts["metrics"]["billed"]["response_bytes"]) == passed
        assert int(public["usage_fee_nano_eur"]) >= passed
        body = b"".join(bytes([number % 256]) * PIECE for number in range(400))
        assert parts["request"]["response_sha256"] == sha256(body[:passed]).hexdigest()


async def test_a_deadline_in_the_middle_of_an_answer_bills_what_has_left(tmp_path: Path) -> None:
    """A stream without an end is not free because it has none."""
    async with support.world(tmp_path) as world:
        await world.miner(serve=streaming(4_000, pause_s=0.005)).join()
        reader, writer = await world.connect()
        head = f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n"
        writer.write(f"{head}CGN-Deadline-Ms: 1500\r\n\r\n".encode())
        got = await read_until_cut(reader)
        writer.close()
        public, parts = await row_of(world)
        assert parts["metrics"]["ended"] == "deadline"
        assert (int(parts["request"]["response_bytes"]), parts["request"]["response_sha256"]) == (
            len(got),
            sha256(got).hexdigest(),
        )


async def _first_row(world: support.World) -> tuple[dict[str, Any], dict[str, Any]]:
    while not await world.rows():
        await asyncio.sleep(0.02)
    return await row_of(world)


def of_another_length(declared: int, size: int) -> support.Serve:
    """Streams `size` bytes under a head that says `declared`; statement and seal are true of what was sent."""

    async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        miner.tunnel.head(opened.stream, messages.Head(200, (), declared))
        for at in range(0, size, PIECE):
            await miner.link.send_data(opened.stream, b"x" * min(PIECE, size - at))
        if miner.tunnel.is_open(opened.stream):
            miner.tunnel.data(opened.stream, b"", end=True)
            miner.done(opened, b"x" * size)

    return serve


@pytest.mark.parametrize(("declared", "size"), [(3 * MIB, 2 * MIB), (2 * MIB, 3 * MIB), (10, 5), (5, 10)])
async def test_an_answer_of_another_length_than_its_head_says_is_nobodys_debt(
    tmp_path: Path, declared: int, size: int
) -> None:
    """Before it has begun to leave another miner answers; after, it is cut. No row, and all that the request was
    counted under is given back."""
    async with support.world(tmp_path) as world:
        bad = await world.miner(0, serve=of_another_length(declared, size)).join()
        good = await world.miner(1, serve=support.answer_with(b"right")).join()
        reader, writer = await world.connect()
        writer.write(f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode())
        if size < MIB:
            assert (await support.read_reply(reader)).body == b"right"
        else:
            await reader.readuntil(b"\r\n\r\n")
            got = b""
            with suppress(ConnectionError):
                while data := await asyncio.wait_for(reader.read(1 << 18), 20):
                    got += data
            assert len(got) < declared
        writer.close()
        await until(lambda: not world.node.driver.requests and not world.node.work._by_address)
        assert (len(bad.opened), len(good.opened), bad.closed) == (1, 1, None)
        assert len(await world.rows()) == (1 if size < MIB else 0)
        assert [account.running for account in world.node.work._sessions._accounts.values()] == [0]


async def test_an_answer_in_two_byte_frames_leaves_in_few_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a miner cuts small is joined, held or passing: neither objects nor TLS records go by its frames."""
    size, written, held = MIB + 100_000, [], []
    write = http_server.Exchange.write

    def counted(exchange: http_server.Exchange, data: bytes) -> bool:
        written.append(len(data))
        held.extend(len(request.response._held) for request in world.node.driver.requests.values())
        return write(exchange, data)

    async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        miner.tunnel.head(opened.stream, messages.Head(200, (), size))
        frame = frames.encode(frames.DATA, opened.stream, b"xy")
        for at in range(0, size, 20_000):
            while miner.tunnel.writable(opened.stream) < 20_000:
                await asyncio.sleep(0.001)
            miner.tunnel._streams[opened.stream].send_credit -= min(20_000, size - at)
            miner.link.flush(at_once=True)
            await miner.connection.send(frame * (min(20_000, size - at) // 2))
        miner.tunnel.data(opened.stream, b"", end=True)
        miner.done(opened, b"xy" * (size // 2))

    monkeypatch.setattr(http_server.Exchange, "write", counted)
    async with support.world(tmp_path) as world:
        await world.miner(serve=serve).join()
        reply = await world.call("GET", "/noop")
        assert (reply.status, reply.body) == (200, b"xy" * (size // 2))
        assert (sum(written), len(written) < 300, max(held) < 40) == (size, True, True)


@pytest.mark.parametrize("declared", [None, 5])
async def test_a_request_whose_answer_cannot_be_completed_is_over(
    tmp_path: Path, declared: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is durable and its answer cannot be read back: it says so, and what it held is given back."""

    def broken(self: object) -> bytes:
        raise OSError(5, "Input/output error")

    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"hello", declared=declared is not None)).join()
        monkeypatch.setattr("cgn_node.work_request.ResponseBody.finish", broken)
        reply = await world.call("GET", "/noop")
        assert (reply.status, reply.problem["code"]) == (500, "internal")
        assert f"GET /requests/{reply.headers['cgn-request-id']}" in reply.problem["detail"]
        await until(lambda: not world.node.driver.requests and not world.node.work._by_address)
        monkeypatch.undo()
        assert (await world.call("GET", "/noop")).body == b"hello"


# --- results that were paid for ---------------------------------------------------------------------------------------


async def test_a_paid_result_whose_reader_was_gone_can_be_fetched(tmp_path: Path) -> None:
    """By the account that paid, for a while; what brought no id of its own is not kept."""
    go = asyncio.Event()

    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"precious", headers=(("X-Kind", "gem"),))).join()
        record = world.node.recorder.record

        def later(*work: Any) -> None:
            record(*work)
            go.set()

        world.node.work._recorder.record = later  # type: ignore[method-assign]
        reader, writer = await world.connect()
        writer.write(
            f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n{RESULT_ID}\r\n\r\n".encode()
        )
        await go.wait()
        writer.transport.abort()
        await until(lambda: not world.node.driver.requests)
        repeat = await world.call("GET", "/noop", RESULT_ID)
        assert (repeat.status, "/result" in repeat.problem["detail"]) == (409, True)
        reply = await world.call("GET", "/requests/" + "ab" * 16 + "/result")
        assert (reply.status, reply.body, reply.headers["x-kind"]) == (200, b"precious", "gem")
        assert int(reply.headers["cgn-fee-nano-eur"]) > 0
        assert len(await world.rows()) == 1
        other = "ent_" + "z" * 20
        world.central.accounts[other] = support.link.SessionGrant(
            other, support.public_id("o"), support.address("9"), "", ("2",), 30_000, 2
        )
        others_key = support.json.loads((await world.open_session(other)).body)["session_key"]
        assert (await world.call("GET", "/requests/" + "ab" * 16 + "/result", key=others_key)).status == 404
        unnamed = (await world.call("GET", "/noop")).headers["cgn-request-id"]
        assert (await world.call("GET", f"/requests/{unnamed}/result")).status == 404
        world.node.work._results._keep_ms = 0  # an idle node gives their memory back, without being asked for any
        assert (await world.call("GET", "/noop", "CGN-Request-Id: " + "cd" * 16)).status == 200
        world.node.work._forget_results()
        assert world.node.work._results.bytes > 0, "the first has time left, and the second stands behind it"
        assert world.node.work._forgetting is not None


def test_kept_results_are_bounded_by_age_and_bytes() -> None:
    from cgn_node.results import Results

    results = Results(max_bytes=3 * (limits.RESULT_OVERHEAD_BYTES + 10), keep_ms=1_000)
    for number in range(4):
        results.put(f"r{number}", "ent_a", 200, [], [b"x" * 10], number)
    kept = [results.get(f"r{number}", "ent_a", 3) is not None for number in range(4)]
    assert kept == [False, True, True, True]
    assert results.get("r3", "ent_b", 3) is None
    assert results.get("r2", "ent_a", 1_001) is not None
    assert results.get("r1", "ent_a", 1_001) is None
    assert results.get("r3", "ent_a", 1_003) is None
    assert results.bytes == 0


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_content_that_nobody_can_get_is_a_bad_answer(tmp_path: Path, status: int) -> None:
    """What HTTP cannot carry to the DApp is not sold to it either."""
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"paid for in vain", status=status)).join()
        assert (await world.call("GET", "/noop")).problem["code"] == "bad_gateway"
        assert await world.rows() == []
        await world.miner(1, serve=support.answer_with(b"", status=status)).join()
        assert (await world.call("GET", "/noop")).status == status


async def test_fields_of_the_hop_and_of_the_node_end_at_the_node(tmp_path: Path) -> None:
    """Also those a miner passes on: what `Connection` names, and a DService's own Server-Timing."""
    headers = (("Connection", "close, X-A"), ("X-A", "1"), ("X-B", "2"), ("Server-Timing", "db;dur=1"))
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"x", headers=headers)).join()
        reply = await world.call("GET", "/noop")
        assert (reply.headers.get("x-a"), reply.headers["x-b"]) == (None, "2")
        assert "db" not in reply.headers["server-timing"]
        assert "queue" in reply.headers["server-timing"]
