"""`python -m dservices.mediagen.calibrate`: measures what each term of an estimate costs and writes the table.

A real service runs the trials (`trials.CALIBRATION`) over sources rendered here; what is measured is the CPU time of
its front and worker together, as a miner meters it, so that other load matters little. The coefficients are those
non-negative numbers that make the sum of squares of the relative errors least (coordinate descent: a few hundred
unknowns need no library). The benchmark judges them on trials that were not fitted.
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
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dservices.mediagen import trials
from dservices.mediagen.facts import HEAD_BYTES

SETTLE_S = 0.02
"""After an answer the worker makes the next context: that belongs to the request's cost."""
RIDGE = 1e-6
SWEEPS = 1000
ROUNDS = 8
TRUSTED = 0.15
"""A row that is off by less (natural logarithm) has its full weight."""
_VERSION = "2"


class Refused(Exception):
    """The service did not do a trial: what it said."""


class Trial:
    """A running service with one worker, an origin for its sources, and its CPU clock."""

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
        self._process = subprocess.Popen([sys.executable, "-m", "dservices.mediagen"], env=environment)
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
        """The request target of a script whose main function has this body."""
        name = f"trial-{abs(hash(body)):x}.ms"
        (self.sources / name).write_text(f"function main() {{ var m = new Media(); {body} }}")
        return f"/mgen/io?script={quote(f'http://127.0.0.1:{self._origin.server_address[1]}/{name}', safe='')}"

    def cpu_ns(self) -> int:
        """CPU time of front and workers so far, threads that have ended included."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # The clock of another process, as clock_getcpuclockid(3) makes it out of the process id.
        return sum(time.clock_gettime_ns((~int(each) << 3) | 2) for each in (pid, *children))

    def measured(self, target: str, runs: int = 3) -> tuple[int, bytes]:
        """(median CPU nanoseconds, the result) of a request."""
        times, result = [], b""
        for _ in range(runs):
            before = self.cpu_ns()
            status, result = self.ask("GET", target)
            time.sleep(SETTLE_S)
            times.append(self.cpu_ns() - before)
            if status != 200:
                raise Refused(f"{status}: {result[:300].decode('utf-8', 'replace')}")
        return round(statistics.median(times)), result

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
        from dservices.mediagen import engine, fonts, host

        self._sources, self._fonts = sources, fonts.Fonts(None)
        self._engine, self._table = engine, host.script_table()

    def head(self, address: str, purpose: str) -> bytes:
        path = self._sources / address.rpartition("/")[2]
        with path.open("rb") as file:
            return path.stat().st_size.to_bytes(8, "big") + file.read(HEAD_BYTES)

    def terms(self, body: str) -> dict[str, float]:
        """The terms of a script whose main function has this body."""
        return self.timed(body)[0]

    def timed(self, body: str) -> tuple[dict[str, float], int, int]:
        """(terms, nanoseconds of wall time of the run in the engine, of those in our steps); the context is at hand."""
        from dservices.mediagen import estimating, scripts
        from dservices.mediagen.mrl import Mrl

        address = "http://trial.invalid/trial.ms"
        text = f"function main() {{ var m = new Media(); {body} }}"
        script = scripts.assemble(address, lambda name: text.encode())
        mrl = Mrl(address, "main", (), {}, "")
        host = estimating.SketchHost(mrl, {}, self.head, self._fonts, locate=script.locate)
        spent = [0]

        def call(question: str) -> str:
            started = time.perf_counter_ns()
            try:
                return host.call(question)
            finally:
                spent[0] += time.perf_counter_ns() - started

        context = self._engine.Context(self._table)
        try:
            started = time.perf_counter_ns()
            report = context.run(script.code, "main", (), call)
            if "done" not in report:
                raise SystemExit(f"{body}: {report} {host.problems}")
            estimating.answer_of(host, len(script.code), None)
            taken = time.perf_counter_ns() - started
        finally:
            context.close()
        return host.terms, taken, spent[0]


def fit(rows: Sequence[tuple[Mapping[str, float], float]]) -> dict[str, float]:
    """Non-negative coefficients of the terms. `rows`: (terms, nanoseconds).

    Least squares of relative errors would rather be too low than too high, as nothing is off by more than 100 % below;
    so the rounds weigh a row by the mean of measured and estimated, and one that does not fit the rest counts less."""
    names = sorted({name for terms, _ in rows for name in terms})
    values = dict.fromkeys(names, 0.0)
    weights = [1 / measured for _, measured in rows]
    for _ in range(ROUNDS):
        values = _solved(rows, weights, names, values)
        weights = []
        for terms, measured in rows:
            estimated = max(measured / 20, sum(values[name] * amount for name, amount in terms.items()))
            apart = abs(math.log(estimated / measured))
            weights.append((estimated * measured) ** -0.5 * min(1.0, TRUSTED / max(apart, 1e-9)) ** 0.5)
    return values


def _solved(
    rows: Sequence[tuple[Mapping[str, float], float]],
    weights: Sequence[float],
    names: Sequence[str],
    start: Mapping[str, float],
) -> dict[str, float]:
    """Weighted non-negative least squares by coordinate descent."""
    columns = {
        name: [(index, terms[name] * weights[index]) for index, (terms, _) in enumerate(rows) if terms.get(name)]
        for name in names
    }
    values = dict(start)
    residuals = [
        weight * (measured - sum(values[name] * amount for name, amount in terms.items()))
        for (terms, measured), weight in zip(rows, weights, strict=True)
    ]
    for _ in range(SWEEPS):
        moved = 0.0
        for name in names:
            column = columns[name]
            norm = sum(share * share for _, share in column)
            if norm == 0:
                continue
            gradient = sum(share * residuals[index] for index, share in column)
            value = max(0.0, (values[name] * norm + gradient) / (norm * (1 + RIDGE)))
            change = value - values[name]
            if change:
                values[name] = value
                for index, share in column:
                    residuals[index] -= share * change
                moved = max(moved, abs(change) * norm**0.5)
        if moved < 1e-6:
            break
    return values


def errors(rows: Sequence[tuple[Mapping[str, float], float]], values: Mapping[str, float]) -> list[float]:
    """Relative errors of the estimates, signed, in the order of the rows."""
    return [
        sum(values.get(name, 0.0) * amount for name, amount in terms.items()) / measured - 1 for terms, measured in rows
    ]


def measure(sources: Path, kept: Mapping[str, int]) -> list[tuple[dict[str, float], int, str]]:
    """(terms, CPU nanoseconds, name) of every trial; `kept` times are not measured again."""
    trials.make_sources(sources)
    rows, rehearsal = [], Rehearsal(sources)
    trial = Trial(sources)
    try:
        trial.measured(trial.target("m.makeCanvas(xs @ 1, ys @ 1); m.save(type @ 'png');"), 5)
        for name, body in trials.CALIBRATION.items():
            target = trial.target(body)
            terms = rehearsal.terms(body)
            try:
                cpu_ns = kept[name] if name in kept else trial.measured(target)[0]
            except Refused as refusal:
                print(f"left out: {name}: {refusal}", file=sys.stderr)
                continue
            rows.append((terms, cpu_ns, name))
            if name not in kept:
                print(f"{cpu_ns / 1e6:9.1f} ms  {name}", flush=True)
    finally:
        trial.close()
    return rows


def yardstick_ns() -> int:
    """The fixed work as a worker would do it, in a process of its own with a worker's environment; the median of 7."""
    from dservices.mediagen.pool import worker_environment

    code = "from dservices.mediagen.estimating import yardstick_ns; print(yardstick_ns())"
    times = [
        int(
            subprocess.run(
                [sys.executable, "-c", code], env=worker_environment(None), capture_output=True, check=True
            ).stdout
        )
        for _ in range(7)
    ]
    return int(statistics.median(times))


def main() -> int:
    from dservices.mediagen import estimating

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(estimating.__file__).with_name(estimating.COEFFICIENTS))
    parser.add_argument("--sources", type=Path, default=Path(".cache/trials"))
    parser.add_argument("--keep", type=Path, help="also write the times here, to fit again without measuring")
    parser.add_argument("--from", dest="kept", type=Path, help="take the times that --keep wrote")
    options = parser.parse_args()
    rows = measure(options.sources, json.loads(options.kept.read_text()) if options.kept else {})
    if options.keep:
        options.keep.write_text(json.dumps({name: cpu_ns for _, cpu_ns, name in rows}, indent=1))
    plain = [(terms, float(cpu_ns)) for terms, cpu_ns, _ in rows]
    values = fit(plain)
    found = errors(plain, values)
    for error, (_, cpu_ns, name) in sorted(zip(found, rows, strict=True), key=lambda pair: -abs(pair[0]))[:20]:
        print(f"{error:+7.1%} of {cpu_ns / 1e6:8.1f} ms  {name}")
    print(f"{len(rows)} trials fitted, {sum(abs(e) <= 0.25 for e in found) / len(found):.0%} within 25 %")
    table = {
        "version": _VERSION,
        "yardstick_ns": yardstick_ns(),
        "nanoseconds": {name: round(value) for name, value in sorted(values.items())},
    }
    options.out.write_text(json.dumps(table, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
