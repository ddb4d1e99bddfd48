"""Central dials every registered node and answers its questions there (C-1, N-4).

One task per node dials, proves us by mutual TLS, checks the node's pinned certificate, and serves the link until it
ends; then it waits (longer each time, with jitter, and little for a node that was here a moment ago) and dials again.
One more task reads the audit log and tells the nodes what changed: policy, revocations. What a node missed while its
link was down it is told after its next hello, and once more what it was told last: nobody confirms what is told.
"""

import asyncio
import contextlib
import itertools
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from cgn_sdk.protocol import link, link_envelope
from cgn_sdk.protocol.errors import (
    CLOSE_NORMAL,
    CLOSE_NOT_AUTHENTICATED,
    CLOSE_PROTOCOL_VIOLATION,
    CLOSE_TOO_LATE,
    Problem,
    ProblemError,
    ProtocolError,
)
from cgn_sdk.tunnel_connection import PacedClientConnection
from cgn_sdk.turns import Turns
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from central_service import limits
from central_service.answers import Answers
from central_service.core.records import Node
from central_service.store import ACCOUNT_CHANGED, KEY_REVOKED, MINER_CHANGED, NODES_CHANGED, Change, Facts
from cgn_chassis import logs
from cgn_chassis.backoff import Backoff
from cgn_chassis.supervisor import Supervisor
from cgn_chassis.tls import is_pinned

WATCHER = "links watcher"

_log = logs.get("links")


CLOSE_FAILED = 1011
"""RFC 6455's registry: an unexpected condition. The link is dialled again."""


class NotTheNode(Exception):
    """Whoever answers at the node's address does not show the pinned certificate."""


class Link:
    """One connection to one node: nothing is answered before `node.hello` has succeeded."""

    def __init__(self, connection: ClientConnection, node: Node, answers: Answers) -> None:
        self.node = node
        self.policy_version = 0  # 0: has not said hello
        self.is_caught_up = False
        """Whether the node has been sent what it had missed before this link."""
        self._connection = connection
        self._answers = answers
        self._correlator = link_envelope.Correlator()
        self._tasks: set[asyncio.Future[None]] = set()
        self._helloed = asyncio.Event()
        self._has_asked = False

    @property
    def is_admitted(self) -> bool:
        return self.policy_version > 0

    def __repr__(self) -> str:
        return f"Link({self.node.id}, policy {self.policy_version}, owes {self._correlator.owed_count})"

    async def run(self, on_admitted: Callable[["Link"], None]) -> None:
        """Serves the link until it ends."""
        self._spawn(self._expect_hello())
        try:
            async for text in self._connection:
                message = self._correlator.receive(text, 0)
                if not isinstance(message, link_envelope.Ask):
                    raise ProtocolError("a node asks; it has nothing to answer and nothing to tell")
                if not self.is_admitted:
                    if message.method != link.METHOD_NODE_HELLO or self._has_asked:
                        raise ProtocolError("node.hello comes first", CLOSE_NOT_AUTHENTICATED)
                    self._has_asked = True
                    self._spawn(self._admit(message, on_admitted))
                else:
                    self._spawn(self._answer(message))
                await asyncio.sleep(0)  # questions that have come together do not share one turn of the loop
        except ProtocolError as error:
            _log.warning("link.violation", node=self.node.id, reason=error.reason)
            await self._connection.close(error.close_code, error.reason[:100])
        except ConnectionClosed:
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._correlator.close()

    async def tell(self, topic: str, params: dict[str, object]) -> bool:
        """Sends what needs no answer, and returns whether it could; a node that does not take it in time is dialled
        again."""
        try:
            async with asyncio.timeout(limits.LINK_PING_S):
                await self._connection.send(link_envelope.encode(link_envelope.Tell(topic, params)))
                return True
        except TimeoutError:
            _log.warning("link.stuck", node=self.node.id)
            self._connection.transport.abort()
        except ConnectionClosed:
            pass
        return False

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _expect_hello(self) -> None:
        try:
            async with asyncio.timeout(link_envelope.HELLO_TIMEOUT_MS / 1000):
                await self._helloed.wait()
        except TimeoutError:
            _log.warning("link.silent", node=self.node.id)
            await self._connection.close(CLOSE_TOO_LATE, "no node.hello in time")

    async def _admit(self, ask: link_envelope.Ask, on_admitted: Callable[["Link"], None]) -> None:
        try:
            welcome = await self._answers.node_hello(link.NodeHello.from_params(ask.params), self.node)
        except ProblemError as error:
            _log.warning("link.refused", node=self.node.id, code=error.problem.code)
            await self._send(self._correlator.refuse(ask.id, error.problem))
            await self._connection.close(CLOSE_NOT_AUTHENTICATED, "node.hello was refused")
            return
        except Exception:
            _log.exception("link.failed", node=self.node.id, ask=ask.method)
            await self._connection.close(CLOSE_FAILED, "Central could not look at node.hello")
            return
        self._helloed.set()
        self.policy_version = welcome.policy.version
        await self._send(self._correlator.answer(ask.id, welcome.to_params()))
        on_admitted(self)

    async def _answer(self, ask: link_envelope.Ask) -> None:
        try:
            text = self._correlator.answer(
                ask.id, await self._answers.answer(ask.method, ask.params, asker=self.node.id)
            )
        except ProblemError as error:
            _log.info("link.refusal", node=self.node.id, ask=ask.method, code=error.problem.code)
            text = self._correlator.refuse(ask.id, error.problem)
        except Exception:
            _log.exception("link.failed", node=self.node.id, ask=ask.method)
            text = self._correlator.refuse(ask.id, Problem("internal", "Central could not answer; ask again."))
        await self._send(text)

    async def _send(self, text: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._connection.send(text)


class Links:
    """The links to all nodes. `start` them once; `close` ends all."""

    def __init__(
        self,
        answers: Answers,
        tls: ssl.SSLContext,
        supervisor: Supervisor,
        *,
        poll_s: float = limits.CHANGE_POLL_S,
        dial_first_s: float = limits.DIAL_FIRST_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._answers = answers
        self._tls = tls
        self._supervisor = supervisor
        self._poll_s = poll_s
        self._dial_first_s = dial_first_s
        self._jitter = jitter
        self._diallers: dict[Node, str] = {}  # -> the name of its task
        self._numbers = itertools.count(1)
        self._links: dict[str, Link] = {}
        self._seen: deque[tuple[float, int]] = deque(maxlen=limits.SEEN_KEPT)
        """When the audit log was seen up to which line; the last is what linked nodes have been told of."""
        self._linked_at: dict[str, float] = {}  # node -> when its link was last seen up, and nothing of before was owed
        self._tells: set[asyncio.Future[None]] = set()
        self._turns = Turns()  # one queue for all nodes: what one of them sends is read in turns with what others do

    @property
    def admitted_count(self) -> int:
        return sum(each.is_admitted for each in self._links.values())

    async def start(self) -> None:
        self._saw(await self._answers.store.read(lambda facts: facts.last_change()))
        await self._dial_registered()
        self._supervisor.keep(WATCHER, self._watch)

    async def close(self) -> None:
        await asyncio.gather(
            *(each.close(1001, "Central stops") for each in self._links.values()), return_exceptions=True
        )
        for name in (WATCHER, *self._diallers.values()):
            self._supervisor.drop(name)
        for task in self._tells:
            task.cancel()
        await asyncio.gather(*self._tells, return_exceptions=True)

    # --- Dialling ---

    async def _dial_registered(self) -> None:
        """Dials the nodes that are registered now, and no others."""
        wanted = set(await self._answers.store.read(lambda facts: facts.nodes()))
        for node in sorted(set(self._diallers) - wanted, key=lambda each: each.id):
            self._supervisor.drop(self._diallers.pop(node))
        for place, node in enumerate(sorted(wanted - set(self._diallers), key=lambda each: each.id)):
            self._diallers[node] = name = f"dial {node.id} {next(self._numbers)}"
            self._supervisor.keep(name, partial(self._keep_linked, node, place * limits.DIAL_STAGGER_S))

    async def _keep_linked(self, node: Node, first_after_s: float) -> None:
        """Dials the node for ever. Nodes do not wait for each other: many that are unreachable delay none that is."""
        await asyncio.sleep(first_after_s)
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._link_once(node)
                failures = 0 if loop.time() - began > limits.LINK_STABLE_S else failures + 1
            except NotTheNode:
                failures += 1
                _log.error("link.wrong_certificate", node=node.id, url=node.url)
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                failures += 1
                if failures.bit_count() == 1:  # 1, 2, 4, …: a dead node fills no log
                    reason = f"{type(error).__name__}: {error}"
                    _log.info("link.unreachable", node=node.id, url=node.url, failures=failures, error=reason)
            except Exception:
                failures += 1
                _log.exception("link.failed", node=node.id)
            await asyncio.sleep(self._wait_s(node, failures))

    def _wait_s(self, node: Node, failures: int) -> float:
        linked_at = self._linked_at.get(node.id)
        is_known = linked_at is not None and asyncio.get_running_loop().time() - linked_at < limits.DIAL_KNOWN_S
        longest_s = limits.DIAL_LONGEST_S
        if is_known:
            away = len(self._diallers) - len(self._links)
            longest_s = min(longest_s, max(limits.DIAL_KNOWN_LONGEST_S, away * limits.DIAL_STAGGER_S))
        return dial_wait_s(failures, self._dial_first_s, self._jitter(), longest_s)

    async def _link_once(self, node: Node) -> None:
        connection = await connect(
            node.url,
            ssl=self._tls,
            subprotocols=[Subprotocol(link_envelope.SUBPROTOCOL)],
            compression=None,
            max_size=link_envelope.MESSAGE_MAX_BYTES,
            max_queue=64,
            open_timeout=limits.DIAL_TIMEOUT_S,
            ping_interval=limits.LINK_PING_S,
            ping_timeout=limits.LINK_PING_S,
            close_timeout=2,
            create_connection=PacedClientConnection,
            user_agent_header=None,
            proxy=None,
        )
        assert isinstance(connection, PacedClientConnection)
        connection.turns = self._turns
        one = Link(connection, node, self._answers)
        try:
            if not is_pinned(connection.transport.get_extra_info("ssl_object"), [node.fingerprint]):
                raise NotTheNode(node.id)
            if connection.subprotocol != link_envelope.SUBPROTOCOL:
                raise ProtocolError(f"the node does not speak {link_envelope.SUBPROTOCOL}")
            self._links[node.id] = one
            _log.info("link.dialled", node=node.id, url=node.url)
            await one.run(self._admitted)
            _log.info("link.ended", node=node.id, code=connection.close_code, reason=connection.close_reason)
        except ProtocolError as error:
            _log.error("link.violation", node=node.id, reason=error.reason)
            await connection.close(CLOSE_PROTOCOL_VIOLATION, error.reason)
        finally:
            if self._links.get(node.id) is one:  # not of a dialler that has followed this one
                del self._links[node.id]
            self._note_linked(one)
            await connection.close(CLOSE_NORMAL)

    # --- Telling ---

    def _admitted(self, one: Link) -> None:
        """The node is told what it missed since it was last linked; if that is not known, all that is refused now."""
        _log.info("link.admitted", node=one.node.id, policy_version=one.policy_version)
        linked_at = self._linked_at.get(one.node.id)
        told = None if linked_at is None else self._seen_at(linked_at - limits.TOLD_AGAIN_S)
        self._tell_soon(one, self._catch_up(one, told))

    async def _catch_up(self, one: Link, told: int | None) -> None:
        if told is None:
            revoke = await self._answers.store.read(refused_now)
        else:
            revoke = await self._answers.store.read(lambda facts: revoked_since(facts, told))
        for part in revoke.parts():
            if not await one.tell(link.TOPIC_REVOKE, part.to_params()):
                return
        one.is_caught_up = True
        self._note_linked(one)

    def _note_linked(self, one: Link) -> None:
        """Only of a link that has caught up: what could not be told over the others is told over the next."""
        if one.is_caught_up:
            self._linked_at[one.node.id] = asyncio.get_running_loop().time()

    def _saw(self, line: int) -> None:
        if not self._seen or self._seen[-1][1] != line:
            self._seen.append((asyncio.get_running_loop().time(), line))

    def _seen_at(self, moment: float) -> int | None:
        """The line that had been seen by then; None when that is longer ago than is remembered."""
        return next((line for at, line in reversed(self._seen) if at <= moment), None)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.notice_changes()
            except Exception:
                _log.exception("links.watch_failed")

    async def notice_changes(self) -> None:
        """Reads what changed since the last time and tells every node."""
        seen = self._seen[-1][1]
        changes = await self._answers.store.read(lambda facts: facts.changes(seen))
        if changes:
            revoke = await self._answers.store.read(lambda facts: revocation(facts, changes))
            if revoke.account_ids or revoke.miner_ids:
                self._answers.credentials.forget()
                _log.info("links.revoke", accounts=len(revoke.account_ids), miners=len(revoke.miner_ids))
                for part in revoke.parts():
                    self._tell_all(link.TOPIC_REVOKE, part.to_params())
            if any(change.action == NODES_CHANGED for change in changes):
                await self._dial_registered()
            self._saw(changes[-1].id)  # last: what failed before is read and told again
        for one in self._links.values():
            self._note_linked(one)
        await self._tell_policy()

    async def _tell_policy(self) -> None:
        """By version, not by change: a node that said hello with the older one just before the change is not missed."""
        if not any(one.is_admitted for one in self._links.values()):
            return
        policy = await self._answers.store.read(lambda facts: facts.policy())
        for one in self._links.values():
            if policy is not None and one.is_admitted and one.policy_version < policy.version:
                one.policy_version = policy.version
                self._tell_soon(one, one.tell(link.TOPIC_POLICY, policy.to_params()))

    def _tell_all(self, topic: str, params: dict[str, object]) -> None:
        for one in self._links.values():
            if one.is_admitted:
                self._tell_soon(one, one.tell(topic, params))

    def _tell_soon(self, one: Link, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(self._told(one, work))
        self._tells.add(task)
        task.add_done_callback(self._tells.discard)

    async def _told(self, one: Link, work: Coroutine[Any, Any, object]) -> None:
        """A node that could not be told is dialled again: after its hello it is told anew."""
        try:
            await work
        except Exception:
            _log.exception("link.not_told", node=one.node.id)
            await one.close(CLOSE_FAILED, "Central could not say what changed")


def dial_wait_s(failures: int, first_s: float, jitter: float, longest_s: float = limits.DIAL_LONGEST_S) -> float:
    """Seconds before the next dial after so many failures in a row; `jitter` is from 0 to 1. The first ones are
    quick, so that a node that restarts is found as soon as it listens."""
    backoff = Backoff(round(first_s * 1000), round(longest_s * 1000))
    return backoff.wait_ms(max(1, failures - limits.DIAL_QUICK + 1), jitter) / 1000


def revocation(facts: Facts, changes: Iterable[Change]) -> link.Revoke:
    """Whose sessions and tunnels end by these changes. Reinstating ends some too: whoever comes again is let in."""
    accounts, miners = set(), set()
    for change in changes:
        if change.action == ACCOUNT_CHANGED:
            accounts.add(change.subject)
        elif change.action == MINER_CHANGED:
            miners.add(change.subject)
        elif change.action == KEY_REVOKED and (key := facts.key(change.subject)) is not None:
            accounts.add(key.account_id)
    return link.Revoke(tuple(sorted(accounts)), tuple(sorted(miners)))


def revoked_since(facts: Facts, told: int) -> link.Revoke:
    """All that was revoked behind that line of the audit log."""
    changes: list[Change] = []
    while more := facts.changes(changes[-1].id if changes else told):
        changes += more
    return revocation(facts, changes)


def refused_now(facts: Facts) -> link.Revoke:
    """Everyone who would be refused now, and who had a key revoked within the longest life of a session."""
    since_ns = time.time_ns() - limits.SESSION_LIFE_MAX_S * 1_000_000_000
    return link.Revoke(*facts.refused(since_ns))
