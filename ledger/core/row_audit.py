"""What a row is judged by, row by row: the half of the auditor that runs in many processes (`ledger.core.verify`).

    slice = rules.audit(rows)

Pure. Millions of rows go through here, so what is the same for all rows of a batch is looked at once and kept.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from zlib import crc32

from cgn_sdk.protocol.receipt import ROW, VerifySignature
from cgn_sdk.protocol.row import Finding, Keccak, PublicFacts, RowError, Share, read_private, read_public

from ledger.core.entries import CARRIED, PAYERS, PENDING, Mark, refuse_mark

MAX_FINDINGS_OF_A_KIND: Final = 1_000
"""A ledger that is wrong throughout need not be told row by row, and one kind must not hide another."""

SHELVES: Final = 256
"""Parts in which leaves are sorted, by the first byte of the row's hash, and ids, by a checksum."""

LEAF_BYTES: Final = 36
"""Bytes of a leaf on its shelf: number of the batch, row hash."""
ID_BYTES: Final = 24
"""Bytes of an id on its shelf: row id, ingestion number."""
NO_MARK: Final = Mark(PENDING)

NEVER_LOST: Final = frozenset(
    {"ingest", "row_late", "row_node", "paid_uncollected", "payment_state", "node_signature", "node_unknown"}
)
"""What is found also of rows that are accepted as lost: none of it comes from bytes that cannot be read."""


class Part(NamedTuple):
    """What the store keeps of one party's part of a row: for its sums, and its payment state."""

    role: str
    public_id: str
    amount_nano_cpu: int
    amount_nano_eur: int
    mark: Mark = NO_MARK


class AuditRow(NamedTuple):
    """One row, as it lies in the store: nothing of it has been looked at."""

    ingest: int
    row_id: str
    row_hash: bytes
    public_json: bytes
    private_json: bytes
    parts: list[Part]
    node_signature: bytes = b""
    problems: tuple[Finding, ...] = ()
    """What the reader could not make sense of."""


class Findings:
    """Findings, bounded by kind."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.more = 0
        self._of_kind: Counter[str] = Counter()

    def add(self, code: str, where: str, detail: str) -> None:
        self._of_kind[code] += 1
        if self._of_kind[code] <= MAX_FINDINGS_OF_A_KIND:
            self.kept.append(Finding(code, where, detail))
        else:
            self.more += 1

    def extend(self, other: "Findings") -> None:
        for finding in other.kept:
            self.add(*finding)
        self.more += other.more


class Keys(NamedTuple):
    """Whose signatures count."""

    nodes: Mapping[str, bytes]
    """Public key by the node's public id."""
    verify_signature: VerifySignature


@dataclass(frozen=True, slots=True)
class KnownBatch:
    """What the rows of a batch are looked at with."""

    number: int
    batch_id: bytes
    role: str
    public_id: str
    last_ingest: int
    tx_id: str
    """Of its event; empty where the chain has none."""
    shelf: int
    """The first of the shelves its leaves go to."""


@dataclass(slots=True)
class Sum:
    """What rows add up to, for one batch."""

    rows: int = 0
    amount: int = 0
    xor: int = 0


@dataclass(slots=True)
class Slice:
    """What a run of rows comes to. Travels between processes."""

    first: int = 0
    last: int = 0
    rows: int = 0
    parts: int = 0
    marked: int = 0
    open_parts: int = 0
    unbound: int = 0
    """Rows that neither a batch on the chain, nor a head, nor a checked signature binds."""
    hashes: bytearray = field(default_factory=bytearray)
    """The rows' hashes, in order."""
    findings: Findings = field(default_factory=Findings)
    repeated: dict[tuple[str, str, str], list[object]] = field(default_factory=dict)
    """What is wrong alike with many rows of a batch: (code, batch or nothing, detail) -> [how many, first row]."""
    sums: dict[int, Sum] = field(default_factory=dict)
    leaves: list[bytearray] = field(default_factory=list)
    ids: list[bytearray] = field(default_factory=lambda: [bytearray() for _ in range(SHELVES)])


@dataclass(slots=True)
class _Held:
    """How one party's mark is to be taken, the same for all rows that have it."""

    settled: bool
    carried: bool
    bound: bool
    wrong: tuple[tuple[str, str, str], ...]
    last_ingest: int
    shelf: int = 0
    prefix: bytes = b""
    sum: Sum | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What rows are judged by: the batches and the keys that are trusted. Travels between processes."""

    keccak: Keccak
    batches: Mapping[bytes, KnownBatch]
    groups: int
    keys: Keys | None
    covered: int
    """Number of the last row that a trusted head is over."""
    node: str
    """Public id of the node whose ledger it is; empty where that is not looked at."""
    lost: tuple[tuple[int, int], ...] = ()
    """First and last of rows whose bytes are lost by their node's own word."""

    def audit(self, rows: Iterable[AuditRow]) -> Slice:
        """Judges a run of rows, in the order in which the store has them."""
        judging = _Judging(self)
        for row in rows:
            if any(first <= row.ingest <= last for first, last in self.lost):
                judging.add_lost(row)
            else:
                judging.add(row)
        return judging.slice


class _Judging:
    """One slice in the making."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._keccak = rules.keccak
        self.slice = Slice(leaves=[bytearray() for _ in range(SHELVES * rules.groups)])
        self._held: dict[tuple[str, str, Mark], _Held] = {}

    def add_lost(self, row: AuditRow) -> None:
        """A row of which it is accepted that it cannot be read. One that can is judged like any other."""
        found, self.slice.findings = self.slice.findings, Findings()
        self.add(row)
        of_row, self.slice.findings = self.slice.findings, found
        for finding in of_row.kept:
            if finding.code in NEVER_LOST:
                found.add(*finding)

    def add(self, row: AuditRow) -> None:
        out = self.slice
        where = f"row {row.row_id}"
        self._number(row, where)
        out.parts += len(row.parts)
        for finding in row.problems:
            out.findings.add(finding.code, where, finding.detail)
        computed = self._keccak(row.public_json)
        if computed != row.row_hash:
            detail = f"says {row.row_hash.hex() or 'nothing'}, the columns hash to {computed.hex()}"
            out.findings.add("row_hash", f"{where}, row_hash", detail)
        out.hashes += row.row_hash if len(row.row_hash) == len(computed) else computed
        try:
            facts = read_public(row.public_json)
        except RowError as error:
            self._refused(error, where)
            out.marked += _marked(row)
            return
        if self._rules.node and facts.node_id != self._rules.node:
            detail = f"is of node {facts.node_id}; the ledger is node {self._rules.node}'s"
            out.findings.add("row_node", where, detail)
        if facts.row_id != row.row_id:
            out.findings.add("row_id", where, f"stands under this id and is row {facts.row_id}")
        id_ = bytes.fromhex(facts.row_id)
        out.ids[crc32(id_) % SHELVES] += id_ + (row.ingest % 2**64).to_bytes(8, "big")
        try:
            read_private(row.private_json, facts.part_hashes, self._keccak)
        except RowError as error:
            self._refused(error, where)
        if not self._take_parts(row, facts, computed, where) and row.ingest > self._rules.covered:
            self._signature(row, facts, computed, where)

    def _signature(self, row: AuditRow, facts: PublicFacts, row_hash: bytes, where: str) -> None:
        """Of a row that nothing else binds."""
        keys = self._rules.keys
        if keys is None:
            self.slice.unbound += 1
            return
        key = keys.nodes.get(facts.node_id)
        if key is None:
            self.slice.findings.add("node_unknown", where, f"is of node {facts.node_id}, whose key is not trusted")
        elif not keys.verify_signature(key, ROW, row_hash, row.node_signature):
            detail = "is not settled, and its node's signature is not over it"
            self.slice.findings.add("node_signature", where, detail if row.node_signature else "is not signed")

    def _number(self, row: AuditRow, where: str) -> None:
        out = self.slice
        if out.rows == 0:
            out.first = row.ingest
        elif row.ingest != out.last + 1:
            out.findings.add("ingest", where, jump(out.last, row.ingest))
        if row.ingest < 1:
            out.findings.add("ingest", where, f"has the number {row.ingest}; rows are numbered from 1")
        out.last = row.ingest
        out.rows += 1

    def _refused(self, error: RowError, where: str) -> None:
        for code, column, detail in error.findings:
            self.slice.findings.add(code, f"{where}, {column}", detail)

    def _take_parts(self, row: AuditRow, facts: PublicFacts, row_hash: bytes, where: str) -> bool:
        """Looks at entries and payment states, and puts the row on its batches' shelves. Returns whether one of them is
        on the chain."""
        out = self.slice
        stored = {part[:2]: part for part in row.parts}
        number, first = int.from_bytes(row_hash, "big"), row_hash[0]
        owed = collected = paid = waiting = carried = bound = False
        wrong: list[Share] = []
        for share in facts.shares:
            role, public_id, amount, _ = share
            part = stored.get((role, public_id))
            if part is None or part[:4] != share:
                wrong.append(share)
                continue
            held = self._judged(role, public_id, part.mark)
            if held.wrong:
                self._repeat(held, where)
            if held.sum is not None:
                held.sum.rows += 1
                held.sum.amount += amount
                held.sum.xor ^= number
                out.leaves[held.shelf + first] += held.prefix + row_hash
                bound = bound or held.bound
                if row.ingest > held.last_ingest:
                    detail = (
                        f"has number {row.ingest}; the run that settled it for the {role} ends with {held.last_ingest}"
                    )
                    out.findings.add("row_late", where, detail)
            if not held.settled:
                out.open_parts += 1
            if role in PAYERS:
                owed = owed or (amount > 0 and not held.settled)
                collected = collected or (amount > 0 and held.settled)
            else:
                paid = paid or (amount > 0 and held.settled)
                carried = carried or (amount > 0 and held.carried)
                waiting = waiting or not (held.settled or held.carried)
        out.marked += _marked(row)
        if wrong or len(row.parts) != len(facts.shares):
            self._entries(row, facts, where)
        elif owed and (paid or carried):
            out.findings.add("paid_uncollected", where, "is paid out of, and not all its payers have paid in")
        elif collected and not owed and waiting:
            out.findings.add("payment_state", where, "is collected, and somebody is neither paid for it nor carried")
        return bound

    def _entries(self, row: AuditRow, facts: PublicFacts, where: str) -> None:
        kept = ", ".join(f"{p[0]} {p[1]} {p[2]}/{p[3]}" for p in sorted(p[:4] for p in row.parts)) or "nothing"
        right = ", ".join(f"{s[0]} {s[1]} {s[2]}/{s[3]}" for s in sorted(facts.shares)) or "nothing"
        self.slice.findings.add("entries", where, f"is summed up as {kept:.600}; its columns say {right:.600}")

    def _judged(self, role: str, public_id: str, mark: Mark) -> _Held:
        key = (role, public_id, mark)
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = self._judge(role, public_id, mark)
        return held

    def _judge(self, role: str, public_id: str, mark: Mark) -> _Held:
        subject = f"batch {mark.batch_id.hex()}" if mark.batch_id else ""
        wrong = []
        problem = refuse_mark(role, None, mark)
        if problem:
            wrong.append(("payment_state", subject, f"{role} {public_id}: {problem}"))
        if mark.tx_id and not mark.batch_id:
            wrong.append(("payment_tx", subject, f"{role} {public_id}: a transaction {mark.tx_id:.80} and no batch"))
        batch = self._rules.batches.get(mark.batch_id) if mark.batch_id else None
        if mark.batch_id and batch is None:
            wrong.append(("batch_unknown", subject, "is named by payment states, and is not in the ledger"))
        elif batch is not None and (batch.role, batch.public_id) != (role, public_id):
            wrong.append(("row_foreign", subject, f"is of {batch.role} {batch.public_id}, not of {role} {public_id}"))
            batch = None
        elif batch is not None and batch.tx_id and mark.tx_id != batch.tx_id:
            detail = (
                f"rows are marked with transaction {mark.tx_id or 'none'!s:.80}, the chain settled it in {batch.tx_id}"
            )
            wrong.append(("payment_tx", subject, detail))
        settled = batch is not None and not problem
        if batch is None or not settled:
            return _Held(False, mark.state == CARRIED, False, tuple(wrong), 0)
        return _Held(
            settled=True,
            carried=False,
            bound=bool(batch.tx_id),
            wrong=tuple(wrong),
            last_ingest=batch.last_ingest,
            shelf=batch.shelf,
            prefix=batch.number.to_bytes(4, "big"),
            sum=self.slice.sums.setdefault(batch.number, Sum()),
        )

    def _repeat(self, held: _Held, where: str) -> None:
        for key in held.wrong:
            seen = self.slice.repeated.get(key)
            if seen is not None:
                seen[0] += 1  # type: ignore[operator]
            elif len(self.slice.repeated) < MAX_FINDINGS_OF_A_KIND:
                self.slice.repeated[key] = [1, where]
            else:
                self.slice.findings.more += 1


def jump(last: int, ingest: int) -> str:
    """What is wrong with a number that does not follow the last one."""
    if ingest > last + 1:
        return f"number {ingest}: rows {last + 1} to {ingest - 1} are missing"
    return f"number {ingest}: comes out of order or again"


def _marked(row: AuditRow) -> int:
    """How many of the row's parts have a payment state."""
    return sum([part.mark is not NO_MARK for part in row.parts])
