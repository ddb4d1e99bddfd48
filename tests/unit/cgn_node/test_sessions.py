"""Sessions and what one account may do at once (N-5, N-6)."""

import pytest
from cgn_sdk.protocol.link import SessionGrant

from cgn_node import limits
from cgn_node.refusals import TooMany
from cgn_node.sessions import Sessions


def opened(sessions: Sessions, now_ms: int = 0, account: str = "ent_a", concurrency: int = 2) -> str:
    return sessions.open(now_ms, SessionGrant(account, "p", "0x", "", ("2",), 1000, concurrency))


def test_a_key_finds_its_session_until_it_expires() -> None:
    sessions = Sessions(ttl_s=10)
    key = opened(sessions)
    found = sessions.find(key, 9_999)
    assert found is not None
    assert found.account_id == "ent_a"
    assert sessions.find(key, 10_000) is None
    assert sessions.find(key + "x", 0) is None
    assert sessions.find("\udcff", 0) is None
    sessions.expire(10_000)
    assert len(sessions) == 0


def test_keys_are_random_and_not_kept() -> None:
    sessions = Sessions()
    keys = {opened(sessions) for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) >= 43 for key in keys)
    assert not any(key in repr(vars(sessions)) for key in keys)


def test_revocation_ends_all_sessions_of_the_account_and_no_other() -> None:
    sessions = Sessions()
    mine, other = opened(sessions), opened(sessions, account="ent_b")
    assert sessions.revoke({"ent_a", "ent_c"}) == 1
    assert sessions.find(mine, 0) is None
    assert sessions.find(other, 0) is not None


def test_concurrency_is_per_account_over_its_sessions() -> None:
    sessions = Sessions()
    one, two = (sessions.find(opened(sessions), 0) for _ in range(2))
    assert one is not None
    assert two is not None
    sessions.begin_request(one)
    sessions.begin_request(two)
    with pytest.raises(TooMany) as caught:
        sessions.begin_request(one)
    assert caught.value.code == "concurrency_limited"
    sessions.revoke({"ent_a"})
    sessions.end_request(one)
    sessions.end_request(two)
    assert sessions._accounts == {}


def test_sessions_of_one_account_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSIONS_PER_ACCOUNT_MAX", 3)
    monkeypatch.setattr(limits, "SESSIONS_MAX", 4)
    sessions = Sessions()
    for _ in range(3):
        opened(sessions)
    with pytest.raises(TooMany, match="An account may have 3 sessions"):
        opened(sessions)
    opened(sessions, account="ent_b")
    with pytest.raises(TooMany) as caught:
        opened(sessions, account="ent_c")
    assert caught.value.code == "overloaded"


def test_a_revoked_account_that_is_back_has_what_still_runs_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets twice his concurrency by being let in again."""
    sessions = Sessions()
    first = sessions.find(opened(sessions, concurrency=1), 0)
    assert first is not None
    sessions.begin_request(first)
    assert (sessions.revocations, sessions.revoke({"ent_a"}), sessions.revocations) == (0, 1, 1)
    second = sessions.find(opened(sessions, concurrency=1), 0)
    assert second is not None
    with pytest.raises(TooMany, match="may have 1 requests at once"):
        sessions.begin_request(second)
    sessions.end_request(first)
    sessions.begin_request(second)


def test_the_latest_word_of_central_on_concurrency_counts() -> None:
    sessions = Sessions()
    first = sessions.find(opened(sessions, concurrency=1), 0)
    assert first is not None
    opened(sessions, concurrency=2)
    sessions.begin_request(first)
    sessions.begin_request(first)
    with pytest.raises(TooMany, match="may have 2 requests at once"):
        sessions.begin_request(first)


def test_no_more_are_restored_than_there_may_be_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSIONS_MAX", 2)
    sessions = Sessions()
    grant = SessionGrant("ent_a", "p", "0x", "", ("2",), 1000, 2)
    for digest in (b"1", b"1", b"2", b"3"):
        sessions.restore(grant, expires_ms=1_000, digest=digest, pair=b"")
    assert len(sessions) == 2
    assert len(sessions._accounts["ent_a"].sessions) == 2
