"""Kill the payout run anywhere; a second run finishes exactly once (P-11).

The run is a process of its own (a fork, so that libraries need not be loaded again) that sends itself SIGKILL at a named
point of the journal. Chain, ledger and journal are real; the chain is put back by a snapshot between cases.
"""

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest

from payouts import app
from payouts.journal import KILL_POINTS

pytestmark = pytest.mark.engine("anvil")

FEE = 20_000_000
MINIMUM = FEE


class Stage:
    """A world that can be put back to how it was before the run."""

    def __init__(self, world: Any, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.snapshot = world.rpc("evm_snapshot")
        self.cases = 0

    def again(self) -> Any:
        """The world as at first, with a ledger and a journal of its own."""
        assert self.world.rpc("evm_revert", self.snapshot)
        self.snapshot = self.world.rpc("evm_snapshot")
        self.cases += 1
        fresh = self.folder / f"case{self.cases}"
        fresh.mkdir()
        shutil.copy(self.world.folder / "ledger.sqlite", fresh)
        shutil.copy(self.world.folder / "journal.sqlite", fresh)
        shutil.copy(self.world.folder / "manifest.json", fresh)
        return kit.World(self.world.url, fresh, self.world.manifest)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("crash")
    with kit.anvil() as url:
        world = kit.make_world(url, folder)
        world.fund("enterprise 0", 10**12, approved=10**12)
        world.fund("enterprise 1", FEE, approved=10**12)
        world.fund("enterprise 2", 0, approved=10)  # will be flagged
        world.fund("treasury", 10**12)
        rows = [kit.make_row(n, enterprise=f"enterprise {n % 2}", contributor=f"contributor {n % 2}") for n in range(8)]
        asyncio.run(app.settle(world.settings()))  # loads the libraries once, before any fork
        world.add_rows([*rows, kit.make_row(99, enterprise="enterprise 2")])
        yield Stage(world, folder)


def run_until_killed(world: Any, at: Callable[[str], None]) -> bool:
    """Runs the settlement in a process of its own. Returns whether it was killed (else it must have succeeded)."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(app.settle(settings(world), at=at))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def settings(world: Any) -> Any:
    treasury = kit.Secret(kit.development_key("treasury").hex())
    return world.settings(treasury_key=treasury, minimum_payout_nano_cpu=MINIMUM)


def kill_at(point: str, occurrence: int) -> Callable[[str], None]:
    seen = 0

    def at(name: str) -> None:
        nonlocal seen
        seen += name == point
        if name == point and seen == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def check_settled_once(world: Any) -> None:
    """What must hold whatever happened before: looked up on the chain and in the ledger, not in the journal."""
    assert world.balance("enterprise 0") == 10**12 - 4 * FEE
    assert world.balance("enterprise 1") == 0
    assert world.balance("treasury") == 10**12 - 3 * FEE
    assert world.balance("contributor 0") == 4 * FEE * 70 // 100
    assert world.balance("contributor 1") == 4 * FEE * 70 // 100
    assert world.balance("developer 0") == 8 * FEE * 20 // 100
    assert world.balance("operator 0") == 0  # below the minimum: carried
    assert world.kept() == 8 * FEE * 10 // 100
    token = world.manifest.token
    assert world.rpc.ask(token.balance_of(token.address)) == 0  # nothing left reserved
    states = [world.payment_states(kit.make_row(n).row_id) for n in range(8)]
    for n, state in enumerate(states):
        by_role = {role: value for (role, _), (value, _) in state.items()}
        assert by_role == {
            "enterprise": "collected",
            "contributor": "paid",
            "developer": "paid",
            "operator": "carried",
        }, n
    flagged = world.payment_states(kit.make_row(99).row_id)
    assert {state for state, _ in flagged.values()} <= {"pending", "carried"}


def test_killed_at_every_point_of_one_run(stage: Stage) -> None:
    """One run, as many lives as there are points: each dies at the next point, and the last one completes the run."""
    world = stage.again()
    for point in KILL_POINTS:
        assert run_until_killed(world, kill_at(point, 1)), f"{point} was never passed"
    assert not run_until_killed(world, lambda point: None)
    check_settled_once(world)


@pytest.mark.slow
@pytest.mark.parametrize("point", KILL_POINTS)
def test_killed_at(stage: Stage, point: str) -> None:
    """Every named point, at every time that it is passed."""
    occurrence = 0
    while True:
        occurrence += 1
        world = stage.again()
        was_killed = run_until_killed(world, kill_at(point, occurrence))
        if was_killed:
            asyncio.run(app.settle(settings(world)))
        check_settled_once(world)
        if not was_killed:
            break
    assert occurrence > 1, "the point was never passed"


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again(stage: Stage, seed: int) -> None:
    """A process that dies at random points, run after run, settles once all the same. The seed says where it died."""
    chance = random.Random(seed)
    world = stage.again()

    def at(name: str) -> None:
        if chance.random() < 0.15:
            os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(200):
        chance.random()  # each life dies elsewhere
        if not run_until_killed(world, at):
            break
    check_settled_once(world)


def test_two_runs_at_once(stage: Stage) -> None:
    """One writer: the second process is refused by name and changes nothing."""
    from payouts.journal import Journal, JournalError

    world = stage.again()
    token = world.manifest.token.address
    account = kit.account("payer")
    with (
        Journal(world.journal, chain_id=31337, token=token, account=account),
        pytest.raises(JournalError, match="held by another payout run"),
    ):
        asyncio.run(app.settle(settings(world)))
    asyncio.run(app.settle(settings(world)))
    check_settled_once(world)


@pytest.mark.parametrize("occurrence", [1, 3])
@pytest.mark.parametrize(
    "point",
    [
        "tx.broadcast.after",
        "tx.final.after",
        "run.planned.after",
        "store.batches.after",
        "run.settled.before",
        "store.marks.after",
        "run.closed.after",
    ],
)
def test_the_journal_is_lost(stage: Stage, point: str, occurrence: int) -> None:
    """The disk with the journal is gone. Ledger and chain hold what is needed; the contract is the last line."""
    world = stage.again()
    run_until_killed(world, kill_at(point, occurrence))
    for path in world.folder.glob("journal*"):
        path.unlink()
    asyncio.run(app.settle(settings(world)))
    check_settled_once(world)
    assert asyncio.run(app.settle(settings(world)))["transactions"] == []
