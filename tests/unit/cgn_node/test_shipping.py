"""How long rows have waited for the ledger's store, as health and metrics say it (N-24, O-6)."""

from cgn_node import limits
from cgn_node.shipping import Shipping


class Way:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.durable = 0
        self.shipped = 0
        self.shipping = Shipping(lambda: self.durable - self.shipped, lambda: self.shipped, clock_s=lambda: self.now_s)

    def at(self, now_s: float, durable: int, shipped: int) -> float:
        self.now_s, self.durable, self.shipped = now_s, durable, shipped
        return self.shipping.oldest_s


def test_the_oldest_row_that_waits_is_timed_and_no_other() -> None:
    way = Way()
    assert way.at(0, 0, 0) == 0
    assert way.at(10, 5, 0) == 0
    assert way.at(12, 5, 0) == 2
    assert way.at(13, 9, 4) == 3  # row 5 has waited since 10
    assert way.at(14, 9, 5) == 1  # rows 6 to 9 since 13
    assert way.at(20, 9, 9) == 0
    assert way.at(99, 9, 9) == 0


def test_what_is_kept_is_bounded_and_the_oldest_stays_exact() -> None:
    way = Way()
    for second in range(10 * limits.SHIPPING_MARKS_MAX):
        assert way.at(second, second + 1, 0) == second
        assert len(way.shipping._marks) <= limits.SHIPPING_MARKS_MAX


def test_the_stores_last_word_is_kept_until_it_takes_rows() -> None:
    way = Way()
    way.shipping.observe(0, OSError("away"))
    way.shipping.observe(0, OSError("still away"))
    assert (way.shipping.failures, way.shipping.last_error) == (2, "OSError: still away")
    way.shipping.observe(7, None)
    assert (way.shipping.rows, way.shipping.last_error) == (7, "")
