"""A DService as a Docker container without a network (M-4, decision 0006).

What the container gets: the image by id, a read-only root, a small /tmp, one mounted folder with two sockets, limits
on memory, CPU, processes and open files. What it does not get: a network, capabilities, new privileges, a shared IPC
space, any other mount, the host's environment. Two DServices share nothing but the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Final, Literal

from miner_client.runner import SOCKET_NAME, STOP_GRACE_S, DServiceSettings, RunnerFailed, wait_healthy

INSIDE: Final = "/run/cgn"
LABEL: Final = "cgn.dservice"
NOBODY: Final = 65_534
_OPEN_FILES: Final = 1_024


class DockerRunner:
    """One DService as a container."""

    kind: Literal["docker"] = "docker"

    def __init__(self, settings: DServiceSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self.socket_path = folder / SOCKET_NAME
        self._client: Any = None
        self._container: Any = None
        self._usage: _Cgroup | None = None
        self._ended: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._ended is not None and not self._ended.done()

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o777)  # the container's user is nobody; the folder above is the miner's own
        self.socket_path.unlink(missing_ok=True)
        try:
            await asyncio.to_thread(self._create)
            self._ended = asyncio.create_task(asyncio.to_thread(self._wait), name=f"end of {self._settings.name}")
            await wait_healthy(self.socket_path, lambda: not self.alive)
        except BaseException:
            await self.stop()
            raise

    def _create(self) -> None:
        import docker
        from docker import errors
        from docker.types import LogConfig, Ulimit

        one = self._settings
        try:
            self._client = docker.from_env(timeout=30)
            image = self._client.images.get(one.image)
        except errors.ImageNotFound:
            raise RunnerFailed("no_image", f"the image {one.image} is not on this machine") from None
        except errors.DockerException as error:
            raise RunnerFailed("no_engine", f"no Docker Engine answers: {error}") from None
        self._container = self._client.containers.create(
            image.id,
            command=list(one.command) or None,
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            user=f"{NOBODY}:{NOBODY}",
            ipc_mode="none",
            init=True,
            pids_limit=one.pids,
            mem_limit=one.memory_bytes,
            memswap_limit=one.memory_bytes,
            nano_cpus=one.cpus_milli * 1_000_000,
            tmpfs={"/tmp": f"rw,noexec,nosuid,nodev,size={one.temporary_bytes},mode=1777"},  # noqa: S108
            ulimits=[Ulimit(name="nofile", soft=_OPEN_FILES, hard=_OPEN_FILES), Ulimit(name="core", soft=0, hard=0)],
            volumes={str(self._folder.resolve()): {"bind": INSIDE, "mode": "rw"}},
            environment=self._environment(),
            log_config=LogConfig(type="json-file", config={"max-size": "4m", "max-file": "2"}),
            labels={LABEL: one.name},
        )
        self._container.start()
        self._container.reload()
        self._usage = _Cgroup(self._container.attrs["State"]["Pid"])

    def _environment(self) -> dict[str, str]:
        egress = {"CGN_EGRESS": f"{INSIDE}/egress.sock"} if self._settings.egress else {}
        return {"CGN_SOCKET": f"{INSIDE}/{SOCKET_NAME}", **egress, **self._settings.environment}

    def _wait(self) -> None:
        with contextlib.suppress(Exception):
            self._container.wait(timeout=None)

    async def wait_ended(self) -> None:
        if self._ended is not None:
            await asyncio.shield(self._ended)

    async def stop(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            await asyncio.to_thread(_remove, container)
        if self._ended is not None:
            with contextlib.suppress(Exception):
                await self._ended
        if container is not None and self._usage is not None:
            self._usage.close()
        if self._client is not None:
            self._client.close()
            self._client = None
        self.socket_path.unlink(missing_ok=True)

    def cpu_ns(self) -> int:
        return self._usage.cpu_ns() if self._usage else 0

    def memory_bytes(self) -> int:
        return self._usage.memory_bytes() if self._usage else 0


def _remove(container: Any) -> None:
    with contextlib.suppress(Exception):
        container.stop(timeout=int(STOP_GRACE_S))
    with contextlib.suppress(Exception):
        container.remove(force=True, v=True)


class _Cgroup:
    """A container's usage files, kept open: a read costs a few microseconds. Understands cgroup v1 and v2."""

    def __init__(self, pid: int) -> None:
        groups = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            groups.update(dict.fromkeys(names.split(","), path.lstrip("/")))
        root = Path("/sys/fs/cgroup")
        self._two = "cpuacct" not in groups
        if self._two:
            cpu, memory = root / groups[""] / "cpu.stat", root / groups[""] / "memory.current"
        else:
            cpu = root / "cpuacct" / groups["cpuacct"] / "cpuacct.usage"
            memory = root / "memory" / groups["memory"] / "memory.usage_in_bytes"
        self._cpu = os.open(cpu, os.O_RDONLY | os.O_CLOEXEC)
        self._memory = os.open(memory, os.O_RDONLY | os.O_CLOEXEC)
        self._last_cpu = self._last_memory = 0

    def cpu_ns(self) -> int:
        with contextlib.suppress(OSError):  # the container has ended: what was read last stays
            text = os.pread(self._cpu, 64, 0)
            self._last_cpu = int(text.split()[1]) * 1_000 if self._two else int(text)
        return self._last_cpu

    def memory_bytes(self) -> int:
        with contextlib.suppress(OSError):
            self._last_memory = int(os.pread(self._memory, 32, 0))
        return self._last_memory

    def close(self) -> None:
        os.close(self._cpu)
        os.close(self._memory)
