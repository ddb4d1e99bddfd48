"""One work request on its way between DApp, miner and ledger: what the driver's commands mean for bytes and sockets.

It takes the DApp's body, feeds it to the attempt on record, holds the response back, and lets go when the row is
durable. It decides nothing about miners: it reports events and does what the broker says.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cgn_sdk.protocol.errors import ANSWER_RULES, CODES, Problem
from cgn_sdk.protocol.row import fee_nano_cpu

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.attempt import Attempt
from cgn_node.bodies import HeldMemory, Piece, RequestBody, ResponseBody
from cgn_node.core import commands, events
from cgn_node.core.row_parts import Answered
from cgn_node.disk_reads import DiskReads
from cgn_node.driver import Driver
from cgn_node.http1 import Headers
from cgn_node.http_server import Exchange
from cgn_node.miner_endpoint import MinerTunnel
from cgn_node.work_order import FinishedAttempt, WorkOrder

_log = logs.get("work")


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
        "_over",
        "_recorder",
        "attempt",
        "attempts",
        "body",
        "exchange",
        "fault",
        "id",
        "latest",
        "order",
        "outcome",
        "record_command",
        "refusal",
        "response",
        "result",
        "state",
        "times",
    )

    def __init__(
        self,
        order: WorkOrder,
        exchange: Exchange,
        *,
        body: RequestBody,
        held_bytes: int,
        held_memory: HeldMemory,
        driver: Driver,
        disk: DiskReads,
        admit: Callable[["WorkRequest"], None] | None,
        recorder: Callable[[WorkOrder, FinishedAttempt, commands.RecordRow], None],
        finished: Callable[["WorkRequest"], None],
    ) -> None:
        self.id = order.id
        self.order = order
        self.exchange = exchange
        self.body = body
        self.response = ResponseBody(held_memory, held_bytes, is_bare=order.method == "HEAD")
        self.attempt: Attempt | None = None
        self.latest: Attempt | None = None
        """The attempt that was begun last, on the record or not: what is billed is always of this one."""
        self.attempts = 0
        self.fault = ""
        """Which of `errors.ANSWER_RULES` the DService's answer broke, as a miner said."""
        self.times = Times(time.monotonic_ns())
        self.record_command: commands.RecordRow | None = None
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
        self._recorder = recorder
        self._finished = finished
        self._over = False

    # --- the DApp's side (http_server.Taker) ------------------------------------------------------------------------

    def body_received(self, data: bytes) -> None:
        if self._over:
            return
        try:
            self.body.append(data)
        except OSError as error:
            self.disk_failed(error)
            return
        if self._admit is not None and self.body.length > limits.REQUEST_MEMORY_BYTES:
            self.admit()
        if self.attempt is not None:
            self.attempt.pump()
        if self.body.length - self._sent() > self._ahead():
            self.exchange.pause_body()

    def body_ended(self) -> None:
        self.body.end()
        self.admit()
        if self.attempt is not None:
            self.attempt.pump()

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
        if self.attempt is not None:
            self.attempt.give_owed_credit()

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

    def disk_failed(self, error: OSError) -> None:
        """This node cannot hold the request's body or its answer: no miner's fault, and no other miner could help."""
        _log.error("request.disk_failed", request_id=self.id, problem=str(error))
        detail = "This node has no room for bodies that are under way; come back later, or ask another node."
        self._broken(Problem("ledger_full", detail))

    def _give_up(self) -> None:
        if self._admit is None:
            self._driver.post(events.ClientGone(self.id))
        else:
            self._admit = None
            self._driver.turn_away(commands.Refuse(self.id, "cancelled"))

    def acknowledged(self) -> None:
        """The miner has the latest attempt."""
        self.times.acknowledged = time.monotonic_ns()

    # --- the broker's side (driver.Request) -------------------------------------------------------------------------

    def assign(self, command: commands.Assign, tunnel: MinerTunnel) -> None:
        self.response.attempt_begins()
        self.attempts = command.attempt
        self.state = "running"
        now = time.monotonic_ns()
        times = self.times
        times.assigned = now
        if not times.first_assigned:
            times.first_assigned = now
        attempt = self.latest = Attempt(self, command.attempt, tunnel, self._driver, self._disk, now)
        self.attempt = None
        if not attempt.open(command.cpu_budget_ns, max(0, self.order.deadline_ms - self._driver.clock_ms())):
            self._driver.post(events.AttemptFailed(self.id, command.attempt, tunnel.miner_id, "no_slot"))
            return
        self.attempt = attempt
        if self.body.length or not self.body.ended:
            attempt.pump()

    def cancel_attempt(self, command: commands.CancelAttempt) -> None:
        current = self.attempt
        try:
            if current is not None and current.number == command.attempt:
                self.attempt = None
                current.tunnel.cancel(current.stream, command.code)
        finally:  # who waits for the figures gets them, whatever becomes of the miner
            if command.settle:
                self._settle(command)

    def _settle(self, command: commands.CancelAttempt) -> None:
        latest = self.latest
        assert latest is not None
        assert latest.number == command.attempt
        latest.ended_ns = time.monotonic_ns()
        # A cap pays for what the miner has sent; who leaves, and a deadline, for what the DApp has been given.
        passed = min(self.response.passed, latest.received_bytes)
        used = latest.used(latest.received_bytes if command.code == "price_cap" else passed)
        self._driver.post(events.AttemptCut(self.id, latest.number, command.miner, *used))

    def record(self, command: commands.RecordRow) -> None:
        self.state = "recording"
        self.record_command = command
        self._recorder(self.order, self._finished_attempt(), command)

    def _finished_attempt(self) -> FinishedAttempt:
        attempt, times, body = self.latest, self.times, self.body
        assert attempt is not None
        assert attempt.tunnel.grant is not None
        times.finished = attempt.ended_ns
        done = attempt.done_message
        return FinishedAttempt(
            number=attempt.number,
            contributor=attempt.tunnel.grant.contributor,
            answered=done.statement if done is not None else self._left(),
            seal=attempt.seal,
            metadata=done.metadata if done is not None else {},
            measured=attempt.measured,
            request_bytes=body.length,
            request_sha256=body.sha256(),
            queue_ns=times.first_assigned - times.arrived,
            match_ns=times.assigned - times.first_assigned,
        )

    def _left(self) -> Answered:
        """What has left of a response that was cut."""
        digest, size = self.response.left()
        return Answered(self.response.status if size else CODES["price_cap"].status, size, digest)

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
        elif self.order.method == "HEAD":
            exchange.answer_head(response.status, [*response.headers, *self._cost_headers()], response.body_bytes)
        else:
            headers, pieces = [*response.headers, *self._cost_headers()], response.finish()
            exchange.answer(response.status, headers, pieces)
            if self.order.is_named:
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
        """Called once, whatever happened before: what the request was counted under depends on it. Nothing that is
        counted waits for the collector, which runs seldom and by chance: attempt and request hold each other."""
        self._over = True
        self.attempt = None
        self.response.close()
        try:
            self.body.close()
        finally:
            self._finished(self)
            self.latest = None
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
        rate = self.order.view.policy.exchange_rate_nano_eur_per_cpu
        fee: int = fee_nano_cpu(self.record_command.fee_nano_eur, rate)
        return fee


def refusal(command: commands.Refuse, request: WorkRequest) -> Problem:
    """The problem document of a request that ends without a result: says what to change (RFC 9457)."""
    name = request.order.dservice.name
    details = {
        "unknown_dservice": f"{name} is not served any more.",
        "price_cap": _over_the_cap(command, request),
        "overloaded": "Too many requests wait at this node; come back later or use another node.",
        "draining": "This node is about to stop; use another node.",
        "ledger_full": "Work cannot be recorded now, so it was not charged; send it again later.",
        "deadline": f"The deadline passed (attempts: {request.attempts}); CGN-Deadline-Ms sets it.",
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
    allowed = f"CGN-Max-Fee-Nano-Eur allows {request.order.max_fee_nano_eur}"
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
