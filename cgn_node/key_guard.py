"""Who may have an API key checked, and how often (N-5). In memory, with the time as an argument.

What is protected is Central: a key it has to prove costs it 0.1 to 0.5 s of Argon2id. So only questions that would cost
that are counted, and only those that were not answered well:

- a pair of account and key that Central has found right is never held up, whoever else guesses at whatever;
- a pair it has found wrong a moment ago is wrong without a question, and costs nobody anything;
- any other pair is asked about while its address has tries left, an address being what one party has: an IPv4 address
  or an IPv6 network of 64 bits;
- behind an address (or for an account, from an address that failed itself) without tries left, strangers and honest
  ones look alike: all of them share the node's brake, so that somebody with a right key still comes in, and the node as
  a whole asks Central so often and no more about doubtful pairs.

A try is taken before the question and given back when the answer was good, so that a hundred at once are not all let
through. Session keys are no business of this module: refusing an unknown one is a look-up and costs nobody anything.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Final

from cgn_node import limits
from cgn_node.refusals import TooMany

RIGHT_CODES: Final = frozenset({"forbidden", "account_suspended", "miner_refused"})
"""Refusals that only the owner of a right key gets to hear: nobody has shown a wrong one."""


class Known(Enum):
    """What is known of a pair without asking."""

    RIGHT = "right"
    WRONG = "wrong"
    NOTHING = "nothing"


@dataclass(slots=True)
class _Bucket:
    """Tries used up, leaking away at a rate per minute."""

    level: float = 0.0
    at_ms: int = 0

    def now(self, now_ms: int, per_minute: int) -> float:
        self.level = max(0.0, self.level - (now_ms - self.at_ms) * per_minute / 60_000)
        self.at_ms = now_ms
        return self.level


class _Buckets:
    """Buckets by name, the most recently used kept."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def level(self, name: str, now_ms: int) -> float:
        bucket = self._buckets.get(name)
        return bucket.now(now_ms, self.per_minute) if bucket is not None else 0.0

    def has_room(self, name: str, now_ms: int) -> bool:
        return self.level(name, now_ms) <= self.per_minute - 1

    def add(self, name: str, now_ms: int) -> None:
        bucket = self._buckets.pop(name, None) or _Bucket(0.0, now_ms)
        bucket.now(now_ms, self.per_minute)
        bucket.level += 1
        self._buckets[name] = bucket
        if len(self._buckets) > limits.FAILURE_TABLE_MAX:
            self._buckets.popitem(last=False)

    def give_back(self, name: str, now_ms: int) -> None:
        bucket = self._buckets.get(name)
        if bucket is not None:
            bucket.level = max(0.0, bucket.now(now_ms, self.per_minute) - 1)


@dataclass(frozen=True, slots=True)
class Try:
    """One question that may be put to Central; say how it ended by `right`, `wrong` or `unanswered`, once."""

    pair: bytes
    account_id: str
    address: str
    is_counted: bool
    """False for a pair that was known to be right."""
    is_doubtful: bool


class KeyGuard:
    """The guard of one endpoint: each has its own, so that what is wrong at one holds nobody up at another."""

    def __init__(
        self,
        *,
        per_address: int = limits.WRONG_KEYS_PER_MINUTE,
        per_account: int = limits.WRONG_KEYS_PER_ACCOUNT_PER_MINUTE,
        brake: int = limits.DOUBTFUL_KEYS_PER_MINUTE,
    ) -> None:
        self._addresses = _Buckets(per_address)
        self._accounts = _Buckets(per_account)
        self._brake = _Buckets(brake)
        self._right: OrderedDict[bytes, str] = OrderedDict()  # pair -> account
        self._wrong: OrderedDict[bytes, int] = OrderedDict()  # pair -> until

    def known(self, pair: bytes, now_ms: int) -> Known:
        if pair in self._right:
            return Known.RIGHT
        until_ms = self._wrong.get(pair)
        return Known.WRONG if until_ms is not None and until_ms > now_ms else Known.NOTHING

    def begin(self, pair: bytes, account_id: str, peer: str, now_ms: int) -> Try:
        """Takes a try of the address, or of the brake. Raises TooMany, which names the limit."""
        address = party_of(peer)
        if pair in self._right:
            return Try(pair, account_id, address, is_counted=False, is_doubtful=False)
        has_failed = self._addresses.level(address, now_ms) > 0
        doubtful = not self._addresses.has_room(address, now_ms) or (
            has_failed and not self._accounts.has_room(account_id, now_ms)
        )
        if doubtful and not self._brake.has_room("", now_ms):
            raise TooMany(
                "rate_limited",
                f"Too many wrong keys from this address or for this account: {self._addresses.per_minute} a minute are "
                f"looked at, and {self._brake.per_minute} of all such addresses together. A key that has been right "
                "here before is not held up.",
                -(-60 // self._brake.per_minute),
            )
        if doubtful:
            self._brake.add("", now_ms)
        else:
            self._addresses.add(address, now_ms)
        self._accounts.add(account_id, now_ms)
        return Try(pair, account_id, address, is_counted=True, is_doubtful=doubtful)

    def right(self, tried: Try, now_ms: int) -> None:
        """Central knows this key: the try counts as none, and the pair is held up no more."""
        self._give_back(tried, now_ms)
        self._wrong.pop(tried.pair, None)
        self.remember(tried.pair, tried.account_id)

    def wrong(self, tried: Try, now_ms: int) -> None:
        """Central does not know this key."""
        self._right.pop(tried.pair, None)
        self._wrong.pop(tried.pair, None)
        self._wrong[tried.pair] = now_ms + limits.WRONG_PAIR_KEPT_S * 1000
        if len(self._wrong) > limits.KNOWN_PAIRS_MAX:
            self._wrong.popitem(last=False)

    def unanswered(self, tried: Try, now_ms: int) -> None:
        """Central could not be asked, or did not say: nobody is to blame."""
        self._give_back(tried, now_ms)

    def remember(self, pair: bytes, account_id: str) -> None:
        """The pair was right."""
        self._right.pop(pair, None)
        self._right[pair] = account_id
        if len(self._right) > limits.KNOWN_PAIRS_MAX:
            self._right.popitem(last=False)

    def revoke(self, account_ids: set[str]) -> None:
        """What was right for these accounts has to be shown anew (C-10)."""
        for pair in [pair for pair, account_id in self._right.items() if account_id in account_ids]:
            del self._right[pair]

    def _give_back(self, tried: Try, now_ms: int) -> None:
        if tried.is_counted:
            if tried.is_doubtful:
                self._brake.give_back("", now_ms)
            else:
                self._addresses.give_back(tried.address, now_ms)
            self._accounts.give_back(tried.account_id, now_ms)


def pair_of(*parts: str) -> bytes:
    """Stands for an account and its key: a digest, so that this process's memory opens nothing."""
    return sha256("\0".join(parts).encode("utf-8", "surrogateescape")).digest()


def party_of(peer: str) -> str:
    """What one party can change at will counts as one address: of IPv6 the network of 64 bits (RFC 6177)."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped is not None else f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
