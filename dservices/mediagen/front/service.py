"""MediaGen's front: HTTP in, one request to a worker, the answer out. Async, and free of pixels and scripts."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from cgn_sdk.dservice.fetch import Fetcher, FetchLimits
from cgn_sdk.dservice.framework import Request, Response
from cgn_sdk.dservice.problems import CONTENT_TYPE, Problem

from dservices.mediagen import limits
from dservices.mediagen.channel import Shared
from dservices.mediagen.front import provenance, stores, uploads
from dservices.mediagen.front.heads import Heads
from dservices.mediagen.front.in_flight import InFlight
from dservices.mediagen.front.pool import Bounds, FetchForWorker, Pool
from dservices.mediagen.front.provenance import Reading
from dservices.mediagen.front.settings import Settings
from dservices.mediagen.front.sources import Source, Sources
from dservices.mediagen.language import mrl

MAX_AGE_S = 3600
"""How long a `Cached` answer may be reused without asking: scripts and sources behind it may change."""
SCRIPT_HEADERS = frozenset(
    {
        *(
            "accept",
            "accept-language",
            "user-agent",
            "referer",
            "content-type",
            "if-none-match",
            "cgn-request-id",
            "host",
        ),
        *("dpr", "width", "viewport-width", "save-data", "sec-ch-dpr", "sec-ch-width", "sec-ch-viewport-width"),
        *("sec-ch-viewport-height", "sec-ch-prefers-color-scheme", "sec-ch-prefers-reduced-motion", "sec-ch-ua-mobile"),
    }
)
"""Request headers a script may see, and those that say what a screen shows (HTTP client hints, RFC 8942); anything else
is between DApp and node."""


class MediaGen:
    """The handler and what it holds: pool, fetcher and kept sources."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        fetch_limits = FetchLimits(max_bytes=settings.source_max_bytes, total_s=settings.fetch_total_s)
        self.fetcher = Fetcher(settings.policy, fetch_limits, egress=settings.egress, user_agent="cgn-mediagen")
        self.sources = Sources(self.fetcher, settings.cache_bytes)
        self.heads = Heads(self.fetcher)
        self.in_flight = InFlight()
        self._stores = settings.stores
        self._inside = 0
        self.pool = Pool(
            settings.workers,
            self.fetch,
            self._put,
            Bounds(settings.wall_s, settings.cpu_s, settings.memory_bytes, settings.worker_memory_bytes),
            fonts=settings.fonts,
        )

    async def start(self) -> None:
        await self.pool.start()
        gc.collect()
        gc.freeze()  # what is there now stays: the collector need not walk through it again and again

    async def stop(self) -> None:
        await self.pool.close()
        self.sources.clear()
        await self.fetcher.close()

    async def fetch(self, address: str, purpose: str) -> Source:
        if purpose == "head":
            return await self.heads.get(address)
        bound = limits.SCRIPT_MAX_BYTES if purpose in ("script", stores.PARAMETER) else self.settings.source_max_bytes
        try:
            return await self.sources.get(address, bound)
        except Problem as problem:
            if purpose == stores.PARAMETER:
                problem.facts["parameter"] = purpose
            if purpose == "script" and problem.code.startswith("source_"):
                raise Problem(
                    problem.status, problem.code.replace("source_", "script_"), f"script: {problem.detail}"
                ) from None
            raise

    async def _put(self, address: str, data: bytes, content_type: str) -> None:
        try:
            # Azure wants the kind of blob named; S3 and plain servers ignore it.
            await self.fetcher.put(address, data, content_type, headers={"x-ms-blob-type": "BlockBlob"})
        finally:  # whatever came of it: what was kept may be old
            self.sources.forget(address)

    @staticmethod
    def order(target: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """What a worker is told of a request."""
        parsed = mrl.parse(target)
        return {
            "script": parsed.script,
            "function": parsed.function,
            "arguments": list(parsed.arguments),
            "parameters": dict(parsed.parameters),
            "query": parsed.query,
            "headers": {name: value for name, value in headers.items() if name in SCRIPT_HEADERS},
        }

    @staticmethod
    def with_body(order: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> tuple[dict[str, Any], bytes]:
        """The order with the files of a POST, and their bytes one behind the other."""
        taken = uploads.taken_apart(headers.get("content-type", ""), body)
        return taken.into(order, order["parameters"]), taken.data

    async def handle(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD", "POST"):
            refused = Problem(405, "method_not_allowed", "use GET, or POST to send files")
            return Response(405, {"Allow": "GET, HEAD, POST", "Content-Type": CONTENT_TYPE}, refused.body())
        order = self.order(request.target, request.headers)
        wall_s = self.settings.wall_s
        if request.deadline_ms is not None:
            wall_s = min(wall_s, request.deadline_ms / 1000)
        if self._inside >= limits.QUEUE_MAX + self.settings.workers:
            raise Problem(503, "busy", "too many requests are waiting; repeat later")
        self._inside += 1
        try:
            if request.method == "POST":
                body = await request.read(limits.SOURCE_MAX_BYTES)
                order, upload = self.with_body(order, request.headers, body)
                outcome, body = await self.made(order, upload, wall_s)
            else:
                outcome, body = await self.in_flight.run(order, partial(self.made, order, b""), wall_s)
        finally:
            self._inside -= 1
        return self.response(request.method, request.headers, outcome, body)

    async def made(self, order: Mapping[str, Any], upload: bytes, wall_s: float) -> tuple[dict[str, Any], bytes]:
        """What a worker makes of an order and the sources of the moment: (outcome, body)."""
        started_s = time.monotonic()
        named = await self.stores_of(order, wall_s)
        reading = Reading(named.fetch(self.fetch), self.sources)
        script = await self.script(str(order["script"]), wall_s, reading.fetch)
        spent_s = time.monotonic() - started_s
        outcome, body = await self.pool.run(
            {**order, "stores": named.names},
            script,
            upload,
            wall_s=wall_s,
            spent_s=spent_s,
            fetch=reading.fetch,
            put=named.put(self._put),
        )
        return {**outcome, "sources_digest": await reading.digest()}, body

    async def stores_of(self, order: Mapping[str, Any], wall_s: float) -> stores.Stores:
        """The stores that the request may name: the operator's, and those of the document that its MRL names."""
        address = order["parameters"].get(stores.PARAMETER)
        if not address:
            return self._stores
        return self._stores.with_(stores.read(await self._document(address, stores.PARAMETER, wall_s, self.fetch)))

    async def script(self, address: str, wall_s: float, fetch: FetchForWorker | None = None) -> bytes:
        """Fetched before a worker is taken: a slow origin of a script keeps nobody else waiting."""
        return await self._document(address, "script", wall_s, fetch or self.fetch)

    @staticmethod
    async def _document(address: str, purpose: str, wall_s: float, fetch: FetchForWorker) -> bytes:
        try:
            async with asyncio.timeout(wall_s):
                found = await fetch(address, purpose)
        except TimeoutError:
            raise Problem(422, "work_timeout", f"the request took longer than {wall_s:g} s", limit_s=wall_s) from None
        return found.read() if isinstance(found, Shared) else found

    @staticmethod
    def response(method: str, asked: Mapping[str, str], outcome: Mapping[str, Any], body: bytes) -> Response:
        """The answer to a request with this method and these headers."""
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {
            "Cache-Control": f"public, max-age={MAX_AGE_S}" if outcome["cached"] else "no-store",
            "ETag": tag,
            "X-Content-Type-Options": "nosniff",
            # An SVG or HTML text answer must not run in the node's origin.
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
            **outcome["headers"],
        }
        if varies := _vary(outcome):
            headers = {name: value for name, value in headers.items() if name.lower() != "vary"} | {"Vary": varies}
        metadata = {
            "Sources": str(outcome["sources"]),
            "Source-Bytes": str(outcome["source_bytes"]),
            "Steps": str(outcome["steps"]),
            provenance.SOURCES: outcome["sources_digest"],
            provenance.ENGINE: outcome["engine"],
        }
        if outcome["format"]:
            metadata[provenance.FORMAT] = outcome["format"]
        if outcome["printed"]:
            metadata["Log"] = " | ".join(outcome["printed"])
        if method != "POST" and _is_known(tag, asked.get("if-none-match", "")):
            return Response(304, {k: v for k, v in headers.items() if k != "Content-Type"}, b"", metadata)
        return Response(outcome["status"], headers, body, metadata)


def _vary(outcome: Mapping[str, Any]) -> str:
    """What the script says the answer varies by, and the request headers it has looked at: who keeps the answer must
    not give it to a request that differs in one of them (RFC 9110 12.5.5)."""
    said = next((value for name, value in outcome["headers"].items() if name.lower() == "vary"), "")
    names = [name.strip() for name in said.split(",") if name.strip()]
    known = {name.lower() for name in names}
    return ", ".join([*names, *(name for name in outcome["looked_at"] if name in SCRIPT_HEADERS - known)])


def _is_known(tag: str, if_none_match: str) -> bool:
    """RFC 9110 13.1.2: `*`, or a list of tags compared weakly."""
    given = [entry.strip().removeprefix("W/") for entry in if_none_match.split(",")]
    return "*" in given or tag in given
