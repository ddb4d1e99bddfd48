"""Rows that the store refuses for what they say: kept one by one as files, counted, and offered again (N-24, L-4).

A row whose id is in the ledger with another hash, or whose event time is out of bounds, can never be shipped as it is;
it was acknowledged all the same. The shipper gives it to `Refused.keep` and goes on. A file is named by the row's id
(a name that means the same after every restart) and is never written over: other bytes under the same id stand beside
it, told apart by their hash. Beside each stands the reason, for a person.

    refused = Refused(state / "refused")
    Shipper(…, on_refused=refused.keep)
    refused.count                            files that wait for a person

What goes wrong: a disk without room raises OSError, and the shipper tries again; nothing is cut from the spool before
the file is on disk.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import decode_row

from ledger.port import Conflict, Store
from ledger.spool import Record

_ROW_ID: Final = re.compile(rb'"row_id":"([0-9a-f]{32})"')


class Refusal(NamedTuple):
    """A row that was refused just now, for whoever tells of it."""

    path: Path
    reason: str


class Refused:
    """See the module. One folder; `keep` may block for a sync of the disk, which is rare enough."""

    def __init__(self, folder: Path, tell: Callable[[Refusal], None] = lambda refusal: None) -> None:
        self.folder = folder
        self._tell = tell
        self.count = 0
        """Rows that lie here, as of the last `look` or `keep`."""
        self.look()

    def look(self) -> None:
        """Counts what is there now: a person may have taken some away."""
        self.count = len(paths(self.folder))

    def keep(self, record: Record, error: Exception) -> None:
        """Returns when the row is on disk under a name that nothing else has. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = _place(self.folder, record.data)
        if not path.exists():
            _write_whole(path, record.data)
        reason = f"{error}\n"
        path.with_suffix(".reason").write_text(reason)
        self.look()
        self._tell(Refusal(path, reason.strip()))


class Offered(NamedTuple):
    """What became of the rows that were offered again."""

    taken: tuple[str, ...]
    """Names of files that are gone because the ledger holds their rows."""
    refused: tuple[tuple[str, str], ...]
    """Names of files that stay, each with the reason of today."""


def paths(folder: Path) -> list[Path]:
    """The files of refused rows, by name."""
    return sorted(folder.glob("*.json"))


async def offer_again(folder: Path, store: Store) -> Offered:
    """Gives every refused row to the store once more. A file goes when its row is read back from there as it is.

    Raises StoreError when the store is away, and OSError: what was not offered yet stays.
    """
    taken, refused = [], []
    for path in paths(folder):
        data = path.read_bytes()
        try:
            row = decode_row(data, keccak_256)
            await store.append([row])
        except (Conflict, ValueError) as error:
            refused.append((path.name, str(error)))
            continue
        stored = await store.get(row.row_id)
        if stored is None or stored.row_hash != row.row_hash:
            refused.append((path.name, "the ledger took it and does not show it as it is"))
            continue
        path.unlink()
        with contextlib.suppress(FileNotFoundError):
            path.with_suffix(".reason").unlink()
        taken.append(path.name)
    return Offered(tuple(taken), tuple(refused))


def _place(folder: Path, data: bytes) -> Path:
    """Where these bytes lie, or may lie: by the row id, and by their hash too where other bytes have that name."""
    digest = hashlib.sha256(data).hexdigest()
    found = _ROW_ID.findall(data)
    name = found[-1].decode() if found else f"no-row-{digest[:32]}"  # the public part, which names the row, stands last
    path = folder / f"{name}.json"
    if path.exists() and path.read_bytes() != data:
        path = folder / f"{name}-{digest}.json"
    return path


def _write_whole(path: Path, data: bytes) -> None:
    """The file is whole or not there, and replaces none: a link fails where a name exists."""
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.link(temporary, path)
    temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
