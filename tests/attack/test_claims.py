"""A miner that says of itself what it likes, against a real node process: what may it cost a DApp? (N-20, N-22)

It declares a machine of 4,096 threads of 100 KMIPS with 64 TiB and claims, with a good signature, everything that a
statement can hold. The DApp's own clock bounds the node's: what is charged for a request of a few milliseconds must be
within what one slow thread does in the time that the DApp has waited, whoever says what."""

import asyncio
import time
from pathlib import Path

import pytest
from cgn_sdk.protocol import link, messages
from cgn_sdk.protocol.tunnel import Opened
from node_process import node_process
from node_world import ScriptedMiner, miner_id

BOAST = messages.Capabilities(4_096, 100_000, 2**46)
NANO_EUR_PER_KMIPS_SECOND = 1_000_000
REQUESTS = 20
CLOCK_S = 0.002
"""Of each period in which a miner is busy: the node counts whole milliseconds at both ends."""


async def claim_everything(miner: ScriptedMiner, opened: Opened) -> None:
    miner.acknowledge(opened.stream)
    for _ in range(3):
        miner.tunnel.progress(opened.stream, messages.Progress(cpu_ns=2**53 - 1, memory_byte_seconds=2**53 - 1))
    most = 2**63 - 1
    await miner.answer(
        opened, [b"ok"], cpu_ns=most, memory_byte_seconds=most, wall_ns=most, gpu_ns=most, request_bytes=most
    )


@pytest.mark.parametrize("machine", [None, link.Machine(1, 1_000, 1 << 30)], ids=["unknown", "known"])
@pytest.mark.parametrize("lines", [(), ("CGN-Max-Fee-Nano-Eur: 1000000000",)], ids=["no cap", "capped"])
async def test_a_claim_costs_no_more_than_the_time_it_took(
    tmp_path: Path, machine: link.Machine | None, lines: tuple[str, ...]
) -> None:
    async with node_process(tmp_path) as (world, _):
        world.central.machines[miner_id(0)] = machine
        await world.miner(serve=claim_everything, capabilities=BOAST, slots=64).join()

        async def ask() -> tuple[int, float]:
            began = time.monotonic()
            reply = await world.call("GET", "/noop", *lines)
            assert (reply.status, reply.body) == (200, b"ok")
            return int(reply.headers["cgn-fee-nano-eur"]), time.monotonic() - began

        began = time.monotonic()
        together = await asyncio.gather(*(ask() for _ in range(REQUESTS)))
        took_s = time.monotonic() - began + REQUESTS * CLOCK_S
        assert sum(fee for fee, _ in together) <= took_s * NANO_EUR_PER_KMIPS_SECOND + 3 * REQUESTS, (
            "requests at once share the one thread"
        )
        for fee, took_s in [await ask() for _ in range(REQUESTS)]:
            assert fee <= took_s * NANO_EUR_PER_KMIPS_SECOND + 3, "and a byte or two"
