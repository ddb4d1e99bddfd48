"""Canonical JSON (RFC 8785): one value, one sequence of bytes, in any language.

Hashes and signatures of the network are over these bytes. Two things are narrower here than in the RFC: no floats (an
amount or a time is a string of decimal digits, see docs/reference/interfaces.md) and no integers that a double cannot
hold exactly. `encode(value)` refuses them rather than writing something another language would read differently.

    encode({"b": [1, True], "a": "ü"})  ->  b'{"a":"\\xc3\\xbc","b":[1,true]}'

`decode(data)` is the way back for bytes that are hashed, signed or stored: it takes the canonical bytes alone, so that
no two readers see two values in them. `parse(data)` takes any spelling of such a value (what a person may have edited).

Rules of this file: the C encoder of the standard library does the work wherever its bytes are those of the RFC. It
escapes exactly as RFC 8785 section 3.2.2.2 wants when `ensure_ascii` is off; it orders keys by code point where the RFC
(3.2.3) orders by UTF-16 unit, and the two differ only when some key holds a character beyond U+FFFF.
"""

import json
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any, TypeAlias

JsonValue: TypeAlias = "bool | int | str | list[JsonValue] | tuple[JsonValue, ...] | dict[str, JsonValue] | None"

MAX_INTEGER = 2**53 - 1
"""Largest magnitude of a number: what every IEEE 754 double holds exactly (RFC 7493, section 2.2)."""

MAX_DEPTH = 64
"""Deepest nesting of lists and objects; nothing of ours is deeper than 8; the bound saves the stack."""


class CanonicalError(ValueError):
    """The value has no canonical form here; the text names what and where."""


class CanonicalText(str):
    """Text that is canonical JSON already, written by a template on a path where `encode` would be most of the cost.
    Whoever makes one has a test that compares it with `encode` of the same value."""

    __slots__ = ()


quote: Callable[[str], str] = encode_basestring
"""A text as a canonical JSON string, quotes included. A lone surrogate in it is refused when the text is encoded."""


def encode(value: JsonValue) -> bytes:
    """Returns the canonical UTF-8 bytes of a JSON value.

    Raises CanonicalError for floats, integers beyond 2^53-1, keys that are not strings, lone surrogates, other types,
    and nesting deeper than MAX_DEPTH.
    """
    beyond_bmp = _examine(value, MAX_DEPTH)
    try:
        if beyond_bmp:
            return _encode_slowly(value).encode()
        return _text(value).encode()
    except UnicodeEncodeError as error:
        raise CanonicalError(f"a string holds a lone surrogate: {error.object[error.start : error.end]!r}") from error


def decode(data: bytes) -> JsonValue:
    """Returns the value that these canonical bytes are of: `encode(decode(data)) == data`.

    Raises CanonicalError for what `parse` refuses, and for any other spelling: white space, order, escapes.
    """
    value = parse(data)
    if encode(value) != data:
        raise CanonicalError("is not the canonical spelling (white space, the order of names or escapes)")
    return value


def parse(data: bytes) -> JsonValue:
    """Returns a value that has a canonical form, from any JSON of it.

    Raises CanonicalError for what is no JSON, names a member twice (two readers would see two values: RFC 8259,
    section 4), is nested too deep, or holds a number that `encode` would refuse. Bound the length before.
    """
    try:
        value: JsonValue = _strict_decode(data.decode())
    except CanonicalError:
        raise
    except RecursionError:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # no UTF-8, no JSON, or a number of thousands of digits
        raise CanonicalError(f"is not JSON: {error!s:.120}") from None
    _examine(value, MAX_DEPTH)
    return value


def read_at(text: str, at: int) -> tuple[JsonValue, int]:
    """Returns the value whose canonical text begins at a place, and where it ends: for who reads a known frame with
    values in it, and needs their texts. Raises CanonicalError as `decode` does.

    The reader refuses numbers that have no form here, so ASCII text that is not deep needs no second look at its value.
    """
    try:
        value, end = _read_value(text, at)
    except RecursionError:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise CanonicalError(f"is not JSON: {error!s:.120}") from None
    piece = text[at:end]
    if piece.isascii() and piece.count("{") + piece.count("[") <= MAX_DEPTH:
        spelling = _text(value)
    else:
        spelling = encode(value).decode()
    if spelling != piece:
        raise CanonicalError("is not the canonical spelling (white space, the order of names or escapes)")
    return value, end


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise CanonicalError("an object names a member twice")
    return members


def _bounded(digits: str) -> int:
    if len(digits) > len(str(-MAX_INTEGER)) or not -MAX_INTEGER <= int(digits) <= MAX_INTEGER:
        raise CanonicalError("an integer is beyond 2^53-1: write it as a string of digits")
    return int(digits)


def _no_float(text: str) -> Any:
    raise CanonicalError(f"{text:.40} has no canonical form: write it as a string")


_strict_decode = json.JSONDecoder(
    object_pairs_hook=_no_name_twice, parse_int=_bounded, parse_float=_no_float, parse_constant=_no_float
).decode
_read_value = json.JSONDecoder(parse_int=_bounded, parse_float=_no_float, parse_constant=_no_float).raw_decode


_standard = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
)


def _make_text() -> Callable[[Any], str]:
    """The standard encoder's C part, made once: `JSONEncoder.encode` makes it anew for every value."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # not CPython
        return _standard.encode
    chunks = make(None, _standard.default, encode_basestring, None, ":", ",", True, False, False)

    return lambda value: "".join(chunks(value, 0))


_text = _make_text()


def _examine(value: object, depth: int) -> bool:
    """Raises CanonicalError for what has no canonical form; returns whether a key goes beyond U+FFFF."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return False
    if kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:  # type: ignore[operator]
            raise CanonicalError("an integer is beyond 2^53-1: write it as a string of digits")
        return False
    if depth == 0:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH}")
    beyond_bmp = False
    if kind is dict:
        try:
            keys = "".join(value)  # type: ignore[arg-type]
        except TypeError:
            raise CanonicalError(f"a key is not a string: {list(value)!r:.80}") from None  # type: ignore[call-overload]
        beyond_bmp = not keys.isascii() and max(keys) > "\uffff"
        items = value.values()  # type: ignore[attr-defined]
    elif kind is list or kind is tuple:
        items = value
    else:
        raise CanonicalError(f"a {kind.__name__} has no canonical form: {value!r:.80}")
    for item in items:
        if type(item) is not str and _examine(item, depth - 1):
            beyond_bmp = True
    return beyond_bmp


def _encode_slowly(value: Any) -> str:
    """The same text with keys ordered by UTF-16 unit; the value has been examined."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
        return "{" + ",".join(f"{encode_basestring(key)}:{_encode_slowly(item)}" for key, item in pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_encode_slowly, value)) + "]"
    return _text(value)
