"""Facts in, decision out: what Central answers to a node's questions (C-1, C-4, C-10).

Each function takes the records that the caller has loaded and gives the answer, or refuses with `ProblemError`. `key`
is the record of the key that came along *if it was proven* (known, right, not revoked), else None.

Rules of this file:
- who has not proven a key learns nothing: unknown account, wrong key and foreign key are one refusal;
- only its owner learns that an account is suspended;
- a key opens the one kind of door it was made for.
"""

from cgn_sdk.protocol.errors import Problem, ProblemError
from cgn_sdk.protocol.link import (
    DServicePolicy,
    MinerGrant,
    MinerVerify,
    NodeHello,
    NodeWelcome,
    Party,
    Policy,
    Prices,
    SessionGrant,
    SessionOpen,
)

from central_service.core.records import (
    ACTIVE,
    SCOPE_ECOSYSTEM,
    SCOPE_MINER,
    SCOPE_NODE,
    SCOPE_WORK,
    Account,
    DService,
    KeyRecord,
    Miner,
    Node,
    Pricing,
)


def refusal(code: str, detail: str) -> ProblemError:
    return ProblemError(Problem(code, detail))


def not_authenticated() -> ProblemError:
    """The one text for every way of not being who one says."""
    return refusal("not_authenticated", "The account id or the API key is wrong, or the key was revoked.")


def require_active(account: Account) -> None:
    if account.state != ACTIVE:
        raise refusal("account_suspended", f"Account {account.id} is {account.state}; ask the operators why.")


def require_key(key: KeyRecord | None, account: Account | None, scope: str) -> Account:
    """The account, if the key is its own and opens this kind of door."""
    if key is None or account is None or key.account_id != account.id:
        raise not_authenticated()
    if key.scope != scope:
        raise refusal("forbidden", f"This key is for {key.scope}, not for {scope}: make a key for it.")
    require_active(account)
    return account


def admit_node(
    hello: NodeHello,
    dialled: Node,
    *,
    key: KeyRecord | None,
    account: Account | None,
    operator: Account | None,
    policy: Policy,
) -> NodeWelcome:
    """A node says hello on a link that we dialled to `dialled`: it must be that one."""
    if hello.node_id != dialled.id:
        raise not_authenticated()
    node = require_key(key, account, SCOPE_NODE)
    if operator is None:
        raise refusal("forbidden", f"Node {node.id} has no operator: register it anew.")
    require_active(operator)
    return NodeWelcome(node.public_id, party(operator), policy)


def open_session(
    question: SessionOpen, key: KeyRecord | None, account: Account | None, end_user: Account | None
) -> SessionGrant:
    enterprise = require_key(key, account, SCOPE_WORK)
    if question.end_user:
        if end_user is None or end_user.parent_id != enterprise.id:
            raise refusal("forbidden", f"{question.end_user} is no end user of {enterprise.id}: register it first.")
        require_active(end_user)
    return SessionGrant(
        account_id=enterprise.id,
        public_id=enterprise.public_id,
        address=enterprise.address,
        end_user_id=end_user.public_id if question.end_user and end_user else "",
        allowed_tiers=enterprise.allowed_tiers,
        deadline_ms=enterprise.deadline_ms,
        concurrency=enterprise.concurrency,
        redact=enterprise.redact,
    )


def verify_miner(
    question: MinerVerify, key: KeyRecord | None, account: Account | None, miner: Miner | None
) -> MinerGrant:
    contributor = require_key(key, account, SCOPE_MINER)
    assert key is not None
    if miner is None or miner.contributor_id != contributor.id:
        raise refusal("miner_refused", f"{question.miner_id} is no miner of {contributor.id}: register it first.")
    if key.miner_id and key.miner_id != miner.id:
        raise refusal("forbidden", f"This key is for {key.miner_id}, not for {miner.id}.")
    if miner.state != ACTIVE:
        raise refusal("miner_refused", f"Miner {miner.id} is {miner.state}; ask the operators why.")
    return MinerGrant(
        miner_id=miner.id,
        miner_public_id=miner.public_id,
        tier=miner.tier,
        contributor=party(contributor),
        enterprise_id=miner.enterprise_id or None,
        machine=miner.machine,
    )


def admit_ecosystem_service(key: KeyRecord | None, account: Account | None) -> Account:
    """A caller of the machine-to-machine port (C-2)."""
    return require_key(key, account, SCOPE_ECOSYSTEM)


def party(account: Account) -> Party:
    return Party(account.public_id, account.address, account.id)


def make_policy(version: int, pricing: Pricing, dservices: list[tuple[DService, Account]]) -> Policy:
    """What nodes are told: the registry with each developer's pseudonym and wallet. Those of suspended developers stay:
    their DService may be in use; what they earn is the payouts' business."""
    return Policy(
        version=version,
        network_id=pricing.network_id,
        dservices=tuple(
            DServicePolicy(
                name=each.name,
                version=each.version,
                route=each.route,
                developer=Party(developer.public_id, developer.address),
                contributor_ppm=each.contributor_ppm,
                developer_ppm=each.developer_ppm,
                allowed_tiers=each.allowed_tiers,
                image=each.image,
                egress=each.egress,
                cpus_milli=each.cpus_milli,
            )
            for each, developer in sorted(dservices, key=lambda pair: pair[0].name)
        ),
        prices=Prices(
            pricing.kmips_hour_nano_eur,
            pricing.tflop_hour_nano_eur,
            pricing.gigabyte_nano_eur,
            pricing.memory_gib_hour_nano_eur,
        ),
        tier_factor_ppm=pricing.tier_factor_ppm,
        exchange_rate_nano_eur_per_cpu=pricing.exchange_rate_nano_eur_per_cpu,
    )
