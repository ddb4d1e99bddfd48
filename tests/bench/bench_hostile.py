"""Hostile peers beside an honest one: `python tests/bench/bench_hostile.py [--servers node,aiohttp,nginx] [--cases …]`.

Each case is done to our node and to two servers that many trust, aiohttp and nginx (one worker), all over TLS, each in
a process of its own that began with a soft limit of 1,024 open files. The attacker and the honest client are processes
of their own, too. An honest client asks for something small on one kept connection, fifty times a second; at the node
that is work: session, broker, tunnel, miner (in this process), row.

Prints a markdown table: the honest client's p50, p99 and longest wait, what became of its requests, how long the
attacker's connections were held at most, the server's memory before, at its peak, and 5 s after, and whether it lives.
The machine's load stands above it: figures of a busy machine compare servers of one run, no more.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

MIB = 1 << 20
LARGE = MIB - 8_192
"""Just below what the node holds back until its row is durable."""
HOSTILE = "ent_" + "h" * 20
LARGE_ANSWER, SMALL_ANSWER = ((body, sha256(body).hexdigest()) for body in (b"x" * LARGE, b"small"))
SOFT, HARD = 1_024, 20_000
AFTER_S = 5.0

NGINX = """
worker_processes 1; worker_rlimit_nofile {hard}; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_max_body_size 10m;
  server {{
    listen 127.0.0.1:{port} ssl backlog=1024; ssl_certificate {certificate}; ssl_certificate_key {key};
    location / {{ return 404; }}
    location = /small {{ return 200 "small"; }}
    location = /large {{ root {folder}; }}
    location = /take {{ proxy_pass http://127.0.0.1:{upstream}; }}
    location = /session {{ proxy_pass http://127.0.0.1:{upstream}; }}
  }}
}}
"""


@dataclass
class Server:
    """Where to attack, and what to say there."""

    name: str
    port: int
    authority: str
    pids: list[int]
    small: str
    large: str
    take: str
    honest: str = ""
    """Header lines that say who asks: the honest client."""
    hostile: str = ""
    """The attacker, who has an account, too."""

    def request(self, method: str, target: str, *lines: str, who: str | None = None) -> bytes:
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", *lines]
        return ("\r\n".join(head) + "\r\n" + (self.hostile if who is None else who) + "\r\n").encode()


@dataclass
class Case:
    """What one attacker does: `count` connections that say `first`, then `drip` every second, and read or do not."""

    name: str
    layer: str = "tls"
    count: int = 1
    first: bytes = b""
    drip: bytes = b""
    reads: bool = True
    seconds: float = 16.0
    addresses: int = 1

    def to_json(self, server: Server) -> str:
        said = {**self.__dict__, "first": base64.b64encode(self.first).decode()}
        said["drip"] = base64.b64encode(self.drip).decode()
        return json.dumps({**said, "port": server.port, "authority": server.authority})


def cases(server: Server) -> list[Case]:
    close = "Connection: close"
    chunked = "Transfer-Encoding: chunked"
    ask = server.request
    unfinished = ask("GET", server.small)[:-2]
    return [
        Case("quiet", count=0, seconds=8),
        Case("20,000 pipelined requests", first=ask("GET", "/x") * 19_999 + ask("GET", "/x", close)),
        Case(
            "1.5 MiB in 1-byte chunks",
            first=ask("POST", server.take, chunked, close) + b"1\r\nx\r\n" * (MIB // 4) + b"0\r\n\r\n",
        ),
        Case("400 pipelined GETs of 1 MiB, unread", first=ask("GET", server.large) * 400, reads=False),
        Case("1,500 connects, no handshake", layer="tcp", count=1_500, addresses=4),
        Case("10,000 connects, no handshake", layer="tcp", count=10_000, addresses=20),
        Case("240 readers of 1 MiB that never read", count=240, first=ask("GET", server.large), reads=False),
        Case("1,000 slow heads", count=1_000, first=unfinished, drip=b"X-a: b\r\n", addresses=4),
        Case(
            "1,000 slow bodies",
            count=1_000,
            first=ask("POST", server.take, "Content-Length: 60000"),
            drip=b"x" * 10,
            addresses=4,
        ),
        Case("1,000 slow handshakes", "tcp", 1_000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x03", addresses=4),
        Case(
            "1,000 slow session bodies",
            count=1_000,
            first=ask("POST", "/session", "Content-Length: 60000"),
            drip=b" " * 300,
            addresses=4,
        ),
    ]


# --- the attacker's process ----------


def is_open(one: socket.socket) -> bool:
    try:
        return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1  # TCP_ESTABLISHED
    except OSError:
        return False


async def attack(said: dict[str, Any]) -> dict[str, Any]:
    tls = ssl.create_default_context(cafile=said["authority"]) if said["layer"] == "tls" else None
    first, drip = base64.b64decode(said["first"]), base64.b64decode(said["drip"])
    held: list[float] = []
    failed = 0

    async def one(number: int) -> None:
        nonlocal failed
        began = time.monotonic()
        bare = socket.socket()
        bare.setblocking(False)
        bare.bind((f"127.0.1.{number % said['addresses'] + 1}", 0))
        if not said["reads"]:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        writer = None
        try:
            async with asyncio.timeout(20):
                await asyncio.get_running_loop().sock_connect(bare, ("127.0.0.1", said["port"]))
                began = time.monotonic()
                name = "localhost" if tls else None
                reader, writer = await asyncio.open_connection(sock=bare, ssl=tls, server_hostname=name, limit=1 << 20)
            if not said["reads"]:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(first)
            reading = asyncio.create_task(reader.read(-1)) if said["reads"] else None
            found = writer.get_extra_info("socket")
            told = began
            while is_open(found) and time.monotonic() - began < said["seconds"]:
                await asyncio.sleep(0.2)
                if drip and time.monotonic() - told >= 1:
                    told = time.monotonic()
                    writer.write(drip)
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        except (OSError, TimeoutError):
            failed += 1
        held.append(time.monotonic() - began)
        if writer is not None:
            writer.transport.abort()
        bare.close()

    tasks = set()
    for number in range(said["count"]):
        tasks.add(asyncio.create_task(one(number)))
        if number % 50 == 49:
            await asyncio.sleep(0.02)
    await asyncio.gather(*tasks)
    if not said["count"]:
        await asyncio.sleep(said["seconds"])
    return {"held": max(held, default=0.0), "failed": failed}


# --- the honest client's process ----------


def probe(said: dict[str, Any]) -> None:
    """Asks until standard input is closed; then says how long each answer took, in ms."""
    tls = ssl.create_default_context(cafile=said["authority"])
    waits: list[float] = []
    bad = 0
    request = base64.b64decode(said["request"])
    os.set_blocking(0, False)
    one: ssl.SSLSocket | None = None
    while os_read() is None:
        began = time.monotonic()
        try:
            if one is None:
                one = tls.wrap_socket(
                    socket.create_connection(("127.0.0.1", said["port"]), 20), server_hostname="localhost"
                )
            one.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                more = one.recv(65_536)
                if not more:
                    raise ConnectionError
                answer += more
            bad += b" 200 " not in answer.split(b"\r\n")[0] + b" "
        except (OSError, TimeoutError):
            bad += 1
            one = None
        waits.append((time.monotonic() - began) * 1000)
        time.sleep(0.02)
    print(json.dumps({"waits": waits, "bad": bad}))


def os_read() -> bytes | None:
    try:
        return os.read(0, 1)
    except BlockingIOError:
        return None


# --- servers ----------


def serve_aiohttp(port: int, certificate: str, key: str) -> None:
    from aiohttp import web

    async def take(request: web.Request) -> web.Response:
        size = 0
        async for piece in request.content.iter_any():
            size += len(piece)
        return web.Response(text=str(size))

    async def small(_: web.Request) -> web.Response:
        return web.Response(text="small")

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * LARGE)

    app = web.Application(client_max_size=10 * MIB)
    app.add_routes(
        [web.get("/small", small), web.get("/large", large), web.post("/take", take), web.post("/session", take)]
    )
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate, key)
    web.run_app(app, host="127.0.0.1", port=port, ssl_context=tls, print=None, access_log=None, backlog=1024)


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def until_listening(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            await asyncio.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


@contextlib.asynccontextmanager
async def node(folder: Path) -> AsyncIterator[Server]:
    from cgn_sdk.protocol.limits import PROGRESS_MS
    from cgn_sdk.protocol.messages import Head, Progress
    from node_process import node_process
    from node_world import ScriptedMiner

    async def live(miner: ScriptedMiner, stream: int) -> None:
        while True:
            await asyncio.sleep(PROGRESS_MS / 1000)
            miner.tunnel.progress(stream, Progress())
            miner.link.flush()

    async def serve(miner: ScriptedMiner, opened: Any) -> None:
        miner.acknowledge(opened.stream)
        living = asyncio.create_task(live(miner, opened.stream))
        try:
            request_bytes = len(await miner.body(opened.stream))
            answer, digest = LARGE_ANSWER if opened.message.target.endswith("/large") else SMALL_ANSWER
            miner.tunnel.head(opened.stream, Head(200, (), len(answer)))
            await miner.link.send_data(opened.stream, answer)
            miner.tunnel.data(opened.stream, b"", end=True)
            size = len(answer)
            miner.done(opened, b"", request_bytes=request_bytes, response_sha256=digest, response_bytes=size)
        finally:
            living.cancel()

    async with node_process(folder, (SOFT, HARD)) as (world, process):
        await world.miner(serve=serve, slots=64).join()
        honest = f"Authorization: Bearer {world.session_key}\r\n"
        (grant,) = world.central.accounts.values()
        world.central.accounts[HOSTILE] = replace(grant, account_id=HOSTILE, concurrency=1_000)
        opened = json.loads((await world.open_session(HOSTILE)).body)
        hostile = f"Authorization: Bearer {opened['session_key']}\r\n"
        authority = str(folder / "authority.pem")
        pids = [process.pid]
        yield Server(
            "node", world.ports["work"], authority, pids, "/noop/small", "/noop/large", "/noop/take", honest, hostile
        )


@contextlib.asynccontextmanager
async def started(*words: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, preexec_fn=limited, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@contextlib.asynccontextmanager
async def peer_aiohttp(folder: Path) -> AsyncIterator[Server]:
    port = free_port()
    words = [sys.executable, __file__, "serve", str(port), f"{folder}/node.crt", f"{folder}/node.key"]
    async with started(*words) as process:
        await until_listening(port)
        yield Server("aiohttp", port, f"{folder}/authority.pem", [process.pid], "/small", "/large", "/take")


@contextlib.asynccontextmanager
async def peer_nginx(folder: Path) -> AsyncIterator[Server]:
    port, upstream = free_port(), free_port()
    (folder / "large").write_bytes(b"x" * LARGE)
    config = folder / "nginx.conf"
    config.write_text(
        NGINX.format(
            folder=folder,
            port=port,
            upstream=upstream,
            hard=HARD,
            certificate=folder / "node.crt",
            key=folder / "node.key",
        )
    )
    async with (
        started(sys.executable, __file__, "serve", str(upstream), "", ""),
        started("nginx", "-p", str(folder), "-c", str(config)) as process,
    ):
        await until_listening(port)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        pids = [process.pid, *map(int, children)]
        yield Server("nginx", port, f"{folder}/authority.pem", pids, "/small", "/large", "/take")


SERVERS = {"node": node, "aiohttp": peer_aiohttp, "nginx": peer_nginx}


# --- one case ----------


def memory_mib(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    total += int(line.split()[1]) / 1024
    return total


@dataclass
class Result:
    server: str
    case: str
    waits: list[float]
    bad: int
    held: float
    memory: tuple[float, float, float]
    alive: bool
    limit_s: float = field(default=0.0)

    def line(self) -> str:
        waits = sorted(self.waits) or [float("nan")]
        p99 = waits[min(len(waits) - 1, len(waits) * 99 // 100)]
        held = "–" if not self.held else f"{self.held:.1f}" if self.held < self.limit_s else f"> {self.limit_s:.0f}"
        before, peak, after = self.memory
        cells = [
            self.case,
            self.server,
            f"{statistics.median(waits):.1f}",
            f"{p99:.0f}",
            f"{waits[-1]:.0f}",
            f"{len(self.waits)} / {self.bad}",
            held,
            f"{before:.0f} / {peak:.0f} / {after:.0f}",
            "yes" if self.alive else "**no**",
        ]
        return "| " + " | ".join(cells) + " |"


HEADER = """| case | server | honest p50 ms | p99 ms | longest ms | asked / failed | held s | MiB before / peak / after | alive |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


async def run_case(server: Server, case: Case) -> Result:
    said = {"port": server.port, "authority": server.authority}
    said["request"] = base64.b64encode(server.request("GET", server.small, who=server.honest)).decode()
    before = memory_mib(server.pids)
    script = [sys.executable, __file__]
    honest = await asyncio.create_subprocess_exec(
        *script, "probe", json.dumps(said), stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 24
    )
    await asyncio.sleep(1)
    attacker = await asyncio.create_subprocess_exec(
        *script, "attack", stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 24
    )
    doing = asyncio.create_task(attacker.communicate(case.to_json(server).encode()))
    peak = before
    while not doing.done():
        peak = max(peak, memory_mib(server.pids))
        await asyncio.sleep(0.1)
    found = json.loads((await doing)[0])
    waits = json.loads((await honest.communicate(b"."))[0])
    await asyncio.sleep(AFTER_S)
    after = memory_mib(server.pids)
    alive = all(Path(f"/proc/{pid}/fd").exists() for pid in server.pids)
    return Result(
        server.name, case.name, waits["waits"], waits["bad"], found["held"], (before, peak, after), alive, case.seconds
    )


async def main(arguments: argparse.Namespace) -> None:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load} at the start; soft limit {SOFT}, hard limit {HARD} of open files\n")
    print(HEADER, flush=True)
    wanted = arguments.cases.split(",") if arguments.cases else []
    for name in arguments.servers.split(","):
        with tempfile.TemporaryDirectory(dir="/tmp", prefix="hostile") as folder:
            import node_world

            node_world.make_settings(Path(folder))
            Path(folder).chmod(0o755)
            async with SERVERS[name](Path(folder)) as server:
                for case in cases(server):
                    if not wanted or any(word in case.name for word in wanted):
                        print((await run_case(server, case)).line(), flush=True)
    print(f"\nload {', '.join(f'{each:.1f}' for each in os.getloadavg())} at the end")


if __name__ == "__main__":
    if sys.argv[1:2] == ["attack"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD))
        print(json.dumps(asyncio.run(attack(json.loads(sys.stdin.buffer.read())))))
    elif sys.argv[1:2] == ["probe"]:
        probe(json.loads(sys.argv[2]))
    elif sys.argv[1:2] == ["serve"]:
        serve_aiohttp(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
        parser.add_argument("--servers", default="node,aiohttp,nginx")
        parser.add_argument("--cases", default="", help="parts of case names, parted by commas")
        asyncio.run(main(parser.parse_args()))
