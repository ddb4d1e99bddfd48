"""Which addresses a DService may be sent to: pure, so that it can be attacked with tables of hostile forms.

An *allow* test: an address passes if it is globally routable after everything hidden in it is unwrapped
(IPv4-mapped, IPv4-compatible, 6to4, NAT64, Teredo, ISATAP); whatever is not known to be public is refused.
Names are left to the caller to resolve; each answer goes through `check_addresses`, and the connection is made to the
checked address itself, so that a second answer of the resolver changes nothing (DNS rebinding).

Deliberately absent: resolving, connecting, redirects (`fetch` and the miner's egress proxy do those).
Source: G-5; RFC 6890 and the IANA special-purpose address registries; RFC 4291, 3056, 6052, 4380, 5214.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

URL_MAX_CHARS = 8192
"""Longer than any pre-signed URL in use (S3 and Azure SAS stay below 4 KiB); a bound, since URLs come from outside."""
HOST_MAX_CHARS = 253
"""RFC 1035: the longest name in text form."""
DEFAULT_PORTS = frozenset({80, 443, 8080, 8443})
"""Where web servers live. Other ports speak other protocols, and a request line sent to them is an attack."""

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Beyond what `is_global` of the oldest supported Python knows (the registries grew after it was released).
_NOT_PUBLIC: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
        "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
        "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_DOTTED = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


class AddressRefused(ValueError):
    """The address may not be used. `reason` says why in words that reveal nothing about the network inside."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of an allow or deny list: a network, a name or a `*.suffix`, for one port or for all."""

    network: Network | None = None
    name: str = ""
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Rule:
        """`127.0.0.1:8123`, `10.0.0.0/8`, `[::1]:80`, `*.example.org`, `example.org:443`; ValueError for others."""
        host, port = text.strip().lower(), None
        if match := re.fullmatch(r"(\[[^\]]+\](?:/\d+)?|[^:\[\]]+):(\d{1,5})", host):
            host, port = match[1], int(match[2])
            if not 0 < port < 65536:
                raise ValueError(f"{text!r}: a port is 1 to 65535")
        host = re.sub(r"^\[([^\[\]]+)\](/\d+)?$", r"\1\2", host)
        if ("[" not in host and ":" in host) or re.fullmatch(r"[0-9.]+(/\d+)?", host):
            return cls(network=ip_network(host), port=port)
        if not _is_name(host.removeprefix("*.")):
            raise ValueError(f"{text!r} is neither an address, a network nor a host name")
        return cls(name=host, port=port)

    def matches(self, host: str, address: Address | None, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address.version == self.network.version and address in self.network
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name


def parse_rules(text: str) -> tuple[Rule, ...]:
    """A comma- or space-separated list of rules; empty text is an empty list."""
    return tuple(Rule.parse(part) for part in re.split(r"[,\s]+", text) if part)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be reached. Deny beats allow; allow lifts the public test and port list; `only` excludes the rest."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    only: tuple[Rule, ...] = ()
    ports: frozenset[int] = field(default=DEFAULT_PORTS)


PUBLIC_ONLY = AddressPolicy()


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed the checks possible before resolving. `address` is set if the host is a literal."""

    scheme: str
    host: str
    port: int
    address: Address | None
    target: str = "/"

    @property
    def authority(self) -> str:
        """The Host header: brackets around IPv6, no port when it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}.get(self.scheme) else f"{host}:{self.port}"


def embedded_addresses(address: Address) -> list[IPv4Address]:
    """Every IPv4 address that the IPv6 address may carry; a packet to the outer one can end at the inner one."""
    if isinstance(address, IPv4Address):
        return []
    found: list[IPv4Address] = []
    low = int(address) & 0xFFFFFFFF
    if address.ipv4_mapped is not None:
        found.append(address.ipv4_mapped)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    if address in _NAT64 or address in _COMPATIBLE:
        found.append(IPv4Address(low))
    if (int(address) >> 32) & 0xFDFFFFFF == 0x00005EFE:  # ISATAP, RFC 5214: ::[02]00:5efe:a.b.c.d in any prefix
        found.append(IPv4Address(low))
    return found


def is_public(address: Address) -> bool:
    """True only for globally routable unicast addresses whose embedded addresses are public too."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if (mapped := address.ipv4_mapped) is not None:
            return is_public(mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST or not all(is_public(inner) for inner in embedded_addresses(address)):
            return False
    if any(address in network for network in _NOT_PUBLIC if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_addresses(
    host: str, port: int, addresses: Iterable[Address], policy: AddressPolicy = PUBLIC_ONLY
) -> list[Address]:
    """All answers of a resolver for one host: returned in their order if every one may be used.

    One bad answer refuses the host, since a mixed set is how rebinding begins. AddressRefused then, or when empty.
    """
    checked = [_unmapped(address) for address in addresses]
    if not checked:
        raise AddressRefused(f"{host} has no address")
    for address in checked:
        _check(host, address, port, policy)
    return checked


def check_host(host: str, port: int, policy: AddressPolicy = PUBLIC_ONLY) -> tuple[str, Address | None]:
    """A host as in a URL or a CONNECT line: (normal form, address if it is a literal). AddressRefused otherwise."""
    if not host.isascii():
        raise AddressRefused("the host name has characters outside ASCII: write it in its xn-- form")
    host = host.lower().removesuffix(".")
    if len(host) > HOST_MAX_CHARS or not host:
        raise AddressRefused("the URL has no usable host")
    address = _literal(host)
    if address is None and not _is_name(host):
        raise AddressRefused(f"{host!r} is not a host name")
    if address is not None:
        address = _unmapped(address)
        host = str(address)
        _check(host, address, port, policy)
        return host, address
    if any(rule.matches(host, None, port) for rule in policy.deny):
        raise AddressRefused(f"{host}:{port} is on the deny list")
    if port not in policy.ports and not _may_lift_port(host, port, policy):
        raise AddressRefused(f"port {port} may not be used; possible: {_listed(policy.ports)}")
    return host, None


def check_url(url: str, policy: AddressPolicy = PUBLIC_ONLY, *, schemes: Sequence[str] = ("http", "https")) -> Target:
    """Parses a URL once, strictly, and checks all that can be checked before its host is resolved, or AddressRefused.

    Refused beside addresses: other schemes, user names and passwords, zone ids, control characters, spaces,
    backslashes, number forms of addresses that resolvers read in their own way (`0x7f.1`, `2130706433`, `0177.0.0.1`).
    """
    if len(url) > URL_MAX_CHARS:
        raise AddressRefused(f"the URL is longer than {URL_MAX_CHARS} characters")
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url) or "\\" in url:
        raise AddressRefused("the URL has control characters, spaces or backslashes; percent-encode them")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("the URL cannot be parsed") from None
    scheme = parts.scheme.lower()
    if scheme not in schemes:
        raise AddressRefused(f"the URL must begin with {' or '.join(f'{known}://' for known in schemes)}")
    if "@" in parts.netloc:
        raise AddressRefused("the URL must not hold a user name or password")
    host = _host_of(parts.netloc)
    if port is None:
        port = 443 if scheme == "https" else 80
    if port == 0:
        raise AddressRefused("port 0 may not be used")
    normal, address = check_host(host, port, policy)
    path = parts.path or "/"
    return Target(scheme, normal, port, address, f"{path}?{parts.query}" if parts.query else path)


def _host_of(netloc: str) -> str:
    """The host exactly as written: `SplitResult.hostname` would drop what follows a bracket."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#%]+)(?::([0-9]{1,5}))?", netloc)
    if match is None or not netloc.isascii():
        raise AddressRefused(
            "the host name has characters outside ASCII: write it in its xn-- form"
            if not netloc.isascii()
            else "the URL has no usable host"
        )
    return match[1]


def _literal(host: str) -> Address | None:
    """The address if the host is one. A host that only looks like a number is refused: resolvers disagree on those."""
    if host.startswith("["):
        host = host.removeprefix("[").removesuffix("]")
        if ":" not in host:
            raise AddressRefused("brackets are for IPv6 addresses")
    if ":" in host:
        if "%" in host:
            raise AddressRefused("an address with a zone may not be used")
        try:
            return ip_address(host)
        except ValueError:
            raise AddressRefused("the IPv6 address cannot be parsed") from None
    if not _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        return None
    if not _DOTTED.fullmatch(host):
        raise AddressRefused("an IPv4 address is four decimal numbers without leading zeros")
    try:
        return ip_address(host)
    except ValueError:
        raise AddressRefused("the IPv4 address cannot be parsed") from None


def _check(host: str, address: Address, port: int, policy: AddressPolicy) -> None:
    forms: list[Address] = [address, *embedded_addresses(address)]
    if any(rule.matches(host, form, port) for rule in policy.deny for form in forms):
        raise AddressRefused(f"{host}:{port} is on the deny list")
    if any(rule.matches(host, address, port) for rule in policy.allow):
        return
    if policy.only and not any(rule.matches(host, address, port) for rule in policy.only):
        raise AddressRefused(f"{host}:{port} is not on the list of allowed hosts")
    if not is_public(address):
        raise AddressRefused(f"{host}:{port} is not a public address")
    if port not in policy.ports:
        raise AddressRefused(f"port {port} may not be used; possible: {_listed(policy.ports)}")


def _may_lift_port(host: str, port: int, policy: AddressPolicy) -> bool:
    """A name on the allow list, or a network there that the name may resolve into: `_check` decides after resolving."""
    return any(
        rule.port in (None, port) and (rule.network is not None or rule.matches(host, None, port))
        for rule in policy.allow
    )


def _unmapped(address: Address) -> Address:
    """`::ffff:a.b.c.d` is `a.b.c.d` on the wire, so it is judged, listed and connected to as that."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_name(host: str) -> bool:
    return bool(host) and len(host) <= HOST_MAX_CHARS and all(_LABEL.fullmatch(label) for label in host.split("."))


def _listed(ports: Iterable[int]) -> str:
    return ", ".join(str(port) for port in sorted(ports))
