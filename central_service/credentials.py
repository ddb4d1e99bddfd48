"""Proves keys and passwords: Argon2id in a small pool of threads, behind a bounded queue (C-4).

- A hash costs 64 MiB and 0.14 s by design, so at most two run at once and few wait; who comes to a full queue is
  refused with `rate_limited`, whatever the key.
- A key nobody has costs the same hash as a wrong one: the time of the answer says nothing.
- A key that was proven is remembered for a while by its SHA-256, together with the stored hash it matched. Forgetting
  is explicit (`forget`), and a stored hash that has changed no longer matches.
- Wrong tries are counted per key, and per asker for keys nobody has, before anything is hashed.
"""

import asyncio
import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from cgn_sdk.protocol.errors import Problem, ProblemError
from cgn_sdk.protocol.ids import ApiKey

from central_service import limits
from central_service.core.records import KeyRecord
from central_service.core.throttle import Throttle

T = TypeVar("T")


class Hashing:
    """Argon2id off the event loop: `hash(secret)` and `matches(stored, secret)`."""

    def __init__(
        self,
        *,
        memory_kib: int = limits.HASH_MEMORY_KIB,
        passes: int = limits.HASH_PASSES,
        threads: int = limits.HASH_THREADS,
        queue_max: int = limits.HASH_QUEUE_MAX,
    ) -> None:
        self._hasher = PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=limits.HASH_LANES, type=Type.ID
        )
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._open_max = threads + queue_max
        self._open = 0
        self._threads = threads
        self._dummy: str | None = None

    @property
    def open_count(self) -> int:
        """Hashes running or waiting."""
        return self._open

    async def hash(self, secret: str) -> str:
        """The PHC string to store. Raises ProblemError (`rate_limited`) when too many wait."""
        return await self._run(lambda: self._hasher.hash(secret))

    async def matches(self, stored: str | None, secret: str) -> bool:
        """Whether the secret is the one behind `stored`; None takes as long and is never matched."""
        return await self._run(lambda: self._matches(stored, secret))

    def _matches(self, stored: str | None, secret: str) -> bool:
        if stored is None:
            # Made on first use: the start of a process should not wait for it.
            self._dummy = self._dummy or self._hasher.hash(os.urandom(32))
            self._verify(self._dummy, secret)
            return False
        return self._verify(stored, secret)

    def _verify(self, stored: str, secret: str) -> bool:
        try:
            return self._hasher.verify(stored, secret)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._open >= self._open_max:
            raise ProblemError(
                Problem("rate_limited", "Too many keys are being checked; come back later.", extra={"retry_after_s": 5})
            )
        self._open += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # A caller that goes away does not free the thread: the place is given back when the hash has ended.
        future.add_done_callback(self._ended)
        return await asyncio.shield(future)

    def _ended(self, future: "asyncio.Future[T]") -> None:
        self._open -= 1
        if not future.cancelled():
            future.exception()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Credentials:
    """Who proves what. `prove` is the only way to a `KeyRecord` that counts as proven."""

    def __init__(self, hashing: Hashing, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.hashing = hashing
        self._monotonic = monotonic
        self._proven: OrderedDict[bytes, tuple[str, float]] = OrderedDict()  # SHA-256 -> (stored hash, until)
        self._proving: dict[tuple[bytes, str], asyncio.Future[bool]] = {}
        self._wrong = Throttle(limits.WRONG_KEY_BURST, limits.WRONG_KEYS_PER_S, limits.THROTTLED_KEYS_MAX)
        self._unknown = Throttle(limits.UNKNOWN_KEY_BURST, limits.UNKNOWN_KEYS_PER_S, limits.THROTTLED_KEYS_MAX)

    @property
    def remembered_count(self) -> int:
        return len(self._proven)

    async def prove(self, key: ApiKey | None, record: KeyRecord | None, asker: str) -> KeyRecord | None:
        """The record, if the key is the one it was made for and is not revoked; else None.

        `asker` names who asks (a node, an address): who tries keys that nobody has is slowed down by it. Raises
        ProblemError (`rate_limited`) after too many wrong tries or when too many keys are being checked.
        """
        usable = record if key is not None and record is not None and not record.is_revoked else None
        digest = hashlib.sha256(key.whole.encode()).digest() if key is not None else b""
        if usable is not None and self._is_remembered(digest, usable.hash):
            return usable
        if key is not None and usable is not None and (digest, usable.hash) in self._proving:
            return usable if await self._matches_once(digest, usable.hash, key.whole) else None
        throttle, name = (self._wrong, usable.key_id) if usable is not None else (self._unknown, asker)
        now_ms = round(self._monotonic() * 1000)
        if not throttle.may_try(name, now_ms):
            seconds = -(-throttle.wait_ms(name, now_ms) // 1000)
            raise ProblemError(
                Problem("rate_limited", "Too many wrong keys; come back later.", extra={"retry_after_s": seconds})
            )
        throttle.count(name, now_ms)
        if usable is None:
            await self.hashing.matches(None, key.whole if key is not None else "")
            return None
        assert key is not None
        if not await self._matches_once(digest, usable.hash, key.whole):
            return None
        throttle.forgive(name, now_ms)
        return usable

    async def _matches_once(self, digest: bytes, stored: str, whole: str) -> bool:
        """One hash for however many ask with one key at once: a node that comes back asks for each of its miners."""
        place = (digest, stored)
        proving = self._proving.get(place)
        if proving is None:
            proving = self._proving[place] = asyncio.ensure_future(self._hash(place, whole))
        return await asyncio.shield(proving)

    async def _hash(self, place: tuple[bytes, str], whole: str) -> bool:
        """Remembers what it finds in the step in which it ends, so that nobody who asks between begins again."""
        try:
            is_right = await self.hashing.matches(place[1], whole)
            if is_right:
                self._remember(*place)
            return is_right
        finally:
            del self._proving[place]

    def remember(self, key: ApiKey, stored: str) -> None:
        """The key is known to be the one behind `stored`: it was just made."""
        self._remember(hashlib.sha256(key.whole.encode()).digest(), stored)

    def _remember(self, digest: bytes, stored: str) -> None:
        self._proven[digest] = (stored, self._monotonic() + limits.PROVEN_KEY_LIFE_S)
        self._proven.move_to_end(digest)
        if len(self._proven) > limits.PROVEN_KEYS_MAX:
            self._proven.popitem(last=False)

    def forget(self) -> None:
        """Every key has to be proven again: something was revoked."""
        self._proven.clear()

    def _is_remembered(self, digest: bytes, stored: str) -> bool:
        found = self._proven.get(digest)
        if found is None:
            return False
        if found[1] < self._monotonic():
            del self._proven[digest]
            return False
        return hmac.compare_digest(found[0], stored)
