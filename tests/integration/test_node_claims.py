"""What a miner claims and what is billed (N-20, N-21), over real TLS: the bound is the node's own clock and what Central
knows of the machine (decision 0028). The miners here claim everything, signed and unsigned."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import node_world as support
import pytest
from cgn_sdk.protocol import link, messages, tunnel

from cgn_node.core.pricing import Fitness, Prices, Tariff, Terms, Usage

BOAST = messages.Capabilities(4_096, 100_000, 2**46)
EVERYTHING = {name: 2**63 - 1 for name in ("cpu_ns", "memory_byte_seconds", "wall_ns", "gpu_ns", "request_bytes")}
LEAST = link.Machine(1, 1_000, 4 * 2**30)
PRICES = Prices(3_600_000_000, 0, 1_000_000_000, 0)


async def boast(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    """Ten milliseconds of work, and a signed claim of all there is."""
    miner.acknowledge(opened.stream)
    await asyncio.sleep(0.01)
    await miner.answer(opened, [b"ok"], **EVERYTHING)


async def bill(world: support.World) -> tuple[int, dict[str, Any]]:
    """(fee, metrics) of the only row."""
    (public,) = await world.rows()
    stored = await world.node.store.get(public["row_id"])
    assert stored is not None
    return int(public["usage_fee_nano_eur"]), stored.private["parts"]["metrics"]


@pytest.mark.parametrize(
    ("registered", "cpus_milli", "threads_milli", "kmips"),
    [
        (None, 0, 1_000, 1_000),
        (link.Machine(2, 7_000, 2**34), 0, 2_000, 7_000),
        (link.Machine(2, 7_000, 2**34), 500, 500, 7_000),
        (link.Machine(2, 7_000, 2**34), 8_000, 2_000, 7_000),
    ],
    ids=["nothing is registered", "a machine", "a container of half a CPU", "a container of more than the machine"],
)
async def test_a_signed_claim_counts_as_far_as_the_node_can_know(
    tmp_path: Path, registered: link.Machine | None, cpus_milli: int, threads_milli: int, kmips: int
) -> None:
    async with support.world(tmp_path) as world:
        world.central.machines[support.miner_id(0)] = registered
        changed = support.policy(version=2)
        noop, *others = changed.dservices
        changed = replace(changed, dservices=(replace(noop, cpus_milli=cpus_milli), *others))
        await world.central.tell(link.TOPIC_POLICY, changed.to_params())
        while world.node.miners.policy().policy.version < 2:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        await world.miner(serve=boast, capabilities=BOAST).join()
        reply = await world.call("GET", "/noop")
        assert (reply.status, reply.body) == (200, b"ok")
        fee, metrics = await bill(world)
        billed, wall_ns = metrics["billed"], int(metrics["measured"]["wall_ns"])
        assert int(billed["cpu_ns"]) == wall_ns * threads_milli // 1_000
        machine = registered or LEAST
        assert int(billed["memory_byte_seconds"]) == machine.memory_bytes * wall_ns // 10**9
        assert set(metrics["clipped"]) == set(EVERYTHING)
        used = Usage(**{name: int(value) for name, value in billed.items()})
        assert fee == Tariff(Terms(1, {}, PRICES, {}), Fitness(1, kmips, 1), 1_000_000).price(used)
        assert fee == int(reply.headers["cgn-fee-nano-eur"])


async def test_who_says_less_of_its_machine_than_is_registered_is_taken_at_its_word(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        await world.miner(serve=boast, capabilities=messages.Capabilities(3, 5_000, 2**30)).join()
        await world.call("GET", "/noop")
        _, metrics = await bill(world)
        assert int(metrics["billed"]["cpu_ns"]) == 3 * int(metrics["measured"]["wall_ns"])


async def test_many_threads_that_are_cut_are_paid_for_where_central_knows_them(tmp_path: Path) -> None:
    """N-39: unsigned as it is, four threads' work for the time until the DApp leaves counts as four threads' work."""

    async def burn(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        miner.tunnel.head(opened.stream, messages.Head(200, (), None))
        await miner.link.send_data(opened.stream, b"x" * 1_500_000)
        await asyncio.sleep(0.1)
        miner.tunnel.progress(opened.stream, messages.Progress(cpu_ns=400_000_000))
        miner.link.flush()
        await asyncio.sleep(3_600)

    async with support.world(tmp_path) as world:
        await world.miner(serve=burn).join()
        reader, writer = await world.connect()
        writer.write(f"GET /noop HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {world.session_key}\r\n\r\n".encode())
        await reader.readexactly(1_000_000)
        await asyncio.sleep(0.5)
        writer.transport.abort()
        for _ in range(500):
            if await world.rows():
                break
            await asyncio.sleep(0.02)
        _, metrics = await bill(world)
        assert (metrics["ended"], metrics["billed"]["cpu_ns"]) == ("cancelled", "400000000")


@pytest.mark.parametrize("machine", [None, link.Machine(2, 7_000, 2**34)])
async def test_a_small_cap_lasts_as_long_as_the_machine_could_have_worked_for_it(
    tmp_path: Path, machine: link.Machine | None
) -> None:
    """N-22: signs of life that claim everything end the work no sooner than the node's own clock allows."""
    cap = 100_000

    async def hurry(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        while True:
            miner.tunnel.progress(opened.stream, messages.Progress(cpu_ns=2**53 - 1))
            miner.link.flush()
            await asyncio.sleep(0.001)

    async with support.world(tmp_path) as world:
        world.central.machines[support.miner_id(0)] = machine
        await world.miner(serve=hurry, capabilities=BOAST).join()
        reply = await asyncio.wait_for(world.call("GET", "/noop", f"CGN-Max-Fee-Nano-Eur: {cap}"), 30)
        assert (reply.status, reply.problem["code"]) == (402, "price_cap")
        _, metrics = await bill(world)
        known = machine or LEAST
        per_second = known.threads * known.kmips_per_thread_milli * 1_000
        assert int(metrics["measured"]["wall_ns"]) * per_second > (cap - 1) * 10**9
