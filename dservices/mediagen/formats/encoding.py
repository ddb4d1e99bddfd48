"""From a picture to bytes, always the same ones for the same picture (G-1): every encoder option that matters is
set.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pyvips
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.formats import apng, bmp, metadata, pdf, profiles, tga, tiff, wbmp, webp
from dservices.mediagen.formats.problems import mangled
from dservices.mediagen.formats.quality import QUALITY, flattened
from dservices.mediagen.language.values import frame_numbers
from dservices.mediagen.picture.picture import (
    CMYK,
    CMYKA,
    GRAY,
    RGB,
    RGBA,
    Image,
    Picture,
    as_rgb,
    has_alpha,
    mode_of,
)

CONTENT_TYPES: Mapping[str, str] = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "tiff": "image/tiff",
    "pdf": "application/pdf",
    "bmp": "image/bmp",
    "tga": "image/x-tga",
    "wbmp": "image/vnd.wap.wbmp",
}
SIDE_LIMITS = {"jpeg": 65_500, "webp": 16_383, "gif": 65_535, "avif": 16_384}
ANIMATED = ("gif", "webp", "png")


def default_type(picture: Picture) -> str:
    """JPEG for photographs, PNG where alpha would be lost, GIF for what moves."""
    if picture.delays:
        return "gif"
    return "png" if picture.mode in (RGBA, CMYKA) else "jpeg"


def type_of_name(name: str) -> str | None:
    suffix = name.partition("?")[0].rpartition(".")[2].lower()
    known = {"jpg": "jpeg", "jpe": "jpeg", "tif": "tiff", "apng": "png", "targa": "tga"}
    suffix = known.get(suffix, suffix)
    return suffix if suffix in CONTENT_TYPES else None


def encode(picture: Picture, options: Mapping[str, Any]) -> tuple[bytes, str]:
    """(bytes, content type). Problem 422 for what the format cannot hold or what turns out to be damaged."""
    kind = options["type"] or (type_of_name(options["name"]) if options["name"] else None) or default_type(picture)
    picture = _chosen(picture.decoded(once=_reads_once(kind, options)), options)
    limit = SIDE_LIMITS.get(kind, limits.SIDE_MAX)
    if picture.width > limit or picture.height > limit:
        raise Problem(
            422, "picture_too_large", f"{kind} holds at most {limit} pixels a side", expected=f"at most {limit} pixels"
        )
    if options["dpi"] is not None:
        picture = replace(picture, dpi=(options["dpi"], options["dpi"]))
    try:
        data = _ENCODERS[kind](_in_colours_of(kind, picture, options), options)
    except pyvips.Error as error:
        raise mangled("the source", picture.file_type or "picture", error) from None
    if len(data) > limits.OUTPUT_MAX_BYTES:
        raise Problem(422, "output_too_large", f"the result has more than {limits.OUTPUT_MAX_BYTES} bytes")
    return data, CONTENT_TYPES[kind]


INKS = ("jpeg", "tiff", "pdf")
"""Formats that hold CMYK."""


def _in_colours_of(kind: str, picture: Picture, options: Mapping[str, Any]) -> Picture:
    """The picture in colours that the format holds and that readers of the file will see: inks become light where there
    is no place for them, through their profile; other colours become sRGB unless they are sRGB, or their profile goes
    along, or nobody shall care (`embedProfile`)."""
    if picture.mode in (CMYK, CMYKA):
        if kind in INKS and options["embedprofile"] != "convert":
            return picture
    elif (
        picture.profile is None
        or options["embedprofile"] in (True, False)
        or profiles.space(picture.profile) != profiles.SPACES[picture.mode]
        or profiles.means_srgb(picture.profile)
    ):
        return picture
    images = [flattened(image, picture.background) if kind in INKS else image for image in picture.images]
    return replace(
        picture,
        images=tuple(profiles.on_screen(picture, image) for image in images),
        profile=profiles.built_in("srgb"),
    )


def _reads_once(kind: str, options: Mapping[str, Any]) -> bool:
    """Whether the encoder takes the lines from top to bottom one time, so that the picture need not be held whole."""
    return kind in ("jpeg", "webp") or (kind == "png" and not options["interlaced"] and options["colors"] is None)


def _chosen(picture: Picture, options: Mapping[str, Any]) -> Picture:
    if options["frames"] is not None:
        numbers = frame_numbers(options["frames"], picture.frame_count)
        if not numbers:
            raise Problem(
                422,
                "bad_parameter",
                f"save, frames: the picture has {picture.frame_count} frames",
                parameter="frames",
                expected=f"frames from 1 to {picture.frame_count}",
            )
        picture = replace(
            picture,
            images=tuple(picture.images[n] for n in numbers),
            delays=tuple(picture.delays[n] for n in numbers) if picture.delays else (),
        )
    if options["delay"] is not None:
        picture = replace(picture, delays=(options["delay"],) * len(picture.images))
    if options["loop"] is not None:
        picture = replace(picture, loop=options["loop"])
    return picture


def dressed(image: Image, picture: Picture, options: Mapping[str, Any]) -> Image:
    """The image with exactly the metadata it shall carry, and the resolution."""
    image = image.copy(xres=picture.dpi[0] / 25.4, yres=picture.dpi[1] / 25.4)
    for name in image.get_fields():
        if name.startswith(
            (
                "exif",
                "iptc",
                "xmp",
                "icc",
                "png-",
                "photoshop",
                "gif",
                "orientation",
                "delay",
                "loop",
                "n-pages",
                "page-",
                "palette",
                "heif",
                "webp",
                "background",
                "vips-",
                "jpeg",
                "bits-",
                "resolution",
                "interlaced",
            )
        ):
            image.remove(name)
    if options["savemetadata"]:
        for name, target in (("Exif", "exif-data"), ("IPTC", "iptc-data"), ("XMP", "xmp-data")):
            if (block := picture.metadata.get(name)) is not None:
                image.set_type(pyvips.GValue.blob_type, target, block)
    if _embeds(picture, options):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.profile)
    return image


def _keep(picture: Picture, options: Mapping[str, Any]) -> str:
    """The blocks to write. Naming them matters: with "all" libvips adds an Exif block of its own to every JPEG."""
    kept = [name.lower() for name in ("Exif", "XMP", "IPTC") if options["savemetadata"] and name in picture.metadata]
    if _embeds(picture, options):
        kept.append("icc")
    return ":".join(kept) or "none"


def _embeds(picture: Picture, options: Mapping[str, Any]) -> bool:
    """Only CMYK gets its profile without being asked (reference 3.1, save)."""
    embed = options["embedprofile"]
    asked = embed is True or (embed != False and picture.mode in (CMYK, CMYKA))  # noqa: E712 - a flag or a word
    return picture.profile is not None and asked


def _still(picture: Picture) -> Image:
    return picture.images[0]


def _jpeg(picture: Picture, options: Mapping[str, Any]) -> bytes:
    image = dressed(flattened(_still(picture), picture.background), picture, options)
    data = bytes(
        image.jpegsave_buffer(
            Q=options["quality"] or QUALITY["jpeg"],
            interlace=options["progressive"] or options["interlaced"],
            subsample_mode=options["subsampling"],
            keep=_keep(picture, options),
        )
    )
    across, down = (min(65_535, max(1, round(value))) for value in picture.dpi)
    if (across, down) == (72, 72) or data[2:4] == b"\xff\xe0":
        return data
    # libvips leaves the JFIF segment out, which is where JPEG has its resolution; 72 is what its absence means to us.
    return data[:2] + struct.pack(">HH5sHBHHBB", 0xFFE0, 16, b"JFIF", 0x101, 1, across, down, 0, 0) + data[2:]


def _png(picture: Picture, options: Mapping[str, Any]) -> bytes:
    if len(picture.images) > 1 and picture.delays:
        return apng.save_apng(picture, options)
    image = _for_screen(_still(picture))
    palette = bool(picture.palette) or options["colors"] is not None
    extra: dict[str, Any] = {}
    if palette:
        colours = options["colors"] or max(2, len(picture.palette))
        extra = {
            "palette": True,
            "Q": 100,
            "dither": (options["dither"] or 0) / 10,
            "bitdepth": _bit_depth(colours),
            "effort": 7,
        }
    dressed_image = dressed(image, picture, options)
    return bytes(
        dressed_image.pngsave_buffer(
            compression=options["level"],
            interlace=options["interlaced"],
            filter="all" if options["level"] > 6 else "sub",
            keep=_keep(picture, options),
            **extra,
        )
    )


def _bit_depth(colours: int) -> int:
    return next(bits for bits in (1, 2, 4, 8) if 2**bits >= colours)


def _for_screen(image: Image) -> Image:
    """RGB, RGBA or Gray: what PNG, GIF, WebP and AVIF hold."""
    return image if mode_of(image) == GRAY else as_rgb(image)


def _strip(picture: Picture, options: Mapping[str, Any], convert: Callable[[Image], Image]) -> Image:
    """Frames below each other with the fields that animated savers read; smaller frames are put in the upper left."""
    strip = picture.strip
    if strip is not None and strip.images is picture.images and picture.mode in (RGB, RGBA):
        return _as_strip(strip.open(), picture, options, picture.height, len(strip.images))
    images = [convert(image) for image in picture.images]
    width, height = max(image.width for image in images), max(image.height for image in images)
    same = []
    alpha = any(has_alpha(image) for image in images) or any((i.width, i.height) != (width, height) for i in images)
    for image in images:
        rgb = image
        if mode_of(rgb) == GRAY:
            rgb = rgb.bandjoin([rgb, rgb]).copy(interpretation="srgb")
        if alpha and not has_alpha(rgb):
            rgb = rgb.bandjoin(255)
        same.append(rgb if (rgb.width, rgb.height) == (width, height) else rgb.embed(0, 0, width, height))
    whole = Image.arrayjoin(same, across=1) if len(same) > 1 else same[0]
    return _as_strip(whole, picture, options, height, len(same))


def _as_strip(whole: Image, picture: Picture, options: Mapping[str, Any], height: int, count: int) -> Image:
    whole = dressed(whole, picture, options)
    if count > 1:
        whole.set_type(pyvips.GValue.gint_type, "page-height", height)
        delays = list(picture.delays) or [100] * count
        whole.set_type(pyvips.GValue.array_int_type, "delay", delays)
        whole.set_type(pyvips.GValue.gint_type, "loop", picture.loop)
    return whole


def _gif(picture: Picture, options: Mapping[str, Any]) -> bytes:
    strip = _strip(picture, options, _for_screen)
    colours = options["colors"] or (max(2, len(picture.palette)) if picture.palette else 256)
    return bytes(
        strip.gifsave_buffer(
            dither=(options["dither"] if options["dither"] is not None else (0 if picture.palette else 10)) / 10,
            effort=options["effort"] if options["effort"] not in (None, 0) else 7,
            bitdepth=max(1, (colours - 1).bit_length()),
            interlace=options["interlaced"],
            keep=_keep(picture, options),
        )
    )


def _webp(picture: Picture, options: Mapping[str, Any]) -> bytes:
    try:
        return webp.save(
            _strip(picture, options, _for_screen),
            quality=options["quality"] or QUALITY["webp"],
            lossless=options["lossless"],
            effort=min(6, options["effort"]) if options["effort"] is not None else 4,
            keep=_keep(picture, options),
        )
    except webp.NotWritten as error:
        raise mangled("the source", picture.file_type or "picture", error) from None


def _avif(picture: Picture, options: Mapping[str, Any]) -> bytes:
    image = dressed(_for_screen(_still(picture)), picture, options)
    return bytes(
        image.heifsave_buffer(
            compression="av1",
            Q=options["quality"] or QUALITY["avif"],
            lossless=options["lossless"],
            effort=options["effort"] if options["effort"] is not None else 2,
            keep=_keep(picture, options),
        )
    )


def _tiff(picture: Picture, options: Mapping[str, Any]) -> bytes:
    # libvips carries XMP into TIFF; Exif and IPTC are added to its file afterwards.
    blocks = picture.metadata if options["savemetadata"] else {}
    picture = replace(picture, metadata={name: blocks[name] for name in ("XMP",) if name in blocks})
    extra: dict[str, Any] = {"compression": options["compression"], "keep": "all"}
    if options["compression"] in ("jpeg", "webp"):
        extra["Q"] = options["quality"] or QUALITY["tiff"]
    if options["compression"] == "webp":
        extra["lossless"] = options["lossless"]
    if options["compression"] in ("lzw", "deflate"):
        extra["predictor"] = "horizontal"
    several = len(picture.images) > 1
    image = _strip(picture, options, as_rgb) if several else dressed(_still(picture), picture, options)
    data = bytes(image.tiffsave_buffer(**extra))
    if "Exif" not in blocks and "IPTC" not in blocks:
        return data
    return tiff.with_metadata(
        data,
        metadata.read_exif(blocks["Exif"]) if "Exif" in blocks else [],
        metadata.iim_of(blocks["IPTC"]) if "IPTC" in blocks else None,
    )


def _pdf(picture: Picture, options: Mapping[str, Any]) -> bytes:
    return pdf.write(picture, options)


def _bmp(picture: Picture, options: Mapping[str, Any]) -> bytes:
    return bmp.save(_for_screen(_still(picture)))


def _tga(picture: Picture, options: Mapping[str, Any]) -> bytes:
    return tga.save(_for_screen(_still(picture)))


def _wbmp(picture: Picture, options: Mapping[str, Any]) -> bytes:
    return wbmp.save(flattened(_for_screen(_still(picture)), picture.background))


_ENCODERS: dict[str, Callable[[Picture, Mapping[str, Any]], bytes]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _webp,
    "avif": _avif,
    "tiff": _tiff,
    "pdf": _pdf,
    "bmp": _bmp,
    "tga": _tga,
    "wbmp": _wbmp,
}
assert set(_ENCODERS) == set(CONTENT_TYPES)
