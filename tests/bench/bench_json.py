"""The canonical encoder beside orjson on rows: `python tests/bench/bench_json.py [--count 20000]`.

orjson is not a dependency (decision 0030): install it where this runs. Processor time in one process, the two in turns.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cgn_sdk.protocol import canonical

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def cost_us(work: Callable[[Any], object], values: list[Any], count: int) -> float:
    began = time.process_time_ns()
    for number in range(count):
        work(values[number % len(values)])
    return (time.process_time_ns() - began) / 1000 / count


def main(count: int) -> None:
    import orjson

    def fast(value: Any) -> bytes:
        return bytes(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))

    def examined(value: Any) -> bytes:
        canonical._examine(value, canonical.MAX_DEPTH)
        return fast(value)

    documents = _documents(json.loads((VECTORS / "row.json").read_text()))
    differ = [one for one in documents if fast(one) != canonical.encode(one)]
    print(f"{len(documents)} documents, {len(differ)} with other bytes")
    ways: dict[str, Callable[[Any], bytes]] = {
        "canonical.encode": canonical.encode, "orjson": fast, "the same refusals, then orjson": examined,
    }  # fmt: skip
    seen: dict[str, list[float]] = {}
    for _ in range(5):
        for name, work in ways.items():
            seen.setdefault(name, []).append(cost_us(work, documents, count))
    for name, costs in seen.items():
        each = statistics.median(costs)
        print(f"{name}: {each:.2f} µs, {1e6 / each:,.0f} documents/s of processor time")


def _documents(value: Any) -> list[Any]:
    """Every object of the vectors with more than three members, and those that they hold as text."""
    found = []
    if isinstance(value, dict):
        found += [value] if len(value) > 3 else []
        value = list(value.values())
    if isinstance(value, str) and value.startswith("{"):
        return _documents(json.loads(value))
    if isinstance(value, list):
        for one in value:
            found += _documents(one)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    main(parser.parse_args().count)
