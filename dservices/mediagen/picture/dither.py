"""The pattern of ordered dithering."""

from __future__ import annotations

from dservices.mediagen.picture.picture import Image

_BAYER = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]


def bayer(width: int, height: int) -> Image:
    """Thresholds from -0.47 to 0.47 in a pattern of 4 x 4, the same at the same place each time."""
    pattern = Image.new_from_array(_BAYER).cast("float") / 16 - 0.47
    return pattern.replicate(width // 4 + 1, height // 4 + 1).crop(0, 0, width, height)
