"""What a store in a process of its own adds to the port: its process (L-4; tests/conformance/test_store.py has the rest)."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cgn_sdk.protocol.row import Row

from ledger import limits, open_store
from ledger.port import Store, StoreError

MakeRow = Callable[..., Row]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/ledger.db", apart=True)
    yield opened
    await opened.close()


def children() -> set[int]:
    """Process ids of our own children that hold a store."""
    found = set()
    for text in Path("/proc/self/task").glob("*/children"):
        for pid in text.read_text().split():
            if b"ledger.store_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(int(pid))
    return found


async def test_a_child_that_dies_is_followed_by_another_and_nothing_is_lost(store: Store, make_row: MakeRow) -> None:
    await store.append([make_row(1)])
    (child,) = children()
    os.kill(child, signal.SIGKILL)
    with pytest.raises(StoreError):
        for _ in range(100):  # until its end is noticed
            await store.append([make_row(1)])
            await asyncio.sleep(0.01)
    await store.append([make_row(1), make_row(2)])
    assert [row.row_id for row in await store.read(0, 10)] == [make_row(1).row_id, make_row(2).row_id]
    assert children().isdisjoint({child})


async def test_what_is_under_way_when_the_child_dies_is_unknown(store: Store, make_row: MakeRow) -> None:
    """Not failed, not stored: the caller does it again."""
    (child,) = children()
    os.kill(child, signal.SIGSTOP)
    writing = asyncio.create_task(store.append([make_row(1)]))
    await asyncio.sleep(0.05)
    assert not writing.done()
    os.kill(child, signal.SIGKILL)
    with pytest.raises(StoreError):
        await writing


async def test_signals_for_the_parent_do_not_end_the_child(store: Store, make_row: MakeRow) -> None:
    (child,) = children()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child, number)
    await store.append([make_row(1)])
    assert children() == {child}


async def test_closing_writes_what_is_under_way_and_leaves_no_process(tmp_path: Path, make_row: MakeRow) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = await open_store(url, apart=True)
    writing = [asyncio.create_task(store.append([make_row(n)])) for n in range(1, 20)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writing)
    assert children() == set()
    with pytest.raises(StoreError):
        await store.head()
    again = await open_store(url)
    assert await again.head() == 19
    await again.close()


async def test_a_child_that_does_not_close_is_ended(
    tmp_path: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROCESS_CLOSE_S", 0.1)
    store = await open_store(f"sqlite:///{tmp_path}/ledger.db", apart=True)
    os.kill(*children(), signal.SIGSTOP)
    await store.close()
    assert children() == set()


async def test_a_store_that_cannot_be_opened_says_why_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"another kind of file" * 100)
    with pytest.raises(StoreError, match="cannot be used as a ledger"):
        await open_store(f"sqlite:///{tmp_path}/ledger.db", apart=True)
    with pytest.raises(ValueError, match="a ledger is"):
        await open_store("ftp://localhost", apart=True)
    assert children() == set()


async def test_sequences_come_in_pages_and_may_be_left_early(
    store: Store, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [make_row(n) for n in range(limits.PORTION_ROWS + 3)]
    await store.append(rows)
    operator = next(entry for entry in rows[0].public["payouts"] if entry["role"] == "operator")["id"]
    found = [row.row_id async for row in store.entity_rows("operator", operator, 1, len(rows))]
    assert found == [row.row_id for row in rows]
    left = store.entity_rows("operator", operator, 1, len(rows))
    assert (await anext(left)).row_id == rows[0].row_id
    await left.aclose()  # type: ignore[attr-defined]
    assert await store.head() == len(rows)


async def test_a_child_that_ends_under_a_write_is_a_store_that_is_away(
    store: Store, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the transport raises then: callers know StoreError, and try again (L-4)."""

    def closed(self: object, pieces: object) -> None:
        raise RuntimeError("handler is closed")

    with monkeypatch.context() as patched:
        patched.setattr("asyncio.StreamWriter.writelines", closed)
        with pytest.raises(StoreError, match="has ended"):
            await store.append([make_row(1)])
    await store.append([make_row(1)])
