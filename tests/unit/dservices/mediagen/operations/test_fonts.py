"""Fonts: the same faces wherever the packages lie (G-1), and only ours."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dservices.mediagen.operations import fonts

ROOT = Path(__file__).resolve().parents[5]
DRAW = (
    "import hashlib, re; from dservices.mediagen.operations.fonts import Fonts; Fonts().install(); import pyvips;"
    "i = pyvips.Image.text('<span font_family=\"Source Sans Pro\">Hamburg</span>', font='Source Sans Pro 18', dpi=72);"
    "print(hashlib.sha256(i.write_to_memory()).hexdigest(), *sorted(set(re.findall(r'[^/]*[.](?:otf|ttf)', open('/proc/self/maps').read()))))"
)


@pytest.mark.parametrize("place", ["plain", ".hidden/lib", "a b/c&d"])
def test_a_text_is_drawn_from_the_same_outlines_wherever_the_packages_lie(place: str, tmp_path: Path) -> None:
    """Found by comparing a container's pictures with a checkout's: below `.venv` the .otf files were taken."""
    for name in fonts.PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None, f"{name} is not installed: infra/setup"
        shutil.copytree(Path(spec.origin).parent, tmp_path / place / name)
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / place}:{ROOT}", "TMPDIR": str(tmp_path / "tmp")}
    said = subprocess.run([sys.executable, "-c", DRAW], env=environment, capture_output=True, text=True, check=True)
    here = subprocess.run(
        [sys.executable, "-c", DRAW],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == here.stdout
    assert said.stdout.split()[1:] == ["SourceSansPro-Regular.ttf"]


def test_two_installations_do_not_share_a_folder_and_a_stranger_s_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = fonts.chosen_files(None)
    first, second = fonts.prepared(files), fonts.prepared(files[:3])
    assert first != second
    assert fonts.prepared(files) == first
    assert sorted(path.resolve() for path in (second / "fonts").iterdir()) == sorted(
        path.resolve() for path in files[:3]
    )
    shutil.rmtree(first)
    first.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        fonts.prepared(files)
