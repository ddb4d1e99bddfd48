"""The core and the product are one system: whatever the broker can be told is told by an adapter, whatever it can ask
for is carried out by one, and each looks at every field. What only a simulation sends proves another system."""

import ast
import dataclasses
import typing
from pathlib import Path

import pytest

from cgn_node.core import commands, events
from cgn_node.core.broker import Broker
from cgn_node.driver import Driver
from cgn_node.simulation.auditor import Auditor

NODE = Path(events.__file__).parents[1]
CORE = [ast.parse(path.read_text()) for path in (NODE / "core").glob("*.py")]
ADAPTERS = [ast.parse(path.read_text()) for path in NODE.glob("*.py")]
EVENTS: tuple[type, ...] = typing.get_args(events.Event)
COMMANDS: tuple[type, ...] = typing.get_args(commands.Command)
IN_THE_KEY = {"request", "attempt", "miner"}
"""What names an attempt: every report is compared with them in one place."""


def made(kind: type, trees: list[ast.Module]) -> list[ast.Call]:
    """Where the code makes one."""
    return [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", "") == kind.__name__ or getattr(node.func, "id", "") == kind.__name__)
    ]


def given(kind: type, calls: list[ast.Call]) -> set[str]:
    """The fields that those calls fill; a starred argument may fill all behind it."""
    names = [each.name for each in dataclasses.fields(kind)]
    filled: set[str] = set()
    for call in calls:
        starred = any(isinstance(argument, ast.Starred) for argument in call.args)
        filled |= set(names if starred else names[: len(call.args)])
        filled |= {keyword.arg for keyword in call.keywords if keyword.arg}
    return filled


def read(trees: list[ast.Module]) -> set[str]:
    return {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


@pytest.mark.parametrize("kind", EVENTS)
def test_every_event_has_a_producer_and_a_consumer(kind: type) -> None:
    calls = made(kind, ADAPTERS)
    assert calls, "no adapter posts it"
    assert given(kind, calls) == {each.name for each in dataclasses.fields(kind)}, "no adapter says it all"
    assert kind in Broker()._handlers
    unread = {each.name for each in dataclasses.fields(kind)} - read(CORE) - IN_THE_KEY
    assert not unread, "the core does not look at it"


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_command_has_a_producer_and_a_consumer(kind: type) -> None:
    calls = made(kind, CORE)
    assert calls, "the core never asks for it"
    assert given(kind, calls) == {each.name for each in dataclasses.fields(kind)}
    assert kind in Driver(Broker(), report=lambda command: None)._carriers
    assert not {each.name for each in dataclasses.fields(kind)} - read(ADAPTERS), "nobody carries it out"


@pytest.mark.parametrize("kind", [*EVENTS, *COMMANDS])
def test_the_simulation_knows_each(kind: type) -> None:
    """And the auditor of it, which has the books of the other side."""
    world = ast.parse((NODE / "simulation/world.py").read_text())
    said = {node.attr for node in ast.walk(world) if isinstance(node, ast.Attribute)}
    if kind in EVENTS:
        assert kind.__name__ in said
        assert kind is events.Tick or kind is events.RowRefused or hasattr(Auditor, f"_told_{kind.__name__}")
    else:
        assert hasattr(Auditor, f"_saw_{kind.__name__}")


def test_nothing_is_handled_that_is_not_in_the_list() -> None:
    assert set(Broker()._handlers) == set(EVENTS)
    assert set(Driver(Broker(), report=lambda command: None)._carriers) == set(COMMANDS)


@pytest.mark.parametrize("kind", ["clipped", "quarantined", "stopped_unsigned"])
def test_reports_have_a_reader(kind: str) -> None:
    """Each kind is named by the core and by the auditor; the node writes all of them to its log."""
    kinds = {call.args[0].value for call in made(commands.ReportError, CORE) if isinstance(call.args[0], ast.Constant)}
    assert kinds == {"clipped", "quarantined", "stopped_unsigned"}
    assert kind in (NODE / "simulation/auditor.py").read_text()
