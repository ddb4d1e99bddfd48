"""What passes between tunnel and DService (S-2, M-5)."""

import pytest
from cgn_sdk.protocol import limits
from cgn_sdk.protocol.errors import CODES
from cgn_sdk.protocol.messages import Head

from miner_client.core.exchange import HOP_FAILURES, BadAnswer, framing, request_headers, response_head


def test_a_request_keeps_its_headers_but_for_hops_and_secrets() -> None:
    given = (
        ("Accept", "*/*"),
        ("Authorization", "Bearer secret"),
        ("Connection", "keep-alive"),
        ("Transfer-Encoding", "chunked"),
        ("CGN-Request-Id", "forged"),
        ("X-Name", "Zo\u00eb"),
    )
    assert request_headers(given, "ab", 1500) == [
        (b"accept", b"*/*"),
        (b"x-name", b"Zo\xeb"),
        (b"cgn-request-id", b"ab"),
        (b"cgn-deadline-ms", b"1500"),
    ]


def test_fields_that_connection_names_end_here() -> None:
    """RFC 9110 section 7.6.1, in both directions and over several Connection fields."""
    answer = [
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"Connection", b"x-two"),
        (b"X-Two", b"2"),
        (b"x-end", b"3"),
    ]
    assert response_head(200, answer, None)[0].headers == (("x-end", "3"),)
    asked = (("Connection", "keep-alive, X-Hop"), ("X-HOP", "1"), ("X-End", "3"))
    assert request_headers(asked, "ab", 1)[0] == (b"x-end", b"3")
    assert b"x-hop" not in dict(request_headers(asked, "ab", 1))


def test_metadata_leaves_the_head_and_own_names_cannot_be_forged() -> None:
    head, metadata = response_head(
        200,
        [
            (b"content-type", b"image/jpeg"),
            (b"content-length", b"7"),
            (b"connection", b"close"),
            (b"cgn-meta-pages", b"3"),
            (b"cgn-fee-nano-eur", b"0"),
        ],
        7,
    )
    assert head == Head(200, (("content-type", "image/jpeg"),), 7)
    assert metadata == {"pages": "3"}


@pytest.mark.parametrize(
    ("rule", "headers"),
    [
        ("head_syntax", [(b"a b", b"")]),
        ("head_syntax", [(b"", b"x")]),
        ("head_syntax", [(b"a", b"\x00")]),
        ("head_too_large", [(b"a", b"x" * limits.HEADERS_MAX_CHARS)]),
        ("head_too_large", [(b"a", b"")] * (limits.HEADERS_MAX_COUNT + 1)),
        ("metadata", [(b"cgn-meta-%d" % number, b"") for number in range(limits.METADATA_MAX_COUNT + 1)]),
        ("metadata", [(b"cgn-meta-a", b"x" * limits.METADATA_MAX_CHARS)]),
    ],
)
def test_heads_beyond_the_tunnels_bounds_are_refused_here(rule: str, headers: list[tuple[bytes, bytes]]) -> None:
    """What a DService sends must not make the node close the tunnel of a miner that did nothing wrong."""
    with pytest.raises(BadAnswer) as bad:
        response_head(200, headers, None)
    assert bad.value.rule == rule


def test_heads_at_the_tunnels_bounds_are_passed_on() -> None:
    longest = [(b"a", b"x" * (limits.HEADERS_MAX_CHARS - 1))]
    most = [(b"a", b"")] * limits.HEADERS_MAX_COUNT
    metadata = [(b"cgn-meta-%d" % number, b"") for number in range(limits.METADATA_MAX_COUNT)]
    for headers in (longest, most, metadata, [(b"cgn-meta-a", b"x" * (limits.METADATA_MAX_CHARS - 1))]):
        head, _ = response_head(200, headers, None)
        assert Head.decode(head.encode()) == head


@pytest.mark.parametrize("status", [200, 404, 599])
def test_content_follows_unless_method_or_status_forbids_it(status: int) -> None:
    assert framing("GET", status, "1.1", []).has_content and framing("POST", status, "1.1", []).has_content
    assert not framing("HEAD", status, "1.1", []).has_content


@pytest.mark.parametrize("status", [204, 205, 304])
def test_answers_without_content(status: int) -> None:
    assert not framing("GET", status, "1.1", []).has_content


@pytest.mark.parametrize("status", [199, 600])
def test_statuses_that_a_node_would_not_take(status: int) -> None:
    with pytest.raises(BadAnswer, match="status"):
        framing("GET", status, "1.1", [])


def test_the_largest_length() -> None:
    most = limits.BODY_MAX_BYTES
    assert framing("GET", 200, "1.1", [(b"content-length", b"%d" % most)]).length == most
    with pytest.raises(BadAnswer, match="content_too_large"):
        framing("GET", 200, "1.1", [(b"content-length", b"%d" % (most + 1))])


def test_failures_of_the_hop_have_codes_of_the_closed_list() -> None:
    assert set(HOP_FAILURES.values()) <= set(CODES)
