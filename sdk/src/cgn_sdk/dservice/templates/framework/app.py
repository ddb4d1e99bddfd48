"""A DService on the SDK's framework: one async function from request to response."""

from urllib.parse import parse_qs

from cgn_sdk.dservice.framework import Request, Response, run


async def handle(request: Request) -> Response:
    """`GET /…?name=Ada` greets; `POST` counts the words of its body."""
    if request.method == "POST":
        words = len((await request.read()).split())
        return Response(body=f"{words} words\n".encode(), metadata={"words": str(words)})
    name = parse_qs(request.query).get("name", ["world"])[0]
    return Response(headers={"Content-Type": "text/plain; charset=utf-8"}, body=f"Hello, {name}!\n".encode())


if __name__ == "__main__":
    raise SystemExit(run(handle))
