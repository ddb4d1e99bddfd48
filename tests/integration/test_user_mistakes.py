"""Mistakes that users make, and the sentence each gets: what to do, an exit code by one table, never a trace (O-5).

Beside this table: descriptors (test_descriptor), miners (test_miner_check, test_settings), Central (test_app), `cgn init`
(test_operate), `cgn up` (test_sandbox_life, test_tutorial_dservice), DServices (test_dservice_launcher).
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cgn_chassis.tls import Authority

CASES: list[tuple[str, int, str]] = [
    ("upp", 2, "there is no command 'upp'. Did you mean 'up'?"),
    ("", 2, "usage: cgn COMMAND"),
    ("up --miners 0", 2, "argument --miners: invalid choice: 0"),
    ("up --miners 7", 2, "argument --miners: invalid choice: 7"),
    ("up --miner 2", 2, "unrecognized arguments: --miner 2; did you mean --miners?"),
    ("miner rnu", 2, "did you mean run?"),
    ("central suspned ent_x", 2, "did you mean suspend?"),
    ("ledger exprot sqlite:///x", 2, "did you mean export?"),
    ("up --runner dokcer", 2, "did you mean docker?"),
    ("up --work-port 99999", 2, "'99999' is no port: a number from 0 to 65535"),
    ("up --work-port web", 2, "'web' is no port"),
    ("up --no-chain --no-mediagen --directory /proc/x", 2, "/proc/x"),
    (
        "up --no-chain --directory {folder}/a-very-long-name-of-a-folder-in-which-no-socket-can-have-its-name",
        1,
        "is too long a name",
    ),
    ("up --dservice {folder}", 2, "has no dservice.toml, which says how the DService starts"),
    ("dservice new Hello", 2, "'Hello' is no name: lower-case letters"),
    ("dservice new hello --template flask", 2, "invalid choice: 'flask'"),
    ("dservice new taken --into {folder}", 1, "File exists"),
    ("dservice run {folder}/nowhere", 2, "is no folder; `cgn dservice new NAME` makes one"),
    ("dservice check {folder}", 2, "has no dservice.toml"),
    ("node run --config {folder}/nowhere.toml", 2, "nowhere.toml: cannot be read"),
    ("node run --config {folder}/empty.toml", 2, "node_id must be given"),
    ("node run --config {folder}/odd.toml", 2, "no setting nod_id; did you mean node_id?"),
    ("node run --config {folder}/no.toml", 2, "no.toml:1:"),
    ("node run --config {folder}/node.toml", 2, "node.pem: there is no such file or folder"),
    ("node run --config {folder}/node.toml --check", 2, "tls.certificate: "),
    ("node key --config {folder}/node.toml", 2, "run the node until it is linked, then ask again"),
    ("central run --config {folder}/central.toml", 2, "there is no database"),
    ("central audit --config {folder}/central.toml", 2, "there is no database"),
    ("central seed {folder}/nowhere.json --config {folder}/central.toml", 2, "nowhere.json: cannot be read"),
    ("central seed {folder}/no.toml --config {folder}/central.toml", 2, "not JSON"),
    ("central init --config {folder}/foreign.toml", 2, "is no SQLite database, or is damaged"),
    ("central suspend ent_x --config {folder}/central.toml", 2, "the following arguments are required: --why"),
    ("miner run --config {folder}/nowhere.toml", 2, "cannot be read"),
    ("miner key --config {folder}/nowhere.toml", 2, "cannot be read"),
    ("chain up --port {busy} --manifest {folder}/chain/m.json", 1, "is in use by another program: end that one"),
    ("chain up --manifest /proc/x/m.json --port 0", 2, "/proc/x"),
    ("chain status --url http://127.0.0.1:1 --manifest {folder}/m.json", 1, "m.json"),
    ("chain faucet --to me --amount 1 --manifest {folder}/m.json", 1, "m.json"),
    ("chain faucet --to me --amount some", 2, "'some' is not a positive number"),
    ("ledger init postgres://x", 1, "postgres"),
    ("ledger export sqlite:///{folder}/nowhere.sqlite", 1, "there is no ledger"),
    ("ledger seal sqlite:///{folder}/l.sqlite 2026-13", 2, "is not a month such as 2026-12"),
    ("ledger repair-spool {folder}/nowhere", 1, "nowhere"),
    ("payouts run --config {folder}/nowhere.toml", 2, "cannot be read"),
    ("payouts run --check --config {folder}/payouts.toml", 2, "ledger_url: there is no ledger"),
    ("payouts run --check --config {folder}/payouts.toml", 2, "rpc_url: http://127.0.0.1:1 "),
    ("payouts run --check --config {folder}/payouts.toml", 2, "payer_key_file: holds no private key"),
    ("payouts run", 2, "the following arguments are required: --config"),
    ("payouts account --key-file {folder}/empty.toml", 1, "cgn payouts"),
    ("verify --ledger sqlite:///x --rpc http://127.0.0.1:1 --token me", 2, "argument --token"),
    ("receipt verify {folder}/nowhere.json --trust {folder}/t.json", 2, "nowhere.json"),
    ("receipt verify {folder}/empty.toml --trust {folder}/t.json", 2, "cgn receipt"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as users have them."""
    place = tmp_path_factory.mktemp("u")
    (place / "taken").mkdir()
    (place / "empty.toml").write_text("")
    (place / "odd.toml").write_text('nod_id = "x"\n')
    (place / "no.toml").write_text("this is no TOML\n")
    (place / "key").write_text("k")
    (place / "key").chmod(0o600)
    authority = Authority.create("test")
    (place / "authority.pem").write_bytes(authority.certificate_pem)
    authority.issue_server("central", ["localhost"]).save(place / "central.pem", place / "central.key")
    (place / "node.toml").write_text(
        'node_id = "nod_x"\napi_key_file = "key"\nstate = "state"\nledger = "sqlite:///l.sqlite"\n'
        '[central]\nauthority = "authority.pem"\nfingerprints = ["x"]\n[tls]\ncertificate = "node.pem"\nkey = "node.key"\n'
    )
    central = 'certificate = "central.pem"\nkey = "central.key"\nauthority = "authority.pem"\n'
    (place / "central.toml").write_text(central + 'database = "misspelt.sqlite"\n')
    (place / "text").write_text("no database at all\n" * 200)
    (place / "foreign.toml").write_text(central + 'database = "text"\n')
    (place / "payouts.toml").write_text(
        'ledger_url = "sqlite:///nowhere.sqlite"\njournal = "j.sqlite"\nrpc_url = "http://127.0.0.1:1"\n'
        'token = "0x71bE63f3384f5fb98995898A86B02Fb2426c5788"\ncollector_key_file = "key"\npayer_key_file = "key"\n'
    )
    return place


@pytest.mark.parametrize(("words", "code", "said"), CASES, ids=[f"{words} -> {said}"[:100] for words, _, said in CASES])
def test_a_mistake_is_one_sentence(words: str, code: int, said: str, folder: Path) -> None:
    """Piped, without colour, without HOME and without a locale, as in a container."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = words.format(folder=folder, busy=taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "cgn_sdk.cli", *given.split()],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", "/nowhere")},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    printed = done.stdout + done.stderr
    assert printed.strip(), "nothing was said"
    assert "Traceback" not in printed
    assert not re.search(r"\x1b", printed)
    assert (done.returncode, said in printed) == (code, True), printed
