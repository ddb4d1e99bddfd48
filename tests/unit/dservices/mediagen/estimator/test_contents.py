"""What a picture holds, guessed from the bytes of its file (G-8): compared with what encoders make of the pixels."""

import functools

import pytest
import pyvips

from dservices.mediagen import samples
from dservices.mediagen.calibration import scripts as calibration_scripts
from dservices.mediagen.estimator import contents
from dservices.mediagen.estimator.contents import FLAT, Content, of_source, scaled
from dservices.mediagen.estimator.headers import facts_of
from dservices.mediagen.language.catalogue import MEDIA, check
from dservices.mediagen.limits import HEAD_BYTES


@functools.cache
def a_photo() -> pyvips.Image:
    """Not made on import: what draws text first settles the fonts of the process."""
    return samples.landscape(1200, 900).copy_memory()


@functools.cache
def a_chart() -> pyvips.Image:
    return calibration_scripts.chart(900, 600)


def of(data: bytes) -> Content:
    return of_source(facts_of(data[:HEAD_BYTES], len(data)))


def true(image: pyvips.Image) -> tuple[float, float]:
    values = image.width * image.height * 3
    packed = image.pngsave_buffer(compression=6, filter="sub", keep="none")
    return len(packed) / values, len(image.jpegsave_buffer(Q=85, keep="none")) / values


@pytest.mark.parametrize("quality", [60, 75, 85, 92, 96])
def test_a_photograph_is_known_by_its_jpeg_at_any_quality(quality: int) -> None:
    data = a_photo().jpegsave_buffer(Q=quality, keep="none")
    rough, busy = true(pyvips.Image.new_from_buffer(data, ""))
    found = of(data)
    assert found.busy == pytest.approx(busy, rel=0.3) and found.rough == pytest.approx(rough, rel=0.45)
    assert found.rich == 1.0


def test_a_chart_is_told_from_a_photograph_by_its_png() -> None:
    chart, photo = (of(image.pngsave_buffer(filter="sub")) for image in (a_chart(), a_photo()))
    assert chart.rough < 0.03 and chart.rich == 0.0
    assert photo.rough > 0.3 and photo.rich == 1.0
    assert of(a_chart().pngsave_buffer(palette=True)).rich == 0.0


@pytest.mark.parametrize("factor", [2, 4])
def test_a_smaller_picture_is_as_rough_as_it_will_be(factor: int) -> None:
    for image, near in ((a_photo(), 0.3), (a_chart(), 0.7)):
        rough, _ = true(image.resize(1 / factor))
        assert scaled(of(image.pngsave_buffer(filter="sub")), factor).rough == pytest.approx(rough, rel=near)


def test_smoothing_makes_it_simpler_and_noise_harder() -> None:
    photo = contents.photograph()
    known = {name: check(MEDIA[name], {"named": named}) for name, named in (
        ("blurGaussianBlur", [["radius", 4]]), ("noiseAddNoise", [["amount", 20]]), ("pixellateMosaic", [["size", 9]]))}  # fmt: skip
    after = {name: contents.after(name, args, photo).rough for name, args in known.items()}
    assert after["pixellateMosaic"] < after["blurGaussianBlur"] < photo.rough < after["noiseAddNoise"]
    assert contents.after("setPixel", {}, photo) == photo


def test_what_is_laid_over_counts_by_its_area() -> None:
    half = FLAT.mixed(Content(0.4, 0.2, 1.0), 0.5)
    assert half == Content(0.2, 0.1, 0.5)
    assert FLAT.mixed(half, 7.0) == half and FLAT.mixed(half, -1.0) == FLAT


def test_all_stay_between_nothing_and_one() -> None:
    for content in (
        FLAT,
        contents.photograph(5.0),
        contents.graphic(3.0),
        contents.letters(0.1),
        of(b"\xff\xd8\xff" + b"x" * 90_000),
    ):
        for factor in (0.01, 0.5, 1, 3, 100):
            made = contents.in_palette(scaled(content, factor))
            assert all(0 <= value <= 1 for value in (made.rough, made.busy, made.rich)), (content, factor)
