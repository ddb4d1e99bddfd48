"""WebP: libvips makes the pixels, Pillow's libwebp writes them (decision 0016). Both wheels hold the same release of
libwebp, and Pillow's needs a seventh less processor time for the same bytes.

Every option that Pillow has a default of its own for is set here, so that the bytes are those libvips would write
(G-1); where they differ on purpose, the function says so. Pillow reads no file: it is given pixels in memory.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping
from typing import Any

import PIL.Image
import PIL.WebPImagePlugin  # registers its two writers; none of the other formats is loaded
import pyvips

from dservices.mediagen.formats import metadata
from dservices.mediagen.picture.picture import Image

WHITE = (255, 255, 255, 255)
"""What an animation names as the colour behind it: libwebp's default, which viewers ignore."""
FRAMES_BETWEEN_WHOLE_ONES = {"kmin": 2**31 - 2, "kmax": 2**31 - 1}
"""Every frame may be written as what has changed; nobody jumps into the middle of a short animation."""
DELAY_MIN_MS, DELAY_INSTEAD_MS = 10, 100
"""Delays up to the first are shown as the second by browsers, so they are written so."""
LOOP_MAX = 65_535
SIDE_MAX = 16_383
_MEMORY = re.compile(r"rror:? [12]\b|could not create encoder|MEMORY")
"""How Pillow says that libwebp found no memory: errors 1 and 2 of WebPEncodingError, no encoder for a size it takes."""
_BLOCKS = {b"ICCP": "icc_profile", b"EXIF": "exif", b"XMP ": "xmp"}
_FIELDS = ("icc-profile-data", "exif-data", "xmp-data")
_EXIF_HEAD = b"Exif\0\0"


class NotWritten(Exception):
    """libwebp refuses, in its own words."""


def version() -> str:
    """The release of libwebp that writes."""
    import PIL.features

    return str(PIL.features.version_module("webp"))


def save(image: Image, *, quality: int, lossless: bool, effort: int, keep: str) -> bytes:
    """The WebP of an image with three or four channels of 8 bits that is read once, from top to bottom.

    `page-height`, `delay` (ms) and `loop` in the image make an animation of it, frames below each other; its blocks
    are written as far as `keep` names them ("icc:exif:xmp", "none"). `quality` 0 to 100, `effort` 0 to 6.
    pyvips.Error for an image that cannot be decoded or a block that cannot be read, NotWritten where libwebp fails,
    MemoryError.
    """
    height = int(image.get("page-height")) if image.get_typeof("page-height") else image.height
    if max(image.width, height) > SIDE_MAX:
        raise NotWritten(f"webp: {image.width} x {height} pixels are too many")
    options: dict[str, Any] = {
        "quality": quality,
        "lossless": lossless,
        "method": effort,
        "alpha_quality": 100,
        "exact": False,
        **_blocks(image, keep, height),
    }
    frames = _frames(image, height)
    first = frames.pop(0)
    write = PIL.Image.SAVE["WEBP"]
    if frames:
        write = PIL.Image.SAVE_ALL["WEBP"]
        options |= {
            **FRAMES_BETWEEN_WHOLE_ONES,
            "append_images": frames,
            "duration": _durations(image, 1 + len(frames)),
            "loop": min(image.get("loop"), LOOP_MAX),
            "background": WHITE,
            "minimize_size": False,
            "allow_mixed": False,
        }
    elif "exif" in options:
        options["exif"] = _EXIF_HEAD + options["exif"]  # Pillow takes one away from stills, none from animations
    # What Image.save would do besides is to load the formats it knows, 40 ms when the first picture is saved.
    first.encoderinfo = options
    out = io.BytesIO()
    try:
        write(first, out, b"")
    except (ValueError, OSError, RuntimeError) as error:
        if _MEMORY.search(str(error)):
            raise MemoryError from None
        raise NotWritten(f"webp: {error}") from None
    return out.getvalue()


def _frames(image: Image, height: int) -> list[PIL.Image.Image]:
    """The pixels, computed once, each frame a view of its part of them. Pillow maps four bytes a pixel without copying
    (it would make four of three), so an opaque image gets a fourth that is not looked at."""
    kind = "RGBA" if image.bands == 4 else "RGBX"
    pixels = memoryview((image if image.bands == 4 else image.bandjoin(255)).write_to_memory())
    size = image.width * 4 * height
    return [
        PIL.Image.frombuffer(kind, (image.width, height), pixels[at : at + size], "raw", kind, 0, 1)
        for at in range(0, len(pixels), size)
    ]


def _durations(image: Image, count: int) -> list[int]:
    """Milliseconds a frame."""
    delays = [DELAY_INSTEAD_MS if ms <= DELAY_MIN_MS else ms for ms in image.get("delay")]
    return (delays + [DELAY_INSTEAD_MS] * count)[:count]


def _blocks(image: Image, keep: str, height: int) -> Mapping[str, bytes]:
    """What libvips would write of the image's blocks, by Pillow's names: it leaves out a profile of other channels,
    and puts Exif in order. It is asked with one pixel, so the size in Exif is entered afterwards; of an animation it
    is that of a frame, where libvips enters the height of all together."""
    if keep == "none":
        return {}
    pixel = Image.black(1, 1, bands=image.bands).copy(interpretation="srgb", xres=image.xres, yres=image.yres)
    for name in _FIELDS:
        if image.get_typeof(name):
            pixel.set_type(pyvips.GValue.blob_type, name, image.get(name))
    data = bytes(pixel.webpsave_buffer(lossless=True, effort=0, keep=keep))
    blocks, at = {}, 12
    while at < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name in _BLOCKS:
            blocks[_BLOCKS[name]] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    if "exif" in blocks:
        blocks["exif"] = metadata.sized(blocks["exif"], image.width, height)
    return blocks
