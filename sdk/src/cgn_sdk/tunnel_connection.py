"""WebSocket connections for tunnels: `websockets` does handshake, framing, keepalive and closing; messages come and go
by plain calls.

The library's own `recv` and `send` are coroutines that wake a task for every message. A tunnel needs neither: what it
reads is handed on at once, with credits as its back-pressure (`protocol.tunnel`), and what it writes is ready when the
transport takes more. That is a tenth of a millisecond of a request's way at low load (docs/benchmarks.md).

    await serve(…, **LISTENING_OPTIONS)        connect(…, **DIALLING_OPTIONS)
    connection.attach(taker)

Only what the library offers for subclasses is used: `create_connection`, `process_event`, `protocol`, `transport`, and
its methods for asyncio's callbacks. What one read brought is given to the library in pieces (`Paced`), because it would
parse a quarter of a megabyte of the smallest frames in one go, which is a quarter of a second.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import State

from cgn_sdk.protocol.limits import KEEPALIVE_DEFAULT_MS, MESSAGE_MAX_BYTES
from cgn_sdk.turns import Turns

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


PIECE_BYTES: Final = 4 * 1024
FRAMES_AT_ONCE: Final = 32
"""What is parsed before others have a turn: whole frames until so many have come, looked at after every piece. A piece
of the smallest frames is 680 of them, some three milliseconds; a piece of a long message costs a microsecond."""

FRAGMENTS_MAX: Final = 4_096
"""Frames of one message, as many as the library takes where it joins them itself: `max_size` bounds their bytes, and a
frame may have none. Beyond, the connection ends with 1009. Our own ends send each message as one frame."""

UNREAD_MAX_BYTES: Final = 512 * 1024
"""Bytes written that wait for the peer, beyond which it is not read: messages stop at WRITE_LIMIT_BYTES and one more,
so that only pongs of a peer that pings and does not read come so far."""


class Taker(Protocol):
    """Who takes what arrives. None of these may wait, and none may raise."""

    def on_message(self, message: bytes) -> None: ...
    def on_text(self) -> None:
        """A text message came; what it said is dropped."""

    def on_writable(self) -> None:
        """`is_writable` is True again."""

    def on_lost(self) -> None:
        """The connection is over; nothing else follows."""


class Paced(Connection):
    """A connection whose peer cannot keep the loop: of what has come, a bounded part is parsed at once, the rest when
    it is this connection's turn. Nothing more is read while something waits here, while the taker asks for it (`hold`),
    or while answers to the peer's own pings wait for the peer to read them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.turns = Turns()
        """Of its own, until somebody who has several connections gives them the same."""
        self._unread = b""
        self._has_turn = False
        self._is_held = False
        self._is_full = False
        self._is_reading = True
        self._frames = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.recv_messages.pause, self.recv_messages.resume = self._on_full, self._on_room

    def data_received(self, data: bytes) -> None:
        self._unread = self._unread + data if self._unread else data
        if not self._has_turn:
            self._read_on()

    def process_event(self, event: Any) -> None:
        self._frames += 1
        super().process_event(event)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._take_turn()

    def hold(self, wanted: bool) -> None:
        """Whether nothing more is to be handed on for now."""
        self._is_held = wanted
        if wanted:
            self._choose_reading()
        else:
            self._take_turn()

    def eof_received(self) -> None:
        while self._unread and not self._is_held:  # the end comes once: what came before it still counts
            self._read_piece()
        self._unread = b""
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unread = b""
        super().connection_lost(exc)

    def _on_full(self) -> None:
        self._is_full = True
        self._choose_reading()

    def _on_room(self) -> None:
        self._is_full = False
        self._take_turn()

    @property
    def _must_wait(self) -> bool:
        return (
            self._is_held
            or self._is_full
            or (self.paused and self.transport.get_write_buffer_size() > UNREAD_MAX_BYTES)
        )

    def _take_turn(self) -> None:
        if (self._unread or not self._is_reading) and not self._has_turn and not self._must_wait:
            self._has_turn = True
            self.turns.add(self._on_turn)

    def _on_turn(self) -> None:
        self._has_turn = False
        self._read_on()

    def _read_on(self) -> None:
        most = self._frames + FRAMES_AT_ONCE
        while self._unread and self._frames < most and not self._must_wait:
            self._read_piece()
        self._take_turn()
        self._choose_reading()

    def _read_piece(self) -> None:
        piece, self._unread = self._unread[:PIECE_BYTES], self._unread[PIECE_BYTES:]
        super().data_received(piece)

    def _choose_reading(self) -> None:
        wanted = not self._unread and not self._must_wait
        if wanted != self._is_reading and not self.transport.is_closing():
            self._is_reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()


class _Direct(Paced):
    """The half that listening and dialling connections share."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._taker: Taker | None = None
        self._early: list[bytes | None] = []
        self._fragments: list[bytes] = []
        self._is_failed = False

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
        self._send()

    def _send(self) -> None:
        try:
            self.send_data()
        except Exception as error:  # the socket broke: the library tells everybody in `connection_lost`
            self.set_connection_exc(error)
            self.transport.abort()

    def process_event(self, event: Any) -> None:
        if type(event) is not Frame or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._frames += 1
        if self._is_failed:
            return
        if event.opcode is Opcode.TEXT:
            self._hand_on(None)
        elif event.fin and not self._fragments:
            self._hand_on(bytes(event.data))
        elif len(self._fragments) == FRAGMENTS_MAX:
            self._is_failed, self._fragments = True, []
            self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "a message of too many frames")
            self._send()
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


class PacedServerConnection(ServerConnection, Paced):
    """A listening end with the library's own `recv`."""


class PacedClientConnection(ClientConnection, Paced):
    """A dialling end with the library's own `recv`."""


class ListeningConnection(PacedServerConnection, _Direct):
    """The end that was dialled."""


class DiallingConnection(PacedClientConnection, _Direct):
    """The end that dials."""


LISTENING_OPTIONS: Final[dict[str, Any]] = {**CONNECTION_OPTIONS, "create_connection": ListeningConnection}
"""For `websockets.asyncio.server.serve`."""
DIALLING_OPTIONS: Final[dict[str, Any]] = {**CONNECTION_OPTIONS, "create_connection": DiallingConnection}
"""For `websockets.asyncio.client.connect`."""
