"""Claims about results and verdicts on them (S-2, T-7): shapes, bounds, refusals, and the route."""

import json
from pathlib import Path

import aiohttp
import pytest
from cgn_sdk.dservice import verdicts
from cgn_sdk.dservice.estimates import Work
from cgn_sdk.dservice.framework import Request, Response, Server
from cgn_sdk.dservice.problems import Problem
from cgn_sdk.dservice.verdicts import Claim, Verdict, claim_of, verdict_of

CLAIM = Claim(
    Work("POST", "/mgen/io?script=x", {"accept": "a\nb"}, 4),
    b"result\n",
    "screen",
    201,
    {"content-type": "image/jpeg"},
    b"\n\0up",
)


def test_a_claim_and_a_verdict_survive_the_wire() -> None:
    assert claim_of(CLAIM.encoded()) == CLAIM
    verdict = Verdict("disagree", "pixels", "text", ("screen", "again"))
    assert verdict_of(json.dumps(verdict.document()).encode()) == verdict


def with_line(**changes: object) -> bytes:
    line, _, rest = CLAIM.encoded().partition(b"\n")
    return json.dumps({**json.loads(line), **changes}).encode() + b"\n" + rest


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"work": []}, "work"),
        ({"work": {}}, "target"),
        ({"headers": {"a": []}}, "headers"),
        ({"depth": ""}, "depth"),
        ({"depth": "Exact"}, "depth"),
        ({"depth": None}, "depth"),
        ({"depth": ["exact"]}, "depth"),
        ({"status": "99"}, "status"),
        ({"status": 200}, "status"),
        ({"status": None}, "status"),
        ({"sizes": ["4", "6"]}, "sizes"),
        ({"sizes": ["4", "8"]}, "sizes"),
        ({"sizes": ["4"]}, "sizes"),
        ({"sizes": [4, 7]}, "sizes"),
        ({"sizes": None}, "sizes"),
    ],
)
def test_a_malformed_claim_is_refused_by_member(changes: dict, parameter: str) -> None:
    with pytest.raises(Problem) as refused:
        claim_of(with_line(**changes))
    assert (refused.value.status, refused.value.facts["parameter"]) == (400, parameter)


@pytest.mark.parametrize("data", [b"", b"{}", b"\n", b"[]\n", b" " * (verdicts.CLAIM_LINE_MAX_BYTES + 1) + b"\n"])
def test_what_is_no_claim_is_refused(data: bytes) -> None:
    with pytest.raises(Problem):
        claim_of(data)


@pytest.mark.parametrize("data", [b"", b'{"answer": "maybe"}', b'{"answer": "agree", "checks": 5}'])
def test_what_is_no_verdict_is_refused(data: bytes) -> None:
    with pytest.raises(Problem):
        verdict_of(data)


async def test_the_route(tmp_path: Path) -> None:
    async def handle(request: Request) -> Response:
        return Response()

    async def verify(claim: Claim) -> Verdict:
        return Verdict("agree" if claim == CLAIM else "disagree")

    server, path = Server(handle, verifier=verify), str(tmp_path / "s")
    await server.start(socket_path=path)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        async with session.post(f"http://d{verdicts.PATH}", data=CLAIM.encoded()) as answer:
            assert (answer.status, verdict_of(await answer.read()).answer) == (200, "agree")
        async with session.post(f"http://d{verdicts.PATH}", data=with_line(status="202")) as answer:
            assert verdict_of(await answer.read()).answer == "disagree"
        async with session.post(f"http://d{verdicts.PATH}", data=b"{}") as answer:
            assert answer.status == 400
        async with session.post("http://d/_cgn/estimate", data=b"{}") as answer:
            assert answer.status == 404
    await server.stop()
