"""What somebody is asked to do: everything the Work Broker ever wants. The driver carries them out in the order
given.
"""

from cgn_node.core.pricing import Usage
from cgn_node.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Assign:
    """Open a stream to this miner and send it the request. Where the DApp already has the first bytes of an earlier
    attempt's response, skip as many of this one's after comparing them, and report `AttemptFailed` where they differ.
    `cpu_budget_ns`: the CPU time that the request's price cap pays for on this machine; where the DService's estimator
    is sure of more, the work is not begun and `AttemptFailed` says so. None: no cap, or not to be asked."""

    request: str
    attempt: int
    miner: str
    cpu_budget_ns: int | None = None


@dataclass(frozen=True, slots=True)
class CancelAttempt:
    """Send CANCEL and forget the stream. The attempt is off the record already. `code`: why. `settle`: pass on nothing
    more and report `AttemptCut`; what was used and has left is billed."""

    request: str
    attempt: int
    miner: str
    code: str
    settle: bool = False


@dataclass(frozen=True, slots=True)
class CloseMiner:
    """Close this tunnel with a WebSocket close code. The miner is out of the pool already; no `MinerLeft` is needed."""

    miner: str
    tunnel: int
    close_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordRow:
    """Build the row and make it durable, then report `RowStored` or `RowRefused`. At most one per request, ever.

    `usage` is the claim after clipping; `clipped` names what was cut. The fee is by the terms (`terms_version`) in
    force when the request arrived, and never above the request's cap. `ended`: "whole"; or why less than the whole
    response is billed: price_cap, cancelled (the DApp left in the middle of it), deadline.
    """

    request: str
    attempt: int
    miner: str
    tier: str
    contributor: str
    usage: Usage
    clipped: tuple[str, ...]
    fee_nano_eur: int
    terms_version: int
    ended: str = "whole"


@dataclass(frozen=True, slots=True)
class Release:
    """The row is durable: the answer may be completed. The request is over."""

    request: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request is over and its answer is not whole. Answer with the problem `code` (`cgn_sdk.protocol.errors`), or
    break the response off if its head has left. Behind a `RecordRow` something was billed.

    `constraint`: for no_miner what excludes every miner (dservice, tier, ownership, service_level), for overloaded
    whose bound (tier_queue, account_queue, account_kinds), for bad_gateway why it is not tried again (failed, dservice:
    the fault is the DService's own, not_resumable), for price_cap max_fee, or estimate when the work was not begun;
    `price_nano_eur` is then what it costs as far as is known. Other codes: unknown_dservice, draining,
    central_unreachable, ledger_full, deadline, quarantined, cancelled (the DApp has gone: there is nobody to answer).
    """

    request: str
    code: str
    constraint: str = ""
    retry_after_ms: int = 0
    price_nano_eur: int = 0


@dataclass(frozen=True, slots=True)
class ReportError:
    """Tell Central (N-11). `kind`: "quarantined", "clipped"; "stopped_unsigned" for work that passed its cap by its
    miner's mere word. `miners`: those concerned, in order; `detail`: codes or
    field names.
    """

    kind: str
    request: str
    miners: tuple[str, ...]
    detail: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing is left after `Drain`: the process may end."""


Command = Assign | CancelAttempt | CloseMiner | RecordRow | Release | Refuse | ReportError | Drained
