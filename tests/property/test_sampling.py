"""The account behind spot checks over any traffic (T-7): its bound, and that nobody is spared for good."""

from cgn_sdk.dservice.sampling import Account
from hypothesis import given, settings
from hypothesis import strategies as st

COSTS = st.integers(min_value=1, max_value=10**12)
RESULT = st.tuples(
    COSTS, st.integers(min_value=200_000, max_value=4_000_000), st.integers(min_value=0, max_value=60_000)
)
"""CPU nanoseconds of the work; what a check costs beside it and what screening does, in millionths."""


def costs_of(result: tuple[int, int, int]) -> dict[str, int]:
    work_ns, check_ppm, screen_ppm = result
    return {
        "work_ns": work_ns,
        "check_ns": max(1, work_ns * check_ppm // 10**6),
        "screen_ns": work_ns * screen_ppm // 10**6,
    }


@given(
    st.binary(min_size=16, max_size=32),
    st.lists(RESULT, max_size=200),
    st.integers(1, 10**6),
    st.integers(1, 20),
    st.lists(st.integers(0, 3 * 10**6), min_size=1, max_size=5),
)
@settings(max_examples=150)
def test_what_is_spent_exceeds_what_is_paid_in_by_one_check_at_most(
    key: bytes, results: list[tuple[int, int, int]], share_ppm: int, reserve: int, real_ppm: list[int]
) -> None:
    """For every grade, at every moment, with checks that cost more or less than was thought. Screening is looked at on
    its own: nobody decides about it."""
    account = Account(key, share_ppm=share_ppm, reserve_checks=reserve)
    dearest: dict[int, int] = {}
    screened: dict[int, int] = {}
    paid = spent = 0
    for number, result in enumerate(results):
        costs = costs_of(result)
        draw = account.draw(str(number), b"", **costs)
        paid += costs["work_ns"] * share_ppm
        spent += costs["screen_ns"] * 10**6
        screened[draw.grade] = screened.get(draw.grade, 0) + costs["screen_ns"] * 10**6
        if draw.checked:
            real_ns = draw.check_ns * real_ppm[number % len(real_ppm)] // 10**6
            account.settle(draw, real_ns)
            spent += real_ns * 10**6
            dearest[draw.grade] = max(dearest.get(draw.grade, 0), real_ns * 10**6)
        assert account.balance(draw.grade) >= -dearest.get(draw.grade, 0) - screened[draw.grade]
        assert (account.paid_in, account.spent) == (paid, spent)
        assert sum(map(account.balance, range(50))) == paid - spent


@given(st.binary(min_size=16, max_size=16), RESULT, st.integers(1, 40))
def test_whatever_it_costs_a_result_can_be_drawn(key: bytes, result: tuple[int, int, int], before: int) -> None:
    """No starvation: cheap or dear, first or later, it is drawn with a probability of at least half the share over what
    the check costs, unless a check has just overdrawn its grade; then again after it has been paid off."""
    costs = costs_of(result)
    account = Account(key)
    overdrawn = 0
    for number in range(before):
        draw = account.draw(str(number), b"", **costs)
        fair_ppm = costs["work_ns"] * 100_000 // costs["check_ns"]
        if draw.probability_ppm:
            assert draw.probability_ppm >= min(10**6, fair_ppm // 2 - 1)
            overdrawn = 0
        else:
            overdrawn += 1
            # One check at most is owed, and each result pays in what its screening leaves of the share.
            left_ppm = costs["work_ns"] * 100_000 - costs["screen_ns"] * 10**6
            assert fair_ppm < 2 or overdrawn <= costs["check_ns"] * 10**6 // left_ppm + 1


@given(st.binary(min_size=16, max_size=32), st.lists(RESULT, max_size=60))
def test_the_same_key_and_results_give_the_same_draws(key: bytes, results: list[tuple[int, int, int]]) -> None:
    def trace() -> list[bool]:
        account = Account(key)
        return [account.draw(str(n), b"d", **costs_of(result)).checked for n, result in enumerate(results)]

    assert trace() == trace()
