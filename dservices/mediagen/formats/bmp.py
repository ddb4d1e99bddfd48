"""BMP (read, write), which libvips here does not decode. A strict reader: every count is checked against the data
before it is used; ValueError for anything odd (G-6).

Read are the headers of Windows (40 to 124 bytes) and OS/2 (12, 16, 64), 1 to 32 bits a pixel with any masks, and run
lengths; what skips pixels there leaves index 0. JPEG, PNG and Huffman inside a BMP are refused by name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.picture.picture import Image, Picture, has_alpha, too_large

_PLAIN, _RLE8, _RLE4, _MASKS, _ALPHA_MASKS = 0, 1, 2, 3, 6
_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_OS2_1, _OS2_2 = 12, (16, 64)
_555, _888 = (0x7C00, 0x3E0, 0x1F, 0), (0xFF0000, 0xFF00, 0xFF, 0)


def _check(width: int, height: int) -> None:
    if not (0 < width <= limits.SIDE_MAX and 0 < height <= limits.SIDE_MAX):
        raise ValueError("bmp: impossible size")
    if width * height > limits.PIXELS_MAX:
        raise too_large()


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except struct.error:
        raise ValueError("file: it ends too early") from None


@dataclass(frozen=True, slots=True)
class _Head:
    width: int
    height: int
    top_first: bool
    bits: int
    compression: int
    masks: tuple[int, ...]
    """Of red, green, blue and alpha (0: none)."""
    palette: bytes
    """Entries of three bytes, blue first."""
    offset: int
    dpi: tuple[float, float]


def _head(data: bytes) -> _Head:
    (offset, size) = _unpack("<II", data, 10)
    if size not in _HEADERS:
        raise ValueError("bmp: this header is in no use")
    if size == _OS2_1:
        width, signed, planes, bits = _unpack("<HHHH", data, 18)
    else:
        width, signed, planes, bits = _unpack("<iiHH", data, 18)
    compression, dpm_x, dpm_y, used = (
        (*_unpack("<I4xii", data, 30), *_unpack("<I", data, 46)) if size >= 40 else (0,) * 4
    )
    _check(width, abs(signed))
    kinds = {_PLAIN: (1, 2, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,), _MASKS: (16, 32), _ALPHA_MASKS: (16, 32)}
    if compression in (4, 5) or (compression == _MASKS and size in _OS2_2):
        raise Problem(
            415, "source_unsupported", "a BMP with JPEG, PNG, Huffman or 24-bit run lengths in it is not read"
        )
    if planes != 1 or bits not in kinds.get(compression, ()) or (signed < 0 and compression in (_RLE8, _RLE4)):
        raise ValueError("bmp: these bits and this compression do not go together")
    masks = _555 if bits == 16 else _888
    after = 14 + size
    if compression in (_MASKS, _ALPHA_MASKS):
        count = 4 if size >= 56 or compression == _ALPHA_MASKS else 3
        masks = (*_unpack(f"<{count}I", data, 54), 0)[:4]
        after += 4 * count if size == 40 else 0
        if any(not _is_run(mask, bits) for mask in masks) or not all(masks[:3]):
            raise ValueError("bmp: impossible masks")
    palette = b""
    if bits <= 8:
        step = 3 if size == _OS2_1 else 4
        count = min(used or 2**bits, 256)
        if after + step * count > len(data):
            count = (max(after, min(offset, len(data))) - after) // step  # OS/2 files may have fewer
        entries = data[after : after + step * count]
        palette = b"".join(entries[at : at + 3] for at in range(0, len(entries), step))
        if offset < after + step * count <= len(data) and used:
            offset = after + step * count  # some programs write the header's end: pixels cannot lie in the palette
    if offset < after:
        raise ValueError("bmp: its pixels lie in its header")
    dpi = [round(value * 0.0254, 2) if 0 < value < 1_000_000 else 72.0 for value in (dpm_x, dpm_y)]
    return _Head(width, abs(signed), signed < 0, bits, compression, masks, palette, offset, (dpi[0], dpi[1]))


def _is_run(mask: int, bits: int) -> bool:
    """Whether a mask is one stretch of bits, 16 at most, within a pixel (or empty)."""
    low = mask & -mask
    return mask < 1 << bits and (mask == 0 or ((mask + low) & mask == 0 and mask // low < 1 << 16))


def load(data: bytes) -> Picture:
    """See the module."""
    head = _head(data)
    if head.compression in (_RLE8, _RLE4):
        image = _coloured(_runs(data, head), head)
    else:
        row = (head.width * head.bits + 31) // 32 * 4
        pixels = data[head.offset : head.offset + row * head.height]
        if len(pixels) != row * head.height:
            raise ValueError("bmp: it ends too early")
        image = _indexed(pixels, row, head) if head.bits <= 8 else _direct(pixels, row, head)
    if not head.top_first:
        image = image.flipver()
    return Picture(images=(image.copy(interpretation="srgb"),), dpi=head.dpi, file_type="bmp")


def _direct(pixels: bytes, row: int, head: _Head) -> Image:
    """Pixels that are colours; each channel is stretched to 8 bits."""
    if head.bits == 24:
        wide = Image.new_from_memory(pixels, row, head.height, 1, "uchar").crop(0, 0, head.width * 3, head.height)
        bgr = Image.new_from_memory(wide.write_to_memory(), head.width, head.height, 3, "uchar")
        return bgr[2].bandjoin([bgr[1], bgr[0]])
    step = head.bits // 8
    units = Image.new_from_memory(pixels, row // step, head.height, 1, "ushort" if step == 2 else "uint")
    units = units.crop(0, 0, head.width, head.height)
    bands = []
    for mask in filter(None, head.masks):
        low = mask & -mask
        high, shift = mask // low, low.bit_length() - 1
        part = units if step == 2 else (units >> max(0, shift - 8)) & 0xFFFFFF  # arithmetic is by 32 bits with a sign
        band = (part >> (shift if step == 2 else min(shift, 8))) & high
        bands.append(band.cast("uchar") if high == 255 else (band * (255 / high)).rint().cast("uchar"))
    return bands[0].bandjoin(bands[1:])


def _coloured(indexes: Image, head: _Head) -> Image:
    table = bytearray()
    for index in range(256):
        table += head.palette[3 * index : 3 * index + 3][::-1].ljust(3, b"\0")
    return indexes.maplut(Image.new_from_memory(bytes(table), 256, 1, 3, "uchar"))


def _indexed(pixels: bytes, row: int, head: _Head) -> Image:
    packed, bits = Image.new_from_memory(pixels, row, head.height, 1, "uchar"), head.bits
    if bits < 8:
        parts = 8 // bits
        shares = [(packed >> (8 - bits * (n + 1))) & (2**bits - 1) for n in range(parts)]
        joined = shares[0].bandjoin(shares[1:]).cast("uchar")
        packed = Image.new_from_memory(joined.write_to_memory(), row * parts, head.height, 1, "uchar")
    return _coloured(packed.crop(0, 0, head.width, head.height), head)


def _runs(data: bytes, head: _Head) -> Image:
    """Indexes out of run lengths. Every code moves on in the data or ends it, and nothing is written outside."""
    width, height, four = head.width, head.height, head.compression == _RLE4
    out, at, x, y = bytearray(width * height), head.offset, 0, 0
    while y < height:
        if at + 2 > len(data):
            raise ValueError("bmp: it ends too early")
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            values = bytes(((value >> 4, value & 15) * 128)[:count]) if four else bytes((value,)) * count
        elif value == 0:
            x, y = 0, y + 1
            continue
        elif value == 1:
            break
        elif value == 2:
            right, down = _unpack("<BB", data, at)
            at, x, y = at + 2, x + right, y + down
            continue
        else:
            length = (value + 1) // 2 if four else value
            stored = data[at : at + length]
            if len(stored) != length:
                raise ValueError("bmp: it ends too early")
            at += length + length % 2
            values = bytes(half for byte in stored for half in (byte >> 4, byte & 15))[:value] if four else stored
        if x + len(values) > width:
            raise ValueError("bmp: a run leads beyond its row")
        out[y * width + x : y * width + x + len(values)] = values
        x += len(values)
    return Image.new_from_memory(bytes(out), width, height, 1, "uchar")


def save(image: Image) -> bytes:
    """24 bits, or 32 with alpha in a version 4 header."""
    if image.bands == 1:
        image = image.bandjoin([image, image])
    alpha = has_alpha(image.copy(interpretation="srgb"))
    width, height = image.width, image.height
    image = image.copy_memory()  # each channel below would compute the picture anew
    order = image[2].bandjoin([image[1], image[0], *([image[3]] if alpha else [])]).flipver()
    bands = 4 if alpha else 3
    row = (width * bands + 3) // 4 * 4
    raw = (
        Image.new_from_memory(order.write_to_memory(), width * bands, height, 1, "uchar")
        .embed(0, 0, row, height)
        .write_to_memory()
    )
    header_size = 108 if alpha else 40
    offset = 14 + header_size
    head = b"BM" + struct.pack("<IHHI", offset + len(raw), 0, 0, offset)
    info = struct.pack(
        "<IiiHHIIiiII", header_size, width, height, 1, bands * 8, 3 if alpha else 0, len(raw), 2835, 2835, 0, 0
    )
    if alpha:
        info += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + b"\0" * 48
    return bytes(head + info + raw)
