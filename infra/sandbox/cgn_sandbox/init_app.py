"""`cgn init`: writes a small network of real processes into a folder: certificates, ids, keys, settings, units.

cgn init net --host node.example               all in the folder net, for a machine that others reach by that name
cgn init net --dservice hello --runner process  with a DService of one's own, run as a child process (for trying out)
cgn init net --renew                           new certificates by the same authority; says what to do next

Nothing is started. Each process gets its own folder with its settings file and its secrets, so that the folder can be
moved to the machine where the process is to run. docs/howto/operate.md goes on from here.

Exit code 0: done. 2: it could not be done; the line says why.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cgn_sdk.command_line import Parser
from cgn_sdk.dservice.descriptor import Descriptor, DescriptorError, read
from cgn_sdk.protocol.ids import is_address

from cgn_chassis.failures import Refusal, told
from cgn_chassis.tls import Authority, fingerprint, write_private
from cgn_sandbox import units
from cgn_sandbox.network import this_machine
from cgn_sandbox.plan import DServicePlan, NetworkPlan, make_plan, seed_of, toml

PORT_BASE = 7700
PORTS = ("work", "miner", "status", "metrics", "central", "machine", "portal")
"""In this order from the base on."""
ROLES = ("enterprise", "contributor", "developer", "operator")
EXIT_OK, EXIT_USAGE = 0, 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    folder: Path
    host: str
    bind: str
    port_base: int
    runner: str
    dservices: tuple[Descriptor, ...]
    wallets: Mapping[str, str]

    def port(self, name: str) -> int:
        return self.port_base + PORTS.index(name)


def main(argv: list[str]) -> int:
    """Entry point of `cgn init`."""
    given = _parser().parse_args(argv)
    try:
        if given.renew:
            print(_renew(given.folder.resolve()))
        else:
            print(_write(_wanted(given)))
    except DescriptorError as wrong:
        print(*(f"cgn init: {mistake}" for mistake in wrong.mistakes), sep="\n", file=sys.stderr)
        return EXIT_USAGE
    except (Refusal, OSError) as error:
        found = told(error)
        assert found is not None
        print(f"cgn init: {found.sentence}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cgn init", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where it goes; must not be there yet")
    parser.add_argument("--host", default="localhost", help="the name by which DApps and miners reach the node")
    parser.add_argument("--bind", default="0.0.0.0", help="address that the node listens on (default: all)")
    parser.add_argument(
        "--port-base", type=int, default=PORT_BASE, help=f"first of {len(PORTS)} ports: {', '.join(PORTS)}"
    )
    parser.add_argument(
        "--runner", choices=("docker", "process"), default="docker", help="how the miner runs DServices"
    )
    parser.add_argument(
        "--dservice", type=Path, action="append", default=[], metavar="FOLDER", help="a DService instead of MediaGen"
    )
    parser.add_argument(
        "--wallet",
        action="append",
        default=[],
        metavar="ROLE=ADDRESS",
        help=f"of {', '.join(ROLES)}: who pays, is paid",
    )
    parser.add_argument("--renew", action="store_true", help="only write new certificates, by the same authority")
    return parser


def _wanted(given: argparse.Namespace) -> Wanted:
    folder = given.folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        raise Refusal(
            f"{folder} is not empty: take another folder; --renew renews the certificates of one that is there"
        )
    if not 1 <= given.port_base <= 65_535 - len(PORTS):
        raise Refusal(f"--port-base must be from 1 to {65_535 - len(PORTS)}")
    if given.dservice and given.runner == "docker":
        raise Refusal("--dservice runs a folder's program as a child process: add --runner process")
    wallets = {}
    for text in given.wallet:
        role, _, address = text.partition("=")
        if role not in ROLES or not is_address(address):
            raise Refusal(f"--wallet {text}: write one of {', '.join(ROLES)}, = and an Ethereum address")
        wallets[role] = address
    dservices = tuple(read(one.resolve()) for one in given.dservice)
    return Wanted(folder, given.host, given.bind, given.port_base, given.runner, dservices, wallets)


def _absolute(found: Descriptor) -> tuple[str, ...]:
    """Its command for a miner, which starts it in no folder of its own: its files by their whole names."""
    first, *others = found.words
    return (first, *(str(found.folder / word) if (found.folder / word).exists() else word for word in others))


def _plan(wanted: Wanted) -> NetworkPlan:
    """Who is in the network, with ids and keys of their own."""
    mediagen = DServicePlan(
        "mediagen", "0.1.0", "/mgen", (), image="cgn-mediagen", egress=("public",), memory_bytes=2 << 30
    )
    if wanted.runner == "process":
        mediagen = replace(mediagen, image="", command=("python", "-m", "dservices.mediagen"))
    own = [
        DServicePlan(one.name, one.version, one.route, _absolute(one), egress=one.egress, memory_bytes=one.memory_bytes)
        for one in wanted.dservices
    ]
    plan = make_plan(secrets.token_bytes, 1, own or [mediagen])

    def paid(role: str, party: Any) -> Any:
        return replace(party, address=wanted.wallets.get(role, party.address))

    [miner] = plan.miners
    return replace(
        plan,
        enterprise=paid("enterprise", plan.enterprise),
        developer=paid("developer", plan.developer),
        operator=paid("operator", plan.operator),
        miners=(replace(miner, contributor=paid("contributor", miner.contributor)),),
    )


def _write(wanted: Wanted) -> str:
    """Writes the folder; returns what its owner reads next."""
    plan, folder = _plan(wanted), wanted.folder
    pins = _certificates(folder, wanted.host)
    central_url = f"wss://{wanted.host}:{wanted.port('central')}/central"
    _private(
        folder / "central/seed.json", json.dumps(seed_of(plan, central_url, pins["node"], this_machine()), indent=1)
    )
    _private(folder / "central/central.toml", toml(_central(wanted)))
    _private(folder / "node/node.toml", toml(_node(wanted, plan, pins["central"])))
    _private(folder / "node/api.key", plan.node.api_key)
    _private(folder / "miner-1/miner.toml", toml(_miner(wanted, plan)))
    _private(folder / "miner-1/api.key", plan.miners[0].contributor.api_key)
    (folder / "miner-1/authority.pem").write_bytes((folder / "authority/authority.pem").read_bytes())
    _private(folder / "payouts/payouts.toml", toml(_payouts(folder)))
    dapp = {
        "node": f"https://{wanted.host}:{wanted.port('work')}",
        "account_id": plan.enterprise.id,
        "api_key": plan.enterprise.api_key,
        "authority": str(folder / "authority/authority.pem"),
    }
    _private(folder / "dapp.json", json.dumps(dapp, indent=1))
    (folder / "systemd").mkdir()
    for name, text in units.texts(folder, Path(sys.prefix) / "bin/cgn", low_port=wanted.port_base < 1024).items():
        (folder / "systemd" / name).write_text(text)
    return _next(wanted)


def _private(path: Path, text: str) -> None:
    """Every file of a process is its own: several hold a key, and none is anybody else's business."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, text.encode())


def _certificates(folder: Path, host: str) -> dict[str, str]:
    """The authority, made where there is none, and a new certificate of each process. Returns their pins."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "authority").mkdir(mode=0o700, exist_ok=True)
    authority = Authority.load_or_create(folder / "authority", "CGN network authority")
    pins = {}
    for name in ("node", "central"):
        place = folder / name
        place.mkdir(mode=0o700, exist_ok=True)
        credential = authority.issue_server(name, sorted({host, "localhost", "127.0.0.1"}))
        credential.save(place / f"{name}.pem", place / f"{name}.key")
        (place / "authority.pem").write_bytes(authority.certificate_pem)
        pins[name] = fingerprint(credential.certificate_pem)
    return pins


def _central(wanted: Wanted) -> dict[str, Any]:
    return {
        "database": "central.sqlite",
        "certificate": "central.pem",
        "key": "central.key",
        "authority": "authority.pem",
        "machine_port": wanted.port("machine"),
        "portal_port": wanted.port("portal"),
    }


def _node(wanted: Wanted, plan: NetworkPlan, central_pin: str) -> dict[str, Any]:
    listens = {name: {"host": wanted.bind, "port": wanted.port(name)} for name in ("work", "miner", "status")}
    return {
        "node_id": plan.node.id,
        "api_key_file": "api.key",
        "state": "state",
        "ledger": f"sqlite:///{wanted.folder}/node/ledger.sqlite",
        **({"sandbox": True} if wanted.runner == "process" else {}),
        "work": listens["work"],
        "miner": listens["miner"],
        "status": {**listens["status"], "metrics_port": wanted.port("metrics")},
        "central": {
            "host": wanted.bind,
            "port": wanted.port("central"),
            "authority": "authority.pem",
            "fingerprints": [central_pin],
        },
        "tls": {"certificate": "node.pem", "key": "node.key"},
    }


def _miner(wanted: Wanted, plan: NetworkPlan) -> dict[str, Any]:
    [miner] = plan.miners
    listens = {one.name: {"port": one.port, "health": one.health} for one in wanted.dservices}
    return {
        "node": f"wss://{wanted.host}:{wanted.port('miner')}/tunnel",
        "account_id": miner.contributor.id,
        "miner_id": miner.id,
        "api_key_file": "api.key",
        "authority": "authority.pem",
        "logs": "logs",
        "dservices": {
            one.name: {
                "version": one.version,
                **({"image": one.image} if one.image else {"command": list(one.command)}),
                **listens.get(one.name, {}),
                "egress": list(one.egress),
                "memory_mib": one.memory_bytes >> 20,
            }
            for one in plan.dservices
        },
    }


def _payouts(folder: Path) -> dict[str, Any]:
    return {
        "ledger_url": f"sqlite:///{folder}/node/ledger.sqlite",
        "journal": "payouts.sqlite",
        "manifest": "manifest.json",
        "collector_key_file": "keys/collector.key",
        "payer_key_file": "keys/payer.key",
    }


def _next(wanted: Wanted) -> str:
    lines = [f"{wanted.folder} holds a network. Nothing runs yet; docs/howto/operate.md goes on from here."]
    if missing := [role for role in ROLES if role not in wanted.wallets]:
        lines.append(
            f"WALLETS of {', '.join(missing)}: those of a development chain, whose keys everybody knows. Give --wallet "
            "for each before there is money."
        )
    if wanted.runner == "process":
        lines.append("DServices run as child processes, without isolation: for trying out alone (sandbox = true).")
    lines.append(f"Keep {wanted.folder}/authority/authority.key where no process reads it: it signs certificates.")
    return "\n".join(lines)


def _renew(folder: Path) -> str:
    """New certificates; the node's settings pin Central's new one beside the old one, so that neither waits."""
    settings = folder / "node/node.toml"
    text = settings.read_text(encoding="utf-8")
    miner = (folder / "miner-1/miner.toml").read_text(encoding="utf-8")
    host = re.search(r'^node = "wss://(.*):\d+/tunnel"', miner, re.MULTILINE)
    node = re.search(r'^node_id = "(\w+)"', text, re.MULTILINE)
    if host is None or node is None or not (folder / "authority/authority.key").exists():
        raise Refusal(f"{folder} was not written by cgn init, or its authority is kept elsewhere: put it back first")
    old = fingerprint((folder / "central/central.pem").read_bytes())
    pins = _certificates(folder, host[1])
    fingerprints = f'fingerprints = ["{pins["central"]}", "{old}"]'
    _private(settings, re.sub(r"^fingerprints = \[.*\]", fingerprints, text, flags=re.MULTILINE))
    seed = json.loads((folder / "central/seed.json").read_text()) if (folder / "central/seed.json").exists() else {}
    operator = next((each["operator"] for each in seed.get("nodes", [])), "OPERATOR")
    port = re.search(r"^\[central\][^\[]*?^port = (\d+)", text, re.MULTILINE | re.DOTALL)
    where = f"wss://{host[1]}:{port[1] if port else 7771}/central"
    config = folder / "central/central.toml"
    return (
        f"cgn central put-node {node[1]} --operator {operator} --url {where} --certificate {folder}/node/node.pem "
        f"--why renewed --config {config}\n"
        "Then restart the node (its settings pin Central's new certificate beside the old one), and Central."
    )
