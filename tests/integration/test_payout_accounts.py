"""Several nodes' payouts accounts on one contract, under ids that may be the same: each has its own events (P-18)."""

import argparse
import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.receipt import Anchor
from cgn_sdk.protocol.settlement import Scope, batch_id_of, entity_on_chain, settlement_id

from payouts import app, verify_app
from payouts.bindings import batches
from payouts.bindings.utility_token import SettlementBegun
from payouts.chain import Web3Chain
from payouts.errors import SettlementError
from payouts.rpc import RpcError
from payouts.token import Token

pytestmark = pytest.mark.engine("anvil")

ROWS = 3
FEE = 20_000_000
KEYS = {
    "payer_key": kit.Secret(kit.development_key("payer 2").hex()),
    "collector_key": kit.Secret(kit.development_key("collector 2").hex()),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    """A node with rows that wait, on a contract that serves the account of another node too."""
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path / "first")
        for name in ("enterprise 0", "enterprise 1"):
            world.fund(name, 10**12, approved=10**12)
        world.open_account("payer 2", "collector 2", node="node 2")
        world.add_rows([kit.make_row(number) for number in range(ROWS)])
        yield world


def other_node(world: Any, folder: Path) -> Any:
    """Another node's ledger, with as many rows as the first has."""
    folder.mkdir()
    world.manifest.save(folder / "manifest.json")
    other = kit.World(world.url, folder, world.manifest)
    other.add_rows([kit.make_row(100 + number, enterprise="enterprise 1", node="node 2") for number in range(ROWS)])
    return other


def verify(world: Any, *more: str) -> int:
    chain = ["--rpc", world.url, "--token", world.manifest.token.address]
    return verify_app.main(["--ledger", world.ledger_url, *chain, *more])


def settle_under(world: Any, settlement: bytes) -> None:
    """The other node's keys settle one unit under this id on their own account, for a party of the first node's."""
    token, account, entity = (
        world.manifest.token,
        kit.account("payer 2"),
        entity_on_chain(kit.public_id("contributor 0")),
    )

    def item(role: int, owner: str) -> batches.Item:
        return batches.Item(
            entity=entity,
            role=role,
            account=kit.account(owner),
            amount=1,
            xor_hash=b"\1" * 32,
            merkle_root=b"\2" * 32,
            row_count=1,
        )

    world.fund("mallory", 10, approved=10)
    lists = batches.payout_lists([[item(1, "mallory")]], keccak_256)
    collector, now = (
        world.sender("collector 2"),
        int(world.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16),
    )
    collector.send(token.begin(account, settlement, bytes(32), 1, 1, 1, 1, lists.root))
    collector.send(token.reserve(account, kit.account("mallory"), entity, 0, 1, settlement, now + 3_600))
    collector.send(batches.collect(token, account, settlement, [item(0, "mallory")]))
    world.sender("payer 2").send(batches.pay(token, settlement, lists, 0))


def test_two_nodes_with_the_same_rows_numbers_settle_and_verify(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same first day and as many rows give two ledgers the same id; neither stands in the other's way."""
    other = other_node(world, tmp_path / "second")
    first, second = world.settle(), other.settle(**KEYS)
    assert first["settlement_id"] == second["settlement_id"]
    assert [first["collected"], second["collected"]] == [ROWS * FEE, ROWS * FEE]
    assert other.settle(**KEYS)["transactions"] == []
    assert verify(world, "--account", kit.account("payer")) == 0
    assert verify(other, "--account", kit.account("payer 2")) == 0
    assert verify(other, "--account", kit.account("payer")) == 1
    capsys.readouterr()
    assert verify(world) == 2
    said = capsys.readouterr().err
    assert "--account says whose ledger it is" in said
    assert kit.account("payer 2") in said
    other.journal.unlink()
    other.add_rows([kit.make_row(200, enterprise="enterprise 1", node="node 2")])
    assert other.settle(**KEYS)["collected"] == FEE


def findings(world: Any, capsys: pytest.CaptureFixture[str], *more: str) -> list[tuple[str, str]]:
    capsys.readouterr()
    verify(world, "--json", *more)
    return [(item["code"], item["where"]) for item in json.loads(capsys.readouterr().out)["findings"]]


def test_a_row_is_settled_by_its_own_nodes_account_alone(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """P-11, P-18: copied into another node's ledger it is named and passed by, whatever the journal has forgotten; where
    it belongs it is settled, once; `cgn verify` names it where it does not."""
    other = other_node(world, tmp_path / "second")
    copied = kit.make_row(100, enterprise="enterprise 1", node="node 2")
    world.add_rows([copied, kit.make_row(ROWS)])
    report = world.settle()
    assert report["collected"] == (ROWS + 1) * FEE
    assert [row["row_id"] for row in report["foreign"]] == [copied.row_id]
    assert f"row {copied.row_id} (number {ROWS + 1}) is of node {kit.public_id('node 2')}" in capsys.readouterr().out
    assert other.settle(**KEYS)["collected"] == ROWS * FEE
    world.journal.unlink()
    world.add_rows([kit.make_row(ROWS + 1)])
    assert world.settle()["collected"] == FEE
    assert world.balance("enterprise 1") == 10**12 - ROWS * FEE
    assert {state for state, _ in world.payment_states(copied.row_id).values()} == {"pending"}
    ours = ["--account", kit.account("payer")]
    assert findings(world, capsys, *ours) == [("row_node", f"row {copied.row_id}")]
    assert findings(other, capsys, "--account", kit.account("payer 2")) == []


def test_another_nodes_ledger_is_refused_before_anything_is_signed(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """P-11: a wrong name in the settings, or the file itself copied: nothing on the chain moves."""
    world.settle()
    other = other_node(world, tmp_path / "second")
    (other.folder / "ledger.sqlite").write_bytes((world.folder / "ledger.sqlite").read_bytes())
    before = int(world.rpc("eth_blockNumber"), 16)
    for wrong in (other.settings(**KEYS), world.settings(**KEYS, journal=tmp_path / "new.sqlite")):
        with pytest.raises(
            ValueError, match=f"the ledger is node {kit.public_id('node')}'s, and {kit.account('payer 2')}"
        ):
            asyncio.run(app.settle(wrong))
    assert int(world.rpc("eth_blockNumber"), 16) == before
    named = [
        where for code, where in findings(other, capsys, "--account", kit.account("payer 2")) if code == "row_node"
    ]
    assert named == [f"row {kit.make_row(number).row_id}" for number in range(ROWS)]


def test_a_second_account_for_a_nodes_rows_is_refused_on_the_chain(world: Any) -> None:
    """P-18: also when an administrator has agreed to it, and whatever program its owner runs."""
    token = world.manifest.token
    world.announce("payer 3", "collector 2", node="node")
    with pytest.raises(RpcError, match="NodeHasAccount"):
        world.sender("payer 3").send(token.accept_account())
    world.announce("payer 2", "collector 2", node="node")
    with pytest.raises(RpcError, match="NodeFixed"):
        world.sender("payer 2").send(token.accept_account())
    assert world.rpc.ask(token.account_of(entity_on_chain(kit.public_id("node")))) == kit.account("payer")


def test_an_account_of_no_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the development chain has such: its ledger's first row says whose it is, and verify says what it did not
    check. Bound later, the account goes on."""
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path, node="")
        world.fund("enterprise 0", 10**12, approved=10**12)
        assert world.settle()["transactions"] == []
        copied = kit.make_row(1, node="node 2")
        world.add_rows([kit.make_row(0), copied, kit.make_row(2)])
        report = world.settle()
        assert (report["collected"], [row["row_id"] for row in report["foreign"]]) == (2 * FEE, [copied.row_id])
        assert findings(world, capsys) == [("row_node", f"row {copied.row_id}")]
        verify(world)
        assert "the contract does not say whose it settles" in capsys.readouterr().out
        world.open_account("payer", "collector", node="node 2")
        with pytest.raises(ValueError, match="settles the rows of node"):
            world.settle()


async def test_an_account_of_no_node_settles_nothing_elsewhere() -> None:
    class Unbound:
        payouts_account = kit.account("payer")

        def node(self) -> str:
            return ""

    class Empty:
        async def read(self, after: int, limit: int) -> list[Any]:
            return []

    with pytest.raises(ValueError, match="does not say whose rows"):
        await app._node_of(Unbound(), Empty(), chain_id=1)  # type: ignore[arg-type]
    assert await app._node_of(Unbound(), Empty(), chain_id=31337) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize("when", ["tx.planned.before", "run.closed.before"])
def test_another_nodes_keys_use_our_settlements_id(world: Any, tmp_path: Path, when: str) -> None:
    """Before our events are there or after them: the run ends, the ledger is sound, and the anchor is that of ours."""
    done: list[bytes] = []

    def at(point: str) -> None:
        begun = (
            []
            if done or point != when
            else Token(Web3Chain(world.url), world.manifest.token.address, kit.account("payer")).of_line(
                SettlementBegun, None, 0, int(world.rpc("eth_blockNumber"), 16)
            )
        )
        if begun:
            done.append(begun[0][0].batch_id)
            settle_under(world, done[0])

    report = asyncio.run(app.settle(world.settings(), at=at))
    assert done == [bytes.fromhex(report["settlement_id"])]
    assert (report["collected"], report["balances"]) == (ROWS * FEE, True)
    world.journal.unlink()
    assert world.settle()["transactions"] == []
    ours = ["--account", kit.account("payer")]
    assert verify(world, *ours) == 0
    out = tmp_path / "anchor.json"
    contributor = batch_id_of(done[0], kit.public_id("contributor 0"), "contributor", keccak_256)
    assert verify(world, *ours, "--anchor", contributor.hex(), "--out", str(out)) == 0
    assert Anchor.decode(out.read_bytes()).row_count == ROWS
    forged = batch_id_of(done[0], kit.public_id("contributor 0"), "enterprise", keccak_256)
    assert verify(world, *ours, "--anchor", forged.hex(), "--out", str(out)) == 1
    assert json.loads(out.read_text())


def test_a_settlement_over_more_rows_than_there_are_stops_at_once(world: Any) -> None:
    """Begun by whoever holds the collector's key, over rows that do not exist: nothing is searched, and only what is
    known is said."""
    world.settle()
    token, account = world.manifest.token, kit.account("payer")
    newest, _, last_row, *_ = world.rpc.ask(token.settlement_of(account))
    world.sender("collector").send(token.begin(account, b"\7" * 32, newest, last_row + 1, 1_000, 0, 0, bytes(32)))
    world.add_rows([kit.make_row(ROWS)])
    with pytest.raises(
        SettlementError, match=f"the ledger ends with row {ROWS + 1}. Nothing was signed. If the ledger"
    ):
        world.settle()


def test_an_ended_settlement_that_nobody_knows_stops_the_run_before_it_reserves(world: Any) -> None:
    """Planted in the ledger behind the newest, it is named while nothing is set aside."""
    world.settle()
    world.add_rows([kit.make_row(number) for number in range(ROWS, ROWS + 2)])
    with sqlite3.connect(world.folder / "ledger.sqlite") as database:
        newest, chain, token = database.execute("SELECT settlement_id, chain_id, token FROM settlements").fetchone()
        scope = Scope(int(chain), token, "2026-12-01")
        planted = settlement_id(scope, ROWS + 1, ROWS + 2, newest, keccak_256)
        place = (chain, token, scope.period, ROWS + 1, ROWS + 2, newest, "x", 1)
        database.execute("INSERT INTO settlements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (planted, *place))
        database.execute("INSERT INTO settlement_ends VALUES (?, 1)", (planted,))
    before = int(world.rpc("eth_blockNumber"), 16)
    for _ in range(2):
        with pytest.raises(SettlementError, match=f"settlement {planted.hex()} over rows 4 to 5 has ended; the chain"):
            world.settle()
    assert int(world.rpc("eth_blockNumber"), 16) == before
    assert verify(world, "--account", kit.account("payer")) == 1


def test_a_journal_that_cannot_be_written_is_said(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback: exit code 1, and what the database says."""
    world.journal.write_bytes(b"not a database" * 100)
    options = argparse.Namespace(day=None, until_ingest=None, json=False)
    assert asyncio.run(app._run(world.settings(), options, print)) == app.EXIT_FAILED
    assert "cgn payouts: file is not a database" in capsys.readouterr().err
