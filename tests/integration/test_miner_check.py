"""`cgn miner run --check` asks the node, and what it says is what would be right (M-1, O-5)."""

import asyncio
import json
import sys
from pathlib import Path

import node_world as support
import pytest

NOOP = Path(__file__).resolve().parents[1] / "support/noop_dservice.py"


def settings(folder: Path, world: support.World, **changes: str) -> Path:
    """A miner.toml that this node takes, with changes."""
    values = {
        "node": f"wss://localhost:{world.ports['miner']}/tunnel",
        "account_id": support.CONTRIBUTOR,
        "miner_id": support.miner_id(0),
        "api_key_file": "api.key",
        "authority": str(world.folder / "authority.pem"),
        "version": "1",
        **changes,
    }
    (folder / "api.key").write_text(values.pop("key", support.KEY))
    (folder / "api.key").chmod(0o600)
    version = values.pop("version")
    lines = [f'{name} = "{value}"' for name, value in values.items()]
    lines += ["[dservices.noop]", f'version = "{version}"', f'command = ["python", "{NOOP}"]']
    path = folder / "miner.toml"
    path.write_text("\n".join(lines))
    return path


async def check(path: Path, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "miner_client.app", "run", "--config", str(path), "--check", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def test_the_node_says_whether_it_would_take_this_miner(tmp_path: Path) -> None:
    async with support.world(tmp_path / "node", sandbox=True) as world:
        code, said = await check(settings(tmp_path, world))
        assert code == 0, said
        assert f"node: {support.NODE} takes this miner in tier 2" in said
        assert world.node.driver.by_number == {}, "it only asked"


async def test_a_miner_that_works_is_not_disturbed_by_its_own_check(tmp_path: Path) -> None:
    async with support.world(tmp_path / "node", sandbox=True) as world:
        working = await world.miner(serve=support.answer_with(b"x")).join()
        assert (await check(settings(tmp_path, world)))[0] == 0
        assert working.closed is None
        assert (await world.call("GET", "/noop")).body == b"x"


@pytest.mark.parametrize(
    ("changes", "sandbox", "said"),
    [
        ({"version": "1.0.0"}, True, "noop 1.0.0 is offered, and 1 is the version served here"),
        ({"key": "cgn_" + "x" * 12 + "_" + "y" * 43}, True, "account_id, miner_id or api_key: the node says: "),
        ({}, False, "the node refuses this miner: outside tier 1 the runner must be docker"),
        (
            {"node": "wss://localhost:1/tunnel"},
            True,
            "wss://localhost:1/tunnel cannot be reached: nobody answers there",
        ),
        ({"node": "wss://no-such-host.invalid/tunnel"}, True, "the host's name is not known here"),
        (
            {"authority": ""},
            True,
            "shows a certificate that cannot be verified by any authority that this machine trusts",
        ),
    ],
)
async def test_a_refusal_says_what_would_be_right(
    changes: dict[str, str], sandbox: bool, said: str, tmp_path: Path
) -> None:
    async with support.world(tmp_path / "node", sandbox=sandbox) as world:
        path = settings(tmp_path, world, **changes)
        if changes.get("authority") == "":
            path.write_text(path.read_text().replace('authority = ""\n', ""))
        code, printed = await check(path)
    assert (code, said in printed) == (2, True), printed
    assert "Traceback" not in printed


async def test_a_dservice_that_is_not_served_is_named_with_those_that_are(tmp_path: Path) -> None:
    async with support.world(tmp_path / "node", sandbox=True) as world:
        path = settings(tmp_path, world)
        path.write_text(path.read_text().replace("[dservices.noop]", "[dservices.nope]"))
        code, printed = await check(path)
    assert code == 2
    assert "nope is not served here; there are: noop, other" in printed


async def test_a_key_that_others_can_read_is_told(tmp_path: Path) -> None:
    async with support.world(tmp_path / "node", sandbox=True) as world:
        path = settings(tmp_path, world)
        (tmp_path / "api.key").chmod(0o644)
        code, printed = await check(path, "--offline")
    assert code == 2
    assert f"api_key_file: {tmp_path}/api.key can be read by others: chmod 600 it" in printed


async def test_the_key_command_makes_a_key_and_prints_what_a_trust_file_holds(tmp_path: Path) -> None:
    async with support.world(tmp_path / "node", sandbox=True) as world:
        path = settings(tmp_path, world)
    words = (sys.executable, "-m", "miner_client.app", "key", "--config", str(path))
    printed = []
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        printed.append(json.loads((await process.communicate())[0]))
    assert printed[0] == printed[1]
    [(miner, member)] = printed[0]["miners"].items()
    assert (miner, len(member["key"])) == (support.miner_id(0), 64)
    assert (tmp_path / "miner-signing.key").stat().st_mode & 0o777 == 0o600
