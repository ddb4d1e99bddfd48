"""`cgn payouts run --check`: what can be known to be wrong before anything is reserved or signed (O-5)."""

import sys
from pathlib import Path

from cgn_chassis import failures
from cgn_chassis.checks import Findings
from cgn_chassis.settings import Secret, exposed
from payouts import deploy
from payouts.config import PayoutSettings
from payouts.rpc import Rpc, RpcError, Unreachable


def say(wanted: PayoutSettings) -> int:
    """Prints what it found, and returns the exit code."""
    found = Findings(exposed(wanted))
    if wanted.ledger_url.startswith("sqlite:///"):
        path = Path(wanted.ledger_url.removeprefix("sqlite:///"))
        if path.exists():
            found.database("ledger_url", path, "rows")
        else:
            found.mistakes.append(f"ledger_url: there is no ledger {path}")
    found.folder("journal", wanted.journal.parent)
    _key(found, "collector_key", wanted.collector_key)
    _key(found, "payer_key", wanted.payer_key)
    _chain(found, wanted)
    for line in (*found.mistakes, *found.notes):
        print(line, file=sys.stderr)
    if not found.mistakes:
        print("the settings are in order")
    return failures.CHANGE_FIRST if found.mistakes else 0


def _key(found: Findings, name: str, secret: Secret) -> None:
    try:
        deploy.address_of(bytes.fromhex(secret.reveal().strip().removeprefix("0x")))
    except ValueError:
        found.mistakes.append(f"{name}_file: holds no private key: 64 hexadecimal digits")


def _chain(found: Findings, wanted: PayoutSettings) -> None:
    """Whether the endpoint answers, and the contracts there are the manifest's."""
    rpc = Rpc(wanted.rpc_url)
    try:
        found.notes.append(f"rpc_url: chain {rpc.integer('eth_chainId')} answers")
    except (RpcError, Unreachable) as error:
        found.mistakes.append(f"rpc_url: {error}")
        return
    if wanted.manifest is None:
        return
    try:
        deploy.check(deploy.Manifest.load(wanted.manifest), rpc)
    except deploy.ManifestMismatch as wrong:
        found.mistakes += [f"manifest: {finding}" for finding in wrong.findings]
    except (OSError, ValueError) as error:
        said = failures.told(error)
        found.mistakes.append(f"manifest: {said.sentence if said else error}")
