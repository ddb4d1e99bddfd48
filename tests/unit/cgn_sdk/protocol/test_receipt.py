"""Receipts: a sound one has no findings, and every field that an attacker may alter has its finding (N-25, L-5)."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import merkle, receipt, row
from cgn_sdk.protocol.receipt import Anchor, Inclusion, Receipt, ReceiptError, Trust, TrustedMiner, verify_receipt
from cgn_sdk.protocol.settlement import entity_on_chain

NODE = signing.Signer(b"n" * 32)
MINER = signing.Signer(b"m" * 32)
STRANGER = signing.Signer(b"x" * 32)


class World(NamedTuple):
    """A settled row among others, with everything that belongs to it."""

    receipt: Receipt
    anchor: Anchor
    trust: Trust
    row: row.Row

    def findings(self, **changes: Any) -> set[str]:
        parts = {**self._asdict(), **changes}
        return {
            finding.code
            for finding in verify_receipt(
                parts["receipt"],
                parts["anchor"],
                parts["trust"],
                keccak_256,
                signing.verify,
                response_sha256=changes.get("response_sha256", ""),
            )
        }


def statement(row_id: str, **changes: str) -> dict[str, str]:
    return {
        "request_id": row_id,
        "attempt": "1",
        "miner_id": "min_a",
        "dservice": "mediagen",
        "dservice_version": "1.0.0",
        "status": "200",
        "response_sha256": "ab" * 32,
        "response_bytes": "10",
        "request_bytes": "0",
        "cpu_ns": "5",
        "memory_byte_seconds": "7",
        "wall_ns": "9",
        "gpu_ns": "0",
        **changes,
    }


def sealed(mine: dict[str, str], signer: signing.Signer = MINER, others: int = 4, index: int = 2) -> dict[str, Any]:
    """A metrics part: the statement among others of the same message, and its seal."""
    digests = [receipt.statement_digest(statement(f"{n:032x}")) for n in range(100, 100 + others)]
    digests.insert(index, receipt.statement_digest(mine))
    tree = receipt.seal_tree(digests)
    signature = signer.sign(receipt.SEAL, receipt.seal_bytes(tree[-1][0], len(digests)))
    return {
        "statement": mine,
        "seal": json.loads(receipt.seal_texts(tree, signature)[index]),
        "measured": {"wall_ns": "8"},
    }


@pytest.fixture
def world(make_row: Callable[..., row.Row]) -> World:
    return build(make_row)


def build(make_row: Callable[..., row.Row], metrics: dict[str, Any] | None = None, **changes: Any) -> World:
    metrics = metrics or sealed(statement(f"{1:032x}"))
    mine = make_row(1, parts={"metrics": metrics}, **changes)
    hashes = sorted([mine.row_hash, *(make_row(n).row_hash for n in range(2, 12))])
    index = hashes.index(mine.row_hash)
    anchor = Anchor(
        chain_id=31337,
        contract="0x" + "c" * 40,
        settlement_id=b"s" * 32,
        entity=entity_on_chain(mine.public["enterprise_id"]),
        role=0,
        account="0x" + "a" * 40,
        amount_nano_cpu=11 * int(mine.public["usage_fee_nano_cpu"]),
        xor_hash=bytes(32),
        merkle_root=merkle.root(hashes, keccak_256),
        row_count=11,
        tx_id="0x" + "7" * 64,
    )
    trust = Trust(
        nodes={mine.public["node_id"]: NODE.public_key},
        miners={"min_a": TrustedMiner(MINER.public_key, mine.public["contributor_id"])},
        chain_id=31337,
        contract="0x" + "c" * 40,
    )
    inclusion = Inclusion(anchor.batch_id(keccak_256), index, 11, tuple(merkle.proof(hashes, index, keccak_256)))
    shown = Receipt(
        public=dict(mine.public),
        metrics=copy.deepcopy(metrics),
        metrics_salt=row.part_salt(mine.salt, "metrics", keccak_256),
        node_signature=NODE.sign(receipt.ROW, mine.row_hash),
        inclusion=inclusion,
    )
    return World(shown, anchor, trust, mine)


def test_a_sound_receipt_has_no_findings(world: World) -> None:
    assert world.findings() == set()
    assert world.findings(response_sha256="AB" * 32) == set()
    assert world.findings(receipt=replace(world.receipt, inclusion=None), anchor=None) == set()
    with_hash = {**world.receipt.public, "row_hash": world.row.row_hash.hex()}
    assert world.findings(receipt=replace(world.receipt, public=with_hash)) == set()


def test_writing_and_reading_change_nothing(world: World) -> None:
    assert Receipt.decode(world.receipt.encode()) == world.receipt
    unsettled = replace(world.receipt, inclusion=None)
    assert Receipt.decode(unsettled.encode()) == unsettled
    assert Anchor.decode(world.anchor.encode()) == world.anchor
    assert Trust.decode(world.trust.encode()) == world.trust
    assert Trust.decode(Trust().encode()) == Trust()


@pytest.mark.parametrize("column", row.PUBLIC_COLUMNS)
def test_no_public_column_can_be_altered(world: World, column: str) -> None:
    """Whatever stands in a column, the node's signature and the anchored root notice another value."""
    value = world.receipt.public[column]
    other = [{**entry, "amount_nano_cpu": "0"} for entry in value] if type(value) is list else value[:-1] + "2"
    other = other if other != value else value[:-1] + "3"
    found = world.findings(receipt=replace(world.receipt, public={**world.receipt.public, column: other}))
    assert "inclusion_path" in found
    assert found & {"node_signature", "node_unknown"}


@pytest.mark.parametrize("column", row.PUBLIC_COLUMNS)
def test_no_public_column_can_be_left_out(world: World, column: str) -> None:
    public = {name: value for name, value in world.receipt.public.items() if name != column}
    assert "column_missing" in world.findings(receipt=replace(world.receipt, public=public))


def test_a_column_more_is_found(world: World) -> None:
    public = {**world.receipt.public, "note": "x"}
    assert {"column_unknown", "node_signature"} <= world.findings(receipt=replace(world.receipt, public=public))


@pytest.mark.parametrize("member", list(statement("0" * 32)))
def test_no_member_of_the_statement_can_be_altered(world: World, member: str) -> None:
    metrics = copy.deepcopy(dict(world.receipt.metrics))
    metrics["statement"][member] += "1"
    found = world.findings(receipt=replace(world.receipt, metrics=metrics))
    assert "metrics_hash" in found
    assert found & {"seal_signature", "miner_unknown"}


def test_other_metrics_cannot_be_altered_either(world: World) -> None:
    metrics = {**world.receipt.metrics, "measured": {"wall_ns": "1"}}
    assert world.findings(receipt=replace(world.receipt, metrics=metrics)) == {"metrics_hash"}
    assert world.findings(receipt=replace(world.receipt, metrics_salt=bytes(32))) == {"metrics_hash"}
    floats = {**world.receipt.metrics, "load": 0.5}
    assert world.findings(receipt=replace(world.receipt, metrics=floats)) == {"metrics_malformed"}


ATTACKS_ON_METRICS: list[tuple[str, Callable[[], dict[str, Any]], set[str]]] = [
    ("another request's statement", lambda: sealed(statement("f" * 32)), {"statement_row"}),
    ("another DService's", lambda: sealed(statement(f"{1:032x}", dservice="other")), {"statement_row"}),
    ("another version's", lambda: sealed(statement(f"{1:032x}", dservice_version="2.0.0")), {"statement_row"}),
    ("sealed by a stranger", lambda: sealed(statement(f"{1:032x}"), STRANGER), {"seal_signature"}),
    ("an unknown miner", lambda: sealed(statement(f"{1:032x}", miner_id="min_z"), STRANGER), {"miner_unknown"}),
    ("no statement", lambda: {"seal": {}}, {"statement_missing"}),
    ("no seal", lambda: {"statement": statement(f"{1:032x}")}, {"statement_missing"}),
    ("an empty seal", lambda: {"statement": statement(f"{1:032x}"), "seal": {}}, {"seal_malformed"}),
]


@pytest.mark.parametrize(("name", "metrics", "codes"), ATTACKS_ON_METRICS, ids=[a[0] for a in ATTACKS_ON_METRICS])
def test_a_node_alone_cannot_make_a_receipt(
    make_row: Callable[..., row.Row], name: str, metrics: Callable[[], dict[str, Any]], codes: set[str]
) -> None:
    """The node signs and anchors a row of its own; without the miner's seal over this very statement it is found."""
    assert build(make_row, metrics()).findings() == codes


def forge(metrics: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**metrics, "seal": {**metrics["seal"], **changes}}


SEAL_CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"count": "6"}, {"seal_signature"}),
    ({"count": "9"}, {"seal_path"}),
    ({"count": str(2**64)}, {"seal_malformed"}),
    ({"count": str(2**63 - 1)}, {"seal_path"}),
    ({"index": "1"}, {"seal_signature"}),
    ({"index": "5"}, {"seal_path"}),
    ({"index": "-1"}, {"seal_malformed"}),
    ({"path": []}, {"seal_path"}),
    ({"path": ["00" * 32] * 65}, {"seal_malformed"}),
    ({"path": ["00" * 31]}, {"seal_malformed"}),
    ({"signature": "00" * 64}, {"seal_signature"}),
    ({"signature": "zz" * 64}, {"seal_malformed"}),
]


@pytest.mark.parametrize(("changes", "codes"), SEAL_CHANGES)
def test_a_seal_altered_before_hashing_is_found(
    make_row: Callable[..., row.Row], changes: dict[str, Any], codes: set[str]
) -> None:
    metrics = forge(sealed(statement(f"{1:032x}")), **changes)
    assert build(make_row, metrics).findings() == codes


def test_a_signature_for_one_purpose_is_none_for_another(world: World) -> None:
    """The miner's key never vouches for a row, even if miner and node were the same party."""
    same_bytes = NODE.sign(receipt.SEAL, world.row.row_hash)
    assert world.findings(receipt=replace(world.receipt, node_signature=same_bytes)) == {"node_signature"}


def test_whose_miner_it_is_must_be_who_is_paid(world: World) -> None:
    other = {"min_a": TrustedMiner(MINER.public_key, "p" + "b" * 26)}
    assert world.findings(trust=replace(world.trust, miners=other)) == {"contributor"}
    anyone = {"min_a": TrustedMiner(MINER.public_key)}
    assert world.findings(trust=replace(world.trust, miners=anyone)) == set()


def test_only_trusted_keys_count(world: World) -> None:
    assert world.findings(trust=replace(world.trust, nodes={})) == {"node_unknown"}
    assert world.findings(trust=replace(world.trust, miners={})) == {"miner_unknown"}
    swapped = {world.row.public["node_id"]: MINER.public_key}
    assert world.findings(trust=replace(world.trust, nodes=swapped)) == {"node_signature"}
    assert world.findings(receipt=replace(world.receipt, node_signature=bytes(64))) == {"node_signature"}


def test_a_receipt_is_for_one_response(world: World) -> None:
    assert world.findings(response_sha256="cd" * 32) == {"response"}


ANCHOR_CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"merkle_root": bytes(32)}, {"inclusion_path"}),
    ({"row_count": 10}, {"inclusion_count"}),
    ({"row_count": 12}, {"inclusion_count"}),
    ({"row_count": 2000}, {"inclusion_count", "inclusion_path"}),
    ({"settlement_id": bytes(32)}, {"inclusion_batch"}),
    ({"chain_id": 1}, {"anchor_chain"}),
    ({"contract": "0x" + "d" * 40}, {"anchor_contract"}),
    ({"entity": bytes(32)}, {"anchor_entity", "inclusion_batch"}),
    ({"role": 2}, {"anchor_entity", "inclusion_batch"}),
    ({"role": 6}, {"anchor_role"}),
    ({"role": 255}, {"anchor_role"}),
    ({"amount_nano_cpu": 1}, {"anchor_amount"}),
]


@pytest.mark.parametrize(("changes", "codes"), ANCHOR_CHANGES)
def test_another_event_does_not_fit(world: World, changes: dict[str, Any], codes: set[str]) -> None:
    found = world.findings(anchor=replace(world.anchor, **changes))
    assert codes <= found
    assert found <= codes | {"inclusion_path"}


INCLUSION_CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"batch_id": bytes(32)}, {"inclusion_batch"}),
    ({"row_count": 12}, {"inclusion_count"}),
    ({"index": 11}, {"inclusion_path"}),
    ({"path": ()}, {"inclusion_path"}),
    ({"path": (bytes(32),) * 4}, {"inclusion_path"}),
]


@pytest.mark.parametrize(("changes", "codes"), INCLUSION_CHANGES)
def test_another_place_in_the_batch_does_not_fit(world: World, changes: dict[str, Any], codes: set[str]) -> None:
    assert world.receipt.inclusion is not None
    forged = replace(world.receipt, inclusion=replace(world.receipt.inclusion, **changes))
    assert world.findings(receipt=forged) == codes


def test_a_settled_row_needs_its_proof(world: World) -> None:
    assert world.findings(receipt=replace(world.receipt, inclusion=None)) == {"inclusion_missing"}


def test_all_findings_are_collected(world: World) -> None:
    forged = replace(world.receipt, node_signature=bytes(64), metrics_salt=bytes(32), inclusion=None)
    assert world.findings(receipt=forged) == {"node_signature", "metrics_hash", "inclusion_missing"}


def mutations(text: bytes) -> list[bytes]:
    members = json.loads(text)
    changed: list[object] = [[], {}, "x", None, {**members, "more": 1}]
    for name in members:
        changed.append({key: value for key, value in members.items() if key != name})
        changed += [{**members, name: wrong} for wrong in (5, 1.5, "zz", [1], {"a": 1}, True)]
    return [json.dumps(value).encode() for value in changed]


@pytest.mark.parametrize("kind", [Receipt, Anchor, Trust])
def test_malformed_files_are_refused_or_found(world: World, kind: Any) -> None:
    """No bytes from outside raise anything but ReceiptError, whatever member is of the wrong kind."""
    name = {Receipt: "receipt", Anchor: "anchor", Trust: "trust"}[kind]
    good = {"receipt": world.receipt, "anchor": world.anchor, "trust": world.trust}[name].encode()
    for text in [*mutations(good), b"", b"{", b"\xff\xfe", b"[" * 90_000, b" " * (receipt.MAX_RECEIPT_BYTES + 1)]:
        try:
            value = kind.decode(text)
        except ReceiptError:
            continue
        assert (
            world.findings(**{name: value})
            or json.loads(text) == json.loads(good)
            or name == "trust"
            or (name == "anchor" and value.tx_id != world.anchor.tx_id)
        )


def test_a_member_named_twice_is_refused(world: World) -> None:
    text = world.receipt.encode()
    twice = text.replace(b'"version":"1"', b'"version":"1","version":"1"')
    with pytest.raises(ReceiptError, match="twice"):
        Receipt.decode(twice)


def test_rows_of_the_wrong_kind_inside_do_not_raise(world: World) -> None:
    for column in row.PUBLIC_COLUMNS:
        for wrong in (None, 5, [], {}, [None], [{}], "\ud800", [{"role": "enterprise", "id": 5}], 0.5):
            public = {**world.receipt.public, column: wrong}
            assert world.findings(receipt=replace(world.receipt, public=public))
