"""Measures the contracts' gas on a real chain and keeps docs/contracts-gas.md: `python tests/support/contracts_gas.py URL`.

Figures are `gasUsed` of mined transactions, of the committed artefacts. tests/integration/test_token_gas.py compares.
"""

import re
import sys
from pathlib import Path
from typing import Any, Final

from cgn_sdk.keccak import keccak_256

from payouts import deploy
from payouts.bindings import batches
from payouts.bindings.abi import Call
from payouts.deploy import Manifest, Sender
from payouts.rpc import Rpc

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs/contracts-gas.md"
ROW: Final = re.compile(r"^\| (.+?) +\| +([\d,]+) \|", re.MULTILINE)
CPU: Final = 10**9
GAS_PER_TRANSACTION: Final = 2**24

HEAD: Final = """# Gas of the contracts

Measured on the development chain with the committed artefacts (`gasUsed` of mined transactions); kept honest by `tests/integration/test_token_gas.py`,
which fails when a figure moves by more than 2 %. Written by `.venv/bin/python tests/support/contracts_gas.py URL` (a fresh chain).

"Known": the payee's balance is not zero before; a new payee costs 17,100 more, whatever the contract does. Every payout has its own `Transfer` and its
own `Settled` with the whole commitment. "In a batch that was collected": `collect` has used the same batch id before, as in a payout run, so
that the word which keeps both directions to once is already there. No transaction may ask for more than 2^24 = 16,777,216 gas (EIP-7825).

| what | gas |
| --- | ---: |
"""

TAIL: Final = """
Where a known payee's gas goes in a batch of 100: 5,000 reading and writing the balance, 3,036 `Settled` (three topics, six words), 1,756 `Transfer`,
about 1,790 for 121 bytes of call data (XOR, root, account and entity do not compress), 316 the loop, 50 copying and hashing the list. The rest,
about 370, is a hundredth of what a batch costs once (transaction, role, books, progress word, `BatchPaid`): small batches cost more for each payee.
"""


class Meter:
    """Deploys anew and measures."""

    def __init__(self, url: str) -> None:
        self.rpc = Rpc(url)
        self.senders = {
            name: Sender(self.rpc, deploy.development_key(name)) for name in (*deploy.ROLES, "enterprise", "miner")
        }
        for sender in self.senders.values():
            self.rpc("anvil_setBalance", sender.address, hex(10**21))
        self.manifest: Manifest = deploy.deploy(self.rpc, deploy.development_key("admin"), deploy.development_plan())
        self.token = self.manifest.token
        self.made = 0
        self.figures: dict[str, int] = {}

    def gas(self, sender: str, call: Call[Any]) -> int:
        return int(self.senders[sender].send(call)["gasUsed"], 16)

    def bytes32(self) -> bytes:
        self.made += 1
        return keccak_256(b"gas %d" % self.made)

    def now(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def collect(self, count: int, amount: int, batch: bytes) -> tuple[int, int]:
        """Reserves `count` times and collects all but one unit of each; (gas of the last reserve, of the collect)."""
        payer = self.senders["enterprise"].address
        items, reserve = [], 0
        for _ in range(count):
            reservation = self.bytes32()
            reserve = self.gas("collector", self.token.reserve(payer, amount + 1, reservation, self.now() + 3600))
            items.append(
                batches.Collection(
                    self.bytes32()[:16] + bytes(16), 0, reservation, amount, self.bytes32(), self.bytes32(), 1234
                )
            )
        return reserve, self.gas("collector", batches.collect(self.token, batch, items, keccak_256))

    def pay(self, count: int, batch: bytes, accounts: int) -> int:
        """Pays accounts `accounts` to `accounts + count`, each about 5 CPU for 1,234 rows; gas of the transaction."""
        payouts = [
            batches.Payout(
                self.bytes32()[:16] + bytes(16), 1, "0x" + keccak_256(b"payee %d" % (accounts + n))[:20].hex(),
                5 * CPU + 987_654_321 * (n % 2), self.bytes32(), self.bytes32(), 1234,
            )
            for n in range(count)
        ]  # fmt: skip
        return self.gas("payer", batches.pay(self.token, batch, payouts, keccak_256))


def measure(url: str) -> dict[str, int]:
    """What is measured -> gas, in the document's order."""
    meter = Meter(url)
    figures, token, manifest = meter.figures, meter.token, meter.manifest
    payer = meter.senders["enterprise"].address
    meter.gas("admin", manifest.faucet.give(payer, 1_000_000 * CPU))
    figures["transfer, new recipient"] = meter.gas("enterprise", token.transfer("0x" + "1e" * 20, CPU))
    figures["transfer, known recipient"] = meter.gas("enterprise", token.transfer("0x" + "1e" * 20, CPU))
    figures["approve"] = meter.gas("enterprise", token.approve(token.address, 1_000_000 * CPU))
    meter.collect(1, 100_000 * CPU, meter.bytes32())
    reserve, collect = meter.collect(1, 10 * CPU, meter.bytes32())
    figures["reserve"] = reserve
    figures["collect, one (part of it; the rest returns)"] = collect
    figures["collect, for each of 10"] = meter.collect(10, 10 * CPU, meter.bytes32())[1] // 10
    figures["collect, for each of 100"] = meter.collect(100, 10 * CPU, meter.bytes32())[1] // 100
    reservation = meter.bytes32()
    meter.gas("collector", token.reserve(payer, 1, reservation, meter.now() + 3600))
    figures["release"] = meter.gas("collector", token.release(reservation))
    first = 0
    for count in (1, 10, 100, 400):
        figures[f"pay, for each of {count}, new payees"] = meter.pay(count, meter.bytes32(), first) // count
        figures[f"pay, for each of {count}, known payees"] = meter.pay(count, meter.bytes32(), first) // count
        batch = meter.bytes32()
        meter.collect(1, 10 * CPU, batch)
        figures[f"pay, for each of {count}, known payees, in a batch that was collected"] = (
            meter.pay(count, batch, first) // count
        )
        first += count
    figures["approve a stake"] = meter.gas("miner", token.approve(manifest.master_account.address, CPU))
    meter.gas("admin", manifest.faucet.give(meter.senders["miner"].address, CPU))
    evidence = meter.bytes32()
    miner = meter.senders["miner"].address
    figures["announce a seizure"] = meter.gas("seizer", manifest.master_account.announce(miner, CPU, evidence))
    meter.rpc("evm_increaseTime", 3600)
    meter.rpc("evm_mine")
    figures["execute a seizure"] = meter.gas("seizer", manifest.master_account.execute(miner, evidence))
    ieo = manifest.ieo_token
    today = meter.rpc.ask(ieo.today())
    figures["grant of the presale"] = meter.gas("granter", ieo.grant_presale(miner, 360 * CPU, 36 * CPU, today - 36))
    figures["redeem, first"] = meter.gas("miner", ieo.redeem(CPU))
    figures["redeem, again"] = meter.gas("miner", ieo.redeem(CPU))
    prices = manifest.resource_prices
    for name, day in (("resource price, a day with all binary digits", 511), ("resource price, forty years", 14_600)):
        call = prices.amount_on(0, 17_927 + day)
        message = {"from": miner, "to": call.to, "data": "0x" + call.data.hex()}
        figures[f"{name} (as a transaction)"] = meter.rpc.integer("eth_estimateGas", message)
    return figures


def document(figures: dict[str, int]) -> str:
    rows = "".join(f"| {what} | {gas:,} |\n" for what, gas in figures.items())
    return HEAD + rows + TAIL


def documented() -> dict[str, int]:
    return {what: int(gas.replace(",", "")) for what, gas in ROW.findall(DOCUMENT.read_text()) if what != "what"}


if __name__ == "__main__":
    DOCUMENT.write_text(document(measure(sys.argv[1])))
    print(DOCUMENT.read_text())
