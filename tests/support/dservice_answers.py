"""Answers that a DService may give, right and wrong ones, as bytes: what must become of each (RFC 9110, RFC 9112).

`ANSWERS` is the table; whoever carries HTTP from a DService to a DApp can be held to it, with the bytes cut in any way.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """Either `rule` is broken (of `errors.ANSWER_RULES`), or the rest is what arrives. `closes`: the DService closes
    the connection behind these bytes; otherwise it stays open and silent."""

    name: str
    raw: bytes
    rule: str = ""
    closes: bool = False
    method: str = "GET"
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = 2
    is_kept: bool = True
    """Whether the connection may serve another request."""


def _ok(name: str, raw: bytes, **changes: object) -> Answer:
    return Answer(name, raw, **changes)  # type: ignore[arg-type]


def _bad(rule: str, name: str, raw: bytes, **changes: object) -> Answer:
    return Answer(name, raw, rule, **changes)  # type: ignore[arg-type]


OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"1\r\no\r\n1\r\nk\r\n0\r\n"

ANSWERS = [
    # right
    _ok("a length", OK + TWO + b"\r\nok"),
    _ok("a length of nothing", OK + b"Content-Length: 0\r\n\r\n", body=b"", length=0),
    _ok("chunks", OK + CHUNKED + b"\r\n" + CHUNKS + b"\r\n", length=None),
    _ok("chunks, coding in capitals", OK + b"TRANSFER-ENCODING: Chunked \r\n\r\n" + CHUNKS + b"\r\n", length=None),
    _ok("chunk extensions", OK + CHUNKED + b'\r\n2;a=b;c="d"\r\nok\r\n0;e\r\n\r\n', length=None),
    _ok("chunk sizes with leading zeros", OK + CHUNKED + b"\r\n0002\r\nok\r\n000\r\n\r\n", length=None),
    _ok("a trailer is not merged", OK + CHUNKED + b"\r\n" + CHUNKS + b"Set-Cookie: a=b\r\n\r\n", length=None),
    _ok("a trailer with metadata", OK + CHUNKED + b"\r\n" + CHUNKS + b"CGN-Meta-Pages: 9\r\n\r\n", length=None),
    _ok("a length in a trailer", OK + CHUNKED + b"\r\n" + CHUNKS + b"Content-Length: 7\r\n\r\n", length=None),
    _ok("a coding in a trailer", OK + CHUNKED + b"\r\n" + CHUNKS + b"Transfer-Encoding: gzip\r\n\r\n", length=None),
    _ok("until close, announced", OK + b"Connection: close\r\n\r\nok", closes=True, length=None, is_kept=False),
    _ok("until close, not announced", OK + b"\r\nok", closes=True, length=None, is_kept=False),
    _ok("HTTP/1.0 until close", b"HTTP/1.0 200 OK\r\n\r\nok", closes=True, length=None, is_kept=False),
    _ok("HTTP/1.0 with a length", b"HTTP/1.0 200 OK\r\n" + TWO + b"\r\nok", is_kept=False),
    _ok("HTTP/1.0 kept", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + TWO + b"\r\nok"),
    _ok("a length and close", OK + TWO + b"Connection: close\r\n\r\nok", is_kept=False),
    _ok("no reason phrase", b"HTTP/1.1 200\r\n" + TWO + b"\r\nok"),
    _ok("a status of its own", b"HTTP/1.1 299 Mine\r\n" + TWO + b"\r\nok", status=299),
    _ok("an error", b"HTTP/1.1 503 Busy\r\n" + TWO + b"\r\nok", status=503),
    _ok("HEAD keeps the length", OK + b"Content-Length: 5000\r\n\r\n", method="HEAD", body=b"", length=5_000),
    _ok("HEAD without a length", OK + b"\r\n", method="HEAD", body=b"", length=None),
    _ok("HEAD of chunks", OK + CHUNKED + b"\r\n", method="HEAD", body=b"", length=None),
    _ok("204", b"HTTP/1.1 204 No\r\n\r\n", status=204, body=b"", length=None),
    _ok("205 of nothing", b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n", status=205, body=b"", length=0),
    _ok("205 without a length", b"HTTP/1.1 205 Reset\r\n\r\n", status=205, body=b"", length=None, is_kept=False),
    _ok("304 with a length", b"HTTP/1.1 304 Not\r\nContent-Length: 5000\r\n\r\n", status=304, body=b"", length=5_000),
    _ok("100 first", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + TWO + b"\r\nok"),
    _ok("103 first", b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" + OK + TWO + b"\r\nok"),
    _ok("an odd interim length", b"HTTP/1.1 103 Hints\r\nX: 1\r\n\r\n" + OK + CHUNKED + b"\r\n" + CHUNKS + b"\r\n",
        length=None),
    _ok("fields of this hop end here", OK + TWO + b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\nok"),
    _ok("repeated fields stay in order", OK + TWO + b"X-A: 1\r\nX-B: 2\r\n\r\nok", headers={"x-a": "1", "x-b": "2"}),
    _ok("an empty field", OK + TWO + b"X-A:\r\n\r\nok", headers={"x-a": ""}),
    _ok("space around a value", OK + TWO + b"X-A: \t 1 \r\n\r\nok", headers={"x-a": "1"}),
    _ok("bytes above ASCII", OK + TWO + b"X-A: Zo\xeb\r\n\r\nok", headers={"x-a": "Zo\xeb"}),
    _ok("own names are taken off", OK + TWO + b"CGN-Fee-Nano-Eur: 0\r\n\r\nok"),
    _ok("bytes behind the length", OK + TWO + b"\r\nokMORE", is_kept=False),
    _ok("bytes behind the last chunk", OK + CHUNKED + b"\r\n" + CHUNKS + b"\r\nMORE", length=None, is_kept=False),
    _ok("a second answer", (OK + TWO + b"\r\nok") * 2, is_kept=False),
    _ok("bytes behind a 204", b"HTTP/1.1 204 No\r\n\r\nok", status=204, body=b"", length=None, is_kept=False),
    _ok("content behind HEAD", OK + TWO + b"\r\nok", method="HEAD", body=b"", length=2, is_kept=False),
    # wrong
    _bad("head_syntax", "not HTTP", b"\x00\xff\x00not http\r\n\r\n"),
    _bad("head_syntax", "another protocol", b"SSH-2.0-OpenSSH_9\r\n"),
    _bad("head_syntax", "HTTP/2", b"HTTP/2 200 OK\r\n" + TWO + b"\r\nok"),
    _bad("head_syntax", "HTTP/2.0", b"HTTP/2.0 200 OK\r\n" + TWO + b"\r\nok"),
    _bad("head_syntax", "bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    _bad("head_syntax", "a status of two digits", b"HTTP/1.1 99 OK\r\n\r\n"),
    _bad("head_syntax", "space before the colon", OK + b"X-A : 1\r\n" + TWO + b"\r\nok"),
    _bad("head_syntax", "a folded field", OK + b"X-A: 1\r\n 2\r\n" + TWO + b"\r\nok"),
    _bad("head_syntax", "a field without a name", OK + b": 1\r\n" + TWO + b"\r\nok"),
    _bad("head_syntax", "a NUL in a value", OK + b"X-A: 1\x002\r\n" + TWO + b"\r\nok"),
    _bad("head_syntax", "a control character in a value", OK + b"X-A: 1\x012\r\n" + TWO + b"\r\nok"),
    _bad("head_too_large", "one long field", OK + TWO + b"X-A: " + b"a" * 70_000 + b"\r\n\r\nok"),
    _bad("head_too_large", "more than the tunnel takes", OK + TWO + b"X-A: " + b"a" * 23_000 + b"\r\n\r\nok"),
    _bad("head_too_large", "too many fields", OK + TWO + b"x: y\r\n" * 200 + b"\r\nok"),
    _bad("head_too_large", "interim answers without end", b"HTTP/1.1 103 Hints\r\nX: 1\r\n\r\n" * 9_000),
    _bad("status", "a status of 600", b"HTTP/1.1 600 OK\r\n" + TWO + b"\r\nok"),
    _bad("status", "a status of 999", b"HTTP/1.1 999 OK\r\n" + TWO + b"\r\nok"),
    _bad("status", "another protocol from now on", b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    _bad("status", "101 without its fields", b"HTTP/1.1 101 S\r\n\r\n"),
    _bad("content_length", "a length below nothing", OK + b"Content-Length: -5\r\n\r\n"),
    _bad("content_length", "a length with a sign", OK + b"Content-Length: +2\r\n\r\nok"),
    _bad("content_length", "a length in words", OK + b"Content-Length: two\r\n\r\nok"),
    _bad("content_length", "an empty length", OK + b"Content-Length:\r\n\r\nok"),
    _bad("content_length", "two lengths", OK + TWO + b"Content-Length: 3\r\n\r\nok"),
    _bad("content_length", "the same length twice", OK + TWO + TWO + b"\r\nok"),
    _bad("content_length", "a list of lengths", OK + b"Content-Length: 2, 2\r\n\r\nok"),
    _bad("content_length", "a length beside chunks", OK + TWO + CHUNKED + b"\r\n" + CHUNKS + b"\r\n"),
    _bad("content_length", "chunks beside a length", OK + CHUNKED + TWO + b"\r\n" + CHUNKS + b"\r\n"),
    _bad("content_length", "a length beyond 64 bits", OK + b"Content-Length: 99999999999999999999999\r\n\r\n"),
    _bad("content_too_large", "a length beyond the bound", OK + b"Content-Length: 2147483649\r\n\r\n"),
    _bad("content_too_large", "HEAD of something too large", OK + b"Content-Length: 2147483649\r\n\r\n", method="HEAD"),
    _bad("transfer_coding", "gzip and chunks", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS + b"\r\n"),
    _bad("transfer_coding", "chunks and gzip", OK + b"Transfer-Encoding: chunked, gzip\r\n\r\nok", closes=True),
    _bad("transfer_coding", "gzip alone", OK + b"Transfer-Encoding: gzip\r\n\r\nok", closes=True),
    _bad("transfer_coding", "identity", OK + b"Transfer-Encoding: identity\r\n\r\nok", closes=True),
    _bad("transfer_coding", "chunked twice", OK + CHUNKED + CHUNKED + b"\r\n" + CHUNKS + b"\r\n"),
    _bad("transfer_coding", "chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n" + CHUNKS + b"\r\n"),
    _bad("chunk_framing", "a chunk size in words", OK + CHUNKED + b"\r\ntwo\r\nok\r\n0\r\n\r\n"),
    _bad("chunk_framing", "a chunk longer than its size", OK + CHUNKED + b"\r\n1\r\nok\r\n0\r\n\r\n"),
    _bad("chunk_framing", "bare line feeds between chunks", OK + CHUNKED + b"\r\n2\nok\n0\n\n"),
    _bad("chunk_framing", "a chunk size beyond 64 bits", OK + CHUNKED + b"\r\nfffffffffffffffff\r\nok"),
    _bad("chunk_framing", "a malformed trailer", OK + CHUNKED + b"\r\n" + CHUNKS + b"no field\r\n\r\n"),
    _bad("chunk_framing", "a chunk extension without end", OK + CHUNKED + b"\r\n2;" + b"a" * 400_000),
    _bad("chunk_framing", "a trailer without end", OK + CHUNKED + b"\r\n" + CHUNKS + b"X: " + b"a" * 400_000),
    _bad("content_not_allowed", "204 with a length", b"HTTP/1.1 204 No\r\n" + TWO + b"\r\nok"),
    _bad("content_not_allowed", "204 in chunks", b"HTTP/1.1 204 No\r\n" + CHUNKED + b"\r\n" + CHUNKS + b"\r\n"),
    _bad("content_not_allowed", "205 with a length", b"HTTP/1.1 205 Reset\r\n" + TWO + b"\r\nok"),
    _bad("metadata", "metadata without a name", OK + TWO + b"CGN-Meta-: 1\r\n\r\nok"),
    _bad("metadata", "too much metadata", OK + TWO + b"CGN-Meta-A: " + b"a" * 9_000 + b"\r\n\r\nok"),
    _bad("no_length", "no length, and no close", OK + b"\r\nok"),
    _bad("no_length", "HTTP/1.0 kept without a length", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nok"),
    _bad("cut_short", "no answer at all", b"", closes=True),
    _bad("cut_short", "half a head", OK[:9], closes=True),
    _bad("cut_short", "an interim answer alone", b"HTTP/1.1 100 Continue\r\n\r\n", closes=True),
    _bad("cut_short", "shorter than its length", OK + b"Content-Length: 9\r\n\r\nok", closes=True),
    _bad("cut_short", "chunks without the last", OK + CHUNKED + b"\r\n2\r\nok\r\n", closes=True),
    _bad("cut_short", "a trailer that stops", OK + CHUNKED + b"\r\n" + CHUNKS, closes=True),
]  # fmt: skip
