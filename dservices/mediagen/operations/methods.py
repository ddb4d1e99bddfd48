"""The table from method names to what carries them out. Every method of the catalogue is in exactly one of the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.formats import metadata, profiles
from dservices.mediagen.language.values import Args
from dservices.mediagen.operations import (
    colours,
    compositing,
    describing,
    filters,
    layering,
    lettering,
    palettes,
    shapes,
    transforms,
)
from dservices.mediagen.operations.host_port import Host
from dservices.mediagen.picture.frames import check_canvas, each
from dservices.mediagen.picture.layers import layer_at, layers_of, seen
from dservices.mediagen.picture.picture import (
    CMYK,
    CMYKA,
    RGB,
    RGBA,
    STORED_AS,
    Picture,
    channels,
    colour_number,
    filled,
    interpretation_of,
)

Transform = Callable[[Host, Picture, Args], Picture]
Query = Callable[[Host, Picture, Args], Any]


def make_canvas(host: Host, picture: Picture, args: Args) -> Picture:
    check_canvas(args["xs"], args["ys"])
    mode = STORED_AS.get(args["rtype"], args["rtype"])
    colour = args["fillcolor"]
    if colour is None:
        colour = 0 if mode in (CMYK, CMYKA) else 0xFFFFFF
    values = colours.in_bits(channels(colour, mode), args["rtype"])
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
    if source is not None:
        source = profiles.in_colours_of(picture, source)
    return compositing.composite(picture, source, args)


def _alike(host: Host, picture: Picture, args: Args) -> Picture:
    """The Media that becomes a part of the picture, in its colours; what is still empty takes on those of its first."""
    media = host.picture(args["media"])
    return profiles.in_colours_of(picture, media) if picture.images or picture.undecoded is not None else media


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


def select(host: Host, picture: Picture, args: Args) -> Picture:
    if args["layers"] is not None:
        looked = seen(picture, args["layers"])
        if not args["remove"]:
            return replace(picture.decoded(), selection=select(host, looked, {**args, "layers": None}).selection)
    mask = host.picture(args["source"]) if args["source"] is not None else None
    if mask is None and args["name"] is not None:
        mask = host.load_named(args["name"])
    return filters.selection(picture, mask, args)


def set_metadata(host: Host, picture: Picture, args: Args) -> Picture:
    kind = _metadata_kind(args["name"])
    document = args["document"]
    text = document.get("v") if isinstance(document, Mapping) and document.get("$") == "xml" else document
    if not isinstance(text, str):
        raise Problem(
            422,
            "bad_parameter",
            "setMetadata: expected an XML document",
            parameter="document",
            expected="an XmlDocument, IPTCMetadata, ExifMetadata or XML text",
        )
    return replace(picture, metadata={**picture.metadata, kind: metadata.block_of(kind, text)})


def _metadata_kind(name: str) -> str:
    if name not in ("Exif", "IPTC", "XMP"):  # names of metadata are case-sensitive (1.2)
        raise Problem(
            422, "bad_parameter", f"there is no metadata {name!r}", parameter="name", expected="Exif, IPTC or XMP"
        )
    return name


def _embedded_name(host: Host, picture: Picture, args: Args) -> str | None:
    return colours.profile_name(picture.profile) if picture.profile is not None else None


def _flip(host: Host, picture: Picture, args: Args) -> Picture:
    vertical = args["axis"] == "vertical"
    if args["frames"] is None and args["layers"] is None and not picture.layers:
        return picture.mirrored(vertical)
    return each(picture, args, lambda image: image.flipver() if vertical else image.fliphor())


def _plain(change: Callable[[Picture, Args], Picture]) -> Transform:
    return lambda host, picture, args: change(picture, args)


TRANSFORMS: dict[str, Transform] = {
    "makeCanvas": make_canvas,
    "makeText": lambda host, picture, args: lettering.make(picture, host.fonts, args),
    "scale": _plain(transforms.scale),
    "crop": _plain(transforms.crop),
    "pad": _plain(transforms.crop),
    "zoom": _plain(transforms.zoom),
    "rotate": _plain(transforms.rotate),
    "flip": _flip,
    "mirror": _flip,
    "quadWarp": _plain(transforms.quad_warp),
    "drawText": lambda host, picture, args: lettering.draw(picture, host.fonts, args),
    "composite": composite,
    "setResolution": set_resolution,
    "rectangle": _plain(shapes.rectangle),
    "ellipse": _plain(shapes.ellipse),
    "arc": _plain(shapes.arc),
    "polygon": _plain(shapes.polygon),
    "line": _plain(shapes.line),
    "setPixel": _plain(shapes.set_pixel),
    "gradient": _plain(shapes.gradient),
    "adjustRgb": _plain(colours.adjust_rgb),
    "adjustHsb": _plain(colours.adjust_hsb),
    "equalize": _plain(colours.equalize),
    "colorize": _plain(colours.colorize),
    "convert": _plain(colours.convert),
    "reduce": palettes.reduce,
    "setColor": _plain(palettes.set_color),
    "colorCorrect": colours.correct,
    "setSourceProfile": lambda host, picture, args: replace(
        picture, profile=colours.profile_of(host, args["sourceprofile"])
    ),
    "importChannel": lambda host, picture, args: colours.import_channel(picture, host.picture(args["source"]), args),
    "fixAlpha": _plain(colours.fix_alpha),
    "blur": _plain(filters.blur),
    "blurBlur": _plain(filters.light_blur),
    "blurMoreBlur": _plain(filters.more_blur),
    "blurGaussianBlur": _plain(filters.gaussian),
    "blurMotionBlur": _plain(filters.motion_blur),
    "noiseAddNoise": _plain(filters.add_noise),
    "otherHighPass": _plain(filters.high_pass),
    "otherMaximum": _plain(filters.maximum),
    "otherMinimum": _plain(filters.minimum),
    "pixellateMosaic": _plain(filters.mosaic),
    "pixellateFragment": _plain(filters.fragment),
    "sharpenSharpen": _plain(filters.sharpen),
    "sharpenSharpenMore": _plain(filters.sharpen_more),
    "sharpenUnsharpMask": _plain(filters.unsharp_mask),
    "stylizeDiffuse": _plain(filters.diffuse),
    "stylizeEmboss": _plain(filters.emboss),
    "stylizeFindEdges": _plain(filters.find_edges),
    "stylizeTraceContour": _plain(filters.trace_contour),
    "convolve": _plain(filters.convolve),
    "dropShadow": _plain(filters.drop_shadow),
    "glow": _plain(filters.glow),
    "selection": select,
    "collapse": _plain(layering.collapse),
    "setLayer": lambda host, picture, args: layering.set_layer(picture, _alike(host, picture, args), args),
    "setLayerBlend": lambda host, picture, args: layering.change_layer(picture, args["index"], blend=args["blend"]),
    "setLayerOpacity": lambda host, picture, args: layering.change_layer(
        picture, args["index"], opacity=args["opacity"]
    ),
    "setLayerVisible": lambda host, picture, args: layering.change_layer(
        picture, args["index"], visible=args["visible"]
    ),
    "setLayerPosition": lambda host, picture, args: layering.change_layer(
        picture, args["index"], x=int(args["x"]), y=int(args["y"])
    ),
    "setLayerName": lambda host, picture, args: layering.change_layer(picture, args["index"], name=args["name"]),
    "setFrame": lambda host, picture, args: layering.set_frame(picture, _alike(host, picture, args), args),
    "setFrameDelay": _plain(layering.set_delay),
    "setMetadata": set_metadata,
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
    "embeddedProfile": lambda host, picture, args: picture.profile is not None,
    "getEmbeddedProfileName": _embedded_name,
    "exportChannel": lambda host, picture, args: host.made(colours.export_channel(picture, args)),
    "getLayerCount": lambda host, picture, args: len(layers_of(picture)),
    "getLayer": lambda host, picture, args: host.made(Picture(images=(layer_at(picture, args["index"]).image,))),
    "getLayerName": lambda host, picture, args: layer_at(picture, args["index"]).name,
    "getFrame": lambda host, picture, args: host.made(layering.frame_at(picture, args["index"])),
    "getFrameDelay": lambda host, picture, args: layering.get_delay(picture, args),
    "getPalette": lambda host, picture, args: describing.palette(describing.looked_at(picture), args["colors"]),
    "getThumbHash": lambda host, picture, args: describing.thumb_hash_of(describing.looked_at(picture)),
    "getPerceptualHash": lambda host, picture, args: describing.perceptual_hash(describing.looked_at(picture)),
    "getInfo": describing.info,
    "getMetadata": lambda host, picture, args: _metadata_of(picture, args["name"]),
    "getPopularColor": lambda host, picture, args: palettes.popular(picture),
}


def _metadata_of(picture: Picture, name: str) -> dict[str, str] | None:
    text = metadata.document(_metadata_kind(name), picture.metadata.get(name))
    return None if text is None else {"$": "xml", "v": text}
