"""MediaGen's verifier (G-8, T-7): what screening and exact checks cost beside the work, what they find, whom they accuse
wrongly, and how soon a cheat is found by results that are drawn within a tenth of the work.

    .venv/bin/python tests/bench/bench_verifier.py [--tampered 255]

The requests are the development set of bench_estimator.py, made and judged over HTTP by one running service with one worker; a cost is the
CPU time of its front and worker, as a miner meters it, sources fetched anew each time. Results are tampered with before
encoding, as somebody would who wants to pass: with the right encoder, options and headers. A result counts as found if the
answer is "disagree". The last part runs the account of `cgn_sdk.dservice.sampling` over these requests in random order, with
the costs and answers that were measured.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import random
import statistics
import subprocess
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

os.environ["VIPS_CONCURRENCY"] = "1"
ROOT = Path(__file__).parents[2]
BESIDE = [str(Path(__file__).parent), str(ROOT / "tests/support")]
sys.path[:0] = BESIDE

import bench_estimator  # noqa: E402
from cgn_sdk.dservice import verdicts  # noqa: E402
from cgn_sdk.dservice.estimates import Work  # noqa: E402
from cgn_sdk.dservice.sampling import Account  # noqa: E402
from cgn_sdk.dservice.verdicts import Claim, Verdict, verdict_of  # noqa: E402
from mediagen_here import Here  # noqa: E402
from mediagen_tampering import KINDS, tampered  # noqa: E402

from dservices.mediagen.calibration.calibrate import SETTLE_S, Trial  # noqa: E402

REQUESTS = bench_estimator.DEVELOPMENT
ELSEWHERE = {"SSE2 only": {"VIPS_VECTOR": "0x1fff"}, "no vector instructions": {"VIPS_NOVECTOR": "1"}}
SOURCES_ONLY = "import sys; sys.path[:0] = sys.argv[1:]; import bench_estimator; bench_estimator.make_sources()"
"""In a process of its own: it draws text before our fonts are in place."""
WORK_ELSEWHERE = """
import sys; sys.path[:0] = sys.argv[2:]
import bench_estimator; from pathlib import Path; from mediagen_here import Here
here = Here(bench_estimator.SOURCES)
for number, body in enumerate(bench_estimator.DEVELOPMENT.values()):
    (Path(sys.argv[1]) / str(number)).write_bytes(here.work(body)[0])
"""


@dataclass(frozen=True)
class Measured:
    """One request: its honest claim, and CPU nanoseconds of making, screening and checking it."""

    claim: Claim
    work_ns: int
    screen_ns: int
    exact_ns: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tampered", type=int, default=255)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    paths = [str(ROOT), *BESIDE]
    subprocess.run([sys.executable, "-c", SOURCES_ONLY, *paths], check=True)
    here, trial = Here(bench_estimator.SOURCES), Trial(bench_estimator.SOURCES)
    try:
        judge(trial, claim_of(trial, Work("GET", trial.target(REQUESTS["button"]))))
        measured = {name: measure(trial, body) for name, body in REQUESTS.items()}
        report_costs(measured.values())
        report_elsewhere(trial, measured, paths)
        report_tampered(trial, here, measured, options.tampered, random.Random(options.seed))
    finally:
        trial.close()
    report_traffic(list(measured.values()))
    return 0


def claim_of(trial: Trial, work: Work) -> Claim:
    connection = http.client.HTTPConnection("127.0.0.1", trial.port, timeout=90)
    connection.request(work.method, work.target)
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {body[:500]!r}")
    return Claim(work, body, "exact", answer.status, headers)


def judge(trial: Trial, claim: Claim) -> Verdict:
    status, answer = trial.ask("POST", verdicts.PATH, claim.encoded())
    if status != 200:
        raise SystemExit(f"{status}: {answer[:500]!r}")
    return verdict_of(answer)


def spent(trial: Trial, do: Any) -> tuple[Any, int]:
    """(what it gives, CPU nanoseconds of the service)."""
    before = trial.cpu_ns()
    made = do()
    time.sleep(SETTLE_S)
    return made, trial.cpu_ns() - before


def measure(trial: Trial, body: str) -> Measured:
    work = Work("GET", trial.target(body))
    claim, work_ns = spent(trial, lambda: claim_of(trial, work))
    verdict, exact_ns = spent(trial, lambda: judge(trial, claim))
    if verdict.answer != "agree":
        raise SystemExit(f"an honest result is not agreed to: {verdict} {body}")
    screen = replace(claim, depth="screen")
    screen_ns = min(spent(trial, lambda: judge(trial, screen))[1] for _ in range(2))
    return Measured(claim, work_ns, screen_ns, exact_ns)


def report_costs(measured: Iterable[Measured]) -> None:
    each = list(measured)
    work_ns = sum(one.work_ns for one in each)
    print(f"{len(each)} honest results, {work_ns / 1e9:.2f} s of work, all agreed to by the exact check")
    for label, costs in (("screen", [one.screen_ns for one in each]), ("exact", [one.exact_ns for one in each])):
        ratios = sorted(cost / one.work_ns for cost, one in zip(costs, each, strict=True))
        print(
            f"{label}: median {statistics.median(costs) / 1e6:.2f} ms; beside the work all together {sum(costs) / work_ns:.4f},"
            f" median {statistics.median(ratios):.3f}, 90th percentile {ratios[int(len(ratios) * 0.9)]:.3f}",
            flush=True,
        )


def report_elsewhere(trial: Trial, measured: Mapping[str, Measured], paths: list[str]) -> None:
    """Honest results of processes with other instructions."""
    import tempfile

    for label, environment in ELSEWHERE.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", WORK_ELSEWHERE, folder, *paths]
            subprocess.run(command, env={**os.environ, **environment}, check=True)
            answers = []
            for number, one in enumerate(measured.values()):
                made = (Path(folder) / str(number)).read_bytes()
                if made != one.claim.result:
                    answers.append(judge(trial, with_result(one.claim, made)).answer)
        print(
            f"honest results made with {label}: {len(answers)} of {len(measured)} have other bytes; of these"
            f" {answers.count('agree')} agreed to, {answers.count('disagree')} accused",
            flush=True,
        )


def with_result(claim: Claim, result: bytes) -> Claim:
    tag = f'"{hashlib.sha256(result).hexdigest()[:32]}"'
    return replace(claim, result=result, headers={**claim.headers, "etag": tag})


def report_tampered(
    trial: Trial, here: Here, measured: Mapping[str, Measured], wanted: int, chance: random.Random
) -> None:
    exact: dict[str, list[str]] = defaultdict(list)
    screened: dict[str, list[str]] = defaultdict(list)
    names, pictures, made, turn = list(measured), {}, 0, 0
    while made < wanted:
        name = names[turn % len(names)]
        kind = list(KINDS)[(turn // len(names) + turn) % len(KINDS)]
        turn += 1
        claim = measured[name].claim
        if name not in pictures:
            pictures[name] = here.capture(REQUESTS[name])
        false = tampered(kind, here, REQUESTS[name], pictures[name], claim.result, chance)
        if false is None or false == claim.result:
            continue
        made += 1
        tried = with_result(claim, false)
        exact[kind].append(judge(trial, tried).answer)
        screened[kind].append(judge(trial, replace(tried, depth="screen")).answer)
        if exact[kind][-1] != "disagree":
            print(f"  not found: {kind} in {name}", flush=True)
    print(
        f"\n{made} tampered results:\n| kind | made | found by the exact check | by the screen |\n| --- | --- | --- | --- |"
    )
    for kind in (*KINDS, "all"):
        cells = []
        for answers in (exact, screened):
            each = answers[kind] if kind != "all" else [answer for one in answers.values() for answer in one]
            cells.append(f"{each.count('disagree') / len(each):.1%}" if each else "")
        print(f"| {kind} | {len(exact[kind]) if kind != 'all' else made} | {' | '.join(cells)} |")
    wrongly = sum(answers.count("agree") for answers in exact.values())
    print(f"wrongly agreed to: {wrongly}", flush=True)


def report_traffic(measured: list[Measured]) -> None:
    """The account over many results: cost of everything beside the work, and how soon a cheat is found."""
    descriptor = tomllib.loads(resources.files("dservices.mediagen").joinpath("dservice.toml").read_text())
    exact_ppm = descriptor["verifier"]["exact_ppm"]
    chance = random.Random(11)
    account = Account(chance.randbytes(32))
    number = 0

    def result(one: Measured) -> tuple[bool, int]:
        """(checked, the probability in millionths)."""
        nonlocal number
        number += 1
        draw = account.draw(
            f"{number:032x}",
            b"",
            work_ns=one.work_ns,
            check_ns=one.work_ns * exact_ppm // 10**6,
            screen_ns=one.screen_ns,
        )
        if draw.checked:
            account.settle(draw, one.exact_ns)
        return draw.checked, draw.probability_ppm

    print("\nresults | spent beside the work | checked | probability: mean, least but for none | overdrawn")
    done, work_ns, spent_ns, checked, odds = 0, 0, 0, 0, []
    for until in (100, 1_000, 10_000, 50_000):
        for _ in range(until - done):
            one = chance.choice(measured)
            hit, ppm = result(one)
            odds.append(ppm)
            work_ns, checked = work_ns + one.work_ns, checked + hit
            spent_ns += one.screen_ns + (one.exact_ns if hit else 0)
        done = until
        some = [ppm for ppm in odds if ppm]
        print(
            f"{until} | {spent_ns / work_ns:.4f} | {checked / until:.4f} | {statistics.mean(odds) / 1e6:.4f},"
            f" {min(some) / 1e6:.4f} | {1 - len(some) / until:.4%}"
        )
    rate = statistics.mean(odds[-10_000:]) / 1e6
    print(f"\na cheat, found after so many of its results (rate of checks r over the last 10,000: {rate:.4f}):")
    print(
        "| false | median | by 1-(1-rf)^n | 99th percentile | by 1-(1-rf)^n | false ones accepted before, mean | (1-r)/r |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    import math

    for every, tries in ((1, 2000), (10, 2000), (100, 1000)):
        counts, accepted = [], []
        for _ in range(tries):
            count = passed = 0
            while True:
                count += 1
                one = chance.choice(measured)
                false = chance.random() * every < 1
                hit, _ = result(one)
                if hit and false:
                    break
                passed += false
            counts.append(count)
            accepted.append(passed)
        counts.sort()
        formula = [math.ceil(math.log(1 - part) / math.log(1 - rate / every)) for part in (0.5, 0.99)]
        print(
            f"| 1 in {every} | {counts[tries // 2]} | {formula[0]} | {counts[int(tries * 0.99)]} | {formula[1]} |"
            f" {statistics.mean(accepted):.1f} | {(1 - rate) / rate:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(main())
