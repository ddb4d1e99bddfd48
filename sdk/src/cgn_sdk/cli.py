"""The one `cgn` command. Subcommands are entry points of the group `cgn.commands`, loaded only when asked for.

Each is a function `main(argv) -> exit code` in the package that owns the subject, so that `cgn miner` never imports
what only `cgn payouts` needs.
"""

from __future__ import annotations

import difflib
import os
import sys
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version

GROUP = "cgn.commands"
USAGE_EXIT = 2

ABOUT = {
    "up": "start the whole network on this machine, for trying out and developing",
    "init": "write a small network of real processes: certificates, keys, settings, systemd units",
    "dservice": "make a DService, and try it on this machine",
    "central": "Central Service: accounts, registry, links to nodes",
    "node": "a regional CGN node",
    "ledger": "prepare a node's ledger, export it, repair its spool",
    "miner": "join this machine to the network",
    "payouts": "settle rows on the chain: collect and pay",
    "verify": "check rows, hashes, batches and chain against each other",
    "receipt": "verify one request's receipt offline",
    "chain": "deploy the contracts, look at them; development chain",
    "sim": "simulate the Work Broker under faults",
}
"""One line each, so that help needs no import. What is not here is listed by its name."""


EXTRAS = {
    "up": "all",
    "init": "all",
    "central": "central",
    "node": "node",
    "ledger": "node",
    "miner": "miner",
    "payouts": "payouts",
    "verify": "payouts",
    "chain": "payouts",
    "sim": "node",
}
"""The extra of the main distribution that a command wants; the rest comes with the SDK."""


def wanted(extra: str) -> str:
    """What to install for a command. The main distribution is on no registry, where its name would be a stranger's."""
    return f"pip install 'cgn-{_version('cgn-sdk')}-py3-none-any.whl[{extra}]' (infra/wheels in a checkout builds it)"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "0.0.0"


def commands() -> dict[str, EntryPoint]:
    """Name -> entry point of every installed command."""
    return {point.name: point for point in entry_points(group=GROUP)}


def usage(known: dict[str, EntryPoint]) -> str:
    order = [name for name in ABOUT if name in known] + sorted(set(known) - set(ABOUT))
    lines = [f"  {name:<10} {ABOUT.get(name, '')}".rstrip() for name in order]
    return "usage: cgn COMMAND ...   (cgn COMMAND --help says more)\n\n" + "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns its exit code; 2 when the command line is wrong."""
    words = sys.argv[1:] if argv is None else argv
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads our output has heard enough, as in `cgn central audit | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code


def _versions() -> str:
    """What is installed here: the network's distribution where it is, and the SDK."""
    lines = []
    for name in ("cgn", "cgn-sdk"):
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return "\n".join([*lines, f"Python {sys.version.split()[0]}"])


def _run(words: list[str]) -> int:
    known = commands()
    if words and words[0] in ("-V", "--version", "version"):
        print(_versions())
        return 0
    if len(words) > 1 and words[0] == "help":
        words = [words[1], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(known))
        return 0 if words else USAGE_EXIT
    name = words[0]
    if name not in known and name in EXTRAS:
        print(f"cgn: {name!r} is not installed here: {wanted(EXTRAS[name])}", file=sys.stderr)
        return USAGE_EXIT
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        print(f"cgn: there is no command {name!r}.{hint}\n\n{usage(known)}", file=sys.stderr)
        return USAGE_EXIT
    try:
        function = known[name].load()
    except ModuleNotFoundError as missing:
        module = known[name].value.partition(":")[0]
        if missing.name and not module.startswith(missing.name.partition(".")[0]):
            print(f"cgn {name}: {missing.name!r} is not installed: {wanted(EXTRAS.get(name, 'all'))}", file=sys.stderr)
            return 1
        raise
    return int(function(words[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
