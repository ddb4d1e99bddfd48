"""Open files are shared so that no listener can take what money needs, nor what another listener needs."""

from hypothesis import given
from hypothesis import strategies as st

from cgn_node import limits
from cgn_node.descriptors import ALL, LEAST, WANTED, share


def taken(work: int, miners: int) -> int:
    """Most files open at once."""
    others = limits.STATUS_CONNECTIONS_MAX + limits.METRICS_CONNECTIONS_MAX + limits.CENTRAL_CONNECTIONS_MAX
    return limits.DESCRIPTORS_RESERVED + others + 3 * work + miners


def test_with_enough_every_listener_has_its_full_bound() -> None:
    found = share(WANTED)
    assert found is not None
    assert (found.work, found.miners) == (limits.CONNECTIONS_MAX, limits.MINERS_MAX) == (ALL.work, ALL.miners)
    less = share(WANTED - 1)
    assert less is not None
    assert less.work < limits.CONNECTIONS_MAX or less.miners < limits.MINERS_MAX


def test_with_too_few_there_is_no_share() -> None:
    least = share(LEAST)
    assert least is not None
    assert least.work >= limits.CONNECTIONS_LEAST
    assert least.miners >= limits.CONNECTIONS_LEAST
    assert share(LEAST - 1) is None


@given(st.integers(LEAST, 2 * WANTED))
def test_bounds_add_up_to_what_may_be_open(open_files: int) -> None:
    found = share(open_files)
    assert found is not None
    assert taken(found.work, found.miners) <= open_files
    assert limits.CONNECTIONS_LEAST <= found.work <= limits.CONNECTIONS_MAX
    assert limits.CONNECTIONS_LEAST <= found.miners <= limits.MINERS_MAX
