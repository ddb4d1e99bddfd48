"""Accepting a loss: found by itself, signed, in the ledger for good, named by every audit, and the node goes on (L-3)."""

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.canonical import encode
from cgn_sdk.protocol.head import Head, sign_head
from cgn_sdk.protocol.loss import END, ROWS, SPOOL, Loss, loss_findings, sign_loss
from cgn_sdk.protocol.row import Row

from cgn_chassis.keys import load_or_create
from ledger import app, disk, losses, open_store
from ledger.audit import audit
from ledger.core.row_audit import Keys
from ledger.core.verify import Published, Report, Seen
from ledger.heads import HeadKeeper, LedgerDiffers
from ledger.port import Store
from ledger.spool import Shipper, Spool, SpoolDamaged

MakeRow = Callable[..., Row]
NODE = "p" + "a" * 26


class World:
    """A node's state folder, its ledger, and the node's own way to write both."""

    def __init__(self, folder: Path, make_row: MakeRow) -> None:
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        self.path = folder / "ledger.db"
        self.url = f"sqlite:///{self.path}"
        self.signer = signing.Signer(load_or_create(self.state / "node.pem").private_bytes_raw())
        self.kept = self.state / "head.json"
        self._make_row = make_row

    def row(self, number: int) -> Row:
        row = self._make_row(number, node_id=NODE)
        return row.signed(self.signer.sign("row", row.row_hash))

    async def live(self, *numbers: int) -> Head | None:
        """The node takes these rows, ships them, and signs a head; returns the newest. Raises what a start raises."""
        store = await open_store(self.url)
        try:
            spool = await Spool.open(self.state / "spool")
            keeper = HeadKeeper(store, self.signer, node_id=lambda: NODE, kept=self.kept)
            for number in numbers:
                await spool.append(self.row(number).to_bytes())
            try:
                await Shipper(spool, store, keccak_256, on_refused=lambda *_: None, heads=keeper).drain()
            finally:
                await spool.close()
            return keeper.newest
        finally:
            await store.close()

    async def fill_spool(self, *numbers: int) -> None:
        """The node takes rows and stops before it has shipped any."""
        spool = await Spool.open(self.state / "spool", segment_bytes=1)
        for number in numbers:
            await spool.append(self.row(number).to_bytes())
        await spool.close()

    def put_back(self, copy: Path) -> None:
        for leftover in self.path.parent.glob("ledger.db*"):
            leftover.unlink()
        shutil.copy(copy, self.path)

    async def copied(self, name: str) -> Path:
        source, target = sqlite3.connect(self.path), sqlite3.connect(self.path.with_name(name))
        source.backup(target)
        source.close()
        target.close()
        return self.path.with_name(name)

    async def ledger(self) -> Store:
        return await open_store(self.url)

    def run(self, *words: str) -> int:
        """In a thread: the command has a loop of its own."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(app.main, [words[0], str(self.state), self.url, *words[1:]]).result()

    def accept(self, reason: str = "a disk died") -> int:
        return self.run("accept-loss", "--reason", reason, "--by", "Ada of operations")

    def audit(self, **given: Any) -> Report:
        keys = Keys({NODE: self.signer.public_key}, signing.verify)
        return audit(self.url, [], chain_id=5, token="0x" + "1" * 40, keys=keys, processes=1, **given)

    def losses(self) -> list[Loss]:
        with sqlite3.connect(self.path) as other:
            found = [Loss.decode(data) for (data,) in other.execute("SELECT loss FROM losses")]
        other.close()
        assert not any(loss_findings(loss, {NODE: self.signer.public_key}, signing.verify) for loss in found)
        return sorted(found, key=lambda loss: (loss.at, loss.time_ns))


@pytest.fixture
def world(tmp_path: Path, make_row: MakeRow) -> World:
    return World(tmp_path, make_row)


async def test_rows_that_a_spool_has_lost_become_a_signed_fact(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.live(1, 2, 3)
    await world.fill_spool(4, 5, 6)
    (world.state / f"spool/{2:020d}.spool").unlink()
    assert app.main(["repair-spool", str(world.state / "spool"), "--ledger", world.url]) == 1
    with pytest.raises(SpoolDamaged, match="accept-loss"):
        await world.live()
    assert world.run("losses") == 1
    assert "GONE (spool): 2 to 2" in capsys.readouterr().out
    assert world.losses() == []
    assert world.accept() == 0
    [loss] = world.losses()
    assert (loss.kind, loss.at, loss.first, loss.last) == (SPOOL, 3, 2, 2)
    assert (loss.reason, loss.by) == ("a disk died", "Ada of operations")
    assert "damaged-1" in loss.said
    assert world.run("losses") == 0
    told = capsys.readouterr().out
    assert "accepted by Ada of operations" in told
    assert "nothing else is gone" in told
    newest = await world.live(7)
    assert newest is not None
    assert newest.last_ingest == 6, "4 and 6 of the spool, and 7"
    report = world.audit()
    assert report.sound, report.findings
    assert report.losses == (loss,)
    assert report.covered == 6
    assert list((world.state / "spool").glob("lost-accepted-*"))
    assert world.accept() == 0, "nothing is left to be accepted"
    assert world.losses() == [loss]


async def test_a_ledger_whose_end_is_gone_goes_on_in_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The node refuses before; afterwards its heads go on from what is there, and the old ones are explained."""
    await world.live(1, 2, 3)
    copy = await world.copied("copy.db")
    seen_then = world.audit().seen
    newest = await world.live(4, 5)
    assert newest is not None
    seen_now = world.audit().seen
    world.put_back(copy)
    await world.fill_spool(6)
    with pytest.raises(LedgerDiffers, match="accept-loss"):
        await world.live()
    report = world.audit(published=Published((newest,)), seen=seen_now)
    assert {finding.code for finding in report.findings} == {"head_rows"}
    assert len(report.findings) == 2
    assert world.run("losses") == 1
    assert "GONE (end): 4 to 5" in capsys.readouterr().out
    assert world.accept() == 0
    [loss] = world.losses()
    assert (loss.kind, loss.at, loss.first, loss.last, loss.commitment) == (END, 3, 4, 5, newest.commitment)
    assert newest.encode() in next(world.state.glob("head-*.lost.json")).read_bytes()
    for number in (7, 8, 9):
        after = await world.live(number)
    assert after is not None
    assert after.last_ingest == 7
    for kept in ((newest,), (newest, after)):
        report = world.audit(published=Published(kept, (loss,)), seen=seen_now)
        assert report.sound, report.findings
        assert report.losses == (loss,)
    assert world.audit(seen=seen_then).sound
    assert world.audit(seen=Seen(3, b"x" * 32)).findings[0].code == "head_rows", "what was before it stays bound"


async def test_who_takes_the_loss_away_again_is_found(world: World) -> None:
    """It is a link of the line: every later head contradicts a ledger without it; and others may keep it."""
    await world.live(1, 2, 3)
    copy = await world.copied("copy.db")
    await world.live(4)
    world.put_back(copy)
    assert world.accept() == 0
    [loss] = world.losses()
    newest = await world.live(5, 6)
    assert newest is not None
    with sqlite3.connect(world.path) as other:
        other.execute("DROP TRIGGER losses_delete")
        other.execute("DELETE FROM losses")
    other.close()
    assert {finding.code for finding in world.audit().findings} == {"head_rows"}
    told = world.audit(published=Published((newest,), (loss,)))
    assert {finding.code for finding in told.findings} == {"loss_missing"}
    with pytest.raises(LedgerDiffers):
        world.kept.unlink()
        await world.live(7)


async def test_other_rows_under_signed_numbers(world: World) -> None:
    """A copy that was put back and went on under a head.json that somebody had removed."""
    await world.live(1, 2)
    await world.live(3)
    copy = await world.copied("copy.db")
    await world.live(4, 5)
    old_head = world.kept.read_bytes()
    world.put_back(copy)
    world.kept.unlink()
    await world.live(6, 7, 8)
    world.kept.write_bytes(old_head)
    with pytest.raises(LedgerDiffers):
        await world.live()
    assert world.accept() == 0
    [loss] = world.losses()
    assert (loss.kind, loss.at, loss.first, loss.last) == (END, 3, 4, 6), "and the head that was signed in between"
    newest = await world.live(9)
    assert newest is not None
    assert newest.last_ingest == 7
    report = world.audit()
    assert report.sound, report.findings


async def test_rows_that_cannot_be_read_any_more(world: World) -> None:
    await world.live(1, 2, 3, 4)
    with sqlite3.connect(world.path) as other:
        other.execute("DROP TRIGGER rows_update")
        other.execute("UPDATE rows SET public_json = replace(public_json, 'tier', 'tiEr') WHERE ingest IN (2, 3)")
        other.execute(
            "CREATE TRIGGER rows_update BEFORE UPDATE ON rows BEGIN SELECT raise(ABORT, 'rows are written once'); END"
        )
    other.close()
    before = world.audit()
    assert {finding.code for finding in before.findings} >= {"row_hash"}
    assert world.accept() == 0
    [loss] = world.losses()
    assert (loss.kind, loss.at, loss.first, loss.last) == (ROWS, 4, 2, 3)
    await world.live(5)
    report = world.audit()
    assert report.sound, report.findings
    assert report.losses == (loss,)
    with sqlite3.connect(world.path) as other:  # what was accepted is what is there: nothing else hides behind it
        other.execute("DROP TRIGGER rows_update")
        (text,) = other.execute("SELECT public_json FROM rows WHERE ingest = 3").fetchone()
        public = encode({**json.loads(text.replace("tiEr", "tier")), "event_time_ns": "1"})
        other.execute(
            "UPDATE rows SET public_json = ?, row_hash = ? WHERE ingest = 3", (public.decode(), keccak_256(public))
        )
    other.close()
    assert {finding.code for finding in world.audit().findings} == {"head_rows"}


async def test_a_row_missing_in_the_middle_is_not_accepted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await world.live(1, 2, 3, 4)
    with sqlite3.connect(world.path) as other:
        other.execute("DROP TRIGGER rows_delete")
        other.execute("DELETE FROM rows WHERE ingest = 2")
    other.close()
    assert world.accept() == 1
    assert "row number 3 behind 1: put a whole copy back" in capsys.readouterr().err
    assert world.losses() == []


async def test_a_ledger_that_is_gone_as_a_whole(world: World) -> None:
    """Nothing is left to sign a head over: the node begins its line with the loss."""
    await world.live(1, 2)
    world.path.unlink()
    await (await world.ledger()).close()
    assert world.accept() == 0
    [loss] = world.losses()
    assert (loss.kind, loss.at, loss.first, loss.last) == (END, 0, 1, 2)
    assert not world.kept.exists()
    newest = await world.live(3)
    assert newest is not None
    assert newest.last_ingest == 1
    assert world.audit().sound


async def test_what_was_accepted_is_not_stated_again(world: World) -> None:
    """Rows that cannot be read, beside one that cannot be read since then."""
    await world.live(1, 2, 3)
    for ingest in (1, 3):
        with sqlite3.connect(world.path) as other:
            other.execute("DROP TRIGGER IF EXISTS rows_update")
            other.execute("UPDATE rows SET private_json = '{}' WHERE ingest = ?", (ingest,))
        other.close()
        assert world.accept() == 0
    assert [(loss.kind, loss.first, loss.last) for loss in world.losses()] == [(ROWS, 1, 1), (ROWS, 3, 3)]


async def test_losses_by_nobody_known_and_by_a_wrong_signature_excuse_nothing(world: World) -> None:
    """L-12: the first is passed over, like a head of somebody unknown; the second is named."""
    await world.live(1, 2)
    copy = await world.copied("copy.db")
    newest = await world.live(3)
    assert newest is not None
    world.put_back(copy)
    unsigned = Loss(NODE, 2, END, 3, 3, newest.commitment, "", "why", "who", 2**62, b"")
    stranger = sign_loss(unsigned._replace(node_id="p" + "b" * 25 + "a"), signing.Signer(bytes(32)).sign)
    forged = sign_loss(unsigned, signing.Signer(bytes(32)).sign)
    kept = Published((newest,))
    assert [each.code for each in world.audit(published=kept).findings] == ["head_rows"]
    store = await world.ledger()
    await store.put_loss(stranger)
    report = world.audit(published=kept)
    assert ([each.code for each in report.findings], report.losses) == (["head_rows"], ())
    await store.put_loss(forged)
    await store.close()
    report = world.audit(published=kept)
    assert ([each.code for each in report.findings], report.losses) == (["loss_signature", "head_rows"], ())


async def test_a_row_that_is_accepted_as_lost_hides_no_exchanged_one(world: World) -> None:
    """Readable, and not by its node: a thief's row under an accepted number, which no head is over yet."""
    await world.live(1)
    store = await world.ledger()
    thief = world.row(2).signed(bytes(64))
    await store.append([thief])
    await store.put_loss(sign_loss(Loss(NODE, 2, ROWS, 2, 2, b"", "", "why", "who", 5, b""), world.signer.sign))
    await store.close()
    assert [finding.code for finding in world.audit().findings] == ["node_signature"]


@pytest.mark.parametrize("steps", range(6))
async def test_an_acceptance_that_was_interrupted_is_ended_by_the_next(
    world: World, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thing is accepted once, whenever the first try ends."""
    await world.live(1, 2)
    copy = await world.copied("copy.db")
    await world.live(3)
    world.put_back(copy)
    await world.fill_spool(4, 5, 6)
    (world.state / f"spool/{2:020d}.spool").unlink()
    assert app.main(["repair-spool", str(world.state / "spool")]) == 1
    left = [steps]

    def step() -> None:
        if left[0] == 0:
            raise OSError("interrupted")
        left[0] -= 1

    async def put(self: Any, loss: Loss) -> None:
        step()
        await self._submit(lambda connection: connection.put_loss(loss))

    with monkeypatch.context() as patched:
        patched.setattr("ledger.sqlite_store.SqliteStore.put_loss", put)
        for module, name in ((losses, "keep"), (os, "link"), (disk, "rename")):
            real = getattr(module, name)
            patched.setattr(module, name, lambda *given, real=real: (step(), real(*given))[1])
        was_interrupted = bool(world.accept())
    assert was_interrupted == (steps < 5)
    assert world.accept() == 0
    assert sorted(loss.kind for loss in world.losses()) == [END, SPOOL]
    newest = await world.live(7)
    assert newest is not None
    assert newest.last_ingest == 5
    assert world.audit().sound


async def test_only_a_stopped_node_of_this_key_accepts(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await world.live(1, 2)
    spool = await Spool.open(world.state / "spool")
    assert world.accept() == 1
    assert "another process" in capsys.readouterr().err
    await spool.close()
    world.kept.unlink()
    assert world.run("losses") == 1
    assert "--node-id" in capsys.readouterr().err
    assert world.run("losses", "--node-id", NODE) == 0
    assert world.accept("x" * 501) == 1 or world.losses() == []
    world.kept.write_bytes(sign_head(NODE, 9, bytes(32), 5, world.signer.sign).encode())
    assert world.accept("x" * 501) == 1
    assert "reason must be 1 to 500 printable characters" in capsys.readouterr().err
    assert world.losses() == []


async def test_the_export_tells_of_losses(world: World, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    await world.live(1)
    copy = await world.copied("copy.db")
    await world.live(2)
    world.put_back(copy)
    assert world.accept() == 0
    capfdbinary.readouterr()
    assert await asyncio.to_thread(app.main, ["export", world.url]) == 0
    last = json.loads(capfdbinary.readouterr().out.splitlines()[-1])
    assert (last["kind"], last["loss_kind"], last["first"], last["by"]) == ("loss", "end", "2", "Ada of operations")
