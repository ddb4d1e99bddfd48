"""Trials for the estimator's calibration (G-8): sources rendered here, always the same, and scripts that between them use
every term. The benchmark and the tests have trials of their own over other sources.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dservices.mediagen import samples
from dservices.mediagen.formats import bmp

VERSION = "7"
_FILTERS = {
    "blur": ("radius @ 2", "radius @ 12"),
    "blurBlur": ("",),
    "blurMoreBlur": ("",),
    "blurGaussianBlur": ("radius @ 1.5", "radius @ 10"),
    "blurMotionBlur": ("angle @ 20, distance @ 15",),
    "noiseAddNoise": ("amount @ 10", "gaussian @ true, amount @ 20"),
    "otherHighPass": ("radius @ 5",),
    "otherMaximum": ("radius @ 2", "radius @ 8"),
    "otherMinimum": ("radius @ 3",),
    "pixellateMosaic": ("size @ 8",),
    "pixellateFragment": ("",),
    "sharpenSharpen": ("",),
    "sharpenSharpenMore": ("",),
    "sharpenUnsharpMask": ("radius @ 1.5, amount @ 80", "radius @ 6"),
    "stylizeDiffuse": ("",),
    "stylizeEmboss": ("",),
    "stylizeFindEdges": ("",),
    "stylizeTraceContour": ("",),
    "adjustRgb": ("contrast @ 30, brightness @ 10",),
    "adjustHsb": ("hue @ 20, saturation @ 30",),
    "equalize": ("brightness @ 1", "brightness @ 1, saturation @ 1"),
    "colorize": ("color @ 0x336699",),
    "convolve": ("matrix @ '1,2,1,2,4,2,1,2,1'",),
    "fixAlpha": ("color @ 0xFFFFFF",),
    "quadWarp": ("x1 @ 30, y1 @ 20, x2 @ 700, y2 @ 0, x3 @ 780, y3 @ 580, x4 @ 0, y4 @ 550",),
}
_JPEGS = (
    "photo01.jpg",
    "photo03.jpg",
    "photo12.jpg",
    "photo3.jpg",
    "photo1.jpg",
    "chart2.jpg",
    "photo3p.jpg",
    "gray3.jpg",
    "photo24.jpg",
    "busy2.jpg",
    "soft2.jpg",
    "text1.jpg",
)


def _cases() -> dict[str, str]:
    cases = {"nothing": "m.makeCanvas(xs @ 1, ys @ 1); m.save(type @ 'png');"}
    jpeg = "m.save(type @ 'jpeg', quality @ 80);"
    for source in _JPEGS:
        for width in (120, 400, 800, 1600):
            cases[f"{source} to {width}"] = (
                f"m.load(name @ '{source}'); m.scale(xs @ {width}, constrain @ true); {jpeg}"
            )
        cases[f"{source} whole"] = f"m.load(name @ '{source}'); {jpeg}"
        for width in (150, 500):
            cases[f"{source} smoothly to {width}"] = (
                f"m.load(name @ '{source}'); m.scale(xs @ {width}, constrain @ true, alg @ 'Smooth'); {jpeg}"
            )
    for source in ("photo1.png", "photo3.png", "chart2.png", "alpha1.png", "palette1.png", "photo1.webp", "photo6.webp",
                   "less1.webp", "alpha1.webp", "photo1.avif", "photo3.avif", "photo1.tif", "photo6.tif", "raw3.tif", "photo1.bmp",
                   "photo3.bmp", "small.svg", "cmyk1.jpg", "text1.png", "text1g.png"):  # fmt: skip
        cases[f"{source} to 300"] = (
            f"m.load(name @ '{source}'); m.scale(xs @ 300, constrain @ true); m.save(type @ 'png', level @ 1);"
        )
        cases[f"{source} to 900 best"] = (
            f"m.load(name @ '{source}'); m.scale(xs @ 900, constrain @ true, alg @ 'Best'); m.save(type @ 'jpeg', quality @ 80);"
        )
        cases[f"{source} whole"] = f"m.load(name @ '{source}'); m.save(type @ 'jpeg', quality @ 80);"
    cases.update(_encoders())
    cases.update(_steps())
    cases.update(_contents())
    for turn in (-5, 90):
        cases[f"photo12 turned by {turn}"] = (
            f"m.load(name @ 'photo12.jpg'); m.rotate(angle @ {turn}); m.save(type @ 'jpeg', quality @ 92, progressive @ true);"
        )
    for source in ("anim12.gif", "anim30.gif", "anim10.webp"):
        for kind in ("gif", "webp", "png"):
            cases[f"{source} as {kind}"] = f"m.load(name @ '{source}'); m.save(type @ '{kind}');"
        for name, steps in {
            "smaller": "m.scale(xs @ 100, constrain @ true); m.save(type @ 'gif');",
            "first, smaller": "m.scale(xs @ 120, constrain @ true); m.save(type @ 'jpeg', frames @ '2');",
            "in other hues": "m.adjustHsb(saturation @ 30); m.save(type @ 'gif');",
            "first in other hues": "m.adjustHsb(hue @ 30); m.save(type @ 'jpeg', frames @ '2');",
            "coloured": "m.adjustRgb(contrast @ 20); m.save(type @ 'webp');",
            "first": "m.save(type @ 'jpeg', frames @ '1');",
        }.items():
            cases[f"{source} {name}"] = f"m.load(name @ '{source}'); {steps}"
    for dpi in (50, 110, 200):
        cases[f"page at {dpi}"] = (
            f"m.load(name @ 'paper.pdf', dpi @ {dpi}, frames @ 2); m.save(type @ 'png', level @ 1);"
        )
    cases["pages as jpeg pdf"] = "m.load(name @ 'paper.pdf', dpi @ 80, frames @ '1-3'); m.save(type @ 'pdf');"
    return cases


_KINDS = {
    "photo": "m.load(name @ 'photo12.jpg'); m.scale(xs @ {0}, constrain @ true);",
    "motley": "m.load(name @ 'motley3.jpg'); m.scale(xs @ {0}, constrain @ true);",
    "detailed": "m.load(name @ 'busy2.jpg'); m.scale(xs @ {0}, constrain @ true);",
    "soft": "m.load(name @ 'soft2.jpg'); m.scale(xs @ {0}, constrain @ true);",
    "chart": "m.load(name @ 'chart2.png'); m.scale(xs @ {0}, constrain @ true);",
    "figure": "m.load(name @ 'figure1.png'); m.scale(xs @ {0}, constrain @ true);",
    "letters": "m.load(name @ 'text1.png'); m.scale(xs @ {0}, constrain @ true);",
    "page": "m.load(name @ 'paper.pdf', dpi @ {0} / 8.3);",
    "card": "m.makeCanvas(xs @ {0}, ys @ {0} * 0.7, fillColor @ 0x203040); m.drawText(text @ 'A title', size @ {0} / 9);",
    "noise": "m.load(name @ 'motley3.jpg'); m.scale(xs @ {0}, constrain @ true); m.noiseAddNoise(amount @ 20);",
    "blurred": "m.load(name @ 'motley3.jpg'); m.scale(xs @ {0}, constrain @ true); m.blurGaussianBlur(radius @ 4);",
    "alpha": "m.load(name @ 'alpha1.png'); m.scale(xs @ {0}, constrain @ true);",
}
"""Pictures of a width, by what is in them."""
_ALL = tuple(_KINDS)
_TONES = ("motley", "soft", "noise", "blurred", "letters", "chart", "figure", "page", "card")
"""Without those of few hues, which no photograph has: what looks for colours is misled by them."""
_FEW = ("motley", "detailed", "soft", "letters", "chart", "figure", "alpha")


def _encoders() -> dict[str, str]:
    """Every setting of every encoder over the kinds of content that its time depends on."""
    plans: list[tuple[str, int, tuple[str, ...]]] = []
    plans += [
        (f"type @ 'jpeg', quality @ {q}", 700, ("photo", "detailed", "chart", "letters")) for q in (40, 75, 85, 92)
    ]
    plans += [
        (f"type @ 'jpeg', quality @ {q}, progressive @ true", 700, ("photo", "detailed", "chart")) for q in (80, 92)
    ]
    plans += [(f"type @ 'png', level @ {level}", 500, _ALL) for level in range(10)]
    plans += [("type @ 'png', interlaced @ true", 500, _FEW), ("type @ 'png', colors @ 64", 400, _TONES)]
    plans += [("type @ 'png', colors @ 200, dither @ 8", 500, ("motley", "soft", "letters", "chart"))]
    plans += [(f"type @ 'webp', effort @ {effort}", 500, (*_FEW, "card", "noise")) for effort in (0, 1, 2, 3, 4, 5, 6)]
    plans += [(f"type @ 'webp', quality @ {q}", 600, _FEW[:5]) for q in (40, 92)]
    plans += [
        (f"type @ 'webp', lossless @ true, effort @ {effort}", 350, (*_TONES, "alpha")) for effort in (0, 2, 4, 6)
    ]
    plans += [(f"type @ 'avif', effort @ {effort}", 300, (*_FEW, "card")) for effort in (0, 2, 4, 6)]
    plans += [(f"type @ 'avif', quality @ {q}", 400, _FEW[:5]) for q in (30, 75)]
    plans += [(f"type @ 'gif', effort @ {effort}", 350, _TONES) for effort in (2, 7)]
    plans += [("type @ 'gif', colors @ 16", 350, ("motley", "soft", "letters", "chart"))]
    plans += [
        (f"type @ 'tiff', compression @ '{c}'", 600, ("photo", "detailed", "chart", "letters", "noise"))
        for c in ("lzw", "deflate")
    ]
    plans += [
        (f"type @ 'tiff', compression @ '{c}'", 700, ("photo", "chart")) for c in ("none", "jpeg", "packbits", "webp")
    ]
    plans += [("type @ 'pdf'", 700, ("photo", "letters")), ("type @ 'bmp'", 700, ("photo", "chart"))]
    cases = {
        f"{kind} {width} as {setting}": f"{_KINDS[kind].format(width)} m.save({setting});"
        for setting, width, kinds in plans
        for kind in kinds
    }
    for kind in ("photo", "motley", "chart"):
        cases[f"{kind} 700 as avif"] = f"{_KINDS[kind].format(700)} m.save(type @ 'avif');"
        cases[f"{kind} 150 as avif"] = f"{_KINDS[kind].format(150)} m.save(type @ 'avif');"
    for setting in ("type @ 'png'", "type @ 'gif'", "type @ 'webp', lossless @ true"):
        cases[f"gray as {setting}"] = (
            f"m.load(name @ 'gray3.jpg'); m.scale(xs @ 500, constrain @ true); m.save({setting});"
        )
    large = ("type @ 'webp', quality @ 80", "type @ 'png', level @ 6", "type @ 'png', level @ 2", "type @ 'gif'")
    for setting in (*large, "type @ 'webp', lossless @ true"):
        cases[f"photo large as {setting}"] = f"m.load(name @ 'motley3.jpg'); m.save({setting});"
    usual = (
        "type @ 'png', level @ 6",
        "type @ 'webp'",
        "type @ 'gif'",
        "type @ 'webp', lossless @ true",
        "type @ 'png', colors @ 64",
    )
    more = ("type @ 'png', level @ 9", "type @ 'png', level @ 3", "type @ 'webp', lossless @ true, effort @ 2")
    for setting in (*usual, *more):
        for kind in ("motley", "soft", "letters", "chart", "figure", "page", "card"):
            cases[f"{kind} 1100 as {setting}"] = f"{_KINDS[kind].format(1100)} m.save({setting});"
            if setting in usual:
                cases[f"{kind} 180 as {setting}"] = f"{_KINDS[kind].format(180)} m.save({setting});"
    for name in ("little.png", "icon.png", "little.webp", "little.gif", "photo01.jpg", "photo03.jpg"):
        for setting in ("type @ 'jpeg', quality @ 80", "type @ 'png'", "type @ 'webp'", "type @ 'bmp'"):
            cases[f"{name} as {setting}"] = f"m.load(name @ '{name}'); m.save({setting});"
            cases[f"{name} at 90 as {setting}"] = (
                f"m.load(name @ '{name}'); m.scale(xs @ 90, constrain @ true); m.save({setting});"
            )
    for kind in ("jpeg", "png", "webp", "gif", "tiff", "bmp", "pdf", "avif"):
        cases[f"40 pixels as {kind}"] = (
            f"m.makeCanvas(xs @ 40, ys @ 40, fillColor @ 0x336699); m.save(type @ '{kind}');"
        )
    cases["40 pixels as webp lossless"] = "m.makeCanvas(xs @ 40, ys @ 40); m.save(type @ 'webp', lossless @ true);"
    return cases


def _contents() -> dict[str, str]:
    """The encoders whose time depends much on what is encoded, over more kinds of content and sizes."""
    cases = {}
    for width in (350, 1000):
        large = f"m.load(name @ 'photo12.jpg'); m.scale(xs @ {width}, constrain @ true);"
        for step in ("m.pixellateMosaic(size @ 12)", "m.blurGaussianBlur(radius @ 5)", "m.stylizeFindEdges()"):
            for setting in ("type @ 'png', level @ 9", "type @ 'png', level @ 3", "type @ 'webp'"):
                cases[f"{step} at {width} as {setting}"] = f"{large} {step}; m.save({setting});"
        cases[f"palette at {width}"] = f"{large} m.reduce(colors @ 64); m.save(type @ 'png');"
        cases[f"palette at {width} as gif"] = f"{large} m.reduce(colors @ 30); m.save(type @ 'gif');"
    for source in ("photo12.jpg", "photo3.jpg", "gray3.jpg"):
        cases[f"{source} turned"] = (
            f"m.load(name @ '{source}'); m.rotate(angle @ 90); m.save(type @ 'jpeg', quality @ 85);"
        )
        cases[f"{source} blurred whole"] = (
            f"m.load(name @ '{source}'); m.blur(radius @ 4); m.save(type @ 'jpeg', quality @ 80);"
        )
        cases[f"{source} cropped"] = (
            f"m.load(name @ '{source}'); m.crop(xs @ 700, ys @ 700); m.save(type @ 'jpeg', quality @ 85);"
        )
    for quality in (70, 88):
        cases[f"photo24 at 2400, {quality}"] = (
            f"m.load(name @ 'photo24.jpg'); m.scale(xs @ 2400, constrain @ true); m.save(type @ 'jpeg', quality @ {quality});"
        )
        cases[f"photo12 at 1400, {quality}"] = (
            f"m.load(name @ 'photo12.jpg'); m.scale(xs @ 1400, constrain @ true); m.save(type @ 'jpeg', quality @ {quality});"
        )
    for words in (10, 60, 150):
        cases[f"{words} words"] = (
            f"m.makeCanvas(xs @ 700, ys @ 900); m.drawText(text @ '{'words of it ' * (words // 3)}', size @ 20, wrap @ 600, color @ 0); m.save(type @ 'png');"
        )
    for setting in ("type @ 'gif'", "type @ 'webp'", "type @ 'png'"):
        cases[f"frames larger as {setting}"] = (
            f"m.load(name @ 'anim12.gif'); m.scale(xs @ 400, constrain @ true); m.save({setting});"
        )
        cases[f"frames smaller as {setting}"] = (
            f"m.load(name @ 'anim30.gif'); m.scale(xs @ 110, constrain @ true); m.save({setting});"
        )
        cases[f"frames with text as {setting}"] = (
            f"m.load(name @ 'anim12.gif'); m.drawText(text @ 'over it', size @ 24); m.save({setting});"
        )
    for source in ("photo6.tif", "photo1.tif", "raw3.tif", "photo3.bmp", "photo3.avif", "photo3.png", "photo6.webp"):
        for width in (500, 1000):
            cases[f"{source} to jpeg {width}"] = (
                f"m.load(name @ '{source}'); m.scale(xs @ {width}, constrain @ true); m.save(type @ 'jpeg');"
            )
    for shape in (
        "ellipse(x @ 90, y @ 90, rx @ 60, ry @ 30, fill @ true)",
        "rectangle(x @ 9, y @ 9, xs @ 99, ys @ 50)",
    ):
        for setting in ("type @ 'webp'", "type @ 'gif'", "type @ 'png'"):
            cases[f"frames of {shape} as {setting}"] = (
                f"for (var n = 1; n <= 10; n++) {{ var f = new Media(); f.makeCanvas(xs @ 180, ys @ 180, fillColor @ n * 9000); f.{shape}; m.setFrame(n, f); }} m.save({setting});"
            )
    for source in ("deflate3.tif", "chart2.png", "alpha1.png", "photo3.jpg"):
        cases[f"{source} whole as png"] = f"m.load(name @ '{source}'); m.save(type @ 'png');"
        for width in (400, 1100):
            cases[f"{source} at {width} as jpeg again"] = (
                f"m.load(name @ '{source}'); m.scale(xs @ {width}, constrain @ true); m.save(type @ 'jpeg', quality @ 83);"
            )
    for dpi in (60, 140):
        cases[f"page at {dpi} whole"] = f"m.load(name @ 'paper.pdf', dpi @ {dpi}); m.save(type @ 'png');"
        cases[f"page at {dpi} as jpeg"] = f"m.load(name @ 'paper.pdf', dpi @ {dpi}); m.save(type @ 'jpeg');"
    return cases


def _steps() -> dict[str, str]:
    cases = {}
    start, end = "m.load(name @ 'motley3.jpg'); m.scale(xs @ 800, ys @ 600);", "m.save(type @ 'jpeg', quality @ 80);"
    alpha = "m.load(name @ 'alpha1.png'); m.scale(xs @ 600, ys @ 480);"
    for method, variants in _FILTERS.items():
        for arguments in variants:
            cases[f"{method} {arguments}"] = f"{start} m.{method}({arguments}); {end}"
        cases[f"{method} large"] = f"m.load(name @ 'motley3.jpg'); m.{method}({variants[0]}); {end}"
        cases[f"{method} small"] = (
            f"m.load(name @ 'motley3.jpg'); m.scale(xs @ 250, ys @ 200); m.{method}({variants[0]}); {end}"
        )
        if method not in ("colorize", "equalize", "quadWarp"):
            cases[f"{method} alpha"] = f"{alpha} m.{method}({variants[0]}); m.save(type @ 'png', level @ 1);"
    steps = [
        "m.rotate(angle @ 7)", "m.rotate(angle @ 90)", "m.rotate(angle @ 12, smooth @ false)", "m.flip(axis @ 'vertical')",
        "m.crop(xs @ 400, ys @ 300)", "m.pad(xs @ 1000, ys @ 900, padColor @ 0xFF0000)", "m.zoom(scale @ 200)",
        "m.scale(xs @ 1600, ys @ 1200)", "m.scale(xs @ 1600, ys @ 1200, alg @ 'Smooth')", "m.scale(xs @ 1500, ys @ 1100, alg @ 'Best')",
        "m.scale(xs @ 400, ys @ 300, alg @ 'Best')", "m.scale(xs @ 400, ys @ 300, alg @ 'Outline')", "m.scale(xs @ 1600, ys @ 1200, alg @ 'Outline')",
        "m.drawText(text @ 'Twenty letters of it', size @ 20)", "m.drawText(text @ 'Large', size @ 150)",
        "m.drawText(text @ 'A longer text that is wrapped into lines so that it makes a paragraph of its own here', size @ 24, wrap @ 300)",
        "m.drawText(text @ 'Smooth', size @ 60, smoothFactor @ 2)", "m.drawText(text @ 'Tiled', size @ 20, tile @ true)", "m.drawText(text @ 'Smoother', size @ 25, smoothFactor @ 2)",
        "m.drawText(text @ 'Smoother still', size @ 95, smoothFactor @ 2)", "m.drawText(text @ 'At an angle', size @ 25, angle @ 12)",
        "m.drawText(text @ 'Blended', size @ 80, blend @ 'Multiply')", "m.drawText(text @ 'Turned', size @ 60, angle @ 30)",
        "m.rectangle(x @ 10, y @ 10, xs @ 300, ys @ 200, color @ 0xFF0000, fill @ true)", "m.ellipse(x @ 400, y @ 300, rx @ 350, ry @ 250, width @ 5)",
        "m.line(x1 @ 0, y1 @ 0, x2 @ 799, y2 @ 599, width @ 3)", "m.polygon(points @ '10,10;500,50;300,500;10,10', fill @ true)",
        "m.arc(x @ 300, y @ 300, rx @ 200, ry @ 200, startAngle @ 0, endAngle @ 200)", "m.setPixel(x @ 5, y @ 5, color @ 0)",
        "m.gradient(opacity @ 120)", "m.gradient(angle @ 90)", "m.gradient(opacity @ 120, style @ 'radial')", "m.convert(rtype @ 'Gray-8')", "m.convert(rtype @ 'RGBA-32')",
        "m.convert(rtype @ 'RGB-15')", "m.reduce(colors @ 32)", "m.reduce(colors @ 200, dither @ 8)", "m.colorCorrect(destProfile @ 'p3', sourceProfile @ 'rgb')",
        "m.colorCorrect(destProfile @ 'cmyk', sourceProfile @ 'rgb'); m.colorCorrect(destProfile @ 'rgb')",
        "var c = m.exportChannel(channel @ 'Red'); m.importChannel(channel @ 'Blue', source @ c)",
        "m.dropShadow(blur @ 6)", "m.glow(blur @ 5, size @ 4)", "m.selection(colorType @ 'Greens'); m.adjustRgb(invert @ true)",
        "m.selection(color @ 0x336699, radius @ 20); m.blurBlur()", "m.composite(color @ 0x0000FF, opacity @ 60)", "m.getPopularColor()",
        "m.sizeText(text @ 'How wide is it', size @ 40)", "m.measureText(text @ 'Offsets', size @ 30)",
    ]  # fmt: skip
    for text in steps:
        cases[text] = f"{start} {text}; {end}"
    for text in ("m.gradient(angle @ 45)", "m.selection(colorType @ 'Blues'); m.adjustRgb(brightness @ 20)", "m.composite(color @ 0x0000FF, opacity @ 60)",
                 "m.rotate(angle @ 7)", "m.rotate(angle @ 90)", "m.glow(blur @ 5, size @ 4)", "m.reduce(colors @ 32)", "m.colorCorrect(destProfile @ 'p3', sourceProfile @ 'rgb')"):  # fmt: skip
        for width in (200, 1400):
            sized = start.replace("xs @ 800, ys @ 600", f"xs @ {width}, constrain @ true")
            cases[f"{text} at {width}"] = f"{sized} {text}; {end}"
    return cases | _several_pictures(start, end)


def _several_pictures(start: str, end: str) -> dict[str, str]:
    """Text and drawings alone, composites, layers, frames, many calls."""
    cases = {}
    for step in ("dropShadow(blur @ 4)", "glow(blur @ 3)", "blur(radius @ 2)"):
        cases[f"text with {step}"] = (
            f"m.makeText(text @ 'Words on it', size @ 40, color @ 0x304050); m.{step}; m.save(type @ 'png');"
        )
    for method in ("adjustHsb(saturation @ 20)", "equalize(saturation @ 2)", "colorize(color @ 0x704214)"):
        cases[f"chart {method}"] = f"m.load(name @ 'chart2.png'); m.{method}; {end}"
    for blend in ("Multiply", "Overlay", "Luminosity"):
        cases[f"composite {blend} whole"] = (
            f"{start} var w = new Media(); w.load(name @ 'chart2.png'); w.scale(xs @ 800, ys @ 600); m.composite(source @ w, blend @ '{blend}'); {end}"
        )
    for blend in ("Normal", "Multiply", "Screen", "Overlay", "SoftLight", "Luminosity", "Dissolve", "Dodge", "Hue"):
        cases[f"composite {blend}"] = (
            f"{start} var w = new Media(); w.load(name @ 'alpha1.png'); w.scale(xs @ 500, ys @ 400); m.composite(source @ w, blend @ '{blend}', opacity @ 200); {end}"
        )
    cases["composite small"] = (
        f"{start} var w = new Media(); w.makeText(text @ 'Mark', size @ 40, color @ 0xFFFFFF); m.composite(source @ w, x @ 50, y @ 40); {end}"
    )
    cases["layers"] = (
        f"{start} var w = new Media(); w.load(name @ 'alpha1.png'); w.scale(xs @ 500, ys @ 400); m.setLayer(1, w); m.setLayerBlend(1, 'Screen'); m.collapse(); {end}"
    )
    over = "var w = new Media(); w.load(name @ 'alpha1.png'); w.scale(xs @ {0}, ys @ {1}); m.setLayer(1, w);"
    for width, height in ((300, 200), (800, 600)):
        two = f"{start} {over.format(width, height)}"
        cases[f"layer of {width}"] = f"{two} {end}"
        cases[f"layer of {width}, multiplied"] = f"{two} m.setLayerBlend(1, 'Multiply'); {end}"
        cases[f"layer of {width} blurred"] = f"{two} m.blurGaussianBlur(radius @ 4, layers @ '1'); {end}"
        cases[f"layers with {width} adjusted"] = f"{two} m.adjustHsb(hue @ 20); m.collapse(); {end}"
    for source in ("layers.psd", "drawn.psd"):
        cases[f"{source} whole"] = f"m.load(name @ '{source}'); {end}"
        cases[f"{source} smaller"] = f"m.load(name @ '{source}'); m.scale(xs @ 300, constrain @ true); m.save();"
        cases[f"{source} layers"] = f"m.load(name @ '{source}', layers @ 's*,ground'); {end}"
    cases["layers.psd one"] = "m.load(name @ 'layers.psd', layers @ '0'); m.save(type @ 'png', level @ 1);"
    cases["frames"] = (
        "for (var n = 1; n <= 8; n++) { var f = new Media(); f.makeCanvas(xs @ 200, ys @ 150, fillColor @ n * 3000); f.drawText(text @ 'Frame ' + n, size @ 24); m.setFrame(n, f); } m.save(type @ 'gif');"
    )
    cases["many calls"] = f"{start} for (var n = 0; n < 60; n++) m.getWidth(); {end}"
    cases["text card"] = (
        "m.makeCanvas(xs @ 800, ys @ 400, fillColor @ 0x203040); m.drawText(text @ 'A card', size @ 60, color @ 0xFFFFFF); m.drawText(text @ 'with two lines', size @ 30, y @ 300); m.save(type @ 'png');"
    )
    return cases


CALIBRATION: dict[str, str] = _cases()
"""Script bodies by name; `m` is an empty Media."""


def chart(width: int, height: int, seed: int = 1) -> Any:
    """Flat areas, lines and text: the kind of picture that is no photograph."""
    import pyvips

    image = pyvips.Image.black(width, height, bands=3) + 250
    for n in range(12):
        bar = (seed * 37 + n * 53) % 70 + 20
        colour = [(n * 40 + 30 * seed) % 256, (n * 90 + 20) % 256, (n * 17 + 60 * seed) % 256]
        left, high = width * (n + 1) // 15, height * bar // 100
        patch = (pyvips.Image.black(max(1, width // 20), high, bands=3) + colour).cast("uchar")
        image = image.cast("uchar").insert(patch, left, height - high - height // 20)
    text = pyvips.Image.text("Bars of a year, in thousands", font=f"sans {max(8, height // 20)}", dpi=72)
    white = (text.bandjoin([text, text]) * -1 + 255).cast("uchar")
    return image.insert(white, width // 10, height // 30).cast("uchar").copy(interpretation="srgb")


def figure(width: int, height: int) -> Any:
    """Coloured discs, slanting lines and names: a drawing whose edges lie at every angle."""
    import pyvips

    image = pyvips.Image.black(width, height, bands=3).linear(1, [252, 252, 248]).cast("uchar").copy_memory()
    for n in range(26):
        x, y = (n * 397 + 90) % width, (n * 251 + 60) % height
        colour = [(n * 71 + 40) % 256, (n * 113 + 90) % 256, (n * 37 + 120) % 256]
        image = image.draw_circle(colour, x, y, 18 + 3 * (n % 9), fill=True)
        image = image.draw_line([60, 60, 90], x, y, (x * 3 + 200) % width, (y * 2 + 100) % height).copy_memory()
        label = pyvips.Image.text(f"Part {n}", font="sans 15", dpi=72)
        if x + label.width < width and y + label.height < height:
            image = image.draw_mask([20, 20, 60], label, x, y).copy_memory()
    return image.copy(interpretation="srgb")


def written(text: str, times: int, size: int, width: int = 900, height: int = 1100) -> Any:
    """A page of a text, black on white."""
    import pyvips

    mask = pyvips.Image.text(text * times, font=f"sans {size}", dpi=72, width=width - 100)
    page = mask.embed(50, 50, width, max(height, mask.height + 100)).crop(0, 0, width, height)
    return (page.bandjoin([page, page]) * -1 + 255).cast("uchar").copy(interpretation="srgb")


def _packed_rows(image: Any) -> list[bytes]:
    """One channel's rows as PackBits writes them."""
    data, rows = image.write_to_memory(), []
    for y in range(image.height):
        row, out, at, plain = data[y * image.width : (y + 1) * image.width], bytearray(), 0, 0
        while at <= len(row):
            run = 1
            while at + run < len(row) and run < 128 and row[at + run] == row[at]:
                run += 1
            if run > 2 or at == len(row) or at - plain == 128:
                if at > plain:
                    out += bytes([at - plain - 1]) + row[plain:at]
                if at == len(row):
                    break
                if run > 2:
                    out += bytes([257 - run, row[at]])
                    at += run
                plain = at
            else:
                at += 1
        rows.append(bytes(out))
    return rows


def photoshop_file(picture: Any, layers: list[tuple[str, Any, int, int, bytes]]) -> bytes:
    """A PSD of an RGB picture and layers (name, RGBA image, left, top, blend key), packed as Photoshop does."""

    def channel(image: Any) -> bytes:
        rows = _packed_rows(image)
        return struct.pack(f">H{len(rows)}H", 1, *map(len, rows)) + b"".join(rows)

    records, data = b"", b""
    for name, image, left, top, blend in layers:
        parts = [channel(image[n]) for n in (3, 0, 1, 2)]
        records += struct.pack(">iiiiH", top, left, top + image.height, left + image.width, 4)
        records += b"".join(struct.pack(">hI", n - 1, len(part)) for n, part in enumerate(parts))
        text = bytes([len(name)]) + name.encode("ascii")
        extra = bytes(8) + text + bytes(-len(text) % 4)
        records += b"8BIM" + blend + struct.pack(">BBBxI", 255, 0, 0, len(extra)) + extra
        data += b"".join(parts)
    info = struct.pack(">h", len(layers)) + records + data
    info += bytes(-len(info) % 4)
    section = struct.pack(">I", len(info)) + info + bytes(4)
    planes = [_packed_rows(picture[n]) for n in range(3)]
    whole = struct.pack(f">H{3 * picture.height}H", 1, *(len(row) for rows in planes for row in rows))
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, picture.height, picture.width, 8, 3) + bytes(8)
    return head + struct.pack(">I", len(section)) + section + whole + b"".join(b"".join(rows) for rows in planes)


Save = Callable[..., None]
"""Writes an image under a name, with libvips' options for its format."""


def make_sources(folder: Path) -> None:
    """Renders what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / ".version"
    if stamp.exists() and stamp.read_text() == VERSION:
        return

    def save(image: Any, name: str, **options: Any) -> None:
        image.write_to_file(str(folder / name), **{"keep": "none", **options})

    photo = samples.landscape().copy_memory()
    sizes = {mega: photo.resize((mega / 12) ** 0.5).cast("uchar").copy_memory() for mega in (1, 3, 6)}
    _save_photographs(save, photo, sizes)
    _save_motley(save, photo)
    _save_drawings(save)
    _save_other_formats(save, sizes)
    _save_animations(save, sizes[1])
    _write_documents(folder, sizes)
    stamp.write_text(VERSION)


def _save_photographs(save: Save, photo: Any, sizes: Mapping[int, Any]) -> None:
    save(photo, "photo12.jpg", Q=88)
    save(photo.resize(2**0.5).cast("uchar"), "photo24.jpg", Q=80)
    save(sizes[3], "photo3.jpg", Q=85)
    save(sizes[3], "photo3p.jpg", Q=85, interlace=True)
    save(sizes[3].colourspace("b-w"), "gray3.jpg", Q=85)
    save(sizes[1], "photo1.jpg", Q=75)
    for mega in (0.1, 0.3):
        save(photo.resize((mega / 12) ** 0.5).cast("uchar"), f"photo0{mega * 10:.0f}.jpg", Q=86)
    inks = [255 - sizes[1][n] for n in range(3)]
    save(inks[0].bandjoin([inks[1], inks[2], inks[0] * 0]).cast("uchar").copy(interpretation="cmyk"), "cmyk1.jpg", Q=85)
    save(sizes[1].resize(0.25).cast("uchar"), "little.webp", Q=80)


def _save_motley(save: Save, photo: Any) -> None:
    """With much fine detail, with several hues and grain, and softened."""
    import pyvips

    fine = samples.octaves(1700, 1250, 24, 4, 31) * 70
    busy = (photo.resize(0.425).crop(0, 0, 1700, 1250) + fine.bandjoin([fine, fine * 0.8])).cast("uchar").sharpen()
    busy = busy.copy(interpretation="srgb").copy_memory()
    save(busy, "busy2.jpg", Q=85)
    hues = [samples.octaves(2000, 1500, 90, 4, 400 + 10 * n) * 30 for n in range(3)]
    speckles = [pyvips.Image.gaussnoise(2000, 1500, mean=0, sigma=3, seed=60 + n) for n in range(3)]
    motley = (
        busy.resize(2000 / 1700, vscale=1500 / 1250) + hues[0].bandjoin(hues[1:]) + speckles[0].bandjoin(speckles[1:])
    ).cast("uchar")
    motley = motley.copy(interpretation="srgb").copy_memory()
    save(motley, "motley3.jpg", Q=88)
    save(motley.resize(0.8).gaussblur(2.5).cast("uchar"), "soft2.jpg", Q=88)


def _save_drawings(save: Save) -> None:
    graph = chart(1800, 1200)
    save(graph, "chart2.jpg", Q=90)
    save(graph, "chart2.png")
    save(figure(1000, 700), "figure1.png", filter="sub")
    small = chart(260, 180, 4)
    save(small, "little.png", filter="all")
    save(small, "icon.png", palette=True)
    save(small, "little.gif")
    words = written("A page full of words, as a scan or a picture of a screen has them, line by line. ", 30, 15)
    save(words, "text1.png")
    save(words, "text1.jpg", Q=82)
    save(words.colourspace("b-w"), "text1g.png")


def _with_alpha(image: Any) -> Any:
    """Clear on the left, opaque on the right."""
    import pyvips

    return image.bandjoin(pyvips.Image.xyz(image.width, image.height)[0].linear(256 / image.width, 0).cast("uchar"))


def _save_other_formats(save: Save, sizes: Mapping[int, Any]) -> None:
    clear = _with_alpha(sizes[1])
    save(sizes[1], "photo1.png", filter="all")
    save(sizes[3], "photo3.png", filter="sub")
    save(clear, "alpha1.png", filter="all")
    save(sizes[1], "palette1.png", palette=True)
    save(sizes[1], "photo1.webp", Q=80)
    save(sizes[6], "photo6.webp", Q=75, effort=1)
    save(sizes[1], "less1.webp", lossless=True, effort=1)
    save(clear, "alpha1.webp", Q=80)
    save(sizes[1], "photo1.avif", Q=55, effort=1)
    save(sizes[3], "photo3.avif", Q=50, effort=1)
    save(sizes[1], "photo1.tif", compression="deflate", predictor="horizontal")
    save(sizes[6], "photo6.tif", compression="lzw", predictor="horizontal")
    save(sizes[3], "raw3.tif")
    save(sizes[3], "deflate3.tif", compression="deflate", predictor="horizontal")


def _save_animations(save: Save, photo: Any) -> None:
    import pyvips

    for name, count, width, height in (
        ("anim12.gif", 12, 320, 240),
        ("anim30.gif", 30, 200, 150),
        ("anim10.webp", 10, 320, 240),
    ):
        frames = [photo.crop(6 * n, 100, width, height) for n in range(count)]
        strip = pyvips.Image.arrayjoin(frames, across=1).copy()
        strip.set_type(pyvips.GValue.gint_type, "page-height", height)
        strip.set_type(pyvips.GValue.array_int_type, "delay", [80] * count)
        save(strip, name, keep="all")


def _write_documents(folder: Path, sizes: Mapping[int, Any]) -> None:
    """What libvips does not write: BMP, PSD with layers, SVG, PDF."""
    for mega in (1, 3):
        (folder / f"photo{mega}.bmp").write_bytes(bmp.save(sizes[mega]))
    ground = _with_alpha(sizes[1]).resize(0.5).cast("uchar")
    sign = chart(300, 200, 3).bandjoin(200).copy(interpretation="srgb")
    (folder / "layers.psd").write_bytes(
        photoshop_file(ground[0:3], [("ground", ground, 0, 0, b"norm"), ("sign", sign, 60, 40, b"mul ")])
    )
    (folder / "drawn.psd").write_bytes(photoshop_file(chart(900, 700, 6), [("sign", sign, 9, 9, b"scrn")]))
    circles = "".join(f'<circle cx="{50 * n}" cy="{30 * n}" r="{20 + n}" fill="#{n:x}{n:x}8"/>' for n in range(16))
    (folder / "small.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="500">{circles}</svg>'
    )
    (folder / "paper.pdf").write_bytes(samples.document(samples.pages()))
