"""Time and gas of a payout run: 1,000 rows, 2 enterprises, 20 beneficiaries (P-12, P-13), and many payees.

    .venv/bin/python tests/bench/bench_payouts.py

Everything is real (anvil with a block per transaction, the contracts, the embedded ledger). Prints a table.
"""

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "support"), str(Path(__file__).resolve().parents[2])]

import payout_world as kit  # noqa: E402

CASES = ((1_000, 2, 18), (1_000, 2, 1_000), (10_000, 2, 18))
"""Rows, enterprises, contributors (beneficiaries are two more: developer and operator)."""


def measure(url: str, rows: int, enterprises: int, contributors: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        world = kit.make_world(url, Path(folder))
        for number in range(enterprises):
            world.fund(f"enterprise {number}", 10**15, approved=10**15)

        def add(first: int) -> None:
            world.add_rows(
                [
                    kit.make_row(
                        n, enterprise=f"enterprise {n % enterprises}", contributor=f"contributor {n % contributors}"
                    )
                    for n in range(first, first + rows)
                ]
            )

        add(0)
        with contextlib.redirect_stdout(io.StringIO()):
            new = world.settle()  # every payee is new to the token: the dearest case
        add(rows)
        started_s = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            known = world.settle()
        taken_s = time.perf_counter() - started_s
    gas = [
        sum(tx["gas_used"] for tx in report["transactions"] if tx["step"] == "pay") // len(report["payouts"])
        for report in (new, known)
    ]
    return {"taken_s": taken_s, "report": known, "gas_new": gas[0], "gas_known": gas[1]}


def main() -> None:
    print(
        f"{'rows':>7}{'payers':>8}{'payees':>8}{'whole run s':>13}{'read':>7}{'reserve':>9}{'collect':>9}{'pay':>7}"
        f"{'mark':>7}{'payouts/s':>11}{'gas/payee new':>15}{'known':>8}{'txs':>5}"
    )
    with kit.anvil() as url:
        measure(url, 10, 1, 1)  # loads the libraries
        for rows, enterprises, contributors in CASES:
            found = measure(url, rows, enterprises, contributors)
            report = found["report"]
            ms = report["taken_ms"]
            payees = len(report["payouts"])
            print(
                f"{rows:>7}{enterprises:>8}{payees:>8}{found['taken_s']:>13.2f}"
                f"{ms['read']:>7}{ms['reserve']:>9}{ms['collect']:>9}{ms['pay']:>7}{ms['mark']:>7}"
                f"{payees / (ms['pay'] / 1000):>11.0f}{found['gas_new']:>15}{found['gas_known']:>8}"
                f"{len(report['transactions']):>5}"
            )


if __name__ == "__main__":
    main()
