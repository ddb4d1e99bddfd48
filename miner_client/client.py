"""The miner's side of the tunnel: dials out, greets, works, and dials again (M-1).

One tunnel at a time. When it ends, what ran in it is over (the node has given it to another miner). A node that says
GOAWAY closes the tunnel itself, as soon as nothing that it has taken on can need this miner. `drain` is our own wish to
stop. Nothing here cuts a request before its deadline.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ssl import SSLContext

from cgn_sdk.protocol import errors, receipt
from cgn_sdk.protocol.messages import (
    PROTOCOL,
    Capabilities,
    DServiceOffer,
    GoAway,
    Hello,
    Seal,
    Welcome,
)
from cgn_sdk.protocol.messages import Slots as SlotsMessage
from cgn_sdk.protocol.tunnel import Event, Tunnel
from cgn_sdk.signing import Signer
from cgn_sdk.tunnel_connection import DIALLING_OPTIONS, DiallingConnection
from cgn_sdk.tunnel_io import Closed, TunnelLink
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from cgn_chassis import logs
from cgn_chassis.backoff import Backoff, Failures
from cgn_chassis.failures import Refusal
from miner_client import limits
from miner_client.core.slots import Slots
from miner_client.dservice import DService
from miner_client.work import Work

_log = logs.get("miner.client")
_REFUSED = Backoff(limits.REFUSED_WAIT_MS, limits.REFUSED_WAIT_MOST_MS)
_BACKOFF = Backoff(limits.DIAL_FIRST_MS, limits.DIAL_MOST_MS)


@dataclass(frozen=True)
class Identity:
    """Who this miner is to the node."""

    account_id: str
    miner_id: str
    api_key: str
    signer: Signer

    def __repr__(self) -> str:
        return f"Identity({self.miner_id})"


class Client:
    """Keeps one tunnel to a node."""

    def __init__(
        self,
        address: str,
        tls: SSLContext | None,
        identity: Identity,
        *,
        capabilities: Capabilities,
        dservices: Mapping[str, DService],
        slots: Slots,
        on_welcome: Callable[[Welcome], None] = lambda welcome: None,
    ) -> None:
        self._address = address
        self._tls = tls
        self._identity = identity
        self._capabilities = capabilities
        self._dservices = dservices
        self._slots = slots
        self._on_welcome = on_welcome
        self._link: TunnelLink | None = None
        self._work: Work | None = None
        self._idle = asyncio.Event()
        self._is_leaving = False
        self._dials_at_once = False
        self._welcomed_at_ns = 0
        self._is_welcome = False
        """In the tunnel that is open now."""
        self._refusal = ""

    @property
    def in_flight(self) -> int:
        return self._work.in_flight if self._work is not None else 0

    async def run(self) -> None:
        """Dials and works until cancelled, or until `drain` has finished. Raises Refusal when the node has refused this
        miner again and again without ever having taken it: somebody has to change something first."""
        failures = Failures(limits.DIAL_STABLE_MS)
        refusals = 0
        while not self._is_leaving:
            began = time.monotonic_ns()
            refused = False
            self._refusal = ""
            try:
                closed = await self._one_tunnel(self._address)
                refused = closed.code in (errors.CLOSE_NOT_AUTHENTICATED, errors.CLOSE_REFUSED)
                reason = self._refusal or closed.reason
                problem = f"closed with {int(closed.code)} {reason}".strip()
                refusals = refusals + 1 if refused else 0
                if refused and not self._welcomed_at_ns and refusals >= limits.REFUSALS_MOST:
                    raise Refusal(f"the node {self._address} refuses this miner: {reason}")
            except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
                problem = f"{type(error).__name__}: {error}"
            if self._is_leaving:
                return
            if self._dials_at_once:
                self._dials_at_once = False
                continue
            count = failures.ended((time.monotonic_ns() - began) // 1_000_000)
            backoff, times = (_REFUSED, refusals) if refused else (_BACKOFF, count)
            wait_ms = backoff.wait_ms(times, random.random())  # noqa: S311
            (_log.error if refused else _log.warning)(
                "tunnel.ended", node=self._address, problem=problem, again_in_ms=wait_ms
            )
            await asyncio.sleep(wait_ms / 1000)

    def greet_anew(self) -> None:
        """What this miner offers has changed: what runs finishes, then it dials again."""
        link, work = self._link, self._work
        if link is not None and work is not None and not link.is_closed and not self._is_leaving:
            self._dials_at_once = True
            link.tunnel.send_slots(SlotsMessage(0))
            link.flush()
            self._leaving_task = asyncio.get_running_loop().create_task(self._leave(link, work), name="greet anew")

    async def drain(self, longest_s: float) -> bool:
        """Takes no new work, finishes what runs, and closes the tunnel. Returns whether all of it ended in time."""
        self._is_leaving = True
        self._slots.is_open = False
        link, work = self._link, self._work
        if link is None or work is None or link.is_closed:
            return True
        link.tunnel.send_slots(SlotsMessage(0))
        link.tunnel.send_goaway(GoAway("draining", "the miner is about to stop"))
        link.flush()
        _log.info("drain.begun", in_flight=work.in_flight, longest_s=longest_s)
        in_time = True
        try:
            async with asyncio.timeout(longest_s):
                await self._finish(link, work)
        except TimeoutError:
            in_time = False
            _log.warning("drain.overdue", in_flight=work.in_flight)
        link.close(errors.CLOSE_NORMAL, "drained")
        return in_time

    async def _finish(self, link: TunnelLink, work: Work) -> None:
        """Until nothing runs and all has been sent. Every request ends by its own deadline (`Work.sweep`)."""
        while not link.is_closed and (work.in_flight or link.tunnel.has_data_to_send):
            self._idle.clear()
            if work.in_flight:
                await self._idle.wait()
            await asyncio.sleep(0.01)  # what was queued last leaves

    # --- One tunnel ---

    async def _one_tunnel(self, address: str) -> Closed:
        connecting = connect(
            address,
            ssl=self._tls,
            subprotocols=[Subprotocol(PROTOCOL)],
            open_timeout=limits.DIAL_TIMEOUT_MS / 1000,
            proxy=None,
            **DIALLING_OPTIONS,
        )
        async with connecting as connection:
            assert isinstance(connection, DiallingConnection), "as DIALLING_OPTIONS ask for"
            tunnel = Tunnel("miner", seal=self._seal)
            link = TunnelLink(connection, tunnel, self._on_event)
            work = Work(link, self._identity.miner_id, self._dservices, self._slots)
            work.on_idle = self._idle.set
            self._link, self._work = link, work
            self._is_welcome = False
            tunnel.send_hello(self._hello())
            sweeper = asyncio.create_task(self._sweep(work), name="sweep")
            try:
                return await link.run()
            finally:
                sweeper.cancel()
                await asyncio.gather(sweeper, work.close(), return_exceptions=True)
                self._idle.set()

    def _hello(self) -> Hello:
        offered = [one for one in self._dservices.values() if one.can_be_offered]
        offers = tuple(DServiceOffer(one.name, one.settings.version) for one in offered)
        kinds = {one.kind for one in offered}
        return Hello(
            account_id=self._identity.account_id,
            miner_id=self._identity.miner_id,
            api_key=self._identity.api_key,
            dservices=offers,
            runner="docker" if kinds == {"docker"} else "process",
            capabilities=self._capabilities,
            slots=self._slots.offered,
            signing_key=self._identity.signer.public_key.hex(),
        )

    def _seal(self, digests: Sequence[bytes]) -> Seal:
        root = receipt.seal_tree(digests)[-1][0]
        return Seal(
            len(digests), self._identity.signer.sign(receipt.SEAL, receipt.seal_bytes(root, len(digests))).hex()
        )

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Welcome):
            self._welcomed_at_ns = time.monotonic_ns()
            self._is_welcome = True
            _log.info("tunnel.welcome", node=event.node_id, tier=event.tier, miner=event.miner_public_id)
            offered = {one.name for one in self._dservices.values() if one.can_be_offered}
            missing = offered - {offer.name for offer in event.dservices}
            if missing:
                _log.warning("tunnel.dservices_refused", names=sorted(missing))
            self._on_welcome(event)
        elif isinstance(event, GoAway):
            self._on_goaway(event)
        elif self._work is not None:
            self._work.on_event(event)

    def _on_goaway(self, event: GoAway) -> None:
        """The node is about to stop. It closes the tunnel when none of the requests that it has accepted can need this
        miner, for a first try or another one; then `run` dials again."""
        if not self._is_welcome:
            self._refusal = event.reason  # in full: the close frame has no room for it
            return
        _log.info("tunnel.goaway", code=event.code, reason=event.reason, move_to=event.move_to)

    async def _leave(self, link: TunnelLink, work: Work) -> None:
        await self._finish(link, work)
        link.close(errors.CLOSE_NORMAL, "comes again with what it offers now")

    async def _sweep(self, work: Work) -> None:
        while True:
            await asyncio.sleep(limits.SWEEP_MS / 1000)
            try:
                work.sweep(time.monotonic_ns())
                for dservice in self._dservices.values():
                    dservice.look()
            except Exception:  # the next sweep may go well: without any, nothing is timed out and memory is not seen
                _log.exception("tunnel.sweep_failed")
