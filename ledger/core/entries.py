"""Who pays and who is paid in a row, as flat entries; and the states of their payment (L-1, P-10).

Pure: public rows in, entries out. Both stores and the auditor take them from here.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from cgn_sdk.protocol.row import Finding, Keccak, Row, RowError, Share

from ledger import limits

PENDING: Final = "pending"
CARRIED: Final = "carried"
COLLECTED: Final = "collected"
PAID: Final = "paid"
STATES: Final = (PENDING, CARRIED, COLLECTED, PAID)

PAYERS: Final = frozenset({"enterprise", "subsidy"})
"""Roles that pay in; all others are paid."""


Entry = Share
"""One party's part of one row."""


def entries_of(public: Mapping[str, Any]) -> list[Entry]:
    """Returns the row's entries, payers first, each list in its order. The row's forms must be right (`verify_row`)."""
    found = [Entry(entry["role"], entry["id"], int(entry["amount_nano_cpu"]), 0) for entry in public["pay_in"]]
    found += [
        Entry(entry["role"], entry["id"], int(entry["amount_nano_cpu"]), int(entry["amount_nano_eur"]))
        for entry in public["payouts"]
    ]
    return found


def sound_entries(row: Row, keccak: Keccak) -> list[Entry]:
    """Returns the entries of a row that is about to be stored. Raises RowError when its hash or sums do not hold (L-1).

    A `Row` was checked when it was made; this is the second look at what matters most, cheap enough for every row.
    """
    public = row.public
    entries = entries_of(public)
    paid_in = paid_out = paid_out_eur = 0
    for role, _, cpu, eur in entries:
        if role in PAYERS:
            paid_in += cpu
        else:
            paid_out += cpu
            paid_out_eur += eur
    fee_cpu, fee_eur = int(public["usage_fee_nano_cpu"]), int(public["usage_fee_nano_eur"])
    if not paid_in == paid_out == fee_cpu or paid_out_eur != fee_eur:
        raise RowError([Finding("money", row.row_id, "pay-in, payouts and fee are not the same amount")])
    if keccak(row.public_json) != row.row_hash:
        raise RowError([Finding("row_hash", row.row_id, "is not the hash of the public columns")])
    return entries


def refuse_times(rows: Iterable[Row], now_ns: int) -> None:
    """Raises RowError naming the rows whose event time is not near the clock of who stores them: a row from the future,
    or from long ago, is a clock that was wrong, and a payout run must not have to ask which (P-6)."""
    ahead_ns, behind_ns = limits.ROW_AHEAD_S * 10**9, limits.ROW_BEHIND_S * 10**9
    findings = []
    for row in rows:
        late_ns = now_ns - int(row.public["event_time_ns"])
        if not -ahead_ns <= late_ns <= behind_ns:
            detail = f"is {abs(late_ns) // 10**9} s {'behind' if late_ns > 0 else 'ahead of'} the ledger's clock"
            findings.append(Finding("row_time", f"row {row.row_id}, event_time_ns", detail))
    if findings:
        raise RowError(findings)


class Mark(NamedTuple):
    """The mutable columns of one (row, entity). `batch_id` is 32 bytes, or empty where no batch holds the row yet."""

    state: str
    batch_id: bytes = b""
    tx_id: str = ""


def refuse_mark(role: str, before: Mark | None, after: Mark) -> str:
    """Returns why a mark may not follow another one, or the empty string.

    What is settled stays settled in its batch: only the transaction may still change (a replaced or re-mined one).
    Anything that is not settled may be marked anew.
    """
    settled = COLLECTED if role in PAYERS else PAID
    if after.state not in {PENDING, CARRIED, settled}:
        return f"{after.state!r} is no state of a {role}"
    if after.state == CARRIED and role in PAYERS:
        return f"nothing is carried for a {role}"
    if (after.state == settled) != bool(after.batch_id):
        return "a batch belongs to what is settled, and to nothing else"
    if after.batch_id and len(after.batch_id) != 32:
        return "a batch id is 32 bytes"
    if before is not None and before.state == settled and (before.state, before.batch_id) != after[:2]:
        return f"already {before.state} in batch {before.batch_id.hex()}"
    return ""
