"""What a picture holds, as far as its encoders' time depends on it (G-8), guessed without a pixel. Pure.

How long a PNG or a lossless WebP takes varies thirtyfold with the content. Three numbers tell most of it, and all three
can be read off the bytes a source needs in its own format, whose quality and palette its head states:

* `rough`: bytes for a channel value when packed losslessly (PNG, filter and deflate): 0.01 for a chart, 0.6 for a
  photograph;
* `busy`: bytes for a channel value as a JPEG of quality 85: what a lossy encoder has to code;
* `rich`: the share in continuous tones rather than in few colours: looking for a palette, for GIF or inside lossless
  WebP, is quick where there are few.

Steps change them: a blur makes rough less, a reduction makes a photograph rougher (its spectrum falls with the
frequency), letters are smooth areas with hard edges. The curves are those of photographs, charts and pages encoded by
the very encoders that serve here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dservices.mediagen.estimator.headers import Facts

Curve = Sequence[tuple[float, float]]
_CODED: Curve = ((10, 0.15), (30, 0.32), (50, 0.45), (60, 0.53), (70, 0.64), (75, 0.71), (80, 0.82), (85, 1.0),
                 (90, 1.3), (93, 1.65), (95, 2.0), (98, 3.1), (100, 4.6))  # fmt: skip
"""Bytes of a JPEG by quality, those at 85 being 1."""
_ROUGH: Curve = ((0, 0), (0.01, 0.05), (0.02, 0.18), (0.035, 0.35), (0.05, 0.44), (0.07, 0.53), (0.095, 0.65),
                 (0.13, 0.71), (0.2, 0.78), (0.4, 0.95), (1, 1))  # fmt: skip
"""`rough` of photographs by `busy`."""
_WEBP_OF_JPEG = 0.5
_AVIF_OF_JPEG = 0.35
"""Bytes of the usual files in these formats beside a JPEG of quality 85."""
PHOTO_BUSY = 0.05
_GROWS = 0.2
"""A photograph that is made smaller by n has so much more in a pixel: n to this power."""


@dataclass(frozen=True, slots=True)
class Content:
    """See the module. All three from 0 to 1."""

    rough: float
    busy: float
    rich: float

    def mixed(self, other: Content, share: float) -> Content:
        """This with a share of its area taken by the other."""
        share = max(0.0, min(1.0, share))
        kept = 1 - share
        return Content(
            kept * self.rough + share * other.rough,
            kept * self.busy + share * other.busy,
            kept * self.rich + share * other.rich,
        )

    @property
    def tones(self) -> float:
        """`rich`, and dots of a palette that stand for tones."""
        return min(1.0, self.rich + (1 - self.rich) * max(0.0, min(1.0, (self.rough - 0.06) / 0.14)))


FLAT = Content(0.0, 0.0, 0.0)


def on_curve(curve: Curve, x: float) -> float:
    """Linear between the points, level beyond them."""
    at = bisect_right(curve, (x, float("inf")))
    if at == 0:
        return curve[0][1]
    if at == len(curve):
        return curve[-1][1]
    (left, low), (right, high) = curve[at - 1], curve[at]
    return low + (high - low) * (x - left) / (right - left)


def coded(quality: float) -> float:
    """Bytes of a lossy file of this quality beside one of quality 85."""
    return on_curve(_CODED, quality)


def photograph(busy: float = PHOTO_BUSY) -> Content:
    busy = min(1.0, busy)
    return Content(on_curve(_ROUGH, busy), busy, 1.0)


def graphic(rough: float, rich: float = 0.0) -> Content:
    """Areas and edges: what is coded are the edges, which a lossy encoder finds harder than deflate does."""
    return Content(min(1.0, rough), min(1.0, 0.004 + 1.6 * rough), rich)


def of_source(facts: Facts, dpi: float = 72.0) -> Content:
    """Of a source at its own size; a page at so many pixels an inch."""
    values = max(1, facts.width * facts.height * facts.frames * min(3, facts.bands))
    packed = facts.bytes / values
    match facts.kind:
        case "jpeg":
            size = coded(facts.quality or 85)
            size = size if size > 1 else size**0.6  # what a low quality has taken away does not come back
            made = photograph(packed / size * (0.55 if facts.bands == 1 else 1.0))
            return replace(made, rough=0.85 * made.rough)  # what the quality has taken away is smooth now
        case "webp" if not facts.lossless:
            between = 2.5 if facts.frames > 1 else 1.0  # only what moves is coded
            return photograph(between * packed / _WEBP_OF_JPEG)
        case "avif":
            return photograph(packed / _AVIF_OF_JPEG)
        case "png" | "webp":
            return _lossless(packed * (1.4 if facts.kind == "webp" else 1.0), facts.colours)
        case "gif":
            return _lossless(packed, facts.colours or 256)
        case "tiff" if facts.codec in ("lzw", "deflate"):
            return _lossless(packed * (0.9 if facts.codec == "lzw" else 1.0), 0)
        case "tiff" if facts.codec == "jpeg":
            return photograph(packed)
        case "pdf" | "svg":
            rough = min(0.12, 4.0 / max(20.0, dpi))
            page = Content(rough, rough, 0.05)
            return page.mixed(photograph(), min(0.9, facts.bytes / facts.frames / 250_000)) if facts.taken else page
    return photograph()


def _lossless(packed: float, colours: int) -> Content:
    """Out of what it needs when packed: below a tenth nobody has photographed it. Dots of a palette that stand for
    tones are hard edges."""
    if colours:
        return Content(min(1.0, packed), min(1.0, 0.004 + 0.5 * packed), 0.0)
    rich = max(0.0, min(1.0, (packed - 0.06) / 0.14))
    drawn = graphic(packed)
    taken = Content(packed, _busy_of(packed), 1.0)
    return drawn.mixed(taken, rich)


def _busy_of(rough: float) -> float:
    return on_curve([(y, x) for x, y in _ROUGH], rough)


def scaled(content: Content, factor: float) -> Content:
    """After a scale that makes it smaller by `factor` (larger, if that is below 1)."""
    if factor <= 1:
        return Content(content.rough * factor**0.7, content.busy * factor**0.9, max(content.rich, 1 - factor))
    rich = min(1.0, content.tones + min(0.3, 16 * content.rough))  # edges become tones
    grown = photograph(min(0.14, content.busy * factor**_GROWS) if content.busy < 0.14 else content.busy)
    edges = Content(min(0.4, content.rough * factor**0.8), min(0.3, content.busy * factor**0.8), 0.0)
    return replace(edges.mixed(grown, content.tones), rich=rich)


def in_palette(content: Content) -> Content:
    """With few colours: tones become areas."""
    return Content(content.rough * (1 - 0.6 * content.rich), content.busy, 0.0)


def letters(pixels: float) -> Content:
    """The box of a text whose letters are so high."""
    rough = min(0.12, 1.2 / max(1.0, pixels))
    return Content(rough, min(0.2, 1.6 * rough), 0.0)


def after(method: str, args: Mapping[str, Any], content: Content) -> Content:
    """After a filter."""
    rough, busy, rich = content.rough, content.busy, content.rich
    match method:
        case "blur" | "blurGaussianBlur":
            weaker = 1 / (1 + float(args["radius"]) * 0.5)
        case "blurBlur" | "blurMoreBlur" | "otherMaximum" | "otherMinimum":
            weaker = 0.6
        case "blurMotionBlur":
            weaker = 0.5
        case "pixellateMosaic":
            size = float(args["size"])
            return Content(rough / size, busy / size, rich * 0.5)
        case "noiseAddNoise":
            noise = min(1.0, float(args["amount"]) / 25)
            return content.mixed(Content(0.8, 0.2, 1.0), noise)
        case "sharpenSharpen" | "sharpenSharpenMore" | "sharpenUnsharpMask" | "stylizeDiffuse":
            return Content(min(1.0, rough * 1.1), min(1.0, busy * 1.3), rich)
        case "stylizeFindEdges" | "stylizeEmboss" | "stylizeTraceContour" | "otherHighPass":
            return Content(rough, busy, max(rich, 0.7))
        case _:
            return content
    return Content(rough * weaker, busy * weaker, max(rich, min(1.0, 20 * rough)))
