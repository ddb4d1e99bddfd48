"""What the Work Broker itself costs per request: `python tests/bench/bench_broker_core.py`.

One request's life is four events (arrived, acknowledged, finished, row stored) and their commands,
made and handled, with `next_deadline` asked after each as the driver does; the same again with a queue that is never
empty. No I/O, one thread; CPU time, the best and the median of several rounds.
"""

import gc
import statistics
import sys
import time

from cgn_node.core.broker import Broker
from cgn_node.core.commands import Assign, Command
from cgn_node.core.events import (
    Acknowledged,
    AttemptFinished,
    Event,
    MinerJoined,
    PolicyChanged,
    RequestArrived,
    RowStored,
)
from cgn_node.core.pricing import Fitness, Measured, Prices, Terms, Usage

FITNESS = Fitness(threads=8, kmips_per_thread_milli=9_000, memory_bytes=16 << 30)
TERMS = Terms(
    version=1,
    dservices={"noop": ("2", "3")},
    prices=Prices(263_000, 325_000_000, 87_700_000, 1_000_000),
    tier_factor_ppm={"2": 1_000_000, "3": 700_000},
)
CLAIMED = Usage(cpu_ns=900_000, memory_byte_seconds=30_000, wall_ns=1_000_000, request_bytes=100, response_bytes=100)
MEASURED = Measured(wall_ns=1_200_000, request_bytes=100, response_bytes=100)


def broker_with(miners: int, slots: int) -> Broker:
    broker = Broker()
    broker.handle(PolicyChanged(TERMS), 0)
    for number in range(miners):
        broker.handle(MinerJoined(f"min_{number}", number, "2", f"con_{number}", None, ("noop",), slots, FITNESS), 0)
    return broker


def run(broker: Broker, requests: int, in_flight: int) -> float:
    """Microseconds per request with `in_flight` of them open at once (more than there are slots: they queue)."""

    def handle(event: Event, now_ms: int) -> list[Command]:
        commands = broker.handle(event, now_ms)
        broker.next_deadline()
        return commands

    names = [f"{number:032x}" for number in range(requests)]
    assigned: list[Assign] = []
    now_ms = arrived = ended = 0
    started = time.process_time()
    while ended < requests:
        while arrived < requests and arrived - ended < in_flight:
            event = RequestArrived(names[arrived], f"ent_{arrived & 7}", "noop", ("2", "3"), 30_000)
            assigned += handle(event, now_ms)  # type: ignore[arg-type]
            arrived += 1
        batch, assigned = assigned, []
        for a in batch:
            handle(Acknowledged(a.request, a.attempt, a.miner), now_ms)
            for command in handle(AttemptFinished(a.request, a.attempt, a.miner, CLAIMED, MEASURED), now_ms):
                if isinstance(command, Assign):
                    assigned.append(command)
            handle(RowStored(a.request), now_ms)
            ended += 1
        now_ms += 2 * in_flight  # so that what is claimed can have been used
    return (time.process_time() - started) / requests * 1e6


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    print("| miners x slots | open at once | best us/request | median | requests per CPU second (median) |")
    print("| --- | --- | --- | --- | --- |")
    for miners, slots, in_flight in (
        (2, 8, 1),
        (2, 64, 64),
        (100, 8, 64),
        (5_000, 8, 256),
        (2, 8, 256),
        (100, 8, 4_000),
    ):
        figures = []
        for _ in range(5):
            broker = broker_with(miners, slots)
            gc.collect()
            figures.append(run(broker, requests, in_flight))
            assert broker.statistics().counters["answered"] == requests
        median = statistics.median(figures)
        print(f"| {miners} x {slots} | {in_flight} | {min(figures):.1f} | {median:.1f} | {1e6 / median:,.0f} |")


if __name__ == "__main__":
    main()
