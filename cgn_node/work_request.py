"""One work request on its way between DApp, miner and ledger: what the driver's commands mean for bytes and sockets.

It takes the DApp's body, feeds it to the attempt on record, holds the response back, and lets go when the row is
durable. It decides nothing about miners: it reports events and does what the broker says.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from cgn_sdk.protocol.canonical import CanonicalText
from cgn_sdk.protocol.errors import ANSWER_RULES, Problem
from cgn_sdk.protocol.http_fields import HOP_BY_HOP, NO_CONTENT_STATUSES, named_by_connection
from cgn_sdk.protocol.link import DServicePolicy
from cgn_sdk.protocol.messages import Done, Fail, Head, Progress, Statement
from cgn_sdk.protocol.row import fee_nano_cpu

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.bodies import BadResponse, HeldMemory, Piece, RequestBody, ResponseBody
from cgn_node.core import commands, events
from cgn_node.core.pricing import Measured, Usage
from cgn_node.disk_reads import DiskReads
from cgn_node.driver import Driver
from cgn_node.http1 import Headers, is_header
from cgn_node.http_server import Exchange
from cgn_node.policy import PolicyView
from cgn_node.sessions import Session

if TYPE_CHECKING:
    from cgn_node.miner_endpoint import MinerTunnel

_log = logs.get("work")

NODE_FIELDS = HOP_BY_HOP | {"content-length", "date", "server-timing"}
"""Response headers that are the node's own or speak about one connection; all `CGN-` ones are too."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One try of the request on one miner. Off the record (`request.attempt is not it`) its reports change nothing."""

    request: "WorkRequest"
    number: int
    tunnel: "MinerTunnel"
    stream: int
    begun_ns: int
    sent_bytes: int = 0
    end_sent: bool = False
    received_bytes: int = 0
    owed_bytes: int = 0
    """Received and passed on to a reader that lags: credit that the miner gets back later."""
    waiting: bytearray = field(default_factory=bytearray)
    """Short pieces of a passing answer that came in this turn of the loop: they leave together at its end."""
    ended_ns: int = 0
    progress: Progress | None = None
    """What the miner last said it had used."""
    done: Done | None = None
    seal: CanonicalText | None = None
    """Where its statement stands in what the miner signed, as the row holds it."""


@dataclass(slots=True)
class Times:
    """Monotonic ns; 0: not yet."""

    arrived: int
    first_assigned: int = 0
    assigned: int = 0
    acknowledged: int = 0
    finished: int = 0
    recorded: int = 0


class WorkRequest:
    """See the module. `recorder` makes the row durable and answers with an event; `finished` is told once, at the
    end."""

    __slots__ = (
        "_admit",
        "_disk",
        "_driver",
        "_finished",
        "_is_reading",
        "_over",
        "_recorder",
        "attempt",
        "attempts",
        "body",
        "custom",
        "deadline_ms",
        "dservice",
        "exchange",
        "fault",
        "headers",
        "id",
        "is_named",
        "latest",
        "max_fee_nano_eur",
        "outcome",
        "record_command",
        "refusal",
        "response",
        "result",
        "session",
        "state",
        "times",
        "view",
    )

    def __init__(
        self,
        id: str,
        exchange: Exchange,
        session: Session,
        view: PolicyView,
        dservice: DServicePolicy,
        *,
        headers: Headers,
        custom: dict[str, str],
        deadline_ms: int,
        max_fee_nano_eur: int | None,
        is_named: bool,
        body: RequestBody,
        held_bytes: int,
        held_memory: HeldMemory,
        driver: Driver,
        disk: DiskReads,
        admit: Callable[["WorkRequest"], None] | None,
        recorder: Callable[["WorkRequest"], None],
        finished: Callable[["WorkRequest"], None],
    ) -> None:
        self.id = id
        self.exchange = exchange
        self.session = session
        self.view = view
        self.dservice = dservice
        self.headers = headers
        self.custom = custom
        self.deadline_ms = deadline_ms
        """When the time is up, on the driver's clock."""
        self.max_fee_nano_eur = max_fee_nano_eur
        self.body = body
        self.response = ResponseBody(held_memory, held_bytes, is_bare=exchange.head.method == "HEAD")
        self.attempt: Attempt | None = None
        self.latest: Attempt | None = None
        """The attempt that was begun last, on the record or not: what is billed is always of this one."""
        self.attempts = 0
        self.fault = ""
        """Which of `errors.ANSWER_RULES` the DService's answer broke, as a miner said."""
        self.times = Times(time.monotonic_ns())
        self.record_command: commands.RecordRow | None = None
        self.is_named = is_named
        self.result: tuple[int, Headers, list[Piece]] | None = None
        """The whole answer, once it has left, for who may ask for it again."""
        self.refusal: Problem | None = None
        self.state = "waiting"
        """waiting, running, recording, done; refused, or gone when the DApp left."""
        self.outcome = ""
        """Code of the problem, for the log line."""
        self._admit = admit
        """Hands the request to the broker; None once it has been called, or where nothing is waited for."""
        self._driver = driver
        self._disk = disk
        self._is_reading = False
        self._recorder = recorder
        self._finished = finished
        self._over = False

    # --- the DApp's side (http_server.Taker) ------------------------------------------------------------------------

    def body_received(self, data: bytes) -> None:
        if self._over:
            return
        try:
            self.body.append(data)
        except OSError:
            self._broken(Problem("ledger_full", "This node's disk for bodies under way is full; come back later."))
            return
        if self._admit is not None and self.body.length > limits.REQUEST_MEMORY_BYTES:
            self.admit()
        if self.attempt is not None:
            self.pump()
        if self.body.length - self._sent() > self._ahead():
            self.exchange.pause_body()

    def body_ended(self) -> None:
        self.body.end()
        self.admit()
        if self.attempt is not None:
            self.pump()

    def admit(self) -> None:
        """The broker hears of the request: when its body is whole, or too long to wait for. Until then a slow upload
        takes no miner's slot."""
        admit, self._admit = self._admit, None
        if admit is not None and not self._over:
            admit(self)

    def peer_lost(self) -> None:
        """The DApp is gone (N-17), or what it sent was refused."""
        if not self._over:
            if self.state in ("waiting", "running"):
                self.state = "gone"
            self._give_up()

    def writable(self) -> None:
        attempt = self.attempt
        if attempt is not None and attempt.owed_bytes:
            owed, attempt.owed_bytes = attempt.owed_bytes, 0
            attempt.tunnel.consumed(attempt.stream, owed)

    def _sent(self) -> int:
        return self.attempt.sent_bytes if self.attempt is not None else 0

    def _ahead(self) -> int:
        """How much may be waiting here: little before there is a miner, so that a long queue costs little."""
        return limits.REQUEST_AHEAD_BYTES if self.attempt is not None else limits.REQUEST_MEMORY_BYTES

    def _broken(self, problem: Problem) -> None:
        """The request cannot go on for a reason of the DApp's own connection or this node's disk."""
        self.state, self.outcome = "refused", problem.code
        self.exchange.refuse(problem.status, problem.to_json(), [("CGN-Request-Id", self.id)])
        if not self._over:  # the refusal may have ended it already
            self._give_up()

    def break_off(self) -> None:
        """A step of this request has raised (a disk, a mistake of ours): it ends here, and says so. Nobody pays for it,
        but for what has left already."""
        if not self._over and self.state not in ("gone", "refused"):
            self._broken(Problem("internal", f"This node failed at this request; name {self.id} when you report it."))

    def _give_up(self) -> None:
        if self._admit is None:
            self._driver.post(events.ClientGone(self.id))
        else:
            self._admit = None
            self._driver.turn_away(commands.Refuse(self.id, "cancelled"))

    # --- the miner's side (miner_endpoint) --------------------------------------------------------------------------

    def pump(self) -> None:
        """Sends as much of the body as the attempt's stream takes. A body that cannot be read ends its own request."""
        try:
            self._pump()
        except Exception:
            _log.exception("request.pump_failed", request_id=self.id)
            self.break_off()

    def _pump(self) -> None:
        attempt = self.attempt
        if attempt is None or attempt.end_sent or self._is_reading:
            return
        body, tunnel, stream = self.body, attempt.tunnel.tunnel, attempt.stream
        while (room := tunnel.writable(stream)) and attempt.sent_bytes < body.length:
            size = min(room, limits.PUMP_BYTES)
            if not body.is_here:
                self._is_reading = True
                self._disk.read(partial(body.read, attempt.sent_bytes, size), partial(self._on_read, attempt))
                return
            self._send(attempt, body.read(attempt.sent_bytes, size))
        self._pumped(attempt)

    def _on_read(self, attempt: Attempt, data: bytes, problem: Exception | None) -> None:
        """More of the body is here, for the attempt that it was read for; or the disk has failed."""
        self._is_reading = False
        if self._over:
            return
        if problem is not None:
            _log.error("request.body_lost", request_id=self.id, problem=repr(problem))
            self.break_off()
            return
        if self.attempt is attempt and attempt.tunnel.tunnel.is_open(attempt.stream):
            self._send(attempt, data)
            attempt.tunnel.link.flush()
        self.pump()

    def _send(self, attempt: Attempt, data: bytes) -> None:
        attempt.sent_bytes += len(data)
        attempt.end_sent = self.body.ended and attempt.sent_bytes == self.body.length
        attempt.tunnel.tunnel.data(attempt.stream, data, end=attempt.end_sent)

    def _pumped(self, attempt: Attempt) -> None:
        """All that the stream takes now is in it."""
        body, tunnel, stream = self.body, attempt.tunnel.tunnel, attempt.stream
        if body.ended and attempt.sent_bytes == body.length and not attempt.end_sent and tunnel.is_open(stream):
            attempt.end_sent = True
            tunnel.data(stream, b"", end=True)
        attempt.tunnel.link.flush()
        if not body.ended and body.length - attempt.sent_bytes <= limits.REQUEST_AHEAD_BYTES // 2:
            self.exchange.resume_body()

    def on_acknowledged(self, attempt: Attempt) -> None:
        if self.attempt is attempt:
            self.times.acknowledged = time.monotonic_ns()
            self._driver.post(events.Acknowledged(self.id, attempt.number, attempt.tunnel.miner_id))

    def on_head(self, attempt: Attempt, head: Head) -> None:
        if self.attempt is not attempt:
            return
        headers = []
        dropped = NODE_FIELDS | named_by_connection(
            value for name, value in head.headers if name.lower() == "connection"
        )
        for pair in head.headers:
            name = pair[0].lower()
            if name not in dropped and not name.startswith("cgn-"):
                headers.append(pair)
        if not all(is_header(name, value) for name, value in headers):
            self._attempt_bad(attempt, "bad_gateway")
            return
        try:
            self.response.head(head.status, headers, head.body_bytes)
        except BadResponse:
            self._attempt_bad(attempt, "bad_gateway")
            return

    def on_data(self, attempt: Attempt, data: bytes) -> None:
        if self.attempt is not attempt:
            attempt.tunnel.tunnel.consumed(attempt.stream, len(data))
            return
        attempt.received_bytes += len(data)
        waiting = attempt.waiting
        if not waiting and (not self.response.passed or len(data) >= limits.PASSED_AT_ONCE_BYTES):
            self._take(attempt, data)
            return
        if not waiting:
            asyncio.get_running_loop().call_soon(self._take_due, attempt)
        waiting += data
        if len(waiting) >= limits.HELD_PIECE_BYTES:
            self._take_waiting(attempt)

    def _take_due(self, attempt: Attempt) -> None:
        try:
            self._take_waiting(attempt)
        except Exception:
            _log.exception("request.take_failed", request_id=self.id)
            self.break_off()

    def _take_waiting(self, attempt: Attempt) -> None:
        if attempt.waiting:
            data = bytes(attempt.waiting)
            attempt.waiting.clear()
            self._take(attempt, data)

    def _take(self, attempt: Attempt, data: bytes) -> None:
        """More of the answer: held, or passed on to the DApp."""
        if self.attempt is not attempt:
            attempt.tunnel.tunnel.consumed(attempt.stream, len(data))
            return
        response = self.response
        if self.max_fee_nano_eur is not None:
            self._post_used(attempt)  # the price first, then what it is paid for
            if self.attempt is not attempt:
                return
        try:
            if attempt.received_bytes > limits.BODY_MAX_BYTES:
                raise BadResponse(f"a response of more than {limits.BODY_MAX_BYTES} bytes")
            if response.status in NO_CONTENT_STATUSES or self.exchange.head.method == "HEAD":
                raise BadResponse("content where nobody can get it")
            passing = response.data(data)
        except BadResponse:
            self._attempt_bad(attempt, "bad_gateway")
            return
        if not passing:
            attempt.tunnel.tunnel.consumed(attempt.stream, len(data))
            return
        if not self.exchange.started:
            self.exchange.start(response.status, [*response.headers, ("CGN-Request-Id", self.id)], response.body_bytes)
            self._driver.post(events.ResponsePassedOn(self.id, attempt.number, attempt.tunnel.miner_id))
        is_writable = True
        for piece in passing:  # in memory, or read from disk when it is its turn
            is_writable = self.exchange.write(piece)
        if is_writable:
            attempt.tunnel.tunnel.consumed(attempt.stream, len(data) + attempt.owed_bytes)
            attempt.owed_bytes = 0
        else:
            attempt.owed_bytes += len(data)

    def on_progress(self, attempt: Attempt, progress: Progress) -> None:
        if self.attempt is attempt:
            attempt.progress = progress
            self._post_used(attempt)

    def _post_used(self, attempt: Attempt) -> None:
        used = self._used(attempt, attempt.received_bytes)
        self._driver.post(events.Progressed(self.id, attempt.number, attempt.tunnel.miner_id, *used))

    def _used(self, attempt: Attempt, response_bytes: int) -> tuple[Usage, Measured]:
        """What an attempt without a statement has used, as far as miner and node know."""
        said = attempt.progress or Progress()
        wall_ns = (attempt.ended_ns or time.monotonic_ns()) - attempt.begun_ns
        claimed = Usage(
            cpu_ns=said.cpu_ns,
            memory_byte_seconds=said.memory_byte_seconds,
            wall_ns=wall_ns,
            request_bytes=attempt.sent_bytes,
            response_bytes=response_bytes,
        )
        return claimed, Measured(wall_ns, attempt.sent_bytes, attempt.received_bytes)

    def on_done(self, attempt: Attempt, done: Done) -> str:
        """The response is whole; it counts when its seal has been checked. Returns what is wrong with the statement."""
        self._take_waiting(attempt)
        if self.attempt is not attempt:
            return ""
        attempt.ended_ns = time.monotonic_ns()
        attempt.done = done
        try:
            digest, length = self.response.whole()
        except BadResponse as error:
            return str(error)
        return self._statement_problem(attempt, done.statement, digest, length)

    def _statement_problem(self, attempt: Attempt, said: Statement, digest: str, length: int) -> str:
        if said.request_id != self.id or said.attempt != attempt.number or said.miner_id != attempt.tunnel.miner_id:
            return "the statement is about another attempt"
        if said.dservice != self.dservice.name or said.dservice_version != self.dservice.version:
            return "the statement is about another DService"
        if said.status != self.response.status:
            return "the statement has another status than the response"
        if said.response_sha256 != digest or said.response_bytes != length:
            return "the statement is about other bytes than the response"
        return ""

    def on_sealed(self, attempt: Attempt, seal: CanonicalText) -> None:
        """The miner's signature over the statement holds: the attempt is finished."""
        if self.attempt is not attempt or attempt.done is None:
            return
        attempt.seal = seal
        self.times.finished = attempt.ended_ns
        said = attempt.done.statement
        self._driver.post(
            events.AttemptFinished(
                self.id,
                attempt.number,
                attempt.tunnel.miner_id,
                Usage(
                    cpu_ns=said.cpu_ns,
                    memory_byte_seconds=said.memory_byte_seconds,
                    wall_ns=said.wall_ns,
                    gpu_ns=said.gpu_ns,
                    request_bytes=said.request_bytes,
                    response_bytes=said.response_bytes,
                ),
                Measured(
                    wall_ns=attempt.ended_ns - attempt.begun_ns,
                    request_bytes=attempt.sent_bytes,
                    response_bytes=attempt.received_bytes,
                ),
            )
        )

    def on_failed(self, attempt: Attempt, fail: Fail) -> None:
        """The miner gave up, or its result is bad."""
        if self.attempt is not attempt:
            return
        self.fault = fail.rule or self.fault
        estimate = None if fail.estimate_cpu_ns is None else Usage(cpu_ns=fail.estimate_cpu_ns)
        miner = attempt.tunnel.miner_id
        self._driver.post(events.AttemptFailed(self.id, attempt.number, miner, fail.code, estimate))

    def attempt_lost(self, attempt: Attempt) -> None:
        """The tunnel is gone, and the broker hears of that as a whole."""
        if self.attempt is attempt:
            self.attempt = None

    def _attempt_bad(self, attempt: Attempt, code: str) -> None:
        attempt.tunnel.cancel(attempt, code)
        self.on_failed(attempt, Fail(code))

    # --- the broker's side (driver.Request) -------------------------------------------------------------------------

    def assign(self, command: commands.Assign, tunnel: "MinerTunnel") -> None:
        self.response.attempt_begins()
        self.attempts = command.attempt
        self.state = "running"
        now = time.monotonic_ns()
        times = self.times
        times.assigned = now
        if not times.first_assigned:
            times.first_assigned = now
        opened: Attempt | None = None
        try:
            opened = tunnel.open(self, command, now)
        finally:
            self.attempt = opened
            self.latest = opened or Attempt(self, command.attempt, tunnel, 0, now)
        if opened is None:
            self._driver.post(events.AttemptFailed(self.id, command.attempt, tunnel.miner_id, "no_slot"))
        elif self.body.length or not self.body.ended:
            self.pump()

    def cancel_attempt(self, command: commands.CancelAttempt) -> None:
        current = self.attempt
        try:
            if current is not None and current.number == command.attempt:
                self.attempt = None
                current.tunnel.cancel(current, command.code)
        finally:  # who waits for the figures gets them, whatever becomes of the miner
            self._settle(command)

    def _settle(self, command: commands.CancelAttempt) -> None:
        latest = self.latest
        if command.settle:
            assert latest is not None
            assert latest.number == command.attempt
            latest.ended_ns = self.times.finished = time.monotonic_ns()
            # A cap pays for what the miner has sent; who leaves, and a deadline, for what the DApp has been given.
            passed = min(self.response.passed, latest.received_bytes)
            used = self._used(latest, latest.received_bytes if command.code == "price_cap" else passed)
            self._driver.post(events.AttemptCut(self.id, latest.number, command.miner, *used))

    def record(self, command: commands.RecordRow) -> None:
        self.state = "recording"
        self.record_command = command
        self._recorder(self)

    def release(self) -> None:
        """The row is durable: the answer may be completed. Whatever becomes of that, the request is over."""
        self.times.recorded = time.monotonic_ns()
        self.state = "done"
        try:
            self._complete()
        except Exception:
            _log.exception("request.answer_lost", request_id=self.id)
            if not self.exchange.started:
                where = f"it was charged, GET /requests/{self.id} says what"
                problem = Problem("internal", f"The work was done and its answer was lost in this node: {where}.")
                self.exchange.refuse(problem.status, problem.to_json(), [("CGN-Request-Id", self.id)])
        finally:
            self._end()

    def _complete(self) -> None:
        response, exchange = self.response, self.exchange
        if exchange.started:
            for piece in response.finish():
                exchange.write(piece)
            exchange.end()
        elif exchange.head.method == "HEAD":
            exchange.answer_head(response.status, [*response.headers, *self._cost_headers()], response.body_bytes)
        else:
            headers, pieces = [*response.headers, *self._cost_headers()], response.finish()
            exchange.answer(response.status, headers, pieces)
            if self.is_named:
                self.result = (response.status, headers, pieces)

    def refuse(self, command: commands.Refuse) -> None:
        """Over without the whole answer."""
        try:
            if self.state not in ("gone", "refused"):
                self._say_why(command)
        finally:
            self._end()

    def _say_why(self, command: commands.Refuse) -> None:
        self.state = "gone" if command.code == "cancelled" else "refused"
        self.outcome = command.code
        problem = self.refusal = refusal(command, self)
        headers = [("CGN-Request-Id", self.id)]
        if self._is_billed(command):
            self.times.recorded = time.monotonic_ns()
            headers = self._cost_headers()
        if command.retry_after_ms or problem.status in (429, 503):
            headers.append(("Retry-After", str(max(1, -(-command.retry_after_ms // 1000)))))
        self.exchange.refuse(problem.status, problem.to_json(), headers)

    def _is_billed(self, command: commands.Refuse) -> bool:
        return self.record_command is not None and command.code == self.record_command.ended

    def _end(self) -> None:
        """Called once, whatever happened before: what the request was counted under depends on it."""
        self._over = True
        self.attempt = None
        try:
            self.body.close()
        finally:
            self._finished(self)
            self.exchange.abort()  # if its answer is not complete by now, it never will be

    def _cost_headers(self) -> Headers:
        """N-25: what it cost and where the time went."""
        command, times = self.record_command, self.times
        assert command is not None
        work_ns = min(command.usage.wall_ns, times.finished - times.assigned)
        timing = (
            f"queue;dur={(times.first_assigned - times.arrived) // 1000 / 1000}, "
            f"match;dur={(times.assigned - times.first_assigned) // 1000 / 1000}, "
            f"network;dur={(times.finished - times.assigned - work_ns) // 1000 / 1000}, "
            f"work;dur={work_ns // 1000 / 1000}, record;dur={(times.recorded - times.finished) // 1000 / 1000}"
        )
        return [
            ("CGN-Request-Id", self.id),
            ("CGN-Fee-Nano-Eur", str(command.fee_nano_eur)),
            ("CGN-Fee-Nano-Cpu", str(self.fee_nano_cpu)),
            ("Server-Timing", timing),
        ]

    @property
    def fee_nano_cpu(self) -> int:
        assert self.record_command is not None
        rate = self.view.policy.exchange_rate_nano_eur_per_cpu
        fee: int = fee_nano_cpu(self.record_command.fee_nano_eur, rate)
        return fee


def refusal(command: commands.Refuse, request: WorkRequest) -> Problem:
    """The problem document of a request that ends without a result: says what to change (RFC 9457)."""
    name = request.dservice.name
    details = {
        "unknown_dservice": f"{name} is not served any more.",
        "price_cap": _over_the_cap(command, request),
        "overloaded": "Too many requests wait at this node; come back later or use another node.",
        "draining": "This node is about to stop; use another node.",
        "ledger_full": "Work cannot be recorded now, so it was not charged; send it again later.",
        "deadline": f"The deadline passed after {request.attempts} attempts; CGN-Deadline-Ms sets it.",
        "quarantined": f"The request failed on {request.attempts} miners; name {request.id} when you report it.",
        "bad_gateway": f"{name} gave no usable answer; name {request.id} when you report it.",
        "not_authenticated": "The session ended while the body was on its way; POST /session opens a new one.",
    }
    detail = details.get(command.code, "")
    if command.code == "no_miner":
        detail = _NO_MINER.get(command.constraint, "No miner fits this request now.").format(name=name)
    extra: dict[str, Any] = {"request_id": request.id}
    if command.price_nano_eur:
        extra["price_nano_eur"] = str(command.price_nano_eur)
    if command.constraint == "dservice" and command.code == "bad_gateway" and request.fault:
        detail = f"{name}'s answer is not passed on. {ANSWER_RULES[request.fault]}"
        extra["rule"] = request.fault
    if command.constraint:
        extra["constraint"] = command.constraint
    return Problem(command.code, detail, extra=extra)


def _over_the_cap(command: commands.Refuse, request: WorkRequest) -> str:
    allowed = f"CGN-Max-Fee-Nano-Eur allows {request.max_fee_nano_eur}"
    if request.record_command is not None:
        charged = f"{request.record_command.fee_nano_eur} were charged for what it had used"
        return f"The work was stopped: it came to {command.price_nano_eur} nano-EUR, {allowed}; {charged}."
    if command.constraint == "estimate":
        return f"The work is estimated at {command.price_nano_eur} nano-EUR, {allowed}; nothing was done or charged."
    return f"The least fee is {command.price_nano_eur} nano-EUR, {allowed}."


_NO_MINER = {
    "dservice": "No connected miner offers {name}.",
    "tier": "No miner that offers {name} is in an acceptable tier; CGN-Tier names them.",
    "ownership": "Every fitting miner belongs to another enterprise.",
    "service_level": "No miner of {name} is as strong as asked for.",
    "capacity": "Every miner of {name} is busy.",
    "failed": "Every fitting miner has failed at this request.",
}
