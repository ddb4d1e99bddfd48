"""PDF. In: pages rendered by PDFium at the size that is wanted. Out: one page a frame, each a picture that fills its
page at the picture's resolution (G-4); no date and no random id in it, so the bytes repeat (G-1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.formats.quality import QUALITY, flattened
from dservices.mediagen.picture.picture import CMYK, GRAY, Image, Picture, first_bands, mode_of


def opened(data: bytes, password: str | None) -> Any:
    """A document for `rendered`, closed when nothing holds it any more. ValueError for one that cannot be read."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data, password=password)
        document.init_forms()  # else filled-in fields are left out; this build of PDFium runs no scripts
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise Problem(422, "source_locked", "the document wants a password: load(password @ …)") from None
        raise ValueError(f"pdf: {error}") from None
    return document


def page_size(document: Any, number: int) -> tuple[float, float]:
    """Of a page (from 0), in points."""
    import pypdfium2

    try:
        width, height = document.get_page_size(number)
    except pypdfium2.PdfiumError as error:
        raise ValueError(f"pdf: {error}") from None
    return width, height


def rendered(document: Any, number: int, width: int, height: int, paper: int) -> Image:
    """A page (from 0) as RGB of that size on paper of that colour, as a reader prints it."""
    import pypdfium2
    from pypdfium2 import raw

    try:
        page = document[number]
    except pypdfium2.PdfiumError as error:
        raise ValueError(f"pdf: {error}") from None
    bitmap = pypdfium2.PdfBitmap.new_native(width, height, raw.FPDFBitmap_BGRx, rev_byteorder=True)
    try:
        bitmap.fill_rect((paper >> 16 & 255, paper >> 8 & 255, paper & 255, 255), 0, 0, width, height)
        place = (bitmap, page, 0, 0, width, height, 0, raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER)
        raw.FPDF_RenderPageBitmap(*place)
        if page.formenv:
            raw.FPDF_FFLDraw(page.formenv, *place)
        stride, pixels = bitmap.stride, bitmap.buffer  # Python's own memory, which outlives the bitmap
    finally:
        bitmap.close()
        page.close()
    image = Image.new_from_memory(pixels, stride // 4, height, 4, "uchar")
    if image.width != width:
        image = image.crop(0, 0, width, height)
    return first_bands(image, 3).copy(interpretation="srgb")


def write(picture: Picture, options: Mapping[str, Any]) -> bytes:
    """The document."""
    bodies: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for frame in picture.images:
        image = flattened(frame, picture.background)
        mode = mode_of(image)
        jpeg = bytes(image.jpegsave_buffer(Q=options["quality"] or QUALITY["pdf"], keep="none"))
        space = {GRAY: b"/DeviceGray", CMYK: b"/DeviceCMYK"}.get(mode, b"/DeviceRGB")
        # libvips writes CMYK inverted, as Adobe's programs do; the page has to be told.
        decode = b" /Decode [1 0 1 0 1 0 1 0]" if mode == CMYK else b""
        width, height = (side * 72 / dpi for side, dpi in zip((image.width, image.height), picture.dpi, strict=True))
        bodies.append(
            b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace %s"
            b" /BitsPerComponent 8%s /Filter /DCTDecode /Length %d >>\nstream\n%s\nendstream"
            % (image.width, image.height, space, decode, len(jpeg), jpeg)
        )
        content = b"q %.4f 0 0 %.4f 0 0 cm /I Do Q" % (width, height)
        bodies.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        bodies.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %.4f %.4f] /Contents %d 0 R"
            b" /Resources << /XObject << /I %d 0 R >> >> >>" % (width, height, len(bodies), len(bodies) - 1)
        )
        kids.append(b"%d 0 R" % len(bodies))
    bodies[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    information = b""
    if options["title"]:
        text = options["title"].encode("utf-16-be", "replace").hex().encode()
        bodies.append(b"<< /Title <feff%s> >>" % text)
        information = b" /Info %d 0 R" % len(bodies)
    out, offsets = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R%s >>\nstartxref\n%d\n%%%%EOF\n" % (len(bodies) + 1, information, start)
    return bytes(out)
