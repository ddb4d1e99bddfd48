"""The spool on a real disk: durable groups, bounds, cutting, and what a failing disk does (N-24, L-4)."""

import asyncio
import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import disk, limits
from ledger.core import spool_format
from ledger.core.spool_format import SpoolDamaged
from ledger.spool import Record, Spool, SpoolBroken, SpoolFull

WRITER = Path(__file__).parents[2] / "support/spool_writer.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
async def spool(folder: Path) -> AsyncIterator[Spool]:
    opened = await Spool.open(folder, segment_bytes=4_096, max_bytes=1_000_000)
    yield opened
    await opened.close()


async def contents(spool: Spool) -> list[bytes]:
    found: list[Record] = []
    while page := await spool.read(found[-1].sequence if found else spool.first, 50):
        found += page
    assert [record.sequence for record in found] == list(range(spool.first + 1, spool.first + 1 + len(found)))
    return [record.data for record in found]


async def crash(spool: Spool) -> None:
    """Lets go of the folder as a killed process would: nothing written, nothing removed, nothing trimmed."""
    spool._broken = OSError("killed")
    await spool.close()


async def test_rows_are_there_after_a_crash(folder: Path, spool: Spool) -> None:
    rows = [b"row %d" % n for n in range(500)]
    await asyncio.gather(*(spool.append(row) for row in rows))
    assert await contents(spool) == rows
    await crash(spool)
    again = await Spool.open(folder)
    assert await contents(again) == rows
    await again.append(b"one more")
    assert await contents(again) == [*rows, b"one more"]
    assert again.backlog == 501
    await again.close()


async def test_items_come_back_while_memory_holds_them(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    token = object()
    await spool.append(b"a", token)
    assert (await spool.read(0, 10))[0].item is token
    monkeypatch.setattr("ledger.limits.SPOOL_MEMORY_BYTES", 2_000)
    await asyncio.gather(*(spool.append(b"x" * 100, token) for _ in range(100)))
    rows = await spool.read(0, 1_000)
    assert rows[0].item is None, "left memory, read from the file"
    last = await spool.read(95, 10)
    assert [record.item for record in last] == [token] * 6
    assert len(await contents(spool)) == 101


async def test_cutting_removes_whole_segments(folder: Path, spool: Spool) -> None:
    for _ in range(20):
        await asyncio.gather(*(spool.append(b"x" * 500) for _ in range(5)))
    before = len(list(folder.glob("*.spool")))
    assert before > 5
    await spool.cut(50)
    assert spool.backlog == 50
    assert len(list(folder.glob("*.spool"))) < before
    assert spool.first <= 50
    rest = await spool.read(50, 1_000)
    assert [record.sequence for record in rest] == list(range(51, 101))
    await spool.cut(10**9)
    assert spool.backlog == 0
    await spool.close()
    assert list(folder.glob("*.spool")) == [], "nothing is left when all is shipped"


async def test_the_bound_in_bytes(folder: Path) -> None:
    spool = await Spool.open(folder, max_bytes=20_000)
    taken = 0
    with pytest.raises(SpoolFull):
        for _ in range(100):
            await spool.append(b"x" * 1_000)
            taken += 1
    assert 15 <= taken < 20
    assert sum(path.stat().st_size for path in folder.glob("*.spool")) <= 20_000
    assert len(await contents(spool)) == taken
    assert spool.room_bytes < 1_100
    await spool.cut(taken)
    await spool.append(b"y" * 1_000)
    await spool.close()


async def test_waiting_rows_count_too(folder: Path) -> None:
    spool = await Spool.open(folder, max_bytes=20_000)
    results = await asyncio.gather(*(spool.append(b"x" * 1_000) for _ in range(50)), return_exceptions=True)
    full = [result for result in results if isinstance(result, SpoolFull)]
    assert 30 < len(full) < 40
    assert len(await contents(spool)) == 50 - len(full)
    await spool.close()


@pytest.mark.parametrize("data", [b"", b"x" * (512 * 1024 + 1)])
async def test_a_record_has_a_length(spool: Spool, data: bytes) -> None:
    with pytest.raises(ValueError, match="at most"):
        await spool.append(data)


@pytest.mark.parametrize("size", [1, 512 * 1024])
async def test_a_record_may_be_as_long_as_that(spool: Spool, size: int) -> None:
    await spool.append(b"x" * size)
    assert await contents(spool) == [b"x" * size]


async def test_room_is_used_to_the_last_byte(folder: Path) -> None:
    spool = await Spool.open(folder, max_bytes=20_000, segment_bytes=4_096)
    over = spool_format.RECORD_HEADER_BYTES + spool_format.GROUP_HEADER_BYTES
    room = spool.room_bytes
    with pytest.raises(SpoolFull):
        await spool.append(b"x" * (room - over + 1))
    await spool.append(b"x" * (room - over))
    assert spool.room_bytes == 0
    await spool.close()


async def test_reading_begins_and_ends_where_it_is_asked_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From memory, from files of several segments, and where both meet."""
    monkeypatch.setattr("ledger.limits.SPOOL_MEMORY_BYTES", 1_000)
    spool = await Spool.open(folder, segment_bytes=1_500, max_bytes=1_000_000)
    for number in range(1, 31):
        await spool.append(b"%03d" % number + b"x" * 97)
    assert spool._recent[0].sequence == 21
    for after in range(32):
        for limit in (1, 3, 15, 100):
            found = [(record.sequence, int(record.data[:3])) for record in await spool.read(after, limit)]
            until = min(after + limit, 30 if after >= 20 else 20)
            assert found == [(number, number) for number in range(after + 1, until + 1)], (after, limit)
    await spool.cut(25)
    assert [record.sequence for record in await spool.read(25, 100)] == [26, 27, 28, 29, 30]
    await spool.cut(10)
    assert spool.backlog == 5, "what was cut stays cut"
    await spool.cut(1_000)
    await spool.append(b"031")
    assert (spool.backlog, [record.data for record in await spool.read(30, 9)]) == (1, [b"031"])
    await spool.close()


async def test_each_segment_that_another_follows_has_its_end_and_no_room_behind_it(folder: Path) -> None:
    """Without a clean stop, too: what is missing of one then shows."""
    spool = await Spool.open(folder, segment_bytes=1_500, max_bytes=1_000_000)
    for _ in range(60):
        await spool.append(b"x" * 97)
    await crash(spool)
    for segment in spool._segments[:-1]:
        end = spool_format.segment_end(segment.first + segment.count)
        assert segment.path.read_bytes()[segment.size :] == end


async def test_a_segment_is_cut_with_its_last_row_and_not_before(folder: Path) -> None:
    spool = await Spool.open(folder, segment_bytes=1_500, max_bytes=1_000_000)
    for _ in range(60):
        await spool.append(b"x" * 97)
    held = sum(segment.file_bytes for segment in spool._segments)
    assert spool._bytes == held
    first = spool._segments[0]
    last = first.first + first.count - 1
    await spool.cut(last - 1)
    assert first.path.exists()
    await spool.cut(last)
    assert not first.path.exists()
    assert (spool.first, spool._bytes) == (last, held - first.file_bytes)
    await spool.close()


async def test_one_process_per_folder(folder: Path, spool: Spool) -> None:
    with pytest.raises(OSError, match="another process"):
        await Spool.open(folder)


async def test_only_its_owner_may_read_it(folder: Path, spool: Spool) -> None:
    await spool.append(b"private")
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.spool"))


async def test_damage_is_not_dropped(folder: Path, spool: Spool) -> None:
    for _ in range(3):
        await spool.append(b"x" * 100)
    await crash(spool)
    path = next(folder.glob("*.spool"))
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(SpoolDamaged):
        await Spool.open(folder)
    assert path.read_bytes() == data


async def test_a_flip_in_the_last_group_is_said_and_its_bytes_are_kept(folder: Path, spool: Spool) -> None:
    """After a crash it may have been torn; nobody can know. After a clean stop nothing is dropped at all."""
    for n in range(3):
        await spool.append(b"row %d" % n)
    await crash(spool)
    path = next(folder.glob("*.spool"))
    data = bytearray(path.read_bytes())
    place = data.index(b"row 2")
    data[place] ^= 1
    path.write_bytes(data)
    again = await Spool.open(folder)
    assert await contents(again) == [b"row 0", b"row 1"]
    [dropped] = again.dropped
    assert (dropped.rows, dropped.segment) == (1, path.name)
    assert dropped.kept.read_bytes().endswith(b"sow 2")
    assert dropped.kept.stat().st_size == dropped.size
    await again.close()
    third = await Spool.open(folder)
    assert third.dropped == []
    await third.append(b"row 3")
    await third.close()
    path = sorted(folder.glob("*.spool"))[-1]
    path.write_bytes(path.read_bytes().replace(b"row 3", b"row 2"))
    with pytest.raises(SpoolDamaged, match="repair-spool"):
        await Spool.open(folder)


@pytest.mark.parametrize("torn", [b"CGN", b"CGN" + bytes(4_000), b"\xff" * 5_000])
async def test_what_was_dropped_of_a_segment_that_held_nothing_is_kept(folder: Path, torn: bytes) -> None:
    spool = await Spool.open(folder)
    await spool.append(b"one")
    await crash(spool)
    (folder / f"{2:020d}.spool").write_bytes(torn)
    again = await Spool.open(folder)
    [dropped] = again.dropped
    assert dropped.kept.read_bytes() == torn.rstrip(b"\0")
    assert await contents(again) == [b"one"]
    await again.close()


async def test_one_row_less_than_at_a_clean_stop_is_damage(folder: Path) -> None:
    """Cut off without a trace: behind a whole group, with neither end nor torn bytes."""
    spool = await Spool.open(folder)
    for row in (b"one", b"two"):
        await spool.append(row)
    last = spool_format.group_bytes([b"two"])
    path, size = spool._segments[-1].path, spool._segments[-1].size
    await spool.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: size - last])
    with pytest.raises(SpoolDamaged, match="rows 2 to 2 are missing"):
        await Spool.open(folder)
    path.write_bytes(whole[:size])
    again = await Spool.open(folder)
    assert await contents(again) == [b"one", b"two"], "the end itself holds no row"
    await again.close()


async def test_an_end_that_could_not_be_written_at_a_stop_is_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row is durable without it; what is torn of it is said like any torn end."""
    spool = await Spool.open(folder)
    await spool.append(b"one")
    write = disk.write
    end = spool_format.segment_end(2)

    def torn(file: int, data: bytes | memoryview, offset: int) -> None:
        if bytes(data) == end:
            write(file, end[:7], offset)
            raise OSError(errno.EIO, "the disk is failing")
        write(file, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(disk, "write", torn)
        await spool.close()
    again = await Spool.open(folder)
    assert await contents(again) == [b"one"]
    assert [dropped.kept.read_bytes() for dropped in again.dropped] == [end[:7].rstrip(b"\0")]
    await again.close()


async def test_a_torn_end_is_gone_when_another_segment_follows(folder: Path) -> None:
    """Else the next start would find a damaged segment in the middle."""
    spool = await Spool.open(folder)
    await spool.append(b"one")
    await spool.append(b"two")
    path, size = spool._segments[-1].path, spool._segments[-1].size
    await crash(spool)
    data = path.read_bytes()
    path.write_bytes(data[: size - 1])
    for row in (b"three", b"four"):
        spool = await Spool.open(folder)
        await spool.append(row)
        await crash(spool)
    last = await Spool.open(folder)
    assert await contents(last) == [b"one", b"three", b"four"]
    await last.close()


async def test_no_next_segment_can_begin_and_the_one_before_grows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason: no row is in the new one yet, so nobody is refused and nothing ends."""
    fatal: list[BaseException] = []
    spool = await Spool.open(folder, segment_bytes=2_000, on_fatal=fatal.append)
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EIO):
        for failing in ("create", "rename", "sync"):

            def fail(*_: object, number: int = number) -> None:
                raise OSError(number, "not now")

            with monkeypatch.context() as patched:
                patched.setattr(f"ledger.disk.{failing}", fail)
                for _ in range(12):
                    await spool.append(b"x" * 500)
    before = len(list(folder.glob("*.spool")))
    for _ in range(12):
        await spool.append(b"y" * 500)
    assert len(list(folder.glob("*.spool"))) > before, "and goes on as usual afterwards"
    assert fatal == []
    rows = await contents(spool)
    assert len(rows) == 13 * 12
    await crash(spool)
    again = await Spool.open(folder)
    assert await contents(again) == rows
    await again.close()


async def test_a_process_without_descriptors_takes_rows_all_the_same(folder: Path) -> None:
    """A real limit, used up by others: rows are taken and segments follow each other; the shipper, who has to open
    files, waits and goes on by itself."""
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, WRITER.with_name("spool_without_descriptors.py"), folder],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    said = json.loads(ended.stdout)
    assert said["refused"] == 0
    assert said["newest_begins_with"] > 200, "each leaves its descriptors to the next"
    assert said["shipped"] == said["rows"] == 600
    assert said["heard"], "the shipper said why it waited"


async def test_a_missing_segment_is_damage(folder: Path, spool: Spool) -> None:
    for _ in range(30):
        await spool.append(b"x" * 500)
    await crash(spool)
    sorted(folder.glob("*.spool"))[1].unlink()
    with pytest.raises(SpoolDamaged, match="expected"):
        await Spool.open(folder)


# --- the disk fails ---


async def test_a_failed_fsync_is_fatal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync nobody knows what is on disk; a second one may report success (fsyncgate)."""
    fatal: list[BaseException] = []
    spool = await Spool.open(folder, on_fatal=fatal.append)
    await spool.append(b"before")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(SpoolBroken):
        await spool.append(b"during")
    assert len(fatal) == 1
    monkeypatch.undo()
    with pytest.raises(SpoolBroken):
        await spool.append(b"after")
    await spool.close()


async def test_by_default_the_process_ends(folder: Path) -> None:
    code = (
        "import asyncio, os, sys; from ledger.spool import Spool\n"
        "async def main():\n"
        "    spool = await Spool.open(sys.argv[1])\n"
        "    def fail(fd): raise OSError(5, 'no')\n"
        "    os.fdatasync = fail\n"
        "    await spool.append(b'x')\n"
        "    print('still here')\n"
        "asyncio.run(main())\n"
    )
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code, str(folder)], capture_output=True, check=False, timeout=30
    )
    assert ended.returncode == 1
    assert b"still here" not in ended.stdout
    assert b"the spool's disk failed" in ended.stderr


async def test_no_room_while_a_refused_group_is_taken_back_is_fatal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatal: list[BaseException] = []
    spool = await Spool.open(folder, on_fatal=fatal.append)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "pwrite", fail)
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(SpoolBroken):
        await spool.append(b"x")
    assert len(fatal) == 1
    monkeypatch.undo()
    await spool.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root; the file-size limit below covers the code")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False).returncode:
        pytest.skip("this machine does not let root mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def test_a_full_disk_refuses_cleanly_and_recovers(small_disk: Path) -> None:
    """N-24: refused, nothing half-done; and taken again when there is room."""
    spool = await Spool.open(small_disk / "spool", segment_bytes=16_384)
    taken: list[bytes] = []
    refused = 0
    for n in range(300):
        row = b"%d " % n + b"x" * 2_000
        try:
            await spool.append(row)
            taken.append(row)
        except SpoolFull:
            refused += 1
    assert refused > 100
    assert await contents(spool) == taken
    await spool.cut(len(taken) // 2)
    await spool.append(b"room again")
    await spool.cut(0)
    kept = await contents(spool)
    assert kept[-1] == b"room again"
    await crash(spool)
    again = await Spool.open(small_disk / "spool", segment_bytes=16_384)
    assert await contents(again) == kept
    await again.close()


async def test_a_file_size_limit_refuses_like_a_full_disk(folder: Path) -> None:
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, WRITER, folder, "1", "50000"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    lines = ended.stdout.split()
    assert lines[-1] == b"FULL", ended.stderr
    spool = await Spool.open(folder)
    assert [int(row.split(b":")[0]) for row in await contents(spool)] == [int(line) for line in lines[:-1]]
    await spool.close()


@pytest.mark.parametrize("seed", range(6))
async def test_killed_at_any_moment_no_acknowledged_row_is_lost(folder: Path, seed: int) -> None:
    """SIGKILL a writer again and again over one folder; every acknowledged row is there, once, in order."""
    chance = random.Random(seed)
    acknowledged: list[int] = []
    first = 1
    for _ in range(3):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, WRITER, str(folder), str(first), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        await writer.stdout.readline()  # it has started
        acknowledged.append(first)
        await asyncio.sleep(chance.random() * 0.2)
        writer.send_signal(signal.SIGKILL)
        rest = await writer.stdout.read()
        await writer.wait()
        lines = rest.decode().split("\n")
        acknowledged += [int(line) for line in lines[:-1]]
        spool = await Spool.open(folder)
        rows = await contents(spool)
        numbers = [int(row.split(b":")[0]) for row in rows]
        assert numbers == list(range(1, len(numbers) + 1))
        assert all(row == b"%d:" % n + b"x" * (n * 37 % 900) for n, row in zip(numbers, rows, strict=True))
        assert set(acknowledged) <= set(numbers)
        first = len(numbers) + 1
        await crash(spool)


async def test_an_answer_that_raises_harms_no_other(folder: Path) -> None:
    spool = await Spool.open(folder)
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    answers: list[Exception | None] = []

    def broken(error: Exception | None) -> None:
        raise RuntimeError("a mistake")

    for answer in (answers.append, broken, answers.append):
        spool.put(b"x", None, answer)
    await spool.close()
    await asyncio.sleep(0)
    assert answers == [None, None]
    assert [str(context["exception"]) for context in told] == ["a mistake"]


async def test_a_quick_disk_is_waited_for_when_a_row_is_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And after one slow sync no longer, until it has been quick for a while."""
    monkeypatch.setattr("ledger.limits.SPOOL_QUICK_SYNC_NS", 10**9)
    spool = await Spool.open(folder, segment_bytes=4_096)
    told: list[int] = []

    async def put(number: int) -> bool:
        """Whether it was on disk when `put` returned."""
        spool.put(b"%d" % number, None, lambda error: told.append(number) if error is None else None, alone=True)
        is_there = told[-1:] == [number]
        while told[-1:] != [number]:
            await asyncio.sleep(0.001)
        return is_there

    first = [await put(number) for number in range(limits.SPOOL_QUICK_SYNCS)]
    assert not any(first)
    there = [await put(number) for number in range(100, 400)]
    assert 280 < sum(there) < 300, "all but those for which room had to be made"
    monkeypatch.setattr("ledger.limits.SPOOL_QUICK_SYNC_NS", 0)
    assert await put(400), "nobody could know"
    monkeypatch.setattr("ledger.limits.SPOOL_QUICK_SYNC_NS", 10**9)
    assert not await put(401)
    waiting = asyncio.create_task(spool.append(b"other"))
    await asyncio.sleep(0)
    assert not await put(402), "behind one that waits, in order"
    await waiting
    await crash(spool)
    again = await Spool.open(folder)
    numbers = [*range(limits.SPOOL_QUICK_SYNCS), *range(100, 402)]
    assert await contents(again) == [*(b"%d" % number for number in numbers), b"other", b"402"]
    await again.close()


async def test_a_full_disk_is_said_where_the_row_was_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.limits.SPOOL_QUICK_SYNC_NS", 10**9)
    spool = await Spool.open(folder)
    for number in range(limits.SPOOL_QUICK_SYNCS):
        await spool.append(b"%d" % number)
    answers: list[Exception | None] = []

    def no_room(file: int, data: bytes, offset: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr("ledger.disk.write", no_room)
        spool.put(b"refused", None, answers.append, alone=True)
        await asyncio.sleep(0)
    assert [type(answer) for answer in answers] == [SpoolFull]
    spool.put(b"taken", None, answers.append, alone=True)
    while len(answers) < 2:
        await asyncio.sleep(0.001)
    assert answers[1:] == [None]
    assert (await contents(spool))[-1] == b"taken"
    await spool.close()


async def test_room_is_written_ahead_so_that_a_sync_changes_no_map(folder: Path) -> None:
    """The zeros of what was reserved end where the bound says, and after a crash they are no damage."""
    spool = await Spool.open(folder, segment_bytes=3_000_000)
    await spool.append(b"x" * 1_000)
    (path,) = folder.glob("*.spool")
    assert not path.read_bytes()[2_000:].strip(b"\0")
    for _ in range(50):
        await spool.append(b"y" * 100_000)
    await crash(spool)
    again = await Spool.open(folder)
    assert [len(data) for data in await contents(again)] == [1_000, *[100_000] * 50]
    await again.close()


async def test_reserved_room_is_given_back(folder: Path) -> None:
    """A segment has its room from the start; what was not written goes when the next one begins, and at a clean stop.
    After a crash it is no damage."""
    spool = await Spool.open(folder, segment_bytes=100_000)
    await spool.append(b"x" * 60_000)
    assert [path.stat().st_size for path in folder.glob("*.spool")] == [100_000]
    await spool.append(b"y" * 60_000)
    await spool.append(b"z" * 10_000)
    sizes = [path.stat().st_size for path in sorted(folder.glob("*.spool"))]
    assert 120_000 < sizes[0] < 121_000
    assert sizes[1:] == [100_000]
    await crash(spool)
    again = await Spool.open(folder, segment_bytes=100_000)
    assert [len(data) for data in await contents(again)] == [60_000, 60_000, 10_000]
    await again.append(b"more")
    await again.close()
    assert all(path.stat().st_size < 121_000 for path in folder.glob("*.spool"))
    assert sum(path.stat().st_size for path in folder.glob("*.spool")) < 131_000


async def test_closing_writes_what_waits(folder: Path) -> None:
    spool = await Spool.open(folder)
    answers: list[Exception | None] = []
    for n in range(1_000):
        spool.put(b"x%d" % n, None, answers.append)
    await spool.close()
    await asyncio.sleep(0)  # answers come on the loop
    assert answers == [None] * 1_000
    again = await Spool.open(folder)
    assert len(await contents(again)) == 1_000
    with pytest.raises(SpoolBroken):
        await spool.append(b"late")
    await again.close()


async def test_rows_given_while_the_disk_fails_are_answered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends with its last look at what waits; what the loop had not handed over by then is not forgotten."""
    failing = threading.Event()

    def fail(file: int) -> None:
        failing.wait()
        raise OSError(errno.EIO, "it burns")

    fatal: list[BaseException] = []
    spool = await Spool.open(folder, on_fatal=fatal.append)
    monkeypatch.setattr("ledger.segment_file._sync", fail)
    answers: list[Exception | None] = []
    spool.put(b"under way", None, answers.append)
    await asyncio.sleep(0.01)
    spool.put(b"of this turn", None, answers.append)
    failing.set()
    while spool._thread.is_alive():
        time.sleep(0.001)
    await asyncio.sleep(0.01)
    assert [type(answer) for answer in answers] == [SpoolBroken, SpoolBroken]
    assert len(fatal) == 1
    await spool.close()


@pytest.mark.parametrize("which", ["oldest", "newest", "all", "foreign"])
async def test_segments_that_are_missing_at_either_end_are_damage(folder: Path, which: str) -> None:
    """N-24: rows that were acknowledged are gone, and nothing in the segments that are left says so."""
    spool = await Spool.open(folder, segment_bytes=1_000)
    for n in range(60):
        await spool.append(b"%d:" % n + b"x" * 100)
    await spool.cut(20)
    spool._broken = OSError("killed")
    await spool.close()
    again = await Spool.open(folder, segment_bytes=1_000)
    again._broken = OSError("killed")
    await again.close()
    paths = sorted(folder.glob("*.spool"))
    gone = {"oldest": paths[:1], "newest": paths[-1:], "all": paths, "foreign": []}[which]
    for path in gone:
        path.unlink()
    if which == "foreign":
        (folder / "notes.spool").write_text("x")
    with pytest.raises(SpoolDamaged, match="no segment's name" if which == "foreign" else gone[0].name):
        await Spool.open(folder)
