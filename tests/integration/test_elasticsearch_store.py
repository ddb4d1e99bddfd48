"""What only the Elasticsearch store has, against a real server: strict columns, create-only rows, crashes between rows
and their number, finished months, a server that is away (L-3, L-4, L-6)."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import Row
from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, ConflictError

from ledger import limits, open_store
from ledger.elasticsearch_store import ElasticsearchStore
from ledger.port import Conflict, StoreError

pytestmark = pytest.mark.engine("elasticsearch")
MakeRow = Callable[..., Row]


@pytest.fixture
async def client(elasticsearch_url: str) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(elasticsearch_url) as opened:
        yield opened


@pytest.fixture
async def prefix(client: AsyncElasticsearch) -> AsyncIterator[str]:
    name = f"test-{random.SystemRandom().getrandbits(48):012x}"
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
    store: ElasticsearchStore, client: AsyncElasticsearch, prefix: str, make_row: MakeRow
) -> None:
    await store.append([make_row(1)])
    index = f"{prefix}-rows-2026-11"
    assert await store.seal_months("2026-11") == []
    assert await store.seal_months("2026-12") == [index]
    assert await store.seal_months("2026-12") == []
    with pytest.raises(ApiError, match="blocked"):
        await client.index(index=index, document={"row_id": "x"})
    await store.append([make_row(2)])
    assert await store.head() == 2
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
        patch.setattr(store._client, "create", crash)
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
        patch.setattr(store._client, "create", crash)
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
    real, sent = store._client.bulk, []

    async def busy(*, operations: list[bytes]) -> Any:
        sent.append(len(operations) // 2)
        if len(sent) <= 2:
            answer = await real(operations=operations[:2])
            refused = [{"create": {"_id": "x", "status": 429}}] * (len(operations) // 2 - 1)
            return {"items": [*answer["items"], *refused]}
        return await real(operations=operations)

    monkeypatch.setattr(store._client, "bulk", busy)
    await store.append([make_row(n) for n in range(1, 11)])
    assert sent == [10, 9, 8]
    assert await store.head() == 10
