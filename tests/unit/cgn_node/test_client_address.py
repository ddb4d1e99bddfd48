"""Whose address counts behind proxies; no stranger writes it (N-6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgn_node.client_address import HOPS_MAX, Proxies

OURS = ("10.0.0.0/8", "2001:db8:ffff::/48")


@pytest.mark.parametrize(
    ("peer", "value", "counts"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # not a proxy of ours: its word is nothing
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),  # the left one is what a stranger wrote
        ("10.1.1.1", "192.0.2.66, 198.51.100.1, 10.2.2.2", "198.51.100.1"),  # two proxies in a row
        ("10.1.1.1", "10.9.9.9", "10.9.9.9"),  # from inside
        ("10.1.1.1", "198.51.100.1, unknown", "10.1.1.1"),
        ("10.1.1.1", "198.51.100.1, ,", "10.1.1.1"),
        ("10.1.1.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.1.1.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("10.1.1.1", "2001:db8::7", "2001:db8::7"),
        ("2001:db8:ffff::1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::ffff:10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "x" * 7_000, "10.1.1.1"),
    ],
)
def test_the_right_most_address_that_no_proxy_of_ours_has(peer: str, value: str, counts: str) -> None:
    assert Proxies(OURS).client(peer, {"x-forwarded-for": value, "forwarded": "for=192.0.2.99"}) == counts


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ('For="[2001:db8:cafe::17]:4711";proto=https', "2001:db8:cafe::17"),
        ("for=192.0.2.66, for=198.51.100.1;by=10.0.0.1;host=h", "198.51.100.1"),
        ("for=_hidden", "10.1.1.1"),
        ("proto=https", "10.1.1.1"),
    ],
)
def test_rfc_7239_says_it_too(value: str, counts: str) -> None:
    proxies = Proxies(OURS, "forwarded")
    assert proxies.client("10.1.1.1", {"forwarded": value, "x-forwarded-for": "192.0.2.99"}) == counts


def test_without_proxies_nobodys_word_is_taken() -> None:
    assert Proxies().client("10.1.1.1", {"x-forwarded-for": "198.51.100.1"}) == "10.1.1.1"


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="10"):
        Proxies(("10.0.0.1/8",))


@given(st.lists(st.text(max_size=40), max_size=3 * HOPS_MAX), st.ip_addresses(v=4).map(str))
def test_whatever_a_stranger_writes_its_own_address_counts(forged: list[str], stranger: str) -> None:
    """One proxy of ours in front: it adds the stranger's address behind what the stranger sent."""
    proxies = Proxies(("10.0.0.0/8",))
    if stranger.startswith("10."):
        return
    value = ", ".join([*forged, stranger])
    assert proxies.client("10.0.0.1", {"x-forwarded-for": value}) == stranger


@pytest.mark.parametrize(
    ("peer", "is_proxy"),
    [("10.1.1.1", True), ("11.1.1.1", False), ("2001:db8:ffff::1", True), ("::ffff:10.1.1.1", True)],
)
def test_many_come_through_a_proxy_and_through_nobody_else(peer: str, is_proxy: bool) -> None:
    assert Proxies(OURS).is_proxy(peer) is is_proxy
    assert not Proxies().is_proxy(peer)
    assert not Proxies(OURS).is_proxy("unix")
