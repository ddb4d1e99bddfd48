"""A settlement and its batches as the ledger keeps them, and a batch's event as the chain tells it (L-5, P-1, P-11).

Values, and which settlement may begin after which.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cgn_sdk.protocol.row import ROLES, Keccak
from cgn_sdk.protocol.settlement import NO_SETTLEMENT, Scope, batch_id, settlement_id


class BatchRecord(NamedTuple):
    """One entity's part, in one role, of one payout run."""

    batch_id: bytes
    chain_id: int
    token: str
    """Address of the contract, lower case with 0x."""
    period: str
    role: str
    public_id: str
    account: str
    """Ethereum address, lower case with 0x."""
    first_ingest: int
    """First row that was new in the run; with `last_ingest` the same for all batches of a run."""
    last_ingest: int
    previous: bytes
    """Settlement id of the run before."""
    row_count: int
    amount_nano_cpu: int
    xor: bytes
    merkle_root: bytes

    def settlement_id(self, keccak: Keccak) -> bytes:
        """Returns the id of the run's settlement, computed from what the record says of the run."""
        scope = Scope(self.chain_id, self.token, self.period)
        return settlement_id(scope, self.first_ingest, self.last_ingest, self.previous, keccak)

    def settlement(self, keccak: Keccak) -> "SettlementRecord":
        """Returns what the record says of its run."""
        return SettlementRecord(
            self.settlement_id(keccak),
            self.chain_id,
            self.token,
            self.period,
            self.first_ingest,
            self.last_ingest,
            self.previous,
        )


class SettlementRecord(NamedTuple):
    """One payout run as the ledger keeps it, from its beginning: at most one follows each (P-11)."""

    settlement_id: bytes
    chain_id: int
    token: str
    """Address of the contract, lower case with 0x."""
    period: str
    first_ingest: int
    last_ingest: int
    previous: bytes
    """Settlement id of the run before; 32 zero bytes at first."""
    owner: str = ""
    """Who runs it: whatever tells one host or journal from another. Empty where only its batches are known."""
    begun_ns: int = 0
    ended_ns: int = 0
    """0 while it runs."""

    @property
    def place(self) -> tuple[int, str, bytes]:
        """What only one settlement may hold: the place behind the one before, per contract."""
        return self.chain_id, self.token, self.previous

    @property
    def stated(self) -> tuple[object, ...]:
        """What its id is over, and the id: the same for everybody who runs it."""
        return self[:7]


def refuse_settlement(
    wanted: SettlementRecord, holder: SettlementRecord | None, before: SettlementRecord | None
) -> str:
    """Returns why a settlement may not begin, or the empty string.

    `holder`: who has its place already; `before`: the one that it says it follows.
    """
    if holder is not None and holder.stated != wanted.stated:
        return (
            f"settlement {holder.settlement_id.hex()} over rows {holder.first_ingest} to {holder.last_ingest} "
            f"follows {wanted.previous.hex()} already"
        )
    if holder is not None or wanted.previous == NO_SETTLEMENT:
        return ""
    if before is None:
        return f"the ledger knows no settlement {wanted.previous.hex()} that it could follow"
    return "" if before.ended_ns else f"settlement {before.settlement_id.hex()} of {before.owner!r:.80} has not ended"


def newest_of(settlements: Iterable[SettlementRecord]) -> SettlementRecord | None:
    """Returns the settlement of one contract that none follows. (Where a ledger of an older program misses one in
    between, several are not followed: then the one with the latest rows.)"""
    found = list(settlements)
    followed = {record.previous for record in found}
    last = [record for record in found if record.settlement_id not in followed]
    return max(last, key=lambda record: (record.last_ingest, record.first_ingest), default=None)


class BegunEvent(NamedTuple):
    """That the ledger's payouts account began a settlement, and what became of it."""

    settlement_id: bytes
    block_number: int
    is_abandoned: bool
    has_moved: bool
    """Whether it collected or paid anything that its payers do not have again."""


class SettledEvent(NamedTuple):
    """The event `Settled`, and the transaction it was found in."""

    chain_id: int
    token: str
    """Address of the contract that logged it, lower case with 0x."""
    settlement_id: bytes
    """The event's `batchId`."""
    entity: bytes
    role: int
    account: str
    amount_nano_cpu: int
    xor: bytes
    merkle_root: bytes
    row_count: int
    tx_id: str = ""

    def batch_id(self, keccak: Keccak) -> bytes:
        """Returns the batch's id, from the three topics."""
        return batch_id(self.settlement_id, self.entity, self.role, keccak)

    @property
    def role_name(self) -> str:
        return ROLES[self.role] if 0 <= self.role < len(ROLES) else f"role {self.role}"
