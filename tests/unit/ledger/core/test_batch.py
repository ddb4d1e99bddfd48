"""Which settlement may begin, and which is the newest (P-11)."""

from cgn_sdk.protocol.settlement import NO_SETTLEMENT

from ledger.core.batch import SettlementRecord, newest_of, refuse_settlement


def run(number: int, previous: int, first: int, last: int, ended_ns: int = 1) -> SettlementRecord:
    before = bytes([previous]) * 32 if previous else NO_SETTLEMENT
    return SettlementRecord(bytes([number]) * 32, 1, "0x", "day", first, last, before, ended_ns=ended_ns)


def test_the_newest_is_the_one_that_none_follows_also_after_runs_over_no_rows() -> None:
    """Quiet days: the same numbers again and again, so that only `previous` tells."""
    runs = [run(1, 0, 1, 3), run(9, 1, 4, 3), run(2, 9, 4, 3), run(5, 2, 4, 3)]
    for order in (runs, runs[::-1], [runs[2], runs[0], runs[3], runs[1]]):
        assert newest_of(order) == runs[3]
    assert newest_of([]) is None


def test_where_one_in_between_was_never_recorded_the_latest_rows_tell() -> None:
    assert newest_of([run(1, 0, 1, 3), run(7, 5, 4, 9)]) == run(7, 5, 4, 9)


def test_what_may_begin() -> None:
    first = run(1, 0, 1, 3)
    assert refuse_settlement(first, None, None) == ""
    assert refuse_settlement(first, first._replace(owner="other"), None) == ""
    assert "follows" in refuse_settlement(run(2, 0, 1, 4), first, None)
    follower = run(2, 1, 4, 9)
    assert refuse_settlement(follower, None, first) == ""
    assert "has not ended" in refuse_settlement(follower, None, first._replace(ended_ns=0))
    assert "knows no settlement" in refuse_settlement(follower, None, None)
    assert refuse_settlement(follower, follower, first._replace(ended_ns=0)) == "", "it has begun already"
