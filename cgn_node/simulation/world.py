"""A false world around the real Work Broker: virtual time, miners that misbehave, DApps that leave, a slow ledger.

One `random.Random(seed)` decides everything, so a seed is a run. Each seed draws its own swarm of faults: every fault
is off in about half of the seeds and of a random strength in the others, so that rare combinations meet. A run has two
phases: *safety*, with faults, and *liveness*, where everything is healed and what was accepted must end.

The driver's part is played here with less care than the real one takes: reports of old attempts and closed tunnels
are handed to the broker as they come.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from heapq import heappop, heappush
from random import Random

from cgn_sdk.protocol.limits import PROGRESS_MS

from cgn_node.core import commands, events
from cgn_node.core.broker import Broker
from cgn_node.core.pricing import Fitness, Measured, Prices, Terms, Usage
from cgn_node.core.settings import BrokerSettings
from cgn_node.simulation.auditor import AuditError, Auditor

TIERS = ("1", "2", "3", "4a", "4b")
DSERVICES = ("mediagen", "noop", "render")
ACCOUNTS = ("ent_a", "ent_b", "ent_c", "ent_d")
PAUSE_MAX_MS = 5_000
"""How long the node itself may stand still."""
HEAL_BOUND_MS = 60_000
"""After the last deadline and the heal: everything has ended by then, or the broker has lost something."""


@dataclass(frozen=True, slots=True)
class Swarm:
    """The faults of one seed: chance per opportunity, 0 when off."""

    die: float = 0.0
    """A miner's tunnel breaks while it works."""
    silent: float = 0.0
    """An assignment is never acknowledged."""
    stall: float = 0.0
    """It is acknowledged, and nothing is heard of it again."""
    long: float = 0.0
    """The work takes minutes, and its miner says so."""
    early: float = 0.0
    """The DService's estimator knows beforehand that the work is dear."""
    broken: float = 0.0
    """The DService's answer is no HTTP."""
    fail: float = 0.0
    poison: float = 0.0
    """A request fails wherever it runs."""
    lie: float = 0.0
    """Impossible use is claimed."""
    boast: float = 0.0
    """A miner says more of its machine than is registered of it."""
    foreign: float = 0.0
    """A miner reports on an attempt that is not its own, or not on record."""
    duplicate: float = 0.0
    delay: float = 0.0
    """A report arrives seconds late, after others that were sent later."""
    storm: float = 0.0
    """All miners leave at once and come back."""
    replace: float = 0.0
    """A miner dials again before its old tunnel is known to be gone."""
    slots: float = 0.0
    leave: float = 0.0
    """The DApp goes away."""
    hurry: float = 0.0
    """The deadline is short."""
    pass_on: float = 0.0
    row_late: float = 0.0
    row_refused: float = 0.0
    row_twice: float = 0.0
    policy: float = 0.0
    cap: float = 0.0
    pause: float = 0.0
    """The node itself stops for a while: ticks come late."""
    misfit: float = 0.0
    """Work that nobody fits, and miners that must be refused."""
    drain: float = 0.0

    @classmethod
    def drawn(cls, random: Random) -> "Swarm":
        return cls(**{f.name: random.uniform(0.01, 0.3) if random.random() < 0.5 else 0.0 for f in fields(cls)})


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. `hours` of virtual time in which the requests arrive."""

    requests: int = 100
    miners: int = 8
    hours: float = 1 / 120


@dataclass(slots=True)
class FalseMiner:
    id: str
    tier: str
    enterprise: str | None
    dservices: tuple[str, ...]
    slots: int
    fitness: Fitness
    registered: Fitness | None
    service_ms: int
    runner: str = "docker"
    tunnel: int | None = None


@dataclass(slots=True)
class Outcome:
    """`trace` is the SHA-256 of everything that happened, in order."""

    seed: int
    trace: str
    virtual_ms: int
    events: int
    ended: dict[str, int] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)


class World:
    """One seed's run. `make` may make a broken broker; `check_core`: also ask the core for its own invariants."""

    def __init__(
        self,
        seed: int,
        size: Size | None = None,
        make: Callable[[BrokerSettings], Broker] = Broker,
        check_core: bool = True,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - a simulation wants to be repeatable
        self.size = size or Size()
        random = self.random
        self.swarm = Swarm.drawn(random)
        tight = random.random() < 0.25
        self.settings = BrokerSettings(
            grace_ms=random.choice((3_000, 10_000)),
            tier_queue_depth=random.randint(3, 8) if tight else 20_000,
            account_queue_depth=random.randint(1, 4) if tight else 5_000,
            account_kinds=random.randint(2, 5) if tight else 32,
            quarantine_miners=random.choice((2, 3, 5)),
            silence_ms=random.choice((2_500, 6_000)),
        )
        self.broker = make(self.settings)
        self.auditor = Auditor(self.settings)
        self.check_core = check_core
        self.now_ms = 1
        self.reached: Counter[str] = Counter()
        self.healed = False
        self.draining = False
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._events = 0
        self._tunnels = 0
        self._version = 0
        self._trace = hashlib.sha256()
        self._poisoned: set[str] = set()
        self._assigned: list[commands.Assign] = []
        self._paused_until_ms = 0
        self.miners = [self._make_miner(n) for n in range(self.size.miners)]

    # ------------------------------------------------------------------------------------------------ the run

    def run(self) -> Outcome:
        """Raises `AuditError` (or an assertion of the core) at the first broken promise."""
        self._send_policy()
        for miner in self.miners:
            self._at(self.random.randint(0, 200), lambda m=miner: self._join(m))  # type: ignore[misc]
        until_ms = int(self.size.hours * 3_600_000)
        for number in range(self.size.requests):
            burst = self.random.random() < 0.3
            at_ms = self.random.choice((until_ms // 3, until_ms // 2)) if burst else self.random.randint(250, until_ms)
            self._at(at_ms, lambda n=number: self._arrive(n))  # type: ignore[misc]
        for at_ms in range(0, until_ms, 1_000):
            self._at(at_ms, self._mischief)
        if self._chance("drain"):
            self._at(self.random.randint(until_ms * 2 // 3, until_ms), self._drain)
        self._at(until_ms, self._heal)
        self._work_off()
        if not self.draining:
            self._drain()
            self._work_off()
        self.auditor.final()
        if not self.auditor.drained:
            raise AuditError("a drained broker must say so")
        left = self.broker.statistics()
        if left.requests or left.miners or left.waiting or left.recording:
            raise AuditError(f"something is left at the end: {left}")
        return Outcome(
            self.seed,
            self._trace.hexdigest(),
            self.now_ms,
            self._events,
            dict(sorted(self.auditor.ended.items())),
            dict(sorted(self.reached.items())),
        )

    def _work_off(self) -> None:
        """Until nothing is scheduled and the broker asks for nothing any more."""
        bound_ms = int(self.size.hours * 3_600_000) + 120_000 + HEAL_BOUND_MS
        while True:
            due = self.broker.next_deadline()
            if due is not None and self._paused_until_ms > due:
                due = self._paused_until_ms
            if self._queue and (due is None or self._queue[0][0] <= due):
                at_ms, _, action = heappop(self._queue)
                self.now_ms = max(self.now_ms, at_ms)
                action()
            elif due is not None:
                self.now_ms = max(self.now_ms, due)
                self._tell(events.Tick())
                after = self.broker.next_deadline()
                if after is not None and after <= self.now_ms and after < due:
                    raise AuditError("a tick left an older deadline behind")
            else:
                return
            if self.now_ms > bound_ms:
                raise AuditError(f"not at rest at {self.now_ms} ms: {list(self.auditor.open.values())[:3]}")

    def _at(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._queue, (self.now_ms + delay_ms, self._count, action))

    def _chance(self, fault: str) -> bool:
        if self.healed or not self.random.random() < getattr(self.swarm, fault):
            return False
        self.reached[fault] += 1
        return True

    # ------------------------------------------------------------------------------------------------ the driver

    def _tell(self, event: events.Event) -> None:
        self._events += 1
        auditor = self.auditor
        auditor.told(event, self.now_ms)
        given = self.broker.handle(event, self.now_ms)
        self._trace.update(f"{self.now_ms} {event} {given}\n".encode())
        auditor.commanded(given)
        if self._events % 8 == 0:
            auditor.idle(PAUSE_MAX_MS)
            auditor.overdue(PAUSE_MAX_MS)
        if self.check_core and self._events % 32 == 0:
            self.broker.check()
        for command in given:
            match command:
                case commands.Assign():
                    self._on_assign(command)
                case commands.CloseMiner():
                    self._on_close(command)
                case commands.RecordRow():
                    self._on_record(command)
                case commands.CancelAttempt():
                    self._on_cancel(command)
                case commands.Refuse():
                    self.reached["refused_" + command.code] += 1
                    if command.constraint:
                        self.reached[f"refused_{command.code}_{command.constraint}"] += 1
                case commands.ReportError():
                    self.reached["reported_" + command.kind] += 1
                case _:
                    pass

    def _report(self, event: events.Event, delay_ms: int) -> None:
        """Something a miner said, on its way: late, twice, out of order."""
        if self._chance("delay"):
            delay_ms += self.random.randint(100, 5_000)
        self._at(delay_ms, lambda: self._tell(event))
        if self._chance("duplicate"):
            self._at(delay_ms + self.random.randint(0, 3_000), lambda: self._tell(event))

    # ------------------------------------------------------------------------------------------------ policy, ledger

    def _send_policy(self) -> None:
        self._version += 1
        random = self.random
        prices = Prices(
            kmips_hour_nano_eur=random.choice((0, 263_000, 263_000 + random.randint(0, 10**9))),
            tflop_hour_nano_eur=random.choice((0, 325_000_000, random.randint(0, 10**12))),
            gigabyte_nano_eur=random.choice((0, 87_700_000, random.randint(0, 10**10))),
            memory_gib_hour_nano_eur=random.randint(0, 2_000_000),
            minimum_nano_eur=random.choice((1, 100)),
        )
        dservices = {"mediagen": TIERS, "noop": TIERS, "render": ("1", "2")}
        if self._chance("policy"):
            dservices[random.choice(DSERVICES)] = random.choice((("1", "2"), ("3",), TIERS))
        cpus_milli = {name: random.choice((10, 500, 1_500, 64_000)) for name in DSERVICES if random.random() < 0.3}
        factors = {tier: random.choice((1, 300_001, 500_000, 1_000_000, 2_500_000)) for tier in TIERS}
        if self._chance("policy"):
            del factors[random.choice(TIERS)]  # a tier that is not open, or no more
        self._tell(events.PolicyChanged(Terms(self._version, dservices, prices, factors, cpus_milli)))

    def _on_record(self, command: commands.RecordRow) -> None:
        delay_ms = self.random.randint(0, 20)
        if self._chance("row_late"):
            delay_ms += self.random.randint(100, 5_000)
        if self._chance("row_refused"):
            self._at(delay_ms, lambda: self._tell(events.RowRefused(command.request)))
            return
        self._at(delay_ms, lambda: self._tell(events.RowStored(command.request)))
        if self._chance("row_twice"):
            self._at(delay_ms + self.random.randint(0, 50), lambda: self._tell(events.RowStored(command.request)))

    # ------------------------------------------------------------------------------------------------ DApps

    def _arrive(self, number: int) -> None:
        random = self.random
        request = f"r{number}"
        tiers = random.choice((("2",), ("2", "3"), ("2", "3"), ("3", "2"), ("1", "2"), ("4a", "4b"), TIERS, TIERS))
        dservice = random.choice(DSERVICES[:2]) if random.random() < 0.95 else "render"
        level = events.ServiceLevel(threads=8) if random.random() < 0.1 else None
        if self._chance("misfit"):
            dservice = random.choice(("unknown", "render"))
            level = events.ServiceLevel(threads=random.choice((8, 999)))
        if self._chance("poison"):
            self._poisoned.add(request)
        deadline_ms = random.randint(50, 2_500) if self._chance("hurry") else random.randint(10_000, 60_000)
        self._tell(
            events.RequestArrived(
                request=request,
                account=random.choice(ACCOUNTS),
                dservice=dservice,
                tiers=tiers,
                deadline_ms=deadline_ms,
                match="fastest" if random.random() < 0.2 else "immediate",
                level=level,
                max_fee_nano_eur=random.choice((0, 50, 2_000)) if self._chance("cap") else None,
                resumable=random.random() < 0.5,
            )
        )
        if self._chance("leave"):
            self._at(random.randint(0, 5_000), lambda: self._tell(events.ClientGone(request)))

    # ------------------------------------------------------------------------------------------------ miners

    def _make_miner(self, number: int) -> FalseMiner:
        random = self.random
        tier = ("2", "3", "1", "2", "4a", "4b")[number % 6]
        process = self._chance("misfit")
        fitness = Fitness(
            threads=random.choice((2, 4, 8, 16)),
            kmips_per_thread_milli=random.randint(1_000, 12_000),
            memory_bytes=random.choice((4, 16)) << 30,
            gpus=number % 2,
            gflops_per_gpu=9_000 * (number % 2),
            latency_us=random.randint(200, 80_000),
        )
        return FalseMiner(
            id=f"m{number}",
            tier=tier,
            enterprise=random.choice(ACCOUNTS) if tier == "1" else None,
            dservices=("noop", "mediagen", "render") if number % 3 == 0 else ("noop", "mediagen"),
            slots=random.randint(1, 4),
            fitness=fitness,
            registered=self._registered(fitness),
            service_ms=random.choice((5, 40, 200, 1_500)),
            runner="process" if process else "docker",
        )

    def _registered(self, fitness: Fitness) -> Fitness | None:
        """What Central answers for: what the miner says, nothing at all, or less of this and more of that."""
        random = self.random
        if not self._chance("boast"):
            return fitness
        if random.random() < 0.5:
            return None
        return Fitness(
            threads=random.randint(1, 8),
            kmips_per_thread_milli=random.randint(500, 20_000),
            memory_bytes=random.choice((1, 32)) << 30,
            gpus=random.randint(0, 1),
            gflops_per_gpu=random.choice((1_000, 20_000)),
        )

    def _join(self, miner: FalseMiner) -> None:
        if self.draining and self.auditor.drained:
            return
        if miner.tunnel is not None and not self._chance("replace"):
            return
        self._tunnels += 1
        miner.tunnel = self._tunnels
        if self.healed:
            miner.runner = "docker"
        self._tell(
            events.MinerJoined(
                miner=miner.id,
                tunnel=miner.tunnel,
                tier=miner.tier,
                contributor="con_" + miner.id,
                enterprise=miner.enterprise,
                dservices=miner.dservices,
                slots=miner.slots,
                fitness=miner.fitness,
                registered=miner.registered,
                runner=miner.runner,
            )
        )

    def _break(self, miner: FalseMiner) -> None:
        """The tunnel is gone; the node hears of it a little later, the miner dials again."""
        if miner.tunnel is None:
            return
        tunnel, miner.tunnel = miner.tunnel, None
        self._at(self.random.randint(0, 300), lambda: self._tell(events.MinerLeft(miner.id, tunnel)))
        self._at(self.random.randint(200, 15_000), lambda: self._join(miner))

    def _on_close(self, command: commands.CloseMiner) -> None:
        self.reached[f"closed_{command.close_code}"] += 1
        [miner] = [each for each in self.miners if each.id == command.miner]
        if miner.tunnel == command.tunnel:
            miner.tunnel = None
            if not self.draining:
                self._at(self.random.randint(200, 8_000), lambda: self._join(miner))
        if self._chance("duplicate"):  # the driver notices the end of the tunnel it closed
            self._at(10, lambda: self._tell(events.MinerLeft(command.miner, command.tunnel)))

    def _on_assign(self, command: commands.Assign) -> None:
        """The miner's life with one attempt. `ids` go into every report about it."""
        self._assigned.append(command)
        if command.attempt > 1:
            self.reached["retried"] += 1
        if self.auditor.requests[command.request].passed_on:
            self.reached["resumed"] += 1
        random = self.random
        [miner] = [each for each in self.miners if each.id == command.miner]
        ids = (command.request, command.attempt, command.miner)
        there_ms = random.randint(1, 40)
        if self._chance("silent"):
            return
        if self._chance("die"):
            self._at(there_ms + random.randint(0, miner.service_ms), lambda: self._break(miner))
        self._report(events.Acknowledged(*ids), there_ms)
        if self._chance("stall"):
            return
        done_ms = there_ms + random.randint(1, 2 * miner.service_ms)
        if self._chance("long"):
            done_ms += random.randint(5_000, 90_000)
        for at_ms in range(there_ms + PROGRESS_MS, done_ms, PROGRESS_MS):
            self._at(at_ms, lambda at_ms=at_ms: self._tell(self._progressed(ids, miner, at_ms)))  # type: ignore[misc]
        if self._chance("foreign"):
            self._at(random.randint(0, done_ms), lambda: self._report_foreign(miner))
        if command.cpu_budget_ns is not None and self._chance("early"):
            estimate = Usage(cpu_ns=command.cpu_budget_ns + random.randint(-1, 10**6))
            self._report(events.AttemptFailed(*ids, code="price_cap", estimate=estimate), there_ms)
            return
        if self._chance("broken"):
            self._report(events.AttemptFailed(*ids, code="dservice_protocol"), done_ms)
            return
        if self._chance("fail") or (command.request in self._poisoned and not self.healed):
            self._report(events.AttemptFailed(*ids, code="dservice_crashed"), done_ms)
            return
        if self._chance("pass_on"):
            passed_ms = random.randint(there_ms, done_ms)
            self._report(events.ResponsePassedOn(*ids), passed_ms)
            if self._chance("leave"):
                self._at(
                    random.randint(passed_ms, done_ms + 20), lambda: self._tell(events.ClientGone(command.request))
                )
            if self._chance("fail"):
                self._report(events.AttemptFailed(*ids, code="bad_gateway"), done_ms)
                return
        self._report(self._finished(ids, miner, done_ms), done_ms)

    def _on_cancel(self, command: commands.CancelAttempt) -> None:
        """The driver's answer, at once; but other things may have happened in the same millisecond."""
        self.reached["cancelled_" + command.code] += 1
        if not command.settle:
            return
        self.reached["settled_" + command.code] += 1
        [miner] = [each for each in self.miners if each.id == command.miner]
        ids = (command.request, command.attempt, command.miner)
        used = self._progressed(ids, miner, self.random.randint(0, 5_000))
        self._at(0, lambda: self._tell(events.AttemptCut(*ids, used.claimed, used.measured)))
        if self._chance("duplicate"):
            self._at(1, lambda: self._tell(events.AttemptCut(*ids, used.claimed, used.measured)))

    def _progressed(self, ids: tuple[str, int, str], miner: FalseMiner, wall_ms: int) -> events.Progressed:
        used = self._finished(ids, miner, wall_ms)
        return events.Progressed(*ids, used.claimed, used.measured)

    def _finished(self, ids: tuple[str, int, str], miner: FalseMiner, wall_ms: int) -> events.AttemptFinished:
        random = self.random
        measured = Measured(wall_ms * 1_000_000, random.randint(0, 5_000), random.randint(0, 2_000_000))
        seconds_ns = measured.wall_ns
        claimed = Usage(
            cpu_ns=random.randint(0, seconds_ns * miner.fitness.threads),
            memory_byte_seconds=random.randint(0, miner.fitness.memory_bytes * seconds_ns // 10**9),
            wall_ns=random.randint(0, seconds_ns),
            gpu_ns=random.randint(0, seconds_ns * miner.fitness.gpus),
            request_bytes=measured.request_bytes,
            response_bytes=measured.response_bytes,
        )
        if self._chance("lie"):
            name = random.choice(Usage.__slots__)
            values = {each: getattr(claimed, each) for each in Usage.__slots__}
            values[name] = random.choice((-1, 10**18, values[name] * 10 + 10**15))
            claimed = Usage(**values)
        return events.AttemptFinished(*ids, claimed=claimed, measured=measured)

    def _report_foreign(self, miner: FalseMiner) -> None:
        """An answer for somebody else's attempt, for an old one, for one to come."""
        other = self.random.choice(self._assigned)
        attempt = other.attempt + self.random.choice((-1, 0, 0, 1))
        claimant = self.random.choice((miner.id, other.miner))
        if (attempt, claimant) == (other.attempt, other.miner):
            claimant = miner.id
            if claimant == other.miner:
                attempt += 1
        ids = (other.request, attempt, claimant)
        kind = self.random.randrange(3)
        if kind == 0:
            self._tell(events.AttemptFailed(*ids, code="no_slot"))
        elif kind == 1:
            self._tell(events.Acknowledged(*ids))
        else:
            self._tell(self._finished(ids, miner, 50))

    # ------------------------------------------------------------------------------------------------ mischief, heal

    def _mischief(self) -> None:
        """Once a second: what befalls the whole place."""
        if self.healed:
            return
        random = self.random
        if self._chance("storm"):
            for miner in self.miners:
                self._break(miner)
        if self._chance("slots"):
            miner = random.choice(self.miners)
            if miner.tunnel is not None:
                miner.slots = random.randint(0, 4)
                self._tell(events.SlotsChanged(miner.id, miner.tunnel, miner.slots))
        if self._chance("replace"):
            miner = random.choice(self.miners)
            old = miner.tunnel
            self._join(miner)
            if old is not None:
                self._at(random.randint(0, 500), lambda: self._tell(events.MinerLeft(miner.id, old)))
        if self._chance("policy"):
            self._send_policy()
        if self.now_ms >= self._paused_until_ms + PAUSE_MAX_MS and self._chance("pause"):
            self._paused_until_ms = self.now_ms + random.randint(100, PAUSE_MAX_MS)

    def _heal(self) -> None:
        """From now on everything works: every miner comes back and stays, the ledger takes every row."""
        self.healed = True
        self._paused_until_ms = 0
        self._send_policy()
        for miner in self.miners:
            self._at(0, lambda m=miner: self._join(m))  # type: ignore[misc]
            if miner.slots == 0 and miner.tunnel is not None:
                miner.slots = 1
                self._tell(events.SlotsChanged(miner.id, miner.tunnel, 1))
            miner.slots = max(1, miner.slots)

    def _drain(self) -> None:
        self.draining = True
        self._tell(events.Drain())


def run(seed: int, size: Size | None = None, check_core: bool = True) -> Outcome:
    """One seed. An audit error names the seed, so that it can be run again."""
    try:
        return World(seed, size, check_core=check_core).run()
    except AssertionError as error:
        error.add_note(f"seed {seed}, size {size or Size()}: cgn sim --seed {seed}")
        raise
