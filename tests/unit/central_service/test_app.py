"""`cgn central` as a process: start, seed, serve, change, stop (C-1 to C-4, C-10, O-5)."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from argon2 import PasswordHasher
from central_kit import CON, ENT, KEYS, MIN, NOD, OPS, PASSWORD, Certificates, FakeNode, api_key, make_seed, public_id
from cgn_sdk.protocol import ids, link_envelope


class Central:
    """The process, its settings file and its log."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.folder = folder
        self.database = folder / "data" / "central.sqlite"
        self.config = folder / "central.toml"
        certificate, key = certificates.paths("central")
        self.config.write_text(
            f'database = "data/central.sqlite"\ncertificate = "{certificate}"\nkey = "{key}"\n'
            f'authority = "{certificates.authority_path}"\nmachine_port = 0\nportal_port = 0\nlog_level = "debug"\n'
        )
        self.process: asyncio.subprocess.Process | None = None
        self.facts: dict[str, Any] = {}

    async def start(self, *arguments: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *COMMAND, "run", "--config", str(self.config), *arguments, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 20)
        assert line.startswith(b"READY "), self.log
        self.facts = json.loads(line[6:])

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.process.communicate(), 10)
        return int(self.process.returncode or 0)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments, "--config", str(self.config)], capture_output=True, text=True, check=False
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


COMMAND = [sys.executable, "-c", "import sys; from central_service.app import main; sys.exit(main(sys.argv[1:]))"]


@pytest.fixture
async def central(tmp_path: Path, certificates: Certificates) -> Any:
    made = Central(tmp_path, certificates)
    yield made
    if made.process is not None and made.process.returncode is None:
        made.process.kill()
        await made.process.communicate()


async def test_a_seeded_central_serves_a_node_and_stops_cleanly(
    central: Central,
    certificates: Certificates,
    hello: dict[str, Any],
    seed_file: Callable[[dict[str, Any]], Path],
) -> None:
    """The whole process with real Argon2id; and no secret in its log or its database."""
    node = FakeNode(certificates, hello)
    await node.start()
    seed = seed_file(make_seed(node.url, certificates.pin("node")))
    await central.start("--seed", str(seed))
    await node.until(lambda: node.welcomes)
    assert (await node.ask("session.open", {"account_id": ENT, "api_key": KEYS[ENT]})).answer["concurrency"] == 64
    assert (await node.ask("miner.verify", {"account_id": CON, "miner_id": MIN, "api_key": KEYS[CON]})).answer

    words = ["machine", MIN, "--kmips-per-thread-milli", "20000", "--memory-bytes", "4096", "--why", "benchmarked"]
    wrong = await asyncio.to_thread(central.command, *words, "--threads", "0")
    assert (wrong.returncode, wrong.stderr) == (2, "machine: threads must be an integer from 1 to 4096.\n")
    changed = await asyncio.to_thread(central.command, *words, "--threads", "8")
    assert (changed.returncode, changed.stderr) == (0, "")
    granted = (await node.ask("miner.verify", {"account_id": CON, "miner_id": MIN, "api_key": KEYS[CON]})).answer
    assert granted["machine"] == {"threads": 8, "kmips_per_thread_milli": 20_000, "memory_bytes": 4_096}

    changed = await asyncio.to_thread(central.command, "flag", MIN, "--why", "wrong work, case 7")
    assert (changed.returncode, changed.stderr) == (0, "")
    await node.until(lambda: node.tells)
    assert node.tells == [link_envelope.Tell("revoke", {"account_ids": [], "miner_ids": [MIN]})]
    audit = (await asyncio.to_thread(central.command, "audit")).stdout.splitlines()
    assert re.search(rf"\(command\)\tminer.state\t{MIN}\tflagged\twrong work, case 7$", audit[-1])

    assert await central.stop() == 0
    assert node.close_codes == [1001]
    # Again, without a seed: everything is still there.
    await central.start()
    await node.until(lambda: len(node.welcomes) == 2)
    assert (await node.ask("session.open", {"account_id": ENT, "api_key": KEYS[ENT]})).answer["concurrency"] == 64
    assert await central.stop() == 0
    await node.stop()
    stored = b"".join(path.read_bytes() for path in central.database.parent.iterdir())
    for secret in (*KEYS.values(), PASSWORD):
        assert secret not in central.log
        assert secret.encode() not in stored


async def test_it_listens_on_two_ports_and_no_other(central: Central) -> None:
    """C-2, read from the kernel's own table."""
    assert central.command("init").returncode == 0
    await central.start()
    assert central.process is not None
    inodes = set()
    for entry in Path(f"/proc/{central.process.pid}/fd").iterdir():
        found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
        inodes |= {found[1]} if found else set()
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{central.process.pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[9] in inodes and (columns[3] == "0A" or table.startswith("udp")):
                listening.append(int(columns[1].split(":")[1], 16))
    assert sorted(listening) == sorted([central.facts["machine_port"], central.facts["portal_port"]])


async def test_the_ports_speak_tls_to_those_who_may(
    central: Central, certificates: Certificates, seed_file: Callable[[dict[str, Any]], Path]
) -> None:
    await central.start("--seed", str(seed_file(make_seed())))
    machine = f"https://localhost:{central.facts['machine_port']}"
    portal = f"https://localhost:{central.facts['portal_port']}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=certificates.client(None))) as web:
        answer = await web.get(portal + "/health")
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        assert "max-age" in answer.headers["Strict-Transport-Security"]
        for path in ("/", "/v1/accounts/lookup", "/health/../etc/passwd"):
            assert (await web.get(portal + path)).status == 404
        body = {"public_ids": [public_id(0), public_id(60)]}
        good = {"Authorization": f"Bearer {KEYS[OPS]}"}
        answer = await web.post(machine + "/v1/accounts/lookup", json=body, headers=good)
        assert await answer.json() == {
            "accounts": [{"public_id": public_id(0), "kind": "enterprise", "ethereum_address": f"0x{0:040x}"}]
        }
        answer = await web.post(
            machine + "/v1/accounts/lookup", json=body, headers={"Authorization": f"Bearer {KEYS[ENT]}"}
        )
        assert (answer.status, (await answer.json())["code"]) == (403, "forbidden")
        assert answer.content_type == "application/problem+json"
    async with aiohttp.ClientSession() as web:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await web.get(portal + "/health")
        with pytest.raises(aiohttp.ClientConnectionError):
            await web.get(portal.replace("https", "http") + "/health")


def test_check_names_mistakes_with_their_line(central: Central) -> None:
    """O-5."""
    with central.config.open("a") as file:
        file.write('machine_prot = 1\nportal_port = "x"\n')
    text = central.config.read_text().replace("portal_port = 0\n", "")
    central.config.write_text(text)
    result = central.command("run", "--check")
    assert result.returncode == 2
    assert "central.toml:7: no setting machine_prot; did you mean machine_port?" in result.stderr
    assert "central.toml:8: portal_port must be a whole number, is 'x'" in result.stderr
    central.config.write_text(text.replace('machine_prot = 1\nportal_port = "x"\n', ""))
    assert central.command("run", "--check").stdout == "the settings are in order\n"


def test_init_makes_the_first_ops_user_once(central: Central) -> None:
    first = central.command("init")
    shown = json.loads(first.stdout)
    assert ids.is_account_id(shown["ops_account"], "ops")
    assert ids.ApiKey.parse(shown["ecosystem_key"])
    with sqlite3.connect(central.database) as database:
        [(password_hash,)] = database.execute("SELECT password_hash FROM accounts").fetchall()
        [(key_hash,)] = database.execute("SELECT hash FROM api_keys").fetchall()
    database.close()
    assert password_hash.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert key_hash.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert central.database.stat().st_mode & 0o777 == 0o600
    again = central.command("init")
    assert again.returncode == 2
    assert "has been set up already" in again.stderr


def test_a_wrong_seed_stores_nothing_and_names_every_mistake(
    central: Central, seed_file: Callable[[dict[str, Any]], Path]
) -> None:
    document = make_seed()
    document["accounts"][0]["public_id"] = "me"
    document["miners"][0]["tier"] = "9"
    result = central.command("seed", str(seed_file(document)))
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "accounts[0].public_id: must be a public id",
        "miners[0].tier: must be a tier (1, 2, 3, 4a, 4b)",
    ]
    assert not central.database.exists()
    small = make_seed()
    for account in small["accounts"]:
        account.pop("api_keys", None)
        account.pop("password", None)
    assert central.command("seed", str(seed_file(small))).returncode == 0
    again = central.command("seed", str(seed_file(small)))
    assert again.returncode == 2
    assert "UNIQUE" in again.stderr


def test_a_change_to_nobody_is_refused(central: Central) -> None:
    assert central.command("init").returncode == 0
    result = central.command("suspend", NOD, "--why", "x")
    assert (result.returncode, result.stderr) == (2, f"there is no {NOD}\n")
    assert api_key(1) not in central.command("audit").stdout


def test_keys_and_passwords_are_replaced_and_shown_once(
    central: Central, seed_file: Callable[[dict[str, Any]], Path]
) -> None:
    """C-4: never recovered, only reset."""
    small = make_seed()
    for account in small["accounts"]:
        account.pop("api_keys", None)
        account.pop("password", None)
    assert central.command("seed", str(seed_file(small))).returncode == 0
    made = json.loads(central.command("create-key", ENT, "--why", "asked for").stdout)
    key = ids.ApiKey.parse(made["api_key"])
    assert key is not None
    assert (made["account"], made["scope"]) == (ENT, "work")
    password = json.loads(central.command("reset-password", ENT, "--why", "forgotten").stdout)["password"]
    with sqlite3.connect(central.database) as database:
        [(key_hash,)] = database.execute("SELECT hash FROM api_keys WHERE key_id = ?", (key.key_id,)).fetchall()
        [(password_hash,)] = database.execute("SELECT password_hash FROM accounts WHERE id = ?", (ENT,)).fetchall()
    database.close()
    assert PasswordHasher().verify(key_hash, key.whole)
    assert PasswordHasher().verify(password_hash, password)
    dev = next(each["id"] for each in small["accounts"] if each["id"].startswith("dev_"))
    assert "has no API keys" in central.command("create-key", dev, "--why", "x").stderr
    assert "FOREIGN KEY" in central.command("create-key", "ent_nobody", "--why", "x").stderr
    audit = central.command("audit").stdout
    assert f"key.created\t{key.key_id}\t\tasked for" in audit
    assert key.whole not in audit
    assert password not in audit


async def test_a_misspelt_database_is_no_empty_network(central: Central) -> None:
    """C-1: a command or a start that finds no database says so, and makes none."""
    for words in (["run"], ["suspend", ENT, "--why", "test"], ["audit"]):
        done = central.command(*words)
        assert done.returncode == 2
        assert f"there is no database {central.database}" in done.stderr
        assert "Traceback" not in done.stderr
    assert not central.database.exists()


async def test_who_is_registered_by_commands_can_work(central: Central) -> None:
    """C-3: accounts, miners, nodes and DServices without a seed; each line of the audit log says of what."""
    assert central.command("init").returncode == 0
    address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

    def made(*words: str) -> dict[str, str]:
        done = central.command(*words, "--why", "joins")
        assert done.returncode == 0, done.stderr
        said = dict(json.loads(done.stdout))
        assert ("This is shown once" in done.stderr) == ("api_key" in said)
        return said

    contributor = made("add-account", "con", "--name", "Ada", "--address", address)["account"]
    miner = made("add-miner", contributor, "--tier", "2")
    assert ids.ApiKey.parse(miner["api_key"]) is not None
    operator = made("add-account", "opr", "--name", "Us", "--address", address)["account"]
    node = made("add-account", "nod", "--name", "Node")["account"]
    certificate = re.search(r'certificate = "(.*)"', central.config.read_text())
    assert certificate is not None
    where = ("--url", "wss://localhost:7771/central", "--certificate", certificate[1])
    assert len(made("put-node", node, "--operator", operator, *where)["fingerprint"]) == 64
    for url in ("ws://localhost:7771/central", "wss://localhost:7771/", "/central"):
        refused = central.command("put-node", node, "--operator", operator, "--url", url, *where[2:], "--why", "x")
        assert "--url must be an address such as wss://" in refused.stderr, url
        assert refused.returncode == 2
    developer = made("add-account", "dev", "--name", "Dev", "--address", address)["account"]
    folder = central.folder / "hello"
    folder.mkdir()
    (folder / "dservice.toml").write_text('[dservice]\nname = "hello"\nversion = "1"\ncommand = ["x"]\n')
    assert made("put-dservice", str(folder), "--developer", developer)["route"] == "/hello"
    assert central.command("suspend", contributor, "--why", "test").returncode == 0
    assert central.command("reinstate", contributor, "--why", "test").returncode == 0
    lines = [json.loads(line) for line in central.command("audit", "--json").stdout.splitlines()]
    assert [(line["action"], line["detail"]) for line in lines[-2:]] == [
        ("account.state", "suspended"),
        ("account.state", "active"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add-account", "con", "--name", "Ada", "--why", "x"), "--address must be an Ethereum address"),
        (("add-miner", "ent_x", "--tier", "2", "--why", "x"), "'ent_x' is no account id of kind con"),
        (("add-miner", CON, "--tier", "2", "--why", "x"), f"there is no account {CON}: `cgn central add-account con`"),
        (("add-miner", CON, "--tier", "1", "--why", "x"), "--enterprise must be given for tier 1"),
        (("put-dservice", "/nowhere", "--developer", "dev_x", "--why", "x"), "/nowhere is no folder"),
        (
            ("put-node", NOD, "--operator", "opr_x", "--url", "x", "--certificate", "/no.pem", "--why", "x"),
            "/no.pem: there is no such file",
        ),
        (("suspend", ENT, "--why", " "), "say why, in a few words"),
        (("suspend", "ent_nobody", "--why", "x"), "there is no ent_nobody"),
        (("create-key", "usr_x", "--why", "x"), "is of a kind that has no API keys"),
    ],
)
async def test_mistakes_of_commands_are_one_sentence(central: Central, words: tuple[str, ...], said: str) -> None:
    assert central.command("init").returncode == 0
    done = central.command(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_an_actor_without_a_name_is_a_number(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers often run under a number that no passwd file knows."""
    from central_service import app

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert app._actor() == f"uid {os.getuid()} (command)"


async def test_check_looks_at_everything(central: Central, certificates: Certificates, tmp_path: Path) -> None:
    """O-5: files, certificates with their dates, modes of keys, databases, ports."""
    good = central.command("run", "--check")
    assert (good.returncode, good.stdout) == (0, "the settings are in order\n"), good.stderr
    text = central.config.read_text()
    (tmp_path / "text").write_text("no database\n" * 200)
    (tmp_path / "open.key").write_bytes(certificates.paths("central")[1].read_bytes())
    (tmp_path / "open.key").chmod(0o644)
    for before, after, said in (
        (r'certificate = ".*"', 'certificate = "/nowhere.pem"', "certificate: /nowhere.pem: there is no such file"),
        (r'\nkey = ".*"', f'\nkey = "{tmp_path}/open.key"', "open.key can be read by others: chmod 600 it"),
        (r'authority = ".*"', f'authority = "{tmp_path}/text"', "is no certificate in PEM"),
        (r'database = ".*"', f'database = "{tmp_path}/text"', "is no SQLite database, or is damaged"),
    ):
        central.config.write_text(re.sub(before, after, text))
        done = central.command("run", "--check")
        assert done.returncode == 2
        assert said in done.stderr
