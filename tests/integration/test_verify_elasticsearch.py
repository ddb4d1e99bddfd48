"""The audit of a ledger in Elasticsearch, attacked by somebody who may change every document (L-12, P-10).

Rows 1 to 9 are settled, rows 10 to 12 wait; heads are signed over both. The events are those a chain would tell.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from cgn_sdk.protocol.receipt import ROW
from cgn_sdk.protocol.row import Row
from cgn_sdk.protocol.settlement import NO_SETTLEMENT
from cgn_sdk.signing import Signer
from cgn_sdk.signing import verify as verify_signature
from elasticsearch import Elasticsearch
from settled_ledger import CHAIN, TOKEN, settle, sign_heads

from ledger import initialise, open_store
from ledger.audit import audit
from ledger.core.batch import SettledEvent
from ledger.core.row_audit import Keys
from ledger.core.verify import Report

pytestmark = pytest.mark.engine("elasticsearch")
NODE = Signer(b"n" * 32)
SETTLED, ROWS = 9, 12


class World(NamedTuple):
    url: str
    prefix: str
    client: Elasticsearch
    rows: list[Row]
    events: list[SettledEvent]

    def audit(self, processes: int = 1) -> Report:
        keys = Keys({self.rows[0].public["node_id"]: NODE.public_key}, verify_signature)
        return audit(
            f"{self.url}/{self.prefix}", self.events, chain_id=CHAIN, token=TOKEN, keys=keys, processes=processes
        )

    def change(self, kind: str, id_: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[], None]:
        """Alters one document; returns what puts it back."""
        index = f"{self.prefix}-{kind}"
        before = self.client.get(index=index, id=id_)["_source"]
        changed = self.client.get(index=index, id=id_)["_source"]
        if change(changed) is DELETE:
            self.client.delete(index=index, id=id_, refresh=True)
        else:
            self.client.index(index=index, id=id_, document=changed, refresh=True)

        def put_back() -> None:
            self.client.index(index=index, id=id_, document=before, refresh=True)

        return put_back


@pytest.fixture(scope="module")
def world(elasticsearch_url: str, make_row: Callable[..., Row]) -> Iterator[World]:
    prefix = f"test-{random.SystemRandom().getrandbits(48):012x}"
    rows = [make_row(n, contributor=f"c{n % 2}") for n in range(1, ROWS + 1)]
    rows = [row.signed(NODE.sign(ROW, row.row_hash)) for row in rows]

    async def make() -> list[SettledEvent]:
        await initialise(f"{elasticsearch_url}/{prefix}")
        store = await open_store(f"{elasticsearch_url}/{prefix}")
        for start in range(0, ROWS, 4):  # three blocks
            await store.append(rows[start : start + 4])
        _, events = await settle(store, 1, SETTLED, NO_SETTLEMENT, "2026-11-20")
        await sign_heads(store, rows[0].public["node_id"], NODE, SETTLED, ROWS)
        await store.close()
        return events

    events = asyncio.run(make())
    with Elasticsearch(elasticsearch_url) as client:
        yield World(elasticsearch_url, prefix, client, rows, events)
        client.indices.delete(index=list(client.indices.get(index=f"{prefix}-*").body))
        client.indices.delete_index_template(name=f"{prefix}-rows")


DELETE = object()
MONTH = "rows-2026-11"


def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda source: source.__setitem__(name, value)


def leave_out(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda source: source.pop(name) and None


def delete(_: dict[str, Any]) -> object:
    return DELETE


def in_first_row(place: int, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda source: source["rows"][0].__setitem__(place, value)


def in_first_amount(place: int, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda source: source["rows"][0][3][0].__setitem__(place, value)


def swap_rows(source: dict[str, Any]) -> None:
    for name in ("rows", "row_ids"):
        source[name][0], source[name][1] = source[name][1], source[name][0]


def cut_tail(source: dict[str, Any]) -> None:
    for name in ("rows", "row_ids"):
        source[name].pop()
    source["last_ingest"] -= 1


def nested(source: dict[str, Any]) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    source["end_user_id"] = deep


ATTACKS: list[tuple[str, str, Callable[[dict[str, Any]], Any], str]] = [
    ("a column", MONTH, put("tier", "3"), "row_hash"),
    ("a column of another kind", MONTH, put("tier", 3), "column_form"),
    ("a float", MONTH, put("tier", 1.5), "row_malformed"),
    ("a number of 5,000 digits", MONTH, put("tier", "9" * 5_000), "column_form"),
    ("nothing in a column", MONTH, put("tier", None), "column_form"),
    ("a list nested 900 times", MONTH, nested, "row_hash"),
    ("a column left out", MONTH, leave_out("tier"), "column_missing"),
    ("entries of another kind", MONTH, put("payouts", []), "money_payouts"),
    ("the hash", MONTH, put("row_hash", "00" * 32), "row_hash"),
    ("the hash no hexadecimal", MONTH, put("row_hash", "xyz"), "row_malformed"),
    ("the hash left out", MONTH, leave_out("row_hash"), "row_malformed"),
    ("the private parts", MONTH, put("private", "{}"), "row_malformed"),
    ("the private parts left out", MONTH, leave_out("private"), "row_malformed"),
    ("the private parts a list", MONTH, put("private", ["a", "b"]), "row_malformed"),
    ("a row deleted", MONTH, delete, "row_missing"),
    ("the last block deleted", "blocks", delete, "head_rows"),
    ("a block deleted", "blocks/1", delete, "block_missing"),
    ("a block without rows", "blocks", leave_out("rows"), "block_malformed"),
    ("a block that lists no row", "blocks", lambda s: s["rows"].__setitem__(0, "x"), "block_malformed"),
    ("a block's other hash", "blocks", in_first_row(1, "00" * 32), "row_malformed"),
    ("a block's other partition", "blocks", in_first_row(2, "nowhere"), "row_missing"),
    ("a block's amounts, which sums count", "blocks", in_first_amount(2, "1"), "entries"),
    ("a block's amount no number", "blocks", in_first_amount(2, "x"), "row_malformed"),
    ("a block's party, which sums count", "blocks", in_first_amount(1, "pq6iqjjtj3mj2fexompwoq7rzoi"), "entries"),
    ("a block's row ids", "blocks", put("row_ids", []), "block_malformed"),
    ("a block's first number", "blocks", put("first_ingest", 0), "ingest"),
    ("two rows of a block swap numbers", "blocks", swap_rows, "head_rows"),
    ("the last row cut off", "blocks", cut_tail, "head_rows"),
    ("a payment state deleted", "payments", delete, "paid_uncollected"),
    ("a payment state's transaction", "payments", put("tx_id", "0x1"), "payment_tx"),
    ("a payment state's state", "payments", put("state", "carried"), "payment_state"),
    ("a payment state's batch", "payments", put("batch_id", "00" * 32), "batch_unknown"),
    ("a payment state's batch no hexadecimal", "payments", put("batch_id", "x"), "payment_state"),
    ("a payment state's amount", "payments", put("amount_nano_cpu", "1"), "payment_row"),
    ("a payment state's row", "payments", put("row_id", "0" * 32), "payment_row"),
    ("a payment state's number", "payments", put("ingest", 99), "left_over"),
    ("a batch deleted", "batches", delete, "batch_missing"),
    ("a batch's amount", "batches", put("amount_nano_cpu", "1"), "batch_amount"),
    ("a batch's XOR no hexadecimal", "batches", put("xor", "x"), "batch_malformed"),
    ("a batch without a root", "batches", leave_out("merkle_root"), "batch_malformed"),
    ("a batch's account", "batches", put("account", "0x" + "b" * 40), "batch_account"),
    ("a settlement deleted", "settlements", delete, "settlement_missing"),
    ("a head's time", "heads", put("time_ns", 2), "head_signature"),
    ("a head no head", "heads", put("commitment", "x"), "head_malformed"),
]  # fmt: skip


def document_of(world: World, kind: str) -> str:
    """One that matters: the row numbered 2, the last block, a collected state."""
    if kind == MONTH:
        return world.rows[1].row_id
    if kind == "blocks":
        return f"{3:016d}"
    query = {"bool": {"must_not": {"term": {"settlement_id": ""}}}}
    if kind == "payments":
        query = {"bool": {"filter": [{"term": {"ingest": 2}}, {"term": {"role": "enterprise"}}]}}
    if kind == "settlements":
        query = {"bool": {"filter": {"exists": {"field": "previous"}}}}
    hits = world.client.search(index=f"{world.prefix}-{kind}", query=query)["hits"]["hits"]
    return str(hits[0]["_id"])


@pytest.mark.parametrize(("name", "kind", "change", "code"), ATTACKS, ids=[case[0] for case in ATTACKS])
def test_every_attack_is_found(
    world: World, name: str, kind: str, change: Callable[[dict[str, Any]], Any], code: str
) -> None:
    """Each is named by row, block, batch, settlement or head, and row 6, wrong as well, is named beside it."""
    kind, _, block = kind.partition("/")
    put_back = [world.change(kind, f"{int(block):016d}" if block else document_of(world, kind), change)]
    try:
        findings = world.audit().findings
        assert code in {finding.code for finding in findings}, findings
        places = ("row ", "rows ", "batch ", "settlement ", "head ")
        assert all(finding.where.startswith(places) for finding in findings), findings
        put_back.append(world.change(MONTH, world.rows[5].row_id, put("tier", "4a")))
        findings = world.audit().findings
        assert (f"row {world.rows[5].row_id}, row_hash", "row_hash") in {(f.where, f.code) for f in findings}
    finally:
        for undo in put_back:
            undo()


def test_an_honest_ledger_is_sound(world: World) -> None:
    """Run last: all attacks have been taken back."""
    for processes in (1, 2):
        report = world.audit(processes)
        assert report.findings == ()
        assert (report.rows, report.batches, report.covered, report.unbound_rows) == (ROWS, len(world.events), ROWS, 0)
        assert report.collected_nano_cpu == report.paid_nano_cpu > 0
