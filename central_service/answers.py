"""Answers a node's questions: loads facts, proves the key, lets the core decide (C-1, C-4).

The key is proven first; the facts are read afterwards, all from one moment, so that what was revoked while the key was
being hashed counts as revoked.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from cgn_sdk.protocol.errors import Problem, ProblemError
from cgn_sdk.protocol.ids import ApiKey
from cgn_sdk.protocol.link import (
    METHOD_MINER_VERIFY,
    METHOD_SESSION_OPEN,
    MinerGrant,
    MinerVerify,
    NodeHello,
    NodeWelcome,
    SessionGrant,
    SessionOpen,
)

from central_service.core import decisions
from central_service.core.records import PENDING, Account, KeyRecord, Node
from central_service.credentials import Credentials
from central_service.store import Facts, Store


class Answers:
    """One per process; links and ports share it."""

    def __init__(self, store: Store, credentials: Credentials) -> None:
        self.store = store
        self.credentials = credentials

    async def prove(self, text: str, asker: str) -> KeyRecord | None:
        """The record of the key that `text` is, if it is one and right. Raises ProblemError (`rate_limited`)."""
        key = ApiKey.parse(text)
        record = await self.store.read(lambda facts: facts.key(key.key_id)) if key is not None else None
        return await self.credentials.prove(key, record, asker)

    async def node_hello(self, hello: NodeHello, dialled: Node) -> NodeWelcome:
        proven = await self.prove(hello.api_key, dialled.id)

        def decide(facts: Facts) -> NodeWelcome:
            policy = facts.policy()
            if policy is None:
                raise ProblemError(Problem("central_unreachable", "Central has no policy yet: set the network up."))
            return decisions.admit_node(
                hello,
                dialled,
                key=still_valid(facts, proven),
                account=facts.account(hello.node_id),
                operator=facts.account(dialled.operator_id),
                policy=policy,
            )

        return await self.store.read(decide)

    async def session_open(self, question: SessionOpen, asker: str) -> SessionGrant:
        proven = await self.prove(question.api_key, asker)
        return await self.store.read(
            lambda facts: decisions.open_session(
                question,
                still_valid(facts, proven),
                facts.account(question.account_id),
                facts.account(question.end_user) if question.end_user else None,
            )
        )

    async def miner_verify(self, question: MinerVerify, asker: str) -> MinerGrant:
        proven = await self.prove(question.api_key, asker)
        return await self.store.read(
            lambda facts: decisions.verify_miner(
                question,
                still_valid(facts, proven),
                facts.account(question.account_id),
                facts.miner(question.miner_id),
            )
        )

    async def answer(self, method: str, params: dict[str, Any], asker: str) -> dict[str, Any]:
        """The answer to a question of a node that has said hello. Raises ProblemError."""
        known: dict[str, Callable[[], Awaitable[SessionGrant | MinerGrant]]] = {
            METHOD_SESSION_OPEN: lambda: self.session_open(SessionOpen.from_params(params), asker),
            METHOD_MINER_VERIFY: lambda: self.miner_verify(MinerVerify.from_params(params), asker),
        }
        if method not in known:
            raise ProblemError(Problem("not_found", f"Central does not know the question {method}."))
        return (await known[method]()).to_params()

    async def ecosystem_service(self, text: str, asker: str) -> Account:
        """The account behind an ecosystem key. Raises ProblemError."""
        proven = await self.prove(text, asker)
        return await self.store.read(
            lambda facts: decisions.admit_ecosystem_service(
                still_valid(facts, proven), facts.account(proven.account_id) if proven else None
            )
        )


def still_valid(facts: Facts, proven: KeyRecord | None) -> KeyRecord | None:
    """The proven key as it is now, unless it was revoked or replaced meanwhile. (A pending hash may have come.)"""
    now = facts.key(proven.key_id) if proven is not None else None
    if proven is None or now is None or now.is_revoked or now.hash != proven.hash != PENDING:
        return None
    return now
