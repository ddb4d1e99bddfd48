"""The private parts of a row that the node writes itself, as canonical JSON (L-1). Pure.

They are written down by templates: through dictionaries and the general encoder they were a quarter of the event loop's
work for a request (docs/benchmarks.md). Members ascend; what a stranger may have sent is quoted; all else is digits,
hexadecimal and names whose characters JSON does not escape. `tests/property/test_row_parts.py` holds each against
`canonical.encode`, and whoever reads a row back encodes its parts the general way and compares hashes.
"""

from collections.abc import Sequence
from functools import lru_cache

from cgn_sdk.protocol.canonical import CanonicalText, encode, quote
from cgn_sdk.protocol.messages import Statement

from cgn_node.core.limits import ACCOUNT_PARTS_KEPT, ROW_HEADERS_MAX_CHARS
from cgn_node.core.pricing import Measured, Usage


def request_part(
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]],
    request_bytes: int,
    request_sha256: str,
    said: Statement,
) -> CanonicalText:
    """What was asked and answered. `method` is a token (RFC 9110 5.6.2), the digest hexadecimal. Headers too long for
    a row's part are represented by their counts of characters."""
    if sum([len(name) + len(value) for name, value in headers]) > ROW_HEADERS_MAX_CHARS:
        headers = [(name, f"({len(value)} characters)") for name, value in headers]
    listed = ",".join([f"[{quote(name)},{quote(value)}]" for name, value in headers])
    return CanonicalText(
        f'{{"headers":[{listed}],"method":"{method}","request_bytes":"{request_bytes}"'
        f',"request_sha256":"{request_sha256}","response_bytes":"{said.response_bytes}"'
        f',"response_sha256":"{said.response_sha256}","status":"{said.status}","url":{quote(url)}}}'
    )


def metrics_part(
    *,
    attempts: int,
    billed: Usage,
    clipped: Sequence[str],
    measured: Measured,
    match_ns: int,
    queue_ns: int,
    policy_version: int,
    seal: CanonicalText,
    statement: Statement,
) -> CanonicalText:
    """Use as claimed (the signed statement) and as billed, times as the node saw them, all in strings of digits."""
    names = ",".join([quote(name) for name in clipped])
    return CanonicalText(
        f'{{"attempts":"{attempts}","billed":{{"cpu_ns":"{billed.cpu_ns}","gpu_ns":"{billed.gpu_ns}"'
        f',"memory_byte_seconds":"{billed.memory_byte_seconds}","request_bytes":"{billed.request_bytes}"'
        f',"response_bytes":"{billed.response_bytes}","wall_ns":"{billed.wall_ns}"}},"clipped":[{names}]'
        f',"measured":{{"match_ns":"{match_ns}","queue_ns":"{queue_ns}","request_bytes":"{measured.request_bytes}"'
        f',"response_bytes":"{measured.response_bytes}","wall_ns":"{measured.wall_ns}"}}'
        f',"policy_version":"{policy_version}","seal":{seal},"statement":{statement.canonical_text()}}}'
    )


@lru_cache(maxsize=ACCOUNT_PARTS_KEPT)
def accounts_part(*parties: tuple[str, str]) -> CanonicalText:
    """Address by public id of (public id, address) pairs. The same parties meet again and again."""
    return CanonicalText(encode(dict(parties)).decode())
