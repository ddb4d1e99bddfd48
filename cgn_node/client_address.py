"""Whose address counts when proxies stand in front of the node (N-6). Pure.

A proxy adds the address it was reached from at the right end of `X-Forwarded-For` or `Forwarded` (RFC 7239); everything
to the left of what trusted proxies added may have been written by anybody. So the address that counts is the right-most
one that is not a trusted proxy's: strangers can neither take another's address nor lay theirs down.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HEADERS: Final = ("x-forwarded-for", "forwarded")
"""Which header the proxies write. Only one is read: the other may be a stranger's."""
HOPS_MAX: Final = 16
"""Proxies looked through; no honest chain is longer."""


class Proxies:
    """The networks whose word is taken on where a request came from."""

    def __init__(self, networks: Sequence[str] = (), header: str = HEADERS[0]) -> None:
        """Raises ValueError for what is not a network, such as `10.0.0.0/8` or `2001:db8::/32`."""
        self._networks = [ipaddress.ip_network(text) for text in networks]
        self._header = header

    def client(self, peer: str, fields: Mapping[str, str]) -> str:
        """The address that counts: the peer's, unless it is a trusted proxy that says who came to it."""
        if not self._networks:
            return peer
        address = _address(peer)
        if address is None or not self._is_trusted(address):
            return peer
        for text in reversed(self._entries(fields.get(self._header, ""))):
            said = _address(text)
            if said is None:  # `unknown`, `_hidden`, or nonsense: what stands left of it is nobody's word
                break
            address = said
            if not self._is_trusted(address):
                break
        return str(address)

    def is_proxy(self, peer: str) -> bool:
        """Whether many clients come through this one, so that it has no bound of its own."""
        address = _address(peer) if self._networks else None
        return address is not None and self._is_trusted(address)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _entries(self, value: str) -> list[str]:
        entries = value.rsplit(",", HOPS_MAX)[-HOPS_MAX:]
        return entries if self._header == HEADERS[0] else [_for_of(entry) for entry in entries]


def _for_of(element: str) -> str:
    """The `for` parameter of one element of `Forwarded`, quotes taken off; empty when it has none."""
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return ""


def _address(text: str) -> Address | None:
    """An IP address out of `192.0.2.1`, `192.0.2.1:47011`, `2001:db8::1`, `[2001:db8::1]:47011`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
