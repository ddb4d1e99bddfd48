"""Answers a node's questions: loads facts, proves the key, lets the core decide (C-1, C-4).

The key is proven first; the facts are read afterwards, all from one moment, so that what was revoked while the key was
being hashed counts as revoked.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from cgn_sdk import signing
from cgn_sdk.protocol.errors import Problem, ProblemError
from cgn_sdk.protocol.ids import ApiKey
from cgn_sdk.protocol.link import (
    METHOD_MINER_VERIFY,
    METHOD_NODE_HEAD,
    METHOD_SESSION_OPEN,
    HeadKept,
    MinerGrant,
    MinerVerify,
    NodeHead,
    NodeHello,
    NodeWelcome,
    SessionGrant,
    SessionOpen,
)

from central_service import limits
from central_service.core import decisions, heads
from central_service.core.records import PENDING, Account, KeyRecord, Node
from central_service.core.throttle import Throttle
from central_service.credentials import Credentials
from central_service.store import Facts, Records, Store
from cgn_chassis import logs

_log = logs.get("answers")


class Answers:
    """One per process; links and ports share it."""

    def __init__(self, store: Store, credentials: Credentials) -> None:
        self.store = store
        self.credentials = credentials
        self._heads = Throttle(limits.HEAD_BURST, limits.HEADS_PER_S, limits.THROTTLED_KEYS_MAX)

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

    async def node_head(self, told: NodeHead, node_id: str) -> HeadKept:
        """Keeps the head, or refuses it with a finding that stays in the database until somebody has looked."""
        now_ms = int(time.monotonic() * 1000)
        if not self._heads.may_try(node_id, now_ms):
            wait_s = -(-self._heads.wait_ms(node_id, now_ms) // 1000)
            detail = f"A head was told a moment ago; tell the newest in {wait_s} s."
            raise ProblemError(Problem("rate_limited", detail, extra={"retry_after_s": wait_s}))
        self._heads.count(node_id, now_ms)

        def keep(records: Records) -> heads.Finding | None:
            account = records.account(node_id)
            public_id = account.public_id if account is not None else ""
            finding = heads.judge(told, public_id, records.kept(node_id), records.losses(node_id), signing.verify)
            if finding is None:
                records.keep_head(node_id, told)
            else:
                records.note_head_finding(node_id, finding)
            return finding

        finding = await self.store.write(node_id, "the node told its head", keep)
        if finding is not None:
            _log.error("head.refused", node=node_id, finding=finding.code, detail=finding.detail)
            detail = f"Central does not keep this head: it {finding.detail}."
            raise ProblemError(Problem("conflict", detail, extra={"finding": finding.code}))
        return HeadKept(told.head.last_ingest)

    async def answer(self, method: str, params: dict[str, Any], asker: str) -> dict[str, Any]:
        """The answer to a question of a node that has said hello. Raises ProblemError."""
        known: dict[str, Callable[[], Awaitable[SessionGrant | MinerGrant | HeadKept]]] = {
            METHOD_SESSION_OPEN: lambda: self.session_open(SessionOpen.from_params(params), asker),
            METHOD_MINER_VERIFY: lambda: self.miner_verify(MinerVerify.from_params(params), asker),
            METHOD_NODE_HEAD: lambda: self.node_head(NodeHead.from_params(params), asker),
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
