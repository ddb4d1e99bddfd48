"""What a payout run reads of rows, and what it refuses to act on (P-6, L-12)."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cgn_sdk.protocol.loss import ROWS, SPOOL, Loss
from cgn_sdk.protocol.row import Row

from ledger import open_store
from payouts.facts import FactError, Facts, load, node_of_ledger

ADDRESS = "0x" + "a" * 40


async def loaded(path: Path, node_id: str = "") -> Facts:
    store = await open_store(f"sqlite:///{path}")
    try:
        return await load(
            store, 1, await store.head(), (), period="2026-11-21", settlement_id=bytes(32), node_id=node_id
        )
    finally:
        await store.close()


@pytest.fixture
async def path(tmp_path: Path, make_row: Callable[..., Row]) -> Path:
    """Three rows; the third names another account."""
    path = tmp_path / "ledger.db"
    store = await open_store(f"sqlite:///{path}")
    enterprise = make_row(1).public["enterprise_id"]
    parts = [{"accounts": {enterprise: "0x" + letter * 40}, "custom": {"n": "ü"}} for letter in "aab"]
    await store.append([make_row(number, parts=part) for number, part in enumerate(parts, 1)])
    await store.close()
    return path


async def test_facts_are_what_the_rows_say(path: Path, make_row: Callable[..., Row]) -> None:
    found = await loaded(path)
    one = make_row(1).public
    assert [fact.ingest for fact in found.facts] == [1, 2, 3]
    assert found.accounts == {one["enterprise_id"]: "0x" + "b" * 40}, "the newest row's"
    first = found.facts[0]
    assert [(*share.party, str(share.amount)) for share in (*first.pay_in, *first.payouts)] == [
        (entry["role"], entry["id"], entry["amount_nano_cpu"]) for entry in (*one["pay_in"], *one["payouts"])
    ]
    assert [share.party for share in first.payouts] == [share.party for share in found.facts[1].payouts]
    assert all(
        mine.party is its.party
        for mine, its in zip(first.payouts, found.facts[2].payouts, strict=True)  # a million rows name few parties
    )


@pytest.mark.parametrize(
    "change",
    [
        """public_json = replace(public_json, '"tier":"2"', '"tier":"3"')""",
        """public_json = replace(public_json, '"tier":"2"', '"tier": "2"')""",
        """public_json = replace(public_json, '"tier":"2"', '"tier":"4b","tier":"2"')""",
        "public_json = '[]'",
        f"""private_json = replace(private_json, '{ADDRESS}', '0x{"c" * 40}')""",
        """private_json = replace(private_json, '"accounts":{', '"accounts":{"p":"x",')""",
        """private_json = replace(private_json, '"accounts":', '"accounts": ')""",
        """private_json = replace(private_json, '"salt":"', '"salt":"0')""",
        """private_json = replace(private_json, '"accounts":', '"account":')""",
        "private_json = '{}'",
        "private_json = ''",
        "row_hash = zeroblob(32)",
        "row_id = zeroblob(16)",
    ],
)
async def test_nothing_is_settled_of_a_row_that_does_not_verify(path: Path, change: str) -> None:
    """Columns, the accounts that money moves to, hash and id: the row is named, and no facts are had at all."""
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER rows_update")
        assert database.execute(f"UPDATE rows SET {change} WHERE ingest = 2").rowcount == 1
    with pytest.raises(FactError, match=r"number 2\) does not verify"):
        await loaded(path)


async def test_other_private_parts_do_not_hold_up_a_payout(path: Path) -> None:
    """No money depends on them; `cgn verify` names such a row (tests/integration/test_verify.py)."""
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER rows_update")
        database.execute("UPDATE rows SET private_json = replace(private_json, 'ü', 'ä') WHERE ingest = 2")
    assert len((await loaded(path)).facts) == 3


async def test_rows_of_another_node_are_no_facts(path: Path, make_row: Callable[..., Row]) -> None:
    """P-18: they are set apart by name, and say nothing about where anybody's money is."""
    enterprise = make_row(1).public["enterprise_id"]
    store = await open_store(f"sqlite:///{path}")
    other = make_row(4, node="another", parts={"accounts": {enterprise: "0x" + "c" * 40}})
    await store.append([other, make_row(5)])
    assert await node_of_ledger(store) == make_row(1).public["node_id"]
    await store.close()
    found = await loaded(path, make_row(1).public["node_id"])
    assert [fact.ingest for fact in found.facts] == [1, 2, 3, 5]
    assert [tuple(row) for row in found.foreign] == [(other.row_id, 4, other.public["node_id"])]
    assert found.accounts[enterprise] == "0x" + "b" * 40
    assert [fact.ingest for fact in (await loaded(path)).facts] == [1, 2, 3, 4, 5], "where nobody has said"
    assert [row.ingest for row in (await loaded(path, other.public["node_id"])).foreign] == [1, 2, 3, 5]


@pytest.mark.parametrize(
    ("kind", "first", "last", "is_left_out"),
    [
        (ROWS, 2, 2, True),
        (ROWS, 1, 3, True),
        (ROWS, 1, 1, False),
        (ROWS, 3, 3, False),
        (SPOOL, 2, 2, False),
    ],
)
async def test_a_row_that_cannot_be_read_is_left_out_where_its_loss_was_accepted(
    path: Path, kind: str, first: int, last: int, is_left_out: bool
) -> None:
    """L-3: and no other row, whatever a loss says of it."""
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER rows_update")
        database.execute("UPDATE rows SET public_json = '[]' WHERE ingest = 2")
    store = await open_store(f"sqlite:///{path}")
    await store.put_loss(Loss("p" + "a" * 26, 3, kind, first, last, b"", "", "why", "who", 5, bytes(64)))
    await store.close()
    if is_left_out:
        assert [fact.ingest for fact in (await loaded(path)).facts] == [1, 3]
    else:
        with pytest.raises(FactError, match="does not verify"):
            await loaded(path)
