"""The verifier of a running MediaGen (G-8, S-2): claims over HTTP, in confined workers."""

import random
from urllib.parse import quote

from cgn_sdk.dservice.estimates import Work
from cgn_sdk.dservice.verdicts import Claim, Verdict, verdict_of

SCRIPT = "m.load(name @ 'photo.jpg'); m.scale(xs @ 640, ys @ 480); m.save(type @ 'jpeg', quality @ 80);"


def target(origin, name: str, body: str) -> str:
    return "/mgen/io?script=" + quote(origin.add(name, f"function main() {{ var m = new Media(); {body} }}"), safe="")


def judge(mediagen, claim: Claim) -> Verdict:
    answer = mediagen.get("/_cgn/verify", "POST", claim.encoded())
    assert answer.status == 200, answer.body
    return verdict_of(answer.body)


def claim_of(work: Work, result: bytes, content_type: str = "image/jpeg", share_ppm: int = 4_000_000, **more) -> Claim:
    seed = random.Random(len(result)).randbytes(32)
    return Claim(work, result, seed, headers={"content-type": content_type}, share_ppm=share_ppm, **more)


def test_an_honest_result_is_agreed_to_and_a_false_one_is_not(mediagen, media, origin):
    work = Work("GET", target(origin, "v1.ms", SCRIPT))
    honest = mediagen.get(work.target).body
    assert judge(mediagen, claim_of(work, honest)).answer == "agree"
    other = mediagen.get(target(origin, "v2.ms", SCRIPT.replace("640", "641"))).body
    assert judge(mediagen, claim_of(work, other)).answer == "disagree"
    assert judge(mediagen, claim_of(work, honest[:-400])).answer == "disagree"
    assert judge(mediagen, claim_of(work, honest, "image/png")).answer == "disagree"
    cheap = judge(mediagen, claim_of(work, honest, share_ppm=1_000))
    assert (cheap.answer, cheap.reason) == ("cannot_tell", "too_dear")


def test_an_upload_comes_with_the_claim(mediagen, media, origin):
    body = media["photo.jpg"]
    script = target(
        origin,
        "v3.ms",
        "m.load(name @ req.getFileParamPath('body')); m.scale(xs @ 200, ys @ 150); m.save(type @ 'png');",
    )
    work = Work("POST", script, body_bytes=len(body))
    honest = mediagen.get(script, "POST", body).body
    assert judge(mediagen, claim_of(work, honest, "image/png", body=body)).answer == "agree"
    assert judge(mediagen, claim_of(work, honest, "image/png", body=body[:5000])).answer != "agree"


def test_a_source_that_is_gone_accuses_nobody(mediagen, origin):
    work = Work("GET", target(origin, "v4.ms", "m.load(name @ 'gone.jpg'); m.save();"))
    assert judge(mediagen, claim_of(work, b"\xff\xd8\xff")).answer == "cannot_tell"
    assert (
        judge(mediagen, claim_of(Work("GET", "/mgen/io?script=http%3A%2F%2F127.0.0.1%3A9%2Fx.ms"), b"x")).answer
        == "cannot_tell"
    )


def test_a_result_that_kills_its_worker_is_no_agreement_and_the_service_goes_on(mediagen, media, origin):
    work = Work("GET", target(origin, "v5.ms", SCRIPT))
    for junk in (b"", b"\xff\xd8" + b"\xff" * 100_000, bytes(300_000), b"RIFF" + b"\0" * 50_000):
        assert judge(mediagen, claim_of(work, junk)).answer != "agree"
    assert mediagen.alive()


def test_verifying_puts_nothing(mediagen, media, origin):
    put = origin.url("put-by-verifier.jpg")
    work = Work(
        "GET",
        target(
            origin,
            "v6.ms",
            f"m.makeCanvas(xs @ 9, ys @ 9); m.save(name @ '{put}', type @ 'jpeg'); m.save(type @ 'png');",
        ),
    )
    honest = mediagen.get(work.target).body
    assert origin.uploads.pop("/put-by-verifier.jpg")
    assert judge(mediagen, claim_of(work, honest, "image/png")).answer == "agree"
    assert "/put-by-verifier.jpg" not in origin.uploads
