"""What was thought at an end and is not: late receipts, wrong counts, blocks that go after they were final (P-11).

"Unknown" is not "failed", one answer of an endpoint is no fact, and "final" holds as long as its block does.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from payout_faults import CountsTooHigh, LateReceipts, LateTransactions, Once, Time, send_ahead, settle, transactions

from payouts.deploy import Sender
from payouts.errors import SettlementError
from payouts.journal import Journal

pytestmark = pytest.mark.engine("anvil")

FEE = 20_000_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    """A chain of each test's own; the payer has approved exactly what it owes, so that a second reservation shows."""
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path)
        world.fund("enterprise 0", 10**12, approved=3 * FEE)
        world.add_rows([kit.make_row(n) for n in range(3)])
        yield world


def mining(world: Any) -> Time:
    return Time(lambda: world.rpc("evm_mine"))


def check_settled_once(world: Any) -> None:
    token = world.manifest.token
    assert world.balance("enterprise 0") == 10**12 - 3 * FEE
    assert world.balance("contributor 0") == 3 * FEE * 70 // 100
    assert world.balance("operator 0") == 3 * FEE * 10 // 100
    assert world.kept() == 0
    assert world.rpc.ask(token.balance_of(token.address)) == 0  # nothing is left reserved


def steps(world: Any) -> list[tuple[str, int, str]]:
    return [(tx.step.split(":")[0], tx.attempt, tx.state) for tx in transactions(world)]


@pytest.mark.parametrize("confirmations", [1, 3])
@pytest.mark.parametrize("hidden", [0, 1, 2, 3], ids=["reserve", "begin", "collect", "pay"])
def test_a_receipt_comes_late(world: Any, hidden: int, confirmations: int) -> None:
    """Twenty looks and as many blocks: it is waited for. Nobody is flagged, nothing is sent twice."""
    layer = type("Late", (LateReceipts,), {"hidden": hidden})
    report = settle(world, mining(world), chain_at=layer, confirmations=confirmations)
    assert report["flagged"] == []
    assert steps(world) == [(name, 1, "final") for name in ("reserve", "begin", "collect", "pay")]
    check_settled_once(world)


@pytest.mark.parametrize("looks", [2, 10])
@pytest.mark.parametrize("hidden", [0, 2], ids=["reserve", "collect"])
def test_nothing_is_given_up_over_a_few_looks(
    world: Any, hidden: int, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that knows neither the transaction nor its receipt, but a used nonce, for less than LOST_BLOCKS."""
    given_up: list[str] = []
    real = Journal.lost

    def lost(self: Journal, tx: Any, detail: str) -> Any:
        given_up.append(tx.step)
        return real(self, tx, detail)

    monkeypatch.setattr(Journal, "lost", lost)
    layer = type("Late", (LateTransactions,), {"hidden": hidden, "looks": looks})
    settle(world, mining(world), chain_at=layer)
    assert given_up == []
    check_settled_once(world)


@pytest.mark.parametrize("hidden", [0, 1, 2, 3], ids=["reserve", "begin", "collect", "pay"])
def test_a_transaction_that_was_given_up_turns_out_mined(world: Any, hidden: int) -> None:
    """It counts as lost only after many looks; then what it did is looked for on the chain, and found: the payer is
    not flagged, nothing is done again, and no message says that nothing moved."""
    layer = type("Late", (LateTransactions,), {"hidden": hidden})
    report = settle(world, mining(world), chain_at=layer)
    assert report["flagged"] == []
    assert [(step, attempt) for step, attempt, _ in steps(world)] == [
        ("reserve", 1),
        ("begin", 1),
        ("collect", 1),
        ("pay", 1),
    ]
    check_settled_once(world)


@pytest.mark.parametrize(("lies", "too_many", "filled"), [(1, 1, 0), (2, 1, 1), (2, 3, 3)])
def test_the_count_of_transactions_was_too_high(world: Any, lies: int, too_many: int, filled: int) -> None:
    """Said once, the next answer counts; said again, the nonces between are filled by transactions without effect, and
    the same bytes go on. There is never a second transaction for one intent."""
    layer = type("High", (CountsTooHigh,), {"lies": lies, "too_many": too_many})
    settle(world, mining(world), chain_at=layer)
    check_settled_once(world)
    done = [step for step, attempt, state in steps(world) if step != "fill"]
    assert done == ["reserve", "begin", "collect", "pay"]
    assert [step for step, _, _ in steps(world)].count("fill") == filled


def test_a_count_that_was_far_too_high_is_said(world: Any) -> None:
    """A gap that no miscount makes: the message says what is known, and nothing is filled."""
    from payouts.driver import DriverError

    layer = type("High", (CountsTooHigh,), {"lies": 2, "too_many": 1_000})
    with pytest.raises(DriverError, match="1000 nonces between are unused"):
        settle(world, mining(world), chain_at=layer)
    assert [step for step, _, _ in steps(world)] == ["reserve"]


@pytest.mark.parametrize("confirmations", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("skip", [0, 1, 2, 3], ids=["reserve", "begin", "collect", "pay"])
def test_blocks_go_after_they_were_final(world: Any, skip: int, depth: int, confirmations: int) -> None:
    """A reorganisation as deep as `confirmations` and deeper, right after a transaction was final: the same bytes go
    out again, in their order, and everything is settled once."""
    world.rpc("anvil_mine", "0x10")
    point = Once("tx.final.after", lambda: world.rpc("anvil_reorg", depth, []), skip)
    report = settle(world, mining(world), at=point, confirmations=confirmations)
    assert report["balances"]
    check_settled_once(world)
    assert [(tx.attempt, tx.state, len(tx.versions)) for tx in transactions(world)] == [(1, "final", 1)] * 4


@pytest.mark.parametrize("depth", [1, 4, 12])
def test_blocks_go_while_rows_are_marked(world: Any, depth: int) -> None:
    """After the last transaction and before the marks: the marks still name transactions that are on the chain."""
    world.rpc("anvil_mine", "0x10")
    point = Once("run.settled.before", lambda: world.rpc("anvil_reorg", depth, []))
    settle(world, mining(world), at=point)
    settle(world, mining(world))
    check_settled_once(world)


def test_a_reservation_is_mined_without_effect(world: Any) -> None:
    """It is final and did nothing: the payer is flagged, its rows stay pending, and the next run takes them up."""
    world.rpc("evm_setAutomine", False)
    token = world.manifest.token
    point = Once("tx.sent.before", lambda: send_ahead(world, "enterprise 0", token.approve(token.address, 0)))
    report = settle(world, mining(world), at=point)
    assert [line["role"] for line in report["flagged"]] == ["enterprise"]
    assert steps(world) == [("reserve", 1, "failed")]
    assert {state for state, _ in world.payment_states(kit.make_row(0).row_id).values()} <= {"pending", "carried"}
    world.rpc("evm_setAutomine", True)
    world.fund("enterprise 0", 0, approved=3 * FEE)
    settle(world, mining(world))
    check_settled_once(world)


@pytest.mark.parametrize("skip", [1, 2, 3], ids=["begin", "collect", "pay"])
def test_a_settlement_is_mined_without_effect(world: Any, skip: int) -> None:
    """The token was paused in the block before: the run stops and says so; the next one tries again, once."""
    rpc = world.rpc
    rpc("anvil_setBalance", kit.account("pauser"), hex(10**21))
    rpc("evm_setAutomine", False)
    point = Once("tx.sent.before", lambda: send_ahead(world, "pauser", world.manifest.token.pause()), skip)
    with pytest.raises(SettlementError, match="TokenPaused|is failed: mined without effect"):
        settle(world, mining(world), at=point)
    rpc("evm_setAutomine", True)
    Sender(rpc, kit.development_key("admin")).send(world.manifest.token.unpause())
    settle(world, mining(world))
    check_settled_once(world)
    assert (["begin", "collect", "pay"][skip - 1], 2, "final") in steps(world)


@pytest.mark.parametrize("skip", [0, 1, 2], ids=["reserve", "begin", "collect"])
def test_the_nonce_is_of_a_waiting_transaction(world: Any, skip: int) -> None:
    """Somebody's transaction with the same key waits in the pool, and offers more. Ours is refused there, that one is
    mined; ours is made again under the next nonce."""
    rpc = world.rpc
    token = world.manifest.token
    rpc("evm_setAutomine", False)
    call = token.approve(kit.account("stranger"), 1)
    settle(world, mining(world), at=Once("tx.signed.after", lambda: send_ahead(world, "collector", call), skip))
    check_settled_once(world)
    name = ["reserve", "begin", "collect"][skip]
    assert (name, 1, "lost") in steps(world)
    assert (name, 2, "final") in steps(world)


@pytest.mark.parametrize("confirmations", [1, 12])
@pytest.mark.parametrize("depth", [1, 3, 12])
def test_blocks_go_after_the_run(world: Any, depth: int, confirmations: int) -> None:
    """The run has ended and said so; the next one looks again, offers the same bytes, and then takes the new rows."""
    world.rpc("anvil_mine", "0x10")
    settle(world, mining(world), confirmations=confirmations)
    world.rpc("anvil_reorg", confirmations - 1 + depth, [])
    settle(world, mining(world), confirmations=confirmations)
    world.rpc("anvil_mine", "0x10")
    check_settled_once(world)
    world.fund("enterprise 0", 0, approved=FEE)
    world.add_rows([kit.make_row(3)])
    report = settle(world, mining(world), confirmations=confirmations)
    assert (report["opening"], report["collected"], report["balances"]) == (0, FEE, True)
    assert world.balance("contributor 0") == 4 * FEE * 70 // 100
