"""The shipper: from a real spool to a real embedded store, through outages, refusals and restarts (N-24, L-4)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import syncs
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import Row

from ledger import open_store
from ledger.port import Conflict, Store, StoreError
from ledger.refused import Refused
from ledger.spool import Record, Shipper, Spool

MakeRow = Callable[..., Row]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.limits.SHIP_RETRY_MS", (1, 4))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    await opened.close()


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = await Spool.open(tmp_path / "spool", segment_bytes=20_000)
    yield opened
    await opened.close()


class Outage:
    """A store that is away for its first appends; the second of them stores the rows and loses the answer."""

    def __init__(self, store: Store, times: int) -> None:
        self._store = store
        self.left = times

    async def append(self, rows: Sequence[Row]) -> None:
        if self.left:
            self.left -= 1
            if self.left == 1:
                await self._store.append(rows)
            raise StoreError("away")
        await self._store.append(rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def refuse_nothing(record: Record, error: Exception) -> None:
    raise AssertionError(f"{record.sequence}: {error}")


async def ids(store: Store) -> list[str]:
    return [row.row_id for row in await store.read(0, 10_000)]


async def test_rows_reach_the_store_in_order_and_the_spool_is_cut(
    spool: Spool, store: Store, make_row: MakeRow
) -> None:
    rows = [make_row(n) for n in range(1, 101)]
    shipper = Shipper(spool, store, keccak_256, on_refused=refuse_nothing, rows=7)
    task = asyncio.create_task(shipper.run())
    for row in rows[:50]:
        await spool.append(row.to_bytes())
    await asyncio.gather(*(spool.append(row.to_bytes(), row) for row in rows[50:]))
    async with asyncio.timeout(10):
        while shipper.shipped < 100:
            await asyncio.sleep(0.01)
    task.cancel()
    assert await ids(store) == [row.row_id for row in rows]
    assert spool.backlog == 0


async def test_an_outage_loses_and_doubles_nothing(spool: Spool, store: Store, make_row: MakeRow) -> None:
    """A time-out is unknown, not failed: rows that were stored without an answer are sent again and stay one."""
    rows = [make_row(n) for n in range(1, 21)]
    for row in rows:
        await spool.append(row.to_bytes())
    outage = Outage(store, 6)
    heard: list[tuple[int, bool]] = []
    shipper = Shipper(
        spool,
        outage,
        keccak_256,
        on_refused=refuse_nothing,
        observe=lambda shipped, error: heard.append((shipped, error is None)),
    )
    await shipper.drain()
    assert await ids(store) == [row.row_id for row in rows]
    assert heard == [(0, False)] * 6 + [(20, True)]


async def test_after_a_restart_the_rest_is_shipped_and_nothing_twice(
    tmp_path: Path, store: Store, make_row: MakeRow
) -> None:
    rows = [make_row(n) for n in range(1, 61)]
    spool = await Spool.open(tmp_path / "spool", segment_bytes=20_000)
    for row in rows:
        await spool.append(row.to_bytes())
    shipper = Shipper(spool, store, keccak_256, on_refused=refuse_nothing, rows=25)
    await shipper.ship_once()
    await spool.close()
    again = await Spool.open(tmp_path / "spool", segment_bytes=20_000)
    assert 60 - 25 <= again.backlog < 60, "whole segments were cut"
    await Shipper(again, store, keccak_256, on_refused=refuse_nothing).drain()
    assert await ids(store) == [row.row_id for row in rows]
    await again.close()
    assert list((tmp_path / "spool").glob("*.spool")) == []


async def test_what_the_store_refuses_is_kept_and_holds_nothing_up(
    tmp_path: Path, spool: Spool, store: Store, make_row: MakeRow
) -> None:
    """Another row under a used id can never be stored; bytes that are no row neither. Both stay for a person."""
    await store.append([make_row(5)])
    clash = make_row(5, fee_nano_eur=7_000)
    for n in range(1, 11):
        row = clash if n == 5 else make_row(n)
        await spool.append(row.to_bytes())
        if n == 8:
            await spool.append(b"not a row")
    shipper = Shipper(spool, store, keccak_256, on_refused=Refused(tmp_path / "refused").keep)
    await shipper.drain()
    assert sorted(await ids(store)) == [f"{n:032x}" for n in range(1, 11)]
    kept = sorted((tmp_path / "refused").glob("*.json"))
    assert [path.read_bytes() for path in kept] == [clash.to_bytes(), b"not a row"]
    assert "is stored with the hash" in kept[0].with_suffix(".reason").read_text()
    assert kept[0].stat().st_mode & 0o077 == 0


async def test_a_row_from_the_future_is_kept_and_holds_nothing_up(
    tmp_path: Path, spool: Spool, make_row: MakeRow
) -> None:
    """P-6: a clock that was a year ahead and is right again."""
    now_ns = 1_795_250_000_000_000_000
    store = await open_store(f"sqlite:///{tmp_path}/bounded.db", now_ns=lambda: now_ns)
    future = make_row(4, event_time_ns=now_ns + 365 * 24 * 3600 * 10**9)
    for n in range(1, 8):
        row = future if n == 4 else make_row(n)
        await spool.append(row.to_bytes(), row)
    await Shipper(spool, store, keccak_256, on_refused=Refused(tmp_path / "refused").keep).drain()
    assert await ids(store) == [f"{n:032x}" for n in (1, 2, 3, 5, 6, 7)]
    [kept] = (tmp_path / "refused").glob("*.json")
    assert kept.read_bytes() == future.to_bytes()
    assert "ahead of the ledger's clock" in kept.with_suffix(".reason").read_text()
    await store.close()


async def test_cancelled_in_the_middle_it_goes_on_where_it_was(spool: Spool, store: Store, make_row: MakeRow) -> None:
    for n in range(1, 31):
        await spool.append(make_row(n).to_bytes())
    shipper = Shipper(spool, Outage(store, 10**6), keccak_256, on_refused=refuse_nothing)
    task = asyncio.create_task(shipper.run())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert spool.backlog == 30
    await Shipper(spool, store, keccak_256, on_refused=refuse_nothing).drain()
    assert len(await ids(store)) == 30


def test_a_refused_row_is_on_disk_before_the_shipper_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = syncs.watch(monkeypatch)
    Refused(tmp_path / "refused").keep(Record(7, b"not a row", None), ValueError("no row"))
    assert [(one.what, one.content) for one in done] == [("sync", b"not a row"), ("sync", b"")], "the file, its folder"
    [kept] = (tmp_path / "refused").glob("*.json")
    assert kept.name.startswith("no-row-")
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "refused", kept)] == [0, 0]


async def test_rows_that_are_halved_stay_in_their_order(spool: Spool, make_row: MakeRow) -> None:
    """One that is refused among many: each of the others is given once, in order, and the spool is cut behind all."""

    class Picky:
        def __init__(self) -> None:
            self.taken: list[str] = []

        async def append(self, rows: Sequence[Row]) -> None:
            if any(row.row_id == f"{6:032x}" for row in rows):
                raise Conflict("another one is there")
            assert spool.backlog == 9, "nothing is cut before all of it is in the store"
            self.taken += [row.row_id for row in rows]

    for n in range(1, 10):
        await spool.append(make_row(n).to_bytes())
    store, refused = Picky(), list[int]()
    shipper = Shipper(spool, store, keccak_256, on_refused=lambda record, error: refused.append(record.sequence))  # type: ignore[arg-type]
    assert await shipper.ship_once() == 9
    assert (refused, store.taken) == ([6], [f"{n:032x}" for n in range(1, 10) if n != 6])
    assert (shipper.shipped, spool.backlog) == (9, 0)
