"""What a reader shows is what we draw (G-4, G-6): files that other projects test their decoders with (infra/engine-corpora),
judged against Pillow (with libavif), psd-tools and poppler. Every difference is named here and in
docs/reference/mediagen-differences.md.
"""

import io
import os
import shutil
import subprocess
import warnings
from fnmatch import fnmatch
from pathlib import Path

import PIL.Image
import PIL.ImageOps
import pytest
import pyvips
from cgn_sdk.dservice.problems import Problem
from mediagen_here import Here

ROOT = Path(__file__).parents[3] / ".cache/corpora/files"
SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".tga", ".mpo"}
FILE_MAX_BYTES = 4 << 20
NEAR = 2.0
"""Levels of a channel on average, colours multiplied by alpha: two decoders of JPEG differ by less than one."""
REFUSED = {
    "tiff_tiled_planar_*": "tiles in planes: libtiff as built here reads none",
    "old-style-jpeg-compression*": "JPEG in TIFF of 1992",
    "lab*.tif": "Lab",
    "hopper.Lab.tif": "Lab",
    "hopper_lzma.tif": "LZMA",
    "12bit.cropped.tif": "12 bits",
    "10ct_32bit_128.tiff": "32 bits",
    "crash-*.tif": "made to crash decoders",
    "mmap_error.bmp": "its pixels are not all there",
    "hopper_rle8_row_overflow.bmp": "a run leads beyond its row",
    "rletopdown.bmp": "run lengths from the top, which the format forbids",
    "badrle.bmp": "a run leads beyond its row",
    "badplanes.bmp": "255 planes",
    "syntax_num_frames_*.png": "an animation that says something else of itself than it is",
    "sequence_reorder_chunk.png": "frames out of order",
    "chunk_repeat_fctl.png": "frames out of order",
    "chunk_no_fdat.png": "a frame without pixels",
    "huge_IDAT.png": "made to crash decoders",
    "badcrc.png": "a checksum is wrong",
}
"""Files that Pillow shows and we refuse."""
OTHERWISE = {
    "apng/*.png": "Pillow counts a default picture outside the animation as its first frame; browsers and we do not",
    "gray-?*-tRNS.png": "Pillow compares the transparent gray of 1, 2 and 4 bits after stretching it to 8",
    "ft*0g04.png": "the same",
    "iftbbn0g04.png": "the same",
    "i_trns.png": "the same, of 16 bits",
    "pngtest.png": "Exif behind the pixels: not looked at",
    "xmp_tags_orientation*.png": "Pillow turns by XMP; Exif alone counts here, as in browsers",
    "exif_imagemagick_orientation.png": "Exif in a text chunk of ImageMagick's: not looked at",
    "16bit.s.tif": "signed samples",
    "multi-channel-z-series.ome.tif": "signed samples",
}

pytestmark = [pytest.mark.engine("corpora"), pytest.mark.slow]


@pytest.fixture(scope="module")
def here() -> Here:
    made = Here(ROOT)
    made.fetch = lambda address, purpose: SOURCE[0]  # type: ignore[method-assign]
    return made


SOURCE = [b""]


def ours(here: Here, data: bytes, more: str = "") -> pyvips.Image:
    SOURCE[0] = data
    made, _, _ = here.work(
        f"m.load(name @ 'x', frames @ '1'{more}); m.save(type @ 'png', level @ 1, embedProfile @ false);"
    )
    return pyvips.Image.new_from_buffer(made, "")


def flat(image: pyvips.Image) -> pyvips.Image:
    """Four channels, colours multiplied by alpha."""
    if image.bands == 1:
        image = image.bandjoin([image, image])
    if image.bands == 3:
        image = image.bandjoin(255)
    share = image[3] / 255
    return (image.extract_band(0, n=3) * share).bandjoin(image[3])


def by_pillow(data: bytes) -> pyvips.Image | None:
    """None for what both would only show through a profile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = PIL.Image.open(io.BytesIO(data))
        image.load()
        image = PIL.ImageOps.exif_transpose(image)
        if image.mode == "CMYK":
            return None
        if image.mode == "I" or image.mode.startswith("I;16"):
            image = image.convert("I").point(lambda value: value / 256).convert("L")
        image = image.convert("RGBA")
    return pyvips.Image.new_from_memory(image.tobytes(), *image.size, 4, "uchar").copy(interpretation="srgb")


def apart(one: pyvips.Image, other: pyvips.Image) -> float:
    if (one.width, one.height) != (other.width, other.height):
        return 255.0
    return float((flat(one) - flat(other)).abs().avg())


def known(table: dict[str, str], path: Path) -> bool:
    return any(fnmatch(str(path), f"*/{pattern}") for pattern in table)


@pytest.mark.timeout(600)
def test_pictures_are_those_that_pillow_shows(here: Here) -> None:
    """A file that Pillow shows is shown alike, or its kind is in one of the two tables."""
    files = [p for p in sorted(ROOT.rglob("*")) if p.suffix.lower() in SUFFIXES and p.stat().st_size <= FILE_MAX_BYTES]
    wrong, compared = [], 0
    for path in files:
        data = path.read_bytes()
        try:
            judged = by_pillow(data)
        except Exception:  # whatever it raises: it does not show the file
            continue
        if judged is None:
            continue
        try:
            made = ours(here, data)
        except Problem as problem:
            if not known(REFUSED, path):
                wrong.append(f"{path.name}: {problem.code}")
            continue
        compared += 1
        far = apart(made, judged)
        if far > NEAR and not known(OTHERWISE, path):
            wrong.append(f"{path.name}: {far:.1f} levels")
    assert not wrong, wrong
    assert compared > 600


@pytest.mark.parametrize(("quality", "range_"), [(60, "full"), (90, "full"), (90, "limited")])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_avif_is_what_libavif_shows(here: Here, mode: str, quality: int, range_: str) -> None:
    """Written by libavif, in both ranges."""
    noise = pyvips.Image.gaussnoise(64, 48, mean=128, sigma=400, seed=3).gaussblur(3).cast("uchar")
    gray = PIL.Image.frombytes("L", (64, 48), bytes(noise.write_to_memory()))
    image = gray.convert(mode)
    if mode == "RGBA":
        image.putalpha(gray.rotate(180))
    out = io.BytesIO()
    image.save(out, "AVIF", quality=quality, range=range_, codec="aom")
    judged = by_pillow(out.getvalue())
    assert judged is not None
    assert apart(ours(here, out.getvalue()), judged) < NEAR


def test_psd_is_what_psd_tools_shows(here: Here) -> None:
    """The flattened picture."""
    tools = pytest.importorskip("psd_tools", reason="psd-tools is not installed (pip install psd-tools)")
    compared = 0
    for path in sorted(ROOT.rglob("*.psd")):
        try:
            image = tools.PSDImage.open(path).topil()
        except Exception:
            continue
        if image is None or image.mode == "CMYK":
            continue
        try:
            made = ours(here, path.read_bytes())
        except Problem as problem:
            assert problem.code == "source_unsupported", (path, problem.detail)
            continue
        image = image.convert("RGBA")
        judged = pyvips.Image.new_from_memory(image.tobytes(), *image.size, 4, "uchar").copy(interpretation="srgb")
        assert apart(made, judged) < NEAR, path
        compared += 1
    assert compared >= 2


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="poppler's pdftoppm is not installed")
def test_pdf_pages_are_what_poppler_prints(here: Here) -> None:
    """Two renderers smooth edges differently, so what is compared is the page at a quarter of its size."""
    paths = [p for p in sorted(ROOT.rglob("*.pdf")) if p.stat().st_size <= FILE_MAX_BYTES]
    assert paths
    for path in paths:
        command = ["pdftoppm", "-r", "72", "-f", "1", "-l", "1", "-png", str(path)]
        said = subprocess.run(command, capture_output=True, timeout=60, env={**os.environ, "LC_ALL": "C"}, check=True)
        judged = pyvips.Image.new_from_buffer(said.stdout, "").extract_band(0, n=3)
        made = ours(here, path.read_bytes(), ", dpi @ 72")
        assert (made.width, made.height) == (judged.width, judged.height), path
        assert apart(made.shrink(4, 4), judged.shrink(4, 4)) < 4, path
