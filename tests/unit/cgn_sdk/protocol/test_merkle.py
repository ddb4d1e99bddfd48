"""Merkle trees: published vectors and the edges (L-5)."""

import hashlib
import json
from pathlib import Path

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import merkle

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/merkle.json").read_text())
HASHES = {"keccak-256": keccak_256, "sha-256": lambda data: hashlib.sha256(data).digest()}


@pytest.mark.parametrize("tree", VECTORS["trees"], ids=lambda t: f"{t['hash']}-{len(t['leaves'])}")
def test_published_vectors(tree: dict) -> None:
    leaves = [bytes.fromhex(leaf) for leaf in tree["leaves"]]
    hash_ = HASHES[tree["hash"]]
    root = bytes.fromhex(tree["root"])
    assert merkle.root(leaves, hash_) == root
    for index, proof in enumerate(tree["proofs"]):
        path = [bytes.fromhex(node) for node in proof]
        assert merkle.proof(leaves, index, hash_) == path
        assert merkle.verify(leaves[index], index, len(leaves), path, root, hash_)


def test_the_known_root_of_certificate_transparency() -> None:
    """The tree of seven inputs that RFC 6962 implementations share, over SHA-256, from its published test inputs."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    leaves = [bytes.fromhex(text) for text in inputs]
    root = merkle.root(leaves, HASHES["sha-256"])
    assert root.hex() == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"


@pytest.mark.parametrize("index", [-1, 3])
def test_no_proof_of_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        merkle.proof([b"a", b"b", b"c"], index, keccak_256)


def test_no_proof_in_an_empty_tree() -> None:
    with pytest.raises(IndexError):
        merkle.proof([], 0, keccak_256)
    assert not merkle.verify(b"", 0, 0, [], keccak_256(b""), keccak_256)
