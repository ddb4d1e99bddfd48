"""What a result is made of, read without decoding (G-8): the parts that a verifier compares byte by byte. Pure.

A result's file is compared with a template, a tiny picture saved by the same encoder with the same options: everything
but the size and the pixels has to be equal, so quantisation tables, sampling, interlacing, resolution, metadata and
profiles are checked without a list of what they should be. Each function says what differs in a sentence, or None.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Broken(ValueError):
    """The file does not end where it should, or its parts do not fit together."""


def jpeg_segments(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """(marker, body) of all segments up to the first scan, and where its coded data begin."""
    if data[:2] != b"\xff\xd8":
        raise Broken("no JPEG")
    at, parts = 2, []
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise Broken("a marker is missing")
        marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        parts.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length
        if marker == 0xDA:
            return parts, at
    raise Broken("it ends too early")


def _jpeg(result: bytes, template: bytes) -> str | None:
    ours, theirs = jpeg_segments(template)[0], jpeg_segments(result)[0]
    progressive = any(marker == 0xC2 for marker, _ in ours)
    if [marker for marker, _ in ours] != [marker for marker, _ in theirs]:
        return "it has other segments than this encoder writes for these options"
    for (marker, expected), (_, found) in zip(ours, theirs, strict=True):
        if marker == 0xC4 and progressive:
            continue  # tables of a progressive file are made for its picture
        if _sizeless(marker, expected) != _sizeless(marker, found):
            name = {0xDB: "quantisation tables", 0xC0: "sampling", 0xC2: "sampling", 0xE0: "resolution"}.get(marker)
            return f"its {name or f'segment {marker:#x}'} are not those of the request"
    coded = jpeg_segments(result)[1]
    if not result.endswith(b"\xff\xd9") or (not progressive and result.find(b"\xff\xd9", coded) != len(result) - 2):
        return "it does not end where its picture ends"
    return None


def _sizeless(marker: int, body: bytes) -> bytes:
    """A segment without the picture's size, if it has it."""
    return body[:1] + body[5:] if 0xC0 <= marker <= 0xC2 else body


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(type, body) of every chunk, checksums compared, nothing behind the last."""
    if data[:8] != _SIGNATURE:
        raise Broken("no PNG")
    at, parts = 8, []
    view = memoryview(data)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        kind = data[at + 4 : at + 8]
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise Broken("a checksum is wrong")
        parts.append((kind, data[at + 8 : end - 4]))
        at = end
        if kind == b"IEND":
            if at != len(data):
                raise Broken("something follows its end")
            return parts
    raise Broken("it ends too early")


def _png(result: bytes, template: bytes) -> str | None:
    ours, theirs = png_chunks(template), png_chunks(result)
    palette = any(kind == b"PLTE" for kind, _ in ours)
    skip = {b"IDAT", b"fdAT", b"fcTL", b"acTL"} | ({b"PLTE", b"tRNS", b"bKGD"} if palette else set())
    ours_kept = [(k, b[8:] if k == b"IHDR" else b) for k, b in ours if k not in skip]
    theirs_kept = [(k, b[8:] if k == b"IHDR" else b) for k, b in theirs if k not in skip]
    if palette and ours_kept and theirs_kept:  # as many bits as the colours need
        ours_kept[0], theirs_kept[0] = (b"IHDR", ours_kept[0][1][1:]), (b"IHDR", theirs_kept[0][1][1:])
    if ours_kept != theirs_kept:
        return "its chunks beside the picture are not those of the request"
    # The window in the first byte follows the size; the class of the level stands in the second one's upper bits.
    levels = [next((body[1] >> 6 for kind, body in parts if kind == b"IDAT"), None) for parts in (ours, theirs)]
    return None if levels[0] == levels[1] else "it is compressed at another level"


def png_times(data: bytes) -> tuple[int, int, int]:
    """(frames, milliseconds of all together, loops) of an APNG; one frame for a PNG."""
    total, count, loops = 0, 0, 0
    for kind, body in png_chunks(data):
        if kind == b"fcTL":
            number, denominator = struct.unpack_from(">HH", body, 20)
            total += round(1000 * number / (denominator or 100))
            count += 1
        elif kind == b"acTL":
            loops = struct.unpack_from(">I", body, 4)[0]
    return max(1, count), total, loops


def riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, first 64 KiB) of a WebP file's chunks; its length has to be exact."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise Broken("no WebP")
    if struct.unpack_from("<I", data, 4)[0] + 8 != len(data):
        raise Broken("its length is not what it says")
    at, parts = 12, []
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        if at + 8 + size > len(data):
            raise Broken("it ends too early")
        parts.append((data[at : at + 4], data[at + 8 : at + 8 + min(size, 65_536)]))
        at += 8 + size + (size & 1)
    return parts


def _webp(result: bytes, template: bytes) -> str | None:
    kept = (b"ICCP", b"EXIF", b"XMP ")
    ours, theirs = riff_chunks(template), riff_chunks(result)
    if [part for part in ours if part[0] in kept] != [part for part in theirs if part[0] in kept]:
        return "its metadata or profile are not those of the request"

    def coded(parts: Sequence[tuple[bytes, bytes]]) -> set[bytes]:
        names = {name for name, _ in parts} | {body[16:20] for name, body in parts if name == b"ANMF"}
        return names & {b"VP8 ", b"VP8L"}

    exact = b"VP8L" in coded(ours)
    if exact != (b"VP8L" in coded(theirs)):
        return "it is lossless where it should not be, or the other way round"
    return None


def _gif(result: bytes, template: bytes) -> str | None:
    gif_frames(result)
    return None if result[:6] == template[:6] else "it is another version of GIF"


def gif_frames(data: bytes) -> tuple[int, int]:
    """(frames, hundredths of a second together); the trailer has to be the last byte."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    frames = total = 0
    try:
        while data[at] != 0x3B:
            if data[at] == 0x21:
                if data[at + 1] == 0xF9:
                    total += struct.unpack_from("<H", data, at + 4)[0]
                at += 2
            elif data[at] == 0x2C:
                frames += 1
                at += 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
            else:
                raise Broken("a block is unknown")
            while data[at]:
                at += 1 + data[at]
            at += 1
    except (IndexError, struct.error):
        raise Broken("it ends too early") from None
    if at != len(data) - 1:
        raise Broken("something follows its end")
    return frames, total


def _tiff(result: bytes, template: bytes) -> str | None:
    """The first directory: every tag but those that depend on size and pixels."""
    ours, theirs = _directory(template), _directory(result)
    varying = {256, 257, 273, 278, 279, 322, 323, 324, 325}
    if {t: v for t, v in ours.items() if t not in varying} != {t: v for t, v in theirs.items() if t not in varying}:
        return "its tags are not those of the request"
    return None


def _directory(data: bytes) -> dict[int, bytes]:
    order = "<" if data[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        tags, ends = {}, [start + 6 + 12 * count]
        for index in range(count):
            at = start + 2 + 12 * index
            tag, kind, number = struct.unpack_from(order + "HHI", data, at)
            size = number * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8, 12: 8, 16: 8}.get(kind, 1)
            where = at + 8 if size <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
            if where + size > len(data):
                raise Broken("it ends too early")
            tags[tag] = struct.pack(order + "HI", kind, number) + data[where : where + size]
            ends.append(where + size)
    except struct.error:
        raise Broken("it ends too early") from None
    offsets, lengths = tags.get(273) or tags.get(324), tags.get(279) or tags.get(325)
    if offsets is not None and lengths is not None:
        ends += [a + b for a, b in zip(_numbers(order, offsets), _numbers(order, lengths), strict=False)]
    if max(ends) > len(data):
        raise Broken("it ends too early")
    if max(ends) + 1 < len(data):  # parts start at even places
        raise Broken("something follows its end")
    return tags


def _numbers(order: str, value: bytes) -> list[int]:
    kind, number = struct.unpack_from(order + "HI", value)
    return list(struct.unpack_from(f"{order}{number}{'H' if kind == 3 else 'I'}", value, 6))


def _bmp(result: bytes, template: bytes) -> str | None:
    if struct.unpack_from("<I", result, 2)[0] != len(result):
        raise Broken("its length is not what it says")

    def fixed(data: bytes) -> bytes:
        (offset,) = struct.unpack_from("<I", data, 10)
        return data[:2] + data[6:18] + data[26:34] + data[38:offset]

    return None if fixed(result) == fixed(template) else "its header is not that of the request"


def avif_boxes(data: bytes) -> list[tuple[bytes, int]]:
    """(type, length) of the outer boxes; they have to fill the file."""
    at, parts = 0, []
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if size < 8 or at + size > len(data):
            raise Broken("it ends too early")
        parts.append((data[at + 4 : at + 8], size))
        at += size
    if at != len(data):
        raise Broken("something follows its end")
    return parts


def _avif(result: bytes, template: bytes) -> str | None:
    if [kind for kind, _ in avif_boxes(result)] != [kind for kind, _ in avif_boxes(template)]:
        return "its boxes are not those of the request"

    def properties(data: bytes) -> list[bytes]:
        """Items and properties without the size and the decoder's level, which follows from it."""
        (start, end) = _box_range(data)
        found = re.findall(rb"(?:pixi|colr|auxC|infe).{12}", data[start:end], re.DOTALL)
        return [part[:16] for part in found]

    return None if properties(result) == properties(template) else "its items are not those of the request"


def _box_range(data: bytes) -> tuple[int, int]:
    at = 0
    for kind, size in avif_boxes(data):
        if kind == b"meta":
            return at, at + size
        at += size
    raise Broken("it has no meta box")


COMPARE = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "tiff": _tiff,
    "bmp": _bmp,
    "avif": _avif,
}


def difference(kind: str, result: bytes, template: bytes) -> str | None:
    """What beside size and pixels is not as the encoder writes it; None if nothing is. PDF is compared elsewhere."""
    try:
        return COMPARE[kind](result, template)
    except (Broken, struct.error, IndexError, ValueError) as error:
        return f"the file is broken: {error}"


_STREAM = re.compile(rb"/Filter /DCTDecode /Length (\d{1,10}) >>\nstream\n")


def pdf_pictures(data: bytes) -> list[bytes]:
    """The JPEG files in a PDF of ours, in order."""
    found, at = [], 0
    while (match := _STREAM.search(data, at)) is not None:
        end = match.end() + int(match[1])
        if end > len(data):
            raise Broken("it ends too early")
        found.append(data[match.end() : end])
        at = end
    return found
