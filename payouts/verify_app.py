"""`cgn verify`: do rows, hashes, batches and chain fit together? Needs a ledger and a chain endpoint (L-12).

    cgn verify --ledger sqlite:///ledger.sqlite --rpc http://127.0.0.1:8545 --token 0x…
    cgn verify … --anchor BATCH_ID --out anchor.json     what a DApp needs to check a receipt offline

Exit code 0: everything fits. 1: something does not; each line names a row or a batch. 2: it could not be checked.

The chain is the anchor: events are read from the endpoint given, at least `--confirmations` blocks deep, and what the
ledger says of itself is believed nowhere (`ledger.core.verify` judges).
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.receipt import Anchor

from ledger import open_store
from ledger.core.batch import SettledEvent
from ledger.core.verify import Auditor, Report
from ledger.port import Store, StoreError
from payouts.chain import Chain, ChainError, Web3Chain
from payouts.token import SettledLog, Token

EXIT_SOUND: Final = 0
EXIT_UNSOUND: Final = 1
EXIT_NOT_CHECKED: Final = 2
PAGE_ROWS: Final = 5_000
"""Rows read at once: about 15 MB."""
PAGE_BATCHES: Final = 1_000
SHOWN_FINDINGS: Final = 50
"""Findings printed for people; `--json` has all that were kept."""


def main(argv: list[str]) -> int:
    """Entry point of `cgn verify`."""
    options = _parser().parse_args(argv)
    try:
        chain = Web3Chain(options.rpc)
        if options.anchor:
            return _write_anchor(chain, options)
        return asyncio.run(_verify(chain, options))
    except (ChainError, StoreError, OSError, ValueError) as error:
        print(f"cgn verify: not checked: {error}", file=sys.stderr)
        return EXIT_NOT_CHECKED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cgn verify", description="Check rows, hashes, batches and chain.")
    parser.add_argument("--ledger", help="sqlite:///path, or http(s)://host:port of Elasticsearch")
    parser.add_argument("--rpc", required=True, metavar="URL", help="JSON-RPC endpoint of the chain, one you trust")
    parser.add_argument("--token", required=True, type=_address, metavar="ADDRESS", help="the contract that settles")
    parser.add_argument("--first-block", type=int, default=0, help="no event is older (default 0)")
    parser.add_argument("--confirmations", type=int, default=1, help="how deep an event must be to count (default 1)")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--anchor", type=_batch_id, metavar="BATCH_ID", help="write the anchor of this batch and stop")
    parser.add_argument("--out", type=Path, default=Path("anchor.json"), help="where the anchor goes")
    return parser


def _address(text: str) -> str:
    if len(text) != 42 or not text.startswith("0x"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address: 0x and 40 hexadecimal digits")
    int(text, 16)
    return text.lower()


def _batch_id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        found = b""
    if len(found) != 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a batch id: 64 hexadecimal digits")
    return found


def events_of(chain: Chain, token: str, first_block: int, confirmations: int) -> list[SettledEvent]:
    """All settlements of the contract that are deep enough, in the chain's order. Raises ChainError."""
    chain_id = chain.chain_id()
    last_block = chain.head().number - confirmations + 1
    if last_block < first_block:
        return []
    return [_event(chain_id, token, log) for log in Token(chain, token).settled(first_block, last_block)]


def _event(chain_id: int, token: str, log: SettledLog) -> SettledEvent:
    settled = log.settled
    return SettledEvent(
        chain_id=chain_id,
        token=token,
        settlement_id=settled.batch_id,
        entity=settled.entity,
        role=settled.role,
        account=settled.account,
        amount_nano_cpu=settled.amount,
        xor=settled.xor_hash,
        merkle_root=settled.merkle_root,
        row_count=settled.row_count,
        tx_id="0x" + log.tx_hash.hex(),
    )


async def audit(store: Store, chain: Chain, token: str, first_block: int = 0, confirmations: int = 1) -> Report:
    """Reads everything and lets the auditor judge."""
    auditor = Auditor(keccak_256, chain_id=chain.chain_id(), token=token)
    after = 0
    while rows := await store.read(after, PAGE_ROWS):
        for row in rows:
            auditor.add_row(row)
        after = rows[-1].ingest
    last = b""
    while records := await store.get_batches(after=last, limit=PAGE_BATCHES):
        for record in records:
            auditor.add_batch(record, [row.row_id async for row in store.batch_rows(record.batch_id)])
        last = records[-1].batch_id
    for event in events_of(chain, token, first_block, confirmations):
        auditor.add_event(event)
    return auditor.finish()


async def _verify(chain: Chain, options: argparse.Namespace) -> int:
    if not options.ledger:
        raise ValueError("--ledger says which ledger to check")
    path = options.ledger.removeprefix("sqlite:///")
    if path != options.ledger and not Path(path).is_file():
        raise ValueError(
            f"there is no ledger {path}"
        )  # opening would make an empty one, and find nothing wrong with it
    began = time.monotonic()
    store = await open_store(options.ledger)
    try:
        report = await audit(store, chain, options.token, options.first_block, options.confirmations)
    finally:
        await store.close()
    if options.json:
        print(json.dumps(as_json(report)))
    else:
        print(as_text(report, time.monotonic() - began))
    return EXIT_SOUND if report.sound else EXIT_UNSOUND


def as_json(report: Report) -> dict[str, Any]:
    """The report with numbers that may be large as strings."""
    return {
        "sound": report.sound,
        "rows": report.rows,
        "batches": report.batches,
        "events": report.events,
        "collected_nano_cpu": str(report.collected_nano_cpu),
        "paid_nano_cpu": str(report.paid_nano_cpu),
        "open_entries": report.open_entries,
        "findings": [finding._asdict() for finding in report.findings],
        "more_findings": report.more_findings,
    }


def as_text(report: Report, seconds: float) -> str:
    """What a person reads: what was looked at, then either that it fits or what does not."""
    lines = [
        f"{report.rows} rows: columns, sums and hashes, numbered without gaps",
        f"{report.batches} batches against {report.events} events on the chain: rows, count, amount, XOR, Merkle root",
        f"collected {_cpu(report.collected_nano_cpu)}, paid {_cpu(report.paid_nano_cpu)}; "
        f"{report.open_entries} parts of rows are not settled yet",
    ]
    if report.sound:
        return "\n".join([*lines, f"SOUND: everything fits ({seconds:.2f} s)"])
    lines.append(f"NOT SOUND: {len(report.findings) + report.more_findings} findings ({seconds:.2f} s)")
    lines += [f"  {finding.where}: {finding.detail} [{finding.code}]" for finding in report.findings[:SHOWN_FINDINGS]]
    hidden = len(report.findings) + report.more_findings - SHOWN_FINDINGS
    if hidden > 0:
        lines.append(f"  … and {hidden} more (--json)")
    return "\n".join(lines)


def _cpu(nano_cpu: int) -> str:
    whole, part = divmod(nano_cpu, 10**9)
    return f"{whole:,}.{part:09d} CPU"


def _write_anchor(chain: Chain, options: argparse.Namespace) -> int:
    """What the chain says of one batch, for offline checks."""
    for event in events_of(chain, options.token, options.first_block, options.confirmations):
        if event.batch_id(keccak_256) == options.anchor:
            break
    else:
        print(f"cgn verify: the chain has no settlement of batch {options.anchor.hex()}", file=sys.stderr)
        return EXIT_UNSOUND
    anchor = Anchor(
        chain_id=event.chain_id,
        contract=event.token,
        settlement_id=event.settlement_id,
        entity=event.entity,
        role=event.role,
        account=event.account,
        amount_nano_cpu=event.amount_nano_cpu,
        xor_hash=event.xor,
        merkle_root=event.merkle_root,
        row_count=event.row_count,
        tx_id=event.tx_id,
    )
    options.out.write_bytes(anchor.encode() + b"\n")
    print(f"anchor of batch {options.anchor.hex()[:16]}…: {event.row_count} rows, transaction {event.tx_id}")
    print(f"written to {options.out}")
    return EXIT_SOUND
