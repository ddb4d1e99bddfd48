"""Formats by the first bytes of a file: those that are read, and those that are known and refused with the reason.

Pure. The name of a file says nothing: it is the address of somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.channel import Data
from dservices.mediagen.formats import tga, wbmp

READ = "JPEG, PNG, GIF, WebP, AVIF, TIFF, BMP, TGA, WBMP, SVG, PSD or PDF"
_HEAD_BYTES = 1024
_MAGIC: Mapping[bytes, str] = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"BM": "bmp",
    b"8BPS": "psd",
}


def sniff(data: Data, whole: int | None = None) -> str | None:
    """The format of a file of `whole` bytes (default: as long as `data`) that begins so, or None. The names are those
    of `getFileType`."""
    head = bytes(data[:_HEAD_BYTES])
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and any(brand in head[8:64] for brand in (b"avif", b"avis")):
        return "avif"
    if b"%PDF-" in head and not head.startswith(_POSTSCRIPT):
        return "pdf"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in bytes(data[:65536]):
        return "svg"
    length = len(data) if whole is None else whole
    if wbmp.is_wbmp(head, length):
        return "wbmp"
    if _other(head) is None and _moving(head) is None and tga.is_tga(head, length):
        return "tga"
    return None


_POSTSCRIPT = (b"%!PS", b"\x04%!PS", b"\xc5\xd0\xd3\xc6")
"""Plain, as old printers' drivers write it, and with a preview (EPS, DOS)."""


def _other(head: bytes) -> tuple[str, str] | None:
    """(name, why it is not read) of a picture format that is known and not read."""
    brands = head[8:64] if head[4:8] == b"ftyp" else b""
    if any(brand in brands for brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")):
        return "HEIC", "it is coded as HEVC, for which no decoder under a licence of ours exists; send JPEG or AVIF"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JPEG XL", "the libraries of this service have no decoder for it yet; send JPEG, WebP or AVIF"
    if head.startswith(_POSTSCRIPT):
        return "PostScript", "it is a program for an interpreter that is not shipped with this service; send PDF or SVG"
    if head.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "JPEG 2000", "its decoders are not among those that are fuzzed enough to be used here"
    if head[522:528] == b"\0\x11\x02\xff\x0c\0" or head[522:524] == b"\x11\x01":
        return "PICT", "it is a program of drawing commands of an old Macintosh; send PNG or PDF"
    if head.startswith(b"\0\0\1\0") and head[4:6] != b"\0\0" and head[9:10] == b"\0":
        return "ICO", "send the PNG or BMP that is in it"
    return None


def _moving(head: bytes) -> str | None:
    """The name of a container of sound or moving pictures."""
    brands = head[8:64] if head[4:8] == b"ftyp" else b""
    if brands and _other(head) is None and not any(brand in brands for brand in (b"avif", b"avis")):
        return "QuickTime" if brands.startswith(b"qt  ") else "MP4"
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WAVE"):
        return "AVI" if head[8:12] == b"AVI " else "WAV"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    if head[4:8] in (b"moov", b"mdat", b"wide"):
        return "QuickTime"
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6) and head[2] >> 4 not in (0, 15):
        return "MP3"
    if len(head) >= 377 and head[0] == head[188] == head[376] == 0x47:
        return "MPEG-TS"
    starts = {
        b"\x1aE\xdf\xa3": "Matroska or WebM",
        b"OggS": "Ogg",
        b"fLaC": "FLAC",
        b"ID3": "MP3",
        b"\0\0\1\xba": "MPEG",
        b"\0\0\1\xb3": "MPEG",
        b"FLV\1": "FLV",
        b"0&\xb2u\x8ef\xcf\x11": "Windows Media",
        b".snd": "AU",
        b"#!AMR": "AMR",
        b"MThd": "MIDI",
    }
    return next((name for magic, name in starts.items() if head.startswith(magic)), None)


def refusal(data: Data, shown_name: str) -> Problem:
    """What to say of a file whose format is not read: which one it is, where that is known, and why."""
    head = bytes(data[:_HEAD_BYTES])
    moving = _moving(head)
    if moving is not None:
        return Problem(
            422,
            "media_second_step",
            f"{shown_name} is {moving}: this version makes pictures, animations and documents. Sound and video are the"
            " second step: poster frames, probe, trim, scale, transcode, waveform and loudness",
            expected=READ,
        )
    other = _other(head)
    if other is not None:
        return Problem(415, "source_unsupported", f"{shown_name} is {other[0]}: {other[1]}", expected=READ)
    return Problem(415, "source_unsupported", f"{shown_name} is in no format this service reads", expected=READ)
