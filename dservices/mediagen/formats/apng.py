"""APNG, which libvips does not know: frames are cut out as PNG files of their own, decoded by libvips, and laid over
each
other as the frame controls say; and the other way round. Source: PNG specification, third edition, 11.3.6."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dservices.mediagen import limits
from dservices.mediagen.picture.blending import Ink, put
from dservices.mediagen.picture.picture import GRAY, Image, Picture, filled, mode_of, normalised, too_large, with_alpha

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"PLTE", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"sBIT")


@dataclass(slots=True)
class _Frame:
    width: int
    height: int
    left: int
    top: int
    delay_ms: int
    dispose: int
    blend: int
    data: bytearray


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, body) of each chunk; ValueError where the file is cut off or a checksum is wrong."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if length > len(data) or len(data) < at + 12 + length:
            raise ValueError("png: it ends too early")
        if zlib.crc32(kind + body) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            raise ValueError("png: a checksum is wrong")
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + length
    raise ValueError("png: it ends too early")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def load_apng(data: bytes) -> Picture:
    header, kept, frames, loops, declared = b"", b"", [], 0, 0
    current: _Frame | None = None
    for kind, body in chunks(data):
        if kind == b"IHDR":
            header = body
        elif kind == b"acTL":
            declared, loops = struct.unpack(">II", body)
        elif kind in _KEPT:
            kept += chunk(kind, body)
        elif kind == b"fcTL":
            if len(frames) >= limits.FRAMES_MAX:
                raise too_large()
            _, width, height, left, top, number, denominator, dispose, blend = struct.unpack(">IIIIIHHBB", body)
            current = _Frame(
                width, height, left, top, round(1000 * number / (denominator or 100)), dispose, blend, bytearray()
            )
            frames.append(current)
        elif kind == b"IDAT" and current is not None:
            current.data += body
        elif kind == b"fdAT" and current is not None:
            current.data += body[4:]
    if len(header) != 13 or not frames or declared != len(frames):
        raise ValueError("png: the animation is incomplete")
    width, height = struct.unpack_from(">II", header)
    if width > limits.SIDE_MAX or height > limits.SIDE_MAX or width * height * len(frames) > limits.PIXELS_MAX:
        raise too_large()
    return Picture(
        images=tuple(_composed(frames, header, kept, width, height)),
        delays=tuple(frame.delay_ms for frame in frames),
        loop=loops,
        file_type="png",
    )


def _composed(frames: list[_Frame], header: bytes, kept: bytes, width: int, height: int) -> list[Image]:
    canvas = filled(width, height, [0, 0, 0, 0], "srgb")
    out = []
    for frame in frames:
        if frame.left + frame.width > width or frame.top + frame.height > height or not frame.width or not frame.height:
            raise ValueError("png: a frame lies outside the picture")
        png = SIGNATURE + chunk(b"IHDR", struct.pack(">II", frame.width, frame.height) + header[8:]) + kept
        png += chunk(b"IDAT", bytes(frame.data)) + chunk(b"IEND", b"")
        image = with_alpha(normalised(Image.new_from_buffer(png, "", fail_on="error")))
        before = canvas
        if frame.blend == 0:
            canvas = canvas.insert(image, frame.left, frame.top).copy(interpretation="srgb")
        else:
            canvas = put(canvas, image, frame.left, frame.top, Ink())
        canvas = canvas.copy_memory()
        out.append(canvas)
        if frame.dispose == 1:
            clear = filled(frame.width, frame.height, [0, 0, 0, 0], "srgb")
            canvas = canvas.insert(clear, frame.left, frame.top).copy(interpretation="srgb")
        elif frame.dispose == 2:
            canvas = before
    return out


def save_apng(picture: Picture, options: Mapping[str, Any]) -> bytes:
    """Every frame whole, with alpha; equal frames one after the other become one with their delays added."""
    frames: list[tuple[bytes, bytes, int]] = []
    delays = list(picture.delays) or [100] * len(picture.images)
    for image, delay in zip(picture.images, delays, strict=True):
        rgba = with_alpha(
            image if mode_of(image) != GRAY else image.bandjoin([image, image]).copy(interpretation="srgb")
        )
        png = bytes(rgba.pngsave_buffer(compression=options["level"], filter="sub", keep="none"))
        parts = list(chunks(png))
        body = b"".join(data for kind, data in parts if kind == b"IDAT")
        if frames and frames[-1][1] == body:
            frames[-1] = (frames[-1][0], body, frames[-1][2] + delay)
        else:
            frames.append((next(data for kind, data in parts if kind == b"IHDR"), body, delay))
    header = frames[0][0]
    width, height = struct.unpack_from(">II", header)
    out = SIGNATURE + chunk(b"IHDR", header) + chunk(b"acTL", struct.pack(">II", len(frames), picture.loop))
    sequence = 0
    for index, (_, body, delay) in enumerate(frames):
        out += chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, width, height, 0, 0, min(delay, 65_535), 1000, 0, 0))
        sequence += 1
        if index == 0:
            out += chunk(b"IDAT", body)
        else:
            out += chunk(b"fdAT", struct.pack(">I", sequence) + body)
            sequence += 1
    return out + chunk(b"IEND", b"")
