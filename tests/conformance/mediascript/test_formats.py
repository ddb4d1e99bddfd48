"""Formats, animation, metadata, profiles and documents (G-4, G-6): written, read back, and looked at by other readers."""

import io
import json
import struct
import zipfile

import PIL.Image
import pytest
import pyvips

from dservices.mediagen.formats import apng, bmp, metadata

LOAD = "var m = new Media(); m.load(name @ 'a.png'); "
A = [[(x * 60 + 10, y * 80 + 5, x * 30 + y * 20) for x in range(4)] for y in range(3)]


def flat(grid):
    return [value for row in grid for pixel in row for value in pixel]


@pytest.mark.parametrize("kind", ["png", "tiff", "bmp", "webp", "gif"])
def test_lossless_formats_bring_back_every_pixel(bench, kind):
    """5.1; WebP with lossless @ true; GIF because there are few colours."""
    body = bench.body(f"{LOAD} m.save(type @ '{kind}', lossless @ true);")
    bench.add(f"round.{kind}", body)
    script = f"var m = new Media(); m.load(name @ 'round.{kind}'); m.convert(rtype @ 'rgb'); m.save(type @ 'png');"
    assert bench.picture(script) == A
    assert (
        bench.text(f"(function () {{ var m = new Media(); m.load(name @ 'round.{kind}'); return m.getFileType() }})()")
        == kind
    )


@pytest.mark.parametrize(("kind", "quality"), [("jpeg", 95), ("avif", 90), ("webp", 95)])
def test_lossy_formats_come_close(bench, kind, quality):
    gradient = "var m = new Media(); m.gradient(xs @ 64, ys @ 48, startColor @ 0x204060, endColor @ 0xE0C0A0); "
    exact = bench.image(gradient + "m.save(type @ 'png');")
    lossy = bench.image(f"{gradient} m.save(type @ '{kind}', quality @ {quality});")
    assert (lossy.width, lossy.height) == (64, 48)
    assert (exact - lossy[0:3]).abs().avg() < 3


def test_the_type_is_taken_from_the_content(bench):
    """G-5: MIME by content; FileTypeWrong only if detection is switched off (2.6, 3.1)."""
    bench.add("lies.jpg", bench.body(LOAD + "m.save(type @ 'png');"))
    assert (
        bench.text("(function () { var m = new Media(); m.load(name @ 'lies.jpg'); return m.getFileType() })()")
        == "png"
    )
    problem = bench.problem("new Media().load(name @ 'lies.jpg', type @ 'jpeg', detect @ false);")
    assert (problem.status, problem.code) == (422, "FileTypeWrong")


FRAMES = (
    "var m = new Media(); for (var i = 0; i < 4; i++) { var f = new Media(); f.makeCanvas(xs @ 6, ys @ 4, fillColor @ 0x303030 * (i + 1));"
    " f.setPixel(x @ i, y @ 0, color @ 0xFF0000); m.setFrame(i + 1, f); m.setFrameDelay(i + 1, 100 * (i + 1)); } "
)


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_animations_keep_frames_and_delays(bench, kind):
    """3.7: GIF, WebP, APNG: written, read back; frames restrict what is loaded and saved."""
    bench.add("anim", bench.body(f"{FRAMES} m.save(type @ '{kind}', loop @ 3, lossless @ true);"))
    facts = json.loads(
        bench.text(
            "(function () { var m = new Media(); m.load(name @ 'anim'); var d = [], p = []; for (var i = 1; i <= m.getFrameCount(); i++) {"
            " d.push(m.getFrameDelay(i)); p.push(m.getFrame(i).getPixel(i - 1, 0), m.getFrame(i).getPixel(5, 3)); }"
            " return JSON.stringify([m.getWidth(), m.getHeight(), d, p]) })()"
        )
    )
    assert facts[:3] == [6, 4, [100, 200, 300, 400]]
    assert facts[3][1::2] == [0x303030, 0x606060, 0x909090, 0xC0C0C0]
    assert facts[3][::2] == [0xFF0000] * 4


def test_an_apng_is_a_png_for_those_who_do_not_know_it(bench):
    body = bench.body(f"{FRAMES} m.save(type @ 'png');")
    kinds = [kind for kind, _ in apng.chunks(body)]
    assert kinds[:2] == [b"IHDR", b"acTL"]
    assert kinds.count(b"fcTL") == 4
    assert pyvips.Image.new_from_buffer(body, "").width == 6


def test_apng_disposal_and_blending(bench):
    """PNG specification 11.3.6: dispose none, background, previous; blend source and over."""

    def frame_png(colour, alpha, width, height):
        image = pyvips.Image.black(width, height, bands=4) + [*colour, alpha]  # noqa: RUF005 - an image plus constants
        png = bytes(image.cast("uchar").copy(interpretation="srgb").pngsave_buffer(filter="none"))
        return b"".join(body for kind, body in apng.chunks(png) if kind == b"IDAT")

    head = struct.pack(">IIBBBBB", 3, 1, 8, 6, 0, 0, 0)
    out = apng.SIGNATURE + apng.chunk(b"IHDR", head) + apng.chunk(b"acTL", struct.pack(">II", 4, 0))
    sequence = 0
    plan = [
        ((255, 0, 0), 255, 3, 0, 0, 0),
        ((0, 255, 0), 255, 1, 1, 1, 0),
        ((0, 0, 255), 255, 1, 2, 2, 1),
        ((9, 9, 9), 0, 1, 0, 0, 1),
    ]
    for index, (colour, alpha, width, left, dispose, blend) in enumerate(plan):
        out += apng.chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, width, 1, left, 0, 1, 10, dispose, blend))
        sequence += 1
        data = frame_png(colour, alpha, width, 1)
        if index == 0:
            out += apng.chunk(b"IDAT", data)
        else:
            out += apng.chunk(b"fdAT", struct.pack(">I", sequence) + data)
            sequence += 1
    bench.add("dispose.png", out + apng.chunk(b"IEND", b""))
    frames = [
        bench.picture(f"var m = new Media(); m.load(name @ 'dispose.png'); m.getFrame({n}).save(type @ 'png');")[0]
        for n in range(1, 5)
    ]
    red, green, blue, none = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)
    assert frames == [[red, red, red], [red, green, red], [red, none, blue], [red, none, red]]


def test_documents_in_and_out(bench):
    """G-4: several pages to PDF, chosen pages at a chosen resolution back (1.5, 3.1)."""
    pages = "var m = new Media(); for (var i = 0; i < 3; i++) { var f = new Media(); f.makeCanvas(xs @ 100, ys @ 50, fillColor @ 0x500000 * (i + 1)); m.setFrame(i + 1, f); } "
    pdf = bench.body(f"{pages} m.save(type @ 'pdf', title @ 'Drei Seiten');")
    assert pdf.startswith(b"%PDF-")
    bench.add("three.pdf", pdf)
    assert bench.body(f"{pages} m.save(type @ 'pdf', title @ 'Drei Seiten');") == pdf
    for frames, count in (("'1-0'", 3), ("'1-99'", 3), ("2", 1), ("'1,3'", 2)):
        text = bench.text(
            f"(function () {{ var m = new Media(); m.load(name @ 'three.pdf', frames @ {frames}); return m.getFrameCount() }})()"
        )
        assert text == str(count), frames
    second = bench.image("var m = new Media(); m.load(name @ 'three.pdf', frame @ 2, dpi @ 144); m.save(type @ 'png');")
    assert (second.width, second.height) == (200, 100)
    assert abs(second.getpoint(50, 50)[0] - 0xA0) <= 3
    assert bench.problem("new Media().load(name @ 'three.pdf', frames @ 9);").code == "bad_parameter"


def test_multi_page_tiff(bench):
    bench.add("pages.tif", bench.body(f"{FRAMES} m.save(type @ 'tiff');"))
    assert (
        bench.text(
            "(function () { var m = new Media(); m.load(name @ 'pages.tif'); return m.getFrameCount() + ' ' + m.getWidth() })()"
        )
        == "4 6"
    )


def test_svg_is_drawn_and_reaches_nothing(bench, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(
        bench.body("var m = new Media(); m.makeCanvas(xs @ 20, ys @ 20, fillColor @ 0xFF0000); m.save(type @ 'png');")
    )
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="20" height="20">'
        f'<rect width="20" height="20" fill="#00f"/><image xlink:href="file://{secret}" width="20" height="20"/></svg>'
    )
    bench.add("x.svg", svg.encode())
    assert bench.picture("var m = new Media(); m.load(name @ 'x.svg'); m.save(type @ 'png');")[10][10][:3] == (
        0,
        0,
        255,
    )
    assert (
        bench.text("(function () { var m = new Media(); m.load(name @ 'x.svg', dpi @ 144); return m.getWidth() })()")
        == "40"
    )


def psd(rows, compression):
    height, width = len(rows), len(rows[0])
    planes = [[bytes(pixel[n] for pixel in row) for row in rows] for n in range(3)]
    if compression == 0:
        data = b"".join(row for plane in planes for row in plane)
    else:
        packed = [bytes([len(row) - 1]) + row for plane in planes for row in plane]
        data = b"".join(struct.pack(">H", len(row)) for row in packed) + b"".join(packed)
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, height, width, 8, 3)
    return head + b"\0\0\0\0" * 3 + struct.pack(">H", compression) + data


@pytest.mark.parametrize("compression", [0, 1])
def test_psd_flattened(bench, compression):
    bench.add("x.psd", psd(A, compression))
    assert bench.picture("var m = new Media(); m.load(name @ 'x.psd'); m.save(type @ 'png');") == A


def soft_psd(layers: int, *, deep: bool = False) -> bytes:
    """One pixel of black at alpha 128 as Photoshop flattens it: laid on white. A negative count of layers says that the
    fourth channel is transparency; with 16 bits the count stands in a block of its own."""
    values = [127, 127, 127, 128]
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 4, 1, 1, 16 if deep else 8, 3) + b"\0\0\0\0" * 2
    count = struct.pack(">h", layers)
    if deep:
        info = b"\0\0\0\0" * 2 + b"8BIMLr16" + struct.pack(">I", 2) + count + b"\0\0"
        pixels = b"".join(bytes([value, value]) for value in values)
    else:
        info, pixels = struct.pack(">I", 2) + count, bytes(values)
    return head + struct.pack(">I", len(info)) + info + b"\0\0" + pixels


@pytest.mark.parametrize("deep", [False, True])
def test_a_flattened_psd_with_transparency_is_taken_off_the_white_it_was_laid_on(bench, deep):
    bench.add("soft.psd", soft_psd(-1, deep=deep))
    assert bench.picture("var m = new Media(); m.load(name @ 'soft.psd'); m.save(type @ 'png');") == [[(0, 0, 0, 128)]]


@pytest.mark.parametrize("deep", [False, True])
def test_a_saved_selection_in_a_psd_is_no_transparency(bench, deep):
    bench.add("selection.psd", soft_psd(1, deep=deep))
    found = bench.picture("var m = new Media(); m.load(name @ 'selection.psd'); m.save(type @ 'png');")
    assert found == [[(127, 127, 127)]]


def test_a_psd_of_a_kind_that_is_not_read_is_not_called_damaged(bench):
    lab = bytearray(psd(A, 0))
    lab[24:26] = struct.pack(">H", 9)
    bench.add("lab.psd", bytes(lab))
    problem = bench.problem("new Media().load(name @ 'lab.psd');")
    assert (problem.status, problem.code) == (415, "source_unsupported")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_page_of_a_tiff_stands_upright(bench, orientation):
    """All eight orientations, and pages that differ in theirs: the same as of a single picture."""
    picture = pyvips.Image.new_from_memory(bytes(range(18)), 3, 2, 3, "uchar").copy(interpretation="srgb")

    def tiff(number: int) -> bytes:
        tagged = picture.copy()
        tagged.set_type(pyvips.GValue.gint_type, "orientation", number)
        return tagged.tiffsave_buffer()

    bench.add("one.tif", tiff(orientation))
    bench.add("two.tif", _two_pages(tiff(1), tiff(orientation)))
    alone = bench.picture("var m = new Media(); m.load(name @ 'one.tif'); m.save(type @ 'png');")
    page = "var m = new Media(); m.load(name @ 'two.tif', frames @ '%d'); m.save(type @ 'png');"
    assert bench.picture(page % 2) == alone
    assert bench.picture(page % 1) == [
        [tuple(range(9 * y + 3 * x, 9 * y + 3 * x + 3)) for x in range(3)] for y in range(2)
    ]


def test_each_page_of_a_tiff_has_its_own_palette(bench):
    """G-4: read in one go, all pages would be shown in the last one's colours."""

    def page(*colour: int) -> bytes:
        stored = io.BytesIO()
        image = PIL.Image.new("P", (2, 2))
        image.putpalette(colour)
        image.save(stored, "TIFF")
        return stored.getvalue()

    bench.add("palettes.tif", _two_pages(page(0, 128, 0), page(255, 0, 0)))
    script = "var m = new Media(); m.load(name @ 'palettes.tif'); m.save(type @ 'tiff', frames @ '%d');"
    shown = [pyvips.Image.new_from_buffer(bench.body(script % number), "")(0, 0)[:3] for number in (1, 2)]
    assert shown == [[0, 128, 0], [255, 0, 0]]


def _two_pages(first: bytes, second: bytes) -> bytes:
    """Two TIFFs of one page each as one of two: the second is put behind the first with all its offsets moved."""
    moved, shift = bytearray(second), len(first) + len(first) % 2
    (start,) = struct.unpack_from("<I", second, 4)
    (count,) = struct.unpack_from("<H", second, start)
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
    for n in range(count):
        at = start + 2 + 12 * n
        tag, kind, number, value = struct.unpack_from("<HHII", second, at)
        if sizes[kind] * number > 4:
            for offset in range(number if tag in (273, 324) else 0):  # where the strips or tiles are
                (place,) = struct.unpack_from("<I", second, value + 4 * offset)
                struct.pack_into("<I", moved, value + 4 * offset, place + shift)
            struct.pack_into("<I", moved, at + 8, value + shift)
        elif tag in (273, 324):
            struct.pack_into("<I", moved, at + 8, value + shift)
    joined = bytearray(first + b"\0" * (len(first) % 2))
    (before,) = struct.unpack_from("<I", first, 4)
    (entries,) = struct.unpack_from("<H", first, before)
    struct.pack_into("<I", joined, before + 2 + 12 * entries, start + shift)
    return bytes(joined) + bytes(moved)


def test_bmp_with_alpha(bench):
    body = bench.body(LOAD + "m.convert(rtype @ 'rgba'); m.save(type @ 'bmp');")
    picture = bmp.load(body)
    assert list(bytes(picture.images[0].write_to_memory())) == flat([[(*p, 255) for p in row] for row in A])


# -- metadata (3.8, 4.11) -----------------------------------------------------------------------------------------

SET = (
    LOAD
    + "var e = new ExifMetadata(true); e.setArtist('M\\u00fcller'); e.setFNumber('28/10'); e.setOrientation(1); e.set('DateTimeOriginal', '2026:01:02 03:04:05');"
    " m.setMetadata('Exif', e); var i = new IPTCMetadata(true); i.setHeadline('Gr\\u00fc\\u00dfe'); m.setMetadata('IPTC', i);"
    " m.setMetadata('XMP', new XmlDocument('<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><a>1</a></x:xmpmeta>')); "
)
READ = (
    "(function () {{ var m = new Media(); m.load(name @ 'meta', loadMetadata @ {}); var e = m.getMetadata('Exif'), i = m.getMetadata('IPTC'), x = m.getMetadata('XMP');"
    " return [e && e.getText('Artist'), e && e.getText('FNumber'), e && e.getText('DateTimeOriginal'), i && i.getText('Headline'), x && x.getText('a')].join('|') }})()"
)


@pytest.mark.parametrize("kind", ["jpeg", "tiff"])
def test_metadata_is_written_read_and_stripped(bench, kind):
    bench.add("meta", bench.body(f"{SET} m.save(type @ '{kind}');"))
    assert bench.text(READ.format("true")) == "Müller|14/5|2026:01:02 03:04:05|Grüße|1"
    assert bench.text(READ.format("false")) == "||||"
    bench.add("meta", bench.body(f"{SET} m.save(type @ '{kind}', saveMetadata @ false);"))
    assert bench.text(READ.format("true")) == "||||"


def test_other_readers_find_the_exif(bench):
    image = pyvips.Image.new_from_buffer(bench.body(SET + "m.save(type @ 'jpeg');"), "")
    assert image.get("exif-ifd0-Artist").startswith("Müller")
    assert image.get("exif-ifd2-FNumber").startswith("14/5")


def test_metadata_that_cannot_be_is_refused(bench):
    for script in (
        "new IPTCMetadata(true).setUrgency('12');",
        "new ExifMetadata(true).setFNumber('wide');",
        "new ExifMetadata(true).set('Nonsense', 'x');",
        LOAD + "m.setMetadata('exif', '<Exif/>');",
        LOAD + "m.setMetadata('Exif', '<Exif>');",
        LOAD + "m.setMetadata('Exif', 7);",
    ):
        assert bench.problem(script).status == 422


def test_exif_and_iptc_blocks_survive_any_bytes():
    """G-6: readers of ours on damaged blocks: every cut and every flipped byte is read or ignored, never a crash."""
    exif = metadata.block_of("Exif", "<Exif><Artist>someone</Artist><FNumber>7/2</FNumber></Exif>")
    iptc = metadata.block_of("IPTC", "<IPTC><Headline>h</Headline><Keywords>a</Keywords><Keywords>b</Keywords></IPTC>")
    assert metadata.read_exif(exif) == [("Artist", "someone"), ("FNumber", "7/2")]
    assert metadata.read_iptc(iptc) == [("Headline", "h"), ("Keywords", "a"), ("Keywords", "b")]
    for block, read in ((exif, metadata.read_exif), (iptc, metadata.read_iptc)):
        for index in range(len(block)):
            read(block[:index])
            read(block[:index] + bytes([block[index] ^ 0xFF]) + block[index + 1 :])


# -- profiles (3.4, 4.5) ------------------------------------------------------------------------------------------


def test_colour_goes_to_ink_and_back(bench):
    """colorCorrect: sRGB to CMYK to Display P3; the destination becomes the embedded profile."""
    script = (
        "(function () { var m = new Media(); m.makeCanvas(xs @ 4, ys @ 4, fillColor @ 0x8060A0); m.colorCorrect(destProfile @ 'cmyk', intent @ 'RelativeColorimetric');"
        " var a = m.getPixelFormat(), b = m.embeddedProfile(), p = new IccProfile(m); m.colorCorrect(destProfile @ 'rgb', intent @ 'RelativeColorimetric');"
        " return [a, b, p.getColorSpace(), m.getPixelFormat(), m.getPixel(1, 1)].join('|') })()"
    )
    mode, embedded, space, back, pixel = bench.text(script).split("|")
    assert (mode, embedded, space, back) == ("CMYK-32", "true", "CMYK", "RGB-24")
    number = int(pixel)
    assert all(
        abs(a - b) <= 6
        for a, b in zip((number >> 16, number >> 8 & 255, number & 255), (0x80, 0x60, 0xA0), strict=True)
    )


def test_profiles_are_saved_as_the_reference_says(bench):
    """3.1, save: unasked only with CMYK; asked for, with RGB as well."""
    canvas = "var m = new Media(); m.makeCanvas(xs @ 8, ys @ 8, fillColor @ 0x336699); "
    cmyk = pyvips.Image.new_from_buffer(
        bench.body(canvas + "m.colorCorrect(destProfile @ 'cmyk'); m.save(type @ 'jpeg');"), ""
    )
    assert cmyk.interpretation == "cmyk"
    assert cmyk.get_typeof("icc-profile-data")
    p3 = canvas + "m.colorCorrect(destProfile @ 'p3'); m.save(type @ 'jpeg'{});"
    assert not pyvips.Image.new_from_buffer(bench.body(p3.format("")), "").get_typeof("icc-profile-data")
    assert pyvips.Image.new_from_buffer(bench.body(p3.format(", embedProfile @ true")), "").get_typeof(
        "icc-profile-data"
    )


def test_errors_the_reference_names(bench):
    """2.6: RGB on CMYK, a profile of a picture without one, a font that is not there, convert between light and ink."""
    canvas = "var m = new Media(); m.makeCanvas(xs @ 8, ys @ 8); var c = new Media(); c.makeCanvas(xs @ 8, ys @ 8, rtype @ 'cmyk'); "
    for script, code in (
        (canvas + "m.composite(source @ c);", "color_space"),
        (canvas + "c.composite(source @ m);", "color_space"),
        (canvas + "new IccProfile(m);", "no_profile"),
        (canvas + "m.drawText(text @ 'x', font @ 'Wingdings');", "font_missing"),
        (canvas + "m.convert(rtype @ 'cmyk');", "color_space"),
        (canvas + "m.exportChannel(channel @ 'cyan');", "color_space"),
    ):
        problem = bench.problem(script)
        assert (problem.status, problem.code) == (422, code), script
        assert problem.facts["line"] == 1


# -- text (3.3) ---------------------------------------------------------------------------------------------------


def test_text_is_drawn_with_our_fonts(bench):
    size = json.loads(
        bench.text("JSON.stringify(new Media().sizeText(text @ 'Hamburg', size @ 72, font @ 'Source Sans Pro'))")
    )
    assert 200 < size["width"] < 290
    assert 45 < size["height"] < 75
    bold = json.loads(bench.text("JSON.stringify(new Media().sizeText(text @ 'Hamburg', size @ 72, style @ 'Bold'))"))
    assert bold["width"] > size["width"]
    double = json.loads(bench.text("JSON.stringify(new Media().sizeText(text @ 'Hamburg', size @ 72, dpi @ 144))"))
    assert abs(double["width"] - 2 * size["width"]) <= 4
    assert bench.text("new Media().measureText(text @ 'iW', size @ 72).length") == "2"
    made = bench.image(
        "var m = new Media(); m.makeText(text @ 'Hi', size @ 40, color @ 0xFF0000); m.save(type @ 'png');"
    )
    assert made.bands == 4
    assert made[3].max() == 255
    assert [band.min() for band in made[0:3].bandsplit()] == [255, 0, 0]


def test_text_wraps_and_is_placed_by_its_handle(bench):
    canvas = "var m = new Media(); m.makeCanvas(xs @ 200, ys @ 100, fillColor @ 0); "
    for handle, side in (("left", slice(100, 200)), ("right", slice(0, 100))):
        image = bench.image(
            f"{canvas} m.drawText(text @ 'WWW', x @ 100, y @ 50, handleX @ '{handle}', size @ 20, color @ 0xFFFFFF); m.save(type @ 'png');"
        )
        inside = image.crop(side.start, 0, 100, 100)
        assert image.avg() > 0
        assert inside.avg() * 100 == pytest.approx(image.avg() * 200, rel=0.02)
    one, many = (
        json.loads(bench.text(f"JSON.stringify(new Media().sizeText(text @ 'many words to break', size @ 20{w}))"))
        for w in ("", ", wrap @ 80")
    )
    assert many["width"] <= 80 < one["width"]
    assert many["height"] > 2 * one["height"]


def test_markup_in_text_is_text(bench):
    plain = bench.text("new Media().sizeText(text @ '<b>&amp;</b>', size @ 20).width")
    assert int(plain) > 60


# -- archives and uploads ---------------------------------------------------------------------------------------


def test_archives_and_uploads(bench):
    """4.1, 4.6, 2.3: files of the request in mem:, an archive of them as the answer, an upload by its path."""
    script = (
        "var m = new Media(); m.load(name @ req.getFileParamPath('body')); m.save(name @ 'mem:/x.png'); new File('mem:/t.txt').write('hello ');"
        " new File('mem:/t.txt').write('there'); var z = new Zip(); z.add('a/x.png', 'mem:/x.png'); z.add('t.txt', 'mem:/t.txt'); z.save('mem:/z.zip'); resp.setPath('mem:/z.zip');"
    )
    upload = bench.shelf.files["http://origin.example/a.png"]
    first = bench.body(script, body=upload)
    archive = zipfile.ZipFile(io.BytesIO(first))
    assert archive.read("t.txt") == b"hello there"
    assert archive.namelist() == ["a/x.png", "t.txt"]
    assert bench.body(script, body=upload) == first


def test_requests_and_responses(bench):
    """2.3, 2.4."""
    assert (
        bench.text("req.getParameterNames().join() + req.getParameter('b') + req.getParameter('none')", "&b=2")
        == "script,b2null"
    )
    assert (
        bench.text("req.getHeader('Accept') + req.getHeaderNames().length", headers={"accept": "image/*"}) == "image/*1"
    )
    assert bench.text("req.getScriptPath()") == "http://origin.example/t.ms"
    outcome, body = bench.outcome(
        "resp.setStatus(404); resp.setHeader('X-Why', 'none'); var t = new TextResponse('<p>', 'text/html'); t.append('x'); resp.setObject(t, RespType.Streamed);"
    )
    assert (outcome["status"], body, outcome["cached"]) == (404, b"<p>x", False)
    assert outcome["headers"]["X-Why"] == "none"
    assert outcome["headers"]["Content-Type"].startswith("text/html")
    assert bench.text("version().length > 0 && typeof print === 'function'") == "true"
