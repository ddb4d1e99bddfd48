"""Address checks against hostile forms (G-5)."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from cgn_sdk.dservice.addresses import (
    AddressPolicy,
    AddressRefused,
    Rule,
    check_addresses,
    check_host,
    check_url,
    embedded_addresses,
    is_public,
    parse_rules,
)
from hypothesis import given
from hypothesis import strategies as st

VECTORS = Path(__file__).parents[3] / "vectors/addresses"


def vectors(name: str) -> list[str]:
    lines = (VECTORS / f"{name}.txt").read_text().split("\n")
    return [line.encode().decode("unicode_escape") for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("text", vectors("not_public"))
def test_what_is_not_public_is_refused(text: str) -> None:
    assert not is_public(ip_address(text))
    with pytest.raises(AddressRefused, match=r"host\.example:80 is not a public address"):
        check_addresses("host.example", 80, [ip_address(text)])
    with pytest.raises(AddressRefused, match="not a public address|with a zone|no usable host"):
        check_url(f"http://[{text}]/" if ":" in text else f"http://{text}/")


@pytest.mark.parametrize("text", vectors("public"))
def test_public_addresses_pass(text: str) -> None:
    assert is_public(ip_address(text))
    assert check_addresses("host.example", 443, [ip_address(text)])


ODD_URLS = [
    "http://exa mple.org/",
    "http://x\n.org/",
    "http://x\t.org/",
    "http://example.org\\@127.0.0.1/",
    " http://example.org/",
    "http://example.org/\x7f",
    "http://" + "a" * 64 + ".org/",
    "http://" + "a." * 130 + "org/",
    "http://example.org/" + "x" * 9000,
    "",
]


@pytest.mark.parametrize("url", vectors("hostile_urls") + ODD_URLS)
def test_hostile_urls_are_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url)


def test_a_url_is_parsed_once_and_strictly() -> None:
    target = check_url("HTTPS://Files.Example.ORG:8443/a%20b/c.jpg?sig=x%2By&se=1#part")
    assert (target.scheme, target.host, target.port, target.address) == ("https", "files.example.org", 8443, None)
    assert target.target == "/a%20b/c.jpg?sig=x%2By&se=1"
    assert target.authority == "files.example.org:8443"
    assert check_url("http://example.org").target == "/"
    assert check_url("http://[2606:4700::1]/").authority == "[2606:4700::1]"


def test_one_bad_answer_refuses_the_host() -> None:
    mixed = [ip_address("93.184.216.34"), ip_address("127.0.0.1")]
    with pytest.raises(AddressRefused, match="not a public address"):
        check_addresses("rebind.example", 80, mixed)
    with pytest.raises(AddressRefused, match="has no address"):
        check_addresses("nothing.example", 80, [])


def test_allow_lifts_the_check_for_exactly_what_it_names() -> None:
    policy = AddressPolicy(allow=parse_rules("127.0.0.1:8123, 10.1.0.0/16 [fd00::1]:90 store.internal:9000"))
    assert check_url("http://127.0.0.1:8123/x", policy).port == 8123
    assert check_host("10.1.2.3", 4711, policy)[0] == "10.1.2.3"
    assert check_host("[fd00::1]", 90, policy)[0] == "fd00::1"
    assert check_host("::ffff:127.0.0.1", 8123, policy)[0] == "127.0.0.1"
    assert check_host("store.internal", 9000, policy)[1] is None
    assert check_addresses("store.internal", 9000, [ip_address("192.168.1.1")], policy)
    assert check_addresses("localhost", 8123, [ip_address("127.0.0.1")], policy)
    for host, port in (("127.0.0.1", 8124), ("127.0.0.2", 8123), ("10.2.0.1", 80), ("fd00::2", 90)):
        with pytest.raises(AddressRefused, match="not a public address"):
            check_host(host, port, policy)
    with pytest.raises(AddressRefused, match="not a public address"):
        check_addresses("localhost", 8123, [ip_address("127.0.0.1"), ip_address("::1")], policy)
    with pytest.raises(AddressRefused, match="port 9000 may not be used"):
        check_addresses("example.org", 9000, [ip_address("93.184.216.34")], policy)


def test_deny_beats_allow_and_only_excludes_the_rest() -> None:
    policy = AddressPolicy(
        allow=parse_rules("8.8.8.8"), deny=parse_rules("8.8.8.0/24 *.bad.example"), only=parse_rules("*.good.example")
    )
    public = [ip_address("93.184.216.34")]
    for host, addresses, rule in (
        ("8.8.8.8", [ip_address("8.8.8.8")], "on the deny list"),
        ("x", [ip_address("64:ff9b::8.8.8.8")], "on the deny list"),
        ("other.example", public, "not on the list of allowed hosts"),
    ):
        with pytest.raises(AddressRefused, match=rule):
            check_addresses(host, 80, addresses, policy)
    with pytest.raises(AddressRefused, match="on the deny list"):
        check_host("a.bad.example", 80, policy)
    assert check_addresses("a.good.example", 80, public, policy) == public
    with pytest.raises(AddressRefused, match="not a public address"):
        check_addresses("a.good.example", 80, [ip_address("10.0.0.1")], policy)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("127.0.0.1:0", "a port is 1 to 65535"),
        ("127.0.0.1:99999", "a port is 1 to 65535"),
        ("10.0.0.1/8", "has host bits set"),
        ("300.1.1.1", "does not appear to be an IPv4 or IPv6 network"),
        ("a b/c", "neither an address, a network nor a host name"),
        ("x!y", "neither an address, a network nor a host name"),
        ("[::1", "neither an address, a network nor a host name"),
    ],
)
def test_malformed_rules_are_refused_at_start(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Rule.parse(text)


@given(st.ip_addresses(v=4))
def test_every_embedding_of_a_private_address_is_refused(inner) -> None:  # type: ignore[no-untyped-def]
    low = int(inner)
    forms = [
        0xFFFF << 32 | low,
        low,
        (0x64FF9B << 96) | low,
        (0x2002 << 112) | (low << 80) | 1,
        (0x20010000 << 96) | (low << 64) | 0xFFFFFFFF,
        (0x2A001450 << 96) | (0x5EFE << 32) | low,
    ]
    for form in forms:
        outer = ip_address(form.to_bytes(16, "big"))
        assert inner in embedded_addresses(outer)
        if not is_public(inner):
            assert not is_public(outer)


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    for url in (text, f"http://{text}/", f"http://{text}"):
        try:
            target = check_url(url)
        except AddressRefused:
            continue
        assert target.address is None or is_public(target.address)
        assert target.host.isascii()
