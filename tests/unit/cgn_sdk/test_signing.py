"""Ed25519 with domains: both libraries make and accept the same signatures; nothing else is accepted."""

import pytest
from cgn_sdk import signing

LIBRARIES = {"sodium": signing._with_sodium(), "pycryptodome": signing._with_pycryptodome()}
SEED = bytes(range(32))


@pytest.mark.parametrize("maker", LIBRARIES)
@pytest.mark.parametrize("checker", LIBRARIES)
def test_the_libraries_agree(maker: str, checker: str) -> None:
    sign, public_key = LIBRARIES[maker][0](SEED)
    check = LIBRARIES[checker][1](public_key)
    assert check is not None
    signature = sign(b"data")
    assert signature == LIBRARIES[checker][0](SEED)[0](b"data")
    assert check(signature, b"data")
    assert not check(signature, b"other")
    assert not check(bytes(64), b"data")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_key_that_is_no_point_is_no_key(library: str) -> None:
    check = LIBRARIES[library][1](b"\x02" + b"\xff" * 31)
    assert check is None or not check(bytes(64), b"data")


def test_a_key_of_small_order_signs_nothing() -> None:
    """With the neutral point as key and as R, and S = 0, the equation of RFC 8032 holds for every message."""
    neutral = b"\x01" + bytes(31)
    check = LIBRARIES["sodium"][1](neutral)
    assert check is not None
    assert not check(neutral + bytes(32), b"data")


def test_the_first_vector_of_rfc_8032() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert signing.Signer(seed).public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_a_domain_is_part_of_what_is_signed() -> None:
    signer = signing.Signer(SEED)
    signature = signer.sign("row", b"data")
    assert signing.message("row", b"data") == b"cgn/row/1\x00data"
    assert signing.verify(signer.public_key, "row", b"data", signature)
    assert not signing.verify(signer.public_key, "seal", b"data", signature)
    assert not signing.verify(signer.public_key, "row", b"data2", signature)
    assert not signing.verify(signing.Signer(bytes(32)).public_key, "row", b"data", signature)


@pytest.mark.parametrize(("key", "signature"), [(b"", bytes(64)), (bytes(31), bytes(64)), (bytes(32), b"short")])
def test_keys_and_signatures_of_the_wrong_length_are_false(key: bytes, signature: bytes) -> None:
    assert not signing.verify(key, "row", b"data", signature)


def test_a_seed_of_the_wrong_length_is_refused_and_never_shown() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        signing.Signer(b"short")
    assert SEED.hex() not in repr(signing.Signer(SEED))
