"""The token as payouts use it: steps' payloads from the bindings, what a receipt must hold, and what the views say.

The contract, its artefacts and its rules are in payouts/contracts; the bindings are generated from its ABI. This module
is where they meet the rollup's words (batches, parties) and the chain port.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypedDict, TypeVar

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import entity_on_chain, public_id_of

from payouts import limits
from payouts.bindings import abi, batches
from payouts.bindings.abi import Call
from payouts.bindings.batches import Item, PayoutLists
from payouts.bindings.utility_token import (
    AccountOpened,
    BatchCollected,
    BatchPaid,
    Collected,
    CollectorChanged,
    Released,
    Reserved,
    Returned,
    Settled,
    SettlementAbandoned,
    SettlementBegun,
    ToppedUp,
    UtilityToken,
)
from payouts.chain import Chain, ChainError, Log, Payload
from payouts.core.rollup import ROLE_NUMBERS, Batch, Party, Reservation

T = TypeVar("T")
L = TypeVar("L", BatchCollected, BatchPaid, SettlementAbandoned, SettlementBegun)
"""What names its payouts account second, after the settlement."""
E = TypeVar(
    "E",
    AccountOpened,
    BatchCollected,
    BatchPaid,
    Collected,
    CollectorChanged,
    Released,
    Reserved,
    Returned,
    Settled,
    SettlementAbandoned,
    SettlementBegun,
    ToppedUp,
)

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
    place: tuple[int, int]
    """Block, and the event's place in it."""
    tx_hash: bytes

    @property
    def block_number(self) -> int:
        return self.place[0]


class HeldFunds(NamedTuple):
    """A payer's reservation on chain, in the name of our payouts account. Its one place is used by all settlements."""

    is_open: bool
    own: int
    """The payer's part: held while open, taken once collected; 1e-9 CPU."""
    topped_up: int
    """The treasury's part."""
    expires_at_s: int
    tag: bytes
    """Of the settlement that it is or was for."""

    def is_of(self, settlement_id: bytes) -> bool:
        """Whether it is held for this settlement."""
        return self.is_open and self.tag == settlement_id[:TAG_BYTES]


class ChainSettlement(NamedTuple):
    """The settlement under way, or the last one, of our payouts account, as the chain keeps it."""

    settlement_id: bytes
    """32 zero bytes before the first: `previous` of the next."""
    payouts_root: bytes
    """`ABANDONED` once it was given up."""
    last_row: int
    """The last row that it covers; the chain takes only a settlement that begins with the one after."""
    uncollected: int
    unpaid: int
    """1e-9 CPU. While either is not 0, the chain begins no other."""


ABANDONED: Final = b"\xff" * 32
TAG_BYTES: Final = 10
"""Of a settlement id, in the word of a reservation."""
_OPEN: Final = 1


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


def account_lines(opened: Iterable[AccountOpened]) -> list[frozenset[str]]:
    """Returns the payouts accounts in lines: one, its predecessors, and its successors."""
    lines: list[frozenset[str]] = []
    for event in opened:
        joined = frozenset({event.account} | ({event.predecessor} if int(event.predecessor, 16) else set()))
        apart = [line for line in lines if not line & joined]
        lines = [*apart, joined.union(*(line for line in lines if line & joined))]
    return lines


class Token:
    """One deployed token on a chain, as one payouts account sees it."""

    def __init__(self, chain: Chain, address: str, payouts_account: str = "", first_block: int = 0) -> None:
        """Looks the contract over. Raises ChainError when there is none, or not one with 9 decimals.

        Without a payouts account it only reads. `first_block`: no event of the contract is older.
        """
        self.chain = chain
        self.address = address.lower()
        self.payouts_account = payouts_account.lower()
        self.first_block = first_block
        self.calls = UtilityToken(self.address)
        if not chain.code(self.address):
            raise ChainError(f"there is no contract at {self.address} on chain {chain.chain_id()}")
        decimals = self.ask(self.calls.decimals())
        if decimals != DECIMALS:
            raise ChainError(f"the contract at {self.address} has {decimals} decimals, not {DECIMALS}")
        opened = self._accounts_opened(first_block) if payouts_account else []
        self.payouts_accounts = frozenset(event.account for event in opened)
        """Of all nodes, open or closed. The contract lets nobody pay into them."""
        self.line = next((line for line in account_lines(opened) if self.payouts_account in line), frozenset())
        """Our payouts account and those before and after it: each goes on with the settlements of the one before."""
        if self.payouts_account:
            self.line |= {self.payouts_account}

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

    def _accounts_opened(self, first_block: int) -> list[AccountOpened]:
        return [event for event, _ in self.logs(AccountOpened, (), first_block, self.chain.head().number)]

    def lines(self, first_block: int) -> list[frozenset[str]]:
        """Returns the payouts accounts opened since a block, of all nodes, in lines of one and its successors."""
        return account_lines(self._accounts_opened(first_block))

    def collector(self) -> str:
        """Returns who collects into the payouts account; the empty string while that is not open, or has nobody."""
        collector, _, is_open = self.ask(self.calls.payouts_account(self.payouts_account))
        return collector if is_open and int(collector, 16) else ""

    def node(self) -> str:
        """Returns the public id of the node whose rows the payouts account settles, or the empty string while the
        contract does not say. A line of accounts has one, for good."""
        for account in (self.payouts_account, *sorted(self.line)):
            node = self.ask(self.calls.node_of(account))
            if any(node):
                return public_id_of(node)
        return ""

    def settlement(self) -> ChainSettlement:
        """Returns where the payouts account's chain of settlements stands."""
        return ChainSettlement(*self.ask(self.calls.settlement_of(self.payouts_account)))

    def reservation(self, party: Party, owner: str) -> HeldFunds:
        """Returns what is or was held of a payer for the payouts account."""
        state, own, topped_up, expires_at_s, tag = self.ask(self.calls.reservation(*self._place(party, owner)))
        return HeldFunds(state == _OPEN, own, topped_up, expires_at_s, tag)

    def _place(self, party: Party, owner: str) -> tuple[str, str, bytes, int]:
        return self.payouts_account, owner, entity_on_chain(party.id), ROLE_NUMBERS[party.role]

    def reservation_id(self, party: Party, owner: str) -> bytes:
        """Returns where a payer's reservation stands, as events name it."""
        account, _, entity, role = self._place(party, owner)
        return keccak_256(b"".join((word(account), word(owner), entity, role.to_bytes(32, "big"))))

    def reserve(self, settlement_id: bytes, party: Party, owner: str, amount: int, expires_at_s: int) -> Call[None]:
        """Returns the call that takes a payer's approved funds into keeping for a settlement."""
        return self.calls.reserve(*self._place(party, owner), amount, settlement_id, expires_at_s)

    def amount_reserved(self, data: bytes) -> int:
        """Returns the amount in the data of a `reserve` or `topUp` call: the same place in both."""
        amount: int = abi.decode(("address", "address", "bytes32", "uint8", "uint256"), data[4:])[-1]
        return amount

    def top_up(self, settlement_id: bytes, party: Party, owner: str, amount: int) -> Call[None]:
        """Returns the treasury's call that adds to a payer's open reservation. The contract takes it once."""
        return self.calls.top_up(*self._place(party, owner), amount, settlement_id)

    def reserved_of(self, data: bytes) -> tuple[Party, str]:
        """Returns from whom the data of a `reserve` call takes, and from which address."""
        _, owner, entity, role = abi.decode(("address", "address", "bytes32", "uint8"), data[4:])
        return Party(tuple(ROLE_NUMBERS)[role], public_id_of(entity)), owner

    def release(self, party: Party, owner: str) -> Call[None]:
        """Returns the call that gives a reservation back to the payer, and the top-up in it to the treasury."""
        return self.calls.release(*self._place(party, owner))

    def begin(self, wanted: SettlementBegun) -> Call[None]:
        """Returns the call that begins a settlement: what it may collect, and whom it may pay."""
        return self.calls.begin(
            wanted.account,
            wanted.batch_id,
            wanted.previous,
            wanted.first_row,
            wanted.last_row,
            wanted.collections,
            wanted.payouts,
            wanted.payouts_root,
        )

    def begun_by(self, data: bytes) -> SettlementBegun:
        """Returns what the data of a `begin` call begins."""
        types = ("address", "bytes32", "bytes32", "uint64", "uint64", "uint256", "uint256", "bytes32")
        account, settlement_id, *rest = abi.decode(types, data[4:])
        return SettlementBegun(settlement_id, account, *rest)

    def abandon(self, settlement_id: bytes) -> Call[None]:
        """Returns the collector's call that gives up what is left of the settlement under way."""
        return self.calls.abandon(self.payouts_account, settlement_id)

    def give_back(self, collected: Settled) -> Call[None]:
        """Returns the payouts account's call that gives a payer back what the abandoned settlement took of it."""
        return self.calls.return_to_payer(collected.account, collected.entity, collected.role)

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

    def collect(self, settlement_id: bytes, parts: Iterable[Batch]) -> Call[None]:
        """Returns the call that posts reservations, each with its payer's commitment."""
        items = [Item(account=batch.account, **_part(batch)) for batch in parts]
        return batches.collect(self.calls, self.payouts_account, settlement_id, items)

    def payout_lists(self, settled: Iterable[Batch], size: int) -> PayoutLists:
        """Returns the payouts of a settlement as the lists that it commits to, at most `size` payees in each."""
        parts = [[Item(account=batch.account, **_part(batch)) for batch in part] for part in chunks(settled, size)]
        return batches.payout_lists(parts, keccak_256)

    def pay(self, settlement_id: bytes, committed: PayoutLists, number: int) -> Call[None]:
        """Returns the payouts account's call that pays one of the lists."""
        return batches.pay(self.calls, settlement_id, committed, number)

    def settled(self, first_block: int, last_block: int, settlement_id: bytes | None = None) -> list[SettledLog]:
        """Returns the settlements between two blocks, of one run or of all, in the chain's order.

        With a payouts account only those of its line: other nodes settle through the same contract, and may do so under
        the same ids, since the contract keeps them apart by account.
        """
        found = []
        for event, log in self.logs(Settled, (settlement_id,), first_block, last_block):
            if settlement_id not in (None, event.batch_id):
                raise ChainError("eth_getLogs: answered with events that were not asked for")
            found.append(SettledLog(event, log.place, log.tx_hash))
        if not self.line or not found:
            return found
        ours = self._settled_by_us(first_block, last_block, settlement_id)
        return [item for item in found if (item.tx_hash, item.settled.batch_id) in ours]

    def _settled_by_us(
        self, first_block: int, last_block: int, settlement_id: bytes | None
    ) -> set[tuple[bytes, bytes]]:
        """Transaction and settlement wherever an account of our line settled something. `Settled` names no payouts
        account; what the same call says at its end does."""
        said: list[tuple[BatchCollected | BatchPaid, Log]] = [
            *self.of_line(BatchCollected, settlement_id, first_block, last_block),
            *self.of_line(BatchPaid, settlement_id, first_block, last_block),
        ]
        return {(log.tx_hash, event.batch_id) for event, log in said}

    def logs(
        self, kind: type[E], topics: tuple[bytes | None, ...], first_block: int, last_block: int
    ) -> list[tuple[E, Log]]:
        """This token's events of one kind between two blocks, in the chain's order. `topics`: after the kind."""
        found = []
        for log in self.chain.logs(self.address, (kind.TOPIC, *topics), first_block, last_block):
            try:
                event = kind.decode(abi.Log(log.address, log.topics, log.data))
            except ValueError as error:
                raise ChainError(f"eth_getLogs: {error}") from error
            if event is None or log.address != self.address:
                raise ChainError("eth_getLogs: answered with events that were not asked for")
            found.append((event, log))
        return found

    def of_line(
        self, kind: type[L], settlement_id: bytes | None, first_block: int, last_block: int
    ) -> list[tuple[L, Log]]:
        """Returns what the accounts of our line did between two blocks, in the chain's order, of one settlement or of
        all: what a predecessor did is this account's past, too."""
        found = []
        for account in sorted(self.line):
            for event, log in self.logs(kind, (settlement_id, word(account)), first_block, last_block):
                if event.account != account or settlement_id not in (None, event.batch_id):
                    raise ChainError("eth_getLogs: answered with events that were not asked for")
                found.append((event, log))
        return sorted(found, key=lambda item: item[1].place)

    def lacks_begin(self, logs: Iterable[Log], wanted: SettlementBegun) -> str:
        """Returns what is wrong with a receipt that should begin exactly this settlement."""
        return "" if wanted in self._events(SettlementBegun, logs) else "it begins no such settlement"

    def lacks_reservation(self, logs: Iterable[Log], settlement_id: bytes, wanted: Reservation) -> str:
        """Returns what is wrong with a receipt that should reserve exactly this."""
        found = [(event.reservation_id, event.tag, event.amount) for event in self._events(Reserved, logs)]
        place = self.reservation_id(wanted.party, wanted.account)
        return "" if (place, settlement_id[:TAG_BYTES], wanted.amount) in found else "it holds no such reservation"

    def lacks_top_up(self, logs: Iterable[Log], party: Party, owner: str, amount: int) -> str:
        """Returns what is wrong with a receipt that should add exactly this to a reservation."""
        found = [(event.reservation_id, event.amount) for event in self._events(ToppedUp, logs)]
        return "" if (self.reservation_id(party, owner), amount) in found else "it adds nothing to that reservation"

    def lacks_release(self, logs: Iterable[Log], reservation_id: bytes) -> str:
        """Returns what is wrong with a receipt that should give a reservation back."""
        found = [event.reservation_id for event in self._events(Released, logs)]
        return "" if reservation_id in found else "it gives no such reservation back"

    def lacks_abandonment(self, logs: Iterable[Log], settlement_id: bytes) -> str:
        """Returns what is wrong with a receipt that should give up this settlement."""
        found = [event.batch_id for event in self._events(SettlementAbandoned, logs)]
        return "" if settlement_id in found else "it abandons no such settlement"

    def lacks_return(self, logs: Iterable[Log], collected: Settled) -> str:
        """Returns what is wrong with a receipt that should give exactly this back."""
        found = [(event.batch_id, event.entity, event.role, event.amount) for event in self._events(Returned, logs)]
        wanted = (collected.batch_id, collected.entity, collected.role, collected.amount)
        return "" if wanted in found else "it gives no such amount back"

    def _events(self, kind: type[E], logs: Iterable[Log]) -> list[E]:
        """Returns this token's events of one kind."""
        found = [kind.decode(abi.Log(log.address, log.topics, log.data)) for log in logs if log.address == self.address]
        return [event for event in found if event is not None]


def word(address: str) -> bytes:
    """Returns an address as a topic of an event."""
    return bytes.fromhex(address[2:]).rjust(32, b"\0")
