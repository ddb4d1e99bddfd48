"""What a font file says of itself: the families in it and the characters it has. Pure.

TrueType and OpenType, alone or several in a collection (.ttc, .otc). Source: OpenType 1.9.1, chapters otff, name, cmap.
"""

from __future__ import annotations

import bisect
import itertools
import struct
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

Range = tuple[int, int]
"""First and last of a run of code points."""
_COLLECTION = b"ttcf"
_FONTS_MAX = 64
"""In one collection; Noto's have 9."""
_FILLERS = frozenset({0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0})
"""Characters without ink whose category does not say so (Unicode, Default_Ignorable_Code_Point)."""


def families(data: bytes) -> list[str]:
    """The typographic family (name ids 16, then 1) of each font in a file that has one."""
    found = []
    for tables in _fonts(data):
        try:
            name = _family(data, tables[b"name"]) if b"name" in tables else None
        except struct.error:
            name = None
        if name:
            found.append(name)
    return found


def characters(data: bytes) -> list[Range]:
    """Runs of the code points that the fonts of a file have glyphs for, in no order."""
    found: list[Range] = []
    seen: set[int] = set()
    for tables in _fonts(data):
        if tables.get(b"cmap", 0) not in seen and b"cmap" in tables:
            seen.add(tables[b"cmap"])  # the fonts of a collection share most tables
            try:
                found += _mapped(data, tables[b"cmap"])
            except struct.error:
                continue
    return found


def has_colours(data: bytes) -> bool:
    """Whether a font of the file brings its own colours: layers, bitmaps or drawings."""
    return any(table in tables for tables in _fonts(data) for table in (b"COLR", b"CBDT", b"sbix", b"SVG "))


def _fonts(data: bytes) -> Iterator[dict[bytes, int]]:
    """The tables of each font in the file, as places in it."""
    starts: Sequence[int] = (0,)
    try:
        if data[:4] == _COLLECTION:
            (count,) = struct.unpack_from(">L", data, 8)
            starts = struct.unpack_from(f">{min(count, _FONTS_MAX)}L", data, 12)
        for start in starts:
            (count,) = struct.unpack_from(">H", data, start + 4)
            rows = (struct.unpack_from(">4sLLL", data, start + 12 + 16 * n) for n in range(count))
            yield {tag: offset for tag, _, offset, _ in rows}
    except struct.error:
        return


def _family(data: bytes, table: int) -> str | None:
    _, count, strings = struct.unpack_from(">HHH", data, table)
    found: dict[int, str] = {}
    for index in range(count):
        platform, encoding, _, name, length, offset = struct.unpack_from(">HHHHHH", data, table + 6 + 12 * index)
        if name in (1, 16) and platform == 3 and encoding in (1, 10):
            start = table + strings + offset
            found.setdefault(name, data[start : start + length].decode("utf-16-be", "replace"))
    return found.get(16) or found.get(1)


def _mapped(data: bytes, table: int) -> list[Range]:
    """Out of the Unicode subtables of formats 4 and 12, which every font for text has."""
    (count,) = struct.unpack_from(">H", data, table + 2)
    found: list[Range] = []
    for index in range(count):
        platform, encoding, offset = struct.unpack_from(">HHL", data, table + 4 + 8 * index)
        if platform == 0 or (platform == 3 and encoding in (1, 10)):
            (form,) = struct.unpack_from(">H", data, table + offset)
            if form == 4:
                found += _segments(data, table + offset)
            elif form == 12:
                found += _groups(data, table + offset)
    return found


def _segments(data: bytes, at: int) -> Iterator[Range]:
    (twice,) = struct.unpack_from(">H", data, at + 6)
    count = twice // 2
    ends, starts, deltas, offsets = (
        struct.unpack_from(f">{count}H", data, at + 14 + part * twice + (2 if part else 0)) for part in range(4)
    )
    for index, (end, start, delta, offset) in enumerate(zip(ends, starts, deltas, offsets, strict=True)):
        if start == 0xFFFF or end < start:
            continue
        if not offset:
            lost = -delta & 0xFFFF  # this one would be glyph 0
            yield from ((a, b) for a, b in ((start, min(end, lost - 1)), (max(start, lost + 1), end)) if a <= b)
            continue
        place = at + 16 + 3 * twice + 2 * index + offset
        glyphs = struct.unpack_from(f">{end - start + 1}H", data, place)
        for has_glyph, run in itertools.groupby(enumerate(glyphs, start), lambda pair: pair[1] != 0):
            if has_glyph:
                codes = [code for code, _ in run]
                yield codes[0], codes[-1]


def _groups(data: bytes, at: int) -> Iterator[Range]:
    (count,) = struct.unpack_from(">L", data, at + 12)
    count = min(count, (len(data) - at - 16) // 12)
    start, end = 0, -1  # of the run so far: glyphs jump about where characters follow each other
    for code, last, glyph in struct.iter_unpack(">LLL", data[at + 16 : at + 16 + 12 * max(0, count)]):
        first = code + (glyph == 0)
        if first == end + 1 and last >= first:
            end = last
            continue
        if start <= end:
            yield start, end
        start, end = first, last
    if start <= end:
        yield start, end


class Coverage:
    """The characters that some set of fonts has."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(ranges):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __contains__(self, character: str) -> bool:
        code = ord(character)
        index = bisect.bisect_right(self._firsts, code) - 1
        return index >= 0 and code <= self._lasts[index]

    def missing(self, text: str) -> str:
        """The characters of a text that no font here has, each once, in order. What has no ink needs no glyph, and what
        can be put together out of parts that are here, or is a part of what is here, is here."""
        composed = unicodedata.normalize("NFC", text).replace("\u2011", "\u2010")  # drawn as the hyphen it is
        lacking = (
            character
            for character in dict.fromkeys(composed)
            if character not in self
            and not _is_inkless(character)
            and not all(part in self for part in unicodedata.normalize("NFD", character))
        )
        return "".join(lacking)


def _is_inkless(character: str) -> bool:
    code = ord(character)
    return (
        unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc", "Cf")
        or 0xFE00 <= code <= 0xFE0F
        or 0xE0100 <= code <= 0xE01EF
        or code in _FILLERS
    )
