"""Exif and IPTC in TIFF, which libvips reads or writes only in part: a TIFF is itself the structure that Exif borrows,
so its first directory is written anew at the end of the file with the fields added. Source: TIFF 6.0, section 2;
Exif 2.32, 4.6.3; IPTC in tag 33723."""

from __future__ import annotations

import contextlib
import struct
from typing import NamedTuple

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.formats import metadata

_EXIF_POINTER, _IPTC = 0x8769, 0x83BB
_UNDEFINED, _LONG = 7, 4
_ORIENTATION = 0x112
_COLOR_MAP = 0x140
_ROWS_MAX = 4096
"""Of one directory; libtiff reads no more either."""


def with_metadata(data: bytes, exif: metadata.Fields, iptc: bytes | None) -> bytes:
    """The same TIFF (classic, little-endian, as libvips writes it here) with these fields and this IIM block."""
    if not exif and iptc is None:
        return data
    assert data[:4] == b"II*\0"
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    entries = {
        struct.unpack_from("<H", data, first + 2 + 12 * n)[0]: data[first + 2 + 12 * n : first + 14 + 12 * n]
        for n in range(count)
    }
    following = data[first + 2 + 12 * count : first + 6 + 12 * count]
    out = bytearray(data)

    def placed(raw: bytes) -> int:
        out.extend(b"\0" * (len(out) % 2))
        at = len(out)
        out.extend(raw)
        return at

    def entry(tag: int, kind: int, number: int, raw: bytes) -> bytes:
        value = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", placed(raw))
        return struct.pack("<HHI", tag, kind, number) + value

    image, camera = metadata.encoded_fields(exif)
    for tag, kind, number, raw in image:
        entries[tag] = entry(tag, kind, number, raw)
    if camera:
        rows = b"".join(entry(*row) for row in sorted(camera))
        pointer = placed(struct.pack("<H", len(camera)) + rows + b"\0\0\0\0")
        entries[_EXIF_POINTER] = struct.pack("<HHII", _EXIF_POINTER, _LONG, 1, pointer)
    if iptc is not None:
        entries[_IPTC] = entry(_IPTC, _UNDEFINED, len(iptc), iptc)
    directory = placed(struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + following)
    struct.pack_into("<I", out, 4, directory)
    return bytes(out)


class Page(NamedTuple):
    orientation: int
    palette: bool


def pages(data: bytes) -> list[Page]:
    """What each page says of itself, in one walk along the directories; as many as can be read, FRAMES_MAX at most."""
    mark = {b"II": "<", b"MM": ">"}.get(data[:2], "<")
    big = data[2:4] in (b"+\0", b"\0+")
    number, pointer, row = ("Q", "Q", 20) if big else ("H", "I", 12)
    value = 12 if big else 8  # where the value of a short stands in its row
    found: list[Page] = []
    with contextlib.suppress(struct.error):
        (at,) = struct.unpack_from(mark + pointer, data, 8 if big else 4)
        while at and len(found) < limits.FRAMES_MAX:
            (count,) = struct.unpack_from(mark + number, data, at)
            first = at + struct.calcsize("<" + number)
            if count > _ROWS_MAX:
                break
            tags = {struct.unpack_from(mark + "H", data, first + row * n)[0]: first + row * n for n in range(count)}
            place = tags.get(_ORIENTATION)
            orientation = struct.unpack_from(mark + "H", data, place + value)[0] if place is not None else 1
            found.append(Page(orientation, _COLOR_MAP in tags))
            (at,) = struct.unpack_from(mark + pointer, data, first + row * count)
    return found


def exif_of(data: bytes) -> bytes | None:
    """The known fields of a TIFF's first directory and of its Exif directory as a block of ours; None without any."""
    fields = []
    for name, value in metadata.read_exif(data):
        try:
            metadata.check_field("Exif", name, value)
        except Problem:  # a hostile or odd value: the field is left out
            continue
        fields.append((name, value))
    return metadata.write_exif(fields) if fields else None
