"""Ed25519 key files."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cgn_chassis.keys import load_or_create, public_bytes
from cgn_chassis.tls import Authority


def test_made_once_and_private(tmp_path: Path) -> None:
    key = load_or_create(tmp_path / "k")
    again = load_or_create(tmp_path / "k")
    assert public_bytes(key) == public_bytes(again)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    Ed25519PublicKey.from_public_bytes(public_bytes(key)).verify(again.sign(b"m"), b"m")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path / "k")
    (tmp_path / "k").chmod(0o640)
    with pytest.raises(ValueError, match="read by others"):
        load_or_create(tmp_path / "k")


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    Authority.load_or_create(tmp_path, "a")
    with pytest.raises(ValueError, match="not an Ed25519"):
        load_or_create(tmp_path / "authority.key")
