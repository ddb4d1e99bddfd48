"""`cgn ledger`: what an operator does to a ledger beside running a node.

    cgn ledger init URL                  make what is missing in a store, or bring an older one up to date
    cgn ledger export URL [--private]    rows, payments, settlements, batches and heads as NDJSON to stdout
    cgn ledger seal URL MONTH            close the months before for writing (Elasticsearch)
    cgn ledger repair-spool FOLDER       go on with a spool that a node refuses as damaged
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
from pathlib import Path

from ledger import initialise, open_store
from ledger.export import lines
from ledger.port import StoreError
from ledger.refused import offer_again
from ledger.spool import Spool, SpoolDamaged
from ledger.spool_repair import Repaired, repair_spool


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
        else:
            repaired = repair_spool(given.folder)
            print(_told(repaired, _opened(given.folder)))
    except (StoreError, SpoolDamaged, OSError, ValueError) as error:
        print(f"cgn ledger {given.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cgn ledger", description="Prepare, export and repair a ledger.")
    commands = parser.add_subparsers(dest="command", required=True)
    url = {"metavar": "URL", "help": "sqlite:///path, or https://user:password@host:9200/prefix?ca=FILE"}
    init = commands.add_parser("init", help="make what is missing in a store, or bring an older one up to date")
    init.add_argument("url", **url)
    export = commands.add_parser("export", help="write everything that a checker needs as NDJSON to stdout")
    export.add_argument("url", **url)
    export.add_argument("--private", action="store_true", help="with the private parts: for the node's operator alone")
    seal = commands.add_parser("seal", help="close the row indices of finished months for writing (Elasticsearch)")
    seal.add_argument("url", **url)
    seal.add_argument("month", type=_month, metavar="MONTH", help="all months before this one, such as 2026-12")
    repair = commands.add_parser("repair-spool", help="keep what is damaged in a spool, and go on without it")
    repair.add_argument("folder", type=Path, help="the folder `spool` in the node's state folder; stop the node first")
    offer = commands.add_parser("offer-again", help="give rows that the ledger refused to it once more")
    offer.add_argument("folder", type=Path, help="the folder `refused` in the node's state folder")
    offer.add_argument("url", **url)
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
    if repaired.damaged:
        said.append("Rows that stood last and of which nothing can be read have no number: they are not counted.")
    return "\n".join(said)


if __name__ == "__main__":
    sys.exit(main())
