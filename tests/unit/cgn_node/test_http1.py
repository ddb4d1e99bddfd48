"""HTTP/1.1 requests out of bytes: what is read, and every ambiguous form refused (N-6; RFC 9112; ASVS 4.2)."""

import pytest

from cgn_node import limits
from cgn_node.http1 import BadMessage, ChunkedDecoder, bare_line_feed, end_to_end, is_header, parse_head, response_head


def head(*lines: str, first: str = "POST /a?b=c HTTP/1.1", host: str | None = "h") -> bytes:
    hosts = [f"Host: {host}"] if host is not None else []
    return "".join(f"{line}\r\n" for line in [first, *hosts, *lines, ""]).encode("latin-1")


def refused(data: bytes) -> int:
    with pytest.raises(BadMessage) as caught:
        parse_head(data)
    return caught.value.status


def test_a_plain_request_is_read_as_sent() -> None:
    got = parse_head(head("Content-Length: 5", "X-A:  b c \t", "Accept: x", "accept: y"))
    assert (got.method, got.target, got.path, got.body_bytes) == ("POST", "/a?b=c", "/a", 5)
    assert got.headers == [("Host", "h"), ("Content-Length", "5"), ("X-A", "b c"), ("Accept", "x"), ("accept", "y")]
    assert got.fields["accept"] == "x, y"
    assert got.keep_alive
    assert not got.expects_continue


@pytest.mark.parametrize(
    ("lines", "minor", "kept"),
    [
        ([], 1, True),
        (["Connection: close"], 1, False),
        (["Connection: x, Close"], 1, False),
        ([], 0, False),
        (["Connection: keep-alive"], 0, True),
    ],
)
def test_keep_alive_follows_version_and_connection_header(lines: list[str], minor: int, kept: bool) -> None:
    assert parse_head(head(*lines, first=f"GET / HTTP/1.{minor}")).keep_alive is kept


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],  # CL.TE
        ["Transfer-Encoding: chunked", "Content-Length: 5"],  # TE.CL
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],  # TE.TE
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 5"],
        ["Content-Length: +5"],
        ["Content-Length: -0"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5 5"],
        ["Content-Length: "],
        ["Content-Length: \u00b2"],
        ["Content-Length: 1_0"],
        ["Content-Length: 9999999999999999"],
        ["Content-Length : 5"],
        ["Transfer-Encoding : chunked"],
        [" Transfer-Encoding: chunked"],  # obs-fold
        ["X: a", "\tfolded"],
        ["X: a\x00b"],
        ["X: a\rb"],
        ["X: a\nContent-Length: 3"],
        ["X\u00e9: a"],
        [": nameless"],
        ["no colon"],
        ["Host: second"],
        ["Transfer-Encoding: chunked "],
        ["Transfer-Encoding: chunked \t"],
        ["Content_Length: 5"],
        ["Transfer_Encoding: chunked"],
        ["CGN_Request_Id: 0123456789abcdef0123456789abcdef"],
        ["Authorization: a", "Authorization: b"],
    ],
)
def test_forms_that_two_programs_could_read_differently_are_refused(lines: list[str]) -> None:
    assert refused(head(*lines)) == 400


@pytest.mark.parametrize(
    "coding", ["gzip, chunked", "chunked, identity", "xchunked", "identity", "chunked;q=1", "\x0bchunked"]
)
def test_other_transfer_codings_are_not_served(coding: str) -> None:
    assert refused(head(f"Transfer-Encoding: {coding}")) in (400, 501)


def test_transfer_encoding_of_http_1_0_is_refused() -> None:
    assert refused(head("Transfer-Encoding: chunked", first="POST / HTTP/1.0")) == 400


@pytest.mark.parametrize(
    ("first", "status"),
    [
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        (" GET / HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /a#b HTTP/1.1", 400),
        ("GET /\u00e9 HTTP/1.1", 400),
        ("GET /", 400),
        ("GET / http/1.1", 400),
        ("G(T / HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("GET ftp://h/ HTTP/1.1", 400),
        ("CONNECT h:443 HTTP/1.1", 501),
        ("CONNECT /path HTTP/1.1", 501),
        ("CONNECT http://h/ HTTP/1.1", 501),
        ("get / HTTP/1.1", 400),
        ("connect /path HTTP/1.1", 400),
        ("FOO-BAR! / HTTP/1.1", 400),
        ("-GET / HTTP/1.1", 400),
        ("GET- / HTTP/1.1", 400),
        ("GET http://user@h/ HTTP/1.1", 400),
        ("GET http://h:99999/ HTTP/1.1", 400),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/0.9", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET /" + "a" * limits.TARGET_MAX_BYTES + " HTTP/1.1", 414),
    ],
)
def test_request_lines_that_are_refused(first: str, status: int) -> None:
    assert refused(head(first=first)) == status


def test_absolute_targets_become_paths() -> None:
    """RFC 9112 3.2.2: a server must accept the absolute form."""
    assert parse_head(head(first="GET http://h.example/a?b HTTP/1.1")).target == "/a?b"
    assert parse_head(head(first="GET http://h.example?b HTTP/1.1")).target == "/?b"
    assert parse_head(head(first="OPTIONS * HTTP/1.1")).target == "*"


def test_an_absolute_target_replaces_the_host() -> None:
    """RFC 9112 3.2.2: the request line's authority counts, for whoever is behind, too."""
    got = parse_head(head("X: y", first="GET http://other:81/a HTTP/1.1", host="h"))
    assert (got.headers, got.fields["host"]) == ([("Host", "other:81"), ("X", "y")], "other:81")
    got = parse_head(head(first="GET http://other/a HTTP/1.0", host=None))
    assert got.headers == []


@pytest.mark.parametrize(
    "path",
    [
        "/a/../_cgn/health",
        "/a/./b",
        "/..",
        "/.",
        "/a/..",
        "/../",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/a/%2e/b",
        "/a/..%2fb",
        "/a%2F..%2fb",
        "/a/..;x=y/b",
        "/a/..%3bx/b",
        "/a\\..\\b",
        "/a%5c..%5Cb",
        "http://h/a/../b",
    ],
)
def test_dot_segments_are_refused_however_they_are_written(path: str) -> None:
    """A program behind the node that resolves them would serve another path than the one that was routed."""
    assert refused(head(first=f"GET {path} HTTP/1.1")) == 400


@pytest.mark.parametrize("path", ["/a..b", "/...", "/.../x", "/.a", "/a.", "/a/..b/c", "/a?x=/../y", "/%2ea", "/"])
def test_other_dots_are_not(path: str) -> None:
    assert parse_head(head(first=f"GET {path} HTTP/1.1")).target == path


@pytest.mark.parametrize(
    "host",
    [
        "a b",
        "a/b",
        "]][[",
        "[::1",
        "::1",
        "[::g]",
        "[1.2.3.4]",
        "h:99999",
        "h:99999x",
        "h:65536",
        "h:-1",
        "h:1:2",
        "u@h",
    ],
)
def test_hosts_that_are_refused(host: str) -> None:
    assert refused(head(host=host)) == 400


@pytest.mark.parametrize("host", ["h", "", "h:", "h:65535", "[::1]", "[::1]:8080", "[::ffff:1.2.3.4]:1", "a_b.example"])
def test_hosts_that_are_read(host: str) -> None:
    assert parse_head(head(host=host)).fields["host"] == host


def test_a_host_is_needed() -> None:
    assert refused(head(host=None)) == 400
    assert parse_head(head(host=None, first="GET / HTTP/1.0")).minor == 0


def test_expectations() -> None:
    assert parse_head(head("Expect: 100-Continue")).expects_continue
    assert not parse_head(head("Expect: 100-continue", first="POST / HTTP/1.0")).expects_continue
    assert refused(head("Expect: a pony")) == 417


def test_too_many_headers() -> None:
    assert refused(head(*["a: b"] * limits.HEADERS_MAX_COUNT)) == 431


def test_a_bare_line_feed_is_seen_early() -> None:
    assert bare_line_feed(b"GET / HTTP/1.1\nHost: h\n\n")
    assert bare_line_feed(b"\n")
    assert not bare_line_feed(b"GET / HTTP/1.1\r\nHost: h\r\n")


def test_only_end_to_end_headers_travel_on() -> None:
    """RFC 9110 7.6.1: hop-by-hop headers and those named by Connection stay here."""
    got = parse_head(
        head(
            "Connection: X-Mine, close",
            "x-mine: 1",
            "Keep-Alive: 3",
            "TE: trailers",
            "Upgrade: h2c",
            "Content-Length: 3",
            "Y: 2",
        )
    )
    assert end_to_end(got, frozenset({"host"})) == [("Y", "2")]


def test_response_heads_cannot_be_split() -> None:
    assert response_head(204, [("A", "b")]) == b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n"
    assert response_head(599, []) == b"HTTP/1.1 599 \r\n\r\n"
    assert is_header("A-b", "x\ty")
    assert not is_header("A", "x\r\nB: c")
    assert not is_header("A:", "x")
    assert not is_header("", "x")


def read_chunks(decoder: ChunkedDecoder, data: bytes, lines_max: int = 1_000) -> list[bytes]:
    """Feeds once and then again for as long as there is more to read."""
    pieces = [decoder.feed(data, lines_max)]
    while decoder.has_more:
        pieces.append(decoder.feed(b"", lines_max))
    return pieces


@pytest.mark.parametrize("lines_max", [1, 2, 3, 1_000])
def test_chunks_in_any_slicing(lines_max: int) -> None:
    wire = b'3\r\nabc\r\n0a;x=y;z;q="a;\\"b"\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nnext'
    for size in range(1, len(wire) + 1):
        decoder, got = ChunkedDecoder(), b""
        for at in range(0, len(wire), size):
            got += b"".join(read_chunks(decoder, wire[at : at + size], lines_max))
        assert (got, decoder.rest(), decoder.ended) == (b"abc0123456789", b"next", True)


def test_tiny_chunks_are_handed_on_together_and_in_bounded_portions() -> None:
    """However many chunks one read brings, one call reads a bounded number and gives one piece."""
    count = 10 * limits.CHUNK_LINES_AT_ONCE
    decoder = ChunkedDecoder()
    first = decoder.feed(b"1\r\nx\r\n" * count + b"0\r\n\r\n")
    assert len(first) == limits.CHUNK_LINES_AT_ONCE // 2
    assert decoder.has_more
    pieces = [first, *read_chunks(decoder, b"")]
    assert b"".join(pieces) == b"x" * count
    assert len(pieces) <= 2 * count // limits.CHUNK_LINES_AT_ONCE + 1


CHUNKS_REFUSED = {
    "A chunk size is not a plain hexadecimal number, or its extension is malformed": [
        b"3\nabc\r\n", b"+3\r\nabc", b"0x3\r\nabc", b" 3\r\nabc", b"3 \r\nabc", b"-1\r\n", b"\r\n", b"g\r\n",
        b"3;a\nb\r\nabc", b"fffffffffffffffff\r\n", b'1;a="b\r\nx\r\n0\r\n\r\n', b"1;\r\nx\r\n0\r\n\r\n",
        b"1 ;a\r\nx\r\n0\r\n\r\n", b"1;a=b c\r\nx\r\n0\r\n\r\n",
    ],
    "A chunk does not end where its size says": [b"3\r\nabcd\r\n", b"3\r\nabc\n0\r\n\r\n"],
    "A trailer line is malformed": [b"0\r\nbad trailer\r\n\r\n", b"0\r\nX : y\r\n\r\n"],
    "A trailer says what only a header may say": [
        b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
    "too long or not ended by CR LF": [b"1" * 5000],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "wire"), [(rule, wire) for rule, wires in CHUNKS_REFUSED.items() for wire in wires])
def test_chunks_that_are_refused(rule: str, wire: bytes) -> None:
    with pytest.raises(BadMessage, match=rule):
        ChunkedDecoder().feed(wire)


def test_endless_extensions_and_trailers_are_refused() -> None:
    with pytest.raises(BadMessage, match="extensions and trailers take more than"):
        ChunkedDecoder().feed((b"1;" + b"x" * 2000 + b"\r\na\r\n") * 20)
    with pytest.raises(BadMessage, match="extensions and trailers take more than"):
        read_chunks(ChunkedDecoder(), b"0\r\n" + b"a: b\r\n" * 20_000)
