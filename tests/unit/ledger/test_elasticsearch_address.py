"""What a URL of a cluster says (L-6): any password, an authority, a key, and what to change where it says nothing."""

from pathlib import Path

import pytest

from ledger.elasticsearch_address import Address, address_of


def test_any_character_can_stand_in_user_and_password(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    found = address_of(f"https://no%3Ade:p%40ss%2Fw%3Ard%3F%25@es.example:9243/eu-1?ca={ca}")
    assert found == Address("https://es.example:9243", "eu-1", "no:de", "p@ss/w:rd?%", "", str(ca))
    assert found.credentials() == {"basic_auth": ("no:de", "p@ss/w:rd?%"), "ca_certs": str(ca)}
    assert "p@ss" not in found.who


def test_defaults() -> None:
    assert address_of("http://localhost:9200") == Address("http://localhost:9200", "cgn")
    assert address_of("https://es.example/") == Address("https://es.example:443", "cgn")
    assert address_of("http://[::1]:9200/x").server == "http://[::1]:9200"
    assert address_of("https://es.example?api_key=abc%3D%3D").credentials() == {"api_key": "abc=="}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https:///x", "names no host"),
        ("https://es.example?certificate=x", "no option 'certificate'; it knows api_key, ca"),
        ("https://node@es.example", "user and password, or neither"),
        ("https://:secret@es.example", "user and password, or neither"),
        ("https://a:b@es.example?api_key=c", "one of them"),
        ("https://es.example?ca=/nowhere/ca.pem", "is not a file"),
        ("http://es.example?ca=/nowhere/ca.pem", "only https"),
    ],
)
def test_what_to_change_is_said(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        address_of(url)
