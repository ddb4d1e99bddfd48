"""`cgn verify` beside payout runs: what moved between its looks at ledger and chain is no finding, what stays is (L-12)."""

import asyncio
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from payout_judge import row

from payouts import app, limits, verify_app

pytestmark = pytest.mark.engine("anvil")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(limits, "LOOK_AGAIN_S", 0.05)
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path)
        for name in ("enterprise 0", "enterprise 1"):
            world.fund(name, 10**12, approved=10**12)
        world.add_rows([row(0)])
        world.settle()
        yield world


def verify(world: Any) -> int:
    chain = ["--rpc", world.url, "--token", world.manifest.token.address, "--account", kit.account("payer")]
    return verify_app.main(["--ledger", world.ledger_url, *chain])


class Audits:
    """The audit, with something that happens right before the first of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Any = lambda: None) -> None:
        self.count = 0
        self._act, self._real = act, verify_app.audit
        monkeypatch.setattr(verify_app, "audit", self)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.count += 1
        if self.count == 1:
            self._act()
        return self._real(*arguments, **named)


def test_a_run_ends_between_the_looks(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain was read before its transactions, the ledger after its marks."""
    world.add_rows([row(1), row(2)])
    audits = Audits(monkeypatch, world.settle)
    assert verify(world) == 0
    assert audits.count == 2


def test_what_stays_is_looked_at_once(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing moves: it is a finding."""
    with sqlite3.connect(world.folder / "ledger.sqlite") as database:
        database.execute("DROP TRIGGER IF EXISTS batches_update")
        database.execute("UPDATE batches SET amount_nano_cpu = '7'")
    audits = Audits(monkeypatch)
    assert verify(world) == 1
    assert audits.count == 1


def test_a_run_that_died_is_waited_for_a_few_times(
    world: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has moved money and marked nothing: that is said in the end."""
    world.add_rows([row(1), row(2)])
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(app.settle(world.settings(), at=dies))
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    audits = Audits(monkeypatch)
    assert verify(world) == 1
    assert audits.count == limits.VERIFY_LOOKS
    assert "[rows_of_batch]" in capsys.readouterr().out
    world.settle()
    assert verify(world) == 0


def dies(point: str) -> None:
    if point == "store.marks.before":
        os.kill(os.getpid(), signal.SIGKILL)


def test_verify_and_runs_race(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days are settled while the ledger is verified again and again: it is sound at each time. (A run of a slow machine
    may take longer than a few looks.)"""
    monkeypatch.setattr(limits, "VERIFY_LOOKS", 200)

    def settle() -> None:
        for day in range(6):
            world.add_rows([row(10 * day + number) for number in range(1, 9)])
            world.settle()

    runs = threading.Thread(target=settle)
    runs.start()
    verdicts = []
    while runs.is_alive():
        verdicts.append(verify(world))
    runs.join()
    assert set(verdicts) == {0}
    assert verify(world) == 0
