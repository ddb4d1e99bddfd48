"""A network of its own in which every address there is leads to one hostile web server, and every name to a hostile
name server; in it, MediaGen as it is, with the system's resolver.

`python hostile_world.py FOLDER` in fresh user, network and mount namespaces (`COMMAND`). FOLDER holds `resolv.conf`,
`files/`, certificates, and gets: `direct.sock` (fetches itself), `egress.sock` (through the miner's proxy), `lists.sock`
(an operator's lists), `reached.txt`, `asked.txt`. Ends when its standard input closes.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from pathlib import Path

from hostile_dns import HostileDns
from hostile_web import HostileWeb

from miner_client.egress import Egress

COMMAND = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
SETUP = """
set -e
mount --bind {folder}/resolv.conf /etc/resolv.conf
mount --bind {folder}/nsswitch.conf /etc/nsswitch.conf
mount --bind {folder}/hosts /etc/hosts
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
ip -6 route add local ::/0 dev lo
"""
"""The last two lines make every address there is one of this machine's."""
LIMITS = {
    "CGN_MEDIAGEN_WORKERS": "1",
    "CGN_MEDIAGEN_FETCH_TOTAL_S": "1.5",
    "CGN_MEDIAGEN_SOURCE_MAX_BYTES": str(1 << 20),
}
LISTS = {
    "CGN_MEDIAGEN_ALLOW": "10.1.2.3:81, *.store.example, [fd00::5]:80",
    "CGN_MEDIAGEN_DENY": "93.184.216.99 bad.store.example *.worse.example 10.1.2.4 2606:4700::/32",
    "CGN_MEDIAGEN_ONLY": "good.example *.hostile.example 10.0.0.0/8 93.184.217.0/24 *.worse.example",
}
TLS_NAMES = ("valid", "expired", "selfsigned", "wrongname")


def contexts(folder: Path) -> ssl.SSLContext:
    """Which certificate is shown depends on the first label of the name that the client asks for."""
    made = {}
    for name in TLS_NAMES:
        made[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made[name].load_cert_chain(folder / f"{name}.pem")

    def choose(connection: ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = made.get((name or "").partition(".")[0], made["valid"])

    made["valid"].sni_callback = choose  # type: ignore[assignment]
    return made["valid"]


async def main(folder: Path) -> None:
    dns = HostileDns()
    await dns.start("127.0.0.53", 53)
    files = {path.name: path.read_bytes() for path in (folder / "files").iterdir()}
    web = HostileWeb(folder / "reached.txt", files)
    for port in (80, 81, 8080):
        await web.start(port)
    await web.start(443, contexts(folder))
    egress = Egress(folder / "way-out.sock", ["public"])
    await egress.start()

    services = []
    for name, settings in (
        ("direct", {}),
        ("egress", {"CGN_EGRESS": str(folder / "way-out.sock")}),
        ("lists", LISTS),
    ):
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("CGN_")},
            "SSL_CERT_FILE": str(folder / "authority.pem"),
            "CGN_SOCKET": str(folder / f"{name}.sock"),
            **LIMITS,
            **settings,
        }
        services.append(subprocess.Popen([sys.executable, "-m", "dservices.mediagen"], env=environment))
    try:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(0, ended.set)
        while not ended.is_set():
            (folder / "asked.new").write_text("".join(f"{n} {k} {c}\n" for (n, k), c in sorted(dns.asked.items())))
            (folder / "asked.new").replace(folder / "asked.txt")
            try:
                async with asyncio.timeout(0.2):
                    await ended.wait()
            except TimeoutError:
                pass
    finally:
        for service in services:
            service.terminate()
        for service in services:
            await asyncio.to_thread(service.wait, timeout=30)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    subprocess.run(["sh", "-c", SETUP.format(folder=where)], check=True)
    asyncio.run(main(where))
