"""MRL parsing (G-2): the documented rules, and any text is parsed or refused."""

from urllib.parse import quote, urlencode

import pytest
from cgn_sdk.dservice.problems import Problem
from hypothesis import given
from hypothesis import strategies as st

from dservices.mediagen.language.mrl import parse, parse_arguments


def test_script_function_arguments_and_parameters() -> None:
    mrl = parse(
        "/mgen/io?script=https%3A%2F%2Fx.org%2Fa.ms%3Fsig%3D1%262&args=%22a%2C%20b%22,128&f=banner&name=w%C3%A4lder&x=1+2%2B3"
    )
    assert mrl.script == "https://x.org/a.ms?sig=1&2"
    assert mrl.function == "banner"
    assert mrl.arguments == ("a, b", 128)
    assert (mrl.parameters["name"], mrl.parameters["x"]) == ("wälder", "1 2+3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("  ", ()),
        ('"a"', ("a",)),
        ("'a \\' b'", ("a ' b",)),
        ('"\\u00e4\\n\\\\"', ("ä\n\\",)),
        ('"\\ud83d\\ude00"', ("\U0001f600",)),
        ("1,-2.5,1e3,.5", (1, -2.5, 1000.0, 0.5)),
        ("0xFF00FF, #abc", ("0xFF00FF", "#abc")),
        ("true,false,null", (True, False, None)),
        ("photo.jpg , 3", ("photo.jpg", 3)),
        ("99999999999999999999", (1e20,)),
    ],
)
def test_argument_lists(text: str, expected: tuple[object, ...]) -> None:
    assert parse_arguments(text) == expected


@pytest.mark.parametrize(
    "text",
    ['"a', "'a\"", "a b", "a,", ",a", "a,,b", '"\\x"', '"\\u12"', '"\\ud800"', '"a"b', "1 2", ",".join("1" * 65)],
)
def test_malformed_argument_lists_name_the_place(text: str) -> None:
    with pytest.raises(Problem) as refusal:
        parse_arguments(text)
    assert refusal.value.status == 400


@given(st.text(max_size=200))
def test_any_target_is_parsed_or_refused(text: str) -> None:
    for target in (text, f"/mgen/io?{text}", f"/mgen/io?script=x&args={quote(text)}"):
        try:
            parse(target)
        except Problem as problem:
            status = problem.status
        else:
            status = 400
        assert status in (400, 404, 414)


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=6))
def test_what_a_form_encodes_arrives(parameters: dict[str, str]) -> None:
    clean = {k: v for k, v in parameters.items() if k not in ("script", "f", "args") and "\0" not in k + v}
    try:
        query = urlencode({"script": "http://x/y", **clean})
    except UnicodeEncodeError:
        return
    assert parse(f"/mgen/io?{query}").parameters == {"script": "http://x/y", **clean}


_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(st.lists(st.one_of(_texts, st.integers(-(10**12), 10**12), st.booleans(), st.none()), max_size=10))
def test_json_lists_without_brackets_are_argument_lists(values: list[object]) -> None:
    import json

    assert parse_arguments(json.dumps(values)[1:-1]) == tuple(values)
