"""Requests through a real node: from a DApp over the tunnel to scripted miners, and into the ledger (N-1 to N-25)."""

import asyncio
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import node_world as support
import pytest
from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import messages, tunnel
from cgn_sdk.protocol.canonical import encode
from cgn_sdk.protocol.head import NO_ROWS, Head, extend, head_findings
from cgn_sdk.protocol.receipt import Receipt, Trust, TrustedMiner, verify_receipt

from cgn_chassis.keys import load_or_create
from cgn_node import limits
from cgn_node.http1 import ChunkedDecoder
from ledger.spool import Answer, Spool, SpoolFull

MIB = 1 << 20


async def test_a_request_crosses_node_and_miner_and_leaves_a_row(tmp_path: Path) -> None:
    """N-2, N-24, N-25."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=support.echo).join()
        reply = await world.call("POST", "/noop/a?b=c", "X-Mine: 1", "CGN-Meta-Campaign: spring", body=b"data")
        assert (reply.status, reply.body) == (200, b"data")
        opened = miner.opened[0]
        assert (opened.method, opened.target, opened.dservice, opened.body_bytes) == ("POST", "/noop/a?b=c", "noop", 4)
        assert opened.headers == (("Host", "localhost"), ("X-Mine", "1"))
        (row,) = await world.rows()
        assert row["row_id"] == reply.headers["cgn-request-id"] == opened.request_id
        assert row["usage_fee_nano_eur"] == reply.headers["cgn-fee-nano-eur"]
        assert row["usage_fee_nano_cpu"] == reply.headers["cgn-fee-nano-cpu"]
        parts = {part.split(";")[0] for part in reply.headers["server-timing"].split(", ")}
        assert parts == {"queue", "match", "network", "work", "record"}
        stored = await world.node.store.get(row["row_id"])
        assert stored is not None
        assert stored.private["parts"]["custom"] == {"campaign": "spring"}
        assert stored.private["parts"]["request"]["request_sha256"] == sha256(b"data").hexdigest()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_any_method_status_and_header_passes_as_is(tmp_path: Path, method: str) -> None:
    headers = (("Content-Type", "image/x"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("CGN-Fee-Nano-Eur", "0"))
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"x", status=418, headers=headers)).join()
        reader, writer = await world.connect()
        writer.write(
            f"{method} /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
        assert head.startswith("HTTP/1.1 418 ")
        assert "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in head
        assert head.count("CGN-Fee-Nano-Eur:") == 1
        assert "CGN-Fee-Nano-Eur: 0\r\n" not in head


@pytest.mark.parametrize("declared", [True, False])
async def test_head_keeps_the_length_that_get_would_have(tmp_path: Path, declared: bool) -> None:
    """RFC 9110 8.6; whatever a miner sends behind such a head stays here."""

    async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        miner.tunnel.head(opened.stream, messages.Head(200, (), 5_000 if declared else None), end=True)
        miner.done(opened, b"")

    async with support.world(tmp_path) as world:
        await world.miner(serve=serve).join()
        reader, writer = await world.connect()
        for _ in range(2):
            writer.write(
                f"HEAD /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 200 ")
            assert ("Content-Length: 5000\r\n" in head) is declared
            assert ("Content-Length" in head) is declared
        writer.close()


async def test_refusals_before_the_body(tmp_path: Path) -> None:
    """Bad input: 401, 404 listing routes, 400 naming the header, 403, 413, 503 saying what excludes all miners."""
    async with support.world(tmp_path) as world:
        body = ("Content-Length: 100000000",)
        problem = (await world.call("POST", "/noop", *body, key="cgs_wrong")).problem
        assert problem["code"] == "not_authenticated"
        reply = await world.call("POST", "/noop", *body, key=" ")
        assert (reply.status, reply.headers["www-authenticate"]) == (401, 'Bearer realm="cgn"')
        problem = (await world.call("POST", "/nothing", *body)).problem
        assert (problem["code"], problem["routes"]) == ("unknown_dservice", ["/noop", "/other"])
        problem = (await world.call("POST", "/noop", *body, "CGN-Teir: 2")).problem
        assert (problem["code"], problem["header"]) == ("bad_header", "CGN-Teir")
        problem = (await world.call("POST", "/noop", *body, "CGN-Deadline-Ms: soon")).problem
        assert (problem["code"], problem["header"]) == ("bad_header", "CGN-Deadline-Ms")
        problem = (await world.call("POST", "/noop", *body, "CGN-Tier: 1")).problem
        assert problem["code"] == "forbidden"
        reply = await world.call("POST", "/noop", *body)
        assert (reply.problem["code"], reply.problem["constraint"]) == ("no_miner", "dservice")
        assert int(reply.headers["retry-after"]) >= 1
        await world.miner().join()
        problem = (await world.call("POST", "/noop", *body, "CGN-Tier: 3")).problem
        assert (problem["code"], problem["constraint"]) == ("no_miner", "tier")
        problem = (await world.call("POST", "/noop", "Content-Length: 2147483649")).problem
        assert problem["code"] == "body_too_large"
        assert await world.rows() == []


async def test_one_account_may_have_so_many_requests_at_once(tmp_path: Path) -> None:
    """N-6: 429 says which limit; the place is free again afterwards."""
    async with support.world(tmp_path) as world:
        world.central.accounts[support.ACCOUNT] = support.link.SessionGrant(
            support.ACCOUNT, support.public_id("e"), support.address("1"), "", ("2",), 30_000, 2
        )
        world.session_key = support.json.loads((await world.open_session()).body)["session_key"]
        go = asyncio.Event()

        async def serve(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
            miner.acknowledge(opened.stream)
            await go.wait()
            await miner.answer(opened, [b"x"])

        miner = await world.miner(serve=serve).join()
        first = [asyncio.create_task(world.call("GET", "/noop")) for _ in range(2)]
        while len(miner.opened) < 2:
            await asyncio.sleep(0.01)
        problem = (await world.call("GET", "/noop")).problem
        assert (problem["status"], problem["code"]) == (429, "concurrency_limited")
        go.set()
        assert [(await task).status for task in first] == [200, 200]
        assert (await world.call("GET", "/noop")).status == 200


# --- failures of miners that no DApp notices ------------------------------------------------------------------------


async def fail(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    miner.acknowledge(opened.stream)
    miner.tunnel.fail(opened.stream, messages.Fail("dservice_crashed", "boom"))
    miner.link.flush()


async def vanish(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    miner.acknowledge(opened.stream)
    miner.connection.transport.abort()


async def say_nothing(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    await asyncio.sleep(3600)


async def lie_about_the_bytes(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    miner.acknowledge(opened.stream)
    await miner.answer(opened, [b"bad"], response_sha256="0" * 64)


async def lie_about_the_attempt(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    miner.acknowledge(opened.stream)
    await miner.answer(opened, [b"bad"], attempt=7)


async def break_frames(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    await miner.connection.send(b"\xff\x00\x00\x00\x00\x00\x00\x01")


async def exceed_credit(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    miner.acknowledge(opened.stream)
    miner.tunnel.head(opened.stream, messages.Head(200, (), None))
    miner.link.flush()
    frame = b"\x13\x00\xff\xf8" + opened.stream.to_bytes(4, "big") + b"x" * 65_528
    for _ in range(40):
        await miner.connection.send(frame)


@pytest.mark.parametrize(
    ("misbehave", "close_code"),
    [
        (fail, None),
        (vanish, 1006),
        (say_nothing, 4408),
        (lie_about_the_bytes, None),
        (lie_about_the_attempt, None),
        (break_frames, 4400),
        (exceed_credit, 4400),
    ],
)
async def test_a_failing_miner_is_not_noticed(tmp_path: Path, misbehave: Any, close_code: int | None) -> None:
    """N-10, N-11: the request goes to another miner, is billed once, to the one whose result was used."""
    async with support.world(tmp_path) as world:
        bad = await world.miner(0, serve=misbehave, slots=1).join()
        good = await world.miner(1, serve=support.echo).join()
        reply = await world.call("POST", "/noop", body=b"z" * 200_000)
        assert len(bad.opened) == 1
        assert (reply.status, reply.body) == (200, b"z" * 200_000)
        assert good.opened[0].attempt == 2
        (row,) = await world.rows()
        stored = await world.node.store.get(row["row_id"])
        assert stored is not None
        assert stored.private["parts"]["metrics"]["statement"]["miner_id"] == good.miner_id
        if close_code is not None:
            for _ in range(100):
                if bad.closed is not None:
                    break
                await asyncio.sleep(0.01)
            assert bad.closed is not None
            assert bad.closed.code == close_code
            assert world.node.miners.counters[f"closed {close_code}"] == 1


async def test_a_wrong_seal_closes_the_miner_and_pays_nobody(tmp_path: Path) -> None:
    """Decision 0003: a result counts when the miner's signature over it holds."""
    async with support.world(tmp_path) as world:
        bad = world.miner(0, slots=1)
        bad.seal_key = signing.Signer(b"\x99" * 32)
        await bad.join()
        await world.miner(1, serve=support.answer_with(b"right")).join()
        assert (await world.call("GET", "/noop")).body == b"right"
        assert len(bad.opened) == 1
        assert bad.closed is not None
        assert bad.closed.code == 4400
        assert len(await world.rows()) == 1
        assert world.node.miners.counters["bad seals"] == 1


async def test_a_request_that_fails_everywhere_is_quarantined(tmp_path: Path) -> None:
    """N-11."""
    async with support.world(tmp_path) as world:
        miners = [await world.miner(number, serve=fail).join() for number in range(5)]
        problem = (await world.call("GET", "/noop")).problem
        assert (problem["status"], problem["code"]) == (502, "quarantined")
        assert problem["request_id"] == miners[0].opened[0].request_id
        assert await world.rows() == []


async def test_a_miner_that_acknowledges_and_never_answers_costs_the_deadline(tmp_path: Path) -> None:
    """N-7, bad input: the DApp gets 504, the miner a CANCEL, nothing is left behind."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=support.never).join()
        problem = (await world.call("GET", "/noop", "CGN-Deadline-Ms: 300")).problem
        assert (problem["status"], problem["code"]) == (504, "deadline")
        await asyncio.sleep(0.05)
        assert miner.cancelled == [1]
        assert world.node.driver.requests == {}


async def test_a_dapp_that_leaves_cancels_its_work(tmp_path: Path) -> None:
    """N-17: down to the miner, nothing billed."""
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=support.never).join()
        _, writer = await world.connect()
        writer.write(f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode())
        while not miner.opened:
            await asyncio.sleep(0.01)
        writer.close()
        for _ in range(100):
            if miner.cancelled:
                break
            await asyncio.sleep(0.01)
        assert miner.cancelled == [1]
        assert world.node.driver.requests == {}
        assert await world.rows() == []


# --- long bodies ----------------------------------------------------------------------------------------------------


def pattern(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_long_response_streams_and_its_end_waits_for_the_row(tmp_path: Path, declared: bool) -> None:
    """N-11, N-24: durable, then visible; the answer is not complete before its row is on disk."""
    whole = pattern(3 * MIB)
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(whole, declared=declared)).join()
        recorder, held = world.node.recorder, []
        real = recorder._spool

        class Slow:
            room_bytes = 1 << 40

            def put(self, data: bytes, item: Any, answer: Answer, *, alone: bool = False) -> None:
                held.append((data, item, answer))

        recorder._spool = Slow()
        reader, writer = await world.connect()
        writer.write(f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"CGN-Request-Id: " in head
        got = b""
        with suppress(TimeoutError):
            while True:
                got += await asyncio.wait_for(reader.read(65_536), 0.4)
        assert len(held) == 1
        decoder = ChunkedDecoder()
        payload = got if declared else decoder.feed(got)
        assert 2 * MIB < len(payload) < len(whole)
        assert not decoder.ended
        recorder._spool = real
        data, item, answer = held[0]
        real.put(data, item, answer)
        if declared:
            got += await reader.readexactly(len(whole) - len(got))
            assert got == whole
        else:
            assert (await reader.readuntil(b"\r\n0\r\n\r\n"))[:1] != b""
        writer.close()


async def send_some_and_vanish(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    miner.acknowledge(opened.stream)
    miner.tunnel.head(opened.stream, messages.Head(200, (), 3 * MIB))
    await miner.link.send_data(opened.stream, pattern(2 * MIB))
    await asyncio.sleep(0.1)
    miner.connection.transport.abort()


@pytest.mark.parametrize("same", [True, False])
async def test_a_stream_goes_on_with_another_miner_or_is_cut(tmp_path: Path, same: bool) -> None:
    """N-11: resumed without the DApp noticing; where the second response differs, cut rather than mixed."""
    whole = pattern(3 * MIB)
    async with support.world(tmp_path) as world:
        bad = await world.miner(0, serve=send_some_and_vanish, slots=1).join()
        task = asyncio.create_task(world.call("GET", "/noop", "CGN-Deadline-Ms: 3000"))
        while not bad.opened:
            await asyncio.sleep(0.01)
        second = whole if same else b"#" + whole[1:]
        await world.miner(1, serve=support.answer_with(second)).join()
        if same:
            reply = await task
            assert reply.body == whole
            assert len(await world.rows()) == 1
        else:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await task
            assert await world.rows() == []


async def test_a_long_upload_is_sent_again_to_the_next_miner(tmp_path: Path) -> None:
    """N-2, N-11: from the temporary file, whole."""
    sent = pattern(5 * MIB + 7)

    async def take_some_and_fail(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        got = 0
        while got < 2 * MIB:
            data, _ = await miner.bodies[opened.stream].get()
            got += len(data)
            miner.tunnel.consumed(opened.stream, len(data))
            miner.link.flush()
        miner.tunnel.fail(opened.stream, messages.Fail("dservice_crashed"))
        miner.link.flush()

    async with support.world(tmp_path) as world:
        bad = await world.miner(0, serve=take_some_and_fail, slots=1).join()
        good = await world.miner(1, serve=support.echo).join()
        chunked = b"".join(
            b"%x\r\n%b\r\n" % (len(p), p) for p in (sent[i : i + 99_999] for i in range(0, len(sent), 99_999))
        )
        reply = await world.call("PUT", "/noop", "Transfer-Encoding: chunked", body=chunked + b"0\r\n\r\n")
        assert len(bad.opened) == 1
        assert reply.body == sent
        assert good.opened[0].body_bytes in (None, len(sent))


async def test_a_miner_may_answer_before_it_has_read_the_body(tmp_path: Path) -> None:
    async def early(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        await miner.answer(opened, [b"no need"], status=413)

    async with support.world(tmp_path) as world:
        await world.miner(serve=early).join()
        reply = await world.call("POST", "/noop", body=b"x" * 3_000_000)
        assert (reply.status, reply.body) == (413, b"no need")


# --- ledger ---------------------------------------------------------------------------------------------------------


async def test_a_full_spool_refuses_work_and_bills_nothing(tmp_path: Path) -> None:
    """N-24: refused with 503, not done unbilled; in time again when there is room."""
    async with support.world(tmp_path) as world:
        await world.miner().join()
        recorder = world.node.recorder
        real = recorder._spool

        class Full:
            room_bytes = 1 << 40

            def put(self, data: bytes, item: Any, answer: Answer, *, alone: bool = False) -> None:
                answer(SpoolFull("no room"))

        recorder._spool = Full()
        problem = (await world.call("GET", "/noop")).problem
        assert (problem["status"], problem["code"]) == (503, "ledger_full")
        assert (await world.call("GET", "/noop")).problem["code"] == "ledger_full"
        assert len(world.miners[0].opened) == 1  # the second was refused at the door
        recorder._spool = real
        recorder._full_until_s = 0
        assert (await world.call("GET", "/noop")).status == 200
        assert len(await world.rows()) == 1


async def test_the_receipt_verifies_offline_and_is_the_accounts_own(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=support.answer_with(b"result")).join()
        request_id = (await world.call("GET", "/noop")).headers["cgn-request-id"]
        reply = await world.call("GET", f"/receipts/{request_id}")
        assert (reply.status, reply.headers["cgn-anchored"]) == (200, "false")
        receipt = Receipt.decode(reply.body)
        trust = Trust(
            nodes={support.public_id("n"): world.node.recorder._signer.public_key},
            miners={miner.miner_id: TrustedMiner(miner.key.public_key, support.public_id("c"))},
        )
        digest = sha256(b"result").hexdigest()
        assert verify_receipt(receipt, None, trust, keccak_256, signing.verify, response_sha256=digest) == []
        state = support.json.loads((await world.call("GET", f"/requests/{request_id}")).body)
        assert (state["state"], state["tier"]) == ("done", "2")
        other = "ent_" + "z" * 20
        world.central.accounts[other] = support.link.SessionGrant(
            other, support.public_id("o"), support.address("9"), "", ("2",), 30_000, 2
        )
        world.session_key = support.json.loads((await world.open_session(other)).body)["session_key"]
        assert (await world.call("GET", f"/receipts/{request_id}")).status == 404
        assert (await world.call("GET", f"/requests/{request_id}")).status == 404
        assert (await world.call("GET", "/receipts/nonsense")).status == 404
        assert (await world.call("POST", f"/receipts/{request_id}")).status == 405


async def test_what_the_node_signed_is_kept_and_anybody_can_check_it(tmp_path: Path) -> None:
    """L-12: the signature stays with the row and is the receipt's; the public page names key and newest head."""
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"result")).join()
        request_id = (await world.call("GET", "/noop")).headers["cgn-request-id"]
        receipt = Receipt.decode((await world.call("GET", f"/receipts/{request_id}")).body)
        await world.rows()
        [stored] = await world.node.store.read(0, 10)
        page: dict[str, Any] = {}
        for _ in range(500):
            page = support.json.loads((await world.call("GET", "/status", endpoint="status", key="")).body)
            if page["ledger_head"]:
                break
            await asyncio.sleep(0.02)
        key = bytes.fromhex(page["public_key"])
        assert signing.verify(key, "row", stored.row_hash, stored.node_signature)
        assert receipt.node_signature == stored.node_signature
        head = Head.decode(encode(page["ledger_head"]))
        assert head_findings(head, {page["node_id"]: key}, signing.verify) == []
        assert (head.last_ingest, head.commitment) == (1, extend(NO_ROWS, [stored.row_hash], keccak_256))
        assert await world.node.store.heads() == [head]


async def test_what_the_spool_dropped_at_the_start_is_said(tmp_path: Path) -> None:
    """N-24: bytes that were no whole group are kept, counted, and hold nothing up."""
    spool = await Spool.open(tmp_path / "state/spool")
    load_or_create(tmp_path / "state/node.pem")  # what signed the row
    await spool.append(b"a row that was torn, or damaged afterwards")
    spool._broken = OSError("killed")
    await spool.close()
    [path] = (tmp_path / "state/spool").glob("*.spool")
    path.write_bytes(path.read_bytes().replace(b"torn", b"worn"))
    async with support.world(tmp_path) as world:
        await world.miner(serve=support.answer_with(b"result")).join()
        [kept] = (tmp_path / "state/spool").glob("*.damaged")
        assert b"worn" in kept.read_bytes()
        assert world.node.recorder.dropped_bytes == kept.stat().st_size
        assert (await world.call("GET", "/noop")).status == 200
        assert len(await world.rows()) == 1


async def test_a_request_id_counts_once(tmp_path: Path) -> None:
    """Billed at most once: a repeated id is refused while it runs and when it is done."""
    async with support.world(tmp_path) as world:
        miner = await world.miner().join()
        mine = "CGN-Request-Id: " + "ab" * 16
        assert (await world.call("GET", "/noop", mine)).headers["cgn-request-id"] == "ab" * 16
        problem = (await world.call("GET", "/noop", mine)).problem
        assert (problem["status"], problem["code"]) == (409, "duplicate_request")
        await world.rows()
        world.node.recorder._ids.clear()
        assert (await world.call("GET", "/noop", mine)).status == 409  # known from the store too
        assert len(miner.opened) == 1


async def test_held_bytes_is_a_setting(tmp_path: Path) -> None:
    settings = support.config.WorkSettings(host="127.0.0.1", port=0, held_bytes=1000)
    async with support.world(tmp_path, work=settings) as world:
        await world.miner(serve=support.answer_with(b"x" * 2000)).join()
        reply = await world.call("GET", "/noop")
        assert reply.body == b"x" * 2000
        assert "cgn-fee-nano-eur" not in reply.headers
        assert limits.RESPONSE_TAIL_BYTES >= 1
