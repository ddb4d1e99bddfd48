"""When to try again (M-1): growing, bounded, spread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgn_chassis.backoff import Backoff, Failures


@given(st.integers(1, 1_000), st.integers(1_000, 60_000), st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_stay_within_bounds_whatever_the_failures(first: int, most: int, failures: int, random: float) -> None:
    wait = Backoff(first, most).wait_ms(failures, random)
    assert 0 <= wait <= most
    if failures:
        assert wait >= first // 2


def test_waits_double_and_jitter_covers_the_whole_range_above_a_floor() -> None:
    backoff = Backoff(200, 30_000)
    assert backoff.wait_ms(0, 0.9) == 0
    assert [backoff.wait_ms(count, 0.0) for count in (1, 2, 3, 20)] == [100, 100, 100, 100]
    assert [backoff.wait_ms(count, 0.5) for count in (1, 2, 3, 20)] == [150, 250, 450, 15_050]
    assert backoff.wait_ms(3, 0.999) == 799
    assert Backoff(100, 150).wait_ms(2, 0.999) == 149  # the longest wait bounds the second doubling already


def test_the_first_wait_is_not_longer_than_the_longest() -> None:
    with pytest.raises(AssertionError):
        Backoff(200, 100)


def test_what_ran_long_begins_again() -> None:
    failures = Failures(stable_ms=1_000)
    assert [failures.ended(5), failures.ended(999), failures.ended(1_000), failures.ended(0)] == [1, 2, 1, 2]
