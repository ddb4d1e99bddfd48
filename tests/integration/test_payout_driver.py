"""Transactions that are dropped, replaced, overtaken or reorganised away, and an endpoint that lies (P-11).

On a real chain; time is the test's own, so that waiting costs nothing. The endpoint's misbehaviour is made by a layer
over the real adapter: what it hides or delays has really happened.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from payout_faults import (
    FailsHalfTheTime,
    LagsBehind,
    Layer,
    Once,
    OtherBlocks,
    SwallowsBroadcasts,
    Time,
    TimesOutAfterSending,
    settle,
    transactions,
)

from payouts.chain import ChainError, Receipt
from payouts.deploy import Sender
from payouts.driver import DriverError
from payouts.errors import SettlementError

pytestmark = pytest.mark.engine("anvil")

FEE = 20_000_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    """A chain of each test's own: its blocks are played with."""
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path)
        world.fund("enterprise 0", 10**12, approved=10**12)
        world.add_rows([kit.make_row(n) for n in range(3)])
        yield world


def check_settled_once(world: Any) -> None:
    assert world.balance("enterprise 0") == 10**12 - 3 * FEE
    assert world.balance("contributor 0") == 3 * FEE * 70 // 100
    assert world.balance("operator 0") == 3 * FEE * 10 // 100
    assert world.kept() == 0


@pytest.mark.parametrize("skip", [0, 1, 2, 3], ids=["reserve", "begin", "collect", "pay"])
@pytest.mark.parametrize("depth", [1, 4])
def test_a_reorganisation_takes_the_block_away(world: Any, skip: int, depth: int) -> None:
    """The transaction is gone with its blocks; the very same bytes are mined again, once."""
    rpc = world.rpc
    time = Time(lambda: rpc("evm_mine"))

    def reorganise() -> None:
        rpc("anvil_mine", hex(depth - 1)) if depth > 1 else None
        rpc("anvil_reorg", depth, [])

    report = settle(world, time, at=Once("tx.mined.after", reorganise, skip), confirmations=6)
    assert report["balances"]
    check_settled_once(world)
    assert [(tx.state, len(tx.versions)) for tx in transactions(world)] == [("final", 1)] * 4


def test_a_transaction_drops_out_of_the_pool(world: Any) -> None:
    """The same bytes are offered again, under no other nonce."""
    rpc = world.rpc
    rpc("evm_setAutomine", False)
    dropped = []

    def drop() -> None:
        pending = rpc("txpool_content")["pending"]
        for by_nonce in pending.values():
            for tx in by_nonce.values():
                rpc("anvil_dropTransaction", tx["hash"])
                dropped.append(tx["hash"])

    time = Time(lambda: rpc("evm_mine"))
    settle(world, time, at=Once("tx.sent.after", drop, skip=1))
    check_settled_once(world)
    assert len(dropped) == 1
    txs = transactions(world)
    assert [len(tx.versions) for tx in txs] == [1, 1, 1, 1]
    assert "0x" + txs[1].mined_hash.hex() == dropped[0]


def test_fees_rise_and_the_transaction_is_replaced(world: Any) -> None:
    """A gas spike: the same payload, the same nonce, a higher fee; one of the versions is mined."""
    rpc = world.rpc
    rpc("evm_setAutomine", False)
    high = 10 * 10**9

    def spike() -> None:
        rpc("anvil_setNextBlockBaseFeePerGas", hex(high))

    sleeps = 0

    def tick() -> None:
        nonlocal sleeps
        sleeps += 1
        if sleeps < 40 and stuck:
            rpc("anvil_setNextBlockBaseFeePerGas", hex(high))
        rpc("evm_mine")

    stuck: list[bool] = []

    def begin_spike() -> None:
        stuck.append(True)
        spike()

    settle(world, Time(tick, seconds_per_sleep=30), at=Once("tx.sent.after", begin_spike, skip=2))
    check_settled_once(world)
    collect = transactions(world)[2]
    assert len(collect.versions) > 1
    assert len({version.raw for version in collect.versions}) == len(collect.versions)
    fees = [version.max_fee for version in collect.versions]
    assert fees == sorted(fees)
    assert all(new * 10 >= old * 11 for old, new in itertools.pairwise(fees))


@pytest.mark.parametrize("skip", [0, 1, 2], ids=["reserve", "begin", "collect"])
def test_somebody_else_uses_the_nonce(world: Any, skip: int) -> None:
    """The stored bytes can never be mined: a further attempt under the next nonce, and still one settlement."""
    collector = Sender(world.rpc, kit.development_key("collector"))
    token = world.manifest.token

    def overtake() -> None:
        collector.send(token.approve(kit.account("stranger"), 1))

    report = settle(world, Time(lambda: world.rpc("evm_mine")), at=Once("tx.signed.after", overtake, skip))
    assert report["balances"]
    check_settled_once(world)
    states = [(tx.step.split(":")[0], tx.attempt, tx.state) for tx in transactions(world)]
    name = ["reserve", "begin", "collect"][skip]
    assert (name, 1, "lost") in states
    assert (name, 2, "final") in states


@pytest.mark.parametrize("layer", [TimesOutAfterSending, SwallowsBroadcasts, LagsBehind, OtherBlocks])
def test_an_endpoint_that_misbehaves_delays_and_never_doubles(world: Any, layer: type[Layer]) -> None:
    report = settle(world, Time(lambda: world.rpc("evm_mine")), chain_at=layer, confirmations=2)
    assert report["balances"]
    check_settled_once(world)
    assert {tx.state for tx in transactions(world)} == {"final"}


def test_an_endpoint_that_fails_now_and_then(world: Any) -> None:
    """A call that fails outside of a transaction's life ends the run; running again goes on."""
    for _ in range(30):
        try:
            settle(world, Time(lambda: world.rpc("evm_mine")), chain_at=FailsHalfTheTime)
            break
        except (ChainError, SettlementError, DriverError):
            continue
    settle(world, Time(lambda: world.rpc("evm_mine")))
    check_settled_once(world)


class InventsSuccess(Layer):
    """Shows receipts of success for transactions that did something else: their events are missing."""

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        found = self.real.receipt(tx_hash)
        return found._replace(logs=()) if found else None


def test_a_receipt_without_its_events_is_not_believed(world: Any) -> None:
    with pytest.raises(DriverError, match="is final, but it holds no such reservation"):
        settle(world, Time(), chain_at=InventsSuccess)
    settle(world, Time())  # an honest endpoint: the run goes on from the same bytes
    check_settled_once(world)


class AlteredEvents(Layer):
    """Shows the settlements with another amount."""

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        found = self.real.receipt(tx_hash)
        if found is None or len(found.logs) < 3:
            return found
        logs = tuple(log._replace(data=log.data[:63] + b"\x07" + log.data[64:]) for log in found.logs)
        return found._replace(logs=logs)


def test_a_settlement_of_another_amount_is_not_believed(world: Any) -> None:
    with pytest.raises(DriverError, match="not the settlements that were asked"):
        settle(world, Time(), chain_at=AlteredEvents)


def test_nobody_mines(world: Any) -> None:
    """The run gives up after its time, says what it waits for, and a later one goes on with the same bytes."""
    world.rpc("evm_setAutomine", False)
    with pytest.raises(DriverError, match="not final after 100 s: reserve:.*run again"):
        settle(world, Time(), settle_timeout_s=100)
    world.rpc("evm_setAutomine", True)
    world.rpc("evm_mine")
    settle(world, Time())
    check_settled_once(world)
    assert [len(tx.versions) for tx in transactions(world)] == [1, 1, 1, 1]


def test_the_token_is_paused(world: Any) -> None:
    """The network's problem, not the payers': nobody is flagged, nothing is attempted, the run says why."""
    world.rpc("anvil_setBalance", kit.account("pauser"), hex(10**21))
    Sender(world.rpc, kit.development_key("pauser")).send(world.manifest.token.pause())
    with pytest.raises(SettlementError, match="TokenPaused"):
        settle(world, Time())
    admin = Sender(world.rpc, kit.development_key("admin"))
    admin.send(world.manifest.token.unpause())
    assert settle(world, Time())["flagged"] == []
    check_settled_once(world)


def test_a_journal_of_another_chain_is_refused(world: Any) -> None:
    from payouts.journal import JournalError

    settle(world, Time())
    other = kit.make_world(world.url, world.folder / "other")
    with pytest.raises(JournalError, match="is the journal of chain 31337, token"):
        settle(world, Time(), manifest=other.folder / "manifest.json")


class Stopped(Exception):
    """The run ends here, as if the power had gone."""


def test_a_run_lies_still_until_its_reservations_have_expired(world: Any) -> None:
    """The plan is fixed, the funds went back to their owner's reach: they are reserved anew, and collected once."""

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        settle(world, Time(), at=Once("store.batches.after", stop))
    world.rpc("evm_increaseTime", 8 * 86_400)
    world.rpc("evm_mine")
    report = settle(world, Time())
    assert [tx["step"] for tx in report["transactions"]] == ["reserve", "reserve", "begin", "collect", "pay"]
    token = world.manifest.token
    assert world.rpc.ask(token.balance_of(token.address)) == 0  # what had expired went back in the same step
    assert world.balance("contributor 0") == 3 * FEE * 70 // 100
    assert world.balance("enterprise 0") == 10**12 - 3 * FEE
