"""`cgn ledger`: what an operator does to a ledger beside running a node.

    cgn ledger init URL                  make what is missing in a store, or bring an older one up to date
    cgn ledger export URL [--private]    rows, payments, settlements, batches and heads as NDJSON to stdout
    cgn ledger seal URL MONTH            close the months before for writing (Elasticsearch)
    cgn ledger repair-spool FOLDER       make a damaged spool readable, and say what is lost (--ledger URL: what is not)
    cgn ledger losses STATE URL          say what of a node's records is gone, and what was accepted
    cgn ledger accept-loss STATE URL --reason TEXT --by NAME    make a signed fact of what is gone, and go on
    cgn ledger offer-again FOLDER URL    give rows that the ledger refused to it once more

`init` and `seal` want an administrator of the cluster; docs/reference/ledger.md has the roles of all others.
Exit code 0: done. 1: it could not be done; the line says why. 2: the command line is wrong.
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from cgn_sdk.command_line import Parser
from cgn_sdk.protocol.loss import in_words
from cgn_sdk.signing import Signer

from cgn_chassis.keys import load
from ledger import initialise, losses, open_store
from ledger.export import lines
from ledger.port import StoreError
from ledger.refused import offer_again
from ledger.spool import Spool, SpoolDamaged
from ledger.spool_repair import Repaired, repair_spool, shipped_through


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `cgn ledger`."""
    given = _parser().parse_args(argv)
    try:
        if given.command == "init":
            asyncio.run(initialise(given.url))
            print("the ledger is ready")
        elif given.command == "export":
            asyncio.run(_export(given.url, private=given.private))
        elif given.command == "seal":
            print(_seal(given.url, given.month))
        elif given.command == "offer-again":
            return asyncio.run(_offer_again(given.folder, given.url))
        elif given.command in ("losses", "accept-loss"):
            return _losses(given)
        else:
            repaired = repair_spool(given.folder, partial(_shipped, given.ledger) if given.ledger else lambda rows: 0)
            is_missed = bool(repaired.lost or repaired.unknown_from)
            print(_told(repaired, [] if is_missed else _opened(given.folder)))
            return 1 if is_missed else 0
    except (StoreError, SpoolDamaged, OSError, ValueError) as error:
        print(f"cgn ledger {given.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="sqlite:///path, or https://user:password@host:9200/prefix?ca=FILE")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cgn ledger", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make what is missing in a store, or bring an older one up to date")
    _add_url(init)
    export = commands.add_parser("export", help="write everything that a checker needs as NDJSON to stdout")
    _add_url(export)
    export.add_argument("--private", action="store_true", help="with the private parts: for the node's operator alone")
    seal = commands.add_parser("seal", help="close the row indices of finished months for writing (Elasticsearch)")
    _add_url(seal)
    seal.add_argument("month", type=_month, metavar="MONTH", help="all months before this one, such as 2026-12")
    repair = commands.add_parser("repair-spool", help="keep what is damaged in a spool, and go on without it")
    repair.add_argument("folder", type=Path, help="the folder `spool` in the node's state folder; stop the node first")
    repair.add_argument("--ledger", help="the node's ledger: rows that it has are not lost", metavar="URL")
    for name, help in (
        ("losses", "say what of a node's records is gone, and what was accepted"),
        ("accept-loss", "make a signed fact of what is gone, so that the node goes on; stop it first"),
    ):
        losses = commands.add_parser(name, help=help)
        losses.add_argument("state", type=Path, help="the node's state folder")
        _add_url(losses)
        losses.add_argument("--node-id", default="", metavar="ID", help="the node's public id, where no head says it")
        if name == "accept-loss":
            losses.add_argument("--reason", required=True, metavar="TEXT", help="why it is gone, as far as you know")
            losses.add_argument("--by", required=True, metavar="NAME", help="who accepts it")
    offer = commands.add_parser("offer-again", help="give rows that the ledger refused to it once more")
    offer.add_argument("folder", type=Path, help="the folder `refused` in the node's state folder")
    _add_url(offer)
    return parser


def _month(text: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a month such as 2026-12")
    return text


async def _export(url: str, *, private: bool) -> None:
    _refuse_missing(url)
    store = await open_store(url, read_only=True)
    try:
        async for line in lines(store, private=private):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    finally:
        await store.close()


async def _offer_again(folder: Path, url: str) -> int:
    """Returns 1 while a row is still refused."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    _refuse_missing(url)
    store = await open_store(url, now_ns=time.time_ns)
    try:
        found = await offer_again(folder, store)
    finally:
        await store.close()
    for name in found.taken:
        print(f"{name}: the ledger holds it")
    for name, reason in found.refused:
        print(f"{name}: STILL REFUSED: {reason}")
    print(f"{len(found.taken)} rows taken, {len(found.refused)} still refused and kept")
    return 1 if found.refused else 0


def _losses(given: argparse.Namespace) -> int:
    """`losses` answers 1 while something is gone that nobody has accepted."""
    _refuse_missing(given.url)
    signer = Signer(load(given.state / losses.KEY_NAME).private_bytes_raw())
    with losses.stopped(given.state):
        found = losses.look(given.url, given.state, node_id=given.node_id, public_key=signer.public_key)
        if given.command == "accept-loss" and found.is_open:
            accepting = losses.accept(given.url, given.state, signer, found, reason=given.reason, by=given.by)
            made = asyncio.run(accepting)
            print("\n".join([*(f"ACCEPTED: {in_words(loss)}" for loss in made), "the node may be started"]))
            return 0
    print("\n".join([*(f"accepted before: {in_words(loss)}" for loss in found.accepted), *_gone(found)]))
    return 1 if found.is_open and given.command == "losses" else 0


def _gone(found: losses.Looked) -> list[str]:
    said = [
        f"GONE ({gone.kind}): {gone.first} to {gone.last or 'nobody knows where'}: {gone.said}" for gone in found.gone
    ]
    if found.is_open and not said:
        said.append("what was accepted still keeps the node away: cgn ledger accept-loss ends that")
    return said or ["nothing else is gone"]


def _shipped(url: str, rows: Sequence[tuple[int, str]]) -> int:
    _refuse_missing(url)

    async def asked() -> int:
        store = await open_store(url, read_only=True)
        try:
            return await shipped_through(store, rows)
        finally:
            await store.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asked()).result()


def _refuse_missing(url: str) -> None:
    """Opening an embedded ledger that is not there would make an empty one."""
    if not url.startswith(("http://", "https://")) and not Path(url.removeprefix("sqlite:///")).is_file():
        raise ValueError(f"there is no ledger {url}")


def _seal(url: str, month: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("an embedded ledger has no months: its triggers refuse every change")
    from ledger.elasticsearch_setup import seal_months

    names = asyncio.run(seal_months(url, month))
    return "\n".join([*names, f"{len(names)} indices are closed for writing"])


def _opened(folder: Path) -> list[str]:
    """Opens a spool as a node does and leaves it, and says what was dropped. In a thread: with a loop of its own."""

    async def open_and_close() -> list[str]:
        spool = await Spool.open(folder)
        await spool.close()
        return [f"{dropped.segment}: {dropped.size} bytes were dropped to {dropped.kept}" for dropped in spool.dropped]

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, open_and_close()).result()


def _told(repaired: Repaired, dropped: list[str]) -> str:
    """What a person reads of a repair, when the spool has opened."""
    if repaired.kept is None:
        return "\n".join([*dropped, f"nothing is damaged: {repaired.rows} rows"])
    said = [*dropped, *repaired.findings]
    said += [f"{name} was damaged" for name in repaired.damaged]
    said += [f"LOST: row {a}" if a == b else f"LOST: rows {a} to {b}" for a, b in repaired.lost]
    lost = sum(b - a + 1 for a, b in repaired.lost)
    said.append(f"{repaired.rows} rows are there, {lost} are lost; all old segments are in {repaired.kept}")
    if repaired.unknown_from:
        said.append(
            f"LOST, PERHAPS: rows from {repaired.unknown_from} on; nothing is left that says how many there were"
        )
    if repaired.lost or repaired.unknown_from:
        said.append("The node does not start until somebody answers for that: cgn ledger accept-loss STATE URL")
    return "\n".join(said)


if __name__ == "__main__":
    sys.exit(main())
