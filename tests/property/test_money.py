"""Fees are shared out exactly, whatever the shares (P-9, L-1)."""

import pytest
from cgn_sdk.protocol.row import MAX_AMOUNT, fee_nano_cpu
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.money import WHOLE_PPM, Beneficiary, split_fee

amounts = st.integers(0, MAX_AMOUNT) | st.integers(0, 20)
shares = st.integers(0, WHOLE_PPM)


@given(amounts, amounts, shares, shares, st.tuples(shares, shares, shares), st.booleans())
def test_nothing_is_lost_or_made(
    eur: int, cpu: int, contributor: int, developer: int, charity: tuple[int, int, int], one_charity: bool
) -> None:
    developer = min(developer, WHOLE_PPM - contributor)
    names = ["x", "x", "x"] if one_charity else ["x", "y", "z"]
    payouts = split_fee(
        eur,
        cpu,
        contributor=Beneficiary("c", names[0], charity[0]),
        developer=Beneficiary("d", names[1], charity[1]),
        operator=Beneficiary("o", names[2], charity[2]),
        contributor_ppm=contributor,
        developer_ppm=developer,
    )
    assert sum(payout.amount_nano_eur for payout in payouts) == eur
    assert sum(payout.amount_nano_cpu for payout in payouts) == cpu
    assert all(payout.amount_nano_eur >= 0 and payout.amount_nano_cpu >= 0 for payout in payouts)
    assert payouts == sorted(payouts)
    assert len({payout[:2] for payout in payouts}) == len(payouts)
    share = {(p.role, p.id): p for p in payouts}
    gross = cpu * contributor // WHOLE_PPM
    assert share["contributor", "c"].amount_nano_cpu == gross - gross * charity[0] // WHOLE_PPM


@given(amounts, st.integers(1, MAX_AMOUNT))
def test_the_conversion_rounds_down_by_less_than_one_unit(eur: int, rate: int) -> None:
    cpu = fee_nano_cpu(eur, rate)
    assert cpu * rate <= eur * 10**9 < (cpu + 1) * rate


def test_an_example_by_hand() -> None:
    payouts = split_fee(
        1_001,
        20_023,
        contributor=Beneficiary("c", "x", 100_000),
        developer=Beneficiary("d"),
        operator=Beneficiary("o"),
        contributor_ppm=700_000,
        developer_ppm=200_000,
    )
    assert payouts == [
        ("charity", "x", 70, 1_401),
        ("contributor", "c", 630, 12_615),
        ("developer", "d", 200, 4_004),
        ("operator", "o", 101, 2_003),
    ]


POSSIBLE = {
    "contributor": Beneficiary("c"),
    "developer": Beneficiary("d"),
    "operator": Beneficiary("o"),
    "contributor_ppm": 700_000,
    "developer_ppm": 100_000,
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"contributor_ppm": -1}, "shares of -1 and 100000 ppm do not fit"),
        ({"contributor_ppm": 900_001}, "shares of 900001 and 100000 ppm do not fit"),
        ({"operator": Beneficiary("o", "x", WHOLE_PPM + 1)}, "a charity share of 1000001 ppm does not fit"),
        ({"operator": Beneficiary("o", "x", -1)}, "a charity share of -1 ppm does not fit"),
        ({"operator": Beneficiary("o", "", 1)}, "gives 1 ppm to no charity"),
    ],
)
def test_impossible_shares_are_refused(change: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        split_fee(1_000, 1_000, **{**POSSIBLE, **change})


def test_a_negative_fee_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        split_fee(-1, 0, **POSSIBLE)
