"""The first bytes of sources, which are all that an estimate reads of them (G-8)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from cgn_sdk.dservice.fetch import Fetcher

from dservices.mediagen.limits import HEAD_BYTES

HEADS_MAX = 256
"""Heads of sources kept: 16 MiB at most."""
HEAD_AGE_S = 60.0
"""A source may change; an estimate from a minute ago binds nobody."""


class Heads:
    """The first bytes of sources, for a while: the size (8 bytes, big-endian), then the head."""

    def __init__(self, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetcher, self._clock = fetcher, clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, address: str) -> bytes:
        kept = self._kept.get(address)
        if kept is not None and self._clock() - kept[0] < HEAD_AGE_S:
            self._kept.move_to_end(address)
            return kept[1]
        head, total = await self._fetcher.start_of(address, HEAD_BYTES)
        answer = total.to_bytes(8, "big") + head
        self._kept[address] = (self._clock(), answer)
        self._kept.move_to_end(address)
        while len(self._kept) > HEADS_MAX:
            self._kept.popitem(last=False)
        return answer
