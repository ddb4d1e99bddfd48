"""`cgn up`: the whole network on this machine, in one command, gone without trace when it stops (S-5).

cgn up                          start, print addresses and example commands, run until Ctrl-C
cgn up --dservice hello         with the DService in the folder hello, started again on every edit
cgn up --miners 3 --no-chain    more miners, no development chain
cgn up --runner docker          DServices in containers
cgn up --json                   print what a script needs as one line of JSON
cgn up --demo --output DIR      the main job, told as a story, then stop
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import signal
import sys
import time
from pathlib import Path
from shlex import quote

from cgn_sdk.cli import wanted
from cgn_sdk.command_line import Parser
from cgn_sdk.dservice.descriptor import Descriptor, DescriptorError, read

from cgn_chassis.failures import told
from cgn_sandbox.children import ChildFailed
from cgn_sandbox.network import Sandbox, SandboxOptions
from cgn_sandbox.plan import MINERS_MAX, TIER

ABOUT = "start the whole network on this machine (--demo: show the main job)"
EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
FOLLOW_S = 0.1
"""Between two looks at what own DServices print."""


def parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser(prog="cgn up", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="show the main job and stop")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the demo's files go")
    parser.add_argument(
        "--dservice",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="a folder with dservice.toml (cgn dservice new makes one); may be given several times",
    )
    parser.add_argument("--no-mediagen", action="store_true", help="without MediaGen")
    parser.add_argument(
        "--miners", type=int, default=2, choices=range(1, MINERS_MAX + 1), help="how many miners (default 2)"
    )
    parser.add_argument("--runner", choices=("process", "docker"), default="process", help="how DServices run")
    parser.add_argument("--no-chain", action="store_true", help="without the development chain")
    parser.add_argument("--work-port", type=_port, default=0, help="port of the work endpoint; 0 takes a free one")
    parser.add_argument(
        "--directory", type=Path, help="keep the network's files here: the next start is the same network again"
    )
    parser.add_argument("--json", action="store_true", help="print addresses, account and files as one line of JSON")
    return parser.parse_args(argv)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")
    return int(text)


def facts(network: Sandbox) -> dict[str, str | list[str]]:
    """What a script needs to use the network."""
    plan = network.plan
    return {
        "work": network.work_url,
        "status": f"{network.status_url}/status",
        "sources": network.source_url,
        "sources_folder": str(network.options.sources or network.folder / "sources"),
        "chain": network.chain_url if network.options.chain else "",
        "token": network.token_address if network.options.chain else "",
        "ledger": network.ledger_url,
        "logs": str(network.folder / "logs"),
        "authority": str(network.authority),
        "account": plan.enterprise.id,
        "key": plan.enterprise.api_key,
        "trust": str(network.trust_file),
        "payouts_config": str(network.payouts_config),
        "developer": plan.own_developer.public_id,
        "routes": [one.route for one in plan.dservices],
    }


def greeting(network: Sandbox, seconds: float) -> str:
    said = facts(network)
    end = f"ends it and keeps {network.folder}" if network.options.directory else "ends it and removes its files"
    chain = f"chain       {network.chain_url}\n" if network.options.chain else ""
    text = f"""
CGN sandbox: ready after {seconds:.1f} s with {network.options.miners} miners. Ctrl-C {end}.

work        {network.work_url}
status      {said["status"]}
sources     {network.source_url}     (serves {said["sources_folder"]})
{chain}ledger      {network.ledger_url}
logs        {said["logs"]}
authority   {network.authority}     (trust it with --cacert)
trust       {network.trust_file}     (for cgn receipt verify --trust)

A DApp's account:
  export CGN_NODE={network.work_url}
  export CGN_SOURCES={network.source_url}
  export CGN_ACCOUNT={said["account"]}
  export CGN_KEY={said["key"]}
  export CGN_CA={quote(str(network.authority))}
  export CGN_PAYOUTS={quote(str(network.payouts_config))}

Open a session:
  KEY=$(curl -s --cacert "$CGN_CA" $CGN_NODE/session \\
    -d '{{"account_id":"'$CGN_ACCOUNT'","api_key":"'$CGN_KEY'"}}' | sed 's/.*"session_key": *"\\([^"]*\\).*/\\1/')
"""
    for one in network.plan.dservices:
        if one.is_own:
            text += f"""
Ask {one.name}, whose developer you are ({said["developer"]} in rows and payouts):
  curl --cacert "$CGN_CA" -H "Authorization: Bearer $KEY" $CGN_NODE{one.route}
"""
    if network.options.mediagen:
        text += f"""
Ask for a picture (put main.ms into {said["sources_folder"]}):
  curl --cacert "$CGN_CA" -H "Authorization: Bearer $KEY" -o picture.jpg \\
    "$CGN_NODE/mgen/io?script=$CGN_SOURCES/main.ms"
"""
    if network.options.chain:
        text += f"""
Settle what was earned until now, and check all of it:
cgn payouts run --config {quote(str(network.payouts_config))}
cgn verify --ledger {quote(network.ledger_url)} --rpc {network.chain_url} --token {said["token"]} \\
    --trust {quote(str(network.trust_file))}
"""
    return text


async def follow(network: Sandbox) -> None:
    """Prints what own DServices say on every miner, as it comes."""
    seen: dict[Path, int] = {}
    logs = {
        path: f"{one.name}@{miner}"
        for one in network.plan.dservices
        if one.is_own
        for miner, path in network.dservice_logs(one.name).items()
    }
    while True:
        for path, label in logs.items():
            with contextlib.suppress(OSError), path.open("rb") as file:
                if file.seek(0, 2) < seen.get(path, 0):
                    seen[path] = 0  # it was cut when it had grown too long
                file.seek(seen.get(path, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
                seen[path] = seen.get(path, 0) + len(whole) + len(newline)
                for line in whole.decode(errors="replace").splitlines():
                    print(f"{label} | {line}", file=sys.stderr, flush=True)
        await asyncio.sleep(FOLLOW_S)


def say(text: str) -> None:
    """Beside the greeting, which alone is for scripts."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"cgn up: {text}", file=sys.stderr, flush=True)


async def serve(options: SandboxOptions, *, as_json: bool = False) -> int:
    """Runs the network until SIGINT or SIGTERM, or until one of its processes ends unexpectedly."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    heard: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        if not heard:
            say("stopping")
        heard.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal, number)
    began = time.monotonic()
    starting = asyncio.ensure_future(Sandbox(options, say).__aenter__())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return 128 + heard[0]
    network = await starting
    following = asyncio.ensure_future(follow(network))
    try:
        print(json.dumps(facts(network)) if as_json else greeting(network, time.monotonic() - began), flush=True)
        ends = {asyncio.ensure_future(child.process.wait()): name for name, child in network.children.items()}
        await asyncio.wait({stopping, *ends}, return_when=asyncio.FIRST_COMPLETED)
        ended = [name for task, name in ends.items() if task.done()]
        if ended and not stop.is_set():
            print(f"{', '.join(ended)} ended; see {network.folder / 'logs'}", file=sys.stderr)
        return EXIT_FAILED if ended and not stop.is_set() else EXIT_OK
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await network.close()


NEEDS = {
    "central": ("argon2",),
    "miner": ("httptools", "psutil"),
    "mediagen": ("pyvips", "pypdfium2", "py_mini_racer"),
    "payouts": ("web3", "coincurve"),
}
"""Extra -> modules that only it brings."""


def missing_extras(given: argparse.Namespace) -> list[str]:
    """Extras of the distribution that this start wants and that are not installed."""
    unwanted = {name for name, is_off in (("mediagen", given.no_mediagen), ("payouts", given.no_chain)) if is_off}
    return [
        extra
        for extra, modules in NEEDS.items()
        if extra not in unwanted and any(importlib.util.find_spec(module) is None for module in modules)
    ]


def _own(given: argparse.Namespace) -> tuple[Path, ...]:
    """The folders of own DServices, each looked at before anything starts. Raises DescriptorError."""
    found: list[Descriptor] = []
    mistakes: list[str] = []
    for folder in given.dservice:
        try:
            found.append(read(folder.resolve()))
        except DescriptorError as wrong:
            mistakes += wrong.mistakes
    taken = {} if given.no_mediagen else {"mediagen": "MediaGen", "/mgen": "MediaGen"}
    for one in found:
        for kind, value in (("name", one.name), ("route", one.route)):
            if value in taken:
                mistakes.append(f"{one.folder}: the {kind} {value} is taken by {taken[value]}: choose another")
            taken[value] = str(one.folder)
        if TIER not in one.allowed_tiers:
            mistakes.append(f'{one.folder}: the miners here are of tier {TIER}: add "{TIER}" to [tiers] allowed')
    if found and given.runner == "docker":
        mistakes.append("--dservice runs a folder's program as a child process: leave --runner docker out")
    if mistakes:
        raise DescriptorError(mistakes)
    return tuple(one.folder for one in found)


def main(argv: list[str]) -> int:
    """Entry point of `cgn up`."""
    arguments = parse(argv)
    if missing := missing_extras(arguments):
        say(f"wants {', '.join(missing)}, which are not installed here: {wanted(','.join(missing))}")
        return EXIT_USAGE
    try:
        options = SandboxOptions(
            directory=arguments.directory.resolve() if arguments.directory else None,
            miners=arguments.miners,
            chain=arguments.demo or not arguments.no_chain,
            runner=arguments.runner,
            mediagen=not arguments.no_mediagen,
            dservices=_own(arguments),
            work_port=arguments.work_port,
        )
        if arguments.demo:
            from cgn_sandbox.story import tell

            return asyncio.run(tell(options, arguments.output.resolve()))
        return asyncio.run(serve(options, as_json=arguments.json))
    except DescriptorError as wrong:
        print(*(f"cgn up: {mistake}" for mistake in wrong.mistakes), sep="\n", file=sys.stderr)
        return EXIT_USAGE
    except ChildFailed as failed:
        say(str(failed))
        return EXIT_FAILED
    except OSError as error:
        found = told(error)
        say(found.sentence if found else str(error))
        return found.code if found else EXIT_FAILED
    except KeyboardInterrupt:
        return 130
