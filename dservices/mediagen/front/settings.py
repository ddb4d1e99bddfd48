"""What an operator can set, from the environment. A frozen record, built once, every field with unit and default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cgn_sdk.dservice.addresses import AddressPolicy, parse_rules
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.front import stores
from dservices.mediagen.front.stores import Stores

PREFIX = "CGN_MEDIAGEN_"


class SettingRefused(ValueError):
    """A variable cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`CGN_MEDIAGEN_<NAME>` for each field."""

    workers: int
    """Worker processes; default: processors this process may use."""
    policy: AddressPolicy
    """ALLOW, DENY, ONLY: lists of `host:port`, networks, names, `*.suffix`."""
    egress: str | None
    """`CGN_EGRESS`: UNIX socket of the miner's proxy."""
    wall_s: float
    """One request, seconds."""
    cpu_s: float
    """One request's processor time, seconds."""
    memory_bytes: int
    """One request's private memory, over what its worker uses without one."""
    worker_memory_bytes: int
    """One worker's, whatever it does."""
    source_max_bytes: int
    fetch_total_s: float
    """One fetch, seconds."""
    cache_bytes: int
    """Sources and scripts kept in memory between requests as far as HTTP allows (G-9); 0 keeps none."""
    fonts: str | None
    """A folder with further fonts."""
    stores: Stores
    """STORES: a file that defines named stores for every request, on machines of the account's own."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        known = {
            "WORKERS",
            "ALLOW",
            "DENY",
            "ONLY",
            "WALL_S",
            "CPU_S",
            "MEMORY_BYTES",
            "WORKER_MEMORY_BYTES",
            "SOURCE_MAX_BYTES",
            "FETCH_TOTAL_S",
            "CACHE_BYTES",
            "FONTS",
            "STORES",
        }
        for name in environment:
            if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known:
                raise SettingRefused(f"{name} is no setting; known: {', '.join(sorted(PREFIX + k for k in known))}")

        def number(name: str, default: float, low: float, high: float) -> float:
            text = environment.get(PREFIX + name, "")
            try:
                value = float(text) if text else default
            except ValueError:
                value = low - 1
            if not low <= value <= high:
                raise SettingRefused(f"{PREFIX}{name} must be a number from {low:g} to {high:g}, not {text!r}")
            return value

        try:
            policy = AddressPolicy(
                *(parse_rules(environment.get(PREFIX + name, "")) for name in ("ALLOW", "DENY", "ONLY"))
            )
        except ValueError as error:
            raise SettingRefused(f"{PREFIX}ALLOW, DENY or ONLY: {error}") from None
        return cls(
            workers=int(number("WORKERS", len(os.sched_getaffinity(0)), 1, 256)),
            policy=policy,
            egress=environment.get("CGN_EGRESS") or None,
            wall_s=number("WALL_S", limits.WORK_WALL_S, 0.1, 3600),
            cpu_s=number("CPU_S", limits.WORK_CPU_S, 0.1, 3600),
            memory_bytes=int(number("MEMORY_BYTES", limits.WORK_MEMORY_BYTES, 64 << 20, 1 << 40)),
            worker_memory_bytes=int(number("WORKER_MEMORY_BYTES", limits.WORKER_MEMORY_BYTES, 256 << 20, 1 << 40)),
            source_max_bytes=int(number("SOURCE_MAX_BYTES", limits.SOURCE_MAX_BYTES, 1024, 1 << 32)),
            fetch_total_s=number("FETCH_TOTAL_S", 30, 0.1, 3600),
            cache_bytes=int(number("CACHE_BYTES", 64 << 20, 0, 1 << 36)),
            fonts=environment.get(PREFIX + "FONTS") or None,
            stores=_stores(environment.get(PREFIX + "STORES", "")),
        )


def _stores(path: str) -> Stores:
    if not path:
        return Stores({})
    try:
        return stores.read(Path(path).read_bytes())
    except OSError as error:
        raise SettingRefused(f"{PREFIX}STORES: {path}: {error.strerror}") from None
    except Problem as problem:
        raise SettingRefused(f"{PREFIX}STORES: {problem.detail}") from None
