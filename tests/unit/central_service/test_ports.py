"""The machine-to-machine port under bad input (C-2)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from central_kit import ENT, KEYS, OPS, Certificates, api_key, public_id

from central_service import limits
from central_service.answers import Answers
from central_service.core.records import SUSPENDED
from central_service.ports import open_machine_port

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
