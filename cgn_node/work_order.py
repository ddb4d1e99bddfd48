"""What a DApp has ordered, and what is known of it when its work is over: all that a row is made of beside the bill."""

from collections.abc import Mapping, Sequence

from cgn_sdk.protocol.canonical import CanonicalText
from cgn_sdk.protocol.link import DServicePolicy, Party
from cgn_sdk.protocol.messages import Statement

from cgn_node.core.pricing import Measured
from cgn_node.core.row_parts import Answered
from cgn_node.core.values import dataclass
from cgn_node.policy import PolicyView
from cgn_node.sessions import Session


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """Fixed when the request is let in. `headers` are those that reach the DService, `custom` its CGN-Meta fields;
    `deadline_ms` is on the driver's clock; `is_named`: the DApp has brought the id itself."""

    id: str
    session: Session
    view: PolicyView
    dservice: DServicePolicy
    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    custom: Mapping[str, str]
    deadline_ms: int
    max_fee_nano_eur: int | None
    is_named: bool


@dataclass(frozen=True, slots=True)
class FinishedAttempt:
    """The attempt that is billed. Of a whole one the miner has signed what `answered` says, and `seal` proves it: that
    signature was checked before this could be made. Of one that was cut there is none (None), and `answered` is what
    has left of it. Times in ns."""

    number: int
    contributor: Party
    answered: Statement | Answered
    seal: CanonicalText | None
    metadata: Mapping[str, str]
    measured: Measured
    request_bytes: int
    """Of the whole body; `measured` has what this miner was sent of it."""
    request_sha256: str
    queue_ns: int
    match_ns: int
