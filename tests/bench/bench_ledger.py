"""The ledger beside the raw rate of the same engine, in one run: `python tests/bench/bench_ledger.py [--rows 20000]`.

- row: building one, reading one back, auditing one, in µs and beside the bare hashing of the same bytes;
- spool: rows per second with 64 and with 1,024 waiting, beside the same groups written and synced in a bare loop;
- embedded store: appends of 500 and of 2,000 rows, beside `executemany` of the same columns into a bare table with the
  same settings; reading, totals, marks; appends to the store in a process of its own, as a node has it (the CPU is then
  what the node's own process spends);
- Elasticsearch (where one listens at --elasticsearch): appends of 2,000, beside `helpers.bulk` of the same documents.

Cases are interleaved round by round; the table gives medians, per second of the clock and, where the work is ours, per
second of this process's CPU. All rows are built before the clock starts.
"""

import argparse
import asyncio
import base64
import hashlib
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import row as protocol
from cgn_sdk.protocol.canonical import encode

from ledger import initialise, open_store
from ledger.core.entries import entries_of
from ledger.core.row_audit import AuditRow, Part
from ledger.core.spool_format import encode_group
from ledger.core.verify import Auditor, Stored
from ledger.spool import Spool

IDS = ["p" + base64.b32encode(hashlib.md5(b"%d" % n).digest())[:26].decode().lower() for n in range(64)]
SEAL = {"index": "1", "count": "4", "path": ["ab" * 32, "cd" * 32], "signature": "ef" * 64}


def arguments(number: int) -> dict[str, Any]:
    """A row as a busy node makes it: about 1.3 KB of public columns and 1.6 KB of private parts."""
    fee = 1_000 + number % 977
    row_id = hashlib.md5(b"row %d" % number).hexdigest()
    enterprise, contributor, operator = IDS[number % 16], IDS[16 + number % 32], IDS[60]
    statement = {
        "request_id": row_id,
        "attempt": "1",
        "miner_id": "min_aaaaaaaaaaaaaaaaaaaa",
        "dservice": "mediagen",
        "dservice_version": "1.0.0",
        "status": "200",
        "response_sha256": "0" * 64,
        "response_bytes": "48213",
        "request_bytes": "0",
        "cpu_ns": str(4_000_000 + number),
        "memory_byte_seconds": "181403648",
        "wall_ns": "4700000",
        "gpu_ns": "0",
    }
    return {
        "row_id": row_id,
        "event_time_ns": 1_795_250_000_000_000_000 + number * 1_000_000,
        "node_id": IDS[63],
        "enterprise_id": enterprise,
        "contributor_id": contributor,
        "developer_id": IDS[61],
        "operator_id": operator,
        "dservice": "mediagen",
        "dservice_version": "1.0.0",
        "tier": "2",
        "usage_fee_nano_eur": fee,
        "usage_fee_nano_cpu": fee * 20,
        "exchange_rate_nano_eur_per_cpu": 50_000_000,
        "pay_in": [protocol.PayIn("enterprise", enterprise, fee * 20)],
        "payouts": [
            protocol.Payout("contributor", contributor, fee - 500, fee * 20 - 10_000),
            protocol.Payout("developer", IDS[61], 300, 6_000),
            protocol.Payout("operator", operator, 200, 4_000),
        ],
        "parts": {
            "request": {"method": "GET", "url": "/mediagen/x.jpg?w=100", "headers": [["accept", "*/*"]] * 6},
            "metrics": {"statement": statement, "seal": SEAL, "measured": {"wall_ns": "5100000"}},
            "service": {"cache": "miss"},
            "accounts": {id_: "0x" + "a" * 40 for id_ in (enterprise, contributor, IDS[61], operator)},
            "custom": {"user": "somebody", "job": "nightly"},
        },
        "salt": hashlib.sha256(b"salt %d" % number).digest(),
        "keccak": keccak_256,
    }


class Table:
    """Measures by name, each with the one it is compared to."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[float, float]]] = {}

    async def measure(self, name: str, rows: int, work: Callable[[], Awaitable[object] | object]) -> None:
        clock, cpu = time.perf_counter(), time.process_time()
        result = work()
        if asyncio.iscoroutine(result):
            await result
        took = time.perf_counter() - clock, time.process_time() - cpu
        self.seen.setdefault(name, []).append((rows / took[0], rows / max(took[1], 1e-9)))

    def line(self, name: str, beside: str = "") -> str:
        wall, cpu = (statistics.median(column) for column in zip(*self.seen[name], strict=True))
        text = f"| {name} | {wall:,.0f} | {cpu:,.0f} |"
        if beside:
            other = statistics.median(rate for rate, _ in self.seen[beside])
            return f"{text} {wall / other:.2f} of {beside} |"
        return f"{text} |"


def bare_sqlite(path: Path, rows: list[protocol.Row], group: int) -> None:
    """What the engine does with the same columns and nothing of ours: no triggers, entries, checks, threads."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE rows (ingest INTEGER PRIMARY KEY, row_id BLOB UNIQUE, row_hash BLOB, public_json TEXT, private_json TEXT)"
    )
    for start in range(0, len(rows), group):
        values = [
            (start + n, bytes.fromhex(row.row_id), row.row_hash, row.public_json.decode(), row.private_json.decode())
            for n, row in enumerate(rows[start : start + group], 1)
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", values)
        connection.execute("COMMIT")
    connection.close()


async def store_rates(table: Table, folder: Path, rows: list[protocol.Row], round_: int) -> None:
    for group in (500, 2_000):
        await table.measure(
            f"SQLite bare, groups of {group:,}",
            len(rows),
            partial(bare_sqlite, folder / f"bare{round_}-{group}.db", rows, group),
        )
        for apart, where in ((False, "embedded store"), (True, "store apart")):
            store = await open_store(f"sqlite:///{folder}/{where}{round_}-{group}.db", apart=apart)
            await store.head()  # its process is there

            async def append(store: Any = store, group: int = group) -> None:
                for start in range(0, len(rows), group):
                    await store.append(rows[start : start + group])

            await table.measure(f"{where}, appends of {group:,}", len(rows), append)
            if group == 2_000 and not apart:
                await read_rates(table, store, rows)
            await store.close()


async def read_rates(table: Table, store: Any, rows: list[protocol.Row]) -> None:
    async def read() -> None:
        after = 0
        while page := await store.read(after, 2_000):
            after = page[-1].ingest

    await table.measure("embedded store, read", len(rows), read)
    await table.measure("embedded store, totals", len(rows), lambda: store.totals(1, len(rows)))
    public_id, ids = rows[0].public["operator_id"], [row.row_id for row in rows]
    await table.measure(
        "embedded store, marks",
        len(rows),
        lambda: store.mark("operator", public_id, ids, state="paid", batch_id=b"b" * 32, tx_id="0x1"),
    )


def bare_writes(path: Path, records: list[bytes], group: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    for start in range(0, len(records), group):
        os.write(file, encode_group(start + 1, records[start : start + group]))
        os.fdatasync(file)
    os.close(file)


async def spool_rates(table: Table, folder: Path, rows: list[protocol.Row], round_: int) -> None:
    records = [row.to_bytes() for row in rows]
    for waiting in (64, 1_024):
        await table.measure(
            f"bare write and fdatasync, groups of {waiting:,}",
            len(records),
            partial(bare_writes, folder / f"bare{round_}-{waiting}", records, waiting),
        )
        spool = await Spool.open(folder / f"spool{round_}-{waiting}")

        async def append(spool: Spool = spool, waiting: int = waiting) -> None:
            places = asyncio.Semaphore(waiting)
            for record in records:
                await places.acquire()
                spool.put(record, None, lambda _: places.release())
            for _ in range(waiting):
                await places.acquire()

        await table.measure(f"spool, {waiting:,} waiting", len(records), append)
        await spool.close()


async def elasticsearch_rates(table: Table, url: str, rows: list[protocol.Row], round_: int) -> None:
    from elasticsearch import AsyncElasticsearch, Elasticsearch, helpers

    prefix = f"bench-{os.getpid()}-{round_}"
    await initialise(f"{url}/{prefix}")
    store = await open_store(f"{url}/{prefix}")
    actions = [
        {
            "_op_type": "create",
            "_index": f"{prefix}-rows-0000-00",
            "_id": row.row_id,
            "_source": {**row.public, "row_hash": row.row_hash.hex(), "private": row.private_json.decode()},
        }
        for row in rows
    ]
    with Elasticsearch(url) as client:
        await table.measure(
            "Elasticsearch helpers.bulk, 2,000", len(rows), lambda: helpers.bulk(client, actions, chunk_size=2_000)
        )

    async def append() -> None:
        for start in range(0, len(rows), 2_000):
            await store.append(rows[start : start + 2_000])

    async def read() -> None:
        after = 0
        while page := await store.read(after, 2_000):
            after = page[-1].ingest

    await table.measure("Elasticsearch store, appends of 2,000", len(rows), append)
    await table.measure("Elasticsearch store, read", len(rows), read)
    await table.measure("Elasticsearch store, totals", len(rows), lambda: store.totals(1, len(rows)))
    public_id, ids = rows[0].public["operator_id"], [row.row_id for row in rows]
    await table.measure(
        "Elasticsearch store, marks",
        len(rows),
        lambda: store.mark("operator", public_id, ids, state="paid", batch_id=b"b" * 32, tx_id="0x1"),
    )
    await store.close()
    async with AsyncElasticsearch(url) as waiting:
        await waiting.indices.delete(index=list((await waiting.indices.get(index=f"{prefix}-*")).body))
        await waiting.indices.delete_index_template(name=f"{prefix}-rows")


async def row_rates(table: Table, given: list[dict[str, Any]], rows: list[protocol.Row]) -> None:
    pieces = [
        [row.public_json, *([row.salt + b"metrics"] * 5), *(encode(dict(part)) for part in row.parts.values())]
        for row in rows
    ]
    records = [row.to_bytes() for row in rows]

    shown = [
        AuditRow(
            n, row.row_id, row.row_hash, row.public_json, row.private_json, [Part(*e) for e in entries_of(row.public)]
        )
        for n, row in enumerate(rows, 1)
    ]
    rules = Auditor(keccak_256, Stored([], [], []), [], chain_id=1, token="0x").rules
    await table.measure(
        "Keccak of a row's bytes", len(rows), lambda: [[keccak_256(piece) for piece in row] for row in pieces] and None
    )
    await table.measure("build_row", len(rows), lambda: [protocol.build_row(**one) for one in given] and None)
    await table.measure(
        "decode_row", len(rows), lambda: [protocol.decode_row(one, keccak_256) for one in records] and None
    )
    await table.measure("audit a row", len(rows), lambda: rules.audit(shown))
    assert not rules.audit(shown).findings.kept


async def main(options: argparse.Namespace) -> None:
    given = [arguments(number) for number in range(options.rows)]
    rows = [protocol.build_row(**one) for one in given]
    few = options.rows // 4
    table = Table()
    for round_ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            await row_rates(table, given[:few], rows[:few])
            await spool_rates(table, Path(name), rows, round_)
            await store_rates(table, Path(name), rows, round_)
        if options.elasticsearch:
            await elasticsearch_rates(table, options.elasticsearch, rows, round_)
    print(
        f"rows: {options.rows:,}, of {len(rows[0].public_json):,} public and {len(rows[0].private_json):,} private bytes"
    )
    print("| case | rows/s | rows per CPU-second | ratio |\n| --- | ---: | ---: | --- |")
    for name, beside in (
        ("Keccak of a row's bytes", ""),
        ("build_row", "Keccak of a row's bytes"),
        ("decode_row", "Keccak of a row's bytes"),
        ("audit a row", "Keccak of a row's bytes"),
        *((f"bare write and fdatasync, groups of {n}", "") for n in ("64", "1,024")),
        *((f"spool, {n} waiting", f"bare write and fdatasync, groups of {n}") for n in ("64", "1,024")),
        *((f"SQLite bare, groups of {n}", "") for n in ("500", "2,000")),
        *((f"embedded store, appends of {n}", f"SQLite bare, groups of {n}") for n in ("500", "2,000")),
        *((f"store apart, appends of {n}", f"SQLite bare, groups of {n}") for n in ("500", "2,000")),
        *((f"embedded store, {what}", "") for what in ("read", "totals", "marks")),
        ("Elasticsearch helpers.bulk, 2,000", ""),
        ("Elasticsearch store, appends of 2,000", "Elasticsearch helpers.bulk, 2,000"),
        *((f"Elasticsearch store, {what}", "") for what in ("read", "totals", "marks")),
    ):
        if name in table.seen:
            print(table.line(name, beside))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where files are written; a real disk, not memory", default=None)
    parser.add_argument("--elasticsearch", metavar="URL", help="such as http://127.0.0.1:9209", default="")
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args()))
    sys.exit(0)
