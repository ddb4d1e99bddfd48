"""What our parser accepts, an independent one (llhttp, through httptools) accepts too and reads alike (N-6)."""

from contextlib import suppress

import httptools
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cgn_node.http1 import BadMessage, ChunkedDecoder, parse_head

TOKENS = st.sampled_from(
    [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "X",
        "x-y",
        "Expect",
        "TE",
        "Upgrade",
        "Content_Length",
    ]
)
VALUES = st.sampled_from(
    [
        "h",
        "",
        "5",
        "0",
        "05",
        "chunked",
        "close",
        "keep-alive",
        "a, b",
        "+5",
        "5,5",
        "gzip, chunked",
        " padded\t",
        "chunked \t",
        "5 ",
        "]][[",
        "h:99999x",
        "[::1]:80",
        "websocket",
        "upgrade",
        "Close, x",
        "\x80ÿ",
        "18446744073709551616",
    ]
)
ENDS = st.sampled_from(["\r\n"] * 8 + ["\n", "\r", "\r\n ", "\x00\r\n"])
COLONS = st.sampled_from([":", ": "] * 4 + [" :", ":\t", "\x0b:"])
LINES = st.builds(lambda n, c, v, e: n + c + v + e, TOKENS, COLONS, VALUES, ENDS)
METHODS = st.sampled_from(
    [
        "GET",
        "POST",
        "HEAD",
        "OPTIONS",
        "PUT",
        "DELETE",
        "PATCH",
        "M-SEARCH",
        "CONNECT",
        "TRACE",
        "get",
        "FOO-BAR!",
        "G\xe9T",
    ]
)
TARGETS = st.sampled_from(
    [
        "/",
        "/a?b",
        "/a/../b",
        "/%2e%2e",
        "/a b",
        "/#",
        "/\x7f",
        "*",
        "a",
        "http://h/x",
        "http://h:1?y",
        "h:443",
        "//h/x",
        '/?"<>',
    ]
)
VERSIONS = st.sampled_from(["HTTP/1.1"] * 4 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "])
FIRST = st.builds(lambda method, target, version: f"{method} {target} {version}\r\n", METHODS, TARGETS, VERSIONS)
HEADS = st.builds(
    lambda first, hosts, lines: (first + "Host: h\r\n" * hosts + "".join(lines) + "\r\n").encode("latin-1"),
    FIRST,
    st.integers(0, 1),
    st.lists(LINES, max_size=4),
)


class Reading:
    """What llhttp makes of a request. It knows whether to keep the connection while it reads; at the end it forgets."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.keep_alive: bool | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.ended = False
        self.in_body = False
        self.messages = 0

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_body:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_body = True
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended = True


@given(HEADS)
@example(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
@example(b"POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\n")
@example(b"POST /a HTTP/1.0\r\n\r\n")
@example(b"POST /a HTTP/1.0\r\nConnection:keep-alive\r\n\r\n")
@settings(max_examples=600, deadline=None)
def test_heads(data: bytes) -> None:
    try:
        ours = parse_head(data)
    except BadMessage:
        return
    theirs = Reading()
    with suppress(httptools.HttpParserUpgrade):  # says only that it would upgrade
        theirs.parser.feed_data(data)
    assert theirs.parser.get_method().decode() == ours.method
    absolute = not data.split(b" ")[1].startswith((b"/", b"*"))  # then ours has replaced the Host (RFC 9112 3.2.2)
    read = [(n.decode("latin-1"), v.decode("latin-1").strip(" \t")) for n, v in theirs.headers if v]
    assert [(n, ours.fields["host"] if absolute and n == "Host" else v) for n, v in read] == [
        (n, v) for n, v in ours.headers if v
    ]
    assert theirs.ended == (ours.body_bytes == 0)
    assert theirs.keep_alive == ours.keep_alive


@given(
    st.lists(
        st.sampled_from(
            [
                b"3\r\nabc\r\n",
                b"0a\r\n0123456789\r\n",
                b"1;x=y\r\nz\r\n",
                b'1;x="y;\\\\"z"\r\nz\r\n',
                b'1;x="y\r\nz\r\n',
                b"1 ;x\r\nz\r\n",
                b"1;\r\nz\r\n",
                b"1\r\n",
                b"\n",
                b"2\r\nq",
            ]
        ),
        max_size=6,
    ),
    st.sampled_from(
        [
            b"0\r\n\r\n",
            b"0\r\nA: b\r\n\r\n",
            b"0\r\nContent-Length: 1\r\n\r\n",
            b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"0;a=b\r\n\r\n",
            b"0\r\n",
            b"0\n\n",
            b"",
        ]
    ),
)
@settings(max_examples=600, deadline=None)
def test_chunked_bodies(chunks: list[bytes], end: bytes) -> None:
    wire = b"".join(chunks) + end
    decoder = ChunkedDecoder()
    try:
        payload = decoder.feed(wire)
    except BadMessage:
        return
    theirs = Reading()
    wire = wire[: len(wire) - len(decoder.rest())] if decoder.ended else wire
    try:
        theirs.parser.feed_data(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    except httptools.HttpParserError:
        assert not decoder.ended  # ours refuses an unfinished line when it ends
    else:
        assert theirs.ended == decoder.ended
    assert theirs.body == payload
