"""`cgn node run --config node.toml`: builds one node and runs it until it is told to stop. `--check` only looks at the
settings."""

import asyncio
import ctypes
import gc
import json
import os
import re
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cgn_sdk.command_line import Parser
from cgn_sdk.protocol import ids
from cgn_sdk.protocol.redaction import redact_text

from cgn_chassis import failures, logs, process, settings
from cgn_chassis.checks import Findings
from cgn_chassis.keys import load, load_or_create, public_bytes
from cgn_chassis.process import Life
from cgn_chassis.settings import exposed
from cgn_chassis.supervisor import Supervisor
from cgn_chassis.tls import authority_findings, credential_findings, days_left, server_context
from cgn_node import limits
from cgn_node.client_address import Proxies
from cgn_node.config import Settings
from cgn_node.descriptors import ALL, LEAST, WANTED, Shares, share
from cgn_node.policy import load_copy

if TYPE_CHECKING:
    from cgn_sdk.protocol import link
    from cgn_sdk.signing import Signer
    from cgn_sdk.turns import Turns
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from cgn_node.central_endpoint import CentralEndpoint
    from cgn_node.core.commands import ReportError
    from cgn_node.driver import Driver
    from cgn_node.head_teller import HeadTeller
    from cgn_node.http_server import HttpListener
    from cgn_node.key_desk import KeyDesk
    from cgn_node.key_guard import KeyGuard
    from cgn_node.miner_endpoint import MinerEndpoint
    from cgn_node.policy import PolicyView
    from cgn_node.recorder import Recorder
    from cgn_node.session_file import SessionFile
    from cgn_node.sessions import Sessions
    from cgn_node.shipping import Shipping
    from cgn_node.status_endpoint import Facts, Latencies
    from cgn_node.work_endpoint import WorkEndpoint
    from ledger.heads import HeadKeeper
    from ledger.port import Store
    from ledger.refused import Refused
    from ledger.spool import Shipper, Spool

VERSION = "0.1.0"
COPY_NAME, KEY_NAME, HEAD_NAME = "policy.json", "node.pem", "head.json"
"""In the state folder: what Central last said, the key that signs rows and heads, the last head that was signed."""
STOP_S = 10
"""After the drain, for the shipper's last rows and for sockets to close."""

_log = logs.get("node")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="cgn node", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the node in the foreground")
    run.add_argument("--config", type=Path, help="TOML file; the environment (CGN_NODE_…) wins over it")
    run.add_argument("--check", action="store_true", help="check the settings, say what is wrong, and stop")
    key = commands.add_parser("key", help="print this node's public key, as a trust file holds it")
    key.add_argument("--config", type=Path, help="TOML file; the environment (CGN_NODE_…) wins over it")
    commands.add_parser("settings", help="print a settings file with every setting explained")
    given = parser.parse_args(arguments)
    if given.command == "settings":
        print(settings.reference(Settings), end="")
        return process.EXIT_OK
    try:
        chosen = settings.load(Settings, given.config, prefix="CGN_NODE_", environ=os.environ)
    except settings.SettingsError as error:
        print("\n".join(error.mistakes), file=sys.stderr)
        return process.EXIT_USAGE
    if given.command == "key":
        return _print_key(chosen)
    shares = share(process.raise_open_files())
    if given.check:
        return _check(chosen, shares)
    if shares is None:
        print(_TOO_FEW_FILES, file=sys.stderr)
        return process.EXIT_USAGE
    keep_freed_memory()
    sys.setswitchinterval(limits.SWITCH_INTERVAL_S)
    logs.configure(level=chosen.log_level, form=chosen.log, hide=ids.SECRET_PATTERNS, redact=redact_text)
    from ledger.port import StoreError
    from ledger.spool import SpoolBroken, SpoolDamaged

    return process.run(
        lambda life: run_node(chosen, life, shares),
        name="node",
        grace_s=chosen.drain_s + STOP_S,
        expected=(StoreError, SpoolDamaged, SpoolBroken),
    )


def keep_freed_memory() -> None:
    """Tells glibc's allocator to keep what bodies of 64 KiB free, instead of giving it back to the kernel and faulting
    it in again for the next one: measured, that halves what such a request costs. Elsewhere nothing happens."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim, top_pad, mmap = -1, -2, -3  # malloc.h
        libc.mallopt(trim, limits.MALLOC_TRIM_BYTES)
        libc.mallopt(top_pad, limits.MALLOC_TOP_PAD_BYTES)
        libc.mallopt(mmap, limits.MALLOC_MMAP_BYTES)


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def give_memory_back() -> None:
    """What the allocator keeps free beyond a bound goes back to the kernel: after a burst, nobody needs it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallinfo2"):
        libc.mallinfo2.restype = _Mallinfo
        if libc.mallinfo2().fordblks > limits.FREED_KEPT_BYTES:
            libc.malloc_trim(ctypes.c_size_t(limits.MALLOC_TOP_PAD_BYTES))


def _print_key(chosen: Settings) -> int:
    """The member `nodes` of a trust file: what a validator needs to believe this node's receipts, rows and heads."""
    welcome = load_copy(chosen.state / COPY_NAME)
    if welcome is None:
        problem = "Central has not told this node its public id yet: run the node until it is linked, then ask again"
        print(f"cgn node key: {problem}", file=sys.stderr)
        return process.EXIT_USAGE
    try:
        public_key = public_bytes(load(chosen.state / KEY_NAME))
    except (OSError, ValueError) as error:  # it only reads: a key is made by the node that signs with it
        print(f"cgn node key: {error}", file=sys.stderr)
        return process.EXIT_USAGE
    print(json.dumps({"nodes": {welcome.node_public_id: public_key.hex()}}))
    return process.EXIT_OK


_TOO_FEW_FILES = (
    f"this process may open too few files: a node needs {LEAST}, and {WANTED} for all connections it can serve; raise "
    "the hard limit (ulimit -Hn; LimitNOFILE= in a systemd unit; --ulimit nofile= for a container)"
)


def _check(chosen: Settings, shares: Shares | None) -> int:
    """What can be known to be wrong before anything starts."""
    mistakes = [] if shares else [_TOO_FEW_FILES]
    found = Findings(mistakes + exposed(chosen))
    found.mistakes += credential_findings(chosen.tls.certificate, chosen.tls.key, ("tls.certificate", "tls.key"))
    found.mistakes += authority_findings(chosen.central.authority, "central.authority")
    found.folder("state", chosen.state)
    for name, host, port in (
        ("work.port", chosen.work.host, chosen.work.port),
        ("miner.port", chosen.miner.host, chosen.miner.port),
        ("status.port", chosen.status.host, chosen.status.port),
        ("status.metrics_port", chosen.status.metrics_host, chosen.status.metrics_port),
        ("central.port", chosen.central.host, chosen.central.port),
    ):
        found.port(name, host, port)
    mistakes = found.mistakes
    mistakes += _ledger_findings(chosen.ledger, found)
    wrong = [pin for pin in chosen.central.fingerprints if not re.fullmatch(r"[0-9a-fA-F]{64}", pin)]
    mistakes += [f"central.fingerprints: {pin} is no SHA-256: 64 hexadecimal digits without colons" for pin in wrong]
    if not chosen.central.fingerprints:
        mistakes.append("central.fingerprints: without one, Central can never connect")
    try:
        Proxies(chosen.trusted_proxies, chosen.proxy_header)
    except ValueError as error:
        mistakes.append(f"trusted_proxies: {error}")
    for line in (*mistakes, *found.notes):
        print(line, file=sys.stderr)
    if not mistakes:
        print("the settings are fine")
    return process.EXIT_USAGE if mistakes else process.EXIT_OK


def _ledger_findings(url: str, found: Findings) -> list[str]:
    """Whether the ledger is one, and answers."""
    from ledger import open_store
    from ledger.port import StoreError

    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///"):
        found.database("ledger", path, "rows")
        return []

    async def look() -> None:
        store = await open_store(url, read_only=True)
        await store.close()

    try:
        asyncio.run(look())
    except (StoreError, ValueError, OSError) as error:
        said = failures.told(error, (StoreError,))
        return [f"ledger: {said.sentence if said else error}"]
    return []


@dataclass
class Node:
    """All parts of a running node, for `run_node` and for tests that start one in their own process."""

    driver: "Driver"
    central: "CentralEndpoint"
    miners: "MinerEndpoint"
    work: "WorkEndpoint"
    recorder: "Recorder"
    spool: "Spool"
    store: "Store"
    shipper: "Shipper"
    supervisor: Supervisor
    session_file: "SessionFile"
    contexts: list[ssl.SSLContext]
    """Those that show the node's certificate."""
    listeners: "list[HttpListener]" = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)

    async def drain(self, longest_s: float) -> bool:
        """Stops accepting, sends miners away, waits for what runs (N-18), and then until its readers have what is paid
        for. Returns whether all of it ended in time."""
        from cgn_node.core.events import Drain

        self.work.draining = True
        self.listeners[0].stop_accepting()
        self.miners.drain()
        self.driver.post(Drain())
        try:
            async with asyncio.timeout(longest_s):
                await self.driver.drained.wait()
                await self.listeners[0].finish()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Closes everything. Rows that the store has not taken stay in the spool for the next start."""
        for listener in self.listeners:
            await listener.close()
        await self.miners.close()
        await self.central.close()
        self.driver.stop()
        await self.supervisor.close()
        try:
            await asyncio.wait_for(self.shipper.drain(), STOP_S / 2)
        except Exception as error:  # whatever holds the last rows up: the next start has them
            _log.warning("node.rows_left_in_spool", rows=self.spool.backlog, problem=repr(error))
        await self.spool.close()
        await self.store.close()
        self.session_file.close()


def collect_rarely() -> None:
    """What is there after the start stays for good, and what a request makes ends with it, mostly without cycles: the
    collector's default pace would walk the kept rows again and again for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*limits.COLLECT_THRESHOLDS)


async def run_node(chosen: Settings, life: Life, shares: Shares) -> int:
    _log.info(
        "node.limits", work_connections=shares.work, miner_connections=shares.miners, open_files=shares.open_files
    )
    node = await start_node(chosen, life.give_up, shares)
    collect_rarely()
    _watch_certificate(chosen, node.supervisor)
    life.on_reload(lambda: _reload(chosen, node))
    life.ready(ports=node.ports)
    _log.info("node.ready", node_id=chosen.node_id, **{f"{name}_port": port for name, port in node.ports.items()})
    await life.wait_stop()
    in_time = False
    try:
        in_time = await node.drain(chosen.drain_s)
    finally:  # also at a second signal, which cancels: what is cut then is cut in order
        if not in_time:
            open_connections = node.listeners[0].connection_count
            _log.warning("node.drain_over", requests=len(node.driver.requests), connections=open_connections)
        await node.stop()
    return process.EXIT_OK if in_time else process.EXIT_UNCLEAN


def _reload(chosen: Settings, node: Node) -> None:
    """Takes a renewed certificate for the connections to come; one that cannot be used changes nothing."""
    findings = credential_findings(chosen.tls.certificate, chosen.tls.key, ("tls.certificate", "tls.key"))
    if findings:
        raise failures.Refusal("; ".join(findings))
    for context in node.contexts:
        context.load_cert_chain(chosen.tls.certificate, chosen.tls.key)


def _watch_certificate(chosen: Settings, supervisor: Supervisor) -> None:
    _tell_certificate(chosen)
    supervisor.every("look at the certificate", limits.CERTIFICATE_LOOK_S, lambda: _tell_certificate(chosen))


def _tell_certificate(chosen: Settings) -> None:
    """A certificate that has expired, or is about to, refuses DApps and miners without a word of ours to them."""
    left = days_left(chosen.tls.certificate)
    if left < limits.CERTIFICATE_TOLD_DAYS:
        level = _log.error if left < 0 else _log.warning
        level("node.certificate_expires", certificate=str(chosen.tls.certificate), days_left=left)


async def start_node(
    chosen: Settings, give_up: Callable[[str], None] = lambda reason: None, shares: Shares = ALL
) -> Node:
    """Builds every adapter, wires them to one broker, and listens. `give_up` hears why the node cannot go on."""
    from cgn_sdk.protocol import link
    from cgn_sdk.signing import Signer
    from cgn_sdk.turns import Turns

    from cgn_node.core.broker import Broker
    from cgn_node.core.settings import BrokerSettings
    from cgn_node.driver import Driver
    from cgn_node.head_teller import HeadTeller
    from cgn_node.http_server import HttpListener
    from cgn_node.key_desk import KeyDesk
    from cgn_node.recorder import Recorder
    from cgn_node.status_endpoint import Facts, Latencies

    state = chosen.state
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    signer = Signer(_signing_key(state).private_bytes_raw())
    ledger = await _open_ledger(chosen, signer, lambda: central.node_public_id)
    supervisor, turns, latencies = Supervisor(give_up), Turns(), Latencies()
    patience = BrokerSettings(chosen.miner.acknowledge_ms, chosen.miner.silence_ms)
    driver = Driver(Broker(patience), report=_report)
    sessions, session_file, guard = await _restored(chosen, driver.clock_ms())
    policy = _PolicyInForce(driver)

    def on_revoke(revoked: link.Revoke) -> None:
        sessions.revoke(set(revoked.account_ids))
        work_keys.revoke(set(revoked.account_ids))
        miners.revoke(revoked)

    central = _central(chosen, policy.change, on_revoke, turns)
    if central.welcome is not None:
        policy.change(central.welcome.policy)
    work_keys = KeyDesk(central, guard)
    proxies = Proxies(chosen.trusted_proxies, chosen.proxy_header)
    miners = _miner_endpoint(chosen, driver, policy, central, proxies, shares, turns)
    teller = HeadTeller(ledger.heads, central, signer.public_key)
    recorder = Recorder(driver=driver, identity=central, spool=ledger.spool, store=ledger.store, signer=signer)
    work = _work_endpoint(chosen, driver, policy, sessions, work_keys, proxies, recorder, latencies)
    tls = server_context((chosen.tls.certificate, chosen.tls.key))
    work_listener = HttpListener(
        work, tls=tls, name="work", connections_max=shares.work, turns=turns, is_proxy=proxies.is_proxy, disk=work.disk
    )
    stored = (ledger.spool, ledger.store, ledger.shipper)
    node = Node(driver, central, miners, work, recorder, *stored, supervisor, session_file, [tls])
    facts = Facts(
        geolocation=chosen.geolocation,
        version=VERSION,
        parts=node,
        work_listener=work_listener,
        sessions=sessions,
        heads=ledger.heads,
        teller=teller,
        public_key=signer.public_key,
        latencies=latencies,
        policy=policy,
        shipping=ledger.shipping,
        refused=ledger.refused,
        rows_wait_s=chosen.rows_wait_s,
    )
    node.listeners = [work_listener, *_status_listeners(facts, tls, turns)]
    _keep_running(supervisor, ledger, teller, miners)
    await _listen(node, chosen)
    return node


@dataclass(frozen=True)
class _Ledger:
    """Where rows go: the spool, the store behind it, and what moves and signs them."""

    store: "Store"
    spool: "Spool"
    refused: "Refused"
    shipping: "Shipping"
    heads: "HeadKeeper"
    shipper: "Shipper"


async def _open_ledger(chosen: Settings, signer: "Signer", node_id: "Callable[[], str]") -> _Ledger:
    from cgn_node.shipping import Shipping
    from ledger import open_store
    from ledger.heads import HeadKeeper

    state = chosen.state
    store = await open_store(chosen.ledger, apart=True, now_ns=time.time_ns)
    spool = await _open_spool(state / "spool")
    refused = _refused(state / "refused")
    shipping = Shipping(lambda: spool.backlog, lambda: shipper.shipped)
    heads = HeadKeeper(store, signer, node_id=node_id, kept=state / HEAD_NAME)
    shipper = _shipper(spool, store, refused, shipping, heads)
    return _Ledger(store, spool, refused, shipping, heads, shipper)


def _miner_endpoint(
    chosen: Settings,
    driver: "Driver",
    policy: "_PolicyInForce",
    central: "CentralEndpoint",
    proxies: Proxies,
    shares: Shares,
    turns: "Turns",
) -> "MinerEndpoint":
    from cgn_node.key_desk import KeyDesk
    from cgn_node.key_guard import KeyGuard
    from cgn_node.miner_endpoint import MinerEndpoint

    return MinerEndpoint(
        node_id=chosen.node_id,
        driver=driver,
        policy=policy,
        keys=KeyDesk(central, KeyGuard()),
        proxies=proxies,
        sandbox=chosen.sandbox,
        connections_max=shares.miners,
        turns=turns,
    )


def _work_endpoint(
    chosen: Settings,
    driver: "Driver",
    policy: "_PolicyInForce",
    sessions: "Sessions",
    keys: "KeyDesk",
    proxies: Proxies,
    recorder: "Recorder",
    latencies: "Latencies",
) -> "WorkEndpoint":
    from cgn_node.bodies import body_folder
    from cgn_node.work_endpoint import WorkEndpoint

    return WorkEndpoint(
        driver=driver,
        sessions=sessions,
        keys=keys,
        proxies=proxies,
        policy=policy,
        recorder=recorder,
        bodies_folder=body_folder(chosen.state / "bodies"),
        held_bytes=chosen.work.held_bytes,
        latencies=latencies.add,
    )


def _keep_running(supervisor: Supervisor, ledger: _Ledger, teller: "HeadTeller", miners: "MinerEndpoint") -> None:
    supervisor.keep("ledger shipper", ledger.shipper.run)
    supervisor.keep("tell Central the head", teller.run)
    supervisor.every("tell of strangers", limits.STRANGERS_TOLD_S, miners.tell_strangers)
    supervisor.every("give memory back", limits.FREED_LOOK_S, give_memory_back)
    supervisor.every("look at the spool", limits.SHIPPING_LOOK_S, ledger.shipping.look)
    supervisor.every("count refused rows", limits.SHIPPING_LOOK_S, ledger.refused.look)


class _PolicyInForce:
    """What Central said last, for whoever asks; the broker hears of each change."""

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver
        self._view: PolicyView | None = None

    def __call__(self) -> "PolicyView | None":
        return self._view

    def change(self, changed: "link.Policy") -> None:
        from cgn_node.core import events
        from cgn_node.policy import PolicyView

        self._view = PolicyView.of(changed)
        self._driver.post(events.PolicyChanged(self._view.terms()))


def _central(
    chosen: Settings,
    on_policy: "Callable[[link.Policy], None]",
    on_revoke: "Callable[[link.Revoke], None]",
    turns: "Turns",
) -> "CentralEndpoint":
    from cgn_sdk.protocol import link

    from cgn_node.central_endpoint import CentralEndpoint

    return CentralEndpoint(
        link.NodeHello(chosen.node_id, chosen.api_key.reveal(), VERSION, chosen.geolocation),
        copy_path=chosen.state / COPY_NAME,
        fingerprints=chosen.central.fingerprints,
        on_policy=on_policy,
        on_revoke=on_revoke,
        turns=turns,
    )


def _signing_key(state: Path) -> "Ed25519PrivateKey":
    """The node's key, made at the first start. Raises SettingsError where something is signed with one that is gone: a
    new one would contradict it, and every validator would have to be told."""
    path, head = state / KEY_NAME, state / HEAD_NAME
    signed = [str(head)] if head.exists() else []
    signed += [str(segment) for segment in sorted((state / "spool").glob("*.spool"))]
    if signed and not path.exists():
        found = f"state: {path} is gone, and what was signed with it is here: {', '.join(signed)[:500]}"
        advice = "put the key back from a backup; to go on with a new one, move these away first and tell validators"
        raise settings.SettingsError([f"{found}. To do: {advice}"])
    return load_or_create(path)


async def _open_spool(folder: Path) -> "Spool":
    from ledger.spool import Spool

    spool = await Spool.open(folder)
    for dropped in spool.dropped:
        _log.error(
            "spool.dropped", segment=dropped.segment, bytes=dropped.size, rows=dropped.rows, kept=str(dropped.kept)
        )
    return spool


def _shipper(
    spool: "Spool", store: "Store", refused: "Refused", shipping: "Shipping", heads: "HeadKeeper"
) -> "Shipper":
    from cgn_sdk.keccak import keccak_256

    from ledger.spool import Shipper

    return Shipper(spool, store, keccak_256, on_refused=refused.keep, observe=shipping.observe, heads=heads)


def _refused(folder: Path) -> "Refused":
    from ledger.refused import Refusal, Refused

    def tell(refusal: Refusal) -> None:
        _log.error("ledger.row_refused", kept=str(refusal.path), reason=refusal.reason)

    return Refused(folder, tell)


async def _restored(chosen: Settings, now_ms: int) -> "tuple[Sessions, SessionFile, KeyGuard]":
    """Sessions of an earlier life of this node go on, and who opened them may open others without being held up."""
    from cgn_node.key_guard import KeyGuard
    from cgn_node.session_file import SessionFile
    from cgn_node.sessions import Sessions

    file = SessionFile(chosen.state / "sessions", chosen.work.session_ttl_s)
    sessions, guard = Sessions(chosen.work.session_ttl_s, file), KeyGuard()
    try:
        found = await asyncio.to_thread(file.load)
    except OSError as error:
        _log.error("sessions.not_restored", error=str(error))
        return sessions, file, guard
    now_s = time.time()
    for one in found:
        expires_ms = now_ms + int((one.expires_s - now_s) * 1000)
        sessions.restore(one.grant, expires_ms=expires_ms, digest=one.digest, pair=one.pair)
        guard.remember(one.pair, one.grant.account_id)
    _log.info("sessions.restored", sessions=len(sessions), unread=file.unread)
    return sessions, file, guard


def _report(command: "ReportError") -> None:
    """What the broker found wrong with somebody goes to the log."""
    _log.warning(f"broker.{command.kind}", request_id=command.request, miners=command.miners, detail=command.detail)


def _status_listeners(facts: "Facts", tls: ssl.SSLContext, turns: "Turns") -> "list[HttpListener]":
    """The public pages, and those for operators on loopback (N-3)."""
    from cgn_node.http_server import HttpListener
    from cgn_node.status_endpoint import private_pages, public_pages

    public, private = limits.STATUS_CONNECTIONS_MAX, limits.METRICS_CONNECTIONS_MAX
    return [
        HttpListener(public_pages(facts), tls=tls, name="status", connections_max=public, turns=turns),
        HttpListener(
            private_pages(facts),
            tls=None,
            name="metrics",
            connections_max=private,
            stranger_idle_s=limits.IDLE_CONNECTION_S,
            turns=turns,
        ),
    ]


async def _listen(node: Node, chosen: Settings) -> None:
    """The work endpoint last: who reaches it finds everything behind it up."""
    await node.recorder.note_spooled()
    credential = (chosen.tls.certificate, chosen.tls.key)
    mutual = server_context(credential, client_authority=chosen.central.authority)
    miners_tls = server_context(credential)
    node.contexts += [mutual, miners_tls]
    work, status, metrics = node.listeners
    node.ports = {
        "central": await node.central.start(chosen.central.host, chosen.central.port, mutual),
        "miner": await node.miners.start(chosen.miner.host, chosen.miner.port, miners_tls),
        "status": await status.start(chosen.status.host, chosen.status.port),
        "metrics": await metrics.start(chosen.status.metrics_host, chosen.status.metrics_port),
        "work": await work.start(chosen.work.host, chosen.work.port),
    }


if __name__ == "__main__":
    sys.exit(main())
