"""What the tunnel costs: `python tests/bench/bench_tunnel.py`.

Three tables: codec and multiplexer alone (µs of CPU per call and side); small calls beside a 64 MiB reply and a reader that never reads, over
a real socket (aim: p99 at most 50 ms); and a whole miner process with the no-op DService behind a false node (ms of CPU per 1000
requests of the miner and of the DService).
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

from cgn_sdk.protocol.messages import (  # noqa: E402
    Capabilities,
    Done,
    DServiceOffer,
    Head,
    Hello,
    Open,
    Seal,
    Statement,
    Welcome,
)
from cgn_sdk.protocol.tunnel import Opened, Tunnel  # noqa: E402
from false_node import FalseNode, false_node  # noqa: E402

HELLO = Hello("con_a", "min_a", "k", (DServiceOffer("noop", "1"),), "process", Capabilities(2, 1, 1), 64, "ab" * 32)
OPEN = Open(
    "0" * 32, 1, "noop", "GET", "/noop/100", (("accept", "*/*"), ("user-agent", "bench"), ("host", "a")), 30_000, 0
)
HEAD = Head(200, (("content-type", "text/plain"), ("date", "now")), 100)
STATEMENT = Statement("0" * 32, 1, "min_a", "noop", "1", 200, "00" * 32, 100, 0, 5, 7, 9)


def false_seal(digests: Sequence[bytes]) -> Seal:
    return Seal(len(digests), "cd" * 64)


def codec(calls: int, batch: int, body: bytes) -> tuple[float, float]:
    """µs per call at the node and at the miner, `batch` calls per message."""
    node, miner = Tunnel("node"), Tunnel("miner", seal=false_seal)
    miner.send_hello(HELLO)
    node.receive(miner.data_to_send())
    node.send_welcome(Welcome("pa", "1", (), 20_000, "nod_a"))
    miner.receive(node.data_to_send())
    at_node = at_miner = 0.0
    clock = time.perf_counter
    for _ in range(calls // batch):
        began = clock()
        for _ in range(batch):
            node.open(OPEN, end=True)
        message = node.data_to_send()
        at_node += clock() - began
        began = clock()
        for event in miner.receive(message):
            assert isinstance(event, Opened)
            miner.acknowledge(event.stream)
            miner.head(event.stream, HEAD)
            miner.data(event.stream, body, end=True)
            miner.done(event.stream, Done(STATEMENT))
        while message := miner.data_to_send():
            at_miner += clock() - began
            began = clock()
            node.receive(message)
            at_node += clock() - began
            began = clock()
        at_miner += clock() - began
    return at_node / calls * 1e6, at_miner / calls * 1e6


@contextlib.asynccontextmanager
async def a_miner(slots: int) -> AsyncIterator[tuple[FalseNode, int]]:
    """A miner process with the no-op DService, and the node it dialled."""
    with tempfile.TemporaryDirectory() as folder:
        async with false_node(0) as node:
            config = Path(folder) / "miner.toml"
            config.write_text(
                f'node = "ws://127.0.0.1:{node.port}/tunnel"\naccount_id = "con_a"\n'
                + f'miner_id = "min_a"\nslots = {slots}\nlog_level = "error"\n'
                + f'[dservices.noop]\nversion = "1"\ncommand = ["python", "{ROOT}/tests/support/noop_dservice.py"]\n'
            )
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "miner_client.app", "run", "--config", str(config)),
                env={**os.environ, "CGN_MINER_API_KEY": "k"},
                stdout=asyncio.subprocess.DEVNULL,
            )
            try:
                await node.arrived.wait()
                yield node, process.pid
            finally:
                process.terminate()
                await process.wait()


async def beside_large_bodies(calls: int) -> list[float]:
    """ms of each 1 KiB call while a 64 MiB reply is read and another is not."""
    took: list[float] = []
    async with a_miner(8) as (node, _):
        node.open("/big/64")
        large = asyncio.create_task(node.call("/big/64"))
        while len(took) < calls or not large.done():
            if large.done() and len(took) < calls:
                large = asyncio.create_task(node.call("/big/64"))
            began = time.perf_counter()
            await node.call("/noop/1024")
            took.append((time.perf_counter() - began) * 1000)
        await large
    return sorted(took)


async def whole_miner(concurrent: int, seconds: float, target: str) -> tuple[float, dict[str, float], float]:
    """Requests per second, ms of CPU per 1000 requests by process, and p50 in ms."""
    async with a_miner(concurrent) as (node, pid):
        processes = {"miner": [pid], "dservice": descendants(pid)}
        ends = time.perf_counter() + seconds
        took: list[float] = []

        async def one_after_another() -> None:
            while (began := time.perf_counter()) < ends:
                await node.call(target)
                took.append(time.perf_counter() - began)

        await node.call(target)
        before = {name: sum(map(cpu_ns, pids)) for name, pids in processes.items()}
        began = time.perf_counter()
        await asyncio.gather(*(one_after_another() for _ in range(concurrent)))
        elapsed = time.perf_counter() - began
        used = {name: (sum(map(cpu_ns, pids)) - before[name]) / len(took) / 1000 for name, pids in processes.items()}
    return len(took) / elapsed, used, sorted(took)[len(took) // 2] * 1000


def descendants(pid: int) -> list[int]:
    children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [one for child in children for one in descendants(child)]


def cpu_ns(pid: int) -> int:
    return time.clock_gettime_ns(((~pid) << 3) | 2)


def main() -> None:
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    print("codec and multiplexer        µs/call at node   at miner")
    for batch, body in ((1, bytes(100)), (16, bytes(100)), (64, bytes(100)), (4, bytes(65_000))):
        best = min(codec(4096, batch, body) for _ in range(3))
        print(f"{len(body):6} B, {batch:2} per message       {best[0]:10.1f} {best[1]:10.1f}")
    took = uvloop.run(beside_large_bodies(500))
    print(f"1 KiB beside 64 MiB and a stuck reader: {len(took)} calls, ", end="")
    print(f"p50 {took[len(took) // 2]:.2f} ms, p99 {took[len(took) * 99 // 100]:.2f} ms, max {took[-1]:.2f} ms")
    print("whole miner                  req/s   CPU ms/1000: miner  DService   p50 ms")
    for concurrent, target in ((1, "/noop/100"), (64, "/noop/100"), (1, "/noop/65536"), (64, "/noop/65536")):
        rate, used, p50 = uvloop.run(whole_miner(concurrent, options.seconds, target))
        print(
            f"{target:14} x {concurrent:2}     {rate:9.0f}   {used['miner']:16.1f} {used['dservice']:9.1f} {p50:8.2f}"
        )


if __name__ == "__main__":
    main()
