"""Which results are checked exactly (T-7): an unforeseeable draw, paid for out of a share of the work. Pure.

Doing work again finds every false result and costs what the work costs, so it is done for some. Every result pays a
share of its work (`SHARE_PPM`, a tenth) into an account; looking at all results cheaply (the screen) and checking some
of them exactly is paid out of it. How likely a result is drawn follows:

    probability = (share x work / cost of the check) x throttle,    throttle = 1/2 + balance / (2 x reserve)

With little in the account less is drawn, with much more (between 1/2 and 2 times), so that the account hovers about a
reserve of a few checks; overdrawn it draws nothing. So what an account has spent is at any time at most what was paid
into it and one check (while screening costs less than the share), and a check that somebody has noticed says next to
nothing about the next one: at the reserve it lowers the probability by a sixteenth.

There is an account for every grade, which is a power of two of the check's cost. Otherwise a few dear requests, drawn,
would leave nothing for the cheap ones for a long time, and whoever ordered them would know when to cheat with those.

The draw compares the probability with HMAC-SHA-256(key, request id, digest of the result). The key is the asker's and
secret while it is in use, so whoever makes a result can neither foresee the draw nor look for a result that escapes
it; one request has one result, so there is one draw. Whoever publishes `commitment(key)` before and the key afterwards
can show that nobody was spared or picked. Same key, same results in the same order: same draws.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

SHARE_PPM = 100_000
"""A tenth of the work: verifying must cost far less than doing."""
SHARE_PPM_MAX = 1_000_000
RESERVE_CHECKS = 8
"""What the account of a grade hovers about, in checks of that grade, give or take the square root of it: so with eight
it is seldom overdrawn. A greater reserve takes longer to save up."""
KEY_MIN_BYTES = 16
ID_MAX_CHARS = 256
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Draw:
    """What was decided about one result. `probability_ppm` is rounded down."""

    checked: bool
    probability_ppm: int
    grade: int
    check_ns: int


def commitment(key: bytes) -> bytes:
    """32 bytes that bind whoever publishes them to the key and do not tell it."""
    return hashlib.sha256(b"cgn/draw-key/1\0" + key).digest()


class Account:
    """Decides for one DService and one asker. Costs are CPU nanoseconds on one and the same machine; they come from the
    asker's own estimate or metering, for whoever could name them could steer the account."""

    def __init__(self, key: bytes, *, share_ppm: int = SHARE_PPM, reserve_checks: int = RESERVE_CHECKS) -> None:
        if len(key) < KEY_MIN_BYTES:
            raise ValueError(f"the key must have at least {KEY_MIN_BYTES} bytes")
        if not 0 < share_ppm <= SHARE_PPM_MAX or reserve_checks < 1:
            raise ValueError("the share is 1 to 1,000,000 millionths, the reserve at least one check")
        self._key, self._share_ppm, self._reserve = key, share_ppm, reserve_checks
        self._balances: dict[int, int] = {}  # by grade, in millionths of a nanosecond: exact
        self.paid_in = self.spent = 0
        """Over all grades, in millionths of a nanosecond."""

    def draw(self, request_id: str, result_sha256: bytes, *, work_ns: int, check_ns: int, screen_ns: int = 0) -> Draw:
        """Pays in for a result that has arrived and been screened, and decides whether it is to be checked. A check
        that is drawn is paid for with its estimate `check_ns`; `settle` corrects that."""
        if len(request_id) > ID_MAX_CHARS or min(work_ns, screen_ns) < 0 or check_ns < 1:
            raise ValueError(
                "the request id is at most 256 characters, costs are not negative, a check costs something"
            )
        grade, share, check = check_ns.bit_length(), work_ns * self._share_ppm, check_ns * _MILLION
        self._pay_in(grade, share)
        self._spend(grade, screen_ns * _MILLION)
        numerator, denominator = self._odds(grade, share, check)
        text = request_id.encode()
        message = b"cgn/draw/1\0" + len(text).to_bytes(2, "big") + text + result_sha256
        ticket = int.from_bytes(hmac.digest(self._key, message, "sha256")[:8], "big")
        checked = ticket * denominator < numerator << 64
        if checked:
            self._spend(grade, check)
        return Draw(checked, min(_MILLION, numerator * _MILLION // denominator), grade, check_ns)

    def _odds(self, grade: int, share: int, check: int) -> tuple[int, int]:
        """The probability as a fraction, which may exceed one."""
        balance, full = self._balances[grade], self._reserve * check
        if balance < 0:
            return 0, 1
        throttle = min(full + balance, 4 * full)  # of 2 x full
        return share * throttle, check * 2 * full

    def settle(self, draw: Draw, spent_ns: int) -> None:
        """What a drawn check has really cost, once it is known; 0 for one that could not be made."""
        if not draw.checked or spent_ns < 0:
            raise ValueError("only a check that was drawn is settled, and it costs nothing or more")
        self._spend(draw.grade, (spent_ns - draw.check_ns) * _MILLION)

    def balance(self, grade: int) -> int:
        """Of one grade's account, in millionths of a nanosecond; below zero it is overdrawn."""
        return self._balances.get(grade, 0)

    def _pay_in(self, grade: int, amount: int) -> None:
        self._balances[grade] = self._balances.get(grade, 0) + amount
        self.paid_in += amount

    def _spend(self, grade: int, amount: int) -> None:
        self._balances[grade] -= amount
        self.spent += amount
