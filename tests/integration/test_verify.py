"""`cgn verify` on a real ledger that was settled on a real chain, then attacked (L-12, P-10).

Rows 1 to 9 are settled, rows 10 to 12 wait; heads are signed over 9 and 12 of them. What an attack on the columns is
found by stands in tests/unit/ledger/core/test_verify.py; here the file itself is attacked, as its owner could.
"""

import asyncio
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.head import NO_ROWS, extend, sign_head
from cgn_sdk.protocol.loss import END, Loss, sign_loss
from cgn_sdk.protocol.receipt import ROW, Anchor, Trust
from cgn_sdk.protocol.row import ROLES, Row
from cgn_sdk.signing import Signer

from ledger import open_store
from payouts import verify_app

pytestmark = pytest.mark.engine("anvil")
ROWS = 9


NODE = Signer(b"n" * 32)
OPEN = 3


async def finish_ledger(url: str) -> None:
    """The node's heads, over the settled rows and over all."""
    store = await open_store(url)
    rows = await store.row_hashes(0, 100)
    for count in (ROWS, ROWS + OPEN):
        commitment = extend(NO_ROWS, (row.row_hash for row in rows[:count]), keccak_256)
        await store.put_head(sign_head(kit.public_id("node"), count, commitment, 1, NODE.sign))
    await store.close()


def signed(row: Row) -> Row:
    return row.signed(NODE.sign(ROW, row.row_hash))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A settled day, and rows of the next."""
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path_factory.mktemp("settled"))
        world.fund("enterprise 0", 10**12, approved=10**12)
        world.add_rows([signed(kit.make_row(n, contributor=f"contributor {n % 2}")) for n in range(ROWS)])
        assert world.settle()["balances"]
        world.add_rows([signed(kit.make_row(n)) for n in range(ROWS, ROWS + OPEN)])
        asyncio.run(finish_ledger(world.ledger_url))
        yield world


def words(world: Any, ledger: str) -> list[str]:
    return ["--node-key", f"{kit.public_id('node')}={NODE.public_key.hex()}", *wordless(world, ledger)]


def wordless(world: Any, ledger: str) -> list[str]:
    """Without a key."""
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
    code = verify_app.main([*words(world, f"sqlite:///{tmp_path}/ledger.sqlite"), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["sound"] == (not report["findings"])
    return code, "\n".join(f"{of['where']}: {of['detail']} [{of['code']}]" for of in report["findings"])


def test_an_honest_ledger_is_sound(world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashlib.sha256((world.folder / "ledger.sqlite").read_bytes()).digest()
    assert verify_app.main([*words(world, world.ledger_url), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["sound"], report["rows"], report["batches"], report["events"]) == (True, ROWS + OPEN, 5, 5)
    assert report["collected_nano_cpu"] == report["paid_nano_cpu"]
    assert report["not_checked"] == []
    assert hashlib.sha256((world.folder / "ledger.sqlite").read_bytes()).digest() == before, "opened for reading only"


def test_what_was_not_checked_is_said(world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the node's key, rows that wait and heads cannot be judged: no bare SOUND. A trust file brings it too."""
    assert verify_app.main(wordless(world, world.ledger_url)) == 0
    output = capsys.readouterr().out
    assert "NOT CHECKED: 3 rows that are not settled yet" in output
    assert "NOT CHECKED: 2 heads" in output
    assert "SOUND, but for what was not checked" in output
    trust = tmp_path / "trust.json"
    trust.write_bytes(Trust(nodes={kit.public_id("node"): NODE.public_key}).encode())
    assert verify_app.main([*wordless(world, world.ledger_url), "--trust", str(trust)]) == 0
    output = capsys.readouterr().out
    assert "NOT CHECKED" not in output
    assert "SOUND: everything fits" in output
    trust.write_bytes(b"{}")
    assert verify_app.main([*wordless(world, world.ledger_url), "--trust", str(trust)]) == 2


def test_a_ledger_that_was_rolled_back_is_found_the_next_time(
    world: Any, copy: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows, heads and all: what an earlier check remembered is missing."""
    state, ledger = tmp_path / "seen.json", f"sqlite:///{tmp_path}/ledger.sqlite"
    for _ in range(2):
        assert verify_app.main([*words(world, ledger), "--state", str(state)]) == 0
    copy.execute(f"DELETE FROM rows WHERE ingest > {ROWS}")
    copy.execute(f"DELETE FROM entries WHERE ingest > {ROWS}")
    copy.execute(f"DELETE FROM heads WHERE last_ingest > {ROWS}")
    assert verify_app.main(words(world, ledger)) == 0, "nothing in the ledger says so"
    capsys.readouterr()
    assert verify_app.main([*words(world, ledger), "--state", str(state)]) == 1
    assert "head 12, seen by an earlier audit," in capsys.readouterr().out
    state.write_bytes(b"[]")
    assert verify_app.main([*words(world, ledger), "--state", str(state)]) == 2


def test_a_ledger_that_was_cut_with_its_heads_is_found_by_what_central_keeps(
    world: Any, copy: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By who has never checked it before; and a loss that the node has signed for is named, and is no finding."""
    ledger, trust = f"sqlite:///{tmp_path}/ledger.sqlite", tmp_path / "central.json"
    (text,) = copy.execute("SELECT hex(commitment) FROM heads WHERE last_ingest = 12").fetchone()
    newest = sign_head(kit.public_id("node"), ROWS + OPEN, bytes.fromhex(text), 1, NODE.sign)
    trust.write_bytes(Trust({kit.public_id("node"): NODE.public_key}, heads=(newest.encode(),)).encode())
    with_trust = [*wordless(world, ledger), "--trust", str(trust)]
    assert verify_app.main(with_trust) == 0
    copy.execute(f"DELETE FROM rows WHERE ingest > {ROWS}")
    copy.execute(f"DELETE FROM entries WHERE ingest > {ROWS}")
    copy.execute(f"DELETE FROM heads WHERE last_ingest > {ROWS}")
    assert verify_app.main(words(world, ledger)) == 0, "nothing in the ledger says so"
    capsys.readouterr()
    assert verify_app.main(with_trust) == 1
    said = capsys.readouterr().out
    assert f"head 12 of {kit.public_id('node')}, kept outside the ledger,: is over 12 rows; the ledger holds 9" in said
    loss = sign_loss(
        Loss(kit.public_id("node"), ROWS, END, ROWS + 1, 12, newest.commitment, "cut", "a disk died", "Ada", 2, b""),
        NODE.sign,
    )
    copy.execute("INSERT INTO losses VALUES (?, ?)", (keccak_256(loss.encode()), loss.encode()))
    assert verify_app.main(with_trust) == 0
    said = capsys.readouterr().out
    assert f"LOST, AND ACCEPTED BY {kit.public_id('node')}: rows that were signed and are gone" in said
    assert "10 to 12: a disk died (accepted by Ada; cut)" in said
    assert "SOUND, but for what was lost" in said
    copy.execute("DELETE FROM losses")
    trust.write_bytes(
        Trust({kit.public_id("node"): NODE.public_key}, heads=(newest.encode(),), losses=(loss.encode(),)).encode()
    )
    assert verify_app.main([*with_trust, "--json"]) == 1, "the ledger keeps quiet about it"
    report = json.loads(capsys.readouterr().out)
    assert [finding["code"] for finding in report["findings"]] == ["loss_missing"]
    assert report["accepted_losses"][0]["by"] == "Ada"
    other = tmp_path / "other.json"
    other.write_bytes(Trust({kit.public_id("node"): bytes(32)}).encode())
    assert verify_app.main([*with_trust, "--trust", str(other)]) == 2
    assert "two keys are given" in capsys.readouterr().err


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


STEAL = (
    "UPDATE rows SET public_json = {sql} WHERE ingest = 11",
    "UPDATE rows SET row_hash = keccak(public_json) WHERE ingest = 11",
)
DROP_AND_RENUMBER = [
    f"{verb} WHERE ingest {which} 11"
    for table in ("rows", "entries")
    for verb, which in ((f"DELETE FROM {table}", "="), (f"UPDATE {table} SET ingest = ingest - 1", ">"))
]
SWAP = [
    f"UPDATE {table} SET ingest = {new} WHERE ingest = {old}"
    for table in ("rows", "entries", "payments")
    for old, new in ((2, -1), (4, 2), (-1, 4))
]
TWO = "WHERE ingest = 2"
SPELLINGS = {
    "a name twice": """replace(public_json, '"tier":"2"', '"tier":"4b","tier":"2"')""",
    "an amount twice": """replace(public_json, '"amount_nano_eur":', '"amount_nano_eur":"1","amount_nano_eur":')""",
    "white space": """replace(public_json, '"tier":"2"', '"tier": "2"')""",
    "a blank behind": "public_json || ' '",
    "an escape": r"""replace(public_json, '"mediagen"', '"\u006dediagen"')""",
}
MALFORMED = {
    "a list": "'[]'",
    "a text": """'"x"'""",
    "a number": "'7'",
    "null": "'null'",
    "100,000 brackets": "replace(hex(zeroblob(50000)), '0', '[')",
    "5,000 digits": "replace(hex(zeroblob(2500)), '0', '9')",
    "a float": """replace(public_json, '"2"', '1.5')""",
    "not JSON": "'{'",
    "nothing": "''",
    "no UTF-8": "CAST(x'7bfffe7d' AS TEXT)",
}
ATTACKS: dict[str, tuple[list[str], str]] = {
    "a row dropped": (["DELETE FROM rows WHERE ingest = 4"], "[ingest]"),
    "the last row dropped": (["DELETE FROM rows WHERE ingest = 12"], "[head_rows]"),
    "a row stored twice": (["INSERT INTO rows SELECT 13, randomblob(16), row_hash, public_json, private_json, node_signature FROM rows WHERE ingest = 2"], "[row_twice]"),
    "two rows exchanged": (["UPDATE rows SET ingest = -1 WHERE ingest = 2", "UPDATE rows SET ingest = 2 WHERE ingest = 3",
                            "UPDATE rows SET ingest = 3 WHERE ingest = -1"], "[entries]"),
    "two rows of one run swap numbers": (SWAP, "[head_rows]"),
    "a row with number 0": (["INSERT INTO rows SELECT 0, randomblob(16), row_hash, public_json, private_json, node_signature FROM rows WHERE ingest = 2"], "has the number 0"),
    "a row with a number far away": ([f"UPDATE rows SET ingest = {2**62} WHERE ingest = 12"], "are missing"),
    "a batch dropped": (["DELETE FROM batches WHERE role = 'developer'"], "[batch_missing]"),
    "all batches dropped": (["DELETE FROM batches", "DELETE FROM payments"], "[batch_missing]"),
    "a batch's amount changed": (["UPDATE batches SET amount_nano_cpu = amount_nano_cpu + 1 WHERE role = 'operator'"], "[batch_amount]"),
    "a batch's amount no number": (["UPDATE batches SET amount_nano_cpu = 'x' WHERE role = 'operator'"], "[batch_malformed]"),
    "a batch's root changed": (["UPDATE batches SET merkle_root = randomblob(32) WHERE role = 'enterprise'"], "[batch_merkle_root]"),
    "a batch's payee changed": (["UPDATE batches SET account = '0x000000000000000000000000000000000000dead' WHERE role = 'developer'"], "[batch_account]"),
    "a batch's token no UTF-8": (["UPDATE batches SET token = CAST(x'ff' AS TEXT) WHERE role = 'developer'"], "[batch_malformed]"),
    "a settlement dropped": (["DELETE FROM settlements"], "[settlement_missing]"),
    "a settlement changed": (["UPDATE settlements SET last_ingest = 8"], "[settlement_id]"),
    "a row taken out of a batch": (["DELETE FROM payments WHERE ingest = 3"], "[rows_row_count]"),
    "a transaction of a batch": (["UPDATE marks SET tx_id = '0x1' WHERE state = 'collected'"], "[payment_tx]"),
    "collected said to be paid": (["UPDATE marks SET state = 'paid' WHERE state = 'collected'"], "[payment_state]"),
    "paid said to be carried": (["UPDATE marks SET state = 'carried', batch_id = x'', tx_id = '' WHERE mark = (SELECT max(mark) FROM marks)"], "[rows_of_batch]"),
    "a mark that is not there": (["UPDATE payments SET mark = 99 WHERE ingest = 3"], "[payment_state]"),
    "pending said to be carried": (["INSERT INTO marks VALUES (99, 'carried', x'', '')", "INSERT INTO payments SELECT entity, 11, 99 FROM entities WHERE role = 'operator'"], "[paid_uncollected]"),
    "a payment state of no row": (["INSERT INTO payments SELECT entity, 500, 1 FROM entities LIMIT 1", "UPDATE payments SET ingest = 10 WHERE ingest = 500", "DELETE FROM entries WHERE ingest = 10"], "[left_over]"),
    "an amount of no row": (["INSERT INTO entries VALUES (-5, 1, 1, 1)"], "[left_over]"),
    "an amount that sums count": (["UPDATE entries SET amount_nano_cpu = amount_nano_cpu + 1 WHERE ingest = 11"], "[entries]"),
    "a party that sums count": (["UPDATE entities SET public_id = 'pq6iqjjtj3mj2fexompwoq7rzoi' WHERE role = 'operator'"], "[entries]"),
    "private parts": (["UPDATE rows SET private_json = replace(private_json, '\"custom\":{}', '\"custom\":{\"a\":1}') WHERE ingest = 2"], "[part_hash]"),
    "the salt": (["UPDATE rows SET private_json = replace(private_json, '\"salt\":\"', '\"salt\":\"0') WHERE ingest = 2"], "[salt]"),
    "a signature of a row that waits": (["UPDATE rows SET node_signature = zeroblob(64) WHERE ingest = 11", "DELETE FROM heads"], "[node_signature]"),
    "a row that waits, exchanged": ([s.format(sql="replace(public_json, '\"tier\":\"2\"', '\"tier\":\"3\"')") for s in STEAL], "[head_rows]"),
    "a row that waits, exchanged, heads gone": ([s.format(sql="replace(public_json, '\"tier\":\"2\"', '\"tier\":\"3\"')") for s in STEAL] + ["DELETE FROM heads"], "[node_signature]"),
    "a row that waits, dropped and renumbered": (DROP_AND_RENUMBER, "[head_rows]"),
    "a head changed": (["UPDATE heads SET time_ns = 2"], "[head_signature]"),
    "a head over other rows": (["UPDATE heads SET commitment = zeroblob(32)"], "[head_rows]"),
    "a head no head": (["PRAGMA ignore_check_constraints = ON", "UPDATE heads SET node_id = CAST(x'ff' AS TEXT) WHERE last_ingest = 9"], "[head_malformed]"),
    **{f"spelling: {name}": ([f"UPDATE rows SET public_json = {sql} {TWO}"], "[row_hash]") for name, sql in SPELLINGS.items()},
    **{f"spelling, hash anew: {name}": ([f"UPDATE rows SET public_json = {sql} {TWO}", f"UPDATE rows SET row_hash = keccak(public_json) {TWO}"], "[rows_xor]") for name, sql in SPELLINGS.items()},
    **{f"columns: {name}": ([f"UPDATE rows SET public_json = {sql} {TWO}"], "[row_hash]") for name, sql in MALFORMED.items()},
    **{f"private: {name}": ([f"UPDATE rows SET private_json = {sql} {TWO}"], ", private: ") for name, sql in MALFORMED.items() if "float" not in name},
    "row hash of one byte": ([f"UPDATE rows SET row_hash = x'00' {TWO}"], "[row_hash]"),
    "row id of one byte": ([f"UPDATE rows SET row_id = x'00' {TWO}"], "[row_id]"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_on_the_ledger_is_found(
    world: Any, copy: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str], attack: str
) -> None:
    """Each is named by row, batch, settlement or head; and row 6, wrong as well, is named beside it."""
    copy.execute("PRAGMA foreign_keys = OFF")
    copy.create_function("keccak", 1, lambda text: keccak_256(text.encode()))
    (row_id,) = copy.execute("SELECT lower(hex(row_id)) FROM rows WHERE ingest = 6").fetchone()
    statements, wanted = ATTACKS[attack]
    for statement in statements:
        copy.execute(statement)
    code, output = verify(world, tmp_path, capsys)
    assert code == 1, output
    assert wanted in output, output
    assert all(line.startswith(("row ", "batch ", "settlement ", "head ")) for line in output.splitlines()), output
    copy.execute("UPDATE rows SET row_hash = zeroblob(32) WHERE row_id = ?", (bytes.fromhex(row_id),))
    code, output = verify(world, tmp_path, capsys)
    assert code == 1
    assert f"row {row_id}, row_hash" in output


@pytest.mark.parametrize("table", ["rows", "entries", "batches"])
def test_tables_without_types_are_read_all_the_same(
    world: Any, copy: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    """Who owns the file may make its tables anew, and put nothing and numbers where bytes were."""
    copy.execute(f"CREATE TABLE other AS SELECT * FROM {table}")
    copy.execute(f"DROP TABLE {table}")
    copy.execute(f"ALTER TABLE other RENAME TO {table}")
    changes = {
        "rows": "UPDATE rows SET row_id = NULL, row_hash = 7, public_json = 7, private_json = NULL WHERE ingest = 2",
        "entries": "UPDATE entries SET amount_nano_cpu = 'x', amount_nano_eur = NULL WHERE ingest = 2",
        "batches": "UPDATE batches SET xor = 1.5, last_ingest = 'x' WHERE role = 'operator'",
    }
    copy.execute(changes[table])
    code, output = verify(world, tmp_path, capsys)
    assert code == 1
    assert {"rows": "row number 2", "entries": "[entries]", "batches": "[batch_malformed]"}[table] in output


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


def test_a_row_under_the_smallest_number_is_named(
    world: Any, copy: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No number that a database can hold ends the check."""
    copy.execute(f"UPDATE rows SET ingest = {-(2**63)} WHERE ingest = 12")
    code, output = verify(world, tmp_path, capsys)
    assert code == 1
    assert str(-(2**63)) in output
