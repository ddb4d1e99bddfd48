"""`cgn ledger`: what an operator does to a ledger beside running a node.

    cgn ledger repair-spool FOLDER       go on with a spool that a node refuses as damaged

Exit code 0: done. 1: it could not be done; the line says why. 2: the command line is wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ledger.spool_repair import Repaired, repair_spool


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `cgn ledger`."""
    parser = argparse.ArgumentParser(prog="cgn ledger", description="Prepare, export and repair a ledger.")
    commands = parser.add_subparsers(dest="command", required=True)
    repair = commands.add_parser("repair-spool", help="keep what is damaged in a spool, and go on without it")
    repair.add_argument("folder", type=Path, help="the folder `spool` in the node's state folder; stop the node first")
    given = parser.parse_args(argv)
    try:
        print(_told(repair_spool(given.folder)))
    except OSError as error:
        print(f"cgn ledger: {error}", file=sys.stderr)
        return 1
    return 0


def _told(repaired: Repaired) -> str:
    """What a person reads of a repair."""
    if repaired.kept is None:
        return f"nothing is damaged: {repaired.rows} rows"
    lines = [f"{name} was damaged" for name in repaired.damaged]
    lines += [f"LOST: row {a}" if a == b else f"LOST: rows {a} to {b}" for a, b in repaired.lost]
    lost = sum(b - a + 1 for a, b in repaired.lost)
    lines.append(f"{repaired.rows} rows are there, {lost} are lost; all old segments are in {repaired.kept}")
    if repaired.damaged:
        lines.append("Rows that stood last and of which nothing can be read have no number: they are not counted.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
