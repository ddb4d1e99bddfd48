"""Scripts and the whole pictures they must give, computed here in plain Python, pixel by pixel.

Each row names the line of the reference (mediascript.md) it traces to.
"""

import math
from collections.abc import Callable

import pytest

Pixel = tuple[int, ...]
Grid = list[list[Pixel]]
W, H = 4, 3
A: Grid = [[(x * 60 + 10, y * 80 + 5, x * 30 + y * 20) for x in range(W)] for y in range(H)]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

LOAD = "var m = new Media(); m.load(name @ 'a.png'); "
SAVE = " m.save(type @ 'png');"


def rgb(number: int) -> Pixel:
    return number >> 16 & 255, number >> 8 & 255, number & 255


def plain(width: int, height: int, colour: Pixel) -> Grid:
    return [[colour] * width for _ in range(height)]


def mirrored(g: Grid) -> Grid:
    return [row[::-1] for row in g]


def upside_down(g: Grid) -> Grid:
    return g[::-1]


def turned(g: Grid) -> Grid:
    """A quarter clockwise."""
    return [list(row) for row in zip(*g[::-1], strict=True)]


def area(g: Grid, left: int, top: int, width: int, height: int, beyond: Pixel = WHITE) -> Grid:
    inside = range(len(g)), range(len(g[0]))
    return [
        [g[y][x] if y in inside[0] and x in inside[1] else beyond for x in range(left, left + width)]
        for y in range(top, top + height)
    ]


def stamped(g: Grid, left: int, top: int, what: Grid) -> Grid:
    out = [list(row) for row in g]
    for y, row in enumerate(what):
        for x, pixel in enumerate(row):
            if 0 <= top + y < len(g) and 0 <= left + x < len(g[0]):
                out[top + y][left + x] = pixel
    return out


def each(g: Grid, change: Callable[[Pixel], Pixel]) -> Grid:
    return [[change(pixel) for pixel in row] for row in g]


def gray(pixel: Pixel) -> Pixel:
    return ((299 * pixel[0] + 587 * pixel[1] + 114 * pixel[2] + 500) // 1000,)


def clip(value: float) -> int:
    return max(0, min(255, math.floor(value + 0.5)))


ROWS: list[tuple[str, str, Grid]] = []


def row(trace: str, script: str, expected: Grid) -> None:
    ROWS.append((trace, script, expected))


# 1.2 named arguments: order, case, spacing, expressions, numeric strings, plain objects
for spelling in (
    "xs @ 2, ys @ 1, x @ 1, y @ 1",
    "y @ 1, x @ 1, ys @ 1, xs @ 2",
    "Xs @ 2, YS @ 1, X @ 1, Y @ 1",
    "xs@2,ys@1,x@1,y@1",
    "xs @ '2', ys @ '1', x @ '1', y @ '1'",
    "xs @ 1 + 1, ys @ 3 - 2, x @ m.getWidth() / 4, y @ (0, 1)",
    "xs @ true ? 2 : 9, ys @ Math.max(1, 0), x @ [0, 1][1], y @ {a: 1}.a",
    "xs @ 2 /* ys @ 7 */, ys @ 1, // x @ 9\n x @ 1, y @ 1",
    "xs @ '50%', ys @ 1, x @ 1, y @ 1,",
    "{xs: 2, ys: 1, x: 1, y: 1}",
    "xs @ 2.2, ys @ 1.4, x @ 0.6, y @ 1.1",
    "xs @ '0x2', ys @ '1e0', x @ ' 1 ', y @ '+1'",
):
    row("1.2 named arguments", f"{LOAD} m.crop({spelling}); {SAVE}", area(A, 1, 1, 2, 1))
row("1.1 sloppy mode", f"undeclared = 2; {LOAD} m.crop(xs @ undeclared); {SAVE}", area(A, 1, 0, 2, 3))
row("1.2 method names in any case", f"{LOAD} m.FLIP(axis @ 'Horizontal'); m.Crop(xs @ 4); {SAVE}", mirrored(A))

# 1.4 colours
for form in ("0x123456", "1193046", "'0x123456'", "'1193046'", "'#123456'", "rgb(18, 52, 86)", "new RgbColor(0x123456)", "rgb('18', 52.4, 86)",
             "(function () { var c = new RgbColor(); c.red = 18; c.green = 52; c.blue = 86; return c })()", "RgbColorFromPct(18/255, 52/255, 86/255)"):  # fmt: skip
    row(
        "1.4 colours",
        f"var m = new Media(); m.makeCanvas(xs @ 2, ys @ 2, fillColor @ {form}); {SAVE}",
        plain(2, 2, rgb(0x123456)),
    )
for number in (0, 1, 255, 256, 65535, 65536, 0xFFFFFF, 0x808080, 0xFF0000, 0x00FF00, 0x0000FF):
    row(
        "1.4 colours",
        f"var m = new Media(); m.makeCanvas(xs @ 1, ys @ 2, fillColor @ {number}); {SAVE}",
        plain(1, 2, rgb(number)),
    )
row("4.8 RgbColor in arithmetic", "var c = new RgbColor(0x000102); c.red = 300; c.blue = -4; var m = new Media(); m.makeCanvas(xs @ 1, ys @ 1, fillColor @ c + 0); m.save(type @ 'png');", [[(255, 1, 0)]])  # fmt: skip

# 3.1 makeCanvas
row("3.1 makeCanvas, default colour", f"var m = new Media(); m.makeCanvas(xs @ 3, ys @ 2); {SAVE}", plain(3, 2, WHITE))
row(
    "3.1 makeCanvas, gray",
    f"var m = new Media(); m.makeCanvas(xs @ 1, ys @ 1, rtype @ 'gray', fillColor @ 0xFF0000); {SAVE}",
    [[(76,)]],
)
row("3.1 makeCanvas, alpha", f"var m = new Media(); m.makeCanvas(xs @ 1, ys @ 1, rtype @ 'RGBA-32', fillColor @ 0x010203, transparency @ 55); {SAVE}", [[(1, 2, 3, 200)]])  # fmt: skip
row("3.1 load, save", LOAD + SAVE, A)
row("3.1 load, read: and relative", "var m = new Media(); m.load(name @ 'read:/a.png');" + SAVE, A)
row(
    "2.5 mem:",
    LOAD + "m.save(name @ 'mem:/x.png'); var n = new Media(); n.load(name @ 'mem:/x.png'); n.save(type @ 'png');",
    A,
)
row("2.4 setObject", LOAD + "resp.setObject(m, RespType.Cached, {type: 'png'});", A)
row("2.4 setPath", LOAD + "m.save(name @ 'mem:/x.png'); resp.setPath('mem:/x.png');", A)
row("3.10 clone", LOAD + "var n = m.clone(); n.flip(axis @ 'vertical');" + SAVE, A)
row("3.10 clone changes", LOAD + "var n = m.clone(); m = n; m.flip(axis @ 'vertical');" + SAVE, upside_down(A))
row("2.6 try and catch", "var m = new Media(); try { m.load(name @ 'none.png'); } catch (e) { m.makeCanvas(xs @ 1, ys @ 1, fillColor @ e.status); }" + SAVE, [[rgb(404)]])  # fmt: skip

# 3.2 flip and rotate: all pairs, which must obey the group of the square
MOVES: dict[str, Callable[[Grid], Grid]] = {
    "flip(axis @ 'horizontal')": mirrored,
    "flip(axis @ 'vertical')": upside_down,
    "rotate(angle @ 90)": turned,
    "rotate(angle @ 180)": lambda g: turned(turned(g)),
    "rotate(angle @ -90)": lambda g: turned(turned(turned(g))),
}
for name, move in MOVES.items():
    row("3.2 flip, rotate", f"{LOAD} m.{name}; {SAVE}", move(A))
    for other, after in MOVES.items():
        row("3.2 flip, rotate", f"{LOAD} m.{name}; m.{other}; {SAVE}", after(move(A)))
for angle, quarters in ((0, 0), (360, 0), (270, 3), (450, 1), (-180, 2), (-270, 1), ("'90'", 1)):
    expected = A
    for _ in range(quarters):
        expected = turned(expected)
    row("3.10 rotate, positive is clockwise", f"{LOAD} m.rotate(angle @ {angle}); {SAVE}", expected)
row("3.10 mirror", f"{LOAD} m.mirror(axis @ 'vertical'); {SAVE}", upside_down(A))
row(
    "3.10 rotate without resize",
    f"{LOAD} m.rotate(angle @ 90, resize @ false, padColor @ 0); {SAVE}",
    area(turned(A), 0, 1, 4, 3, BLACK),
)
row(
    "3.10 rotate to a size",
    f"{LOAD} m.rotate(angle @ 90, xs @ 5, ys @ 6, padColor @ 0x0000FF); {SAVE}",
    area(turned(A), -1, -1, 5, 6, (0, 0, 255)),
)

# 3.10 crop and pad
for xs in (1, 3, 4, 6):
    for x in (None, 0, 2, -1):
        at = f", x @ {x}" if x is not None else ""
        left = x if x is not None else (W - xs) // 2
        row(
            "3.10 crop, sizes beyond pad",
            f"{LOAD} m.crop(xs @ {xs}, ys @ 2, y @ 0{at}, padColor @ 0x0A0B0C); {SAVE}",
            area(A, left, 0, xs, 2, (10, 11, 12)),
        )
for ys, y in ((1, 0), (1, 2), (2, 1), (5, -1), (3, 0), (7, None)):
    at = f", y @ {y}" if y is not None else ""
    top = y if y is not None else (H - ys) // 2
    row(
        "3.10 crop",
        f"{LOAD} m.crop(ys @ {ys}{at}, padColor @ 'FF00FF'.length); {SAVE}",
        area(A, 0, top, W, ys, (0, 0, 6)),
    )
for percent in (25, 50, 75, 100, 150):
    xs = max(1, math.floor(W * percent / 100 + 0.5))
    row("3.10 crop, percentage", f"{LOAD} m.crop(xs @ '{percent}%'); {SAVE}", area(A, (W - xs) // 2, 0, xs, H))
for xs, ys in ((6, 5), (5, 4), (4, 3), (10, 3)):
    row("3.10 pad", f"{LOAD} m.pad(xs @ {xs}, ys @ {ys}); {SAVE}", area(A, (W - xs) // 2, (H - ys) // 2, xs, ys))
row(
    "3.10 pad, place",
    f"{LOAD} m.pad(xs @ 6, ys @ 4, x @ -2, y @ -1, padColor @ 0); {SAVE}",
    area(A, -2, -1, 6, 4, BLACK),
)
row(
    "3.2 padColor defaults to the background",
    f"{LOAD} m.setColor(backColor @ 0x112233); m.pad(xs @ 6); {SAVE}",
    area(A, -1, 0, 6, 3, rgb(0x112233)),
)
row("3.2 transparency of the padding", f"{LOAD} m.pad(xs @ 5, x @ 0, padColor @ 0x010203, transparency @ 255); {SAVE}", [[(*p, 255) for p in r] + [(1, 2, 3, 0)] for r in A])  # fmt: skip

# 3.2 scale: sizes; pixels where they are exact (whole enlargements of flat areas, nearest)
for number in (1, 2, 3, 5):
    row("3.2 scale of a flat picture", f"var m = new Media(); m.makeCanvas(xs @ 2, ys @ 2, fillColor @ 0x336699); m.scale(xs @ {number * 2}, ys @ {number}); {SAVE}", plain(number * 2, number, rgb(0x336699)))  # fmt: skip
for alg in ("Fast", "smooth", "OUTLINE", "Best", "os"):
    row(
        "3.2 scale, alg",
        f"var m = new Media(); m.makeCanvas(xs @ 8, ys @ 8, fillColor @ 0x336699); m.scale(alg @ '{alg}', xs @ 3, ys @ 5); {SAVE}",
        plain(3, 5, rgb(0x336699)),
    )
row("3.2 scale, Outline on gray", "var m = new Media(); m.makeCanvas(xs @ 2, ys @ 1, rtype @ 'gray', fillColor @ 0); m.setPixel(x @ 1, y @ 0, color @ 0xFFFFFF); m.scale(alg @ 'Outline', xs @ 4, ys @ 2);" + SAVE, [[(0,), (0,), (255,), (255,)]] * 2)  # fmt: skip
row("3.2 scale, constrain with both sizes pads", "var m = new Media(); m.makeCanvas(xs @ 4, ys @ 2, fillColor @ 0x336699); m.scale(constrain @ true, xs @ 4, ys @ 4, padColor @ 0xFF0000);" + SAVE, stamped(plain(4, 4, (255, 0, 0)), 0, 1, plain(4, 2, rgb(0x336699))))  # fmt: skip
row("3.2 scale, constrain with both sizes pads", "var m = new Media(); m.makeCanvas(xs @ 2, ys @ 4, fillColor @ 0x336699); m.scale(constrain @ true, xs @ 4, ys @ 4, padColor @ 0);" + SAVE, stamped(plain(4, 4, BLACK), 1, 0, plain(2, 4, rgb(0x336699))))  # fmt: skip
row(
    "3.2 scale, source area",
    f"{LOAD} m.scale(x1 @ 1, y1 @ 1, x2 @ 3, y2 @ 2, xs @ 2, ys @ 1); {SAVE}",
    area(A, 1, 1, 2, 1),
)
row("3.2 scale without sizes changes nothing", f"{LOAD} m.scale(constrain @ true); {SAVE}", A)

# 3.6 composite: places, handles, opacity, tile, onto, unlock, alpha
DOT = "var d = new Media(); d.makeCanvas(xs @ 2, ys @ 1, fillColor @ 0xFF0000); "
RED = [[(255, 0, 0)] * 2]
for x in (None, 0, 1, 3, -1, 9):
    for y in (None, 0, 2):
        at = (f", x @ {x}, handleX @ 'left'" if x is not None else "") + (
            f", y @ {y}, handleY @ 'top'" if y is not None else ""
        )
        row("3.6 composite, x and y; omitted centre", f"{LOAD}{DOT} m.composite(source @ d{at}); {SAVE}", stamped(A, 1 if x is None else x, 1 if y is None else y, RED))  # fmt: skip
for handle, left in (("left", 2), ("center", 1), ("right", 0)):
    row(
        "3.6 composite, handleX is put at x",
        f"{LOAD}{DOT} m.composite(source @ d, x @ 2, y @ 0, handleX @ '{handle}', handleY @ 'top'); {SAVE}",
        stamped(A, left, 0, RED),
    )
for handle, top in (("top", 2), ("middle", 2), ("bottom", 1)):
    row(
        "3.6 composite, handleY is put at y",
        f"{LOAD}{DOT} m.composite(source @ d, x @ 0, y @ 2, handleX @ 'left', handleY @ '{handle}'); {SAVE}",
        stamped(A, 0, top, RED),
    )
row(
    "3.6 composite, handles alone align",
    f"{LOAD}{DOT} m.composite(source @ d, handleX @ 'right', handleY @ 'bottom'); {SAVE}",
    stamped(A, 2, 2, RED),
)
row("3.6 composite, tile", f"{LOAD}{DOT} m.composite(source @ d, tile @ true); {SAVE}", plain(4, 3, (255, 0, 0)))
row("3.6 composite, tile keeps the phase", "var m = new Media(); m.makeCanvas(xs @ 4, ys @ 1); var d = new Media(); d.makeCanvas(xs @ 2, ys @ 1, fillColor @ 0xFF0000); d.setPixel(x @ 1, y @ 0, color @ 0x0000FF); m.composite(source @ d, tile @ true, x @ 1, y @ 0, handleX @ 'left', handleY @ 'top');" + SAVE, [[(0, 0, 255), (255, 0, 0), (0, 0, 255), (255, 0, 0)]])  # fmt: skip
row(
    "3.6 composite, onto",
    f"{LOAD}{DOT} d.composite(source @ m, onto @ true, x @ 0, y @ 0, handleX @ 'left', handleY @ 'top'); d.save(type @ 'png');",
    stamped(A, 0, 0, RED),
)
row("3.6 composite, colour fill", f"{LOAD} m.composite(color @ 0x00FF00); {SAVE}", plain(4, 3, (0, 255, 0)))
row("3.6 composite, colourise the source", f"{LOAD}{DOT} m.composite(source @ d, color @ 0x0000FF, x @ 0, y @ 0, handleX @ 'left', handleY @ 'top'); {SAVE}", stamped(A, 0, 0, [[(0, 0, 255)] * 2]))  # fmt: skip
row("3.0 unlock", "var m = new Media(); m.makeCanvas(xs @ 3, ys @ 1); m.setPixel(x @ 1, y @ 0, color @ 0x010203); m.composite(color @ 0xFF0000, unlock @ 0x010203);" + SAVE, [[WHITE, (255, 0, 0), WHITE]])  # fmt: skip
row(
    "3.6 composite by name",
    LOAD + "var n = new Media(); n.makeCanvas(xs @ 4, ys @ 3); n.composite(name @ 'a.png'); n.save(type @ 'png');",
    A,
)

# blend modes (3.0) against W3C's formulas, on pairs of flat colours, opaque and at half opacity
PAIRS = ((0x804020, 0x40A0E0), (0xFF8000, 0x0080FF), (0x101010, 0xF0F0F0), (0xC83264, 0x64C832))


def _screen(b: float, s: float) -> float:
    return b + s - b * s


def _hard(b: float, s: float) -> float:
    return b * 2 * s if s <= 0.5 else _screen(b, 2 * s - 1)


def _soft(b: float, s: float) -> float:
    if s <= 0.5:
        return b - (1 - 2 * s) * b * (1 - b)
    d = ((16 * b - 12) * b + 4) * b if b <= 0.25 else math.sqrt(b)
    return b + (2 * s - 1) * (d - b)


SEPARABLE: dict[str, Callable[[float, float], float]] = {
    "Normal": lambda b, s: s,
    "Darken": min,
    "Lighten": max,
    "Multiply": lambda b, s: b * s,
    "Screen": _screen,
    "Overlay": lambda b, s: _hard(s, b),
    "HardLight": _hard,
    "SoftLight": _soft,
    "Difference": lambda b, s: abs(b - s),
    "Exclusion": lambda b, s: b + s - 2 * b * s,
    "Dodge": lambda b, s: 0.0 if b == 0 else (1.0 if s >= 1 else min(1.0, b / (1 - s))),
    "ColorBurn": lambda b, s: 1.0 if b == 1 else (0.0 if s <= 0 else 1 - min(1.0, (1 - b) / s)),
    "Under": lambda b, s: b,
}


def _lum(c: tuple[float, ...]) -> float:
    return 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2]


def _set_lum(c: tuple[float, ...], light: float) -> tuple[float, ...]:
    c = tuple(v + light - _lum(c) for v in c)
    low, high, lum = min(c), max(c), _lum(c)
    if low < 0:
        c = tuple(lum + (v - lum) * lum / (lum - low) for v in c)
    if high > 1:
        c = tuple(lum + (v - lum) * (1 - lum) / (high - lum) for v in c)
    return c


def _set_sat(c: tuple[float, ...], saturation: float) -> tuple[float, ...]:
    low, high = min(c), max(c)
    return tuple((v - low) * saturation / (high - low) if high > low else 0.0 for v in c)


def _sat(c: tuple[float, ...]) -> float:
    return max(c) - min(c)


WHOLE: dict[str, Callable[[tuple[float, ...], tuple[float, ...]], tuple[float, ...]]] = {
    "Hue": lambda b, s: _set_lum(_set_sat(s, _sat(b)), _lum(b)),
    "Saturation": lambda b, s: _set_lum(_set_sat(b, _sat(s)), _lum(b)),
    "Color": lambda b, s: _set_lum(s, _lum(b)),
    "Luminosity": lambda b, s: _set_lum(b, _lum(s)),
    "Colorize": lambda b, s: _set_lum(_set_sat(s, _sat(s)), _lum(b)),
}
BLENDED: list[tuple[str, str, list[float]]] = []
for mode in (*SEPARABLE, *WHOLE):
    for base, over in PAIRS:
        for opacity in (255, 128):
            b, s = (tuple(v / 255 for v in rgb(n)) for n in (base, over))
            mixed = (
                tuple(SEPARABLE[mode](x, y) for x, y in zip(b, s, strict=True))
                if mode in SEPARABLE
                else WHOLE[mode](b, s)
            )
            result = [(x + (y - x) * opacity / 255) * 255 for x, y in zip(b, mixed, strict=True)]
            script = (
                f"var m = new Media(); m.makeCanvas(xs @ 2, ys @ 2, fillColor @ {base}); var d = new Media();"
                f" d.makeCanvas(xs @ 2, ys @ 2, fillColor @ {over}); m.composite(source @ d, blend @ '{mode}', opacity @ {opacity});"
            )
            BLENDED.append((f"3.0 blend {mode} {base:06x} {over:06x} {opacity}", script + SAVE, result))

# 3.4 colour
row("3.4 adjustRgb, nothing", f"{LOAD} m.adjustRgb(); {SAVE}", A)
row("3.4 adjustRgb, invert", f"{LOAD} m.adjustRgb(invert @ true); {SAVE}", each(A, lambda p: tuple(255 - v for v in p)))
for value in (-255, -100, -1, 1, 60, 255):
    row(
        "3.4 adjustRgb, brightness",
        f"{LOAD} m.adjustRgb(brightness @ {value}); {SAVE}",
        each(A, lambda p, value=value: tuple(clip(v + value) for v in p)),
    )
    for index, channel in enumerate(("red", "green", "blue")):
        row("3.4 adjustRgb, one channel", f"{LOAD} m.adjustRgb({channel} @ {value}); {SAVE}", each(A, lambda p, value=value, index=index: tuple(clip(v + value) if n == index else v for n, v in enumerate(p))))  # fmt: skip
for contrast in (-255, -128, 64, 128):
    factor = 259 * (contrast + 255) / (255 * (259 - contrast))
    row(
        "3.4 adjustRgb, contrast",
        f"{LOAD} m.adjustRgb(contrast @ {contrast}); {SAVE}",
        each(A, lambda p, f=factor: tuple(clip((v - 128) * f + 128) for v in p)),
    )
row(
    "3.4 adjustRgb, invert is last",
    f"{LOAD} m.adjustRgb(brightness @ 200, invert @ true); {SAVE}",
    each(A, lambda p: tuple(255 - clip(v + 200) for v in p)),
)
row("3.4 convert to gray", f"{LOAD} m.convert(rtype @ 'Gray-8'); {SAVE}", each(A, gray))
row("3.4 convert, short and old names", f"{LOAD} m.convert(rtype @ 'grayscale'); {SAVE}", each(A, gray))
row("3.4 convert to RGBA is opaque", f"{LOAD} m.convert(rtype @ 'RGBA'); {SAVE}", each(A, lambda p: (*p, 255)))
row("3.4 convert, alpha from a transparent background", f"{LOAD} m.setColor(backColor @ 0x0A0500, transparency @ true); m.convert(rtype @ 'rgba-32'); {SAVE}", each(A, lambda p: (*p, 0 if p == (10, 5, 0) else 255)))  # fmt: skip
row("5.2 RGB-16 keeps 5-6-5 bits", f"{LOAD} m.convert(rtype @ 'RGB-16'); {SAVE}", each(A, lambda p: (clip((p[0] >> 3) * 255 / 31), clip((p[1] >> 2) * 255 / 63), clip((p[2] >> 3) * 255 / 31))))  # fmt: skip
row(
    "5.2 RGB-15 keeps 5 bits",
    f"{LOAD} m.convert(rtype @ '15-bit'); {SAVE}",
    each(A, lambda p: tuple(clip((v >> 3) * 255 / 31) for v in p)),
)
for index, channel in enumerate(("Red", "Green", "Blue")):
    row(
        "3.4 exportChannel",
        f"{LOAD} m = m.exportChannel(channel @ '{channel}'); {SAVE}",
        each(A, lambda p, index=index: (p[index],)),
    )
    row("3.4 importChannel", f"{LOAD} var n = m.clone(); n.convert(rtype @ 'gray'); m.importChannel(channel @ '{channel}', source @ n); {SAVE}", each(A, lambda p, index=index: tuple(gray(p)[0] if n == index else v for n, v in enumerate(p))))  # fmt: skip
row(
    "3.4 exportChannel, alpha of an opaque picture",
    f"{LOAD} m = m.exportChannel(channel @ 'alpha'); {SAVE}",
    each(A, lambda p: (255,)),
)
row(
    "3.4 importChannel, alpha makes RGBA",
    f"{LOAD} var n = m.clone(); m.importChannel(channel @ 'Alpha', source @ n); {SAVE}",
    each(A, lambda p: (*p, gray(p)[0])),
)
row(
    "3.4 exportChannel, brightness is the greatest",
    f"{LOAD} m = m.exportChannel(channel @ 'Brightness'); {SAVE}",
    each(A, lambda p: (max(p),)),
)
row(
    "3.4 exportChannel, saturation (HSV)",
    f"{LOAD} m = m.exportChannel(channel @ 'Saturation'); {SAVE}",
    each(A, lambda p: (clip((max(p) - min(p)) * 255 / max(p)),)),
)
row("3.4 reduce, few colours stay exact", f"{LOAD} m.reduce(colors @ 16); m.convert(rtype @ 'rgb'); {SAVE}", A)
row("3.4 reduce, bw", "var m = new Media(); m.makeCanvas(xs @ 2, ys @ 1, fillColor @ 0xE0E0E0); m.setPixel(x @ 0, y @ 0, color @ 0x202020); m.reduce(bw @ true); m.convert(rtype @ 'rgb');" + SAVE, [[BLACK, WHITE]])  # fmt: skip
row("3.4 setColor, foreColor is the drawing colour", f"{LOAD} m.setColor(foreColor @ 0x00FF00); m.rectangle(x @ 1, y @ 1, xs @ 2, ys @ 1, fill @ true); {SAVE}", stamped(A, 1, 1, [[(0, 255, 0)] * 2]))  # fmt: skip
row("3.9 popular colour", "var m = new Media(); m.makeCanvas(xs @ 3, ys @ 1, fillColor @ 0x010203); m.setPixel(x @ 0, y @ 0, color @ 9); m.makeCanvas(xs @ 1, ys @ 1, fillColor @ m.getPopularColor());" + SAVE, [[(1, 2, 3)]])  # fmt: skip

# 3.3 shapes on the pixel grid
for x, y, xs, ys in ((0, 0, 4, 3), (1, 1, 2, 1), (-1, -1, 3, 3), (3, 2, 5, 5), (0, 1, 1, 1)):
    row(
        "3.3 rectangle, filled",
        f"{LOAD} m.rectangle(x @ {x}, y @ {y}, xs @ {xs}, ys @ {ys}, fill @ true, color @ 0xFF0000); {SAVE}",
        stamped(A, x, y, plain(xs, ys, (255, 0, 0))),
    )
row(
    "3.0 drawing without a colour uses white",
    f"{LOAD} m.rectangle(x @ 0, y @ 0, xs @ 1, ys @ 1, fill @ true); {SAVE}",
    stamped(A, 0, 0, [[WHITE]]),
)
row(
    "3.3 polygon, filled",
    f"{LOAD} m.polygon(points @ '1,0;3,0;3,2;1,2;1,0', fill @ true, color @ 0x0000FF); {SAVE}",
    stamped(A, 1, 0, plain(2, 2, (0, 0, 255))),
)
row(
    "3.10 line on the grid",
    f"{LOAD} m.line(x1 @ 0, y1 @ 1.5, x2 @ 4, y2 @ 1.5, width @ 1, color @ 0xFF00FF); {SAVE}",
    stamped(A, 0, 1, plain(4, 1, (255, 0, 255))),
)
row(
    "3.3 beyond the picture nothing happens",
    f"{LOAD} m.ellipse(x @ 50, y @ 50, rx @ 3, ry @ 3, fill @ true); {SAVE}",
    A,
)
for x in range(W):
    row(
        "3.10 setPixel",
        f"{LOAD} m.setPixel(x @ {x}, y @ 2, color @ 0xABCDEF); {SAVE}",
        stamped(A, x, 2, [[rgb(0xABCDEF)]]),
    )
row(
    "3.10 gradient, linear",
    "var m = new Media(); m.gradient(xs @ 5, ys @ 1, startColor @ 0, endColor @ 0xFFFFFF);" + SAVE,
    [[(clip(255 * (n + 0.5) / 5),) * 3 for n in range(5)]],
)
row("3.10 gradient, downwards", "var m = new Media(); m.gradient(xs @ 1, ys @ 4, startColor @ 0xFF0000, endColor @ 0x0000FF, angle @ 90);" + SAVE, [[(clip(255 - 255 * (n + 0.5) / 4), 0, clip(255 * (n + 0.5) / 4))] for n in range(4)])  # fmt: skip

# 3.5 filters, on what can be worked out by hand
row("3.5 blur, radius 0", f"{LOAD} m.blur(radius @ 0); {SAVE}", A)


def convolved(g: Grid, kernel: list[list[float]], divisor: float, offset: float = 0.0) -> Grid:
    reach = len(kernel) // 2

    def at(x: int, y: int) -> Pixel:
        return g[max(0, min(len(g) - 1, y))][max(0, min(len(g[0]) - 1, x))]

    span = range(-reach, reach + 1)
    return [
        [tuple(clip(sum(kernel[j + reach][i + reach] * at(x + i, y + j)[n] for j in span for i in span) / divisor + offset) for n in range(len(g[0][0])))
         for x in range(len(g[0]))]
        for y in range(len(g))
    ]  # fmt: skip


def extreme(g: Grid, pick: Callable[[list[int]], int]) -> Grid:
    def at(x: int, y: int) -> Pixel:
        return g[max(0, min(H - 1, y))][max(0, min(W - 1, x))]

    return [
        [tuple(pick([at(x + i, y + j)[n] for i in (-1, 0, 1) for j in (-1, 0, 1)]) for n in range(3)) for x in range(W)]
        for y in range(H)
    ]


row("3.5 blurBlur", f"{LOAD} m.blurBlur(); {SAVE}", convolved(A, [[1, 2, 1], [2, 4, 2], [1, 2, 1]], 16))
row("3.5 sharpenSharpen", f"{LOAD} m.sharpenSharpen(); {SAVE}", convolved(A, [[0, -1, 0], [-1, 5, -1], [0, -1, 0]], 1))
row(
    "3.5 sharpenSharpenMore",
    f"{LOAD} m.sharpenSharpenMore(); {SAVE}",
    convolved(A, [[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]], 1),
)
row(
    "3.10 convolve",
    f"{LOAD} m.convolve(matrix @ '1 0 0 0 0 0 0 0 0'); {SAVE}",
    convolved(A, [[1, 0, 0], [0, 0, 0], [0, 0, 0]], 1),
)
row("3.10 convolve, divisor and offset", f"{LOAD} m.convolve(matrix @ [[0, 1, 0], [1, 0, 1], [0, 1, 0]], divisor @ 8, offset @ 20); {SAVE}", convolved(A, [[0, 1, 0], [1, 0, 1], [0, 1, 0]], 8, 20))  # fmt: skip
row("3.5 otherMaximum", f"{LOAD} m.otherMaximum(radius @ 1); {SAVE}", extreme(A, max))
row("3.5 otherMinimum", f"{LOAD} m.otherMinimum(radius @ 1); {SAVE}", extreme(A, min))
row("3.5 pixellateMosaic, size 1", f"{LOAD} m.pixellateMosaic(size @ 1); {SAVE}", A)
row("3.5 pixellateMosaic", "var m = new Media(); m.makeCanvas(xs @ 4, ys @ 2, fillColor @ 0); m.setPixel(x @ 0, y @ 0, color @ 0xFFFFFF); m.pixellateMosaic(size @ 2);" + SAVE, [[(64,) * 3] * 2 + [BLACK] * 2] * 2)  # fmt: skip
for filter_name in ("blur", "blurBlur", "blurMoreBlur", "blurGaussianBlur", "blurMotionBlur", "otherMaximum", "otherMinimum", "pixellateMosaic", "pixellateFragment",
                    "sharpenSharpen", "sharpenSharpenMore", "sharpenUnsharpMask", "stylizeDiffuse"):  # fmt: skip
    row(
        "3.5 a flat picture stays as it is",
        f"var m = new Media(); m.makeCanvas(xs @ 9, ys @ 7, fillColor @ 0x4080C0); m.{filter_name}(); {SAVE}",
        plain(9, 7, rgb(0x4080C0)),
    )
row(
    "3.5 otherHighPass of a flat picture is gray",
    f"var m = new Media(); m.makeCanvas(xs @ 9, ys @ 7, fillColor @ 0x4080C0); m.otherHighPass(); {SAVE}",
    plain(9, 7, (128,) * 3),
)
row(
    "3.5 stylizeEmboss of a flat picture is gray",
    f"var m = new Media(); m.makeCanvas(xs @ 9, ys @ 7, fillColor @ 0x4080C0); m.stylizeEmboss(); {SAVE}",
    plain(9, 7, (128,) * 3),
)
for filter_name in ("stylizeFindEdges", "stylizeTraceContour"):
    row(
        "3.5 no edges in a flat picture",
        f"var m = new Media(); m.makeCanvas(xs @ 9, ys @ 7, fillColor @ 0x4080C0); m.{filter_name}(); {SAVE}",
        plain(9, 7, WHITE),
    )

# 3.6 selection
MASK = "var k = new Media(); k.makeCanvas(xs @ 4, ys @ 3, fillColor @ 0); k.rectangle(x @ 0, y @ 0, xs @ 2, ys @ 3, fill @ true); "
half = [[tuple(255 - v for v in p) if x < 2 else p for x, p in enumerate(r)] for r in A]
row("3.6 selection by a mask", f"{LOAD}{MASK} m.selection(source @ k); m.adjustRgb(invert @ true); {SAVE}", half)
row("3.6 selection, invert", f"{LOAD}{MASK} m.selection(source @ k, invert @ true); m.adjustRgb(invert @ true); {SAVE}", [[p if x < 2 else tuple(255 - v for v in p) for x, p in enumerate(r)] for r in A])  # fmt: skip
row(
    "3.6 selection, remove",
    f"{LOAD}{MASK} m.selection(source @ k); m.selection(remove @ true); m.adjustRgb(invert @ true); {SAVE}",
    each(A, lambda p: tuple(255 - v for v in p)),
)
row(
    "3.6 selection by colour",
    f"{LOAD} m.selection(color @ 0x0A0500); m.composite(color @ 0xFFFFFF); {SAVE}",
    stamped(A, 0, 0, [[WHITE]]),
)
row("3.6 selection, a smaller mask is placed, fill beyond", f"{LOAD} var k = new Media(); k.makeCanvas(xs @ 1, ys @ 1, fillColor @ 0xFFFFFF); m.selection(source @ k, x @ 3, y @ 2); m.composite(color @ 0); {SAVE}", stamped(A, 3, 2, [[BLACK]]))  # fmt: skip

# 3.7 layers, frames
row(
    "3.7 setLayer adds a layer, collapse flattens",
    f"{LOAD}{DOT} m.setLayer(1, d); m.setLayerPosition(1, 2, 1); m.collapse(); m.convert(rtype @ 'rgb'); {SAVE}",
    stamped(A, 2, 1, RED),
)
row(
    "3.7 a hidden layer does not show",
    f"{LOAD}{DOT} m.setLayer(1, d); m.setLayerVisible(1, false); m.collapse(visibleOnly @ true); m.convert(rtype @ 'rgb'); {SAVE}",
    A,
)
row(
    "3.7 setLayerBlend",
    f"{LOAD} var d = m.clone(); m.setLayer(1, d); m.setLayerBlend(1, 'Difference'); m.collapse(); m.convert(rtype @ 'rgb'); {SAVE}",
    plain(4, 3, BLACK),
)
row(
    "1.5 layer list by name",
    f"{LOAD}{DOT} m.setLayer(1, d); m.setLayerName(1, 'Logo big'); m.collapse(layers @ 'Back*'); m.convert(rtype @ 'rgb'); {SAVE}",
    A,
)
row("3.7 getLayer, setLayer", f"{LOAD}{DOT} m.setLayer(1, d); var l = m.getLayer(0); l.flip(axis @ 'horizontal'); m.setLayer(0, l); m.collapse(layers @ '0'); m.convert(rtype @ 'rgb'); {SAVE}", mirrored(A))  # fmt: skip
for listing, chosen in (("1", {1}), ("2-3", {2, 3}), ("1,3", {1, 3}), ("1-4-2", {1, 3}), ("4", {4}), (2, {2})):
    frames = "".join(
        f"var f = new Media(); f.makeCanvas(xs @ 1, ys @ 1, fillColor @ 0); m.setFrame({n}, f); " for n in range(1, 5)
    )
    quoted = f"'{listing}'" if isinstance(listing, str) else listing
    row("1.5 frame list", f"var m = new Media(); {frames} m.adjustRgb(brightness @ 255, frames @ {quoted}); var o = new Media(); o.makeCanvas(xs @ 4, ys @ 1); for (var i = 1; i <= 4; i++) o.setPixel(x @ i - 1, y @ 0, color @ m.getFrame(i).getPixel(0, 0)); o.save(type @ 'png');", [[WHITE if n in chosen else BLACK for n in range(1, 5)]])  # fmt: skip


@pytest.mark.parametrize(("trace", "script", "expected"), ROWS, ids=[f"{n}-{r[0][:40]}" for n, r in enumerate(ROWS)])
def test_the_picture_is_exactly_this(bench, trace, script, expected):
    assert bench.picture(script) == expected


@pytest.mark.parametrize(("trace", "script", "expected"), BLENDED, ids=[r[0] for r in BLENDED])
def test_blend_modes_follow_the_formulas(bench, trace, script, expected):
    """Within one step of 255: libvips rounds Normal in its own way."""
    for pixel in bench.picture(script)[0]:
        assert all(abs(value - want) <= 1.0 for value, want in zip(pixel, expected, strict=True)), (pixel, expected)


def test_there_are_enough_rows():
    assert len(ROWS) + len(BLENDED) >= 300
