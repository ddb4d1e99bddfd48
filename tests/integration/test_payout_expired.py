"""A payer whose reservation is gone behind a plan that is fixed: nobody else waits for it (P-7, P-11).

The run dies after its plan was fixed, at one moment or another, and lies still until the reservations have expired.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from cgn_sdk.protocol.settlement import entity_on_chain
from payout_faults import Time, settle
from payout_judge import check_books

import payouts.settlement

pytestmark = pytest.mark.engine("anvil")

FEE = 20_000_000
PAYERS = ("enterprise 0", "enterprise 1", "enterprise 2")
GONE = kit.public_id("enterprise 0")
EIGHT_DAYS_S = 8 * 86_400
OPEN, COLLECTED = 1, 3


@pytest.fixture(scope="module")
def chain_url() -> Iterator[str]:
    with kit.anvil() as url:
        yield url


@pytest.fixture
def world(chain_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two rows of each of three payers, who are collected from in transactions of their own."""
    world = kit.make_world(chain_url, tmp_path)
    for name in PAYERS:
        world.fund(name, 10**9, approved=10**12)
    world.add_rows([row(number) for number in range(6)])
    as_it_is = payouts.settlement.chunks
    monkeypatch.setattr(
        payouts.settlement, "chunks", lambda batches, size: as_it_is(batches, 1 if size == 100 else size)
    )
    return world


def row(number: int) -> Any:
    return kit.make_row(number, enterprise=PAYERS[number % 3], contributor=f"contributor {number % 3}")


def mining(world: Any) -> Time:
    return Time(lambda: world.rpc("evm_mine"))


class Died(Exception):
    """The process has ended."""


def die(point: str, skip: int) -> Callable[[str], None]:
    left = [skip]

    def at(name: str) -> None:
        if name == point:
            left[0] -= 1
            if left[0] < 0:
                raise Died

    return at


MOMENTS = {
    "planned": ("run.planned.after", 0),
    "stored": ("store.batches.after", 0),
    "begun": ("tx.final.after", 3),  # behind three reservations
    "one_collected": ("tx.final.after", 4),
    "two_collected": ("tx.final.after", 5),
    "collection_sent": ("tx.sent.after", 4),
}


def lie_still(world: Any, moment: str) -> None:
    with pytest.raises(Died):
        settle(world, mining(world), at=die(*MOMENTS[moment]))
    world.rpc("evm_increaseTime", EIGHT_DAYS_S)
    world.rpc("evm_mine")


def reservation(world: Any, name: str) -> Any:
    return world.rpc.ask(world.manifest.token.reservation(*place(name)))


def place(name: str) -> tuple[str, str, bytes, int]:
    return kit.account("payer"), kit.account(name), entity_on_chain(kit.public_id(name)), 0


def leave(world: Any, name: str) -> None:
    """The payer takes its money away, as anybody may who has not been collected from in time."""
    token = world.manifest.token
    if reservation(world, name)[0] == OPEN:
        world.sender(name).send(token.release(*place(name)))
    world.sender(name).send(token.transfer(kit.account("elsewhere"), world.balance(name)))


def paid(world: Any) -> list[int]:
    """What the contributors of the three payers' rows have, in rows."""
    return [world.balance(f"contributor {number}") * 100 // 70 // FEE for number in range(3)]


def held(world: Any) -> int:
    token = world.manifest.token
    return int(world.rpc.ask(token.balance_of(token.address)))


@pytest.mark.parametrize(
    ("moment", "name"),
    [*((moment, "enterprise 0") for moment in MOMENTS), ("begun", "enterprise 1"), ("one_collected", "enterprise 2")],
)
def test_one_payer_leaves_and_the_others_are_settled(
    world: Any, moment: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next run names it, settles all that the others owe, holds nothing back, and serves it when it returns. Who was
    collected from before may leave."""
    lie_still(world, moment)
    was_collected = reservation(world, name)[0] == COLLECTED
    leave(world, name)
    capsys.readouterr()
    report = settle(world, mining(world))
    said = capsys.readouterr().out
    wanted = [2, 2, 2]
    if not was_collected:
        wanted[PAYERS.index(name)] = 0
        assert f"FLAGGED enterprise {kit.public_id(name)}: its reservation has expired" in said
        assert [line["id"] for line in report["flagged"]] == [kit.public_id(name)]
    assert paid(world) == wanted
    assert report["balances"]
    assert (held(world), world.kept()) == (0, 0)
    check_books(world)
    world.fund(name, 10**9)
    world.add_rows([kit.make_row(6, enterprise="enterprise 1", contributor="contributor 1")])
    assert settle(world, mining(world))["flagged"] == []
    assert (paid(world), held(world), world.kept()) == ([2, 3, 2], 0, 0)
    check_books(world)


@pytest.mark.parametrize("moment", ["planned", "begun", "one_collected"])
def test_the_journal_is_lost_too(world: Any, moment: str) -> None:
    """What is made anew from ledger and chain comes to the same."""
    lie_still(world, moment)
    leave(world, "enterprise 2")
    world.journal.unlink()
    settle(world, mining(world))
    assert (held(world), world.kept()) == (0, 0)
    assert paid(world)[:2] == [2, 2]
    check_books(world)
    world.fund("enterprise 2", 10**9)
    settle(world, mining(world))
    assert paid(world) == [2, 2, 2]
    check_books(world)


@pytest.mark.parametrize("skip", range(0, 14, 2))
def test_it_dies_again_on_the_way(world: Any, skip: int) -> None:
    """At each durable point of giving up and of what follows: the third run comes to the same."""
    lie_still(world, "begun")
    leave(world, "enterprise 1")
    try:
        settle(world, mining(world), at=die("tx.sent.after", skip))
    except Died:
        settle(world, mining(world))
    assert paid(world) == [2, 0, 2]
    assert (held(world), world.kept()) == (0, 0)
    check_books(world)


def test_what_is_still_held_of_it_is_found_and_given_back(world: Any) -> None:
    """The payer did nothing, but its approval is withdrawn: its expired reservation is released in the run."""
    lie_still(world, "begun")
    token = world.manifest.token
    world.sender("enterprise 0").send(token.approve(token.address, 0))
    before = world.balance("enterprise 0")
    report = settle(world, mining(world))
    assert [line["id"] for line in report["flagged"]] == [GONE]
    assert world.balance("enterprise 0") == before + 2 * FEE == 10**9
    assert paid(world) == [0, 2, 2]
    assert held(world) == 0
    check_books(world)


def test_all_renew_by_themselves(world: Any) -> None:
    """Nobody has left: the same settlement goes on."""
    lie_still(world, "begun")
    report = settle(world, mining(world))
    assert not report["abandoned"]
    assert [tx["step"] for tx in report["transactions"]].count("reserve") == 6
    assert (paid(world), held(world), world.kept()) == ([2, 2, 2], 0, 0)
    check_books(world)


def test_a_treasury_helps_within_its_bounds(world: Any) -> None:
    """P-7: what a payer lacks when its turn comes is topped up as ever, and the settlement goes on."""
    lie_still(world, "one_collected")
    for name in PAYERS:
        leave(world, name)
    world.fund("treasury", 10**12)
    report = settle(world, mining(world), treasury_key=kit.Secret(kit.development_key("treasury").hex()))
    assert not report["abandoned"]
    assert len(report["top_ups"]) == 2
    assert world.balance("treasury") == 10**12 - 4 * FEE
    assert (paid(world), held(world), world.kept()) == ([2, 2, 2], 0, 0)
    check_books(world)


def test_everybody_leaves(world: Any) -> None:
    """Nobody is collected from; the next day's rows of another payer are settled all the same."""
    lie_still(world, "begun")
    for name in PAYERS:
        leave(world, name)
    world.fund("enterprise 3", 10**9, approved=10**9)
    world.add_rows([kit.make_row(7, enterprise="enterprise 3", contributor="contributor 3")])
    report = settle(world, mining(world))
    assert len(report["flagged"]) == 3
    assert world.balance("contributor 3") == FEE * 70 // 100
    assert (paid(world), held(world), world.kept()) == ([0, 0, 0], 0, 0)
    check_books(world)


def test_the_others_need_no_further_approval(world: Any) -> None:
    """They are collected from in the settlement that is given up: what they approved was used up for it."""
    lie_still(world, "begun")
    leave(world, "enterprise 0")
    token = world.manifest.token
    for name in PAYERS[1:]:
        world.sender(name).send(token.approve(token.address, 2 * FEE))
    report = settle(world, mining(world))
    assert [line["id"] for line in report["flagged"]] == [GONE]
    assert (paid(world), held(world), world.kept()) == ([0, 2, 2], 0, 0)
    check_books(world)
