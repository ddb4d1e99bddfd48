"""The gallery through a real node and miner, MediaGen as a child process and as a container: the committed bytes again (G-1,
G-10). tests/integration/mediagen/test_gallery.py does the same without a network."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from cgn_sandbox.network import Sandbox

from dservices.mediagen.gallery import render, table

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/gallery"
ENTRIES = table.entries()
SAMPLE = ("badge", "filters", "fit-blur", "ken-burns", "press", "quote", "spinner", "strip")
pytestmark = [pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gallery")
    render.prepare(made)
    made.chmod(0o755)  # a container's user reads it, too
    return made


@pytest.fixture(scope="module")
def image() -> str:
    """MediaGen's image of this checkout, built if it is not there (infra/images/build looks at what it is made of)."""
    said = subprocess.run(["infra/images/build"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    return "cgn-mediagen"


async def differing(folder: Path, runner: str) -> list[str]:
    """Files that are not as committed, all entries asked for in order."""
    found = []

    def keep(entry: table.Entry, data: bytes) -> None:
        if data != (DOCS / entry.file).read_bytes():
            found.append(entry.file)

    async with Sandbox(render.options(folder, runner=runner)) as network:
        await render.through(network, folder, ENTRIES, keep)
    return found


@pytest.mark.slow
async def test_every_entry_comes_through_node_and_miner_with_the_committed_bytes(folder: Path) -> None:
    """G-1, G-10: made again by `python -m dservices.mediagen.gallery build` when a locked library changes."""
    assert await differing(folder, "process") == []


@pytest.mark.slow
@pytest.mark.engine("docker")
async def test_a_container_behind_node_and_miner_gives_the_committed_bytes(folder: Path, image: str) -> None:
    """G-1 across containers: read-only root, no capabilities, no network but the miner's proxy, another user, other paths."""
    assert await differing(folder, "docker") == []


ENVIRONMENTS = {
    "one thread, UTC": ["--cpus", "1", "--env", "VIPS_CONCURRENCY=1"],
    "four threads, elsewhere": [
        *("--env", "VIPS_CONCURRENCY=4", "--env", "TZ=Pacific/Auckland", "--env", "LC_ALL=de_DE.UTF-8"),
        *("--hostname", "elsewhere", "--user", "12345:54321"),
    ],
    "an older processor's instructions": [
        *("--env", "VIPS_VECTOR=0x1fff", "--env", "WEBP_PROCESSOR=SSE2", "--env", "LANG=tr_TR.UTF-8"),
    ],
}


@pytest.mark.engine("docker")
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_threads_users_locales_and_time_zones_of_a_container_change_nothing(
    name: str, folder: Path, image: str
) -> None:
    """G-1, as a worker renders, without service around it."""
    wanted = {
        entry.name: hashlib.sha256((DOCS / entry.file).read_bytes()).hexdigest()
        for entry in ENTRIES
        if entry.name in SAMPLE
    }
    runner = ROOT / "tests/support/gallery_runner.py"
    said = subprocess.run(
        [
            *("docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp:size=64m,mode=1777"),
            *("--security-opt", "no-new-privileges", "--name", f"cgn-test-gallery-{os.getpid()}-{time.monotonic_ns()}"),
            *("-v", f"{folder}:/gallery:ro", "-v", f"{runner}:/runner.py:ro", *ENVIRONMENTS[name]),
            *(image, "python3", "/runner.py", "/gallery", *SAMPLE),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr[-2000:]
    assert dict(line.split() for line in said.stdout.splitlines()) == wanted


@pytest.mark.engine("docker")
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_miner_of_an_ordinary_user_in_the_engine_s_group_runs_the_container(image: str) -> None:
    """M-4: found by the gallery: the service's socket could be opened by root alone."""
    group = Path("/var/run/docker.sock").stat().st_gid
    runner = ROOT / "tests/support/ordinary_user_runner.py"
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cgn-user-") as name:
        Path(name).chmod(0o755)  # what the test session makes is root's alone
        said = subprocess.run(
            [sys.executable, str(runner), name, image, str(group)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.splitlines() == ["0 200 True True", "54321 200 True True"]
