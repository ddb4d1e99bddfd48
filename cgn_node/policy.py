"""Central's policy as the node uses it: routes, terms for the broker, shares for rows; and its copy on disk (C-1).

With the copy the node works through a gap of the link, also after a restart of its own: prices and routes are there at
once, as the sessions are (`session_file`); miners wait until Central can be asked about them again.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from cgn_sdk.protocol.errors import ProblemError
from cgn_sdk.protocol.link import DServicePolicy, NodeWelcome, Policy

from cgn_node.core.pricing import Prices, Terms

COPY_MAX_BYTES = 1024 * 1024
"""A welcome fits into one message of the link (256 KiB); more is not a copy of ours."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """One version of the policy, arranged for looking up. A request keeps the view it was admitted under."""

    policy: Policy
    by_name: dict[str, DServicePolicy] = field(default_factory=dict)
    _by_route: dict[str, DServicePolicy] = field(default_factory=dict)
    _depths: tuple[int, ...] = ()

    @classmethod
    def of(cls, policy: Policy) -> "PolicyView":
        by_route = {each.route: each for each in policy.dservices}
        depths = tuple(sorted({route.count("/") for route in by_route}, reverse=True))
        return cls(policy, {each.name: each for each in policy.dservices}, by_route, depths)

    def find(self, path: str) -> DServicePolicy | None:
        """The DService whose route is the path or a folder above it; the longest route wins."""
        found = self._by_route.get(path)
        if found is not None:
            return found
        segments = path.split("/", self._depths[0] + 1) if self._depths else []
        for depth in self._depths:
            if len(segments) > depth:
                found = self._by_route.get("/".join(segments[: depth + 1]))
                if found is not None:
                    return found
        return None

    @property
    def routes(self) -> list[str]:
        return sorted(self._by_route)

    def terms(self) -> Terms:
        prices = self.policy.prices
        return Terms(
            version=self.policy.version,
            dservices={each.name: each.allowed_tiers for each in self.policy.dservices},
            prices=Prices(
                prices.kmips_hour_nano_eur,
                prices.tflop_hour_nano_eur,
                prices.gigabyte_nano_eur,
                prices.memory_gib_hour_nano_eur,
            ),
            tier_factor_ppm=dict(self.policy.tier_factor_ppm),
            cpus_milli={each.name: each.cpus_milli for each in self.policy.dservices if each.cpus_milli},
        )


def save_copy(path: Path, welcome: NodeWelcome) -> None:
    """Keeps what Central said, in one step (a crash leaves the old or the new copy)."""
    temporary = path.with_suffix(".new")
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(welcome.to_params(), stream, separators=(",", ":"))
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def load_copy(path: Path) -> NodeWelcome | None:
    """The last copy, or None where there is none that can be read: then the node waits for Central."""
    try:
        if path.stat().st_size > COPY_MAX_BYTES:
            return None
        params = json.loads(path.read_text(encoding="utf-8"))
        return NodeWelcome.from_params(params) if isinstance(params, dict) else None
    except (OSError, ValueError, ProblemError):
        return None
