"""What is left of the reference: files in and out, profiles, selections, chance, requests and responses, small objects."""

import io
import json
import struct
import zipfile

import pytest
import pyvips
from plain_pictures import Grid, at, clip, differences, each, gaussian, luma, rounded, weighted

from dservices.mediagen.formats import apng

W, H = 12, 9
P: Grid = [[((x * 53 + y * 17) % 256, (x * 29 + y * 71 + 40) % 256, (x * y * 11 + 90) % 256) for x in range(W)] for y in range(H)]  # fmt: skip
LOAD = "var m = new Media(); m.load(name @ 'p.png'); "
SAVE = " m.save(type @ 'png');"


@pytest.fixture(scope="module", autouse=True)
def pictures(bench, make_png):
    bench.add("p.png", make_png(P))
    mask: Grid = [[(255,) if x < 3 else (0,) for x in range(5)] for _ in range(4)]
    bench.add("mask.png", make_png(mask))


# -- save (3.1) ---------------------------------------------------------------------------------------------------


def test_jpeg_options(bench):
    """progressive or interlaced: SOF2 instead of SOF0; subsampling: the sampling factors of the first component."""

    def frame(options: str) -> tuple[int, int]:
        data = bench.body(f"{LOAD} m.save(type @ 'jpeg'{options});")
        at_marker = 2
        while data[at_marker + 1] not in (0xC0, 0xC2):
            at_marker += 2 + int.from_bytes(data[at_marker + 2 : at_marker + 4], "big")
        return data[at_marker + 1], data[at_marker + 11]

    assert frame("")[0] == 0xC0
    assert frame(", progressive @ true")[0] == frame(", interlaced @ true")[0] == 0xC2
    assert frame(", subsampling @ 'off'")[1] == 0x11
    assert frame(", subsampling @ '4:2:0'")[1] == 0x22
    sizes = [len(bench.body(f"{LOAD} m.save(type @ 'jpeg', quality @ {quality});")) for quality in (10, 50, 95)]
    assert sizes == sorted(set(sizes))


def test_png_options(bench):
    """level and interlace change bytes, never pixels; colors and dither write a palette of so many bits."""

    def header(options: str) -> tuple[int, int, int]:
        data = bench.body(f"{LOAD} m.save(type @ 'png'{options});")
        depth, colour, _, _, interlace = struct.unpack(">BBBBB", data[24:29])
        return depth, colour, interlace

    assert header("") == (8, 2, 0)
    assert header(", interlaced @ true")[2] == 1
    for colours, depth in ((2, 1), (4, 2), (16, 4), (200, 8)):
        assert header(f", colors @ {colours}, dither @ 3")[:2] == (depth, 3)
    packed = [len(bench.body(f"var m = new Media(); m.gradient(xs @ 90, ys @ 70); m.save(type @ 'png', level @ {level});")) for level in (0, 9)]  # fmt: skip
    assert packed[0] > 90 * 70 * 3 > packed[1]
    for options in (", level @ 0", ", level @ 9", ", interlaced @ true"):
        assert bench.picture(f"{LOAD} m.save(type @ 'png'{options});") == P


@pytest.mark.parametrize(("word", "tag"), [("none", 1), ("lzw", 5), ("deflate", 8), ("zip", 8), ("packbits", 32773), ("jpeg", 7), ("webp", 50001)])  # fmt: skip
def test_tiff_compressions(bench, word, tag):
    data = bench.body(f"{LOAD} m.save(type @ 'tiff', compression @ '{word}', quality @ 95, lossless @ true);")
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = {struct.unpack_from("<H", data, start + 2 + 12 * n)[0]: struct.unpack_from("<H", data, start + 10 + 12 * n)[0] for n in range(count)}  # fmt: skip
    assert entries[259] == tag
    bench.add("round.tif", data)
    back = bench.picture("var m = new Media(); m.load(name @ 'round.tif'); m.save(type @ 'png');")
    assert differences(back, P) <= (90 if word == "jpeg" else 0)


def test_resolution_travels(bench):
    """3.10: set, saved by JPEG, PNG and TIFF, read; `dpi` of save goes before."""
    for kind in ("jpeg", "png", "tiff"):
        for call, option, expected in (("dpi @ 300", "", 300), ("dpiX @ 144, dpiY @ 72", "", 144), ("dpi @ 300", ", dpi @ 200", 200)):  # fmt: skip
            bench.add("fine", bench.body(f"{LOAD} m.setResolution({call}); m.save(type @ '{kind}'{option});"))
            text = bench.text(
                "(function () { var m = new Media(); m.load(name @ 'fine'); return m.getResolution() })()"
            )
            assert float(text) == pytest.approx(expected, abs=0.6)
    assert bench.problem(f"{LOAD} m.setResolution();").facts["parameter"] == "dpi"


def test_animation_options(bench):
    """delay, loop, colors, effort, dither of GIF and WebP: read from the file's own fields."""
    two = f"{LOAD} var f = m.clone(); f.flip(); m.setFrame(2, f); "
    gif = bench.body(f"{two} m.save(type @ 'gif', delay @ 70, loop @ 4, colors @ 8, effort @ 1, dither @ 0, interlaced @ true);")  # fmt: skip
    assert gif.count(b"\x21\xf9\x04") == 2
    image = pyvips.Image.new_from_buffer(gif, "", n=-1)
    assert (image.get("delay"), image.get("loop"), image.get("gif-palette") is not None) == ([70, 70], 4, True)
    assert len({tuple(p) for row in [[image.getpoint(x, y) for x in range(W)] for y in range(H)] for p in row}) <= 8
    webp = pyvips.Image.new_from_buffer(bench.body(f"{two} m.save(type @ 'webp', delay @ 70, loop @ 4, effort @ 6, lossless @ true, frames @ '1-2');"), "", n=-1)  # fmt: skip
    assert (webp.get("delay"), webp.get("loop")) == ([70, 70], 4)
    assert bench.picture(f"{two} m.save(type @ 'png', frames @ '2');") == [row[::-1] for row in P]
    still = bench.body(f"{LOAD} m.save(type @ 'avif', effort @ 0, lossless @ true);")
    assert still[4:12] == b"ftypavif"


def test_what_is_kept_by_the_response_type(bench):
    """2.4: streamed answers are not to be cached."""
    for script, cached in (
        (f"{LOAD} m.save(type @ 'png', responseType @ 'streamed');", False),
        (f"{LOAD} m.save(type @ 'png', responseType @ 'cached');", True),
        (f"{LOAD} m.save(name @ 'mem:/x.png'); resp.setPath('mem:/x.png', RespType.Streamed);", False),
        (f"{LOAD} m.save(name @ 'mem:/x.png'); resp.setPath('mem:/x.png', RespType.Path);", True),
    ):
        outcome, _ = bench.outcome(script)
        assert outcome["cached"] is cached, script


# -- load (3.1) ---------------------------------------------------------------------------------------------------
PAGES = "var d = new Media(); for (var i = 0; i < 3; i++) { var f = new Media(); f.makeCanvas(xs @ 30, ys @ 20, fillColor @ 0x500000 * (i + 1)); d.setFrame(i + 1, f); } "


def test_pages_are_kept_in_a_temporary_file(bench):
    """3.1, temporaryFileName: the pages as a multi-frame TIFF that stays."""
    bench.add("three.pdf", bench.body(f"{PAGES} d.save(type @ 'pdf');"))
    text = bench.text(
        "(function () { var m = new Media(); m.load(name @ 'three.pdf', frames @ '1-0', temporaryFileName @ 'mem:/pages.tif'); var n = new Media();"
        " n.load(name @ 'mem:/pages.tif', frames @ '2-3'); return [m.getFrameCount(), n.getFrameCount(), n.getFileType(), n.getFrame(1).getPixel(5, 5) >> 16].join() })()"
    )
    assert text.split(",")[:3] == ["3", "2", "tiff"]
    assert abs(int(text.split(",")[3]) - 0xA0) <= 3


def pdf(content: bytes) -> bytes:
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 20 10] /Contents 4 0 R >>", b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)]  # fmt: skip
    return b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % (n, o) for n, o in enumerate(objects, 1)) + b"trailer\n<< /Root 1 0 R >>"  # fmt: skip


def test_what_lies_behind_a_page(bench):
    """Ours: fillColor is the paper's colour."""
    bench.add("bar.pdf", pdf(b"1 0 0 rg 0 0 10 10 re f"))
    grid = bench.picture("var m = new Media(); m.load(name @ 'bar.pdf', fillColor @ 0x00FF00); m.save(type @ 'png');")
    assert (grid[5][3], grid[5][15]) == ((255, 0, 0), (0, 255, 0))
    rgb = bench.picture("var m = new Media(); m.loadAsRGB(name @ 'bar.pdf', frame @ 1, frames @ '1', dpi @ 144, detect @ true, type @ 'pdf', fillColor @ 0x0000FF, loadMetadata @ true, password @ '', temporaryFileName @ 'mem:/t.tif'); m.save(type @ 'png');")  # fmt: skip
    assert (len(rgb), len(rgb[0]), rgb[10][30]) == (20, 40, (0, 0, 255))
    assert bench.picture("var m = new Media(); m.load(name @ 'bar.pdf', password @ 'unused'); m.save(type @ 'png');")[5][15] == (255, 255, 255)  # fmt: skip


def test_load_as_rgb_converts_ink(bench):
    bench.add("ink.tif", bench.body("var m = new Media(); m.makeCanvas(xs @ 2, ys @ 2, rtype @ 'cmyk', fillColor @ 0xFF000000); m.save(type @ 'tiff');"))  # fmt: skip
    mode, number = bench.text("(function () { var m = new Media(); m.loadAsRGB(name @ 'ink.tif'); return m.getPixelFormat() + ',' + m.getPixel(0, 0) })()").split(",")  # fmt: skip
    assert mode == "RGB-24"
    assert int(number) >> 16 < 80
    assert int(number) & 255 > 180  # cyan


def psd_with_layers(layers: list[dict], width: int, height: int) -> bytes:
    """A PSD whose flattened picture is gray, and layers: rect, colour, alpha, name, and the rest of their records."""
    records, data = b"", b""
    for layer in layers:
        left, top, right, bottom = layer["rect"]
        area = (right - left) * (bottom - top)
        channels = [(-1, layer["alpha"]), *enumerate(layer["colour"])]
        if "mask" in layer:
            channels.append((-2, layer["mask"]))
        records += struct.pack(">iiiiH", top, left, bottom, right, len(channels))
        for number, value in channels:
            packed = layer.get("compression", 0)
            if packed == 1:
                row = bytes([257 - (right - left), value]) if right - left > 1 else bytes([0, value])
                raw = struct.pack(f">{bottom - top}H", *[len(row)] * (bottom - top)) + row * (bottom - top)
            elif packed in (2, 3):
                import zlib

                line = bytes([value] + [0 if packed == 3 else value] * (right - left - 1))
                raw = zlib.compress(line * (bottom - top))
            else:
                raw = bytes([value]) * area
            records += struct.pack(">hI", number, 2 + len(raw))
            data += struct.pack(">H", packed) + raw
        mask = struct.pack(">IiiiiBBH", 20, top, left, bottom, right, 0, 0, 0) if "mask" in layer else b"\0\0\0\0"
        name = layer["name"].encode("ascii", "replace")
        pascal = (bytes([len(name)]) + name).ljust((len(name) + 4) // 4 * 4, b"\0")
        wide = struct.pack(">I", len(layer["name"])) + layer["name"].encode("utf-16-be")
        extra = mask + b"\0\0\0\0" + pascal + b"8BIMluni" + struct.pack(">I", len(wide)) + wide + b"\0" * (len(wide) % 2)  # fmt: skip
        if "group" in layer:
            extra += b"8BIMlsct" + struct.pack(">II", 4, layer["group"])
        flags = 2 if layer.get("hidden") else 0
        records += b"8BIM" + layer.get("blend", b"norm") + struct.pack(">BBBBI", layer.get("opacity", 255), 0, flags, 0, len(extra)) + extra  # fmt: skip
    info = struct.pack(">h", len(layers)) + records + data
    section = struct.pack(">I", len(info)) + info + b"\0\0\0\0"
    resolution = struct.pack(">IHHIHH", 150 << 16, 1, 1, 150 << 16, 1, 1)
    iim = b"\x1c\x02\x69\0\x05Title"
    resources = b"".join(b"8BIM" + struct.pack(">HHI", number, 0, len(body)) + body + b"\0" * (len(body) % 2) for number, body in ((0x03ED, resolution), (0x0404, iim), (0x0424, b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a>7</a></x:xmpmeta>")))  # fmt: skip
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, height, width, 8, 3)
    return head + b"\0\0\0\0" + struct.pack(">I", len(resources)) + resources + struct.pack(">I", len(section)) + section + b"\0\0" + bytes([99]) * (3 * width * height)  # fmt: skip


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
LAYERED = [
    {"rect": (0, 0, 6, 4), "colour": RED, "alpha": 255, "name": "Ground", "compression": 1},
    {"rect": (1, 1, 3, 3), "colour": GREEN, "alpha": 255, "name": "Gr\u00fcn", "opacity": 128, "compression": 2},
    {"rect": (2, 0, 8, 2), "colour": BLUE, "alpha": 255, "name": "Over the edge", "hidden": True, "compression": 3},
    {"rect": (0, 0, 1, 1), "colour": (1, 1, 1), "alpha": 255, "name": "</Layer group>", "group": 3},
    {"rect": (4, 2, 6, 4), "colour": (128, 128, 128), "alpha": 255, "name": "Logo", "blend": b"mul ", "mask": 255},
    {"rect": (0, 0, 0, 0), "colour": (), "alpha": 0, "name": "Folder", "group": 1},
]


def test_psd_layers(bench):
    """3.1 `layers`, 3.7, 5.1: places, names, opacity, blend mode, visibility; without `layers` the flattened picture."""
    bench.add("layers.psd", psd_with_layers(LAYERED, 6, 4))
    flat = bench.picture("var m = new Media(); m.load(name @ 'layers.psd'); m.save(type @ 'png');")
    assert flat == [[(99, 99, 99)] * 6] * 4
    facts = json.loads(bench.text("(function () { var m = new Media(); m.load(name @ 'layers.psd', layers @ '0-9'); var n = []; for (var i = 0; i < m.getLayerCount(); i++) n.push(m.getLayerName(i)); return JSON.stringify([n, m.getWidth(), m.getHeight(), m.getResolution()]) })()"))  # fmt: skip
    assert facts == [["Ground", "Grün", "Over the edge", "Logo"], 6, 4, 150]
    shown = bench.picture("var m = new Media(); m.load(name @ 'layers.psd', layers @ '*'); m.save(type @ 'png');")
    expected = [[(255, 0, 0, 255)] * 6 for _ in range(4)]
    for y in (1, 2):
        for x in (1, 2):
            expected[y][x] = (127, 128, 0, 255)
    for y in (2, 3):
        for x in (4, 5):
            expected[y][x] = (128, 0, 0, 255)
    assert differences(shown, expected) <= 1
    blue = bench.picture("var m = new Media(); m.load(name @ 'layers.psd', layers @ 'Ground,Over*'); m.setLayerVisible(1, true); m.save(type @ 'png');")  # fmt: skip
    assert blue == [[(*(BLUE if x >= 2 and y < 2 else RED), 255) for x in range(6)] for y in range(4)]
    assert bench.problem("new Media().load(name @ 'layers.psd', layers @ 'Nothing*');").facts["parameter"] == "layers"
    assert bench.picture("var m = new Media(); m.loadAsRGB(name @ 'layers.psd', layers @ 'Ground'); m.collapse(); m.convert(rtype @ 'rgb'); m.save(type @ 'png');") == [[RED] * 6] * 4  # fmt: skip
    meta = bench.text("(function () { var m = new Media(); m.load(name @ 'layers.psd', loadMetadata @ true); return m.getMetadata('IPTC').getText('Headline') + m.getMetadata('XMP').getText('a') })()")  # fmt: skip
    assert meta == "Title7"


def test_hidden_groups_hide_what_is_in_them(bench):
    hidden = [*LAYERED[:-1], {**LAYERED[-1], "hidden": True}]
    bench.add("group.psd", psd_with_layers(hidden, 6, 4))
    shown = bench.picture("var m = new Media(); m.load(name @ 'group.psd', layers @ '*'); m.save(type @ 'png');")
    assert shown[3][5] == (255, 0, 0, 255)


def test_damaged_psd_layers_are_refused_or_read(bench):
    """G-6: every cut, and every byte of the records turned over: a picture or a 4xx."""
    data = psd_with_layers(LAYERED, 6, 4)
    for index in range(26, len(data), 7):
        for damaged in (data[:index], data[:index] + bytes([data[index] ^ 0xFF]) + data[index + 1 :]):
            bench.add("damaged.psd", damaged)
            outcome, _ = bench.outcome("var m = new Media(); m.load(name @ 'damaged.psd', layers @ '*', loadMetadata @ true); m.save(type @ 'png');")  # fmt: skip
            assert "problem" not in outcome or 400 <= outcome["problem"][0] < 500, outcome


def test_metadata_of_gif_and_pdf(bench):
    """3.8: XMP is read from GIF and PDF, too."""
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a>9</a></x:xmpmeta>"
    gif = bench.body(f"{LOAD} m.save(type @ 'gif');")
    bench.add("meta.gif", gif[:-1] + b"\x21\xff\x0bXMP DataXMP" + packet + b"\x01" + bytes(range(255, -1, -1)) + b"\0;")
    bench.add("meta.pdf", bench.body(f"{LOAD} m.save(type @ 'pdf');") + packet)
    for name in ("meta.gif", "meta.pdf"):
        text = bench.text(f"(function () {{ var m = new Media(); m.load(name @ '{name}', loadMetadata @ true); return m.getMetadata('XMP').getText('a') }})()")  # fmt: skip
        assert text == "9", name


# -- processImage (2.1) -------------------------------------------------------------------------------------------


def test_process_image(bench):
    """2.1: no main, but processImage: the framework loads, calls, saves; what it returns or else the picture itself."""
    turn = "function processImage(image) { image.flip(axis @ 'horizontal'); }"
    assert bench.picture(turn, "&name=p.png&type=png") == [row[::-1] for row in P]
    other = "function processImage(image) { var c = new Media(); c.makeCanvas(xs @ 1, ys @ 1, fillColor @ image.getWidth()); return c; }"
    assert bench.picture(other, "&name=p.png&type=png") == [[(0, 0, W)]]
    assert bench.problem(turn).facts["parameter"] == "name"
    assert bench.problem("function processImage(image) { return 7; }", "&name=p.png").code == "script_failed"
    both = "function processImage(i) { throw 1; } function main() { var m = new Media(); m.makeCanvas(xs @ 1, ys @ 1); m.save(type @ 'png'); }"
    assert bench.picture(both) == [[(255, 255, 255)]]


# -- selection (3.6) ----------------------------------------------------------------------------------------------


def through(mask: list[list[float]]) -> Grid:
    """P, inverted by the mask's share."""
    return [[tuple(clip(v + (255 - 2 * v) * share / 255) for v in p) for p, share in zip(row, line, strict=True)] for row, line in zip(P, mask, strict=True)]  # fmt: skip


INVERT = "m.adjustRgb(invert @ true);"


def test_selections_by_mask(bench):
    """name, x, y, fill, opacity, radius."""
    for fill, opacity in ((0, 255), (90, 255), (255, 100)):
        grid = bench.picture(f"{LOAD} m.selection(name @ 'mask.png', x @ 4, y @ 2, fill @ {fill}, opacity @ {opacity}); {INVERT} {SAVE}")  # fmt: skip
        mask = [[(255 if 4 <= x < 7 else 0) if 4 <= x < 9 and 2 <= y < 6 else fill for x in range(W)] for y in range(H)]
        assert differences(grid, through([[clip(v * opacity / 255) for v in row] for row in mask])) <= 1
    grid = bench.picture(f"{LOAD} m.selection(name @ 'mask.png', x @ 4, y @ 2, radius @ 2); {INVERT} {SAVE}")
    mask = [[((255 if 4 <= x < 7 else 0) if 4 <= x < 9 and 2 <= y < 6 else 0,) for x in range(W)] for y in range(H)]
    feathered = rounded(weighted(mask, gaussian(1.0)))
    assert differences(grid, through([[v[0] for v in row] for row in feathered])) <= 5


def test_selections_by_colour(bench):
    """backColor, index, colorType: of the picture itself."""
    grid = bench.picture(f"{LOAD} m.setPixel(x @ 2, y @ 2, color @ 0x010101); m.setColor(backColor @ 0x010101); m.selection(backColor @ true); {INVERT} {SAVE}")  # fmt: skip
    assert grid[2][2] == (254, 254, 254)
    assert grid[3] == P[3]
    palette = "var m = new Media(); m.makeCanvas(xs @ 3, ys @ 1, fillColor @ 0xFF0000); m.setPixel(x @ 1, y @ 0, color @ 0x0000FF); m.reduce(colors @ 2); m.selection(index @ 0); m.adjustRgb(invert @ true); m.convert(rtype @ 'rgb');"
    assert bench.picture(palette + SAVE) == [[(255, 0, 0), (255, 255, 0), (255, 0, 0)]]
    tones = {"Hilites": lambda v: (v - 128) * 2, "Shadows": lambda v: (127 - v) * 2, "Midtones": lambda v: 255 - abs(v - 127.5) * 2}  # fmt: skip
    for kind, share in tones.items():
        grid = bench.picture(f"{LOAD} m.selection(colorType @ '{kind}'); {INVERT} {SAVE}")
        assert differences(grid, through([[clip(share(luma(p))) for p in row] for row in P])) <= 2
    six = (("Reds", 0xFF0000), ("Yellows", 0xFFFF00), ("Greens", 0x00FF00), ("Cyans", 0x00FFFF), ("Blues", 0x0000FF), ("Magentas", 0xFF00FF))  # fmt: skip
    for kind, _ in six:
        canvas = "var m = new Media(); m.makeCanvas(xs @ 6, ys @ 1); " + "".join(f"m.setPixel(x @ {n}, y @ 0, color @ {c}); " for n, (_, c) in enumerate(six))  # fmt: skip
        grid = bench.picture(f"{canvas} m.selection(colorType @ '{kind}'); {INVERT} {SAVE}")[0]
        for n, (name, colour) in enumerate(six):
            plain = (colour >> 16, colour >> 8 & 255, colour & 255)
            assert grid[n] == (tuple(255 - v for v in plain) if name == kind else plain)


# -- chance that repeats (G-1) ------------------------------------------------------------------------------------
FLAT = "var m = new Media(); m.makeCanvas(xs @ 80, ys @ 60, fillColor @ 0x808080); "


def noise(bench, parameters: str) -> list[tuple[int, ...]]:
    grid = bench.picture(f"{FLAT} m.noiseAddNoise({parameters}); {SAVE}")
    return [tuple(v - 128 for v in p) for row in grid for p in row]


def test_noise(bench):
    """3.5: uniform within amount x 2.55, normal with half of it as deviation; one noise for all channels if gray."""
    even = noise(bench, "amount @ 20")
    values = [v for p in even for v in p]
    assert max(map(abs, values)) <= 52
    assert abs(sum(values) / len(values)) < 1.5
    assert sum(v * v for v in values) / len(values) == pytest.approx(51**2 / 3, rel=0.06)
    bell = [v for p in noise(bench, "amount @ 20, gaussian @ true") for v in p]
    assert abs(sum(bell) / len(bell)) < 1.5
    assert sum(v * v for v in bell) / len(bell) == pytest.approx(25.5**2, rel=0.08)
    assert max(map(abs, bell)) > 70
    gray = noise(bench, "amount @ 20, grayscale @ true")
    assert all(len(set(p)) == 1 for p in gray)
    assert any(len(set(p)) > 1 for p in even)
    assert noise(bench, "amount @ 20, seed @ 7") == noise(bench, "amount @ 20, seed @ 7")
    assert noise(bench, "amount @ 20, seed @ 7") != noise(bench, "amount @ 20, seed @ 8")
    assert set(noise(bench, "amount @ 0")) == {(0, 0, 0)}


def test_diffuse(bench):
    """3.5: each pixel comes from its neighbourhood; lighten and darken only one way; another seed, another picture."""
    results = {}
    for mode in ("normal", "lighten", "darken"):
        results[mode] = grid = bench.picture(f"{LOAD} m.stylizeDiffuse(mode @ '{mode}'); {SAVE}")
        for y in range(H):
            for x in range(W):
                near = [at(P, x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
                for band in range(3):
                    assert grid[y][x][band] in {p[band] for p in near}
                    assert mode != "lighten" or grid[y][x][band] >= P[y][x][band]
                    assert mode != "darken" or grid[y][x][band] <= P[y][x][band]
    assert results["normal"] != P
    assert bench.picture(f"{LOAD} m.stylizeDiffuse(seed @ 5); {SAVE}") != results["normal"]
    assert bench.picture(f"{LOAD} m.stylizeDiffuse(seed @ 1); {SAVE}") == results["normal"]


# -- free angles --------------------------------------------------------------------------------------------------


def test_rotation_by_any_angle(bench):
    """3.2: clockwise, on a canvas that holds all, what is new in the padding colour; hard edges without smoothing."""
    dot = "var m = new Media(); m.makeCanvas(xs @ 60, ys @ 40, fillColor @ 0x000000); m.ellipse(x @ 50, y @ 20, rx @ 4, ry @ 4, fill @ true, color @ 0xFFFFFF); "
    import math

    for angle in (30, 45, -60, 100):
        turn = math.radians(angle)
        grid = bench.picture(f"{dot} m.rotate(angle @ {angle}, padColor @ 0x0000FF); {SAVE}")
        width = 60 * abs(math.cos(turn)) + 40 * abs(math.sin(turn))
        height = 60 * abs(math.sin(turn)) + 40 * abs(math.cos(turn))
        assert (len(grid[0]), len(grid)) == (pytest.approx(width, abs=1.01), pytest.approx(height, abs=1.01))
        weight = sum(p[0] for row in grid for p in row)
        at_x = sum((x + 0.5) * p[0] for row in grid for x, p in enumerate(row)) / weight
        at_y = sum((y + 0.5) * p[0] for y, row in enumerate(grid) for p in row) / weight
        # The dot was 20 to the right of the centre; y grows downwards, so clockwise is towards positive angles.
        assert at_x == pytest.approx(len(grid[0]) / 2 + 20 * math.cos(turn), abs=1.2)
        assert at_y == pytest.approx(len(grid) / 2 + 20 * math.sin(turn), abs=1.2)
        assert weight / 255 == pytest.approx(math.pi * 16, rel=0.06)
        assert grid[0][0][2] == 255 and grid[len(grid) // 2][len(grid[0]) // 2] == (0, 0, 0)
    hard = bench.picture(f"{dot} m.rotate(angle @ 30, smooth @ false, color @ 0x0000FF); {SAVE}")
    source = {p for row in bench.picture(dot + SAVE) for p in row}
    assert {p for row in hard for p in row} <= source | {(0, 0, 255)}
    kept = bench.picture(f"{dot} m.rotate(angle @ 30, resize @ false, padColor @ 0); {SAVE}")
    assert (len(kept[0]), len(kept)) == (60, 40)


def test_rotated_edges_of_pictures_with_alpha(bench):
    grid = bench.picture("var m = new Media(); m.makeCanvas(xs @ 20, ys @ 20, rtype @ 'rgba', fillColor @ 0xFF0000); m.rotate(angle @ 45); m.save(type @ 'png');")  # fmt: skip
    assert grid[0][0] == (0, 0, 0, 0)
    assert all(p[:3] == (255, 0, 0) for row in grid for p in row if p[3] > 8)


def test_gradients(bench):
    """3.10: radial from the centre to the corners; opacity mixes with what is there."""
    import math

    grid = bench.picture("var m = new Media(); m.gradient(xs @ 20, ys @ 14, style @ 'radial', startColor @ 0xFF0000, endColor @ 0x0000FF); m.save(type @ 'png');")  # fmt: skip
    for y in range(14):
        for x in range(20):
            share = math.hypot(x + 0.5 - 10, y + 0.5 - 7) / (math.hypot(20, 14) / 2)
            assert abs(grid[y][x][2] - 255 * share) <= 1
    half = bench.picture(f"{LOAD} m.gradient(startColor @ 0x204060, endColor @ 0x204060, opacity @ 128); {SAVE}")
    assert differences(half, each(P, lambda p: [a + (b - a) * 128 / 255 for a, b in zip(p, (0x20, 0x40, 0x60), strict=True)])) <= 1  # fmt: skip


def test_palette_index_and_transparency_beyond_the_picture(bench):
    """3.2 for zoom and quadWarp."""
    reduced = "var m = new Media(); m.makeCanvas(xs @ 4, ys @ 4, fillColor @ 0xFF0000); m.setPixel(x @ 0, y @ 0, color @ 0x0000FF); m.reduce(colors @ 2); "
    zoomed = bench.picture(f"{reduced} m.zoom(xs @ 8, ys @ 4, padIndex @ 0, alg @ 'Outline'); m.convert(rtype @ 'rgb'); {SAVE}")  # fmt: skip
    assert (zoomed[2][0], zoomed[2][7], zoomed[2][4]) == ((0, 0, 255), (0, 0, 255), (255, 0, 0))
    corners = "x1 @ 2, y1 @ 0, x2 @ 6, y2 @ 0, x3 @ 6, y3 @ 4, x4 @ 2, y4 @ 4, smooth @ false"
    warped = bench.picture(f"{reduced} m.quadWarp({corners}, padIndex @ 0); m.convert(rtype @ 'rgb'); {SAVE}")
    assert (warped[2][0], warped[2][3]) == ((0, 0, 255), (255, 0, 0))
    clear = bench.picture(f"{LOAD} m.quadWarp({corners}, transparency @ 255, padColor @ 0x010203); {SAVE}")
    assert clear[2][0] == (1, 2, 3, 0)
    assert clear[2][3][3] == 255


# -- profiles (3.4, 4.5) ------------------------------------------------------------------------------------------


def test_profiles_attached_and_overridden(bench):
    """setSourceProfile attaches, colorCorrect reads from the embedded one unless told otherwise."""
    red = "var m = new Media(); m.makeCanvas(xs @ 1, ys @ 1, fillColor @ 0xC04020); "
    number = lambda script: int(bench.text(f"(function () {{ {red} {script} return m.getPixel(0, 0) }})()"))  # noqa: E731
    plain = number("m.colorCorrect(destProfile @ 'rgb');")
    wide = number("m.setSourceProfile(sourceProfile @ 'p3'); m.colorCorrect(destProfile @ 'rgb', intent @ 'RelativeColorimetric');")  # fmt: skip
    assert plain == 0xC04020
    assert wide >> 16 > 0xC0  # the same number is a stronger red in P3
    given = number("m.colorCorrect(destProfile @ 'rgb', sourceProfile @ 'p3', intent @ 'RelativeColorimetric');")
    assert given == wide
    kept = number("m.setSourceProfile('srgb'); m.colorCorrect(destProfile @ 'rgb', sourceProfile @ 'p3', intent @ 'RelativeColorimetric');")  # fmt: skip
    assert kept == 0xC04020
    forced = number("m.setSourceProfile('srgb'); m.colorCorrect(destProfile @ 'rgb', sourceProfile @ 'p3', overrideEmbedded @ true, intent @ 'RelativeColorimetric');")  # fmt: skip
    assert forced == wide
    text = bench.text(f"(function () {{ {red} var none = m.getEmbeddedProfileName(); m.setSourceProfile('p3'); var p = new IccProfile(m); return [none, m.getEmbeddedProfileName() === p.getName(), p.getName().length > 0, p.getClass(), p.getColorSpace(), IccProfile.list().length >= 3].join() }})()")  # fmt: skip
    assert text == ",true,true,mntr,RGB,true"


# -- requests, responses, files (2.3, 2.4, 4.1) -------------------------------------------------------------------


def test_what_a_script_sees_of_its_request(bench):
    text = bench.text("[req.getQueryString().split('&').pop(), req.getRequestURL().indexOf('/mgen/io?'), req.getFileParamNames().join('+')].join('|')", "&x=1%202", one=b"1", two=b"2")  # fmt: skip
    assert text == "x=1%202|0|one+two"


def test_what_a_script_says_of_its_answer(bench):
    outcome, body = bench.outcome("var t = new TextResponse('x'); resp.setObject(t); resp.setStatusCode(404); resp.setContentType('text/csv');")  # fmt: skip
    assert (outcome["status"], outcome["headers"]["Content-Type"], body) == (404, "text/csv", b"x")


def test_files_in_memory(bench):
    text = bench.text(
        "(function () { var f = new File('mem:/a.txt'), out = [f.exists()]; f.write('gr\\u00fcn'); out.push(f.exists(), f.getSize(), f.read(), f.remove(), f.exists(), f.remove()); return out.join() })()"
    )
    assert text == "false,true,5,grün,true,false,false"
    made = bench.body("new File('mem:/a.txt').write('x'); var z = new Zip(); z.add('n/a.txt', 'mem:/a.txt'); z.save(name @ 'mem:/z.zip'); resp.setPath(path @ 'mem:/z.zip');")  # fmt: skip
    assert zipfile.ZipFile(io.BytesIO(made)).read("n/a.txt") == b"x"


def test_apng_frames_with_options(bench):
    two = f"{LOAD} var f = m.clone(); f.flip(); m.setFrame(2, f); "
    data = bench.body(f"{two} m.save(type @ 'png', delay @ 40, loop @ 2, level @ 9);")
    control = dict(apng.chunks(data))[b"acTL"]
    assert struct.unpack(">II", control) == (2, 2)


@pytest.mark.parametrize("kind", ["jpeg", "tiff", "png", "webp"])
def test_a_turned_picture_is_turned_once(bench, kind):
    """3.8: loading lays the picture upright, so the Exif that is written says so."""
    import struct as s

    from dservices.mediagen.formats import metadata

    exif = metadata.write_exif([("Orientation", "6"), ("Artist", "me")])
    assert metadata.read_exif(metadata.upright(exif)) == [("Orientation", "1"), ("Artist", "me")]
    big = b"Exif\0\0MM\0*" + s.pack(">IH", 8, 1) + s.pack(">HHIHH", 0x112, 3, 1, 6, 0) + b"\0\0\0\0"
    assert metadata.read_exif(metadata.upright(big)) == [("Orientation", "1")]
    image = pyvips.Image.new_from_buffer(bench.body(f"{LOAD} m.save(type @ 'png');"), "")
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    bench.add("turned.jpg", bytes(image.jpegsave_buffer(keep="exif", Q=95)))
    data = bench.body(f"var m = new Media(); m.load(name @ 'turned.jpg', loadMetadata @ true); m.save(type @ '{kind}', lossless @ true);")  # fmt: skip
    saved = pyvips.Image.new_from_buffer(data, "")
    assert (saved.width, saved.height) == (H, W)
    assert not saved.get_typeof("orientation") or saved.get("orientation") == 1
    bench.add("again", data)
    assert bench.text("(function () { var m = new Media(); m.load(name @ 'again'); return m.getWidth() })()") == str(H)
