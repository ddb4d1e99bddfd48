"""Measures what each term of an estimate costs and writes the table:

    python -m dservices.mediagen.calibration.calibrate

A real service runs the trials (`scripts.CALIBRATION`) over sources rendered here; what is measured is the CPU time of
its front and worker together, as a miner meters it, in units of a fixed piece of work that is timed on the same core
right before and after (`machine_speed`), so that neither other load nor a machine that changes its speed matters much.
The coefficients come out of `fit`. The benchmark judges them on requests that were not fitted.

`--keep FILE` also writes the costs, `--from FILE` takes those of scripts that it has instead of measuring: after a
change to the model, but not to what a request does, fitting again takes seconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from dservices.mediagen.calibration import scripts as calibration_scripts
from dservices.mediagen.estimator import cost_model, fit
from dservices.mediagen.estimator.cost_model import group_of
from dservices.mediagen.front.pool import worker_environment
from dservices.mediagen.language import scripts
from dservices.mediagen.language.mrl import Mrl
from dservices.mediagen.limits import HEAD_BYTES
from dservices.mediagen.operations import fonts
from dservices.mediagen.worker import engine
from dservices.mediagen.worker.host import script_table

SETTLE_S = 0.012
"""After an answer the worker makes the next context: that belongs to the request's cost."""
LONG_NS, LONGER_NS = 80_000_000, 160_000_000
"""A request beyond the first is measured less often, and of two times beyond the second once: it lasts long enough by
itself."""
RUNS = 2
"""Of a trial: the fixed work is timed before, between and after them."""
VERSION = "3"


def whole(body: str) -> tuple[str, dict[str, str]]:
    """(script, parameters) of a trial: the body of a main function with an empty Media `m`; or a whole script behind a
    line `//?name=value&…` with the parameters."""
    if not body.startswith("//?"):
        return f"function main() {{ var m = new Media(); {body} }}", {}
    line, _, script = body.partition("\n")
    return script, dict(parse_qsl(line[3:]))


class Refused(Exception):
    """The service did not do a trial: what it said."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A request's cost: CPU nanoseconds as they were, and in units of the fixed work (medians), and its result."""

    cpu_ns: int
    works: float
    result: bytes


class Trial:
    """A running service with one worker, the fixed work beside it on the same core, an origin for its sources, and its
    CPU clock."""

    def __init__(self, sources: Path) -> None:
        class Handler(SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *arguments: object) -> None:
                pass

        class Origin(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # an estimate hangs up once it has the head of a source

        self.sources = sources
        self._origin = Origin(("127.0.0.1", 0), partial(Handler, directory=str(sources)))
        threading.Thread(target=self._origin.serve_forever, daemon=True).start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        environment = {
            **os.environ,
            "CGN_PORT": str(self.port),
            "CGN_MEDIAGEN_WORKERS": "1",
            "CGN_MEDIAGEN_CACHE_BYTES": "0",
            "CGN_MEDIAGEN_ALLOW": f"127.0.0.1:{self._origin.server_address[1]}",
        }
        core = max(os.sched_getaffinity(0))
        self._process = subprocess.Popen([sys.executable, "-m", "dservices.mediagen"], env=environment)
        os.sched_setaffinity(self._process.pid, {core})
        self._beside = subprocess.Popen(
            [sys.executable, "-m", "dservices.mediagen.estimator.machine_speed"],
            env=worker_environment(None),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        os.sched_setaffinity(self._beside.pid, {core})
        self.works_ns: list[int] = []
        """Every time of the fixed work, in order."""
        self._await_start()

    def _await_start(self) -> None:
        for _ in range(400):
            try:
                if self.ask("GET", "/_cgn/health")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit("the service does not start")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        self._beside.communicate(timeout=30)
        self._origin.shutdown()

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def target(self, body: str) -> str:
        """The request target of a script, see `whole`."""
        text, parameters = whole(body)
        name = f"trial-{abs(hash(body)):x}.ms"
        (self.sources / name).write_text(text)
        script = quote(f"http://127.0.0.1:{self._origin.server_address[1]}/{name}", safe="")
        return f"/mgen/io?script={script}" + "".join(f"&{key}={quote(value)}" for key, value in parameters.items())

    def cpu_ns(self) -> int:
        """CPU time of front and workers so far, threads that have ended included."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # The clock of another process, as clock_getcpuclockid(3) makes it out of the process id.
        return sum(time.clock_gettime_ns((~int(each) << 3) | 2) for each in (pid, *children))

    def work_ns(self) -> int:
        """CPU time of the fixed work just now."""
        assert self._beside.stdin is not None
        assert self._beside.stdout is not None
        self._beside.stdin.write(b"\n")
        self._beside.stdin.flush()
        self.works_ns.append(int(self._beside.stdout.readline()))
        return self.works_ns[-1]

    def measured(self, target: str, runs: int = 3) -> Measured:
        """The cost of a request, less often than `runs` where it takes long."""
        times, ratios, result = [], [], b""
        earlier = self.work_ns()
        for run in range(runs):
            before = self.cpu_ns()
            status, result = self.ask("GET", target)
            time.sleep(SETTLE_S)
            spent = self.cpu_ns() - before
            if status != 200:
                raise Refused(f"{status}: {result[:300].decode('utf-8', 'replace')}")
            later = self.work_ns()
            times.append(spent)
            ratios.append(2 * spent / (earlier + later))
            earlier = later
            if run + 1 >= (runs // 2 + 1 if spent > LONG_NS else runs) - (spent > LONGER_NS and runs < 3):
                break
        return Measured(round(statistics.median(times)), statistics.median(ratios), result)

    def estimated(self, target: str) -> dict[str, Any]:
        question = json.dumps({"method": "GET", "target": target}).encode()
        status, answer = self.ask("POST", "/_cgn/estimate", question)
        if status != 200:
            raise SystemExit(f"{status}: {answer[:600]!r}\n{target}")
        document: dict[str, Any] = json.loads(answer)
        return document


class Rehearsal:
    """Scripts run dry in this process, over the sources of a folder."""

    def __init__(self, sources: Path) -> None:
        self._sources, self._fonts = sources, fonts.Fonts(None)
        self._engine, self._table = engine, script_table()

    def head(self, address: str, purpose: str) -> bytes:
        path = self._sources / address.rpartition("/")[2]
        with path.open("rb") as file:
            return path.stat().st_size.to_bytes(8, "big") + file.read(HEAD_BYTES)

    def terms(self, body: str) -> dict[str, float]:
        """The terms of a script whose main function has this body."""
        return self.timed(body)[0]

    def timed(self, body: str) -> tuple[dict[str, float], int, int]:
        """(terms, nanoseconds of wall time of the run in the engine, of those in our steps); the context is at hand."""
        address = "http://trial.invalid/trial.ms"
        text, parameters = whole(body)
        script = scripts.assemble(address, lambda name: text.encode())
        mrl = Mrl(address, "main", (), parameters, "")
        weighing = cost_model.SketchHost(mrl, {}, self.head, self._fonts, locate=script.locate)
        spent = [0]

        def call(question: str) -> str:
            started = time.perf_counter_ns()
            try:
                return weighing.call(question)
            finally:
                spent[0] += time.perf_counter_ns() - started

        context = self._engine.Context(self._table)
        try:
            started = time.perf_counter_ns()
            report = context.run(script.code, "main", (), call)
            if "done" not in report:
                raise SystemExit(f"{body}: {report} {weighing.problems}")
            cost_model.answer_of(weighing, len(script.code), None)
            taken = time.perf_counter_ns() - started
        finally:
            context.close()
        return weighing.terms, taken, spent[0]


def measure(sources: Path, bodies: Mapping[str, str]) -> tuple[dict[str, float], int]:
    """(cost of every trial in units of the fixed work, by script; the fixed work's median time here)."""
    trial, costs = Trial(sources), {}
    try:
        trial.measured(trial.target("m.makeCanvas(xs @ 1, ys @ 1); m.save(type @ 'png');"), 5)
        for name, body in bodies.items():
            try:
                found = trial.measured(trial.target(body), RUNS)
            except Refused as refusal:
                print(f"left out: {name}: {refusal}", file=sys.stderr)
                continue
            costs[body] = found.works
            print(f"{found.cpu_ns / 1e6:9.1f} ms {found.works:9.2f}  {name}", flush=True)
    finally:
        trial.close()
    return costs, round(statistics.median(trial.works_ns))


def table_of(
    costs: Mapping[str, float], works_ns: int, sources: Path
) -> tuple[dict[str, Any], list[tuple[float, str]]]:
    """(what the file of coefficients holds, the relative error and name of every trial)."""
    rehearsal = Rehearsal(sources)
    fitted = {name: body for name, body in calibration_scripts.CALIBRATION.items() if body in costs}
    rows = [(rehearsal.terms(body), costs[body] * works_ns) for body in fitted.values()]
    values = fit.fit(rows)
    table = {
        "version": VERSION,
        "trials": len(rows),
        "yardstick_ns": works_ns,
        "nanoseconds": {name: round(value) for name, value in sorted(values.items())},
        "spread": {name: round(value, 3) for name, value in sorted(fit.spreads(rows, values, group_of).items())},
    }
    return table, list(zip(fit.errors(rows, values), fitted, strict=True))


def averaged(passes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The geometric mean of each script's costs, in the passes that have it."""
    return {
        body: math.exp(statistics.fmean(math.log(each[body]) for each in passes if body in each))
        for body in dict.fromkeys(body for each in passes for body in each)
    }


def write(table: Mapping[str, Any], path: Path) -> None:
    """The file of coefficients."""
    path.write_text(json.dumps(table, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(cost_model.__file__).with_name(cost_model.COEFFICIENTS))
    parser.add_argument("--sources", type=Path, default=Path(".cache/trials"))
    parser.add_argument("--keep", type=Path, help="also write the costs here, to fit again without measuring")
    parser.add_argument("--from", dest="kept", type=Path, help="take the costs that --keep wrote")
    parser.add_argument(
        "--passes", type=int, default=1, help="measure everything so often, 4 min each; a single time strays by 8 %%"
    )
    options = parser.parse_args()
    calibration_scripts.make_sources(options.sources)
    costs, works_ns = {}, 0
    if options.kept:
        kept = json.loads(options.kept.read_text())
        costs, works_ns = kept["works"], kept["yardstick_ns"]
    missing = {name: body for name, body in calibration_scripts.CALIBRATION.items() if body not in costs}
    if missing:
        passes = [measure(options.sources, missing) for _ in range(options.passes)]
        costs = {**costs, **averaged([found_costs for found_costs, _ in passes])}
        works_ns = works_ns or round(statistics.median(taken_ns for _, taken_ns in passes))
    if options.keep:
        options.keep.write_text(json.dumps({"yardstick_ns": works_ns, "works": costs}, indent=1))
    table, found = table_of(costs, works_ns, options.sources)
    for error, name in sorted(found, key=lambda pair: -abs(pair[0]))[:20]:
        print(f"{error:+7.1%} of {costs[calibration_scripts.CALIBRATION[name]] * works_ns / 1e6:8.1f} ms  {name}")
    print(f"{len(found)} trials fitted, {fit.within([error for error, _ in found]):.1%} within 25 %")
    write(table, options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
