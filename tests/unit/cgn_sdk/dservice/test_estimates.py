"""Questions about a price estimate and their answers (S-2, N-22): shapes, bounds, refusals, and the route."""

import json
from pathlib import Path

import aiohttp
import pytest
from cgn_sdk.dservice import estimates
from cgn_sdk.dservice.estimates import ASK_MAX_BYTES, Estimate, Work, estimate_of, object_of, work_of
from cgn_sdk.dservice.framework import Request, Response, Server
from cgn_sdk.dservice.problems import Problem


def test_a_question_and_its_answer_survive_the_wire() -> None:
    work = Work("GET", "/mgen/io?script=x", {"accept": "image/webp"}, 12)
    assert work_of(object_of(json.dumps(work.document()).encode())) == work
    for estimate in (Estimate(71_000_000, 5, 6, "model 1", 250_000), Estimate(1)):
        assert estimate_of(json.dumps(estimate.document()).encode()) == estimate


@pytest.mark.parametrize(
    ("document", "parameter"),
    [
        ({}, "target"),
        ({"target": "mgen"}, "target"),
        ({"target": "/" + "a" * estimates.TARGET_MAX_CHARS}, "target"),
        ({"target": 5}, "target"),
        ({"target": "/", "method": "G T"}, "method"),
        ({"target": "/", "method": None}, "method"),
        ({"target": "/", "headers": []}, "headers"),
        ({"target": "/", "headers": {"a": 1}}, "headers"),
        ({"target": "/", "headers": {str(n): "" for n in range(estimates.HEADERS_MAX + 1)}}, "headers"),
        ({"target": "/", "body_bytes": 5}, "body_bytes"),
        ({"target": "/", "body_bytes": "-1"}, "body_bytes"),
        ({"target": "/", "body_bytes": "9223372036854775808"}, "body_bytes"),
        ({"target": "/", "body_bytes": "²"}, "body_bytes"),
    ],
)
def test_a_malformed_question_is_refused_by_member(document: dict, parameter: str) -> None:
    with pytest.raises(Problem) as refused:
        work_of(document)
    assert (refused.value.status, refused.value.facts["parameter"]) == (400, parameter)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"cpu_ns": 5}', b"{}"])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(Problem):
        estimate_of(data)


async def handle(request: Request) -> Response:
    return Response(body=b"handled")


async def test_the_route_answers_and_keeps_its_bounds(tmp_path: Path) -> None:
    async def estimate(work: Work) -> Estimate:
        if work.target == "/no":
            raise Problem(422, "bad", "it will be refused")
        if work.target == "/crash":
            raise KeyError("/secret")
        return Estimate(len(work.target), response_bytes=work.body_bytes)

    for estimator in (estimate, None):
        server, path = Server(handle, estimator=estimator), str(tmp_path / "s")
        await server.start(socket_path=path)
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:

            async def ask(data: bytes, method: str = "POST") -> tuple[int, bytes]:
                async with session.request(method, f"http://d{estimates.PATH}", data=data) as answer:
                    return answer.status, await answer.read()

            if estimator is None:
                assert (await ask(b"{}"))[0] == 404
            else:
                status, data = await ask(b'{"target": "/abc", "body_bytes": "7"}')
                assert (status, estimate_of(data)) == (200, Estimate(4, response_bytes=7))
                assert (await ask(b'{"target": "/no"}'))[0] == 422
                status, data = await ask(b'{"target": "/crash"}')
                assert status == 500 and b"secret" not in data
                assert (await ask(b"{"))[0] == 400
                assert (await ask(b" " * (ASK_MAX_BYTES + 1)))[0] == 413
                assert (await ask(b"", "GET"))[0] == 405
            async with session.get("http://d/mgen") as answer:
                assert await answer.read() == b"handled"
        await server.stop()
