"""Text (reference 3.3): what each parameter changes, by measuring what is drawn. Letters themselves are Pango's business."""

import json

import pytest

CANVAS = "var m = new Media(); m.makeCanvas(xs @ 200, ys @ 100, fillColor @ 0); "
SAVE = " m.save(type @ 'png');"


def size(bench, parameters: str) -> tuple[int, int]:
    made = json.loads(bench.text(f"JSON.stringify(new Media().sizeText({parameters}))"))
    return made["width"], made["height"]


def made(bench, parameters: str):
    """makeText's picture as (width, height, rows of alpha)."""
    grid = bench.picture(f"var m = new Media(); m.makeText({parameters}); {SAVE}")
    return len(grid[0]), len(grid), [[p[3] for p in row] for row in grid]


def drawn(bench, parameters: str) -> list[list[int]]:
    return [
        [p[0] for p in row] for row in bench.picture(f"{CANVAS} m.drawText(color @ 0xFFFFFF, {parameters}); {SAVE}")
    ]


def box(rows: list[list[int]]) -> tuple[int, int, int, int]:
    """left, top, right, bottom of the ink."""
    ys = [y for y, row in enumerate(rows) if any(row)]
    xs = [x for x in range(len(rows[0])) if any(row[x] for row in rows)]
    return xs[0], ys[0], xs[-1] + 1, ys[-1] + 1


def ink(rows: list[list[int]]) -> float:
    return sum(map(sum, rows)) / 255


def test_spacing_adds_to_every_gap(bench):
    plain, _ = size(bench, "text @ 'mmmm', size @ 30")
    wide, _ = size(bench, "text @ 'mmmm', size @ 30, spacing @ 5")
    tight, _ = size(bench, "text @ 'mmmm', size @ 30, spacing @ -2")
    assert abs(wide - plain - 15) <= 1
    assert abs(plain - tight - 6) <= 1
    starts = [json.loads(bench.text(f"JSON.stringify(new Media().measureText(text @ 'mmmm', size @ 30, spacing @ {s}))")) for s in (0, 5)]  # fmt: skip
    assert [round(b - a) for a, b in zip(*starts, strict=True)] == pytest.approx([0, 5, 10, 15], abs=1)


def test_kerning_can_be_switched_off(bench):
    for text in ("AVAVAV", "ToToTo"):
        kerned, _ = size(bench, f"text @ '{text}', size @ 60")
        plain, _ = size(bench, f"text @ '{text}', size @ 60, kern @ false")
        assert plain > kerned
    offsets = [json.loads(bench.text(f"JSON.stringify(new Media().measureText(text @ 'AVAV', size @ 60, kern @ {k}))")) for k in ("true", "false")]  # fmt: skip
    assert offsets[0][3] < offsets[1][3]
    assert ink(drawn(bench, "text @ 'AV', size @ 30, kern @ false")) > 0


def test_styles(bench):
    """Weights get heavier, an underline is below the baseline, a strike through the middle, italics lean."""
    weights = [ink(drawn(bench, f"text @ 'nnn', size @ 40, style @ '{style}'")) for style in ("light", "Regular", "bold", "BLACK")]  # fmt: skip
    assert weights == sorted(weights)
    assert weights[0] < weights[3]
    plain = made(bench, "text @ 'nnn', size @ 40")
    underlined = made(bench, "text @ 'nnn', size @ 40, style @ 'underline'")
    struck = made(bench, "text @ 'nnn', size @ 40, style @ 'strikeout'")
    assert underlined[1] > plain[1]
    assert all(underlined[2][-1][5:-5])
    assert ink(struck[2]) > ink(plain[2])
    assert size(bench, "text @ 'iii', size @ 40, style @ 'italic'") != size(bench, "text @ 'iii', size @ 40")
    assert bench.text("new Media().measureText(text @ 'iii', size @ 40, font @ 'Source Serif Pro', style @ 'bold').length") == "3"  # fmt: skip
    assert size(bench, "text @ 'nnn', size @ 40, font @ 'Source Serif Pro'") != size(bench, "text @ 'nnn', size @ 40, font @ 'Source Sans Pro'")  # fmt: skip


def test_smooth_and_smooth_factor(bench):
    """Without smoothing pixels are on or off; a larger factor gives the same ink more finely."""
    hard = drawn(bench, "text @ 'Sg', size @ 40, smooth @ false")
    assert {v for row in hard for v in row} == {0, 255}
    soft = drawn(bench, "text @ 'Sg', size @ 40, smooth @ true")
    fine = drawn(bench, "text @ 'Sg', size @ 40, smoothFactor @ 2")
    assert ink(fine) == pytest.approx(ink(soft), rel=0.05)
    assert ink(hard) == pytest.approx(ink(soft), rel=0.1)
    again = drawn(bench, "text @ 'Sg', size @ 40, clearType @ true")
    assert again == soft  # accepted, without effect: colour fringes belong to one screen
    for parameter in ("smooth @ false", "clearType @ true"):
        width, height = size(bench, f"text @ 'Sg', size @ 40, {parameter}")
        assert (width, height) == pytest.approx(size(bench, "text @ 'Sg', size @ 40"), abs=1)
        assert bench.text(f"new Media().measureText(text @ 'Sg', size @ 40, {parameter}).length") == "2"
    assert made(bench, "text @ 'Sg', size @ 40, smooth @ false, clearType @ true")[2] != made(bench, "text @ 'Sg', size @ 40, smoothFactor @ 3")[2]  # fmt: skip


def test_points_become_pixels_by_resolution(bench):
    """3.3: pixel size follows the image's resolution, or `dpi`; 0 counts as 72."""
    one, double = (ink(drawn(bench, f"text @ 'H', size @ 20, dpi @ {dpi}")) for dpi in (72, 144))
    assert double == pytest.approx(4 * one, rel=0.1)
    assert drawn(bench, "text @ 'H', size @ 20, dpi @ 0") == drawn(bench, "text @ 'H', size @ 20, dpi @ 72")
    fine = bench.picture(f"var m = new Media(); m.makeCanvas(xs @ 200, ys @ 100, fillColor @ 0, dpi @ 144); m.drawText(text @ 'H', size @ 20, color @ 0xFFFFFF); {SAVE}")  # fmt: skip
    assert [[p[0] for p in row] for row in fine] == drawn(bench, "text @ 'H', size @ 20, dpi @ 144")
    assert made(bench, "text @ 'H', size @ 20, dpi @ 144")[1] == pytest.approx(2 * made(bench, "text @ 'H', size @ 20")[1], abs=1)  # fmt: skip
    offsets = [json.loads(bench.text(f"JSON.stringify(new Media().measureText(text @ 'HH', size @ 20, dpi @ {d}))"))[1] for d in (72, 144)]  # fmt: skip
    assert offsets[1] == pytest.approx(2 * offsets[0], abs=2)


def test_justify_places_short_lines(bench):
    """left, center, right: the short second line starts at the left, in the middle, ends at the right."""
    places = {}
    for justify in ("left", "center", "right"):
        width, height, rows = made(bench, f"text @ 'mmmmmm\\nm', size @ 20, justify @ '{justify}'")
        left, _, right, _ = box(rows[height * 2 // 3 :])
        places[justify] = (left, width - right)
    assert places["left"][0] <= 2
    assert places["right"][1] <= 2
    assert abs(places["center"][0] - places["center"][1]) <= 2
    words = "aa aa aa aa aa aa aa aa aa"
    even = made(bench, f"text @ '{words}', size @ 20, wrap @ 90, justify @ 'justified'")
    ragged = made(bench, f"text @ '{words}', size @ 20, wrap @ 90, justify @ 'left'")
    assert even[0] >= ragged[0]
    assert drawn(bench, "text @ 'mmm\\nm', size @ 20, justify @ 'right', wrap @ 150") != drawn(bench, "text @ 'mmm\\nm', size @ 20, justify @ 'left', wrap @ 150")  # fmt: skip
    assert size(bench, "text @ 'mmm\\nm', size @ 20, justify @ 'right'") == size(bench, "text @ 'mmm\\nm', size @ 20, justify @ 'left'")  # fmt: skip


def test_line_spacing(bench):
    """`line` is a factor on the distance of lines."""
    heights = [size(bench, f"text @ 'x\\nx\\nx', size @ 30, line @ {line}")[1] for line in (1, 1.5, 2)]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=2)
    assert heights[2] > heights[0] + 30
    assert made(bench, "text @ 'x\\nx', size @ 30, line @ 2")[1] > made(bench, "text @ 'x\\nx', size @ 30")[1]
    apart = box(drawn(bench, "text @ 'x\\nx', size @ 20, line @ 2"))
    assert apart[3] - apart[1] > 30


def test_angle_turns_the_text_clockwise(bench):
    width, height, _ = made(bench, "text @ 'Hamburg', size @ 30")
    turned = made(bench, "text @ 'Hamburg', size @ 30, angle @ 90")
    assert (turned[1], turned[0]) == pytest.approx((width, height), abs=2)
    left, top, right, bottom = box(drawn(bench, "text @ 'L', size @ 60, angle @ 90"))
    rows = drawn(bench, "text @ 'L', size @ 60, angle @ 90")
    # The stem of an upright L is on the left; a quarter clockwise it is on top.
    assert sum(rows[top + 3]) > sum(rows[bottom - 3])
    assert right - left > bottom - top


def test_baselines_do_not_depend_on_letters(bench):
    """3.3, baseLine: the same letter stands at the same height whatever is beside it."""

    def top_of_first(text: str, more: str) -> int:
        rows = drawn(bench, f"text @ '{text}', size @ 40, x @ 20, y @ 50, handleX @ 'left', handleY @ 'middle', baseLine @ {more}")  # fmt: skip
        left = box(rows)[0]
        return box([row[left : left + 12] for row in rows])[1]

    assert top_of_first("nn", "true") == top_of_first("ng", "true")
    assert top_of_first("nn", "false") != top_of_first("ng", "false")
    assert made(bench, "text @ 'a', size @ 40, baseLine @ true")[1] == made(bench, "text @ 'g', size @ 40, baseLine @ true")[1]  # fmt: skip


def test_tile_repeats_over_both_axes(bench):
    one, many = drawn(bench, "text @ 'o', size @ 20"), drawn(bench, "text @ 'o', size @ 20, tile @ true")
    left, top, right, bottom = box(one)
    wide, high = right - left, bottom - top
    assert ink(many) > 20 * ink(one)
    across = [sum(row[x] for row in many) for x in range(200)]
    assert across[:100] == pytest.approx([across[x + wide] for x in range(100)], rel=0.02)
    assert [sum(row) for row in many][:40] == pytest.approx([sum(row) for row in many][high : high + 40], rel=0.02)


def test_append_goes_on_where_the_last_text_ended(bench):
    """Ours: the reference names the parameter alone."""
    first = (
        "m.drawText(text @ 'mm', size @ 20, x @ 10, y @ 50, handleX @ 'left', handleY @ 'middle', color @ 0xFFFFFF); "
    )
    alone = [[p[0] for p in row] for row in bench.picture(f"{CANVAS}{first}{SAVE}")]
    both = [[p[0] for p in row] for row in bench.picture(f"{CANVAS}{first} m.drawText(text @ 'mm', size @ 20, append @ true, color @ 0xFFFFFF); {SAVE}")]  # fmt: skip
    left, top, right, bottom = box(alone)
    assert box(both) == (left, top, right + (right - left), bottom)
    assert [row[:right] for row in both] == [row[:right] for row in alone]
    gap = bench.picture(f"{CANVAS}{first} m.drawText(text @ 'mm', size @ 20, append @ true, x @ 7, color @ 0xFFFFFF); {SAVE}")  # fmt: skip
    assert box([[p[0] for p in row] for row in gap])[2] == right + 7 + (right - left)


def test_fit_text(bench):
    """Ours: `fitText` with `wrap` takes the greatest size, at most `size`, at which no line is too wide."""
    for width in (60, 100, 150):
        fitted = made(bench, f"text @ 'Hamburg', size @ 60, wrap @ {width}, fitText @ true")
        assert fitted[0] <= width
        assert fitted[0] >= width - 8
    small = "text @ 'Hi', size @ 12, wrap @ 500, fitText @ true"
    assert made(bench, small)[2] == made(bench, "text @ 'Hi', size @ 12")[2]


def test_make_text_colours(bench):
    """fillColor is what lies behind; index is one of the object's palette; the picture is RGBA whatever rtype says."""
    grid = bench.picture(f"var m = new Media(); m.makeText(text @ 'H', size @ 40, color @ 0xFF0000, fillColor @ 0x0000FF, rtype @ 'RGB-24'); {SAVE}")  # fmt: skip
    colours = {p for row in grid for p in row}
    assert (255, 0, 0, 255) in colours
    assert all(p[3] == 255 and p[1] == 0 for p in colours)
    indexed = bench.picture(f"var m = new Media(); m.makeCanvas(xs @ 2, ys @ 2, fillColor @ 0x00FF00); m.reduce(colors @ 1); m.makeText(text @ 'H', size @ 40, index @ 0); {SAVE}")  # fmt: skip
    assert {p[:3] for row in indexed for p in row if p[3]} == {(0, 255, 0)}
    assert bench.problem("new Media().makeText(text @ 'H', index @ 3);").facts["parameter"] == "index"


def test_wrap_measures_and_draws(bench):
    text = "several words that need room"
    one = size(bench, f"text @ '{text}', size @ 20")
    many = size(bench, f"text @ '{text}', size @ 20, wrap @ 100")
    assert many[0] <= 100 < one[0]
    left, top, right, bottom = box(drawn(bench, f"text @ '{text}', size @ 20, wrap @ 100, justify @ 'left'"))
    assert (right - left, bottom - top) == pytest.approx(many, abs=1)


def test_make_text_is_set_like_drawn_text(bench):
    """font, spacing and kern mean the same where the text becomes a picture of its own."""
    for more in ("font @ 'Source Serif Pro'", "spacing @ 4", "kern @ false", "spacing @ -1, kern @ false"):
        width, height, rows = made(bench, f"text @ 'AVAV', size @ 30, {more}")
        left, top, right, bottom = box(drawn(bench, f"text @ 'AVAV', size @ 30, {more}"))
        assert (right - left, bottom - top) == pytest.approx((width, height), abs=1)
        assert ink(rows) == pytest.approx(ink(drawn(bench, f"text @ 'AVAV', size @ 30, {more}")), rel=0.01)
    assert made(bench, "text @ 'AVAV', size @ 30, spacing @ 4")[0] == made(bench, "text @ 'AVAV', size @ 30")[0] + 12


@pytest.mark.parametrize(
    "call",
    [
        "makeText(text @ TEXT, size @ 20ALLOW)",
        "drawText(text @ TEXT, size @ 20ALLOW)",
        "measureText(text @ TEXT, size @ 20ALLOW)",
        "sizeText(text @ TEXT, size @ 20ALLOW)",
    ],
)
def test_a_character_that_no_font_has_is_named(bench, call):
    """2.6: what is not there is an error, never a silent substitute, unless the script says so."""
    start = "var m = new Media(); m.makeCanvas(xs @ 90, ys @ 30); m."
    call = call.replace("TEXT", "'Grüße 𒀀ꀀ你, 𒀀'")
    problem = bench.problem(start + call.replace("ALLOW", "") + ";")
    assert (problem.status, problem.code, problem.facts["parameter"]) == (422, "glyph_missing", "text")
    assert "𒀀 (U+12000), ꀀ (U+A000)" in problem.detail
    assert "ü" not in problem.detail and "你" not in problem.detail
    assert bench.body(start + call.replace("ALLOW", ", allowMissing @ true") + "; m.save(type @ 'png');")


SCRIPTS = {
    "Greek": "Γειά σου Κόσμε",
    "Cyrillic": "Привет, мир",
    "Arabic": "مرحبا بالعالم",
    "Hebrew": "שלום עולם",
    "Devanagari": "नमस्ते दुनिया",
    "Bengali": "ওহে বিশ্ব",
    "Tamil": "வணக்கம் உலகம்",
    "Telugu": "హలో ప్రపంచం",
    "Thai": "สวัสดีชาวโลก",
    "Khmer": "សួស្តីពិភពលោក",
    "Georgian": "გამარჯობა მსოფლიო",
    "Armenian": "Բարեւ աշխարհ",
    "Ethiopic": "ሰላም ልዑል",
    "Japanese": "こんにちは世界",
    "Chinese": "你好，世界",
    "Korean": "안녕하세요 세계",
    "symbols": "→ ⇒ ≠ ∑ ★ ♥ ✓",
    "emoji": "😀🚀👩‍👩‍👧🇪🇺👍🏽",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_worlds_scripts_are_drawn(bench, name):
    """G-4: no box and no refusal: what is drawn is not what stands there for a character that nobody has."""
    width, height, rows = made(bench, f"text @ '{SCRIPTS[name]}', size @ 30")
    assert width > 60 and height > 12 and ink(rows) > 200
    boxes = "𒀀" * len(SCRIPTS[name])
    assert rows != made(bench, f"text @ '{boxes}', size @ 30, allowMissing @ true")[2]


def test_arabic_is_joined_and_runs_from_the_right(bench):
    """Shaping: letters that stand together are narrower than alone, and the first one is at the right."""
    joined, _ = size(bench, "text @ 'بيت', size @ 40")
    apart = sum(size(bench, f"text @ '{letter}', size @ 40")[0] for letter in "بيت")
    assert joined < 0.9 * apart
    # Alef is the tall one: in what is read first it is at the right end.
    _, _, rows = made(bench, "text @ 'اب', size @ 40")
    heights = [sum(row[x] > 128 for row in rows) for x in range(len(rows[0]))]
    assert heights.index(max(heights)) > 0.6 * len(heights)


def pixels(bench, parameters: str, canvas: str = "fillColor @ 0xFFFFFF") -> list[tuple[int, ...]]:
    rows = bench.picture(
        f"var m = new Media(); m.makeCanvas(xs @ 120, ys @ 60, {canvas}); m.drawText({parameters}); {SAVE}"
    )
    return [pixel for row in rows for pixel in row]


def test_emoji_have_their_own_colours_and_letters_theirs(bench):
    """In the size that is asked for, on the same line, whatever colour the letters have."""
    plain = "text @ 'a😀', size @ 40, smooth @ true"
    for colour, wanted in (("0xD00000", (208, 0, 0)), ("0x0000C0", (0, 0, 192))):
        seen = pixels(bench, f"{plain}, color @ {colour}")
        assert wanted in seen
        assert sum(r > 230 and 150 < g < 240 and b < 130 for r, g, b in seen) > 300  # the face is yellow
    for points in (20, 40, 80):
        width, height = size(bench, f"text @ '😀', size @ {points}")
        assert width == pytest.approx(points, rel=0.15) and height == pytest.approx(points, rel=0.15)
    alone = pixels(bench, "text @ '♥', size @ 40, color @ 0x0000C0")
    chosen = pixels(bench, "text @ '♥\ufe0f', size @ 40, color @ 0x0000C0")
    assert (0, 0, 192) in alone and (0, 0, 192) not in chosen  # U+FE0F asks for the emoji


@pytest.mark.parametrize(
    "more", ["angle @ 30", "smoothFactor @ 2", "smooth @ false", "opacity @ 128", "baseLine @ true"]
)
def test_what_is_done_to_letters_is_done_to_emoji(bench, more):
    seen = pixels(bench, f"text @ '😀', size @ 40, {more}")
    if "opacity" in more:
        assert not any(r > 240 and g < 230 and b < 100 for r, g, b in seen)
    else:
        assert sum(r > 230 and 150 < g < 240 and b < 130 for r, g, b in seen) > 200
    drawn_plainly = pixels(bench, "text @ '😀', size @ 40")
    assert seen != drawn_plainly or more == "baseLine @ true"


@pytest.mark.parametrize(
    "canvas", ["rtype @ 'CMYK'", "rtype @ 'Gray', fillColor @ 0xFFFFFF", "rtype @ 'RGBA', transparency @ 255"]
)
def test_emoji_on_pictures_of_every_kind(bench, canvas):
    seen = pixels(bench, "text @ 'x😀', size @ 40, color @ 0xFF0000", canvas)
    assert len(set(seen)) > 30
