"""Edges of the rollup that random rows seldom meet (P-8, P-10)."""

import base64

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import MAX_PAYOUTS

from payouts.core import rollup
from payouts.core.rollup import MAX_BATCH_AMOUNT, Fact, Party, Plan, Share, plan, reservations, usable_address


def public_id(number: int) -> str:
    return "p" + base64.b32encode(number.to_bytes(16, "big"))[:26].decode().lower()


PAYER, PAYEE, OTHER = (
    Party("enterprise", public_id(1)),
    Party("contributor", public_id(2)),
    Party("developer", public_id(3)),
)
ACCOUNTS = {party.id: "0x" + f"{n + 1:040x}" for n, party in enumerate([PAYER, PAYEE, OTHER])}
BLOCKED = frozenset({"0x" + "7" * 40})


def row(number: int, *shares: Share, collected: bool = False) -> Fact:
    total = sum(share.amount for share in shares)
    pay_in = () if collected else (Share(PAYER, total),)
    return Fact.of(number, f"{number:032x}", keccak_256(b"%d" % number), pay_in, shares)


def settle(*rows: Fact, accounts: dict[str, str] = ACCOUNTS, minimum: int = 0) -> Plan:
    return plan(
        rows,
        unresolved=frozenset(),
        accounts=accounts,
        minimum_payout=minimum,
        settlement_id=b"s" * 32,
        blocked=BLOCKED,
        keccak=keccak_256,
    )


def test_below_the_minimum_is_carried_until_enough_has_come_together() -> None:
    """P-8."""
    first = settle(row(1, Share(PAYEE, 40), Share(OTHER, 60)), minimum=50)
    assert [(held.party, held.amount, held.reason) for held in first.carried] == [(PAYEE, 40, "minimum")]
    again = settle(row(1, Share(PAYEE, 40), collected=True), row(2, Share(PAYEE, 10)), minimum=50)
    assert [(batch.party, batch.commitment.amount_nano_cpu) for batch in again.payouts] == [(PAYEE, 50)]
    assert (again.carried_in, again.collected, again.carried) == (40, 10, ())


@pytest.mark.parametrize(
    "bad", ["", "0x", "0x" + "0" * 40, "0x" + "g" * 40, "0x" + "1" * 39, "0x" + "7" * 40, "0X" + "1" * 40 + "\n"]
)
def test_a_payee_that_would_make_the_whole_transaction_fail_is_carried(bad: str) -> None:
    """Bad input: zero address, the contract itself, no address at all."""
    result = settle(row(1, Share(PAYEE, 4), Share(OTHER, 6)), accounts={**ACCOUNTS, PAYEE.id: bad})
    assert [(held.party, held.reason) for held in result.carried] == [(PAYEE, "address")]
    assert [batch.party for batch in result.payouts] == [OTHER]


def test_a_second_spelling_of_an_entity_is_not_paid() -> None:
    """26 characters of base32 hold two bits more than an id: two texts would be one entity on chain."""
    twin = Party(PAYEE.role, PAYEE.id[:-1] + chr(ord(PAYEE.id[-1]) + 1))
    result = settle(row(1, Share(PAYEE, 4), Share(twin, 6)), accounts={**ACCOUNTS, twin.id: "0x" + "9" * 40})
    assert [(held.party, held.reason) for held in result.carried] == [(twin, "address")]


def test_amounts_beyond_one_word_are_carried_rather_than_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """2^33 rows of the highest amount would do it; here the word is smaller."""
    assert MAX_BATCH_AMOUNT == 2**96 - 1
    monkeypatch.setattr(rollup, "MAX_BATCH_AMOUNT", 2**64 - 2)
    result = settle(row(1, Share(PAYEE, 2**64 - 1)), row(2, Share(OTHER, 2**64 - 2)))
    assert [(held.party, held.reason) for held in result.carried] == [(PAYEE, "too_large")]
    assert [batch.party for batch in result.payouts] == [OTHER]


def test_nothing_to_settle_makes_no_batch() -> None:
    """A row that cost nothing waits: no transaction of amount 0 is ever made."""
    result = settle(row(1, Share(PAYEE, 0)))
    assert (result.collections, result.payouts) == ((), ())
    assert [held.reason for held in (*result.carried, *result.pending)] == ["nothing", "nothing"]
    assert reservations([row(1, Share(PAYEE, 0))], ACCOUNTS, BLOCKED) == ()


def test_facts_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="more is to be collected"):
        Fact.of(1, "00" * 16, bytes(32), (Share(PAYER, 3),), (Share(PAYEE, 2),))
    with pytest.raises(ValueError, match="out of bounds"):
        Fact.of(1, "00" * 16, bytes(32), (), (Share(PAYEE, -1), Share(OTHER, 1)))
    with pytest.raises(ValueError, match="out of bounds"):
        Fact.of(1, "00" * 16, bytes(32), (), (Share(PAYEE, 2**64),))
    with pytest.raises(ValueError, match="out of bounds"):
        Fact.of(1, "00" * 16, bytes(32), (), [Share(PAYEE, 1)] * (2 * MAX_PAYOUTS + 1))
    with pytest.raises(ValueError, match="twice"):
        settle(row(1, Share(PAYEE, 1)), row(1, Share(PAYEE, 1)))


def test_addresses_are_compared_in_lower_case() -> None:
    assert usable_address("0x" + "AB" * 20, frozenset()) == "0x" + "ab" * 20
    assert usable_address("0x" + "AB" * 20, frozenset({"0x" + "ab" * 20})) == ""
    assert usable_address(None, frozenset()) == ""
