"""Asked what a request will cost (G-8): the way of an estimate through front and worker.

The front's half is `estimate` and `Heads`, the worker's is `conclude`. What runs is the same script in the same
sandbox; only the host behind it differs.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cgn_sdk.dservice.estimates import Estimate, Work
from cgn_sdk.dservice.fetch import Fetcher
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.facts import HEAD_BYTES

if TYPE_CHECKING:
    from dservices.mediagen.service import MediaGen

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


async def estimate(service: MediaGen, work: Work) -> Estimate:
    """The price estimate of a request. Problem where the request itself would meet one before any picture is made."""
    order = {**service.order(work.target, work.headers), "mode": "estimate", "body_bytes": work.body_bytes}
    script = await service.script(str(order["script"]), service.settings.wall_s)
    _, body = await service.pool.run(order, script)
    answer = json.loads(body)
    cpu_ns = round(answer["cpu_ns"] * answer["factor"])
    return Estimate(cpu_ns, basis=answer["basis"], within_ppm=answer["within_ppm"])


# -- in the worker ----------------------------------------------------------------------------------------------------


def conclude(host: Any, script: Any, failure: Problem | None) -> bytes:
    """The answer once the script has run."""
    from dservices.mediagen import estimating

    if failure is not None and failure.code not in estimating.PARTIAL:
        raise failure
    return estimating.answer_of(host, len(script.code), failure.code if failure is not None else None)
