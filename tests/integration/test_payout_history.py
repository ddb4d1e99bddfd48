"""Restored copies: journal and ledger brought back to any moment of three days, and "once" holds all the same (P-11).

The judge looks at the chain alone. Each row has one payer, so the payers' settlements must count every row once: their
number, their sum, and the exclusive or of their hashes (a row twice would cancel out) are those of the rows settled.
Either the run settles all that is in the ledger and an auditor finds everything sound, or it stops and nothing moved.
"""

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from payout_faults import Layer
from payout_judge import FEE, check_books, check_chain, events, row

from payouts import app
from payouts.bindings.utility_token import SettlementBegun
from payouts.chain import Log
from payouts.errors import SettlementError
from payouts.facts import FactError

pytestmark = pytest.mark.engine("anvil")

MINIMUM = FEE * 15 // 100
"""An operator's share of one row is below it, of two rows is not: something is always carried from day to day."""
FILES = ("ledger.sqlite", "journal.sqlite")


class History:
    """Three days of rows and runs, with a copy of journal and ledger at every moment between."""

    def __init__(self, world: Any, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.moments: list[tuple[str, set[int]]] = []  # what has just happened, and the rows that the ledger holds
        self.rows: set[int] = set()
        self.settled: set[int] = set()

    def live(self) -> None:
        self._keep("nothing yet")
        for day, numbers in enumerate([(0, 1, 2), (3, 4), (5,)], start=1):
            for number in numbers:
                self._add(number)
            self._keep(f"rows of day {day}")
            asyncio.run(app.settle(settings(self.world)))
            self.settled |= self.rows
            self._keep(f"run of day {day}")
        self._add(6)
        self._keep("a row of day 4")

    def _add(self, number: int) -> None:
        self.world.add_rows([row(number)])
        self.rows.add(number)

    def _keep(self, what: str) -> None:
        place = self.folder / f"moment{len(self.moments)}"
        place.mkdir()
        for name in FILES:
            if (self.world.folder / name).exists():
                shutil.copy(self.world.folder / name, place)
        self.moments.append((what, set(self.rows)))

    def restored(self, journal: int, ledger: int) -> tuple[Any, set[int]]:
        """A world with the journal and the ledger of these moments, and the rows that the ledger holds."""
        place = self.folder / f"case{journal}-{ledger}"
        place.mkdir()
        shutil.copy(self.world.folder / "manifest.json", place)
        for name, moment in zip(FILES, (ledger, journal), strict=True):
            kept = self.folder / f"moment{moment}" / name
            if kept.exists():
                shutil.copy(kept, place)
        return kit.World(self.world.url, place, self.world.manifest), set(self.moments[ledger][1])


def settings(world: Any) -> Any:
    return world.settings(minimum_payout_nano_cpu=MINIMUM)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    folder = tmp_path_factory.mktemp("history")
    with kit.anvil() as url:
        world = kit.make_world(url, folder / "world")
        for name in ("enterprise 0", "enterprise 1"):
            world.fund(name, 10**12, approved=10**12)
        past = History(world, folder)
        past.live()
        past.snapshot = world.rpc("evm_snapshot")
        yield past


def run_until_quiet(world: Any) -> str:
    """Runs until there is nothing left to do. Returns why it stopped, or the empty string."""
    for _ in range(6):
        try:
            report = asyncio.run(app.settle(settings(world), tell=print))
        except (SettlementError, FactError) as error:
            return str(error)
        if not report["transactions"] and not report["collections"]:
            return ""
    raise AssertionError("there is always more to do")


MOMENTS = 8


def check_restored(history: History, journal: int, ledger: int) -> None:
    world, rows = history.restored(journal, ledger)
    assert world.rpc("evm_revert", history.snapshot)
    history.snapshot = world.rpc("evm_snapshot")
    world.add_rows([row(100), row(101)])  # they take numbers that the restored ledger has free
    rows |= {100, 101}
    before = len(events(world))
    stopped = run_until_quiet(world)
    if history.settled <= rows:
        assert not stopped
        check_chain(world, rows)
        check_books(world)
    else:
        assert "Nothing was signed" in stopped or "is not in the ledger" in stopped
        assert len(events(world)) == before
        check_chain(world, history.settled)


CASES = [(journal, ledger) for journal in range(MOMENTS) for ledger in range(MOMENTS)]


@pytest.mark.parametrize(("journal", "ledger"), random.Random(11).sample(CASES, 16))
def test_restored_to_earlier_moments(history: History, journal: int, ledger: int) -> None:
    """A sample of all pairs of moments; the slow test has every one."""
    check_restored(history, journal, ledger)


@pytest.mark.slow
@pytest.mark.parametrize(("journal", "ledger"), CASES)
def test_restored_to_any_earlier_moment(history: History, journal: int, ledger: int) -> None:
    shutil.rmtree(history.folder / f"case{journal}-{ledger}", ignore_errors=True)
    check_restored(history, journal, ledger)


def killed_run(world: Any, point: int) -> bool:
    """A run in a process of its own that dies at the given point of its journal. Returns whether it got there."""
    child = os.fork()
    if child == 0:
        passed = 0

        def at(name: str) -> None:
            nonlocal passed
            passed += 1
            if passed == point:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            asyncio.run(app.settle(settings(world), at=at))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def check_killed_and_forgotten(history: History, point: int, forgets: tuple[str, ...]) -> bool:
    """A run dies at a point; what is named is as it was before the run, and a row of another payer has come."""
    folder = history.folder / f"killed{point}-{'-'.join(forgets)}"
    folder.mkdir()
    moment = history.folder / f"moment{MOMENTS - 1}"
    for path in (history.world.folder / "manifest.json", *(moment / name for name in FILES)):
        shutil.copy(path, folder)
    world = kit.World(history.world.url, folder, history.world.manifest)
    assert world.rpc("evm_revert", history.snapshot)
    history.snapshot = world.rpc("evm_snapshot")
    was_killed = killed_run(world, point)
    for name in forgets:
        for path in folder.glob(f"{name}.sqlite*"):
            path.unlink()
        shutil.copy(moment / f"{name}.sqlite", folder)
    world.add_rows([row(101)])
    assert not run_until_quiet(world)
    check_chain(world, history.rows | {101})
    check_books(world)
    return was_killed


FORGETS = [("journal",), ("ledger",), ("ledger", "journal")]


@pytest.mark.parametrize("forgets", FORGETS, ids="+".join)
@pytest.mark.parametrize("point", [5, 11, 19, 27, 35])
def test_killed_and_forgotten(history: History, point: int, forgets: tuple[str, ...]) -> None:
    """kill -9 in the middle of a run, and journal, ledger, or both are as they were before it: what is on the chain is
    taken up, to the unit."""
    assert check_killed_and_forgotten(history, point, forgets)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("forgets", FORGETS, ids="+".join)
def test_killed_anywhere_and_forgotten(history: History, forgets: tuple[str, ...]) -> None:
    for path in history.folder.glob("killed*"):
        shutil.rmtree(path)
    assert not all(check_killed_and_forgotten(history, point, forgets) for point in range(1, 100))


class HidesBeginnings(Layer):
    """An endpoint whose index of events is far behind its state: it shows no settlement that was begun."""

    def logs(self, address: str, topics: Any, first_block: int, last_block: int) -> list[Log]:
        return [] if topics[0] == SettlementBegun.TOPIC else self.real.logs(address, topics, first_block, last_block)


def test_restored_copies_and_an_endpoint_that_hides_events(history: History) -> None:
    """Both have forgotten two runs, and the chain's events do not tell: its state does, and the run stops."""
    shutil.rmtree(history.folder / "case3-3", ignore_errors=True)
    world, _ = history.restored(3, 3)
    assert world.rpc("evm_revert", history.snapshot)
    history.snapshot = world.rpc("evm_snapshot")
    before = len(events(world))
    with pytest.raises(SettlementError, match="lags behind itself. Nothing was signed"):
        asyncio.run(app.settle(settings(world), outside=app.Outside(HidesBeginnings)))
    assert len(events(world)) == before
    check_chain(world, history.settled)
