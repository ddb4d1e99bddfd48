"""WBMP, the bitmaps of the first telephones with a screen (reference 5.1): read and written here, since nothing else
does. Source: WAP-237, Wireless Application Environment, 6.1: type 0, one bit a pixel, 1 is white."""

from __future__ import annotations

from dservices.mediagen import limits
from dservices.mediagen.picture.picture import Image, Picture, as_gray, too_large


def _number(data: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends) of seven bits a byte, the last one without the highest bit."""
    value = 0
    for end in range(at, min(at + 4, len(data))):
        value = value << 7 | data[end] & 127
        if not data[end] & 128:
            return value, end + 1
    raise ValueError("wbmp: a size has no end")


def layout(data: bytes) -> tuple[int, int, int]:
    """(width, height, where the pixels begin)."""
    if data[:2] != b"\0\0":
        raise ValueError("wbmp: this is another type")
    width, at = _number(data, 2)
    height, at = _number(data, at)
    if not width or not height:
        raise ValueError("wbmp: impossible size")
    return width, height, at


def is_wbmp(data: bytes, whole: int) -> bool:
    """Whether `data`, the start of `whole` bytes, is a WBMP: it has no mark of its own, so the length must be right."""
    try:
        width, height, start = layout(data)
    except ValueError:
        return False
    return start + (width + 7) // 8 * height == whole


def load(data: bytes) -> Picture:
    """Gray, black and white."""
    width, height, start = layout(data)
    if width > limits.SIDE_MAX or height > limits.SIDE_MAX or width * height > limits.PIXELS_MAX:
        raise too_large()
    row = (width + 7) // 8
    if len(data) != start + row * height:
        raise ValueError("wbmp: it ends too early")
    packed = Image.new_from_memory(data[start:], row, height, 1, "uchar")
    bits = [((packed >> 7 - n) & 1) * 255 for n in range(8)]
    spread = bits[0].bandjoin(bits[1:]).cast("uchar").write_to_memory()
    image = Image.new_from_memory(spread, 8 * row, height, 1, "uchar").crop(0, 0, width, height)
    return Picture(images=(image.copy(interpretation="b-w"),), file_type="wbmp")


def save(image: Image) -> bytes:
    """White where the gray is 128 or more; who wants a pattern uses `reduce` before."""
    width, height, row = image.width, image.height, (image.width + 7) // 8
    gray = (as_gray(image) >= 128).embed(0, 0, 8 * row, height).write_to_memory()
    eighths = Image.new_from_memory(gray, row, height, 8, "uchar")
    bits = [eighths[n] & (128 >> n) for n in range(8)]
    packed = bits[0]
    for bit in bits[1:]:
        packed = packed | bit
    return b"\0\0" + _coded(width) + _coded(height) + packed.cast("uchar").write_to_memory()


def _coded(value: int) -> bytes:
    out = [value & 127]
    while value := value >> 7:
        out.insert(0, value & 127 | 128)
    return bytes(out)
