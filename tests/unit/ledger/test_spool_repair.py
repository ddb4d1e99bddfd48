"""`cgn ledger repair-spool`: what is lost is named, all else is there, and no old byte goes (N-24)."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cgn_sdk.protocol.row import Row

from ledger import app, disk, open_store
from ledger.spool import Record, Spool, SpoolDamaged
from ledger.spool_repair import repair_spool


def leave_open(folder: Path) -> None:
    """Makes `bounds` what it is while a process writes: the last number is known to nobody."""
    bounds = folder / "bounds"
    bounds.write_bytes(bounds.read_bytes()[:42] + b"%020d\n" % 0)


def answer_for(folder: Path) -> dict[str, Any]:
    """Takes the file away that keeps nodes off, as `cgn ledger accept-loss` does; returns its last line."""
    path = folder / "lost"
    told: dict[str, Any] = json.loads(path.read_text().splitlines()[-1]) if path.exists() else {}
    path.unlink(missing_ok=True)
    return told


async def contents(folder: Path) -> list[bytes]:
    spool = await Spool.open(folder)
    found: list[Record] = []
    while page := await spool.read(found[-1].sequence if found else spool.first, 50):
        found += page
    spool._broken = OSError("killed")
    await spool.close()
    return [record.data for record in found]


@pytest.fixture
async def rows(tmp_path: Path) -> list[bytes]:
    """A spool of several segments in `tmp_path / "spool"`, closed cleanly."""
    spool = await Spool.open(tmp_path / "spool", segment_bytes=3_000)
    made = []
    for group in range(12):
        some = [b"row %d of group %d " % (n, group) + b"x" * 300 for n in range(1 + group % 3)]
        await asyncio.gather(*(spool.append(row) for row in some))
        made += some
    await spool.close()
    return made


def damage(path: Path, text: bytes) -> None:
    data = path.read_bytes()
    assert text in data
    path.write_bytes(data.replace(text, bytes([text[0] ^ 1]) + text[1:]))


async def test_one_row_is_lost_and_named(tmp_path: Path, rows: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "spool"
    paths = sorted(folder.glob("*.spool"))
    before = {path.name: path.read_bytes() for path in paths}
    place = next(n for n, row in enumerate(rows) if row.startswith(b"row 1 of group 5"))
    holder = next(path for path in paths if rows[place] in path.read_bytes())
    damage(holder, b"row 1 of group 5")
    damaged = {**before, holder.name: holder.read_bytes()}
    with pytest.raises(SpoolDamaged, match="repair-spool"):
        await contents(folder)
    assert app.main(["repair-spool", str(folder)]) == 1
    told = capsys.readouterr().out
    assert f"LOST: row {place + 1}\n" in told
    assert f"{holder.name} was damaged" in told
    with pytest.raises(SpoolDamaged, match="accept-loss"):
        await contents(folder)
    assert answer_for(folder)["lost"] == [[place + 1, place + 1]]
    assert await contents(folder) == rows[:place] + rows[place + 1 :]
    kept = {path.name: path.read_bytes() for path in (folder / "damaged-1").iterdir()}
    assert kept.pop("bounds")
    assert kept == damaged
    assert app.main(["repair-spool", str(folder)]) == 0
    assert "nothing is damaged" in capsys.readouterr().out
    spool = await Spool.open(folder)
    await spool.append(b"one more")
    await spool.close()
    assert (await contents(folder))[-1] == b"one more"


async def test_a_segment_that_is_gone_is_lost_as_a_whole(tmp_path: Path, rows: list[bytes]) -> None:
    folder = tmp_path / "spool"
    middle = sorted(folder.glob("*.spool"))[1]
    first, following = int(middle.stem), int(sorted(folder.glob("*.spool"))[2].stem)
    middle.unlink()
    repaired = repair_spool(folder)
    assert (repaired.lost, repaired.damaged) == (((first, following - 1),), ())
    answer_for(folder)
    assert await contents(folder) == rows[: first - 1] + rows[following - 1 :]


@pytest.mark.parametrize("seed", range(8))
async def test_after_any_damage_a_spool_opens_and_nothing_wrong_is_in_it(
    tmp_path: Path, rows: list[bytes], seed: int
) -> None:
    folder, chance = tmp_path / "spool", random.Random(seed)
    for _ in range(1 + seed):
        path = chance.choice(sorted(folder.glob("*.spool")))
        data = bytearray(path.read_bytes())
        start = chance.randrange(len(data))
        for place in range(start, min(len(data), start + chance.choice([1, 1, 40, 700]))):
            data[place] = chance.randrange(256)
        path.write_bytes(data)
    repaired = repair_spool(folder)
    answer_for(folder)
    found = await contents(folder)
    assert [row for row in rows if row in set(found)] == found
    gone = sum(last - first + 1 for first, last in repaired.lost)
    assert repaired.rows == len(found) == len(rows) - gone, "it was closed, so that every row has a number"
    assert repaired.unknown_from == 0


async def test_a_repair_that_was_interrupted_is_finished(
    tmp_path: Path, rows: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every single step: the spool opens not at all or rightly, and running it again ends it."""
    folder = tmp_path / "spool"
    damage(sorted(folder.glob("*.spool"))[1], b"row 0 of group 5")
    shutil.copytree(folder, tmp_path / "damaged")
    for steps in range(0, 60):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "damaged", folder)
        left = [steps]

        def step(left: list[int] = left) -> None:
            if left[0] == 0:
                raise OSError("interrupted")
            left[0] -= 1

        with monkeypatch.context() as patched:
            for module, name in ((disk, "write"), (disk, "sync"), (disk, "rename"), (os, "link"), (shutil, "rmtree")):
                real = getattr(module, name)
                patched.setattr(module, name, lambda *a, real=real, **k: (step(), real(*a, **k))[1])
            try:
                repair_spool(folder)
                is_done = True
            except OSError:
                is_done = False
        with contextlib.suppress(SpoolDamaged):
            assert await contents(folder) == [row for row in rows if not row.startswith(b"row 0 of group 5")]
        repair_spool(folder)
        assert len((folder / "lost").read_text().splitlines()) == 1
        answer_for(folder)
        found = await contents(folder)
        assert found == [row for row in rows if not row.startswith(b"row 0 of group 5")]
        old = b"".join(path.read_bytes() for path in sorted(folder.glob("damaged-*/*.spool")))
        assert all(path.read_bytes() in old for path in (tmp_path / "damaged").glob("*.spool"))
        if is_done:
            break
    assert is_done


async def test_a_spool_that_a_node_has_open_is_left_alone(
    tmp_path: Path, rows: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    spool = await Spool.open(tmp_path / "spool")
    assert app.main(["repair-spool", str(tmp_path / "spool")]) == 1
    assert "another process" in capsys.readouterr().err
    await spool.close()
    assert app.main(["repair-spool", str(tmp_path / "nowhere")]) == 1
    assert "there is no spool" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["00000000000000000099.spool", "00000000000000000000.spool", "a copy.spool"])
@pytest.mark.parametrize("which", [0, 1])
async def test_a_segment_that_stands_twice_costs_no_row(
    tmp_path: Path, rows: list[bytes], capsys: pytest.CaptureFixture[str], name: str, which: int
) -> None:
    folder = tmp_path / "spool"
    shutil.copy(sorted(folder.glob("*.spool"))[which], folder / name)
    (folder / "z.spool").mkdir()
    with pytest.raises(SpoolDamaged):
        await contents(folder)
    assert app.main(["repair-spool", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "z.spool has no segment's name" in told
    assert f"{len(rows)} rows are there" in told
    assert await contents(folder) == rows
    assert (folder / "damaged-1" / name).exists()
    assert (folder / "damaged-1" / "z.spool").is_dir()
    assert app.main(["repair-spool", str(folder)]) == 0
    assert f"nothing is damaged: {len(rows)} rows" in capsys.readouterr().out


async def test_other_bytes_under_a_number_are_found_and_kept(tmp_path: Path, rows: list[bytes]) -> None:
    folder = tmp_path / "spool"
    other = await Spool.open(tmp_path / "other")
    await other.append(b"of another life")
    await other.close()
    shutil.copy(next((tmp_path / "other").glob("*.spool")), folder / "other.spool")
    repaired = repair_spool(folder)
    assert any("row 1 stands in other.spool with other bytes" in finding for finding in repaired.findings)
    assert repaired.rows == len(rows) + 1
    assert await contents(folder) == [*rows, b"of another life"]


async def test_whole_rows_of_an_end_that_was_dropped_come_back(tmp_path: Path, rows: list[bytes]) -> None:
    """A flip in the last group: the rows beside the damaged one are as they were."""
    folder = tmp_path / "spool"
    damage(sorted(folder.glob("*.spool"))[-1], b"row 2 of group 11")
    newest = sorted(folder.glob("*.spool"))[-1]
    newest.write_bytes(newest.read_bytes()[:-16])  # without its end, as after a crash
    leave_open(folder)
    dropped = await contents(folder)
    assert len(dropped) < len(rows) - 1
    assert list(folder.glob("*.damaged"))
    repaired = repair_spool(folder)
    answer_for(folder)
    assert await contents(folder) == rows[:-1]
    assert repaired.rows == len(rows) - 1


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(("first", "end"), [(0, 1), (0, 2), (-1, None), (-2, None), (0, None), (1, -1)])
async def test_rows_of_segments_that_are_missing_are_counted_wherever_they_stood(
    tmp_path: Path, rows: list[bytes], first: int, end: int | None, closed: bool
) -> None:
    """N-24: `bounds` says where the newest segment began, and after a clean stop which row was the last."""
    folder = tmp_path / "spool"
    if not closed:
        leave_open(folder)
    paths = sorted(folder.glob("*.spool"))
    newest = int(paths[-1].stem)
    assert newest <= len(rows)
    gone = paths[first:end]
    begun = [int(path.stem) for path in gone]
    for path in gone:
        path.unlink()
    with pytest.raises(SpoolDamaged):
        await contents(folder)
    repaired = repair_spool(folder)
    starts = [*(int(path.stem) for path in paths), len(rows) + 1]
    following = dict(itertools.pairwise(starts))
    numbers = [number for start in begun for number in range(start, following[start])]
    is_newest_gone = paths[-1] in gone
    certain = [number for number in numbers if closed or number < newest]
    assert [n for a, b in repaired.lost for n in range(a, b + 1)] == certain
    assert repaired.unknown_from == (newest if is_newest_gone and not closed else 0)
    told = answer_for(folder)
    assert (told["lost"], told["unknown_from"]) == ([list(run) for run in repaired.lost], repaired.unknown_from)
    assert await contents(folder) == [row for number, row in enumerate(rows, 1) if number not in numbers]
    assert repair_spool(folder).kept is None


@pytest.mark.parametrize("left", ["nothing", "the header", "the header and zeros", "half"])
@pytest.mark.parametrize("closed", [True, False])
async def test_a_newest_segment_that_was_cut_is_named(
    tmp_path: Path, rows: list[bytes], left: str, closed: bool
) -> None:
    """A segment has its name when its header is on disk, and after a clean stop the number of its last row is known."""
    folder = tmp_path / "spool"
    newest = sorted(folder.glob("*.spool"))[-1]
    if not closed:
        leave_open(folder)
    whole = newest.read_bytes()
    cuts = {"nothing": b"", "the header": whole[:20], "the header and zeros": whole[:20] + bytes(500)}
    newest.write_bytes(cuts.get(left, whole[: len(whole) // 2]))
    number = int(newest.stem)
    if not closed and left != "nothing":  # nobody can tell it from a segment that a crash left so: its bytes are kept
        assert await contents(folder) == rows[: number - 1] if left != "half" else True
        return
    with pytest.raises(SpoolDamaged, match="nothing can be read|are missing|is damaged"):
        await contents(folder)
    assert (folder / newest.name).exists(), "nothing was changed"
    repaired = repair_spool(folder)
    if closed:
        assert repaired.lost[-1][1] == len(rows)
        assert repaired.unknown_from == 0
    else:
        assert (repaired.lost, repaired.unknown_from) == ((), number)
        assert repaired.damaged == (newest.name,)
    answer_for(folder)
    found = await contents(folder)
    assert found == rows[: len(found)]
    assert len(found) >= number - 1


async def test_an_older_program_said_only_where_segments_begin(tmp_path: Path, rows: list[bytes]) -> None:
    folder = tmp_path / "spool"
    bounds = folder / "bounds"
    oldest, newest, _ = bounds.read_bytes().split()
    bounds.write_bytes(b"%b %b\n" % (oldest, newest))
    assert await contents(folder) == rows
    assert len(bounds.read_bytes().split()) == 3
    bounds.write_bytes(b"1 2 3 4\n")
    with pytest.raises(SpoolDamaged, match="cannot be read"):
        await contents(folder)


@pytest.mark.parametrize(("stored", "lost"), [(0, (5, 8)), (4, (5, 8)), (6, (7, 8)), (8, None), (12, None)])
async def test_rows_that_the_ledger_has_are_not_lost(
    tmp_path: Path, make_row: Callable[..., Row], stored: int, lost: tuple[int, int] | None
) -> None:
    """N-24: they went there in the order of their numbers; other nodes' rows stand between them."""
    made = [make_row(number) for number in range(1, 13)]
    spool = await Spool.open(tmp_path / "spool", segment_bytes=1)
    for row in made:
        await spool.append(row.to_bytes())
    await spool.close()
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = await open_store(url)
    for number, row in enumerate(made[:stored], 100):
        await store.append([row, make_row(number, node_id="p" + "q" * 25 + "a")])
    await store.close()
    for number in range(5, 9):
        (tmp_path / f"spool/{number:020d}.spool").unlink()
    code = app.main(["repair-spool", str(tmp_path / "spool"), "--ledger", url])
    assert code == (1 if lost else 0)
    told = answer_for(tmp_path / "spool")
    assert told.get("lost", []) == ([list(lost)] if lost else [])
    assert len(await contents(tmp_path / "spool")) == 8


async def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "node.toml").write_text("x")
    assert app.main(["repair-spool", str(tmp_path)]) == 1
    assert "there is no spool" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["node.toml"]
