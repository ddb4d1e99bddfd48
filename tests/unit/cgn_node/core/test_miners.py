"""How miners are ranked, bounded and billed, and how requests wait: the parts below the broker, each bound at n and n + 1."""

from dataclasses import replace

import pytest
from broker_bench import CLAIMED, FITNESS, Bench

from cgn_node.core import limits
from cgn_node.core.commands import Assign, Refuse
from cgn_node.core.events import (
    AttemptFinished,
    ClientGone,
    MinerJoined,
    MinerLeft,
    RequestArrived,
    ServiceLevel,
    SlotsChanged,
)
from cgn_node.core.miners import Miner, Offer, Pool, fitness_fault
from cgn_node.core.pricing import Fitness, Measured, Usage

JOINED = MinerJoined("m1", 1, "2", "con_m1", None, ("noop",), 4, FITNESS)


def an_offer(pool: Pool | None = None, **changed: object) -> Offer:
    """Of a machine that is registered as it says."""
    changed = {"registered": changed.get("fitness", FITNESS)} | changed
    miner = Miner(replace(JOINED, **changed))  # type: ignore[arg-type]
    miner.join(pool or Pool("noop", "2", ""))
    return miner.offers["noop"]


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("threads", 1, limits.THREADS),
        ("kmips_per_thread_milli", 1, limits.KMIPS_PER_THREAD_MILLI),
        ("memory_bytes", 1, limits.MEMORY_BYTES),
        ("gpus", 0, limits.GPUS),
        ("gflops_per_gpu", 0, limits.GFLOPS_PER_GPU),
        ("latency_us", 0, limits.SERVICE_CEILING_US),
    ],
)
def test_bounds_of_fitness(field: str, low: int, high: int) -> None:
    for value in (low, high):
        assert fitness_fault(replace(JOINED, fitness=replace(FITNESS, **{field: value}))) == ""
    for value in (low - 1, high + 1):
        said = fitness_fault(replace(JOINED, fitness=replace(FITNESS, **{field: value})))
        assert said == f"{field} must be between {low} and {high}"


def test_bounds_of_what_a_miner_offers() -> None:
    most = tuple(f"d{n}" for n in range(limits.DSERVICES))
    assert fitness_fault(replace(JOINED, dservices=most)) == fitness_fault(JOINED) == ""
    for names in ((), (*most, "one-more")):
        assert fitness_fault(replace(JOINED, dservices=names)) == f"a miner offers 1 to {limits.DSERVICES} DServices"


@pytest.mark.parametrize(
    ("said", "taken"), [(-1, 0), (0, 0), (limits.SLOTS, limits.SLOTS), (limits.SLOTS + 1, limits.SLOTS)]
)
def test_bounds_of_slots(bench: Bench, said: int, taken: int) -> None:
    bench.join("m1", slots=said)
    bench.join("m2", slots=1)
    bench.tell(SlotsChanged("m2", 2, said))
    assert [miner.slots for miner in bench.broker._dispatcher.miners.values()] == [taken, taken]


@pytest.mark.parametrize("field", ["threads", "kmips_per_thread_milli", "bandwidth_bytes_per_s"])
def test_a_service_level_is_reached_by_as_much_and_not_by_one_less(field: str) -> None:
    """N-8."""
    miner = an_offer(fitness=replace(FITNESS, bandwidth_bytes_per_s=1_000)).miner
    has = getattr(miner.fitness, field)
    assert miner.reaches(ServiceLevel(**{field: has}))
    assert not miner.reaches(ServiceLevel(**{field: has + 1}))


def test_expected_time_has_a_prior_the_network_and_failures_with_a_bound() -> None:
    pool = Pool("noop", "2", "")
    first = an_offer(pool)
    assert first.expected_us == limits.PRIOR_SERVICE_US
    first.learn(8_000)
    far = an_offer(pool, miner="m2", fitness=replace(FITNESS, latency_us=300))
    assert far.expected_us == 8_000 + 300, "the pool's mean until it is measured itself"
    first.failures = limits.FAILURE_SHIFT
    first.place(turn=False)
    slowest = first.expected_us
    first.failures += 1
    first.place(turn=False)
    assert first.expected_us == slowest == 8_000 << limits.FAILURE_SHIFT


def test_equals_take_turns_and_only_taking_a_request_is_a_turn(bench: Bench) -> None:
    """N-8: miners that are expected to be as quick as each other, with slots enough that load does not tell them apart."""
    for name in ("m0", "m1"):
        bench.join(name, slots=1_000)
    takes = [command.miner for n in range(4) for command in bench.arrive(f"r{n}") if isinstance(command, Assign)]
    assert takes == ["m0", "m1", "m0", "m1"]
    as_before = Measured(limits.PRIOR_SERVICE_US * 1_000, 10, 100)
    bench.tell(AttemptFinished("r0", 1, "m0", CLAIMED, as_before))
    bench.tell(SlotsChanged("m0", 1, 1_000))
    assert bench.arrive("r4") == [Assign("r4", 1, "m0")]


def test_who_left_is_expected_for_its_grace_and_then_forgotten(bench: Bench) -> None:
    """N-10: at its last millisecond still, one later no more; who is back is not away."""
    bench.join("keeper")
    pool = bench.broker._dispatcher.miners["keeper"].offers["noop"].pool
    bench.join("m1")
    bench.tell(MinerLeft("m1", 2))
    bench.now_ms += limits.GRACE_MS
    bench.join("m2")
    bench.tell(MinerLeft("m2", 3))
    assert list(pool.away) == ["m1", "m2"]
    bench.join("m3")
    bench.now_ms += 1
    bench.tell(MinerLeft("m3", 4))
    assert list(pool.away) == ["m2", "m3"]
    bench.join("m2")
    assert list(pool.away) == ["m3"]
    bench.tell(MinerLeft("m2", 5))
    assert list(pool.away) == ["m3", "m2"]


@pytest.mark.parametrize(("waited_ms", "is_kept"), [(limits.GRACE_MS, True), (limits.GRACE_MS + 1, False)])
def test_a_failed_request_is_kept_for_who_left_within_the_grace(bench: Bench, waited_ms: int, is_kept: bool) -> None:
    bench.join("m1")
    bench.arrive("r1")
    bench.acknowledge("r1", 1, "m1")
    bench.join("m2")
    bench.tell(MinerLeft("m2", 2))
    bench.now_ms += waited_ms
    refused = [] if is_kept else [Refuse("r1", "bad_gateway", "failed")]
    assert bench.fail("r1", 1, "m1") == refused


def test_who_left_and_could_not_do_it_is_not_waited_for(bench: Bench) -> None:
    bench.join("big", fitness=replace(FITNESS, threads=64))
    bench.arrive("r1", level=ServiceLevel(threads=64))
    bench.join("small")
    bench.tell(MinerLeft("small", 2))
    assert bench.fail("r1", 1, "big") == [Refuse("r1", "bad_gateway", "failed")]


def test_requests_that_overlap_share_the_gpus_and_each_cut_is_named() -> None:
    """N-20."""
    miner = an_offer(fitness=Fitness(4, 9_000, 8 << 30, gpus=2, gflops_per_gpu=10)).miner
    miner.busy, miner.busy_since_ms = 2, 0
    room_ns = (1_000 + limits.CAPACITY_SLACK_MS) * 10**6
    all_of_it = Usage(cpu_ns=4 * room_ns, gpu_ns=2 * room_ns, memory_byte_seconds=(8 << 30) * room_ns // 10**9)
    assert miner.bill(all_of_it, 1_000) == (all_of_it, ())
    for field, cut in (("gpu_ns", "gpu_ns"), ("memory_byte_seconds", "memory_byte_seconds"), ("cpu_ns", "cpu_ns")):
        assert miner.bill(Usage(**{field: 1}), 1_000) == (Usage(), (cut,))
    assert miner.bill(Usage(cpu_ns=1, gpu_ns=1), 1_000) == (Usage(), ("cpu_ns", "gpu_ns"))


def test_the_order_of_a_queue_survives_the_forgetting_of_what_left_it(bench: Bench) -> None:
    """Two accounts in turns, most of them gone while they waited: memory is given back and the rest goes in its order."""
    bench.join("m1")
    bench.arrive("first", account="ent_first")
    names = [f"{account}{n:03d}" for account in "abc" for n in range(200)]
    for name in names:
        bench.broker.handle(RequestArrived(name, f"ent_{name[0]}", "noop", ("2", "3"), 60_000), bench.now_ms)
    [queue] = [queue for queue in bench.broker._register.queues.by_demand.values() if queue.waiting_fresh]
    kept = [name for place, name in enumerate(names) if place % 7 == 3]
    for name in sorted(set(names) - set(kept)):
        bench.broker.handle(ClientGone(name), bench.now_ms)
    assert len(queue.fresh) <= 2 * len(kept) + 64
    bench.broker.check()
    order, current = [], "first"
    for _ in kept:
        [assign] = [command for command in bench.finish(current, 1, "m1") if isinstance(command, Assign)]
        current = assign.request
        order.append(current)
    assert order == sorted(kept, key=lambda name: (int(name[1:]), name)), "the n-th of each account before the next"
