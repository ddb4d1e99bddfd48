"""Central's database (C-5): whole or not at all, audited, migrated."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from central_kit import CON, ENT, KEYS, MIN, NOD, OPR, USR, address, public_id

from central_service import store as store_module
from central_service.answers import Answers
from central_service.core.records import FLAGGED, SUSPENDED, Account, KeyRecord, Node, Pricing
from central_service.core.seed import read_seed
from central_service.credentials import Credentials, Hashing
from central_service.planting import plant
from central_service.store import MIGRATIONS, Conflict, Store


async def test_a_seed_reads_back(answers: Answers) -> None:
    store = answers.store
    enterprise = await store.read(lambda facts: facts.account(ENT))
    assert enterprise is not None
    assert (enterprise.kind, enterprise.allowed_tiers, enterprise.concurrency) == ("ent", ("2", "4b"), 64)
    user = await store.read(lambda facts: facts.account(USR))
    assert user is not None
    assert user.parent_id == ENT
    miner = await store.read(lambda facts: facts.miner(MIN))
    assert miner is not None
    assert (miner.contributor_id, miner.enterprise_id) == (CON, "")
    assert [each.id for each in await store.read(lambda facts: facts.nodes())] == [NOD]
    found = await store.read(lambda facts: facts.accounts_by_public_id([public_id(2), public_id(99), public_id(0)]))
    assert [each.address for each in found] == [address(2), address(0)]


async def test_a_seed_is_stored_whole_or_not_at_all(
    store: Store, hashing: Hashing, seed_document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        store_module.Records, "set_pricing", lambda *_: (_ for _ in ()).throw(Conflict("the disk is full"))
    )
    with pytest.raises(Conflict, match="the disk is full"):
        await plant(store, Credentials(hashing), read_seed(seed_document))
    assert await store.read(lambda facts: facts.account(ENT)) is None
    assert await store.read(lambda facts: facts.last_change()) == 0


async def test_credentials_are_stored_as_argon2id_only(store: Store) -> None:
    """C-4, held by the database itself: nothing else can get in."""
    with pytest.raises(Conflict):
        await store.write("x", "y", lambda records: records.add_key(KeyRecord("aaaaaaaaaaaa", ENT, "work", KEYS[ENT])))
    await store.write("x", "y", lambda records: records.add_account(Account(ENT, public_id(1))))
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await store.write("x", "y", lambda records: records.set_password(ENT, "hunter2hunter2"))


async def test_every_change_says_who_when_and_why(tmp_path: Path) -> None:
    moments = iter([1_000, 2_000, 3_000])
    store = await Store.open(tmp_path / "db", now_ns=lambda: next(moments))
    await store.write("first", "because", lambda records: records.add_account(Account(ENT, public_id(1))))
    await store.write("ops_x", "fraud " + "x" * 5_000, lambda records: records.set_account_state(ENT, SUSPENDED))
    with pytest.raises(Conflict, match="there is no"):
        await store.write("ops_x", "typo", lambda records: records.set_account_state(CON, SUSPENDED))
    changes = await store.read(lambda facts: facts.changes(0))
    assert [(each.actor, each.time_ns, each.action, each.subject) for each in changes] == [
        ("first", 1_000, "account.created", ENT),
        ("ops_x", 2_000, "account.state", ENT),
    ]
    assert changes[0].why == "because"
    assert len(changes[1].why) == 1_000
    await store.close()


@pytest.mark.parametrize("statement", ["UPDATE audit SET why = 'x'", "DELETE FROM audit"])
async def test_the_audit_log_cannot_be_altered(answers: Answers, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="grows only"):
        await answers.store.read(lambda facts: facts._connection.execute(statement))
    assert len(await answers.store.read(lambda facts: facts.changes(0))) > 10


async def test_the_policy_s_version_grows_with_every_change(answers: Answers) -> None:
    store = answers.store
    first = await store.read(lambda facts: facts.policy())
    assert first is not None
    pricing = Pricing("testnet", 9, 9, 9, 9, {"2": 1}, 7)
    await store.write("ops", "dearer", lambda records: records.set_pricing(pricing))
    second = await store.read(lambda facts: facts.policy())
    assert second is not None
    assert second.version == first.version + 1
    assert second.prices.gigabyte_nano_eur == 9
    dservice = (await store.read(lambda facts: facts.dservices()))[0][0]
    await store.write("ops", "again", lambda records: records.put_dservice(dservice))
    third = await store.read(lambda facts: facts.policy())
    assert third is not None
    assert third.version == second.version + 1


async def test_a_node_of_nobody_is_refused(answers: Answers) -> None:
    """Foreign keys hold."""
    with pytest.raises(Conflict):
        await answers.store.write("x", "y", lambda records: records.put_node(Node(NOD, "opr_x", "wss://x", "0" * 64)))
    assert [each.operator_id for each in await answers.store.read(lambda facts: facts.nodes())] == [OPR]


async def test_two_processes_may_open_and_migrate_at_once(tmp_path: Path) -> None:
    stores = [await Store.open(tmp_path / "db") for _ in range(2)]
    await stores[0].write("a", "b", lambda records: records.add_account(Account(ENT, public_id(1))))
    assert await stores[1].read(lambda facts: facts.account(ENT)) is not None
    assert await stores[1].read(lambda facts: facts.schema_version()) == len(MIGRATIONS)
    for each in stores:
        await each.close()


async def test_a_failed_migration_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await Store.open(tmp_path / "db")
    await store.close()
    broken = "CREATE TABLE half (id TEXT) STRICT;\nCREATE TABLE half (id TEXT) STRICT;\n"
    monkeypatch.setattr(store_module, "MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        await Store.open(tmp_path / "db")
    monkeypatch.setattr(store_module, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE whole (id TEXT) STRICT;\n"))
    store = await Store.open(tmp_path / "db")
    assert await store.read(lambda facts: facts.schema_version()) == len(MIGRATIONS) + 1
    await store.close()
    monkeypatch.setattr(store_module, "MIGRATIONS", MIGRATIONS)
    with pytest.raises(Conflict, match="update it"):
        await Store.open(tmp_path / "db")


async def test_it_is_durable_by_default(store: Store) -> None:
    assert await store.read(lambda facts: facts._row("PRAGMA synchronous")[0]) == 2
    assert await store.read(lambda facts: facts._row("PRAGMA foreign_keys")[0]) == 1


async def test_a_miner_s_state(answers: Answers) -> None:
    await answers.store.write("ops", "wrong work", lambda records: records.set_miner_state(MIN, FLAGGED))
    assert await answers.store.read(lambda facts: facts.refused(0)) == ((), (MIN,))
