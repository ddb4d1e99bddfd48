"""What only the Elasticsearch store has, against a real server: strict columns, create-only rows, crashes between rows
and their number, finished months, a server that is away (L-3, L-4, L-6)."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import Row, RowError
from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, ConflictError

from ledger import initialise, limits, open_store
from ledger.elasticsearch_setup import seal_months
from ledger.elasticsearch_store import FORMAT_VERSION, ElasticsearchStore
from ledger.port import BatchRecord, Conflict, StoreError

pytestmark = pytest.mark.engine("elasticsearch")
MakeRow = Callable[..., Row]


@pytest.fixture
async def client(elasticsearch_url: str) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(elasticsearch_url) as opened:
        yield opened


@pytest.fixture
async def prefix(client: AsyncElasticsearch, elasticsearch_url: str) -> AsyncIterator[str]:
    name = f"test-{random.SystemRandom().getrandbits(48):012x}"
    await initialise(f"{elasticsearch_url}/{name}")
    yield name
    names = list((await client.indices.get(index=f"{name}-*")).body)
    for index in names:
        await client.indices.put_settings(index=index, settings={"index.blocks.write": None})
    await client.indices.delete(index=names)
    await client.indices.delete_index_template(name=f"{name}-rows")


@pytest.fixture
async def store(elasticsearch_url: str, prefix: str) -> AsyncIterator[ElasticsearchStore]:
    opened = await open_store(f"{elasticsearch_url}/{prefix}")
    assert isinstance(opened, ElasticsearchStore)
    yield opened
    await opened.close()


async def test_months_are_partitions_with_strict_columns(
    store: ElasticsearchStore, client: AsyncElasticsearch, prefix: str, make_row: MakeRow
) -> None:
    november, december = make_row(1), make_row(2, event_time_ns=1_796_083_200_000_000_000)
    await store.append([november, december])
    assert sorted((await client.indices.get(index=f"{prefix}-rows-*")).body) == [
        f"{prefix}-rows-2026-11",
        f"{prefix}-rows-2026-12",
    ]
    with pytest.raises(BadRequestError, match="strict_dynamic_mapping"):
        await client.index(index=f"{prefix}-rows-2026-11", document={"note": "x"})
    with pytest.raises(ConflictError):
        await client.create(index=f"{prefix}-rows-2026-11", id=november.row_id, document=dict(november.public))
    await client.indices.refresh(index=f"{prefix}-rows-*")
    found = await client.search(
        index=f"{prefix}-rows-*", query={"range": {"usage_fee_nano_eur": {"gte": 1_000}}}, source=False
    )
    assert found["hits"]["total"]["value"] == 2, "public columns can be searched by number"


async def test_a_finished_month_is_closed_for_writing_and_a_late_row_still_gets_in(
    store: ElasticsearchStore, client: AsyncElasticsearch, elasticsearch_url: str, prefix: str, make_row: MakeRow
) -> None:
    """Without a right to open the month again: late rows have an index of their own, and are still one each."""
    await store.append([make_row(1)])
    index, url = f"{prefix}-rows-2026-11", f"{elasticsearch_url}/{prefix}"
    assert await seal_months(url, "2026-11") == []
    assert await seal_months(url, "2026-12") == [index]
    assert await seal_months(url, "2026-12") == []
    with pytest.raises(ApiError, match="blocked"):
        await client.index(index=index, document={"row_id": "x"})
    december = make_row(4, event_time_ns=1_796_083_200_000_000_000)
    await store.append([make_row(2), december, make_row(3)])
    await store.append([make_row(1), make_row(2), make_row(5)])
    assert [int(row.row_id, 16) for row in await store.read(0, 10)] == [1, 2, 4, 3, 5]
    assert sorted((await client.indices.get(index=f"{prefix}-rows-*")).body) == [
        index,
        f"{index}-late",
        f"{prefix}-rows-2026-12",
    ]
    assert await seal_months(url, "2027-01") == [f"{prefix}-rows-2026-12"], "late rows' index stays open"
    with pytest.raises(Conflict):
        await store.append([make_row(1, fee_nano_eur=5)])
    with pytest.raises(ApiError, match="blocked"):
        await client.index(index=index, document={"row_id": "x"})


class Crash(Exception):
    pass


async def test_a_crash_between_rows_and_their_block_leaves_nothing_visible(
    store: ElasticsearchStore, elasticsearch_url: str, prefix: str, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are there without a number; the spool brings them again, beside others, and they are stored once."""
    await store.append([make_row(1)])

    async def crash(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(store.client, "create", crash)
        with pytest.raises(Crash):
            await store.append([make_row(2), make_row(3)])
    other = await open_store(f"{elasticsearch_url}/{prefix}")
    assert await other.head() == 1
    assert await other.get(make_row(2).row_id) is None
    assert len(await other.read(0, 10)) == 1
    await other.append([make_row(4)])
    await other.append([make_row(3), make_row(2), make_row(5)])
    rows = await other.read(0, 10)
    assert [(row.ingest, int(row.row_id, 16)) for row in rows] == [(1, 1), (2, 4), (3, 3), (4, 2), (5, 5)]
    assert all(row.verified(keccak_256) for row in rows)
    await other.close()


async def test_it_works_from_a_process_of_its_own(elasticsearch_url: str, prefix: str, make_row: MakeRow) -> None:
    """As in a node; the rest of what such a store keeps is shown over the embedded one."""
    apart = await open_store(f"{elasticsearch_url}/{prefix}", apart=True)
    await apart.append([make_row(n) for n in (1, 2, 3)])
    assert [row.verified(keccak_256) for row in await apart.read(0, 10)] == [make_row(n) for n in (1, 2, 3)]
    with pytest.raises(Conflict):
        await apart.append([make_row(1, fee_nano_eur=2_000)])
    await apart.close()


async def test_a_row_left_by_a_crash_is_not_replaced_by_another_of_its_id(
    store: ElasticsearchStore, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(store.client, "create", crash)
        with pytest.raises(Crash):
            await store.append([make_row(1)])
    with pytest.raises(Conflict):
        await store.append([make_row(1, fee_nano_eur=5)])
    await store.append([make_row(1)])
    assert await store.head() == 1


async def test_many_blocks_and_large_appends(
    store: ElasticsearchStore, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PORTION_ROWS", 7)
    monkeypatch.setattr(limits, "PORTION_BYTES", 20_000)
    rows = [make_row(n) for n in range(1, 61)]
    await store.append(rows)
    await store.append([*rows[50:], make_row(61)])
    found = []
    while page := await store.read(len(found), 11):
        found += page
    assert [row.verified(keccak_256) for row in found] == [*rows, make_row(61)]
    public_id = rows[0].public["operator_id"]
    assert [row.ingest async for row in store.entity_rows("operator", public_id, 5, 40)] == list(range(5, 41))
    await store.mark("operator", public_id, [row.row_id for row in rows], state="paid", batch_id=b"b" * 32, tx_id="0x1")
    assert [row.ingest async for row in store.batch_rows(b"b" * 32)] == list(range(1, 61))


async def test_requests_and_blocks_are_bounded_in_bytes(
    store: ElasticsearchStore, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One operation more than fits begins the next request, and one row more the next block; none is left out."""
    rows = [make_row(n) for n in range(1, 9)]
    of_rows = [len(row.public_json) + len(row.private_json) for row in rows]
    real, sent = store.client.bulk, list[int]()

    async def watched(*, operations: list[bytes]) -> Any:
        sent.append(sum(map(len, operations)))
        return await real(operations=operations)

    monkeypatch.setattr(store.client, "bulk", watched)
    for number, most in enumerate((sum(of_rows[:4]), sum(of_rows[4:]) - 1)):
        monkeypatch.setattr(limits, "PORTION_BYTES", most)
        await store.append(rows[4 * number : 4 * number + 4])
    assert [(await store._block(block)).last_ingest for block in (1, 2, 3)] == [4, 7, 8]
    assert len(sent) > 3, "operations are longer than their rows"
    assert max(sent) <= sum(of_rows[:4])
    assert [row.verified(keccak_256) for row in await store.read(0, 20)] == rows


async def test_payment_states_changed_by_two_at_once_do_not_lose_one(
    store: ElasticsearchStore, elasticsearch_url: str, prefix: str, make_row: MakeRow
) -> None:
    """if_seq_no: whoever read an older state looks again, and finds the row settled in the other's batch."""
    rows = [make_row(n) for n in range(1, 30)]
    await store.append(rows)
    other = await open_store(f"{elasticsearch_url}/{prefix}")
    public_id, ids = rows[0].public["operator_id"], [row.row_id for row in rows]
    await store.mark("operator", public_id, ids, state="carried")
    outcomes = await asyncio.gather(
        store.mark("operator", public_id, ids, state="paid", batch_id=b"1" * 32),
        other.mark("operator", public_id, ids, state="paid", batch_id=b"2" * 32),
        return_exceptions=True,
    )
    held = {batch: [row.row_id async for row in store.batch_rows(batch * 32)] for batch in (b"1", b"2")}
    assert sorted(held[b"1"] + held[b"2"]) == sorted(ids), "each row in one batch"
    assert any(isinstance(outcome, Conflict) for outcome in outcomes)
    await other.close()


async def test_a_server_that_is_away_is_an_error_to_try_again(free_port: Callable[[], int]) -> None:
    with pytest.raises(StoreError, match="did not answer"):
        await open_store(f"http://127.0.0.1:{free_port()}/x")


async def test_a_server_that_is_too_busy_is_asked_again(
    store: ElasticsearchStore, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back-pressure (L-6): items refused with 429 are sent again, the others are not."""
    real, sent = store.client.bulk, []

    async def busy(*, operations: list[bytes]) -> Any:
        sent.append(len(operations) // 2)
        if len(sent) <= 2:
            answer = await real(operations=operations[:2])
            refused = [{"create": {"_id": "x", "status": 429}}] * (len(operations) // 2 - 1)
            return {"items": [*answer["items"], *refused]}
        return await real(operations=operations)

    monkeypatch.setattr(store.client, "bulk", busy)
    await store.append([make_row(n) for n in range(1, 11)])
    assert sent == [10, 9, 8]
    assert await store.head() == 10


@pytest.mark.parametrize("place", [0, 4, 9])
@pytest.mark.parametrize("status", [400, 403, 500])
async def test_one_refused_item_among_good_ones_is_not_passed_over(
    store: ElasticsearchStore, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch, status: int, place: int
) -> None:
    """A bulk answers 200 and refuses single items: then nothing of the append counts, and doing it again is enough."""
    await store.append([make_row(50)])
    real = store.client.bulk

    async def refuse_one(*, operations: list[bytes]) -> Any:
        kept = [line for n, line in enumerate(operations) if n // 2 != place]
        items = list((await real(operations=kept))["items"])
        error = {"type": "mapper_parsing_exception", "reason": "no"}
        items.insert(place, {"create": {"_id": "x", "_index": "y", "status": status, "error": error}})
        return {"errors": True, "items": items}

    rows = [make_row(n) for n in range(1, 11)]
    with monkeypatch.context() as patch:
        patch.setattr(store.client, "bulk", refuse_one)
        with pytest.raises(StoreError, match="refused x"):
            await store.append(rows)
        public_id = rows[0].public["operator_id"]
    assert await store.head() == 1
    await store.append(rows)
    assert [row.verified(keccak_256) for row in await store.read(0, 20)] == [make_row(50), *rows]
    ids = [row.row_id for row in rows]
    with monkeypatch.context() as patch:
        patch.setattr(store.client, "bulk", refuse_one)
        with pytest.raises(StoreError, match="refused x"):
            await store.mark("operator", public_id, ids, state="paid", batch_id=b"b" * 32, tx_id="0x1")
    await store.mark("operator", public_id, ids, state="paid", batch_id=b"b" * 32, tx_id="0x1")
    assert [row.row_id async for row in store.batch_rows(b"b" * 32)] == ids


async def test_results_longer_than_a_page(
    store: ElasticsearchStore, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows in more blocks, states and heads than one search answers."""
    monkeypatch.setattr(limits, "PORTION_ROWS", 3)
    monkeypatch.setattr(limits, "ELASTICSEARCH_HITS", 4)
    rows = [make_row(n) for n in range(1, 32)]
    for row in rows:
        await store.append([row])
    ids, public_id = [row.row_id for row in rows], rows[0].public["operator_id"]
    assert await store._numbered(ids) == {row.row_id: row for row in await store._numbered_after(0, 100)}
    await store.append([*rows, make_row(32)])
    assert await store.head() == 32
    await store.mark("operator", public_id, ids, state="paid", batch_id=b"b" * 32, tx_id="0x1")
    assert [row.ingest async for row in store.batch_rows(b"b" * 32)] == list(range(1, 32))
    assert [payment.ingest async for payment in store.payments(2, 30)] == list(range(2, 31))
    assert [row.ingest for row in await store.row_hashes(3, 20)] == list(range(4, 24))


async def test_what_somebody_else_wrote_into_an_index_is_shown_and_does_not_end_the_reading(
    store: ElasticsearchStore, client: AsyncElasticsearch, prefix: str, make_row: MakeRow
) -> None:
    """L-12: whoever checks rows names the malformed one and goes on; so reading must not stop at it."""
    rows = [make_row(n) for n in range(1, 7)]
    await store.append(rows)
    index = f"{prefix}-rows-2026-11"
    good = {**rows[0].public, "row_hash": rows[0].row_hash.hex(), "private": rows[0].private_json.decode()}
    changes: list[dict[str, Any] | None] = [
        {"row_hash": "no hexadecimal"},
        {"usage_fee_nano_eur": 1.5},
        {"row_hash": None, "private": None},
        {"node_signature": "zz"},
        None,
    ]
    for row, change in zip(rows[:5], changes, strict=True):
        if change is None:
            await client.delete(index=index, id=row.row_id)
        else:
            document = {name: value for name, value in {**good, **change}.items() if value is not None}
            await client.index(index=index, id=row.row_id, document=document)
    stored = await store.read(0, 10)
    assert [row.row_id for row in stored] == [row.row_id for row in rows]
    for bad in stored[:5]:
        with pytest.raises(RowError):
            bad.verified(keccak_256)
    assert stored[5].verified(keccak_256) == rows[5]
    batch = BatchRecord(b"b" * 32, 1, "0x", "day", "operator", "p", "0x", 1, 2, bytes(32), 2, 5, b"x" * 32, b"m" * 32)
    await store.put_batch(batch)
    await client.update(index=f"{prefix}-batches", id=batch.batch_id.hex(), doc={"xor": "none", "chain_id": "one"})
    [read] = await store.get_batches()
    assert (read.batch_id, read.xor, read.chain_id) == (batch.batch_id, b"none", -1)


async def test_a_ledger_that_was_never_made_says_who_makes_it(elasticsearch_url: str) -> None:
    with pytest.raises(StoreError, match="cgn ledger init"):
        await open_store(f"{elasticsearch_url}/test-never-made")


async def test_a_ledger_of_an_older_program_is_brought_up_to_date(
    store: ElasticsearchStore, client: AsyncElasticsearch, elasticsearch_url: str, prefix: str, make_row: MakeRow
) -> None:
    """Its rows read as unsigned, its settlements are known again, and a second time changes nothing."""
    url = f"{elasticsearch_url}/{prefix}"
    rows = [make_row(n) for n in (1, 2, 3)]
    await store.append(rows)
    first = BatchRecord(b"1" * 32, 5, "0x", "one", "operator", "p", "", 1, 2, bytes(32), 2, 5, b"x", b"m")
    second = first._replace(batch_id=b"2" * 32, period="two", first_ingest=3, previous=first.settlement_id(keccak_256))
    for batch in (first, second):
        await store.put_batch(batch)
    for kind in ("format", "heads", "settlements", "losses"):
        await client.indices.delete(index=f"{prefix}-{kind}")
    with pytest.raises(StoreError, match="cgn ledger init"):
        await open_store(url)
    for _ in range(2):
        await initialise(url)
        again = await open_store(url)
        assert [row.verified(keccak_256) for row in await again.read(0, 3)] == rows
        found = {record.settlement_id: bool(record.ended_ns) for record in await again.settlements()}
        assert found == {first.settlement_id(keccak_256): True, second.settlement_id(keccak_256): False}
        await again.close()
    newer = FORMAT_VERSION + 1
    await client.index(index=f"{prefix}-format", id="current", document={"version": newer})
    with pytest.raises(StoreError, match=f"of version {newer}; this program reads version {FORMAT_VERSION}"):
        await open_store(url)
