"""Sets a network up from a seed: all of it in one transaction, or nothing.

`plant` hashes every key and password first. `plant_at_once` stores the network before its keys are hashed, so that a
sandbox serves without waiting for them: until `hash_pending` has come to a key, its record holds PENDING, which no key
matches, and the key is proven by what this process remembers of the seed (a SHA-256, as for every proven key). A stop
completes them first; when the process is killed before, the same seed given again does.
"""

import asyncio
import time

from cgn_sdk.protocol.ids import ApiKey

from central_service import limits
from central_service.core.records import PENDING, KeyRecord
from central_service.core.seed import Seed
from central_service.credentials import Credentials, Hashing
from central_service.store import Facts, Records, Store
from cgn_chassis import logs

_log = logs.get("planting")

_ACTOR, _WHY = "seed", "a new network"


async def plant(store: Store, credentials: Credentials, seed: Seed) -> None:
    """Hashes on all threads, then stores. Raises Conflict when something of it is there already."""
    began = time.perf_counter()
    key_hashes, password_hashes = await asyncio.gather(
        _hash_all(credentials.hashing, [key.whole for _, key in seed.keys]),
        _hash_all(credentials.hashing, [password for _, password in seed.passwords]),
    )
    by_key = {key.key_id: each for (_, key), each in zip(seed.keys, key_hashes, strict=True)}
    by_account = {account_id: each for (account_id, _), each in zip(seed.passwords, password_hashes, strict=True)}
    await _store(store, credentials, seed, by_key, by_account, began)


async def plant_at_once(store: Store, credentials: Credentials, seed: Seed) -> None:
    """Stores with hashes to come; `hash_pending` is to follow. Raises Conflict as `plant`."""
    began = time.perf_counter()
    await _store(store, credentials, seed, {key.key_id: PENDING for _, key in seed.keys}, {}, began)


async def _store(
    store: Store,
    credentials: Credentials,
    seed: Seed,
    key_hashes: dict[str, str],
    password_hashes: dict[str, str],
    began: float,
) -> None:
    await store.write(_ACTOR, _WHY, lambda records: records.seed(seed, key_hashes, password_hashes))
    for _, key in seed.keys:
        # A network just set up does not begin by hashing each of its keys again.
        credentials.remember(key, key_hashes[key.key_id])
    _log.info(
        "central.seeded",
        accounts=len(seed.accounts),
        miners=len(seed.miners),
        nodes=len(seed.nodes),
        dservices=len(seed.dservices),
        total_ms=round((time.perf_counter() - began) * 1000),
    )


async def hash_pending(
    store: Store, credentials: Credentials, seed: Seed, *, after_s: float = limits.PENDING_AFTER_S
) -> int:
    """Hashes what the seed left open, one at a time so that logins have the other thread. Returns how many."""
    found = await store.read(lambda facts: pending(facts, seed))
    for key, _ in found:
        credentials.remember(key, PENDING)
    await asyncio.sleep(after_s)
    for key, record in found:
        hash = await credentials.hashing.hash(key.whole)

        def complete(records: Records, key_id: str = record.key_id, hash: str = hash) -> None:
            records.complete_key(key_id, hash)

        await store.write(_ACTOR, _WHY, complete)
        credentials.remember(key, hash)
    passwords = await store.read(
        lambda facts: [each for each in seed.passwords if facts.password_hash(each[0]) is None]
    )
    for account_id, password in passwords:
        hash = await credentials.hashing.hash(password)

        def set_password(records: Records, account_id: str = account_id, hash: str = hash) -> None:
            if records.password_hash(account_id) is None:  # else somebody has chosen one since
                records.set_password(account_id, hash)

        await store.write(_ACTOR, _WHY, set_password)
    return len(found) + len(passwords)


def pending(facts: Facts, seed: Seed) -> list[tuple[ApiKey, KeyRecord]]:
    """The seed's keys whose hash is still to come."""
    found = []
    for account_id, key in seed.keys:
        record = facts.key(key.key_id)
        if record is not None and record.hash == PENDING and record.account_id == account_id:
            found.append((key, record))
    return found


async def _hash_all(hashing: Hashing, secrets: list[str]) -> list[str]:
    """In portions that the queue takes, however long the seed is."""
    found: list[str] = []
    for start in range(0, len(secrets), limits.HASH_QUEUE_MAX // 2):
        portion = secrets[start : start + limits.HASH_QUEUE_MAX // 2]
        found += await asyncio.gather(*(hashing.hash(secret) for secret in portion))
    return found
