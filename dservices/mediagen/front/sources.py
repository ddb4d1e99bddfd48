"""Sources and scripts for the workers: fetched once into memory that can be shared, kept while HTTP allows it (G-9).

What may be kept and used again `http_cache` decides; this module holds the bytes, in order of last use and bounded in
bytes, and does the asking. The bytes are kept as they came, in sealed memory that no process can change; a digest is
taken when they are stored and compared when they are used (large ones at most every `VERIFY_EVERY_S`), and an entry
that fails is thrown away and fetched again. Errors are never kept, and an origin that fails on being asked again is
an error, too: a cache must not make a result that the origins of the moment do not give.

Deliberately absent: waiting for the same address asked for elsewhere at this moment (both ask), and files: the memory
is the container's own and ends with the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import mmap
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from cgn_sdk.dservice.fetch import Fetched, Fetcher, shown
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.channel import INLINE_MAX_BYTES, Shared
from dservices.mediagen.front import http_cache

Source = bytes | Shared
"""Short ones as they are, long ones as memory to hand to a worker."""

ENTRY_OVERHEAD_BYTES = 2048
"""What an entry costs beside its bytes: address, headers, objects."""
SHARE_OF_CACHE = 2
"""An entry may take at most this fraction (1/n) of the cache: one large file must not empty it."""
VERIFY_EVERY_S = 30.0
"""Large sealed memory is compared with its digest at most this often: 3 MB cost 1.7 ms, and only hardware can change
it."""

_DECIDING = frozenset({"cache-control", "pragma", "expires", "vary", "etag", "last-modified", "date", "age"})
"""Header fields that `http_cache` reads; the others are not kept."""

_log = logging.getLogger("cgn.mediagen.sources")


@dataclass(slots=True)
class _Entry:
    body: Source
    headers: dict[str, str]
    kept: http_cache.Kept
    digest: bytes
    verified_s: float

    @property
    def cost(self) -> int:
        return len(self.body) + ENTRY_OVERHEAD_BYTES


@dataclass(slots=True)
class Counts:
    """What happened, for whoever looks after the service."""

    fresh: int = 0
    confirmed: int = 0
    fetched: int = 0
    spoiled: int = 0
    evicted: int = 0


class Sources:
    """Fetches through `fetcher`; keeps at most `cache_bytes` (0: nothing). Lives on one event loop."""

    def __init__(
        self,
        fetcher: Fetcher,
        cache_bytes: int,
        *,
        verify_every_s: float = VERIFY_EVERY_S,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._fetcher, self._cache_bytes, self._verify_every_s = fetcher, cache_bytes, verify_every_s
        self._monotonic, self._wall = monotonic, wall
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self.held_bytes = 0
        self.counts = Counts()

    async def get(self, url: str, max_bytes: int) -> Source:
        """The bytes at an address, at most `max_bytes` of them; Problem as `Fetcher.get` raises it."""
        entry = await self._usable(url)
        body: Source | None = None
        if entry is not None:
            if entry.kept.is_fresh(self._monotonic()):
                self.counts.fresh += 1
                body = entry.body
            else:
                body = await self._ask(url, entry, max_bytes)
        if body is None:
            return await self._fetch(url, max_bytes)
        if len(body) > max_bytes:  # kept for a use with a wider bound
            raise Problem(
                413, "source_too_large", f"{shown(url)} is larger than {max_bytes} bytes", limit_bytes=max_bytes
            )
        if url in self._entries:
            self._entries.move_to_end(url)
        return body

    def known_digest(self, url: str, body: Source) -> bytes | None:
        """That of bytes that are kept and whose digest has been taken."""
        entry = self._entries.get(url)
        return entry.digest or None if entry is not None and entry.body is body else None

    async def digest(self, url: str, body: Source) -> bytes:
        """SHA-256 of bytes that `get` gave for the address; once for those that are kept."""
        entry = self._entries.get(url)
        if entry is None or entry.body is not body:
            return await asyncio.to_thread(_digest, body) if isinstance(body, Shared) else _digest(body)
        if not entry.digest:
            entry.digest = await asyncio.to_thread(_digest, body)
        return entry.digest

    def forget(self, url: str) -> None:
        """An upload to the address makes what was kept of it void (RFC 9111, 4.4)."""
        if (entry := self._entries.pop(url, None)) is not None:
            self.held_bytes -= entry.cost

    def clear(self) -> None:
        self._entries.clear()
        self.held_bytes = 0

    # -- asking -------------------------------------------------------------------------------------------------

    async def _usable(self, url: str) -> _Entry | None:
        """The entry, if its bytes are what was stored."""
        entry = self._entries.get(url)
        if entry is None:
            return None
        now = self._monotonic()
        if isinstance(entry.body, Shared):
            sound = entry.body.sealed
            if sound and entry.digest and now - entry.verified_s >= self._verify_every_s:
                sound = await asyncio.to_thread(_digest, entry.body) == entry.digest
                entry.verified_s = now
        else:
            sound = _digest(entry.body) == entry.digest
        if sound:
            return entry
        _log.error("a kept source did not match its digest and was thrown away")
        self.counts.spoiled += 1
        if self._entries.get(url) is entry:
            self.forget(url)
        return None

    async def _ask(self, url: str, entry: _Entry, max_bytes: int) -> Source | None:
        """A conditional request: the kept bytes if they still hold, new ones if the origin has sent some. None: ask
        without conditions."""
        questions = entry.kept.questions
        if not questions:
            self._drop(url, entry)
            return None
        asked_s = self._monotonic()
        sink = _Sink()
        try:
            answer = await self._fetcher.get(url, headers=questions, max_bytes=max_bytes, sink=sink.write)
        except Problem:
            self._drop(url, entry)
            raise
        times = http_cache.Times(asked_s, self._monotonic(), self._wall())
        if answer.status != 304:
            self._drop(url, entry)
            return self._arrived(url, answer, sink, times)
        if answer.redirects or not http_cache.speaks_of(entry.kept, answer.headers):
            self._drop(url, entry)  # "unchanged" was said about something else
            return None
        self.counts.confirmed += 1
        news = http_cache.confirmed(url, entry.kept, entry.headers, answer.headers, times)
        if news is None:
            self._drop(url, entry)
        else:
            entry.kept = news
            entry.headers.update({name: value for name, value in answer.headers.items() if name in _DECIDING})
        return entry.body

    async def _fetch(self, url: str, max_bytes: int) -> Source:
        asked_s = self._monotonic()
        sink = _Sink()
        answer = await self._fetcher.get(url, max_bytes=max_bytes, sink=sink.write)
        return self._arrived(url, answer, sink, http_cache.Times(asked_s, self._monotonic(), self._wall()))

    # -- keeping ------------------------------------------------------------------------------------------------

    def _arrived(self, url: str, answer: Fetched, sink: _Sink, times: http_cache.Times) -> Source:
        self.counts.fetched += 1
        body = sink.taken()
        kept = None if answer.redirects else http_cache.kept(url, answer.headers, times)
        if kept is None or (len(body) + ENTRY_OVERHEAD_BYTES) * SHARE_OF_CACHE > self._cache_bytes:
            self.forget(url)
            return body
        headers = {name: value for name, value in answer.headers.items() if name in _DECIDING}
        entry = _Entry(body, headers, kept, b"", self._monotonic())
        if not isinstance(body, Shared):  # that of a large one is taken beside the work: `digest`
            entry.digest = _digest(body)
        self.forget(url)
        self._entries[url] = entry
        self.held_bytes += entry.cost
        while self.held_bytes > self._cache_bytes:
            oldest = next(iter(self._entries))
            self.forget(oldest)
            self.counts.evicted += 1
        return body

    def _drop(self, url: str, entry: _Entry) -> None:
        """Unless another request has put a newer one in its place meanwhile."""
        if self._entries.get(url) is entry:
            self.forget(url)


class _Sink:
    """Takes a body as it comes: short ones as bytes, long ones straight into memory that can be shared."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._shared: Shared | None = None

    def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._shared is None:
            self._parts.append(chunk)
            if self._size <= INLINE_MAX_BYTES:
                return
            self._shared = Shared()
            for part in self._parts:
                self._shared.write(part)
            self._parts.clear()
        else:
            self._shared.write(chunk)

    def taken(self) -> Source:
        if self._shared is None:
            return b"".join(self._parts)
        self._shared.seal()
        return self._shared


def _digest(body: Source) -> bytes:
    if isinstance(body, bytes):
        return hashlib.sha256(body).digest()
    if not len(body):
        return hashlib.sha256().digest()
    with mmap.mmap(body.descriptor, len(body), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as view:
        return hashlib.sha256(view).digest()
