"""What several encoders share: the quality used where none is asked for, and a picture without its alpha."""

from __future__ import annotations

from collections.abc import Mapping

from dservices.mediagen.picture.picture import (
    CMYKA,
    Image,
    channels,
    has_alpha,
    mode_of,
)

QUALITY: Mapping[str, int] = {"jpeg": 85, "webp": 80, "avif": 55, "tiff": 85, "pdf": 85}


def flattened(image: Image, background: int | None) -> Image:
    """Without alpha, on the background colour (white if none is set: a transparent area on paper)."""
    if not has_alpha(image):
        return image
    mode = mode_of(image)
    colour = (
        channels(background, mode) if background is not None else ([0, 0, 0, 0] if mode == CMYKA else [255, 255, 255])
    )
    flat = image.flatten(background=colour)
    return flat.cast("uchar").copy(interpretation="cmyk" if mode == CMYKA else "srgb")
