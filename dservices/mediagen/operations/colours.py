"""Colour, tone and pixel formats (reference 3.4). Formulas are ours where the reference gives none, and stand
beside the code.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from dataclasses import replace

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.formats import profiles
from dservices.mediagen.language.values import Args
from dservices.mediagen.operations.host_port import Host
from dservices.mediagen.picture.blending import Ink, coloured, put, selected
from dservices.mediagen.picture.dither import bayer
from dservices.mediagen.picture.frames import each
from dservices.mediagen.picture.layers import seen
from dservices.mediagen.picture.picture import (
    CMYK,
    CMYKA,
    GRAY,
    RGB,
    RGBA,
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


def split(image: Image) -> tuple[Image, Image | None]:
    """(colour channels, alpha or None)."""
    if not has_alpha(image):
        return image, None
    return first_bands(image, image.bands - 1).copy(interpretation=image.interpretation), image[image.bands - 1]


def joined(colours: Image, alpha: Image | None) -> Image:
    return colours if alpha is None else colours.bandjoin(alpha).copy(interpretation=colours.interpretation)


def through(picture: Picture, args: Args, change: Callable[[Image], Image]) -> Picture:
    """`each`, restricted by the active selection (3.0); alpha stays as it is."""

    def restricted(image: Image) -> Image:
        colours, alpha = split(image)
        changed = change(colours).copy(interpretation=image.interpretation)
        return selected(picture, image, joined(changed, alpha))

    return each(picture, args, restricted)


def table(functions: list[Callable[[int], float]]) -> Image:
    """A lookup table out of one function of 0..255 for each channel; rounded half up, clipped."""
    rows = [
        [max(0, min(255, int(function(value) + 0.5) if function(value) > 0 else 0)) for value in range(256)]
        for function in functions
    ]
    packed = bytes(row[value] for value in range(256) for row in rows)
    return Image.new_from_memory(packed, 256, 1, len(rows), "uchar")


def mapped(image: Image, functions: list[Callable[[int], float]]) -> Image:
    return image.maplut(table(functions)).copy(interpretation=image.interpretation)


def adjust_rgb(picture: Picture, args: Args) -> Picture:
    """v' = (v - 128)·f + 128 + brightness + channel, f = 259(c + 255) / (255(259 - c)); then `noClip`, then `invert`.

    On CMYK the light is adjusted, and ink is its absence.
    """
    contrast = args["contrast"]
    factor = 259 * (contrast + 255) / (255 * (259 - contrast))

    def plain(shift: float) -> Callable[[int], float]:
        def tone(value: int) -> float:
            return (value - 128) * factor + 128 + args["brightness"] + shift

        def fitted(value: int) -> float:
            low, high = tone(0), tone(255)
            if args["noclip"] and (low < 0 or high > 255):  # the whole range is kept, with less contrast
                bottom, top = max(0.0, min(low, 255.0)), max(0.0, min(high, 255.0))
                result = bottom + (tone(value) - low) * (top - bottom) / (high - low) if high > low else tone(value)
            else:
                result = max(0.0, min(255.0, tone(value)))
            return 255 - result if args["invert"] else result

        return fitted

    shifts = [plain(args["red"]), plain(args["green"]), plain(args["blue"])]

    def change(image: Image) -> Image:
        mode = mode_of(image)
        if mode == GRAY:
            return mapped(image, [plain(0)])
        if mode == CMYK:
            inks: list[Callable[[int], float]] = [lambda v, f=f: 255 - f(255 - v) for f in shifts]  # type: ignore[misc]
            return mapped(image, [*inks, lambda v: v])
        return mapped(image, shifts)

    return through(picture, args, change)


def _hsv(image: Image) -> tuple[Image, Image, Image]:
    """Hue in 0..6 sextants, saturation and value 0..255, as float images."""
    r, g, b = (image[band].cast("float") for band in range(3))
    high, low = r.maxpair(g).maxpair(b), r.minpair(g).minpair(b)
    spread = high - low
    safe = (spread > 0).ifthenelse(spread, 1)
    hue = (high == r).ifthenelse((g - b) / safe, (high == g).ifthenelse((b - r) / safe + 2, (r - g) / safe + 4))
    hue = (hue < 0).ifthenelse(hue + 6, hue)
    hue = (spread > 0).ifthenelse(hue, 0)
    saturation = (high > 0).ifthenelse(spread * 255 / (high > 0).ifthenelse(high, 1), 0)
    return hue, saturation, high


def _rgb_of_hsv(hue: Image, saturation: Image, value: Image) -> Image:
    """f(n) = v - v·s·max(0, min(k, 4 - k, 1)), k = (n + h) mod 6, for n = 5, 3, 1."""
    bands, part = [], value * (saturation / 255)
    for n in (5, 3, 1):
        k = (hue + n) % 6
        bands.append(value - part * k.minpair(4 - k).clamp(min=0, max=1))
    return _clipped(bands[0].bandjoin(bands[1:]))


def _clipped(image: Image) -> Image:
    return (image + 0.5).floor().cast("uchar").copy(interpretation="srgb")


def _clamp(image: Image, high: float = 255) -> Image:
    return image.clamp(min=0, max=high)


def adjust_hsb(picture: Picture, args: Args) -> Picture:
    """Hue turns by 360° · hue / 255; saturation and brightness are added."""

    def change(image: Image) -> Image:
        if mode_of(image) == GRAY:
            return mapped(image, [lambda v: v + args["brightness"]])
        if mode_of(image) == CMYK:
            raise _rgb_only("adjustHsb")
        hue, saturation, value = _hsv(image)
        hue = (hue + args["hue"] * 6 / 255 + 12) % 6
        return _rgb_of_hsv(hue, _clamp(saturation + args["saturation"]), _clamp(value + args["brightness"]))

    return through(picture, args, change)


def _rgb_only(method: str) -> Problem:
    return Problem(
        422,
        "color_space",
        f"{method} works on RGB and gray pictures",
        expected="an RGB picture: use colorCorrect first",
    )


def equalize(picture: Picture, args: Args) -> Picture:
    """Brightness by one curve for all channels, from the histogram of luma; saturation likewise from its own (3.4)."""

    def curve(histogram: list[float], percent: float) -> Callable[[int], float]:
        total = sum(histogram) or 1
        if percent < 0:  # histogram equalisation
            running, sums = 0.0, []
            for count in histogram:
                running += count
                sums.append(running)
            first = next(value for value in sums if value > 0)
            return lambda v: (sums[v] - first) * 255 / (total - first) if total > first else v
        outside = total * percent / 100
        low = _percentile(histogram, outside)
        high = 255 - _percentile(histogram[::-1], outside)
        return lambda v: (v - low) * 255 / (high - low) if high > low else v

    def change(image: Image) -> Image:
        if mode_of(image) == CMYK:
            raise _rgb_only("equalize")
        if args["brightness"] is not None:
            tone = curve(_histogram(as_gray(image)), args["brightness"])
            image = mapped(image, [tone] * image.bands)
        if args["saturation"] is not None and image.bands == 3:
            hue, saturation, value = _hsv(image)
            tone = curve(_histogram((saturation + 0.5).floor().cast("uchar")), args["saturation"])
            image = _rgb_of_hsv(hue, mapped((saturation + 0.5).floor().cast("uchar"), [tone]).cast("float"), value)
        return image

    return through(picture, args, change)


def words(image: Image) -> array[int]:
    """Memory of an image as 32-bit numbers (little-endian machines only, as all that libvips' wheels are for)."""
    return array("I", bytes(image.write_to_memory()))


def _histogram(image: Image) -> list[float]:
    return [float(value) for value in words(image.hist_find().cast("uint"))]


def _percentile(histogram: list[float], outside: float) -> int:
    running = 0.0
    for value, count in enumerate(histogram):
        running += count
        if running > outside:
            return value
    return 255


def colorize(picture: Picture, args: Args) -> Picture:
    def change(image: Image) -> Image:
        if mode_of(image) not in (RGB, GRAY):
            raise _rgb_only("colorize")
        mask = filled(image.width, image.height, [255], "b-w")
        rgb = as_rgb(image)
        result = put(
            rgb, coloured(mask, args["color"], RGB), 0, 0, Ink(blend="Colorize", saturation=args["saturation"])
        )
        return as_gray(result) if mode_of(image) == GRAY else result

    return through(picture, args, change)


_BITS = {"RGB-15": (5, 5, 5), "RGB-16": (5, 6, 5), "RGBA-16": (5, 5, 5), "RGB-18": (6, 6, 6)}


def _step(value: int, bits: int) -> float:
    return (value >> (8 - bits)) * 255 / (2**bits - 1)


def in_bits(values: list[int], rtype: str) -> list[int]:
    """Channel values as a packed pixel format keeps them (5.2)."""
    bits = _BITS.get(rtype)
    return values if bits is None else [int(_step(v, b) + 0.5) for v, b in zip(values, bits, strict=True)]


def _quantised(image: Image, bits: tuple[int, int, int], dither: float) -> Image:
    """Fewer bits a channel; with `dither` (tenths) up to a whole step is spread over a pattern of 4 x 4 first."""
    if dither:
        steps = [2.0 ** (8 - count) * dither / 10 for count in bits]
        noise = bayer(image.width, image.height) + 0.47  # 0 to 0.94 of a step: what is on a step stays there
        image = _clamp(image + noise.bandjoin([noise, noise]) * steps).cast("uchar").copy(interpretation="srgb")
    return mapped(image, [lambda v, b=b: _step(v, b) for b in bits])  # type: ignore[misc]


def convert(picture: Picture, args: Args) -> Picture:
    """Between Gray, RGB and RGBA, and CMYK and CMYKA; never between inks and light (use colorCorrect). 3.4, 5.2."""
    wanted = args["rtype"]

    def change(image: Image) -> Image:
        mode = mode_of(image)
        if (mode in (CMYK, CMYKA)) != (wanted in (CMYK, CMYKA)):
            raise Problem(
                422,
                "color_space",
                f"convert cannot go from {mode} to {wanted}",
                parameter="rtype",
                expected="colorCorrect",
            )
        if wanted == GRAY:
            return as_gray(image)
        if wanted in (RGBA, "RGBA-16", CMYKA):
            made = with_alpha(image)
            if not has_alpha(image) and picture.transparent and picture.background is not None:
                # The new alpha comes from the background colour if that is set transparent.
                values = channels(picture.background, mode_of(made))
                same = (made[0 : len(values)] == values).bandand()
                made = made[0 : len(values)].bandjoin(same.ifthenelse(0, 255).cast("uchar"))
                made = made.copy(interpretation=interpretation_of(wanted if wanted == CMYKA else RGBA))
        else:
            made = split(as_rgb(image) if wanted != CMYK else image)[0]
        if wanted in _BITS:
            colours, alpha = split(made)
            alpha = (alpha >= 128).cast("uchar") if alpha is not None else None
            fewer = _quantised(colours, _BITS[wanted], args["dither"])
            if args["preservebackground"] and args["dither"]:  # the background is not dithered
                ground = channels(picture.background if picture.background is not None else 0xFFFFFF, RGB)
                plain = _quantised(colours, _BITS[wanted], 0)
                fewer = (colours == ground).bandand().ifthenelse(plain, fewer).copy(interpretation="srgb")
            made = joined(fewer, alpha)
        return made

    return replace(each(picture, args, change), palette=())


def to_rgb(host: Host, picture: Picture) -> Picture:
    """loadAsRGB: through the embedded profile, else the default one (3.1)."""
    if picture.mode in (CMYK, CMYKA):
        return correct(
            host,
            picture,
            {"destprofile": "rgb", "sourceprofile": None, "intent": "Perceptual", "overrideembedded": False},
        )
    if picture.mode == GRAY:
        return each(picture, {}, as_rgb)
    return picture


# -- channels -----------------------------------------------------------------------------------------------------

_INKS = {"Cyan": 0, "Magenta": 1, "Yellow": 2, "Black": 3}
_LIGHTS = {"Red": 0, "Green": 1, "Blue": 2}


def _hls(image: Image) -> tuple[Image, Image, Image]:
    hue, saturation, high = _hsv(image)
    low = high - high * saturation / 255
    light = (high + low) / 2
    room = (light <= 127.5).ifthenelse(light * 2, 510 - light * 2)
    return hue, (room > 0).ifthenelse((high - low) * 255 / (room > 0).ifthenelse(room, 1), 0), light


def export_channel(picture: Picture, args: Args) -> Picture:
    name = args["channel"]

    def change(image: Image) -> Image:
        mode = mode_of(image)
        if name == "Alpha":
            return image[image.bands - 1] if has_alpha(image) else filled(image.width, image.height, [255], "b-w")
        if name in _INKS:
            if mode not in (CMYK, CMYKA):
                raise Problem(
                    422,
                    "color_space",
                    f"exportChannel: {mode} has no {name}",
                    parameter="channel",
                    expected="a CMYK picture",
                )
            return image[_INKS[name]]
        rgb = split(as_rgb(image))[0]
        if name in _LIGHTS:
            return rgb[_LIGHTS[name]]
        hue, saturation, value = _hsv(rgb) if not name.endswith("2") else _hls(rgb)
        band = {"H": hue * 42.5, "S": saturation, "B": value}[name[0]]
        return (band + 0.5).floor().cast("uchar")

    looked = seen(picture, args["layers"])
    made = each(looked, {}, lambda image: change(image).copy(interpretation="b-w"))
    return Picture(images=made.images, delays=made.delays, loop=made.loop, dpi=made.dpi)


def _read_as(image: Image, rtype: str | None) -> Image:
    """The source as one channel: its luma, of a packed format at that precision, or with Alpha-8 its alpha."""
    if rtype == "Alpha-8":
        return image[image.bands - 1] if has_alpha(image) else filled(image.width, image.height, [255], "b-w")
    if rtype in _BITS:
        return as_gray(_quantised(split(as_rgb(image))[0], _BITS[rtype], 0))
    return as_gray(image)


def import_channel(picture: Picture, source: Picture, args: Args) -> Picture:
    """Replaces a channel by the source read as gray; equal sizes; alpha into RGB makes it RGBA (3.4)."""
    name = args["channel"]
    picture, source = picture.decoded(), source.decoded()
    if (picture.width, picture.height) != (source.width, source.height):
        raise Problem(
            422,
            "bad_parameter",
            "importChannel: both pictures must have the same size",
            parameter="source",
            expected=f"{picture.width} x {picture.height} pixels",
        )
    channel = _read_as(source.images[0], args["rtype"])

    def change(image: Image) -> Image:
        mode = mode_of(image)
        if name == "Alpha":
            colours, _ = split(with_alpha(image))
            return colours.bandjoin(channel).copy(interpretation=colours.interpretation)
        colours, alpha = split(image)
        if name in _INKS:
            if mode not in (CMYK, CMYKA):
                raise Problem(
                    422,
                    "color_space",
                    f"importChannel: {mode} has no {name}",
                    parameter="channel",
                    expected="a CMYK picture",
                )
            bands = [colours[n] if n != _INKS[name] else channel for n in range(4)]
            return joined(bands[0].bandjoin(bands[1:]).copy(interpretation="cmyk"), alpha)
        rgb = as_rgb(colours)
        if name in _LIGHTS:
            bands = [rgb[n] if n != _LIGHTS[name] else channel for n in range(3)]
            return joined(bands[0].bandjoin(bands[1:]).copy(interpretation="srgb"), alpha)
        value = channel.cast("float")
        if name.endswith("2"):
            hue, saturation, light = _hls(rgb)
            parts = {"H": (value / 42.5, saturation, light), "S": (hue, value, light), "B": (hue, saturation, value)}[
                name[0]
            ]
            return joined(_rgb_of_hls(*parts), alpha)
        hue, saturation, high = _hsv(rgb)
        parts = {"H": (value / 42.5, saturation, high), "S": (hue, value, high), "B": (hue, saturation, value)}[name[0]]
        return joined(_rgb_of_hsv(*parts), alpha)

    return each(picture, args, change)


def _rgb_of_hls(hue: Image, saturation: Image, light: Image) -> Image:
    room = (light <= 127.5).ifthenelse(light * 2, 510 - light * 2)
    spread = saturation * room / 255
    high = light + spread / 2
    return _rgb_of_hsv(hue, (high > 0).ifthenelse(spread * 255 / (high > 0).ifthenelse(high, 1), 0), high)


def fix_alpha(picture: Picture, args: Args) -> Picture:
    """c' = (c - bg·(1 - a)) / a: takes out the background colour that was mixed into half-transparent pixels."""
    colour = args["color"] if args["color"] is not None else (picture.background or 0)

    def change(image: Image) -> Image:
        if not has_alpha(image):
            return image
        colours, alpha = split(image)
        assert alpha is not None
        share = alpha.cast("float") / 255
        ground = [float(value) for value in channels(colour, mode_of(image))]
        behind = (1 - share).bandjoin([1 - share] * (len(ground) - 1)) * ground
        safe = (share > 0).ifthenelse(share, 1)
        fixed = _clamp((colours.cast("float") - behind) / safe)
        return joined((fixed + 0.5).floor().cast("uchar").copy(interpretation=image.interpretation), alpha)

    return each(picture, args, change)


# -- profiles -----------------------------------------------------------------------------------------------------

BUILT_IN = {"rgb": "srgb", "srgb": "srgb", "cmyk": "cmyk", "p3": "p3", "displayp3": "p3", "display p3": "p3"}
_INTENTS = {
    "Perceptual": "perceptual",
    "RelativeColorimetric": "relative",
    "AbsoluteColorimetric": "absolute",
    "Saturation": "saturation",
}
PROFILE_MAX_BYTES = 8 << 20


def built_in(name: str) -> bytes | None:
    """A profile that libvips brings along, by MediaScript's name."""
    known = BUILT_IN.get(name.strip().lower().removesuffix(".icc").removesuffix(".icm"))
    return None if known is None else profiles.built_in(known)


def profile_of(host: Host, reference: str | int) -> bytes:
    if isinstance(reference, int):
        if reference not in host.profiles:
            raise Problem(422, "script_call", "the IccProfile is unknown")
        return host.profiles[reference]
    data = built_in(reference)
    if data is None:
        data = host.read(reference)
    return checked_profile(data)


def checked_profile(data: bytes) -> bytes:
    if not (
        132 <= len(data) <= PROFILE_MAX_BYTES
        and data[36:40] == b"acsp"
        and struct.unpack_from(">I", data)[0] <= len(data)
    ):
        raise Problem(422, "FileMangled", "this is no ICC profile", expected="an ICC profile of at most 8 MiB")
    return data


def profile_name(data: bytes) -> str:
    """The description tag (v2 `desc` or v4 `mluc`)."""
    block = profiles.tags(data).get(b"desc", b"")
    if block[:4] == b"desc" and len(block) >= 12:
        (length,) = struct.unpack_from(">I", block, 8)
        return block[12 : 12 + length].split(b"\0")[0].decode("ascii", "replace")
    if block[:4] == b"mluc" and len(block) >= 28:
        length, start = struct.unpack_from(">II", block, 20)
        return block[start : start + length].decode("utf-16-be", "replace").strip("\0")
    return ""


def correct(host: Host, picture: Picture, args: Args) -> Picture:
    """colorCorrect: source = embedded profile, else `sourceProfile`, else the default of the mode (3.4)."""
    picture = picture.decoded()
    target = profile_of(host, args["destprofile"])
    given = profile_of(host, args["sourceprofile"]) if args["sourceprofile"] is not None else None
    default = built_in("cmyk" if picture.mode in (CMYK, CMYKA) else "rgb")
    source = (
        (given or picture.profile or default) if args["overrideembedded"] else (picture.profile or given or default)
    )
    assert source is not None
    space = "CMYK" if picture.mode in (CMYK, CMYKA) else "RGB"
    if profiles.space(source) not in (space, "GRAY"):
        source = default
        assert source is not None
    if profiles.space(target) not in ("RGB", "CMYK", "GRAY"):
        raise Problem(
            422,
            "bad_parameter",
            f"colorCorrect: profiles of {profiles.space(target)} are not supported",
            parameter="destProfile",
            expected="an RGB, CMYK or gray profile",
        )

    with profiles.as_file(source) as source_file, profiles.as_file(target) as target_file:

        def change(image: Image) -> Image:
            colours, alpha = split(as_rgb(image) if mode_of(image) == GRAY else image)
            made = colours.icc_transform(
                target_file, input_profile=source_file, intent=_INTENTS[args["intent"]], embedded=False
            )
            made = made.cast("uchar").copy_memory()
            kind = {"CMYK": "cmyk", "GRAY": "b-w"}.get(profiles.space(target), "srgb")
            made = made.copy(interpretation=kind)
            if kind == "b-w" and alpha is not None:
                made, kind = as_rgb(made), "srgb"
            return joined(made.copy(interpretation=kind), alpha)

        return replace(each(picture, args, change), profile=target, background=None, foreground=None)
