"""A crash behind every single operation of the disk: what was acknowledged is there (N-24, L-4).

The order of writes, syncs, renames and removals is what is tested: with any one of them left out or moved, some crash
loses a row that somebody was told of.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import Row
from forgetful_disk import File, ForgetfulDisk, losses

from ledger import limits
from ledger.spool import Record, Shipper, Spool

MakeRow = Callable[..., Row]
FOLDER = Path("/nowhere/spool")
SEGMENT_BYTES = 2_000


@pytest.fixture
def put_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[ForgetfulDisk], None]:
    """Puts a disk under spool and segments."""

    def put(disk: ForgetfulDisk) -> None:
        for module in ("ledger.spool", "ledger.segment_file"):
            monkeypatch.setattr(f"{module}.disk", disk)

    return put


async def records(spool: Spool) -> list[Record]:
    found: list[Record] = []
    while page := await spool.read(found[-1].sequence if found else spool.first, 50):
        found += page
    return found


async def contents(spool: Spool) -> list[bytes]:
    return [record.data for record in await records(spool)]


async def a_life(disk: ForgetfulDisk, first: int, rows: int, *, leave: bool = True) -> None:
    """Appends numbered rows in groups of changing size, cuts behind some, and stops."""
    chance = random.Random(first)
    spool = await Spool.open(FOLDER, segment_bytes=SEGMENT_BYTES)
    disk.mark("acknowledged", *await contents(spool))  # what a start finds counts as rows: it will be shipped and shown
    number = first
    while number < first + rows:
        group = [b"%d:" % n + b"x" * (n * 37 % 700) for n in range(number, number + chance.randrange(1, 5))]
        await asyncio.gather(*(spool.append(row) for row in group))
        disk.mark("acknowledged", *group)
        number += len(group)
        if chance.random() < 0.3:
            there = await records(spool)
            through = there[-1].sequence - chance.randrange(0, 6)
            disk.mark("cut", [record.data for record in there if record.sequence <= through])
            await spool.cut(through)
    if leave:
        await spool.close()
    else:
        spool._broken = OSError("killed")
        await spool.close()


def owed(recording: Sequence[tuple[str, tuple[Any, ...]]]) -> tuple[list[bytes], list[bytes]]:
    """The rows that must be there, in order; and those that may also be there, before them, having been cut."""
    told: list[bytes] = []
    cut: set[bytes] = set()
    for name, arguments in recording:
        if name == "acknowledged":
            told += arguments
        elif name == "cut":
            cut |= set(arguments[0])
    return [row for row in told if row not in cut], told


@pytest.mark.parametrize("seed", range(3))
async def test_a_crash_anywhere_loses_no_acknowledged_row(put_disk: Callable[[ForgetfulDisk], None], seed: int) -> None:
    disk = ForgetfulDisk()
    put_disk(disk)
    await a_life(disk, 1 + 1_000 * seed, 40, leave=seed != 1)
    for step in range(1, len(disk.recording) + 1):
        must, may = owed(disk.recording[:step])
        for how, lose in losses(seed * 10_000 + step).items():
            after = disk.image(step, lose)
            put_disk(after)
            spool = await Spool.open(FOLDER, segment_bytes=SEGMENT_BYTES)
            found = await contents(spool)
            where = f"behind step {step} ({disk.recording[step - 1][0]}), losing {how}"
            assert [row for row in found if row in set(must)] == must, where
            assert len(found) == len(set(found)), where
            numbers = [int(row.split(b":")[0]) for row in found]
            assert numbers == sorted(numbers), where
            assert all(row in may for row in found[: -5 or None]), f"{where}: only the last group may be unknown"
            spool._broken = OSError("killed")
            await spool.close()


@pytest.mark.parametrize("power", [False, True], ids=["power lost", "killed"])
async def test_a_crash_while_it_starts_after_a_crash(put_disk: Callable[[ForgetfulDisk], None], power: bool) -> None:
    """The start itself repairs, drops and begins files. What it finds counts from then on, also what the process before
    had written and not synced."""
    first = ForgetfulDisk()
    put_disk(first)
    await a_life(first, 1, 25, leave=False)
    for step in range(5, len(first.recording), 5):
        second = first.image(step, losses(step)["half"], power=power)
        put_disk(second)
        await a_life(second, 500, 12, leave=False)
        for later in range(1, len(second.recording) + 1, 3):
            must, _ = owed(second.recording[:later])
            for how, lose in losses(step * 1_000 + later).items():
                put_disk(second.image(later, lose))
                spool = await Spool.open(FOLDER, segment_bytes=SEGMENT_BYTES)
                found = await contents(spool)
                assert [row for row in found if row in set(must)] == must, f"{step}, {later}, losing {how}"
                spool._broken = OSError("killed")
                await spool.close()


async def test_a_torn_end_is_kept_before_it_goes(put_disk: Callable[[ForgetfulDisk], None]) -> None:
    """It may have been whole once: at no moment is it neither in the segment nor beside it."""
    first = ForgetfulDisk()
    put_disk(first)
    await a_life(first, 1, 3, leave=False)
    path = first.names(FOLDER, ".spool")[-1]
    data = bytearray(first.read(path).rstrip(b"\0"))
    data[-5] ^= 4
    torn = bytes(data)[-60:]
    second = ForgetfulDisk({path: File(bytes(data))})
    put_disk(second)
    spool = await Spool.open(FOLDER, segment_bytes=SEGMENT_BYTES)
    [dropped] = spool.dropped
    assert second.read(dropped.kept).endswith(torn)
    await spool.close()
    for step in range(1, len(second.recording) + 1):
        for how, lose in losses(step).items():
            after = second.image(step, lose)
            there = [after.read(place) for place in after.names(FOLDER, "")]
            assert any(torn in content for content in there), f"behind step {step}, losing {how}"


class KeepingStore:
    """A store that writes down when a row is its own."""

    def __init__(self, disk: ForgetfulDisk, chance: random.Random) -> None:
        self._disk = disk
        self._chance = chance

    async def append(self, rows: Sequence[Row]) -> None:
        await asyncio.sleep(0)
        self._disk.mark("stored", *(row.to_bytes() for row in rows))


async def test_every_acknowledged_row_is_in_the_spool_or_in_the_store(
    put_disk: Callable[[ForgetfulDisk], None], make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipper cuts behind the store's answer, never before it."""
    monkeypatch.setattr(limits, "SPOOL_MEMORY_BYTES", 4_000)
    disk = ForgetfulDisk()
    put_disk(disk)
    spool = await Spool.open(FOLDER, segment_bytes=4_000)
    shipper = Shipper(
        spool,
        KeepingStore(disk, random.Random(1)),
        keccak_256,
        on_refused=lambda record, error: None,
        rows=3,  # type: ignore[arg-type]
    )
    for number in range(1, 31):
        data = make_row(number).to_bytes()
        await spool.append(data)
        disk.mark("acknowledged", data)
        if number % 4 == 0:
            await shipper.ship_once()
    await shipper.drain()
    await spool.close()
    for step in range(1, len(disk.recording) + 1):
        before = disk.recording[:step]
        stored = {row for name, rows in before if name == "stored" for row in rows}
        told = {row for name, rows in before if name == "acknowledged" for row in rows}
        put_disk(disk.image(step, losses(step)["half"]))
        again = await Spool.open(FOLDER, segment_bytes=4_000)
        assert told <= stored | set(await contents(again)), f"behind step {step} ({before[-1][0]})"
        again._broken = OSError("killed")
        await again.close()
