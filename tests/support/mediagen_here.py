"""MediaGen's work and its verifier in this process, over a folder of sources: what a worker does, without the worker.

For benchmarks and tests that make and judge many results. Set VIPS_CONCURRENCY=1 before Python starts, as workers have it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from cgn_sdk.dservice.verdicts import Verdict, verdict_of

os.environ.setdefault("VIPS_CONCURRENCY", "1")

from dservices.mediagen import engine, fonts, host, scripts, verifying
from dservices.mediagen.mrl import Mrl

ADDRESS = "http://trial.invalid/trial.ms"


class Here:
    def __init__(self, sources: Path) -> None:
        import pyvips

        pyvips.cache_set_max(0)
        self._sources, self._fonts, self._table = sources, fonts.Fonts(None), host.script_table()
        self._fonts.install()

    def fetch(self, address: str, purpose: str) -> bytes:
        return (self._sources / address.rpartition("/")[2]).read_bytes()

    def _run(self, body: str, make: Any) -> tuple[Any, Any]:
        text = f"function main() {{ var m = new Media(); {body} }}"
        script = scripts.assemble(ADDRESS, lambda name: text.encode())
        context = engine.Context(self._table)  # a worker has one at hand
        made = make(Mrl(ADDRESS, "main", (), {}, ""), {}, self.fetch, self._fonts, locate=script.locate)
        try:
            report = context.run(script.code, "main", (), made.call)
        finally:
            context.close()
        failure = None if "done" in report else (made.problems[-1] if made.problems else RuntimeError(str(report)))
        return made, failure

    def work(self, body: str) -> tuple[bytes, str, int]:
        """(result, content type, CPU nanoseconds)."""
        started = time.process_time_ns()
        made, failure = self._run(body, host.Host)
        if failure is not None:
            raise failure
        return made.answer.body, made.answer.content_type, time.process_time_ns() - started

    def capture(self, body: str) -> tuple[Any, dict[str, Any]]:
        """(the picture that is saved, the options)."""
        made, failure = self._run(body, lambda *a, **o: verifying._Capture(*a, data={}, **o))
        if failure is not None:
            raise failure
        return made.saved

    def verify(
        self,
        body: str,
        result: bytes,
        content_type: str,
        *,
        share: float = 4.0,
        seed: bytes = bytes(32),
        status: int = 200,
    ) -> tuple[Verdict, int]:
        """(verdict, CPU nanoseconds)."""
        claim = {
            "status": status, "content_type": content_type, "seed": seed.hex(), "share_ppm": round(share * 1e6), "result": result,
        }  # fmt: skip
        started = time.process_time_ns()
        made, failure = self._run(body, lambda *a, **o: verifying.CheckHost(*a, claim=claim, **o))
        verdict = verdict_of(verifying.conclude(made, failure))
        return verdict, time.process_time_ns() - started


def shown(verdict: Verdict) -> str:
    return json.dumps(verdict.document())
