"""The estimator of a running MediaGen (G-8, S-2), and that shapes and SVG work in its confined workers (G-4, G-6)."""

import json
from urllib.parse import quote

import pytest
import pyvips


def ask(mediagen, target: str, **more: str):
    question = json.dumps({"method": "GET", "target": target, **more}).encode()
    return mediagen.get("/_cgn/estimate", "POST", question)


def target(origin, name: str, body: str) -> str:
    return "/mgen/io?script=" + quote(origin.add(name, f"function main() {{ var m = new Media(); {body} }}"), safe="")


def test_an_estimate_reads_no_more_than_the_head_of_a_source(mediagen, media, origin):
    script = target(origin, "e1.ms", "m.load(name @ 'photo.jpg'); m.scale(xs @ 800, ys @ 600); m.save(type @ 'jpeg');")
    answer = ask(mediagen, script)
    assert answer.status == 200, answer.body
    document = json.loads(answer.body)
    assert 10_000_000 < int(document["cpu_ns"]) < 2_000_000_000
    assert document["basis"].startswith("model ") and "partial" not in document["basis"]
    before = origin.hits.count("/photo.jpg")
    assert int(json.loads(ask(mediagen, script).body)["cpu_ns"]) == int(document["cpu_ns"])
    assert origin.hits.count("/photo.jpg") == before  # kept for a minute


def test_more_work_is_estimated_dearer(mediagen, media, origin):
    load, save = "m.load(name @ 'photo.jpg');", "m.save(type @ 'jpeg');"
    costs = [
        int(json.loads(ask(mediagen, target(origin, f"e{n}.ms", load + steps + save)).body)["cpu_ns"])
        for n, steps in enumerate(
            ("m.scale(xs @ 100, ys @ 75);", "m.scale(xs @ 1600, ys @ 1200);", "", "m.blurGaussianBlur(radius @ 9);"), 10
        )
    ]
    assert costs == sorted(costs) and costs[-1] > 5 * costs[0]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("m.load(name @ 'nowhere.jpg'); m.save();", "source_missing"),
        ("m.scale(xs @ 0);", "bad_parameter"),
        ("m.makeCanvas(xs @ 5, ys @ 5) ); ", "script_syntax"),
        ("while (true) {}", "script_timeout"),
        ("m.load(name @ 'http://127.0.0.1:9/x.jpg');", "source_refused"),
    ],
)
def test_what_the_request_would_be_refused_for_the_estimate_is_too(mediagen, origin, body, code):
    answer = ask(mediagen, target(origin, "bad.ms", body))
    assert answer.problem["title"] == code
    assert mediagen.alive()


def test_a_script_that_asks_for_what_only_pixels_tell_is_estimated_in_part(mediagen, media, origin):
    script = target(origin, "p.ms", "m.load(name @ 'photo.jpg'); if (m.getMetadata('XMP') === null) error('none');")
    assert "partial: script_failed" in json.loads(ask(mediagen, script).body)["basis"]


def test_an_estimate_runs_no_pixels_and_puts_nothing(mediagen, media, origin):
    put = origin.url("put-by-estimate.jpg")
    script = target(origin, "put.ms", f"m.load(name @ 'photo.jpg'); m.save(name @ '{put}', type @ 'jpeg'); m.save();")
    assert ask(mediagen, script).status == 200
    assert "/put-by-estimate.jpg" not in origin.uploads


def test_shapes_and_svg_work_in_the_confined_worker(mediagen, origin):
    """libvips' switch against formats that are not fuzzed takes SVG with it unless it is let in by name."""
    origin.add(
        "dot.svg",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"><rect width="20" height="10" fill="#f00"/></svg>',
    )
    for body in (
        "m.load(name @ 'dot.svg');",
        "m.makeCanvas(xs @ 20, ys @ 10); m.rectangle(x @ 0, y @ 0, xs @ 20, ys @ 10, fill @ true, color @ 0xFF0000);",
    ):
        answer = mediagen.run(f"var m = new Media(); {body} m.save(type @ 'png');")
        assert answer.status == 200, answer.body
        assert [round(v) for v in pyvips.Image.new_from_buffer(answer.body, "").getpoint(10, 5)][:3] == [255, 0, 0]
