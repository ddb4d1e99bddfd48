"""The miner's settings: one file, `miner.toml`, or the environment (CGN_MINER_...)."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from cgn_sdk.protocol.limits import SLOTS_MAX
from cgn_sdk.protocol.messages import is_name

from cgn_chassis.settings import Secret, SettingsError, load, named_sections, setting
from miner_client import limits
from miner_client.runner import HEALTH_TARGET, DServiceSettings

PREFIX = "CGN_MINER_"
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class DServiceTable:
    """One enabled DService: `[dservices.<name>]`."""

    version: str = setting(about="The version this miner offers.")
    image: str = setting("", about="The Docker image it runs from; empty: `command` runs as a child process (sandbox)")
    command: tuple[str, ...] = setting((), about="What to run; `python` as first word is this miner's own interpreter.")
    port: int = setting(
        0,
        unit="port",
        about="Port of its own loopback that `command` listens on; 0: it listens on the UNIX socket CGN_SOCKET.",
        minimum=0,
        maximum=65_535,
    )
    health: str = setting(
        HEALTH_TARGET, about="Path that is asked whether it is ready: 503 means not yet, any other answer means yes."
    )
    memory_mib: int = setting(1024, unit="MiB", about="Memory it may hold.", minimum=16, maximum=1 << 20)
    cpus_milli: int = setting(1000, unit="CPU/1000", about="CPU it may use.", minimum=10, maximum=1_000_000)
    pids: int = setting(128, about="Processes and threads it may have.", minimum=8, maximum=32_768)
    temporary_mib: int = setting(64, unit="MiB", about="Size of its /tmp.", minimum=1, maximum=1 << 16)
    egress: tuple[str, ...] = setting((), about="Where it may connect to: `public`, `host:port`; empty: nowhere.")
    environment: tuple[str, ...] = setting((), about="Further environment of it, as NAME=value.")

    def for_runner(self, name: str, at: str) -> DServiceSettings:
        mistakes = []
        if not is_name(name) or not is_name(self.version):
            mistakes.append(f"{at}: name and version are of letters, digits and . _ + -, at most 64")
        if bool(self.image) == bool(self.command) and not self.image:
            mistakes.append(f"{at}: give an image (Docker) or a command (process)")
        if self.port and self.image:
            mistakes.append(f"{at}.port is for a command; a program in an image listens on the UNIX socket CGN_SOCKET")
        if not self.health.startswith("/") or not self.health.isascii() or not self.health.isprintable():
            mistakes.append(f'{at}.health is a path such as "/healthz", is {self.health!r}')
        if not all("=" in entry for entry in self.environment):
            mistakes.append(f"{at}.environment: entries are NAME=value")
        if mistakes:
            raise SettingsError(mistakes)
        command = self.command
        if command and command[0] == "python" and not self.image:
            command = (sys.executable, *command[1:])
        return DServiceSettings(
            name=name,
            version=self.version,
            image=self.image,
            command=command,
            port=self.port,
            health=self.health,
            memory_bytes=self.memory_mib * MEBIBYTE,
            cpus_milli=self.cpus_milli,
            pids=self.pids,
            temporary_bytes=self.temporary_mib * MEBIBYTE,
            egress=self.egress,
            environment=dict(entry.split("=", 1) for entry in self.environment),
        )


@dataclass(frozen=True)
class MinerSettings:
    node: str = setting(about="Address of the node's miner endpoint, such as wss://node.example:8080/tunnel.")
    account_id: str = setting(about="The operator's account.")
    miner_id: str = setting(about="This miner's record.")
    api_key: Secret = setting(about="The account's API key.")
    authority: Path | None = setting(None, about="The authority that the node's certificate must be signed by (PEM).")
    signing_key: Path = setting(
        Path("miner-signing.key"), about="Ed25519 key that signs what requests used; made on first start."
    )
    runtime: Path | None = setting(None, about="Folder of the DServices' sockets; a short path; none: a temporary one.")
    logs: Path | None = setting(None, about="Folder of the DServices' logs; none: beside their sockets.")
    share_ppm: int = setting(
        1_000_000, unit="parts per million", about="Share of the machine that may work.", minimum=1, maximum=1_000_000
    )
    slots: int = setting(0, about="Requests at once; 0: as many as the share allows.", minimum=0, maximum=SLOTS_MAX)
    kmips_per_thread_milli: int = setting(
        0, unit="MIPS per thread", about="CPU power; 0: measured at start.", minimum=0, maximum=10**9
    )
    drain_s: int = setting(
        limits.DRAIN_S,
        unit="s",
        about="After SIGTERM, at most, for running requests to end by their own deadlines; a second SIGTERM cuts them.",
        minimum=1,
        maximum=limits.DRAIN_S,
    )
    log_level: str = setting("info", about="What is logged.", choices=("debug", "info", "warning", "error"))
    dservices: dict[str, DServiceTable] = named_sections(about="What this miner runs.")

    def runner_settings(self) -> dict[str, DServiceSettings]:
        """Name -> how it runs. Raises SettingsError."""
        return {name: table.for_runner(name, f"dservices.{name}") for name, table in sorted(self.dservices.items())}


def read(path: Path | None) -> MinerSettings:
    """Reads and checks everything that can be checked without doing anything. Raises SettingsError with all
    mistakes."""
    settings = load(MinerSettings, path, prefix=PREFIX, environ=os.environ)
    folder = path.parent if path is not None else Path.cwd()
    settings = replace(settings, signing_key=folder / settings.signing_key)  # its default is beside the file too
    mistakes: list[str] = []
    parts = urlsplit(settings.node)
    if parts.scheme not in ("wss", "ws") or not parts.hostname:
        mistakes.append(f"node must be wss://host:port/tunnel, is {settings.node!r}")
    elif parts.scheme == "ws" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        mistakes.append("node: ws:// (without TLS) is for this machine only; give a wss:// address")
    elif parts.path != "/tunnel":
        mistakes.append(f"node: miners connect at the path /tunnel: write wss://{parts.netloc}/tunnel")
    if settings.authority is not None and not settings.authority.is_file():
        mistakes.append(f"authority: there is no file {settings.authority}")
    if not settings.dservices:
        mistakes.append("dservices: enable at least one DService in a table [dservices.<name>]")
    try:
        settings.runner_settings()
    except SettingsError as error:
        mistakes += error.mistakes
    if len({bool(table.image) for table in settings.dservices.values()}) > 1:
        mistakes.append("dservices: either all run from images or all as child processes; a node takes one kind")
    if mistakes:
        raise SettingsError(mistakes)
    return settings
