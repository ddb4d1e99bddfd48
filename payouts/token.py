"""The token as payouts use it: steps' payloads from the bindings, what a receipt must hold, and what the views say.

The contract, its artefacts and its rules are in payouts/contracts; the bindings are generated from its ABI. This module
is where they meet the rollup's words (batches, parties) and the chain port.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypedDict, TypeVar

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import entity_on_chain

from payouts import limits
from payouts.bindings import abi, batches
from payouts.bindings.abi import Call
from payouts.bindings.erc20 import Transfer
from payouts.bindings.utility_token import Released, Reserved, Settled, UtilityToken
from payouts.chain import Chain, ChainError, Log, Payload
from payouts.core.rollup import ROLE_NUMBERS, Batch, Reservation

T = TypeVar("T")

DECIMALS: Final = 9
"""The token's unit is the ledger's (docs/decisions/0002-nine-decimals.md)."""


class Refused(Exception):
    """The contract would refuse the call. `name` is the error's name, `text` has its arguments."""

    def __init__(self, call: "Call[object]", data: bytes) -> None:
        revert = abi.decode_error(data)
        self.name = revert.name if revert else ""
        self.text = str(revert) if revert else f"0x{data[:36].hex()}" if data else "no reason given"
        super().__init__(f"the contract refuses {call.function}: {self.text}")


class SettledLog(NamedTuple):
    """A settlement and where it stands."""

    settled: Settled
    block_number: int
    tx_hash: bytes


class HeldFunds(NamedTuple):
    """A reservation on chain. No owner: the id was never used. An owner and nothing held: collected or released."""

    owner: str
    amount: int
    expires_at_s: int


_NOBODY = "0x" + "0" * 40


def expected(settlement_id: bytes, batch: Batch) -> Settled:
    """Returns the event that settles a batch."""
    return Settled(batch_id=settlement_id, account=batch.account, **_part(batch))


class _Part(TypedDict):
    """What a settlement says in its list and in its event alike."""

    entity: bytes
    role: int
    amount: int
    row_count: int
    xor_hash: bytes
    merkle_root: bytes


def _part(batch: Batch) -> _Part:
    commitment = batch.commitment
    return {
        "entity": entity_on_chain(batch.party.id),
        "role": ROLE_NUMBERS[batch.party.role],
        "amount": commitment.amount_nano_cpu,
        "row_count": commitment.row_count,
        "xor_hash": commitment.xor,
        "merkle_root": commitment.merkle_root,
    }


def chunks(settled: Iterable[Batch], size: int) -> list[list[Batch]]:
    """Returns the batches as the contract wants them: ascending by entity and role, at most `size` at once."""
    ordered = sorted(settled, key=lambda batch: (entity_on_chain(batch.party.id), ROLE_NUMBERS[batch.party.role]))
    return [ordered[at : at + size] for at in range(0, len(ordered), size)]


def settled_in(token: str, logs: Iterable[Log]) -> list[Settled]:
    """Returns the settlements among a receipt's events that this token logged."""
    events = (Settled.decode(abi.Log(log.address, log.topics, log.data)) for log in logs if log.address == token)
    return [event for event in events if event is not None]


class Token:
    """One deployed token on a chain."""

    def __init__(self, chain: Chain, address: str) -> None:
        """Looks the contract over. Raises ChainError when there is none, or not one with 9 decimals."""
        self.chain = chain
        self.address = address.lower()
        self.calls = UtilityToken(self.address)
        if not chain.code(self.address):
            raise ChainError(f"there is no contract at {self.address} on chain {chain.chain_id()}")
        decimals = self.ask(self.calls.decimals())
        if decimals != DECIMALS:
            raise ChainError(f"the contract at {self.address} has {decimals} decimals, not {DECIMALS}")
        self.payouts_account: str = self.ask(self.calls.payouts_account())

    def ask(self, call: Call[T], block_number: int | None = None) -> T:
        """Returns what a view says, at a block or at the head."""
        data = self.chain.read(call.to, call.data, block_number)
        try:
            return call.decode(data)
        except ValueError as error:
            raise ChainError(f"{call.function}: {error}") from error

    def balance(self, account: str, block_number: int | None = None) -> int:
        """Returns a balance in 1e-9 CPU."""
        return self.ask(self.calls.balance_of(account), block_number)

    def allowance(self, owner: str) -> int:
        """Returns how much of an owner's funds the contract may reserve, in 1e-9 CPU."""
        return self.ask(self.calls.allowance(owner, self.address))

    def reservation(self, reservation_id: bytes) -> HeldFunds | None:
        """Returns what is or was held under an id; None when it was never used."""
        owner, amount, expires_at_s = self.ask(self.calls.reservation(reservation_id))
        return None if owner == _NOBODY else HeldFunds(owner, amount, expires_at_s)

    def payload(self, sender: str, call: "Call[object]") -> Payload:
        """Returns the call as a transaction's payload, with the gas it may use.

        Raises Refused when the contract would refuse it now, ChainError when it needs more gas than one may have.
        """
        simulated = self.chain.simulate(sender, call.to, call.data)
        if simulated.reverted:
            raise Refused(call, simulated.data)
        if simulated.gas > limits.GAS_PER_TRANSACTION:
            raise ChainError(
                f"{call.function} would need {simulated.gas} gas, {limits.GAS_PER_TRANSACTION} are allowed"
            )
        with_margin = simulated.gas + simulated.gas * limits.GAS_MARGIN_PERCENT // 100
        return Payload(call.to, call.data, min(with_margin, limits.GAS_PER_TRANSACTION))

    def collect(self, settlement_id: bytes, parts: Iterable[Batch], reservation_ids: Iterable[bytes]) -> Call[None]:
        """Returns the call that posts reservations, each with its payer's commitment."""
        items = [
            batches.Collection(reservation_id=reservation_id, **_part(batch))
            for batch, reservation_id in zip(parts, reservation_ids, strict=True)
        ]
        return batches.collect(self.calls, settlement_id, items, keccak_256)

    def pay(self, settlement_id: bytes, parts: Iterable[Batch]) -> Call[None]:
        """Returns the call that pays beneficiaries, each with its own commitment."""
        items = [batches.Payout(account=batch.account, **_part(batch)) for batch in parts]
        return batches.pay(self.calls, settlement_id, items, keccak_256)

    def settled(self, first_block: int, last_block: int, settlement_id: bytes | None = None) -> list[SettledLog]:
        """Returns the settlements between two blocks, of one run or of all, in the chain's order."""
        found = []
        for log in self.chain.logs(self.address, (Settled.TOPIC, settlement_id), first_block, last_block):
            try:
                event = Settled.decode(abi.Log(log.address, log.topics, log.data))
            except ValueError as error:
                raise ChainError(f"eth_getLogs: {error}") from error
            if event is None or log.address != self.address or settlement_id not in (None, event.batch_id):
                raise ChainError("eth_getLogs: answered with events that were not asked for")
            found.append(SettledLog(event, log.block_number, log.tx_hash))
        return found

    def lacks_reservation(self, logs: Iterable[Log], reservation_id: bytes, wanted: Reservation) -> str:
        """Returns what is wrong with a receipt that should reserve exactly this."""
        for log in logs:
            event = Reserved.decode(abi.Log(log.address, log.topics, log.data)) if log.address == self.address else None
            if event and (event.reservation_id, event.owner, event.amount) == (
                reservation_id,
                wanted.account,
                wanted.amount,
            ):
                return ""
        return "it holds no such reservation"

    def lacks_release(self, logs: Iterable[Log], reservation_id: bytes) -> str:
        """Returns what is wrong with a receipt that should give a reservation back."""
        for log in logs:
            event = Released.decode(abi.Log(log.address, log.topics, log.data)) if log.address == self.address else None
            if event and event.reservation_id == reservation_id:
                return ""
        return "it gives no such reservation back"

    def lacks_transfer(self, logs: Iterable[Log], wanted: Transfer) -> str:
        """Returns what is wrong with a receipt that should transfer exactly this."""
        for log in logs:
            if log.address == self.address and Transfer.decode(abi.Log(log.address, log.topics, log.data)) == wanted:
                return ""
        return "it holds no such transfer"
