"""What one CPU token buys, by resource and day, as the contract ResourcePrices has it (P-4): R(N) = R(0) * 2^(N/730).

The mirror of the contract in decimal arithmetic, for statements and for whoever checks the chain. Pure.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Final

DAY_ZERO: Final = 17_927
"""31 January 2019, in UTC days since 1970."""

ATTO: Final = 10**18
"""Amounts are in 1e-18 of the resource's unit."""

_PRECISION: Final = 80
"""Decimal digits: amounts have at most 39 before the point in 128 doublings, and 18 of them matter after it."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What holds from a day on."""

    first_day: int
    amount: int
    """On the first day, in 1e-18 units per CPU."""
    doubling_days: int
    """0: the amount stays."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One of the three that a CPU token is worth."""

    number: int
    """As in the contract."""
    unit: str
    white_paper: Coefficients
    printed_digits: int
    """Digits after the point in the white paper's table."""


CPU: Final = Resource(0, "KMIPS-hours", Coefficients(DAY_ZERO, 32_904 * ATTO // 10, 730), 1)
GPU: Final = Resource(1, "TFLOP-hours", Coefficients(DAY_ZERO, 308 * ATTO // 100, 730), 2)
BANDWIDTH: Final = Resource(2, "gigabytes", Coefficients(DAY_ZERO, 114 * ATTO // 10, 730), 1)
RESOURCES: Final = (CPU, GPU, BANDWIDTH)


def amount_on(coefficients: Coefficients, day: int) -> int:
    """What one CPU buys on a day (UTC days since 1970), in 1e-18 units, rounded down.

    Raises ValueError for a day before the coefficients' first.
    """
    if day < coefficients.first_day:
        raise ValueError(f"day {day} is before the first day {coefficients.first_day}")
    if coefficients.doubling_days == 0:
        return coefficients.amount
    doublings, rest = divmod(day - coefficients.first_day, coefficients.doubling_days)
    if rest == 0:
        return coefficients.amount << doublings
    with localcontext(Context(prec=_PRECISION, rounding=ROUND_FLOOR)):
        power = Decimal(2) ** (Decimal(rest) / coefficients.doubling_days)
        return int((power * coefficients.amount * 2**doublings).to_integral_value(ROUND_FLOOR))


def factor(doubling_days: int) -> int:
    """K = 2^(1/doubling_days) in 128 binary digits, rounded down: what `setCoefficients` wants beside the days."""
    if doubling_days == 0:
        return 2**128
    with localcontext(Context(prec=_PRECISION, rounding=ROUND_FLOOR)):
        return int((Decimal(2) ** (Decimal(1) / doubling_days) * 2**128).to_integral_value(ROUND_FLOOR))


def cost(coefficients: Coefficients, quantity: int, day: int) -> int:
    """What a quantity (1e-18 units) costs on a day, in 1e-9 CPU, rounded up."""
    return -(-quantity * 10**9 // amount_on(coefficients, day))


def printed(amount: int, digits: int) -> str:
    """An amount as the white paper's table prints it."""
    return str((Decimal(amount) / ATTO).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
