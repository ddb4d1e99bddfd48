"""Who holds a gate's places, and who gives way when all are taken: pure.

A place is worth what its holder has shown. Who has shown nothing gives way to a newcomer, so that nobody keeps others
out by holding still: sockets without a handshake, connections that had one answer of 401 and wait. Who is in the middle
of something keeps its place.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from cgn_node import limits

Holder = TypeVar("Holder")


class Standing(IntEnum):
    """What a holder has shown."""

    SILENT = 0
    """Not a byte yet."""
    OPENING = 1
    """It has begun to open: TLS, an upgrade, a greeting."""
    IDLE_STRANGER = 2
    """It is open, waits, and has never shown a valid session."""
    IDLE = 3
    """It waits, between requests of a valid session."""
    BUSY = 4
    """It is in the middle of something, or has proved who it is: never gives way."""


@dataclass(slots=True)
class _Rows(Generic[Holder]):
    """Holders by what they have shown, those that have stood there for longest first. Who is busy stands in none."""

    count: int = 0
    rows: tuple[dict[Holder, None], ...] = field(default_factory=lambda: tuple({} for _ in range(Standing.BUSY)))

    def first(self, standing: Standing) -> Holder | None:
        return next(iter(self.rows[standing]), None)


@dataclass(slots=True)
class _Held(Generic[Holder]):
    address: str
    since: float
    own: _Rows[Holder]
    standing: Standing = Standing.BUSY


class Places(Generic[Holder]):
    """`most` places, `per_address` of them for one address. Times are given; those of one holder do not go back."""

    def __init__(self, most: int, per_address: int) -> None:
        self._most = most
        self._per_address = per_address
        self._held: dict[Holder, _Held[Holder]] = {}
        self._all: _Rows[Holder] = _Rows()
        self._of: dict[str, _Rows[Holder]] = {}
        self._unopened: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._held

    def holders(self) -> list[Holder]:
        return list(self._held)

    def take(self, holder: Holder, address: str, now: float) -> None:
        """The caller has made room."""
        own = self._of.get(address)
        if own is None:
            own = self._of[address] = _Rows()
        own.count += 1
        self._held[holder] = _Held(address, now, own)
        self.stand(holder, Standing.SILENT)

    def leave(self, holder: Holder) -> None:
        """Once or more often."""
        held = self._held.get(holder)
        if held is not None:
            self.stand(holder, Standing.BUSY)
            del self._held[holder]
            held.own.count -= 1
            if not held.own.count:
                del self._of[held.address]

    def stand(self, holder: Holder, standing: Standing) -> None:
        """What it shows now. Whoever says the same again stands last in its row."""
        held = self._held.get(holder)
        if held is None:
            return
        before, held.standing = held.standing, standing
        if before != Standing.BUSY:
            del self._all.rows[before][holder]
            del held.own.rows[before][holder]
            if before <= Standing.OPENING:
                self._unopened[held.address] -= 1
                if not self._unopened[held.address]:
                    del self._unopened[held.address]
        if standing != Standing.BUSY:
            self._all.rows[standing][holder] = None
            held.own.rows[standing][holder] = None
            if standing <= Standing.OPENING:
                self._unopened[held.address] += 1

    def must_give_way(self, address: str, now: float, *, has_own_bound: bool) -> tuple[bool, Holder | None]:
        """Whether a newcomer from `address` needs somebody to leave, and who that is; nobody: it is refused."""
        own = self._of.get(address)
        if has_own_bound and own is not None and own.count >= self._per_address:
            return True, self._weakest(own, now, own.count)
        if len(self._held) >= self._most:
            return True, self._weakest(self._all, now, self._most)
        return False, None

    def _weakest(self, rows: _Rows[Holder], now: float, places: int) -> Holder | None:
        unopened = len(rows.rows[Standing.SILENT]) + len(rows.rows[Standing.OPENING])
        for standing in (Standing.SILENT, Standing.OPENING):  # who takes long to open
            slow = rows.first(standing)
            if slow is not None and now - self._held[slow].since >= limits.OPENING_PROTECTED_S:
                return slow
        stranger = rows.first(Standing.IDLE_STRANGER)
        if stranger is not None:
            return stranger
        idle, newcomer = rows.first(Standing.IDLE), self._newest_crowd(rows)
        is_crowded = unopened > places // limits.OPENING_SHARE
        candidates = (newcomer, idle) if is_crowded else (idle, newcomer)
        return next((each for each in candidates if each is not None), None)

    def _newest_crowd(self, rows: _Rows[Holder]) -> Holder | None:
        """Of those that have only just begun: one of the address that has most of them, a silent one if there is."""
        if rows is self._all and self._unopened:
            rows = self._of[max(self._unopened, key=self._unopened.__getitem__)]
        silent = rows.first(Standing.SILENT)
        return rows.first(Standing.OPENING) if silent is None else silent
