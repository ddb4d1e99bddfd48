"""docs/contracts-gas.md says what the artefacts cost, within 2 per cent."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOLERANCE_PERCENT = 2
GAS_PER_KNOWN_PAYEE = 12_500
"""The aim at 100 in a batch, with each payee's whole commitment in an event of its own."""


def meter() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "support/contracts_gas.py"
    spec = importlib.util.spec_from_file_location("contracts_gas", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.engine("anvil")
@pytest.mark.slow
def test_the_gas_report_is_what_is_measured(anvil_url: str) -> None:
    gas = meter()
    measured, said = gas.measure(anvil_url), gas.documented()
    assert list(measured) == list(said)
    moved = {
        what: (said[what], now)
        for what, now in measured.items()
        if abs(now - said[what]) * 100 > TOLERANCE_PERCENT * said[what]
    }
    assert not moved, f"(documented, measured): {moved}"
    assert measured["pay, for each of 400, new payees"] * 400 < gas.GAS_PER_TRANSACTION
    assert measured["pay, for each of 100, known payees"] <= GAS_PER_KNOWN_PAYEE
