"""Random bytes for ids and salts: buffers `os.urandom` to save system calls. No byte is used twice."""

import os

from cgn_node import limits


class RandomPool:
    """`take(n)` fresh bytes of `os.urandom`."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        start, end = self._at, self._at + count
        if end > len(self._bytes):
            self._bytes = os.urandom(max(limits.RANDOM_POOL_BYTES, count))
            start, end = 0, count
        self._at = end
        return self._bytes[start:end]
