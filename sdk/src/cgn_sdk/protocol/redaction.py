"""Takes secrets out of what is written down of a request: rows, logs, error texts (L-17). Pure.

What counts as a secret, this list is the promise:
- values of the header fields in SECRET_HEADERS, and of every field whose name is telling (`is_secret_name`);
- in any text, a URL above all: the value of a parameter with a telling name, such as `token=`, `key=`, `sig=`,
  `X-Amz-Signature=`, `X-Amz-Credential=`, `X-Amz-Security-Token=`, `AWSAccessKeyId=`, written as `name=value`, as an
  assignment (`name = "value"`, `"name" => "value"`) or as a member of JSON; what stands before the @ of a URL, also of
  one without a scheme; API keys and session keys; tokens of the form of RFC 7519 (JWT); what follows the words Bearer
  and Basic;
- names that an account lists beside them.

A URL may stand in a parameter of a URL, percent-encoded once for each level: that is how MediaGen is told where
pictures are. So each separator is looked for at every level, and a value ends at the next delimiter of its own level or
of one further out; one that begins with a quote ends at the same quote, and behind an array or an object that is a
secret the rest of the text goes along. What is still readable as a secret when the result is decoded as far as it goes
has been written so as to be overlooked; then the whole query, or the whole text, goes.
"""

import re
import string
import unicodedata
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
        "dpop",
        "sec-websocket-protocol",
    }
)
"""Fields, in lower case, whose values are secrets whatever is in them. (The last one is where browsers put a token.)"""

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
    "authorization",
    "authentication",
    "passcode",
    "accountkey",
    "applicationkey",
    "appkey",
    "authkey",
    "encryptionkey",
    "functionskey",
    "licensekey",
    "masterkey",
    "signingkey",
    "storagekey",
    "subscriptionkey",
    "jwt",
)
"""Anywhere in a name, once it is in lower case and its -, _ and . are taken out."""
_TELLING_ALONE: Final = frozenset(
    {"key", "sig", "sas", "pwd", "pw", "pass", "auth", "sid", "session", "hmac", "hdnea", "hdnts", "cookie", "otp"}
)
"""As the whole name, also behind `X-`; `mykey` may be many things, `key` is what services call theirs."""
_TELLING_END: Final = re.compile(r"[-_.][Kk][Ee][Yy]|[a-z0-9]Key|[-_.][Ss][Ii][Dd]")
"""A last word of its own: `some-key`, `some_key`, `someKey`, `connect.sid`."""
_SESSION_ID: Final = re.compile(r"(?<!as)(?<!os)sess[a-z0-9]*id")
"""PHPSESSID, JSESSIONID, ASPSESSIONIDQQ, sess_id; no assessment."""

LEVELS: Final = 4
"""Times a URL inside a URL is looked for percent-encoded; deeper ones are seen by decoding, and go as a whole."""
_DECODINGS_MAX: Final = 8
_NAME_CHARS_MAX: Final = 200


def _at(level: int, char: str) -> str:
    """A pattern of a character as it stands at a level: itself, %XX, %25XX, %2525XX, …"""
    return re.escape(char) if level == 0 else f"%(?:25){{{level - 1}}}{ord(char):02X}"


def _up_to(level: int, chars: str) -> str:
    return "|".join(_at(each, char) for char in chars for each in range(level + 1))


_SPACES: Final = r"(?:[ \t+]|%(?:25){0,4}(?:20|09|2B)){0,8}"
_QUOTE: Final = r"(?:[\"'`]|%(?:25){0,4}(?:2[27]|60))"


def _separators(level: int, colon: str) -> re.Pattern[str]:
    """`=` and its kin, or a colon, with the quote that a value may begin with; not all of that is always encoded."""
    equals = rf"(?P<equals>(?:{_up_to(level, ':')})?(?:{_at(level, '=')}){{1,3}}(?:{_up_to(level, '>')})?)"
    return re.compile(rf"(?:{equals}{colon}){_SPACES}(?P<quote>\\{{0,4}}{_QUOTE})?", re.I)


_SEPARATORS: Final = [_separators(level, f"|(?:{_up_to(level, ':')})") for level in range(LEVELS + 1)]
_EQUALS: Final = [_separators(level, "") for level in range(LEVELS + 1)]
"""The same, much faster, for a text without quotes: a colon counts between quotes only, as in JSON."""
_ENDS: Final = [re.compile(rf"{_up_to(level, '&#' + chr(34))}|[\s<>]", re.I) for level in range(LEVELS + 1)]
_MEMBER_ENDS: Final = [re.compile(rf"{_up_to(level, '&#,}]' + chr(34))}|[\s<>]", re.I) for level in range(LEVELS + 1)]
_OPENS: Final = re.compile(r"[\[{]|%(?:25){0,4}[57]B", re.I)
"""What an array or an object begins with."""
_SCHEME: Final = re.compile(r"(?:bearer|basic|digest|token|negotiate|dpop)(?:[ \t+]|%(?:25){0,4}(?:20|2B)){1,8}", re.I)
_ESCAPED: Final = re.compile(r"(?:\\|%(?:25){0,4}5C)\Z", re.I)
_BEHIND: Final = re.compile(r"\Z|[&#\"'`\s<>,;)\]}]")
"""What may stand behind a value that was taken out."""
_USERS: Final = [
    re.compile(
        rf"(?:{_up_to(level, '/' + chr(92))}){{2}}"
        rf"(?P<user>(?:(?!{_up_to(level, '/?#&' + chr(92))}|[\s<>\"]).){{1,2000}})(?:{_up_to(level, '@')})",
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
            r"(?P<scheme>(?<![a-z_])(?:bearer|basic)(?:[ +]|%(?:25){0,4}(?:20|2B)){1,8})"
            r"(?!redacted(?![\w.~+/=%-]))[\w.~+/=%-]{4,}",
        ]
    ),
    re.I,
)
_NAME_CHARS: Final = string.ascii_letters + string.digits + "_.~$-"
_TRAIL: Final = "[]()\\\"'` +\t\0"
"""What may stand between a name and its separator."""
_NAMES: Final = re.compile(rf"(?<![\w.~$-])([\w.~$-]++)[{re.escape(_TRAIL)}]{{0,16}}[=:]")
_OTHERS: Final = re.compile(r"[/\\]{2}[^/\\?#\s]*@|cg[ns]_|eyj|bearer[ +]|basic[ +]")
"""In lower case. Together: what nothing secret is without, at some stage of decoding. Most texts have none of it and
are left alone at once."""


@lru_cache(maxsize=1_024)
def is_secret_name(name: str) -> bool:
    """Whether a field or parameter of this name holds a secret, by its name alone."""
    name = unicodedata.normalize("NFKC", name)
    end = re.split(r"[\[\]()]+", name.rstrip("[]()"))[-1]
    if len(end) > 3 and _TELLING_END.fullmatch(end[-4:]):
        return True
    plain = re.sub(r"[-_.~$\[\]()]", "", name).lower()
    bare = plain[1:] if name[:2].lower() in ("x-", "x_") else plain
    return bare in _TELLING_ALONE or any(part in plain for part in _TELLING) or _SESSION_ID.search(plain) is not None


def redact_headers(headers: Iterable[tuple[str, str]], listed: Collection[str] = frozenset()) -> list[tuple[str, str]]:
    """The fields with their secrets taken out; `listed` are further names, in lower case."""
    return [(name, _header_value(name, value, listed)) for name, value in headers]


def _header_value(name: str, value: str, listed: Collection[str]) -> str:
    lower = name.lower()
    if lower in SECRET_HEADERS or lower in listed or is_secret_name(name):
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
    redacted = _WHOLE.sub(lambda found: (found["scheme"] or "") + REDACTED, redacted)
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
        if _is_telling(text, found, place, listed):
            pieces += [text[taken:begin], REDACTED]
            taken = place = max(begin, _value_end(text, found, level))
        else:
            place = begin
    return "".join([*pieces, text[taken:]])


def _separators_of(text: str, level: int) -> re.Pattern[str]:
    has_quotes = any(sign in text for sign in ('"', "'", "`", "22", "27", "60"))
    return _SEPARATORS[level] if has_quotes else _EQUALS[level]


def _is_telling(text: str, separator: re.Match[str], begin: int, listed: Collection[str]) -> bool:
    """Whether it stands between a telling name and its value."""
    name, is_quoted = _name_before(text, separator.start(), begin)
    return bool(separator["equals"] or separator["quote"] or is_quoted) and _is_secret(name, listed)


def _value_end(text: str, separator: re.Match[str], level: int) -> int:
    quote, begin = separator["quote"], separator.end()
    if quote:
        end = text.find(quote, begin)
        while end > begin and _ESCAPED.search(text[max(begin, end - 12) : end]):
            end = text.find(quote, end + 1)
    elif _OPENS.match(text, begin):
        end = -1
    else:
        scheme = _SCHEME.match(text, begin)
        ends = _ENDS if separator["equals"] else _MEMBER_ENDS
        stop = ends[level].search(text, scheme.end() if scheme else begin + text.startswith("<", begin))
        end = -1 if stop is None else stop.start()
    return len(text) if end < 0 else end


def _name_before(text: str, end: int, begin: int) -> tuple[str, bool]:
    """The name that ends there, however much of it is encoded, and whether a quote stands behind it."""
    run = text[max(begin, end - _NAME_CHARS_MAX) : end]
    run = _decoded(run) if "%" in run else run
    if not run.isascii():
        run = unicodedata.normalize("NFKC", run)
    bare = run.rstrip(_TRAIL)
    return bare[len(bare.rstrip(_NAME_CHARS)) :], any(sign in run[len(bare) :] for sign in "\"'`")


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
        if not _is_taken_out(text, found) and _is_telling(text, found, place, listed):
            return False
        place = found.end()
    if "@" in text and not all(found["user"] == REDACTED for found in _USERS[0].finditer(text)):
        return False
    return _WHOLE.search(text) is None


def _is_taken_out(text: str, separator: re.Match[str]) -> bool:
    """Whether the value is the word that stands for a secret, and nothing more."""
    if not text.startswith(REDACTED, separator.end()):
        return False
    behind = separator.end() + len(REDACTED)
    quote = separator["quote"]
    if quote:
        return behind == len(text) or text.startswith(quote, behind)
    return _BEHIND.match(text, behind) is not None


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
