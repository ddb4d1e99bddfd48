"""`cgn chain`: the development chain, deployment, and what a chain holds.

cgn chain up       runs a development chain in the foreground, deploys to it, writes the manifest
cgn chain fetch    brings the development chain's program, which `up` does by itself
cgn chain deploy   deploys to any Ethereum JSON-RPC endpoint
cgn chain status   checks a manifest against its chain and shows what the contracts hold
cgn chain faucet   gives tokens away (development chain only)
"""

import argparse
import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from cgn_sdk.command_line import Parser

from cgn_chassis.failures import Refusal
from payouts import chain_program, deploy
from payouts.deploy import Manifest, ManifestMismatch, Plan, Sender
from payouts.rpc import Rpc, RpcError, Unreachable

DEFAULT_MANIFEST: Final = Path("run/chain/manifest.json")
STATE_INTERVAL_S: Final = 5
"""Seconds between two copies of the development chain's state on disk: what a killed machine loses at most."""
START_TIMEOUT_S: Final = 20
GAS_LIMIT_PER_BLOCK: Final = 100_000_000
"""Gas. Roomier than a public chain's block, so that a test of many batches is not bound by blocks; one transaction may
still not ask for more than 2^24 (EIP-7825)."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except ManifestMismatch as wrong:
        print("The chain is not the manifest's:", *wrong.findings, sep="\n  ", file=sys.stderr)
        return 1
    except Refusal as refused:
        print(f"cgn chain {options.command}: {refused}", file=sys.stderr)
        return refused.code
    except (RpcError, Unreachable, OSError, ValueError) as refused:
        print(f"cgn chain {options.command}: {refused}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cgn chain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    up = commands.add_parser("up", help="run a development chain and deploy to it")
    up.add_argument("--port", type=int, default=8545, help="TCP port on loopback (default 8545)")
    up.add_argument(
        "--block-time", type=float, default=1, metavar="S", help="seconds per block; 0: one per transaction"
    )
    up.add_argument("--folder", type=Path, help="where the chain's state lives (default: beside the manifest)")
    up.add_argument("--node", default="", metavar="ID", help="public id of the node whose rows the payer settles")
    up.set_defaults(run=_up)

    fetch = commands.add_parser("fetch", help="bring the development chain's program, and say where it is")
    fetch.set_defaults(run=lambda options: chain_program.main())

    create = commands.add_parser("deploy", help="deploy the contracts")
    create.add_argument("--url", required=True, help="JSON-RPC endpoint")
    create.add_argument("--key-file", type=Path, help="file with the deployer's private key in hexadecimal")
    create.add_argument(
        "--plan", type=Path, help="JSON: accounts by role, admin_delay_s (without: the development plan)"
    )
    create.set_defaults(run=_deploy)

    status = commands.add_parser("status", help="check the manifest and show what the contracts hold")
    status.add_argument("--url", default="http://127.0.0.1:8545")
    status.add_argument("--json", action="store_true", help="for machines")
    status.set_defaults(run=_status)

    faucet = commands.add_parser("faucet", help="give tokens away (development chain)")
    faucet.add_argument("--url", default="http://127.0.0.1:8545")
    faucet.add_argument("--to", required=True, metavar="ADDRESS")
    faucet.add_argument("--amount", required=True, type=_cpu, metavar="CPU", help="in CPU, at most 9 decimals")
    faucet.set_defaults(run=_faucet)

    for command in (up, create, status, faucet):
        command.add_argument("--manifest", type=Path, default=DEFAULT_MANIFEST, help=f"default {DEFAULT_MANIFEST}")
    return parser


def _cpu(text: str) -> int:
    """CPU as a person writes it -> 1e-9 CPU."""
    try:
        units = Decimal(text) * 10**deploy.DECIMALS
        if units <= 0 or units != int(units):
            raise ValueError
    except (InvalidOperation, ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number with at most 9 decimals") from None
    return int(units)


def shown(units: int) -> str:
    """1e-9 CPU -> CPU with all nine decimals."""
    whole, part = divmod(units, 10**deploy.DECIMALS)
    return f"{whole:,}.{part:09d} CPU"


def _deploy(options: argparse.Namespace) -> int:
    rpc = Rpc(options.url)
    if options.manifest.exists():
        raise ValueError(f"{options.manifest} exists: this chain has its contracts (move the file away to deploy anew)")
    if options.plan is None:
        plan, key = deploy.development_plan(), deploy.development_key("admin")
        if rpc.integer("eth_chainId") != deploy.DEVELOPMENT_CHAIN:
            raise ValueError("this is not the development chain: --plan and --key-file say who is to hold the roles")
        _fund_development_accounts(rpc)
    else:
        plan = Plan.from_json(options.plan.read_text())
    if options.key_file is not None:
        key = deploy.read_key(options.key_file)
    elif options.plan is not None:
        raise ValueError("--key-file names the deployer's key")
    manifest = deploy.deploy(rpc, key, plan)
    manifest.save(options.manifest)
    for name, item in manifest.contracts.items():
        print(f"{name:<16}{item.address}  block {item.block}")
    print(f"Manifest: {options.manifest}")
    if plan.accounts["admin"] != deploy.address_of(key):
        print(f"The admin {plan.accounts['admin']} has to accept the office (acceptDefaultAdminTransfer).")
    if not rpc.ask(manifest.token.payouts_account(plan.accounts["payer"]))[2]:
        print(f"The payouts account {plan.accounts['payer']} has to open itself (cgn payouts accept).")
    return 0


def _fund_development_accounts(rpc: Rpc) -> None:
    for address in deploy.development_plan().accounts.values():
        rpc("anvil_setBalance", address, hex(10_000 * 10**18))


def status(manifest: Manifest, rpc: Rpc) -> dict[str, Any]:
    """What the contracts say of themselves, after the manifest was checked. Amounts in 1e-9 CPU."""
    deploy.check(manifest, rpc)
    token = manifest.token
    payouts_account = manifest.accounts["payer"]
    collector, _, is_open = rpc.ask(token.payouts_account(payouts_account))
    roles = {
        "collector": collector == manifest.accounts["collector"],
        "payer": is_open,
        "pauser": rpc.ask(token.has_role(deploy.role_id("pauser"), manifest.accounts["pauser"])),
    }
    return {
        "chain_id": manifest.chain_id,
        "block": rpc.integer("eth_blockNumber"),
        "token": token.address,
        "paused": rpc.ask(token.paused()),
        "supply_nano_cpu": rpc.ask(token.total_supply()),
        "cap_nano_cpu": rpc.ask(token.cap()),
        "held_nano_cpu": rpc.ask(token.balance_of(token.address)),
        "payouts_account": payouts_account,
        "payouts_account_nano_cpu": rpc.ask(token.balance_of(payouts_account)),
        "admin": rpc.ask(token.default_admin()),
        "roles": {role: {"account": manifest.accounts[role], "holds": holds} for role, holds in roles.items()},
    }


def _status(options: argparse.Namespace) -> int:
    facts = status(Manifest.load(options.manifest), Rpc(options.url))
    if options.json:
        print(json.dumps({name: str(value) if name.endswith("_cpu") else value for name, value in facts.items()}))
        return 0
    print(f"chain {facts['chain_id']}, block {facts['block']}: the contracts are the manifest's")
    print(f"token {facts['token']}{'  PAUSED' if facts['paused'] else ''}")
    for label, name in (
        ("supply", "supply_nano_cpu"),
        ("cap", "cap_nano_cpu"),
        ("held in reservations", "held_nano_cpu"),
        ("payouts account", "payouts_account_nano_cpu"),
    ):
        print(f"  {label:<22}{shown(facts[name]):>32}")
    print(f"  {'admin':<22}{facts['admin']}")
    for role, holder in facts["roles"].items():
        print(f"  {role:<22}{holder['account']}{'' if holder['holds'] else '  (no longer)'}")
    return 0


def _faucet(options: argparse.Namespace) -> int:
    rpc = Rpc(options.url)
    manifest = Manifest.load(options.manifest)
    deploy.check(manifest, rpc)
    if "Faucet" not in manifest.contracts:
        raise ValueError(f"chain {manifest.chain_id} has no faucet: only a development chain gives tokens away")
    receipt = Sender(rpc, deploy.development_key("admin")).send(manifest.faucet.give(options.to, options.amount))
    print(f"{shown(options.amount)} to {options.to}: {receipt['transactionHash']}")
    return 0


def _up(options: argparse.Namespace) -> int:
    from cgn_chassis import logs, process

    program = chain_program.program(lambda text: print(text, file=sys.stderr, flush=True))

    async def run(life: process.Life) -> int:
        with socket.create_server(("127.0.0.1", options.port)):  # anvil would end without our sentence
            pass
        folder = options.folder or options.manifest.parent
        folder.mkdir(parents=True, exist_ok=True)
        chain = await asyncio.create_subprocess_exec(
            program, "--port", str(options.port), "--host", "127.0.0.1", "--silent", "--enable-tx-gas-limit",
            "--gas-limit", str(GAS_LIMIT_PER_BLOCK),
            "--state", str(folder / "state.json"), "--state-interval", str(STATE_INTERVAL_S),
            preexec_fn=process.die_with_parent,
        )  # fmt: skip
        try:
            rpc = Rpc(f"http://127.0.0.1:{options.port}")
            manifest = await asyncio.to_thread(_prepare, rpc, options)
            life.ready(url=rpc.url, chain_id=manifest.chain_id, manifest=str(options.manifest))
            stop = asyncio.ensure_future(life.wait_stop())
            gone = asyncio.ensure_future(chain.wait())
            await asyncio.wait((stop, gone), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if gone.done():
                print(f"the development chain ended by itself with code {gone.result()}", file=sys.stderr)
                return process.EXIT_FAILED
            gone.cancel()
            return process.EXIT_OK
        finally:
            with contextlib.suppress(ProcessLookupError):
                chain.terminate()
            await chain.wait()

    logs.configure()
    return process.run(run, name="chain", expected=(RpcError, Unreachable, ManifestMismatch, ValueError))


def _prepare(rpc: Rpc, options: argparse.Namespace) -> Manifest:
    """Waits for the chain, deploys if it is new, then lets it make its blocks by the clock."""
    path: Path = options.manifest
    _wait_ready(rpc)
    if path.exists() and rpc.integer("eth_blockNumber") > 0:
        manifest = Manifest.load(path)
        deploy.check(manifest, rpc)
    else:
        _fund_development_accounts(rpc)
        manifest = deploy.deploy(
            rpc, deploy.development_key("admin"), replace(deploy.development_plan(), node=options.node)
        )
        manifest.save(path)
    if options.block_time > 0:
        # one block per transaction stalls under a backlog of a thousand; blocks by the clock do not
        rpc("evm_setAutomine", False)
        rpc("evm_setIntervalMining", max(1, round(options.block_time)))
    _write_development_keys(path.parent / "keys")
    return manifest


def _write_development_keys(folder: Path) -> None:
    """One file per role, as `cgn payouts` reads its keys anywhere; here their content is known to everybody."""
    from cgn_chassis.tls import write_private

    for role in deploy.ROLES:
        write_private(folder / f"{role}.key", deploy.development_key(role).hex().encode())


def _wait_ready(rpc: Rpc) -> None:
    import time

    until = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            rpc("eth_chainId")
            return
        except Unreachable:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


if __name__ == "__main__":
    raise SystemExit(main())
