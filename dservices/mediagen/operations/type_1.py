"""Type 1 fonts as OpenType (reference 3.3): HarfBuzz, which Pango shapes text with, reads no Type 1, so outlines and
widths are put into a CFF font when the service starts. Kerning lies in files beside the font and is left out.

Only for the operator's own folder: fontTools is no reader for files of strangers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_EM = 1000
"""Units of the em of every Type 1 font in use."""
_WEIGHTS = {"thin": 100, "light": 300, "medium": 500, "demi": 600, "semibold": 600, "bold": 700, "black": 900}

_GREEK = {"Delta": 0x394, "Omega": 0x3A9, "mu": 0x3BC}
"""Letters that Adobe's list of names has as signs (increment, ohm, micro)."""


class NotRead(ValueError):
    """The file is no Type 1 font that can be read."""


def as_opentype(path: Path) -> bytes:
    """The font as OpenType with CFF outlines. Its bytes depend on the file alone: no date is in them."""
    from fontTools import t1Lib

    try:
        font = t1Lib.T1Font(str(path))
        font.parse()
        return _built(font)
    except Exception as error:  # fontTools has no class of its own for what a file may get wrong
        raise NotRead(f"{path.name}: {error}") from None


def _built(font: Any) -> bytes:
    import io

    from fontTools.agl import toUnicode
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.t2CharStringPen import T2CharStringPen

    glyphs = font.getGlyphSet()
    names = [".notdef", *sorted(name for name in glyphs if name != ".notdef")]
    drawn, widths = {}, {}
    for name in names:
        pen = T2CharStringPen(None, glyphs)
        glyphs[name].draw(pen)  # which tells the width, too
        widths[name] = round(glyphs[name].width)
        charstring = pen.getCharString()
        charstring.program.insert(0, widths[name])  # nominalWidthX is 0
        drawn[name] = charstring
    facts = font["FontInfo"]
    family = str(facts.get("FamilyName") or font["FontName"])
    weight = _WEIGHTS.get(str(facts.get("Weight", "")).lower(), 400)
    italic = float(facts.get("ItalicAngle", 0) or 0) != 0
    style = ("Bold" if weight >= 600 else "Regular") + (" Italic" if italic else "")
    bottom, top = (round(font["FontBBox"][n]) for n in (1, 3))
    builder = FontBuilder(_EM, isTTF=False)
    builder.setupGlyphOrder(names)
    characters = {name: toUnicode(name) for name in names if name != ".notdef"}
    mapped = {ord(text): name for name, text in reversed(characters.items()) if len(text) == 1}
    mapped |= {code: name for name, code in _GREEK.items() if name in characters}
    builder.setupCharacterMap(mapped)
    builder.setupCFF(str(font["FontName"]), {"FullName": str(facts.get("FullName") or family)}, drawn, {})
    builder.setupHorizontalMetrics({name: (widths[name], 0) for name in names})
    builder.setupHorizontalHeader(ascent=top, descent=bottom)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2(
        sTypoAscender=top, sTypoDescender=bottom, usWinAscent=max(0, top), usWinDescent=max(0, -bottom),
        usWeightClass=weight, fsSelection=(1 if italic else 0) | (0x20 if weight >= 600 else 0x40),
    )  # fmt: skip
    builder.setupPost(italicAngle=float(facts.get("ItalicAngle", 0) or 0))
    builder.setupHead(unitsPerEm=_EM, created=0, modified=0, macStyle=(weight >= 600) | italic << 1)
    builder.font.recalcTimestamp = False
    out = io.BytesIO()
    builder.save(out)
    return out.getvalue()
