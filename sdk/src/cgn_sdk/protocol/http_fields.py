"""Which HTTP header fields cross a hop, and which answers have no content: one table for everybody who passes HTTP on.

Node, miner and DService each end a hop, so each takes the same fields off (RFC 9110 section 7.6.1). Names here are in
lower case.
"""

from collections.abc import Iterable
from typing import Final

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that speak about one connection; those that `Connection` names are hop-by-hop too (`named_by_connection`)."""

NO_CONTENT_STATUSES: Final = frozenset({204, 205, 304})
"""Answers with these never have content (RFC 9110 sections 15.3.5, 15.3.6, 15.4.5)."""


def named_by_connection(values: Iterable[str]) -> frozenset[str]:
    """The options in these values of `Connection`: field names, and words such as `close`, in lower case."""
    return frozenset(option.strip(" \t").lower() for value in values for option in value.split(",")) - {""}
