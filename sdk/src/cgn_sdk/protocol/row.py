"""The microtransaction row: its columns, its hashes, and what must hold for its money (L-1, L-2).

Columns are declared once, in `COLUMNS`, with the three characteristics of the specification. A `Row` can only be made
by `build_row`, which checks everything, `read_row` and `decode_row`, which check everything again, or `carry_row`,
which takes over what another process of the program has checked. `verify_row` says what is wrong with a public row that
somebody else shows.

Stored bytes are checked as bytes: `read_public` and `read_private` take the one canonical spelling and no other, so
that every reader of a row sees the same one. They are made for millions of rows: one pattern checks and reads a public
row in a fifth of the time of a JSON parser and a look at each column.

    row hash   = Keccak-256(canonical JSON of all public columns but the row hash itself)
    part salt  = Keccak-256(salt ‖ part name)
    part hash  = Keccak-256(part salt ‖ canonical JSON of the part)

One random salt of 32 bytes per row: showing one part's salt opens one part and says nothing about the others.

What is left to others: which fee is right (ledger.core.money and the node's price), who signs the row (receipt).
Amounts are integers in Python and strings of decimal digits in JSON; nothing here knows floats.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from cgn_sdk.protocol.canonical import CanonicalError, CanonicalText, encode, parse, read_at

Keccak: TypeAlias = Callable[[bytes], bytes]
PublicRow: TypeAlias = dict[str, Any]
Part: TypeAlias = Mapping[str, Any] | CanonicalText
"""A private part: an object, or its canonical JSON."""
"""The public columns by name, as they stand in JSON: strings, and two lists of objects of strings."""

SCHEMA_VERSION: Final = "1"
TIERS: Final = ("1", "2", "3", "4a", "4b")
PAY_IN_ROLES: Final = ("enterprise", "subsidy")
PAYOUT_ROLES: Final = ("charity", "contributor", "developer", "operator")
ROLES: Final = ("enterprise", "contributor", "developer", "operator", "charity", "subsidy")
"""All roles; the position is the role's number on the chain (P-1)."""
NANO_PER_UNIT: Final = 1_000_000_000

MAX_AMOUNT: Final = 2**63 - 1
"""Largest amount, rate or time: what a 64-bit column of either store holds. In nano-CPU above the whole supply."""

MAX_PAY_IN: Final = 16
MAX_PAYOUTS: Final = 64
"""Entries per row: far above what deals and charity shares need; they bound a row and its work in a payout run."""

MAX_PART_BYTES: Final = 64 * 1024
"""Canonical bytes of one private part: request headers are at most 32 KiB, the rest is ours."""

MAX_CUSTOM_BYTES: Final = 16 * 1024
"""Canonical bytes of the enterprise's own fields of one row (a few KB each, limited as a whole)."""

MAX_PUBLIC_BYTES: Final = 16 * 1024
"""Canonical bytes of the public columns: 64 payouts of about 150 bytes and the rest."""

MAX_PRIVATE_BYTES: Final = 4 * MAX_PART_BYTES + MAX_CUSTOM_BYTES + 1024
"""Canonical bytes of {parts, salt}: every part at its limit, names and salt."""

SALT_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
"""Of the node over the row hash (Ed25519)."""


class Column(NamedTuple):
    """One column and its class (specification, the table of L)."""

    name: str
    mutability: Literal["immutable", "mutable"]
    origin: Literal["internal", "custom"]
    visibility: Literal["public", "private"]
    form: str
    """Which check of `_FORMS` a value must pass; "part" for private objects, "state" for what payouts keep apart."""
    meaning: str


def _public(name: str, form: str, meaning: str) -> Column:
    return Column(name, "immutable", "internal", "public", form, meaning)


def _private(name: str, meaning: str) -> Column:
    return Column(name, "immutable", "internal", "private", "part", meaning)


COLUMNS: Final[tuple[Column, ...]] = (
    _public("row_id", "row_id", "request id = row id: 32 hexadecimal digits"),
    _public("schema_version", "schema", "version of this table"),
    _public("event_time_ns", "amount", "when the work ended, UTC, ns since 1970"),
    _public("node_id", "public_id", "the CGN node"),
    _public("enterprise_id", "public_id", "who asked for the work"),
    _public("end_user_id", "optional_id", "the enterprise's user, or empty"),
    _public("contributor_id", "public_id", "whose miner did the work"),
    _public("developer_id", "public_id", "who wrote the DService"),
    _public("operator_id", "public_id", "who operates the node"),
    _public("dservice", "name", "name of the DService"),
    _public("dservice_version", "version", "its version"),
    _public("tier", "tier", "tier of the miner"),
    _public("usage_fee_nano_eur", "amount", "price of the work, 1e-9 EUR"),
    _public("usage_fee_nano_cpu", "amount", "price of the work, 1e-9 CPU"),
    _public("exchange_rate_nano_eur_per_cpu", "rate", "1e-9 EUR for one CPU (1e9 nano-CPU)"),
    _public("pay_in", "pay_in", "who pays: list of {role, id, amount_nano_cpu}, sorted by role and id"),
    _public("payouts", "payouts", "who is paid: list of {role, id, amount_nano_eur, amount_nano_cpu}, sorted"),
    _public("request_hash", "hash", "salted hash of the private part `request`"),
    _public("metrics_hash", "hash", "salted hash of the private part `metrics`"),
    _public("service_hash", "hash", "salted hash of the private part `service`"),
    _public("accounts_hash", "hash", "salted hash of the private part `accounts`"),
    Column("custom_hash", "immutable", "custom", "public", "hash", "salted hash of the private part `custom`"),
    _public("row_hash", "row_hash", "hash of the public columns above"),
    _private("request", "method, URL, headers, digests and sizes of both bodies"),
    _private("metrics", "use claimed and measured, times, the miner's signed statement and its seal proof"),
    _private("service", "metadata the DService gave"),
    _private("accounts", "Ethereum address by public id"),
    Column("custom", "immutable", "custom", "private", "part", "the enterprise's CGN-Meta fields"),
    Column("payment_state", "mutable", "internal", "private", "state", "per entity: pending, collected, paid, carried"),
    Column("batch_id", "mutable", "internal", "private", "state", "per entity: the batch that settled the row"),
    Column("tx_id", "mutable", "internal", "private", "state", "per entity: the chain transaction"),
)

PUBLIC_COLUMNS: Final = tuple(c.name for c in COLUMNS if c.visibility == "public" and c.name != "row_hash")
"""The columns whose canonical JSON is hashed to the row hash."""
PARTS: Final = tuple(c.name for c in COLUMNS if c.form == "part")
"""The private parts, each an object with a salted hash among the public columns."""

PART_ORDER: Final = tuple(sorted(PARTS))
"""The parts as they stand in canonical {parts, salt}."""

_PUBLIC_SET = frozenset(PUBLIC_COLUMNS)
_PART_HASH_COLUMNS = tuple((name, f"{name}_hash", name.encode()) for name in PARTS)
_PARTS_IN_ORDER: Final = tuple(sorted(_PART_HASH_COLUMNS))
_AMOUNTS: Final = ("usage_fee_nano_eur", "usage_fee_nano_cpu", "exchange_rate_nano_eur_per_cpu")
_OWN_COLUMNS: Final = ("enterprise_id", "contributor_id", "developer_id", "operator_id")
_OWN_ROLES: Final = {column.removesuffix("_id"): place for place, column in enumerate(_OWN_COLUMNS)}
"""Roles that a row names one party for: who did the work is who is paid for it, who asked is who pays. Charities and
subsidies may be anybody's."""


class PayIn(NamedTuple):
    """Who pays how much of a row."""

    role: str
    id: str
    amount_nano_cpu: int


class Payout(NamedTuple):
    """Who is paid how much of a row."""

    role: str
    id: str
    amount_nano_eur: int
    amount_nano_cpu: int


class Finding(NamedTuple):
    """One thing wrong with what somebody shows. `where` names the row, column, batch or field; `code` is stable."""

    code: str
    where: str
    detail: str


class RowError(ValueError):
    """A row that must not exist: carries every finding."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(f"{f.where}: {f.detail}" for f in self.findings[:8]))


class Share(NamedTuple):
    """One party's part of one row. Those who pay in have no amount in EUR: a row states theirs in CPU only."""

    role: str
    public_id: str
    amount_nano_cpu: int
    amount_nano_eur: int


class PublicFacts(NamedTuple):
    """What a checker or a payout run needs of a sound public row."""

    row_id: str
    node_id: str
    event_time_ns: int
    shares: list[Share]
    """Payers first, each list in its order."""
    part_hashes: tuple[str, ...]
    """By part, in the order of `PART_ORDER`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One verified microtransaction. Made by `build_row`, `read_row`, `decode_row` and `carry_row` only."""

    public: Mapping[str, Any]
    """The public columns (those of PUBLIC_COLUMNS)."""
    salt: bytes
    row_hash: bytes
    public_json: bytes
    """Canonical JSON of `public`: the preimage of the row hash."""
    private_json: bytes
    """Canonical JSON of {parts, salt}: what a store keeps beside the public columns and never shows."""
    node_signature: bytes = b""
    """The node's, over the row hash (`receipt.ROW`), made when the row is recorded; empty for a row of an older ledger.
    Whether it holds, says who knows the node's key."""

    def signed(self, node_signature: bytes) -> "Row":
        """Returns the row with the node's signature over its hash. Raises RowError for one of another length."""
        if len(node_signature) != SIGNATURE_BYTES:
            raise RowError([Finding("node_signature", "row", f"is not {SIGNATURE_BYTES} bytes")])
        return replace(self, node_signature=node_signature)

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """The private parts by name, read anew from `private_json`: a row on its way to the ledger never needs them."""
        parts: dict[str, dict[str, Any]] = json.loads(self.private_json)["parts"]
        return parts

    @property
    def row_id(self) -> str:
        row_id: str = self.public["row_id"]
        return row_id

    def to_bytes(self) -> bytes:
        """Returns the row as one canonical JSON object, {"node_signature": …, "private": …, "public": …}, the first in
        hexadecimal and left out where there is none; `decode_row` undoes it."""
        signature = b'"node_signature":"%b",' % self.node_signature.hex().encode() if self.node_signature else b""
        return b'{%b"private":%b,"public":%b}' % (signature, self.private_json, self.public_json)


_stored_head = re.compile(rb'\{(?:"node_signature":"([0-9a-f]{128})",)?"private":').match
"""How `Row.to_bytes` begins: 64 bytes in hexadecimal, or none."""


def build_row(
    *,
    row_id: str,
    event_time_ns: int,
    node_id: str,
    enterprise_id: str,
    contributor_id: str,
    developer_id: str,
    operator_id: str,
    dservice: str,
    dservice_version: str,
    tier: str,
    usage_fee_nano_eur: int,
    usage_fee_nano_cpu: int,
    exchange_rate_nano_eur_per_cpu: int,
    pay_in: Iterable[PayIn],
    payouts: Iterable[Payout],
    parts: Mapping[str, Part],
    salt: bytes,
    keccak: Keccak,
    end_user_id: str = "",
) -> Row:
    """Builds a row and everything derived from it; sorts the two lists.

    Amounts are integers (1e-9 EUR, 1e-9 CPU), the time is ns since 1970 UTC, `parts` holds the private parts by name
    (a missing one is the empty object), `salt` is 32 fresh random bytes. Raises RowError with every finding when
    a form or a money invariant does not hold (L-1), and when a part has no canonical form or is too long.
    """
    public: PublicRow = {
        "row_id": row_id,
        "schema_version": SCHEMA_VERSION,
        "event_time_ns": _digits(event_time_ns),
        "node_id": node_id,
        "enterprise_id": enterprise_id,
        "end_user_id": end_user_id,
        "contributor_id": contributor_id,
        "developer_id": developer_id,
        "operator_id": operator_id,
        "dservice": dservice,
        "dservice_version": dservice_version,
        "tier": tier,
        "usage_fee_nano_eur": _digits(usage_fee_nano_eur),
        "usage_fee_nano_cpu": _digits(usage_fee_nano_cpu),
        "exchange_rate_nano_eur_per_cpu": _digits(exchange_rate_nano_eur_per_cpu),
        "pay_in": [
            {"role": role, "id": id_, "amount_nano_cpu": _digits(cpu)} for role, id_, cpu in sorted(pay_in, key=_order)
        ],
        "payouts": [
            {"role": role, "id": id_, "amount_nano_eur": _digits(eur), "amount_nano_cpu": _digits(cpu)}
            for role, id_, eur, cpu in sorted(payouts, key=_order)
        ],
    }
    private_json = _add_part_hashes(public, parts, salt, keccak)
    return _finish(public, salt, private_json, keccak)


def decode_row(data: bytes, keccak: Keccak) -> Row:
    """Returns the row that `Row.to_bytes` wrote, after checking all of it again.

    Raises RowError when the bytes are not exactly such a row or a hash in them does not fit.
    """
    at = data.rfind(b',"public":{')  # a public row has no such text in it
    head = _stored_head(data)
    if at < 0 or head is None or not data.endswith(b"}"):
        raise RowError([Finding("row_malformed", "row", 'is not {"node_signature": …, "private": …, "public": …}')])
    row = read_row(data[at + 10 : -1], data[head.end() : at], keccak)
    return row.signed(bytes.fromhex(head[1].decode())) if head[1] else row


def read_row(public_json: bytes, private_json: bytes, keccak: Keccak) -> Row:
    """Returns the row of these stored bytes, after checking all of it again. Raises RowError with what is wrong."""
    facts = read_public(public_json)
    read_private(private_json, facts.part_hashes, keccak)
    public = MappingProxyType(json.loads(public_json))
    return Row(public, _salt_in(private_json), keccak(public_json), public_json, private_json)


def read_public(data: bytes) -> PublicFacts:
    """Returns what stands in the bytes of a public row, when they are sound and canonical to the last one: columns,
    forms, order, sums, who did the work is who is paid (L-1, L-2). Raises RowError with everything that is wrong."""
    text = data.decode("ascii", "replace") if len(data) <= MAX_PUBLIC_BYTES else ""
    match = _is_sound_text(text)
    facts = None if match is None else _facts(match)
    if facts is None:
        raise RowError(_public_findings(data))
    return facts


def read_private(data: bytes, part_hashes: tuple[str, ...], keccak: Keccak) -> dict[str, dict[str, Any]]:
    """Returns the private parts by name out of the bytes of {parts, salt}, when they are canonical to the last one and
    each is what its hash (in the order of `PART_ORDER`) is over. Raises RowError with everything that is wrong."""
    try:
        parts, texts = _cut_parts(data.decode())
    except ValueError:
        raise RowError(_private_findings(data)) from None
    salt = _salt_in(data)
    findings = []
    for (name, column, name_bytes), text, wanted in zip(_PARTS_IN_ORDER, texts, part_hashes, strict=True):
        part_bytes = text.encode()
        if len(part_bytes) > (MAX_CUSTOM_BYTES if name == "custom" else MAX_PART_BYTES):
            findings.append(Finding("part_length", name, f"is {len(part_bytes)} bytes long"))
        if keccak(keccak(salt + name_bytes) + part_bytes).hex() != wanted:
            findings.append(Finding("part_hash", column, "is not the part's hash"))
    if findings:
        raise RowError(findings)
    return parts


def read_accounts(data: bytes, part_hashes: tuple[str, ...], keccak: Keccak) -> dict[str, Any]:
    """Returns the private part `accounts` out of the bytes of {parts, salt}, when it is what its hash is over: for
    payouts, which act on no other part. It stands first. Raises RowError with what is wrong."""
    (name, opening), (_, column, name_bytes) = _PART_OPENINGS[0], _PARTS_IN_ORDER[0]
    try:
        text = data.decode()
        accounts, end = read_at(text, len(opening))
        salt = _salt_in(data)
    except ValueError:
        raise RowError(_private_findings(data)) from None
    framed = text.startswith(opening) and text.startswith(_PART_OPENINGS[1][1], end)
    if not framed or not isinstance(accounts, dict) or _is_closing(text, max(0, len(text) - _CLOSING_LENGTH)) is None:
        raise RowError(_private_findings(data))
    if keccak(keccak(salt + name_bytes) + text[len(opening) : end].encode()).hex() != part_hashes[0]:
        raise RowError([Finding("part_hash", column, f"is not the hash of the part {name!r}")])
    return accounts


def carry_row(public_json: bytes, private_json: bytes, row_hash: bytes, node_signature: bytes, keccak: Keccak) -> Row:
    """Returns a `Row` that another process of the same program made, from its four fields; cheaper than `decode_row`.

    Its maker has checked it. The hash is looked at again and binds all public columns; the private parts are taken as
    they are (who reads them from a store checks them again). Not for bytes from anybody else, nor from a disk.
    Raises RowError when the hash does not fit or the bytes are no row's.
    """
    if keccak(public_json) != row_hash:
        raise RowError([Finding("row_hash", "row", "is not the hash of the public columns")])
    try:
        public, salt = json.loads(public_json), bytes.fromhex(private_json[-66:-2].decode())
    except ValueError as error:
        raise RowError([Finding("row_malformed", "row", f"not a row: {error!r:.200}")]) from error
    if len(salt) != SALT_BYTES:
        raise RowError([Finding("salt", "salt", f"is not {SALT_BYTES} bytes")])
    return Row(MappingProxyType(public), salt, row_hash, public_json, private_json, node_signature)


def row_hash(public: Mapping[str, Any], keccak: Keccak) -> bytes:
    """Returns Keccak-256 over the canonical JSON of the public columns. Raises CanonicalError where there is none."""
    return keccak(public_preimage(public))


def public_preimage(public: Mapping[str, Any]) -> bytes:
    """Returns the bytes that the row hash is taken over. A `row_hash` among the columns is left out."""
    text = _canonical_text(public)
    if text is not None:
        return text.encode()
    return encode({name: value for name, value in public.items() if name != "row_hash"})


def part_salt(salt: bytes, part: str, keccak: Keccak) -> bytes:
    """Returns the salt that opens one private part."""
    return keccak(salt + part.encode())


def part_hash(part_salt: bytes, part: Mapping[str, Any], keccak: Keccak) -> bytes:
    """Returns the salted hash of a private part, as it stands among the public columns."""
    return keccak(part_salt + encode(dict(part)))


def amount(digits: str) -> int:
    """Returns the integer of a column that holds digits. Raises ValueError for any other text."""
    if type(digits) is not str or not _is_amount(digits):
        raise ValueError(f"not an amount: {digits!r:.80}")
    return int(digits)


def fee_nano_cpu(fee_nano_eur: int, rate_nano_eur_per_cpu: int) -> int:
    """Returns a fee in 1e-9 CPU at a rate in 1e-9 EUR for one CPU, rounded **down**: nobody pays more than the price.

    The only rounding between the two currencies; it is protocol, since a validator recomputes it for every row.
    """
    return fee_nano_eur * NANO_PER_UNIT // rate_nano_eur_per_cpu


def verify_row(public: object) -> list[Finding]:
    """Returns everything wrong with a public row as shown: columns, forms, order, sums (L-1). Empty means sound.

    Hashes are not looked at: a public row does not hold what its part hashes are over, and the row hash is compared by
    whoever has it (`row_hash`).
    """
    if not isinstance(public, dict):
        return [Finding("row_malformed", "row", "is not an object")]
    if _canonical_text(public) is not None:
        return _money_of(public)
    findings = [Finding("column_missing", name, "is missing") for name in PUBLIC_COLUMNS if name not in public]
    findings += [
        Finding("column_unknown", str(name)[:80], "is no public column")
        for name in public
        if name not in _PUBLIC_SET and name != "row_hash"
    ]
    for name, form in _FORM_OF:
        if name in public:
            problem = form(public[name])
            if problem:
                findings.append(Finding("column_form", name, problem))
    return findings or _money_of(public)


# --- forms ---------------------------------------------------------------------------------------------------------


def _at_most(number: int) -> str:
    """Returns the pattern of the decimal numbers from 0 to `number`, without leading zeros."""
    digits = str(number)
    choices = ["0", f"[1-9][0-9]{{0,{len(digits) - 2}}}"]
    for place, digit in enumerate(digits):
        least, rest = (1 if place == 0 else 0), len(digits) - 1 - place
        if int(digit) > least:
            choices.append(f"{digits[:place]}[{least}-{int(digit) - 1}][0-9]{{{rest}}}")
    return f"(?:{'|'.join([*choices, digits])})"


_AMOUNT = _at_most(MAX_AMOUNT)
_PUBLIC_ID = "p[a-z2-7]{25}[aeimquy4]"
"""26 characters hold two bits more than 16 bytes; they are zero, so that an entity has one spelling in rows as it has
one in events (`settlement.entity_on_chain`)."""
_PATTERNS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "row_id": ("[0-9a-f]{32}", "32 lower-case hexadecimal digits"),
        "schema": (SCHEMA_VERSION, f"schema version {SCHEMA_VERSION!r}"),
        "amount": (_AMOUNT, "a string of decimal digits of at most 2^63-1"),
        "rate": (f"(?!0){_AMOUNT}", "a string of decimal digits of at least 1 and at most 2^63-1"),
        "public_id": (_PUBLIC_ID, "a public id (p and 16 bytes in base32)"),
        "optional_id": (f"(?:{_PUBLIC_ID})?", "a public id or empty"),
        "name": ("[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", "a DService name"),
        "version": ("[0-9A-Za-z](?:[0-9A-Za-z.+_-]{0,62}[0-9A-Za-z])?", "a version"),
        "tier": (f"(?:{'|'.join(TIERS)})", f"one of {', '.join(TIERS)}"),
        "pay_in_role": (f"(?:{'|'.join(PAY_IN_ROLES)})", f"one of {', '.join(PAY_IN_ROLES)}"),
        "payout_role": (f"(?:{'|'.join(PAYOUT_ROLES)})", f"one of {', '.join(PAYOUT_ROLES)}"),
        "hash": ("[0-9a-f]{64}", "64 lower-case hexadecimal digits"),
    }
)
"""Form of a text column: the pattern it matches, and the same in words. No pattern lets a quote, a backslash or a brace
through, so a text that matches stands in JSON as it is."""

_LISTS: Final[Mapping[str, tuple[dict[str, str], int]]] = MappingProxyType(
    {
        "pay_in": ({"amount_nano_cpu": "amount", "id": "public_id", "role": "pay_in_role"}, MAX_PAY_IN),
        "payouts": (
            {"amount_nano_cpu": "amount", "amount_nano_eur": "amount", "id": "public_id", "role": "payout_role"},
            MAX_PAYOUTS,
        ),
    }
)
"""Form of a list column: members of its objects with their forms, in canonical order, and the most entries."""


_is_amount = re.compile(_AMOUNT, re.ASCII).fullmatch


def _text_form(form: str) -> Callable[[object], str]:
    pattern, wanted = _PATTERNS[form]
    matches = re.compile(pattern, re.ASCII).fullmatch

    def problem(value: object) -> str:
        return "" if type(value) is str and matches(value) else f"{value!r:.80} is not {wanted}"

    return problem


def _list_form(form: str) -> Callable[[object], str]:
    members, maximum = _LISTS[form]
    checks = [(name, _text_form(of)) for name, of in members.items()]

    def problem(value: object) -> str:
        if type(value) is not list or len(value) > maximum:
            return f"is not a list of at most {maximum} entries"
        before = ("", "")
        for entry in value:
            if type(entry) is not dict or entry.keys() != members.keys():
                return f"{entry!r:.80} is not an object of {', '.join(members)}"
            for name, check in checks:
                wrong = check(entry[name])
                if wrong:
                    return f"{name}: {wrong}"
            key = (entry["role"], entry["id"])
            if key <= before:
                return "is not sorted by role and id, or names one twice"
            before = key
        return ""

    return problem


_FORM_OF = tuple(
    (c.name, _list_form(c.form) if c.form in _LISTS else _text_form(c.form)) for c in COLUMNS if c.name in _PUBLIC_SET
)


def _template(forms: Mapping[str, str]) -> tuple[str, str]:
    """Returns the canonical text of an object of texts as a %-template, and the pattern of what it may become."""
    texts = ",".join(f'"{name}":"%({name})s"' for name in sorted(forms))
    patterns = ",".join(f'"{name}":"{_PATTERNS[forms[name]][0]}"' for name in sorted(forms))
    return "{" + texts + "}", r"\{" + patterns + r"\}"


_ENTRY_TEMPLATES: Final = {form: _template(members)[0] for form, (members, _) in _LISTS.items()}
_ROW_FORMS: Final = {c.name: c.form for c in COLUMNS if c.name in _PUBLIC_SET}
_ROW_TEMPLATE: Final = (
    "{"
    + ",".join(f'"{n}":[%({n})s]' if f in _LISTS else f'"{n}":"%({n})s"' for n, f in sorted(_ROW_FORMS.items()))
    + "}"
)


def _row_pattern() -> str:
    """The canonical text of a sound public row, one group per column in canonical order."""
    columns = []
    for name, form in sorted(_ROW_FORMS.items()):
        if form in _LISTS:
            members, maximum = _LISTS[form]
            entry = _template(members)[1]
            columns.append(rf'"{name}":\[((?:{entry}(?:,{entry}){{0,{maximum - 1}}})?)\]')
        else:
            columns.append(f'"{name}":"({_PATTERNS[form][0]})"')
    return r"\{" + ",".join(columns) + r"\}"


_is_sound_text = re.compile(_row_pattern(), re.ASCII).fullmatch
_TYPES: Final = {str, list}


def _canonical_text(public: Mapping[str, Any]) -> str | None:
    """Returns the canonical JSON of a public row whose forms all hold, or None: then `verify_row` says what does not.

    A row is written by a template and read by one pattern, both made from the table of columns: a tenth of the cost of
    looking at each column. The text equals `canonical.encode(public)`: every value is a str, none holds a character
    that JSON escapes, and the count of braces shows that no value brought entries of its own.
    """
    try:
        if len(public) != len(_ROW_FORMS) or set(map(type, public.values())) != _TYPES:
            return None
        texts = dict(public)
        entries = 0
        for name, template in _ENTRY_TEMPLATES.items():
            listed, before = public[name], ("", "")
            if type(listed) is not list:
                return None
            for entry in listed:
                key = (entry["role"], entry["id"])
                if key <= before or type("".join(entry.values())) is not str or len(entry) != len(_LISTS[name][0]):
                    return None
                before = key
            entries += len(listed)
            texts[name] = ",".join([template % entry for entry in listed])
        text = _ROW_TEMPLATE % texts
    except (KeyError, TypeError, AttributeError):
        return None
    if _is_sound_text(text) is None or text.count("{") != entries + 1:
        return None
    return text


def _money_of(public: Mapping[str, Any]) -> list[Finding]:
    """What is wrong with the sums and ids of a row whose forms are right."""
    shares = [Share(entry["role"], entry["id"], int(entry["amount_nano_cpu"]), 0) for entry in public["pay_in"]]
    payers = len(shares)
    shares += [
        Share(entry["role"], entry["id"], int(entry["amount_nano_cpu"]), int(entry["amount_nano_eur"]))
        for entry in public["payouts"]
    ]
    amounts = [int(public[name]) for name in _AMOUNTS]
    return _money_findings(amounts, [public[column] for column in _OWN_COLUMNS], shares, payers)


def _money_findings(amounts: Sequence[int], own: Sequence[str], shares: list[Share], payers: int) -> list[Finding]:
    """What is wrong with a row's sums, and with who is in its lists (L-1). `amounts` of `_AMOUNTS`, `own` ids of
    `_OWN_COLUMNS`; the first `payers` shares are those of `pay_in`."""
    fee_eur, fee_cpu, rate = amounts
    paid_in = paid_out = paid_out_eur = 0
    findings = []
    for place, (role, public_id, cpu, eur) in enumerate(shares):
        if place < payers:
            paid_in += cpu
        else:
            paid_out += cpu
            paid_out_eur += eur
        if role in _OWN_ROLES and own[_OWN_ROLES[role]] != public_id:
            detail = f"is {own[_OWN_ROLES[role]]}; the row lists {public_id} as {role}"
            findings.append(Finding("role_id", _OWN_COLUMNS[_OWN_ROLES[role]], detail))
    at_rate = fee_nano_cpu(fee_eur, rate)
    if fee_cpu != at_rate:
        findings.append(
            Finding("money_rate", "usage_fee_nano_cpu", f"is {fee_cpu}; the fee in EUR at the rate is {at_rate}")
        )
    if paid_in != fee_cpu:
        findings.append(Finding("money_pay_in", "pay_in", f"sums to {paid_in} nano-CPU, the fee is {fee_cpu}"))
    if paid_out != fee_cpu:
        findings.append(Finding("money_payouts", "payouts", f"sum to {paid_out} nano-CPU, the fee is {fee_cpu}"))
    if paid_out_eur != fee_eur:
        findings.append(
            Finding("money_payouts_eur", "payouts", f"sum to {paid_out_eur} nano-EUR, the fee is {fee_eur}")
        )
    return findings


# --- reading stored bytes ------------------------------------------------------------------------------------------


def _facts(match: re.Match[str]) -> PublicFacts | None:
    """What stands in a text that the pattern took; None when its order, sums or ids do not hold."""
    row_id, node_id, time, pay_in, payouts, *rest = match.group(*_TAKEN)
    shares = [Share(role, id_, int(cpu), 0) for cpu, _, id_, role in _entries_in(pay_in)]
    payers = len(shares)
    shares += [Share(role, id_, int(cpu), int(eur)) for cpu, eur, id_, role in _entries_in(payouts)]
    before = None
    for place, share in enumerate(shares):
        key = share[:2]
        if before is not None and key <= before and place != payers:
            return None
        before = key
    own_at = len(_AMOUNTS)
    hashes_at = own_at + len(_OWN_COLUMNS)
    if _money_findings(list(map(int, rest[:own_at])), rest[own_at:hashes_at], shares, payers):
        return None
    return PublicFacts(row_id, node_id, int(time), shares, tuple(rest[hashes_at:]))


def _public_findings(data: bytes) -> list[Finding]:
    """Everything wrong with bytes that are no sound public row."""
    if len(data) > MAX_PUBLIC_BYTES:
        return [Finding("row_length", "row", f"the public columns are {len(data)} bytes long")]
    try:
        public = parse(data)
        spelling = encode(public)
    except CanonicalError as error:
        return [Finding("row_malformed", "row", str(error))]
    findings = verify_row(public)
    if isinstance(public, dict) and "row_hash" in public:
        findings.append(Finding("column_unknown", "row_hash", "does not stand among the columns it is over"))
    if spelling != data:
        findings.append(Finding("row_bytes", "row", "is not in its canonical spelling"))
    return findings


def _private_findings(data: bytes) -> list[Finding]:
    """Everything wrong with bytes that are no canonical {parts, salt}."""
    if len(data) > MAX_PRIVATE_BYTES:
        return [Finding("part_length", "private", f"is {len(data)} bytes long")]
    try:
        private = parse(data)
        spelling = encode(private)
    except CanonicalError as error:
        return [Finding("row_malformed", "private", str(error))]
    parts = private.get("parts") if isinstance(private, dict) else None
    if not isinstance(private, dict) or set(private) != {"parts", "salt"} or not isinstance(parts, dict):
        return [Finding("row_malformed", "private", "is not {parts, salt}")]
    if set(parts) != set(PARTS):
        return [Finding("part_unknown", "parts", f"are {', '.join(sorted(parts)):.200}, not {', '.join(PART_ORDER)}")]
    if not all(isinstance(part, dict) for part in parts.values()):
        return [Finding("part_form", "parts", "are not all objects")]
    if spelling != data:
        return [Finding("row_bytes", "private", "is not in its canonical spelling")]
    return [Finding("salt", "salt", f"is not {2 * SALT_BYTES} lower-case hexadecimal digits")]


def _cut_parts(text: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Returns the parts and their texts out of canonical {parts, salt}. Raises ValueError for anything else.

    Each part is read where it must begin, so that its text is at hand for its hash.
    """
    if len(text) > MAX_PRIVATE_BYTES:
        raise ValueError
    parts: dict[str, dict[str, Any]] = {}
    texts = []
    at = 0
    for name, opening in _PART_OPENINGS:
        begins = at + len(opening)
        if text[at:begins] != opening:
            raise ValueError
        part, at = read_at(text, begins)
        if not isinstance(part, dict):
            raise ValueError
        parts[name] = part
        texts.append(text[begins:at])
    if _is_closing(text, at) is None:
        raise ValueError
    return parts, texts


def _salt_in(private_json: bytes) -> bytes:
    """The salt at the end of canonical {parts, salt}."""
    return bytes.fromhex(private_json[-2 - 2 * SALT_BYTES : -2].decode())


# --- building ------------------------------------------------------------------------------------------------------


def _order(entry: PayIn | Payout) -> tuple[str, str]:
    return (entry[0], entry[1])


def _digits(value: int) -> str:
    """An integer as a column holds it. The forms check range and sign; a float or a bool must not get so far."""
    if type(value) is not int:
        raise RowError([Finding("column_form", "amount", f"{value!r:.80} is not an integer")])
    return str(value)


def _add_part_hashes(public: PublicRow, parts: Mapping[str, Part], salt: bytes, keccak: Keccak) -> bytes:
    """Puts the parts' salted hashes among the public columns; returns the canonical JSON of {parts, salt}."""
    if type(salt) is not bytes or len(salt) != SALT_BYTES:
        raise RowError([Finding("salt", "salt", f"is not {SALT_BYTES} bytes")])
    if len(parts) > len(PARTS) or any(name not in PARTS for name in parts):
        raise RowError([Finding("part_unknown", "parts", f"only {', '.join(PARTS)} are private parts")])
    texts: dict[bytes, bytes] = {}
    for name, column, name_bytes in _PART_HASH_COLUMNS:
        part = parts.get(name, _EMPTY)
        try:
            text = part.encode() if isinstance(part, CanonicalText) else encode(dict(part))
        except (CanonicalError, TypeError, ValueError) as error:
            raise RowError([Finding("part_form", name, str(error))]) from error
        if len(text) > (MAX_CUSTOM_BYTES if name == "custom" else MAX_PART_BYTES):
            raise RowError([Finding("part_length", name, f"is {len(text)} bytes long")])
        public[column] = keccak(keccak(salt + name_bytes) + text).hex()
        texts[name_bytes] = text
    texts[b"salt"] = salt.hex().encode()
    return _PRIVATE_TEMPLATE % texts


def _finish(public: PublicRow, salt: bytes, private_json: bytes, keccak: Keccak) -> Row:
    text = _canonical_text(public)
    findings = _money_of(public) if text is not None else verify_row(public)
    if findings or text is None:
        raise RowError(findings)
    public_json = text.encode()
    if len(public_json) > MAX_PUBLIC_BYTES:
        raise RowError([Finding("row_length", "row", f"the public columns are {len(public_json)} bytes long")])
    return Row(MappingProxyType(public), salt, keccak(public_json), public_json, private_json)


_EMPTY: Final = CanonicalText("{}")
_PRIVATE_TEMPLATE: Final = b'{"parts":{%b},"salt":"%%(salt)b"}' % b",".join(
    [f'"{name}":%({name})b'.encode() for name in sorted(PARTS)]
)

_COLUMN_GROUPS: Final = {name: place for place, name in enumerate(sorted(_ROW_FORMS), 1)}
_TAKEN: Final = tuple(
    _COLUMN_GROUPS[name]
    for name in (
        *("row_id", "node_id", "event_time_ns", "pay_in", "payouts", *_AMOUNTS, *_OWN_COLUMNS),
        *(column for _, column, _ in _PARTS_IN_ORDER),
    )
)
"""Groups of the pattern in the order in which `_facts` takes them."""
_entries_in: Final = re.compile(
    r'"amount_nano_cpu":"(\d+)",(?:"amount_nano_eur":"(\d+)",)?"id":"(\w+)","role":"(\w+)"', re.ASCII
).findall
_PART_OPENINGS: Final = tuple(
    (name, f'{{"parts":{{"{name}":' if place == 0 else f',"{name}":') for place, name in enumerate(PART_ORDER)
)
_CLOSING_LENGTH: Final = len('},"salt":""}') + 2 * SALT_BYTES
_is_closing: Final = re.compile(r'\},"salt":"[0-9a-f]{64}"\}\Z', re.ASCII).match
