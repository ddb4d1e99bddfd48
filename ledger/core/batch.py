"""A settlement's batch as the ledger keeps it, and its event as the chain tells it (L-5, P-1). Values only."""

from typing import NamedTuple

from cgn_sdk.protocol.row import ROLES, Keccak
from cgn_sdk.protocol.settlement import Scope, batch_id, settlement_id


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
