"""A copy made with SQLite's own command while rows are written is a whole ledger (L-4; docs/howto/back-up-a-node.md)."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from cgn_sdk.protocol.row import Row

from ledger import open_store


async def test_a_copy_of_a_ledger_in_use_holds_every_row_that_was_stored_before(
    tmp_path: Path, make_row: Callable[..., Row]
) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/ledger.db", apart=True)
    before = [make_row(number) for number in range(1, 50)]
    await store.append(before)
    writing = asyncio.create_task(store.append([make_row(number) for number in range(50, 300)]))
    with (
        closing(sqlite3.connect(tmp_path / "ledger.db")) as source,
        closing(sqlite3.connect(tmp_path / "copy.db")) as copy,
    ):
        source.backup(copy)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    await writing
    await store.close()
    restored = await open_store(f"sqlite:///{tmp_path}/copy.db")
    assert [row.row_id for row in await restored.read(0, len(before))] == [row.row_id for row in before]
    await restored.append([make_row(number) for number in range(1, 400)])
    assert await restored.head() == 399
    await restored.close()
