"""The private parts of a row that the node writes itself, as canonical JSON (L-1). Pure.

They are written down by templates: through dictionaries and the general encoder they were a quarter of the event loop's
work for a request (docs/benchmarks.md). Members ascend; what a stranger may have sent is quoted; all else is digits,
hexadecimal and names whose characters JSON does not escape. `tests/property/test_row_parts.py` holds each against
`canonical.encode`, and whoever reads a row back encodes its parts the general way and compares hashes.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from cgn_sdk.protocol.canonical import CanonicalText, encode, quote
from cgn_sdk.protocol.messages import Statement
from cgn_sdk.protocol.redaction import redact_headers, redact_text

from cgn_node.core.limits import ACCOUNT_PARTS_KEPT, ROW_HEADERS_MAX_CHARS
from cgn_node.core.pricing import Measured, Usage

_NOTE_CHARS = 32
"""The longest "(n characters)" or "(n more fields)"."""


class Answered(NamedTuple):
    """What was answered, where no statement of the miner says it."""

    status: int
    response_bytes: int
    response_sha256: str


def request_part(
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]],
    request_bytes: int,
    request_sha256: str,
    said: Statement | Answered,
    listed: Collection[str] = frozenset(),
) -> CanonicalText:
    """What was asked and answered, secrets taken out before anything is hashed (L-17; `listed`: what the account calls
    secret beside them). `method` is a token (RFC 9110 5.6.2), the digest hexadecimal."""
    shown = _fitting(redact_headers(headers, listed))
    fields = ",".join([f"[{quote(name)},{quote(value)}]" for name, value in shown])
    return CanonicalText(
        f'{{"headers":[{fields}],"method":"{method}","request_bytes":"{request_bytes}"'
        f',"request_sha256":"{request_sha256}","response_bytes":"{said.response_bytes}"'
        f',"response_sha256":"{said.response_sha256}","status":"{said.status}"'
        f',"url":{quote(redact_text(url, listed))}}}'
    )


def _fitting(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """At most ROW_HEADERS_MAX_CHARS of them: a value for which there is no room is represented by its length, fields
    whose names find none by their number."""
    if sum([len(name) + len(value) for name, value in headers]) <= ROW_HEADERS_MAX_CHARS:
        return headers
    kept: list[tuple[str, str]] = []
    room = ROW_HEADERS_MAX_CHARS - _NOTE_CHARS
    for place, (name, value) in enumerate(headers):
        shown = value if len(name) + len(value) <= room - _NOTE_CHARS else f"({len(value)} characters)"
        room -= len(name) + len(shown)
        if room < 0:
            return [*kept, ("", f"({len(headers) - place} more fields)")]
        kept.append((name, shown))
    return kept


def fields_part(fields: Mapping[str, str], listed: Collection[str] = frozenset()) -> Mapping[str, str]:
    """What a `CGN-Meta-` field says, of the request (`custom`) or of the DService (`service`, which may quote the
    request), secrets taken out as from any other header field. The account may list one with or without `cgn-meta-`."""
    if not fields:
        return {}
    names = {*listed, *[name.removeprefix("cgn-meta-") for name in listed]} if listed else listed
    return dict(redact_headers(fields.items(), names))


def metrics_part(
    *,
    attempts: int,
    billed: Usage,
    clipped: Sequence[str],
    measured: Measured,
    match_ns: int,
    queue_ns: int,
    policy_version: int,
    seal: CanonicalText | None,
    statement: Statement | None,
    ended: str,
) -> CanonicalText:
    """Use as claimed (the signed statement) and as billed, times as the node saw them, all in strings of digits. Where
    less than the whole response is billed, `ended` says why; what was cut has neither statement nor seal, since its
    miner was stopped before it could sign."""
    cut = "" if ended == "whole" else f',"ended":"{ended}"'
    signed = ""
    if statement is not None and seal is not None:
        signed = f',"seal":{seal},"statement":{statement.canonical_text()}'
    names = ",".join([quote(name) for name in clipped])
    return CanonicalText(
        f'{{"attempts":"{attempts}","billed":{{"cpu_ns":"{billed.cpu_ns}","gpu_ns":"{billed.gpu_ns}"'
        f',"memory_byte_seconds":"{billed.memory_byte_seconds}","request_bytes":"{billed.request_bytes}"'
        f',"response_bytes":"{billed.response_bytes}","wall_ns":"{billed.wall_ns}"}},"clipped":[{names}]{cut}'
        f',"measured":{{"match_ns":"{match_ns}","queue_ns":"{queue_ns}","request_bytes":"{measured.request_bytes}"'
        f',"response_bytes":"{measured.response_bytes}","wall_ns":"{measured.wall_ns}"}}'
        f',"policy_version":"{policy_version}"{signed}}}'
    )


@lru_cache(maxsize=ACCOUNT_PARTS_KEPT)
def accounts_part(*parties: tuple[str, str]) -> CanonicalText:
    """Address by public id of (public id, address) pairs. The same parties meet again and again."""
    return CanonicalText(encode(dict(parties)).decode())
