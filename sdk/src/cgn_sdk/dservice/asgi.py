"""Serves an ASGI 3 application as a DService (S-2): any framework that speaks ASGI, without a server of its own.

    python -m cgn_sdk.dservice.asgi app:application

The framework of this package reads and writes HTTP; here a request becomes a scope with its messages, and what the
application sends becomes the response, streamed as it comes. `lifespan` runs around it all where the application has
one. WebSockets are not served: a request of the network is one HTTP request.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from cgn_sdk.dservice.framework import Handler, Request, Response, run

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_HOP = frozenset([b"connection", b"transfer-encoding", b"keep-alive", b"content-length"])
"""The framework writes these itself."""


def scope_of(request: Request) -> Message:
    """The application's view of a request; path and query as they arrived."""
    from urllib.parse import unquote

    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": unquote(request.path),
        "raw_path": request.path.encode("latin-1", "replace"),
        "query_string": request.query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in request.headers.items()
        ],
        "client": None,
        "server": ("localhost", None),
    }


def handler_of(application: Application) -> Handler:
    """The handler that `framework.run` serves."""

    async def handle(request: Request) -> Response:
        body: bytes | None = await request.read()
        sent: asyncio.Queue[Message] = asyncio.Queue(4)
        gone = asyncio.Event()

        async def receive() -> Message:
            nonlocal body
            if body is not None:
                whole, body = body, None
                return {"type": "http.request", "body": whole, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        task = asyncio.ensure_future(application(scope_of(request), receive, sent.put))
        start = await _next(task, sent)
        if start is None or start["type"] != "http.response.start":
            raise RuntimeError("the application ended without http.response.start")

        async def parts() -> AsyncIterator[bytes]:
            try:
                while (message := await _next(task, sent)) is not None:
                    if message.get("body"):
                        yield bytes(message["body"])
                    if not message.get("more_body"):
                        break
                gone.set()
                await task
            finally:
                task.cancel()

        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in start.get("headers", ())
            if name.lower() not in _HOP
        }
        return Response(start["status"], headers, parts())

    return handle


async def _next(task: asyncio.Future[None], sent: asyncio.Queue[Message]) -> Message | None:
    """What it sends next; None when it has ended. Raises what it raised."""
    getting = asyncio.ensure_future(sent.get())
    ends: list[asyncio.Future[Any]] = [task, getting]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if getting.done():
        return getting.result()
    getting.cancel()
    if not sent.empty():
        return sent.get_nowait()
    task.result()
    return None


class Lifespan:
    """Start-up and shutdown of an application; one that does not know them is served without."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._asks: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Raises RuntimeError with the application's reason when it says that it cannot start."""
        scope: Message = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._task = asyncio.ensure_future(self._application(scope, self._asks.get, self._answers.put))
        await self._ask("startup")

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            await self._ask("shutdown")
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self, what: str) -> None:
        assert self._task is not None
        await self._asks.put({"type": f"lifespan.{what}"})
        answer = asyncio.ensure_future(self._answers.get())
        ends: list[asyncio.Future[Any]] = [self._task, answer]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():  # it knows no lifespan, which the specification says with an exception
            answer.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        elif answer.result()["type"] == f"lifespan.{what}.failed":
            raise RuntimeError(f"the application's {what} failed: {answer.result().get('message', '')}")


def load(name: str) -> Application:
    """The application of `module:variable`. Raises ValueError."""
    module_name, colon, variable = name.partition(":")
    if not colon or not variable:
        raise ValueError(f"{name!r} does not name an application: write module:variable, such as app:application")
    sys.path.insert(0, os.getcwd())
    module = importlib.import_module(module_name)
    try:
        application: Application = getattr(module, variable)
    except AttributeError:
        raise ValueError(f"{module_name} has no {variable}") from None
    return application


def main(words: list[str] | None = None) -> int:
    given = sys.argv[1:] if words is None else words
    if len(given) != 1:
        print("usage: python -m cgn_sdk.dservice.asgi MODULE:VARIABLE", file=sys.stderr)
        return 2
    try:
        application = load(given[0])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    lifespan = Lifespan(application)
    return run(handler_of(application), on_start=lifespan.start, on_stop=lifespan.stop)


if __name__ == "__main__":
    sys.exit(main())
