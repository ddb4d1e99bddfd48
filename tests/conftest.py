"""Engines that tests need, in one place.

A test names what it needs with `@pytest.mark.engine("docker")`. Where the engine is missing, the test is skipped by
that name and counted in the last lines; with CGN_REQUIRE_ENGINES=1 (as in CI) a missing engine is a failure (O-2).
"""

import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
ANVIL = ROOT / ".cache/chain/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
ELASTICSEARCH_URL = os.environ.get("CGN_TEST_ELASTICSEARCH", "http://127.0.0.1:9209")


def _docker() -> bool:
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )


def _listening(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1):
            return True
    except OSError:
        return False


def _program(*names: str) -> Callable[[], bool]:
    return lambda: all(shutil.which(name) for name in names)


ENGINES: dict[str, Callable[[], bool]] = {
    "anvil": lambda: Path(os.environ.get("CGN_ANVIL", ANVIL)).exists(),
    "bubblewrap": _program("bwrap"),
    "chromium": _program("chromium"),
    "docker": _docker,
    "elasticsearch": lambda: _listening(ELASTICSEARCH_URL),
    "forge": lambda: (ROOT / ".cache/contracts/node_modules/@foundry-rs/forge-linux-amd64/bin/forge").exists(),
    "nginx": _program("nginx"),
    "slither": lambda: (ROOT / ".cache/slither/bin/slither").exists(),
}

_present: dict[str, bool] = {}


def _is_present(name: str) -> bool:
    if name not in _present:
        _present[name] = ENGINES[name]()
    return _present[name]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("engine"):
        for name in mark.args:
            if _is_present(name):
                continue
            if os.environ.get("CGN_REQUIRE_ENGINES") == "1":
                pytest.fail(
                    f"the engine {name!r} is required here and missing (infra/engines starts it)", pytrace=False
                )
            pytest.skip(f"engine {name} is missing (infra/engines starts it)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: engine ").split(" ", 1)[0]
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and "engine " in str(report.longrepr[2])
    )
    for name, count in sorted(skipped.items()):
        terminalreporter.write_line(f"left out: {count} tests that need {name}")


@pytest.fixture(scope="session")
def elasticsearch_url() -> str:
    return ELASTICSEARCH_URL


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Returns a function that names a TCP port on loopback nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def anvil_url() -> Iterator[str]:
    """A development chain of this test session's own, with one-second blocks switched off (a block per transaction)."""
    program = os.environ.get("CGN_ANVIL", str(ANVIL))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [program, "--port", str(port), "--silent", "--enable-tx-gas-limit"], stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            if _listening(f"http://127.0.0.1:{port}"):
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)
