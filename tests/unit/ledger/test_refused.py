"""Rows that the store refused: none is written over, and what is offered again goes when the ledger shows it (L-4)."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import Row

from ledger import open_store
from ledger.port import Store
from ledger.refused import Refused, offer_again
from ledger.spool import Record, Shipper, Spool

MakeRow = Callable[..., Row]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    await opened.close()


async def ids(store: Store) -> list[str]:
    return [row.row_id for row in await store.read(0, 10_000)]


async def test_rows_refused_in_two_lives_of_a_node_lie_beside_each_other(
    tmp_path: Path, store: Store, make_row: MakeRow
) -> None:
    """L-4: sequence numbers begin anew after a clean stop; no refused row, and no other bytes of it, is written over."""
    await store.append([make_row(n) for n in (5, 6)])
    clashes = [make_row(5, fee_nano_eur=7_000), make_row(6, fee_nano_eur=7_000), make_row(5, fee_nano_eur=9_000)]
    refused = Refused(tmp_path / "refused", lambda refusal: told.append(refusal.path.name))
    told: list[str] = []
    for clash in [*clashes, clashes[0]]:
        spool = await Spool.open(tmp_path / "spool again")
        await spool.append(clash.to_bytes())
        await Shipper(spool, store, keccak_256, on_refused=refused.keep).drain()
        await spool.close()
    kept = {path.read_bytes() for path in refused.folder.glob("*.json")}
    assert kept == {clash.to_bytes() for clash in clashes}
    assert refused.count == Refused(refused.folder).count == 3
    assert told[:2] == [f"{5:032x}.json", f"{6:032x}.json"]
    assert told[3] == told[0]


async def test_refused_rows_that_are_offered_again_go_when_the_ledger_shows_them(
    tmp_path: Path, store: Store, make_row: MakeRow
) -> None:
    await store.append([make_row(5)])
    refused = Refused(tmp_path / "refused")
    clash = make_row(5, fee_nano_eur=7_000)
    for sequence, data in enumerate((clash.to_bytes(), make_row(7).to_bytes(), b"not a row"), 1):
        refused.keep(Record(sequence, data, None), ValueError("for a reason of that day"))
    found = await offer_again(refused.folder, store)
    assert found.taken == (f"{7:032x}.json",)
    assert [name[:5] for name, _ in found.refused] == ["00000", "no-ro"]
    assert "is stored with the hash" in found.refused[0][1]
    assert await ids(store) == [f"{n:032x}" for n in (5, 7)]
    refused.look()
    assert refused.count == 2
    assert sorted(path.suffix for path in refused.folder.iterdir()) == [".json", ".json", ".reason", ".reason"]
