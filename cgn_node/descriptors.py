"""How many connections each listener may have, from what the process may open: pure.

Descriptors are shared by strangers' connections and by what money needs (the spool's next segment, the store, the log,
Central), so the listeners' bounds add up to what is left after a reserve, and no listener can take from another.
"""

from dataclasses import dataclass

from cgn_node import limits

_FIXED = (
    limits.DESCRIPTORS_RESERVED
    + limits.STATUS_CONNECTIONS_MAX
    + limits.METRICS_CONNECTIONS_MAX
    + limits.CENTRAL_CONNECTIONS_MAX
)
_PER_WORK_CONNECTION = 3
"""Itself and the temporary files of a long body and of an answer that waits."""

WANTED = _FIXED + _PER_WORK_CONNECTION * limits.CONNECTIONS_MAX + limits.MINERS_MAX
"""With so many open files every listener has its full bound."""

LEAST = _FIXED + (_PER_WORK_CONNECTION + 1) * limits.CONNECTIONS_LEAST
"""With fewer the node does not start."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Connections that the two large listeners may have."""

    open_files: int
    work: int
    miners: int


ALL = Shares(WANTED, limits.CONNECTIONS_MAX, limits.MINERS_MAX)


def share(open_files: int) -> Shares | None:
    """None when `open_files` are too few."""
    if open_files < LEAST:
        return None
    part = min(1.0, (open_files - _FIXED) / (WANTED - _FIXED))
    work = max(limits.CONNECTIONS_LEAST, int(limits.CONNECTIONS_MAX * part))
    miners = min(limits.MINERS_MAX, open_files - _FIXED - _PER_WORK_CONNECTION * work)
    return Shares(open_files, work, miners)
