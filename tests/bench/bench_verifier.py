"""MediaGen's verifier (G-8, T-7): what it costs beside the work, what it finds, and whom it accuses wrongly.

    .venv/bin/python tests/bench/bench_verifier.py [--tampered 1000] [--shares 0.1,1]

The requests are those of bench_estimator.py, run in this process as a worker runs them (context, script, pixels); CPU time
of the process. For every request the honest result is verified first (any "disagree" there is a false accusation), with and
without its sources known from an earlier verification. Then results are tampered with before encoding, as somebody would
who wants to pass: with the right encoder and its options. The cases take turns until the number asked for is reached.
A result counts as found if the answer is "disagree"; where only "cannot_tell" comes back nobody is paid for it unseen,
but nothing was found either.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

os.environ["VIPS_CONCURRENCY"] = "1"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

import bench_estimator  # noqa: E402
from mediagen_here import Here  # noqa: E402
from mediagen_tampering import KINDS, tampered  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tampered", type=int, default=1000)
    parser.add_argument("--shares", default="0.1,1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--only-tampered", action="store_true")
    options = parser.parse_args()
    shares = [float(text) for text in options.shares.split(",")]
    bench_estimator.make_sources()
    here = Here(bench_estimator.SOURCES)
    names = list(bench_estimator.DEVELOPMENT)
    here.work(bench_estimator.DEVELOPMENT[names[0]])
    honest = {name: here.work(body) for name, body in bench_estimator.DEVELOPMENT.items()}
    for share in shares if not options.only_tampered else ():
        report_honest(here, honest, share, options.each)
    found: dict[float, dict[str, list[str]]] = {share: defaultdict(list) for share in shares}
    ratios: dict[float, list[float]] = defaultdict(list)
    by_class: dict[float, dict[str, list[str]]] = {share: defaultdict(list) for share in shares}
    chance, made, turn = random.Random(options.seed), 0, 0
    pictures: dict[str, Any] = {}
    while made < options.tampered:
        name = names[turn % len(names)]
        kind = list(KINDS)[(turn // len(names) + turn) % len(KINDS)]
        turn += 1
        body = bench_estimator.DEVELOPMENT[name]
        result, content_type, work_ns = honest[name]
        if name not in pictures:
            pictures[name] = here.capture(body)
        false = tampered(kind, here, body, pictures[name], result, chance)
        if false is None or false == result:
            continue
        made += 1
        seed = chance.randbytes(32)
        for share in shares:
            forget()
            verdict, cpu_ns = here.verify(body, false, content_type, share=share, seed=seed)
            found[share][kind].append(verdict.answer)
            by_class[share][checked(verdict.checks)].append(verdict.answer)
            ratios[share].append(cpu_ns / work_ns)
            if options.each and verdict.answer != "disagree":
                print(
                    f"  not found at {share:g}: {kind} in {name}: {verdict.answer} {verdict.reason} {', '.join(verdict.checks)}",
                    flush=True,
                )
    for share in shares:
        print(f"\n{made} tampered results, {share:g} of the work allowed, nothing known of the sources:")
        print("| kind | made | found | told that it cannot tell | agreed |\n| --- | --- | --- | --- | --- |")
        total = [answer for answers in found[share].values() for answer in answers]
        for kind, answers in [*found[share].items(), ("all", total)]:
            cells = [f"{answers.count(a) / len(answers):.1%}" for a in ("disagree", "cannot_tell", "agree")]
            print(f"| {kind} | {len(answers)} | " + " | ".join(cells) + " |")
        for checks, answers in sorted(by_class[share].items()):
            print(
                f"ended after {checks}: {len(answers)}, found {answers.count('disagree') / len(answers):.1%}, agreed {answers.count('agree') / len(answers):.1%}"
            )
        print(f"cost beside the work: median {statistics.median(ratios[share]):.2f}")
    return 0


def checked(checks: tuple[str, ...]) -> str:
    return checks[-1].partition(",")[0] if checks else "nothing"


def forget() -> None:
    from dservices.mediagen import verifying

    verifying.forget_proxies()


def report_honest(here: Here, honest: dict[str, tuple[bytes, str, int]], share: float, each: bool) -> None:
    """Ratios and answers of honest results: cold, and with their sources known."""
    for label, known in (("nothing known of the sources", False), ("sources known from an earlier verdict", True)):
        answers, ratios, total, work = [], [], 0, 0
        for name, (result, content_type, work_ns) in honest.items():
            body = bench_estimator.DEVELOPMENT[name]
            forget()
            if known:
                here.verify(body, result, content_type, share=0.99)
            verdict, cpu_ns = here.verify(body, result, content_type, share=share, seed=bytes(range(32)))
            answers.append(verdict.answer)
            ratios.append(cpu_ns / work_ns)
            total, work = total + cpu_ns, work + work_ns
            if verdict.answer == "disagree" or each:
                print(
                    f"  {verdict.answer} {cpu_ns / work_ns:.2f} of {work_ns / 1e6:.0f} ms: {name}: {verdict.reason} {verdict.detail} {', '.join(verdict.checks)}"
                )
        ordered = sorted(ratios)
        agreed = [ratio for ratio, answer in zip(ratios, answers, strict=True) if answer == "agree"]
        print(
            f"{len(answers)} honest results, {share:g} of the work allowed, {label}: {answers.count('disagree')} accused, {answers.count('agree')} agreed,"
            f" {answers.count('cannot_tell')} cannot tell; cost beside the work: all together {total / work:.3f}, median {statistics.median(ratios):.2f},"
            f" 90th percentile {ordered[int(len(ordered) * 0.9)]:.2f}; {sum(r <= 0.1 for r in agreed)} agreed within a tenth",
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(main())
