"""`cgn ledger`: a ledger as lines that another program can check, and commands that say what is wrong (L-9, L-12)."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import merkle
from cgn_sdk.protocol.canonical import encode
from cgn_sdk.protocol.head import NO_ROWS, Head, extend, head_findings, sign_head
from cgn_sdk.protocol.row import Row
from cgn_sdk.protocol.settlement import Scope, batch_id_of, commit, settlement_id

from ledger import app, open_store
from ledger.port import BatchRecord

MakeRow = Callable[..., Row]
SIGNER = signing.Signer(bytes(32))


@pytest.fixture
async def path(tmp_path: Path, make_row: MakeRow) -> Path:
    """A ledger with five rows, of which three are settled for their operator, and a head."""
    store = await open_store(f"sqlite:///{tmp_path}/ledger.db")
    rows = [make_row(n, parts={"custom": {"secret": "of the enterprise"}}) for n in range(1, 6)]
    await store.append([row.signed(SIGNER.sign("row", row.row_hash)) for row in rows])
    operator, settled = rows[0].public["operator_id"], rows[:3]
    scope = Scope(5, "0x" + "1" * 40, "2026-11-21")
    found = settlement_id(scope, 1, 5, bytes(32), keccak_256)
    amount = sum(
        int(entry["amount_nano_cpu"])
        for row in settled
        for entry in row.public["payouts"]
        if entry["role"] == "operator"
    )
    committed = commit([row.row_hash for row in settled], amount, keccak_256)
    batch = BatchRecord(
        batch_id_of(found, operator, "operator", keccak_256),
        *scope,
        "operator",
        operator,
        "0x" + "2" * 40,
        1,
        5,
        bytes(32),
        committed.row_count,
        committed.amount_nano_cpu,
        committed.xor,
        committed.merkle_root,
    )
    await store.put_batch(batch)
    ids = [row.row_id for row in settled]
    await store.mark("operator", operator, ids, state="paid", batch_id=batch.batch_id, tx_id="0x" + "7" * 64)
    await store.end_settlement(found, 9)
    commitment = extend(NO_ROWS, [row.row_hash for row in rows], keccak_256)
    await store.put_head(sign_head(rows[0].public["node_id"], 5, commitment, 5, SIGNER.sign))
    await store.close()
    return tmp_path / "ledger.db"


def export(path: Path, *words: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "ledger.app", "export", f"sqlite:///{path}", *words]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(encode(json.loads(line)) == line for line in lines), "canonical, one object a line"
    return [json.loads(line) for line in lines]


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in found if line["kind"] == kind]


def test_a_checker_finds_all_it_needs_in_the_export(path: Path) -> None:
    """With nothing but the lines and the node's key: hashes, signatures, the head, the batch and its rows."""
    found = export(path)
    rows, payments = of_kind(found, "row"), of_kind(found, "payment")
    assert [row["ingest"] for row in rows] == ["1", "2", "3", "4", "5"]
    for row in rows:
        assert keccak_256(encode(row["public"])).hex() == row["row_hash"]
        assert signing.verify(
            SIGNER.public_key, "row", bytes.fromhex(row["row_hash"]), bytes.fromhex(row["node_signature"])
        )
    [head] = of_kind(found, "head")
    signed = Head.decode(encode({name: value for name, value in head.items() if name != "kind"}))
    assert head_findings(signed, {rows[0]["public"]["node_id"]: SIGNER.public_key}, signing.verify) == []
    assert signed.commitment == extend(NO_ROWS, [bytes.fromhex(row["row_hash"]) for row in rows], keccak_256)
    [batch], [settlement] = of_kind(found, "batch"), of_kind(found, "settlement")
    members = [payment for payment in payments if payment["batch_id"] == batch["batch_id"]]
    leaves = sorted(bytes.fromhex(rows[int(payment["ingest"]) - 1]["row_hash"]) for payment in members)
    assert merkle.root(leaves, keccak_256).hex() == batch["merkle_root"]
    assert sum(int(payment["amount_nano_cpu"]) for payment in members) == int(batch["amount_nano_cpu"])
    assert (settlement["previous"], settlement["ended_ns"]) == ("0" * 64, "9")
    assert "secret" not in json.dumps(found)


def test_private_parts_leave_only_when_they_are_asked_for(path: Path) -> None:
    rows = of_kind(export(path, "--private"), "row")
    assert rows[0]["private"]["parts"]["custom"] == {"secret": "of the enterprise"}


def test_bytes_that_are_no_row_are_shown_as_they_are(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("DROP TRIGGER rows_update")
        for number, text in ((1, "[]"), (2, '{"a":1,"a":2}'), (3, "{"), (4, "[" * 100_000)):
            other.execute("UPDATE rows SET public_json = ? WHERE ingest = ?", (text, number))
        other.execute("UPDATE rows SET public_json = CAST(x'22ff22' AS TEXT) WHERE ingest = 5")
        other.execute("DROP TRIGGER rows_insert")
        other.execute("INSERT INTO rows SELECT 0, x'00', row_hash, '{}', '{}', x'' FROM rows WHERE ingest = 1")
    rows = of_kind(export(path), "row")
    assert [row["ingest"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert [row.get("public_text", "")[:20] for row in rows] == ["", "[]", '{"a":1,"a":2}', "{", "[" * 20, '"\\xff"']


def test_init_makes_an_embedded_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert app.main(["init", f"sqlite:///{tmp_path}/new.db"]) == 0
    assert "ready" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init", "ftp://x"], "a ledger is"),
        (["init", "https://node@x"], "user and password"),
        (["export", "sqlite:////nowhere/ledger.db"], "there is no ledger"),
        (["seal", "sqlite:////nowhere/ledger.db", "2026-12"], "has no months"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(words) == 1
    assert message in capsys.readouterr().err


def test_a_month_that_is_none_is_refused() -> None:
    with pytest.raises(SystemExit):
        app.main(["seal", "https://x", "2026-13"])
