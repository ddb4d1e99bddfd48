"""The asynchronous DApp client (S-1)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from io import TextIOBase
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import IO, Any, Literal, Self

import aiohttp
from yarl import URL

from cgn_sdk.client.errors import CgnProblem, ClientClosed, DServiceError, translated
from cgn_sdk.protocol.errors import Problem

DOCUMENT_MAX_BYTES = 4 << 20
"""A problem, session or receipt longer than this is not read."""
ERROR_BODY_MAX_BYTES = 64 * 1024
"""Of a DService's error answer, what `DServiceError` keeps."""
RENEW_BEFORE_S = 30.0
"""A session is opened anew this long before it ends, so that no request meets the end."""
CONNECT_TIMEOUT_S = 10.0
CONNECTIONS_MAX = 100
PROOF_EVERY_S = 1.0

Body = bytes | bytearray | memoryview | IO[bytes] | AsyncIterable[bytes] | None


class WorkResult:
    """The answer to a work request. Its head is here; read the body once, by `read()` or `chunks()`."""

    def __init__(self, response: aiohttp.ClientResponse, time_limit_s: float) -> None:
        self._response = response
        self._time_limit_s = time_limit_s
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        self.request_id: str = response.headers.get("CGN-Request-Id", "")
        self.fee_nano_eur: int | None = _amount(response.headers.get("CGN-Fee-Nano-Eur"))
        """What it cost in 1e-9 EUR; None for an answer that streams: its receipt says it."""
        self.fee_nano_cpu: int | None = _amount(response.headers.get("CGN-Fee-Nano-Cpu"))
        self.timings: dict[str, float] = _timings(response.headers.get("Server-Timing", ""))
        """Where time went, in milliseconds: queue, match, network, work (N-25)."""

    @property
    def ok(self) -> bool:
        """Whether the DService answered with a status below 400."""
        return self.status < 400

    async def raise_for_status(self) -> Self:
        """Raises DServiceError when the DService answered with an error; returns the result otherwise."""
        if self.ok:
            return self
        with translated(self._time_limit_s):
            body = await _bounded(self._response, ERROR_BODY_MAX_BYTES)
        document: Any = None
        if self._response.content_type.endswith("json"):
            try:
                document = json.loads(body)
            except (ValueError, RecursionError):
                document = None
        raise DServiceError(self.status, document if isinstance(document, dict) else None, body, self.request_id)

    async def read(self) -> bytes:
        """The whole body. Raises AnswerCutShort when it ends early."""
        with translated(self._time_limit_s):
            return await self._response.read()

    async def chunks(self, max_bytes: int = 64 * 1024) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises AnswerCutShort when it ends early: what came until then is not a result."""
        with translated(self._time_limit_s):
            async for chunk in self._response.content.iter_chunked(max_bytes):
                yield chunk

    async def save(self, path: str | Path) -> int:
        """Writes the body to a file and returns its length in bytes. The file is there whole or not at all. Raises
        DServiceError when the answer is an error, so that no error is ever saved as a picture."""
        await self.raise_for_status()
        target = Path(path)
        with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            try:
                async for chunk in self.chunks():
                    file.write(chunk)
                size = file.tell()
                file.close()
                os.replace(file.name, target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                self.close()
                raise
        return size

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drops an answer whose body is not wanted; the work is cancelled if it still runs (N-17)."""
        self._response.close()


class AsyncClient:
    """A DApp's client of one node. Opens its session when first needed and renews it."""

    def __init__(
        self,
        node: str,
        *,
        account_id: str,
        api_key: str,
        end_user: str = "",
        ca_file: str | Path | None = None,
        time_limit_s: float = 300,
    ) -> None:
        """`node` is the work endpoint (`https://host[:port]`); `ca_file` trusts a private authority; `time_limit_s` is
        how long one request may take in all. Raises ValueError for another kind of address, FileNotFoundError naming
        an authority that is not there."""
        self._node = URL(node)
        if self._node.scheme != "https":
            raise ValueError(f"a node is reached by https, not {node!r}")
        self._credentials = {"account_id": account_id, "api_key": api_key}
        if end_user:
            self._credentials["end_user"] = end_user
        if ca_file and not Path(ca_file).is_file():
            raise FileNotFoundError(f"ca_file: there is no file {ca_file}")
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._closed = False
        self._time_limit_s = time_limit_s
        self._http: aiohttp.ClientSession | None = None
        self._session_key = ""
        self._session_ends = 0.0
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections; requests in flight are cancelled."""
        self._closed = True
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def request(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        *,
        tiers: Sequence[str] | str = (),
        deadline_ms: int | None = None,
        max_fee_nano_eur: int | None = None,
        match: Literal["", "immediate", "fastest"] = "",
        request_id: str = "",
        meta: Mapping[str, str] | None = None,
    ) -> WorkResult:
        """Sends a work request and returns when the answer's head is there.

        `path` is a path and query under a DService's route, sent as it is. `tiers` are acceptable tiers, best first;
        `deadline_ms` is what the work may take; `match` is `immediate` or `fastest`; `request_id` (32 hexadecimal
        digits) lets a repeat be recognised; `meta` become fields of the row.

        Raises CgnProblem when the network refuses, NodeUnreachable and NoAnswerInTime when there is no answer (see
        `cgn_sdk.client.errors`), TypeError for a body of another type. An answer of the DService itself is a result
        whatever its status, since only the program knows which ones it expects: `save` and `raise_for_status` raise
        DServiceError for 400 and above.
        """
        _check_body(body)
        options = {
            "CGN-Tier": tiers if isinstance(tiers, str) else ",".join(tiers),
            "CGN-Deadline-Ms": _text(deadline_ms),
            "CGN-Max-Fee-Nano-Eur": _text(max_fee_nano_eur),
            "CGN-Match": match,
            "CGN-Request-Id": request_id,
            **{f"CGN-Meta-{name}": value for name, value in (meta or {}).items()},
        }
        sent = {**(headers or {}), **{name: value for name, value in options.items() if value}}
        response = await self._send_in_session(method, path, body, sent)
        if _is_networks_own(response):
            raise await _problem(response)
        return WorkResult(response, self._time_limit_s)

    async def receipt(self, request_id: str) -> dict[str, Any]:
        """The signed receipt of a finished request; `inclusion` is None until its batch is settled."""
        return await self._document(f"/receipts/{request_id}")

    async def status(self, request_id: str) -> dict[str, Any]:
        """State and cost of a request."""
        return await self._document(f"/requests/{request_id}")

    async def wait_for_proof(self, request_id: str, *, time_limit_s: float = 60) -> dict[str, Any]:
        """The receipt with its proof of inclusion, once the batch is settled. Raises TimeoutError."""
        async with asyncio.timeout(time_limit_s):
            while True:
                receipt = await self.receipt(request_id)
                if receipt.get("inclusion"):
                    return receipt
                await asyncio.sleep(PROOF_EVERY_S)

    async def _send_in_session(
        self, method: str, path: str, body: Body, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Sends with a session; when the node does not know it any more (it was restarted, or the session revoked),
        once again with a new one. A 401 of the DService is not the node's: that work is not done twice."""
        for attempt in (1, 2):
            key = await self._session()
            response = await self._send(method, path, body, {**headers, "Authorization": f"Bearer {key}"})
            if response.status != 401 or not _is_networks_own(response):
                break
            if key == self._session_key:  # else another request has opened a new one already
                self._session_ends = 0.0
            if attempt == 2 or not _is_repeatable(body):
                break
            response.close()
        return response

    async def _session(self) -> str:
        async with self._opening:
            if time.monotonic() < self._session_ends:
                return self._session_key
            response = await self._send("POST", "/session", json.dumps(self._credentials).encode(), {})
            if response.status != 201:
                raise await _problem(response)
            facts = json.loads(await _bounded(response))
            self._session_key = str(facts["session_key"])
            self._session_ends = time.monotonic() + max(1.0, float(facts["expires_in_s"]) - RENEW_BEFORE_S)
            return self._session_key

    async def _document(self, path: str) -> dict[str, Any]:
        response = await self._send_in_session("GET", path, None, {})
        if response.status != 200:
            raise await _problem(response)
        document: dict[str, Any] = json.loads(await _bounded(response))
        return document

    async def _send(self, method: str, path: str, body: Body, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        if self._closed:
            raise ClientClosed("the client is closed; make a new one")
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=CONNECTIONS_MAX),
                timeout=aiohttp.ClientTimeout(total=self._time_limit_s, sock_connect=CONNECT_TIMEOUT_S),
                auto_decompress=False,  # bodies are the DService's, passed on as they are
            )
        if not path.startswith("/"):
            raise ValueError(f"a path begins with /, not {path[:40]!r}")
        url = URL(f"{self._node.origin()}{path}", encoded=True)
        sent = _Sent(body) if isinstance(body, AsyncIterable) else None
        with translated(self._time_limit_s):
            response = await self._http.request(
                method, url, data=body if sent is None else sent.parts(), headers=headers, allow_redirects=False
            )
        if sent is not None:
            sent.follow(response)
        return response


class _Sent:
    """A body that is being sent. When making it fails after the answer has begun, the answer fails with the same error:
    the node would wait for the rest, and the reader for the node."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._body = body
        self._error: Exception | None = None
        self._response: aiohttp.ClientResponse | None = None

    async def parts(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._body:
                yield part
        except Exception as error:
            self._error = error
            self._fail()
            raise

    def follow(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._fail()

    def _fail(self) -> None:
        if self._error is not None and self._response is not None:
            self._response.content.set_exception(self._error)
            self._response.close()


def _is_repeatable(body: Body) -> bool:
    return body is None or isinstance(body, (bytes, bytearray, memoryview))


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _amount(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _timings(header: str) -> dict[str, float]:
    """`queue;dur=0.1, work;dur=3.2` -> {"queue": 0.1, "work": 3.2} (Server Timing, W3C)."""
    return {name: float(value) for name, value in re.findall(r"([\w-]+);dur=([\d.]+)", header)}


def _is_networks_own(response: aiohttp.ClientResponse) -> bool:
    """A refusal by the network, not an answer of the DService: the node marks its own by leaving out the fee."""
    return (
        response.status >= 400
        and response.content_type == "application/problem+json"
        and "CGN-Fee-Nano-Eur" not in response.headers
    )


async def _bounded(response: aiohttp.ClientResponse, max_bytes: int = DOCUMENT_MAX_BYTES) -> bytes:
    data = await response.content.read(max_bytes + 1)
    while len(data) <= max_bytes and (more := await response.content.read(max_bytes)):
        data += more
    response.release()
    return data[:max_bytes]


async def _problem(response: aiohttp.ClientResponse) -> CgnProblem:
    """What the node says; where it sends no document (an answer to HEAD, a balancer's page) its status speaks."""
    text = await _bounded(response)
    request_id = response.headers.get("CGN-Request-Id", "")
    try:
        problem = Problem.from_json(text)
    except ValueError:
        said = f"the node answered {response.status}" + (f": {text[:200]!r}" if text else "")
        problem = Problem.from_dict({"status": response.status, "detail": said})
    return CgnProblem(problem, request_id, _amount(response.headers.get("Retry-After")))


def _check_body(body: object) -> None:
    """Before anything is sent: a body of another type would fail in the middle and look like a lost connection."""
    if body is None or isinstance(body, (bytes, bytearray, memoryview, AsyncIterable)):
        return
    if isinstance(body, TextIOBase):
        raise TypeError("body: a file opened in binary mode is wanted (open(path, 'rb'))")
    if not hasattr(body, "read"):
        hint = "; encode it first" if isinstance(body, str) else ""
        hint = "; for JSON send json.dumps(…).encode()" if isinstance(body, Mapping) else hint
        raise TypeError(
            f"body: bytes, a binary file or an asynchronous iterable of bytes, not {type(body).__name__}{hint}"
        )
