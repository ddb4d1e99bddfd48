"""From rows to batches: who is collected from, who is paid, and what each settlement commits to (P-6 to P-10, L-5).

Facts in, plan out: no clock, no chain, no store. The same facts give the same plan, whatever order they come in.

A run has two decisions, because the second needs to know which payers had the money:

    reservations(facts)              how much each payer must set aside
    plan(facts, unresolved, …)       collections, payouts, what is carried and what stays pending

A `Fact` is what is still open on one row. A new row is open on both sides. A row that was collected but whose
beneficiary was below the minimum payout comes back with that one payout open and nothing to collect.

Rules:
- a row whose payers could not all be collected is left alone as a whole: nobody is paid from money that was not
  collected, and its other payers are not charged for it. It stays pending and is a fact of the next run;
- a beneficiary below the minimum payout, or without an address that can be paid, is carried: its rows are collected,
  its share stays in the payouts account;
- a party whose rows sum to nothing has nothing to settle: its rows wait for a batch that has an amount;
- Σ collections + Σ carried in = Σ payouts + Σ carried out, to the unit. `plan` asserts it.
"""

import re
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final, NamedTuple

from cgn_sdk.protocol import canonical
from cgn_sdk.protocol.row import MAX_PAYOUTS, ROLES
from cgn_sdk.protocol.settlement import Commitment, Keccak, batch_id_of, commit, is_exact_id

ROLE_NUMBERS: Final[Mapping[str, int]] = {role: number for number, role in enumerate(ROLES)}
"""Roles as the contract's event numbers them (docs/reference/interfaces.md, Chain)."""

PAYING_ROLES: Final = frozenset({"enterprise", "subsidy"})

ABANDONED: Final = "abandoned"
"""Why rows are held whose settlement was given up before their turn."""

MAX_BATCH_AMOUNT: Final = 2**96 - 1
"""What one settlement can move: the contract packs address and amount into one word of 256 bits."""

_ADDRESS = re.compile(r"0x[0-9a-f]{40}", re.ASCII).fullmatch
_ZERO_ADDRESS = "0x" + "0" * 40


class Party(NamedTuple):
    """One entity in one role: batches, commitments and the once-only guard go by this pair."""

    role: str
    id: str
    """Public id."""


class Share(NamedTuple):
    """What one party pays or gets of one row, in 1e-9 CPU."""

    party: Party
    amount: int


@dataclass(frozen=True, slots=True)
class Fact:
    """What is open on one row. When the row was collected in an earlier run, nothing is owed; when only some of its
    payers were collected from (its settlement was abandoned), less than is due.

    A run holds hundreds of thousands of these: amounts are packed, and parties are shared between rows that name the
    same ones.
    """

    ingest: int
    row_id: str
    row_hash: bytes
    payers: tuple[Party, ...]
    payees: tuple[Party, ...]
    packed: bytes
    """The amounts of `payers` and then of `payees`, as native integers of 64 bits."""

    @classmethod
    def of(
        cls, ingest: int, row_id: str, row_hash: bytes, pay_in: Collection[Share], payouts: Collection[Share]
    ) -> "Fact":
        """Returns the fact with these shares. Raises ValueError for what `pack` refuses."""
        packed = pack(row_id, [share.amount for share in pay_in], [share.amount for share in payouts])
        payers, payees = (tuple([share.party for share in shares]) for shares in (pay_in, payouts))
        return cls(ingest, row_id, row_hash, payers, payees, packed)

    @property
    def amounts(self) -> tuple[int, ...]:
        """Of `payers` and then of `payees`, in 1e-9 CPU."""
        return _FORMS[len(self.packed) // 8].unpack(self.packed)

    @property
    def pay_in(self) -> tuple[Share, ...]:
        return tuple(map(Share, self.payers, self.amounts))

    @property
    def payouts(self) -> tuple[Share, ...]:
        return tuple(map(Share, self.payees, self.amounts[len(self.payers) :]))

    @property
    def owed(self) -> int:
        """What is still to be collected, in 1e-9 CPU."""
        return sum(self.amounts[: len(self.payers)])

    @property
    def due(self) -> int:
        """What is still to be paid out, in 1e-9 CPU."""
        return sum(self.amounts[len(self.payers) :])

    def waits_for(self, unresolved: frozenset[Party]) -> bool:
        """Whether somebody who owes something for this row could not reserve it."""
        return not unresolved.isdisjoint(self.payers) and any(
            amount and party in unresolved for party, amount in zip(self.payers, self.amounts, strict=False)
        )


_FORMS: Final = [struct.Struct(f"={count}Q") for count in range(2 * MAX_PAYOUTS + 1)]
"""How so many amounts are packed: a row has at most MAX_PAYOUTS of either kind."""


def pack(row_id: str, pay_in: Sequence[int], payouts: Sequence[int]) -> bytes:
    """Returns the amounts of one row as a fact keeps them.

    Raises ValueError when more is owed than is to be paid out, for a negative amount or one of more than
    64 bits (a row's have 63), and for more shares than a row can have.
    """
    if sum(pay_in) > sum(payouts):
        raise ValueError(f"row {row_id}: more is to be collected than to be paid out")
    try:
        return _FORMS[len(pay_in) + len(payouts)].pack(*pay_in, *payouts)
    except (struct.error, IndexError) as error:
        raise ValueError(f"row {row_id}: an amount or the number of shares is out of bounds ({error})") from error


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one party that one settlement covers."""

    batch_id: bytes
    party: Party
    account: str
    """Ethereum address, lower-case with 0x: where the money comes from or goes to."""
    commitment: Commitment
    row_hashes: tuple[bytes, ...]
    """Ascending: the leaves of the Merkle tree."""
    row_ids: tuple[str, ...]
    """In the order of `row_hashes`."""


class Reservation(NamedTuple):
    """How much a payer must set aside before anything is collected."""

    party: Party
    account: str
    """Address, or the empty string when no row names one that can be used."""
    amount: int


class Held(NamedTuple):
    """Rows of a party that this run does not settle, and why."""

    party: Party
    amount: int
    row_ids: tuple[str, ...]
    reason: str
    """`minimum`, `address`, `nothing`, `too_large` (carried), `unresolved` (pending), `abandoned` (either)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All settlements of one run, sorted by role and id. `plan_hash` fixes all of it."""

    settlement_id: bytes
    collections: tuple[Batch, ...]
    payouts: tuple[Batch, ...]
    carried: tuple[Held, ...]
    """Collected for (now or earlier) and not paid out: stays in the payouts account."""
    pending: tuple[Held, ...]
    """By payer: rows left alone because one of their payers did not have the money."""
    carried_in: int
    """What the payouts account already holds for the facts, in 1e-9 CPU."""
    plan_hash: bytes

    @property
    def collected(self) -> int:
        return sum(batch.commitment.amount_nano_cpu for batch in self.collections)

    @property
    def paid(self) -> int:
        return sum(batch.commitment.amount_nano_cpu for batch in self.payouts)

    @property
    def carried_out(self) -> int:
        return sum(held.amount for held in self.carried)


def usable_address(address: object, blocked: frozenset[str]) -> str:
    """Returns the address in lower case, or the empty string when it is none that money may move to or from.

    `blocked` holds what would make a settlement fail as a whole or move nothing: the token, the payouts account.
    """
    text = address.lower() if type(address) is str else ""
    return text if _ADDRESS(text) and text != _ZERO_ADDRESS and text not in blocked else ""


def reservations(
    facts: Iterable[Fact], accounts: Mapping[str, str], blocked: frozenset[str]
) -> tuple[Reservation, ...]:
    """Returns what each payer must set aside for its open rows, sorted by role and id, without payers of nothing."""
    totals: dict[Party, int] = defaultdict(int)
    for fact in facts:
        for party, amount in zip(fact.payers, fact.amounts, strict=False):
            totals[party] += amount
    return tuple(
        Reservation(party, _account(party, accounts, blocked), amount)
        for party, amount in sorted(totals.items())
        if amount
    )


def plan(
    facts: Iterable[Fact],
    *,
    unresolved: frozenset[Party],
    accounts: Mapping[str, str],
    minimum_payout: int,
    settlement_id: bytes,
    blocked: frozenset[str],
    keccak: Keccak,
) -> Plan:
    """Returns what to settle.

    `unresolved` are payers that could not reserve; `accounts` Ethereum addresses by public id; `minimum_payout` is in
    1e-9 CPU. Raises ValueError when a row stands in the facts twice.
    """
    ordered = sorted(facts, key=attrgetter("ingest"))
    _refuse_repeats(ordered)
    payable = [fact for fact in ordered if not fact.waits_for(unresolved)]
    paying: dict[Party, _Rows] = defaultdict(_Rows)
    paid: dict[Party, _Rows] = defaultdict(_Rows)
    carried_in = 0
    for fact in payable:
        amounts = fact.amounts
        for party, amount in zip(fact.payers, amounts, strict=False):
            paying[party].add(fact, amount)
            carried_in -= amount
        for party, amount in zip(fact.payees, amounts[len(fact.payers) :], strict=True):
            paid[party].add(fact, amount)
            carried_in += amount

    def batch_of(party: Party, rows: _Rows) -> Batch:
        rows.facts.sort(key=attrgetter("row_hash"))
        row_hashes = tuple([fact.row_hash for fact in rows.facts])
        return Batch(
            batch_id=batch_id_of(settlement_id, party.id, party.role, keccak),
            party=party,
            account=_account(party, accounts, blocked),
            commitment=commit(row_hashes, rows.total, keccak),
            row_hashes=row_hashes,
            row_ids=tuple([fact.row_id for fact in rows.facts]),
        )

    collections, pending = [], _pending(ordered, unresolved)
    for party, rows in sorted(paying.items()):
        if party not in unresolved and rows.total:
            collections.append(batch_of(party, rows))
        else:
            pending.append(_held(party, rows, "nothing"))
    payouts, carried = [], []
    for party, rows in sorted(paid.items()):
        reason = _carry_reason(party, rows, accounts, minimum_payout, blocked)
        if reason:
            carried.append(_held(party, rows, reason))
        else:
            payouts.append(batch_of(party, rows))
    result = Plan(
        settlement_id=settlement_id,
        collections=tuple(collections),
        payouts=tuple(payouts),
        carried=tuple(carried),
        pending=tuple(pending),
        carried_in=carried_in,
        plan_hash=_plan_hash(
            settlement_id, collections=collections, payouts=payouts, carried=carried, pending=pending, keccak=keccak
        ),
    )
    assert result.collected + result.carried_in == result.paid + result.carried_out, "pay-in is not payouts + carried"
    return result


def remaining(facts: Iterable[Fact], settled: Plan) -> tuple[Fact, ...]:
    """Returns what is still open once the plan is settled, by ingestion number: facts of the next run."""
    done = {batch.party: frozenset(batch.row_ids) for batch in (*settled.collections, *settled.payouts)}
    nothing: frozenset[str] = frozenset()
    left = []
    for fact in sorted(facts, key=attrgetter("ingest")):
        if all(fact.row_id in done.get(party, nothing) for party in (*fact.payers, *fact.payees)):
            continue
        pay_in, payouts = (
            [share for share in shares if fact.row_id not in done.get(share.party, nothing)]
            for shares in (fact.pay_in, fact.payouts)
        )
        left.append(Fact.of(fact.ingest, fact.row_id, fact.row_hash, pay_in, payouts))
    return tuple(left)


def cut(facts: Iterable[Fact], fixed: Plan, settled: Set[bytes], keccak: Keccak) -> Plan:
    """Returns what a plan came to when its settlement was given up: the batches in `settled`, and no others.

    A row that all its payers were collected for is carried for those whom it does not pay; one that was not, is open
    for its other payers, as if they had not had the money.
    """
    collections = tuple([batch for batch in fixed.collections if batch.batch_id in settled])
    payouts = tuple([batch for batch in fixed.payouts if batch.batch_id in settled])
    came_to = replace(fixed, collections=collections, payouts=payouts)
    carried: dict[Party, _Rows] = defaultdict(_Rows)
    pending: dict[Party, _Rows] = defaultdict(_Rows)
    for fact in remaining(facts, came_to):
        for party, amount in fact.pay_in if fact.owed else fact.payouts:
            (pending if fact.owed else carried)[party].add(fact, amount)
    held, waiting = ([_held(party, rows, ABANDONED) for party, rows in sorted(of.items())] for of in (carried, pending))
    plan_hash = _plan_hash(
        fixed.settlement_id,
        collections=list(collections),
        payouts=list(payouts),
        carried=held,
        pending=waiting,
        keccak=keccak,
    )
    return replace(came_to, carried=tuple(held), pending=tuple(waiting), plan_hash=plan_hash)


@dataclass(slots=True)
class _Rows:
    """What is open for one party."""

    facts: list[Fact] = field(default_factory=list)
    total: int = 0
    """In 1e-9 CPU; no amount is negative."""

    def add(self, fact: Fact, amount: int) -> None:
        self.facts.append(fact)
        self.total += amount


def _refuse_repeats(ordered: list[Fact]) -> None:
    seen: set[str] = set()
    for fact in ordered:
        if fact.row_id in seen:
            raise ValueError(f"row {fact.row_id} stands in the facts twice")
        seen.add(fact.row_id)


def _account(party: Party, accounts: Mapping[str, str], blocked: frozenset[str]) -> str:
    """Where a party's money is, or the empty string. Two spellings of one id would be one entity on chain, so only the
    exact one counts."""
    return usable_address(accounts.get(party.id), blocked) if is_exact_id(party.id) else ""


def _carry_reason(
    party: Party,
    rows: _Rows,
    accounts: Mapping[str, str],
    minimum_payout: int,
    blocked: frozenset[str],
) -> str:
    """Why a beneficiary is not paid in this run; empty when it is."""
    if rows.total == 0:
        return "nothing"
    if rows.total < minimum_payout:
        return "minimum"
    if not _account(party, accounts, blocked):
        return "address"
    return "too_large" if rows.total > MAX_BATCH_AMOUNT else ""


def _held(party: Party, rows: _Rows, reason: str) -> Held:
    return Held(party, rows.total, tuple([fact.row_id for fact in rows.facts]), reason)


def _pending(ordered: list[Fact], unresolved: frozenset[Party]) -> list[Held]:
    """Per unresolved payer, its rows that are left alone (with what it owes for them)."""
    rows: dict[Party, _Rows] = defaultdict(_Rows)
    for fact in ordered if unresolved else ():
        for party, amount in zip(fact.payers, fact.amounts, strict=False):
            if party in unresolved and fact.waits_for(unresolved):
                rows[party].add(fact, amount)
    return [_held(party, found, "unresolved") for party, found in sorted(rows.items())]


def _plan_hash(
    settlement_id: bytes,
    *,
    collections: list[Batch],
    payouts: list[Batch],
    carried: list[Held],
    pending: list[Held],
    keccak: Keccak,
) -> bytes:
    def batch(item: Batch) -> canonical.JsonValue:
        return {
            "role": item.party.role,
            "entity": item.party.id,
            "account": item.account,
            "row_count": str(item.commitment.row_count),
            "amount": str(item.commitment.amount_nano_cpu),
            "xor": item.commitment.xor.hex(),
            "merkle_root": item.commitment.merkle_root.hex(),
        }

    def held(item: Held) -> canonical.JsonValue:
        rows: list[canonical.JsonValue] = [*item.row_ids]
        return {
            "role": item.party.role,
            "entity": item.party.id,
            "amount": str(item.amount),
            "rows": rows,
            "reason": item.reason,
        }

    digest: bytes = keccak(
        canonical.encode(
            {
                "settlement_id": settlement_id.hex(),
                "collections": [batch(item) for item in collections],
                "payouts": [batch(item) for item in payouts],
                "carried": [held(item) for item in carried],
                "pending": [held(item) for item in pending],
            }
        )
    )
    return digest
