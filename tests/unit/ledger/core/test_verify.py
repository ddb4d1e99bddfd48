"""The auditor against a battery of tampering: every kind is found, and the row or batch is named (L-12, P-10)."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import row as protocol
from cgn_sdk.protocol.settlement import NO_SETTLEMENT, Scope, batch_id_of, commit, entity_on_chain, settlement_id

from ledger.core.batch import BatchRecord, SettledEvent
from ledger.core.entries import PAYERS, entries_of
from ledger.core.verify import MAX_FINDINGS, Auditor, Report

CHAIN, TOKEN = 31337, "0x" + "7" * 40


class Shown(NamedTuple):
    """A row as an auditor gets it."""

    ingest: int
    row_id: str
    row_hash: bytes
    public: dict[str, Any]


@dataclass
class World:
    """A ledger, its batches with their rows, and the chain's events."""

    rows: list[Shown] = field(default_factory=list)
    batches: dict[bytes, tuple[BatchRecord, list[str]]] = field(default_factory=dict)
    events: list[SettledEvent] = field(default_factory=list)

    def audit(self) -> Report:
        auditor = Auditor(keccak_256, chain_id=CHAIN, token=TOKEN)
        for row in self.rows:
            auditor.add_row(row)
        for record, row_ids in self.batches.values():
            auditor.add_batch(record, row_ids)
        for event in self.events:
            auditor.add_event(event)
        return auditor.finish()

    def append(self, row: protocol.Row) -> None:
        self.rows.append(Shown(len(self.rows) + 1, row.row_id, row.row_hash, deepcopy(dict(row.public))))

    def settle(self, first: int, last: int, previous: bytes, period: str) -> bytes:
        """One honest run over all parties of rows first to last, as payouts would do it."""
        settlement = settlement_id(Scope(CHAIN, TOKEN, period), first, last, previous, keccak_256)
        parties: dict[tuple[str, str], list[tuple[Shown, int]]] = {}
        for row in self.rows[first - 1 : last]:
            for role, public_id, amount, _ in entries_of(row.public):
                parties.setdefault((role, public_id), []).append((row, amount))
        for (role, public_id), members in sorted(parties.items()):
            said = commit((row.row_hash for row, _ in members), sum(amount for _, amount in members), keccak_256)
            record = BatchRecord(
                batch_id=batch_id_of(settlement, public_id, role, keccak_256),
                chain_id=CHAIN,
                token=TOKEN,
                period=period,
                role=role,
                public_id=public_id,
                account="0x" + "a" * 40,
                first_ingest=first,
                last_ingest=last,
                previous=previous,
                row_count=said.row_count,
                amount_nano_cpu=said.amount_nano_cpu,
                xor=said.xor,
                merkle_root=said.merkle_root,
            )
            self.batches[record.batch_id] = (record, [row.row_id for row, _ in members])
            self.events.append(
                SettledEvent(
                    chain_id=CHAIN,
                    token=TOKEN,
                    settlement_id=settlement,
                    entity=entity_on_chain(public_id),
                    role=protocol.ROLES.index(role),
                    account=record.account,
                    amount_nano_cpu=said.amount_nano_cpu,
                    xor=said.xor,
                    merkle_root=said.merkle_root,
                    row_count=said.row_count,
                    tx_id=f"0x{len(self.events):064x}",
                )
            )
        return settlement

    def batch(self, role: str) -> BatchRecord:
        return next(record for record, _ in self.batches.values() if record.role == role)

    def members(self, role: str) -> list[str]:
        return self.batches[self.batch(role).batch_id][1]

    def change_batch(self, of: str, **changes: Any) -> None:
        record, members = self.batches[self.batch(of).batch_id]
        self.batches[record.batch_id] = (record._replace(**changes), members)

    def change_event(self, **changes: Any) -> None:
        self.events[0] = self.events[0]._replace(**changes)

    def rehash(self, place: int, **columns: Any) -> None:
        """Alters a row and makes its hash anew, as somebody would who knows the format."""
        row = self.rows[place]
        public = {**row.public, **columns}
        self.rows[place] = row._replace(public=public, row_hash=protocol.row_hash(public, keccak_256))

    def renumber(self) -> None:
        self.rows = [row._replace(ingest=number) for number, row in enumerate(self.rows, 1)]


@pytest.fixture(scope="module")
def original(make_row: Callable[..., protocol.Row]) -> World:
    """30 rows: two settled runs of 10 rows, and 10 rows that wait."""
    world = World()
    for n in range(1, 31):
        world.append(
            make_row(n, fee_nano_eur=1_000 + n, enterprise=f"e{n % 2}", contributor=f"c{n % 3}", developer=f"d{n % 2}")
        )
    previous = world.settle(1, 10, NO_SETTLEMENT, "2026-11-20")
    world.settle(11, 20, previous, "2026-11-21")
    return world


@pytest.fixture
def world(original: World) -> World:
    return deepcopy(original)


def test_an_honest_ledger_is_sound(world: World, make_row: Callable[..., protocol.Row]) -> None:
    report = world.audit()
    assert report.findings == ()
    assert report.sound
    assert (report.rows, report.batches, report.events) == (30, len(world.batches), len(world.events))
    assert report.collected_nano_cpu == report.paid_nano_cpu > 0
    assert report.open_entries == 40
    assert World().audit().sound


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
    for name, put, text in list(texts(world.rows[4].public)):
        for place in range(len(text)):
            altered = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
            copy = World(deepcopy(world.rows[4:5]), {}, [])
            copy.rows[0] = copy.rows[0]._replace(ingest=1)
            put(copy.rows[0].public, altered)
            findings = copy.audit().findings
            assert "row_hash" in {finding.code for finding in findings}, (name, place)
            assert all(world.rows[4].row_id in finding.where for finding in findings)
            tried += 1
    assert tried > 700


@pytest.mark.parametrize("column", [c for c in protocol.PUBLIC_COLUMNS if c not in ("pay_in", "payouts")])
def test_a_row_altered_with_its_hash_is_found_by_its_batches(world: World, column: str) -> None:
    value = world.rows[4].public[column]
    world.rehash(4, **{column: value[:-1] + ("1" if value[-1:] != "1" else "2")})
    findings = world.audit().findings
    row_id = world.rows[4].row_id
    batches = {f"batch {b.hex()}" for b, (_, ids) in world.batches.items() if row_id in ids}
    assert batches <= {finding.where for finding in findings if finding.code == "rows_merkle_root"}
    assert batches <= {finding.where for finding in findings if finding.code == "rows_xor"}


def move_money_between_payees(world: World) -> None:
    row = world.rows[4]
    payouts = deepcopy(row.public["payouts"])
    for name in ("amount_nano_cpu", "amount_nano_eur"):
        payouts[0][name] = str(int(payouts[0][name]) - 1)
        payouts[1][name] = str(int(payouts[1][name]) + 1)
    world.rehash(4, payouts=payouts)


def move_money_between_rows(world: World) -> None:
    """Two rows of one enterprise trade their hashes' worth: the sum of the batch stays."""
    one, two = world.rows[4], world.rows[6]
    names = ("usage_fee_nano_eur", "usage_fee_nano_cpu", "pay_in", "payouts")
    left, right = ({name: row.public[name] for name in names} for row in (two, one))
    world.rehash(4, **left)
    world.rehash(6, **right)


def add_unsettled_duplicate(world: World) -> None:
    world.rows.append(world.rows[3]._replace(ingest=31))


def add_equal_pair(world: World) -> None:
    """Two more rows that cancel in an XOR."""
    world.members("operator").extend([world.rows[25].row_id, world.rows[25].row_id])


def drop(place: int) -> Callable[[World], None]:
    return lambda world: world.rows.pop(place) and None


def drop_and_renumber(place: int) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.rows.pop(place)
        world.renumber()

    return change


def insert_and_renumber(world: World) -> None:
    row = world.rows[29]
    public = {**row.public, "row_id": "e" * 32}
    world.rows.insert(5, Shown(0, "e" * 32, protocol.row_hash(public, keccak_256), public))
    world.renumber()


def replay_old_event(world: World) -> None:
    world.events.append(world.events[0]._replace(tx_id="0xagain"))


def take_row_out_of_batch(world: World) -> None:
    world.members("contributor").pop()


def put_row_into_batch(world: World) -> None:
    """A row of the same party that waits for its own settlement."""
    public_id = world.batch("operator").public_id
    later = next(r for r in world.rows[20:] if r.public["operator_id"] == public_id)
    world.members("operator").append(later.row_id)


def put_foreign_row_into_batch(world: World) -> None:
    public_id = world.batch("contributor").public_id
    foreign = next(r for r in world.rows if r.public["contributor_id"] != public_id)
    world.members("contributor").append(foreign.row_id)


def swap_rows_between_batches(world: World) -> None:
    one, two = (ids for record, ids in world.batches.values() if record.role == "operator")
    one[0], two[0] = two[0], one[0]


def swap_places(world: World) -> None:
    world.rows[3], world.rows[4] = world.rows[4], world.rows[3]


def make_everything_anew_but_the_chain(world: World) -> None:
    """Rows, hashes and batches all fit together; only the chain remembers."""
    world.rehash(4, event_time_ns="1")
    rebuilt = World(world.rows)
    previous = rebuilt.settle(1, 10, NO_SETTLEMENT, "2026-11-20")
    rebuilt.settle(11, 20, previous, "2026-11-21")
    world.batches = rebuilt.batches


def uncollect(world: World) -> None:
    record = world.batch("enterprise")
    del world.batches[record.batch_id]
    entity = entity_on_chain(record.public_id)
    world.events = [e for e in world.events if (e.entity, e.role) != (entity, 0) or e.settlement_id != _run(world, 1)]


def _run(world: World, first: int) -> bytes:
    return next(r.settlement_id(keccak_256) for r, _ in world.batches.values() if r.first_ingest == first)


def another_first_run(world: World) -> None:
    world.settle(21, 30, NO_SETTLEMENT, "another")


def a_run_over_old_rows(world: World) -> None:
    """A third run that counts rows of the second again."""
    world.settle(15, 30, _run(world, 11), "overlap")


BATTERY: list[tuple[str, Callable[[World], None], set[str]]] = [
    ("row hash altered", lambda w: w.rows.__setitem__(3, w.rows[3]._replace(row_hash=bytes(32))), {"row_hash"}),
    ("row under another id", lambda w: w.rows.__setitem__(3, w.rows[3]._replace(row_id="d" * 32)), {"row_id"}),
    ("hashes of two rows swapped", lambda w: w.rows.__setitem__(3, w.rows[3]._replace(row_hash=w.rows[4].row_hash)), {"row_hash"}),
    ("column left out", lambda w: w.rows[3].public.pop("tier") and None, {"column_missing", "row_hash"}),
    ("column added", lambda w: w.rows[3].public.update(note="x"), {"column_unknown", "row_hash"}),
    ("column of another kind", lambda w: w.rows[3].public.update(tier=2), {"column_form", "row_hash"}),
    ("float", lambda w: w.rows[3].public.update(tier=0.5), {"column_form", "row_hash"}),
    ("entries of another kind", lambda w: w.rows[3].public.update(payouts=[{"role": []}]), {"column_form", "row_missing"}),
    ("negative amount", lambda w: w.rows[3].public["payouts"][0].update(amount_nano_cpu="-1"), {"column_form", "row_missing"}),
    ("huge amount", lambda w: w.rows[3].public["payouts"][0].update(amount_nano_cpu="9" * 30), {"column_form"}),
    ("money moved between payees", move_money_between_payees, {"rows_amount", "rows_xor", "rows_merkle_root"}),
    ("money moved between rows", move_money_between_rows, {"rows_xor", "rows_merkle_root"}),
    ("row dropped", drop(4), {"ingest", "row_missing", "rows_row_count", "rows_amount", "rows_xor", "rows_merkle_root"}),
    ("row dropped, renumbered", drop_and_renumber(4), {"row_missing", "rows_row_count"}),
    ("all waiting rows and a settled one dropped", lambda w: w.rows.__delitem__(slice(19, None)), {"rows_missing", "row_missing"}),
    ("row added in the middle, renumbered", insert_and_renumber, {"row_late"}),
    ("row doubled", add_unsettled_duplicate, {"row_twice"}),
    ("row doubled under its number", lambda w: w.rows.insert(4, w.rows[4]), {"row_twice", "ingest"}),
    ("rows in another order", swap_places, {"ingest"}),
    ("equal pair added to a batch", add_equal_pair, {"row_late", "row_settled_twice", "rows_row_count"}),
    ("row taken out of a batch", take_row_out_of_batch, {"rows_row_count", "rows_amount", "rows_xor"}),
    ("row put into a batch", put_row_into_batch, {"row_late", "rows_row_count", "rows_amount"}),
    ("row put into a batch twice", lambda w: w.members("operator").append(w.members("operator")[0]), {"row_settled_twice"}),
    ("another party's row in a batch", put_foreign_row_into_batch, {"row_foreign"}),
    ("rows swapped between batches", swap_rows_between_batches, {"row_late", "rows_xor", "rows_merkle_root"}),
    ("row that never was in a batch", lambda w: w.members("operator").append("9" * 32), {"row_missing"}),
    ("garbage as a row id in a batch", lambda w: w.members("operator").append("zz"), {"row_missing"}),
    ("rows of a batch gone", lambda w: w.members("operator").clear(), {"rows_of_batch"}),
    ("batch gone", lambda w: w.batches.pop(w.batch("developer").batch_id) and None, {"batch_missing"}),
    ("batch amount", lambda w: w.change_batch("operator", amount_nano_cpu=1), {"batch_amount"}),
    ("batch count", lambda w: w.change_batch("operator", row_count=1), {"batch_row_count"}),
    ("batch XOR", lambda w: w.change_batch("operator", xor=bytes(32)), {"batch_xor"}),
    ("batch root", lambda w: w.change_batch("operator", merkle_root=bytes(32)), {"batch_merkle_root"}),
    ("batch account", lambda w: w.change_batch("operator", account="0x" + "b" * 40), {"batch_account"}),
    ("batch entity", lambda w: w.change_batch("operator", public_id="p" + "a" * 26), {"batch_id", "batch_entity", "row_foreign"}),
    ("batch entity malformed", lambda w: w.change_batch("operator", public_id="nobody"), {"batch_malformed"}),
    ("batch role", lambda w: w.change_batch("operator", role="charity"), {"batch_id", "batch_role", "row_foreign"}),
    ("batch period", lambda w: w.change_batch("operator", period="x"), {"batch_id"}),
    ("batch range", lambda w: w.change_batch("operator", last_ingest=11), {"batch_id"}),
    ("batch predecessor", lambda w: w.change_batch("operator", previous=b"p" * 32), {"batch_id"}),
    ("batch of another contract", lambda w: w.change_batch("operator", token="0x" + "8" * 40), {"batch_chain", "batch_id"}),
    ("batch of another chain", lambda w: w.change_batch("operator", chain_id=1), {"batch_chain", "batch_id"}),
    ("event gone (anchor reorganised away)", lambda w: w.events.pop(0) and None, {"event_missing"}),
    ("event twice", replay_old_event, {"event_twice"}),
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
    ("everything made anew but the chain", make_everything_anew_but_the_chain, {"batch_xor", "rows_xor", "rows_merkle_root"}),
    ("paid, not collected", uncollect, {"paid_uncollected"}),
    ("two first runs", another_first_run, {"run_order"}),
    ("a run over rows of the one before", a_run_over_old_rows, {"run_order", "row_settled_twice"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tamper", "codes"), BATTERY, ids=[case[0] for case in BATTERY])
def test_tampering_is_found(world: World, name: str, tamper: Callable[[World], None], codes: set[str]) -> None:
    tamper(world)
    report = world.audit()
    found = {finding.code for finding in report.findings}
    assert codes <= found, f"{name}: {found}"
    assert all(
        finding.where.startswith(("row ", "batch ", "settlement ", "transaction ")) for finding in report.findings
    )
    assert not report.sound


def test_a_batch_without_marks_and_event_is_a_run_under_way(world: World) -> None:
    """Payouts store batches before any money moves, and mark rows after."""
    record = world.batch("operator")
    world.batches[record.batch_id] = (record, [])
    world.events = [e for e in world.events if e.batch_id(keccak_256) != record.batch_id]
    assert world.audit().sound


def test_findings_are_bounded(world: World) -> None:
    world.rows = [
        Shown(n, f"{n:032x}", bytes(32), {**world.rows[0].public, "row_id": f"{n:032x}", "tier": "9"})
        for n in range(1, MAX_FINDINGS + 100)
    ]
    report = World(world.rows).audit()
    assert len(report.findings) == MAX_FINDINGS
    assert report.more_findings > 100
    assert report.rows == MAX_FINDINGS + 99


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
        world.rehash(place, contributor_id="p" + "a" * 26)
    variants = []
    for place in range(100, 400):
        public = world.rows[place].public
        other = {**public, "custom_hash": keccak_256(public["custom_hash"].encode()).hex()}
        variants.append(tuple(int.from_bytes(protocol.row_hash(p, keccak_256), "big") for p in (public, other)))
    stolen = 0
    for row in world.rows[:100]:
        stolen ^= int.from_bytes(row.row_hash, "big")
    wanted = int.from_bytes(operator.xor, "big") ^ stolen
    for place, second in enumerate(with_same_xor(wanted, variants), 100):
        if second:
            world.rehash(place, custom_hash=keccak_256(world.rows[place].public["custom_hash"].encode()).hex())
    report = world.audit()
    codes = {finding.code for finding in report.findings if finding.where == f"batch {operator.batch_id.hex()}"}
    assert codes == {"rows_merkle_root"}, "XOR, count and amount were all met"


def test_the_auditor_counts_by_itself(world: World) -> None:
    """What it reports as collected and paid is what the batches say, per side."""
    report = world.audit()
    by_side = {True: 0, False: 0}
    for record, _ in world.batches.values():
        by_side[record.role in PAYERS] += record.amount_nano_cpu
    assert (report.collected_nano_cpu, report.paid_nano_cpu) == (by_side[True], by_side[False])
    assert replace(report, findings=()).sound
