"""Hostile media (G-6): cut off, damaged, mislabelled, bombs; for every format a clear 4xx or a picture, and the service lives on."""

import random
import struct
import zlib
from pathlib import Path

import pytest

from dservices.mediagen.formats import apng

MAKE = (
    "var m = new Media(); for (var i = 0; i < 3; i++) { var f = new Media(); f.gradient(xs @ 40, ys @ 30, startColor @ 0x204060 * i, endColor @ 0xFFFFFF);"
    " m.setFrame(i + 1, f); m.setFrameDelay(i + 1, 50); } m.save(type @ 'KIND');"
)
LOAD = "var m = new Media(); m.load(name @ '{}', loadMetadata @ true); m.scale(xs @ 20); m.save(type @ 'png');"
FORMATS = ("jpeg", "png", "gif", "webp", "avif", "tiff", "bmp", "pdf")


def memory_mib(rig) -> int:
    children = Path(f"/proc/{rig.process.pid}/task/{rig.process.pid}/children").read_text().split()
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in children]
    return (
        max(int(line.split()[1]) for text in statuses for line in text.splitlines() if line.startswith("VmRSS")) // 1024
    )


def judged(mediagen, name: str, data: bytes) -> None:
    mediagen.origin.add(name, data)
    answer = mediagen.run(LOAD.format(name))
    assert answer.status == 200 or 400 <= answer.status < 500, (name, answer.status, answer.body[:200])
    if answer.status != 200:
        assert answer.problem["status"] == answer.status


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files_are_refused_or_read(mediagen, kind):
    made = mediagen.run(MAKE.replace("KIND", kind))
    assert made.status == 200, made.body
    data = made.body
    chance = random.Random(kind)
    for share in (0, 1, 10, 50, 90, 99):
        judged(mediagen, f"cut.{kind}", data[: max(1, len(data) * share // 100)])
    for _ in range(12):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        judged(mediagen, f"bits.{kind}", bytes(damaged))
    head = data[:64]
    judged(mediagen, f"random.{kind}", head + chance.randbytes(5000))
    judged(mediagen, f"twice.{kind}", data + data)
    assert mediagen.alive()


def png_bomb(width: int, height: int) -> bytes:
    """A few kilobytes that unfold to width x height pixels."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + width // 8)
    body = b"".join(packer.compress(row) for _ in range(min(height, 20_000))) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunk = apng.chunk
    return apng.SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def gif_header(width: int, height: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + b"\0\0\0\xff\xff\xff"
        + b","
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
    )


SVG_NEST = b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10">' + b"<g>" * 200_000
SVG_USE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="99" height="99"><g id="a0"><rect width="9" height="9"/></g>'
    + b"".join(b'<g id="a%d">' % n + b'<use xlink:href="#a%d"/>' % (n - 1) * 20 + b"</g>" for n in range(1, 12))
    + b'<use xlink:href="#a11"/></svg>'
)
SVG_ENTITY = (
    b'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10 if n else b"&a;" * 10) for n in range(9))
    + b']><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text>&a8;</text></svg>'
)
BOMBS = {
    "png 30000 x 30000": png_bomb(30_000, 30_000),
    "png 2^31 wide": png_bomb(2**31 - 1, 1),
    "png no pixels": png_bomb(0, 0),
    "gif 65535 x 65535": gif_header(65_535, 65_535) + b"\x02\x02L\x01\0;",
    "bmp 2^31": b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    "bmp negative": b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, -5, -5, 1, 24, 0, 0, 0, 0, 0, 0),
    "psd 30000 x 30000": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 30_000, 30_000, 8, 3) + b"\0" * 12 + struct.pack(">H", 1),
    "psd long section": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 9, 9, 8, 3) + b"\xff" * 40,
    "apng 4 billion frames": apng.SIGNATURE + apng.chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 6, 0, 0, 0)) + apng.chunk(b"acTL", struct.pack(">II", 2**32 - 1, 0)),
    "svg nested": SVG_NEST,
    "svg use upon use": SVG_USE,
    "svg entities": SVG_ENTITY,
    "svg huge": b'<svg xmlns="http://www.w3.org/2000/svg" width="1e9" height="1e9"/>',
    "svg no size": b'<svg xmlns="http://www.w3.org/2000/svg" width="0" height="0"/>',
    "pdf huge page": b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj 3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 1e7 1e7]>>endobj trailer<</Root 1 0 R>>",
    "pdf pages in a circle": b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[2 0 R]/Count 9999999>>endobj trailer<</Root 1 0 R>>",
    "tiff directories in a circle": b"II*\0\x08\0\0\0\x01\0\0\x01\x03\0\x01\0\0\0\x05\0\0\0\x08\0\0\0",
    "jpeg 65535 x 65535": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01" + b"\xff\xda" + b"\0" * 100,
    "nothing": b"",
    "text": b"hello",
    "zip": b"PK\x03\x04" + b"\0" * 100,
    "html": b"<!DOCTYPE html><html><svg/></html>",
    "postscript": b"%!PS-Adobe-3.0\n(/etc/passwd) run",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_little(mediagen, name):
    """Refused with a 4xx, in a worker whose memory stays bounded (PDFium takes an impossible page for a letter, librsvg for a pixel)."""
    mediagen.origin.add("bomb", BOMBS[name])
    answer = mediagen.run(LOAD.format("bomb"))
    assert 400 <= answer.status < 500 or name in ("svg no size", "svg huge", "pdf huge page"), (
        answer.status,
        answer.body[:200],
    )
    assert mediagen.alive()
    assert memory_mib(mediagen) < 700
