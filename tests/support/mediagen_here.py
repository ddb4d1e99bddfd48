"""MediaGen's work in this process, over a folder of sources: what a worker does, without the worker.

For benchmarks and tests that make many results, false ones too. Set VIPS_CONCURRENCY=1 before Python starts, as workers have it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("VIPS_CONCURRENCY", "1")

from dservices.mediagen.language import scripts
from dservices.mediagen.language.mrl import Mrl
from dservices.mediagen.operations import fonts
from dservices.mediagen.picture.picture import Picture
from dservices.mediagen.worker import engine, host

ADDRESS = "http://trial.invalid/trial.ms"


class Here:
    def __init__(self, sources: Path) -> None:
        import pyvips

        pyvips.cache_set_max(0)
        self.folder, self._fonts, self._table = sources, fonts.Fonts(None), host.script_table()
        self._fonts.install()

    def fetch(self, address: str, purpose: str) -> bytes:
        return (self.folder / address.rpartition("/")[2]).read_bytes()

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

    def capture(self, body: str) -> tuple[Picture, dict[str, Any]]:
        """(the picture that is saved, the options)."""
        made, failure = self._run(body, Capture)
        if failure is not None:
            raise failure
        saved: tuple[Picture, dict[str, Any]] = made.saved
        return saved


class Capture(host.Host):
    """A host that keeps what would be the answer instead of encoding it."""

    saved: tuple[Picture, dict[str, Any]]

    def _save(self, picture: Picture, args: dict[str, Any]) -> None:
        if args["name"] is not None:
            super()._save(picture, args)
            return
        self.saved = (picture, args)
        self.answer.body, self.answer.content_type = b"", None
