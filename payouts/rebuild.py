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
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cgn_sdk.protocol.settlement import Commitment, entity_on_chain

from ledger.port import BatchRecord, SettlementRecord
from payouts import facts as ledger_facts
from payouts import limits
from payouts.bindings.utility_token import SettlementBegun
from payouts.core.rollup import PAYING_ROLES, ROLE_NUMBERS, Batch, Party, Plan, Reservation, reservations
from payouts.facts import SETTLED_STATES, shares_of
from payouts.journal import AdoptedRun, OpenRow
from payouts.settlement import Settlement, SettlementError
from payouts.token import SettledLog, expected


class OnChain(NamedTuple):
    """A settlement of the payouts account as the chain tells it."""

    begun: SettlementBegun
    block_number: int
    settled: list[SettledLog]


async def adopt(settlement: Settlement, ended: Sequence[SettlementRecord], first_block: int) -> None:
    """Enters settlements that have ended, and the rows up to their last that are open for somebody.

    Those whose events are not buried, or are not there (their blocks may have gone), come with their batches: they are
    still looked at. Raises SettlementError for one that has neither events nor batches: the line cannot go on from it.
    """
    if not ended:
        return
    head = (await asyncio.to_thread(settlement.token.chain.head)).number
    blocks: dict[bytes, list[int]] = defaultdict(list)
    for item in await asyncio.to_thread(settlement.token.settled, first_block, head):
        blocks[item.settled.batch_id].append(item.block_number)
    runs = []
    for record in ended:
        seen = blocks[record.settlement_id]
        is_buried = bool(seen) and max(seen) <= head - limits.BURIED_BLOCKS
        batches = (
            [] if is_buried else [await _whole(settlement, batch) for batch in await _batches_of(settlement, record)]
        )
        batches = sorted((batch for batch in batches if batch.row_ids), key=lambda batch: batch.party)
        if not seen and not batches:
            raise SettlementError(
                f"the ledger says that settlement {record.settlement_id.hex()} over rows {record.first_ingest} to "
                f"{record.last_ingest} has ended; the chain knows nothing of it, and the ledger has no batches of it. "
                "Nothing was signed. The chain takes nothing behind it: take it out of the ledger, or bring back the "
                "ledger as it was, then run again"
            )
        runs.append(
            AdoptedRun(
                record.period,
                record.first_ingest,
                record.last_ingest,
                record.settlement_id,
                record.previous,
                min(seen, default=head + 1) - 1,
                tuple(batch for batch in batches if batch.party.role in PAYING_ROLES),
                tuple(batch for batch in batches if batch.party.role not in PAYING_ROLES),
            )
        )
    last = max([settlement.journal.last_ingest(), *(record.last_ingest for record in ended)])
    settlement.journal.adopt(runs, await _open_rows(settlement, last))


async def take_up(settlement: Settlement, record: SettlementRecord, first_block: int) -> None:
    """Enters a settlement that has not ended as the unfinished run.

    Whoever began it may have got to nothing, to batches, or to the chain. Where there are batches or events, its plan
    follows from the same rows, and must give them.
    """
    settlement.tell(
        f"settlement {record.settlement_id.hex()[:16]} over rows {record.first_ingest} to {record.last_ingest} was "
        f"begun by {record.owner or 'a journal that is lost'} and has not ended: going on with it"
    )
    batches = await _batches_of(settlement, record)
    await _enter(settlement, record, batches, await asyncio.to_thread(_seen, settlement, record, first_block))


async def take_from_chain(settlement: Settlement, seen: OnChain) -> None:
    """Enters a settlement that only the chain knows as the unfinished run. Raises SettlementError when the ledger's
    rows do not give it."""
    begun = seen.begun
    told = (
        f"the chain holds settlement {begun.batch_id.hex()} (begun in block {seen.block_number}, over rows up to "
        f"{begun.last_row}, {begun.collections} nano-CPU), which neither ledger nor journal knows"
    )
    what_now = (
        "Nothing was signed. If the ledger is a restored copy, bring back the newer one, then run again; if nobody "
        "here began it, somebody else has used the collector's key"
    )
    head = await settlement.store.head()
    if begun.last_row > head:
        raise SettlementError(f"{told}; the ledger ends with row {head}. {what_now}")
    record = await _named(settlement, seen)
    if record is None:
        raise SettlementError(f"{told}, and it does not follow from the ledger's rows. {what_now}")
    settlement.tell(f"{told}: taken up from its rows {record.first_ingest} to {record.last_ingest}")
    await _enter(settlement, record, [], seen)


_PAYING = frozenset(ROLE_NUMBERS[role] for role in PAYING_ROLES)


async def _named(settlement: Settlement, seen: OnChain) -> SettlementRecord | None:
    """The settlement that has this id, found by trying day and first row: the chain tells all else that it is over.

    The chain's first row is the one after the settlement before, and runs that settled nothing may lie between.
    """
    begun = seen.begun
    block = await asyncio.to_thread(settlement.token.chain.block, seen.block_number)
    if block is None:
        return None
    mined = datetime.fromtimestamp(block.timestamp_s, UTC).date()
    days = [(mined + timedelta(days=shift)).isoformat() for shift in limits.DAYS_TRIED]

    def search() -> SettlementRecord | None:
        earliest = max(begun.first_row, begun.last_row + 1 - limits.ROWS_PER_RUN)
        for first in range(earliest, begun.last_row + 2):
            for day in days:
                if settlement.settlement_id(day, first, begun.last_row, begun.previous) == begun.batch_id:
                    place = (settlement.chain_id, settlement.token.address)
                    return SettlementRecord(begun.batch_id, *place, day, first, begun.last_row, begun.previous)
        return None

    return await asyncio.to_thread(search)


def _seen(settlement: Settlement, record: SettlementRecord, first_block: int) -> OnChain | None:
    token = settlement.token
    head = token.chain.head().number
    for begun, block_number in token.begun(first_block, head):
        if begun.batch_id == record.settlement_id:
            return OnChain(begun, block_number, token.settled(first_block, head, begun.batch_id))
    return None


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
    events = seen.settled if seen else []
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
    if not gives_batches or not gives_events or (seen and not _is_begun_so(settlement, seen.begun, decided)):
        raise SettlementError(
            f"settlement {record.settlement_id.hex()} cannot be made anew: its rows give other batches than "
            f"{'the ledger' if not gives_batches else 'the chain'} holds; minimum_payout_nano_cpu must be as it was "
            "(cgn verify says whether rows were altered). Nothing was signed"
        )
    moved = sum(item.settled.amount * (1 if item.settled.role in _PAYING else -1) for item in events)
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


def _is_begun_so(settlement: Settlement, begun: SettlementBegun, decided: Plan) -> bool:
    """Whether the chain began a settlement with this plan's sums and payees."""
    lists = settlement.token.payout_lists(decided.payouts, settlement.payees_per_transaction)
    return (begun.collections, begun.payouts, begun.payouts_root) == (decided.collected, decided.paid, lists.root)


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
    """A batch with its rows, as the ledger marks them."""
    rows = sorted([(row.row_hash, row.row_id) async for row in settlement.store.batch_rows(record.batch_id)])
    return Batch(
        batch_id=record.batch_id,
        party=Party(record.role, record.public_id),
        account=record.account,
        commitment=Commitment(record.row_count, record.amount_nano_cpu, record.xor, record.merkle_root),
        row_hashes=tuple(row_hash for row_hash, _ in rows),
        row_ids=tuple(row_id for _, row_id in rows),
    )


async def _open_rows(settlement: Settlement, last: int) -> list[OpenRow]:
    """The rows up to a number with parties that no settlement holds, as the ledger's payment state says."""
    store = settlement.store
    left: list[OpenRow] = []
    after = 0
    while after < last:
        rows = await store.read(after, min(limits.ROWS_PER_READ, last - after))
        if not rows:
            raise SettlementError(f"the ledger has no row number {after + 1}")
        settled: dict[str, set[Party]] = defaultdict(set)
        async for payment in store.payments(after + 1, rows[-1].ingest):
            if payment.state in SETTLED_STATES:
                settled[payment.row_id].add(Party(payment.role, payment.public_id))
        for row in rows:
            parties = {share.party for name in ("pay_in", "payouts") for share in shares_of(row.public[name])}
            if parties := parties - settled[row.row_id]:
                left.append(OpenRow(row.row_id, row.ingest, frozenset(parties)))
        after = rows[-1].ingest
    return left
