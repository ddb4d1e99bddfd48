"""The reference page of MRL and MediaScript, made from the tables that check calls: `python -m
dservices.mediagen.language.reference`.
"""

from __future__ import annotations

from collections.abc import Mapping

from dservices.mediagen.language import interpretations, mrl
from dservices.mediagen.language.catalogue import FILE, MEDIA, PROFILE, REQ, REQUIRED, RESP, ZIP, Method

HEAD = """# MediaGen: MRL and MediaScript

Made by `python -m dservices.mediagen.language.reference` from the tables that check every call; a test holds that it is
current.

## MRL

"""
RULES = """
## How methods are called

`picture.scale(xs @ 200, constrain @ true)`: names in any case, values any expression, numbers also as text, colours
as `0xRRGGBB`, a number,
`'#RRGGBB'` or a colour object. In one call all arguments are named or none; a plain object literal is read as named
arguments.
Unknown methods, unknown parameters and values out of range answer 422 with line, column and what was expected.

Time stands still in a script (`new Date()` is 2000-01-01T00:00:00Z) and `Math.random` repeats, because the same MRL
gives the same bytes.
"""


def page() -> str:
    rules = "\n".join(line for line in (mrl.__doc__ or "").split("\n\n", 1)[1].splitlines())
    out = [HEAD, f"`{mrl.PATH}?script=URL[&args=…][&f=name][&name=value…]`\n\n", rules.strip() + "\n", RULES]
    out.append("\n## Decisions\n\nWhere the language's reference is silent, this is what happens here.\n\n")
    out.extend(f"- {text}\n" for text in interpretations.GENERAL)
    for title, table in (
        ("Media", MEDIA),
        ("req", REQ),
        ("resp", RESP),
        ("IccProfile", PROFILE),
        ("File", FILE),
        ("Zip", ZIP),
    ):
        out.append(f"\n## {title}\n")
        out.extend(_method(method, interpretations.METHODS if table is MEDIA else {}) for method in table.values())
    return "".join(out)


def _method(method: Method, decided: Mapping[str, str]) -> str:
    lines = [f"\n### {method.name}\n\n{method.says}\n"]
    if method.name in decided:
        lines.append(f"\n{decided[method.name]}\n")
    if method.parameters:
        lines.append("\n| parameter | what | default |\n| --- | --- | --- |\n")
    for name, (kind, default) in method.parameters.items():
        what = kind.expected.replace("|", "\\|")
        shown = "**required**" if default is REQUIRED else "" if default is None else f"`{default}`"
        lines.append(f"| `{name}` | {what} | {shown} |\n")
    return "".join(lines)


if __name__ == "__main__":
    print(page(), end="")
