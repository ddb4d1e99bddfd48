"""A DService as a Docker container without a network (M-4, decision 0006).

What the container gets: the image by id, a read-only root, a small /tmp, a folder for its socket and, where it may
reach something, one with the socket of its way out, limits on memory, CPU, processes and open files. What it does not
get: a network, capabilities, new privileges, a shared IPC space, any other mount, the host's environment. Two
DServices share nothing but the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Final, Literal

from miner_client.runner import EGRESS_NAME, SOCKET_NAME, STOP_GRACE_S, DServiceSettings, RunnerFailed, wait_healthy

INSIDE: Final = "/run/cgn"
"""Where the DService makes its socket. Its contents are the DService's: the miner trusts nothing in it (`hop`)."""
INSIDE_EGRESS: Final = "/run/cgn-egress"
_SOCKET_FOLDER: Final = "size=64k,nr_inodes=16,mode=0777"
"""The folder holds one socket; as a small file system of its own it cannot fill the machine's disk."""
LABEL: Final = "cgn.dservice"
OWNER: Final = "cgn.owner"
"""Which miner process a container or volume belongs to, so that the next one removes what a killed one left."""
NOBODY: Final = 65_534
_OPEN_FILES: Final = 1_024
_LOG_LINES: Final = 8
_LOG_BYTES: Final = 1_000


class DockerRunner:
    """One DService as a container."""

    kind: Literal["docker"] = "docker"

    def __init__(self, settings: DServiceSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self.socket_path = folder / SOCKET_NAME
        self._client: Any = None
        self._container: Any = None
        self._volume: Any = None
        self._usage: _Cgroup | None = None
        self._ended: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._ended is not None and not self._ended.done()

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            await asyncio.to_thread(self._create)
            self._ended = asyncio.create_task(asyncio.to_thread(self._wait), name=f"end of {self._settings.name}")
            await wait_healthy(self._settings, self.socket_path, lambda: not self.alive)
        except RunnerFailed as failure:
            said = await asyncio.to_thread(_last_words, self._container) if self._container is not None else ""
            await self.stop()
            raise RunnerFailed(failure.code, f"{failure.detail}{said}") from None
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
        _remove_orphans(self._client)
        mounts = self._mounts()
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
            mounts=mounts,
            environment=self._environment(),
            log_config=LogConfig(type="json-file", config={"max-size": "4m", "max-file": "2"}),
            labels={LABEL: one.name, OWNER: _owner(os.getpid())},
        )
        self._container.start()
        self._container.reload()
        if self._volume is not None:
            self.socket_path = Path(self._volume.attrs["Mountpoint"]) / SOCKET_NAME
        try:
            self._usage = _Cgroup(self._container.attrs["State"]["Pid"])
        except (OSError, KeyError):
            raise RunnerFailed("ended", "the container ended at once") from None

    def _mounts(self) -> list[Any]:
        """The folder for the DService's socket, and the one of its way out.

        The first is a volume in memory, which only root can reach from outside the engine; for a miner that is not
        root it is the miner's own folder, where the DService could fill the disk: such a machine wants a quota on it.
        """
        from docker.types import DriverConfig, Mount

        mounts = []
        if os.geteuid() == 0:
            options = {"type": "tmpfs", "device": "tmpfs", "o": _SOCKET_FOLDER}
            self._volume = self._client.volumes.create(
                driver="local", driver_opts=options, labels={OWNER: _owner(os.getpid())}
            )
            driver = DriverConfig("local", options)
            mounts.append(Mount(INSIDE, self._volume.name, type="volume", driver_config=driver, no_copy=True))
        else:
            inside = self._folder / "socket"
            inside.mkdir(exist_ok=True)
            inside.chmod(0o777)  # the container's user is nobody; the folder above is the miner's own
            self.socket_path = inside / SOCKET_NAME
            self.socket_path.unlink(missing_ok=True)
            mounts.append(Mount(INSIDE, str(inside.resolve()), type="bind"))
        if self._settings.egress:
            mounts.append(Mount(INSIDE_EGRESS, str(self._folder.resolve()), type="bind", read_only=True))
        return mounts

    def _environment(self) -> dict[str, str]:
        egress = {"CGN_EGRESS": f"{INSIDE_EGRESS}/{EGRESS_NAME}"} if self._settings.egress else {}
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
        volume, self._volume = self._volume, None
        if volume is not None:
            await asyncio.to_thread(_remove_volume, volume)
        if self._client is not None:
            self._client.close()
            self._client = None
        with contextlib.suppress(OSError):  # in memory it is gone with the volume
            self.socket_path.unlink()

    def cpu_ns(self) -> int:
        return self._usage.cpu_ns() if self._usage else 0

    def memory_bytes(self) -> int:
        return self._usage.memory_bytes() if self._usage else 0


def _owner(pid: int) -> str:
    """A process beyond the reuse of its number: namespace, id, start time. Empty when it does not run (any more)."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
    return f"{namespace}:{pid}:{started}"


def _is_orphan(owner: str) -> bool:
    """Whether the owner ran in our process namespace and is gone; of other namespaces we cannot tell."""
    namespace, _, rest = owner.rpartition("]:")
    pid, _, _ = rest.partition(":")
    if not pid.isdigit() or f"{namespace}]" != os.readlink("/proc/self/ns/pid"):
        return False
    return _owner(int(pid)) != owner


def _remove_orphans(client: Any) -> None:
    """Removes containers and volumes of miners that were killed before they could."""
    for container in client.containers.list(all=True, filters={"label": OWNER}):
        if _is_orphan(container.labels.get(OWNER, "")):
            with contextlib.suppress(Exception):
                container.remove(force=True, v=True)
    for volume in client.volumes.list(filters={"label": OWNER}):
        if _is_orphan((volume.attrs.get("Labels") or {}).get(OWNER, "")):
            _remove_volume(volume)


def _last_words(container: Any) -> str:
    """The end of what it printed, for the operator's log: without it nobody knows why it did not start."""
    with contextlib.suppress(Exception):
        text = container.logs(tail=_LOG_LINES)[-_LOG_BYTES:].decode(errors="replace").strip()
        return f"; it said: {text}" if text else ""
    return ""


def _remove(container: Any) -> None:
    with contextlib.suppress(Exception):
        container.stop(timeout=int(STOP_GRACE_S))
    with contextlib.suppress(Exception):
        container.remove(force=True, v=True)


def _remove_volume(volume: Any) -> None:
    with contextlib.suppress(Exception):
        volume.remove(force=True)


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
