"""Problem documents (RFC 9457) for aiohttp servers: one JSON body for every refusal, whatever went wrong.

What a problem means is the caller's business: `problems(translate)` takes a function from exception to
`(status, document, headers)`; what it does not know becomes a 500 that says nothing about the inside.
"""

import json
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
