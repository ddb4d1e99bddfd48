"""Putting one image on another (reference 3.6): places, alpha, blend modes.

The formulas are those of W3C Compositing and Blending Level 1, on 8-bit sRGB values as they are. Normal on RGB goes
through
libvips' own vectorised operator; the other modes are written out here as arithmetic over whole images. Only the area
under
the overlay is touched.
"""

from __future__ import annotations

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.language.values import Args
from dservices.mediagen.operations.colours import fix_alpha
from dservices.mediagen.picture import geometry
from dservices.mediagen.picture.blending import Ink, colour_of, coloured, put, selected, tiled
from dservices.mediagen.picture.frames import chosen_frames, each
from dservices.mediagen.picture.picture import (
    CMYK,
    CMYKA,
    GRAY,
    RGBA,
    Image,
    Picture,
    filled,
    first_bands,
    has_alpha,
    interpretation_of,
    mode_of,
    seen_as,
)

# -- blend modes --------------------------------------------------------------------------------------------------


# -- composite ----------------------------------------------------------------------------------------------------


def composite(picture: Picture, source: Picture | None, args: Args) -> Picture:
    """`source` onto `picture`, or with `onto` the other way round; without source a fill with `color`."""
    if source is None:
        if args["color"] is None and args["index"] is None:
            raise Problem(
                422,
                "bad_parameter",
                "composite needs a source, a name or a color",
                parameter="source",
                expected="source, name, color or index",
            )
        picture = picture.decoded()
        colour = colour_of(picture, args)
        mask = filled(picture.width, picture.height, [255], "b-w")
        return each(
            picture,
            args,
            lambda image: selected(
                picture, image, put(image, coloured(mask, colour, mode_of(image)), 0, 0, Ink.of(args))
            ),
            draws=True,
        )
    source, picture = source.decoded(), picture.decoded()
    if args["fixalpha"]:
        source = fix_alpha(source, {"color": None})
    if args["onto"]:
        source, picture = picture, source
    overlays = [_overlay(picture, image, args) for image in source.images]
    left = geometry.placed(picture.width, source.width, args["x"], args["handlex"])
    top = geometry.placed(picture.height, source.height, args["y"], args["handley"])
    # Frame by frame, the source's last one for the rest; every listed layer gets the first.
    frames = sorted(chosen_frames(picture, args) or range(picture.frame_count))
    counter = iter(frames if not picture.layers else [0] * len(picture.layers))

    def change(image: Image) -> Image:
        overlay = overlays[min(next(counter), len(overlays) - 1)]
        if args["tile"]:
            overlay, at_x, at_y = tiled(overlay, left, top, image.width, image.height), 0, 0
        else:
            at_x, at_y = left, top
        return selected(picture, image, put(image, overlay, at_x, at_y, Ink.of(args)))

    return each(picture, args, change, draws=True)


def _overlay(picture: Picture, image: Image, args: Args) -> Image:
    """The source with alpha, in the target's colour family; RGB and CMYK do not mix (3.6)."""
    target_inks, source_inks = picture.mode in (CMYK, CMYKA), mode_of(image) in (CMYK, CMYKA)
    if target_inks != source_inks:
        raise Problem(
            422,
            "color_space",
            "composite: RGB and CMYK pictures cannot be put on each other",
            parameter="source",
            expected="the same colour space on both sides: use colorCorrect first",
        )
    stencil = args["color"] is not None or args["index"] is not None
    if has_alpha(image) and not args["ignorealpha"] and not stencil:
        return image
    if mode_of(image) == GRAY:
        image = image.bandjoin([image, image]).copy(interpretation="srgb")
    count = 4 if source_inks else 3
    alpha = (
        image[count]
        if has_alpha(image) and not args["ignorealpha"]
        else filled(image.width, image.height, [255], "b-w")
    )
    if stencil:  # colourise: the source is a stencil of one colour
        return coloured(alpha, colour_of(picture, args), picture.mode)
    return seen_as(first_bands(image, count).bandjoin(alpha), interpretation_of(CMYKA if source_inks else RGBA))
