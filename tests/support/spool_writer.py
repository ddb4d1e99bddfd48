"""A process that appends numbered rows to a spool until it is killed; each acknowledged number goes to stdout.

    spool_writer.py FOLDER FIRST [FILE_SIZE_LIMIT]

With a limit (bytes per file, RLIMIT_FSIZE) it says FULL where an append is refused, then stops.
"""

import asyncio
import os
import resource
import sys

from ledger.spool import Spool, SpoolFull


async def main(folder: str, first: int, limit: int) -> None:
    spool = await Spool.open(folder, segment_bytes=200_000)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    number = first
    while True:
        group = {n: spool.append(b"%d:" % n + b"x" * (n * 37 % 900)) for n in range(number, number + 1 + number % 40)}
        results = await asyncio.gather(*group.values(), return_exceptions=True)
        done = [n for n, result in zip(group, results, strict=True) if result is None]
        os.write(1, b"".join(b"%d\n" % n for n in done))
        if any(isinstance(result, SpoolFull) for result in results):
            os.write(1, b"FULL\n")
            return
        number += len(group)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
