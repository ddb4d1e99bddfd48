"""A journal is lost, and the ledger tells what was settled: it is believed where the chain says the same (P-11)."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import Scope, batch_id_of, commit, settlement_id
from payout_faults import Once, Time, settle
from payout_judge import FEE, check_books, check_chain, row

from ledger import open_store
from ledger.port import BatchRecord, SettlementRecord
from payouts.chain import Web3Chain
from payouts.errors import SettlementError
from payouts.facts import FactError
from payouts.on_chain import OnChain, settlements
from payouts.token import Token

pytestmark = pytest.mark.engine("anvil")

MINIMUM = FEE * 15 // 100


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    """Two settlements, with something carried from the first; the journal is gone, and rows wait."""
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path)
        for name in ("enterprise 0", "enterprise 1", "thief"):
            world.fund(name, 10**12, approved=10**12)
        world.add_rows([row(0)])
        world.settle(minimum_payout_nano_cpu=MINIMUM)
        world.add_rows([row(1), row(2)])
        world.settle(minimum_payout_nano_cpu=FEE // 2)
        world.journal.unlink()
        world.add_rows([row(3)])
        yield world


def alter(world: Any, *statements: str) -> None:
    with sqlite3.connect(world.folder / "ledger.sqlite") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert database.execute(statement).rowcount, statement


@pytest.mark.parametrize("blocks", ["0x1", hex(400)], ids=["shallow", "buried"])
def test_what_the_chain_bears_out_is_adopted(world: Any, blocks: str) -> None:
    world.rpc("anvil_mine", blocks)
    assert world.settle()["collected"] == FEE
    check_chain(world, set(range(4)))
    check_books(world)


SOME = "(SELECT batch_id FROM batches WHERE role = 'contributor' ORDER BY batch_id LIMIT 1)"
OPERATORS = "entity IN (SELECT entity FROM entities WHERE role = 'operator')"
OTHERS = {
    "a batch's sum": (f"UPDATE batches SET amount_nano_cpu = '7' WHERE batch_id = {SOME}",),
    "a batch's account": (f"UPDATE batches SET account = '{kit.account('thief')}' WHERE batch_id = {SOME}",),
    "a batch's rows": (f"UPDATE batches SET merkle_root = xor WHERE batch_id = {SOME}",),
    "a batch's run": (f"UPDATE batches SET period = '2020-01-01' WHERE batch_id = {SOME}",),
    "a batch is not there": (f"DELETE FROM batches WHERE batch_id = {SOME}",),
    "a settlement's rows": ("UPDATE settlements SET last_ingest = 2 WHERE last_ingest = 3",),
    "rows are not marked": (f"DELETE FROM payments WHERE mark IN (SELECT mark FROM marks WHERE batch_id = {SOME})",),
    "marks of a batch that is none": (
        "INSERT INTO marks VALUES (99, 'paid', zeroblob(32), '0x')",
        f"UPDATE payments SET mark = 99 WHERE {OPERATORS}",
    ),
    "marks of another batch": (
        "UPDATE payments SET mark = (SELECT min(mark) FROM marks WHERE state = 'paid') WHERE " + OPERATORS,
    ),
}


@pytest.mark.parametrize("blocks", ["0x1", hex(400)], ids=["shallow", "buried"])
@pytest.mark.parametrize("what", OTHERS)
def test_what_it_does_not_stops_the_run(world: Any, what: str, blocks: str) -> None:
    """Before anything is signed, with a sentence that names the settlement or the row; also when it is buried."""
    world.rpc("anvil_mine", blocks)
    alter(world, *OTHERS[what])
    before = int(world.rpc("eth_blockNumber"), 16)
    with pytest.raises((SettlementError, FactError), match=r"[Nn]othing was signed"):
        world.settle()
    assert int(world.rpc("eth_blockNumber"), 16) == before


async def plant(world: Any, account: str) -> None:
    """An ended settlement of the row that waits, with batches and marks as a run makes them; its contributor's part goes
    to an account."""
    store = await open_store(world.ledger_url)
    token = world.manifest.token.address
    newest = await store.newest_settlement(31337, token)
    assert newest is not None
    scope = Scope(31337, token, newest.period)
    name = settlement_id(scope, 4, 4, newest.settlement_id, keccak_256)
    record = SettlementRecord(name, 31337, token, scope.period, 4, 4, newest.settlement_id, "somebody", 1)
    await store.begin_settlement(record)
    public = row(3).public
    for entry in (*public["pay_in"], *public["payouts"]):
        role, party, amount = entry["role"], entry["id"], int(entry["amount_nano_cpu"])
        stated = commit([row(3).row_hash], amount, keccak_256)
        to = account if role == "contributor" else dict(row(3).parts["accounts"])[party]
        batch = batch_id_of(name, party, role, keccak_256)
        place = (31337, token, scope.period, role, party, to, 4, 4, newest.settlement_id)
        await store.put_batch(BatchRecord(batch, *place, *stated))
        state = "collected" if role == "enterprise" else "paid"
        await store.mark(role, party, [row(3).row_id], state=state, batch_id=batch, tx_id="0x" + "1" * 64)
    await store.end_settlement(name, 2)
    await store.close()


def test_a_planted_settlement_is_not_carried_out(world: Any) -> None:
    """The chain knows nothing of it, as of one whose blocks have gone. Its rows are believed and not its batches."""
    asyncio.run(plant(world, kit.account("thief")))
    with pytest.raises(SettlementError, match="its rows give other batches than the ledger holds.*Nothing was signed"):
        world.settle()
    assert world.balance("thief") == 10**12


def test_a_settlement_whose_blocks_have_gone_is_made_anew(world: Any) -> None:
    """The journal is lost, and a reorganisation takes the whole of the newest settlement: the ledger has it."""
    world.add_rows([row(4)])
    world.settle()
    world.journal.unlink()
    blocks = int(world.rpc("eth_blockNumber"), 16)
    begun = [seen.block_number for seen in everything_begun(world)]
    world.rpc("anvil_reorg", blocks - begun[-1] + 2, [])
    settle(world, Time(lambda: world.rpc("evm_mine")))
    settle(world, Time(lambda: world.rpc("evm_mine")))
    check_chain(world, set(range(5)))
    check_books(world)


def everything_begun(world: Any) -> list[OnChain]:
    chain = Web3Chain(world.url)
    return settlements(Token(chain, world.manifest.token.address, kit.account("payer")), 0, chain.head().number)


def test_a_plan_is_carried_on_over_its_own_rows_alone(world: Any) -> None:
    """A run dies with its plan fixed, and the ledger is an older copy in which another row has taken the number: nothing
    is signed until the rows are there again."""
    ledger = world.folder / "ledger.sqlite"
    older, newer = world.folder / "older.sqlite", world.folder / "newer.sqlite"
    shutil.copy(ledger, older)
    world.add_rows([row(4)])
    with pytest.raises(Died):
        settle(world, Time(), at=Once("run.planned.after", die))
    shutil.copy(ledger, newer)
    shutil.copy(older, ledger)
    world.add_rows([row(5)])
    before = int(world.rpc("eth_blockNumber"), 16)
    with pytest.raises(SettlementError, match=f"the ledger does not hold row {row(4).row_id}.*Nothing was signed"):
        world.settle()
    assert int(world.rpc("eth_blockNumber"), 16) == before
    shutil.copy(newer, ledger)
    world.settle()
    world.settle()
    check_chain(world, set(range(5)))
    check_books(world)


class Died(Exception):
    """The run ends here, as if the power had gone."""


def die() -> None:
    raise Died
