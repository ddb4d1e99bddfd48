"""Answers about a picture instead of a picture (G-12): its colours, a placeholder of some twenty bytes, a hash by which
two versions of one picture are known, and all of it at once.

They look at a small copy in sRGB, which a JPEG is decoded to at once. ThumbHash is Evan Wallace's format, written here
from its description; the perceptual hash is the usual one of 64 bits by discrete cosines (bit 1: above the median).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

from dservices.mediagen.formats import metadata, profiles
from dservices.mediagen.language.values import Args
from dservices.mediagen.operations import colours, palettes
from dservices.mediagen.operations.host_port import Host
from dservices.mediagen.picture.layers import layers_of
from dservices.mediagen.picture.picture import (
    CMYKA,
    GRAY,
    RGBA,
    Image,
    Picture,
    as_gray,
    as_rgb,
    has_alpha,
    turned,
)

SIDE = 128
"""Pixels of the longer side of what is looked at."""
HASH_SIDE = 32
THUMB_SIDE = 48
"""Of the copies for the two hashes; ThumbHash itself takes at most 100."""


def looked_at(picture: Picture) -> Image:
    """The first frame with at most SIDE pixels a side, as a screen shows it."""
    width, height = _within(picture.width, picture.height, SIDE)
    undecoded = picture.undecoded
    if undecoded is not None and undecoded.shrunk is not None and (width, height) != (picture.width, picture.height):
        size = (height, width) if undecoded.turn.swaps_sides else (width, height)
        return profiles.on_screen(picture, turned(undecoded.shrunk(*size, True).open(False), undecoded.turn))
    return _sized(profiles.on_screen(picture, picture.decoded().images[0]), width, height)


def _sized(image: Image, width: int, height: int) -> Image:
    if (image.width, image.height) == (width, height):
        return image
    work = image.premultiply() if has_alpha(image) else image
    work = work.resize(width / image.width, vscale=height / image.height)
    if has_alpha(image):
        work = work.unpremultiply()
    if (work.width, work.height) != (width, height):
        work = work.embed(0, 0, width, height, extend="copy")
    return work.rint().cast("uchar").copy(interpretation=image.interpretation)


def _within(width: int, height: int, side: int) -> tuple[int, int]:
    """That shape with at most `side` pixels a side, and no larger than it is."""
    factor = min(1.0, side / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def palette(small: Image, count: int) -> list[dict[str, Any]]:
    """The colours that stand for most of the picture, the commonest first: number, text, and share of the pixels that
    are not transparent."""
    rgb = bytes(as_rgb(small).write_to_memory())
    step = 4 if has_alpha(small) else 3
    cells: dict[tuple[int, int, int], int] = {}
    for at in range(0, len(rgb), step):
        if step == 3 or rgb[at + 3] >= 128:
            cell = rgb[at] >> 3, rgb[at + 1] >> 3, rgb[at + 2] >> 3
            cells[cell] = cells.get(cell, 0) + 1
    if not cells:
        return []
    chosen = palettes.median_cut(cells, count)
    shares = dict.fromkeys(chosen, 0)
    for cell, pixels in cells.items():
        r, g, b = (value * 8 + 4 for value in cell)
        near = min(chosen, key=lambda c: ((c >> 16) - r) ** 2 + ((c >> 8 & 255) - g) ** 2 + ((c & 255) - b) ** 2)
        shares[near] += pixels
    whole = sum(cells.values())
    ordered = sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"color": c, "text": f"#{c:06x}", "share": round(n / whole, 4)} for c, n in ordered if n]


# -- perceptual hash ----------------------------------------------------------------------------------------------


def perceptual_hash(small: Image) -> str:
    """16 hexadecimal digits; how many bits differ tells how far two pictures are apart (0 to 5: the same one)."""
    gray = bytes(as_gray(_sized(_on_white(small), HASH_SIDE, HASH_SIDE)).write_to_memory())
    rows = [gray[at : at + HASH_SIDE] for at in range(0, len(gray), HASH_SIDE)]
    waves = [[math.cos(math.pi / HASH_SIDE * k * (n + 0.5)) for n in range(HASH_SIDE)] for k in range(8)]
    across = [[sum(map(float.__mul__, wave, map(float, row))) for wave in waves] for row in rows]
    values = [sum(waves[v][y] * across[y][u] for y in range(HASH_SIDE)) for v in range(8) for u in range(8)]
    middle = sorted(values[1:])[31]  # the first is the mean brightness
    number = 0
    for value in values:
        number = number << 1 | (value > middle)
    return f"{number:016x}"


def _on_white(image: Image) -> Image:
    flat = image.flatten(background=[255, 255, 255]) if has_alpha(image) else image
    return flat.cast("uchar").copy(interpretation="b-w" if flat.bands == 1 else "srgb")


# -- ThumbHash ----------------------------------------------------------------------------------------------------


def thumb_hash(width: int, height: int, rgba: bytes) -> bytes:
    """The ThumbHash of pixels (8 bits, alpha straight), at most 100 a side. Pure."""
    count = width * height
    alphas = [value / 255 for value in rgba[3::4]]
    shown = sum(alphas)
    means = [sum(a * v / 255 for a, v in zip(alphas, rgba[c::4], strict=True)) for c in range(3)]
    means = [mean / shown if shown else 0.0 for mean in means]
    clear = shown < count
    limit, longer = 5 if clear else 7, max(width, height)
    lx, ly = max(1, _round(limit * width / longer)), max(1, _round(limit * height / longer))
    on_mean = [[means[c] * (1 - a) + a / 255 * v for a, v in zip(alphas, rgba[c::4], strict=True)] for c in range(3)]
    red, green, blue = on_mean
    light = [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)]
    yellow = [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)]
    crimson = [r - g for r, g in zip(red, green, strict=True)]
    l_dc, l_ac, l_scale = _channel(light, width, height, max(3, lx), max(3, ly))
    p_dc, p_ac, p_scale = _channel(yellow, width, height, 3, 3)
    q_dc, q_ac, q_scale = _channel(crimson, width, height, 3, 3)
    wide = width > height
    head = _round(63 * l_dc) | _round(31.5 + 31.5 * p_dc) << 6 | _round(31.5 + 31.5 * q_dc) << 12
    head |= _round(31 * l_scale) << 18 | clear << 23
    tail = (ly if wide else lx) | _round(63 * p_scale) << 3 | _round(63 * q_scale) << 9 | wide << 15
    out = bytearray(head.to_bytes(3, "little") + tail.to_bytes(2, "little"))
    parts = [*l_ac, *p_ac, *q_ac]
    if clear:
        a_dc, a_ac, a_scale = _channel(alphas, width, height, 5, 5)
        out.append(_round(15 * a_dc) | _round(15 * a_scale) << 4)
        parts += a_ac
    nibbles = [_round(15 * part) for part in parts]
    nibbles += [0] * (len(nibbles) % 2)
    return bytes(out) + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _round(value: float) -> int:
    return math.floor(value + 0.5)


def _channel(values: Sequence[float], width: int, height: int, nx: int, ny: int) -> tuple[float, list[float], float]:
    """(constant, the waves' weights from 0 to 1, their scale)."""
    waves_x = [[math.cos(math.pi / width * k * (x + 0.5)) for x in range(width)] for k in range(nx)]
    waves_y = [[math.cos(math.pi / height * k * (y + 0.5)) for y in range(height)] for k in range(ny)]
    rows = [values[at : at + width] for at in range(0, width * height, width)]
    across = [[sum(map(float.__mul__, wave, row)) for row in rows] for wave in waves_x]
    constant, parts = 0.0, []
    for cy in range(ny):
        for cx in range(nx):
            if cx * ny >= nx * (ny - cy):
                break
            weight = sum(map(float.__mul__, waves_y[cy], across[cx])) / (width * height)
            if cx or cy:
                parts.append(weight)
            else:
                constant = weight
    scale = max((abs(part) for part in parts), default=0.0)
    return constant, [0.5 + 0.5 / scale * part if scale else part for part in parts], scale


def thumb_hash_of(small: Image) -> str:
    """In base64, as libraries for pages take it."""
    size = _within(small.width, small.height, THUMB_SIDE)
    rgb = as_rgb(_sized(small, *size))
    pixels = bytes((rgb if has_alpha(rgb) else rgb.bandjoin(255)).write_to_memory())
    return base64.b64encode(thumb_hash(*size, pixels)).decode()


# -- all of it ----------------------------------------------------------------------------------------------------


def info(host: Host, picture: Picture, args: Args) -> dict[str, Any]:
    """What `getInfo` answers."""
    mode, small = picture.mode, looked_at(picture)
    blocks = {name: metadata.listed(name, block) for name, block in sorted(picture.metadata.items())}
    return {
        "width": picture.width,
        "height": picture.height,
        "format": picture.file_type,
        "pixelFormat": mode,
        "alpha": mode in (RGBA, CMYKA),
        "gray": mode == GRAY,
        "frames": picture.frame_count,
        "duration": sum(picture.delays),
        "loop": picture.loop,
        "layers": len(layers_of(picture)) if picture.layers else 1,
        "dpi": picture.dpi[0],
        "profile": colours.profile_name(picture.profile) if picture.profile is not None else None,
        "palette": palette(small, args["colors"]),
        "thumbHash": thumb_hash_of(small),
        "perceptualHash": perceptual_hash(small),
        "metadata": blocks,
    }
