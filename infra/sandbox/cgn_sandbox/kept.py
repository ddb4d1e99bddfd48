"""What a sandbox with a folder of its own keeps between two runs: who is in it, with which keys, on which ports.

The ids stand in Central's database, in the ledger and on the chain, and the node's address in Central's registry: a
second start that drew new ones would be a network of strangers. So the whole plan is one file, `network.json`, written
at the first start and read at every later one; what does not fit it any more is refused with what would.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cgn_sandbox.children import ChildFailed
from cgn_sandbox.plan import DServicePlan, MinerPlan, NetworkPlan, Party

FILE_NAME = "network.json"
_OTHERWISE = "or take another folder"
_PARTIES = ("enterprise", "developer", "own_developer", "operator", "node", "ecosystem")


def text(plan: NetworkPlan, ports: Mapping[str, int]) -> str:
    """The file's content."""
    document: dict[str, Any] = {"version": "1", "ports": dict(ports)}
    document |= {name: asdict(getattr(plan, name)) for name in _PARTIES}
    document["miners"] = [asdict(miner) for miner in plan.miners]
    document["dservices"] = [_registered(one) for one in plan.dservices]
    return json.dumps(document, indent=1)


def _registered(one: DServicePlan) -> dict[str, str]:
    """What Central's registry says of a DService."""
    return {"name": one.name, "version": one.version, "route": one.route}


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / FILE_NAME
    if not path.exists():
        if (folder / "central.sqlite").exists():
            raise ChildFailed(f"{folder} holds a network without {FILE_NAME}, made by an older version: take another")
        return None
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != "1":
            raise ValueError("another version")
    except (ValueError, KeyError, TypeError) as error:
        raise ChildFailed(f"{path} cannot be read ({error}): take another folder, or remove this one") from None
    return document


def ports(folder: Path) -> dict[str, int] | None:
    """The ports of the first run; None when this is the first."""
    document = _read(folder)
    return dict(document["ports"]) if document else None


def plan(folder: Path, miners: int, dservices: Sequence[DServicePlan]) -> NetworkPlan | None:
    """Everybody in the network that the folder holds; None when it holds none. Raises ChildFailed where what is asked
    for is not what it holds."""
    document = _read(folder)
    if document is None:
        return None
    if (held_miners := len(document["miners"])) != miners:
        raise ChildFailed(f"{folder} holds a network of {held_miners} miners: say --miners {held_miners}, {_OTHERWISE}")
    held, wanted = document["dservices"], [_registered(one) for one in dservices]
    if held != wanted:
        names = ", ".join(f"{one['name']} {one['version']} at {one['route']}" for one in held)
        raise ChildFailed(f"{folder} holds a network with {names or 'no DService'}: start it with these, {_OTHERWISE}")
    return NetworkPlan(
        **{name: Party(**document[name]) for name in _PARTIES},
        miners=tuple(MinerPlan(one["id"], one["public_id"], Party(**one["contributor"])) for one in document["miners"]),
        dservices=tuple(dservices),
    )
