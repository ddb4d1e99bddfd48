"""`cgn verify`: do rows, hashes, batches and chain fit together? Needs a ledger and a chain endpoint (L-12).

    cgn verify --ledger sqlite:///ledger.sqlite --rpc http://127.0.0.1:8545 --token 0x…
    cgn verify … --account 0x…                            whose ledger it is, where several nodes settle on one contract
    cgn verify … --trust trust.json --state seen.json     also what no batch holds yet; and that nothing was rolled back
    cgn verify … --trust central.json                     against the newest heads that Central keeps of each node
    cgn verify … --anchor BATCH_ID --out anchor.json     what a DApp needs to check a receipt offline

Exit code 0: everything fits. 1: something does not; each line names a row or a batch. 2: it could not be checked.

The chain is the anchor: events are read from the endpoint given, at least `--confirmations` blocks deep, and what the
ledger says of itself is believed nowhere (`ledger.core.verify` judges). Rows that are not settled yet are bound by
their node's signature and its signed heads: `--trust` (the file receipts are checked with) or `--node-key` brings its
key. Heads in a trust file (Central's has them) find a ledger that ends earlier than its node once signed, or differs.
What was lost and accepted by its node's signature is named each time, and is no finding.
What could not be checked for want of a key is said, beside the verdict. A malformed row is named and the check
goes on; the ledger is opened for reading only. Beside a payout run it looks again at what does not fit, a few times.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from cgn_sdk.command_line import Parser
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import canonical
from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.loss import Loss, in_words
from cgn_sdk.protocol.receipt import Anchor, ReceiptError
from cgn_sdk.protocol.receipt import Trust as TrustFile
from cgn_sdk.signing import KEY_BYTES
from cgn_sdk.signing import verify as verify_signature

from ledger.audit import audit, settlements_of
from ledger.core.batch import BegunEvent, SettledEvent, SettlementRecord
from ledger.core.row_audit import Keys
from ledger.core.verify import Published, Report, Seen
from ledger.port import StoreError
from payouts import limits
from payouts.chain import Chain, ChainError, Web3Chain
from payouts.on_chain import settlements
from payouts.token import SettledLog, Token

EXIT_SOUND: Final = 0
EXIT_UNSOUND: Final = 1
EXIT_NOT_CHECKED: Final = 2
MAX_STATE_BYTES: Final = 1_000
"""Of a state file: a number and a hash."""
SHOWN_FINDINGS: Final = 50
"""Findings printed for people; `--json` has all that were kept."""


def main(argv: list[str]) -> int:
    """Entry point of `cgn verify`."""
    options = _parser().parse_args(argv)
    try:
        chain = Web3Chain(options.rpc)
        if options.anchor:
            return _write_anchor(chain, options)
        return _verify(chain, options)
    except (ChainError, StoreError, OSError, ValueError) as error:
        print(f"cgn verify: not checked: {error}", file=sys.stderr)
        return EXIT_NOT_CHECKED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cgn verify", description=__doc__)
    parser.add_argument("--ledger", help="sqlite:///path, or http(s)://host:port of Elasticsearch")
    parser.add_argument("--rpc", required=True, metavar="URL", help="JSON-RPC endpoint of the chain, one you trust")
    parser.add_argument("--token", required=True, type=_address, metavar="ADDRESS", help="the contract that settles")
    parser.add_argument(
        "--account",
        type=_address,
        metavar="ADDRESS",
        help="the ledger's payouts account; needed where there are several",
    )
    parser.add_argument("--first-block", type=int, default=0, help="no event is older (default 0)")
    parser.add_argument("--confirmations", type=int, default=1, help="how deep an event must be to count (default 1)")
    parser.add_argument(
        "--trust",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="nodes' keys: a trust file, as receipts are checked with, or Central's with the heads that it has kept",
    )
    parser.add_argument(
        "--node-key", type=_node_key, action="append", default=[], metavar="ID=KEY", help="one node's public id and key"
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="remembers what was seen, so that a rolled-back ledger is found"
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--anchor", type=_batch_id, metavar="BATCH_ID", help="write the anchor of this batch and stop")
    parser.add_argument("--out", type=Path, default=Path("anchor.json"), help="where the anchor goes")
    return parser


def _address(text: str) -> str:
    if len(text) != 42 or not text.startswith("0x"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address: 0x and 40 hexadecimal digits")
    int(text, 16)
    return text.lower()


def _node_key(text: str) -> tuple[str, bytes]:
    name, _, key = text.partition("=")
    try:
        found = bytes.fromhex(key)
    except ValueError:
        found = b""
    if not name or len(found) != KEY_BYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not PUBLIC_ID=KEY, the key {2 * KEY_BYTES} hexadecimal digits")
    return name, found


def _batch_id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        found = b""
    if len(found) != 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a batch id: 64 hexadecimal digits")
    return found


class Shown(NamedTuple):
    """What the chain shows of a ledger's settlements."""

    events: list[SettledEvent]
    """Without what payers have again."""
    begun: list[BegunEvent]


def shown_by(chain: Chain, token: str, first_block: int, confirmations: int, account: str | None = None) -> Shown:
    """Everything that a payouts account, and those before and after it in its line, have settled deep enough, in the
    chain's order. Raises ChainError; ValueError without an account where there is not exactly one line."""
    chain_id = chain.chain_id()
    account = account or _only_account(Token(chain, token), first_block)
    last_block = chain.head().number - confirmations + 1
    if last_block < first_block:
        return Shown([], [])
    found = settlements(Token(chain, token, account, first_block), first_block, last_block)
    return Shown(
        [_event(chain_id, token, log) for seen in found for log in seen.settled],
        [BegunEvent(seen.settlement_id, seen.block_number, seen.is_abandoned, bool(seen.settled)) for seen in found],
    )


def _only_account(token: Token, first_block: int) -> str:
    """A payouts account of the only line: another node's events are in no ledger but its own."""
    lines = token.lines(first_block)
    if not lines:
        raise ValueError(f"no payouts account was opened since block {first_block}: --account says whose ledger it is")
    if len(lines) > 1:
        names = ", ".join(sorted(account for line in lines for account in line))
        raise ValueError(
            f"several payouts accounts settle on this contract; --account says whose ledger it is: {names}"
        )
    return min(lines[0])


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


def _verify(chain: Chain, options: argparse.Namespace) -> int:
    if not options.ledger:
        raise ValueError("--ledger says which ledger to check")
    began = time.monotonic()
    account = options.account or _only_account(Token(chain, options.token), options.first_block)
    node = Token(chain, options.token, account, options.first_block).node()
    report = _audited(chain, options, account, node)
    gaps = not_checked(report)
    if not node:
        gaps.append(f"whether account {account} may settle these rows: the contract does not say whose it settles")
    if options.json:
        print(json.dumps(as_json(report, gaps)))
    else:
        print(as_text(report, gaps, time.monotonic() - began))
    if options.state and report.sound:
        _remember(options.state, report.seen)
    return EXIT_SOUND if report.sound else EXIT_UNSOUND


class Moment(NamedTuple):
    """How far ledger and chain are: the ledger read first."""

    runs: list[SettlementRecord]
    shown: Shown

    @property
    def is_under_way(self) -> bool:
        """Whether a run has begun on the chain that has not ended in the ledger."""
        begun = {item.settlement_id for item in self.shown.begun}
        return any(run.settlement_id in begun and not run.ended_ns for run in self.runs)


def _audited(chain: Chain, options: argparse.Namespace, account: str, node: str) -> Report:
    """Audits. Ledger and chain are read one after the other: what does not fit is looked at again, a few times, as long
    as a payout run moves things between the two."""

    def look() -> Moment:
        runs = settlements_of(options.ledger)
        return Moment(runs, shown_by(chain, options.token, options.first_block, options.confirmations, account))

    now = look()
    for left in reversed(range(limits.VERIFY_LOOKS)):
        report = audit(
            options.ledger,
            now.shown.events,
            chain_id=chain.chain_id(),
            token=options.token,
            begun=now.shown.begun,
            keys=_keys(options),
            seen=_seen(options.state) if options.state else None,
            node=node,
            published=_published(options),
        )
        if report.sound or not left:
            break
        before, now = now, look()
        if now == before and not now.is_under_way:
            break
        time.sleep(limits.LOOK_AGAIN_S)
        now = look()
    return report


def _trusted(options: argparse.Namespace) -> list[TrustFile]:
    found = []
    for path in options.trust:
        try:
            found.append(TrustFile.decode(path.read_bytes()))
        except ReceiptError as error:
            raise ValueError(f"{path}: {error}") from error
    return found


def _keys(options: argparse.Namespace) -> Keys | None:
    nodes: dict[str, bytes] = {}
    for name, key in [*options.node_key, *(pair for file in _trusted(options) for pair in file.nodes.items())]:
        if nodes.setdefault(name, key) != key:
            raise ValueError(f"two keys are given for node {name}: find out which is right")
    return Keys(nodes, verify_signature) if nodes else None


def _published(options: argparse.Namespace) -> Published:
    """What the trust files hold of what nodes signed."""
    files = _trusted(options)
    heads = tuple(Head.decode(data) for file in files for data in file.heads)
    return Published(heads, tuple(Loss.decode(data) for file in files for data in file.losses))


def _seen(path: Path) -> Seen | None:
    """What an earlier audit of this ledger came to, where there was one."""
    if not path.exists():
        return None
    try:
        match canonical.parse(path.read_bytes()[:MAX_STATE_BYTES]):
            case {"rows": str(rows), "commitment": str(commitment)} if rows.isdecimal() and len(commitment) == 64:
                return Seen(int(rows), bytes.fromhex(commitment))
    except ValueError:
        pass
    raise ValueError(f"{path} is not what an earlier check remembered")


def _remember(path: Path, seen: Seen) -> None:
    """All of it or, when the disk is full, what was there before."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(canonical.encode({"rows": str(seen.rows), "commitment": seen.commitment.hex()}) + b"\n")
    new.replace(path)


def not_checked(report: Report) -> list[str]:
    """What nothing was at hand for. Empty: everything was checked."""
    gaps = []
    if report.unbound_rows:
        gaps.append(
            f"{report.unbound_rows} rows that are not settled yet: who wrote them, and whether they were exchanged "
            "(--trust or --node-key brings their node's key)"
        )
    if report.losses and not report.keys:
        gaps.append(f"{len(report.losses)} losses: whether their node signed them (--trust or --node-key)")
    if report.heads and not report.keys:
        gaps.append(f"{report.heads} heads: whether their node signed them (--trust or --node-key)")
    elif report.covered < report.rows:
        gaps.append(
            f"rows {report.covered + 1} to {report.rows}: whether further ones were cut off after them, since no "
            "trusted head is over them (--state finds it the next time)"
        )
    return gaps


def as_json(report: Report, gaps: list[str]) -> dict[str, Any]:
    """The report with numbers that may be large as strings."""
    return {
        "sound": report.sound,
        "rows": report.rows,
        "batches": report.batches,
        "events": report.events,
        "collected_nano_cpu": str(report.collected_nano_cpu),
        "paid_nano_cpu": str(report.paid_nano_cpu),
        "open_entries": report.open_entries,
        "accepted_losses": [json.loads(loss.encode()) for loss in report.losses],
        "not_checked": gaps,
        "begun_by_no_run": [item.settlement_id.hex() for item in report.strangers],
        "findings": [finding._asdict() for finding in report.findings],
        "more_findings": report.more_findings,
    }


def as_text(report: Report, gaps: list[str], seconds: float) -> str:
    """What a person reads: what was looked at, then either that it fits or what does not."""
    lines = [
        f"{report.rows} rows: bytes, sums, hashes and private parts, numbered without gaps",
        f"{report.batches} batches against {report.events} events on the chain: rows, count, amount, XOR, Merkle root",
        f"collected {_cpu(report.collected_nano_cpu)}, paid {_cpu(report.paid_nano_cpu)}; "
        f"{report.open_entries} parts of rows are not settled yet",
    ]
    if report.newest_head is not None:
        lines.append(f"rows 1 to {report.covered} are those that node {report.newest_head.node_id} signed a head over")
    lines += [f"LOST, AND ACCEPTED BY {loss.node_id}: {in_words(loss)}" for loss in report.losses]
    lines += [
        f"settlement {item.settlement_id.hex()} (block {item.block_number}) is no run's, as far as this ledger knows: "
        "somebody began it on the chain, and it moved nothing"
        for item in report.strangers
    ]
    lines += [f"NOT CHECKED: {gap}" for gap in gaps]
    if report.sound:
        but = [*(["what was lost"] if report.losses else []), *(["what was not checked"] if gaps else [])]
        verdict = f"SOUND, but for {' and '.join(but)}" if but else "SOUND: everything fits"
        return "\n".join([*lines, f"{verdict} ({seconds:.2f} s)"])
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
    shown = shown_by(chain, options.token, options.first_block, options.confirmations, options.account)
    for event in shown.events:
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
