"""A first measure of the machine (M-2, thin)."""

from miner_client import fitness


def test_capabilities_follow_the_share() -> None:
    whole, half = fitness.measure(1_000_000, 5_000), fitness.measure(500_000, 5_000)
    assert whole.threads >= half.threads >= 1
    assert whole.memory_bytes // 2 == half.memory_bytes
    assert whole.kmips_per_thread_milli == 5_000


def test_cpu_power_is_measured_when_it_is_not_given() -> None:
    assert fitness.measure().kmips_per_thread_milli > 100
