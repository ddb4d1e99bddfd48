"""Few colours: `reduce`, palettes by name and from files, the most frequent colour, `setColor` (reference 3.4, 5.1)."""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.formats import profiles
from dservices.mediagen.language.values import Args
from dservices.mediagen.operations.colours import joined, split, words
from dservices.mediagen.operations.host_port import Host
from dservices.mediagen.picture.blending import indexed
from dservices.mediagen.picture.dither import bayer
from dservices.mediagen.picture.frames import chosen_frames, each
from dservices.mediagen.picture.layers import chosen_layers, seen
from dservices.mediagen.picture.picture import RGB, Image, Picture, as_rgb, channels

Weights = tuple[int, int, int]

PERCEIVED: Weights = (3, 6, 1)
"""How much a difference in red, green and blue counts: about as in luma. `noWarp` counts all alike."""
UNIQUE_MAX_PIXELS = 16_000_000
"""Beyond it single colours are not counted, only 5-bit cells of the colour cube."""
PALETTE_FILE_MAX_BYTES = 64 * 1024
_CUBE = tuple(r << 16 | g << 8 | b for r in range(0, 256, 51) for g in range(0, 256, 51) for b in range(0, 256, 51))
_WINDOWS_16 = """000000 800000 008000 808000 000080 800080 008080 C0C0C0
    808080 FF0000 00FF00 FFFF00 0000FF FF00FF 00FFFF FFFFFF"""
_MACINTOSH_16 = """FFFFFF FBF305 FF6403 DD0907 F20884 4700A5 0000D3 02ABEA
    1FB714 006412 562C05 90713A C0C0C0 808080 404040 000000"""
_RAMP = tuple(17 * step for step in (14, 13, 11, 10, 8, 7, 5, 4, 2, 1))
_GRAYS = (4, 8, 16, 32, 64, 128, 256)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(colour, 16) for colour in text.split())


def _windows_256() -> tuple[int, ...]:
    """The twenty colours that the system keeps, the colour cube, and grays between: what of it is there twice, once."""
    kept = (*_numbers(_WINDOWS_16), 0xC0DCC0, 0xA6CAF0, 0xFFFBF0, 0xA0A0A4)
    grays = tuple(value * 0x010101 for value in range(4, 256, 4))
    return tuple(dict.fromkeys((*kept, *_CUBE, *grays)))[:256]


def _macintosh_256() -> tuple[int, ...]:
    """The colour cube from white downwards without black, ramps of red, green, blue and gray, black."""
    ramps = (*(v << 16 for v in _RAMP), *(v << 8 for v in _RAMP), *_RAMP, *(v * 0x010101 for v in _RAMP))
    return (*_CUBE[:0:-1], *ramps, 0)


NAMED: Mapping[str, tuple[int, ...]] = {
    **{f"{count} grays": tuple(round(255 * n / (count - 1)) * 0x010101 for n in range(count)) for count in _GRAYS},
    "macintosh 16": _numbers(_MACINTOSH_16),
    "macintosh 256": _macintosh_256(),
    "windows 16": _numbers(_WINDOWS_16),
    "windows 256": _windows_256(),
    "netscape": _CUBE,
}
"""The palettes that the reference says are shipped; Windows 256 beyond its twenty fixed colours is ours."""


def reduce(host: Host, picture: Picture, args: Args) -> Picture:
    """To at most `colors` colours: as they are if there are no more, else by median cut; one palette for all frames and
    layers that are named (3.4).
    """
    picture = profiles.in_light(picture.decoded())
    wanted = [split(as_rgb(image))[0] for image in _named(picture, args)]
    kept = _background(picture) if args["preservebackground"] else None
    palette = _palette(host, args, wanted, kept)
    exact = _unique(wanted, len(palette))
    weights: Weights = (1, 1, 1) if args["nowarp"] else PERCEIVED
    free = tuple(colour for colour in palette if colour != kept) or palette
    nearest = None if exact is not None and exact <= set(palette) else _nearest(free, weights)

    def change(image: Image) -> Image:
        colours, alpha = split(as_rgb(image))
        made = colours if nearest is None else nearest(_dithered(colours, args["dither"], args["dithertop"]))
        if kept is not None:
            made = (colours == channels(kept, RGB)).bandand().ifthenelse(colours, made).copy(interpretation="srgb")
        if alpha is not None and args["usealpha"]:
            alpha = (alpha > args["alphacutoff"]).cast("uchar")
        return joined(made, alpha)

    made = each(picture, args, change)
    if args["pad"]:
        palette = (*palette, *((0,) * (args["colors"] - len(palette))))
    # On load of indexed pictures the background is index 0 and the foreground the last index (3.0).
    return replace(made, palette=palette, background=palette[0], foreground=palette[-1])


def _named(picture: Picture, args: Args) -> list[Image]:
    if picture.layers:
        chosen = chosen_layers(picture, args["layers"]) if args["layers"] is not None else None
        return [layer.image for n, layer in enumerate(picture.layers) if chosen is None or n in chosen]
    frames = chosen_frames(picture, args)
    return [image for n, image in enumerate(picture.images) if frames is None or n in frames]


def _background(picture: Picture) -> int:
    return picture.background if picture.background is not None else 0xFFFFFF


def _palette(host: Host, args: Args, images: list[Image], kept: int | None) -> tuple[int, ...]:
    """Ascending, or as the palette's file has it; the background colour that is kept comes first."""
    if args["name"] is not None:
        palette = _by_name(host, args["name"])
    elif args["bw"]:
        palette = (0, 0xFFFFFF)
    elif args["netscape"]:
        palette = _CUBE
    else:
        count = args["colors"]
        exact = _unique(images, count)
        if exact is not None:
            palette = tuple(sorted(exact))
        else:
            palette = median_cut(_cells(images), max(1, count - 1 if kept is not None else count))
    if kept is None:
        return palette
    return (kept, *(colour for colour in palette if colour != kept))[:256]


def _by_name(host: Host, name: str) -> tuple[int, ...]:
    known = NAMED.get(" ".join(name.lower().removesuffix(".pal").removesuffix(".act").split()))
    if known is not None:
        return known
    if not name.lower().partition("?")[0].endswith((".pal", ".act")):
        raise Problem(
            422,
            "bad_parameter",
            f"reduce: there is no palette {name!r}",
            parameter="name",
            expected="a .pal or .act file, or one of " + ", ".join(NAMED),
        )
    try:
        return palette_of(host.read(name))
    except (ValueError, struct.error):
        raise Problem(
            422,
            "FileMangled",
            "reduce: this is no palette of 1 to 256 colours",
            parameter="name",
            expected="JASC or RIFF .pal, or Adobe .act",
        ) from None


def palette_of(data: bytes) -> tuple[int, ...]:
    """The colours of a palette file: JASC-PAL (text), RIFF PAL, Adobe ACT. ValueError for anything else."""
    if len(data) > PALETTE_FILE_MAX_BYTES:
        raise ValueError("palette: too long")
    if data.startswith(b"JASC-PAL"):
        words = data.decode("ascii", "strict").split()[2:]
        count = int(words[0]) if words else 0
        values = [int(word) for word in words[1 : 1 + 3 * count]]
    elif data[:4] == b"RIFF" and data[8:16] == b"PAL data":
        (count,) = struct.unpack_from("<H", data, 22)
        values = [value for n in range(count) for value in struct.unpack_from("<BBB", data, 24 + 4 * n)]
    elif len(data) in (768, 772):
        count = (struct.unpack_from(">H", data, 768)[0] or 256) if len(data) == 772 else 256
        values = list(data[: 3 * count])
    else:
        raise ValueError("palette: unknown format")
    if not 1 <= count <= 256 or len(values) != 3 * count or not all(0 <= value <= 255 for value in values):
        raise ValueError("palette: impossible")
    return tuple(values[3 * n] << 16 | values[3 * n + 1] << 8 | values[3 * n + 2] for n in range(count))


def _packed(image: Image) -> array[int]:
    """The colour number of each pixel."""
    return words(image[2].bandjoin([image[1], image[0], image[0] * 0]).cast("uchar"))


def _unique(images: list[Image], most: int) -> set[int] | None:
    """All colours if they are at most `most`, else None."""
    if sum(image.width * image.height for image in images) > UNIQUE_MAX_PIXELS:
        return None
    found: set[int] = set()
    for image in images:
        numbers = _packed(image)
        for start in range(0, len(numbers), 65_536):
            found.update(numbers[start : start + 65_536])
            if len(found) > most:
                return None
    return found


Cell = tuple[int, int, int]


def _cells(images: list[Image]) -> dict[Cell, int]:
    """How many pixels lie in each cell of the colour cube, 32 steps a side."""
    cells: dict[Cell, int] = {}
    for image in images:
        # libvips' own histogram in three dimensions has bins of 256/31.
        numbers = words(_cell_numbers(image).hist_find().cast("uint"))
        for index, number in enumerate(numbers):
            if number:
                key = (index >> 10, index >> 5 & 31, index & 31)
                cells[key] = cells.get(key, 0) + number
    return cells


def _cell_numbers(image: Image) -> Image:
    index = (image[0] >> 3).cast("ushort") * 1024 + (image[1] >> 3).cast("ushort") * 32 + (image[2] >> 3)
    return index.cast("ushort")


def median_cut(cells: Mapping[Cell, int], count: int) -> tuple[int, ...]:
    """The box with the greatest product of longest side and pixels is cut at its median until there are `count` boxes;
    each gives the mean of its cells. Ascending colour numbers. Pure.
    """

    def measured(box: list[Cell]) -> tuple[int, int, int, list[Cell]]:
        spans = [max(values) - min(values) for values in zip(*box, strict=True)]
        longest = max(spans)
        return longest * sum(cells[c] for c in box), longest, spans.index(longest), box

    measures = [measured(sorted(cells))]
    while len(measures) < count:
        chosen = max(range(len(measures)), key=lambda n: (measures[n][0], -n))
        _, longest, axis, box = measures[chosen]
        if longest == 0:
            break
        del measures[chosen]
        box.sort(key=lambda c: (c[axis], c))
        half, running, cut = sum(cells[c] for c in box) / 2, 0, 1
        for position, cell in enumerate(box[:-1]):
            running += cells[cell]
            cut = position + 1
            if running >= half:
                break
        measures += [measured(box[:cut]), measured(box[cut:])]
    palette = []
    for *_, box in measures:
        weight = sum(cells[c] for c in box)
        mean = [int(sum(cells[c] * (c[axis] * 8 + 4) for c in box) / weight + 0.5) for axis in range(3)]
        palette.append(mean[0] << 16 | mean[1] << 8 | mean[2])
    return tuple(sorted(set(palette)))


def nearest_of_cells(colours: Sequence[tuple[int, int, int]], weights: Weights) -> bytes:
    """For each of the 32 x 32 x 32 cells of the colour cube (red slowest) the colour nearest to its middle; of equally
    near ones the first. Only what can be nearest somewhere in a block of 4 x 4 x 4 cells is looked at there. Pure.
    """
    count = range(len(colours))
    far = [
        [[weight * (c[axis] - (8 * n + 4)) ** 2 for c in colours] for n in range(32)]
        for axis, weight in enumerate(weights)
    ]
    # Least and greatest distance from each block's middles along each axis. Between them there may be a zero.
    least = [[[min(col) for col in zip(*rows[4 * b : 4 * b + 4], strict=True)] for b in range(8)] for rows in far]
    most = [[[max(col) for col in zip(*rows[4 * b : 4 * b + 4], strict=True)] for b in range(8)] for rows in far]
    chosen = bytearray(3 * 32_768)
    for block in range(512):
        i, j, k = block >> 6, block >> 3 & 7, block & 7
        bound = min(map(sum, zip(most[0][i], most[1][j], most[2][k], strict=True)))
        lows = zip(count, least[0][i], least[1][j], least[2][k], strict=True)
        near = [n for n, r, g, b in lows if r + g + b <= bound]
        for red in range(4 * i, 4 * i + 4):
            for green in range(4 * j, 4 * j + 4):
                both = [(far[0][red][n] + far[1][green][n], n) for n in near]
                for blue in range(4 * k, 4 * k + 4):
                    row = far[2][blue]
                    best = min([(apart + row[n], n) for apart, n in both])[1]
                    at = 3 * (red << 10 | green << 5 | blue)
                    chosen[at : at + 3] = bytes(colours[best])
    return bytes(chosen)


def _nearest(palette: Sequence[int], weights: Weights) -> Any:
    """A function from an RGB image to the same in the palette's nearest colours.

    Grays are exact (the nearest gray is that of the weighted mean); otherwise for each of 32,768 cells of the colour
    cube the colour nearest to its middle.
    """
    colours = [(c >> 16 & 255, c >> 8 & 255, c & 255) for c in palette]
    if all(r == g == b for r, g, b in colours):
        tones = sorted({r for r, _, _ in colours})
        table = bytes(min(tones, key=lambda tone: (abs(4 * tone - n), tone)) for n in range(1021))
        lut = Image.new_from_memory(table, 1021, 1, 1, "uchar")

        def gray(image: Image) -> Image:
            # The mean in quarters: no rounding decides between two grays.
            total = image[0] * weights[0] + image[1] * weights[1] + image[2] * weights[2]
            tone = (total * (4 / sum(weights))).rint().cast("ushort").maplut(lut)
            return tone.bandjoin([tone, tone]).copy(interpretation="srgb")

        return gray
    lut = Image.new_from_memory(nearest_of_cells(colours, weights), 32_768, 1, 3, "uchar")

    def mapped(image: Image) -> Image:
        return _cell_numbers(image).maplut(lut).copy(interpretation="srgb")

    return mapped


def _dithered(image: Image, dither: float, top: float) -> Image:
    """Ordered dithering by up to 32 steps of 255 either way; pixels brighter than `top` tenths stay as they are."""
    if not dither:
        return image
    noisy = image + bayer(image.width, image.height) * (dither * 6.4)
    noisy = (noisy < 0).ifthenelse(0, (noisy > 255).ifthenelse(255, noisy)).cast("uchar")
    if top >= 10:
        return noisy
    light = image[0] * 0.299 + image[1] * 0.587 + image[2] * 0.114
    return (light <= top * 25.5).ifthenelse(noisy, image)


def set_color(picture: Picture, args: Args) -> Picture:
    """`popular` takes the most frequent colour (in `layers`, if they are named) as the background."""
    background, foreground = args["backcolor"], args["forecolor"]
    if args["backindex"] is not None:
        background = indexed(picture, args["backindex"])
    if args["foreindex"] is not None:
        foreground = indexed(picture, args["foreindex"])
    if args["popular"]:
        background = popular(seen(picture, args["layers"]), precise=args["precise"])
    changes: dict[str, Any] = {}
    if background is not None:
        changes["background"] = background
    if foreground is not None:
        changes["foreground"] = foreground
    if args["transparency"] is not None:
        changes["transparent"] = args["transparency"]
    return replace(picture, **changes)


def popular(picture: Picture, *, precise: bool = True) -> int:
    """The most frequent colour; of equally frequent ones the smallest number. Not precise: of the most frequent cell
    of 8 x 8 x 8 neighbouring colours, so that the grain of a photograph's wall does not scatter the count.
    """
    image = split(as_rgb(profiles.in_light(picture.decoded()).images[0]))[0]
    if image.width * image.height > UNIQUE_MAX_PIXELS:
        image = image.resize(0.25, kernel="nearest").copy(interpretation="srgb")
    counts: dict[int, int] = Counter(_packed(image))
    if not precise:
        cells: dict[int, int] = {}
        for colour, count in counts.items():
            cells[colour & 0xF8F8F8] = cells.get(colour & 0xF8F8F8, 0) + count
        cell = min(cells, key=lambda number: (-cells[number], number))
        counts = {colour: count for colour, count in counts.items() if colour & 0xF8F8F8 == cell}
    return min(counts, key=lambda colour: (-counts[colour], colour))
