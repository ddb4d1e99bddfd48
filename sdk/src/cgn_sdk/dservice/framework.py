"""The DService framework (S-2): an async handler becomes the HTTP/1.1 server that a miner's runtime talks to.

    async def handle(request: Request) -> Response:
        return Response(body=b"hello", metadata={"words": "1"})

    if __name__ == "__main__":
        raise SystemExit(run(handle))

Listens on the UNIX socket `CGN_SOCKET`, or on port `CGN_PORT` of loopback for local trials. `GET /_cgn/health` answers
200 once `on_start` is through. SIGTERM and SIGINT stop it gracefully: no new connection, what runs may finish within
`stop_grace_s`. Problems leave as problem documents; anything else a handler raises becomes a 500 that says nothing of
the inside. `metadata` leaves as `CGN-Meta-<name>` headers, which become the row's service part.

A DService may also say what a request will cost and check what somebody else made (`estimates`, `verdicts`):
`run(handle, estimator=…, verifier=…)` serves them at `POST /_cgn/estimate` and `POST /_cgn/verify`; without them
both paths answer 404.

The framework is a convenience: a DService may be any HTTP server that keeps the contract in
docs/reference/interfaces.md.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import stat
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from cgn_sdk.dservice import estimates, verdicts
from cgn_sdk.dservice.estimates import Estimator
from cgn_sdk.dservice.problems import CONTENT_TYPE, Problem
from cgn_sdk.dservice.verdicts import Verifier
from cgn_sdk.protocol.http_fields import HOP_BY_HOP

HEALTH_PATH = "/_cgn/health"
HEADER_MAX_BYTES = 16 * 1024
"""All headers of a request together: the node forwards at most this much."""
BODY_MAX_BYTES = 256 << 20
"""Default bound of a request body; a DService names a smaller one if it can."""
STOP_GRACE_S = 20.0
"""What runs when SIGTERM comes may finish within this time; the runtime waits a little longer before SIGKILL."""
METADATA_MAX_CHARS = 1024
"""Of one metadata value: rows are kept for years, so they hold facts and not data."""
_METADATA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")

_log = logging.getLogger("cgn.dservice")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the DApp sent it. `target` is the raw request target; header names are lower-case."""

    method: str
    target: str
    headers: Mapping[str, str]
    request_id: str
    deadline_ms: int | None
    _read: Callable[[int], Awaitable[bytes]]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    async def read(self, max_bytes: int = BODY_MAX_BYTES) -> bytes:
        """The whole body; Problem 413 if it is longer than the bound."""
        return await self._read(max_bytes)


@dataclass(frozen=True, slots=True)
class Response:
    """What the handler answers. `body` is bytes or an async iterable of bytes that is streamed as it comes."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview | AsyncIterable[bytes] = b""
    metadata: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


def _metadata_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    headers = {}
    for name, value in metadata.items():
        if not _METADATA_NAME.fullmatch(name):
            raise ValueError(f"metadata name {name!r}: letters, digits and hyphens only")
        clean = re.sub(r"[^\x20-\x7e]", "?", value)
        headers[f"CGN-Meta-{name}"] = clean[:METADATA_MAX_CHARS]
    return headers


def _check(response: Response) -> None:
    """Raises TypeError or ValueError, for the log, where an answer would break a rule of HTTP on its way: the caller is
    answered 500 at once instead of waiting for bytes that do not come."""
    if not isinstance(response.body, (bytes, memoryview, AsyncIterable)):
        raise TypeError(
            f"body is {type(response.body).__name__}: give bytes (text.encode()) or an async iterable of bytes"
        )
    if not 200 <= response.status <= 599:
        raise ValueError(f"status {response.status}: a handler answers with 200 to 599")
    size = None if isinstance(response.body, AsyncIterable) else len(response.body)
    if response.status == 205 and size != 0:
        raise ValueError("an answer with status 205 has no content")
    for name, value in response.headers.items():
        lower = name.lower()
        if set("\r\n\0") & set(name + value):
            raise ValueError(f"the header {name!r} holds a line end or NUL")
        if lower in HOP_BY_HOP:
            raise ValueError(f"the header {name} speaks about one connection, which is the framework's own")
        if lower == "content-length" and size is not None and value != str(size):
            raise ValueError(f"Content-Length {value} for a body of {size} bytes; leave it out")


def _problem_response(problem: Problem) -> web.Response:
    headers = {"Cache-Control": "no-store", **_metadata_headers({"Problem": problem.code})}
    return web.Response(status=problem.status, body=problem.body(), content_type=CONTENT_TYPE, headers=headers)


def _request_of(raw: web.BaseRequest) -> Request:
    async def read(max_bytes: int) -> bytes:
        if raw.content_length is not None and raw.content_length > max_bytes:
            raise Problem(413, "body_too_large", f"the request body may have at most {max_bytes} bytes")
        parts, size = [], 0
        async for chunk in raw.content.iter_chunked(64 * 1024):
            size += len(chunk)
            if size > max_bytes:
                raise Problem(413, "body_too_large", f"the request body may have at most {max_bytes} bytes")
            parts.append(chunk)
        return b"".join(parts)

    deadline = raw.headers.get("CGN-Deadline-Ms", "")
    return Request(
        method=raw.method,
        target=raw.raw_path,
        headers={name.lower(): value for name, value in raw.headers.items()},
        request_id=raw.headers.get("CGN-Request-Id", ""),
        deadline_ms=int(deadline) if deadline.isascii() and deadline.isdigit() and len(deadline) < 16 else None,
        _read=read,
    )


def _remove_stale(socket_path: str) -> None:
    """A socket file left by a run that was killed; any other kind of file stays and makes the start fail."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(socket_path).st_mode):
            Path(socket_path).unlink()


class Server:
    """The HTTP server around one handler; `start`, then `stop`. Tests and `run` use it."""

    def __init__(
        self,
        handler: Handler,
        *,
        on_start: Callable[[], Awaitable[None]] | None = None,
        on_stop: Callable[[], Awaitable[None]] | None = None,
        stop_grace_s: float = STOP_GRACE_S,
        estimator: Estimator | None = None,
        verifier: Verifier | None = None,
    ) -> None:
        self._handler, self._on_start, self._on_stop = handler, on_start, on_stop
        self._estimator, self._verifier = estimator, verifier
        self._stop_grace_s = stop_grace_s
        self._ready = False
        self._runner: web.ServerRunner | None = None

    async def start(self, *, socket_path: str | None = None, port: int | None = None) -> None:
        """Listens, then runs `on_start`; the health endpoint says 503 until that is done."""
        bounds: dict[str, Any] = {"max_field_size": HEADER_MAX_BYTES, "max_line_size": HEADER_MAX_BYTES}
        server = web.Server(self._answer, access_log=None, **bounds)
        self._runner = web.ServerRunner(server, shutdown_timeout=self._stop_grace_s)
        await self._runner.setup()
        site: web.BaseSite
        if socket_path is not None:
            _remove_stale(socket_path)
            site = web.UnixSite(self._runner, socket_path)
        else:
            site = web.TCPSite(self._runner, "127.0.0.1", port or 0)
        await site.start()
        if socket_path is not None:
            # Who runs it may be another user (a miner that is not root, beside a container); the folder is private.
            os.chmod(socket_path, 0o777)  # noqa: S103 - see above
        if self._on_start is not None:
            await self._on_start()
        self._ready = True

    @property
    def port(self) -> int:
        """The TCP port in use (0 was asked for: the one the system gave)."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """No new connection; what runs may finish within the grace time; then `on_stop`."""
        self._ready = False
        if self._runner is not None:
            await self._runner.cleanup()
        if self._on_stop is not None:
            await self._on_stop()

    async def _answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        if raw.path == HEALTH_PATH:
            return web.Response(status=200 if self._ready else 503, text="ready" if self._ready else "starting")
        try:
            if raw.method == "CONNECT":  # its answer would have no end (RFC 9110 section 9.3.6)
                raise Problem(405, "method_not_allowed", "this service is no proxy")
            if raw.path in (estimates.PATH, verdicts.PATH):
                return await self._consult(raw)
            return await self._send(raw, await self._handler(_request_of(raw)))
        except Problem as problem:
            return _problem_response(problem)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            _log.exception("the handler failed: %s %s", raw.method, raw.path)
            return _problem_response(Problem(500, "internal_error", "the service failed; the request may be repeated"))

    async def _consult(self, raw: web.BaseRequest) -> web.Response:
        """The miner's runtime asks about a request instead of making it."""
        request = _request_of(raw)
        estimating = raw.path == estimates.PATH
        if (self._estimator if estimating else self._verifier) is None:
            raise Problem(404, "not_found", f"this service has nothing at {raw.path}")
        if request.method != "POST":
            raise Problem(405, "method_not_allowed", f"use POST {raw.path}")
        document: dict[str, Any]
        if estimating:
            assert self._estimator is not None
            work = estimates.work_of(estimates.object_of(await request.read(estimates.ASK_MAX_BYTES)))
            document = (await self._estimator(work)).document()
        else:
            assert self._verifier is not None
            bound = verdicts.CLAIM_LINE_MAX_BYTES + verdicts.RESULT_MAX_BYTES
            document = (await self._verifier(verdicts.claim_of(await request.read(bound)))).document()
        return web.Response(body=json.dumps(document).encode(), content_type="application/json")

    async def _send(self, raw: web.BaseRequest, response: Response) -> web.StreamResponse:
        _check(response)
        headers = {**response.headers, **_metadata_headers(response.metadata)}
        if isinstance(response.body, (bytes, memoryview)):
            return web.Response(status=response.status, body=bytes(response.body), headers=headers)
        stream = web.StreamResponse(status=response.status, headers=headers)
        await stream.prepare(raw)
        async for chunk in response.body:
            await stream.write(chunk)
        await stream.write_eof()
        return stream


def run(
    handler: Handler,
    *,
    on_start: Callable[[], Awaitable[None]] | None = None,
    on_stop: Callable[[], Awaitable[None]] | None = None,
    stop_grace_s: float = STOP_GRACE_S,
    environment: Mapping[str, str] | None = None,
    estimator: Estimator | None = None,
    verifier: Verifier | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code. Uses uvloop where it is installed."""
    values = os.environ if environment is None else environment
    socket_path, port = values.get("CGN_SOCKET"), values.get("CGN_PORT")
    if not socket_path and not (port and port.isdigit() and int(port) < 65536):
        print("set CGN_SOCKET to a socket path, or CGN_PORT to a port for a local trial")
        return 2

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        server = Server(
            handler,
            on_start=on_start,
            on_stop=on_stop,
            stop_grace_s=stop_grace_s,
            estimator=estimator,
            verifier=verifier,
        )
        await server.start(socket_path=socket_path, port=None if socket_path else int(port or 0))
        await stopping.wait()
        await server.stop()

    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
    return 0
