"""A key that signed part of a run is replaced: by nobody's ether, a thief's, or an ordinary change (P-11, P-18).

What the old key signed may never be mined, may have been mined before, or may be mined at the worst moment. The run goes
on with the new key by itself, and everything is settled once, to the unit.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from payout_faults import Time, settle, transactions
from payout_judge import check_books

from payouts import deploy
from payouts.journal import Tx
from payouts.rpc import RpcError

pytestmark = pytest.mark.engine("anvil")

FEE = 20_000_000
ROWS = 3
STEPS = ("reserve", "begin", "collect")
NEW = {"collector_key": kit.Secret(kit.development_key("collector 2").hex())}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    """The payer has approved exactly what it owes, so that a second reservation shows."""
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path)
        world.fund("enterprise 0", 10**12, approved=ROWS * FEE)
        world.add_rows([kit.make_row(n) for n in range(ROWS)])
        yield world


class Died(Exception):
    """The process has ended."""


class DiesAt:
    """Ends the run at a point of its n-th transaction. Before that the chain stops making blocks, if it is to."""

    def __init__(self, world: Any, point: str, step: int, *, mined: bool = False) -> None:
        self.world, self.point, self.step, self.mined = world, point, step, mined
        self.planned = -1

    def __call__(self, name: str) -> None:
        if name == "tx.planned.before":
            self.planned += 1
            if self.planned == self.step and not self.mined:
                self.world.rpc("evm_setAutomine", False)
        if name == self.point and self.planned == self.step:
            raise Died


def mining(world: Any) -> Time:
    return Time(lambda: world.rpc("evm_mine"))


def die(world: Any, point: str, step: int, *, mined: bool = False, **changes: Any) -> list[Tx]:
    """A run that ends there, with what it had signed."""
    with pytest.raises(Died):
        settle(world, mining(world), at=DiesAt(world, point, step, mined=mined), **changes)
    left = transactions(world)
    if not mined:
        world.rpc("anvil_dropAllTransactions")
        world.rpc("evm_setAutomine", True)
    return left


def replace_collector(world: Any) -> None:
    """As the README says for a stolen key; the thief has taken the ether."""
    world.rpc("anvil_setBalance", kit.account("collector"), "0x0")
    world.sender("admin").send(world.manifest.token.dismiss_collector(kit.account("payer")))
    world.open_account("payer", "collector 2")


def offer(world: Any, signed: list[Tx]) -> list[int]:
    """Sends in what the old key had signed, with ether to pay for it. Returns what came of it: 1 it had an effect."""
    for name in ("collector", "treasury"):
        world.rpc("anvil_setBalance", kit.account(name), hex(10**21))
    statuses = []
    for raw in [version.raw for tx in signed for version in tx.versions[-1:] if tx.state in ("signed", "sent")]:
        try:
            found = world.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcError as error:
            assert "nonce too low" in str(error), "it was mined before"
            continue
        statuses.append(int(world.rpc.wait_receipt(found)["status"], 16))
    return statuses


def check_settled_once(world: Any) -> None:
    token = world.manifest.token
    assert world.balance("enterprise 0") == 10**12 - ROWS * FEE
    assert world.balance("contributor 0") == ROWS * FEE * 70 // 100
    assert world.balance("operator 0") == ROWS * FEE * 10 // 100
    assert world.kept() == 0
    assert world.rpc.ask(token.balance_of(token.address)) == 0
    check_books(world)


@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
@pytest.mark.parametrize("point", ["tx.planned.after", "tx.signed.after", "tx.sent.after"])
def test_what_the_old_collector_signed_is_not_waited_for(world: Any, point: str, step: int) -> None:
    """It can never be mined. The new collector goes on at once; when the old bytes are mined after all, later, they are
    refused, and the next run finds nothing to do."""
    left = die(world, point, step)
    replace_collector(world)
    time = mining(world)
    report = settle(world, time, **NEW)
    assert (report["collected"], report["flagged"], report["balances"]) == (ROWS * FEE, [], True)
    assert time.now_s < 60, "nothing was waited for"
    check_settled_once(world)
    assert set(offer(world, left)) <= {0}
    assert settle(world, mining(world), **NEW)["transactions"] == []
    check_settled_once(world)
    gone = [tx for tx in transactions(world) if tx.sender == kit.account("collector") and tx.attempt == 1][step:]
    assert {tx.state for tx in gone} <= {"lost", "failed"}


@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
@pytest.mark.parametrize("point", ["tx.broadcast.after", "tx.sent.after"])
def test_what_was_mined_before_is_counted(world: Any, point: str, step: int) -> None:
    """The old collector's last transaction was mined after the run had ended, and before the office was taken from it."""
    die(world, point, step, mined=True)
    replace_collector(world)
    assert settle(world, mining(world), **NEW)["collected"] == ROWS * FEE
    check_settled_once(world)
    by = [tx.sender for tx in transactions(world) if tx.step.startswith(STEPS[step])]
    assert by == [kit.account("collector")], "it was not made again"


@pytest.mark.parametrize("moment", ["tx.planned.before", "tx.signed.after", "tx.sent.after", "tx.final.after"])
@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
def test_the_old_bytes_are_mined_in_the_middle(world: Any, moment: str, step: int) -> None:
    """At each moment of the new collector's first transaction: refused, and nothing is done twice."""
    left = die(world, "tx.sent.after", step)
    replace_collector(world)
    done: list[list[int]] = []

    def at(name: str) -> None:
        if name == moment and not done:
            done.append(offer(world, left))

    assert settle(world, mining(world), at=at, **NEW)["collected"] == ROWS * FEE
    assert done == [[0]]
    check_settled_once(world)


def test_a_treasury_is_replaced(world: Any) -> None:
    """Its top-up was under way: the new one's stands, and the old one's is refused when it is mined later."""
    world.fund("enterprise 1", 1, approved=10**12)
    for name in ("treasury", "treasury 2"):
        world.fund(name, 10**12)
    token = world.manifest.token
    admin, role = world.sender("admin"), deploy.role_id("treasury")
    admin.send(token.announce_role(role, kit.account("treasury 2")))
    admin.send(token.grant_role(role, kit.account("treasury 2")))
    world.add_rows([kit.make_row(ROWS, enterprise="enterprise 1")])
    keys = [
        {"treasury_key": kit.Secret(kit.development_key(name).hex()), "top_up_run_nano_cpu": FEE}
        for name in ("treasury", "treasury 2")
    ]
    left = die(world, "tx.sent.after", 2, **keys[0])  # two reservations, then the top-up
    world.rpc("anvil_setBalance", kit.account("treasury"), "0x0")
    assert [tx.step.split(":")[0] for tx in left] == ["reserve", "reserve", "top_up"]
    report = settle(world, mining(world), **keys[1])
    assert (report["collected"], report["flagged"]) == ((ROWS + 1) * FEE, [])
    assert set(offer(world, left)) <= {0}
    assert (world.balance("treasury"), world.balance("treasury 2")) == (10**12, 10**12 - FEE + 1)
    assert [line["amount"] for line in report["top_ups"]] == [FEE - 1]
    check_books(world)


def test_a_key_that_comes_back(world: Any) -> None:
    """The old collector takes the office again, with bytes of before still to be had: the run ends as ever."""
    left = die(world, "tx.sent.after", 1)
    replace_collector(world)
    with pytest.raises(Died):
        settle(world, mining(world), at=DiesAt(world, "tx.planned.after", 0, mined=True), **NEW)
    world.open_account("payer", "collector")
    world.rpc("anvil_setBalance", kit.account("collector"), hex(10**21))
    assert settle(world, mining(world))["collected"] == ROWS * FEE
    check_settled_once(world)
    offer(world, left)
    assert settle(world, mining(world))["transactions"] == []
    check_settled_once(world)
