"""The port behind which a DService runs: a Docker container, or a child process in the local sandbox (M-3, M-4).

A runner starts one DService, tells where its socket is, reads its CPU clock and memory, and ends it. It does not
restart it, does not send it work and knows nothing of tunnels. Every runner passes tests/conformance/test_runner.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

_log = logging.getLogger("cgn.miner.runner")

SOCKET_NAME: Final = "dservice.sock"
EGRESS_NAME: Final = "egress.sock"
HEALTH_TARGET: Final = "/_cgn/health"
NOT_YET: Final = 503
"""What a DService's health path answers while it starts. Any other answer shows a server that answers (S-12)."""
START_TIMEOUT_S: Final = 30.0
"""A DService that is not healthy by then will not be: image unpacked, interpreter and libraries loaded."""
SLOW_S: Final = 3.0
"""After so long the operator hears what is missing: most interpreters with their libraries are ready by then."""
HEALTH_EVERY_S: Final = 0.02
"""Between two looks while it starts; a look costs under a millisecond."""
STOP_GRACE_S: Final = 5.0
"""Between the wish to stop and the kill; work in flight was drained before."""


@dataclass(frozen=True, slots=True)
class DServiceSettings:
    """How one DService runs on this machine. With an `image` it runs under Docker, and `command` replaces the
    image's own; without one, `command` runs as a process."""

    name: str
    version: str
    image: str = ""
    command: tuple[str, ...] = ()
    port: int = 0
    """Where the process listens on its own loopback; 0: on the UNIX socket CGN_SOCKET."""
    health: str = HEALTH_TARGET
    memory_bytes: int = 1 << 30
    cpus_milli: int = 1_000
    """Thousandths of a CPU; enforced by Docker only."""
    pids: int = 128
    temporary_bytes: int = 64 << 20
    """Size of /tmp, the only place it can write to."""
    egress: tuple[str, ...] = ()
    """Where its outbound requests may go: `public`, or `host:port`. Empty: nowhere."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.image and not self.command:
            raise ValueError(f"DService {self.name}: give an image (Docker) or a command (process)")


class RunnerFailed(Exception):
    """The DService did not start. `code`: `no_engine`, `no_image`, `not_healthy` or `ended`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Runner(Protocol):
    """One DService on this machine."""

    socket_path: Path

    @property
    def kind(self) -> Literal["docker", "process"]: ...

    async def start(self) -> None:
        """Returns when the DService answers its health check. Raises RunnerFailed; nothing is left running then."""

    async def stop(self) -> None:
        """Ends it: asks, waits STOP_GRACE_S, kills. Leaves no process, container or socket. May be called twice."""

    async def wait_ended(self) -> None:
        """Returns when it has ended, for whatever reason."""

    @property
    def alive(self) -> bool: ...

    def cpu_ns(self) -> int:
        """CPU time used by all its processes since it started; never goes back. Costs a few microseconds."""

    def memory_bytes(self) -> int:
        """What its processes hold now."""


async def wait_healthy(
    one: DServiceSettings, socket_path: Path, ended: Callable[[], bool], *, timeout_s: float = START_TIMEOUT_S
) -> None:
    """Ask the DService's health until it answers, and not with 503. Raises RunnerFailed. What is missing goes to the
    log long before the time is over."""
    from miner_client.core.exchange import BadAnswer
    from miner_client.hop import Hop, HopFailed

    clock = asyncio.get_running_loop().time
    deadline, slow_at = clock() + timeout_s, clock() + SLOW_S
    hop = Hop(socket_path)
    problem = "the UNIX socket CGN_SOCKET did not appear (one that listens on a port says so by `port`)"
    try:
        while clock() < deadline:
            if clock() > slow_at:
                slow_at = deadline
                _log.warning("DService %s is not ready: %s", one.name, problem)
            if ended():
                raise RunnerFailed("ended", "the DService ended while it was starting")
            if socket_path.exists():
                try:
                    async with asyncio.timeout(2):
                        response = await hop.request("GET", one.health, [], None)
                        await response.whole(64 * 1024)
                    if response.status != NOT_YET:
                        return
                    problem = f"its health path {one.health} answers {response.status}, which means not yet"
                except (HopFailed, BadAnswer, TimeoutError) as error:
                    problem = f"its health path {one.health} gives no answer ({error})"
            await asyncio.sleep(HEALTH_EVERY_S)
    finally:
        await hop.close()
    raise RunnerFailed("not_healthy", f"{problem} within {timeout_s:.0f} s")


def make_runner(settings: DServiceSettings, folder: Path, *, log: Path | None = None) -> Runner:
    """The runner that fits the settings. `folder` is this DService's own, its sockets appear in it."""
    if settings.image:
        from miner_client.docker_runner import DockerRunner

        return DockerRunner(settings, folder)
    from miner_client.process_runner import ProcessRunner

    return ProcessRunner(settings, folder, log=log)


def docker_present() -> bool:
    """Whether a Docker Engine answers here."""
    try:
        import docker

        client = docker.from_env(timeout=5)
        try:
            client.ping()
        finally:
            client.close()
    except Exception:
        return False
    return True


def image_present(image: str) -> bool:
    """Whether the engine has this image. Raises what the engine raises when there is none."""
    import docker
    from docker import errors

    client = docker.from_env(timeout=5)
    try:
        client.images.get(image)
    except errors.ImageNotFound:
        return False
    finally:
        client.close()
    return True
