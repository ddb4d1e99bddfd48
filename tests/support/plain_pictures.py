"""Pictures as lists of lists of tuples, and what methods of MediaScript must do to them, in plain Python: the second
way by which conformance tests know what is right. Nothing here uses an imaging library."""

import itertools
import math
from collections.abc import Callable, Sequence

Pixel = tuple[int, ...]
Grid = list[list[Pixel]]
Inside = Callable[[float, float], bool]


def clip(value: float) -> int:
    return max(0, min(255, math.floor(value + 0.5)))


def each(g: Grid, change: Callable[[Pixel], Sequence[float]]) -> Grid:
    return [[tuple(clip(v) for v in change(pixel)) for pixel in row] for row in g]


def at(g: Grid, x: int, y: int) -> Pixel:
    """Edges repeat the outermost pixel."""
    return g[max(0, min(len(g) - 1, y))][max(0, min(len(g[0]) - 1, x))]


def luma(pixel: Pixel) -> int:
    return (299 * pixel[0] + 587 * pixel[1] + 114 * pixel[2] + 500) // 1000


def weighted(g: Grid, kernel: dict[tuple[int, int], float], offset: float = 0.0) -> list[list[tuple[float, ...]]]:
    """Sum of neighbours by weights, not rounded."""
    bands = range(len(g[0][0]))
    return [
        [tuple(sum(w * at(g, x + i, y + j)[n] for (i, j), w in kernel.items()) + offset for n in bands) for x in range(len(g[0]))]
        for y in range(len(g))
    ]  # fmt: skip


def rounded(g: list[list[tuple[float, ...]]]) -> Grid:
    return [[tuple(clip(v) for v in pixel) for pixel in row] for row in g]


def gaussian(sigma: float) -> dict[tuple[int, int], float]:
    """The bell cut off where it falls below a hundredth of its top, normalised."""
    reach = 0
    while math.exp(-((reach + 1) ** 2) / (2 * sigma**2)) >= 0.01:
        reach += 1
    line = {n: math.exp(-(n**2) / (2 * sigma**2)) for n in range(-reach, reach + 1)}
    total = sum(line.values())
    return {(i, j): a * b / total**2 for i, a in line.items() for j, b in line.items()}


def coverage(inside: Inside, width: int, height: int, parts: int = 16) -> list[list[float]]:
    """How much of each pixel lies inside, 0 to 1, by parts x parts points in it."""
    steps = [(n + 0.5) / parts for n in range(parts)]
    return [
        [sum(inside(x + i, y + j) for i in steps for j in steps) / parts**2 for x in range(width)]
        for y in range(height)
    ]


def near_segments(points: Sequence[tuple[float, float]], width: float) -> Inside:
    """Within half the stroke width of one of the segments, ends cut square."""

    def inside(x: float, y: float) -> bool:
        for (ax, ay), (bx, by) in itertools.pairwise(points):
            dx, dy = bx - ax, by - ay
            length = math.hypot(dx, dy)
            along = ((x - ax) * dx + (y - ay) * dy) / length
            apart = abs((x - ax) * dy - (y - ay) * dx) / length
            if 0 <= along <= length and apart <= width / 2:
                return True
        return False

    return inside


def differences(a: Grid, b: Grid) -> int:
    """The greatest difference of two values at the same place."""
    assert (len(a), len(a[0]), len(a[0][0])) == (len(b), len(b[0]), len(b[0][0])), (
        len(a),
        len(a[0]),
        len(b),
        len(b[0]),
    )
    return max(
        abs(v - w)
        for left, right in zip(a, b, strict=True)
        for p, q in zip(left, right, strict=True)
        for v, w in zip(p, q, strict=True)
    )


# -- colour -------------------------------------------------------------------------------------------------------


def lum(c: Sequence[float]) -> float:
    return 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2]


def sat(c: Sequence[float]) -> float:
    return max(c) - min(c)


def set_lum(c: Sequence[float], light: float) -> tuple[float, ...]:
    """W3C Compositing and Blending, SetLum and ClipColor."""
    c = tuple(v + light - lum(c) for v in c)
    low, high, mid = min(c), max(c), lum(c)
    if low < 0:
        c = tuple(mid + (v - mid) * mid / (mid - low) for v in c)
    if high > 1:
        c = tuple(mid + (v - mid) * (1 - mid) / (high - mid) for v in c)
    return c


def set_sat(c: Sequence[float], saturation: float) -> tuple[float, ...]:
    low, high = min(c), max(c)
    return tuple((v - low) * saturation / (high - low) if high > low else 0.0 for v in c)


def colorized(base: Pixel, colour: Pixel, saturation: int) -> list[float]:
    """Only the hue of the colour; `saturation` of 255 says how far its own saturation comes along (3.0)."""
    b, s = [v / 255 for v in base], [v / 255 for v in colour]
    mixed = sat(b) * (1 - saturation / 255) + sat(s) * saturation / 255
    return [v * 255 for v in set_lum(set_sat(s, mixed), lum(b))]
