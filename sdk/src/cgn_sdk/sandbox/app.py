"""`cgn up`: the whole network on this machine, in one command, gone without trace when it stops (S-5).

cgn up                          start, print addresses and example commands, run until Ctrl-C
cgn up --miners 3 --no-chain    more miners, no development chain
cgn up --runner docker          DServices in containers
cgn up --demo --output DIR      the main job, told as a story, then stop
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import signal
import sys
import time
from pathlib import Path

from cgn_sdk.sandbox.children import ChildFailed
from cgn_sdk.sandbox.network import Sandbox, SandboxOptions

ABOUT = "start the whole network on this machine (--demo: show the main job)"


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cgn up", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", action="store_true", help="show the main job and stop")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the demo's files go")
    parser.add_argument("--miners", type=int, default=2)
    parser.add_argument("--runner", choices=("process", "docker"), default="process", help="how DServices run")
    parser.add_argument("--no-chain", action="store_true", help="without the development chain")
    parser.add_argument("--work-port", type=int, default=0, help="port of the work endpoint; 0 takes a free one")
    parser.add_argument("--directory", type=Path, help="keep the network's files here instead of a temporary folder")
    return parser.parse_args(argv)


def greeting(network: Sandbox, seconds: float) -> str:
    plan = network.plan
    chain = f"chain       {network.chain_url}\n" if network.options.chain else ""
    return f"""
CGN sandbox: ready after {seconds:.1f} s with {network.options.miners} miners. Ctrl-C ends it and removes its files.

work        {network.work_url}
status      {network.status_url}/status
{chain}ledger      {network.ledger_url}
logs        {network.folder / "logs"}
authority   {network.authority}     (trust it with --cacert)

A DApp's account:
  export CGN_ACCOUNT={plan.enterprise.id}
  export CGN_KEY={plan.enterprise.api_key}
  export CGN_CA={network.authority}

Open a session and ask for a picture (put main.ms into {network.options.sources or network.folder / "sources"}):
  KEY=$(curl -s --cacert $CGN_CA {network.work_url}/session \\
    -d '{{"account_id":"'$CGN_ACCOUNT'","api_key":"'$CGN_KEY'"}}' | sed 's/.*"session_key": *"\\([^"]*\\).*/\\1/')
  curl --cacert $CGN_CA -H "Authorization: Bearer $KEY" -o picture.jpg \\
    '{network.work_url}/mgen/io?script={network.source_url}/main.ms'
"""


async def serve(options: SandboxOptions) -> int:
    """Runs the network until SIGINT or SIGTERM, or until one of its processes ends unexpectedly."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    began = time.monotonic()
    starting = asyncio.ensure_future(Sandbox(options).__aenter__())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return 130
    network = await starting
    try:
        print(greeting(network, time.monotonic() - began), flush=True)
        ends = {asyncio.ensure_future(child.process.wait()): name for name, child in network.children.items()}
        await asyncio.wait({stopping, *ends}, return_when=asyncio.FIRST_COMPLETED)
        ended = [name for task, name in ends.items() if task.done()]
        if ended and not stop.is_set():
            print(f"{', '.join(ended)} ended; see {network.folder / 'logs'}", file=sys.stderr)
        return 1 if ended and not stop.is_set() else 0
    finally:
        await network.close()


SERVICES = ("cgn_chassis", "cgn_node", "central_service", "miner_client", "ledger")


def main(argv: list[str]) -> int:
    """Entry point of `cgn up`."""
    arguments = parse(argv)
    if missing := [name for name in SERVICES if importlib.util.find_spec(name) is None]:
        print(
            f"cgn up: starts the services, of which {', '.join(missing)} are not installed here: "
            "work from a clone of the project, or install its own wheel beside cgn-sdk",
            file=sys.stderr,
        )
        return 1
    options = SandboxOptions(
        directory=arguments.directory.resolve() if arguments.directory else None,
        miners=arguments.miners,
        chain=arguments.demo or not arguments.no_chain,
        runner=arguments.runner,
        work_port=arguments.work_port,
    )
    try:
        if arguments.demo:
            from cgn_sdk.sandbox.story import tell

            return asyncio.run(tell(options, arguments.output.resolve()))
        return asyncio.run(serve(options))
    except ChildFailed as failed:
        print(f"cgn up: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
