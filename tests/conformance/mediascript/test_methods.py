"""What every method and parameter does to pixels, against a second way of computing it (`plain_pictures`): plain Python,
known results, or laws that hold between two scripts. Together with the other tables of this folder it names every
parameter of every method, which test_coverage.py holds.
"""

import colorsys
import math
import struct

import pytest
from plain_pictures import (
    Grid,
    Pixel,
    at,
    clip,
    colorized,
    coverage,
    differences,
    each,
    gaussian,
    luma,
    near_segments,
    rounded,
    weighted,
)

W, H = 12, 9
P: Grid = [[((x * 53 + y * 17) % 256, (x * 29 + y * 71 + 40) % 256, (x * y * 11 + 90) % 256) for x in range(W)] for y in range(H)]  # fmt: skip
"""A restless picture: neighbours differ a lot."""
Q: Grid = [[(255 - p[2], p[0], p[1]) for p in row] for row in P]
PALE: Grid = [[(90 + x * 5, 100 + y * 6, 120 + (x + y) * 3) for x in range(W)] for y in range(H)]
GRAYS: Grid = [[(((x * 40 + y * 13) % 256),) for x in range(W)] for y in range(H)]
LOAD = "var m = new Media(); m.load(name @ 'p.png'); "
PALE_LOAD = "var m = new Media(); m.load(name @ 'pale.png'); "
GRAY_LOAD = "var m = new Media(); m.load(name @ 'gray.png'); "
SAVE = " m.save(type @ 'png');"
RGBA = "m.convert(rtype @ 'rgba'); "


@pytest.fixture(scope="module", autouse=True)
def pictures(bench, make_png):
    for name, grid in (("p", P), ("q", Q), ("pale", PALE), ("gray", GRAYS), ("mixed", MIXED), ("block", BLOCK)):
        bench.add(f"{name}.png", make_png(grid))
    flat = bytes(v for colour in FILED for v in colour)
    lines = [" ".join(map(str, colour)) for colour in FILED]
    bench.add("jasc.pal", "\r\n".join(["JASC-PAL", "0100", str(len(FILED)), *lines]).encode())
    entries = b"".join(bytes((*colour, 0)) for colour in FILED)
    body = b"PAL data" + struct.pack("<IHH", len(entries) + 4, 0x300, len(FILED)) + entries
    bench.add("riff.pal", b"RIFF" + struct.pack("<I", len(body)) + body)
    bench.add("adobe.act", flat.ljust(768, b"\0") + struct.pack(">HH", len(FILED), 0))


def canvas(width: int, height: int, colour: int = 0, more: str = "") -> str:
    return f"var m = new Media(); m.makeCanvas(xs @ {width}, ys @ {height}, fillColor @ {colour}{more}); "


ROWS: list[tuple[str, str, Grid, int]] = []
"""Trace, script, picture, greatest difference allowed."""


def row(trace: str, script: str, expected: Grid, within: int = 0) -> None:
    ROWS.append((trace, script, expected, within))


# -- 3.4 colour ---------------------------------------------------------------------------------------------------


def hsb(pixel: Pixel, hue: float, saturation: float, brightness: float) -> list[float]:
    h, s, v = colorsys.rgb_to_hsv(*(c / 255 for c in pixel))
    s, v = max(0.0, min(1.0, s + saturation / 255)), max(0.0, min(1.0, v + brightness / 255))
    return [c * 255 for c in colorsys.hsv_to_rgb((h + hue / 255) % 1.0, s, v)]


for hue, saturation, brightness in (
    (85, 0, 0),
    (-40, 0, 0),
    (255, 0, 0),
    (0, 60, 0),
    (0, -255, 0),
    (0, 0, 50),
    (0, 0, -90),
    (30, -20, 40),
):
    row("3.4 adjustHsb", f"{LOAD} m.adjustHsb(hue @ {hue}, saturation @ {saturation}, brightness @ {brightness}); {SAVE}", each(P, lambda p, a=(hue, saturation, brightness): hsb(p, *a)), 1)  # fmt: skip
row("3.4 adjustHsb of gray changes brightness", f"{GRAY_LOAD} m.adjustHsb(hue @ 99, brightness @ 20); {SAVE}", each(GRAYS, lambda p: (p[0] + 20,)))  # fmt: skip


def equalised(values: list[int], percent: float) -> dict[int, float]:
    """The new value of each of 0..255: a stretched range, or with -1 the cumulative histogram."""
    ordered, total = sorted(values), len(values)
    if percent < 0:
        counts = {v: sum(1 for other in ordered if other <= v) for v in range(256)}
        first = counts[ordered[0]]
        return {v: max(0.0, (counts[v] - first) * 255 / (total - first)) for v in range(256)}
    outside = total * percent / 100
    low = next(v for v in range(256) if sum(1 for o in ordered if o <= v) > outside)
    high = next(v for v in range(255, -1, -1) if sum(1 for o in ordered if o >= v) > outside)
    return {v: (v - low) * 255 / (high - low) for v in range(256)}


for percent in (-1, 0, 1, 5, 20):
    table = equalised([luma(p) for line in PALE for p in line], percent)
    row("3.4 equalize, brightness", f"{PALE_LOAD} m.equalize(brightness @ {percent}); {SAVE}", each(PALE, lambda p, t=table: [t[v] for v in p]), 1)  # fmt: skip
for percent in (-1, 2):
    full = [[colorsys.rgb_to_hsv(*(c / 255 for c in p)) for p in line] for line in PALE]
    table = equalised([clip(s * 255) for line in full for _, s, _ in line], percent)
    expected = [[tuple(clip(c * 255) for c in colorsys.hsv_to_rgb(h, max(0, min(255, table[clip(s * 255)])) / 255, v)) for h, s, v in line] for line in full]  # fmt: skip
    row("3.4 equalize, saturation", f"{PALE_LOAD} m.equalize(saturation @ {percent}); {SAVE}", expected, 3)
for colour, saturation in ((0xFF8000, 255), (0x3060C0, 128), (0x00FF00, 0)):
    parts = (colour >> 16, colour >> 8 & 255, colour & 255)
    row("3.4 colorize", f"{LOAD} m.colorize(color @ {colour}, saturation @ {saturation}); {SAVE}", each(P, lambda p, c=parts, s=saturation: colorized(p, c, s)), 1)  # fmt: skip


def unclipped(value: int, brightness: float) -> float:
    """noClip: the whole range is kept, with less contrast."""
    low, high = brightness, 255 + brightness
    bottom, top = max(0.0, low), min(255.0, high)
    return bottom + value * (top - bottom) / 255


for brightness in (80, -60):
    row("3.4 adjustRgb, noClip", f"{LOAD} m.adjustRgb(brightness @ {brightness}, noClip @ true); {SAVE}", each(P, lambda p, b=brightness: [unclipped(v, b) for v in p]), 1)  # fmt: skip
row("3.4 convert, preserveBackground: the background is not dithered", f"{canvas(8, 8, 0x0B0D11)} m.setColor(backColor @ 0x0B0D11); m.convert(rtype @ 'RGB-15', dither @ 10, preserveBackground @ true); {SAVE}", [[(8, 8, 16)] * 8] * 8)  # fmt: skip
row("3.4 setColor, popular: the most frequent colour becomes the background", f"{canvas(5, 1, 0x102030)} m.setPixel(x @ 0, y @ 0, color @ 0x908070); m.setColor(popular @ true, precise @ true); m.pad(xs @ 7); {SAVE}", [[(16, 32, 48), (0x90, 0x80, 0x70), *[(16, 32, 48)] * 5]])  # fmt: skip
row("3.4 setColor, popular without precise counts neighbouring colours together", f"{canvas(6, 1, 0xFFFFFF)} for (var i = 0; i < 4; i++) m.setPixel(x @ i, y @ 0, color @ 0x404040 + i * 0x010101); m.crop(xs @ 6); m.setColor(popular @ true, precise @ false); m.crop(xs @ 7, x @ 0); {SAVE}", [[(64 + i,) * 3 for i in range(4)] + [(255,) * 3] * 2 + [(64,) * 3]])  # fmt: skip
INDEXED = "m.reduce(colors @ 4); "
ROUGH = f"{canvas(4, 1, 0)} m.setPixel(x @ 1, y @ 0, color @ 0x0000FF); m.setPixel(x @ 2, y @ 0, color @ 0x00FF00); m.setPixel(x @ 3, y @ 0, color @ 0xFF0000); {INDEXED}"
COLOURS = [(0, 0, 0), (0, 0, 255), (0, 255, 0), (255, 0, 0)]
row("3.4 setColor, by index", f"{ROUGH} m.setColor(foreIndex @ 2, backIndex @ 1); m.rectangle(x @ 0, y @ 0, xs @ 1, ys @ 1, fill @ true); m.pad(xs @ 5, x @ 0); {SAVE}", [[(0, 255, 0), *COLOURS[1:], (0, 0, 255)]])  # fmt: skip
row("3.0 after reduce the background is index 0, the foreground the last", f"{ROUGH} m.rectangle(x @ 1, y @ 0, xs @ 1, ys @ 1, fill @ true); m.pad(xs @ 5, x @ 0); {SAVE}", [[(0, 0, 0), (255, 0, 0), *COLOURS[2:], (0, 0, 0)]])  # fmt: skip
row("3.2 padIndex", f"{ROUGH} m.pad(xs @ 5, x @ 0, padIndex @ 2); m.crop(xs @ 6, x @ 0, padIndex @ 1); m.rotate(angle @ 180, xs @ 7, padIndex @ 3); m.scale(xs @ 7, ys @ 2, constrain @ true, padIndex @ 1); {SAVE}", [[(255, 0, 0) if n == 6 else c for n, c in enumerate([(0, 0, 255), (0, 255, 0), *COLOURS[::-1], (255, 0, 0)])], [(0, 0, 255)] * 7])  # fmt: skip

# reduce
CLUSTERS = [(16, 32, 40), (216, 32, 40), (16, 232, 40), (16, 32, 240)]
MIXED: Grid = [[tuple(v + (x + 2 * y) % 3 for v in CLUSTERS[(x + y) % 4]) for x in range(W)] for y in range(H)]
MIDDLES = [tuple(v // 8 * 8 + 4 for v in c) for c in CLUSTERS]  # each cluster lies in one cell of 8 x 8 x 8
row("3.4 reduce, median cut finds the clusters", f"var m = new Media(); m.load(name @ 'mixed.png'); m.reduce(colors @ 4); {SAVE}", [[MIDDLES[(x + y) % 4] for x in range(W)] for y in range(H)])  # fmt: skip
row("3.4 reduce, a single colour is the mean of all cells", f"var m = new Media(); m.load(name @ 'mixed.png'); m.reduce(colors @ 1); m.crop(xs @ 1, ys @ 1); {SAVE}", [[tuple(clip(sum(MIDDLES[n % 4][band] for n in range(4)) / 4) for band in range(3))]], 1)  # fmt: skip
for gray_name, count in (("4 grays", 4), ("16 Grays", 16), ("256 grays", 256)):
    tones = [round(255 * n / (count - 1)) for n in range(count)]
    row("3.4 reduce, shipped grays", f"{GRAY_LOAD} m.reduce(name @ '{gray_name}'); m.convert(rtype @ 'gray'); {SAVE}", each(GRAYS, lambda p, t=tones: (min(t, key=lambda v: (abs(v - p[0]), v)),)))  # fmt: skip


def nearest(pixel: Pixel, palette: list[Pixel], weights: Pixel = (3, 6, 1)) -> Pixel:
    middle = [v // 8 * 8 + 4 for v in pixel]
    return min(palette, key=lambda c: sum(w * (a - b) ** 2 for w, a, b in zip(weights, c, middle, strict=True)))


CUBE = [(r, g, b) for r in range(0, 256, 51) for g in range(0, 256, 51) for b in range(0, 256, 51)]
row("3.4 reduce, netscape", f"{LOAD} m.reduce(netscape @ true); m.convert(rtype @ 'rgb'); {SAVE}", each(P, lambda p: nearest(p, CUBE)))  # fmt: skip
row("3.4 reduce, noWarp: no perceptual weights", f"{LOAD} m.reduce(netscape @ true, noWarp @ true); m.convert(rtype @ 'rgb'); {SAVE}", each(P, lambda p: nearest(p, CUBE, (1, 1, 1))))  # fmt: skip
WINDOWS = [tuple(bytes.fromhex(c)) for c in ["000000", "800000", "008000", "808000", "000080", "800080", "008080", "C0C0C0", "808080", "FF0000", "00FF00", "FFFF00", "0000FF", "FF00FF", "00FFFF", "FFFFFF"]]  # fmt: skip
row("3.4 reduce, Windows 16", f"{LOAD} m.reduce(name @ 'Windows 16'); m.convert(rtype @ 'rgb'); {SAVE}", each(P, lambda p: nearest(p, WINDOWS)))  # fmt: skip
FILED: list[Pixel] = [(0, 0, 0), (250, 10, 20), (10, 240, 30), (30, 20, 245), (200, 200, 190)]
for file in ("jasc.pal", "riff.pal", "adobe.act"):
    row("3.4 reduce, palette files", f"{LOAD} m.reduce(name @ '{file}'); m.convert(rtype @ 'rgb'); {SAVE}", each(P, lambda p: nearest(p, FILED)))  # fmt: skip
row("3.4 reduce, pad fills up with black", f"{ROUGH.replace('4); ', '4, pad @ true); ').replace('colors @ 4', 'colors @ 7')} m.rectangle(x @ 3, y @ 0, xs @ 1, ys @ 1, fill @ true, index @ 6); {SAVE}", [[*COLOURS[:3], (0, 0, 0)]])  # fmt: skip
row("3.4 reduce, preserveBackground keeps that colour to itself", f"{LOAD} m.setPixel(x @ 3, y @ 3, color @ 0x7B7C7D); m.setColor(backColor @ 0x7B7C7D); m.reduce(name @ 'windows 16', preserveBackground @ true); m.convert(rtype @ 'rgb'); {SAVE}", [[(0x7B, 0x7C, 0x7D) if (x, y) == (3, 3) else nearest(p, WINDOWS) for x, p in enumerate(line)] for y, line in enumerate(P)])  # fmt: skip
row("3.4 reduce, useAlpha with alphaCutoff", f"{canvas(3, 1, 0x808080)} var a = new Media(); a.makeCanvas(xs @ 3, ys @ 1, rtype @ 'gray', fillColor @ 0x646464); a.setPixel(x @ 0, y @ 0, color @ 0x656565); m.importChannel(channel @ 'alpha', source @ a); m.reduce(useAlpha @ true, alphaCutoff @ 100); m.convert(rtype @ 'rgba'); {SAVE}", [[(128, 128, 128, 255), (128, 128, 128, 0), (128, 128, 128, 0)]])  # fmt: skip
row("3.4 reduce, ditherTop: brighter pixels are not dithered", f"{canvas(8, 8, 0xC8C8C8)} m.reduce(name @ '4 grays', dither @ 10, ditherTop @ 5); m.convert(rtype @ 'gray'); {SAVE}", [[(170,)] * 8] * 8)  # fmt: skip

# channels
row("3.4 importChannel, rtype Alpha-8 reads the source's alpha", f"{LOAD} var s = m.clone(); s.pad(xs @ 12, ys @ 9, x @ 4, padColor @ 0, transparency @ 200); m.importChannel(channel @ 'Red', source @ s, rtype @ 'Alpha-8'); {SAVE}", [[((255 if x < 8 else 55), *p[1:]) for x, p in enumerate(line)] for line in P])  # fmt: skip
row("3.4 importChannel, rtype of fewer bits", f"{LOAD} var s = m.clone(); m.importChannel(channel @ 'Blue', source @ s, rtype @ 'RGB-15'); {SAVE}", each(P, lambda p: (*p[:2], luma(tuple(clip((v >> 3) * 255 / 31) for v in p)))))  # fmt: skip
for channel, index in (("Hue", 0), ("Saturation", 1), ("Brightness", 2)):
    row("3.4 exportChannel, HSV", f"{LOAD} m = m.exportChannel(channel @ '{channel}'); {SAVE}", each(P, lambda p, i=index: (colorsys.rgb_to_hsv(*(c / 255 for c in p))[i] * 255,)), 1)  # fmt: skip
for channel, index in (("Hue2", 0), ("Brightness2", 1), ("Saturation2", 2)):
    row("3.4 exportChannel, HLS", f"{LOAD} m = m.exportChannel(channel @ '{channel}'); {SAVE}", each(P, lambda p, i=index: (colorsys.rgb_to_hls(*(c / 255 for c in p))[i] * 255,)), 1)  # fmt: skip
for index, channel in enumerate(("Hue", "Saturation", "Brightness")):

    def hsv_with(p: Pixel, index: int = index) -> list[float]:
        parts = list(colorsys.rgb_to_hsv(*(c / 255 for c in p)))
        parts[index] = luma(p) / 255
        return [c * 255 for c in colorsys.hsv_to_rgb(*parts)]

    row("3.4 importChannel, HSV", f"{LOAD} var s = m.clone(); m.importChannel(channel @ '{channel}', source @ s); {SAVE}", each(P, hsv_with), 1)  # fmt: skip
INKS = "var m = new Media(); m.makeCanvas(xs @ 2, ys @ 1, rtype @ 'cmyk', fillColor @ 0x11223344); "
for index, ink in enumerate(("Cyan", "Magenta", "Yellow", "Black")):
    row("3.4 exportChannel, inks", f"{INKS} m = m.exportChannel(channel @ '{ink}'); {SAVE}", [[(0x11 * (index + 1),)] * 2])  # fmt: skip
    row("3.4 importChannel, inks", f"{INKS} var s = new Media(); s.makeCanvas(xs @ 2, ys @ 1, fillColor @ 0x999999); m.importChannel(channel @ '{ink}', source @ s); m = m.exportChannel(channel @ '{ink}'); {SAVE}", [[(0x99,)] * 2])  # fmt: skip
row("3.10 fixAlpha takes the background out of soft pixels", f"{canvas(1, 1, 0x60A020, ', rtype @ ' + chr(39) + 'rgba' + chr(39) + ', transparency @ 127')} m.fixAlpha(color @ 0x204060); {SAVE}", [[(*tuple(clip(max(0, min(255, (c - b * 127 / 255) * 255 / 128))) for c, b in zip((96, 160, 32), (32, 64, 96), strict=True)), 128)]], 1)  # fmt: skip
row("3.6 composite, fixAlpha on the source", f"{canvas(1, 1, 0x204060)} var s = new Media(); s.makeCanvas(xs @ 1, ys @ 1, rtype @ 'rgba', fillColor @ 0x406080, transparency @ 127); s.setColor(backColor @ 0x204060); m.composite(source @ s, fixAlpha @ true); {SAVE}", [[(0x40, 0x60, 0x80)]], 1)  # fmt: skip

# -- 3.5 filters --------------------------------------------------------------------------------------------------
BOX = {(i, j): 1 / 9 for i in (-1, 0, 1) for j in (-1, 0, 1)}
row("3.5 blur is a box", f"{LOAD} m.blur(radius @ 1); {SAVE}", rounded(weighted(P, BOX)))
LIGHT = {(i, j): (2 - abs(i)) * (2 - abs(j)) / 16 for i in (-1, 0, 1) for j in (-1, 0, 1)}
row("3.5 blurMoreBlur is blurBlur three times", f"{LOAD} m.blurMoreBlur(); {SAVE}", rounded(weighted(weighted(weighted(P, LIGHT), LIGHT), LIGHT)), 1)  # fmt: skip
for sigma in (0.8, 1.5):
    bell = weighted(P, gaussian(sigma))
    row("3.5 blurGaussianBlur", f"{LOAD} m.blurGaussianBlur(radius @ {sigma}); {SAVE}", rounded(bell), 2)
    row("3.5 otherHighPass", f"{LOAD} m.otherHighPass(radius @ {sigma}); {SAVE}", [[tuple(clip(v - b + 128) for v, b in zip(p, q, strict=True)) for p, q in zip(line, soft, strict=True)] for line, soft in zip(P, bell, strict=True)], 2)  # fmt: skip
    for amount, threshold in ((80, 0), (200, 30)):
        sharp = [[tuple(clip(v + (v - b if abs(v - b) >= threshold else 0) * amount / 100) for v, b in zip(p, q, strict=True)) for p, q in zip(line, soft, strict=True)] for line, soft in zip(P, bell, strict=True)]  # fmt: skip
        if threshold == 0:
            row("3.5 sharpenUnsharpMask", f"{LOAD} m.sharpenUnsharpMask(amount @ {amount}, radius @ {sigma}, threshold @ {threshold}); {SAVE}", sharp, 4)  # fmt: skip
row("3.5 sharpenUnsharpMask, threshold keeps what changes little", f"{PALE_LOAD} m.sharpenUnsharpMask(amount @ 500, radius @ 1, threshold @ 60); {SAVE}", PALE)  # fmt: skip
row("3.5 blurMotionBlur, along the row", f"{LOAD} m.blurMotionBlur(angle @ 0, distance @ 3); {SAVE}", rounded(weighted(P, {(n, 0): 1 / 3 for n in (-1, 0, 1)})))  # fmt: skip
row("3.5 blurMotionBlur, along the column", f"{LOAD} m.blurMotionBlur(angle @ 90, distance @ 5); {SAVE}", rounded(weighted(P, {(0, n): 1 / 5 for n in range(-2, 3)})))  # fmt: skip
row("3.5 blurMotionBlur, diagonal", f"{LOAD} m.blurMotionBlur(angle @ 45, distance @ 3); {SAVE}", rounded(weighted(P, {(n, n): 1 / 3 for n in (-1, 0, 1)})))  # fmt: skip
row("3.5 pixellateFragment averages four copies", f"{LOAD} m.pixellateFragment(); {SAVE}", rounded(weighted(P, {(i, j): 1 / 4 for i in (-4, 4) for j in (-4, 4)})))  # fmt: skip
for mosaic in (3, 5):
    cells = {}
    for y in range(H):
        for x in range(W):
            cells[x // mosaic, y // mosaic] = None
    # The last cells are filled up with the outermost pixels.
    means = {(i, j): tuple(sum(at(P, i * mosaic + a, j * mosaic + b)[n] for a in range(mosaic) for b in range(mosaic)) / mosaic**2 for n in range(3)) for i, j in cells}  # fmt: skip
    row("3.5 pixellateMosaic", f"{LOAD} m.pixellateMosaic(size @ {mosaic}); {SAVE}", [[tuple(clip(v) for v in means[x // mosaic, y // mosaic]) for x in range(W)] for y in range(H)], 1)  # fmt: skip
for reach in (1, 2):
    around = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]
    row("3.5 otherMaximum", f"{LOAD} m.otherMaximum(radius @ {reach}); {SAVE}", [[tuple(max(at(P, x + i, y + j)[n] for i, j in around) for n in range(3)) for x in range(W)] for y in range(H)])  # fmt: skip
    row("3.5 otherMinimum", f"{LOAD} m.otherMinimum(radius @ {reach}); {SAVE}", [[tuple(min(at(P, x + i, y + j)[n] for i, j in around) for n in range(3)) for x in range(W)] for y in range(H)])  # fmt: skip
for angle, (dx, dy) in ((0, (1, 0)), (90, (0, -1)), (180, (-1, 0))):
    for height, amount in ((1, 100), (2, 50)):
        lit = [[clip((luma(at(P, x + dx * height, y + dy * height)) - luma(at(P, x - dx * height, y - dy * height))) * amount / 100 + 128) for x in range(W)] for y in range(H)]  # fmt: skip
        row("3.5 stylizeEmboss", f"{LOAD} m.stylizeEmboss(angle @ {angle}, height @ {height}, amount @ {amount}); {SAVE}", [[(v,) * 3 for v in line] for line in lit], 1)  # fmt: skip
ACROSS = {(-1, -1): -1, (1, -1): 1, (-1, 0): -2, (1, 0): 2, (-1, 1): -1, (1, 1): 1}
DOWN = {(j, i): w for (i, j), w in ACROSS.items()}
strength = [[tuple(math.hypot(a, b) for a, b in zip(p, q, strict=True)) for p, q in zip(s, t, strict=True)] for s, t in zip(weighted(P, ACROSS), weighted(P, DOWN), strict=True)]  # fmt: skip
for threshold in (0, 150):
    row("3.5 stylizeFindEdges", f"{LOAD} m.stylizeFindEdges(threshold @ {threshold}); {SAVE}", [[tuple(clip(255 - min(255, v if v >= threshold else 0)) for v in p) for p in line] for line in strength], 1)  # fmt: skip
BLOCK: Grid = [[(200,) if 3 <= x < 9 and 2 <= y < 7 else (50,) for x in range(W)] for y in range(H)]
for side, inside in (("upper", True), ("lower", False)):
    ring = [[(0,) if ((BLOCK[y][x][0] >= 128) == inside and any((at(BLOCK, x + i, y + j)[0] >= 128) != inside for i in (-1, 0, 1) for j in (-1, 0, 1))) else (255,) for x in range(W)] for y in range(H)]  # fmt: skip
    row("3.5 stylizeTraceContour", f"var m = new Media(); m.load(name @ 'block.png'); m.stylizeTraceContour(level @ 128, edge @ '{side}'); {SAVE}", ring)  # fmt: skip
row("3.5 stylizeTraceContour, a level nothing reaches", f"var m = new Media(); m.load(name @ 'block.png'); m.stylizeTraceContour(level @ 201); {SAVE}", [[(255,)] * W] * H)  # fmt: skip

# -- 3.10 shadow and glow -----------------------------------------------------------------------------------------
# A red square of 3 x 3 in the middle of a clear picture of 9 x 9.
SQUARE = "var s = new Media(); s.makeCanvas(xs @ 3, ys @ 3, fillColor @ 0xFF0000, rtype @ 'rgba'); var m = new Media(); m.makeCanvas(xs @ 9, ys @ 9, rtype @ 'rgba', fillColor @ 0, transparency @ 255); m.composite(source @ s); "


def square(x: int, y: int) -> bool:
    return 3 <= x < 6 and 3 <= y < 6


def over(top: Pixel, under: Pixel) -> Pixel:
    """Porter and Duff's over, alpha straight."""
    a, b = top[3] / 255, under[3] / 255
    out = a + b * (1 - a)
    if not out:
        return (0, 0, 0, 0)
    return (*(clip((t * a + u * b * (1 - a)) / out) for t, u in zip(top[:3], under[:3], strict=True)), clip(out * 255))


RED: Pixel = (255, 0, 0, 255)
row("3.10 dropShadow, hard and clipped", f"{SQUARE} m.dropShadow(dx @ 2, dy @ 1, blur @ 0, opacity @ 100, color @ 0x0000FF, enlarge @ false); {SAVE}", [[RED if square(x, y) else (0, 0, 255, 100) if square(x - 2, y - 1) else (0, 0, 0, 0) for x in range(9)] for y in range(9)])  # fmt: skip
row("3.10 dropShadow, the canvas grows towards the shadow", f"{SQUARE} m.dropShadow(dx @ 2, dy @ -1, blur @ 0, opacity @ 255, color @ 0x00FF00); {SAVE}", [[RED if square(x, y - 1) else (0, 255, 0, 255) if square(x - 2, y) else (0, 0, 0, 0) for x in range(11)] for y in range(10)])  # fmt: skip
soft = weighted([[(255,) if square(x - 3, y - 3) else (0,) for x in range(15)] for y in range(15)], gaussian(1.0))
row("3.10 dropShadow, soft", f"{SQUARE} m.dropShadow(dx @ 0, dy @ 0, blur @ 1, opacity @ 255, color @ 0x0000FF); m = m.exportChannel(channel @ 'alpha'); {SAVE}", [[(255 if square(x - 3, y - 3) else clip(soft[y][x][0]),) for x in range(15)] for y in range(15)], 4)  # fmt: skip
row("3.10 glow, hard: the shape grown by size", f"{SQUARE} m.glow(blur @ 0, size @ 2, opacity @ 200, color @ 0xFFFF00, enlarge @ false); {SAVE}", [[RED if square(x, y) else (255, 255, 0, 200) if 1 <= x < 8 and 1 <= y < 8 else (0, 0, 0, 0) for x in range(9)] for y in range(9)])  # fmt: skip

# -- 3.2 geometry -------------------------------------------------------------------------------------------------


def region(g: Grid, left: float, top: float, width: int, height: int, factor: int, beyond: Pixel) -> Grid:
    """A window of width x height on the picture magnified by a whole factor, nearest pixel."""
    out = []
    for y in range(height):
        line = []
        for x in range(width):
            sx, sy = math.floor(left + (x + 0.5) / factor), math.floor(top + (y + 0.5) / factor)
            line.append(g[sy][sx] if 0 <= sx < len(g[0]) and 0 <= sy < len(g) else beyond)
        out.append(line)
    return out


for factor in (1, 2, 3):
    for x, y, xs, ys in ((6, 4, 6, 6), (3, 3, 12, 6), (0, 0, 6, 6)):
        row("3.10 zoom, centre and factor", f"{GRAY_LOAD} m.zoom(scale @ {factor * 100}, x @ {x}, y @ {y}, xs @ {xs}, ys @ {ys}, alg @ 'Outline', padColor @ 0xFFFFFF); {SAVE}", region(GRAYS, x - xs / factor / 2, y - ys / factor / 2, xs, ys, factor, (255,)))  # fmt: skip
row("3.10 zoom, defaults keep the picture", f"{LOAD} m.zoom(); {SAVE}", P)
row("3.10 zoom of a flat picture stays flat", f"{canvas(8, 8, 0x406080)} m.zoom(scale @ 250, alg @ 'Best'); {SAVE}", [[(64, 96, 128)] * 8] * 8)  # fmt: skip
row("3.10 zoom, transparency beyond the picture", f"{canvas(2, 2, 0x406080)} m.zoom(xs @ 4, ys @ 2, padColor @ 0x010203, transparency @ 255, alg @ 'Outline'); {SAVE}", [[(1, 2, 3, 0), *[(64, 96, 128, 255)] * 2, (1, 2, 3, 0)]] * 2)  # fmt: skip
CORNERS = "x1 @ {}, y1 @ {}, x2 @ {}, y2 @ {}, x3 @ {}, y3 @ {}, x4 @ {}, y4 @ {}"
row("3.10 quadWarp to its own corners", f"{LOAD} m.quadWarp({CORNERS.format(0, 0, 12, 0, 12, 9, 0, 9)}); {SAVE}", P)
row("3.10 quadWarp, moved", f"{LOAD} m.quadWarp({CORNERS.format(2, 1, 14, 1, 14, 10, 2, 10)}, smooth @ false, padColor @ 0x0A0B0C); {SAVE}", [[P[y - 1][x - 2] if x >= 2 and y >= 1 else (10, 11, 12) for x in range(W)] for y in range(H)])  # fmt: skip
row("3.10 quadWarp, corners exchanged is a mirror", f"{LOAD} m.quadWarp({CORNERS.format(12, 0, 0, 0, 0, 9, 12, 9)}, smooth @ false); {SAVE}", [line[::-1] for line in P])  # fmt: skip
row("3.10 quadWarp, transparency around", f"{LOAD} m.convert(rtype @ 'rgba'); m.setColor(backColor @ 0); m.quadWarp({CORNERS.format(6, 0, 18, 0, 18, 9, 6, 9)}, smooth @ false); {SAVE}", [[(*P[y][x - 6], 255) if x >= 6 else (0, 0, 0, 0) for x in range(W)] for y in range(H)])  # fmt: skip


def warped(corners: list[tuple[float, float]], x: float, y: float) -> tuple[float, float]:
    """Where a point of a convex quadrilateral comes from in the unit square: by the projective map through its corners
    (Heckbert's formulas from square to quadrilateral, inverted by their adjoint)."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    det = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / det, (dx1 * sy - sx * dy1) / det
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    u, v, w = (e - f * h) * x + (c * h - b) * y + (b * f - c * e), (f * g - d) * x + (a - c * g) * y + (c * d - a * f), (d * h - e * g) * x + (b * g - a * h) * y + (a * e - b * d)  # fmt: skip
    return u / w, v / w


QUAD = [(1.0, 0.0), (11.0, 2.0), (10.0, 8.0), (0.0, 9.0)]
flat_points = [v for point in QUAD for v in point]
expected = []
for y in range(H):
    line = []
    for x in range(W):
        u, v = warped(QUAD, x + 0.5, y + 0.5)
        line.append(P[int(v * H)][int(u * W)] if 0 <= u < 1 and 0 <= v < 1 else (255, 255, 255))
    expected.append(line)
WARP = (f"{LOAD} m.quadWarp({CORNERS.format(*flat_points)}, smooth @ false); {SAVE}", expected)

row("3.10 rotate without resize, a quarter with transparency", f"{LOAD} m.rotate(angle @ 90, resize @ false, transparency @ 255, padColor @ 0x010203); {SAVE}", [[(*P[H - x][y + 2], 255) if 1 <= x < 10 else (1, 2, 3, 0) for x in range(W)] for y in range(H)])  # fmt: skip
row("3.2 crop, transparency of what lies beyond", f"{LOAD} m.crop(xs @ 3, ys @ 1, x @ 10, y @ 0, padColor @ 0x010203, transparency @ 100); {SAVE}", [[(*P[0][10], 255), (*P[0][11], 255), (1, 2, 3, 155)]])  # fmt: skip
row("3.2 scale, transparency of the padding", f"{canvas(2, 1, 0x336699)} m.scale(xs @ 2, ys @ 3, constrain @ true, padColor @ 0x010203, transparency @ 255); {SAVE}", [[(1, 2, 3, 0)] * 2, [(51, 102, 153, 255)] * 2, [(1, 2, 3, 0)] * 2])  # fmt: skip
HALVES = f"{canvas(8, 8, 0xFFFFFF)} m.rectangle(x @ 0, y @ 0, xs @ 3, ys @ 8, fill @ true, color @ 0x0000FF); m.setColor(backColor @ 0xFFFFFF); "
for cutoff, edge in ((0, (0, 0, 255)), (90, (255, 255, 255))):
    row("3.2 scale, preserveBackground does not mix", f"{HALVES} m.scale(xs @ 4, ys @ 4, preserveBackground @ true, preserveBackgroundCutoff @ {cutoff}, alg @ 'Smooth'); m.crop(xs @ 1, ys @ 4, x @ 1); {SAVE}", [[edge]] * 4)  # fmt: skip
row("3.2 scale, preserveBackground: only the two colours remain", f"{HALVES} m.scale(xs @ 4, ys @ 4, preserveBackground @ true, preserveBackgroundCutoff @ 50); m.crop(xs @ 3, ys @ 1, x @ 1, y @ 2); m.setPixel(x @ 0, y @ 0, color @ 0); {SAVE}", [[(0, 0, 0), (255, 255, 255), (255, 255, 255)]])  # fmt: skip
row("3.2 scale, transparentCutoff makes edges hard", f"{canvas(4, 4, 0x0000FF, ', rtype @ ' + chr(39) + 'rgba' + chr(39))} m.crop(xs @ 6, ys @ 4, x @ -1, padColor @ 0x0000FF, transparency @ 255); m.scale(xs @ 3, ys @ 2, transparentCutoff @ 100); m.crop(ys @ 1); m = m.exportChannel(channel @ 'alpha'); {SAVE}", [[(255,), (255,), (255,)]])  # fmt: skip

# -- 3.3 shapes: outlines and areas against coverage counted point by point ---------------------------------------------
SHAPES: list[tuple[str, str, list[list[float]]]] = []


def ring(x: float, y: float, cx: float, cy: float, rx: float, ry: float, width: float) -> bool:
    """Within half the width of an ellipse's line: by the nearest of many points on it."""
    if rx == ry:
        return abs(math.hypot(x - cx, y - cy) - rx) <= width / 2
    return any(math.hypot(x - cx - rx * math.cos(t / 60), y - cy - ry * math.sin(t / 60)) <= width / 2 for t in range(377))  # fmt: skip


def turn_of(x: float, y: float, cx: float, cy: float) -> float:
    return math.degrees(math.atan2(y - cy, x - cx)) % 360


SHAPES.append(("ellipse", "x @ 10, y @ 8, rx @ 7, ry @ 5, fill @ true", coverage(lambda x, y: ((x - 10) / 7) ** 2 + ((y - 8) / 5) ** 2 <= 1, 20, 16)))  # fmt: skip
SHAPES.append(("ellipse", "x @ 10, y @ 8, rx @ 6, ry @ 6, width @ 2.5", coverage(lambda x, y: ring(x, y, 10, 8, 6, 6, 2.5), 20, 16)))  # fmt: skip
SHAPES.append(("arc", "x @ 10, y @ 8, rx @ 6, ry @ 6, startAngle @ 20, endAngle @ 130, width @ 2", coverage(lambda x, y: ring(x, y, 10, 8, 6, 6, 2) and 20 <= turn_of(x, y, 10, 8) <= 130, 20, 16)))  # fmt: skip
SHAPES.append(("arc", "x @ 10, y @ 8, rx @ 6, ry @ 6, startAngle @ -60, endAngle @ 90, fill @ true", coverage(lambda x, y: math.hypot(x - 10, y - 8) <= 6 and (turn_of(x, y, 10, 8) <= 90 or turn_of(x, y, 10, 8) >= 300), 20, 16)))  # fmt: skip
SHAPES.append(("arc", "x @ 10, y @ 8, rx @ 8, ry @ 4, startAngle @ 30, endAngle @ 60, fill @ true, warpAngles @ false", coverage(lambda x, y: ((x - 10) / 8) ** 2 + ((y - 8) / 4) ** 2 <= 1 and 30 <= turn_of(x, y, 10, 8) <= 60, 20, 16)))  # fmt: skip
SHAPES.append(("arc", "x @ 10, y @ 8, rx @ 8, ry @ 4, startAngle @ 30, endAngle @ 60, fill @ true, warpAngles @ true", coverage(lambda x, y: ((x - 10) / 8) ** 2 + ((y - 8) / 4) ** 2 <= 1 and 30 <= turn_of((x - 10) / 8, (y - 8) / 4, 0, 0) <= 60, 20, 16)))  # fmt: skip
SHAPES.append(("arc", "x @ 10, y @ 8, rx @ 6, ry @ 6, startAngle @ 0, endAngle @ 360, fill @ true", coverage(lambda x, y: math.hypot(x - 10, y - 8) <= 6, 20, 16)))  # fmt: skip
SHAPES.append(("line", "x1 @ 2, y1 @ 3, x2 @ 17, y2 @ 12, width @ 3", coverage(near_segments([(2, 3), (17, 12)], 3), 20, 16)))  # fmt: skip
SHAPES.append(("rectangle", "x @ 4, y @ 3, xs @ 12, ys @ 9, width @ 2", coverage(lambda x, y: 3 <= x <= 17 and 2 <= y <= 13 and not (5 < x < 15 and 4 < y < 11), 20, 16)))  # fmt: skip
SHAPES.append(("rectangle", "x @ 6, y @ 4, xs @ 8, ys @ 8, angle @ 45, fill @ true", coverage(lambda x, y: abs(x - 10) + abs(y - 8) <= 4 * math.sqrt(2), 20, 16)))  # fmt: skip
SHAPES.append(("polygon", "points @ '3,2;17,8;3,14;3,2', fill @ true", coverage(lambda x, y: x >= 3 and abs(y - 8) <= 6 * (17 - x) / 14, 20, 16)))  # fmt: skip
SHAPES.append(("polygon", "points @ '2,2;16,2', width @ 2", coverage(near_segments([(2, 2), (16, 2)], 2), 20, 16)))


@pytest.mark.parametrize(("method", "arguments", "expected"), SHAPES, ids=[f"{n}-{s[0]}" for n, s in enumerate(SHAPES)])
def test_shapes_cover_what_geometry_says(bench, method, arguments, expected):
    """3.3: white on black; within 1/14 of a pixel's area, the rasteriser's grid."""
    script = f"{canvas(20, 16)} m.{method}({arguments}, color @ 0xFFFFFF, smooth @ {{}}); {SAVE}"
    drawn = bench.picture(script.format("true"))
    for y in range(16):
        for x in range(20):
            assert abs(drawn[y][x][0] - expected[y][x] * 255) <= 18, (x, y, drawn[y][x], expected[y][x])
    hard = bench.picture(script.format("false"))
    for y in range(16):
        for x in range(20):
            assert hard[y][x][0] in (0, 255)
            assert abs(hard[y][x][0] / 255 - expected[y][x]) <= 0.8, (x, y, hard[y][x], expected[y][x])


# The shared drawing set (3.0), for everything that draws: from the shape's own mask, by arithmetic.
DRAWS = {
    "rectangle": "x @ 2, y @ 2, xs @ 7, ys @ 4, fill @ true",
    "ellipse": "x @ 6, y @ 4, rx @ 4, ry @ 3, fill @ true",
    "arc": "x @ 6, y @ 4, rx @ 4, ry @ 3, startAngle @ 10, endAngle @ 250, fill @ true",
    "polygon": "points @ '1,1;11,3;4,8;1,1', fill @ true",
    "line": "x1 @ 1, y1 @ 1, x2 @ 11, y2 @ 7, width @ 2, fill @ false",
    "drawText": "text @ 'ab', size @ 9, x @ 6, y @ 4, handleX @ 'center', handleY @ 'middle'",
}
INK: list[tuple[str, str]] = []
for name, shape in DRAWS.items():
    INK.append((name, f"m.{name}({shape}, color @ 0x40C080, opacity @ 128);"))
    INK.append((name, f"m.{name}({shape}, color @ 0x40C080, blend @ 'Multiply');"))
    INK.append((name, f"m.{name}({shape}, color @ 0x40C080, blend @ 'Colorize', saturation @ 100);"))
    INK.append((name, f"m.{name}({shape}, color @ 0x40C080, unlock @ 0x{P[4][5][0]:02X}{P[4][5][1]:02X}{P[4][5][2]:02X});"))  # fmt: skip
    INK.append((name, f"m.reduce(name @ 'windows 16'); m.{name}({shape}, index @ 10); m.convert(rtype @ 'rgb');"))
    INK.append((name, f"m.convert(rtype @ 'rgba'); m.{name}({shape}, color @ 0x40C080, preserveAlpha @ true);"))


def inked(script: str, base: Grid, mask: list[list[float]]) -> Grid:
    """What the shared set of 3.0 says, for the scripts of INK."""
    colour = (0x40, 0xC0, 0x80)
    out = []
    for line, shares in zip(base, mask, strict=True):
        made = []
        for pixel, share in zip(line, shares, strict=True):
            target: list[float] = list(colour)
            if "opacity" in script:
                share = share * 128 / 255
            if "Multiply" in script:
                target = [a * b / 255 for a, b in zip(pixel, colour, strict=True)]
            elif "Colorize" in script:
                target = colorized(pixel, colour, 100)
            elif "unlock" in script and pixel != P[4][5]:
                share = 0
            elif "index" in script:
                target = [0, 255, 0]
            made.append(tuple(clip(p + (t - p) * share) for p, t in zip(pixel, target, strict=True)))
        out.append(made)
    return out


@pytest.mark.parametrize(("name", "script"), INK, ids=[f"{n}-{i[0]}" for n, i in enumerate(INK)])
def test_what_draws_takes_the_shared_set(bench, name, script):
    mask = [[p[0] / 255 for p in line] for line in bench.picture(f"{canvas(W, H)} m.{name}({DRAWS[name]}, color @ 0xFFFFFF); {SAVE}")]  # fmt: skip
    base = each(P, lambda p: nearest(p, WINDOWS)) if "index" in script else P
    drawn = bench.picture(f"{LOAD} {script} {SAVE}")
    expected = inked(script, base, mask)
    if "preserveAlpha" in script:
        assert all(p[3] == 255 for line in drawn for p in line)
        drawn = [[p[:3] for p in line] for line in drawn]
    assert drawn != base or name == "drawText"
    assert differences(drawn, expected) <= 2


def test_composite_takes_the_rest_of_its_parameters(bench):
    """3.6: ignoreAlpha, preserveAlpha, index as colour of a stencil, saturation with Colorize."""
    clear = (
        "var s = new Media(); s.makeCanvas(xs @ 12, ys @ 9, rtype @ 'rgba', fillColor @ 0x102030, transparency @ 128); "
    )
    assert (
        bench.picture(f"{LOAD}{clear} m.composite(source @ s, ignoreAlpha @ true); {SAVE}") == [[(16, 32, 48)] * W] * H
    )
    half = bench.picture(f"{LOAD}{clear} m.composite(source @ s); {SAVE}")
    assert differences(half, each(P, lambda p: [a + (b - a) * 127 / 255 for a, b in zip(p, (16, 32, 48), strict=True)])) <= 1  # fmt: skip
    base = (
        "var m = new Media(); m.makeCanvas(xs @ 2, ys @ 1, rtype @ 'rgba', fillColor @ 0xFFFFFF, transparency @ 155); "
    )
    kept = bench.picture(f"{base}{clear} m.composite(source @ s, ignoreAlpha @ true, preserveAlpha @ true); {SAVE}")
    assert kept == [[(16, 32, 48, 100)] * 2]
    stencil = bench.picture(f"{LOAD} m.reduce(name @ 'windows 16'); {clear} m.composite(source @ s, index @ 9); {SAVE}")
    reduced = each(P, lambda p: nearest(p, WINDOWS))
    assert differences(stencil, each(reduced, lambda p: [a + (b - a) * 127 / 255 for a, b in zip(p, (255, 0, 0), strict=True)])) <= 1  # fmt: skip
    tinted = bench.picture(f"{LOAD} m.composite(color @ 0x40C080, blend @ 'Colorize', saturation @ 50); {SAVE}")
    assert differences(tinted, each(P, lambda p: colorized(p, (0x40, 0xC0, 0x80), 50))) <= 1


@pytest.mark.parametrize(("trace", "script", "expected", "within"), ROWS, ids=[f"{n}-{r[0][:44]}" for n, r in enumerate(ROWS)])  # fmt: skip
def test_the_picture_is_this(bench, trace, script, expected, within):
    assert differences(bench.picture(script), expected) <= within
