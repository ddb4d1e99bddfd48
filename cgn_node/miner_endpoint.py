"""N-1: miners' tunnels. A miner dials in, says HELLO, is verified by Central, joins the pool of its tier; its streams
carry attempts.

One task per connection (reading, through `cgn_sdk.tunnel_io`), none per request. What a miner does wrong closes its
tunnel with a code and is counted; its requests go elsewhere and no DApp notices.
"""

import asyncio
import itertools
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cgn_sdk import signing
from cgn_sdk.protocol import link, receipt
from cgn_sdk.protocol import tunnel as wire
from cgn_sdk.protocol.canonical import CanonicalText
from cgn_sdk.protocol.errors import (
    CLOSE_DRAINING,
    CLOSE_NORMAL,
    CLOSE_NOT_AUTHENTICATED,
    CLOSE_PROTOCOL_VIOLATION,
    CLOSE_REFUSED,
    ProblemError,
)
from cgn_sdk.protocol.limits import KEEPALIVE_DEFAULT_MS, MESSAGE_MAX_BYTES, TEXT_MAX_CHARS
from cgn_sdk.protocol.messages import (
    PROTOCOL,
    Cancel,
    Done,
    DServiceOffer,
    Fail,
    GoAway,
    Head,
    Hello,
    Open,
    Progress,
    Slots,
    Welcome,
)
from cgn_sdk.tunnel_connection import WRITE_LIMIT_BYTES, ListeningConnection
from cgn_sdk.tunnel_io import TunnelLink
from cgn_sdk.turns import Turns
from websockets.asyncio.server import Server, ServerConnection
from websockets.http11 import Request, Response

from cgn_chassis import logs
from cgn_node import limits, websocket_server
from cgn_node.central_endpoint import CentralUnreachable, refuse_upgrade
from cgn_node.client_address import HEADERS, Proxies
from cgn_node.core import events
from cgn_node.core.miners import fitness_fault
from cgn_node.core.pricing import Fitness
from cgn_node.driver import Driver
from cgn_node.gate import Gate
from cgn_node.key_desk import KeyDesk
from cgn_node.key_guard import pair_of
from cgn_node.places import Standing
from cgn_node.policy import PolicyView
from cgn_node.refusals import TooMany

PATH = "/tunnel"
CHECK_PATH = "/tunnel/check"
"""Where a miner asks whether it would be taken, without joining: the same HELLO gets the same answer, then the end."""
CLOSE_TRY_AGAIN_LATER = 1013
"""RFC 6455's registry: the server cannot do it now. For a miner that Central cannot be asked about."""

_log = logs.get("miner")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What Central said about a key, for the time of a gap."""

    grant: link.MinerGrant
    until_s: float


class AttemptSink(Protocol):
    """What a tunnel tells of one stream, and whom (`attempt.Attempt`). Each is one message of the miner, or its end."""

    @property
    def request_id(self) -> str: ...
    def acknowledged(self) -> None: ...
    def head(self, head: Head) -> None: ...
    def data(self, data: bytes) -> None:
        """Of whatever it has taken or passed on, it says `MinerTunnel.consumed`."""

    def writable(self) -> None:
        """The stream takes more of the request's body."""

    def progressed(self, progress: Progress) -> None: ...
    def done(self, done: Done) -> str:
        """What is wrong with the statement, or empty."""

    def sealed(self, seal: CanonicalText) -> None:
        """The signature over the statement was checked."""

    def failed(self, fail: Fail) -> None: ...
    def lost(self) -> None:
        """The tunnel is gone."""

    def break_off(self) -> None:
        """One of these has raised."""


class MinerEndpoint:
    """The listener and all tunnels."""

    def __init__(
        self,
        *,
        node_id: str,
        driver: Driver,
        policy: Callable[[], PolicyView | None],
        keys: KeyDesk,
        proxies: Proxies,
        sandbox: bool,
        connections_max: int = limits.MINERS_MAX,
        turns: Turns | None = None,
    ) -> None:
        self.node_id = node_id
        self.driver = driver
        self.sandbox = sandbox
        self.counters: Counter[str] = Counter()
        """Closed tunnels by code, refused statements by reason."""
        self.draining = False
        self.policy = policy
        self.proxies = proxies
        self.keys = keys
        self._connections_max = connections_max
        self.turns = Turns() if turns is None else turns
        self.strangers = 0
        """Connections that ended before Central knew their miner, since the last line about them."""
        self._kept: dict[bytes, _Kept] = {}
        self._numbers = itertools.count(1)
        self._tunnels: set[MinerTunnel] = set()
        self._server: Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        gate = Gate(
            "miner",
            tls=tls,
            connections_max=self._connections_max,
            per_address_max=self._connections_max,
            counters=self.counters,
            turns=self.turns,
            is_proxy=self.proxies.is_proxy,
        )
        self._server = await websocket_server.start(
            gate,
            host,
            port,
            self._serve,
            self._check,
            subprotocol=PROTOCOL,
            max_size=MESSAGE_MAX_BYTES,
            create_connection=ListeningConnection,
            ping_interval=KEEPALIVE_DEFAULT_MS / 1000,
            ping_timeout=KEEPALIVE_DEFAULT_MS / 1000,
            write_limit=WRITE_LIMIT_BYTES,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def tell_strangers(self) -> None:
        """Now and then one line about all who came and went without being known here."""
        if self.strangers:
            _log.info("miner.strangers_left", count=self.strangers)
            self.strangers = 0

    def drain(self) -> None:
        """No new tunnels; each miner is told to go elsewhere and keeps its running requests (N-18)."""
        self.draining = True
        for tunnel in list(self.driver.by_number.values()):
            assert isinstance(tunnel, MinerTunnel)
            tunnel.go_away()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close(code=CLOSE_DRAINING, reason="the node stops")
            await self._server.wait_closed()

    def revoke(self, revoked: link.Revoke) -> None:
        """C-10: these miners and all miners of these contributors go now."""
        miners, accounts = set(revoked.miner_ids), set(revoked.account_ids)
        self.keys.revoke(accounts, miners)
        for digest, kept in list(self._kept.items()):
            if kept.grant.miner_id in miners or kept.grant.contributor.id in accounts:
                del self._kept[digest]
        for tunnel in list(self._tunnels):  # those that Central is being asked about too: its answer may be the older
            if tunnel.miner_id in miners or tunnel.account_id in accounts:
                tunnel.revoke()

    async def verify(self, hello: Hello, address: str) -> link.MinerGrant:
        """Central's word on a miner, or the last one while Central cannot be reached. Raises ProblemError, TooMany or
        CentralUnreachable."""
        asked = link.MinerVerify(hello.account_id, hello.miner_id, hello.api_key)
        digest = pair_of(asked.account_id, asked.miner_id, asked.api_key)
        try:
            answer = await self.keys.ask(
                link.METHOD_MINER_VERIFY,
                asked.to_params(),
                account_id=asked.account_id,
                api_key=asked.api_key,
                peer=address,
                miner_id=asked.miner_id,
            )
            grant = link.MinerGrant.from_params(answer)
        except ProblemError:
            self._kept.pop(digest, None)
            raise
        except CentralUnreachable:
            kept = self._kept.get(digest)
            if kept is None or kept.until_s < time.monotonic():
                raise
            return kept.grant
        self._kept.pop(digest, None)
        if len(self._kept) >= limits.MINERS_MAX:
            self._kept.pop(next(iter(self._kept)))
        self._kept[digest] = _Kept(grant, time.monotonic() + limits.GRANTS_KEPT_S)
        return grant

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path not in (PATH, CHECK_PATH):
            return refuse_upgrade(404, "not_found", f"Miners connect at {PATH}.")
        if PROTOCOL not in request.headers.get("Sec-WebSocket-Protocol", ""):
            return refuse_upgrade(400, "bad_request", f"The subprotocol spoken here is {PROTOCOL}.")
        if self.draining:
            return refuse_upgrade(503, "draining", "This node is about to stop.")
        if len(self.driver.by_number) >= limits.MINERS_MAX:
            return refuse_upgrade(503, "overloaded", "This node has as many miners as it takes.")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, ListeningConnection), "as start() asks for"
        number = next(self._numbers)
        tunnel = MinerTunnel(number, connection, self)
        self._tunnels.add(tunnel)
        try:
            closed = await tunnel.link.run()
        finally:
            self._tunnels.discard(tunnel)
            tunnel.ended()
        self.counters[f"closed {closed.code}"] += 1
        if tunnel.grant is None:  # nobody we know: a line for each would let anybody fill the disk
            self.strangers += 1
            _log.debug("miner.stranger_left", tunnel=number, code=closed.code, reason=closed.reason)
            return
        level = _log.info if closed.code in (1000, 1001, CLOSE_DRAINING) else _log.warning
        level("miner.left", miner=tunnel.miner_id, tunnel=number, code=closed.code, reason=closed.reason)


def unserved(offer: DServiceOffer, known: Mapping[str, link.DServicePolicy], tier: str) -> str:
    """Why an offer is not taken, with what would be; empty when it is."""
    found = known.get(offer.name)
    if found is None:
        return f"{offer.name} is not served here; there are: {', '.join(sorted(known)) or 'none'}"
    if found.version != offer.version:
        return f"{offer.name} {offer.version} is offered, and {found.version} is the version served here"
    if tier not in found.allowed_tiers:
        return (
            f"{offer.name} is not served in tier {tier}, which is this miner's, but in {', '.join(found.allowed_tiers)}"
        )
    return ""


class MinerTunnel:
    """One miner's connection: its streams, its unsealed results, what Central says about it."""

    def __init__(self, number: int, connection: ListeningConnection, endpoint: MinerEndpoint) -> None:
        self.number = number
        self.miner_id = ""
        self.account_id = ""
        self.grant: link.MinerGrant | None = None
        self.tunnel = wire.Tunnel("node")
        self._channel = websocket_server.channel_of(connection)
        waited_s = time.monotonic() - self._channel.accepted_at
        self.link = TunnelLink(
            connection,
            self.tunnel,
            self._on_event,
            greeting_timeout_ms=int(1000 * max(1, limits.GREETING_S - waited_s)),
            turns=endpoint.turns,
        )
        self.joined = False
        self._is_going = False
        self._endpoint = endpoint
        self._driver = endpoint.driver
        self._address = _address_of(connection, endpoint.proxies)
        self._only_asks = connection.request is not None and connection.request.path == CHECK_PATH
        self._signing_key = b""
        self._streams: dict[int, AttemptSink] = {}
        self._unsealed: dict[bytes, AttemptSink] = {}
        self._greeting: asyncio.Task[None] | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            wire.Acknowledged: self._on_acknowledged,
            wire.HeadReceived: self._on_head,
            wire.DataReceived: self._on_data,
            wire.Writable: self._on_writable,
            wire.Finished: self._on_finished,
            wire.Sealed: self._on_sealed,
            wire.Failed: self._on_failed,
            wire.Progressed: self._on_progressed,
            Slots: self._on_slots,
            GoAway: self._on_goaway,
            Hello: self._on_hello,
        }

    # --- what requests ask --------------------------------------------------------------------------------------------

    def open(self, message: Open, sink: AttemptSink, *, is_empty: bool) -> int | None:
        """Opens a stream and returns its number; None when the tunnel takes none. `is_empty`: no body follows."""
        if not self.tunnel.can_open or self.link.is_closed:
            return None
        stream = self.tunnel.open(message, end=is_empty)
        self._streams[stream] = sink
        self.link.flush(at_once=is_empty and len(self._streams) == 1)
        return stream

    def room(self, stream: int) -> int:
        """Bytes that the stream takes now."""
        return self.tunnel.writable(stream)

    def is_open(self, stream: int) -> bool:
        return self.tunnel.is_open(stream)

    def send(self, stream: int, data: bytes, *, end: bool) -> None:
        """More of the request's body; it leaves with `flush`."""
        self.tunnel.data(stream, data, end=end)

    def consumed(self, stream: int, size: int) -> None:
        """Gives the miner credit for so much of its answer; it leaves with `flush`, or with what is sent next."""
        self.tunnel.consumed(stream, size)

    def flush(self) -> None:
        if self.tunnel.has_data_to_send:
            self.link.flush()

    def cancel(self, stream: int, code: str) -> None:
        self._streams.pop(stream, None)
        if self.tunnel.is_open(stream):
            self.tunnel.cancel(stream, Cancel(code))
            self.link.flush()

    def close(self, code: int, reason: str) -> None:
        self.link.close(code, reason)

    def revoke(self) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
        self.close(CLOSE_REFUSED, "revoked by Central")

    def go_away(self) -> None:
        self.tunnel.send_goaway(GoAway("draining", "this node stops; running requests may end"))
        self.link.flush()

    def ended(self) -> None:
        """The connection is gone: the broker gives its requests to others."""
        if self._greeting is not None:
            self._greeting.cancel()
        self.leave()

    # --- what the miner says ------------------------------------------------------------------------------------------

    def _on_event(self, event: wire.Event) -> None:
        """What goes wrong here with one attempt ends its request; the tunnel carries those of others too."""
        try:
            self._handlers[type(event)](event)
        except Exception:
            attempt = self._streams.get(getattr(event, "stream", 0))
            if attempt is None:
                raise
            _log.exception("miner.event_failed", miner=self.miner_id, request_id=attempt.request_id)
            attempt.break_off()

    def _on_acknowledged(self, event: wire.Acknowledged) -> None:
        attempt = self._streams.get(event.stream)
        if attempt is not None:
            attempt.acknowledged()

    def _on_head(self, event: wire.HeadReceived) -> None:
        attempt = self._streams.get(event.stream)
        if attempt is not None:
            attempt.head(event.message)

    def _on_data(self, event: wire.DataReceived) -> None:
        attempt = self._streams.get(event.stream)
        if attempt is None:
            self.tunnel.consumed(event.stream, len(event.data))
        elif event.data:
            attempt.data(event.data)

    def _on_writable(self, event: wire.Writable) -> None:
        attempt = self._streams.get(event.stream)
        if attempt is not None:
            attempt.writable()

    def _on_finished(self, event: wire.Finished) -> None:
        attempt = self._streams.get(event.stream)
        if attempt is None:
            return
        problem = attempt.done(event.message)
        self._streams.pop(event.stream, None)
        if problem:
            self._endpoint.counters["bad statements"] += 1
            _log.warning("miner.bad_statement", miner=self.miner_id, request_id=attempt.request_id, problem=problem)
            attempt.failed(Fail("bad_gateway"))
        else:
            self._unsealed[event.digest] = attempt

    def _on_sealed(self, event: wire.Sealed) -> None:
        """One signature over all statements since the last one (decision 0003)."""
        tree = receipt.seal_tree(event.digests)
        signature = bytes.fromhex(event.message.signature)
        signed = receipt.seal_bytes(tree[-1][0], len(event.digests))
        if not signing.verify(self._signing_key, receipt.SEAL, signed, signature):
            self._endpoint.counters["bad seals"] += 1
            self._unsealed.clear()
            self.close(CLOSE_PROTOCOL_VIOLATION, "the seal is not this miner's signature over its statements")
            self.leave()
            return
        for digest, seal in zip(event.digests, receipt.seal_texts(tree, signature), strict=True):
            attempt = self._unsealed.pop(digest, None)
            if attempt is not None:
                self._count_sealed(attempt, seal)

    @staticmethod
    def _count_sealed(attempt: AttemptSink, seal: CanonicalText) -> None:
        """Those that the same seal is about have no part in what goes wrong with one."""
        try:
            attempt.sealed(seal)
        except Exception:
            _log.exception("miner.seal_failed", request_id=attempt.request_id)
            attempt.break_off()

    def _on_failed(self, event: wire.Failed) -> None:
        attempt = self._streams.get(event.stream)
        if attempt is not None:
            attempt.failed(event.message)
            self._streams.pop(event.stream, None)

    def _on_progressed(self, event: wire.Progressed) -> None:
        """A sign of life, and what has been used so far. What the work says on its way reaches the DApp with N-16."""
        attempt = self._streams.get(event.stream)
        if attempt is not None:
            attempt.progressed(event.message)

    def _on_slots(self, event: Slots) -> None:
        if self.joined:
            self._driver.post(events.SlotsChanged(self.miner_id, self.number, event.slots))

    def _on_goaway(self, event: GoAway) -> None:
        """The miner is about to stop: it gets nothing new, what runs may end. Said again, it changes nothing."""
        if self.joined and not self._is_going:
            self._is_going = True
            _log.info("miner.going", miner=self.miner_id, code=event.code)
            self._driver.post(events.SlotsChanged(self.miner_id, self.number, 0))

    # --- joining and leaving ------------------------------------------------------------------------------------------

    def _on_hello(self, hello: Hello) -> None:
        self.miner_id, self.account_id = hello.miner_id, hello.account_id
        self._greeting = asyncio.get_running_loop().create_task(self._greet(hello), name="miner hello")

    async def _greet(self, hello: Hello) -> None:
        """Whoever is revoked meanwhile is cancelled here."""
        try:
            grant = await self._endpoint.verify(hello, self._address)
        except ProblemError as error:
            wrong = error.problem.code in ("not_authenticated", "bad_request", "not_found")
            code = CLOSE_NOT_AUTHENTICATED if wrong else CLOSE_REFUSED
            self._refuse(code, error.problem.detail or error.problem.title)
            return
        except TooMany as error:
            self.close(CLOSE_REFUSED, error.detail)
            return
        except CentralUnreachable as error:
            self.close(CLOSE_TRY_AGAIN_LATER, f"this miner cannot be verified now: {error}")
            return
        except Exception:
            _log.exception("miner.hello_failed", miner=self.miner_id)
            self.close(CLOSE_TRY_AGAIN_LATER, "this miner cannot be verified now")
            return
        self._join(hello, grant)

    def _join(self, hello: Hello, grant: link.MinerGrant) -> None:
        endpoint, driver = self._endpoint, self._driver
        view = endpoint.policy()
        if view is None:
            self.close(CLOSE_TRY_AGAIN_LATER, "Central has not told this node yet what is served here")
            return
        reasons = {offer: unserved(offer, view.by_name, grant.tier) for offer in hello.dservices}
        accepted = tuple(offer for offer, reason in reasons.items() if not reason)
        if not accepted:
            self._refuse(CLOSE_REFUSED, "; ".join(reasons.values()) or "no DService is offered")
            return
        if grant.miner_id != hello.miner_id or endpoint.draining or self.link.is_closed:
            self.close(CLOSE_DRAINING if endpoint.draining else CLOSE_REFUSED, "not now")
            return
        joined = events.MinerJoined(
            miner=self.miner_id,
            tunnel=self.number,
            tier=grant.tier,
            contributor=grant.contributor.public_id,
            enterprise=grant.enterprise_id,
            dservices=tuple(offer.name for offer in accepted),
            slots=hello.slots,
            fitness=Fitness(
                threads=hello.capabilities.threads,
                kmips_per_thread_milli=hello.capabilities.kmips_per_thread_milli,
                memory_bytes=hello.capabilities.memory_bytes,
            ),
            registered=_registered(grant.machine),
            runner="docker" if endpoint.sandbox else hello.runner,
        )
        welcome = Welcome(grant.miner_public_id, grant.tier, accepted, KEEPALIVE_DEFAULT_MS, endpoint.node_id)
        if self._only_asks:
            if fault := fitness_fault(joined):
                self._refuse(CLOSE_REFUSED, fault)
                return
            self.tunnel.send_welcome(welcome)
            self.link.flush()
            self.close(CLOSE_NORMAL, "this miner would be taken")
            return
        self.grant = grant
        self._signing_key = bytes.fromhex(hello.signing_key)
        self.joined = True
        self._channel.stand(Standing.BUSY)
        driver.by_number[self.number] = self
        driver.tunnels[self.miner_id] = self
        self.tunnel.send_welcome(welcome)
        self.link.flush()
        _log.info("miner.joined", miner=self.miner_id, tunnel=self.number, tier=grant.tier, slots=hello.slots)
        if grant.machine is None:
            _log.warning("miner.machine_unknown", miner=self.miner_id, effect="it is billed as one slow thread")
        driver.post(joined)

    def _refuse(self, code: int, reason: str) -> None:
        """What would be right takes more room than a close frame has (123 bytes), so it goes before it."""
        self.tunnel.send_goaway(GoAway("forbidden", reason[:TEXT_MAX_CHARS]))
        self.link.flush()
        self.close(code, reason)

    def leave(self) -> None:
        """Takes the miner out of the pool; its connection may end later."""
        if self.joined:
            self._forget()
            self._driver.post(events.MinerLeft(self.miner_id, self.number))

    def expel(self, code: int, reason: str) -> None:
        """The broker has taken the miner out of its pool: nothing it still says counts."""
        self._forget()
        self.close(code, reason)

    def _forget(self) -> None:
        self.joined = False
        self._driver.by_number.pop(self.number, None)
        if self._driver.tunnels.get(self.miner_id) is self:
            del self._driver.tunnels[self.miner_id]
        for attempt in (*self._streams.values(), *self._unsealed.values()):
            attempt.lost()
        self._streams.clear()
        self._unsealed.clear()


def _registered(machine: link.Machine | None) -> Fitness | None:
    if machine is None:
        return None
    return Fitness(machine.threads, machine.kmips_per_thread_milli, machine.memory_bytes)


def _address_of(connection: ServerConnection, proxies: Proxies) -> str:
    """The address that counts for wrong keys."""
    peer = str(connection.remote_address[0]) if connection.remote_address else ""
    headers = connection.request.headers if connection.request is not None else None
    fields = {name: ", ".join(headers.get_all(name)) for name in HEADERS} if headers is not None else {}
    return proxies.client(peer, fields)
