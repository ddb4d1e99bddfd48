"""The request path beside its peers, in one run: `python tests/bench/bench_path.py [--seconds 5] [--rounds 3]`.

Three ways to the same no-op DService, each with 100-byte and 64 KiB answers, at 1 and at 64 concurrent connections:

- `direct`: the load generator calls the DService's HTTP server itself;
- `nginx`: nginx (one worker, keep-alive upstream) proxies to it, plain HTTP, and `nginx tls` the same behind TLS;
- `cgn`: DApp over TLS to the node, session check, broker, tunnel over TLS, miner, DService, price, durable row.

Prints p50, p99, requests per second and requests per CPU-second of all server processes, and the ratios to nginx.
Cases are interleaved round by round; the table gives medians. Needs wrk and nginx.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
SIZES = {"100 B": 100, "64 KiB": 65_536}
CONNECTIONS = (1, 64)

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream dservice {{ server 127.0.0.1:{upstream}; keepalive 128; }}
  server {{
    listen 127.0.0.1:{plain} backlog=1024; listen 127.0.0.1:{tls} ssl backlog=1024;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 32 16k;
    location / {{ proxy_pass http://dservice; }}
  }}
}}
"""


@dataclass
class Case:
    """One way to reach the no-op: where, which headers, whose CPU counts."""

    name: str
    url: str
    processes: list[int]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Measured:
    p50_us: float
    p99_us: float
    requests_per_s: float
    requests_per_cpu_s: float
    errors: int


def descendants(pids: list[int]) -> set[int]:
    """The processes and all their children now alive."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found, grew = set(pids), True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found


def cpu_seconds(pids: list[int]) -> float:
    total = 0
    for pid in descendants(pids):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}


def wrk(case: Case, path: str, connections: int, seconds: int) -> Measured:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    for name, value in case.headers.items():
        command += ["-H", f"{name}: {value}"]
    before = cpu_seconds(case.processes)
    text = subprocess.run([*command, case.url + path], capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(case.processes) - before
    latency = {
        name: float(number) * UNITS_US[unit] for name, number, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)
    }
    counted, rated = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert counted and rated, text
    count, rate = int(counted[1]), float(rated[1])
    errors = sum(
        int(n) for n in re.findall(r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)", text)
    )
    return Measured(latency["50"], latency["99"], rate, count / max(used, 1 / TICKS), errors)


def machine() -> str:
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    kernel = ".".join(os.uname().release.split(".")[:2])
    return (
        f"{os.cpu_count()} × {model[1] if model else 'unknown processor'}, {memory_gib:.0f} GiB, Linux {kernel}, "
        f"Python {sys.version.split()[0]}, {time.strftime('%d %B %Y')}"
    )


def table(results: dict[tuple[str, str, int], list[Measured]], names: list[str]) -> str:
    def median(key: tuple[str, str, int], what: str) -> float:
        return statistics.median(float(getattr(one, what)) for one in results[key])

    lines = [
        "| answer | connections | path | p50 ms | p99 ms | requests/s | requests/CPU-s | rate ÷ nginx "
        "| CPU ÷ nginx | errors |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size in SIZES:
        for connections in CONNECTIONS:
            peer = ("nginx", size, connections)
            for name in names:
                key = (name, size, connections)
                rate, per_cpu = median(key, "requests_per_s"), median(key, "requests_per_cpu_s")
                lines.append(
                    f"| {size} | {connections} | {name} | {median(key, 'p50_us') / 1e3:.2f} | "
                    f"{median(key, 'p99_us') / 1e3:.2f} | {rate:,.0f} | {per_cpu:,.0f} | "
                    f"{rate / median(peer, 'requests_per_s'):.2f} | "
                    f"{median(peer, 'requests_per_cpu_s') / per_cpu:.1f} | "
                    f"{sum(one.errors for one in results[key])} |"
                )
    return "\n".join(lines)


def start_peers(folder: Path, certificate: Path, key: Path) -> tuple[list[subprocess.Popen[bytes]], int, int, int]:
    """The no-op DService on a port of its own and nginx before it. Returns the processes and three ports."""
    import socket

    def free() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    direct, plain, tls = free(), free(), free()
    noop = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/support/noop_dservice.py")],
        env={**os.environ, "CGN_PORT": str(direct)},
        stdout=subprocess.DEVNULL,
    )
    config = folder / "nginx.conf"
    config.write_text(
        NGINX.format(folder=folder, upstream=direct, plain=plain, tls=tls, certificate=certificate, key=key)
    )
    nginx = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    return [noop, nginx], direct, plain, tls


async def run(options: argparse.Namespace) -> str:
    from cgn_sandbox.network import Sandbox, SandboxOptions

    folder = Path(tempfile.mkdtemp(prefix="cgn-bench-"))
    peers: list[subprocess.Popen[bytes]] = []
    noop = [sys.executable, str(ROOT / "tests/support/noop_dservice.py")]
    try:
        only = SandboxOptions(chain=False, mediagen=False, miners=options.miners, extra_dservices={"noop": noop})
        async with Sandbox(only) as net:
            peers, direct, plain, tls = start_peers(folder, net.node_certificate, net.node_key)
            session = await net.open_session()
            server = net.process_ids("node", "miner")
            cases = [
                Case("direct", f"http://127.0.0.1:{direct}", [peers[0].pid]),
                Case("nginx", f"http://127.0.0.1:{plain}", [peers[0].pid, peers[1].pid]),
                Case("nginx tls", f"https://127.0.0.1:{tls}", [peers[0].pid, peers[1].pid]),
                Case("cgn", net.work_url, server, {"Authorization": f"Bearer {session}"}),
            ]
            await asyncio.sleep(1)
            results: dict[tuple[str, str, int], list[Measured]] = {}
            for case in cases:
                await asyncio.to_thread(wrk, case, "/noop/100", 8, 1)
            for number in range(options.rounds):
                for size, count in SIZES.items():
                    for connections in CONNECTIONS:
                        for case in cases:
                            one = await asyncio.to_thread(wrk, case, f"/noop/{count}", connections, options.seconds)
                            results.setdefault((case.name, size, connections), []).append(one)
                            print(
                                f"round {number + 1} {size:>7} {connections:>3} {case.name:<10} {one}", file=sys.stderr
                            )
            return table(results, [case.name for case in cases])
    finally:
        for peer in peers:
            peer.send_signal(signal.SIGTERM)
            peer.wait(timeout=10)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are printed")
    parser.add_argument("--miners", type=int, default=1)
    options = parser.parse_args()
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None:
            print(f"{program} is missing (infra/engines installs it)", file=sys.stderr)
            return 2
    print(machine() + "\n\n" + asyncio.run(run(options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
