"""How long Central takes from its start to READY, without and with a seed of eight accounts and four keys (a sandbox's);
how long it takes to check a key, and how many miners a second a node can have verified over the link (both ends in one
process, mutual TLS, 200 questions at once, one contributor's key).

.venv/bin/python tests/bench/bench_central_start.py [runs]
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

from central_kit import CON, CON_2, ENT_2, KEYS, MIN, NOD, NOD_2, OPR, Certificates, make_seed  # noqa: E402
from cgn_sdk.protocol import link  # noqa: E402
from cgn_sdk.protocol.ids import ApiKey, make_api_key  # noqa: E402

from central_service.answers import Answers  # noqa: E402
from central_service.core.records import KeyRecord, Node  # noqa: E402
from central_service.core.seed import read_seed  # noqa: E402
from central_service.credentials import Credentials, Hashing  # noqa: E402
from central_service.links import Links  # noqa: E402
from central_service.planting import plant  # noqa: E402
from central_service.store import Store  # noqa: E402
from cgn_chassis.supervisor import Supervisor  # noqa: E402
from cgn_node.central_endpoint import CentralEndpoint  # noqa: E402

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from central_service.app import main; sys.exit(main(sys.argv[1:]))",
    "run",
]


def sandbox_seed() -> dict[str, Any]:
    """One account of each kind, keys for those that ask at once, no passwords."""
    seed = make_seed()
    left_out = {ENT_2, CON_2, NOD_2}
    seed["accounts"] = [each for each in seed["accounts"] if each["id"] not in left_out]
    for account in seed["accounts"]:
        account.pop("password", None)
    seed["miners"] = seed["miners"][:1]
    return seed


def start_ms(*, seeded: bool) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates = Certificates(folder / "tls")
        certificate, key = certificates.paths("central")
        config = folder / "central.toml"
        config.write_text(
            f'database = "central.sqlite"\ncertificate = "{certificate}"\nkey = "{key}"\n'
            f'authority = "{certificates.authority_path}"\nmachine_port = 0\nportal_port = 0\nlog_level = "error"\n'
        )
        (folder / "seed.json").write_text(json.dumps(sandbox_seed()))
        seed = ["--seed", str(folder / "seed.json")] if seeded else []
        began = time.perf_counter()
        with subprocess.Popen([*COMMAND, "--config", str(config), *seed], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"READY")
            took = time.perf_counter() - began
            process.terminate()
        return took * 1000


async def proofs_ms() -> tuple[float, float]:
    """A key proven for the first time, and again."""
    hashing = Hashing()
    credentials = Credentials(hashing)
    key = ApiKey.parse(make_api_key(bytes(40)))
    assert key is not None
    record = KeyRecord(key.key_id, "ent_x", "work", await hashing.hash(key.whole))
    began = time.perf_counter()
    assert await credentials.prove(key, record, "bench")
    first = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(10_000):
        await credentials.prove(key, record, "bench")
    again = (time.perf_counter() - began) / 10_000
    hashing.close()
    return first * 1000, again * 1000


async def verified_per_s(questions: int = 10_000, at_once: int = 200) -> float:
    """`miner.verify` a second between the production ends of one link, after one to warm up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates = Certificates(folder / "tls")
        hello = link.NodeHello(NOD, KEYS[NOD], "0.1.0", "DE")
        admitted = asyncio.Event()
        node = CentralEndpoint(
            hello,
            copy_path=folder / "welcome.json",
            fingerprints=(certificates.pin("central"),),
            on_policy=lambda _: admitted.set(),
            on_revoke=lambda _: None,
        )
        port = await node.start("127.0.0.1", 0, certificates.server("node"))
        store, hashing = await Store.open(folder / "central.sqlite"), Hashing()
        credentials = Credentials(hashing)
        await plant(store, credentials, read_seed(make_seed()))
        where = Node(NOD, OPR, f"wss://127.0.0.1:{port}/central", certificates.pin("node"))
        await store.write("bench", "here it is", lambda records: records.put_node(where))
        links = Links(Answers(store, credentials), certificates.client(), Supervisor(print), dial_first_s=0.02)
        await links.start()
        await admitted.wait()
        miner = link.MinerVerify(CON, MIN, KEYS[CON]).to_params()
        await node.ask("miner.verify", miner)
        began = time.perf_counter()
        for _ in range(questions // at_once):
            answers = await asyncio.gather(*(node.ask("miner.verify", miner) for _ in range(at_once)))
            assert all(each["miner_id"] == MIN for each in answers)
        took = time.perf_counter() - began
        await links.close()
        await node.close()
        hashing.close()
        await store.close()
    return questions / took


def main() -> None:
    import uvloop

    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for seeded in (False, True):
        took = [start_ms(seeded=seeded) for _ in range(runs)]
        what = "start with seed" if seeded else "start, empty"
        print(f"{what:22} median {statistics.median(took):7.0f} ms   ({min(took):.0f} to {max(took):.0f}, {runs} runs)")
    first, again = asyncio.run(proofs_ms())
    print(f"{'a key, first time':22} {first:14.1f} ms")
    print(f"{'a key, remembered':22} {again:14.4f} ms")
    rates = [uvloop.run(verified_per_s()) for _ in range(3)]
    print(f"{'miner.verify, link':22} {statistics.median(rates):14,.0f} /s   ({min(rates):,.0f} to {max(rates):,.0f})")


if __name__ == "__main__":
    main()
