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
own `Settled` with the whole commitment. "First": the words of a payer's reservation or of a payouts account are used for the first time; every later
settlement uses them again and leaves no new storage behind. The settlements paid here are cut into four lists, as one of 400 to 1,000 payees is.
No transaction may ask for more than 2^24 = 16,777,216 gas (EIP-7825).

| what | gas |
| --- | ---: |
"""

TAIL: Final = """
Where a known payee's gas goes in a batch of 100: 5,000 reading and writing the balance, 3,036 `Settled` (three topics, six words), 1,756 `Transfer`,
about 1,790 for 121 bytes of call data (XOR, root, account and entity do not compress), some 330 the loop, 50 copying and hashing the list. The rest is
a hundredth of what a list costs once (transaction, proof, the account's words, `BatchPaid`): small lists cost more for each payee.

What is new in storage: an allowance and a balance for each account; for each payer at each payouts account one word, and one more when it was topped
up; six words for each payouts account; one for each authorization that was signed. None for a settlement. Under a schedule that makes a new slot ten
times dearer, the rows that say "first" and "new" and those of authorizations get dearer by that, and no other.
"""


class Meter:
    """Deploys anew and measures."""

    def __init__(self, url: str) -> None:
        self.rpc = Rpc(url)
        self.senders = {
            name: Sender(self.rpc, deploy.development_key(name))
            for name in (*deploy.ROLES, "enterprise", "miner", "stranger")
        }
        for sender in self.senders.values():
            self.rpc("anvil_setBalance", sender.address, hex(10**21))
        self.manifest: Manifest = deploy.deploy(self.rpc, deploy.development_key("admin"), deploy.development_plan())
        self.token = self.manifest.token
        self.books = self.manifest.accounts["payer"]
        self.settlement = bytes(32)
        self.made = 0
        self.figures: dict[str, int] = {}

    def gas(self, sender: str, call: Call[Any]) -> int:
        return int(self.senders[sender].send(call)["gasUsed"], 16)

    def bytes32(self) -> bytes:
        self.made += 1
        return keccak_256(b"gas %d" % self.made)

    def now(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def reserve(self, numbers: range, amount: int, settlement: bytes) -> int:
        """Reserves for so many entities of one payer; gas of the last."""
        payer, gas = self.senders["enterprise"].address, 0
        for number in numbers:
            entity = (number + 1).to_bytes(16, "big")[::-1] + bytes(16)
            call = self.token.reserve(self.books, payer, entity, 0, amount, settlement, self.now() + 3600)
            gas = self.gas("collector", call)
        return gas

    def begin(self, settlement: bytes, collections: int, payouts: int, root: bytes) -> int:
        previous, _, last_row, _, _ = self.rpc.ask(self.token.settlement_of(self.books))
        rows = (last_row + 1, last_row + 10)
        return self.gas(
            "collector", self.token.begin(self.books, settlement, previous, *rows, collections, payouts, root)
        )

    def collect(self, count: int, amount: int, *, left: int = 1, payouts: int = 0, root: bytes = bytes(32)) -> int:
        """One settlement that collects all but `left` units of each reservation; gas of the collect."""
        settlement, payer = self.bytes32(), self.senders["enterprise"].address
        self.reserve(range(count), amount + left, settlement)
        self.figures["begin a settlement"] = self.begin(settlement, amount * count, payouts, root)
        items = [
            batches.Item(
                (n + 1).to_bytes(16, "big")[::-1] + bytes(16), 0, payer, amount, self.bytes32(), self.bytes32(), 1234
            )
            for n in range(count)
        ]
        self.settlement = settlement
        return self.gas("collector", batches.collect(self.token, self.books, settlement, items))

    def pay(self, count: int, accounts: int) -> int:
        """Pays accounts `accounts` to `accounts + count`, each about 5 CPU for 1,234 rows; gas of the transaction, the
        first of four."""
        payouts = sorted(
            (
                batches.Item(
                    self.bytes32()[:16] + bytes(16), 1, "0x" + keccak_256(b"payee %d" % (accounts + n))[:20].hex(),
                    5 * CPU + 987_654_321 * (n % 2), self.bytes32(), self.bytes32(), 1234,
                )
                for n in range(count)
            ),
            key=lambda item: item.entity,
        )  # fmt: skip
        others = [
            [
                batches.Item(
                    bytes([255] * 15 + [250 - 8 * (2 - n)]) + bytes(16), 1, "0x" + "99" * 20, 1, bytes(32), bytes(32), 1
                )
            ]
            for n in range(3)
        ]
        committed = batches.payout_lists([payouts, *others], keccak_256)
        total = sum(item.amount for item in payouts) + 3
        self.collect(1, total, payouts=total, root=committed.root)
        gas = self.gas("payer", batches.pay(self.token, self.settlement, committed, 0))
        for number in (1, 2, 3):
            self.gas("payer", batches.pay(self.token, self.settlement, committed, number))
        return gas


def authorized(meter: Meter, sender: str, to: str, amount: int) -> Call[None]:
    """A transfer that its owner has signed for (ERC-3009)."""
    from eth_account import Account

    fields: list[tuple[str, str]] = [
        ("from", "address"),
        ("to", "address"),
        ("value", "uint256"),
        ("validAfter", "uint256"),
    ]
    fields += [("validBefore", "uint256"), ("nonce", "bytes32")]
    owner, nonce, until = meter.senders[sender].address, meter.bytes32(), 2**40
    values = {"from": owner, "to": to, "value": amount, "validAfter": 0, "validBefore": until, "nonce": nonce}
    domain = {"name": "CPUcoin", "version": "1", "chainId": 31337, "verifyingContract": meter.token.address}
    types = {"TransferWithAuthorization": [{"name": name, "type": kind} for name, kind in fields]}
    signed = Account.sign_typed_data(deploy.development_key(sender), domain, types, values)
    r, s = signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")
    return meter.token.transfer_with_authorization(owner, to, amount, 0, until, nonce, signed.v, r, s)


def measure(url: str) -> dict[str, int]:
    """What is measured -> gas, in the document's order."""
    meter = Meter(url)
    figures, token, manifest = meter.figures, meter.token, meter.manifest
    payer, treasury = meter.senders["enterprise"].address, meter.senders["treasury"].address
    for account in (payer, treasury):
        meter.gas("admin", manifest.faucet.give(account, 1_000_000 * CPU))
    figures["transfer, new recipient"] = meter.gas("enterprise", token.transfer("0x" + "1e" * 20, CPU))
    figures["transfer, known recipient"] = meter.gas("enterprise", token.transfer("0x" + "1e" * 20, CPU))
    figures["transfer with authorization, known recipient"] = meter.gas(
        "stranger", authorized(meter, "enterprise", "0x" + "1e" * 20, CPU)
    )
    figures["approve"] = meter.gas("enterprise", token.approve(token.address, 2**255))
    settlement = meter.bytes32()
    figures["reserve, first"] = meter.reserve(range(1), 10 * CPU, settlement)
    figures["reserve, in place of the one before"] = meter.reserve(range(1), 10 * CPU, meter.bytes32())
    entity = (1).to_bytes(16, "big")[::-1] + bytes(16)
    figures["release"] = meter.gas("collector", token.release(meter.books, payer, entity, 0))
    for what in ("first", "again"):
        settlement = meter.bytes32()
        meter.reserve(range(1), 10 * CPU, settlement)
        figures[f"top up, {what}"] = meter.gas("treasury", token.top_up(meter.books, payer, entity, 0, CPU, settlement))
        meter.gas("collector", token.release(meter.books, payer, entity, 0))
    meter.collect(1, 10 * CPU)
    figures["begin a settlement, first"] = figures.pop("begin a settlement")
    figures["collect, one (part of it; the rest returns)"] = meter.collect(1, 10 * CPU)
    figures["collect, for each of 10"] = meter.collect(10, 10 * CPU) // 10
    figures["collect, for each of 100"] = meter.collect(100, 10 * CPU) // 100
    first = 0
    for count in (1, 10, 100, 400):
        figures[f"pay, for each of {count}, new payees"] = meter.pay(count, first) // count
        figures[f"pay, for each of {count}, known payees"] = meter.pay(count, first) // count
        first += count
    figures["begin a settlement"] = figures.pop("begin a settlement")
    figures["burn"] = meter.gas("enterprise", token.burn(CPU))
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
    meter.gas("admin", ieo.announce_tranche(5 * 10**8, 1_000_000 * CPU, 1_000, [100 * CPU], [500]))
    figures["grant of the presale"] = meter.gas("granter", ieo.grant_presale(miner, 0, 360 * CPU, today - 36))
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
