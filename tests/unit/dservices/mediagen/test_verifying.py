"""The verifier (G-8, T-7) over small pictures: honest results are never accused, false ones are found, and what cannot be
afforded is said. Figures over a large corpus: tests/bench/bench_verifier.py."""

import random

import pytest
import pyvips
from mediagen_here import Here
from mediagen_tampering import KINDS, tampered

from dservices.mediagen import samples, structure, verifying
from dservices.mediagen.trials import chart

SCALED = "m.load(name @ 'p.jpg'); m.scale(xs @ 400, ys @ 300); "
CASES = {
    "thumbnail": SCALED + "m.save(type @ 'jpeg', quality @ 80);",
    "letters": SCALED + "m.drawText(text @ 'Some letters', size @ 50, color @ 0xFFFFFF, x @ 200, y @ 120); m.save(type @ 'jpeg');",
    "png": SCALED + "m.save(type @ 'png', level @ 9);",
    "progressive": SCALED + "m.save(type @ 'jpeg', progressive @ true);",
    "webp": SCALED + "m.save(type @ 'webp');",
    "lossless": SCALED + "m.save(type @ 'webp', lossless @ true);",
    "avif": SCALED + "m.save(type @ 'avif', effort @ 1);",
    "palette": SCALED + "m.reduce(colors @ 32); m.save(type @ 'png');",
    "edges": SCALED + "m.stylizeFindEdges(); m.save(type @ 'png');",
    "turned": "m.load(name @ 'p.jpg'); m.scale(xs @ 500, constrain @ true); m.rotate(angle @ 90); m.save(type @ 'jpeg');",
    "cropped whole": "m.load(name @ 'p.jpg'); m.crop(xs @ 455, ys @ 333, x @ 31, y @ 17); m.save(type @ 'tiff');",
    "bmp": SCALED + "m.save(type @ 'bmp');",
    "gif": "m.load(name @ 'a.gif'); m.save(type @ 'gif');",
    "frames": "m.load(name @ 'a.gif'); m.scale(xs @ 90, constrain @ true); m.save(type @ 'webp');",
    "apng": "m.load(name @ 'a.gif'); m.save(type @ 'png');",
    "alpha": "m.load(name @ 'c.png'); m.scale(xs @ 300, constrain @ true); m.save(type @ 'png');",
    "pdf": "m.load(name @ 'd.pdf', frames @ '1-2', dpi @ 60); m.save(type @ 'pdf', title @ 'Two pages');",
    "card": "m.makeCanvas(xs @ 300, ys @ 200, fillColor @ 0x335577); m.drawText(text @ 'Card', size @ 40); m.save(type @ 'png');",
    "exif": "m.load(name @ 'e.jpg', loadMetadata @ true); m.scale(xs @ 300, constrain @ true); m.save(type @ 'jpeg');",
}  # fmt: skip
AMPLE = 40.0
"""Small pictures: nearly all of the time is the script's, so only a large share lets anything be looked at."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    folder = tmp_path_factory.mktemp("sources")
    photo = samples.landscape(720, 540).copy_memory()
    photo.jpegsave(str(folder / "p.jpg"), Q=88, keep="none")
    thumb = photo.resize(0.1).jpegsave_buffer()
    dressed = photo.copy()
    dressed.set_type(pyvips.GValue.blob_type, "exif-data", exif_with(thumb))
    dressed.jpegsave(str(folder / "e.jpg"), Q=88)
    clear = chart(500, 400, 3)
    clear.bandjoin((clear[1] < 240).ifthenelse(255, 90).cast("uchar")).pngsave(str(folder / "c.png"))
    strip = pyvips.Image.arrayjoin([photo.crop(20 * n, 200, 160, 120) for n in range(5)], across=1).copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", 120)
    strip.set_type(pyvips.GValue.array_int_type, "delay", [50, 60, 70, 80, 90])
    strip.gifsave(str(folder / "a.gif"))
    (folder / "d.pdf").write_bytes(samples.document([[(50, 700, 30, f"Page {n}")] for n in range(3)]))
    return Here(folder)


def exif_with(thumbnail: bytes) -> bytes:
    """An Exif block whose second directory is a JPEG thumbnail: a whole JPEG file, end marker and all, in the header."""
    import struct

    first = struct.pack("<HHHIII", 1, 0x0112, 3, 1, 1, 26)
    second = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(thumbnail), 0)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + second + thumbnail


@pytest.fixture(scope="module")
def honest(here: Here) -> dict[str, tuple[bytes, str, int]]:
    return {name: here.work(body) for name, body in CASES.items()}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("share", [0.05, AMPLE])
def test_an_honest_result_is_never_accused(here: Here, honest, name: str, share: float) -> None:
    result, content_type, _ = honest[name]
    for number in range(2):
        verdict, _ = here.verify(
            CASES[name], result, content_type, share=share, seed=random.Random(number).randbytes(32)
        )
        assert verdict.answer != "disagree", verdict
    if share == AMPLE:
        assert verdict.answer == "agree", verdict


@pytest.mark.parametrize("kind", KINDS)
def test_tampering_is_found_when_it_may_be_looked_for(here: Here, honest, kind: str) -> None:
    chance, made = random.Random(kind), 0
    for name in ("letters", "png", "webp", "gif", "pdf", "bmp", "cropped whole"):
        false = tampered(kind, here, CASES[name], here.capture(CASES[name]), honest[name][0], chance)
        if false is None or false == honest[name][0]:
            continue
        made += 1
        verdict, _ = here.verify(CASES[name], false, honest[name][1], share=AMPLE, seed=chance.randbytes(32))
        assert verdict.answer == "disagree", (name, verdict)
    assert made >= (1 if kind in ("step left out", "frames left out", "recompressed") else 3)


def looked_at(here: Here, monkeypatch: pytest.MonkeyPatch, name: str, result: bytes, **parts: float):
    """The verdict where looking at the whole costs nothing and doing it again is out of the question."""
    monkeypatch.setattr(verifying, "_whole_cost", lambda *arguments: 0.0)
    real = verifying.CheckHost.costs
    monkeypatch.setattr(verifying.CheckHost, "costs", lambda host: {**real(host), "base": -1e15})
    monkeypatch.setattr(verifying, "_done_again", None)
    return here.verify(
        CASES[name],
        result,
        {
            "png": "image/png",
            "avif": "image/avif",
            "webp": "image/webp",
            "gif": "image/gif",
            "frames": "image/webp",
        }.get(name, "image/jpeg"),
        share=AMPLE,
    )[0]


@pytest.mark.parametrize(
    "kind",
    [
        "wrong crop",
        "stale source",
        "blank",
        "watermark added",
        "changed pixels",
        "mirrored",
        "turned",
        "colour shift",
        "step left out",
    ],
)
@pytest.mark.parametrize("name", ["letters", "png", "webp", "avif", "gif", "frames"])
def test_looking_finds_it_without_doing_the_work_again(here: Here, honest, monkeypatch, name: str, kind: str) -> None:
    monkeypatch.setattr(verifying, "SMALL", 0)
    false = tampered(kind, here, CASES[name], here.capture(CASES[name]), honest[name][0], random.Random(kind + name))
    if false is None or (name, kind) == ("letters", "watermark added"):
        pytest.skip("there is no such thing here, or it is finer than an eighth of the source shows")
    verdict = looked_at(here, monkeypatch, name, false)
    assert verdict.answer == "disagree", verdict
    assert looked_at(here, monkeypatch, name, honest[name][0]).answer == "agree"


def test_a_known_source_is_not_decoded_again(here: Here, honest, monkeypatch) -> None:
    monkeypatch.setattr(verifying, "SMALL", 0)
    verifying.forget_proxies()
    opened = []
    real = verifying.loading._opened
    monkeypatch.setattr(
        verifying.loading, "_opened", lambda data, **o: (opened.append(o.get("shrink")), real(data, **o))[1]
    )
    for _ in range(2):
        verdict = looked_at(here, monkeypatch, "letters", honest["letters"][0])
        assert "whole, coarse" in verdict.checks
    assert opened.count(8) == 1
    for n in range(200):
        verifying._PROXIES[str(n).encode()] = pyvips.Image.black(1000, 1000)
    looked_at(here, monkeypatch, "letters", honest["letters"][0])
    made = next(iter(verifying._PROXIES.values()))
    assert made is not None
    verifying.forget_proxies()


def test_what_cannot_be_afforded_is_said_and_nobody_accused(here: Here, honest) -> None:
    false = tampered("changed pixels", here, CASES["letters"], here.capture(CASES["letters"]), b"", random.Random(3))
    verdict, _ = here.verify(CASES["letters"], false, "image/jpeg", share=0.001)
    assert (verdict.answer, verdict.reason) == ("cannot_tell", "too_dear")
    assert verdict.checks == ("structure",)


def test_a_script_that_looks_at_pixels_is_not_judged_by_pictures_that_stand_for_others(here: Here, monkeypatch) -> None:
    monkeypatch.setattr(verifying, "SMALL", 0)
    body = SCALED + "var c = m.getPixel(x @ 5, y @ 5); m.setPixel(x @ 9, y @ 9, color @ c); m.save(type @ 'png');"
    result, content_type, _ = here.work(body)
    verdict, _ = here.verify(body, result, content_type, share=AMPLE)
    assert (verdict.answer, verdict.reason) == ("cannot_tell", "unclear")


def test_text_is_compared_to_the_byte(here: Here) -> None:
    body = "m.load(name @ 'p.jpg'); resp.setObject(new TextResponse('It is ' + m.getWidth()));"
    assert here.verify(body, b"It is 720", "text/plain")[0].answer == "agree"
    assert here.verify(body, b"It is 721", "text/plain")[0].answer == "disagree"


def test_a_refusal_has_to_be_the_same(here: Here) -> None:
    body = "m.makeCanvas(xs @ 5, ys @ 5); m.scale(xs @ 0); m.save();"
    assert here.verify(body, b"{}", "application/problem+json", status=422)[0].answer == "agree"
    assert here.verify(body, b"picture", "image/png")[0].answer == "disagree"
    for missing in ("m.load(name @ 'p.jpg'); m.getPixel(x @ 1, y @ 1); error('by the script');",):
        assert here.verify(missing, b"picture", "image/png")[0].answer == "cannot_tell"


def test_a_verifier_that_fails_accuses_nobody(here: Here, honest, monkeypatch) -> None:
    for name in ("_structure", "_whole", "_head", "_done_again"):
        with monkeypatch.context() as patch:
            patch.setattr(verifying, name, lambda *a, **k: (_ for _ in ()).throw(pyvips.Error("lost")))
            verdict, _ = here.verify(CASES["letters"], honest["letters"][0], "image/jpeg", share=AMPLE)
            assert verdict.answer != "disagree", (name, verdict)


@pytest.mark.parametrize("name", ["thumbnail", "png", "webp", "avif", "gif", "bmp", "pdf", "apng", "cropped whole"])
def test_hostile_results_end_in_a_verdict(here: Here, honest, name: str) -> None:
    """Bytes turned, parts cut out, headers that lie: an answer each time, never an exception, never agreement."""
    result, content_type, _ = honest[name]
    chance = random.Random(name)
    for _ in range(5):
        broken = bytearray(result)
        at = chance.randrange(min(len(broken), 400))
        match chance.randrange(3):
            case 0:
                broken[at] ^= 1 << chance.randrange(8)
            case 1:
                del broken[at : at + chance.randrange(1, 60)]
            case 2:
                broken[at:at] = chance.randbytes(9)
        verdict, _ = here.verify(CASES[name], bytes(broken), content_type, share=AMPLE)
        if name != "gif":  # a bit of one colour of 256 is within what a palette may be off by
            assert verdict.answer != "agree", verdict


def test_the_seed_decides_where_is_looked_and_the_result_is_part_of_it(here: Here, honest) -> None:
    seen = set()
    for number in range(8):
        rows = verifying._head_rows(
            pyvips.Image.black(2000, 4000), {"work": 1e8, "base": 0.0}, 1e9, random.Random(number).randbytes(32)
        )
        assert rows % 16 == 0 and 16 <= rows <= 4000 // verifying.HEAD_SHARE
        seen.add(rows)
    assert len(seen) > 1


def test_structure_of_a_jpeg_with_a_thumbnail_in_its_exif(here: Here, honest) -> None:
    result = honest["exif"][0]
    assert result.count(b"\xff\xd9") > 1
    assert structure.difference("jpeg", result, result) is None
    assert structure.difference("jpeg", result + b"\0", result) is not None
