"""The DApp client for programs without an event loop (S-1)."""

import asyncio
import io
import threading

import pytest
from central_kit import ENT, KEYS, Certificates
from cgn_sdk.client import CgnProblem, Client
from fake_node import FakeWorkEndpoint


async def in_a_thread(node: FakeWorkEndpoint, certificates: Certificates, work) -> object:  # type: ignore[no-untyped-def]
    """The fake node runs on this test's loop, so the waiting client runs in a thread."""

    def run() -> object:
        with Client(node.url, account_id=ENT, api_key=KEYS[ENT], ca_file=certificates.authority_path) as client:
            return work(client)

    return await asyncio.to_thread(run)


async def test_requests_bodies_and_costs(node: FakeWorkEndpoint, certificates: Certificates) -> None:
    def work(client: Client) -> None:
        result = client.request("POST", "/echo", b"abc", meta={"Order": "1"})
        assert (result.read(), result.status, result.fee_nano_cpu) == (b"abc", 200, 7)
        assert result.timings["work"] == 3.25
        assert client.request("POST", "/echo", io.BytesIO(b"file")).read() == b"file"
        streamed = client.request("POST", "/stream", (bytes([number]) * 1000 for number in range(100)))
        assert b"".join(streamed.chunks()) == b"".join(bytes([number]) * 1000 for number in range(100))
        client.request("GET", "/endless").close()
        with pytest.raises(CgnProblem, match="tier 3"):
            client.request("GET", "/refused")
        assert client.receipt("ab" * 16)["request_id"] == "ab" * 16
        assert client.wait_for_proof("ab" * 16)["inclusion"] is True

    await in_a_thread(node, certificates, work)
    assert len(node.sessions) == 1
    await asyncio.wait_for(node.cancelled.wait(), 5)


async def test_threads_share_one_client(node: FakeWorkEndpoint, certificates: Certificates) -> None:
    def work(client: Client) -> list[bytes]:
        found: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: found.append(client.request("POST", "/echo", b"x").read()))
            for _ in range(8)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return found

    assert await in_a_thread(node, certificates, work) == [b"x"] * 8
    assert len(node.sessions) == 1


async def test_an_error_in_the_caller_s_body_reaches_the_caller(
    node: FakeWorkEndpoint, certificates: Certificates
) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield b"x"
        raise RuntimeError("the disk is gone")

    def work(client: Client) -> None:
        with pytest.raises(Exception, match="disk is gone"):
            client.request("POST", "/stream", broken()).read()
        assert client.request("POST", "/echo", b"still").read() == b"still"

    await in_a_thread(node, certificates, work)


async def test_no_thread_is_left_behind(node: FakeWorkEndpoint, certificates: Certificates) -> None:
    await in_a_thread(node, certificates, lambda client: client.request("GET", "/echo").read())
    assert not [each for each in threading.enumerate() if each.name == "cgn-client"]
    with pytest.raises(ValueError, match="https"):
        Client("http://127.0.0.1:1", account_id=ENT, api_key=KEYS[ENT])
    assert not [each for each in threading.enumerate() if each.name == "cgn-client"]
