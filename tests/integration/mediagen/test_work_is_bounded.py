"""Work is bounded, not only pixels (G-6): processor time and memory of a request, whatever its worker did before (G-1)."""

import re
import struct
import zlib
from pathlib import Path

import pytest
import pyvips

from dservices.mediagen import limits
from dservices.mediagen.formats import apng

CPU_S = 2
LOAD = "var m = new Media(); m.load(name @ '{}'); m.scale(xs @ 100); m.save(type @ 'png');"


def pdf(content: bytes, forms: dict[str, bytes] | None = None, *, filters: bytes = b"") -> bytes:
    """One page of 600 x 800 points; each form can draw every other."""
    names = list(forms or {})
    fonts = b"<</XObject<<" + b"".join(b"/%s %d 0 R" % (name.encode(), 5 + n) for n, name in enumerate(names)) + b">>>>"
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources " + fonts + b">>",
        b"<<%s/Length %d>>stream\n%s\nendstream" % (filters, len(content), content),
        *(
            b"<</Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources %s/Length %d>>stream\n%s\nendstream"
            % (fonts, len(body), body)
            for body in (forms or {}).values()
        ),
    ]
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1) + b"".join(
        b"%010d 00000 n \n" % at for at in places
    )
    return bytes(out) + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(places) + 1, table)


def packed(pieces: int, piece: bytes) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(piece) for _ in range(pieces)) + packer.flush()


def svg(inner: str, width: int = 600, height: int = 600) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{inner}</svg>'.encode()


def svg_use(depth: int) -> bytes:
    nested = "".join(f'<g id="a{n}">' + f'<use href="#a{n - 1}"/>' * 10 + "</g>" for n in range(1, depth + 1))
    return svg(f'<defs><g id="a0"><rect width="9" height="9"/></g>{nested}</defs><use href="#a{depth}"/>')


def svg_filters() -> bytes:
    steps = "".join('<feTurbulence numOctaves="99" baseFrequency="0.9"/><feGaussianBlur stdDeviation="90"/>' * 60)
    return svg(f'<filter id="f">{steps}</filter><rect width="3000" height="3000" filter="url(#f)"/>', 3000, 3000)


def animated_png(frames: int, width: int, height: int) -> bytes:
    """Each frame is drawn whole over the one before."""
    pixels = zlib.compress((b"\0" + b"\x40\x80\xc0\x80" * width) * height, 9)
    control = lambda n: struct.pack(">IIIIIHHBB", n, width, height, 0, 0, 1, 10, 0, 1)  # noqa: E731
    chunks = [apng.chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))]
    chunks += [apng.chunk(b"acTL", struct.pack(">II", frames, 0))]
    chunks += [apng.chunk(b"fcTL", control(0)), apng.chunk(b"IDAT", pixels)]
    for n in range(1, frames):
        chunks += [apng.chunk(b"fcTL", control(2 * n - 1)), apng.chunk(b"fdAT", struct.pack(">I", 2 * n) + pixels)]
    return apng.SIGNATURE + b"".join(chunks) + apng.chunk(b"IEND", b"")


def tiff_pages(pages: int, width: int = 1, height: int = 1) -> bytes:
    strip = pyvips.Image.black(width, height * pages, bands=3).cast("uchar").copy(interpretation="srgb").copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", height)
    return bytes(strip.tiffsave_buffer())


def wide_png() -> bytes:
    row = b"\0" + b"\x12\x34" * 3 * 9_999
    head = struct.pack(">IIBBBBB", 9_999, 9_999, 16, 2, 0, 0, 0)
    chunks = apng.chunk(b"IHDR", head) + apng.chunk(b"IDAT", packed(9_999, row)) + apng.chunk(b"IEND", b"")
    return apng.SIGNATURE + chunks


CALLS = b" ".join(b"/A Do" for _ in range(10))
HOSTILE = {
    "a form that draws itself": lambda: pdf(b"/A Do", {"A": CALLS}),
    "forms ten deep": lambda: pdf(
        b"/F0 Do", {f"F{n}": b" ".join(b"/F%d Do" % (n + 1) for _ in range(10)) for n in range(10)} | {"F10": b"0 0 9 9 re f"}
    ),
    "a stream of zeros": lambda: pdf(packed(600, b"\0" * (1 << 20)), filters=b"/Filter/FlateDecode"),
    "a million strokes": lambda: pdf(
        packed(3000, b"0 0 m 600 800 l S 600 0 m 0 800 l S " * 500), filters=b"/Filter/FlateDecode"
    ),
    "svg use ten deep": lambda: svg_use(10),
    "svg filters": svg_filters,
    "svg blur": lambda: svg(
        '<filter id="f"><feGaussianBlur stdDeviation="50"/></filter><rect width="32000" height="3000" filter="url(#f)"/>',
        32_000,
        3_000,
    ),
    "svg dashes": lambda: svg('<path d="' + "M0 0L600 600L0 600L600 0" * 40_000 + '" stroke="red" stroke-dasharray=".01"/>'),
    "apng of many frames": lambda: animated_png(512, 440, 440),
    "apng of large frames": lambda: animated_png(11, 3000, 3000),
    "png of 16 bits": wide_png,
}  # fmt: skip


@pytest.fixture(scope="module")
def bounded(start_mediagen):
    return start_mediagen(CGN_MEDIAGEN_CPU_S=str(CPU_S))


def pids(rig) -> list[int]:
    text = Path(f"/proc/{rig.process.pid}/task/{rig.process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def cpu_seconds(rig) -> float:
    """Of the front's children, gone ones included."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids(rig)]
    gone = Path(f"/proc/{rig.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (sum(int(f[11]) + int(f[12]) for f in fields) + int(gone[13]) + int(gone[14])) / 100


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_costs_no_more_than_the_bound(bounded, name):
    """Refused, or made within it; what follows is right."""
    bounded.origin.add("hostile", HOSTILE[name]())
    assert bounded.alive()
    before = cpu_seconds(bounded)
    answer = bounded.run(LOAD.format("hostile"))
    assert answer.status == 200 or 400 <= answer.status < 500, answer.body[:300]
    if answer.status != 200:
        assert answer.problem["title"] in ("work_cpu", "work_failed", "work_memory", "picture_too_large", "FileMangled")
    assert bounded.alive()
    # The request, once more where a used worker was no proof, and the starts of new workers.
    assert cpu_seconds(bounded) - before < 2 * CPU_S + 6


def test_processor_time_is_said_with_its_bound(bounded):
    bounded.origin.add("hostile", HOSTILE["svg use ten deep"]())
    problem = bounded.run(LOAD.format("hostile")).problem
    assert (problem["status"], problem["title"], problem["limit_s"]) == (422, "work_cpu", CPU_S)


def test_waiting_is_no_processor_time(bounded):
    """A slow origin takes wall time, and then the picture is made."""
    answer = bounded.run(
        "var m = new Media(); try { m.load(name @ 'slow') } catch (e) { m.makeCanvas(xs @ 9, ys @ 9) } m.save(type @ 'png');"
    )
    assert answer.status == 200, answer.body


def test_many_pages_cost_what_their_number_says(bounded):
    """Twice the pages are not four times the work: all 500 of them fit a bound that a walk from the front would break."""
    for pages, name in ((250, "half.tif"), (500, "whole.tif")):
        bounded.origin.add(name, tiff_pages(pages))
    bounded.alive()
    costs = []
    for name in ("half.tif", "whole.tif"):
        before = cpu_seconds(bounded)
        answer = bounded.run(f"var m = new Media(); m.load(name @ '{name}'); m.save(type @ 'tiff');")
        assert answer.status == 200, answer.body
        costs.append(cpu_seconds(bounded) - before)
    assert costs[1] < max(1.0, 3 * costs[0])


def test_an_answer_near_the_bound_of_memory_is_the_same_whatever_came_before(start_mediagen):
    """The bound counts from what is in use, and what fails in a used worker is tried in one that is not."""
    rig = start_mediagen(CGN_MEDIAGEN_MEMORY_BYTES=str(160 << 20))
    script = "var m = new Media(); m.load(name @ 'wide.png'); m.rotate(angle @ 33); m.save(type @ 'jpeg');"
    answers: dict[int, set[int]] = {}
    for side in (1500, 4500, 5500, 6500, 9000):
        rig.origin.add("wide.png", pyvips.Image.black(side, side, bands=3).pngsave_buffer())
        for previous in (None, "large.png", "small.png"):
            if previous:
                shape = pyvips.Image.black(*((5000, 2500) if previous == "large.png" else (300, 300)))
                rig.origin.add(previous, shape.pngsave_buffer())
                rig.run(LOAD.format(previous))
            answers.setdefault(side, set()).add(rig.run(script).status)
    assert all(len(seen) == 1 for seen in answers.values()), answers
    assert answers[1500] == {200}
    assert answers[9000] == {422}
    assert rig.alive()


def test_the_soft_bound_is_what_is_in_use_and_a_request(mediagen):
    mediagen.alive()
    (pid,) = pids(mediagen)
    text = Path(f"/proc/{pid}/limits").read_text()
    soft, hard = map(int, re.search(r"Max data size\s+(\d+)\s+(\d+)", text).groups())  # type: ignore[union-attr]
    assert hard == limits.WORKER_MEMORY_BYTES
    in_use = int(Path(f"/proc/{pid}/statm").read_text().split()[5]) * 4096
    assert abs(soft - in_use - limits.WORK_MEMORY_BYTES) < 192 << 20  # contexts come and go, some 10 MiB each


@pytest.mark.parametrize(
    "ending",
    [
        "while (true) { }",
        "var m = new Media(); m.load(name @ 'endless.svg'); m.save(type @ 'png');",
    ],
)
def test_who_ends_a_process_waits_for_the_next_one(bounded, ending):
    """A miner meters the container: what a start costs is spent while the request that caused it is in flight, and the
    next one finds a worker that is up."""
    bounded.origin.add("endless.svg", svg_use(10))
    assert bounded.alive()
    before = pids(bounded)
    assert bounded.run(ending).status == 422
    after = pids(bounded)
    assert len(after) == 1 and after != before
    spent = cpu_seconds(bounded)
    assert bounded.alive()
    assert pids(bounded) == after
    assert cpu_seconds(bounded) - spent < 0.3  # a thumbnail's, not a start's
