"""One try of a work request on one miner: what the miner is sent, what it says, and what the broker hears of that.

An attempt is on record while its request names it (`request.attempt is self`). Off the record nothing that its miner
says changes anything, except that the bytes it still sends are given back as credit.
"""

import asyncio
import time
from functools import partial
from typing import Protocol

from cgn_sdk.protocol.canonical import CanonicalText
from cgn_sdk.protocol.http_fields import HOP_BY_HOP, NO_CONTENT_STATUSES, named_by_connection
from cgn_sdk.protocol.limits import DEADLINE_MAX_MS, MESSAGE_INTEGER_MAX
from cgn_sdk.protocol.messages import Done, Fail, Head, Open, Progress, Statement

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.bodies import BadResponse, RequestBody, ResponseBody
from cgn_node.core import events
from cgn_node.core.pricing import Measured, Usage
from cgn_node.disk_reads import DiskReads
from cgn_node.driver import Driver
from cgn_node.http1 import is_header
from cgn_node.http_server import Exchange
from cgn_node.miner_endpoint import MinerTunnel
from cgn_node.work_order import WorkOrder

_log = logs.get("work")

NODE_FIELDS = HOP_BY_HOP | {"content-length", "date", "server-timing"}
"""Response headers that are the node's own or speak about one connection; all `CGN-` ones are too."""


class AttemptOwner(Protocol):
    """What an attempt asks of its request (`work_request.WorkRequest`)."""

    order: WorkOrder
    exchange: Exchange
    body: RequestBody
    response: ResponseBody
    attempt: "Attempt | None"
    fault: str

    def break_off(self) -> None: ...
    def disk_failed(self, error: OSError) -> None: ...
    def acknowledged(self) -> None: ...


class Attempt:
    """See the module; what the tunnel tells is `miner_endpoint.AttemptSink`."""

    __slots__ = (
        "_disk",
        "_driver",
        "_is_reading",
        "begun_ns",
        "done_message",
        "end_sent",
        "ended_ns",
        "number",
        "owed_bytes",
        "received_bytes",
        "request",
        "said",
        "seal",
        "sent_bytes",
        "stream",
        "tunnel",
        "waiting",
    )

    def __init__(
        self, request: AttemptOwner, number: int, tunnel: MinerTunnel, driver: Driver, disk: DiskReads, begun_ns: int
    ) -> None:
        self.request = request
        self.number = number
        self.tunnel = tunnel
        self.begun_ns = begun_ns
        self.ended_ns = 0
        self.stream = 0
        self.sent_bytes = 0
        self.end_sent = False
        self.received_bytes = 0
        self.owed_bytes = 0
        """Received and passed on to a reader that lags: credit that the miner gets back later."""
        self.waiting = bytearray()
        """Short pieces of a passing answer that came in this turn of the loop: they leave together at its end."""
        self.said = Progress()
        """What the miner last said it had used."""
        self.done_message: Done | None = None
        self.seal: CanonicalText | None = None
        """Where its statement stands in what the miner signed, as the row holds it."""
        self._driver = driver
        self._disk = disk
        self._is_reading = False

    @property
    def request_id(self) -> str:
        return self.request.order.id

    @property
    def is_live(self) -> bool:
        return self.request.attempt is self

    def open(self, cpu_budget_ns: int | None, left_ms: int) -> bool:
        """Sends it to the miner. False: the tunnel takes no more; nothing was sent. A budget that is no JSON integer,
        of more than a hundred days, is no bound of anything."""
        order, body = self.request.order, self.request.body
        message = Open(
            request_id=order.id,
            attempt=self.number,
            dservice=order.dservice.name,
            method=order.method,
            target=order.target,
            headers=tuple(order.headers),
            deadline_ms=left_ms,
            body_bytes=body.length if body.ended else self.request.exchange.head.body_bytes,
            cpu_budget_ns=None if cpu_budget_ns is None or cpu_budget_ns > MESSAGE_INTEGER_MAX else cpu_budget_ns,
        )
        is_empty = body.ended and not body.length
        stream = self.tunnel.open(message, self, is_empty=is_empty)
        if stream is None:
            return False
        self.stream = stream
        self.end_sent = is_empty
        return True

    def pump(self) -> None:
        """Sends as much of the request's body as the stream takes. A body that cannot be read ends its own request."""
        try:
            self._pump()
        except Exception:
            _log.exception("request.pump_failed", request_id=self.request_id)
            self.request.break_off()

    def _pump(self) -> None:
        if self.end_sent or self._is_reading or not self.is_live:
            return
        body, tunnel, stream = self.request.body, self.tunnel, self.stream
        while (room := tunnel.room(stream)) and self.sent_bytes < body.length:
            size = min(room, limits.PUMP_BYTES)
            if not body.is_here:
                self._is_reading = True
                self._disk.read(partial(body.read, self.sent_bytes, size), self._on_read)
                return
            self._send(body.read(self.sent_bytes, size))
        self._pumped()

    def _on_read(self, data: bytes, problem: Exception | None) -> None:
        """More of the body is here, or the disk has failed."""
        self._is_reading = False
        if not self.is_live:
            return
        if problem is not None:
            _log.error("request.body_lost", request_id=self.request_id, problem=repr(problem))
            self.request.break_off()
            return
        if self.tunnel.is_open(self.stream):
            self._send(data)
            self.tunnel.flush()
        self.pump()

    def _send(self, data: bytes) -> None:
        body = self.request.body
        self.sent_bytes += len(data)
        self.end_sent = body.ended and self.sent_bytes == body.length
        self.tunnel.send(self.stream, data, end=self.end_sent)

    def _pumped(self) -> None:
        """All that the stream takes now is in it."""
        body, tunnel, stream = self.request.body, self.tunnel, self.stream
        if body.ended and self.sent_bytes == body.length and not self.end_sent and tunnel.is_open(stream):
            self.end_sent = True
            tunnel.send(stream, b"", end=True)
        tunnel.flush()
        if not body.ended and body.length - self.sent_bytes <= limits.REQUEST_AHEAD_BYTES // 2:
            self.request.exchange.resume_body()

    def give_owed_credit(self) -> None:
        """The DApp has read on."""
        if self.owed_bytes:
            owed, self.owed_bytes = self.owed_bytes, 0
            self.tunnel.consumed(self.stream, owed)
            self.tunnel.flush()

    def used(self, response_bytes: int) -> tuple[Usage, Measured]:
        """What an attempt without a statement has used, as far as miner and node know."""
        wall_ns = self._wall_ns(self.ended_ns or time.monotonic_ns())
        claimed = Usage(
            cpu_ns=self.said.cpu_ns,
            memory_byte_seconds=self.said.memory_byte_seconds,
            wall_ns=wall_ns,
            request_bytes=self.sent_bytes,
            response_bytes=response_bytes,
        )
        return claimed, Measured(wall_ns, self.sent_bytes, self.received_bytes)

    @property
    def measured(self) -> Measured:
        """What the node has seen of it, after its end."""
        return Measured(self._wall_ns(self.ended_ns), self.sent_bytes, self.received_bytes)

    def _wall_ns(self, until_ns: int) -> int:
        """Nothing is billed beyond the longest deadline, though this process may have been stopped for days."""
        return min(until_ns - self.begun_ns, DEADLINE_MAX_MS * 1_000_000)

    # --- what the miner says (miner_endpoint.AttemptSink) -------------------------------------------------------------

    def acknowledged(self) -> None:
        if self.request.attempt is self:
            self.request.acknowledged()
            self._driver.post(events.Acknowledged(self.request_id, self.number, self.tunnel.miner_id))

    def writable(self) -> None:
        if self.request.attempt is self:
            self.pump()

    def head(self, head: Head) -> None:
        if self.request.attempt is not self:
            return
        headers = []
        dropped = NODE_FIELDS | named_by_connection(
            value for name, value in head.headers if name.lower() == "connection"
        )
        for pair in head.headers:
            name = pair[0].lower()
            if name not in dropped and not name.startswith("cgn-"):
                headers.append(pair)
        try:
            if not all(is_header(name, value) for name, value in headers):
                raise BadResponse("a header that is none")
            self.request.response.head(head.status, headers, head.body_bytes)
        except BadResponse:
            self._end_as_bad()

    def data(self, data: bytes) -> None:
        if self.request.attempt is not self:
            self.tunnel.consumed(self.stream, len(data))
            return
        self.received_bytes += len(data)
        waiting = self.waiting
        if not waiting and (not self.request.response.passed or len(data) >= limits.PASSED_AT_ONCE_BYTES):
            self._take(data)
            return
        if not waiting:
            asyncio.get_running_loop().call_soon(self._take_due)
        waiting += data
        if len(waiting) >= limits.HELD_PIECE_BYTES:
            self._take_waiting()

    def _take_due(self) -> None:
        try:
            self._take_waiting()
        except Exception:
            _log.exception("request.take_failed", request_id=self.request_id)
            self.request.break_off()

    def _take_waiting(self) -> None:
        if self.waiting:
            data = bytes(self.waiting)
            self.waiting.clear()
            self._take(data)

    def _take(self, data: bytes) -> None:
        """More of the answer: held, or passed on to the DApp."""
        request = self.request
        if request.attempt is not self:
            self.tunnel.consumed(self.stream, len(data))
            return
        response, exchange = request.response, request.exchange
        if request.order.max_fee_nano_eur is not None:
            self._post_used()  # the price first, then what it is paid for
            if request.attempt is not self:
                return
        try:
            if self.received_bytes > limits.BODY_MAX_BYTES:
                raise BadResponse(f"a response of more than {limits.BODY_MAX_BYTES} bytes")
            if response.status in NO_CONTENT_STATUSES or request.order.method == "HEAD":
                raise BadResponse("content where nobody can get it")
            passing = response.data(data)
        except BadResponse:
            self._end_as_bad()
            return
        except OSError as error:
            request.disk_failed(error)
            return
        if not passing:
            self.tunnel.consumed(self.stream, len(data))
            return
        if not exchange.started:
            headers = [*response.headers, ("CGN-Request-Id", self.request_id)]
            exchange.start(response.status, headers, response.body_bytes)
            self._driver.post(events.ResponsePassedOn(self.request_id, self.number, self.tunnel.miner_id))
        is_writable = True
        for piece in passing:  # in memory, or read from disk when it is its turn
            is_writable = exchange.write(piece)
        if is_writable:
            self.tunnel.consumed(self.stream, len(data) + self.owed_bytes)
            self.owed_bytes = 0
        else:
            self.owed_bytes += len(data)

    def progressed(self, progress: Progress) -> None:
        if self.request.attempt is self:
            self.said = progress
            self._post_used()

    def _post_used(self) -> None:
        used = self.used(self.received_bytes)
        self._driver.post(events.Progressed(self.request_id, self.number, self.tunnel.miner_id, *used))

    def done(self, done: Done) -> str:
        """The response is whole; it counts when its seal has been checked. Returns what is wrong with the statement."""
        self._take_waiting()
        if self.request.attempt is not self:
            return ""
        self.ended_ns = time.monotonic_ns()
        self.done_message = done
        try:
            digest, length = self.request.response.whole()
        except BadResponse as error:
            return str(error)
        return self._statement_problem(done.statement, digest, length)

    def _statement_problem(self, said: Statement, digest: str, length: int) -> str:
        order = self.request.order
        if said.request_id != order.id or said.attempt != self.number or said.miner_id != self.tunnel.miner_id:
            return "the statement is about another attempt"
        if said.dservice != order.dservice.name or said.dservice_version != order.dservice.version:
            return "the statement is about another DService"
        if said.status != self.request.response.status:
            return "the statement has another status than the response"
        if said.response_sha256 != digest or said.response_bytes != length:
            return "the statement is about other bytes than the response"
        return ""

    def sealed(self, seal: CanonicalText) -> None:
        """The miner's signature over the statement holds: the attempt is finished."""
        if self.request.attempt is not self or self.done_message is None:
            return
        self.seal = seal
        said = self.done_message.statement
        claimed = Usage(
            cpu_ns=said.cpu_ns,
            memory_byte_seconds=said.memory_byte_seconds,
            wall_ns=said.wall_ns,
            gpu_ns=said.gpu_ns,
            request_bytes=said.request_bytes,
            response_bytes=said.response_bytes,
        )
        miner = self.tunnel.miner_id
        self._driver.post(events.AttemptFinished(self.request_id, self.number, miner, claimed, self.measured))

    def failed(self, fail: Fail) -> None:
        """The miner gave up, or its result is bad."""
        if self.request.attempt is not self:
            return
        self.request.fault = fail.rule or self.request.fault
        estimate = None if fail.estimate_cpu_ns is None else Usage(cpu_ns=fail.estimate_cpu_ns)
        miner = self.tunnel.miner_id
        self._driver.post(events.AttemptFailed(self.request_id, self.number, miner, fail.code, estimate))

    def lost(self) -> None:
        """The tunnel is gone, and the broker hears of that as a whole."""
        if self.request.attempt is self:
            self.request.attempt = None

    def break_off(self) -> None:
        """A step that the miner's message began has raised."""
        self.request.break_off()

    def _end_as_bad(self) -> None:
        self.tunnel.cancel(self.stream, "bad_gateway")
        self.failed(Fail("bad_gateway"))
