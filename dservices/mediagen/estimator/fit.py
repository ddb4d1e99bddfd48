"""The fit of an estimate's coefficients to measured costs (G-8). Pure, and no library: a few hundred unknowns.

A cost is a sum of amounts times coefficients, none below 0. What is made small are relative errors, as it is they that
the estimate is judged by, and robustly: a trial that fits to nothing counts less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

Row = tuple[Mapping[str, float], float]
"""(amounts by term, measured nanoseconds of reference time)."""

RIDGE = 3e-3
"""Of two terms that tell the same both get a share instead of one everything."""
SWEEPS = 600
ROUNDS = 8
TRUSTED = 0.12
"""A row that is off by less (natural logarithm) has its full weight."""


def fit(rows: Sequence[Row]) -> dict[str, float]:
    """Non-negative coefficients of the terms.

    Least squares of relative errors would rather be too low than too high, as nothing is off by more than 100 % below;
    so the rounds weigh a row by the mean of measured and estimated, and one that does not fit the rest counts less."""
    names = sorted({name for terms, _ in rows for name in terms})
    values = dict.fromkeys(names, 0.0)
    weights = [1 / measured for _, measured in rows]
    for _ in range(ROUNDS):
        values = _solved(rows, weights, names, values)
        weights = []
        for terms, measured in rows:
            estimated = max(measured / 20, sum(values[name] * amount for name, amount in terms.items()))
            apart = abs(math.log(estimated / measured))
            weights.append((estimated * measured) ** -0.5 * min(1.0, TRUSTED / max(apart, 1e-9)) ** 0.5)
    return values


def _solved(
    rows: Sequence[Row],
    weights: Sequence[float],
    names: Sequence[str],
    start: Mapping[str, float],
) -> dict[str, float]:
    """Weighted non-negative least squares by coordinate descent."""
    columns = {
        name: [(index, terms[name] * weights[index]) for index, (terms, _) in enumerate(rows) if terms.get(name)]
        for name in names
    }
    values = dict(start)
    residuals = [
        weight * (measured - sum(values[name] * amount for name, amount in terms.items()))
        for (terms, measured), weight in zip(rows, weights, strict=True)
    ]
    for _ in range(SWEEPS):
        moved = 0.0
        for name in names:
            column = columns[name]
            norm = sum(share * share for _, share in column)
            if norm == 0:
                continue
            gradient = sum(share * residuals[index] for index, share in column)
            value = max(0.0, (values[name] * norm + gradient) / (norm * (1 + RIDGE)))
            change = value - values[name]
            if change:
                values[name] = value
                for index, share in column:
                    residuals[index] -= share * change
                moved = max(moved, abs(change) * norm**0.5)
        if moved < 1e-6:
            break
    return values


def errors(rows: Sequence[Row], values: Mapping[str, float]) -> list[float]:
    """Relative errors of the estimates, signed, in the order of the rows."""
    return [
        sum(values.get(name, 0.0) * amount for name, amount in terms.items()) / measured - 1 for terms, measured in rows
    ]


def within(errors: Sequence[float], bound: float = 0.25) -> float:
    """The share of errors no larger than the bound."""
    return sum(abs(error) <= bound for error in errors) / len(errors)


def spreads(rows: Sequence[Row], values: Mapping[str, float], group: Callable[[str], str]) -> dict[str, float]:
    """How far off (relative error, one standard deviation) what belongs to a group of terms is: from the trials, each
    counted by the square of the group's share in its cost. 0.03 to 1."""
    sums: dict[str, list[float]] = {}
    for (terms, _), error in zip(rows, errors(rows, values), strict=True):
        for name, share in shares(terms, values, group).items():
            total = sums.setdefault(name, [0.0, 0.0])
            total[0] += (share * min(1.0, abs(error))) ** 2
            total[1] += share**2
    return {
        name: max(0.03, min(1.0, (squares / weight) ** 0.5)) for name, (squares, weight) in sums.items() if weight > 0
    }


def shares(terms: Mapping[str, float], values: Mapping[str, float], group: Callable[[str], str]) -> dict[str, float]:
    """Each group's share of an estimate."""
    parts: dict[str, float] = {}
    for name, amount in terms.items():
        cost = values.get(name, 0.0) * amount
        if cost:
            parts[group(name)] = parts.get(group(name), 0.0) + cost
    total = sum(parts.values())
    return {name: cost / total for name, cost in parts.items()} if total else {}
