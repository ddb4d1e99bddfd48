"""Keccak-256: published vectors over every library we may be running on."""

import json
from pathlib import Path

import pytest
import sha3
from cgn_sdk import keccak
from Crypto.Hash import keccak as pycryptodome

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/keccak.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: str(len(v["input_hex"]) // 2))
def test_all_libraries_agree_with_the_vectors(vector: dict) -> None:
    data = bytes.fromhex(vector["input_hex"])
    assert keccak.keccak_256(data).hex() == vector["digest"]
    assert sha3.keccak_256(data).hexdigest() == vector["digest"]
    assert pycryptodome.new(digest_bits=256, data=data).hexdigest() == vector["digest"]


def test_it_is_not_sha3() -> None:
    """The known digest of the empty string on Ethereum; SHA3-256 pads otherwise."""
    assert keccak.keccak_256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
