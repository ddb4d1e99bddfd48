"""The asynchronous DApp client (S-1) over real sockets and TLS."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from central_kit import ENT, KEYS, USR, Certificates
from cgn_sdk.client import (
    AnswerCutShort,
    AsyncClient,
    CgnError,
    CgnProblem,
    ClientClosed,
    DServiceError,
    NoAnswerInTime,
    NodeUnreachable,
)
from fake_node import FakeWorkEndpoint


@pytest.fixture
async def client(node: FakeWorkEndpoint, certificates: Certificates) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(
        node.url, account_id=ENT, api_key=KEYS[ENT], end_user=USR, ca_file=certificates.authority_path
    ) as made:
        yield made


async def test_a_request_carries_its_options_and_the_result_its_costs(
    node: FakeWorkEndpoint, client: AsyncClient
) -> None:
    result = await client.request(
        "POST",
        "/echo/a%2Fb?x=%22y%22&z",
        b"body",
        {"X-Mine": "1"},
        tiers=["2", "4b"],
        deadline_ms=500,
        max_fee_nano_eur=10**15,
        match="fastest",
        request_id="cd" * 16,
        meta={"Order": "17"},
    )
    assert await result.read() == b"body"
    assert (result.status, result.request_id) == (200, "ab" * 16)
    assert (result.fee_nano_eur, result.fee_nano_cpu) == (12345678901234567890, 7)
    assert result.timings == {"queue": 0.1, "work": 3.25}
    [(method, target, headers)] = node.requests
    assert (method, target) == ("POST", "/echo/a%2Fb?x=%22y%22&z")
    sent = {name: value for name, value in headers.items() if name.startswith(("CGN-", "X-"))}
    assert sent == {
        "X-Mine": "1",
        "CGN-Tier": "2,4b",
        "CGN-Deadline-Ms": "500",
        "CGN-Max-Fee-Nano-Eur": str(10**15),
        "CGN-Match": "fastest",
        "CGN-Request-Id": "cd" * 16,
        "CGN-Meta-Order": "17",
    }
    assert node.sessions == [{"account_id": ENT, "api_key": KEYS[ENT], "end_user": USR}]


async def test_one_session_serves_many_requests_at_once(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    results = await asyncio.gather(*(client.request("GET", "/echo") for _ in range(30)))
    for each in results:
        await each.read()
    assert len(node.sessions) == 1


async def test_connections_are_kept(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    for _ in range(5):
        await (await client.request("GET", "/echo")).read()
    assert len(node.peers) == 1


async def test_a_session_that_ends_soon_is_renewed_before_it_does(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    node.lifetime_s = 30.5  # renewed 30 s before its end, but kept for a second at least
    await (await client.request("GET", "/echo")).read()
    await asyncio.sleep(1.1)
    await (await client.request("GET", "/echo")).read()
    assert len(node.sessions) == 2


async def test_a_lost_session_is_opened_anew_once_however_many_requests_find_it_lost(
    node: FakeWorkEndpoint, client: AsyncClient
) -> None:
    """The node was restarted: thirty requests get a 401 and share one new session."""
    await (await client.request("GET", "/echo")).read()
    node.valid.clear()
    results = await asyncio.gather(*(client.request("POST", "/echo", b"x") for _ in range(30)))
    assert [await each.read() for each in results] == [b"x"] * 30
    assert len(node.sessions) == 2


async def test_a_body_that_cannot_be_repeated_is_not_repeated(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield b"x"

    await (await client.request("GET", "/echo")).read()
    node.valid.clear()
    with pytest.raises(CgnProblem) as caught:
        await client.request("POST", "/echo", once())
    assert (caught.value.status, caught.value.code) == (401, "not_authenticated")
    assert await (await client.request("POST", "/echo", once())).read() == b"x"


async def test_bodies_stream_in_both_directions(client: AsyncClient) -> None:
    """32 MiB out and in, hashed on the way."""
    out, back = hashlib.sha256(), hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        for number in range(512):
            chunk = bytes([number % 251]) * 65536
            out.update(chunk)
            yield chunk

    result = await client.request("POST", "/stream", body())
    assert result.fee_nano_eur is None
    async for chunk in result.chunks():
        back.update(chunk)
    assert out.digest() == back.digest()


async def test_a_file_is_a_body(client: AsyncClient) -> None:
    assert await (await client.request("POST", "/echo", io.BytesIO(b"file"))).read() == b"file"


async def test_a_body_that_ends_early_is_no_result(client: AsyncClient) -> None:
    result = await client.request("GET", "/cut")
    with pytest.raises(AnswerCutShort):
        await result.read()


async def test_an_answer_nobody_wants_is_cancelled(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    """N-17."""
    result = await client.request("GET", "/endless")
    result.close()
    await asyncio.wait_for(node.cancelled.wait(), 5)


async def test_a_refusal_of_the_network_is_raised_with_its_problem(client: AsyncClient) -> None:
    with pytest.raises(CgnProblem, match="tier 3 has no miner") as caught:
        await client.request("GET", "/refused")
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (503, "no_miner", "ab" * 16)
    assert caught.value.problem.extra == {"constraint": "tier"}


async def test_an_answer_of_the_dservice_is_a_result_whatever_its_status(client: AsyncClient) -> None:
    result = await client.request("GET", "/dservice")
    assert (result.status, result.fee_nano_cpu) == (422, 7)
    result.close()


async def test_a_problem_that_is_none_is_still_a_problem_and_bounded(client: AsyncClient) -> None:
    with pytest.raises(CgnProblem) as caught:
        await client.request("GET", "/gibberish")
    assert (caught.value.status, caught.value.code) == (502, "bad_gateway")
    assert len(str(caught.value)) < 2_000


async def test_redirects_are_results_and_not_followed(client: AsyncClient) -> None:
    """The session key goes to the node and nowhere else."""
    result = await client.request("GET", "/redirect")
    assert (result.status, result.headers["Location"]) == (302, "https://elsewhere.example/")
    result.close()


async def test_a_refused_session_is_a_problem(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    node.refuse_sessions = (403, {"code": "account_suspended", "status": 403, "detail": "ask why"})
    with pytest.raises(CgnProblem) as caught:
        await client.request("GET", "/echo")
    assert caught.value.code == "account_suspended"
    assert KEYS[ENT] not in str(caught.value)


@pytest.mark.parametrize("path", ["//elsewhere.example/x", "/@elsewhere.example", "/..//x", "/echo#x", "/\\x"])
async def test_no_path_leads_away_from_the_node(node: FakeWorkEndpoint, client: AsyncClient, path: str) -> None:
    before = len(node.requests)
    try:
        result = await client.request("GET", path)
    except (CgnError, ValueError):
        return
    result.close()
    assert len(node.requests) == before + 1


async def test_a_path_without_a_slash_is_refused(client: AsyncClient) -> None:
    with pytest.raises(ValueError, match="begins with /"):
        await client.request("GET", "echo")


async def test_the_node_s_certificate_is_checked(node: FakeWorkEndpoint) -> None:
    async with AsyncClient(node.url, account_id=ENT, api_key=KEYS[ENT]) as stranger:
        with pytest.raises(NodeUnreachable, match="certificate verify failed"):
            await stranger.request("GET", "/echo")
    with pytest.raises(ValueError, match="https"):
        AsyncClient(node.url.replace("https", "http"), account_id=ENT, api_key=KEYS[ENT])
    assert node.sessions == []


async def test_receipts_and_proofs(
    node: FakeWorkEndpoint, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cgn_sdk.client.asynchronous.PROOF_EVERY_S", 0.01)
    node.settled_after = 3
    assert (await client.receipt("ab" * 16))["inclusion"] is None
    assert (await client.wait_for_proof("ab" * 16))["inclusion"] is True
    node.settled_after = 10**6
    with pytest.raises(TimeoutError):
        await client.wait_for_proof("ab" * 16, time_limit_s=0.1)


async def test_a_lost_session_is_opened_anew_for_receipts_too(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    await client.receipt("ab" * 16)
    node.valid.clear()
    assert (await client.receipt("ab" * 16))["request_id"] == "ab" * 16


async def test_a_401_of_the_dservice_is_not_repeated(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    """The work was done and billed; doing it again would be billed again."""
    result = await client.request("GET", "/private")
    assert (result.status, await result.read()) == (401, b"who are you?")
    assert len(node.requests) == 1
    assert len(node.sessions) == 1


# -- what a program is told -----------------------------------------------------------------------------------------


async def test_a_refusal_without_a_document_keeps_its_status(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    """An answer to HEAD has no body: the status, what can be done, and how long to wait are told all the same."""
    with pytest.raises(CgnProblem) as caught:
        await client.request("HEAD", "/refused")
    problem = caught.value
    assert (problem.status, problem.code, problem.retry, problem.retry_after_s) == (503, "no_miner", "later", 7)


async def test_an_error_of_the_dservice_is_never_saved_as_a_result(client: AsyncClient, tmp_path: Path) -> None:
    result = await client.request("GET", "/failing")
    assert (result.ok, result.status) == (False, 422)
    with pytest.raises(DServiceError) as caught:
        await result.save(tmp_path / "picture.png")
    error = caught.value
    assert (error.status, str(error), error.request_id) == (422, "the DService answered 422: no such script", "ab" * 16)
    assert error.document is not None
    assert error.document["title"] == "script_missing"
    assert list(tmp_path.iterdir()) == [tmp_path / "tls"]


async def test_save_writes_the_whole_body_or_nothing(client: AsyncClient, tmp_path: Path) -> None:
    target = tmp_path / "picture.png"
    async with await client.request("POST", "/echo", b"x" * 300_000) as result:
        assert await result.save(target) == 300_000
    assert target.read_bytes() == b"x" * 300_000
    with pytest.raises(AnswerCutShort):
        await (await client.request("GET", "/cut")).save(target)
    assert target.read_bytes() == b"x" * 300_000
    assert {path.name for path in tmp_path.iterdir()} == {"tls", "picture.png"}


async def test_raise_for_status_passes_what_is_no_error(client: AsyncClient) -> None:
    async with await client.request("GET", "/echo") as result:
        assert await result.raise_for_status() is result


@pytest.mark.parametrize("body", ["text", {"a": 1}, 7, io.StringIO("text"), ["parts"]])
async def test_a_body_of_another_type_is_a_mistake_before_anything_is_sent(
    node: FakeWorkEndpoint, client: AsyncClient, body: object
) -> None:
    with pytest.raises(TypeError, match="body: "):
        await client.request("POST", "/echo", body)  # type: ignore[arg-type]
    assert node.requests == []


async def test_one_tier_may_be_given_as_a_text(node: FakeWorkEndpoint, client: AsyncClient) -> None:
    await (await client.request("GET", "/echo", tiers="4a")).read()
    assert node.requests[0][2]["CGN-Tier"] == "4a"


async def test_a_closed_client_says_so(client: AsyncClient) -> None:
    await client.close()
    with pytest.raises(ClientClosed, match="closed"):
        await client.request("GET", "/echo")


async def test_a_node_that_is_not_there_and_one_that_does_not_answer(
    node: FakeWorkEndpoint, certificates: Certificates
) -> None:
    """Both are `CgnError`s, and what they are called elsewhere in Python."""
    known = {"account_id": ENT, "api_key": KEYS[ENT], "ca_file": certificates.authority_path}
    async with AsyncClient("https://127.0.0.1:1", **known) as client:
        with pytest.raises(NodeUnreachable):
            await client.request("GET", "/echo")
    async with AsyncClient(node.url, time_limit_s=0.5, **known) as client:
        with pytest.raises(NoAnswerInTime, match=r"no answer within 0\.5 s"):
            await (await client.request("GET", "/endless")).read()
    assert issubclass(NodeUnreachable, ConnectionError)
    assert issubclass(NoAnswerInTime, TimeoutError)


def test_an_authority_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="ca_file: there is no file nowhere.pem"):
        AsyncClient("https://node.example", account_id=ENT, api_key="x", ca_file="nowhere.pem")
