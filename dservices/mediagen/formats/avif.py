"""What an AVIF says of itself in its boxes, as far as libheif makes nothing of it. Pure.

Source: AV1 Image File Format 1.1; AV1-ISOBMFF 2.3.3 (av1C); ISO/IEC 14496-12 and 23008-12 (boxes, items, nclx).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MONOCHROME = 0x10


def is_studio_gray(data: bytes) -> bool:
    """Whether the picture is monochrome, in video's range (16 to 235), and says so: then its gray is still to be
    expanded, which libheif does for colours only. False for what cannot be read."""
    try:
        return _is_studio_gray(memoryview(data))
    except (struct.error, IndexError):
        return False


def _is_studio_gray(data: memoryview) -> bool:
    meta = next((content for kind, content in _boxes(data) if kind == b"meta"), None)
    if meta is None:
        return False
    inner = dict(_boxes(meta[4:]))
    properties = dict(_boxes(inner.get(b"iprp", memoryview(b""))))
    boxes = list(_boxes(properties.get(b"ipco", memoryview(b""))))
    primary = (
        struct.unpack_from(">H" if inner[b"pitm"][0] == 0 else ">I", inner[b"pitm"], 4)[0] if b"pitm" in inner else 0
    )
    of_primary = [boxes[n - 1] for n in _associated(properties.get(b"ipma"), primary) if 0 < n <= len(boxes)]
    codings = [content for kind, content in of_primary if kind == b"av1C"]
    colours = [content for kind, content in of_primary if kind == b"colr" and content[:4] == b"nclx"]
    if not codings or not colours:
        return False
    return bool(codings[0][2] & _MONOCHROME) and not colours[0][10] & 0x80


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = at + size if size else len(data)
        if end < at + head or end > len(data):
            return
        yield kind, data[at + head : end]
        at = end


def _associated(data: memoryview | None, item: int) -> list[int]:
    """Numbers of the properties of an item, from 1."""
    if data is None:
        return []
    version, wide = data[0], data[3] & 1
    (count,) = struct.unpack_from(">I", data, 4)
    at = 8
    for _ in range(count):
        (number,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        entries, at = data[at], at + 1
        if number == item:
            form, mask, step = (">H", 0x7FFF, 2) if wide else (">B", 0x7F, 1)
            return [struct.unpack_from(form, data, at + step * n)[0] & mask for n in range(entries)]
        at += entries * (2 if wide else 1)
    return []
