"""Accepting a loss: what is gone of a node's records becomes a signed fact, and the node goes on in line (L-3, L-12).

After an accident something of what a node acknowledged or signed is not there any more. Whoever runs it looks first:

    found = look(url, state, node_id="", public_key=…)        what is gone, by itself; changes nothing
    await accept(url, state, signer, found, reason=…, by=…)   signs it, into the ledger, and lets the node start

Three kinds are found: rows that a repair of the spool has missed (`spool_repair` left the file `lost`); a ledger that
ends before, or differs from, what this node has signed heads over; rows in the ledger whose bytes are not those of
their hashes. Each becomes a `cgn_sdk.protocol.loss.Loss`, a link in the line of the node's heads, so that nobody can
take it away again; `cgn verify` names it from then on, and so does Central, which is told.

What cannot be accepted: a number that is missing in the middle of the ledger (a whole copy has to be put back), and
what the chain has settled: a settlement over rows that are gone stays a finding.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.head import Head, head_findings, sign_head
from cgn_sdk.protocol.loss import END, ROWS, SAID_MAX_CHARS, SPOOL, Line, Loss, loss_findings, sign_loss
from cgn_sdk.protocol.row import RowError, read_private, read_public

from ledger import disk, open_store
from ledger.audit import open_reader
from ledger.core.row_audit import AuditRow
from ledger.core.verify import Stored
from ledger.heads import keep, load_kept
from ledger.spool import LOST

HEAD_NAME: Final = "head.json"
KEY_NAME: Final = "node.pem"


class Gone(NamedTuple):
    """One thing that is gone: a loss that nobody has signed yet."""

    kind: str
    first: int
    last: int
    said: str
    commitment: bytes = b""


class Looked(NamedTuple):
    """What was found."""

    node_id: str
    gone: tuple[Gone, ...]
    accepted: tuple[Loss, ...]
    """Of this node, by its key, from before."""
    at: int
    """Where the line goes on: behind this row."""
    commitment: bytes
    last_hash: bytes
    """Of the row `at`."""
    is_head_stale: bool
    """Whether the node's own copy of its last head is over what is gone."""
    is_spool_held: bool
    """Whether the file that a repair of the spool has left keeps the node away."""

    @property
    def is_open(self) -> bool:
        """Whether there is anything to accept, or to end."""
        return bool(self.gone or self.is_head_stale or self.is_spool_held)


def look(url: str, state: Path, *, node_id: str, public_key: bytes) -> Looked:
    """See the module. `node_id` is needed where the state folder has no head. Raises StoreError, OSError, and
    ValueError for what cannot be accepted."""
    kept, _ = load_kept(state / HEAD_NAME)
    node_id = kept.node_id if kept is not None else node_id
    if not node_id:
        raise ValueError(f"{state} has no head.json that says which node this is: give --node-id (see cgn node key)")
    mine = {node_id: public_key}
    problems: list[str] = []
    with contextlib.closing(open_reader(url)) as reader:
        stored = reader.stored(lambda code, where, detail: problems.append(f"{where}: {detail}"))
        losses = [loss for loss in stored.losses if not loss_findings(loss, mine, signing.verify)]
        walk = _Walk(_own_heads(stored, kept, mine, losses), losses)
        for part in reader.ranges():
            for row in reader.rows(part, lambda code, where, detail: problems.append(f"{where}: {detail}")):
                walk.take(row)
    if problems:
        raise ValueError(f"the ledger cannot be read whole; put a copy back: {'; '.join(problems[:5])}")
    end = walk.end()
    gone = [*_of_spool(state / "spool", losses), *([end.gone] if end.gone else []), *walk.damaged()]
    is_stale = kept is not None and (end.gone is not None or any(loss.explains(kept) for loss in losses))
    is_held = (state / "spool" / LOST).exists()
    return Looked(node_id, tuple(gone), tuple(losses), end.at, end.commitment, end.last_hash, is_stale, is_held)


async def accept(
    url: str,
    state: Path,
    signer: signing.Signer,
    looked: Looked,
    *,
    reason: str,
    by: str,
    now_ns: Callable[[], int] = time.time_ns,
) -> list[Loss]:
    """Signs everything that was found, puts it into the ledger, and lets the node start; returns the losses. The node
    must be stopped. Doing it again after a crash ends it. Raises StoreError, OSError, ValueError (a text that is too
    long, say)."""
    began_ns = now_ns()
    made = [
        sign_loss(
            Loss(
                looked.node_id,
                looked.at,
                gone.kind,
                gone.first,
                gone.last,
                gone.commitment,
                gone.said,
                reason,
                by,
                began_ns + number,
                b"",
            ),
            signer.sign,
        )
        for number, gone in enumerate(looked.gone)
    ]
    store = await open_store(url)
    try:
        for loss in made:
            await store.put_loss(loss)
    finally:
        await store.close()
    if looked.is_head_stale:
        await asyncio.to_thread(_go_on, state, signer, looked, began_ns)
    lost = state / "spool" / LOST
    if lost.exists():
        disk.rename(lost, lost.with_name(f"{LOST}-accepted-{began_ns}"))
    return made


@contextlib.contextmanager
def stopped(state: Path) -> Iterator[None]:
    """Holds the place of the node that belongs to the folder. Raises OSError while it runs, or where there is none."""
    lock = disk.lock(state / "spool" / "lock")
    try:
        yield
    finally:
        disk.close(lock)


def _go_on(state: Path, signer: signing.Signer, looked: Looked, now_ns: int) -> None:
    """The node's copy of its last head becomes one over what is there; the old one stays beside."""
    path = state / HEAD_NAME
    os.link(path, path.with_name(f"head-{now_ns}.lost.json"))
    if looked.at:
        head = sign_head(looked.node_id, looked.at, looked.commitment, now_ns, signer.sign)
        keep(path, head, looked.last_hash)
    else:
        disk.unlink(path)


def _own_heads(stored: Stored, kept: Head | None, mine: dict[str, bytes], losses: list[Loss]) -> list[Head]:
    """Heads by this node that no loss explains yet, ascending."""
    found = {head: None for head in [*stored.heads, *([kept] if kept else [])]}
    own = [head for head in found if not head_findings(head, mine, signing.verify)]
    return sorted(
        (head for head in own if not any(loss.explains(head) for loss in losses)), key=lambda head: head.last_ingest
    )


class _End(NamedTuple):
    gone: Gone | None
    at: int
    commitment: bytes
    last_hash: bytes


class _Walk:
    """Goes over all rows: where the line leaves what was signed, and which rows cannot be read."""

    def __init__(self, heads: list[Head], losses: list[Loss]) -> None:
        self._heads = heads
        self._place = 0
        self._line = Line(losses, keccak_256)
        self._last_hash = b""
        self._matched = (0, self._line.commitment, b"")
        self._has_left = False
        self._lost = [(loss.first, loss.last) for loss in losses if loss.kind == ROWS]
        self._damaged: list[int] = []

    def take(self, row: AuditRow) -> None:
        if row.ingest != self._line.rows + 1:
            raise ValueError(f"the ledger has row number {row.ingest} behind {self._line.rows}: put a whole copy back")
        if not any(first <= row.ingest <= last for first, last in self._lost) and not _is_sound(row):
            self._damaged.append(row.ingest)
        self._last_hash = row.row_hash if len(row.row_hash) == 32 else keccak_256(row.public_json)
        self._line.extend([self._last_hash])
        while self._place < len(self._heads) and self._heads[self._place].last_ingest == row.ingest:
            if self._heads[self._place].commitment != self._line.commitment:
                self._has_left = True
            elif not self._has_left:
                self._matched = (row.ingest, self._line.commitment, self._last_hash)
            self._place += 1

    def end(self) -> _End:
        rows = self._line.rows
        broken = [head for head in self._heads if head.last_ingest > (self._matched[0] if self._has_left else rows)]
        at, commitment, last_hash = self._matched if self._has_left else (rows, self._line.commitment, self._last_hash)
        if not broken:
            return _End(None, at, commitment, last_hash)
        newest = broken[-1]
        there = "others stand under their numbers" if self._has_left else f"the ledger ends with row {rows}"
        said = f"{there}; the node signed a head over {newest.last_ingest} rows"
        return _End(Gone(END, at + 1, newest.last_ingest, said, newest.commitment), at, commitment, last_hash)

    def damaged(self) -> Iterator[Gone]:
        runs: list[tuple[int, int]] = []
        for number in self._damaged:
            if runs and runs[-1][1] == number - 1:
                runs[-1] = runs[-1][0], number
            else:
                runs.append((number, number))
        for first, last in runs:
            yield Gone(ROWS, first, last, "their bytes are not those of their hashes")


def _is_sound(row: AuditRow) -> bool:
    """Whether a row's bytes are those of its hash, and all of them can be read."""
    if row.problems or keccak_256(row.public_json) != row.row_hash:
        return False
    try:
        facts = read_public(row.public_json)
        read_private(row.private_json, facts.part_hashes, keccak_256)
    except RowError:
        return False
    return facts.row_id == row.row_id


def _of_spool(folder: Path, losses: list[Loss]) -> Iterator[Gone]:
    """What repairs of the spool have missed, and nobody has accepted yet."""
    known = {(loss.first, loss.last, loss.said) for loss in losses if loss.kind == SPOOL}
    for path in disk.names(folder, LOST):
        for line in disk.read(path).splitlines():
            told = json.loads(line)
            said = "; ".join([f"old bytes are in {told['kept']}", *told["said"]])[:SAID_MAX_CHARS]
            runs = [tuple(run) for run in told["lost"]]
            for first, last in [*runs, *([(told["unknown_from"], 0)] if told["unknown_from"] else [])]:
                if (first, last, said) not in known:
                    yield Gone(SPOOL, first, last, said)
