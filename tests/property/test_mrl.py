"""An MRL that the SDK builds is the MRL that MediaGen reads (G-2)."""

from typing import Any

import pytest
from cgn_sdk.mrl import mrl
from hypothesis import given
from hypothesis import strategies as st

from dservices.mediagen.language.mrl import parse

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
urls = texts.filter(bool)
numbers = st.integers(-(10**25), 10**25)
arguments = st.lists(
    st.one_of(texts, numbers, st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False)), max_size=8
)
names = st.from_regex(r"\A[a-zA-Z_][a-zA-Z0-9_]{0,12}\Z").filter(
    lambda name: name not in ("script", "args", "f", "function")
)
functions = st.from_regex(r"\A[a-zA-Z_$][a-zA-Z0-9_$]{0,20}\Z")


def same(read: Any, built: Any) -> bool:
    """Equal, and of one type: `True` is not 1, "1" is not 1."""
    return type(read) is type(built) and read == built


@given(urls, arguments, functions, st.dictionaries(names, texts, max_size=5))
def test_what_is_built_is_read(script: str, args: list[Any], function: str, parameters: dict[str, str]) -> None:
    read = parse(mrl(script, args=args, function=function, **parameters))
    assert read.script == script
    assert read.function == function
    assert len(read.arguments) == len(args)
    for got, wanted in zip(read.arguments, args, strict=True):
        if isinstance(wanted, int) and not isinstance(wanted, bool) and abs(wanted) >= 10**15:
            assert got == pytest.approx(wanted)  # numbers of MediaScript are doubles
        else:
            assert same(got, wanted), (got, wanted)
    assert {name: read.parameters[name] for name in parameters} == parameters


@given(urls, arguments, st.dictionaries(names, texts, max_size=5))
def test_what_is_built_is_a_plain_request_target(script: str, args: list[Any], parameters: dict[str, str]) -> None:
    """RFC 9112 section 3.2.1: visible ASCII, no fragment."""
    target = mrl(script, args=args, **parameters)
    assert all("!" <= character <= "~" for character in target)
    assert "#" not in target


def test_an_example() -> None:
    built = mrl("https://x.example/a b.js?c=1&d", args=['say "hi", ü', 128, True, None], width="40%")
    assert built == (
        "/mgen/io?script=https%3A%2F%2Fx.example%2Fa%20b.js%3Fc%3D1%26d"
        "&args=%22say%20%5C%22hi%5C%22%2C%20%C3%BC%22%2C128%2Ctrue%2Cnull&width=40%25"
    )
    assert parse(built).arguments == ('say "hi", ü', 128, True, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_without_a_form_are_refused(value: float) -> None:
    with pytest.raises(ValueError):
        mrl("https://x.example/a.js", args=[value])
