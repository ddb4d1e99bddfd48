"""A DService as an ASGI application: this one, or FastAPI, Starlette, Django, Quart. Nothing here knows of the network.

`cgn_sdk.dservice.asgi` serves it; uvicorn or hypercorn do as well: `command` in dservice.toml says which.
"""

from typing import Any
from urllib.parse import parse_qs


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`GET /…?name=Ada` greets; `POST` counts the words of its body."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message.get("more_body"):
            break
    name = parse_qs(scope["query_string"].decode()).get("name", ["world"])[0]
    answer = f"{len(body.split())} words\n" if scope["method"] == "POST" else f"Hello, {name}!\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.encode()})
