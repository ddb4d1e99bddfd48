"""`cgn central`: runs Central, and the few commands that set it up and change it (C-1 to C-4, C-10).

    cgn central init --config FILE         makes the database and the first ops user; prints its key and password once
    cgn central seed SEED --config FILE    stores accounts, keys, miners, nodes, DServices and prices from a JSON file
    cgn central run --config FILE          serves until stopped (`--seed SEED` seeds an empty database first)
    cgn central suspend|ban|reinstate ID --why TEXT --config FILE
    cgn central flag|unflag MINER --why TEXT --config FILE
    cgn central add-account KIND --name NAME …         a new account: ent, con, dev, opr, cha or nod
    cgn central add-miner CONTRIBUTOR --tier TIER …    a miner's record and its key, as lines of a miner.toml
    cgn central put-node NODE … / put-dservice FOLDER …   registers, or changes, a node or a DService
    cgn central create-key ID --why TEXT --config FILE        a new API key, shown once
    cgn central reset-password ID --why TEXT --config FILE    a new password, shown once
    cgn central revoke-key KEY-ID --why TEXT --config FILE
    cgn central forget-head ID --why TEXT --config FILE       take a node's next head as it is, by whatever key
    cgn central heads --config FILE        the newest head of each node, and what was wrong with others
    cgn central trust --config FILE        the public trust document, for cgn verify --trust
    cgn central audit --config FILE        the log of changes
    cgn central settings                   the settings, as an example file

A change made by a command reaches a running Central by way of the audit log, and every node within a second.
"""

import argparse
import asyncio
import getpass
import json
import os
import sqlite3
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cgn_sdk.command_line import Parser
from cgn_sdk.protocol import ids
from cgn_sdk.protocol.errors import ProblemError
from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.link import Machine
from cgn_sdk.protocol.loss import Loss, in_words
from cgn_sdk.protocol.redaction import redact_text

from central_service import check, limits, registering
from central_service.core.records import (
    ACTIVE,
    BANNED,
    FLAGGED,
    SCOPE_ECOSYSTEM,
    SCOPE_OF_KIND,
    SUSPENDED,
    Account,
    KeyRecord,
)
from central_service.core.seed import Seed, SeedError, read_seed
from central_service.credentials import Credentials, Hashing
from central_service.planting import hash_pending, plant, plant_at_once
from central_service.settings import PREFIX, CentralSettings
from central_service.store import Conflict, Records, Store
from cgn_chassis import failures, logs, process, settings
from cgn_chassis.process import Life
from cgn_chassis.supervisor import Supervisor
from cgn_chassis.tls import client_context, credential_findings, server_context

_TOO_FEW_FILES = (
    "this process may open {} files, too few for Central's ports; raise the hard limit (ulimit -Hn; LimitNOFILE= in a "
    "systemd unit; --ulimit nofile= for a container)"
)

_log = logs.get("central")


def main(argv: list[str]) -> int:
    """The entry point of `cgn central`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.command in ("settings", "reference"):
        print(settings.reference(CentralSettings), end="")
        return process.EXIT_OK
    try:
        config = settings.load(CentralSettings, arguments.config, prefix=PREFIX, environ=os.environ)
    except settings.SettingsError as error:
        print("\n".join(error.mistakes), file=sys.stderr)
        return process.EXIT_USAGE
    if arguments.check:
        return check.say(config)
    logs.configure(level=config.log_level, form=config.log_form, hide=ids.SECRET_PATTERNS, redact=redact_text)
    try:
        if arguments.command == "run":
            seed = _load_seed(arguments.seed) if arguments.seed else None
            open_files = process.raise_open_files()
            return process.run(
                lambda life: serve(config, life, seed, open_files), name="central", expected=(Conflict, SeedError)
            )
        if arguments.command not in ("init", "seed"):
            _require_database(config)
        asyncio.run(_COMMANDS[arguments.command](config, arguments))
        return process.EXIT_OK
    except (SeedError, Conflict) as error:
        print(str(error), file=sys.stderr)
        return process.EXIT_USAGE
    except (failures.Refusal, OSError, sqlite3.Error) as error:
        said = failures.told(error)
        assert said is not None
        print(f"cgn central {arguments.command}: {said.sentence}", file=sys.stderr)
        return said.code


def _require_database(config: CentralSettings) -> None:
    """A misspelt path is no empty network."""
    if not config.database.exists():
        raise failures.Refusal(f"there is no database {config.database}: `cgn central init` or `seed` makes one")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cgn central", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help)
        command.add_argument("--config", type=Path, help="the settings file (TOML)")
        command.add_argument("--check", action="store_true", help="only check the settings")
        return command

    add("run", "serve until stopped").add_argument(
        "--seed", type=Path, help="seed an empty database from this file first"
    )
    add("init", "make the database and the first ops user")
    add("seed", "store the accounts and registries of a new network").add_argument("seed", type=Path, metavar="SEED")
    add("audit", "print the log of changes").add_argument("--json", action="store_true", help="a JSON object a line")
    add("heads", "print the newest head of each node's ledger, and what was wrong with others that it told")
    add("trust", "print the public trust document: nodes' keys, newest heads, accepted losses")
    for name, help in (
        ("suspend", "refuse an account until it is reinstated"),
        ("ban", "refuse an account for good"),
        ("reinstate", "let an account back in"),
        ("flag", "refuse a miner everywhere"),
        ("unflag", "let a miner back in"),
        ("create-key", "make a new API key for an account; it is shown once"),
        ("reset-password", "give an account a new password; it is shown once"),
        ("revoke-key", "make an API key worthless"),
        ("forget-head", "take a node's next head as it is, by whatever key; after its key was replaced"),
    ):
        command = add(name, help)
        command.add_argument("subject", metavar="ID")
        command.add_argument("--why", required=True, type=_reason, help="the reason, for the audit log")
    registering.add_commands(add, _reason)
    machine = add("machine", "register what a miner runs on: the most that it may be billed for")
    machine.add_argument("subject", metavar="ID")
    machine.add_argument("--threads", type=int, required=True, help="hardware threads")
    machine.add_argument("--kmips-per-thread-milli", type=int, required=True, help="MIPS of one thread")
    machine.add_argument("--memory-bytes", type=int, required=True)
    machine.add_argument(
        "--why", required=True, type=_reason, help="how it is known: a contract, a benchmark, an attestation"
    )
    commands.add_parser("settings", aliases=["reference"], help="print the settings as an example file")
    return parser


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("say why, in a few words: the audit log keeps it")
    return text


async def serve(
    config: CentralSettings, life: Life, seed: Seed | None = None, open_files: int = process.OPEN_FILES_ENDLESS
) -> None:
    """Builds the process and serves until it is asked to stop."""
    if seed is None:
        _require_database(config)
    hashing = Hashing()
    credentials = Credentials(hashing)
    store = await Store.open(config.database)
    supervisor = Supervisor(life.give_up, is_stopping=lambda: life.is_stopping)
    try:
        if seed is not None:
            if await store.read(lambda facts: facts.policy()) is None:
                await plant_at_once(store, credentials, seed)
            supervisor.finish("hash the seed's keys", lambda: hash_pending(store, credentials, seed))
        elif open_count := await store.read(lambda facts: facts.pending_key_count()):
            _log.warning("central.keys_pending", keys=open_count, what_to_do="start with the same --seed again")

        from central_service.answers import Answers
        from central_service.links import Links
        from central_service.ports import connections_max, open_machine_port, open_portal_port

        most = connections_max(open_files)
        if most is None:
            raise settings.SettingsError([_TOO_FEW_FILES.format(open_files)])
        _log.info("central.limits", open_files=open_files, connections=most)
        paths = (config.certificate, config.key)
        server_tls = server_context(paths)
        client_tls = client_context(config.authority, credential_paths=paths)
        answers = Answers(store, credentials)
        links = Links(answers, client_tls, supervisor)
        machine = await open_machine_port(answers, config.machine_host, config.machine_port, server_tls, most)
        portal = await open_portal_port(
            answers,
            config.portal_host,
            config.portal_port,
            server_tls,
            lambda: not (life.is_stopping or supervisor.problems),
            most,
        )
        await links.start()
        life.on_reload(lambda: _reload(config, server_tls, client_tls))
        life.ready(machine_port=machine.port, portal_port=portal.port)
        _log.info("central.ready", machine_port=machine.port, portal_port=portal.port, database=str(config.database))
        await life.wait_stop()
        await links.close()
        await machine.close()
        await portal.close()
        await supervisor.close()
        if seed is not None:
            await hash_pending(store, credentials, seed, after_s=0)  # so that the next start needs no seed
    finally:
        await supervisor.close()
        hashing.close()
        await store.close()


def _reload(config: CentralSettings, *contexts: ssl.SSLContext) -> None:
    """Takes a renewed certificate for the connections to come; one that cannot be used changes nothing."""
    findings = credential_findings(config.certificate, config.key, ("certificate", "key"))
    if findings:
        raise failures.Refusal("; ".join(findings))
    for context in contexts:
        context.load_cert_chain(config.certificate, config.key)


def _load_seed(path: Path) -> Seed:
    try:
        with path.open("rb") as stream:
            content = stream.read(limits.SEED_BYTES_MAX + 1)
    except OSError as error:
        raise SeedError([f"{path}: cannot be read: {error}"]) from error
    if len(content) > limits.SEED_BYTES_MAX:
        raise SeedError([f"{path}: longer than {limits.SEED_BYTES_MAX} bytes"])
    try:
        seed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SeedError([f"{path}: not JSON: {error}"]) from error
    return read_seed(seed)


# --- Commands that change the database ---


async def _init(config: CentralSettings, _: argparse.Namespace) -> None:
    store = await Store.open(config.database)
    hashing = Hashing()
    try:
        account = Account(
            ids.account_id("ops", os.urandom(ids.ID_BYTES)),
            ids.public_id(os.urandom(ids.PUBLIC_ID_BYTES)),
            "first ops user",
        )
        key, password = _new_key(), _new_password()
        key_hash, password_hash = await asyncio.gather(hashing.hash(key.whole), hashing.hash(password))

        def create(records: Records) -> None:
            if records.last_change():
                raise Conflict(f"{config.database} has been set up already")
            records.add_account(account)
            records.add_key(KeyRecord(key.key_id, account.id, SCOPE_ECOSYSTEM, key_hash, "init"))
            records.set_password(account.id, password_hash)

        await store.write(_actor(), "central init", create)
        print(json.dumps({"ops_account": account.id, "ecosystem_key": key.whole, "password": password}, indent=1))
        print(_SHOWN_ONCE, file=sys.stderr)
    finally:
        hashing.close()
        await store.close()


async def _create_key(config: CentralSettings, arguments: argparse.Namespace) -> None:
    account_id = arguments.subject
    if account_id[:3] not in SCOPE_OF_KIND:
        raise Conflict(f"{account_id} is of a kind that has no API keys")
    key = _new_key()
    hash = await _hash_once(key.whole)
    record = KeyRecord(key.key_id, account_id, SCOPE_OF_KIND[account_id[:3]], hash, "command")
    await _write(config, arguments.why, lambda records: records.add_key(record))
    print(json.dumps({"account": account_id, "scope": record.scope, "api_key": key.whole}, indent=1))
    print(_SHOWN_ONCE, file=sys.stderr)


async def _reset_password(config: CentralSettings, arguments: argparse.Namespace) -> None:
    """Lost passwords are not recovered, only replaced (C-4)."""
    password = _new_password()
    hash = await _hash_once(password)
    await _write(config, arguments.why, lambda records: records.set_password(arguments.subject, hash))
    print(json.dumps({"account": arguments.subject, "password": password}, indent=1))
    print(_SHOWN_ONCE, file=sys.stderr)


_SHOWN_ONCE = "This is shown once; only a hash of it is stored."


def _new_key() -> ids.ApiKey:
    key = ids.ApiKey.parse(ids.make_api_key(os.urandom(ids.API_KEY_BYTES)))
    assert key is not None
    return key


def _new_password() -> str:
    return os.urandom(15).hex()


async def _hash_once(secret: str) -> str:
    hashing = Hashing()
    try:
        return await hashing.hash(secret)
    finally:
        hashing.close()


async def _write(config: CentralSettings, why: str, change: Callable[[Records], None]) -> None:
    store = await Store.open(config.database)
    try:
        await store.write(_actor(), why, change)
    finally:
        await store.close()


async def _seed(config: CentralSettings, arguments: argparse.Namespace) -> None:
    seed = _load_seed(arguments.seed)
    store = await Store.open(config.database)
    hashing = Hashing()
    try:
        await plant(store, Credentials(hashing), seed)
    finally:
        hashing.close()
        await store.close()


async def _audit(config: CentralSettings, arguments: argparse.Namespace) -> None:
    store = await Store.open(config.database)
    try:
        after = 0
        while changes := await store.read(lambda facts: facts.changes(after)):  # noqa: B023
            for each in changes:
                moment = _moment(each.time_ns)
                if arguments.json:
                    print(json.dumps({**asdict(each), "time": moment}))
                else:
                    print(
                        f"{each.id}\t{moment}\t{each.actor}\t{each.action}\t{each.subject}\t{each.detail}\t{each.why}"
                    )
            after = changes[-1].id
    finally:
        await store.close()


async def _heads(config: CentralSettings, _: argparse.Namespace) -> None:
    store = await Store.open(config.database)
    try:
        trust = await store.read(lambda facts: facts.trust())
        for head in map(Head.decode, trust.heads):
            print(f"{head.node_id}\t{head.last_ingest} rows\t{_moment(head.time_ns)}\t{head.commitment.hex()}")
        for loss in map(Loss.decode, trust.losses):
            print(f"{loss.node_id}\tLOST, AND ACCEPTED\t{_moment(loss.time_ns)}\t{in_words(loss)}")
        for found in await store.read(lambda facts: facts.head_findings()):
            print(
                f"{found.node_id}\tREFUSED [{found.code}]\t{_moment(found.first_ns)} to {_moment(found.last_ns)}, "
                f"{found.count} times\t{found.detail}"
            )
    finally:
        await store.close()


async def _trust(config: CentralSettings, _: argparse.Namespace) -> None:
    store = await Store.open(config.database)
    try:
        print((await store.read(lambda facts: facts.trust())).encode().decode())
    finally:
        await store.close()


def _moment(time_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // 1_000_000_000))


def _change(apply: Callable[[Records, str], None]) -> Callable[[CentralSettings, argparse.Namespace], Any]:
    async def command(config: CentralSettings, arguments: argparse.Namespace) -> None:
        await _write(config, arguments.why, lambda records: apply(records, arguments.subject))

    return command


async def _machine(config: CentralSettings, arguments: argparse.Namespace) -> None:
    try:
        machine = Machine.from_params({name: getattr(arguments, name) for name in Machine.__slots__})
    except ProblemError as error:
        raise Conflict(error.problem.detail) from error
    await _write(config, arguments.why, lambda records: records.set_miner_machine(arguments.subject, machine))


def _actor() -> str:
    """Who gives the command. A container may run under a number that has no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return f"{name} (command)"


def _registering(name: str) -> Callable[[CentralSettings, argparse.Namespace], Any]:
    """A command that registers somebody: prints what it made."""

    async def command(config: CentralSettings, arguments: argparse.Namespace) -> None:
        made = await registering.COMMANDS[name](arguments)
        await _write(config, arguments.why, made.change)
        print(json.dumps(made.said, indent=1))
        if made.is_secret:
            print(_SHOWN_ONCE, file=sys.stderr)

    return command


_COMMANDS: dict[str, Callable[[CentralSettings, argparse.Namespace], Any]] = {
    "init": _init,
    "seed": _seed,
    "audit": _audit,
    "heads": _heads,
    "trust": _trust,
    "create-key": _create_key,
    "reset-password": _reset_password,
    "suspend": _change(lambda records, subject: records.set_account_state(subject, SUSPENDED)),
    "ban": _change(lambda records, subject: records.set_account_state(subject, BANNED)),
    "reinstate": _change(lambda records, subject: records.set_account_state(subject, ACTIVE)),
    "machine": _machine,
    **{name: _registering(name) for name in registering.COMMANDS},
    "flag": _change(lambda records, subject: records.set_miner_state(subject, FLAGGED)),
    "unflag": _change(lambda records, subject: records.set_miner_state(subject, ACTIVE)),
    "revoke-key": _change(lambda records, subject: records.revoke_key(subject)),
    "forget-head": _change(lambda records, subject: records.forget_head(subject)),
}
