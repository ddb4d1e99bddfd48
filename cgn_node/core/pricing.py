"""What one request used and what it costs: exact integers, one rounding (N-20, N-21).

Nothing here is a float. Every price is an integer of 1e-9 EUR (`nano_eur`) per unit of use, every use an integer
count, and the fee is one fraction that is rounded
**up** to the next 1e-9 EUR once, at the very end. Left to others: who pays and who receives (ledger, payouts), and
the conversion to CPU tokens.

Units of the white paper: a KMIPS-hour is one thread of 10^9 instructions/s for an hour, a TFLOP-hour 10^12
operations/s for an hour, a gigabyte is 10^9 bytes.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from math import lcm

from cgn_node.core import limits
from cgn_node.core.values import dataclass

NS_PER_HOUR = 3_600 * 10**9
_CPU_DENOMINATOR = NS_PER_HOUR * 1_000  # cpu_ns x milli-KMIPS to KMIPS-hours
_GPU_DENOMINATOR = NS_PER_HOUR * 1_000  # gpu_ns x GFLOPS to TFLOP-hours
_MEMORY_DENOMINATOR = 2**30 * 3_600  # byte-seconds to GiB-hours
_TRAFFIC_DENOMINATOR = 10**9  # bytes to gigabytes
_COMMON = lcm(_CPU_DENOMINATOR, _GPU_DENOMINATOR, _MEMORY_DENOMINATOR, _TRAFFIC_DENOMINATOR)
_CPU_FACTOR = _COMMON // _CPU_DENOMINATOR
_GPU_FACTOR = _COMMON // _GPU_DENOMINATOR
_MEMORY_FACTOR = _COMMON // _MEMORY_DENOMINATOR
_TRAFFIC_FACTOR = _COMMON // _TRAFFIC_DENOMINATOR
PPM = 1_000_000
_FEE_DENOMINATOR = _COMMON * PPM


@dataclass(frozen=True, slots=True)
class Usage:
    """What one attempt used. The miner's statement claims it; `clip` makes it billable."""

    cpu_ns: int = 0
    memory_byte_seconds: int = 0
    wall_ns: int = 0
    gpu_ns: int = 0
    request_bytes: int = 0
    response_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What the node saw of the same attempt itself: from sending OPEN to the last byte of DONE, and the bodies it
    carried.
    """

    wall_ns: int
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True, slots=True)
class Fitness:
    """What a machine can do: as its miner says (M-2), or as it is registered at Central. `believed` makes of both what
    counts."""

    threads: int
    kmips_per_thread_milli: int
    memory_bytes: int
    gpus: int = 0
    gflops_per_gpu: int = 0
    bandwidth_bytes_per_s: int = 0
    latency_us: int = 0


@dataclass(frozen=True, slots=True)
class Prices:
    """Unit prices in force, in nano EUR; as in Central's policy."""

    kmips_hour_nano_eur: int
    tflop_hour_nano_eur: int
    gigabyte_nano_eur: int
    memory_gib_hour_nano_eur: int
    minimum_nano_eur: int = (
        1  # the least fee of an answered request: every row moves something, so none is free to flood the ledger with
    )


@dataclass(frozen=True, slots=True)
class Terms:
    """The part of Central's policy that the broker decides by. `dservices`: name to the tiers it may run on."""

    version: int
    dservices: Mapping[str, tuple[str, ...]]
    prices: Prices
    tier_factor_ppm: Mapping[str, int]
    cpus_milli: Mapping[str, int] = field(default_factory=dict)
    """CPU that one container of a DService may use, in thousandths; only of those whose registration states it."""


def believed(said: Fitness, registered: Fitness | None) -> Fitness:
    """The part of a machine by which its miner may claim, and for which it is paid (N-20): no more than is registered
    of it, and no more than the miner says itself. Of a machine that nobody has registered all is the miner's word, and
    so it counts as the least that can work."""
    if registered is None:
        return replace(
            said,
            threads=min(said.threads, limits.UNREGISTERED_THREADS),
            kmips_per_thread_milli=min(said.kmips_per_thread_milli, limits.UNREGISTERED_KMIPS_PER_THREAD_MILLI),
            memory_bytes=min(said.memory_bytes, limits.UNREGISTERED_MEMORY_BYTES),
            gpus=0,
        )
    return replace(
        said,
        threads=min(said.threads, registered.threads),
        kmips_per_thread_milli=min(said.kmips_per_thread_milli, registered.kmips_per_thread_milli),
        memory_bytes=min(said.memory_bytes, registered.memory_bytes),
        gpus=min(said.gpus, registered.gpus),
        gflops_per_gpu=min(said.gflops_per_gpu, registered.gflops_per_gpu),
    )


class Tariff:
    """By which one attempt is priced: fixed when it begins. The machine and the `cpus_milli` of the DService (0: none
    stated) bound what is believed of it; the machine, the prices and the factor of its tier make the price."""

    __slots__ = ("_cpu", "_gpu", "_memory", "_minimum", "_traffic", "cpus_milli", "factor_ppm", "fitness", "terms")

    def __init__(self, terms: Terms, fitness: Fitness, factor_ppm: int, cpus_milli: int = 0) -> None:
        self.terms = terms
        self.fitness = fitness
        self.factor_ppm = factor_ppm
        self.cpus_milli = cpus_milli
        prices = terms.prices
        # What one unit of each use costs, in parts of a nano EUR that all four have in common.
        self._cpu = fitness.kmips_per_thread_milli * prices.kmips_hour_nano_eur * _CPU_FACTOR * factor_ppm
        self._gpu = fitness.gflops_per_gpu * prices.tflop_hour_nano_eur * _GPU_FACTOR * factor_ppm
        self._memory = prices.memory_gib_hour_nano_eur * _MEMORY_FACTOR * factor_ppm
        self._traffic = prices.gigabyte_nano_eur * _TRAFFIC_FACTOR * factor_ppm
        self._minimum = prices.minimum_nano_eur

    def price(self, usage: Usage) -> int:
        """In nano EUR: the exact sum of the four products times the tier's factor, rounded up once; at least the
        minimum of the prices."""
        parts = (
            usage.cpu_ns * self._cpu
            + usage.memory_byte_seconds * self._memory
            + (usage.request_bytes + usage.response_bytes) * self._traffic
        )
        if usage.gpu_ns:
            parts += usage.gpu_ns * self._gpu
        fee = -(-parts // _FEE_DENOMINATOR)
        return fee if fee > self._minimum else self._minimum

    def budget_ns(self, cap_nano_eur: int) -> int | None:
        """The longest CPU time whose price is within the cap; None where CPU time costs nothing."""
        return cap_nano_eur * _FEE_DENOMINATOR // self._cpu if self._cpu else None


@dataclass(frozen=True, slots=True)
class Bill:
    """A use is within its cap, or has none: it is billed."""

    fee_nano_eur: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A use passes its cap: no more than the cap is billed for it, and the result is not given away."""

    price_nano_eur: int
    fee_nano_eur: int


def settle(usage: Usage, tariff: Tariff, cap_nano_eur: int | None) -> Bill | Refusal:
    """What a use costs whoever set this cap: of an estimate, before the work; of what has been used so far, whether it
    may go on; of all that was used, what is charged (N-22)."""
    price = tariff.price(usage)
    if cap_nano_eur is not None and price > cap_nano_eur:
        return Refusal(price, cap_nano_eur)
    return Bill(price)


def clip(claimed: Usage, measured: Measured, fitness: Fitness, cpus_milli: int = 0) -> tuple[Usage, tuple[str, ...]]:
    """The billable part of a claim, and the names of the fields that claimed more than is possible (N-20).

    Impossible is: longer than the node's own wall clock, more CPU than every thread of the machine for that time, or
    than the `cpus_milli` of the DService (0: not stated), more memory than the machine has for that time, more GPU time
    than its GPUs give, more bytes than the node carried. Negative claims count as impossible and become 0.
    """
    wall_ns = measured.wall_ns
    cpu_ns = wall_ns * fitness.threads
    if 0 < cpus_milli < 1_000 * fitness.threads:
        cpu_ns = wall_ns * cpus_milli // 1_000
    if (
        0 <= claimed.wall_ns <= wall_ns
        and 0 <= claimed.cpu_ns <= cpu_ns
        and 0 <= claimed.gpu_ns <= wall_ns * fitness.gpus
        and 0 <= claimed.memory_byte_seconds * 10**9 <= fitness.memory_bytes * wall_ns
        and 0 <= claimed.request_bytes <= measured.request_bytes
        and 0 <= claimed.response_bytes <= measured.response_bytes
    ):
        return claimed, ()
    bounds = {
        "cpu_ns": cpu_ns,
        "memory_byte_seconds": fitness.memory_bytes * wall_ns // 10**9,
        "wall_ns": wall_ns,
        "gpu_ns": wall_ns * fitness.gpus,
        "request_bytes": measured.request_bytes,
        "response_bytes": measured.response_bytes,
    }
    clipped = {name: max(0, min(getattr(claimed, name), bound)) for name, bound in bounds.items()}
    return Usage(**clipped), tuple(name for name in bounds if clipped[name] != getattr(claimed, name))
