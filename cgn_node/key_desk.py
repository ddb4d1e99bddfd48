"""Puts questions about keys to Central, for one endpoint: sessions of DApps or miners' hellos (N-1, N-5).

Between a question and what its answer is used for, nothing may change unseen. Therefore here:
- a try is taken before the question leaves (`key_guard`), not when its answer is there;
- the same question asked by many at once leaves once, and each gets the answer;
- an answer is fresh when `ask` returns: if the account was revoked while it was on its way, it is asked again. Who acts
  on it before awaiting anything else acts on what Central says now.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from cgn_sdk.protocol.errors import Problem, ProblemError

from cgn_node import limits
from cgn_node.driver import monotonic_ms
from cgn_node.key_guard import RIGHT_CODES, KeyGuard, Known, Try, pair_of, party_of
from cgn_node.refusals import TooMany

WRONG = Problem("not_authenticated", "The account id or the API key is wrong, or the key was revoked.")


class Central(Protocol):
    """What is asked of `central_endpoint`."""

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(eq=False, slots=True)
class _Question:
    about: frozenset[str]
    """The account and whoever else is named: who, when revoked, makes the answer stale."""
    task: "asyncio.Task[dict[str, Any]]"
    waiters: int = 0
    is_stale: bool = False


@dataclass(slots=True)
class _Turns:
    """Questions of one address: so many at once, the others behind them in order."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(limits.KEY_QUESTIONS_PER_ADDRESS))
    users: int = 0


class KeyDesk:
    """See the module. One per endpoint."""

    def __init__(self, central: Central, guard: KeyGuard, *, clock_ms: Callable[[], int] = monotonic_ms) -> None:
        self.guard = guard
        self.counters: Counter[str] = Counter()
        """What became of keys that were shown: a metric."""
        self._central = central
        self._clock_ms = clock_ms
        self._asking: dict[bytes, _Question] = {}
        self._questions: set[_Question] = set()
        self._turns: dict[str, _Turns] = {}
        self._in_flight = {True: 0, False: 0}  # by whether it may cost Central a hash

    async def ask(
        self, method: str, params: dict[str, Any], *, account_id: str, api_key: str, peer: str, miner_id: str = ""
    ) -> dict[str, Any]:
        """Central's answer. Raises ProblemError (Central refuses, or has just refused this very key), TooMany, and
        what asking raises."""
        pair = pair_of(account_id, api_key)
        name = pair_of(party_of(peer), method, json.dumps(params))
        for _ in range(limits.KEY_QUESTIONS_AGAIN):
            if self.guard.known(pair, self._clock_ms()) is Known.WRONG:
                self.counters["known to be wrong"] += 1
                raise ProblemError(WRONG)
            question = self._asking.get(name)
            if question is None:
                task = asyncio.create_task(self._put(method, params, pair, account_id, peer), name="ask about a key")
                question = self._asking[name] = _Question(frozenset({account_id, miner_id}), task)
                self._questions.add(question)
                task.add_done_callback(partial(self._answered, name, question))
            question.waiters += 1
            try:
                answer = await asyncio.shield(question.task)
            finally:
                question.waiters -= 1
                self._let_go(question)
            if not question.is_stale:
                return answer
        raise TooMany("overloaded", "This account is being changed; ask again.")

    def revoke(self, account_ids: set[str], miner_ids: AbstractSet[str] = frozenset()) -> None:
        """These accounts and miners are to be looked at anew (C-10), also where an answer is on its way."""
        self.guard.revoke(account_ids)
        for question in self._questions:
            if not question.about.isdisjoint({*account_ids, *miner_ids}):
                question.is_stale = True
        for name in [name for name, question in self._asking.items() if question.is_stale]:
            del self._asking[name]  # who comes now asks anew

    def _answered(self, name: bytes, question: _Question, _: object) -> None:
        if self._asking.get(name) is question:
            del self._asking[name]
        if not question.task.cancelled():
            question.task.exception()  # whoever waits hears it; when nobody does any more, nobody need
        self._let_go(question)

    def _let_go(self, question: _Question) -> None:
        """The last one who waits takes the question along: until then a revocation must find it."""
        if not question.waiters and question.task.done():
            self._questions.discard(question)

    async def _put(
        self, method: str, params: dict[str, Any], pair: bytes, account_id: str, peer: str
    ) -> dict[str, Any]:
        if self.guard.known(pair, self._clock_ms()) is Known.RIGHT:
            self.counters["known to be right"] += 1
            return await self._ask_central(method, params, self.guard.begin(pair, account_id, peer, self._clock_ms()))
        async with self._turn(party_of(peer)):
            try:
                tried = self.guard.begin(pair, account_id, peer, self._clock_ms())
            except TooMany:
                self.counters["held up"] += 1
                raise
            self.counters["doubtful" if tried.is_doubtful else "unknown"] += 1
            return await self._ask_central(method, params, tried)

    async def _ask_central(self, method: str, params: dict[str, Any], tried: Try) -> dict[str, Any]:
        if self._in_flight[tried.is_counted] >= limits.KEY_QUESTIONS_MAX:
            self.guard.unanswered(tried, self._clock_ms())
            raise TooMany("overloaded", "Too many keys are being checked; come back in a moment.")
        self._in_flight[tried.is_counted] += 1
        try:
            answer = await self._central.ask(method, params)
        except ProblemError as error:
            if error.problem.code == "not_authenticated":
                self.guard.wrong(tried, self._clock_ms())
                self.counters["wrong"] += 1
            elif error.problem.code in RIGHT_CODES:
                self.guard.right(tried, self._clock_ms())
            raise  # any other refusal says nothing about the key: the try stays used up
        except BaseException:
            self.guard.unanswered(tried, self._clock_ms())
            raise
        finally:
            self._in_flight[tried.is_counted] -= 1
        self.guard.right(tried, self._clock_ms())
        return answer

    @asynccontextmanager
    async def _turn(self, address: str) -> AsyncIterator[None]:
        turns = self._turns.setdefault(address, _Turns())
        turns.users += 1
        try:
            async with turns.places:
                yield
        finally:
            turns.users -= 1
            if not turns.users:
                del self._turns[address]
