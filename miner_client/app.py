"""`cgn miner run --config miner.toml`: one command joins the network (M-1). Builds everything for this process;
nothing else does."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cgn_sdk.command_line import Parser
from cgn_sdk.protocol import ids
from cgn_sdk.protocol.redaction import redact_text

from cgn_chassis import logs, process, scratch
from cgn_chassis.failures import Refusal, told
from cgn_chassis.settings import SettingsError, exposed, reference
from miner_client import limits
from miner_client.settings import PREFIX, MinerSettings, read

if TYPE_CHECKING:
    from miner_client.client import Client
    from miner_client.dservice import DService


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `cgn miner`. Returns the exit code."""
    parser = Parser(prog="cgn miner", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="join the network and work until stopped")
    run.add_argument("--config", type=Path, help="settings file (miner.toml)")
    run.add_argument("--check", action="store_true", help="check settings, engine, images and keys, and stop")
    run.add_argument("--offline", action="store_true", help="with --check: ask nobody outside this machine")
    key = commands.add_parser("key", help="make this miner's signing key, and print its public half for a trust file")
    key.add_argument("--config", type=Path, help="settings file (miner.toml)")
    commands.add_parser("settings", help="print every setting with its default")
    chosen = parser.parse_args(arguments)
    if chosen.command == "settings":
        print(f"# Any of these can stand in the environment as {PREFIX}<NAME>.\n" + reference(MinerSettings), end="")
        return process.EXIT_OK
    try:
        settings = read(chosen.config)
    except SettingsError as error:
        print("\n".join(error.mistakes), file=sys.stderr)
        return process.EXIT_USAGE
    if chosen.command == "key":
        return _key(settings)
    if chosen.check:
        return _check(settings, offline=chosen.offline)
    logs.configure(level=settings.log_level, hide=ids.SECRET_PATTERNS, redact=redact_text)
    grace_s = settings.drain_s + limits.STOP_S
    return process.run(lambda life: _run(life, settings), name="miner", grace_s=grace_s)


async def _run(life: process.Life, settings: MinerSettings) -> int | None:
    from cgn_sdk.signing import Signer

    from cgn_chassis import keys, tls
    from cgn_chassis.supervisor import Supervisor
    from miner_client import fitness
    from miner_client.client import Client, Identity
    from miner_client.core import slots as slots_
    from miner_client.dservice import DService

    for line in exposed(settings):
        logs.get("miner").warning("settings.exposed", problem=line)
    signer = Signer(keys.load_or_create(settings.signing_key).private_bytes_raw())
    context = tls.client_context(settings.authority) if settings.node.startswith("wss:") else None
    capabilities = fitness.measure(settings.share_ppm, settings.kmips_per_thread_milli)
    runner_settings = settings.runner_settings()
    per_request = max(one.memory_bytes for one in runner_settings.values()) // 8
    total = settings.slots or slots_.from_share(
        capabilities.threads, capabilities.memory_bytes, 1_000_000, max(1, per_request)
    )
    with _runtime_folder(settings) as folder:
        dservices = {name: DService(one, folder / name, settings.logs) for name, one in runner_settings.items()}
        slots = slots_.Slots(total)
        client = Client(
            settings.node,
            context,
            Identity(settings.account_id, settings.miner_id, settings.api_key.reveal(), signer),
            capabilities=capabilities,
            dservices=dservices,
            slots=slots,
            on_welcome=lambda welcome: life.ready(
                node=welcome.node_id, tier=welcome.tier, slots=slots.total, dservices=sorted(dservices)
            ),
        )
        supervisor = Supervisor(life.give_up, is_stopping=lambda: life.is_stopping)
        try:
            for name, one in dservices.items():
                supervisor.keep(f"dservice {name}", one.run)
            supervisor.need("client", lambda: _work_until_refused(client, dservices, life))
            await life.wait_stop()
            in_time = life.has_given_up or await client.drain(settings.drain_s)
        finally:
            await supervisor.close()
    return process.EXIT_OK if in_time else process.EXIT_UNCLEAN


async def _work_until_refused(client: "Client", dservices: "dict[str, DService]", life: process.Life) -> None:
    try:
        await _work_when_ready(client, dservices)
    except Refusal as refused:
        print(f"cgn miner: {refused}", file=sys.stderr, flush=True)
        life.give_up(str(refused), refused.code)
        await asyncio.Event().wait()  # until the process has cleaned up


async def _work_when_ready(client: "Client", dservices: "dict[str, DService]") -> None:
    """A miner offers what has been healthy. One DService that does not start keeps nobody else's work away."""
    waits = [asyncio.create_task(one.wait_offerable(), name=f"offer {one.name}") for one in dservices.values()]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        _, late = await asyncio.wait(waits, timeout=limits.OFFER_WAIT_MS / 1000)
        if late:
            missing = sorted(one.name for one in dservices.values() if not one.can_be_offered)
            logs.get("miner").warning("dservice.not_offered_yet", names=missing)
        for wait in late:
            wait.add_done_callback(lambda done: None if done.cancelled() else client.greet_anew())
        await client.run()
    finally:
        for wait in waits:
            wait.cancel()


@contextlib.contextmanager
def _runtime_folder(settings: MinerSettings) -> Iterator[Path]:
    """The folder of sockets, private to this user; a temporary one disappears at the end."""
    if settings.runtime is not None:
        settings.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield settings.runtime
        return
    folder = scratch.make("cgn-miner-")
    try:
        yield folder
    finally:
        scratch.remove(folder)


def _check(settings: MinerSettings, *, offline: bool) -> int:
    """Says line by line what is there and what is not; the node is asked last, when all else is in order."""
    from miner_client import check

    found = check.local(settings)
    if not found.mistakes and not offline:
        answer = asyncio.run(check.ask_node(settings))
        found.mistakes += answer.mistakes
        found.notes += answer.notes
    for line in (*found.mistakes, *found.notes):
        print(line, file=sys.stderr)
    if not found.mistakes:
        print(f"ready to join {settings.node} as {settings.miner_id} with {', '.join(settings.dservices)}")
    return process.EXIT_USAGE if found.mistakes else process.EXIT_OK


def _key(settings: MinerSettings) -> int:
    """Makes the signing key where there is none, and prints the member `miners` of a trust file."""
    from cgn_chassis import keys

    try:
        public = keys.public_bytes(keys.load_or_create(settings.signing_key)).hex()
    except (OSError, ValueError) as error:
        found = told(error)
        print(f"cgn miner key: {found.sentence if found else error}", file=sys.stderr)
        return process.EXIT_USAGE
    print(json.dumps({"miners": {settings.miner_id: {"key": public, "contributor_id": ""}}}))
    return process.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
