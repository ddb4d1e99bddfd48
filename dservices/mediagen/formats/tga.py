"""TGA (read, write), which libvips' wheel does not decode (reference 5.1). A strict reader of our own like `bmp`: the
header decides how many bytes there have to be, ValueError for anything odd (G-6).

Source: Truevision TGA File Format Specification 2.0. Colours are stored blue first; a fourth byte of 32-bit pixels is
alpha if the descriptor says that it is.
"""

from __future__ import annotations

import struct

from dservices.mediagen import limits
from dservices.mediagen.picture.picture import Image, Picture, has_alpha, too_large

_HEADER = struct.Struct("<BBBHHBHHHHBB")
_FOOTER = b"TRUEVISION-XFILE.\0"
_MAPPED, _COLOURS, _GRAY, _PACKED = 1, 2, 3, 8
_RIGHT_TO_LEFT, _TOP_FIRST = 0x10, 0x20


def is_tga(data: bytes, whole: int) -> bool:
    """Whether `data`, the start of `whole` bytes, can only be a TGA: the format has no mark at its start, so every
    field has to make sense and an unpacked picture has to fit."""
    if len(data) < _HEADER.size:
        return False
    try:
        head = _Head(data)
    except ValueError:
        return False
    return bool(head.packed) or head.start + head.row * head.height <= whole


class _Head:
    """The first 18 bytes, checked. ValueError for what is no TGA."""

    def __init__(self, data: bytes) -> None:
        (note, has_map, kind, first, count, map_bits, _, _, width, height, bits, flags) = _HEADER.unpack_from(data)
        self.kind, self.packed = kind & ~_PACKED, kind & _PACKED
        self.width, self.height, self.bits, self.flags = width, height, bits, flags
        self.map_first, self.map_count, self.map_bits = first, count, map_bits
        depths = {_MAPPED: (8,), _COLOURS: (15, 16, 24, 32), _GRAY: (8, 16)}.get(self.kind, ())
        if kind & ~(_PACKED | 3) or bits not in depths or has_map > 1 or flags & 0xC0 or not width or not height:
            raise ValueError("tga: this is no kind of it that is in use")
        if has_map and (map_bits not in (15, 16, 24, 32) or not 0 < count <= 256 or first + count > 256):
            raise ValueError("tga: impossible palette")
        if (self.kind == _MAPPED and not has_map) or (not has_map and (count or map_bits)):
            raise ValueError("tga: a palette is missing")
        self.alpha_bits = flags & 15
        possible = {8: (0,), 15: (0,), 16: (0, 1), 24: (0,), 32: (0, 8)}[bits]
        if self.alpha_bits not in ((8,) if (self.kind, bits) == (_GRAY, 16) else possible):
            raise ValueError("tga: impossible alpha")
        self.bytes = (bits + 7) // 8
        self.map_start = _HEADER.size + note
        self.start = self.map_start + (count * ((map_bits + 7) // 8) if has_map else 0)
        self.row = width * self.bytes


def load(data: bytes) -> Picture:
    """All kinds of the specification: palette, colours, gray, packed or not."""
    head = _Head(data)
    if head.width > limits.SIDE_MAX or head.height > limits.SIDE_MAX or head.width * head.height > limits.PIXELS_MAX:
        raise too_large()
    size = head.row * head.height
    pixels = _unpacked(data, head.start, head.bytes, size) if head.packed else data[head.start : head.start + size]
    if len(pixels) != size:
        raise ValueError("tga: it ends too early")
    image = Image.new_from_memory(pixels, head.width, head.height, head.bytes, "uchar")
    if head.kind == _MAPPED:
        image = image.maplut(_palette(data, head))
    elif head.kind == _COLOURS:
        image = _colours(image, head.bits, head.alpha_bits)
    elif head.bits == 16:  # gray with alpha
        image = image[0].bandjoin([image[0], image[0], image[1]])
    if not head.flags & _TOP_FIRST:
        image = image.flipver()
    if head.flags & _RIGHT_TO_LEFT:
        image = image.fliphor()
    return Picture(images=(image.copy(interpretation="b-w" if image.bands == 1 else "srgb"),), file_type="tga")


def _unpacked(data: bytes, at: int, step: int, size: int) -> bytes:
    """Runs and literal stretches, as many as make `size` bytes."""
    out = bytearray()
    while len(out) < size:
        if at >= len(data):
            raise ValueError("tga: it ends too early")
        count = (data[at] & 127) + 1
        if data[at] & 128:
            out += data[at + 1 : at + 1 + step] * count
            at += 1 + step
        else:
            out += data[at + 1 : at + 1 + step * count]
            at += 1 + step * count
    if at > len(data) or len(out) > size:
        raise ValueError("tga: a run leads beyond the picture")
    return bytes(out)


def _colours(image: Image, bits: int, alpha_bits: int) -> Image:
    if bits >= 24:
        bands = [image[2], image[1], image[0], *([image[3]] if alpha_bits else [])]
        return bands[0].bandjoin(bands[1:])
    low, high = image[0], image[1]  # ARRRRRGG GGGBBBBB, low byte first
    fives = [(high >> 2) & 31, ((high & 3) << 3) | (low >> 5), low & 31]
    bands = [((five << 3) | (five >> 2)).cast("uchar") for five in fives]
    if alpha_bits:
        bands.append(((high >> 7) * 255).cast("uchar"))
    return bands[0].bandjoin(bands[1:])


def _palette(data: bytes, head: _Head) -> Image:
    step = (head.map_bits + 7) // 8
    entries = data[head.map_start : head.map_start + head.map_count * step]
    if len(entries) != head.map_count * step:
        raise ValueError("tga: it ends too early")
    colours = _colours(Image.new_from_memory(entries, head.map_count, 1, step, "uchar"), head.map_bits, 0)
    return colours.embed(head.map_first, 0, 256, 1).copy(interpretation="srgb")


def save(image: Image) -> bytes:
    """Gray with 8 bits, colours with 24, with alpha 32; packed, with the footer that says what it is."""
    image = image.copy_memory()
    if image.bands == 1:
        kind, stored, flags = _GRAY, image, 0
    else:
        alpha = has_alpha(image)
        bands = [image[2], image[1], image[0], *([image[3]] if alpha else [])]
        kind, stored, flags = _COLOURS, bands[0].bandjoin(bands[1:]), 8 if alpha else 0
    step = stored.bands
    head = _HEADER.pack(0, 0, kind | _PACKED, 0, 0, 0, 0, 0, image.width, image.height, 8 * step, flags | _TOP_FIRST)
    raw, row = stored.write_to_memory(), image.width * step
    body = b"".join(_packed(raw[at : at + row], step) for at in range(0, len(raw), row))
    return head + body + bytes(8) + _FOOTER


def _packed(row: bytes, step: int) -> bytes:
    """One row; runs do not go beyond its end, as the specification wants."""
    pixels = [row[at : at + step] for at in range(0, len(row), step)]
    out, at = bytearray(), 0
    while at < len(pixels):
        end = at + 1
        while end < len(pixels) and end - at < 128 and pixels[end] == pixels[at]:
            end += 1
        if end - at > 1:
            out += bytes([127 + end - at]) + pixels[at]
        else:
            while end < len(pixels) and end - at < 128 and (end + 1 == len(pixels) or pixels[end] != pixels[end + 1]):
                end += 1
            out += bytes([end - at - 1]) + b"".join(pixels[at:end])
        at = end
    return bytes(out)
