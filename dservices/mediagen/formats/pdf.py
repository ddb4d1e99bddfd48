"""PDF out: one page a frame, each a picture that fills its page at the picture's resolution (G-4). Pure but for the
JPEG
encoder; no date and no random id in it, so the bytes repeat (G-1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dservices.mediagen.formats.quality import QUALITY, flattened
from dservices.mediagen.picture.picture import CMYK, GRAY, Picture, mode_of


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
