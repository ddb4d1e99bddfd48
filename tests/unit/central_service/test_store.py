"""Central's database (C-5): whole or not at all, audited, migrated."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from central_kit import CON, DEV, ENT, KEYS, MIN, NOD, OPR, USR, address, public_id
from cgn_sdk import signing
from cgn_sdk.protocol import link
from cgn_sdk.protocol.head import sign_head
from cgn_sdk.protocol.link import Machine
from cgn_sdk.protocol.loss import SPOOL, Loss, sign_loss
from cgn_sdk.protocol.row import Finding

from central_service import store as store_module
from central_service.answers import Answers
from central_service.core.heads import Known
from central_service.core.records import FLAGGED, SUSPENDED, Account, DService, KeyRecord, Miner, Node, Pricing
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
    with pytest.raises(Conflict, match="CHECK constraint failed: hash"):
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
    with pytest.raises(Conflict, match="FOREIGN KEY"):
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


async def test_every_field_of_every_record_comes_back(tmp_path: Path) -> None:
    """No two values of one record are alike, so that none can stand for another."""
    store = await Store.open(tmp_path / "db")
    enterprise = Account(
        ENT, public_id(1), "Acme", address(1), deadline_ms=1_234, concurrency=56, allowed_tiers=("2", "3"),
        redact=("ticket", "x-ticket"),
    )  # fmt: skip
    user = Account(USR, public_id(2), "User", address(2), "suspended", ENT, ("4a",), 78, 9, ("sid",))
    others = [Account(id, public_id(9 + n)) for n, id in enumerate((CON, DEV, OPR, NOD))]
    miner = Miner(MIN, public_id(3), CON, "1", ENT, "flagged", Machine(4, 5_000, 6_000_000))
    key = KeyRecord("aaaaaaaaaaaa", CON, "miner", "$argon2id$x", "of my box", False, MIN)
    node = Node(NOD, OPR, "wss://node/central", "0" * 64, "DE")
    pricing = Pricing("testnet", 1, 2, 3, 4, {"2": 5, "3": 6}, 7)
    egress = ("public", "10.0.0.1:80")
    dservice = DService("noop", "1.2.3", "/noop", DEV, 11, 12, ("2", "4b"), "image@sha256:0", egress, 13)

    def put(records: store_module.Records) -> None:
        for account in (enterprise, user, *others):
            records.add_account(account)
        records.add_miner(miner)
        records.add_key(key)
        records.put_node(node)
        records.set_pricing(pricing)
        records.put_dservice(dservice)

    await store.write("x", "y", put)
    assert await store.read(lambda facts: (facts.account(ENT), facts.account(USR))) == (enterprise, user)
    assert await store.read(lambda facts: facts.miner(MIN)) == miner
    assert await store.read(lambda facts: facts.key("aaaaaaaaaaaa")) == key
    assert await store.read(lambda facts: facts.nodes()) == [node]
    assert await store.read(lambda facts: facts.dservices()) == [(dservice, others[1])]
    policy = await store.read(lambda facts: facts.policy())
    assert policy is not None
    prices = policy.prices
    assert (
        policy.network_id,
        prices.kmips_hour_nano_eur,
        prices.tflop_hour_nano_eur,
        prices.gigabyte_nano_eur,
        prices.memory_gib_hour_nano_eur,
        policy.tier_factor_ppm,
        policy.exchange_rate_nano_eur_per_cpu,
    ) == ("testnet", 1, 2, 3, 4, {"2": 5, "3": 6}, 7)
    [told] = policy.dservices
    assert (told.contributor_ppm, told.developer_ppm, told.egress, told.image, told.cpus_milli) == (
        11,
        12,
        dservice.egress,
        dservice.image,
        13,
    )
    await store.close()
    assert (tmp_path / "db").stat().st_mode & 0o077 == 0, "hashes of keys are in it"


KEY_ID = KEYS[ENT][4:16]
CHANGES: dict[str, tuple[Callable[[store_module.Records], None], list[tuple[str, str]]]] = {
    "an account": (lambda records: records.set_account_state(ENT, SUSPENDED), [("account.state", ENT)]),
    "a node's account": (
        lambda records: records.set_account_state(NOD, SUSPENDED),
        [("account.state", NOD), ("node.changed", NOD)],
    ),
    "a miner": (lambda records: records.set_miner_state(MIN, FLAGGED), [("miner.state", MIN)]),
    "a miner's machine": (lambda records: records.set_miner_machine(MIN, Machine(1, 2, 3)), [("miner.machine", MIN)]),
    "a key": (lambda records: records.revoke_key(KEY_ID), [("key.revoked", KEY_ID)]),
    "a node": (lambda records: records.put_node(Node(NOD, OPR, "wss://x/central", "1" * 64)), [("node.changed", NOD)]),
    "a password": (lambda records: records.set_password(ENT, "$argon2id$x"), [("password.set", ENT)]),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_every_change_is_in_the_log_that_nodes_are_told_by(answers: Answers, name: str) -> None:
    """C-10: what is not written there is revoked at no node."""
    change, lines = CHANGES[name]
    before = await answers.store.read(lambda facts: facts.last_change())
    await answers.store.write("ops", "why", change)
    found = await answers.store.read(lambda facts: facts.changes(before))
    assert [(each.action, each.subject, each.actor, each.why) for each in found] == [
        (*line, "ops", "why") for line in lines
    ]


async def test_what_is_not_there_is_a_conflict_and_changes_nothing(answers: Answers) -> None:
    before = await answers.store.read(lambda facts: facts.last_change())
    for change in (
        lambda records: records.revoke_key("aaaaaaaaaaaa"),
        lambda records: records.set_miner_state(MIN[:-1] + "x", FLAGGED),
        lambda records: records.set_miner_machine(MIN[:-1] + "x", Machine(1, 2, 3)),
        lambda records: records.set_password(ENT[:-1] + "x", "$argon2id$x"),
    ):

        def both(records: store_module.Records, change: Callable[[store_module.Records], None] = change) -> None:
            records.set_account_state(ENT, SUSPENDED)
            change(records)

        with pytest.raises(Conflict, match="there is no"):
            await answers.store.write("ops", "typo", both)
    assert await answers.store.read(lambda facts: facts.last_change()) == before
    enterprise = await answers.store.read(lambda facts: facts.account(ENT))
    assert enterprise is not None
    assert enterprise.state == "active"


async def test_a_key_s_hash_is_completed_once(answers: Answers) -> None:
    """Whoever comes second, with a hash of his own, changes nothing."""
    key = KeyRecord("aaaaaaaaaaaa", ENT, "work", store_module.PENDING)
    await answers.store.write("x", "y", lambda records: records.add_key(key))
    for hash in ("$argon2id$first", "$argon2id$second"):
        await answers.store.write("x", "y", lambda records, hash=hash: records.complete_key("aaaaaaaaaaaa", hash))
    found = await answers.store.read(lambda facts: facts.key("aaaaaaaaaaaa"))
    assert found is not None
    assert found.hash == "$argon2id$first"


async def test_who_is_refused_since_a_moment(tmp_path: Path) -> None:
    """A key that was revoked in that very nanosecond counts, one a nanosecond before does not."""
    store = await Store.open(tmp_path / "db", now_ns=lambda: 1_000)
    await store.write("x", "y", lambda records: records.add_account(Account(ENT, public_id(1))))
    await store.write("x", "y", lambda records: records.add_key(KeyRecord("aaaaaaaaaaaa", ENT, "work", "$argon2id$x")))
    await store.write("x", "y", lambda records: records.revoke_key("aaaaaaaaaaaa"))
    assert await store.read(lambda facts: facts.refused(1_000)) == ((ENT,), ())
    assert await store.read(lambda facts: facts.refused(1_001)) == ((), ())
    found = await store.read(lambda facts: facts.key("aaaaaaaaaaaa"))
    assert found is not None
    assert found.is_revoked
    await store.close()


SIGNER = signing.Signer(bytes(32))
PUBLIC = public_id(8)
"""Of NOD."""


def head_of(rows: int, node: str = "") -> link.NodeHead:
    head = sign_head(node or PUBLIC, rows, bytes([rows]) * 32, rows, SIGNER.sign)
    return link.NodeHead(SIGNER.public_key, head)


async def test_the_newest_head_of_a_node_is_kept_and_one_of_each_day(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L-12: with the key that signed first, for as many days as are kept; and forgotten only on purpose."""
    monkeypatch.setattr("central_service.limits.HEAD_DAYS_KEPT", 3)
    days = [10, 10, 11, 14, 15]
    moments = iter([day * store_module.DAY_NS + 5 for day in days] + [10**18] * 20)
    store = await Store.open(tmp_path / "central.sqlite", now_ns=lambda: next(moments))
    assert await store.read(lambda facts: facts.kept(NOD)) is None
    for rows in range(1, 6):
        told = head_of(rows)
        await store.write(NOD, "told", lambda records, told=told: records.keep_head(NOD, told))
        assert await store.read(lambda facts: facts.kept(NOD)) == Known(SIGNER.public_key, told.head)
    of_all = await store.read(lambda facts: facts.trust())
    assert of_all.nodes == {PUBLIC: SIGNER.public_key}
    assert of_all.heads == (head_of(5).head.encode(),)
    of_one = await store.read(lambda facts: facts.trust(PUBLIC))
    assert of_one.heads == (head_of(4).head.encode(), head_of(5).head.encode()), "days 14 and 15; 11 is too long ago"
    assert (await store.read(lambda facts: facts.trust(public_id(0)))).nodes == {}
    actions = [change.action for change in await store.read(lambda facts: facts.changes(0))]
    assert actions.count(store_module.NODE_KEY_SEEN) == 1
    await store.write("ops", "its key was replaced", lambda records: records.forget_head(NOD))
    assert await store.read(lambda facts: facts.kept(NOD)) is None
    with pytest.raises(Conflict, match="no head"):
        await store.write("ops", "again", lambda records: records.forget_head(NOD))
    await store.close()


async def test_what_is_wrong_with_heads_is_counted_and_told_once(answers: Answers) -> None:
    store = answers.store
    await store.write(NOD, "told", lambda records: records.keep_head(NOD, head_of(1)))
    for code in ("head_lower", "head_lower", "head_forked"):
        found = Finding(code, "", f"{code} it is")
        await store.write(NOD, "told", lambda records, found=found: records.note_head_finding(NOD, found))
    noted = await store.read(lambda facts: facts.head_findings())
    assert [(each.node_id, each.code, each.count, each.detail) for each in noted] == [
        (NOD, "head_forked", 1, "head_forked it is"),
        (NOD, "head_lower", 2, "head_lower it is"),
    ]
    assert noted[1].first_ns < noted[1].last_ns
    actions = [change.action for change in await store.read(lambda facts: facts.changes(0))]
    assert actions.count(store_module.HEAD_FINDING) == 2
    await store.write("ops", "looked at", lambda records: records.forget_head(NOD))
    assert await store.read(lambda facts: facts.head_findings()) == []


async def test_losses_of_a_node_are_kept_once_and_outlive_its_heads(answers: Answers) -> None:
    store = answers.store
    loss = sign_loss(Loss(PUBLIC, 1, SPOOL, 1, 0, b"", "", "why", "who", 5, b""), SIGNER.sign)
    for _ in range(2):
        told = head_of(2)
        told = link.NodeHead(told.public_key, told.head, (loss,))
        await store.write(NOD, "told", lambda records, told=told: records.keep_head(NOD, told))
    assert await store.read(lambda facts: facts.losses(NOD)) == [loss]
    assert (await store.read(lambda facts: facts.trust())).losses == (loss.encode(),)
    await store.write("ops", "key", lambda records: records.forget_head(NOD))
    assert await store.read(lambda facts: facts.losses(NOD)) == [loss]


async def test_a_database_without_heads_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(store_module, "MIGRATIONS", MIGRATIONS[:-2])
        await (await Store.open(tmp_path / "db")).close()
    account = (NOD, PUBLIC, "", "", "active", "", 0, 0, 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as old:
        columns = "id, public_id, name, address, state, allowed_tiers, deadline_ms, concurrency, created_ns"
        old.execute(f"INSERT INTO accounts ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", account)
    store = await Store.open(tmp_path / "db")
    await store.write(NOD, "told", lambda records: records.keep_head(NOD, head_of(1)))
    assert (await store.read(lambda facts: facts.trust())).nodes == {PUBLIC: SIGNER.public_key}
    await store.close()
