"""L-17: what a request carries that is secret is in no store, spool, log (of access, too), export, receipt, problem
document, session file or metric of a real node that did the work."""

import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from urllib.parse import quote

import aiohttp
import node_world as support
from cgn_sdk.protocol import tunnel
from node_process import node_process

PLANTED = {
    name: f"Zq{number}PLANTED{number}qZ"
    for number, name in enumerate(
        [
            "cookie",
            "custom-auth",
            "api-key",
            "query",
            "signed",
            "credential",
            "nested",
            "user",
            "deep",
            "json",
            "listed",
            "refused",
            "meta-name",
            "meta-value",
            "meta-listed",
            "meta-refused",
            "said",
        ]
    )
}


def request() -> tuple[str, list[str]]:
    """(target, header lines) with a secret in every place where one may stand."""
    signed = (
        f"https://bucket.example/a.png?X-Amz-Credential={PLANTED['credential']}%2F20300101&X-Amz-Signature="
        f"{PLANTED['signed']}&x=1"
    )
    deep = f"https://u:{PLANTED['user']}@h/?sig={PLANTED['deep']}"
    inner = f"https://cache.example/p?src={quote(deep, safe='')}&w=1"
    script = json.dumps({"load": {"password": PLANTED["json"]}, "w": 2})
    target = (
        f"/noop?token={PLANTED['query']}&src={quote(signed, safe='')}&also={quote(inner, safe='')}"
        f"&script={quote(script, safe='')}&patient={PLANTED['listed']}&w=200"
    )
    return target, [
        f"Cookie: session={PLANTED['cookie']}; a=b",
        f"X-Auth-Token: {PLANTED['custom-auth']}",
        f"X-Api-Key: {PLANTED['api-key']}",
        f"Referer: https://h.example/?access_token={PLANTED['nested']}",
        "X-Kept: kept",
        f"CGN-Meta-Api-Key: {PLANTED['meta-name']}",
        f"CGN-Meta-Source: https://h.example/?sig={PLANTED['meta-value']}",
        f"CGN-Meta-Patient: {PLANTED['meta-listed']}",
        "CGN-Meta-Flow: flow-7",
    ]


async def quoting(miner: support.ScriptedMiner, opened: tunnel.Opened) -> None:
    """Answers as a DService that quotes the request in its metadata and needs its cookie."""
    headers = dict(opened.message.headers)
    assert headers["Cookie"] == f"session={PLANTED['cookie']}; a=b"
    assert opened.message.target == request()[0]
    miner.acknowledge(opened.stream)
    said = {"source": f"https://u:{PLANTED['user']}@h/x", "auth-token": PLANTED["said"], "pixels": "4"}
    await miner.answer(opened, [b"done"], metadata=said)


def files_with(folder: Path, planted: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and planted in path.read_bytes()]


async def test_planted_secrets_are_found_nowhere(tmp_path: Path) -> None:
    async with node_process(tmp_path) as (world, process):
        account = world.central.accounts[support.ACCOUNT]
        world.central.accounts[support.ACCOUNT] = dataclasses.replace(account, redact=("patient",))
        session_key = json.loads((await world.open_session()).body)["session_key"]
        await world.miner(serve=quoting).join()
        target, lines = request()
        reply = await world.call("GET", target, *lines, key=session_key)
        assert reply.status == 200
        id = reply.headers["cgn-request-id"]
        refused = await world.call("GET", f"/nowhere?token={PLANTED['refused']}", key=session_key)
        assert refused.status == 404
        bad_option = await world.call(
            "GET", target, f"CGN-Meta-Token: {PLANTED['meta-refused']}", "CGN-Tier: 9", key=session_key
        )
        assert bad_option.status == 400
        receipt = await world.call("GET", f"/receipts/{id}", key=session_key)
        shown = [
            receipt.body,
            refused.body,
            bad_option.body,
            (await world.call("GET", f"/requests/{id}", key=session_key)).body,
        ]
        url = f"http://127.0.0.1:{world.ports['metrics']}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            shown.append(await response.read())
        process.kill()  # while the row is in the spool, or just shipped: both are looked at
        await process.wait()
        secrets = {**PLANTED, "session": session_key, "api": support.KEY}
        found = {name: files_with(tmp_path / "state", value.encode()) for name, value in secrets.items()}
        assert not any(found.values()), found
    async with node_process(tmp_path) as (world, _):
        async with asyncio.timeout(20):
            while (receipt := await world.call("GET", f"/receipts/{id}")).status != 200:
                await asyncio.sleep(0.05)
        shown.append(receipt.body)
        url = f"sqlite:///{tmp_path}/ledger.sqlite"
        for words in ((), ("--private",)):
            export = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ledger.app", "export", url, *words, stdout=asyncio.subprocess.PIPE
            )
            shown.append((await export.communicate())[0])
        assert b'"flow":"flow-7"' in shown[-1], "the export shows what is no secret"
        assert not [name for name, value in secrets.items() for text in shown if value.encode() in text]
    key_file = str(tmp_path / "api.key")  # the operator's own
    found = {name: files_with(tmp_path, value.encode()) for name, value in secrets.items()}
    assert {name: paths for name, paths in found.items() if paths not in ([], [key_file])} == {}
    assert found["api"] == [key_file]
    [kept] = files_with(tmp_path, b"X-Kept")  # it was looked for where it would have been
    assert Path(kept).name == "ledger.sqlite"
