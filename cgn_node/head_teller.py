"""Tells Central the newest head that this node has signed over its ledger, and what was accepted as lost (L-12, N-4).

Central keeps the newest one of each node and gives it out, so that an end that was cut off together with the heads over
it is seen by others. Told when it has changed, at most once in `limits.HEAD_TOLD_S`. A head that Central does not keep,
because it has seen a longer or another one, is an ailment of this node: its ledger is not the one that it was.
"""

import asyncio
from typing import Any, Protocol

from cgn_sdk.protocol import link
from cgn_sdk.protocol.errors import ProblemError
from cgn_sdk.protocol.head import Head

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.central_endpoint import CentralUnreachable
from ledger.heads import HeadKeeper

_log = logs.get("head")


class Asked(Protocol):
    """Central, as far as it matters here (`central_endpoint.CentralEndpoint`)."""

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]: ...


class HeadTeller:
    """See the module."""

    def __init__(
        self, heads: HeadKeeper, central: Asked, public_key: bytes, *, pause_s: float = limits.HEAD_TOLD_S
    ) -> None:
        self._heads = heads
        self._central = central
        self._public_key = public_key
        self._pause_s = pause_s
        self._told: Head | None = None
        self.problem = ""
        """What Central said against the newest head; empty while it keeps it."""

    @property
    def told_rows(self) -> int:
        """Rows that the last head is over which Central has kept, since the start."""
        return self._told.last_ingest if self._told else 0

    async def run(self) -> None:
        """Tells for ever, when there is something to tell and the pause is over."""
        while True:
            await asyncio.sleep(limits.HEAD_LOOK_S)
            if self._heads.newest not in (None, self._told):
                await self.tell()
                await asyncio.sleep(self._pause_s)

    async def tell(self) -> None:
        """Tells the newest head if Central has not kept it yet; whatever goes wrong, the next call tries again."""
        head = self._heads.newest
        if head is None or head == self._told:
            return
        losses = tuple(self._heads.losses[-link.LOSSES_MAX :])
        try:
            told = link.NodeHead(self._public_key, head, losses)
            link.HeadKept.from_params(await self._central.ask(link.METHOD_NODE_HEAD, told.to_params()))
        except CentralUnreachable:
            return
        except ProblemError as error:
            problem = error.problem
            if problem.code != "conflict":  # asked too often, or an older Central, which does not know the question
                _log.info("head.not_told", code=problem.code, detail=problem.detail)
                return
            if self.problem != problem.detail:
                _log.error("head.refused", finding=problem.extra.get("finding"), detail=problem.detail)
            self.problem = problem.detail or problem.title
        else:
            self._told, self.problem = head, ""
