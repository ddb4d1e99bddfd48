"""The gallery's own photographs and drawings, computed here so that nothing has to be shipped (G-10).

`make(folder)` writes what is missing; the same bytes every time with the locked libraries. None of it is anybody's
picture: skies are noise, flowers are paths, the product does not exist.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 1600, 1066
VERSION = "1"
"""Grows when a source changes; sources of another version are made again."""

Colour = tuple[float, float, float]


# -- building blocks ----------------------------------------------------------------------------------------------


def _noise(width: int, height: int, cell: int, octaves: int, seed: int) -> Any:
    """Sum of Perlin noises, about -1 to 1."""
    import pyvips

    total: Any = 0
    for octave in range(octaves):
        size = max(2, cell >> octave)
        total = pyvips.Image.perlin(width, height, cell_size=size, seed=seed + octave) * 0.5**octave + total
    return total


def _places(width: int, height: int) -> tuple[Any, Any]:
    """x and y of every pixel, 0 to 1."""
    import pyvips

    at = pyvips.Image.xyz(width, height).cast("float")
    return at[0] / width, at[1] / height


def _clamp(image: Any) -> Any:
    return (image < 0).ifthenelse(0, (image > 1).ifthenelse(1, image))


def _ramp(share: Any, *stops: tuple[float, Colour]) -> Any:
    """A picture coloured along `share`: stops are (where, colour), ascending."""
    picture: Any = None
    for (low, first), (high, last) in pairwise(stops):
        part = _clamp((share - low) / (high - low))
        mixed = [part * (b - a) + a for a, b in zip(first, last, strict=True)]
        piece = mixed[0].bandjoin(mixed[1:])
        picture = piece if picture is None else (share >= low).ifthenelse(piece, picture)
    return picture


def _mix(below: Any, above: Any, share: Any) -> Any:
    return below * (1 - share) + above * share


def _flat(like: Any, colour: Colour) -> Any:
    return (like[0] * 0).bandjoin([like[0] * 0, like[0] * 0]) + list(colour)


def _ridge(width: int, height: int, cell: int, base: float, rise: float, seed: int) -> Any:
    """The y (0 to 1) of a mountain line at every x."""
    line = _noise(width, 8, cell, 6, seed).crop(0, 0, width, 1)
    return (line * -rise + base).embed(0, 0, width, height, extend="copy")


def _finished(picture: Any, grain: float = 3.0, seed: int = 7) -> Any:
    """Film grain and 8 bits."""
    import pyvips

    noise = pyvips.Image.gaussnoise(picture.width, picture.height, mean=0, sigma=grain, seed=seed)
    return (picture + noise.bandjoin([noise, noise])).rint().cast("uchar").copy(interpretation="srgb")


def _drawn(svg: str, scale: float = 1.0) -> Any:
    import pyvips

    return pyvips.Image.svgload_buffer(svg.encode(), scale=scale).copy_memory()


def _over(picture: Any, drawing: Any, x: int = 0, y: int = 0) -> Any:
    base = picture.rint().cast("uchar").copy(interpretation="srgb")
    return base.composite2(drawing, "over", x=x, y=y)[0:3].cast("float")


def _chance(seed: int) -> Callable[[], float]:
    """Numbers from 0 to 1 that repeat: a linear congruence, because a picture shall not hang on a library's generator."""
    state = seed

    def following() -> float:
        nonlocal state
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        return (state >> 8) / (0x7FFFFFFF >> 8)

    return following


# -- photographs --------------------------------------------------------------------------------------------------


def lake() -> Any:
    """Sunset over mountains, mirrored in a lake."""
    import pyvips

    width, height, shore = WIDTH, HEIGHT, int(HEIGHT * 0.58)
    x, y = _places(width, shore)
    sky = _ramp(y, (0, (38, 44, 92)), (0.45, (142, 88, 134)), (0.75, (244, 142, 104)), (1, (255, 214, 142)))
    veil = _noise(width // 4, shore, 90, 5, 21).resize(4, vscale=1).crop(0, 0, width, shore)
    veil = _clamp(veil * 1.5 + 0.1) * _clamp(1.25 - y * 1.1)
    sky = _mix(sky, _flat(sky, (255, 176, 142)), veil * 0.75)
    apart = ((x - 0.62) ** 2 * (width / shore) ** 2 + (y - 0.72) ** 2) ** 0.5
    glow = (apart * -7).exp()
    sky = sky + glow.bandjoin([glow * 0.75, glow * 0.4]) * 150
    sky = _mix(sky, _flat(sky, (255, 250, 226)), _clamp((0.052 - apart) * 200))
    ranges = (
        (0.80, 0.17, 420, 3, (168, 104, 124)),
        (0.90, 0.20, 330, 31, (104, 66, 104)),
        (0.99, 0.18, 260, 57, (52, 40, 74)),
    )
    for base, rise, cell, seed, colour in ranges:
        line = _ridge(width, shore, cell, base, rise, seed)
        haze = _clamp((y - line) * 3.2)
        ground = _mix(_flat(sky, colour), _flat(sky, (236, 150, 124)), haze * 0.45)
        sky = _mix(sky, ground, _clamp((y - line) * shore / 1.5))
    land = sky.copy_memory()
    depth = height - shore
    mirror = land.flipver().crop(0, 0, width, min(shore, depth))
    if mirror.height < depth:
        mirror = mirror.embed(0, 0, width, depth, extend="copy")
    at = pyvips.Image.xyz(width, depth).cast("float")
    near = at[1] / depth
    wave = _noise(width // 8, depth, 18, 3, 77).resize(8, vscale=1).crop(0, 0, width, depth)
    index = _clamp((at[0] + wave * (near * 26 + 2)) / (width - 2)) * (width - 2)
    index = index.bandjoin(_clamp((at[1] + wave * (near * 20 + 1)) / (depth - 2)) * (depth - 2))
    water = mirror.mapim(index, interpolate=pyvips.Interpolate.new("bilinear"))
    water = _mix(_bounded(water) * 0.9, _flat(water, (34, 36, 72)), near * 0.5 + 0.04)
    glint = _clamp(wave * 1.6 - 0.55) * (1 - near) * 70
    whole = land.join(water + glint, "vertical")
    return _finished(whole)


def dunes() -> Any:
    """Sand, lit from the left."""
    width, height = WIDTH, HEIGHT
    y = _places(width, height)[1]
    picture = _ramp(y, (0, (84, 158, 208)), (0.3, (158, 204, 224)), (0.46, (246, 226, 196)), (1, (246, 226, 196)))
    for number in range(6):
        base, rise = 0.40 + number * 0.095, 0.05 + number * 0.012
        line = _noise(width, 8, 560 - number * 35, 2, 11 + 13 * number).crop(0, 0, width, 1) * -rise + base
        slope = line.conv(_gradient_mask()).gaussblur(14)
        line, slope = (one.embed(0, 0, width, height, extend="copy") for one in (line, slope))
        light = _clamp(0.55 + slope * 190 - (y - line) * 0.9)
        shift = (_noise(width, height, 46, 2, 5 + number) * 0.018 + (y - line) * 1.0) * (150 - number * 9)
        ripples = (shift * 57.3).sin() * (0.018 + number * 0.006)
        sand = _ramp(
            _clamp(light + ripples),
            (0, (122, 58, 40)),
            (0.4, (196, 110, 62)),
            (0.75, (240, 178, 104)),
            (1, (255, 226, 166)),
        )
        sand = _mix(sand, _flat(sand, (246, 220, 190)), max(0.0, 0.62 - number * 0.16))
        picture = _mix(picture, sand, _clamp((y - line) * height / 1.5))
    return _finished(picture)


def _gradient_mask() -> Any:
    import pyvips

    return pyvips.Image.new_from_array([[-1] * 4 + [0] + [1] * 4], scale=4)


def night() -> Any:
    """Northern lights over pines."""
    import pyvips

    width, height = WIDTH, HEIGHT
    y = _places(width, height)[1]
    sky = _ramp(y, (0, (6, 10, 34)), (0.55, (14, 38, 74)), (1, (28, 74, 98)))
    stars = pyvips.Image.gaussnoise(width, height, mean=0, sigma=1, seed=3)
    sky = sky + (stars > 3.3).ifthenelse((stars - 3.0) * 330, 0).gaussblur(0.8) * 2.4 * _clamp(1.1 - y)
    for place, colour, strength, seed in (
        (0.52, (70, 240, 150), 1.15, 5),
        (0.44, (60, 210, 190), 0.75, 25),
        (0.36, (170, 90, 220), 0.7, 45),
    ):
        line = _noise(width, 8, 700, 4, seed).crop(0, 0, width, 1)
        rays = _noise(width, 8, 90, 4, seed + 9).crop(0, 0, width, 1)
        line = (line * 0.26 + place).embed(0, 0, width, height, extend="copy")
        rays = _clamp(rays * 0.55 + 0.62).embed(0, 0, width, height, extend="copy")
        above = line - y
        curtain = (above > 0).ifthenelse((above * -6.5).exp(), (above * 34).exp())
        light = curtain * rays * strength
        sky = sky + light.bandjoin([light, light]) * list(colour)
    for base, cell, seed, colour in ((0.80, 380, 71, (12, 34, 52)), (0.9, 240, 91, (5, 14, 26))):
        sky = _mix(sky, _flat(sky, colour), _clamp((y - _ridge(width, height, cell, base, 0.09, seed)) * height / 1.5))
    chance, trees = _chance(99), []
    for _ in range(46):
        left, tall = chance() * width, 70 + chance() * 190
        trees.append(_pine(left, height * 0.93 + chance() * 70, tall))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><g fill="#03070f">{"".join(trees)}</g></svg>'
    return _finished(_over(_bounded(sky), _drawn(svg)), 2.0)


def _bounded(image: Any) -> Any:
    return (image < 0).ifthenelse(0, (image > 255).ifthenelse(255, image))


def _pine(x: float, foot: float, tall: float) -> str:
    """Five skirts, each wider than the one above, as one outline."""
    left, right = [], []
    for step in range(6):
        down, reach = foot - tall + tall * step / 5.4, tall * 0.06 * step
        left.append(f"{x - reach * 1.1:.1f},{down:.1f}")
        left.append(f"{x - reach * 0.45:.1f},{down - tall * 0.02:.1f}")
        right.append(f"{x + reach * 1.1:.1f},{down:.1f}")
        right.append(f"{x + reach * 0.45:.1f},{down - tall * 0.02:.1f}")
    return f'<polygon points="{" ".join(left + right[::-1])}"/>'


def balloons() -> Any:
    """Three hot-air balloons in the morning."""
    width, height = WIDTH, HEIGHT
    y = _places(width, height)[1]
    sky = _ramp(y, (0, (92, 164, 226)), (0.5, (176, 214, 238)), (0.78, (255, 234, 206)), (1, (255, 234, 206)))
    clouds = _noise(width // 2, height, 130, 6, 8).resize(2, vscale=1).crop(0, 0, width, height)
    sky = _mix(sky, _flat(sky, (255, 252, 246)), _clamp(clouds * 1.9 - 0.1) * _clamp(1.15 - y * 1.2))
    hills = ((0.79, 430, 14, (150, 176, 190)), (0.86, 330, 35, (112, 150, 138)), (0.94, 280, 58, (78, 122, 84)))
    for base, cell, seed, colour in hills:
        line = _ridge(width, height, cell, base, 0.07, seed)
        ground = _flat(sky, colour) + _clamp((y - line) * 4).bandjoin([_clamp((y - line) * 4)] * 2) * [60, 56, 30]
        sky = _mix(sky, ground, _clamp((y - line) * height / 1.5))
    parts = [
        _balloon(1020, 360, 210, ("#d6263c", "#f4b41a", "#d6263c", "#f4b41a", "#d6263c", "#f4b41a", "#d6263c")),
        _balloon(470, 250, 130, ("#1b6f8a", "#e8f1f2", "#1b6f8a", "#e8f1f2", "#1b6f8a", "#e8f1f2", "#1b6f8a")),
        _balloon(1380, 620, 78, ("#6b3fa0", "#f2789f", "#6b3fa0", "#f2789f", "#6b3fa0", "#f2789f", "#6b3fa0")),
    ]
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{_BALLOON_DEFS}{"".join(parts)}</svg>'
    return _finished(_over(_bounded(sky), _drawn(svg)), 2.0)


_BALLOON_DEFS = (
    '<defs><radialGradient id="shade" cx="0.36" cy="0.32" r="0.75"><stop offset="0" stop-color="#fff" stop-opacity="0.5"/>'
    '<stop offset="0.45" stop-color="#fff" stop-opacity="0"/><stop offset="1" stop-color="#101030" stop-opacity="0.55"/>'
    "</radialGradient></defs>"
)


def _balloon(x: float, y: float, r: float, gores: tuple[str, ...]) -> str:
    """An envelope of gores, lit from the left, and its basket."""
    foot, parts = y + r * 1.45, []
    count = len(gores)

    def edge(share: float) -> str:
        bulge = math.sin(share * math.pi / 2) * r
        return f"C{x + bulge * 1.02:.1f} {y - r * 1.0:.1f} {x + bulge * 1.3:.1f} {y + r * 0.45:.1f} {x + bulge * 0.2:.1f} {foot:.1f}"

    outline = f"M{x:.1f} {y - r:.1f}{edge(1)}L{x - r * 0.2:.1f} {foot:.1f}"
    for number, colour in enumerate(gores):
        share = 1 - 2 * number / count
        parts.append(
            f'<path d="M{x:.1f} {y - r:.1f}{edge(share)}L{x - r * 0.2:.1f} {foot:.1f}{_back(x, y, r, foot)}Z" fill="{colour}"/>'
        )
    parts.append(f'<path d="{outline}{_back(x, y, r, foot)}Z" fill="url(#shade)"/>')
    top, deep, half = foot + r * 0.32, r * 0.24, r * 0.15
    for side in (-1, 1):
        parts.append(
            f'<line x1="{x + side * r * 0.19:.1f}" y1="{foot:.1f}" x2="{x + side * half:.1f}" y2="{top:.1f}" stroke="#4a3527" stroke-width="{r * 0.014:.2f}"/>'
        )
    parts.append(
        f'<rect x="{x - half:.1f}" y="{top:.1f}" width="{half * 2:.1f}" height="{deep:.1f}" rx="{r * 0.04:.1f}" fill="#8a5a33"/>'
        f'<rect x="{x - half:.1f}" y="{top:.1f}" width="{half * 2:.1f}" height="{deep * 0.22:.1f}" rx="{r * 0.03:.1f}" fill="#5c3a20"/>'
    )
    return "".join(parts)


def _back(x: float, y: float, r: float, foot: float) -> str:
    """From the foot up the left side to the crown."""
    return f"C{x - r * 1.3:.1f} {y + r * 0.45:.1f} {x - r * 1.02:.1f} {y - r:.1f} {x:.1f} {y - r:.1f}"


def flower() -> Any:
    """A dahlia before lights out of focus."""
    width, height = WIDTH, HEIGHT
    x, y = _places(width, height)
    ground = _ramp(y * 0.7 + x * 0.3, (0, (16, 62, 58)), (0.5, (38, 108, 80)), (1, (10, 40, 46)))
    chance, spots = _chance(4), []
    for _ in range(60):
        r = 22 + chance() * 66
        colour = ("#bfe38a", "#f2e58a", "#7fd0b0", "#f7b6a0")[int(chance() * 3.999)]
        spots.append(
            f'<circle cx="{chance() * width:.0f}" cy="{chance() * height:.0f}" r="{r:.0f}" fill="{colour}" fill-opacity="{0.06 + chance() * 0.2:.2f}"/>'
        )
    lights = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{"".join(spots)}</svg>'
    ground = _over(_bounded(ground), _drawn(lights).gaussblur(5).cast("uchar").copy(interpretation="srgb"))
    petals = []
    for ring, (count, reach, wide) in enumerate(
        ((18, 430, 74), (18, 368, 68), (16, 306, 60), (14, 244, 52), (12, 182, 44), (9, 122, 34))
    ):
        for number in range(count):
            angle = 360 * (number + (ring % 2) * 0.5) / count + ring * 3
            petals.append(
                f'<path transform="rotate({angle:.1f})" d="M0 0C{-wide} {-reach * 0.45:.0f} {-wide * 0.7:.0f} {-reach * 0.9:.0f} 0 {-reach}'
                f'C{wide * 0.7:.0f} {-reach * 0.9:.0f} {wide} {-reach * 0.45:.0f} 0 0Z" fill="url(#p{ring})" stroke="#5c0f3a" stroke-opacity="0.35" stroke-width="2"/>'
            )
    rings = "".join(
        f'<radialGradient id="p{ring}" gradientUnits="userSpaceOnUse" cx="0" cy="0" r="{430 - 60 * ring}">'
        f'<stop offset="0.1" stop-color="#7d0f4f"/><stop offset="0.65" stop-color="{tone}"/><stop offset="1" stop-color="{tip}"/></radialGradient>'
        for ring, (tone, tip) in enumerate(
            (
                ("#c2185b", "#f48fb1"),
                ("#d81b60", "#f8a5c2"),
                ("#e0316f", "#fbb9cf"),
                ("#e84a7f", "#fdcbdb"),
                ("#f06292", "#fde0ea"),
                ("#f7a440", "#ffe9b0"),
            )
        )
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><defs>{rings}</defs>'
        f'<path d="M800 560C780 760 760 900 700 1066" stroke="#3c7a3a" stroke-width="26" fill="none"/>'
        f'<g transform="translate(800 540)">{"".join(petals)}<circle r="40" fill="#ffcf5a"/><circle r="22" fill="#d98a1f"/></g></svg>'
    )
    drawing = _drawn(svg)
    shadow = drawing[3].gaussblur(24) * 0.5
    ground = _mix(ground, _flat(ground, (4, 20, 22)), shadow / 255)
    return _finished(_over(_bounded(ground), drawing), 2.5)


def portrait() -> Any:
    """A drawn person: round pictures want a face."""
    svg = """<svg xmlns="http://www.w3.org/2000/svg" width="900" height="1100" viewBox="0 0 900 1100"><defs>
    <linearGradient id="wall" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#f9d29d"/><stop offset="1" stop-color="#e8788a"/></linearGradient>
    <linearGradient id="coat" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#1f6f78"/><stop offset="1" stop-color="#0f3d4c"/></linearGradient>
    <linearGradient id="skin" x1="0" y1="0" x2="1" y2="0.6"><stop offset="0" stop-color="#c98a5e"/><stop offset="1" stop-color="#a5673f"/></linearGradient>
    <linearGradient id="hair" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#3a2230"/><stop offset="1" stop-color="#1d1018"/></linearGradient></defs>
    <rect width="900" height="1100" fill="url(#wall)"/><circle cx="450" cy="470" r="390" fill="#fff" fill-opacity="0.16"/>
    <path d="M230 470C200 170 330 110 460 110C620 110 700 230 680 480C690 620 720 690 690 800L240 800C190 690 240 600 230 470Z" fill="url(#hair)"/>
    <path d="M375 640L375 800C375 850 525 850 525 800L525 640Z" fill="#96592f"/>
    <path d="M110 1100C120 900 260 850 375 800C410 870 490 870 525 800C640 850 780 900 790 1100Z" fill="url(#coat)"/>
    <path d="M375 795C330 830 318 870 330 910L450 985L570 910C582 870 570 830 525 795C490 872 410 872 375 795Z" fill="#f4efe6"/>
    <path d="M300 450C290 250 380 230 455 230C545 230 615 270 605 450C600 590 540 690 452 690C366 690 306 590 300 450Z" fill="url(#skin)"/>
    <path d="M285 430C300 270 400 255 505 225C500 300 560 330 615 440C640 300 590 180 455 180C330 180 270 290 285 430Z" fill="url(#hair)"/>
    <path d="M352 418C372 402 400 402 420 416" stroke="#2a1620" stroke-width="11" stroke-linecap="round" fill="none"/>
    <path d="M490 416C510 402 538 402 558 418" stroke="#2a1620" stroke-width="11" stroke-linecap="round" fill="none"/>
    <ellipse cx="387" cy="464" rx="25" ry="17" fill="#fff"/><ellipse cx="523" cy="464" rx="25" ry="17" fill="#fff"/>
    <circle cx="390" cy="464" r="13" fill="#2c1a16"/><circle cx="520" cy="464" r="13" fill="#2c1a16"/>
    <circle cx="395" cy="459" r="4" fill="#fff"/><circle cx="525" cy="459" r="4" fill="#fff"/>
    <path d="M455 470C450 510 440 530 434 546C444 556 462 557 474 550" stroke="#7d4a2a" stroke-width="8" stroke-linecap="round" fill="none"/>
    <path d="M390 600C425 632 485 632 520 600C505 655 405 655 390 600Z" fill="#8c2f3c"/>
    <path d="M402 606C435 620 475 620 508 606C500 618 410 618 402 606Z" fill="#fff"/>
    <circle cx="345" cy="540" r="30" fill="#e0705f" fill-opacity="0.25"/><circle cx="562" cy="540" r="30" fill="#e0705f" fill-opacity="0.25"/>
    <circle cx="296" cy="560" r="12" fill="#f4c542"/><circle cx="609" cy="560" r="12" fill="#f4c542"/></svg>"""
    return _finished(_drawn(svg)[0:3].cast("float"), 1.5)


# -- drawings -----------------------------------------------------------------------------------------------------


def watch() -> str:
    """A wrist watch on nothing: a product picture with transparency."""
    marks = "".join(
        f'<rect x="-{3 if n % 5 else 7}" y="-252" width="{6 if n % 5 else 14}" height="{16 if n % 5 else 44}" rx="3" fill="{"#9fb3c8" if n % 5 else "#f5e6c8"}" transform="rotate({n * 6})"/>'
        for n in range(60)
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="900" height="1300" viewBox="0 0 900 1300"><defs>
    <linearGradient id="steel" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#fdfdfd"/><stop offset="0.35" stop-color="#8d99a6"/>
    <stop offset="0.55" stop-color="#eef2f5"/><stop offset="1" stop-color="#5b6671"/></linearGradient>
    <linearGradient id="strap" x1="0" y1="0" x2="1" y2="0"><stop offset="0" stop-color="#4a2413"/><stop offset="0.25" stop-color="#9a5a33"/>
    <stop offset="0.7" stop-color="#8a4d2a"/><stop offset="1" stop-color="#3f1e10"/></linearGradient>
    <radialGradient id="dial" cx="0.4" cy="0.35" r="0.8"><stop offset="0" stop-color="#2f5d8c"/><stop offset="1" stop-color="#0b1c33"/></radialGradient></defs>
    <path d="M290 30C290 10 610 10 610 30L640 420L260 420Z" fill="url(#strap)"/><path d="M260 880L640 880L610 1270C610 1290 290 1290 290 1270Z" fill="url(#strap)"/>
    <path d="M312 40L288 410M588 40L612 410M288 890L312 1260M612 890L588 1260" stroke="#e9c9a0" stroke-width="5" stroke-dasharray="20 14" fill="none"/>
    <rect x="770" y="610" width="56" height="80" rx="12" fill="url(#steel)"/><circle cx="450" cy="650" r="336" fill="url(#steel)"/>
    <circle cx="450" cy="650" r="296" fill="#243342"/><circle cx="450" cy="650" r="284" fill="url(#dial)"/><g transform="translate(450 650)">{marks}
    <circle cx="0" cy="110" r="66" fill="#0a1626" stroke="#9fb3c8" stroke-width="4"/><rect x="-3" y="58" width="6" height="56" rx="3" fill="#e4572e" transform="rotate(40 0 110)"/>
    <rect x="-11" y="-150" width="22" height="180" rx="11" fill="#f5e6c8" transform="rotate(-52)"/><rect x="-8" y="-222" width="16" height="260" rx="8" fill="#f5e6c8" transform="rotate(58)"/>
    <rect x="-3" y="-236" width="6" height="300" rx="3" fill="#e4572e" transform="rotate(152)"/><circle r="18" fill="#e4572e"/><circle r="7" fill="#0b1c33"/></g>
    <path d="M200 560C250 420 420 350 560 390C440 410 300 500 262 640C240 640 200 600 200 560Z" fill="#fff" fill-opacity="0.13"/></svg>"""


LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="240" height="240" viewBox="0 0 240 240"><defs>
<linearGradient id="g" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#27c4b5"/><stop offset="1" stop-color="#2b5fd9"/></linearGradient></defs>
<path d="M120 12L214 66L214 174L120 228L26 174L26 66Z" fill="url(#g)"/>
<path d="M120 120L120 52M120 120L179 154M120 120L61 154" stroke="#fff" stroke-width="12" stroke-linecap="round"/>
<circle cx="120" cy="120" r="24" fill="#fff"/><circle cx="120" cy="52" r="16" fill="#fff"/><circle cx="179" cy="154" r="16" fill="#fff"/>
<circle cx="61" cy="154" r="16" fill="#fff"/></svg>"""

ICONS = {
    "icon-bell.svg": "M12 3a6 6 0 0 0-6 6c0 6-2 7-3 8h18c-1-1-3-2-3-8a6 6 0 0 0-6-6zM10 20a2 2 0 0 0 4 0z",
    "icon-heart.svg": "M12 21C4 15 2 11 2 8a5 5 0 0 1 10-2 5 5 0 0 1 10 2c0 3-2 7-10 13z",
    "icon-bolt.svg": "M13 2L4 14h6l-1 8 9-12h-6z",
    "icon-star.svg": "M12 2l3 7 7 .6-5.400 4.800 1.700 7.100L12 17.800 5.700 21.500l1.700-7.100L2 9.600 9 9z",
}


def icon(path: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="240" height="240" viewBox="0 0 24 24"><path d="{path}" fill="#fff"/></svg>'


def bird_sheet() -> str:
    """Eight phases of a wing's beat in one row: what game and web designers hand over as a sprite sheet."""
    frames = []
    for number in range(8):
        beat = math.sin(2 * math.pi * number / 8)
        tip, lift = 100 - beat * 78, 6 * beat
        frames.append(
            f'<g transform="translate({number * 200} {lift:.1f})"><path d="M40 104C60 84 110 78 150 96L176 88L162 108C140 132 80 136 40 104Z" fill="#e4572e"/>'
            f'<path d="M28 92L44 104L24 116L34 104Z" fill="#b23a1d"/><circle cx="148" cy="100" r="5" fill="#fff"/><circle cx="149" cy="100" r="2.600" fill="#222"/>'
            f'<path d="M160 102L178 98L164 109Z" fill="#f4b41a"/><path d="M84 98C80 {98 + (tip - 98) * 0.6:.1f} 64 {tip:.1f} 42 {tip:.1f}C66 {(tip + 98) / 2 + 8:.1f} 96 {(tip + 98) / 2 + 14:.1f} 124 102Z" fill="#9c2f16"/>'
            "</g>"
        )
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="1600" height="200">{"".join(frames)}</svg>'


# -- files --------------------------------------------------------------------------------------------------------


def _jpeg(image: Any, **options: Any) -> bytes:
    return bytes(image.jpegsave_buffer(Q=90, **{"keep": "none", **options}))


def _profiled(image: Any, name: str, **options: Any) -> bytes:
    """The picture converted to one of libvips' own profiles, which is embedded."""
    converted = image.icc_transform(name, input_profile="srgb", intent="relative")
    return _jpeg(converted, keep="icc", **options)


def _tagged(image: Any) -> bytes:
    """A photograph as cameras and agencies hand it over: Exif, IPTC and XMP."""
    import pyvips

    image = image.thumbnail_image(1200).copy()
    for name, value in (
        ("exif-ifd0-Make", "Example"),
        ("exif-ifd0-Model", "Field Camera 7"),
        ("exif-ifd0-Artist", "A. Photographer"),
        ("exif-ifd0-Copyright", "A. Photographer 2026"),
        ("exif-ifd2-DateTimeOriginal", "2026:06:21 05:12:40"),
        ("exif-ifd2-FNumber", "8/1"),
        ("exif-ifd2-ISOSpeedRatings", "200"),
        ("exif-ifd2-FocalLength", "35/1"),
    ):
        image.set_type(pyvips.GValue.gstr_type, name, value)
    image.set_type(
        pyvips.GValue.blob_type,
        "iptc-data",
        _iptc({5: "Morning flight", 25: "balloon", 80: "A. Photographer", 90: "Nowhere", 116: "A. Photographer 2026"}),
    )
    return _jpeg(image, keep="exif:iptc")


def _iptc(fields: Mapping[int, str]) -> bytes:
    """IIM datasets of record 2 in the resource block that JPEG files carry them in."""
    body = b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text.encode() for number, text in sorted(fields.items())
    )
    return (
        b"Photoshop 3.0\x008BIM\x04\x04\x00\x00"
        + struct.pack(">I", len(body))
        + body
        + (b"\0" if len(body) % 2 else b"")
    )


def _png(svg: str) -> bytes:
    return bytes(_drawn(svg).pngsave_buffer(keep="none"))


def _documents() -> dict[str, Callable[[], bytes]]:
    from dservices.mediagen import samples

    return {"document.pdf": lambda: samples.document(samples.pages())}


FILES: dict[str, Callable[[], bytes]] = {
    "lake.jpg": lambda: _jpeg(lake()),
    "dunes.jpg": lambda: _jpeg(dunes()),
    "night.jpg": lambda: _jpeg(night()),
    "balloons.jpg": lambda: _jpeg(balloons()),
    "flower.jpg": lambda: _jpeg(flower()),
    "portrait.jpg": lambda: _jpeg(portrait()),
    "tall.jpg": lambda: _jpeg(balloons().crop(790, 90, 460, 760)),
    "tagged.jpg": lambda: _tagged(balloons()),
    "press-cmyk.jpg": lambda: _profiled(flower(), "cmyk"),
    "wide-p3.jpg": lambda: _profiled(lake(), "p3"),
    "watch.png": lambda: _png(watch()),
    "bird.png": lambda: _png(bird_sheet()),
    "logo.svg": LOGO.encode,
    **{name: (lambda path=path: icon(path).encode()) for name, path in ICONS.items()},  # type: ignore[misc]
    **_documents(),
}


def make(folder: Path) -> list[Path]:
    """Writes the sources that are missing or of another version; returns all paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / ".sources"
    current = stamp.exists() and stamp.read_text() == VERSION
    paths = []
    for name, made in FILES.items():
        path = folder / name
        if not (current and path.exists()):
            draft = folder / f".{os.getpid()}.part"
            draft.write_bytes(made())
            draft.replace(path)
        paths.append(path)
    stamp.write_text(VERSION)
    return paths
