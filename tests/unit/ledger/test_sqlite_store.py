"""What only the embedded store has: triggers, durability settings, a disk that fails, the file itself (L-3, L-4, L-6)."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.row import Row, RowError

from ledger import open_store
from ledger.port import BatchRecord, StoreError, StoreFull
from ledger.sqlite_store import SqliteStore

MakeRow = Callable[..., Row]
WRITER = Path(__file__).parents[2] / "support/store_writer.py"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(path)
    yield opened
    await opened.close()


ATTACKS = [
    "UPDATE rows SET public_json = '{}' WHERE ingest = 1",
    "UPDATE rows SET ingest = 99 WHERE ingest = 1",
    "DELETE FROM rows WHERE ingest = 2",
    "INSERT OR REPLACE INTO rows SELECT 1, row_id, row_hash, '{}', '', x'' FROM rows WHERE ingest = 1",
    "INSERT OR REPLACE INTO rows SELECT 3, row_id, row_hash, '{}', '', x'' FROM rows WHERE ingest = 1",
    "INSERT INTO rows VALUES (9, x'00', x'00', '{}', '', x'')",
    "INSERT INTO rows VALUES (NULL, x'00', x'00', '{}', '', x'') RETURNING ingest / 0",
    "UPDATE entries SET amount_nano_cpu = 0",
    "DELETE FROM entries",
    "INSERT OR REPLACE INTO entries SELECT ingest, entity, 0, 0 FROM entries",
    "UPDATE entities SET public_id = 'x'",
    "DELETE FROM entities",
    "INSERT OR REPLACE INTO entities SELECT entity, role, 'x' FROM entities",
    "INSERT OR REPLACE INTO entities SELECT entity + 50, role, public_id FROM entities",
    "UPDATE OR REPLACE entities SET role = 'x'",
    "UPDATE batches SET row_count = 0",
    "DELETE FROM batches",
    "INSERT OR REPLACE INTO batches SELECT * FROM batches",
    "UPDATE rows SET node_signature = x'00'",
    "UPDATE heads SET last_ingest = 3",
    "DELETE FROM heads",
    "INSERT OR REPLACE INTO heads SELECT last_ingest, node_id, x'00', 0, x'' FROM heads",
    "UPDATE settlements SET last_ingest = 3",
    "DELETE FROM settlements",
    "INSERT OR REPLACE INTO settlements SELECT * FROM settlements",
    "INSERT OR REPLACE INTO settlements SELECT x'00', chain_id, token, '', 1, 2, previous, '', 0 FROM settlements",
    "UPDATE settlement_ends SET ended_ns = 0",
    "DELETE FROM settlement_ends",
    "INSERT OR REPLACE INTO settlement_ends SELECT settlement_id, 0 FROM settlement_ends",
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_sql_cannot_alter_what_is_written_once(
    store: SqliteStore, path: Path, make_row: MakeRow, attack: str
) -> None:
    """L-3: also from a connection that is not ours, with the defaults of SQLite."""
    rows = [make_row(1), make_row(2)]
    await store.append(rows)
    batch = BatchRecord(b"b" * 32, 1, "", "", "operator", "p", "", 1, 2, b"", 2, 5, b"x", b"m")
    await store.put_batch(batch)
    await store.end_settlement(batch.settlement_id(keccak_256), 5)
    head = Head("p", 2, b"c" * 32, 5, b"s" * 64)
    await store.put_head(head)
    with sqlite3.connect(path) as other, pytest.raises(sqlite3.Error, match=r"written once|constraint"):
        other.execute(attack)
    assert [row.verified(keccak_256) for row in await store.read(0, 10)] == rows
    assert sum(total.row_count for total in await store.totals(1, 2)) == 8
    assert await store.get_batches() == [batch]
    assert await store.heads() == [head]
    assert await store.settlements() == [batch.settlement(keccak_256)._replace(ended_ns=5)]


async def test_tampering_past_the_triggers_is_seen_when_read(store: SqliteStore, path: Path, make_row: MakeRow) -> None:
    """Whoever owns the file can drop a trigger; the row's own hash tells."""
    await store.append([make_row(1)])
    with sqlite3.connect(path) as other:
        other.execute("DROP TRIGGER rows_update")
        other.execute('UPDATE rows SET public_json = replace(public_json, \'"tier":"2"\', \'"tier":"1"\')')
    [stored] = await store.read(0, 1)
    assert stored.public["tier"] == "1"
    with pytest.raises(RowError):
        stored.verified(keccak_256)


async def test_a_commit_is_a_sync(store: SqliteStore) -> None:
    """L-4: WAL with synchronous=FULL (2) on the connection that writes."""
    found = await store._submit(
        lambda connection: [
            connection._sql.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]
    )
    assert found == ["wal", 2]


async def test_what_waits_shares_a_transaction_and_a_refusal_is_alone(store: SqliteStore, make_row: MakeRow) -> None:
    await store.append([make_row(50)])
    appends = [store.append([make_row(n)]) for n in range(1, 50)]
    clash = store.append([make_row(50, fee_nano_eur=3), make_row(51)])
    results = await asyncio.gather(*appends, clash, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["NoneType"] * 49 + ["Conflict"]
    assert await store.head() == 50
    assert await store.get(make_row(51).row_id) is None


async def test_only_its_owner_may_read_it(store: SqliteStore, path: Path, make_row: MakeRow) -> None:
    await store.append([make_row(1)])
    assert all(file.stat().st_mode & 0o077 == 0 for file in path.parent.glob("ledger.db*"))


async def test_files_of_something_else_are_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="something else"):
        await SqliteStore.open(path)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    path.write_bytes(b"no database at all" * 500)
    with pytest.raises(StoreError, match="cannot be used"):
        await SqliteStore.open(path)
    with pytest.raises(StoreError, match="cannot be used"):
        await SqliteStore.open("/proc/nowhere/ledger.db")


async def test_another_version_is_refused(store: SqliteStore, path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="version 99"):
        await SqliteStore.open(path)


def as_version_1(path: Path) -> None:
    """Takes from a ledger what version 1 did not have: what is left is byte for byte such a file's content."""
    with sqlite3.connect(path) as other:
        for table in ("heads", "settlements", "settlement_ends", "losses"):
            other.execute(f"DROP TABLE {table}")
        other.execute("DROP TRIGGER rows_update")
        other.execute("ALTER TABLE rows DROP COLUMN node_signature")
        other.execute("CREATE TRIGGER rows_update BEFORE UPDATE ON rows BEGIN SELECT raise(ABORT, 'written once'); END")
        other.execute("PRAGMA user_version = 1")


async def test_a_ledger_of_version_1_is_brought_up_to_date(store: SqliteStore, path: Path, make_row: MakeRow) -> None:
    """Its rows are read as unsigned, its settlements are known again, and it goes on as any other."""
    rows = [make_row(n) for n in (1, 2, 3)]
    await store.append(rows)
    first = BatchRecord(b"1" * 32, 5, "0x", "one", "operator", "p", "", 1, 2, bytes(32), 2, 5, b"x", b"m")
    second = first._replace(
        batch_id=b"2" * 32, period="two", first_ingest=3, last_ingest=3, previous=first.settlement_id(keccak_256)
    )
    for batch in (first, first._replace(batch_id=b"3" * 32, role="developer"), second):
        await store.put_batch(batch)
    await store.close()
    as_version_1(path)
    for _ in range(2):  # and again, when it is of the newest version already
        again = await SqliteStore.open(path)
        assert [row.verified(keccak_256) for row in await again.read(0, 3)] == rows
        assert {row.node_signature for row in await again.read(0, 3)} == {b""}
        assert [bool(record.ended_ns) for record in sorted(await again.settlements(), key=lambda r: r[4])] == [
            True,
            False,
        ]
        assert await again.newest_settlement(5, "0x") == second.settlement(keccak_256)
        await again.append([make_row(4).signed(b"s" * 64), rows[0].signed(b"s" * 64)])
        assert [row.node_signature for row in await again.read(0, 9)] == [b"", b"", b"", b"s" * 64]
        await again.close()


async def test_a_ledger_of_version_2_is_brought_up_to_date(store: SqliteStore, path: Path, make_row: MakeRow) -> None:
    await store.append([make_row(1)])
    await store.put_head(head := Head("p" + "a" * 26, 1, bytes(32), 5, bytes(64)))
    await store.close()
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE losses")
        other.execute("PRAGMA user_version = 2")
    for _ in range(2):
        again = await SqliteStore.open(path)
        assert (await again.head(), await again.heads(), await again.losses()) == (1, [head], [])
        await again.close()


@pytest.mark.parametrize("url", ["", "ledger.db", "sqlite://", "sqlite:///", "postgresql://x/y", "http://"])
async def test_a_url_that_names_no_ledger(url: str) -> None:
    with pytest.raises(ValueError, match="a ledger is"):
        await open_store(url)


async def test_a_closed_store_refuses(store: SqliteStore, make_row: MakeRow) -> None:
    waiting = asyncio.gather(*(store.append([make_row(n)]) for n in range(1, 20)))
    await asyncio.sleep(0)
    await store.close()
    await waiting
    for refused in (store.append([make_row(99)]), store.head(), store.payment_state("0" * 32)):
        with pytest.raises(StoreError, match="closed"):
            await refused
    await store.close()


async def test_a_busy_file_is_waited_for_and_then_refused(
    store: SqliteStore, path: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds the write lock for longer than we wait: an error, nothing stored, and it goes on after."""
    monkeypatch.setattr("ledger.limits.BUSY_WAIT_MS", 50)
    impatient = await SqliteStore.open(path)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await impatient.append([make_row(1)])
        other.execute("ROLLBACK")
    await impatient.append([make_row(1)])
    assert await store.head() == 1
    await impatient.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False).returncode:
        pytest.skip("this machine does not let root mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def test_a_full_disk_refuses_whole_appends(small_disk: Path, make_row: MakeRow) -> None:
    store = await SqliteStore.open(small_disk / "ledger.db")
    stored = 0
    with pytest.raises(StoreFull):
        for first in range(1, 3_000, 20):
            await store.append([make_row(n) for n in range(first, first + 20)])
            stored += 20
    assert stored > 100
    assert await store.head() == stored
    rows = await store.read(0, 10_000)
    assert all(row.verified(keccak_256) for row in rows)
    assert [row.ingest for row in rows] == list(range(1, stored + 1))
    await store.close()


@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_any_moment_what_was_acknowledged_is_there(path: Path, seed: int) -> None:
    """SIGKILL in the middle of group commits: no acknowledged row lost, each append whole or not at all, no gaps."""
    chance = random.Random(seed)
    first, acknowledged = 1, 0
    for _ in range(2):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, WRITER, f"sqlite:///{path}", str(first), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        acknowledged = int(await writer.stdout.readline())
        await asyncio.sleep(chance.random() * 0.15)
        writer.send_signal(signal.SIGKILL)
        lines = (await writer.stdout.read()).decode().split("\n")
        await writer.wait()
        acknowledged = max([acknowledged, *map(int, lines[:-1])])
        store = await SqliteStore.open(path)
        rows = []
        while page := await store.read(len(rows), 10_000):
            rows += page
        assert [row.ingest for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) % 3 == 0
        assert [int(row.row_id, 16) for row in rows] == [row.ingest for row in rows]
        assert len(rows) >= acknowledged
        totals = await store.totals(1, len(rows))
        assert {total.row_count for total in totals} == {len(rows)}
        assert {total.amount_nano_cpu for total in totals} == {sum(7 * n for n in range(1, len(rows) + 1))}
        first = len(rows) + 1
        await store.close()


@pytest.mark.parametrize("change", ["replaced", "removed"])
async def test_a_file_that_was_taken_from_under_the_store_gets_no_row(
    store: SqliteStore, path: Path, make_row: MakeRow, change: str
) -> None:
    """L-4: what is written to it is gone with the process; a row is not acknowledged into nowhere."""
    await store.append([make_row(1)])
    if change == "replaced":
        other = await SqliteStore.open(path.with_name("other.db"))
        await other.close()
        path.with_name("other.db").replace(path)
    else:
        path.unlink()
    with pytest.raises(StoreError, match="replaced or removed"):
        await store.append([make_row(2)])
    with pytest.raises(StoreError, match="replaced or removed"):
        await store.head()


async def test_opened_for_reading_it_changes_nothing(store: SqliteStore, path: Path, make_row: MakeRow) -> None:
    """L-9: an auditor's copy, in a folder in which nothing may be made, by whoever may read it."""
    await store.append([make_row(1)])
    await store.close()
    before = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    path.chmod(0o400)
    reading = await SqliteStore.open(path, read_only=True)
    assert await reading.head() == 1
    with pytest.raises(StoreError, match="reading only"):
        await reading.append([make_row(2)])
    await reading.close()
    assert {one.name: one.read_bytes() for one in path.parent.iterdir() if one.name in before} == before
    with sqlite3.connect(path.with_name("old.db")) as old:
        old.execute("CREATE TABLE t (x)")
    for name in ("old.db", "none.db"):
        with pytest.raises(StoreError):
            await SqliteStore.open(path.with_name(name), read_only=True)
    assert not path.with_name("none.db").exists()
