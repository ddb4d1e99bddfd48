"""Where journal, ledger and chain stand, compared before anything is signed (P-11).

"Once" must not rest on what one of them remembers. A journal may be yesterday's copy, a ledger may be restored, both
may be, or another host may have settled. What is compared, and who is believed:

- the chain is right about money: what a payouts account has settled is settled, whoever has forgotten it;
- the ledger is right about rows and about which settlement follows which; the journal is made to agree (`rebuild`);
- the journal is right about bytes: what it signed is offered again before anything new is.

After `catch_up` all three know the same settlements, in one line, each complete but perhaps the last; that one is
`journal.unfinished()` and is to be completed first. What cannot be made whole stops the run with what is known and what
to do. Nothing has been signed then that was not signed before.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from cgn_sdk.protocol.settlement import NO_SETTLEMENT

from ledger.port import SettlementRecord
from payouts import limits, rebuild
from payouts.core.rollup import Plan
from payouts.errors import SettlementError
from payouts.journal import Run
from payouts.on_chain import OnChain, behind, first_of, is_disowned, look_from, settlements
from payouts.settlement import Settlement
from payouts.token import expected


def in_order(records: Iterable[SettlementRecord]) -> list[SettlementRecord]:
    """Returns the settlements from the first to the newest, following `previous`. Raises SettlementError when they form
    no line."""
    after: dict[bytes, SettlementRecord] = {}
    for record in records:
        if after.setdefault(record.previous, record) != record:
            raise SettlementError("the ledger holds two settlements with the same one before: cgn verify says more")
    line: list[SettlementRecord] = []
    at = NO_SETTLEMENT
    while at in after:
        line.append(after.pop(at))
        at = line[-1].settlement_id
    if after:
        raise SettlementError("the ledger's settlements do not form one line: cgn verify says more")
    return line


@dataclass(slots=True)
class Standing:
    """One comparison. `first_block`: no event of the contract is older."""

    settlement: Settlement
    first_block: int

    async def catch_up(self) -> None:
        """Brings the three together as far as they can be. Raises SettlementError where a person has to bring something
        back."""
        await self._check_numbers()
        line = in_order(await self._records())
        on_chain = await asyncio.to_thread(self._on_chain, line)
        await self._drop_overtaken(line, on_chain)
        await self._check_unfinished()
        if await self._tell_ledger(line):
            line = in_order(await self._records())
        if self.settlement.journal.unfinished() is None:
            await self._take_in(line)
        if self.settlement.journal.unfinished() is None:
            await self._look_again(on_chain)
        self.settlement.strangers = []
        await self._take_from_chain(line, on_chain)

    async def _check_numbers(self) -> None:
        head, taken = await self.settlement.store.head(), self.settlement.journal.last_ingest()
        if taken > head:
            raise SettlementError(
                f"the ledger ends with row {head}, and runs have taken rows up to {taken}: the ledger is older than "
                "the journal (a restored copy?). Nothing was signed. Bring back the rows after that, then run again"
            )

    async def _records(self) -> list[SettlementRecord]:
        """The ledger's settlements on this contract."""
        found: list[SettlementRecord] = []
        while page := await self.settlement.store.settlements(after=found[-1].settlement_id if found else b""):
            found += page
        place = (self.settlement.chain_id, self.settlement.token.address)
        return [record for record in found if (record.chain_id, record.token) == place]

    def _on_chain(self, line: list[SettlementRecord]) -> list[OnChain]:
        """The payouts account's settlements since the last that the journal saw whole and buried, in the order in which
        they began. Raises SettlementError when the endpoint's events lag behind its state."""
        token = self.settlement.token
        closed = [run for run in self.settlement.journal.settling() if run.state == "closed"]
        first = max(look_from(closed[-1]) if closed else 0, self.first_block)
        head = token.chain.head().number
        found = settlements(token, first, head)
        newest = token.settlement().settlement_id
        if newest not in {NO_SETTLEMENT, *(seen.settlement_id for seen in found), *self._known(line)}:
            raise SettlementError(
                f"the chain's state names settlement {newest.hex()}, and its events up to block {head} do not: the "
                "endpoint lags behind itself. Nothing was signed. Run again, or ask another endpoint"
            )
        return found

    # --- the journal against ledger and chain ----------------------------------------------------------------------

    async def _drop_overtaken(self, line: list[SettlementRecord], on_chain: list[OnChain]) -> None:
        """Drops the journal's run that has not ended when another one stands in its place."""
        journal = self.settlement.journal
        run = journal.unfinished()
        if run is None:
            return
        holder = next((record for record in line if record.previous == run.previous), None)
        if run.state == "reserving":
            is_overtaken = first_of(on_chain, run.settlement_id) is not None or (
                holder is not None and (holder.settlement_id != run.settlement_id or holder.ended_ns > 0)
            )
            # it did not know these when it began, and would take their rows
            is_overtaken |= any(seen.settlement_id not in self._known(line) for seen in on_chain)
        else:
            is_overtaken = holder is not None and await self._differs(run, holder)
        if is_overtaken:
            self.settlement.tell(
                f"the unfinished run over rows {run.first_ingest} to {run.last_ingest} is dropped: ledger or chain "
                "have another one in its place"
            )
            await asyncio.to_thread(self.settlement.release_dropped, run)
            journal.drop(run.run_id)

    def _known(self, line: list[SettlementRecord]) -> set[bytes]:
        runs = self.settlement.journal.settling()
        return {run.settlement_id for run in runs} | {record.settlement_id for record in line}

    async def _differs(self, run: Run, holder: SettlementRecord) -> bool:
        """Whether the ledger holds another settlement, or other batches of it, than a run has planned."""
        if holder.settlement_id != run.settlement_id:
            return True
        decided = self.settlement.journal.plan(run.run_id)
        for batch in (*decided.collections, *decided.payouts):
            stored = await self.settlement.store.get_batch(batch.batch_id)
            if stored is not None and stored != self.settlement.record(run, batch):
                return True
        return False

    # --- a ledger that has forgotten -------------------------------------------------------------------------------

    async def _tell_ledger(self, line: list[SettlementRecord]) -> bool:
        """Enters again what the journal has settled and the ledger does not know, if its rows are there. Returns
        whether there was any."""
        settlement = self.settlement
        ended = {record.settlement_id for record in line if record.ended_ns}
        runs = [run for run in settlement.journal.settling() if run.state == "closed"]
        forgotten = [run for run in runs if run.settlement_id not in ended]
        for run in forgotten:
            decided = settlement.journal.plan(run.run_id)
            await self._check_rows(run, decided)
            await self._check_no_others(run, decided)
            settlement.tell(f"the ledger has forgotten settlement {run.settlement_id.hex()[:16]}: it is told again")
            await settlement.claim(run)
            await settlement.store_batches(run, decided)
            tx_ids = await asyncio.to_thread(settlement.move_money, run, None, decided)
            await settlement.mark(run, decided, tx_ids, is_newest=run is runs[-1])
        return bool(forgotten)

    async def _check_unfinished(self) -> None:
        """The plan of a run that has not ended is fixed: it would move money for rows that the ledger has not."""
        run = self.settlement.journal.unfinished()
        if run is not None and run.state != "reserving" and run.settles:
            await self._check_rows(run, self.settlement.journal.plan(run.run_id))

    async def _check_rows(self, run: Run, decided: Plan) -> None:
        """Raises SettlementError unless the ledger holds every row that the run settled, or is to settle."""
        wanted = {
            row_id: row_hash
            for batch in (*decided.collections, *decided.payouts)
            for row_id, row_hash in zip(batch.row_ids, batch.row_hashes, strict=True)
        }
        if not wanted and not run.plan_hash:
            raise SettlementError(
                f"the ledger does not know settlement {run.settlement_id.hex()}, which the journal learnt from it: the "
                "ledger is older than the journal (a restored copy?). Nothing was signed. Bring back the newer ledger"
            )
        for row_id, row_hash in wanted.items():
            stored = await self.settlement.store.get(row_id)
            if stored is None or stored.row_hash != row_hash:
                raise SettlementError(
                    f"the ledger does not hold row {row_id}, which settlement {run.settlement_id.hex()} is over: "
                    "the ledger is older than the journal (a restored copy?). Nothing was signed. Bring back the row, "
                    "or the newer ledger, then run again"
                )

    async def _check_no_others(self, run: Run, decided: Plan) -> None:
        """Raises SettlementError when the ledger holds others among the run's new rows: one that took a number which
        the run has passed would never be settled."""
        settled = {row_id for batch in (*decided.collections, *decided.payouts) for row_id in batch.row_ids}
        allowed = settled | {item.row_id for item in self.settlement.journal.open_rows()}
        after = run.first_ingest - 1
        while after < run.last_ingest:
            page = await self.settlement.store.row_hashes(after, min(limits.ROWS_PER_READ, run.last_ingest - after))
            for item in page:
                if item.row_id not in allowed:
                    raise SettlementError(
                        f"row {item.row_id} stands in the ledger as number {item.ingest}, which a run has passed "
                        "without it: the ledger was restored and numbers were given anew. Nothing was signed. "
                        "Bring back the ledger as it was, then store the rows that came since"
                    )
            after = page[-1].ingest if page else run.last_ingest

    # --- a journal that has forgotten ------------------------------------------------------------------------------

    async def _take_in(self, line: list[SettlementRecord]) -> None:
        """Enters what the ledger knows and the journal does not."""
        known = [run.settlement_id for run in self.settlement.journal.settling()]
        if known != [record.settlement_id for record in line[: len(known)]]:
            raise SettlementError(
                "ledger and journal tell of different settlements in the same place; nothing was signed. cgn verify "
                "says which of them the chain holds"
            )
        missing = line[len(known) :]
        if not missing:
            return
        self.settlement.tell(f"{len(missing)} settlements of the ledger are not in the journal: made anew from it")
        ended = [record for record in missing if record.ended_ns]
        taken = await rebuild.adopt(self.settlement, ended, self.first_block)
        for record in missing[taken : taken + 1]:  # what follows waits until this one is complete
            await rebuild.take_up(self.settlement, record, self.first_block)

    # --- what both have forgotten ----------------------------------------------------------------------------------

    async def _look_again(self, on_chain: list[OnChain]) -> None:
        """Looks at the newest runs' transactions again: their blocks may have gone after the run had ended."""
        settlement = self.settlement
        buried = (await asyncio.to_thread(settlement.token.chain.head)).number - limits.BURIED_BLOCKS
        young = {run.run_id for run in settlement.journal.not_buried(buried)}
        runs = [run for run in settlement.journal.settling() if run.state == "closed"]
        for run in runs:
            if run is not runs[-1] and run.opening_block < buried and run.run_id not in young:
                continue
            decided = settlement.journal.plan(run.run_id)
            wanted = [expected(run.settlement_id, batch) for batch in (*decided.collections, *decided.payouts)]
            seen = first_of(on_chain, run.settlement_id)
            found = {item.settled for item in seen.settled} if seen else set()
            if await asyncio.to_thread(settlement.driver.renew, run.run_id) or not found.issuperset(wanted):
                settlement.tell(f"blocks of the run over rows {run.first_ingest} to {run.last_ingest} have gone")
                tx_ids = await asyncio.to_thread(settlement.move_money, run, None, decided)
                await settlement.mark(run, decided, tx_ids, is_newest=run is runs[-1])

    async def _take_from_chain(self, line: list[SettlementRecord], on_chain: list[OnChain]) -> None:
        """Takes up a settlement that only the chain knows, if the ledger's rows give it.

        One that they do not give, that was begun with the key of a collector that has been replaced since, and that has
        paid nobody, is no run's: the next run goes on behind it.
        """
        settlement = self.settlement
        for seen in behind(on_chain, self._known(line)):
            problem = None
            if settlement.journal.unfinished() is None:
                try:
                    await rebuild.take_from_chain(settlement, seen)
                    return
                except SettlementError as error:
                    problem = error
            if not seen.has_paid() and await asyncio.to_thread(is_disowned, settlement.token, seen):
                settlement.strangers.append(seen)
            elif problem:
                raise problem
            else:
                return  # the unfinished run comes first
