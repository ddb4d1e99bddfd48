"""The DApp client for programs without an event loop (S-1)."""

import asyncio
import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from central_kit import ENT, KEYS, Certificates
from cgn_sdk.client import CgnProblem, Client, ClientClosed, DServiceError
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


async def test_results_are_saved_and_errors_are_not(
    node: FakeWorkEndpoint, certificates: Certificates, tmp_path: Path
) -> None:
    def work(client: Client) -> None:
        with client.request("POST", "/echo", b"abc") as result:
            assert result.raise_for_status().save(tmp_path / "a.bin") == 3
        for refuse in (lambda r: r.raise_for_status(), lambda r: r.save(tmp_path / "b.bin")):
            with pytest.raises(DServiceError, match="no such script"):
                refuse(client.request("GET", "/failing"))

    await in_a_thread(node, certificates, work)
    assert (tmp_path / "a.bin").read_bytes() == b"abc"
    assert not (tmp_path / "b.bin").exists()


@pytest.mark.parametrize("body", ["text", {"a": 1}, 7])
async def test_a_body_of_another_type_is_a_mistake(
    node: FakeWorkEndpoint, certificates: Certificates, body: object
) -> None:
    def work(client: Client) -> None:
        with pytest.raises(TypeError, match="body: "):
            client.request("POST", "/echo", body)  # type: ignore[arg-type]

    await in_a_thread(node, certificates, work)
    assert node.requests == []


async def test_behind_close_there_is_one_sentence(node: FakeWorkEndpoint, certificates: Certificates) -> None:
    def work() -> None:
        client = Client(node.url, account_id=ENT, api_key=KEYS[ENT], ca_file=certificates.authority_path)
        client.close()
        client.close()
        with pytest.raises(ClientClosed, match="closed"):
            client.request("GET", "/echo")

    await asyncio.to_thread(work)


TYPED = """
from cgn_sdk.client import Client
from cgn_sdk.mrl import mrl


def fee(client: Client) -> int:
    result = client.request("GET", mrl("https://example.org/a.ms", width=200), dealine_ms=5)
    return result.fee_nano_eur


Client("https://node.example", acount_id=3)
"""


@pytest.mark.slow
def test_a_typed_program_is_told_its_mistakes(tmp_path: Path) -> None:
    """The SDK's types reach whoever installs it: two misspelt names, and a fee that may be None."""
    (tmp_path / "dapp.py").write_text(TYPED)
    checked = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "c")]
    said = subprocess.run([*checked, "dapp.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert said.returncode == 1, said.stdout + said.stderr
    for mistake in ('"dealine_ms"', '"acount_id"', 'got "int | None"'):
        assert mistake in said.stdout, said.stdout
