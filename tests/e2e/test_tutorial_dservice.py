"""The tutorial "your first DService" (S-5, S-6): its snippets are the script, to a first earned amount."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorial-dservice.md"
pytestmark = [pytest.mark.engine("anvil"), pytest.mark.timeout(300), pytest.mark.slow]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short name: names of UNIX sockets may have 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        yield Path(folder)


async def shell(command: str, folder: Path, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", command),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def read_until(stream: asyncio.StreamReader, words: str) -> str:
    printed = ""
    async with asyncio.timeout(180):
        while words not in printed:
            line = await stream.readline()
            assert line, f"it ended: {printed}"
            printed += line.decode()
    return printed


async def test_from_nothing_to_a_first_earned_amount(short_path: Path, tmp_path: Path) -> None:
    commands = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    make, up, edit, settle = commands
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TMPDIR": str(short_path),
    }
    await shell(make, tmp_path, environment)
    assert programs[0].rstrip() in (tmp_path / "hello/app.py").read_text()

    words = up.split()
    words.insert(2, "--no-mediagen")  # which the page does not use, and which costs a test seconds
    network = await asyncio.create_subprocess_exec(
        *words,
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert network.stdout is not None
    assert network.stderr is not None
    try:
        greeting = await read_until(network.stdout, "cgn verify")
        environment |= dict(re.findall(r"export (\w+)=(\S+)", greeting))
        (tmp_path / "ask.py").write_text(programs[1])
        first = await shell("python ask.py", tmp_path, environment)
        assert first.startswith("Hello, Ada!\n\n200000 words\n")
        own = re.search(r"developer (p[a-z2-7]{26}) (\d+) nano-EUR", first)
        assert own is not None
        assert own[1] in greeting
        assert int(own[2]) > 0

        await shell(edit, tmp_path, environment)
        told = await read_until(network.stderr, "app.py changed: starting again")
        assert re.search(r"hello@miner-\d \| ", told)
        async with asyncio.timeout(60):
            while "Good morning, Ada!" not in await shell("python ask.py", tmp_path, environment):
                await asyncio.sleep(0.1)

        checked = await shell(settle.replace("run", "run --check", 1), tmp_path, environment)
        assert "the settings are in order" in checked
        paid = await shell(settle, tmp_path, environment)
        assert re.search(rf"Paid to\s+developer\s+{own[1]}\s+0\.\d*[1-9]", paid), paid
        assert "The books agree with the chain." in paid
    finally:
        network.send_signal(signal.SIGINT)
        await asyncio.wait_for(network.communicate(), 60)


async def test_a_dservice_that_cannot_run_says_so_on_the_terminal(short_path: Path, tmp_path: Path) -> None:
    """Its last words reach the terminal of `cgn up` and whoever asks it, and the next edit repairs it."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TMPDIR": str(short_path),
    }
    await shell("cgn dservice new hello --template wsgi", tmp_path, environment)
    good = (tmp_path / "hello/app.py").read_text()
    (tmp_path / "hello/app.py").write_text("raise SystemExit('no licence')\n")
    network = await asyncio.create_subprocess_exec(
        *("cgn", "up", "--no-mediagen", "--no-chain", "--miners", "1", "--dservice", "hello"),
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert network.stdout is not None
    assert network.stderr is not None
    try:
        greeting = await read_until(network.stdout, "/hello\n")
        told = await read_until(network.stderr, "started again when a file in its folder changes")
        assert "it ended with exit code 1; its last words:" in told
        assert "hello@miner-1 |     no licence" in told
        commands = "\n".join(line for line in greeting.splitlines() if line.startswith("  "))
        assert "no licence" in await shell(commands, tmp_path, environment)
        (tmp_path / "hello/app.py").write_text(good)
        await read_until(network.stderr, "hello is ready after")
        assert (await shell(commands, tmp_path, environment)).endswith("Hello, world!\n")
    finally:
        network.send_signal(signal.SIGINT)
        await asyncio.wait_for(network.communicate(), 60)


async def test_mistakes_are_told_before_anything_starts(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    await shell("cgn dservice new hello", tmp_path, environment)
    for words, said in (
        ("--dservice nothing", "nothing is no folder; `cgn dservice new NAME` makes one"),
        ("--dservice hello --dservice hello", "the name hello is taken by"),
        ("--dservice hello --runner docker", "leave --runner docker out"),
    ):
        printed = await shell(f"cgn up {words} || test $? = 2", tmp_path, environment)
        assert said in printed
        assert "Traceback" not in printed
