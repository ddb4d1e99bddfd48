"""How long Central takes from its start to READY, without and with a seed of eight accounts and four keys (a sandbox's).

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

from central_kit import CON_2, ENT_2, NOD_2, Certificates, make_seed  # noqa: E402
from cgn_sdk.protocol.ids import ApiKey, make_api_key  # noqa: E402

from central_service.credentials import Credentials, Hashing  # noqa: E402

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
    from central_service.core.records import KeyRecord

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


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for seeded in (False, True):
        took = [start_ms(seeded=seeded) for _ in range(runs)]
        what = "start with seed" if seeded else "start, empty"
        print(f"{what:22} median {statistics.median(took):7.0f} ms   ({min(took):.0f} to {max(took):.0f}, {runs} runs)")
    first, again = asyncio.run(proofs_ms())
    print(f"{'a key, first time':22} {first:14.1f} ms")
    print(f"{'a key, remembered':22} {again:14.4f} ms")


if __name__ == "__main__":
    main()
