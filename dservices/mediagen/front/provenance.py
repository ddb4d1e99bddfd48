"""What a result was made from and with, said in few bytes (G-8): so that a verifier knows whether it looks at the same.

* `Sources-Digest`: a digest over all scripts and sources the request has read, taken beside the work. Whoever does the
  work again and reads other bytes cannot judge the result: a source has changed, or its origin tells different things
  to different people.
* `Engine`: what `worker.identity` says of it.
"""

from __future__ import annotations

import asyncio
import hashlib

from dservices.mediagen.front.pool import FetchForWorker
from dservices.mediagen.front.sources import Source, Sources

SOURCES, ENGINE, FORMAT = "Sources-Digest", "Engine", "Format"
"""Names of the metadata fields; the last is the format of a picture that this service encoded itself."""


class Reading:
    """Fetches for one request and notes what came; `sources` knows the digests of what it keeps."""

    def __init__(self, fetch: FetchForWorker, sources: Sources) -> None:
        self._fetch, self._sources = fetch, sources
        self._read: list[tuple[str, bytes | asyncio.Task[bytes]]] = []

    async def fetch(self, address: str, purpose: str) -> Source:
        source = await self._fetch(address, purpose)
        known = self._sources.known_digest(address, source)
        if known is None:
            self._read.append((address, asyncio.create_task(self._sources.digest(address, source))))
        else:
            self._read.append((address, known))
        return source

    async def digest(self) -> str:
        """64 hexadecimal digits over the addresses and the bytes read at each, in no order."""
        read = {(address, each if isinstance(each, bytes) else await each) for address, each in self._read}
        whole = hashlib.sha256(b"mediagen/sources/1\0")
        for address, digest in sorted(read):
            whole.update(hashlib.sha256(address.encode()).digest() + digest)
        return whole.hexdigest()
