"""One body of tests for both ledger stores, in this process and in one of their own (L-3, L-4, L-6, L-7, P-10). Each test gets an empty ledger."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.loss import SPOOL, Loss
from cgn_sdk.protocol.row import MAX_AMOUNT, PayIn, Payout, Row, RowError, public_preimage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import initialise, limits, open_store
from ledger.port import BatchRecord, Conflict, RowPayment, SettlementRecord, Store, StoredRow, Total

MakeRow = Callable[..., Row]


Opening = Callable[[], Awaitable[Store]]


@pytest.fixture(
    params=["sqlite", "sqlite apart", pytest.param("elasticsearch", marks=pytest.mark.engine("elasticsearch"))]
)
async def opening(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opening]:
    """Opens the ledger of this test, again and again; `apart`: in a process of its own."""
    if request.param.startswith("sqlite"):
        yield partial(open_store, f"sqlite:///{tmp_path}/ledger.db", apart=request.param.endswith("apart"))
        return
    prefix = f"test-{random.SystemRandom().getrandbits(48):012x}"
    server = request.getfixturevalue("elasticsearch_url")
    await initialise(f"{server}/{prefix}")
    yield partial(open_store, f"{server}/{prefix}")
    await remove_indices(server, prefix)


async def remove_indices(server: str, prefix: str) -> None:
    from elasticsearch import AsyncElasticsearch

    async with AsyncElasticsearch(server) as client:
        names = list((await client.indices.get(index=f"{prefix}-*")).body)
        await client.indices.delete(index=names)
        await client.indices.delete_index_template(name=f"{prefix}-rows")


@pytest.fixture
async def store(opening: Opening) -> AsyncIterator[Store]:
    opened = await opening()
    yield opened
    await opened.close()


async def everything(store: Store) -> list[StoredRow]:
    found: list[StoredRow] = []
    while page := await store.read(found[-1].ingest if found else 0, 7):
        found += page
    return found


async def test_an_empty_ledger(store: Store) -> None:
    assert await store.head() == 0
    assert await store.read(0, 10) == []
    assert await store.totals(1, 10) == []
    assert await store.get("0" * 32) is None
    assert await store.payment_state("0" * 32) == []
    assert await store.get_batches() == []
    assert await store.get_batch(bytes(32)) is None
    assert await store.batch_of("0" * 32, "operator", "p" + "a" * 26) is None
    assert [row async for row in store.entity_rows("operator", "p" + "a" * 26, 1, 10)] == []
    assert [row async for row in store.batch_rows(bytes(32))] == []


async def test_rows_come_back_as_they_were_in_order_and_numbered(store: Store, make_row: MakeRow) -> None:
    rows = [make_row(n, parts={"custom": {"user": f"Zoë {n}"}, "service": {"n": n}}) for n in (5, 3, 9, 1)]
    await store.append(rows[:3])
    await store.append(rows[3:])
    stored = await everything(store)
    assert [row.ingest for row in stored] == [1, 2, 3, 4]
    assert [row.verified(keccak_256) for row in stored] == rows
    assert stored[0].public == dict(rows[0].public)
    assert stored[0].private["parts"]["custom"] == {"user": "Zoë 5"}
    assert await store.head() == 4
    got = await store.get(rows[2].row_id)
    assert got is not None
    assert got.verified(keccak_256) == rows[2]
    assert got.ingest == 3


async def test_the_nodes_signature_comes_back_with_the_row(store: Store, make_row: MakeRow) -> None:
    """L-12: what binds a row before any settlement does; rows of an older program have none."""
    signed, plain = make_row(1).signed(bytes(range(64))), make_row(2)
    await store.append([signed, plain])
    assert [row.node_signature for row in await everything(store)] == [bytes(range(64)), b""]
    assert [row.verified(keccak_256) for row in await everything(store)] == [signed, plain]
    got = await store.get(signed.row_id)
    assert got is not None
    assert got.node_signature == signed.node_signature


async def test_row_hashes(store: Store, make_row: MakeRow) -> None:
    rows = [make_row(n) for n in range(1, 8)]
    await store.append(rows)
    found = await store.row_hashes(0, 5) + await store.row_hashes(5, 5)
    assert [tuple(row) for row in found] == [(n, row.row_id, row.row_hash) for n, row in enumerate(rows, 1)]
    assert await store.row_hashes(7, 5) == []
    with pytest.raises(ValueError, match="at once"):
        await store.row_hashes(0, 10**9)


async def test_reading_pages(store: Store, make_row: MakeRow) -> None:
    await store.append([make_row(n) for n in range(1, 8)])
    assert [row.ingest for row in await store.read(2, 3)] == [3, 4, 5]
    assert [row.ingest for row in await store.read(6, 100)] == [7]
    assert await store.read(7, 100) == []
    assert await store.read(0, 0) == []
    with pytest.raises(ValueError, match="at once"):
        await store.read(0, 10**9)


async def test_a_duplicate_is_one_row(store: Store, make_row: MakeRow) -> None:
    """L-4: within one call, in a later one, and beside new ones."""
    one, two, three = make_row(1), make_row(2), make_row(3)
    await store.append([one, two, one])
    await store.append([two, three, one])
    await store.append([three])
    assert [row.row_id for row in await everything(store)] == [one.row_id, two.row_id, three.row_id]
    assert sum(total.row_count for total in await store.totals(1, 10)) == 3 * 4


async def test_a_row_id_with_another_hash_is_refused_and_nothing_stored(store: Store, make_row: MakeRow) -> None:
    await store.append([make_row(1)])
    another_partition = {"event_time_ns": 1_500_000_000_000_000_000}
    for change in ({"fee_nano_eur": 2_000}, another_partition):
        with pytest.raises(Conflict):
            await store.append([make_row(2), make_row(1, **change), make_row(3)])
        assert [row.row_id for row in await everything(store)] == [make_row(1).row_id]
        with pytest.raises(Conflict):
            await store.append([make_row(4), make_row(4, **change)])
    assert await store.head() == 1


@pytest.mark.parametrize("place", [0, 3, 6])
async def test_a_long_append_with_a_refused_row_stores_nothing(
    store: Store, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Wherever it stands: longer than what the store handles in one step."""
    monkeypatch.setattr(limits, "PORTION_ROWS", 3)
    rows = [make_row(n) for n in range(1, 8)]
    await store.append([rows[place]])
    changed = [*rows[:place], make_row(place + 1, fee_nano_eur=2_000), *rows[place + 1 :]]
    with pytest.raises(Conflict):
        await store.append(changed)
    assert await store.head() == 1
    await store.append(rows)
    assert [row.row_id for row in await everything(store)][1:] == [
        row.row_id for number, row in enumerate(rows) if number != place
    ]


async def test_a_row_whose_money_or_hash_is_wrong_is_not_stored(store: Store, make_row: MakeRow) -> None:
    """L-1: enforced when stored, whoever made the object."""
    sound = make_row(1)
    columns = {**sound.public, "usage_fee_nano_cpu": "1"}
    text = public_preimage(columns)
    wrong_money = replace(sound, public=columns, public_json=text, row_hash=keccak_256(text))
    wrong_hash = replace(sound, row_hash=bytes(32))
    for wrong, rule in ((wrong_money, "not the same amount"), (wrong_hash, "hash")):
        with pytest.raises(RowError) as caught:
            await store.append([make_row(2), wrong])
        assert rule in str(caught.value), str(caught.value)
    assert await store.head() == 0


async def test_a_row_from_a_clock_that_was_wrong_is_not_stored(
    store: Store, opening: Callable[..., Awaitable[Store]], make_row: MakeRow
) -> None:
    """P-6: bounds at n and n + 1, named by row; without a clock nothing is bounded (an import of old rows)."""
    now_ns = 1_795_250_000_000_000_000
    ahead_ns, behind_ns = limits.ROW_AHEAD_S * 10**9, limits.ROW_BEHIND_S * 10**9
    bounded = await opening(now_ns=lambda: now_ns)
    try:
        inside = [make_row(1, event_time_ns=now_ns + ahead_ns), make_row(2, event_time_ns=now_ns - behind_ns)]
        await bounded.append(inside)
        for time_ns, word in ((now_ns + ahead_ns + 1, "ahead of"), (now_ns - behind_ns - 1, "behind")):
            outside = make_row(4, event_time_ns=time_ns)
            with pytest.raises(RowError, match=rf"{outside.row_id}, event_time_ns: is .* {word} the ledger's clock"):
                await bounded.append([make_row(3), outside])
        assert await bounded.head() == 2
    finally:
        await bounded.close()
    await store.append([outside])
    assert await store.head() == 3


async def test_it_is_all_there_after_opening_again(store: Store, opening: Opening, make_row: MakeRow) -> None:
    await store.append([make_row(n) for n in range(1, 6)])
    await store.close()
    again = await opening()
    try:
        assert await again.head() == 5
        await again.append([make_row(5), make_row(6)])
        assert [row.ingest for row in await everything(again)] == [1, 2, 3, 4, 5, 6]
    finally:
        await again.close()


async def test_two_writers_share_one_numbering(store: Store, opening: Opening, make_row: MakeRow) -> None:
    """Numbers without gaps or repeats although two open stores append at once, some rows by both."""
    other = await opening()
    try:
        mine = [store.append([make_row(n) for n in range(first, first + 6)]) for first in range(1, 50, 4)]
        others = [other.append([make_row(n) for n in range(first, first + 6)]) for first in range(3, 50, 4)]
        await asyncio.gather(*mine, *others)
        stored = await everything(store)
        assert [row.ingest for row in stored] == list(range(1, len(stored) + 1))
        assert len({row.row_id for row in stored}) == len(stored) == 54
        assert [row.row_hash for row in stored] == [row.row_hash for row in await everything(other)]
    finally:
        await other.close()


def expected_totals(rows: list[Row]) -> list[Total]:
    """The same sums, in the plainest way there is."""
    sums: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        for entry in [*row.public["pay_in"], *row.public["payouts"]]:
            of = sums.setdefault((entry["role"], entry["id"]), [0, 0, 0])
            of[0] += 1
            of[1] += int(entry["amount_nano_cpu"])
            of[2] += int(entry.get("amount_nano_eur", "0"))
    return [Total(*key, *values) for key, values in sorted(sums.items())]


async def test_totals_are_exact_past_2_to_the_53_and_63(store: Store, make_row: MakeRow) -> None:
    """L-7: a double would lose the last digits, a 64-bit sum would overflow."""
    rows = [make_row(n, fee_nano_eur=MAX_AMOUNT - n, rate=10**9, enterprise=f"e{n % 2}") for n in range(1, 8)]
    await store.append(rows)
    totals = await store.totals(1, 7)
    assert totals == expected_totals(rows)
    assert max(total.amount_nano_cpu for total in totals) > 2**63
    assert await store.totals(2, 3) == expected_totals(rows[1:3])
    assert await store.totals(8, 9) == []


async def test_one_entity_in_two_roles_counts_apart(store: Store, make_row: MakeRow) -> None:
    row = make_row(1, contributor="same", operator="same")
    await store.append([row])
    assert await store.totals(1, 1) == expected_totals([row])


async def test_entity_rows(store: Store, make_row: MakeRow) -> None:
    rows = [make_row(n, contributor=f"c{n % 3}", fee_nano_eur=n * 100) for n in range(1, 11)]
    await store.append(rows)
    wanted = rows[0].public["contributor_id"]
    found = [row async for row in store.entity_rows("contributor", wanted, 2, 10)]
    mine = [(n + 1, row) for n, row in enumerate(rows) if row.public["contributor_id"] == wanted and n >= 1]
    assert [(row.ingest, row.row_id, row.row_hash) for row in found] == [(n, r.row_id, r.row_hash) for n, r in mine]
    assert [row.amount_nano_cpu for row in found] == [
        int(next(e["amount_nano_cpu"] for e in r.public["payouts"] if e["role"] == "contributor")) for _, r in mine
    ]
    assert [row async for row in store.entity_rows("developer", wanted, 1, 10)] == []
    for first, last in ((4, 7), (5, 7), (4, 6), (4, 4), (5, 6)):
        within = [row.ingest async for row in store.entity_rows("contributor", wanted, first, last)]
        assert within == [number for number in (4, 7) if first <= number <= last]


def batch_for(row: Row, role: str, number: int = 1, **changes: Any) -> BatchRecord:
    return BatchRecord(
        batch_id=keccak_256(b"%d %b" % (number, role.encode())),
        chain_id=2**200 + 1,
        token="0x" + "1" * 40,
        period="2026-11-21",
        role=role,
        public_id=row.public[f"{role}_id"],
        account="0x" + "2" * 40,
        first_ingest=1,
        last_ingest=3,
        previous=bytes(32),
        row_count=3,
        amount_nano_cpu=2**80 + 1,
        xor=b"x" * 32,
        merkle_root=b"m" * 32,
    )._replace(**changes)


async def test_payment_state_from_pending_to_paid(store: Store, make_row: MakeRow) -> None:
    """P-10: per row and entity, with batch and transaction; again changes nothing."""
    rows = [make_row(n) for n in range(1, 5)]
    await store.append(rows)
    assert {(p.role, p.state, p.batch_id, p.tx_id) for p in await store.payment_state(rows[0].row_id)} == {
        (role, "pending", b"", "") for role in ("enterprise", "contributor", "developer", "operator")
    }
    collection, payout = batch_for(rows[0], "enterprise"), batch_for(rows[0], "contributor")
    for batch, state in ((collection, "collected"), (payout, "paid")):
        await store.put_batch(batch)
        if state == "paid":
            await store.mark(batch.role, batch.public_id, [row.row_id for row in rows], state="carried")
        for _ in range(2):
            ids = [row.row_id for row in rows[:3]]
            await store.mark(batch.role, batch.public_id, ids, state=state, batch_id=batch.batch_id, tx_id="0xabc")
    states = {p.role: p for p in await store.payment_state(rows[0].row_id)}
    assert list(states) == ["enterprise", "contributor", "developer", "operator"]
    assert states["enterprise"][3:] == ("collected", collection.batch_id, "0xabc")
    assert states["contributor"][3:] == ("paid", payout.batch_id, "0xabc")
    assert states["contributor"].amount_nano_cpu == 14_000
    assert states["developer"].state == "pending"
    last = {p.role: p.state for p in await store.payment_state(rows[3].row_id)}
    assert (last["enterprise"], last["contributor"]) == ("pending", "carried")
    found = await store.batch_of(rows[0].row_id, "contributor", payout.public_id)
    assert found == payout
    assert await store.batch_of(rows[3].row_id, "contributor", payout.public_id) is None
    assert await store.batch_of(rows[0].row_id, "developer", rows[0].public["developer_id"]) is None
    in_batch = [row async for row in store.batch_rows(payout.batch_id)]
    assert [(row.ingest, row.row_id, row.row_hash, row.amount_nano_cpu) for row in in_batch] == [
        (n + 1, row.row_id, row.row_hash, 14_000) for n, row in enumerate(rows[:3])
    ]


async def test_a_settled_row_stays_in_its_batch(store: Store, make_row: MakeRow) -> None:
    rows = [make_row(n) for n in range(1, 4)]
    await store.append(rows)
    one, two = batch_for(rows[0], "operator", 1), batch_for(rows[0], "operator", 2)
    ids = [row.row_id for row in rows]
    await store.mark("operator", one.public_id, ids[:1], state="paid", batch_id=one.batch_id, tx_id="0x1")
    with pytest.raises(Conflict, match="already paid"):
        await store.mark("operator", one.public_id, ids, state="paid", batch_id=two.batch_id, tx_id="0x2")
    assert [p.state for p in await store.payment_state(ids[1]) if p.role == "operator"] == ["pending"]
    with pytest.raises(Conflict, match="already paid"):
        await store.mark("operator", one.public_id, ids[:1], state="pending")
    await store.mark("operator", one.public_id, ids[:1], state="paid", batch_id=one.batch_id, tx_id="0x3")
    state = next(p for p in await store.payment_state(ids[0]) if p.role == "operator")
    assert (state.batch_id, state.tx_id) == (one.batch_id, "0x3"), "a replaced transaction may be noted"


async def test_a_state_that_makes_no_sense_is_refused(store: Store, make_row: MakeRow) -> None:
    row = make_row(1)
    await store.append([row])
    for role, state, batch_id in (
        ("operator", "collected", b"b" * 32),
        ("enterprise", "paid", b"b" * 32),
        ("enterprise", "carried", b""),
        ("operator", "paid", b""),
        ("operator", "carried", b"b" * 32),
        ("operator", "paid", b"short"),
        ("operator", "done", b""),
    ):
        with pytest.raises(Conflict):
            await store.mark(role, row.public[f"{role}_id"], [row.row_id], state=state, batch_id=batch_id)
    assert {p.state for p in await store.payment_state(row.row_id)} == {"pending"}


async def test_only_rows_of_the_entity_are_marked(store: Store, make_row: MakeRow) -> None:
    row = make_row(1)
    await store.append([row])
    for public_id, row_id in (("p" + "z" * 26, row.row_id), (row.public["operator_id"], "9" * 32)):
        with pytest.raises(Conflict, match="not there"):
            await store.mark("operator", public_id, [row.row_id, row_id], state="carried")
    assert {p.state for p in await store.payment_state(row.row_id)} == {"pending"}


async def test_batches_are_written_once(store: Store, make_row: MakeRow) -> None:
    row = make_row(1)
    batches = [batch_for(row, role, n) for role in ("operator", "developer") for n in range(3)]
    for batch in batches:
        await store.put_batch(batch)
        await store.put_batch(batch)
    for change in ({"amount_nano_cpu": 5}, {"row_count": 4}, {"previous": b"p" * 32}, {"chain_id": 1}):
        with pytest.raises(Conflict):
            await store.put_batch(batches[0]._replace(**change))
    assert await store.get_batch(batches[0].batch_id) == batches[0]
    ordered = sorted(batches, key=lambda batch: batch.batch_id)
    assert await store.get_batches() == ordered
    assert await store.get_batches(limit=2) == ordered[:2]
    assert await store.get_batches(after=ordered[1].batch_id, limit=2) == ordered[2:4]
    mine = [batch for batch in ordered if batch.role == "operator"]
    assert await store.get_batches(role="operator", public_id=mine[0].public_id) == mine
    assert await store.get_batches(role="operator", public_id="p" + "z" * 26) == []


def head_of(node: str, last_ingest: int, **changes: Any) -> Head:
    return Head(node, last_ingest, keccak_256(b"%d" % last_ingest), 1_795_250_000_000_000_000, b"s" * 64)._replace(
        **changes
    )


async def test_heads_are_written_once_and_come_in_order(store: Store, opening: Opening) -> None:
    """L-3: the last row as a number, not as text."""
    assert await store.newest_head("pa") is None
    heads = [head_of(node, last) for last in (2, 10, 9, 1_000) for node in ("pb", "pa")]
    for head in heads:
        await store.put_head(head)
        await store.put_head(head)
    for changes in ({"commitment": b"x" * 32}, {"time_ns": 5}, {"signature": b"x" * 64}):
        with pytest.raises(Conflict):
            await store.put_head(heads[0]._replace(**changes))
    ordered = sorted(heads, key=lambda head: (head.last_ingest, head.node_id))
    assert await store.heads() == ordered
    assert await store.heads(limit=3) == ordered[:3]
    assert await store.heads(after=(9, "pa"), limit=2) == ordered[3:5]
    assert await store.newest_head("pa") == ordered[-2]
    other = await opening()
    try:
        assert await other.heads() == ordered
    finally:
        await other.close()


async def test_losses_are_written_once_and_stay(store: Store, opening: Opening) -> None:
    """L-3: they come in the order in which they stand in the line of heads."""
    made = [
        Loss("p" + "a" * 26, at, SPOOL, first, 0, b"", "said \u00e9", "why", "who", time_ns, bytes([time_ns]) * 64)
        for at, first, time_ns in ((5, 1, 7), (0, 9, 8), (5, 2, 6))
    ]
    assert await store.losses() == []
    for loss in [*made, *made]:
        await store.put_loss(loss)
    ordered = [made[1], made[2], made[0]]
    assert await store.losses() == ordered
    other = await opening()
    try:
        assert await other.losses() == ordered
    finally:
        await other.close()


def settlement(number: int, previous: bytes = bytes(32), **changes: Any) -> SettlementRecord:
    id_ = keccak_256(b"settlement %d" % number)
    return SettlementRecord(
        id_, 2**200 + 1, "0x" + "1" * 40, "2026-11-21", 1, 3, previous, f"host {number}", 1_795_250_000_000_000_000
    )._replace(**changes)


async def test_one_settlement_follows_each(store: Store) -> None:
    """P-11: who comes second with the same one before is refused, whoever it is."""
    first = settlement(1)
    assert await store.newest_settlement(first.chain_id, first.token) is None
    assert await store.begin_settlement(first) == first
    again = await store.begin_settlement(first._replace(owner="another host", begun_ns=5))
    assert again == first, "the same settlement: who began it is told"
    with pytest.raises(Conflict, match="follows"):
        await store.begin_settlement(settlement(2))
    with pytest.raises(Conflict, match="follows"):
        await store.begin_settlement(first._replace(last_ingest=9))
    with pytest.raises(Conflict, match="has not ended"):
        await store.begin_settlement(settlement(2, first.settlement_id))
    with pytest.raises(Conflict, match="knows no settlement"):
        await store.begin_settlement(settlement(3, b"?" * 32))
    elsewhere = settlement(4, chain_id=1), settlement(5, token="0x" + "2" * 40)
    for other in elsewhere:
        assert await store.begin_settlement(other) == other
    assert await store.newest_settlement(first.chain_id, first.token) == first
    assert await store.settlements() == sorted([first, *elsewhere])
    assert await store.settlements(after=sorted([first, *elsewhere])[0].settlement_id, limit=1) == [
        sorted([first, *elsewhere])[1]
    ]


async def test_a_settlement_ends_and_another_one_follows(store: Store, opening: Opening) -> None:
    first = settlement(1)
    second = settlement(2, first.settlement_id, first_ingest=4, last_ingest=3)
    await store.begin_settlement(first)
    for ended_ns in (7, 8):
        await store.end_settlement(first.settlement_id, ended_ns)
    assert await store.begin_settlement(second) == second
    assert await store.begin_settlement(first) == first._replace(ended_ns=7)
    assert await store.newest_settlement(first.chain_id, first.token) == second
    with pytest.raises(Conflict, match="never began"):
        await store.end_settlement(b"?" * 32, 7)
    other = await opening()
    try:
        assert await other.settlements() == sorted([first._replace(ended_ns=7), second])
    finally:
        await other.close()


async def test_of_two_that_begin_at_once_one_does(store: Store, opening: Opening) -> None:
    other = await opening()
    try:
        wanted = [settlement(number) for number in range(6)]
        answers = await asyncio.gather(
            *(where.begin_settlement(one) for one, where in zip(wanted, [store, other] * 3, strict=True)),
            return_exceptions=True,
        )
        begun = [answer for answer in answers if isinstance(answer, SettlementRecord)]
        assert len(begun) == 1
        assert sum(isinstance(answer, Conflict) for answer in answers) == 5
        assert await store.settlements() == begun
    finally:
        await other.close()


async def test_a_batch_of_a_second_settlement_in_one_place_is_refused(store: Store, make_row: MakeRow) -> None:
    """P-11: also from a program that never began its settlement."""
    row = make_row(1)
    first = batch_for(row, "operator")
    await store.put_batch(first)
    await store.put_batch(batch_for(row, "developer"))
    with pytest.raises(Conflict, match="follows"):
        await store.put_batch(batch_for(row, "operator", 2, last_ingest=4))
    assert len(await store.get_batches()) == 2
    newest = await store.newest_settlement(first.chain_id, first.token)
    assert newest == first.settlement(keccak_256)
    assert (await store.begin_settlement(newest._replace(owner="us"))).owner == ""
    with pytest.raises(Conflict, match="follows"):
        await store.begin_settlement(settlement(1))
    with pytest.raises(Conflict, match="other content"):
        await store.put_batch(first._replace(previous=b"p" * 32))
    assert len(await store.settlements()) == 1, "a refused batch has begun nothing"


async def test_payments_of_a_range_of_rows(store: Store, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """P-10: all that is marked, across portions, and only of these rows."""
    monkeypatch.setattr("ledger.limits.PORTION_ROWS", 4)
    rows = [make_row(n) for n in range(1, 12)]
    await store.append(rows)
    operator, developer = rows[0].public["operator_id"], rows[0].public["developer_id"]
    ids = [row.row_id for row in rows]
    await store.mark("operator", operator, ids[2:], state="paid", batch_id=b"b" * 32, tx_id="0x1")
    await store.mark("developer", developer, ids[:4], state="carried")
    found = [payment async for payment in store.payments(2, 10)]
    wanted = [RowPayment(n, ids[n - 1], "operator", operator, 2_000, "paid", b"b" * 32, "0x1") for n in range(3, 11)]
    wanted += [RowPayment(n, ids[n - 1], "developer", developer, 4_000, "carried", b"", "") for n in range(2, 5)]
    assert found == sorted(wanted)
    assert [payment async for payment in store.payments(12, 50)] == []
    assert len([payment async for payment in store.payments(1, 2**62)]) == 13


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_totals_of_any_range_are_the_plain_sums(make_row: MakeRow, data: st.DataObject) -> None:
    """L-7 as a property. (On the embedded store; the other one sums in the same Python.)"""
    fees = st.integers(0, MAX_AMOUNT) | st.integers(0, 5)
    parties = st.sampled_from(["a", "b", "c"])
    count = data.draw(st.integers(1, 12))
    rows = [
        make_row(
            n, fee_nano_eur=data.draw(fees), rate=10**9, enterprise=data.draw(parties), operator=data.draw(parties)
        )
        for n in range(1, count + 1)
    ]
    first, last = data.draw(st.integers(1, count)), data.draw(st.integers(1, count))
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(f"sqlite:///{folder}/ledger.db")
        try:
            await store.append(rows)
            assert await store.totals(first, last) == expected_totals(rows[first - 1 : last])
        finally:
            await store.close()


async def test_a_subsidised_row(store: Store, make_row: MakeRow) -> None:
    plain = make_row(1)
    fee = int(plain.public["usage_fee_nano_cpu"])
    enterprise = plain.public["enterprise_id"]
    row = make_row(1, pay_in=[PayIn("subsidy", enterprise, fee - 1), PayIn("enterprise", enterprise, 1)])
    charity = [Payout("charity", enterprise, 1_000, fee)]
    other = make_row(2, payouts=charity)
    await store.append([row, other])
    assert await store.totals(1, 2) == expected_totals([row, other])
    assert [p.role for p in await store.payment_state(row.row_id)][:2] == ["enterprise", "subsidy"]
