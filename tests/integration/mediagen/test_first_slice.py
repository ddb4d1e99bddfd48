"""MediaGen as a process: the main job and every bad input named for it (issue's "Bad input"; G-1 to G-6)."""

import os
import signal
import time
from pathlib import Path

import pytest
import pyvips


def image_of(answer) -> pyvips.Image:
    assert answer.status == 200, answer.body[:500]
    return pyvips.Image.new_from_buffer(answer.body, "")


def test_a_photograph_is_scaled_turned_lettered_and_saved(mediagen, media, origin):
    """G-2, G-3, G-4: the demo's first script."""
    answer = mediagen.get(f"/mgen/io?script={origin.url('photo.ms')}&name=photo.jpg&width=640&angle=90&text=Hello")
    picture = image_of(answer)
    assert answer.headers["content-type"] == "image/jpeg"
    assert (picture.width, picture.height) == (480, 640)
    assert picture.get_typeof("exif-data") == 0
    assert answer.headers["cgn-meta-sources"] == "1"


def test_a_pdf_page_becomes_a_png(mediagen, media, origin):
    """G-4: the demo's second script; A4 at 72 dpi is 595 x 842."""
    pages = [image_of(mediagen.get(f"/mgen/io?script={origin.url('page.ms')}&dpi=72&page={n}")) for n in (1, 2)]
    assert [(page.width, page.height) for page in pages] == [(595, 842)] * 2
    assert (pages[0] - pages[1]).abs().max() > 100
    assert [round(v) for v in pages[0].getpoint(300, 10)] == [31, 74, 125]


def test_the_same_mrl_gives_the_same_bytes_in_every_process(mediagen, media, origin, start_mediagen):
    """G-1: across processes, hash seeds, time zones, locales and thread counts."""
    other = start_mediagen(
        TZ="Asia/Tokyo", LANG="de_DE.UTF-8", PYTHONHASHSEED="7", CGN_MEDIAGEN_WORKERS="2", VIPS_CONCURRENCY="4"
    )
    target = f"/mgen/io?script={origin.url('photo.ms')}&width=500"
    first = mediagen.get(target)
    assert first.status == 200
    assert all(rig.get(target).body == first.body for rig in (mediagen, other, other))


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("/mgen/io", 400, "mrl_script_missing"),
        ("/mgen/io?script=", 400, "mrl_script_missing"),
        ("/mgen/io?script=a&script=b", 400, "mrl_duplicate"),
        ("/mgen/io?script=%zz", 400, "mrl_malformed"),
        ("/mgen/io?script=%ff", 400, "mrl_malformed"),
        ("/mgen/io?script=x&args=%22a", 400, "mrl_malformed"),
        ("/mgen/io?script=x&f=1x", 400, "mrl_malformed"),
        ("/elsewhere", 404, "not_found"),
        ("/mgen/io?script=file:///etc/passwd", 403, "script_refused"),
        ("/mgen/io?script=http://10.0.0.1/x.ms", 403, "script_refused"),
        ("/mgen/io?script=http://[::1]/x.ms", 403, "script_refused"),
        ("/mgen/io?script=http://127.0.0.1:1/x.ms", 403, "script_refused"),
        ("/mgen/io?script=" + "x" * 7000, 403, "script_refused"),
    ],
)
def test_a_malformed_mrl_is_refused(mediagen, query, status, code):
    answer = mediagen.get(query)
    assert (answer.status, answer.problem["title"]) == (status, code)


def test_a_script_that_is_not_there_is_a_404(mediagen, origin):
    answer = mediagen.get(f"/mgen/io?script={origin.url('no-such.ms')}")
    assert (answer.status, answer.problem["title"]) == (404, "script_missing")


REFUSED = [
    ("syntax", "var m = new Media();\n  var = 3;", 422, "script_syntax", (3, 7)),
    ("at sign", "var m = new Media();\n m.scale(xs @ @ 3);", 422, "script_syntax", (3, 15)),
    ("mixed", "var m = new Media();\n m.scale(xs @ 1, 3);", 422, "script_syntax", (3, 9)),
    ("never ends", "for (;;);", 422, "script_timeout", None),
    ("never ends inside a catch", "for (;;) try { for (;;); } catch (e) {}", 422, "script_timeout", None),
    ("memory", "var x = []; for (;;) x.push('abc' + x.length);", 422, "script_memory", None),
    ("one huge string", "var s = 'x'; for (;;) s += s;", 422, "script_failed", (2, 28)),
    ("one huge array", "var a = new Array(1e8).fill(1.5).map(String);", 422, None, None),
    ("recursion", "(function f() { f(); })();", 422, "script_failed", None),
    ("unknown method", "var m = new Media();\nm.makeCanvas(xs @ 4, ys @ 4);\n  m.rotat(angle @ 90);", 422, "unknown_method", (4, 5)),
    ("unknown parameter", "var m = new Media();\n  m.makeCanvas(xs @ 4, hight @ 4);", 422, "unknown_parameter", (3, 5)),
    ("missing parameter", "var m = new Media();\n  m.makeCanvas(xs @ 4);", 422, "bad_parameter", (3, 5)),
    ("out of range", "var m = new Media(); m.makeCanvas(xs @ 4, ys @ -1);", 422, "bad_parameter", (2, 24)),
    ("wrong type", "var m = new Media(); m.makeCanvas(xs @ 'wide', ys @ 1);", 422, "bad_parameter", (2, 24)),
    ("too large", "var m = new Media(); m.makeCanvas(xs @ 30000, ys @ 30000);", 422, "picture_too_large", (2, 24)),
    ("empty", "new Media().save();", 422, "empty_media", (2, 13)),
    ("no answer", "var m = 1;", 422, "no_response", None),
    ("throws", "throw new Error('mine');", 422, "script_failed", (2, 7)),
    ("throws nothing useful", "throw { get message() { throw 1 }, toString() { throw 2 } };", 422, "script_failed", None),
    ("private", "new Media().load(name @ 'http://169.254.169.254/latest');", 403, "source_refused", (2, 13)),
    ("metadata by name", "new Media().load(name @ 'http://localhost/x');", 403, "source_refused", (2, 13)),
    ("file", "new Media().load(name @ 'file:///etc/passwd');", 403, "source_refused", (2, 13)),
    ("missing source", "new Media().load(name @ 'no-such.jpg');", 404, "source_missing", (2, 13)),
    ("source 500", "new Media().load(name @ 'status/500');", 424, "source_failed", (2, 13)),
    ("source 403", "new Media().load(name @ 'status/403');", 424, "source_failed", (2, 13)),
    ("two gigabytes", "new Media().load(name @ 'two-gigabytes');", 413, "source_too_large", (2, 13)),
    ("endless", "new Media().load(name @ 'endless');", 413, "source_too_large", (2, 13)),
    ("breaks off", "new Media().load(name @ 'half');", 424, "source_failed", (2, 13)),
    ("redirect inwards", "new Media().load(name @ 'redirect/http~127.0.0.2/x');", 403, "source_refused", (2, 13)),
    ("redirect to a file", "new Media().load(name @ 'redirect/file~/etc/passwd');", 403, "source_refused", (2, 13)),
    ("redirect in a circle", "new Media().load(name @ 'redirect/redirect/x');", 424, "source_failed", (2, 13)),
    ("text for a picture", "new Media().load(name @ 'alive.ms');", 415, "source_unsupported", (2, 13)),
    ("unknown font", "var m = new Media(); m.makeText(text @ 'x', font @ 'Comic');", 422, "font_missing", (2, 24)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "script", "status", "code", "place"), REFUSED, ids=[row[0] for row in REFUSED])
def test_bad_scripts_get_one_clear_problem_and_the_service_lives_on(mediagen, name, script, status, code, place):
    """Every refusal names what is wrong; where it is known, line and column of the script as written."""
    mediagen.run("var m = new Media(); m.makeCanvas(xs @ 1, ys @ 1); m.save(type @ 'png');", name="alive.ms")
    answer = mediagen.run(script)
    problem = answer.problem
    assert answer.status == status == problem["status"], problem
    if code is not None:
        assert problem["title"] == code, problem
    if place is not None:
        assert (problem["line"], problem["column"]) == place, problem
    assert len(problem["detail"]) > 10
    assert mediagen.alive()


def test_a_worker_that_is_killed_is_replaced(mediagen, origin):
    """G-6: the answer is a problem, the next request works."""
    children = Path(f"/proc/{mediagen.process.pid}/task/{mediagen.process.pid}/children").read_text().split()
    assert children
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    assert mediagen.alive() or mediagen.alive()
    time.sleep(0.2)
    assert mediagen.alive()


def test_arguments_arrive_in_the_function_that_is_named(mediagen):
    """G-2: args positional, f the function, anything else by req.getParameter."""
    script = (
        "function other(a, b, c) { var t = new TextResponse([typeof a, a, typeof b, b, c].join('|')); "
        "t.append(req.getParameter('x') + req.getParameter('none')); resp.setObject(t, RespType.Streamed); }"
    )
    answer = mediagen.run(script, "&f=other&args=%22a%2C%20b%22,12.5,true&x=%C3%A4%20y")
    assert answer.body.decode() == "string|a, b|number|12.5|trueä ynull"
    assert answer.headers["cache-control"] == "no-store"


def test_an_equal_answer_is_not_sent_twice(mediagen):
    """G-9: the ETag is over the bytes."""
    script = "var m = new Media(); m.makeCanvas(xs @ 5, ys @ 5, fillColor @ 0xFF0000); m.save(type @ 'png');"
    first = mediagen.run(script, name="etag.ms")
    second = mediagen.run(script, name="etag.ms", If_None_Match=first.headers["etag"])
    assert (first.status, second.status, second.body) == (200, 304, b"")


def test_a_result_is_put_to_an_address(mediagen, origin):
    """G-5: an upload to a (pre-signed) address; what the target says decides."""
    script = (
        "var m = new Media(); m.makeCanvas(xs @ 5, ys @ 5); m.save(name @ '{}', type @ 'png'); m.save(type @ 'png');"
    )
    ok = mediagen.run(script.format(origin.url("bucket/a.png?X-Amz-Signature=abc")))
    assert ok.status == 200
    body, headers = origin.uploads["/bucket/a.png?X-Amz-Signature=abc"]
    assert body == ok.body
    assert headers["content-type"] == "image/png"
    denied = mediagen.run(script.format(origin.url("denied?sig=secret")))
    assert (denied.status, denied.problem["title"]) == (424, "target_failed")
    assert "secret" not in denied.problem["detail"]


def test_sigterm_ends_the_service_and_its_workers(start_mediagen):
    """S-2: graceful stop, nothing left."""
    rig = start_mediagen()
    children = Path(f"/proc/{rig.process.pid}/task/{rig.process.pid}/children").read_text().split()
    rig.process.terminate()
    assert rig.process.wait(timeout=20) == 0
    assert children
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
