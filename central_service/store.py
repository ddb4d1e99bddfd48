"""Central's database: SQLite, one file, one thread that owns it (C-5, its embedded form).

    await store.read(lambda facts: facts.account(id))
    await store.write(actor, why, lambda records: records.set_account_state(id, SUSPENDED))

Each `read` and each `write` is one transaction. Every change leaves a line in the audit log that says who, when and why
(C-10), and cannot be altered afterwards; whoever wants to know what changed (the links) reads that log from where it
stopped, so a change by another process or instance is noticed like one of our own.

Keys and passwords come in as hashes only.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.link import Machine, NodeHead, Policy
from cgn_sdk.protocol.loss import Loss
from cgn_sdk.protocol.receipt import Trust
from cgn_sdk.protocol.row import Finding

from central_service import limits
from central_service.core.decisions import make_policy
from central_service.core.heads import Known
from central_service.core.records import (
    ACCOUNT_STATES,
    MINER_STATES,
    PENDING,
    SCOPE_OF_KIND,
    Account,
    DService,
    KeyRecord,
    Miner,
    Node,
    Pricing,
)
from central_service.core.seed import Seed

T = TypeVar("T")

MIGRATIONS: Final = (
    """
    CREATE TABLE accounts (
        id TEXT PRIMARY KEY, public_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, address TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'banned')),
        parent_id TEXT REFERENCES accounts (id), allowed_tiers TEXT NOT NULL, deadline_ms INTEGER NOT NULL,
        concurrency INTEGER NOT NULL, password_hash TEXT CHECK (password_hash LIKE '$argon2id$%'),
        created_ns INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE miners (
        id TEXT PRIMARY KEY, public_id TEXT NOT NULL UNIQUE, contributor_id TEXT NOT NULL REFERENCES accounts (id),
        tier TEXT NOT NULL, enterprise_id TEXT REFERENCES accounts (id),
        state TEXT NOT NULL CHECK (state IN ('active', 'flagged')), created_ns INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX miners_of_contributor ON miners (contributor_id);
    CREATE TABLE api_keys (
        key_id TEXT PRIMARY KEY, account_id TEXT NOT NULL REFERENCES accounts (id), scope TEXT NOT NULL,
        hash TEXT NOT NULL CHECK (hash LIKE '$argon2id$%'), name TEXT NOT NULL, is_revoked INTEGER NOT NULL,
        miner_id TEXT REFERENCES miners (id), created_ns INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX api_keys_of_account ON api_keys (account_id);
    CREATE TABLE nodes (
        id TEXT PRIMARY KEY REFERENCES accounts (id), operator_id TEXT NOT NULL REFERENCES accounts (id),
        url TEXT NOT NULL, fingerprint TEXT NOT NULL, geolocation TEXT NOT NULL
    ) STRICT;
    CREATE TABLE dservices (
        name TEXT PRIMARY KEY, version TEXT NOT NULL, route TEXT NOT NULL UNIQUE,
        developer_id TEXT NOT NULL REFERENCES accounts (id), contributor_ppm INTEGER NOT NULL,
        developer_ppm INTEGER NOT NULL, allowed_tiers TEXT NOT NULL, image TEXT NOT NULL, egress TEXT NOT NULL,
        CHECK (contributor_ppm >= 0 AND developer_ppm >= 0 AND contributor_ppm + developer_ppm <= 1000000)
    ) STRICT;
    CREATE TABLE pricing (
        one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, network_id TEXT NOT NULL,
        kmips_hour_nano_eur INTEGER NOT NULL, tflop_hour_nano_eur INTEGER NOT NULL, gigabyte_nano_eur INTEGER NOT NULL,
        memory_gib_hour_nano_eur INTEGER NOT NULL, tier_factor_ppm TEXT NOT NULL,
        exchange_rate_nano_eur_per_cpu INTEGER NOT NULL CHECK (exchange_rate_nano_eur_per_cpu > 0)
    ) STRICT;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
        subject TEXT NOT NULL, why TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_of_subject ON audit (subject);
    CREATE TRIGGER audit_is_not_altered BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log grows only'); END;
    CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log grows only'); END;
    """,
    """
    ALTER TABLE accounts ADD COLUMN redact TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE miners ADD COLUMN machine_threads INTEGER;
    ALTER TABLE miners ADD COLUMN machine_kmips_per_thread_milli INTEGER;
    ALTER TABLE miners ADD COLUMN machine_memory_bytes INTEGER;
    ALTER TABLE dservices ADD COLUMN cpus_milli INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE node_keys (
        node_id TEXT PRIMARY KEY REFERENCES accounts (id), public_key BLOB NOT NULL, since_ns INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE node_heads (
        node_id TEXT NOT NULL REFERENCES accounts (id), day INTEGER NOT NULL, head BLOB NOT NULL,
        PRIMARY KEY (node_id, day)
    ) STRICT;
    CREATE TABLE node_losses (
        node_id TEXT NOT NULL REFERENCES accounts (id), loss BLOB NOT NULL, PRIMARY KEY (node_id, loss)
    ) STRICT;
    CREATE TABLE node_findings (
        node_id TEXT NOT NULL REFERENCES accounts (id), code TEXT NOT NULL, detail TEXT NOT NULL,
        first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (node_id, code)
    ) STRICT;
    """,
    """
    ALTER TABLE audit ADD COLUMN detail TEXT NOT NULL DEFAULT '';
    """,
)
"""Each entry takes the database one version further (`PRAGMA user_version`); one that has shipped is never edited."""

ACCOUNT_CHANGED: Final = "account.state"
MINER_CHANGED: Final = "miner.state"
KEY_REVOKED: Final = "key.revoked"
POLICY_CHANGED: Final = "policy.changed"
NODES_CHANGED: Final = "node.changed"
HEAD_FINDING: Final = "node.head_finding"
HEAD_FORGOTTEN: Final = "node.head_forgotten"
NODE_KEY_SEEN: Final = "node.key_seen"

DAY_NS: Final = 86_400 * 10**9


class Conflict(Exception):
    """The change contradicts what is stored; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the audit log."""

    id: int
    time_ns: int
    actor: str
    action: str
    subject: str
    why: str
    detail: str = ""
    """What it was changed to, such as the new state."""


@dataclass(frozen=True, slots=True)
class HeadFinding:
    """What was wrong with heads that a node has told."""

    node_id: str
    code: str
    detail: str
    """Of the last one."""
    first_ns: int
    last_ns: int
    count: int


class Facts:
    """What can be read, inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _row(self, query: str, *arguments: Any) -> Any:
        """The first row as a tuple, or None."""
        return self._connection.execute(query, arguments).fetchone()

    def account(self, id: str) -> Account | None:
        return _account(self._row(f"SELECT {_ACCOUNT_COLUMNS} FROM accounts WHERE id = ?", id))  # noqa: S608

    def accounts_by_public_id(self, public_ids: Iterable[str]) -> list[Account]:
        """Those of the accounts that exist, in the order asked for."""
        query = f"SELECT {_ACCOUNT_COLUMNS} FROM accounts WHERE public_id = ?"  # noqa: S608
        found = (_account(self._row(query, public_id)) for public_id in public_ids)
        return [account for account in found if account is not None]

    def key(self, key_id: str) -> KeyRecord | None:
        row = self._row(
            "SELECT key_id, account_id, scope, hash, name, is_revoked, miner_id FROM api_keys WHERE key_id = ?", key_id
        )
        if not row:
            return None
        key_id, account_id, scope, hash, name, is_revoked, miner_id = row
        return KeyRecord(key_id, account_id, scope, hash, name, bool(is_revoked), miner_id or "")

    def miner(self, id: str) -> Miner | None:
        row = self._row(
            "SELECT id, public_id, contributor_id, tier, enterprise_id, state, machine_threads,"
            " machine_kmips_per_thread_milli, machine_memory_bytes FROM miners WHERE id = ?",
            id,
        )
        if not row:
            return None
        id, public_id, contributor_id, tier, enterprise_id, state, threads, kmips, memory = row
        machine = Machine(threads, kmips, memory) if threads is not None else None
        return Miner(id, public_id, contributor_id, tier, enterprise_id or "", state, machine)

    def nodes(self) -> list[Node]:
        """Nodes to dial: those whose account is active."""
        rows = self._connection.execute(
            "SELECT n.id, operator_id, url, fingerprint, geolocation FROM nodes n JOIN accounts a ON a.id = n.id"
            " WHERE a.state = 'active' ORDER BY n.id"
        )
        return [Node(*row) for row in rows]

    def password_hash(self, account_id: str) -> str | None:
        row = self._row("SELECT password_hash FROM accounts WHERE id = ?", account_id)
        return row[0] if row else None

    def dservices(self) -> list[tuple[DService, Account]]:
        """Each with its developer."""
        rows: list[Any] = self._connection.execute(
            "SELECT name, version, route, developer_id, contributor_ppm, developer_ppm, allowed_tiers, image, egress,"
            " cpus_milli FROM dservices ORDER BY name"
        ).fetchall()
        found = []
        for name, version, route, developer_id, contributor, share, tiers, image, egress, cpus_milli in rows:
            developer = self.account(developer_id)
            assert developer is not None, "a foreign key holds it"
            each = DService(
                name, version, route, developer_id, contributor, share, _words(tiers), image, _words(egress), cpus_milli
            )
            found.append((each, developer))
        return found

    def policy(self) -> Policy | None:
        """What nodes are told; None before the network was set up."""
        row = self._row(
            "SELECT version, network_id, kmips_hour_nano_eur, tflop_hour_nano_eur, gigabyte_nano_eur,"
            " memory_gib_hour_nano_eur, tier_factor_ppm, exchange_rate_nano_eur_per_cpu FROM pricing"
        )
        if row is None:
            return None
        version, network_id, kmips, tflop, gigabyte, memory, factors, rate = row
        pricing = Pricing(network_id, kmips, tflop, gigabyte, memory, json.loads(factors), rate)
        return make_policy(version, pricing, self.dservices())

    def last_change(self) -> int:
        return int(self._row("SELECT coalesce(max(id), 0) FROM audit")[0])

    def changes(self, after: int, limit: int = limits.CHANGES_MAX) -> list[Change]:
        """Lines of the audit log behind `after`, oldest first."""
        rows = self._connection.execute(
            "SELECT id, time_ns, actor, action, subject, why, detail FROM audit WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [Change(*row) for row in rows]

    def refused(self, since_ns: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Accounts that are not active or had a key revoked since then, and miners that are not active."""
        accounts = self._connection.execute(
            "SELECT id FROM accounts WHERE state <> 'active' UNION SELECT account_id FROM api_keys"
            " JOIN audit ON subject = key_id WHERE action = ? AND time_ns >= ? ORDER BY 1",
            (KEY_REVOKED, since_ns),
        )
        miners = self._connection.execute("SELECT id FROM miners WHERE state <> 'active' ORDER BY id")
        return tuple(row[0] for row in accounts), tuple(row[0] for row in miners)

    def kept(self, node_id: str) -> Known | None:
        """The newest head that this node has told, and the key that signs its heads."""
        row = self._row(
            "SELECT public_key, head FROM node_keys JOIN node_heads USING (node_id) WHERE node_id = ?"
            " ORDER BY day DESC LIMIT 1",
            node_id,
        )
        return Known(row[0], Head.decode(row[1])) if row else None

    def losses(self, node_id: str) -> list[Loss]:
        """Those that the node has told, accepted by its operator."""
        rows = self._connection.execute("SELECT loss FROM node_losses WHERE node_id = ? ORDER BY loss", (node_id,))
        return [Loss.decode(row[0]) for row in rows]

    def head_findings(self) -> list[HeadFinding]:
        """What was wrong with heads that nodes have told."""
        rows = self._connection.execute(
            "SELECT node_id, code, detail, first_ns, last_ns, count FROM node_findings ORDER BY node_id, code"
        )
        return [HeadFinding(*row) for row in rows]

    def trust(self, public_id: str = "") -> Trust:
        """What anybody may know of nodes that have told a head: the keys that sign for them, their newest heads, and
        what was accepted as lost. Of one node: the newest head of each day that is kept."""
        of_one = "public_id = ?" if public_id else "? = ''"
        newest = (
            "1" if public_id else "day = (SELECT max(day) FROM node_heads AS other WHERE other.node_id = k.node_id)"
        )
        nodes = self._connection.execute(
            f"SELECT public_id, public_key, k.node_id FROM node_keys k JOIN accounts a ON a.id = k.node_id"  # noqa: S608
            f" WHERE {of_one} ORDER BY public_id",
            (public_id,),
        ).fetchall()
        heads: list[bytes] = []
        losses: list[bytes] = []
        for _, _, node_id in nodes:
            query = f"SELECT head FROM node_heads AS k WHERE node_id = ? AND {newest} ORDER BY day"  # noqa: S608
            heads += [row[0] for row in self._connection.execute(query, (node_id,))]
            losses += [loss.encode() for loss in self.losses(node_id)]
        return Trust({row[0]: row[1] for row in nodes}, heads=tuple(heads), losses=tuple(losses))

    def pending_key_count(self) -> int:
        """Keys that were stored before they were hashed."""
        return int(self._row("SELECT count(*) FROM api_keys WHERE hash = ?", PENDING)[0])

    def schema_version(self) -> int:
        return int(self._row("PRAGMA user_version")[0])


class Records(Facts):
    """What can be changed, inside one transaction; each change is in the audit log with the actor and the reason."""

    def __init__(self, connection: sqlite3.Connection, actor: str, why: str, time_ns: int) -> None:
        super().__init__(connection)
        self._actor, self._why, self._time_ns = actor, why, time_ns

    def _audit(self, action: str, subject: str, detail: str = "") -> None:
        self._connection.execute(
            "INSERT INTO audit (time_ns, actor, action, subject, why, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (self._time_ns, self._actor, action, subject, self._why, detail),
        )

    def _insert(self, table: str, **values: Any) -> None:
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        try:
            self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))  # noqa: S608
        except sqlite3.IntegrityError as error:
            raise Conflict(f"{table}: {error}") from error

    def add_account(self, account: Account) -> None:
        self._insert(
            "accounts",
            id=account.id,
            public_id=account.public_id,
            name=account.name,
            address=account.address,
            state=account.state,
            parent_id=account.parent_id or None,
            allowed_tiers=_joined(account.allowed_tiers),
            deadline_ms=account.deadline_ms,
            concurrency=account.concurrency,
            redact=_joined(account.redact),
            created_ns=self._time_ns,
        )
        self._audit("account.created", account.id)

    def set_account_state(self, account_id: str, state: str) -> None:
        assert state in ACCOUNT_STATES
        self._set_state("accounts", account_id, state)
        self._audit(ACCOUNT_CHANGED, account_id, state)
        if account_id.startswith("nod_"):
            self._audit(NODES_CHANGED, account_id)

    def set_miner_state(self, miner_id: str, state: str) -> None:
        assert state in MINER_STATES
        self._set_state("miners", miner_id, state)
        self._audit(MINER_CHANGED, miner_id, state)

    def _set_state(self, table: str, id: str, state: str) -> None:
        changed = self._connection.execute(f"UPDATE {table} SET state = ? WHERE id = ?", (state, id))  # noqa: S608
        if changed.rowcount != 1:
            raise Conflict(f"there is no {id}")

    def set_password(self, account_id: str, password_hash: str) -> None:
        changed = self._connection.execute(
            "UPDATE accounts SET password_hash = ? WHERE id = ?", (password_hash, account_id)
        )
        if changed.rowcount != 1:
            raise Conflict(f"there is no {account_id}")
        self._audit("password.set", account_id)

    def add_key(self, key: KeyRecord) -> None:
        self._insert(
            "api_keys",
            key_id=key.key_id,
            account_id=key.account_id,
            scope=key.scope,
            hash=key.hash,
            name=key.name,
            is_revoked=int(key.is_revoked),
            miner_id=key.miner_id or None,
            created_ns=self._time_ns,
        )
        self._audit("key.created", key.key_id)

    def complete_key(self, key_id: str, hash: str) -> None:
        """Puts the hash where it was PENDING, and nowhere else."""
        self._connection.execute("UPDATE api_keys SET hash = ? WHERE key_id = ? AND hash = ?", (hash, key_id, PENDING))

    def revoke_key(self, key_id: str) -> None:
        changed = self._connection.execute("UPDATE api_keys SET is_revoked = 1 WHERE key_id = ?", (key_id,))
        if changed.rowcount != 1:
            raise Conflict(f"there is no key {key_id}")
        self._audit(KEY_REVOKED, key_id)

    def add_miner(self, miner: Miner) -> None:
        self._insert(
            "miners",
            id=miner.id,
            public_id=miner.public_id,
            contributor_id=miner.contributor_id,
            tier=miner.tier,
            enterprise_id=miner.enterprise_id or None,
            state=miner.state,
            created_ns=self._time_ns,
        )
        self._audit("miner.created", miner.id)
        if miner.machine is not None:
            self.set_miner_machine(miner.id, miner.machine)

    def set_miner_machine(self, miner_id: str, machine: Machine | None) -> None:
        """What the operators answer for that it runs on. Nodes hear of it when the miner dials again."""
        values = (None,) * 3 if machine is None else tuple(machine.to_params().values())
        changed = self._connection.execute(
            "UPDATE miners SET machine_threads = ?, machine_kmips_per_thread_milli = ?, machine_memory_bytes = ?"
            " WHERE id = ?",
            (*values, miner_id),
        )
        if changed.rowcount != 1:
            raise Conflict(f"there is no miner {miner_id}")
        self._audit("miner.machine", miner_id)

    def put_node(self, node: Node) -> None:
        """Registers the node, or changes where it is and what certificate it shows."""
        self._connection.execute("DELETE FROM nodes WHERE id = ?", (node.id,))
        self._insert(
            "nodes",
            id=node.id,
            operator_id=node.operator_id,
            url=node.url,
            fingerprint=node.fingerprint,
            geolocation=node.geolocation,
        )
        self._audit(NODES_CHANGED, node.id)

    def keep_head(self, node_id: str, told: NodeHead) -> None:
        """Keeps a head that was found right as the newest one of the node and of the day, and the losses beside it."""
        if self.kept(node_id) is None:
            self._connection.execute("DELETE FROM node_keys WHERE node_id = ?", (node_id,))
            self._insert("node_keys", node_id=node_id, public_key=told.public_key, since_ns=self._time_ns)
            self._audit(NODE_KEY_SEEN, node_id)
        day = self._time_ns // DAY_NS
        self._connection.execute(
            "INSERT INTO node_heads VALUES (?, ?, ?) ON CONFLICT (node_id, day) DO UPDATE SET head = excluded.head",
            (node_id, day, told.head.encode()),
        )
        oldest = day - limits.HEAD_DAYS_KEPT
        self._connection.execute("DELETE FROM node_heads WHERE node_id = ? AND day <= ?", (node_id, oldest))
        self._connection.executemany(
            "INSERT OR IGNORE INTO node_losses VALUES (?, ?)", [(node_id, loss.encode()) for loss in told.losses]
        )

    def note_head_finding(self, node_id: str, finding: Finding) -> None:
        """Writes down what is wrong with a head; in the audit log when it is the first of its kind since the last one
        was forgotten."""
        changed = self._connection.execute(
            "UPDATE node_findings SET last_ns = ?, count = count + 1, detail = ? WHERE node_id = ? AND code = ?",
            (self._time_ns, finding.detail, node_id, finding.code),
        )
        if not changed.rowcount:
            values = (node_id, finding.code, finding.detail, self._time_ns, self._time_ns, 1)
            self._connection.execute("INSERT INTO node_findings VALUES (?, ?, ?, ?, ?, ?)", values)
            self._audit(HEAD_FINDING, node_id)

    def forget_head(self, node_id: str) -> None:
        """The node's next head is taken whatever it says, by whatever key. What was accepted as lost stays."""
        if self.kept(node_id) is None:
            raise Conflict(f"no head of {node_id} is kept")
        for table in ("node_keys", "node_heads", "node_findings"):
            self._connection.execute(f"DELETE FROM {table} WHERE node_id = ?", (node_id,))  # noqa: S608
        self._audit(HEAD_FORGOTTEN, node_id)

    def put_dservice(self, dservice: DService) -> None:
        self._connection.execute("DELETE FROM dservices WHERE name = ?", (dservice.name,))
        self._insert(
            "dservices",
            name=dservice.name,
            version=dservice.version,
            route=dservice.route,
            developer_id=dservice.developer_id,
            contributor_ppm=dservice.contributor_ppm,
            developer_ppm=dservice.developer_ppm,
            allowed_tiers=_joined(dservice.allowed_tiers),
            image=dservice.image,
            egress=_joined(dservice.egress),
            cpus_milli=dservice.cpus_milli,
        )
        self._bump_policy()

    def set_pricing(self, pricing: Pricing) -> None:
        row = self._row("SELECT version FROM pricing")
        self._connection.execute("DELETE FROM pricing")
        self._insert(
            "pricing",
            one=1,
            version=row[0] if row else 0,
            network_id=pricing.network_id,
            kmips_hour_nano_eur=pricing.kmips_hour_nano_eur,
            tflop_hour_nano_eur=pricing.tflop_hour_nano_eur,
            gigabyte_nano_eur=pricing.gigabyte_nano_eur,
            memory_gib_hour_nano_eur=pricing.memory_gib_hour_nano_eur,
            tier_factor_ppm=json.dumps(pricing.tier_factor_ppm, sort_keys=True),
            exchange_rate_nano_eur_per_cpu=pricing.exchange_rate_nano_eur_per_cpu,
        )
        self._bump_policy()

    def _bump_policy(self) -> None:
        """The version grows with every change, so that no node goes back to an older policy."""
        self._connection.execute("UPDATE pricing SET version = version + 1")
        row = self._row("SELECT version FROM pricing")
        self._audit(POLICY_CHANGED, str(row[0]) if row else "0")

    def seed(self, seed: Seed, key_hashes: dict[str, str], password_hashes: dict[str, str]) -> None:
        """Everything in the seed, or nothing. Hashes are by key id and by account id."""
        for account in sorted(seed.accounts, key=lambda each: bool(each.parent_id)):
            self.add_account(account)
        for miner in seed.miners:
            self.add_miner(miner)
        for account_id, key in seed.keys:
            self.add_key(
                KeyRecord(key.key_id, account_id, SCOPE_OF_KIND[account_id[:3]], key_hashes[key.key_id], "seed")
            )
        for account_id, hash in password_hashes.items():
            self.set_password(account_id, hash)
        for node in seed.nodes:
            self.put_node(node)
        self.set_pricing(seed.pricing)
        for dservice in seed.dservices:
            self.put_dservice(dservice)


class Store:
    """The database and the thread that owns it. `Store.open(path)` makes or migrates it."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor, now_ns: Callable[[], int]) -> None:
        self._connection = connection
        self._thread = thread
        self._now_ns = now_ns

    @classmethod
    async def open(cls, path: Path, *, now_ns: Callable[[], int] = time.time_ns) -> "Store":
        thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        loop = asyncio.get_running_loop()
        try:
            connection = await loop.run_in_executor(thread, _open, path)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(connection, thread, now_ns)

    async def read(self, question: Callable[[Facts], T]) -> T:
        """What `question` finds, all of it from one moment."""

        def run() -> T:
            with _transaction(self._connection, "DEFERRED"):
                return question(Facts(self._connection))

        return await self._run(run)

    async def write(self, actor: str, why: str, change: Callable[[Records], T]) -> T:
        """Carries out `change` whole or not at all. It is on disk when this returns. Raises Conflict."""

        def run() -> T:
            with _transaction(self._connection, "IMMEDIATE"):
                return change(Records(self._connection, actor, why[: limits.WHY_CHARS_MAX], self._now_ns()))

        return await self._run(run)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        await self._run(self._connection.close)
        self._thread.shutdown(wait=True)


_ACCOUNT_COLUMNS = "id, public_id, name, address, state, parent_id, allowed_tiers, deadline_ms, concurrency, redact"


def _account(row: Any) -> Account | None:
    if not row:
        return None
    id, public_id, name, address, state, parent_id, tiers, deadline_ms, concurrency, redact = row
    return Account(
        id, public_id, name, address, state, parent_id or "", _words(tiers), deadline_ms, concurrency, _words(redact)
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _joined(words: Iterable[str]) -> str:
    return " ".join(words)


class _transaction:
    """BEGIN … COMMIT, or ROLLBACK when anything went wrong."""

    def __init__(self, connection: sqlite3.Connection, kind: str) -> None:
        self._connection, self._kind = connection, kind

    def __enter__(self) -> None:
        self._connection.execute(f"BEGIN {self._kind}")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}").close()
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    """Takes the database to the newest version, each step whole or not at all; two processes may try at once."""
    with closing(connection.cursor()) as cursor:
        while True:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                version = cursor.execute("PRAGMA user_version").fetchone()[0]
                if version > len(MIGRATIONS):
                    raise Conflict(
                        f"the database has version {version}; this program knows {len(MIGRATIONS)}: update it"
                    )
                if version == len(MIGRATIONS):
                    return
                for statement in _statements(MIGRATIONS[version]):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {version + 1}")
                cursor.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    cursor.execute("ROLLBACK")


def _statements(script: str) -> list[str]:
    """The script's statements. (`executescript` would commit before it begins.)"""
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            found.append(current)
            current = ""
    return [statement for statement in found if statement.strip()]
