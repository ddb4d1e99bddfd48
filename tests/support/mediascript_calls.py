"""Which methods and parameters the scripts of the conformance tests call, read off their text.

`calls(text)` finds `.name(…)` in any text, a test's source included, and gives (method, parameters named, number of
positional arguments). What a format string fills in at run time is seen only in the filled-in scripts.
"""

import re
from collections.abc import Iterator

_CALL = re.compile(r"\.([A-Za-z]\w*)\s*\(")
_NAMED = re.compile(r"\s*([A-Za-z]\w*)\s*@")
_PLAIN = re.compile(r"\s*([A-Za-z]\w*)\s*:")


def calls(text: str) -> Iterator[tuple[str, list[str], int]]:
    for match in _CALL.finditer(text):
        parts = _arguments(text, match.end())
        if parts is None:
            continue
        named = [found[1].lower() for part in parts if (found := _NAMED.match(part))]
        if not named and len(parts) >= 1 and parts[0].lstrip().startswith("{"):
            named = [
                found[1].lower() for part in ",".join(parts).strip(" {}").split(",") if (found := _PLAIN.match(part))
            ]
        positional = 0 if named else len([part for part in parts if part.strip()])
        yield match[1], named, positional


def _arguments(text: str, start: int) -> list[str] | None:
    """The arguments between the parentheses, split at commas on their own level; None if they do not end."""
    depth, quote, parts, begin = 0, "", [], start
    for at in range(start, min(len(text), start + 4000)):
        character = text[at]
        if quote:
            if character == quote and text[at - 1] != "\\":
                quote = ""
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            if depth == 0:
                parts.append(text[begin:at])
                return parts
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
    return None
