"""The life of a process, with real processes and signals."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cgn_chassis import process as chassis_process

PROGRAM = """
import asyncio, sys
from cgn_chassis import process
from cgn_chassis.settings import SettingsError

class Wrong(Exception):
    pass

async def main(life):
    if sys.argv[1] == "missing file":
        open("/nowhere/key.pem")
    if sys.argv[1] == "expected":
        raise Wrong("the ledger is another network's")
    if sys.argv[1] == "reload":
        life.on_reload(lambda: print("reloaded", flush=True))
    life.ready(port=7)
    if sys.argv[1] == "raise":
        raise RuntimeError("broken")
    if sys.argv[1] == "fail":
        life.fail("disk")
    if sys.argv[1] == "return":
        return 5
    if sys.argv[1] == "settings":
        raise SettingsError(["port: at least 1"])
    if sys.argv[1] == "stop":
        life.stop("enough")
        life.give_up("too late")
        life.stop("again")
    if sys.argv[1] == "give up":
        life.give_up("no disk")
    await life.wait_stop()
    print("stopping", life.reason, flush=True)
    if sys.argv[1] == "stubborn":
        await asyncio.sleep(60)

sys.exit(process.run(main, name="example", grace_s=float(sys.argv[2]), expected=(Wrong,)))
"""


def start(how: str, grace_s: float = 5.0, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how, str(grace_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environ},
    )


def ready(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("READY ")
    return dict(json.loads(line[6:]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_then_a_graceful_stop(number: signal.Signals) -> None:
    with start("wait") as process:
        assert ready(process) == {"name": "example", "pid": process.pid, "port": 7}
        process.send_signal(number)
        assert process.communicate(timeout=10)[0] == f"stopping {number.name}\n"
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("how", "code"), [("raise", 1), ("fail", 1), ("return", 5), ("settings", 2), ("stop", 0), ("give up", 1)]
)
def test_exit_codes(how: str, code: int) -> None:
    with start(how) as process:
        process.communicate(timeout=30)
        assert process.returncode == code


def test_the_first_reason_to_stop_stands() -> None:
    with start("stop") as process:
        assert process.communicate(timeout=30)[0].splitlines()[1:] == ["stopping enough"]


def test_the_grace_time_ends() -> None:
    with start("stubborn", 0.1) as process:
        ready(process)
        process.terminate()
        process.communicate(timeout=10)
        assert process.returncode == 3


def test_a_second_signal_does_not_wait() -> None:
    with start("stubborn", 60) as process:
        ready(process)
        process.terminate()
        assert process.stdout is not None
        assert process.stdout.readline() == "stopping SIGTERM\n"
        process.terminate()
        process.communicate(timeout=10)
        assert process.returncode == 3


def test_the_ready_file_is_whole_when_it_exists(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.write_text("of the process before\n")
    with path.open() as before, start("wait", CHASSIS_READY_FILE=str(path)) as process:
        ready(process)
        assert json.loads(path.read_text())["port"] == 7
        assert before.read() == "of the process before\n", "whoever reads meanwhile reads one of the two, whole"
        process.terminate()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's death is Linux's")
def test_it_does_not_outlive_its_parent(tmp_path: Path) -> None:
    """The parent is killed with SIGKILL, so nothing of its own can clean up."""
    path = tmp_path / "ready"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, subprocess, sys, time\n"
            "os.environ['CHASSIS_DIE_WITH_PARENT'] = str(os.getpid())\n"
            "subprocess.Popen([sys.executable, '-c', sys.argv[1], 'wait', '5'])\n"
            "time.sleep(60)",
            PROGRAM,
        ],
        env={**os.environ, "CHASSIS_READY_FILE": str(path)},
        stdout=subprocess.DEVNULL,
    )
    while not path.exists():
        time.sleep(0.01)
    child = json.loads(path.read_text())["pid"]
    parent.kill()
    parent.wait()
    for _ in range(500):
        try:
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            break
        if state == "Z":
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the child outlived its parent")


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's death is Linux's")
def test_a_process_whose_parent_has_ended_already_does_not_begin() -> None:
    with start("stop", CHASSIS_DIE_WITH_PARENT=str(2**22)) as process:
        assert process.communicate(timeout=30)[0] == ""
        assert process.returncode == 1
    with start("stop", CHASSIS_DIE_WITH_PARENT=str(os.getpid())) as process:
        assert ready(process)["port"] == 7
        process.communicate(timeout=30)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("soft", "hard", "said"),
    [
        (1_024, 4_096, 4_096),
        (4_096, 4_096, 4_096),
        (1_024, resource.RLIM_INFINITY, chassis_process.OPEN_FILES_ENDLESS),
    ],
)
def test_the_soft_limit_of_open_files_becomes_the_hard_one(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, said: int
) -> None:
    limits = {resource.RLIMIT_NOFILE: (soft, hard)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    assert chassis_process.raise_open_files() == said
    assert limits == {resource.RLIMIT_NOFILE: (hard, hard)}


def test_descriptors_that_are_open_and_how_many_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = chassis_process.descriptors()
    assert before.limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    opened = {int(name) for name in os.listdir("/proc/self/fd") if Path(f"/proc/self/fd/{name}").exists()}
    assert before.open == len(opened)
    with (tmp_path / "one").open("w"):
        assert chassis_process.descriptors().open == before.open + 1
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    assert chassis_process.descriptors().limit == 1_024


async def test_an_error_that_nobody_waited_for_is_counted() -> None:
    loop, before = asyncio.get_running_loop(), chassis_process.unhandled()
    loop.set_exception_handler(chassis_process._on_unhandled)
    for error in (None, ValueError("broken")):
        loop.call_exception_handler({"message": "nobody waits", "exception": error})
    assert chassis_process.unhandled() == before + 2


async def test_the_first_that_ends_ends_the_others() -> None:
    ended: list[str] = []

    async def last(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    await chassis_process.wait_first(last("a"), asyncio.sleep(0), last("b"))
    assert sorted(ended) == ["a", "b"]
    with pytest.raises(ValueError, match="broken"):
        await chassis_process.wait_first(last("c"), fail())
    assert sorted(ended) == ["a", "b", "c"]


def test_a_hangup_reloads_where_nobody_sits_at_a_terminal() -> None:
    """9.2: log rotation and service managers send SIGHUP; the process goes on."""
    with start("reload") as process:
        ready(process)
        process.send_signal(signal.SIGHUP)
        assert process.stdout is not None
        assert process.stdout.readline() == "reloaded\n"
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "reloaded\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10)[0] == "stopping SIGTERM\n"


def test_a_hangup_with_nothing_to_reload_changes_nothing() -> None:
    with start("wait") as process:
        ready(process)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10)[0] == "stopping SIGTERM\n"


def test_the_end_of_the_terminal_is_a_wish_to_stop() -> None:
    leader, follower = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "wait", "5"], stdin=follower, stdout=subprocess.PIPE, text=True
    ) as process:
        ready(process)
        process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=10)[0] == "stopping SIGHUP\n"
        assert process.returncode == 0
    os.close(leader)
    os.close(follower)


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("missing file", 2, "cgn example: /nowhere/key.pem: there is no such file or folder\n"),
        ("expected", 2, "cgn example: the ledger is another network's\n"),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(how: str, code: int, said: str) -> None:
    """Without a trace, also for a program that never configured its log."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how, "5"], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (code, said)


def test_an_error_of_ours_is_told_without_a_configured_log() -> None:
    """A reporter that must be switched on first would leave nothing at all."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "raise", "5"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "RuntimeError: broken" in done.stderr
