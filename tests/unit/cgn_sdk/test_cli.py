"""The `cgn` command's dispatch."""

import pathlib
import re
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


def test_a_command_that_is_not_installed_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the SDK is there: the command exists, but not here."""
    monkeypatch.setattr(cli, "commands", dict)
    assert cli.main(["verify", "--all"]) == 2
    said = capsys.readouterr().err
    assert re.match(r"cgn: 'verify' is not installed here: pip install 'cgn-[\d.]+-py3-none-any\.whl\[payouts\]'", said)


def test_a_command_without_its_extra_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command's package is there, a library of its extra is not."""

    class Point:
        value = "payouts.app:main"

        def load(self) -> None:
            raise ModuleNotFoundError("No module named 'web3'", name="web3")

    monkeypatch.setattr(cli, "commands", lambda: {"payouts": Point()})
    assert cli.main(["payouts"]) == 1
    assert re.search(
        r"'web3' is not installed: pip install 'cgn-[\d.]+-py3-none-any\.whl\[payouts\]'", capsys.readouterr().err
    )


def test_a_bug_in_a_command_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        value = "payouts.app:main"

        def load(self) -> None:
            raise ModuleNotFoundError("No module named 'payouts.typo'", name="payouts.typo")

    monkeypatch.setattr(cli, "commands", lambda: {"payouts": Point()})
    with pytest.raises(ModuleNotFoundError):
        cli.main(["payouts"])


def test_every_command_of_ours_says_what_brings_it() -> None:
    with_the_sdk = {"receipt", "dservice"}
    assert set(cli.ABOUT) == set(cli.EXTRAS) | with_the_sdk


def test_the_exit_code_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        value = "x:main"

        def load(self):  # type: ignore[no-untyped-def]
            return lambda words: len(words)

    monkeypatch.setattr(cli, "commands", lambda: {"up": Point()})
    assert cli.main(["up", "a", "b", "c"]) == 3


@pytest.mark.parametrize("name", sorted(cli.commands()))
def test_every_command_that_is_listed_is_there(name: str) -> None:
    """S-4: its module loads, and it can say what it does."""
    done = subprocess.run([sys.executable, "-m", "cgn_sdk.cli", name, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: cgn")


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_the_version_is_said(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 0
    assert re.match(r"cgn \d+\.\d+\.\d+\ncgn-sdk \d+\.\d+\.\d+\nPython 3\.", capsys.readouterr().out)


def test_help_of_a_command_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["help", "receipt"])
    assert capsys.readouterr().out.startswith("usage: cgn receipt")


def test_a_reader_that_stops_is_no_error() -> None:
    """`cgn … | head -1`"""
    code = "import sys; from cgn_sdk import cli; sys.exit(cli.main(['--help']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_the_sdk_holds_nothing_that_it_cannot_run() -> None:
    """S-7: it stands alone; what starts the services is a room of the distribution that has them."""
    import cgn_sdk

    folder = pathlib.Path(cgn_sdk.__file__).parent
    services = re.compile(
        r"^\s*(from|import) (cgn_(chassis|node|sandbox)|central_service|miner_client|ledger|payouts)", re.M
    )
    assert not [str(path) for path in folder.rglob("*.py") if services.search(path.read_text())]
