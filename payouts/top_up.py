"""Filling up a payer whose approved balance does not cover what it owes (P-7).

`TopUp` is the port. `TreasuryTopUp` transfers tokens from an account of ours, as the sandbox does; a payment gateway
that buys tokens with the payer's fiat money is another adapter of the same port.

A top-up is an ordinary transfer, which no contract refuses a second time. So its step is made once per payer, run and
attempt, and never again under another nonce: if its nonce goes to somebody else, the payer is flagged instead.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from payouts.bindings.erc20 import Transfer
from payouts.chain import Payload, Signer
from payouts.core.rollup import Party
from payouts.driver import Driver, Step
from payouts.token import Refused, Token


class Shortage(NamedTuple):
    """What a payer lacks."""

    party: Party
    account: str
    missing: int
    """1e-9 CPU."""
    reference: str
    """Unique for payer, run and attempt: the same reference is the same top-up."""


class TopUp(Protocol):
    """Brings tokens into a payer's account."""

    def fund(self, run_id: int, shortage: Shortage) -> str:
        """Funds the payer once per reference, however often it is called. Returns why not, or the empty string."""
        ...


class NoTopUp:
    """Nobody helps: the payer is flagged."""

    def fund(self, run_id: int, shortage: Shortage) -> str:
        return "no top-up is set up"


@dataclass(frozen=True, slots=True)
class TreasuryTopUp:
    """Transfers what is missing from a treasury account."""

    token: Token
    driver: Driver
    treasury: Signer

    def fund(self, run_id: int, shortage: Shortage) -> str:
        name = f"top_up:{shortage.reference}"
        known = self.driver.journal.tx(name)
        if known is not None:
            payload = Payload(known.recipient, known.data, known.gas)
            amount = int.from_bytes(known.data[-32:], "big")
        else:
            amount = shortage.missing
            try:
                payload = self.token.payload(self.treasury.address, self.token.calls.transfer(shortage.account, amount))
            except Refused as refused:
                return f"the treasury cannot help: {refused.text}"
        wanted = Transfer(self.treasury.address, shortage.account, amount)
        step = Step(
            name=name,
            signer=self.treasury,
            payload=payload,
            check=lambda receipt: self.token.lacks_transfer(receipt.logs, wanted),
            repeatable=False,
        )
        tx = self.driver.carry_out(run_id, [step])[name]
        return "" if tx.state == "final" else f"the treasury's transfer is {tx.state}: {tx.detail}"
