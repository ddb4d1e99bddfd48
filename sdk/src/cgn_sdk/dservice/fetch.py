"""Safe fetching (G-5): what a stranger's URL may make a DService do, and no more.

Each URL is parsed once and checked (`addresses`); the name is resolved once, every answer is checked, and the
connection goes to a checked address, so nothing is won by answering differently the second time. Redirects repeat the
whole check. Bytes, time and count are bounded. No cookies, no credentials, no proxy variables, no decompression.
With `CGN_EGRESS` set everything goes through that proxy (a UNIX socket; absolute-form, CONNECT), which resolves and
checks again on its side, because a container there has no network of its own.

Deliberately absent: retries (the DApp knows better what a source is worth) and caching (`mediagen` has its own).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from cgn_sdk.dservice.addresses import PUBLIC_ONLY, Address, AddressPolicy, AddressRefused, check_addresses, check_url
from cgn_sdk.dservice.problems import Problem
from cgn_sdk.dservice.resolving import system_resolve, tried

HEADER_MAX_BYTES = 16 * 1024
"""Of a source's answer: signed URLs and cookies of big sites stay below; more is an attack on the parser."""
CHUNK_BYTES = 256 * 1024
ERROR_READ_MAX_BYTES = 4096
"""Of the body of a refusal, to find the store's own code."""
ERROR_READ_S = 1.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Resolve = Callable[[str, int], "asyncio.Future[list[str]] | Any"]


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one fetch. Seconds are wall time."""

    max_bytes: int = 64 << 20
    """A 12-megapixel photograph has 4 to 8 MiB, a scanned PDF tens."""
    connect_s: float = 5.0
    idle_s: float = 10.0
    """Between two reads: a slow source is given up before it holds a slot for long."""
    total_s: float = 30.0
    redirects: int = 3


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer with status 200, or 304 if validators were sent. Header names are lower-case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    redirects: tuple[str, ...] = field(default=())


class _LookupSlow(Exception):
    """A lookup, or the way out, took too long. Not a TimeoutError: aiohttp would make a failed connection of it."""


class _Unreachable(Exception):
    """The way out could not connect."""


class _CheckedResolver(AbstractResolver):
    """Resolves, checks every answer, and hands the connector only addresses that passed."""

    def __init__(self, policy: AddressPolicy, resolve: Resolve) -> None:
        self._policy, self._resolve = policy, resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            addresses: list[Address] = [ip_address(text) for text in await self._resolve(host, port)]
        except TimeoutError:
            raise _LookupSlow from None
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in tried(check_addresses(host, port, addresses, self._policy))
        ]

    async def close(self) -> None:
        return None


class _EgressConnector(aiohttp.TCPConnector):
    """Every connection is one to the egress proxy's UNIX socket; aiohttp does CONNECT and TLS on top of it."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(**options)
        self._path = path

    async def _create_direct_connection(self, req: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return await self._loop.create_unix_connection(self._factory, self._path)
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error


class Fetcher:
    """Fetches for one DService process under one policy. Not thread-safe; lives on one event loop."""

    def __init__(
        self,
        policy: AddressPolicy = PUBLIC_ONLY,
        limits: FetchLimits | None = None,
        *,
        egress: str | None = None,
        resolve: Resolve = system_resolve,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "cgn-dservice",
    ) -> None:
        self.policy, self.limits = policy, limits or FetchLimits()
        self._egress, self._resolve, self._tls, self._user_agent = egress, resolve, tls, user_agent
        self._session: aiohttp.ClientSession | None = None
        self._uploads: aiohttp.ClientSession | None = None

    def _open(self, upload: bool) -> aiohttp.ClientSession:
        if upload:
            if self._uploads is None:
                self._uploads = self._made(force_close=True)
                # aiohttp would send a PUT again when its answer is lost. Whether it was stored is then unknown, and the
                # DApp's to judge: a second one may overwrite what somebody has put there since.
                self._uploads._retry_connection = False
            return self._uploads
        if self._session is None:
            self._session = self._made(keepalive_timeout=5)
        return self._session

    def _made(self, **how: Any) -> aiohttp.ClientSession:
        options: dict[str, Any] = {"limit": 64, "use_dns_cache": False, **how}
        if self._tls is not None:
            options["ssl"] = self._tls
        connector = (
            _EgressConnector(self._egress, **options)
            if self._egress
            else aiohttp.TCPConnector(resolver=_CheckedResolver(self.policy, self._resolve), **options)
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=HEADER_MAX_BYTES,
            max_field_size=HEADER_MAX_BYTES,
            read_bufsize=CHUNK_BYTES,
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        for session in (self._session, self._uploads):
            if session is not None:
                await session.close()
        self._session = self._uploads = None

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        sink: Callable[[bytes], None] | None = None,
    ) -> Fetched:
        """The body at an address. Problem 403, 404, 413 or 424 otherwise, naming the URL without its query.

        With a `sink` each part of the body goes there as it comes, and `Fetched.body` stays empty: large bodies need
        not be held twice. A body that breaks off has been handed over in part when the Problem is raised."""
        bound = self.limits.max_bytes if max_bytes is None else max_bytes
        async with self._translated(url):
            async with asyncio.timeout(self.limits.total_s):
                return await self._get(url, dict(headers or {}), bound, sink)
        raise AssertionError("unreachable")

    async def start_of(self, url: str, max_bytes: int) -> tuple[bytes, int]:
        """(the first bytes at an address, how many it has in all). Reads no more than `max_bytes`, whatever is sent:
        a source that ignores the range is cut off. Problem as for `get`."""
        async with self._translated(url):
            async with asyncio.timeout(self.limits.total_s):
                found = await self._get(url, {"Range": f"bytes=0-{max_bytes - 1}"}, max_bytes, None, start=True)
        total = found.headers.get("content-length", "")
        if found.status == 206:
            total = found.headers.get("content-range", "").rpartition("/")[2]
        size = int(total) if total.isascii() and total.isdigit() and len(total) < 16 else len(found.body)
        return found.body, max(size, len(found.body))

    async def put(self, url: str, body: bytes, content_type: str, *, headers: Mapping[str, str] | None = None) -> int:
        """Uploads to a (pre-signed) address and returns its status (2xx). A redirect is refused.

        Sent once, on a connection of its own, never repeated. Problem otherwise, with the fact `stored`: "no" where
        nothing can have been stored, "unknown" where the answer was lost or the server failed while it had the bytes.
        """
        async with self._translated(url, upload=True):
            async with asyncio.timeout(self.limits.total_s):
                async with self._request("PUT", url, {**(headers or {}), "Content-Type": content_type}, body) as answer:
                    if answer.status // 100 != 2:
                        stored = "unknown" if answer.status >= 500 else "no"
                        said = f"{shown(url)} answered {answer.status} to the upload"
                        raise Problem(424, "target_failed", said, stored=stored, **await _upstream(answer))
                    return answer.status
        raise AssertionError("unreachable")

    async def _get(
        self,
        url: str,
        headers: dict[str, str],
        bound: int,
        sink: Callable[[bytes], None] | None,
        *,
        start: bool = False,
    ) -> Fetched:
        passed: list[str] = []
        while True:
            async with self._request("GET", url, headers, None) as answer:
                if answer.status in _REDIRECTS and "Location" in answer.headers:
                    if len(passed) == self.limits.redirects:
                        raise Problem(
                            424, "source_failed", f"{shown(url)}: more than {self.limits.redirects} redirects"
                        )
                    passed.append(url)
                    url = urljoin(url, answer.headers["Location"])
                    continue
                names = _joined(answer.headers.items())
                if answer.status == 304 and ("If-None-Match" in headers or "If-Modified-Since" in headers):
                    return Fetched(url, 304, names, b"", tuple(passed))
                if answer.status != 200 and not (start and answer.status == 206):
                    status, code = (404, "source_missing") if answer.status in (404, 410) else (424, "source_failed")
                    said = f"{shown(url)} answered {answer.status}"
                    raise Problem(status, code, said, **await _upstream(answer))
                if names.get("content-encoding", "identity").lower() != "identity":
                    raise Problem(424, "source_failed", f"{shown(url)} came compressed although it was asked not to")
                if start:
                    return Fetched(url, answer.status, names, await self._first(answer, bound), tuple(passed))
                return Fetched(url, 200, names, await self._body(answer, url, bound, sink), tuple(passed))

    @staticmethod
    async def _first(answer: aiohttp.ClientResponse, bound: int) -> bytes:
        parts, size = [], 0
        while size < bound and (chunk := await answer.content.read(bound - size)):
            parts.append(chunk)
            size += len(chunk)
        if not answer.content.at_eof():
            answer.close()  # the rest is not wanted: the connection goes with it
        return b"".join(parts)

    @staticmethod
    async def _body(
        answer: aiohttp.ClientResponse, url: str, bound: int, sink: Callable[[bytes], None] | None
    ) -> bytes:
        too_large = Problem(413, "source_too_large", f"{shown(url)} is larger than {bound} bytes", limit_bytes=bound)
        if answer.content_length is not None and answer.content_length > bound:
            raise too_large
        parts: list[bytes] = []
        take, size = sink or parts.append, 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > bound:
                raise too_large
            take(chunk)
        return b"".join(parts)

    @asynccontextmanager
    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        target = check_url(url, self.policy)
        limits = self.limits
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.idle_s)
        # The URL is rebuilt from the checked parts, so that no second parser can read it differently.
        from yarl import URL

        checked = URL(f"{target.scheme}://{target.authority}{target.target}", encoded=True)
        proxy = "http://egress.invalid" if self._egress else None
        async with self._open(method == "PUT").request(
            method, checked, headers=headers, data=body, allow_redirects=False, timeout=timeout, proxy=proxy
        ) as answer:
            if self._egress and answer.headers.get("CGN-Egress") == "refused":
                if answer.status == 403:
                    raise AddressRefused(f"{target.host}:{target.port} is not a public address")
                raise _LookupSlow if answer.status == 504 else _Unreachable
            yield answer

    @asynccontextmanager
    async def _translated(self, url: str, *, upload: bool = False) -> AsyncIterator[None]:
        """Exceptions of sockets and of aiohttp become problems; what they say of the network inside stays inside."""
        name = shown(url)
        kind = "target" if upload else "source"
        not_stored = {"stored": "no"} if upload else {}
        lost = {"stored": "unknown"} if upload else {}
        if upload:  # in no problem may a lost answer look like an upload that did not happen
            silent, broken = f"{name} did not answer the upload in time", f"{name} broke off the upload"
        else:
            silent, broken = f"{name} did not answer in time", f"{name} could not be reached or broke off"
        try:
            yield
        except AddressRefused as refusal:
            raise Problem(403, f"{kind}_refused", f"{name}: {refusal.reason}", **not_stored) from None
        except (aiohttp.ConnectionTimeoutError, _LookupSlow):
            raise Problem(424, f"{kind}_timeout", f"{name} did not answer in time", **not_stored) from None
        except TimeoutError:
            raise Problem(424, f"{kind}_timeout", silent, **lost) from None
        except aiohttp.ClientHttpProxyError as error:
            if error.status == 403:
                raise Problem(403, f"{kind}_refused", f"{name}: not a public address", **not_stored) from None
            if error.status == 504:
                raise Problem(424, f"{kind}_timeout", f"{name} did not answer in time", **not_stored) from None
            raise Problem(424, f"{kind}_failed", f"{name} could not be reached", **not_stored) from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError):
            detail = f"{name}: the TLS certificate or handshake was refused"
            raise Problem(424, f"{kind}_failed", detail, **not_stored) from None
        except (aiohttp.ClientConnectorError, _Unreachable):
            raise Problem(424, f"{kind}_failed", f"{name} could not be reached", **not_stored) from None
        except (aiohttp.ClientError, OSError, UnicodeError, ValueError):
            raise Problem(424, f"{kind}_failed", broken, **lost) from None


async def _upstream(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """What a store says of its refusal, as facts of the problem: the status and, if it gives one, its own code
    (Azure in a header, S3 in the first lines of an XML text)."""
    code = answer.headers.get("x-ms-error-code", "")
    if not code:
        text = b""
        with suppress(TimeoutError, aiohttp.ClientError, OSError):  # the status is known; the rest is courtesy
            async with asyncio.timeout(ERROR_READ_S):
                text = await answer.content.read(ERROR_READ_MAX_BYTES)
        found = re.search(rb"<Code>([A-Za-z0-9]{1,64})</Code>", text)
        code = found[1].decode() if found is not None else ""
    facts: dict[str, Any] = {"upstream_status": answer.status}
    return {**facts, "upstream_code": code} if re.fullmatch("[A-Za-z0-9]{1,64}", code) else facts


def _joined(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields by lower-case name; one that comes twice is one list (RFC 9110, 5.3)."""
    names: dict[str, str] = {}
    for name, value in fields:
        key = name.lower()
        names[key] = f"{names[key]}, {value}" if key in names else value
    return names


def shown(url: str) -> str:
    """A URL fit for a problem document: without query (signatures live there), user name and control characters."""
    text = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = text.partition("://")
    rest = rest.rpartition("@")[2] if "/" not in rest.partition("@")[0] else rest
    clean = "".join(character if character.isprintable() else "?" for character in f"{scheme}{separator}{rest}")
    return clean if len(clean) <= 200 else clean[:197] + "..."
