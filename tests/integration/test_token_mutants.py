"""A sample of the mutants; all of them: payouts/contracts/mutants/run (about ten minutes on two busy cores, less on idle ones)."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2] / "payouts/contracts/mutants"
SAMPLE = ("5", "26", "40", "46", "57", "67", "73")
"""No allowance needed, paid twice, a field not logged, no hold period, redeemed twice, claimed twice, today's price."""


def mutants() -> tuple[tuple[str, str, str, str], ...]:
    spec = importlib.util.spec_from_file_location("mutants", HERE / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: tuple[tuple[str, str, str, str], ...] = module.MUTANTS
    return found


def test_every_mutant_still_breaks_something_that_is_there() -> None:
    """Needs no compiler: a mutant whose place has gone would silently stop judging."""
    gone = [
        (contract, breaks)
        for contract, before, after, breaks in mutants()
        if before not in (HERE.parent / f"src/{contract}.sol").read_text() or before == after
    ]
    assert not gone
    assert len(mutants()) >= 30


@pytest.mark.engine("forge")
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_sample_of_the_mutants_is_killed() -> None:
    done = subprocess.run([str(HERE / "run"), *SAMPLE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(SAMPLE)} of {len(SAMPLE)} mutants killed" in done.stdout
