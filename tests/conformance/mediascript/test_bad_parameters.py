"""Bad input (issue: every parameter of every method): out of range, of the wrong type, missing, unknown, twice. The table is
made from the catalogue, so a new parameter is in it by itself. Each row runs in the engine, on a line of its own, and
gives one problem that names line, column, method, parameter and what was expected.
"""

import json
from collections.abc import Iterator

import pytest

from dservices.mediagen.language import catalogue, values
from dservices.mediagen.language.catalogue import FILE, MEDIA, PROFILE, REQ, REQUIRED, RESP, ZIP, Method
from dservices.mediagen.worker import host, worker

BAD: dict[type, list[str]] = {
    values.Number: ["'wide'", "[1, 2]", "true", "NaN", "1e999", "({a: 1})", "function () {}", "LOW", "HIGH"],
    values.Whole: ["'wide'", "[1, 2]", "true", "-Infinity", "'1,5'", "LOW", "HIGH"],
    values.Length: ["'wide'", "0", "-5", "'-5%'", "'0%'", "'5 %%'", "1e6", "true", "[]"],
    values.Flag: ["'perhaps'", "2", "[]", "({})"],
    values.FlagOr: ["'perhaps'", "2", "[]", "({})"],
    values.Word: ["'nothing of this'", "5e5", "[]", "({})", "''"],
    values.Text: ["({})", "function () {}", "[1]"],
    values.Colour: ["'reddish'", "-1", "0x1FFFFFFFF", "'#12'", "0.5", "[]", "true"],
    values.MediaRef: ["'p.png'", "7", "({})", "[]"],
    values.ProfileRef: ["7", "true", "[]", "''"],
    values.Frames: ["'x'", "'0'", "'3-1'", "'1--2'", "[]", "true"],
    values.Layers: ["[]", "true", "''", "({})", "'a name that is much longer than any layer may have'"],
    values.Points: ["'1,2'", "'1;2'", "'a,b;c,d'", "7", "[]"],
    values.Matrix: ["'1 2 3'", "[1, 2]", "'a b c d e f g h i'", "7", "[[1, 2, 3], [1, 2, 3], [1, 2, NaN]]"],
    values.Anything: [],
}
"""Values that a kind refuses, as script text. LOW and HIGH are one step beyond the bounds."""
GOOD: dict[type, str] = {
    values.Number: "LEAST",
    values.Whole: "LEAST",
    values.Length: "5",
    values.Flag: "true",
    values.FlagOr: "true",
    values.Text: "'x'",
    values.Colour: "0",
    values.MediaRef: "other",
    values.ProfileRef: "'rgb'",
    values.Points: "'0,0;1,1'",
    values.Matrix: "'0 0 0 0 1 0 0 0 0'",
    values.Anything: "'<Exif/>'",
}
OBJECTS = {"media": ("m", MEDIA), "req": ("req", REQ), "resp": ("resp", RESP), "profile": ("profile", PROFILE), "file": ("file", FILE), "zip": ("zip", ZIP)}  # fmt: skip
METHODS = [(kind, method) for kind, (_, table) in OBJECTS.items() for method in table.values()]


def bad_values(kind: values.Kind) -> list[str]:
    out = []
    for text in BAD[type(kind)]:
        if text == "'0'" and isinstance(kind, values.Frames) and kind.pages:
            continue  # page lists: 0 renders none (1.5)
        if text == "LOW":
            out.append(str(kind.low - 1))
        elif text == "HIGH":
            out.append(str(kind.high + 1))
        else:
            out.append(text)
    if isinstance(kind, values.Text) and kind.max_chars <= 10_000:
        out.append(f"new Array({kind.max_chars + 2}).join('x')")
    return out


def good_value(kind: values.Kind) -> str:
    if isinstance(kind, values.Word):
        return repr(kind.words[0])
    if isinstance(kind, values.Number | values.Whole):
        return str(max(kind.low, min(1, kind.high)))
    return GOOD[type(kind)]


def rows(method: Method) -> Iterator[tuple[str, str | None, str | None]]:
    """(arguments, parameter the problem names or None, what was expected or None)."""
    required = {name: good_value(kind) for name, (kind, default) in method.parameters.items() if default is REQUIRED}

    def call(**more: str) -> str:
        return ", ".join(f"{name} @ {value}" for name, value in {**required, **more}.items())

    for name, (kind, _) in method.parameters.items():
        for value in bad_values(kind):
            yield call(**{name: value}), name, kind.expected
    for name in required:
        rest = ", ".join(f"{other} @ {value}" for other, value in required.items() if other != name)
        if rest or len(required) == 1:
            yield rest, name, method.parameters[name][0].expected
    yield (call() + ", " if required else "") + "noSuchParameter @ 1", None, None
    if method.parameters:
        first = next(iter(method.parameters))
        good = good_value(method.parameters[first][0]) if type(method.parameters[first][0]) in GOOD else "1"
        yield f"{first} @ {good}, {first} @ {good}", first, "each parameter once"
    yield ", ".join(["1"] * (len(method.parameters) + 1)), None, None


SETUP = "var m = new Media(), other = new Media(); m.makeCanvas(xs @ 4, ys @ 3); other.makeCanvas(xs @ 4, ys @ 3); var profile = new IccProfile('rgb'), file = new File('mem:/x'), zip = new Zip();"


@pytest.fixture
def problems(monkeypatch):
    """What the host noted while a script ran, caught or not."""
    hosts = []

    class Noting(host.Host):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            hosts.append(self)

    monkeypatch.setattr(worker, "Host", Noting)
    return lambda: hosts[-1].problems


@pytest.mark.parametrize(("kind", "method"), METHODS, ids=[f"{kind}.{method.name}" for kind, method in METHODS])
def test_every_parameter_refuses_what_it_cannot_be(bench, problems, kind, method):
    table = list(rows(method))
    receiver = OBJECTS[kind][0]
    lines = [f"try {{ {receiver}.{method.name}({arguments}) }} catch (e) {{ seen.push(e.code) }}" for arguments, _, _ in table]  # fmt: skip
    script = f"function main() {{ var seen = []; {SETUP}\n" + "\n".join(lines) + "\nresp.setObject(new TextResponse(JSON.stringify(seen))); }"  # fmt: skip
    codes = json.loads(bench.body(script))
    found = problems()
    assert len(codes) == len(table), [line for n, line in enumerate(lines) if n + 2 not in {p.facts.get("line") for p in found}]  # fmt: skip
    assert len(found) == len(table)
    for number, ((arguments, parameter, expected), problem) in enumerate(zip(table, found, strict=True)):
        where = (arguments, problem.detail, problem.facts)
        assert problem.status == 422, where
        assert problem.code == ("unknown_parameter" if parameter is None else "bad_parameter"), where
        assert (problem.facts["line"], problem.facts["column"] > 0) == (number + 2, True), where
        assert problem.facts["method"] == method.name, where
        if parameter is not None:
            assert problem.facts["parameter"].lower() == parameter, where
            assert problem.facts["expected"] == expected, where
        assert problem.facts["expected"], where


def test_the_table_is_large():
    assert sum(len(list(rows(method))) for _, method in METHODS) > 3_000


def test_uncaught_it_is_the_one_problem_document(bench):
    problem = bench.problem("function main() {\n  var m = new Media();\n  m.makeCanvas(xs @ 4, ys @ 3);\n  m.blur(radius @ 'wide'); }")  # fmt: skip
    assert (problem.status, problem.code) == (422, "bad_parameter")
    assert {name: problem.facts[name] for name in ("line", "method", "parameter", "expected")} == {"line": 4, "method": "blur", "parameter": "radius", "expected": "a number from 0 to 250"}  # fmt: skip
    assert problem.facts["column"] == 5


PAIRS = [(method.name, first, second) for method in MEDIA.values() for first, second in method.one_of if first in method.parameters and second in method.parameters]  # fmt: skip


@pytest.mark.parametrize(("name", "first", "second"), PAIRS, ids=[f"{p[0]}-{p[1]}" for p in PAIRS])
def test_colour_and_index_exclude_each_other(bench, name, first, second):
    required = ", ".join(f"{p} @ {good_value(kind)}" for p, (kind, default) in MEDIA[name].parameters.items() if default is REQUIRED)  # fmt: skip
    problem = bench.problem(f"{SETUP} m.{name}({required}{', ' if required else ''}{first} @ 1, {second} @ 0);")
    assert problem.facts["expected"] == f"{first} or {second}, not both"


def test_unknown_methods_are_named_with_near_ones(bench):
    for script, expected in (("m.scael(xs @ 2);", "scale"), ("m.blurGausianBlur();", "blurGaussianBlur"), ("resp.setStatu(404);", None)):  # fmt: skip
        problem = bench.problem(f"{SETUP}\n{script}")
        assert problem.status == 422
        assert problem.facts["line"] == 2
        if expected:
            assert expected in problem.facts["expected"]
    assert catalogue.unknown_method("zzzz").facts["expected"] == "a method of Media, see the reference"
