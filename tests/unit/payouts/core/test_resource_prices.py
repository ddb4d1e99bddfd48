"""The price mirror against the white paper's table (P-4)."""

from datetime import date

import pytest

from payouts.core import resource_prices as prices

DAYS = (0, 1, 7, 30, 90, 365, 730)
"""The table's columns: days 0 and 1, a week, a month, three months, a year, two years."""

TABLE = {
    prices.CPU: ("3290.4", "3293.5", "3312.3", "3385.5", "3584.0", "4653.3", "6580.8"),
    prices.GPU: ("3.08", "3.08", "3.10", "3.17", "3.35", "4.36", "6.16"),
    prices.BANDWIDTH: ("11.4", "11.4", "11.5", "11.7", "12.4", "16.1", "22.8"),
}


@pytest.mark.parametrize("resource", prices.RESOURCES, ids=lambda resource: resource.unit)
def test_the_white_papers_table_to_every_printed_digit(resource: prices.Resource) -> None:
    amounts = [prices.amount_on(resource.white_paper, prices.DAY_ZERO + n) for n in DAYS]
    assert tuple(prices.printed(amount, resource.printed_digits) for amount in amounts) == TABLE[resource]


def test_day_zero_is_31_january_2019() -> None:
    assert date.fromordinal(date(1970, 1, 1).toordinal() + prices.DAY_ZERO) == date(2019, 1, 31)


def test_amounts_are_in_1e_18_of_a_unit() -> None:
    """As the contract has them: 3290.4 KMIPS-hours on the first day."""
    assert prices.amount_on(prices.CPU.white_paper, prices.DAY_ZERO) == 3_290_400_000_000_000_000_000


def test_white_papers_k() -> None:
    assert f"{prices.factor(730) / 2**128:.12f}" == "1.000949967619"


def test_whole_doublings_are_exact_and_days_before_are_refused() -> None:
    for resource in prices.RESOURCES:
        for n in range(30):
            assert prices.amount_on(resource.white_paper, prices.DAY_ZERO + 730 * n) == resource.white_paper.amount << n
    with pytest.raises(ValueError, match="before the first day"):
        prices.amount_on(prices.CPU.white_paper, prices.DAY_ZERO - 1)


def test_costs_round_up() -> None:
    flat = prices.Coefficients(20_000, 3 * prices.ATTO, 0)
    assert [prices.cost(flat, n * prices.ATTO, 20_500) for n in (0, 1, 3)] == [0, 333_333_334, 10**9]


def test_numbers_and_units_are_those_of_the_contract() -> None:
    assert [(one.number, one.unit) for one in prices.RESOURCES] == [
        (0, "KMIPS-hours"),
        (1, "TFLOP-hours"),
        (2, "gigabytes"),
    ]


def test_coefficients_that_do_not_double_stay() -> None:
    flat = prices.Coefficients(20_000, 3 * prices.ATTO, 0)
    assert [prices.amount_on(flat, day) for day in (20_000, 20_001, 40_000)] == [3 * prices.ATTO] * 3
    assert prices.factor(0) == 1 << 128
    with pytest.raises(ValueError, match="before the first day"):
        prices.amount_on(flat, 19_999)


@pytest.mark.parametrize("days", [1, 2, 730])
def test_the_daily_factor_doubles_in_its_days_and_is_rounded_down(days: int) -> None:
    """The contract multiplies by K day by day: K to the power of the days is 2, from below, by less than a part in 2^100."""
    k = prices.factor(days)
    assert k**days <= (2 << 128 * days) if days == 1 else k**days < (2 << 128 * days)
    assert (k + 1) ** days > (2 << 128 * days)
