"""The whole network as its users meet it: real processes, real sockets, the real chain (O-1, S-5, issue of first light).

One sandbox for the module; the tests run in the order written, as a day does: work, faults, settlement, proofs.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import pyvips
from cgn_sandbox.children import run_to_end
from cgn_sandbox.network import Sandbox, SandboxOptions, cgn
from cgn_sandbox.story import alter_one_byte
from cgn_sdk.client import AsyncClient, CgnProblem
from cgn_sdk.mrl import mrl

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.engine("anvil"), pytest.mark.timeout(180)]

SCRIPTS = {
    "syntax.ms": "function main() { var x = ; }",
    "forever.ms": "function main() { while (true) {} }",
    "hungry.ms": "function main() { var a = []; while (true) a.push(new Array(100000).fill(7)); }",
    "unknown.ms": "function main() { var m = new Media(); m.load(name @ 'photo.jpg'); m.explode(); m.save(type @ 'jpeg'); }",
    "private.ms": "function main() { var m = new Media(); m.load(name @ 'http://169.254.169.254/secret'); m.save(type @ 'jpeg'); }",
    "missing.ms": "function main() { var m = new Media(); m.load(name @ req.getParameter('base') + '/nothing.jpg'); m.save(type @ 'jpeg'); }",
    "huge.ms": "function main() { var m = new Media(); m.load(name @ req.getParameter('base') + '/huge.jpg'); m.save(type @ 'jpeg'); }",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    code, text = await run_to_end(
        "samples", [sys.executable, "-m", "dservices.mediagen.samples", str(folder)], folder / "log"
    )
    assert code == 0, text
    for name, script in SCRIPTS.items():
        (folder / name).write_text(script)
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(2 << 30)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(sources: Path) -> AsyncIterator[Sandbox]:
    options = SandboxOptions(sources=sources, extra_dservices={"noop": [sys.executable, str(NOOP)]})
    async with Sandbox(options) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(network: Sandbox) -> AsyncIterator[AsyncClient]:
    async with network.client() as one:
        yield one


async def picture(client: AsyncClient, network: Sandbox, script: str, **parameters: str) -> pyvips.Image:
    result = await client.request("GET", mrl(f"{network.source_url}/{script}", base=network.source_url, **parameters))
    body = await result.read()
    assert result.status == 200, body[:500]
    return pyvips.Image.new_from_buffer(body, "")


async def test_a_photograph_is_rotated_scaled_and_written_on(client: AsyncClient, network: Sandbox) -> None:
    """Issue, main job 2: a 12-megapixel JPEG through node and miner."""
    image = await picture(client, network, "photo.ms")
    assert image.get("vips-loader").startswith("jpegload")
    assert 100 < image.width < 4000
    assert image.deviate() > 5


async def test_a_page_of_a_pdf_becomes_a_picture(client: AsyncClient, network: Sandbox) -> None:
    first = await picture(client, network, "page.ms", page="1")
    second = await picture(client, network, "page.ms", page="2")
    assert first.get("vips-loader").startswith("pngload")
    assert (first.width, first.height) == (second.width, second.height)
    assert (first - second).abs().max() > 0


async def test_cost_id_and_times_are_on_the_answer(client: AsyncClient) -> None:
    """N-25."""
    result = await client.request("GET", "/noop/100")
    assert len(await result.read()) == 100
    assert len(result.request_id) == 32
    assert (result.fee_nano_eur or 0) > 0
    assert (result.fee_nano_cpu or 0) > 0
    assert {"queue", "work"} <= result.timings.keys()


@pytest.mark.parametrize(
    ("path", "statuses", "words"),
    [
        ("/mgen/io", {400}, "script"),
        ("script:syntax.ms", {422}, "line"),
        ("script:forever.ms", {422, 408, 504}, ""),
        ("script:hungry.ms", {422}, "memory"),
        ("script:unknown.ms", {422}, "explode"),
        ("script:private.ms", {403}, ""),
        ("script:missing.ms", {404, 424}, ""),
        ("script:huge.ms", {413}, ""),
        ("script:nothing.ms", {404, 424}, ""),
    ],
)
async def test_bad_mrls_get_one_clear_problem_and_the_service_lives_on(
    client: AsyncClient, network: Sandbox, path: str, statuses: set[int], words: str
) -> None:
    """Issue, bad input: each is a 4xx problem document that names what to change."""
    if path.startswith("script:"):
        path = mrl(f"{network.source_url}/{path[7:]}", base=network.source_url)
    result = await client.request("GET", path)
    problem = json.loads(await result.read())
    assert result.headers["Content-Type"] == "application/problem+json"
    assert result.status in statuses, problem
    assert words in problem["detail"], problem
    assert (await client.request("GET", "/noop/1")).status == 200


async def test_no_session_is_401_before_the_body_is_read(network: Sandbox) -> None:
    """N-5: the refusal comes although the promised body never does."""
    tls = __import__("ssl").create_default_context(cafile=str(network.authority))
    port = int(network.work_url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost")
    writer.write(b"POST /noop HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\nContent-Length: 1000000000\r\n\r\n")
    async with asyncio.timeout(2):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 401")
    assert b"application/problem+json" in head


async def refused(client: AsyncClient, path: str, **options: Any) -> CgnProblem:
    with pytest.raises(CgnProblem) as problem:
        await client.request("GET", path, **options)
    return problem.value


async def test_refusals_of_the_node(client: AsyncClient) -> None:
    """Issue, bad input: unknown route, malformed header, unknown header, no miner for the tier."""
    unknown = await refused(client, "/nowhere/x")
    assert unknown.status == 404
    assert "/noop" in unknown.problem.to_json().decode()
    malformed = await refused(client, "/noop/1", headers={"CGN-Deadline-Ms": "soon"})
    assert (malformed.status, "CGN-Deadline-Ms" in malformed.problem.detail) == (400, True)
    misspelt = await refused(client, "/noop/1", headers={"CGN-Teir": "2"})
    assert (misspelt.status, "teir" in misspelt.problem.detail.lower()) == (400, True)
    tier = await refused(client, "/noop/1", tiers=["3"])
    assert tier.status == 503
    assert "tier" in tier.problem.detail


async def test_a_wrong_key_opens_no_session(network: Sandbox) -> None:
    key = network.plan.enterprise.api_key
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    account = network.plan.enterprise.id
    async with AsyncClient(network.work_url, account_id=account, api_key=wrong, ca_file=network.authority) as stranger:
        assert (await refused(stranger, "/noop/1")).status == 401


async def test_a_miner_killed_in_a_burst_is_never_seen(client: AsyncClient, network: Sandbox) -> None:
    """Issue, main job 3: SIGKILL in the middle of a burst; every request succeeds, each is billed once (N-11)."""
    answered = 0

    async def one(number: int) -> str:
        nonlocal answered
        result = await client.request("GET", f"/noop/slow/{20 + number % 7}" if number % 2 else "/noop/500")
        await result.read()
        assert result.status in (200, 404)
        answered += 1
        if answered == 50:
            network.children["miner-1"].kill()
        return result.request_id

    ids = await asyncio.gather(*(one(number) for number in range(300)))
    assert len(set(ids)) == 300
    await asyncio.sleep(1)
    with sqlite3.connect(f"file:{network.ledger_path}?mode=ro", uri=True) as ledger:
        stored = [json.loads(text)["row_id"] for (text,) in ledger.execute("SELECT public_json FROM rows")]
    assert len(stored) == len(set(stored))
    assert set(ids) <= set(stored)
    await network.children["miner-1"].stop()
    await network.start_miner("miner-1")


async def test_the_node_works_through_a_gap_of_central(client: AsyncClient, network: Sandbox) -> None:
    """N-4: known sessions and connected miners go on; what needs Central is refused with 503, then works again."""
    await network.children["central"].stop()
    result = await client.request("GET", "/noop/10")
    assert result.status == 200
    async with network.client() as newcomer:
        assert (await refused(newcomer, "/noop/1")).status == 503
    await network.start_central()
    async with network.client() as newcomer, asyncio.timeout(20):
        while True:
            try:
                assert (await newcomer.request("GET", "/noop/1")).status == 200
                break
            except CgnProblem:
                await asyncio.sleep(0.2)


async def test_the_day_is_settled_and_everything_verifies(
    client: AsyncClient, network: Sandbox, tmp_path: Path
) -> None:
    """Issue, main job 4 and 5: payouts, verify, a receipt offline, and one altered byte named."""
    result = await client.request("GET", "/noop/100")
    await asyncio.sleep(1)
    code, text = await network.run("payouts", "payouts", "run", "--config", str(network.payouts_config))
    assert code == 0, text
    words = ["--rpc", network.chain_url, "--token", network.token_address]
    code, text = await network.run("verify", "verify", "--ledger", network.ledger_url, *words)
    assert code == 0, text

    receipt = await client.wait_for_proof(result.request_id, time_limit_s=20)
    files = {name: tmp_path / f"{name}.json" for name in ("receipt", "anchor", "trust")}
    files["receipt"].write_text(json.dumps(receipt))
    files["trust"].write_bytes(await network.trust())
    anchor_words = ["--anchor", receipt["inclusion"]["batch_id"], "--out", str(files["anchor"])]
    code, text = await network.run("anchor", "verify", "--ledger", network.ledger_url, *words, *anchor_words)
    assert code == 0, text
    check = [
        "receipt",
        "verify",
        str(files["receipt"]),
        "--anchor",
        str(files["anchor"]),
        "--trust",
        str(files["trust"]),
    ]
    code, text = await network.run("receipt", *check)
    assert code == 0, text
    receipt["row"]["usage_fee_nano_eur"] = str(int(receipt["row"]["usage_fee_nano_eur"]) + 1)
    files["receipt"].write_text(json.dumps(receipt))
    code, text = await network.run("receipt", *check)
    assert code == 1, text

    copy = tmp_path / "altered.sqlite"
    row_id = alter_one_byte(network.ledger_path, copy)
    code, text = await network.run("verify", "verify", "--ledger", f"sqlite:///{copy}", *words)
    assert code == 1
    assert row_id in text


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short name: names of UNIX sockets may have 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        yield Path(folder)


async def test_up_leaves_nothing_behind(short_path: Path) -> None:
    """S-5: Ctrl-C ends every process and removes every file."""
    tmp_path = short_path
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        *cgn("up", "--no-chain"), stdout=asyncio.subprocess.PIPE, env=environment, start_new_session=True
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while b"work  " not in (line := await process.stdout.readline()):
            assert line, "cgn up ended"
    mine = str(tmp_path).encode()
    assert _processes_naming(mine)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        await process.wait()
    assert process.returncode == 0
    assert not _processes_naming(mine), time.monotonic() - began
    assert not list(tmp_path.iterdir())


def _processes_naming(text: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if text in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
