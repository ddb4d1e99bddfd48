"""The table from method names to what carries them out. Every method of the catalogue is in exactly one of the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import compositing, lettering, shaping
from dservices.mediagen.picture import (
    CMYK,
    CMYKA,
    RGB,
    RGBA,
    Picture,
    channels,
    colour_number,
    filled,
    interpretation_of,
)
from dservices.mediagen.shaping import check_canvas

if TYPE_CHECKING:
    from dservices.mediagen.host import Host

Args = Mapping[str, Any]
Transform = Callable[["Host", Picture, Args], Picture]
Query = Callable[["Host", Picture, Args], Any]

STORED_AS = {"RGB-15": RGB, "RGB-16": RGB, "RGB-18": RGB, "RGBA-16": RGBA, "HSV-24": RGB, "HLS-24": RGB}
"""Packed and cylindrical formats of 5.2 are kept as 8 bits a channel, quantised where they have fewer."""


def make_canvas(host: Host, picture: Picture, args: Args) -> Picture:
    check_canvas(args["xs"], args["ys"])
    mode = STORED_AS.get(args["rtype"], args["rtype"])
    colour = args["fillcolor"]
    if colour is None:
        colour = 0 if mode in (CMYK, CMYKA) else 0xFFFFFF
    values = channels(colour, mode)
    if args["transparency"] is not None and mode == RGB:
        mode = RGBA
    if mode in (RGBA, CMYKA):
        values = [*values, 255 - (args["transparency"] or 0)]
    image = filled(args["xs"], args["ys"], values, interpretation_of(mode))
    return Picture(images=(image,), dpi=(args["dpi"], args["dpi"]))


def composite(host: Host, picture: Picture, args: Args) -> Picture:
    source = None
    if args["source"] is not None and args["name"] is not None:
        raise Problem(
            422, "bad_parameter", "composite: source or name, not both", parameter="name", expected="source or name"
        )
    if args["source"] is not None:
        source = host.picture(args["source"])
    elif args["name"] is not None:
        source = host.load_named(args["name"])
    return compositing.composite(picture, source, args)


def set_resolution(host: Host, picture: Picture, args: Args) -> Picture:
    both = args["dpi"]
    x, y = args["dpix"] or both, args["dpiy"] or both
    if x is None and y is None:
        raise Problem(
            422,
            "bad_parameter",
            "setResolution needs dpi, or dpiX and dpiY",
            parameter="dpi",
            expected="a number from 1 to 2400",
        )
    return replace(picture, dpi=(x or picture.dpi[0], y or picture.dpi[1]))


def get_pixel(host: Host, picture: Picture, args: Args) -> int:
    picture = picture.decoded()
    if args["x"] >= picture.width or args["y"] >= picture.height:
        raise Problem(
            422,
            "bad_parameter",
            "getPixel: the point lies outside the picture",
            parameter="x",
            expected=f"x below {picture.width}, y below {picture.height}",
        )
    image = picture.images[0]
    return colour_number(image.getpoint(args["x"], args["y"]), picture.mode)


def _flip(host: Host, picture: Picture, args: Args) -> Picture:
    vertical = args["axis"] == "vertical"
    if args["frames"] is None:
        return picture.mirrored(vertical)
    return shaping.each(picture, args, lambda image: image.flipver() if vertical else image.fliphor())


def _plain(change: Callable[[Picture, Args], Picture]) -> Transform:
    return lambda host, picture, args: change(picture, args)


TRANSFORMS: dict[str, Transform] = {
    "makeCanvas": make_canvas,
    "makeText": lambda host, picture, args: lettering.make(host.fonts, args),
    "scale": _plain(shaping.scale),
    "crop": _plain(shaping.crop),
    "pad": _plain(shaping.crop),
    "zoom": _plain(shaping.zoom),
    "rotate": _plain(shaping.rotate),
    "flip": _flip,
    "mirror": _flip,
    "quadWarp": _plain(shaping.quad_warp),
    "drawText": lambda host, picture, args: lettering.draw(picture, host.fonts, args),
    "composite": composite,
    "setResolution": set_resolution,
}
QUERIES: dict[str, Query] = {
    "clone": lambda host, picture, args: host.made(picture),
    "getWidth": lambda host, picture, args: picture.width,
    "getHeight": lambda host, picture, args: picture.height,
    "getPixelFormat": lambda host, picture, args: picture.mode,
    "getFrameCount": lambda host, picture, args: picture.frame_count,
    "getFileType": lambda host, picture, args: picture.file_type,
    "getResolution": lambda host, picture, args: picture.dpi[0],
    "getPixel": get_pixel,
    "measureText": lambda host, picture, args: lettering.offsets(host.fonts, picture if picture.images else None, args),
    "sizeText": lambda host, picture, args: lettering.size(host.fonts, picture if picture.images else None, args),
}
