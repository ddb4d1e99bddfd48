"""MRL, the address of generated media (G-2): `/mgen/io?script=URL[&args="…",128][&f=name][&name=value…]`. Pure.

Rules (the reference leaves them open, so they are ours; docs/reference/mediagen.md states them for users):
- Percent-encoding of UTF-8; `+` is a space, as HTML forms and URLSearchParams write it; a plus is `%2B`.
- Pairs are separated by `&` (a `;` is an ordinary character). A name given twice is refused rather than guessed.
- `script` is the script's URL, `f` the function to call (default `main`), `args` its positional arguments; any other
  name is a parameter for `req.getParameter`. The three are readable there, too.
- `stores` is the address of a document that gives names to stores (an S3 bucket, a container of Azure Blob or Data
  Lake, a web folder); scripts then read and write `name:path`.
- `args` is a list separated by commas. An item is a string in double or single quotes with the escapes of JSON
  (and `\\'`), a number, `true`, `false`, `null`, or a bare word, which is a string. `0x` numbers stay strings, because
  MediaScript takes colours so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits

PATH = "/mgen/io"
ENTRY = "main"
"""The function that is called when the MRL names none."""
Argument = str | int | float | bool | None

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_BARE = re.compile(r"[^\s,\"']+")
_FUNCTION = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SIMPLE_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Mrl:
    """One parsed MRL. `query` is the raw query string (`req.getQueryString`)."""

    script: str
    function: str
    arguments: tuple[Argument, ...]
    parameters: Mapping[str, str]
    query: str


def parse(target: str) -> Mrl:
    """Parses a request target. Problem 404 for another path, 400 for anything malformed."""
    if len(target) > limits.MRL_MAX_CHARS:
        raise Problem(414, "mrl_too_long", f"an MRL may have at most {limits.MRL_MAX_CHARS} characters")
    path, _, query = target.partition("?")
    if path.rstrip("/") != PATH:
        raise Problem(404, "not_found", f"this service answers {PATH}?script=URL")
    parameters = _pairs(query)
    script = parameters.get("script", "")
    if not script:
        raise Problem(400, "mrl_script_missing", f"name the script to run: {PATH}?script=URL (percent-encoded)")
    function = parameters.get("f", ENTRY)
    if not _FUNCTION.fullmatch(function):
        raise Problem(400, "mrl_malformed", "f must be the name of a function in the script", parameter="f")
    return Mrl(script, function, parse_arguments(parameters.get("args", "")), parameters, query)


def _pairs(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for pair in query.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        key = _decode(name)
        if not key:
            raise Problem(400, "mrl_malformed", "a parameter has no name: write name=value")
        if key in parameters:
            raise Problem(400, "mrl_duplicate", f"the parameter {key!r} is given twice", parameter=key)
        if len(parameters) == limits.PARAMETERS_MAX:
            raise Problem(400, "mrl_malformed", f"an MRL may have at most {limits.PARAMETERS_MAX} parameters")
        parameters[key] = _decode(value)
    return parameters


def _decode(text: str) -> str:
    if _BAD_PERCENT.search(text):
        raise Problem(400, "mrl_malformed", "a % must be followed by two hexadecimal digits; a percent sign is %25")
    try:
        decoded = unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "mrl_malformed", "the MRL is not UTF-8 after percent-decoding") from None
    if "\0" in decoded:
        raise Problem(400, "mrl_malformed", "the MRL holds a NUL character")
    return decoded


def parse_arguments(text: str) -> tuple[Argument, ...]:
    """`"a, b",128,true` to `("a, b", 128, True)`. Problem 400 with the position otherwise."""
    items: list[Argument] = []
    position = _skip(text, 0)
    while position < len(text):
        if len(items) == limits.ARGUMENTS_MAX:
            raise Problem(400, "mrl_malformed", f"args may hold at most {limits.ARGUMENTS_MAX} values")
        if text[position] in "\"'":
            item, position = _quoted(text, position)
        elif match := _BARE.match(text, position):
            item, position = _word(match[0]), match.end()
        else:
            raise _args_problem(position, "a value")
        items.append(item)
        position = _skip(text, position)
        if position == len(text):
            break
        if text[position] != ",":
            raise _args_problem(position, "a comma")
        position = _skip(text, position + 1)
        if position == len(text):
            raise _args_problem(position, "a value after the comma")
    return tuple(items)


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _word(word: str) -> Argument:
    if word in ("true", "false"):
        return word == "true"
    if word == "null":
        return None
    if not _NUMBER.fullmatch(word) or not word.isascii():
        return word
    digits = word.lstrip("+-")
    if digits.isdigit():
        return int(word) if len(digits) <= 15 else float(word)
    return float(word)


def _quoted(text: str, start: int) -> tuple[str, int]:
    quote, out, position = text[start], [], start + 1
    while position < len(text):
        character = text[position]
        if character == quote:
            try:  # halves of a surrogate pair come as two escapes
                return "".join(out).encode("utf-16", "surrogatepass").decode("utf-16"), position + 1
            except UnicodeDecodeError:
                raise _args_problem(start, "whole characters: a surrogate escape stands alone") from None
        if character != "\\":
            out.append(character)
            position += 1
            continue
        escape = text[position + 1 : position + 2]
        if escape == "u" and re.fullmatch(r"[0-9A-Fa-f]{4}", text[position + 2 : position + 6]):
            out.append(chr(int(text[position + 2 : position + 6], 16)))
            position += 6
        elif escape in _SIMPLE_ESCAPES:
            out.append(_SIMPLE_ESCAPES[escape])
            position += 2
        else:
            raise _args_problem(position, "one of the escapes \\\" \\' \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX")
    raise _args_problem(start, f"a closing {quote}")


def _args_problem(position: int, expected: str) -> Problem:
    return Problem(
        400,
        "mrl_malformed",
        f"args, character {position + 1}: expected {expected}",
        parameter="args",
        position=position + 1,
    )
