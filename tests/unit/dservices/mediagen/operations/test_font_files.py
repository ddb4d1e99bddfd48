"""Families and characters out of font files, alone and in collections (G-4; mediascript.md 3.3)."""

import random
import struct
from pathlib import Path

import pytest
from fontTools.ttLib import TTCollection, TTFont

from dservices.mediagen.operations import font_files, fonts


def packaged(name: str) -> bytes:
    return next(path for path in fonts.chosen_files(None) if path.name == name).read_bytes()


def renamed(data: bytes, old: str, new: str) -> bytes:
    assert len(old) == len(new)
    return data.replace(old.encode("utf-16-be"), new.encode("utf-16-be")).replace(old.encode(), new.encode())


def collection(*faces: bytes) -> bytes:
    """A .ttc of these faces: their tables, found from the start of the file."""
    out = bytearray(struct.pack(">4sLL", b"ttcf", 0x10000, len(faces)) + b"\0" * 4 * len(faces))
    for number, face in enumerate(faces):
        out += b"\0" * (-len(out) % 4)
        start = len(out)
        struct.pack_into(">L", out, 12 + 4 * number, start)
        moved = bytearray(face)
        (tables,) = struct.unpack_from(">H", face, 4)
        for n in range(tables):
            (offset,) = struct.unpack_from(">L", face, 12 + 16 * n + 8)
            struct.pack_into(">L", moved, 12 + 16 * n + 8, offset + start)
        out += moved
    return bytes(out)


def font_with(form: bytes) -> bytes:
    """No more of a font than a table of characters."""
    cmap = struct.pack(">HHHHL", 0, 1, 3, 10, 12) + form
    return struct.pack(">4sHHHH4sLLL", b"\0\1\0\0", 1, 0, 0, 0, b"cmap", 0, 28, len(cmap)) + cmap


def test_families_of_a_file_and_of_a_collection():
    sans, serif = packaged("SourceSansPro-Regular.ttf"), packaged("SourceSerifPro-Regular.ttf")
    assert font_files.families(sans) == ["Source Sans Pro"]
    assert font_files.families(collection(sans, serif)) == ["Source Sans Pro", "Source Serif Pro"]
    assert font_files.families(b"") == font_files.families(b"ttcf") == []


def test_characters_are_those_that_have_a_glyph():
    covered = font_files.Coverage(font_files.characters(packaged("SourceSansPro-Regular.ttf")))
    assert all(character in covered for character in "aZ09äßЖλ€½")
    assert not any(character in covered for character in "مह你\U0001f600\uffff\0")


def test_both_forms_of_the_table_are_read():
    groups = struct.pack(">HHLLL", 12, 0, 40, 0, 2) + struct.pack(">6L", 0x41, 0x43, 7, 0x1F600, 0x1F602, 0)
    assert font_files.characters(font_with(groups)) == [(0x41, 0x43), (0x1F601, 0x1F602)]
    # By delta (0x42 would be glyph 0), by an array with a hole in it, and the end.
    segments = struct.pack(">7H", 4, 0, 0, 6, 0, 0, 0) + struct.pack(">3H", 0x43, 0x52, 0xFFFF) + b"\0\0"
    segments += struct.pack(">3H", 0x41, 0x50, 0xFFFF) + struct.pack(">3H", -0x42 & 0xFFFF, 0, 1)
    segments += struct.pack(">3H", 0, 4, 0) + struct.pack(">3H", 9, 0, 9)
    assert font_files.characters(font_with(segments)) == [(0x41, 0x41), (0x43, 0x43), (0x50, 0x50), (0x52, 0x52)]


def test_the_characters_of_every_packaged_face_are_those_that_fonttools_finds():
    """G-4: too few would refuse a text that can be drawn, too many would draw boxes."""
    for path in fonts.chosen_files(None):
        data = path.read_bytes()
        faces = TTCollection(str(path)).fonts if data[:4] == b"ttcf" else [TTFont(str(path))]
        tables = [
            table for face in faces for table in face["cmap"].tables if table.isUnicode() and table.format in (4, 12)
        ]
        wanted = {code for table in tables for code, name in table.cmap.items() if name != ".notdef"}
        found = {code for first, last in font_files.characters(data) for code in range(first, last + 1)}
        assert found == wanted, path.name


def test_any_bytes_are_read():
    whole = packaged("SourceSansPro-It.ttf")
    chance = random.Random(3)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(20):
            damaged[chance.randrange(3000)] = chance.randrange(256)
        cut = bytes(damaged[: chance.randrange(len(whole))])
        font_files.families(cut)
        font_files.characters(cut)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("abc", ""),
        ("a\u200d\u00ad b\u3000\ufe0f\t\n\u2028", ""),
        ("e\u0301 n\u0303", ""),
        ("\u2011", ""),
        ("你a你好", "你好"),
        ("\U0001f600", "\U0001f600"),
        ("\u1e17", ""),
    ],
)
def test_what_is_missing_is_what_would_be_a_box(text, missing):
    """Without ink, composed out of parts, part of what is composed: all of that is drawn."""
    covered = font_files.Coverage([(0x20, 0x7E), (0xE9, 0xE9), (0xF1, 0xF1), (0x113, 0x113), (0x300, 0x304), (0x2010, 0x2010)])  # fmt: skip
    assert covered.missing(text) == missing


def test_a_folder_with_a_collection_and_a_broken_font(tmp_path: Path):
    """Collections are used, a Type 1 font that cannot be read is named."""
    face = renamed(packaged("SourceSansPro-Regular.ttf"), "Source Sans Pro", "Sourer Sans Pro")
    (tmp_path / "faces.ttc").write_bytes(collection(face, packaged("SourceSerifPro-It.ttf")))
    (tmp_path / "old.pfb").write_bytes(b"\x80\x01")
    there = fonts.Fonts(tmp_path)
    assert there.resolve("sourer sans pro") == there.resolve("fs:/Sourer Sans Pro.ttc") == "Sourer Sans Pro"
    assert [path.name for path in there.passed_over] == ["old.pfb"]
    assert there.digest != fonts.Fonts().digest == fonts.Fonts().digest
