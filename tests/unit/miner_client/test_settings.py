"""miner.toml: every mistake at once, with its place (M-1, O-5)."""

import sys
from pathlib import Path

import pytest

from cgn_chassis.settings import SettingsError
from miner_client.app import main
from miner_client.settings import read

GOOD = """
node = "wss://node.example:8080/tunnel"
account_id = "con_a"
miner_id = "min_a"
api_key_file = "key"
[dservices.mediagen]
version = "1.0.0"
command = ["python", "-m", "dservices.mediagen"]
egress = ["public", "127.0.0.1:8123"]
environment = ["A=1=2"]
memory_mib = 256
"""


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "key").write_text("secret key\n")
    (tmp_path / "key").chmod(0o600)
    path = tmp_path / "miner.toml"
    path.write_text(text)
    return path


def test_a_good_file_says_how_each_dservice_runs(tmp_path: Path) -> None:
    settings = read(write(tmp_path, GOOD))
    assert settings.api_key.reveal() == "secret key"
    assert settings.signing_key == tmp_path / "miner-signing.key"
    one = settings.runner_settings()["mediagen"]
    assert one.command == (sys.executable, "-m", "dservices.mediagen")
    assert one.memory_bytes == 256 << 20
    assert one.environment == {"A": "1=2"}
    assert one.egress == ("public", "127.0.0.1:8123")


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        ("wss://node.example:8080/tunnel", "https://node.example", "node must be wss://"),
        ("wss://node.example:8080/tunnel", "ws://node.example/tunnel", "without TLS"),
        ("wss://node.example:8080/tunnel", "wss://node.example:8080", "write wss://node.example:8080/tunnel"),
        ('version = "', 'health = "x"\nversion = "', "is a path"),
        ('command = ["python", "-m", "dservices.mediagen"]', 'image = "x"\nport = 80', "is for a command"),
        ("[dservices.mediagen]", 'authority = "no.pem"\n[dservices.mediagen]', "authority: there is no file"),
        ("command = [", "other = [", "no setting dservices.mediagen.other"),
        ('command = ["python", "-m", "dservices.mediagen"]\n', "", "give an image (Docker) or a command"),
        ("A=1=2", "A", "NAME=value"),
        ("[dservices.mediagen]", '[dservices."a b"]', "letters, digits"),
        ("memory_mib = 256", "memory_mib = 1", "at least 16 MiB"),
        ("memory_mib = 256", '[dservices.b]\nversion = "1"\nimage = "b"', "one kind"),
        ('api_key_file = "key"', 'api_key = "secret"', "is a secret and does not stand here"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, before: str, after: str, mistake: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(write(tmp_path, GOOD.replace(before, after)))
    assert any(mistake in line for line in caught.value.mistakes), caught.value.mistakes


def test_check_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, GOOD)
    assert main(["run", "--config", str(path), "--check", "--offline"]) == 0
    assert "ready to join wss://node.example:8080/tunnel as min_a with mediagen" in capsys.readouterr().out
    assert (tmp_path / "miner-signing.key").stat().st_mode & 0o077 == 0
    path = write(tmp_path, GOOD.replace('"python"', '"no-such-program"'))
    (tmp_path / "miner-signing.key").chmod(0o644)
    assert main(["run", "--config", str(path), "--check", "--offline"]) == 2
    said = capsys.readouterr().err
    assert "there is no program no-such-program" in said
    assert "can be read by others" in said


def test_wrong_settings_end_with_a_usage_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", str(tmp_path / "nowhere.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_every_setting_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    said = capsys.readouterr().out
    for name in ("node", "signing_key", "slots", "[dservices.<name>]", "temporary_mib"):
        assert name in said
