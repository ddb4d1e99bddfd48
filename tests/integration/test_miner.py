"""The miner client as its own process: dials a false node over TLS, runs the no-op DService as a child (M-1, M-3,
M-5)."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path

import pytest
from cgn_sdk import signing
from cgn_sdk.protocol import receipt
from cgn_sdk.protocol.errors import CLOSE_DRAINING
from cgn_sdk.protocol.messages import Cancel, GoAway, Slots
from false_node import AttemptFailed, FalseNode, false_node

from cgn_chassis.tls import Authority, server_context
from miner_client import limits as miner_limits
from miner_client.docker_runner import _owner

SUPPORT = Path(__file__).resolve().parents[1] / "support"
NOOP = SUPPORT / "noop_dservice.py"
PLAIN = SUPPORT / "plain_dservice.py"
MEBIBYTE = 1 << 20

SETTINGS = """
node = "wss://127.0.0.1:{port}/tunnel"
account_id = "con_a"
miner_id = "min_a"
api_key_file = "api.key"
authority = "authority.pem"
slots = 4
"""
NOOP_TABLE = f"""
[dservices.noop]
version = "1"
command = ["python", "{NOOP}"]
"""
DOCKER_TABLE = f"""
[dservices.noop]
version = "1"
image = "cgn-base"
command = ["python3", "-c", {json.dumps(PLAIN.read_text())}]
"""


@contextlib.asynccontextmanager
async def a_miner(tmp_path: Path, port: int, dservice: str) -> AsyncIterator[asyncio.subprocess.Process]:
    (tmp_path / "api.key").write_text("cgn_k_secret")
    (tmp_path / "miner.toml").write_text(SETTINGS.format(port=port) + dservice)
    with (tmp_path / "miner.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "miner_client.app", "run", "--config", str(tmp_path / "miner.toml")),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def a_network(
    tmp_path: Path, port: int, dservice: str = NOOP_TABLE
) -> AsyncIterator[tuple[FalseNode, asyncio.subprocess.Process]]:
    authority = Authority.create("test")
    (tmp_path / "authority.pem").write_bytes(authority.certificate_pem)
    authority.issue_server("node", ["127.0.0.1"]).save(tmp_path / "node.pem", tmp_path / "node.key")
    tls = server_context((tmp_path / "node.pem", tmp_path / "node.key"))
    async with false_node(port, tls) as node, a_miner(tmp_path, port, dservice) as miner:
        async with asyncio.timeout(30):
            await node.arrived.wait()
        yield node, miner


async def test_a_request_is_carried_metered_and_sealed(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with a_network(tmp_path, free_port()) as (node, miner):
        hello = node.hellos[0]
        assert (hello.account_id, hello.miner_id, hello.api_key) == ("con_a", "min_a", "cgn_k_secret")
        assert hello.runner == "process" and hello.slots == 4
        assert miner.stdout is not None
        assert (await miner.stdout.readline()).startswith(b"READY {")

        call = node.open("/noop/100", request_id="ab" * 16, headers=(("accept", "*/*"),))
        body = await call.whole()
        statement = (await call.done).statement
        assert call.acknowledged and len(body) == 100
        assert statement.request_id == "ab" * 16 and statement.miner_id == "min_a"
        assert statement.response_sha256 == sha256(body).hexdigest() and statement.response_bytes == 100
        assert (statement.dservice, statement.dservice_version, statement.status) == ("noop", "1", 200)
        assert statement.wall_ns > 0

        burnt = node.open("/burn/200")
        await burnt.whole()
        used = (await burnt.done).statement
        assert 150_000_000 < used.cpu_ns <= used.wall_ns

        sealed = node.seals()[0]
        tree = receipt.seal_tree(sealed.digests)
        assert statement.digest() == receipt.statement_digest(statement.members()) == sealed.digests[0]
        signed = receipt.seal_bytes(tree[-1][0], len(sealed.digests))
        signature = bytes.fromhex(sealed.message.signature)
        assert signing.verify(bytes.fromhex(hello.signing_key), receipt.SEAL, signed, signature)


@pytest.mark.engine("docker")
async def test_a_container_does_the_work_and_is_gone_afterwards(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """M-3, M-4: the whole path with a container at its end."""
    async with a_network(tmp_path, free_port(), DOCKER_TABLE) as (node, miner):
        assert node.hellos[0].runner == "docker"
        owner = _owner(miner.pid)
        call = node.open("/run/sum(i%20for%20i%20in%20range(3000000))")
        assert await call.whole() == b"4499998500000"
        assert (await call.done).statement.cpu_ns > 20_000_000
        with pytest.raises(AttemptFailed) as caught:
            await node.call("/run/os._exit(1)")
        assert caught.value.code == "dservice_crashed"
        assert await node.call("/run/6*7") == b"42"  # in a new container
        miner.send_signal(signal.SIGTERM)
        assert await miner.wait() == 0
    left = await asyncio.create_subprocess_exec(
        *("docker", "ps", "-aq", "--filter", f"label=cgn.owner={owner}"), stdout=asyncio.subprocess.PIPE
    )
    assert (await left.communicate())[0] == b""


async def test_bodies_stream_both_ways(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with a_network(tmp_path, free_port()) as (node, _):
        small = await node.call("/echo", method="POST", body=b"question")
        assert small == b"question"
        assert len(await node.call("/big/20")) == 20 * MEBIBYTE

        call = node.open("/echo", method="POST", body=None)
        assert node.link is not None

        async def pieces() -> AsyncIterator[bytes]:
            for number in range(60):
                yield bytes([number]) * 100_000

        sending = asyncio.create_task(node.link.send_body(call.stream, pieces()))
        body = await call.whole()
        assert await sending == len(body) == 6_000_000
        statement = (await call.done).statement
        assert statement.request_bytes == statement.response_bytes == 6_000_000
        assert statement.response_sha256 == sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/crash", "dservice_crashed"),
        ("/half/1000", "dservice_protocol"),
        ("/garbage", "dservice_protocol"),
        ("/hang", "dservice_timeout"),
    ],
)
async def test_a_dservice_that_misbehaves_is_reported(
    tmp_path: Path, free_port: Callable[[], int], target: str, code: str
) -> None:
    """M-5: unexpected failures become error reports; M-3: it is restarted; other requests are served again."""
    async with a_network(tmp_path, free_port()) as (node, _):
        with pytest.raises(AttemptFailed) as caught:
            await node.call(target, deadline_ms=500)
        assert caught.value.code == code
        assert len(await node.call("/noop/10")) == 10
        with pytest.raises(AttemptFailed) as caught:
            await node.call("/noop/10", dservice="unknown")
        assert caught.value.code == "dservice_unavailable"


async def test_slots_bound_what_runs_and_cancel_frees_them(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """M-6, N-17."""
    async with a_network(tmp_path, free_port()) as (node, _):
        hanging = [node.open("/hang") for _ in range(4)]
        with pytest.raises(AttemptFailed) as caught:
            await node.call("/noop/1")
        assert caught.value.code == "no_slot"
        assert node.link is not None
        await asyncio.sleep(0.05)
        for call in hanging:
            assert call.acknowledged
            node.link.tunnel.cancel(call.stream, Cancel())
        assert len(await node.call("/noop/1")) == 1


async def test_sigterm_drains(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with a_network(tmp_path, free_port()) as (node, miner):
        call = node.open("/slow/2000")
        await asyncio.sleep(0.2)
        miner.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            while GoAway("draining", "the miner is about to stop") not in node.told:
                await asyncio.sleep(0.01)
        with pytest.raises(AttemptFailed, match="no_slot"):
            await node.call("/noop/1")  # one that was on its way
        assert await call.whole() == b"slow\n"
        assert await miner.wait() == 0
        await node.left.wait()
        assert node.closed[-1].code == 1000
        assert Slots(0) in node.told
        assert GoAway("draining", "the miner is about to stop") in node.told


@pytest.mark.parametrize("how", ["a bound", "a second signal"])
async def test_a_drain_is_cut_by_its_bound_or_a_second_signal(
    tmp_path: Path, free_port: Callable[[], int], how: str
) -> None:
    """N-18: exit code 3 says that something was cut; nothing stays behind."""
    settings = "drain_s = 1\n" if how == "a bound" else ""
    async with a_network(tmp_path, free_port(), settings + NOOP_TABLE) as (node, miner):
        children = Path(f"/proc/{miner.pid}/task/{miner.pid}/children").read_text().split()
        node.open("/hang")
        await asyncio.sleep(0.2)
        miner.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert miner.returncode is None
        if how == "a second signal":
            miner.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(miner.wait(), 30) == 3
        assert not any(_runs(int(child)) for child in children)


async def test_it_dials_again_when_the_node_was_away(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    async with a_network(tmp_path, port) as (node, _):
        node.arrived.clear()
        assert node.link is not None
        node.link._connection.transport.abort()  # as a cut cable would
        async with asyncio.timeout(10):
            await node.arrived.wait()
        assert len(node.hellos) == 2
        assert len(await node.call("/noop/7")) == 7
        # GOAWAY: the node may still need it for what it has accepted; when the node closes, it dials again
        call = node.open("/slow/300")
        node.arrived.clear()
        node.link.tunnel.send_goaway(GoAway("draining", "", ""))
        node.link.flush()
        assert await call.whole() == b"slow\n"
        await asyncio.sleep(0.3)
        assert len(await node.call("/noop/7")) == 7
        node.link.close(CLOSE_DRAINING, "the node is about to stop")
        async with asyncio.timeout(10):
            await node.arrived.wait()
        assert len(node.hellos) == 3


async def test_a_dservice_that_does_not_start_keeps_no_other_away(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """M-3: what is healthy is offered; what becomes healthy later is offered by a new greeting."""
    late = f"""
[dservices.late]
version = "1"
command = ["sh", "-c", "sleep 7; exec {sys.executable} {NOOP}"]
"""
    async with a_network(tmp_path, free_port(), NOOP_TABLE + late) as (node, miner):
        assert [offer.name for offer in node.hellos[0].dservices] == ["noop"]
        await node.open("/noop/100").whole()
        running = node.open("/burn/4000")
        async with asyncio.timeout(20):
            while len(node.hellos) < 2:
                await asyncio.sleep(0.05)
        assert sorted(offer.name for offer in node.hellos[1].dservices) == ["late", "noop"]
        assert (await running.done).statement.status == 200, "what ran was finished first"
        await node.open("/noop/100").whole()


async def test_a_killed_miner_leaves_no_dservice(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with a_network(tmp_path, free_port()) as (_, miner):
        children = Path(f"/proc/{miner.pid}/task/{miner.pid}/children").read_text().split()
        assert children
        miner.kill()
        await miner.wait()
        for _ in range(100):
            if not any(_runs(int(child)) for child in children):
                break
            await asyncio.sleep(0.05)
        assert not any(_runs(int(child)) for child in children)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_signs_of_life_come_while_the_dservice_works(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """N-10, N-20: one of each request that runs longer than PROGRESS_MS, with what it has used; none of short ones."""
    async with a_network(tmp_path, free_port()) as (node, _):
        short = node.open("/noop/10")
        await short.whole()
        burning, sleeping = node.open("/burn/4000"), node.open("/slow/4000")
        await asyncio.gather(burning.whole(), sleeping.whole())
        for call in (burning, sleeping):
            assert len(call.progress) >= 2
            assert call.progress[-1].cpu_ns > call.progress[0].cpu_ns > 0
            assert (await call.done).statement.cpu_ns >= call.progress[-1].cpu_ns
        assert not short.progress


async def test_what_a_long_answer_has_used_is_said_with_its_bytes(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """N-20, N-39: however quickly it comes, so that who leaves in the middle pays for the work behind what came."""
    async with a_network(tmp_path, free_port()) as (node, _):
        call = node.open("/big/3")
        size = len(await call.whole())
        assert len(call.progress) >= size // (2 * miner_limits.PROGRESS_BYTES)
        assert len(call.progress) <= size // miner_limits.PROGRESS_BYTES + 8, "and not with each piece"
        said = [progress.cpu_ns for progress in call.progress]
        assert said == sorted(said)
        assert 0 < said[-1] <= (await call.done).statement.cpu_ns


ESTIMATING_TABLE = NOOP_TABLE.replace(str(NOOP), str(SUPPORT / "estimating_dservice.py"))


async def test_the_estimator_is_asked_before_work_that_has_a_budget(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """N-22: what even at the lower end takes more is not begun; whoever cannot say is not waited for."""
    async with a_network(tmp_path, free_port(), ESTIMATING_TABLE) as (node, _):
        assert await node.call("/noop/5000") == b"1 0"
        assert await node.call("/noop/1250", cpu_budget_ns=1_000) == b"2 1"  # sure of 1,000 and no more
        with pytest.raises(AttemptFailed) as failed:
            await node.call("/noop/1252", cpu_budget_ns=1_000)
        assert (failed.value.code, failed.value.estimate_cpu_ns) == ("price_cap", 1_252)
        assert await node.call("/noop/none", cpu_budget_ns=1_000) == b"3 3"


async def test_a_dservice_without_an_estimator_is_asked_once(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with a_network(tmp_path, free_port()) as (node, miner):
        for _ in range(3):
            assert len(await node.call("/noop/10", cpu_budget_ns=1)) == 10
