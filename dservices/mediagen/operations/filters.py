"""Filters (reference 3.5). Their names follow the filter menu of a well-known picture editor, so does what they do; the
reference knows no parameters, so those here are ours. Edges repeat the outermost pixel. All respect
the selection (3.0)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.language.values import Args
from dservices.mediagen.operations.colours import _hsv, joined, split
from dservices.mediagen.picture import geometry
from dservices.mediagen.picture.blending import Ink, coloured, indexed, put, selected
from dservices.mediagen.picture.frames import check_canvas, each
from dservices.mediagen.picture.picture import (
    Image,
    Picture,
    as_gray,
    as_rgb,
    channels,
    filled,
    first_bands,
    has_alpha,
    interpretation_of,
    mode_of,
    with_alpha,
)

SHOWN_AROUND_MAX = 24
"""Pixels; hidden colours further away from visible ones count, though hardly, in filters that reach further."""
_BLUR = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
_SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
_SHARPEN_MORE = [[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]]


def _matrix(rows: list[list[float]], divisor: float = 1.0, offset: float = 0.0) -> Image:
    return Image.new_from_array(rows, divisor, offset)


def _bytes(image: Image) -> Image:
    return (image + 0.5).floor().cast("uchar")


def _shown_around(colours: Image, alpha: Image, reach: int) -> Image:
    """The colours with those that alpha hides replaced by the mean of what is to be seen within `reach`: a filter that
    looks at neighbours must not take in what nobody sees."""
    row, column = _matrix([[1] * (2 * reach + 1)]), _matrix([[1]] * (2 * reach + 1))
    weighted = (colours * alpha).bandjoin(alpha.cast("float"))
    sums = weighted.conv(row, precision="float").conv(column, precision="float")
    weight = sums[colours.bands]
    mean = first_bands(sums, colours.bands) / (weight > 0).ifthenelse(weight, 1)
    return (alpha > 0).ifthenelse(colours, _bytes(mean)).copy(interpretation=colours.interpretation)


def filtered(
    picture: Picture, args: Args, change: Callable[[Image], Image], *, alpha_too: bool = False, reach: float = 0
) -> Picture:
    """The change on the colour channels; with `alpha_too` on alpha as well, colours multiplied by it meanwhile. A
    change of colours alone that looks `reach` pixels far sees visible colours only."""

    def restricted(image: Image) -> Image:
        if alpha_too and has_alpha(image):
            done = _bytes(change(image.premultiply()).copy(interpretation=image.interpretation).unpremultiply())
            done = done.copy(interpretation=image.interpretation)
        else:
            colours, alpha = split(image)
            if alpha is not None and reach:
                colours = _shown_around(colours, alpha, min(math.ceil(reach), SHOWN_AROUND_MAX))
            done = change(colours)
            done = (done if done.format == "uchar" else _bytes(done)).copy(interpretation=image.interpretation)
            done = joined(done, alpha)
        return selected(picture, image, done)

    return each(picture, args, restricted)


def _conv(rows: list[list[float]], divisor: float) -> Callable[[Image], Image]:
    kernel = _matrix(rows, divisor)
    return lambda image: image.conv(kernel, precision="float")


def blur(picture: Picture, args: Args) -> Picture:
    """A box of 2·radius + 1 pixels a side."""
    size = 2 * int(args["radius"] + 0.5) + 1
    if size == 1:
        return picture.decoded()
    row, column = _matrix([[1] * size], size), _matrix([[1]] * size, size)
    return filtered(
        picture, args, lambda i: i.conv(row, precision="float").conv(column, precision="float"), alpha_too=True
    )


def gaussian(picture: Picture, args: Args) -> Picture:
    if args["radius"] < 0.1:
        return picture.decoded()
    return filtered(
        picture, args, lambda i: i.gaussblur(args["radius"], min_ampl=0.01, precision="float"), alpha_too=True
    )


def light_blur(picture: Picture, args: Args) -> Picture:
    return filtered(picture, args, _conv(_BLUR, 16), alpha_too=True)


def more_blur(picture: Picture, args: Args) -> Picture:
    once = _conv(_BLUR, 16)
    return filtered(picture, args, lambda i: once(once(once(i))), alpha_too=True)


def motion_blur(picture: Picture, args: Args) -> Picture:
    reach = max(1, int(args["distance"] + 0.5))
    radians = math.radians(args["angle"])
    points = {
        (round(math.cos(radians) * t), round(math.sin(radians) * t))
        for t in (n - (reach - 1) / 2 for n in range(reach))
    }
    side = max(max(abs(x), abs(y)) for x, y in points) * 2 + 1
    rows = [[1.0 if (x - side // 2, y - side // 2) in points else 0.0 for x in range(side)] for y in range(side)]
    return filtered(picture, args, _conv(rows, len(points)), alpha_too=True)


def add_noise(picture: Picture, args: Args) -> Picture:
    """`amount` in per cent; uniform, or normal with `gaussian`; the same noise each time (G-1)."""
    spread = args["amount"] * 2.55

    def noise(width: int, height: int, seed: int) -> Image:
        if args["gaussian"]:
            return Image.gaussnoise(width, height, mean=0, sigma=spread / 2, seed=seed)
        wide = Image.gaussnoise(width, height, mean=0, sigma=1000, seed=seed)
        return (wide - wide.floor() - 0.5) * (2 * spread)

    def change(image: Image) -> Image:
        count = 1 if args["grayscale"] else image.bands
        layers = [noise(image.width, image.height, args["seed"] + n) for n in range(count)]
        added = image + (layers[0] if len(layers) == 1 else layers[0].bandjoin(layers[1:]))
        return _bytes((added < 0).ifthenelse(0, added))

    return filtered(picture, args, change)


def high_pass(picture: Picture, args: Args) -> Picture:
    return filtered(
        picture,
        args,
        lambda i: i.cast("float") - i.gaussblur(args["radius"], min_ampl=0.01, precision="float") + 128,
        reach=3 * args["radius"],
    )


def _extreme(picture: Picture, args: Args, index: int) -> Picture:
    size = 2 * args["radius"] + 1
    last = size - 1

    def extreme(image: Image) -> Image:  # a square's extreme is that of its rows' extremes
        return image.rank(size, 1, last * index).rank(1, size, last * index)

    def change(image: Image) -> Image:
        colours, alpha = split(image)
        if alpha is None:
            return selected(picture, image, extreme(colours))
        # What nobody sees is no extreme: its place is taken by a value that every other one beats.
        shown = (alpha > 0).ifthenelse(colours, 0 if index else 255).copy(interpretation=colours.interpretation)
        return selected(picture, image, joined(extreme(shown), alpha))

    return each(picture, args, change)


def maximum(picture: Picture, args: Args) -> Picture:
    return _extreme(picture, args, 1)


def minimum(picture: Picture, args: Args) -> Picture:
    return _extreme(picture, args, 0)


def mosaic(picture: Picture, args: Args) -> Picture:
    size = args["size"]

    def change(image: Image) -> Image:
        across, down = -(-image.width // size), -(-image.height // size)
        whole = image.embed(0, 0, across * size, down * size, extend="copy")
        return whole.shrink(size, size).zoom(size, size).crop(0, 0, image.width, image.height)

    return filtered(picture, args, change, alpha_too=True) if size > 1 else picture.decoded()


def fragment(picture: Picture, args: Args) -> Picture:
    def change(image: Image) -> Image:
        wide = image.embed(4, 4, image.width + 8, image.height + 8, extend="copy").cast("float")
        copies = [wide.crop(x, y, image.width, image.height) for x, y in ((0, 0), (8, 0), (0, 8), (8, 8))]
        return (copies[0] + copies[1] + copies[2] + copies[3]) / 4

    return filtered(picture, args, change, alpha_too=True)


def sharpen(picture: Picture, args: Args) -> Picture:
    return filtered(picture, args, _positive(_conv(_SHARPEN, 1)), reach=1)


def sharpen_more(picture: Picture, args: Args) -> Picture:
    return filtered(picture, args, _positive(_conv(_SHARPEN_MORE, 1)), reach=1)


def _positive(change: Callable[[Image], Image]) -> Callable[[Image], Image]:
    def clipped(image: Image) -> Image:
        made = change(image)
        return _bytes((made < 0).ifthenelse(0, made))

    return clipped


def unsharp_mask(picture: Picture, args: Args) -> Picture:
    def change(image: Image) -> Image:
        detail = image.cast("float") - image.gaussblur(args["radius"], min_ampl=0.01, precision="float")
        if args["threshold"]:
            detail = (detail.abs() >= args["threshold"]).ifthenelse(detail, 0)
        return image + detail * (args["amount"] / 100)

    return filtered(picture, args, _positive(change), reach=3 * args["radius"])


def diffuse(picture: Picture, args: Args) -> Picture:
    """Each pixel takes one of its eight neighbours' place, the same one each time; lighten and darken keep the
    extreme.
    """

    def change(image: Image) -> Image:
        at = Image.xyz(image.width, image.height).cast("float")
        noise = [Image.gaussnoise(image.width, image.height, mean=0, sigma=1, seed=args["seed"] + n) for n in (0, 1)]
        shift = [(n < -0.5).ifthenelse(-1, (n > 0.5).ifthenelse(1, 0)) for n in noise]
        index = (at[0] + shift[0]).bandjoin(at[1] + shift[1])
        import pyvips

        moved = image.mapim(index, interpolate=pyvips.Interpolate.new("nearest"), extend="copy")
        if args["mode"] == "lighten":
            return (moved > image).ifthenelse(moved, image)
        if args["mode"] == "darken":
            return (moved < image).ifthenelse(moved, image)
        return moved

    return filtered(picture, args, change, reach=1)


def emboss(picture: Picture, args: Args) -> Picture:
    """Gray relief lit from `angle` (0: from the right, counter-clockwise as in the editor's dial)."""
    radians = math.radians(args["angle"])
    dx, dy = round(math.cos(radians) * args["height"]), -round(math.sin(radians) * args["height"])

    def change(image: Image) -> Image:
        reach = args["height"] + 1
        wide = image.embed(reach, reach, image.width + 2 * reach, image.height + 2 * reach, extend="copy").cast("float")
        lit = wide.crop(reach + dx, reach + dy, image.width, image.height)
        dark = wide.crop(reach - dx, reach - dy, image.width, image.height)
        return (lit - dark) * (args["amount"] / 100) + 128

    def gray(image: Image) -> Image:
        made = _positive(change)(as_gray(image) if image.bands == 3 else image)
        return made.bandjoin([made, made]) if image.bands == 3 else made

    return filtered(picture, args, gray, reach=args["height"])


def find_edges(picture: Picture, args: Args) -> Picture:
    def change(image: Image) -> Image:
        across = image.conv(_matrix([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]), precision="float")
        down = image.conv(_matrix([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]), precision="float")
        strength = (across * across + down * down) ** 0.5
        if args["threshold"]:
            strength = (strength >= args["threshold"]).ifthenelse(strength, 0)
        return 255 - (strength > 255).ifthenelse(255, strength)

    return filtered(picture, args, change, reach=1)


def trace_contour(picture: Picture, args: Args) -> Picture:
    def change(image: Image) -> Image:
        above = (image >= args["level"]).cast("float") / 255
        inner = above.rank(3, 3, 0 if args["edge"] == "upper" else 8)
        edge = above - inner if args["edge"] == "upper" else inner - above
        return 255 - edge * 255

    return filtered(picture, args, change, reach=1)


def convolve(picture: Picture, args: Args) -> Picture:
    side = {9: 3, 25: 5, 49: 7}[len(args["matrix"])]
    rows = [list(args["matrix"][n * side : (n + 1) * side]) for n in range(side)]
    divisor = args["divisor"] if args["divisor"] else (sum(args["matrix"]) or 1)
    kernel = _matrix(rows, divisor, args["offset"])
    blurs = min(args["matrix"]) >= 0 and divisor > 0 and not args["offset"]
    change = _conv(rows, divisor) if blurs else _positive(lambda i: i.conv(kernel, precision="float"))
    return filtered(picture, args, change, alpha_too=blurs, reach=side // 2)


def drop_shadow(picture: Picture, args: Args) -> Picture:
    return _behind(picture, args, args["dx"], args["dy"], 0)


def glow(picture: Picture, args: Args) -> Picture:
    return _behind(picture, args, 0, 0, args["size"])


def _behind(picture: Picture, args: Args, dx: float, dy: float, spread: float) -> Picture:
    """A blurred copy of the alpha in one colour, behind; with `enlarge` the canvas grows to hold it."""
    picture = picture.decoded()
    reach = math.ceil(args["blur"] * 3 + spread)
    left, top = (max(0, reach - math.floor(dx)), max(0, reach - math.floor(dy))) if args["enlarge"] else (0, 0)
    right, bottom = (max(0, reach + math.ceil(dx)), max(0, reach + math.ceil(dy))) if args["enlarge"] else (0, 0)
    width, height = picture.width + left + right, picture.height + top + bottom
    check_canvas(width, height)

    def change(image: Image) -> Image:
        image = with_alpha(image)
        mode = mode_of(image)
        last = image.bands - 1
        alpha = image[last].embed(left + math.floor(dx + 0.5), top + math.floor(dy + 0.5), width, height)
        if spread >= 1:
            size = 2 * int(spread) + 1
            alpha = alpha.rank(size, 1, size - 1).rank(1, size, size - 1)
        if args["blur"] >= 0.1:
            alpha = alpha.gaussblur(args["blur"], min_ampl=0.01)
        shade = coloured(alpha.cast("uchar"), args["color"], mode)
        ground = filled(width, height, [0] * image.bands, interpretation_of(mode))
        shadow = put(ground, shade, 0, 0, Ink(opacity=args["opacity"]))
        return put(shadow, image, left, top, Ink())

    return each(picture, args, change)


# -- selection ----------------------------------------------------------------------------------------------------

_HUES = {"Reds": 0, "Yellows": 60, "Greens": 120, "Cyans": 180, "Blues": 240, "Magentas": 300}


def selection(picture: Picture, mask: Picture | None, args: Args) -> Picture:
    """Replaces the active selection by a mask or by a range of the picture's own colours (3.6)."""
    picture = picture.decoded()
    if args["remove"]:
        return replace(picture, selection=None)
    image = picture.images[0]
    width, height = picture.width, picture.height
    if mask is not None:
        gray = as_gray(mask.decoded().images[0])
        left = int(args["x"]) if args["x"] is not None else geometry.centred(width, gray.width)
        top = int(args["y"]) if args["y"] is not None else geometry.centred(height, gray.height)
        chosen = gray.embed(left, top, width, height, extend="background", background=[args["fill"]])
    elif args["colortype"] is not None:
        chosen = _by_kind(image, args["colortype"])
    else:
        colour = args["color"]
        if args["index"] is not None:
            colour = indexed(picture, args["index"])
        if args["backcolor"]:
            colour = picture.background if picture.background is not None else 0xFFFFFF
        if colour is None:
            raise Problem(
                422,
                "bad_parameter",
                "selection needs a source, a color or a colorType",
                parameter="source",
                expected="source, name, color, index, backColor or colorType",
            )
        values = channels(colour, mode_of(image))
        same = image[0 : len(values)] == values
        chosen = same.bandand() if len(values) > 1 else same
    if args["invert"]:
        chosen = chosen.invert()
    if args["radius"] is not None:
        chosen = chosen.gaussblur(args["radius"] / 2, min_ampl=0.01)
    if args["opacity"] < 255:
        chosen = _bytes(chosen * (args["opacity"] / 255))
    return replace(picture, selection=chosen.cast("uchar").copy(interpretation="b-w"))


def _by_kind(image: Image, kind: str) -> Image:
    rgb = split(as_rgb(image))[0]
    if kind in _HUES:  # full at the hue, none 60 degrees away, weighted by saturation
        hue, saturation, _ = _hsv(rgb)
        apart = ((hue * 60 - _HUES[kind] + 540) % 360 - 180).abs()
        near = (apart < 60).ifthenelse(1 - apart / 60, 0)
        return _bytes(near * saturation)
    light = as_gray(rgb).cast("float")
    if kind == "Hilites":
        made = (light - 128) * 2
    elif kind == "Shadows":
        made = (127 - light) * 2
    else:
        made = 255 - (light - 127.5).abs() * 2
    return _bytes((made < 0).ifthenelse(0, (made > 255).ifthenelse(255, made)))
