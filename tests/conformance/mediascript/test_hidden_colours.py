"""What alpha hides takes no part (G-4): filters that look at neighbours see what is to be seen. And what is enlarged stays
where it was."""

import PIL.Image
import pytest
import pyvips

DISC = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle cx="20" cy="20" r="12" fill="#ff0000"/></svg>'
FILTERS = {
    "convolve": "matrix @ '1,1,1,1,1,1,1,1,1'",
    "convolve to sharpen": "matrix @ '0,-1,0,-1,5,-1,0,-1,0'",
    "otherMinimum": "radius @ 2",
    "otherMaximum": "radius @ 2",
    "sharpenSharpen": "",
    "sharpenSharpenMore": "",
    "sharpenUnsharpMask": "radius @ 2",
    "stylizeDiffuse": "",
    "stylizeDiffuse darken": "mode @ 'darken'",
    "blur": "radius @ 2",
    "blurGaussianBlur": "radius @ 2",
    "pixellateFragment": "",
}


def disc(hidden: int) -> bytes:
    """A red disc; behind its transparent surroundings a colour that nobody sees."""
    image = pyvips.Image.svgload_buffer(DISC)
    colour = [hidden >> 16, hidden >> 8 & 255, hidden & 255]
    rgb = (image[3] > 0).ifthenelse([255, 0, 0], colour)
    return bytes(rgb.bandjoin(image[3]).cast("uchar").copy(interpretation="srgb").pngsave_buffer())


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("hidden", [0x000000, 0x00FF00, 0xFFFFFF])
def test_a_red_disc_stays_red_whatever_its_surroundings_hide(bench, name, hidden):
    bench.add("disc.png", disc(hidden))
    made = bench.picture(
        f"var m = new Media(); m.load(name @ 'disc.png'); m.{name.split()[0]}({FILTERS[name]}); m.save(type @ 'png');"
    )
    seen = {pixel[:3] for row in made for pixel in row if pixel[3] > 0}
    assert all(r >= 250 and g <= 3 and b <= 3 for r, g, b in seen), sorted(seen)[:5]


@pytest.mark.parametrize(
    "name", ["otherHighPass radius @ 3", "stylizeEmboss", "stylizeFindEdges", "stylizeTraceContour"]
)
def test_two_pictures_that_look_the_same_come_out_the_same(bench, name):
    seen = []
    for hidden in (0x000000, 0x00FF00, 0xFFFFFF):
        bench.add("disc.png", disc(hidden))
        method, _, options = name.partition(" ")
        made = bench.picture(
            f"var m = new Media(); m.load(name @ 'disc.png'); m.{method}({options}); m.save(type @ 'png');"
        )
        seen.append([pixel if pixel[3] else None for row in made for pixel in row])
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("name", [*FILTERS, "otherHighPass"])
def test_where_nothing_is_hidden_alpha_makes_no_difference(bench, name):
    image = pyvips.Image.xyz(30, 20)
    rgb = (
        (image[0] * 8).bandjoin([image[1] * 12, (image[0] * image[1]) % 251]).cast("uchar").copy(interpretation="srgb")
    )
    bench.add("plain.png", rgb.pngsave_buffer())
    call = f"m.{name.split()[0]}({FILTERS.get(name, '')});"
    script = "var m = new Media(); m.load(name @ 'plain.png'); {} m.save(type @ 'png');"
    plain = bench.picture(script.format(call))
    clear = bench.picture(script.format("m.convert(rtype @ 'rgba'); " + call))
    far = max(
        abs(a - b)
        for x, y in zip(plain, clear, strict=True)
        for p, q in zip(x, y, strict=True)
        for a, b in zip(p, q[:3], strict=True)
    )
    assert far <= 1
    assert all(pixel[3] == 255 for row in clear for pixel in row)


def centroid(rows) -> tuple[float, float]:
    weight = sum(pixel[0] for row in rows for pixel in row)
    return (
        sum(x * pixel[0] for row in rows for x, pixel in enumerate(row)) / weight,
        sum(y * pixel[0] for y, row in enumerate(rows) for pixel in row) / weight,
    )


@pytest.mark.parametrize("alg", ["Fast", "Smooth", "Best"])
@pytest.mark.parametrize(("xs", "ys"), [(84, 44), (63, 22), (21, 55), (42, 5), (30, 40)])
def test_what_is_enlarged_stays_in_its_place(bench, alg, xs, ys):
    """A dot lies where it lies in Pillow, along each side."""
    image = PIL.Image.new("L", (21, 11))
    image.putpixel((10, 5), 255)
    bench.add(
        "dot.png",
        pyvips.Image.new_from_memory(image.tobytes(), 21, 11, 1, "uchar").copy(interpretation="b-w").pngsave_buffer(),
    )
    made = bench.picture(
        f"var m = new Media(); m.load(name @ 'dot.png'); m.scale(xs @ {xs}, ys @ {ys}, alg @ '{alg}'); m.save(type @ 'png');"
    )
    wanted = image.resize((xs, ys), PIL.Image.Resampling.BICUBIC)
    data = wanted.tobytes()
    there = centroid([[(data[y * xs + x],) for x in range(xs)] for y in range(ys)])
    assert centroid(made) == pytest.approx(there, abs=0.12)
    assert there == pytest.approx(((xs - 1) / 2, (ys - 1) / 2), abs=0.1)


def test_a_quarter_of_a_picture_enlarged_keeps_its_corners(bench):
    """Colours at the rim are those of the outermost pixels."""
    bench.add(
        "corners.png",
        pyvips.Image.new_from_memory(bytes([10, 200, 60, 120]), 2, 2, 1, "uchar")
        .copy(interpretation="b-w")
        .pngsave_buffer(),
    )
    rows = bench.picture(
        "var m = new Media(); m.load(name @ 'corners.png'); m.scale(xs @ 40, ys @ 40); m.save(type @ 'png');"
    )
    assert [rows[0][0][0], rows[0][39][0], rows[39][0][0], rows[39][39][0]] == [10, 200, 60, 120]
    assert rows[19][19][0] == pytest.approx(97, abs=6)
