"""The screen of every result (G-8): files of ours are whole, what was cut off or added is seen, hostile bytes end in a
sentence. And the descriptor that names the verifier (S-3)."""

import random
import struct
import tomllib
from pathlib import Path

import pytest
import pyvips
from cgn_sdk.dservice import estimates, verdicts
from cgn_sdk.dservice.estimates import Work
from cgn_sdk.dservice.verdicts import Claim

import dservices.mediagen
from dservices.mediagen import samples
from dservices.mediagen.formats import bmp, integrity, pdf
from dservices.mediagen.picture.picture import Picture
from dservices.mediagen.verifier import verifier

PHOTO = samples.landscape(160, 120).copy_memory()


def strip() -> pyvips.Image:
    made = pyvips.Image.arrayjoin([PHOTO.crop(10 * n, 0, 80, 60) for n in range(4)], across=1).copy()
    made.set_type(pyvips.GValue.gint_type, "page-height", 60)
    made.set_type(pyvips.GValue.array_int_type, "delay", [50, 60, 70, 80])
    return made


def with_exif() -> pyvips.Image:
    """Its second Exif directory is a thumbnail: a whole JPEG file, end marker and all, in the header."""
    small = PHOTO.resize(0.2).jpegsave_buffer()
    first = struct.pack("<HHHIII", 1, 0x0112, 3, 1, 1, 26)
    second = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(small), 0)
    made = PHOTO.copy()
    block = b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + second + small
    made.set_type(pyvips.GValue.blob_type, "exif-data", block)
    return made


FILES: dict[str, tuple[str, bytes]] = {
    "baseline": ("jpeg", PHOTO.jpegsave_buffer(Q=80)),
    "progressive": ("jpeg", PHOTO.jpegsave_buffer(Q=80, interlace=True)),
    "restarts": ("jpeg", PHOTO.jpegsave_buffer(restart_interval=4)),
    "thumbnail in Exif": ("jpeg", with_exif().jpegsave_buffer()),
    "png": ("png", PHOTO.pngsave_buffer()),
    "interlaced": ("png", PHOTO.pngsave_buffer(interlace=True)),
    "palette": ("png", PHOTO.pngsave_buffer(palette=True)),
    "webp": ("webp", PHOTO.webpsave_buffer()),
    "lossless": ("webp", PHOTO.webpsave_buffer(lossless=True)),
    "moving webp": ("webp", strip().webpsave_buffer()),
    "gif": ("gif", PHOTO.gifsave_buffer()),
    "moving gif": ("gif", strip().gifsave_buffer()),
    "tiff": ("tiff", PHOTO.tiffsave_buffer()),
    "odd tiff": ("tiff", PHOTO.crop(0, 0, 13, 7).tiffsave_buffer(compression="deflate")),
    "tiles": ("tiff", PHOTO.tiffsave_buffer(tile=True, tile_width=32, tile_height=32)),
    "pages": ("tiff", strip().tiffsave_buffer(compression="jpeg")),
    "avif": ("avif", PHOTO.heifsave_buffer(compression="av1", effort=0)),
    "bmp": ("bmp", bmp.save(PHOTO)),
    "pdf": ("pdf", pdf.write(Picture(images=(PHOTO, PHOTO)), {"quality": None, "title": "x"})),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_ours_is_whole_and_less_or_more_is_not(name: str) -> None:
    kind, data = FILES[name]
    assert integrity.defect(kind, data) is None
    for share in (0.0, 0.01, 0.3, 0.9, 0.999):
        assert integrity.defect(kind, data[: int(len(data) * share)]), share
    for more in (b"\0" * 16, b"\xff\xd9" * 8, data):
        assert integrity.defect(kind, data + more), more[:4]


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in FILES.values()}))
def test_another_format_is_seen(kind: str) -> None:
    for other, data in FILES.values():
        assert (integrity.defect(kind, data) is None) == (other == kind)


@pytest.mark.parametrize("name", FILES)
def test_hostile_bytes_end_in_a_sentence(name: str) -> None:
    kind, data = FILES[name]
    chance = random.Random(name)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(min(len(broken), chance.choice((16, 64, 400, 10**6))))
            broken[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", chance.randbytes(3)))
        said = integrity.defect(kind, bytes(broken))
        assert said is None or len(said) < 100


def test_directories_in_a_circle_come_to_an_end() -> None:
    circle = b"II*\0" + struct.pack("<IHI", 8, 0, 8)
    assert integrity.defect("tiff", circle) == "it has too many pages"


def test_only_what_says_that_it_is_a_picture_of_ours_is_screened() -> None:
    kind, data = FILES["baseline"]
    claim = Claim(Work("GET", "/mgen/io"), data[:900], headers={"cgn-meta-format": kind})
    assert verifier.screened(claim) is not None
    for headers in ({}, {"content-type": "image/jpeg"}, {"cgn-meta-format": "text"}):
        assert verifier.screened(Claim(Work("GET", "/mgen/io"), data[:900], headers=headers)) is None


def test_the_descriptor_names_the_routes_and_what_verifying_costs() -> None:
    text = Path(dservices.mediagen.__file__).with_name("dservice.toml").read_text()
    descriptor = tomllib.loads(text)
    assert descriptor["estimator"]["path"] == estimates.PATH
    assert descriptor["verifier"]["path"] == verdicts.PATH
    assert descriptor["verifier"]["exact_ppm"] > 900_000
    assert 0 < descriptor["verifier"]["screen_ppm"] < 100_000
