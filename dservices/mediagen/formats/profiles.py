"""ICC profiles: what they say of themselves, and pictures through them to the colours of a screen (reference 3.4).

Sources: ICC.1:2022 (4.4), 7.2 and 9.2; IEC 61966-2-1 for what sRGB is.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pyvips

from dservices.mediagen.picture.picture import CMYK, CMYKA, GRAY, RGB, RGBA, Image, Picture, first_bands, mode_of

SPACES = {GRAY: "GRAY", RGB: "RGB", RGBA: "RGB", CMYK: "CMYK", CMYKA: "CMYK"}
"""The colour space that a profile for pictures of a mode is for."""
_TAGS_MAX = 100
_SRGB_COLUMNS = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
"""The primaries of sRGB as seen from D50, which profiles speak of."""
_NEAR = 0.003
"""Of a coordinate, and of a tone curve (less than one level of 255 where it is steepest)."""


@functools.cache
def built_in(name: str) -> bytes:
    """A profile that libvips brings along: srgb, cmyk, p3."""
    return bytes(pyvips.Operation.call("profile_load", name))


def space(data: bytes) -> str:
    return data[16:20].decode("ascii", "replace").strip()


def tags(data: bytes) -> dict[bytes, bytes]:
    """The tagged elements; those that do not lie within the profile are left out."""
    (count,) = struct.unpack_from(">I", data, 128)
    found = {}
    for index in range(min(count, _TAGS_MAX)):
        if 144 + 12 * index > len(data):
            break
        tag, offset, size = struct.unpack_from(">4sII", data, 132 + 12 * index)
        if offset + size <= len(data):
            found[tag] = data[offset : offset + size]
    return found


@functools.lru_cache(maxsize=64)
def means_srgb(data: bytes) -> bool:
    """Whether colours through this profile are those of sRGB (of its grays, for a gray one): what every screen and
    every reader takes numbers without a profile for."""
    try:
        found = tags(data)
        curves = {"RGB": (b"rTRC", b"gTRC", b"bTRC"), "GRAY": (b"kTRC",)}.get(space(data), ())
        if not curves or b"A2B0" in found or not all(_is_srgb_curve(found[name]) for name in curves):
            return False
        if space(data) == "GRAY":
            return True
        for name, wanted in _SRGB_COLUMNS.items():
            values = struct.unpack_from(">3i", found[name], 8)
            if any(abs(value / 65_536 - should) > _NEAR for value, should in zip(values, wanted, strict=True)):
                return False
        return True
    except (struct.error, LookupError, ZeroDivisionError, OverflowError, ValueError):
        return False


def _is_srgb_curve(element: bytes) -> bool:
    points = [n / 16 for n in range(17)]
    wanted = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in points]
    return all(abs(_curve(element, x) - y) <= _NEAR for x, y in zip(points, wanted, strict=True))


def _curve(element: bytes, x: float) -> float:
    if element[:4] == b"para":
        kind = struct.unpack_from(">H", element, 8)[0]
        count = (1, 3, 4, 5, 7)[kind]
        g, a, b, c, d, e, f = [v / 65_536 for v in struct.unpack_from(f">{count}i", element, 12)] + [0.0] * (7 - count)
        if kind == 0:
            return float(x**g)
        if kind in (1, 2):
            return float((a * x + b) ** g if x >= -b / a else 0) + c * (kind == 2)
        return float((a * x + b) ** g + e if x >= d else c * x + f)
    (count,) = struct.unpack_from(">I", element, 8)
    if count == 0:
        return x
    if count == 1:
        return float(x ** (struct.unpack_from(">H", element, 12)[0] / 256))
    at = x * (count - 1)
    low = min(int(at), count - 2)
    first, second = struct.unpack_from(">2H", element, 12 + 2 * low)
    return float(first + (second - first) * (at - low)) / 65_535


def in_light(picture: Picture) -> Picture:
    """A picture in inks as RGB in sRGB; any other as it is."""
    if picture.mode not in (CMYK, CMYKA):
        return picture
    picture = picture.decoded()
    return replace(
        picture, images=tuple(on_screen(picture, image) for image in picture.images), strip=None, profile=None
    )


def on_screen(picture: Picture, image: Image) -> Image:
    """The image as a screen shows it: Gray or RGB in sRGB, alpha as it is. Inks without a profile, or with one that
    cannot be read, go through the built-in one for offset print."""
    mode = mode_of(image)
    inks = mode in (CMYK, CMYKA)
    profile = picture.profile if picture.profile is not None and space(picture.profile) == SPACES[mode] else None
    if profile is None and not inks:
        return image
    count = {GRAY: 1, CMYK: 4, CMYKA: 4}.get(mode, 3)
    made = _through(first_bands(image, count), profile, "cmyk" if inks else None)
    if made is None:
        return image
    made = first_bands(made, 1).copy(interpretation="b-w") if mode == GRAY else made
    return made.bandjoin(image[count]).copy(interpretation="srgb") if image.bands > count else made


def in_colours_of(base: Picture, other: Picture) -> Picture:
    """`other` with its numbers in the space of `base`, so that the two can be put together: both RGB, one of them in
    another space than the other. A picture without a profile is in sRGB."""
    if {base.mode, other.mode} - {RGB, RGBA}:
        return other
    theirs, ours = (
        picture.profile if picture.profile is not None and space(picture.profile) == "RGB" else built_in("srgb")
        for picture in (other, base)
    )
    if theirs == ours or (means_srgb(theirs) and means_srgb(ours)):
        return other
    other = other.decoded()

    def moved(image: Image) -> Image:
        made = _moved(first_bands(image, 3), theirs, ours)
        if made is None:
            return image
        return made.bandjoin(image[3]).copy(interpretation="srgb") if image.bands == 4 else made

    return replace(other, images=tuple(moved(image) for image in other.images), strip=None, profile=base.profile)


def _moved(colours: Image, source: bytes, target: bytes) -> Image | None:
    """Through two profiles: libvips takes the one from the image, the other from a file, here one in memory."""
    colours = colours.copy()
    colours.set_type(pyvips.GValue.blob_type, "icc-profile-data", source)
    try:
        with as_file(target) as name:
            made = colours.icc_transform(name, embedded=True, intent="relative")
    except pyvips.Error:
        return None
    return made.cast("uchar").copy(interpretation="srgb")


@contextmanager
def as_file(data: bytes) -> Iterator[str]:
    """libvips wants a file name for a profile: an anonymous one in memory."""
    descriptor = os.memfd_create("profile")
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _through(colours: Image, profile: bytes | None, instead: str | None) -> Image | None:
    colours = colours.copy()
    if profile is not None:
        colours.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    elif colours.get_typeof("icc-profile-data"):
        colours.remove("icc-profile-data")
    try:
        made = colours.icc_transform(
            "srgb",
            embedded=profile is not None,
            intent="perceptual",
            **({"input_profile": instead} if instead is not None else {}),
        )
    except pyvips.Error:
        return None
    return made.cast("uchar").copy(interpretation="srgb")
