"""Makes runs anew that the journal does not know, from the ledger's batches and rows and the chain's events (P-11).

What is lost with a journal: which rows were taken, which parties of them are still open, and the raw bytes of what was
under way. The first two stand in the ledger (batches are stored before any money moves; payment state). The last does
not matter: whatever still gets mined of it settles batches that the contract then refuses to settle again.

Three ways, by what is left of a settlement:
- `adopt`: the ledger says that it has ended;
- `take_up`: the ledger knows it, and it has not ended: it becomes the journal's unfinished run;
- `take_from_chain`: only the chain knows it. Its id is over its rows and the day, so the day is found by trying, and
  its plan must give the very sums, payees and events.

A run that died before it claimed its place has moved nothing and is begun anew; what it reserved is found on the chain.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from datetime import UTC, datetime, timedelta

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import batch_id, commit, entity_on_chain

from ledger.port import BatchRecord, SettlementRecord
from payouts import facts as ledger_facts
from payouts import limits
from payouts.core.rollup import PAYING_ROLES, ROLE_NUMBERS, Batch, Party, Reservation, reservations
from payouts.errors import SettlementError
from payouts.facts import SETTLED_STATES, shares_of
from payouts.journal import AdoptedRun, OpenRow
from payouts.on_chain import PAYING, OnChain, first_of, settlements
from payouts.settlement import Settlement
from payouts.token import SettledLog, expected


async def adopt(settlement: Settlement, ended: Sequence[SettlementRecord], first_block: int) -> int:
    """Enters settlements that have ended, as far as the chain bears them out, and the rows up to the last of them that
    are open for somebody. Returns how many: what the chain does not show whole (its blocks may have gone) is for
    `take_up`, which believes the rows alone.

    Those whose events are not buried come with their batches: they are still looked at. Raises SettlementError where
    the ledger says something else of a settlement than the chain, and for one that has neither events nor batches.
    """
    head = (await asyncio.to_thread(settlement.token.chain.head)).number
    on_chain = await asyncio.to_thread(settlements, settlement.token, first_block, head) if ended else []
    runs: list[AdoptedRun] = []
    for record in ended:
        seen = first_of(on_chain, record.settlement_id)
        if seen is None or not seen.is_over:
            if seen is None and not await _batches_of(settlement, record):
                raise SettlementError(
                    f"the ledger says that settlement {record.settlement_id.hex()} over rows {record.first_ingest} to "
                    f"{record.last_ingest} has ended; the chain knows nothing of it, and the ledger has no batches of "
                    "it. Nothing was signed. The chain takes nothing behind it: take it out of the ledger, or bring "
                    "back the ledger as it was, then run again"
                )
            break
        wanted = settlement.settlement_id(record.period, record.first_ingest, record.last_ingest, record.previous)
        if wanted != record.settlement_id:
            raise _untrue(record, "its day, rows and predecessor give another id")
        batches = [await _borne_out(settlement, record, item) for item in seen.settled]
        if seen.place[0] <= head - limits.BURIED_BLOCKS:
            batches = []
        batches.sort(key=lambda batch: batch.party)
        runs.append(
            AdoptedRun(
                record.period,
                record.first_ingest,
                record.last_ingest,
                record.settlement_id,
                record.previous,
                seen.block_number - 1,
                tuple(batch for batch in batches if batch.party.role in PAYING_ROLES),
                tuple(batch for batch in batches if batch.party.role not in PAYING_ROLES),
            )
        )
    if runs:
        last = max([settlement.journal.last_ingest(), *(run.last_ingest for run in runs)])
        settled = {
            batch_id(seen.settlement_id, item.settled.entity, item.settled.role, keccak_256)
            for seen in on_chain
            for item in seen.settled
        }
        settlement.journal.adopt(runs, await _open_rows(settlement, last, settled))
    return len(runs)


async def _borne_out(settlement: Settlement, record: SettlementRecord, shown: SettledLog) -> Batch:
    """Returns the ledger's batch behind an event, with its rows. Raises SettlementError unless both the batch and the
    rows that the ledger marks as settled by it give the event."""
    event = shown.settled
    name = batch_id(event.batch_id, event.entity, event.role, keccak_256)
    stored = await settlement.store.get_batch(name)
    if stored is None:
        raise _untrue(record, f"it has no batch {name.hex()}")
    try:
        batch = await _whole(settlement, stored)
    except ValueError as error:  # no row is marked, or one stands twice
        raise _untrue(record, f"batch {name.hex()}: {error}") from error
    if expected(event.batch_id, batch) != event or settlement.record(record, batch) != stored:
        raise _untrue(record, f"batch {name.hex()} is of other rows, another sum or another account")
    return batch


def _untrue(record: SettlementRecord, what: str) -> SettlementError:
    return SettlementError(
        f"the ledger does not say of settlement {record.settlement_id.hex()} what the chain says: {what}. Nothing was "
        "signed. cgn verify names every batch and row of that kind; bring back the ledger as it was, then run again"
    )


async def take_up(settlement: Settlement, record: SettlementRecord, first_block: int) -> None:
    """Enters a settlement that has not ended as the unfinished run, or one that has and of which blocks have gone.

    Whoever began it may have got to nothing, to batches, or to the chain. Where there are batches or events, its plan
    follows from the same rows, and must give them.
    """
    how = "has ended, as the ledger says, and the chain does not show it whole" if record.ended_ns else "has not ended"
    settlement.tell(
        f"settlement {record.settlement_id.hex()[:16]} over rows {record.first_ingest} to {record.last_ingest} was "
        f"begun by {record.owner or 'a journal that is lost'} and {how}: going on with it"
    )
    batches = await _batches_of(settlement, record)
    await _enter(settlement, record, batches, await asyncio.to_thread(_seen, settlement, record, first_block))


async def take_from_chain(settlement: Settlement, seen: OnChain) -> None:
    """Enters a settlement that only the chain knows as the unfinished run. Raises SettlementError when the ledger's
    rows do not give it."""
    begun = seen.begun
    ahead = _rows_ahead(settlement, seen)
    told = (
        f"the chain holds settlement {begun.batch_id.hex()} (begun in block {seen.block_number}, over rows up to "
        f"{begun.last_row - ahead}, {begun.collections} nano-CPU), which neither ledger nor journal knows"
    )
    what_now = (
        "Nothing was signed. If the ledger is a restored copy, bring back the newer one, then run again; if nobody "
        "here began it, somebody else has the collector's key: take its office (dismissCollector) and announce "
        "another, and the run after that goes on by itself"
    )
    head = await settlement.store.head()
    if begun.last_row - ahead > head:
        raise SettlementError(f"{told}; the ledger ends with row {head}. {what_now}")
    record = await _named(settlement, seen)
    if record is None:
        raise SettlementError(f"{told}, and it does not follow from the ledger's rows. {what_now}")
    settlement.tell(f"{told}: taken up from its rows {record.first_ingest} to {record.last_ingest}")
    await _enter(settlement, record, [], seen)


def _rows_ahead(settlement: Settlement, seen: OnChain) -> int:
    """How far the chain's numbers of rows are ahead of the ledger's, behind all settlements that the journal knows:
    settlements that are no run's have used some up."""
    return seen.begun.first_row - 1 - settlement.journal.last_settled_row()


async def _named(settlement: Settlement, seen: OnChain) -> SettlementRecord | None:
    """The settlement that has this id, found by trying day and first row: the chain tells all else that it is over.

    The chain's first row is the one after the settlement before, and runs that settled nothing may lie between.
    """
    begun = seen.begun
    if not begun.collections and not begun.payouts:
        return None  # no run begins one over nothing
    block = await asyncio.to_thread(settlement.token.chain.block, seen.block_number)
    if block is None:
        return None
    mined = datetime.fromtimestamp(block.timestamp_s, UTC).date()
    days = [(mined + timedelta(days=shift)).isoformat() for shift in limits.DAYS_TRIED]

    last = begun.last_row - _rows_ahead(settlement, seen)
    previous = settlement.journal.last_settlement_id()

    def search() -> SettlementRecord | None:
        earliest = max(settlement.journal.last_settled_row() + 1, last + 1 - limits.ROWS_PER_RUN_MAX)
        for first in range(earliest, last + 2):
            for day in days:
                if settlement.settlement_id(day, first, last, previous) == begun.batch_id:
                    place = (settlement.chain_id, settlement.token.address)
                    return SettlementRecord(begun.batch_id, *place, day, first, last, previous)
        return None

    return await asyncio.to_thread(search)


def _seen(settlement: Settlement, record: SettlementRecord, first_block: int) -> OnChain | None:
    head = settlement.token.chain.head().number
    return first_of(settlements(settlement.token, first_block, head, record.settlement_id), record.settlement_id)


async def _enter(
    settlement: Settlement, record: SettlementRecord, batches: list[BatchRecord], seen: OnChain | None
) -> None:
    """Begins the run of a settlement in the journal, with its plan where one was fixed."""
    if not batches and seen is None:
        settlement.begin(record.period, record.last_ingest)
        return
    facts = await ledger_facts.load(
        settlement.store,
        settlement.journal.last_ingest() + 1,
        record.last_ingest,
        settlement.journal.open_rows(),
        period=record.period,
        settlement_id=record.settlement_id,
        node_id=settlement.node_id,
    )
    # with batches at hand, the run itself sees to what the chain shows beside them
    events = seen.settled if seen and not batches else []
    owing = reservations(facts.facts, facts.accounts, settlement.blocked())
    named = {(entity_on_chain(batch.public_id), ROLE_NUMBERS[batch.role]) for batch in batches}
    named |= {(item.settled.entity, item.settled.role) for item in events}
    if not batches:  # whoever is not collected from yet has its funds set aside
        named |= await asyncio.to_thread(_holding, settlement, record, owing)
    unresolved = frozenset(item.party for item in owing if _key(item.party) not in named)
    decided = settlement.decide(record.settlement_id, facts, unresolved)
    planned = (*decided.collections, *decided.payouts)
    gives_batches = {settlement.record(record, batch) for batch in planned} >= set(batches)
    gives_events = {expected(record.settlement_id, batch) for batch in planned} >= {item.settled for item in events}
    is_begun_so = seen is None or bool(batches) or settlement.is_begun_so(seen.begun, decided)
    if not gives_batches or not gives_events or not is_begun_so:
        raise SettlementError(
            f"settlement {record.settlement_id.hex()} cannot be made anew: its rows give other batches than "
            f"{'the ledger' if not gives_batches else 'the chain'} holds; minimum_payout_nano_cpu must be as it was "
            "(cgn verify says whether rows were altered). Nothing was signed"
        )
    moved = sum(
        item.settled.amount * (1 if item.settled.role in PAYING else -1) for item in (seen.settled if seen else ())
    )
    head = await asyncio.to_thread(settlement.token.chain.head)
    run = settlement.begin_at(
        record.period,
        record.last_ingest,
        opening=settlement.token.balance(settlement.token.payouts_account) - moved,
        opening_block=seen.block_number - 1 if seen else head.number,
    )
    assert run.settlement_id == record.settlement_id, "the journal's line ends where the settlement begins"
    await settlement.claim(run)
    settlement.journal.fix(run.run_id, decided, unresolved)


def _holding(settlement: Settlement, record: SettlementRecord, owing: Iterable[Reservation]) -> set[tuple[bytes, int]]:
    """The payers of whom the chain holds for this settlement what they owe."""
    found = set()
    for item in owing:
        held = settlement.token.reservation(item.party, item.account) if item.account else None
        if held and held.is_of(record.settlement_id) and held.own + held.topped_up >= item.amount:
            found.add(_key(item.party))
    return found


def _key(party: Party) -> tuple[bytes, int]:
    return entity_on_chain(party.id), ROLE_NUMBERS[party.role]


async def _batches_of(settlement: Settlement, record: SettlementRecord) -> list[BatchRecord]:
    found: list[BatchRecord] = []
    last = b""
    while page := await settlement.store.get_batches(after=last, limit=1_000):
        found += [
            batch
            for batch in page
            if (batch.chain_id, batch.token, batch.previous) == (record.chain_id, record.token, record.previous)
        ]
        last = page[-1].batch_id
    return found


async def _whole(settlement: Settlement, record: BatchRecord) -> Batch:
    """A batch over the rows that the ledger marks as settled by it."""
    rows = [row async for row in settlement.store.batch_rows(record.batch_id)]
    rows.sort(key=lambda row: row.row_hash)
    row_hashes = tuple([row.row_hash for row in rows])
    return Batch(
        batch_id=record.batch_id,
        party=Party(record.role, record.public_id),
        account=record.account,
        commitment=commit(row_hashes, sum(row.amount_nano_cpu for row in rows), keccak_256),
        row_hashes=row_hashes,
        row_ids=tuple([row.row_id for row in rows]),
    )


async def _open_rows(settlement: Settlement, last: int, settled_batches: Set[bytes]) -> list[OpenRow]:
    """The rows up to a number with parties that no settlement on the chain holds. A mark that names another batch
    counts for nothing here; the run that takes the row up refuses it."""
    store = settlement.store
    left: list[OpenRow] = []
    after = 0
    while after < last:
        rows = await store.read(after, min(limits.ROWS_PER_READ, last - after))
        if not rows:
            raise SettlementError(f"the ledger has no row number {after + 1}")
        settled: dict[str, set[Party]] = defaultdict(set)
        async for payment in store.payments(after + 1, rows[-1].ingest):
            if payment.state in SETTLED_STATES and payment.batch_id in settled_batches:
                settled[payment.row_id].add(Party(payment.role, payment.public_id))
        for row in rows:
            parties = {share.party for name in ("pay_in", "payouts") for share in shares_of(row.public[name])}
            if parties := parties - settled[row.row_id]:
                left.append(OpenRow(row.row_id, row.ingest, frozenset(parties)))
        after = rows[-1].ingest
    return left
