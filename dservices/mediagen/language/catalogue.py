"""Every method a script can call, with its parameters: the one table that checks calls, names what was expected, and
makes the reference page. Pure.

A parameter is `(kind, default)`; REQUIRED stands for none. Names are case-insensitive. Positional arguments are taken in
the order of the table, for the getters and setters that the reference writes so (1.2). An unknown name is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.language.values import (
    Anything,
    Colour,
    Flag,
    FlagOr,
    Frames,
    Kind,
    Layers,
    Length,
    Matrix,
    MediaRef,
    Number,
    Points,
    ProfileRef,
    Text,
    ValueRefused,
    Whole,
    Word,
    shown,
)

VERSION = "4.0 (CGN MediaGen)"


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()
Parameter = tuple[Kind, Any]

BLENDS = Word(
    ("Normal", "Darken", "Lighten", "Hue", "Saturation", "Color", "Luminosity", "Multiply", "Screen", "Dissolve", "Overlay", "HardLight",
     "SoftLight", "Difference", "Exclusion", "Dodge", "ColorBurn", "Under", "Colorize", "Prenormal"),
    (("colordodge", "Dodge"), ("burn", "ColorBurn"), ("colour", "Color"), ("colourise", "Colorize"), ("colourburn", "ColorBurn")),
)  # fmt: skip
PIXEL_FORMATS = Word(
    ("Gray-8", "RGB-24", "RGBA-32", "CMYK-32", "CMYKA-40", "RGB-15", "RGB-16", "RGBA-16", "RGB-18", "HSV-24", "HLS-24"),
    (("gray", "Gray-8"), ("grayscale", "Gray-8"), ("rgb", "RGB-24"), ("rgba", "RGBA-32"), ("cmyk", "CMYK-32"), ("cmyka", "CMYKA-40"),
     ("15bit", "RGB-15"), ("16bit", "RGB-16"), ("16abit", "RGBA-16"), ("24bit", "RGB-24"), ("32bit", "RGBA-32"), ("hsv", "HSV-24"), ("hls", "HLS-24")),
)  # fmt: skip
CHANNELS = Word(
    ("Red", "Green", "Blue", "Alpha", "Cyan", "Magenta", "Yellow", "Black", "Hue", "Saturation", "Brightness", "Hue2", "Saturation2", "Brightness2")
)  # fmt: skip
FORMATS = Word(
    ("jpeg", "png", "gif", "webp", "avif", "tiff", "pdf", "bmp", "tga", "wbmp"),
    (("targa", "tga"), ("jpg", "jpeg"), ("jpe", "jpeg"), ("tif", "tiff"), ("apng", "png")),
)
INTENTS = Word(("Perceptual", "RelativeColorimetric", "AbsoluteColorimetric", "Saturation"))

_FRAMES: Parameter = (Frames(), None)
_LAYERS: Parameter = (Layers(), None)
_WHERE = {"frames": _FRAMES, "layers": _LAYERS}
_BYTE = Whole(0, 255)
_SIGNED = Number(-255, 255)
_PLACE = Number(-1_000_000, 1_000_000, "a position")
_RADIUS = Number(0, 1_000_000, "a radius")
_ANGLE = Number(-36_000, 36_000, "an angle in degrees")
_INK: dict[str, Parameter] = {
    "opacity": (_BYTE, 255),
    "unlock": (Colour(), None),
    "color": (Colour(), None),
    "index": (Whole(0, 0xFFFFFF), None),
    "saturation": (_BYTE, 255),
    "preservealpha": (Flag(), False),
    "blend": (BLENDS, "Normal"),
}
_STROKE: dict[str, Parameter] = {
    **_INK,
    "width": (Number(0.1, 10_000, "a stroke width"), 1.0),
    "smooth": (Flag(), True),
    "fill": (Flag(), False),
    **_WHERE,
}
_FONT: dict[str, Parameter] = {
    "text": (Text(), REQUIRED),
    "font": (Text(200, "a font family"), "sans"),
    "style": (Text(200, "style words"), ""),
    "size": (Number(1, 4095, "points"), 12.0),
    "spacing": (Number(-1000, 1000), 0.0),
    "smooth": (Flag(), True),
    "cleartype": (Flag(), False),
    "kern": (Flag(), True),
    "dpi": (Number(0, 10_000), None),
    "allowmissing": (Flag(), False),
}
_JUSTIFY = Word(("left", "center", "right", "justified"), (("centre", "center"), ("justify", "justified")))
_TEXT: dict[str, Parameter] = {
    **_FONT,
    "justify": (_JUSTIFY, "center"),
    "wrap": (Whole(1, limits.SIDE_MAX), None),
    "angle": (_ANGLE, 0.0),
    "smoothfactor": (Whole(0, 4), 0),
    "baseline": (Flag(), False),
    "line": (Number(0.1, 10), 1.0),
}
_HANDLES: dict[str, Parameter] = {
    "x": (_PLACE, None),
    "y": (_PLACE, None),
    "handlex": (Word(("left", "center", "right"), (("centre", "center"),)), None),
    "handley": (Word(("top", "middle", "bottom"), (("center", "middle"), ("centre", "middle"))), None),
    "tile": (Flag(), False),
}
_PADDING: dict[str, Parameter] = {
    "padcolor": (Colour(), None),
    "padindex": (Whole(0, 0xFFFFFF), None),
    "transparency": (_BYTE, None),
}
_SCALERS = Word(("Fast", "Smooth", "Outline", "Best", "OS"))
_LOAD: dict[str, Parameter] = {
    "name": (Text(8192, "an address or path"), REQUIRED),
    "detect": (Flag(), True),
    "type": (Text(40), None),
    "loadmetadata": (Flag(), False),
    "dpi": (Number(1, 2400), 72.0),
    "frames": (Frames(pages=True), None),
    "frame": (Frames(pages=True), None),
    "temporaryfilename": (Text(1000), None),
    "layers": (Layers(), None),
    "fillcolor": (Colour(), 0xFFFFFF),
    "password": (Text(200), None),
}
_SAVE: dict[str, Parameter] = {
    "name": (Text(8192, "an address or path"), None),
    "type": (FORMATS, None),
    "quality": (Whole(1, 100), None),
    "savemetadata": (Flag(), True),
    "frames": _FRAMES,
    "progressive": (Flag(), False),
    "interlaced": (Flag(), False),
    "subsampling": (Word(("on", "off", "auto"), (("4:2:0", "on"), ("4:4:4", "off"))), "auto"),
    "compression": (
        Word(("none", "lzw", "deflate", "jpeg", "packbits", "webp"), (("zip", "deflate"),)),
        "deflate",
    ),
    "level": (Whole(0, 9), 6),
    "lossless": (Flag(), False),
    "effort": (Whole(0, 9), None),
    "dpi": (Number(1, 2400), None),
    "embedprofile": (FlagOr(Word(("convert",))), None),
    "delay": (Whole(0, 655_350), None),
    "loop": (Whole(0, 65_535), None),
    "colors": (Whole(2, 256), None),
    "dither": (Number(0, 10), None),
    "title": (Text(500), None),
    "responsetype": (Word(("cached", "streamed", "path")), "cached"),
}


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its parameters in order, whether they may be given by position, and a sentence for the page."""

    name: str
    parameters: Mapping[str, Parameter]
    says: str
    source: str = ""
    one_of: tuple[tuple[str, str], ...] = field(default=(("color", "index"), ("padcolor", "padindex")))
    """Pairs that exclude each other (reference 1.4)."""


def _methods(*methods: Method) -> dict[str, Method]:
    return {method.name: method for method in methods}


def _m(name: str, says: str, source: str, /, **parameters: Parameter) -> Method:
    return Method(name, parameters, says, source)


MEDIA: dict[str, Method] = _methods(
    # input, output, generation (3.1)
    Method("load", _LOAD, "Fills the object from an address.", "3.1"),
    Method("loadAsRGB", _LOAD, "Loads and converts to RGB.", "3.1"),
    Method("save", _SAVE, "Writes to an address or, without a name, into the response.", "3.1"),
    _m("makeCanvas", "Fills the object with one colour.", "3.1", xs=(Whole(1, limits.SIDE_MAX), REQUIRED), ys=(Whole(1, limits.SIDE_MAX), REQUIRED),
       fillcolor=(Colour(), None), rtype=(PIXEL_FORMATS, "RGB-24"), dpi=(Number(1, 2400), 72.0), transparency=(_BYTE, None)),
    Method("makeText", {**_TEXT, "color": (Colour(), None), "index": (Whole(0, 0xFFFFFF), None), "rtype": (PIXEL_FORMATS, "RGBA-32"),
                        "fillcolor": (Colour(), None), "fittext": (Flag(), False)}, "A new RGBA picture holding just the text.", "3.3"),
    _m("clone", "A new Media with the same content.", "3.10"),
    # geometry (3.2)
    Method("scale", {"alg": (_SCALERS, "Fast"), "constrain": (Flag(), False), "xs": (Length(), None), "ys": (Length(), None), "x1": (_PLACE, None),
                     "y1": (_PLACE, None), "x2": (_PLACE, None), "y2": (_PLACE, None), "preservebackground": (Flag(), False),
                     "preservebackgroundcutoff": (Number(0, 100), 0.0), "transparentcutoff": (Whole(-1, 255), -1), **_PADDING, **_WHERE},
           "Changes the size. A JPEG that is scaled down straight after loading is shrunk while it is decoded: `Fast` as far as the decoder can (a half, a quarter, an eighth), `Smooth` half as far, so that a filter does the rest; `Best` decodes all of it. SVG and a page of a PDF are rendered at the size.", "3.2"),
    Method("crop", {"xs": (Length(), None), "ys": (Length(), None), "x": (_PLACE, None), "y": (_PLACE, None), **_PADDING, **_WHERE},
           "Cuts out an area; beyond the picture it pads.", "3.10"),
    Method("pad", {"xs": (Length(), None), "ys": (Length(), None), "x": (_PLACE, None), "y": (_PLACE, None), **_PADDING, **_WHERE},
           "Enlarges the canvas around the picture.", "3.10"),
    Method("zoom", {"xs": (Length(), None), "ys": (Length(), None), "scale": (Number(0.1, 100_000, "per cent"), 100.0), "x": (_PLACE, None), "y": (_PLACE, None),
                    "alg": (_SCALERS, "Fast"), **_PADDING, **_WHERE}, "A view of xs by ys pixels around a centre, magnified.", "3.10"),
    Method("rotate", {"angle": (_ANGLE, REQUIRED), "smooth": (Flag(), True), "resize": (Flag(), True), "xs": (Length(), None), "ys": (Length(), None),
                      "color": (Colour(), None), **_PADDING, **_WHERE}, "Turns clockwise by degrees.", "3.2"),
    _m("flip", "Mirrors left-right (horizontal) or top-bottom (vertical).", "3.2",
       axis=(Word(("horizontal", "vertical"), (("x", "horizontal"), ("y", "vertical"))), "horizontal"), **_WHERE),
    _m("mirror", "The same as flip.", "3.10", axis=(Word(("horizontal", "vertical"), (("x", "horizontal"), ("y", "vertical"))), "horizontal"), **_WHERE),
    Method("quadWarp", {**{f"{axis}{corner}": (_PLACE, REQUIRED) for corner in range(1, 5) for axis in ("x", "y")}, "smooth": (Flag(), True), **_PADDING, **_WHERE},
           "Moves the four corners (upper left, upper right, lower right, lower left).", "3.10"),
    # drawing and text (3.3)
    _m("rectangle", "Draws a rectangle.", "3.3", x=(_PLACE, REQUIRED), y=(_PLACE, REQUIRED), xs=(_PLACE, REQUIRED), ys=(_PLACE, REQUIRED),
       angle=(Number(-360, 360), 0.0), **_STROKE),
    _m("ellipse", "Draws an ellipse.", "3.3", x=(_PLACE, REQUIRED), y=(_PLACE, REQUIRED), rx=(_RADIUS, REQUIRED), ry=(_RADIUS, REQUIRED), **_STROKE),
    _m("arc", "Draws a part of an ellipse.", "3.3", x=(_PLACE, REQUIRED), y=(_PLACE, REQUIRED), rx=(_RADIUS, REQUIRED), ry=(_RADIUS, REQUIRED),
       startangle=(Number(-360, 360), REQUIRED), endangle=(Number(-360, 360), REQUIRED), warpangles=(Flag(), False), **_STROKE),
    _m("polygon", "Draws a polygon; open unless the first point is repeated.", "3.3", points=(Points(), REQUIRED), **_STROKE),
    _m("line", "Draws a line.", "3.10", x1=(_PLACE, REQUIRED), y1=(_PLACE, REQUIRED), x2=(_PLACE, REQUIRED), y2=(_PLACE, REQUIRED), **_STROKE),
    _m("setPixel", "Sets one pixel.", "3.10", x=(Whole(0, limits.SIDE_MAX), REQUIRED), y=(Whole(0, limits.SIDE_MAX), REQUIRED), color=(Colour(), REQUIRED), **_WHERE),
    _m("getPixel", "The colour number of one pixel.", "3.10", x=(Whole(0, limits.SIDE_MAX), REQUIRED), y=(Whole(0, limits.SIDE_MAX), REQUIRED)),
    _m("gradient", "Fills with a gradient; makes the picture if there is none.", "3.10", xs=(Whole(1, limits.SIDE_MAX), None), ys=(Whole(1, limits.SIDE_MAX), None),
       startcolor=(Colour(), 0), endcolor=(Colour(), 0xFFFFFF), style=(Word(("linear", "radial")), "linear"), angle=(_ANGLE, 0.0), opacity=(_BYTE, 255), **_WHERE),
    Method("drawText", {**_TEXT, **_INK, **_HANDLES, "append": (Flag(), False), **_WHERE}, "Draws text onto the picture.", "3.3"),
    Method("measureText", _FONT, "Offsets at which each character of the first line starts.", "3.3"),
    Method("sizeText", {**_FONT, "justify": (_JUSTIFY, "center"), "wrap": (Whole(1, limits.SIDE_MAX), None), "line": (Number(0.1, 10), 1.0)},
           "The size a text would have: {width, height}.", "3.3"),
    # colour and pixel formats (3.4)
    _m("adjustRgb", "Contrast, brightness, red, green, blue, inversion.", "3.4", contrast=(_SIGNED, 0.0), brightness=(_SIGNED, 0.0), red=(_SIGNED, 0.0),
       green=(_SIGNED, 0.0), blue=(_SIGNED, 0.0), noclip=(Flag(), False), invert=(Flag(), False), **_WHERE),
    _m("adjustHsb", "Hue, saturation, brightness.", "3.4", hue=(_SIGNED, 0.0), saturation=(_SIGNED, 0.0), brightness=(_SIGNED, 0.0), **_WHERE),
    _m("equalize", "Stretches brightness and saturation.", "3.4", brightness=(Number(-1, 20), None), saturation=(Number(-1, 20), None), **_WHERE),
    _m("colorize", "Gives every pixel one hue.", "3.4", color=(Colour(), REQUIRED), saturation=(_BYTE, 255), **_WHERE),
    _m("convert", "Changes the pixel format.", "3.4", rtype=(PIXEL_FORMATS, REQUIRED), dither=(Number(0, 10), 0.0), preservebackground=(Flag(), False), **_WHERE),
    _m("reduce", "Reduces to a palette.", "3.4", colors=(Whole(1, 256), 256), dither=(Number(0, 10), 0.0), dithertop=(Number(0, 10), 10.0), netscape=(Flag(), False),
       bw=(Flag(), False), pad=(Flag(), False), preservebackground=(Flag(), False), nowarp=(Flag(), False), name=(Text(200), None), usealpha=(Flag(), False),
       alphacutoff=(_BYTE, 127), **_WHERE),
    _m("setColor", "Sets foreground, background and transparency.", "3.4", backcolor=(Colour(), None), forecolor=(Colour(), None), backindex=(Whole(0, 255), None),
       foreindex=(Whole(0, 255), None), transparency=(Flag(), None), popular=(Flag(), False), precise=(Flag(), False), layers=_LAYERS),
    _m("colorCorrect", "Converts through ICC profiles.", "3.4", destprofile=(ProfileRef(), REQUIRED), sourceprofile=(ProfileRef(), None),
       intent=(INTENTS, "Perceptual"), overrideembedded=(Flag(), False), layers=_LAYERS),
    _m("embeddedProfile", "Whether a profile is embedded.", "3.4"),
    _m("getEmbeddedProfileName", "The embedded profile's name, or null.", "3.4"),
    _m("setSourceProfile", "Attaches a profile without converting.", "3.4", sourceprofile=(ProfileRef(), REQUIRED)),
    _m("exportChannel", "A new gray Media of one channel.", "3.4", channel=(CHANNELS, "Blue"), layers=_LAYERS),
    _m("importChannel", "Replaces a channel by a picture read as gray.", "3.4", channel=(CHANNELS, "Blue"), source=(MediaRef(), REQUIRED),
       rtype=(Word((*PIXEL_FORMATS.words, "Alpha-8"), PIXEL_FORMATS.aliases), None), layers=_LAYERS),
    _m("fixAlpha", "Removes the background colour from half-transparent pixels.", "3.10", color=(Colour(), None), **_WHERE),
    # filters (3.5)
    _m("blur", "Blurs evenly.", "3.5", radius=(Number(0, 250), 1.0), **_WHERE),
    _m("blurBlur", "A light blur.", "3.5", **_WHERE),
    _m("blurMoreBlur", "A stronger blur.", "3.5", **_WHERE),
    _m("blurGaussianBlur", "Gaussian blur.", "3.5", radius=(Number(0, 250), 1.0), **_WHERE),
    _m("blurMotionBlur", "Blur along a direction.", "3.5", angle=(_ANGLE, 0.0), distance=(Number(1, 500), 10.0), **_WHERE),
    _m("noiseAddNoise", "Adds noise that is the same each time.", "3.5", amount=(Number(0, 400), 12.0), gaussian=(Flag(), False), grayscale=(Flag(), False),
       seed=(Whole(0, 2**31 - 1), 1), **_WHERE),
    _m("otherHighPass", "Keeps what changes within a radius.", "3.5", radius=(Number(0.1, 250), 10.0), **_WHERE),
    _m("otherMaximum", "Spreads bright areas.", "3.5", radius=(Whole(1, 100), 1), **_WHERE),
    _m("otherMinimum", "Spreads dark areas.", "3.5", radius=(Whole(1, 100), 1), **_WHERE),
    _m("pixellateMosaic", "Squares of one colour.", "3.5", size=(Whole(1, 1000), 8), **_WHERE),
    _m("pixellateFragment", "Four copies, averaged.", "3.5", **_WHERE),
    _m("sharpenSharpen", "Sharpens.", "3.5", **_WHERE),
    _m("sharpenSharpenMore", "Sharpens more.", "3.5", **_WHERE),
    _m("sharpenUnsharpMask", "Sharpens where brightness changes.", "3.5", amount=(Number(0, 500), 100.0), radius=(Number(0.1, 250), 1.0), threshold=(_BYTE, 0), **_WHERE),
    _m("stylizeDiffuse", "Shuffles pixels with neighbours.", "3.5", mode=(Word(("normal", "lighten", "darken")), "normal"), seed=(Whole(0, 2**31 - 1), 1), **_WHERE),
    _m("stylizeEmboss", "Embosses.", "3.5", angle=(_ANGLE, 135.0), height=(Whole(1, 100), 3), amount=(Number(1, 500), 100.0), **_WHERE),
    _m("stylizeFindEdges", "Dark lines at edges on white.", "3.5", threshold=(_BYTE, 0), **_WHERE),
    _m("stylizeTraceContour", "Thin lines where brightness crosses a level.", "3.5", level=(_BYTE, 128), edge=(Word(("lower", "upper")), "upper"), **_WHERE),
    _m("dropShadow", "Puts a shadow behind the picture's opaque parts.", "3.10", dx=(Number(-1000, 1000), 5.0), dy=(Number(-1000, 1000), 5.0), blur=(Number(0, 250), 4.0),
       opacity=(_BYTE, 160), color=(Colour(), 0), enlarge=(Flag(), True), **_WHERE),
    _m("glow", "Puts a glow around the picture's opaque parts.", "3.10", blur=(Number(0, 250), 4.0), size=(Number(0, 100), 2.0), opacity=(_BYTE, 200),
       color=(Colour(), 0xFFFFFF), enlarge=(Flag(), True), **_WHERE),
    _m("convolve", "Convolves with a matrix.", "3.10", matrix=(Matrix(), REQUIRED), divisor=(Number(-1e6, 1e6), None), offset=(Number(-1e6, 1e6), 0.0), **_WHERE),
    # compositing and selection (3.6)
    Method("composite", {"source": (MediaRef(), None), "name": (Text(8192), None), "onto": (Flag(), False), **_INK, "ignorealpha": (Flag(), False),
                         "fixalpha": (Flag(), False), **_HANDLES, **_WHERE}, "Puts a picture (or a colour) on this one.", "3.6"),
    _m("selection", "Restricts what filters and composite change.", "3.6", source=(MediaRef(), None), name=(Text(8192), None), fill=(_BYTE, 0), x=(_PLACE, None),
       y=(_PLACE, None), backcolor=(Flag(), False), color=(Colour(), None), index=(Whole(0, 255), None),
       colortype=(Word(("Cyans", "Magentas", "Yellows", "Reds", "Greens", "Blues", "Hilites", "Midtones", "Shadows")), None), invert=(Flag(), False),
       remove=(Flag(), False), opacity=(_BYTE, 255), radius=(Whole(1, 600), None), layers=_LAYERS),
    # layers, frames, pages (3.7)
    _m("collapse", "Flattens layers.", "3.7", layers=_LAYERS, preservealpha=(Flag(), False), ignorealpha=(Flag(), False), visibleonly=(Flag(), False), likeps=(Flag(), False)),
    _m("getLayerCount", "Number of layers.", "3.10"),
    _m("getLayer", "A new Media of one layer.", "3.10", index=(Whole(0, 255), REQUIRED)),
    _m("setLayer", "Puts a Media in as a layer (one beyond the last adds one).", "3.7", index=(Whole(0, 255), REQUIRED), media=(MediaRef(), REQUIRED)),
    _m("setLayerBlend", "A layer's blend mode.", "3.7", index=(Whole(0, 255), REQUIRED), blend=(BLENDS, REQUIRED)),
    _m("setLayerOpacity", "A layer's opacity.", "3.10", index=(Whole(0, 255), REQUIRED), opacity=(_BYTE, REQUIRED)),
    _m("setLayerVisible", "Shows or hides a layer.", "3.10", index=(Whole(0, 255), REQUIRED), visible=(Flag(), REQUIRED)),
    _m("setLayerPosition", "A layer's upper left corner.", "3.10", index=(Whole(0, 255), REQUIRED), x=(_PLACE, REQUIRED), y=(_PLACE, REQUIRED)),
    _m("getLayerName", "A layer's name.", "3.10", index=(Whole(0, 255), REQUIRED)),
    _m("setLayerName", "Names a layer.", "3.10", index=(Whole(0, 255), REQUIRED), name=(Text(31), REQUIRED)),
    _m("getFrameCount", "Number of frames or pages.", "3.10"),
    _m("getFrame", "A new Media of one frame (from 1).", "3.10", index=(Whole(1, limits.FRAMES_MAX), REQUIRED)),
    _m("setFrame", "Puts a Media in as a frame (one beyond the last adds one).", "3.10", index=(Whole(1, limits.FRAMES_MAX), REQUIRED), media=(MediaRef(), REQUIRED)),
    _m("getFrameDelay", "A frame's delay in milliseconds.", "3.10", index=(Whole(1, limits.FRAMES_MAX), REQUIRED)),
    _m("setFrameDelay", "A frame's delay in milliseconds.", "3.10", index=(Whole(1, limits.FRAMES_MAX), REQUIRED), delay=(Whole(0, 655_350), REQUIRED)),
    # metadata (3.8)
    _m("getMetadata", "Exif, IPTC or XMP as an XML document, or null.", "3.8", name=(Text(10), REQUIRED)),
    _m("setMetadata", "Attaches Exif, IPTC or XMP.", "3.8", name=(Text(10), REQUIRED), document=(Anything(), REQUIRED)),
    # query (3.9)
    _m("getWidth", "Pixels.", "3.9"),
    _m("getHeight", "Pixels.", "3.9"),
    _m("getPixelFormat", "Such as 'RGB-24' or 'CMYK-32'.", "3.9"),
    _m("getFileType", "The format it was loaded from, or null.", "3.9"),
    _m("getResolution", "Dots per inch.", "3.10"),
    _m("setResolution", "Dots per inch.", "3.10", dpi=(Number(1, 2400), None), dpix=(Number(1, 2400), None), dpiy=(Number(1, 2400), None)),
    _m("getPalette", "The colours that stand for most of the picture: [{color, text, share}].", "3.10", colors=(Whole(1, 32), 5)),
    _m("getThumbHash", "A placeholder of about 25 bytes (ThumbHash, base64).", "3.10"),
    _m("getPerceptualHash", "A hash of 64 bits that is about the same for versions of one picture.", "3.10"),
    _m("getInfo", "All that is known of the picture, for JSON.", "3.10", colors=(Whole(1, 32), 5)),
    _m("getPopularColor", "The most frequent colour.", "3.9"),
)  # fmt: skip

_NAME = (Text(200, "a name"), REQUIRED)
REQ: dict[str, Method] = _methods(
    _m("getParameter", "A parameter of the MRL, or null.", "2.3", name=_NAME),
    _m("getParameterNames", "All names, in order.", "2.3"),
    _m("getHeader", "A header of the request, or null.", "2.3", name=_NAME),
    _m("getHeaderNames", "Names of the headers.", "2.3"),
    _m("getFileParamNames", "Names of uploaded files: those of the fields of a form, or `body`.", "2.3"),
    _m("getFileParamPath", "Path of an uploaded file, for load.", "2.3", name=_NAME),
    _m("getRequestURL", "The path and query.", "2.3"),
    _m("getQueryString", "The query as sent.", "2.3"),
    _m("getScriptPath", "The script's address.", "2.3"),
)
_RESPONSE_TYPE: Parameter = (Word(("cached", "streamed", "path")), "cached")
RESP: dict[str, Method] = _methods(
    _m("setPath", "Answers with an existing file.", "2.4", path=(Text(8192), REQUIRED), type=_RESPONSE_TYPE),
    _m("setStatus", "The HTTP status.", "2.4", status=(Whole(200, 599), REQUIRED)),
    _m("setStatusCode", "The HTTP status.", "2.4", status=(Whole(200, 599), REQUIRED)),
    _m(
        "setHeader",
        "A response header: Cache-Control, Content-Disposition, Content-Language, Expires, Last-Modified, Link, Retry-After,"
        " Vary, or a name of your own that begins with X-; at most 32 of 8,192 characters together.",
        "2.4",
        name=_NAME,
        value=(Text(2000), REQUIRED),
    ),
    _m("setContentType", "The content type.", "2.4", type=(Text(200), REQUIRED)),
)
PROFILE: dict[str, Method] = _methods(
    _m("getName", "The profile's description.", "4.5"),
    _m("getColorSpace", "'RGB', 'CMYK', 'GRAY'.", "4.5"),
    _m("getClass", "Device class.", "4.5"),
)
FILE: dict[str, Method] = _methods(
    _m("exists", "Whether there is such a file; an address or a store is asked, which counts as loading it.", "4.1"),
    _m("read", "The file's text.", "4.1"),
    _m("write", "Appends text (mem: only).", "4.1", text=(Text(limits.CALL_MAX_CHARS // 2), REQUIRED)),
    _m("getSize", "Bytes.", "4.1"),
    _m("remove", "Removes the file (mem: only).", "4.1"),
)
ZIP: dict[str, Method] = _methods(
    _m("add", "Adds a file under a name.", "4.6", name=_NAME, path=(Text(8192), REQUIRED)),
    _m("save", "Writes the archive to a path.", "4.6", name=(Text(8192), REQUIRED)),
)


def check(method: Method, packed: Any) -> dict[str, Any]:
    """The call's arguments, complete, converted, by lower-case name. Problem 422 naming parameter and expectation."""
    given = _by_name(method, packed)
    for first, second in method.one_of:
        if given.get(first) is not None and given.get(second) is not None:
            raise parameter_problem(method, second, f"{first} or {second}, not both", "both")
    out: dict[str, Any] = {}
    for name, (kind, default) in method.parameters.items():
        value = given.get(name)
        if value is None:  # undefined and null read as "not given"
            if default is REQUIRED:
                raise parameter_problem(method, name, kind.expected, "nothing")
            out[name] = default
            continue
        try:
            out[name] = kind.accept(value)
        except ValueRefused as refusal:
            raise parameter_problem(method, name, refusal.expected, refusal.got) from None
    return out


def _by_name(method: Method, packed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if isinstance(packed, Mapping) and isinstance(packed.get("named"), list):
        for pair in packed["named"]:
            if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
                raise Problem(422, "script_call", "the call cannot be read")
            name = pair[0].lower()
            if name not in method.parameters:
                known = list(method.parameters)
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                expected = f"one of {', '.join(known)}" if known else "no arguments"
                raise Problem(
                    422, "unknown_parameter", f"{method.name} has no parameter {pair[0]!r}{hint}", method=method.name,
                    parameter=shown(pair[0]), expected=expected,
                )  # fmt: skip
            if name in given:
                raise parameter_problem(method, name, "each parameter once", "it twice")
            given[name] = pair[1]
        return given
    positional: Sequence[Any] = packed.get("positional", []) if isinstance(packed, Mapping) else []
    if len(positional) > len(method.parameters):
        raise Problem(
            422, "unknown_parameter", f"{method.name} takes at most {len(method.parameters)} arguments", method=method.name,
            expected=", ".join(method.parameters) or "no arguments",
        )  # fmt: skip
    return dict(zip(method.parameters, positional, strict=False))


def parameter_problem(method: Method, name: str, expected: str, got: str) -> Problem:
    return Problem(
        422, "bad_parameter", f"{method.name}, {name}: expected {expected}, got {got}", method=method.name, parameter=name, expected=expected,
    )  # fmt: skip


def unknown_method(name: str) -> Problem:
    near = difflib.get_close_matches(name.lower(), [known.lower() for known in MEDIA], 3, 0.5)
    names = [known for known in MEDIA if known.lower() in near]
    return Problem(
        422, "unknown_method", f"Media has no method {name!r}", method=shown(name).strip("'"),
        expected=f"a method such as {', '.join(names)}" if names else "a method of Media, see the reference",
    )  # fmt: skip
