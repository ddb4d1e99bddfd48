"""PSD: the flattened picture that ends the file, or its layers when a script asks for them (reference 3.1, 5.1).

A strict reader: every length is checked against the data before it is used; ValueError for anything odd (G-6). What
a layer has beyond pixels, mask, place, opacity, visibility, blend mode and name (effects, adjustments, smart objects)
is not drawn; the flattened picture has it, which is why that is what `load` gives unless `layers` is said.
Source: Adobe Photoshop File Formats Specification, 2019.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.formats import metadata
from dservices.mediagen.picture.layers import LAYERS_MAX, NAME_MAX_CHARS, named, with_layers
from dservices.mediagen.picture.picture import Image, Layer, Picture, filled, too_large

_MODES: Mapping[int, tuple[int, str]] = {1: (1, "b-w"), 2: (1, "b-w"), 3: (3, "srgb"), 4: (4, "cmyk"), 8: (1, "b-w")}
"""Colour channels and interpretation of: gray, indexed, RGB, CMYK, duotone (its plate as gray)."""
_BLENDS: Mapping[bytes, str] = {
    b"norm": "Normal", b"dark": "Darken", b"lite": "Lighten", b"hue ": "Hue", b"sat ": "Saturation", b"colr": "Color",
    b"lum ": "Luminosity", b"mul ": "Multiply", b"scrn": "Screen", b"diss": "Dissolve", b"over": "Overlay",
    b"hLit": "HardLight", b"sLit": "SoftLight", b"diff": "Difference", b"smud": "Exclusion", b"div ": "Dodge",
    b"idiv": "ColorBurn",
}  # fmt: skip
"""Modes that this service does not know are drawn as Normal."""
_BLOCKS = (b"8BIM", b"8B64")
_RESOLUTION, _IPTC, _ICC, _EXIF, _XMP = 0x03ED, 0x0404, 0x040F, 0x0422, 0x0424
_MASK, _ALPHA = -2, -1


@dataclass(frozen=True, slots=True)
class _Header:
    bands: int
    width: int
    height: int
    depth: int
    mode: int

    @property
    def colours(self) -> int:
        return _MODES[self.mode][0]


@dataclass(frozen=True, slots=True)
class _Record:
    """A layer as its record states it. `group`: 0 a layer, 1 the head of a group, 3 its end."""

    top: int
    left: int
    bottom: int
    right: int
    channels: tuple[tuple[int, int], ...]
    blend: str
    opacity: int
    hidden: bool
    name: str
    group: int
    mask: tuple[int, int, int, int, int] | None


def _unpack(form: str, data: bytes, at: int) -> tuple[Any, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except struct.error:
        raise ValueError("psd: it ends too early") from None


def load(data: bytes, options: Mapping[str, Any]) -> Picture:
    """The picture. With `layers` in the options those layers, and the picture is what they give."""
    version, bands, height, width, depth, mode = _unpack(">H6xHIIHH", data, 4)
    if not (0 < width <= limits.SIDE_MAX and 0 < height <= limits.SIDE_MAX):
        raise ValueError("psd: impossible size")
    if width * height > limits.PIXELS_MAX:
        raise too_large()
    if version != 1 or mode not in _MODES or depth not in (8, 16) or not _MODES[mode][0] <= bands <= 56:
        raise Problem(
            415,
            "source_unsupported",
            f"a PSD of version {version}, colour mode {mode}, {depth} bits and {bands} channels is not read here",
            expected="gray, indexed, RGB, CMYK or duotone of 8 or 16 bits",
        )
    header = _Header(bands, width, height, depth, mode)
    sections, at = [], 26
    for _ in range(3):  # colour mode data, image resources, layers and masks
        (length,) = _unpack(">I", data, at)
        if at + 4 + length > len(data):
            raise ValueError("psd: it ends too early")
        sections.append((at + 4, length))
        at += 4 + length
    facts = _resources(data[sections[1][0] : sum(sections[1])], options)
    if options.get("layers") is not None:
        return _layered(data, sections[2], header, options["layers"], facts)
    image = _flattened(data, at, header, has_transparency=_has_transparency(data, sections[2]))
    if mode == 2:
        image = _coloured(image, data[sections[0][0] : sum(sections[0])])
    return Picture(images=(image,), file_type="psd", **facts)


def _resources(block: bytes, options: Mapping[str, Any]) -> dict[str, Any]:
    """Resolution, profile, and metadata if it is asked for."""
    facts: dict[str, Any] = {}
    blocks: dict[str, bytes] = {}
    at = 0
    while at + 12 <= len(block) and block[at : at + 4] in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR"):
        (number,) = _unpack(">H", block, at + 4)
        at += 6 + (block[at + 6] + 2) // 2 * 2
        (size,) = _unpack(">I", block, at)
        body = block[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
        if number == _RESOLUTION and size >= 12:
            across, down = (value / 65_536 for value in (_unpack(">I", body, 0)[0], _unpack(">I", body, 8)[0]))
            if 1 <= across <= 10_000 and 1 <= down <= 10_000:
                facts["dpi"] = (round(across, 2), round(down, 2))
        elif number == _ICC and body[36:40] == b"acsp":
            facts["profile"] = body
        elif number == _EXIF:
            blocks["Exif"] = b"Exif\0\0" + body
        elif number == _XMP:
            blocks["XMP"] = body
        elif number == _IPTC:
            blocks["IPTC"] = metadata.wrapped(body)
    if options.get("loadmetadata") and blocks:
        facts["metadata"] = blocks
    return facts


def _plane(raw: bytes, width: int, height: int, depth: int) -> Image:
    """One channel; of big-endian 16 bits the first byte is the 8-bit value."""
    if depth == 16:
        raw = raw[::2]
    return Image.new_from_memory(raw, width, height, 1, "uchar")


def _has_transparency(data: bytes, section: tuple[int, int]) -> bool:
    """Whether the first channel behind the colours is the flattened picture's transparency: a negative number of layers
    says so. Otherwise it is a selection that somebody saved, or a spot colour."""
    start, length = section
    at, end = start, start + length
    if length >= 6 and _unpack(">I", data, at)[0]:
        return bool(_unpack(">h", data, at + 4)[0] < 0)
    # With 16 bits a channel the layers stand in a block of their own, behind the (empty) layers and the global mask.
    at += 4
    while at + 4 <= end and data[at : at + 4] not in _BLOCKS:
        at += 4 + _unpack(">I", data, at)[0]
    while at + 12 <= end and data[at : at + 4] in _BLOCKS:
        key, size = _unpack(">4sI", data, at + 4)
        if key in (b"Lr16", b"Layr") and size >= 2:
            return bool(_unpack(">h", data, at + 12)[0] < 0)
        at += 12 + (size + 3) // 4 * 4
    return False


def _flattened(data: bytes, at: int, header: _Header, *, has_transparency: bool) -> Image:
    (compression,) = _unpack(">H", data, at)
    at += 2
    row = header.width * header.depth // 8
    plane = row * header.height
    take = header.colours + (has_transparency and header.bands > header.colours)
    if compression == 0:
        raw = data[at : at + plane * take]
    elif compression == 1:
        raw = _packbits(data, at, header.height * header.bands, header.height * take, row)
    else:
        raise ValueError("psd: this compression is not supported")
    if len(raw) != plane * take:
        raise ValueError("psd: it ends too early")
    planes = [_plane(raw[n * plane : (n + 1) * plane], header.width, header.height, header.depth) for n in range(take)]
    if take == header.colours:
        return _joined(planes, None, header)
    alpha = planes.pop()
    return _joined([_unmatted(plane, alpha) for plane in planes] if header.mode != 2 else planes, alpha, header)


def _unmatted(plane: Image, alpha: Image) -> Image:
    """The colour before it was laid on white, which is how Photoshop stores a flattened picture that is not opaque."""
    colour = 255 - (255 - plane) * 255 / alpha
    return (alpha == 0).ifthenelse(plane, (colour + 0.5).floor().cast("uchar"))


def _joined(colours: list[Image], alpha: Image | None, header: _Header) -> Image:
    if header.mode == 4:  # ink is stored inverted
        colours = [plane.invert() for plane in colours]
    if alpha is not None and len(colours) == 1:
        colours = [colours[0]] * 3
    planes = [*colours, *([alpha] if alpha is not None else [])]
    image = planes[0].bandjoin(planes[1:]) if len(planes) > 1 else planes[0]
    kind = _MODES[header.mode][1] if alpha is None or header.colours > 1 else "srgb"
    return image.copy(interpretation=kind)


def _coloured(image: Image, table: bytes) -> Image:
    """An indexed picture through its table of 256 reds, greens, blues."""
    if len(table) < 768:
        raise ValueError("psd: the colour table is incomplete")
    entries = bytes(table[256 * band + n] for n in range(256) for band in range(3))
    index = image if image.bands == 1 else image[0]
    return index.maplut(Image.new_from_memory(entries, 256, 1, 3, "uchar")).copy(interpretation="srgb")


# -- layers -------------------------------------------------------------------------------------------------------


def _layered(
    data: bytes, section: tuple[int, int], header: _Header, wanted: tuple[str, ...], facts: dict[str, Any]
) -> Picture:
    layers = _layers(data, section, header)
    chosen = sorted(set(named(layers, wanted)))
    if not chosen:
        raise Problem(
            422,
            "bad_parameter",
            "load, layers: the list names no layer of this file",
            parameter="layers",
            expected=f"layers from 0 to {len(layers) - 1}" if layers else "a file that has layers",
        )
    base = Picture(
        images=(filled(header.width, header.height, [0, 0, 0, 0], "srgb"),),
        file_type="psd",
        **facts,
    )
    return with_layers(base, tuple(layers[n] for n in chosen))


def _layers(data: bytes, section: tuple[int, int], header: _Header) -> tuple[Layer, ...]:
    """Bottom to top. Groups are dissolved; what is in a hidden group is hidden."""
    start, length = section
    block = data[start : start + length]
    records, at = _records(block)
    area = sum(max(0, r.right - r.left) * max(0, r.bottom - r.top) for r in records)
    if area > limits.PIXELS_MAX:
        raise too_large()
    hidden = _hidden(records)
    layers = []
    for record, unseen in zip(records, hidden, strict=True):
        channels = {}
        for number, size in record.channels:
            if at + size > len(block):
                raise ValueError("psd: it ends too early")
            channels[number] = (at, size)
            at += size
        if record.group == 0 and header.mode != 2:
            layers.append(replace(_layer(block, channels, record, header), visible=not unseen))
    return tuple(layers)


def _records(block: bytes) -> tuple[list[_Record], int]:
    """(records, where the channels begin) of the section of layers, or of its beginning as far as that has them all."""
    records: list[_Record] = []
    if len(block) < 6:
        return records, 0
    (count,) = _unpack(">h", block, 4)
    at = 6
    if abs(count) > LAYERS_MAX:
        raise ValueError(f"psd: it has more than {LAYERS_MAX} layers")
    for _ in range(abs(count)):
        record, at = _record(block, at)
        records.append(record)
    return records, at


def outline(head: bytes) -> list[tuple[str, int, int, str, bool, int]]:
    """(name, width, height, blend, visible, bytes) of every layer, bottom to top, from the beginning of a file.
    ValueError where that does not hold all records."""
    at = 26
    for _ in range(2):
        at += 4 + _unpack(">I", head, at)[0]
    records, _ = _records(head[at + 4 :])
    return [
        (
            record.name,
            max(1, record.right - record.left),
            max(1, record.bottom - record.top),
            record.blend,
            not unseen,
            sum(size for _, size in record.channels),
        )
        for record, unseen in zip(records, _hidden(records), strict=True)
        if record.group == 0
    ]


def _hidden(records: list[_Record]) -> list[bool]:
    out, groups = [], [False]
    for record in reversed(records):
        if record.group == 1:
            groups.append(groups[-1] or record.hidden)
        elif record.group == 3 and len(groups) > 1:
            groups.pop()
        out.append(groups[-1] or record.hidden)
    return out[::-1]


def _record(block: bytes, at: int) -> tuple[_Record, int]:
    top, left, bottom, right, count = _unpack(">iiiiH", block, at)
    if count > 56 or max(map(abs, (top, left, bottom, right))) > 1_000_000:
        raise ValueError("psd: impossible layer")
    if bottom - top > limits.SIDE_MAX or right - left > limits.SIDE_MAX:
        raise too_large()
    channels = tuple(_unpack(">hI", block, at + 18 + 6 * n) for n in range(count))
    at += 18 + 6 * count
    mark, blend, opacity, _, flags, extra = _unpack(">4s4sBBBxI", block, at)
    at += 16
    if mark != b"8BIM" or at + extra > len(block):
        raise ValueError("psd: a layer is damaged")
    name, group, mask = _extra(block[at : at + extra])
    record = _Record(
        top, left, bottom, right, channels, _BLENDS.get(blend, "Normal"), opacity, bool(flags & 2), name, group, mask
    )
    return record, at + extra


def _extra(block: bytes) -> tuple[str, int, tuple[int, int, int, int, int] | None]:
    """(name, group, mask's place and the value beyond it) out of a record's last part."""
    (size,) = _unpack(">I", block, 0)
    mask = _unpack(">iiiiB", block, 4) if size >= 18 and not block[21] & 2 else None
    at = 4 + size
    (size,) = _unpack(">I", block, at)
    at += 4 + size
    if at >= len(block):
        raise ValueError("psd: a layer is damaged")
    length = block[at]
    name = block[at + 1 : at + 1 + length].decode("mac-roman")
    at += (length + 4) // 4 * 4
    group = 0
    while at + 12 <= len(block) and block[at : at + 4] in _BLOCKS:
        key, size = _unpack(">4sI", block, at + 4)
        body = block[at + 12 : at + 12 + size]
        at += 12 + size + size % 2
        if key == b"luni" and size >= 4:
            (count,) = _unpack(">I", body, 0)
            name = body[4 : 4 + 2 * min(count, 1000)].decode("utf-16-be", "replace").strip("\0")
        elif key == b"lsct" and size >= 4:
            (kind,) = _unpack(">I", body, 0)
            group = {1: 1, 2: 1, 3: 3}.get(kind, 0)
    return name[:NAME_MAX_CHARS], group, mask


def _layer(block: bytes, channels: dict[int, tuple[int, int]], record: _Record, header: _Header) -> Layer:
    width, height = record.right - record.left, record.bottom - record.top
    if width <= 0 or height <= 0:  # an empty layer: one clear pixel stands for it
        nothing = Image.black(1, 1, bands=header.colours if header.colours > 1 else 3)
        clear = nothing.bandjoin(0).cast("uchar").copy(interpretation="cmyk" if header.mode == 4 else "srgb")
        return Layer(clear, record.name, 0, 0, record.opacity, True, record.blend)

    def channel(number: int, across: int, down: int) -> Image:
        if number not in channels:
            raise ValueError("psd: a layer lacks a channel")
        at, size = channels[number]
        return _plane(_unpacked(block, at, size, across, down, header.depth), across, down, header.depth)

    alpha = channel(_ALPHA, width, height) if _ALPHA in channels else Image.black(width, height).invert().cast("uchar")
    if record.mask is not None and _MASK in channels:
        top, left, bottom, right, beyond = record.mask
        across, down = right - left, bottom - top
        if not (0 <= across <= limits.SIDE_MAX and 0 <= down <= limits.SIDE_MAX) or across * down > limits.PIXELS_MAX:
            raise ValueError("psd: impossible mask")
        whole = (Image.black(width, height) + beyond).cast("uchar")
        if across and down:
            shown = channel(_MASK, across, down)
            whole = whole.insert(shown, left - record.left, top - record.top)
        alpha = (alpha * whole / 255 + 0.5).floor().cast("uchar")
    image = _joined([channel(n, width, height) for n in range(header.colours)], alpha, header)
    return Layer(image, record.name, record.left, record.top, record.opacity, True, record.blend)


def _unpacked(block: bytes, at: int, size: int, width: int, height: int, depth: int) -> bytes:
    """One channel of a layer, whatever packs it; exactly the bytes that its area needs."""
    (compression,) = _unpack(">H", block, at)
    row = width * depth // 8
    body = at + 2
    if compression == 0:
        raw = block[body : body + row * height]
    elif compression == 1:
        raw = _packbits(block[: at + size], body, height, height, row)
    elif compression in (2, 3):
        try:
            raw = zlib.decompressobj().decompress(block[body : at + size], row * height)
        except zlib.error:
            raise ValueError("psd: a layer's data is damaged") from None
        if compression == 3:
            raw = _undone_prediction(raw, width, depth)
    else:
        raise ValueError("psd: this compression is not supported")
    if len(raw) != row * height:
        raise ValueError("psd: it ends too early")
    return raw


def _undone_prediction(raw: bytes, width: int, depth: int) -> bytes:
    """Each value was stored as its difference from the one on its left."""
    step, out = depth // 8, bytearray()
    form, modulus = f">{width}{'BH'[step - 1]}", 1 << depth
    for y in range(len(raw) // (width * step)):
        line = struct.unpack_from(form, raw, y * width * step)
        out += struct.pack(form, *(value % modulus for value in accumulate(line)))
    return bytes(out)


def _packbits(data: bytes, at: int, rows_all: int, rows: int, row_bytes: int) -> bytes:
    lengths = _unpack(f">{rows_all}H", data, at)
    at += 2 * rows_all
    out = bytearray()
    for length in lengths[:rows]:
        end, before = at + length, len(out)
        if end > len(data):
            raise ValueError("psd: it ends too early")
        while at < end:
            code = data[at]
            at += 1
            if code < 128:
                out += data[at : at + code + 1]
                at += code + 1
            elif code > 128:
                out += data[at : at + 1] * (257 - code)
                at += 1
            if len(out) - before > row_bytes:
                raise ValueError("psd: a row is too long")
        if len(out) - before != row_bytes:
            raise ValueError("psd: a row has the wrong length")
        at = end
    return bytes(out)
