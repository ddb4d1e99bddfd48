"""From bytes to a picture: the type from the content, the header before the pixels, the limits before both.

Only formats that libvips' maintainers fuzz, PDFium for PDF, libjpeg-turbo (`jpeg`) and small readers of ours
(`bmp`, `tga`, `wbmp`, `apng`) are used; the type is never taken from the name. Everything runs in a worker that may
die of it (G-6).
"""

from __future__ import annotations

import contextlib
import functools
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyvips
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.channel import Data
from dservices.mediagen.formats import apng, avif, bmp, jpeg, metadata, pdf, psd, tga, tiff, wbmp
from dservices.mediagen.formats.problems import mangled
from dservices.mediagen.formats.recognised import refusal, sniff
from dservices.mediagen.language.values import frame_numbers
from dservices.mediagen.picture.geometry import EXIF_TURNS, Turn
from dservices.mediagen.picture.picture import (
    RGB,
    Frames,
    Image,
    Picture,
    Strip,
    Undecoded,
    mode_of,
    normalised,
    seen_as,
    too_large,
    turned,
)

PDF_RENDER_MAX_PIXELS = 64_000_000
"""Of one page; PDFium draws into one block of memory."""
SVG_MAX_BYTES = 8 << 20
"""SVG is a program for a renderer: large ones are bombs more often than drawings."""


def load(data: Data, shown_name: str, options: Mapping[str, Any]) -> Picture:
    """The picture in `data`. Problem 415 for a format we do not read, 422 for a mangled or too large one."""
    kind = sniff(data)
    if kind is None:
        raise refusal(data, shown_name)
    wanted = options.get("type")
    if wanted is not None and not options["detect"] and _family(wanted) != _family(kind):
        raise Problem(
            422, "FileTypeWrong", f"{shown_name} is {kind}, not {wanted}", expected="detect @ true, or the right type"
        )
    try:
        if kind == "pdf":
            return _load_pdf(data[:], options, shown_name)
        if kind in _OWN:
            return _OWN[kind](data[:])
        if kind == "psd":
            return psd.load(data[:], options)
        if kind == "png" and _is_animated_png(data):
            return apng.load_apng(data[:])
        return _load_vips(data, kind, options)
    except pyvips.Error as error:
        raise mangled(shown_name, kind, error) from None
    except (ValueError, EOFError, struct.error) as error:
        raise mangled(shown_name, kind, error) from None


_OWN: Mapping[str, Callable[[bytes], Picture]] = {"bmp": bmp.load, "tga": tga.load, "wbmp": wbmp.load}
"""Small strict readers of ours, of formats that libvips' wheel does not decode."""


def _is_animated_png(data: Data) -> bool:
    """Whether an acTL chunk stands before the pixels (PNG specification, third edition, 11.3.6.1): the chunks are
    walked by their lengths, since those four letters may stand anywhere in text or pixels."""
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind in (b"acTL", b"IDAT"):
            return kind == b"acTL"
        at += 12 + length
    return False


def _family(name: str) -> str:
    return {"jpg": "jpeg", "jpe": "jpeg", "tif": "tiff"}.get(name.lower(), name.lower())


def _check_frames(frames: int) -> None:
    if frames > limits.FRAMES_MAX:
        raise Problem(
            422, "picture_too_large", f"at most {limits.FRAMES_MAX} frames or pages can be loaded, this has {frames}"
        )


def _check_size(width: int, height: int, frames: int = 1) -> None:
    if not (0 < width <= limits.SIDE_MAX and 0 < height <= limits.SIDE_MAX):
        raise Problem(
            422,
            "picture_too_large",
            f"width and height may be 1 to {limits.SIDE_MAX} pixels, this has {width} x {height}",
        )
    _check_frames(frames)
    if width * height * frames > limits.PIXELS_MAX:
        raise too_large()


def _opened(data: Data, kind: str, **options: Any) -> Image:
    """Reads from where the bytes are; `new_from_buffer` would copy them first. The decoder is the one of the sniffed
    kind and no other, whatever else might take the bytes for its own."""
    source = pyvips.Source.new_from_memory(data)
    image = getattr(Image, _LOADERS[kind])(source, **options)
    image._references.append(source)  # pyvips does so for `new_from_source` alone
    return image


_LOADERS = {
    "jpeg": "jpegload_source",
    "png": "pngload_source",
    "gif": "gifload_source",
    "webp": "webpload_source",
    "avif": "heifload_source",
    "tiff": "tiffload_source",
}


def _header(image: Image, name: str, default: Any = None) -> Any:
    return image.get(name) if image.get_typeof(name) else default


def _orientation(header: Image, kind: str) -> int:
    """How the picture is to be turned (Exif 2.32, 0x0112); libvips hands on PNG's Exif block unread."""
    if kind != "png" or not header.get_typeof("exif-data"):
        return int(_header(header, "orientation", 1))
    found = dict(metadata.read_exif(bytes(header.get("exif-data")))).get("Orientation", "1")
    return int(found) if found.isascii() and found.isdigit() else 1


def _header_of(data: Data, kind: str, safe: dict[str, Any]) -> Image:
    if kind in ("gif", "webp"):  # frames of one size: what tells of the first can hold them all, below each other
        with contextlib.suppress(pyvips.Error):  # more lines than an image may have: the first one's size says so
            return _opened(data, kind, n=-1, **safe)
    return _opened(data, kind, **safe)


def _load_vips(data: Data, kind: str, options: Mapping[str, Any]) -> Picture:
    if kind == "svg":
        return _load_svg(data, options)
    safe: dict[str, Any] = {"fail_on": "error"}
    header = _header_of(data, kind, safe)
    pages = int(_header(header, "n-pages", 1))
    animated = kind in ("gif", "webp", "tiff", "avif") and pages > 1
    _check_size(header.width, int(_header(header, "page-height", header.height)), pages if animated else 1)
    facts = _facts(header, kind, data, options)
    if animated:
        return _load_pages(data, kind, pages, header, safe, options, facts)
    if kind == "avif":  # the decoder applies the container's own turn and keeps the tag
        return Picture(undecoded=_undecoded(data, header, Turn(), safe, kind=kind), **facts)
    turn = EXIF_TURNS.get(_orientation(header, kind), Turn())
    return Picture(undecoded=_undecoded(data, header, turn, safe, kind=kind), **facts)


def _read_as(data: Data, kind: str) -> Callable[[Image], Image]:
    """What makes a decoded image of this file one of the five modes."""
    if kind != "avif" or not avif.is_studio_gray(data[:]):
        return normalised

    def expanded(image: Image) -> Image:
        image = normalised(image)
        alpha = image.bands == 4
        colours = image.extract_band(0, n=3) if alpha else image
        colours = ((colours - 16) * (255 / 219)).rint().cast("uchar")
        return seen_as(colours.bandjoin(image[3]) if alpha else colours, image.interpretation)

    return expanded


def _undecoded(data: Data, header: Image, turn: Turn, safe: dict[str, Any], *, kind: str) -> Undecoded:
    plain = header.format == "uchar" and header.interpretation in ("srgb", "b-w") and header.bands in (1, 3, 4)

    def shrunk(width: int, height: int, coarse: bool) -> Undecoded:
        lines, at_hand = shrunk_lines(data, header, kind, width, height, coarse)

        @functools.cache
        def whole() -> Image:
            return lines.copy_memory()

        def again(once: bool) -> Image:
            return lines if once and at_hand else whole()

        if not at_hand:
            whole()  # a damaged source is noticed where it is scaled
        return Undecoded(width, height, mode, Turn(), again, None)

    read = _read_as(data, kind)

    def opened(once: bool) -> Image:
        return read(_opened(data, kind, access="sequential", **safe) if once else header)

    # A mode other than RGB is known only after conversion; asking for it needs the header alone.
    mode = mode_of(header if plain else normalised(header))
    shrinks = plain and kind in ("jpeg", "webp", "png")
    return Undecoded(header.width, header.height, mode, turn, opened, shrunk if shrinks else None)


def shrunk_lines(data: Data, header: Image, kind: str, width: int, height: int, coarse: bool) -> tuple[Image, bool]:
    """A source decoded to a size (see `Undecoded.shrunk`), and whether its lines come out of memory: if not, they can
    be read once and in order."""
    at_hand = None
    if coarse and kind == "jpeg":
        factor = jpeg_shrink(header.width, header.height, width, height)
        at_hand = jpeg.shrunk(data, header, factor)
        image = at_hand
        if image is None:
            image = _opened(data, kind, shrink=factor, access="sequential", fail_on="error")
        if (image.width, image.height) != (width, height):
            image = image.resize(width / image.width, vscale=height / image.height)
        if (image.width, image.height) != (width, height):  # libvips rounds on its own; a missing line is repeated
            image = image.embed(0, 0, width, height, extend="copy")
    else:
        if kind == "jpeg":  # the last halving is left to the kernel
            at_hand = jpeg.shrunk(data, header, jpeg_shrink(header.width // 2, header.height // 2, width, height))
        image = _thumbnail(data, header, kind, width, height, at_hand)
    return normalised(image), at_hand is not None


def _thumbnail(data: Data, header: Image, kind: str, width: int, height: int, at_hand: Image | None) -> Image:
    """A source at that size by libvips' thumbnail; `at_hand` are its pixels, if they are there."""
    if kind == "webp":
        source = pyvips.Source.new_from_memory(data)
        image = Image.thumbnail_source(source, width, height=height, size="force", no_rotate=True, fail_on="error")
        image._references.append(source)
        return image
    # The same in two steps, to the byte: `thumbnail_source` does not hand `fail_on` to the decoders of PNG and JPEG,
    # and makes a half-black picture of a file that is cut off.
    options: dict[str, Any] = {"access": "sequential", "fail_on": "error"}
    if kind == "jpeg":
        options["shrink"] = jpeg_shrink(header.width // 2, header.height // 2, width, height)
    image = at_hand if at_hand is not None else _opened(data, kind, **options)
    return image.thumbnail_image(width, height=height, size="force", no_rotate=True)


def jpeg_shrink(width: int, height: int, wanted_width: int, wanted_height: int) -> int:
    """How far the JPEG decoder may shrink by itself (1, 2, 4 or 8) without falling below the wanted size. A rest at the
    right and lower edge that fills no pixel is dropped by the decoder."""
    return next((n for n in (8, 4, 2) if width // n >= wanted_width and height // n >= wanted_height), 1)


def _facts(header: Image, kind: str, data: Data, options: Mapping[str, Any]) -> dict[str, Any]:
    """What travels with the picture: resolution, profile, metadata if asked for."""
    resolution = (header.xres * 25.4, header.yres * 25.4)
    # libvips says 1 pixel/mm for "not given" (reference 3.3: resolution 0 counts as 72).
    dpi = tuple(72.0 if abs(value - 25.4) < 0.01 or value <= 0 else round(value, 2) for value in resolution)
    facts: dict[str, Any] = {"dpi": dpi, "file_type": kind}
    profile = _header(header, "icc-profile-data")
    if profile:
        facts["profile"] = bytes(profile)
    if options.get("loadmetadata"):
        blocks = {"Exif": "exif-data", "IPTC": "iptc-data", "XMP": "xmp-data"}
        found = {name: bytes(_header(header, field)) for name, field in blocks.items() if _header(header, field)}
        facts["metadata"] = _whole_metadata(found, kind, data)
    return facts


def _whole_metadata(found: dict[str, bytes], kind: str, data: Data) -> dict[str, bytes]:
    """What libvips found, and what only we find: Exif in TIFF's own directory, XMP in GIF (reference 3.8)."""
    if kind == "tiff":
        exif = tiff.exif_of(data[:])
        if exif is not None:
            found["Exif"] = exif
        if "IPTC" in found and b"8BIM" not in found["IPTC"]:
            found["IPTC"] = metadata.wrapped(found["IPTC"])
    if kind == "gif" and "XMP" not in found:
        packet = metadata.find_xmp(data[:])
        if packet is not None:
            found["XMP"] = packet
    if "Exif" in found:
        found["Exif"] = metadata.upright(found["Exif"])
    return found


def _load_pages(
    data: Data,
    kind: str,
    pages: int,
    header: Image,
    safe: dict[str, Any],
    options: Mapping[str, Any],
    facts: dict[str, Any],
) -> Picture:
    spans = options.get("frames") or options.get("frame")
    chosen = frame_numbers(spans, pages) if spans else list(range(pages))
    if not chosen:
        raise Problem(
            422,
            "bad_parameter",
            "load, frames: the list names no frame of this file",
            parameter="frames",
            expected=f"frames from 1 to {pages}",
        )
    if kind == "tiff":
        strip_of_pages = _tiff_strip(data, chosen, header, safe)
        if strip_of_pages is not None:
            return Picture(images=strip_of_pages, **facts)
        images = []  # pages that differ in size or kind: each is looked for from the front
        for number in chosen:
            page = _opened(data, kind, page=number, **safe)
            _check_size(page.width, page.height, len(chosen))
            turn = EXIF_TURNS.get(int(_header(page, "orientation", 1)), Turn())
            images.append(turned(normalised(page), turn))
        return Picture(images=tuple(images), **facts)

    read = _read_as(data, kind)

    def whole(access: str) -> Image:
        return read(_opened(data, kind, n=-1, access=access, **safe))

    # Frames are cut out of one strip, which is decoded into memory when the first of them is read.
    height = int(_header(header, "page-height", header.height))
    strip = read(header) if header.height == pages * height else whole("random")
    delays = _header(header, "delay", [100] * pages)
    images = Frames(strip, height, chosen)
    return Picture(
        images=images,
        strip=Strip(images, lambda: whole("sequential")) if chosen == list(range(pages)) else None,
        delays=tuple(int(delays[number]) if number < len(delays) else 100 for number in chosen),
        loop=int(_header(header, "loop", 0)),
        **facts,
    )


def _tiff_strip(data: Data, chosen: Sequence[int], header: Image, safe: dict[str, Any]) -> tuple[Image, ...] | None:
    """The chosen pages cut out of one image, which reads the file once; None where they are not all of one kind.

    Nor where they have palettes: reading on from page to page, libvips shows all of them in the last one's colours.
    """
    low, high = min(chosen), max(chosen)
    known = tiff.pages(data[:])
    if (
        any(page.palette for page in known)
        or low == high
        or header.width * header.height * (high - low + 1) > limits.PIXELS_MAX
    ):
        return None
    try:
        strip = _opened(data, "tiff", page=low, n=high - low + 1, **safe)
    except pyvips.Error:
        return None
    height = int(_header(strip, "page-height", strip.height))
    _check_size(strip.width, height, len(chosen))
    turns = [EXIF_TURNS.get(orientation, Turn()) for orientation, _ in known]
    turns += [Turn()] * (high + 1 - len(turns))
    frames = Frames(normalised(strip), height, [number - low for number in chosen])
    return tuple(turned(frame, turns[number]) for frame, number in zip(frames, chosen, strict=True))


def _load_svg(data: Data, options: Mapping[str, Any]) -> Picture:
    if len(data) > SVG_MAX_BYTES:
        raise Problem(422, "picture_too_large", f"an SVG may have at most {SVG_MAX_BYTES} bytes")
    dpi = float(options["dpi"])
    header = Image.svgload_buffer(data, dpi=dpi)
    _check_size(header.width, header.height)

    def rendered(width: int, height: int, coarse: bool) -> Undecoded:
        image = _drawn(data, dpi, header, width, height)
        return Undecoded(width, height, mode_of(image), Turn(), lambda once: image, None)

    image = normalised(header)
    undecoded = Undecoded(header.width, header.height, mode_of(image), Turn(), lambda once: image, rendered, True)
    return Picture(undecoded=undecoded, dpi=(dpi, dpi), file_type="svg")


def _drawn(data: Data, dpi: float, header: Image, width: int, height: int) -> Image:
    """An SVG at exactly that size. librsvg knows one factor for both sides and rounds on its own: what is left over is
    made smaller."""
    factor = max(width / header.width, height / header.height)
    image = header
    for _ in range(2):  # the second time by what rounding has shown
        image = Image.svgload_buffer(data, dpi=dpi, scale=factor)
        across, down = width / image.width, height / image.height
        if max(across, down) == 1:
            break
        factor *= max(across, down)
    image = normalised(image)
    if (image.width, image.height) == (width, height):
        return image
    shrunk = image.premultiply().resize(width / image.width, vscale=height / image.height, kernel="lanczos3")
    shrunk = shrunk.unpremultiply().rint().cast("uchar")
    if (shrunk.width, shrunk.height) != (width, height):
        shrunk = shrunk.embed(0, 0, width, height, extend="copy")
    return shrunk.copy(interpretation="srgb")


def _load_pdf(data: bytes, options: Mapping[str, Any], shown_name: str) -> Picture:
    """Pages as RGB pictures at `dpi` (3.1): several are rendered one by one, a single one when its pixels are wanted,
    at the size that is wanted then."""
    document = pdf.opened(data, options.get("password"))
    count = len(document)
    spans: Sequence[tuple[int, int, int]] = options.get("frames") or options.get("frame") or ((1, 1, 1),)
    chosen = frame_numbers(spans, count)
    if not chosen:
        raise Problem(
            422,
            "bad_parameter",
            f"load, frames: the document has {count} pages",
            parameter="frames",
            expected=f"pages from 1 to {count}",
        )
    _check_frames(len(chosen))
    dpi = float(options["dpi"])
    sizes = []
    for number in chosen:
        width, height = (max(1, math.ceil(side * dpi / 72)) for side in pdf.page_size(document, number))
        _check_size(width, height)
        sizes.append((width, height))
    if sum(width * height for width, height in sizes) > limits.PIXELS_MAX:
        raise too_large()

    def rendered(number: int, width: int, height: int) -> Image:
        if width * height > PDF_RENDER_MAX_PIXELS:
            raise too_large()
        try:
            return pdf.rendered(document, number, width, height, options["fillcolor"])
        except ValueError as error:
            raise mangled(shown_name, "pdf", error) from None

    facts: dict[str, Any] = {"dpi": (dpi, dpi), "file_type": "pdf"}
    if options.get("loadmetadata") and (packet := metadata.find_xmp(data)) is not None:
        facts["metadata"] = {"XMP": packet}
    if len(chosen) == 1:
        return Picture(undecoded=_page(functools.partial(rendered, chosen[0]), *sizes[0]), **facts)
    images = [rendered(number, *size) for number, size in zip(chosen, sizes, strict=True)]
    return Picture(images=tuple(images), **facts)


def _page(render: Callable[[int, int], Image], width: int, height: int) -> Undecoded:
    """A page that is rendered when its pixels are wanted."""

    def at(width: int, height: int, coarse: bool = False) -> Undecoded:
        @functools.cache
        def image() -> Image:
            return render(width, height)

        return Undecoded(width, height, RGB, Turn(), lambda once: image(), None)

    return replace(at(width, height), shrunk=at, drawing=True)
