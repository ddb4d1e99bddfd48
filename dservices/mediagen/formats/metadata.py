"""Exif, IPTC and XMP as XML documents and back (reference 3.8, 4.11). The schemas of Exif and IPTC are ours:
`<Exif><Make>…</Make>…</Exif>` and `<IPTC><Headline>…</Headline>…</IPTC>`, one element a field, repeated for lists."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from xml.etree import ElementTree

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.language.metadata_names import EXIF, IPTC

XML_MAX_CHARS = 500_000
"""Larger documents do not fit a JPEG's segments (64 KiB each) by far."""
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}
_WHOLE = {3: "H", 4: "I", 9: "i"}
"""Types of whole numbers, by what `struct` calls them."""
_RATIONALS = frozenset({"ExposureTime", "FNumber", "ShutterSpeedValue", "ApertureValue", "FocalLength"})
_SHORTS = frozenset({"Orientation", "ISOSpeedRatings"})
_EXIF_POINTER = 0x8769

Fields = list[tuple[str, str]]


def parse_xml(text: str) -> ElementTree.Element:
    """A document without a document type: entities are how small XML becomes large or reads files."""
    if len(text) > XML_MAX_CHARS or re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise Problem(
            422,
            "bad_parameter",
            "the XML has a document type or is too long",
            expected=f"plain XML of at most {XML_MAX_CHARS} characters",
        )
    try:
        return ElementTree.fromstring(text.lstrip("\ufeff \r\n\t"))  # noqa: S314 - entities are refused above
    except ElementTree.ParseError as error:
        raise Problem(422, "bad_parameter", f"the XML cannot be parsed: {error}", expected="well-formed XML") from None


def to_xml(kind: str, fields: Fields) -> str:
    root = ElementTree.Element(kind)
    for name, value in fields:
        ElementTree.SubElement(root, name).text = "".join(c for c in value if c in "\t\n" or ord(c) >= 0x20)
    return ElementTree.tostring(root, encoding="unicode")


def fields_of(kind: str, text: str) -> Fields:
    """Known fields of one of our documents, in its order. Problem for an unknown one."""
    if not text:
        return []
    known = EXIF if kind == "Exif" else IPTC
    out = []
    for element in parse_xml(text):
        name = element.tag.rpartition("}")[2]
        if name not in known:
            raise Problem(
                422, "bad_parameter", f"{kind} has no field {name[:40]!r}", expected="one of " + ", ".join(known)
            )
        out.append((name, (element.text or "").strip()))
    return out


def document(kind: str, block: bytes | None) -> str | None:
    """What `getMetadata` answers: the XML of a raw block, or None."""
    if block is None:
        return None
    if kind == "XMP":
        return block.decode("utf-8", "replace").strip("\0")
    fields = read_exif(block) if kind == "Exif" else read_iptc(block)
    return to_xml(kind, fields)


def listed(kind: str, block: bytes) -> dict[str, str | list[str]] | str:
    """A raw block's fields by name, a list where one comes more than once; XMP as its text."""
    if kind == "XMP":
        return document(kind, block) or ""
    found: dict[str, list[str]] = {}
    for name, value in read_exif(block) if kind == "Exif" else read_iptc(block):
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def block_of(kind: str, text: str) -> bytes:
    """What `setMetadata` attaches: the raw block of an XML document."""
    if kind == "XMP":
        parse_xml(re.sub(r"<\?xpacket.*?\?>", "", text))
        return text.encode("utf-8", "replace")
    fields = fields_of(kind, text)
    for name, value in fields:
        check_field(kind, name, value)
    return write_exif(fields) if kind == "Exif" else write_iptc(fields)


def check_field(kind: str, name: str, value: str) -> None:
    known = EXIF if kind == "Exif" else IPTC
    if name not in known:
        raise Problem(422, "bad_parameter", f"{kind} has no field {name[:40]!r}", expected="one of " + ", ".join(known))
    if kind == "IPTC" and len(value.encode()) > IPTC[name][1]:
        raise Problem(
            422, "bad_parameter", f"IPTC {name} is too long", parameter=name, expected=f"at most {IPTC[name][1]} bytes"
        )
    if kind == "Exif" and name in _RATIONALS | _SHORTS:
        try:
            number = Fraction(value)
        except (ValueError, ZeroDivisionError):
            number = Fraction(-1)
        if number < 0 or number > 65_535:
            raise Problem(
                422,
                "bad_parameter",
                f"Exif {name} is a number",
                parameter=name,
                expected="a number, or a fraction such as 1/125",
            )
    if len(value) > 4000:
        raise Problem(
            422, "bad_parameter", f"{kind} {name} is too long", parameter=name, expected="at most 4000 characters"
        )


# -- Exif (TIFF structure) ----------------------------------------------------------------------------------------


def read_exif(block: bytes) -> Fields:
    data = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return []
    names = {key: name for name, key in EXIF.items()}
    out: Fields = []
    try:
        (first,) = struct.unpack_from(order + "I", data, 4)
        pointer = _read_directory(data, order, first, 0, names, out)
        if pointer:
            _read_directory(data, order, pointer, 1, names, out)
    except struct.error:
        pass  # cut off: what was read before counts
    return out


def _read_directory(
    data: bytes, order: str, start: int, directory: int, names: dict[tuple[int, int], str], out: Fields
) -> int:
    (count,) = struct.unpack_from(order + "H", data, start)
    pointer = 0
    for index in range(min(count, 512)):
        tag, kind, number = struct.unpack_from(order + "HHI", data, start + 2 + 12 * index)
        size = _TYPE_SIZES.get(kind, 0) * number
        at = start + 10 + 12 * index
        if tag == _EXIF_POINTER and directory == 0:
            (pointer,) = struct.unpack_from(order + "I", data, at)
        name = names.get((directory, tag))
        if name is None or not 0 < size <= 65_536:
            continue
        if size > 4:
            (at,) = struct.unpack_from(order + "I", data, at)
        raw = data[at : at + size]
        if len(raw) == size:
            out.append((name, _value(raw, order, kind)))
    return pointer


def _value(raw: bytes, order: str, kind: int) -> str:
    if kind in (2, 7):
        text = raw.removeprefix(b"ASCII\0\0\0").removeprefix(b"UNICODE\0")
        return text.split(b"\0")[0].decode("utf-8", "replace").strip()
    if kind in (5, 10):
        top, bottom = struct.unpack_from(order + ("II" if kind == 5 else "ii"), raw)
        return f"{top}/{bottom}" if bottom != 1 else str(top)
    return str(struct.unpack_from(order + {1: "B", 3: "H", 4: "I", 9: "i"}[kind], raw)[0])


def upright(block: bytes) -> bytes:
    """The block with its orientation set to 1: a loaded picture stands upright, and would be turned twice otherwise."""
    return _with_numbers(block, {EXIF["Orientation"]: 1})


def sized(block: bytes, width: int, height: int) -> bytes:
    """The block with another size of the picture, where it tells one."""
    return _with_numbers(block, {(1, 0xA002): width, (1, 0xA003): height})


def _with_numbers(block: bytes, numbers: Mapping[tuple[int, int], int]) -> bytes:
    """Other values for entries that are there, by directory and tag, in their places."""
    start = 6 if block.startswith(b"Exif\0\0") else 0
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    out = bytearray(block)

    def enter(directory: int, place: int) -> int:
        pointer = 0
        (count,) = struct.unpack_from(f"{order}H", block, start + place)
        for n in range(min(count, 512)):
            at = start + place + 2 + 12 * n
            tag, kind, number = struct.unpack_from(f"{order}HHI", block, at)
            (value,) = struct.unpack_from(f"{order}I", block, at + 8)
            if directory == 0 and tag == _EXIF_POINTER:
                pointer = value
            if (directory, tag) in numbers and kind in _WHOLE and number > 0:
                at = at + 8 if number * _TYPE_SIZES[kind] <= 4 else start + value
                struct.pack_into(f"{order}{_WHOLE[kind]}", out, at, numbers[directory, tag])
        return pointer

    try:
        (first,) = struct.unpack_from(f"{order}I", block, start + 4)
        if pointer := enter(0, first):
            enter(1, pointer)
    except struct.error:
        pass  # no Exif, or cut off: nothing that a reader could go by
    return bytes(out)


Entry = tuple[int, int, int, bytes]
"""Tag, type, count, value."""


def encoded_fields(fields: Fields) -> tuple[list[Entry], list[Entry]]:
    """The entries of the image's directory and of the Exif directory."""
    directories: tuple[list[Entry], list[Entry]] = ([], [])
    for name, value in dict(fields).items():
        directory, tag = EXIF[name]
        directories[directory].append((tag, *_encoded(name, value)))
    if directories[1]:
        directories[1].append((0x9000, 7, 4, b"0232"))
    return directories


def write_exif(fields: Fields) -> bytes:
    """A little-endian block with the image's and the Exif directory, tags ascending as TIFF wants it."""
    directories = encoded_fields(fields)
    start = 8
    main = sorted(directories[0])
    length = 2 + 12 * (len(main) + bool(directories[1])) + 4
    heap_start = start + length
    main_heap = sum(_padded(raw) for *_, raw in main)
    second_start = heap_start + main_heap
    if directories[1]:
        main = sorted([*main, (_EXIF_POINTER, 4, 1, struct.pack("<I", second_start))])
    out = b"II*\0" + struct.pack("<I", 8) + _directory(main, heap_start)
    if directories[1]:
        entries = sorted(directories[1])
        out += _directory(entries, second_start + 2 + 12 * len(entries) + 4)
    return b"Exif\0\0" + out


def _padded(raw: bytes) -> int:
    return len(raw) + len(raw) % 2 if len(raw) > 4 else 0


def _directory(entries: Sequence[tuple[int, int, int, bytes]], heap_start: int) -> bytes:
    head, heap = struct.pack("<H", len(entries)), b""
    for tag, kind, count, raw in entries:
        if len(raw) > 4:
            head += struct.pack("<HHII", tag, kind, count, heap_start + len(heap))
            heap += raw + b"\0" * (len(raw) % 2)
        else:
            head += struct.pack("<HHI", tag, kind, count) + raw.ljust(4, b"\0")
    return head + b"\0\0\0\0" + heap


def _encoded(name: str, value: str) -> tuple[int, int, bytes]:
    if name in _SHORTS:
        return 3, 1, struct.pack("<H", int(Fraction(value)))
    if name in _RATIONALS:
        number = Fraction(value).limit_denominator(1_000_000)
        return 5, 1, struct.pack("<II", number.numerator, number.denominator)
    if name == "UserComment":
        raw = b"ASCII\0\0\0" + value.encode()
        return 7, len(raw), raw
    raw = value.encode() + b"\0"
    return 2, len(raw), raw


# -- IPTC (IIM in Photoshop's resource) ---------------------------------------------------------------------------


def read_iptc(block: bytes) -> Fields:
    block = iim_of(block)
    names = {number: name for name, (number, _) in IPTC.items()}
    out, position = [], 0
    while position + 5 <= len(block) and block[position] == 0x1C:
        record, dataset, size = struct.unpack_from(">BBH", block, position + 1)
        raw = block[position + 5 : position + 5 + size]
        if record == 2 and dataset in names and size < 0x8000:
            out.append((names[dataset], raw.decode("utf-8", "replace")))
        position += 5 + size
    return out


def iim_of(block: bytes) -> bytes:
    """The bare IIM records of a block that may be wrapped as in JPEG."""
    position = block.find(b"8BIM\x04\x04")
    if position < 0:
        return block
    name_length = block[position + 6] if position + 6 < len(block) else 0
    at = position + 6 + (name_length + 2) // 2 * 2
    return block[at + 4 : at + 4 + int.from_bytes(block[at : at + 4], "big")]


def wrapped(iim: bytes) -> bytes:
    """Bare IIM records (TIFF, PSD) as JPEG holds them: in a resource of Photoshop's."""
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iim)) + iim + b"\0" * (len(iim) % 2)
    return b"Photoshop 3.0\0" + resource


def find_xmp(data: bytes) -> bytes | None:
    """An XMP packet anywhere in a file, as its specification lets readers look for it (part 3, packet scanning)."""
    start = data.find(b"<x:xmpmeta")
    end = data.find(b"</x:xmpmeta>", start)
    if start < 0 or end < 0 or end - start > XML_MAX_CHARS:
        return None
    return data[start : end + len(b"</x:xmpmeta>")]


def write_iptc(fields: Fields) -> bytes:
    iim = b"\x1c\x01\x5a\x00\x03\x1b%G"  # the character set is UTF-8
    for name, value in fields:
        raw = value.encode()
        iim += struct.pack(">BBBH", 0x1C, 2, IPTC[name][0], len(raw)) + raw
    return wrapped(iim)
