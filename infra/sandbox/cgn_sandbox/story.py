"""The main job, told while it happens (O-1): pictures, a miner killed in a burst, the day settled, all of it verified.

Each step really happens, over the sandbox's sockets and processes; a step that fails ends the story with exit code 1
and says where the logs are. Files that a person would want to keep land in the output folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cgn_sdk.client import AsyncClient, WorkResult
from cgn_sdk.mrl import mrl

from cgn_sandbox.children import ChildFailed, run_to_end
from cgn_sandbox.network import Sandbox, SandboxOptions

BURST_REQUESTS = 60
KILL_AFTER_ANSWERS = 15
SAMPLES_TIME_LIMIT_S = 60


class StoryFailed(RuntimeError):
    """A step did not do what it promises."""


@dataclass
class Teller:
    """Prints the story: a heading a chapter, an indented line a fact."""

    chapters: int
    number: int = 0

    def chapter(self, title: str) -> None:
        self.number += 1
        bold, plain = ("\033[1m", "\033[0m") if _has_colour() else ("", "")
        print(f"\n{bold}{self.number}/{self.chapters}  {title}{plain}", flush=True)

    def say(self, text: str) -> None:
        print(f"      {text}", flush=True)


def _has_colour() -> bool:
    """At a terminal, unless its user has said no (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def euro(nano_eur: int) -> str:
    """1e-9 EUR as text, exactly: 1234 is `0.000001234 EUR`."""
    return f"{nano_eur // 10**9}.{nano_eur % 10**9:09d} EUR"


def cpu(nano_cpu: int) -> str:
    """1e-9 CPU as text, exactly."""
    return f"{nano_cpu // 10**9}.{nano_cpu % 10**9:09d} CPU"


def expect(truth: bool, promise: str) -> None:
    if not truth:
        raise StoryFailed(promise)


async def tell(options: SandboxOptions, output: Path) -> int:
    """The whole story. Returns the exit code."""
    began = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    sources = output / "sources"
    code, text = await run_to_end(
        "samples",
        [sys.executable, "-m", "dservices.mediagen.samples", str(sources)],
        output / "samples.log",
        time_limit_s=SAMPLES_TIME_LIMIT_S,
    )
    if code:
        print(f"the sample picture could not be made:\n{text}\n{(output / 'samples.log').read_text()}", file=sys.stderr)
        return 1
    (output / "samples.log").unlink(missing_ok=True)
    teller = Teller(chapters=6)
    network = Sandbox(replace(options, sources=sources))
    logs = output / "logs"
    try:
        async with network:
            try:
                return await _chapters(network, teller, output, began)
            finally:
                shutil.copytree(network.folder / "logs", logs, dirs_exist_ok=True)
    except (StoryFailed, ChildFailed) as failed:
        print(f"\nThe story ends here: {failed}\nLogs: {logs}", file=sys.stderr)
        return 1


async def _chapters(network: Sandbox, teller: Teller, output: Path, began: float) -> int:
    teller.chapter("The network")
    _tell_network(network, teller)
    async with network.client() as client:
        teller.chapter("A DApp asks for pictures")
        receipts = await _pictures(network, client, teller, output, began)
        teller.chapter("A miner is killed in the middle of a burst")
        await _burst(network, client, teller)
        teller.chapter("The day is settled on the chain")
        await _settle(network, teller)
        teller.chapter("Everything is verified")
        await _verify(network, client, teller, output, receipts[0])
        teller.chapter("One byte is altered in a copy of the ledger")
        await _tamper(network, teller, output)
    print(f"\nDone in {time.monotonic() - began:.1f} s. Files: {output}", flush=True)
    return 0


def _tell_network(network: Sandbox, teller: Teller) -> None:
    path_s, chain_s = network.seconds["request path"], network.seconds["chain"]
    teller.say(
        f"Central Service, a node, {network.options.miners} miners with MediaGen, a ledger, a chain: all processes."
    )
    teller.say(f"Request path ready after {path_s:.1f} s, chain and token after {chain_s:.1f} s.")
    teller.say(f"work endpoint  {network.work_url}")
    teller.say(f"chain          {network.chain_url}")
    teller.say("All links are TLS under an authority made for this run. DServices run as child processes here: fine")
    teller.say("for a trial, not for strangers' code (in containers: cgn up --runner docker).")


async def _pictures(network: Sandbox, client: AsyncClient, teller: Teller, output: Path, began: float) -> list[str]:
    """Two MRLs: the photograph, and a page of a PDF."""
    wanted = [
        ("12-megapixel photograph: rotate, scale, text, JPEG", "photo.ms", {}, "photo.jpg"),
        ("page 2 of a PDF as PNG", "page.ms", {"page": "2"}, "page.png"),
    ]
    ids = []
    for title, script, arguments, name in wanted:
        path = mrl(f"{network.source_url}/{script}", **arguments)
        clock = time.monotonic()
        result = await client.request("GET", path)
        body = await result.read()
        took_ms = (time.monotonic() - clock) * 1000
        expect(result.status == 200, f"{title}: status {result.status}: {body[:300].decode(errors='replace')}")
        (output / name).write_bytes(body)
        ids.append(result.request_id)
        teller.say(f"{title}")
        teller.say(f"   {output / name}  ({len(body) // 1024} KiB in {took_ms:.0f} ms)")
        teller.say(f"   {_cost(result)}   {_timings(result)}")
        if len(ids) == 1:
            teller.say(f"   first picture {time.monotonic() - began:.1f} s after the start")
    return ids


def _cost(result: WorkResult) -> str:
    return f"cost {euro(result.fee_nano_eur or 0)} = {cpu(result.fee_nano_cpu or 0)}"


def _timings(result: WorkResult) -> str:
    return ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in result.timings.items())


async def _burst(network: Sandbox, client: AsyncClient, teller: Teller) -> None:
    """Many small requests at once; SIGKILL for the first miner when some answers are there; every one must succeed."""
    path = mrl(f"{network.source_url}/photo.ms", width="160", text="")
    answered = 0
    killed = asyncio.Event()

    async def one(number: int) -> WorkResult:
        nonlocal answered
        result = await client.request("GET", f"{path}&n={number}")
        await result.read()
        answered += 1
        if answered == KILL_AFTER_ANSWERS:
            network.children["miner-1"].kill()
            killed.set()
        return result

    clock = time.monotonic()
    results = await asyncio.gather(*(one(number) for number in range(BURST_REQUESTS)), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException) or result.status != 200]
    took = time.monotonic() - clock
    expect(killed.is_set(), "the burst ended before a miner was killed")
    expect(not failures, f"{len(failures)} of {BURST_REQUESTS} requests failed: {failures[:1]}")
    fees = [result.fee_nano_eur or 0 for result in results if isinstance(result, WorkResult)]
    teller.say(f"{BURST_REQUESTS} requests at once; miner-1 got SIGKILL after {KILL_AFTER_ANSWERS} answers.")
    teller.say(f"All {BURST_REQUESTS} succeeded in {took:.1f} s: what the dead miner had was done again by miner-2.")
    teller.say(f"Each is billed once, together {euro(sum(fees))}.")


async def _settle(network: Sandbox, teller: Teller) -> None:
    await asyncio.sleep(0.5)  # the shipper's pause: rows travel from the spool to the store
    code, text = await network.run("payouts", "payouts", "run", "--config", str(network.payouts_config))
    for line in text.splitlines():
        teller.say(line)
    expect(code == 0, "payouts ended with an error")


async def _verify(network: Sandbox, client: AsyncClient, teller: Teller, output: Path, request_id: str) -> None:
    await _run_verify(network, teller, network.ledger_url, output / "verify.txt", wanted=0)
    receipt = await client.receipt(request_id)
    files = {name: output / f"receipts/{name}.json" for name in ("receipt", "anchor", "trust")}
    files["receipt"].parent.mkdir(exist_ok=True)
    files["receipt"].write_text(json.dumps(receipt, indent=1))
    batch = _batch_of(receipt)
    words = ["verify", "--anchor", batch, "--out", str(files["anchor"]), *_verify_words(network, network.ledger_url)]
    code, text = await network.run("anchor", *words)
    expect(code == 0, f"no anchor for batch {batch}: {text}")
    files["trust"].write_bytes(await network.trust())
    words = [
        "receipt",
        "verify",
        str(files["receipt"]),
        "--anchor",
        str(files["anchor"]),
        "--trust",
        str(files["trust"]),
    ]
    code, text = await network.run("receipt", *words)
    for line in text.splitlines():
        teller.say(line)
    expect(code == 0, "the receipt did not verify")
    teller.say(f"The receipt, its anchor and the keys it was checked with: {files['receipt'].parent}")


def _batch_of(receipt: dict[str, Any]) -> str:
    inclusion = receipt.get("inclusion") or {}
    batch = inclusion.get("batch_id")
    expect(bool(batch), "the receipt holds no proof of inclusion")
    return str(batch)


def _verify_words(network: Sandbox, ledger_url: str) -> Sequence[str]:
    words = ["--ledger", ledger_url, "--rpc", network.chain_url, "--token", network.token_address]
    return [*words, "--trust", str(network.trust_file)]


async def _run_verify(network: Sandbox, teller: Teller, ledger_url: str, log: Path, *, wanted: int) -> None:
    code, text = await network.run("verify", "verify", *_verify_words(network, ledger_url))
    log.write_text(text)
    for line in text.splitlines()[-12:]:
        teller.say(line)
    expect(code == wanted, f"verify ended with {code}, not {wanted}")


async def _tamper(network: Sandbox, teller: Teller, output: Path) -> None:
    """One byte of one public column of one stored row, in a copy; `verify` must name that row."""
    copy = output / "ledger-altered.sqlite"
    row_id = alter_one_byte(network.ledger_path, copy)
    teller.say(f"Altered: row {row_id}, one digit of its event time, in {copy}")
    code, text = await network.run("verify-altered", "verify", *_verify_words(network, f"sqlite:///{copy}"))
    (output / "verify-altered.txt").write_text(text)
    naming = [line for line in text.splitlines() if row_id in line]
    for line in naming[:4]:
        teller.say(line)
    expect(code == 1, f"verify of the altered copy ended with {code}, not 1")
    expect(bool(naming), "verify did not name the altered row")
    teller.say("verify names exactly that row, and exits 1.")


def alter_one_byte(ledger: Path, copy: Path) -> str:
    """Copies the ledger and changes the last digit of one row's event time. Returns the row's id."""
    copy.unlink(missing_ok=True)
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as source, sqlite3.connect(copy) as target:
        source.backup(target)
        triggers = [name for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in triggers:
            target.execute(f'DROP TRIGGER "{name}"')
        ingest, text = target.execute(
            "SELECT ingest, public_json FROM rows ORDER BY ingest LIMIT 1 OFFSET 3"
        ).fetchone()
        public = json.loads(text)
        time_ns = public["event_time_ns"]
        altered = time_ns[:-1] + ("1" if time_ns[-1] != "1" else "2")
        changed = text.replace(f'"event_time_ns":"{time_ns}"', f'"event_time_ns":"{altered}"')
        expect(changed != text, "the row's event time was not found")
        target.execute("UPDATE rows SET public_json = ? WHERE ingest = ?", (changed, ingest))
    return str(public["row_id"])
