"""Carries attempts (M-5): a stream of the tunnel becomes a request to a DService, its answer goes back, metered.

Each attempt is one task. It ends in exactly one way: DONE with the statement, FAIL with a code, or silently when the
node cancelled it or the tunnel is gone; in every case the DService's connection is released or closed and the slot
given back.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from cgn_sdk.dservice.estimates import ASK_MAX_BYTES, Estimate, estimate_of
from cgn_sdk.dservice.estimates import PATH as ESTIMATE_PATH
from cgn_sdk.dservice.estimates import Work as EstimatedWork
from cgn_sdk.dservice.problems import Problem as EstimateProblem
from cgn_sdk.protocol.limits import BODY_MAX_BYTES, MESSAGE_INTEGER_MAX, PROGRESS_MS
from cgn_sdk.protocol.messages import Done, Fail, Head, Open, Progress, Statement, one_line
from cgn_sdk.protocol.tunnel import Cancelled, DataReceived, Event, Opened
from cgn_sdk.tunnel_io import BodyReader, StreamGone, TunnelLink

from cgn_chassis import logs
from miner_client import limits
from miner_client.core.exchange import HOP_FAILURES, BadAnswer, request_headers, response_head
from miner_client.core.meter import Use
from miner_client.core.slots import Slots
from miner_client.dservice import DService, Using
from miner_client.hop import Hop, HopFailed, HopResponse

_log = logs.get("miner.work")
_ESTIMATE_HEADERS = [(b"content-type", b"application/json")]
_NO_CONTENT = frozenset(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"])


@dataclass(slots=True)
class _Attempt:
    task: asyncio.Task[Fail | None]
    body: BodyReader | None
    using: Using
    deadline_ns: int
    progress_ns: int
    """When its next sign of life is due."""
    is_overdue: bool = False
    has_slot: bool = True


class _Answered(NamedTuple):
    """An answer that was passed on."""

    status: int
    metadata: dict[str, str]
    digest: str
    size: int


class Work:
    """The attempts of one tunnel."""

    def __init__(self, link: TunnelLink, miner_id: str, dservices: Mapping[str, DService], slots: Slots) -> None:
        self._link = link
        self._miner_id = miner_id
        self._dservices = dservices
        self._slots = slots
        self._attempts: dict[int, _Attempt] = {}
        self._unacknowledged: list[int] = []
        self.on_idle: Callable[[], None] = lambda: None

    @property
    def in_flight(self) -> int:
        return len(self._attempts)

    def on_event(self, event: Event) -> None:
        """Opened, DataReceived and Cancelled; other events are not this one's."""
        if type(event) is Opened:
            self._on_opened(event)
        elif type(event) is DataReceived:
            attempt = self._attempts.get(event.stream)
            if attempt is not None and attempt.body is not None:
                attempt.body.feed(event.data, event.end)
            else:  # its attempt has ended here while the stream has not: cannot be read any more
                self._link.tunnel.consumed(event.stream, len(event.data))
        elif type(event) is Cancelled:
            attempt = self._attempts.get(event.stream)
            if attempt is not None:
                self._give_back(attempt)  # now: the node's next OPEN may stand in the same message
                attempt.task.cancel()

    def _give_back(self, attempt: _Attempt) -> None:
        if attempt.has_slot:
            attempt.has_slot = False
            self._slots.give_back()

    def sweep(self, now_ns: int) -> None:
        """Ends attempts whose deadline has passed; says of the others that they are worked on, and what they use."""
        for stream, attempt in self._attempts.items():
            if now_ns > attempt.deadline_ns and not attempt.is_overdue:
                attempt.is_overdue = True
                attempt.task.cancel()
            elif now_ns > attempt.progress_ns:
                attempt.progress_ns = now_ns + PROGRESS_MS * 1_000_000
                self._link.tunnel.acknowledge(stream)
                self._say_used(stream, attempt.using.so_far())
        if self._link.tunnel.has_data_to_send:
            self._link.flush()

    def _say_used(self, stream: int, used: Use) -> None:
        self._link.tunnel.progress(stream, Progress(cpu_ns=used.cpu_ns, memory_byte_seconds=used.memory_byte_seconds))

    async def close(self) -> None:
        """Ends all attempts: the tunnel is gone."""
        tasks = [attempt.task for attempt in self._attempts.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- One attempt ---

    def _on_opened(self, event: Opened) -> None:
        stream, message = event.stream, event.message
        tunnel = self._link.tunnel
        dservice = self._dservices.get(message.dservice)
        if dservice is None:
            tunnel.fail(stream, Fail("dservice_unavailable", f"{message.dservice} is not enabled on this miner"))
            return
        if message.method == "CONNECT":  # a tunnel through the DService: nothing in the answer would end it
            tunnel.fail(stream, Fail("method_not_allowed", "a DService is no proxy: CONNECT is not passed on"))
            return
        if not self._slots.take():
            tunnel.fail(stream, Fail("no_slot", f"{self._slots.offered} slots"))
            return
        self._acknowledge_soon(stream)
        body = None if event.end else BodyReader(self._link, stream)
        using, now_ns = dservice.begin_use(), time.monotonic_ns()
        task = asyncio.get_running_loop().create_task(self._attempt(stream, message, dservice, body, using))
        task.add_done_callback(partial(self._ended, stream, message.request_id))
        deadline_ns = now_ns + message.deadline_ms * 1_000_000
        self._attempts[stream] = _Attempt(task, body, using, deadline_ns, now_ns + PROGRESS_MS * 1_000_000)

    def _acknowledge_soon(self, stream: int) -> None:
        if not self._unacknowledged:
            delay_s = limits.ACKNOWLEDGE_AFTER_MS / 1000
            asyncio.get_running_loop().call_later(delay_s, self._acknowledge)
        self._unacknowledged.append(stream)

    def _acknowledge(self) -> None:
        """Those whose answer has begun meanwhile, or which have ended, are so already."""
        for stream in self._unacknowledged:
            self._link.tunnel.acknowledge(stream)
        self._unacknowledged.clear()
        if self._link.tunnel.has_data_to_send:
            self._link.flush()

    async def _attempt(
        self, stream: int, message: Open, dservice: DService, body: BodyReader | None, using: Using
    ) -> Fail | None:
        """How it failed, if it did and the node has to be told."""
        try:
            return await self._carry(stream, message, dservice, body, using)
        except HopFailed as error:
            return Fail(HOP_FAILURES.get(error.code, "internal"), one_line(error.detail))
        except BadAnswer as error:
            return Fail("dservice_protocol", one_line(error.detail), error.rule)
        except StreamGone:
            return None  # nobody waits for the answer
        except Exception:
            _log.exception("attempt.failed", request_id=message.request_id)
            return Fail("internal", "an error of the miner")

    def _ended(self, stream: int, request_id: str, task: asyncio.Task[Fail | None]) -> None:
        """Gives back what the attempt held. Not the task's own doing: one that is cancelled before its first step, by a
        CANCEL that came with its OPEN, never runs."""
        attempt = self._attempts.pop(stream)
        attempt.using.end()
        self._give_back(attempt)
        if not task.cancelled():
            failure = task.result()
        else:
            failure = Fail("dservice_timeout", "the deadline passed") if attempt.is_overdue else None
        if failure is not None and not self._link.is_closed:
            _log.info("attempt.fail", request_id=request_id, code=failure.code, detail=failure.detail)
            self._link.tunnel.fail(stream, failure)
        self._link.flush(at_once=not self._attempts)
        if not self._attempts:
            self.on_idle()

    async def _carry(
        self, stream: int, message: Open, dservice: DService, body: BodyReader | None, using: Using
    ) -> Fail | None:
        """Request, answer, statement. Returns a failure that is known without an exception; meters to the end
        otherwise."""
        content: bytes | AsyncIterator[bytes] | None = body
        if body is None:
            content = None if message.method in _NO_CONTENT else b""
        elif body.is_whole:
            content = await body.read()
        if message.cpu_budget_ns is not None and dservice.has_estimator:
            estimate = await self._estimate(message, dservice)
            if estimate is not None and estimate.least_cpu_ns > message.cpu_budget_ns:
                detail = f"estimated at {estimate.cpu_ns} ns of CPU time, {message.cpu_budget_ns} are paid for"
                return Fail("price_cap", detail, estimate_cpu_ns=min(estimate.cpu_ns, MESSAGE_INTEGER_MAX))
        answered = await self._answer(stream, message, dservice, content)
        if answered is None:
            return Fail("dservice_unavailable", one_line(dservice.last_problem))
        use = using.end()
        statement = Statement(
            request_id=message.request_id,
            attempt=message.attempt,
            miner_id=self._miner_id,
            dservice=dservice.settings.name,
            dservice_version=dservice.settings.version,
            status=answered.status,
            response_sha256=answered.digest,
            response_bytes=answered.size,
            request_bytes=body.received_bytes if body is not None else 0,
            cpu_ns=use.cpu_ns,
            memory_byte_seconds=use.memory_byte_seconds,
            wall_ns=use.wall_ns,
        )
        self._link.tunnel.done(stream, Done(statement, answered.metadata))
        return None

    async def _answer(
        self, stream: int, message: Open, dservice: DService, content: bytes | AsyncIterator[bytes] | None
    ) -> _Answered | None:
        """The DService's answer, passed on to the node; None when it does not become ready in time."""
        asked = await self._request(message, dservice, content)
        if asked is None:
            return None
        hop, response = asked
        try:
            head, metadata = response_head(response.status, response.headers, response.body_bytes)
            digest, size = await self._pass_on(stream, response, head)
        except HopFailed as error:
            await self._judge(dservice, hop, error)
            raise
        except BaseException:
            response.abort()
            raise
        return _Answered(response.status, metadata, digest, size)

    @staticmethod
    async def _judge(dservice: DService, hop: Hop, error: HopFailed) -> None:
        """A DService that has ended says nothing of the request, another miner may do it; one that goes on has broken
        off this answer, and would elsewhere: BadAnswer is raised for that."""
        if error.code == "closed" and await dservice.survived(hop):
            raise BadAnswer("cut_short", error.detail) from None

    async def _estimate(self, message: Open, dservice: DService) -> Estimate | None:
        """What the DService's estimator says of the work (N-22); None where it has none or cannot say in time: then the
        work itself shows."""
        if not (dservice.is_ready or await dservice.wait_ready(limits.READY_WAIT_MS / 1000)):
            return None
        work = EstimatedWork(message.method, message.target, dict(message.headers), message.body_bytes or 0)
        asked = json.dumps(work.document()).encode()
        hop = dservice.hop
        try:
            async with asyncio.timeout(limits.ESTIMATE_WAIT_MS / 1000):
                response = await hop.request("POST", ESTIMATE_PATH, _ESTIMATE_HEADERS, asked)
                try:
                    answer = await response.whole(ASK_MAX_BYTES)
                except BaseException:
                    response.abort()
                    raise
            if response.status == 404:
                dservice.note_no_estimator(hop)
            return estimate_of(answer) if response.status == 200 else None
        except (HopFailed, TimeoutError, EstimateProblem):
            return None

    async def _request(
        self, message: Open, dservice: DService, content: bytes | AsyncIterator[bytes] | None
    ) -> tuple[Hop, HopResponse] | None:
        """The DService's answer, waiting for it to be ready; None when it does not become ready in time. One that
        cannot be reached has seen nothing of the request, so it is asked again once it is back."""
        headers = request_headers(message.headers, message.request_id, message.deadline_ms)
        while dservice.is_ready or await dservice.wait_ready(limits.READY_WAIT_MS / 1000):
            hop = dservice.hop
            try:
                return hop, await hop.request(message.method, message.target, headers, content, message.body_bytes)
            except HopFailed as error:
                if error.code != "unreachable":
                    await self._judge(dservice, hop, error)
                    raise
                dservice.report_broken(hop)
        return None

    async def _pass_on(self, stream: int, response: HopResponse, head: Head) -> tuple[str, int]:
        """Head and body to the node, with back-pressure, and what the work has used by then: before the second piece,
        which a short answer does not have, and with each PROGRESS_BYTES. Whoever leaves in the middle pays for that.
        Returns the body's SHA-256 and size."""
        tunnel = self._link.tunnel
        hash_, size, say_at = sha256(), 0, 1
        tunnel.acknowledge(stream)
        if not response.has_content:
            async for _ in response.chunks():
                pass
            tunnel.head(stream, head, end=True)
            return hash_.hexdigest(), 0
        tunnel.head(stream, head)
        async for chunk in response.chunks():
            if size >= say_at and (attempt := self._attempts.get(stream)) is not None:
                say_at = size + limits.PROGRESS_BYTES
                self._say_used(stream, attempt.using.now())
            hash_.update(chunk)
            size += len(chunk)
            if size > BODY_MAX_BYTES:
                raise BadAnswer("content_too_large", f"more than {BODY_MAX_BYTES} bytes")
            if len(chunk) <= tunnel.writable(stream):
                tunnel.data(stream, chunk)
                self._link.flush()
            else:
                await self._link.send_data(stream, chunk)
        if not tunnel.is_open(stream):
            raise StreamGone(f"stream {stream} has ended")
        tunnel.data(stream, b"", end=True)
        return hash_.hexdigest(), size
