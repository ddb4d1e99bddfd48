"""Sample media for the demo, the gallery and the benchmarks, made here so that nothing has to be shipped:
`python -m dservices.mediagen.samples DIR` writes `photo.jpg` (4000 x 3000, a landscape), `document.pdf` (3 pages) and
the
demo's two scripts. A second run finds them and does nothing. The same bytes every time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 4000, 3000
VERSION = "1"
"""Grows when a sample changes; samples of another version are made again."""

PHOTO_SCRIPT = """\
// Scales a photograph, turns it a little and writes a line of text on it.
// MRL: /mgen/io?script=http://HOST/photo.ms&name=photo.jpg&width=800&text=Hello
function main() {
  var photo = new Media();
  photo.load(name @ req.getParameter("name") || "photo.jpg");
  photo.scale(xs @ req.getParameter("width") || 1200, constrain @ true);
  photo.rotate(angle @ req.getParameter("angle") || -3, padColor @ 0xFFFFFF);
  photo.drawText(text @ req.getParameter("text") || "Compute Generation Network",
                 font @ "Source Sans Pro", style @ "Bold", size @ 40, color @ 0xFFFFFF,
                 x @ photo.getWidth() / 2, y @ photo.getHeight() - 90, handleY @ "bottom");
  photo.save(type @ "jpeg", quality @ 85);
}
"""
PAGE_SCRIPT = """\
// One page of a PDF as a picture.
// MRL: /mgen/io?script=http://HOST/page.ms&name=document.pdf&page=2&dpi=110
function main() {
  var page = new Media();
  page.load(name @ req.getParameter("name") || "document.pdf",
            frames @ req.getParameter("page") || 1, dpi @ req.getParameter("dpi") || 110);
  page.save(type @ "png");
}
"""


def octaves(width: int, height: int, cell: int, count: int, seed: int) -> Any:
    """Sum of Perlin noises, about -1 to 1."""
    import pyvips

    total: Any = 0
    for octave in range(count):
        size = max(4, cell >> octave)
        total = pyvips.Image.perlin(width, height, cell_size=size, seed=seed + octave) * 0.5**octave + total
    return total


def landscape(width: int = WIDTH, height: int = HEIGHT) -> Any:
    """A sky with clouds and a sun, four ranges of hills fading into haze, a meadow; grain over everything."""
    import pyvips

    image = pyvips.Image
    at = image.xyz(width, height).cast("float")
    x, y = at[0] / width, at[1] / height
    sky = (1 - y).bandjoin([1 - y * 0.55, 1 - y * 0.18]) * [-70, -25, 25] + [150, 165, 205]
    clouds = octaves(width, height, width // 5, 6, 11)
    veil = ((clouds + 0.15) * 1.6).cast("float")
    veil = (veil > 0).ifthenelse((veil > 1).ifthenelse(1, veil), 0) * (1 - y * 1.6 > 0).ifthenelse(1 - y * 1.6, 0)
    picture = sky * (1 - veil) + veil * [250, 246, 240]
    distance = ((x - 0.72) ** 2 * (width / height) ** 2 + (y - 0.2) ** 2) ** 0.5
    glow = (distance * -14).exp() * 190 + (distance < 0.03).ifthenelse(255, 0)
    picture = picture + glow.bandjoin([glow * 0.85, glow * 0.5])
    for index in range(4):
        base = 0.46 + index * 0.1
        ridge = octaves(width, 8, max(64, width >> (1 + index)), 7, 40 + 9 * index).crop(0, 0, width, 1)
        ridge = (ridge * (0.075 + 0.01 * index) + base).embed(0, 0, width, height, extend="copy")
        texture = octaves(width, height, 220 >> index, 5, 90 + 7 * index)
        haze = 0.72 - 0.22 * index
        shade = texture * (14 + 8 * index) + (y - base) * -90
        hill = shade.bandjoin([shade * 1.1, shade * 0.8])
        keep, ground = 1 - haze, (52 - 4 * index, 84 + 10 * index, 58 - 8 * index)
        far = (168 * haze, 188 * haze, 214 * haze)
        hill = hill.linear([keep] * 3, [keep * near + mist for near, mist in zip(ground, far, strict=True)])
        picture = (y > ridge).ifthenelse(hill, picture)
    grain = image.gaussnoise(width, height, mean=0, sigma=5, seed=7)
    picture = picture + grain.bandjoin([grain, grain])
    return picture.cast("uchar").copy(interpretation="srgb", xres=72 / 25.4, yres=72 / 25.4)


def document(pages: Sequence[Sequence[tuple[float, float, float, str]]]) -> bytes:
    """A small PDF 1.4 with text in the standard Helvetica and some vector graphics; lines are (x, y, size, text)
    in points.
    """
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    for number, lines in enumerate(pages):
        content = [
            f"0.12 0.29 0.49 rg 0 {802 - 6 * number} 595 40 re f",
            "0.9 0.55 0.1 RG 3 w 60 90 m 180 170 l 300 120 l 420 210 l 535 160 l S",
        ]
        for bar in range(6):
            content.append(
                f"{0.2 + bar * 0.1:.2f} {0.5 - bar * 0.05:.2f} 0.7 rg"
                f" {80 + bar * 75} 250 45 {40 + 37 * ((bar * 3 + number) % 5)} re f"
            )
        for x, y, size, text in lines:
            safe = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            content.append(f"BT 0.1 0.1 0.1 rg /F1 {size:g} Tf {x:g} {y:g} Td ({safe}) Tj ET")
        stream = "\n".join(content).encode("cp1252")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def pages() -> list[list[tuple[float, float, float, str]]]:
    """Three pages for `document`: lines of (x, y, size in points, text)."""
    titles = (
        "Generated media, one request at a time",
        "How a request crosses the network",
        "What a row in the ledger says",
    )
    body = (
        "A page of text and vectors, rendered to pixels by a worker in its own process.",
        "The same address gives the same bytes, wherever it is computed.",
        "Payment follows use: what was computed is what is settled.",
    )
    made = []
    for number, title in enumerate(titles, 1):
        lines: list[tuple[float, float, float, str]] = [
            (60, 740, 24, title),
            (60, 40, 9, f"page {number} of {len(titles)}"),
        ]
        lines += [(60, 700 - 18 * index, 12, body[(index + number) % 3]) for index in range(9)]
        made.append(lines)
    return made


def make(folder: Path) -> list[Path]:
    """Writes what is missing; returns the four paths."""
    folder.mkdir(parents=True, exist_ok=True)
    photo, paper = folder / "photo.jpg", folder / "document.pdf"
    scripts = {folder / "photo.ms": PHOTO_SCRIPT, folder / "page.ms": PAGE_SCRIPT}
    stamp = folder / ".version"
    current = stamp.exists() and stamp.read_text() == VERSION
    if not (current and photo.exists()):
        draft = folder / f".photo.{os.getpid()}.jpg"
        landscape().jpegsave(str(draft), Q=90, keep="none")
        draft.replace(photo)
    if not (current and paper.exists()):
        paper.write_bytes(document(pages()))
    for path, text in scripts.items():
        path.write_text(text, "utf-8")
    stamp.write_text(VERSION)
    return [photo, paper, *scripts]


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m dservices.mediagen.samples DIR", file=sys.stderr)
        return 2
    for path in make(Path(sys.argv[1])):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
