"""A change applied to the frames or layers that a call names (reference 3.0), and the canvas they lie on (3.2)."""

from __future__ import annotations

from collections.abc import Callable

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.language.values import Args, frame_numbers
from dservices.mediagen.picture.blending import indexed
from dservices.mediagen.picture.layers import chosen_layers, each_layer
from dservices.mediagen.picture.picture import (
    CMYK,
    CMYKA,
    Image,
    Picture,
    channels,
    filled,
    has_alpha,
    interpretation_of,
    mode_of,
    too_large,
)


def each(picture: Picture, args: Args, change: Callable[[Image], Image], *, draws: bool = False) -> Picture:
    """Applies a change to all frames, or to those that `frames` lists; to layers if the picture has some (3.0)."""
    picture = picture.decoded()
    chosen = chosen_frames(picture, args)
    if picture.layers or args.get("layers") is not None:
        if picture.layers:
            return each_layer(picture, args, change, draws=draws)
        chosen_layers(picture, args["layers"])  # a picture without layers is its own background layer
    images = [change(image) if chosen is None or n in chosen else image for n, image in enumerate(picture.images)]
    return picture.with_images(tuple(images))


def chosen_frames(picture: Picture, args: Args) -> set[int] | None:
    """Indexes of the frames that `frames` lists; None for all."""
    spans = args.get("frames")
    chosen = set(frame_numbers(spans, picture.frame_count)) if spans else None
    if spans and not chosen:
        raise Problem(
            422,
            "bad_parameter",
            f"frames: the picture has {picture.frame_count} frames",
            parameter="frames",
            expected=f"frames from 1 to {picture.frame_count}",
        )
    return chosen


def check_canvas(width: int, height: int) -> None:
    if width > limits.SIDE_MAX or height > limits.SIDE_MAX:
        raise Problem(
            422,
            "picture_too_large",
            f"a side may have at most {limits.SIDE_MAX} pixels, this would have {width} x {height}",
            expected=f"at most {limits.SIDE_MAX} pixels a side",
        )
    if width * height > limits.PIXELS_MAX:
        raise too_large()


def background(picture: Picture, image: Image, args: Args) -> list[int]:
    """Values for what lies beyond the picture: `padColor` or the background colour; alpha by `transparency` (3.2)."""
    mode = mode_of(image)
    named = args.get("padcolor")
    if named is None and args.get("padindex") is not None:
        named = indexed(picture, args["padindex"])
    if named is None:
        named = args.get("color")
    colour = named if named is not None else (picture.background if picture.background is not None else white_of(mode))
    values = channels(colour, mode)
    if not has_alpha(image):
        return values
    transparency = args.get("transparency")
    if transparency is not None:
        return [*values, 255 - transparency]
    return [*values, 255 if named is not None else 0]


def white_of(mode: str) -> int:
    return 0 if mode in (CMYK, CMYKA) else 0xFFFFFF


def embed(image: Image, left: int, top: int, width: int, height: int, values: list[int]) -> Image:
    """The image on a canvas at a place that may be negative."""
    mode = mode_of(image)
    if left >= width or top >= height or left + image.width <= 0 or top + image.height <= 0:
        return filled(width, height, values, interpretation_of(mode))
    placed = image.embed(left, top, width, height, extend="background", background=values)
    return placed.copy(interpretation=interpretation_of(mode))
