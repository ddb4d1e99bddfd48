"""How many requests run at once (M-6)."""

import pytest

from miner_client.core.slots import Slots, from_share


def test_slots_follow_share_threads_and_memory() -> None:
    gib = 1 << 30
    assert from_share(8, 32 * gib, 1_000_000, gib) == 8
    assert from_share(8, 32 * gib, 500_000, gib) == 4
    assert from_share(8, 4 * gib, 500_000, gib) == 2
    assert from_share(1, gib, 1, gib) == 1


def test_a_slot_is_reserved_by_who_asks_and_only_while_open() -> None:
    slots = Slots(2)
    assert slots.take() and slots.take() and not slots.take()
    slots.give_back()
    assert slots.offered == 2
    slots.is_open = False
    assert not slots.take() and slots.offered == 0
    slots.give_back()
    with pytest.raises(AssertionError):
        slots.give_back()
