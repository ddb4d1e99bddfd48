"""A Work Broker with a clock of its own and short ways to say what happens; its invariants are checked after each event."""

from typing import Any

from cgn_node.core.broker import Broker
from cgn_node.core.commands import Command, RecordRow, Release
from cgn_node.core.events import (
    Acknowledged,
    AttemptFailed,
    AttemptFinished,
    Event,
    MinerJoined,
    PolicyChanged,
    Progressed,
    RequestArrived,
    RowStored,
    Tick,
)
from cgn_node.core.pricing import Fitness, Measured, Prices, Tariff, Terms, Usage
from cgn_node.core.settings import BrokerSettings

FITNESS = Fitness(threads=4, kmips_per_thread_milli=9_000, memory_bytes=8 << 30)
LEAST = Fitness(threads=1, kmips_per_thread_milli=1_000, memory_bytes=4 << 30)
"""What a machine counts as that nobody has registered."""
PRICES = Prices(263_000, 325_000_000, 87_700_000, 1_000_000)
TIERS = ("1", "2", "3", "4a", "4b")
TERMS = Terms(1, {"noop": TIERS, "media": ("1", "2")}, PRICES, dict.fromkeys(TIERS, 1_000_000))
MEASURED = Measured(wall_ns=10_000_000, request_bytes=10, response_bytes=100)
CLAIMED = Usage(cpu_ns=5_000_000, memory_byte_seconds=1_000, wall_ns=9_000_000, request_bytes=10, response_bytes=100)


def price(usage: Usage, fitness: Fitness = FITNESS, prices: Prices = PRICES, factor_ppm: int = 1_000_000) -> int:
    """What a use costs on such a machine."""
    return Tariff(Terms(1, {}, prices, {}), fitness, factor_ppm).price(usage)


class Bench:
    """A broker with a clock of its own and short ways to say what happens."""

    def __init__(self, settings: BrokerSettings | None = None) -> None:
        self.broker = Broker(settings)
        self.now_ms = 1_000
        self.tunnels = 0
        self.tell(PolicyChanged(TERMS))

    def tell(self, event: Event) -> list[Command]:
        commands = self.broker.handle(event, self.now_ms)
        self.broker.check()
        return commands

    def join(self, miner: str, tier: str = "2", slots: int = 1, **changed: Any) -> list[Command]:
        """What it says of its machine is registered so, unless `registered` is given."""
        self.tunnels += 1
        changed = {"dservices": ("noop",), "enterprise": None, "fitness": FITNESS} | changed
        changed = {"registered": changed["fitness"]} | changed
        return self.tell(
            MinerJoined(miner=miner, tunnel=self.tunnels, tier=tier, contributor="con_" + miner, slots=slots, **changed)
        )

    def arrive(self, request: str, account: str = "ent_a", **changed: Any) -> list[Command]:
        given: dict[str, Any] = {"dservice": "noop", "tiers": ("2", "3"), "deadline_ms": 60_000} | changed
        return self.tell(RequestArrived(request=request, account=account, **given))

    def finish(self, request: str, attempt: int, miner: str) -> list[Command]:
        return self.tell(AttemptFinished(request, attempt, miner, CLAIMED, MEASURED))

    def fail(self, request: str, attempt: int, miner: str, code: str = "dservice_crashed") -> list[Command]:
        return self.tell(AttemptFailed(request, attempt, miner, code))

    def progress(self, request: str, attempt: int, miner: str, cpu_ns: int = 0) -> list[Command]:
        return self.tell(Progressed(request, attempt, miner, Usage(cpu_ns=cpu_ns), Measured(cpu_ns, 0, 0)))

    def work(self, request: str, attempt: int, miner: str, ms: int) -> list[Command]:
        """The miner works on it for so long, and says so every second and a half."""
        commands: list[Command] = []
        for _ in range(ms // 1_500):
            commands += self.progress(request, attempt, miner) + self.pass_time(1_500)
        return commands + self.pass_time(ms % 1_500)

    def acknowledge(self, request: str, attempt: int, miner: str) -> None:
        assert self.tell(Acknowledged(request, attempt, miner)) == []

    def serve(self, request: str, attempt: int, miner: str) -> list[Command]:
        """The result and its durable row; returns what else came of it."""
        commands = self.finish(request, attempt, miner)
        assert isinstance(commands[0], RecordRow)
        assert (commands[0].request, commands[0].attempt, commands[0].miner) == (request, attempt, miner)
        return commands[1:] + [c for c in self.tell(RowStored(request)) if c != Release(request)]

    def pass_time(self, ms: int) -> list[Command]:
        """Ticks exactly when the broker asks for it."""
        until, commands = self.now_ms + ms, []
        while (due := self.broker.next_deadline()) is not None and due <= until:
            self.now_ms = max(self.now_ms, due)
            commands += self.tell(Tick())
        self.now_ms = until
        return commands
