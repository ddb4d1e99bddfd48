"""The auditor against a battery of tampering: every kind is found, and the row or batch is named (L-12, P-10)."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import row as protocol
from cgn_sdk.protocol.canonical import encode
from cgn_sdk.protocol.head import NO_ROWS, Head, extend, sign_head
from cgn_sdk.protocol.receipt import ROW
from cgn_sdk.protocol.row import Finding
from cgn_sdk.protocol.settlement import NO_SETTLEMENT, Scope, batch_id_of, commit, entity_on_chain, settlement_id
from cgn_sdk.signing import Signer
from cgn_sdk.signing import verify as verify_signature

from ledger.core.batch import BatchRecord, SettledEvent, SettlementRecord
from ledger.core.entries import CARRIED, COLLECTED, PAID, PAYERS, PENDING, Mark, entries_of
from ledger.core.row_audit import MAX_FINDINGS_OF_A_KIND, NO_MARK, SHELVES, AuditRow, Keys, Part
from ledger.core.verify import Auditor, Report, Seen, Stored, roots

CHAIN, TOKEN = 31337, "0x" + "7" * 40
NODE = Signer(b"n" * 32)
THIEF = "pq6iqjjtj3mj2fexompwoq7rzoi"


@dataclass
class World:
    """A ledger, its batches with their rows, and the chain's events."""

    rows: list[AuditRow] = field(default_factory=list)
    batches: dict[bytes, BatchRecord] = field(default_factory=dict)
    settlements: list[SettlementRecord] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    events: list[SettledEvent] = field(default_factory=list)
    keys: Keys | None = None
    seen: Seen | None = None
    node: str = ""

    def audit(self) -> Report:
        """As `ledger.audit` does it, in slices of 7 rows and two groups of batches."""
        stored = Stored(list(self.batches.values()), self.settlements, self.heads)
        groups = 2
        given: dict[str, Any] = {"keys": self.keys, "seen": self.seen, "node": self.node, "groups": groups}
        auditor = Auditor(keccak_256, stored, self.events, chain_id=CHAIN, token=TOKEN, **given)
        shelves = [bytearray() for _ in range((groups + 1) * SHELVES)]
        for start in range(0, len(self.rows), 7):
            part = auditor.rules.audit(self.rows[start : start + 7])
            auditor.add(part)
            for shelf, piece in zip(shelves, [*part.leaves, *part.ids], strict=True):
                shelf.extend(piece)
        for group in range(groups):
            auditor.add_roots(roots(map(bytes, shelves[group * SHELVES : (group + 1) * SHELVES]), keccak_256))
        for shelf in shelves[groups * SHELVES :]:
            auditor.add_ids(bytes(shelf))
        return auditor.finish()

    def append(self, row: protocol.Row) -> None:
        self.rows.append(
            AuditRow(
                len(self.rows) + 1,
                row.row_id,
                row.row_hash,
                row.public_json,
                row.private_json,
                [Part(*entry) for entry in entries_of(row.public)],
                NODE.sign(ROW, row.row_hash),
            )
        )

    def public(self, place: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rows[place].public_json)
        return found

    def settle(self, first: int, last: int, previous: bytes, period: str) -> bytes:
        """One honest run over all parties of rows first to last, as payouts would do it."""
        settlement = settlement_id(Scope(CHAIN, TOKEN, period), first, last, previous, keccak_256)
        self.settlements.append(SettlementRecord(settlement, CHAIN, TOKEN, period, first, last, previous, "", 1, 2))
        parties: dict[tuple[str, str], list[tuple[AuditRow, int]]] = {}
        for row in self.rows[first - 1 : last]:
            for role, public_id, amount, _, _ in row.parts:
                parties.setdefault((role, public_id), []).append((row, amount))
        for (role, public_id), members in sorted(parties.items()):
            said = commit((row.row_hash for row, _ in members), sum(amount for _, amount in members), keccak_256)
            batch_id = batch_id_of(settlement, public_id, role, keccak_256)
            run = CHAIN, TOKEN, period, role, public_id, "0x" + "a" * 40, first, last, previous
            self.batches[batch_id] = BatchRecord(batch_id, *run, *said)
            tx_id = f"0x{len(self.events):064x}"
            self.events.append(
                SettledEvent(
                    *(CHAIN, TOKEN, settlement, entity_on_chain(public_id), protocol.ROLES.index(role)),
                    *("0x" + "a" * 40, said.amount_nano_cpu, said.xor, said.merkle_root, said.row_count, tx_id),
                )
            )
            mark = Mark(COLLECTED if role in PAYERS else PAID, batch_id, tx_id)
            for row, _ in members:
                self.mark(row.ingest - 1, role, mark)
        return settlement

    def sign(self, signer: Signer = NODE, node: str = "") -> None:
        """The node signs a head over all rows."""
        commitment = extend(NO_ROWS, (row.row_hash for row in self.rows), keccak_256)
        node = node or self.public(0)["node_id"]
        self.heads.append(sign_head(node, len(self.rows), commitment, 1, signer.sign))

    def mark(self, place: int, role: str, mark: Mark) -> None:
        row = self.rows[place]
        parts = [part._replace(mark=mark) if part.role == role else part for part in row.parts]
        self.rows[place] = row._replace(parts=parts)

    def remark(self, role: str, change: Callable[[Mark], Mark]) -> None:
        """Changes the mark of all rows of the role's first batch."""
        batch_id = self.batch(role).batch_id
        for place, row in enumerate(self.rows):
            parts = [p._replace(mark=change(p.mark)) if p.mark.batch_id == batch_id else p for p in row.parts]
            self.rows[place] = row._replace(parts=parts)

    def batch(self, role: str) -> BatchRecord:
        return next(record for record in self.batches.values() if record.role == role)

    def change_batch(self, of: str, **changes: Any) -> None:
        record = self.batch(of)
        self.batches[record.batch_id] = record._replace(**changes)

    def change_event(self, **changes: Any) -> None:
        self.events[0] = self.events[0]._replace(**changes)

    def change(self, place: int, **changes: Any) -> None:
        self.rows[place] = self.rows[place]._replace(**changes)

    def rewrite(self, place: int, old: bytes, new: bytes) -> None:
        """Alters stored bytes and leaves the hash alone."""
        stored = self.rows[place].public_json
        assert old in stored
        self.change(place, public_json=stored.replace(old, new, 1))

    def rehash(self, place: int, **columns: Any) -> None:
        """Alters a row and makes hash and entries anew, as somebody would who knows the format."""
        public = {**self.public(place), **columns}
        stored = encode(public)
        self.change(place, public_json=stored, row_hash=keccak_256(stored))
        marks = {part.role: part.mark for part in self.rows[place].parts}
        try:
            entries = entries_of(public)
        except (TypeError, ValueError, KeyError):
            return
        self.change(place, parts=[Part(*entry, marks.get(entry.role, NO_MARK)) for entry in entries])

    def renumber(self) -> None:
        self.rows = [row._replace(ingest=number) for number, row in enumerate(self.rows, 1)]


@pytest.fixture(scope="module")
def original(make_row: Callable[..., protocol.Row]) -> World:
    """30 rows: two settled runs of 10 rows, and 10 rows that wait; heads over 10 and 30 of them."""
    world = World()
    for n in range(1, 31):
        world.append(
            make_row(n, fee_nano_eur=1_000 + n, enterprise=f"e{n % 2}", contributor=f"c{n % 3}", developer=f"d{n % 2}")
        )
        if n in (10, 30):
            world.sign()
    previous = world.settle(1, 10, NO_SETTLEMENT, "2026-11-20")
    world.settle(11, 20, previous, "2026-11-21")
    return world


@pytest.fixture
def world(original: World) -> World:
    return deepcopy(original)


def trusting(world: World) -> World:
    world.keys = Keys({world.public(0)["node_id"]: NODE.public_key}, verify_signature)
    return world


def test_an_honest_ledger_is_sound(world: World, make_row: Callable[..., protocol.Row]) -> None:
    report = world.audit()
    assert report.findings == ()
    assert report.sound
    assert (report.rows, report.batches, report.events) == (30, len(world.batches), len(world.events))
    assert report.collected_nano_cpu == report.paid_nano_cpu > 0
    assert report.open_entries == 40
    assert (report.unbound_rows, report.heads, report.covered, report.keys) == (10, 2, 0, 0)
    assert World().audit().sound
    report = trusting(world).audit()
    assert report.findings == ()
    assert (report.unbound_rows, report.covered, report.keys) == (0, 30, 1)
    assert report.newest_head == world.heads[1]
    world.heads.clear()
    report = world.audit()
    assert report.findings == ()
    assert (report.unbound_rows, report.covered) == (0, 0)


def texts(public: dict[str, Any]) -> Iterator[tuple[str, Callable[[dict[str, Any], str], None], str]]:
    """Every piece of text in a public row, with a way to change it."""
    for column, value in public.items():
        if isinstance(value, str):
            yield column, lambda p, new, column=column: p.__setitem__(column, new), value
        else:
            for place, entry in enumerate(value):
                for name, text in entry.items():
                    yield (
                        f"{column}[{place}].{name}",
                        lambda p, new, c=column, i=place, n=name: p[c][i].__setitem__(n, new),
                        text,
                    )


def test_every_byte_of_every_public_column(world: World) -> None:
    """One byte altered in a copy of the ledger, its hash left alone: that row is named, and nothing else is blamed."""
    tried = 0
    for name, put, text in list(texts(world.public(4))):
        for place in range(len(text)):
            altered = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
            public = world.public(4)
            put(public, altered)
            copy = World([world.rows[4]._replace(ingest=1, public_json=encode(public))])
            copy.rows[0] = copy.rows[0]._replace(parts=[p._replace(mark=NO_MARK) for p in copy.rows[0].parts])
            findings = copy.audit().findings
            assert "row_hash" in {finding.code for finding in findings}, (name, place)
            assert all(world.rows[4].row_id in finding.where for finding in findings)
            tried += 1
    assert tried > 700


def test_every_byte_of_the_stored_bytes(world: World) -> None:
    """One bit of public columns, private parts, salt, hash or signature: the row is named (L-12)."""
    row = trusting(world).rows[29]
    world.heads.clear()
    for name in ("public_json", "private_json", "row_hash", "node_signature"):
        stored = getattr(row, name)
        for place in range(len(stored)):
            altered = stored[:place] + bytes([stored[place] ^ 1 << place % 8]) + stored[place + 1 :]
            copy = World([row._replace(ingest=1, **{name: altered})], keys=world.keys)
            findings = copy.audit().findings
            assert findings, (name, place)
            assert all(row.row_id in finding.where for finding in findings), (name, place, findings)


@pytest.mark.parametrize(
    "column", ["event_time_ns", "end_user_id", "dservice", "dservice_version", "tier", "custom_hash"]
)
def test_a_row_altered_with_its_hash_is_found_by_its_batches(world: World, column: str) -> None:
    value = world.public(4)[column]
    other = {"tier": "4a", "end_user_id": THIEF}.get(column, value[:-1] + ("1" if value[-1:] != "1" else "2"))
    world.rehash(4, **{column: other})
    findings = world.audit().findings
    batches = {f"batch {part.mark.batch_id.hex()}" for part in world.rows[4].parts}
    assert len(batches) == 4
    assert batches <= {finding.where for finding in findings if finding.code == "rows_merkle_root"}
    assert batches <= {finding.where for finding in findings if finding.code == "rows_xor"}


def move_money_between_payees(world: World) -> None:
    payouts = world.public(4)["payouts"]
    for name in ("amount_nano_cpu", "amount_nano_eur"):
        payouts[0][name] = str(int(payouts[0][name]) - 1)
        payouts[1][name] = str(int(payouts[1][name]) + 1)
    world.rehash(4, payouts=payouts)


def move_money_between_rows(world: World) -> None:
    """Two rows of the same parties trade their worth: the sums of the batches stay."""
    one, two = world.public(4), world.public(10)
    assert all(one[name] == two[name] for name in ("enterprise_id", "contributor_id", "developer_id"))
    names = ("usage_fee_nano_eur", "usage_fee_nano_cpu", "pay_in", "payouts")
    world.rehash(4, **{name: two[name] for name in names})
    world.rehash(10, **{name: one[name] for name in names})


def exchange_open_row(world: World) -> None:
    """Somebody else is paid, and the hash is made anew."""
    public = world.public(24)
    public["payouts"][0]["id"] = THIEF
    world.rehash(24, contributor_id=THIEF, payouts=public["payouts"])


def double_open_fee(world: World) -> None:
    public = world.public(24)
    for entry in (*public["pay_in"], *public["payouts"]):
        for name in set(entry) - {"role", "id"}:
            entry[name] = str(2 * int(entry[name]))
    fees = {name: str(2 * int(public[name])) for name in ("usage_fee_nano_eur", "usage_fee_nano_cpu")}
    world.rehash(24, pay_in=public["pay_in"], payouts=public["payouts"], **fees)


def copy_settled_row_under_a_new_id(world: World) -> None:
    world.rows.append(world.rows[3]._replace(ingest=31, row_id="e" * 32))
    world.rehash(30, row_id="e" * 32)
    world.change(30, parts=[part._replace(mark=NO_MARK) for part in world.rows[30].parts])


def claim_to_be_another_node(world: World) -> None:
    exchange_open_row(world)
    world.rehash(24, node_id=THIEF)
    world.change(24, node_signature=Signer(b"t" * 32).sign(ROW, world.rows[24].row_hash))


def add_head_of_thief(world: World) -> None:
    """A head by somebody else over a ledger that was cut."""
    del world.rows[25:]
    world.heads.pop()
    world.sign(Signer(b"t" * 32))


def swap_numbers(place: int) -> Callable[[World], None]:
    """All of two rows: columns, parts, payment state; only their numbers differ."""

    def change(world: World) -> None:
        one, two = world.rows[place], world.rows[place + 6]
        world.rows[place], world.rows[place + 6] = two._replace(ingest=one.ingest), one._replace(ingest=two.ingest)

    return change


def drop(place: int) -> Callable[[World], None]:
    return lambda world: world.rows.pop(place) and None


def drop_and_renumber(place: int) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.rows.pop(place)
        world.renumber()

    return change


def insert_and_renumber(world: World) -> None:
    world.rows.insert(5, world.rows[29])
    world.rehash(5, row_id="e" * 32)
    world.change(5, row_id="e" * 32)
    world.renumber()


def put_row_into_batch(world: World) -> None:
    """A row of the same party that waits for its own settlement."""
    mark = next(part.mark for part in world.rows[0].parts if part.role == "operator")
    world.mark(24, "operator", mark)


def put_foreign_row_into_batch(world: World) -> None:
    one, two = (next(p for p in world.rows[n].parts if p.role == "contributor") for n in (0, 1))
    assert one.public_id != two.public_id
    world.mark(1, "contributor", one.mark)


def swap_rows_between_batches(world: World) -> None:
    one, two = (next(p.mark for p in world.rows[n].parts if p.role == "operator") for n in (0, 10))
    world.mark(0, "operator", two)
    world.mark(10, "operator", one)


def swap_places(world: World) -> None:
    world.rows[3], world.rows[4] = world.rows[4], world.rows[3]


def make_everything_anew_but_the_chain(world: World) -> None:
    """Rows, hashes and batches all fit together; only the chain remembers."""
    world.rehash(4, event_time_ns="1")
    rebuilt = World([row._replace(parts=[p._replace(mark=NO_MARK) for p in row.parts]) for row in world.rows])
    previous = rebuilt.settle(1, 10, NO_SETTLEMENT, "2026-11-20")
    rebuilt.settle(11, 20, previous, "2026-11-21")
    world.rows, world.batches, world.settlements = rebuilt.rows, rebuilt.batches, rebuilt.settlements


def uncollect(world: World) -> None:
    record = world.batch("enterprise")
    del world.batches[record.batch_id]
    world.events = [event for event in world.events if event.batch_id(keccak_256) != record.batch_id]


def unmark(role: str, state: str = PENDING) -> Callable[[World], None]:
    """A whole batch of the role is left as if no run had settled it, with the event gone too."""

    def change(world: World) -> None:
        world.remark(role, lambda _: NO_MARK if state == PENDING else Mark(state))
        record = world.batch(role)
        del world.batches[record.batch_id]
        world.events = [event for event in world.events if event.batch_id(keccak_256) != record.batch_id]

    return change


def carry(world: World) -> None:
    """One contributor of the first run was carried, as a run below the minimum does it; then it is said to wait."""
    unmark("contributor", CARRIED)(world)
    assert world.audit().sound
    for place, row in enumerate(world.rows):
        if any(part.mark.state == CARRIED for part in row.parts):
            world.mark(place, "contributor", NO_MARK)


def _run(world: World, first: int) -> bytes:
    return next(record.settlement_id for record in world.settlements if record.first_ingest == first)


def another_first_run(world: World) -> None:
    world.settle(21, 30, NO_SETTLEMENT, "another")


def a_run_over_old_rows(world: World) -> None:
    """A third run that counts rows of the second again."""
    world.settle(15, 30, _run(world, 11), "overlap")


def break_amounts(world: World) -> None:
    parts = world.rows[24].parts
    world.change(24, parts=[parts[0]._replace(amount_nano_cpu=parts[0].amount_nano_cpu + 1), *parts[1:]])


def json_of(stored: bytes) -> Callable[[World], None]:
    return lambda world: world.change(3, public_json=stored)


def private_of(stored: bytes) -> Callable[[World], None]:
    return lambda world: world.change(3, private_json=stored)


def of_hash(stored: bytes) -> Callable[[World], None]:
    """Malformed, with a hash that fits."""
    return lambda world: world.change(3, public_json=stored, row_hash=keccak_256(stored))


def other_mark(role: str, **changes: Any) -> Callable[[World], None]:
    return lambda world: world.remark(role, lambda mark: mark._replace(**changes))


MALFORMED = {
    "an empty list": b"[]", "a text": b'"x"', "a number": b"7", "null": b"null", "100,000 brackets": b"[" * 100_000,
    "balanced brackets": b"[" * 50_000 + b"]" * 50_000, "not JSON": b"{", "nothing": b"", "5,000 digits": b"9" * 5_000,
    "no UTF-8": b"\xff\xfe", "an empty object": b"{}",
}  # fmt: skip

BATTERY: list[tuple[str, Callable[[World], None], set[str]]] = [
    ("row hash altered", lambda w: w.change(3, row_hash=bytes(32)), {"row_hash", "head_rows"}),
    ("row hash of another length", lambda w: w.change(3, row_hash=b"1"), {"row_hash"}),
    ("no row hash", lambda w: w.change(3, row_hash=b""), {"row_hash"}),
    ("row under another id", lambda w: w.change(3, row_id="d" * 32), {"row_id"}),
    ("hashes of two rows swapped", lambda w: w.change(3, row_hash=w.rows[4].row_hash), {"row_hash"}),
    ("a name twice, the last one right", lambda w: w.rewrite(3, b'"tier":"2"', b'"tier":"4b","tier":"2"'), {"row_malformed", "row_hash"}),
    ("an amount twice", lambda w: w.rewrite(3, b'"amount_nano_eur":', b'"amount_nano_eur":"1","amount_nano_eur":'), {"row_malformed", "row_hash"}),
    ("white space", lambda w: w.rewrite(3, b'"tier":"2"', b'"tier": "2"'), {"row_bytes", "row_hash"}),
    ("a line end", lambda w: w.change(3, public_json=w.rows[3].public_json + b"\n"), {"row_bytes", "row_hash"}),
    ("an escape", lambda w: w.rewrite(3, b'"mediagen"', b'"\\u006dediagen"'), {"row_bytes", "row_hash"}),
    ("a name in escapes", lambda w: w.rewrite(3, b'"tier"', b'"\\u0074ier"'), {"row_bytes", "row_hash"}),
    ("column left out", lambda w: w.rewrite(3, b'"tier":"2",', b""), {"column_missing", "row_hash"}),
    ("column added", lambda w: w.rewrite(3, b'"tier":', b'"note":"x","tier":'), {"column_unknown", "row_hash"}),
    ("column of another kind", lambda w: w.rewrite(3, b'"tier":"2"', b'"tier":2'), {"column_form", "row_hash"}),
    ("float", lambda w: w.rewrite(3, b'"tier":"2"', b'"tier":0.5'), {"row_malformed", "row_hash"}),
    ("a number of 5,000 digits", lambda w: w.rewrite(3, b'"tier":"2"', b'"tier":' + b"2" * 5_000), {"row_malformed"}),
    ("entries of another kind", lambda w: w.rehash(3, payouts=[{"role": []}]), {"column_form", "rows_row_count"}),
    ("negative amount", lambda w: w.rewrite(3, b'"amount_nano_eur":"', b'"amount_nano_eur":"-'), {"column_form", "row_hash"}),
    ("huge amount", lambda w: w.rewrite(3, b'"amount_nano_eur":"', b'"amount_nano_eur":"' + b"9" * 30), {"column_form"}),
    ("sums that do not hold, with the hash", lambda w: w.rehash(3, pay_in=[]), {"money_pay_in"}),
    ("somebody else's work", lambda w: w.rehash(24, contributor_id=THIEF), {"role_id"}),
    ("a private part altered", lambda w: w.change(3, private_json=w.rows[3].private_json.replace(b'"custom":{}', b'"custom":{"a":"b"}')), {"part_hash"}),
    ("the salt altered", lambda w: w.change(3, private_json=w.rows[3].private_json.replace(b'"salt":"', b'"salt":"0')[:-3] + b'"}'), {"part_hash"}),
    ("a private part twice", lambda w: w.change(3, private_json=w.rows[3].private_json.replace(b'"custom":{}', b'"custom":{"a":"b"},"custom":{}')), {"row_malformed"}),
    ("white space in private parts", lambda w: w.change(3, private_json=w.rows[3].private_json.replace(b":{", b": {", 1)), {"row_bytes"}),
    ("private parts of another row", lambda w: w.change(3, private_json=w.rows[5].private_json), {"part_hash"}),
    *((f"columns: {name}", json_of(stored), {"row_malformed" if name != "an empty object" else "column_missing", "row_hash"}) for name, stored in MALFORMED.items() if len(stored) < 16_000),
    *((f"columns: {name}", json_of(stored), {"row_length", "row_hash"}) for name, stored in MALFORMED.items() if len(stored) > 16_000),
    *((f"columns with their hash: {name}", of_hash(stored), {"rows_row_count"}) for name, stored in MALFORMED.items()),
    *((f"private: {name}", private_of(stored), {"row_malformed"}) for name, stored in MALFORMED.items()),
    ("an amount that sums count", break_amounts, {"entries"}),
    ("a part that sums do not count", lambda w: w.change(24, parts=w.rows[24].parts[1:]), {"entries"}),
    ("a part of nobody", lambda w: w.change(24, parts=[*w.rows[24].parts, Part("charity", THIEF, 1, 1)]), {"entries"}),
    ("sums count another party", lambda w: w.change(24, parts=[w.rows[24].parts[0]._replace(public_id=THIEF), *w.rows[24].parts[1:]]), {"entries"}),
    ("money moved between payees", move_money_between_payees, {"rows_amount", "rows_xor", "rows_merkle_root"}),
    ("money moved between rows", move_money_between_rows, {"rows_xor", "rows_merkle_root"}),
    ("row dropped", drop(4), {"ingest", "rows_row_count", "rows_amount", "rows_xor", "rows_merkle_root"}),
    ("row dropped between two slices", drop(7), {"ingest"}),
    ("something the store could not make sense of", lambda w: w.change(3, problems=(Finding("row_malformed", "", "odd"),)), {"row_malformed"}),
    ("row dropped, renumbered", drop_and_renumber(4), {"rows_row_count", "head_rows"}),
    ("open row dropped, renumbered", drop_and_renumber(24), {"head_rows"}),
    ("open tail cut off", lambda w: w.rows.__delitem__(slice(28, None)), {"head_rows"}),
    ("all waiting rows and a settled one dropped", lambda w: w.rows.__delitem__(slice(19, None)), {"rows_missing", "rows_row_count", "head_rows"}),
    ("row added in the middle, renumbered", insert_and_renumber, {"row_late", "head_rows"}),
    ("row doubled", lambda w: w.rows.append(w.rows[3]._replace(ingest=31)), {"row_twice", "row_settled_twice", "rows_row_count"}),
    ("row doubled under its number", lambda w: w.rows.insert(4, w.rows[4]), {"row_twice", "ingest"}),
    ("rows in another order", swap_places, {"ingest"}),
    ("numbers of two settled rows swapped", swap_numbers(1), {"head_rows"}),
    ("numbers of two open rows swapped", swap_numbers(22), {"head_rows"}),
    ("a row numbered 0", lambda w: w.rows.insert(0, w.rows[3]._replace(ingest=0)), {"ingest", "row_twice", "head_rows"}),
    ("a row with a number far away", lambda w: w.change(29, ingest=2**62), {"ingest"}),
    ("row taken out of a batch", lambda w: w.mark(0, "contributor", NO_MARK), {"rows_row_count", "payment_state"}),
    ("row put into a batch", put_row_into_batch, {"row_late", "rows_row_count", "rows_amount", "paid_uncollected"}),
    ("another party's row in a batch", put_foreign_row_into_batch, {"row_foreign"}),
    ("rows swapped between batches", swap_rows_between_batches, {"row_late", "rows_xor", "rows_merkle_root"}),
    ("rows of a batch gone", lambda w: w.remark("contributor", lambda _: NO_MARK), {"rows_of_batch", "payment_state"}),
    ("transaction of a batch", other_mark("operator", tx_id="0x" + "9" * 64), {"payment_tx"}),
    ("transaction of a batch left out", other_mark("enterprise", tx_id=""), {"payment_tx"}),
    ("transaction of one row", lambda w: w.mark(0, "operator", w.rows[0].parts[-1].mark._replace(tx_id="0x1")), {"payment_tx"}),
    ("transaction of nothing", lambda w: w.mark(24, "operator", Mark(PENDING, b"", "0x1")), {"payment_tx"}),
    ("collected said to be paid", other_mark("enterprise", state=PAID), {"payment_state", "rows_of_batch"}),
    ("paid said to be collected", other_mark("operator", state=COLLECTED), {"payment_state"}),
    ("paid said to be carried", other_mark("operator", state=CARRIED), {"payment_state"}),
    ("paid said to be pending", other_mark("operator", state=PENDING), {"payment_state"}),
    ("paid without a batch", other_mark("operator", batch_id=b""), {"payment_state"}),
    ("a state that is none", other_mark("operator", state="settled"), {"payment_state"}),
    ("a batch id of another length", other_mark("operator", batch_id=b"1"), {"payment_state", "batch_unknown"}),
    ("a batch that is not there", other_mark("operator", batch_id=b"1" * 32), {"batch_unknown", "rows_of_batch"}),
    ("collected, neither paid nor carried", unmark("contributor"), {"payment_state"}),
    ("carried said to be pending", carry, {"payment_state"}),
    ("pending said to be carried", lambda w: w.mark(24, "operator", Mark(CARRIED)), {"paid_uncollected"}),
    ("pending said to be collected", lambda w: w.mark(24, "enterprise", Mark(COLLECTED)), {"payment_state"}),
    ("a payer said to be carried", lambda w: w.mark(24, "enterprise", Mark(CARRIED)), {"payment_state"}),
    ("batch gone", lambda w: w.batches.pop(w.batch("developer").batch_id) and None, {"batch_missing", "batch_unknown"}),
    ("batch amount", lambda w: w.change_batch("operator", amount_nano_cpu=1), {"batch_amount"}),
    ("batch count", lambda w: w.change_batch("operator", row_count=1), {"batch_row_count"}),
    ("batch XOR", lambda w: w.change_batch("operator", xor=bytes(32)), {"batch_xor"}),
    ("batch root", lambda w: w.change_batch("operator", merkle_root=bytes(32)), {"batch_merkle_root"}),
    ("batch account", lambda w: w.change_batch("operator", account="0x" + "b" * 40), {"batch_account"}),
    ("batch entity", lambda w: w.change_batch("operator", public_id="p" + "a" * 26), {"batch_id", "batch_entity", "row_foreign"}),
    ("batch entity malformed", lambda w: w.change_batch("operator", public_id="nobody"), {"batch_malformed"}),
    ("batch role", lambda w: w.change_batch("operator", role="charity"), {"batch_id", "batch_role", "row_foreign"}),
    ("batch period", lambda w: w.change_batch("operator", period="x"), {"batch_id", "settlement_missing"}),
    ("batch range", lambda w: w.change_batch("operator", last_ingest=11), {"batch_id", "settlement_missing"}),
    ("batch predecessor", lambda w: w.change_batch("operator", previous=b"p" * 32), {"batch_id"}),
    ("batch of another contract", lambda w: w.change_batch("operator", token="0x" + "8" * 40), {"batch_chain", "batch_id"}),
    ("batch of another chain", lambda w: w.change_batch("operator", chain_id=1), {"batch_chain", "batch_id"}),
    ("settlement gone", lambda w: w.settlements.pop() and None, {"settlement_missing"}),
    ("settlement altered", lambda w: w.settlements.append(w.settlements.pop()._replace(last_ingest=21)), {"settlement_id"}),
    ("event gone (anchor reorganised away)", lambda w: w.events.pop(0) and None, {"event_missing"}),
    ("event twice", lambda w: w.events.append(w.events[0]._replace(tx_id="0xagain")), {"event_twice"}),
    ("event of another contract", lambda w: w.change_event(token="0x" + "8" * 40), {"event_chain", "event_missing"}),
    ("event of another chain", lambda w: w.change_event(chain_id=5), {"event_chain", "event_missing"}),
    ("event amount", lambda w: w.change_event(amount_nano_cpu=1), {"batch_amount", "rows_amount"}),
    ("event count", lambda w: w.change_event(row_count=1), {"batch_row_count", "rows_row_count"}),
    ("event XOR", lambda w: w.change_event(xor=bytes(32)), {"batch_xor", "rows_xor"}),
    ("event root", lambda w: w.change_event(merkle_root=bytes(32)), {"batch_merkle_root", "rows_merkle_root"}),
    ("event account", lambda w: w.change_event(account="0x" + "b" * 40), {"batch_account"}),
    ("event entity", lambda w: w.change_event(entity=bytes(32)), {"batch_missing", "event_missing"}),
    ("event role", lambda w: w.change_event(role=5), {"batch_missing", "event_missing"}),
    ("event of no role", lambda w: w.change_event(role=77), {"batch_missing", "event_missing"}),
    ("event settlement", lambda w: w.change_event(settlement_id=bytes(32)), {"batch_missing", "event_missing"}),
    ("event in another transaction", lambda w: w.change_event(tx_id="0x2"), {"payment_tx"}),
    ("everything made anew but the chain", make_everything_anew_but_the_chain, {"batch_xor", "rows_xor", "rows_merkle_root"}),
    ("paid, not collected", uncollect, {"paid_uncollected"}),
    ("two first runs", another_first_run, {"run_order"}),
    ("a run over rows of the one before", a_run_over_old_rows, {"run_order", "rows_row_count"}),
    ("open row exchanged", exchange_open_row, {"head_rows"}),
    ("open row of doubled fee", double_open_fee, {"head_rows"}),
    ("head altered", lambda w: w.heads.append(w.heads.pop()._replace(commitment=bytes(32))), {"head_rows"}),
    ("head over more rows", lambda w: w.heads.append(w.heads.pop()._replace(last_ingest=31)), {"head_rows"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tamper", "codes"), BATTERY, ids=[case[0] for case in BATTERY])
def test_tampering_is_found(world: World, name: str, tamper: Callable[[World], None], codes: set[str]) -> None:
    """Without any key; and one wrong row hides nothing that is wrong with another."""
    tamper(world)
    report = world.audit()
    found = {finding.code for finding in report.findings}
    assert codes <= found, f"{name}: {found}"
    places = ("row ", "batch ", "settlement ", "transaction ", "head ")
    assert all(finding.where.startswith(places) for finding in report.findings), report.findings
    assert not report.sound
    assert report.rows == len(world.rows)
    world.change(12, node_signature=b"", row_hash=bytes(32))
    assert ("row_hash", f"row {world.rows[12].row_id}, row_hash") in {f[:2] for f in world.audit().findings}


OPEN_ROWS: list[tuple[str, Callable[[World], None], set[str]]] = [
    ("exchanged", exchange_open_row, {"node_signature"}),
    ("of doubled fee", double_open_fee, {"node_signature"}),
    ("a settled one copied under a new id", copy_settled_row_under_a_new_id, {"node_signature"}),
    ("by a node of one's own", claim_to_be_another_node, {"node_unknown"}),
    ("its signature left out", lambda w: w.change(24, node_signature=b""), {"node_signature"}),
    ("the signature of another row", lambda w: w.change(24, node_signature=w.rows[25].node_signature), {"node_signature"}),
    ("tail cut off, a head of somebody else", add_head_of_thief, {"head_signature"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tamper", "codes"), OPEN_ROWS, ids=[case[0] for case in OPEN_ROWS])
def test_rows_that_wait_are_bound_by_their_nodes_signature(
    world: World, name: str, tamper: Callable[[World], None], codes: set[str]
) -> None:
    """Even where the newest head is gone too: who brings the node's key sees it (L-12)."""
    trusting(world)
    head = world.heads.pop()
    assert world.audit().sound
    if "head" in name:
        world.heads.append(head)
    tamper(world)
    report = world.audit()
    assert codes <= {finding.code for finding in report.findings}, report.findings
    world.keys = None
    assert world.audit().unbound_rows > 0, "said, where there is no key"


def test_a_head_of_somebody_unknown_counts_for_nothing(world: World) -> None:
    trusting(world).heads.clear()
    world.sign(Signer(b"t" * 32), node=THIEF)
    report = world.audit()
    assert (report.findings, report.covered, report.newest_head) == ((), 0, None)


def test_what_was_seen_before_is_looked_for_again(world: World) -> None:
    """A ledger that was rolled back with its heads fits together; an earlier audit knows better."""
    first = world.audit().seen
    assert first.rows == 30
    world.seen = first
    assert world.audit().sound
    del world.rows[25:]
    world.heads.pop()
    assert [finding.code for finding in world.audit().findings] == ["head_rows"]
    world.seen = None
    assert world.audit().sound


def test_a_batch_without_marks_and_event_is_a_run_under_way(world: World) -> None:
    """Payouts store batches before any money moves, and mark rows after."""
    previous = _run(world, 11)
    waiting = deepcopy(world.rows)
    events = list(world.events)
    world.settle(21, 30, previous, "2026-11-22")
    world.rows, world.events = waiting, events
    world.settlements[-1] = world.settlements[-1]._replace(ended_ns=0)
    assert world.audit().sound


def test_findings_are_bounded_by_kind(world: World) -> None:
    row = world.rows[0]
    world.rows = [
        row._replace(ingest=n, row_id=f"{n:032x}", row_hash=bytes(32), parts=[])
        for n in range(1, MAX_FINDINGS_OF_A_KIND + 100)
    ]
    report = World(world.rows).audit()
    kinds = {
        code: sum(finding.code == code for finding in report.findings) for code in ("row_hash", "row_id", "entries")
    }
    assert kinds == dict.fromkeys(kinds, MAX_FINDINGS_OF_A_KIND)
    assert report.more_findings > 3 * 90
    assert report.rows == MAX_FINDINGS_OF_A_KIND + 99


def with_same_xor(wanted: int, variants: list[tuple[int, int]]) -> list[int]:
    """Which variant of each row to take so that all XOR to `wanted`: Gaussian elimination over GF(2)."""
    base = 0
    for first, _ in variants:
        base ^= first
    target = wanted ^ base
    pivots: dict[int, tuple[int, int]] = {}
    for place, (first, second) in enumerate(variants):
        vector, used = first ^ second, 1 << place
        while vector and (top := vector.bit_length() - 1) in pivots:
            vector, used = vector ^ pivots[top][0], used ^ pivots[top][1]
        if vector:
            pivots[vector.bit_length() - 1] = (vector, used)
    chosen = 0
    while target:
        vector, used = pivots[target.bit_length() - 1]
        target, chosen = target ^ vector, chosen ^ used
    return [chosen >> place & 1 for place in range(len(variants))]


def test_a_forgery_that_keeps_the_xor_is_found_by_the_merkle_root(make_row: Callable[..., protocol.Row]) -> None:
    """XOR proves nothing against whoever may write rows (reliability, 6.1): 100 of 400 rows are stolen, 300 others get a
    harmless variant of one private hash, and count, amount and XOR of the batch stay what they were."""
    world = World()
    for n in range(1, 401):
        world.append(make_row(n))
    world.settle(1, 400, NO_SETTLEMENT, "2026-11-20")
    operator = world.batch("operator")
    for place in range(100):
        payouts = world.public(place)["payouts"]
        payouts[0]["id"] = THIEF
        world.rehash(place, contributor_id=THIEF, payouts=payouts)
    variants = []
    for place in range(100, 400):
        public = world.public(place)
        other = {**public, "custom_hash": keccak_256(public["custom_hash"].encode()).hex()}
        variants.append(tuple(int.from_bytes(protocol.row_hash(p, keccak_256), "big") for p in (public, other)))
    stolen = 0
    for row in world.rows[:100]:
        stolen ^= int.from_bytes(row.row_hash, "big")
    wanted = int.from_bytes(operator.xor, "big") ^ stolen
    for place, second in enumerate(with_same_xor(wanted, variants), 100):
        if second:
            world.rehash(place, custom_hash=keccak_256(world.public(place)["custom_hash"].encode()).hex())
    report = world.audit()
    codes = {finding.code for finding in report.findings if finding.where == f"batch {operator.batch_id.hex()}"}
    assert codes == {"rows_merkle_root"}, "XOR, count and amount were all met"


def test_the_auditor_counts_by_itself(world: World) -> None:
    """What it reports as collected and paid is what the batches say, per side."""
    report = world.audit()
    by_side = {True: 0, False: 0}
    for record in world.batches.values():
        by_side[record.role in PAYERS] += record.amount_nano_cpu
    assert (report.collected_nano_cpu, report.paid_nano_cpu) == (by_side[True], by_side[False])
    assert replace(report, findings=()).sound


@pytest.mark.parametrize(("ended_ns", "codes"), [(1, ["settlement_unknown"]), (0, [])])
def test_an_ended_settlement_that_the_chain_does_not_know_is_named(
    world: World, ended_ns: int, codes: list[str]
) -> None:
    """Planted behind the newest, it would hold up every further run; one under way has no events yet."""
    newest = world.settlements[-1]
    planted = settlement_id(Scope(CHAIN, TOKEN, "2026-11-22"), 21, 22, newest.settlement_id, keccak_256)
    place = (CHAIN, TOKEN, "2026-11-22", 21, 22, newest.settlement_id)
    world.settlements.append(SettlementRecord(planted, *place, "", 1, ended_ns))
    found = [finding for finding in world.audit().findings if planted.hex() in finding.where]
    assert [finding.code for finding in found] == codes


def test_a_row_of_another_node_is_named(make_row: Callable[..., protocol.Row]) -> None:
    """L-12: sound in itself, settled or waiting: it is not this ledger's."""
    world = World()
    for number in range(1, 10):
        world.append(make_row(number, node="another" if number in (4, 9) else "node"))
    world.settle(1, 6, NO_SETTLEMENT, "a day")
    assert world.audit().sound, "where nobody says whose ledger it is"
    world.node = world.public(0)["node_id"]
    another = world.public(3)["node_id"]
    detail = f"is of node {another}; the ledger is node {world.node}'s"
    assert world.audit().findings == tuple(
        Finding("row_node", f"row {world.rows[place].row_id}", detail) for place in (3, 8)
    )
