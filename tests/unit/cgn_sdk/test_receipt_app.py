"""`cgn receipt verify` as a person runs it: exit codes and what is printed. The files are the published example."""

import json
import socket
import sys
from pathlib import Path

import pytest
from cgn_sdk.receipt_app import main

VECTORS = Path(__file__).parents[2] / "vectors/receipt"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main(["verify", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


FILES = (VECTORS / "receipt.json", "--anchor", VECTORS / "anchor.json", "--trust", VECTORS / "trust.json")


def test_the_published_receipt_is_proven_without_a_network(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("a receipt is verified offline")

    monkeypatch.setattr(socket, "socket", no_network)
    code, text = run(capsys, *FILES, "--response", VECTORS / "response.txt")
    assert code == 0, text
    assert "PROVEN: request 000102030405060708090a0b0c0d0e0f" in text
    assert "0.000012345 EUR" in text
    assert "for this response" in text


def test_without_an_anchor_it_says_what_it_did_not_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, FILES[0], "--trust", VECTORS / "trust.json")
    assert code == 0
    assert "not looked at: the chain" in text


def test_an_altered_receipt_is_not_proven(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    receipt = json.loads(FILES[0].read_bytes())
    receipt["row"]["usage_fee_nano_eur"] = "12344"
    altered = tmp_path / "receipt.json"
    altered.write_text(json.dumps(receipt))
    code, text = run(capsys, altered, *FILES[1:])
    assert code == 1
    assert "NOT PROVEN" in text
    for finding in ("money_payouts_eur", "node_signature", "inclusion_path"):
        assert finding in text


def test_another_response_is_not_what_it_is_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    code, text = run(capsys, *FILES, "--response", other)
    assert code == 1
    assert "[response]" in text


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_receipt(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "receipt.json"
    path.write_bytes(content)
    code, text = run(capsys, path, *FILES[1:])
    assert code == 2
    assert str(path) in text
    code, text = run(capsys, tmp_path / "missing.json", *FILES[1:])
    assert code == 2


def test_it_starts_without_the_server_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """The SDK alone has no cryptography, no sha3: the same verdict by pycryptodome (S-7)."""
    import subprocess

    code = (
        "import sys\n"
        "sys.modules.update({'cryptography': None, 'sha3': None})\n"
        "from cgn_sdk.receipt_app import main\n"
        f"code = main(['verify', {str(FILES[0])!r}, '--anchor', {str(FILES[2])!r}, '--trust', {str(FILES[4])!r}])\n"
        "assert 'asyncio' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert b"PROVEN" in done.stdout
