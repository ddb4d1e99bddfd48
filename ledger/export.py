"""A ledger as lines of canonical JSON, for whoever reads it with a program of his own (L-9); docs/reference/ledger.md
says what stands in them."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

from cgn_sdk.protocol.canonical import CanonicalError, encode

from ledger import limits
from ledger.port import Store, StoredRow

_FIRST: Final = -(2**62)
"""Below every number that a store can hold: rows that somebody numbered below 1 are shown too."""


async def lines(store: Store, *, private: bool = False) -> AsyncIterator[bytes]:
    """Yields one line per row, payment, settlement, batch, head and loss, in this order; each ends with a line feed.

    `private`: with the private parts of the rows, which are nobody's but their parties'.
    """
    after = _FIRST
    while rows := await store.read(after, limits.PORTION_ROWS):
        for row in rows:
            yield _line("row", _row(row, private))
        after = rows[-1].ingest
    async for payment in store.payments(_FIRST, 2**62):
        yield _line("payment", payment._asdict())
    last = b""
    while settlements := await store.settlements(after=last):
        for settlement in settlements:
            yield _line("settlement", settlement._asdict())
        last = settlements[-1].settlement_id
    last = b""
    while batches := await store.get_batches(after=last):
        for batch in batches:
            yield _line("batch", batch._asdict())
        last = batches[-1].batch_id
    place = (_FIRST, "")
    while heads := await store.heads(after=place):
        for head in heads:
            yield _line("head", json.loads(head.encode()))
        place = heads[-1].last_ingest, heads[-1].node_id
    for loss in await store.losses():
        yield _line("loss", {**json.loads(loss.encode()), "loss_kind": loss.kind})


def _row(row: StoredRow, private: bool) -> dict[str, Any]:
    members = {
        "ingest": row.ingest,
        "row_id": row.row_id,
        "row_hash": row.row_hash,
        "node_signature": row.node_signature,
        **_columns("public", row.public_json),
    }
    return {**members, **_columns("private", row.private_json)} if private else members


def _columns(name: str, stored: bytes) -> dict[str, Any]:
    """The bytes as an object where they are its canonical JSON; else as text, so that nobody sees less than is
    there."""
    try:
        value = json.loads(stored)
        if isinstance(value, dict) and encode(value) == stored:
            return {name: value}
    except (ValueError, CanonicalError, RecursionError):
        pass  # shown below
    return {f"{name}_text": stored.decode(errors="backslashreplace")}


def _line(kind: str, members: dict[str, Any]) -> bytes:
    shown = {name: _shown(value) for name, value in members.items()}
    return encode({**shown, "kind": kind}) + b"\n"


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, int) else value
