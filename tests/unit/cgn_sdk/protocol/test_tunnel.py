"""The multiplexer: two cores joined by a false wire, assertions at both ends (N-1, N-10, N-17)."""

from collections.abc import Sequence

import pytest
from cgn_sdk.protocol import frames, limits
from cgn_sdk.protocol.errors import ProtocolError
from cgn_sdk.protocol.messages import (
    Cancel,
    Capabilities,
    Done,
    DServiceOffer,
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
from cgn_sdk.protocol.tunnel import (
    Acknowledged,
    Cancelled,
    DataReceived,
    Event,
    Failed,
    Finished,
    HeadReceived,
    Opened,
    Progressed,
    Sealed,
    Tunnel,
    Writable,
)

HELLO = Hello(
    "con_a", "min_a", "cgn_k_s", (DServiceOffer("noop", "1"),), "process", Capabilities(2, 9000, 2**30), 4, "ab" * 32
)
WELCOME = Welcome("pa", "1", (DServiceOffer("noop", "1"),), 20_000, "nod_a")
HEAD = Head(200, (("content-type", "text/plain"),), None)


def an_open(number: int = 1, body_bytes: int | None = None) -> Open:
    return Open(f"{number:032x}", 1, "noop", "POST", "/noop/1", (("accept", "*/*"),), 30_000, body_bytes)


def a_statement(number: int = 1) -> Statement:
    return Statement(f"{number:032x}", 1, "min_a", "noop", "1", 200, "00" * 32, 2, 0, 5, 7, 9)


def false_seal(digests: Sequence[bytes]) -> Seal:
    return Seal(len(digests), "cd" * 64)


class Pair:
    """Node and miner with nothing but memory between them."""

    def __init__(self, *, greet: bool = True, streams_max: int = limits.STREAMS_MAX) -> None:
        self.node = Tunnel("node", streams_max=streams_max)
        self.miner = Tunnel("miner", seal=false_seal)
        if greet:
            self.miner.send_hello(HELLO)
            assert self.to_node() == [HELLO]
            self.node.send_welcome(WELCOME)
            assert self.to_miner() == [WELCOME]

    def to_node(self) -> list[Event]:
        return self._move(self.miner, self.node)

    def to_miner(self) -> list[Event]:
        return self._move(self.node, self.miner)

    @staticmethod
    def _move(source: Tunnel, target: Tunnel) -> list[Event]:
        events: list[Event] = []
        while message := source.data_to_send():
            assert len(message) <= limits.MESSAGE_MAX_BYTES
            events += target.receive(message)
        return events

    def opened(self, number: int = 1, *, end: bool = True) -> int:
        """A stream that both ends know, acknowledged."""
        stream = self.node.open(an_open(number), end=end)
        assert self.to_miner() == [Opened(stream, an_open(number), end)]
        self.miner.acknowledge(stream)
        assert self.to_node() == [Acknowledged(stream)]
        return stream


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_a_whole_request_in_one_message_each_way(pair: Pair) -> None:
    stream = pair.node.open(an_open(), end=False)
    pair.node.data(stream, b"question", end=True)
    first = pair.node.data_to_send()
    assert pair.node.data_to_send() == b""
    assert pair.miner.receive(first) == [Opened(1, an_open(), False), DataReceived(1, b"question", True)]
    pair.miner.acknowledge(stream)
    pair.miner.head(stream, HEAD)
    pair.miner.data(stream, b"answer", end=True)
    pair.miner.done(stream, Done(a_statement(), {"pages": "3"}))
    answer = pair.miner.data_to_send()
    assert pair.miner.data_to_send() == b""
    digest = a_statement().digest()
    assert pair.node.receive(answer) == [
        Acknowledged(1),
        HeadReceived(1, HEAD, False),
        DataReceived(1, b"answer", True),
        Finished(1, Done(a_statement(), {"pages": "3"}), digest),
        Sealed(Seal(1, "cd" * 64), (digest,)),
    ]
    assert not pair.node.is_open(1)
    assert not pair.miner.is_open(1)
    assert pair.node.statistics().open_streams == pair.miner.statistics().open_streams == 0


def test_responses_without_a_body_end_with_their_head(pair: Pair) -> None:
    stream = pair.opened()
    pair.miner.head(stream, Head(204, (), 0), end=True)
    pair.miner.done(stream, Done(a_statement()))
    kinds = [type(event) for event in pair.to_node()]
    assert kinds == [HeadReceived, Finished, Sealed]


def test_one_seal_stands_behind_all_done_frames_of_a_message(pair: Pair) -> None:
    streams = [pair.opened(number) for number in (1, 2, 3)]
    for stream in streams:
        pair.miner.head(stream, HEAD)
        pair.miner.data(stream, b"x", end=True)
        pair.miner.done(stream, Done(a_statement(stream)))
    events = pair.to_node()
    assert isinstance(events[-1], Sealed)
    assert [event.stream for event in events if isinstance(event, Finished)] == streams
    assert events[-1].digests == tuple(a_statement(stream).digest() for stream in streams)


def test_control_frames_pass_data_that_waits(pair: Pair) -> None:
    stream = pair.opened(1)
    pair.miner.head(stream, HEAD)
    pair.miner.data(stream, bytes(limits.INITIAL_CREDIT_BYTES))
    pair.miner.data_to_send(limits.FRAME_MAX_BYTES + limits.SEAL_FRAME_MAX_BYTES)
    pair.miner.send_slots(Slots(7))
    following = frames.decode_message(pair.miner.data_to_send())
    assert [frames.NAMES[frame.type] for frame in following] == ["SLOTS", "DATA", "DATA", "DATA"]


def test_data_of_different_streams_takes_turns(pair: Pair) -> None:
    streams = [pair.opened(number) for number in (1, 2, 3)]
    for stream in streams:
        pair.miner.head(stream, HEAD)
        pair.miner.data(stream, bytes(100_000))
    pair.miner.data_to_send(
        limits.FRAME_MAX_BYTES + limits.SEAL_FRAME_MAX_BYTES
    )  # the heads; no frame fits behind them
    order = [frame.stream for _ in range(2) for frame in frames.decode_message(pair.miner.data_to_send())]
    assert order == [1, 2, 3, 1, 2, 3]


def test_small_writes_of_a_stream_leave_in_one_frame(pair: Pair) -> None:
    stream = pair.opened()
    pair.miner.head(stream, HEAD)
    for _ in range(50):
        pair.miner.data(stream, b"abc")
    pair.miner.data(stream, b"", end=True)
    data = [event for event in pair.to_node() if isinstance(event, DataReceived)]
    assert data == [DataReceived(stream, b"abc" * 50, True)]


def test_a_reader_that_does_not_read_stops_only_its_own_stream(pair: Pair) -> None:
    """Credit: the sender's queue and the wire hold at most the initial credit of the stream that is not read."""
    slow, quick = pair.opened(1), pair.opened(2)
    for stream in (slow, quick):
        pair.miner.head(stream, HEAD)
    pair.miner.data(slow, bytes(pair.miner.writable(slow)))
    assert pair.miner.writable(slow) == 0
    pair.to_node()
    pair.miner.data(quick, b"still here", end=True)
    assert pair.to_node() == [DataReceived(quick, b"still here", True)]
    assert pair.miner.writable(slow) == 0
    pair.node.consumed(slow, limits.CREDIT_RETURN_BYTES)
    assert pair.to_miner() == [Writable(slow)]
    assert pair.miner.writable(slow) == limits.CREDIT_RETURN_BYTES


def test_credit_returns_in_portions_and_not_after_the_end(pair: Pair) -> None:
    stream = pair.opened()
    pair.miner.head(stream, HEAD)
    pair.miner.data(stream, bytes(100_000))
    pair.to_node()
    pair.node.consumed(stream, limits.CREDIT_RETURN_BYTES - 1)
    assert not pair.node.has_data_to_send
    pair.node.consumed(stream, 1)
    assert pair.node.has_data_to_send
    pair.to_miner()
    pair.miner.data(stream, bytes(100_000), end=True)
    pair.to_node()
    pair.node.consumed(stream, 100_000)
    assert not pair.node.has_data_to_send


def test_the_node_writes_no_more_than_it_has_credit_for(pair: Pair) -> None:
    stream = pair.node.open(an_open(), end=False)
    with pytest.raises(AssertionError):
        pair.node.data(stream, bytes(limits.INITIAL_CREDIT_BYTES + 1))


def test_done_waits_for_the_last_data_and_survives_a_full_message(pair: Pair) -> None:
    stream = pair.opened()
    pair.miner.head(stream, HEAD)
    pair.miner.data(stream, bytes(limits.INITIAL_CREDIT_BYTES), end=True)
    pair.miner.done(stream, Done(a_statement()))
    assert not pair.miner.is_open(stream)
    events = pair.to_node()
    assert [type(event) for event in events[-2:]] == [Finished, Sealed]
    assert sum(len(event.data) for event in events if isinstance(event, DataReceived)) == limits.INITIAL_CREDIT_BYTES


def test_fail_and_cancel_drop_what_is_queued(pair: Pair) -> None:
    failing, cancelled = pair.opened(1), pair.opened(2, end=False)
    pair.miner.head(failing, HEAD)
    pair.miner.data(failing, bytes(1000))
    pair.miner.fail(failing, Fail("dservice_crashed", "exit status 1"))
    pair.node.data(cancelled, bytes(1000))
    pair.node.cancel(cancelled, Cancel())
    assert pair.to_node() == [HeadReceived(1, HEAD, False), Failed(failing, Fail("dservice_crashed", "exit status 1"))]
    assert pair.to_miner() == [Cancelled(cancelled, Cancel())]
    for end in (pair.node, pair.miner):
        assert end.statistics().queued_data_bytes == 0
        assert end.statistics().open_streams == 0


def test_both_ends_may_end_a_stream_at_once(pair: Pair) -> None:
    """What crosses on the wire is dropped at both ends; a DONE that is dropped still counts for the seal."""
    stream, other = pair.opened(1), pair.opened(2)
    pair.node.cancel(stream, Cancel())
    for number in (stream, other):
        pair.miner.head(number, HEAD)
        pair.miner.progress(number, Progress(500_000, "half"))
        pair.miner.data(number, b"late", end=True)
        pair.miner.done(number, Done(a_statement(number)))
    events = pair.to_node()
    assert {event.stream for event in events if not isinstance(event, Sealed)} == {other}
    assert events[-1] == Sealed(Seal(2, "cd" * 64), (a_statement(1).digest(), a_statement(2).digest()))
    assert pair.to_miner() == []
    pair.node.consumed(stream, 0)
    pair.node.data(stream, b"too late")
    pair.miner.data(stream, b"too late")
    pair.miner.fail(stream, Fail("internal"))
    assert pair.node.data_to_send() == pair.miner.data_to_send() == b""


def test_a_cancel_while_done_waits_ends_the_stream(pair: Pair) -> None:
    stream = pair.opened()
    pair.miner.head(stream, HEAD)
    pair.miner.data(stream, bytes(200_000), end=True)
    pair.miner.done(stream, Done(a_statement()))
    pair.miner.data_to_send(limits.FRAME_MAX_BYTES + limits.SEAL_FRAME_MAX_BYTES)
    pair.node.cancel(stream, Cancel())
    assert pair.to_miner() == []  # the application has finished with it already
    assert pair.miner.data_to_send() == b""
    assert pair.miner.statistics().open_streams == pair.miner.statistics().queued_data_bytes == 0


def test_an_answer_may_come_before_the_request_has_ended(pair: Pair) -> None:
    stream = pair.opened(end=False)
    pair.node.data(stream, b"part")
    pair.to_miner()
    pair.miner.head(stream, Head(413, (), 0), end=True)
    pair.miner.done(stream, Done(a_statement()))
    pair.node.data(stream, b"under way")
    assert [type(event) for event in pair.to_node()] == [HeadReceived, Finished, Sealed]
    assert pair.to_miner() == []


def test_goaway_and_progress_arrive(pair: Pair) -> None:
    stream = pair.opened()
    pair.miner.progress(stream, Progress(250_000, "page 1 of 4"))
    pair.miner.send_goaway(GoAway("draining"))
    assert pair.to_node() == [Progressed(stream, Progress(250_000, "page 1 of 4")), GoAway("draining")]


def test_ids_are_not_used_twice_and_run_out(pair: Pair) -> None:
    pair.node._last_opened = pair.miner._last_opened = limits.STREAM_ID_MAX - 1
    pair.opened()
    assert not pair.node.can_open


def test_streams_are_bounded_at_both_ends() -> None:
    pair = Pair(streams_max=2)
    pair.opened(1), pair.opened(2)
    assert not pair.node.can_open
    strict = Tunnel("miner", seal=false_seal, streams_max=1)
    strict.receive(frames.encode(frames.WELCOME, 0, WELCOME.encode()))
    strict.receive(frames.encode(frames.OPEN, 1, an_open().encode()))
    with pytest.raises(ProtocolError, match="more than 1 open"):
        strict.receive(frames.encode(frames.OPEN, 2, an_open().encode()))


OPEN_1 = frames.encode(frames.OPEN, 1, an_open().encode())
DONE_1 = frames.encode(frames.DONE, 1, Done(a_statement()).encode())
HEAD_1 = frames.encode(frames.HEAD, 1, HEAD.encode())
ACK_1 = frames.encode(frames.ACK, 1)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (frames.encode(frames.HELLO, 0, HELLO.encode()), "second HELLO"),
        (frames.encode(frames.WELCOME, 0, WELCOME.encode()), "not for the node"),
        (OPEN_1, "not for the node"),
        (frames.encode(frames.CANCEL, 1, b"{}"), "not for the node"),
        (frames.encode(frames.ACK, 2), "never opened"),
        (frames.encode(frames.DATA, 9, b"x"), "never opened"),
        (frames.encode(frames.ACK, 1, b"x"), "ACK is empty"),
        (ACK_1 * 2, "second ACK"),
        (HEAD_1, "not acknowledged"),
        (ACK_1 + HEAD_1 * 2, "has one"),
        (ACK_1 + frames.encode(frames.DATA, 1, b"x"), "before HEAD"),
        (ACK_1 + HEAD_1 + frames.encode(frames.DATA, 1), "without bytes"),
        (ACK_1 + HEAD_1 + frames.encode(frames.DATA, 1, b"x", frames.END) * 2, "after the end"),
        (ACK_1 + HEAD_1 + DONE_1, "before the end"),
        (frames.encode(frames.CREDIT, 1, b"\x00\x00\x00\x00"), "above 0"),
        (frames.encode(frames.CREDIT, 1, b"\x01"), "above 0"),
        (frames.encode(frames.CREDIT, 1, b"\x7f\x00\x00\x00"), "passes"),
        (frames.encode(frames.SEAL, 0, false_seal([b""]).encode()), "after 0 DONE"),
        (frames.encode(frames.PROGRESS, 1, Progress(1).encode()), "not acknowledged"),
        (frames.encode(frames.SLOTS, 0, b'{"slots":-1}'), "SLOTS.slots"),
        (frames.encode(frames.SLOTS, 0, b"[]"), "not a JSON object"),
    ],
)
def test_violations_by_a_miner(pair: Pair, message: bytes, reason: str) -> None:
    pair.node.open(an_open(), end=True)
    with pytest.raises(ProtocolError, match=reason) as caught:
        pair.node.receive(message)
    assert caught.value.close_code == 4400


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (frames.encode(frames.WELCOME, 0, WELCOME.encode()), "second WELCOME"),
        (frames.encode(frames.HELLO, 0, HELLO.encode()), "not for the miner"),
        (frames.encode(frames.OPEN, 3, an_open().encode()), "OPEN of stream 3 after 0"),
        (OPEN_1 * 2, "OPEN of stream 1 after 1"),
        (frames.encode(frames.OPEN, 1, an_open().encode(), frames.END) + frames.encode(frames.DATA, 1, b"x"), "after"),
        (OPEN_1 + b"".join(frames.encode(frames.DATA, 1, bytes(60_000)) for _ in range(4)), ""),
        (frames.encode(frames.CANCEL, 1, b'{"code":"cancelled"}'), "never opened"),
        (ACK_1, "not for the miner"),
    ],
)
def test_violations_by_a_node(pair: Pair, message: bytes, reason: str) -> None:
    if not reason:
        pair.miner.receive(message)  # within credit
        message, reason = frames.encode(frames.DATA, 1, bytes(60_000)), "had credit for"
    with pytest.raises(ProtocolError, match=reason):
        pair.miner.receive(message)


def test_nothing_comes_before_the_greeting() -> None:
    pair = Pair(greet=False)
    with pytest.raises(ProtocolError, match="before the greeting"):
        pair.node.receive(frames.encode(frames.SLOTS, 0, b'{"slots":1}'))
    with pytest.raises(ProtocolError, match="before the greeting"):
        pair.miner.receive(OPEN_1)
    assert not Tunnel("node").can_open


@pytest.mark.parametrize("queued", [0, 1_000])
def test_credit_is_bounded_with_what_is_queued(queued: int) -> None:
    """What waits here was granted too: the bound is over both, at n and at n + 1."""
    for too_much in (0, 1):
        pair = Pair()
        stream = pair.opened(end=False)
        if queued:
            pair.node.data(stream, bytes(queued))
        more = limits.CREDIT_MAX_BYTES - limits.INITIAL_CREDIT_BYTES + too_much
        message = frames.encode(frames.CREDIT, stream, more.to_bytes(4, "big"))
        if too_much:
            with pytest.raises(ProtocolError, match="credit of stream"):
                pair.node.receive(message)
        else:
            assert pair.node.receive(message) == [Writable(stream)]
            assert pair.node.writable(stream) + queued == limits.CREDIT_MAX_BYTES


def finished(pair: Pair, streams: int) -> bytes:
    """Streams that are answered; returns the DONE frame of the first."""
    for stream in range(1, streams + 1):
        pair.node.open(an_open(stream), end=True)
        pair.node.receive(frames.encode(frames.ACK, stream))
        pair.node.receive(frames.encode(frames.HEAD, stream, HEAD.encode(), frames.END))
    return frames.encode(frames.DONE, 1, Done(a_statement()).encode())


def test_statements_under_one_seal_are_bounded() -> None:
    """At n they are sealed, at n + 1 the miner is hung up on. (What was cancelled counts too: the miner has signed it.)"""
    bound = 3
    for count in (bound, bound + 1):
        pair = Pair(streams_max=bound)
        message = finished(pair, 1) * count + frames.encode(frames.SEAL, 0, Seal(count, "cd" * 64).encode())
        if count > bound:
            with pytest.raises(ProtocolError, match="3 DONE frames without a SEAL"):
                pair.node.receive(message)
        else:
            sealed = pair.node.receive(message)[-1]
            assert isinstance(sealed, Sealed)
            assert len(sealed.digests) == count


@pytest.mark.parametrize("said", [1, 3])
def test_a_seal_counts_the_statements_before_it(said: int) -> None:
    pair = Pair()
    message = finished(pair, 1) * 2 + frames.encode(frames.SEAL, 0, Seal(said, "cd" * 64).encode())
    with pytest.raises(ProtocolError, match=f"SEAL over {said} statements after 2"):
        pair.node.receive(message)


def test_a_done_without_its_seal_is_a_violation() -> None:
    """The interface says that a SEAL ends the message; who would wait for a later one would wait for ever."""
    pair = Pair()
    with pytest.raises(ProtocolError, match="SEAL"):
        pair.node.receive(finished(pair, 1))


def test_a_reader_that_stops_and_resumes_gets_everything(pair: Pair) -> None:
    """Credit is given back for what was read, again and again: a body many times as long as the credit arrives whole."""
    stream = pair.opened(end=False)
    total, sent, arrived, kept = 20 * limits.INITIAL_CREDIT_BYTES + 17, 0, 0, 0
    stops = 0
    while arrived < total:
        size = min(pair.node.writable(stream), total - sent)
        pair.node.data(stream, bytes(size), end=sent + size == total) if size else None
        sent += size
        for event in pair.to_miner():
            assert isinstance(event, DataReceived)
            kept += len(event.data)
        assert kept <= limits.INITIAL_CREDIT_BYTES, "what is not read is bounded"
        if not size:
            stops += 1
        pair.miner.consumed(stream, kept)  # it reads on
        arrived, kept = arrived + kept, 0
        pair.to_node()
        assert stops < 100
    assert sent == total


def test_credit_below_a_portion_is_not_lost(pair: Pair) -> None:
    """Bytes read one by one add up to portions; none is forgotten."""
    stream = pair.opened(end=False)
    pair.node.data(stream, bytes(limits.INITIAL_CREDIT_BYTES))
    pair.to_miner()
    assert pair.node.writable(stream) == 0
    step = limits.CREDIT_RETURN_BYTES // 3
    for _ in range(limits.INITIAL_CREDIT_BYTES // step):
        pair.miner.consumed(stream, step)
    pair.miner.consumed(stream, limits.INITIAL_CREDIT_BYTES % step)
    pair.to_node()
    given = pair.node.writable(stream)
    assert limits.INITIAL_CREDIT_BYTES - limits.CREDIT_RETURN_BYTES < given <= limits.INITIAL_CREDIT_BYTES
