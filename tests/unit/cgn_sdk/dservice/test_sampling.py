"""The account behind spot checks (T-7, T-9): what it draws, what that costs, and what a cheat can make of it.

Draws are those of fixed keys, so every number here comes out the same each time; bounds leave four standard deviations.
"""

import hashlib
import math
import random
from collections.abc import Callable

import pytest
from cgn_sdk.dservice.sampling import KEY_MIN_BYTES, Account, Draw, commitment

KEY = hashlib.sha256(b"a key").digest()
MS = 1_000_000
DIGEST = hashlib.sha256(b"a result").digest()


def drawn(account: Account, number: int, work_ns: int = 60 * MS, digest: bytes = DIGEST, screen_ns: int = 0) -> Draw:
    return account.draw(f"{number:032x}", digest, work_ns=work_ns, check_ns=work_ns * 21 // 20, screen_ns=screen_ns)


def warm(account: Account, count: int = 3000, costs_ns: tuple[int, ...] = (60 * MS,)) -> Account:
    """With the reserve saved up."""
    for number in range(count):
        drawn(account, 1_000_000 + number, costs_ns[number % len(costs_ns)])
    return account


def near(count: int, total: int, share: float) -> bool:
    return abs(count - total * share) <= 4 * math.sqrt(total * share * (1 - share)) + 1


def test_the_rate_is_the_share_over_the_cost_of_a_check() -> None:
    account, total = warm(Account(KEY)), 20_000
    checked = sum(drawn(account, number).checked for number in range(total))
    assert near(checked, total, 0.1 / 1.05)
    assert 0.98 * account.paid_in < account.spent <= account.paid_in


def test_the_first_result_may_be_checked_too() -> None:
    first = [drawn(Account(random.Random(number).randbytes(32)), 1) for number in range(4000)]
    assert all(draw.probability_ppm > 40_000 for draw in first)
    assert near(sum(draw.checked for draw in first), len(first), first[0].probability_ppm / 1e6)


def test_the_draw_is_the_keys_alone() -> None:
    def trace(key: bytes) -> list[bool]:
        account = Account(key)
        return [drawn(account, number).checked for number in range(500)]

    assert trace(KEY) == trace(KEY)
    assert trace(KEY) != trace(hashlib.sha256(b"another").digest())
    assert commitment(KEY) != commitment(KEY[:-1])
    assert KEY not in commitment(KEY)


def test_screening_comes_out_of_the_same_share() -> None:
    account, total = Account(KEY), 20_000
    for number in range(total):
        drawn(account, number, screen_ns=2 * MS)
    assert account.spent <= account.paid_in + 63 * MS * 1_000_000
    assert account.paid_in == total * 60 * MS * 100_000


def test_settling_puts_right_what_a_check_has_cost() -> None:
    account = warm(Account(KEY))
    draw = next(draw for number in range(1000) if (draw := drawn(account, number)).checked)
    before = account.balance(draw.grade)
    account.settle(draw, 0)
    assert account.balance(draw.grade) - before == draw.check_ns * 1_000_000
    account.settle(draw, 100 * MS)
    assert account.balance(draw.grade) - before == (2 * draw.check_ns - 100 * MS) * 1_000_000


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Account(bytes(KEY_MIN_BYTES - 1)),
        lambda: Account(KEY, share_ppm=0),
        lambda: Account(KEY, share_ppm=1_000_001),
        lambda: Account(KEY, reserve_checks=0),
        lambda: Account(KEY).draw("x" * 257, DIGEST, work_ns=1, check_ns=1),
        lambda: Account(KEY).draw("x", DIGEST, work_ns=-1, check_ns=1),
        lambda: Account(KEY).draw("x", DIGEST, work_ns=1, check_ns=0),
        lambda: Account(KEY).draw("x", DIGEST, work_ns=1, check_ns=1, screen_ns=-1),
        lambda: Account(KEY).settle(Draw(False, 0, 1, 1), 1),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"key|share|id|settled"):
        wrong()


# -- cheats ------------------------------------------------------------------------------------------------------------


def test_looking_for_a_result_that_escapes_is_no_use_without_the_key() -> None:
    """A cheat makes 200 variants of each false result and sends the one that its own guess of the key would spare most
    clearly; it is found as often as one that takes the first."""
    account, total, found = warm(Account(KEY)), 3000, 0
    chance = random.Random(7)
    for number in range(total):
        variants = [chance.randbytes(32) for _ in range(200)]
        guess = hashlib.sha256(b"guess %d" % (number % 5)).digest()
        best = max(variants, key=lambda digest: hashlib.sha256(guess + b"%032x" % number + digest).digest())
        found += drawn(account, number, digest=best).checked
    assert near(found, total, 0.1 / 1.05)


def test_one_request_has_one_draw() -> None:
    """Asking again with the same result changes nothing but by what the balance does to the probability."""
    tickets = [Account(KEY).draw("r", DIGEST, work_ns=60 * MS, check_ns=63 * MS).checked for _ in range(3)]
    assert len(set(tickets)) == 1


@pytest.mark.parametrize("cheats_with", ["cheap", "dear"])
def test_cheating_with_one_sort_of_request_only_is_found_at_the_same_rate(cheats_with: str) -> None:
    costs = {"cheap": 9 * MS, "dear": 2500 * MS}
    account = warm(Account(KEY), 20_000, tuple(costs.values()))
    seen = checked = 0
    chance = random.Random(3)
    for number in range(20_000):
        sort = chance.choice(list(costs))
        draw = drawn(account, number, costs[sort])
        if sort == cheats_with:
            seen, checked = seen + 1, checked + draw.checked
    assert near(checked, seen, 0.1 / 1.05)


def test_a_flood_of_dear_requests_spares_no_cheap_one() -> None:
    """Who orders dear work from itself, hoping that its checks use the account up, finds the rate unchanged."""
    account = warm(Account(KEY), 6000, (9 * MS,))
    checked = 0
    for number in range(6000):
        drawn(account, 10_000 + number, 2500 * MS)
        checked += drawn(account, number, 9 * MS).checked
    assert near(checked, 6000, 0.1 / 1.05)


def test_a_check_that_somebody_has_seen_is_no_leave_to_cheat() -> None:
    """Right after a check the next result is checked nearly as probably as ever."""
    account, after, checked = warm(Account(KEY)), [], 0
    for number in range(40_000):
        was = checked
        draw = drawn(account, number)
        checked = draw.checked
        if was:
            after.append(draw)
    mean = sum(draw.probability_ppm for draw in after) / len(after)
    assert mean > 0.9 * 1e5 / 1.05
    assert near(sum(draw.checked for draw in after), len(after), mean / 1e6)


@pytest.mark.parametrize(("falsely", "keys"), [(1.0, 1500), (0.1, 1000)])
def test_a_cheat_is_found_as_soon_as_the_formula_says(falsely: float, keys: int) -> None:
    """1 - (1 - r f)^n: after n results, r the rate of checks and f the share of false ones."""
    limit, counts = 400, []
    rate = 0.1 / 1.05
    account = warm(Account(KEY))
    chance, number = random.Random(5), 0
    for _ in range(keys):
        for count in range(1, limit + 1):
            number += 1
            if drawn(account, number).checked and chance.random() < falsely:
                counts.append(count)
                break
        else:
            counts.append(limit + 1)
    for after in (5, 20, 60, 150):
        found = sum(count <= after for count in counts)
        expected = 1 - (1 - rate * falsely) ** after
        assert abs(found / keys - expected) < 5 * math.sqrt(expected * (1 - expected) / keys) + 0.01
