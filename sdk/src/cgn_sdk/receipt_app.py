"""`cgn receipt verify`: checks a receipt offline, against what the chain says and the keys one trusts.

    cgn receipt verify RECEIPT.json --anchor ANCHOR.json --trust TRUST.json [--response FILE]

Exit code 0: it proves the row. 1: it does not, and every finding is printed. 2: a file cannot be read as what it should
be. No network is used: whoever wants an anchor that nobody can make up takes it from the chain (`cgn verify --anchor`).
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cgn_sdk import keccak, signing
from cgn_sdk.command_line import Parser
from cgn_sdk.protocol.receipt import MAX_RECEIPT_BYTES, Anchor, Receipt, ReceiptError, Trust, verify_receipt
from cgn_sdk.protocol.row import Finding

EXIT_SOUND, EXIT_FINDINGS, EXIT_USAGE = 0, 1, 2

_T = TypeVar("_T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    given = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        receipt = _read(given.receipt, Receipt.decode)
        anchor = _read(given.anchor, Anchor.decode) if given.anchor else None
        trust = _read(given.trust, Trust.decode)
        response = _digest(given.response) if given.response else ""
    except (OSError, ReceiptError) as error:
        print(f"cgn receipt: {error}", file=sys.stderr)
        return EXIT_USAGE
    findings = verify_receipt(receipt, anchor, trust, keccak.keccak_256, signing.verify, response_sha256=response)
    _print_verdict(receipt, anchor, findings, response)
    return EXIT_FINDINGS if findings else EXIT_SOUND


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cgn receipt", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verify = commands.add_parser("verify", help="check a receipt offline", description=(__doc__ or "").split("\n")[0])
    verify.add_argument("receipt", type=Path, metavar="RECEIPT.json", help="as GET /receipts/<request id> answers")
    verify.add_argument(
        "--anchor",
        type=Path,
        metavar="ANCHOR.json",
        help="the settlement's event; without it nothing is said of the chain",
    )
    verify.add_argument(
        "--trust",
        type=Path,
        required=True,
        metavar="TRUST.json",
        help="public keys of nodes and miners, and the contract",
    )
    verify.add_argument("--response", type=Path, metavar="FILE", help="the response body the receipt should be for")
    return parser


def _read(path: Path, decode: Callable[[bytes], _T]) -> _T:
    with path.open("rb") as file:
        data = file.read(MAX_RECEIPT_BYTES + 1)
    try:
        return decode(data)
    except ReceiptError as error:
        raise ReceiptError(f"{path}: {error}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _print_verdict(receipt: Receipt, anchor: Anchor | None, findings: list[Finding], response: str) -> None:
    row_id = receipt.public.get("row_id")
    if findings:
        print(f"NOT PROVEN: request {row_id!s:.40}")
        for finding in findings:
            print(f"  {finding.where}: {finding.detail} [{finding.code}]")
        return
    print(f"PROVEN: request {row_id}")
    public = receipt.public
    print(f"  {public['dservice']} {public['dservice_version']}, tier {public['tier']}")
    print(f"  fee {_units(public['usage_fee_nano_eur'])} EUR = {_units(public['usage_fee_nano_cpu'])} CPU")
    print("  signed by the node over the row, and by the miner over its statement")
    if response:
        print("  and it is for this response")
    if anchor is None:
        print("  not looked at: the chain (no --anchor)")
    else:
        batch = anchor.batch_id(keccak.keccak_256).hex()
        print(
            f"  one of {anchor.row_count} rows of batch {batch}, settled in {anchor.tx_id or 'a transaction not named'}"
        )


def _units(nano: str) -> str:
    """1e-9 units as a decimal fraction, without a float."""
    digits = nano.rjust(10, "0")
    return f"{digits[:-9]}.{digits[-9:]}"


if __name__ == "__main__":
    sys.exit(main())
