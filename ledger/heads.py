"""Signs heads of the ledger: this node's word for which rows it holds, in which order (L-3, L-12).

After rows were shipped, at most once in `limits.HEAD_PAUSE_S`: walk the row hashes behind the last head, see that every
row that was shipped is among them, sign, put the head into the store, and keep a copy beside the spool. The copy is
what a store that was cut or restored cannot take back: a node never signs what contradicts its last head.

    keeper = HeadKeeper(store, signer, node_id=lambda: "p…", kept=state / "head.json")
    keeper.shipped(rows)                     when they are in the store
    await keeper.advance()                   when `due_in_s()` says so

What goes wrong: a store that is away raises StoreError, and the next turn tries again; a ledger that differs from what
was signed or shipped raises `LedgerDiffers` once, `problem` says it from then on, and no further head is signed until a
person has looked. Rows go on being shipped: each is signed by itself.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.head import NO_ROWS, Head, extend, head_findings, sign_head
from cgn_sdk.protocol.row import Row

from ledger import limits
from ledger.port import Conflict, Store


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
        self._walked = (0, NO_ROWS)
        """Number of the last row that was seen, and the commitment up to it."""
        self.newest: Head | None = None
        self.problem = ""

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

    async def advance(self) -> None:
        """Signs a head over what the ledger holds now, if that is more than the last one is over.

        Raises StoreError, and LedgerDiffers the first time that something does not fit.
        """
        if self.problem or not self._node_id():
            return
        self._next_s = time.monotonic() + self._pause_s
        try:
            if not self._begun:
                await self._begin(self._node_id())
            await self._walk()
        except LedgerDiffers as error:
            self.problem = str(error)
            self._shipped.clear()
            raise
        await self._sign(self._node_id())
        self._changed = bool(self._shipped)

    async def _begin(self, node_id: str) -> None:
        """Finds the last head of this node: the copy that was kept, or the store's newest."""
        kept = await asyncio.to_thread(self._load_kept)
        stored = await self._store.newest_head(node_id)
        mine = {node_id: self._signer.public_key}
        if stored is not None and head_findings(stored, mine, signing.verify):
            stored = None  # by a key that this node had before, or by nobody: it binds nothing here
        if kept is not None and (kept.node_id != node_id or head_findings(kept, mine, signing.verify)):
            raise LedgerDiffers(f"{self._kept} is not a head of this node: move it away if its key was replaced")
        rows = await self._store.head()
        if kept is not None and kept.last_ingest > rows:
            raise LedgerDiffers(
                f"the ledger ends with row {rows}, and this node has signed that it held {kept.last_ingest}: rows are "
                f"gone, or this is another ledger. cgn verify says which; to go on with it, move {self._kept} away"
            )
        if kept is not None and (stored is None or stored.last_ingest < kept.last_ingest):
            await self._store.put_head(kept)  # a store that was restored, or a crash before it was told
            stored = kept
        if stored is not None and stored.last_ingest <= rows:
            self.newest, self._walked = stored, (stored.last_ingest, stored.commitment)
        self._begun = True

    async def _walk(self) -> None:
        """Takes the rows behind the last walk into the commitment, and misses none that was shipped."""
        awaited, self._shipped = self._shipped, {}
        last, commitment = self._walked
        try:
            while page := await self._store.row_hashes(last, limits.HEAD_PAGE_ROWS):
                for row in page:
                    if row.ingest != last + 1:
                        raise LedgerDiffers(f"the ledger holds row number {row.ingest} behind {last}")
                    last = row.ingest
                    if awaited.get(row.row_id) == row.row_hash:
                        del awaited[row.row_id]
                commitment = extend(commitment, (row.row_hash for row in page), keccak_256)
                self._walked = last, commitment
                await asyncio.sleep(0)  # requests go first
            for row_id in list(awaited):  # shipped a second time: they stand where they stood
                stored = await self._store.get(row_id)
                if stored is None or stored.row_hash != awaited[row_id] or not 0 < stored.ingest <= last:
                    raise LedgerDiffers(f"row {row_id} was given to the ledger and is not there as it was")
                del awaited[row_id]
        finally:
            self._shipped = awaited | self._shipped

    async def _sign(self, node_id: str) -> None:
        last, commitment = self._walked
        if last == 0 or (self.newest is not None and self.newest.last_ingest == last):
            return
        head = sign_head(node_id, last, commitment, self._now_ns(), self._signer.sign)
        try:
            await self._store.put_head(head)
        except Conflict:  # there is one over so many rows, by the answer that was lost or by another key: the next one
            stored = await self._store.newest_head(node_id)
            if stored is None or stored[:3] != head[:3]:
                raise
            head = stored
        await asyncio.to_thread(self._keep, head)
        self.newest = head

    # --- the copy ---

    def _load_kept(self) -> Head | None:
        try:
            return Head.decode(self._kept.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise LedgerDiffers(f"{self._kept} cannot be read: {error}") from error

    def _keep(self, head: Head) -> None:
        temporary = self._kept.with_suffix(".new")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(head.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._kept)
