"""The frame layout of the tunnel (interfaces.md, "Tunnel"): encode, and decode from bytes in any slicing.

A frame is 8 bytes of header and 0 to 65,528 bytes of payload:

    type (1)  flags (1)  payload length (2, big-endian)  stream id (4, big-endian)  payload

    DATA "hi", last of its direction, stream 7:   13 01 0002 00000007 6869

This module knows types and lengths; what a frame means where is the multiplexer's business (`tunnel`).
"""

from struct import Struct
from typing import Final, NamedTuple

from cgn_sdk.protocol.errors import ProtocolError
from cgn_sdk.protocol.limits import FRAME_HEADER_BYTES, FRAME_PAYLOAD_MAX_BYTES, MESSAGE_MAX_BYTES

HELLO: Final = 0x01
WELCOME: Final = 0x02
GOAWAY: Final = 0x03
SLOTS: Final = 0x04
SEAL: Final = 0x05
OPEN: Final = 0x10
ACK: Final = 0x11
HEAD: Final = 0x12
DATA: Final = 0x13
CREDIT: Final = 0x14
DONE: Final = 0x15
FAIL: Final = 0x16
CANCEL: Final = 0x17
PROGRESS: Final = 0x18

NAMES: Final[dict[int, str]] = {
    HELLO: "HELLO",
    WELCOME: "WELCOME",
    GOAWAY: "GOAWAY",
    SLOTS: "SLOTS",
    SEAL: "SEAL",
    OPEN: "OPEN",
    ACK: "ACK",
    HEAD: "HEAD",
    DATA: "DATA",
    CREDIT: "CREDIT",
    DONE: "DONE",
    FAIL: "FAIL",
    CANCEL: "CANCEL",
    PROGRESS: "PROGRESS",
}

END: Final = 0x01
"""Flag: last frame of this direction's body. Allowed on OPEN and HEAD (no body follows) and on DATA."""

_MAY_END: Final = frozenset((OPEN, HEAD, DATA))
_TUNNEL_LEVEL: Final = frozenset((HELLO, WELCOME, GOAWAY, SLOTS, SEAL))

HEADER: Final = Struct(">BBHI")
_pack = HEADER.pack
_unpack_from = HEADER.unpack_from


class Frame(NamedTuple):
    type: int
    flags: int
    stream: int
    payload: bytes


def header(type_: int, flags: int, payload_bytes: int, stream: int) -> bytes:
    """The 8 bytes before a payload of this length."""
    return _pack(type_, flags, payload_bytes, stream)


def encode(type_: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """One whole frame. The caller holds the length within the limit: a longer payload is our own mistake."""
    assert len(payload) <= FRAME_PAYLOAD_MAX_BYTES, f"{NAMES[type_]} of {len(payload)} bytes does not fit into a frame"
    return _pack(type_, flags, len(payload), stream) + payload


def _check(type_: int, flags: int, length: int, stream: int) -> None:
    if type_ not in NAMES:
        raise ProtocolError(f"frame type 0x{type_:02x} is unknown")
    if length > FRAME_PAYLOAD_MAX_BYTES:
        raise ProtocolError(f"a frame of {length} bytes is longer than {FRAME_PAYLOAD_MAX_BYTES}")
    if flags and (flags != END or type_ not in _MAY_END):
        raise ProtocolError(f"flags 0x{flags:02x} are not allowed on {NAMES[type_]}")
    if (stream == 0) != (type_ in _TUNNEL_LEVEL):
        raise ProtocolError(f"{NAMES[type_]} on stream {stream}")


_new = tuple.__new__
_VALID: Final = frozenset((type_, flags) for type_ in NAMES for flags in (0, END) if not flags or type_ in _MAY_END)


def decode_message(message: bytes) -> list[Frame]:
    """The frames of one binary message, which holds whole frames only. Raises ProtocolError for anything else."""
    return decode_part(message, 0, len(message))[0]


def decode_part(message: bytes, offset: int, frames_max: int) -> tuple[list[Frame], int]:
    """At most so many of a message's frames, from `offset` on, and where the next one begins.

    Raises ProtocolError for anything else. This is the tunnel's hot path: one slice per frame, no other copy.
    """
    size = len(message)
    if size > MESSAGE_MAX_BYTES:
        raise ProtocolError(f"a message of {size} bytes is longer than {MESSAGE_MAX_BYTES}")
    found: list[Frame] = []
    while offset < size and frames_max:
        frames_max -= 1
        start = offset + FRAME_HEADER_BYTES
        if start > size:
            raise ProtocolError("a message ends inside a frame's header")
        type_, flags, length, stream = _unpack_from(message, offset)
        if (
            (type_, flags) not in _VALID
            or length > FRAME_PAYLOAD_MAX_BYTES
            or (stream == 0) != (type_ in _TUNNEL_LEVEL)
        ):
            _check(type_, flags, length, stream)
        offset = start + length
        if offset > size:
            raise ProtocolError("a message ends inside a frame's payload")
        found.append(_new(Frame, (type_, flags, stream, message[start:offset])))
    return found, offset


class Decoder:
    """Frames out of bytes that come in any slicing (for transports without messages, and for the fuzzer).

    Holds at most one unfinished frame; a header is refused as soon as it is complete, before its payload is awaited.
    After a ProtocolError the decoder is spent.
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    @property
    def pending_bytes(self) -> int:
        """Bytes of an unfinished frame held back."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Frame]:
        pending = self._pending
        found: list[Frame] = []
        view = memoryview(data)
        while True:
            wanted = FRAME_HEADER_BYTES
            if len(pending) >= FRAME_HEADER_BYTES:
                type_, flags, length, stream = _unpack_from(pending)
                _check(type_, flags, length, stream)
                wanted += length
                if len(pending) == wanted:
                    found.append(Frame(type_, flags, stream, bytes(pending[FRAME_HEADER_BYTES:])))
                    pending.clear()
                    continue
            if not view:
                return found
            take = wanted - len(pending)
            pending += view[:take]
            view = view[take:]
