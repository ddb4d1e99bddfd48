"""The least rights on a real server with TLS and users: each role does its work, and none can alter what was written
(L-3, L-6). Roles, users and URLs are those of docs/reference/ledger.md."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.loss import SPOOL, Loss
from cgn_sdk.protocol.row import Row
from elasticsearch import AsyncElasticsearch, AuthorizationException
from secured_elasticsearch import PASSWORD, Secured, distribution, secured

from ledger import initialise, open_store
from ledger.audit import audit
from ledger.elasticsearch_setup import seal_months
from ledger.port import BatchRecord, Store, StoreError

pytestmark = pytest.mark.engine("elasticsearch")
MakeRow = Callable[..., Row]
PREFIX = "secured"


@pytest.fixture(scope="module")
def server() -> Iterator[Secured]:
    if distribution() is None and os.environ.get("CGN_REQUIRE_ENGINES") != "1":
        pytest.skip("engine elasticsearch is missing (infra/engine-elasticsearch unpacks the server)")
    with secured(PREFIX) as started:
        yield started


@pytest.fixture
async def admin(server: Secured) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(
        f"https://127.0.0.1:{server.port}", basic_auth=("admin", PASSWORD), ca_certs=str(server.ca)
    ) as client:
        yield client


@pytest.fixture
async def made(server: Secured, admin: AsyncElasticsearch) -> AsyncIterator[Secured]:
    await initialise(server.url("admin", PREFIX))
    await initialise(server.url("admin", PREFIX))
    yield server
    names = list((await admin.indices.get(index=f"{PREFIX}-*")).body)
    for name in names:
        await admin.indices.put_settings(index=name, settings={"index.blocks.write": None})
    await admin.indices.delete(index=names)


def as_user(server: Secured, user: str) -> AsyncElasticsearch:
    return AsyncElasticsearch(f"https://127.0.0.1:{server.port}", basic_auth=(user, PASSWORD), ca_certs=str(server.ca))


def batch_of(rows: list[Row], **changes: object) -> BatchRecord:
    operator = rows[0].public["operator_id"]
    return BatchRecord(
        b"b" * 32, 1, "0x", "day", "operator", operator, "0x", 1, 5, bytes(32), 5, 10, b"x" * 32, b"m" * 32
    )._replace(**changes)  # type: ignore[arg-type]


async def the_whole_ledger(store: Store) -> list[object]:
    """Everything that a checker asks for."""
    rows = await store.read(0, 100)
    batches = await store.get_batches()
    return [
        [row.verified(keccak_256) for row in rows],
        await store.head(),
        await store.totals(1, 100),
        await store.row_hashes(0, 100),
        await store.heads(),
        await store.losses(),
        await store.settlements(),
        batches,
        [payment async for payment in store.payments(1, 100)],
        [[row async for row in store.batch_rows(batch.batch_id)] for batch in batches],
        await store.payment_state(rows[0].row_id),
    ]


async def test_each_role_does_its_work(made: Secured, admin: AsyncElasticsearch, make_row: MakeRow) -> None:
    node = await open_store(made.url("node", PREFIX))
    rows = [make_row(n).signed(bytes(range(64))) for n in range(1, 6)]
    await node.append(rows[:3])
    await node.append(rows)
    await node.append([make_row(6, event_time_ns=1_796_083_200_000_000_000)])  # makes the next month's index
    head = Head("p" + "a" * 26, 6, b"c" * 32, 5, b"s" * 64)
    await node.put_head(head)
    assert await node.newest_head(head.node_id) == head
    loss = Loss("p" + "a" * 26, 6, SPOOL, 1, 0, b"", "", "why", "who", 5, b"s" * 64)
    await node.put_loss(loss)
    await seal_months(made.url("admin", PREFIX), "2026-12")
    await node.append([make_row(7)])
    payouts = await open_store(made.url("payouts", PREFIX))
    batch = batch_of(rows)
    began = await payouts.begin_settlement(batch.settlement(keccak_256)._replace(owner="us", begun_ns=3))
    await payouts.put_batch(batch)
    ids = [row.row_id for row in rows]
    await payouts.mark("operator", batch.public_id, ids, state="carried")
    await payouts.mark("operator", batch.public_id, ids, state="paid", batch_id=batch.batch_id, tx_id="0x1")
    await payouts.end_settlement(began.settlement_id, 9)
    assert await payouts.newest_settlement(1, "0x") == began._replace(ended_ns=9)
    assert await node.batch_of(ids[0], "operator", batch.public_id) == batch
    await admin.indices.refresh(index=f"{PREFIX}-*")  # who only reads sees it within a second by himself
    verify = await open_store(made.url("verify", PREFIX))
    seen = await the_whole_ledger(verify)
    assert seen == await the_whole_ledger(payouts) == await the_whole_ledger(node)
    assert seen[0] == [*rows, make_row(6, event_time_ns=1_796_083_200_000_000_000), make_row(7)]
    for store in (node, payouts, verify):
        await store.close()
    report = await asyncio.to_thread(audit, made.url("verify", PREFIX), [], chain_id=1, token="0x", processes=1)
    assert report.rows == 7
    kinds = {finding.code for finding in report.findings}
    assert {"event_missing", "head_rows"} <= kinds, "no chain, and a head of nothing: what an audit is for"
    assert not kinds & {"row_malformed", "row_hash", "row_missing", "entries", "part_hash", "left_over"}


async def test_nobody_but_an_administrator_can_alter_what_was_written(made: Secured, make_row: MakeRow) -> None:
    """L-3: not by the client's own commands either."""
    node = await open_store(made.url("node", PREFIX))
    rows = [make_row(n) for n in range(1, 6)]
    await node.append(rows)
    payouts = await open_store(made.url("payouts", PREFIX))
    await payouts.put_batch(batch_of(rows))
    await node.put_head(Head("p", 5, b"c" * 32, 5, b"s" * 64))
    loss = Loss("p" + "a" * 26, 6, SPOOL, 1, 0, b"", "", "why", "who", 5, b"s" * 64)
    await node.put_loss(loss)
    places = {
        "rows-2026-11": rows[0].row_id,
        "blocks": f"{1:016d}",
        "heads": f"{5:020d}-p",
        "losses": keccak_256(loss.encode()).hex(),
        "batches": (b"b" * 32).hex(),
        "settlements": f"1-0x-{bytes(32).hex()}",
        "format": "current",
    }
    for user in ("node", "payouts", "verify"):
        async with as_user(made, user) as client:
            for kind, id_ in places.items():
                index = f"{PREFIX}-{kind}"
                with pytest.raises(AuthorizationException):
                    await client.index(index=index, id=id_, document={})
                with pytest.raises(AuthorizationException):
                    await client.update(index=index, id=id_, doc={"version": 1})
                with pytest.raises(AuthorizationException):
                    await client.delete(index=index, id=id_)
                with pytest.raises(AuthorizationException):
                    await client.indices.delete(index=index)
            with pytest.raises(AuthorizationException):
                await client.indices.put_index_template(name=f"{PREFIX}-rows", index_patterns=["x-*"])
    for kind in ("payments", "batches", "settlements"):
        async with as_user(made, "node") as client:
            with pytest.raises(AuthorizationException):
                await client.create(index=f"{PREFIX}-{kind}", id="x", document={})
    verify = await open_store(made.url("verify", PREFIX))
    with pytest.raises(StoreError, match="user 'verify' may not refresh"):
        await verify.append([make_row(9)])
    with pytest.raises(StoreError):
        await verify.mark("operator", rows[0].public["operator_id"], [rows[0].row_id], state="carried")
    with pytest.raises(StoreError, match="privilege"):
        await verify.put_batch(batch_of(rows, batch_id=b"z" * 32))
    assert [row.verified(keccak_256) for row in await node.read(0, 10)] == rows
    for store in (node, payouts, verify):
        await store.close()


async def test_what_is_wrong_is_said(server: Secured, free_port: Callable[[], int]) -> None:
    """Each message names what to change, and none shows the password."""
    url = server.url
    other = f"https://admin:x@127.0.0.1:{server.port}/{PREFIX}"
    cases = [
        (url("node", PREFIX), "cgn ledger init"),
        (url("node", PREFIX, password="wrong"), "user 'node': is the password"),
        (url("nobody", PREFIX), r"user 'nobody' .*lacks a privilege .*roles"),
        (other, r"certificate .*not trusted.*\?ca=FILE"),
        (f"http://admin:x@127.0.0.1:{server.port}/{PREFIX}", "did not answer"),
        (f"https://127.0.0.1:{server.port}/{PREFIX}?ca={server.ca}", "an unknown user"),
    ]
    for wrong, message in cases:
        with pytest.raises(StoreError, match=message) as raised:
            await open_store(wrong)
        assert PASSWORD not in str(raised.value)
    with pytest.raises(StoreError, match="lacks a privilege"):
        await initialise(url("node", PREFIX))


async def test_it_works_from_a_process_of_its_own(made: Secured, make_row: MakeRow) -> None:
    node = await open_store(made.url("node", PREFIX), apart=True)
    await node.append([make_row(1)])
    assert await node.head() == 1
    await node.close()
