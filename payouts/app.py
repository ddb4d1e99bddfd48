"""`cgn payouts run`: settles the ledger's rows on the chain (P-6 to P-13).

cgn payouts run --config payouts.toml                         everything up to the newest row
cgn payouts run --config payouts.toml --day 2026-11-21        rows before the first that is younger than that UTC day
cgn payouts run --config payouts.toml --until-ingest 5000     rows up to that ingestion number
cgn payouts account --key-file payer.key                      makes the key of this node's payouts account; its address
cgn payouts accept --config payouts.toml                      opens the account once it was announced
cgn payouts settings                                          every setting, as an example file

Exit codes: 0 settled (payers that were flagged are shown), 1 could not go on (run it again), 2 wrong arguments or
settings, 3 settled, but the books do not agree with the chain.
"""

import argparse
import asyncio
import json
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cgn_sdk.command_line import Parser

from cgn_chassis import settings
from cgn_chassis.settings import SettingsError
from payouts.config import PayoutSettings

if TYPE_CHECKING:
    from ledger.port import Store
    from payouts.chain import Chain, Signer
    from payouts.journal import Journal
    from payouts.settlement import Settlement
    from payouts.standing import Standing
    from payouts.token import Token

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_BOOKS = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Outside:
    """The world as a run meets it."""

    chain_at: "Callable[[str], Chain]"
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "settings":
        print(settings.reference(PayoutSettings), end="")
        return EXIT_OK
    if options.command == "account":
        return _account(options.key_file)
    try:
        wanted = settings.load(PayoutSettings, options.config, prefix="CGN_PAYOUTS_", environ=os.environ)
        if not wanted.token and wanted.manifest is None:
            raise SettingsError([f"{options.config}: manifest or token must say which contract settles"])
    except SettingsError as error:
        print(*error.mistakes, sep="\n", file=sys.stderr)
        return EXIT_USAGE
    if options.command == "accept":
        return _accept(wanted)
    if options.check:
        from payouts import check

        return check.say(wanted)
    tell: Callable[[str], None] = _silent if options.json else print
    return asyncio.run(_run(wanted, options, tell))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cgn payouts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="settle what is open, or go on with the run that was interrupted")
    run.add_argument("--config", type=Path, required=True, help="settings (cgn payouts settings shows all)")
    window = run.add_mutually_exclusive_group()
    window.add_argument("--day", type=date.fromisoformat, metavar="YYYY-MM-DD", help="up to the end of that UTC day")
    window.add_argument("--until-ingest", type=int, metavar="N", help="rows up to this ingestion number")
    run.add_argument("--json", action="store_true", help="print the report of each run for machines, and nothing else")
    run.add_argument("--check", action="store_true", help="look at settings, keys, ledger and chain, and stop")
    account = commands.add_parser("account", help="make the key of this node's payouts account, or show its address")
    account.add_argument("--key-file", type=Path, required=True, help="where the key is, or is to be")
    accept = commands.add_parser("accept", help="open the payouts account, or take its new collector, once announced")
    accept.add_argument("--config", type=Path, required=True, help="settings")
    commands.add_parser("settings", help="print every setting with its meaning")
    return parser


def _account(path: Path) -> int:
    """Prints the account of the key in a file; makes one where there is none, which nobody else ever sees."""
    import secrets

    from cgn_chassis.tls import write_private
    from payouts import deploy

    try:
        if not path.exists():
            write_private(path, (1 + secrets.randbelow(deploy.CURVE_ORDER - 1)).to_bytes(32, "big").hex().encode())
            print(f"A new key is in {path}. Keep a copy where it cannot be lost: the account's funds move by it alone.")
        print(deploy.address_of(deploy.read_key(path)))
    except (OSError, ValueError) as error:
        print(f"cgn payouts: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _accept(wanted: PayoutSettings) -> int:
    """Sends the payouts account's consent, signed with its key."""
    from payouts import deploy
    from payouts.bindings.utility_token import UtilityToken
    from payouts.rpc import Rpc, RpcError, Unreachable

    try:
        address, _ = _contract(wanted)
        key = bytes.fromhex(wanted.payer_key.reveal().strip().removeprefix("0x"))
        deploy.Sender(Rpc(wanted.rpc_url), key).send(UtilityToken(address).accept_account())
    except (RpcError, Unreachable, OSError, ValueError, deploy.ManifestMismatch) as error:
        print(f"cgn payouts: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{deploy.address_of(key)} is open")
    return EXIT_OK


def _silent(line: str) -> None:
    """With --json only the report is printed."""


async def _run(wanted: PayoutSettings, options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    # late: web3 takes a second to import, and a mistake in the settings should not wait for it
    from ledger.port import StoreError
    from payouts.chain import ChainError, Web3Chain
    from payouts.deploy import ManifestMismatch
    from payouts.driver import DriverError
    from payouts.errors import SettlementError
    from payouts.facts import FactError
    from payouts.interruption import Interruption
    from payouts.journal import JournalError
    from payouts.rpc import RpcError, Unreachable

    until_ingest, stop = options.until_ingest, Interruption()
    stop.watch(asyncio.get_running_loop())
    outside = Outside(Web3Chain, sleep=stop.sleep)
    try:
        while True:
            report = await settle(
                wanted, day=options.day, until_ingest=until_ingest, tell=tell, at=stop.at, outside=outside
            )
            print(json.dumps(report, indent=2) if options.json else _readable(report), flush=True)
            if not report["balances"] or not report["more"]:
                return EXIT_OK if report["balances"] else EXIT_BOOKS
            until_ingest = report["window_end"]  # what came meanwhile is for another day
    except ManifestMismatch as error:
        print("The chain is not the manifest's:", *error.findings, sep="\n  ", file=sys.stderr)
        return EXIT_FAILED
    except (SettlementError, DriverError, FactError, JournalError, StoreError, ChainError) as error:
        print(f"cgn payouts: {error}", file=sys.stderr)
        return EXIT_FAILED
    except (RpcError, Unreachable, OSError, sqlite3.Error) as error:  # the journal's disk may be full
        print(f"cgn payouts: {error}", file=sys.stderr)
        return EXIT_FAILED
    except ValueError as error:
        print(f"cgn payouts: {error}", file=sys.stderr)
        return EXIT_USAGE


async def settle(
    wanted: PayoutSettings,
    *,
    day: date | None = None,
    until_ingest: int | None = None,
    tell: Callable[[str], None] = _silent,
    at: Callable[[str], None] = _silent,
    outside: "Outside | None" = None,
) -> dict[str, Any]:
    """Builds everything for one run, runs it, and returns its report (payouts.settlement), with `window_end`, the
    last row that stood in the window as it began, and `more`, whether rows up to it are left for a further run.

    `at` is told of each point of the journal (payouts.journal), `outside` is what the run knows of time and chain.
    """
    from ledger import open_store
    from payouts.chain import Web3Chain
    from payouts.facts import last_ingest_of
    from payouts.journal import Journal
    from payouts.standing import Standing
    from payouts.token import Token

    address, first_block = _contract(wanted)
    outside = outside or Outside(Web3Chain)
    chain = outside.chain_at(wanted.rpc_url)
    chain_id = chain.chain_id()
    keys = _keys(wanted, chain_id)
    token = Token(chain, address, keys.payer.address, first_block)
    _check_account(token, keys.collector.address)
    store = await open_store(wanted.ledger_url)
    try:
        node_id = await _node_of(token, store, chain_id)
        with Journal(
            wanted.journal,
            chain_id=chain_id,
            token=token.address,
            account=token.payouts_account,
            line=token.line,
            at=at,
        ) as journal:
            settlement = _settlement(wanted, keys, token, store, journal, node_id, outside, tell)

            window_end = await store.head() if until_ingest is None else until_ingest

            async def last_row() -> int:
                first = journal.last_ingest() + 1
                return await last_ingest_of(store, first, day, window_end, wanted.rows_per_run)

            report = await _catch_up(settlement, Standing(settlement, first_block))
            if report is None:
                period = day.isoformat() if day else datetime.now(UTC).date().isoformat()
                report = await settlement.complete(settlement.begin(period, await last_row()))
            is_more = await last_row() > journal.last_ingest()
            return {**report, "window_end": window_end, "more": is_more}
    finally:
        await store.close()


class Keys(NamedTuple):
    """Whose keys a run has."""

    collector: "Signer"
    payer: "Signer"
    """Of this node's payouts account."""
    treasury: "Signer | None"


def _keys(wanted: PayoutSettings, chain_id: int) -> Keys:
    from payouts.chain import Signer

    treasury = Signer(wanted.treasury_key.reveal(), chain_id) if wanted.treasury_key else None
    collector, payer = Signer(wanted.collector_key.reveal(), chain_id), Signer(wanted.payer_key.reveal(), chain_id)
    return Keys(collector, payer, treasury)


def _settlement(
    wanted: PayoutSettings,
    keys: Keys,
    token: "Token",
    store: "Store",
    journal: "Journal",
    node_id: str,
    outside: Outside,
    tell: Callable[[str], None],
) -> "Settlement":
    """What carries a run out, with the driver of its transactions and who tops payers up."""
    from payouts.driver import Driver
    from payouts.settlement import Settlement
    from payouts.top_up import NoTopUp, TopUp, TreasuryTopUp

    driver = Driver(
        token.chain,
        journal,
        wanted.confirmations,
        tell,
        frozenset(signer.address for signer in keys if signer is not None),
        clock=outside.clock,
        sleep=outside.sleep,
        settle_timeout_s=float(wanted.settle_timeout_s),
    )
    top_up: TopUp = NoTopUp()
    if keys.treasury is not None:
        bounds = (wanted.top_up_run_nano_cpu, wanted.top_up_total_nano_cpu)
        top_up = TreasuryTopUp(token, driver, keys.treasury, *bounds)
    return Settlement(
        store=store,
        journal=journal,
        token=token,
        driver=driver,
        collector=keys.collector,
        payer=keys.payer,
        top_up=top_up,
        chain_id=token.chain.chain_id(),
        minimum_payout=wanted.minimum_payout_nano_cpu,
        tell=tell,
        node_id=node_id,
        owner=f"{socket.gethostname()}:{wanted.journal.absolute()}",
    )


async def _catch_up(settlement: "Settlement", standing: "Standing") -> dict[str, Any] | None:
    """Completes what others left undone, run after run. Returns the last one's report; None when there was nothing, or
    when what was left was given up: then its rows are open again, and for the next run at once."""
    report = None
    while True:
        await standing.catch_up()
        run = settlement.journal.unfinished()
        if run is None:
            return report
        settlement.tell(f"going on with the unfinished run over rows {run.first_ingest} to {run.last_ingest}")
        report = await settlement.complete(run)
        if report["abandoned"] and report["balances"]:
            report = None


def _check_account(token: "Token", collector: str) -> None:
    """Raises ValueError unless the chain lets these keys settle: found before anything is reserved."""
    found = token.collector()
    if not found:
        raise ValueError(
            f"{token.payouts_account} is not an open payouts account with a collector: an administrator announces it "
            "(announceAccount), then `cgn payouts accept` opens it"
        )
    if found != collector:
        raise ValueError(f"the collector of {token.payouts_account} is {found}, not {collector}")


async def _node_of(token: "Token", store: "Store", chain_id: int) -> str:
    """Whose rows the payouts account settles. Raises ValueError when the ledger is another node's: found before
    anything is signed."""
    from payouts.deploy import DEVELOPMENT_CHAIN
    from payouts.facts import node_of_ledger

    node, found = token.node(), await node_of_ledger(store)
    if not node and chain_id != DEVELOPMENT_CHAIN:
        raise ValueError(
            f"the contract does not say whose rows {token.payouts_account} settles: an administrator announces the "
            "account with the node's public id (announceAccount), then `cgn payouts accept` binds it for good"
        )
    if node and found and found != node:
        raise ValueError(
            f"the ledger is node {found}'s, and {token.payouts_account} settles the rows of node {node}. Nothing was "
            "signed. Either ledger_url or the payouts account's key is another node's"
        )
    return node or found


def _contract(wanted: PayoutSettings) -> tuple[str, int]:
    """The token's address and its first block; a manifest is checked against the chain before anything is signed."""
    from payouts.deploy import Manifest, check
    from payouts.rpc import Rpc

    if wanted.manifest is None:
        return wanted.token, 0
    manifest = Manifest.load(wanted.manifest)
    check(manifest, Rpc(wanted.rpc_url))
    return manifest.token.address, manifest.first_block


def _cpu(nano: int) -> str:
    return f"{Decimal(nano).scaleb(-9):,.9f}"


def _readable(report: dict[str, Any]) -> str:
    lines = [
        "",
        f"Payouts of {report['period']}: rows {report['first_ingest']} to {report['last_ingest']}, "
        f"{len(report['transactions'])} transactions, {report['gas_used']:,} gas",
        "",
    ]
    for title, key in (("Collected from", "collections"), ("Paid to", "payouts")):
        for line in report[key]:
            lines.append(
                f"  {title:<15}{line['role']:<12}{line['id']}  {_cpu(line['amount']):>20} CPU  {line['rows']:>7} rows  "
                f"{line['taken_ms']:>6} ms  {line['tx_id'][:18]}…"
            )
    for line in report["top_ups"]:
        amount, total = _cpu(line["amount"]), _cpu(line["total"])
        lines.append(
            f"  {'Topped up':<15}{line['role']:<12}{line['id']}  {amount:>20} CPU  by the treasury, {total} CPU in all"
        )
    for held in report["held_back"]:
        what = "Pending" if held["reason"] == "unresolved" or held["role"] in ("enterprise", "subsidy") else "Carried"
        lines.append(
            f"  {what:<15}{held['role']:<12}{held['id']}  {_cpu(held['amount']):>20} CPU  {held['rows']:>7} rows  "
            f"({held['reason']})"
        )
    sums = (
        ("opening", report["opening"]),
        ("+ collected", report["collected"]),
        ("+ subsidies", report["subsidies"]),
        ("- paid", report["paid"]),
        ("= closing", report["expected_closing"]),
        ("on the chain", report["closing"]),
        ("of it carried", report["carried"]),
    )
    lines += ["", *(f"  {name:<15}{_cpu(amount):>20} CPU" for name, amount in sums)]
    verdict = "The books agree with the chain." if report["balances"] else "THE BOOKS DO NOT AGREE WITH THE CHAIN."
    taken = ", ".join(f"{name} {ms} ms" for name, ms in report["taken_ms"].items() if ":" not in name)
    return "\n".join([*lines, "", f"  {verdict}  ({taken})"])


if __name__ == "__main__":
    sys.exit(main())
