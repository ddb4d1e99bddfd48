"""A DApp that cheats or repeats, against real processes: a node, two miners and a ledger on loopback, over TLS.

`CGN_ATTACK_IDS=10000` makes the first attack as large as it was meant; the default is small enough for every run.
"""

import asyncio
import contextlib
import json
import os
import secrets
import sqlite3
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cgn_sandbox.network import Sandbox, SandboxOptions

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"
IDS = int(os.environ.get("CGN_ATTACK_IDS", "300"))
COPIES = 6
NANO_EUR_PER_GB = 10_000_000
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120 + IDS // 10)]


class Network:
    """A sandbox, and raw sockets to its work endpoint."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.tls = ssl.create_default_context(cafile=str(sandbox.authority))
        self.key = ""

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", int(self.sandbox.work_url.rsplit(":", 1)[1]), ssl=self.tls)

    async def open_session(self) -> None:
        enterprise = self.sandbox.plan.enterprise
        body = json.dumps({"account_id": enterprise.id, "api_key": enterprise.api_key}).encode()
        reader, writer = await self.connect()
        writer.write(b"POST /session HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        self.key = json.loads((await read_answer(reader))[2])["session_key"]
        writer.close()

    def request(self, target: str, *headers: str) -> bytes:
        lines = [f"GET {target} HTTP/1.1", "Host: h", f"Authorization: Bearer {self.key}", *headers, "", ""]
        return "\r\n".join(lines).encode()

    async def rows(self, *ids: str) -> dict[str, int]:
        """Fees of these requests' rows, once the ledger has come to rest."""
        await asyncio.sleep(2)
        found = {}
        with sqlite3.connect(f"file:{self.sandbox.ledger_path}?mode=ro", uri=True) as store:
            for (text,) in store.execute("select public_json from rows"):
                public = json.loads(text)
                found[public["row_id"]] = int(public["usage_fee_nano_eur"])
        return {row_id: found[row_id] for row_id in ids if row_id in found}


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
    return int(head[0].split(" ")[1]), headers, await reader.readexactly(int(headers["content-length"]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network() -> AsyncIterator[Network]:
    options = SandboxOptions(
        miners=2, chain=False, mediagen=False, slots=64, extra_dservices={"noop": [sys.executable, str(NOOP)]}
    )
    async with Sandbox(options) as sandbox:
        network = Network(sandbox)
        await network.open_session()
        yield network


async def test_ids_sent_six_times_each_at_once_are_done_once(network: Network) -> None:
    """As many executions as ids: each is answered once, else 409; nothing stands in `refused`."""
    outcomes: Counter[str] = Counter()

    async def attack(ids: list[str]) -> None:
        connections = [await network.connect() for _ in range(COPIES)]

        async def send(number: int, request_id: str) -> int:
            reader, writer = connections[number]
            await asyncio.sleep((0, 0, 0.003, 0.005, 0.007, 0.012)[number])
            writer.write(network.request("/noop/20", f"CGN-Request-Id: {request_id}"))
            return (await read_answer(reader))[0]

        for request_id in ids:
            statuses = sorted(await asyncio.gather(*(send(number, request_id) for number in range(COPIES))))
            outcomes[" ".join(map(str, statuses))] += 1
        for _, writer in connections:
            writer.close()

    ids = [secrets.token_hex(16) for _ in range(IDS)]
    await asyncio.gather(*(attack(ids[lane::8]) for lane in range(8)))
    assert outcomes == {"200" + " 409" * (COPIES - 1): IDS}
    assert set(await network.rows(*ids)) == set(ids)
    refused = network.sandbox.folder / "node/refused"
    assert not refused.exists() or not list(refused.iterdir())


@pytest.mark.parametrize("named", [True, False])
async def test_who_leaves_at_once_is_neither_served_nor_billed(network: Network, named: bool) -> None:
    """N-17: a request of 2 s whose DApp has reset the connection in the moment it was sent."""
    ids = [secrets.token_hex(16) for _ in range(20)]
    for request_id in ids:
        _, writer = await network.connect()
        writer.write(network.request("/noop/slow/2000", *([f"CGN-Request-Id: {request_id}"] if named else [])))
        await writer.drain()
        writer.transport.abort()
    reader, writer = await network.connect()
    writer.write(network.request("/noop/20"))
    assert (await read_answer(reader))[0] == 200
    writer.close()
    await asyncio.sleep(1)
    assert await network.rows(*ids) == {}


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Everything until the connection is cut, without the head and chunk framing."""
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    got = b""
    with contextlib.suppress(ConnectionError):
        while data := await asyncio.wait_for(reader.read(1 << 18), 60):
            got += data
    return got


@pytest.mark.parametrize("cap", [400, 50_000])
async def test_a_cap_gives_nothing_away(network: Network, cap: int) -> None:
    """N-22: 20 MB are worth 200,000 nano-EUR; what comes is worth no more than the cap, and the cap is charged."""
    ids = [secrets.token_hex(16) for _ in range(3)]
    for request_id in ids:
        reader, writer = await network.connect()
        headers = (f"CGN-Request-Id: {request_id}", f"CGN-Max-Fee-Nano-Eur: {cap}", "Connection: close")
        writer.write(network.request("/noop/big/20", *headers))
        got = len(await read_all(reader))
        writer.close()
        assert got * NANO_EUR_PER_GB <= cap * 10**9
    assert await network.rows(*ids) == dict.fromkeys(ids, cap)


async def test_who_leaves_before_the_end_pays_for_what_came(network: Network) -> None:
    """Half a megabyte before the end of 20 costs nearly what the whole does."""
    whole, cut = secrets.token_hex(16), [secrets.token_hex(16) for _ in range(3)]
    for request_id in (whole, *cut):
        reader, writer = await network.connect()
        writer.write(network.request("/noop/big/20", f"CGN-Request-Id: {request_id}"))
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        await asyncio.wait_for(reader.readexactly((20 << 20) - (0 if request_id == whole else 500_000)), 60)
        writer.transport.abort()
    fees = await network.rows(whole, *cut)
    assert set(fees) == {whole, *cut}
    assert all(fees[whole] * 19 // 20 <= fees[each] <= fees[whole] + 50 for each in cut)


@pytest.mark.parametrize("target", ["/noop/slow/12000", "/noop/drip/12000"])
async def test_long_work_has_its_whole_deadline(network: Network, target: str) -> None:
    """Twice as long as a silent miner is waited for, more than half of the deadline; both miners stay."""
    miners = network.sandbox.process_ids("miner")

    async def ask() -> int:
        reader, writer = await network.connect()
        writer.write(network.request(target, "CGN-Deadline-Ms: 20000"))
        status = (await read_answer(reader))[0]
        writer.close()
        return status

    assert await asyncio.gather(*(ask() for _ in range(3))) == [200] * 3
    assert network.sandbox.process_ids("miner") == miners
    log = (network.sandbox.folder / "logs/node.log").read_text()
    assert '"code":4408' not in log
