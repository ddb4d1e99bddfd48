"""The row's quick path says exactly what looking at each column says, whatever stands in the columns (L-1, L-2)."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import row
from cgn_sdk.protocol.canonical import CanonicalError, encode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ENTRY = '{"amount_nano_cpu":"%s","amount_nano_eur":"%s","id":"%s","role":"%s"}'
HOSTILE = st.sampled_from(
    [
        "",
        "0",
        "00",
        "1\n",
        "9223372036854775807",
        "9223372036854775808",
        "9" * 19,
        "1" * 20,
        "١",
        "p" + "a" * 26,
        "p" + "a" * 27,
        "p" + "a" * 25 + "b",
        'mediagen","dservice_version":"1',
        'operator"},{"amount_nano_cpu":"1","amount_nano_eur":"1","id":"p' + "a" * 26 + '","role":"operator',
        "%(tier)s",
        "%s",
        "\\u0041",
        "\ud800",
        "operator",
        "enterprise",
        "4a",
    ]
)
values = HOSTILE | st.text(max_size=5) | st.integers() | st.none() | st.floats(allow_nan=False) | st.booleans()
entries = st.lists(
    st.dictionaries(st.sampled_from(["role", "id", "amount_nano_cpu", "amount_nano_eur", "x"]), values, max_size=5)
    | values,
    max_size=3,
)


def slowly(public: dict[str, Any]) -> bool:
    """Whether every column has its form, by looking at each."""
    return set(public) == set(row.PUBLIC_COLUMNS) and not any(form(public[name]) for name, form in row._FORM_OF)


@settings(max_examples=400, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_the_quick_path_is_the_slow_one(make_row: Callable[..., row.Row], data: st.DataObject) -> None:
    public = copy.deepcopy(dict(make_row(1).public))
    for _ in range(data.draw(st.integers(1, 3))):
        column = data.draw(st.sampled_from(row.PUBLIC_COLUMNS))
        if column in ("pay_in", "payouts") and data.draw(st.booleans()):
            place = data.draw(st.integers(0, 2))
            listed = public[column]
            if isinstance(listed, list) and place < len(listed) and isinstance(listed[place], dict):
                listed[place][data.draw(st.sampled_from(sorted(listed[place], key=str) or ["role"]))] = data.draw(
                    values
                )
        else:
            public[column] = data.draw(values | entries)
    text = row._canonical_text(public)
    assert (text is not None) == slowly(public)
    if text is not None:
        assert text.encode() == encode(public)
    else:
        assert row.verify_row(public) != []
    same_as_bytes(public)


def same_as_bytes(public: dict[str, Any]) -> None:
    """What is found in the bytes is what is found in the value."""
    try:
        data = encode(public)
    except CanonicalError:
        return
    try:
        facts = row.read_public(data)
    except row.RowError as error:
        assert error.findings
        assert row.verify_row(public) != [] or "row_hash" in public
    else:
        assert row.verify_row(public) == []
        listed = [*public["pay_in"], *public["payouts"]]
        assert [(s.role, s.public_id, str(s.amount_nano_cpu)) for s in facts.shares] == [
            (entry["role"], entry["id"], entry["amount_nano_cpu"]) for entry in listed
        ]
        assert (facts.row_id, str(facts.event_time_ns)) == (public["row_id"], public["event_time_ns"])


@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_stored_bytes_with_one_byte_altered_are_never_taken(
    make_row: Callable[..., row.Row], data: st.DataObject
) -> None:
    """Public columns and private parts: altered, inserted or left out (L-12)."""
    one = make_row(1, parts={"custom": {"n": 1, "text": "\u00fc", "deep": [{"a": True}]}, "service": {"a": "b"}})
    facts = row.read_public(one.public_json)
    assert row.read_private(one.private_json, facts.part_hashes, keccak_256) == one.parts
    for stored in (one.public_json, one.private_json):
        place = data.draw(st.integers(0, len(stored) - 1))
        with_, without = data.draw(st.binary(max_size=2)), data.draw(st.integers(0, 1))
        altered = stored[:place] + with_ + stored[place + without :]
        if altered == stored:
            continue
        try:
            if stored is one.public_json:
                found = row.read_public(altered)
                assert encode(json.loads(altered)) == altered  # sound by itself: its hash is another one
                assert found != facts or altered != stored
            else:
                row.read_private(altered, facts.part_hashes, keccak_256)
                raise AssertionError(altered)
        except row.RowError as error:
            assert error.findings


@given(st.integers(0, 2**70) | st.integers(2**63 - 100, 2**63 + 100))
@example(2**63 - 1)
@example(2**63)
def test_the_pattern_of_amounts_is_the_bound(number: int) -> None:
    assert (re.fullmatch(row._AMOUNT, str(number)) is not None) == (number <= row.MAX_AMOUNT)


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_any_row_survives_writing_and_reading(make_row: Callable[..., row.Row], data: st.DataObject) -> None:
    clean = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    parts = data.draw(
        st.fixed_dictionaries({}, optional={name: st.dictionaries(clean, clean, max_size=4) for name in row.PARTS})
    )
    row_id = f"{data.draw(st.integers(0, 2**128 - 1)):032x}"
    one = make_row(1, row_id=row_id, fee_nano_eur=data.draw(st.integers(0, 2**56)), parts=parts)
    assert row.decode_row(one.to_bytes(), keccak_256) == one
    assert one.public_json == encode(dict(one.public))
    try:
        encode(dict(one.parts))
    except CanonicalError as error:
        raise AssertionError from error
