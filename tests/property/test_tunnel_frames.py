"""Frames: both halves of the codec undo each other, and nothing from outside does more than raise ProtocolError (N-1)."""

import contextlib
import json
from pathlib import Path

import pytest
from cgn_sdk.protocol import frames, limits
from cgn_sdk.protocol.errors import ProtocolError
from cgn_sdk.protocol.frames import Decoder, Frame, decode_message, encode
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
    Statement,
    Welcome,
)
from cgn_sdk.protocol.tunnel import Tunnel
from hypothesis import given
from hypothesis import strategies as st

VECTORS = json.loads((Path(__file__).resolve().parents[1] / "vectors/tunnel_frames.json").read_text())
VALID = [bytes.fromhex(vector["bytes"]) for vector in VECTORS["valid"]]
BODIES = {
    "HELLO": Hello, "WELCOME": Welcome, "GOAWAY": GoAway, "SLOTS": Slots, "SEAL": Seal, "OPEN": Open, "HEAD": Head,
    "DONE": Done, "FAIL": Fail, "CANCEL": Cancel, "PROGRESS": Progress,
}  # fmt: skip
TUNNEL_LEVEL = {frames.HELLO, frames.WELCOME, frames.GOAWAY, frames.SLOTS, frames.SEAL}
ENDING = {frames.OPEN, frames.HEAD, frames.DATA}


@st.composite
def frame(draw: st.DrawFn) -> Frame:
    type_ = draw(st.sampled_from(sorted(frames.NAMES)))
    stream = 0 if type_ in TUNNEL_LEVEL else draw(st.integers(1, limits.STREAM_ID_MAX))
    flags = draw(st.sampled_from([0, frames.END])) if type_ in ENDING else 0
    return Frame(type_, flags, stream, draw(st.binary(max_size=300)))


def written(one: Frame) -> bytes:
    return encode(one.type, one.stream, one.payload, one.flags)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_vectors_decode_and_encode(vector: dict[str, object]) -> None:
    raw = bytes.fromhex(str(vector["bytes"]))
    [found] = decode_message(raw)
    name = frames.NAMES[found.type]
    assert (name, found.flags, found.stream) == (vector["type"], vector["flags"], vector["stream"])
    if name in BODIES:
        assert json.loads(found.payload) == vector["json"]
        assert BODIES[name].decode(found.payload).encode() == found.payload
    else:
        assert found.payload.hex() == vector["payload"]
    assert written(found) == raw


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_vectors_that_must_be_refused(vector: dict[str, str]) -> None:
    raw = bytes.fromhex(vector["bytes"])
    with pytest.raises(ProtocolError, match=vector["reason"]) as caught:
        for one in decode_message(raw):
            if frames.NAMES[one.type] in BODIES:
                BODIES[frames.NAMES[one.type]].decode(one.payload)
    assert caught.value.close_code == 4400


def test_the_statement_vector() -> None:
    vector = VECTORS["statement"]
    statement = Statement.from_members(vector["members"])
    assert statement.canonical_bytes().decode() == vector["canonical"]
    assert statement.digest().hex() == vector["sha256"]


@given(st.lists(frame(), max_size=20))
def test_a_run_of_frames_round_trips(run: list[Frame]) -> None:
    assert decode_message(b"".join(map(written, run))) == run


@given(st.lists(frame(), max_size=10), st.data())
def test_the_decoder_takes_any_slicing(run: list[Frame], data: st.DataObject) -> None:
    raw = b"".join(map(written, run))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    decoder, found = Decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += decoder.feed(raw[start:end])
    assert found == run
    assert decoder.pending_bytes == 0


@given(st.lists(frame(), min_size=1, max_size=5), st.data())
def test_a_message_cut_short_is_refused(run: list[Frame], data: st.DataObject) -> None:
    raw = b"".join(map(written, run))
    boundaries = {0}
    for one in run:
        boundaries.add(max(boundaries) + len(written(one)))
    cut = data.draw(st.integers(1, len(raw) - 1).filter(lambda at: at not in boundaries))
    with pytest.raises(ProtocolError, match="ends inside"):
        decode_message(raw[:cut])


hostile = st.one_of(
    st.binary(max_size=2_000),
    st.lists(st.sampled_from(VALID), min_size=1, max_size=4).map(b"".join),
    st.tuples(st.sampled_from(VALID), st.integers(0, 10_000), st.integers(0, 255)).map(
        lambda mutation: (
            mutation[0][: mutation[1] % len(mutation[0])]
            + bytes([mutation[2]])
            + mutation[0][mutation[1] % len(mutation[0]) + 1 :]
        )
    ),
)


@given(st.lists(hostile, max_size=6))
def test_hostile_bytes_only_raise_protocol_errors_and_hold_little(slices: list[bytes]) -> None:
    decoder = Decoder()
    try:
        for piece in slices:
            decoder.feed(piece)
            assert decoder.pending_bytes <= limits.FRAME_MAX_BYTES
    except ProtocolError:
        assert decoder.pending_bytes <= limits.FRAME_MAX_BYTES


@given(st.sampled_from(["node", "miner"]), st.booleans(), st.lists(hostile, max_size=8))
def test_hostile_messages_only_raise_protocol_errors(side: str, greeted: bool, messages: list[bytes]) -> None:
    """Both ends: random bytes, valid frames in any order, mutated ones."""
    tunnel = Tunnel("node") if side == "node" else Tunnel("miner", seal=lambda digests: Seal(len(digests), "cd" * 64))
    if greeted:
        greeting = "HELLO" if side == "node" else "WELCOME"
        tunnel.receive(next(raw for raw in VALID if frames.NAMES[raw[0]] == greeting))
    with contextlib.suppress(ProtocolError):
        for message in messages:
            tunnel.receive(message)
            assert tunnel.statistics().open_streams <= limits.STREAMS_MAX
            assert tunnel.statistics().queued_control_bytes == tunnel.statistics().queued_data_bytes == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(BODIES)), st.data())
def test_hostile_json_only_raises_protocol_errors(name: str, data: st.DataObject) -> None:
    """A valid body with one member replaced by anything, or anything at all."""
    valid = next(vector["json"] for vector in VECTORS["valid"] if vector["type"] == name)
    body = dict(valid)
    target = body
    if name == "DONE" and data.draw(st.booleans()):
        target = body["statement"] = dict(body["statement"])
    target[data.draw(st.sampled_from(sorted(target)) | st.text(max_size=5))] = data.draw(json_values)
    whole = data.draw(st.sampled_from([body, data.draw(json_values)]))
    payload = json.dumps(whole).encode()
    try:
        decoded = BODIES[name].decode(payload)
    except ProtocolError:
        return
    assert BODIES[name].decode(decoded.encode()) == decoded
    assert len(decoded.encode()) <= limits.FRAME_PAYLOAD_MAX_BYTES


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"[" * 60_000, "maximum recursion depth"),
        (b'{"a":' * 12_000, "maximum recursion depth"),
        (b'{"slots":' + b"9" * 60_000 + b"}", "limit .* for integer string conversion"),
        (b'{"slots":1e5}', "1e5 is not an integer"),
        (b'{"slots":NaN}', "NaN is not JSON"),
        (b"\xff", "can't decode byte 0xff"),
    ],
)
def test_json_bombs_are_refused(payload: bytes, rule: str) -> None:
    with pytest.raises(ProtocolError, match=rule):
        Slots.decode(payload)


def test_the_largest_head_of_a_request_fits_into_a_frame() -> None:
    """Bounds of target and headers are chosen so that what passes them passes the frame."""
    value = '"' * (limits.HEADERS_MAX_CHARS // limits.HEADERS_MAX_COUNT - 1)
    headers = tuple(("x", value) for _ in range(limits.HEADERS_MAX_COUNT))
    largest = Open(
        "0" * 32, 1_000_000, "d" * 64, "M" * 32, "/" + '"' * (limits.TARGET_MAX_CHARS - 1), headers, 2**53 - 1, 2**31
    )
    assert Open.decode(encode(frames.OPEN, 1, largest.encode())[8:]) == largest
