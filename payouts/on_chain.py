"""A payouts account's settlements as the chain tells them, those of its whole line (P-11, P-18).

They follow each other, so whatever the line settles between one beginning and the next belongs to the first of the two.
That is how events are told apart here, and not by the settlement's id: who holds a collector's key may begin under an
id that was used before.
"""

from bisect import bisect_right
from collections.abc import Set
from dataclasses import dataclass, field
from functools import partial

from payouts import limits
from payouts.bindings.erc20 import Transfer
from payouts.bindings.utility_token import (
    CollectorChanged,
    Returned,
    Settled,
    SettlementAbandoned,
    SettlementBegun,
)
from payouts.core.rollup import PAYING_ROLES, ROLE_NUMBERS
from payouts.journal import Run
from payouts.token import SettledLog, Token, word

PAYING = frozenset(ROLE_NUMBERS[role] for role in PAYING_ROLES)


@dataclass(slots=True)
class OnChain:
    """One settlement."""

    begun: SettlementBegun
    place: tuple[int, int]
    """Block, and the event's place in it."""
    settled: list[SettledLog] = field(default_factory=list)
    """What it collected and paid, without what went back."""
    returned: list[tuple[SettledLog, tuple[int, int]]] = field(default_factory=list)
    """What it collected and its payers have again, and where that stands."""
    is_abandoned: bool = False

    @property
    def settlement_id(self) -> bytes:
        return self.begun.batch_id

    @property
    def block_number(self) -> int:
        return self.place[0]

    @property
    def collected(self) -> list[SettledLog]:
        return [item for item in self.settled if item.settled.role in PAYING]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen in it: it has moved all that it began with, or was abandoned."""
        moved = sum(item.settled.amount for item in self.settled)
        return self.is_abandoned or moved == self.begun.collections + self.begun.payouts

    def has_paid(self, planned: Set[Settled] = frozenset()) -> bool:
        """Whether it has paid anything that was not planned."""
        return any(item.settled.role not in PAYING and item.settled not in planned for item in self.settled)


def begun(token: Token, first_block: int, last_block: int, settlement_id: bytes | None = None) -> list[OnChain]:
    """Returns the settlements that began between two blocks, all or those of an id, in their order, and no more of them
    than that. Raises ChainError."""
    events = token.of_line(SettlementBegun, settlement_id, first_block, last_block)
    return [OnChain(event, log.place) for event, log in events]


def settlements(token: Token, first_block: int, last_block: int, settlement_id: bytes | None = None) -> list[OnChain]:
    """Returns the settlements that began between two blocks, all or those of an id, in their order, each with what
    became of it. Raises ChainError."""
    of_line = partial(token.of_line, settlement_id=settlement_id, first_block=first_block, last_block=last_block)
    found = begun(token, first_block, last_block, settlement_id)
    places = [item.place for item in found]

    def of(place: tuple[int, int]) -> OnChain | None:
        number = bisect_right(places, place)
        return found[number - 1] if number else None

    for settled in token.settled(first_block, last_block, settlement_id) if found else ():
        if seen := of(settled.place):
            seen.settled.append(settled)
    abandoned = of_line(SettlementAbandoned) if found else []
    for _, log in abandoned:
        if seen := of(log.place):
            seen.is_abandoned = True
    for returned, place in _returned(token, first_block, last_block, settlement_id) if abandoned else ():
        if seen := of(place):
            gone = [item for item in seen.settled if _key(item.settled) == _key(returned)]
            seen.settled = [item for item in seen.settled if item not in gone]
            seen.returned += [(item, place) for item in gone]
    return found


def look_from(run: Run) -> int:
    """The block from which a run's events are looked for: a reorganisation may have put them before its beginning."""
    return max(0, run.opening_block - limits.BURIED_BLOCKS)


def first_of(found: list[OnChain], settlement_id: bytes) -> OnChain | None:
    """Returns the settlement of this id; with several, the first: no run begins one again."""
    return next((seen for seen in found if seen.settlement_id == settlement_id), None)


def behind(found: list[OnChain], known: Set[bytes]) -> list[OnChain]:
    """Returns those that began after all that are known. An id that is known may be among them: used again."""
    firsts = (first_of(found, settlement_id) for settlement_id in known)
    last = max((seen.place for seen in firsts if seen), default=(-1, 0))
    return [seen for seen in found if seen.place > last]


def is_disowned(token: Token, seen: OnChain) -> bool:
    """Whether its account had its collector taken or replaced since it began: whoever began it may not go on with it,
    and whoever may, did not begin it."""
    account = word(seen.begun.account)
    changed = token.logs(CollectorChanged, (account,), seen.block_number, token.chain.head().number)
    return any(log.place > seen.place for _, log in changed)


def _key(event: Settled | Returned) -> tuple[bytes, int]:
    return event.entity, event.role


def _returned(
    token: Token, first_block: int, last_block: int, settlement_id: bytes | None
) -> list[tuple[Returned, tuple[int, int]]]:
    """What accounts of our line gave back. The event does not name the account; the movement beside it does, and only
    the account's own key moves its funds."""
    found = token.logs(Returned, (settlement_id,), first_block, last_block)
    if not found:
        return []
    blocks = [log.block_number for _, log in found]
    ours = {
        log.tx_hash
        for account in token.line
        for log in token.chain.logs(token.address, (Transfer.TOPIC, word(account)), min(blocks), max(blocks))
    }
    return [(event, log.place) for event, log in found if log.tx_hash in ours]
