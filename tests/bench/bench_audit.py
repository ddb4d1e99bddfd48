"""`cgn verify` and the rollup of a large ledger: `python tests/bench/bench_audit.py --rows 100000 1000000`.

Makes a settled ledger of so many rows in a SQLite file (real rows, entries, batches, payment states, signatures; three
runs, the last rows open), with the events a chain would tell, then measures in processes of their own:

- raw Keccak of the same bytes (public columns, parts), one process: what the others are compared to;
- the audit, with a process for each processor (`ledger.audit`);
- the rollup: rows read, checked, planned (`payouts.facts`, `payouts.core.rollup`), as payout runs do it, each over at
  most ROWS_PER_RUN rows, over a copy of the ledger in which nothing is settled.

Prints seconds, CPU-seconds, microseconds of CPU per row, the ratio to raw Keccak, and the peak memory of the largest
process and of the one that gathers. A ledger that is there already is used again (`--folder`).
"""

import argparse
import asyncio
import multiprocessing
import os
import pickle
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).resolve().parents[1] / "support"),
    str(Path(__file__).resolve().parent),
    str(Path(__file__).resolve().parents[2]),
]

from bench_ledger import arguments  # noqa: E402
from cgn_sdk.keccak import keccak_256  # noqa: E402
from cgn_sdk.protocol import row as protocol  # noqa: E402
from cgn_sdk.protocol.receipt import ROW  # noqa: E402
from cgn_sdk.protocol.settlement import NO_SETTLEMENT  # noqa: E402
from cgn_sdk.signing import Signer  # noqa: E402
from cgn_sdk.signing import verify as verify_signature  # noqa: E402
from settled_ledger import CHAIN, TOKEN, settle, sign_heads  # noqa: E402

from ledger import open_store  # noqa: E402
from ledger.audit import audit  # noqa: E402
from ledger.core.row_audit import Keys  # noqa: E402
from payouts.core.rollup import plan  # noqa: E402
from payouts.facts import load  # noqa: E402
from payouts.limits import ROWS_PER_RUN  # noqa: E402

RUNS = 3
GROUP = 10_000
NODE = Signer(bytes(32))


def make_rows(first: int) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """GROUP rows, signed by their node, as `carry_row` takes them over."""
    made = [protocol.build_row(**arguments(number)) for number in range(first, first + GROUP)]
    return [(row.public_json, row.private_json, row.row_hash, NODE.sign(ROW, row.row_hash)) for row in made]


def groups_of(rows: int) -> Iterator[list[protocol.Row]]:
    firsts = range(0, rows, GROUP)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(make_rows, first) for first in firsts[:3]]
        for first in [*firsts[3:], None, None, None]:
            if pending:
                yield [protocol.carry_row(*row, keccak_256) for row in pending.pop(0).result()]
            if first is not None:
                pending.append(pool.submit(make_rows, first))


async def make_ledger(path: Path, rows: int) -> None:
    """Rows by the store; settlements, marks and a head as payouts and the node would write them."""
    store = await open_store(f"sqlite:///{path}")
    node_id = ""
    for group in groups_of(rows):
        await store.append(group)
        node_id = group[0].public["node_id"]
    await sign_heads(store, node_id, NODE, rows)
    await store.close()
    shutil.copy(path, path.with_suffix(".open"))
    store = await open_store(f"sqlite:///{path}")
    events = []
    previous, per_run = NO_SETTLEMENT, rows // RUNS
    for run in range(RUNS - 1):  # the rows of the last one stay open
        previous, more = await settle(store, run * per_run + 1, (run + 1) * per_run, previous, f"run {run}")
        events += more
    await store.close()
    path.with_suffix(".events").write_bytes(pickle.dumps((events, node_id)))


def bare_keccak(path: Path, rows: int) -> None:
    """The bytes of the rows, hashed as the protocol wants it: the columns, five salts, five parts."""
    database = sqlite3.connect(path)
    database.text_factory = bytes
    for public, private in database.execute("SELECT public_json, private_json FROM rows"):
        keccak_256(public)
        keccak_256(private)
        for _ in range(5):
            keccak_256(public[:40])


def run_audit(path: Path, rows: int) -> None:
    events, node_id = pickle.loads(path.with_suffix(".events").read_bytes())
    keys = Keys({node_id: NODE.public_key}, verify_signature)
    report = audit(f"sqlite:///{path}", events, chain_id=CHAIN, token=TOKEN, keys=keys)
    assert report.sound, report.findings[:5]
    assert report.rows == rows


def run_rollup(path: Path, rows: int) -> None:
    async def run() -> None:
        store = await open_store(f"sqlite:///{path.with_suffix('.open')}")
        for first in range(1, rows + 1, ROWS_PER_RUN):
            last = min(first + ROWS_PER_RUN - 1, rows)
            loaded = await load(store, first, last, (), period="all of it", settlement_id=bytes(32), node_id="")
            decided = plan(
                loaded.facts,
                unresolved=frozenset(),
                accounts=loaded.accounts,
                minimum_payout=0,
                settlement_id=bytes(32),
                blocked=frozenset(),
                keccak=keccak_256,
            )
            assert decided.collected == decided.paid > 0
            del loaded, decided
        await store.close()

    asyncio.run(run())


def measured(work: Callable[[Path, int], None], path: Path, rows: int) -> tuple[float, float, float, float]:
    """Seconds, CPU-seconds, peak MiB of the process, peak MiB of its largest child; in a process of its own."""
    reader, writer = os.pipe()
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            work(path, rows)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(one.ru_utime + one.ru_stime for one in used)
        os.write(writer, pickle.dumps((time.perf_counter() - began, cpu, *(one.ru_maxrss / 1024 for one in used))))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        os.waitpid(child, 0)
        found: tuple[float, float, float, float] = pickle.loads(answer.read())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--folder", help="where ledgers are made, and found again", default=None)
    parser.add_argument("--only", choices=("keccak", "audit", "rollup"), default="")
    options = parser.parse_args()
    works = {"keccak": bare_keccak, "audit": run_audit, "rollup": run_rollup}
    if options.folder:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(options.folder or temporary)
        print("| rows | what | s | CPU-s | µs of CPU per row | ratio | MiB, gathering | MiB, each worker |")
        print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for rows in options.rows:
            path = folder / f"ledger-{rows}.db"
            if not path.exists():
                began = time.perf_counter()
                making = path.with_suffix(".new")
                asyncio.run(make_ledger(making, rows))
                for suffix in (".events", ".open"):
                    making.with_suffix(suffix).rename(path.with_suffix(suffix))
                making.rename(path)
                print(f"made {rows:,} rows in {time.perf_counter() - began:.0f} s", file=sys.stderr)
            beside = 0.0
            for name, work in works.items():
                if options.only not in ("", name):
                    continue
                wall, cpu, here, there = measured(work, path, rows)
                beside = beside or cpu
                print(
                    f"| {rows:,} | {name} | {wall:.1f} | {cpu:.1f} | {cpu / rows * 1e6:.1f} | {cpu / beside:.1f} |"
                    f" {here:.0f} | {there:.0f} |",
                    flush=True,
                )
        print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
