"""Scripts as people write them, through the real service: where a script begins, what its errors say, and what an answer
may carry (G-1, G-2, G-6)."""

import json
import struct
import zlib
from typing import Any
from urllib.parse import quote

import pytest

from dservices.mediagen.operations import fonts

WHITE_PAPER = """\
var image = new Media();
image.load(name @ "sample.png");
image.rotate(angle @ 33);
image.save(type @ "jpeg");
"""
"""The white paper's example, Appendix A: four statements at top level."""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*extra: bytes, idat: bytes | None = None) -> bytes:
    """4 x 4 gray pixels, with further chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
    pixels = zlib.compress(b"\0\x40\x40\x40\x40" * 4) if idat is None else idat
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def as_written(mediagen, script: str, query: str = "", **headers: str):
    """Publishes exactly this text and asks for it."""
    mediagen.count += 1
    url = mediagen.origin.add(f"written{mediagen.count}.ms", script)
    return mediagen.get(f"/mgen/io?script={quote(url, safe='')}{query}", **headers)


@pytest.fixture(scope="module", autouse=True)
def sources(origin):
    origin.add("sample.png", png())


# -- where a script begins ------------------------------------------------------------------------------------------


def test_the_white_papers_example_runs_from_top_to_bottom(mediagen):
    answer = as_written(mediagen, WHITE_PAPER)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")


def test_a_script_without_main_and_without_an_answer_says_both(mediagen):
    problem = as_written(mediagen, "var image = new Media();").problem
    assert (problem["title"], problem["status"]) == ("script_no_function", 422)
    assert "gave no answer" in problem["detail"]


def test_a_function_that_the_mrl_names_must_be_there(mediagen):
    """An answer given at top level does not stand in for a function that was asked for."""
    problem = as_written(mediagen, WHITE_PAPER, "&f=other").problem
    assert problem["title"] == "script_no_function"
    assert "other" in problem["detail"]


def test_an_async_main_is_waited_for(mediagen):
    answer = as_written(
        mediagen,
        "async function main() { const text = await Promise.resolve('later');"
        " resp.setObject(new TextResponse(text), RespType.Streamed); }",
    )
    assert (answer.status, answer.body) == (200, b"later")


def test_what_an_async_main_throws_is_told_with_its_place(mediagen):
    problem = as_written(mediagen, "async function main() {\n  await null;\n  nope();\n}").problem
    assert (problem["title"], problem["line"], problem["column"]) == ("script_failed", 3, 3)
    assert "nope is not defined" in problem["detail"]


def test_what_the_host_refuses_in_an_async_main_keeps_its_code(mediagen):
    problem = as_written(
        mediagen, "async function main() { const m = new Media(); await null; m.load(name @ 'not-there.png'); }"
    ).problem
    assert (problem["title"], problem["status"]) == ("source_missing", 404)


def test_an_async_main_that_waits_for_ever_is_told_so(mediagen):
    assert (
        as_written(mediagen, "async function main() { await new Promise(() => {}); }").problem["title"]
        == "script_pending"
    )


# -- errors at top level --------------------------------------------------------------------------------------------


def test_what_the_host_refuses_at_top_level_keeps_code_place_and_method(mediagen):
    problem = as_written(
        mediagen, "var logo = new Media();\nlogo.load(name @ 'not-there.png');\nfunction main() { }"
    ).problem
    assert (problem["title"], problem["status"]) == ("source_missing", 404)
    assert (problem["line"], problem["column"], problem["method"]) == (2, 6, "load")


def test_an_unknown_method_at_top_level_is_named_with_the_nearest(mediagen):
    problem = as_written(mediagen, "var m = new Media();\nm.scael(xs @ 10);\nfunction main() { }").problem
    assert (problem["title"], problem["line"]) == ("unknown_method", 2)
    assert "scale" in json.dumps(problem)


def test_a_misuse_at_top_level_names_the_scripts_own_line(mediagen):
    problem = as_written(mediagen, "\nMedia();\nfunction main() { }").problem
    assert (problem["title"], problem["line"]) == ("script_failed", 2)
    assert "mediascript" not in problem["detail"]


# -- names that are no addresses ------------------------------------------------------------------------------------

NAMES = ("//[", "//\u2100", "read:/[", "//[x", "http://[x")
CALLS = (
    "new Media().load(name @ NAME)",
    "new File(NAME).read()",
    "new File(NAME).exists()",
    "resp.setPath(NAME)",
    "new Media().composite(name @ NAME)",
    "new IccProfile(NAME)",
    "new Zip().add(NAME)",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("call", CALLS)
def test_a_name_that_is_no_address_is_the_scripts_mistake(mediagen, call, name):
    """Whatever the standard library calls its exception: never a 500."""
    answer = as_written(mediagen, f"function main() {{ {call.replace('NAME', json.dumps(name))}; }}")
    assert 400 <= answer.status < 500, answer.body
    assert mediagen.alive()


def test_an_include_that_is_no_address_is_a_syntax_problem_and_ends_no_worker(mediagen):
    before = as_written(mediagen, WHITE_PAPER)
    problem = as_written(mediagen, '#include "http://[x"\nfunction main() { }').problem
    assert (problem["title"], problem["line"]) == ("script_syntax", 1)
    assert "http://[x" in problem["detail"]
    assert as_written(mediagen, WHITE_PAPER).body == before.body


# -- what an answer may carry ---------------------------------------------------------------------------------------

TEXT = "resp.setObject(new TextResponse('x'), RespType.Streamed);"


def test_too_many_headers_are_the_scripts_mistake_and_end_no_worker(mediagen):
    script = f"function main() {{ for (let i = 0; i < 3000; i++) resp.setHeader('X-' + i, 'y'.repeat(1900)); {TEXT} }}"
    problem = as_written(mediagen, script).problem
    assert (problem["title"], problem["method"]) == ("script_limit", "setHeader")


@pytest.mark.parametrize(
    "name",
    [
        "Content-Security-Policy",
        "X-Content-Type-Options",
        "X-Frame-Options",
        "X-Accel-Redirect",
        "Clear-Site-Data",
        "Refresh",
        "Alt-Svc",
        "Location",
        "Access-Control-Allow-Origin",
        "Service-Worker-Allowed",
        "Set-Cookie",
        "Strict-Transport-Security",
        "Report-To",
        "NEL",
        "ETag",
    ],
)
def test_headers_that_speak_for_the_nodes_name_are_refused(mediagen, name):
    for spelled in (name, name.lower(), name.upper()):
        problem = as_written(mediagen, f"function main() {{ resp.setHeader('{spelled}', '*'); {TEXT} }}").problem
        assert (problem["title"], problem["parameter"]) == ("bad_parameter", "name")


def test_headers_about_the_answer_itself_are_kept_once(mediagen):
    answer = as_written(
        mediagen,
        "function main() { resp.setHeader('content-language', 'de'); resp.setHeader('Content-Language', 'fr');"
        f" resp.setHeader('X-Why', 'so'); {TEXT} }}",
    )
    assert (answer.headers["content-language"], answer.headers["x-why"]) == ("fr", "so")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_an_answer_varies_by_the_headers_that_the_script_has_read(mediagen):
    """RFC 9110 12.5.5: else a shared cache serves WebP to who cannot read it."""
    script = "function main() { var m = new Media(); m.makeCanvas(xs @ 4, ys @ 4);"
    script += " m.save(type @ (req.getHeader('Accept') || '').indexOf('webp') >= 0 ? 'webp' : 'jpeg'); }"
    assert as_written(mediagen, script).headers["vary"] == "accept"
    said = script.replace("{ var", "{ resp.setHeader('vary', 'Accept, Accept-Language'); var")
    assert as_written(mediagen, said).headers["vary"] == "Accept, Accept-Language"
    assert "vary" not in as_written(mediagen, WHITE_PAPER).headers


def test_conditional_requests(mediagen):
    answer = as_written(mediagen, WHITE_PAPER)
    tag = answer.headers["etag"]
    for given, status in ((tag, 304), ("*", 304), (f'"x", W/{tag}', 304), ('"x"', 200), (tag[:-2] + '"', 200)):
        assert as_written(mediagen, WHITE_PAPER, if_none_match=given).status == status, given


def test_a_method_that_is_not_served_names_those_that_are(mediagen):
    answer = mediagen.get("/mgen/io?script=x", "DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert answer.problem["title"] == "method_not_allowed"


# -- animations by their chunks -------------------------------------------------------------------------------------


def fresh(origin, data: bytes, then: str = "m.save(type @ 'png');") -> str:
    """A script that loads this file, under a name that no cache knows."""
    name = f"{zlib.crc32(data)}.png"
    origin.add(name, data)
    return f"var m = new Media(); m.load(name @ '{name}'); {then}"


@pytest.mark.parametrize(
    "still",
    [
        png(chunk(b"tEXt", b"Comment\0say acTL")),
        png(idat=zlib.compress(b"\0acTL" * 4, 0)),
    ],
    ids=["text", "pixels"],
)
def test_the_letters_of_an_animation_in_a_still_mean_nothing(mediagen, origin, still):
    load = fresh(origin, still)
    assert as_written(mediagen, load).status == 200


@pytest.mark.parametrize("kind", [b"acTL", b"fcTL"])
@pytest.mark.parametrize("length", [0, 1, 7, 25, 27])
def test_an_animations_chunk_of_a_wrong_length_is_a_damaged_file(mediagen, origin, kind, length):
    control: dict[bytes, Any] = {
        b"acTL": struct.pack(">II", 1, 0),
        b"fcTL": struct.pack(">IIIIIHHBB", 0, 4, 4, 0, 0, 1, 10, 0, 0),
    }
    control[kind] = b"\0" * length
    data = png(*(chunk(name, body) for name, body in control.items()))
    problem = as_written(mediagen, fresh(origin, data)).problem
    assert (problem["title"], problem["status"]) == ("FileMangled", 422)


def test_an_animation_behind_a_long_text_is_one(mediagen, origin):
    control = struct.pack(">IIIIIHHBB", 0, 4, 4, 0, 0, 1, 10, 0, 0)
    long_text = chunk(b"tEXt", b"Comment\0" + b"x" * 70_000)
    frame = zlib.compress(b"\0\x80\x80\x80\x80" * 4)
    data = png(long_text, chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", control))
    second = chunk(b"fcTL", b"\0\0\0\x01" + control[4:]) + chunk(b"fdAT", b"\0\0\0\x02" + frame)
    end = chunk(b"IEND", b"")
    count = "resp.setObject(new TextResponse('' + m.getFrameCount()), RespType.Streamed);"
    answer = as_written(mediagen, fresh(origin, data.removesuffix(end) + second + end, count))
    assert answer.body == b"2", answer.body


def test_text_too_wide_to_be_drawn_is_an_error_and_not_an_empty_picture(mediagen):
    script = (
        "function main() { var m = new Media(); m.makeText(text @ 'W'.repeat(900), size @ 600); m.save(type @ 'png'); }"
    )
    assert as_written(mediagen, script).problem["title"] == "picture_too_large"


def test_the_fields_of_a_pdf_form_are_drawn(mediagen, origin):
    """As every reader prints them: a text field with its appearance, beside an annotation."""
    appearance = b"q 0 0.5 0 rg 0 0 40 20 re f Q"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 60] /Annots [4 0 R] >>",
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /F 4 /Rect [20 20 60 40] /AP << /N 5 0 R >> >>",
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 40 20] /Length %d >>\nstream\n%b\nendstream"
        % (len(appearance), appearance),
    ]
    data, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(data))
    origin.add("form.pdf", data + b"xref\n0 %d\n" % (len(objects) + 1) + table + trailer)
    text = "Number(m.getPixel(x @ 40, y @ 30)).toString(16) + ' ' + Number(m.getPixel(x @ 5, y @ 5)).toString(16)"
    script = "var m = new Media(); m.load(name @ 'form.pdf');"
    answer = as_written(mediagen, f"{script} resp.setObject(new TextResponse({text}), RespType.Streamed);")
    assert answer.body == b"8000 ffffff", answer.body


# -- files that come with a request ---------------------------------------------------------------------------------


def test_the_files_of_a_form_have_their_names_and_the_fields_are_parameters(mediagen):
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="my picture"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        + png()
        + b'\r\n--edge\r\nContent-Disposition: form-data; name="size"\r\n\r\n2\r\n--edge--\r\n'
    )
    script = (
        "function main() { var m = new Media(), names = req.getFileParamNames(); m.load(name @ req.getFileParamPath(names[0]));"
        " m.scale(xs @ req.getParameter('size') || 2); resp.setHeader('X-Names', names.join('|') + '|' + req.getFileParamPath('size'));"
        " m.save(type @ 'png'); }"
    )
    url = mediagen.origin.add("form.ms", script)
    target = f"/mgen/io?script={quote(url, safe='')}"
    kind = "multipart/form-data; boundary=edge"
    answer = mediagen.get(target, "POST", body, content_type=kind)
    assert answer.status == 200, answer.body
    assert answer.headers["x-names"] == "my picture|null"
    assert struct.unpack(">II", answer.body[16:24]) == (2, 4)
    refused = mediagen.get(target, "POST", body[:-20], content_type=kind)
    assert (refused.status, refused.problem["title"]) == (422, "bad_form")
    question = json.dumps(
        {"method": "POST", "target": target, "headers": {"content-type": kind}, "body_bytes": str(len(body))}
    )
    estimated = mediagen.get("/_cgn/estimate", "POST", question.encode(), content_type="application/json")
    assert estimated.status == 200, estimated.body


def test_a_line_that_is_too_long_to_be_measured_is_refused(mediagen):
    problem = as_written(
        mediagen, "function main() { new Media().measureText(text @ 'x'.repeat(1001), font @ 'Arial', size @ 10); }"
    ).problem
    assert (problem["title"], problem["parameter"], problem["method"]) == ("bad_parameter", "text", "measureText")


def test_what_a_screen_says_of_itself_reaches_the_script_and_vary(mediagen):
    """G-15: client hints (RFC 8942), those with a prefix and those of before."""
    script = "function main() { resp.setObject(new TextResponse([req.getHeader('Sec-CH-DPR'), req.getHeader('DPR'), req.getHeader('Save-Data')].join())); }"
    answer = as_written(mediagen, script, Sec_CH_DPR="2", Save_Data="on")
    assert answer.body == b"2,,on"
    assert {name.strip() for name in answer.headers["vary"].split(",")} == {"sec-ch-dpr", "dpr", "save-data"}


# -- fonts ----------------------------------------------------------------------------------------------------------


def test_an_operators_fonts_are_drawn_and_part_of_the_engines_name(mediagen, start_mediagen, tmp_path):
    """A collection of the operator's; and who has other fonts has another name, since text comes out otherwise (G-1)."""
    face = next(path for path in fonts.chosen_files(None) if path.name == "SourceSerifPro-Black.ttf").read_bytes()
    old, new = ("Source Serif Pro", "Sourer Serif Pro")
    face = face.replace(old.encode("utf-16-be"), new.encode("utf-16-be")).replace(old.encode(), new.encode())
    (tables,) = struct.unpack_from(">H", face, 4)
    moved = bytearray(face)
    for n in range(tables):
        (offset,) = struct.unpack_from(">L", face, 12 + 16 * n + 8)
        struct.pack_into(">L", moved, 12 + 16 * n + 8, offset + 16)
    (tmp_path / "more.ttc").write_bytes(struct.pack(">4sLLL", b"ttcf", 0x10000, 1, 16) + moved)
    (tmp_path / "old.pfb").write_bytes(b"\x80\x01")
    other = start_mediagen(CGN_MEDIAGEN_FONTS=str(tmp_path))
    script = "function main() { var m = new Media(); m.makeText(text @ 'HHH', font @ 'FONT', size @ 40); m.save(type @ 'png'); }"
    here = as_written(mediagen, script.replace("FONT", "serif"))
    there = as_written(other, script.replace("FONT", new))
    assert (here.status, there.status) == (200, 200)
    assert here.body != there.body
    assert "fonts-" in here.headers["cgn-meta-engine"]
    assert here.headers["cgn-meta-engine"] != there.headers["cgn-meta-engine"]
    missing = as_written(other, script.replace("FONT", "old.pfb")).problem
    assert (missing["title"], "Type 1" in missing["detail"]) == ("font_missing", True)
    assert as_written(mediagen, script.replace("FONT", new)).problem["title"] == "font_missing"
