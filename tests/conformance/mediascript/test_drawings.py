"""SVG and PDF at the size that is wanted (G-4, G-6): what has no pixels of its own is drawn where its pixels are wanted, not
enlarged from what it would have been."""

import pytest
import pyvips

SAVE = "m.save(type @ 'png', level @ 1);"
SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="16" height="12" viewBox="0 0 16 12">
<path d="M8 1 L15 11 L1 11 Z" fill="#c02040"/><circle cx="8" cy="8" r="2.5" fill="#fff"/></svg>"""


def pdf(width: int = 30, height: int = 20, pages: int = 1) -> bytes:
    """A red triangle on each page."""
    drawing = b"1 0 0 rg 0 0 m %d 0 l %d %d l f" % (width, width, height)
    kids = b" ".join(b"%d 0 R" % (4 + n) for n in range(pages))
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        b"<</Length %d>>stream\n%s\nendstream" % (len(drawing), drawing),
        *[b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents 3 0 R>>" % (width, height)] * pages,
    ]
    out = b"%PDF-1.4\n" + b"".join(b"%d 0 obj%s endobj\n" % (n, body) for n, body in enumerate(bodies, 1))
    return out + b"trailer<</Root 1 0 R/Size %d>>" % (len(bodies) + 1)


@pytest.fixture(scope="module", autouse=True)
def sources(bench):
    bench.add("icon.svg", SVG)
    bench.add("page.pdf", pdf())
    bench.add("pages.pdf", pdf(pages=3))


def far(one: pyvips.Image, other: pyvips.Image) -> float:
    assert (one.width, one.height, one.bands) == (other.width, other.height, other.bands)
    return (one - other).abs().max()


def drawn(scale: float) -> pyvips.Image:
    return pyvips.Image.svgload_buffer(SVG, scale=scale)


@pytest.mark.parametrize("alg", ["Fast", "Smooth", "Best", "OS", "Outline"])
@pytest.mark.parametrize(("factor", "size"), [(16, (256, 192)), (0.5, (8, 6)), (10, (160, 120))])
def test_an_svg_is_drawn_at_the_size_it_is_scaled_to(bench, alg, factor, size):
    made = bench.image(
        f"var m = new Media(); m.load(name @ 'icon.svg'); m.scale(xs @ {size[0]}, ys @ {size[1]}, alg @ '{alg}'); {SAVE}"
    )
    assert far(made, drawn(factor)) == 0


def test_an_svg_of_another_shape_is_still_sharp(bench):
    """Drawn at the longer side and made smaller along the other: an edge is two pixels wide, not thirty."""
    made = bench.image(f"var m = new Media(); m.load(name @ 'icon.svg'); m.scale(xs @ 512, ys @ 96); {SAVE}")
    assert (made.width, made.height) == (512, 96)
    soft = sum(0 < made(x, 84)[3] < 255 for x in range(512))
    assert soft <= 20
    once = bench.image(
        f"var m = new Media(); m.load(name @ 'icon.svg'); m.getPixel(x @ 1, y @ 1); m.crop(); m.scale(xs @ 512, ys @ 96); {SAVE}"
    )
    assert sum(0 < once(x, 84)[3] < 255 for x in range(512)) > 40  # what is enlarged from pixels, to compare with


@pytest.mark.parametrize(
    ("turn", "size"), [("m.rotate(angle @ 90);", (192, 256)), ("m.flip(axis @ 'vertical');", (256, 192))]
)
def test_turned_before_it_is_scaled(bench, turn, size):
    made = bench.image(
        f"var m = new Media(); m.load(name @ 'icon.svg'); {turn} m.scale(xs @ {size[0]}, ys @ {size[1]}); {SAVE}"
    )
    whole = drawn(16)
    assert far(made, whole.rot90() if "rotate" in turn else whole.flipver()) == 0


def test_an_svg_keeps_its_shape_and_is_put_on_a_canvas(bench):
    made = bench.image(
        f"var m = new Media(); m.load(name @ 'icon.svg'); m.scale(xs @ 200, ys @ 200, constrain @ true, padColor @ 0x00FF00, transparency @ 0); {SAVE}"
    )
    assert (made.width, made.height) == (200, 200) and made(100, 3) == [0, 255, 0, 255]
    assert far(made.crop(0, 25, 200, 150), drawn(12.5)) == 0


@pytest.mark.parametrize(("xs", "ys"), [(300, 200), (15, 10), (120, 200)])
def test_a_page_is_drawn_at_the_size_it_is_scaled_to(bench, xs, ys):
    """PDFium takes both sides: the diagonal of the triangle stays one pixel sharp whatever the shape."""
    made = bench.image(
        f"var m = new Media(); m.load(name @ 'page.pdf'); m.scale(xs @ {xs}, ys @ {ys}, alg @ 'Best'); {SAVE}"
    )
    assert (made.width, made.height) == (xs, ys)
    soft = sum(made(x, ys // 2)[1] not in (0, 255) for x in range(xs))
    assert soft <= 2 + xs // ys


def test_a_page_scaled_is_the_page_loaded_finer(bench):
    scaled = bench.image(f"var m = new Media(); m.load(name @ 'page.pdf'); m.scale(xs @ 120, ys @ 80); {SAVE}")
    fine = bench.image(f"var m = new Media(); m.load(name @ 'page.pdf', dpi @ 288); {SAVE}")
    assert far(scaled, fine) == 0


def test_what_has_been_worked_on_is_scaled_as_pixels(bench):
    """A drawing that was drawn upon is a picture like any other, and so are several pages at once."""
    start = "var m = new Media(); m.load(name @ 'page.pdf'); m.setPixel(x @ 0, y @ 0, color @ 0x0000FF);"
    made = bench.image(f"{start} m.scale(xs @ 300, ys @ 200); {SAVE}")
    assert sum(made(x, 100)[1] not in (0, 255) for x in range(300)) > 4
    for frames in ("1-3", "2"):
        made = bench.body(
            f"var m = new Media(); m.load(name @ 'pages.pdf', frames @ '{frames}'); m.scale(xs @ 60, ys @ 40); m.save(type @ 'tiff');"
        )
        assert pyvips.Image.new_from_buffer(made, "", n=-1).height == 40 * (3 if "-" in frames else 1)


def test_sizes_stay_within_their_bounds(bench):
    for name in ("icon.svg", "page.pdf"):
        problem = bench.problem(
            f"var m = new Media(); m.load(name @ '{name}'); m.scale(xs @ 20000, ys @ 20000); {SAVE}"
        )
        assert (problem.status, problem.code) == (422, "picture_too_large")


def test_a_page_that_cannot_be_read_is_refused_wherever_it_is_looked_at(bench):
    bench.add("broken.pdf", pdf().replace(b"/Type/Page/Parent", b"/Type/Pagf/Pa"))
    for work in ("", "m.scale(xs @ 9, ys @ 9);", "m.crop(xs @ 3, ys @ 3);"):
        outcome, _ = bench.outcome(f"var m = new Media(); m.load(name @ 'broken.pdf'); {work} {SAVE}")
        assert "problem" not in outcome or outcome["problem"][1] == "FileMangled"
