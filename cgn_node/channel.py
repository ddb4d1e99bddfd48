"""One accepted connection below HTTP or WebSocket: TLS, and what every peer may take of time and memory.

A `Channel` is the protocol of the bare TCP transport and the transport of the protocol above, so that nothing is
hidden between the two: what a peer has not taken yet is known to the byte (what waits here plus what the kernel still
holds, SIOCOUTQ), handshakes take turns like everything else that strangers cause, and a connection that closes is
under the same watch as one that opens. `ssl.SSLObject` does TLS.

Deadlines are looked at by the gate's sweep:

- from accept to `opened()`: OPENING_S;
- a peer that does not take what it is owed: PROGRESS_WINDOW_S;
- from `close()`, once everything is taken, to the peer's own end: CLOSING_S; until then what it still sends is dropped,
  because closing with unread bytes would reset the connection and the last answer with it.
"""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from cgn_node import limits
from cgn_node.places import Standing

if TYPE_CHECKING:
    from cgn_node.gate import Gate

_SIOCOUTQ = 0x5411
"""Linux: bytes of a socket that the other side has not acknowledged (tcp(7))."""

_HANDSHAKE, _OPEN, _CLOSING, _LOST = range(4)

_plain = memoryview(bytearray(limits.READ_AT_ONCE_BYTES))
"""Where every channel decrypts into, one after the other: a buffer of its own for each would be most of what an idle
connection costs."""

Bytes = bytes | bytearray | memoryview


def record_end(data: bytes | memoryview, at: int) -> int:
    """Where the TLS record that begins at `at` ends (RFC 8446 5.1); 0 until all of it is here. What is no record ends
    with the data: OpenSSL says what is wrong with it."""
    if len(data) - at < 5:
        return 0
    end = at + 5 + (data[at + 3] << 8 | data[at + 4])
    if data[at + 1] != 3 or not 20 <= data[at] <= 24 or end - at > limits.RECORD_SEALED_MAX_BYTES:
        return len(data)
    return end if end <= len(data) else 0


class Channel(asyncio.Transport, asyncio.Protocol):
    """See above. Made by a `Gate`; the protocol above comes from the gate's factory once TLS is up."""

    def __init__(self, gate: "Gate", accepted: socket.socket, peer: str, now: float) -> None:
        self.peer = peer
        self.accepted_at = now
        self._gate = gate
        self._socket = accepted
        self._raw: asyncio.Transport | None = None
        self._inner: asyncio.Protocol | None = None
        self._phase = _HANDSHAKE
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = None if gate.tls is None else gate.tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_opened = False
        self._encrypted = b""  # came while the protocol above wanted no more
        self._standing = Standing.SILENT
        self._full_records = 0
        self._empty_records = 0
        self._has_turn = False
        self._paused = False
        self._written = 0
        self._settled = True  # whether the peer has taken all that was written
        self._watch_from = 0.0
        self._watch_goal = 0  # what it must have taken at the end of the window
        self._is_resting = False
        self._closing_at = 0.0
        self._dropped = 0

    def opened(self) -> None:
        """The protocol above takes over the watch on who says nothing."""
        self._is_opened = True

    def stand(self, standing: Standing) -> None:
        """What it is worth when the gate is full."""
        if standing != self._standing:
            self._standing = standing
            self._gate.stand(self, standing)

    @property
    def is_open(self) -> bool:
        return self._phase == _OPEN

    def owed(self) -> int:
        """Bytes written that the peer has not acknowledged."""
        raw = self._raw
        if raw is None or self._phase == _LOST:
            return 0
        waiting = raw.get_write_buffer_size()
        try:
            (in_kernel,) = struct.unpack("i", fcntl.ioctl(self._socket.fileno(), _SIOCOUTQ, b"\0\0\0\0"))
        except OSError:
            return waiting
        return waiting + int(in_kernel)

    def has_taken_all(self) -> bool:
        """Whether nothing that was written is on its way any more."""
        if not self._settled and not self.owed():
            self._settled, self._watch_from = True, 0.0
        return self._settled or self._phase == _LOST

    def check(self, now: float) -> None:
        """The gate's sweep: cuts who takes too long."""
        if self._phase == _LOST:
            return
        if not self._is_opened and now - self.accepted_at > limits.OPENING_S:
            self._cut("slow openings cut")
        elif not self._settled and self._is_reader_stuck(now):
            self._cut("slow readers cut")
        elif self._phase == _CLOSING:
            if not self._settled:
                self._closing_at = now
            elif now - self._closing_at > limits.CLOSING_S:
                self.abort()

    def _is_reader_stuck(self, now: float) -> bool:
        """Whether the peer has taken, for a whole window, neither all that was written before nor the least rate."""
        if self.has_taken_all():
            return False
        owed = self.owed()
        taken, window = self._written - owed, self._gate.progress_window_s
        if not self._watch_from or taken >= self._watch_goal:
            self._watch_from = now
            self._watch_goal = min(self._written, taken + int(limits.PROGRESS_MIN_BYTES_PER_S * window))
            return False
        return now - self._watch_from >= window

    @property
    def stuck_since(self) -> float:
        """Since when the sweep has seen the peer owe to read, without the least rate; 0: it takes what it gets."""
        return self._watch_from

    def cut_stuck(self) -> None:
        """The node needs the memory of what this one does not read."""
        self._cut("slow readers cut early")

    def _cut(self, why: str) -> None:
        self._gate.counters[why] += 1
        self.abort()

    # --- the bare transport's side ----------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass
        if self._phase == _LOST:  # cut before it was here
            self._raw.abort()
        elif self._tls is None:
            self._open()

    def data_received(self, data: bytes) -> None:
        if len(data) >= limits.READ_AT_ONCE_BYTES:
            self._rest()
        if self._phase == _OPEN:
            if self._tls is None:
                self._hand_on(data)
            else:
                self._encrypted += data
                if not self._has_turn:
                    self._decrypt()
        elif self._phase == _HANDSHAKE:
            self.stand(Standing.OPENING)
            self._encrypted += data
            if len(self._encrypted) > limits.HANDSHAKE_MAX_BYTES and self._raw is not None:
                self._raw.pause_reading()  # until the handshake has had its turn
            self._take_turn(self._shake)
        elif self._phase == _CLOSING:
            self._dropped += len(data)
            if self._dropped > limits.CLOSING_MAX_BYTES:
                self.abort()

    def _rest(self) -> None:
        """The event loop reads a socket again and again in one turn while each read fills its buffer: this one rests
        until the next turn."""
        if not self._is_resting and self._raw is not None:
            self._is_resting = True
            self._raw.pause_reading()
            self._gate.turns.add(self._end_rest)

    def _end_rest(self) -> None:
        self._is_resting = False
        if self._phase != _LOST:
            self._resume_raw()

    def eof_received(self) -> None:
        """Half-closed is closed: most clients that leave look like this first. The bare transport closes itself."""
        if self._phase == _OPEN and self._inner is not None:
            self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = _LOST
        self._gate.forget(self)
        inner, self._inner, self._tls = self._inner, None, None
        if inner is not None:
            inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    # --- TLS ----------

    def _take_turn(self, portion: Callable[[], None]) -> None:
        if not self._has_turn:
            self._has_turn = True
            self._gate.turns.add(portion)

    def _shake(self) -> None:
        """The next step of the handshake; its signature is a good part of a millisecond, so steps take turns."""
        self._has_turn = False
        if self._phase != _HANDSHAKE or self._tls is None:
            return
        records = 0
        try:
            while not self._shake_on(self._tls):
                end = record_end(self._encrypted, 0)
                if not end or records == limits.HANDSHAKE_RECORDS_AT_ONCE:
                    self._send([self._outgoing.read()])
                    if end:
                        self._take_turn(self._shake)
                    else:
                        self._resume_raw()
                    return
                records += 1
                self._incoming.write(self._encrypted[:end])
                self._encrypted = self._encrypted[end:]
        except OSError:  # ssl.SSLError is one
            self._gate.counters["handshakes failed"] += 1
            self._send([self._outgoing.read()])  # the alert that says why
            self._end()
        else:
            self._send([self._outgoing.read()])
            self._resume_raw()
            self._open()
            self._decrypt()

    @staticmethod
    def _shake_on(tls: ssl.SSLObject) -> bool:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _resume_raw(self) -> None:
        """Reads the socket again, unless something else still speaks against it."""
        raw, waits = self._raw, self._paused or self._is_resting or (self._has_turn and self._phase == _OPEN)
        if raw is not None and not waits and not raw.is_closing():
            raw.resume_reading()

    def _open(self) -> None:
        self._phase = _OPEN
        self._inner = self._gate.factory()
        self._inner.connection_made(self)

    def _decrypt(self) -> None:
        """Hands on what has come, until the protocol above wants no more or it is somebody else's turn.

        OpenSSL gets one record at a time: its buffers keep the size they once had, and only so is known which records
        bring nothing.
        """
        data, at, incoming, records = memoryview(self._encrypted), 0, self._incoming, 0
        self._encrypted = b""
        while self._phase == _OPEN and self._tls is not None and not self._paused:
            tls, filled, is_over, has_more = self._tls, 0, False, True
            try:
                while filled < len(_plain):
                    if not tls.pending():
                        end = record_end(data, at)
                        has_more = end > 0 and records < limits.RECORDS_AT_ONCE
                        if not has_more:
                            break
                        incoming.write(data[at:end])
                        at, records = end, records + 1
                    try:
                        # With a buffer `read` gives the number of bytes; typeshed knows only the other form.
                        count = cast(int, tls.read(len(_plain) - filled, cast(bytearray, _plain[filled:])))
                    except ssl.SSLWantReadError:
                        if self._has_too_many_empty():
                            self._cut("empty records cut")
                            return
                        continue
                    if not count:
                        is_over = True
                        break
                    self._full_records += 1
                    filled += count
            except OSError:  # what came is not TLS
                self.abort()
                return
            if self._outgoing.pending:
                self._send([self._outgoing.read()])
            if filled:
                self._hand_on(bytes(_plain[:filled]))
            if is_over:
                self._on_close_notify()
                return
            if not has_more:
                break
        if self._phase == _OPEN:
            self._encrypted = bytes(data[at:])
            if records == limits.RECORDS_AT_ONCE and not self._paused and record_end(data, at):
                self._raw_waits()
                self._take_turn(self._decrypt_rest)

    def _has_too_many_empty(self) -> bool:
        """Records without content (key updates, warnings) cost a derivation of keys each and have next to no use."""
        self._empty_records += 1
        allowed = limits.EMPTY_RECORDS_MAX + self._full_records // limits.FULL_RECORDS_PER_EMPTY
        return self._empty_records > allowed

    def _raw_waits(self) -> None:
        if self._raw is not None and not self._raw.is_closing():
            self._raw.pause_reading()

    def _hand_on(self, data: bytes) -> None:
        assert self._inner is not None
        self._inner.data_received(data)

    def _on_close_notify(self) -> None:
        if self._phase == _OPEN and self._inner is not None:
            self._inner.eof_received()
            self.close()

    def _send(self, pieces: list[bytes]) -> None:
        size = sum(map(len, pieces))
        if size and self._raw is not None:
            self._settled = False
            self._written += size
            self._raw.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    # --- the transport of the protocol above ----------

    def write(self, data: Bytes) -> None:
        tls = self._tls
        if tls is None or not 0 < len(data) <= limits.RECORD_BYTES or self._phase != _OPEN or self._raw is None:
            self.writelines((data,))
            return
        try:
            tls.write(data)
        except OSError:
            self.abort()
            return
        encrypted = self._outgoing.read()
        self._settled = False
        self._written += len(encrypted)
        self._raw.write(encrypted)

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        if self._phase != _OPEN:
            return
        tls = self._tls
        if tls is None:
            self._send([bytes(data) for data in list_of_data])
            return
        encrypted = []
        try:
            for data in list_of_data:
                rest = memoryview(data)
                while rest:
                    rest = rest[tls.write(rest[: limits.RECORD_BYTES]) :]
                    encrypted.append(self._outgoing.read())
        except OSError:
            self.abort()
            return
        self._send(encrypted)

    def close(self) -> None:
        """Sends what is written and the end, drops what still comes, and waits a little for the peer's own end."""
        if self._phase == _OPEN:
            if self._tls is not None:
                with contextlib.suppress(OSError):  # it wants to read the peer's answer, which nobody needs
                    self._tls.unwrap()
                self._send([self._outgoing.read()])
            self._end()

    def _end(self) -> None:
        assert self._raw is not None
        self._phase, self._closing_at = _CLOSING, self._gate.clock()
        self._is_opened = True  # the opening's deadline is over; the closing's begins
        if self._raw.is_closing():
            return
        if self._tls is None:
            self._raw.write_eof()  # TLS has said it: clients exist that lose what they have not read yet at a TCP FIN
        self._raw.resume_reading()

    def abort(self) -> None:
        if self._phase != _LOST and not self._settled:
            with contextlib.suppress(
                OSError
            ):  # a reset: else the kernel keeps what is owed for a reader that never reads
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._phase = _LOST
        if self._raw is not None:
            self._raw.abort()

    def is_closing(self) -> bool:
        return self._phase >= _CLOSING or self._raw is None or self._raw.is_closing()

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        raise NotImplementedError("a channel ends by close()")

    def pause_reading(self) -> None:
        self._paused = True
        if self._raw is not None and not self.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._raw is not None and not self.is_closing():
            if record_end(self._encrypted, 0) or (self._tls is not None and self._tls.pending()):
                self._take_turn(self._decrypt_rest)
            self._resume_raw()

    def _decrypt_rest(self) -> None:
        self._has_turn = False
        self._decrypt()
        if self._phase == _OPEN:
            self._resume_raw()

    def is_reading(self) -> bool:
        return not self._paused and not self.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._raw is not None:
            self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return 0 if self._raw is None else self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._tls or default
        return default if self._raw is None else self._raw.get_extra_info(name, default)
