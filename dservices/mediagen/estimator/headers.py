"""What the first bytes of a source tell about it, without decoding (G-8): enough to say what it will cost. Pure.

Nothing here decides what is made of a source: a header that lies, or one that is not understood, spoils an estimate and
no more. So every reader takes what it finds within bounds and leaves the rest at a guess from the number of bytes.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.formats import psd, wbmp
from dservices.mediagen.formats.recognised import sniff

_GUESS = {
    "jpeg": 0.3,
    "webp": 0.15,
    "avif": 0.1,
    "png": 1.5,
    "gif": 0.6,
    "tiff": 3.0,
    "bmp": 3.0,
    "psd": 3.0,
    "tga": 3.0,
    "wbmp": 0.125,
}
"""Bytes a pixel of usual files, for those whose size the head does not tell."""


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """Of one layer of a PSD; `bytes` in the file."""

    name: str
    width: int
    height: int
    blend: str
    visible: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one source. `width` and `height` are those of one frame in pixels, or of a page in points."""

    kind: str
    bytes: int
    width: int
    height: int
    bands: int = 3
    frames: int = 1
    progressive: bool = False
    """Progressive JPEG, interlaced PNG."""
    turned: bool = False
    """An Exif orientation swaps the sides."""
    dpi: float = 72.0
    deep: bool = False
    """16 bits a channel."""
    inks: bool = False
    lossless: bool = False
    codec: str = ""
    """Of a TIFF: "none", "lzw", "deflate", "jpeg" or "other"."""
    known: bool = True
    """Whether the size was read rather than guessed."""
    quality: float = 0.0
    """Of a JPEG, 1 to 100 as libjpeg counts, by its table of luminance; 0 if that is not told."""
    colours: int = 0
    """Of a PNG or GIF with a palette: how many."""
    taken: bool = False
    """A PDF that has photographs in it."""
    layers: tuple[LayerFacts, ...] = ()
    """Of a PSD, from the lowest up."""

    @property
    def pixels(self) -> int:
        return self.width * self.height * self.frames


def facts_of(head: bytes, total_bytes: int) -> Facts:
    """Facts out of the first bytes of a file of `total_bytes`. Never raises."""
    kind = sniff(head, total_bytes) or "jpeg"
    guess = _guessed(kind, max(total_bytes, 1))
    reader = _READERS.get(kind)
    if reader is None:
        return guess
    try:
        found = reader(head, guess)
    except (struct.error, LookupError, ValueError, OverflowError):
        return guess
    sides = 0 < found.width <= limits.SIDE_MAX and 0 < found.height <= limits.SIDE_MAX
    if not sides or found.frames < 1 or not 0 < found.bands <= 8:
        return guess
    return replace(found, frames=min(found.frames, limits.FRAMES_MAX))


def _guessed(kind: str, total_bytes: int) -> Facts:
    pixels = min(limits.PIXELS_MAX, max(1, total_bytes / _GUESS.get(kind, 0.3)))
    if kind in ("pdf", "svg"):
        return Facts(kind, total_bytes, 595, 842, bands=3 if kind == "pdf" else 4, known=False)
    width = max(1, min(limits.SIDE_MAX, round((pixels * 4 / 3) ** 0.5)))
    return Facts(kind, total_bytes, width, max(1, min(limits.SIDE_MAX, round(pixels / width))), known=False)


def _jpeg(head: bytes, guess: Facts) -> Facts:
    at, found = 2, replace(guess, known=True)
    while at + 4 <= len(head):
        if head[at] != 0xFF:
            raise ValueError("marker")
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", head, at + 2)
        body = head[at + 4 : at + 2 + length]
        if marker == 0xE0 and body[:5] == b"JFIF\0":
            unit, density = body[7], struct.unpack_from(">H", body, 8)[0]
            if density > 1 and unit in (1, 2):
                found = replace(found, dpi=float(density) * (2.54 if unit == 2 else 1.0))
        elif marker == 0xE1 and body[:6] == b"Exif\0\0":
            found = replace(found, turned=_orientation(body[6:]) >= 5)
        elif marker == 0xDB and not found.quality:
            found = replace(found, quality=_quality(body))
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            _, height, width, bands = struct.unpack_from(">BHHB", body, 0)
            return replace(
                found, width=width, height=height, bands=bands, progressive=marker in (0xC2, 0xCA), inks=bands == 4
            )
        at += 2 + length
    return replace(guess, turned=found.turned, dpi=found.dpi)


_STANDARD_SUM = 3687
"""Of the table of luminance in annex K.1 of the JPEG standard, which libjpeg scales by quality."""


def _quality(tables: bytes) -> float:
    """By the first table of a DQT segment, if that is table 0."""
    if len(tables) < 65 or tables[0] & 15:
        return 0.0
    values = struct.unpack_from(">64H", tables, 1) if tables[0] >> 4 else tables[1:65]
    scale = 100 * sum(values) / _STANDARD_SUM
    return max(1.0, min(100.0, 100 - scale / 2 if scale <= 100 else 5000 / scale))


def _orientation(block: bytes) -> int:
    """Tag 0x0112 of the first directory of a TIFF block; 1 if it is not there."""
    order = "<" if block[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for index in range(min(count, 64)):
            tag, _, _, value = struct.unpack_from(order + "HHIH", block, start + 2 + 12 * index)
            if tag == 0x0112:
                return int(value)
    except struct.error:
        pass
    return 1


def _png(head: bytes, guess: Facts) -> Facts:
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", head, 16)
    bands = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}[colour]
    turned = False
    frames, dpi, at, colours = 1, 72.0, 8, 2 ** min(depth, 8) if colour == 0 and depth < 8 else 0
    while at + 8 <= len(head):
        (length,) = struct.unpack_from(">I", head, at)
        kind, body = head[at + 4 : at + 8], head[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            break
        if kind == b"acTL":
            frames = struct.unpack_from(">I", body)[0]
        elif kind == b"PLTE" and colour == 3:
            colours = length // 3
        elif kind == b"tRNS":
            bands = 4
        elif kind == b"eXIf":
            turned = _orientation(body) >= 5
        elif kind == b"pHYs" and len(body) == 9 and body[8] == 1:
            per_metre = struct.unpack_from(">I", body)[0]
            dpi = per_metre * 0.0254 if per_metre > 1000 else 72.0
        at += 12 + length
    return Facts(
        "png",
        guess.bytes,
        width,
        height,
        bands=4 if frames > 1 else bands,
        frames=frames,
        progressive=bool(interlace),
        turned=turned,
        dpi=round(dpi, 2),
        deep=depth == 16,
        lossless=True,
        colours=colours,
    )


def _gif(head: bytes, guess: Facts) -> Facts:
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    at, frames, transparent = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0, False
    ended, first, whole = False, at, at
    try:
        while not ended:
            match head[at]:
                case 0x21:
                    transparent |= head[at + 1] == 0xF9 and bool(head[at + 3] & 1)
                    at += 2
                case 0x2C:
                    whole = at
                    local = head[at + 9]
                    at += 11 + (3 << (local & 7) + 1 if local & 0x80 else 0)
                    frames += 1
                case _:
                    ended = True
                    continue
            while head[at]:
                at += 1 + head[at]
            at += 1
    except IndexError:  # the head ends within a frame: the rest is taken to be like it
        if frames > 1:
            frames = round((frames - 1) * (guess.bytes - first) / max(1, whole - first))
        else:  # not even one: by the bytes that frames of this size usually have
            frames = max(1, round(guess.bytes / (width * height * _GUESS["gif"])))
    colours = 2 << (flags & 7) if flags & 0x80 else 256
    bands = 4 if transparent else 3
    return Facts("gif", guess.bytes, width, height, bands=bands, frames=max(1, frames), colours=colours)


def _webp(head: bytes, guess: Facts) -> Facts:
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", head, 26))
        return Facts("webp", guess.bytes, width, height)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        return Facts("webp", guess.bytes, *size, bands=4 if bits >> 28 & 1 else 3, lossless=True)
    if kind != b"VP8X":
        raise ValueError("chunk")
    flags = head[20]
    width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    at, frames, lossless = 30, 0, False
    while at + 8 <= len(head):
        name, size = head[at : at + 4], struct.unpack_from("<I", head, at + 4)[0]
        frames += name == b"ANMF"
        lossless |= name == b"VP8L" or (name == b"ANMF" and head[at + 24 : at + 28] == b"VP8L")
        at += 8 + size + (size & 1)
    if flags & 2 and at < guess.bytes:
        frames = round(frames * guess.bytes / at)
    bands = 4 if flags & 0x10 else 3
    return Facts("webp", guess.bytes, width, height, bands=bands, frames=max(1, frames), lossless=lossless)


def _avif(head: bytes, guess: Facts) -> Facts:
    sizes = [struct.unpack_from(">II", head, match.end() + 4) for match in re.finditer(b"ispe", head)]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    alpha = b"auxC" in head and b"alpha" in head
    return Facts("avif", guess.bytes, width, height, bands=4 if alpha else 3)


def _tiff(head: bytes, guess: Facts) -> Facts:
    order = "<" if head[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", head, 4)
    if start + 2 > len(head):
        return _unseen(head, guess)
    (count,) = struct.unpack_from(order + "H", head, start)
    values: dict[int, int] = {}
    for index in range(min(count, 256)):
        tag, kind, number = struct.unpack_from(order + "HHI", head, start + 2 + 12 * index)
        at = start + 10 + 12 * index
        values[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), head, at)[0]
        if tag == 258 and number > 2:  # bits of each channel stand elsewhere; all alike in practice
            values[tag] = struct.unpack_from(order + "H", head, values[tag])[0] if values[tag] + 2 <= len(head) else 8
    bands, inks = values.get(277, 1), values.get(262) == 5
    return Facts(
        "tiff",
        guess.bytes,
        values[256],
        values[257],
        bands=bands,
        deep=values.get(258, 8) > 8,
        inks=inks,
        lossless=values.get(259, 1) not in (6, 7, 50001),
        codec={1: "none", 5: "lzw", 7: "jpeg", 8: "deflate", 32946: "deflate"}.get(values.get(259, 1), "other"),
    )


_PACKED_BYTES = 1.35
"""A pixel of a photograph in a TIFF with lossless compression."""


def _unseen(head: bytes, guess: Facts) -> Facts:
    """A TIFF whose directory lies behind its pixels: how they are packed shows where they begin."""
    codec = {0x78: "deflate", 0x80: "lzw", 0xFF: "jpeg"}.get(head[8], "none")
    if codec == "none":
        return replace(guess, codec=codec)
    packed = guess.bytes * _GUESS["tiff"] / (_GUESS["jpeg"] if codec == "jpeg" else _PACKED_BYTES)
    return replace(_guessed("tiff", round(packed)), bytes=guess.bytes, codec=codec, lossless=codec != "jpeg")


def _tga(head: bytes, guess: Facts) -> Facts:
    width, height, bits = struct.unpack_from("<HHB", head, 12)
    return Facts("tga", guess.bytes, width, height, bands={8: 1, 32: 4}.get(bits, 3), lossless=True)


def _wbmp(head: bytes, guess: Facts) -> Facts:
    width, height, _ = wbmp.layout(head)
    return Facts("wbmp", guess.bytes, width, height, bands=1, lossless=True)


def _bmp(head: bytes, guess: Facts) -> Facts:
    width, height, _, bits = struct.unpack_from("<iiHH", head, 18)
    return Facts("bmp", guess.bytes, width, abs(height), bands=4 if bits == 32 else 3, lossless=True)


def _psd(head: bytes, guess: Facts) -> Facts:
    bands, height, width, depth, mode = struct.unpack_from(">HIIHH", head, 12)
    found = Facts(
        "psd", guess.bytes, width, height, bands=min(bands, 4), deep=depth == 16, inks=mode == 4, lossless=True
    )
    try:
        layers = tuple(LayerFacts(*layer) for layer in psd.outline(head))
    except (ValueError, Problem):
        return found  # none, or behind a long preamble
    return replace(found, layers=layers)


_BOX = re.compile(rb"/MediaBox\s*\[\s*([-\d.]+)\s+([-\d.]+)\s+([-\d.]+)\s+([-\d.]+)")
_COUNT = re.compile(rb"/Count\s+(\d{1,6})")


def _pdf(head: bytes, guess: Facts) -> Facts:
    """Page size in points from the first MediaBox; the number of pages from the largest /Count in sight."""
    counts = [int(match[1]) for match in _COUNT.finditer(head)]
    found = replace(guess, frames=max([1, *counts]), known=bool(counts), taken=b"/DCTDecode" in head)
    box = _BOX.search(head)
    if box is None:
        return found
    left, low, right, high = (float(value) for value in box.groups())
    return replace(found, width=round(right - left), height=round(high - low))


_SVG_BOX = re.compile(rb"viewBox\s*=\s*[\"']\s*[-\d.]+[\s,]+[-\d.]+[\s,]+([\d.]+)[\s,]+([\d.]+)")
_UNITS = {b"": 1.0, b"px": 1.0, b"pt": 96 / 72, b"mm": 96 / 25.4, b"cm": 96 / 2.54, b"in": 96.0}


def _svg(head: bytes, guess: Facts) -> Facts:
    tag = head[head.index(b"<svg") :][:4096]
    sides = {}
    for name in (b"width", b"height"):
        match = re.search(rb"\s" + name + rb"\s*=\s*[\"']\s*([\d.]+)\s*(px|pt|mm|cm|in)?\s*[\"']", tag)
        if match:
            sides[name] = float(match[1]) * _UNITS[match[2] or b""]
    if len(sides) < 2:
        box = _SVG_BOX.search(tag)
        if box is None:
            return guess
        sides = {b"width": float(box[1]), b"height": float(box[2]), **sides}
    return replace(guess, width=round(sides[b"width"]), height=round(sides[b"height"]), known=True)


_READERS = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _webp,
    "avif": _avif,
    "tiff": _tiff,
    "bmp": _bmp,
    "tga": _tga,
    "wbmp": _wbmp,
    "psd": _psd,
    "pdf": _pdf,
    "svg": _svg,
}
