"""Temporary folders leave nothing behind, whatever ends their process (S-5)."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cgn_chassis import scratch

HOLD = """
import sys, time
from cgn_chassis import scratch
folder = scratch.make(sys.argv[1])
(folder / "signing.key").write_text("secret")
print(folder, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_what_a_killed_process_left_goes_with_the_next_one(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, "cgn-x-"], stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(tmp_path)}
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.parent == tmp_path
        own = scratch.make("cgn-x-")
        assert (folder / "signing.key").exists(), "its process lives"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert scratch.sweep("cgn-x-") == [folder]
    assert not folder.exists()
    assert own.exists(), "ours is held"
    scratch.remove(own)
    assert list(tmp_path.iterdir()) == []


def test_other_folders_stay(tmp_path: Path) -> None:
    (tmp_path / "cgn-x-made-by-hand").mkdir()
    (tmp_path / "other").mkdir()
    assert scratch.sweep("cgn-x-") == []
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_stays_is_held_by_one(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cgn_chassis import scratch; print(scratch.hold(Path(sys.argv[1])))"
    )
    assert scratch.hold(tmp_path)
    ask = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "False\n"
    scratch.release(tmp_path)
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "True\n"
