"""Problem documents (RFC 9457) for aiohttp servers: one JSON body for every refusal, whatever went wrong.

What a problem means is the caller's business: `problems(translate)` takes a function from exception to
`(status, document, headers)`; what it does not know becomes a 500 that says nothing about the inside.
"""

import asyncio
import contextlib
import json
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from cgn_chassis import logs
from cgn_chassis.accepting import Acceptor

HANDSHAKE_S: Final = 7.0
"""From accept to the end of the TLS handshake, on a line of the last century too."""

GIVES_WAY_S: Final = 1.0
"""A handshake takes three round trips: whoever has not ended it within this makes room when all places are taken."""

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

    Connections count from accept, not from the end of their handshake, and when all places are taken the oldest
    handshake gives way: strangers who connect and say nothing take neither the places nor the descriptors of others.
    """

    def __init__(
        self, runner: web.AppRunner, name: str, tls: ssl.SSLContext | None, idle_s: float, connections_max: int
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._runner = runner
        self._tls = tls
        self._idle_s = idle_s
        self._connections_max = connections_max
        self._acceptor = Acceptor(name, self._admit, self.counters)
        self._openings: dict[asyncio.Task[None], float] = {}  # since when; the oldest first
        self._answering: dict[asyncio.BaseProtocol, int] = {}
        self._quiet_since: dict[asyncio.BaseProtocol, float] = {}
        self._sweeper: asyncio.Task[None] | None = None
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
        self = cls(runner, f"{host}:{port}", tls, idle_s, connections_max)
        app.middlewares.insert(0, self._counting())
        await runner.setup()
        self.port = await self._acceptor.start(host, port)
        self._sweeper = asyncio.ensure_future(self._sweep())
        return self

    async def close(self) -> None:
        """Takes no more connections, lets what is being answered end, and closes the rest."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._acceptor.close()
        openings = list(self._openings)
        for opening in openings:
            opening.cancel()
        await asyncio.gather(*openings, return_exceptions=True)
        await self._runner.cleanup()

    @property
    def connection_count(self) -> int:
        """From accept on."""
        return len(self._openings) + len(self._web_server().connections)

    def _web_server(self) -> web.Server:
        server = self._runner.server
        assert server is not None
        return server

    def _admit(self, accepted: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        if not self._has_room(loop.time()):
            self.counters["connections refused"] += 1
            accepted.close()
            return
        opening = loop.create_task(self._open(accepted), name=f"opening of {peer}")
        self._openings[opening] = loop.time()
        opening.add_done_callback(self._opened)

    def _has_room(self, now: float) -> bool:
        """When all places are taken, the handshake that has lasted longest makes room."""
        if self.connection_count < self._connections_max:
            return True
        oldest = next(iter(self._openings), None)
        if oldest is None or now - self._openings[oldest] < GIVES_WAY_S:
            return False
        self.counters["connections that gave way"] += 1
        del self._openings[oldest]
        oldest.cancel()
        return True

    async def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        loop = asyncio.get_running_loop()
        handshake_s = None if self._tls is None else min(self._idle_s, HANDSHAKE_S)
        try:
            await loop.connect_accepted_socket(
                self._protocol, accepted, ssl=self._tls, ssl_handshake_timeout=handshake_s
            )
        except (OSError, asyncio.CancelledError):  # gone, no TLS, too slow, or others need the place
            self.counters["handshakes failed"] += 1
            with contextlib.suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)
            accepted.close()

    def _opened(self, opening: asyncio.Task[None]) -> None:
        self._openings.pop(opening, None)
        if not opening.cancelled() and (error := opening.exception()) is not None:
            _log.error("http.opening_failed", problem=repr(error))

    def _protocol(self) -> asyncio.BaseProtocol:
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
