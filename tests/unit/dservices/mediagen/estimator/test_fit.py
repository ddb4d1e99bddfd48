"""The fit of an estimate's coefficients (G-8)."""

import random

import pytest

from dservices.mediagen.estimator.fit import errors, fit, within


def test_the_fit_finds_what_made_the_times() -> None:
    truth = {"a": 5.0, "b": 0.0, "c": 40.0}
    rows = [
        ({"a": a, "b": b, "c": c}, 5.0 * a + 40.0 * c) for a in (1.0, 2.0, 9.0) for b in (0.0, 3.0) for c in (0.5, 4.0)
    ]
    found = fit(rows)
    assert found == pytest.approx(truth, abs=0.3)
    assert max(map(abs, errors(rows, found))) < 0.02


def test_a_trial_that_fits_to_nothing_spoils_nothing() -> None:
    noise = random.Random(3)
    rows = [
        ({"call": 1.0, "area": area / 10}, (4 + 3 * area) * noise.uniform(0.95, 1.05) * (10 if area == 7 else 1))
        for area in range(1, 40)
    ]
    found = fit(rows)
    assert found["area"] == pytest.approx(30, rel=0.1)
    assert within(errors(rows, found)) == pytest.approx(38 / 39)


def test_errors_are_relative_as_what_is_small_counts_as_much() -> None:
    rows = [({"x": 1.0}, 1.0)] * 5 + [({"x": 1000.0}, 1500.0)] * 5
    found = errors(rows, fit(rows))
    assert 0.05 < found[0] < 0.4 and -0.4 < found[-1] < -0.05


def test_nothing_costs_less_than_nothing() -> None:
    rows = [({"a": 1.0, "b": float(n)}, 100.0 - n) for n in range(50)]
    assert all(value >= 0 for value in fit(rows).values())
