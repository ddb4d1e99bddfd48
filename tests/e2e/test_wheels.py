"""What is published: both wheels in a fresh environment outside a checkout, in a folder whose name has spaces (S-7, O-1).

Nothing here may come from this checkout but the two wheel files; the registries' packages are those of the lock.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not UV.exists(), reason="engine uv is missing (infra/setup brings it)"),
]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Distribution -> its wheel, built as `infra/wheels` does."""
    out = tmp_path_factory.mktemp("dist")
    build = [UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", out]
    for source in (ROOT / "sdk", ROOT):
        subprocess.run([*build, source], check=True)
    return {path.name.partition("-")[0]: path for path in out.glob("*.whl")}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A short name (of UNIX sockets), with spaces in it, outside the checkout."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        path = Path(folder) / "my net"
        path.mkdir()
        yield path


def environment(place: Path, venv: Path) -> dict[str, str]:
    """A user's environment: nothing of the checkout, a home of its own."""
    path = f"{venv / 'bin'}:{os.environ['PATH'].replace(str(Path(sys.executable).parent), '')}"
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("LANG", "SSL_CERT_FILE", "HTTPS_PROXY", "UV_INDEX_URL")
    }
    return {**kept, "PATH": path, "HOME": str(place), "TMPDIR": str(place.parent)}


def install(venv: Path, *wanted: str) -> None:
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    locked = ["--constraint", str(ROOT / "infra/requirements/run.lock")]
    command = [UV, "pip", "install", "--quiet", "--python", str(venv / "bin/python"), *locked, *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def sdk_alone(wheels: dict[str, Path], place: Path) -> Path:
    venv = place / "sdk alone"
    install(venv, str(wheels["cgn_sdk"]))
    return venv


@pytest.fixture(scope="module")
def everything(wheels: dict[str, Path], place: Path) -> Path:
    venv = place / "all of it"
    install(venv, str(wheels["cgn_sdk"]), f"cgn[all] @ {wheels['cgn'].as_uri()}")
    again = [UV, "pip", "install", "--quiet", "--python", str(venv / "bin/python"), "--no-deps"]
    locked = ["--constraint", str(ROOT / "infra/requirements/run.lock")]
    subprocess.run([*again, *locked, "--reinstall", "pyvips-binary"], check=True)  # as the README says
    return venv


def run(place: Path, venv: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, cwd=place, env=environment(place, venv), capture_output=True, text=True, check=False, timeout=300
    )


def test_the_sdk_alone_is_whole(sdk_alone: Path, place: Path) -> None:
    """S-7: client, MRL, receipts, framework, its commands; none of the services' packages."""
    code = (
        "import cgn_sdk.client, cgn_sdk.mrl, cgn_sdk.protocol.receipt, cgn_sdk.dservice.framework, cgn_sdk.dservice.asgi\n"
        "import importlib.util as u\n"
        "print(cgn_sdk.__version__, [n for n in ('web3', 'docker', 'elasticsearch', 'websockets', 'cgn_chassis') if u.find_spec(n)])"
    )
    assert run(place, sdk_alone, "python", "-c", code).stdout.endswith(" []\n")
    assert re.match(r"cgn-sdk \d", run(place, sdk_alone, "cgn", "--version").stdout)
    assert run(place, sdk_alone, "cgn", "receipt", "verify", "--help").returncode == 0
    up = run(place, sdk_alone, "cgn", "up")
    assert up.returncode == 2
    assert re.match(r"cgn: 'up' is not installed here: pip install 'cgn-[\d.]+-py3-none-any\.whl\[all\]'", up.stderr)


async def test_the_sdk_alone_makes_and_serves_a_dservice(sdk_alone: Path, place: Path) -> None:
    made = run(place, sdk_alone, "cgn", "dservice", "new", "hello")
    assert made.returncode == 0, made.stderr
    process = await asyncio.create_subprocess_exec(
        *("cgn", "dservice", "run", "hello"),
        cwd=place,
        env=environment(place, sdk_alone),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            address = (await process.stdout.readline()).split()[1].decode()
            assert b"hello is ready" in await process.stdout.readline()
        code = f"import urllib.request as u; print(u.urlopen('{address}?name=Ada').read().decode())"
        said = await asyncio.to_thread(run, place, sdk_alone, "python", "-c", code)
        assert said.stdout.startswith("Hello, Ada!")
    finally:
        process.terminate()
        await process.communicate()


FIRST_PAGE = re.compile(r"```python\n(.*?)```", re.DOTALL)
SCRIPT = "function main() { var m = new Media(); m.makeCanvas(xs @ 64, ys @ 48, fillColor @ 0x1f4b7a); m.save(type @ 'jpeg'); }"


@pytest.mark.skipif(shutil.which("npm") is None, reason="engine npm is missing (apt-get install npm)")
async def test_the_whole_network_from_wheels(everything: Path, place: Path) -> None:
    """S-5, O-1: `cgn up` with the chain, whose program is fetched at first use, and the first page's program."""
    process = await asyncio.create_subprocess_exec(
        *("cgn", "up", "--json"),
        cwd=place,
        env=environment(place, everything),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(400):
            line = await process.stdout.readline()
        assert line, (await process.communicate())[1].decode()
        said = json.loads(line)
        (Path(said["sources_folder"]) / "thumbnail.ms").write_text(SCRIPT)
        program = FIRST_PAGE.findall((ROOT / "README.md").read_text())[0]
        for invented, real in (
            ("https://127.0.0.1:PORT", said["work"]),
            ("ent_…", said["account"]),
            ("cgn_…", said["key"]),
            ("authority.pem", said["authority"]),
            ("https://example.org", said["sources"]),
        ):
            assert invented in program
            program = program.replace(invented, real)
        (place / "dapp.py").write_text(program)
        done = await asyncio.to_thread(run, place, everything, "python", "dapp.py")
        assert done.returncode == 0, done.stderr
        assert (place / "thumbnail.jpg").read_bytes().startswith(b"\xff\xd8")
        paid = await asyncio.to_thread(
            run, place, everything, "cgn", "payouts", "run", "--config", said["payouts_config"]
        )
        assert "The books agree with the chain." in paid.stdout, paid.stderr
        verify = ("cgn", "verify", "--ledger", said["ledger"], "--rpc", said["chain"], "--token", said["token"])
        verified = await asyncio.to_thread(run, place, everything, *verify, "--trust", said["trust"])
        assert verified.returncode == 0, verified.stdout + verified.stderr
    finally:
        process.send_signal(signal.SIGINT)
        _, told = await process.communicate()
    assert b"fetching the development chain's program" in told
    assert process.returncode == 0
    assert not [path for path in place.parent.iterdir() if path != place], "it left something behind"


@pytest.mark.skipif(shutil.which("npm") is None, reason="engine npm is missing (apt-get install npm)")
def test_the_demo_from_wheels(everything: Path, place: Path) -> None:
    """O-1: the main job, with its proofs."""
    told = run(place, everything, "cgn", "up", "--demo", "--output", str(place / "demo output"))
    assert told.returncode == 0, told.stdout + told.stderr
    assert "\x1b" not in told.stdout, "no colour where nobody sees it"
    assert "SOUND" in told.stdout, told.stdout
    for unchecked in ("whose it settles", "--node-key"):  # the newest rows may have no head yet
        assert unchecked not in told.stdout, told.stdout
