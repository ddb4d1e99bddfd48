"""Walks through days of payouts in which anything happens (P-11): restored copies, a second host, kill -9, reorganised
blocks, endpoints that lie. A seed is one walk; it is printed, and gives the same walk again.

At the end of every walk the ledger and the chain must agree to the unit, and an auditor must find everything sound. On
the way a run may stop, but only before any money has moved, and only until what it asks for has been brought back.
"""

import asyncio
import os
import random
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from payout_faults import Endpoints, Time
from payout_judge import FEE, check_books, check_chain, events, row

from ledger.port import StoreError
from payouts import app
from payouts.chain import ChainError, Web3Chain
from payouts.driver import DriverError
from payouts.errors import SettlementError
from payouts.facts import FactError
from payouts.journal import JournalError

pytestmark = pytest.mark.engine("anvil")

STOPS = (SettlementError, FactError, DriverError, ChainError, JournalError, StoreError)
MINIMUM = FEE * 15 // 100
ACTIONS = 14


class Walk:
    """One walk. `rows` are those of the ledger as it is now."""

    def __init__(self, world: Any, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = world
        self.folder = folder
        self.rows = {0}
        self.next_row = 1
        self.copies: list[tuple[Path, set[int]]] = []
        self.done: list[str] = []

    def settle(self, *, chain_at: Any = Web3Chain, at: Any = lambda point: None, journal: str = "") -> None:
        changes: dict[str, Any] = {"minimum_payout_nano_cpu": MINIMUM, "settle_timeout_s": 3_000}
        if journal:
            changes["journal"] = self.world.folder / journal
        time = Time(lambda: self.world.rpc("evm_mine"))
        outside = app.Outside(chain_at, time.clock, time.sleep)
        asyncio.run(app.settle(self.world.settings(**changes), tell=print, at=at, outside=outside))

    def try_to_settle(self, **how: Any) -> str:
        """Returns why it stopped, or the empty string."""
        try:
            self.settle(**how)
        except STOPS as error:
            stopped = f"{type(error).__name__}: {error}"
            print("  stopped:", stopped)
            return stopped
        return ""

    # --- what can happen ---

    def add_rows(self) -> None:
        numbers = range(self.next_row, self.next_row + self.chance.randint(1, 3))
        self.world.add_rows([row(number) for number in numbers])
        self.rows |= set(numbers)
        self.next_row = numbers.stop

    def run(self) -> None:
        self.try_to_settle()

    def lie(self) -> None:
        kind = self.chance.choice(Endpoints)
        self.done[-1] += f" {kind.__name__}"
        self.try_to_settle(chain_at=kind)

    def kill(self) -> None:
        """A run dies at a random point."""
        point = self.chance.randint(1, 40)
        child = os.fork()
        if child == 0:
            passed = 0

            def at(name: str) -> None:
                nonlocal passed
                passed += 1
                if passed == point:
                    os.kill(os.getpid(), signal.SIGKILL)

            try:
                self.settle(at=at)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    def second_host(self) -> None:
        """Another host with a journal of its own runs, alone or in the middle of ours; a row may come in between."""
        point = self.chance.choice([0, *range(1, 30, 3)])
        passed = 0

        def other(name: str) -> None:
            nonlocal passed
            passed += 1
            if passed == point:
                thread = threading.Thread(target=self._other_host)
                thread.start()
                thread.join()

        if point:
            self.try_to_settle(at=other)
        else:
            self._other_host()

    def _other_host(self) -> None:
        if self.chance.random() < 0.5:
            self.add_rows()
        self.try_to_settle(journal="other.sqlite")

    def reorganise(self) -> None:
        self.world.rpc("anvil_reorg", self.chance.randint(1, 12), [])

    def copy(self) -> None:
        place = self.folder / f"copy{len(self.copies)}"
        place.mkdir()
        for path in self.world.folder.glob("*.sqlite*"):
            shutil.copy(path, place)
        self.copies.append((place, set(self.rows)))

    def bring_back(self) -> None:
        """An earlier copy of the journal, the ledger, or both is brought back, and a run begins. Where it stops, the
        ledger as it was is brought back: then it must go on."""
        if not self.copies:
            return
        place, rows = self.chance.choice(self.copies)
        which = self.chance.choice([("ledger",), ("journal",), ("ledger", "journal")])
        self.done[-1] += f" {place.name} {which}"
        self.copy()
        now, rows_now = self.copies[-1]
        self._put_back(place, which)
        if "ledger" in which:
            self.rows = set(rows)
        if self.chance.random() < 0.5:
            self.add_rows()
        before = len(events(self.world))
        stopped = self.try_to_settle()
        if stopped and "ledger" in which:
            assert len(events(self.world)) == before, stopped
            self._put_back(now, which)
            self.rows = rows_now

    def _put_back(self, place: Path, which: tuple[str, ...]) -> None:
        for name in which:
            for path in self.world.folder.glob(f"{name}.sqlite*"):
                path.unlink()
            for path in place.glob(f"{name}.sqlite*"):
                shutil.copy(path, self.world.folder)

    def go(self) -> None:
        actions = [self.add_rows] * 4 + [self.run] * 4
        actions += [self.lie, self.kill, self.kill, self.second_host, self.reorganise, self.copy, self.copy]
        actions += [self.bring_back] * 2
        for _ in range(ACTIONS):
            action = self.chance.choice(actions)
            self.done.append(action.__name__)
            print("*", action.__name__)
            action()
            if action != self.reorganise and self.chance.random() < 0.5:
                self.world.rpc("anvil_mine", "0x10")
        print("walked:", "; ".join(self.done))
        for _ in range(4):
            stopped = self.try_to_settle()
        assert not stopped
        check_chain(self.world, self.rows)
        check_books(self.world)
        token = self.world.manifest.token
        assert self.world.rpc.ask(token.balance_of(token.address)) == 0, "something is still set aside"


def walk(folder: Path, seed: int) -> None:
    """A chain of its own for each: its blocks are played with."""
    with kit.anvil() as url:
        world = kit.make_world(url, folder / "world")
        for name in ("enterprise 0", "enterprise 1"):
            world.fund(name, 10**12, approved=10**12)
        world.add_rows([row(0)])
        world.rpc("anvil_mine", "0x20")
        asyncio.run(app.settle(world.settings()))  # loads the libraries before any fork
        world.rpc("anvil_mine", "0x20")
        Walk(world, folder, seed).go()


@pytest.mark.parametrize("seed", range(6))
def test_walk(tmp_path: Path, seed: int) -> None:
    walk(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_many_walks(tmp_path: Path) -> None:
    """CGN_WALKS=<first>:<end> walks others."""
    first, end = map(int, os.environ.get("CGN_WALKS", "100:160").split(":"))
    for seed in range(first, end):
        (tmp_path / str(seed)).mkdir()
        print("seed", seed)
        walk(tmp_path / str(seed), seed)
