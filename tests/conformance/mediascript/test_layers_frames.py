"""`frames` and `layers` on every method that takes them (reference 1.5, 3.0, 3.7): a listed frame or layer becomes what the
method makes of it alone, every other stays what it was. The laws hold for all methods at once, out of the catalogue.
"""

import pytest
from plain_pictures import Grid, differences

from dservices.mediagen.language.catalogue import MEDIA

W, H = 12, 9
P: Grid = [[((x * 53 + y * 17) % 256, (x * 29 + y * 71 + 40) % 256, (x * y * 11 + 90) % 256) for x in range(W)] for y in range(H)]  # fmt: skip
Q: Grid = [[(255 - p[2], p[0], p[1]) for p in row] for row in P]
ARGUMENTS: dict[str, str] = {
    "scale": "xs @ 6, ys @ 5",
    "crop": "xs @ 5, ys @ 4, x @ 2, y @ 1",
    "pad": "xs @ 14, ys @ 11, padColor @ 0x102030",
    "zoom": "scale @ 200, padColor @ 0",
    "rotate": "angle @ 90",
    "flip": "axis @ 'vertical'",
    "mirror": "axis @ 'horizontal'",
    "quadWarp": "x1 @ 2, y1 @ 1, x2 @ 11, y2 @ 0, x3 @ 12, y3 @ 9, x4 @ 0, y4 @ 8",
    "rectangle": "x @ 2, y @ 2, xs @ 4, ys @ 3, fill @ true, color @ 0x40C080",
    "ellipse": "x @ 6, y @ 4, rx @ 3, ry @ 2, color @ 0x40C080",
    "arc": "x @ 6, y @ 4, rx @ 3, ry @ 2, startAngle @ 0, endAngle @ 200, color @ 0x40C080",
    "polygon": "points @ '1,1;9,2;4,7', color @ 0x40C080",
    "line": "x1 @ 1, y1 @ 1, x2 @ 9, y2 @ 6, color @ 0x40C080",
    "setPixel": "x @ 3, y @ 3, color @ 0x40C080",
    "gradient": "startColor @ 0, endColor @ 0xFFFFFF, style @ 'radial', opacity @ 128",
    "drawText": "text @ 'a', size @ 9, color @ 0x40C080",
    "adjustRgb": "brightness @ 20",
    "adjustHsb": "hue @ 50",
    "equalize": "brightness @ 1",
    "colorize": "color @ 0xFF8000",
    "convert": "rtype @ 'RGBA-16', dither @ 5",
    "reduce": "name @ 'windows 16'",
    "fixAlpha": "color @ 0",
    "otherHighPass": "radius @ 1",
    "convolve": "matrix @ '0 1 0 1 0 1 0 1 0'",
    "dropShadow": "enlarge @ false",
    "glow": "enlarge @ false",
    "composite": "color @ 0x40C080, opacity @ 100",
    "colorCorrect": "destProfile @ 'p3'",
    "importChannel": "source @ s, channel @ 'Green'",
}
WITH_FRAMES = sorted(name for name, method in MEDIA.items() if "frames" in method.parameters and name not in ("load", "loadAsRGB", "save"))  # fmt: skip
WITH_LAYERS = sorted(name for name, method in MEDIA.items() if "layers" in method.parameters and name not in ("load", "loadAsRGB", "collapse", "setColor", "selection", "exportChannel"))  # fmt: skip
PICTURES = "var p = new Media(), q = new Media(), s = new Media(); p.load(name @ 'p.png'); q.load(name @ 'q.png'); s.load(name @ 'p.png'); "
CALLS = [(name, f"m.{name}({ARGUMENTS.get(name, '')}{', ' if name in ARGUMENTS else ''}frames @ '2');") for name in WITH_FRAMES]  # fmt: skip
LAYER_CALLS = [(name, f"m.{name}({ARGUMENTS.get(name, '')}{', ' if name in ARGUMENTS else ''}layers @ '1');") for name in WITH_LAYERS]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def pictures(bench, make_png):
    bench.add("p.png", make_png(P))
    bench.add("q.png", make_png(Q))


def opaque(g: Grid) -> Grid:
    """Any picture as RGBA."""
    wide = {1: lambda p: (p[0],) * 3 + (255,), 3: lambda p: (*p, 255), 4: lambda p: p}
    return [[wide[len(p)](p) for p in row] for row in g]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=WITH_FRAMES)
def test_only_the_listed_frames_change(bench, name, call):
    two = f"{PICTURES} var m = new Media(); m.setFrame(1, p); m.setFrame(2, q); {call} "
    kept = bench.picture(f"{two} m.getFrame(1).save(type @ 'tiff');")
    changed = bench.picture(f"{two} m.getFrame(2).save(type @ 'tiff');")
    alone = bench.picture(f"{PICTURES} var m = q; {call.replace(', frames @', ', frames @').replace(chr(39) + '2' + chr(39) + ');', '1);')} m.save(type @ 'tiff');")  # fmt: skip
    assert kept == P
    assert changed == alone
    assert changed != Q or name in ("fixAlpha",)


@pytest.mark.parametrize(("name", "call"), LAYER_CALLS, ids=WITH_LAYERS)
def test_only_the_listed_layers_change(bench, name, call):
    """A layer is RGBA, so alone means: what the method makes of the picture with alpha."""
    two = f"{PICTURES} var m = new Media(); m.setLayer(0, p); m.setLayer(1, q); {call} "
    kept = bench.picture(f"{two} m.getLayer(0).save(type @ 'tiff');")
    changed = bench.picture(f"{two} m.getLayer(1).save(type @ 'tiff');")
    alone = bench.picture(f"{PICTURES} q.convert(rtype @ 'rgba'); var m = q; {call.replace(chr(39) + '1' + chr(39), '0')} m.save(type @ 'tiff', embedProfile @ false);")  # fmt: skip
    assert kept == opaque(P)
    assert changed == opaque(alone)
    assert bench.text(f"(function () {{ {two} return m.getWidth() + ' ' + m.getLayerCount() }})()") == "12 2"


@pytest.mark.parametrize("name", ["crop", "scale", "rotate", "pad"])
def test_the_canvas_follows_when_all_layers_change(bench, name):
    two = f"{PICTURES} var m = new Media(); m.setLayer(0, p); m.setLayer(1, q); m.setLayerOpacity(1, 128); m.{name}({ARGUMENTS[name]}); "
    whole = bench.picture(f"{PICTURES} p.composite(source @ q, opacity @ 128); p.{name}({ARGUMENTS[name]}); p.save(type @ 'png');")  # fmt: skip
    shown = bench.picture(f"{two} m.save(type @ 'png');")
    assert differences(opaque(whole), shown) <= (60 if name == "scale" else 1)


def test_a_layer_off_the_corner_is_laid_on_the_canvas(bench):
    grid = bench.picture(f"{PICTURES} var m = p; m.setLayer(1, q); m.setLayerPosition(1, -3, 4); m.adjustRgb(invert @ true, layers @ '1'); m.save(type @ 'png');")  # fmt: skip
    inside = lambda x, y: 0 <= x + 3 < W and 0 <= y - 4 < H  # noqa: E731
    assert grid == [[(*(tuple(255 - v for v in Q[y - 4][x + 3]) if inside(x, y) else P[y][x]), 255) for x in range(W)] for y in range(H)]  # fmt: skip


def test_what_draws_draws_on_the_topmost_visible_layer(bench):
    two = f"{PICTURES} var m = p; m.setLayer(1, q); m.setLayer(2, s); m.setLayerVisible(2, false); m.setPixel(x @ 0, y @ 0, color @ 0x010203); "
    values = bench.text(f"(function () {{ {two} return [0, 1, 2].map(function (n) {{ return m.getLayer(n).getPixel(0, 0) }}).join() }})()")  # fmt: skip
    number = lambda p: p[0] << 16 | p[1] << 8 | p[2]  # noqa: E731
    assert values == f"{number(P[0][0])},{0x010203},{number(P[0][0])}"


def test_layer_lists_that_name_nothing_are_refused(bench):
    for script in (
        f"{PICTURES} p.blurBlur(layers @ 'Logo*');",
        f"{PICTURES} p.setLayer(1, q); p.blurBlur(layers @ '2-9');",
        f"{PICTURES} p.exportChannel(layers @ '7');",
    ):
        problem = bench.problem(script)
        assert (problem.code, problem.facts["parameter"], problem.facts["line"]) == ("bad_parameter", "layers", 1)
    assert bench.picture(f"{PICTURES} p.flip(layers @ 'Back*'); p.save(type @ 'png');") == [row[::-1] for row in P]


def test_methods_that_look_see_the_listed_layers(bench):
    """selection, exportChannel, setColor popular: of one layer instead of the flattened picture."""
    two = f"{PICTURES} var m = p; m.setLayer(1, q); "
    assert bench.picture(f"{two} m.exportChannel(channel @ 'Red', layers @ '0').save(type @ 'png');") == [[(p[0],) for p in row] for row in P]  # fmt: skip
    assert bench.picture(f"{two} m.exportChannel(channel @ 'Red').save(type @ 'png');") == [[(p[0],) for p in row] for row in Q]  # fmt: skip
    plain = "var m = new Media(); m.makeCanvas(xs @ 4, ys @ 1, fillColor @ 0x112233); var n = new Media(); n.makeCanvas(xs @ 4, ys @ 1, fillColor @ 0x445566); m.setLayer(1, n); "
    for layer, colour in ((0, (0x11, 0x22, 0x33)), (1, (0x44, 0x55, 0x66))):
        grid = bench.picture(f"{plain} m.setColor(popular @ true, layers @ {layer}); m.collapse(); m.pad(xs @ 5, x @ 0, transparency @ 0); m.save(type @ 'png');")  # fmt: skip
        assert grid[0][4] == (*colour, 255)
    chosen = bench.picture(f"{plain} m.selection(color @ 0x112233, layers @ 0); m.adjustRgb(invert @ true); m.save(type @ 'png');")  # fmt: skip
    missed = bench.picture(f"{plain} m.selection(color @ 0x112233); m.adjustRgb(invert @ true); m.save(type @ 'png');")
    assert (chosen[0][0][:3], missed[0][0][:3]) == ((0xBB, 0xAA, 0x99), (0x44, 0x55, 0x66))


def test_layer_getters_setters_and_collapse(bench):
    """3.7, 3.10: count, names, opacity; collapse with its four switches."""
    two = f"{PICTURES} var m = p; m.setLayer(1, q); m.setLayerName(1, 'Logo'); m.setLayerOpacity(1, 0); "
    assert bench.text(f"(function () {{ {two} return [m.getLayerCount(), m.getLayerName(0), m.getLayerName(1), new Media().getLayerCount()].join() }})()") == "2,Background,Logo,0"  # fmt: skip
    assert bench.picture(f"{two} m.collapse(); m.save(type @ 'png');") == opaque(P)
    assert bench.picture(f"{two} m.collapse(ignoreAlpha @ true); m.save(type @ 'png');") == P
    small = "var m = new Media(); m.makeCanvas(xs @ 3, ys @ 1, rtype @ 'rgba', fillColor @ 0xFF0000, transparency @ 155); var d = new Media(); d.makeCanvas(xs @ 1, ys @ 1, fillColor @ 0x0000FF); m.setLayer(1, d); "
    assert bench.picture(f"{small} m.collapse(preserveAlpha @ true); m.save(type @ 'png');") == [[(0, 0, 255, 100), (255, 0, 0, 100), (255, 0, 0, 100)]]  # fmt: skip
    pale = bench.picture(f"{small} m.collapse(likePS @ true); m.save(type @ 'png');")[0]
    assert pale[0] == (0, 0, 255, 100)
    assert differences([pale[1:]], [[(255, 155, 155, 100)] * 2]) <= 1  # on white, alpha of the first layer
    assert bench.picture(f"{small} m.setLayerVisible(0, false); m.collapse(visibleOnly @ true); m.save(type @ 'png');")[0][2][3] == 0  # fmt: skip
    assert bench.picture(f"{small} m.setLayerVisible(0, false); m.collapse(visibleOnly @ false); m.save(type @ 'png');")[0][2][3] == 100  # fmt: skip
