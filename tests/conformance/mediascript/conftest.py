"""Scripts run as a worker runs them (fetching from a dictionary), and pictures as plain lists of pixels."""

import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pyvips
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.channel import Status
from dservices.mediagen.estimator.estimates import Estimates
from dservices.mediagen.language import mrl
from dservices.mediagen.worker.worker import Runner

Pixel = tuple[int, ...]
Grid = list[list[Pixel]]

BASE = "http://origin.example/"


class Shelf:
    """Stands where a worker's channel to its parent is: fetches answer from `files`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self._next: tuple[dict[str, Any], bytes] = ({}, b"")

    def send(self, message: dict[str, Any], blob: bytes = b"") -> None:
        if "put" in message:
            self.uploads[message["put"]] = blob
            self._next = ({"ok": True}, b"")
        elif message["fetch"] in self.files:
            self._next = ({"ok": True}, self.files[message["fetch"]])
        else:
            self._next = ({"problem": [404, "source_missing", f"no {message['fetch']}", {}]}, b"")

    def receive(self) -> tuple[dict[str, Any], bytes]:
        return self._next


class Bench:
    """Runs scripts; `picture` gives the answer's pixels, `problem` the refusal."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.runner = Runner(self.shelf, Status(mmap.mmap(-1, mmap.PAGESIZE)), Estimates())  # type: ignore[arg-type]
        self.add("a.png", png(SAMPLE))

    def add(self, name: str, data: bytes) -> None:
        self.shelf.files[BASE + name] = data

    def outcome(
        self, script: str, query: str = "", headers: dict[str, str] | None = None, **uploads: bytes
    ) -> tuple[dict[str, Any], bytes]:
        if "function main" not in script and "function processImage" not in script:
            script = f"function main() {{ {script} }}"
        self.add("t.ms", script.encode())
        parsed = mrl.parse(f"/mgen/io?script={BASE}t.ms{query}")
        order = {
            "script": parsed.script,
            "function": parsed.function,
            "arguments": list(parsed.arguments),
            "parameters": dict(parsed.parameters),
            "query": parsed.query,
            "headers": headers or {},
            "uploads": [[name, len(data)] for name, data in uploads.items()],
        }
        outcome, body = self.runner.run(order, b"".join(uploads.values()))
        self.runner.prepare()
        return outcome, body

    def body(self, script: str, query: str = "", **more: Any) -> bytes:
        outcome, body = self.outcome(script, query, **more)
        assert "problem" not in outcome, outcome
        return body

    def text(self, expression: str, query: str = "", **more: Any) -> str:
        """What an expression of a script reads as."""
        return self.body(
            f"resp.setObject(new TextResponse('' + ({expression})), RespType.Streamed)", query, **more
        ).decode()

    def image(self, script: str, query: str = "") -> pyvips.Image:
        return pyvips.Image.new_from_buffer(self.body(script, query), "")

    def picture(self, script: str, query: str = "") -> Grid:
        return grid(self.image(script, query))

    def problem(self, script: str, query: str = "") -> Problem:
        outcome, _ = self.outcome(script, query)
        assert "problem" in outcome, outcome
        status, code, detail, facts = outcome["problem"]
        return Problem(status, code, detail, **facts)


def grid(image: pyvips.Image) -> Grid:
    data, bands = image.write_to_memory(), image.bands
    width = image.width
    return [
        [tuple(data[(y * width + x) * bands : (y * width + x + 1) * bands]) for x in range(width)]
        for y in range(image.height)
    ]


def png(rows: Grid) -> bytes:
    bands = len(rows[0][0])
    data = bytes(value for row in rows for pixel in row for value in pixel)
    image = pyvips.Image.new_from_memory(data, len(rows[0]), len(rows), bands, "uchar")
    return bytes(image.copy(interpretation="b-w" if bands == 1 else "srgb").pngsave_buffer())


SAMPLE: Grid = [[(x * 60 + 10, y * 80 + 5, x * 30 + y * 20) for x in range(4)] for y in range(3)]
"""4 x 3 pixels, all different, no symmetry."""


CALLED: dict[str, set[str]] = {}
"""Methods that were called in this process, with the parameters given to them."""
MODULES = frozenset(path.name for path in Path(__file__).parent.glob("test_*.py"))
_running: set[str] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks back at all calls runs last."""
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    _running.update(item.path.name for item in here)
    last = [item for item in here if "called" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in last] + last


@pytest.fixture(scope="session")
def called() -> dict[str, set[str]]:
    return CALLED


@pytest.fixture(scope="session")
def whole_folder(request: pytest.FixtureRequest) -> bool:
    chosen = request.config.getoption("-k") or request.config.getoption("-m")
    return not chosen and _running >= MODULES and "PYTEST_XDIST_WORKER" not in os.environ


def _recording(check: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def recorded(method: Any, packed: Any) -> dict[str, Any]:
        made = check(method, packed)
        given = CALLED.setdefault(method.name, set())
        if isinstance(packed, dict) and "named" in packed:
            given.update(str(pair[0]).lower() for pair in packed["named"] if pair[1] is not None)
        else:
            given.update(name for name, _ in zip(method.parameters, packed.get("positional", ()), strict=False))
        return made

    return recorded


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    from dservices.mediagen.worker import host, script_objects

    kept = host.check, script_objects.check
    host.check = script_objects.check = _recording(kept[0])
    yield Bench()
    host.check, script_objects.check = kept


@pytest.fixture
def sample() -> Grid:
    return [list(row) for row in SAMPLE]


@pytest.fixture(scope="session")
def make_png() -> Callable[[Grid], bytes]:
    return png
