"""Whether a file is whole, read without decoding (G-8): it ends where its parts say, and checksums are right. Pure.

The screen of every result. It reads headers and lengths, so it costs next to nothing beside the work, and it knows only
what our encoders write: in a file of somebody else's, other things may be right. Hostile bytes end in a sentence.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from dservices.mediagen import limits
from dservices.mediagen.formats import wbmp


class Broken(ValueError):
    """The file does not end where it should, or its parts do not fit together."""


TOO_EARLY = "it ends too early"
TOO_LATE = "something follows its end"


def defect(kind: str, data: bytes) -> str | None:
    """What is wrong with a file of ours in this format, in a sentence; None if nothing is, or if it is no picture."""
    look = _LOOKS.get(kind)
    if look is None:
        return None
    try:
        look(data)
    except Broken as broken:
        return str(broken)
    except (struct.error, IndexError):
        return TOO_EARLY
    return None


def _jpeg(data: bytes) -> None:
    if data[:3] != b"\xff\xd8\xff":
        raise Broken("it is no JPEG")
    at, marker = 2, 0
    while marker != 0xDA:
        if data[at] != 0xFF:
            raise Broken("a marker is missing")
        marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        at += 2 + length
    # In coded data 0xff is followed by 0 or a restart's number; a progressive file has further scans.
    if not data.endswith(b"\xff\xd9"):
        raise Broken(TOO_EARLY if data.find(b"\xff\xd9", at) < 0 else TOO_LATE)
    if data.find(b"\xff\xd9", at) != len(data) - 2:
        raise Broken(TOO_LATE)


def _png(data: bytes) -> None:
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise Broken("it is no PNG")
    at, view, kind = 8, memoryview(data), b""
    while kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            raise Broken(TOO_EARLY)
        kind = data[at + 4 : at + 8]
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise Broken("a checksum is wrong")
        at = end
    if at != len(data):
        raise Broken(TOO_LATE)


def _webp(data: bytes) -> None:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise Broken("it is no WebP")
    if struct.unpack_from("<I", data, 4)[0] + 8 != len(data):
        raise Broken("its length is not what it says")
    at = 12
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        at += 8 + size + (size & 1)
    if at != len(data):
        raise Broken(TOO_EARLY)


def _gif(data: bytes) -> None:
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise Broken("it is no GIF")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[at] != 0x3B:
        if data[at] == 0x21:
            at += 2
        elif data[at] == 0x2C:
            at += 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
        else:
            raise Broken("a block is unknown")
        while data[at]:
            at += 1 + data[at]
        at += 1
    if at != len(data) - 1:
        raise Broken(TOO_LATE)


_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


def _tiff(data: bytes) -> None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4], "")
    if not order:
        raise Broken("it is no TIFF")
    (start,) = struct.unpack_from(order + "I", data, 4)
    ends, pages = [8], 0
    while start:
        pages += 1
        if pages > limits.FRAMES_MAX:
            raise Broken("it has too many pages")
        (count,) = struct.unpack_from(order + "H", data, start)
        places: dict[int, list[int]] = {}
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, at)
            size = number * _TIFF_BYTES.get(kind, 1)
            where = at + 8 if size <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
            ends.append(where + size)
            if tag in (273, 279, 324, 325):  # where strips or tiles lie, and how long they are
                if where + size > len(data):
                    raise Broken(TOO_EARLY)
                places[tag] = list(struct.unpack_from(f"{order}{number}{'H' if kind == 3 else 'I'}", data, where))
        for offsets, lengths in ((273, 279), (324, 325)):
            ends += [a + b for a, b in zip(places.get(offsets, ()), places.get(lengths, ()), strict=False)]
        (start,) = struct.unpack_from(order + "I", data, start + 2 + 12 * count)
        ends.append(start)
    if max(ends) > len(data):
        raise Broken(TOO_EARLY)
    # Parts begin at even places; the last directory ends with the four bytes that name no other one.
    if max(ends) + 6 < len(data):
        raise Broken(TOO_LATE)


def _bmp(data: bytes) -> None:
    if data[:2] != b"BM":
        raise Broken("it is no BMP")
    if struct.unpack_from("<I", data, 2)[0] != len(data):
        raise Broken("its length is not what it says")


def _avif(data: bytes) -> None:
    if data[4:8] != b"ftyp":
        raise Broken("it is no AVIF")
    at, kinds = 0, set()
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if size < 8:
            raise Broken("a box is too short")
        if data[at + 4 : at + 8] in kinds:
            raise Broken(TOO_LATE)
        kinds.add(data[at + 4 : at + 8])
        at += size
    if at != len(data):
        raise Broken(TOO_EARLY)


_PDF_END = re.compile(rb"startxref\n(\d{1,10})\n%%EOF\n\Z")


def _pdf(data: bytes) -> None:
    if not data.startswith(b"%PDF-1.4\n"):
        raise Broken("it is no PDF of this service")
    found = _PDF_END.search(data, max(0, len(data) - 64))
    if found is None:
        raise Broken("it does not end where a document of this service ends")
    if data[int(found[1]) : int(found[1]) + 5] != b"xref\n":
        raise Broken("its table is not where it says")
    if data.find(b"\nstartxref\n") < found.start() - 1:
        raise Broken(TOO_LATE)


def _tga(data: bytes) -> None:
    if data[2] not in (10, 11):
        raise Broken("it is no TGA of this service")
    if not data.endswith(bytes(8) + b"TRUEVISION-XFILE.\0"):
        raise Broken("it does not end where it says")
    width, height, step = *struct.unpack_from("<HH", data, 12), data[16] // 8
    at, left = 18, width * height
    while left > 0:
        count = (data[at] & 127) + 1
        at += 1 + step * (1 if data[at] & 128 else count)
        left -= count
    if left:
        raise Broken("a run leads beyond the picture")
    if at + 26 != len(data):
        raise Broken(TOO_EARLY if at + 26 > len(data) else TOO_LATE)


def _wbmp(data: bytes) -> None:
    if not wbmp.is_wbmp(data, len(data)):
        raise Broken("it is no WBMP, or its length is not what it says")


_LOOKS: dict[str, Callable[[bytes], None]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "tiff": _tiff,
    "bmp": _bmp,
    "tga": _tga,
    "wbmp": _wbmp,
    "avif": _avif,
    "pdf": _pdf,
}
