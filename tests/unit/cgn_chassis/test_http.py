"""Problem documents of aiohttp servers."""

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from cgn_chassis.http import problems


class Refused(Exception):
    pass


async def test_every_refusal_is_a_problem_document() -> None:
    async def refuse(_: web.Request) -> web.Response:
        raise Refused

    async def break_down(_: web.Request) -> web.Response:
        raise RuntimeError("the inside: s3cret")

    async def take(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    def translate(error: Exception) -> tuple[int, dict[str, str], dict[str, str]] | None:
        return (429, {"title": "slow down"}, {"Retry-After": "1"}) if isinstance(error, Refused) else None

    app = web.Application(middlewares=[problems(translate)], client_max_size=10)
    app.add_routes([web.get("/refuse", refuse), web.get("/break", break_down), web.post("/take", take)])
    async with TestClient(TestServer(app)) as client:
        for method, path, status, title in [
            ("GET", "/refuse", 429, "slow down"),
            ("GET", "/break", 500, "internal_error"),
            ("GET", "/nowhere", 404, "not_found"),
            ("DELETE", "/take", 405, "method_not_allowed"),
            ("POST", "/take", 413, "request_entity_too_large"),
        ]:
            answer = await client.request(method, path, data=b"x" * 100 if method == "POST" else None)
            document = await answer.json(content_type="application/problem+json")
            assert (answer.status, document["status"], document["title"]) == (status, status, title)
            assert "s3cret" not in await answer.text()
        assert (await client.get("/refuse")).headers["Retry-After"] == "1"
        assert (await client.delete("/take")).headers["Allow"] == "POST"
