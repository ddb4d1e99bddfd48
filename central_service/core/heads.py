"""What Central makes of the head that a node tells it: keep it, or name what is wrong (L-12). Pure.

A node's operator can cut a ledger's end together with its heads; whoever keeps the newest head elsewhere sees it. The
count never goes back and no count has two commitments, unless the node has signed that what is between is lost
(`cgn_sdk.protocol.loss`). That a longer head continues the kept one only a walk over the rows shows: `cgn verify` does
it with the heads that Central gives out.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cgn_sdk.protocol.head import Head, head_findings
from cgn_sdk.protocol.link import NodeHead
from cgn_sdk.protocol.loss import Loss, loss_findings
from cgn_sdk.protocol.receipt import VerifySignature
from cgn_sdk.protocol.row import Finding

__all__ = ["Finding", "Known", "judge"]

FOREIGN = "head_foreign"
SIGNATURE = "head_signature"
OTHER_KEY = "head_other_key"
LOWER = "head_lower"
FORKED = "head_forked"


class Known(NamedTuple):
    """What Central keeps of a node's ledger."""

    public_key: bytes
    """The first that signed a head for it."""
    head: Head
    """The newest."""


def judge(
    told: NodeHead, node_id: str, known: Known | None, losses: Iterable[Loss], verify: VerifySignature
) -> Finding | None:
    """Returns what is wrong with the head; None for one to keep. `node_id`: the public id of the node that tells it;
    `losses`: those of it that were told before."""
    where = f"head {told.head.last_ingest} of {node_id}"
    if told.head.node_id != node_id or any(loss.node_id != node_id for loss in told.losses):
        return Finding(FOREIGN, where, "is another node's")
    if known is not None and told.public_key != known.public_key:
        return Finding(OTHER_KEY, where, "is by another key than the one that has signed this node's heads so far")
    keys = {node_id: told.public_key}
    wrong = [*head_findings(told.head, keys, verify)]
    for loss in told.losses:
        wrong += loss_findings(loss, keys, verify)
    if wrong:
        return Finding(SIGNATURE, where, wrong[0].detail)
    if known is None:
        return None
    kept = known.head
    for loss in [*losses, *told.losses]:
        if loss.explains(kept) and loss.time_ns <= told.head.time_ns and loss.at <= told.head.last_ingest:
            return None
    if told.head.last_ingest < kept.last_ingest:
        return Finding(LOWER, where, f"is over fewer rows than the {kept.last_ingest} that this node has signed before")
    if told.head.last_ingest == kept.last_ingest and told.head.commitment != kept.commitment:
        return Finding(FORKED, where, "is over other rows than this node has signed before under the same numbers")
    return None
