"""The whole network on one machine, as processes (S-5): Central, a node, miners with DServices, a development chain.

    async with Sandbox(SandboxOptions()) as network:
        print(network.work_url)

Everything lives in one folder and in child processes that end with this one, however it ends. Each process is the same
program that runs in production, started by the same command with a settings file; only the certificates' authority, the
accounts and the chain are the sandbox's own.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cgn_sdk.dservice.descriptor import Descriptor
from cgn_sdk.dservice.descriptor import read as read_descriptor

from cgn_chassis import scratch
from cgn_sandbox import kept
from cgn_sandbox.children import Child, ChildFailed, log_end, run_to_end, spawn_child
from cgn_sandbox.plan import (
    KMIPS_PER_THREAD_MILLI,
    WALLETS,
    DServicePlan,
    NetworkPlan,
    make_plan,
    seed_of,
    toml,
)

if TYPE_CHECKING:
    from cgn_sdk.client import AsyncClient

LOOPBACK = "127.0.0.1"
ENTERPRISE_WALLET = WALLETS[1]
ENTERPRISE_FUNDS_CPU = "1000000"
APPROVED_NANO_CPU = 1_000_000 * 10**9
APPROVE_SELECTOR = "0x095ea7b3"
"""ERC-20 approve(address,uint256)."""
SETTLE_TIME_LIMIT_S = 120
LAUNCHER_BYTES = 64 << 20
"""What the launcher in front of an own DService may hold on top of it."""
FOLDER_PREFIX = "cgn-up-"
PROGRESS_S = 5.0
"""A start that takes longer says what it waits for."""
FOLDER_MAX_CHARS = 60
"""The name of a UNIX socket has at most 107 bytes, and DServices' folders come behind this one."""


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """What to start."""

    directory: Path | None = None
    """Where its files live; None makes a folder that is removed at the end."""
    miners: int = 2
    chain: bool = True
    runner: str = "process"
    """`process`, or `docker` for containers (wants a Docker Engine and the image `cgn-mediagen`)."""
    slots: int = 64
    sources: Path | None = None
    """A folder served over HTTP for DServices to fetch from; None serves an empty one."""
    mediagen: bool = True
    """Whether the miners run MediaGen."""
    mediagen_settings: Mapping[str, str] = field(default_factory=dict)
    """MediaGen's own settings, by name without `CGN_MEDIAGEN_`."""
    extra_dservices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Further DServices, name to command, routed at `/<name>`."""
    dservices: tuple[Path, ...] = ()
    """Folders of own DServices, each with a `dservice.toml`: started again when a file in them changes."""
    allow_egress: tuple[str, ...] = ()
    """Private addresses that MediaGen may fetch from beside the sandbox's own source server."""
    work_port: int = 0


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses now, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def cgn(*words: str) -> list[str]:
    """The command line of one `cgn` command in this very Python environment."""
    return [sys.executable, "-m", "cgn_sdk.cli", *words]


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """All of them; when one fails the others are cancelled, and it is the one that is told."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as several:
        raise _first(several) from None


def _first(error: BaseException) -> BaseException:
    """A child's failure before anything else that happened beside it."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_first(one) for one in error.exceptions]
    return next((one for one in leaves if isinstance(one, ChildFailed)), leaves[0])


class Sandbox:
    """A running network. Use it as an asynchronous context manager."""

    plan: NetworkPlan

    def __init__(
        self, options: SandboxOptions = SandboxOptions(), tell: Callable[[str], None] = lambda text: None
    ) -> None:
        """`tell` hears how far the start is. Raises ChildFailed where the folder cannot be used."""
        self.options = options
        self._tell = tell
        self._waiting: set[str] = set()
        self.folder = options.directory or scratch.make(FOLDER_PREFIX)
        if len(str(self.folder)) > FOLDER_MAX_CHARS:
            if options.directory is None:
                scratch.remove(self.folder)
            raise ChildFailed(
                f"{self.folder} is too long a name for the sockets in it: choose another --directory or TMPDIR"
            )
        self.children: dict[str, Child] = {}
        self.seconds: dict[str, float] = {}
        """How long each part took to get ready, since the start."""
        self._began = time.monotonic()
        self._sources: Any = None
        work, miner, status, metrics, central, source, chain, machine, portal = free_ports(9)
        self._ports = kept.ports(self.folder) or {
            "work": work,
            "miner": miner,
            "status": status,
            "metrics": metrics,
            "central": central,
            "source": source,
            "chain": chain,
            "machine": machine,
            "portal": portal,
        }
        if options.work_port:
            self._ports["work"] = options.work_port

    # addresses

    @property
    def work_url(self) -> str:
        return f"https://{LOOPBACK}:{self._ports['work']}"

    @property
    def status_url(self) -> str:
        return f"https://{LOOPBACK}:{self._ports['status']}"

    @property
    def source_url(self) -> str:
        return f"http://{LOOPBACK}:{self._ports['source']}"

    @property
    def chain_url(self) -> str:
        return f"http://{LOOPBACK}:{self._ports['chain']}"

    @property
    def ledger_path(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def ledger_url(self) -> str:
        return f"sqlite:///{self.ledger_path}"

    @property
    def authority(self) -> Path:
        return self.folder / "tls/authority.pem"

    @property
    def node_certificate(self) -> Path:
        return self.folder / "tls/node.pem"

    @property
    def node_key(self) -> Path:
        return self.folder / "tls/node.key"

    @property
    def payouts_config(self) -> Path:
        return self.folder / "payouts.toml"

    @property
    def chain_manifest(self) -> Path:
        return self.folder / "chain/manifest.json"

    def process_ids(self, *names: str) -> list[int]:
        """Process ids of the children whose name begins with one of `names`."""
        return [child.pid for name, child in sorted(self.children.items()) if name.startswith(names)]

    # life

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends every process, miners first, and removes the folder if it was made for this run."""
        order = sorted(self.children, key=lambda name: (not name.startswith("miner"), name))
        for name in order:
            if name.startswith("miner"):
                await self.children[name].stop()
        await asyncio.gather(*(self.children[name].stop() for name in order if not name.startswith("miner")))
        self.children.clear()
        if self._sources is not None:
            await self._sources.cleanup()
        if self.options.directory is None:
            scratch.remove(self.folder)
        else:
            scratch.release(self.folder)

    async def _start(self) -> None:
        (self.folder / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.options.directory is not None and not scratch.hold(self.folder):
            raise ChildFailed(f"{self.folder} belongs to a network that is running: end that one, or take another")
        await self._fetch_chain()
        known = kept.plan(self.folder, self.options.miners, self._dservices())
        self.plan = known or make_plan(secrets.token_bytes, self.options.miners, self._dservices())
        self._write("network.json", kept.text(self.plan, self._ports))
        progress = asyncio.create_task(self._tell_progress())
        try:
            await together(self._start_path(), *([self._start_chain()] if self.options.chain else []))
            await self.write_trust()
        finally:
            progress.cancel()
            await asyncio.gather(progress, return_exceptions=True)

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            if self._waiting:
                seconds = time.monotonic() - self._began
                self._tell(f"{seconds:.0f} s; still starting: {', '.join(sorted(self._waiting))}")

    async def _start_path(self) -> None:
        """The request path: certificates, accounts, node and Central side by side, then the miners."""
        fingerprints = self._make_certificates()
        await self._serve_sources()
        self._write_settings(fingerprints)
        if self.options.runner == "docker":
            await self._check_engine()
        miners = [f"miner-{number + 1}" for number in range(self.options.miners)]
        # Miners dial until the node knows them, so all processes start at once.
        await together(self.start_central(), self.start_node(), *(self.start_miner(name) for name in miners))
        self.seconds["request path"] = time.monotonic() - self._began

    async def start_central(self) -> None:
        """Starts Central (again); a database that is not empty is not seeded."""
        await self._launch(
            "central", "central", "run", "--config", self._at("central.toml"), "--seed", self._at("seed.json")
        )

    async def start_node(self) -> None:
        """Starts the node (again)."""
        await self._launch("node", "node", "run", "--config", self._at("node.toml"))

    async def start_miner(self, name: str) -> None:
        """Starts (again) the miner of that name, `miner-1` and so on."""
        await self._launch(name, "miner", "run", "--config", self._at(f"{name}.toml"))

    def _at(self, name: str) -> str:
        return str(self.folder / name)

    async def _launch(self, name: str, *words: str) -> None:
        """Every child that was begun is known before it is waited for, so that `close` ends it whatever happens."""
        self._waiting.add(name)
        try:
            child = self.children[name] = await spawn_child(name, cgn(*words), self.folder / f"logs/{name}.log")
            await child.wait_ready()
        finally:
            self._waiting.discard(name)
        self.seconds[name] = time.monotonic() - self._began
        self._tell(f"{name} is ready after {self.seconds[name]:.1f} s")

    async def _check_engine(self) -> None:
        """Without an engine or an image no wait will help."""
        words = ("miner", "run", "--config", self._at("miner-1.toml"), "--check", "--offline")
        code, _ = await self.run("check", *words)
        if code:
            raise ChildFailed(f"DServices cannot run in containers here:\n{log_end(self.folder / 'logs/check.log')}")

    async def _fetch_chain(self) -> None:
        """The development chain's program, where it is not here yet: it says itself what takes time."""
        if not self.options.chain:
            return
        fetch = await asyncio.create_subprocess_exec(
            *cgn("chain", "fetch"), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        assert fetch.stderr is not None
        said = ""
        async for line in fetch.stderr:
            said = line.decode(errors="replace").strip()
            self._tell(said)
        if await fetch.wait():
            raise ChildFailed(said)

    # parts

    def _make_certificates(self) -> dict[str, str]:
        from cgn_chassis.tls import Authority, fingerprint

        folder = self.folder / "tls"
        authority = Authority.load_or_create(folder, "CGN sandbox authority")
        fingerprints = {}
        for name in ("node", "central"):
            if not (folder / f"{name}.pem").exists():
                credential = authority.issue_server(name, [LOOPBACK, "localhost"])
                credential.save(folder / f"{name}.pem", folder / f"{name}.key")
            fingerprints[name] = fingerprint((folder / f"{name}.pem").read_bytes())
        return fingerprints

    async def _serve_sources(self) -> None:
        from aiohttp import web

        sources = self.options.sources or self.folder / "sources"
        sources.mkdir(parents=True, exist_ok=True)
        app = web.Application()
        app.router.add_static("/", sources)
        self._sources = web.AppRunner(app, access_log=None)
        await self._sources.setup()
        await web.TCPSite(self._sources, LOOPBACK, self._ports["source"]).start()

    def _dservices(self) -> list[DServicePlan]:
        egress = ("public", f"{LOOPBACK}:{self._ports['source']}", *self.options.allow_egress)
        docker = self.options.runner == "docker"
        mediagen = DServicePlan(
            "mediagen",
            "0.1.0",
            "/mgen",
            () if docker else (sys.executable, "-m", "dservices.mediagen"),
            image="cgn-mediagen" if docker else "",
            egress=egress,
            environment={
                "CGN_MEDIAGEN_ALLOW": ",".join(egress[1:]),
                **{f"CGN_MEDIAGEN_{name}": value for name, value in self.options.mediagen_settings.items()},
            },
            memory_bytes=2 << 30,
        )
        extra = [
            DServicePlan(name, "1.0.0", f"/{name}", tuple(command))
            for name, command in self.options.extra_dservices.items()
        ]
        own = [own_plan(read_descriptor(folder)) for folder in self.options.dservices]
        return [*([mediagen] if self.options.mediagen else []), *extra, *own]

    def _write_settings(self, fingerprints: Mapping[str, str]) -> None:
        ports, plan, tls = self._ports, self.plan, self.folder / "tls"
        node_url = f"wss://{LOOPBACK}:{ports['central']}/central"
        seed = seed_of(plan, node_url, fingerprints["node"], this_machine())
        self._write("seed.json", json.dumps(seed, indent=1))
        self._write("node.key", plan.node.api_key)
        self._write("payouts.toml", toml(payouts_settings(self.folder, self.ledger_url, self.chain_url)))
        self._write("central.toml", toml(central_settings(self.folder, tls, ports)))
        self._write(
            "node.toml", toml(node_settings(self.folder, tls, ports, plan, self.ledger_url, fingerprints["central"]))
        )
        for number in range(1, len(plan.miners) + 1):
            name = f"miner-{number}"
            settings = miner_settings(self.folder / name, self.authority, ports, plan, number - 1, self.options.slots)
            self._write(f"{name}.toml", toml(settings))
            self._write(f"{name}.key", plan.miners[number - 1].contributor.api_key)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)

    # the chain

    async def _start_chain(self) -> None:
        """The development chain with its contracts, and money in the enterprise's wallet, approved for collection."""
        is_new = not self.chain_manifest.exists()
        words = ["chain", "up", "--port", str(self._ports["chain"]), "--manifest", str(self.chain_manifest)]
        words += ["--node", self.plan.node.public_id]
        await self._launch("chain", *words)
        if not is_new:  # it has its money from the first time
            return
        enterprise = ENTERPRISE_WALLET
        words = ["--to", enterprise, "--amount", ENTERPRISE_FUNDS_CPU, "--manifest", str(self.chain_manifest)]
        code, text = await self.run("faucet", "chain", "faucet", "--url", self.chain_url, *words)
        if code:
            raise ChildFailed(f"the enterprise's wallet could not be funded:\n{text}")
        # The development chain signs for its own accounts, as the enterprise's wallet would: approve(token, amount).
        data = APPROVE_SELECTOR + self.token_address[2:].lower().rjust(64, "0") + f"{APPROVED_NANO_CPU:064x}"
        await self.rpc("eth_sendTransaction", {"from": enterprise, "to": self.token_address, "data": data})
        self.seconds["chain"] = time.monotonic() - self._began

    @property
    def token_address(self) -> str:
        manifest = json.loads(self.chain_manifest.read_text())
        return str(manifest["contracts"]["UtilityToken"]["address"])

    async def rpc(self, method: str, *parameters: Any) -> Any:
        """One JSON-RPC call to the development chain. Raises ChildFailed when it refuses."""
        import aiohttp

        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        async with aiohttp.ClientSession() as session, session.post(self.chain_url, json=call) as answer:
            document = await answer.json()
        if "error" in document:
            raise ChildFailed(f"the chain refused {method}: {document['error'].get('message')}")
        return document["result"]

    # use

    def client(self) -> AsyncClient:
        """A DApp's client as the enterprise."""
        from cgn_sdk.client import AsyncClient

        return AsyncClient(
            self.work_url,
            account_id=self.plan.enterprise.id,
            api_key=self.plan.enterprise.api_key,
            ca_file=self.authority,
        )

    async def open_session(self) -> str:
        """A session key of the enterprise, for tools that speak plain HTTP."""
        import ssl

        import aiohttp

        body = {"account_id": self.plan.enterprise.id, "api_key": self.plan.enterprise.api_key}
        context = ssl.create_default_context(cafile=str(self.authority))
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.work_url}/session", json=body, ssl=context) as answer,
        ):
            facts = await answer.json()
            if answer.status != 201:
                raise ChildFailed(f"no session: {facts}")
            return str(facts["session_key"])

    async def write_trust(self) -> None:
        """The file that `cgn receipt verify` and `cgn verify` take by `--trust`."""
        self._write("trust.json", (await self.trust()).decode())

    @property
    def trust_file(self) -> Path:
        return self.folder / "trust.json"

    def dservice_logs(self, name: str) -> dict[str, Path]:
        """Miner -> where what this DService prints there goes."""
        return {
            f"miner-{number}": self.folder / f"miner-{number}/logs/{name}.log"
            for number in range(1, self.options.miners + 1)
        }

    async def trust(self) -> bytes:
        """The keys a receipt is checked with, as whoever runs this network knows them: a trust file's content."""
        from cgn_sdk.protocol.receipt import Trust, TrustedMiner

        nodes = {self.plan.node.public_id: _public_key(self.folder / "node/node.pem")}
        miners = {
            miner.id: TrustedMiner(
                _public_key(self.folder / f"miner-{number}/signing.key"), miner.contributor.public_id
            )
            for number, miner in enumerate(self.plan.miners, 1)
        }
        if not self.options.chain:
            return Trust(nodes, miners, None, "").encode()
        chain_id = int(await self.rpc("eth_chainId"), 16)
        return Trust(nodes, miners, chain_id, self.token_address.lower()).encode()

    def _miner_key(self, number: int) -> bytes:
        return _public_key(self.folder / f"miner-{number}/signing.key")

    async def run(self, name: str, *words: str) -> tuple[int, str]:
        """A `cgn` command that ends by itself: exit code and standard output."""
        return await run_to_end(name, cgn(*words), self.folder / f"logs/{name}.log", time_limit_s=SETTLE_TIME_LIMIT_S)


def _public_key(path: Path) -> bytes:
    """The public half of an Ed25519 key file."""
    from cgn_chassis import keys

    if not path.exists():
        raise ChildFailed(f"there is no signing key {path}")
    return keys.public_bytes(keys.load_or_create(path))


def own_plan(found: Descriptor) -> DServicePlan:
    """A DService of a developer's folder: behind the launcher, which starts it again on every edit."""
    return DServicePlan(
        found.name,
        found.version,
        found.route,
        (sys.executable, "-m", "cgn_sdk.dservice.launcher", "--watch", str(found.folder)),
        egress=found.egress,
        memory_bytes=found.memory_bytes + LAUNCHER_BYTES,
        allowed_tiers=found.allowed_tiers,
        is_own=True,
    )


def central_settings(folder: Path, tls: Path, ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        "database": folder / "central.sqlite",
        "certificate": tls / "central.pem",
        "key": tls / "central.key",
        "authority": tls / "authority.pem",
        "machine_host": LOOPBACK,
        "machine_port": ports["machine"],
        "portal_host": LOOPBACK,
        "portal_port": ports["portal"],
    }


def node_settings(
    folder: Path, tls: Path, ports: Mapping[str, int], plan: NetworkPlan, ledger_url: str, central_fingerprint: str
) -> dict[str, Any]:
    return {
        "node_id": plan.node.id,
        "api_key_file": folder / "node.key",
        "state": folder / "node",
        "ledger": ledger_url,
        "geolocation": "sandbox",
        "sandbox": True,
        "work": {"host": LOOPBACK, "port": ports["work"]},
        "miner": {"host": LOOPBACK, "port": ports["miner"]},
        "status": {"host": LOOPBACK, "port": ports["status"], "metrics_port": ports["metrics"]},
        "central": {
            "host": LOOPBACK,
            "port": ports["central"],
            "authority": tls / "authority.pem",
            "fingerprints": [central_fingerprint],
        },
        "tls": {"certificate": tls / "node.pem", "key": tls / "node.key"},
    }


def this_machine() -> dict[str, int]:
    """What the miners run on, as it is registered at Central: more than that they are not paid for."""
    return {
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "kmips_per_thread_milli": KMIPS_PER_THREAD_MILLI,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def miner_settings(
    folder: Path, authority: Path, ports: Mapping[str, int], plan: NetworkPlan, index: int, slots: int
) -> dict[str, Any]:
    miner = plan.miners[index]
    return {
        "node": f"wss://{LOOPBACK}:{ports['miner']}/tunnel",
        "account_id": miner.contributor.id,
        "miner_id": miner.id,
        "api_key_file": folder.with_suffix(".key"),
        "authority": authority,
        "signing_key": folder / "signing.key",
        "runtime": folder / "run",
        "logs": folder / "logs",
        "slots": slots,
        "kmips_per_thread_milli": KMIPS_PER_THREAD_MILLI,
        "dservices": {
            one.name: {
                "version": one.version,
                **({"image": one.image} if one.image else {}),
                **({"command": list(one.command)} if one.command else {}),
                "egress": list(one.egress),
                "memory_mib": one.memory_bytes >> 20,
                "environment": [f"{name}={value}" for name, value in one.environment.items()],
            }
            for one in plan.dservices
        },
    }


def payouts_settings(folder: Path, ledger_url: str, chain_url: str) -> dict[str, Any]:
    keys = folder / "chain/keys"
    return {
        "ledger_url": ledger_url,
        "journal": folder / "payouts.sqlite",
        "rpc_url": chain_url,
        "manifest": folder / "chain/manifest.json",
        "collector_key_file": keys / "collector.key",
        "payer_key_file": keys / "payer.key",
        # A development chain does not fork, and a trial's payouts are a few 1e-9 CPU.
        "confirmations": 1,
        "minimum_payout_nano_cpu": 0,
    }
