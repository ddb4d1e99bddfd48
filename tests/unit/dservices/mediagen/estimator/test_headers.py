"""What the heads of sources tell (G-8): compared with what libvips says of the same files, and never an exception."""

import struct

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from dservices.mediagen import samples
from dservices.mediagen.estimator.headers import facts_of
from dservices.mediagen.formats import bmp
from dservices.mediagen.limits import HEAD_BYTES

PLAIN = (
    pyvips.Image.xyz(70, 50)[0]
    .cast("uchar")
    .linear([1, 1, 1], [0, 40, 90])
    .cast("uchar")
    .copy(interpretation="srgb", xres=5.9, yres=5.9)
)
CLEAR = PLAIN.bandjoin(128)
STRIP = pyvips.Image.arrayjoin([PLAIN, PLAIN.invert(), PLAIN], across=1).copy()
STRIP.set_type(pyvips.GValue.gint_type, "page-height", 50)
FILES = {
    "jpeg": PLAIN.jpegsave_buffer(Q=80),
    "jpeg gray": PLAIN[0].copy(interpretation="b-w").jpegsave_buffer(),
    "jpeg progressive": PLAIN.jpegsave_buffer(interlace=True),
    "png": PLAIN.pngsave_buffer(),
    "png alpha": CLEAR.pngsave_buffer(interlace=True),
    "webp": PLAIN.webpsave_buffer(),
    "webp alpha": CLEAR.webpsave_buffer(),
    "webp lossless": PLAIN.webpsave_buffer(lossless=True),
    "webp moving": STRIP.webpsave_buffer(),
    "gif": PLAIN.gifsave_buffer(),
    "gif moving": STRIP.gifsave_buffer(),
    "avif": PLAIN.heifsave_buffer(compression="av1", effort=0),
    "tiff": PLAIN.tiffsave_buffer(),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_sizes_bands_and_frames_are_those_libvips_sees(name: str) -> None:
    data = FILES[name]
    seen = pyvips.Image.new_from_buffer(data, "")
    facts = facts_of(data[:HEAD_BYTES], len(data))
    frames = seen.get("n-pages") if seen.get_typeof("n-pages") else 1
    assert (facts.width, facts.height, facts.frames) == (seen.width, seen.height, frames)
    assert facts.known and facts.kind == name.split(maxsplit=1)[0] and facts.bytes == len(data)
    if facts.kind != "gif":
        assert facts.bands == seen.bands
    assert facts.progressive == ("progressive" in name or name == "png alpha")


def test_other_formats() -> None:
    assert facts_of(bmp.save(PLAIN), 9999).width == 70
    pdf = samples.document([[(10, 10, 9, "x")]] * 4)
    facts = facts_of(pdf, len(pdf))
    assert (facts.kind, facts.width, facts.height, facts.frames) == ("pdf", 595, 842, 4)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="2in" height=\'30\' viewBox="0 0 5 5"/>'
    assert facts_of(svg, len(svg)).width == 192
    assert facts_of(b'<svg viewBox="0 0 40 20">', 30).height == 20
    psd = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 50, 70, 8, 3)
    assert (facts_of(psd, 9).width, facts_of(psd, 9).height) == (70, 50)


def test_an_orientation_turns_the_sides() -> None:
    """The Exif tag 6 is a quarter turn: the picture stands upright only when width and height are swapped."""
    turned = PLAIN.copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
    assert facts_of(turned.jpegsave_buffer(), 1).turned
    assert not facts_of(FILES["jpeg"], 1).turned


@pytest.mark.parametrize("name", FILES)
def test_a_head_that_is_cut_anywhere_gives_some_facts(name: str) -> None:
    data = FILES[name]
    for length in range(0, min(len(data), 400), 3):
        facts = facts_of(data[:length], 1_000_000)
        assert facts.width > 0 and facts.height > 0 and facts.frames > 0


@given(st.sampled_from(sorted(FILES)), st.binary(min_size=1, max_size=40), st.integers(0, 300))
@settings(max_examples=300, deadline=None)
def test_hostile_heads_never_raise(name: str, junk: bytes, at: int) -> None:
    data = bytearray(FILES[name][:2000])
    data[at : at + len(junk)] = junk
    facts = facts_of(bytes(data), len(data))
    assert 0 < facts.width <= 32_768 and 0 < facts.height <= 32_768 and 0 < facts.frames <= 512


def test_a_size_nobody_tells_is_guessed_from_the_bytes() -> None:
    small, large = facts_of(b"\xff\xd8\xff", 100_000), facts_of(b"\xff\xd8\xff", 4_000_000)
    assert not small.known and small.pixels < large.pixels
    assert facts_of(b"", 0).pixels >= 1


@pytest.mark.parametrize("quality", [30, 60, 75, 85, 92, 98])
def test_the_quality_of_a_jpeg_is_in_its_tables(quality: int) -> None:
    data = PLAIN.jpegsave_buffer(Q=quality)
    assert facts_of(data, len(data)).quality == pytest.approx(quality, abs=1.5)


def test_palettes_are_seen() -> None:
    data = PLAIN.pngsave_buffer(palette=True, colours=16)
    assert 2 <= facts_of(data, len(data)).colours <= 16
    assert facts_of(PLAIN.pngsave_buffer(), 9).colours == 0
    assert 2 <= facts_of(PLAIN.gifsave_buffer(), 9).colours <= 256


@pytest.mark.parametrize("packed", ["none", "lzw", "deflate", "jpeg"])
def test_a_tiff_whose_directory_is_far_behind_shows_how_it_is_packed(packed: str) -> None:
    noise = pyvips.Image.gaussnoise(700, 500, mean=128, sigma=60, seed=2).cast("uchar")
    data = (
        noise.bandjoin([noise.invert(), noise.rot180()]).copy(interpretation="srgb").tiffsave_buffer(compression=packed)
    )
    found = facts_of(data[:20_000], len(data))
    assert (found.codec, found.known, found.bytes) == (packed, False, len(data))
    assert 0.3 < found.pixels / (700 * 500) < 3
