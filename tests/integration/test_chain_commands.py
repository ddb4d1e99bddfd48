"""`cgn chain deploy | status | faucet | up` as commands, on a real chain (P-1, P-14): what they write, refuse and never sign."""

import contextlib
import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from payouts import chain_app, chain_program, deploy
from payouts.deploy import Manifest
from payouts.rpc import Rpc

pytestmark = pytest.mark.engine("anvil")
DEPLOYER_KEY = deploy.development_key("somebody who deploys")
DEPLOYER = deploy.address_of(DEPLOYER_KEY)
ADMIN = deploy.address_of(deploy.development_key("admin"))


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def cgn(*words: object) -> Done:
    """What `cgn chain` does with these words, in this process: a second for each start would be most of the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = chain_app.main([str(word) for word in words])
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def rpc(anvil_url: str) -> Iterator[Rpc]:
    rpc = Rpc(anvil_url)
    taken = rpc("evm_snapshot")
    rpc("anvil_setBalance", DEPLOYER, hex(10**21))
    yield rpc
    rpc("evm_revert", taken)


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, Any]:
    """Words that name a plan with accounts of its own, and a key file."""
    accounts = {name: f"0x{number:040x}" for number, name in enumerate(deploy.ROLES, 0xC001)}
    (tmp_path / "plan.json").write_text(json.dumps({"accounts": accounts, "admin_delay_s": 60, "hold_period_s": 7200}))
    (tmp_path / "deployer.key").write_text("0x" + DEPLOYER_KEY.hex() + "\n")
    return accounts


def signed(rpc: Rpc, account: str) -> int:
    return rpc.integer("eth_getTransactionCount", account, "pending")


def test_a_development_chain_is_deployed_to_once(rpc: Rpc, tmp_path: Path) -> None:
    manifest = tmp_path / "new" / "manifest.json"
    words = ("--url", rpc.url, "--manifest", manifest)
    done = cgn("deploy", *words)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[:-1]] == list(Manifest.load(manifest).contracts)
    written, transactions = manifest.read_bytes(), signed(rpc, ADMIN)
    again = cgn("deploy", *words)
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert (manifest.read_bytes(), signed(rpc, ADMIN)) == (written, transactions)

    given = cgn("faucet", *words, "--to", "0x" + "ab" * 20, "--amount", "2.5")
    assert given.returncode == 0, given.stderr
    status = cgn("status", *words)
    assert status.returncode == 0, status.stderr
    assert "the contracts are the manifest's" in status.stdout
    assert "2.500000000 CPU" in status.stdout
    facts = json.loads(cgn("status", *words, "--json").stdout)
    assert (facts["chain_id"], facts["supply_nano_cpu"], facts["paused"]) == (31337, "2500000000", False)
    assert all(role["holds"] for role in facts["roles"].values())


def test_a_plan_says_who_holds_what(rpc: Rpc, tmp_path: Path, plan: dict[str, Any]) -> None:
    words = ("--url", rpc.url, "--manifest", tmp_path / "manifest.json")
    done = cgn("deploy", *words, "--plan", tmp_path / "plan.json", "--key-file", tmp_path / "deployer.key")
    assert done.returncode == 0, done.stderr
    assert f"The admin {plan['admin']} has to accept the office" in done.stdout
    assert DEPLOYER_KEY.hex() not in done.stdout + done.stderr + (tmp_path / "manifest.json").read_text()
    facts = json.loads(cgn("status", *words, "--json").stdout)
    assert {role: item["account"] for role, item in facts["roles"].items()} == {
        role: plan[role] for role in ("collector", "payer", "pauser")
    }
    # a payouts account is its owner's, who has to agree
    assert f"The payouts account {plan['payer']} has to open itself" in done.stdout
    assert {role: item["holds"] for role, item in facts["roles"].items()} == {
        "collector": False,
        "payer": False,
        "pauser": True,
    }
    assert facts["admin"] == DEPLOYER, "until the plan's admin accepts"
    manifest = Manifest.load(tmp_path / "manifest.json")
    assert "Faucet" not in manifest.contracts
    assert rpc.ask(manifest.token.pending_default_admin())[0] == plan["admin"]
    assert rpc.ask(manifest.master_account.hold_period()) == 7200
    refused = cgn("faucet", *words, "--to", "0x" + "ab" * 20, "--amount", "1")
    assert refused.returncode == 1
    assert "no faucet" in refused.stderr


@pytest.mark.parametrize(
    ("plan_text", "key_text", "says"),
    [
        ("{}", None, "accounts"),
        ('{"accounts": {"admin": "0x01"}}', None, "the plan names no account for collector"),
        ("[]", None, "plan"),
        ("{", None, "plan"),
        ('{"accounts": [1]}', None, "plan"),
        ('{"accounts": {}, "colour": "red"}', None, "colour"),
        ("SHORT ADDRESS", None, "0x01 is no address"),
        ("ZERO", None, "treasury: 0x0000000000000000000000000000000000000000 is no address"),
        ("NEGATIVE DELAY", None, "admin_delay_s"),
        (None, "", "no private key"),
        (None, "not hexadecimal", "no private key"),
        (None, "0x1234", "no private key"),
        (None, "ff" * 32, "no private key"),
        (None, "00" * 32, "no private key"),
    ],
)
def test_what_is_wrong_with_plan_or_key_is_said_before_anything_is_signed(
    rpc: Rpc, tmp_path: Path, plan: dict[str, Any], plan_text: str | None, key_text: str | None, says: str
) -> None:
    whole = {"accounts": plan, "admin_delay_s": 60}
    made = {
        "SHORT ADDRESS": json.dumps(whole | {"accounts": plan | {"payer": "0x01"}}),
        "ZERO": json.dumps(whole | {"accounts": plan | {"treasury": "0x" + "0" * 40}}),
        "NEGATIVE DELAY": json.dumps(whole | {"admin_delay_s": -1}),
    }
    if plan_text is not None:
        (tmp_path / "plan.json").write_text(made.get(plan_text, plan_text))
    if key_text is not None:
        (tmp_path / "deployer.key").write_text(key_text)
    block = rpc.integer("eth_blockNumber")
    done = cgn(
        "deploy", "--url", rpc.url, "--manifest", tmp_path / "manifest.json",
        "--plan", tmp_path / "plan.json", "--key-file", tmp_path / "deployer.key",
    )  # fmt: skip
    assert done.returncode == 1
    assert says in done.stderr
    assert key_text is None or len(key_text) < 8 or key_text not in done.stderr, "a key is not shown"
    assert (signed(rpc, DEPLOYER), rpc.integer("eth_blockNumber")) == (0, block)
    assert not (tmp_path / "manifest.json").exists()


def test_a_plan_needs_a_key(rpc: Rpc, tmp_path: Path, plan: dict[str, Any]) -> None:
    done = cgn("deploy", "--url", rpc.url, "--manifest", tmp_path / "m.json", "--plan", tmp_path / "plan.json")
    assert (done.returncode, "--key-file" in done.stderr) == (1, True)


def test_a_manifest_that_does_not_match_is_refused_before_anything_is_signed(rpc: Rpc, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    words = ("--url", rpc.url, "--manifest", path)
    assert cgn("deploy", *words).returncode == 0
    sound = json.loads(path.read_text())
    token = sound["contracts"]["UtilityToken"]
    wrong: dict[str, object] = {
        "chain is 31337": sound | {"chain_id": 1},
        "another contract": with_token(sound, token | {"code_hash": "00" * 32}),
        "no contract at": with_token(sound, token | {"address": "0x" + "12" * 20}),
        "version 2": sound | {"version": 2},
        "not a manifest": [],
    }
    before = signed(rpc, ADMIN)
    for says, members in wrong.items():
        path.write_text(json.dumps(members))
        for command in (("status",), ("faucet", "--to", "0x" + "ab" * 20, "--amount", "1")):
            done = cgn(command[0], *words, *command[1:])
            assert (done.returncode, done.stdout) == (1, "")
            assert says in done.stderr
    path.unlink()
    assert cgn("status", *words).returncode == 1
    assert signed(rpc, ADMIN) == before


def with_token(sound: dict[str, Any], token: dict[str, Any]) -> dict[str, Any]:
    return sound | {"contracts": sound["contracts"] | {"UtilityToken": token}}


def test_everybodys_keys_are_for_the_development_chain_only(tmp_path: Path, free_port: int) -> None:
    program = [chain_program.find() or "", "--port", str(free_port), "--chain-id", "1337", "--silent"]
    chain = subprocess.Popen(program, stdout=subprocess.DEVNULL)
    try:
        rpc = Rpc(f"http://127.0.0.1:{free_port}")
        chain_app._wait_ready(rpc)
        done = cgn("deploy", "--url", rpc.url, "--manifest", tmp_path / "m.json")
        assert done.returncode == 1
        assert "not the development chain" in done.stderr
        assert rpc.integer("eth_blockNumber") == 0
    finally:
        chain.terminate()
        chain.wait(10)


def test_nobody_there(tmp_path: Path, free_port: int) -> None:
    done = cgn("deploy", "--url", f"http://127.0.0.1:{free_port}", "--manifest", tmp_path / "m.json")
    assert done.returncode == 1
    assert str(free_port) in done.stderr


def test_up_keeps_its_contracts_over_a_restart(tmp_path: Path, free_port: int) -> None:
    """The chain's state and the manifest survive; the second start deploys nothing."""
    path = tmp_path / "chain" / "manifest.json"
    words = ("up", "--port", str(free_port), "--block-time", "0", "--manifest", str(path))
    seen = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "payouts.chain_app", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )  # fmt: skip
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("READY ")
            status = cgn("status", "--url", f"http://127.0.0.1:{free_port}", "--manifest", path, "--json")
            assert status.returncode == 0, status.stderr
            seen.append((path.read_bytes(), json.loads(status.stdout)["block"]))
        finally:
            process.terminate()
            process.wait(20)
            process.stdout.close()
        assert process.returncode == 0
    assert seen[0] == seen[1]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
