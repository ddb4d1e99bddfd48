"""Into what a request may go from where it is: the table, and that nothing goes around it."""

import ast
from pathlib import Path

import pytest
from broker_bench import Bench

from cgn_node.core import requests
from cgn_node.core.register import Register
from cgn_node.core.requests import ARRIVED, ASSIGNED, OPEN, OVER, RECORDING, TRANSITIONS, WAITING, Request, State
from cgn_node.simulation.world import run

CORE = Path(requests.__file__).parent


def test_every_state_stands_in_the_table_and_leads_to_the_end() -> None:
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[OVER] == frozenset()
    ending = {OVER}
    while more := {state for state in State if TRANSITIONS[state] & ending} - ending:
        ending |= more
    assert ending == set(State)
    assert all(ARRIVED not in targets for targets in TRANSITIONS.values())
    assert all(OVER not in OPEN and not TRANSITIONS[state] & OPEN for state in State if state not in (ARRIVED, *OPEN))


def test_the_simulation_takes_every_way_of_the_table_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that is never taken is no way."""
    taken: set[tuple[State, State]] = set()
    move = Register.move

    def noting(self: Register, request: Request, to: State) -> None:
        taken.add((request.state, to))
        move(self, request, to)

    monkeypatch.setattr(Register, "move", noting)
    ways = {(state, to) for state, targets in TRANSITIONS.items() for to in targets}
    for seed in range(1, 100):
        run(seed, check_core=False)
        if taken == ways:
            return
    assert taken == ways


def test_a_state_changes_in_one_place() -> None:
    """Where it is counted."""
    found = []
    for path in sorted(CORE.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Attribute) and node.attr == "state" and isinstance(node.ctx, ast.Store):
                        found.append((path.name, function.name))
    assert found == [("register.py", "move"), ("requests.py", "__init__")]


@pytest.mark.parametrize("to", [ARRIVED, WAITING, OVER])
def test_a_way_that_is_not_in_the_table_is_a_fault_of_ours(bench: Bench, to: State) -> None:
    bench.join("m1")
    bench.arrive("r1")
    bench.finish("r1", 1, "m1")
    request = bench.broker._requests["r1"]
    assert request.state is RECORDING
    if to is not OVER:
        with pytest.raises(AssertionError, match="from RECORDING"):
            bench.broker._register.move(request, to)
    assert request.state is RECORDING


def test_an_attempt_is_an_object_of_its_request(bench: Bench) -> None:
    """One on record at a time, each with its number; what is off the record stays as it was."""
    bench.join("m1")
    bench.join("m2")
    bench.arrive("r1")
    request = bench.broker._requests["r1"]
    [first] = request.attempts
    assert (first.number, first.is_live, first.acknowledged, request.state) == (1, True, False, ASSIGNED)
    bench.acknowledge("r1", 1, first.miner.id)
    assert first.acknowledged
    bench.fail("r1", 1, first.miner.id)
    [second] = request.attempts
    assert (first.is_live, second.number, second.is_live, second.acknowledged) == (False, 2, True, False)
    assert second.miner is not first.miner
