"""What forge and the compiler say: artefacts are reproducible, every contract test passes, the fuzz reached every action."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEAST_EFFECTIVE_CALLS = 10
"""Of each action of each invariant campaign: calls that were neither reverted nor discarded."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.engine("forge")
def test_artefacts_and_bindings_are_what_the_sources_give() -> None:
    """P-5: reproducible byte for byte by one command."""
    done = run(str(ROOT / "infra/contracts-build"), "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_bindings_are_what_the_artefacts_give() -> None:
    """Needs no compiler."""
    from payouts.bindings import generate

    stale = [name for name, text in generate.generated().items() if (generate.HERE / name).read_text() != text]
    assert not stale, f"run python -m payouts.bindings.generate: {stale}"


@pytest.mark.engine("forge")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_forge() -> None:
    """Unit, fuzz and invariant tests of tests/contracts; P-1 to P-4."""
    done = run(str(ROOT / "infra/contracts-test"))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    rows = re.findall(r"\| (\w+Actions) +\| (\w+) +\| (\d+) +\| (\d+) +\| (\d+) +\|", done.stdout)
    effective = {f"{contract}.{action}": int(calls) - int(r) - int(d) for contract, action, calls, r, d in rows}
    assert len(effective) == 35, sorted(effective)
    seldom = {action: calls for action, calls in effective.items() if calls < LEAST_EFFECTIVE_CALLS}
    assert not seldom, f"the fuzz hardly reached {seldom}"
