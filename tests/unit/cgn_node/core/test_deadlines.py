"""When the broker wants to be called again: the lists behind it."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgn_node.core.deadlines import SLACK, Deadlines, Heap, Line


@dataclass(eq=False)
class Thing:
    name: int = 0
    is_live: bool = True


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60), st.integers(0, 60))
def test_what_has_come_is_due_once_in_order_and_what_does_not_count_is_not(
    given_: list[tuple[int, bool]], now_ms: int
) -> None:
    deadlines: Deadlines[Thing, Thing] = Deadlines()
    heap = deadlines.ends
    things = [(at_ms, Thing(number)) for number, (at_ms, _) in enumerate(given_)]
    for at_ms, thing in things:
        heap.set(at_ms, thing)
    for (_, thing), (_, is_live) in zip(things, given_, strict=True):
        thing.is_live = is_live
    wanted = sorted((at_ms, thing.name) for at_ms, thing in things if thing.is_live and at_ms <= now_ms)
    got = []
    while (thing_due := heap.due(now_ms)) is not None:
        got.append(thing_due.name)
    assert got == [name for _, name in wanted], "those of one moment as they were set"
    later = [at_ms for at_ms, thing in things if thing.is_live and at_ms > now_ms]
    assert set(heap) == {thing for at_ms, thing in things if thing.is_live and at_ms > now_ms}
    next_ms = deadlines.next_ms()
    assert not later or (next_ms is not None and now_ms < next_ms <= min(later))


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30), st.integers(0, 40))
def test_a_line_is_a_heap_for_who_all_wait_equally_long(steps: list[tuple[int, bool]], now_ms: int) -> None:
    line: Line[Thing] = Line()
    heap: Heap[Thing] = Heap()
    at_ms = 0
    for number, (step, is_live) in enumerate(steps):
        at_ms += step
        thing = Thing(number)
        line.set(at_ms, thing)
        heap.set(at_ms, thing)
        thing.is_live = is_live
    assert list(line) == [each for _, _, each in sorted(heap.entries, key=lambda entry: entry[1]) if each.is_live]
    while (first := line.due(now_ms)) is not None:
        assert heap.due(now_ms) is first
    assert heap.due(now_ms) is None


def test_a_line_takes_nothing_that_comes_before_its_last() -> None:
    line: Line[Thing] = Line()
    keep = Thing()
    line.set(5, keep)
    with pytest.raises(AssertionError):
        line.set(4, Thing())


def test_what_does_not_count_any_more_is_given_back() -> None:
    """However long it would have been until its time."""
    heap: Heap[Thing] = Heap()
    kept = [Thing(n) for n in range(10)]
    for thing in kept:
        heap.set(10**9, thing)
    for n in range(50_000):
        thing = Thing(n)
        heap.set(10**9, thing)
        thing.is_live = False
        assert len(heap.entries) <= 2 * (len(kept) + 1) + SLACK
    assert set(heap) == set(kept)


def test_the_earliest_of_all_is_next() -> None:
    deadlines: Deadlines[Thing, Thing] = Deadlines()
    assert deadlines.next_ms() is None
    first, second, third = Thing(), Thing(), Thing()
    deadlines.looks.set(30, third)
    assert deadlines.next_ms() == 30
    deadlines.ends.set(20, second)
    assert deadlines.next_ms() == 20
    deadlines.acknowledgements.set(10, first)
    assert deadlines.next_ms() == 10
    first.is_live = False
    assert deadlines.next_ms() == 20
    assert not deadlines.acknowledgements.entries
    assert deadlines.ends.due(19) is None
    assert deadlines.ends.due(20) is second
    assert deadlines.next_ms() == 30
