"""Settlement and batch ids, and a batch's commitment: published vectors (L-5, P-1)."""

import json
from pathlib import Path

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import merkle
from cgn_sdk.protocol.settlement import Scope, batch_id, batch_id_of, commit, entity_on_chain, settlement_id

FILE = json.loads((Path(__file__).parents[3] / "vectors/settlement.json").read_text())


@pytest.mark.parametrize("vector", FILE["settlements"], ids=lambda v: v["role"])
def test_published_vectors(vector: dict) -> None:
    scope = Scope(int(vector["chain_id"]), vector["token"], vector["period"])
    first, last, previous = int(vector["first_ingest"]), int(vector["last_ingest"]), bytes.fromhex(vector["previous"])
    found = settlement_id(scope, first, last, previous, keccak_256)
    assert found.hex() == vector["settlement_id"]
    entity = entity_on_chain(vector["public_id"])
    assert entity.hex() == vector["entity"]
    assert batch_id_of(found, vector["public_id"], vector["role"], keccak_256).hex() == vector["batch_id"]
    assert (
        batch_id(found, entity, {"enterprise": 0, "contributor": 1}[vector["role"]], keccak_256).hex()
        == vector["batch_id"]
    )
    hashes = [bytes.fromhex(hash_) for hash_ in vector["row_hashes"]]
    committed = commit(hashes, int(vector["amount_nano_cpu"]), keccak_256)
    assert (str(committed.row_count), committed.xor.hex()) == (vector["row_count"], vector["xor"])
    assert committed.merkle_root.hex() == vector["merkle_root"]
    for index, (leaf, path) in enumerate(zip(sorted(hashes), vector["paths"], strict=True)):
        steps = [bytes.fromhex(node) for node in path]
        assert merkle.verify(leaf, index, len(hashes), steps, committed.merkle_root, keccak_256)


def test_each_settlement_names_the_one_before() -> None:
    first, second = FILE["settlements"]
    assert first["previous"] == "0" * 64
    assert second["previous"] == first["settlement_id"]
