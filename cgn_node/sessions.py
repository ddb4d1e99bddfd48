"""Sessions of DApps, failed keys, and how much one account or address may do at once (N-5, N-6). In memory, with the
time as an argument.

A session key is 256 random bits; only its SHA-256 is kept, so that a copy of the node's memory or log opens nothing.
Opening one asks Central (see `work_endpoint`); this module only remembers the answer.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256

from cgn_sdk.protocol.ids import SESSION_KEY_PREFIX

from cgn_node import limits


@dataclass(slots=True)
class Account:
    """What is counted per account, over all its sessions."""

    account_id: str
    concurrency: int
    running: int = 0
    sessions: int = 0


@dataclass(slots=True)
class Session:
    """An authenticated period of a DApp with this node. Amounts of time in ms on the node's monotonic clock."""

    account: Account
    public_id: str
    address: str
    """Ethereum address of the enterprise, for the row's `accounts` part."""
    end_user_id: str
    """Public id of the end user, or empty."""
    allowed_tiers: tuple[str, ...]
    deadline_ms: int
    expires_ms: int
    digest: bytes = b""

    @property
    def account_id(self) -> str:
        return self.account.account_id


class TooMany(Exception):
    """A bound of this module is reached; `detail` says which, `retry_after_s` when to come again."""

    def __init__(self, code: str, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


class Sessions:
    """All sessions of one node."""

    def __init__(self, ttl_s: int = limits.SESSION_TTL_S) -> None:
        self.ttl_s = ttl_s
        self._by_digest: OrderedDict[bytes, Session] = OrderedDict()  # in order of expiry: all live equally long
        self._accounts: dict[str, Account] = {}
        self.revocations = 0
        """Grows with each: who waited for Central's word on an account sees that it may be out of date."""

    def __len__(self) -> int:
        return len(self._by_digest)

    def open(
        self,
        now_ms: int,
        *,
        account_id: str,
        public_id: str,
        address: str,
        end_user_id: str,
        allowed_tiers: tuple[str, ...],
        deadline_ms: int,
        concurrency: int,
    ) -> str:
        """Remembers what Central allowed; returns the key, which is nowhere else. Raises TooMany."""
        self.expire(now_ms)
        if len(self._by_digest) >= limits.SESSIONS_MAX:
            raise TooMany("overloaded", f"This node keeps {limits.SESSIONS_MAX} sessions at once.", 60)
        account = self._accounts.setdefault(account_id, Account(account_id, concurrency))
        account.concurrency = concurrency
        if account.sessions >= limits.SESSIONS_PER_ACCOUNT_MAX:
            raise TooMany(
                "rate_limited",
                f"An account may have {limits.SESSIONS_PER_ACCOUNT_MAX} sessions at once; reuse one.",
                60,
            )
        key = SESSION_KEY_PREFIX + secrets.token_urlsafe(32)
        session = Session(
            account,
            public_id,
            address,
            end_user_id,
            allowed_tiers,
            deadline_ms,
            now_ms + self.ttl_s * 1000,
            _digest(key),
        )
        account.sessions += 1
        self._by_digest[session.digest] = session
        return key

    def find(self, key: str, now_ms: int) -> Session | None:
        """The session of a key, if it lives. Compares digests, so that timing tells nothing about keys."""
        session = self._by_digest.get(_digest(key))
        if session is None or session.expires_ms <= now_ms:
            return None
        return session

    def revoke(self, account_ids: set[str]) -> int:
        """Ends every session of these accounts (C-10); returns how many there were."""
        self.revocations += 1
        ended = [session for session in self._by_digest.values() if session.account_id in account_ids]
        for session in ended:
            self._remove(session)
        return len(ended)

    def expire(self, now_ms: int) -> None:
        while self._by_digest:
            session = next(iter(self._by_digest.values()))
            if session.expires_ms > now_ms:
                return
            self._remove(session)

    def _remove(self, session: Session) -> None:
        del self._by_digest[session.digest]
        account = session.account
        account.sessions -= 1
        self._forget_idle(account)

    def begin_request(self, session: Session) -> None:
        """Counts a request of the account. Raises TooMany beyond its concurrency."""
        account = session.account
        if account.running >= account.concurrency:
            raise TooMany("concurrency_limited", f"This account may have {account.concurrency} requests at once.")
        account.running += 1

    def end_request(self, session: Session) -> None:
        session.account.running -= 1
        self._forget_idle(session.account)

    def _forget_idle(self, account: Account) -> None:
        if not account.sessions and not account.running:
            self._accounts.pop(account.account_id, None)


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


@dataclass(slots=True)
class _Bucket:
    """Failures, leaking away at a rate per minute."""

    level: float = 0.0
    at_ms: int = 0

    def now(self, now_ms: int, per_minute: int) -> float:
        self.level = max(0.0, self.level - (now_ms - self.at_ms) * per_minute / 60_000)
        self.at_ms = now_ms
        return self.level


@dataclass
class FailedKeys:
    """Who has shown wrong keys lately. An address is held up by its own failures; an account only holds up addresses
    that failed themselves, so that a stranger cannot lock an enterprise out by guessing at its id."""

    per_address: int = limits.FAILED_KEYS_PER_MINUTE
    per_account: int = limits.FAILED_KEYS_PER_ACCOUNT_PER_MINUTE
    _addresses: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)
    _accounts: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)

    def check(self, now_ms: int, address: str, account_id: str = "") -> None:
        """Raises TooMany when this address has to wait before it may try again."""
        bucket = self._addresses.get(address)
        if bucket is None:
            return
        level = bucket.now(now_ms, self.per_address)
        if level > self.per_address - 1:
            raise TooMany(
                "rate_limited", f"Too many wrong keys from this address; {self.per_address} a minute are answered.", 60
            )
        account = self._accounts.get(account_id)
        if account is not None and level > 0 and account.now(now_ms, self.per_account) > self.per_account - 1:
            raise TooMany(
                "rate_limited", f"Too many wrong keys for this account; {self.per_account} a minute are answered.", 60
            )

    def note(self, now_ms: int, address: str, account_id: str = "") -> None:
        """A wrong key was shown."""
        self._add(self._addresses, address, now_ms, self.per_address)
        if account_id:
            self._add(self._accounts, account_id, now_ms, self.per_account)

    def _add(self, table: OrderedDict[str, _Bucket], key: str, now_ms: int, per_minute: int) -> None:
        bucket = table.pop(key, None) or _Bucket(0.0, now_ms)
        bucket.now(now_ms, per_minute)
        bucket.level += 1
        table[key] = bucket
        if len(table) > limits.FAILURE_TABLE_MAX:
            table.popitem(last=False)
