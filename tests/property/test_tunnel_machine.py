"""Two multiplexers joined by a false wire that delays, driven at random, with an auditor that keeps its own books
(N-1).

Held after every step: credit is conserved on each stream in each direction; queues stay within credit. Held at the
end, when the wire has delivered everything: what arrived is what was sent, byte for byte; both ends agree on which
streams are open; every DONE was sealed in order.
"""

from collections import deque

from cgn_sdk.protocol import frames, limits
from cgn_sdk.protocol.messages import (
    Cancel,
    Capabilities,
    Done,
    Fail,
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
    Sealed,
    Tunnel,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

SIZES = st.one_of(st.integers(1, 3_000), st.sampled_from([65_528, 65_529, 130_000, 262_144]))
HEAD = Head(200, (), None)


class Stream:
    """What the auditor knows of one stream."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent = {"node": bytearray(), "miner": bytearray()}
        self.received = {"node": bytearray(), "miner": bytearray()}
        self.ended = {"node": False, "miner": False}
        self.unread = {"node": 0, "miner": 0}
        self.opened = self.acknowledged = self.headed = self.done = False
        self.outcome = ""
        """How the miner or the node ended it: done, fail or cancel."""


class TunnelMachine(RuleBasedStateMachine):
    @initialize()
    def greet(self) -> None:
        self.sealed_by_miner: list[bytes] = []
        self.ends = {"node": Tunnel("node"), "miner": Tunnel("miner", seal=self.seal)}
        self.wire: dict[str, deque[bytes]] = {"node": deque(), "miner": deque()}  # by sender
        self.streams: dict[int, Stream] = {}
        self.finished: list[bytes] = []
        self.seals: list[bytes] = []
        self.fill = 0
        capabilities = Capabilities(1, 1, 1)
        self.ends["miner"].send_hello(Hello("con_a", "min_a", "k", (), "process", capabilities, 1, "ab" * 32))
        self.leave("miner", limits.MESSAGE_MAX_BYTES)
        self.arrive("miner")
        self.ends["node"].send_welcome(Welcome("pa", "1", (), 20_000, "nod_a"))
        self.leave("node", limits.MESSAGE_MAX_BYTES)
        self.arrive("node")

    def seal(self, digests: list[bytes]) -> Seal:
        self.sealed_by_miner += digests
        return Seal(len(digests), "cd" * 64)

    def pick(self, data: st.DataObject) -> Stream:
        usual = [number for number in self.streams if self.ends["node"].is_open(number)][:1]
        return self.streams[data.draw(st.sampled_from(usual * 5 + sorted(self.streams)))]

    # --- what applications do ---

    @precondition(lambda self: len(self.streams) < 5)
    @rule(end=st.booleans())
    def open(self, end: bool) -> None:
        number = len(self.streams) + 1
        opened = self.ends["node"].open(Open(f"{number:032x}", 1, "d", "GET", "/", (), 1, None), end=end)
        assert opened == number
        self.streams[number] = Stream(number)
        self.streams[number].ended["node"] = end

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), side=st.sampled_from(["node", "miner"]), size=SIZES, end=st.booleans())
    def write(self, data: st.DataObject, side: str, size: int, end: bool) -> None:
        stream = self.pick(data)
        end_of = self.ends[side]
        ready = stream.headed if side == "miner" else True
        if not ready or stream.ended[side] or not end_of.is_open(stream.number):
            return
        size = min(size, end_of.writable(stream.number))
        self.fill = (self.fill + 1) % 256
        content = bytes([self.fill]) * size
        end_of.data(stream.number, content, end=end)
        stream.sent[side] += content
        stream.ended[side] = end

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), side=st.sampled_from(["node", "miner"]), size=SIZES)
    def transfer(self, data: st.DataObject, side: str, size: int) -> None:
        """Written, delivered, consumed."""
        self.write(data=data, side=side, size=size, end=False)
        self.deliver()
        other = "miner" if side == "node" else "node"
        self.consume(data=data, side=other, part=1)

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def cancel_what_is_finished_over_there(self, data: st.DataObject) -> None:
        """The two cross on the wire."""
        stream = self.pick(data)
        if stream.outcome == "done" and self.ends["node"].is_open(stream.number):
            self.leave("miner", limits.MESSAGE_MAX_BYTES)
            self.ends["node"].cancel(stream.number, Cancel())
            stream.outcome = "cancel"

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), side=st.sampled_from(["node", "miner"]), part=st.integers(1, 4))
    def consume(self, data: st.DataObject, side: str, part: int) -> None:
        stream = self.pick(data)
        size = stream.unread[side] // part
        stream.unread[side] -= size
        self.ends[side].consumed(stream.number, size)

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), size=SIZES)
    def write_all_and_finish(self, data: st.DataObject, size: int) -> None:
        """An answer in one go, as most are."""
        stream, miner = self.pick(data), self.ends["miner"]
        if stream.headed and not stream.ended["miner"] and miner.is_open(stream.number):
            content = b"z" * min(size, miner.writable(stream.number))
            miner.data(stream.number, content, end=True)
            stream.sent["miner"] += content
            stream.ended["miner"] = True
            self.finish(stream)

    def finish(self, stream: Stream) -> None:
        statement = Statement(f"{stream.number:032x}", 1, "m", "d", "1", 200, "00" * 32, 0, 0, 0, 0, 0)
        self.ends["miner"].done(stream.number, Done(statement))
        stream.outcome = stream.outcome or "done"

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), what=st.sampled_from(["head", "progress", "done", "done", "fail"]))
    def answer(self, data: st.DataObject, what: str) -> None:
        stream, miner = self.pick(data), self.ends["miner"]
        if not stream.opened or not miner.is_open(stream.number):
            return
        if what == "head" and not stream.headed:
            miner.head(stream.number, HEAD)
            stream.headed = True
        elif what == "progress":
            miner.progress(stream.number, Progress(1))
        elif what == "done" and stream.ended["miner"]:
            self.finish(stream)
        elif what == "fail":
            miner.fail(stream.number, Fail("internal"))
            stream.outcome = stream.outcome or "fail"

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        stream = self.pick(data)
        if self.ends["node"].is_open(stream.number):
            self.ends["node"].cancel(stream.number, Cancel())
            stream.outcome = "cancel"

    @rule(slots=st.integers(0, 5))
    def tell_slots(self, slots: int) -> None:
        self.ends["miner"].send_slots(Slots(slots))

    # --- the wire ---

    @rule(side=st.sampled_from(["node", "miner"]), max_bytes=st.integers(70_000, limits.MESSAGE_MAX_BYTES))
    def leave(self, side: str, max_bytes: int) -> None:
        message = self.ends[side].data_to_send(max_bytes)
        assert len(message) <= max_bytes
        if message:
            self.wire[side].append(message)
            run = frames.decode_message(message)
            kinds = [frame.type for frame in run]
            if frames.DONE in kinds:
                assert kinds[-1] == frames.SEAL
                assert kinds.count(frames.SEAL) == 1
        else:
            assert not self.ends[side].statistics().queued_data_bytes

    @rule(side=st.sampled_from(["node", "miner"]))
    def arrive(self, side: str) -> None:
        if self.wire[side]:
            other = "miner" if side == "node" else "node"
            for event in self.ends[other].receive(self.wire[side].popleft()):
                self.record(other, event)

    @rule()
    def deliver(self) -> None:
        for side in ("node", "miner", "node", "miner"):
            self.leave(side, limits.MESSAGE_MAX_BYTES)
            self.arrive(side)

    def record(self, side: str, event: Event) -> None:
        stream = self.streams.get(getattr(event, "stream", 0))
        if isinstance(event, Sealed):
            self.seals += event.digests
        elif stream is None:
            return
        elif isinstance(event, Opened):
            stream.opened = stream.acknowledged = True
            self.ends["miner"].acknowledge(event.stream)
            if event.stream % 3:  # most answer at once
                self.ends["miner"].head(event.stream, HEAD)
                stream.headed = True
        elif isinstance(event, DataReceived):
            stream.received[side] += event.data
            stream.unread[side] += len(event.data)
        elif isinstance(event, Acknowledged):
            assert stream.acknowledged
        elif isinstance(event, HeadReceived):
            assert event.message == HEAD
        elif isinstance(event, Finished):
            assert not stream.done and stream.outcome == "done"
            assert stream.received["node"] == stream.sent["miner"]
            stream.done = True
            self.finished.append(event.digest)
        elif isinstance(event, Failed):
            assert stream.outcome == "fail"
        elif isinstance(event, Cancelled):
            assert stream.outcome == "cancel"

    # --- what holds always ---

    def frames_under_way(self, side: str, type_: int, stream: int) -> list[bytes]:
        """Payloads of this stream's frames that have left or are about to, and have not arrived."""
        messages = [*self.wire[side], b"".join(self.ends[side]._control)]
        return [
            frame.payload
            for message in messages
            for frame in frames.Decoder().feed(message)
            if frame.type == type_ and frame.stream == stream
        ]

    @invariant()
    def credit_is_conserved(self) -> None:
        for number in getattr(self, "streams", {}):
            for sender, receiver in (("node", "miner"), ("miner", "node")):
                here, there = self.ends[sender]._streams.get(number), self.ends[receiver]._streams.get(number)
                if here is None or there is None:
                    continue
                data = sum(map(len, self.frames_under_way(sender, frames.DATA, number)))
                credit = [int.from_bytes(one, "big") for one in self.frames_under_way(receiver, frames.CREDIT, number)]
                total = here.send_credit + here.queued_bytes + data + there.unconsumed + there.to_return + sum(credit)
                if not there.ending:  # what it drops then is no longer counted
                    assert total == limits.INITIAL_CREDIT_BYTES
                assert there.receive_credit == here.send_credit + here.queued_bytes + data + sum(credit)
                assert here.queued_bytes == sum(map(len, here.chunks)) <= limits.INITIAL_CREDIT_BYTES

    @invariant()
    def statistics_agree_with_the_queues(self) -> None:
        for end in getattr(self, "ends", {}).values():
            assert end.statistics().queued_control_bytes == sum(map(len, end._control))
            assert end.statistics().queued_data_bytes == sum(one.queued_bytes for one in end._streams.values())

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        for _ in range(1_000):
            for side in ("node", "miner"):
                self.leave(side, limits.MESSAGE_MAX_BYTES)
                self.arrive(side)
                self.credit_is_conserved()
            if not any(end.has_data_to_send for end in self.ends.values()) and not any(self.wire.values()):
                break
        else:
            raise AssertionError("the wire does not come to rest")
        node, miner = self.ends["node"], self.ends["miner"]
        assert node._streams.keys() == miner._streams.keys()
        assert self.seals == self.sealed_by_miner
        assert not node._unsealed
        assert [digest for digest in self.seals if digest in set(self.finished)] == self.finished
        for stream in self.streams.values():
            if stream.outcome != "cancel":
                assert stream.outcome == "fail" or stream.received["node"] == stream.sent["miner"]
            assert stream.sent["miner"].startswith(stream.received["node"])
            assert stream.sent["node"].startswith(stream.received["miner"])


TestTunnelMachine = TunnelMachine.TestCase
TestTunnelMachine.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
