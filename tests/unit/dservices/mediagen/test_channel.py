"""Frames and shared memory between the front and a worker."""

import asyncio
import mmap
import os
import socket
from collections.abc import Iterator

import pytest

from dservices.mediagen import limits
from dservices.mediagen.channel import FRAME, INLINE_MAX_BYTES, ChannelClosed, FrontEnd, Shared, WorkerEnd


@pytest.fixture
def ends() -> Iterator[tuple[FrontEnd, WorkerEnd, socket.socket]]:
    ours, theirs = socket.socketpair()
    front = FrontEnd(ours)
    yield front, WorkerEnd(theirs), theirs
    front.close()
    theirs.close()


@pytest.mark.parametrize("size", [0, 1, INLINE_MAX_BYTES, INLINE_MAX_BYTES + 1, 3_000_000])
async def test_frames_arrive_whole_in_both_directions(ends, size):
    front, worker, _ = ends
    blob = os.urandom(size)
    sent = asyncio.create_task(front.send({"text": "\u2028é"}, blob))
    message, got, shared = await asyncio.to_thread(worker.receive_all)
    await sent
    assert (message, got, shared) == ({"text": "\u2028é"}, blob, [])
    answering = asyncio.create_task(asyncio.to_thread(worker.send, {"done": 1}, blob))
    assert await front.receive() == ({"done": 1}, blob)
    await answering


async def test_shared_memory_arrives_beside_a_frame_and_is_read_only(ends):
    front, worker, _ = ends
    for data in (b"a" * 100_000, b"b" * 200_000):
        await front.send({"ok": True}, b"", Shared.of(data))
        message, view = await asyncio.to_thread(worker.receive)
        assert message == {"ok": True}
        assert isinstance(view, mmap.mmap)
        assert view[:] == data
        with pytest.raises(TypeError):
            view[0] = 1


async def test_both_a_blob_and_shared_memory(ends):
    front, worker, _ = ends
    await front.send({"run": {}}, b"script", Shared.of(b"u" * 100_000))
    message, script, shared = await asyncio.to_thread(worker.receive_all)
    assert (script, shared[0][:]) == (b"script", b"u" * 100_000)


@pytest.mark.parametrize(
    "data",
    [
        FRAME.pack(limits.CALL_MAX_CHARS + 1, 0, 0),
        FRAME.pack(2, limits.OUTPUT_MAX_BYTES + 1, 0) + b"{}",
        FRAME.pack(2, 0, 1) + b"{}",
        FRAME.pack(2, 0, 0) + b"[]",
        FRAME.pack(3, 0, 0) + b"{{}",
        FRAME.pack(100, 0, 0) + b"{}",
        FRAME.pack(2, 100, 0) + b"{}short",
        b"\0",
        b"",
    ],
)
async def test_what_our_worker_would_not_send_closes_the_channel(ends, data):
    """A worker that was taken over gets no further than its own end."""
    front, _, theirs = ends
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(ChannelClosed):
        await front.receive()


async def test_descriptors_of_a_worker_do_not_reach_the_front(ends):
    front, _, theirs = ends
    before = len(os.listdir("/proc/self/fd"))
    read, write = os.pipe()
    socket.send_fds(theirs, [FRAME.pack(2, 0, 0) + b"{}"], [read, write])
    os.close(read)
    os.close(write)
    assert await front.receive() == ({}, b"")
    assert len(os.listdir("/proc/self/fd")) == before


async def test_memory_goes_when_nobody_holds_it():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        Shared.of(b"x" * 100_000)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_worker_that_is_gone_closes_the_channel(ends):
    front, _, theirs = ends
    theirs.close()
    with pytest.raises(ChannelClosed):
        await front.receive()
    with pytest.raises(ChannelClosed):
        await front.send({"run": {}})
