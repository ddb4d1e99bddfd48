"""The reference, method by method and parameter by parameter (mediascript.md, priorities core and broad), against what the
service has and what these tests have called: a gap on either side fails here by name.

What was called is recorded while the tests of this folder run (conftest.py), so the second half runs last and only when
the whole folder runs in one process.
"""

import pytest

from dservices.mediagen.language import catalogue, interpretations
from dservices.mediagen.language.catalogue import FILE, MEDIA, PROFILE, REQ, RESP, ZIP

_LOAD = "name detect loadMetadata dpi frames frame temporaryFileName layers"
_INK = "opacity unlock color index saturation preserveAlpha blend"
_STROKE = f"{_INK} width smooth fill"
REFERENCE: dict[str, str] = {
    # core
    "load": _LOAD,
    "save": "name type quality saveMetadata frames progressive subsampling interlaced compression lossless dpi embedProfile delay loop",
    "makeCanvas": "xs ys fillColor",
    "scale": "alg constrain xs ys x1 y1 x2 y2 preserveBackground preserveBackgroundCutoff padColor padIndex transparency transparentCutoff frames layers",
    "crop": "xs ys x y padColor padIndex transparency frames layers",
    "rotate": "angle smooth resize padColor frames layers",
    "flip": "axis frames layers",
    "composite": "source name onto opacity unlock color index saturation preserveAlpha ignoreAlpha fixAlpha x y handleX handleY tile blend frames",
    "drawText": "font style text size color index justify wrap opacity unlock saturation blend x y handleX handleY angle smooth smoothFactor baseLine spacing kern line tile append clearType dpi frames",
    "makeText": "font style text size color index justify wrap angle smooth smoothFactor baseLine kern line clearType dpi rtype fillColor fitText",
    "sizeText": "font style text size justify",
    "convert": "rtype dither preserveBackground layers",
    "colorCorrect": "destProfile sourceProfile intent overrideEmbedded",
    "getWidth": "",
    "getHeight": "",
    "getPixelFormat": "",
    "getFrameCount": "",
    "clone": "",
    "setColor": "backColor foreColor backIndex foreIndex transparency popular precise layers",
    # broad
    "zoom": "xs ys scale x y alg padColor",
    "pad": "xs ys x y padColor",
    "quadWarp": "x1 y1 x2 y2 x3 y3 x4 y4 smooth",
    "line": f"x1 y1 x2 y2 {_STROKE}",
    "rectangle": f"x y xs ys angle {_STROKE}",
    "ellipse": f"x y rx ry {_STROKE}",
    "arc": f"x y rx ry startAngle endAngle warpAngles {_STROKE}",
    "polygon": f"points {_STROKE}",
    "measureText": "text font size style spacing smooth clearType kern",
    "gradient": "xs ys startColor endColor style angle",
    "adjustRgb": "contrast brightness red green blue noClip invert",
    "adjustHsb": "hue saturation brightness",
    "equalize": "brightness saturation",
    "colorize": "color saturation",
    "reduce": "netscape bw pad preserveBackground noWarp name colors dither ditherTop layers useAlpha alphaCutoff",
    "exportChannel": "channel",
    "importChannel": "channel source layers rtype",
    "selection": "source fill x y backColor color index colorType invert remove opacity radius layers name",
    "collapse": "layers preserveAlpha ignoreAlpha visibleOnly likePS",
    "setLayer": "index media",
    "setLayerBlend": "index blend",
    "getLayerCount": "",
    "getLayer": "index",
    "getLayerName": "index",
    "setLayerOpacity": "index opacity",
    "setLayerVisible": "index visible",
    "setLayerPosition": "index x y",
    "getFrame": "index",
    "setFrame": "index media",
    "setFrameDelay": "index delay",
    "blur": "radius",
    "blurGaussianBlur": "radius",
    "sharpenSharpen": "",
    "sharpenUnsharpMask": "amount radius threshold",
    "dropShadow": "dx dy blur opacity color enlarge",
    "glow": "blur size opacity color enlarge",
    "noiseAddNoise": "amount gaussian grayscale",
    "pixellateMosaic": "size",
    "stylizeEmboss": "angle height amount",
    "stylizeFindEdges": "threshold",
    "getMetadata": "name",
    "setMetadata": "name document",
    "getPixel": "x y",
    "getResolution": "",
    "setResolution": "dpi dpiX dpiY",
    "loadAsRGB": _LOAD,
    "embeddedProfile": "",
    "getEmbeddedProfileName": "",
    "setSourceProfile": "sourceProfile",
}
"""Methods of Media marked core or broad in section 6, with the parameters that sections 3.0 to 3.10 name for them."""
REQUEST = "getParameter getParameterNames getHeader getHeaderNames getFileParamNames getFileParamPath getRequestURL getQueryString getScriptPath"
RESPONSE = "setPath"


def test_the_service_has_what_the_reference_names():
    missing = [f"{name}({parameter})" for name, text in REFERENCE.items() for parameter in text.split() if name not in MEDIA or parameter.lower() not in MEDIA[name].parameters]  # fmt: skip
    missing += [name for name in REFERENCE if name not in MEDIA]
    missing += [name for name in REQUEST.split() if name not in REQ] + [name for name in RESPONSE.split() if name not in RESP]  # fmt: skip
    assert missing == []


def test_what_the_reference_leaves_open_is_decided_and_printed():
    """Every method for which it states no or not all parameters, and every proposal of its 3.10."""
    open_ones = {name for name, method in MEDIA.items() if method.source in ("3.5", "3.10")}
    open_ones |= {"load", "save", "makeCanvas", "scale", "rotate", "flip", "arc", "drawText", "makeText", "adjustHsb", "colorize", "colorCorrect", "composite", "selection", "reduce", "setColor", "convert"}  # fmt: skip
    assert sorted(open_ones - set(interpretations.METHODS)) == []
    assert sorted(set(interpretations.METHODS) - set(MEDIA)) == []


def test_every_method_and_parameter_is_called(called, whole_folder):
    """All of the catalogue, core, broad and later: each parameter was given in a call that was carried out."""
    if not whole_folder:
        pytest.skip("only when all tests of this folder run in one process")
    tables = (MEDIA, REQ, RESP, PROFILE, FILE, ZIP)
    uncalled = [name for table in tables for name in table if name not in called]
    untried = [f"{name}({parameter})" for table in tables for name, method in table.items() for parameter in method.parameters if parameter not in called.get(name, ())]  # fmt: skip
    assert not uncalled + untried, ", ".join(uncalled + untried)
    assert catalogue.VERSION
