"""The tunnel's multiplexer: many requests over one connection, as a pure machine that both ends use.

Bytes of one message go in (`receive`) and events come out; calls such as `open`, `data` and `done` queue frames, and
`data_to_send` gives the next message. No socket, clock or task is known here (`cgn_sdk.tunnel_io` drives it).

Rules (interfaces.md, "Tunnel"):

- A stream is opened by the node (OPEN), acknowledged (ACK), answered (HEAD, DATA …) and finished by DONE; FAIL or
  CANCEL end it at any time.
- Control frames leave before DATA; DATA of different streams takes turns, one frame each. DONE stays behind its own
  stream's last DATA.
- A sender holds credit per stream: what `writable` says is what may be queued, so that all that is queued may leave,
  and a peer that does not read makes this end hold at most its credit. The reader returns credit as the application
  consumes (`consumed`).
- Both ends may end a stream at once. A frame for a stream that has ended is dropped; one for a stream never opened is
  a violation. A DONE that is dropped still counts in the next SEAL, because the miner has signed it.
- A violation raises ProtocolError. Do not use the object afterwards; close the connection.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cgn_sdk.protocol import frames
from cgn_sdk.protocol.errors import ProtocolError
from cgn_sdk.protocol.limits import (
    CREDIT_MAX_BYTES,
    CREDIT_RETURN_BYTES,
    FRAME_HEADER_BYTES,
    FRAME_MAX_BYTES,
    FRAME_PAYLOAD_MAX_BYTES,
    INITIAL_CREDIT_BYTES,
    MESSAGE_MAX_BYTES,
    SEAL_FRAME_MAX_BYTES,
    STREAM_ID_MAX,
    STREAMS_MAX,
)
from cgn_sdk.protocol.messages import (
    Cancel,
    Done,
    Fail,
    GoAway,
    Head,
    Hello,
    Open,
    Progress,
    Seal,
    Slots,
    Welcome,
)

Sealer = Callable[[Sequence[bytes]], Seal]
"""Signs the digests of the statements that leave in one message (the miner's key comes in from outside)."""


@dataclass(slots=True)
class Opened:
    """A request begins (miner's side). `end`: it has no body."""

    stream: int
    message: Open
    end: bool


@dataclass(slots=True)
class Acknowledged:
    stream: int


@dataclass(slots=True)
class HeadReceived:
    """`end`: the response has no body."""

    stream: int
    message: Head
    end: bool


@dataclass(slots=True)
class DataReceived:
    """Body bytes. Give them back with `consumed` when the application is done with them. `end`: the last of this
    direction."""

    stream: int
    data: bytes
    end: bool


@dataclass(slots=True)
class Writable:
    """Credit came: `writable(stream)` has grown."""

    stream: int


@dataclass(slots=True)
class Finished:
    """DONE: the stream has ended. `digest` is the statement's, as the next SEAL will hold it."""

    stream: int
    message: Done
    digest: bytes


@dataclass(slots=True)
class Failed:
    stream: int
    message: Fail


@dataclass(slots=True)
class Cancelled:
    stream: int
    message: Cancel


@dataclass(slots=True)
class Progressed:
    stream: int
    message: Progress


@dataclass(slots=True)
class Sealed:
    """`digests`: of all DONE frames since the last SEAL, in order. What is signed: `receipt.seal_bytes` over the
    root of `receipt.seal_tree(digests)`."""

    message: Seal
    digests: tuple[bytes, ...]


Event = (
    Hello
    | Welcome
    | GoAway
    | Slots
    | Opened
    | Acknowledged
    | HeadReceived
    | DataReceived
    | Writable
    | Finished
    | Failed
    | Cancelled
    | Progressed
    | Sealed
)


@dataclass(frozen=True, slots=True)
class Statistics:
    open_streams: int
    opened_streams: int
    queued_control_bytes: int
    queued_data_bytes: int


class _Stream:
    """One stream as this end sees it."""

    __slots__ = (
        "acknowledged",
        "chunks",
        "end_queued",
        "ending",
        "headed",
        "queued_bytes",
        "receive_credit",
        "received_end",
        "send_credit",
        "to_return",
        "trailer",
        "unconsumed",
    )

    def __init__(self, *, end_queued: bool, received_end: bool) -> None:
        self.send_credit = INITIAL_CREDIT_BYTES
        """Bytes that may still be queued: what the peer granted less what was queued so far."""
        self.receive_credit = INITIAL_CREDIT_BYTES
        """Bytes the peer may still send."""
        self.unconsumed = 0
        """Bytes given to the application and not yet consumed by it."""
        self.to_return = 0
        """Bytes consumed and not yet given back as credit."""
        self.chunks: deque[bytes | memoryview] = deque()
        self.queued_bytes = 0
        self.end_queued = end_queued
        self.received_end = received_end
        self.acknowledged = False
        self.headed = False
        self.ending = False
        """DONE is queued: the peer's frames no longer matter."""
        self.trailer: tuple[bytes, bytes] | None = None
        """The DONE frame and its digest, waiting for the queued DATA to leave."""


_SEAL_ROOM: Final = SEAL_FRAME_MAX_BYTES


class Tunnel:
    """One end of a tunnel. `side` is "node" or "miner"; a miner brings `seal`."""

    def __init__(
        self, side: Literal["node", "miner"], *, seal: Sealer | None = None, streams_max: int = STREAMS_MAX
    ) -> None:
        assert (side == "miner") == (seal is not None), "the miner seals, the node does not"
        self.side = side
        self.streams_max = streams_max
        self._seal = seal
        self._streams: dict[int, _Stream] = {}
        self._last_opened = 0
        self._greetings = (frames.HELLO,) if side == "node" else (frames.WELCOME, frames.GOAWAY)
        self._greeted_in = False
        self._greeted_out = False
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._done_queue: dict[int, bytes] = {}
        """Queued DONE frames by identity of the frame object -> digest, so that they are counted when they leave."""
        self._ready: deque[int] = deque()
        """Streams with queued DATA, in turn. A stream stands in it at most once; one that has ended is skipped."""
        self._data_bytes = 0
        self._unsealed: list[bytes] = []
        """Node: digests of DONE frames since the last SEAL."""
        self._receivers: dict[int, Callable[[frames.Frame, list[Event]], None]] = (
            {
                frames.HELLO: self._on_hello,
                frames.GOAWAY: self._on_goaway,
                frames.SLOTS: self._on_slots,
                frames.SEAL: self._on_seal,
                frames.ACK: self._on_ack,
                frames.HEAD: self._on_head,
                frames.DATA: self._on_data,
                frames.CREDIT: self._on_credit,
                frames.DONE: self._on_done,
                frames.FAIL: self._on_fail,
                frames.PROGRESS: self._on_progress,
            }
            if side == "node"
            else {
                frames.WELCOME: self._on_welcome,
                frames.GOAWAY: self._on_goaway,
                frames.OPEN: self._on_open,
                frames.DATA: self._on_data,
                frames.CREDIT: self._on_credit,
                frames.CANCEL: self._on_cancel,
            }
        )

    # --- What the application asks ---

    def send_hello(self, hello: Hello) -> None:
        assert self.side == "miner"
        assert not self._greeted_out
        self._greeted_out = True
        self._queue(frames.HELLO, 0, hello.encode())

    def send_welcome(self, welcome: Welcome) -> None:
        assert self.side == "node"
        assert self._greeted_in
        assert not self._greeted_out
        self._greeted_out = True
        self._queue(frames.WELCOME, 0, welcome.encode())

    def send_goaway(self, goaway: GoAway) -> None:
        self._queue(frames.GOAWAY, 0, goaway.encode())

    def send_slots(self, slots: Slots) -> None:
        assert self.side == "miner"
        self._queue(frames.SLOTS, 0, slots.encode())

    @property
    def can_open(self) -> bool:
        """Whether `open` may be called now: greeted, below the bound of streams, ids left."""
        return self._greeted_out and len(self._streams) < self.streams_max and self._last_opened < STREAM_ID_MAX

    def open(self, message: Open, *, end: bool = False) -> int:
        """Opens a stream and returns its id. `end`: the request has no body."""
        assert self.side == "node"
        assert self.can_open
        stream = self._last_opened = self._last_opened + 1
        self._streams[stream] = _Stream(end_queued=end, received_end=False)
        self._queue(frames.OPEN, stream, message.encode(), frames.END if end else 0)
        return stream

    def acknowledge(self, stream: int) -> None:
        if (state := self._mine(stream, "miner")) is not None and not state.acknowledged:
            state.acknowledged = True
            self._queue(frames.ACK, stream, b"")

    def head(self, stream: int, message: Head, *, end: bool = False) -> None:
        """`end`: the response has no body."""
        if (state := self._mine(stream, "miner")) is None:
            return
        assert state.acknowledged, "acknowledge first"
        assert not state.headed, "one head per response"
        state.headed = True
        state.end_queued = end
        self._queue(frames.HEAD, stream, message.encode(), frames.END if end else 0)

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Queues body bytes, at most `writable(stream)` of them; nothing on a stream that has ended."""
        state = self._streams.get(stream)
        if state is None or state.ending:
            assert 0 < stream <= self._last_opened, f"stream {stream} was never opened"
            return
        size = len(data)
        assert size <= state.send_credit, f"{size} bytes on stream {stream}, which takes {state.send_credit}"
        assert not state.end_queued, "the body has ended"
        assert self.side == "node" or state.headed, "a response begins with its head"
        if not size and not end:
            return
        state.end_queued = end
        if not size and state.chunks:
            return  # the end goes with what is queued
        if not state.chunks:
            self._ready.append(stream)
        state.send_credit -= size
        state.queued_bytes += size
        self._data_bytes += size
        state.chunks.append(data if size <= FRAME_PAYLOAD_MAX_BYTES else memoryview(data))  # cut without copying

    def writable(self, stream: int) -> int:
        """Bytes that `data` takes now; 0 for a stream that has ended."""
        state = self._streams.get(stream)
        return 0 if state is None or state.end_queued else state.send_credit

    def consumed(self, stream: int, size: int) -> None:
        """The application is done with `size` bytes that it was given: the peer may send as many more."""
        state = self._streams.get(stream)
        if state is None:
            return
        assert size <= state.unconsumed, "more consumed than was given"
        state.unconsumed -= size
        state.to_return += size
        if state.to_return >= CREDIT_RETURN_BYTES and not state.received_end and not state.ending:
            self._queue(frames.CREDIT, stream, state.to_return.to_bytes(4, "big"))
            state.receive_credit += state.to_return
            state.to_return = 0

    def progress(self, stream: int, message: Progress) -> None:
        if (state := self._mine(stream, "miner")) is not None and not state.ending:
            assert state.acknowledged, "acknowledge first"
            self._queue(frames.PROGRESS, stream, message.encode())

    def done(self, stream: int, message: Done) -> None:
        """The attempt is finished; its response must have ended. Leaves behind the stream's last DATA."""
        state = self._mine(stream, "miner")
        if state is None or state.ending:
            return
        assert state.headed, "a response has a head"
        assert state.end_queued, "the response must end before it is done"
        payload, digest = message.encode_with_digest()
        frame = frames.encode(frames.DONE, stream, payload)
        state.ending = True
        if state.chunks:
            state.trailer = (frame, digest)
        else:
            self._queue_done(stream, frame, digest)

    def fail(self, stream: int, message: Fail) -> None:
        """The attempt ends here; what was queued of its body is dropped. Nothing happens once `done` was called."""
        if (state := self._mine(stream, "miner")) is not None and not state.ending:
            self._end(stream, state)
            self._queue(frames.FAIL, stream, message.encode())

    def cancel(self, stream: int, message: Cancel) -> None:
        """The attempt is no longer wanted; what was queued of its body is dropped."""
        if (state := self._mine(stream, "node")) is not None:
            self._end(stream, state)
            self._queue(frames.CANCEL, stream, message.encode())

    def is_open(self, stream: int) -> bool:
        state = self._streams.get(stream)
        return state is not None and not state.ending

    def statistics(self) -> Statistics:
        return Statistics(len(self._streams), self._last_opened, self._control_bytes, self._data_bytes)

    # --- What leaves ---

    @property
    def has_data_to_send(self) -> bool:
        return bool(self._control or self._ready)

    def data_to_send(self, max_bytes: int = MESSAGE_MAX_BYTES) -> bytes:
        """The next message: whole frames, control first, at most `max_bytes`; empty when nothing waits.

        What is not asked for yet stays in order here, so a driver that asks only when its socket takes more lets
        control frames pass.
        """
        assert FRAME_MAX_BYTES + _SEAL_ROOM <= max_bytes <= MESSAGE_MAX_BYTES
        room = max_bytes - (_SEAL_ROOM if self._seal is not None else 0)
        parts: list[bytes | memoryview] = []
        sealed: list[bytes] = []
        control = self._control
        if control and self._control_bytes <= room and not self._done_queue:
            parts.extend(control)  # the common case, without looking at each
            room -= self._control_bytes
            control.clear()
            self._control_bytes = 0
        else:
            room = self._take_control(parts, sealed, room)
        if self._ready and not control:
            self._take_data(parts, sealed, room)
        if sealed:
            assert self._seal is not None
            parts.append(frames.encode(frames.SEAL, 0, self._seal(sealed).encode()))
        return b"".join(parts)

    def _take_control(self, parts: list[bytes | memoryview], sealed: list[bytes], room: int) -> int:
        control, dones = self._control, self._done_queue
        while control and len(control[0]) <= room:
            frame = control.popleft()
            size = len(frame)
            room -= size
            self._control_bytes -= size
            parts.append(frame)
            if dones and (digest := dones.pop(id(frame), None)) is not None:
                sealed.append(digest)
        return room

    def _take_data(self, parts: list[bytes | memoryview], sealed: list[bytes], room: int) -> None:
        ready, streams = self._ready, self._streams
        while ready and room > FRAME_HEADER_BYTES:
            stream = ready[0]
            state = streams.get(stream)
            if state is None or not state.chunks:
                ready.popleft()  # ended since
                continue
            limit = min(room - FRAME_HEADER_BYTES, FRAME_PAYLOAD_MAX_BYTES)
            if limit < FRAME_PAYLOAD_MAX_BYTES and limit < state.queued_bytes and parts:
                return  # no short frames only because the message is nearly full
            ready.popleft()
            payload, last = self._take_chunk(state, limit)
            size = len(payload)
            end = last and state.end_queued
            parts.append(frames.header(frames.DATA, frames.END if end else 0, size, stream))
            parts.append(payload)
            state.queued_bytes -= size
            self._data_bytes -= size
            room -= size + FRAME_HEADER_BYTES
            if not last:
                ready.append(stream)
            elif end and state.trailer is not None:
                frame, digest = state.trailer
                if len(frame) <= room:
                    del streams[stream]
                    parts.append(frame)
                    sealed.append(digest)
                    room -= len(frame)
                else:
                    self._queue_done(stream, frame, digest)
                    return

    @staticmethod
    def _take_chunk(state: _Stream, limit: int) -> tuple[bytes | memoryview, bool]:
        """One frame's payload from the stream's queue, and whether it was the last that is queued."""
        chunks = state.chunks
        payload = chunks.popleft()
        size = len(payload)
        if size > limit:
            chunks.appendleft(payload[limit:])
            return payload[:limit], False
        if chunks and size + len(chunks[0]) <= limit:
            joined = [payload]
            while chunks and size + len(chunks[0]) <= limit:
                joined.append(chunks.popleft())
                size += len(joined[-1])
            payload = b"".join(joined)
        return payload, not chunks

    # --- What arrives ---

    def receive(self, message: bytes) -> list[Event]:
        """The events of one message, in order. Raises ProtocolError; events of frames before the broken one are lost
        with the connection."""
        return self.receive_part(message, 0, len(message))[0]

    def receive_part(self, message: bytes, offset: int, frames_max: int) -> tuple[list[Event], int]:
        """The events of at most so many frames of a message, from `offset` on, and where the next frame begins: a
        message of tiny frames has ten thousands, which nobody should take in one go. Raises as `receive` does."""
        events: list[Event] = []
        receivers = self._receivers
        found, offset = frames.decode_part(message, offset, frames_max)
        for frame in found:
            receiver = receivers.get(frame[0])
            if receiver is None:
                raise ProtocolError(f"{frames.NAMES[frame[0]]} is not for the {self.side} to receive")
            if not self._greeted_in and frame[0] not in self._greetings:
                raise ProtocolError(f"{frames.NAMES[frame[0]]} before the greeting")
            receiver(frame, events)
        # Whoever waited for a SEAL in a later message would wait for as long as the miner likes.
        if offset == len(message) and self._unsealed:
            raise ProtocolError(f"{len(self._unsealed)} DONE frames in a message without a SEAL behind them")
        return events, offset

    def _state_for(self, stream: int, kind: str) -> _Stream | None:
        """The stream a frame is for; None when it has ended, or is ending, and the frame is to be dropped."""
        state = self._streams.get(stream)
        if state is None:
            if stream > self._last_opened:
                raise ProtocolError(f"{kind} for stream {stream}, which was never opened")
            return None
        return state

    def _on_hello(self, frame: frames.Frame, events: list[Event]) -> None:
        if self._greeted_in:
            raise ProtocolError("a second HELLO")
        self._greeted_in = True
        events.append(Hello.decode(frame.payload))

    def _on_welcome(self, frame: frames.Frame, events: list[Event]) -> None:
        if self._greeted_in:
            raise ProtocolError("a second WELCOME")
        self._greeted_in = True
        events.append(Welcome.decode(frame.payload))

    def _on_goaway(self, frame: frames.Frame, events: list[Event]) -> None:
        events.append(GoAway.decode(frame.payload))

    def _on_slots(self, frame: frames.Frame, events: list[Event]) -> None:
        events.append(Slots.decode(frame.payload))

    def _on_seal(self, frame: frames.Frame, events: list[Event]) -> None:
        seal = Seal.decode(frame.payload)
        if seal.count != len(self._unsealed):
            raise ProtocolError(f"SEAL over {seal.count} statements after {len(self._unsealed)} DONE frames")
        events.append(Sealed(seal, tuple(self._unsealed)))
        self._unsealed.clear()

    def _on_open(self, frame: frames.Frame, events: list[Event]) -> None:
        _, flags, stream, payload = frame
        if stream != self._last_opened + 1:
            raise ProtocolError(f"OPEN of stream {stream} after {self._last_opened}")
        if len(self._streams) >= self.streams_max:
            raise ProtocolError(f"more than {self.streams_max} open streams")
        message = Open.decode(payload)
        self._last_opened = stream
        self._streams[stream] = _Stream(end_queued=False, received_end=bool(flags))
        events.append(Opened(stream, message, bool(flags)))

    def _on_ack(self, frame: frames.Frame, events: list[Event]) -> None:
        _, _, stream, payload = frame
        if payload:
            raise ProtocolError("an ACK is empty")
        state = self._state_for(stream, "ACK")
        if state is None:
            return
        if state.acknowledged:
            raise ProtocolError(f"a second ACK for stream {stream}")
        state.acknowledged = True
        events.append(Acknowledged(stream))

    def _on_head(self, frame: frames.Frame, events: list[Event]) -> None:
        _, flags, stream, payload = frame
        state = self._state_for(stream, "HEAD")
        if state is None:
            return
        if not state.acknowledged or state.headed:
            raise ProtocolError(f"HEAD for stream {stream}, which has one or is not acknowledged")
        state.headed = True
        state.received_end = bool(flags)
        events.append(HeadReceived(stream, Head.decode(payload), bool(flags)))

    def _on_data(self, frame: frames.Frame, events: list[Event]) -> None:
        _, flags, stream, payload = frame
        size = len(payload)
        if not size and not flags:
            raise ProtocolError("DATA without bytes that does not end the body")
        state = self._state_for(stream, "DATA")
        if state is None:
            return
        if state.received_end:
            raise ProtocolError(f"DATA after the end of stream {stream}")
        if size > state.receive_credit:
            raise ProtocolError(f"{size} bytes on stream {stream}, which had credit for {state.receive_credit}")
        if self.side == "node" and not state.headed:
            raise ProtocolError(f"DATA before HEAD on stream {stream}")
        state.receive_credit -= size
        if flags:
            state.received_end = True
        if not state.ending:
            state.unconsumed += size
            events.append(DataReceived(stream, payload, bool(flags)))

    def _on_credit(self, frame: frames.Frame, events: list[Event]) -> None:
        _, _, stream, payload = frame
        if len(payload) != 4 or not (added := int.from_bytes(payload, "big")):
            raise ProtocolError("CREDIT is a number above 0 in 4 bytes")
        state = self._state_for(stream, "CREDIT")
        if state is None:
            return
        state.send_credit += added
        if state.send_credit + state.queued_bytes > CREDIT_MAX_BYTES:
            raise ProtocolError(f"credit of stream {stream} passes {CREDIT_MAX_BYTES}")
        if not state.end_queued:
            events.append(Writable(stream))

    def _on_done(self, frame: frames.Frame, events: list[Event]) -> None:
        _, _, stream, payload = frame
        state = self._state_for(stream, "DONE")
        message, digest = Done.decode_with_digest(payload)
        if len(self._unsealed) >= self.streams_max:
            raise ProtocolError(f"{self.streams_max} DONE frames without a SEAL")
        self._unsealed.append(digest)
        if state is None:
            return
        if not state.received_end:
            raise ProtocolError(f"DONE before the end of stream {stream}")
        self._end(stream, state)
        events.append(Finished(stream, message, digest))

    def _on_fail(self, frame: frames.Frame, events: list[Event]) -> None:
        message = Fail.decode(frame.payload)
        state = self._state_for(frame.stream, "FAIL")
        if state is not None:
            self._end(frame.stream, state)
            events.append(Failed(frame.stream, message))

    def _on_cancel(self, frame: frames.Frame, events: list[Event]) -> None:
        message = Cancel.decode(frame.payload)
        state = self._state_for(frame.stream, "CANCEL")
        if state is not None:
            was_ending = state.ending
            self._end(frame.stream, state)
            if not was_ending:
                events.append(Cancelled(frame.stream, message))

    def _on_progress(self, frame: frames.Frame, events: list[Event]) -> None:
        message = Progress.decode(frame.payload)
        state = self._state_for(frame.stream, "PROGRESS")
        if state is None:
            return
        if not state.acknowledged:
            raise ProtocolError(f"PROGRESS for stream {frame.stream}, which is not acknowledged")
        events.append(Progressed(frame.stream, message))

    # --- Inside ---

    def _mine(self, stream: int, side: str) -> _Stream | None:
        assert self.side == side, f"only a {side} does this"
        assert 0 < stream <= self._last_opened, f"stream {stream} was never opened"
        return self._streams.get(stream)

    def _queue(self, type_: int, stream: int, payload: bytes, flags: int = 0) -> None:
        frame = frames.encode(type_, stream, payload, flags)
        self._control.append(frame)
        self._control_bytes += len(frame)

    def _queue_done(self, stream: int, frame: bytes, digest: bytes) -> None:
        """The stream's last frame: it has ended for this end, and the frame is counted by the seal when it leaves."""
        del self._streams[stream]
        self._done_queue[id(frame)] = digest  # the frame lives in the queue as long as its entry here
        self._control.append(frame)
        self._control_bytes += len(frame)

    def _end(self, stream: int, state: _Stream) -> None:
        del self._streams[stream]
        self._data_bytes -= state.queued_bytes
        state.chunks.clear()
        state.queued_bytes = 0
