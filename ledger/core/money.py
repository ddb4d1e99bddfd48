"""How a fee is shared out, exactly (P-9). Pure integers: 1e-9 EUR and 1e-9 CPU, shares in parts per million.

Contributor and developer get their shares rounded **down**; the CGN operator gets what is left, so nothing is lost and
nothing is made. What a beneficiary gives to a charity is rounded down too; the beneficiary keeps what is left of its
part. EUR and CPU are shared out by the same rule, each exact by itself.
"""

from typing import Final, NamedTuple

from cgn_sdk.protocol.row import NANO_PER_UNIT, Payout, fee_nano_cpu

__all__ = ["NANO_PER_UNIT", "WHOLE_PPM", "Beneficiary", "fee_nano_cpu", "split_fee"]

WHOLE_PPM: Final = 1_000_000


class Beneficiary(NamedTuple):
    """Who gets a part of the fee, and what share of that part goes to a charity."""

    public_id: str
    charity_id: str = ""
    charity_ppm: int = 0


def split_fee(
    fee_nano_eur: int,
    fee_nano_cpu: int,
    *,
    contributor: Beneficiary,
    developer: Beneficiary,
    operator: Beneficiary,
    contributor_ppm: int,
    developer_ppm: int,
) -> list[Payout]:
    """Returns the payouts of a row, sorted by role and id; they sum to both fees exactly.

    One charity named by several beneficiaries gets one payout. Raises ValueError for shares beyond the whole, negative
    ones, negative fees, and a charity share without a charity.
    """
    if fee_nano_eur < 0 or fee_nano_cpu < 0:
        raise ValueError("a fee is not negative")
    if contributor_ppm < 0 or developer_ppm < 0 or contributor_ppm + developer_ppm > WHOLE_PPM:
        raise ValueError(f"shares of {contributor_ppm} and {developer_ppm} ppm do not fit into the whole")
    parts = {
        "contributor": (contributor, *_both(fee_nano_eur, fee_nano_cpu, contributor_ppm)),
        "developer": (developer, *_both(fee_nano_eur, fee_nano_cpu, developer_ppm)),
    }
    given_eur = sum(eur for _, eur, _ in parts.values())
    given_cpu = sum(cpu for _, _, cpu in parts.values())
    parts["operator"] = (operator, fee_nano_eur - given_eur, fee_nano_cpu - given_cpu)

    payouts: dict[tuple[str, str], tuple[int, int]] = {}
    for role, (beneficiary, eur, cpu) in parts.items():
        if not 0 <= beneficiary.charity_ppm <= WHOLE_PPM:
            raise ValueError(f"a charity share of {beneficiary.charity_ppm} ppm does not fit into the whole")
        if beneficiary.charity_ppm and not beneficiary.charity_id:
            raise ValueError(f"the {role} gives {beneficiary.charity_ppm} ppm to no charity")
        to_charity = _both(eur, cpu, beneficiary.charity_ppm)
        payouts[role, beneficiary.public_id] = (eur - to_charity[0], cpu - to_charity[1])
        if beneficiary.charity_ppm:
            key = ("charity", beneficiary.charity_id)
            before = payouts.get(key, (0, 0))
            payouts[key] = (before[0] + to_charity[0], before[1] + to_charity[1])
    return [Payout(role, id_, eur, cpu) for (role, id_), (eur, cpu) in sorted(payouts.items())]


def _both(nano_eur: int, nano_cpu: int, ppm: int) -> tuple[int, int]:
    """A share of both amounts, rounded down."""
    return nano_eur * ppm // WHOLE_PPM, nano_cpu * ppm // WHOLE_PPM
