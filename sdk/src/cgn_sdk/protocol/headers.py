"""The `CGN-*` headers of a work request: what a DApp may say about how its work is done.

`parse` reads them all or names the first that is wrong; an unknown one is wrong too, because a misspelt option must
not silently do nothing. Every header is given at most once. What the options mean is the node's business.

Example: `CGN-Tier: 2, 3`, `CGN-Deadline-Ms: 5000`, `CGN-Meta-Campaign: spring` becomes
`WorkOptions(tiers=("2", "3"), deadline_ms=5000, meta={"campaign": "spring"})`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from cgn_sdk.protocol import limits
from cgn_sdk.protocol.errors import Problem

TIERS: Final = ("1", "2", "3", "4a", "4b")
POLICIES: Final = ("immediate", "fastest")

_PREFIX = "cgn-"
_META = "cgn-meta-"
_META_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_META_VALUE = re.compile(r"[\t\x20-\x7e]*")
_DIGITS = re.compile(r"[0-9]{1,19}")
_REQUEST_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """What the DApp asked for; None: not said, the account's or node's default holds.

    `tiers`: acceptable ones, the preferred first. The minima are the service level: 0 asks for nothing. `meta`: the
    enterprise's own fields, names in lower case without the prefix.
    """

    tiers: tuple[str, ...] | None = None
    deadline_ms: int | None = None
    max_fee_nano_eur: int | None = None
    match: str = "immediate"
    request_id: str | None = None
    min_threads: int = 0
    min_kmips_per_thread_milli: int = 0
    min_bandwidth_bytes_per_s: int = 0
    meta: dict[str, str] = field(default_factory=dict)

    @property
    def has_service_level(self) -> bool:
        return bool(self.min_threads or self.min_kmips_per_thread_milli or self.min_bandwidth_bytes_per_s)


NOTHING_ASKED: Final = WorkOptions()


class _Wrong(Exception):
    """Says what a header's value must be."""


def _tiers(value: str) -> tuple[str, ...]:
    tiers = tuple(part.strip(" \t") for part in value.split(",", len(TIERS)))
    if not set(tiers) <= set(TIERS) or len(set(tiers)) != len(tiers):
        raise _Wrong(f"a comma list of different tiers out of {', '.join(TIERS)}, the preferred first")
    return tiers


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        number = int(value) if _DIGITS.fullmatch(value) else -1
        if not low <= number <= high:
            raise _Wrong(f"a whole number from {low} to {high}")
        return number

    return read


def _match(value: str) -> str:
    if value not in POLICIES:
        raise _Wrong(f"one of {', '.join(POLICIES)}")
    return value


def _request_id(value: str) -> str:
    if not _REQUEST_ID.fullmatch(value):
        raise _Wrong("32 lower-case hexadecimal digits")
    return value


OPTIONS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "CGN-Tier": ("tiers", _tiers),
    "CGN-Deadline-Ms": ("deadline_ms", _number(1, limits.DEADLINE_MAX_MS)),
    "CGN-Max-Fee-Nano-Eur": ("max_fee_nano_eur", _number(0, limits.FEE_MAX_NANO_EUR)),
    "CGN-Match": ("match", _match),
    "CGN-Request-Id": ("request_id", _request_id),
    "CGN-Min-Threads": ("min_threads", _number(1, limits.MIN_THREADS_MAX)),
    "CGN-Min-Kmips-Milli": ("min_kmips_per_thread_milli", _number(1, limits.MIN_KMIPS_MILLI_MAX)),
    "CGN-Min-Bandwidth-Bytes-S": ("min_bandwidth_bytes_per_s", _number(1, limits.MIN_BANDWIDTH_MAX_BYTES_S)),
}
"""Every option but `CGN-Meta-<Name>`: its header, the field of `WorkOptions`, its reader."""

_BY_LOWER = {name.lower(): option for name, option in OPTIONS.items()}


def parse(headers: Iterable[tuple[str, str]]) -> WorkOptions | Problem:
    """The options in a request's headers (others are passed over), or the problem (400) that names the wrong one."""
    found: dict[str, Any] = {}
    meta: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if not lower.startswith(_PREFIX):
            continue
        if lower.startswith(_META):
            wrong = _read_meta(meta, lower[len(_META) :], value)
            if wrong:
                return _problem(name, wrong)
            continue
        option = _BY_LOWER.get(lower)
        if option is None:
            return _problem(name, f"is unknown here; there are {', '.join(OPTIONS)} and CGN-Meta-<Name>.")
        attribute, read = option
        if attribute in found:
            return _problem(name, "is given twice; give it once.")
        try:
            found[attribute] = read(value.strip(" \t"))
        except _Wrong as wanted:
            return _problem(name, f"must be {wanted}.")
    if not found and not meta:
        return NOTHING_ASKED
    return WorkOptions(meta=meta, **found)


def _read_meta(meta: dict[str, str], name: str, value: str) -> str:
    """Adds one field; returns what is wrong with it, or ""."""
    if len(name) > limits.NAME_MAX_CHARS or not _META_NAME.fullmatch(name):
        return f"must be CGN-Meta- and at most {limits.NAME_MAX_CHARS} letters, digits and single inner hyphens."
    if name in meta:
        return "is given twice; give it once."
    value = value.strip(" \t")
    if not _META_VALUE.fullmatch(value):
        return "must be printable ASCII; percent-encode anything else."
    meta[name] = value
    if len(meta) > limits.REQUEST_META_MAX_COUNT:
        return f"is one CGN-Meta- field too many; {limits.REQUEST_META_MAX_COUNT} are allowed."
    if sum(map(len, meta)) + sum(map(len, meta.values())) > limits.REQUEST_META_MAX_CHARS:
        return (
            f"is too much; all CGN-Meta- names and values together may have {limits.REQUEST_META_MAX_CHARS} characters."
        )
    return ""


def _problem(name: str, wrong: str) -> Problem:
    shown = name[: limits.NAME_MAX_CHARS].encode("ascii", "replace").decode()
    return Problem("bad_header", f"The header {shown} {wrong}", extra={"header": shown})
