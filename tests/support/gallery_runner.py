"""`python gallery_runner.py FOLDER NAME…`: entries of the gallery as a worker renders them, in this very process and so in
its environment, without service or network. FOLDER holds scripts and sources. Prints `name sha256` a line. WEBP_PROCESSOR
may name the instructions that libwebp finds (VIPS_VECTOR says it to libvips)."""

import ctypes
import hashlib
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dservices.mediagen.channel import Status
from dservices.mediagen.estimator.estimates import Estimates
from dservices.mediagen.gallery.table import entries
from dservices.mediagen.language import mrl
from dservices.mediagen.worker.worker import Runner

BASE = "http://origin.example"


class Shelf:
    """Stands where a worker's channel to its parent is: fetches answer from a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = b""

    def send(self, message: dict[str, Any], blob: bytes = b"") -> None:
        self._next = (self._folder / urlsplit(message["fetch"]).path.lstrip("/")).read_bytes()

    def receive(self) -> tuple[dict[str, Any], bytes]:
        return {"ok": True}, self._next


INSTRUCTIONS = {"none": (), "SSE2": (0, 1), "SSE4.1": (0, 1, 2, 3)}
"""Of libwebp's CPUFeature, by what the processor is called that has them."""


@contextmanager
def libwebp_on(processor: str) -> Iterator[None]:
    """libwebp as it runs on another processor: it asks a function of its own what there is, and asks again when that
    is another one."""
    from dservices.mediagen.formats import webp

    webp.version()  # loads the library; the entry in the process's table of files tells which one it is
    path = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libwebp-" in line)
    asked: list[int] = []
    there = INSTRUCTIONS[processor]
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)

    def has(feature: int) -> bool:
        asked.append(feature)
        return feature in there

    answer = kind(has)
    pointer = ctypes.c_void_p.in_dll(ctypes.CDLL(path), "VP8GetCPUInfo")
    before = pointer.value
    pointer.value = ctypes.cast(answer, ctypes.c_void_p).value
    try:
        yield
        assert asked, "libwebp has not asked what the processor can do"
    finally:
        pointer.value = before
        _kept.append(answer)


_kept: list[object] = []
"""libwebp remembers whom it has asked: these functions stay."""


def main() -> int:
    processor = os.environ.get("WEBP_PROCESSOR")
    if processor is None:
        return run()
    with libwebp_on(processor):
        return run()


def run() -> int:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    runner = Runner(Shelf(folder), Status(mmap.mmap(-1, mmap.PAGESIZE)), Estimates())  # type: ignore[arg-type]
    for entry in entries():
        if entry.name not in names:
            continue
        parsed = mrl.parse(entry.mrl(BASE))
        order = {
            "script": parsed.script,
            "function": parsed.function,
            "arguments": [],
            "parameters": dict(parsed.parameters),
            "query": parsed.query,
            "headers": {name.lower(): value for name, value in entry.headers.items()},
        }
        outcome, body = runner.run(order)
        assert "problem" not in outcome, (entry.name, outcome)
        print(entry.name, hashlib.sha256(body).hexdigest(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
