"""The life of a process, with real processes and signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
from cgn_chassis import process

async def main(life):
    life.ready(port=7)
    if sys.argv[1] == "raise":
        raise RuntimeError("broken")
    if sys.argv[1] == "fail":
        life.fail("disk")
    if sys.argv[1] == "return":
        return 5
    if sys.argv[1] == "stop":
        life.stop("enough")
    await life.wait_stop()
    print("stopping", life.reason, flush=True)
    if sys.argv[1] == "stubborn":
        await asyncio.sleep(60)

sys.exit(process.run(main, name="example", grace_s=float(sys.argv[2])))
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


@pytest.mark.parametrize(("how", "code"), [("raise", 1), ("fail", 1), ("return", 5), ("stop", 0)])
def test_exit_codes(how: str, code: int) -> None:
    with start(how) as process:
        process.communicate(timeout=10)
        assert process.returncode == code


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
    with start("wait", CHASSIS_READY_FILE=str(path)) as process:
        ready(process)
        assert json.loads(path.read_text())["port"] == 7
        process.terminate()


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
