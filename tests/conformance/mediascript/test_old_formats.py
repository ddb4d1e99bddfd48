"""TGA and WBMP, read and written here (reference 5.1), judged against Pillow; and what is known and refused, by name and
reason (G-6, G-14)."""

import io
import random
import struct

import PIL.Image
import PIL.ImageOps
import pytest

from dservices.mediagen.formats import recognised, tga, wbmp
from dservices.mediagen.formats.integrity import defect

LOAD = "var m = new Media(); m.load(name @ '{}'); "
PNG = "m.save(type @ 'png');"


def picture(mode: str, width: int = 37, height: int = 23) -> PIL.Image.Image:
    """Stripes and grain, so that runs and literal stretches both come up."""
    chance = random.Random(mode)
    bands = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    rows = []
    for y in range(height):
        flat = bytes([y * 9 % 256] * bands) * (width // 2)
        rows.append(flat + chance.randbytes((width - width // 2) * bands))
    return PIL.Image.frombytes(mode, (width, height), b"".join(rows))


def pixels(bench, name: str) -> list[tuple[int, ...]]:
    return [pixel for row in bench.picture(LOAD.format(name) + PNG) for pixel in row]


def told(image: PIL.Image.Image) -> list[tuple[int, ...]]:
    data, bands = image.tobytes(), len(image.getbands())
    return [tuple(data[at : at + bands]) for at in range(0, len(data), bands)]


def by_pillow(image: PIL.Image.Image, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, "TGA", **options)
    return out.getvalue()


@pytest.mark.parametrize("packing", [None, "tga_rle"])
@pytest.mark.parametrize("orientation", [-1, 1])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_tga_is_read_as_pillow_reads_it(bench, mode, orientation, packing):
    image = picture("RGB").quantize(64) if mode == "P" else picture(mode)
    bench.add("x.tga", by_pillow(image, compression=packing, orientation=orientation))
    wanted = PIL.Image.open(io.BytesIO(by_pillow(image, compression=packing, orientation=orientation)))
    assert pixels(bench, "x.tga") == told(wanted.convert("RGB") if mode == "P" else wanted)
    assert (
        bench.text("(function () { var m = new Media(); m.load(name @ 'x.tga'); return m.getFileType(); })()") == "tga"
    )


@pytest.mark.parametrize(
    ("bits", "flags", "wanted"), [(15, 0, (255, 132, 8)), (16, 0, (255, 132, 8)), (16, 1, (255, 132, 8, 255))]
)
def test_packed_colours(bench, bits, flags, wanted):
    head = bytes([0, 0, 2]) + bytes(9) + bytes([1, 0, 1, 0, bits, flags | 0x20])
    bench.add("x.tga", head + (0x8000 | 31 << 10 | 16 << 5 | 1).to_bytes(2, "little"))
    assert pixels(bench, "x.tga") == [wanted]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_tga_is_written_as_pillow_reads_it(bench, mode):
    image = picture(mode)
    out = io.BytesIO()
    image.save(out, "PNG")
    bench.add("x.png", out.getvalue())
    for script in ("m.save(type @ 'tga');", "m.save(name @ 'mem:/a.tga'); resp.setPath('mem:/a.tga');"):
        outcome, made = bench.outcome(LOAD.format("x.png") + script)
        assert outcome["headers"]["Content-Type"] == "image/x-tga"
        read = PIL.Image.open(io.BytesIO(made))
        assert read.format == "TGA" and told(read) == told(image)
        assert made == bench.body(LOAD.format("x.png") + script)
        assert defect("tga", made) is None
    assert len(made) < len(image.tobytes()) * 0.7  # the stripes are packed


@pytest.mark.parametrize("width", [1, 7, 8, 9, 200])
def test_wbmp_there_and_back(bench, width):
    gray = PIL.Image.frombytes("L", (width, 5), random.Random(width).randbytes(width * 5))
    out = io.BytesIO()
    gray.save(out, "PNG")
    bench.add("g.png", out.getvalue())
    outcome, made = bench.outcome(LOAD.format("g.png") + "m.save(type @ 'wbmp');")
    assert outcome["headers"]["Content-Type"] == "image/vnd.wap.wbmp"
    assert made[:2] == b"\0\0" and len(made) == (4 if width < 128 else 5) + (width + 7) // 8 * 5
    bits = made[-((width + 7) // 8 * 5) :]
    for n, value in enumerate(gray.tobytes()):
        y, x = divmod(n, width)
        assert bool(bits[y * ((width + 7) // 8) + x // 8] & 128 >> x % 8) is (value >= 128)
    bench.add("g.wbmp", made)
    assert pixels(bench, "g.wbmp") == [(255 * (value >= 128),) for value in gray.tobytes()]
    assert defect("wbmp", made) is None and defect("wbmp", made[:-1]) is not None


def test_damaged_files_of_our_own_readers_are_refused(bench):
    """Cut, flipped and lengthened: a 4xx or a picture, never more (G-6)."""
    chance = random.Random(5)
    files = {"tga": by_pillow(picture("RGB"), compression="tga_rle"), "tga plain": by_pillow(picture("RGBA")), "wbmp": wbmp.save(__import__("pyvips").Image.black(40, 9).copy(interpretation="b-w"))}  # fmt: skip
    for name, data in files.items():
        for _ in range(60):
            damaged = bytearray(data)
            for _ in range(chance.choice([1, 3])):
                damaged[chance.randrange(min(len(damaged), 60))] = chance.randrange(256)
            cut = bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])])
            bench.add("d.bin", cut)
            outcome, _ = bench.outcome(LOAD.format("d.bin") + PNG)
            assert "problem" not in outcome or outcome["problem"][0] in (415, 422), (name, outcome)
        for part in (19, len(data) // 2, len(data) - 30):
            assert defect(name.split()[0], data[:part]) is not None


def test_a_bomb_in_tga_is_bounded(bench):
    """A header of 65,535 x 65,535 pixels costs nothing."""
    bench.add("bomb.tga", bytes([0, 0, 10]) + bytes(9) + b"\xff\xff\xff\xff\x18\0" + b"\xff\1\2\3" * 9)
    problem = bench.problem(LOAD.format("bomb.tga") + PNG)
    assert (problem.status, problem.code) == (422, "picture_too_large")


def test_what_has_no_mark_of_its_own_is_not_found_in_anything():
    """Random bytes, texts and zeros are no TGA and no WBMP."""
    chance = random.Random(9)
    for size in (0, 1, 17, 18, 300, 4000):
        assert recognised.sniff(bytes(size)) is None
        assert recognised.sniff(b"It was a bright cold day in April. " * (size // 30)) is None
    found = [recognised.sniff(chance.randbytes(chance.choice([40, 400, 4000]))) for _ in range(3000)]
    assert set(found) <= {None, "tga", "bmp"} and found.count("tga") <= 1
    assert not tga.is_tga(b"", 0) and not wbmp.is_wbmp(b"\0\0", 2)


@pytest.mark.parametrize("packing", ["raw", "rle"])
def test_gray_with_alpha(bench, packing):
    image = PIL.Image.frombytes("LA", (9, 5), random.Random(3).randbytes(90))
    bench.add("la.tga", by_pillow(image, compression="tga_rle" if packing == "rle" else None))
    assert pixels(bench, "la.tga") == told(image.convert("RGBA"))


def bmp_file(
    bits: int, compression: int, body: bytes, width: int, height: int, *, masks=(), palette=b"", header: int = 40
) -> bytes:
    info = struct.pack(
        "<IiiHHIIiiII", header, width, height, 1, bits, compression, len(body), 0, 0, len(palette) // 4, 0
    )
    extra = b"".join(struct.pack("<I", mask) for mask in masks)
    start = 14 + len(info) + len(extra) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + extra + palette + body


PALETTE = bytes(value for n in range(256) for value in (n, 255 - n, n * 7 % 256, 0))


def coloured(index: int) -> tuple[int, int, int]:
    return index * 7 % 256, 255 - index, index


def test_bmp_by_run_lengths(bench):
    """Runs, literal stretches, ends of rows, a step aside and an early end; four and eight bits."""
    eight = bytes([3, 9, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 1, 7, 0, 2, 1, 0, 1, 8, 0, 1])
    bench.add("rle8.bmp", bmp_file(8, 1, eight, 3, 3, palette=PALETTE))
    rows = [[9, 9, 9], [1, 2, 3], [7, 0, 8]][::-1]
    assert pixels(bench, "rle8.bmp") == [coloured(index) for row in rows for index in row]
    four = bytes([5, 0x12, 0, 0, 0, 5, 0x34, 0x56, 0x70, 0, 0, 1])
    bench.add("rle4.bmp", bmp_file(4, 2, four, 5, 2, palette=PALETTE[:64]))
    rows = [[1, 2, 1, 2, 1], [3, 4, 5, 6, 7]][::-1]
    assert pixels(bench, "rle4.bmp") == [coloured(index) for row in rows for index in row]
    for body in (eight[:9], bytes([4, 1]), bytes([0, 9]), b""):
        bench.add("bad.bmp", bmp_file(8, 1, body, 3, 3, palette=PALETTE))
        assert bench.problem(LOAD.format("bad.bmp") + PNG).code == "FileMangled"


@pytest.mark.parametrize(
    ("bits", "masks", "unit", "wanted"),
    [
        (16, (), 31 << 10 | 16 << 5 | 1, (255, 132, 8)),
        (16, (0xF800, 0x7E0, 0x1F), 31 << 11 | 32 << 5 | 1, (255, 130, 8)),
        (32, (0xFF000000, 0xFF0000, 0xFF00), 0x80402000, (128, 64, 32)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF), 1023 << 20 | 512 << 10 | 1, (255, 128, 0)),
    ],
)
def test_bmp_by_masks(bench, bits, masks, unit, wanted):
    body = unit.to_bytes(bits // 8, "little").ljust(4, b"\0")
    bench.add("m.bmp", bmp_file(bits, 3 if masks else 0, body, 1, 1, masks=masks))
    assert pixels(bench, "m.bmp") == [wanted]


def test_bmp_of_os2(bench):
    """The header of 12 bytes, with entries of three bytes."""
    palette = bytes(value for n in range(256) for value in (n, 255 - n, n * 7 % 256))
    start = 26 + len(palette)
    data = (
        b"BM"
        + struct.pack("<IHHI", start + 4, 0, 0, start)
        + struct.pack("<IHHHH", 12, 3, 1, 1, 8)
        + palette
        + b"\1\2\3\0"
    )
    bench.add("os2.bmp", data)
    assert pixels(bench, "os2.bmp") == [coloured(index) for index in (1, 2, 3)]


def test_bmp_with_another_format_inside_is_named(bench):
    bench.add("j.bmp", bmp_file(24, 4, b"\xff\xd8", 8, 8))
    problem = bench.problem(LOAD.format("j.bmp") + PNG)
    assert (problem.status, problem.code) == (415, "source_unsupported") and "JPEG" in problem.detail


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_png_stands_upright_by_its_exif(bench, orientation):
    """PNG, third edition, 11.3.2.9; as browsers show it."""
    image = picture("RGB", 7, 4)
    exif = PIL.Image.Exif()
    exif[0x112] = orientation
    out = io.BytesIO()
    image.save(out, "PNG", exif=exif.tobytes())
    bench.add("turned.png", out.getvalue())
    wanted = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(out.getvalue())))
    made = bench.image(LOAD.format("turned.png") + PNG)
    assert (made.width, made.height) == wanted.size
    assert pixels(bench, "turned.png") == told(wanted)
    small = bench.image(
        LOAD.format("turned.png") + f"m.scale(xs @ {wanted.width - 2}, ys @ {wanted.height - 2}); {PNG}"
    )
    assert (small.width, small.height) == (wanted.width - 2, wanted.height - 2)


REFUSED = {
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "PostScript with a preview": b"\xc5\xd0\xd3\xc6" + bytes(26) + b"%!PS",
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40),
    "JPEG XL": b"\xff\x0a\xfa\x1f" + bytes(40),
    "JPEG XL in boxes": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "PICT": bytes(522) + b"\0\x11\x02\xff\x0c\0" + bytes(20),
    "ICO": b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0" + bytes(40),
}


@pytest.mark.parametrize("name", REFUSED)
def test_known_formats_are_refused_by_name_with_the_reason(bench, name):
    bench.add("file.bin", REFUSED[name])
    problem = bench.problem(LOAD.format("file.bin") + PNG)
    assert (problem.status, problem.code) == (415, "source_unsupported")
    assert name.split(" with")[0].split(" in ")[0] in problem.detail and ": " in problem.detail
    assert "TGA" in problem.facts["expected"]


MOVING = {
    "MP4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "QuickTime": b"\0\0\0\x14ftypqt  \0\0\2\0qt  ",
    "Matroska or WebM": b"\x1aE\xdf\xa3\x9fB\x86\x81\1",
    "AVI": b"RIFF\x24\0\0\0AVI LIST",
    "WAV": b"RIFF\x24\0\0\0WAVEfmt ",
    "MP3": b"ID3\4\0\0\0\0\0\0",
    "MP3 without a tag": b"\xff\xfb\x90\x64" + bytes(100),
    "Ogg": b"OggS\0\2",
    "FLAC": b"fLaC\0\0\0\x22",
    "MPEG": b"\0\0\1\xba\x44",
    "MPEG-TS": (b"\x47" + bytes(187)) * 3,
    "AIFF": b"FORM\0\0\0\x20AIFFCOMM",
    "FLV": b"FLV\1\5\0\0\0\x09",
}


@pytest.mark.parametrize("name", MOVING)
def test_sound_and_video_name_the_second_step(bench, name):
    """G-14: a 422 that says what comes when."""
    bench.add("clip.bin", MOVING[name] + bytes(400))
    problem = bench.problem(LOAD.format("clip.bin") + PNG)
    assert (problem.status, problem.code) == (422, "media_second_step")
    assert (
        name.split(" without")[0] in problem.detail
        and "second step" in problem.detail
        and "poster frames" in problem.detail
    )


@pytest.mark.parametrize("kind", ["mp4", "webm", "mp3", "gifv"])
def test_video_is_no_format_to_save_in(bench, kind):
    problem = bench.problem(f"var m = new Media(); m.makeCanvas(xs @ 9, ys @ 9); m.save(type @ '{kind}');")
    assert (problem.status, problem.code, problem.facts["parameter"]) == (422, "bad_parameter", "type")
    assert "tga" in problem.facts["expected"]
