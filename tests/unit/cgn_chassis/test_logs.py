"""Structured logs (O-6): one line per event, secrets never."""

import asyncio
import errno
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from cgn_chassis import logs
from cgn_chassis.settings import Secret


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logs._State.sink, logs._State.level, logs._State.hide = None, logs.INFO, ()
    logs._State.lines, logs._State.unshown, logs._State.redact = None, 0, None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_lines_when_nobody_watches() -> None:
    out = io.StringIO()
    logs.configure(stream=out)
    logs.get("broker").bind(node="n1").info("request.finished", request_id="r", ms=3, level="forged")
    line = json.loads(out.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "source": "broker",
        "event": "request.finished",
        "node": "n1",
        "request_id": "r",
        "ms": 3,
    }


def test_coloured_text_at_a_terminal() -> None:
    out = Terminal()
    logs.configure(stream=out)
    logs.get("broker").warning("miner.lost", miner="m1")
    assert "\x1b[33mwarning" in out.getvalue()
    assert "broker miner.lost" in out.getvalue()
    assert "miner=m1" in out.getvalue()


def test_below_the_level_nothing_is_made() -> None:
    class Loud:
        def __str__(self) -> str:
            raise AssertionError("shown")

    out = io.StringIO()
    logs.configure(stream=out, level="warning")
    logs.get("x").info("quiet", value=Loud())
    logs.get("x").debug("quiet", value=Loud())
    assert out.getvalue() == ""
    assert not logs.get("x").is_on(logs.INFO)


def test_secrets_never_reach_a_line() -> None:
    out = io.StringIO()
    logs.configure(stream=out, form="json", hide=[r"key_[a-z0-9]+"])
    logs.get("x").info(
        "login",
        api_key="s3cret",
        nested={"password": "s3cret"},
        listed=[{"password": "s3cret"}],
        boxed=Secret("s3cret"),
        text="used key_s3cret today",
    )
    assert "s3cret" not in out.getvalue()
    assert out.getvalue().count("idden") == 5


def test_what_no_pattern_describes_is_taken_out_by_a_function() -> None:
    out = io.StringIO()
    logs.configure(stream=out, form="json", redact=lambda text: text.replace("s3cret", "gone"))
    logs.get("x").error("failed", short="s3cret", nested=["s3cret"], error=ValueError("s3cret"))
    logging.getLogger("library").error("s3cret")
    assert "s3cret" not in out.getvalue()
    assert out.getvalue().count("gone") == 4


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_stranger_cannot_forge_a_line_or_steer_the_terminal(form: str) -> None:
    out = io.StringIO()
    logs.configure(stream=out, form=form)
    logs.get("x").info("agent", agent="a\nerror forged\x1b[2J\u2028\x9b2J", big="y" * 100_000)
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()
    assert len(out.getvalue()) < 3_000


def test_libraries_come_out_in_the_same_form() -> None:
    out = io.StringIO()
    logs.configure(stream=out, form="json")
    for level in (logging.DEBUG, logging.WARNING, logging.WARNING + 1, logging.ERROR, logging.CRITICAL):
        logging.getLogger("some.library").log(level, "odd %s %d", "thing", level)
    found = lines_of(out.getvalue())
    assert {line["source"] for line in found} == {"some.library"}
    assert [line["level"] for line in found] == ["warning", "warning", "error", "error"]
    assert found[0]["message"] == "odd thing 30"


def test_a_library_that_repeats_itself_is_cut_short_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = io.StringIO(), 6_000.0
    logs.configure(stream=out, form="json")
    monkeypatch.setattr("cgn_chassis.logs.time.monotonic", lambda: now)
    for number in range(1_000):
        logging.getLogger("websockets.server").error("opening handshake failed for %d", number)
    logging.getLogger("websockets.server").error("something else")
    assert out.getvalue().count("\n") == logs.LIBRARY_LINES_PER_MINUTE + 1
    now += 60
    logging.getLogger("other").error("a minute later")
    left_out, later = lines_of(out.getvalue())[-2:]
    assert (left_out["event"], left_out["lines"]) == ("library.left_out", 1_000 - logs.LIBRARY_LINES_PER_MINUTE)
    assert later["message"] == "a minute later"


@pytest.mark.parametrize("above", [0, 1])
def test_so_many_lines_of_a_library_are_shown(monkeypatch: pytest.MonkeyPatch, above: int) -> None:
    out, now = io.StringIO(), 6_000.0
    logs.configure(stream=out, form="json")
    monkeypatch.setattr("cgn_chassis.logs.time.monotonic", lambda: now)
    for _ in range(logs.LIBRARY_LINES_PER_MINUTE + above):
        logging.getLogger("library").error("again")
    assert out.getvalue().count("\n") == logs.LIBRARY_LINES_PER_MINUTE
    now += 60
    logging.getLogger("library").error("a minute later")
    told = [line["lines"] for line in lines_of(out.getvalue()) if line["event"] == "library.left_out"]
    assert told == [1] * above


def test_so_many_wordings_are_told_apart_and_what_differs_each_time_is_cut_short_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    logs.configure(stream=out, form="json")
    monkeypatch.setattr("cgn_chassis.logs.time.monotonic", lambda: 6_000.0)
    monkeypatch.setattr(logs, "LIBRARY_WORDINGS_MAX", 2)
    monkeypatch.setattr(logs, "LIBRARY_LINES_PER_MINUTE", 2)
    for wording in "ab" + "cde" + "abab":
        logging.getLogger("library").error(wording)
    assert [line["message"] for line in lines_of(out.getvalue())] == ["a", "b", "c", "d", "a", "b"]


def test_times_are_in_utc_to_the_microsecond(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    logs.configure(stream=out, form="json")
    monkeypatch.setattr("cgn_chassis.logs.time.time_ns", lambda: 1_795_250_000_123_456_789)
    logs.get("x").error("now")
    assert json.loads(out.getvalue())["time"] == "2026-11-21T08:33:20.123456Z"


def test_an_exception_carries_its_trace() -> None:
    out = io.StringIO()
    logs.configure(stream=out, form="text")
    try:
        raise ValueError("broken")
    except ValueError:
        logs.get("x").exception("failed")
    assert "ValueError: broken" in out.getvalue()


# --- what a disk or a pipe does to lines ---


@pytest.fixture
def file(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "log").open("a") as opened:
        yield opened


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_disk_raises_nothing_and_is_told_when_it_has_room_again(file: TextIO, form: str) -> None:
    """O-6: the descriptor of the log is exchanged for a device that is always full, and back."""
    logs.configure(stream=file, form=form)
    log = logs.get("x")
    log.warning("before")
    kept = os.dup(file.fileno())
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file.fileno())
    for _ in range(7):
        log.warning("lost", text="y" * 100)
    logging.getLogger("library").error("lost too")
    assert logs.dropped() == 8
    os.dup2(kept, file.fileno())
    os.close(kept)
    os.close(full)
    log.warning("after")
    log.warning("later")
    assert logs.dropped() == 8
    text = Path(file.name).read_text()
    assert text.count("\n") == 4
    if form == "json":
        assert [line["event"] for line in lines_of(text)] == ["before", "logs.dropped", "after", "later"]
        assert lines_of(text)[1]["dropped"] == 8
    else:
        assert "logs.dropped dropped=8" in text


def test_a_line_of_which_only_a_part_fitted_is_ended_before_the_next(file: TextIO, monkeypatch: Any) -> None:
    logs.configure(stream=file, form="json")
    log, real = logs.get("x"), os.write

    def half(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", refuse)
        return real(descriptor, data[: len(data) // 2])

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", half)
    log.warning("torn")
    log.warning("and one that is not begun")
    assert logs.dropped() == 2
    monkeypatch.setattr(os, "write", real)
    log.warning("whole")
    first, *rest = Path(file.name).read_text().splitlines()
    assert first.startswith("{")
    assert not first.endswith("}")
    assert [line["event"] for line in lines_of("\n".join(rest))] == ["logs.dropped", "whole"]
    assert lines_of(rest[0])[0]["dropped"] == 2


def test_a_closed_pipe_and_a_closed_stream_raise_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        logs.configure(stream=stream, form="json")
        logs.get("x").error("nobody reads")
    assert logs.dropped() == 1
    logs.get("x").error("and now it is closed")
    assert logs.dropped() == 2


async def test_a_pipe_that_nobody_reads_holds_no_event_loop_up() -> None:
    """More lines than pipe and memory hold: the loop goes on, whole lines come out, the rest is counted."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        logs.configure(stream=stream, form="json")
        log = logs.get("x")
        for number in range(15_000):
            log.warning("much", number=number, text="y" * 100)
        lost = logs.dropped()
        assert lost > 0
        got = b""
        os.set_blocking(reading, False)
        for _ in range(2_000):
            try:
                got += os.read(reading, 1 << 20)
            except BlockingIOError:
                if got.count(b"\n") >= 15_000 - lost:
                    break
            await asyncio.sleep(0.005)
        found = lines_of(got.decode())
        assert [line["number"] for line in found] == list(range(15_000 - lost))
        log.warning("again")
        assert [line["event"] for line in lines_of(os.read(reading, 1 << 16).decode())] == ["logs.dropped", "again"]
    os.close(reading)


def test_what_cannot_be_shown_raises_nothing() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    out = io.StringIO()
    logs.configure(stream=out, form="json")
    before = logs.dropped()
    logs.get("x").error("odd", value=Broken())
    logging.getLogger("library").error("%d of them", "many")
    assert logs.dropped() == before + 2
    assert out.getvalue() == ""


class Pieces(io.StringIO):
    """Remembers what was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[int] = []

    def write(self, text: str) -> int:
        self.pieces.append(text.count("\n"))
        return super().write(text)


async def test_lines_below_a_warning_wait_for_each_other_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the loop's timer, a warning, or so many of them; in their order."""
    out = Pieces()
    logs.configure(stream=out, form="json")
    flushes: list[Any] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda after, flush: flushes.append(flush))
    log = logs.get("x")
    for number in range(3):
        log.info("gathered", number=number)
    assert (out.pieces, len(flushes)) == ([], 1)
    flushes.pop()()
    log.info("gathered", number=3)
    log.warning("at once", number=4)
    assert out.pieces == [3, 2]
    for number in range(logs.GATHERED_LINES_MAX - 1):
        log.info("many", number=5 + number)
    assert out.pieces == [3, 2]
    log.info("enough", number=4 + logs.GATHERED_LINES_MAX)
    assert out.pieces == [3, 2, logs.GATHERED_LINES_MAX]
    assert [line["number"] for line in lines_of(out.getvalue())] == list(range(5 + logs.GATHERED_LINES_MAX))


def test_a_line_longer_than_what_is_kept_for_a_slow_reader_is_written_all_the_same(file: TextIO) -> None:
    line = "x" * (logs.OWED_BYTES_MAX + 1) + "\n"
    logs._Lines(file, str).write(line)
    assert Path(file.name).read_text() == line


@pytest.mark.parametrize("lines", [1, 3_000, 12 * logs.GATHERED_LINES_MAX])
def test_the_last_lines_are_written_when_the_process_ends(lines: int) -> None:
    """What was gathered, and what a pipe had no room for yet."""
    program = """
import asyncio, sys
from cgn_chassis import logs

async def main():
    for number in range(int(sys.argv[1])):
        logs.get("x").info("last", number=number, text="y" * 100)

logs.configure(stream=sys.stdout, form="json")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program, str(lines)], capture_output=True, check=True, timeout=60)
    assert [line["number"] for line in lines_of(done.stdout.decode())] == list(range(lines))
