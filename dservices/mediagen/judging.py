"""What follows from what a verifier has seen (G-8): small decisions over numbers and bytes. Pure, but for the
arithmetic over small pictures that libvips does.

Every bound stands here with its reason. Bounds of sizes of differences were set by what honest results of the
benchmark's corpus show, with room above; a bound that is too wide misses a subtle change, one that is too narrow
accuses an honest miner, which is worse.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cgn_sdk.dservice.problems import Problem
from cgn_sdk.dservice.verdicts import Verdict

from dservices.mediagen import structure

FRAME_MS = 10
"""GIF counts in hundredths of a second, so each delay may be off by one of them."""
LASTING = frozenset(
    {
        "bad_parameter",
        "unknown_parameter",
        "unknown_method",
        "script_syntax",
        "script_no_function",
        "no_response",
        "color_space",
    }
)
"""Codes that follow from the request alone. Whatever depends on the world, or on pixels, accuses nobody."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: a word and a sentence."""

    reason: str
    detail: str

    def verdict(self, checks: Sequence[str]) -> Verdict:
        return Verdict("disagree", self.reason, self.detail, tuple(checks))


def refused(failure: Problem, status: int) -> Verdict:
    """The request is refused here: the claim has to be a refusal of the same status, if it is one that lasts."""
    if failure.code not in LASTING:
        return Verdict("cannot_tell", "unclear", f"here the request ends with {failure.code}")
    if status == failure.status:
        return Verdict("agree", checks=("refusal",))
    return Verdict("disagree", "status", f"the request is refused: {failure.code}", ("refusal",))


def frames(expected: int, found: int, expected_ms: int, found_ms: int) -> Finding | None:
    """Encoders join equal frames, so there may be fewer; the time they are shown stays."""
    if found > expected:
        return Finding("frames", f"it has {found} frames, not {expected}")
    if expected_ms and found > 1 and abs(found_ms - expected_ms) > FRAME_MS * expected:
        return Finding("frames", f"its frames last {found_ms} ms, not {expected_ms}")
    if not expected_ms and found != expected:
        return Finding("frames", f"it has {found} pages, not {expected}")
    return None


def same_start(encoded: bytes, result: bytes) -> Finding | None:
    """JPEG: the coded data of the upper rows are the first of the result's. The last two bytes are padded."""
    start, theirs = structure.jpeg_segments(encoded)[1], structure.jpeg_segments(result)[1]
    head = encoded[start : len(encoded) - 4]
    if result[theirs : theirs + len(head)] != head:
        return Finding("pixels", "its upper rows are not those of the request")
    return None


def same_rows(encoded: bytes, result: bytes, width: int, rows: int) -> Finding | None:
    """PNG: the filtered bytes of the upper rows are equal."""

    def unpacked(data: bytes, length: int) -> bytes:
        packed = b"".join(body for kind, body in structure.png_chunks(data) if kind == b"IDAT")
        return zlib.decompressobj().decompress(packed, length)

    try:
        ours = unpacked(encoded, 1 << 28)
        theirs = unpacked(result, len(ours))
    except zlib.error:
        return Finding("structure", "the file is broken: its data cannot be unpacked")
    return None if ours == theirs else Finding("pixels", "its upper rows are not those of the request")


def block_side(width: int, height: int) -> int:
    """Pixels a side of the blocks whose means are compared: small pictures get small ones."""
    least = min(width, height)
    return 8 if least >= 192 else 4 if least >= 48 else 2


def equal(difference: Any, alpha: bool) -> Finding | None:
    """A lossless result has the pixels of the request. With alpha, what is hidden may be off by rounding."""
    worst = difference.max()
    if worst > (2 if alpha else 0):
        return Finding("pixels", f"pixels are off by up to {worst:g}")
    return None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of differences between means of blocks, in levels of 0 to 255."""

    floor: float
    """Anywhere."""
    slope: float
    """More, as a share of the range among the blocks around."""
    shift: float
    """Of the mean over everything, a channel."""


def bounds_of(kind: str, quality: int, exact: bool, size: int) -> Bounds:
    """What the encoder and, if not exact, the source at an eighth may do to honest results."""
    coarse_floor, coarse_slope = (0.0, 0.0) if exact else (14.0, 0.45)
    lossy = {"gif": 12.0, "webp": 9.0, "avif": 9.0}.get(kind, 6.0)
    lossy += max(0, 60 - quality) / 8 + (3.0 if size < 8 else 0.0)
    return Bounds(lossy + coarse_floor, 0.08 + coarse_slope, 1.5)


def blocks(means: Any, seen: Any, kind: str, quality: int, exact: bool, size: int) -> Finding | None:
    """Means of blocks of the expected picture and of the result."""
    score, shifts = measured(means, seen)
    bounds = bounds_of(kind, quality, exact, size)
    worst = (score[0] - score[1] * bounds.slope).max()
    if worst > bounds.floor:
        return Finding("pixels", f"somewhere it is off by {worst:.0f} levels more than encoding explains")
    shift = max(map(abs, shifts))
    if shift > bounds.shift:
        return Finding("colours", f"all of it is off by {shift:.1f} levels")
    return None


def measured(means: Any, seen: Any) -> tuple[tuple[Any, Any], list[float]]:
    """((largest difference of a block, range around it), mean difference of each channel)."""
    apart = seen.cast("float") - means.cast("float")
    wide = means.embed(1, 1, means.width + 2, means.height + 2, extend="copy")
    high = wide.rank(3, 3, 8).crop(1, 1, means.width, means.height)
    low = wide.rank(3, 3, 0).crop(1, 1, means.width, means.height)
    around = high.cast("float") - low.cast("float")
    shifts = [apart[band].avg() for band in range(apart.bands)]
    size = apart.abs()
    worst, span = size[0], around[0]
    for band in range(1, size.bands):
        worst = (worst > size[band]).ifthenelse(worst, size[band])
        span = (span > around[band]).ifthenelse(span, around[band])
    return (worst, span), shifts


LOSSES = {"jpeg": 1.08, "pdf": 1.08, "webp": 1.08, "avif": 1.08}
"""How much more an honest result may have lost in a part than that part encoded alone: JPEG codes blocks one by one,
the others share bits over the picture."""


LOSSES_MOVING = 1.35
"""The same for frames, of which an encoder may keep what the one before has."""


def losses(part: Any, again: Any, found: Any, kind: str, *, moves: bool = False) -> Finding | None:
    """Mean squares of what encoding has changed: in the part encoded alone, and in the result."""

    def loss(image: Any) -> float:
        apart = image.cast("float") - part.cast("float")
        return float((apart * apart).avg())

    alone, here = loss(again), loss(found)
    if here > (LOSSES_MOVING if moves else LOSSES[kind]) * alone + 0.3:
        return Finding("recompressed", f"it has lost {here / max(alone, 0.01):.1f} times what its encoding loses")
    return None
