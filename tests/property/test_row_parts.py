"""L-1: the parts of a row that the node writes by templates are the canonical JSON of what they say."""

import json
import string
from typing import Any

import pytest
from cgn_sdk.protocol import merkle, receipt
from cgn_sdk.protocol.canonical import CanonicalText, encode
from cgn_sdk.protocol.messages import Statement
from cgn_sdk.protocol.redaction import redact_headers, redact_text
from hypothesis import given
from hypothesis import strategies as st

from cgn_node.core import row_parts
from cgn_node.core.limits import ROW_HEADERS_MAX_CHARS
from cgn_node.core.pricing import Measured, Usage

COUNTS = st.integers(0, 2**63)
NAMES = st.text(string.ascii_letters + string.digits + "._+-", min_size=1, max_size=20)
LATIN = st.text(st.characters(max_codepoint=255), max_size=40)
DIGESTS = st.binary(min_size=32, max_size=32)
STATEMENTS = st.builds(
    Statement,
    request_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    attempt=COUNTS,
    miner_id=NAMES,
    dservice=NAMES,
    dservice_version=NAMES,
    status=st.integers(200, 599),
    response_sha256=DIGESTS.map(bytes.hex),
    response_bytes=COUNTS,
    request_bytes=COUNTS,
    cpu_ns=COUNTS,
    memory_byte_seconds=COUNTS,
    wall_ns=COUNTS,
    gpu_ns=COUNTS,
)


def is_canonical(text: CanonicalText) -> dict[str, Any]:
    """Reads it and writes it the general way."""
    read: dict[str, Any] = json.loads(text)
    assert encode(read) == text.encode()
    return read


@given(st.lists(st.tuples(NAMES, LATIN), max_size=6), LATIN, STATEMENTS, COUNTS, DIGESTS)
def test_the_request_part(headers: list[tuple[str, str]], url: str, said: Statement, size: int, digest: bytes) -> None:
    part = is_canonical(row_parts.request_part("POST", url, headers, size, digest.hex(), said))
    assert part == {
        "method": "POST",
        "url": redact_text(url),
        "headers": [list(pair) for pair in redact_headers(headers)],
        "request_sha256": digest.hex(),
        "request_bytes": str(size),
        "status": str(said.status),
        "response_sha256": said.response_sha256,
        "response_bytes": str(said.response_bytes),
    }


@given(
    st.lists(
        st.tuples(NAMES, st.integers(0, 2 * ROW_HEADERS_MAX_CHARS).map(lambda size: "x" * size)),
        min_size=1,
        max_size=100,
    ),
    st.integers(1, 400),
    STATEMENTS,
)
def test_headers_take_a_bounded_place_in_a_row(headers: list[tuple[str, str]], repeat: int, said: Statement) -> None:
    """L-17: 8 KiB, values that find no room by their lengths, fields whose names find none by their number."""
    sent = [(name * repeat, value) for name, value in headers]
    shown = is_canonical(row_parts.request_part("GET", "/", sent, 0, "0" * 64, said))["headers"]
    assert sum(len(name) + len(value) for name, value in shown) <= ROW_HEADERS_MAX_CHARS == 8 * 1024
    for (name, value), (kept_name, kept) in zip(redact_headers(sent), shown, strict=False):
        if kept_name:
            assert (kept_name, kept) in {(name, value), (name, f"({len(value)} characters)")}
        else:
            assert kept == f"({len(sent) - len(shown) + 1} more fields)"
    assert len(shown) == len(sent) or not shown[-1][0]


def test_headers_too_long_for_a_row_are_counted(statement: Statement) -> None:
    headers = [("X-One", "a" * ROW_HEADERS_MAX_CHARS), ("X-Two", "bc")]
    part = is_canonical(row_parts.request_part("GET", "/", headers, 0, "0" * 64, statement))
    assert part["headers"] == [["X-One", f"({ROW_HEADERS_MAX_CHARS} characters)"], ["X-Two", "bc"]]


@given(
    st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    st.builds(Measured, COUNTS, COUNTS, COUNTS),
    st.lists(NAMES, max_size=3),
    STATEMENTS,
    COUNTS,
)
def test_the_metrics_part(
    billed: Usage, measured: Measured, clipped: list[str], statement: Statement, count: int
) -> None:
    seal = receipt.seal_texts(receipt.seal_tree([statement.digest()]), b"s" * 64)[0]
    part = is_canonical(
        row_parts.metrics_part(
            attempts=count,
            billed=billed,
            clipped=clipped,
            measured=measured,
            match_ns=count + 1,
            queue_ns=count + 2,
            policy_version=count + 3,
            seal=seal,
            statement=statement,
            ended="whole",
        )
    )
    names = ("cpu_ns", "gpu_ns", "memory_byte_seconds", "request_bytes", "response_bytes", "wall_ns")
    assert part == {
        "attempts": str(count),
        "billed": {name: str(getattr(billed, name)) for name in names},
        "clipped": clipped,
        "measured": {
            "match_ns": str(count + 1),
            "queue_ns": str(count + 2),
            "request_bytes": str(measured.request_bytes),
            "response_bytes": str(measured.response_bytes),
            "wall_ns": str(measured.wall_ns),
        },
        "policy_version": str(count + 3),
        "seal": json.loads(seal),
        "statement": statement.members(),
    }


@pytest.mark.parametrize("ended", receipt.CUT)
@pytest.mark.parametrize("signed", [True, False])
def test_the_metrics_part_of_less_than_a_whole_response(statement: Statement, ended: str, signed: bool) -> None:
    """It says why; a miner that was stopped has signed nothing."""
    seal = receipt.seal_texts(receipt.seal_tree([statement.digest()]), b"s" * 64)[0]
    part = is_canonical(
        row_parts.metrics_part(
            attempts=1,
            billed=Usage(),
            clipped=(),
            measured=Measured(1, 2, 3),
            match_ns=1,
            queue_ns=2,
            policy_version=3,
            seal=seal if signed else None,
            statement=statement if signed else None,
            ended=ended,
        )
    )
    assert part["ended"] == ended
    assert {"seal", "statement"} & part.keys() == ({"seal", "statement"} if signed else set())


@given(st.lists(st.tuples(NAMES, LATIN), min_size=1, max_size=4))
def test_the_accounts_part(parties: list[tuple[str, str]]) -> None:
    assert is_canonical(row_parts.accounts_part(*parties)) == dict(parties)


@given(st.lists(DIGESTS, min_size=1, max_size=20), st.binary(min_size=64, max_size=64))
def test_the_seals_of_a_message(digests: list[bytes], signature: bytes) -> None:
    tree = receipt.seal_tree(digests)
    assert [is_canonical(text) for text in receipt.seal_texts(tree, signature)] == [
        {
            "count": str(len(digests)),
            "index": str(index),
            "path": [node.hex() for node in merkle.path(tree, index)],
            "signature": signature.hex(),
        }
        for index in range(len(digests))
    ]


@pytest.fixture
def statement() -> Statement:
    return Statement("0" * 32, 1, "min_a", "noop", "1", 200, "00" * 32, 1, 0, 5, 7, 9)
