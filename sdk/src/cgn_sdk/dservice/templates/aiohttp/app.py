"""A DService as a plain aiohttp application. Nothing here knows of the network."""

import os

from aiohttp import web


async def handle(request: web.Request) -> web.Response:
    """`GET /…?name=Ada` greets; `POST` counts the words of its body."""
    if request.method == "POST":
        return web.Response(text=f"{len((await request.read()).split())} words\n")
    return web.Response(text=f"Hello, {request.query.get('name', 'world')}!\n")


application = web.Application()
application.router.add_route("*", "/{path:.*}", handle)

if __name__ == "__main__":
    web.run_app(application, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
