"""Makes runs anew that the journal does not know, from the ledger's batches and rows and the chain's events (P-11).

What is lost with a journal: which rows were taken, which parties of them are still open, and the raw bytes of what was
under way. The first two stand in the ledger (batches are stored before any money moves; payment state). The last does
not matter: whatever still gets mined of it settles batches that the contract then refuses to settle again.

Three ways, by what is left of a settlement:
- `adopt`: the ledger says that it has ended;
- `take_up`: the ledger knows it, and it has not ended: it becomes the journal's unfinished run;
- `take_from_chain`: only its events are left. Its id is over its rows and the day, so they are found by trying, and its
  plan must give the very events.

A run that died before it claimed its place has moved nothing and is begun anew; what it reserved is found on the chain.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cgn_sdk.protocol.settlement import Commitment, entity_on_chain

from ledger.port import BatchRecord, SettlementRecord
from payouts import facts as ledger_facts
from payouts import limits
from payouts.core.rollup import PAYING_ROLES, ROLE_NUMBERS, Batch, Party, reservations
from payouts.facts import SETTLED_STATES, shares_of
from payouts.journal import AdoptedRun, OpenRow
from payouts.settlement import Settlement, SettlementError
from payouts.token import SettledLog, expected


async def adopt(settlement: Settlement, ended: Sequence[SettlementRecord], first_block: int) -> None:
    """Enters settlements that have ended, and the rows up to their last that are open for somebody.

    The newest comes with its batches: its events are still looked at.
    """
    if not ended:
        return
    newest = ended[-1]
    records = await _batches_of(settlement, newest)
    events = await asyncio.to_thread(_events_of, settlement, newest.settlement_id, first_block)
    opening_block = min((item.block_number for item in events), default=first_block + 1) - 1
    settled = {(item.settled.entity, item.settled.role) for item in events}
    batches = [
        await _whole(settlement, record)
        for record in sorted(records, key=lambda record: (record.role, record.public_id))
        if (entity_on_chain(record.public_id), ROLE_NUMBERS[record.role]) in settled
    ]
    runs = [
        AdoptedRun(
            record.period,
            record.first_ingest,
            record.last_ingest,
            record.settlement_id,
            record.previous,
            opening_block if record is newest else first_block,
            tuple(batch for batch in batches if record is newest and batch.party.role in PAYING_ROLES),
            tuple(batch for batch in batches if record is newest and batch.party.role not in PAYING_ROLES),
        )
        for record in ended
    ]
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
    events = await asyncio.to_thread(_events_of, settlement, record.settlement_id, first_block)
    await _enter(settlement, record, batches, events)


async def take_from_chain(settlement: Settlement, settlement_id: bytes, events: Sequence[SettledLog]) -> None:
    """Enters a settlement of which only the events are left as the unfinished run. Raises SettlementError when the
    ledger's rows do not give it."""
    total = sum(item.settled.amount for item in events if item.settled.role in _PAYING)
    told = (
        f"the chain holds settlement {settlement_id.hex()} (from block {events[0].block_number} on, {total} nano-CPU "
        "collected), which neither ledger nor journal knows"
    )
    record = await _named(settlement, settlement_id, events)
    if record is None:
        raise SettlementError(
            f"{told}, and it is over other rows than the ledger holds: the ledger is older than the chain (a restored "
            "copy?), or another ledger settles with this contract. Nothing was signed. Bring back the newer ledger, "
            "then run again"
        )
    settlement.tell(f"{told}: taken up from its rows {record.first_ingest} to {record.last_ingest}")
    await _enter(settlement, record, [], events)


_PAYING = frozenset(ROLE_NUMBERS[role] for role in PAYING_ROLES)


async def _named(settlement: Settlement, settlement_id: bytes, events: Sequence[SettledLog]) -> SettlementRecord | None:
    """The settlement behind the journal's last that has this id, found by trying last row and day."""
    journal = settlement.journal
    first, previous = journal.last_ingest() + 1, journal.last_settlement_id()
    head = min(await settlement.store.head(), first - 1 + limits.ROWS_PER_RUN)
    block = await asyncio.to_thread(settlement.token.chain.block, events[0].block_number)
    if block is None:
        return None
    mined = datetime.fromtimestamp(block.timestamp_s, UTC).date()
    days = [(mined + timedelta(days=shift)).isoformat() for shift in limits.DAYS_TRIED]

    def search() -> SettlementRecord | None:
        for day in days:
            for last in range(first - 1, head + 1):
                if settlement.settlement_id(day, first, last, previous) == settlement_id:
                    place = (settlement.chain_id, settlement.token.address)
                    return SettlementRecord(settlement_id, *place, day, first, last, previous)
        return None

    return await asyncio.to_thread(search)


async def _enter(
    settlement: Settlement, record: SettlementRecord, batches: list[BatchRecord], events: Sequence[SettledLog]
) -> None:
    """Begins the run of a settlement in the journal, with its plan where one was fixed."""
    if not batches and not events:
        settlement.begin(record.period, record.last_ingest)
        return
    facts = await ledger_facts.load(
        settlement.store,
        settlement.journal.last_ingest() + 1,
        record.last_ingest,
        settlement.journal.open_rows(),
        period=record.period,
        settlement_id=record.settlement_id,
    )
    named = {(entity_on_chain(batch.public_id), ROLE_NUMBERS[batch.role]) for batch in batches}
    named |= {(item.settled.entity, item.settled.role) for item in events}
    owing = {item.party for item in reservations(facts.facts, facts.accounts, settlement.blocked())}
    unresolved = frozenset(party for party in owing if _on_chain(party) not in named)
    decided = settlement.decide(record.settlement_id, facts, unresolved)
    planned = (*decided.collections, *decided.payouts)
    gives_batches = {settlement.record(record, batch) for batch in planned} >= set(batches)
    gives_events = {expected(record.settlement_id, batch) for batch in planned} >= {item.settled for item in events}
    if not gives_batches or not gives_events:
        raise SettlementError(
            f"settlement {record.settlement_id.hex()} cannot be made anew: its rows give other batches than "
            f"{'the chain' if not gives_events else 'the ledger'} holds; minimum_payout_nano_cpu must be as it was "
            "(cgn verify says whether rows were altered). Nothing was signed"
        )
    moved = sum(item.settled.amount * (1 if item.settled.role in _PAYING else -1) for item in events)
    head = await asyncio.to_thread(settlement.token.chain.head)
    run = settlement.begin_at(
        record.period,
        record.last_ingest,
        opening=settlement.token.balance(settlement.token.payouts_account) - moved,
        opening_block=min((item.block_number for item in events), default=head.number + 1) - 1,
    )
    assert run.settlement_id == record.settlement_id, "the journal's line ends where the settlement begins"
    await settlement.claim(run)
    settlement.journal.fix(run.run_id, decided, unresolved)


def _on_chain(party: Party) -> tuple[bytes, int]:
    return entity_on_chain(party.id), ROLE_NUMBERS[party.role]


def _events_of(settlement: Settlement, settlement_id: bytes, first_block: int) -> list[SettledLog]:
    return settlement.token.settled(first_block, settlement.token.chain.head().number, settlement_id)


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
