"""What treasuries have added for a payer, as the chain tells it (P-7).

A bound on it must not rest on the journal, which may be lost, nor on the party alone: a payer may be several
enterprises, pay from several accounts, and be served by several nodes. So a payer is everybody who was reserved from
one of the accounts that its public id has paid from, whichever payouts account it was for.

What came back (a reservation was given back, or more was held than collected) does not count. What was collected and
then returned, when a settlement was abandoned, does: no event tells the treasury's part of it.
"""

from typing import NamedTuple

from cgn_sdk.protocol.settlement import entity_on_chain

from payouts.bindings.utility_token import Collected, Released, Reserved, Settled, ToppedUp
from payouts.chain import Log
from payouts.core.rollup import PAYING_ROLES, ROLE_NUMBERS, Party
from payouts.token import TAG_BYTES, Token

_PAYING = frozenset(ROLE_NUMBERS[role] for role in PAYING_ROLES)
_Told = Reserved | ToppedUp | Collected | Released


class Added(NamedTuple):
    """What a treasury has added to one reservation, and did not get back."""

    place: bytes
    """The reservation's id."""
    tag: bytes
    """Of the settlement that it was for."""
    amount: int
    """1e-9 CPU."""
    tx_hash: bytes

    def is_of(self, settlement_id: bytes) -> bool:
        """Whether it was added for this settlement."""
        return self.tag == settlement_id[:TAG_BYTES]


def places_helped(token: Token, first_block: int, last_block: int) -> frozenset[bytes]:
    """Returns the reservations that a treasury added to between two blocks."""
    return frozenset(event.reservation_id for event, _ in token.logs(ToppedUp, (), first_block, last_block))


def added_for(token: Token, party: Party, owner: str) -> list[Added]:
    """Returns what treasuries have added for a payer that pays from this account now."""
    blocks = token.first_block, token.chain.head().number
    additions = token.logs(ToppedUp, (), *blocks)
    if not additions:
        return []
    settled = token.logs(Settled, (None, entity_on_chain(party.id)), *blocks)
    owners = {owner} | {event.account for event, _ in settled if event.role in _PAYING}
    told: list[tuple[_Told, Log]] = []
    for topics in ((None, _word(account)) for account in sorted(owners)):
        told += token.logs(Reserved, topics, *blocks)
        told += token.logs(Collected, topics, *blocks)
        told += token.logs(Released, topics, *blocks)
    places = {event.reservation_id for event, _ in told}
    told += [(event, log) for event, log in additions if event.reservation_id in places]
    return _kept(sorted(told, key=lambda item: (item[1].block_number, item[1].log_index)))


def _kept(told: list[tuple[_Told, Log]]) -> list[Added]:
    """What is added for good, or still set aside, from the events in the chain's order."""
    tags: dict[bytes, bytes] = {}
    held: dict[bytes, Added] = {}
    kept: list[Added] = []
    for event, log in told:
        place = event.reservation_id
        match event:
            case Reserved(tag=tag):
                tags[place] = tag
            case ToppedUp(amount=amount):
                held[place] = Added(place, tags.get(place, b""), amount, log.tx_hash)
            case Released():
                held.pop(place, None)
            case Collected(top_up_returned=returned) if place in held:
                added = held.pop(place)
                kept.append(added._replace(amount=added.amount - returned))
    return [item for item in (*kept, *held.values()) if item.amount]


def _word(address: str) -> bytes:
    return bytes.fromhex(address[2:]).rjust(32, b"\0")
