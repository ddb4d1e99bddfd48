"""Miners and how they are found: one pool per DService, tier and (tier 1) owner, with its miners ranked by expected
completion time, so that picking one takes no scan.

Ranks are quarter octaves of microseconds: miners within 19 % of each other count as equal and take turns. All
iteration is in order of insertion, never of a hash, so the same events give the same choices.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from cgn_node.core import limits
from cgn_node.core.events import MinerJoined, ServiceLevel
from cgn_node.core.pricing import Tariff, Terms, Usage, believed

_LONGEST_US = limits.SERVICE_CEILING_US >> limits.FAILURE_SHIFT + 2
"""Of a measured service time: with all failures and a full miner it still has a rank."""


class Ranking:
    """Offers by rank, the best first; within a rank in turns. `mask` has a bit for each rank that is not empty."""

    __slots__ = ("mask", "ranks")

    def __init__(self) -> None:
        self.mask = 0
        self.ranks: list[OrderedDict[Offer, None]] = []

    def add(self, offer: "Offer", rank: int) -> None:
        while len(self.ranks) <= rank:
            self.ranks.append(OrderedDict())
        self.ranks[rank][offer] = None
        self.mask |= 1 << rank
        offer.ranking = self
        offer.rank = rank

    def remove(self, offer: "Offer") -> None:
        members = self.ranks[offer.rank]
        del members[offer]
        if not members:
            self.mask ^= 1 << offer.rank
        offer.ranking = None

    def first(self) -> "Offer | None":
        mask = self.mask
        return next(iter(self.ranks[(mask & -mask).bit_length() - 1])) if mask else None

    def __iter__(self) -> Iterator["Offer"]:
        mask = self.mask
        while mask:
            lowest = mask & -mask
            yield from self.ranks[lowest.bit_length() - 1]
            mask ^= lowest


class Pool:
    """The miners of one DService in one tier (of one owner in tier 1)."""

    __slots__ = (
        "away",
        "dservice",
        "free",
        "full",
        "members",
        "owner",
        "service_us",
        "slots",
        "tier",
        "tier_factor_ppm",
    )

    def __init__(self, dservice: str, tier: str, owner: str) -> None:
        self.dservice = dservice
        self.tier = tier
        self.owner = owner
        self.members: dict[str, Offer] = {}
        self.away: dict[str, tuple[int, Offer]] = {}  # who left a short time ago, and when; the latest last
        self.free = Ranking()
        self.full = Ranking()
        self.slots = 0
        self.tier_factor_ppm = 0  # the latest known
        self.service_us = 0  # mean over the pool, 0 before the first result


class Offer:
    """One DService on one miner, and how long a request to it is expected to take."""

    __slots__ = ("_tariff", "expected_us", "failures", "measured", "miner", "pool", "rank", "ranking", "service_us")

    def __init__(self, miner: "Miner", pool: Pool) -> None:
        self.miner = miner
        self.pool = pool
        self.service_us = pool.service_us or limits.PRIOR_SERVICE_US
        self.measured = False
        self.failures = 0  # in a row
        self.expected_us = 0  # of a request that is assigned now; as of the latest `place`
        self.rank = 0
        self.ranking: Ranking | None = None
        self._tariff: Tariff | None = None  # the latest that was asked for

    def tariff(self, terms: Terms) -> Tariff:
        """By which an attempt that begins now is priced: the tier's factor in force when the request arrived, or for a
        tier that was opened since, the latest."""
        factor_ppm = terms.tier_factor_ppm.get(self.miner.tier)
        if factor_ppm is None:
            factor_ppm = self.pool.tier_factor_ppm
        tariff = self._tariff
        if tariff is None or tariff.terms is not terms or tariff.factor_ppm != factor_ppm:
            ceiling = terms.cpus_milli.get(self.pool.dservice, 0)
            tariff = self._tariff = Tariff(terms, self.miner.fitness, factor_ppm, ceiling)
        return tariff

    def learn(self, service_us: int) -> None:
        """One more measured service time: exponentially weighted, the newest an eighth; the first stands alone."""
        if not 0 < service_us <= _LONGEST_US:
            service_us = 1 if service_us < 1 else _LONGEST_US
        self.service_us = (self.service_us * 7 + service_us) >> 3 if self.measured else service_us
        self.measured = True
        self.failures = 0
        pool = self.pool
        pool.service_us = (pool.service_us * 15 + service_us) >> 4 if pool.service_us else service_us

    def place(self, turn: bool) -> None:
        """Ranks the offer anew after its miner's load or its own figures changed. With `turn` it goes to the end of its
        rank."""
        miner = self.miner
        busy, slots = miner.busy, miner.slots
        expected_us = self.service_us
        if busy < slots:  # service time grows up to twice with the miner's load
            expected_us += expected_us * busy // slots
            ranking = self.pool.free
        else:
            ranking = self.pool.full
        if self.failures:
            expected_us <<= min(self.failures, limits.FAILURE_SHIFT)
        self.expected_us = expected_us = miner.latency_us + expected_us
        expected_us |= 16
        bits = expected_us.bit_length()
        rank = (bits << 2) | ((expected_us >> (bits - 3)) & 3)
        at = self.ranking
        if at is ranking and self.rank == rank:
            if turn:
                at.ranks[rank].move_to_end(self)
            return
        if at is not None:
            at.remove(self)
        ranking.add(self, rank)


class Miner:
    """One connected miner. `running` holds its requests, in the order in which they were assigned, and since when."""

    __slots__ = (
        "billed_cpu_ns",
        "billed_gpu_ns",
        "billed_memory_byte_seconds",
        "busy",
        "busy_ms",
        "busy_since_ms",
        "contributor",
        "fitness",
        "id",
        "is_registered",
        "latency_us",
        "machine",
        "offers",
        "owner",
        "running",
        "slots",
        "tier",
        "tunnel",
    )

    def __init__(self, joined: MinerJoined) -> None:
        self.id = joined.miner
        self.tunnel = joined.tunnel
        self.tier = joined.tier
        self.contributor = joined.contributor
        self.owner = (joined.enterprise or "") if joined.tier == "1" else ""
        self.fitness = believed(joined.fitness, joined.registered)
        self.is_registered = joined.registered is not None
        self.machine = self.fitness if self.is_registered else joined.fitness  # what it may have used, for all we know
        self.latency_us = joined.fitness.latency_us
        self.slots = max(0, min(joined.slots, limits.SLOTS))
        self.busy = 0
        self.busy_ms = 0  # in periods that are over
        self.busy_since_ms = 0
        self.billed_cpu_ns = 0
        self.billed_gpu_ns = 0
        self.billed_memory_byte_seconds = 0
        self.running: dict[str, int] = {}
        self.offers: dict[str, Offer] = {}

    def __repr__(self) -> str:
        return f"<Miner {self.id} tier {self.tier} {self.busy}/{self.slots}>"

    def join(self, pool: Pool) -> None:
        offer = self.offers[pool.dservice] = Offer(self, pool)
        pool.members[self.id] = offer
        pool.away.pop(self.id, None)
        pool.slots += self.slots
        offer.place(turn=False)

    def leave(self, now_ms: int, forget_ms: int) -> None:
        """`forget_ms`: who left before is not expected back any more."""
        for offer in self.offers.values():
            pool = offer.pool
            del pool.members[self.id]
            pool.slots -= self.slots
            away = pool.away
            while away and next(iter(away.values()))[0] < forget_ms:
                del away[next(iter(away))]
            away[self.id] = (now_ms, offer)  # `join` took it out: it stands last
            if offer.ranking is not None:
                offer.ranking.remove(offer)

    def change_slots(self, slots: int) -> None:
        slots = max(0, min(slots, limits.SLOTS))
        for offer in self.offers.values():
            offer.pool.slots += slots - self.slots
        self.slots = slots
        self.place()

    def place(self) -> None:
        for offer in self.offers.values():
            offer.place(turn=False)

    def take(self, request: str, now_ms: int) -> None:
        """Reserves a slot."""
        if not self.busy:
            self.busy_since_ms = now_ms
        self.busy += 1
        self.running[request] = now_ms
        for offer in self.offers.values():
            offer.place(turn=True)

    def give_back(self, request: str, now_ms: int) -> None:
        """Frees the request's slot."""
        del self.running[request]
        self.busy -= 1
        if not self.busy:
            self.busy_ms += now_ms - self.busy_since_ms + limits.CAPACITY_SLACK_MS
        for offer in self.offers.values():
            offer.place(turn=False)

    def bill(self, usage: Usage, now_ms: int) -> tuple[Usage, tuple[str, ...]]:
        """What is billed of a use, and the names of what was cut because the machine cannot have used it beside all it
        has been billed for: its requests share its threads, memory and GPUs, and together they have no more of them
        than it was busy long (N-20)."""
        busy_ns = self.busy_ms
        if self.busy:
            busy_ns += now_ms - self.busy_since_ms + limits.CAPACITY_SLACK_MS
        busy_ns *= 1_000_000
        fitness = self.fitness
        cpu_ns = busy_ns * fitness.threads - self.billed_cpu_ns
        gpu_ns = busy_ns * fitness.gpus - self.billed_gpu_ns
        memory = fitness.memory_bytes * busy_ns // 10**9 - self.billed_memory_byte_seconds
        cut: tuple[str, ...] = ()
        if usage.cpu_ns > cpu_ns or usage.gpu_ns > gpu_ns or usage.memory_byte_seconds > memory:
            left = {"cpu_ns": cpu_ns, "gpu_ns": gpu_ns, "memory_byte_seconds": memory}
            cut = tuple(name for name, room in left.items() if getattr(usage, name) > room)
            usage = replace(usage, **{name: left[name] for name in cut})
        self.billed_cpu_ns += usage.cpu_ns
        self.billed_gpu_ns += usage.gpu_ns
        self.billed_memory_byte_seconds += usage.memory_byte_seconds
        return usage, cut

    def reaches(self, level: ServiceLevel) -> bool:
        fitness = self.fitness
        return (
            fitness.threads >= level.threads
            and fitness.kmips_per_thread_milli >= level.kmips_per_thread_milli
            and fitness.bandwidth_bytes_per_s >= level.bandwidth_bytes_per_s
        )


def fitness_fault(joined: MinerJoined) -> str:
    """Why this miner cannot be taken, or ""."""
    fitness = joined.fitness
    if joined.runner != "docker" and joined.tier != "1":
        return "outside tier 1 the runner must be docker"
    if not 0 < len(joined.dservices) <= limits.DSERVICES:
        return f"a miner offers 1 to {limits.DSERVICES} DServices"
    bounds = (
        ("threads", fitness.threads, 1, limits.THREADS),
        ("kmips_per_thread_milli", fitness.kmips_per_thread_milli, 1, limits.KMIPS_PER_THREAD_MILLI),
        ("memory_bytes", fitness.memory_bytes, 1, limits.MEMORY_BYTES),
        ("gpus", fitness.gpus, 0, limits.GPUS),
        ("gflops_per_gpu", fitness.gflops_per_gpu, 0, limits.GFLOPS_PER_GPU),
        ("latency_us", fitness.latency_us, 0, limits.SERVICE_CEILING_US),
    )
    for name, value, low, high in bounds:
        if not low <= value <= high:
            return f"{name} must be between {low} and {high}"
    return ""
