"""HTTP/1.1 requests out of bytes, strictly (RFC 9112), and response heads into bytes. Pure: no sockets, no clock.

Why not a general parser: at the edge every form that two programs could read differently is refused (N-6, "request
smuggling forms are refused"), each with a reason a person can act on, and bytes behind a request must stay unread
until its answer is out. What this accepts, `httptools` accepts too and reads alike, but for methods that are in no
registry: llhttp knows a list, this any word of capitals; `tests/property/test_node_http1.py` holds that.

Refused as well, because programs behind the node could take them for something else: names of header fields with an
underscore (CGI and WSGI read `Content_Length` as `Content-Length`), and paths with `.` or `..` as a segment, however
they are written (they may reach what a route does not lead to).

Left to `http_server`: time, sockets, order of answers. Left to the endpoints: meaning.
"""

import ipaddress
import re
from dataclasses import dataclass
from http import HTTPStatus

from cgn_sdk.protocol.http_fields import HOP_BY_HOP, named_by_connection

from cgn_node import limits

Headers = list[tuple[str, str]]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_REQUEST_LINE = re.compile(
    rb"([A-Z](?:[A-Z-]{0,30}[A-Z])?) ([\x21-\x22\x24-\x7e]++) HTTP/(\d)\.(\d)"
)  # no '#': a target has no fragment
_HEADER_LINES = re.compile(rb"(?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_HEADER_LINE = re.compile(rb"(" + _TOKEN + rb"++):[\t ]*+([\t\x20-\x7e\x80-\xff]*+)\r\n")
_QUOTED = rb'"(?:[\t\x20-\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*+"'
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"++(?:=(?:" + _TOKEN + rb"++|" + _QUOTED + rb"))?)*+")
_TRAILERS_REFUSED = frozenset({b"content-length", b"transfer-encoding", b"host"})
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|[0-9A-Za-z.\-_~%]{0,255})(?::([0-9]{0,5}))?")
_DOT_SEGMENT = re.compile(r"(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\;]|%2f|%5c|%3b)", re.IGNORECASE)
_PADDED_CODING = re.compile(rb"^transfer-encoding:[^\r]*[\t ]\r$", re.IGNORECASE | re.MULTILINE)
_BARE_LF = re.compile(rb"(?<!\r)\n")

REASONS = {status.value: status.phrase for status in HTTPStatus}
NO_BODY_STATUSES = frozenset({204, 304})


class BadMessage(Exception):
    """What the peer sent is not a request this server reads; `status` and `detail` go back to it, then the connection
    closes."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


@dataclass(slots=True)
class RequestHead:
    """A request's first part. Header names and values as sent, in order, as Latin-1 text; `target` in origin-form."""

    method: str
    target: str
    headers: Headers
    body_bytes: int | None
    """Declared length of the body; 0 when there is none, None when it comes in chunks."""
    keep_alive: bool
    expects_continue: bool
    minor: int
    """0 or 1: the peer speaks HTTP/1.0 or HTTP/1.1."""
    fields: dict[str, str]
    """By lower-case name, repeated ones joined with ", " (RFC 9110 5.3)."""

    @property
    def path(self) -> str:
        return self.target.split("?", 1)[0]


def parse_head(head: bytes) -> RequestHead:
    """One request head, the empty line included.

    Raises BadMessage with 400 (malformed or ambiguous), 414, 417, 431, 501 or 505.
    """
    line, _, lines = head.partition(b"\r\n")
    request_line = _REQUEST_LINE.fullmatch(line)
    if request_line is None:
        raise BadMessage(
            400, "The request line is not 'METHOD target HTTP/1.1' in printable ASCII, parted by single spaces."
        )
    method, target_bytes, major, minor_digit = request_line.groups()
    if major != b"1" or minor_digit not in b"01":
        raise BadMessage(505, "This endpoint speaks HTTP/1.1 and HTTP/1.0.")
    if len(target_bytes) > limits.TARGET_MAX_BYTES:
        raise BadMessage(414, f"The request target is longer than {limits.TARGET_MAX_BYTES} bytes.")
    block = lines[:-2]
    if _HEADER_LINES.fullmatch(block) is None:
        raise BadMessage(400, f"This header line is malformed: {_first_bad_line(block)!r}.")
    headers = [(name, value.rstrip("\t ")) for name, value in _HEADER_LINE_TEXT.findall(block.decode("latin-1"))]
    if len(headers) > limits.HEADERS_MAX_COUNT:
        raise BadMessage(431, f"The request has more than {limits.HEADERS_MAX_COUNT} headers.")
    found = _read_meaning(method.decode("ascii"), target_bytes.decode("ascii"), headers, int(minor_digit))
    if found.body_bytes is None and _PADDED_CODING.search(block):
        raise BadMessage(400, "Nothing may stand behind the value of Transfer-Encoding.")
    return found


_HEADER_LINE_TEXT = re.compile(_HEADER_LINE.pattern.decode("latin-1"))


def _first_bad_line(block: bytes) -> str:
    for line in block.split(b"\r\n"):
        if _HEADER_LINE.fullmatch(line + b"\r\n") is None:
            return line[:80].decode("latin-1")
    return ""


def _read_meaning(method: str, target: str, headers: Headers, minor: int) -> RequestHead:
    fields: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if "_" in name:
            raise BadMessage(400, f"{name[:80]}: names of header fields have hyphens here, not underscores.")
        if lower in fields:
            if lower in _SINGLE:
                raise BadMessage(400, f"The header {name} is given more than once.")
            fields[lower] = f"{fields[lower]}, {value}"
        else:
            fields[lower] = value
    host = fields.get("host")
    if host is None:
        if minor == 1:
            raise BadMessage(400, "An HTTP/1.1 request needs a Host header.")
    elif not _is_host(host):
        raise BadMessage(400, "The Host header is not a host name with an optional port.")
    target, authority = _origin_form(method, target)
    if authority is not None and host is not None:  # the request line's word counts (RFC 9112 3.2.2)
        fields["host"] = authority
        headers = [(name, authority if name.lower() == "host" else value) for name, value in headers]
    keep_alive = minor == 1
    connection = fields.get("connection")
    if connection is not None:
        options = {option.strip().lower() for option in connection.split(",")}
        keep_alive = "close" not in options and (minor == 1 or "keep-alive" in options)
    expects_continue = False
    expect = fields.get("expect")
    if expect is not None:
        if expect.lower() != "100-continue":
            raise BadMessage(417, "The only expectation this endpoint can meet is '100-continue'.")
        expects_continue = minor == 1
    return RequestHead(
        method,
        target,
        headers,
        _body_length(fields, minor),
        keep_alive,
        expects_continue,
        minor,
        fields,
    )


_SINGLE = frozenset({"host", "content-length", "transfer-encoding", "authorization", "expect", "content-type"})


def _body_length(fields: dict[str, str], minor: int) -> int | None:
    """RFC 9112 6.3, with every doubtful case refused instead of settled."""
    length = fields.get("content-length")
    coding = fields.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadMessage(400, "Content-Length and Transfer-Encoding exclude each other.")
        if minor == 0:
            raise BadMessage(400, "HTTP/1.0 has no Transfer-Encoding.")
        if coding.lower() != "chunked":
            raise BadMessage(501, "The only transfer coding this endpoint reads is 'chunked', alone.")
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) <= 15):
        raise BadMessage(400, "Content-Length is not a number of decimal digits.")
    return int(length)


def _origin_form(method: str, target: str) -> tuple[str, str | None]:
    """(the target as a path and a query, the authority of an absolute one)"""
    if method == "CONNECT":
        raise BadMessage(501, "This endpoint is not a proxy: CONNECT is not served.")
    authority = None
    if target[0] != "/":
        if target == "*" and method == "OPTIONS":
            return target, None
        match = re.match(r"https?://([^/?]+)", target, re.IGNORECASE)  # must be understood (RFC 9112 3.2.2)
        if match is None:
            raise BadMessage(400, "The request target is neither a path that begins with '/' nor an http(s) URL.")
        authority = match[1]
        if not _is_host(authority):
            raise BadMessage(400, "The request target's authority is not a host name with an optional port.")
        rest = target[match.end() :]
        target = rest if rest.startswith("/") else "/" + rest
    if _DOT_SEGMENT.search(target.partition("?")[0]):
        raise BadMessage(400, "The path has '.' or '..' as a segment: send it resolved (RFC 3986 5.2.4).")
    return target, authority


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if match is None or (match[2] and int(match[2]) > 65_535):
        return False
    if match[1]:
        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            return False
    return True


def bare_line_feed(partial: bytes, start: int = 0) -> bool:
    """Whether an unfinished head, from `start` on, holds a line feed without its carriage return: then it will never
    end as this server reads it."""
    return _BARE_LF.search(partial, start) is not None


class ChunkedDecoder:
    """A body in chunks (RFC 9112 7.1), incrementally. Chunk extensions and trailers are read, bounded and dropped.

    However small the chunks, one call reads at most `lines_max` of their lines and gives their payload in one piece;
    then `has_more` says that the next call has something to read without new bytes.
    """

    __slots__ = ("_buffer", "_extra_bytes", "_left", "_state", "ended", "has_more")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state = "size"
        self._extra_bytes = 0  # what extensions and trailers have taken of their bound
        self.ended = False
        self.has_more = False

    def feed(self, data: bytes, lines_max: int = limits.CHUNK_LINES_AT_ONCE) -> bytes:
        """The payload of what is read now. Raises BadMessage(400) on any deviation, 431 on endless trailers."""
        if self._buffer:
            data = self._buffer + data if data else self._buffer
        pieces: list[bytes] = []
        at, end = 0, len(data)
        self.has_more = False
        while not self.ended:
            if self._state == "data":
                take = min(self._left, end - at)
                if take:
                    pieces.append(data[at : at + take])
                    at += take
                    self._left -= take
                if self._left:
                    break
                self._state = "data-end"
            line_end = data.find(b"\r\n", at, at + limits.CHUNK_LINE_MAX_BYTES + 2)
            if line_end < 0:
                self._refuse_endless_line(data[at : at + limits.CHUNK_LINE_MAX_BYTES + 2])
                break
            if not lines_max:
                self.has_more = True
                break
            lines_max -= 1
            self._take_line(data[at:line_end])
            at = line_end + 2
        self._buffer = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def rest(self) -> bytes:
        """What lies behind the body's end."""
        return self._buffer

    def _take_line(self, line: bytes) -> None:
        if self._state == "data-end":
            if line:
                raise BadMessage(400, "A chunk does not end where its size says.")
            self._state = "size"
        elif self._state == "size":
            match = _CHUNK_LINE.fullmatch(line)
            if match is None:
                raise BadMessage(400, "A chunk size is not a plain hexadecimal number, or its extension is malformed.")
            self._count_extra(len(line) - len(match[1]))
            self._left = int(match[1], 16)
            self._state = "data" if self._left else "trailer"
        elif line:
            if _HEADER_LINE.fullmatch(line + b"\r\n") is None:
                raise BadMessage(400, "A trailer line is malformed.")
            if line.partition(b":")[0].lower() in _TRAILERS_REFUSED:
                raise BadMessage(400, "A trailer says what only a header may say.")
            self._count_extra(len(line))
        else:
            self.ended = True

    def _refuse_endless_line(self, line: bytes) -> None:
        if self._state == "data-end" and len(line) > 1:
            raise BadMessage(400, "A chunk does not end where its size says.")
        if len(line) > limits.CHUNK_LINE_MAX_BYTES or b"\n" in line:
            raise BadMessage(400, "A chunk's size line or a trailer is too long or not ended by CR LF.")

    def _count_extra(self, count: int) -> None:
        self._extra_bytes += count
        if self._extra_bytes > limits.CHUNK_EXTRA_MAX_BYTES:
            raise BadMessage(431, f"Chunk extensions and trailers take more than {limits.CHUNK_EXTRA_MAX_BYTES} bytes.")


def end_to_end(head: RequestHead, drop: frozenset[str] = frozenset()) -> Headers:
    """The headers that travel on: less hop-by-hop ones, those the Connection header names, framing, and `drop`."""
    named = head.fields.get("connection")
    if named is not None:
        drop = drop | named_by_connection([named])
    kept = []
    for pair in head.headers:
        lower = pair[0].lower()
        if lower not in HOP_BY_HOP and lower not in drop and lower not in _FRAMING:
            kept.append(pair)
    return kept


_FRAMING = frozenset({"content-length", "expect"})
_HEADER_NAME = re.compile(_TOKEN.decode("latin-1") + "+")
_HEADER_VALUE = re.compile("[\t\x20-\x7e\x80-\xff]*")


def is_header(name: str, value: str) -> bool:
    """Whether the pair can be written into a head without changing its lines (no CR, LF, NUL, no empty name)."""
    return _HEADER_NAME.fullmatch(name) is not None and _HEADER_VALUE.fullmatch(value) is not None


def response_head(status: int, headers: Headers) -> bytes:
    """Status line and headers with the empty line. The caller has checked every pair with `is_header`."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")
