"""All eight Exif orientations, under everything that a script does first with a picture: the same as of the picture that
stands upright already. And pixels times frames, at the bound and one beyond."""

import json
import struct

import pytest
import pyvips

from dservices.mediagen import limits
from dservices.mediagen.formats import apng, bmp, decoding, psd
from dservices.mediagen.picture import frames
from dservices.mediagen.picture.picture import Picture

WIDTH, HEIGHT = 3, 2
STORED = [[(60 * x + 20, 100 * y + 40, 30 * x + 50 * y) for x in range(WIDTH)] for y in range(HEIGHT)]

UPRIGHT = {
    1: lambda x, y, w, h: (x, y),
    2: lambda x, y, w, h: (w - 1 - x, y),
    3: lambda x, y, w, h: (w - 1 - x, h - 1 - y),
    4: lambda x, y, w, h: (x, h - 1 - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (y, h - 1 - x),
    7: lambda x, y, w, h: (w - 1 - y, h - 1 - x),
    8: lambda x, y, w, h: (w - 1 - y, x),
}
"""Where a pixel of the upright picture is stored, by Exif 2.32, 4.6.4 A: which sides the first row and column are."""

OPERATIONS = {
    "save": "",
    "fast": "m.scale(alg @ 'Fast', xs @ 16, ys @ 24); ",
    "smooth": "m.scale(alg @ 'Smooth', xs @ 16, ys @ 24); ",
    "best": "m.scale(alg @ 'Best', xs @ 16, ys @ 24); ",
    "constrained": "m.scale(xs @ 24, constrain @ true); ",
    "crop": "m.crop(x @ 5, y @ 3, xs @ 20, ys @ 17); ",
    "quarter": "m.rotate(angle @ 90); ",
    "half": "m.rotate(angle @ 180); ",
    "slanted": "m.rotate(angle @ 30); ",
    "mirrored": "m.flip(axis @ 'horizontal'); ",
    "mirrored, turned, scaled": "m.flip(axis @ 'vertical'); m.rotate(angle @ 90); m.scale(xs @ 24, ys @ 24); ",
}
BLOCK = 16
"""Pixels a side of one colour: a JPEG keeps them."""


def enlarged(rows: list[list[tuple[int, ...]]]) -> pyvips.Image:
    data = bytes(value for row in rows for pixel in row for value in pixel)
    image = pyvips.Image.new_from_memory(data, len(rows[0]), len(rows), 3, "uchar").copy(interpretation="srgb")
    return image.zoom(BLOCK, BLOCK)


def encoded(image: pyvips.Image, kind: str, orientation: int) -> bytes:
    tagged = image.copy_memory()
    tagged.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    if kind == "jpeg":
        return bytes(tagged.jpegsave_buffer(Q=98, subsample_mode="off"))
    return bytes(tagged.tiffsave_buffer())


@pytest.mark.parametrize("kind", ["jpeg", "tiff"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_orientation_stands_upright_whatever_is_done_first(bench, orientation, kind):
    """G-6. Sizes asked for are those of the upright picture."""
    place = UPRIGHT[orientation]
    width, height = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
    upright = [[None] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            across, down = place(x, y, WIDTH, HEIGHT)
            upright[y][x] = STORED[down][across]
    bench.add("tagged", encoded(enlarged(STORED), kind, orientation))
    bench.add("upright", encoded(enlarged(upright), kind, 1))
    size = "(function () { var m = new Media(); m.load(name @ 'tagged'); return JSON.stringify([m.getWidth(), m.getHeight()]) })()"
    assert json.loads(bench.text(size)) == [width * BLOCK, height * BLOCK]
    for name, operation in OPERATIONS.items():
        script = "var m = new Media(); m.load(name @ '%s'); " + operation + "m.save(type @ 'png');"
        found, wanted = bench.image(script % "tagged"), bench.image(script % "upright")
        assert (found.width, found.height) == (wanted.width, wanted.height), name
        assert (found - wanted).abs().max() <= (12 if kind == "jpeg" else 1), name


# ------------------------------------------------------------------------------------------------- pixels and frames


def is_too_large(work, *given) -> bool:
    """Whether it is refused for its size, and not for anything else."""
    try:
        work(*given)
    except Exception as error:
        return getattr(error, "code", "") == "picture_too_large"
    return False


@pytest.mark.parametrize(
    ("width", "height", "count", "refused"),
    [
        (100, 50, 20, False),
        (100, 50, 21, True),
        (100, 1_000, 1, False),
        (101, 1_000, 1, True),
        (1, 1, limits.FRAMES_MAX, False),
        (1, 1, limits.FRAMES_MAX + 1, True),
        (limits.SIDE_MAX, 1, 3, False),
        (limits.SIDE_MAX + 1, 1, 1, True),
        (1, limits.SIDE_MAX, 3, False),
        (1, limits.SIDE_MAX + 1, 1, True),
    ],
)
def test_the_bound_of_what_is_loaded_is_over_all_frames(monkeypatch, width, height, count, refused):
    monkeypatch.setattr(limits, "PIXELS_MAX", 100_000)
    assert is_too_large(decoding._check_size, width, height, count) is refused


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tiff"])
@pytest.mark.parametrize("above", [0, 1])
def test_an_animation_of_as_many_pixels_as_are_allowed_is_loaded_and_saved(bench, monkeypatch, kind, above):
    """Of each format that has frames, at the bound and one beyond."""
    made = (
        "var m = new Media(); for (var i = 0; i < 4; i++) { var f = new Media(); "
        "f.makeCanvas(xs @ 6, ys @ 5, fillColor @ 0x303030 * (i + 1)); m.setFrame(i + 1, f); } "
    )
    body = bench.body(f"{made} m.save(type @ '{kind}', lossless @ true);")
    bench.add("anim", body)
    monkeypatch.setattr(limits, "PIXELS_MAX", 6 * 5 * 4 - above)
    load = "(function () { var m = new Media(); m.load(name @ 'anim'); return m.getFrameCount() })()"
    outcome, answer = bench.outcome(f"resp.setObject(new TextResponse('' + {load}), RespType.Streamed)")
    if above:
        assert outcome["problem"][:2] == [422, "picture_too_large"]
    else:
        assert answer == b"4"
    assert is_too_large(_made_of, 4, 6, 5) is bool(above)


def _made_of(count: int, width: int, height: int) -> Picture:
    """What a script puts together itself."""
    one = pyvips.Image.black(width, height, bands=3).copy(interpretation="srgb")
    return Picture(images=(one,)).with_images((one,) * count)


@pytest.mark.parametrize("above", [0, 1])
def test_bounds_of_single_pictures(monkeypatch, above):
    """Of a canvas, and of the formats that are read here themselves, by what their headers claim."""
    monkeypatch.setattr(limits, "PIXELS_MAX", 300 * 200 - above)
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 200, 300, 8, 3)
    assert is_too_large(psd.load, header, {}) is bool(above)
    assert is_too_large(bmp._check, 300, 200) is bool(above)
    assert is_too_large(frames.check_canvas, 300, 200) is bool(above)


@pytest.mark.parametrize("above", [0, 1])
def test_frames_of_an_apng_are_counted_while_they_are_read(monkeypatch, above):
    monkeypatch.setattr(limits, "FRAMES_MAX", 3 - above)
    control = struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 10, 0, 0)
    data = apng.SIGNATURE if hasattr(apng, "SIGNATURE") else b"\x89PNG\r\n\x1a\n"
    data += apng.chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)) + apng.chunk(
        b"acTL", struct.pack(">II", 3, 0)
    )
    data += apng.chunk(b"fcTL", control) * 3
    assert is_too_large(apng.load_apng, data) is bool(above)


@pytest.mark.parametrize(
    ("frames_max", "pixels_max", "refused"), [(3, 3_600, False), (2, 3_600, True), (3, 3_599, True)]
)
def test_pages_of_a_document_are_counted_and_so_are_their_pixels(bench, monkeypatch, frames_max, pixels_max, refused):
    pages = (
        "var m = new Media(); for (var i = 0; i < 3; i++) { var f = new Media(); f.makeCanvas(xs @ 40, ys @ 30); "
        "m.setFrame(i + 1, f); } "
    )
    bench.add("three.pdf", bench.body(f"{pages} m.save(type @ 'pdf');"))
    monkeypatch.setattr(limits, "FRAMES_MAX", frames_max)
    monkeypatch.setattr(limits, "PIXELS_MAX", pixels_max)
    load = (
        "(function () { var m = new Media(); m.load(name @ 'three.pdf', frames @ '1-0'); return m.getFrameCount() })()"
    )
    outcome, answer = bench.outcome(f"resp.setObject(new TextResponse('' + {load}), RespType.Streamed)")
    if refused:
        assert outcome["problem"][:2] == [422, "picture_too_large"]
    else:
        assert answer == b"3"
