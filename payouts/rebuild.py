"""Makes a lost journal anew from the ledger's batches and the chain's events (P-11).

What is lost with the journal: which rows were taken, which parties of them are still open, and the raw bytes of what
was under way. The first two stand in the ledger (batches are stored before any money moves; payment state). The last
does not matter: whatever still gets mined of it settles batches that the contract then refuses to settle again.

A run that died before its batches were stored has moved nothing. It is begun anew, and finds its reservations on the
chain if it is over the same rows; other reservations go back to their owners when they expire.
"""

from collections import defaultdict
from collections.abc import Iterable

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import NO_SETTLEMENT, Scope, settlement_id

from ledger.port import BatchRecord, Store
from payouts import facts as ledger_facts
from payouts import limits
from payouts.core.rollup import PAYING_ROLES, ROLE_NUMBERS, Party, reservations
from payouts.journal import OpenRow
from payouts.settlement import Settlement, SettlementError
from payouts.token import SettledLog

SETTLED_STATES = ("collected", "paid")


async def journal_from_ledger(settlement: Settlement, first_block: int) -> None:
    """Fills an empty journal when the ledger holds batches of earlier runs.

    The newest run is taken up again where the chain says that it stands. Raises SettlementError when ledger, chain and
    settings do not fit together: then somebody has to look (`cgn verify`).
    """
    if not settlement.journal.is_empty():
        return
    records = [
        record
        for record in await _all_batches(settlement.store)
        if (record.chain_id, record.token) == (settlement.chain_id, settlement.token.address)
    ]
    if not records:
        return
    ordered = _in_order(records)
    settlement.tell(f"the journal is empty and the ledger holds {len(ordered)} settlements: making it anew")
    newest_id, newest = ordered[-1]
    head = settlement.token.chain.head().number
    events = settlement.token.settled(first_block, head, newest_id)
    if await _is_complete(settlement.store, newest, events):
        await _adopt(settlement, ordered)
        return
    await _adopt(settlement, ordered[:-1])
    await _take_up(settlement, newest, events, first_block)


async def _all_batches(store: Store) -> list[BatchRecord]:
    found: list[BatchRecord] = []
    while page := await store.get_batches(after=found[-1].batch_id if found else b"", limit=1_000):
        found += page
    return found


def _in_order(records: Iterable[BatchRecord]) -> list[tuple[bytes, list[BatchRecord]]]:
    """The records by settlement, first to newest, following `previous`."""
    groups: dict[bytes, list[BatchRecord]] = defaultdict(list)
    after: dict[bytes, bytes] = {}
    for record in records:
        scope = Scope(record.chain_id, record.token, record.period)
        found = settlement_id(scope, record.first_ingest, record.last_ingest, record.previous, keccak_256)
        groups[found].append(record)
        if after.setdefault(record.previous, found) != found:
            raise SettlementError("the ledger holds two settlements with the same one before: cgn verify says more")
    ordered = []
    at = NO_SETTLEMENT
    while at in after:
        at = after[at]
        ordered.append((at, groups[at]))
    if len(ordered) != len(groups):
        raise SettlementError("the ledger's settlements do not form one chain: cgn verify says more")
    return ordered


async def _is_complete(store: Store, records: list[BatchRecord], events: list[SettledLog]) -> bool:
    """Whether everything of a settlement is on the chain and marked in the ledger."""
    if len(events) != len(records):
        return False
    for record in records:
        count = 0
        async for _ in store.batch_rows(record.batch_id):
            count += 1
        if count != record.row_count:
            return False
    return True


async def _adopt(settlement: Settlement, ordered: list[tuple[bytes, list[BatchRecord]]]) -> None:
    """Enters closed runs, and the rows up to their last that are open for somebody."""
    if not ordered:
        return
    closed = {record.batch_id for _, records in ordered for record in records}
    last = max(record.last_ingest for _, records in ordered for record in records)
    left: list[OpenRow] = []
    after = 0
    while after < last:
        rows = await settlement.store.read(after, min(limits.ROWS_PER_READ, last - after))
        if not rows:
            raise SettlementError(f"the ledger has no row number {after + 1}")
        for row in rows:
            parties = frozenset(
                Party(state.role, state.public_id)
                for state in await settlement.store.payment_state(row.row_id)
                if state.state not in SETTLED_STATES or state.batch_id not in closed
            )
            if parties:
                left.append(OpenRow(row.row_id, row.ingest, parties))
        after = rows[-1].ingest
    settlement.journal.adopt(
        [
            (records[0].period, records[0].first_ingest, records[0].last_ingest, found, records[0].previous)
            for found, records in ordered
        ],
        left,
    )


async def _take_up(
    settlement: Settlement, records: list[BatchRecord], events: list[SettledLog], first_block: int
) -> None:
    """Enters the newest run as decided: its plan follows from the same rows, and must give the ledger's batches."""
    paying = {ROLE_NUMBERS[role] for role in PAYING_ROLES}
    moved = sum(e.settled.amount if e.settled.role in paying else -e.settled.amount for e in events)
    run = settlement.begin_at(
        records[0].period,
        records[0].last_ingest,
        opening=settlement.token.balance(settlement.token.payouts_account) - moved,
        opening_block=first_block,
    )
    facts = await ledger_facts.load(settlement.store, run.first_ingest, run.last_ingest, settlement.journal.open_rows())
    stored = {Party(record.role, record.public_id) for record in records}
    owing = {item.party for item in reservations(facts.facts, facts.accounts, settlement.blocked())}
    unresolved = frozenset(owing - stored)
    decided = settlement.decide(run, facts, unresolved)
    planned = {settlement.record(run, batch) for batch in (*decided.collections, *decided.payouts)}
    if planned != set(records):
        raise SettlementError(
            f"the unfinished settlement {run.settlement_id.hex()} cannot be made anew: its rows give other batches "
            "than the ledger holds; minimum_payout_nano_cpu must be as it was (cgn verify says whether rows were "
            "altered)"
        )
    settlement.journal.fix(run.run_id, decided, unresolved)
