"""What passes between the front and a worker: frames over one UNIX socket, large sources as descriptors beside them.

A frame is the length of a JSON text, the length of a blob and the number of descriptors (big-endian, 4 + 4 + 1 bytes),
then the text, then the blob. Only the front sends descriptors (SCM_RIGHTS, on the frame's first byte): sealed memory
(`Shared`), which the worker maps and nobody can change any more, so that one source may serve many workers and stay
in the front's cache. What a worker sends travels as bytes: the front never maps anything a worker made.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import json
import mmap
import os
import select
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dservices.mediagen import limits

FRAME = struct.Struct(">IIB")
INLINE_MAX_BYTES = 64 * 1024
"""Shorter data is copied through the socket: a descriptor costs about as much as copying this."""
POPULATE_MAX_BYTES = 16 << 20
"""Pages of sources up to this size are mapped at once, which costs less than a fault for every sixteen; of larger ones
perhaps only the header is wanted."""
DESCRIPTORS_MAX = 1
"""In one frame."""
_SEALS = 0x1 | 0x2 | 0x4 | 0x8
"""F_SEAL_SEAL, SHRINK, GROW, WRITE: from now on these bytes stay what they are."""
_ADD_SEALS, _GET_SEALS = 1033, 1034
_READ_BYTES = 64 * 1024

PHASE_IDLE, PHASE_SCRIPT, PHASE_HOST, PHASE_FETCH = 0, 1, 2, 3
"""What a worker is doing, for the parent to say something sensible about one that died."""
_PAGE, _IDLE = struct.Struct(">BI"), struct.Struct(">Q")

Data = bytes | mmap.mmap


class ChannelClosed(Exception):
    """The other side is gone, or sent what our code does not send."""


class Status:
    """The shared page: the phase, and how many requests the worker has begun. The parent reads it when a worker is
    gone: a request that was begun has died with it, one that was not may go to another worker."""

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page

    def begin(self) -> None:
        _PAGE.pack_into(self._page, 0, PHASE_HOST, (self.begun + 1) & 0xFFFFFFFF)

    def note(self, phase: int) -> None:
        self._page[0] = phase

    def note_idle(self, in_use_bytes: int) -> None:
        """What the process uses without a request: what the next one needs is counted from there."""
        _IDLE.pack_into(self._page, 8, in_use_bytes)

    @property
    def idle_bytes(self) -> int:
        in_use: int = _IDLE.unpack_from(self._page, 8)[0]
        return in_use

    @property
    def phase(self) -> int:
        return self._page[0]

    @property
    def begun(self) -> int:
        begun: int = _PAGE.unpack_from(self._page, 0)[1]
        return begun


class MessageTooLong(Exception):
    """The message is longer than the other side takes; nothing of it was sent."""


class Shared:
    """Bytes in memory that can be handed to workers without copying: written once, then sealed.

    `write` as often as needed, then `seal`. The memory lives until this object and every mapping of it are gone.
    """

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("cgn-mediagen-source", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.size = 0

    @classmethod
    def of(cls, data: bytes) -> Shared:
        made = cls()
        made.write(data)
        made.seal()
        return made

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = os.write(self.descriptor, view)
            self.size += count
            view = view[count:]

    def seal(self) -> None:
        fcntl.fcntl(self.descriptor, _ADD_SEALS, _SEALS)

    @property
    def sealed(self) -> bool:
        return fcntl.fcntl(self.descriptor, _GET_SEALS) == _SEALS

    def read(self) -> bytes:
        return os.pread(self.descriptor, self.size, 0) if self.size else b""

    def __len__(self) -> int:
        return self.size

    def __del__(self) -> None:
        if (descriptor := getattr(self, "descriptor", -1)) >= 0:
            os.close(descriptor)


def frame(message: Mapping[str, Any], blob: bytes, descriptors: int) -> list[bytes]:
    """In pieces that can leave with one call: head and text, then the blob."""
    text = json.dumps(message).encode()
    head = FRAME.pack(len(text), len(blob), descriptors) + text
    return [head, blob] if blob else [head]


def unsent(pieces: Sequence[bytes], sent: int) -> Iterator[memoryview]:
    """What is left of the pieces when the first `sent` bytes of them have left."""
    for piece in pieces:
        if sent < len(piece):
            yield memoryview(piece)[sent:]
        sent = max(0, sent - len(piece))


class FrontEnd:
    """The front's end, on its event loop. ChannelClosed when the worker is gone or sends what it should not."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._buffer = bytearray()

    async def send(self, message: Mapping[str, Any], blob: bytes = b"", shared: Shared | None = None) -> None:
        loop = asyncio.get_running_loop()
        pieces = frame(message, blob, 1 if shared is not None else 0)
        rights = []
        if shared is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [shared.descriptor]))]
        try:
            try:
                sent = self._socket.sendmsg(pieces, rights)
            except BlockingIOError:
                # The worker has read everything before it asks again, so this is a worker that floods: not worth
                # waiting.
                raise ChannelClosed from None
            for rest in unsent(pieces, sent):
                await loop.sock_sendall(self._socket, rest)
        except OSError:
            raise ChannelClosed from None

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        """A frame of the worker's, within our bounds; descriptors it may have sent are closed by the kernel."""
        text_length, blob_length, descriptors = FRAME.unpack(await self._exactly(FRAME.size))
        if text_length > limits.CALL_MAX_CHARS or blob_length > limits.OUTPUT_MAX_BYTES or descriptors:
            raise ChannelClosed
        try:
            message = json.loads(await self._exactly(text_length))
        except ValueError:
            raise ChannelClosed from None
        if not isinstance(message, dict):
            raise ChannelClosed
        return message, bytes(await self._exactly(blob_length)) if blob_length else b""

    async def _exactly(self, size: int) -> bytes | bytearray:
        loop = asyncio.get_running_loop()
        try:
            if size <= _READ_BYTES:
                while len(self._buffer) < size:
                    data = await loop.sock_recv(self._socket, _READ_BYTES)
                    if not data:
                        raise ChannelClosed
                    self._buffer += data
                taken = bytes(self._buffer[:size])
                del self._buffer[:size]
                return taken
            whole = bytearray(size)
            have = min(size, len(self._buffer))
            whole[:have] = self._buffer[:have]
            del self._buffer[:have]
            view = memoryview(whole)
            while have < size:
                count = await loop.sock_recv_into(self._socket, view[have:])
                if count == 0:
                    raise ChannelClosed
                have += count
            return whole
        except OSError:
            raise ChannelClosed from None

    def close(self) -> None:
        self._socket.close()


class WorkerEnd:
    """The worker's end: blocking. Ends the process when the front is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._descriptors: list[int] = []
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def waiting(self, timeout_ms: int = 0) -> bool:
        """Whether a frame (or the end) has come within that time."""
        return bool(self._poll.poll(timeout_ms))

    def send(self, message: Mapping[str, Any], blob: bytes = b"") -> None:
        pieces = frame(message, blob, 0)
        if len(pieces[0]) - FRAME.size > limits.CALL_MAX_CHARS:
            raise MessageTooLong  # here, while it can still be said: the front would take it for a broken worker
        sent = os.writev(self._socket.fileno(), pieces)  # sendmsg could send descriptors: a worker may not call it
        for rest in unsent(pieces, sent):
            self._socket.sendall(rest)

    def receive(self) -> tuple[dict[str, Any], Data]:
        """The message and what came with it: bytes, or a mapping of what the front shares."""
        message, blob, shared = self.receive_all()
        return message, shared[0] if shared else blob

    def receive_all(self) -> tuple[dict[str, Any], bytes, Sequence[mmap.mmap]]:
        text_length, blob_length, descriptors = FRAME.unpack(self._exactly(FRAME.size))
        message = json.loads(self._exactly(text_length))
        blob = self._exactly(blob_length) if blob_length else b""
        taken, self._descriptors = self._descriptors[:descriptors], self._descriptors[descriptors:]
        return message, blob, [_mapped(descriptor) for descriptor in taken]

    def _exactly(self, size: int) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._receive_into(view)
            if count == 0:
                raise SystemExit(0)  # the front is gone
            view = view[count:]
        return bytes(data)

    def _receive_into(self, view: memoryview) -> int:
        room = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        count, ancillary, _, _ = self._socket.recvmsg_into([view], room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                self._descriptors.extend(numbers)
        return count


def _mapped(descriptor: int) -> mmap.mmap:
    """Read-only and private: kernels before 6.7 refuse shared mappings of sealed memory, and nothing is ever
    written."""
    try:
        size = os.fstat(descriptor).st_size
        flags = mmap.MAP_PRIVATE | (mmap.MAP_POPULATE if size <= POPULATE_MAX_BYTES else 0)
        return mmap.mmap(descriptor, size, flags=flags, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)
