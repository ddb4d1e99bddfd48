"""How to operate a network, followed word by word: its snippets are the script (O-1, O-3, S-6)."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/operate.md"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name: names of UNIX sockets may have 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        yield Path(folder)


def free_base(count: int = 8) -> int:
    """The first of so many ports in a row that nobody uses now."""
    for base in range(21_000, 31_000, count):
        probes = [socket.socket() for _ in range(count)]
        try:
            for number, probe in enumerate(probes):
                probe.bind(("127.0.0.1", base + number))
            return base
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no ports are free")


def test_the_page_is_the_script(place: Path) -> None:
    """Write, check, start, ask, add, renew, stop, back up, show the trust document."""
    steps = re.findall(r"```(sh|python)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    base = free_base()
    # Where programs share the machine's ports, the DService's may be taken.
    own_port = f"sed -i 's/^port = .*/port = {base + 7}/' hello/dservice.toml"
    script = ["set -euo pipefail -m", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for number, (kind, text) in enumerate(steps):
        if kind == "python":
            (place / f"step{number}.py").write_text(text)
            script.append(f"python step{number}.py")
        else:
            text = text.replace("cgn init net --host", f"{own_port}\ncgn init net --host")
            script.append(text.replace("--port-base 7700", f"--port-base {base}"))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TMPDIR": str(place)}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    logs = "".join(f"\n== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(place.glob("*.log")))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    assert "Hello, operator!" in done.stdout
    assert json.loads((place / "trust.json").read_text())["nodes"]
    assert (place / "renewed.txt").read_text().startswith("cgn central put-node nod_")
    assert (place / "backup/ledger.sqlite").stat().st_size > 0
    for unit in ("central", "node", "miner-1", "payouts"):
        text = (place / f"net/systemd/cgn-{unit}.service").read_text()
        assert f"{place}/net" in text
        assert "RestartPreventExitStatus=2" in text
    secret = [path for path in (place / "net").rglob("*") if path.suffix in (".key", ".json", ".toml")]
    secret = [path for path in secret if path.name != "policy.json"]  # what Central says to all
    assert not [path for path in secret if path.stat().st_mode & 0o077], "a key can be read by others"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["net"], "is not empty: take another folder; --renew renews"),
        (["new", "--port-base", "70000"], "--port-base must be from 1 to"),
        (["new", "--wallet", "enterprise=me"], "write one of enterprise, contributor, developer, operator"),
        (["new", "--dservice", "nowhere", "--runner", "process"], "nowhere is no folder"),
        (["new", "--dservice", "nowhere"], "add --runner process"),
        (["nowhere", "--renew"], "there is no such file or folder"),
        (["/proc/x/net"], "/proc/x"),
    ],
)
def test_mistakes_are_one_sentence(place: Path, words: list[str], said: str) -> None:
    (place / "net").mkdir()
    (place / "net/file").write_text("mine")
    command = [sys.executable, "-m", "cgn_sdk.cli", "init", *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
