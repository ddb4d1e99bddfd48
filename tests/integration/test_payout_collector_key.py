"""Whoever has the collector's key, and nothing else, has used it; then the collector was replaced (P-11, P-18).

It can begin settlements, abandon them, and collect what payers have approved; it can pay nobody. The run that follows
goes on by itself: every row is settled once, to the unit, no file is deleted, and whatever was collected for no row
goes back to its payers. Until the collector is replaced, a run stops and says what to do.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import Scope, entity_on_chain, settlement_id
from payout_faults import Once, Time, settle
from payout_judge import FEE, check_books, check_chain, row

from payouts import settlement
from payouts.bindings import batches
from payouts.driver import DriverError
from payouts.errors import SettlementError

pytestmark = pytest.mark.engine("anvil")

MINIMUM = FEE * 15 // 100
"""An operator's share of one row is below it: something is carried from the first day."""
ROWS = range(1, 7)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    """One row is settled, with a share of it carried; the others wait."""
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path)
        for name in ("enterprise 0", "enterprise 1"):
            world.fund(name, 10**12, approved=10**12)
        world.add_rows([row(0)])
        run(world, minimum_payout_nano_cpu=MINIMUM)
        world.add_rows([row(number) for number in ROWS])
        yield world


def run(world: Any, **changes: Any) -> dict[str, Any]:
    """A run on a chain that makes a block whenever it waits."""
    return settle(world, Time(lambda: world.rpc("evm_mine")), **changes)


class Thief:
    """The collector's key."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.token = world.manifest.token
        self.account = kit.account("payer")
        self.key = kit.Sender(world.rpc, kit.development_key("collector"))

    def at(self) -> Any:
        """Id, root, last row, uncollected, unpaid."""
        return self.world.rpc.ask(self.token.settlement_of(self.account))

    def begin(self, rows: int, collections: int = 0, *, name: bytes = b"\7" * 32, paying: bool = False) -> bytes:
        newest, _, last_row, *_ = self.at()
        sums = (collections, collections, keccak_256(b"a list")) if paying else (collections, 0, bytes(32))
        self.key.send(self.token.begin(self.account, name, newest, last_row + 1, last_row + rows, *sums))
        return name

    def reserve(self, name: bytes, payer: str, amount: int) -> None:
        now = int(self.world.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        place = (self.account, kit.account(payer), entity_on_chain(kit.public_id(payer)), 0)
        self.key.send(self.token.reserve(*place, amount, name, now + 3_600))

    def take(self, name: bytes, payer: str, amount: int, *, is_reserved: bool = False) -> None:
        """Collects of a payer what no row owes, or with hashes that are no rows'."""
        if not is_reserved:
            self.reserve(name, payer, amount)
        owner = kit.account(payer)
        item = batches.Item(
            entity=entity_on_chain(kit.public_id(payer)),
            role=0,
            account=owner,
            amount=amount,
            xor_hash=b"\1" * 32,
            merkle_root=b"\2" * 32,
            row_count=1,
        )
        self.key.send(batches.collect(self.token, self.account, name, [item]))

    def abandon(self) -> None:
        self.key.send(self.token.abandon(self.account, self.at()[0]))


def replace_collector(world: Any) -> dict[str, Any]:
    """Its office is taken from it, and another one is announced. Returns the settings that change."""
    world.sender("admin").send(world.manifest.token.dismiss_collector(kit.account("payer")))
    world.open_account("payer", "collector 2")
    return {"collector_key": kit.Secret(kit.development_key("collector 2").hex())}


def bogus(thief: Thief) -> None:
    """Over the rows that wait, paying nobody: it is done as soon as it has begun."""
    thief.begin(len(ROWS))


def far_ahead(thief: Thief) -> None:
    """As many rows as the contract takes at once, three times."""
    for number in range(3):
        thief.begin(2**24, name=bytes([number + 1]) * 32)


def never_collected(thief: Thief) -> None:
    """It promises to collect, and holds the account up."""
    thief.begin(2, FEE)


def never_paid(thief: Thief) -> None:
    """It has collected of a payer, and names a list that nobody knows."""
    thief.take(thief.begin(2, 3 * FEE, paying=True), "enterprise 1", 3 * FEE)


def abandoned(thief: Thief) -> None:
    never_paid(thief)
    thief.abandon()


def half_collected(thief: Thief) -> None:
    thief.take(thief.begin(2, 5 * FEE, paying=True), "enterprise 0", 3 * FEE)


def an_old_id(thief: Thief) -> None:
    """The id of a settlement that has been."""
    thief.take(thief.begin(2, 3 * FEE, name=thief.at()[0], paying=True), "enterprise 1", 3 * FEE)


ATTACKS = [bogus, far_ahead, never_collected, never_paid, abandoned, half_collected, an_old_id]


@pytest.mark.parametrize("journal", ["kept", "lost"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_settlements_that_are_no_runs(
    world: Any, attack: Callable[[Thief], None], journal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Begun while no run was under way."""
    attack(Thief(world))
    if journal == "lost":
        world.journal.unlink()
    with pytest.raises(SettlementError, match="take its office .dismissCollector.") as stopped:
        run(world)
    assert "Nothing was signed" in str(stopped.value)
    keys = replace_collector(world)
    report = run(world, **keys)
    assert "is no run's" in capsys.readouterr().out
    assert (report["collected"], report["balances"]) == (len(ROWS) * FEE, True)
    check_goes_on(world, keys)


def check_goes_on(world: Any, keys: dict[str, Any]) -> None:
    """All rows once; the next day's too, also for a journal that is new; nothing stays in the account."""
    check_chain(world, {0, *ROWS})
    check_books(world)
    assert run(world, **keys)["transactions"] == []
    for day in (7, 8):
        world.add_rows([row(day)])
        assert run(world, **keys)["collected"] == FEE
        world.journal.unlink()
    check_chain(world, {0, *ROWS, 7, 8})
    check_books(world)


def followed_by_another(thief: Thief) -> None:
    """Then the contract gives back no more what it took."""
    abandoned(thief)
    thief.begin(1, name=b"\x08" * 32)


def reserved_again(thief: Thief) -> None:
    """The place where the contract keeps what it took is used again."""
    abandoned(thief)
    thief.reserve(b"\x08" * 32, "enterprise 1", 0)


def in_full(thief: Thief) -> None:
    """It has collected all that it promised to, and no list is to be paid: it is done, and cannot be abandoned."""
    thief.take(thief.begin(2, 3 * FEE), "enterprise 1", 3 * FEE)


@pytest.mark.parametrize("attack", [followed_by_another, reserved_again, in_full])
def test_what_the_contract_does_not_give_back_is_said(
    world: Any, attack: Callable[[Thief], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """It stays in the payouts account, for no row: the run goes on, and the auditor names it."""
    attack(Thief(world))
    keys = replace_collector(world)
    report = run(world, **keys)
    assert f"{3 * FEE} nano-CPU that it collected stay in the payouts account" in capsys.readouterr().out
    assert (report["collected"], report["balances"]) == (len(ROWS) * FEE, True)
    assert world.kept() == 3 * FEE
    assert world.balance("enterprise 1") == 10**12 - 6 * FEE
    assert world.balance("contributor 0") + world.balance("contributor 1") > 0
    assert run(world, **keys)["transactions"] == []
    with pytest.raises(AssertionError, match="batch_missing") as named:
        check_books(world)
    assert str(named.value).count("Finding(") == 1


STOPS = (SettlementError, DriverError)
IS_HELD_UP = r"the contract refuses (begin|collect|pay)|with other payouts than|another settlement of"


def while_running(world: Any, act: Callable[[], object], point: str, skip: int) -> None:
    """A run at whose point the thief acts. It stops, and another one stops likewise."""
    with pytest.raises(STOPS, match=IS_HELD_UP):
        run(world, at=Once(point, act, skip))


AFTER_BEGIN, AFTER_COLLECTION = 2, 3
"""How many transactions are final before: two reservations, the beginning, the collection."""


@pytest.mark.parametrize("journal", ["kept", "lost"])
@pytest.mark.parametrize("skip", [AFTER_BEGIN, AFTER_COLLECTION], ids=["nothing collected", "nothing paid"])
def test_a_run_is_abandoned_under_way(world: Any, skip: int, journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing more can happen in its settlement. It counts for what the chain shows of it, and its other rows are open:
    what was collected stays, for those whom it was collected for. Each run that is abandoned says so."""
    while_running(world, Thief(world).abandon, "tx.final.after", skip)
    before = world.kept()
    if journal == "lost":
        world.journal.unlink()
    keys = replace_collector(world)
    report = run(world, **keys)
    assert "was abandoned" in capsys.readouterr().out
    assert report["balances"]
    assert before == FEE // 10 + (len(ROWS) * FEE if skip == AFTER_COLLECTION else 0)
    assert report["collected"] == (0 if skip == AFTER_COLLECTION else len(ROWS) * FEE)
    check_goes_on(world, keys)


@pytest.mark.parametrize("journal", ["kept", "lost"])
def test_a_run_is_abandoned_between_its_collections(world: Any, journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One payer is collected from, the other is not: its rows are as they were."""
    whole = settlement.chunks
    monkeypatch.setattr(settlement, "chunks", lambda parts, size: whole(parts, 1 if size == 100 else size))
    while_running(world, Thief(world).abandon, "tx.final.after", AFTER_COLLECTION)
    assert world.kept() == FEE // 10 + 3 * FEE
    if journal == "lost":
        world.journal.unlink()
    keys = replace_collector(world)
    report = run(world, **keys)
    assert (report["collected"], report["balances"]) == (3 * FEE, True)
    check_goes_on(world, keys)


def id_of_the_run(world: Any) -> bytes:
    """What whoever knows the rows can tell beforehand."""
    today = datetime.now(UTC).date().isoformat()
    scope = Scope(31337, world.manifest.token.address, today)
    return settlement_id(scope, 2, 1 + len(ROWS), Thief(world).at()[0], keccak_256)


@pytest.mark.parametrize("journal", ["kept", "lost"])
@pytest.mark.parametrize("how", ["with another list", "with other hashes"])
def test_a_runs_own_settlement_is_used(world: Any, how: str, journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Begun before the run does, with another list; or collected in, with hashes of no rows. What does not fit the plan
    goes back to its payers, the settlement is given up, and its rows are settled in another."""
    thief, name = Thief(world), id_of_the_run(world)
    if how == "with another list":
        while_running(world, lambda: thief.begin(len(ROWS), 4 * FEE, name=name, paying=True), "tx.signed.before", 2)
        thief.take(name, "enterprise 1", 3 * FEE, is_reserved=True)
    else:
        take = lambda: thief.take(name, "enterprise 1", 3 * FEE, is_reserved=True)  # noqa: E731
        while_running(world, take, "tx.final.after", AFTER_BEGIN)
    with pytest.raises(STOPS, match="take its office"):
        run(world)
    if journal == "lost":
        world.journal.unlink()
    keys = replace_collector(world)
    report = run(world, **keys)
    assert "was abandoned" in capsys.readouterr().out
    assert (report["collected"], report["balances"]) == (len(ROWS) * FEE, True)
    check_goes_on(world, keys)


def test_the_thief_comes_twice(world: Any) -> None:
    """Once while rows wait, once in the run behind that; both are put right."""
    bogus(Thief(world))
    keys = replace_collector(world)
    thief = Thief(world)
    thief.key = kit.Sender(world.rpc, kit.development_key("collector 2"))
    with pytest.raises(STOPS, match=IS_HELD_UP):
        run(world, at=Once("tx.final.after", thief.abandon, AFTER_COLLECTION), **keys)
    never_paid(thief)
    keys = replace_collector(world)
    assert run(world, **keys)["balances"]
    check_goes_on(world, keys)


def test_the_account_is_replaced_after_it(world: Any) -> None:
    """The thief's settlements are the predecessor's; the new account goes on behind them, with any journal."""
    far_ahead(Thief(world))
    keys = replace_collector(world)
    run(world, **keys)
    world.open_account("payer 2", "collector 2", predecessor="payer")
    check_goes_on(world, keys | {"payer_key": kit.Secret(kit.development_key("payer 2").hex())})
