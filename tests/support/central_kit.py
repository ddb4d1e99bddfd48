"""A small network as a seed, certificates, and the node's end of the link as a test writes it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgn_sdk.protocol import ids, link_envelope
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cgn_chassis.tls import Authority, Credential, client_context, fingerprint, is_pinned, server_context


def account_id(kind: str, number: int = 0) -> str:
    return ids.account_id(kind, number.to_bytes(ids.ID_BYTES, "little"))


def public_id(number: int) -> str:
    return ids.public_id(number.to_bytes(ids.PUBLIC_ID_BYTES, "big"))


def api_key(number: int) -> str:
    return ids.make_api_key(number.to_bytes(8, "little") + number.to_bytes(32, "big"))


ENT, ENT_2, CON, CON_2, DEV, OPR, CHA, OPS, NOD, NOD_2, USR = (
    account_id(kind, number)
    for number, kind in enumerate(["ent", "ent", "con", "con", "dev", "opr", "cha", "ops", "nod", "nod", "usr"])
)
MIN, MIN_2, MIN_1 = account_id("min", 1), account_id("min", 2), account_id("min", 3)
KEYS = {id: api_key(100 + number) for number, id in enumerate([ENT, ENT_2, CON, CON_2, OPS, NOD, NOD_2])}
PASSWORD = "correct horse battery staple"


def address(number: int) -> str:
    return f"0x{number:040x}"


def make_seed(url: str = "wss://127.0.0.1:1/central", pin: str = "0" * 64) -> dict[str, Any]:
    accounts: list[dict[str, Any]] = [
        {"id": id, "public_id": public_id(number), "name": f"account {number}"}
        | ({"address": address(number)} if id[:3] in ("ent", "con", "dev", "opr", "cha") else {})
        | ({"api_keys": [KEYS[id]]} if id in KEYS else {})
        for number, id in enumerate([ENT, ENT_2, CON, CON_2, DEV, OPR, CHA, OPS, NOD, NOD_2])
    ]
    accounts[0] |= {"allowed_tiers": ["2", "4b"], "deadline_ms": 30_000, "concurrency": 64, "password": PASSWORD}
    accounts.append({"id": USR, "public_id": public_id(50), "enterprise": ENT})
    return {
        "accounts": accounts,
        "nodes": [{"id": NOD, "operator": OPR, "url": url, "fingerprint": pin, "geolocation": "DE"}],
        "miners": [
            {"id": MIN, "public_id": public_id(51), "contributor": CON, "tier": "2"},
            {"id": MIN_2, "public_id": public_id(52), "contributor": CON_2, "tier": "4b"},
            {"id": MIN_1, "public_id": public_id(53), "contributor": CON, "tier": "1", "enterprise": ENT_2},
        ],
        "dservices": [
            {
                "name": "mediagen",
                "version": "0.1.0",
                "route": "/mgen",
                "developer": DEV,
                "contributor_ppm": 700_000,
                "developer_ppm": 100_000,
                "egress": ["*"],
            }
        ],
        "policy": {
            "network_id": "testnet",
            "prices": {
                "kmips_hour_nano_eur": "1000000",
                "tflop_hour_nano_eur": "2000000",
                "gigabyte_nano_eur": "3000000",
                "memory_gib_hour_nano_eur": "4000000",
            },
            "tier_factor_ppm": {"2": 1_000_000, "4b": 800_000},
            "exchange_rate_nano_eur_per_cpu": "50000000",
        },
    }


@dataclass
class Certificates:
    folder: Path
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        self.authority = Authority.load_or_create(self.folder, "test authority")
        for name in ("central", "node", "stranger"):
            self.save(name, self.authority.issue_server(name, ["127.0.0.1", "localhost"]))

    def save(self, name: str, credential: Credential) -> None:
        credential.save(*self.paths(name))

    def paths(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    @property
    def authority_path(self) -> Path:
        return self.folder / "authority.pem"

    def pin(self, name: str) -> str:
        return fingerprint(self.paths(name)[0].read_bytes())

    def server(self, name: str, *, mutual: bool = True) -> Any:
        return server_context(self.paths(name), client_authority=self.authority_path if mutual else None)

    def client(self, name: str | None = "central") -> Any:
        return client_context(self.authority_path, credential_paths=self.paths(name) if name else None)


class FakeNode:
    """The node's end of the link on a real socket with real TLS. `hello` is what it says first (None: nothing)."""

    def __init__(self, certificates: Certificates, hello: dict[str, Any] | None, certificate: str = "node") -> None:
        self.hello = hello
        self.connections: list[ServerConnection] = []
        self.tells: list[link_envelope.Tell] = []
        self.welcomes: list[Any] = []
        self.close_codes: list[int | None] = []
        self.changed = asyncio.Event()
        self.port = 0
        self._certificates = certificates
        self._certificate = certificate
        self._server: Server | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._end = link_envelope.Correlator()

    async def start(self, port: int = 0) -> None:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            port,
            ssl=self._certificates.server(self._certificate),
            subprotocols=["cgn.link.1"],  # type: ignore[list-item]
            compression=None,
            close_timeout=0.1,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    @property
    def url(self) -> str:
        return f"wss://127.0.0.1:{self.port}/central"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close(code=1001)
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, connection: ServerConnection) -> None:
        assert is_pinned(connection.transport.get_extra_info("ssl_object"), [self._certificates.pin("central")])
        self.connections.append(connection)
        self._end = link_envelope.Correlator()
        self._notify()
        if self.hello is not None:
            hello = asyncio.ensure_future(self.ask("node.hello", self.hello))
            hello.add_done_callback(lambda done: self.welcomes.append(done.result()) if not done.cancelled() else None)
            hello.add_done_callback(lambda _: self._notify())
        try:
            async for text in connection:
                message = self._end.receive(text, 0)
                if isinstance(message, link_envelope.Tell):
                    self.tells.append(message)
                elif message is not None:
                    self._waiting.pop(message.id).set_result(message)
                self._notify()
        except ConnectionClosed:
            pass
        self.close_codes.append(connection.close_code)
        self._notify()

    def _notify(self) -> None:
        self.changed.set()

    async def ask(self, method: str, params: dict[str, Any]) -> Any:
        """The Answer or Refusal."""
        id, text = self._end.ask(method, params, 0)
        self._waiting[id] = asyncio.get_running_loop().create_future()
        await self.connections[-1].send(text)
        return await asyncio.wait_for(self._waiting[id], 5)

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits for it. The bound only ends a test that would hang; on a busy machine everything takes longer."""
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()
