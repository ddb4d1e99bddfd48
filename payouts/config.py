"""Settings of `cgn payouts` (payouts.toml, environment CGN_PAYOUTS_…)."""

from dataclasses import dataclass
from pathlib import Path

from cgn_chassis.settings import Secret, setting
from payouts import limits


@dataclass(frozen=True, slots=True)
class PayoutSettings:
    """One per node's ledger. A second run with the same journal goes on where the first one stopped."""

    ledger_url: str = setting(about="The ledger: sqlite:///path or http(s)://host:port")
    journal: Path = setting(
        about="The batch journal; losing it is survived, sharing it between two networks is refused"
    )
    collector_key: Secret = setting(about="File with the key that may reserve and collect, in hexadecimal")
    payer_key: Secret = setting(about="File with the key of this node's payouts account, in hexadecimal")
    rpc_url: str = setting("http://127.0.0.1:8545", about="JSON-RPC endpoint of the chain")
    manifest: Path | None = setting(None, about="Manifest of the deployment; checked against the chain before signing")
    token: str = setting("", about="Address of the token, where there is no manifest")
    treasury_key: Secret | None = setting(
        None, about="File with the key of an account that tops payers up; else nobody"
    )
    top_up_run_nano_cpu: int = setting(
        limits.TOP_UP_RUN_NANO_CPU,
        unit="1e-9 CPU",
        minimum=0,
        about="The treasury adds no more than this for one payer in one run; a payer that lacks more is flagged",
    )
    top_up_total_nano_cpu: int = setting(
        limits.TOP_UP_TOTAL_NANO_CPU,
        unit="1e-9 CPU",
        minimum=0,
        about="Likewise for one payer in all, as the chain tells; a payer that paid back: raise it",
    )
    confirmations: int = setting(
        12,
        unit="blocks",
        minimum=1,
        maximum=limits.CONFIRMATIONS_MAX,
        about="Blocks, with its own, after which a transaction counts as final",
    )
    minimum_payout_nano_cpu: int = setting(
        1_000_000_000, unit="1e-9 CPU", minimum=0, about="Smaller payouts are carried over to the next run"
    )
    rows_per_run: int = setting(
        limits.ROWS_PER_RUN,
        unit="rows",
        minimum=1,
        maximum=limits.ROWS_PER_RUN_MAX,
        about="A window of more rows is settled in several runs: less memory, and gas for each of them",
    )
    settle_timeout_s: int = setting(
        limits.SETTLE_TIMEOUT_S, unit="s", minimum=1, about="How long one step may take before the run gives up for now"
    )
