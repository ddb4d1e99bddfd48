"""`python ordinary_user_runner.py FOLDER IMAGE GROUP`, as root: starts and stops a container with the Docker runner, becomes
an ordinary user in the engine's group (by number), does it again. Prints what the health endpoint said each time.

The first time loads every module: the interpreter's own folder may be root's alone.
"""

import asyncio
import os
import sys
from pathlib import Path

from miner_client.hop import Hop
from miner_client.runner import DServiceSettings, make_runner

ORDINARY = 54_321


async def once(folder: Path, image: str) -> None:
    one = make_runner(DServiceSettings(name="trial", version="1", command=(), image=image), folder)
    await one.start()
    hop = Hop(one.socket_path)
    try:
        answer = await hop.request("GET", "/_cgn/health", [], None)
        print(os.geteuid(), answer.status, one.cpu_ns() > 0, one.memory_bytes() > 0, flush=True)
    finally:
        await hop.close()
        await one.stop()


def main() -> int:
    folder, image, group = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    asyncio.run(once(folder / "root", image))
    home = folder / "ordinary"
    home.mkdir(mode=0o700)
    os.chown(home, ORDINARY, ORDINARY)
    os.setgroups([group])
    os.setgid(ORDINARY)
    os.setuid(ORDINARY)
    asyncio.run(once(home / "one", image))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
