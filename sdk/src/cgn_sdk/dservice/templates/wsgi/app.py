"""A DService as a WSGI application: this one, or Flask, Django, Bottle. Nothing here knows of the network.

The standard library serves it, a thread a request; gunicorn or waitress do as well: `command` in dservice.toml says
which.
"""

import os
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`GET /…?name=Ada` greets; `POST` counts the words of its body."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    name = parse_qs(environ["QUERY_STRING"]).get("name", ["world"])[0]
    answer = f"{len(body.split())} words\n" if environ["REQUEST_METHOD"] == "POST" else f"Hello, {name}!\n"
    start_response(
        "200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(answer.encode())))]
    )
    return [answer.encode()]


class Server(ThreadingMixIn, WSGIServer):
    """A thread a request."""

    daemon_threads = True


class Handler(WSGIRequestHandler):
    """Without a line in the log for each request."""

    def log_message(self, format: str, *arguments: Any) -> None:
        return


if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ["PORT"]), application, Server, Handler) as server:
        server.serve_forever()
