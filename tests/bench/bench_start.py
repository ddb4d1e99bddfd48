"""From the command `cgn up` to the first answered request: `.venv/bin/python tests/bench/bench_start.py [--starts 3]`.

Three networks of two miners each, started in turn: the request path with a no-op DService, the request path with MediaGen,
and the same with the chain (token deployed, wallet funded and approving). Each is a process of its own from nothing. Two
times are told, both from its start: until it says that it is ready, and until its first request is answered (a session is
opened, then 100 bytes of the no-op or a picture of 320 x 320 come back). Seconds, medians.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cgn_sandbox.app import serve
from cgn_sandbox.network import SandboxOptions, cgn
from cgn_sdk.client import Client
from cgn_sdk.mrl import mrl

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
function main() {
  var picture = new Media();
  picture.makeCanvas(xs @ 320, ys @ 320, fillColor @ 0x1f4b7a);
  picture.save(type @ "png");
}
"""
START_TIME_LIMIT_S = 60
NO_OP_NETWORK = [sys.executable, str(Path(__file__).resolve()), "--serve-no-op"]
"""`cgn up` runs MediaGen; with other DServices the same code is started from here."""
NETWORKS: dict[str, tuple[list[str], bool]] = {
    "request path, no-op DService": (NO_OP_NETWORK, False),
    "request path, MediaGen": (cgn("up", "--json", "--no-chain"), True),
    "the same and the chain": (cgn("up", "--json"), True),
}
"""Command, and whether MediaGen is asked."""


def serve_no_op(directory: Path) -> int:
    no_op = [sys.executable, str(ROOT / "tests/support/noop_dservice.py")]
    options = SandboxOptions(directory=directory, chain=False, mediagen=False, extra_dservices={"noop": no_op})
    return asyncio.run(serve(options, as_json=True))


def facts(process: subprocess.Popen[str]) -> dict[str, str]:
    """What the network prints when it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "it ended"
    return dict(json.loads(line))


def start(command: list[str], mediagen: bool) -> tuple[float, float]:
    """Seconds until ready and until the first answer, from the start of the command."""
    with tempfile.TemporaryDirectory(prefix="cgn-") as name:
        folder = Path(name)
        (folder / "sources").mkdir()
        (folder / "sources/main.ms").write_text(SCRIPT)
        began = time.perf_counter()
        process = subprocess.Popen([*command, "--directory", name], stdout=subprocess.PIPE, text=True)
        try:
            said = facts(process)
            ready = time.perf_counter() - began
            with Client(
                said["work"], account_id=said["account"], api_key=said["key"], ca_file=said["authority"]
            ) as client:
                result = client.request("GET", mrl(f"{said['sources']}/main.ms") if mediagen else "/noop/100")
                body = result.read()
            answered = time.perf_counter() - began
            assert result.status == 200, body
            assert body.startswith(b"\x89PNG") if mediagen else len(body) == 100
        finally:
            process.terminate()
            process.wait(timeout=START_TIME_LIMIT_S)
    return ready, answered


def main(starts: int) -> None:
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in NETWORKS}
    for _ in range(starts):
        for name, (command, mediagen) in NETWORKS.items():
            took[name].append(start(command, mediagen))
    print(f"| network, {starts} starts in turn | ready, s | first answer, s |\n| --- | --- | --- |")
    for name, seen in took.items():
        told = [f"{statistics.median(c):.2f} ({min(c):.2f} to {max(c):.2f})" for c in zip(*seen, strict=True)]
        print(f"| {name} | {told[0]} | {told[1]} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--serve-no-op", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_no_op:
        sys.exit(serve_no_op(options.directory))
    main(options.starts)
