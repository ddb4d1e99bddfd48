"""The verifier of a running MediaGen (G-8, S-2, T-7): claims over HTTP, the work done again in confined workers."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import pyvips
from cgn_sdk.dservice.estimates import Work
from cgn_sdk.dservice.verdicts import Claim, Verdict, verdict_of
from mediagen_here import Here
from mediagen_tampering import KINDS, tampered

from dservices.mediagen import samples
from dservices.mediagen.calibration.scripts import chart
from dservices.mediagen.worker import simd

ROOT = Path(__file__).parents[3]
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
    "by a pixel": SCALED + "var c = m.getPixel(x @ 5, y @ 5); m.setPixel(x @ 9, y @ 9, color @ c); m.save(type @ 'png');",
    "noise": SCALED + "m.noiseAddNoise(amount @ 8); m.save(type @ 'jpeg');",
    "bmp": SCALED + "m.save(type @ 'bmp');",
    "gif": "m.load(name @ 'a.gif'); m.save(type @ 'gif');",
    "frames": "m.load(name @ 'a.gif'); m.scale(xs @ 90, constrain @ true); m.save(type @ 'webp');",
    "apng": "m.load(name @ 'a.gif'); m.save(type @ 'png');",
    "pages": "m.load(name @ 'a.gif'); m.save(type @ 'tiff');",
    "alpha": "m.load(name @ 'c.png'); m.scale(xs @ 300, constrain @ true); m.save(type @ 'png');",
    "shadow": "m.load(name @ 'c.png'); m.scale(xs @ 300, constrain @ true); m.dropShadow(blur @ 5); m.save(type @ 'png');",
    "pdf": "m.load(name @ 'd.pdf', frames @ '1-2', dpi @ 60); m.save(type @ 'pdf', title @ 'Two pages');",
    "card": "m.makeCanvas(xs @ 300, ys @ 200, fillColor @ 0x335577); m.drawText(text @ 'Card', size @ 40); m.save(type @ 'png');",
    "text": "m.load(name @ 'p.jpg'); resp.setObject(new TextResponse('It is ' + m.getWidth()));",
    "clock and chance": "resp.setObject(new TextResponse([Date.now(), Math.random(), Math.random(), Math.sin(1e9), Math.pow(1.1, 77)].join()));",
    "as it is": "resp.setPath('p.jpg');",
    "broken, as it is": "resp.setPath('broken.jpg');",
}  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, origin) -> Here:
    """The same work in this process, to make false results; its sources are the origin's."""
    folder = tmp_path_factory.mktemp("sources")
    made = Here(folder)
    photo = samples.landscape(720, 540).copy_memory()
    photo.jpegsave(str(folder / "p.jpg"), Q=88, keep="none")
    clear = chart(500, 400, 3)
    clear.bandjoin((clear[1] < 240).ifthenelse(255, 90).cast("uchar")).pngsave(str(folder / "c.png"))
    strip = pyvips.Image.arrayjoin([photo.crop(20 * n, 200, 160, 120) for n in range(5)], across=1).copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", 120)
    strip.set_type(pyvips.GValue.array_int_type, "delay", [50, 60, 70, 80, 90])
    strip.gifsave(str(folder / "a.gif"))
    (folder / "d.pdf").write_bytes(samples.document([[(50, 700, 30, f"Page {n}")] for n in range(3)]))
    (folder / "broken.jpg").write_bytes((folder / "p.jpg").read_bytes()[:9000])
    for path in folder.iterdir():
        origin.add("verdicts/" + path.name, path.read_bytes())
    return made


def target(origin, name: str, body: str) -> str:
    script = f"function main() {{ var m = new Media(); {body} }}"
    return "/mgen/io?script=" + quote(origin.add(f"verdicts/{name}.ms", script), safe="")


def judge(mediagen, claim: Claim) -> Verdict:
    answer = mediagen.get("/_cgn/verify", "POST", claim.encoded())
    assert answer.status == 200, answer.body
    return verdict_of(answer.body)


def claim_of(mediagen, work: Work, body: bytes = b"") -> Claim:
    """The honest claim: all that the service answers to the request."""
    answer = mediagen.get(work.target, work.method, body or None, **work.headers)
    return Claim(work, answer.body, "exact", answer.status, answer.headers, body)


@pytest.fixture(scope="module")
def honest(mediagen, here, origin) -> dict[str, Claim]:
    return {
        name: claim_of(mediagen, Work("GET", target(origin, name.replace(", ", "-").replace(" ", "-"), body)))
        for name, body in CASES.items()
    }


# -- honest results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_an_honest_result_is_agreed_to(mediagen, honest, name: str) -> None:
    assert honest[name].status == 200, honest[name].result
    verdict = judge(mediagen, honest[name])
    assert (verdict.answer, verdict.checks) == ("agree", ("screen", "again")), verdict
    screened = judge(mediagen, replace(honest[name], depth="screen"))
    assert (screened.answer, screened.reason) == ("cannot_tell", "screened")


def test_an_upload_comes_with_the_claim(mediagen, media, origin) -> None:
    body = media["photo.jpg"]
    script = "m.load(name @ req.getFileParamPath('body')); m.scale(xs @ 200, ys @ 150); m.save(type @ 'png');"
    claim = claim_of(mediagen, Work("POST", target(origin, "upload", script), body_bytes=len(body)), body)
    assert judge(mediagen, claim).answer == "agree"
    assert judge(mediagen, replace(claim, body=body[:5000])).answer != "agree"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_without_a_body_is_judged_by_its_headers(mediagen, honest, method: str) -> None:
    tag = honest["thumbnail"].headers["etag"]
    work = replace(honest["thumbnail"].work, method=method, headers={"if-none-match": tag})
    claim = claim_of(mediagen, work)
    assert (claim.status, claim.result) == (304, b"")
    assert judge(mediagen, claim).answer == "agree"
    assert judge(mediagen, replace(claim, result=b"x")).reason == "defect"
    assert judge(mediagen, replace(claim, headers={**claim.headers, "etag": '"0"'})).answer == "disagree"


def test_a_processor_without_vector_instructions_is_believed(mediagen, here, honest) -> None:
    """Its shadows have other bytes; what it sends is agreed to, and tampering with it is found nevertheless."""
    claim = honest["shadow"]
    with simd.without():
        other = here.work(CASES["shadow"])[0]
    assert other != claim.result
    claim = replace(claim, result=other, headers={**claim.headers, "etag": etag(other)})
    verdict = judge(mediagen, claim)
    assert (verdict.answer, verdict.checks[-1]) == ("agree", "again without vector instructions")
    with simd.without():
        false = tampered("colour shift", here, CASES["shadow"], here.capture(CASES["shadow"]), other, random.Random(1))
    assert judge(mediagen, replace(claim, result=false)).answer == "disagree"
    assert judge(mediagen, honest["shadow"]).checks == ("screen", "again"), "the instructions are in use again"


def etag(data: bytes) -> str:
    import hashlib

    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def test_without_vectors_is_what_a_process_without_them_does(here) -> None:
    code = (
        "import sys, hashlib; from pathlib import Path; from mediagen_here import Here;"
        "print(hashlib.sha256(Here(Path(sys.argv[1])).work(sys.argv[2])[0]).hexdigest())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(here.folder), CASES["shadow"]],
        env={
            **os.environ, "VIPS_NOVECTOR": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/support")]),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )  # fmt: skip
    import hashlib

    with simd.without():
        assert said.stdout.strip() == hashlib.sha256(here.work(CASES["shadow"])[0]).hexdigest()


# -- false results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_tampering_is_found(mediagen, here, honest, kind: str) -> None:
    chance, made = random.Random(kind), 0
    for name in ("letters", "png", "webp", "avif", "gif", "pdf", "bmp", "cropped whole"):
        claim = honest[name]
        false = tampered(kind, here, CASES[name], here.capture(CASES[name]), claim.result, chance)
        if false is None or false == claim.result:
            continue
        made += 1
        headers = {**claim.headers, "etag": etag(false)}
        verdict = judge(mediagen, replace(claim, result=false, headers=headers))
        assert verdict.answer == "disagree", (name, verdict)
    assert made >= (1 if kind in ("step left out", "frames left out", "recompressed") else 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("content-type", "image/png"),
        ("content-security-policy", None),
        ("cache-control", "public, max-age=31536000"),
        ("cgn-meta-format", "text"),
        ("cgn-meta-format", None),
        ("etag", '"another"'),
    ],
)
def test_headers_belong_to_the_result(mediagen, honest, field: str, value: str | None) -> None:
    headers = {name: text for name, text in honest["thumbnail"].headers.items() if name != field}
    if value is not None:
        headers[field] = value
    verdict = judge(mediagen, replace(honest["thumbnail"], headers=headers))
    assert (verdict.answer, verdict.reason) == ("disagree", "headers")


def test_another_status_is_found(mediagen, honest) -> None:
    assert judge(mediagen, replace(honest["thumbnail"], status=201)).reason == "status"


def test_hostile_results_end_in_a_verdict(mediagen, honest) -> None:
    for junk in (b"", b"\xff\xd8" + b"\xff" * 100_000, bytes(300_000), b"RIFF" + b"\0" * 50_000, b"[" * 100_000):
        for name in ("thumbnail", "webp", "text"):
            for depth in ("screen", "exact"):
                assert judge(mediagen, replace(honest[name], result=junk, depth=depth)).answer != "agree"
    assert mediagen.alive()


# -- what accuses nobody -----------------------------------------------------------------------------------------------


def test_a_source_that_has_changed_accuses_nobody(mediagen, here, origin) -> None:
    """Stale or tampered with, nobody can tell any more: it is no pass, and no accusation."""
    origin.add("verdicts/changing.jpg", (here.folder / "p.jpg").read_bytes())
    work = Work(
        "GET", target(origin, "changing", "m.load(name @ 'changing.jpg'); m.scale(xs @ 90, ys @ 80); m.save();")
    )
    before = claim_of(mediagen, work)
    origin.add("verdicts/changing.jpg", samples.landscape(300, 200).jpegsave_buffer())
    verdict = judge(mediagen, before)
    assert (verdict.answer, verdict.reason) == ("cannot_tell", "sources")
    # Who keeps an old source and says it was the new one is found.
    now = claim_of(mediagen, work)
    stale = {**before.headers, "cgn-meta-sources-digest": now.headers["cgn-meta-sources-digest"]}
    assert judge(mediagen, replace(before, headers=stale)).answer == "disagree"
    # Who says nothing of the sources, or something else, gets no agreement to anything false.
    for said in ("", "0" * 64):
        headers = {**before.headers, "cgn-meta-sources-digest": said}
        assert judge(mediagen, replace(before, headers=headers)).reason == "sources"


def test_a_script_that_has_changed_accuses_nobody(mediagen, here, origin) -> None:
    work = Work("GET", target(origin, "edited", SCALED + "m.save();"))
    before = claim_of(mediagen, work)
    target(origin, "edited", SCALED + "m.save(type @ 'png');")
    assert judge(mediagen, before).reason == "sources"


def test_another_version_or_processor_accuses_nobody(mediagen, honest) -> None:
    claim = honest["thumbnail"]
    headers = {**claim.headers, "cgn-meta-engine": claim.headers["cgn-meta-engine"].replace("libvips-8", "libvips-7")}
    assert judge(mediagen, replace(claim, headers=headers)).answer == "agree"
    verdict = judge(mediagen, replace(claim, headers=headers, result=honest["progressive"].result))
    assert (verdict.answer, verdict.reason) == ("cannot_tell", "engine")


def test_a_failure_accuses_nobody(mediagen, honest, origin) -> None:
    gone = Work("GET", target(origin, "gone", "m.load(name @ 'gone.jpg'); m.save();"))
    verdict = judge(mediagen, replace(honest["thumbnail"], work=gone))
    assert (verdict.answer, verdict.reason) == ("cannot_tell", "failed_here")
    refusal = claim_of(mediagen, gone)
    assert refusal.status == 404
    assert judge(mediagen, refusal).answer == "agree"
    assert judge(mediagen, replace(refusal, status=422)).answer == "cannot_tell"
    verdict = judge(mediagen, replace(refusal, work=honest["thumbnail"].work))
    assert (verdict.answer, verdict.reason) == ("cannot_tell", "failed_there")
    for work in (
        Work("GET", "/mgen/io?script=http%3A%2F%2F127.0.0.1%3A9%2Fx.ms"),
        Work("PUT", "/mgen/io"),
        Work("GET", "/mgen/io"),
    ):
        assert judge(mediagen, Claim(work, b"x")).answer == "cannot_tell"


def test_verifying_puts_nothing(mediagen, origin) -> None:
    put = origin.url("put-by-verifier.jpg")
    body = f"m.makeCanvas(xs @ 9, ys @ 9); m.save(name @ '{put}', type @ 'jpeg'); m.save(type @ 'png');"
    claim = claim_of(mediagen, Work("GET", target(origin, "put", body)))
    assert origin.uploads.pop("/put-by-verifier.jpg")
    assert judge(mediagen, claim).answer == "agree"
    assert "/put-by-verifier.jpg" not in origin.uploads


# -- where it comes from -----------------------------------------------------------------------------------------------


def test_what_a_result_was_made_of_is_said(mediagen, here, origin, honest) -> None:
    """The digest depends on every script and source, not on how often they are read or whether they were kept."""
    said = {name: claim.headers["cgn-meta-sources-digest"] for name, claim in honest.items()}
    assert all(len(digest) == 64 for digest in said.values())
    assert len(set(said.values())) == len(said)
    again = mediagen.get(honest["thumbnail"].work.target)
    assert again.headers["cgn-meta-sources-digest"] == said["thumbnail"]
    assert "libvips-8" in again.headers["cgn-meta-engine"]
    assert {honest[name].headers.get("cgn-meta-format") for name in ("text", "as it is")} == {None}
    assert honest["apng"].headers["cgn-meta-format"] == "png"


@pytest.fixture(scope="module", autouse=True)
def _files_of_this_module(origin) -> Iterator[None]:
    yield
    for path in [path for path in origin.files if path.startswith("/verdicts/")]:
        del origin.files[path]
