"""Price and clipping against exact fractions and their laws (N-20, N-21)."""

from dataclasses import fields, replace
from fractions import Fraction
from math import ceil

import pytest
from cgn_sdk.protocol import limits as wire
from cgn_sdk.protocol import link
from hypothesis import given
from hypothesis import strategies as st

from cgn_node.core import limits
from cgn_node.core.pricing import Bill, Fitness, Measured, Prices, Refusal, Tariff, Terms, Usage, believed, clip, settle

LEAST = Fitness(1, 1_000, 4 << 30)

counts = st.integers(0, 2**63 - 1)
usages = st.builds(Usage, *[counts] * 6)
claims = st.builds(Usage, *[st.integers(-(2**64), 2**64)] * 6)
fitnesses = st.builds(
    Fitness,
    threads=st.integers(1, 4_096),
    kmips_per_thread_milli=st.integers(1, 1_000_000),
    memory_bytes=st.integers(1, 2**46),
    gpus=st.integers(0, 64),
    gflops_per_gpu=st.integers(0, 10_000_000),
)
amounts = st.integers(0, 10**15)
prices_ = st.builds(Prices, amounts, amounts, amounts, amounts, st.integers(0, 1_000))
factors = st.integers(0, link.TIER_FACTOR_MAX * 1_000_000)
measurements = st.builds(Measured, st.integers(0, 2**50), st.integers(0, 2**31), st.integers(0, 2**31))


def tariff(fitness: Fitness, prices: Prices, tier_factor_ppm: int) -> Tariff:
    return Tariff(Terms(1, {}, prices, {}), fitness, tier_factor_ppm)


def fee_nano_eur(usage: Usage, fitness: Fitness, prices: Prices, tier_factor_ppm: int) -> int:
    return tariff(fitness, prices, tier_factor_ppm).price(usage)


def exact(usage: Usage, fitness: Fitness, prices: Prices, tier_factor_ppm: int) -> Fraction:
    """The same by the definition of the units, in fractions."""
    hours = Fraction(1, 3_600 * 10**9)
    kmips_hours = usage.cpu_ns * hours * Fraction(fitness.kmips_per_thread_milli, 1_000)
    tflop_hours = usage.gpu_ns * hours * Fraction(fitness.gflops_per_gpu, 1_000)
    gib_hours = Fraction(usage.memory_byte_seconds, 2**30 * 3_600)
    gigabytes = Fraction(usage.request_bytes + usage.response_bytes, 10**9)
    return Fraction(tier_factor_ppm, 10**6) * (
        kmips_hours * prices.kmips_hour_nano_eur
        + tflop_hours * prices.tflop_hour_nano_eur
        + gib_hours * prices.memory_gib_hour_nano_eur
        + gigabytes * prices.gigabyte_nano_eur
    )


@given(fitnesses, prices_, factors, st.booleans())
def test_no_request_costs_more_than_its_policy_lets_expect(
    fitness: Fitness, prices: Prices, tier_factor_ppm: int, is_largest: bool
) -> None:
    """N-21: everything that the largest machine can do in the longest deadline, with the longest bodies."""
    if is_largest:
        fitness = Fitness(
            limits.THREADS, limits.KMIPS_PER_THREAD_MILLI, limits.MEMORY_BYTES, limits.GPUS, limits.GFLOPS_PER_GPU
        )
    fitness = believed(fitness, replace(fitness, kmips_per_thread_milli=limits.KMIPS_PER_THREAD_MILLI))
    measured = Measured(wire.DEADLINE_MAX_MS * 10**6, wire.BODY_MAX_BYTES, wire.BODY_MAX_BYTES)
    most = Usage(*[2**100] * 6)
    prices = replace(prices, minimum_nano_eur=1)
    fee = fee_nano_eur(clip(most, measured, fitness)[0], fitness, prices, tier_factor_ppm)
    four = (getattr(prices, name) for name in link.Prices.__slots__)
    assert fee <= max(1, link.Prices(*four).highest_fee)


@given(usages, fitnesses, prices_, factors)
def test_fee_is_the_exact_price_rounded_up_once(
    usage: Usage, fitness: Fitness, prices: Prices, tier_factor_ppm: int
) -> None:
    fee = fee_nano_eur(usage, fitness, prices, tier_factor_ppm)
    assert type(fee) is int
    assert fee == max(prices.minimum_nano_eur, ceil(exact(usage, fitness, prices, tier_factor_ppm)))


@given(usages, fitnesses, prices_, factors, st.sampled_from([f.name for f in fields(Usage)]), counts)
def test_more_use_never_costs_less(
    usage: Usage, fitness: Fitness, prices: Prices, tier_factor_ppm: int, name: str, more: int
) -> None:
    larger = replace(usage, **{name: getattr(usage, name) + more})
    before = fee_nano_eur(usage, fitness, prices, tier_factor_ppm)
    assert fee_nano_eur(larger, fitness, prices, tier_factor_ppm) >= before
    assert fee_nano_eur(usage, fitness, prices, tier_factor_ppm + more % 10**6) >= before


@given(fitnesses, prices_, factors, st.integers(1, 10**12))
def test_the_budget_is_what_the_cap_pays_for(fitness: Fitness, prices: Prices, tier_factor_ppm: int, cap: int) -> None:
    """N-22: that long is within the cap, a nanosecond more is not; no budget where CPU time costs nothing."""
    budget = tariff(fitness, prices, tier_factor_ppm).budget_ns(cap)
    if budget is None:
        longest = Usage(cpu_ns=10**18)
        assert fee_nano_eur(longest, fitness, prices, tier_factor_ppm) == prices.minimum_nano_eur
        return
    assert max(cap, prices.minimum_nano_eur) >= fee_nano_eur(Usage(cpu_ns=budget), fitness, prices, tier_factor_ppm)
    assert fee_nano_eur(Usage(cpu_ns=budget + 1), fitness, prices, tier_factor_ppm) > cap


@given(fitnesses, prices_, factors)
def test_no_use_costs_the_minimum(fitness: Fitness, prices: Prices, tier_factor_ppm: int) -> None:
    assert fee_nano_eur(Usage(), fitness, prices, tier_factor_ppm) == prices.minimum_nano_eur


def test_prices_of_the_white_paper() -> None:
    """3,290 KMIPS-hours, 3.08 TFLOP-hours or 11.4 gigabytes are 1 EUR, within what the paper rounds."""
    prices = Prices(263_000, 325_000_000, 87_700_000, 0)
    hour = 3_600 * 10**9
    cpu = fee_nano_eur(Usage(cpu_ns=329 * hour), Fitness(1, 10_000, 1), prices, 10**6)
    gpu = fee_nano_eur(Usage(gpu_ns=hour * 308 // 100), Fitness(1, 1, 1, 1, 1_000), prices, 10**6)
    traffic = fee_nano_eur(Usage(response_bytes=11_400_000_000), Fitness(1, 1, 1), prices, 10**6)
    assert cpu == 3_290 * 263_000 == 865_270_000
    assert gpu == 1_001_000_000
    assert traffic == 999_780_000


@given(claims, measurements, fitnesses)
def test_clipped_claim_is_possible_and_names_what_was_cut(claimed: Usage, measured: Measured, fitness: Fitness) -> None:
    usage, clipped = clip(claimed, measured, fitness)
    seconds = Fraction(measured.wall_ns, 10**9)
    assert 0 <= usage.wall_ns <= measured.wall_ns
    assert 0 <= usage.cpu_ns <= measured.wall_ns * fitness.threads
    assert 0 <= usage.gpu_ns <= measured.wall_ns * fitness.gpus
    assert 0 <= usage.memory_byte_seconds <= fitness.memory_bytes * seconds
    assert 0 <= usage.request_bytes <= measured.request_bytes
    assert 0 <= usage.response_bytes <= measured.response_bytes
    for field in fields(Usage):
        billed, said = getattr(usage, field.name), getattr(claimed, field.name)
        assert (billed != said) == (field.name in clipped)
        assert billed <= max(said, 0), "nobody is paid more than they asked for"
    assert clip(usage, measured, fitness) == (usage, ())


@given(fitnesses, st.one_of(st.none(), fitnesses))
def test_no_machine_counts_as_more_than_is_said_or_known_of_it(said: Fitness, registered: Fitness | None) -> None:
    """N-20: each figure alone; what nobody has registered is one thread of 1 KMIPS with 4 GiB at most."""
    counts = believed(said, registered)
    known = registered or LEAST
    for name in ("threads", "kmips_per_thread_milli", "memory_bytes", "gpus"):
        assert getattr(counts, name) == min(getattr(said, name), getattr(known, name))
    assert believed(counts, registered) == counts


@given(claims, measurements, fitnesses, st.integers(1, 4_096_000))
def test_a_container_gives_no_more_than_its_share(
    claimed: Usage, measured: Measured, fitness: Fitness, cpus_milli: int
) -> None:
    usage, _ = clip(claimed, measured, fitness, cpus_milli)
    without, _ = clip(claimed, measured, fitness)
    assert usage.cpu_ns == min(without.cpu_ns, measured.wall_ns * cpus_milli // 1_000)
    assert replace(usage, cpu_ns=without.cpu_ns) == without


@given(measurements, fitnesses, prices_, factors, claims)
def test_no_claim_costs_more_than_the_machine_could_have_done(
    measured: Measured, fitness: Fitness, prices: Prices, tier_factor_ppm: int, claimed: Usage
) -> None:
    """A liar's gain is bounded by the node's own clock and counters."""
    most = Usage(
        cpu_ns=measured.wall_ns * fitness.threads,
        memory_byte_seconds=fitness.memory_bytes * measured.wall_ns // 10**9,
        wall_ns=measured.wall_ns,
        gpu_ns=measured.wall_ns * fitness.gpus,
        request_bytes=measured.request_bytes,
        response_bytes=measured.response_bytes,
    )
    usage, _ = clip(claimed, measured, fitness)
    assert fee_nano_eur(usage, fitness, prices, tier_factor_ppm) <= fee_nano_eur(most, fitness, prices, tier_factor_ppm)


@pytest.mark.parametrize("name", [f.name for f in fields(Usage)])
def test_each_field_is_bounded_alone(name: str) -> None:
    fitness = Fitness(threads=2, kmips_per_thread_milli=1, memory_bytes=4 << 30, gpus=1)
    measured = Measured(wall_ns=10**9, request_bytes=5, response_bytes=7)
    bounds = {
        "cpu_ns": 2 * 10**9,
        "memory_byte_seconds": 4 << 30,
        "wall_ns": 10**9,
        "gpu_ns": 10**9,
        "request_bytes": 5,
        "response_bytes": 7,
    }
    assert clip(Usage(**{name: bounds[name]}), measured, fitness) == (Usage(**{name: bounds[name]}), ())
    assert clip(Usage(**{name: bounds[name] + 1}), measured, fitness) == (Usage(**{name: bounds[name]}), (name,))


@given(usages, fitnesses, prices_, factors, st.one_of(st.none(), st.integers(0, 10**15)))
def test_what_is_settled_is_the_price_or_the_cap_that_it_passes(
    usage: Usage, fitness: Fitness, prices: Prices, tier_factor_ppm: int, cap: int | None
) -> None:
    """N-22: never more than the cap, and the price is named when that is less."""
    terms = tariff(fitness, prices, tier_factor_ppm)
    price = terms.price(usage)
    settled = settle(usage, terms, cap)
    if cap is None or price <= cap:
        assert settled == Bill(price)
    else:
        assert settled == Refusal(price_nano_eur=price, fee_nano_eur=cap)
    assert settle(usage, terms, price) == Bill(price)
    assert settle(usage, terms, price - 1) == Refusal(price, price - 1)
