"""A payout run that is told to stop, as a process (P-11): it ends at its next step, and a further one goes on."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest
from payout_judge import check_books, check_chain, row

pytestmark = pytest.mark.engine("anvil")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    with kit.anvil() as url:
        world = kit.make_world(url, tmp_path)
        for name in ("enterprise 0", "enterprise 1"):
            world.fund(name, 10**12, approved=10**12)
        yield world


def begin(world: Any) -> subprocess.Popen[str]:
    for name in ("collector", "payer"):
        (world.folder / f"{name}.key").write_text(kit.development_key(name).hex())
    config = world.folder / "payouts.toml"
    config.write_text(
        f'ledger_url = "{world.ledger_url}"\njournal = "journal.sqlite"\nrpc_url = "{world.url}"\n'
        'manifest = "manifest.json"\ncollector_key_file = "collector.key"\npayer_key_file = "payer.key"\n'
        "confirmations = 1\nminimum_payout_nano_cpu = 0\n"
    )
    words = [sys.executable, "-m", "payouts.app", "run", "--config", str(config)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def waiting(world: Any) -> int:
    return int(world.rpc("txpool_status")["pending"], 16)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_signal_ends_a_run_at_its_next_step(world: Any, number: signal.Signals, steps: int) -> None:
    """While it waits for a block: one sentence, no traceback, nothing lost, nothing twice."""
    world.add_rows([row(n) for n in range(3)])
    world.rpc("evm_setAutomine", False)
    run = begin(world)
    for step in range(steps + 1):
        until = time.monotonic() + 60
        while not waiting(world):
            assert time.monotonic() < until and run.poll() is None, run.communicate()
            time.sleep(0.02)
        if step < steps:
            world.rpc("evm_mine")
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert (run.returncode, said.count("\n")) == (1, 1)
    assert "interrupted; what was begun is in the journal" in said
    world.rpc("evm_setAutomine", True)
    world.rpc("evm_mine")
    again = begin(world)
    told, said = again.communicate(timeout=90)
    assert (again.returncode, said) == (0, ""), told
    check_chain(world, {0, 1, 2})
    check_books(world)
    assert world.settle()["transactions"] == []


def test_a_second_signal_ends_it_at_once(world: Any) -> None:
    """Also while an endpoint does not answer; what that leaves is what a kill leaves."""
    world.add_rows([row(0)])
    world.rpc("evm_setAutomine", False)
    run = begin(world)
    until = time.monotonic() + 60
    while not waiting(world):
        assert time.monotonic() < until and run.poll() is None, run.communicate()
        time.sleep(0.02)
    run.send_signal(signal.SIGSTOP)  # both arrive before it can act on the first
    run.send_signal(signal.SIGTERM)
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGCONT)
    run.communicate(timeout=60)
    assert run.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    world.rpc("evm_setAutomine", True)
    world.rpc("evm_mine")
    world.settle()
    check_chain(world, {0})
    check_books(world)
