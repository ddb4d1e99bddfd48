"""`python gallery_runner.py FOLDER NAME…`: entries of the gallery as a worker renders them, in this very process and so in
its environment, without service or network. FOLDER holds scripts and sources. Prints `name sha256` a line."""

import hashlib
import mmap
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dservices.mediagen import mrl
from dservices.mediagen.gallery.table import entries
from dservices.mediagen.worker import Runner, Status

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


def main() -> int:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    runner = Runner(Shelf(folder), Status(mmap.mmap(-1, mmap.PAGESIZE)))  # type: ignore[arg-type]
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
