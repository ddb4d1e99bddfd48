"""Token buckets."""

from hypothesis import given
from hypothesis import strategies as st

from central_service.core.throttle import Throttle


def test_a_burst_then_a_rate() -> None:
    throttle = Throttle(burst=2, per_s=0.5, names_max=10)
    for _ in range(2):
        assert throttle.may_try("a", 0)
        throttle.count("a", 0)
    assert not throttle.may_try("a", 0)
    assert throttle.wait_ms("a", 0) == 2000
    assert not throttle.may_try("a", 1999)
    assert throttle.may_try("a", 2000)
    assert throttle.may_try("b", 0)


def test_a_right_try_counts_as_none() -> None:
    throttle = Throttle(burst=1, per_s=0.1, names_max=10)
    throttle.count("a", 0)
    throttle.forgive("a", 0)
    assert throttle.may_try("a", 0)


def test_names_are_bounded_and_the_oldest_goes() -> None:
    throttle = Throttle(burst=1, per_s=0.001, names_max=3)
    for name in "abcd":
        throttle.count(name, 0)
    assert throttle.may_try("a", 0)
    assert not any(throttle.may_try(name, 0) for name in "bcd")


@given(st.lists(st.tuples(st.integers(0, 3000), st.booleans()), max_size=50))
def test_never_more_tries_than_burst_and_rate_allow(steps: list[tuple[int, bool]]) -> None:
    throttle = Throttle(burst=3, per_s=1.0, names_max=10)
    now, tries = 0, 0
    for wait_ms, wants in steps:
        now += wait_ms
        if wants and throttle.may_try("a", now):
            throttle.count("a", now)
            tries += 1
        assert tries <= 3 + now / 1000 + 1e-6


def test_tries_come_back_from_the_last_one_on_whenever_that_was() -> None:
    """The clock of a process that has run for long: what was used up there comes back no sooner."""
    throttle = Throttle(burst=1, per_s=1.0, names_max=10)
    began_ms = 10**9
    throttle.count("a", began_ms)
    assert not throttle.may_try("a", began_ms)
    assert not throttle.may_try("a", began_ms + 999)
    assert throttle.may_try("a", began_ms + 1_000)
