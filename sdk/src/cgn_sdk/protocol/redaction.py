"""Takes secrets out of what is written down of a request: rows, logs, error texts (L-17). Pure.

What counts as a secret, this list is the promise:
- values of the header fields in SECRET_HEADERS, and of every field whose name is telling (`is_secret_name`);
- in any text, a URL above all: the value of a parameter with a telling name, such as `token=`, `key=`, `sig=`,
  `X-Amz-Signature=`, `X-Amz-Credential=`, `X-Amz-Security-Token=`, `AWSAccessKeyId=`, written as `name=value` or as a
  member of JSON; what stands before the @ of a URL; API keys and session keys; tokens of the form of RFC 7519 (JWT);
  what follows the words Bearer and Basic;
- names that an account lists beside them.

A URL may stand in a parameter of a URL, percent-encoded once for each level: that is how MediaGen is told where
pictures are. So each separator is looked for at every level, and a value ends at the next delimiter of its own level or
of one further out. What is still readable as a secret when the result is decoded as far as it goes has been written so
as to be overlooked; then the whole query, or the whole text, goes.
"""

import re
import string
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from cgn_sdk.protocol.ids import SECRET_PATTERNS

REDACTED: Final = "redacted"

SECRET_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "cookie2",
        "x-api-key",
        "x-auth",
        "x-forwarded-client-cert",
        "x-amz-security-token",
        "x-csrf-token",
    }
)
"""Fields, in lower case, whose values are secrets whatever is in them."""

_TELLING: Final = (
    "token",
    "signature",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "sessionkey",
    "sessionid",
    "authorization",
)
"""Anywhere in a name, once it is in lower case and its -, _ and . are taken out."""
_TELLING_ALONE: Final = frozenset(
    {"key", "sig", "sas", "pwd", "pw", "pass", "auth", "jwt", "sid", "session", "hmac", "hdnea", "hdnts", "cookie"}
)
"""As the whole name; `mykey` may be many things, `key` is what services call theirs."""

LEVELS: Final = 4
"""Times a URL inside a URL is looked for percent-encoded; deeper ones are seen by decoding, and go as a whole."""
_DECODINGS_MAX: Final = 8
_NAME_CHARS_MAX: Final = 200
_SPACES: Final = r"(?:[ \t]|%20|\+){0,4}"


def _at(level: int, char: str) -> str:
    """A pattern of a character as it stands at a level: itself, %XX, %25XX, %2525XX, …"""
    return re.escape(char) if level == 0 else f"%(?:25){{{level - 1}}}{ord(char):02X}"


def _up_to(level: int, chars: str) -> str:
    return "|".join(_at(each, char) for char in chars for each in range(level + 1))


def _separators(level: int) -> str:
    """`=`, or what stands between a name and a quoted value in JSON and in a script's object; not all of that is always
    encoded."""
    quote = _up_to(level, "\"'")
    return (
        rf"(?P<equals>{_at(level, '=')})"
        rf"|\\{{0,4}}(?:{quote})?{_SPACES}(?:{_up_to(level, ':')}){_SPACES}(?P<quote>\\{{0,4}}(?:{quote}))"
    )


_SEPARATORS: Final = [re.compile(_separators(level), re.I) for level in range(LEVELS + 1)]
_EQUALS: Final = [re.compile(rf"{_at(level, '=')}(?P<quote>)", re.I) for level in range(LEVELS + 1)]
"""The same, much faster, for a text without quotes."""
_ENDS: Final = [re.compile(rf"{_up_to(level, '&#' + chr(34))}|[\s<>]", re.I) for level in range(LEVELS + 1)]
_USERS: Final = [
    re.compile(
        rf"(?:{_up_to(level, ':')})(?:{_up_to(level, '/')}){{2}}"
        rf"(?P<user>(?:(?!{_up_to(level, '/?#&')}|[\s<>\"]).){{1,2000}})(?:{_up_to(level, '@')})",
        re.I,
    )
    for level in range(LEVELS + 1)
]
"""Before the last @ of a URL's authority."""
_MARKS: Final = ["", *("%" + "25" * (level - 1) for level in range(1, LEVELS + 1))]
"""What a text has that has anything at all at a level."""
_WHOLE: Final = re.compile(
    "|".join(
        [
            *SECRET_PATTERNS,
            r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*",
            r"(?<=bearer )(?!redacted\b)[\w.~+/=-]{4,}",
            r"(?<=basic )(?!redacted\b)[\w+/=]{4,}",
        ]
    ),
    re.I,
)
_NAME_CHARS: Final = string.ascii_letters + string.digits + "_.~$-"
_NAMES: Final = re.compile(r"(?<![\w.~$-])([\w.~$-]++)[\[\]()]{0,4}[\\\"']{0,8}[ +\t]{0,4}[=:]")
_OTHERS: Final = re.compile(r"//[^/\\?#\s]*@|cg[ns]_|eyj|bearer |basic ")
"""In lower case. Together: what nothing secret is without, at some stage of decoding. Most texts have none of it and
are left alone at once."""


@lru_cache(maxsize=1_024)
def is_secret_name(name: str) -> bool:
    """Whether a field or parameter of this name holds a secret, by its name alone."""
    plain = re.sub(r"[-_.~$\[\]()]", "", name).lower()
    return plain in _TELLING_ALONE or any(part in plain for part in _TELLING)


def redact_headers(headers: Iterable[tuple[str, str]], listed: Collection[str] = frozenset()) -> list[tuple[str, str]]:
    """The fields with their secrets taken out; `listed` are further names, in lower case."""
    return [(name, _header_value(name, value, listed)) for name, value in headers]


def _header_value(name: str, value: str, listed: Collection[str]) -> str:
    lower = name.lower()
    if lower in SECRET_HEADERS or lower in listed or is_secret_name(lower):
        return REDACTED
    return redact_text(value, listed)


def redact_text(text: str, listed: Collection[str] = frozenset()) -> str:
    """A URL, a request's target, or any other text with its secrets taken out."""
    if not any(_may_hold_one(stage, listed) for stage in _stages(text)):
        return text
    redacted = text
    for level in range(LEVELS + 1):
        if _MARKS[level] in text:
            redacted = _without_users(redacted, level)
            redacted = _without_values(redacted, level, listed)
    redacted = _WHOLE.sub(REDACTED, redacted)
    return redacted if _is_clean(redacted, listed) else _coarse(redacted, listed)


def _may_hold_one(text: str, listed: Collection[str]) -> bool:
    if ("=" in text or ":" in text) and any(_is_secret(name, listed) for name in _NAMES.findall(text)):
        return True
    return _OTHERS.search(text.lower()) is not None


def _without_users(text: str, level: int) -> str:
    if "@" not in text and "40" not in text:
        return text

    def shorter(found: re.Match[str]) -> str:
        return found[0] if found["user"] == REDACTED else found[0].replace(found["user"], REDACTED, 1)

    return _USERS[level].sub(shorter, text)


def _without_values(text: str, level: int, listed: Collection[str]) -> str:
    """The text with the values behind telling names replaced, at one level of encoding."""
    pieces, taken, place = [], 0, 0
    separators = _separators_of(text, level)
    while (found := separators.search(text, place)) is not None:
        begin = found.end()
        if _is_secret(_name_before(text, found.start(), place), listed):
            pieces += [text[taken:begin], REDACTED]
            taken = place = max(begin, _value_end(text, found, level))
        else:
            place = begin
    return "".join([*pieces, text[taken:]])


def _separators_of(text: str, level: int) -> re.Pattern[str]:
    has_quotes = any(sign in text for sign in ('"', "'", "22", "27"))
    return _SEPARATORS[level] if has_quotes else _EQUALS[level]


def _value_end(text: str, separator: re.Match[str], level: int) -> int:
    if separator["quote"]:
        end = text.find(separator["quote"], separator.end())
    else:
        stop = _ENDS[level].search(text, separator.end())
        end = -1 if stop is None else stop.start()
    return len(text) if end < 0 else end


def _name_before(text: str, end: int, begin: int) -> str:
    """The name that ends there, however much of it is encoded."""
    run = text[max(begin, end - _NAME_CHARS_MAX) : end]
    run = (_decoded(run) if "%" in run else run).rstrip("[]()")
    return run[len(run.rstrip(_NAME_CHARS)) :]


def _is_secret(name: str, listed: Collection[str]) -> bool:
    name = name[-_NAME_CHARS_MAX:]
    return name.lower() in listed or is_secret_name(name)


def _is_clean(text: str, listed: Collection[str]) -> bool:
    """Whether a text shows no secret, however often it is decoded."""
    return all(_shows_none(stage, listed) for stage in _stages(text))


def _shows_none(text: str, listed: Collection[str]) -> bool:
    place = 0
    separators = _separators_of(text, 0)
    while (found := separators.search(text, place)) is not None:
        if not text.startswith(REDACTED, found.end()) and _is_secret(_name_before(text, found.start(), place), listed):
            return False
        place = found.end()
    if "@" in text and not all(found["user"] == REDACTED for found in _USERS[0].finditer(text)):
        return False
    return _WHOLE.search(text) is None


def _coarse(text: str, listed: Collection[str]) -> str:
    path, mark, _ = text.partition("?")
    return f"{path}?{REDACTED}" if mark and _is_clean(path, listed) else REDACTED


def _stages(text: str) -> Iterator[str]:
    """The text, and what it is percent-decoded once, twice, … until nothing changes any more."""
    yield text
    for _ in range(_DECODINGS_MAX):
        if "%" not in text:
            return
        before, text = text, unquote(text, errors="replace")
        if text == before:
            return
        yield text


def _decoded(text: str) -> str:
    """Percent-decoded until nothing changes any more."""
    *_, last = _stages(text)
    return last
