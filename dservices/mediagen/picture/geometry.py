"""Sizes and places, computed before any pixel is touched. Pure integers and floats in, integers out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dservices.mediagen.language.values import Size


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to lay a picture: mirrored left-right first, then turned clockwise by quarters."""

    quarters: int = 0
    mirrored: bool = False

    def then_turned(self, quarters: int) -> Turn:
        return Turn((self.quarters + quarters) % 4, self.mirrored)

    def then_mirrored(self, vertical: bool) -> Turn:
        """A mirror after a turn is the opposite turn after the mirror; top-bottom is left-right and a half turn."""
        return Turn((-self.quarters + (2 if vertical else 0)) % 4, not self.mirrored)

    @property
    def swaps_sides(self) -> bool:
        return self.quarters % 2 == 1

    @property
    def is_nothing(self) -> bool:
        return self.quarters == 0 and not self.mirrored


EXIF_TURNS: Mapping[int, Turn] = {
    1: Turn(),
    2: Turn(0, True),
    3: Turn(2),
    4: Turn(2, True),
    5: Turn(3, True),
    6: Turn(1),
    7: Turn(1, True),
    8: Turn(3),
}
"""What an Exif orientation asks to be done so that the picture stands upright."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """The size of the scaled picture, and of the canvas it is put on (equal unless `constrain` pads)."""

    width: int
    height: int
    canvas_width: int
    canvas_height: int


def scaling(width: int, height: int, xs: Size | None, ys: Size | None, constrain: bool) -> Scaling:
    """Reference 3.2: omitted sizes keep the original; with `constrain` one size follows the ratio, two sizes pad."""
    wanted_x = xs.of(width) if xs is not None else None
    wanted_y = ys.of(height) if ys is not None else None
    if not constrain or (wanted_x is None and wanted_y is None):
        final_x, final_y = wanted_x or width, wanted_y or height
        return Scaling(final_x, final_y, final_x, final_y)
    if wanted_y is None:
        assert wanted_x is not None
        final_y = rounded(height * wanted_x / width)
        return Scaling(wanted_x, final_y, wanted_x, final_y)
    if wanted_x is None:
        final_x = rounded(width * wanted_y / height)
        return Scaling(final_x, wanted_y, final_x, wanted_y)
    if width * wanted_y >= height * wanted_x:
        return Scaling(wanted_x, min(wanted_y, rounded(height * wanted_x / width)), wanted_x, wanted_y)
    return Scaling(min(wanted_x, rounded(width * wanted_y / height)), wanted_y, wanted_x, wanted_y)


def rounded(value: float) -> int:
    """Whole pixels, at least one, half up."""
    return max(1, math.floor(value + 0.5))


def centred(outer: int, inner: int) -> int:
    """Where an inner length starts if it lies in the middle; an odd rest goes to the end."""
    return (outer - inner) // 2


_HANDLE_SHARE = {"left": 0.0, "top": 0.0, "center": 0.5, "middle": 0.5, "right": 1.0, "bottom": 1.0}


def placed(outer: int, inner: int, position: float | None, handle: str | None) -> int:
    """The start of an inner length: its handle is put at the position; without position it is centred (3.6)."""
    if position is None:
        if handle in ("left", "top"):
            return 0
        if handle in ("right", "bottom"):
            return outer - inner
        return centred(outer, inner)
    return math.floor(position - inner * _HANDLE_SHARE[handle or "center"] + 0.5)


def quarter_turns(angle: float) -> int | None:
    """0 to 3 for a multiple of 90 degrees (clockwise), else None."""
    quarters = angle / 90
    return int(quarters) % 4 if quarters == int(quarters) else None


def turned_bounds(width: int, height: int, angle: float) -> tuple[int, int]:
    """The smallest canvas that holds the turned picture."""
    radians = math.radians(angle)
    sine, cosine = abs(math.sin(radians)), abs(math.cos(radians))
    return rounded(width * cosine + height * sine - 1e-6), rounded(width * sine + height * cosine - 1e-6)


def perspective(corners: list[tuple[float, float]], width: int, height: int) -> list[float]:
    """The eight coefficients that map a point of the result back into the picture. ValueError if corners coincide."""
    source = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    rows: list[list[float]] = []
    for (u, v), (x, y) in zip(corners, source, strict=True):
        rows.append([u, v, 1, 0, 0, 0, -u * x, -v * x, x])
        rows.append([0, 0, 0, u, v, 1, -u * y, -v * y, y])
    size = 8
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        if abs(rows[pivot][column]) < 1e-12:
            raise ValueError("the four corners do not span an area")
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [rows[index][8] / rows[index][index] for index in range(size)]


def area(args: Mapping[str, Any], width: int, height: int) -> tuple[int, int, int, int]:
    """left, top, width, height of a crop or pad: omitted sizes are the picture's, omitted places centre (3.10)."""
    xs = args["xs"].of(width) if args["xs"] is not None else width
    ys = args["ys"].of(height) if args["ys"] is not None else height
    left = math.floor(args["x"] + 0.5) if args["x"] is not None else centred(width, xs)
    top = math.floor(args["y"] + 0.5) if args["y"] is not None else centred(height, ys)
    return left, top, xs, ys
