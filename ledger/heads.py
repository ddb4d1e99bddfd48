"""Signs heads of the ledger: this node's word for which rows it holds, in which order (L-3, L-12).

After rows were shipped, at most once in `limits.HEAD_PAUSE_S`: walk the row hashes behind the last head, see that every
row that was shipped is among them, sign, put the head into the store, and keep a copy beside the spool, with the hash
of the last row. The copy is what a store that was cut or restored cannot take back: a node never signs what contradicts
its last head. Before anything is shipped the ledger is asked for that last row (`compare`): a copy that was put back,
under a node that runs or that starts, is noticed while the rows behind it are still in the spool.

    keeper = HeadKeeper(store, signer, node_id=lambda: "p…", kept=state / "head.json")
    await keeper.compare()                   before each shipment
    keeper.shipped(rows)                     when they are in the store
    await keeper.advance()                   when `due_in_s()` says so; True: what was shipped before may be let go of

A loss that was accepted (`ledger.losses`) is a link in the line of heads, and explains the heads over what is gone.

What goes wrong: a store that is away raises StoreError, and the next turn tries again; a ledger that differs from what
was signed or shipped raises `LedgerDiffers`, `problem` says it from then on, nothing further is shipped or signed, and
rows stay in the spool until a person has looked and the node starts again.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.head import Head, head_findings, sign_head
from cgn_sdk.protocol.loss import Line, Loss, loss_findings
from cgn_sdk.protocol.row import Row

from ledger import limits
from ledger.port import Conflict, RowHash, Store

_BEHIND_ALL: Final = "~"
"""Behind every node's public id."""


class LedgerDiffers(Exception):
    """The ledger does not hold what this node has put there or has signed."""


class HeadKeeper:
    """See the module. Belongs to one event loop; one call of `advance` at a time."""

    def __init__(
        self,
        store: Store,
        signer: signing.Signer,
        *,
        node_id: Callable[[], str],
        kept: Path,
        now_ns: Callable[[], int] = time.time_ns,
        pause_s: float = limits.HEAD_PAUSE_S,
    ) -> None:
        """`node_id` answers the empty string until Central has said who this node is."""
        self._store = store
        self._signer = signer
        self._node_id = node_id
        self._kept = kept
        self._now_ns = now_ns
        self._pause_s = pause_s
        self._next_s = time.monotonic()
        self._changed = True
        self._shipped: dict[str, bytes] = {}
        self._begun = False
        self._losses: list[Loss] = []
        """This node's, as the ledger has them."""
        self._line = Line((), keccak_256)
        """Up to the last row that was seen."""
        self._last_hash = b""
        """The hash of that row."""
        self._bound: list[Head] = []
        """Heads of this node that the walk has yet to pass, ascending."""
        self.newest: Head | None = None
        self.problem = ""

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What this node has signed for as lost, by place and time, once the ledger has been looked at."""
        return tuple(self._losses)

    def shipped(self, rows: Iterable[Row]) -> None:
        """Says that these rows are in the store."""
        if not self.problem:
            self._shipped.update((row.row_id, row.row_hash) for row in rows)
            self._changed = True

    def due_in_s(self) -> float | None:
        """Seconds until `advance` has something to do, or None for not before further rows are shipped."""
        if self.problem or not self._changed or not self._node_id():
            return None
        return max(0.0, self._next_s - time.monotonic())

    async def compare(self) -> None:
        """Sees that the ledger still holds, at its number, the last row that this node has seen there.

        Raises StoreError, and LedgerDiffers when it does not: then nothing may be given to it.
        """
        async with self._differing():
            if not self._begun:
                await self._begin()
            await self._look()

    async def advance(self) -> bool:
        """Signs a head over what the ledger holds now, if that is more than the last one is over. Returns whether all
        that was shipped before has been seen there, with the copy on disk.

        Raises StoreError, and LedgerDiffers when something does not fit.
        """
        node_id = self._node_id()
        if self.problem or not node_id:
            return False
        self._next_s = time.monotonic() + self._pause_s
        async with self._differing():
            if not self._begun:
                await self._begin()
            if self.newest is not None and self.newest.node_id != node_id:
                raise LedgerDiffers(f"{self._kept} is not a head of this node: move it away if its key was replaced")
            await self._look()
            await self._walk()
        await self._sign(node_id)
        self._changed = bool(self._shipped)
        return True

    @asynccontextmanager
    async def _differing(self) -> AsyncIterator[None]:
        if self.problem:
            raise LedgerDiffers(self.problem)
        try:
            yield
        except LedgerDiffers as error:
            self.problem = str(error)
            self._shipped.clear()
            raise

    async def _begin(self) -> None:
        """Finds the last heads of this node, the copy that was kept and the store's newest, and sees that the rows
        below them are those that were signed."""
        kept, last_hash = await asyncio.to_thread(self._load_kept)
        node_id = kept.node_id if kept is not None else self._node_id()
        if not node_id:
            return
        mine = {node_id: self._signer.public_key}
        self._losses = [
            loss
            for loss in await self._store.losses()
            if loss.node_id == node_id and not loss_findings(loss, mine, signing.verify)
        ]
        stored = await self._store.newest_head(node_id)
        if stored is not None and (head_findings(stored, mine, signing.verify) or self._is_explained(stored)):
            stored = None  # by an older key of this node, by nobody, or over what is lost: it binds nothing here
        if kept is not None and head_findings(kept, mine, signing.verify):
            raise LedgerDiffers(f"{self._kept} is not a head of this node: move it away if its key was replaced")
        if kept is not None and last_hash:
            self._line = Line(self._losses, keccak_256, rows=kept.last_ingest, commitment=kept.commitment)
            self._last_hash = last_hash
            await self._look()
        else:  # an older program's copy, or none: once from the first row on
            self._line, self._last_hash = Line(self._losses, keccak_256), b""
        beyond = [head for head in (kept, stored) if head is not None and head.last_ingest > self._line.rows]
        self._bound = sorted(beyond, key=lambda head: head.last_ingest)
        while self._bound:
            if not await self._page():
                rows = await self._store.head()
                raise LedgerDiffers(self._message(rows, self._bound[0].last_ingest))
        if kept is not None and (stored is None or stored.last_ingest < kept.last_ingest):
            await self._put(kept)  # a store that forgot it, or a crash before it was told
            stored = kept
        self.newest = stored
        self._begun = True

    def _is_explained(self, head: Head) -> bool:
        """Whether it is over rows that are lost by this node's own word."""
        return any(loss.explains(head) for loss in self._losses)

    async def _look(self) -> None:
        number = self._line.rows
        if number and [row.row_hash for row in await self._store.row_hashes(number - 1, 1)] != [self._last_hash]:
            raise LedgerDiffers(self._message(await self._store.head(), number))

    def _message(self, rows: int, number: int) -> str:
        return (
            f"the ledger ends with row {rows}, and this node has signed that it held {number}, with another row there: "
            "rows are gone, or this is another ledger. Nothing is shipped and nothing is lost from the spool. Put back "
            "the newest ledger there is and start the node again; cgn verify says what is missing. To go on with this "
            "one, stop the node: cgn ledger accept-loss makes a signed fact of what is gone"
        )

    async def _walk(self) -> None:
        """Takes the rows behind the last walk into the commitment, and misses none that was shipped."""
        awaited, self._shipped = self._shipped, {}
        try:
            while page := await self._page():
                for row in page:
                    if awaited.get(row.row_id) == row.row_hash:
                        del awaited[row.row_id]
            for row_id in list(awaited):  # shipped a second time: they stand where they stood
                stored = await self._store.get(row_id)
                if stored is None or stored.row_hash != awaited[row_id] or not 0 < stored.ingest <= self._line.rows:
                    raise LedgerDiffers(f"row {row_id} was given to the ledger and is not there as it was")
                del awaited[row_id]
        finally:
            self._shipped = awaited | self._shipped

    async def _page(self) -> list[RowHash]:
        """The next rows, taken into the commitment; none: the walk is at the end."""
        page = await self._store.row_hashes(self._line.rows, limits.HEAD_PAGE_ROWS)
        for row in page:
            if row.ingest != self._line.rows + 1:
                raise LedgerDiffers(f"the ledger holds row number {row.ingest} behind {self._line.rows}")
            self._line.extend([row.row_hash])
            self._last_hash = row.row_hash
            while self._bound and self._bound[0].last_ingest == self._line.rows:
                if self._bound.pop(0).commitment != self._line.commitment:
                    raise LedgerDiffers(self._message(await self._store.head(), self._line.rows))
        await asyncio.sleep(0)  # requests go first
        return page

    async def _sign(self, node_id: str) -> None:
        last, last_hash = self._line.rows, self._last_hash
        if last == 0 or (self.newest is not None and self.newest.last_ingest == last):
            return
        head = sign_head(node_id, last, self._line.commitment, self._now_ns(), self._signer.sign)
        head = await self._put(head)
        await asyncio.to_thread(keep, self._kept, head, last_hash)
        self.newest = head

    async def _put(self, head: Head) -> Head:
        """Puts it into the store; returns the one that stands there, for an answer that was lost. Where one over lost
        rows has its place, the copy alone keeps it."""
        try:
            await self._store.put_head(head)
        except Conflict:
            there = await self._store.heads(after=(head.last_ingest - 1, _BEHIND_ALL), limit=limits.HEADS_OF_A_ROW)
            mine = [each for each in there if each.node_id == head.node_id and each.last_ingest == head.last_ingest]
            if mine and mine[0][:3] == head[:3]:
                return mine[0]
            if not any(map(self._is_explained, mine)):
                raise
        return head

    # --- the copy ---

    def _load_kept(self) -> tuple[Head | None, bytes]:
        try:
            return load_kept(self._kept)
        except ValueError as error:
            raise LedgerDiffers(f"{self._kept} cannot be read: {error}") from error


def load_kept(path: Path) -> tuple[Head | None, bytes]:
    """The head, and the hash of its last row (empty in an older program's copy). Raises ValueError."""
    try:
        head, _, last_hash = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None, b""
    return Head.decode(head), bytes.fromhex(last_hash.decode())


def keep(path: Path, head: Head, last_hash: bytes) -> None:
    """Writes the copy: whole and on disk, or as it was."""
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(head.encode() + b"\n" + last_hash.hex().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
