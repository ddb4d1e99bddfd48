"""One payout run from beginning to end (P-6 to P-13), resumable at every step.

    begin -> reserve (top up) -> claim its place in the ledger -> fix the plan -> store the batches
          -> begin on the chain -> collect -> pay -> mark the rows -> report

The journal says where a run stands; each part here looks there first and does only what is missing. Decisions are
the rollup's, transactions the driver's, rows the store's; this module is the list of steps.

A payer that cannot reserve after `TOP_UPS_MAX` top-ups is flagged. Its rows stay pending as a whole, nobody is paid for
them, and the next run takes them up again.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import Scope, settlement_id

from ledger.port import BatchRecord, SettlementRecord, Store
from payouts import facts as ledger_facts
from payouts import limits, void
from payouts.bindings.abi import Call
from payouts.bindings.batches import PayoutLists
from payouts.bindings.utility_token import Settled, SettlementBegun
from payouts.chain import ChainError, Payload, Receipt, Signer
from payouts.core.rollup import (
    ABANDONED,
    PAYING_ROLES,
    Batch,
    Party,
    Plan,
    Reservation,
    plan,
    remaining,
    reservations,
)
from payouts.driver import Driver, DriverError, Step
from payouts.errors import SettlementError
from payouts.expired import give_up_if_expired
from payouts.facts import Facts
from payouts.journal import Journal, Run, Tx
from payouts.on_chain import OnChain, begun, behind, first_of, look_from, settlements
from payouts.token import Refused, SettledLog, Token, chunks, expected, settled_in
from payouts.top_up import Shortage, TopUp
from payouts.top_up_history import added_for, places_helped

PAYER_PROBLEMS = frozenset({"ERC20InsufficientBalance", "ERC20InsufficientAllowance"})
"""What only the payer can lack. Any other refusal of a reservation is the network's problem and stops the run."""


@dataclass(slots=True)
class Timings:
    """How long things took, in ms by name (P-13)."""

    clock: Callable[[], float] = time.monotonic
    taken_ms: dict[str, int] = field(default_factory=dict)

    def since(self, name: str, started_s: float) -> None:
        self.taken_ms[name] = self.taken_ms.get(name, 0) + round((self.clock() - started_s) * 1000)


@dataclass(slots=True)
class Settlement:
    """What a run works with. `tell` gets one line per thing a person would want to see happen."""

    store: Store
    journal: Journal
    token: Token
    driver: Driver
    collector: Signer
    payer: Signer
    top_up: TopUp
    chain_id: int
    minimum_payout: int
    tell: Callable[[str], None]
    node_id: str
    """Whose rows are settled; empty while the ledger is empty and the contract does not say."""
    owner: str = ""
    """Who runs it, for the ledger's record: host and journal."""
    now_ns: Callable[[], int] = time.time_ns
    payees_per_transaction: int = limits.PAYEES_PER_TRANSACTION
    collections_per_transaction: int = limits.COLLECTIONS_PER_TRANSACTION
    timings: Timings = field(default_factory=Timings)
    strangers: list[OnChain] = field(default_factory=list)
    """Settlements on the chain behind the newest that journal and ledger know, which are no run's (`standing`)."""

    async def complete(self, run: Run) -> dict[str, Any]:
        """Brings a run that has begun to its end, from wherever it stands. Returns the report (see `_report`)."""
        started_s = self.timings.clock()
        facts = await ledger_facts.load(
            self.store,
            run.first_ingest,
            run.last_ingest,
            self.journal.open_rows(),
            period=run.period,
            settlement_id=run.settlement_id,
            node_id=self.node_id,
        )
        self.timings.since("read", started_s)
        self.tell(
            f"period {run.period}: rows {run.first_ingest} to {run.last_ingest}, {len(facts.facts)} open rows; "
            f"settlement {run.settlement_id.hex()[:16]}"
        )
        self._tell_apart(run, facts)
        await asyncio.to_thread(void.undo_strangers, self, run)
        was_fixed = run.state != "reserving"
        if not was_fixed:
            await asyncio.to_thread(self._refuse_overtaken, run)
            flagged = await asyncio.to_thread(self._reserve, run, facts)
            await asyncio.to_thread(self._refuse_overtaken, run)
            decided = self.decide(run.settlement_id, facts, frozenset(flagged))
            if decided.collections or decided.payouts:
                await self.claim(run)
            self.journal.fix(run.run_id, decided, flagged)
            run = self.journal.run(run.run_id)
        decided = self.journal.plan(run.run_id)
        if run.settles:  # claimed and stored again: the ledger may have been brought back since
            await self.claim(run)
            await self.store_batches(run, decided)
            decided = await asyncio.to_thread(void.cut_if_abandoned, self, run, facts, decided)
            if was_fixed and await asyncio.to_thread(give_up_if_expired, self, run, decided):
                decided = await asyncio.to_thread(void.cut_if_abandoned, self, run, facts, decided)
        tx_ids = await asyncio.to_thread(self.move_money, run, facts, decided)
        if run.state == "planned":
            self.journal.settled(run.run_id)
        await self.mark(run, decided, tx_ids)
        report = await asyncio.to_thread(self._report, run, facts, decided, tx_ids)
        self.journal.close_run(run.run_id, (*remaining(facts.facts, decided), *facts.later), report)
        return report

    def _refuse_overtaken(self, run: Run) -> None:
        """Raises SettlementError when the chain holds a settlement that is new since the run began: another process
        settles, and what this one is about to decide holds no more."""
        known = {item.settlement_id for item in self.journal.settling()}
        strangers = {seen.place for seen in self.strangers}
        for seen in behind(begun(self.token, look_from(run), self.token.chain.head().number), known):
            if seen.place not in strangers:
                raise SettlementError(
                    f"another process settles (settlement {seen.settlement_id.hex()}, begun in block "
                    f"{seen.block_number}); this run has collected and paid nothing. Run again to go on from there"
                )

    def _tell_apart(self, run: Run, facts: Facts) -> None:
        """Names the rows that this run does not settle, the first ones of each kind."""
        later = [
            f"row {fact.row_id} (number {fact.ingest}) has a time after {run.period}: it waits for its day"
            for fact in facts.later
        ]
        foreign = [
            f"row {row.row_id} (number {row.ingest}) is of node {row.node_id}, whose payouts account alone settles it"
            for row in facts.foreign
        ]
        for told in (later, foreign):
            for line in told[: limits.ROWS_SHOWN]:
                self.tell(line)
            if len(told) > limits.ROWS_SHOWN:
                self.tell(f"and {len(told) - limits.ROWS_SHOWN} more rows")

    # --- beginning and deciding ------------------------------------------------------------------------------------

    def begin(self, period: str, last_ingest: int) -> Run:
        """Begins a run over the rows that no run has taken, up to `last_ingest`."""
        head = self.token.chain.head().number
        opening = self.token.balance(self.token.payouts_account, head)
        return self.begin_at(period, last_ingest, opening=opening, opening_block=head)

    def begin_at(self, period: str, last_ingest: int, *, opening: int, opening_block: int) -> Run:
        """Begins a run that started out with an opening balance at a block."""
        first = self.journal.last_ingest() + 1
        last = max(last_ingest, first - 1)
        return self.journal.begin(
            period,
            first,
            last,
            settlement_id=self.settlement_id(period, first, last, self.journal.last_settlement_id()),
            opening=opening,
            opening_block=opening_block,
            started_ns=self.now_ns(),
        )

    def settlement_id(self, period: str, first_ingest: int, last_ingest: int, previous: bytes) -> bytes:
        """Returns the id of a settlement on this chain and contract."""
        scope = Scope(self.chain_id, self.token.address, period)
        return settlement_id(scope, first_ingest, last_ingest, previous, keccak_256)

    def decide(self, settlement_id: bytes, facts: Facts, unresolved: frozenset[Party]) -> Plan:
        """Returns what the settlement settles when these payers could not reserve."""
        return plan(
            facts.facts,
            unresolved=unresolved,
            accounts=facts.accounts,
            minimum_payout=self.minimum_payout,
            settlement_id=settlement_id,
            blocked=self.blocked(),
            keccak=keccak_256,
        )

    def is_begun_so(self, event: SettlementBegun, decided: Plan) -> bool:
        """Whether the chain began a settlement with this plan's sums and payees."""
        lists = self.token.payout_lists(decided.payouts, self.payees_per_transaction)
        return (event.collections, event.payouts, event.payouts_root) == (decided.collected, decided.paid, lists.root)

    def blocked(self) -> frozenset[str]:
        """Addresses that the contract takes neither as payer nor as payee."""
        return frozenset({self.token.address}) | self.token.payouts_accounts

    # --- reserving -------------------------------------------------------------------------------------------------

    def _reserve(self, run: Run, facts: Facts) -> dict[Party, str]:
        """Reserves what every payer owes; tops up where it fails. Returns who could not be served, and why."""
        started_s = self.timings.clock()
        owed = {item.party: item for item in reservations(facts.facts, facts.accounts, self.blocked())}
        flagged = {party: "no account that can be collected from" for party, item in owed.items() if not item.account}
        waiting = {party: item for party, item in owed.items() if party not in flagged}
        for attempt in range(limits.TOP_UPS_MAX + 1):
            waiting = self._reserve_all(run, waiting)
            if not waiting or attempt == limits.TOP_UPS_MAX:
                break
            for party, item in sorted(waiting.items()):
                problem = self._fill_up(run, item)
                if problem:
                    flagged[party] = problem
            waiting = {party: item for party, item in waiting.items() if party not in flagged}
        flagged |= {party: f"could not reserve after {limits.TOP_UPS_MAX} top-ups" for party in waiting}
        # what was thought lost may have been mined late: nobody is flagged whose funds are set aside
        flagged = {
            party: problem
            for party, problem in flagged.items()
            if not owed[party].account or not self._is_reserved(run, owed[party])
        }
        for party, problem in sorted(flagged.items()):
            self.tell(f"FLAGGED {party.role} {party.id}: {problem}; its rows stay pending")
        self.timings.since("reserve", started_s)
        return dict(sorted(flagged.items()))

    def _reserve_all(self, run: Run, wanted: dict[Party, Reservation]) -> dict[Party, Reservation]:
        """One try for everybody. Returns those that have no reservation after it."""
        self.driver.renew(run.run_id)  # what was reserved and is not there any more has expired, or its block has gone
        steps: dict[str, Party] = {}
        prepared: list[Step] = []
        failed: dict[Party, Reservation] = {}
        for party, item in sorted(wanted.items()):
            name = self._reserve_name(run, item)
            known = self.journal.tx(name)
            is_under_way = known is not None and known.state not in ("failed", "lost")
            held = None if is_under_way else self._held(run, item)
            if held is not None and held >= item.amount:
                continue
            # what is open and too little waits for a top-up; reserving again would be refused
            step = None if held is not None else self._reserve_step(run, item, item.amount, name)
            if step is None:
                failed[party] = item
            else:
                steps[step.name] = party
                prepared.append(step)
        for name in self.driver.carry_out(run.run_id, prepared):
            party = steps[name]
            if self._is_reserved(run, wanted[party]):
                self.tell(f"reserved {wanted[party].amount} nano-CPU of {party.role} {party.id}")
            else:
                failed[party] = wanted[party]
        return failed

    def _reserve_name(self, run: Run, item: Reservation) -> str:
        """Returns the name of the step that reserves: the one that is under way, or the next that was not made.

        With the run: one that settles nothing leaves the id of its settlement to the next of the same day.
        """
        for number in range(limits.RESERVATIONS_MAX):
            name = f"reserve:{run.settlement_id.hex()}:{run.run_id}:{item.party.role}:{item.party.id}:{number}"
            known = self.journal.tx(name)
            if known is None or known.state != "final":
                return name
        raise SettlementError(f"{limits.RESERVATIONS_MAX} reservations of {item.party.id} were made in this run")

    def _held(self, run: Run, item: Reservation) -> int | None:
        """Returns what the payer's open reservation of this settlement holds; None without one that lasts for a while.

        Looked up on the chain rather than in the journal: so it also holds when the journal was lost.
        """
        held = self.token.reservation(item.party, item.account)
        lasts_s = held.expires_at_s - self.token.chain.head().timestamp_s
        is_ours = held.is_of(run.settlement_id) and lasts_s > limits.RESERVATION_LEFT_S
        return held.own + held.topped_up if is_ours else None

    def _is_reserved(self, run: Run, item: Reservation) -> bool:
        """Whether all that a payer owes is set aside."""
        return (self._held(run, item) or 0) >= item.amount

    def reserve_again(self, run: Run, item: Reservation) -> str:
        """Sees to it that what a payer owes is set aside, though its reservation has expired or its block has gone.
        Returns why it is not, or the empty string."""
        for attempt in range(limits.TOP_UPS_MAX + 1):
            if self._is_reserved(run, item):
                return ""
            if attempt == 0:
                self.tell(f"reserving again for {item.party.role} {item.party.id}: the reservation has expired")
            if self._reserve_all(run, {item.party: item}) and (problem := self._fill_up(run, item)):
                return problem
        return "" if self._is_reserved(run, item) else f"could not reserve after {limits.TOP_UPS_MAX} top-ups"

    def _reserve_step(self, run: Run, item: Reservation, amount: int, name: str) -> Step | None:
        """Returns the step that reserves so much of a payer, or None when it lacks funds or approval now."""
        known = self.journal.tx(name)
        if known is not None and known.state not in ("failed", "lost"):
            payload = Payload(known.recipient, known.data, known.gas)
            amount = self.token.amount_reserved(known.data)  # the part that was there then, it may be
        else:
            # a further one of the same settlement has to last longer than the one before, also in the same second
            before_s = self.token.reservation(item.party, item.account).expires_at_s
            expires_at_s = max(self.token.chain.head().timestamp_s + limits.RESERVATION_HOLD_S, before_s + 1)
            call = self.token.reserve(run.settlement_id, item.party, item.account, amount, expires_at_s)
            try:
                payload = self.token.payload(self.collector.address, call)
            except Refused as refused:
                if refused.name not in PAYER_PROBLEMS:
                    raise SettlementError(str(refused)) from refused
                return None
        wanted = item._replace(amount=amount)
        return Step(
            name=name,
            signer=self.collector,
            payload=payload,
            check=lambda receipt: self.token.lacks_reservation(receipt.logs, run.settlement_id, wanted),
        )

    def _fill_up(self, run: Run, item: Reservation) -> str:
        """Reserves what a payer has, and lets the treasury add the rest to it. Returns why not, or the empty string.

        What is added goes into the reservation, so a payer can never move it elsewhere.
        """
        held = self._held(run, item)
        if held is None:
            approved = self.token.allowance(item.account)
            if approved < item.amount:
                return f"owes {item.amount} nano-CPU and has approved {approved}"
            there = self.token.balance(item.account)
            if there >= item.amount:
                return ""  # came in meanwhile
            step = self._reserve_step(run, item, there, self._reserve_name(run, item))
            if step is None or self.driver.carry_out(run.run_id, [step])[step.name].state != "final":
                return ""  # moved away meanwhile: the next attempt sees what is left
            held = self._held(run, item)
            if held is None:
                raise SettlementError(f"the chain does not show the reservation of {item.party.id} that is final")
        missing = item.amount - held
        reference = self._reserve_name(run, item).removeprefix("reserve:")  # one top-up for each reservation
        shortage = Shortage(item.party, item.account, missing, reference, run.settlement_id)
        problem = self.top_up.fund(run.run_id, shortage)
        if not problem:
            self.tell(f"topped up the reservation of {item.party.role} {item.party.id} by {missing} nano-CPU")
        return problem

    # --- collecting and paying -------------------------------------------------------------------------------------

    def move_money(self, run: Run, facts: Facts | None, decided: Plan) -> dict[bytes, str]:
        """Moves what is not moved yet, and returns the transaction of each batch.

        Does so again as long as blocks of this run's transactions have gone meanwhile: then a reservation that was
        final is missing to the collection, or a collection to the payouts. `facts`: of a run that has not ended.
        """
        for _ in range(limits.REORG_ROUNDS_MAX):
            self.driver.renew(run.run_id)
            try:
                self._move_once(run, facts, decided)
                return self._tx_ids(run, decided)
            except (SettlementError, DriverError, ChainError):
                if not self.driver.renew(run.run_id):
                    raise
        raise SettlementError(
            f"blocks with this run's transactions have gone {limits.REORG_ROUNDS_MAX} times; run again when the chain "
            "is quiet: the same bytes go out again"
        )

    def _move_once(self, run: Run, facts: Facts | None, decided: Plan) -> None:
        if facts is not None:
            self._release_unused(run, facts, decided)
        if (seen := self.seen(run)) and seen.is_abandoned:
            return  # what it came to is all there is (`void.cut_if_abandoned`)
        committed = self.token.payout_lists(decided.payouts, self.payees_per_transaction)
        self.begin_settlement(run, decided, committed)
        started_s = self.timings.clock()
        self._settle_chunks(run, "collect", decided.collections, self.collections_per_transaction, committed)
        self.timings.since("collect", started_s)
        started_s = self.timings.clock()
        self._settle_chunks(run, "pay", decided.payouts, self.payees_per_transaction, committed)
        self.timings.since("pay", started_s)

    def begin_settlement(self, run: Run, decided: Plan, committed: PayoutLists) -> None:
        """Begins the settlement on the chain, which takes it only as the next one of the payouts account and from then
        on lets the account pay these lists and no others."""
        if not decided.collections and not decided.payouts:
            return
        name = f"begin:{run.settlement_id.hex()}"
        known = self.journal.tx(name)
        if known is not None and known.state not in ("failed", "lost"):
            payload = Payload(known.recipient, known.data, known.gas)
            wanted = self.token.begun_by(known.data)
        elif not self.unsettled(run, [*decided.collections, *decided.payouts]) or self._is_begun(run, committed):
            return  # by a transaction that a lost journal knew of, or of the account before; the chain may have gone on
        else:
            wanted = self._next(run, decided, committed)
            payload = self.checked_payload(self.collector, self.token.begin(wanted))
        step = Step(
            name=name,
            signer=self.collector,
            payload=payload,
            check=lambda receipt: self.token.lacks_begin(receipt.logs, wanted),
        )
        tx = self.driver.carry_out(run.run_id, [step])[name]
        if tx.state != "final" and not self._is_begun(run, committed):
            raise SettlementError(f"{name} is {tx.state}: {tx.detail}; run again to try again")

    def _next(self, run: Run, decided: Plan, committed: PayoutLists) -> SettlementBegun:
        """Returns this run's settlement as the chain's next one.

        Settlements that are no run's may stand behind the newest that is, and have used up numbers of rows: the chain's
        run ahead of the ledger's from then on. Behind anything else the contract refuses it.
        """
        at = self.token.settlement()
        before = self.journal.last_settled_row(run.run_id)
        is_behind_strangers = at.settlement_id in {seen.settlement_id for seen in self.strangers}
        first = at.last_row + 1 if is_behind_strangers or at.settlement_id == run.previous else before + 1
        return SettlementBegun(
            batch_id=run.settlement_id,
            account=self.token.payouts_account,
            previous=at.settlement_id if is_behind_strangers else run.previous,
            first_row=first,
            last_row=first + run.last_ingest - before - 1,
            collections=decided.collected,
            payouts=decided.paid,
            payouts_root=committed.root,
        )

    def _is_begun(self, run: Run, committed: PayoutLists) -> bool:
        """Whether the chain has begun this settlement. With other lists is an error: the plan was another one then."""
        found = self.token.settlement()
        if found.settlement_id != run.settlement_id:
            return False
        if found.payouts_root != committed.root:
            raise SettlementError(void.OTHER_PAYOUTS.format(settlement=run.settlement_id.hex()))
        return True

    def _settle_chunks(self, run: Run, kind: str, batches: Iterable[Batch], size: int, committed: PayoutLists) -> None:
        """Settles batches one transaction after the other: within a settlement the contract takes only ascending
        entities, so a transaction that fails behind one that does not could never be made up for."""
        for number, whole in enumerate(chunks(batches, size)):
            self.settle_chunk(run, kind, f"{kind}:{run.settlement_id.hex()}:{number}", whole, committed, number)

    def settle_chunk(
        self, run: Run, kind: str, name: str, whole: list[Batch], committed: PayoutLists, number: int = 0
    ) -> None:
        """Settles batches in one transaction, but for those that are settled: to collect, or to pay list `number`."""
        chunk = whole
        started_s = self.timings.clock()
        known = self.journal.tx(name)
        if known is not None and known.state not in ("failed", "lost"):
            payload = Payload(known.recipient, known.data, known.gas)
        else:  # what is settled is so by a transaction that a lost journal knew of
            chunk = self.unsettled(run, whole)
            if not chunk:
                return
            payload = self._payload(run, kind, chunk, committed, number)
        step = Step(
            name=name,
            signer=self.collector if kind == "collect" else self.payer,
            payload=payload,
            check=partial(self._lacks, [expected(run.settlement_id, batch) for batch in whole]),
        )
        tx = self.driver.carry_out(run.run_id, [step])[name]
        if tx.state != "final" and self.unsettled(run, chunk):
            raise SettlementError(
                f"{name} is {tx.state}: {tx.detail}. The chain shows no settlement by it; run again to try again"
            )
        for batch in chunk:
            self.timings.since(f"{batch.party.role}:{batch.party.id}", started_s)
            verb = "collected" if kind == "collect" else "paid"
            self.tell(
                f"{verb} {batch.commitment.amount_nano_cpu} nano-CPU for {batch.commitment.row_count} rows: "
                f"{batch.party.role} {batch.party.id}"
            )

    def _lacks(self, wanted: list[Settled], receipt: Receipt) -> str:
        """What is wrong with a receipt of a chunk: of some of it, when the others had been settled before."""
        found = settled_in(self.token.address, receipt.logs)
        if found and found == [item for item in wanted if item in found]:
            return ""
        return "its events are not the settlements that were asked"

    def _payload(self, run: Run, kind: str, chunk: list[Batch], committed: PayoutLists, number: int) -> Payload:
        if kind == "pay":
            return self.checked_payload(self.payer, self.token.pay(run.settlement_id, committed, number))
        for batch in chunk:
            item = Reservation(batch.party, batch.account, batch.commitment.amount_nano_cpu)
            if problem := self.reserve_again(run, item):
                raise SettlementError(
                    f"{batch.party.role} {batch.party.id}: its reservation has expired; {problem}. Run again to go on "
                    "without it"
                )
        return self.checked_payload(self.collector, self.token.collect(run.settlement_id, chunk))

    def checked_payload(self, signer: Signer, call: Call[None]) -> Payload:
        """Returns a call as a transaction's payload. Raises SettlementError when the contract would refuse it."""
        try:
            return self.token.payload(signer.address, call)
        except Refused as refused:
            raise SettlementError(str(refused)) from refused

    def unsettled(self, run: Run, chunk: list[Batch]) -> list[Batch]:
        """Returns those that the chain does not hold yet. Others in their place are an error."""
        logs = self._shown(run)
        found = {(item.settled.entity, item.settled.role): item.settled for item in logs}
        left = []
        for batch in chunk:
            wanted = expected(run.settlement_id, batch)
            settled = found.get((wanted.entity, wanted.role))
            if settled is None:
                left.append(batch)
            elif settled != wanted:
                raise SettlementError(
                    f"the chain holds another settlement of {batch.party.role} {batch.party.id} under this run's id "
                    "than the plan; nothing more is moved. cgn verify says which rows it stands for"
                )
        return left

    def _release_unused(self, run: Run, facts: Facts, decided: Plan) -> None:
        """Gives back what is held of payers that the plan does not collect from, flagged ones too: in this run or left
        by one that never came to its end."""
        collected = {batch.party for batch in decided.collections}
        unused = [
            (item.party, item.account)
            for item in reservations(facts.facts, facts.accounts, self.blocked())
            if item.party not in collected and item.account
        ]
        self._release(run, [place for place in unused if self.token.reservation(*place).is_open])

    def release_dropped(self, run: Run) -> None:
        """Gives back what a run has set aside whose place another one has: it will collect nothing."""
        self.driver.renew(run.run_id)
        reserving = [tx for tx in self.journal.txs(run.run_id) if tx.step.startswith("reserve:")]
        places = dict.fromkeys(self.token.reserved_of(tx.data) for tx in reserving)
        self._release(run, [place for place in places if self.token.reservation(*place).is_of(run.settlement_id)])

    def _release(self, run: Run, places: Iterable[tuple[Party, str]]) -> None:
        steps = []
        for party, account in places:
            place = self.token.reservation_id(party, account)
            payload = self.checked_payload(self.collector, self.token.release(party, account))
            name = f"release:{run.settlement_id.hex()}:{run.run_id}:{party.role}:{party.id}"
            steps.append(Step(name, self.collector, payload, partial(self._lacks_release, place)))
        for name, tx in self.driver.carry_out(run.run_id, steps).items():
            if tx.state != "final":
                raise DriverError(f"{name} is {tx.state}")

    def _lacks_release(self, reservation_id: bytes, receipt: Receipt) -> str:
        return self.token.lacks_release(receipt.logs, reservation_id)

    # --- what the ledger keeps -------------------------------------------------------------------------------------

    async def claim(self, run: Run) -> None:
        """Takes the place behind the settlement before, in the ledger: one settlement runs per ledger (P-11).

        Raises Conflict when another one has it: then nothing was collected, and catching up drops this run.
        """
        await self.store.begin_settlement(
            SettlementRecord(
                run.settlement_id,
                self.chain_id,
                self.token.address,
                run.period,
                run.first_ingest,
                run.last_ingest,
                run.previous,
                owner=self.owner,
                begun_ns=self.now_ns(),
            )
        )

    async def store_batches(self, run: Run, decided: Plan) -> None:
        """Stores the batches before any money moves: with them a lost journal can be made anew."""
        self.journal.at("store.batches.before")
        for batch in (*decided.collections, *decided.payouts):
            await self.store.put_batch(self.record(run, batch))
        self.journal.at("store.batches.after")

    def record(self, run: Run | SettlementRecord, batch: Batch) -> BatchRecord:
        """Returns a batch as the ledger keeps it."""
        return BatchRecord(
            batch_id=batch.batch_id,
            chain_id=self.chain_id,
            token=self.token.address,
            period=run.period,
            role=batch.party.role,
            public_id=batch.party.id,
            account=batch.account,
            first_ingest=run.first_ingest,
            last_ingest=run.last_ingest,
            previous=run.previous,
            row_count=batch.commitment.row_count,
            amount_nano_cpu=batch.commitment.amount_nano_cpu,
            xor=batch.commitment.xor,
            merkle_root=batch.commitment.merkle_root,
        )

    def seen(self, run: Run) -> OnChain | None:
        """Returns this run's settlement on the chain, where it has begun."""
        found = settlements(self.token, look_from(run), self.newest_block(run), run.settlement_id)
        return first_of(found, run.settlement_id)

    def _shown(self, run: Run) -> list[SettledLog]:
        """What the chain shows of this run's settlement, without what its payers have again."""
        seen = self.seen(run)
        return seen.settled if seen else self.token.settled(look_from(run), self.newest_block(run), run.settlement_id)

    def newest_block(self, run: Run) -> int:
        """Returns the head, or where our newest transaction stands: of several endpoints one may lag behind."""
        mined = (tx.block_number or 0 for tx in self.journal.txs(run.run_id))
        return max(self.token.chain.head().number, *mined, 0)

    def _tx_ids(self, run: Run, decided: Plan) -> dict[bytes, str]:
        """Returns the transaction of each batch, from the chain's events: all of the plan's, and no others."""
        if not decided.collections and not decided.payouts:
            return {}
        logs = self._shown(run)
        by_event = {(item.settled.entity, item.settled.role): item for item in logs}
        tx_ids = {}
        for batch in (*decided.collections, *decided.payouts):
            wanted = expected(run.settlement_id, batch)
            found = by_event.pop((wanted.entity, wanted.role), None)
            if found is None or found.settled != wanted:
                raise SettlementError(f"the chain shows no settlement of batch {batch.batch_id.hex()} as planned")
            tx_ids[batch.batch_id] = "0x" + found.tx_hash.hex()
        if by_event and not ((seen := self.seen(run)) and seen.is_abandoned):
            raise SettlementError("the chain shows settlements under this run's id that the plan does not have")
        return tx_ids

    async def mark(self, run: Run, decided: Plan, tx_ids: dict[bytes, str], *, is_newest: bool = True) -> None:
        """Marks every row for every party of it (P-10), and ends the settlement. Doing it again changes nothing.

        What an older run carried over may have been paid since, so only the newest says what is carried.
        """
        started_s = self.timings.clock()
        self.journal.at("store.marks.before")
        for batch in (*decided.collections, *decided.payouts):
            state = "collected" if batch.party.role in PAYING_ROLES else "paid"
            await self.store.mark(
                batch.party.role,
                batch.party.id,
                batch.row_ids,
                state=state,
                batch_id=batch.batch_id,
                tx_id=tx_ids[batch.batch_id],
            )
        for held in decided.carried if is_newest else ():
            await self.store.mark(held.party.role, held.party.id, held.row_ids, state="carried")
        if run.settles:
            await self.store.end_settlement(run.settlement_id, self.now_ns())
        self.journal.at("store.marks.after")
        self.timings.since("mark", started_s)

    def _report(self, run: Run, facts: Facts, decided: Plan, tx_ids: dict[bytes, str]) -> dict[str, Any]:
        """opening + collected + subsidies - paid = closing, against what the chain says (P-10); amounts in 1e-9 CPU."""
        subsidies = sum(
            batch.commitment.amount_nano_cpu for batch in decided.collections if batch.party.role == "subsidy"
        )
        collected = decided.collected - subsidies
        is_abandoned = any(held.reason == ABANDONED for held in (*decided.carried, *decided.pending))
        closing = self.token.balance(self.token.payouts_account)
        beside = void.beside(self, run, decided) if self.strangers or is_abandoned else 0
        expected_closing = run.opening + collected + subsidies - decided.paid + beside
        txs = [tx for tx in self.journal.txs(run.run_id) if tx.state == "final"]
        return {
            "period": run.period,
            "settlement_id": run.settlement_id.hex(),
            "first_ingest": run.first_ingest,
            "last_ingest": run.last_ingest,
            "opening": run.opening,
            "collected": collected,
            "subsidies": subsidies,
            "paid": decided.paid,
            "beside": beside,
            "closing": closing,
            "expected_closing": expected_closing,
            "carried_in": decided.carried_in,
            "carried": decided.carried_out,
            "balances": closing == expected_closing,
            "abandoned": is_abandoned,
            "collections": [self._line(batch, tx_ids) for batch in decided.collections],
            "payouts": [self._line(batch, tx_ids) for batch in decided.payouts],
            "held_back": [
                {"role": held.party.role, "id": held.party.id, "amount": held.amount, "rows": len(held.row_ids)}
                | {"reason": held.reason}
                for held in (*decided.carried, *decided.pending)
            ],
            "later": [{"row_id": fact.row_id, "ingest": fact.ingest} for fact in facts.later],
            "foreign": [row._asdict() for row in facts.foreign],
            "flagged": [{"role": party.role, "id": party.id} for party in sorted(run.unresolved or ())],
            "top_ups": self._top_ups(run, decided),
            "transactions": [_transaction(tx) for tx in txs],
            "gas_used": sum(tx.gas_used or 0 for tx in txs),
            "taken_ms": dict(self.timings.taken_ms),
        }

    def _top_ups(self, run: Run, decided: Plan) -> list[dict[str, Any]]:
        """What treasuries added for payers that were collected from, in this settlement and in all."""
        helped = places_helped(self.token, look_from(run), self.newest_block(run))
        lines = []
        for batch in decided.collections if helped else ():
            place = self.token.reservation_id(batch.party, batch.account)
            added = added_for(self.token, batch.party, batch.account) if place in helped else []
            total = sum(item.amount for item in added)
            lines += [
                {
                    "role": batch.party.role,
                    "id": batch.party.id,
                    "account": batch.account,
                    "amount": item.amount,
                    "total": total,
                    "tx_id": "0x" + item.tx_hash.hex(),
                }
                for item in added
                if item.place == place and item.is_of(run.settlement_id)
            ]
        return lines

    def _line(self, batch: Batch, tx_ids: dict[bytes, str]) -> dict[str, Any]:
        return {
            "role": batch.party.role,
            "id": batch.party.id,
            "account": batch.account,
            "amount": batch.commitment.amount_nano_cpu,
            "rows": batch.commitment.row_count,
            "batch_id": batch.batch_id.hex(),
            "tx_id": tx_ids[batch.batch_id],
            "taken_ms": self.timings.taken_ms.get(f"{batch.party.role}:{batch.party.id}", 0),
        }


def _transaction(tx: Tx) -> dict[str, Any]:
    assert tx.mined_hash is not None
    return {
        "step": tx.step.split(":", 1)[0],
        "tx_id": "0x" + tx.mined_hash.hex(),
        "block": tx.block_number,
        "gas_used": tx.gas_used,
    }
