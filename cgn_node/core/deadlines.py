"""When the broker wants to be called again, and about what. Pure; times are the driver's monotonic milliseconds.

`set` says when something is due, `due` takes out what has come, `Deadlines.next_ms` says when to ask again. Nothing has
to be cancelled: what is no more `is_live` when its time comes is dropped, as is the most of it when it has become too
much. `Heap` takes any time; in `Line`, which costs less, each must not be earlier than the one before.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar


class Owed(Protocol):
    is_live: bool
    """Whether what was set for it still counts."""


T = TypeVar("T", bound=Owed)
A = TypeVar("A", bound=Owed)
R = TypeVar("R", bound=Owed)

SLACK = 1_024
"""Entries that are not worth a look for those that do not count any more."""


class Heap(Generic[T]):
    """Its first entry may be one that does not count any more: a call too many now and then is cheaper than one look
    more at every event."""

    __slots__ = ("_bound", "_number", "entries")

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, T]] = []
        self._number = 0  # never given twice, so that nothing is compared but times and these
        self._bound = SLACK

    def __iter__(self) -> Iterator[T]:
        return (about for _, _, about in self.entries if about.is_live)

    def set(self, at_ms: int, about: T) -> None:
        self._number += 1
        heappush(self.entries, (at_ms, self._number, about))
        if len(self.entries) > self._bound:
            self.entries = [entry for entry in self.entries if entry[2].is_live]
            heapify(self.entries)
            self._bound = 2 * len(self.entries) + SLACK

    def due(self, now_ms: int) -> T | None:
        """The earliest that has come; those of one moment in the order in which they were set. None: no more."""
        entries = self.entries
        while entries and (entries[0][0] <= now_ms or not entries[0][2].is_live):
            about = heappop(entries)[2]
            if about.is_live:
                return about
        return None


class Line(Generic[T]):
    """All wait equally long, so the first to be set is the first to come."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: deque[tuple[int, T]] = deque()

    def __iter__(self) -> Iterator[T]:
        return (about for _, about in self.entries if about.is_live)

    def set(self, at_ms: int, about: T) -> None:
        entries = self.entries
        while entries and not entries[0][1].is_live:
            entries.popleft()
        assert not entries or entries[-1][0] <= at_ms
        entries.append((at_ms, about))

    def due(self, now_ms: int) -> T | None:
        entries = self.entries
        while entries and (entries[0][0] <= now_ms or not entries[0][1].is_live):
            about = entries.popleft()[1]
            if about.is_live:
                return about
        return None


class Deadlines(Generic[A, R]):
    """All that one broker waits for: what attempts (`A`) and requests (`R`) owe by a time."""

    __slots__ = ("acknowledgements", "ends", "looks")

    def __init__(self) -> None:
        self.acknowledgements: Line[A] = Line()
        self.ends: Heap[R] = Heap()
        """Deadlines of requests."""
        self.looks: Heap[R | A] = Heap()
        """When something is looked at again, as it is then."""

    def next_ms(self) -> int | None:
        """The earliest of all. It is asked for after every event, so it looks for itself."""
        line, ends, looks = self.acknowledgements.entries, self.ends.entries, self.looks.entries
        while line and not line[0][1].is_live:
            line.popleft()
        earliest = line[0][0] if line else None
        if ends and (earliest is None or ends[0][0] < earliest):
            earliest = ends[0][0]
        if looks and (earliest is None or looks[0][0] < earliest):
            earliest = looks[0][0]
        return earliest
