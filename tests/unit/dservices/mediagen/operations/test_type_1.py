"""Type 1 fonts of an operator's folder (reference 3.3), made here: eexec and charstrings as Adobe's book has them."""

import struct
from pathlib import Path

import pytest

from dservices.mediagen.operations import font_files, fonts, type_1


def encrypted(data: bytes, key: int) -> bytes:
    """Adobe Type 1 Font Format, 7.1."""
    out = bytearray()
    for value in data:
        out.append(value ^ key >> 8)
        key = ((out[-1] + key) * 52845 + 22719) & 0xFFFF
    return bytes(out)


def number(value: int) -> bytes:
    if -107 <= value <= 107:
        return bytes([value + 139])
    return b"\xff" + struct.pack(">i", value)


def glyph(width: int, *moves: tuple[int, ...]) -> bytes:
    """A closed polygon of relative moves, as an encrypted charstring."""
    code = number(0) + number(width) + b"\x0d"  # hsbw
    for index, (dx, dy) in enumerate(moves):
        code += number(dx) + number(dy) + (b"\x15" if index == 0 else b"\x05")  # rmoveto, rlineto
    return encrypted(b"\0\0\0\0" + code + (b"\x09" if moves else b"") + b"\x0e", 4330)


GLYPHS = {
    ".notdef": glyph(500),
    "A": glyph(700, (50, 0), (600, 0), (0, 700), (-600, 0)),
    "Omega": glyph(400, (0, 0), (300, 0), (0, 300)),
}


def type_1_font(*, binary: bool, family: str = "Old Face") -> bytes:
    head = (
        "%!PS-AdobeFont-1.0: OldFace-Bold 1.0\n12 dict begin\n/FontInfo 6 dict dup begin\n"
        f"/FullName ({family} Bold) readonly def\n/FamilyName ({family}) readonly def\n/Weight (Bold) readonly def\n"
        "/ItalicAngle 0 def\nend readonly def\n/FontName /OldFace-Bold def\n/PaintType 0 def\n/FontType 1 def\n"
        "/FontMatrix [0.001 0 0 0.001 0 0] readonly def\n/Encoding StandardEncoding def\n/FontBBox {0 -200 700 800} readonly def\n"
        "currentdict end\ncurrentfile eexec\n"
    ).encode()
    body = b"dup /Private 8 dict dup begin\n/RD {string currentfile exch readstring pop} executeonly def\n"
    body += b"/ND {noaccess def} executeonly def\n/NP {noaccess put} executeonly def\n/BlueValues [] def\n/password 5839 def\n"
    body += b"/Subrs 0 array\nND\n2 index /CharStrings %d dict dup begin\n" % len(GLYPHS)
    body += b"".join(b"/%s %d RD %s ND\n" % (name.encode(), len(code), code) for name, code in GLYPHS.items())
    body += b"end\nend\nreadonly put\nnoaccess put\ndup/FontName get exch definefont pop\nmark currentfile closefile\n"
    hidden = encrypted(b"\0\0\0\0" + body, 55665)
    tail = (b"0" * 64 + b"\n") * 8 + b"cleartomark\n"
    if binary:
        parts = ((1, head), (2, hidden), (1, tail))
        return b"".join(struct.pack("<BBI", 128, kind, len(part)) + part for kind, part in parts) + b"\x80\x03"
    text = hidden.hex().encode()
    return head + b"\n".join(text[at : at + 64] for at in range(0, len(text), 64)) + b"\n" + tail


@pytest.mark.parametrize("binary", [True, False])
def test_a_type_1_font_becomes_opentype(tmp_path: Path, binary: bool) -> None:
    """Outlines, widths, family and characters; the same bytes each time (G-1)."""
    path = tmp_path / ("old.pfb" if binary else "old.pfa")
    path.write_bytes(type_1_font(binary=binary))
    made = type_1.as_opentype(path)
    assert made == type_1.as_opentype(path)
    assert font_files.families(made) == ["Old Face"]
    covered = font_files.Coverage(font_files.characters(made))
    assert all(character in covered for character in "A\u03a9") and "B" not in covered


@pytest.mark.parametrize(
    "data", [b"", b"%!PS", b"\x80\x01", type_1_font(binary=True)[:900], type_1_font(binary=False)[:700]]
)
def test_what_is_no_type_1_font_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.pfb"
    path.write_bytes(data)
    with pytest.raises(type_1.NotRead):
        type_1.as_opentype(path)


def test_a_folder_with_type_1_fonts(tmp_path: Path) -> None:
    """One that can be read is a family like any other, and part of the digest; one that cannot is named."""
    (tmp_path / "old.pfb").write_bytes(type_1_font(binary=True))
    (tmp_path / "broken.pfa").write_bytes(b"%!PS-AdobeFont-1.0: Broken\n")
    there = fonts.Fonts(tmp_path)
    assert there.resolve("old face") == "Old Face"
    assert [path.name for path in there.passed_over] == ["broken.pfa"]
    assert there.digest == fonts.Fonts(tmp_path).digest != fonts.Fonts().digest
