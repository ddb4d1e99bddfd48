"""Settings of one node: a TOML file and `CGN_NODE_…` environment variables (O-5). `cgn node run --check` explains
mistakes."""

from dataclasses import dataclass
from pathlib import Path

from cgn_chassis.settings import Secret, section, setting
from cgn_node import client_address, limits
from cgn_node.core import limits as broker_limits


@dataclass(frozen=True, kw_only=True)
class WorkSettings:
    """N-2."""

    host: str = setting("0.0.0.0", about="address the work endpoint listens on")  # noqa: S104  (a public endpoint)
    port: int = setting(443, unit="port", minimum=0, maximum=65_535, about="HTTPS for DApps; 0 takes any free port")
    held_bytes: int = setting(
        limits.RESPONSE_HELD_BYTES,
        unit="bytes",
        minimum=1,
        maximum=64 * limits.MIB,
        about="a response up to this length waits for its row and carries its cost; a longer one streams",
    )
    session_ttl_s: int = setting(
        limits.SESSION_TTL_S, unit="s", minimum=1, maximum=86_400, about="life of a session key"
    )


@dataclass(frozen=True, kw_only=True)
class MinerSettings:
    """N-1."""

    host: str = setting("0.0.0.0", about="address the miner endpoint listens on")  # noqa: S104  (a public endpoint)
    port: int = setting(8080, unit="port", minimum=0, maximum=65_535, about="WSS for miners; 0 takes any free port")
    acknowledge_ms: int = setting(
        2_000, unit="ms", minimum=10, maximum=60_000, about="a miner acknowledges an attempt within this (N-10)"
    )
    silence_ms: int = setting(
        broker_limits.SILENCE_MS,
        unit="ms",
        minimum=100,
        maximum=600_000,
        about="a miner that says nothing about a request it works on for this long is disconnected (N-10)",
    )


@dataclass(frozen=True, kw_only=True)
class StatusSettings:
    """N-3."""

    host: str = setting("0.0.0.0", about="address the status endpoint listens on")  # noqa: S104  (a public endpoint)
    port: int = setting(5551, unit="port", minimum=0, maximum=65_535, about="HTTPS/JSON status; 0 takes any free port")
    metrics_host: str = setting("127.0.0.1", about="address of the private Prometheus listener (plain HTTP)")
    metrics_port: int = setting(
        9551, unit="port", minimum=0, maximum=65_535, about="Prometheus listener; 0 takes any free port"
    )


@dataclass(frozen=True, kw_only=True)
class CentralSettings:
    """N-4."""

    host: str = setting("0.0.0.0", about="address the Central endpoint listens on")  # noqa: S104  (a public endpoint)
    port: int = setting(7771, unit="port", minimum=0, maximum=65_535, about="WSS for Central; 0 takes any free port")
    authority: Path = setting(about="PEM file of the authority that signed Central's client certificate")
    fingerprints: tuple[str, ...] = setting(
        about="SHA-256 of the DER form of each Central certificate that may connect, hexadecimal"
    )


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """Server certificate of the four endpoints."""

    certificate: Path = setting(about="PEM file: the certificate and those between it and the authority")
    key: Path = setting(about="PEM file: its private key")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of it."""

    node_id: str = setting(about="account id of this node at Central (nod_…)")
    api_key: Secret = setting(about="API key of this node at Central")
    state: Path = setting(about="folder for the spool, the policy's copy, the signing key and bodies under way")
    ledger: str = setting(
        about="where rows go: sqlite:///path, or https://user:password@host:9200/prefix?ca=FILE (cgn ledger init)"
    )
    geolocation: str = setting("", about="where the node is, such as DE-HE; public")
    sandbox: bool = setting(
        False, about="a developer's network: miners without container isolation may serve tiers above 1"
    )
    drain_s: int = setting(
        limits.DRAIN_S,
        unit="s",
        minimum=1,
        maximum=limits.DRAIN_S,
        about="after SIGTERM, at most, for running requests to end by their own deadlines and for their answers to be "
        "read; a second SIGTERM cuts them",
    )
    log: str = setting("auto", choices=("auto", "text", "json"), about="log format")
    log_level: str = setting("info", choices=("debug", "info", "warning", "error"), about="minimum log level")
    trusted_proxies: tuple[str, ...] = setting(
        (),
        about="networks of the proxies and balancers in front, such as 10.0.0.0/8: their word is taken on where a "
        "request came from, nobody else's",
    )
    proxy_header: str = setting(
        client_address.HEADERS[0], choices=client_address.HEADERS, about="the header that they write it into"
    )
    rows_wait_s: int = setting(
        limits.ROWS_WAIT_S,
        unit="s",
        minimum=1,
        maximum=86_400,
        about="rows that wait for the ledger's store longer than this make the node unhealthy",
    )
    work: WorkSettings = section(WorkSettings, about="work endpoint (N-2)")
    miner: MinerSettings = section(MinerSettings, about="miner endpoint (N-1)")
    status: StatusSettings = section(StatusSettings, about="status endpoint (N-3)")
    central: CentralSettings = setting(about="Central endpoint (N-4)")
    tls: TlsSettings = setting(about="certificate of the endpoints")
