"""The `cgn` command's dispatch."""

import subprocess
import sys

import pytest
from cgn_sdk import cli


def test_no_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "\n  miner " in capsys.readouterr().out


def test_a_misspelt_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["paiouts"]) == 2
    assert "Did you mean 'payouts'?" in capsys.readouterr().err


def test_every_command_has_its_line() -> None:
    assert set(cli.commands()) <= set(cli.ABOUT)


def test_help_imports_nothing_heavy() -> None:
    """A command pays only for its own imports."""
    code = (
        "import sys; from cgn_sdk import cli; cli.main(['--help'])\n"
        "print([m for m in ('web3', 'aiohttp', 'docker', 'elasticsearch', 'pyvips') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
