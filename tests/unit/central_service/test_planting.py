"""Setting a network up from a seed, with hashes now or later (C-4)."""

from pathlib import Path
from typing import Any

import pytest
from central_kit import ENT, KEYS, NOD, PASSWORD, api_key
from cgn_sdk.protocol.errors import ProblemError
from cgn_sdk.protocol.ids import ApiKey
from cgn_sdk.protocol.link import SessionOpen

from central_service.answers import Answers, still_valid
from central_service.core.records import PENDING, KeyRecord
from central_service.core.seed import read_seed
from central_service.credentials import Credentials, Hashing
from central_service.planting import hash_pending, plant_at_once
from central_service.store import Store

SESSION = SessionOpen(ENT, KEYS[ENT])


def key_id(account_id: str) -> str:
    key = ApiKey.parse(KEYS[account_id])
    assert key is not None
    return key.key_id


async def stored(store: Store, account_id: str) -> KeyRecord:
    record = await store.read(lambda facts: facts.key(key_id(account_id)))
    assert record is not None
    return record


async def test_a_network_planted_at_once_serves_before_and_after_its_keys_are_hashed(
    store: Store, hashing: Hashing, seed_document: dict[str, Any]
) -> None:
    credentials = Credentials(hashing)
    seed = read_seed(seed_document)
    answers = Answers(store, credentials)
    await plant_at_once(store, credentials, seed)
    assert (await stored(store, ENT)).hash == PENDING
    assert (await answers.session_open(SESSION, "n")).account_id == ENT
    assert await hash_pending(store, credentials, seed, after_s=0) == len(KEYS) + 1
    record = await stored(store, ENT)
    assert await hashing.matches(record.hash, KEYS[ENT])
    assert await hashing.matches(await store.read(lambda facts: facts.password_hash(ENT)), PASSWORD)
    assert await store.read(lambda facts: facts.pending_key_count()) == 0
    credentials.forget()
    assert (await answers.session_open(SESSION, "n")).account_id == ENT
    assert await hash_pending(store, credentials, seed, after_s=0) == 0


async def test_pending_hash_matches_no_key(store: Store, hashing: Hashing, seed_document: dict[str, Any]) -> None:
    """While hashes are pending no other key opens anything, not even one that has the text of the placeholder."""
    credentials = Credentials(hashing)
    await plant_at_once(store, credentials, read_seed(seed_document))
    answers = Answers(store, credentials)
    guess = f"cgn_{key_id(ENT)}_{api_key(1)[-43:]}"
    for wrong in (guess, KEYS[NOD], PENDING, ""):
        with pytest.raises(ProblemError) as caught:
            await answers.session_open(SessionOpen(ENT, wrong), "n")
        assert caught.value.problem.code == "not_authenticated"
    assert not await hashing.matches(PENDING, PENDING)
    credentials.forget()
    with pytest.raises(ProblemError) as caught:
        await answers.session_open(SESSION, "n")
    assert caught.value.problem.code == "not_authenticated"


async def test_a_process_that_ended_before_completes_them_from_the_same_seed(
    tmp_path: Path, hashing: Hashing, seed_document: dict[str, Any]
) -> None:
    seed = read_seed(seed_document)
    store = await Store.open(tmp_path / "db")
    await plant_at_once(store, Credentials(hashing), seed)
    await store.close()

    store = await Store.open(tmp_path / "db")
    credentials = Credentials(hashing)
    assert await store.read(lambda facts: facts.pending_key_count()) == len(KEYS)
    with pytest.raises(ProblemError) as caught:
        await Answers(store, credentials).session_open(SESSION, "n")
    assert caught.value.problem.code == "not_authenticated"
    await hash_pending(store, credentials, seed, after_s=0)
    assert (await Answers(store, credentials).session_open(SESSION, "n")).account_id == ENT
    await store.close()


async def test_a_key_revoked_while_pending_stays_revoked(
    store: Store, hashing: Hashing, seed_document: dict[str, Any]
) -> None:
    credentials = Credentials(hashing)
    seed = read_seed(seed_document)
    await plant_at_once(store, credentials, seed)
    await store.write("ops", "leaked", lambda records: records.revoke_key(key_id(ENT)))
    for _ in range(2):
        with pytest.raises(ProblemError) as caught:
            await Answers(store, credentials).session_open(SESSION, "n")
        assert caught.value.problem.code == "not_authenticated"
        await hash_pending(store, credentials, seed, after_s=0)


async def test_a_hash_that_comes_between_proof_and_decision_changes_nothing(
    store: Store, hashing: Hashing, seed_document: dict[str, Any]
) -> None:
    credentials = Credentials(hashing)
    seed = read_seed(seed_document)
    await plant_at_once(store, credentials, seed)
    proven = await credentials.prove(ApiKey.parse(KEYS[ENT]), await stored(store, ENT), "n")
    await hash_pending(store, credentials, seed, after_s=0)
    assert proven is not None
    assert await store.read(lambda facts: still_valid(facts, proven)) == await stored(store, ENT)
    other = KeyRecord(proven.key_id, proven.account_id, proven.scope, "$argon2id$other")
    assert await store.read(lambda facts: still_valid(facts, other)) is None


async def test_a_password_chosen_while_the_seed_s_is_hashed_stays(
    store: Store, hashing: Hashing, seed_document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = read_seed(seed_document)
    [account_id] = [account_id for account_id, _ in seed.passwords]
    await plant_at_once(store, Credentials(hashing), seed)
    real, chosen = hashing.hash, await hashing.hash("a password of one's own")

    async def hash(secret: str) -> str:
        if secret == PASSWORD:
            await store.write("ops", "forgotten", lambda records: records.set_password(account_id, chosen))
        return await real(secret)

    monkeypatch.setattr(hashing, "hash", hash)
    await hash_pending(store, Credentials(hashing), seed, after_s=0)
    assert await store.read(lambda facts: facts.password_hash(account_id)) == chosen
