"""Problem documents (RFC 9457) for aiohttp servers: one JSON body for every refusal, whatever went wrong.

What a problem means is the caller's business: `problems(translate)` takes a function from exception to
`(status, document, headers)`; what it does not know becomes a 500 that says nothing about the inside.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from cgn_chassis import logs

CONTENT_TYPE = "application/problem+json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Translation = tuple[int, Mapping[str, Any], Mapping[str, str]]

_log = logs.get("http")


def problem_response(
    status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response that carries the problem document; `status` is added to it if missing."""
    body = json.dumps({"status": status, **document}, ensure_ascii=False).encode()
    return web.Response(
        status=status, body=body, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store", **(headers or {})}
    )


def problems(translate: Callable[[Exception], Translation | None]) -> Any:
    """Middleware: each exception of a handler, and aiohttp's own 404, 405, 413, leaves as a problem document."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            if refusal.status < 400:
                raise
            kept = {name: value for name, value in refusal.headers.items() if name.lower() in ("allow", "retry-after")}
            title = refusal.reason.lower().replace(" ", "_")
            return problem_response(refusal.status, {"type": "about:blank", "title": title}, kept)
        except Exception as error:
            if (translated := translate(error)) is not None:
                return problem_response(*translated)
            _log.exception("http.failed", method=request.method, path=request.path)
            return problem_response(500, {"type": "about:blank", "title": "internal_error"})

    return middleware


class Listener:
    """A listening aiohttp application that cuts slow clients off.

    aiohttp itself waits for ever for a request's head. Here a connection on which nothing is being answered for
    `idle_s` seconds is closed: one that never ends its head, one that dribbles, one that idles. Reading a body counts
    as being answered, so handlers that read one do it within a time of their own.
    """

    def __init__(self, runner: web.AppRunner, idle_s: float, connections_max: int) -> None:
        self._runner = runner
        self._idle_s = idle_s
        self._connections_max = connections_max
        self._answering: dict[asyncio.BaseProtocol, int] = {}
        self._quiet_since: dict[asyncio.BaseProtocol, float] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self.port = 0

    @classmethod
    async def open(
        cls,
        app: web.Application,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        idle_s: float = 15.0,
        connections_max: int = 500,
    ) -> "Listener":
        """Serves `app` on `host` and `port` (0: any free one; see `port`)."""
        runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=idle_s)
        self = cls(runner, idle_s, connections_max)
        app.middlewares.insert(0, self._counting())
        await runner.setup()
        loop = asyncio.get_running_loop()
        handshake_s = idle_s if tls is not None else None
        self._server = await loop.create_server(self._accept, host, port, ssl=tls, ssl_handshake_timeout=handshake_s)
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweeper = asyncio.ensure_future(self._sweep())
        return self

    async def close(self) -> None:
        """Takes no more connections, lets what is being answered end, and closes the rest."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    @property
    def connection_count(self) -> int:
        return len(self._web_server().connections)

    def _web_server(self) -> web.Server:
        server = self._runner.server
        assert server is not None
        return server

    def _accept(self) -> asyncio.BaseProtocol:
        if self.connection_count >= self._connections_max:
            return _Refuser()
        protocol = self._web_server()()
        self._quiet_since[protocol] = asyncio.get_running_loop().time()
        return protocol

    def _counting(self) -> Any:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            protocol: asyncio.BaseProtocol = request.protocol
            self._answering[protocol] = self._answering.get(protocol, 0) + 1
            try:
                return await handler(request)
            finally:
                self._answering[protocol] -= 1
                if not self._answering[protocol]:
                    del self._answering[protocol]
                self._quiet_since[protocol] = asyncio.get_running_loop().time()

        return middleware

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._idle_s / 4)
            try:
                self._close_idle(loop.time() - self._idle_s)
            except Exception:  # the next round looks at all of them again
                _log.exception("http.sweep_failed")

    def _close_idle(self, latest: float) -> None:
        connections = list(self._web_server().connections)
        for gone in self._quiet_since.keys() - set(connections):
            if self._quiet_since[gone] < latest:  # a younger one may still be in its TLS handshake
                del self._quiet_since[gone]
        for protocol in connections:
            if protocol not in self._answering and self._quiet_since.get(protocol, 0.0) < latest:
                protocol.force_close()


class _Refuser(asyncio.Protocol):
    """Closes at once: there are too many connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
