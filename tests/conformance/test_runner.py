"""One body of tests for every runner (M-3, M-4, M-5), and attacks on the walls of the Docker one."""

import ast
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from miner_client.hop import Hop, HopFailed
from miner_client.runner import DServiceSettings, Runner, RunnerFailed, make_runner

PLAIN = Path(__file__).resolve().parents[1] / "support/plain_dservice.py"
IMAGE = "cgn-base"


def settings(kind: str, **changes: object) -> DServiceSettings:
    image = {"image": IMAGE} if kind == "docker" else {}
    command = ("python3", "-c", PLAIN.read_text()) if kind == "docker" else (sys.executable, str(PLAIN))
    return DServiceSettings(name="plain", version="1", command=command, **image, **changes)  # type: ignore[arg-type]


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.engine("docker"))])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def runner(kind: str, tmp_path: Path) -> AsyncIterator[Runner]:
    one = make_runner(settings(kind, memory_bytes=96 << 20, pids=32), tmp_path / "plain")
    await one.start()
    yield one
    await one.stop()


async def ask(one: Runner, target: str) -> str:
    hop = Hop(one.socket_path)
    try:
        async with asyncio.timeout(20):
            return (await (await hop.request("GET", target, [], None)).whole(1 << 20)).decode()
    finally:
        await hop.close()


async def inside(one: Runner, expression: str) -> str:
    """What a Python expression gives inside the DService."""
    return await ask(one, "/run/" + quote(expression, safe=""))


async def test_it_serves_and_leaves_nothing_behind(kind: str, tmp_path: Path) -> None:
    one = make_runner(settings(kind), tmp_path / "plain")
    await one.start()
    assert one.alive and one.kind == kind
    assert await inside(one, "6 * 7") == "42"
    await one.stop()
    assert not one.alive
    assert not one.socket_path.exists()
    await one.stop()


async def test_cpu_time_grows_with_work_and_never_goes_back(runner: Runner) -> None:
    """N-20: what is metered is what was used."""
    before = runner.cpu_ns()
    await inside(runner, "sum(i * i for i in range(3_000_000))")
    after = runner.cpu_ns()
    assert after - before > 30_000_000
    assert runner.cpu_ns() >= after
    assert runner.memory_bytes() > 1 << 20


async def test_work_of_its_children_counts(runner: Runner) -> None:
    code = "sum(i * i for i in range(9_000_000))"
    before = runner.cpu_ns()
    work = asyncio.create_task(
        inside(runner, f"subprocess.run([sys.executable or 'python3', '-c', {code!r}]).returncode")
    )
    while not work.done():
        await asyncio.sleep(0.05)
        runner.cpu_ns()
    assert await work == "0"
    assert runner.cpu_ns() - before > 100_000_000


async def test_a_dservice_that_dies_is_noticed(runner: Runner) -> None:
    with pytest.raises(HopFailed):
        await inside(runner, "os._exit(1)")
    async with asyncio.timeout(10):
        await runner.wait_ended()
    assert not runner.alive


async def test_memory_beyond_its_limit_ends_it(runner: Runner) -> None:
    with pytest.raises(HopFailed):
        for _ in range(40):
            await ask(runner, "/hog/16")
            await asyncio.sleep(0.1)
    async with asyncio.timeout(10):
        await runner.wait_ended()


async def test_the_hosts_environment_stays_outside(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CGN_SECRET_OF_THE_HOST", "secret")
    one = make_runner(settings(kind), tmp_path / "plain")
    await one.start()
    try:
        assert "secret" not in await inside(one, "dict(os.environ)")
    finally:
        await one.stop()


async def test_one_that_never_gets_healthy_is_refused_and_gone(kind: str, tmp_path: Path) -> None:
    wrong = DServiceSettings(
        name="wrong",
        version="1",
        image=IMAGE if kind == "docker" else "",
        command=("python3", "-c", "import sys; print('no licence'); sys.exit(3)"),
    )
    one = make_runner(wrong, tmp_path / "wrong")
    with pytest.raises(RunnerFailed, match="ended.*it said: no licence"):
        await one.start()
    assert not one.alive


PORTED = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if self.path.startswith("/_cgn") else 200)
        self.send_header("Content-Length", str(len(self.path))); self.end_headers(); self.wfile.write(self.path.encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


async def test_any_http_server_on_its_port_is_served(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """S-12: no socket, no health path, no header; path and query arrive byte for byte."""
    port = free_port()
    command = (sys.executable, "-c", PORTED, str(port))
    one = make_runner(DServiceSettings(name="plain", version="1", command=command, port=port), tmp_path / "plain")
    await one.start()
    try:
        assert await ask(one, "/a%2Fb?x=%20&y") == "/a%2Fb?x=%20&y"
    finally:
        await one.stop()
    assert not one.socket_path.exists()


async def test_one_on_another_port_is_told_at_once(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """It will not change its mind: nobody waits for the end of the time a start has."""
    port, other = free_port(), free_port()
    command = (sys.executable, "-c", PORTED, str(other))
    one = make_runner(DServiceSettings(name="plain", version="1", command=command, port=port), tmp_path / "plain")
    with pytest.raises(RunnerFailed, match=f"ended.*it listens on port {other} and its descriptor says port = {port}"):
        await one.start()
    assert not one.alive


@pytest.mark.engine("docker")
async def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunnerFailed, match="no_image.*cgn-not-there"):
        await make_runner(DServiceSettings(name="x", version="1", image="cgn-not-there"), tmp_path / "x").start()


ESCAPES = [
    ("write outside /tmp", "open('/opt/x', 'w')", "OSError: [Errno 30]"),
    ("write to /etc", "open('/etc/passwd', 'a')", "PermissionError", "OSError: [Errno 30]"),
    ("change the kernel", "open('/proc/sys/kernel/core_pattern', 'w')", "OSError: [Errno 30]", "PermissionError"),
    ("reboot by sysrq", "open('/proc/sysrq-trigger', 'w')", "OSError: [Errno 30]", "PermissionError", "FileNotFoundError"),
    ("be root", "os.setuid(0)", "PermissionError"),
    ("mount", "__import__('ctypes').CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None)", "-1"),
    ("new namespace", "__import__('ctypes').CDLL(None).unshare(0x10000000)", "-1"),
    ("make a device", "os.mknod('/tmp/disk', 0o60600, os.makedev(254, 0))", "PermissionError"),
    ("raw socket", "__import__('socket').socket(2, 3, 1)", "PermissionError"),
    ("reach the internet", "__import__('socket').create_connection(('1.1.1.1', 80), 2)", "OSError: [Errno 101]"),
    ("reach the host", "__import__('socket').create_connection(('172.17.0.1', 22), 2)", "OSError: [Errno 101]"),
    ("ask DNS", "__import__('socket').getaddrinfo('example.org', 80)", "gaierror"),
    ("the engine's socket", "os.path.exists('/var/run/docker.sock')", "False"),
    ("capabilities", "[l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff')]", "['0000000000000000']"),
    ("new privileges", "[l.split()[1] for l in open('/proc/self/status') if l.startswith('NoNewPrivs')]", "['1']"),
    ("system calls", "[l.split()[1] for l in open('/proc/self/status') if l.startswith('Seccomp:')]", "['2']"),
    ("run from /tmp", "(open('/tmp/x', 'w').write('#!/bin/sh'), os.chmod('/tmp/x', 0o755), os.execv('/tmp/x', ['x']))",
     "PermissionError"),
    ("fill /tmp", "[open(f'/tmp/{i}', 'wb').write(bytes(1 << 24)) for i in range(8)]", "OSError: [Errno 28]"),
    ("other users' processes", "sorted(int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) > 60)", "[]"),
]  # fmt: skip


@pytest.mark.engine("docker")
async def test_every_escape_fails(tmp_path: Path) -> None:
    """M-4: attacks from inside a container, each with what it must meet."""
    one = make_runner(settings("docker", memory_bytes=256 << 20), tmp_path / "plain")
    await one.start()
    try:
        for name, expression, *expected in ESCAPES:
            answer = await inside(one, expression)
            assert any(answer.startswith(start) for start in expected), f"{name}: {answer}"
        await inside(one, "[os.remove('/tmp/' + n) for n in os.listdir('/tmp')]")
    finally:
        await one.stop()


@pytest.mark.engine("docker")
async def test_the_whole_host_configuration_is_the_intended_one(tmp_path: Path) -> None:
    """M-4: every field of the engine's record that opens a wall, not only those that an attack happened to try. What is
    not named here has the value of a container that was given nothing."""
    import docker

    one = make_runner(
        settings("docker", memory_bytes=96 << 20, pids=33, cpus_milli=700, temporary_bytes=3 << 20), tmp_path / "plain"
    )
    client = docker.from_env()
    bare = client.containers.create(IMAGE, command=["true"])
    await one.start()
    try:
        given = one._container.attrs["HostConfig"]  # type: ignore[attr-defined]
        intended = {
            **bare.attrs["HostConfig"],
            "NetworkMode": "none", "ReadonlyRootfs": True, "CapDrop": ["ALL"], "IpcMode": "none", "Init": True,
            "SecurityOpt": ["no-new-privileges"], "PidsLimit": 33, "Memory": 96 << 20, "MemorySwap": 96 << 20,
            "NanoCpus": 700_000_000, "Tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,size={3 << 20},mode=1777"},
        }  # fmt: skip
        varying = {"Mounts", "Ulimits", "LogConfig", "Binds", "OomKillDisable", "ConsoleSize"}
        differ = {name for name in {*given, *intended} - varying if given.get(name) != intended.get(name)}
        assert not differ, {name: (given.get(name), intended.get(name)) for name in sorted(differ)}
        assert not given["Binds"] and not given["OomKillDisable"]
        assert [mount["Target"] for mount in given["Mounts"]] == ["/run/cgn"]
        ulimits = {entry["Name"]: (entry["Soft"], entry["Hard"]) for entry in given["Ulimits"]}
        assert ulimits == {"nofile": (1_024, 1_024), "core": (0, 0)}
        assert given["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "4m", "max-file": "2"}}
        config = one._container.attrs["Config"]  # type: ignore[attr-defined]
        assert (config["User"], config.get("ExposedPorts")) == ("65534:65534", None)
        assert not config["Tty"] and not config["OpenStdin"]
    finally:
        await one.stop()
        bare.remove(force=True)
        client.close()


@pytest.mark.engine("docker")
async def test_what_the_kernel_says_of_the_process_inside(tmp_path: Path) -> None:
    """M-4: all five sets of capabilities (one that is effective later is bounded now), privileges, filter, identity."""
    one = make_runner(settings("docker"), tmp_path / "plain")
    await one.start()
    try:
        status = await inside(one, "open('/proc/self/status').read()")
        lines = dict(line.split(":\t", 1) for line in ast.literal_eval(status).splitlines() if ":\t" in line)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(lines[name], 16) == 0, name
        assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")
        assert lines["Uid"].split() == lines["Gid"].split() == ["65534"] * 4
        assert set(lines["Groups"].split()) <= {"65534"}
    finally:
        await one.stop()


@pytest.mark.engine("docker")
async def test_a_fork_bomb_is_capped(tmp_path: Path) -> None:
    one = make_runner(settings("docker", pids=24), tmp_path / "plain")
    await one.start()
    try:
        answer = await inside(one, "[subprocess.Popen(['sleep', '5']) for _ in range(100)]")
        assert answer.startswith("BlockingIOError"), answer
        assert await inside(one, "1") == "1"
    finally:
        await one.stop()


@pytest.mark.engine("docker")
async def test_what_a_killed_miner_left_is_removed_by_the_next(tmp_path: Path) -> None:
    import docker

    script = (
        "import asyncio, os, pathlib, signal\n"
        "from miner_client.runner import DServiceSettings, make_runner\n"
        "async def main():\n"
        f"    one = make_runner(DServiceSettings('orphan', '1', image={IMAGE!r},"
        f" command=('python3', '-c', pathlib.Path({str(PLAIN)!r}).read_text())), pathlib.Path({str(tmp_path / 'a')!r}))\n"
        "    await one.start(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await killed.wait() == -signal.SIGKILL
    client = docker.from_env()
    orphans = {"all": True, "filters": {"label": "cgn.dservice=orphan"}}
    try:
        assert len(client.containers.list(**orphans)) == 1
        one, other = (make_runner(settings("docker"), tmp_path / name) for name in ("b", "c"))
        await one.start()
        await other.start()  # leaves the living one alone
        assert client.containers.list(**orphans) == []
        assert one.alive and await inside(one, "1") == "1"
        await asyncio.gather(one.stop(), other.stop())
    finally:
        client.close()


@pytest.mark.engine("docker")
async def test_two_dservices_see_nothing_of_each_other(tmp_path: Path) -> None:
    """M-4: neither files nor processes nor traffic."""
    first, second = (make_runner(settings("docker"), tmp_path / name) for name in ("first", "second"))
    await asyncio.gather(first.start(), second.start())
    try:
        await inside(first, "open('/tmp/mine', 'w').write('secret')")
        await inside(first, "open('/run/cgn/mine', 'w').write('secret')")
        assert await inside(second, "os.path.exists('/tmp/mine') or os.path.exists('/run/cgn/mine')") == "False"
        assert await inside(second, "os.listdir('/run/cgn')") == "['dservice.sock']"
    finally:
        await asyncio.gather(first.stop(), second.stop())


@pytest.mark.engine("docker")
async def test_the_folder_of_its_socket_cannot_fill_the_disk(tmp_path: Path) -> None:
    one = make_runner(settings("docker"), tmp_path / "plain")
    await one.start()
    try:
        assert "Errno 28" in await inside(one, "open('/run/cgn/large', 'wb').write(bytes(1 << 20))")
        assert "Errno 28" in await inside(one, "[open(f'/run/cgn/{i}', 'wb').close() for i in range(1000)]")
    finally:
        await one.stop()


async def test_a_link_in_place_of_its_socket_is_not_followed(runner: Runner, tmp_path: Path) -> None:
    """A DService must not make the miner speak to another socket of this machine, such as the engine's."""
    reached = asyncio.Event()
    elsewhere = tmp_path / "elsewhere"
    server = await asyncio.start_unix_server(lambda reader, writer: reached.set(), elsewhere)
    async with server:
        path = (await inside(runner, "os.path.dirname(os.environ['CGN_SOCKET'])")).strip("'")
        link = f"(os.remove('{path}/dservice.sock'), os.symlink('{elsewhere}', '{path}/dservice.sock'))"
        assert await inside(runner, link) == "(None, None)"
        with pytest.raises(HopFailed, match="unreachable"):
            await inside(runner, "1")
        assert not reached.is_set()


async def test_the_process_ends_with_the_miner(tmp_path: Path) -> None:
    """A miner that is killed leaves no DService running."""
    script = (
        "import asyncio, sys, pathlib\n"
        "from miner_client.runner import DServiceSettings, make_runner\n"
        "async def main():\n"
        f"    one = make_runner(DServiceSettings('plain', '1', command=({sys.executable!r}, {str(PLAIN)!r})),"
        f" pathlib.Path({str(tmp_path)!r}))\n"
        "    await one.start(); print(*sorted(one._cpu.processes()), flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    miner = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=-1, stderr=-1)
    assert miner.stdout is not None
    pids = [int(pid) for pid in (await miner.stdout.readline()).split()]
    assert pids
    os.kill(miner.pid, signal.SIGKILL)
    await miner.wait()
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"still running: {pids}")
