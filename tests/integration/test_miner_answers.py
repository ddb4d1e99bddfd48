"""What a DService answers, carried by a miner to a node: right answers arrive, wrong ones are the DService's failure at
once, with the rule that was broken, and cost nobody else anything (M-5, N-11)."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from cgn_sdk.protocol.messages import Cancel, Capabilities
from cgn_sdk.signing import Signer
from dservice_answers import ANSWERS, Answer
from false_node import AttemptFailed, FalseNode, false_node

from miner_client import hop
from miner_client.client import Client, Identity
from miner_client.core.slots import Slots
from miner_client.dservice import DService
from miner_client.runner import DServiceSettings

RAW = Path(__file__).resolve().parents[1] / "support/raw_dservice.py"
TARGET_MAX = 8_000


@contextlib.asynccontextmanager
async def a_miner_of_raw_answers(tmp_path: Path) -> AsyncIterator[tuple[FalseNode, DService, Client]]:
    dservice = DService(DServiceSettings("raw", "1", command=(sys.executable, str(RAW))), tmp_path / "raw")
    async with false_node(0) as node:
        client = Client(
            f"ws://127.0.0.1:{node.port}/tunnel",
            None,
            Identity("con_a", "min_a", "k", Signer(bytes(32))),
            capabilities=Capabilities(1, 1, 1),
            dservices={"raw": dservice},
            slots=Slots(4),
        )
        tasks = [asyncio.create_task(dservice.run())]
        assert await dservice.wait_ready(30)
        tasks.append(asyncio.create_task(client.run()))
        await node.arrived.wait()
        try:
            yield node, dservice, client
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def target(answer: Answer) -> str:
    return f"/?close={int(answer.closes)}&raw={answer.raw.hex()}"


async def test_every_answer_through_one_miner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hop, "UNANNOUNCED_SILENCE_S", 0.1)
    async with a_miner_of_raw_answers(tmp_path) as (node, dservice, client):
        for answer in ANSWERS:
            if len(target(answer)) > TARGET_MAX:
                continue
            call = node.open(target(answer), method=answer.method, dservice="raw")
            if answer.rule:
                with pytest.raises(AttemptFailed) as failed:
                    await call.whole()
                assert (failed.value.code, failed.value.rule) == ("dservice_protocol", answer.rule), answer.name
                assert failed.value.detail, answer.name
            else:
                assert await call.whole() == answer.body, answer.name
                head, statement = call.head.result(), (await call.done).statement
                assert (head.status, dict(head.headers)) == (answer.status, answer.headers), answer.name
                assert head.body_bytes == answer.length, answer.name
                assert (statement.status, statement.response_bytes) == (answer.status, len(answer.body)), answer.name
        assert dservice.restarts == 0
        assert len(node.hellos) == 1, "no answer costs the miner its tunnel"
        assert client.in_flight == 0


async def test_one_that_ends_is_not_one_that_breaks_off(tmp_path: Path) -> None:
    """Another miner may do what a process that died could not; what a living one broke off would break there too."""
    async with a_miner_of_raw_answers(tmp_path) as (node, dservice, _):
        with pytest.raises(AttemptFailed) as failed:
            await node.call("/?end=3", dservice="raw")
        assert (failed.value.code, failed.value.rule) == ("dservice_crashed", "")
        assert await node.call("/", dservice="raw") == b"ready"
        assert dservice.restarts == 1


async def test_two_attempts_of_one_request_are_told_apart(tmp_path: Path) -> None:
    """N-20: the statement of each is about its own bytes and its own use, whatever runs beside it; also after a third
    was cancelled under the same id."""
    async with a_miner_of_raw_answers(tmp_path) as (node, _, _):
        bodies = {1: b"one", 2: b"the second"}
        calls = {}
        for attempt, body in bodies.items():
            raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            answer = Answer("", raw)
            calls[attempt] = node.open(target(answer), method="POST", dservice="raw", attempt=attempt, body=None)
        cancelled = node.open("/", method="POST", dservice="raw", attempt=3, body=None)
        assert node.link is not None
        for attempt, call in calls.items():
            node.link.tunnel.data(call.stream, bytes(attempt), end=True)
        node.link.tunnel.cancel(cancelled.stream, Cancel())
        node.link.flush()
        for attempt, call in reversed(calls.items()):
            assert await call.whole() == bodies[attempt]
            statement = (await call.done).statement
            assert statement.attempt == attempt
            assert statement.request_bytes == attempt
            assert statement.response_bytes == len(bodies[attempt])
            assert statement.response_sha256 == sha256(bodies[attempt]).hexdigest()


async def test_a_request_cancelled_in_the_message_that_opened_it_leaves_nothing(tmp_path: Path) -> None:
    """M-5: its task is cancelled before it has begun; slot, use and place are given back all the same."""
    async with a_miner_of_raw_answers(tmp_path) as (node, dservice, client):
        assert node.link is not None
        for _ in range(8):  # twice the slots
            call = node.open("/", dservice="raw")
            node.link.tunnel.cancel(call.stream, Cancel())
            node.link.flush(at_once=True)
        assert await node.call("/", dservice="raw") == b"ready"
        async with asyncio.timeout(30):
            while client.in_flight:
                await asyncio.sleep(0.01)
        assert dservice._meter.in_flight == 0


async def test_an_estimator_that_a_former_process_had_not_may_be_there_now(tmp_path: Path) -> None:
    """M-3: what was asked of a process counts for that process."""
    async with a_miner_of_raw_answers(tmp_path) as (node, dservice, _):
        former = dservice.hop
        with pytest.raises(AttemptFailed) as failed:
            await node.call("/?end=3", dservice="raw")
        assert failed.value.code == "dservice_crashed"
        assert await node.call("/", dservice="raw") == b"ready"
        dservice.note_no_estimator(former)
        assert dservice.has_estimator
        dservice.note_no_estimator(dservice.hop)
        assert not dservice.has_estimator


async def test_connect_is_not_passed_on(tmp_path: Path) -> None:
    """RFC 9110 section 9.3.6: an answer to CONNECT has no end, so it would hold a slot to the deadline."""
    async with a_miner_of_raw_answers(tmp_path) as (node, _, client):
        with pytest.raises(AttemptFailed) as failed:
            await node.call("/", method="CONNECT", dservice="raw")
        assert failed.value.code == "method_not_allowed"
        assert client.in_flight == 0
