"""Structured logs (O-6): one line per event, secrets never."""

import io
import json
import logging
from collections.abc import Iterator

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
        "login", api_key="s3cret", nested={"password": "s3cret"}, boxed=Secret("s3cret"), text="used key_s3cret today"
    )
    assert "s3cret" not in out.getvalue()
    assert out.getvalue().count("idden") == 4


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
    logging.getLogger("some.library").warning("odd %s", "thing")
    line = json.loads(out.getvalue())
    assert (line["source"], line["message"]) == ("some.library", "odd thing")


def test_an_exception_carries_its_trace() -> None:
    out = io.StringIO()
    logs.configure(stream=out, form="text")
    try:
        raise ValueError("broken")
    except ValueError:
        logs.get("x").exception("failed")
    assert "ValueError: broken" in out.getvalue()
