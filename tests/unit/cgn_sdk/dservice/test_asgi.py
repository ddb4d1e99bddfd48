"""ASGI applications as DServices (S-2)."""

import asyncio
from typing import Any

import pytest
from cgn_sdk.dservice import asgi
from cgn_sdk.dservice.framework import Request, Response


def request(method: str = "GET", target: str = "/a%20b?x=1", body: bytes = b"") -> Request:
    async def read(limit: int) -> bytes:
        return body

    return Request(method, target, {"host": "node", "x-one": "1"}, "id", None, read)


async def body_of(response: Response) -> bytes:
    return b"".join([part async for part in response.body])  # type: ignore[union-attr]


async def test_what_the_application_sees_and_sends() -> None:
    seen: dict[str, Any] = {}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        seen["body"] = (await receive())["body"]
        headers = [(b"x-two", b"2"), (b"Content-Length", b"4"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"cd"})

    answer = await asgi.handler_of(application)(request("POST", body=b"in"))
    assert (answer.status, dict(answer.headers)) == (201, {"x-two": "2"})
    assert await body_of(answer) == b"abcd"
    assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/a b", b"/a%20b", b"x=1")
    assert (seen["method"], seen["body"]) == ("POST", b"in")
    assert (b"x-one", b"1") in seen["headers"]


async def test_a_long_answer_streams() -> None:
    """The first part leaves before the last one is made."""
    go_on = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"last"})

    answer = await asgi.handler_of(application)(request())
    parts = aiter(answer.body)  # type: ignore[arg-type]
    assert await anext(parts) == b"first"
    go_on.set()
    assert await anext(parts) == b"last"
    with pytest.raises(StopAsyncIteration):
        await anext(parts)


async def test_an_application_that_fails_is_no_answer() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("inside")

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    with pytest.raises(KeyError):
        await asgi.handler_of(fails)(request())
    with pytest.raises(RuntimeError, match=r"without http\.response\.start"):
        await asgi.handler_of(silent)(request())


async def test_lifespan_runs_around_it() -> None:
    happened = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            happened.append(message["type"])
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    lifespan = asgi.Lifespan(application)
    await lifespan.start()
    await lifespan.stop()
    assert happened == ["lifespan.startup", "lifespan.shutdown"]


async def test_an_application_without_lifespan_is_served_all_the_same() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    lifespan = asgi.Lifespan(application)
    await lifespan.start()
    await lifespan.stop()


async def test_an_application_that_cannot_start_says_why() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no model"})

    with pytest.raises(RuntimeError, match="startup failed: no model"):
        await asgi.Lifespan(application).start()


@pytest.mark.parametrize(("name", "said"), [("app", "write module:variable"), ("json:nothing", "json has no nothing")])
def test_a_wrong_name_is_told(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        asgi.load(name)
