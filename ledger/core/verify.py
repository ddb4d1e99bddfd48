"""The auditor: do rows, batches and chain fit together? Pure: facts in, findings out (L-12, P-10).

It believes nothing that the ledger says about itself. The chain's events are the anchor; whoever calls must read them
from a chain endpoint he trusts, deep enough below its head.

    auditor = Auditor(keccak_256, chain_id=…, token=…)
    for row in rows:                auditor.add_row(row)            # by ingestion number
    for batch, row_ids in batches:  auditor.add_batch(batch, row_ids)
    for event in events:            auditor.add_event(event)
    report = auditor.finish()

What it finds:
- a row whose columns, forms, sums or hash do not hold, or that stands under another id; rows missing in the numbering;
  a row, an id or a hash twice;
- a batch whose rows do not give count, amount, XOR and Merkle root of the event; whose event is missing, or says
  something else; an event without batch; a batch id that does not follow from what the batch says;
- a row in a batch that it has no part in, twice in one or in two of one party, or from after the run;
- a beneficiary paid for a row whose payers were not all collected from;
- runs that do not follow each other, or that counted rows which are not there.

A row altered with its hash left alone is named itself. One altered with its hash made anew is named by its batches,
since XOR, root and (if amounts changed) amount no longer fit. Rows that no batch holds yet are bound to nothing on the
chain: they are counted as open.

Memory: about 300 bytes per row. Findings are bounded; the report says when there were more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Any, Final, NamedTuple, Protocol

from cgn_sdk.protocol.canonical import CanonicalError
from cgn_sdk.protocol.row import Finding, Keccak, row_hash, verify_row
from cgn_sdk.protocol.settlement import Commitment, batch_id_of, commit, entity_on_chain

from ledger.core.batch import BatchRecord, SettledEvent
from ledger.core.entries import PAYERS, entries_of

MAX_FINDINGS: Final = 10_000
"""A ledger that is wrong throughout need not be told row by row."""

_ENTRY: Final = Struct(">IQ?")
"""Party number, amount, whether a batch holds it."""


class AuditRow(Protocol):
    """What is looked at of a row; `ledger.port.StoredRow` has it, and so has a row of the public API."""

    @property
    def ingest(self) -> int: ...
    @property
    def row_id(self) -> str: ...
    @property
    def row_hash(self) -> bytes: ...
    @property
    def public(self) -> Mapping[str, Any]: ...


class _Seen(NamedTuple):
    """One sound row, in little memory."""

    ingest: int
    row_hash: bytes
    entries: bytearray
    """Packed `_ENTRY`s."""


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict. `sound` only if nothing at all was found."""

    findings: tuple[Finding, ...]
    more_findings: int
    rows: int
    batches: int
    events: int
    collected_nano_cpu: int
    paid_nano_cpu: int
    open_entries: int
    """Parts of rows that no batch holds yet: pending or carried."""

    @property
    def sound(self) -> bool:
        return not self.findings


class Auditor:
    """See the module. Rows are added first, then batches and events in any order, then `finish`, once."""

    def __init__(self, keccak: Keccak, *, chain_id: int, token: str) -> None:
        self._keccak = keccak
        self._chain_id = chain_id
        self._token = token
        self._findings: list[Finding] = []
        self._more = 0
        self._rows: dict[bytes, _Seen] = {}
        self._bad_rows: set[bytes] = set()
        self._hashes: set[bytes] = set()
        self._parties: dict[tuple[str, str], int] = {}
        self._payers: set[int] = set()
        self._batches: dict[bytes, tuple[BatchRecord, Commitment | None]] = {}
        self._events: dict[bytes, SettledEvent] = {}
        self._last_ingest = 0
        self._count = 0
        self._collected = self._paid = 0

    def add_row(self, row: AuditRow) -> None:
        """Judges one row by itself, and remembers what its batches need. Rows come by ingestion number."""
        where = f"row {row.row_id}"
        self._count += 1
        if row.ingest != self._last_ingest + 1:
            missing = f"{self._last_ingest + 1} to {row.ingest - 1}"
            problem = f"rows {missing} are missing" if row.ingest > self._last_ingest else "comes out of order or again"
            self._find("ingest", where, f"number {row.ingest}: {problem}")
        self._last_ingest = max(self._last_ingest, row.ingest)
        key = _row_key(row.row_id)
        if key in self._rows or key in self._bad_rows:
            self._find("row_twice", where, "stands in the ledger twice")
            return
        computed = self._computed_hash(row)
        findings = self._row_findings(row, computed)
        for code, column, detail in findings:
            self._find(code, f"{where}, {column}", detail)
        packed = bytearray()
        if not computed:  # no canonical form: no batch can hold it
            self._bad_rows.add(key)
            return
        try:
            for role, public_id, amount, _ in entries_of(row.public):
                packed += _ENTRY.pack(self._party(role, public_id), amount, False)
        except (KeyError, TypeError, ValueError, StructError):  # its form was found wrong above
            self._bad_rows.add(key)
            return
        self._rows[key] = _Seen(row.ingest, computed, packed)

    def add_batch(self, batch: BatchRecord, row_ids: Iterable[str]) -> None:
        """Judges a batch and the rows that are marked as settled by it."""
        where = f"batch {batch.batch_id.hex()}"
        if batch.batch_id in self._batches:
            self._find("batch_twice", where, "stands in the ledger twice")
            return
        if (batch.chain_id, batch.token) != (self._chain_id, self._token):
            self._find("batch_chain", where, f"is of contract {batch.token} on chain {batch.chain_id}")
        try:
            wanted = batch_id_of(batch.settlement_id(self._keccak), batch.public_id, batch.role, self._keccak)
        except ValueError as error:
            self._find("batch_malformed", where, str(error))
        else:
            if wanted != batch.batch_id:
                self._find(
                    "batch_id", where, f"does not follow from what it says of its run: that gives {wanted.hex()}"
                )
        hashes, amount = self._members(batch, where, row_ids)
        commitment = commit(hashes, amount, self._keccak) if hashes else None
        self._batches[batch.batch_id] = (batch, commitment)
        if batch.role in PAYERS:
            self._collected += batch.amount_nano_cpu
        else:
            self._paid += batch.amount_nano_cpu

    def add_event(self, event: SettledEvent) -> None:
        """Takes one event of the contract."""
        if (event.chain_id, event.token) != (self._chain_id, self._token):
            self._find("event_chain", f"transaction {event.tx_id}", f"is of {event.token} on chain {event.chain_id}")
            return
        batch_id = event.batch_id(self._keccak)
        if batch_id in self._events:
            self._find("event_twice", f"batch {batch_id.hex()}", f"was settled again in transaction {event.tx_id}")
            return
        self._events[batch_id] = event

    def finish(self) -> Report:
        """Compares batches with events, looks at the runs as a whole, and returns the verdict."""
        for batch_id in sorted(self._batches.keys() | self._events.keys()):
            self._compare(batch_id)
        self._check_runs()
        open_entries = self._check_payments()
        return Report(
            findings=tuple(self._findings),
            more_findings=self._more,
            rows=self._count,
            batches=len(self._batches),
            events=len(self._events),
            collected_nano_cpu=self._collected,
            paid_nano_cpu=self._paid,
            open_entries=open_entries,
        )

    # --- one row ---

    def _row_findings(self, row: AuditRow, computed: bytes) -> list[Finding]:
        public = dict(row.public)
        findings = verify_row(public)
        if public.get("row_id") != row.row_id:
            findings.append(Finding("row_id", "row_id", f"stands under the id {row.row_id}"))
        if computed != row.row_hash:
            detail = f"says {row.row_hash.hex()}, the columns hash to {computed.hex() or 'nothing'}"
            findings.append(Finding("row_hash", "row_hash", detail))
        if computed and computed in self._hashes:
            findings.append(Finding("row_twice", "row_hash", "another row has the same hash"))
        self._hashes.add(computed)
        return findings

    def _computed_hash(self, row: AuditRow) -> bytes:
        try:
            return row_hash(row.public, self._keccak)
        except CanonicalError:
            return b""

    def _party(self, role: str, public_id: str) -> int:
        number = self._parties.setdefault((role, public_id), len(self._parties))
        if role in PAYERS:
            self._payers.add(number)
        return number

    # --- one batch ---

    def _members(self, batch: BatchRecord, where: str, row_ids: Iterable[str]) -> tuple[list[bytes], int]:
        """Returns the hashes of the batch's rows, each once, and what the entity's parts of them sum to."""
        party = self._parties.get((batch.role, batch.public_id), -1)
        hashes: dict[bytes, None] = {}
        total = 0
        for row_id in row_ids:
            seen = self._rows.get(_row_key(row_id))
            if seen is None:
                self._find("row_missing", f"row {row_id}", f"is in {where} and not in the ledger, or not readable")
                continue
            if seen.ingest > batch.last_ingest:
                detail = f"has number {seen.ingest}; the run of {where} ends with {batch.last_ingest}"
                self._find("row_late", f"row {row_id}", detail)
            amount = self._take(seen, party)
            if amount is None:
                self._find("row_foreign", f"row {row_id}", f"is in {where}, whose entity has no part in it")
            elif amount < 0:
                self._find("row_settled_twice", f"row {row_id}", f"is settled for the {batch.role} more than once")
            else:
                total += amount
                hashes[seen.row_hash] = None
        return list(hashes), total

    @staticmethod
    def _take(seen: _Seen, party: int) -> int | None:
        """Marks the party's part of the row as held by a batch. Returns its amount, -1 if it was held already, None if
        there is no such part."""
        for offset in range(0, len(seen.entries), _ENTRY.size):
            number, amount, held = _ENTRY.unpack_from(seen.entries, offset)
            if number == party:
                _ENTRY.pack_into(seen.entries, offset, number, amount, True)
                return -1 if held else int(amount)
        return None

    def _compare(self, batch_id: bytes) -> None:
        where = f"batch {batch_id.hex()}"
        event = self._events.get(batch_id)
        if batch_id not in self._batches:
            assert event is not None
            detail = f"was settled for a {event.role_name} in transaction {event.tx_id} and is not in the ledger"
            self._find("batch_missing", where, detail)
            return
        batch, commitment = self._batches[batch_id]
        if event is None:
            if commitment is not None:  # without marked rows it is a run that is still under way
                self._find("event_missing", where, "its rows are marked as settled, and the chain knows nothing of it")
            return
        stated = {
            "entity": (_entity(batch.public_id), event.entity),
            "role": (batch.role, event.role_name),
            "account": (batch.account, event.account),
            "row_count": (batch.row_count, event.row_count),
            "amount": (batch.amount_nano_cpu, event.amount_nano_cpu),
            "xor": (batch.xor, event.xor),
            "merkle_root": (batch.merkle_root, event.merkle_root),
        }
        for name, (ours, chains) in stated.items():
            if ours != chains:
                self._find(f"batch_{name}", where, f"{name} is {_shown(ours)}, the chain says {_shown(chains)}")
        if commitment is None:
            self._find("rows_of_batch", where, f"no rows are marked as settled by it; the chain says {event.row_count}")
            return
        computed = {
            "row_count": (commitment.row_count, event.row_count),
            "amount": (commitment.amount_nano_cpu, event.amount_nano_cpu),
            "xor": (commitment.xor, event.xor),
            "merkle_root": (commitment.merkle_root, event.merkle_root),
        }
        for name, (rows_give, chains) in computed.items():
            if rows_give != chains:
                detail = f"its rows give the {name} {_shown(rows_give)}, the chain says {_shown(chains)}"
                self._find(f"rows_{name}", where, detail)

    # --- the whole ---

    def _check_runs(self) -> None:
        """Each run takes the rows after those of the run before, and they are all there."""
        runs: dict[bytes, BatchRecord] = {}
        for batch_id in sorted(self._batches):
            batch = self._batches[batch_id][0]
            runs.setdefault(batch.settlement_id(self._keccak), batch)
        followers: dict[bytes, bytes] = {}
        for settlement, batch in sorted(runs.items()):
            where = f"settlement {settlement.hex()}"
            if batch.last_ingest > self._last_ingest:
                detail = f"counted rows up to {batch.last_ingest}; the ledger ends with {self._last_ingest}"
                self._find("rows_missing", where, detail)
            if followers.setdefault(batch.previous, settlement) != settlement:
                self._find("run_order", where, f"follows {batch.previous.hex()}, and so does another one")
            before = runs.get(batch.previous)
            if before is not None and batch.first_ingest != before.last_ingest + 1:
                detail = f"begins with row {batch.first_ingest}; the one before ended with {before.last_ingest}"
                self._find("run_order", where, detail)
            # A run may settle nothing, and then has no batch: a `previous` that no batch tells of is no finding.

    def _check_payments(self) -> int:
        """Nobody is paid for a row before all its payers were collected from. Returns how many parts are open."""
        open_entries = 0
        for key, seen in self._rows.items():
            owed = paid = 0
            for number, amount, held in _ENTRY.iter_unpack(seen.entries):
                open_entries += not held
                if number in self._payers:
                    owed += amount and not held
                else:
                    paid += amount and held
            if owed and paid:
                self._find(
                    "paid_uncollected", f"row {key.hex()}", "is paid out of, and not all its payers have paid in"
                )
        return open_entries

    def _find(self, code: str, where: str, detail: str) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(code, where, detail))
        else:
            self._more += 1


def _row_key(row_id: str) -> bytes:
    try:
        return bytes.fromhex(row_id)
    except ValueError:
        return row_id.encode(errors="replace")


def _entity(public_id: str) -> bytes:
    try:
        return entity_on_chain(public_id)
    except ValueError:
        return b""


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
