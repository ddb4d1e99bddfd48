"""Filling up a payer whose approved balance does not cover what it owes (P-7).

`TopUp` is the port. `TreasuryTopUp` adds tokens of an account of ours, as the sandbox does; a payment gateway that buys
tokens with the payer's fiat money is another adapter of the same port.

The tokens go into the payer's open reservation and nowhere else, so a payer can never move them away, and what is not
collected comes back. A reservation takes one top-up: the contract refuses a second.

What beneficiaries got of it is gone, and nothing makes the payer give it back. A payer in league with a beneficiary
could empty the treasury day by day, so what is added for one payer is bounded, in a run and in all: by what the chain
tells of it (`payouts.top_up_history`), whatever a journal has forgotten.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from payouts.chain import Payload, Signer
from payouts.core.rollup import Party
from payouts.driver import Driver, Step
from payouts.token import Refused, Token
from payouts.top_up_history import added_for


class Shortage(NamedTuple):
    """What a payer lacks."""

    party: Party
    account: str
    missing: int
    """1e-9 CPU."""
    reference: str
    """Unique for a reservation of a payer: the same reference is the same top-up."""
    settlement_id: bytes
    """What the payer's reservation is open for."""


class TopUp(Protocol):
    """Brings tokens into a payer's reservation."""

    def fund(self, run_id: int, shortage: Shortage) -> str:
        """Funds the reservation once per reference, however often called. Returns why not, or the empty string."""
        ...


class NoTopUp:
    """Nobody helps: the payer is flagged."""

    def fund(self, run_id: int, shortage: Shortage) -> str:
        return "no top-up is set up"


@dataclass(frozen=True, slots=True)
class TreasuryTopUp:
    """Adds what is missing from a treasury account."""

    token: Token
    driver: Driver
    treasury: Signer
    run_max: int
    """1e-9 CPU, for one payer in one settlement."""
    total_max: int
    """1e-9 CPU, for one payer in all settlements."""

    def fund(self, run_id: int, shortage: Shortage) -> str:
        name = f"top_up:{shortage.reference}"
        known = self.driver.journal.tx(name)
        if known is not None:
            payload = Payload(known.recipient, known.data, known.gas)
        else:
            if problem := self._beyond(shortage):
                return problem
            call = self.token.top_up(shortage.settlement_id, shortage.party, shortage.account, shortage.missing)
            try:
                payload = self.token.payload(self.treasury.address, call)
            except Refused as refused:
                return f"the treasury cannot help: {refused.text}"
        step = Step(
            name=name,
            signer=self.treasury,
            payload=payload,
            check=lambda receipt: self.token.lacks_top_up(
                receipt.logs, shortage.party, shortage.account, shortage.missing
            ),
        )
        tx = self.driver.carry_out(run_id, [step])[name]
        return "" if tx.state == "final" else f"the treasury's top-up is {tx.state}: {tx.detail}"

    def _beyond(self, shortage: Shortage) -> str:
        """Why the payer gets no more, or the empty string."""
        added = added_for(self.token, shortage.party, shortage.account)
        now = sum(item.amount for item in added if item.is_of(shortage.settlement_id))
        total = sum(item.amount for item in added)
        if now + shortage.missing > self.run_max:
            return (
                f"lacks {shortage.missing} nano-CPU; the treasury adds at most {self.run_max} for one payer in a run, "
                f"and has added {now} in this one"
            )
        if total + shortage.missing > self.total_max:
            return (
                f"lacks {shortage.missing} nano-CPU; the treasury has added {total} for it before, and adds at most "
                f"{self.total_max} for one payer"
            )
        return ""
