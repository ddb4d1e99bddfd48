"""BMP (read, write), which libvips here does not decode. A strict reader: every count is checked against the data
before it is used; ValueError for anything odd (G-6)."""

from __future__ import annotations

import struct

from dservices.mediagen import limits
from dservices.mediagen.picture.picture import Image, Picture, has_alpha, too_large


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


def load(data: bytes) -> Picture:
    """Uncompressed 1, 4, 8, 24 and 32 bits, and 32 bits with masks of whole bytes; RLE is refused."""
    (offset, header_size) = _unpack("<II", data, 10)
    if header_size < 40:
        raise ValueError("bmp: the old header is not supported")
    width, signed_height, planes, bits, compression = _unpack("<iiHHI", data, 18)
    height = abs(signed_height)
    _check(width, height)
    if planes != 1 or bits not in (1, 4, 8, 24, 32) or compression not in (0, 3) or (compression == 3 and bits != 32):
        raise ValueError("bmp: this kind of compression is not supported")
    (dpm_x, dpm_y) = _unpack("<ii", data, 38)
    row = (width * bits + 31) // 32 * 4
    if offset < 14 + header_size or offset + row * height > len(data):
        raise ValueError("bmp: it ends too early")
    pixels = data[offset : offset + row * height]
    if bits <= 8:
        image = _indexed(data, pixels, header_size, width, height, bits, row)
    elif bits == 24:
        wide = Image.new_from_memory(pixels, row, height, 1, "uchar").crop(0, 0, width * 3, height).write_to_memory()
        bgr = Image.new_from_memory(wide, width, height, 3, "uchar")
        image = bgr[2].bandjoin([bgr[1], bgr[0]])
    else:
        bgra = Image.new_from_memory(pixels, width, height, 4, "uchar")
        order, alpha = (2, 1, 0), None
        if compression == 3:
            masks = _unpack("<III", data, 54)
            places = {0xFF: 0, 0xFF00: 1, 0xFF0000: 2, 0xFF000000: 3}
            if any(mask not in places for mask in masks) or len(set(masks)) != 3:
                raise ValueError("bmp: these channel masks are not supported")
            order = (places[masks[0]], places[masks[1]], places[masks[2]])
            if header_size >= 56 and _unpack("<I", data, 66)[0] in places:
                alpha = places[_unpack("<I", data, 66)[0]]
        image = bgra[order[0]].bandjoin([bgra[order[1]], bgra[order[2]]])
        if alpha is not None and alpha not in order:
            image = image.bandjoin(bgra[alpha])
    image = image.copy(interpretation="srgb")
    if signed_height > 0:
        image = image.flipver()
    dpi = tuple(round(value * 0.0254, 2) if 0 < value < 1_000_000 else 72.0 for value in (dpm_x, dpm_y))
    return Picture(images=(image,), dpi=(dpi[0], dpi[1]), file_type="bmp")


def _indexed(data: bytes, pixels: bytes, header_size: int, width: int, height: int, bits: int, row: int) -> Image:
    (used,) = _unpack("<I", data, 46)
    count = used or 2**bits
    if count > 2**bits or 14 + header_size + 4 * count > len(data):
        raise ValueError("bmp: impossible palette")
    entries = data[14 + header_size : 14 + header_size + 4 * count]
    table = bytearray()
    for index in range(256):
        b, g, r = entries[4 * index : 4 * index + 3] if index < count else (0, 0, 0)
        table += bytes((r, g, b))
    lut = Image.new_from_memory(bytes(table), 256, 1, 3, "uchar")
    packed = Image.new_from_memory(pixels, row, height, 1, "uchar")
    if bits < 8:
        parts = 8 // bits
        shares = [(packed >> (8 - bits * (n + 1))) & (2**bits - 1) for n in range(parts)]
        joined = shares[0].bandjoin(shares[1:]).cast("uchar")
        packed = Image.new_from_memory(joined.write_to_memory(), row * parts, height, 1, "uchar")
    return packed.crop(0, 0, width, height).maplut(lut)


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
