"""Shapes (reference 3.3): outlines as SVG paths, rasterised by libvips' SVG renderer into a mask, put on like
any overlay.
"""

from __future__ import annotations

import math

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.language.values import Args
from dservices.mediagen.picture.blending import Ink, colour_of, coloured, put, selected
from dservices.mediagen.picture.frames import check_canvas, each
from dservices.mediagen.picture.picture import (
    GRAY,
    RGB,
    Image,
    Picture,
    channels,
    filled,
    has_alpha,
    interpretation_of,
    mode_of,
)

Box = tuple[float, float, float, float]


def _n(value: float) -> str:
    """A coordinate as SVG text; four decimals are finer than the rasteriser's grid."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def shape_mask(path: str, box: Box, args: Args, width: int, height: int) -> tuple[Image, int, int] | None:
    """(mask, left, top) of an SVG path within the picture; None if nothing of it is inside."""
    reach = 1.0 if args["fill"] else args["width"] * 2 + 1
    left, top = max(0, math.floor(box[0] - reach)), max(0, math.floor(box[1] - reach))
    right, bottom = min(width, math.ceil(box[2] + reach)), min(height, math.ceil(box[3] + reach))
    if left >= right or top >= bottom:
        return None
    paint = 'fill="#fff"' if args["fill"] else f'fill="none" stroke="#fff" stroke-width="{_n(args["width"])}"'
    edges = "" if args["smooth"] else ' shape-rendering="crispEdges"'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right - left}" height="{bottom - top}"'
        f' viewBox="{left} {top} {right - left} {bottom - top}"><path d="{path}" {paint}{edges}/></svg>'
    )
    mask = Image.svgload_buffer(svg.encode())[3].copy_memory().copy(interpretation="b-w")
    return mask, left, top


def _drawn(picture: Picture, args: Args, path: str, box: Box) -> Picture:
    picture = picture.decoded()
    placed = shape_mask(path, box, args, picture.width, picture.height)
    if placed is None:
        return picture
    mask, left, top = placed
    colour = colour_of(picture, args)

    def change(image: Image) -> Image:
        overlay = coloured(mask, colour, mode_of(image))
        return selected(picture, image, put(image, overlay, left, top, Ink.of(args)))

    return each(picture, args, change, draws=True)


def rectangle(picture: Picture, args: Args) -> Picture:
    x, y, xs, ys = args["x"], args["y"], args["xs"], args["ys"]
    corners = [(x, y), (x + xs, y), (x + xs, y + ys), (x, y + ys)]
    if args["angle"]:
        radians = math.radians(args["angle"])
        cx, cy, cosine, sine = x + xs / 2, y + ys / 2, math.cos(radians), math.sin(radians)
        corners = [
            (cx + (px - cx) * cosine - (py - cy) * sine, cy + (px - cx) * sine + (py - cy) * cosine)
            for px, py in corners
        ]
    return _drawn(picture, args, _path(corners) + "Z", _box(corners))


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _box(points: list[tuple[float, float]]) -> Box:
    return min(p[0] for p in points), min(p[1] for p in points), max(p[0] for p in points), max(p[1] for p in points)


def ellipse(picture: Picture, args: Args) -> Picture:
    x, y, rx, ry = args["x"], args["y"], args["rx"], args["ry"]
    arcs = f"A{_n(rx)} {_n(ry)} 0 1 1"
    path = f"M{_n(x - rx)} {_n(y)}{arcs} {_n(x + rx)} {_n(y)}{arcs} {_n(x - rx)} {_n(y)}Z"
    return _drawn(picture, args, path, (x - rx, y - ry, x + rx, y + ry))


def arc(picture: Picture, args: Args) -> Picture:
    """Angles in degrees, 0 to the right, growing clockwise as rotate does; filled it is a slice of a pie."""
    x, y, rx, ry = args["x"], args["y"], args["rx"], args["ry"]
    start, end = args["startangle"], args["endangle"]
    if abs(end - start) >= 360:
        return ellipse(picture, args)
    sweep = (end - start) % 360

    def point(angle: float) -> tuple[float, float]:
        radians = math.radians(angle)
        if args["warpangles"]:  # angles of the circle before it is pressed into an ellipse
            return x + rx * math.cos(radians), y + ry * math.sin(radians)
        direction = math.atan2(math.sin(radians) * rx, math.cos(radians) * ry)
        return x + rx * math.cos(direction), y + ry * math.sin(direction)

    (ax, ay), (bx, by) = point(start), point(start + sweep)
    large = 1 if sweep > 180 else 0
    path = f"M{_n(ax)} {_n(ay)}A{_n(rx)} {_n(ry)} 0 {large} 1 {_n(bx)} {_n(by)}"
    if args["fill"]:
        path += f"L{_n(x)} {_n(y)}Z"
    return _drawn(picture, args, path, (x - rx, y - ry, x + rx, y + ry))


def polygon(picture: Picture, args: Args) -> Picture:
    points = list(args["points"])
    closed = points[0] == points[-1] and len(points) > 2
    return _drawn(picture, args, _path(points) + ("Z" if closed or args["fill"] else ""), _box(points))


def line(picture: Picture, args: Args) -> Picture:
    points = [(args["x1"], args["y1"]), (args["x2"], args["y2"])]
    return _drawn(picture, {**args, "fill": False}, _path(points), _box(points))


def set_pixel(picture: Picture, args: Args) -> Picture:
    if args["x"] >= picture.width or args["y"] >= picture.height:
        raise Problem(
            422,
            "bad_parameter",
            "setPixel: the point lies outside the picture",
            parameter="x",
            expected=f"x below {picture.width}, y below {picture.height}",
        )

    def change(image: Image) -> Image:
        mode = mode_of(image)
        values = [*channels(args["color"], mode), *([255] if has_alpha(image) else [])]
        dot = filled(1, 1, values, interpretation_of(mode))
        return image.insert(dot, args["x"], args["y"]).copy(interpretation=interpretation_of(mode))

    return each(picture, args, change, draws=True)


def gradient(picture: Picture, args: Args) -> Picture:
    """Linear along `angle` (0: left to right, clockwise) across the whole picture, or radial from its centre to
    its corners.
    """
    made = not picture.images and picture.undecoded is None
    if made:
        if args["xs"] is None or args["ys"] is None:
            raise Problem(
                422, "bad_parameter", "gradient on an empty Media needs xs and ys", parameter="xs", expected="xs and ys"
            )
        check_canvas(args["xs"], args["ys"])
        picture = Picture(images=(filled(args["xs"], args["ys"], [0, 0, 0], "srgb"),))
    picture = picture.decoded()
    width, height = picture.width, picture.height
    at = Image.xyz(width, height).cast("double") + 0.5
    if args["style"] == "radial":
        reach = math.hypot(width, height) / 2
        share = ((at[0] - width / 2) ** 2 + (at[1] - height / 2) ** 2) ** 0.5 / reach
    else:
        radians = math.radians(args["angle"])
        cosine, sine = math.cos(radians), math.sin(radians)
        span = abs(width * cosine) + abs(height * sine)
        share = ((at[0] - width / 2) * cosine + (at[1] - height / 2) * sine) / span + 0.5
    share = (share < 0).ifthenelse(0, (share > 1).ifthenelse(1, share))

    def change(image: Image) -> Image:
        mode = mode_of(image)
        first, last = channels(args["startcolor"], mode), channels(args["endcolor"], mode)
        bands = [share * (b - a) + a for a, b in zip(first, last, strict=True)]
        mixed = (bands[0].bandjoin(bands[1:]) if len(bands) > 1 else bands[0]) + 0.500001
        plain = mixed.floor().cast("uchar").copy(interpretation=interpretation_of(mode))
        if has_alpha(image) or mode in (GRAY, RGB):
            overlay = plain if mode != GRAY else plain.bandjoin([plain, plain]).copy(interpretation="srgb")
            overlay = overlay.bandjoin(255).copy(interpretation=interpretation_of(mode if mode != GRAY else RGB))
            return selected(picture, image, put(image, overlay, 0, 0, Ink(opacity=args["opacity"])))
        return selected(
            picture,
            image,
            put(image, plain.bandjoin(255).copy(interpretation="cmyk"), 0, 0, Ink(opacity=args["opacity"])),
        )

    return each(picture, args, change, draws=True)
