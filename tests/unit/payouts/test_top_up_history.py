"""What treasuries have added for a payer, from the chain's events in their order (P-7)."""

from payouts.bindings.utility_token import Collected, Released, Reserved, ToppedUp
from payouts.chain import Log
from payouts.top_up_history import Added, _kept

HERE, THERE = b"\1" * 32, b"\2" * 32
OWNER, ACCOUNT, TREASURY = ("0x" + digit * 40 for digit in "abc")
FIRST, SECOND = b"first     ", b"second    "


def reserved(place: bytes, tag: bytes) -> Reserved:
    return Reserved(place, OWNER, ACCOUNT, bytes(32), 0, 5, tag, 9)


def kept(*told: Reserved | ToppedUp | Collected | Released) -> list[Added]:
    log = Log("", (), b"", 0, bytes(32), bytes(32), 0)
    return _kept([(event, log) for event in told])


def amounts(*told: Reserved | ToppedUp | Collected | Released) -> list[tuple[bytes, bytes, int]]:
    return [(item.place, item.tag, item.amount) for item in kept(*told)]


def test_what_is_held_and_what_was_collected_count() -> None:
    events = (reserved(HERE, FIRST), ToppedUp(HERE, TREASURY, 7))
    assert amounts(*events) == [(HERE, FIRST, 7)]
    assert amounts(*events, Collected(HERE, OWNER, 12, 0, 0)) == [(HERE, FIRST, 7)]
    later = (reserved(HERE, SECOND), ToppedUp(HERE, TREASURY, 2), Collected(HERE, OWNER, 7, 0, 0))
    assert amounts(*events, Collected(HERE, OWNER, 12, 0, 0), *later) == [(HERE, FIRST, 7), (HERE, SECOND, 2)]


def test_what_came_back_does_not() -> None:
    events = (reserved(HERE, FIRST), ToppedUp(HERE, TREASURY, 7))
    assert amounts(*events, Released(HERE, OWNER, 5, 7)) == []
    assert amounts(*events, Collected(HERE, OWNER, 8, 0, 4)) == [(HERE, FIRST, 3)]
    assert amounts(*events, Collected(HERE, OWNER, 5, 0, 7)) == []
    assert amounts(*events, Released(HERE, OWNER, 5, 7), reserved(HERE, SECOND)) == []


def test_reservations_are_kept_apart() -> None:
    events = (
        reserved(HERE, FIRST),
        reserved(THERE, SECOND),
        ToppedUp(THERE, TREASURY, 1),
        ToppedUp(HERE, TREASURY, 2),
        Collected(HERE, OWNER, 7, 0, 0),
        Released(THERE, OWNER, 5, 1),
        Collected(THERE, OWNER, 1, 0, 0),
    )
    assert amounts(*events) == [(HERE, FIRST, 2)]
    assert kept(*events)[0].is_of(FIRST + b"the rest of the id")
    assert not kept(*events)[0].is_of(SECOND)
