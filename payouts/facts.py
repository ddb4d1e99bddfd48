"""Rows of the store, checked again, as facts of a payout run (P-6)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import RowError

from ledger.port import Store, StoredRow
from payouts import limits
from payouts.core.rollup import PAYING_ROLES, Fact, Party, Share
from payouts.journal import OpenRow


class FactError(Exception):
    """A row of the ledger cannot be settled: it is not what its hash says, or it is gone. Nothing is settled before
    somebody has looked (`cgn verify` names what is wrong)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run knows: open shares, and where everybody's money is."""

    facts: tuple[Fact, ...]
    accounts: dict[str, str]
    """Ethereum address by public id, as the newest row with one says (private part `accounts`)."""


async def load(store: Store, first_ingest: int, last_ingest: int, open_rows: Iterable[OpenRow]) -> Facts:
    """Returns the facts of the new rows first..last and of rows that earlier runs left open.

    Raises FactError for a row that does not verify, StoreError when the store fails.
    """
    facts: list[Fact] = []
    accounts: dict[str, str] = {}
    for item in open_rows:  # older than all new rows, so that newer addresses win
        stored = await store.get(item.row_id)
        if stored is None or stored.ingest != item.ingest:
            raise FactError(
                f"row {item.row_id}, open since an earlier run, is not in the ledger as number {item.ingest}"
            )
        facts.append(_fact(stored, item.parties, accounts))
    after = first_ingest - 1
    while after < last_ingest:
        rows = await store.read(after, min(limits.ROWS_PER_READ, last_ingest - after))
        if not rows or rows[0].ingest != after + 1 or rows[-1].ingest != after + len(rows):
            raise FactError(f"the ledger has no row number {after + 1}, though its head says so")
        facts += [_fact(stored, None, accounts) for stored in rows]
        after = rows[-1].ingest
    return Facts(tuple(facts), accounts)


async def last_ingest_of(store: Store, first_ingest: int, day: date | None, until_ingest: int | None) -> int:
    """Returns the last row that a run should take: `until_ingest`, or the row before the first that is younger than
    the day, or the newest; never more than ROWS_PER_RUN from the first."""
    bound = min(await store.head(), first_ingest - 1 + limits.ROWS_PER_RUN)
    if until_ingest is not None:
        bound = min(bound, until_ingest)
    if day is None:
        return bound
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    end_ns = int(midnight.timestamp()) * 10**9
    after = first_ingest - 1
    while after < bound:
        rows = await store.read(after, min(limits.ROWS_PER_READ, bound - after))
        if not rows:
            break
        for row in rows:
            if int(row.public["event_time_ns"]) >= end_ns:
                return row.ingest - 1
        after = rows[-1].ingest
    return bound


def _fact(stored: StoredRow, parties: frozenset[Party] | None, accounts: dict[str, str]) -> Fact:
    try:
        row = stored.verified(keccak_256)
    except RowError as error:
        raise FactError(f"row {stored.row_id} (number {stored.ingest}) does not verify: {error}") from error
    for public_id, address in row.parts["accounts"].items():
        if isinstance(address, str):
            accounts[public_id] = address
    shares = [*_shares(row.public["pay_in"]), *_shares(row.public["payouts"])]
    wanted = [share for share in shares if parties is None or share.party in parties]
    return Fact(
        ingest=stored.ingest,
        row_id=row.row_id,
        row_hash=row.row_hash,
        pay_in=tuple(share for share in wanted if share.party.role in PAYING_ROLES),
        payouts=tuple(share for share in wanted if share.party.role not in PAYING_ROLES),
    )


def _shares(entries: list[dict[str, Any]]) -> list[Share]:
    return [Share(Party(entry["role"], entry["id"]), int(entry["amount_nano_cpu"])) for entry in entries]
