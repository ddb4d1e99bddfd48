"""Builds MRLs, the addresses of generated media (G-2): `/mgen/io?script=URL[&args="…",128][&name=value…]`.

The reading side is MediaGen's; a property test holds that it reads back what is built here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

PATH = "/mgen/io"
RESERVED = ("script", "args", "f")


def mrl(
    script: str,
    *,
    args: Sequence[str | int | float | bool | None] = (),
    function: str = "main",
    **parameters: str | int | float | bool,
) -> str:
    """The path and query of an MRL.

    `script` is the script's URL, `args` go to the function in order, other keywords become parameters that the script
    reads by name, as text. Raises ValueError for a parameter with a reserved name and for a number that is not finite,
    TypeError for a parameter that is neither text nor a number.
    """
    pairs = [("script", script)]
    if function != "main":
        pairs.append(("f", function))
    if args:
        pairs.append(("args", ",".join(_argument(one) for one in args)))
    for name, value in parameters.items():
        if name in RESERVED:
            raise ValueError(f"{name!r} is part of the MRL itself; name the parameter otherwise")
        pairs.append((name, _text(name, value)))
    return PATH + "?" + "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)


def _argument(value: str | int | float | bool | None) -> str:
    """Strings quoted as JSON writes them; numbers, true, false and null as they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _text(name: str, value: str | int | float | bool) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return _argument(value)
    raise TypeError(f"{name}: text or a number, not {type(value).__name__}")
