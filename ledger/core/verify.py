"""The auditor: do rows, batches and chain fit together? Pure: facts in, findings out (L-12, P-10).

It believes nothing that the ledger says about itself. The chain's events are the anchor; whoever calls must read them
from a chain endpoint he trusts, deep enough below its head. Rows that no batch holds yet are bound by their node's
signature and by signed heads, for who brings the node's key; else they are counted as unbound.

    auditor = Auditor(keccak_256, stored, events, chain_id=…, token=…, keys=…)
    for rows in ledger:      auditor.add(auditor.rules.audit(rows))     # the right side may run in other processes
    for group in leaves:     auditor.add_roots(roots(group, keccak_256))
    for ids in sorted_ids:   auditor.add_ids(ids)
    report = auditor.finish()

What it finds:
- a row whose bytes, forms, sums, hash or private parts do not hold, or that stands under another id; rows missing in
  the numbering; a row twice; a row of another node; entries, as the store keeps them for sums, that are not those of
  the row;
- a batch whose rows do not give count, amount, XOR and Merkle root of the event; whose event is missing, or says
  something else; an event without batch; a batch id that does not follow from what the batch says;
- a payment state that is none, or of another party's batch, or names another transaction than the chain; a row from
  after the run that settled it;
- a beneficiary paid or carried for a row whose payers were not all collected from, and one that is neither though they
  were;
- runs that do not follow each other, that counted rows which are not there, or that have ended and the chain does not
  know;
- a row that no batch on the chain holds and that its node has not signed; rows exchanged, moved, left out or cut off
  since a head was signed, by the heads in the ledger and by those that others have kept (`Published`);
- a loss that a node has signed for and the ledger does not tell of.

What a node itself has signed for as lost, with reason and name (`cgn_sdk.protocol.loss`), is no finding: the report
names it each time.

A row altered with its hash left alone is named itself. One altered with its hash made anew is named by its batches,
since XOR, root and (if amounts changed) amount no longer fit.

Memory does not grow with the rows: a `Slice` holds some thousands, and what must be sorted over all of them (leaves of
batches, row ids) leaves it as packed bytes on `shelves`, for the caller to keep on disk.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from cgn_sdk.protocol import merkle
from cgn_sdk.protocol.head import Head, head_findings
from cgn_sdk.protocol.loss import END, ROWS, Line, Loss, loss_findings
from cgn_sdk.protocol.row import Finding, Keccak
from cgn_sdk.protocol.settlement import NO_SETTLEMENT, Scope, batch_id_of, entity_on_chain, settlement_id

from ledger.core.batch import BatchRecord, BegunEvent, SettledEvent, SettlementRecord
from ledger.core.entries import PAYERS
from ledger.core.row_audit import ID_BYTES, LEAF_BYTES, SHELVES, Findings, Keys, KnownBatch, Rules, Slice, Sum, jump


class Seen(NamedTuple):
    """What a ledger came to, for who wants to see at the next audit that it still begins with that."""

    rows: int
    commitment: bytes
    """As of a head over so many rows (`cgn_sdk.protocol.head`)."""


class Stored(NamedTuple):
    """What a ledger holds beside its rows. Kept in memory: some hundred bytes per batch, run and head."""

    batches: list[BatchRecord]
    settlements: list[SettlementRecord]
    heads: list[Head]
    losses: list[Loss] = []  # noqa: RUF012 - never changed


class Published(NamedTuple):
    """What others have kept of what nodes signed (Central's trust document)."""

    heads: tuple[Head, ...] = ()
    losses: tuple[Loss, ...] = ()


NOTHING_PUBLISHED: Final = Published()


class _Post(NamedTuple):
    """A commitment that the rows must come to at a number."""

    number: int
    commitment: bytes
    where: str
    node_id: str


class Root(NamedTuple):
    """What the sorted leaves of a batch come to."""

    root: bytes
    repeats: tuple[bytes, ...]
    """Row hashes that stand in it more than once (the first few)."""


def roots(shelves: Iterable[bytes], keccak: Keccak) -> dict[int, Root]:
    """Returns the Merkle roots of all batches that have leaves on these shelves, which come in the order of their rows'
    hashes' first bytes."""
    trees: dict[int, merkle.Growing] = {}
    repeats: dict[int, list[bytes]] = {}
    for shelf in shelves:
        records = sorted([shelf[at : at + LEAF_BYTES] for at in range(0, len(shelf), LEAF_BYTES)])
        for number, leaves in _by_batch(records):
            kept = leaves
            if len(set(leaves)) != len(leaves):
                kept = list(dict.fromkeys(leaves))
                twice = [leaf for leaf, count in Counter(leaves).items() if count > 1]
                repeats.setdefault(number, []).extend(twice[:8])
            trees.setdefault(number, merkle.Growing(keccak)).extend(kept)
    return {number: Root(tree.root(), tuple(repeats.get(number, ()))) for number, tree in trees.items()}


def _by_batch(records: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """The leaves of sorted records, by the number of their batch."""
    start = 0
    while start < len(records):
        prefix = records[start][:4]
        end = start
        while end < len(records) and records[end].startswith(prefix):
            end += 1
        yield int.from_bytes(prefix, "big"), [record[4:] for record in records[start:end]]
        start = end


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
    unbound_rows: int
    """Rows that nothing outside the ledger binds: no batch on the chain, no signature that was checked."""
    heads: int
    covered: int
    """Number of the last row that a trusted head is over: none before it was left out, moved or exchanged."""
    newest_head: Head | None
    """The trusted head over the most rows."""
    keys: int
    """Of nodes, that were trusted."""
    losses: tuple[Loss, ...]
    """What was lost and is accepted, by the word of trusted nodes (of any, without keys)."""
    strangers: tuple[BegunEvent, ...]
    """Settlements that were begun on the chain and are no run's, as far as this ledger knows; they moved nothing."""
    seen: Seen
    """All rows, for the next audit."""

    @property
    def sound(self) -> bool:
        return not self.findings


class Auditor:
    """See the module. Slices come by their numbers; then roots and ids; then `finish`."""

    def __init__(
        self,
        keccak: Keccak,
        stored: Stored,
        events: Iterable[SettledEvent],
        *,
        chain_id: int,
        token: str,
        begun: Iterable[BegunEvent] = (),
        keys: Keys | None = None,
        seen: Seen | None = None,
        node: str = "",
        published: Published = NOTHING_PUBLISHED,
        groups: int = 1,
    ) -> None:
        """`begun`: what the chain tells of settlements beside `events`. `keys`: None when no node's key is at hand.
        `seen`: what an audit before came to. `node`: whose ledger it is. `groups`: in how many parts leaves are sorted,
        side by side."""
        self._keccak = keccak
        self._chain_id = chain_id
        self._token = token
        self._keys = keys
        self._findings = Findings()
        self._repeated: dict[tuple[str, str, str], list[object]] = {}
        self._events: dict[bytes, SettledEvent] = {}
        self._batches: dict[bytes, BatchRecord] = {}
        self._settlements = stored.settlements
        self._begun = list(begun)
        self._losses = self._accepted(stored.losses, published.losses)
        self._plain = Line((), keccak)
        self._lines = {
            node: Line((loss for loss in self._losses if loss.node_id == node), keccak)
            for node in {loss.node_id for loss in self._losses}
        }
        kept = [head for head in published.heads if head not in stored.heads]
        standing = [head for head in [*stored.heads, *kept] if not any(loss.explains(head) for loss in self._losses)]
        self._heads = sorted(standing, key=lambda head: head.last_ingest)
        self._posts = [_post(head, is_kept=head in kept) for head in self._heads]
        ends = [loss for loss in self._losses if loss.kind == END]
        if seen is not None and not any(loss.at < seen.rows <= loss.last for loss in ends):
            self._posts.append(_Post(seen.rows, seen.commitment, f"head {seen.rows}, seen by an earlier audit,", ""))
        self._posts.sort()
        self._sums: dict[int, Sum] = {}
        self._roots: dict[int, Root] = {}
        self._last = 0
        self._rows = self._open = self._unbound = 0
        for event in events:
            self._add_event(event)
        for batch in stored.batches:
            self._add_batch(batch)
        self._known = {
            batch_id: self._know(number, batch, groups)
            for number, (batch_id, batch) in enumerate(self._batches.items())
        }
        self._covered = self._check_heads()
        lost = tuple((loss.first, loss.last) for loss in self._losses if loss.kind == ROWS)
        self.rules = Rules(keccak, self._known, groups, keys, self._covered, node, lost)

    def _know(self, number: int, batch: BatchRecord, groups: int) -> KnownBatch:
        event = self._events.get(batch.batch_id)
        return KnownBatch(
            number=number,
            batch_id=batch.batch_id,
            role=batch.role,
            public_id=batch.public_id,
            last_ingest=batch.last_ingest,
            tx_id=event.tx_id if event else "",
            shelf=number % groups * SHELVES,
        )

    def add(self, part: Slice) -> None:
        """Takes what a run of rows came to. Slices come in the order of their numbers."""
        if part.rows:
            if part.first != self._last + 1 and part.first >= 1:
                self.find("ingest", f"row number {part.first}", jump(self._last, part.first))
            self._last = max(self._last, part.last)
        self._rows += part.rows
        self._open += part.open_parts
        self._unbound += part.unbound
        self._findings.extend(part.findings)
        self._walk(part.hashes)
        for key, (count, first) in part.repeated.items():
            seen = self._repeated.setdefault(key, [0, first])
            seen[0] += count  # type: ignore[operator]
        for number, more in part.sums.items():
            total = self._sums.setdefault(number, Sum())
            total.rows += more.rows
            total.amount += more.amount
            total.xor ^= more.xor

    def add_roots(self, found: Mapping[int, Root]) -> None:
        """Takes the roots of some batches."""
        self._roots.update(found)

    def add_ids(self, shelf: bytes) -> None:
        """Looks for a row id that stands on the shelf twice."""
        before = b""
        for record in sorted([shelf[at : at + ID_BYTES] for at in range(0, len(shelf), ID_BYTES)]):
            if record[:16] == before[:16]:
                numbers = f"{int.from_bytes(before[16:], 'big')} and {int.from_bytes(record[16:], 'big')}"
                self.find("row_twice", f"row {record[:16].hex()}", f"stands in the ledger twice, as number {numbers}")
            before = record

    def find(self, code: str, where: str, detail: str) -> None:
        """Adds what the caller found: where the store itself is not what it should be."""
        self._findings.add(code, where, detail)

    def finish(self) -> Report:
        """Compares batches with events, looks at the runs as a whole, and returns the verdict."""
        for (code, subject, detail), (count, first) in sorted(self._repeated.items()):
            where = subject or str(first)
            self.find(code, where, f"{detail} ({count} rows; {first})" if subject else f"{detail} ({count} rows so)")
        for batch_id in sorted(self._batches.keys() | self._events.keys()):
            self._compare(batch_id)
        self._check_runs()
        self._check_ends()
        amounts = Counter[bool]()
        for batch in self._batches.values():
            amounts[batch.role in PAYERS] += batch.amount_nano_cpu
        return Report(
            findings=tuple(self._findings.kept),
            more_findings=self._findings.more,
            rows=self._rows,
            batches=len(self._batches),
            events=len(self._events),
            collected_nano_cpu=amounts[True],
            paid_nano_cpu=amounts[False],
            open_entries=self._open,
            unbound_rows=self._unbound,
            heads=len(self._heads),
            covered=self._covered,
            newest_head=self._newest,
            seen=Seen(self._plain.rows, self._plain.commitment),
            losses=tuple(self._losses),
            keys=0 if self._keys is None else len(self._keys.nodes),
            strangers=self._strangers(),
        )

    def _strangers(self) -> tuple[BegunEvent, ...]:
        known = {record.settlement_id for record in self._settlements}
        known |= {batch.settlement_id(self._keccak) for batch in self._batches.values()}
        return tuple(item for item in self._begun if not item.has_moved and item.settlement_id not in known)

    # --- heads and losses ---

    def _accepted(self, stored: Iterable[Loss], published: Iterable[Loss]) -> list[Loss]:
        """The losses that count: those of trusted nodes, or of any when no key is at hand."""
        here = {loss: None for loss in stored}
        found: list[Loss] = []
        for loss in sorted({*here, *published}, key=lambda loss: (loss.at, loss.time_ns, loss.signature)):
            problems = [] if self._keys is None else loss_findings(loss, self._keys.nodes, self._keys.verify_signature)
            for code, where, detail in problems:
                if code != "loss_unknown":  # anybody may add one; it counts for nothing
                    self.find(code, where, detail)
            if not problems:
                found.append(loss)
                if loss not in here:
                    where = f"loss at {loss.at} of {loss.node_id}"
                    self.find("loss_missing", where, "was accepted by its node, and the ledger does not tell of it")
        return found

    def _check_heads(self) -> int:
        """Looks at the heads' signatures. Returns the last row that a trusted one is over."""
        self._newest: Head | None = None
        if self._keys is None:
            return 0
        for head in self._heads:
            findings = head_findings(head, self._keys.nodes, self._keys.verify_signature)
            for code, where, detail in findings:
                if code != "head_unknown":  # anybody may add one; it counts for nothing
                    self.find(code, where, detail)
            if not findings:
                self._newest = head
        return self._newest.last_ingest if self._newest else 0

    def _walk(self, hashes: bytes | bytearray) -> None:
        """Goes on over these rows' hashes, and compares with every head on the way."""
        at = 0
        while at < len(hashes):
            walked = self._plain.rows
            place = bisect_right(self._posts, walked, key=lambda post: post.number)
            stop = self._posts[place].number if place < len(self._posts) else walked + len(hashes)
            until = min(len(hashes), at + 32 * (stop - walked))
            piece = bytes(hashes[at:until])
            for line in (self._plain, *self._lines.values()):
                line.extend(piece[i : i + 32] for i in range(0, len(piece), 32))
            at = until
            for post in self._posts[place:]:
                if post.number != self._plain.rows:
                    break
                given = self._lines.get(post.node_id, self._plain).commitment
                if post.commitment != given:
                    detail = f"is over {post.commitment.hex()}; the rows give {given.hex()}"
                    self.find("head_rows", post.where, detail)

    def _check_ends(self) -> None:
        for post in self._posts:
            if post.number > self._plain.rows:
                detail = f"is over {post.number} rows; the ledger holds {self._plain.rows}"
                self.find("head_rows", post.where, detail)

    # --- batches and events ---

    def _add_batch(self, batch: BatchRecord) -> None:
        where = f"batch {batch.batch_id.hex()}"
        if batch.batch_id in self._batches:
            self.find("batch_twice", where, "stands in the ledger twice")
            return
        if (batch.chain_id, batch.token) != (self._chain_id, self._token):
            self.find("batch_chain", where, f"is of contract {batch.token} on chain {batch.chain_id}")
        try:
            wanted = batch_id_of(batch.settlement_id(self._keccak), batch.public_id, batch.role, self._keccak)
        except ValueError as error:
            self.find("batch_malformed", where, str(error))
        else:
            if wanted != batch.batch_id:
                self.find("batch_id", where, f"does not follow from what it says of its run: that gives {wanted.hex()}")
        self._batches[batch.batch_id] = batch

    def _add_event(self, event: SettledEvent) -> None:
        if (event.chain_id, event.token) != (self._chain_id, self._token):
            self.find("event_chain", f"transaction {event.tx_id}", f"is of {event.token} on chain {event.chain_id}")
            return
        batch_id = event.batch_id(self._keccak)
        if batch_id in self._events:
            self.find("event_twice", f"batch {batch_id.hex()}", f"was settled again in transaction {event.tx_id}")
            return
        self._events[batch_id] = event

    def _compare(self, batch_id: bytes) -> None:
        where = f"batch {batch_id.hex()}"
        event = self._events.get(batch_id)
        if batch_id not in self._batches:
            assert event is not None
            detail = f"was settled for a {event.role_name} in transaction {event.tx_id} and is not in the ledger"
            self.find("batch_missing", where, detail)
            return
        batch, number = self._batches[batch_id], self._known[batch_id].number
        total, root = self._sums.get(number), self._roots.get(number)
        if event is None:
            if total is not None:  # without marked rows it is a run that is still under way
                self.find("event_missing", where, "its rows are marked as settled, and the chain knows nothing of it")
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
                self.find(f"batch_{name}", where, f"{name} is {_shown(ours)}, the chain says {_shown(chains)}")
        if total is None or root is None:
            self.find("rows_of_batch", where, f"no rows are marked as settled by it; the chain says {event.row_count}")
            return
        if root.repeats:
            self.find("row_settled_twice", where, f"holds row hash {root.repeats[0].hex()} more than once")
        computed = {
            "row_count": (total.rows, event.row_count),
            "amount": (total.amount, event.amount_nano_cpu),
            "xor": (total.xor.to_bytes(32, "big"), event.xor),
            "merkle_root": (root.root, event.merkle_root),
        }
        for name, (rows_give, chains) in computed.items():
            if rows_give != chains:
                detail = f"its rows give the {name} {_shown(rows_give)}, the chain says {_shown(chains)}"
                self.find(f"rows_{name}", where, detail)

    def _check_runs(self) -> None:
        """Each run takes the rows after those of the run before, and they are all there."""
        runs: dict[bytes, SettlementRecord] = {}
        on_chain = {event.settlement_id for event in self._events.values()}
        on_chain |= {item.settlement_id for item in self._begun if item.is_abandoned}  # before it moved anything
        for record in self._settlements:
            where = f"settlement {record.settlement_id.hex()}"
            scope = Scope(record.chain_id, record.token, record.period)
            wanted = settlement_id(scope, record.first_ingest, record.last_ingest, record.previous, self._keccak)
            if wanted != record.settlement_id:
                self.find("settlement_id", where, f"does not follow from what it says: that gives {wanted.hex()}")
            if record.ended_ns and record.settlement_id not in on_chain:
                self.find(
                    "settlement_unknown", where, "has ended, as the ledger says, and the chain knows nothing of it"
                )
            runs[record.settlement_id] = record
        for batch_id, batch in sorted(self._batches.items()):
            of = batch.settlement(self._keccak)
            if of.settlement_id not in runs:
                detail = f"is of settlement {of.settlement_id.hex()}, which the ledger does not know"
                self.find("settlement_missing", f"batch {batch_id.hex()}", detail)
                runs[of.settlement_id] = of
        followers: dict[tuple[int, str, bytes], bytes] = {}
        for settlement, record in sorted(runs.items()):
            self._check_run(f"settlement {settlement.hex()}", record, runs)
            if followers.setdefault(record.place, settlement) != settlement:
                detail = f"follows {record.previous.hex()}, and so does another one"
                self.find("run_order", f"settlement {settlement.hex()}", detail)

    def _check_run(self, where: str, record: SettlementRecord, runs: Mapping[bytes, SettlementRecord]) -> None:
        if record.last_ingest > self._last:
            detail = f"counted rows up to {record.last_ingest}; the ledger ends with {self._last}"
            self.find("rows_missing", where, detail)
        if record.previous == NO_SETTLEMENT:
            wanted = 1
        elif record.previous in runs:
            wanted = runs[record.previous].last_ingest + 1
        else:  # an older program kept no trace of a run that settled nothing
            return
        if record.first_ingest != wanted:
            self.find("run_order", where, f"begins with row {record.first_ingest}; {wanted} is next")


def _post(head: Head, *, is_kept: bool) -> _Post:
    where = f"head {head.last_ingest} of {head.node_id}" + (", kept outside the ledger," if is_kept else "")
    return _Post(head.last_ingest, head.commitment, where, head.node_id)


def _entity(public_id: str) -> bytes:
    try:
        return entity_on_chain(public_id)
    except ValueError:
        return b""


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
