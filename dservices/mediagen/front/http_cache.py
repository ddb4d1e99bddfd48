"""Whether an answer may be kept, how long it is fresh, and how to ask again: RFC 9111 as MediaGen reads it (G-9). Pure.

MediaGen is a shared cache in front of origins that are not its own, and a cache here may never change a result (G-1).
So it is stricter than the RFC where that allows a guess:

* no heuristic freshness (4.2.2) and nothing stale, ever (4.2.4): without an explicit lifetime every use asks the
  origin;
* it asks again with strong validators only: a weak ETag promises an equal meaning, not equal bytes (RFC 9110, 8.8.1),
  and a Last-Modified counts only if the answer is at least a second younger (8.8.2.2);
* an address that carries a signature or token (pre-signed S3, Azure SAS) is asked about every time: what it grants
  may end;
* answers behind a redirect are not kept: the redirect itself has no lifetime.

Every request of MediaGen carries the same headers, so Vary selects nothing; `Vary: *` forbids keeping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus, urlsplit

LIFETIME_MAX_S = 24 * 3600
"""However long an origin says: operators clear caches by waiting a day."""
_DIRECTIVE = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?\s*(?:,|$)')
_SIGNED = re.compile(
    r"(?i)^(x-amz-.*|x-goog-.*|x-oss-.*|awsaccesskeyid|googleaccessid|signature|sig|se|sp|sv|token|access_token|auth|key|"
    r"apikey|api_key|policy|key-pair-id|expires|hmac|jwt|password|secret)$"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What decides about a kept answer. Seconds on one monotonic clock, except where noted."""

    received_s: float
    """When the answer, or the last 304 for it, was there."""
    initial_age_s: float
    """Its age at that moment (4.2.3: the larger of Age plus the time it took, and of what Date says)."""
    lifetime_s: float
    """How long it is fresh from its birth on; 0 asks every time."""
    etag: str | None
    """Strong, or None."""
    last_modified: str | None
    """Only where it is a strong validator."""

    def is_fresh(self, now_s: float) -> bool:
        return self.initial_age_s + (now_s - self.received_s) < self.lifetime_s

    @property
    def questions(self) -> dict[str, str]:
        """Headers of a conditional request (4.3.1); empty if it cannot be asked about."""
        if self.etag is not None:
            return {"If-None-Match": self.etag}
        if self.last_modified is not None:
            return {"If-Modified-Since": self.last_modified}
        return {}


@dataclass(frozen=True, slots=True)
class Times:
    """When a request was sent and its answer there, in monotonic seconds; and the wall clock then, Unix seconds."""

    asked_s: float
    received_s: float
    wall_s: float


def directives(text: str) -> dict[str, str | None]:
    """Cache-Control by lower-case name. A directive twice with two values is kept as "", which no number is."""
    found: dict[str, str | None] = {}
    at = 0
    while at < len(text) and (match := _DIRECTIVE.match(text, at)) is not None and match.end() > at:
        name = match[1].lower()
        value = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        found[name] = value if name not in found or found[name] == value else ""
        at = match.end()
    if at < len(text.rstrip(", \t")):
        found["no-store"] = None  # what cannot be read might have been the one word that matters
    return found


def carries_credentials(url: str) -> bool:
    """Whether the address itself grants access: user information, or a signature or token among the parameters."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        return True
    return any(_SIGNED.match(unquote_plus(field.partition("=")[0])) for field in parts.query.split("&") if field)


def kept(url: str, headers: Mapping[str, str], times: Times) -> Kept | None:
    """The facts to keep with an answer of status 200 that came without a redirect, or None: it must not be kept, or
    could never be used. `headers` by lower-case name."""
    control = directives(headers.get("cache-control", ""))
    if "no-store" in control or "private" in control or "*" in headers.get("vary", ""):
        return None
    date_s = _date(headers.get("date"))
    asks_always = "no-cache" in control or carries_credentials(url)
    if not control and "no-cache" in headers.get("pragma", "").lower():
        asks_always = True
    age_s = _whole(headers.get("age")) or 0
    corrected = age_s + max(0.0, times.received_s - times.asked_s)
    apparent = max(0.0, times.wall_s - date_s) if date_s is not None else 0.0
    answer = Kept(
        times.received_s,
        max(corrected, apparent),
        0.0 if asks_always else _lifetime(control, headers, date_s),
        _strong(headers.get("etag")),
        _exact_date(headers.get("last-modified"), date_s),
    )
    return answer if answer.lifetime_s > answer.initial_age_s or answer.questions else None


def confirmed(url: str, before: Kept, stored: Mapping[str, str], news: Mapping[str, str], times: Times) -> Kept | None:
    """The facts after a 304 (3.2, 4.3.4): its fields replace the stored ones. None if it speaks of something else or
    forbids keeping; the stored bytes are right for this use in the second case (`speaks_of`)."""
    if not speaks_of(before, news):
        return None
    # Without a new Date or Age, those of the first answer would make the entry as old as that.
    plain = {name: value for name, value in stored.items() if name not in ("age", "date")}
    fresh = kept(url, {**plain, **news}, times)
    if fresh is None:
        return None
    # Validators were chosen when the bytes came; a 304 cannot make a weak one strong.
    return replace(fresh, etag=before.etag, last_modified=before.last_modified)


def speaks_of(before: Kept, news: Mapping[str, str]) -> bool:
    """Whether a 304 is about the bytes that are kept: an ETag in it has to be the one that was asked for."""
    etag = news.get("etag")
    return before.etag is None or etag is None or etag.removeprefix("W/") == before.etag


def _lifetime(control: Mapping[str, str | None], headers: Mapping[str, str], date_s: float | None) -> float:
    """4.2.1: s-maxage, else max-age, else Expires less Date. Whatever cannot be read is no lifetime."""
    for name in ("s-maxage", "max-age"):
        if name in control:
            return float(min(_whole(control[name]) or 0, LIFETIME_MAX_S))
    expires_s = _date(headers.get("expires"))
    if expires_s is None or date_s is None:
        return 0.0
    return min(max(0.0, expires_s - date_s), LIFETIME_MAX_S)


def _strong(etag: str | None) -> str | None:
    return etag if etag is not None and re.fullmatch(r'"[\x21\x23-\x7e]{0,1024}"', etag) else None


def _exact_date(last_modified: str | None, date_s: float | None) -> str | None:
    """Two changes within one second look the same: only a date that was over when the answer was made is exact."""
    modified_s = _date(last_modified)
    return last_modified if modified_s is not None and date_s is not None and modified_s + 1 <= date_s else None


def _date(text: str | None) -> float | None:
    if not text or len(text) > 64 or not text.isascii() or not text.isprintable():
        return None
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return parsed.timestamp()


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 10 else None
