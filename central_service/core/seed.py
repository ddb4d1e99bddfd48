"""Reads a seed: accounts, keys, miners, nodes, DServices and prices of a new network, as one JSON object.

The sandbox writes one, and so may whoever sets up a network anew. Everything is checked before anything is stored, and
every mistake is named:

    {"accounts": [{"id": "ent_…", "public_id": "p…", "name": "…", "address": "0x…", "api_keys": ["cgn_…"],
                   "password": "…", "enterprise": "ent_…", "allowed_tiers": ["2"], "deadline_ms": 60000,
                   "concurrency": 256, "redact": ["x-patient"]}],
     "nodes":    [{"id": "nod_…", "operator": "opr_…", "url": "wss://host:7771/central", "fingerprint": "…"}],
     "miners":   [{"id": "min_…", "public_id": "p…", "contributor": "con_…", "tier": "2", "enterprise": "ent_…",
                   "machine": {"threads": 8, "kmips_per_thread_milli": 20000, "memory_bytes": 17179869184}}],
     "dservices": [{"name": "…", "version": "…", "route": "/…", "developer": "dev_…", "contributor_ppm": 700000,
                    "developer_ppm": 100000, "allowed_tiers": ["2"], "image": "…", "egress": ["*"],
                    "cpus_milli": 2000}],
     "policy":   {"network_id": "…", "prices": {"kmips_hour_nano_eur": "…", …}, "tier_factor_ppm": {"2": 1000000},
                  "exchange_rate_nano_eur_per_cpu": "…"}}

Keys and passwords stand in it in clear: it is read, hashed and forgotten; its file belongs to its writer alone.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from cgn_sdk.protocol.errors import ProblemError
from cgn_sdk.protocol.ids import ApiKey, is_account_id, is_address, is_public_id
from cgn_sdk.protocol.link import (
    CPUS_MILLI_MAX,
    REDACT_MAX_COUNT,
    TIERS,
    Machine,
    Policy,
    is_redact_name,
)

from central_service import limits
from central_service.core.decisions import make_policy
from central_service.core.records import (
    KINDS_OF_ACCOUNT,
    KINDS_WITH_WALLET,
    SCOPE_OF_KIND,
    Account,
    DService,
    Miner,
    Node,
    Pricing,
)

_FINGERPRINT = re.compile(r"[0-9a-f]{64}").fullmatch
_URL = re.compile(r"wss://[A-Za-z0-9.\-\[\]:]{1,255}/central").fullmatch


@dataclass(frozen=True, slots=True)
class Seed:
    """`keys` are (account id, key) and `passwords` (account id, password), both in clear."""

    accounts: tuple[Account, ...]
    nodes: tuple[Node, ...]
    miners: tuple[Miner, ...]
    dservices: tuple[DService, ...]
    pricing: Pricing
    keys: tuple[tuple[str, ApiKey], ...] = field(repr=False)
    passwords: tuple[tuple[str, str], ...] = field(repr=False)


class SeedError(Exception):
    """Everything that is wrong with the seed."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistakes))


class _Reader:
    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self.accounts: dict[str, Account] = {}
        self.keys: list[tuple[str, ApiKey]] = []
        self.passwords: list[tuple[str, str]] = []

    def wrong(self, where: str, what: str) -> None:
        self.mistakes.append(f"{where}: {what}")

    def rows(self, seed: dict[str, Any], name: str, known: set[str]) -> list[tuple[str, dict[str, Any]]]:
        value = seed.get(name, [])
        if not isinstance(value, list):
            self.wrong(name, "must be a list of objects")
            return []
        found = []
        for number, row in enumerate(value):
            where = f"{name}[{number}]"
            if not isinstance(row, dict):
                self.wrong(where, "must be an object")
                continue
            for extra in sorted(set(row) - known):
                self.wrong(where, f"no member {extra!r}; known: {', '.join(sorted(known))}")
            found.append((where, row))
        return found

    def text(self, where: str, row: dict[str, Any], name: str, good: Any = None, wanted: str = "text") -> str:
        value = row.get(name, "")
        if not isinstance(value, str) or len(value) > 512 or (good is not None and not good(value)):
            self.wrong(f"{where}.{name}", f"must be {wanted}")
            return ""
        return value

    def integer(self, where: str, row: dict[str, Any], name: str, default: int, high: int) -> int:
        value = row.get(name, default)
        if type(value) is not int or not 0 <= value <= high:
            self.wrong(f"{where}.{name}", f"must be a whole number from 0 to {high}")
            return default
        return value

    def texts(self, where: str, row: dict[str, Any], name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = row.get(name, list(default))
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            self.wrong(f"{where}.{name}", "must be a list of texts")
            return default
        return tuple(value)

    def tiers(self, where: str, row: dict[str, Any]) -> tuple[str, ...]:
        value = self.texts(where, row, "allowed_tiers", TIERS)
        for tier in value:
            if tier not in TIERS:
                self.wrong(f"{where}.allowed_tiers", f"no tier {tier!r}; known: {', '.join(TIERS)}")
        return value

    def redact(self, where: str, row: dict[str, Any]) -> tuple[str, ...]:
        value = self.texts(where, row, "redact")
        if len(value) > REDACT_MAX_COUNT or not all(map(is_redact_name, value)):
            self.wrong(f"{where}.redact", f"must be at most {REDACT_MAX_COUNT} names of fields in lower case")
            return ()
        return value

    def reference(self, where: str, row: dict[str, Any], name: str, kind: str) -> str:
        value = self.text(where, row, name)
        if value[:3] != kind or value not in self.accounts:
            self.wrong(f"{where}.{name}", f"must be the id of an account of kind {kind} in this seed")
        return value

    def read_account(self, where: str, row: dict[str, Any]) -> None:
        id = self.text(where, row, "id", lambda text: is_account_id(text, *KINDS_OF_ACCOUNT), "an account id")
        kind = id[:3]
        if id in self.accounts:
            self.wrong(f"{where}.id", "stands there twice")
        address = self.text(where, row, "address", lambda text: not text or is_address(text), "an Ethereum address")
        if kind in KINDS_WITH_WALLET and not address:
            self.wrong(f"{where}.address", "must be given: this kind of account pays or is paid")
        is_enterprise = kind == "ent"
        self.accounts[id] = Account(
            id=id,
            public_id=self.text(where, row, "public_id", is_public_id, "a public id"),
            name=self.text(where, row, "name", lambda text: len(text) <= limits.NAME_CHARS_MAX, "a short text"),
            address=address,
            parent_id=self.reference(where, row, "enterprise", "ent") if kind == "usr" else "",
            allowed_tiers=self.tiers(where, row) if is_enterprise else (),
            deadline_ms=self.integer(where, row, "deadline_ms", limits.DEADLINE_MS_DEFAULT, 86_400_000)
            if is_enterprise
            else 0,
            concurrency=self.integer(where, row, "concurrency", limits.CONCURRENCY_DEFAULT, 100_000)
            if is_enterprise
            else 0,
            redact=self.redact(where, row) if is_enterprise else (),
        )
        self.read_credentials(where, row, id)

    def read_credentials(self, where: str, row: dict[str, Any], id: str) -> None:
        for number, text in enumerate(self.texts(where, row, "api_keys")):
            key = ApiKey.parse(text)
            if key is None:
                self.wrong(f"{where}.api_keys[{number}]", "is no API key")
            elif id[:3] not in SCOPE_OF_KIND:
                self.wrong(f"{where}.api_keys", "this kind of account has no keys")
            else:
                self.keys.append((id, key))
        if "password" in row:
            password = self.text(where, row, "password")
            if not limits.PASSWORD_CHARS_MIN <= len(password) <= limits.PASSWORD_CHARS_MAX:
                self.wrong(f"{where}.password", f"must have at least {limits.PASSWORD_CHARS_MIN} characters")
            self.passwords.append((id, password))

    def read_node(self, where: str, row: dict[str, Any]) -> Node:
        return Node(
            id=self.reference(where, row, "id", "nod"),
            operator_id=self.reference(where, row, "operator", "opr"),
            url=self.text(where, row, "url", _URL, "an address such as wss://node.example:7771/central"),
            fingerprint=self.text(where, row, "fingerprint", _FINGERPRINT, "a SHA-256 in lower-case hexadecimal"),
            geolocation=self.text(where, row, "geolocation"),
        )

    def read_miner(self, where: str, row: dict[str, Any]) -> Miner:
        tier = self.text(where, row, "tier", TIERS.__contains__, f"a tier ({', '.join(TIERS)})")
        enterprise_id = self.reference(where, row, "enterprise", "ent") if row.get("enterprise") else ""
        if (tier == "1") != bool(enterprise_id):
            self.wrong(f"{where}.enterprise", "must be given for tier 1, and only for tier 1")
        return Miner(
            id=self.text(where, row, "id", lambda text: is_account_id(text, "min"), "a miner id"),
            public_id=self.text(where, row, "public_id", is_public_id, "a public id"),
            contributor_id=self.reference(where, row, "contributor", "con"),
            tier=tier,
            enterprise_id=enterprise_id,
            machine=self.read_machine(f"{where}.machine", row["machine"]) if "machine" in row else None,
        )

    def read_machine(self, where: str, row: Any) -> Machine | None:
        """With the protocol's reader: nodes will read it with the same."""
        try:
            return Machine.from_params(row if isinstance(row, dict) else {})
        except ProblemError as error:
            self.wrong(where, f"cannot be read: {error.problem.detail}")
            return None

    def read_dservice(self, where: str, row: dict[str, Any]) -> DService:
        return DService(
            name=self.text(where, row, "name"),
            version=self.text(where, row, "version"),
            route=self.text(where, row, "route"),
            developer_id=self.reference(where, row, "developer", "dev"),
            contributor_ppm=self.integer(where, row, "contributor_ppm", 0, 1_000_000),
            developer_ppm=self.integer(where, row, "developer_ppm", 0, 1_000_000),
            allowed_tiers=self.tiers(where, row),
            image=self.text(where, row, "image"),
            egress=self.texts(where, row, "egress"),
            cpus_milli=self.integer(where, row, "cpus_milli", 0, CPUS_MILLI_MAX),
        )

    def read_pricing(self, row: Any) -> Pricing:
        where = "policy"
        if not isinstance(row, dict) or not isinstance(row.get("prices", {}), dict):
            self.wrong(where, "must be an object with prices")
            row = {}
        prices = row.get("prices", {})
        factors = row.get("tier_factor_ppm", {})
        if not isinstance(factors, dict) or not all(
            tier in TIERS and type(factor) is int and factor >= 0 for tier, factor in factors.items()
        ):
            self.wrong(f"{where}.tier_factor_ppm", "must be an object from tier to parts per million")
            factors = {}
        return Pricing(
            network_id=self.text(where, row, "network_id"),
            kmips_hour_nano_eur=self.amount(f"{where}.prices", prices, "kmips_hour_nano_eur"),
            tflop_hour_nano_eur=self.amount(f"{where}.prices", prices, "tflop_hour_nano_eur"),
            gigabyte_nano_eur=self.amount(f"{where}.prices", prices, "gigabyte_nano_eur"),
            memory_gib_hour_nano_eur=self.amount(f"{where}.prices", prices, "memory_gib_hour_nano_eur"),
            tier_factor_ppm=dict(factors),
            exchange_rate_nano_eur_per_cpu=self.amount(where, row, "exchange_rate_nano_eur_per_cpu"),
        )

    def amount(self, where: str, row: dict[str, Any], name: str) -> int:
        value = row.get(name)
        if not isinstance(value, str) or not re.fullmatch(r"0|[1-9][0-9]{0,17}", value):
            self.wrong(f"{where}.{name}", "must be a string of decimal digits")
            return 0
        return int(value)


_ACCOUNT_MEMBERS = {
    "id", "public_id", "name", "address", "api_keys", "password", "enterprise", "allowed_tiers", "deadline_ms",
    "concurrency", "redact",
}  # fmt: skip
_DSERVICE_MEMBERS = {
    "name", "version", "route", "developer", "contributor_ppm", "developer_ppm", "allowed_tiers", "image", "egress",
    "cpus_milli",
}  # fmt: skip


def read_seed(seed: Any) -> Seed:
    """The records of a seed. Raises SeedError with every mistake."""
    reader = _Reader()
    if not isinstance(seed, dict):
        raise SeedError(["a seed is a JSON object"])
    for extra in sorted(set(seed) - {"accounts", "nodes", "miners", "dservices", "policy"}):
        reader.wrong(extra, "no such member of a seed")
    rows = reader.rows(seed, "accounts", _ACCOUNT_MEMBERS)
    # End users name their enterprise, so enterprises are read first.
    for where, row in sorted(rows, key=lambda pair: str(pair[1].get("id", "")).startswith("usr_")):
        reader.read_account(where, row)
    nodes = [
        reader.read_node(*each)
        for each in reader.rows(seed, "nodes", {"id", "operator", "url", "fingerprint", "geolocation"})
    ]
    miners = [
        reader.read_miner(*each)
        for each in reader.rows(seed, "miners", {"id", "public_id", "contributor", "tier", "enterprise", "machine"})
    ]
    dservices = [reader.read_dservice(*each) for each in reader.rows(seed, "dservices", _DSERVICE_MEMBERS)]
    pricing = reader.read_pricing(seed.get("policy"))
    for what, ids in (
        ("public_id", [each.public_id for each in reader.accounts.values()] + [each.public_id for each in miners]),
        ("key id", [key.key_id for _, key in reader.keys]),
        ("miner", [each.id for each in miners]),
        ("node", [each.id for each in nodes]),
    ):
        for twice in sorted({id for id in ids if id and ids.count(id) > 1}):
            reader.wrong("seed", f"{what} {twice} stands there twice")
    if not reader.mistakes:
        _check_policy(reader, pricing, dservices)
    if reader.mistakes:
        raise SeedError(reader.mistakes)
    return Seed(
        tuple(reader.accounts.values()),
        tuple(nodes),
        tuple(miners),
        tuple(dservices),
        pricing,
        tuple(reader.keys),
        tuple(reader.passwords),
    )


def _check_policy(reader: _Reader, pricing: Pricing, dservices: list[DService]) -> None:
    """Nodes will read this policy with the protocol's reader, so it is read with it here before anyone stores it."""
    policy = make_policy(1, pricing, [(each, reader.accounts[each.developer_id]) for each in dservices])
    try:
        Policy.from_params(policy.to_params())
    except ProblemError as error:
        reader.wrong("seed", error.problem.detail)
