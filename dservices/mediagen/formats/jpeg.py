"""JPEG that is scaled down as far as the decoder can, by Pillow's libjpeg-turbo (decision 0016): a tenth less processor
time than the decoder in libvips' wheel, and the very same pixels.

Only the plain kind: one scan, gray or RGB. What has several scans stays with libvips, which bounds their number (G-6);
so does what this decoder refuses, because libvips says why. Pillow's readers of files are not used, its codec alone.
"""

from __future__ import annotations

import PIL.Image

from dservices.mediagen.channel import Data
from dservices.mediagen.picture.picture import Image

PIXELS_MAX = 4_000_000
"""Of the result: it is held whole, where libvips hands on line by line, and beyond that the memory costs the gain."""
_MODES = {1: ("L", "b-w"), 3: ("RGB", "srgb")}


def shrunk(data: Data, header: Image, factor: int) -> Image | None:
    """A JPEG at a half, a quarter or an eighth (`factor` 2, 4, 8), in memory; None where libvips has to see to it.

    `header` is the picture as libvips opened it. A rest at the right and lower edge that fills no pixel is dropped.
    """
    size = -(-header.width // factor), -(-header.height // factor)
    if factor == 1 or size[0] * size[1] > PIXELS_MAX:
        return None
    if header.bands not in _MODES or header.get("jpeg-multiscan"):
        return None
    mode, interpretation = _MODES[header.bands]
    try:
        pixels = PIL.Image.frombytes(mode, size, data, "jpeg", mode, "", factor, 0).tobytes()
    except (ValueError, OSError):
        return None
    image = Image.new_from_memory(pixels, *size, header.bands, "uchar").copy(interpretation=interpretation)
    width, height = header.width // factor, header.height // factor
    return image if size == (width, height) else image.crop(0, 0, width, height)
