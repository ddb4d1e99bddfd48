"""Putting one image on another (reference 3.6): alpha and blend modes.

The formulas are those of W3C Compositing and Blending Level 1, on 8-bit sRGB values as they are. Normal on RGB goes
through libvips' own vectorised operator; the other modes are arithmetic over whole images. Only the area under the
overlay is touched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.language.values import Args
from dservices.mediagen.picture.picture import (
    CMYK,
    CMYKA,
    GRAY,
    RGB,
    RGBA,
    Image,
    Picture,
    as_gray,
    channels,
    filled,
    first_bands,
    has_alpha,
    interpretation_of,
    mode_of,
    seen_as,
)


@dataclass(frozen=True, slots=True)
class Ink:
    """How an overlay is put on: the shared parameters of 3.0."""

    blend: str = "Normal"
    opacity: int = 255
    saturation: int = 255
    preserve_alpha: bool = False
    unlock: int | None = None

    @classmethod
    def of(cls, args: Args) -> Ink:
        return cls(args["blend"], args["opacity"], args["saturation"], args["preservealpha"], args["unlock"])


def colour_of(picture: Picture, args: Args) -> int:
    """The drawing colour: `color`, `index` into the palette, else the foreground, else white (3.0)."""
    if args.get("color") is not None:
        return int(args["color"])
    if args.get("index") is not None:
        return indexed(picture, int(args["index"]))
    if picture.foreground is not None:
        return picture.foreground
    if picture.palette:
        return picture.palette[-1]
    return 0 if picture.mode in (CMYK, CMYKA) else 0xFFFFFF


def indexed(picture: Picture, index: int) -> int:
    if index >= len(picture.palette):
        has = f"a palette of {len(picture.palette)} colours" if picture.palette else "no palette (see reduce)"
        raise Problem(
            422,
            "bad_parameter",
            f"index: the picture has {has}",
            parameter="index",
            expected=f"an index below {len(picture.palette)}" if picture.palette else "color instead",
        )
    return picture.palette[index]


def coloured(mask: Image, colour: int, mode: str) -> Image:
    """A mask (0 to 255) as an overlay of one colour whose alpha is the mask."""
    target = CMYKA if mode in (CMYK, CMYKA) else RGBA
    values = channels(colour, CMYK if target == CMYKA else RGB)
    plain = filled(mask.width, mask.height, values, interpretation_of(target))
    return seen_as(plain.bandjoin(mask), interpretation_of(target))


def put(base: Image, overlay: Image, left: int, top: int, ink: Ink) -> Image:
    """`overlay` (with alpha) on `base` at a place; parts outside are cut off. The result has the base's mode."""
    base_size, overlay_size = (base.width, base.height), (overlay.width, overlay.height)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(base_size[0], left + overlay_size[0]), min(base_size[1], top + overlay_size[1])
    if x0 >= x1 or y0 >= y1:
        return base
    if (x0 - left, y0 - top, x1 - x0, y1 - y0) != (0, 0, *overlay_size):
        overlay = overlay.crop(x0 - left, y0 - top, x1 - x0, y1 - y0)
    whole = (x0, y0, x1, y1) == (0, 0, *base_size)
    part = base if whole else base.crop(x0, y0, x1 - x0, y1 - y0)
    blended = _blended(part, overlay, ink)
    if whole:
        return blended
    return seen_as(base.insert(blended, x0, y0), base.interpretation)


def _blended(base: Image, overlay: Image, ink: Ink) -> Image:
    mode = mode_of(base)
    if ink.opacity < 255:
        overlay = seen_as(overlay.maplut(_fading(ink.opacity, overlay.bands)), overlay.interpretation)
    if ink.unlock is not None:
        overlay = _only_where(base, overlay, ink.unlock)
    if mode == GRAY:
        rgb = base.bandjoin([base, base]).copy(interpretation="srgb")
        return as_gray(_blended(rgb, overlay, Ink(ink.blend, 255, ink.saturation)))
    if ink.blend in ("Normal", "Prenormal", "Under") and mode in (RGB, RGBA):
        result = base.composite2(overlay, "dest-over" if ink.blend == "Under" else "over", premultiplied=False)
        result = result.rint().cast("uchar")
        result = first_bands(result, 3) if mode == RGB else result
        if mode == RGBA and ink.preserve_alpha:
            result = first_bands(result, 3).bandjoin(base[3])
        return seen_as(result, "srgb")
    return _by_formula(base, overlay, ink)


def _fading(opacity: int, bands: int) -> Image:
    """Tables that leave the colours as they are and make the alpha, the last band, that much less."""
    return Image.new_from_memory(_fading_table(opacity, bands), 256, 1, bands, "uchar")


@functools.lru_cache(maxsize=64)
def _fading_table(opacity: int, bands: int) -> bytes:
    same = Image.identity()
    faded = (same * (opacity / 255)).rint().cast("uchar")
    return bytes(same.bandjoin([*[same] * (bands - 2), faded]).write_to_memory())


def _only_where(base: Image, overlay: Image, colour: int) -> Image:
    """`unlock`: draw only where the target has exactly this colour (3.0)."""
    mode = mode_of(base)
    values = channels(colour, mode)
    same = (base[0 : len(values)] == values).bandand() if len(values) > 1 else base == values[0]
    last = overlay.bands - 1
    masked = (overlay[last] & same).cast("uchar")
    return first_bands(overlay, last).bandjoin(masked).copy(interpretation=overlay.interpretation)


Formula = Callable[[Image, Image], Image]


def _if(condition: Image, yes: Image, no: Image) -> Image:
    return condition.ifthenelse(yes, no)


def _screen(b: Image, s: Image) -> Image:
    return b + s - b * s


def _hard_light(b: Image, s: Image) -> Image:
    return _if(s <= 0.5, b * s * 2, _screen(b, s * 2 - 1))


def _soft_light(b: Image, s: Image) -> Image:
    deep = _if(b <= 0.25, ((b * 16 - 12) * b + 4) * b, b**0.5)
    return _if(s <= 0.5, b - (1 - s * 2) * b * (1 - b), b + (s * 2 - 1) * (deep - b))


def _dodge(b: Image, s: Image) -> Image:
    divisor = _if(s < 1, 1 - s, s)
    return _if(b <= 0, b * 0, _if(s >= 1, b * 0 + 1, (b / divisor).clamp()))


def _burn(b: Image, s: Image) -> Image:
    divisor = _if(s > 0, s, s * 0 + 1)
    return _if(b >= 1, b * 0 + 1, _if(s <= 0, b * 0, 1 - ((1 - b) / divisor).clamp()))


def _lum(c: Image) -> Image:
    return c[0] * 0.3 + c[1] * 0.59 + c[2] * 0.11


def _min3(c: Image) -> Image:
    return c[0].minpair(c[1]).minpair(c[2])


def _max3(c: Image) -> Image:
    return c[0].maxpair(c[1]).maxpair(c[2])


def _sat(c: Image) -> Image:
    return _max3(c) - _min3(c)


def _clip_colour(c: Image) -> Image:
    light, low, high = _lum(c), _min3(c), _max3(c)
    spread_low = _if(light - low > 1e-6, light - low, light * 0 + 1)
    lifted = _if(low < 0, (c - light) * (light / spread_low) + light, c)
    spread_high = _if(high - light > 1e-6, high - light, light * 0 + 1)
    return _if(high > 1, (lifted - light) * ((1 - light) / spread_high) + light, lifted)


def _set_lum(c: Image, light: Image) -> Image:
    return _clip_colour(c + (light - _lum(c)))


def _set_sat(c: Image, saturation: Image) -> Image:
    low, spread = _min3(c), _sat(c)
    divisor = _if(spread > 1e-6, spread, spread * 0 + 1)
    return _if(spread > 1e-6, (c - low) * (saturation / divisor), c * 0)


FORMULAS: Mapping[str, Formula] = {
    "Normal": lambda b, s: s,
    "Prenormal": lambda b, s: s,
    "Dissolve": lambda b, s: s,
    "Darken": lambda b, s: b.minpair(s),
    "Lighten": lambda b, s: b.maxpair(s),
    "Multiply": lambda b, s: b * s,
    "Screen": _screen,
    "Overlay": lambda b, s: _hard_light(s, b),
    "HardLight": _hard_light,
    "SoftLight": _soft_light,
    "Difference": lambda b, s: (b - s).abs(),
    "Exclusion": lambda b, s: b + s - b * s * 2,
    "Dodge": _dodge,
    "ColorBurn": _burn,
    "Hue": lambda b, s: _set_lum(_set_sat(s, _sat(b)), _lum(b)),
    "Saturation": lambda b, s: _set_lum(_set_sat(b, _sat(s)), _lum(b)),
    "Color": lambda b, s: _set_lum(s, _lum(b)),
    "Luminosity": lambda b, s: _set_lum(b, _lum(s)),
}


_RGB_ONLY = frozenset({"Hue", "Saturation", "Color", "Luminosity", "Colorize"})


def _colorize(saturation: int) -> Formula:
    """Only the hue of the source is stamped down; `saturation` says how far its saturation comes along (3.0)."""
    share = saturation / 255

    def formula(b: Image, s: Image) -> Image:
        mixed = _sat(b) * (1 - share) + _sat(s) * share
        return _set_lum(_set_sat(s, mixed), _lum(b))

    return formula


def _by_formula(base: Image, overlay: Image, ink: Ink) -> Image:
    """co = cs·αs·(1-αb) + cb·αb·(1-αs) + αs·αb·B(cb, cs), divided by the resulting alpha (W3C, general formula)."""
    mode = mode_of(base)
    inks = mode in (CMYK, CMYKA)
    count = 4 if inks else 3
    if inks and ink.blend in _RGB_ONLY:
        raise Problem(
            422,
            "bad_parameter",
            f"blend {ink.blend} is defined on RGB pictures only",
            parameter="blend",
            expected="another mode, or convert first",
        )
    b, s = first_bands(base, count).cast("float") / 255, first_bands(overlay, count).cast("float") / 255
    if inks:  # ink is the absence of light: the formulas speak of light
        b, s = 1 - b, 1 - s
    source_alpha = overlay[count].cast("float") / 255
    if ink.blend == "Dissolve":
        source_alpha = (source_alpha > _noise(base.width, base.height)).cast("float") / 255
    formula = _colorize(ink.saturation) if ink.blend == "Colorize" else FORMULAS.get(ink.blend, FORMULAS["Normal"])
    under = ink.blend == "Under"
    if not has_alpha(base):
        out = b if under else b + (formula(b, s) - b) * source_alpha
        result = 1 - out if inks else out
        return _bytes(result, mode)
    base_alpha = base[count].cast("float") / 255
    alpha = source_alpha + base_alpha - source_alpha * base_alpha
    if under:
        mixed = b * base_alpha + s * source_alpha * (1 - base_alpha)
    else:
        mixed = (
            s * source_alpha * (1 - base_alpha)
            + b * base_alpha * (1 - source_alpha)
            + formula(b, s) * source_alpha * base_alpha
        )
    divisor = _if(alpha > 0, alpha, alpha * 0 + 1)
    out = mixed / divisor
    result = 1 - out if inks else out
    last = base[count] if ink.preserve_alpha else (alpha * 255 + 0.5).floor().cast("uchar")
    joined = _bytes(result, CMYK if inks else RGB).bandjoin(last)
    return joined.copy(interpretation=interpretation_of(mode))


def _bytes(image: Image, mode: str) -> Image:
    return (image * 255 + 0.5).floor().cast("uchar").copy(interpretation=interpretation_of(mode))


def _noise(width: int, height: int) -> Image:
    """The same threshold at the same pixel each time: uniform in [0, 1) from the position alone."""
    at = Image.xyz(width, height).cast("double")
    mixed = at[0] * 0.754877666 + at[1] * 0.569840296
    return mixed - mixed.floor()


def tiled(overlay: Image, left: int, top: int, width: int, height: int) -> Image:
    """The overlay repeated over the whole area, one copy with its corner at (left, top)."""
    shift_x, shift_y = left % overlay.width, top % overlay.height
    across = (width + overlay.width - 1) // overlay.width + 1
    down = (height + overlay.height - 1) // overlay.height + 1
    start_x = overlay.width - shift_x if shift_x else 0
    start_y = overlay.height - shift_y if shift_y else 0
    return (
        overlay.replicate(across, down)
        .crop(start_x, start_y, width, height)
        .copy(interpretation=overlay.interpretation)
    )


def selected(picture: Picture, before: Image, after: Image) -> Image:
    """Through the active selection: 255 takes the new pixel, 0 keeps the old, values between mix (3.0)."""
    mask = picture.selection
    if mask is None or (mask.width, mask.height) != (before.width, before.height) or before.bands != after.bands:
        return after
    share = mask.cast("float") / 255
    mixed = before.cast("float") + (after.cast("float") - before.cast("float")) * share
    return (mixed + 0.5).floor().cast("uchar").copy(interpretation=before.interpretation)
