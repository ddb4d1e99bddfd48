"""A payouts account is replaced by another (P-18): the new one goes on where the old one stopped (P-11), whatever the
journal remembers of it: all, nothing, or what it knew on an earlier day."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from payout_faults import Once, Time, settle
from payout_judge import FEE, check_books, check_chain, row

from payouts.journal import JournalError

pytestmark = pytest.mark.engine("anvil")

DEEP = hex(400)
"""Blocks: three times what counts as buried."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path)
        for name in ("enterprise 0", "enterprise 1"):
            world.fund(name, 10**12, approved=10**12)
        yield world


def key(name: str) -> kit.Secret:
    return kit.Secret(kit.development_key(name).hex())


def rotate(world: Any, old: str, new: str) -> dict[str, Any]:
    """The account `new` takes over from `old` (empty: from none). Returns the settings that change."""
    world.open_account(new, "collector", predecessor=old)
    return {"payer_key": key(new)}


def bring_back(world: Any, copy: Path | None) -> None:
    """The journal as it was in a copy, or none at all."""
    for path in world.folder.glob("journal.sqlite*"):
        path.unlink()
    if copy is not None:
        shutil.copy(copy, world.journal)


@pytest.mark.parametrize("blocks", ["0x1", DEEP], ids=["shallow", "deep"])
@pytest.mark.parametrize("rotations", [1, 2])
@pytest.mark.parametrize("journal", ["same", "fresh", "a day old"])
def test_the_account_is_replaced(world: Any, tmp_path: Path, journal: str, rotations: int, blocks: str) -> None:
    """Every row is settled once, under each of the accounts, and a run after that has nothing to do. (Each row has one
    payer; the second run of an account is what a copy from the day before does not know.)"""
    payer, keys, copies, rows = "payer", {"payer_key": key("payer")}, [], 0
    for number in range(rotations + 1):
        if number:
            keys = rotate(world, payer, f"payer {number + 1}")
            payer = f"payer {number + 1}"
            world.rpc("anvil_mine", blocks)
            if journal != "same":
                bring_back(world, copies[-2] if journal == "a day old" else None)
        for _ in range(2):
            world.add_rows([row(number) for number in range(rows, rows + 3)])
            rows += 3
            report = world.settle(**keys)
            assert (report["collected"], report["balances"]) == (3 * FEE, True)
            world.rpc("anvil_mine", blocks)
            copies.append(shutil.copy(world.journal, tmp_path / f"copy{len(copies)}"))
    assert world.settle(**keys)["transactions"] == []
    check_chain(world, set(range(rows)))
    check_books(world)


@pytest.mark.parametrize("depth", [1, 3, 12])
@pytest.mark.parametrize("skip", [0, 1, 2, 3], ids=["reserve", "begin", "collect", "pay"])
def test_blocks_go_after_the_account_was_replaced(world: Any, skip: int, depth: int) -> None:
    """A reorganisation at each phase of the new account's first run, with a journal that is new, too."""
    world.add_rows([row(number) for number in range(3)])
    world.settle()
    keys = rotate(world, "payer", "payer 2")
    bring_back(world, None)
    world.rpc("anvil_mine", "0x10")
    world.add_rows([row(number) for number in range(3, 6)])
    point = Once("tx.final.after", lambda: world.rpc("anvil_reorg", depth, []), skip)
    settle(world, Time(lambda: world.rpc("evm_mine")), at=point, **keys)
    settle(world, Time(lambda: world.rpc("evm_mine")), **keys)
    check_chain(world, set(range(6)))
    check_books(world)


def test_a_journal_of_another_nodes_account_is_refused(world: Any) -> None:
    """Of one that no rotation leads to or from: it has other settlements."""
    world.add_rows([row(0)])
    world.settle()
    keys = rotate(world, "", "payer 2")
    with pytest.raises(JournalError, match=f"account {kit.account('payer')} .* not of chain"):
        world.settle(**keys)
