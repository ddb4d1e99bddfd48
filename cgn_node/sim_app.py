"""`cgn sim`: the Work Broker under simulated faults, as many seeds as wanted.

A seed is one run of the real core in a false world (`cgn_node.simulation`). Same seed and sizes, same trace hash, on
any machine. Exit code 1 when the auditor found a broken promise; the seed is
named, and running it alone shows it again.
"""

import json
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence

from cgn_sdk.command_line import Parser

from cgn_node.simulation.world import Size, run

SIZE = Size()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="cgn sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the (first) seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, counting up")
    parser.add_argument("--requests", type=int, default=SIZE.requests, help="work requests per seed")
    parser.add_argument("--miners", type=int, default=SIZE.miners)
    parser.add_argument("--hours", type=float, default=SIZE.hours, help="virtual time in which they arrive")
    parser.add_argument("--check-core", action="store_true", help="also check the core's own invariants now and then")
    parser.add_argument("--json", action="store_true", help="one JSON line per seed instead of text")
    options = parser.parse_args(arguments)
    if min(options.seeds, options.requests, options.miners) < 1 or options.hours <= 0:
        parser.error("seeds, requests, miners and hours must be positive")
    size = Size(options.requests, options.miners, options.hours)
    ended: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    virtual_ms = events = 0
    started = time.perf_counter()
    for seed in range(options.seed, options.seed + options.seeds):
        try:
            outcome = run(seed, size, check_core=options.check_core)
        except AssertionError:
            traceback.print_exc()
            print(f"seed {seed}: BROKEN", file=sys.stderr)
            return 1
        ended.update(outcome.ended)
        reached.update(outcome.reached)
        virtual_ms += outcome.virtual_ms
        events += outcome.events
        if options.json:
            print(
                json.dumps({"seed": seed, "trace": outcome.trace, "ended": outcome.ended, "reached": outcome.reached})
            )
        elif options.seeds <= 20:
            print(f"seed {seed}: {outcome.trace}  {sum(outcome.ended.values())} requests ended, all as promised")
    if not options.json:
        _print_summary(options.seeds, ended, reached, virtual_ms, events, time.perf_counter() - started)
    return 0


def _print_summary(
    seeds: int, ended: Counter[str], reached: Counter[str], virtual_ms: int, events: int, elapsed_s: float
) -> None:
    def listed(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())

    requests = sum(ended.values())
    faster = virtual_ms / 1000 / elapsed_s
    print(f"{seeds} seeds, {requests:,} requests, {events:,} events, {virtual_ms / 1000:,.0f} virtual seconds")
    print(f"  in {elapsed_s:.1f} s: {requests / elapsed_s:,.0f} requests/s, {faster:,.0f} x real time")
    print(f"  ended: {listed(ended)}")
    print(f"  faults reached: {listed(reached)}")
    print("auditor: every accepted request ended once, and was billed once when answered and never otherwise")


if __name__ == "__main__":
    sys.exit(main())
