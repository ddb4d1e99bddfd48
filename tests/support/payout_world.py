"""A small world for payout tests: a chain of its own with the token deployed, a ledger with rows, and accounts.

Everything is real (anvil, the contracts, the embedded store); only the amounts are made up.
"""

import asyncio
import base64
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import PayIn, Payout, Row, build_row, fee_nano_cpu
from cgn_sdk.protocol.settlement import entity_on_chain

from cgn_chassis.settings import Secret
from ledger import open_store
from payouts.config import PayoutSettings
from payouts.deploy import NO_NODE, NOBODY, Manifest, Sender, address_of, deploy, development_key, development_plan
from payouts.rpc import Rpc

ROOT = Path(__file__).resolve().parents[2]
RATE = 50_000_000
"""1e-9 EUR for one CPU."""
DAY_NS = 1_795_219_200 * 10**9
"""2026-11-21, the start of the day."""


def public_id(name: str) -> str:
    return "p" + base64.b32encode(keccak_256(name.encode())[:16])[:26].decode().lower()


def account(name: str) -> str:
    return address_of(development_key(name))


@contextlib.contextmanager
def anvil(*options: str) -> Iterator[str]:
    """A chain of its own, one block per transaction unless `options` say otherwise."""
    program = os.environ.get(
        "CGN_ANVIL", str(ROOT / ".cache/chain/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [program, "--port", str(port), "--silent", "--enable-tx-gas-limit", *options]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(timeout=10)


@dataclass
class World:
    """A chain with the contracts, a ledger and a journal in a folder."""

    url: str
    folder: Path
    manifest: Manifest
    enterprises: list[str] = field(default_factory=list)
    rows: int = 0

    @property
    def rpc(self) -> Rpc:
        return Rpc(self.url)

    @property
    def ledger_url(self) -> str:
        return f"sqlite:///{self.folder}/ledger.sqlite"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite"

    def settings(self, **changes: object) -> PayoutSettings:
        given: dict[str, object] = {
            "ledger_url": self.ledger_url,
            "journal": self.journal,
            "rpc_url": self.url,
            "manifest": self.folder / "manifest.json",
            "collector_key": Secret(development_key("collector").hex()),
            "payer_key": Secret(development_key("payer").hex()),
            "confirmations": 1,
            "minimum_payout_nano_cpu": 0,
            "settle_timeout_s": 60,
        }
        return PayoutSettings(**(given | changes))  # type: ignore[arg-type]

    def balance(self, name: str) -> int:
        return self.rpc.ask(self.manifest.token.balance_of(account(name)))

    def kept(self) -> int:
        """What the payouts account holds."""
        return self.balance("payer")

    def fund(self, name: str, tokens: int, approved: int | None = None) -> None:
        """Gives an account tokens and has it approve the token's reservations."""
        self.rpc("anvil_setBalance", account(name), hex(10**21))
        if tokens:
            Sender(self.rpc, development_key("admin")).send(self.manifest.faucet.give(account(name), tokens))
        if approved is not None:
            Sender(self.rpc, development_key(name)).send(
                self.manifest.token.approve(self.manifest.token.address, approved)
            )

    def sender(self, name: str) -> Sender:
        """Who signs as this name, with ether for it."""
        self.rpc("anvil_setBalance", account(name), hex(10**21))
        return Sender(self.rpc, development_key(name))

    def announce(self, name: str, collector: str, *, node: str = "", predecessor: str = "") -> None:
        """Announces a payouts account of a node; or another collector, or the node, of an open one."""
        before = account(predecessor) if predecessor else NOBODY
        whose = entity_on_chain(public_id(node)) if node else NO_NODE
        call = self.manifest.token.announce_account(account(name), account(collector), before, whose)
        self.sender("admin").send(call)

    def open_account(self, name: str, collector: str, *, node: str = "", predecessor: str = "") -> None:
        """Announces it, and has it agree."""
        self.announce(name, collector, node=node, predecessor=predecessor)
        self.sender(name).send(self.manifest.token.accept_account())
        self.sender(collector)

    def add_rows(self, rows: Sequence[Row]) -> None:
        async def append() -> None:
            store = await open_store(self.ledger_url)
            await store.append(rows)
            await store.close()

        asyncio.run(append())
        self.rows += len(rows)

    def settle(self, **changes: object) -> dict[str, Any]:
        """Runs `cgn payouts run` in this process and returns the report."""
        from payouts import app

        return asyncio.run(app.settle(self.settings(**changes), tell=print))

    def payment_states(self, row_id: str) -> dict[tuple[str, str], tuple[str, int]]:
        async def read() -> dict[tuple[str, str], tuple[str, int]]:
            store = await open_store(self.ledger_url)
            states = await store.payment_state(row_id)
            await store.close()
            return {(item.role, item.public_id): (item.state, item.amount_nano_cpu) for item in states}

        return asyncio.run(read())


def make_world(url: str, folder: Path, node: str = "node") -> World:
    """Deploys the contracts and makes an empty ledger. `node`: whose rows the payouts account settles."""
    rpc = Rpc(url)
    plan = replace(development_plan(), node=public_id(node) if node else "")
    for address in plan.accounts.values():
        rpc("anvil_setBalance", address, hex(10**22))
    manifest = deploy(rpc, development_key("admin"), plan)
    folder.mkdir(parents=True, exist_ok=True)
    manifest.save(folder / "manifest.json")
    return World(url, folder, manifest)


def make_row(
    number: int,
    *,
    enterprise: str = "enterprise 0",
    contributor: str = "contributor 0",
    developer: str = "developer 0",
    operator: str = "operator 0",
    fee_nano_eur: int = 1_000_000,
    time_ns: int = DAY_NS,
    charity: str = "",
    without_account: Sequence[str] = (),
    accounts: Mapping[str, str] | None = None,
    node: str = "node",
) -> Row:
    """One row; shares 70, 20 and 10 per cent (of the operator's, half to a charity if there is one). Money is at the
    accounts of the parties' own names, unless `accounts` names another."""
    fee = fee_nano_cpu(fee_nano_eur, RATE)
    shares = [
        ("contributor", contributor, fee * 70 // 100, fee_nano_eur * 70 // 100),
        ("developer", developer, fee * 20 // 100, fee_nano_eur * 20 // 100),
    ]
    rest, rest_eur = fee - sum(s[2] for s in shares), fee_nano_eur - sum(s[3] for s in shares)
    if charity:
        shares.append(("charity", charity, rest // 2, rest_eur // 2))
        rest, rest_eur = rest - rest // 2, rest_eur - rest_eur // 2
    shares.append(("operator", operator, rest, rest_eur))
    names = [enterprise, *(name for _, name, _, _ in shares)]
    seed = keccak_256(f"row {number}".encode())
    return build_row(
        row_id=seed[:16].hex(),
        event_time_ns=time_ns + number,
        node_id=public_id(node),
        enterprise_id=public_id(enterprise),
        contributor_id=public_id(contributor),
        developer_id=public_id(developer),
        operator_id=public_id(operator),
        dservice="mediagen",
        dservice_version="1.0",
        tier="2",
        usage_fee_nano_eur=fee_nano_eur,
        usage_fee_nano_cpu=fee,
        exchange_rate_nano_eur_per_cpu=RATE,
        pay_in=[PayIn("enterprise", public_id(enterprise), fee)],
        payouts=[Payout(role, public_id(name), eur, cpu) for role, name, cpu, eur in shares],
        parts={
            "accounts": {
                public_id(name): account((accounts or {}).get(name, name))
                for name in names
                if name not in without_account
            }
        },
        salt=seed,
        keccak=keccak_256,
    )


def main() -> None:
    """`python -m` this file to see a payout run: a chain, 50 rows, one settlement."""
    with anvil() as url:
        world = make_world(url, Path(sys.argv[1]))
        world.fund("enterprise 0", 10**12, approved=10**12)
        world.add_rows([make_row(number, contributor=f"contributor {number % 5}") for number in range(50)])
        from payouts.app import _readable

        print(_readable(world.settle()))


if __name__ == "__main__":
    main()
