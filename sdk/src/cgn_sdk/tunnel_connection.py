"""WebSocket connections for tunnels: `websockets` does handshake, framing, keepalive and closing; messages come and go
by plain calls.

The library's own `recv` and `send` are coroutines that wake a task for every message. A tunnel needs neither: what it
reads is handed on at once, with credits as its back-pressure (`protocol.tunnel`), and what it writes is ready when the
transport takes more. That is a tenth of a millisecond of a request's way at low load (docs/benchmarks.md).

    await serve(…, **LISTENING_OPTIONS)        connect(…, **DIALLING_OPTIONS)
    connection.attach(taker)

Only what the library offers for subclasses is used: `create_connection`, `process_event`, `protocol`, `transport`.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import State

from cgn_sdk.protocol.limits import KEEPALIVE_DEFAULT_MS, MESSAGE_MAX_BYTES

WRITE_LIMIT_BYTES: Final = 64 * 1024
"""Bytes the transport may hold before the writer waits: enough to keep a socket busy, little enough to stand behind."""

CONNECTION_OPTIONS: Final[dict[str, Any]] = {
    "compression": None,  # permessage-deflate costs 12 times the CPU at 64 KiB
    "max_size": MESSAGE_MAX_BYTES,
    "write_limit": WRITE_LIMIT_BYTES,
    "ping_interval": KEEPALIVE_DEFAULT_MS / 1000,
    "ping_timeout": KEEPALIVE_DEFAULT_MS / 1000,
    "close_timeout": 5,
}
"""What both ends have in common; both add `subprotocols=[messages.PROTOCOL]`."""


class Taker(Protocol):
    """Who takes what arrives. None of these may wait, and none may raise."""

    def on_message(self, message: bytes) -> None: ...
    def on_text(self) -> None:
        """A text message came; what it said is dropped."""

    def on_writable(self) -> None:
        """`is_writable` is True again."""

    def on_lost(self) -> None:
        """The connection is over; nothing else follows."""


class _Direct(Connection):
    """The half that listening and dialling connections share."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._taker: Taker | None = None
        self._early: list[bytes | None] = []
        self._fragments: list[bytes] = []

    def attach(self, taker: Taker) -> None:
        """From now on `taker` hears of everything; of what came before, now."""
        self._taker = taker
        early, self._early = self._early, []
        for message in early:
            self._hand_on(message)
        if self.protocol.state is State.CLOSED:
            taker.on_lost()

    @property
    def is_writable(self) -> bool:
        """Whether a message may be posted: the connection is open and the transport has taken the last ones."""
        return not self.paused and self.protocol.state is State.OPEN

    def post(self, message: bytes) -> None:
        """Writes one binary message; only while `is_writable`."""
        self.protocol.send_binary(message)
        try:
            self.send_data()
        except Exception as error:  # the socket broke: the library tells everybody in `connection_lost`
            self.set_connection_exc(error)
            self.transport.abort()

    def process_event(self, event: Any) -> None:
        if type(event) is not Frame or event.opcode not in DATA_OPCODES:
            super().process_event(event)
        elif event.opcode is Opcode.TEXT:
            self._hand_on(None)
        elif event.fin and not self._fragments:
            self._hand_on(bytes(event.data))
        else:
            self._fragments.append(bytes(event.data))  # the library bounds their sum by `max_size`
            if event.fin:
                whole, self._fragments = b"".join(self._fragments), []
                self._hand_on(whole)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taker is not None:
            self._taker.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._taker is not None:
            self._taker.on_lost()

    def _hand_on(self, message: bytes | None) -> None:
        if self._taker is None:
            self._early.append(message)  # between the handshake and `attach`: one turn of the loop
        elif message is None:
            self._taker.on_text()
        else:
            self._taker.on_message(message)


class ListeningConnection(ServerConnection, _Direct):
    """The end that was dialled."""


class DiallingConnection(ClientConnection, _Direct):
    """The end that dials."""


LISTENING_OPTIONS: Final[dict[str, Any]] = {**CONNECTION_OPTIONS, "create_connection": ListeningConnection}
"""For `websockets.asyncio.server.serve`."""
DIALLING_OPTIONS: Final[dict[str, Any]] = {**CONNECTION_OPTIONS, "create_connection": DiallingConnection}
"""For `websockets.asyncio.client.connect`."""
