"""A sample of the mutants, or with CGN_ALL_MUTANTS=1 all of them (about half an hour on two busy cores, less on idle ones)."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2] / "payouts/contracts/mutants"
SAMPLE = ("6", "53", "61", "62", "91", "112", "137")
"""No allowance needed, two entities for one, the payouts key pays whom it likes, a restored backup settles again, no delay,
redeemed twice, claimed twice."""
ALL = os.environ.get("CGN_ALL_MUTANTS") == "1"


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
@pytest.mark.timeout(5400 if ALL else 400)
def test_mutants_are_killed() -> None:
    chosen = [] if ALL else SAMPLE
    done = subprocess.run([str(HERE / "run"), *chosen], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    count = len(chosen) or len(mutants())
    assert f"{count} of {count} mutants killed" in done.stdout
