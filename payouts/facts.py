"""Rows of the store, checked again, as facts of a payout run (P-6).

A run takes rows by ingestion number. A row whose time lies after the day of the run (a node's clock was wrong, or the
next day's first rows stand among the last of this one) does not end the window for those behind it: it is set apart,
stays open, and is a fact of a later run.

A row of another node is no fact of any run here: that node's own payouts account settles it, and no other may. Nothing
is taken from it, not even where somebody's money is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.loss import ROWS
from cgn_sdk.protocol.row import Finding, PublicFacts, RowError, read_accounts, read_public
from cgn_sdk.protocol.settlement import batch_id_of

from ledger.port import Store, StoredRow
from payouts import limits
from payouts.core.rollup import PAYING_ROLES, Fact, Party, Share, pack
from payouts.journal import OpenRow

SETTLED_STATES = ("collected", "paid")


class FactError(Exception):
    """A row of the ledger cannot be settled: it is not what its hash says, it is gone, or it is settled already.
    Nothing is settled before somebody has looked (`cgn verify` names what is wrong)."""


class ForeignRow(NamedTuple):
    """A row that another node has recorded."""

    row_id: str
    ingest: int
    node_id: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run knows: open shares, and where everybody's money is."""

    facts: tuple[Fact, ...]
    accounts: dict[str, str]
    """Ethereum address by public id, as the newest row with one says (private part `accounts`)."""
    later: tuple[Fact, ...] = ()
    """Of rows whose time lies after the run's day: not settled in it, and open afterwards."""
    foreign: tuple[ForeignRow, ...] = ()
    """Copied or mixed in from other nodes' ledgers: never settled here."""


def end_of(period: str) -> int | None:
    """Returns the first moment after a period that is a UTC day, in ns; None for a period of another name."""
    try:
        day = date.fromisoformat(period)
    except ValueError:
        return None
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return int(midnight.timestamp()) * 10**9


async def load(
    store: Store,
    first_ingest: int,
    last_ingest: int,
    open_rows: Sequence[OpenRow],
    *,
    period: str,
    settlement_id: bytes,
    node_id: str,
) -> Facts:
    """Returns the facts of the new rows first..last and of rows that earlier runs left open. `node_id`: whose rows they
    are; empty where nobody has said.

    A row that does not verify, and of which its node has signed that it is lost, is left out; `cgn verify` names it.
    Raises FactError for any other that does not verify, or that the ledger says is settled otherwise than by this
    settlement; StoreError when the store fails.
    """
    end_ns = end_of(period)
    lost = [(loss.first, loss.last) for loss in await store.losses() if loss.kind == ROWS]
    facts: list[Fact] = []
    later: list[Fact] = []
    foreign: list[ForeignRow] = []
    reading = _Reading()

    def take(stored: StoredRow, parties: frozenset[Party] | None) -> None:
        try:
            row = reading.checked(stored)
        except FactError:
            if any(first <= stored.ingest <= last for first, last in lost):
                return
            raise
        if node_id and row.node_id != node_id:
            foreign.append(ForeignRow(row.row_id, stored.ingest, row.node_id))
            return
        fact = reading.fact(stored, row, parties)
        (facts if end_ns is None or row.event_time_ns < end_ns else later).append(fact)

    for span in _spans(open_rows):  # older than all new rows, so that newer addresses win
        wanted = {item.ingest: item for item in span}
        for stored in await _rows(store, span):
            item = wanted.pop(stored.ingest, None)
            if item is not None and item.row_id == stored.row_id:
                take(stored, item.parties)
            elif item is not None:
                wanted[stored.ingest] = item
        if wanted:
            gone = wanted[min(wanted)]
            raise FactError(
                f"row {gone.row_id}, open since an earlier run, is not in the ledger as number {gone.ingest}"
            )
        await _refuse_settled(
            store, span[0].ingest, span[-1].ingest, {item.row_id: item.parties for item in span}, settlement_id
        )
    after = first_ingest - 1
    while after < last_ingest:
        rows = await store.read(after, min(limits.ROWS_PER_READ, last_ingest - after))
        if not rows or rows[0].ingest != after + 1 or rows[-1].ingest != after + len(rows):
            raise FactError(f"the ledger has no row number {after + 1}, though its head says so")
        for stored in rows:
            take(stored, None)
        await _refuse_settled(store, after + 1, rows[-1].ingest, None, settlement_id)
        after = rows[-1].ingest
    return Facts(tuple(facts), reading.accounts, tuple(later), tuple(foreign))


async def node_of_ledger(store: Store) -> str:
    """Returns the node that the first row is of; the empty string while there is none. Raises FactError, StoreError."""
    first = await store.read(0, 1)
    return _Reading().checked(first[0]).node_id if first else ""


async def last_ingest_of(
    store: Store, first_ingest: int, day: date | None, until_ingest: int | None, rows_per_run: int
) -> int:
    """Returns the last row that a run should take: `until_ingest`, or the last that is of the day or older, or the
    newest; never more than `rows_per_run` from the first. The one before the first when there is none to take."""
    bound = min(await store.head(), first_ingest - 1 + rows_per_run)
    if until_ingest is not None:
        bound = min(bound, until_ingest)
    if day is None:
        return bound
    end_ns = end_of(day.isoformat())
    assert end_ns is not None
    last = after = first_ingest - 1
    while after < bound:
        rows = await store.read(after, min(limits.ROWS_PER_READ, bound - after))
        if not rows:
            break
        last = max([last, *(row.ingest for row in rows if _ended_ns(row) < end_ns)])
        after = rows[-1].ingest
    return last


def _ended_ns(row: StoredRow) -> int:
    """When its work ended; never, for a row that cannot be read: it is not what a run ends with."""
    try:
        return read_public(row.public_json).event_time_ns
    except RowError:
        return 2**63


def _spans(open_rows: Sequence[OpenRow]) -> Iterator[list[OpenRow]]:
    """Open rows in groups that are worth one read each: none is far from the one before it."""
    span: list[OpenRow] = []
    for item in open_rows:
        is_near = span and item.ingest - span[-1].ingest <= limits.OPEN_ROW_GAP
        if span and not (is_near and item.ingest - span[0].ingest < limits.ROWS_PER_READ):
            yield span
            span = []
        span.append(item)
    if span:
        yield span


async def _rows(store: Store, span: list[OpenRow]) -> list[StoredRow]:
    first, last = span[0].ingest, span[-1].ingest
    return await store.read(first - 1, last - first + 1)


async def _refuse_settled(
    store: Store,
    first_ingest: int,
    last_ingest: int,
    open_parties: dict[str, frozenset[Party]] | None,
    settlement_id: bytes,
) -> None:
    """Raises FactError when the ledger says that one of the shares is settled, and not by this settlement."""
    own: dict[Party, bytes] = {}
    async for payment in store.payments(first_ingest, last_ingest):
        party = Party(payment.role, payment.public_id)
        if payment.state not in SETTLED_STATES:
            continue
        if open_parties is not None and party not in open_parties.get(payment.row_id, ()):
            continue
        if party not in own:
            own[party] = batch_id_of(settlement_id, party.id, party.role, keccak_256)
        if payment.batch_id != own[party]:
            raise FactError(
                f"row {payment.row_id} (number {payment.ingest}) is {payment.state} for {party.role} {party.id} in "
                f"batch {payment.batch_id.hex()} already, and by no run that the journal knows; nothing was signed. "
                "cgn verify says which settlement it stands in"
            )


class _Reading:
    """Facts of rows, each checked again to the last byte of what a payout acts on: the public columns and the private
    part `accounts` (`cgn verify` looks at the other parts). A party is one object, however many rows name it, and so
    are the parties of a row."""

    def __init__(self) -> None:
        self.accounts: dict[str, str] = {}
        self._parties: dict[tuple[str, str], Party] = {}
        self._groups: dict[tuple[Party, ...], tuple[Party, ...]] = {}

    def checked(self, stored: StoredRow) -> PublicFacts:
        """Returns what stands in the public columns. Raises FactError for a row that does not verify."""
        try:
            row = read_public(stored.public_json)
            if keccak_256(stored.public_json) != stored.row_hash or row.row_id != stored.row_id:
                raise RowError([Finding("row_hash", stored.row_id, "is stored under another id or hash")])
        except RowError as error:
            raise _unverified(stored, error) from error
        return row

    def fact(self, stored: StoredRow, row: PublicFacts, parties: frozenset[Party] | None) -> Fact:
        """Returns what is open on a row. Raises FactError for one whose accounts are not those that it was hashed
        with."""
        try:
            accounts = read_accounts(stored.private_json, row.part_hashes, keccak_256)
        except RowError as error:
            raise _unverified(stored, error) from error
        for public_id, address in accounts.items():
            if isinstance(address, str):
                self.accounts[public_id] = address
        payers, payees, pay_in, payouts = [], [], [], []
        for role, public_id, amount, _ in row.shares:
            party = self._parties.get((role, public_id))
            if party is None:
                party = self._parties[role, public_id] = Party(role, public_id)
            if parties is not None and party not in parties:
                continue
            if role in PAYING_ROLES:
                payers.append(party)
                pay_in.append(amount)
            else:
                payees.append(party)
                payouts.append(amount)
        return Fact(
            stored.ingest,
            stored.row_id,
            stored.row_hash,
            self._shared(tuple(payers)),
            self._shared(tuple(payees)),
            pack(stored.row_id, pay_in, payouts),
        )

    def _shared(self, parties: tuple[Party, ...]) -> tuple[Party, ...]:
        return self._groups.setdefault(parties, parties)


def _unverified(stored: StoredRow, error: RowError) -> FactError:
    return FactError(f"row {stored.row_id} (number {stored.ingest}) does not verify: {error}")


def shares_of(entries: Iterable[dict[str, Any]]) -> list[Share]:
    """Returns what the entries of a row's `pay_in` or `payouts` say."""
    return [Share(Party(entry["role"], entry["id"]), int(entry["amount_nano_cpu"])) for entry in entries]
