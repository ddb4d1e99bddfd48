"""What passes between tunnel and DService: which headers go along, and what becomes of failures. Pure.

Bodies are not touched here; hop-by-hop fields (RFC 9110 section 7.6.1) end at each hop.
"""

from collections.abc import Sequence

from cgn_sdk.protocol.http_fields import HOP_BY_HOP, named_by_connection
from cgn_sdk.protocol.messages import Head, Headers, headers_problem, metadata_problem

_META_PREFIX = "cgn-meta-"
_OWN_PREFIX = "cgn-"

HOP_FAILURES = {
    "unreachable": "dservice_unavailable",
    "closed": "dservice_crashed",
    "malformed": "dservice_protocol",
    "too_large": "dservice_protocol",
}
"""Code of the hop -> code of FAIL."""


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


class BadAnswer(ValueError):
    """The DService's head breaks a bound of the tunnel."""


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
    if problem := headers_problem(kept) or (metadata and metadata_problem(metadata)):
        raise BadAnswer(problem)
    return Head(status, tuple(kept), body_bytes), metadata


def has_body(method: str, status: int) -> bool:
    """Whether an answer to this method with this status may have a body (RFC 9110 section 6.4.1)."""
    return method != "HEAD" and status not in (204, 304)
