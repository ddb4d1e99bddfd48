"""Sessions of DApps, and how much one account may do at once (N-5, N-6). In memory, with the time as an argument.

A session key is 256 random bits; only its SHA-256 is kept, so that a copy of the node's memory or log opens nothing.
Opening one asks Central (see `work_endpoint`); this module only remembers the answer. A journal keeps it for the next
life of the process, so that a restart of the node ends nobody's session.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from cgn_sdk.protocol import link
from cgn_sdk.protocol.ids import SESSION_KEY_PREFIX

from cgn_node import limits
from cgn_node.refusals import TooMany


@dataclass(slots=True)
class Account:
    """What is counted per account, over all its sessions."""

    account_id: str
    concurrency: int
    running: int = 0
    sessions: dict[bytes, "Session"] = field(default_factory=dict)
    """By digest."""


@dataclass(slots=True)
class Session:
    """An authenticated period of a DApp with this node. Amounts of time in ms on the node's monotonic clock."""

    account: Account
    grant: link.SessionGrant
    """What Central allows."""
    expires_ms: int
    digest: bytes
    """SHA-256 of the key."""
    pair: bytes
    """Stands for the account and API key that opened it (`key_guard.pair_of`)."""

    @property
    def account_id(self) -> str:
        return self.account.account_id

    @property
    def public_id(self) -> str:
        return self.grant.public_id

    @property
    def address(self) -> str:
        """Ethereum address of the enterprise, for the row's `accounts` part."""
        return self.grant.address

    @property
    def end_user_id(self) -> str:
        """Public id of the end user, or empty."""
        return self.grant.end_user_id

    @property
    def allowed_tiers(self) -> tuple[str, ...]:
        return self.grant.allowed_tiers

    @property
    def deadline_ms(self) -> int:
        return self.grant.deadline_ms


class Journal(Protocol):
    """Where sessions outlive the process (`session_file`). It must not raise."""

    def opened(self, session: Session, lives_ms: int) -> None: ...
    def revoked(self, account_ids: set[str]) -> None: ...


class Sessions:
    """All sessions of one node."""

    def __init__(self, ttl_s: int = limits.SESSION_TTL_S, journal: Journal | None = None) -> None:
        self.ttl_s = ttl_s
        self._journal = journal
        self._by_digest: OrderedDict[bytes, Session] = OrderedDict()  # in order of expiry: all live equally long
        self._accounts: dict[str, Account] = {}
        self.revocations = 0
        """How often Central revoked somebody: a metric."""

    def __len__(self) -> int:
        return len(self._by_digest)

    def open(self, now_ms: int, grant: link.SessionGrant, *, pair: bytes = b"") -> str:
        """Remembers what Central allowed; returns the key, which is nowhere else. Raises TooMany."""
        self.expire(now_ms)
        if len(self._by_digest) >= limits.SESSIONS_MAX:
            raise TooMany("overloaded", f"This node keeps {limits.SESSIONS_MAX} sessions at once.", 60)
        account = self._accounts.get(grant.account_id)
        if account is not None and len(account.sessions) >= limits.SESSIONS_PER_ACCOUNT_MAX:
            raise TooMany(
                "rate_limited",
                f"An account may have {limits.SESSIONS_PER_ACCOUNT_MAX} sessions at once; reuse one.",
                60,
            )
        key = SESSION_KEY_PREFIX + secrets.token_urlsafe(32)
        session = self._add(grant, now_ms + self.ttl_s * 1000, _digest(key), pair)
        if self._journal is not None:
            self._journal.opened(session, self.ttl_s * 1000)
        return key

    def restore(self, grant: link.SessionGrant, *, expires_ms: int, digest: bytes, pair: bytes) -> None:
        """A session of an earlier life of this node. Call it in order of expiry, before any other is opened."""
        if digest not in self._by_digest and len(self._by_digest) < limits.SESSIONS_MAX:
            self._add(grant, expires_ms, digest, pair)

    def _add(self, grant: link.SessionGrant, expires_ms: int, digest: bytes, pair: bytes) -> Session:
        account = self._accounts.setdefault(grant.account_id, Account(grant.account_id, grant.concurrency))
        account.concurrency = grant.concurrency
        session = Session(account, grant, expires_ms, digest, pair)
        self._by_digest[digest] = account.sessions[digest] = session
        return session

    def find(self, key: str, now_ms: int) -> Session | None:
        """The session of a key, if it lives. Compares digests, so that timing tells nothing about keys."""
        session = self._by_digest.get(_digest(key))
        if session is None or session.expires_ms <= now_ms:
            return None
        return session

    def revoke(self, account_ids: set[str]) -> int:
        """Ends every session of these accounts (C-10); returns how many there were."""
        self.revocations += 1
        named = [account for account_id in account_ids if (account := self._accounts.get(account_id)) is not None]
        ended = [session for account in named for session in account.sessions.values()]
        for session in ended:
            self._remove(session)
        if self._journal is not None:  # all of them: a session that this process does not know may stand on disk
            self._journal.revoked(account_ids)
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
        del account.sessions[session.digest]
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
