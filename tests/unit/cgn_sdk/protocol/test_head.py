"""Heads: published vectors, and that nothing in one can be altered (L-3, L-12)."""

import json
from pathlib import Path

import pytest
from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.canonical import encode
from cgn_sdk.protocol.head import NO_ROWS, Head, extend, head_findings, sign_head

FILE = json.loads((Path(__file__).parents[3] / "vectors/head.json").read_text())
KEY = bytes.fromhex(FILE["public_key"])
HEAD = Head.decode(encode(FILE["heads"][-1]["head"]))


@pytest.mark.parametrize("vector", FILE["heads"], ids=lambda v: f"{v['head']['last_ingest']} rows")
def test_published_vectors(vector: dict) -> None:
    head = Head.decode(encode(vector["head"]))
    hashes = [bytes.fromhex(hash_) for hash_ in vector["row_hashes"]]
    assert head.signed_bytes().hex() == vector["signed_hex"]
    assert head.commitment == extend(NO_ROWS, hashes, keccak_256)
    assert head.last_ingest == len(hashes)
    assert head_findings(head, {head.node_id: KEY}, signing.verify) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"last_ingest": HEAD.last_ingest - 1},
        {"last_ingest": HEAD.last_ingest + 1},
        {"commitment": bytes(32)},
        {"time_ns": HEAD.time_ns + 1},
        {"signature": bytes(64)},
        {"signature": HEAD.signature[:-1]},
    ],
)
def test_an_altered_head_is_not_the_nodes(changes: dict) -> None:
    [finding] = head_findings(HEAD._replace(**changes), {HEAD.node_id: KEY}, signing.verify)
    assert finding.code == "head_signature"


def test_a_head_of_a_node_that_is_not_trusted_proves_nothing() -> None:
    other = sign_head("p" + "b" * 26, 1, NO_ROWS, 5, signing.Signer(bytes(32)).sign)
    [finding] = head_findings(other, {HEAD.node_id: KEY}, signing.verify)
    assert finding.code == "head_unknown"
    [finding] = head_findings(other._replace(node_id=HEAD.node_id), {HEAD.node_id: KEY}, signing.verify)
    assert finding.code == "head_signature"


def test_the_commitment_knows_every_row_and_its_place() -> None:
    hashes = [bytes([number]) * 32 for number in range(6)]
    whole = extend(NO_ROWS, hashes, keccak_256)
    assert extend(extend(NO_ROWS, hashes[:4], keccak_256), hashes[4:], keccak_256) == whole
    others = [
        hashes[:-1],
        hashes[1:],
        [hashes[1], hashes[0], *hashes[2:]],
        [*hashes, hashes[0]],
        hashes[:2] + hashes[3:],
    ]
    assert whole not in [extend(NO_ROWS, other, keccak_256) for other in others]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"null", HEAD.encode() + b" ", HEAD.encode().replace(b'"1"', b'"2"'), b"[" * 10_000]
)
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="head"):
        Head.decode(data)
    assert Head.decode(HEAD.encode()) == HEAD
