"""WebSocket servers behind a gate: the library does upgrade, framing, keepalive and closing; the gate accepts."""

from collections.abc import Awaitable, Callable
from typing import Any

from cgn_sdk.tunnel_connection import PacedServerConnection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from cgn_node import limits
from cgn_node.channel import Channel
from cgn_node.gate import Gate


async def start(
    gate: Gate,
    host: str,
    port: int,
    handler: Callable[[ServerConnection], Awaitable[None]],
    check: Callable[[ServerConnection, Request], Response | None],
    *,
    subprotocol: str,
    max_size: int,
    create_connection: type[PacedServerConnection] = PacedServerConnection,
    **options: Any,
) -> Server:
    """Listens at the gate. `check` may refuse an upgrade; `options` are the library's for one connection. A peer gives
    way to newcomers until `handler` says that it is known (`stand`)."""

    async def opened(connection: ServerConnection) -> None:
        channel_of(connection).opened()
        await handler(connection)

    server = serve(opened, process_request=check, open_timeout=limits.OPENING_S, server_header=None)

    def factory() -> ServerConnection:
        protocol = ServerProtocol(subprotocols=[Subprotocol(subprotocol)], max_size=max_size)
        connection = create_connection(protocol, server, close_timeout=limits.CLOSING_S, **options)
        connection.turns = gate.turns
        return connection

    async def listen() -> Any:
        await gate.start(host, port, factory)
        return gate

    server.create_server = listen
    return await server


def channel_of(connection: ServerConnection) -> Channel:
    channel = connection.transport
    assert isinstance(channel, Channel)
    return channel
