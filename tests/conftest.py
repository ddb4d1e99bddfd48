"""Engines that tests need, in one place.

A test names what it needs with `@pytest.mark.engine("docker")`. Where the engine is missing, the test is skipped by
that name and counted in the last lines; with CGN_REQUIRE_ENGINES=1 (as in CI) a missing engine is a failure (O-2).
"""

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("cgn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cgn")  # how long an example takes says how busy the machine is, not whether the code is right

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


def _namespaces() -> bool:
    """A network of one's own with routes in it."""
    command = ["unshare", "--user", "--map-root-user", "--net", "--mount", "ip", "route", "add", "local", "10.0.0.0/8"]
    try:
        return subprocess.run([*command, "dev", "lo"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


ENGINES: dict[str, Callable[[], bool]] = {
    "anvil": lambda: Path(os.environ.get("CGN_ANVIL", ANVIL)).exists(),
    "bubblewrap": _program("bwrap"),
    "azurite": lambda: (ROOT / ".cache/stores/node_modules/.bin/azurite-blob").exists() and _program("node")(),
    "chromium": _program("chromium"),
    "corpora": lambda: (ROOT / ".cache/corpora/complete").exists(),
    "docker": _docker,
    "elasticsearch": lambda: _listening(ELASTICSEARCH_URL),
    "forge": lambda: (ROOT / ".cache/contracts/node_modules/@foundry-rs/forge-linux-amd64/bin/forge").exists(),
    "namespaces": _namespaces,
    "nginx": _program("nginx"),
    "s3": lambda: (ROOT / ".cache/stores/bin/versitygw").exists(),
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
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def public_id(name: str) -> str:
    """A public id that stands for a name, the same in every run."""
    return "p" + base64.b32encode(hashlib.sha256(name.encode()).digest()[:16])[:26].decode().lower()


@pytest.fixture(scope="session")
def make_row() -> Callable[..., Any]:
    """Returns a function that builds a sound row; every argument has a default, names become public ids.

    make_row(7, fee_nano_eur=1_000, enterprise="e1", contributor="c1", developer="d1", operator="o1", parts={…}).
    The row id is the number in hexadecimal unless given; shares are 70 % and 20 %, the operator takes the rest.
    """
    from cgn_sdk.keccak import keccak_256
    from cgn_sdk.protocol import row

    def make(number: int = 1, *, fee_nano_eur: int = 1_000, rate: int = 50_000_000, **given: Any) -> row.Row:
        fee_cpu = row.fee_nano_cpu(fee_nano_eur, rate)
        names = {role: public_id(given.pop(role, role)) for role in ("enterprise", *row.PAYOUT_ROLES, "node")}
        eur = {"contributor": fee_nano_eur * 7 // 10, "developer": fee_nano_eur * 2 // 10}
        cpu = {"contributor": fee_cpu * 7 // 10, "developer": fee_cpu * 2 // 10}
        eur["operator"], cpu["operator"] = fee_nano_eur - sum(eur.values()), fee_cpu - sum(cpu.values())
        arguments: dict[str, Any] = {
            "row_id": f"{number:032x}",
            "event_time_ns": 1_795_250_000_000_000_000 + number,
            **{f"{role}_id": names[role] for role in ("node", "enterprise", "contributor", "developer", "operator")},
            "dservice": "mediagen",
            "dservice_version": "1.0.0",
            "tier": "2",
            "usage_fee_nano_eur": fee_nano_eur,
            "usage_fee_nano_cpu": fee_cpu,
            "exchange_rate_nano_eur_per_cpu": rate,
            "pay_in": [row.PayIn("enterprise", names["enterprise"], fee_cpu)],
            "payouts": [row.Payout(role, names[role], eur[role], cpu[role]) for role in sorted(eur)],
            "parts": {},
            "salt": hashlib.sha256(b"salt %d" % number).digest(),
            "keccak": keccak_256,
        }
        return row.build_row(**{**arguments, **given})

    return make
