"""Which rows wait, and for whom (P-9): a row is collected whole or not at all, and what waits is held against the party
that owes it and nobody else."""

import base64

import pytest
from cgn_sdk.keccak import keccak_256

from payouts.core.rollup import Fact, Party, Plan, Share, plan


def public_id(number: int) -> str:
    return "p" + base64.b32encode(number.to_bytes(16, "big"))[:26].decode().lower()


PAYER, SUBSIDY, PAYEE = (
    Party("enterprise", public_id(1)),
    Party("subsidy", public_id(2)),
    Party("contributor", public_id(3)),
)
ACCOUNTS = {party.id: "0x" + f"{n + 1:040x}" for n, party in enumerate([PAYER, SUBSIDY, PAYEE])}


def row(number: int, *pay_in: Share) -> Fact:
    total = sum(share.amount for share in pay_in)
    return Fact.of(number, f"{number:032x}", keccak_256(b"%d" % number), pay_in, (Share(PAYEE, total),))


def settle(*rows: Fact, unresolved: frozenset[Party] = frozenset()) -> Plan:
    return plan(
        rows,
        unresolved=unresolved,
        accounts=ACCOUNTS,
        minimum_payout=0,
        settlement_id=b"s" * 32,
        blocked=frozenset(),
        keccak=keccak_256,
    )


def test_a_row_that_stands_twice_is_refused_and_not_paid_twice() -> None:
    twice = row(1, Share(PAYER, 5))
    with pytest.raises(ValueError, match="stands in the facts twice"):
        settle(twice, row(2, Share(PAYER, 1)), Fact.of(3, twice.row_id, twice.row_hash, twice.pay_in, twice.payouts))


def test_what_waits_is_held_against_the_one_that_owes_it() -> None:
    rows = (
        row(1, Share(PAYER, 60), Share(SUBSIDY, 40)),
        row(2, Share(PAYER, 10)),
        row(3, Share(PAYER, 5), Share(SUBSIDY, 0)),
    )
    result = settle(*rows, unresolved=frozenset({SUBSIDY}))
    unresolved = [(held.party, held.amount, held.row_ids) for held in result.pending if held.reason == "unresolved"]
    assert unresolved == [(SUBSIDY, 40, (rows[0].row_id,))]
    assert [(batch.party, batch.commitment.amount_nano_cpu) for batch in result.collections] == [(PAYER, 15)]
    assert [(batch.party, batch.commitment.amount_nano_cpu) for batch in result.payouts] == [(PAYEE, 15)]


def test_nobody_waits_when_everybody_could_reserve() -> None:
    result = settle(row(1, Share(PAYER, 60), Share(SUBSIDY, 40)))
    assert result.pending == ()
    assert sum(batch.commitment.amount_nano_cpu for batch in result.collections) == 100
