"""Text (reference 3.3): Pango through libvips, with our fonts only (`fonts`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import escape

import pyvips
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.language.values import Args
from dservices.mediagen.operations.fonts import ALIASES, Fonts
from dservices.mediagen.picture import geometry
from dservices.mediagen.picture.blending import Ink, colour_of, coloured, indexed, put, selected, tiled
from dservices.mediagen.picture.frames import check_canvas, each
from dservices.mediagen.picture.picture import (
    CMYK,
    CMYKA,
    RGBA,
    Image,
    Pen,
    Picture,
    channels,
    filled,
    first_bands,
    mode_of,
    seen_as,
)

WEIGHTS: Mapping[str, int] = {
    "thin": 100,
    "extralight": 200,
    "ultralight": 200,
    "light": 300,
    "normal": 400,
    "regular": 400,
    "medium": 500,
    "semibold": 600,
    "demibold": 600,
    "semi": 600,
    "demi": 600,
    "bold": 700,
    "extrabold": 800,
    "ultrabold": 800,
    "extra": 800,
    "ultra": 800,
    "heavy": 900,
    "black": 900,
}
_NAMED_MAX = 10
"""Missing characters that an error names."""
_OTHER_STYLES = ("underline", "italic", "italics", "strikethru", "strikeout")


def style_attributes(style: str) -> str:
    """The style words of 3.3 as attributes of Pango's markup. Problem for a word that is none."""
    attributes: dict[str, str] = {}
    for word in style.lower().split():
        if word in WEIGHTS:
            attributes["weight"] = str(WEIGHTS[word])
        elif word in ("italic", "italics"):
            attributes["style"] = "italic"
        elif word == "underline":
            attributes["underline"] = "single"
        elif word in ("strikethru", "strikeout"):
            attributes["strikethrough"] = "true"
        else:
            raise Problem(
                422,
                "bad_parameter",
                f"style: {word!r} is no style word",
                parameter="style",
                expected="words out of " + ", ".join([*WEIGHTS, *_OTHER_STYLES]),
            )
    return "".join(f' {name}="{value}"' for name, value in attributes.items())


def family_for(fonts: Fonts, name: str) -> str:
    family = fonts.resolve(name)
    if family is None:
        kept = name.rpartition("/")[2].lower().partition(".")[0].strip()
        unread = any(path.stem.lower() == kept for path in fonts.passed_over)
        known = sorted({*fonts.families.values(), *ALIASES})
        raise Problem(
            422,
            "font_missing",
            f"the font {name!r} is " + ("a Type 1 font that cannot be read" if unread else "not available"),
            parameter="font",
            expected="one of " + ", ".join(known),
        )
    return family


def check_glyphs(fonts: Fonts, args: Args) -> None:
    """Problem for characters that no font has, unless the script wants their boxes."""
    text = args["text"]
    if args["allowmissing"] or (text.isascii() and fonts.files):
        return
    missing = fonts.coverage.missing(text)
    if not missing:
        return
    named = ", ".join(f"{character} (U+{ord(character):04X})" for character in missing[:_NAMED_MAX])
    more = f" and {len(missing) - _NAMED_MAX} more" if len(missing) > _NAMED_MAX else ""
    raise Problem(
        422,
        "glyph_missing",
        f"no font here has {named}{more}",
        parameter="text",
        expected="characters that the fonts of this service have, or allowMissing @ true to draw boxes for the others",
    )


def dpi_of(args: Args, picture: Picture | None) -> float:
    """Points become pixels by the resolution; 0 counts as 72 (3.3)."""
    if args["dpi"] is not None:
        return float(args["dpi"]) or 72.0
    return (picture.dpi[1] if picture is not None else 72.0) or 72.0


def markup(fonts: Fonts, args: Args, text: str, colour: int | None) -> str:
    attributes = f' font_family="{escape(family_for(fonts, args["font"]))}"{style_attributes(args["style"])}'
    if colour is not None:
        attributes += f' foreground="#{colour:06x}"'
    if args["spacing"]:
        attributes += f' letter_spacing="{round(args["spacing"] * 1024)}"'
    if not args["kern"]:
        attributes += ' font_features="kern=0"'
    line = args.get("line", 1.0)
    if line != 1.0:
        attributes += f' line_height="{line:g}"'
    printable = "".join(character for character in text if character in "\n\t" or ord(character) >= 0x20)
    return f"<span{attributes}>{escape(printable)}</span>"


def lettering_of(fonts: Fonts, args: Args, dpi: float, colour: int = 0) -> Image:
    """The text as a mask, as tight as its ink; empty text is one empty pixel. Where some of it has colours of its own
    (emoji), the text as an RGBA picture instead, the rest of it in the RGB `colour`."""
    text = args["text"].replace("\r\n", "\n").replace("\\n", "\n")
    if not text.strip():
        return Image.black(1, 1).copy(interpretation="b-w")
    factor = 2 ** args.get("smoothfactor", 0) if args["smooth"] else 1
    justify = args.get("justify", "left")
    size = args["size"] * factor
    # A bound on what Pango is asked to lay out, before it does: no glyph is wider than about twice its size.
    pixels = size * dpi / 72
    longest = max(len(line) for line in text.split("\n"))
    wrap = args.get("wrap")
    across = (wrap * factor) if wrap else longest * pixels * 2
    lines = text.count("\n") + 1 + (longest * pixels / (wrap * factor) if wrap else 0)
    check_canvas(1, int(min(lines * pixels, 1e9) // 4) + 1)
    if across * lines * pixels > 400_000_000:
        raise Problem(
            422,
            "picture_too_large",
            "the text is too large to be drawn",
            parameter="size",
            expected="a smaller size or a shorter text",
        )
    options: dict[str, Any] = {
        "font": f"{family_for(fonts, args['font'])} {size:g}",
        "dpi": max(1, round(dpi)),
        "align": {"left": "low", "justified": "low", "center": "centre", "right": "high"}[justify],
        "justify": justify == "justified",
    }
    if wrap:
        options["width"] = wrap * factor
    colourful = fonts.is_colourful(text)
    if colourful:
        options["rgba"] = True
    try:
        made = Image.text(markup(fonts, args, text, colour if colourful else None), **options)
    except pyvips.Error as error:
        if "no text to render" in str(error):  # characters without ink
            return Image.black(1, 1).copy(interpretation="b-w")
        raise Problem(
            422,
            "picture_too_large",
            "the text is too large to be drawn",
            parameter="size",
            expected="a smaller size or a shorter text",
        ) from None
    if args.get("baseline"):
        made = _on_baselines(made, text, pixels)
    if factor > 1:
        made = _changed(made, lambda image: image.resize(1 / factor, kernel="lanczos3"))
    if not args["smooth"]:
        made = _hardened(made)
    if args.get("angle"):
        options = {"interpolate": pyvips.Interpolate.new("bilinear"), "background": [0] * made.bands}
        made = _changed(made, lambda image: image.similarity(angle=args["angle"], **options))
    return seen_as(made, "b-w" if made.bands == 1 else "srgb")


def _changed(lettering: Image, change: Callable[[Image], Image]) -> Image:
    """A change that mixes pixels: colours are multiplied by alpha meanwhile."""
    if lettering.bands == 1:
        return change(lettering)
    return change(lettering.premultiply()).unpremultiply().rint().cast("uchar")


def _hardened(lettering: Image) -> Image:
    """Each pixel drawn or not."""
    if lettering.bands == 1:
        return (lettering >= 128).copy(interpretation="b-w")
    return first_bands(lettering, 3).bandjoin((lettering[3] >= 128).cast("uchar"))


def _overlay(lettering: Image, colour: int, mode: str) -> Image:
    """As something to put on a picture of that mode."""
    if lettering.bands == 1:
        return coloured(lettering, colour, mode)
    if mode not in (CMYK, CMYKA):
        return lettering
    inks = first_bands(lettering, 3).linear([-1, -1, -1], [255, 255, 255]).cast("uchar")
    return inks.bandjoin([0, lettering[3]]).copy(interpretation="cmyk")


def _light(colour: int, mode: str) -> int:
    """A colour number of that mode as RGB."""
    if mode not in (CMYK, CMYKA):
        return colour & 0xFFFFFF
    *inks, key = channels(colour, mode)
    red, green, blue = ((255 - ink) * (255 - key) // 255 for ink in inks)
    return red << 16 | green << 8 | blue


def _on_baselines(mask: Image, text: str, pixels: float) -> Image:
    """A box whose height does not depend on the letters, 1.5 x the point size a line (3.3, baseLine), with the ink
    where it stands in its line: `yoffset` is the ink's place below the top of the first line.
    """
    top = math.floor(pixels / 8 + 0.5) + int(mask.yoffset)
    height = max(top + mask.height, math.ceil(1.5 * pixels * (text.count("\n") + 1)))
    return mask.embed(0, top, mask.width, height)


def draw(picture: Picture, fonts: Fonts, args: Args) -> Picture:
    check_glyphs(fonts, args)
    picture = picture.decoded()
    colour = colour_of(picture, args)
    mask = lettering_of(fonts, args, dpi_of(args, picture), _light(colour, picture.mode))
    left = geometry.placed(picture.width, mask.width, args["x"], args["handlex"])
    y, handle_y = args["y"], args["handley"]
    if args["append"] and picture.pen is not None:  # ours: the text goes on where the last one ended
        left = picture.pen.x + (math.floor(args["x"] + 0.5) if args["x"] is not None else 0)
        y, handle_y = (y, handle_y) if y is not None else (picture.pen.y, picture.pen.handle_y)
    top = geometry.placed(picture.height, mask.height, y, handle_y)

    def change(image: Image) -> Image:
        overlay = _overlay(mask, colour, mode_of(image))
        if args["tile"]:
            return selected(
                picture, image, put(image, tiled(overlay, left, top, image.width, image.height), 0, 0, Ink.of(args))
            )
        return selected(picture, image, put(image, overlay, left, top, Ink.of(args)))

    drawn = each(picture, args, change, draws=True)
    return replace(drawn, pen=Pen(left + mask.width, y, handle_y))


def fitted(fonts: Fonts, args: Args, dpi: float) -> Mapping[str, Any]:
    """`fitText`: the arguments with the greatest size, in half points and not above `size`, at which every line is at
    most `wrap` wide without being broken."""
    if not args["fittext"] or args["wrap"] is None:
        return args
    low, high = 2, max(2, int(args["size"] * 2))
    while low < high:
        middle = (low + high + 1) // 2
        wide = lettering_of(fonts, {**args, "size": middle / 2, "wrap": None, "angle": 0.0}, dpi).width
        low, high = (middle, high) if wide <= args["wrap"] else (low, middle - 1)
    size_points = args["size"] if low == int(args["size"] * 2) else low / 2
    return {**args, "size": max(1.0, size_points), "wrap": None}


def make(picture: Picture, fonts: Fonts, args: Args) -> Picture:
    """makeText: an RGBA picture as large as the text; `fillColor` makes the rest opaque."""
    check_glyphs(fonts, args)
    dpi = dpi_of(args, None)
    colour = args["color"] if args["color"] is not None else 0
    if args["index"] is not None:
        colour = indexed(picture, args["index"])
    mask = lettering_of(fonts, fitted(fonts, args, dpi), dpi, _light(colour, RGBA))
    overlay = _overlay(mask, colour, RGBA)
    if args["fillcolor"] is not None:
        ground = filled(mask.width, mask.height, [*channels(args["fillcolor"], RGBA), 255], "srgb")
        overlay = put(ground, overlay, 0, 0, Ink())
    return Picture(images=(overlay,), dpi=(dpi, dpi))


def size(fonts: Fonts, picture: Picture | None, args: Args) -> dict[str, int]:
    check_glyphs(fonts, args)
    mask = lettering_of(fonts, {**args, "smoothfactor": 0}, dpi_of(args, picture))
    return {"width": int(mask.width), "height": int(mask.height)}


def offsets(fonts: Fonts, picture: Picture | None, args: Args) -> list[int]:
    """Where each character of the first line starts, from advances: the width up to it, less the trailing bearing."""
    check_glyphs(fonts, args)
    line = args["text"].split("\n")[0]
    if len(line) > limits.MEASURE_MAX_CHARS:
        raise Problem(
            422,
            "bad_parameter",
            f"measureText measures at most {limits.MEASURE_MAX_CHARS} characters, this line has {len(line)}",
            parameter="text",
            expected=f"a line of at most {limits.MEASURE_MAX_CHARS} characters",
        )
    dpi = dpi_of(args, picture)
    # The advance of a prefix is what a bar after it is moved by; two bars give the bar's own place.
    plain = {**args, "smoothfactor": 0, "justify": "left"}
    alone = int(lettering_of(fonts, {**plain, "text": "||"}, dpi).width)
    return [0] + [
        max(0, int(lettering_of(fonts, {**plain, "text": f"|{line[:n]}|"}, dpi).width) - alone)
        for n in range(1, len(line))
    ]
