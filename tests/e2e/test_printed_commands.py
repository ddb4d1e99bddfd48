"""What `cgn up` prints is run as it is printed (S-5): a command that a newcomer copies must work."""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import pyvips
from cgn_sandbox.network import cgn

SCRIPT = """function main() {
  var m = new Media();
  m.makeCanvas(xs @ 64, ys @ 48, fillColor @ 0x1f4b7a);
  m.save(type @ 'jpeg');
}
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short name: names of UNIX sockets may have 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        yield Path(folder)


@pytest.mark.timeout(240)
async def test_the_commands_that_up_prints(short_path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(short_path)}
    process = await asyncio.create_subprocess_exec(
        *cgn("up", "--no-chain"), stdout=asyncio.subprocess.PIPE, env=environment, start_new_session=True
    )
    assert process.stdout is not None
    try:
        printed = ""
        async with asyncio.timeout(120):
            while '/main.ms"' not in printed:
                line = await process.stdout.readline()
                assert line, f"cgn up ended: {printed}"
                printed += line.decode()
        folder = re.search(r"put main\.ms into (\S+)\)", printed)
        assert folder is not None, printed
        Path(folder[1]).mkdir(parents=True, exist_ok=True)
        (Path(folder[1]) / "main.ms").write_text(SCRIPT)
        commands = [line for line in printed.splitlines() if line.startswith("  ")]
        assert [line.split()[0] for line in commands].count("export") == 6
        shell = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", "\n".join(commands), cwd=tmp_path, stderr=asyncio.subprocess.PIPE
        )
        _, said = await shell.communicate()
        assert shell.returncode == 0, said.decode()
        data = (tmp_path / "picture.jpg").read_bytes()
        assert data.startswith(b"\xff\xd8"), data[:500]
        assert pyvips.Image.new_from_buffer(data, "").width == 64
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()
