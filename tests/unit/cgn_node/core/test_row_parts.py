"""What is written down of a request: no secret, also none that only the account calls one; bounds at n and n + 1 (L-17)."""

import json
from typing import Any

import pytest
from cgn_sdk.protocol.redaction import REDACTED

from cgn_node.core import row_parts
from cgn_node.core.limits import ROW_HEADERS_MAX_CHARS
from cgn_node.core.pricing import Fitness, Measured, Usage, clip

SAID = row_parts.Answered(200, 3, "00" * 32)


def part(url: str, headers: list[tuple[str, str]], listed: frozenset[str] = frozenset()) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(row_parts.request_part("GET", url, headers, 0, "0" * 64, SAID, listed))
    return read


def test_secrets_are_taken_out_of_url_and_headers_and_of_what_the_account_calls_secret() -> None:
    headers = [("Authorization", "Bearer s3cret"), ("X-Ticket", "s3cret"), ("Referer", "/a?ticket=s3cret")]
    shown = part("/a?token=s3cret&ticket=s3cret&b=c", headers, frozenset({"ticket", "x-ticket"}))
    assert "s3cret" not in json.dumps(shown)
    assert shown["url"] == f"/a?token={REDACTED}&ticket={REDACTED}&b=c"
    assert shown["headers"] == [
        ["Authorization", REDACTED],
        ["X-Ticket", REDACTED],
        ["Referer", f"/a?ticket={REDACTED}"],
    ]
    open_ones = part("/a?ticket=shown", [("X-Ticket", "shown")])
    assert (open_ones["url"], open_ones["headers"]) == ("/a?ticket=shown", [["X-Ticket", "shown"]])


def test_secrets_are_taken_out_of_meta_fields_of_the_request_and_of_the_dservice() -> None:
    """By name, by what is in the value, and by what the account lists, with or without the prefix of the field."""
    said = {"asked": "/a?token=s3cret", "n": "1", "api-key": "s3cret", "ticket": "s3cret", "patient": "s3cret"}
    kept = row_parts.fields_part(said, ("ticket", "cgn-meta-patient"))
    assert kept == {
        "asked": f"/a?token={REDACTED}",
        "n": "1",
        "api-key": REDACTED,
        "ticket": REDACTED,
        "patient": REDACTED,
    }
    assert row_parts.fields_part({"ticket": "open"}) == {"ticket": "open"}
    assert row_parts.fields_part({}, ("ticket",)) == {}


@pytest.mark.parametrize("above", [0, 1])
def test_headers_take_as_much_as_is_allowed(above: int) -> None:
    value = "v" * (ROW_HEADERS_MAX_CHARS - len("X-One") + above)
    note = f"({len(value)} characters)"
    assert part("/", [("X-One", value)])["headers"] == [["X-One", note if above else value]]


@pytest.mark.parametrize("above", [0, 1])
def test_the_last_field_for_which_there_is_room_is_shown(above: int) -> None:
    """The first is as long as it may be beside others; the second's name fills what is left, or is one longer."""
    room = ROW_HEADERS_MAX_CHARS - 2 * 32
    first = ("X-One", "v" * (room - len("X-One")))
    second = ("n" * (32 - len("(99 characters)") + above), "v" * 99)
    shown = part("/", [first, second, ("X-Three", "")])["headers"]
    assert shown[0] == list(first)
    assert shown[1:] == (
        [["", "(2 more fields)"]] if above else [[second[0], "(99 characters)"], ["", "(1 more fields)"]]
    )


FITNESS = Fitness(threads=4, kmips_per_thread_milli=1, memory_bytes=3 * 10**9, gpus=2)
MEASURED = Measured(wall_ns=10**9, request_bytes=10, response_bytes=20)
MOST = Usage(
    cpu_ns=4 * 10**9,
    memory_byte_seconds=3 * 10**9,
    wall_ns=10**9,
    gpu_ns=2 * 10**9,
    request_bytes=10,
    response_bytes=20,
)


def test_all_that_is_possible_is_billed() -> None:
    assert clip(MOST, MEASURED, FITNESS) == (MOST, ())
    assert clip(Usage(), MEASURED, FITNESS) == (Usage(), ())


@pytest.mark.parametrize("field", Usage.__dataclass_fields__)
@pytest.mark.parametrize("is_negative", [False, True])
def test_one_more_than_is_possible_and_one_less_than_nothing_are_cut(field: str, is_negative: bool) -> None:
    """N-20: each field alone, all others as they may be."""
    values = {name: getattr(MOST, name) for name in Usage.__dataclass_fields__}
    claimed = Usage(**{**values, field: -1 if is_negative else values[field] + 1})
    billed = Usage(**{**values, field: 0 if is_negative else values[field]})
    assert clip(claimed, MEASURED, FITNESS) == (billed, (field,))
