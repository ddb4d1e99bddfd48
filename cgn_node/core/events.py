"""What happened: everything the Work Broker is ever told.

Ids are opaque strings. A *miner* is named by its record id (`min_…`); a *tunnel* is a number that the driver gives
each connection and never gives twice, so that the
end of an old connection cannot be taken for the end of a newer one of the same miner. Times are the driver's
monotonic milliseconds and come in beside the event.
Payload bytes never appear.

For the driver:

* An id that is still live must not arrive twice; if it does, the second one changes nothing and is not answered.
* Hand over everything already received before a `Tick`, so that a pause of the node itself is not blamed on its miners.
* Reports (`Acknowledged` to `AttemptFailed`) may come late, twice or from the wrong miner: those change nothing.
"""

from cgn_node.core.pricing import Fitness, Measured, Terms, Usage
from cgn_node.core.values import dataclass


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """The least a miner must bring (N-8); 0 asks for nothing."""

    threads: int = 0
    kmips_per_thread_milli: int = 0
    bandwidth_bytes_per_s: int = 0


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """New prices, factors and DServices are in force for requests that arrive from now on. An older version changes
    nothing.
    """

    terms: Terms


@dataclass(frozen=True, slots=True)
class MinerJoined:
    """A miner has been verified and may be given work. The same miner still connected on another tunnel: that one is
    closed (4409).

    `enterprise`: account id of the owner, tier 1 only. `fitness`: what the miner says of its machine; `registered`:
    what Central answers for, None where it knows nothing. `runner`: "docker" or "process" (refused with 4403 outside
    tier 1, M-4).
    """

    miner: str
    tunnel: int
    tier: str
    contributor: str
    enterprise: str | None
    dservices: tuple[str, ...]
    slots: int
    fitness: Fitness
    registered: Fitness | None = None
    runner: str = "docker"


@dataclass(frozen=True, slots=True)
class MinerLeft:
    """The tunnel has ended, for whatever reason. Its requests go back to the head of their queues."""

    miner: str
    tunnel: int


@dataclass(frozen=True, slots=True)
class SlotsChanged:
    """The miner takes `slots` requests at once from now on (0: none for the time being; what runs goes on)."""

    miner: str
    tunnel: int
    slots: int


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """An admitted request. `account`: the paying enterprise's account id. `tiers`: acceptable tiers, the preferred
    one first.

    `deadline_ms`: what is left. `match`: "immediate" or "fastest" (N-8). `resumable`: a second attempt's response can
    be continued from the byte where the first one's ended without the DApp noticing. The body can be sent again for
    every attempt.
    """

    request: str
    account: str
    dservice: str
    tiers: tuple[str, ...]
    deadline_ms: int
    match: str = "immediate"
    level: ServiceLevel | None = None
    max_fee_nano_eur: int | None = None
    resumable: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged:
    request: str
    attempt: int
    miner: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """A sign of life of this attempt, and what it has used so far: said by the miner while it works, and by the driver
    before it passes on more of the response to a request with a price cap (`claimed` holds the bytes that would then
    have left)."""

    request: str
    attempt: int
    miner: str
    claimed: Usage
    measured: Measured


@dataclass(frozen=True, slots=True)
class ResponsePassedOn:
    """Bytes of this attempt's response have gone to the DApp: from now on another attempt must be a resume."""

    request: str
    attempt: int
    miner: str


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """The miner has sent the whole response and its statement. The driver has checked the statement against what it
    carried (ids, SHA-256).
    """

    request: str
    attempt: int
    miner: str
    claimed: Usage
    measured: Measured


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The miner said FAIL, broke off, or its result was bad. `code` is kept for the error report. `estimate` with the
    code price_cap: what the DService's estimator says the work would take; it was not begun."""

    request: str
    attempt: int
    miner: str
    code: str
    estimate: Usage | None = None


@dataclass(frozen=True, slots=True)
class AttemptCut:
    """The answer to `CancelAttempt` with `settle`, always and at once: what the attempt had used and passed on."""

    request: str
    attempt: int
    miner: str
    claimed: Usage
    measured: Measured


@dataclass(frozen=True, slots=True)
class RowStored:
    """The row of `RecordRow` is durable."""

    request: str


@dataclass(frozen=True, slots=True)
class RowRefused:
    """The row is not stored and never will be (full spool). Not for a time-out: that is unknown, ask again."""

    request: str


@dataclass(frozen=True, slots=True)
class ClientGone:
    """The DApp has disconnected and did not ask to collect the result later (N-17).

    Nothing passed on yet: `Refuse` with "cancelled" ends it. In the middle of the response: what has left is billed
    first. After the result: the row is on its way, and `Release` ends it."""

    request: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no new requests, finish the accepted ones, let miners go as they fall idle (N-18)."""


@dataclass(frozen=True, slots=True)
class Tick:
    """`Broker.next_deadline()` has come."""


Event = (
    PolicyChanged
    | MinerJoined
    | MinerLeft
    | SlotsChanged
    | RequestArrived
    | Acknowledged
    | Progressed
    | ResponsePassedOn
    | AttemptFinished
    | AttemptFailed
    | AttemptCut
    | RowStored
    | RowRefused
    | ClientGone
    | Drain
    | Tick
)
