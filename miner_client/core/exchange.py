"""What passes between tunnel and DService: which headers go along, and what becomes of failures. Pure.

Bodies are not touched here; hop-by-hop fields (RFC 9110 section 7.6.1) end at each hop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cgn_sdk.protocol.errors import ANSWER_RULES
from cgn_sdk.protocol.http_fields import HOP_BY_HOP, NO_CONTENT_STATUSES, named_by_connection
from cgn_sdk.protocol.limits import BODY_MAX_BYTES, HEADERS_MAX_CHARS, HEADERS_MAX_COUNT
from cgn_sdk.protocol.messages import Head, Headers, headers_problem, metadata_problem

_META_PREFIX = "cgn-meta-"
_OWN_PREFIX = "cgn-"

HOP_FAILURES = {
    "unreachable": "dservice_unavailable",
    "closed": "dservice_crashed",
    "request_aborted": "cancelled",
}
"""Code of the hop -> code of FAIL. A bad answer has its rule and `dservice_protocol` instead."""


def request_headers(headers: Headers, request_id: str, deadline_ms: int) -> list[tuple[bytes, bytes]]:
    """The DApp's headers as the DService gets them (S-2): without hop-by-hop, CGN- and Authorization fields, with the
    request's id and what is left of its deadline."""
    dropped = HOP_BY_HOP | named_by_connection(value for name, value in headers if name.lower() == "connection")
    out = []
    for name, value in headers:
        lower = name.lower()
        if lower in dropped or lower == "authorization" or lower.startswith(_OWN_PREFIX):
            continue
        out.append((lower.encode("ascii"), value.encode("latin-1")))
    out.append((b"cgn-request-id", request_id.encode("ascii")))
    out.append((b"cgn-deadline-ms", b"%d" % deadline_ms))
    return out


class BadAnswer(Exception):
    """The DService's answer broke this rule of `errors.ANSWER_RULES`; asking another miner would hardly help."""

    def __init__(self, rule: str, detail: str) -> None:
        assert rule in ANSWER_RULES, rule
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Framing:
    """How an answer's content is delimited (RFC 9112 section 6.3)."""

    has_content: bool
    length: int | None
    """Announced length; that of the content a GET would have had where there is none (HEAD, 304)."""
    is_chunked: bool
    keep_alive: bool
    """Whether the connection can serve another request behind this answer."""

    @property
    def ends_with_connection(self) -> bool:
        return self.has_content and self.length is None and not self.is_chunked


def framing(method: str, status: int, version: str, headers: Sequence[tuple[bytes, bytes]]) -> Framing:
    """What the head of a final answer says of its content. Names in `headers` are in lower case; `version` is "1.0" or
    "1.1". Raises BadAnswer where two readers could understand it differently."""
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if version not in ("1.0", "1.1"):
        raise BadAnswer("head_syntax", f"the answer says HTTP/{version}")
    if not 200 <= status <= 599:
        raise BadAnswer("status", f"the answer has status {status}")
    if codings and lengths:
        raise BadAnswer("content_length", "the answer has Content-Length and Transfer-Encoding")
    if codings and (version != "1.1" or len(codings) > 1 or codings[0].strip().lower() != b"chunked"):
        shown = b", ".join(codings)[:60].decode("latin-1")
        raise BadAnswer("transfer_coding", f"the answer is coded {shown!r} in HTTP/{version}")
    length = _length(lengths)
    may_have_content = method != "HEAD" and status not in NO_CONTENT_STATUSES
    if method != "HEAD" and ((status == 204 and codings) or (status in (204, 205) and length)):
        raise BadAnswer("content_not_allowed", f"an answer with status {status} announces content")
    options = named_by_connection(value.decode("latin-1") for name, value in headers if name == b"connection")
    is_open = "close" not in options and (version == "1.1" or "keep-alive" in options)
    if status == 205 and length is None:
        is_open = False  # an empty chunked body may follow, which nobody reads
    return Framing(may_have_content, length, bool(codings) and may_have_content, is_open)


def _length(values: Sequence[bytes]) -> int | None:
    if not values:
        return None
    if len(values) > 1 or not values[0].isdigit():
        raise BadAnswer("content_length", "the answer's Content-Length is not one number")
    if len(values[0]) > 18 or int(values[0]) > BODY_MAX_BYTES:
        raise BadAnswer("content_too_large", f"the answer announces more than {BODY_MAX_BYTES} bytes")
    return int(values[0])


def response_head(
    status: int, headers: Sequence[tuple[bytes, bytes]], body_bytes: int | None
) -> tuple[Head, dict[str, str]]:
    """The head that goes to the node, and the metadata taken out of it. Raises BadAnswer."""
    fields = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]
    dropped = HOP_BY_HOP | named_by_connection(value for name, value in fields if name == "connection")
    kept, metadata = [], {}
    for name, value in fields:
        if name in dropped or name == "content-length":
            continue  # the tunnel frames the body itself
        if name.startswith(_META_PREFIX):
            metadata[name.removeprefix(_META_PREFIX)] = value
        elif not name.startswith(_OWN_PREFIX):
            kept.append((name, value))
    if metadata and (problem := metadata_problem(metadata)):
        raise BadAnswer("metadata", problem)
    if problem := headers_problem(kept):
        size = sum(len(name) + len(value) for name, value in kept)
        is_large = len(kept) > HEADERS_MAX_COUNT or size > HEADERS_MAX_CHARS
        raise BadAnswer("head_too_large" if is_large else "head_syntax", problem)
    return Head(status, tuple(kept), body_bytes), metadata
