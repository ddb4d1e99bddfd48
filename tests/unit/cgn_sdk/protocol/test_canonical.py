"""Canonical JSON: the published vectors, and what is refused (L-2, RFC 8785)."""

import json
from enum import StrEnum
from pathlib import Path

import pytest
from cgn_sdk.protocol.canonical import MAX_DEPTH, CanonicalError, encode

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/canonical.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["encode"], ids=lambda v: v["name"])
def test_published_vectors(vector: dict) -> None:
    assert encode(json.loads(vector["json"])).hex() == vector["canonical_hex"]


@pytest.mark.parametrize("vector", VECTORS["refuse"], ids=lambda v: v["name"])
def test_published_refusals(vector: dict) -> None:
    with pytest.raises(CanonicalError):
        encode(json.loads(vector["json"]))


def test_keys_are_ordered_by_utf16_unit() -> None:
    """RFC 8785, 3.2.3: U+1F600 (units D83D DE00) stands before U+FFEE, though its code point is greater."""
    assert encode({"\uffee": "1", "\U0001f600": "2"}) == '{"\U0001f600":"2","\uffee":"1"}'.encode()
    assert encode([{"b": {"\uffee": "1", "\U0001f600": "2"}}]) == '[{"b":{"\U0001f600":"2","\uffee":"1"}}]'.encode()


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), [{"a": 0.5}], 2**53, -(2**53), {1: "a"}, {"a": {None: 1}}, "\ud800", {"\udfff": 1},
     b"bytes", {"a": {1, 2}}, object(), Colour.RED, {"\ud800": 1, "\U0001f600": 2}],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(CanonicalError):
        encode(value)  # type: ignore[arg-type]


def test_nesting_is_bounded() -> None:
    deep: list = []
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert encode(deep) == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    with pytest.raises(CanonicalError, match="deeper"):
        encode([deep])


def test_a_value_inside_itself_is_refused() -> None:
    loop: list = []
    loop.append(loop)
    with pytest.raises(CanonicalError, match="deeper"):
        encode(loop)
