"""Trials for the estimator's calibration (G-8): sources rendered here, always the same, and scripts that between them use
every term. The benchmark and the tests have trials of their own over other sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

VERSION = "2"
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
_JPEGS = ("photo12.jpg", "photo3.jpg", "photo1.jpg", "chart2.jpg", "photo3p.jpg", "gray3.jpg", "photo24.jpg")


def _cases() -> dict[str, str]:
    cases = {"nothing": "m.makeCanvas(xs @ 1, ys @ 1); m.save(type @ 'png');"}
    jpeg = "m.save(type @ 'jpeg', quality @ 80);"
    for source in _JPEGS:
        for width in (120, 400, 800, 1600):
            cases[f"{source} to {width}"] = (
                f"m.load(name @ '{source}'); m.scale(xs @ {width}, constrain @ true); {jpeg}"
            )
        cases[f"{source} whole"] = f"m.load(name @ '{source}'); {jpeg}"
    for source in ("photo1.png", "photo3.png", "chart2.png", "alpha1.png", "palette1.png", "photo1.webp", "photo6.webp",
                   "less1.webp", "alpha1.webp", "photo1.avif", "photo3.avif", "photo1.tif", "photo6.tif", "raw3.tif", "photo1.bmp",
                   "photo3.bmp", "small.svg", "cmyk1.jpg"):  # fmt: skip
        cases[f"{source} to 300"] = (
            f"m.load(name @ '{source}'); m.scale(xs @ 300, constrain @ true); m.save(type @ 'png', level @ 1);"
        )
        cases[f"{source} to 900 best"] = (
            f"m.load(name @ '{source}'); m.scale(xs @ 900, constrain @ true, alg @ 'Best'); m.save(type @ 'bmp');"
        )
        cases[f"{source} whole"] = (
            f"m.load(name @ '{source}'); m.save(type @ '{'tiff' if source == 'cmyk1.jpg' else 'bmp'}', compression @ 'none');"
        )
    cases.update(_encoders())
    cases.update(_steps())
    cases.update(_contents())
    for source in ("anim12.gif", "anim30.gif", "anim10.webp"):
        for kind in ("gif", "webp", "png"):
            cases[f"{source} as {kind}"] = f"m.load(name @ '{source}'); m.save(type @ '{kind}');"
        cases[f"{source} smaller"] = (
            f"m.load(name @ '{source}'); m.scale(xs @ 100, constrain @ true); m.save(type @ 'gif');"
        )
        cases[f"{source} first"] = f"m.load(name @ '{source}'); m.save(type @ 'jpeg', frames @ '1');"
    for dpi in (50, 110, 200):
        cases[f"page at {dpi}"] = (
            f"m.load(name @ 'paper.pdf', dpi @ {dpi}, frames @ 2); m.save(type @ 'png', level @ 1);"
        )
    cases["pages as jpeg pdf"] = "m.load(name @ 'paper.pdf', dpi @ 80, frames @ '1-3'); m.save(type @ 'pdf');"
    return cases


def _encoders() -> dict[str, str]:
    settings = [f"type @ 'jpeg', quality @ {q}" for q in (40, 75, 92)]
    settings += ["type @ 'jpeg', quality @ 80, progressive @ true", "type @ 'jpeg', quality @ 92, progressive @ true"]
    settings += [f"type @ 'png', level @ {level}" for level in range(10)]
    settings += ["type @ 'png', colors @ 64", "type @ 'png', interlaced @ true"]
    settings += [f"type @ 'webp', effort @ {effort}" for effort in range(7)]
    settings += [f"type @ 'webp', quality @ {q}" for q in (30, 95)]
    settings += [f"type @ 'webp', lossless @ true, effort @ {effort}" for effort in (0, 2, 4, 6)]
    settings += [f"type @ 'avif', effort @ {effort}" for effort in (0, 2, 4, 6)]
    settings += ["type @ 'avif', quality @ 85", "type @ 'avif', quality @ 30"]
    settings += ["type @ 'gif'", "type @ 'gif', effort @ 2", "type @ 'gif', colors @ 16"]
    settings += [
        f"type @ 'tiff', compression @ '{c}'" for c in ("none", "lzw", "deflate", "jpeg", "packbits", "webp", "zstd")
    ]
    settings += ["type @ 'pdf'", "type @ 'bmp'"]
    cases = {}
    for setting in settings:
        for source, width in (("photo3.jpg", 700), ("chart2.png", 500)):
            cases[f"{source} {width} as {setting}"] = (
                f"m.load(name @ '{source}'); m.scale(xs @ {width}, constrain @ true); m.save({setting});"
            )
    for setting in ("type @ 'png'", "type @ 'webp'", "type @ 'avif'", "type @ 'gif'"):
        cases[f"alpha as {setting}"] = (
            f"m.load(name @ 'alpha1.png'); m.scale(xs @ 600, constrain @ true); m.save({setting});"
        )
    for setting in (
        "type @ 'webp', quality @ 80",
        "type @ 'png', level @ 6",
        "type @ 'gif'",
        "type @ 'webp', lossless @ true",
    ):
        cases[f"photo large as {setting}"] = f"m.load(name @ 'photo3.jpg'); m.save({setting});"
    return cases


def _contents() -> dict[str, str]:
    """The encoders whose time depends much on what is encoded, over more kinds of content and sizes."""
    cases = {}
    for width in (350, 1200):
        large = f"m.load(name @ 'photo12.jpg'); m.scale(xs @ {width}, constrain @ true);"
        settings = [f"type @ 'png', level @ {level}" for level in (1, 4, 6, 9)] + [
            "type @ 'webp', quality @ 80",
            "type @ 'webp', lossless @ true",
        ]
        settings += [
            "type @ 'webp', effort @ 1",
            "type @ 'webp', effort @ 6",
            "type @ 'avif'",
            "type @ 'gif'",
            "type @ 'tiff', compression @ 'lzw'",
            "type @ 'tiff'",
        ]
        settings += ["type @ 'avif', effort @ 4"] * (width < 500)
        for setting in settings:
            cases[f"photo12 at {width} as {setting}"] = f"{large} m.save({setting});"
        for step in ("m.pixellateMosaic(size @ 12)", "m.blurGaussianBlur(radius @ 5)", "m.noiseAddNoise(amount @ 15)"):
            for setting in ("type @ 'png', level @ 9", "type @ 'png', level @ 3", "type @ 'webp'"):
                cases[f"{step} at {width} as {setting}"] = f"{large} {step}; m.save({setting});"
        cases[f"palette at {width}"] = f"{large} m.reduce(colors @ 64); m.save(type @ 'png');"
        cases[f"contour at {width}"] = f"{large} m.stylizeFindEdges(); m.save(type @ 'png');"
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
    start, end = "m.load(name @ 'photo3.jpg'); m.scale(xs @ 800, ys @ 600);", "m.save(type @ 'bmp');"
    alpha = "m.load(name @ 'alpha1.png'); m.scale(xs @ 600, ys @ 480);"
    for method, variants in _FILTERS.items():
        for arguments in variants:
            cases[f"{method} {arguments}"] = f"{start} m.{method}({arguments}); {end}"
        cases[f"{method} large"] = f"m.load(name @ 'photo1.bmp'); m.{method}({variants[0]}); {end}"
        if method not in ("colorize", "equalize", "quadWarp"):
            cases[f"{method} alpha"] = f"{alpha} m.{method}({variants[0]}); {end}"
    steps = [
        "m.rotate(angle @ 7)", "m.rotate(angle @ 90)", "m.rotate(angle @ 12, smooth @ false)", "m.flip(axis @ 'vertical')",
        "m.crop(xs @ 400, ys @ 300)", "m.pad(xs @ 1000, ys @ 900, padColor @ 0xFF0000)", "m.zoom(scale @ 200)",
        "m.scale(xs @ 1600, ys @ 1200)", "m.scale(xs @ 1600, ys @ 1200, alg @ 'Smooth')", "m.scale(xs @ 1500, ys @ 1100, alg @ 'Best')",
        "m.scale(xs @ 400, ys @ 300, alg @ 'Best')", "m.scale(xs @ 400, ys @ 300, alg @ 'Outline')", "m.scale(xs @ 1600, ys @ 1200, alg @ 'Outline')",
        "m.drawText(text @ 'Twenty letters of it', size @ 20)", "m.drawText(text @ 'Large', size @ 150)",
        "m.drawText(text @ 'A longer text that is wrapped into lines so that it makes a paragraph of its own here', size @ 24, wrap @ 300)",
        "m.drawText(text @ 'Smooth', size @ 60, smoothFactor @ 2)", "m.drawText(text @ 'Tiled', size @ 20, tile @ true)",
        "m.drawText(text @ 'Blended', size @ 80, blend @ 'Multiply')", "m.drawText(text @ 'Turned', size @ 60, angle @ 30)",
        "m.rectangle(x @ 10, y @ 10, xs @ 300, ys @ 200, color @ 0xFF0000, fill @ true)", "m.ellipse(x @ 400, y @ 300, rx @ 350, ry @ 250, width @ 5)",
        "m.line(x1 @ 0, y1 @ 0, x2 @ 799, y2 @ 599, width @ 3)", "m.polygon(points @ '10,10;500,50;300,500;10,10', fill @ true)",
        "m.arc(x @ 300, y @ 300, rx @ 200, ry @ 200, startAngle @ 0, endAngle @ 200)", "m.setPixel(x @ 5, y @ 5, color @ 0)",
        "m.gradient(opacity @ 120)", "m.gradient(opacity @ 120, style @ 'radial')", "m.convert(rtype @ 'Gray-8')", "m.convert(rtype @ 'RGBA-32')",
        "m.convert(rtype @ 'RGB-15')", "m.reduce(colors @ 32)", "m.reduce(colors @ 200, dither @ 8)", "m.colorCorrect(destProfile @ 'p3', sourceProfile @ 'rgb')",
        "m.colorCorrect(destProfile @ 'cmyk', sourceProfile @ 'rgb'); m.colorCorrect(destProfile @ 'rgb')",
        "var c = m.exportChannel(channel @ 'Red'); m.importChannel(channel @ 'Blue', source @ c)",
        "m.dropShadow(blur @ 6)", "m.glow(blur @ 5, size @ 4)", "m.selection(colorType @ 'Greens'); m.adjustRgb(invert @ true)",
        "m.selection(color @ 0x336699, radius @ 20); m.blurBlur()", "m.composite(color @ 0x0000FF, opacity @ 60)", "m.getPopularColor()",
        "m.sizeText(text @ 'How wide is it', size @ 40)", "m.measureText(text @ 'Offsets', size @ 30)",
    ]  # fmt: skip
    for text in steps:
        kind = "tiff', compression @ 'none" if "cmyk" in text and "rgb')" not in text[-8:] else "bmp"
        cases[text] = f"{start} {text}; m.save(type @ '{kind}');"
    for blend in ("Normal", "Multiply", "SoftLight", "Luminosity", "Dissolve", "Dodge", "Hue"):
        cases[f"composite {blend}"] = (
            f"{start} var w = new Media(); w.load(name @ 'alpha1.png'); w.scale(xs @ 500, ys @ 400); m.composite(source @ w, blend @ '{blend}', opacity @ 200); {end}"
        )
    cases["composite small"] = (
        f"{start} var w = new Media(); w.makeText(text @ 'Mark', size @ 40, color @ 0xFFFFFF); m.composite(source @ w, x @ 50, y @ 40); {end}"
    )
    cases["layers"] = (
        f"{start} var w = new Media(); w.load(name @ 'alpha1.png'); w.scale(xs @ 500, ys @ 400); m.setLayer(1, w); m.setLayerBlend(1, 'Screen'); m.collapse(); {end}"
    )
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


def make_sources(folder: Path) -> None:
    """Renders what is missing."""
    import pyvips

    from dservices.mediagen import samples

    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / ".version"
    if stamp.exists() and stamp.read_text() == VERSION:
        return
    photo = samples.landscape().copy_memory()
    sizes = {mega: photo.resize((mega / 12) ** 0.5).cast("uchar").copy_memory() for mega in (1, 3, 6)}
    graph = chart(1800, 1200)

    def save(image: Any, name: str, **options: Any) -> None:
        image.write_to_file(str(folder / name), **{"keep": "none", **options})

    save(photo, "photo12.jpg", Q=88)
    save(photo.resize(2**0.5).cast("uchar"), "photo24.jpg", Q=80)
    save(sizes[3], "photo3.jpg", Q=85)
    save(sizes[3], "photo3p.jpg", Q=85, interlace=True)
    save(sizes[3].colourspace("b-w"), "gray3.jpg", Q=85)
    save(sizes[1], "photo1.jpg", Q=75)
    save(graph, "chart2.jpg", Q=90)
    inks = [255 - sizes[1][n] for n in range(3)]
    save(inks[0].bandjoin([inks[1], inks[2], inks[0] * 0]).cast("uchar").copy(interpretation="cmyk"), "cmyk1.jpg", Q=85)
    alpha = pyvips.Image.xyz(sizes[1].width, sizes[1].height)[0].linear(256 / sizes[1].width, 0).cast("uchar")
    clear = sizes[1].bandjoin(alpha)
    save(sizes[1], "photo1.png")
    save(sizes[3], "photo3.png")
    save(graph, "chart2.png")
    save(clear, "alpha1.png")
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
    from dservices.mediagen import bitmaps

    for mega in (1, 3):
        (folder / f"photo{mega}.bmp").write_bytes(bitmaps.save(sizes[mega]))
    circles = "".join(f'<circle cx="{50 * n}" cy="{30 * n}" r="{20 + n}" fill="#{n:x}{n:x}8"/>' for n in range(16))
    (folder / "small.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="500">{circles}</svg>'
    )
    (folder / "paper.pdf").write_bytes(samples.document(samples._pages()))
    for name, count, width, height in (
        ("anim12.gif", 12, 320, 240),
        ("anim30.gif", 30, 200, 150),
        ("anim10.webp", 10, 320, 240),
    ):
        frames = [sizes[1].crop(6 * n, 100, width, height) for n in range(count)]
        strip = pyvips.Image.arrayjoin(frames, across=1).copy()
        strip.set_type(pyvips.GValue.gint_type, "page-height", height)
        strip.set_type(pyvips.GValue.array_int_type, "delay", [80] * count)
        save(strip, name, keep="all")
    stamp.write_text(VERSION)
