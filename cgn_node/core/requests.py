"""One accepted request and its attempts: what they are in, and into what they may go from there."""

from enum import IntEnum

from cgn_node.core.events import RequestArrived
from cgn_node.core.miners import Miner, Offer
from cgn_node.core.pricing import Tariff, Terms
from cgn_node.core.queues import QueueShare, WaitQueue


class State(IntEnum):
    """What a request is in. How far an attempt is, the attempt knows."""

    ARRIVED = 0
    WAITING = 1
    """In its queue."""
    ASSIGNED = 2
    """An attempt is on record."""
    SETTLING = 3
    """Its attempt was cut, and how much of it is to be billed is being asked."""
    RECORDING = 4
    """What is billed is known, its row is not durable yet."""
    OVER = 5


ARRIVED, WAITING, ASSIGNED, SETTLING, RECORDING, OVER = State

TRANSITIONS: dict[State, frozenset[State]] = {
    ARRIVED: frozenset({WAITING, ASSIGNED}),
    WAITING: frozenset({ASSIGNED, OVER}),
    ASSIGNED: frozenset({ASSIGNED, WAITING, SETTLING, RECORDING, OVER}),
    SETTLING: frozenset({RECORDING}),
    RECORDING: frozenset({OVER}),
    OVER: frozenset(),
}
"""From ASSIGNED to ASSIGNED: an attempt failed and another one began in the same step."""

OPEN = frozenset({WAITING, ASSIGNED})
"""States in which the request's deadline counts, and in which its DApp may leave without paying."""


class Attempt:
    """One try of a request on one miner. It is on record (`is_live`) from `Assign` until it finishes, fails or is cut;
    what is said of it afterwards changes nothing."""

    __slots__ = ("acknowledged", "is_live", "life_ms", "miner", "number", "offer", "request", "tariff")

    def __init__(self, request: "Request", number: int, offer: Offer, now_ms: int) -> None:
        self.request = request
        self.number = number
        self.offer = offer
        self.miner: Miner = offer.miner
        self.tariff: Tariff = offer.tariff(request.terms)
        self.life_ms = now_ms  # latest sign of life
        self.acknowledged = False
        self.is_live = True

    def __repr__(self) -> str:
        return f"<Attempt {self.number} of {self.request.id} on {self.miner.id}>"


class Request:
    """One accepted request. `attempts` are those on record: one while it is ASSIGNED, else none (racing, N-12, is to
    allow more)."""

    __slots__ = (
        "arrived_ms",
        "attempts",
        "codes",
        "deadline_ms",
        "failed",
        "grace_until_ms",
        "id",
        "is_live",
        "key",
        "max_fee_nano_eur",
        "passed_on",
        "price_nano_eur",
        "queue",
        "resumable",
        "settling",
        "share",
        "state",
        "terms",
        "tried",
        "verdict",
        "waits_afresh",
    )

    def __init__(
        self,
        arrived: RequestArrived,
        share: "QueueShare[Request]",
        queue: "WaitQueue[Request]",
        key: tuple[int, int],
        *,
        terms: Terms,
        now_ms: int,
    ) -> None:
        self.id = arrived.request
        self.share = share
        self.queue = queue
        self.key = key
        self.terms = terms
        self.arrived_ms = now_ms
        self.deadline_ms = now_ms + arrived.deadline_ms
        self.max_fee_nano_eur = arrived.max_fee_nano_eur
        self.resumable = arrived.resumable
        self.passed_on = False  # bytes of an answer have gone to the DApp
        self.price_nano_eur = 0  # what it costs as far as is known, when that is above its cap
        self.verdict = ""  # how it ends once its row is durable; empty: with the whole response
        self.state: State = ARRIVED
        self.is_live = True  # it is open: its deadline counts
        self.attempts: list[Attempt] = []
        self.tried = 0  # attempts begun so far
        self.waits_afresh = False
        self.settling: Attempt | None = None  # whose use is being asked for
        self.failed: tuple[str, ...] = ()  # miners it failed on, in order
        self.codes: tuple[str, ...] = ()  # and how
        self.grace_until_ms = 0  # 0: a miner that could do it is connected

    def begin(self, offer: Offer, now_ms: int) -> Attempt:
        """One more attempt, on record from now on."""
        self.tried += 1
        attempt = Attempt(self, self.tried, offer, now_ms)
        self.attempts.append(attempt)
        return attempt

    def __repr__(self) -> str:
        return f"<Request {self.id} {self.state.name} {self.attempts}>"
