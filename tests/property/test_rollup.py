"""Money of a payout run, over random rows, deals and shortages (P-6 to P-10, L-5)."""

import base64
from collections import Counter
from collections.abc import Mapping

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import Scope, batch_id, commit, entity_on_chain, settlement_id
from hypothesis import given
from hypothesis import strategies as st

from payouts.core.rollup import ROLE_NUMBERS, Fact, Party, Plan, Share, cut, plan, remaining, reservations

SCOPE = Scope(31337, "0x" + "7" * 40, "2026-11-21")
SETTLEMENT = settlement_id(SCOPE, 1, 99, bytes(32), keccak_256)
BLOCKED = frozenset({SCOPE.token})


def public_id(number: int) -> str:
    return "p" + base64.b32encode(keccak_256(b"id%d" % number)[:16])[:26].decode().lower()


def address(number: int) -> str:
    return "0x" + keccak_256(b"account%d" % number)[:20].hex()


PAYERS = [Party("enterprise", public_id(0)), Party("enterprise", public_id(1)), Party("subsidy", public_id(2))]
PAYEES = [
    Party(role, public_id(3 + n)) for n, role in enumerate(["contributor", "contributor", "developer", "operator"])
] + [Party("charity", public_id(0))]  # an entity may pay in one role and be paid in another
ACCOUNTS = {public_id(number): address(number) for number in range(3 + len(PAYEES))}

amounts = st.one_of(st.integers(0, 3), st.integers(0, 10**6), st.integers(0, 10**18))


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    found = []
    for ingest in range(1, draw(st.integers(0, 14)) + 1):
        payees = draw(st.lists(st.sampled_from(PAYEES), min_size=1, max_size=4, unique=True))
        payouts = tuple(Share(party, draw(amounts)) for party in sorted(payees))
        total = sum(share.amount for share in payouts)
        if draw(st.booleans()):
            first = draw(st.integers(0, total))
            payers = draw(st.permutations(PAYERS))[:2]
            pay_in = tuple(sorted([Share(payers[0], first), Share(payers[1], total - first)]))
        else:
            pay_in = (Share(draw(st.sampled_from(PAYERS)), total),)
        if draw(st.integers(0, 4)) == 0:
            pay_in = ()  # collected in an earlier run
        row_hash = keccak_256(b"row%d" % ingest)
        found.append(Fact.of(ingest, row_hash[:16].hex(), row_hash, pay_in, payouts))
    return draw(st.permutations(found))


unresolved_sets = st.sets(st.sampled_from(PAYERS)).map(frozenset)


def settle(
    rows: list[Fact],
    unresolved: frozenset[Party],
    minimum: int = 0,
    accounts: Mapping[str, str] = ACCOUNTS,
) -> Plan:
    return plan(
        rows,
        unresolved=unresolved,
        accounts=accounts,
        minimum_payout=minimum,
        settlement_id=SETTLEMENT,
        blocked=BLOCKED,
        keccak=keccak_256,
    )


@given(facts(), unresolved_sets, amounts)
def test_pay_in_is_payouts_and_carried_to_the_unit(
    rows: list[Fact], unresolved: frozenset[Party], minimum: int
) -> None:
    """P-10. Counted here from the rows, not from what the plan says of itself."""
    result = settle(rows, unresolved, minimum)
    by_id = {fact.row_id: fact for fact in rows}
    collected = sum(
        share.amount
        for batch in result.collections
        for row_id in batch.row_ids
        for share in by_id[row_id].pay_in
        if share.party == batch.party
    )
    paid = sum(
        share.amount
        for batch in result.payouts
        for row_id in batch.row_ids
        for share in by_id[row_id].payouts
        if share.party == batch.party
    )
    assert collected == result.collected == sum(batch.commitment.amount_nano_cpu for batch in result.collections)
    assert paid == result.paid
    assert collected + result.carried_in == paid + result.carried_out


@given(facts(), unresolved_sets, amounts)
def test_nobody_is_paid_from_money_that_was_not_collected(
    rows: list[Fact], unresolved: frozenset[Party], minimum: int
) -> None:
    """P-7, P-8: a row with a payer that could not reserve is in no batch of anybody, and comes back whole."""
    result = settle(rows, unresolved, minimum)
    blocked = {fact.row_id for fact in rows if any(s.amount and s.party in unresolved for s in fact.pay_in)}
    settled = {row_id for batch in (*result.collections, *result.payouts) for row_id in batch.row_ids}
    assert not blocked & settled
    assert not {batch.party for batch in result.collections} & unresolved
    left = {fact.row_id: fact for fact in remaining(rows, result)}
    assert all(left[fact.row_id] == fact for fact in rows if fact.row_id in blocked)


@given(facts(), unresolved_sets, amounts)
def test_every_share_is_settled_once_or_left_open(rows: list[Fact], unresolved: frozenset[Party], minimum: int) -> None:
    result = settle(rows, unresolved, minimum)
    settled = Counter(
        (row_id, batch.party) for batch in (*result.collections, *result.payouts) for row_id in batch.row_ids
    )
    left = Counter(
        (fact.row_id, share.party) for fact in remaining(rows, result) for share in (*fact.pay_in, *fact.payouts)
    )
    everything = Counter((fact.row_id, s.party) for fact in rows for s in (*fact.pay_in, *fact.payouts))
    assert settled + left == everything
    assert all(fact.payers or fact.payees for fact in remaining(rows, result)), "a row that is settled is no fact"
    assert max((settled + left).values(), default=1) == 1


@given(facts(), unresolved_sets, amounts, st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_order(rows, unresolved, minimum, random) -> None:
    """P-11: a second run over the same facts decides the same, whatever order a store gave them in."""
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert settle(shuffled, unresolved, minimum) == settle(rows, unresolved, minimum)


@given(facts(), unresolved_sets)
def test_what_is_left_settles_in_the_next_run(rows: list[Fact], unresolved: frozenset[Party]) -> None:
    """Carried and pending rows of one run and the next one together settle each share that has an amount exactly once."""
    first = settle(rows, unresolved, minimum=10**6)
    left = remaining(rows, first)
    second = settle(list(left), frozenset())
    assert second.carried_in == first.carried_out
    final = remaining(left, second)
    assert not [share for fact in final for share in (*fact.pay_in, *fact.payouts) if share.amount]
    assert second.carried_out == 0


@given(facts())
def test_commitments_are_over_the_rows_of_the_batch(rows: list[Fact]) -> None:
    """L-5, and the batch id follows from the event's three topics."""
    by_id = {fact.row_id: fact for fact in rows}
    result = settle(rows, frozenset())
    for batch in (*result.collections, *result.payouts):
        hashes = sorted(by_id[row_id].row_hash for row_id in batch.row_ids)
        assert list(batch.row_hashes) == hashes
        assert [by_id[row_id].row_hash for row_id in batch.row_ids] == hashes
        assert batch.commitment == commit(hashes, batch.commitment.amount_nano_cpu, keccak_256)
        role = ROLE_NUMBERS[batch.party.role]
        assert batch.batch_id == batch_id(SETTLEMENT, entity_on_chain(batch.party.id), role, keccak_256)


@given(facts(), unresolved_sets)
def test_what_is_reserved_covers_what_is_collected(rows: list[Fact], unresolved: frozenset[Party]) -> None:
    reserved = {item.party: item.amount for item in reservations(rows, ACCOUNTS, BLOCKED)}
    for batch in settle(rows, unresolved).collections:
        assert batch.commitment.amount_nano_cpu <= reserved[batch.party]
    if not unresolved:
        collections = settle(rows, unresolved).collections
        assert {batch.party: batch.commitment.amount_nano_cpu for batch in collections} == reserved


@given(facts(), unresolved_sets, amounts, st.data())
def test_a_plan_that_was_given_up_loses_nothing(
    rows: list[Fact], unresolved: frozenset[Party], minimum: int, data: st.DataObject
) -> None:
    """Some of the collections happened, or all and some of the payouts; what the next run does makes it whole, to the
    unit, and nobody is collected from or paid twice."""
    fixed = settle(rows, unresolved, minimum)
    batches = [batch.batch_id for batch in (*fixed.collections, *fixed.payouts)]
    settled = frozenset(batches[: data.draw(st.integers(0, len(batches)))])
    came_to = cut(rows, fixed, settled, keccak_256)
    assert {batch.batch_id for batch in (*came_to.collections, *came_to.payouts)} == settled
    left = remaining(rows, came_to)
    held = {(held.party, row_id) for held in (*came_to.carried, *came_to.pending) for row_id in held.row_ids}
    assert held == {(party, fact.row_id) for fact in left for party in (fact.payers if fact.owed else fact.payees)}
    again = settle(list(left), frozenset())
    assert came_to.paid + again.paid + again.carried_out == sum(fact.due for fact in rows)
    assert came_to.collected + again.collected == sum(fact.owed for fact in rows)
    if settled == frozenset(batches):
        assert (came_to.collections, came_to.payouts) == (fixed.collections, fixed.payouts)
    assert (came_to.plan_hash == fixed.plan_hash) == (
        (came_to.collections, came_to.payouts, came_to.carried, came_to.pending)
        == (fixed.collections, fixed.payouts, fixed.carried, fixed.pending)
    )
