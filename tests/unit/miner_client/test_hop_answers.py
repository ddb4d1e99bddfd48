"""Answers of a DService to the letter (RFC 9110, RFC 9112), over a real UNIX socket, with the bytes cut in every way."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from cgn_sdk.protocol.errors import ANSWER_RULES
from dservice_answers import ANSWERS, Answer

from miner_client import hop as hop_module
from miner_client.core.exchange import BadAnswer, response_head
from miner_client.hop import Hop, HopFailed

CUTTINGS = ("whole", "head and rest", "before the end of lines", "byte by byte", "by chance")
LONG_BYTES = 2_000
"""Longer answers are not sent byte by byte."""


def cut(raw: bytes, cutting: str) -> Iterator[bytes]:
    if cutting == "head and rest":
        end = raw.find(b"\r\n\r\n") + 4
        yield from (raw[:end], raw[end:])
    elif cutting == "before the end of lines":
        start = 0
        while (at := raw.find(b"\n", start + 1)) > 0 and start < LONG_BYTES:
            yield raw[start:at]
            start = at
        yield raw[start:]
    elif cutting == "byte by byte":
        step = 1 if len(raw) <= LONG_BYTES else 4_096
        yield from (raw[at : at + step] for at in range(0, len(raw), step))
    elif cutting == "by chance":
        chance = random.Random(len(raw))
        at = 0
        while at < len(raw):
            size = chance.randrange(1, 40 if len(raw) <= LONG_BYTES else 20_000)
            yield raw[at : at + size]
            at += size
    else:
        yield raw


class RawDService:
    """Answers the first request of each connection with these bytes, piece by piece, each read by itself."""

    def __init__(self, path: Path, answer: Answer, cutting: str) -> None:
        self.path = path
        self.answer = answer
        self.cutting = cutting
        self.all_sent = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for piece in cut(self.answer.raw, self.cutting):
                writer.write(piece)
                await writer.drain()
                for _ in range(3):  # both ends live in this loop: the other one reads this piece before the next
                    await asyncio.sleep(0)
            self.all_sent.set()
            if not self.answer.closes:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.all_sent.set()
            writer.close()


@pytest.mark.parametrize("cutting", CUTTINGS)
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
async def test_answers_to_the_letter(
    tmp_path: Path, answer: Answer, cutting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hop_module, "UNANNOUNCED_SILENCE_S", 0.05)
    dservice = RawDService(tmp_path / "raw.sock", answer, cutting)
    server = await asyncio.start_unix_server(dservice.serve, dservice.path)
    hop = Hop(dservice.path)
    try:
        async with asyncio.timeout(60):
            if answer.rule:
                assert await broken_rule(hop, answer) == answer.rule
            else:
                await arrives(hop, answer, dservice.all_sent)
    finally:
        await hop.close()
        server.close()


async def broken_rule(hop: Hop, answer: Answer) -> str:
    try:
        response = await hop.request(answer.method, "/", [], None)
        response_head(response.status, response.headers, response.body_bytes)
        await response.whole(1 << 20)
    except BadAnswer as bad:
        return bad.rule
    except HopFailed as failed:
        return "cut_short" if failed.code == "closed" else failed.code  # what the miner says of one that goes on
    return ""


async def arrives(hop: Hop, answer: Answer, all_sent: asyncio.Event) -> None:
    response = await hop.request(answer.method, "/", [], None)
    head, metadata = response_head(response.status, response.headers, response.body_bytes)
    assert head.status == answer.status
    assert dict(head.headers) == answer.headers
    assert head.body_bytes == answer.length
    assert metadata == {}
    assert await response.whole(1 << 20) == answer.body
    await all_sent.wait()  # with what stands behind the answer
    for _ in range(3):
        await asyncio.sleep(0)
    assert bool(hop._idle) is answer.is_kept


def test_the_table_breaks_every_rule() -> None:
    assert {answer.rule for answer in ANSWERS} == {"", *ANSWER_RULES}
    assert len({answer.name for answer in ANSWERS}) == len(ANSWERS) >= 40
