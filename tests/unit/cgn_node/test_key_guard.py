"""Who may have an API key checked, and who is blamed for a wrong one (N-5)."""

import pytest

from cgn_node import limits
from cgn_node.key_guard import KeyGuard, Known, pair_of, party_of
from cgn_node.refusals import TooMany

OFFICE = "192.0.2.1"


def guess(guard: KeyGuard, number: int, *, account: str = "ent_a", peer: str = OFFICE, now_ms: int = 0) -> None:
    """One wrong key of many, as Central answers it."""
    guard.wrong(guard.begin(pair_of(account, f"wrong {number}"), account, peer, now_ms), now_ms)


def exhaust(guard: KeyGuard, **given: str) -> int:
    """Guesses until the guard refuses; returns how many were looked at."""
    for number in range(10_000):
        try:
            guess(guard, number, **given)
        except TooMany:
            return number
    raise AssertionError("never refused")


def test_guessing_is_slowed_per_address_and_leaks_away() -> None:
    guard = KeyGuard(per_address=3, per_account=100, brake=2)
    assert exhaust(guard) == 5
    with pytest.raises(TooMany) as caught:
        guess(guard, 6)
    assert (caught.value.code, caught.value.retry_after_s) == ("rate_limited", 30)
    guess(guard, 7, now_ms=30_000)
    guess(guard, 8, peer="198.51.100.7")


def test_a_key_that_was_right_is_never_held_up() -> None:
    guard = KeyGuard(per_address=3, per_account=3, brake=2)
    pair = pair_of("ent_a", "right")
    guard.right(guard.begin(pair, "ent_a", OFFICE, 0), 0)
    exhaust(guard)
    assert guard.known(pair, 0) is Known.RIGHT
    for _ in range(100):
        guard.right(guard.begin(pair, "ent_a", OFFICE, 0), 0)


def test_an_unknown_right_key_comes_in_beside_a_guesser_while_the_brake_has_room() -> None:
    guard = KeyGuard(per_address=3, per_account=100, brake=2)
    for number in range(3):
        guess(guard, number)
    for number in range(50):  # a right one uses nothing up
        tried = guard.begin(pair_of("ent_b", f"right {number}"), "ent_b", OFFICE, 0)
        assert tried.is_doubtful
        guard.right(tried, 0)


def test_guessers_somewhere_else_hold_nobody_up() -> None:
    """From many addresses at one account: the owner's address has not failed, so the account's count is no matter."""
    guard = KeyGuard(per_address=100, per_account=3, brake=1)
    for number in range(5):
        guess(guard, number, peer=f"198.51.100.{number}")
    tried = guard.begin(pair_of("ent_a", "unknown"), "ent_a", OFFICE, 0)
    assert not tried.is_doubtful
    guard.right(tried, 0)
    guess(guard, 8, peer="198.51.100.1")  # it failed before, so it uses the brake up
    with pytest.raises(TooMany, match="wrong keys from this address"):
        guess(guard, 9, peer="198.51.100.2")
    guess(guard, 9, account="ent_b", peer="198.51.100.2")


def test_a_wrong_pair_shown_again_is_known_and_costs_nothing() -> None:
    guard = KeyGuard()
    guess(guard, 1)
    pair = pair_of("ent_a", "wrong 1")
    assert guard.known(pair, limits.WRONG_PAIR_KEPT_S * 1000 - 1) is Known.WRONG
    assert guard.known(pair, limits.WRONG_PAIR_KEPT_S * 1000) is Known.NOTHING
    guard.right(guard.begin(pair, "ent_a", OFFICE, 0), 0)
    assert guard.known(pair, 0) is Known.RIGHT


def test_tries_are_taken_before_the_answer_is_there() -> None:
    """A hundred at once are not all let through because none has been answered yet."""
    guard = KeyGuard(per_address=3, per_account=100, brake=2)
    tries = [guard.begin(pair_of("ent_a", f"key {number}"), "ent_a", OFFICE, 0) for number in range(5)]
    with pytest.raises(TooMany, match="wrong keys from this address"):
        guard.begin(pair_of("ent_a", "key 5"), "ent_a", OFFICE, 0)
    guard.unanswered(tries[0], 0)
    guard.begin(pair_of("ent_a", "key 5"), "ent_a", OFFICE, 0)


def test_revocation_forgets_what_was_right() -> None:
    guard = KeyGuard()
    for account in ("ent_a", "ent_b"):
        guard.remember(pair_of(account, "key"), account)
    guard.revoke({"ent_a"})
    assert guard.known(pair_of("ent_a", "key"), 0) is Known.NOTHING
    assert guard.known(pair_of("ent_b", "key"), 0) is Known.RIGHT


def test_one_partys_addresses_are_one() -> None:
    assert party_of("2001:db8:1:2::1") == party_of("2001:db8:1:2:ffff::9%eth0") != party_of("2001:db8:1:3::1")
    assert party_of("::ffff:192.0.2.1") == party_of("192.0.2.1") != party_of("192.0.2.2")
    assert party_of("local") == "local"


def test_all_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FAILURE_TABLE_MAX", 10)
    monkeypatch.setattr(limits, "KNOWN_PAIRS_MAX", 10)
    guard = KeyGuard()
    for number in range(50):
        guess(guard, number, account=f"ent_{number}", peer=f"192.0.2.{number}")
        guard.remember(pair_of("ent_a", f"right {number}"), "ent_a")
    assert len(guard._addresses) == len(guard._accounts) == len(guard._wrong) == len(guard._right) == 10


def test_the_oldest_goes_where_a_table_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was right, of what was wrong, and of who failed: at the bound all are known, one beyond the first is not."""
    monkeypatch.setattr(limits, "KNOWN_PAIRS_MAX", 2)
    monkeypatch.setattr(limits, "FAILURE_TABLE_MAX", 2)
    guard = KeyGuard(per_address=1, per_account=100, brake=1)
    tries = [guard.begin(pair_of(str(n)), f"ent_{n}", f"192.0.2.{n}", 0) for n in range(3)]
    for n, tried in enumerate(tries):
        guard.wrong(tried, 0)
        guard.remember(pair_of(f"right {n}"), "ent_a")
        if n == 1:
            assert guard.known(pair_of("0"), 0) is Known.WRONG
            assert guard.known(pair_of("right 0"), 0) is Known.RIGHT
    assert [guard.known(pair_of(str(n)), 0) for n in range(3)] == [Known.NOTHING, Known.WRONG, Known.WRONG]
    assert [guard.known(pair_of(f"right {n}"), 0) for n in range(3)] == [Known.NOTHING, Known.RIGHT, Known.RIGHT]
    assert not guard.begin(pair_of("again"), "ent_x", "192.0.2.0", 0).is_doubtful
    assert guard.begin(pair_of("again"), "ent_x", "192.0.2.2", 0).is_doubtful


def test_what_was_wrong_and_is_right_is_wrong_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was made meanwhile: also after a revocation it is asked about, and not refused from memory."""
    guard = KeyGuard()
    first = guard.begin(pair_of("a"), "ent_a", OFFICE, 0)
    second = guard.begin(pair_of("a"), "ent_a", OFFICE, 0)
    guard.wrong(first, 0)
    guard.right(second, 0)
    guard.revoke({"ent_a"})
    assert guard.known(pair_of("a"), 0) is Known.NOTHING


def test_a_wrong_pair_is_known_for_so_long() -> None:
    guard = KeyGuard()
    guess(guard, 1)
    until_ms = limits.WRONG_PAIR_KEPT_S * 1_000
    assert guard.known(pair_of("ent_a", "wrong 1"), until_ms - 1) is Known.WRONG
    assert guard.known(pair_of("ent_a", "wrong 1"), until_ms) is Known.NOTHING
