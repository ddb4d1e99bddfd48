"""The broker and the adapters of the product, joined: real driver, requests, bodies, tunnels of both ends, seals and
rows; false are only the sockets, the disk and the clock. The auditor of the simulation watches the same broker.

What the simulation alone cannot see: an event that no adapter posts, bytes that leave before they are priced, a row that
cannot be built, an attempt that is resumed with other bytes.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import node_world as support
import pytest
from cgn_sdk import signing
from cgn_sdk.protocol import link, messages, receipt, tunnel
from cgn_sdk.protocol.row import Row

from cgn_node import miner_endpoint
from cgn_node.bodies import HeldMemory, RequestBody
from cgn_node.core import commands, events
from cgn_node.core.broker import Broker
from cgn_node.core.settings import BrokerSettings
from cgn_node.driver import Driver
from cgn_node.miner_endpoint import MinerTunnel
from cgn_node.policy import PolicyView
from cgn_node.recorder import row_of
from cgn_node.sessions import Account, Session
from cgn_node.simulation.auditor import Auditor
from cgn_node.work_order import FinishedAttempt, WorkOrder
from cgn_node.work_request import WorkRequest

HELD_BYTES = 40_000
REQUESTS = 30
SEEDS = range(1, 101)
SETTINGS = BrokerSettings(acknowledge_ms=1_000, silence_ms=1_500, grace_ms=3_000)
OPERATOR = link.Party(support.public_id("f"), support.address("3"), "opr_" + "f" * 20)


@cache
def content_of(target: str) -> bytes:
    """What the DService answers to a target: the same on every miner."""
    size = int(target.rsplit("/", 1)[1])
    return bytes((position * 7 + size) % 251 for position in range(size))


class Watched:
    """The broker as the driver sees it, with the auditor behind its back."""

    def __init__(self, broker: Broker, auditor: Auditor) -> None:
        self.broker = broker
        self.auditor = auditor
        self.events = 0
        self.next_deadline = broker.next_deadline

    def handle(self, event: events.Event, now_ms: int) -> list[commands.Command]:
        self.auditor.told(event, now_ms)
        given = self.broker.handle(event, now_ms)
        self.auditor.commanded(given)
        self.events += 1
        if self.events % 16 == 0:
            self.broker.check()
        return given


class VirtualDriver(Driver):
    """Ticks when the world says so."""

    def _set_timer(self) -> None: ...


@dataclass(eq=False)
class FalseExchange:
    """The DApp's end of a request: what it has been given."""

    target: str
    head: Any = None
    open: bool = True
    started: bool = False
    status: int = 0
    got: bytes = b""
    ended: str = ""
    bytes_out: int = 0
    peer: str = "dapp"

    def start(self, status: int, headers: Any, body_bytes: int | None) -> None:
        self.started, self.status = True, status

    def write(self, data: Any) -> bool:
        if self.open:
            self.got += data if isinstance(data, bytes) else data.load()
        return True

    def end(self) -> None:
        self._finish("whole")

    def answer(self, status: int, headers: Any, body: Any = b"") -> None:
        if self.open:
            self.status = status
            self.got = body if isinstance(body, bytes) else b"".join(piece.load() for piece in body)
            self._finish("whole")

    def refuse(self, status: int, body: bytes, headers: Any) -> None:
        if self.open:
            self.status = self.status or status
            self._finish("cut" if self.started else "refused")

    def abort(self) -> None:
        if self.open:
            self._finish("cut")

    def _finish(self, how: str) -> None:
        self.open, self.ended = False, self.ended or how

    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...


class FalseConnection:
    """A WebSocket whose other end is the world."""

    transport = SimpleNamespace(get_extra_info=lambda name: None)
    close_code = close_reason = request = None
    is_writable = True

    def __init__(self) -> None:
        self.sent: deque[bytes] = deque()
        self.taker: Any = None

    def attach(self, taker: Any) -> None:
        self.taker = taker

    def post(self, message: bytes) -> None:
        self.sent.append(message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.taker.on_lost()


@dataclass(eq=False)
class Job:
    """One attempt at a miner: its steps, the next one first."""

    stream: int
    message: messages.Open
    steps: deque[str] = field(default_factory=deque)
    sent: int = 0
    cpu_ns: int = 0


class JoinedMiner:
    """The miner's end of a tunnel, whose every step the world draws."""

    def __init__(self, world: "World", number: int) -> None:
        self.id = support.miner_id(number)
        self.key = signing.Signer(bytes([number + 1]) * 32)
        self.world = world
        self.jobs: dict[int, Job] = {}
        self.connection = FalseConnection()
        self.tunnel = tunnel.Tunnel("miner", seal=self._seal)
        self.node_end = MinerTunnel(next(world.numbers), self.connection, world.endpoint)  # type: ignore[arg-type]
        self.task = asyncio.create_task(self._run())
        self.gone = False

    async def _run(self) -> None:
        try:
            await self.node_end.link.run()
        finally:
            self.gone = True
            self.node_end.ended()

    def join(self) -> None:
        offers = (messages.DServiceOffer("noop", "1"),)
        capabilities = messages.Capabilities(4, 5_000, 8 * 2**30)
        hello = messages.Hello(
            support.CONTRIBUTOR, self.id, support.KEY, offers, "docker", capabilities, 3, self.key.public_key.hex()
        )
        self.tunnel.send_hello(hello)
        self.node_end.tunnel.receive(self.tunnel.data_to_send())
        self.node_end.miner_id, self.node_end.account_id = hello.miner_id, hello.account_id
        machine = link.Machine(4, 5_000, 8 * 2**30)
        party = link.Party(support.public_id("c"), support.address("2"), support.CONTRIBUTOR)
        self.node_end._join(hello, link.MinerGrant(self.id, support.public_id("m"), "2", party, None, machine))

    def _seal(self, digests: Any) -> messages.Seal:
        tree = receipt.seal_tree(digests)
        signed = self.key.sign(receipt.SEAL, receipt.seal_bytes(tree[-1][0], len(digests)))
        return messages.Seal(len(digests), signed.hex())

    def hear(self) -> None:
        """Takes what the node has sent."""
        while self.connection.sent:
            for event in self.tunnel.receive(self.connection.sent.popleft()):
                if isinstance(event, tunnel.Opened):
                    self.jobs[event.stream] = Job(event.stream, event.message, self.world.draw_steps(event.message))
                elif isinstance(event, tunnel.Cancelled):
                    self.jobs.pop(event.stream, None)

    def step(self, job: Job) -> None:
        """Does the next thing with one attempt, and tells the node."""
        random, stream, end = self.world.random, job.stream, self.tunnel
        content = content_of(job.message.target)
        match job.steps.popleft() if job.steps else "nothing":
            case "acknowledge":
                end.acknowledge(stream)
            case "progress":
                job.cpu_ns += random.randint(0, 20_000)
                end.progress(stream, messages.Progress(cpu_ns=job.cpu_ns))
            case "head":
                end.head(stream, messages.Head(200, (), len(content)))
            case "data":
                size = min(end.writable(stream), random.randint(1, 30_000), len(content) - job.sent)
                other = job.message.attempt > 1 and self.world.differs
                piece = bytes(size) if other else content[job.sent : job.sent + size]
                end.data(stream, piece, end=job.sent + size == len(content))
                job.sent += size
                if job.sent < len(content):
                    job.steps.appendleft("data")
            case "done":
                del self.jobs[stream]
                said = messages.Statement(
                    job.message.request_id, job.message.attempt, self.id, "noop", "1", 200,
                    sha256(content).hexdigest(), len(content), 0, job.cpu_ns + self.world.draw_lie(), 0, 0,
                )  # fmt: skip
                end.done(stream, messages.Done(said))
            case "fail":
                del self.jobs[stream]
                end.fail(stream, messages.Fail("dservice_crashed"))
            case "broken":
                del self.jobs[stream]
                end.fail(stream, messages.Fail("dservice_protocol", "", "status"))
            case "dear":
                del self.jobs[stream]
                budget = job.message.cpu_budget_ns
                assert budget is not None
                end.fail(stream, messages.Fail("price_cap", "", estimate_cpu_ns=budget + 1))
        while message := end.data_to_send():
            self.node_end.link.on_message(message)


class World:
    """One seed. `rows` by request id, `asked` the DApps' ends."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = Random(seed)
        self.folder = folder
        self.held_memory = HeldMemory(folder, self.random.choice((10**6, 0)))  # in memory, or in files
        self.disk: Any = SimpleNamespace(read=lambda load, then: then(load(), None))
        self.now_ms = 1_000
        self.numbers = iter(range(1, 10_000))
        self.differs = self.random.random() < 0.2
        self.faults = self.random.choice((0.0, 0.1, 0.3))
        self.auditor = Auditor(SETTINGS)
        watched: Any = Watched(Broker(SETTINGS), self.auditor)
        self.driver = VirtualDriver(watched, report=lambda command: None, clock_ms=lambda: self.now_ms)
        self.view = PolicyView.of(support.policy())
        self.endpoint: Any = SimpleNamespace(
            driver=self.driver, counters=Counter(), policy=lambda: self.view, draining=False, sandbox=False,
            node_id=support.NODE, proxies=None, turns=None,
        )  # fmt: skip
        self.welcome = link.NodeWelcome(support.public_id("n"), OPERATOR, self.view.policy)
        self.miners: list[JoinedMiner] = []
        self.asked: dict[str, FalseExchange] = {}
        self.requests: dict[str, WorkRequest] = {}
        self.rows: dict[str, Row] = {}
        self.pending: deque[Callable[[], Row]] = deque()
        self.finished: Counter[str] = Counter()
        grant = link.SessionGrant(support.ACCOUNT, support.public_id("e"), support.address("1"), "", ("2",), 30_000, 64)
        self.session = Session(Account(support.ACCOUNT, 64), grant, 10**12, b"", b"")
        self.driver.post(events.PolicyChanged(self.view.terms()))

    def draw_steps(self, message: messages.Open) -> deque[str]:
        random = self.random
        steps = ["acknowledge", *["progress"] * random.randint(0, 3), "head"]
        steps += ["data"] if int(message.target.rsplit("/", 1)[1]) else []
        steps += ["done"]
        if random.random() < self.faults:
            bad = random.choice(("fail", "broken", "silence", "dear"))
            if bad == "dear" and message.cpu_budget_ns is None:
                bad = "fail"
            at = random.randint(1, len(steps) - 1) if bad in ("fail", "silence") else 1
            steps[at:] = [] if bad == "silence" else [bad]
        return deque(steps)

    def draw_lie(self) -> int:
        """Nanoseconds of CPU time that nobody used."""
        return 10**15 if self.random.random() < self.faults / 4 else 0

    def arrive(self, number: int) -> None:
        random = self.random
        request_id = f"{number:032x}"
        size = random.choice((1, 500, HELD_BYTES, HELD_BYTES + 1, 200_000))
        cap = random.choice((None, None, 1_000, 50_000, 150_000, 10**9))
        target = f"/noop/{size}"
        exchange = FalseExchange(target, SimpleNamespace(method="GET", target=target, body_bytes=0))
        body = RequestBody(self.folder)
        body.end()
        deadline_ms = random.choice((2_000, 20_000, 60_000))
        order = WorkOrder(
            request_id, self.session, self.view, self.view.by_name["noop"], "GET", target, [], {},
            self.now_ms + deadline_ms, cap, True,
        )  # fmt: skip
        request = WorkRequest(
            order, exchange, body=body, held_bytes=HELD_BYTES, held_memory=self.held_memory,  # type: ignore[arg-type]
            driver=self.driver, disk=self.disk, admit=None, recorder=lambda *a: self.pending.append(partial(self.row_of, *a)),
            finished=lambda request: self.finished.update([request.id]),
        )  # fmt: skip
        self.asked[request_id], self.requests[request_id] = exchange, request
        arrived = events.RequestArrived(
            request_id, support.ACCOUNT, "noop", ("2",), deadline_ms, max_fee_nano_eur=cap, resumable=True
        )
        assert self.driver.take_on(request)
        self.driver.post(arrived)

    def row_of(self, order: WorkOrder, finished: FinishedAttempt, command: commands.RecordRow) -> Row:
        return row_of(order, finished, command, self.welcome, bytes(32))

    def record(self) -> None:
        """The disk's answer about the oldest row that waits."""
        row = self.pending.popleft()()
        assert row.row_id not in self.rows
        if self.random.random() < self.faults / 4:
            self.driver.post(events.RowRefused(row.row_id))
        else:
            self.rows[row.row_id] = row
            self.driver.post(events.RowStored(row.row_id))

    def leave(self) -> None:
        waiting = [request for request, exchange in self.asked.items() if exchange.open]
        if waiting:
            request = self.random.choice(waiting)
            self.asked[request].open = False
            self.asked[request].ended = "left"
            self.requests[request].peer_lost()

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        while (due := self.driver.broker.next_deadline()) is not None and due <= self.now_ms:
            self.driver.post(events.Tick())

    async def dial(self, number: int) -> None:
        miner = JoinedMiner(self, number)
        self.miners.append(miner)
        await asyncio.sleep(0)
        miner.join()

    async def run(self) -> None:
        for number in range(3):
            await self.dial(number)
        arrivals = 0
        while arrivals < REQUESTS or self.driver.requests:
            for _ in range(3):
                await asyncio.sleep(0)
            for miner in self.miners:
                miner.hear()
            kind = self.random.random()
            jobs = [(miner, job) for miner in self.miners if not miner.gone for job in miner.jobs.values() if job.steps]
            if kind < 0.15 and arrivals < REQUESTS:
                self.arrive(arrivals)
                arrivals += 1
            elif kind < 0.7 and jobs:
                miner, job = self.random.choice(jobs)
                miner.step(job)
            elif kind < 0.8 and self.pending:
                self.record()
            elif 0.8 < kind < 0.8 + self.faults / 20:
                self.leave()
            elif kind > 0.999 - self.faults / 100:
                self.random.choice(self.miners).connection.taker.on_lost()
            else:
                self.pass_time(self.random.choice((1, 20, 60) if jobs else (1, 300, 900)))
            await self._come_back()
        for miner in self.miners:
            miner.connection.taker.on_lost()
            await asyncio.gather(miner.task, return_exceptions=True)

    async def _come_back(self) -> None:
        for miner in [miner for miner in self.miners if miner.gone]:
            self.miners.remove(miner)
            await asyncio.gather(miner.task, return_exceptions=True)
            number = next(n for n in range(9) if support.miner_id(n) == miner.id)
            await self.dial(number)

    def verdicts(self) -> Counter[str]:
        """Holds every DApp's end against its row."""
        self.auditor.final()
        seen: Counter[str] = Counter()
        assert self.finished == Counter(self.asked.keys())
        for request_id, exchange in self.asked.items():
            request, row = self.requests[request_id], self.rows.get(request_id)
            content, cap = content_of(exchange.target), request.order.max_fee_nano_eur
            ended = row.parts["metrics"].get("ended", "whole") if row is not None else "unbilled"
            seen[f"{exchange.ended} {ended}"] += 1
            assert self.differs or content.startswith(exchange.got) or exchange.ended == "refused"
            if exchange.ended == "whole" and exchange.status == 200:
                assert (exchange.got, ended) == (content, "whole")
            if row is None:
                continue
            fee = int(row.public["usage_fee_nano_eur"])
            said = row.parts["request"]
            assert cap is None or fee <= cap
            if cap is not None and exchange.ended in ("cut", "whole"):
                assert len(exchange.got) <= cap, "a byte is worth a nano-EUR here"
            if ended in ("cancelled", "deadline") and not self.differs:
                size = int(said["response_bytes"])
                assert content[:size].startswith(exchange.got[:size])
                assert said["response_sha256"] == sha256(content[:size]).hexdigest()
                assert fee >= min(size, int(row.parts["metrics"]["billed"]["response_bytes"]))
            if exchange.ended == "cut":
                assert ended != "whole"
        return seen


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = SimpleNamespace(accepted_at=time.monotonic(), stand=lambda standing: None)
    monkeypatch.setattr(miner_endpoint.websocket_server, "channel_of", lambda connection: accepted)
    monkeypatch.setattr(miner_endpoint, "_address_of", lambda connection, proxies: "")


async def test_requests_cross_the_product_s_adapters_as_the_broker_means_it(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    told: Counter[type] = Counter()
    for seed in SEEDS:
        world = World(seed, tmp_path)
        try:
            await asyncio.wait_for(world.run(), 60)
            seen += world.verdicts()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        told += world.driver.counters
    print(seen)
    assert {
        "whole whole",
        "cut price_cap",
        "refused price_cap",
        "refused unbilled",
        "left cancelled",
        "cut deadline",
    } <= set(seen)
    ours = {*events.Event.__args__, *commands.Command.__args__}
    assert ours - set(told) <= {events.SlotsChanged, events.Drain, commands.Drained}
