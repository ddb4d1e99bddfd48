"""What the decoder is asked to do by itself changes the time and nothing else that is not written down (G-1, 3.2)."""

import gc
import io
import random

import pytest
import pyvips
from PIL import Image

from dservices.mediagen.formats import avif
from dservices.mediagen.formats.decoding import jpeg_shrink
from dservices.mediagen.worker.host import Host


@pytest.fixture(scope="module")
def photo(bench):
    """803 x 601: no side is a multiple of 8."""
    image = pyvips.Image.perlin(803, 601, cell_size=64, seed=3, uchar=True)
    image = image.bandjoin([image.rot180(), image.fliphor()]).copy(interpretation="srgb")
    for kind in ("jpeg", "png", "webp"):
        bench.add(f"photo.{kind}", image.write_to_buffer(f".{kind}"))
    bench.add("photo.gif", _animation(image))
    return image


def _animation(image: pyvips.Image) -> bytes:
    frames = [image.crop(n * 40, 0, 320, 240) for n in range(5)]
    strip = pyvips.Image.arrayjoin(frames, across=1).copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", 240)
    strip.set_type(pyvips.GValue.array_int_type, "delay", [50, 60, 70, 80, 90])
    return bytes(strip.gifsave_buffer())


@pytest.mark.parametrize(
    ("size", "wanted", "factor"),
    [
        ((4000, 3000), (800, 600), 4),
        ((4000, 3000), (500, 375), 8),
        ((4000, 3000), (501, 375), 4),
        ((4000, 3000), (10, 10), 8),
        ((4000, 3000), (2000, 1500), 2),
        ((4000, 3000), (2001, 1500), 1),
        ((4003, 3003), (1000, 750), 4),
        ((4003, 3003), (1001, 750), 2),  # the decoder drops what fills no pixel
        ((803, 601), (402, 10), 1),
        ((1, 1), (1, 1), 1),
    ],
)
def test_the_decoder_never_shrinks_below_what_is_wanted(size, wanted, factor):
    assert jpeg_shrink(*size, *wanted) == factor


@pytest.mark.parametrize("alg", ["Fast", "Smooth", "Best"])
@pytest.mark.parametrize("size", [(402, 301), (201, 151), (100, 75), (101, 400), (803, 601), (800, 3), (1, 1)])
def test_every_way_to_scale_down_gives_that_size_and_about_those_pixels(bench, photo, alg, size):
    script = (
        f"var m = new Media(); m.load(name @ 'photo.jpeg'); m.scale(xs @ {size[0]}, ys @ {size[1]}, alg @ '{alg}');"
    )
    image = bench.image(f"{script} m.save(type @ 'png');")
    assert (image.width, image.height) == size
    exact = photo.resize(size[0] / 803, vscale=size[1] / 601)
    exact = exact.embed(0, 0, *size, extend="copy").cast("uchar")
    assert (image - exact).abs().avg() < 4.5


def test_fast_is_coarser_than_smooth_by_little(bench, photo):
    """The decoder's own shrinking is a box in the frequency domain: an average of a level or so on a rough picture."""
    load, save = "var m = new Media(); m.load(name @ 'photo.jpeg');", "m.save(type @ 'png');"
    fast, smooth = (
        bench.image(f"{load} m.scale(xs @ 160, ys @ 120, alg @ '{alg}'); {save}") for alg in ("Fast", "Smooth")
    )
    assert (fast - smooth).abs().avg() < 1.5


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("save", ["type @ 'jpeg'", "type @ 'webp'", "type @ 'png'", "type @ 'png', interlaced @ true"])
def test_reading_once_gives_the_bytes_that_holding_the_picture_gives(bench, photo, kind, save):
    load = f"var m = new Media(); m.load(name @ 'photo.{kind}');"
    held = bench.body(f"{load} m.getPixel(x @ 0, y @ 0); m.crop(x @ 0, y @ 0, xs @ 803, ys @ 601); m.save({save});")
    assert bench.body(f"{load} m.save({save});") == held
    twice = bench.body(f"{load} m.save(name @ 'mem:/x', {save}); m.save({save});")
    assert twice == held


@pytest.mark.parametrize("kind", ["gif", "webp", "tiff"])
def test_frames_that_nobody_touched_are_saved_as_they_were_loaded(bench, photo, kind):
    """The strip they were cut from is written as it is; put together anew it is the same file."""
    load = "var m = new Media(); m.load(name @ 'photo.gif');"
    apart = bench.body(f"{load} m.crop(x @ 0, y @ 0, xs @ 320, ys @ 240); m.save(type @ '{kind}', lossless @ true);")
    assert bench.body(f"{load} m.save(type @ '{kind}', lossless @ true);") == apart
    image = bench.image(f"{load} m.save(type @ 'webp', frames @ '2,4');")
    assert bench.image(f"{load} m.setFrameDelay(index @ 1, delay @ 30); m.save(type @ 'webp');").get("delay")[0] == 30
    assert image.height == 240


def test_nothing_of_a_request_outlives_it(bench, photo):
    """Pictures and sources go with the answer, not when the collector comes by: the next request is another's."""
    bench.runner.prepare()
    gc.collect()
    gc.disable()
    try:
        outcome, body = bench.outcome("var m = new Media(); m.load(name @ 'photo.jpeg'); m.save(type @ 'png');")
        assert body
        bench.runner.forget()  # as a worker does when the answer has left
        assert not [each for each in gc.get_objects() if isinstance(each, Host)]
        bench.outcome("var m = new Media(); m.load(name @ 'photo.jpeg'); m.save(type @ 'none');")
        bench.runner.forget()
        assert not [each for each in gc.get_objects() if isinstance(each, Host)]
    finally:
        gc.enable()


@pytest.mark.parametrize("colour_range", ["limited", "full"])
@pytest.mark.parametrize("mode", ["L", "LA"])
@pytest.mark.parametrize("level", [0, 15, 110, 157, 255])
def test_gray_avif_in_videos_range_is_expanded(bench, level, mode, colour_range):
    """The nclx box says whether 16 to 235 stand for black to white; libheif expands colours only."""
    made = io.BytesIO()
    picture = Image.new(mode, (64, 64), (level, 128)[: len(mode)] if mode == "LA" else level)
    picture.save(made, "AVIF", quality=100, subsampling="4:0:0", range=colour_range)
    assert avif.is_studio_gray(made.getvalue()) is (colour_range == "limited")
    bench.add("gray.avif", made.getvalue())
    pixel = bench.picture("var m = new Media(); m.load(name @ 'gray.avif'); m.save(type @ 'png');")[5][5]
    assert abs(pixel[0] - level) <= 1
    assert len(pixel) in (1, 3) or pixel[-1] == 128


def test_boxes_of_any_bytes_are_read_or_passed_over():
    made = io.BytesIO()
    Image.new("L", (64, 64), 9).save(made, "AVIF", subsampling="4:0:0", range="limited")
    whole = made.getvalue()
    chance = random.Random(7)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(whole))] = chance.randrange(256)
        avif.is_studio_gray(bytes(damaged[: chance.randrange(len(whole))]))
