"""The newest head goes to Central when it has changed, and what Central says against it is an ailment (L-12)."""

import asyncio
from typing import Any, cast

import pytest
from cgn_sdk import signing
from cgn_sdk.protocol import link
from cgn_sdk.protocol.errors import Problem, ProblemError
from cgn_sdk.protocol.head import Head, sign_head
from cgn_sdk.protocol.loss import SPOOL, Loss, sign_loss

from cgn_node.central_endpoint import CentralUnreachable
from cgn_node.head_teller import HeadTeller
from ledger.heads import HeadKeeper

NODE = "p" + "a" * 26
SIGNER = signing.Signer(bytes(32))


class Heads:
    """As much of a keeper as matters here."""

    newest: Head | None = None
    losses: tuple[Loss, ...] = ()


class Central:
    """Keeps what it is told; answers with what stands in `wrong` while there is one."""

    def __init__(self) -> None:
        self.told: list[link.NodeHead] = []
        self.wrong: Exception | None = None

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert method == link.METHOD_NODE_HEAD
        self.told.append(link.NodeHead.from_params(params))
        if self.wrong is not None:
            raise self.wrong
        return link.HeadKept(self.told[-1].head.last_ingest).to_params()


def head(rows: int) -> Head:
    return sign_head(NODE, rows, bytes([rows]) * 32, rows, SIGNER.sign)


@pytest.fixture
def heads() -> Heads:
    return Heads()


@pytest.fixture
def central() -> Central:
    return Central()


@pytest.fixture
def teller(heads: Heads, central: Central) -> HeadTeller:
    return HeadTeller(cast(HeadKeeper, heads), central, SIGNER.public_key, pause_s=0.0)


async def test_each_head_is_told_once(teller: HeadTeller, heads: Heads, central: Central) -> None:
    await teller.tell()
    assert central.told == []
    for rows in (3, 7):
        heads.newest = head(rows)
        await teller.tell()
        await teller.tell()
        assert teller.told_rows == rows
    assert [(told.head, told.public_key) for told in central.told] == [
        (head(3), SIGNER.public_key),
        (head(7), SIGNER.public_key),
    ]


async def test_the_newest_losses_go_along(teller: HeadTeller, heads: Heads, central: Central) -> None:
    heads.newest = head(3)
    heads.losses = tuple(
        sign_loss(Loss(NODE, 1, SPOOL, n, 0, b"", "", "why", "who", n, b""), SIGNER.sign)
        for n in range(1, link.LOSSES_MAX + 3)
    )
    await teller.tell()
    assert central.told[0].losses == heads.losses[-link.LOSSES_MAX :]


@pytest.mark.parametrize("code", ["unreachable", "not_found", "rate_limited", "internal"])
async def test_what_says_nothing_against_the_head_is_tried_again(
    teller: HeadTeller, heads: Heads, central: Central, code: str
) -> None:
    heads.newest = head(3)
    central.wrong = CentralUnreachable("no link") if code == "unreachable" else ProblemError(Problem(code, "not now"))
    await teller.tell()
    assert (teller.problem, teller.told_rows) == ("", 0)
    central.wrong = None
    await teller.tell()
    assert teller.told_rows == 3


async def test_a_head_that_central_does_not_keep_is_an_ailment_until_it_keeps_one(
    teller: HeadTeller, heads: Heads, central: Central
) -> None:
    heads.newest = head(3)
    central.wrong = ProblemError(Problem("conflict", "it is over fewer rows", extra={"finding": "head_lower"}))
    for _ in range(2):
        await teller.tell()
        assert teller.problem == "it is over fewer rows"
    assert len(central.told) == 2
    central.wrong = None
    await teller.tell()
    assert (teller.problem, teller.told_rows) == ("", 3)


async def test_it_tells_by_itself_and_pauses(heads: Heads, central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgn_node.limits.HEAD_LOOK_S", 0.001)
    teller = HeadTeller(cast(HeadKeeper, heads), central, SIGNER.public_key, pause_s=1_000.0)
    task = asyncio.create_task(teller.run())
    async with asyncio.timeout(20):
        await asyncio.sleep(0.01)
        heads.newest = head(1)
        while not central.told:
            await asyncio.sleep(0.001)
    heads.newest = head(2)
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert len(central.told) == 1
    task.cancel()
