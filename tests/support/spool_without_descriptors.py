"""A process that uses up its descriptors and goes on appending rows to a spool; then gives them back. What happened goes
to stdout as one JSON object.

    spool_without_descriptors.py FOLDER
"""

import asyncio
import contextlib
import json
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from cgn_sdk.keccak import keccak_256

from ledger import limits
from ledger.spool import Shipper, Spool, SpoolFull


class Store:
    """Counts what it is given."""

    count = 0

    async def append(self, rows: Sequence[object]) -> None:
        self.count += len(rows)


async def main(folder: Path) -> None:
    limits.SPOOL_MEMORY_BYTES = 3_000  # type: ignore[misc]  # so that the shipper needs the files
    limits.SHIP_RETRY_MS = (5, 50)  # type: ignore[misc]
    spool = await Spool.open(folder, segment_bytes=3_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    said = {"refused": 0, "rows": 0, "heard": 0}
    refused_rows: list[int] = []

    def observe(rows: int, error: Exception | None) -> None:
        said["heard"] += isinstance(error, OSError)

    def on_refused(
        record: object, error: Exception
    ) -> None:  # the rows here are no rows; a file would be kept for each
        with open(os.devnull, "rb"):
            refused_rows.append(1)

    shipper = Shipper(spool, Store(), keccak_256, on_refused=on_refused, observe=observe, pause_ms=1)  # type: ignore[arg-type]

    async def put(count: int) -> None:
        for number in range(count):
            try:
                await spool.append(b"%d:" % number + b"x" * 400)
                said["rows"] += 1
            except SpoolFull:
                said["refused"] += 1

    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    shipping = asyncio.create_task(shipper.run())
    await put(300)
    for descriptor in taken:
        os.close(descriptor)
    said["newest_begins_with"] = max(int(path.stem) for path in folder.glob("*.spool"))
    await put(300)
    async with asyncio.timeout(60):
        while spool.backlog:
            await asyncio.sleep(0.01)
    shipping.cancel()
    said["shipped"] = len(refused_rows)
    await spool.close()
    print(json.dumps(said))


asyncio.run(main(Path(sys.argv[1])))
