"""A damaged file is damaged on every path (G-6): each format cut, flipped and shortened, through each way into the pixels.

Either every path refuses the file (422), or they agree that its pixels can be read: no path makes a half-black picture of
a file that another one refuses.
"""

import random
import zlib

import pytest
import pyvips

PATHS = {
    "save": "m.save(type @ 'png');",
    "scale Fast": "m.scale(xs @ 60, ys @ 40, alg @ 'Fast'); m.save(type @ 'png');",
    "scale Smooth": "m.scale(xs @ 60, ys @ 40, alg @ 'Smooth'); m.save(type @ 'png');",
    "scale Best": "m.scale(xs @ 60, ys @ 40, alg @ 'Best'); m.save(type @ 'png');",
    "scale up": "m.scale(xs @ 400, ys @ 300, alg @ 'Fast'); m.save(type @ 'png');",
    "to jpeg": "m.scale(xs @ 30, ys @ 20); m.save(type @ 'jpeg');",
    "crop": "m.crop(xs @ 50, ys @ 50); m.save(type @ 'png');",
    "rotate": "m.rotate(angle @ 90); m.save(type @ 'png');",
    "pixel": "m.getPixel(x @ 1, y @ 1); m.save(type @ 'png');",
    "pixel when scaled": "m.scale(xs @ 60, ys @ 40); m.getPixel(x @ 1, y @ 39); m.save(type @ 'png');",
    "metadata": "m.getWidth(); m.scale(xs @ 60, ys @ 40); m.crop(xs @ 10, ys @ 10); m.save(type @ 'png');",
}
WIDTH, HEIGHT = 240, 160


def encoded() -> dict[str, bytes]:
    """A picture that no encoder can make small, in each format."""
    noise = random.Random(7).randbytes(WIDTH * HEIGHT * 4)
    rgba = pyvips.Image.new_from_memory(noise, WIDTH, HEIGHT, 4, "uchar").copy(interpretation="srgb")
    rgb, gray = rgba[:3].copy(interpretation="srgb"), rgba[0].copy(interpretation="b-w")
    return {
        "png": rgb.pngsave_buffer(),
        "png with alpha": rgba.pngsave_buffer(),
        "png gray": gray.pngsave_buffer(),
        "png palette": rgb.pngsave_buffer(palette=True),
        "png interlaced": rgb.pngsave_buffer(interlace=True),
        "png 16 bits": rgb.cast("ushort", shift=True).pngsave_buffer(),
        "jpeg": rgb.jpegsave_buffer(Q=90),
        "jpeg progressive": rgb.jpegsave_buffer(Q=90, interlace=True),
        "jpeg gray": gray.jpegsave_buffer(Q=90),
        "webp": rgb.webpsave_buffer(Q=90),
        "webp lossless": rgba.webpsave_buffer(lossless=True),
        "gif": rgb.gifsave_buffer(),
        "tiff": rgb.tiffsave_buffer(compression="deflate"),
        "tiff plain": rgb.tiffsave_buffer(),
    }


FILES = encoded()


def damaged(data: bytes) -> dict[str, bytes]:
    """The file cut at four places, with bits flipped, and with a stretch missing."""
    out = {f"cut at {part} per mille": data[: len(data) * part // 1000] for part in (300, 500, 900, 999)}
    middle = len(data) // 2
    out["flipped"] = data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]
    out["shortened"] = data[:middle] + data[middle + len(data) // 10 :]
    return out


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", list(damaged(b"\0")))
def test_every_path_says_the_same_of_a_damaged_file(bench, name, how):
    data = damaged(FILES[name])[how]
    file = f"d{zlib.crc32(data)}.bin"
    bench.add(file, data)
    refused = {}
    for path, script in PATHS.items():
        outcome, _ = bench.outcome(f"var m = new Media(); m.load(name @ '{file}'); {script}")
        if "problem" in outcome:
            status, code, detail, _ = outcome["problem"]
            assert (status, code) in ((422, "FileMangled"), (415, "source_unsupported")), (path, detail)
        refused[path] = "problem" in outcome
    assert len(set(refused.values())) == 1, refused
    if how.startswith("cut") and "tiff" not in name:
        assert all(refused.values()), refused


@pytest.mark.parametrize("name", FILES)
def test_the_whole_file_is_read_on_every_path(bench, name):
    file = f"whole{zlib.crc32(FILES[name])}.bin"
    bench.add(file, FILES[name])
    for path, script in PATHS.items():
        outcome, _ = bench.outcome(f"var m = new Media(); m.load(name @ '{file}'); {script}")
        assert "problem" not in outcome, (path, outcome)
