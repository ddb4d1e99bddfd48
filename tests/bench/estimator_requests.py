"""Requests as users would mix them, drawn by a seed, and the pictures they are about: what bench_estimator.py judges on.

`drawn(seed, count)` takes templates by weight and fills in sources, sizes and options at random; the same seed gives the
same requests. The sources are rendered here, of other kinds and content than those of the calibration
(`dservices.mediagen.calibration.scripts`): portraits, streets and meadows of their own, screens, diagrams, scans, cartoons.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

VERSION = "2"
PHOTOS = (
    "portrait6.jpg",
    "street12.jpg",
    "meadow20.jpg",
    "street3.jpg",
    "portrait2.jpg",
    "meadow8.jpg",
    "street5p.jpg",
    "snap03.jpg",
)
GRAPHICS = ("screen.png", "diagram.png", "scan.png", "sketch.png")
OTHERS = (
    "street2.webp",
    "meadow1.avif",
    "portrait1.png",
    "street4.tif",
    "portrait07.bmp",
    "meadow2.webp",
    "diagram.webp",
    "gray2.jpg",
)
MOVING = ("cartoon.gif", "clip.gif", "clip.webp")
MARKS = ("badge.png", "stamp.png")


class Draw:
    """Random choices that scripts are filled with."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, *values):
        return self._random.choice(values)

    def whole(self, low: int, high: int) -> int:
        """Small values as likely as large ones by their ratio."""
        return round(low * (high / low) ** self._random.random())

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def picked(self, weights: dict):
        return self._random.choices(list(weights), list(weights.values()))[0]

    # -- parts of scripts -----------------------------------------------------------------------------------------

    def photo(self) -> str:
        return f"m.load(name @ '{self.one(*PHOTOS)}'); "

    def size(self, low: int = 120, high: int = 1600) -> str:
        alg = self.picked({"": 8, ", alg @ 'Smooth'": 1, ", alg @ 'Best'": 1})
        return f"m.scale(xs @ {self.whole(low, high)}, constrain @ true{alg}); "

    def lossy(self) -> str:
        kind = self.picked({"jpeg": 8, "webp": 3})
        more = ", progressive @ true" if kind == "jpeg" and self.chance(0.15) else ""
        more += f", effort @ {self.one(1, 2, 3, 5)}" if kind == "webp" and self.chance(0.25) else ""
        return f"m.save(type @ '{kind}', quality @ {self.one(60, 70, 75, 80, 82, 85, 88, 90, 93)}{more});"

    def exact(self) -> str:
        kind = self.picked({"png": 8, "webp": 3, "gif": 2, "tiff": 1})
        if kind == "png":
            return f"m.save(type @ 'png', level @ {self.one(1, 3, 4, 6, 6, 6, 6, 9)});"
        if kind == "webp":
            return f"m.save(type @ 'webp', lossless @ true{self.one('', '', ', effort @ 2', ', effort @ 3')});"
        if kind == "tiff":
            return f"m.save(type @ 'tiff', compression @ '{self.one('lzw', 'deflate', 'none')}');"
        return f"m.save(type @ 'gif'{self.one('', ', colors @ 64')});"

    def words(self, count: int) -> str:
        return " ".join(
            self.one("quick", "brown", "foxes", "jump", "over", "a", "lazy", "dog", "river", "of", "stone")
            for _ in range(count)
        )

    def text(self) -> str:
        more = self.picked({"": 6, ", angle @ 12": 1, ", smoothFactor @ 2": 1, ", opacity @ 140": 2})
        return f"m.drawText(text @ '{self.words(self.whole(1, 6))}', size @ {self.whole(14, 90)}, color @ 0xFFFFFF, x @ 200, y @ 120{more}); "


def _thumbnail(d: Draw) -> str:
    return d.photo() + d.size(80, 500) + d.lossy()


def _web(d: Draw) -> str:
    return d.photo() + d.size(600, 2000) + d.lossy()


def _lettered(d: Draw) -> str:
    mark = (
        f"var w = new Media(); w.load(name @ '{d.one(*MARKS)}'); m.composite(source @ w, x @ 20, y @ 20, handleX @ 'left', handleY @ 'top', "
        f"opacity @ {d.one(128, 200, 255)}); "
    )
    parts = [
        d.text(),
        d.text() + d.text(),
        mark,
        d.text() + mark,
        f"m.drawText(text @ 'Sample', size @ {d.whole(18, 50)}, tile @ true, opacity @ 80); ",
    ]
    return d.photo() + d.size(400, 1400) + d.one(*parts) + d.lossy()


def _filtered(d: Draw) -> str:
    steps = [
        f"m.blurGaussianBlur(radius @ {d.one(0.8, 2, 5, 8)}); ", f"m.blur(radius @ {d.one(1, 3, 6)}); ",
        f"m.sharpenUnsharpMask(radius @ {d.one(0.8, 1.2, 2)}, amount @ {d.one(50, 90)}); ", "m.sharpenSharpen(); ", "m.adjustRgb(contrast @ 15, brightness @ 5); ",
        f"m.adjustHsb(saturation @ {d.one(-60, 25)}); ", "m.colorize(color @ 0x806040); ", "m.convert(rtype @ 'Gray-8'); ", "m.equalize(brightness @ 1); ",
        "m.stylizeEmboss(); ", "m.stylizeFindEdges(); ", f"m.pixellateMosaic(size @ {d.one(6, 15)}); ", f"m.noiseAddNoise(amount @ {d.one(5, 15)}); ",
        f"m.otherMinimum(radius @ {d.one(1, 3)}); ", "m.gradient(opacity @ 90); ", "m.adjustRgb(contrast @ 10); m.sharpenSharpen(); ",
        "m.adjustHsb(saturation @ 15); m.blurGaussianBlur(radius @ 1.5); ", "m.selection(colorType @ 'Blues'); m.adjustRgb(brightness @ 20); ",
        "m.colorCorrect(destProfile @ 'p3', sourceProfile @ 'rgb'); ",
    ]  # fmt: skip
    end = d.lossy() if d.chance(0.8) else d.exact()
    return d.photo() + d.size(300, 1300) + d.one(*steps) + end


def _framed(d: Draw) -> str:
    w, h = d.whole(200, 1200), d.whole(200, 1200)
    before = d.size(500, 1800) if d.chance(0.6) else ""
    steps = [
        f"m.crop(xs @ {w}, ys @ {h}); ", f"m.crop(x @ 90, y @ 70, xs @ {w}, ys @ {h}); ", "m.rotate(angle @ 90); ", f"m.rotate(angle @ {d.one(-6, 3, 20)}, padColor @ 0xFFFFFF); ",
        "m.flip(axis @ 'horizontal'); ", f"m.pad(xs @ '110%', ys @ '110%', padColor @ 0x{d.one('FFFFFF', '202020')}); ", "m.zoom(scale @ 150); ",
    ]  # fmt: skip
    return d.photo() + before + d.one(*steps) + d.lossy()


def _converted(d: Draw) -> str:
    if d.chance(0.35):
        return (
            d.photo()
            + d.size(150, 600)
            + f"m.save(type @ 'avif', quality @ {d.one(45, 55, 65)}{d.one('', '', ', effort @ 3')});"
        )
    return d.photo() + d.size(200, 900) + d.exact()


def _graphic(d: Draw) -> str:
    size = d.size(200, 900) if d.chance(0.7) else ""
    end = d.exact() if d.chance(0.65) else d.lossy()
    return f"m.load(name @ '{d.one(*GRAPHICS, *MARKS)}'); " + size + end


def _other(d: Draw) -> str:
    return (
        f"m.load(name @ '{d.one(*OTHERS)}'); "
        + (d.size(200, 1000) if d.chance(0.8) else "")
        + (d.lossy() if d.chance(0.7) else d.exact())
    )


def _moving(d: Draw) -> str:
    start = f"m.load(name @ '{d.one(*MOVING)}'); "
    steps = [
        "",
        d.size(80, 260),
        d.size(80, 260),
        "m.drawText(text @ 'live', size @ 18, color @ 0xFFFFFF); ",
        "m.adjustHsb(saturation @ 30); ",
    ]
    ends = [
        "m.save(type @ 'gif');",
        "m.save(type @ 'webp', quality @ 75);",
        "m.save(type @ 'gif');",
        "m.save(type @ 'jpeg', frames @ '2');",
    ]
    return start + d.one(*steps) + d.one(*ends)


def _document(d: Draw) -> str:
    page = f"m.load(name @ 'manual.pdf', frames @ {d.one(1, 3, 6)}, dpi @ {d.one(60, 80, 96, 120, 150)}); "
    kinds = [page + d.exact(), page + d.lossy(), page + d.size(150, 500) + d.lossy(),
             f"m.load(name @ 'manual.pdf', frames @ '1-{d.one(2, 4)}', dpi @ {d.one(72, 90)}); m.save(type @ 'pdf');",
             d.photo() + d.size(600, 1400) + "m.save(type @ 'pdf');", f"m.load(name @ 'emblem.svg', dpi @ {d.one(72, 144)}); m.save(type @ 'png');"]  # fmt: skip
    return d.one(*kinds)


def _made(d: Draw) -> str:
    w, h = d.whole(200, 1200), d.whole(100, 700)
    canvas = f"m.makeCanvas(xs @ {w}, ys @ {h}, fillColor @ 0x{d.one('204060', 'F0F0E8', '101010')}); "
    letters = (
        f"m.drawText(text @ '{d.words(3)}', size @ {d.whole(16, 70)}, color @ 0xE0A030, x @ {w // 2}, y @ {h // 2}); "
    )
    end = d.one(
        "m.save(type @ 'png');",
        "m.save(type @ 'png');",
        "m.save(type @ 'jpeg', quality @ 85);",
        "m.save(type @ 'webp', lossless @ true);",
    )
    kinds = [
        canvas + letters + end,
        canvas + f"m.drawText(text @ '{d.words(d.whole(20, 90))}', size @ 18, wrap @ {max(120, w - 60)}, color @ 0x808080); " + end,
        f"m.makeText(text @ '{d.words(2)}', size @ {d.whole(20, 80)}, color @ 0x304050); m.dropShadow(blur @ 4); m.save(type @ 'png');",
        canvas + "m.gradient(angle @ 45); " + letters + end,
        canvas + f"m.ellipse(x @ {w // 2}, y @ {h // 2}, rx @ {w // 4}, ry @ {h // 4}, fill @ true, color @ 0xC04030); m.line(x1 @ 0, y1 @ 0, x2 @ {w}, y2 @ {h}, width @ 4); " + end,
        f"for (var n = 1; n <= {d.one(6, 10)}; n++) {{ var f = new Media(); f.makeCanvas(xs @ 140, ys @ 140, fillColor @ n * 7000); f.rectangle(x @ 10 * n, y @ 20, xs @ 50, ys @ 50, "
        f"fill @ true, color @ 0xFFFFFF); m.setFrame(n, f); }} m.save(type @ '{d.one('gif', 'webp')}');",
    ]  # fmt: skip
    return d.one(*kinds)


def _composed(d: Draw) -> str:
    w, h = d.whole(400, 1000), d.whole(300, 700)
    second = f"var w = new Media(); w.load(name @ '{d.one('diagram.png', 'street3.jpg', 'badge.png')}'); w.scale(xs @ {w}, ys @ {h}); "
    base = d.photo() + f"m.scale(xs @ {w}, ys @ {h}); "
    kinds = [
        base + second + f"m.composite(source @ w, blend @ '{d.one('Multiply', 'Screen', 'Overlay', 'Normal', 'SoftLight')}', opacity @ {d.one(120, 255)}); " + d.lossy(),
        base + second + f"m.setLayer(1, w); m.setLayerBlend(1, '{d.one('Normal', 'Multiply', 'Screen')}'); m.setLayerOpacity(1, 160); m.collapse(); " + d.lossy(),
        base + second + "m.setLayer(1, w); m.blurGaussianBlur(radius @ 3, layers @ '1'); " + d.lossy(),
        f"//?name={d.one(*PHOTOS)}&type=jpeg\nfunction processImage(media) {{ media.scale(xs @ {w}, constrain @ true); media.drawText(text @ 'Yours', size @ 40, color @ 0xFFFFFF); }}",
        f"//?name={d.one(*PHOTOS)}&type=webp&quality=80\nfunction processImage(media) {{ media.scale(xs @ {w}, constrain @ true); media.adjustHsb(saturation @ 20); return media; }}",
        base + "var c = m.clone(); m.scale(xs @ 300, constrain @ true); c.blur(radius @ 4); c.composite(source @ m, x @ 200, y @ 150); " + d.lossy().replace("m.save", "c.save"),
    ]  # fmt: skip
    return d.one(*kinds)


MIX: dict[Callable[[Draw], str], float] = {
    _thumbnail: 14, _web: 13, _lettered: 15, _filtered: 16, _framed: 10, _converted: 9, _graphic: 14, _other: 11,
    _moving: 7, _document: 8, _made: 11, _composed: 8,
}  # fmt: skip
"""How often each is asked for."""


def drawn(seed: int, count: int) -> dict[str, str]:
    """Scripts by name: as many of each kind as its weight says, the rest of the fractions by lot."""
    d = Draw(seed)
    total = sum(MIX.values())
    wanted = {make: int(count * weight / total) for make, weight in MIX.items()}
    while sum(wanted.values()) < count:
        wanted[d.picked(MIX)] += 1
    return {f"{make.__name__[1:]} {n + 1}": make(d) for make, times in wanted.items() for n in range(times)}


# -- sources ----------------------------------------------------------------------------------------------------------


def make_sources(folder: Path, world: int = 0) -> None:
    """Renders what is missing, about 10 s once. Another world has the same names for other pictures: other forms, hues,
    grain, sizes (by up to a third) and qualities."""
    import pyvips

    from dservices.mediagen import samples
    from dservices.mediagen.formats import bmp

    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / ".version"
    if stamp.exists() and stamp.read_text() == f"{VERSION}.{world}":
        return

    by_chance = random.Random(1000 + world)

    def save(image, name, **options):
        if world and "Q" in options:
            options["Q"] = max(50, min(97, options["Q"] + by_chance.randint(-6, 5)))
        image.cast("uchar").copy(interpretation=image.interpretation).write_to_file(
            str(folder / name), **{"keep": "none", **options}
        )

    def of(image, mega: float):
        mega *= by_chance.uniform(0.75, 1.33) if world else 1.0
        return (
            image.resize((mega * 1e6 / image.width / image.height) ** 0.5)
            .cast("uchar")
            .copy(interpretation="srgb")
            .copy_memory()
        )

    portrait, street, meadow = (
        _hued(_portrait(world), 9, 1.5, 700 + 7 * world),
        _hued(_street(world), 14, 2.5, 730 + 7 * world),
        _hued(_meadow(world), 20, 3, 760 + 7 * world),
    )
    save(of(portrait, 6), "portrait6.jpg", Q=91)
    save(of(portrait, 2), "portrait2.jpg", Q=80)
    save(of(portrait, 1), "portrait1.png", filter="all")
    (folder / "portrait07.bmp").write_bytes(bmp.save(of(portrait, 0.7)))
    save(of(street, 12), "street12.jpg", Q=85)
    save(of(street, 3), "street3.jpg", Q=94)
    save(of(street, 5), "street5p.jpg", Q=80, interlace=True)
    save(of(street, 0.3), "snap03.jpg", Q=88)
    save(of(street, 2), "street2.webp", Q=78)
    save(of(street, 4), "street4.tif", compression="lzw", predictor="horizontal")
    save(of(meadow, 20), "meadow20.jpg", Q=77)
    save(of(meadow, 8), "meadow8.jpg", Q=87)
    save(of(meadow, 2), "meadow2.webp", Q=70)
    save(of(meadow, 1), "meadow1.avif", Q=58, effort=2)
    save(of(meadow, 2).colourspace("b-w"), "gray2.jpg", Q=86)
    screen, diagram = _screen(world), _diagram(world)
    save(screen, "screen.png", filter="all")
    save(diagram, "diagram.png")
    save(diagram, "diagram.webp", lossless=True)
    save(of(diagram, 0.4), "sketch.png", palette=True)
    grain = pyvips.Image.gaussnoise(1000, 1400, mean=0, sigma=2.5, seed=5)
    save(
        (
            screen.colourspace("b-w").crop(200, 0, 1000, 1000).embed(0, 200, 1000, 1400, extend="white") * 0.92
            + 8
            + grain
        ).copy(interpretation="b-w"),
        "scan.png",
        filter="sub",
    )
    badge = of(diagram, 0.12)
    save(badge.bandjoin((badge[1] < 235).ifthenelse(255, 0).cast("uchar")), "badge.png")
    word = pyvips.Image.text("TESTED", font="serif bold 44", dpi=72)
    red = pyvips.Image.black(word.width, word.height, bands=3).linear(1, [190, 30, 20])
    save(red.cast("uchar").bandjoin(word).copy(interpretation="srgb"), "stamp.png")

    def strip(frames, name, **options):
        joined = pyvips.Image.arrayjoin(frames, across=1).copy()
        joined.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
        joined.set_type(pyvips.GValue.array_int_type, "delay", [70] * len(frames))
        save(joined, name, keep="all", **options)

    flat = pyvips.Image.black(240, 180, bands=3).linear(1, [250, 230, 150])
    strip(
        [
            flat.cast("uchar").draw_circle([200, 40, 60], 20 + 9 * n, 90, 18, fill=True).copy(interpretation="srgb")
            for n in range(22)
        ],
        "cartoon.gif",
    )
    scene = of(street, 0.5)
    clip = [scene.crop(7 * n, 40 + 3 * n, 280, 200) for n in range(14)]
    strip(clip, "clip.gif")
    strip(clip, "clip.webp", Q=70)
    words = ["In", "this", "chapter", "the", "machine", "is", "taken", "apart", "and", "put", "together", "again"]
    pages = [
        [(56, 760 - 21 * n, 11, " ".join(words[(n + page + k) % len(words)] for k in range(11))) for n in range(33)]
        for page in range(7)
    ]
    (folder / "manual.pdf").write_bytes(samples.document(pages))
    paths = "".join(
        f'<path d="M{20 * n} 10 C {40 * n} 200, {300 - 9 * n} 90, 380 {30 * n}" stroke="#{n:x}4{n:x}" fill="none" stroke-width="3"/>'
        for n in range(14)
    )
    (folder / "emblem.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="400">{paths}<rect x="90" y="120" width="200" height="80" fill="#a33"/></svg>'
    )
    stamp.write_text(f"{VERSION}.{world}")


def _waves(width: int, height: int, cell: int, count: int, seed: int):
    from dservices.mediagen import samples

    return samples.octaves(width, height, cell, count, seed)


def _hued(image, strength: float, grain: float, seed: int):
    """With hues that vary and grain in every colour of its own, as a camera's pictures have them."""
    import pyvips

    width, height = image.width, image.height
    tints = [
        _waves(width, height, 130, 4, seed + 9 * n) * strength
        + pyvips.Image.gaussnoise(width, height, mean=0, sigma=grain, seed=seed + n)
        for n in range(3)
    ]
    return (image + tints[0].bandjoin(tints[1:])).cast("uchar").copy(interpretation="srgb").copy_memory()


def _portrait(world: int):
    """Large soft forms, a little skin: 3 MP, smooth."""
    import pyvips

    width, height = 1700, 2100
    forms, skin = _waves(width, height, 900, 3, 301 + 50 * world), _waves(width, height, 40, 3, 320 + 50 * world)
    at = pyvips.Image.xyz(width, height)
    face = ((((at[0] / width - 0.5) * 2.4) ** 2 + ((at[1] / height - 0.45) * 1.8) ** 2) * -2.5).exp()
    light = forms * 50 + 90 + face * 90 + skin * (face * 14 + 3)
    hair = (_waves(width, height, 26, 2, 340) * 60 + 50) * ((forms > 0.25) & (face < 0.35)).ifthenelse(1, 0)
    noise = pyvips.Image.gaussnoise(width, height, mean=0, sigma=2.2, seed=44)
    return (
        (light + hair + noise)
        .bandjoin([light * 0.82 + hair * 0.7 + noise, light * 0.7 + hair * 0.5 + noise])
        .cast("uchar")
        .copy(interpretation="srgb")
        .copy_memory()
    )


def _street(world: int):
    """Houses with windows, wires, plaster: hard edges and fine texture, 4 MP."""
    import pyvips

    width, height = 2300, 1740
    draw = random.Random(77 + world)
    image = pyvips.Image.black(width, height, bands=3).linear(1, [150, 175, 210])
    image = image.cast("uchar").copy_memory()
    left = 0
    while left < width:
        wide, high = draw.randint(160, 420), draw.randint(700, 1500)
        wall = [draw.randint(60, 200) for _ in range(3)]
        image = image.draw_rect(wall, left, height - high, wide, high, fill=True)
        for row in range(height - high + 40, height - 60, draw.randint(70, 120)):
            for column in range(left + 20, left + wide - 50, draw.randint(55, 90)):
                image = image.draw_rect([draw.randint(10, 120)] * 3, column, row, 34, 52, fill=True)
                image = image.draw_rect([225, 225, 215], column, row, 34, 52)
        left += wide
        image = image.copy_memory()
    plaster = (
        _waves(width, height, 10 + 3 * world, 3, 500 + 50 * world) * (26 + 4 * world)
        + _waves(width, height, 200, 3, 510) * 30
    )
    noise = pyvips.Image.gaussnoise(width, height, mean=0, sigma=4, seed=45)
    return (image + plaster + noise).cast("uchar").copy(interpretation="srgb").copy_memory()


def _meadow(world: int):
    """Grass: as much detail as a camera sees, 4 MP."""
    import pyvips

    width, height = 2350, 1700
    at = pyvips.Image.xyz(width, height)
    grass = (
        _waves(width, height, 16 + 5 * world, 3, 601 + 50 * world) * (55 - 6 * world) * (at[1] / height + 0.3)
        + _waves(width, height, 300, 4, 620) * 40
    )
    noise = pyvips.Image.gaussnoise(width, height, mean=0, sigma=5, seed=46)
    base = grass + noise + at[1] * 0.02
    sky = at[1] < height * 0.35
    rgb = [
        sky.ifthenelse(_waves(width, height, 700, 4, 640) * 25 + 190 + noise * 0.5, base + shift)
        for shift in (80, 115, 50)
    ]
    return rgb[0].bandjoin(rgb[1:]).cast("uchar").copy(interpretation="srgb").copy_memory()


def _text(words: str, size: int, width: int):
    import pyvips

    return pyvips.Image.text(words, font=f"sans {size}", dpi=72, width=width)


def _screen(world: int):
    """A program's window: panels, icons, much small text. 1600 x 1000."""
    import pyvips

    draw = random.Random(88 + world)
    image = pyvips.Image.black(1600, 1000, bands=3).linear(1, [246, 246, 248]).cast("uchar").copy_memory()
    image = image.draw_rect([48, 56, 78], 0, 0, 1600, 48, fill=True).draw_rect(
        [228, 230, 236], 0, 48, 260, 952, fill=True
    )
    for n in range(16):
        image = image.draw_rect([draw.randint(30, 230) for _ in range(3)], 20, 70 + 54 * n, 28, 28, fill=True)
    dark = [40, 42, 50]
    for x, y, size, width, times in (
        (70, 72, 13, 170, 7),
        (300, 90, 22, 1200, 1),
        (300, 150, 13, 700, 16),
        (1060, 150, 12, 480, 13),
    ):
        mask = _text("Settings of the account and what they mean for what you see. " * times, size, width)
        image = (
            image.copy_memory().draw_mask(dark, mask, x, y)
            if y + mask.height < 1000
            else image.copy_memory().draw_mask(dark, mask.crop(0, 0, mask.width, 980 - y), x, y)
        )
    return image.copy(interpretation="srgb").copy_memory()


def _diagram(world: int):
    """Boxes and lines with names, 1100 x 760."""
    import pyvips

    draw = random.Random(99 + world)
    image = pyvips.Image.black(1100, 760, bands=3).linear(1, 255).cast("uchar").copy_memory()
    boxes = [(60 + 260 * (n % 4), 60 + 230 * (n // 4)) for n in range(12)]
    for n, (x, y) in enumerate(boxes):
        other = boxes[draw.randrange(12)]
        image = image.draw_line([90, 90, 90], x + 90, y + 50, other[0] + 90, other[1] + 50)
        image = image.draw_rect([draw.randint(150, 250) for _ in range(3)], x, y, 180, 100, fill=True).draw_rect(
            [30, 30, 30], x, y, 180, 100
        )
        image = image.copy_memory().draw_mask([20, 20, 20], _text(f"Stage {n + 1}", 20, 160), x + 30, y + 36)
    return image.copy(interpretation="srgb").copy_memory()
