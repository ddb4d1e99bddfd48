"""The outside judge: slither's findings are the accepted ones and no others, and its ERC-20 check passes whole."""

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".cache/slither/bin"
FORGE = ROOT / ".cache/contracts/node_modules/@foundry-rs/forge-linux-amd64/bin"

ACCEPTED: Final[dict[str, tuple[str, set[str]]]] = {
    "arbitrary-send-erc20": (
        "Seizing an approved stake after its hold is what the master account is for (P-2).",
        {"MasterAccount.execute"},
    ),
    "weak-prng": (
        "No randomness: the remainder is the days since the last doubling.",
        {"ResourcePrices.amountOn"},
    ),
    "incorrect-equality": (
        "Zero means not begun, not announced, empty, no mark, nothing left or nothing at stake; n & 1 == 1 asks for a bit; "
        "two keys are one or they are not.",
        {
            *("ResourcePrices._power", "MainSale.currentPeriod", "MasterAccount.execute", "DelayedRoles._checkDue"),
            *("IeoToken._grant", "IeoToken._unlocked", "UtilityToken._burn", "UtilityToken._succeed"),
            *("UtilityToken._bind", "UtilityToken.abandon", "UtilityToken.acceptAccount", "UtilityToken.balanceOf"),
            *("UtilityToken.burnAnnounced", "UtilityToken.settlementOf", "UtilityToken._refuseOrder"),
        },
    ),
    "reentrancy-benign": ("The only call is to our own IEO token, which calls nobody.", {"MainSale.start"}),
    "reentrancy-events": ("The same.", {"MainSale.start"}),
    "assembly": (
        "The loop over payees is what every payout costs. Its rules are fuzzed, and each has a mutant.",
        {
            *("UtilityToken._word", "UtilityToken._setWord", "UtilityToken._creditAll"),
            *("UtilityToken._refusePayout", "UtilityToken._checkList"),
        },
    ),
    "low-level-calls": (
        "Ether goes to buyers by a checked call after the books are closed (a test tries to enter again).",
        {"MainSale._send"},
    ),
    "naming-convention": ("DOMAIN_SEPARATOR is ERC-2612's name.", {"UtilityToken.DOMAIN_SEPARATOR"}),
}
"""Detector -> why its findings are accepted, and in which functions. Anything else is a failure."""

NOT_ASKED: Final = "timestamp"
"""Days, periods, expiries and holds are what these contracts are about. Whoever makes a block can shift them by seconds,
and nothing here is worth seconds."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{FORGE}:{BIN}:{os.environ['PATH']}:{ROOT / '.cache/node/bin'}",
        "CGN_CONTRACT_TOOLS": str(ROOT / ".cache/contracts"),
    }
    with open(
        ROOT / ".cache/slither.lock", "w"
    ) as lock:  # both write one folder of build output, also under two workers
        fcntl.flock(lock, fcntl.LOCK_EX)
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def place(finding: dict[str, object]) -> str:
    """`Contract.function` of a finding."""
    element = finding["elements"][0]  # type: ignore[index]
    while element["type"] not in ("function", "contract"):
        element = element["type_specific_fields"]["parent"]
    parent = element["type_specific_fields"].get("parent", {}) if element["type"] == "function" else {}
    return f"{parent.get('name', '')}.{element['name']}"


@pytest.mark.engine("forge", "slither")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_slither_finds_what_is_accepted_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "findings.json"
    command = ("slither", ".", "--filter-paths", "node_modules|tests/", "--exclude", NOT_ASKED, "--json", str(out))
    done = run(*command, "--foundry-out-directory", ".cache/forge/out")
    assert out.exists(), done.stderr[-3000:]
    found: dict[str, set[str]] = {}
    for finding in json.loads(out.read_text())["results"].get("detectors", []):
        found.setdefault(finding["check"], set()).add(place(finding))
    accepted = {check: places for check, (_, places) in ACCEPTED.items()}
    # what its data flow reaches differs a little from run to run: fewer places are no finding, others are
    assert set(found) == set(accepted)
    assert not {check: more for check, places in found.items() if (more := places - accepted[check])}


@pytest.mark.engine("forge", "slither")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_slithers_erc20_check_is_whole() -> None:
    """All lines but its note on the approve race, which ERC-20 has by design: permit, or setting to zero first."""
    done = run(
        "slither-check-erc", ".", "UtilityToken", "--erc", "ERC20", "--foundry-out-directory", ".cache/forge/out"
    )
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip().startswith("[")]
    assert sum(line.startswith("[✓]") for line in lines) >= 33, done.stdout + done.stderr[-2000:]
    missing = [line for line in lines if not line.startswith("[✓]")]
    assert missing == ["[ ] UtilityToken is not protected for the ERC20 approval race condition"]
