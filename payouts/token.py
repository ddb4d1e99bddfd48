"""The token contract as payouts use it: what its calls and events are as bytes, and what its views say.

The contract itself, its artefacts and its rules are in payouts/contracts (see its README). Here is only the side of
the one who settles: reservations, `collect` and `pay` with their packed lists, and the event `Settled`.

An entity goes by 16 bytes on chain: the 128 bits of its public id. In events they stand first in a bytes32.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import entity_on_chain

from payouts.chain import Chain, ChainError, Log
from payouts.core.rollup import ROLE_NUMBERS, Batch, Party

ROLE_NAMES: Final = {number: name for name, number in ROLE_NUMBERS.items()}


def _selector(signature: str) -> bytes:
    digest: bytes = keccak_256(signature.encode())
    return digest[:4]


_RESERVE: Final = _selector("reserve(address,uint256,bytes32,uint64)")
_RELEASE: Final = _selector("release(bytes32)")
_COLLECT: Final = _selector("collect(bytes32,uint256,bytes32,bytes)")
_PAY: Final = _selector("pay(bytes32,uint256,bytes32,bytes)")
_TRANSFER: Final = _selector("transfer(address,uint256)")
_RESERVATION: Final = _selector("reservation(bytes32)")
_BALANCE: Final = _selector("balanceOf(address)")
_ALLOWANCE: Final = _selector("allowance(address,address)")
_PAYOUTS_ACCOUNT: Final = _selector("payoutsAccount()")
_DECIMALS: Final = _selector("decimals()")
SETTLED: Final = keccak_256(b"Settled(bytes32,bytes32,uint8,address,uint256,bytes32,bytes32,uint64)")
RESERVED: Final = keccak_256(b"Reserved(bytes32,address,uint256,uint64)")
RELEASED: Final = keccak_256(b"Released(bytes32,address,uint256)")
TRANSFER: Final = keccak_256(b"Transfer(address,address,uint256)")

DECIMALS: Final = 9
"""The token's unit is the ledger's (docs/decisions/0002-nine-decimals.md)."""


class Settled(NamedTuple):
    """One event: an entity's part in one batch."""

    settlement_id: bytes
    """`batchId` on chain: one per run."""
    entity: bytes
    role: int
    account: str
    amount: int
    xor: bytes
    merkle_root: bytes
    row_count: int


class SettledLog(NamedTuple):
    """The event and where it stands."""

    settled: Settled
    block_number: int
    block_hash: bytes
    tx_hash: bytes


class HeldFunds(NamedTuple):
    """A reservation on chain. No owner: the id was never used. An owner and nothing held: collected or released."""

    owner: str
    amount: int
    expires_at_s: int


def expected(settlement_id: bytes, batch: Batch) -> Settled:
    """Returns the event that settles a batch."""
    commitment = batch.commitment
    return Settled(
        settlement_id=settlement_id,
        entity=entity_on_chain(batch.party.id),
        role=ROLE_NUMBERS[batch.party.role],
        account=batch.account,
        amount=commitment.amount_nano_cpu,
        xor=commitment.xor,
        merkle_root=commitment.merkle_root,
        row_count=commitment.row_count,
    )


def chunks(batches: Iterable[Batch], size: int) -> list[list[Batch]]:
    """Returns the batches as the contract wants them: ascending by entity and role, at most `size` at once."""
    ordered = sorted(batches, key=lambda batch: (entity_on_chain(batch.party.id), ROLE_NUMBERS[batch.party.role]))
    return [ordered[at : at + size] for at in range(0, len(ordered), size)]


def reserve_data(owner: str, amount: int, reservation_id: bytes, expires_at_s: int) -> bytes:
    """Returns the call that moves approved funds of an owner into the contract's keeping."""
    return _RESERVE + _word_address(owner) + _word(amount) + reservation_id + _word(expires_at_s)


def release_data(reservation_id: bytes) -> bytes:
    """Returns the call that gives a reservation back."""
    return _RELEASE + reservation_id


def transfer_data(recipient: str, amount: int) -> bytes:
    """Returns an ordinary transfer."""
    return _TRANSFER + _word_address(recipient) + _word(amount)


def collect_data(settlement_id: bytes, batches: Sequence[Batch], reservation_ids: Sequence[bytes]) -> bytes:
    """Returns the call that posts reservations, each with its payer's commitment."""
    items = []
    for batch, reservation_id in zip(batches, reservation_ids, strict=True):
        items.append(
            batch.commitment.xor
            + batch.commitment.merkle_root
            + reservation_id
            + batch.commitment.amount_nano_cpu.to_bytes(12, "big")
            + _key(batch.party)
            + batch.commitment.row_count.to_bytes(8, "big")
        )
    return _COLLECT + _list_call(settlement_id, batches, items)


def pay_data(settlement_id: bytes, batches: Sequence[Batch]) -> bytes:
    """Returns the call that pays beneficiaries, each with its own commitment."""
    items = []
    for batch in batches:
        items.append(
            batch.commitment.xor
            + batch.commitment.merkle_root
            + bytes.fromhex(batch.account[2:])
            + batch.commitment.amount_nano_cpu.to_bytes(12, "big")
            + _key(batch.party)
            + batch.commitment.row_count.to_bytes(8, "big")
        )
    return _PAY + _list_call(settlement_id, batches, items)


def decode_settled(log: Log) -> Settled:
    """Returns the event of a log. Raises ChainError when it is not one."""
    if len(log.topics) != 4 or log.topics[0] != SETTLED or len(log.data) != 160:
        raise ChainError(f"log {log.index} of block {log.block_number} is not a Settled event")
    words = [log.data[at : at + 32] for at in range(0, 160, 32)]
    return Settled(
        settlement_id=log.topics[1],
        entity=log.topics[2],
        role=int.from_bytes(log.topics[3], "big"),
        account="0x" + words[0][12:].hex(),
        amount=int.from_bytes(words[1], "big"),
        xor=words[2],
        merkle_root=words[3],
        row_count=int.from_bytes(words[4], "big"),
    )


def settled_in(token: str, logs: Iterable[Log]) -> list[Settled]:
    """Returns the settlements among a receipt's events that this token logged."""
    return [decode_settled(log) for log in logs if log.address == token and log.topics[:1] == (SETTLED,)]


class Token:
    """The views of one deployed token."""

    def __init__(self, chain: Chain, address: str) -> None:
        """Looks the contract over. Raises ChainError when there is none, or not one with 9 decimals."""
        self.chain = chain
        self.address = address.lower()
        if not chain.code(self.address):
            raise ChainError(f"there is no contract at {self.address} on chain {chain.chain_id()}")
        decimals = _number(chain.read(self.address, _DECIMALS))
        if decimals != DECIMALS:
            raise ChainError(f"the contract at {self.address} has {decimals} decimals, not {DECIMALS}")
        self.payouts_account = "0x" + chain.read(self.address, _PAYOUTS_ACCOUNT)[-20:].hex()

    def balance(self, account: str, block_number: int | None = None) -> int:
        """Returns a balance in 1e-9 CPU."""
        return _number(self.chain.read(self.address, _BALANCE + _word_address(account), block_number))

    def allowance(self, owner: str) -> int:
        """Returns how much of an owner's funds the contract may reserve, in 1e-9 CPU."""
        data = _ALLOWANCE + _word_address(owner) + _word_address(self.address)
        return _number(self.chain.read(self.address, data))

    def reservation(self, reservation_id: bytes) -> HeldFunds:
        """Returns what is held under an id."""
        answer = self.chain.read(self.address, _RESERVATION + reservation_id)
        if len(answer) != 96:
            raise ChainError("reservation() answered in another form")
        return HeldFunds("0x" + answer[12:32].hex(), _number(answer[32:64]), _number(answer[64:96]))

    def settled(self, first_block: int, last_block: int, settlement_id: bytes | None = None) -> list[SettledLog]:
        """Returns the settlements between two blocks, of one batch id or of all."""
        logs = self.chain.logs(self.address, (SETTLED, settlement_id), first_block, last_block)
        return [SettledLog(decode_settled(log), log.block_number, log.block_hash, log.tx_hash) for log in logs]


def _list_call(settlement_id: bytes, batches: Sequence[Batch], items: Sequence[bytes]) -> bytes:
    packed = b"".join(items)
    total = sum(batch.commitment.amount_nano_cpu for batch in batches)
    head = settlement_id + _word(total) + keccak_256(packed) + _word(128)
    return head + _word(len(packed)) + packed + bytes(-len(packed) % 32)


def _key(party: Party) -> bytes:
    return entity_on_chain(party.id)[:16] + ROLE_NUMBERS[party.role].to_bytes(1, "big")


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _word_address(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])


def _number(word: bytes) -> int:
    if len(word) != 32:
        raise ChainError(f"a view answered {len(word)} bytes instead of a word")
    return int.from_bytes(word, "big")
