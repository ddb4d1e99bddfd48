"""Settlements on the chain that are no run's: what they hold up is freed, what they took goes back (P-11, P-18).

Whoever has the collector's key alone can begin a settlement, abandon one, and collect what payers have approved into
the payouts account. It can pay nobody. Once its office is taken from it, a run puts right what it left behind:

- a settlement that is under way is abandoned, so that another can begin;
- what an abandoned settlement has collected goes back to its payers, but for what the run of that settlement planned;
- its rows are nobody's: the next settlement takes them. (The chain's numbers of rows run ahead of the ledger's then.)

The contract gives back only what the newest settlement took, and only if that was abandoned. What cannot go back stays
in the payouts account, and is said.
"""

from collections.abc import Set
from typing import TYPE_CHECKING

from cgn_sdk.keccak import keccak_256

from payouts.bindings.utility_token import Settled
from payouts.chain import Receipt
from payouts.core.rollup import Plan, cut
from payouts.driver import DriverError, Step
from payouts.errors import SettlementError
from payouts.facts import Facts
from payouts.journal import Run
from payouts.on_chain import OnChain, is_disowned, look_from, settlements
from payouts.token import ABANDONED, Refused, SettledLog, expected

if TYPE_CHECKING:
    from payouts.settlement import Settlement

NOTHING: frozenset[Settled] = frozenset()
OTHER_PAYOUTS = (
    "the chain began settlement {settlement} with other payouts than the plan has, or collected something else in it. "
    "Nothing was signed. If nobody here did that, somebody else has the collector's key: take its office "
    "(dismissCollector) and announce another; the run after that goes on by itself"
)


def undo_strangers(settlement: "Settlement", run: Run) -> None:
    """Puts right what whoever held the collector's key has begun (`Settlement.strangers`), and says so."""
    for seen in settlement.strangers:
        stays = undo(settlement, run.run_id, seen)
        rows = seen.begun.last_row + 1 - seen.begun.first_row
        money = "what it collected is back with its payers"
        if stays:
            money = f"{stays} nano-CPU that it collected stay in the payouts account: the contract returns them no more"
        settlement.tell(
            f"settlement {seen.settlement_id.hex()} (block {seen.block_number}, {rows} rows) is no run's: it was begun "
            "with the key of a collector that has been replaced since. It has paid nobody, "
            f"{money if seen.collected else 'and taken nothing'}; its rows are open"
        )


def cut_if_abandoned(settlement: "Settlement", run: Run, facts: Facts, decided: Plan) -> Plan:
    """Returns the plan, or what it came to when the chain's settlement of this run was abandoned.

    It is abandoned here where a collector that has been replaced since did something else in it than was planned.
    Raises SettlementError where the collector of now did.
    """
    batches = (*decided.collections, *decided.payouts)
    wanted = {expected(run.settlement_id, batch): batch.batch_id for batch in batches}
    seen = settlement.seen(run)
    if seen is None:
        return decided
    if not seen.is_abandoned:
        is_as_planned = wanted.keys() >= {item.settled for item in seen.settled}
        if is_as_planned and settlement.is_begun_so(seen.begun, decided):
            return decided
        if seen.has_paid(wanted.keys()) or not is_disowned(settlement.token, seen):
            raise SettlementError(OTHER_PAYOUTS.format(settlement=run.settlement_id.hex()))
    stays = undo(settlement, run.run_id, seen, wanted.keys())
    seen = settlement.seen(run) or seen
    settled = frozenset(wanted[item.settled] for item in seen.settled if item.settled in wanted)
    beside = f"; {stays} nano-CPU that were collected beside it stay in the payouts account" if stays else ""
    settlement.tell(
        f"settlement {run.settlement_id.hex()} of this run was abandoned: {len(settled)} of its {len(wanted)} batches "
        f"count, the rows of the others are open again{beside}"
    )
    decided = cut(facts.facts, decided, settled, keccak_256)
    settlement.journal.cut(run.run_id, decided)
    return decided


def beside(settlement: "Settlement", run: Run, decided: Plan) -> int:
    """Returns what came into the payouts account since a run began by no plan of it, less what went back to payers; in
    1e-9 CPU."""
    planned = {expected(run.settlement_id, batch) for batch in decided.collections}
    came = went = 0
    for seen in settlements(settlement.token, look_from(run), settlement.newest_block(run)):
        for item in (*seen.collected, *(taken for taken, _ in seen.returned)):
            if item.block_number > run.opening_block and item.settled not in planned:
                came += item.settled.amount
        for taken, (block_number, _) in seen.returned:
            went += taken.settled.amount if block_number > run.opening_block else 0
    return came - went


def undo(settlement: "Settlement", run_id: int, seen: OnChain, keep: Set[Settled] = NOTHING) -> int:
    """Abandons a settlement that is under way and gives back what it collected, but for `keep`.

    Returns what stays in the payouts account all the same, in 1e-9 CPU. Raises what the driver raises.
    """
    token = settlement.token
    stray = [item for item in seen.collected if item.settled not in keep]
    after = settlements(token, seen.block_number, token.chain.head().number)
    is_newest = bool(after) and after[-1].place == seen.place and seen.begun.account == token.payouts_account
    if not is_newest:
        return _sum(stray)
    at = token.settlement()
    if at.payouts_root != ABANDONED and (at.uncollected or at.unpaid):
        _abandon(settlement, run_id, seen)
        at = token.settlement()
    if at.payouts_root != ABANDONED:
        return _sum(stray)
    return _sum([item for item in stray if not _give_back(settlement, run_id, item.settled)])


def _sum(items: list[SettledLog]) -> int:
    return sum(item.settled.amount for item in items)


def _abandon(settlement: "Settlement", run_id: int, seen: OnChain) -> None:
    def lacks(receipt: Receipt) -> str:
        return settlement.token.lacks_abandonment(receipt.logs, seen.settlement_id)

    name = f"abandon:{seen.settlement_id.hex()}:{run_id}"
    payload = settlement.checked_payload(settlement.collector, settlement.token.abandon(seen.settlement_id))
    _carry_out(settlement, run_id, Step(name, settlement.collector, payload, lacks))


def _give_back(settlement: "Settlement", run_id: int, taken: Settled) -> bool:
    """Returns whether it went back. The contract keeps what it took of a payer only until that payer's next
    reservation, and the collector may have made one."""

    def lacks(receipt: Receipt) -> str:
        return settlement.token.lacks_return(receipt.logs, taken)

    try:
        payload = settlement.token.payload(settlement.payer.address, settlement.token.give_back(taken))
    except Refused as refused:
        if refused.name != "UnknownReservation":
            raise DriverError(str(refused)) from refused
        return False
    name = f"return:{taken.batch_id.hex()}:{run_id}:{taken.role}:{taken.entity.hex()}"
    _carry_out(settlement, run_id, Step(name, settlement.payer, payload, lacks))
    return True


def _carry_out(settlement: "Settlement", run_id: int, step: Step) -> None:
    tx = settlement.driver.carry_out(run_id, [step])[step.name]
    if tx.state != "final":
        raise DriverError(f"{step.name} is {tx.state}: {tx.detail}; run again to try again")
