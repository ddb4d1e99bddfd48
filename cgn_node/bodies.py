"""Bodies on their way: a request's body that can be read again for another attempt, and a response that is held back
until it may leave.

Payload bytes pass here and nowhere else; the broker core sees ids, sizes and digests. Neither class knows sockets:
callers tell them what arrived and ask them what may go on.
"""

import errno
import os
import tempfile
from hashlib import sha256
from pathlib import Path

from cgn_sdk.protocol.http_fields import NO_CONTENT_STATUSES

from cgn_node import limits
from cgn_node.http1 import Headers


class RequestBody:
    """A body as it arrives from the DApp, readable from any offset until `close` (N-11: a retry reads it again).

    Small ones stay in memory; from `memory_bytes` on everything is in a temporary file without a name in `folder`.
    """

    __slots__ = ("_file", "_folder", "_hash", "_memory", "_memory_bytes", "ended", "length")

    def __init__(self, folder: Path, memory_bytes: int = limits.REQUEST_MEMORY_BYTES) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._memory: bytes | bytearray = b""
        self._file: int | None = None
        self._hash = sha256()
        self.length = 0
        """Bytes arrived."""
        self.ended = False
        """Whether `length` is the whole body."""

    def append(self, data: bytes) -> None:
        """Raises OSError when the disk is full; the body is then of no use."""
        self._hash.update(data)
        if self._file is None and self.length + len(data) <= self._memory_bytes:
            if type(self._memory) is bytearray:
                self._memory += data
            else:
                self._memory = bytearray(self._memory + data) if self._memory else data
        else:
            if self._file is None:
                self._file = _unnamed_file(self._folder)
                if self._memory:
                    _write_at(self._file, self._memory, 0)
                    self._memory = b""
            _write_at(self._file, data, self.length)
        self.length += len(data)

    def end(self) -> None:
        self.ended = True

    @property
    def is_here(self) -> bool:
        """Whether `read` needs no disk: else it is not for the event loop."""
        return self._file is None

    def read(self, offset: int, max_bytes: int) -> bytes:
        """What has arrived from `offset` on: `max_bytes`, or all there is. Raises OSError when the disk has less."""
        if self._file is not None:
            return _read_at(self._file, min(max_bytes, self.length - offset), offset)
        if offset == 0 and max_bytes >= self.length:
            return bytes(self._memory)
        return bytes(self._memory[offset : offset + max_bytes])

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        self._memory = b""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _unnamed_file(folder: Path) -> int:
    """A file that is gone when its descriptor is, also after a crash."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except (OSError, AttributeError):  # a file system (or a system) without O_TMPFILE
        descriptor, name = tempfile.mkstemp(dir=folder)
        os.unlink(name)
        return descriptor


def _write_at(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def _read_at(descriptor: int, size: int, offset: int) -> bytes:
    """All of it. In front of a bad block the kernel gives less than was asked for, and the error to the next call."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise OSError(errno.EIO, f"a file ends {size - len(data)} bytes before what was written to it")
        data += more
    return data


class HeldMemory:
    """How much of all responses under way may wait in memory, over all requests of a node; the rest waits in unnamed
    files in `folder`."""

    def __init__(self, folder: Path, most: int = limits.HELD_MEMORY_BYTES) -> None:
        self._folder = folder
        self.left = most

    def keep(self, data: bytes, file: "HeldFile | None") -> tuple["Piece", "HeldFile | None"]:
        """The piece, and the file that its response's later pieces may use. Raises OSError when the disk is full."""
        if len(data) <= self.left:
            self.left -= len(data)
            return _InMemory(data, self), file
        file = HeldFile(_unnamed_file(self._folder)) if file is None else file
        return _InFile(file, file.append(data), len(data)), file

    def give_back(self, size: int) -> None:
        self.left += size


class HeldFile:
    """An unnamed file for pieces of one response; closed with the last of them."""

    __slots__ = ("_descriptor", "_length")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._length = 0

    def append(self, data: bytes | bytearray) -> int:
        at = self._length
        _write_at(self._descriptor, data, at)
        self._length += len(data)
        return at

    def read(self, at: int, size: int) -> bytes:
        return _read_at(self._descriptor, size, at)

    def __del__(self) -> None:
        os.close(self._descriptor)


class _InMemory:
    __slots__ = ("_data", "_memory")
    is_here = True

    def __init__(self, data: bytes, memory: HeldMemory) -> None:
        self._data: bytes | bytearray = data
        self._memory = memory

    def __len__(self) -> int:
        return len(self._data)

    def extend(self, data: bytes) -> bool:
        """Takes these bytes too; False when it has no room for them."""
        if len(self._data) + len(data) > limits.HELD_PIECE_BYTES or len(data) > self._memory.left:
            return False
        self._memory.left -= len(data)
        if type(self._data) is not bytearray:
            self._data = bytearray(self._data)
        self._data += data
        return True

    def load(self) -> bytes:
        return bytes(self._data)

    def __del__(self) -> None:
        self._memory.give_back(len(self._data))


class _InFile:
    """The last one of a response may end with bytes that are not worth a write yet."""

    __slots__ = ("_at", "_file", "_rest", "_written")
    is_here = False

    def __init__(self, file: HeldFile, at: int, size: int) -> None:
        self._file = file
        self._at = at
        self._written = size
        self._rest = bytearray()

    def __len__(self) -> int:
        return self._written + len(self._rest)

    def extend(self, data: bytes) -> bool:
        """As above. Raises OSError when the disk is full."""
        is_taken = len(self) + len(data) <= limits.HELD_PIECE_BYTES
        if is_taken:
            self._rest += data
        if self._rest and (not is_taken or len(self._rest) >= limits.HELD_WRITE_BYTES):
            self._file.append(self._rest)
            self._written += len(self._rest)
            self._rest.clear()
        return is_taken

    def load(self) -> bytes:
        return self._file.read(self._at, self._written) + self._rest


Piece = _InMemory | _InFile
"""Some bytes of a response: `len`, `load` (from disk unless `is_here`: not in the event loop, then) and, for the last
one, `extend`. What it takes is given back with the object."""


class BadResponse(Exception):
    """What an attempt sends cannot be this request's response: it does not go on where the DApp has been given a
    beginning, is not as long as it said, or finds no room here."""


class ResponseBody:
    """A response between miner and DApp, over all attempts of its request.

    Up to `held_bytes` everything waits here and an attempt that fails leaves no trace. Beyond, the response is
    *passing*: bytes go on as they come, but the last piece always stays until `finish`, so that nothing complete
    leaves before its row is durable. When an attempt fails then, the next one must begin with the very bytes that have
    left (status, length and SHA-256 are compared).

    Each attempt sends as many bytes as its head declares, none where HTTP allows none (`is_bare`: to HEAD): what is of
    another length is never whole, so that nobody is charged for it.

    Order of calls: `attempt_begins`, `head`, `data`... , `whole`, and `finish` when the row is durable.
    """

    __slots__ = (
        "_file",
        "_hash",
        "_held",
        "_held_bytes",
        "_held_max",
        "_is_bare",
        "_left",
        "_left_digest",
        "_memory",
        "_missing",
        "_prefix_missing",
        "_tail",
        "body_bytes",
        "headers",
        "passed",
        "status",
    )

    def __init__(
        self, memory: HeldMemory, held_bytes: int = limits.RESPONSE_HELD_BYTES, *, is_bare: bool = False
    ) -> None:
        self._memory = memory
        self._held_max = held_bytes
        self._held: list[Piece] = []
        self._file: HeldFile | None = None
        self._held_bytes = 0
        self._hash = sha256()  # over all that this attempt has sent: nothing is read back to be hashed
        self._tail = self._hash.copy()  # the same, before the last piece that is held
        self._left = self._hash.copy()  # the same, of what has left
        self._left_digest = b""  # of what had left before this attempt
        self._prefix_missing = 0
        self._is_bare = is_bare
        self._missing: int | None = None  # of what this attempt's head declared
        self.status = 0
        self.headers: Headers = []
        self.body_bytes: int | None = None
        """Declared by the DService; None when unknown."""
        self.passed = 0
        """Bytes that have left for the DApp. From the first on, the answer's head has left too."""

    def attempt_begins(self) -> None:
        """Forgets the attempt before, except for what has left."""
        if self.passed:
            if not self._prefix_missing:  # else the attempt before had not even repeated the prefix
                self._left_digest = self._left.digest()
            self._prefix_missing = self.passed
        self._hash = sha256()
        self._held, self._held_bytes, self._file = [], 0, None

    def head(self, status: int, headers: Headers, body_bytes: int | None) -> None:
        """Raises BadResponse when this is not the answer that the DApp has begun to receive."""
        self._missing = 0 if self._is_bare or status in NO_CONTENT_STATUSES else body_bytes
        if not self.passed:
            self.status, self.headers, self.body_bytes = status, headers, body_bytes
        elif status != self.status or body_bytes != self.body_bytes:
            raise BadResponse(f"status {status}, length {body_bytes} instead of {self.status}, {self.body_bytes}")

    def left(self) -> tuple[str, int]:
        """(SHA-256, bytes) of what has left."""
        digest = self._left_digest.hex() if self._prefix_missing else self._left.hexdigest()
        return digest, self.passed

    def data(self, data: bytes) -> list[Piece]:
        """What may leave now. Raises BadResponse when there is more than was declared or the prefix is not what has
        left; OSError when no more can be held, which is no fault of whoever sent it."""
        if self._missing is not None:
            if len(data) > self._missing:
                raise BadResponse(f"{len(data) - self._missing} bytes more than the head declared, or HTTP allows")
            self._missing -= len(data)
        if self._prefix_missing:
            data = self._compare_prefix(data)
        if not data:
            return []
        tail = limits.RESPONSE_TAIL_BYTES
        if not self.passed and not self._held and len(data) > max(self._held_max, tail):
            self._hold(data[:-tail])  # a first piece that is alone longer than what is held: all but its end
            data = data[-tail:]
        self._hold(data)
        if not self.passed and self._held_bytes <= self._held_max:
            return []
        passing, self._held = self._held[:-1], self._held[-1:]
        if passing:
            self._left = self._tail
            self.passed += sum(map(len, passing))
            self._held_bytes = len(self._held[0])
        return passing

    def _hold(self, data: bytes) -> None:
        """Short pieces are joined while nothing leaves: what an answer costs here goes by its bytes."""
        joins = self._held and not self.passed and self._held_bytes + len(data) <= self._held_max
        if not (joins and self._held[-1].extend(data)):
            piece, self._file = self._memory.keep(data, self._file)
            self._held.append(piece)
            self._tail = self._hash.copy()
        self._hash.update(data)
        self._held_bytes += len(data)

    def _compare_prefix(self, data: bytes) -> bytes:
        """Takes what repeats the bytes that have left; returns what comes behind them."""
        repeated = data[: self._prefix_missing]
        self._hash.update(repeated)
        self._prefix_missing -= len(repeated)
        if not self._prefix_missing and self._hash.digest() != self._left_digest:
            self._prefix_missing = self.passed
            raise BadResponse("the response begins with other bytes than those the DApp has")
        self._left = self._hash.copy()
        return data[len(repeated) :]

    def whole(self) -> tuple[str, int]:
        """(SHA-256, bytes) of the response after its last byte. Raises BadResponse when it is shorter than it said, or
        than what has left."""
        if self._missing:
            raise BadResponse(f"the response ends {self._missing} bytes before the length in its head")
        if self._prefix_missing:
            raise BadResponse(f"the response ends {self._prefix_missing} bytes before what the DApp has")
        return self._hash.hexdigest(), self.passed + self._held_bytes

    def finish(self) -> list[Piece]:
        """The pieces still held, which may leave once the row is durable."""
        held, self._held, self._held_bytes, self._file = self._held, [], 0, None
        return held

    def close(self) -> None:
        """Gives back what is held and has not left: memory, descriptor, room on disk. Pieces that were handed on are
        their takers'."""
        self._held, self._held_bytes, self._file = [], 0, None


def body_folder(folder: Path) -> Path:
    """The folder for bodies under way, made if missing. Files in it have no names, so nothing is left from before."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
