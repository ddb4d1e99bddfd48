"""The machine-to-machine port under bad input (C-2)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from central_kit import ENT, KEYS, NOD, OPS, Certificates, api_key, public_id
from cgn_sdk import signing
from cgn_sdk.protocol import link
from cgn_sdk.protocol.errors import ProblemError
from cgn_sdk.protocol.head import Head, sign_head
from cgn_sdk.protocol.receipt import Trust

from central_service import limits
from central_service.answers import Answers
from central_service.core.records import SUSPENDED
from central_service.ports import open_machine_port, open_portal_port

GOOD = {"public_ids": [public_id(0)]}
AUTH = {"Authorization": f"Bearer {KEYS[OPS]}"}


@pytest.fixture
async def ask(answers: Answers, certificates: Certificates) -> AsyncIterator[Any]:
    listener = await open_machine_port(answers, "127.0.0.1", 0, certificates.server("central", mutual=False))
    url = f"https://127.0.0.1:{listener.port}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=certificates.client(None))) as web:

        async def call(method: str = "POST", path: str = "/v1/accounts/lookup", **arguments: Any) -> tuple[int, Any]:
            async with web.request(method, url + path, **arguments) as answer:
                if answer.status >= 400:
                    assert answer.content_type == "application/problem+json"
                return answer.status, await answer.json(content_type=None)

        yield call
    await listener.close()


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"json": GOOD}, 401, "not_authenticated"),
        ({"json": GOOD, "headers": {"Authorization": "Basic abc"}}, 401, "not_authenticated"),
        ({"json": GOOD, "headers": {"Authorization": "Bearer " + "x" * 5_000}}, 401, "not_authenticated"),
        ({"json": GOOD, "headers": {"Authorization": f"Bearer {api_key(1)}"}}, 401, "not_authenticated"),
        ({"json": GOOD, "headers": {"Authorization": f"Bearer {KEYS[ENT]}"}}, 403, "forbidden"),
        ({"data": b"{}", "headers": AUTH}, 415, "unsupported_media_type"),
        ({"data": b"{", "headers": AUTH | {"Content-Type": "application/json"}}, 400, "bad_json"),
        ({"data": b"[" * 50_000, "headers": AUTH | {"Content-Type": "application/json"}}, 400, "bad_json"),
        ({"json": [], "headers": AUTH}, 400, "bad_json"),
        ({"json": {}, "headers": AUTH}, 400, "bad_request"),
        ({"json": {"public_ids": []}, "headers": AUTH}, 400, "bad_request"),
        ({"json": {"public_ids": ["p"]}, "headers": AUTH}, 400, "bad_request"),
        ({"json": {"public_ids": [public_id(0)] * 1001}, "headers": AUTH}, 400, "bad_request"),
        ({"json": GOOD, "headers": AUTH | {"Content-Encoding": "gzip"}}, 415, "unsupported_media_type"),
    ],
)
async def test_bad_input_is_a_problem(ask: Any, arguments: dict[str, Any], status: int, code: str) -> None:
    answered, document = await ask(**arguments)
    assert (answered, document.get("code")) == (status, code)
    assert KEYS[OPS] not in str(document)


async def test_a_long_body_and_other_methods_are_refused(ask: Any) -> None:
    headers = AUTH | {"Content-Type": "application/json"}
    assert (await ask(data=b" " * (limits.BODY_BYTES_MAX + 1), headers=headers))[0] == 413
    assert (await ask("GET"))[0] == 405
    assert (await ask("POST", "/v1/accounts"))[0] == 404


async def test_a_suspended_service_is_refused(ask: Any, answers: Answers) -> None:
    assert (await ask(json=GOOD, headers=AUTH))[0] == 200
    await answers.store.write("ops", "leaked", lambda records: records.set_account_state(OPS, SUSPENDED))
    assert (await ask(json=GOOD, headers=AUTH))[1]["code"] == "account_suspended"


async def test_guessing_is_slowed_down_with_a_time_to_wait(ask: Any) -> None:
    """Each with another key, so only the asker tells them apart; nobody gets in by luck or by flooding."""
    asked = await asyncio.gather(
        *(ask(json=GOOD, headers={"Authorization": f"Bearer {api_key(200 + number)}"}) for number in range(40))
    )
    codes = [document["code"] for _, document in asked]
    assert codes.count("not_authenticated") <= limits.UNKNOWN_KEY_BURST + 2
    assert codes.count("rate_limited") >= 15
    assert all(document["retry_after_s"] >= 1 for _, document in asked if document["code"] == "rate_limited")
    assert (await ask(json=GOOD, headers=AUTH))[0] == 200


async def test_anybody_reads_the_keys_and_newest_heads_of_nodes(
    answers: Answers, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L-12: as a trust file, of all nodes and of one; and no more often made than it may be old."""
    monkeypatch.setattr("central_service.limits.TRUST_SHOWN_S", 1_000.0)
    signer = signing.Signer(bytes(32))
    node = (await answers.store.read(lambda facts: facts.account(NOD))).public_id  # type: ignore[union-attr]

    def head(rows: int) -> Head:
        return sign_head(node, rows, bytes(32), rows, signer.sign)

    async def tell(rows: int, key: bytes = signer.public_key) -> str:
        try:
            params = link.NodeHead(key, head(rows)).to_params()
            return str((await answers.answer(link.METHOD_NODE_HEAD, params, NOD))["last_ingest"])
        except ProblemError as error:
            return str(error.problem.extra.get("finding") or error.problem.code)

    assert await tell(3) == "3"
    tls = certificates.server("central", mutual=False)
    listener = await open_portal_port(answers, "127.0.0.1", 0, tls, lambda: True)
    url = f"https://127.0.0.1:{listener.port}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=certificates.client(None))) as web:

        async def get(path: str) -> tuple[int, bytes]:
            async with web.get(url + path) as answer:
                return answer.status, await answer.read()

        found = Trust.decode((await get("/v1/trust"))[1])
        assert (found.nodes, found.heads) == ({node: signer.public_key}, (head(3).encode(),))
        assert [await tell(rows) for rows in (2, 4)] == ["head_lower", "4"]
        assert await tell(5, bytes(32)) == "head_other_key"
        assert Trust.decode((await get("/v1/trust"))[1]) == found, "as old as it may be"
        assert Trust.decode((await get(f"/v1/trust/{node}"))[1]).heads == (head(4).encode(),)
        assert (await get(f"/v1/trust/{public_id(0)}"))[0] == 404
        assert (await get("/v1/trust/nobody"))[0] == 404
        assert (await get("/v1/trust/"))[0] == 404
    await listener.close()
    assert [await tell(6), await tell(7)] == ["6", "rate_limited"]
    assert [each.code for each in await answers.store.read(lambda facts: facts.head_findings())] == [
        "head_lower",
        "head_other_key",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": "00"},
        {"public_key": 5},
        {"head": {}},
        {"head": "text"},
        {"head": {"version": 1.5}},
        {"losses": [{}]},
        {"losses": {}},
        {"losses": [{}] * 21},
    ],
)
async def test_what_is_no_head_is_a_problem_of_the_question_alone(answers: Answers, changes: dict[str, Any]) -> None:
    signer = signing.Signer(bytes(32))
    params = link.NodeHead(signer.public_key, sign_head(public_id(6), 1, bytes(32), 1, signer.sign)).to_params()
    with pytest.raises(ProblemError) as caught:
        await answers.answer(link.METHOD_NODE_HEAD, {**params, **changes}, NOD)
    assert caught.value.problem.code == "bad_request"
    assert next(iter(changes)) in caught.value.problem.detail
