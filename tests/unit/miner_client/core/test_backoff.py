"""When to try again (M-1): growing, bounded, spread."""

from hypothesis import given
from hypothesis import strategies as st

from miner_client.core.backoff import Backoff, Failures


@given(st.integers(1, 1_000), st.integers(1_000, 60_000), st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_stay_within_bounds_whatever_the_failures(first: int, most: int, failures: int, random: float) -> None:
    wait = Backoff(first, most).wait_ms(failures, random)
    assert 0 <= wait <= most
    if failures:
        assert wait >= min(first, most) // 2


def test_waits_double_and_jitter_covers_the_upper_half() -> None:
    backoff = Backoff(200, 30_000)
    assert backoff.wait_ms(0, 0.9) == 0
    assert [backoff.wait_ms(count, 0.0) for count in (1, 2, 3, 20)] == [100, 200, 400, 15_000]
    assert backoff.wait_ms(3, 0.999) == 799


def test_what_ran_long_begins_again() -> None:
    failures = Failures(stable_ms=1_000)
    assert [failures.ended(5), failures.ended(999), failures.ended(1_000), failures.ended(0)] == [1, 2, 1, 2]
