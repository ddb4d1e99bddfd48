"""`cgn verify` on a real ledger that was settled on a real chain, then attacked (L-12)."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from cgn_sdk.protocol.receipt import Anchor
from cgn_sdk.protocol.row import ROLES

from payouts import verify_app

pytestmark = pytest.mark.engine("anvil")
ROWS = 9


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A settled day."""
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path_factory.mktemp("settled"))
        world.fund("enterprise 0", 10**12, approved=10**12)
        world.add_rows([kit.make_row(n, contributor=f"contributor {n % 2}") for n in range(ROWS)])
        assert world.settle()["balances"]
        yield world


def words(world: Any, ledger: str) -> list[str]:
    return ["--ledger", ledger, "--rpc", world.url, "--token", world.manifest.token.address]


@pytest.fixture
def copy(world: Any, tmp_path: Path) -> sqlite3.Connection:
    """A copy of the ledger whose triggers are gone, as somebody with the file would make it."""
    target = tmp_path / "ledger.sqlite"
    with sqlite3.connect(world.folder / "ledger.sqlite") as source, sqlite3.connect(target) as database:
        source.backup(database)
    database = sqlite3.connect(target, isolation_level=None)
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f'DROP TRIGGER "{name}"')
    return database


def verify(world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = verify_app.main(words(world, f"sqlite:///{tmp_path}/ledger.sqlite"))
    return code, capsys.readouterr().out


def test_an_honest_ledger_is_sound(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_app.main([*words(world, world.ledger_url), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["sound"], report["rows"], report["batches"], report["events"]) == (True, ROWS, 5, 5)
    assert report["collected_nano_cpu"] == report["paid_nano_cpu"]


def altered(value: Any) -> Any:
    """The value with one character changed and its form kept where it can be."""
    if isinstance(value, list):
        return [altered_entry(value[0]), *value[1:]]
    last = value[-1:]
    return value[:-1] + ("1" if last == "0" else "0" if last.isdigit() else "b" if last == "a" else "a")


def altered_entry(entry: dict[str, str]) -> dict[str, str]:
    return {**entry, "amount_nano_cpu": altered(entry["amount_nano_cpu"])}


COLUMNS = sorted(kit.make_row(0).public)


@pytest.mark.parametrize("column", COLUMNS)
def test_every_public_column_is_guarded(
    world: Any, copy: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    """One character of one column of one row: that row is named, exit code 1."""
    ingest, text = copy.execute("SELECT ingest, public_json FROM rows WHERE ingest = 5").fetchone()
    public = json.loads(text)
    row_id = public["row_id"]
    public[column] = altered(public[column])
    changed = json.dumps(public, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert changed != text
    copy.execute("UPDATE rows SET public_json = ? WHERE ingest = ?", (changed, ingest))
    code, output = verify(world, tmp_path, capsys)
    assert code == 1
    assert row_id in output


ATTACKS = {
    "a row dropped": ["DELETE FROM rows WHERE ingest = 4"],
    "the last row dropped": [f"DELETE FROM rows WHERE ingest = {ROWS}"],
    "a row stored twice": ["INSERT INTO rows SELECT 10, randomblob(16), row_hash, public_json, private_json FROM rows WHERE ingest = 2"],
    "two rows exchanged": ["UPDATE rows SET ingest = -1 WHERE ingest = 2", "UPDATE rows SET ingest = 2 WHERE ingest = 3",
                           "UPDATE rows SET ingest = 3 WHERE ingest = -1"],
    "a batch dropped": ["DELETE FROM batches WHERE role = 'developer'"],
    "all batches dropped": ["DELETE FROM batches", "DELETE FROM payments"],
    "a batch's amount changed": ["UPDATE batches SET amount_nano_cpu = amount_nano_cpu + 1 WHERE role = 'operator'"],
    "a batch's root changed": ["UPDATE batches SET merkle_root = randomblob(32) WHERE role = 'enterprise'"],
    "a batch's payee changed": ["UPDATE batches SET account = '0x000000000000000000000000000000000000dead' WHERE role = 'developer'"],
    "a row taken out of a batch": ["DELETE FROM payments WHERE ingest = 3"],
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_on_the_ledger_is_found(
    world: Any, copy: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str], attack: str
) -> None:
    copy.execute("PRAGMA foreign_keys = OFF")
    for statement in ATTACKS[attack]:
        copy.execute(statement)
    code, output = verify(world, tmp_path, capsys)
    assert code == 1, output
    assert "row " in output or "batch " in output


def test_the_anchor_of_a_batch_is_the_chains_event(world: Any, tmp_path: Path) -> None:
    """What a DApp checks its receipt against."""
    batch = sqlite3.connect(world.folder / "ledger.sqlite").execute(
        "SELECT batch_id, row_count, amount_nano_cpu, merkle_root FROM batches WHERE role = 'enterprise'"
    )
    batch_id, row_count, amount, root = batch.fetchone()
    out = tmp_path / "anchor.json"
    assert verify_app.main([*words(world, ""), "--anchor", batch_id.hex(), "--out", str(out)]) == 0
    anchor = Anchor.decode(out.read_bytes())
    assert (anchor.row_count, anchor.amount_nano_cpu, anchor.merkle_root) == (row_count, int(amount), root)
    assert ROLES[anchor.role] == "enterprise"
    assert verify_app.main([*words(world, ""), "--anchor", "00" * 32, "--out", str(out)]) == 1


def test_what_cannot_be_checked_is_neither_sound_nor_unsound(world: Any, tmp_path: Path) -> None:
    """Exit code 2: no such ledger, no chain."""
    nowhere = f"sqlite:///{tmp_path}/nothing.sqlite"
    assert verify_app.main(words(world, nowhere)) == 2
    assert not (tmp_path / "nothing.sqlite").exists()
    shutil.copy(world.folder / "ledger.sqlite", tmp_path / "ledger.sqlite")
    away = [
        "--ledger",
        f"sqlite:///{tmp_path}/ledger.sqlite",
        "--rpc",
        "http://127.0.0.1:1",
        "--token",
        world.manifest.token.address,
    ]
    assert verify_app.main(away) == 2
