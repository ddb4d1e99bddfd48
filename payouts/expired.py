"""A payer whose funds are not set aside any more when its turn comes, behind a plan that is fixed (P-7, P-11).

A run may lie still until reservations expire, and a reorganisation may take one away. Whoever can set aside again what
it owes does so, with the treasury's help as ever. When one cannot, the settlement cannot pay its lists, which are over
that payer's rows too, and nobody is to wait for one payer. So it is given up, by this rule:

- everybody else is collected from;
- the settlement is abandoned on the chain, and what is still held of the payer goes back to it;
- what was collected is carried for its beneficiaries, and paid by the next settlement, which follows at once;
- the rows of the payer that lacks funds are open again: that settlement flags it, as any.
"""

from typing import TYPE_CHECKING

from payouts import void
from payouts.core.rollup import Party, Plan, Reservation
from payouts.journal import Run
from payouts.token import chunks, expected

if TYPE_CHECKING:
    from payouts.settlement import Settlement


def give_up_if_expired(settlement: "Settlement", run: Run, decided: Plan) -> bool:
    """Gives a settlement up when a payer that it collects from has let its reservation go. Returns whether it did.

    Raises what the driver raises, and SettlementError; done again after a crash it comes to the same.
    """
    settlement.driver.renew(run.run_id)
    seen = settlement.seen(run)
    if seen is not None and seen.is_abandoned:
        return False
    left = settlement.unsettled(run, list(decided.collections))
    lacking = _lacking(settlement, run, decided, {batch.party for batch in left})
    if not lacking:
        return False
    for party, problem in sorted(lacking.items()):
        settlement.tell(
            f"FLAGGED {party.role} {party.id}: its reservation has expired; {problem}; its rows stay pending"
        )
    settlement.tell(
        f"settlement {run.settlement_id.hex()[:16]} is given up: the others are collected from in it, and the next one "
        "pays their rows"
    )
    committed = settlement.token.payout_lists(decided.payouts, settlement.payees_per_transaction)
    settlement.begin_settlement(run, decided, committed)
    for [batch] in chunks(left, 1):
        if batch.party not in lacking:
            name = f"collect:{run.settlement_id.hex()}:{batch.party.role}:{batch.party.id}"
            settlement.settle_chunk(run, "collect", name, [batch], committed)
    seen = settlement.seen(run)
    assert seen is not None, "it has begun"
    void.undo(settlement, run.run_id, seen, {expected(run.settlement_id, batch) for batch in decided.collections})
    return True


def _lacking(settlement: "Settlement", run: Run, decided: Plan, parties: set[Party]) -> dict[Party, str]:
    """Those who cannot set aside again what they owe, and why."""
    lacking = {}
    for batch in decided.collections:
        if batch.party in parties:
            item = Reservation(batch.party, batch.account, batch.commitment.amount_nano_cpu)
            if problem := settlement.reserve_again(run, item):
                lacking[batch.party] = problem
    return lacking
