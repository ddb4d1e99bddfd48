"""A node's work endpoint as a DApp's client sees it: sessions, one echoing DService, receipts, and faults on demand."""

import asyncio
import ssl
from typing import Any

from aiohttp import web

PROBLEM = "application/problem+json"


class FakeWorkEndpoint:
    """Serves on real sockets with TLS. What happened is in the public lists."""

    def __init__(self) -> None:
        self.sessions: list[dict[str, Any]] = []
        self.valid: set[str] = set()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.peers: set[Any] = set()
        self.lifetime_s = 3600.0
        self.refuse_sessions: tuple[int, dict[str, Any]] | None = None
        self.settled_after = 0
        self.cancelled = asyncio.Event()
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self, tls: ssl.SSLContext) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/session", self._session)
        app.router.add_get("/receipts/{id}", self._receipt)
        app.router.add_route("*", "/{tail:.*}", self._work)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def _session(self, request: web.Request) -> web.Response:
        if self.refuse_sessions is not None:
            status, document = self.refuse_sessions
            return web.json_response(document, status=status, content_type=PROBLEM)
        await asyncio.sleep(0.01)
        self.sessions.append(await request.json())
        key = f"session-{len(self.sessions)}"
        self.valid.add(key)
        return web.json_response({"session_key": key, "expires_in_s": self.lifetime_s}, status=201)

    def _refusal(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if key in self.valid:
            return None
        document = {"status": 401, "code": "not_authenticated", "title": "no", "detail": "open a session"}
        return web.json_response(document, status=401, content_type=PROBLEM)

    async def _receipt(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        self.settled_after -= 1
        return web.json_response({"request_id": request.match_info["id"], "inclusion": self.settled_after < 0 or None})

    async def _work(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refusal(request):
            return refusal
        self.requests.append((request.method, request.raw_path, dict(request.headers)))
        self.peers.add(request.transport.get_extra_info("peername") if request.transport else None)
        facts = {
            "CGN-Request-Id": "ab" * 16,
            "CGN-Fee-Nano-Eur": "12345678901234567890",
            "CGN-Fee-Nano-Cpu": "7",
            "Server-Timing": "queue;dur=0.1, work;dur=3.25",
        }
        answer: web.StreamResponse = await getattr(self, "_" + request.path.strip("/").partition("/")[0])(
            request, facts
        )
        return answer

    async def _echo(self, request: web.Request, facts: dict[str, str]) -> web.Response:
        return web.Response(body=await request.read(), headers=facts)

    async def _stream(self, request: web.Request, facts: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"CGN-Request-Id": facts["CGN-Request-Id"]})
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _cut(self, request: web.Request, facts: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000000"})
        await response.prepare(request)
        await response.write(b"x" * 1000)
        assert request.transport is not None
        request.transport.abort()
        return response

    async def _endless(self, request: web.Request, facts: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                await asyncio.sleep(0.001)
                if request.transport is None or request.transport.is_closing():
                    raise ConnectionResetError
        except (ConnectionError, asyncio.CancelledError):
            self.cancelled.set()
            raise

    async def _refused(self, request: web.Request, facts: dict[str, str]) -> web.Response:
        document = {"status": 503, "code": "no_miner", "detail": "tier 3 has no miner", "constraint": "tier"}
        headers = {"CGN-Request-Id": facts["CGN-Request-Id"], "Retry-After": "7"}
        return web.json_response(document, status=503, content_type=PROBLEM, headers=headers)

    async def _gibberish(self, request: web.Request, facts: dict[str, str]) -> web.Response:
        return web.Response(body=b"\xff" * (8 << 20), status=502, content_type=PROBLEM)

    async def _dservice(self, request: web.Request, facts: dict[str, str]) -> web.Response:
        return web.json_response(
            {"status": 422, "code": "script_error"}, status=422, content_type=PROBLEM, headers=facts
        )

    async def _redirect(self, request: web.Request, facts: dict[str, str]) -> web.Response:
        return web.Response(status=302, headers=facts | {"Location": "https://elsewhere.example/"})

    async def _private(self, request: web.Request, facts: dict[str, str]) -> web.Response:
        return web.Response(status=401, body=b"who are you?", headers=facts)

    async def _failing(self, request: web.Request, facts: dict[str, str]) -> web.Response:
        document = {"type": "urn:cgn:dservice:script_missing", "title": "script_missing", "detail": "no such script"}
        return web.json_response(document, status=422, content_type=PROBLEM, headers=facts)
