"""What Central answers, as facts in and decision out (C-1, C-4, C-10)."""

from dataclasses import replace

import pytest
from central_kit import CON, CON_2, DEV, ENT, ENT_2, MIN, MIN_1, NOD, NOD_2, OPR, OPS, USR, address, public_id
from cgn_sdk.protocol.errors import ProblemError
from cgn_sdk.protocol.link import MinerVerify, NodeHello, Policy, SessionOpen

from central_service.core import decisions
from central_service.core.records import (
    BANNED,
    FLAGGED,
    SCOPE_OF_KIND,
    SUSPENDED,
    Account,
    DService,
    KeyRecord,
    Miner,
    Node,
    Pricing,
)

PRICING = Pricing("testnet", 1, 2, 3, 4, {"2": 1_000_000}, 50)


def account(id: str, number: int = 1, **changes: object) -> Account:
    made = Account(
        id, public_id(number), "name", address(number), allowed_tiers=("2",), deadline_ms=1000, concurrency=5
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def key(account_id: str, **changes: object) -> KeyRecord:
    made = KeyRecord("aaaaaaaaaaaa", account_id, SCOPE_OF_KIND.get(account_id[:3], "work"), "hash")
    return replace(made, **changes)  # type: ignore[arg-type]


def refused(caught: "pytest.ExceptionInfo[ProblemError]") -> str:
    return caught.value.problem.code


# --- Sessions ---


def test_a_session_carries_the_account_s_terms() -> None:
    grant = decisions.open_session(SessionOpen(ENT, "k"), key(ENT), account(ENT), None)
    assert (grant.account_id, grant.public_id, grant.address) == (ENT, public_id(1), address(1))
    assert (grant.end_user_id, grant.allowed_tiers, grant.deadline_ms, grant.concurrency) == ("", ("2",), 1000, 5)


def test_a_session_carries_what_stays_out_of_rows() -> None:
    """L-17: the account's own names for secrets reach the node."""
    asked = account(ENT, redact=("ticket", "x-ticket"))
    assert decisions.open_session(SessionOpen(ENT, "k"), key(ENT), asked, None).redact == ("ticket", "x-ticket")


@pytest.mark.parametrize(("tier", "enterprise"), [("1", ENT), ("3", ""), ("4b", "")])
def test_a_miner_is_granted_its_own_tier_and_owner(tier: str, enterprise: str) -> None:
    miner = Miner(MIN, public_id(3), CON, tier, enterprise)
    grant = decisions.verify_miner(MinerVerify(CON, "k", MIN), key(CON), account(CON, 2), miner)
    assert (grant.miner_id, grant.miner_public_id, grant.tier) == (MIN, public_id(3), tier)
    assert grant.enterprise_id == (enterprise or None)
    assert (grant.contributor.public_id, grant.contributor.address) == (public_id(2), address(2))


def test_prices_reach_nodes_under_their_own_names() -> None:
    prices = decisions.make_policy(7, PRICING, []).prices
    assert (
        prices.kmips_hour_nano_eur,
        prices.tflop_hour_nano_eur,
        prices.gigabyte_nano_eur,
        prices.memory_gib_hour_nano_eur,
    ) == (1, 2, 3, 4)


def test_a_session_for_an_end_user_carries_its_pseudonym() -> None:
    user = account(USR, 9, parent_id=ENT)
    grant = decisions.open_session(SessionOpen(ENT, "k", USR), key(ENT), account(ENT), user)
    assert grant.end_user_id == public_id(9)


@pytest.mark.parametrize(
    ("proven", "asked", "code"),
    [
        (None, account(ENT), "not_authenticated"),
        (None, None, "not_authenticated"),
        (key(ENT), None, "not_authenticated"),
        (key(ENT_2), account(ENT), "not_authenticated"),
        (None, account(ENT, state=SUSPENDED), "not_authenticated"),
        (key(ENT_2), account(ENT, state=BANNED), "not_authenticated"),
        (key(CON), account(CON), "forbidden"),
        (key(NOD), account(NOD), "forbidden"),
        (key(OPS), account(OPS), "forbidden"),
        (key(ENT), account(ENT, state=SUSPENDED), "account_suspended"),
        (key(ENT), account(ENT, state=BANNED), "account_suspended"),
    ],
)
def test_who_gets_no_session(proven: KeyRecord | None, asked: Account | None, code: str) -> None:
    """Only its owner learns that an account is suspended."""
    with pytest.raises(ProblemError) as caught:
        decisions.open_session(SessionOpen(asked.id if asked else ENT, "k"), proven, asked, None)
    assert refused(caught) == code


def test_every_way_of_not_being_somebody_is_one_text() -> None:
    texts = set()
    for proven, asked in [
        (None, None),
        (None, account(ENT)),
        (key(ENT_2), account(ENT)),
        (None, account(ENT, state=BANNED)),
    ]:
        with pytest.raises(ProblemError) as caught:
            decisions.open_session(SessionOpen(ENT, "k"), proven, asked, None)
        texts.add(caught.value.problem.to_json())
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("user", "code"),
    [
        (None, "forbidden"),
        (account(USR, 9, parent_id=ENT_2), "forbidden"),
        (account(ENT_2, 9), "forbidden"),
        (account(USR, 9, parent_id=ENT, state=SUSPENDED), "account_suspended"),
    ],
)
def test_foreign_and_suspended_end_users_are_refused(user: Account | None, code: str) -> None:
    with pytest.raises(ProblemError) as caught:
        decisions.open_session(SessionOpen(ENT, "k", USR), key(ENT), account(ENT), user)
    assert refused(caught) == code


# --- Miners ---


def miner(**changes: object) -> Miner:
    return replace(Miner(MIN, public_id(3), CON, "2"), **changes)  # type: ignore[arg-type]


def test_a_miner_is_verified_with_its_contributor_and_enterprise() -> None:
    grant = decisions.verify_miner(MinerVerify(CON, MIN, "k"), key(CON), account(CON), miner())
    assert (grant.miner_id, grant.tier, grant.contributor.id, grant.enterprise_id) == (MIN, "2", CON, None)
    own = miner(tier="1", enterprise_id=ENT)
    assert decisions.verify_miner(MinerVerify(CON, MIN, "k"), key(CON), account(CON), own).enterprise_id == ENT


@pytest.mark.parametrize(
    ("proven", "asked", "record", "code"),
    [
        (None, account(CON), miner(), "not_authenticated"),
        (key(CON_2), account(CON), miner(), "not_authenticated"),
        (key(CON), account(CON), None, "miner_refused"),
        (key(CON), account(CON), miner(contributor_id=CON_2), "miner_refused"),
        (key(CON), account(CON), miner(state=FLAGGED), "miner_refused"),
        (key(CON), account(CON, state=SUSPENDED), miner(), "account_suspended"),
        (key(CON, miner_id=MIN_1), account(CON), miner(), "forbidden"),
        (key(ENT), account(ENT), miner(contributor_id=ENT), "forbidden"),
    ],
)
def test_which_miner_is_refused(proven: KeyRecord | None, asked: Account, record: Miner | None, code: str) -> None:
    with pytest.raises(ProblemError) as caught:
        decisions.verify_miner(MinerVerify(asked.id, MIN, "k"), proven, asked, record)
    assert refused(caught) == code


def test_a_key_of_one_miner_opens_for_that_one() -> None:
    assert decisions.verify_miner(MinerVerify(CON, MIN, "k"), key(CON, miner_id=MIN), account(CON), miner())


# --- Nodes and services ---

POLICY = decisions.make_policy(7, PRICING, [])
NODE = Node(NOD, OPR, "wss://x/central", "0" * 64)


def admit(hello_id: str, proven: KeyRecord | None, asked: Account | None, operator: Account | None) -> object:
    return decisions.admit_node(
        NodeHello(hello_id, "k", "1"), NODE, key=proven, account=asked, operator=operator, policy=POLICY
    )


def test_a_node_learns_its_operator_and_the_policy() -> None:
    welcome = decisions.admit_node(
        NodeHello(NOD, "k", "1"), NODE, key=key(NOD), account=account(NOD, 4), operator=account(OPR, 5), policy=POLICY
    )
    assert (welcome.node_public_id, welcome.operator.id, welcome.policy.version) == (public_id(4), OPR, 7)


@pytest.mark.parametrize(
    ("hello_id", "proven", "asked", "operator", "code"),
    [
        (NOD_2, key(NOD_2), account(NOD_2), account(OPR), "not_authenticated"),
        (NOD, None, account(NOD), account(OPR), "not_authenticated"),
        (NOD, key(NOD_2), account(NOD), account(OPR), "not_authenticated"),
        (NOD, key(NOD), account(NOD, state=SUSPENDED), account(OPR), "account_suspended"),
        (NOD, key(NOD), account(NOD), account(OPR, state=BANNED), "account_suspended"),
        (NOD, key(NOD), account(NOD), None, "forbidden"),
        (NOD, key(NOD, scope="work"), account(NOD), account(OPR), "forbidden"),
    ],
)
def test_which_node_is_refused(
    hello_id: str, proven: KeyRecord | None, asked: Account | None, operator: Account | None, code: str
) -> None:
    with pytest.raises(ProblemError) as caught:
        admit(hello_id, proven, asked, operator)
    assert refused(caught) == code


def test_only_ecosystem_keys_open_the_machine_port() -> None:
    assert decisions.admit_ecosystem_service(key(OPS), account(OPS)).id == OPS
    for id in (ENT, CON, NOD):
        with pytest.raises(ProblemError) as caught:
            decisions.admit_ecosystem_service(key(id), account(id))
        assert refused(caught) == "forbidden"


def test_the_policy_reads_as_nodes_read_it() -> None:
    dservices = [
        (DService(name, "1", f"/{name}", DEV, 700_000, 100_000, ("2",), "", ("*",)), account(DEV, 6)) for name in "ba"
    ]
    policy = decisions.make_policy(3, PRICING, dservices)
    assert Policy.from_params(policy.to_params()) == policy
    assert [each.name for each in policy.dservices] == ["a", "b"]
    assert policy.dservices[0].developer.id == "", "a developer's account id is nobody's business"
