"""Pictures that other projects test their decoders with (G-6): PngSuite, and the test images of libvips and Pillow
(infra/engine-corpora). Every file: the pixels that it means, or a clear 4xx; never a crash, never gigabytes.

PNG is compared with a decoder of this file's own, in plain Python; other formats with libvips asked directly, which shows
that nothing is lost on the way (the decoder itself is libvips').
"""

import struct
import zlib
from pathlib import Path

import pytest
import pyvips

ROOT = Path(__file__).parents[3] / ".cache/corpora/files"
LOAD = "var m = new Media(); m.load(name @ '{}', loadMetadata @ true); m.save(type @ 'png', level @ 1, embedProfile @ false);"
FILE_MAX_BYTES = 4 << 20
"""Larger ones are few and slow; what they are is in smaller ones, too."""
SUFFIXES = {".png", ".apng", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".svg", ".psd", ".pdf"}
COMPARED = {".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff"}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

pytestmark = [pytest.mark.engine("corpora"), pytest.mark.slow]


def found(folder: str) -> list[Path]:
    return sorted(
        path for path in ROOT.glob(f"{folder}*/**/*") if path.is_file() and path.stat().st_size <= FILE_MAX_BYTES
    )


def unfiltered(data: bytes, width: int, height: int, bits: int) -> list[bytes]:
    """PNG, 9.2: the rows of one pass."""
    row, step, at, before = (width * bits + 7) // 8, max(1, bits // 8), 0, b""
    out = []
    before = bytes(row)
    for _ in range(height):
        kind, line = data[at], bytearray(data[at + 1 : at + 1 + row])
        at += 1 + row
        for n in range(row):
            left = line[n - step] if n >= step else 0
            above, corner = before[n], before[n - step] if n >= step else 0
            guess = left + above - corner
            near = min((left, above, corner), key=lambda v: abs(guess - v))
            line[n] = line[n] + (0, left, above, (left + above) // 2, near)[kind] & 255
        before = bytes(line)
        out.append(before)
    return out


def samples(row: bytes, width: int, depth: int, channels: int) -> list[tuple[int, ...]]:
    if depth < 8:
        values = [byte >> shift & (1 << depth) - 1 for byte in row for shift in range(8 - depth, -1, -depth)]
    else:
        values = [int.from_bytes(row[n : n + depth // 8], "big") for n in range(0, len(row), depth // 8)]
    return [tuple(values[n * channels : (n + 1) * channels]) for n in range(width)]


def png_pixels(data: bytes) -> list[list[tuple[int, ...]]]:
    """Of a PNG as RGBA with 8 bits: of 16 the upper byte."""
    at, parts, idat = 8, {}, b""
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        idat += body if kind == b"IDAT" else b""
        parts.setdefault(kind, body)
        at += 12 + size
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    raw, clear = zlib.decompress(idat), parts.get(b"tRNS")
    palette = parts.get(b"PLTE", b"")
    key = struct.unpack(f">{len(clear) // 2}H", clear) if clear is not None and colour in (0, 2) else None

    def rgba(sample: tuple[int, ...]) -> tuple[int, ...]:
        if colour == 3:
            n = sample[0]
            return (*palette[3 * n : 3 * n + 3], clear[n] if clear is not None and n < len(clear) else 255)
        alpha = 0 if sample == key else 255
        eight = [v >> 8 if depth == 16 else v * 255 // ((1 << depth) - 1) for v in sample]
        if colour in (4, 6):
            alpha = eight.pop()
        return (*(eight * 3 if len(eight) == 1 else eight), alpha)

    grid: list[list[tuple[int, ...]]] = [[()] * width for _ in range(height)]
    position = 0
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        wide, high = (width - left + across - 1) // across, (height - top + down - 1) // down
        if wide <= 0 or high <= 0:
            continue
        rows = unfiltered(raw[position:], wide, high, depth * channels)
        position += high * (1 + (wide * depth * channels + 7) // 8)
        for y, row in enumerate(rows):
            for x, sample in enumerate(samples(row, wide, depth, channels)):
                grid[top + y * down][left + x * across] = rgba(sample)
    return grid


def as_rgba(data: bytes) -> pyvips.Image:
    """Our own answer, or a file, as an image of four bands."""
    image = pyvips.Image.new_from_buffer(data, "").autorot()
    if image.format == "ushort":
        image = (image >> 8).cast("uchar")
    image = image.cast("uchar") if image.interpretation in ("srgb", "b-w", "multiband") else image.colourspace("srgb")
    if image.bands < 3:
        image = image[0].bandjoin([image[0], image[0], *([image[1]] if image.bands == 2 else [])])
    return (image if image.bands == 4 else image[0:3].bandjoin(255)).copy(interpretation="srgb")


def asked(mediagen, path: Path):
    mediagen.origin.add("file", path.read_bytes())
    answer = mediagen.run(LOAD.format("file"))
    assert answer.status == 200 or 400 <= answer.status < 500, (path.name, answer.status, answer.body[:300])
    if answer.status != 200:
        assert answer.problem["status"] == answer.status, path.name
        assert answer.problem["detail"], path.name
    return answer


def test_png_suite_to_the_pixel(mediagen):
    """Every valid file of PngSuite and of libpng's own set; files whose name starts with x are damaged on purpose."""
    files = [path for path in found("libpng") if "pngsuite" in str(path) and path.suffix == ".png"]
    assert len(files) >= 50
    wrong = {}
    for path in files:
        answer = asked(mediagen, path)
        try:
            expected = png_pixels(path.read_bytes())
        except (zlib.error, KeyError, IndexError, struct.error):
            continue  # damaged: any answer without a crash
        if answer.status != 200:
            wrong[path.name] = answer.problem["detail"]
            continue
        image = as_rgba(answer.body)
        raw = image.write_to_memory()
        flat = b"".join(bytes(pixel) for row in expected for pixel in row)
        far = max((abs(a - b) for a, b in zip(bytes(raw), flat, strict=True)), default=0)
        if far > 1:
            wrong[path.name] = f"differs by {far}"
    assert not wrong, wrong


@pytest.mark.parametrize("corpus", ["libpng", "libvips", "pillow"])
def test_every_file_is_read_or_refused(mediagen, corpus):
    """Read files of lossless and well-defined decoders have the pixels that libvips gives when asked directly."""
    files = [path for path in found(corpus) if path.suffix.lower() in SUFFIXES]
    assert len(files) >= 30
    read, refused, wrong = 0, {}, {}
    for path in files:
        answer = asked(mediagen, path)
        if answer.status != 200:
            refused[path.name] = answer.problem["detail"]
            continue
        read += 1
        if path.suffix.lower() not in COMPARED:
            continue
        try:
            header = pyvips.Image.new_from_buffer(path.read_bytes(), "")
            if header.interpretation == "cmyk" or header.format not in ("uchar", "ushort"):
                continue  # shown as PNG by our own formula, by libvips through a profile or another range
            direct, got = as_rgba(path.read_bytes()), as_rgba(answer.body)
            if (direct.width, direct.height) != (got.width, got.height):
                wrong[path.name] = f"{got.width} x {got.height} instead of {direct.width} x {direct.height}"
            elif (far := (direct - got).abs().max()) > 1:
                wrong[path.name] = f"differs by {far:g}"
        except pyvips.Error:
            continue  # libvips reads it in part only, or not at all
    assert mediagen.alive()
    assert read >= len(files) // 2, refused
    assert not wrong, wrong
