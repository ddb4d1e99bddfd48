"""What Central knows: accounts, keys, miners, nodes, DServices, prices (C-3, C-6). Plain facts, no behaviour.

An account is anyone who is paid, pays or administers. Miners are records of a contributor, not accounts; nodes are
accounts (they hold keys) with a record beside it that says how to reach them. End users are accounts of one enterprise.
"""

from dataclasses import dataclass, field
from typing import Final

from cgn_sdk.protocol.link import Machine

ACTIVE: Final = "active"
SUSPENDED: Final = "suspended"
BANNED: Final = "banned"
FLAGGED: Final = "flagged"

ACCOUNT_STATES: Final = (ACTIVE, SUSPENDED, BANNED)
MINER_STATES: Final = (ACTIVE, FLAGGED)

SCOPE_WORK: Final = "work"
SCOPE_MINER: Final = "miner"
SCOPE_NODE: Final = "node"
SCOPE_ECOSYSTEM: Final = "ecosystem"

SCOPE_OF_KIND: Final = {"ent": SCOPE_WORK, "con": SCOPE_MINER, "nod": SCOPE_NODE, "ops": SCOPE_ECOSYSTEM}
"""What a key of an account of this kind opens. Least privilege: no key opens two kinds of door."""

PENDING: Final = "$argon2id$pending"
"""Stands where the hash of a key will be; it is the hash of nothing."""

KINDS_WITH_WALLET: Final = ("ent", "con", "dev", "opr", "cha")
"""Kinds that pay or are paid, each through an Ethereum address of its own (C-3)."""

KINDS_OF_ACCOUNT: Final = ("ent", "con", "dev", "opr", "cha", "ops", "nod", "usr")


@dataclass(frozen=True, slots=True)
class Account:
    """`parent_id` is the enterprise of an end user, else empty. Tiers, deadline and concurrency are for enterprises."""

    id: str
    public_id: str
    name: str = ""
    address: str = ""
    state: str = ACTIVE
    parent_id: str = ""
    allowed_tiers: tuple[str, ...] = ()
    deadline_ms: int = 0
    concurrency: int = 0
    redact: tuple[str, ...] = ()
    """Header fields and parameters of an enterprise's requests whose values stay out of rows."""

    @property
    def kind(self) -> str:
        return self.id[:3]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as stored: never the key. `miner_id` narrows a contributor's key to one miner."""

    key_id: str
    account_id: str
    scope: str
    hash: str = field(repr=False)
    name: str = ""
    is_revoked: bool = False
    miner_id: str = ""


@dataclass(frozen=True, slots=True)
class Miner:
    """`machine` is what the operators have registered that it runs on, by contract, benchmark or attestation; None: all
    that is known of it is the miner's own word."""

    id: str
    public_id: str
    contributor_id: str
    tier: str
    enterprise_id: str = ""
    state: str = ACTIVE
    machine: Machine | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """`id` is its account. `fingerprint` is the SHA-256 of its certificate's DER form: the pin."""

    id: str
    operator_id: str
    url: str
    fingerprint: str
    geolocation: str = ""


@dataclass(frozen=True, slots=True)
class DService:
    name: str
    version: str
    route: str
    developer_id: str
    contributor_ppm: int
    developer_ppm: int
    allowed_tiers: tuple[str, ...]
    image: str = ""
    egress: tuple[str, ...] = ()
    cpus_milli: int = 0
    """CPU that one container of it may use; 0: not stated."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """Unit prices in 1e-9 EUR, tier factors in parts per million, the rate in 1e-9 EUR per CPU."""

    network_id: str
    kmips_hour_nano_eur: int
    tflop_hour_nano_eur: int
    gigabyte_nano_eur: int
    memory_gib_hour_nano_eur: int
    tier_factor_ppm: dict[str, int]
    exchange_rate_nano_eur_per_cpu: int
