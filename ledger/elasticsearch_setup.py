"""Makes the indices of a ledger in Elasticsearch, or brings those of an older program up to date (L-3, L-6).

This wants an administrator (`cgn ledger init`); the users of node, payouts and verify create and read only, so that
write-once does not rest on whoever holds their passwords. Strict mappings: a column nobody knows is refused.
"""

from typing import Any, Final

from cgn_sdk.protocol.row import PUBLIC_COLUMNS
from elasticsearch import ApiError

from ledger.core.batch import BatchRecord, SettlementRecord
from ledger.elasticsearch_store import FORMAT_ID, FORMAT_VERSION, ElasticsearchStore, translated

_KEYWORD: Final = {"type": "keyword"}
_LONG: Final = {"type": "long"}
_KEPT: Final = {"type": "keyword", "index": False, "doc_values": False}
"""Kept, never searched."""
_PARTIES: Final = {"properties": {"role": _KEYWORD, "id": _KEYWORD, "amount_nano_cpu": _LONG, "amount_nano_eur": _LONG}}
_NUMBERS: Final = frozenset(
    {"event_time_ns", "usage_fee_nano_eur", "usage_fee_nano_cpu", "exchange_rate_nano_eur_per_cpu"}
)
_ROW_FIELDS: Final = {
    **{name: _LONG if name in _NUMBERS else _KEYWORD for name in PUBLIC_COLUMNS},
    "pay_in": _PARTIES,
    "payouts": _PARTIES,
    "row_hash": _KEYWORD,
    "private": _KEPT,  # JSON as text
    "node_signature": _KEPT,
}
_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "blocks": {
        "block": _LONG,
        "first_ingest": _LONG,
        "last_ingest": _LONG,
        "row_ids": _KEYWORD,
        "rows": {"type": "object", "enabled": False},
    },
    "payments": {
        **dict.fromkeys(("row_id", "role", "public_id", "row_hash", "state", "batch_id", "tx_id"), _KEYWORD),
        "ingest": _LONG,
        "amount_nano_cpu": _LONG,
    },
    "batches": {
        **dict.fromkeys(BatchRecord._fields, _KEYWORD),
        **dict.fromkeys(("first_ingest", "last_ingest", "row_count"), _LONG),
    },
    "settlements": {
        **dict.fromkeys(SettlementRecord._fields, _KEYWORD),
        **dict.fromkeys(("first_ingest", "last_ingest", "begun_ns", "ended_ns"), _LONG),
    },
    "losses": {"loss_id": _KEYWORD, "loss": _KEPT},
    "format": {"version": _LONG},
    "heads": {
        **dict.fromkeys(("node_id", "commitment", "signature", "place"), _KEYWORD),
        **dict.fromkeys(("last_ingest", "time_ns"), _LONG),
    },
}
_SETTINGS: Final = {"number_of_shards": 1, "auto_expand_replicas": "0-1"}


async def initialise(url: str) -> None:
    """Makes what is missing. Again changes nothing. Raises StoreError, and ValueError for a URL that says nothing."""
    store = ElasticsearchStore.connect(url)
    try:
        with translated(store.address):
            await _make_indices(store)
            await store.record_old_settlements()
            await store.client.index(  # last: whoever opens the ledger looks for it
                index=store.name("format"), id=FORMAT_ID, document={"version": FORMAT_VERSION}
            )
    finally:
        await store.close()


async def _make_indices(store: ElasticsearchStore) -> None:
    indices = store.client.indices
    await indices.put_index_template(
        name=store.name("rows"),
        index_patterns=[store.name("rows-*")],
        priority=200,
        template={"settings": _SETTINGS, "mappings": {"dynamic": "strict", "properties": _ROW_FIELDS}},
    )
    for kind, fields in _FIELDS.items():
        try:
            await indices.create(
                index=store.name(kind),
                settings=_SETTINGS,
                mappings={"dynamic": "strict", "properties": fields},
                wait_for_active_shards=1,
            )
        except ApiError as error:
            if error.error != "resource_already_exists_exception":
                raise
    await indices.put_mapping(  # of months that an older program made
        index=store.name("rows-*"), properties={"node_signature": _KEPT}, allow_no_indices=True
    )


async def seal_months(url: str, before: str) -> list[str]:
    """Puts a write block on the row indices of months before `before` (as "2026-11"); returns their names (L-3). A row
    that arrives late all the same goes to an index of its own (`…-late`), which is not sealed."""
    store = ElasticsearchStore.connect(url)
    try:
        with translated(store.address):
            pattern = store.name("rows-*")
            found = await store.client.indices.get_settings(index=pattern, name="index.blocks.write")
            names = sorted(
                name
                for name in (await store.client.indices.get(index=pattern)).body
                if name < store.name(f"rows-{before}") and not name.endswith("-late") and not found.body.get(name)
            )
            for name in names:
                await store.client.indices.add_block(index=name, block="write")
            return names
    finally:
        await store.close()
