"""Geometry over pixels (reference 3.2): scale, crop, pad, zoom, rotate, quadWarp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyvips
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.language.values import Args
from dservices.mediagen.picture import geometry
from dservices.mediagen.picture.blending import Ink, put
from dservices.mediagen.picture.frames import background, check_canvas, each, embed, white_of
from dservices.mediagen.picture.picture import (
    CMYK,
    GRAY,
    RGB,
    Image,
    Picture,
    channels,
    filled,
    has_alpha,
    interpretation_of,
    mode_of,
    turned,
    with_alpha,
)

KERNEL_REDUCES_MAX = 64
"""How many times smaller `Best` may make a side in one step; libvips refuses kernels of more than about 100 pixels."""
_ENLARGING = {"Fast": "linear", "Smooth": "cubic", "Best": "lanczos3", "OS": "lanczos3", "Outline": "nearest"}


def _needs_alpha(image: Image, args: Args) -> bool:
    return bool(args.get("transparency")) and not has_alpha(image) and mode_of(image) in (GRAY, RGB)


def resized(image: Image, width: int, height: int, alg: str) -> Image:
    """Exactly that size. Alpha is multiplied in before and divided out after, or edges would take the hidden colour."""
    if (image.width, image.height) == (width, height):
        return image
    mode = mode_of(image)
    if alg == "Outline" and mode != GRAY:
        alg = "Best"
    across, down = width / image.width, height / image.height
    kernel = _ENLARGING[alg] if across > 1 or down > 1 else ("nearest" if alg == "Outline" else "lanczos3")
    options: dict[str, Any] = {"vscale": down, "kernel": kernel}
    if alg == "Fast" and (across < 1 or down < 1):
        options["gap"] = 2.0
    elif alg in ("Best", "OS"):
        # The kernel alone, as long as libvips has one that wide; beyond it, boxes first.
        options["gap"] = 0.0 if min(across, down) > 1 / KERNEL_REDUCES_MAX else 4.0
    if has_alpha(image):
        work = _stretched(image.premultiply(), across, down, options).unpremultiply().rint().cast("uchar")
    else:
        work = _stretched(image, across, down, options)
    if (work.width, work.height) != (width, height):  # libvips rounds on its own; a missing line is repeated
        work = work.embed(0, 0, width, height, extend="copy")
    return work.copy(interpretation=interpretation_of(mode))


def _stretched(image: Image, across: float, down: float, options: Mapping[str, Any]) -> Image:
    """Smaller, or larger by the nearest pixel, by libvips' resize. Else larger by its affine transform, so that the
    middle of the picture stays the middle: resize measures from the middle of the first pixel, and what it enlarges
    comes out half a pixel too far right and down."""
    kernel = options["kernel"]
    if kernel == "nearest" or max(across, down) <= 1:
        return image.resize(across, **options)
    if min(across, down) < 1:
        image = image.resize(min(1, across), **{**options, "vscale": min(1, down)})
    across, down = max(1, across), max(1, down)
    size = [0, 0, geometry.rounded(image.width * across), geometry.rounded(image.height * down)]
    interpolate = pyvips.Interpolate.new("bilinear" if kernel == "linear" else "bicubic")
    middle = {"idx": 0.5, "idy": 0.5, "odx": -0.5, "ody": -0.5}
    return image.affine([across, 0, 0, down], interpolate=interpolate, oarea=size, extend="copy", **middle)


def scale(picture: Picture, args: Args) -> Picture:
    crop = [args[name] for name in ("x1", "y1", "x2", "y2")]
    if any(value is not None for value in crop):
        picture = _source_area(picture, args)
    target = geometry.scaling(picture.width, picture.height, args["xs"], args["ys"], args["constrain"])
    check_canvas(target.canvas_width, target.canvas_height)
    fills = (target.width, target.height) == (target.canvas_width, target.canvas_height)
    decoded = _decoded_to(picture, target.width, target.height, args)
    if decoded is not picture and fills and args["transparentcutoff"] < 0 and args.get("layers") is None:
        return decoded
    picture = decoded

    def change(image: Image) -> Image:
        if args["preservebackground"]:
            made = _apart(picture, image, target.width, target.height, args)
        else:
            made = resized(image, target.width, target.height, args["alg"])
        if args["transparentcutoff"] >= 0 and has_alpha(made):
            last = made.bands - 1
            hard = (made[last] > args["transparentcutoff"]).cast("uchar")
            made = made[0:last].bandjoin(hard).copy(interpretation=made.interpretation)
        return made

    picture = each(picture, args, change)
    if fills:
        return picture
    left = geometry.centred(target.canvas_width, target.width)
    top = geometry.centred(target.canvas_height, target.height)
    return _on_canvas(picture, args, -left, -top, target.canvas_width, target.canvas_height)


def _decoded_to(picture: Picture, width: int, height: int, args: Args) -> Picture:
    """The picture decoded to that size straight away, or rendered at it, where its source allows it."""
    undecoded = picture.undecoded
    if undecoded is None or undecoded.shrunk is None or args["frames"] is not None or args["preservebackground"]:
        return picture
    if (picture.width, picture.height) == (width, height):
        return picture
    if not undecoded.drawing and (
        args["alg"] not in ("Fast", "Smooth") or width > picture.width or height > picture.height
    ):
        return picture
    size = (height, width) if undecoded.turn.swaps_sides else (width, height)
    made = undecoded.shrunk(*size, args["alg"] == "Fast")
    return replace(picture, undecoded=replace(made, turn=undecoded.turn))


def _apart(picture: Picture, image: Image, width: int, height: int, args: Args) -> Image:
    """Object and background are not mixed: what has exactly the background colour is cut out before scaling; a pixel of
    the result takes the object's colour where it covers more than `preserveBackgroundCutoff` per cent, else the
    background's.
    """
    mode = mode_of(image)
    colour = picture.background if picture.background is not None else white_of(mode)
    values = channels(colour, mode)
    colours = image[0 : len(values)] if len(values) > 1 else image
    same = (colours == values).bandand() if len(values) > 1 else image == values[0]
    source = colours if mode != GRAY else image.bandjoin([image, image])
    kind = interpretation_of(mode)
    stencil = source.copy(interpretation=kind if mode != GRAY else "srgb").bandjoin(same.invert())
    stencil = stencil.copy(interpretation=kind if mode != GRAY else "srgb")
    made = resized(stencil, width, height, args["alg"])
    last = made.bands - 1
    objects = made[0] if mode == GRAY else made[0:last]
    # At half coverage an alpha of 127.5 counts as more than 50 per cent only from 128 on.
    chosen = (made[last] * 100.0 > args["preservebackgroundcutoff"] * 255).ifthenelse(objects, values)
    chosen = chosen.cast("uchar")
    if has_alpha(image):
        chosen = chosen.bandjoin(resized(image[image.bands - 1].copy(interpretation="b-w"), width, height, args["alg"]))
    return chosen.copy(interpretation=kind)


def _source_area(picture: Picture, args: Args) -> Picture:
    left, top = int(args["x1"] or 0), int(args["y1"] or 0)
    right = int(args["x2"]) if args["x2"] is not None else picture.width
    bottom = int(args["y2"]) if args["y2"] is not None else picture.height
    if not (0 <= left < right <= picture.width and 0 <= top < bottom <= picture.height):
        raise Problem(
            422,
            "bad_parameter",
            "scale, x1 y1 x2 y2: the source area must lie within the picture",
            parameter="x1",
            expected=f"0 <= x1 < x2 <= {picture.width} and 0 <= y1 < y2 <= {picture.height}",
        )
    return each(picture, args, lambda image: image.crop(left, top, right - left, bottom - top))


def _on_canvas(picture: Picture, args: Args, left: int, top: int, width: int, height: int) -> Picture:
    """The area (left, top, width, height) of the picture; what lies beyond it is padding."""
    check_canvas(width, height)

    def change(image: Image) -> Image:
        if left >= 0 and top >= 0 and left + width <= image.width and top + height <= image.height:
            return image.crop(left, top, width, height)
        if _needs_alpha(image, args):
            image = with_alpha(image)
        return embed(image, -left, -top, width, height, background(picture, image, args))

    return each(picture, args, change)


def crop(picture: Picture, args: Args) -> Picture:
    return _on_canvas(picture, args, *geometry.area(args, picture.width, picture.height))


def zoom(picture: Picture, args: Args) -> Picture:
    """A window of xs by ys (default: the picture's size) on the picture magnified by `scale`, centred at x, y of it."""
    factor = args["scale"] / 100
    xs = args["xs"].of(picture.width) if args["xs"] is not None else picture.width
    ys = args["ys"].of(picture.height) if args["ys"] is not None else picture.height
    check_canvas(xs, ys)
    centre_x = args["x"] if args["x"] is not None else picture.width / 2
    centre_y = args["y"] if args["y"] is not None else picture.height / 2
    # Only the part that is seen is magnified, with a margin for the kernel.
    left, top = centre_x - xs / factor / 2, centre_y - ys / factor / 2
    whole_left, whole_top = int(left // 1) - 4, int(top // 1) - 4
    width, height = int(xs / factor) + 10, int(ys / factor) + 10
    check_canvas(width, height)
    scaled_width, scaled_height = geometry.rounded(width * factor), geometry.rounded(height * factor)
    check_canvas(scaled_width, scaled_height)

    def change(image: Image) -> Image:
        if _needs_alpha(image, args):
            image = with_alpha(image)
        part = embed(image, -whole_left, -whole_top, width, height, background(picture, image, args))
        big = resized(part, scaled_width, scaled_height, args["alg"])
        offset_x = min(max(0, round((left - whole_left) * factor)), max(0, big.width - xs))
        offset_y = min(max(0, round((top - whole_top) * factor)), max(0, big.height - ys))
        return embed(big, -offset_x, -offset_y, xs, ys, background(picture, image, args))

    return each(picture, args, change)


def rotate(picture: Picture, args: Args) -> Picture:
    """Clockwise. Quarter turns move pixels; other angles interpolate and, with `resize`, enlarge the canvas (3.10)."""
    quarters = geometry.quarter_turns(args["angle"])
    sized = args["xs"] is not None or args["ys"] is not None
    plain = args["frames"] is None and args.get("layers") is None and not picture.layers
    if quarters is not None and args["resize"] and not sized and plain:
        return picture.turned(quarters)
    width, height = picture.width, picture.height
    bounds = geometry.turned_bounds(width, height, args["angle"]) if args["resize"] else (width, height)
    if sized:
        bounds = (
            args["xs"].of(bounds[0]) if args["xs"] is not None else bounds[0],
            args["ys"].of(bounds[1]) if args["ys"] is not None else bounds[1],
        )
    check_canvas(*bounds)

    def change(image: Image) -> Image:
        if _needs_alpha(image, args):
            image = with_alpha(image)
        values = background(picture, image, args)
        if quarters is not None:
            whole = turned(image, geometry.Turn(quarters))
        else:
            whole = _turned_freely(image, args["angle"], args["smooth"], values)
        left, top = geometry.centred(bounds[0], whole.width), geometry.centred(bounds[1], whole.height)
        return embed(whole, left, top, bounds[0], bounds[1], values)

    return each(picture, args, change)


def _turned_freely(image: Image, angle: float, smooth: bool, values: list[int]) -> Image:
    mode = mode_of(image)
    interpolate = pyvips.Interpolate.new("bilinear" if smooth else "nearest")
    if has_alpha(image):
        premultiplied = image.premultiply()
        alpha = values[-1]
        start = [value * alpha / 255 for value in values[:-1]] + [alpha]
        whole = premultiplied.similarity(angle=angle, interpolate=interpolate, background=start)
        whole = whole.unpremultiply().rint().cast("uchar")
    else:
        whole = image.similarity(angle=angle, interpolate=interpolate, background=values)
    width, height = geometry.turned_bounds(image.width, image.height, angle)
    if (whole.width, whole.height) != (width, height):
        left, top = geometry.centred(width, whole.width), geometry.centred(height, whole.height)
        whole = whole.embed(left, top, width, height, extend="background", background=values)
    return whole.copy(interpretation=interpretation_of(mode))


def quad_warp(picture: Picture, args: Args) -> Picture:
    """The picture's corners go to the four points; the canvas keeps its size."""
    corners = [(args[f"x{n}"], args[f"y{n}"]) for n in range(1, 5)]
    try:
        a, b, c, d, e, f, g, h = geometry.perspective(corners, picture.width, picture.height)
    except ValueError:
        raise Problem(
            422,
            "bad_parameter",
            "quadWarp: the four corners do not span an area",
            parameter="x1",
            expected="four corners of a quadrilateral",
        ) from None

    def change(image: Image) -> Image:
        mode = mode_of(image)
        source = with_alpha(image) if mode in (GRAY, RGB, CMYK) else image
        at = Image.xyz(image.width, image.height).cast("float") + 0.5
        x, y = at[0], at[1]
        depth = x * g + y * h + 1
        index = ((x * a + y * b + c) / depth - 0.5).bandjoin((x * d + y * e + f) / depth - 0.5)
        kernel = pyvips.Interpolate.new("bilinear" if args["smooth"] else "nearest")
        warped = source.premultiply().mapim(index, interpolate=kernel).unpremultiply().rint().cast("uchar")
        warped = warped.copy(interpretation=interpretation_of(mode_of(source)))
        if has_alpha(image) or _needs_alpha(image, args):
            values = background(picture, with_alpha(image), args)
            if not values[-1]:  # what is clear keeps the padding's colour, for those who look below alpha
                solid = filled(image.width, image.height, values, warped.interpretation)
                return (
                    (warped[warped.bands - 1] == 0).ifthenelse(solid, warped).copy(interpretation=solid.interpretation)
                )
            return put(filled(image.width, image.height, values, warped.interpretation), warped, 0, 0, Ink())
        flat = warped.flatten(background=background(picture, image, args)).cast("uchar")
        return (flat[0] if mode == GRAY else flat).copy(interpretation=interpretation_of(mode))

    return each(picture, args, change)
