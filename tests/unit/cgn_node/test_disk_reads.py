"""Reads beside the event loop: one that hangs holds up nobody else, one that fails tells whoever asked."""

import asyncio
import threading
from functools import partial

from cgn_node.disk_reads import DiskReads


async def read(reads: DiskReads, load: object) -> tuple[bytes, Exception | None]:
    told = asyncio.get_running_loop().create_future()
    reads.read(load, lambda data, problem: told.set_result((data, problem)))  # type: ignore[arg-type]
    return await asyncio.wait_for(told, 20)  # type: ignore[no-any-return]


async def test_what_is_read_or_raised_is_told() -> None:
    reads = DiskReads()
    assert await read(reads, lambda: b"abc") == (b"abc", None)
    error = OSError(5, "Input/output error")

    def fails() -> bytes:
        raise error

    assert await read(reads, fails) == (b"", error)
    assert await read(reads, lambda: b"def") == (b"def", None)


async def test_one_that_hangs_takes_one_thread() -> None:
    reads, released = DiskReads(threads=2), threading.Event()

    def hangs() -> bytes:
        released.wait(30)
        return b"late"

    late = asyncio.create_task(read(reads, hangs))
    await asyncio.sleep(0)
    assert [await read(reads, partial(bytes, number)) for number in range(5)] == [
        (bytes(number), None) for number in range(5)
    ]
    assert not late.done()
    released.set()
    assert await late == (b"late", None)


async def test_threads_end_with_the_process_whatever_they_wait_for() -> None:
    """And there are no more of them than were asked for, none before the first read."""
    before = threading.active_count()
    reads = DiskReads(threads=2)
    assert threading.active_count() == before
    for _ in range(5):
        await read(reads, bytes)
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("disk reads")]
    assert threading.active_count() == before + 2
    assert all(thread.daemon for thread in mine)
