"""The terms of encoding a picture (G-8): which amounts of what, by format, options and content. Pure.

Where an encoder's time does not grow in proportion with a number that describes the content, the area is shared out
between two neighbouring points of that number (`points`), each with a coefficient of its own: a curve of straight
pieces that the calibration bends as it likes, downwards, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dservices.mediagen.estimator.contents import coded
from dservices.mediagen.estimator.sketch import Sketch
from dservices.mediagen.formats.quality import QUALITY
from dservices.mediagen.language.values import Args
from dservices.mediagen.picture.picture import CMYK, CMYKA

Amounts = list[tuple[str, float]]

_PACKED = (0.0, 0.05, 0.15, 0.4, 0.7)
"""Of `rough`, for deflate and its kind, whose search is longest half way between flat and noise."""
_TONES = (0.15, 0.5, 0.8)
"""Of `rough`, in continuous tones, for what looks for a palette or for repetitions."""
_EDGES = (0.0, 0.012, 0.035, 0.1)
"""Of `rough`, in few colours."""
_BITS = (0.0, 0.03, 0.1, 0.3)
"""Of `busy` at the quality asked for, for lossy encoders."""
_EFFORTS = {"webp": (0, 1, 2, 3, 4, 5, 6), "webp.lossless": (0, 2, 4, 6), "avif": (0, 2, 4, 6), "gif": (2, 7)}
"""Those that are calibrated."""


def points(name: str, amount: float, x: float, at: Sequence[float]) -> Amounts:
    """The amount, shared between the two points next to `x`; all of it at the last one beyond."""
    if x <= at[0]:
        return [(f"{name}.p{round(1000 * at[0])}", amount)]
    for low, high in pairwise(at):
        if x < high:
            share = (x - low) / (high - low)
            return [
                (f"{name}.p{round(1000 * low)}", amount * (1 - share)),
                (f"{name}.p{round(1000 * high)}", amount * share),
            ]
    return [(f"{name}.p{round(1000 * at[-1])}", amount)]


def efforts(name: str, effort: int) -> list[tuple[str, float]]:
    """(name with a calibrated effort, share) of what an effort is made up of."""
    known = _EFFORTS[name]
    if effort <= known[0]:
        return [(f"{name}.{known[0]}", 1.0)]
    for low, high in pairwise(known):
        if effort < high:
            share = 2 / 3 * (effort - low) / (high - low)  # the time grows by ratio: half way is less than the mean
            return [(f"{name}.{low}", 1 - share), (f"{name}.{high}", share)] if share else [(f"{name}.{low}", 1.0)]
    return [(f"{name}.{known[-1]}", 1.6 ** (effort - known[-1]))]


def palette(name: str, area: float, rough: float, rich: float, frames: int = 1) -> Amounts:
    """Of looking for few colours or for repetitions: quick where there are few already; where there are many, a part
    grows with their number, which grows slower than the area."""
    few, tones = area * (1 - rich), area * rich
    root = frames * (tones / frames) ** 0.5
    return [
        *points(f"{name}.few", few, rough, _EDGES),
        *points(f"{name}.rich", tones, rough, _TONES),
        *points(f"{name}.root", root, rough, _TONES[:2]),
        (f"{name}.few.root", frames * (few / frames) ** 0.5),
    ]


_FEWER = 0.45
"""Of the time that looking for 256 colours takes, where at most half as many are wanted."""


def _wanted(sketch: Sketch, args: Args) -> float:
    colours = args["colors"] or sketch.palette or 256
    return _FEWER if colours <= 128 else 1.0


def encoding(kind: str, sketch: Sketch, args: Args, moves: bool) -> Amounts:
    """Terms of the encoder alone; areas in millions of pixels, values in millions of channel values."""
    values, area, content = sketch.values, sketch.area, sketch.content
    rough, rich = content.rough * (0.8 if sketch.alpha else 1.0), content.rich  # alpha is mostly flat
    gray = sketch.bands == 1  # 256 colours at most, and two of three channels say nothing
    quality = args["quality"] or QUALITY.get(kind, 80)
    match kind:
        case "jpeg" | "pdf":
            return _jpeg(kind, sketch, args, quality)
        case "png" if moves and sketch.frames > 1:
            return [*points(f"save.png.{args['level']}", area * 4, rough, _PACKED), ("save.apng", area)]
        case "png" if sketch.palette or args["colors"] is not None:
            return palette("save.png.palette", area * _wanted(sketch, args), rough, 0.2 * rich if gray else rich)
        case "png":
            terms = points(f"save.png.{args['level']}", values, rough, _PACKED)
            return [*terms, *([("save.png.interlaced", values)] * args["interlaced"])]
        case "webp" if args["lossless"]:
            wanted = min(6, args["effort"]) if args["effort"] is not None else 4
            return [
                (name, amount * share)
                for each, share in efforts("webp.lossless", wanted)
                for name, amount in palette(f"save.{each}", area * (0.35 if gray else 1.0), rough, rich)
            ] + [(f"save.webp.alpha.{wanted}", area)] * sketch.alpha
        case "webp" | "avif":
            default, most = (4, 6) if kind == "webp" else (2, 9)
            wanted = min(most, args["effort"]) if args["effort"] is not None else default
            bits = content.busy * coded(100 if args["lossless"] else quality if kind == "webp" else quality + 25)
            return [
                (name, amount * share)
                for each, share in efforts(kind, wanted)
                for name, amount in points(f"save.{each}", area, bits, _BITS)
            ] + [(f"save.{kind}.alpha.{wanted}", area)] * sketch.alpha
        case "gif":
            wanted = args["effort"] if args["effort"] not in (None, 0) else 7
            return [
                (name, amount * share)
                for each, share in efforts("gif", wanted)
                for name, amount in palette(
                    f"save.{each}", area * _wanted(sketch, args), rough, 0.2 * rich if gray else rich, sketch.frames
                )
            ]
        case "tiff" if args["compression"] in ("lzw", "deflate"):
            return points(f"save.tiff.{args['compression']}", values, rough, _PACKED)
        case "tiff":
            return [(f"save.tiff.{args['compression']}", values)]
    return [(f"save.{kind}", values)]


def _jpeg(kind: str, sketch: Sketch, args: Args, quality: float) -> Amounts:
    full = args["subsampling"] == "off" or (args["subsampling"] == "auto" and (args["quality"] or 85) >= 90)
    slow = kind == "jpeg" and (args["progressive"] or args["interlaced"])
    name = f"save.jpeg{'.444' if full else ''}{'.progressive' if slow else ''}"
    bands = sketch.bands if sketch.mode in (CMYK, CMYKA) else min(3, sketch.bands)
    values = sketch.area * bands
    terms = [(name, values), (f"{name}.bits", values * sketch.content.busy * coded(quality))]
    return [*terms, ("flatten", sketch.area)] if sketch.alpha else terms
