"""The miner's meter (N-20, M-5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner_client.core.meter import Meter, Use

SECOND = 1_000_000_000


def test_a_request_that_runs_alone_is_measured_exactly() -> None:
    meter = Meter()
    meter.begin(1, now_ns=0, cpu_ns=500, memory_bytes=100)
    use = meter.end(1, now_ns=2 * SECOND, cpu_ns=1_500, memory_bytes=100)
    assert (use.cpu_ns, use.memory_byte_seconds, use.wall_ns) == (1_000, 200, 2 * SECOND)


def test_use_while_nothing_is_in_flight_is_nobodys() -> None:
    meter = Meter()
    meter.begin(1, 0, 0, 0)
    meter.end(1, 10, 10, 0)
    meter.begin(2, 20, 9_000, 0)
    assert meter.end(2, 30, 9_005, 0).cpu_ns == 5


def test_two_at_once_share_equally() -> None:
    meter = Meter()
    meter.begin(1, 0, 0, 0)
    meter.begin(2, 10, 100, 0)
    assert meter.end(1, 20, 300, 0).cpu_ns == 100 + 100
    assert meter.end(2, 30, 350, 0).cpu_ns == 100 + 50


def test_a_clock_that_steps_back_counts_as_nothing() -> None:
    """The DService was restarted in the middle: its CPU clock begins anew."""
    meter = Meter()
    meter.begin(1, 0, 1_000_000, 0)
    meter.look(5, 10, 0)
    assert meter.end(1, 10, 30, 0).cpu_ns == 20


def test_a_key_is_in_flight_once() -> None:
    meter = Meter()
    meter.begin(1, 0, 0, 0)
    with pytest.raises(KeyError):
        meter.begin(1, 1, 1, 1)
    with pytest.raises(KeyError):
        meter.end(2, 1, 1, 1)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 2**40)), max_size=60
    )
)
def test_shares_add_up_to_what_was_used(steps: list[tuple[int, int, int, int]]) -> None:
    """Nothing is counted twice: the sum of all shares is at most the whole, and short of it only by rounding."""
    meter, open_keys, now, cpu = Meter(), set[int](), 0, 0
    shares = whole = 0
    for key, step_ns, cpu_step, memory in steps:
        now, cpu = now + step_ns, cpu + cpu_step
        whole += cpu_step if open_keys else 0
        if key in open_keys:
            open_keys.remove(key)
            shares += meter.end(key, now, cpu, memory).cpu_ns
        else:
            open_keys.add(key)
            meter.begin(key, now, cpu, memory)
    for key in sorted(open_keys):
        shares += meter.end(key, now, cpu, 0).cpu_ns
    assert whole - 2 * len(steps) <= shares <= whole


def test_use_so_far_is_what_the_last_look_saw() -> None:
    """For signs of life: shared as the final figures are, and never more than they."""
    meter = Meter()
    meter.begin(1, 0, 0, 1_000)
    meter.look(1_000_000_000, 600, 1_000)
    assert meter.so_far(1) == Use(600, 1_000, 1_000_000_000)
    meter.begin(2, 1_000_000_000, 600, 1_000)
    meter.look(2_000_000_000, 1_000, 1_000)
    assert (meter.so_far(1).cpu_ns, meter.so_far(2).cpu_ns) == (800, 200)
    assert meter.end(1, 2_000_000_000, 1_000, 1_000) == Use(800, 1_500, 2_000_000_000)
