"""A node's miner endpoint with nothing behind it: accepts miners, lets a test call them, records all that came."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from cgn_sdk.protocol.messages import PROTOCOL, Done, Fail, GoAway, Head, Hello, Open, Progress, Slots, Welcome
from cgn_sdk.protocol.tunnel import (
    Acknowledged,
    DataReceived,
    Event,
    Failed,
    Finished,
    HeadReceived,
    Progressed,
    Sealed,
    Tunnel,
)
from cgn_sdk.tunnel_connection import LISTENING_OPTIONS, ListeningConnection
from cgn_sdk.tunnel_io import BodyReader, Closed, TunnelLink
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol


class AttemptFailed(Exception):
    def __init__(self, message: Fail) -> None:
        super().__init__(f"{message.code}: {message.detail}")
        self.code = message.code
        self.detail = message.detail
        self.rule = message.rule
        self.estimate_cpu_ns = message.estimate_cpu_ns


@dataclass
class Call:
    """One stream, seen from the node."""

    stream: int
    body: BodyReader
    head: "asyncio.Future[Head]"
    done: "asyncio.Future[Done]"
    acknowledged: bool = False
    progress: list[Progress] = field(default_factory=list)

    async def whole(self) -> bytes:
        """The response's body, once the attempt is done. Raises AttemptFailed."""
        content = b"".join([part async for part in self.body])
        await self.done
        return content


@dataclass
class FalseNode:
    """At most one miner at a time is called: the last that came."""

    port: int = 0
    link: TunnelLink | None = None
    hellos: list[Hello] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    link_options: dict[str, Any] = field(default_factory=dict)
    refuse_with: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, ListeningConnection)
        self.link = TunnelLink(connection, Tunnel("node"), self.on_event, **self.link_options)
        self.calls.clear()
        self.left.clear()
        self.closed.append(await self.link.run())
        for call in self.calls.values():
            call.body.fail(ConnectionError("the miner is gone"))
        self.left.set()

    def on_event(self, event: Event) -> None:
        assert self.link is not None
        call = self.calls.get(getattr(event, "stream", 0))
        if isinstance(event, Hello):
            self.hellos.append(event)
            if self.refuse_with:
                self.link.close(self.refuse_with, "refused by the test")
                return
            self.link.tunnel.send_welcome(Welcome("pa", "1", event.dservices, 20_000, "nod_a"))
            self.arrived.set()
        elif isinstance(event, (Slots, GoAway, Sealed)):
            self.told.append(event)
        elif call is None:
            return
        elif isinstance(event, Acknowledged):
            call.acknowledged = True
        elif isinstance(event, HeadReceived):
            call.head.set_result(event.message)
            if event.end:
                call.body.feed(b"", True)
        elif isinstance(event, DataReceived):
            call.body.feed(event.data, event.end)
        elif isinstance(event, Finished):
            call.done.set_result(event.message)
        elif isinstance(event, Progressed):
            call.progress.append(event.message)
        elif isinstance(event, Failed):
            call.body.fail(AttemptFailed(event.message))

    def open(
        self,
        target: str,
        *,
        method: str = "GET",
        dservice: str = "noop",
        headers: tuple[tuple[str, str], ...] = (),
        deadline_ms: int = 30_000,
        body: bytes | None = b"",
        request_id: str = "0" * 32,
        cpu_budget_ns: int | None = None,
        attempt: int = 1,
    ) -> Call:
        """Opens a stream. `body` None: the test sends it by itself."""
        assert self.link is not None
        tunnel = self.link.tunnel
        size = None if body is None else len(body)
        message = Open(request_id, attempt, dservice, method, target, headers, deadline_ms, size, cpu_budget_ns)
        stream = tunnel.open(message, end=body == b"")
        if body:
            tunnel.data(stream, body, end=True)
        loop = asyncio.get_running_loop()
        call = self.calls[stream] = Call(
            stream, BodyReader(self.link, stream), loop.create_future(), loop.create_future()
        )
        self.link.flush()
        return call

    async def call(self, target: str, **changes: Any) -> bytes:
        return await self.open(target, **changes).whole()

    def seals(self) -> list[Sealed]:
        return [event for event in self.told if isinstance(event, Sealed)]


@contextlib.asynccontextmanager
async def false_node(port: int, tls: SSLContext | None = None, **changes: Any) -> AsyncIterator[FalseNode]:
    """Listens on loopback until the block ends; port 0 takes a free one."""
    node = FalseNode(port, **changes)
    listening = serve(node.serve, "127.0.0.1", port, ssl=tls, subprotocols=[Subprotocol(PROTOCOL)], **LISTENING_OPTIONS)
    async with listening as server:
        node.port = next(iter(server.sockets)).getsockname()[1]
        yield node
