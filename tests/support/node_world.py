"""A real node with a scripted Central and scripted miners around it, over real TLS sockets: what the node's tests play
with.

`world(tmp_path)` starts the node inside this process (its own listeners, broker, spool, SQLite ledger), lets a scripted
Central dial in, and hands out miners whose every step a test decides.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cgn_sdk import signing
from cgn_sdk.protocol import link, link_envelope, messages, receipt, tunnel
from cgn_sdk.protocol.errors import Problem
from cgn_sdk.tunnel_connection import DIALLING_OPTIONS, DiallingConnection
from cgn_sdk.tunnel_io import Closed, TunnelLink
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from cgn_chassis.settings import Secret
from cgn_chassis.tls import Authority, client_context, fingerprint
from cgn_node import app, config

ACCOUNT = "ent_" + "a" * 20
CONTRIBUTOR = "con_" + "b" * 20
NODE = "nod_" + "c" * 20
KEY = "cgn_" + "d" * 12 + "_" + "e" * 43
SIGN_OF_LIFE_S = 1.0
"""Between two signs of life of a request, as a miner gives them."""


def public_id(letter: str) -> str:
    return "p" + letter * 25 + "a"


def address(digit: str) -> str:
    return "0x" + digit * 40


def miner_id(number: int) -> str:
    return "min_" + "abcdefghij"[number] * 20


def policy(version: int = 1) -> link.Policy:
    return link.Policy(
        version=version,
        network_id="test",
        dservices=(
            link.DServicePolicy(
                "noop", "1", "/noop", link.Party(public_id("d"), address("4")), 600_000, 250_000, ("1", "2", "3")
            ),
            link.DServicePolicy("other", "1", "/other", link.Party(public_id("d"), address("4")), 600_000, 250_000),
        ),
        prices=link.Prices(3_600_000_000, 0, 1_000_000_000, 0),
        tier_factor_ppm={"1": 800_000, "2": 1_000_000, "3": 1_500_000},
        exchange_rate_nano_eur_per_cpu=50_000_000,
    )


class ScriptedCentral:
    """Answers as a test wants. `accounts` and `miners` are what it knows; change them while it runs."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        self.port = port
        self.tls = tls
        self.policy = policy()
        self.policy_changes: dict[str, object] = {}
        """Members of the welcome's policy that are not what `policy` has: ones that it could not hold."""
        self.accounts: dict[str, link.SessionGrant] = {
            ACCOUNT: link.SessionGrant(ACCOUNT, public_id("e"), address("1"), "", ("2", "3"), 30_000, 64)
        }
        self.tiers: dict[str, str] = {}
        self.machines: dict[str, link.Machine | None] = {}
        """What is registered of miners, where it is not what all are said to be."""
        self.enterprise: str | None = None
        self.asked: list[str] = []
        self.heads: list[link.NodeHead] = []
        """What the node has told of its ledger; no question of `asked`."""
        self.against_heads: Problem | None = None
        self.silent = False
        self.connection: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def dial(self) -> None:
        self.connection = await connect(
            f"wss://localhost:{self.port}{link_envelope.PATH}",
            ssl=self.tls,
            subprotocols=[Subprotocol(link_envelope.SUBPROTOCOL)],
            compression=None,
        )
        greeted = asyncio.Event()
        self._task = asyncio.create_task(self._serve(self.connection, greeted))
        await greeted.wait()

    async def hang_up(self) -> None:
        assert self.connection is not None
        assert self._task is not None
        await self.connection.close()
        await self._task

    async def tell(self, topic: str, params: dict[str, Any]) -> None:
        assert self.connection is not None
        await self.connection.send(link_envelope.encode(link_envelope.Tell(topic, params)))

    async def _serve(self, connection: ClientConnection, greeted: asyncio.Event) -> None:
        correlator = link_envelope.Correlator()
        async for text in connection:
            message = correlator.receive(text, 0)
            assert isinstance(message, link_envelope.Ask)
            if message.method == link.METHOD_NODE_HEAD:
                self.heads.append(link.NodeHead.from_params(message.params))
            else:
                self.asked.append(message.method)
            if self.silent:
                continue
            answer = self._answer(message)
            if isinstance(answer, Problem):
                await connection.send(correlator.refuse(message.id, answer))
            else:
                await connection.send(correlator.answer(message.id, answer))
            greeted.set()

    def _answer(self, ask: link_envelope.Ask) -> dict[str, Any] | Problem:
        if ask.method == link.METHOD_NODE_HELLO:
            hello = link.NodeHello.from_params(ask.params)
            assert (hello.node_id, hello.api_key) == (NODE, KEY)
            operator = link.Party(public_id("f"), address("3"), "opr_" + "f" * 20)
            welcome = link.NodeWelcome(public_id("n"), operator, self.policy).to_params()
            return {**welcome, "policy": welcome["policy"] | self.policy_changes}
        if ask.method == link.METHOD_NODE_HEAD:
            return self.against_heads or link.HeadKept(self.heads[-1].head.last_ingest).to_params()
        wrong = Problem("not_authenticated", "The account id or the key is wrong.")
        if ask.params["api_key"] != KEY:
            return wrong
        if ask.method == link.METHOD_SESSION_OPEN:
            grant = self.accounts.get(ask.params["account_id"])
            return wrong if grant is None else grant.to_params()
        miner = ask.params["miner_id"]
        return link.MinerGrant(
            miner,
            public_id("m"),
            self.tiers.get(miner, "2"),
            link.Party(public_id("c"), address("2"), CONTRIBUTOR),
            self.enterprise,
            self.machines.get(miner, link.Machine(4, 5_000, 8 * 2**30)),
        ).to_params()


Serve = Callable[["ScriptedMiner", tunnel.Opened], Awaitable[None]]


class ScriptedMiner:
    """A miner whose behaviour is a coroutine per request. `seal_key` other than `key` makes it sign wrongly."""

    def __init__(self, world: "World", number: int = 0, *, serve: Serve | None = None, **hello: Any) -> None:
        self.world = world
        self.miner_id = miner_id(number)
        self.key = signing.Signer(bytes([number + 1]) * 32)
        self.seal_key = self.key
        self.serve = serve or answer_with(b"hello")
        self.hello: dict[str, Any] = hello
        self.bodies: dict[int, asyncio.Queue[tuple[bytes, bool]]] = {}
        self.cancelled: list[int] = []
        self.opened: list[messages.Open] = []
        self.goaway: messages.GoAway | None = None
        self.closed: Closed | None = None
        self.welcomed = asyncio.Event()
        self.tunnel = tunnel.Tunnel("miner", seal=self._seal)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.run_task: asyncio.Task[None] | None = None
        self._spoke_at = 0.0

    async def join(self) -> "ScriptedMiner":
        await self.dial()
        waits = [asyncio.create_task(self.welcomed.wait()), self.run_task]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
        waits[0].cancel()  # type: ignore[union-attr]
        return self

    async def dial_silently(self) -> DiallingConnection:
        """Connects and says nothing."""
        connection = await connect(
            f"wss://localhost:{self.world.ports['miner']}/tunnel",
            ssl=self.world.client_tls,
            subprotocols=[Subprotocol(messages.PROTOCOL)],
            **DIALLING_OPTIONS,
        )
        assert isinstance(connection, DiallingConnection)
        return connection

    async def dial(self) -> None:
        self.connection = await self.dial_silently()
        self.link = TunnelLink(self.connection, self.tunnel, self._on_event)
        given = {
            "account_id": CONTRIBUTOR,
            "miner_id": self.miner_id,
            "api_key": KEY,
            "dservices": (messages.DServiceOffer("noop", "1"),),
            "runner": "docker",
            "capabilities": messages.Capabilities(4, 5_000, 8 * 2**30),
            "slots": 8,
            "signing_key": self.key.public_key.hex(),
        }
        self.tunnel.send_hello(messages.Hello(**{**given, **self.hello}))
        self.run_task = asyncio.create_task(self._run())
        self.world.miners.append(self)

    async def leave(self) -> None:
        self.link.close()
        assert self.run_task is not None
        await self.run_task

    async def _run(self) -> None:
        self.closed = await self.link.run()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _seal(self, digests: Any) -> messages.Seal:
        tree = receipt.seal_tree(digests)
        signed = self.seal_key.sign(receipt.SEAL, receipt.seal_bytes(tree[-1][0], len(digests)))
        return messages.Seal(len(digests), signed.hex())

    def _on_event(self, event: tunnel.Event) -> None:
        match event:
            case messages.Welcome():
                self.welcomed.set()
            case messages.GoAway():
                self.goaway = event
            case tunnel.Opened():
                self.opened.append(event.message)
                self.bodies[event.stream] = asyncio.Queue()
                if event.end:
                    self.bodies[event.stream].put_nowait((b"", True))
                self._tasks[event.stream] = asyncio.create_task(self._serve(event))
            case tunnel.DataReceived():
                self.bodies[event.stream].put_nowait((event.data, event.end))
            case tunnel.Cancelled():
                self.cancelled.append(event.stream)
                self._tasks[event.stream].cancel()

    async def _serve(self, opened: tunnel.Opened) -> None:
        with suppress(asyncio.CancelledError):
            await self.serve(self, opened)

    # --- steps ---

    def acknowledge(self, stream: int) -> None:
        self.tunnel.acknowledge(stream)
        self.link.flush()

    def show_life(self, stream: int) -> None:
        """As an honest miner does now and then."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._spoke_at > SIGN_OF_LIFE_S:
            self._spoke_at = now_s
            self.tunnel.progress(stream, messages.Progress())
            self.link.flush()

    async def piece(self, stream: int) -> tuple[bytes, bool]:
        """The next of a body, and whether it is the last; what an honest miner says of its work meanwhile."""
        while True:
            self.show_life(stream)
            try:
                return await asyncio.wait_for(self.bodies[stream].get(), SIGN_OF_LIFE_S)
            except TimeoutError:
                continue

    async def body(self, stream: int) -> bytes:
        whole = b""
        while True:
            data, end = await self.piece(stream)
            whole += data
            self.tunnel.consumed(stream, len(data))
            self.link.flush()
            if end:
                return whole

    async def answer(
        self,
        opened: tunnel.Opened,
        pieces: list[bytes],
        *,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
        declared: bool = True,
        metadata: dict[str, str] | None = None,
        request_bytes: int = 0,
        **statement: Any,
    ) -> None:
        """HEAD, the pieces, DONE. `statement` overrides members of an honest one."""
        stream, size = opened.stream, sum(map(len, pieces))
        self.tunnel.head(stream, messages.Head(status, headers, size if declared else None), end=not pieces)
        for at, piece in enumerate(pieces):
            await self.link.send_data(stream, piece)
            if at == len(pieces) - 1:
                self.tunnel.data(stream, b"", end=True)
        self.done(opened, b"".join(pieces), status=status, metadata=metadata, request_bytes=request_bytes, **statement)

    def done(
        self,
        opened: tunnel.Opened,
        body: bytes,
        *,
        status: int = 200,
        metadata: dict[str, str] | None = None,
        request_bytes: int = 0,
        **statement: Any,
    ) -> None:
        honest = {
            "request_id": opened.message.request_id,
            "attempt": opened.message.attempt,
            "miner_id": self.miner_id,
            "dservice": opened.message.dservice,
            "dservice_version": "1",
            "status": status,
            "response_sha256": sha256(body).hexdigest(),
            "response_bytes": len(body),
            "request_bytes": request_bytes,
            "cpu_ns": 1_000,
            "memory_byte_seconds": 0,
            "wall_ns": 2_000,
        }
        said = messages.Statement(**{**honest, **statement})
        self.tunnel.done(opened.stream, messages.Done(said, metadata or {}))
        self.link.flush()


def answer_with(body: bytes, **arguments: Any) -> Serve:
    async def serve(miner: ScriptedMiner, opened: tunnel.Opened) -> None:
        miner.acknowledge(opened.stream)
        got = await miner.body(opened.stream)
        await miner.answer(opened, [body] if body else [], request_bytes=len(got), **arguments)

    return serve


async def echo(miner: ScriptedMiner, opened: tunnel.Opened) -> None:
    """Answers with the request's body."""
    miner.acknowledge(opened.stream)
    got = await miner.body(opened.stream)
    await miner.answer(opened, [got] if got else [], request_bytes=len(got))


async def never(miner: ScriptedMiner, opened: tunnel.Opened) -> None:
    """Acknowledges and never answers."""
    miner.acknowledge(opened.stream)
    await asyncio.sleep(3_600)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body[:200])
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document


@dataclass
class World:
    node: app.Node
    central: ScriptedCentral
    client_tls: ssl.SSLContext
    settings: config.Settings
    folder: Path
    ports: dict[str, int]
    session_key: str = ""
    miners: list[ScriptedMiner] = field(default_factory=list)

    def miner(self, number: int = 0, **arguments: Any) -> ScriptedMiner:
        return ScriptedMiner(self, number, **arguments)

    async def connect(self, endpoint: str = "work") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("localhost", self.ports[endpoint], ssl=self.client_tls)

    async def call(
        self,
        method: str,
        target: str,
        *lines: str,
        body: bytes = b"",
        key: str | None = None,
        endpoint: str = "work",
    ) -> Reply:
        """One request on a connection of its own."""
        reader, writer = await self.connect(endpoint)
        bearer = self.session_key if key is None else key
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
        if bearer:
            head.append(f"Authorization: Bearer {bearer}")
        if body and not any(line.lower().startswith("transfer-encoding") for line in lines):
            head.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        try:
            return await read_reply(reader)
        finally:
            writer.close()

    async def open_session(self, account: str = ACCOUNT, key: str = KEY, **more: Any) -> Reply:
        body = json.dumps({"account_id": account, "api_key": key, **more}).encode()
        return await self.call("POST", "/session", body=body, key="")

    async def rows(self) -> list[dict[str, Any]]:
        """Public columns of all rows, once the shipper has brought them to the store."""
        for _ in range(200):
            if not self.node.spool.backlog:
                break
            await asyncio.sleep(0.01)
        return [stored.public for stored in await self.node.store.read(0, 1000)]


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1)[:1] + line.split(": ", 1)[1:] for line in head[1:] if line)
    status = int(head[0].split(" ")[1])
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(status, headers, body)


def make_settings(folder: Path, **changes: Any) -> tuple[config.Settings, ssl.SSLContext, ssl.SSLContext]:
    """(settings with free ports, a DApp's or miner's TLS context, Central's) with an authority of its own."""
    authority = Authority.load_or_create(folder / "authority", "test")
    pem = folder / "authority.pem"
    pem.write_bytes(authority.certificate_pem)
    authority.issue_server("node", ["localhost", "127.0.0.1"]).save(folder / "node.crt", folder / "node.key")
    client = authority.issue_client("central")
    client.save(folder / "central.crt", folder / "central.key")
    values: dict[str, Any] = {
        "node_id": NODE,
        "api_key": Secret(KEY),
        "state": folder / "state",
        "ledger": f"sqlite:///{folder}/ledger.sqlite",
        "work": config.WorkSettings(host="127.0.0.1", port=0),
        "miner": config.MinerSettings(host="127.0.0.1", port=0, acknowledge_ms=400),
        "status": config.StatusSettings(host="127.0.0.1", port=0, metrics_port=0),
        "central": config.CentralSettings(
            host="127.0.0.1", port=0, authority=pem, fingerprints=(fingerprint(client.certificate_pem),)
        ),
        "tls": config.TlsSettings(certificate=folder / "node.crt", key=folder / "node.key"),
    }
    chosen = config.Settings(**{**values, **changes})
    mutual = client_context(pem, credential_paths=(folder / "central.crt", folder / "central.key"))
    return chosen, client_context(pem), mutual


@asynccontextmanager
async def world(folder: Path, *, linked: bool = True, **changes: Any) -> AsyncIterator[World]:
    chosen, client_tls, central_tls = make_settings(folder, **changes)
    node = await app.start_node(chosen)
    central = ScriptedCentral(node.ports["central"], central_tls)
    made = World(node, central, client_tls, chosen, folder, node.ports)
    try:
        if linked:
            await central.dial()
            await node.central.ready.wait()
            made.session_key = json.loads((await made.open_session()).body)["session_key"]
        yield made
        node.driver.broker.check()
    finally:
        for miner in made.miners:
            await miner.leave()
        await node.stop()
        if central.connection is not None:
            await central.hang_up()
        assert not os.listdir(chosen.state / "bodies")
