"""Answers about a picture instead of a picture (G-12)."""

import base64
import io
import json
import math
import statistics

import PIL.Image
import pytest
import pyvips

from dservices.mediagen.operations.describing import thumb_hash

LOAD = "var m = new Media(); m.load(name @ '{}'); "


def noise_field(width: int, height: int, seed: int = 1) -> pyvips.Image:
    """Soft blots, as photographs have them."""
    bands = [
        pyvips.Image.gaussnoise(width, height, mean=128, sigma=900, seed=seed + n).gaussblur(width / 16)
        for n in range(3)
    ]
    return (bands[0].bandjoin(bands[1:])).cast("uchar").copy(interpretation="srgb")


def asked(bench, name: str, expression: str):
    return json.loads(bench.text(f"(function () {{ {LOAD.format(name)} return JSON.stringify({expression}); }})()"))


def painted(x: int, y: int, kind: str) -> tuple[int, int, int, int]:
    if kind == "ramp":
        return (x * 7) % 256, (y * 11) % 256, (x * y) % 256, 255
    return 200, (x * 5) % 256, 30, (y * 9) % 256


THUMBS = [
    ("ramp", 32, 20, "59080e1c96607678708878867886f6970ff778"),
    ("ramp", 20, 32, "d6b7091c14603687088888776897ec9f23a8f7"),
    ("soft", 32, 20, "59fb820b86257077b8878870b8f8877478887088887878"),
    ("soft", 48, 48, "ddab861d0a16707787889878797088f88887787874887008d7"),
    ("soft", 100, 3, "1d9c820180016490a8c87860c8f7797387888087878878"),
]
"""Made by the format's own implementation in JavaScript."""


@pytest.mark.parametrize(("kind", "width", "height", "wanted"), THUMBS)
def test_thumb_hashes_are_those_of_their_inventor(kind, width, height, wanted):
    """But for a step of the last digit, where a weight of nothing is rounded up or down."""
    pixels = bytes(v for y in range(height) for x in range(width) for v in painted(x, y, kind))
    made = thumb_hash(width, height, pixels).hex()
    assert made[:10] == wanted[:10] and len(made) == len(wanted)
    assert all(abs(int(a, 16) - int(b, 16)) <= 1 for a, b in zip(made, wanted, strict=True))


def test_a_thumb_hash_of_a_file_is_about_that_of_its_pixels(bench):
    image = noise_field(40, 30)
    bench.add("field.png", image.pngsave_buffer())
    said = base64.b64decode(asked(bench, "field.png", "m.getThumbHash()"))
    assert said == thumb_hash(40, 30, bytes(image.bandjoin(255).write_to_memory()))


def bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_a_perceptual_hash_knows_a_picture_in_its_versions(bench):
    """Smaller, as JPEG, darker, as gray: at most 5 bits. Another picture: some 32."""
    image = noise_field(400, 300)
    versions = {
        "one.png": image.pngsave_buffer(),
        "small.png": image.resize(0.3).pngsave_buffer(),
        "worse.jpg": image.jpegsave_buffer(Q=30),
        "dark.png": (image * 0.7).cast("uchar").pngsave_buffer(),
        "gray.png": image.colourspace("b-w").pngsave_buffer(),
        "other.png": noise_field(400, 300, 50).pngsave_buffer(),
    }
    hashes = {}
    for name, data in versions.items():
        bench.add(name, data)
        hashes[name] = asked(bench, name, "m.getPerceptualHash()")
        assert len(hashes[name]) == 16
    first = hashes.pop("one.png")
    assert bits(first, hashes.pop("other.png")) > 16
    assert all(bits(first, other) <= 5 for other in hashes.values()), hashes


def test_a_palette_has_the_colours_that_are_there_and_their_shares(bench):
    image = PIL.Image.new("RGBA", (100, 100), (200, 30, 30, 255))
    image.paste((20, 20, 220, 255), (0, 0, 100, 30))
    image.paste((0, 255, 0, 0), (0, 90, 100, 100))  # transparent: no colour of the picture
    out = io.BytesIO()
    image.save(out, "PNG")
    bench.add("flag.png", out.getvalue())
    found = asked(bench, "flag.png", "m.getPalette(colors @ 4)")
    assert [round(entry["share"], 2) for entry in found] == [0.67, 0.33]
    assert [entry["text"] for entry in found] == ["#cc1c1c", "#1414dc"]
    assert found[0]["color"] == 0xCC1C1C


def test_all_of_it_as_json(bench):
    """What a page needs before the picture is there, in one answer."""
    image = noise_field(300, 200).copy(xres=300 / 25.4, yres=300 / 25.4)
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    bench.add("photo.jpg", image.jpegsave_buffer(Q=80))
    script = (
        "function main() { var m = new Media(); m.load(name @ 'photo.jpg', loadMetadata @ true);"
        " resp.setObject(new TextResponse(JSON.stringify(m.getInfo(colors @ 3)), 'application/json')); }"
    )
    outcome, body = bench.outcome(script)
    assert outcome["headers"]["Content-Type"].startswith("application/json")
    told = json.loads(body)
    assert (told["width"], told["height"], told["format"], told["pixelFormat"]) == (200, 300, "jpeg", "RGB-24")
    assert (told["alpha"], told["frames"], told["layers"], told["dpi"], told["profile"]) == (False, 1, 1, 300, None)
    assert 1 <= len(told["palette"]) <= 3 and sum(entry["share"] for entry in told["palette"]) == pytest.approx(
        1, abs=0.01
    )
    assert len(told["perceptualHash"]) == 16 and len(told["thumbHash"]) > 20
    assert set(told["metadata"]) <= {"Exif", "IPTC", "XMP"}
    turned = image.rot90().copy()
    turned.remove("orientation")
    bench.add("upright.png", turned.pngsave_buffer())
    assert bits(told["perceptualHash"], asked(bench, "upright.png", "m.getPerceptualHash()")) <= 5


def test_metadata_by_field(bench):
    fields = "<IPTC><Caption>Sea</Caption><Keywords>a</Keywords><Keywords>b</Keywords></IPTC>"
    made = bench.body(
        "var m = new Media(); m.makeCanvas(xs @ 9, ys @ 9); m.setMetadata('IPTC', new XmlDocument(\""
        + fields
        + "\")); m.save(type @ 'jpeg');"
    )
    bench.add("told.jpg", made)
    told = json.loads(
        bench.text(
            "(function () { var m = new Media(); m.load(name @ 'told.jpg', loadMetadata @ true); return JSON.stringify(m.getInfo().metadata) })()"
        )
    )
    assert told["IPTC"]["Keywords"] == ["a", "b"] and told["IPTC"]["Caption"] == "Sea"


@pytest.mark.parametrize(
    "canvas", ["rtype @ 'CMYK'", "rtype @ 'Gray'", "rtype @ 'RGBA', transparency @ 255", "rtype @ 'CMYKA'"]
)
def test_pictures_of_every_kind_have_answers(bench, canvas):
    script = "(function () {{ var m = new Media(); m.makeCanvas(xs @ 40, ys @ 3, {}); return JSON.stringify(m.getInfo()); }})()"
    told = json.loads(bench.text(script.format(canvas)))
    assert told["width"] == 40 and told["format"] is None
    assert told["alpha"] is ("A" in canvas)
    if "RGBA" in canvas:
        assert told["palette"] == []


def test_a_perceptual_hash_is_that_of_its_definition(bench):
    """Without any shrinking, by the sum itself: the lowest 64 cosines of 32 x 32 grays, above their median or not. A slope
    has a median far from nothing."""
    rows = [[(x * x // 5 + 3 * y + (x * y) % 11) % 256 for x in range(32)] for y in range(32)]
    gray = bytes(value for row in rows for value in row)
    bench.add(
        "slope.png", pyvips.Image.new_from_memory(gray, 32, 32, 1, "uchar").copy(interpretation="b-w").pngsave_buffer()
    )

    def weight(u: int, v: int) -> float:
        return sum(
            rows[y][x] * math.cos(math.pi * u * (2 * x + 1) / 64) * math.cos(math.pi * v * (2 * y + 1) / 64)
            for y in range(32)
            for x in range(32)
        )

    weights = [weight(u, v) for v in range(8) for u in range(8)]
    middle = statistics.median(weights[1:])
    wanted = int("".join(str(int(value > middle)) for value in weights), 2)
    assert sum(value > 0 for value in weights) != sum(value > middle for value in weights)
    assert bits(asked(bench, "slope.png", "m.getPerceptualHash()"), f"{wanted:x}") == 0
