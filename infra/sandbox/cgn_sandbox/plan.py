"""The sandbox's network on paper: who is in it, which keys they hold, what Central is told. Pure: randomness comes in.

One enterprise pays, each miner belongs to a contributor of its own, one developer and one operator take their shares.
The prices are near those of rented machines, so that a developer sees costs of the right size; the wallets are the
development chain's own first accounts, whose keys everybody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cgn_sdk.protocol import ids

RandomBytes = Callable[[int], bytes]

# The well-known accounts of the development mnemonic ("test test … junk"), in order; anvil gives each 10,000 ether.
WALLETS = (
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
    "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
    "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
    "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
    "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
    "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
    "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
)
KMIPS_PER_THREAD_MILLI = 20_000
"""Of every miner. Not measured, so that the network is ready sooner: the order of one thread of a current machine."""
OWN_WALLET = "0xBcd4042DE499D14e55001CcbB24a551F3b954096"
"""The next account of that mnemonic: what the author of own DServices earns goes there."""
MINERS_MAX = len(WALLETS) - 4
"""Each belongs to a contributor with a wallet of its own."""
NETWORK_ID = "cgn-sandbox"
TIER = "2"

PRICES = {
    "kmips_hour_nano_eur": "900000",
    "tflop_hour_nano_eur": "30000000",
    "gigabyte_nano_eur": "10000000",
    "memory_gib_hour_nano_eur": "3000000",
}
"""A thread of a current machine (about 20 KMIPS) for an hour: 0.018 EUR; a gigabyte: 0.01 EUR."""
EXCHANGE_RATE_NANO_EUR_PER_CPU = "40000000"
TIER_FACTOR_PPM = {"1": 1_000_000, "2": 1_000_000, "3": 800_000, "4a": 600_000, "4b": 500_000}
CONTRIBUTOR_PPM, DEVELOPER_PPM = 700_000, 100_000


@dataclass(frozen=True, slots=True)
class Party:
    """One account with its key in clear: the sandbox's own, made for this run."""

    id: str
    public_id: str
    name: str
    address: str = ""
    api_key: str = ""


@dataclass(frozen=True, slots=True)
class MinerPlan:
    """One miner and whose it is."""

    id: str
    public_id: str
    contributor: Party


@dataclass(frozen=True, slots=True)
class DServicePlan:
    """One DService: where the node routes it from and how a miner starts it."""

    name: str
    version: str
    route: str
    command: tuple[str, ...]
    image: str = ""
    egress: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 1 << 30
    allowed_tiers: tuple[str, ...] = ()
    """Empty: all."""
    is_own: bool = False
    """Whoever runs the sandbox has written it, and earns the developer's share."""


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """Everybody in the network."""

    enterprise: Party
    developer: Party
    own_developer: Party
    operator: Party
    node: Party
    ecosystem: Party
    miners: tuple[MinerPlan, ...]
    dservices: tuple[DServicePlan, ...]


def make_plan(random_bytes: RandomBytes, miners: int, dservices: Sequence[DServicePlan]) -> NetworkPlan:
    """Names and keys for everybody. Wallets: operations first, then enterprise, developer, operator, contributors."""

    def party(kind: str, name: str, wallet: int | None = None, *, key: bool = False) -> Party:
        return Party(
            ids.account_id(kind, random_bytes(ids.ID_BYTES)),
            ids.public_id(random_bytes(ids.PUBLIC_ID_BYTES)),
            name,
            WALLETS[wallet] if wallet is not None else "",
            ids.make_api_key(random_bytes(ids.API_KEY_BYTES)) if key else "",
        )

    if not 0 < miners <= MINERS_MAX:
        raise ValueError(f"a sandbox has 1 to {MINERS_MAX} miners")
    return NetworkPlan(
        enterprise=party("ent", "Example Enterprise", 1, key=True),
        developer=party("dev", "MediaGen's developer", 2),
        own_developer=replace(party("dev", "You, the developer"), address=OWN_WALLET),
        operator=party("opr", "Operator of the sandbox", 3),
        node=party("nod", "The sandbox's node", key=True),
        ecosystem=party("ops", "Payouts", key=True),
        miners=tuple(
            MinerPlan(
                ids.account_id("min", random_bytes(ids.ID_BYTES)),
                ids.public_id(random_bytes(ids.PUBLIC_ID_BYTES)),
                party("con", f"Contributor {number + 1}", 4 + number, key=True),
            )
            for number in range(miners)
        ),
        dservices=tuple(dservices),
    )


def seed_of(plan: NetworkPlan, node_url: str, node_fingerprint: str, machine: Mapping[str, int]) -> dict[str, Any]:
    """What Central is told at its first start (`cgn central seed`). `machine`: what all the miners run on."""
    parties = [
        plan.enterprise,
        plan.developer,
        plan.own_developer,
        plan.operator,
        plan.node,
        plan.ecosystem,
        *(miner.contributor for miner in plan.miners),
    ]

    def account(party: Party) -> dict[str, Any]:
        row: dict[str, Any] = {"id": party.id, "public_id": party.public_id, "name": party.name}
        if party.address:
            row["address"] = party.address
        if party.api_key:
            row["api_keys"] = [party.api_key]
        if party is plan.enterprise:
            row["deadline_ms"] = 60_000
        return row

    return {
        "accounts": [account(party) for party in parties],
        "nodes": [{"id": plan.node.id, "operator": plan.operator.id, "url": node_url, "fingerprint": node_fingerprint}],
        "miners": [
            {
                "id": miner.id,
                "public_id": miner.public_id,
                "contributor": miner.contributor.id,
                "tier": TIER,
                "machine": dict(machine),
            }
            for miner in plan.miners
        ],
        "dservices": [
            {
                "name": one.name,
                "version": one.version,
                "route": one.route,
                "developer": (plan.own_developer if one.is_own else plan.developer).id,
                "contributor_ppm": CONTRIBUTOR_PPM,
                "developer_ppm": DEVELOPER_PPM,
                "image": one.image,
                "egress": ["*"] if "public" in one.egress else [],
                **({"allowed_tiers": list(one.allowed_tiers)} if one.allowed_tiers else {}),
            }
            for one in plan.dservices
        ],
        "policy": {
            "network_id": NETWORK_ID,
            "prices": PRICES,
            "tier_factor_ppm": TIER_FACTOR_PPM,
            "exchange_rate_nano_eur_per_cpu": EXCHANGE_RATE_NANO_EUR_PER_CPU,
        },
    }


def toml(tables: Mapping[str, Any]) -> str:
    """A settings file: scalars first, then tables, then arrays of tables. Only what settings files need."""
    lines: list[str] = []

    def write(values: Mapping[str, Any], prefix: str) -> None:
        nested = {name: value for name, value in values.items() if isinstance(value, Mapping)}
        arrays = {
            name: value
            for name, value in values.items()
            if isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping)
        }
        for name, value in values.items():
            if name not in nested and name not in arrays:
                lines.append(f"{_key(name)} = {_value(value)}")
        for name, value in nested.items():
            lines.append(f"\n[{prefix}{_key(name)}]")
            write(value, f"{prefix}{_key(name)}.")
        for name, rows in arrays.items():
            for row in rows:
                lines.append(f"\n[[{prefix}{_key(name)}]]")
                write(row, f"{prefix}{_key(name)}.")

    write(tables, "")
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, (str, Path)):
        text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{text}"'
    raise TypeError(f"a setting is text, a number, a truth value or a list, not {type(value).__name__}")
