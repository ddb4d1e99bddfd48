"""Ids and API keys (interfaces.md, "Words on the wire")."""

import re

import pytest
from cgn_sdk.protocol import ids
from hypothesis import given
from hypothesis import strategies as st


@given(st.sampled_from(sorted(ids.KINDS)), st.binary(min_size=ids.ID_BYTES, max_size=ids.ID_BYTES))
def test_account_ids(kind: str, random: bytes) -> None:
    made = ids.account_id(kind, random)
    assert ids.is_account_id(made, kind)
    assert ids.is_account_id(made)
    assert not ids.is_account_id(made, *(set(ids.KINDS) - {kind}))


@given(st.binary(min_size=ids.PUBLIC_ID_BYTES, max_size=ids.PUBLIC_ID_BYTES))
def test_public_ids(random: bytes) -> None:
    assert ids.is_public_id(ids.public_id(random))


@given(st.binary(min_size=ids.API_KEY_BYTES, max_size=ids.API_KEY_BYTES))
def test_api_keys(random: bytes) -> None:
    made = ids.make_api_key(random)
    parsed = ids.ApiKey.parse(made)
    assert parsed is not None
    assert parsed.whole == made
    assert made.startswith(f"cgn_{parsed.key_id}_")
    assert re.fullmatch(ids.API_KEY_PATTERN, made)
    assert made not in repr(parsed)


def test_no_bit_of_the_secret_is_lost() -> None:
    keys = {ids.make_api_key(bytes(8) + (1 << bit).to_bytes(32, "big")) for bit in range(256)}
    assert len(keys) == 256


@pytest.mark.parametrize(
    "text",
    ["", "ent_", "ENT_" + "a" * 20, "ent_" + "a" * 19, "ent_" + "a" * 20 + "\n", "ent_" + "1" * 20, "xxx_" + "a" * 20],
)
def test_what_is_no_account_id(text: str) -> None:
    assert not ids.is_account_id(text)


@given(st.text(max_size=80))
def test_what_is_no_key_is_none(text: str) -> None:
    parsed = ids.ApiKey.parse(text)
    assert parsed is None or parsed.whole == text
