"""Who gives way when all places are taken."""

import pytest

from cgn_node import limits
from cgn_node.places import Places, Standing

LATE = 10.0
"""Behind the time in which whoever opens is protected, for everybody who came at 0."""


def filled(*standings: Standing, address: str = "a", per_address: int = 100) -> Places[int]:
    """Full: holder 0, 1, 2, ... from one address, in this standing each."""
    places: Places[int] = Places(len(standings), per_address)
    for holder, standing in enumerate(standings):
        places.take(holder, address, 0.0)
        places.stand(holder, standing)
    return places


def weakest(places: Places[int], now: float, address: str = "new") -> tuple[bool, int | None]:
    return places.must_give_way(address, now, has_own_bound=True)


def test_nobody_gives_way_while_there_is_room() -> None:
    places: Places[int] = Places(2, 2)
    places.take(0, "a", 0.0)
    assert weakest(places, LATE) == (False, None)
    places.take(1, "a", 0.0)
    assert weakest(places, LATE)[0]
    places.leave(0)
    places.leave(0)
    assert (len(places), weakest(places, LATE)) == (1, (False, None))


@pytest.mark.parametrize(
    ("standings", "gives_way"),
    [
        ((Standing.BUSY, Standing.IDLE, Standing.IDLE_STRANGER, Standing.OPENING, Standing.SILENT), 4),
        ((Standing.BUSY, Standing.IDLE, Standing.IDLE_STRANGER, Standing.OPENING), 3),
        ((Standing.BUSY, Standing.IDLE, Standing.IDLE_STRANGER), 2),
        ((Standing.BUSY, Standing.IDLE), 1),
        ((Standing.BUSY, Standing.BUSY), None),
    ],
)
def test_who_has_shown_least_gives_way(standings: tuple[Standing, ...], gives_way: int | None) -> None:
    assert weakest(filled(*standings), LATE) == (True, gives_way)


def test_the_longest_idle_one_first() -> None:
    places = filled(*[Standing.IDLE_STRANGER] * 3)
    places.stand(0, Standing.BUSY)
    places.stand(0, Standing.IDLE_STRANGER)
    assert weakest(places, LATE)[1] == 1


def test_who_has_only_just_begun_is_not_pushed_out_by_the_next() -> None:
    """Idle strangers give way before a handshake under way, and so do idle connections while newcomers are few."""
    places = filled(Standing.OPENING, *[Standing.IDLE] * 15)
    assert weakest(places, limits.OPENING_PROTECTED_S / 2)[1] == 1
    places = filled(Standing.OPENING, *[Standing.IDLE_STRANGER] * 15)
    assert weakest(places, limits.OPENING_PROTECTED_S / 2)[1] == 1


def test_many_newcomers_push_out_one_another_and_not_who_was_there() -> None:
    places = filled(*[Standing.OPENING] * 8, *[Standing.IDLE] * 8)
    assert weakest(places, limits.OPENING_PROTECTED_S / 2)[1] == 0


def test_of_newcomers_those_of_the_largest_crowd_give_way() -> None:
    """One Central beside a stranger's sockets."""
    places: Places[int] = Places(10, 100)
    places.take(0, "central", 0.0)
    for holder in range(1, 10):
        places.take(holder, "stranger", 0.1)
    assert weakest(places, 0.2)[1] == 1
    places.stand(1, Standing.OPENING)
    assert weakest(places, 0.2)[1] == 2


def test_an_address_at_its_bound_makes_room_among_its_own() -> None:
    places: Places[int] = Places(10, 2)
    for holder, address in enumerate(["other", "own", "own"]):
        places.take(holder, address, 0.0)
        places.stand(holder, Standing.IDLE_STRANGER)
    assert weakest(places, LATE, "own") == (True, 1)
    assert places.must_give_way("own", LATE, has_own_bound=False) == (False, None)
    assert weakest(places, LATE, "other") == (False, None)
