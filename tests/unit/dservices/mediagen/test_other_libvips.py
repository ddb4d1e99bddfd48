"""MediaGen runs on the libvips of its wheel, and says so where another one lies over it."""

from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from dservices.mediagen import __main__ as program


def test_here_it_is_the_wheels() -> None:
    assert program.other_libvips() == ""


def test_another_one_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Laid:
        name = program.BINDING
        size = 5

        def locate(self) -> Path:
            (tmp_path / "x.so").write_bytes(b"a binding of pyvips' own")
            return tmp_path / "x.so"

    class Wheel:
        files: tuple[Any, ...] = (Laid(),)

    monkeypatch.setattr(program, "distribution", lambda name: Wheel())
    assert "pip install --force-reinstall --no-deps pyvips-binary" in program.other_libvips()
    assert program.main() == 2


def test_the_wheel_has_that_file() -> None:
    """Else nothing would ever be compared."""
    assert program.BINDING in {file.name for file in distribution("pyvips-binary").files or []}


def test_no_wheel_at_all() -> None:
    assert program.other_libvips("no-such-wheel") == "no-such-wheel is not installed: it brings libvips"
