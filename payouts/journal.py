"""The batch journal: what a payout run has decided and done, on disk before it is done (P-11).

One SQLite file, one writer (a lock file held for the life of the process; the kernel drops it when the process dies).
Each method that changes something is one transaction with `synchronous=FULL`: when it returns, a power failure keeps
it. The journal knows nothing about chains; it keeps bytes, nonces and states, and refuses any other order of steps.

A transaction (tx) of ours:

    planned -> signed -> sent -> mined -> final, failed     mined without effect: a new attempt may follow
                 ^                 |       |
                 \\---- orphaned <--+-------/                 the block has gone: the same bytes are valid again
                (planned, sent, signed) -> lost -> mined     somebody else used the nonce, or the key was replaced: a
                                                             new attempt may follow, unless it is mined after all

`signed` stores the raw bytes and their hash; what is broadcast is only ever read from here, so a second broadcast
is the same bytes. A replacement (higher fee) is one more version under the same nonce, stored before it is sent.

The driver passes `at`, which is called with the name of each point around a transition. Production passes nothing;
the crash tests kill the process there. `KILL_POINTS` lists every name.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from cgn_sdk.protocol.settlement import NO_SETTLEMENT, Commitment

from payouts.core.rollup import Batch, Fact, Held, Party, Plan

SCHEMA_VERSION: Final = 1

TX_STATES: Final = ("planned", "signed", "sent", "mined", "final", "orphaned", "failed", "lost")
_ALLOWED: Final = frozenset(
    {
        ("planned", "signed"),
        ("planned", "lost"),
        ("signed", "sent"),
        ("signed", "lost"),
        ("sent", "mined"),
        ("sent", "lost"),
        ("mined", "final"),
        ("mined", "failed"),
        ("mined", "orphaned"),
        ("final", "orphaned"),
        ("failed", "orphaned"),
        ("lost", "mined"),
        ("orphaned", "signed"),
    }
)
RUN_STATES: Final = ("reserving", "planned", "settled", "closed", "dropped")
"""`dropped`: somebody else has settled in its place; it counts no more, its transactions keep their nonces."""

KILL_POINTS: Final = tuple(
    f"{step}.{side}"
    for step in (
        "run.begin",
        "tx.planned",
        "tx.signed",
        "tx.broadcast",
        "tx.sent",
        "tx.mined",
        "tx.final",
        "run.planned",
        "store.batches",
        "run.settled",
        "store.marks",
        "run.closed",
    )
    for side in ("before", "after")
)
"""Every point around a step that must survive a crash."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS identity (
  one INTEGER PRIMARY KEY CHECK (one = 1), schema_version INTEGER NOT NULL, chain_id TEXT NOT NULL,
  token TEXT NOT NULL, account TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS runs (
  run_id INTEGER PRIMARY KEY, period TEXT NOT NULL, first_ingest INTEGER NOT NULL, last_ingest INTEGER NOT NULL,
  settlement_id BLOB NOT NULL, previous BLOB NOT NULL, state TEXT NOT NULL, opening TEXT NOT NULL,
  opening_block INTEGER NOT NULL, started_ns INTEGER NOT NULL,
  settles INTEGER NOT NULL DEFAULT 0, unresolved TEXT, plan_hash BLOB, carried_in TEXT, report TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS batches (
  batch_id BLOB PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES runs, place INTEGER NOT NULL, kind TEXT NOT NULL,
  role TEXT NOT NULL, entity TEXT NOT NULL, account TEXT NOT NULL, row_count INTEGER NOT NULL, amount TEXT NOT NULL,
  xor BLOB NOT NULL, merkle_root BLOB NOT NULL, row_hashes BLOB NOT NULL, row_ids BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS held (
  run_id INTEGER NOT NULL REFERENCES runs, kind TEXT NOT NULL, role TEXT NOT NULL, entity TEXT NOT NULL,
  amount TEXT NOT NULL, reason TEXT NOT NULL, row_ids BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS txs (
  tx INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES runs, step TEXT NOT NULL, attempt INTEGER NOT NULL,
  sender TEXT NOT NULL, recipient TEXT NOT NULL, data BLOB NOT NULL, gas INTEGER NOT NULL, state TEXT NOT NULL,
  nonce INTEGER, block_number INTEGER, block_hash BLOB, mined_hash BLOB, gas_used INTEGER, detail TEXT,
  UNIQUE (step, attempt), UNIQUE (sender, nonce)
) STRICT;
CREATE TABLE IF NOT EXISTS versions (
  tx INTEGER NOT NULL REFERENCES txs, version INTEGER NOT NULL, raw BLOB NOT NULL, hash BLOB NOT NULL UNIQUE,
  max_fee TEXT NOT NULL, priority_fee TEXT NOT NULL, PRIMARY KEY (tx, version)
) STRICT;
CREATE TABLE IF NOT EXISTS open_rows (
  row_id BLOB PRIMARY KEY, ingest INTEGER NOT NULL, parties TEXT NOT NULL
) STRICT;
"""


class JournalError(Exception):
    """The journal is in use, belongs to another chain, or was asked for a step out of order."""


class SignedVersion(NamedTuple):
    """Raw bytes ready to broadcast, their hash, and what they offer per gas (wei)."""

    raw: bytes
    tx_hash: bytes
    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class Tx:
    """One transaction of ours as the journal knows it."""

    tx: int
    run_id: int
    step: str
    """What it does, unique with `attempt`: `reserve:<role>:<id>:<n>`, `collect:<run>:<n>`, `pay:<run>:<n>`, …"""
    attempt: int
    sender: str
    recipient: str
    data: bytes
    gas: int
    state: str
    nonce: int | None
    block_number: int | None
    block_hash: bytes | None
    mined_hash: bytes | None
    gas_used: int | None
    detail: str | None
    versions: tuple[SignedVersion, ...]
    """In the order signed; the last offers the highest fee."""


@dataclass(frozen=True, slots=True)
class Run:
    """One payout run as the journal knows it."""

    run_id: int
    period: str
    first_ingest: int
    last_ingest: int
    settlement_id: bytes
    previous: bytes
    state: str
    opening: int
    """Balance of the payouts account before the first step, 1e-9 CPU."""
    opening_block: int
    started_ns: int
    settles: bool
    """Whether its plan has batches: only such a run is a settlement, and the `previous` of the next."""
    unresolved: frozenset[Party] | None
    plan_hash: bytes | None
    report: dict[str, object] | None


class AdoptedRun(NamedTuple):
    """A settlement that the journal did not make, or has forgotten, as the ledger tells it."""

    period: str
    first_ingest: int
    last_ingest: int
    settlement_id: bytes
    previous: bytes
    opening_block: int
    """A block before its first event."""
    collections: tuple[Batch, ...] = ()
    """With `payouts` empty for settlements of long ago."""
    payouts: tuple[Batch, ...] = ()


class OpenRow(NamedTuple):
    """A row of earlier runs with parties that are not settled."""

    row_id: str
    ingest: int
    parties: frozenset[Party]


def _silent(point: str) -> None:
    """Nobody watches."""


class Journal:
    """The journal file, held by this process alone. Use as a context manager, or call `close`."""

    def __init__(
        self,
        path: Path,
        *,
        chain_id: int,
        token: str,
        account: str,
        line: frozenset[str] = frozenset(),
        at: Callable[[str], None] = _silent,
    ):
        """Opens or makes the journal. Raises JournalError when another process holds it or it is of another chain or
        payouts account. `line`: accounts that the account goes on for; a journal of theirs becomes this one's."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.at = at
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise JournalError(f"{path} is held by another payout run; wait for it, or stop it") from error
        # used by one thread after the other (the run's coroutine, its worker), never by two at once
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        os.chmod(path, 0o600)
        self._db.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "fullfsync=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        try:
            self._identify(path, chain_id, token, account, line)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and lets the lock go."""
        self._db.close()
        os.close(self._lock)

    def _identify(self, path: Path, chain_id: int, token: str, account: str, line: frozenset[str]) -> None:
        with self._writing():
            for statement in _SCHEMA.split(";"):
                if statement.strip():
                    self._db.execute(statement)
            row = self._db.execute("SELECT * FROM identity").fetchone()
            if row is None:
                self._db.execute(
                    "INSERT INTO identity VALUES (1, ?, ?, ?, ?)", (SCHEMA_VERSION, str(chain_id), token, account)
                )
            elif row["account"] in line and tuple(row)[1:-1] == (SCHEMA_VERSION, str(chain_id), token):
                self._db.execute("UPDATE identity SET account = ?", (account,))
            elif tuple(row)[1:] != (SCHEMA_VERSION, str(chain_id), token, account):
                raise JournalError(
                    f"{path} is the journal of chain {row['chain_id']}, token {row['token']}, account {row['account']} "
                    f"(schema {row['schema_version']}), not of chain {chain_id}, token {token}, account {account}"
                )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _step(self, point: str) -> Iterator[None]:
        """One durable step, with a kill point on either side."""
        self.at(f"{point}.before")
        with self._writing():
            yield
        self.at(f"{point}.after")

    # --- runs ------------------------------------------------------------------------------------------------------

    def last_ingest(self) -> int:
        """Returns the last ingestion number that a run has taken; 0 before the first."""
        statement = "SELECT coalesce(max(last_ingest), 0) FROM runs WHERE state <> 'dropped'"
        return int(self._db.execute(statement).fetchone()[0])

    def unfinished(self) -> Run | None:
        """Returns the run that did not come to its end, if any. There is at most one."""
        row = self._db.execute("SELECT * FROM runs WHERE state NOT IN ('closed', 'dropped')").fetchone()
        return None if row is None else _run(row)

    def settling(self) -> list[Run]:
        """Returns the runs that are settlements, first to last."""
        rows = self._db.execute("SELECT * FROM runs WHERE settles AND state <> 'dropped' ORDER BY run_id")
        return [_run(row) for row in rows]

    def drop(self, run_id: int) -> None:
        """Drops a run and those after it: the ledger or the chain has others in their place."""
        with self._writing():
            for table in ("batches", "held"):
                self._db.execute(f"DELETE FROM {table} WHERE run_id >= ?", (run_id,))  # noqa: S608
            self._db.execute("UPDATE runs SET state = 'dropped' WHERE run_id >= ?", (run_id,))

    def run(self, run_id: int) -> Run:
        return _run(self._db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone())

    def not_buried(self, block_number: int) -> list[Run]:
        """Returns the ended runs that have a transaction in a later block, first to last."""
        rows = self._db.execute(
            "SELECT * FROM runs WHERE state = 'closed' AND run_id IN"
            " (SELECT run_id FROM txs WHERE block_number > ?) ORDER BY run_id",
            (block_number,),
        )
        return [_run(row) for row in rows]

    def begin(
        self,
        period: str,
        first_ingest: int,
        last_ingest: int,
        *,
        settlement_id: bytes,
        opening: int,
        opening_block: int,
        started_ns: int,
    ) -> Run:
        """Begins a run over the rows first..last (last < first: none new, only open ones)."""
        if self.unfinished() is not None:
            raise JournalError("a run is unfinished; it must be completed first")
        with self._step("run.begin"):
            cursor = self._db.execute(
                "INSERT INTO runs (period, first_ingest, last_ingest, settlement_id, previous, state, opening, "
                "opening_block, started_ns) VALUES (?, ?, ?, ?, ?, 'reserving', ?, ?, ?)",
                (
                    period,
                    first_ingest,
                    last_ingest,
                    settlement_id,
                    self.last_settlement_id(),
                    str(opening),
                    opening_block,
                    started_ns,
                ),
            )
        assert cursor.lastrowid is not None
        return self.run(cursor.lastrowid)

    def fix(self, run_id: int, plan: Plan, unresolved: Iterable[Party]) -> None:
        """Fixes the plan: from here on the run settles exactly these batches, whatever happens."""
        with self._step("run.planned"):
            self._advance(run_id, "reserving", "planned")
            self._db.execute(
                "UPDATE runs SET settles = ?, unresolved = ?, carried_in = ? WHERE run_id = ?",
                (bool(plan.collections or plan.payouts), json.dumps(sorted(unresolved)), str(plan.carried_in), run_id),
            )
            self._put_plan(run_id, plan)

    def cut(self, run_id: int, plan: Plan) -> None:
        """Puts what a plan came to in its place: its settlement was abandoned. The run still counts as one."""
        with self._step("run.planned"):
            if self.run(run_id).state != "planned":
                raise JournalError(f"run {run_id} is not planned")
            for table in ("batches", "held"):
                self._db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608
            self._put_plan(run_id, plan)

    def _put_plan(self, run_id: int, plan: Plan) -> None:
        self._db.execute("UPDATE runs SET plan_hash = ? WHERE run_id = ?", (plan.plan_hash, run_id))
        self._put_batches(run_id, plan.collections, plan.payouts)
        for kind, held in (("carried", plan.carried), ("pending", plan.pending)):
            self._db.executemany(
                "INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (run_id, kind, *item.party, str(item.amount), item.reason, _packed_ids(item.row_ids))
                    for item in held
                ],
            )

    def plan(self, run_id: int) -> Plan:
        """Returns the fixed plan of a run."""
        row = self._db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        return Plan(
            settlement_id=row["settlement_id"],
            collections=self._batches(run_id, "collect"),
            payouts=self._batches(run_id, "pay"),
            carried=self._held(run_id, "carried"),
            pending=self._held(run_id, "pending"),
            carried_in=int(row["carried_in"]),
            plan_hash=row["plan_hash"],
        )

    def settled(self, run_id: int) -> None:
        """Notes that every transaction of the run is final."""
        with self._step("run.settled"):
            self._advance(run_id, "planned", "settled")

    def close_run(self, run_id: int, left: Sequence[Fact], report: dict[str, object]) -> None:
        """Ends the run: `left` are the facts of the next one."""
        with self._step("run.closed"):
            self._advance(run_id, "settled", "closed")
            self._db.execute("UPDATE runs SET report = ? WHERE run_id = ?", (json.dumps(report), run_id))
            self._put_open_rows(
                (bytes.fromhex(fact.row_id), fact.ingest, [share.party for share in (*fact.pay_in, *fact.payouts)])
                for fact in left
            )

    def adopt(self, runs: Sequence[AdoptedRun], left: Sequence[OpenRow]) -> None:
        """Appends closed runs whose settlements the ledger holds, and takes `left` for the rows that are open."""
        with self._writing():
            for run in runs:
                cursor = self._db.execute(
                    "INSERT INTO runs (period, first_ingest, last_ingest, settlement_id, previous, state, opening, "
                    "opening_block, started_ns, settles, plan_hash, carried_in) "
                    "VALUES (?, ?, ?, ?, ?, 'closed', '0', ?, 0, 1, x'', '0')",
                    (run.period, run.first_ingest, run.last_ingest, run.settlement_id, run.previous, run.opening_block),
                )
                assert cursor.lastrowid is not None
                self._put_batches(cursor.lastrowid, run.collections, run.payouts)
            self._put_open_rows((bytes.fromhex(row.row_id), row.ingest, sorted(row.parties)) for row in left)

    def open_rows(self) -> list[OpenRow]:
        """Returns rows of earlier runs that are not settled for everybody, by ingestion number."""
        return [
            OpenRow(row["row_id"].hex(), row["ingest"], frozenset(Party(*pair) for pair in json.loads(row["parties"])))
            for row in self._db.execute("SELECT * FROM open_rows ORDER BY ingest")
        ]

    def last_settlement_id(self) -> bytes:
        """Returns the id of the newest batches: `previous` of the next ones."""
        row = self._db.execute(
            "SELECT settlement_id FROM runs WHERE settles AND state <> 'dropped' ORDER BY run_id DESC LIMIT 1"
        ).fetchone()
        return NO_SETTLEMENT if row is None else bytes(row[0])

    def _put_batches(self, run_id: int, collections: Sequence[Batch], payouts: Sequence[Batch]) -> None:
        for kind, batches in (("collect", collections), ("pay", payouts)):
            self._db.executemany(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_batch_values(batch, run_id, place, kind) for place, batch in enumerate(batches)],
            )

    def _put_open_rows(self, rows: Iterable[tuple[bytes, int, Sequence[Party]]]) -> None:
        self._db.execute("DELETE FROM open_rows")
        self._db.executemany(
            "INSERT INTO open_rows VALUES (?, ?, ?)",
            ((row_id, ingest, json.dumps(parties)) for row_id, ingest, parties in rows),
        )

    def last_settled_row(self, run_id: int | None = None) -> int:
        """Returns the last row that all settlements cover, or those before a run; 0 before the first.

        Runs that settled nothing are not known to the chain: the next settlement covers their rows too.
        """
        found = self._db.execute(
            "SELECT coalesce(max(last_ingest), 0) FROM runs"
            " WHERE settles AND state <> 'dropped' AND (? IS NULL OR run_id < ?)",
            (run_id, run_id),
        ).fetchone()
        return int(found[0])

    def _advance(self, run_id: int, before: str, after: str) -> None:
        changed = self._db.execute(
            "UPDATE runs SET state = ? WHERE run_id = ? AND state = ?", (after, run_id, before)
        ).rowcount
        if changed != 1:
            raise JournalError(f"run {run_id} is not {before}")

    def _batches(self, run_id: int, kind: str) -> tuple[Batch, ...]:
        rows = self._db.execute("SELECT * FROM batches WHERE run_id = ? AND kind = ? ORDER BY place", (run_id, kind))
        return tuple(_batch(row) for row in rows)

    def _held(self, run_id: int, kind: str) -> tuple[Held, ...]:
        rows = self._db.execute("SELECT * FROM held WHERE run_id = ? AND kind = ? ORDER BY rowid", (run_id, kind))
        return tuple(
            Held(Party(row["role"], row["entity"]), int(row["amount"]), _unpacked_ids(row["row_ids"]), row["reason"])
            for row in rows
        )

    # --- transactions ----------------------------------------------------------------------------------------------

    def tx(self, step: str) -> Tx | None:
        """Returns the newest attempt at a step, if there is one."""
        row = self._db.execute("SELECT * FROM txs WHERE step = ? ORDER BY attempt DESC LIMIT 1", (step,)).fetchone()
        return None if row is None else self._tx(row)

    def txs(self, run_id: int) -> list[Tx]:
        """Returns every transaction of a run, in the order planned."""
        return [self._tx(row) for row in self._db.execute("SELECT * FROM txs WHERE run_id = ? ORDER BY tx", (run_id,))]

    def plan_tx(self, run_id: int, step: str, *, sender: str, recipient: str, data: bytes, gas: int) -> Tx:
        """Plans a transaction, or a further attempt at a step whose last one failed or was lost."""
        last = self.tx(step)
        if last is not None and last.state not in ("failed", "lost"):
            raise JournalError(f"{step} is {last.state}; there is nothing to attempt again")
        with self._step("tx.planned"):
            self._db.execute(
                "INSERT INTO txs (run_id, step, attempt, sender, recipient, data, gas, state) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 'planned')",
                (run_id, step, last.attempt + 1 if last else 1, sender, recipient, data, gas),
            )
        planned = self.tx(step)
        assert planned is not None
        return planned

    def tx_number(self, number: int) -> Tx:
        """Returns the transaction with this number in the journal."""
        return self._tx(self._db.execute("SELECT * FROM txs WHERE tx = ?", (number,)).fetchone())

    def next_nonce(self, sender: str) -> int:
        """Returns the first nonce above all that the journal knows of the sender."""
        row = self._db.execute("SELECT coalesce(max(nonce) + 1, 0) FROM txs WHERE sender = ?", (sender,)).fetchone()
        return int(row[0])

    def txs_by_nonce(self, sender: str, first: int, end: int) -> dict[int, Tx]:
        """Returns the sender's transactions with nonces from `first` up to and without `end`, by nonce."""
        found = self._db.execute(
            "SELECT * FROM txs WHERE sender = ? AND nonce >= ? AND nonce < ? ORDER BY nonce", (sender, first, end)
        )
        return {row["nonce"]: self._tx(row) for row in found}

    def sign(self, tx: Tx, nonce: int, version: SignedVersion) -> Tx:
        """Takes the nonce and stores what was signed under it, in one transaction. No nonce is taken twice."""
        with self._step("tx.signed"):
            self._transit(tx, "signed", nonce=nonce)
            self._add_version(tx.tx, 0, version)
        return self._again(tx)

    def replace(self, tx: Tx, version: SignedVersion) -> Tx:
        """Stores a version of the same payload under the same nonce that offers a higher fee."""
        with self._step("tx.signed"):
            if tx.state != "sent":
                raise JournalError(f"{tx.step} is {tx.state}; only what was sent can be replaced")
            self._add_version(tx.tx, len(tx.versions), version)
        return self._again(tx)

    def sent(self, tx: Tx) -> Tx:
        """Notes that the bytes went out, whatever the endpoint answered."""
        return self._move(tx, "sent")

    def mined(self, tx: Tx, *, mined_hash: bytes, block_number: int, block_hash: bytes, gas_used: int) -> Tx:
        """Notes in which block the transaction stands."""
        return self._move(
            tx, "mined", mined_hash=mined_hash, block_number=block_number, block_hash=block_hash, gas_used=gas_used
        )

    def final(self, tx: Tx) -> Tx:
        """Notes that the transaction stands deep enough and did what it should."""
        return self._move(tx, "final")

    def failed(self, tx: Tx, detail: str) -> Tx:
        """Notes that the transaction stands deep enough and did nothing."""
        return self._move(tx, "failed", point="final", detail=detail)

    def lost(self, tx: Tx, detail: str) -> Tx:
        """Notes that another transaction has used the nonce, or that nobody has the key any more: a new attempt may
        follow."""
        return self._move(tx, "lost", point="final", detail=detail)

    def orphaned(self, tx: Tx) -> Tx:
        """Notes that the block is gone (reorganisation); the stored bytes are valid again."""
        with self._step("tx.signed"):
            self._transit(tx, "orphaned")
            self._transit(self._again(tx), "signed", block_number=None, block_hash=None, mined_hash=None, gas_used=None)
        return self._again(tx)

    def _move(self, tx: Tx, state: str, *, point: str = "", **columns: object) -> Tx:
        with self._step(f"tx.{point or state}"):
            self._transit(tx, state, **columns)
        return self._again(tx)

    def _transit(self, tx: Tx, state: str, **columns: object) -> None:
        if (tx.state, state) not in _ALLOWED:
            raise JournalError(f"{tx.step}: no way from {tx.state} to {state}")
        assignments = "".join(f", {name} = ?" for name in columns)  # names are ours, from the calls above
        changed = self._db.execute(
            f"UPDATE txs SET state = ?{assignments} WHERE tx = ? AND state = ?",  # noqa: S608
            (state, *columns.values(), tx.tx, tx.state),
        ).rowcount
        if changed != 1:
            raise JournalError(f"{tx.step} is not {tx.state}")

    def _add_version(self, tx: int, number: int, version: SignedVersion) -> None:
        self._db.execute(
            "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)",
            (tx, number, version.raw, version.tx_hash, str(version.max_fee), str(version.priority_fee)),
        )

    def _again(self, tx: Tx) -> Tx:
        return self.tx_number(tx.tx)

    def _tx(self, row: sqlite3.Row) -> Tx:
        versions = self._db.execute("SELECT * FROM versions WHERE tx = ? ORDER BY version", (row["tx"],))
        return Tx(
            **dict(row),
            versions=tuple(
                SignedVersion(v["raw"], v["hash"], int(v["max_fee"]), int(v["priority_fee"])) for v in versions
            ),
        )


def _run(row: sqlite3.Row) -> Run:
    unresolved = row["unresolved"]
    return Run(
        run_id=row["run_id"],
        period=row["period"],
        first_ingest=row["first_ingest"],
        last_ingest=row["last_ingest"],
        settlement_id=row["settlement_id"],
        previous=row["previous"],
        state=row["state"],
        opening=int(row["opening"]),
        opening_block=row["opening_block"],
        started_ns=row["started_ns"],
        settles=bool(row["settles"]),
        unresolved=None if unresolved is None else frozenset(Party(*pair) for pair in json.loads(unresolved)),
        plan_hash=row["plan_hash"],
        report=None if row["report"] is None else json.loads(row["report"]),
    )


def _batch_values(batch: Batch, run_id: int, place: int, kind: str) -> tuple[object, ...]:
    commitment = batch.commitment
    return (
        batch.batch_id,
        run_id,
        place,
        kind,
        *batch.party,
        batch.account,
        commitment.row_count,
        str(commitment.amount_nano_cpu),
        commitment.xor,
        commitment.merkle_root,
        b"".join(batch.row_hashes),
        _packed_ids(batch.row_ids),
    )


def _batch(row: sqlite3.Row) -> Batch:
    hashes = row["row_hashes"]
    return Batch(
        batch_id=row["batch_id"],
        party=Party(row["role"], row["entity"]),
        account=row["account"],
        commitment=Commitment(row["row_count"], int(row["amount"]), row["xor"], row["merkle_root"]),
        row_hashes=tuple(hashes[at : at + 32] for at in range(0, len(hashes), 32)),
        row_ids=_unpacked_ids(row["row_ids"]),
    )


def _packed_ids(row_ids: Iterable[str]) -> bytes:
    return b"".join(bytes.fromhex(row_id) for row_id in row_ids)


def _unpacked_ids(packed: bytes) -> tuple[str, ...]:
    return tuple(packed[at : at + 16].hex() for at in range(0, len(packed), 16))
