"""The two ports that Central listens on, and no other (C-2).

6661: machine-to-machine, POST only, for services of the ecosystem that show an ecosystem key.
6443: the portals' back end, and what anybody may know: `GET /v1/trust`, the keys and newest heads of all nodes as a
trust file, and `GET /v1/trust/<public id>`, those of one node with the newest head of each day.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from cgn_sdk.protocol.errors import Problem, ProblemError
from cgn_sdk.protocol.ids import KINDS, is_public_id

from central_service import limits
from central_service.answers import Answers
from central_service.store import Facts
from cgn_chassis.http import Listener, Translation, problem_response, problems

_ANSWERS = web.AppKey("answers", Answers)
_TRUST: web.AppKey["_Trust"] = web.AppKey("trust")

PORTS = 2

HSTS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains", "X-Content-Type-Options": "nosniff"}


def connections_max(open_files: int) -> int | None:
    """Of each port, from what the process may open; None when that is too little."""
    each = min(limits.HTTP_CONNECTIONS_MAX, (open_files - limits.DESCRIPTORS_RESERVED) // PORTS)
    return each if each >= limits.HTTP_CONNECTIONS_LEAST else None


async def open_machine_port(
    answers: Answers, host: str, port: int, tls: ssl.SSLContext, most: int = limits.HTTP_CONNECTIONS_MAX
) -> Listener:
    """Port 6661."""
    app = web.Application(middlewares=[problems(_translate)], client_max_size=limits.BODY_BYTES_MAX)
    app[_ANSWERS] = answers
    app.router.add_post("/v1/accounts/lookup", look_up_accounts)
    return await _listen(app, host, port, tls, most)


async def open_portal_port(
    answers: Answers,
    host: str,
    port: int,
    tls: ssl.SSLContext,
    is_healthy: Callable[[], bool],
    most: int = limits.HTTP_CONNECTIONS_MAX,
) -> Listener:
    """Port 6443."""

    async def health(_: web.Request) -> web.Response:
        if not is_healthy():
            return problem_response(503, Problem("internal", "Central is not ready.").as_dict())
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def nothing(request: web.Request) -> web.Response:
        raise ProblemError(Problem("not_found", f"There is nothing at {request.path[:200]}."))

    app = web.Application(middlewares=[problems(_translate)], client_max_size=limits.BODY_BYTES_MAX)
    app[_ANSWERS], app[_TRUST] = answers, _Trust(answers)
    app.router.add_get("/health", health)
    app.router.add_get("/v1/trust", show_trust)
    app.router.add_get("/v1/trust/{public_id}", show_trust)
    app.router.add_route("*", "/{path:.*}", nothing)
    return await _listen(app, host, port, tls, most)


class _Trust:
    """The trust document of all nodes, made anew when it is older than TRUST_SHOWN_S."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._made = asyncio.Lock()
        self._document = b""
        self._made_s = -limits.TRUST_SHOWN_S

    async def document(self) -> bytes:
        async with self._made:
            if time.monotonic() - self._made_s >= limits.TRUST_SHOWN_S:
                trust = await self._answers.store.read(lambda facts: facts.trust())
                self._document, self._made_s = trust.encode(), time.monotonic()
        return self._document


async def show_trust(request: web.Request) -> web.Response:
    """A trust file (`cgn verify --trust`), of all nodes or of one."""
    public_id = request.match_info.get("public_id", "")
    if not public_id:
        document = await request.app[_TRUST].document()
    elif is_public_id(public_id):
        trust = await request.app[_ANSWERS].store.read(lambda facts: facts.trust(public_id))
        if not trust.nodes:
            raise ProblemError(Problem("not_found", f"No head of a node {public_id} is kept."))
        document = trust.encode()
    else:
        raise ProblemError(Problem("not_found", "A node's public id is p and 26 characters."))
    return web.Response(body=document, content_type="application/json", headers={"Cache-Control": "no-cache"})


async def look_up_accounts(request: web.Request) -> web.Response:
    """`{"public_ids": ["p…", …]}` -> `{"accounts": [{"public_id", "kind", "ethereum_address"}, …]}`; who does not exist
    is left out."""
    answers = request.app[_ANSWERS]
    await answers.ecosystem_service(_bearer(request), asker=f"peer {request.remote}")
    members = await _json_object(request)
    public_ids = members.get("public_ids")
    if (
        not isinstance(public_ids, list)
        or not 1 <= len(public_ids) <= limits.LOOKUP_MAX
        or not all(isinstance(each, str) and is_public_id(each) for each in public_ids)
    ):
        raise ProblemError(
            Problem(
                "bad_request",
                f"public_ids must be a list of 1 to {limits.LOOKUP_MAX} public ids (p and 26 characters).",
            )
        )

    def find(facts: Facts) -> list[dict[str, str]]:
        return [
            {"public_id": each.public_id, "kind": KINDS[each.kind], "ethereum_address": each.address}
            for each in facts.accounts_by_public_id(public_ids)
        ]

    return web.json_response({"accounts": await answers.store.read(find)}, headers={"Cache-Control": "no-store"})


async def _listen(app: web.Application, host: str, port: int, tls: ssl.SSLContext, most: int) -> Listener:
    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HSTS)
        response.headers.pop("Server", None)

    app.on_response_prepare.append(add_headers)
    return await Listener.open(app, host, port, tls=tls, idle_s=limits.HTTP_IDLE_S, connections_max=most)


def _bearer(request: web.Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise ProblemError(Problem("not_authenticated", "Send an ecosystem key: Authorization: Bearer cgn_…"))
    return key


async def _json_object(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise ProblemError(Problem("unsupported_media_type", "Send application/json."))
    if "Content-Encoding" in request.headers:
        raise ProblemError(Problem("unsupported_media_type", "Send the body without a Content-Encoding."))
    try:
        async with asyncio.timeout(limits.HTTP_IDLE_S):
            body = await request.read()
    except TimeoutError:
        raise ProblemError(Problem("slow_request", "The body came too slowly.")) from None
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        raise ProblemError(Problem("bad_json", "The body is not JSON.")) from None
    if not isinstance(members, dict):
        raise ProblemError(Problem("bad_json", "The body must be a JSON object."))
    return members


def _translate(error: Exception) -> Translation | None:
    if not isinstance(error, ProblemError):
        return None
    problem = error.problem
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    if "retry_after_s" in problem.extra:
        headers["Retry-After"] = str(problem.extra["retry_after_s"])
    return problem.status, problem.as_dict(), headers
