"""Answers that have left, kept for a while: a DApp whose connection broke fetches what it has paid for (N-17).

Only for requests that brought their own id (who wants to ask again must know it) and only answers that were held whole.
They live in memory: a node that is killed forgets them, and the row still says what was done and billed.
"""

from collections import OrderedDict
from typing import NamedTuple

from cgn_node import limits
from cgn_node.http1 import Headers


class Result(NamedTuple):
    """One answer as it left. `until_ms` is on the driver's clock."""

    account_id: str
    status: int
    headers: Headers
    pieces: list[bytes]
    size: int
    until_ms: int


class Results:
    """The latest answers, bounded by age and by their bytes together: the oldest goes first."""

    def __init__(self, max_bytes: int = limits.RESULTS_KEPT_BYTES, keep_ms: int = limits.RESULTS_KEPT_MS) -> None:
        self._max_bytes = max_bytes
        self._keep_ms = keep_ms
        self._by_id: OrderedDict[str, Result] = OrderedDict()
        self.bytes = 0

    def put(
        self, request_id: str, account_id: str, status: int, headers: Headers, pieces: list[bytes], now_ms: int
    ) -> None:
        size = sum(map(len, pieces)) + limits.RESULT_OVERHEAD_BYTES
        self._by_id[request_id] = Result(account_id, status, headers, pieces, size, now_ms + self._keep_ms)
        self.bytes += size
        self.expire(now_ms)

    def get(self, request_id: str, account_id: str, now_ms: int) -> Result | None:
        """For the account that paid, and nobody else."""
        self.expire(now_ms)
        result = self._by_id.get(request_id)
        return result if result is not None and result.account_id == account_id else None

    def expire(self, now_ms: int) -> None:
        while self._by_id:
            oldest = next(iter(self._by_id.values()))
            if oldest.until_ms > now_ms and self.bytes <= self._max_bytes:
                return
            self._by_id.popitem(last=False)
            self.bytes -= oldest.size
