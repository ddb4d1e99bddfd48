"""Who was owed what: books kept from outside the broker, from the events it was told and the commands it gave.

The auditor shares no code and no state with the core but the types of events and commands. It holds the broker to what
the node promises (N-7 to N-11, N-17, N-18, N-20, N-21, N-24), in the form of reliability's L0 to L3:

* L0 each accepted request ends, in exactly one `Release` or `Refuse`;
* L1 nothing from nowhere: every command is about something that was told, and has a reason that the books know;
* L2 billed at most once, and exactly once when answered; of what was cut, what had been passed on or had used up the
  cap is billed, never more than the cap; nothing else is that was cancelled, failed or refused;
* L3 paid is the miner whose result was used, for what it can have used, at the exact price.

And the ways of the queue: slots are never exceeded, no miner twice, first come first served within an account and
kind, retries at the head, no slot free while a request waits that fits it, deadlines and acknowledgements enforced.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil
from typing import Any

from cgn_node.core import commands, events
from cgn_node.core.pricing import Fitness, Measured, Terms, Usage
from cgn_node.core.settings import BrokerSettings

CAPACITY_SLACK_MS = 2
"""The clock counts whole milliseconds at both ends of a busy period."""


class AuditError(AssertionError):
    """The broker broke a promise."""


_MAY_TAKE_MINERS = (
    events.AttemptFailed,
    events.MinerJoined,
    events.MinerLeft,
    events.PolicyChanged,
    events.Tick,
)


@dataclass(slots=True)
class MinerBook:
    joined: events.MinerJoined
    slots: int
    running: dict[str, int] = field(default_factory=dict)  # request -> attempt
    spans: list[list[int]] = field(default_factory=list)  # [from, until or -1] in which it was busy
    cpu_ns: int = 0
    gpu_ns: int = 0
    memory_byte_seconds: int = 0

    def take(self, request: str, attempt: int, now_ms: int) -> None:
        if not self.running:
            self.spans.append([now_ms, -1])
        self.running[request] = attempt

    def give_back(self, request: str, now_ms: int) -> None:
        del self.running[request]
        if not self.running:
            self.spans[-1][1] = now_ms

    @property
    def fitness(self) -> Fitness:
        """By which it is billed: what Central answers for, or one thread of 1 KMIPS with 4 GiB; never more than the
        miner says itself."""
        said, registered = self.joined.fitness, self.joined.registered
        least = registered or Fitness(1, 1_000, 4 * 2**30)
        names = ("threads", "kmips_per_thread_milli", "memory_bytes", "gpus", "gflops_per_gpu")
        return replace(said, **{name: min(getattr(said, name), getattr(least, name)) for name in names})

    @property
    def machine(self) -> Fitness:
        """What nobody can have used more than, as far as anybody has said."""
        return self.joined.fitness if self.joined.registered is None else self.fitness

    def share(self, usage: Usage, now_ms: int) -> Usage:
        """What is left of the machine for one more request, after all it has been billed for."""
        fitness = self.fitness
        busy_ms = sum((until if until >= 0 else now_ms) - since + CAPACITY_SLACK_MS for since, until in self.spans)
        busy_ns = busy_ms * 10**6
        left = Usage(
            min(usage.cpu_ns, busy_ns * fitness.threads - self.cpu_ns),
            min(usage.memory_byte_seconds, busy_ns * fitness.memory_bytes // 10**9 - self.memory_byte_seconds),
            usage.wall_ns,
            min(usage.gpu_ns, busy_ns * fitness.gpus - self.gpu_ns),
            usage.request_bytes,
            usage.response_bytes,
        )
        self.cpu_ns += left.cpu_ns
        self.gpu_ns += left.gpu_ns
        self.memory_byte_seconds += left.memory_byte_seconds
        return left


@dataclass(slots=True)
class RequestBook:
    arrived: events.RequestArrived
    at_ms: int
    terms: Terms
    number: int
    attempts: int = 0
    on_record: tuple[int, str] | None = None  # attempt, miner
    assigned_ms: int = 0
    acknowledged: bool = False
    life_ms: int = 0
    factor_ppm: int = 0
    """Of its tier: when it arrived, or for a tier that was opened since, when it was assigned."""
    passed_on: bool = False
    gone: bool = False
    failed: list[str] = field(default_factory=list)
    result: tuple[int, str, str, str] | None = None  # attempt, miner, tier, contributor
    claimed: Usage = field(default_factory=Usage)
    billable: Usage = field(default_factory=Usage)
    impossible: set[str] = field(default_factory=set)  # members of the claim that its machine cannot have used
    fee_nano_eur: int = 0
    ended_as: str = ""  # what its row must say: whole, or why less is billed
    cut: tuple[int, str] | None = None  # attempt and miner whose use is being asked for
    cut_miner: MinerBook | None = None
    price_nano_eur: int = 0  # the highest price above its cap that was told
    estimated: bool = False  # refused before the work began
    faults: int = 0  # miners that say the DService's answer breaks HTTP
    row: commands.RecordRow | None = None
    stored: bool = False
    row_refused: bool = False
    ended: str = ""
    held_back_ms: int | None = None  # since when it has waited beside a free miner
    gone_ms: int | None = None  # since when no connected miner could do it

    @property
    def kind(self) -> tuple[Any, ...]:
        a = self.arrived
        owner = a.account if "1" in a.tiers else ""
        return (a.dservice, a.tiers, owner, a.level, a.match)

    @property
    def cpus(self) -> Fraction | None:
        """CPUs that one container of its DService may use, by the terms at its arrival; None: not stated."""
        stated = self.terms.cpus_milli.get(self.arrived.dservice)
        return None if stated is None else Fraction(stated, 1_000)

    @property
    def deadline_ms(self) -> int:
        return self.at_ms + self.arrived.deadline_ms

    @property
    def waits(self) -> bool:
        return not self.ended and self.on_record is None and self.result is None and self.cut is None


class Auditor:
    """`told` before the broker handles an event, `commanded` with what it answered; both raise `AuditError`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.now_ms = 0
        self.terms: Terms | None = None
        self.miners: dict[str, MinerBook] = {}
        self.left: dict[str, tuple[int, MinerBook]] = {}
        self.requests: dict[str, RequestBook] = {}
        self.open: dict[str, RequestBook] = {}
        self.ended: Counter[str] = Counter()
        self.draining = False
        self.drained = False
        self._event: Any = None
        self._owed: dict[tuple[str, Any], str] = {}
        self._door: RequestBook | None = None

    # ------------------------------------------------------------------------------------------------ what happened

    def told(self, event: events.Event, now_ms: int) -> None:
        self.now_ms = now_ms
        self._event = event
        self._owed = {}
        self._door = None
        name = "_told_" + type(event).__name__
        method = getattr(self, name, None)
        if method is not None:
            method(event)

    def _told_PolicyChanged(self, event: events.PolicyChanged) -> None:
        if self.terms is None or event.terms.version > self.terms.version:
            self.terms = event.terms

    def _told_MinerJoined(self, event: events.MinerJoined) -> None:
        before = self.miners.get(event.miner)
        if before is not None and before.joined.tunnel >= event.tunnel:
            return
        if before is not None:
            self._lose(event.miner)
            self._owed["close", before.joined.tunnel] = "a replaced tunnel must be closed"
        if event.runner != "docker" and event.tier != "1":
            self._owed["close", event.tunnel] = "a process runner outside tier 1 must be refused"
            return
        self.miners[event.miner] = MinerBook(event, event.slots)

    def _told_MinerLeft(self, event: events.MinerLeft) -> None:
        book = self.miners.get(event.miner)
        if book is not None and book.joined.tunnel == event.tunnel:
            self._lose(event.miner)

    def _lose(self, miner: str) -> None:
        book = self.miners.pop(miner)
        self.left[miner] = (self.now_ms, book)
        for request in book.running:
            self._failed(self.open[request], miner)

    def _failed(self, book: RequestBook, miner: str) -> None:
        book.on_record = None
        book.failed.append(miner)

    def _told_SlotsChanged(self, event: events.SlotsChanged) -> None:
        book = self.miners.get(event.miner)
        if book is not None and book.joined.tunnel == event.tunnel:
            book.slots = event.slots

    def _told_RequestArrived(self, event: events.RequestArrived) -> None:
        if self.terms is None:
            raise AuditError("the simulation sends the policy first")
        self._door = RequestBook(event, self.now_ms, self.terms, len(self.requests))
        self.requests[event.request] = self.open[event.request] = self._door

    def _reported(self, event: Any) -> RequestBook | None:
        """The request, if the report is about the attempt on record."""
        book = self.open.get(event.request)
        return book if book is not None and book.on_record == (event.attempt, event.miner) else None

    def _told_Acknowledged(self, event: events.Acknowledged) -> None:
        book = self._reported(event)
        if book is not None:
            book.acknowledged = True
            book.life_ms = self.now_ms

    def _told_ResponsePassedOn(self, event: events.ResponsePassedOn) -> None:
        book = self._reported(event)
        if book is not None:
            book.acknowledged = book.passed_on = True
            book.life_ms = self.now_ms

    def _told_Progressed(self, event: events.Progressed) -> None:
        book = self._reported(event)
        if book is None:
            return
        book.acknowledged = True
        book.life_ms = self.now_ms
        believed = _possible(event.claimed, event.measured, self.miners[event.miner].fitness, book.cpus)
        price = self._exact_fee(book, believed, event.miner)
        cap = book.arrived.max_fee_nano_eur
        if cap is not None and price > cap:
            book.price_nano_eur = price
            by_bytes = Usage(request_bytes=believed.request_bytes, response_bytes=believed.response_bytes)
            if self._exact_fee(book, by_bytes, event.miner) <= cap:
                self._owed["stopped_unsigned", event.request] = "work that ends by a miner's word must be reported"
            self._owed["cut", event.request] = "work that has passed its cap must be cut"

    def _told_AttemptFinished(self, event: events.AttemptFinished) -> None:
        book = self._reported(event)
        if book is not None:
            miner = self.miners[event.miner]
            book.on_record = None
            self._used(book, event, miner)
            miner.give_back(event.request, self.now_ms)

    def _told_AttemptCut(self, event: events.AttemptCut) -> None:
        book = self.open.get(event.request)
        if book is not None and book.cut == (event.attempt, event.miner):
            assert book.cut_miner is not None
            book.cut = None
            self._used(book, event, book.cut_miner)

    def _used(self, book: RequestBook, event: events.AttemptFinished | events.AttemptCut, miner: MinerBook) -> None:
        """What is owed for it, by the definition; never more than the cap."""
        joined, cap = miner.joined, book.arrived.max_fee_nano_eur
        book.result = (event.attempt, event.miner, joined.tier, joined.contributor)
        book.claimed = event.claimed
        believed = _possible(event.claimed, event.measured, miner.fitness, book.cpus)
        book.billable = miner.share(believed, self.now_ms)
        book.impossible = _cut(book.claimed, _possible(event.claimed, event.measured, miner.machine))
        if joined.registered is not None:
            book.impossible |= _cut(believed, book.billable)
        price = self._exact_fee(book, book.billable, event.miner, miner)
        book.fee_nano_eur = price
        if cap is not None and price > cap:
            book.fee_nano_eur, book.price_nano_eur = cap, max(price, book.price_nano_eur)
            book.ended_as = book.ended_as or "price_cap"
        book.ended_as = book.ended_as or "whole"
        self._owed["result", event.request] = "a result on record must be recorded"
        if book.impossible:
            self._owed["clipped", event.request] = "an impossible claim must be reported"

    def _exact_fee(self, book: RequestBook, usage: Usage, name: str, miner: MinerBook | None = None) -> int:
        return _exact_fee(usage, (miner or self.miners[name]).fitness, book.terms, book.factor_ppm)

    def _told_AttemptFailed(self, event: events.AttemptFailed) -> None:
        book = self._reported(event)
        if book is None:
            return
        self.miners[event.miner].give_back(event.request, self.now_ms)
        cap = book.arrived.max_fee_nano_eur
        if cap is not None and event.estimate is not None:
            price = self._exact_fee(book, event.estimate, event.miner)
            if price > cap:
                book.on_record, book.price_nano_eur, book.estimated = None, price, True
                self._owed["end", event.request] = "what cannot be within its cap must be refused"
                return
        book.faults += event.code == "dservice_protocol"
        self._failed(book, event.miner)

    def _told_RowStored(self, event: events.RowStored) -> None:
        book = self.open.get(event.request)
        if book is not None and book.row is not None:
            book.stored = True
            what = "release" if book.row.ended == "whole" else "end"
            self._owed[what, event.request] = "a durable row must end the request"

    def _told_RowRefused(self, event: events.RowRefused) -> None:
        book = self.open.get(event.request)
        if book is not None and book.row is not None:
            book.row_refused = True
            self._owed["end", event.request] = "a refused row must end the request"

    def _told_ClientGone(self, event: events.ClientGone) -> None:
        book = self.open.get(event.request)
        if book is not None:
            book.gone = True
            if book.result is None and book.cut is None:
                self._owed["end", event.request] = "a departed DApp's request must end"

    def _told_Drain(self, event: events.Drain) -> None:
        self.draining = True

    # ------------------------------------------------------------------------------------------------ what came of it

    def commanded(self, given: list[commands.Command]) -> None:
        for command in given:
            getattr(self, "_saw_" + type(command).__name__)(command)
        if self._owed:
            raise AuditError(f"{next(iter(self._owed.values()))}: {self._event} gave {given}")
        if isinstance(self._event, events.Tick):
            self.overdue(slack_ms=0)
        if isinstance(self._event, _MAY_TAKE_MINERS):
            for book in self.open.values():
                if book.waits and self._has_candidate(book):
                    book.gone_ms = None
                elif book.waits and book.gone_ms is None:
                    book.gone_ms = self.now_ms

    def _book(self, command: Any) -> RequestBook:
        book = self.requests.get(command.request)
        self._require(book is not None, command, "is about a request nobody sent")
        assert book is not None
        self._require(not book.ended, command, f"comes after the end ({book.ended})")
        return book

    def _require(self, holds: bool, command: Any, why: str) -> None:
        if not holds:
            raise AuditError(f"at {self.now_ms} ms {command} {why} (after {self._event})")

    def _saw_Assign(self, command: commands.Assign) -> None:
        book, miner = self._book(command), self.miners.get(command.miner)
        self._require(book.on_record is None, command, f"while {book.on_record} is on record")
        self._require(book.result is None, command, "although there is a result")
        self._require(not book.gone, command, "for a DApp that has gone")
        self._require(command.attempt == book.attempts + 1, command, f"is not attempt {book.attempts + 1}")
        self._require(miner is not None, command, "to a miner that is not connected")
        assert miner is not None
        self._require(command.miner not in book.failed, command, "to a miner that has failed it before")
        self._require(self._fits(miner, book), command, f"does not fit {miner.joined}")
        self._require(len(miner.running) < miner.slots, command, f"exceeds {miner.slots} slots")
        self._require(not book.passed_on or book.arrived.resumable, command, "cannot be resumed")
        self._check_turn(command, book)
        miner.take(command.request, command.attempt, self.now_ms)
        book.attempts = command.attempt
        book.on_record = (command.attempt, command.miner)
        book.assigned_ms = book.life_ms = self.now_ms
        book.acknowledged = False
        assert self.terms is not None
        tier = miner.joined.tier
        book.factor_ppm = book.terms.tier_factor_ppm.get(tier, self.terms.tier_factor_ppm[tier])
        self._check_budget(command, book, miner)
        book.gone_ms = None

    def _check_budget(self, command: commands.Assign, book: RequestBook, miner: MinerBook) -> None:
        """The first attempt of capped work is told what the cap pays for: that long, and not a nanosecond longer."""
        cap, budget_ns = book.arrived.max_fee_nano_eur, command.cpu_budget_ns
        if cap is None or book.attempts > 1:
            self._require(budget_ns is None, command, "has a budget")
        elif budget_ns is not None:
            fees = [self._exact_fee(book, Usage(cpu_ns=ns), command.miner) for ns in (budget_ns, budget_ns + 1)]
            self._require(fees[0] <= cap < fees[1], command, f"has another budget than {cap} pays for")

    def _check_turn(self, command: commands.Assign, book: RequestBook) -> None:
        """First come first served within account and kind; what has been tried goes before what has not."""
        kind, account = book.kind, book.arrived.account
        for other in self.open.values():
            if other is book or not other.waits or other is self._door or other.kind != kind:
                continue
            if command.miner in other.failed:
                continue
            first = other.number < book.number and other.arrived.account == account
            if not book.attempts:
                self._require(not other.attempts, command, f"overtakes the retry of {other.arrived.request}")
                self._require(not first, command, f"overtakes {other.arrived.request} of the same account")
            else:
                self._require(not (first and other.attempts), command, f"overtakes retry {other.arrived.request}")

    def _fits(self, miner: MinerBook, book: RequestBook) -> bool:
        joined, arrived = miner.joined, book.arrived
        assert self.terms is not None
        level = arrived.level
        return (
            arrived.dservice in joined.dservices
            and joined.tier in arrived.tiers
            and joined.tier in self.terms.dservices.get(arrived.dservice, ())
            and joined.tier in self.terms.tier_factor_ppm
            and (joined.tier != "1" or joined.enterprise == arrived.account)
            and (
                level is None
                or (
                    miner.fitness.threads >= level.threads
                    and miner.fitness.kmips_per_thread_milli >= level.kmips_per_thread_milli
                    and miner.fitness.bandwidth_bytes_per_s >= level.bandwidth_bytes_per_s
                )
            )
        )

    def _has_candidate(self, book: RequestBook) -> bool:
        return any(name not in book.failed and self._fits(miner, book) for name, miner in self.miners.items())

    def _saw_CancelAttempt(self, command: commands.CancelAttempt) -> None:
        book = self._book(command)
        self._require(book.on_record == (command.attempt, command.miner), command, "is not about the one on record")
        late = self.now_ms >= book.deadline_ms and isinstance(self._event, events.Tick)
        capped = self._owed.pop(("cut", command.request), None) is not None
        reason = {"cancelled": book.gone, "deadline": late, "price_cap": capped}
        self._require(reason.get(command.code, False), command, "has no reason")
        miner = self.miners[command.miner]
        miner.give_back(command.request, self.now_ms)
        billed = book.passed_on or command.code == "price_cap"
        self._require(command.settle == billed, command, "must settle what was given away, and only that")
        if command.settle:
            book.cut, book.cut_miner, book.ended_as = book.on_record, miner, command.code
            self._owed.pop(("end", command.request), None)
        else:
            self._owed["end", command.request] = "a cancelled request must end"
        book.on_record = None

    def _saw_CloseMiner(self, command: commands.CloseMiner) -> None:
        if self._owed.pop(("close", command.tunnel), None):
            self._require(command.close_code in (4403, 4409), command, "has the wrong code")
            return
        book = self.miners.get(command.miner)
        known = book is not None and book.joined.tunnel == command.tunnel
        self._require(known, command, "is about a tunnel that is not there")
        assert book is not None
        if command.close_code == 4408:
            late = any(self._is_silent(self.open[request], slack_ms=0) for request in book.running)
            self._require(late, command, "although nothing is late")
        elif command.close_code == 4503:
            idle = all(request.result is not None or request.cut is not None for request in self.open.values())
            self._require(self.draining and idle, command, "although work is left")
        else:
            self._require(False, command, "has no reason")
        self._lose(command.miner)

    def _is_silent(self, book: RequestBook, slack_ms: int) -> bool:
        """Its miner owes an acknowledgement, or a sign of life."""
        wait_ms = self.settings.silence_ms if book.acknowledged else self.settings.acknowledge_ms
        since_ms = book.life_ms if book.acknowledged else book.assigned_ms
        return self.now_ms - slack_ms >= since_ms + wait_ms

    def _saw_RecordRow(self, command: commands.RecordRow) -> None:
        book = self._book(command)
        self._require(book.row is None, command, "is a second row")
        self._require(book.result is not None, command, "has no result behind it")
        paid = (command.attempt, command.miner, command.tier, command.contributor)
        self._require(paid == book.result, command, f"pays another than {book.result}")
        self._require(command.usage == book.billable, command, f"bills other use than {book.billable}")
        cut = _cut(book.claimed, book.billable)
        self._require(set(command.clipped) == cut, command, f"must name {cut}")
        fee, cap = book.fee_nano_eur, book.arrived.max_fee_nano_eur
        self._require(command.fee_nano_eur == fee, command, f"has another fee than {fee}")
        self._require(cap is None or fee <= cap, command, f"costs more than {cap}")
        self._require(command.ended == book.ended_as, command, f"must say {book.ended_as}")
        self._require(command.terms_version == book.terms.version, command, "is by other terms")
        book.row = command
        self._owed.pop(("result", command.request), None)

    def _saw_ReportError(self, command: commands.ReportError) -> None:
        book = self._book(command)
        if command.kind == "clipped":
            self._require(set(command.detail) == book.impossible, command, f"must name {book.impossible}")
            self._owed.pop(("clipped", command.request), None)
        elif command.kind == "stopped_unsigned":
            owed = self._owed.pop(("stopped_unsigned", command.request), None)
            self._require(owed is not None, command, "has no reason")
            self._require(
                book.on_record is not None and command.miners == book.on_record[1:], command, "blames another"
            )
        else:
            self._require(command.kind == "quarantined", command, "has an unknown kind")
            self._require(list(command.miners) == book.failed, command, f"must name {book.failed}")

    def _saw_Release(self, command: commands.Release) -> None:
        book = self._book(command)
        self._require(book.stored, command, "before its row is durable")
        self._require(book.ended_as == "whole", command, f"of work that ended {book.ended_as}")
        self._end(book, "answered")
        self._owed.pop(("release", command.request), None)

    def _saw_Refuse(self, command: commands.Refuse) -> None:
        book = self._book(command)
        self._require(book.on_record is None, command, f"leaves {book.on_record} running")
        cut = book.stored and book.ended_as == command.code
        self._require(cut or not book.stored, command, "although it is billed")
        self._require(cut or book.row is None or book.row_refused, command, "although its row is on the way")
        if book is self._door:
            if command.code == "price_cap":
                book.price_nano_eur = book.terms.prices.minimum_nano_eur
            self._require(self._reason_at_the_door(command, book), command, "has no reason at the door")
        else:
            self._require(self._reason_later(command, book), command, "has no reason")
        self._require(command.price_nano_eur == book.price_nano_eur, command, f"must name {book.price_nano_eur}")
        self._owed.pop(("end", command.request), None)
        self._owed.pop(("result", command.request), None)
        self._end(book, command.code)

    def _reason_at_the_door(self, command: commands.Refuse, book: RequestBook) -> bool:
        arrived, code = book.arrived, command.code
        if code == "overloaded":
            waiting = [other for other in self.open.values() if other.waits and other is not book]
            in_tier = sum(other.arrived.tiers[0] == arrived.tiers[0] for other in waiting)
            of_account = sum(other.arrived.account == arrived.account for other in waiting)
            kinds = {other.kind for other in waiting if other.arrived.account == arrived.account}
            full = len(kinds) >= self.settings.account_kinds and book.kind not in kinds
            return full or in_tier >= self.settings.tier_queue_depth or of_account >= self.settings.account_queue_depth
        return {
            "draining": self.draining,
            "unknown_dservice": arrived.dservice not in book.terms.dservices,
            "no_miner": not self._has_candidate(book),
            "price_cap": (arrived.max_fee_nano_eur or 0) < book.terms.prices.minimum_nano_eur,
        }.get(code, False)

    def _reason_later(self, command: commands.Refuse, book: RequestBook) -> bool:
        code = command.code
        if book.stored:
            return code in ("price_cap", "cancelled", "deadline")  # as its row says, see above
        if code == "bad_gateway":
            lost = book.passed_on and not book.arrived.resumable
            if command.constraint == "dservice":
                return book.faults > 0
            return bool(book.failed) and (lost or self._given_up(book) or not self._expected(book))
        return {
            "price_cap": book.estimated,
            "ledger_full": book.row_refused,
            "cancelled": book.gone and book.result is None,
            "deadline": self.now_ms >= book.deadline_ms and book.result is None,
            "quarantined": len(set(book.failed)) >= self.settings.quarantine_miners,
            "no_miner": not book.failed and self._given_up(book),
        }.get(code, False)

    def _given_up(self, book: RequestBook) -> bool:
        """Nobody is there who could do it, and its grace is over."""
        waited = book.gone_ms is not None and self.now_ms - book.gone_ms >= self.settings.grace_ms
        return waited and not self._has_candidate(book)

    def _expected(self, book: RequestBook) -> bool:
        """Somebody is there, or was here a short time ago, who could still do it."""
        recent = [
            miner
            for name, (left_ms, miner) in self.left.items()
            if self.now_ms - left_ms <= self.settings.grace_ms and name not in book.failed and name not in self.miners
        ]
        return self._has_candidate(book) or any(self._fits(miner, book) for miner in recent)

    def _saw_Drained(self, command: commands.Drained) -> None:
        self._require(self.draining and not self.drained, command, "was not asked for, or comes twice")
        self._require(not self.open and not self.miners, command, "although something is left")
        self.drained = True

    def _end(self, book: RequestBook, how: str) -> None:
        book.ended = how
        del self.open[book.arrived.request]
        self.ended[how] += 1

    # ------------------------------------------------------------------------------------------------ now and then

    def overdue(self, slack_ms: int) -> None:
        """Deadlines, acknowledgements and holding back are enforced, `slack_ms` after they are due."""
        late = self.now_ms - slack_ms
        for book in self.open.values():
            if book.result is None and book.cut is None and book.deadline_ms <= late:
                raise AuditError(f"{book.arrived.request} lives at {self.now_ms}, its deadline was {book.deadline_ms}")
            if book.on_record and self._is_silent(book, slack_ms):
                raise AuditError(f"{book.on_record[1]} says nothing about {book.arrived.request} at {self.now_ms}")

    def idle(self, slack_ms: int) -> None:
        """No slot is free that a waiting request fits (N-9). `fastest` may hold one back, and those behind it, for a
        little while (N-8), and `slack_ms` longer when the node itself was late."""
        free = [(name, miner) for name, miner in self.miners.items() if len(miner.running) < miner.slots]
        patience_ms = self.settings.fastest_wait_ms + slack_ms
        for book in self.open.values():
            fitting = ""
            if book.waits:
                fitting = next((n for n, miner in free if n not in book.failed and self._fits(miner, book)), "")
            if not fitting:
                book.held_back_ms = None
            elif book.arrived.match != "fastest":
                raise AuditError(f"{book.arrived.request} waits at {self.now_ms} although {fitting} is free")
            elif book.held_back_ms is None:
                book.held_back_ms = self.now_ms
            elif self.now_ms - book.held_back_ms > patience_ms:
                raise AuditError(f"{book.arrived.request} is kept at {self.now_ms} although {fitting} is free")

    def final(self) -> None:
        """After the heal: everything accepted has ended, everything answered is billed."""
        for book in self.requests.values():
            if not book.ended:
                raise AuditError(f"{book.arrived.request} never ended: {book}")
            billed = book.ended == "answered" or (book.row is not None and book.row.ended == book.ended)
            if billed != book.stored:
                raise AuditError(f"{book.arrived.request} ended {book.ended} with its row stored: {book.stored}")
        for name, miner in self.miners.items():
            if miner.running:
                raise AuditError(f"{name} still runs {miner.running}")


def _possible(claimed: Usage, measured: Measured, fitness: Fitness, cpus: Fraction | None = None) -> Usage:
    """What of a claim this machine, in a container of so many CPUs, can have used while the node watched, by the
    definition (N-20)."""
    seconds = Fraction(measured.wall_ns, 10**9)
    threads = Fraction(fitness.threads) if cpus is None else min(cpus, Fraction(fitness.threads))
    return Usage(
        cpu_ns=max(0, min(claimed.cpu_ns, int(measured.wall_ns * threads))),
        memory_byte_seconds=max(0, min(claimed.memory_byte_seconds, int(fitness.memory_bytes * seconds))),
        wall_ns=max(0, min(claimed.wall_ns, measured.wall_ns)),
        gpu_ns=max(0, min(claimed.gpu_ns, measured.wall_ns * fitness.gpus)),
        request_bytes=max(0, min(claimed.request_bytes, measured.request_bytes)),
        response_bytes=max(0, min(claimed.response_bytes, measured.response_bytes)),
    )


def _cut(claimed: Usage, billed: Usage) -> set[str]:
    return {name for name in Usage.__slots__ if getattr(claimed, name) != getattr(billed, name)}


def _exact_fee(usage: Usage, fitness: Fitness, terms: Terms, factor_ppm: int) -> int:
    """By the definition of the units (N-21), in fractions, rounded up once."""
    hours = Fraction(1, 3_600 * 10**9)
    prices = terms.prices
    price = (
        usage.cpu_ns * hours * Fraction(fitness.kmips_per_thread_milli, 1_000) * prices.kmips_hour_nano_eur
        + usage.gpu_ns * hours * Fraction(fitness.gflops_per_gpu, 1_000) * prices.tflop_hour_nano_eur
        + Fraction(usage.memory_byte_seconds, 2**30 * 3_600) * prices.memory_gib_hour_nano_eur
        + Fraction(usage.request_bytes + usage.response_bytes, 10**9) * prices.gigabyte_nano_eur
    )
    return max(prices.minimum_nano_eur, ceil(price * Fraction(factor_ppm, 10**6)))
