"""The commands that register somebody: an account, a miner, a node, a DService (C-3, C-6).

Each makes ids and keys itself, because their forms are the program's business, and gives what is to be stored as one
change with what its caller is shown. Keys are shown once; only their hashes are stored.
"""

import argparse
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cgn_sdk.dservice.descriptor import DescriptorError, read
from cgn_sdk.protocol import ids
from cgn_sdk.protocol.ids import is_account_id, is_address
from cgn_sdk.protocol.link import TIERS

from central_service import limits
from central_service.core.records import (
    KINDS_WITH_WALLET,
    SCOPE_MINER,
    SCOPE_OF_KIND,
    Account,
    DService,
    KeyRecord,
    Miner,
    Node,
)
from central_service.credentials import Hashing
from central_service.store import Conflict, Records
from cgn_chassis.failures import Refusal, about
from cgn_chassis.tls import fingerprint

KINDS: Final = ("ent", "con", "dev", "opr", "cha", "nod")
CONTRIBUTOR_PPM: Final = 700_000
DEVELOPER_PPM: Final = 100_000
"""Shares of the fee where the command names none; the operator has the rest."""

AddCommand = Callable[[str, str], argparse.ArgumentParser]


@dataclass(frozen=True, slots=True)
class Made:
    """What a command stores and what it shows."""

    change: Callable[[Records], None]
    said: dict[str, Any]
    is_secret: bool = False


def add_commands(add: AddCommand, reason: Callable[[str], str]) -> None:
    """Their command lines."""
    account = add("add-account", "register an account; its key is shown once")
    account.add_argument("kind", choices=KINDS, help="enterprise, contributor, developer, operator, charity, node")
    account.add_argument("--name", required=True, help="for people")
    account.add_argument("--address", default="", help="its Ethereum address; whoever pays or is paid needs one")
    miner = add("add-miner", "register a miner of a contributor; prints the lines of its miner.toml")
    miner.add_argument("contributor", metavar="CONTRIBUTOR", help="the id of its account, con_…")
    miner.add_argument("--tier", required=True, choices=TIERS)
    miner.add_argument("--enterprise", default="", help="for tier 1: whose work alone it does, ent_…")
    node = add("put-node", "register where a node is and what certificate it shows, or change it")
    node.add_argument("node", metavar="NODE", help="the id of its account, nod_…")
    node.add_argument("--operator", required=True, help="who runs it, opr_…")
    node.add_argument("--url", required=True, help="where Central dials, such as wss://node.example:7771/central")
    node.add_argument("--certificate", required=True, type=Path, help="PEM file of the certificate it shows")
    node.add_argument("--geolocation", default="", help="such as DE-HE; public")
    dservice = add("put-dservice", "register a DService by its dservice.toml, or change it")
    dservice.add_argument("folder", metavar="FOLDER", type=Path, help="the folder with its dservice.toml")
    dservice.add_argument("--developer", required=True, help="who is paid for it, dev_…")
    dservice.add_argument("--image", default="", help="the Docker image that miners run")
    dservice.add_argument("--contributor-ppm", type=int, default=CONTRIBUTOR_PPM, help="share of the fee, of a million")
    dservice.add_argument("--developer-ppm", type=int, default=DEVELOPER_PPM, help="share of the fee, of a million")
    for command in (account, miner, node, dservice):
        command.add_argument("--why", required=True, type=reason, help="the reason, for the audit log")


async def _new_key() -> tuple[ids.ApiKey, str]:
    """A key and its hash."""
    key = ids.ApiKey.parse(ids.make_api_key(os.urandom(ids.API_KEY_BYTES)))
    assert key is not None
    hashing = Hashing()
    try:
        return key, await hashing.hash(key.whole)
    finally:
        hashing.close()


def _require(id: str, kind: str) -> str:
    if not is_account_id(id, kind):
        raise Refusal(f"{id!r} is no account id of kind {kind}: {kind}_ and 20 letters and digits")
    return id


async def _account(given: argparse.Namespace) -> Made:
    if given.kind in KINDS_WITH_WALLET and not is_address(given.address):
        raise Refusal("--address must be an Ethereum address such as 0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
    account = Account(
        ids.account_id(given.kind, os.urandom(ids.ID_BYTES)),
        ids.public_id(os.urandom(ids.PUBLIC_ID_BYTES)),
        given.name[: limits.NAME_CHARS_MAX],
        given.address,
    )
    if given.kind == "ent":
        deadline, concurrency = limits.DEADLINE_MS_DEFAULT, limits.CONCURRENCY_DEFAULT
        account = replace(account, allowed_tiers=TIERS, deadline_ms=deadline, concurrency=concurrency)
    said = {"account": account.id, "public_id": account.public_id}
    if given.kind not in SCOPE_OF_KIND:
        return Made(lambda records: records.add_account(account), said)
    key, hash = await _new_key()
    record = KeyRecord(key.key_id, account.id, SCOPE_OF_KIND[given.kind], hash, "command")

    def change(records: Records) -> None:
        records.add_account(account)
        records.add_key(record)

    return Made(change, {**said, "api_key": key.whole}, is_secret=True)


async def _miner(given: argparse.Namespace) -> Made:
    contributor = _require(given.contributor, "con")
    if (given.tier == "1") != bool(given.enterprise):
        raise Refusal("--enterprise must be given for tier 1, and only for tier 1")
    if given.enterprise:
        _require(given.enterprise, "ent")
    miner = Miner(
        ids.account_id("min", os.urandom(ids.ID_BYTES)),
        ids.public_id(os.urandom(ids.PUBLIC_ID_BYTES)),
        contributor,
        given.tier,
        given.enterprise,
    )
    key, hash = await _new_key()
    record = KeyRecord(key.key_id, contributor, SCOPE_MINER, hash, f"of {miner.id}", miner_id=miner.id)

    def change(records: Records) -> None:
        if records.account(contributor) is None:
            raise Conflict(f"there is no account {contributor}: `cgn central add-account con` makes one")
        records.add_miner(miner)
        records.add_key(record)

    return Made(change, {"account_id": contributor, "miner_id": miner.id, "api_key": key.whole}, is_secret=True)


async def _node(given: argparse.Namespace) -> Made:
    with about("--certificate"):
        pin = fingerprint(given.certificate.read_bytes())
    node = Node(_require(given.node, "nod"), _require(given.operator, "opr"), given.url, pin, given.geolocation)
    if not given.url.startswith("wss://") or not given.url.endswith("/central"):
        raise Refusal("--url must be an address such as wss://node.example:7771/central")
    return Made(lambda records: records.put_node(node), {"node": node.id, "url": node.url, "fingerprint": pin})


async def _dservice(given: argparse.Namespace) -> Made:
    try:
        found = read(given.folder)
    except DescriptorError as wrong:
        raise Refusal("; ".join(wrong.mistakes)) from wrong
    if min(given.contributor_ppm, given.developer_ppm) < 0 or given.contributor_ppm + given.developer_ppm > 1_000_000:
        raise Refusal("--contributor-ppm and --developer-ppm are shares of a million and together at most that")
    dservice = DService(
        found.name,
        found.version,
        found.route,
        _require(given.developer, "dev"),
        given.contributor_ppm,
        given.developer_ppm,
        found.allowed_tiers,
        given.image,
        ("*",) if "public" in found.egress else (),
    )
    said = {"dservice": found.name, "version": found.version, "route": found.route}
    return Made(lambda records: records.put_dservice(dservice), said)


COMMANDS: Final[dict[str, Callable[[argparse.Namespace], Awaitable[Made]]]] = {
    "add-account": _account,
    "add-miner": _miner,
    "put-node": _node,
    "put-dservice": _dservice,
}
