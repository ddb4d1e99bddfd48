"""Canonical JSON as properties: one value, one text; the fast path says what the slow one says."""

import json

import pytest
from cgn_sdk.protocol import canonical
from hypothesis import given
from hypothesis import strategies as st

clean = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER) | clean,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(clean, inner, max_size=5),
    max_leaves=25,
)


def reference(value: object) -> str:
    """RFC 8785 written out from its text, sharing nothing with the module under test."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        short = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
        return '"' + "".join(short.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'
    if isinstance(value, list):
        return "[" + ",".join(reference(item) for item in value) + "]"
    assert isinstance(value, dict)
    keys = sorted(value, key=lambda key: list(key.encode("utf-16-be")))
    pairs = [(key.encode("utf-16-be"), key) for key in keys]
    units = [[int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)] for raw, _ in pairs]
    assert units == sorted(units)
    return "{" + ",".join(f"{reference(key)}:{reference(value[key])}" for key in keys) + "}"


@given(values)
def test_it_is_the_rfc(value: object) -> None:
    assert canonical.encode(value) == reference(value).encode()


@given(values)
def test_decoding_undoes_it_and_encoding_again_changes_nothing(value: object) -> None:
    text = canonical.encode(value)
    assert json.loads(text) == value
    assert canonical.encode(json.loads(text)) == text


@given(st.dictionaries(clean, values, max_size=8))
def test_the_order_of_keys_given_does_not_matter(value: dict) -> None:
    assert canonical.encode(dict(reversed(value.items()))) == canonical.encode(value)


@given(values)
def test_canonical_bytes_are_read_back_and_no_other_spelling_is(value: object) -> None:
    text = canonical.encode(value)
    assert canonical.decode(text) == canonical.parse(text) == value
    for other in (text + b" ", b"\n" + text):
        assert canonical.parse(other) == value
        with pytest.raises(canonical.CanonicalError, match="canonical spelling"):
            canonical.decode(other)
    between = f"<{text.decode()}>"
    assert canonical.read_at(between, 1) == (value, len(between) - 1)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "deeper"),
        (b"[" * 65 + b"]" * 65, "deeper"),
        (b"9" * 5_000, "2\\^53"),
        (b"9007199254740992", "2\\^53"),
        (b"1.5", "no canonical form"),
        (b"1e3", "no canonical form"),
        (b"NaN", "no canonical form"),
        (b'{"a":1,"a":1}', "twice"),
        (b'[{"b":{"a":1,"a":2}}]', "twice"),
        (b'{"b":1,"a":1}', "canonical spelling"),
        (b'{"\\u0061":1}', "canonical spelling"),
        (b'"\\/"', "canonical spelling"),
        (b'"\\ud800"', "surrogate"),
    ],
)
def test_bytes_that_two_readers_could_read_as_two_values_are_refused(data: bytes, problem: str) -> None:
    """A name twice, another spelling, numbers and depths that languages disagree about (L-2, L-12)."""
    with pytest.raises(canonical.CanonicalError, match=problem):
        canonical.decode(data)
    if b"\xff" not in data:
        with pytest.raises(canonical.CanonicalError):
            canonical.read_at(data.decode(), 0)
