"""Signed heads over a real embedded store: what they bind, when they come, and what makes the node refuse (L-12)."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import syncs
from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.head import NO_ROWS, Head, extend, head_findings, sign_head
from cgn_sdk.protocol.loss import END, Line, Loss, sign_loss
from cgn_sdk.protocol.row import Row

from ledger import open_store
from ledger.heads import HeadKeeper, LedgerDiffers
from ledger.port import Conflict, Store, StoreError
from ledger.spool import Shipper, Spool

MakeRow = Callable[..., Row]
NODE = "p" + "a" * 26
SIGNER = signing.Signer(b"the key of this node in the test")
NOW_NS = 1_795_250_000_000_000_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    await opened.close()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "head.json"


def keeper_of(store: Any, kept: Path, **given: Any) -> HeadKeeper:
    arguments: dict[str, Any] = {"node_id": lambda: NODE, "now_ns": lambda: NOW_NS, "pause_s": 0.0, **given}
    return HeadKeeper(store, arguments.pop("signer", SIGNER), kept=kept, **arguments)


async def ship(store: Store, keeper: HeadKeeper, rows: list[Row]) -> None:
    await store.append(rows)
    keeper.shipped(rows)


async def commitment(store: Store, count: int) -> bytes:
    return extend(NO_ROWS, [row.row_hash for row in await store.row_hashes(0, count)], keccak_256)


async def test_heads_lie_on_one_chain_over_all_rows(
    store: Store, kept: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.limits.HEAD_PAGE_ROWS", 3)
    keeper = keeper_of(store, kept)
    await store.append([make_row(1)])  # from before heads were signed
    for first in (2, 9, 10):
        await ship(store, keeper, [make_row(n) for n in range(first, first + 7)])
        await keeper.advance()
        await keeper.advance()
    heads = await store.heads()
    assert [head.last_ingest for head in heads] == [8, 15, 16]
    for head in heads:
        assert head_findings(head, {NODE: SIGNER.public_key}, signing.verify) == []
        assert head.commitment == await commitment(store, head.last_ingest)
        assert head.time_ns == NOW_NS
    assert keeper.newest == heads[-1] == Head.decode(kept.read_bytes().splitlines()[0])


async def test_it_goes_on_after_a_restart_with_or_without_its_copy(store: Store, kept: Path, make_row: MakeRow) -> None:
    for n in range(1, 7):
        keeper = keeper_of(store, kept)
        await ship(store, keeper, [make_row(n)])
        await keeper.advance()
        if n % 2:
            kept.unlink()
    heads = await store.heads()
    assert [head.last_ingest for head in heads] == [1, 2, 3, 4, 5, 6]
    assert [head.commitment for head in heads] == [await commitment(store, n) for n in range(1, 7)]


async def test_a_store_that_has_lost_rows_is_signed_for_no_more(tmp_path: Path, kept: Path, make_row: MakeRow) -> None:
    """A ledger that was restored, or whose end was cut: rows go on, heads do not, and the message says what to do."""
    path, copy = tmp_path / "restored.db", tmp_path / "copy.db"
    store = await open_store(f"sqlite:///{path}")
    keeper = keeper_of(store, kept)
    await ship(store, keeper, [make_row(1)])
    await keeper.advance()
    await store.close()
    shutil.copy(path, copy)
    store = await open_store(f"sqlite:///{path}")
    keeper = keeper_of(store, kept)
    await ship(store, keeper, [make_row(n) for n in (2, 3)])
    await keeper.advance()
    await store.close()
    shutil.copy(copy, path)
    for leftover in tmp_path.glob("restored.db-*"):
        leftover.unlink()
    store = await open_store(f"sqlite:///{path}")
    try:
        keeper = keeper_of(store, kept)
        await ship(store, keeper, [make_row(4)])
        with pytest.raises(LedgerDiffers, match=r"ends with row 2.*signed that it held 3"):
            await keeper.advance()
        assert "accept-loss" in keeper.problem
        assert keeper.due_in_s() is None
        with pytest.raises(LedgerDiffers):
            await keeper.compare()
        assert await keeper.advance() is False
        assert [head.last_ingest for head in await store.heads()] == [1]
        kept.rename(tmp_path / "moved.json")
        keeper = keeper_of(store, kept)
        await keeper.advance()
        assert [head.last_ingest for head in await store.heads()] == [1, 2], "nothing in the ledger says more"
        assert (await store.heads())[-1].commitment == await commitment(store, 2)
    finally:
        await store.close()


async def test_a_head_that_the_store_forgot_is_put_again(store: Store, kept: Path, make_row: MakeRow) -> None:
    await store.append([make_row(n) for n in (1, 2)])
    head = sign_head(NODE, 2, await commitment(store, 2), 5, SIGNER.sign)
    kept.write_bytes(head.encode())
    await keeper_of(store, kept).advance()
    assert await store.heads() == [head]


class Answers:
    """A store in which some answers are not the truth."""

    def __init__(self, store: Store, **answers: Any) -> None:
        self._store = store
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        return self._answers.get(name) or getattr(self._store, name)


async def test_a_row_that_was_shipped_and_is_not_there_is_noticed(store: Store, kept: Path, make_row: MakeRow) -> None:
    """Dropped, or exchanged for another one, between its storing and the head."""
    await store.append([make_row(1), make_row(3)])
    for missing in (make_row(2), make_row(3, fee_nano_eur=5)):
        keeper = keeper_of(store, kept)
        keeper.shipped([make_row(1), missing])
        with pytest.raises(LedgerDiffers, match=missing.row_id):
            await keeper.advance()
    assert await store.heads() == []


async def test_what_was_shipped_is_not_forgotten_over_a_store_that_was_away(
    store: Store, kept: Path, make_row: MakeRow
) -> None:
    away = [StoreError("away"), None]

    async def sometimes(after: int, limit: int) -> list[Any]:
        if away and (error := away.pop(0)) is not None:
            raise error
        return list(await store.row_hashes(after, limit))

    keeper = keeper_of(Answers(store, row_hashes=sometimes), kept)
    await store.append([make_row(1)])
    keeper.shipped([make_row(1), make_row(2)])
    with pytest.raises(StoreError):
        await keeper.advance()
    with pytest.raises(LedgerDiffers, match=make_row(2).row_id):
        await keeper.advance()
    keeper.shipped([make_row(3)])
    assert keeper._shipped == {}, "nothing is gathered for a head that will not come"


async def test_a_row_that_was_shipped_twice_is_one(store: Store, kept: Path, make_row: MakeRow) -> None:
    keeper = keeper_of(store, kept)
    await ship(store, keeper, [make_row(1), make_row(2)])
    await keeper.advance()
    await ship(store, keeper, [make_row(2), make_row(3)])
    await keeper.advance()
    assert [head.last_ingest for head in await store.heads()] == [2, 3]


async def test_a_gap_in_the_numbering_is_noticed(store: Store, kept: Path, make_row: MakeRow) -> None:
    await store.append([make_row(n) for n in (1, 2, 3)])

    async def with_a_gap(after: int, limit: int) -> list[Any]:
        return [row for row in await store.row_hashes(after, limit) if row.ingest != 2]

    with pytest.raises(LedgerDiffers, match="number 3 behind 1"):
        await keeper_of(Answers(store, row_hashes=with_a_gap), kept).advance()


async def test_an_answer_that_was_lost_is_looked_up(store: Store, kept: Path, make_row: MakeRow) -> None:
    times = iter(range(100))

    async def put_and_lose(head: Head) -> None:
        await store.put_head(head)
        raise StoreError("no answer")

    answers = {"put_head": put_and_lose}
    keeper = keeper_of(Answers(store, **answers), kept, now_ns=lambda: next(times))
    keeper._store._answers = answers  # type: ignore[attr-defined]
    await ship(store, keeper, [make_row(1)])
    with pytest.raises(StoreError):
        await keeper.advance()
    assert keeper.due_in_s() is not None, "it is tried again"
    answers.clear()
    await keeper.advance()
    assert await store.heads() == [keeper.newest]
    assert keeper.due_in_s() is None


async def test_heads_by_another_key_bind_nothing(store: Store, kept: Path, make_row: MakeRow) -> None:
    """A key that was replaced, or a forger: this node starts from row 1. A kept copy by another key is a question."""
    await store.append([make_row(n) for n in (1, 2)])
    stranger = signing.Signer(bytes(32))
    forged = sign_head(NODE, 1, b"x" * 32, 5, stranger.sign)
    await store.put_head(forged)
    keeper = keeper_of(store, kept)
    await keeper.advance()
    assert keeper.newest is not None
    assert keeper.newest.commitment == await commitment(store, 2)
    kept.write_bytes(forged.encode())
    with pytest.raises(LedgerDiffers, match="key was replaced"):
        await keeper_of(store, kept).advance()
    kept.write_bytes(b"{")
    with pytest.raises(LedgerDiffers, match="cannot be read"):
        await keeper_of(store, kept).advance()


async def test_a_forged_head_over_as_many_rows_holds_up_that_one_only(
    store: Store, kept: Path, make_row: MakeRow
) -> None:
    await store.append([make_row(1)])
    await store.put_head(sign_head(NODE, 1, b"x" * 32, 5, signing.Signer(bytes(32)).sign))
    keeper = keeper_of(store, kept)
    with pytest.raises(Conflict):
        await keeper.advance()
    await ship(store, keeper, [make_row(2)])
    await keeper.advance()
    assert (await store.heads())[-1].commitment == await commitment(store, 2)


async def test_before_the_node_knows_who_it_is_nothing_is_signed(store: Store, kept: Path, make_row: MakeRow) -> None:
    keeper = keeper_of(store, kept, node_id=lambda: "")
    await ship(store, keeper, [make_row(1)])
    assert keeper.due_in_s() is None
    await keeper.advance()
    assert await store.heads() == []


async def test_the_shipper_signs_for_the_last_rows_also_when_no_others_follow(
    tmp_path: Path, store: Store, kept: Path, make_row: MakeRow
) -> None:
    """And not after every shipment: the pause between two heads is kept."""
    spool = await Spool.open(tmp_path / "spool")
    keeper = keeper_of(store, kept, pause_s=0.3)
    heard: list[Exception] = []
    shipper = Shipper(
        spool,
        store,
        keccak_256,
        on_refused=lambda record, error: None,
        observe=lambda shipped, error: heard.append(error) if error else None,
        heads=keeper,
        pause_ms=1,
    )
    task = asyncio.create_task(shipper.run())
    try:
        async with asyncio.timeout(20):
            for n in range(1, 21):
                await spool.append(make_row(n).to_bytes())
                while shipper.shipped < n:
                    await asyncio.sleep(0.001)
            while keeper.newest is None or keeper.newest.last_ingest < 20:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await spool.close()
    assert heard == []
    assert len(await store.heads()) < 20


async def test_at_a_clean_stop_the_head_is_over_everything(
    tmp_path: Path, store: Store, kept: Path, make_row: MakeRow
) -> None:
    spool = await Spool.open(tmp_path / "spool")
    keeper = keeper_of(store, kept, pause_s=1_000.0)
    await keeper.advance()
    for n in range(1, 4):
        await spool.append(make_row(n).to_bytes())
    await Shipper(spool, store, keccak_256, on_refused=lambda record, error: None, heads=keeper).drain()
    assert [head.last_ingest for head in await store.heads()] == [3]
    await spool.close()


@pytest.mark.parametrize("lives", ["stopped", "running"])
async def test_a_ledger_that_was_restored_is_noticed_before_anything_is_given_to_it(
    tmp_path: Path, kept: Path, make_row: MakeRow, lives: str
) -> None:
    """L-12: however many rows wait: they would fill the numbers of those that are gone, and then leave the spool."""
    url, told = f"sqlite:///{tmp_path}/ledger.db", []

    def shipper_of(spool: Spool, store: Store, keeper: HeadKeeper) -> Shipper:
        def observe(rows: int, error: Exception | None) -> None:
            told.append(error)

        return Shipper(spool, store, keccak_256, on_refused=lambda *_: None, heads=keeper, observe=observe)

    old, new = await open_store(f"sqlite:///{tmp_path}/old.db"), await open_store(url)
    await old.append([make_row(n) for n in (1, 2)])
    spool = await Spool.open(tmp_path / "spool")
    keeper = keeper_of(new, kept)
    for n in range(1, 6):
        await spool.append(make_row(n).to_bytes())
    await shipper_of(spool, new, keeper).drain()
    await spool.close()
    spool = await Spool.open(tmp_path / "spool")
    if lives == "stopped":
        keeper = keeper_of(old, kept)
    else:
        keeper._store = old  # as a store process that began anew over another file
    for n in range(6, 20):
        await spool.append(make_row(n).to_bytes())
    shipper = shipper_of(spool, old, keeper)
    with pytest.raises(LedgerDiffers, match=r"ends with row 2.*held 5"):
        await shipper.drain()
    task = asyncio.create_task(shipper.run())
    async with asyncio.timeout(20):
        while not any(isinstance(error, LedgerDiffers) for error in told):
            await asyncio.sleep(0.01)
    task.cancel()
    keeper._store = new
    with pytest.raises(LedgerDiffers, match=r"ends with row 2.*held 5"):
        await keeper.compare()  # until a person has looked and begun the process anew
    assert await old.head() == 2
    assert await old.heads() == []
    await spool.close()
    again = await Spool.open(tmp_path / "spool")
    assert again.backlog == 14
    await again.close()
    await old.close()
    await new.close()


async def test_rows_leave_the_spool_when_a_head_over_them_is_on_disk(
    tmp_path: Path, store: Store, kept: Path, make_row: MakeRow
) -> None:
    """Else a ledger that is put back before the next head would miss rows that nobody has any more."""
    spool = await Spool.open(tmp_path / "spool", segment_bytes=5_000)
    keeper = keeper_of(store, kept, pause_s=1_000.0)
    await keeper.advance()
    for n in range(1, 20):
        await spool.append(make_row(n).to_bytes())
    shipper = Shipper(spool, store, keccak_256, on_refused=lambda record, error: None, heads=keeper)
    while await shipper.ship_once():
        pass
    assert (spool.backlog, spool.first) == (0, 0)
    await shipper.drain()
    assert spool.first > 0
    await spool.close()


async def test_an_older_copy_of_the_head_is_compared_from_the_first_row_on(
    tmp_path: Path, store: Store, kept: Path, make_row: MakeRow
) -> None:
    await store.append([make_row(n) for n in (1, 2, 3)])
    kept.write_bytes(sign_head(NODE, 2, await commitment(store, 2), 5, SIGNER.sign).encode())
    await keeper_of(store, kept).compare()
    kept.write_bytes(sign_head(NODE, 2, b"x" * 32, 5, SIGNER.sign).encode())
    with pytest.raises(LedgerDiffers, match="held 2"):
        await keeper_of(store, kept).compare()


async def test_moving_the_copy_away_is_no_way_round_the_heads_in_the_ledger(
    store: Store, kept: Path, make_row: MakeRow
) -> None:
    """A ledger whose end was cut: the loss has to be accepted, by the node's signature."""
    await store.append([make_row(n) for n in (1, 2)])
    await store.put_head(beyond := sign_head(NODE, 9, b"x" * 32, 5, SIGNER.sign))
    kept.write_bytes(beyond.encode())
    for _ in range(2):
        with pytest.raises(LedgerDiffers, match=r"ends with row 2.*held 9"):
            await keeper_of(store, kept).compare()
        kept.unlink(missing_ok=True)
    unsigned = Loss(NODE, 2, END, 3, 9, b"x" * 32, "cut", "a disk", "the operator", NOW_NS - 1, b"")
    await store.put_loss(sign_loss(unsigned, signing.Signer(bytes(32)).sign))
    with pytest.raises(LedgerDiffers):  # anybody can say so
        await keeper_of(store, kept).compare()
    await store.put_loss(loss := sign_loss(unsigned, SIGNER.sign))
    await keeper_of(store, kept).advance()
    await ship(store, keeper := keeper_of(store, kept), [make_row(n) for n in (3, 4)])
    await keeper.advance()
    newest = (await store.heads())[-2]
    line = Line([loss], keccak_256)
    line.extend([row.row_hash for row in await store.row_hashes(0, 9)])
    assert (newest.last_ingest, newest.commitment) == (4, line.commitment)
    assert newest.commitment != await commitment(store, 4)
    assert keeper.losses == (loss,)


async def test_a_head_over_lost_rows_holds_up_no_new_one(store: Store, kept: Path, make_row: MakeRow) -> None:
    """The place of the new head over as many rows is taken; the node's own copy keeps it."""
    await store.append([make_row(1)])
    await store.put_head(sign_head(NODE, 2, b"x" * 32, 5, SIGNER.sign))
    await store.put_loss(sign_loss(Loss(NODE, 1, END, 2, 2, b"x" * 32, "", "a disk", "me", 6, b""), SIGNER.sign))
    keeper = keeper_of(store, kept)
    await ship(store, keeper, [make_row(2)])
    assert await keeper.advance()
    assert keeper.newest is not None
    assert (keeper.newest.last_ingest, keeper.due_in_s()) == (2, None)
    assert keeper.newest == Head.decode(kept.read_bytes().splitlines()[0])
    again = keeper_of(store, kept)
    await ship(store, again, [make_row(3)])
    await again.advance()
    assert [head.last_ingest for head in await store.heads()] == [2, 3]


async def test_the_copy_is_whole_on_disk_before_it_has_its_name(
    store: Store, kept: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows leave the spool on the strength of it."""
    keeper = keeper_of(store, kept)
    await ship(store, keeper, [make_row(1)])
    with monkeypatch.context() as patched:
        done = syncs.watch(patched)
        await keeper.advance()
    content = kept.read_bytes()
    assert [(each.what, each.path, each.content) for each in done] == [
        ("sync", "head.new", content),
        ("name", "head.json", content),
    ]
