"""The row: published vectors, the money invariants, the forms, and what each hash covers (L-1, L-2)."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import row
from cgn_sdk.protocol.canonical import encode

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/row.json").read_text())["rows"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["public"]["row_id"])
def test_published_vectors(vector: dict) -> None:
    public, salt = vector["public"], bytes.fromhex(vector["salt"])
    assert row.verify_row(public) == []
    assert row.public_preimage(public).hex() == vector["preimage_hex"]
    assert row.row_hash(public, keccak_256).hex() == vector["row_hash"]
    for name in row.PARTS:
        part_salt = row.part_salt(salt, name, keccak_256)
        assert part_salt.hex() == vector["part_salts"][name]
        assert row.part_hash(part_salt, vector["parts"][name], keccak_256).hex() == public[f"{name}_hash"]


def test_the_columns_are_of_the_five_classes_of_the_specification() -> None:
    classes = {(c.mutability, c.origin, c.visibility) for c in row.COLUMNS}
    assert classes == {
        ("immutable", "internal", "public"),
        ("immutable", "internal", "private"),
        ("immutable", "custom", "private"),
        ("immutable", "custom", "public"),
        ("mutable", "internal", "private"),
    }
    assert len({c.name for c in row.COLUMNS}) == len(row.COLUMNS)


def test_a_row_survives_writing_and_reading(make_row: Callable[..., row.Row]) -> None:
    one = make_row(parts={"custom": {"user": "Zoë"}, "metrics": {"cpu_ns": "12"}})
    again = row.decode_row(one.to_bytes(), keccak_256)
    assert again == one
    assert encode(json.loads(one.to_bytes())) == one.to_bytes()


def test_the_nodes_signature_stays_with_the_row(make_row: Callable[..., row.Row]) -> None:
    plain = make_row()
    signed = plain.signed(bytes(range(64)))
    assert signed != plain
    assert encode(json.loads(signed.to_bytes())) == signed.to_bytes()
    assert row.decode_row(signed.to_bytes(), keccak_256) == signed
    assert row.decode_row(plain.to_bytes(), keccak_256).node_signature == b"", "rows of an older ledger have none"
    for wrong in (b"00", b"zz", b"00" * 65):
        with pytest.raises(row.RowError):
            row.decode_row(signed.to_bytes().replace(bytes(range(64)).hex().encode(), wrong), keccak_256)


def test_a_row_is_carried_to_another_process_as_it_was(make_row: Callable[..., row.Row]) -> None:
    one = make_row(parts={"custom": {"user": "Zoë"}, "metrics": {"cpu_ns": "12"}}).signed(bytes(range(64)))
    assert row.carry_row(one.public_json, one.private_json, one.row_hash, one.node_signature, keccak_256) == one
    for public, private in (
        (one.public_json.replace(b"operator", b"operatur"), one.private_json),
        (one.public_json, one.private_json[:-3]),
        (one.public_json, b""),
    ):
        with pytest.raises(row.RowError):
            row.carry_row(public, private, one.row_hash, b"", keccak_256)
    with pytest.raises(row.RowError):
        row.carry_row(b"no JSON", one.private_json, keccak_256(b"no JSON"), b"", keccak_256)


def test_lists_are_sorted_whatever_the_order_given(make_row: Callable[..., row.Row]) -> None:
    sound = make_row()
    entries = [
        row.Payout(e["role"], e["id"], int(e["amount_nano_eur"]), int(e["amount_nano_cpu"]))
        for e in sound.public["payouts"]
    ]
    assert make_row(payouts=entries[::-1]).row_hash == sound.row_hash


CODES_OF_WRONG_MONEY = [
    ({"usage_fee_nano_cpu": 1}, {"money_rate", "money_pay_in", "money_payouts"}),
    ({"usage_fee_nano_eur": 1_001}, {"money_rate", "money_payouts_eur"}),
    ({"exchange_rate_nano_eur_per_cpu": 40_000_000}, {"money_rate"}),
    ({"pay_in": []}, {"money_pay_in"}),
    ({"payouts": []}, {"money_payouts", "money_payouts_eur"}),
]


@pytest.mark.parametrize(("change", "codes"), CODES_OF_WRONG_MONEY)
def test_money_that_does_not_add_up_is_never_built(
    make_row: Callable[..., row.Row], change: dict, codes: set[str]
) -> None:
    with pytest.raises(row.RowError) as refused:
        make_row(**change)
    assert {finding.code for finding in refused.value.findings} == codes


GOOD_ID = "p" + "a" * 26
WRONG_FORMS: list[tuple[str, Any]] = [
    ("row_id", "0" * 31),
    ("row_id", "A" * 32),
    ("row_id", "0" * 32 + "\n"),
    ("schema_version", "2"),
    ("event_time_ns", "01"),
    ("event_time_ns", "-1"),
    ("event_time_ns", str(2**63)),
    ("event_time_ns", "1" * 5_000),
    ("event_time_ns", 1),
    ("event_time_ns", "١٢"),
    ("node_id", ""),
    ("enterprise_id", "ent_" + "a" * 20),
    ("end_user_id", "someone"),
    ("dservice", "Media Gen"),
    ("dservice_version", ""),
    ("tier", "4"),
    ("usage_fee_nano_eur", "1e3"),
    ("usage_fee_nano_cpu", 1.0),
    ("exchange_rate_nano_eur_per_cpu", "0"),
    ("pay_in", {}),
    ("pay_in", [{"role": "contributor", "id": GOOD_ID, "amount_nano_cpu": "1"}]),
    ("payouts", [{"role": "operator", "id": GOOD_ID, "amount_nano_cpu": "1"}]),
    ("payouts", [{"role": "operator", "id": GOOD_ID, "amount_nano_cpu": "1", "amount_nano_eur": "1", "x": "1"}]),
    ("payouts", [{"role": ["operator"], "id": GOOD_ID, "amount_nano_cpu": "1", "amount_nano_eur": "1"}]),
    ("payouts", [{"role": "operator", "id": GOOD_ID, "amount_nano_cpu": "+1", "amount_nano_eur": "1"}]),
    ("payouts", [{"role": "operator", "id": GOOD_ID, "amount_nano_cpu": "0", "amount_nano_eur": "0"}] * 2),
    ("payouts", [None]),
    ("request_hash", "0x" + "0" * 62),
    ("custom_hash", None),
]


@pytest.mark.parametrize(("column", "value"), WRONG_FORMS)
def test_a_wrong_form_is_found_and_named(make_row: Callable[..., row.Row], column: str, value: object) -> None:
    public = dict(make_row().public)
    public[column] = value
    findings = row.verify_row(public)
    assert [(finding.code, finding.where) for finding in findings] == [("column_form", column)]


def test_every_column_is_needed_and_no_other_is_allowed(make_row: Callable[..., row.Row]) -> None:
    public = dict(make_row().public)
    for name in row.PUBLIC_COLUMNS:
        less = {key: value for key, value in public.items() if key != name}
        assert ("column_missing", name) in {(f.code, f.where) for f in row.verify_row(less)}
    assert [f.code for f in row.verify_row({**public, "note": "x"})] == ["column_unknown"]
    assert row.verify_row([]) != []


@pytest.mark.parametrize("value", [1.5, True, "10", None])
def test_an_amount_that_is_no_integer_is_refused(make_row: Callable[..., row.Row], value: object) -> None:
    with pytest.raises(row.RowError):
        make_row(usage_fee_nano_eur=value)


@pytest.mark.parametrize(
    "change",
    [
        {"salt": b"short"},
        {"salt": "s" * 32},
        {"parts": {"secret": {}}},
        {"parts": {"metrics": {"load": 0.5}}},
        {"parts": {"metrics": "text"}},
        {"parts": {"custom": {"x": "y" * row.MAX_CUSTOM_BYTES}}},
        {"parts": {"request": {"x": "y" * row.MAX_PART_BYTES}}},
    ],
)
def test_private_parts_and_salt_are_bounded_and_typed(make_row: Callable[..., row.Row], change: dict) -> None:
    with pytest.raises(row.RowError):
        make_row(**change)


def test_stored_bytes_altered_in_any_part_are_refused(make_row: Callable[..., row.Row]) -> None:
    one = make_row(parts={name: {"a": "b"} for name in row.PARTS})
    record = json.loads(one.to_bytes())
    for name in row.PARTS:
        altered = copy.deepcopy(record)
        altered["private"]["parts"][name]["a"] = "c"
        with pytest.raises(row.RowError):
            row.decode_row(encode(altered), keccak_256)
    altered = copy.deepcopy(record)
    altered["private"]["salt"] = "00" * 32
    for wrong in (altered, {**record, "x": {}}, {"public": record["public"]}, [], {"public": [], "private": {}}):
        with pytest.raises(row.RowError):
            row.decode_row(encode(wrong), keccak_256)
    for garbage in (b"", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(row.RowError):
            row.decode_row(garbage, keccak_256)


def test_opening_one_part_does_not_open_another(make_row: Callable[..., row.Row]) -> None:
    """Without its salt a part with few possible values could be found by trying them; each has a salt of its own."""
    one = make_row()
    salts = {row.part_salt(one.salt, name, keccak_256) for name in row.PARTS}
    assert len(salts) == len(row.PARTS)
    assert len({one.public[f"{name}_hash"] for name in row.PARTS}) == len(row.PARTS), "equal parts, different hashes"


def test_fees_are_rounded_down() -> None:
    assert row.fee_nano_cpu(1, 3 * row.NANO_PER_UNIT) == 0
    assert row.fee_nano_cpu(10, 3 * row.NANO_PER_UNIT) == 3
    assert row.fee_nano_cpu(10**18, 1) == 10**27


def mutated(public_json: bytes, old: bytes, new: bytes) -> bytes:
    assert public_json.count(old) >= 1
    return public_json.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'"tier":"2"', b'"tier":"4b","tier":"2"', "row_malformed"),
        (b'"tier":"2"', b'"tier":"2","tier":"2"', "row_malformed"),
        (b'{"amount_nano_cpu":', b'{"amount_nano_cpu":"1","amount_nano_cpu":', "row_malformed"),
        (b'"tier":"2"', b'"tier": "2"', "row_bytes"),
        (b'"tier":"2"', b'"tier":"2"\n', "row_bytes"),
        (b'"mediagen"', b'"\\u006dediagen"', "row_bytes"),
        (b'"tier":"2"', b'"tier":2', "column_form"),
        (b'"tier":"2"', b'"tier":2.0', "row_malformed"),
        (b'"tier":"2"', b'"tier":' + b"2" * 5_000, "row_malformed"),
        (b'"tier":"2"', b'"tier":' + b"[" * 10_000, "row_malformed"),
        (b'"tier":"2"', b'"tier":"' + b"2" * 17_000 + b'"', "row_length"),
        (b"}", b',"row_hash":""}', "column_unknown"),
        (b'"tier":"2"', b'"tier":"\xff"', "row_malformed"),
    ],
)
def test_a_public_row_in_another_spelling_is_refused(
    make_row: Callable[..., row.Row], old: bytes, new: bytes, code: str
) -> None:
    """Other parsers take the first of two members where ours takes the last: the bytes are checked (L-2, L-12)."""
    stored = mutated(make_row(1).public_json, old, new)
    if code == "column_unknown":
        stored = stored.replace(b',"row_hash":""}', b"}", 1)[:-1] + b',"row_hash":""}'
    with pytest.raises(row.RowError) as refused:
        row.read_public(stored)
    assert code in {finding.code for finding in refused.value.findings}


@pytest.mark.parametrize(
    "stored", [b"", b"[]", b'"x"', b"7", b"null", b"{", b"[" * 100_000, b"9" * 5_000, b"\xff", b"{}"]
)
def test_anything_else_in_a_rows_place_is_a_finding(make_row: Callable[..., row.Row], stored: bytes) -> None:
    one = make_row(1)
    hashes = row.read_public(one.public_json).part_hashes
    for read in (row.read_public, lambda data: row.read_private(data, hashes, keccak_256)):
        with pytest.raises(row.RowError) as refused:
            read(stored)
        assert refused.value.findings


@pytest.mark.parametrize("column", ["enterprise_id", "contributor_id", "developer_id", "operator_id"])
def test_who_did_the_work_is_who_is_paid_for_it(make_row: Callable[..., row.Row], column: str) -> None:
    """A row that says A worked and pays B is never built, nor taken from anybody (L-1)."""
    one = make_row(1)
    other = "p" + "q" * 26
    with pytest.raises(row.RowError) as refused:
        make_row(1, **{column: other})
    assert [(finding.code, finding.where) for finding in refused.value.findings] == [("role_id", column)]
    public = {**one.public, column: other}
    assert ("role_id", column) in {(finding.code, finding.where) for finding in row.verify_row(public)}
    with pytest.raises(row.RowError, match=other):
        row.read_public(encode(public))


def test_a_subsidy_and_a_charity_may_be_anybodys(make_row: Callable[..., row.Row]) -> None:
    one = make_row(1)
    fee, anybody = int(one.public["usage_fee_nano_cpu"]), "p" + "q" * 26
    make_row(2, pay_in=[row.PayIn("subsidy", anybody, fee)], payouts=[row.Payout("charity", anybody, 1_000, fee)])
