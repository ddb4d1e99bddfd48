"""N-4: Central's links. Central dials in, proves itself by mutual TLS with a pinned certificate; the node asks,
Central answers.

Several links at once are several instances of Central: the newest is asked, and where its link breaks, the next.
Without a link, questions fail with `CentralUnreachable` at once and everything the node already knows goes on (C-1: it
works through a gap).
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cgn_sdk.protocol import link, link_envelope
from cgn_sdk.protocol.errors import CLOSE_NOT_AUTHENTICATED, Problem, ProblemError, ProtocolError
from cgn_sdk.turns import Turns
from websockets.asyncio.server import Server, ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from cgn_chassis import logs
from cgn_chassis.tls import is_pinned
from cgn_node import limits, websocket_server
from cgn_node.driver import monotonic_ms
from cgn_node.gate import Gate
from cgn_node.http_server import PROBLEM
from cgn_node.places import Standing
from cgn_node.policy import load_copy, save_copy

_log = logs.get("central")


class CentralUnreachable(Exception):
    """No link, or no answer in time: what was asked is unknown."""


class LinkBroken(CentralUnreachable):
    """The link ended before the answer. Questions change nothing at Central: another instance may be asked."""


def refuse_upgrade(status: int, code: str, detail: str) -> Response:
    """A problem document instead of a WebSocket, for both WebSocket endpoints."""
    body = Problem(code, detail, status=status).to_json()
    headers = Headers({"Content-Type": PROBLEM, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, HTTPStatus(status).phrase, headers, body)


class CentralEndpoint:
    """All links, and what Central last said. `welcome` is from the copy on disk until a link is up."""

    def __init__(
        self,
        hello: link.NodeHello,
        *,
        copy_path: Path,
        fingerprints: tuple[str, ...],
        on_policy: Callable[[link.Policy], None],
        on_revoke: Callable[[link.Revoke], None],
        ask_timeout_ms: int = limits.CENTRAL_ASK_S * 1000,
        turns: Turns | None = None,
    ) -> None:
        self.welcome = load_copy(copy_path)
        self.counters: Counter[str] = Counter()
        self.ready = asyncio.Event()
        """Set once anything is known of the policy, from a link or from the copy."""
        self.refused_policy = ""
        """What is wrong with the newest policy that Central has sent, while an older one is in force."""
        self._hello = hello
        self._copy_path = copy_path
        self._fingerprints = fingerprints
        self._on_policy = on_policy
        self._on_revoke = on_revoke
        self._ask_timeout_ms = ask_timeout_ms
        self._turns = Turns() if turns is None else turns
        self._links: list[_Link] = []
        self._server: Server | None = None
        self._unsaved: link.NodeWelcome | None = None
        self._saving: asyncio.Task[None] | None = None
        if self.welcome is not None:
            self.ready.set()

    @property
    def link_count(self) -> int:
        return len(self._links)

    @property
    def node_public_id(self) -> str:
        """Who this node is in rows; empty until Central has said so."""
        return "" if self.welcome is None else self.welcome.node_public_id

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        gate = Gate(
            "central",
            tls=tls,
            connections_max=limits.CENTRAL_CONNECTIONS_MAX,
            per_address_max=limits.CENTRAL_CONNECTIONS_MAX,
            counters=self.counters,
            turns=self._turns,
        )
        self._server = await websocket_server.start(
            gate,
            host,
            port,
            self._serve,
            self._check,
            subprotocol=link_envelope.SUBPROTOCOL,
            max_size=link_envelope.MESSAGE_MAX_BYTES,
            max_queue=16,
            ping_interval=20,
            ping_timeout=20,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close(code=1001, reason="the node stops")
            await self._server.wait_closed()
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
            await self._save_newest()

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Central's answer. Raises CentralUnreachable, or ProblemError with what Central refused."""
        broken = CentralUnreachable("no link to Central")
        for one in reversed(self._links.copy()):
            self.counters[f"asked {method}"] += 1
            try:
                return await one.ask(method, params)
            except LinkBroken as error:
                broken = error
        raise broken

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path != link_envelope.PATH:
            return refuse_upgrade(404, "not_found", f"Central's link is at {link_envelope.PATH}.")
        if not is_pinned(connection.transport.get_extra_info("ssl_object"), self._fingerprints):
            self.counters["refused certificates"] += 1
            _log.warning("central.refused", peer=connection.remote_address)
            return refuse_upgrade(403, "forbidden", "Only Central's own certificate opens a link.")
        if len(self._links) >= limits.CENTRAL_LINKS_MAX:
            return refuse_upgrade(429, "rate_limited", f"At most {limits.CENTRAL_LINKS_MAX} links at once.")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        websocket_server.channel_of(connection).stand(Standing.BUSY)
        one = _Link(connection, self._ask_timeout_ms, self._told, self._turns)
        reader = asyncio.create_task(one.read(), name="central link")
        try:
            answer = await one.ask(link.METHOD_NODE_HELLO, self._hello.to_params())
            welcome = self._read_welcome(answer)
        except (ProblemError, CentralUnreachable) as error:
            _log.error("central.hello_refused", detail=str(error))
            await connection.close(CLOSE_NOT_AUTHENTICATED, "the node's hello was not accepted")
        else:
            self._links.append(one)
            _log.info("central.linked", links=len(self._links), policy_version=welcome.policy.version)
            self._take_welcome(welcome)
            await asyncio.wait([reader])
        finally:
            if one in self._links:
                self._links.remove(one)
                _log.warning("central.link_lost", links=len(self._links), code=connection.close_code)
            reader.cancel()
            [outcome] = await asyncio.gather(reader, return_exceptions=True)
            if isinstance(outcome, Exception):  # a fault of ours: Central dials again, and somebody should know
                _log.error("central.link_failed", problem=repr(outcome))
                self.counters["links failed"] += 1
            one.end()

    def _read_welcome(self, answer: dict[str, Any]) -> link.NodeWelcome:
        """With a policy that is refused, the known one stays in force, and the link is of use all the same: sessions
        are opened and revocations heard over it."""
        try:
            return link.NodeWelcome.from_params(answer)
        except ProblemError as error:
            if self.welcome is None:
                raise
            welcome = link.NodeWelcome.from_params({**answer, "policy": self.welcome.policy.to_params()})
            self._refuse_policy(error)
            return welcome

    def _refuse_policy(self, error: ProblemError) -> None:
        self.refused_policy = error.problem.detail
        self.counters["policies refused"] += 1

    def _take_policy(self, params: dict[str, Any]) -> None:
        try:
            policy = link.Policy.from_params(params)
        except ProblemError as error:
            self._refuse_policy(error)
            raise
        if self.welcome is not None and policy.version > self.welcome.policy.version:
            self.welcome = link.NodeWelcome(self.welcome.node_public_id, self.welcome.operator, policy)
            self.refused_policy = ""
            self._save()
            self._on_policy(policy)

    def _take_welcome(self, welcome: link.NodeWelcome) -> None:
        known = self.welcome
        if known is None or known.policy.version < welcome.policy.version:
            self.refused_policy = ""
        elif known.policy.version > welcome.policy.version:
            welcome = link.NodeWelcome(welcome.node_public_id, welcome.operator, known.policy)
        self.welcome = welcome
        self._save()
        self._on_policy(welcome.policy)
        self.ready.set()

    def _told(self, tell: link_envelope.Tell) -> None:
        try:
            if tell.topic == link.TOPIC_POLICY:
                self._take_policy(tell.params)
            elif tell.topic == link.TOPIC_REVOKE:
                self._on_revoke(link.Revoke.from_params(tell.params))
            else:
                self.counters["unknown topics"] += 1
        except ProblemError as error:  # a newer Central's news that this node cannot read: the old ones stay in force
            self.counters["unreadable news"] += 1
            if self.counters["unreadable news"].bit_count() == 1:  # 1, 2, 4, …: how many lines is not Central's choice
                _log.error("central.unreadable", topic=tell.topic, detail=str(error))

    def _save(self) -> None:
        """Keeps the copy on disk, in the background: a disk that takes its time holds nobody up."""
        self._unsaved = self.welcome
        if self._saving is None or self._saving.done():
            self._saving = asyncio.get_running_loop().create_task(self._save_on(), name="policy's copy")

    async def _save_on(self) -> None:
        """However often the policy changes, its newest state is written now and then."""
        while self._unsaved is not None:
            await self._save_newest()
            await asyncio.sleep(limits.POLICY_COPY_S)

    async def _save_newest(self) -> None:
        welcome, self._unsaved = self._unsaved, None
        if welcome is None:
            return
        try:
            await asyncio.to_thread(save_copy, self._copy_path, welcome)
        except OSError as error:
            _log.error("central.copy_failed", detail=str(error))


class _Link:
    """One connection of one Central instance."""

    def __init__(
        self,
        connection: ServerConnection,
        timeout_ms: int,
        told: Callable[[link_envelope.Tell], None],
        turns: Turns,
    ) -> None:
        self._connection = connection
        self._correlator = link_envelope.Correlator(ask_timeout_ms=timeout_ms, asks_max=limits.CENTRAL_ASKS_MAX)
        self._futures: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._told = told
        self._turns = turns
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if self._ended:
            raise LinkBroken("the link has ended")
        id, text = self._correlator.ask(method, params, monotonic_ms())
        future = self._futures[id] = asyncio.get_running_loop().create_future()
        self._set_timer()
        try:
            await self._connection.send(text)
            answer: dict[str, Any] = await future
            return answer
        except ConnectionClosed as error:
            raise LinkBroken("the link broke") from error
        finally:
            self._futures.pop(id, None)

    async def read(self) -> None:
        try:
            async for text in self._connection:
                reply = await self._in_turn(text)
                if reply is not None:
                    await self._connection.send(reply)
        except ConnectionClosed:
            pass
        except ProtocolError as error:
            _log.error("central.broke_rules", reason=error.reason)
            await self._connection.close(error.close_code, error.reason)
        finally:
            self.end()

    def _in_turn(self, text: str | bytes) -> "asyncio.Future[str | None]":
        """One message is one portion of work, in turn with what all other peers want: a policy of full length takes
        some hundredths of a second."""
        done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        def take() -> None:
            if done.cancelled():
                return
            try:
                done.set_result(self._take(text))
            except Exception as error:
                done.set_exception(error)

        self._turns.add(take)
        return done

    def _take(self, text: str | bytes) -> str | None:
        """Does what one message says. Returns what is to be said to it."""
        message = self._correlator.receive(text, monotonic_ms())
        if isinstance(message, link_envelope.Answer):
            self._resolve(message.id, message.answer, None)
        elif isinstance(message, link_envelope.Refusal):
            self._resolve(message.id, None, ProblemError(message.problem))
        elif isinstance(message, link_envelope.Tell):
            self._told(message)
        elif isinstance(message, link_envelope.Ask):
            return self._correlator.refuse(message.id, Problem("not_found", "A node answers no questions."))
        return None

    def end(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        for expired in self._correlator.close():
            self._resolve(expired.id, None, LinkBroken("the link ended before the answer"))

    def _resolve(self, id: int, answer: dict[str, Any] | None, error: Exception | None) -> None:
        future = self._futures.get(id)
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer or {})

    def _set_timer(self) -> None:
        deadline = self._correlator.next_deadline()
        if deadline is not None and self._timer is None:
            delay_s = max(0, deadline - monotonic_ms()) / 1000 + 0.001
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        for expired in self._correlator.expire(monotonic_ms()):
            self._resolve(expired.id, None, CentralUnreachable("Central did not answer in time"))
        self._set_timer()
