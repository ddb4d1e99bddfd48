"""Colours through profiles (reference 3.1, 3.4): what a file without a profile means is sRGB, so what is saved without one
is converted, and inks become light through theirs. Judged against littlecms by Pillow."""

import io
import random
import struct

import PIL.Image
import PIL.ImageCms
import pytest
import pyvips

from dservices.mediagen.formats import profiles

SRGB, P3, CMYK = (profiles.built_in(name) for name in ("srgb", "p3", "cmyk"))
LOAD = "var m = new Media(); m.load(name @ '{}'); "


def noise(bands: int, width: int = 24, height: int = 16) -> PIL.Image.Image:
    data = random.Random(bands).randbytes(width * height * bands)
    return PIL.Image.frombytes({1: "L", 3: "RGB", 4: "CMYK"}[bands], (width, height), data)


def stored(image: PIL.Image.Image, profile: bytes | None, kind: str = "TIFF") -> bytes:
    out = io.BytesIO()
    image.save(out, kind, icc_profile=profile)
    return out.getvalue()


def judged(image: PIL.Image.Image, profile: bytes) -> PIL.Image.Image:
    return PIL.ImageCms.profileToProfile(
        image,
        PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        PIL.ImageCms.ImageCmsProfile(io.BytesIO(SRGB)),
        renderingIntent=PIL.ImageCms.Intent.PERCEPTUAL,
        outputMode="RGB",
    )


def away(made: bytes, wanted: PIL.Image.Image) -> tuple[float, int]:
    """(mean, most) difference of a channel in levels."""
    shown = PIL.Image.open(io.BytesIO(made)).convert(wanted.mode)
    assert shown.size == wanted.size
    steps = [abs(a - b) for a, b in zip(shown.tobytes(), wanted.tobytes(), strict=True)]
    return sum(steps) / len(steps), max(steps)


@pytest.mark.parametrize("kind", ["png", "webp", "gif", "bmp", "avif"])
@pytest.mark.parametrize("profile", [CMYK, None])
def test_inks_become_light_through_their_profile(bench, kind, profile):
    """Or through the one for offset print where they have none; no longer by the plain formula, 16 levels off."""
    image = PIL.Image.new("CMYK", (24, 16), (200, 40, 90, 30))
    bench.add("inks.tif", stored(image, profile))
    options = {"webp": ", lossless @ true", "avif": ", lossless @ true", "gif": ", dither @ 0"}.get(kind, "")
    made = bench.body(LOAD.format("inks.tif") + f"m.save(type @ '{kind}'{options});")
    if kind == "avif":
        made = pyvips.Image.new_from_buffer(made, "").pngsave_buffer()
    mean, most = away(made, judged(image, CMYK))
    assert most <= 3 and mean < 2
    assert "icc_profile" not in PIL.Image.open(io.BytesIO(made)).info


def test_all_inks_agree_with_littlecms(bench):
    image = noise(4)
    bench.add("inks.tif", stored(image, CMYK))
    mean, most = away(bench.body(LOAD.format("inks.tif") + "m.save(type @ 'png');"), judged(image, CMYK))
    assert most <= 4 and mean < 1
    mean, most = away(
        bench.body(LOAD.format("inks.tif") + "m.scale(xs @ 24, ys @ 16); m.save(type @ 'png');"), judged(image, CMYK)
    )
    assert most <= 4


def test_inks_stay_inks_where_a_format_has_them(bench):
    """With their profile; unless they shall become light there, too."""
    bench.add("inks.tif", stored(noise(4), CMYK))
    for kind in ("jpeg", "tiff"):
        kept = pyvips.Image.new_from_buffer(bench.body(LOAD.format("inks.tif") + f"m.save(type @ '{kind}');"), "")
        assert kept.interpretation == "cmyk" and kept.get("icc-profile-data") == CMYK
        changed = bench.body(
            LOAD.format("inks.tif") + f"m.save(type @ '{kind}', quality @ 100, embedProfile @ 'convert');"
        )
        image = pyvips.Image.new_from_buffer(changed, "")
        assert image.interpretation == "srgb" and not image.get_typeof("icc-profile-data")


def test_a_palette_of_inks_is_of_the_colours_that_are_seen(bench):
    image = PIL.Image.new("CMYK", (8, 8), (200, 40, 90, 30))
    bench.add("inks.tif", stored(image, CMYK))
    wanted = judged(image, CMYK).getpixel((0, 0))
    seen = int(
        bench.text("(function () { var m = new Media(); m.load(name @ 'inks.tif'); return m.getPopularColor(); })()")
    )
    assert all(abs((seen >> shift & 255) - value) <= 2 for shift, value in zip((16, 8, 0), wanted, strict=True))
    mean, most = away(
        bench.body(LOAD.format("inks.tif") + "m.reduce(colors @ 4); m.save(type @ 'png');"), judged(image, CMYK)
    )
    assert most <= 2


@pytest.mark.parametrize(("kind", "options"), [("png", ""), ("webp", ", lossless @ true"), ("tiff", "")])
def test_wide_gamut_becomes_srgb_unless_somebody_says_otherwise(bench, kind, options):
    """Display P3: by default and with 'convert' in sRGB without a profile; `true` keeps numbers and profile; `false` is
    what the reference says, numbers without a profile."""
    image = noise(3)
    bench.add("wide.png", stored(image, P3, "PNG"))
    for said, wanted, embeds in (("", judged(image, P3), False), (", embedProfile @ 'convert'", judged(image, P3), False), (", embedProfile @ true", image, True), (", embedProfile @ false", image, False)):  # fmt: skip
        made = bench.body(LOAD.format("wide.png") + f"m.save(type @ '{kind}'{options}{said});")
        mean, most = away(made, wanted)
        assert most <= 2, said
        assert bool(pyvips.Image.new_from_buffer(made, "").get_typeof("icc-profile-data")) == embeds


@pytest.mark.parametrize("work", ["m.scale(xs @ 12, ys @ 8);", "m.crop(xs @ 5, ys @ 5);", "m.convert(rtype @ 'rgba');"])
def test_whatever_was_done_before(bench, work):
    bench.add("wide.jpg", stored(PIL.Image.new("RGB", (24, 16), (250, 40, 40)), P3, "JPEG"))
    made = bench.image(LOAD.format("wide.jpg") + f"{work} m.save(type @ 'png');")
    kept = bench.image(LOAD.format("wide.jpg") + f"{work} m.save(type @ 'png', embedProfile @ false);")
    assert made(2, 2)[0] == 255 and made(2, 2)[1] < kept(2, 2)[1] - 10


def test_gray_through_its_profile(bench):
    """A gamma of 1.0, which some scanners write, is dark as numbers."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2)
    gray = gray_profile(curve)
    assert not profiles.means_srgb(gray)
    bench.add("gray.tif", stored(PIL.Image.new("L", (8, 8), 55), gray))
    made = bench.image(LOAD.format("gray.tif") + "m.save(type @ 'png');")
    assert made.bands == 1 and abs(made(0, 0)[0] - 128) <= 2


def gray_profile(curve: bytes) -> bytes:
    """As small as a gray profile may be."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"gray\0" + bytes(4 + 4 + 2 + 1 + 67 + 3)
    parts, at, body = [(b"wtpt", white), (b"kTRC", curve), (b"desc", text)], 132 + 36, b""
    table = struct.pack(">I", len(parts))
    for name, part in parts:
        part += bytes(-len(part) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(part))
        body += part
    head = struct.pack(">I4sI4s4s4s", 0, b"none", 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    head = (head + bytes(28)).ljust(68, b"\0") + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    whole = head.ljust(128, b"\0") + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def test_profiles_that_mean_srgb_are_known_whoever_made_them():
    """Then nothing is converted: libvips', littlecms', with a table for a curve or a formula."""
    assert profiles.means_srgb(SRGB) and not profiles.means_srgb(P3) and not profiles.means_srgb(CMYK)
    assert profiles.means_srgb(PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes())


@pytest.mark.parametrize("seed", range(40))
def test_damaged_profiles_are_no_reason_to_fail(bench, seed):
    chance = random.Random(seed)
    damaged = bytearray(chance.choice([SRGB, P3, CMYK]))
    for _ in range(chance.choice([1, 5, 40])):
        damaged[chance.randrange(128 if seed % 2 else len(damaged))] = chance.randrange(256)
    profiles.means_srgb(bytes(damaged))
    bench.add("odd.tif", pyvips_tiff(bytes(damaged)))
    outcome, _ = bench.outcome(LOAD.format("odd.tif") + "m.save(type @ 'png');")
    assert "problem" not in outcome or outcome["problem"][0] == 422


def pyvips_tiff(profile: bytes) -> bytes:
    image = pyvips.Image.black(4, 4, bands=3).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return bytes(image.tiffsave_buffer())


CANVAS = "var c = new Media(); c.makeCanvas(xs @ 24, ys @ 16, fillColor @ 0xFFFFFF); "
TOGETHER = {
    "composite": "c.composite(source @ m, x @ 0, y @ 0, handleX @ 'left', handleY @ 'top');",
    "composite onto": "m.composite(source @ c, onto @ true, x @ 0, y @ 0, handleX @ 'left', handleY @ 'top'); c = m;",
    "setFrame": "c.setFrame(1, m);",
    "setLayer": "c.setLayer(1, m);",
    "by address": "c.composite(name @ 'wide.png', x @ 0, y @ 0, handleX @ 'left', handleY @ 'top');",
}


@pytest.mark.parametrize("way", TOGETHER)
def test_pictures_of_two_spaces_are_put_together_as_they_are_seen(bench, way):
    """A photograph in Display P3 on a canvas, which is sRGB: in the canvas's colours, as littlecms has them."""
    image = noise(3)
    bench.add("wide.png", stored(image, P3, "PNG"))
    script = CANVAS + LOAD.format("wide.png") + TOGETHER[way] + " c.save(type @ 'png');"
    mean, most = away(bench.body(script), judged(image, P3))
    assert most <= 2


def test_an_srgb_mark_on_a_wide_picture(bench):
    """In the picture's space: what is saved with its profile shows the mark as it was."""
    bench.add("wide.png", stored(PIL.Image.new("RGB", (24, 16), (250, 40, 40)), P3, "PNG"))
    bench.add("mark.png", stored(PIL.Image.new("RGB", (24, 16), (0, 200, 0)), None, "PNG"))
    script = LOAD.format("wide.png") + "m.composite(name @ 'mark.png'); m.save(type @ 'png'{});"
    assert bench.image(script.format(""))(3, 3) == pytest.approx([0, 200, 0], abs=2)
    kept = bench.image(script.format(", embedProfile @ true"))
    assert kept.get("icc-profile-data") == P3 and kept(3, 3) != pytest.approx([0, 200, 0], abs=8)
    assert kept.icc_transform("srgb", embedded=True)(3, 3) == pytest.approx([0, 200, 0], abs=3)


@pytest.mark.parametrize("rtype", ["Gray", "RGBA", "CMYK"])
def test_pictures_of_other_kinds_are_put_together_by_their_numbers(bench, rtype):
    bench.add("inks.tif", stored(noise(4), CMYK))
    name = "inks.tif" if rtype == "CMYK" else "wide.png"
    bench.add("wide.png", stored(noise(3), P3, "PNG"))
    outcome, _ = bench.outcome(
        f"{CANVAS.replace('ys @ 16', f'ys @ 16, rtype @ {chr(39)}{rtype}{chr(39)}')}{LOAD.format(name)}c.composite(source @ m); c.save(type @ 'tiff');"
    )
    assert "problem" not in outcome, outcome
